/* Areas, best thresholds and curves against counting every pair and trying every threshold. */
#include <math.h>
#include <stdlib.h>

#include "dltest.h"
#include "metrics/ranking.h"

enum { MOST = 20000 };
static float scores[MOST], weight[MOST];
static uint8_t truth[MOST];

static uint32_t next(uint32_t *state) { return (*state = *state * 1664525u + 1013904223u) >> 8; }

/* `levels` different scores: many ties where they are few. */
static void fill(int n, uint32_t levels, uint32_t seed) {
  for (int i = 0; i < n; i++) {
    truth[i] = next(&seed) % 3 == 0;
    scores[i] = (float)((next(&seed) % levels + next(&seed) % levels * truth[i]) % levels) / (float)levels;
    weight[i] = (float)(next(&seed) % 5);
  }
}

/* Each pair of a positive and a negative: 1 where the positive is higher, one half for a tie. */
static double pairs(int n, bool weighted) {
  double right = 0, all = 0;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < n; k++) {
      if (!truth[i] || truth[k]) continue;
      const double w = weighted ? (double)weight[i] * (double)weight[k] : 1;
      all += w;
      right += w * (scores[i] > scores[k] ? 1 : scores[i] == scores[k] ? 0.5 : 0);
    }
  return right / all;
}

static double f1_above(int n, bool weighted, double threshold) {
  double tp = 0, wrong = 0;
  for (int i = 0; i < n; i++) {
    const double w = weighted ? (double)weight[i] : 1;
    const bool yes = (double)scores[i] > threshold;
    tp += yes && truth[i] ? w : 0;
    wrong += yes != truth[i] ? w : 0;
  }
  return tp > 0 ? 2 * tp / (2 * tp + wrong) : 0;
}

static void test_roc_auc_equals_the_share_of_pairs_in_order_and_the_best_f1_is_found(void) {
  for (uint32_t seed = 1; seed <= 12; seed++) {
    const int n = 3 + (int)seed * 31;
    fill(n, seed % 3 == 0 ? 4 : seed % 3 == 1 ? 50 : 1u << 22, seed);
    truth[0] = 0, truth[1] = 1, weight[0] = weight[1] = 2;
    for (int weighted = 0; weighted < 2; weighted++) {
      dl_rank_figures found;
      CU_ASSERT_EQUAL_FATAL(dl_rank(n, scores, truth, weighted ? weight : NULL, &found, NULL), DL_OK);
      CU_ASSERT_DOUBLE_EQUAL(found.roc_auc, pairs(n, weighted), 1e-13);
      double best = f1_above(n, weighted, -1);
      for (int i = 0; i < n; i++) best = fmax(best, f1_above(n, weighted, (double)scores[i]));
      CU_ASSERT_DOUBLE_EQUAL(found.best_f1, best, 1e-13);
      CU_ASSERT_DOUBLE_EQUAL(f1_above(n, weighted, found.best_f1_threshold), best, 1e-13);
    }
  }
}

static void test_scores_of_any_sign_and_size_are_ordered(void) {
  const float s[] = {-INFINITY, -3e38F, -1, -1e-40F, 0.0F, 1e-40F, 1, 3e38F, INFINITY};
  const uint8_t y[] = {0, 0, 0, 0, 1, 1, 1, 1, 1};
  dl_rank_figures found;
  CU_ASSERT_EQUAL(dl_rank(9, s, y, NULL, &found, NULL), DL_OK);
  CU_ASSERT_EQUAL(found.roc_auc, 1);
  CU_ASSERT_EQUAL(found.pr_auc, 1);
  const float zeros[] = {-0.0F, 0.0F};
  const uint8_t mixed[] = {1, 0};
  CU_ASSERT_EQUAL(dl_rank(2, zeros, mixed, NULL, &found, NULL), DL_OK);
  CU_ASSERT_EQUAL(found.roc_auc, 0.5);
}

static void test_what_is_not_defined_is_nan(void) {
  const float s[] = {0.1F, 0.9F, NAN};
  const uint8_t all[] = {1, 1, 0}, none[] = {0, 0, 1};
  dl_rank_figures found;
  dl_curves *curves = calloc(1, sizeof *curves);
  CU_ASSERT_EQUAL(dl_rank(2, s, all, NULL, &found, curves), DL_OK);
  CU_ASSERT(isnan(found.roc_auc) && found.pr_auc == 1 && found.best_f1 == 1);
  CU_ASSERT(curves->roc.n == 0 && curves->pr.n > 0);
  CU_ASSERT_EQUAL(dl_rank(2, s, none, NULL, &found, curves), DL_OK);
  CU_ASSERT(isnan(found.roc_auc) && isnan(found.pr_auc) && isnan(found.best_f1) && isnan(found.best_f1_threshold));
  CU_ASSERT(curves->roc.n == 0 && curves->pr.n == 0);
  CU_ASSERT_EQUAL(dl_rank(3, s, all, NULL, &found, curves), DL_OK); /* a score that is no number */
  CU_ASSERT(isnan(found.roc_auc) && isnan(found.pr_auc));
  CU_ASSERT_EQUAL(dl_rank(0, s, all, NULL, &found, curves), DL_OK);
  CU_ASSERT(isnan(found.roc_auc));
  free(curves);
}

/* Rates of yes where score >= threshold. */
static void rates(int n, double threshold, double *fpr, double *tpr, double *precision) {
  double tp = 0, fp = 0, positives = 0;
  for (int i = 0; i < n; i++) {
    positives += truth[i];
    tp += (double)scores[i] >= threshold && truth[i];
    fp += (double)scores[i] >= threshold && !truth[i];
  }
  *tpr = tp / positives;
  *fpr = fp / (n - positives);
  *precision = tp + fp > 0 ? tp / (tp + fp) : 1;
}

static void check_points(int n, const dl_curves *c) {
  double fpr, tpr, precision;
  for (int i = 0; i < c->roc.n; i++) {
    rates(n, c->roc.threshold[i], &fpr, &tpr, &precision);
    CU_ASSERT_DOUBLE_EQUAL(c->roc.x[i], fpr, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(c->roc.y[i], tpr, 1e-15);
  }
  for (int i = 0; i < c->pr.n; i++) {
    rates(n, c->pr.threshold[i], &fpr, &tpr, &precision);
    CU_ASSERT_DOUBLE_EQUAL(c->pr.x[i], tpr, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(c->pr.y[i], precision, 1e-15);
  }
}

static void test_curves_are_bounded_true_and_keep_their_areas(void) {
  const struct {
    int n;
    uint32_t levels;
  } all[] = {{7, 5}, {300, 20}, {2000, 1u << 22}, {MOST, 1000}, {MOST, 1u << 22}};
  dl_curves *c = calloc(1, sizeof *c);
  for (int k = 0; k < 5; k++) {
    const int n = all[k].n;
    dl_rank_figures figures;
    fill(n, all[k].levels, (uint32_t)k + 40);
    truth[0] = 0, truth[1] = 1;
    CU_ASSERT_EQUAL_FATAL(dl_rank(n, scores, truth, NULL, &figures, c), DL_OK);
    CU_ASSERT(c->roc.n >= 2 && c->roc.n <= DL_CURVE_POINTS && c->pr.n >= 2 && c->pr.n <= DL_CURVE_POINTS);
    CU_ASSERT(c->roc.x[c->roc.n - 1] == 1 && c->roc.y[c->roc.n - 1] == 1 && c->pr.x[c->pr.n - 1] == 1);
    double roc = 0, pr = 0;
    for (int i = 1; i < c->roc.n; i++) roc += (c->roc.x[i] - c->roc.x[i - 1]) * (c->roc.y[i] + c->roc.y[i - 1]) / 2;
    for (int i = 1; i < c->pr.n; i++) pr += (c->pr.x[i] - c->pr.x[i - 1]) * c->pr.y[i];
    CU_ASSERT_DOUBLE_EQUAL(roc, figures.roc_auc, 0.0025);
    CU_ASSERT_DOUBLE_EQUAL(pr, figures.pr_auc, 0.0025);
    if (n <= 300) CU_ASSERT_DOUBLE_EQUAL(pr, figures.pr_auc, 1e-13); /* fewer than 400 positives: every step stays */
    if (n <= 2000) check_points(n, c);
  }
  free(c);
}

static const dl_test tests[] = {
    DL_TEST(test_roc_auc_equals_the_share_of_pairs_in_order_and_the_best_f1_is_found),
    DL_TEST(test_scores_of_any_sign_and_size_are_ordered),
    DL_TEST(test_what_is_not_defined_is_nan),
    DL_TEST(test_curves_are_bounded_true_and_keep_their_areas),
};
DL_TEST_MAIN("ranking", tests)

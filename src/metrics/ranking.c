/* ranking.c - one radix sort by descending score (three passes of 11 bits, stable), then one walk over groups of equal
 * scores; a second walk draws the curves, whose scale the first one found.
 *
 * Thinning. ROC: a point goes where its neighbours that stay are no further apart than 1/100 in fpr + tpr; a triangle
 * left out between them has at most (dx + dy)^2 / 8, all together at most 1/100 * 2 / 8. Precision and recall: the
 * first point at each step of recall stays, which is the one that average precision counts.
 */
#include "metrics/ranking.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

#define DIGIT_BITS 11
#define DIGITS (1u << DIGIT_BITS)
#define ROC_STEP 0.01
#define PR_STEP 0.0025

typedef struct place {
  uint32_t key, index;
} place;

/* Larger scores have smaller keys; both zeros have the same. */
static uint32_t key_of(float score) {
  uint32_t bits;
  if (score == 0) score = 0;
  memcpy(&bits, &score, sizeof bits);
  return bits & 0x80000000u ? bits : 0x7fffffffu - bits;
}

static void sort_by(int shift, int64_t n, const place *from, place *to) {
  int64_t start[DIGITS] = {0}, sum = 0;
  for (int64_t i = 0; i < n; i++) start[from[i].key >> shift & (DIGITS - 1)]++;
  for (unsigned d = 0; d < DIGITS; d++) {
    int64_t count = start[d];
    start[d] = sum;
    sum += count;
  }
  for (int64_t i = 0; i < n; i++) to[start[from[i].key >> shift & (DIGITS - 1)]++] = from[i];
}

/* Walks down groups of equal scores. */
typedef struct walk {
  const place *order;
  const float *scores;
  const uint8_t *truth;
  const float *weight;
  int64_t n, next;
  double tp, fp, score; /* weights of all that has passed; the score of the group */
} walk;

static bool step(walk *w) {
  if (w->next >= w->n) return false;
  const uint32_t key = w->order[w->next].key;
  w->score = (double)w->scores[w->order[w->next].index];
  for (; w->next < w->n && w->order[w->next].key == key; w->next++) {
    const uint32_t i = w->order[w->next].index;
    const double weight = w->weight ? (double)w->weight[i] : 1;
    if (w->truth[i])
      w->tp += weight;
    else
      w->fp += weight;
  }
  return true;
}

/* Between two float32 scores: their middle, or the lower one where nothing lies between. */
static double between(double high, double low) {
  double middle = low + (high - low) / 2;
  return middle < high ? middle : low;
}

static void figures_of(walk w, double positives, double negatives, dl_rank_figures *out) {
  double area = 0, precision = 0, tp = 0, fp = 0, best_score = 0;
  bool below_best = false; /* the group before was the best so far */
  out->best_f1 = -1;
  while (step(&w)) {
    if (below_best) out->best_f1_threshold = between(best_score, w.score);
    area += (w.fp - fp) * (w.tp + tp);
    precision += (w.tp - tp) * (w.tp / (w.tp + w.fp));
    const double f1 = 2 * w.tp / (w.tp + w.fp + positives);
    if ((below_best = f1 > out->best_f1)) {
      out->best_f1 = f1;
      best_score = w.score;
    }
    tp = w.tp;
    fp = w.fp;
  }
  if (below_best) out->best_f1_threshold = best_score > 0 ? 0 : (double)nextafterf((float)best_score, -INFINITY);
  out->pr_auc = precision / positives;
  if (negatives > 0) out->roc_auc = area / 2 / (positives * negatives);
}

static void put(dl_curve *curve, double x, double y, double threshold) {
  if (curve->n == DL_CURVE_POINTS) return;
  curve->x[curve->n] = x;
  curve->y[curve->n] = y;
  curve->threshold[curve->n++] = threshold;
}

static void draw_roc(walk w, double positives, double negatives, dl_curve *out) {
  double x = 0, y = 0, threshold = INFINITY; /* the point before, which may or may not stay */
  put(out, 0, 0, threshold);
  while (step(&w)) {
    const double next_x = w.fp / negatives, next_y = w.tp / positives;
    const int last = out->n - 1;
    const bool is_kept = threshold == out->threshold[last];
    if (!is_kept && next_x - out->x[last] + next_y - out->y[last] > ROC_STEP) put(out, x, y, threshold);
    x = next_x;
    y = next_y;
    threshold = w.score;
  }
  put(out, 1, 1, threshold);
}

static void draw_pr(walk w, double positives, dl_curve *out) {
  put(out, 0, 1, INFINITY);
  double x = 0, y = 1;
  while (step(&w)) {
    x = w.tp / positives;
    y = w.tp / (w.tp + w.fp);
    const double reached = out->x[out->n - 1];
    if (x >= reached + PR_STEP || (x >= 1 && reached < 1)) put(out, x, y, w.score);
  }
  if (w.score < out->threshold[out->n - 1]) put(out, x, y, w.score);
}

/* Indices of the samples that count, with their keys; false where a score is no number. */
static bool take(int64_t n, const float *scores, const float *weight, place *out, int64_t *taken) {
  *taken = 0;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(scores[i])) return false;
    if (weight && !(weight[i] > 0)) continue;
    out[(*taken)++] = (place){key_of(scores[i]), (uint32_t)i};
  }
  return true;
}

static void rank(place *order, place *other, walk w, dl_rank_figures *out, dl_curves *curves) {
  sort_by(0, w.n, order, other);
  sort_by(DIGIT_BITS, w.n, other, order);
  sort_by(2 * DIGIT_BITS, w.n, order, other);
  w.order = other;
  walk all = w;
  while (step(&all)) {
  }
  if (all.tp > 0) figures_of(w, all.tp, all.fp, out);
  if (!curves) return;
  if (all.tp > 0 && all.fp > 0) draw_roc(w, all.tp, all.fp, &curves->roc);
  if (all.tp > 0) draw_pr(w, all.tp, &curves->pr);
}

dl_status dl_rank(int64_t n, const float *scores, const uint8_t *truth, const float *weight, dl_rank_figures *out,
                  dl_curves *curves) {
  *out = (dl_rank_figures){NAN, NAN, NAN, NAN};
  if (curves) curves->roc.n = curves->pr.n = 0;
  if (n < 1) return DL_OK;
  if (n > UINT32_MAX) return dl_fail(DL_ERR_DATA, "%lld samples are too many to rank", (long long)n);
  place *order = dl_calloc((size_t)n, sizeof *order), *other = dl_calloc((size_t)n, sizeof *other);
  dl_status status = order && other ? DL_OK : DL_ERR_NOMEM;
  walk w = {.scores = scores, .truth = truth, .weight = weight};
  if (status == DL_OK && take(n, scores, weight, order, &w.n)) rank(order, other, w, out, curves);
  free(order);
  free(other);
  return status;
}

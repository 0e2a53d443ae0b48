/* test_metrics.c - metrics against scikit-learn and against closed forms. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../golden/metrics_golden.h"
#include "dltest.h"

#define LENGTH(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))

/* A data set and what is known of it. */
typedef struct dl_case {
  int task;
  int64_t n, outputs;
  const float *scores;
  const int32_t *label;
  const float *y, *weight, *reference;
  double threshold; /* 0: the usual one */
  const dl_metric *golden;
  int64_t n_golden;
  const double *each; /* the first n_each figures of each output, or NULL */
  int n_each;
  double tolerance;
} dl_case;

/* Totals of a data set that is handed over in blocks of `block` samples. */
typedef struct dl_totals {
  int64_t *counters;
  double *sums, *maxima;
  dl_rank_figures *figures;
  dl_metrics_totals all;
} dl_totals;

static void rank_columns(const dl_case *c, dl_rank_figures *out) {
  float *scores = calloc((size_t)c->n, sizeof *scores), *weight = calloc((size_t)c->n, sizeof *weight);
  uint8_t *yes = calloc((size_t)c->n, 1);
  for (int64_t o = 0; o < c->outputs; o++) {
    int64_t n = 0;
    for (int64_t i = 0; i < c->n; i++) {
      if (c->label && c->label[i] < 0) continue;
      scores[n] = c->scores[i * c->outputs + o];
      weight[n] = c->weight ? c->weight[i] : 1;
      yes[n++] = c->label ? c->label[i] == o : c->y[i * c->outputs + o] > 0.5F;
    }
    CU_ASSERT_EQUAL(dl_rank(n, scores, yes, c->weight ? weight : NULL, &out[o], NULL), DL_OK);
  }
  free(scores);
  free(weight);
  free(yes);
}

static dl_totals totals_of(const dl_case *c, int64_t block) {
  const dl_metrics_kind *kind = dl_metrics_for(c->task);
  const int width = kind->sums(c->outputs);
  dl_totals t = {calloc((size_t)kind->counters(c->outputs) + 1, sizeof(int64_t)),
                 calloc((size_t)width + 1, sizeof(double)),
                 calloc((size_t)kind->maxima + 1, sizeof(double)),
                 calloc((size_t)c->outputs, sizeof(dl_rank_figures)),
                 {0}};
  double *row = malloc(((size_t)width + 1) * sizeof(double));
  for (int64_t i = 0; i < c->n; i += block) {
    const dl_metrics_block piece = {.n = i + block < c->n ? block : c->n - i,
                                    .outputs = c->outputs,
                                    .scores = c->scores + i * c->outputs,
                                    .label = c->label ? c->label + i : NULL,
                                    .y = c->y ? c->y + i * c->outputs : NULL,
                                    .weight = c->weight ? c->weight + i : NULL,
                                    .reference = c->reference,
                                    .threshold = c->threshold > 0 ? c->threshold : 0.5};
    for (int k = 0; k < width; k++) row[k] = NAN; /* add writes, it does not add */
    kind->add(&piece, t.counters, row, t.maxima);
    for (int k = 0; k < width; k++) t.sums[k] += row[k];
  }
  free(row);
  if (kind->ranked) rank_columns(c, t.figures);
  t.all = (dl_metrics_totals){c->n, c->outputs, t.counters, t.sums, t.maxima, kind->ranked ? t.figures : NULL};
  return t;
}

static void totals_free(dl_totals *totals) {
  free(totals->counters);
  free(totals->sums);
  free(totals->maxima);
  free(totals->figures);
}

static bool near(double a, double b, double tolerance) {
  return isnan(b) ? isnan(a) : fabs(a - b) <= tolerance * fmax(1, fabs(b));
}

static void same(const char *task, const char *name, double found, double golden, double tolerance) {
  if (!near(found, golden, tolerance)) fprintf(stderr, "%s %s: %.17g, not %.17g\n", task, name, found, golden);
  CU_ASSERT(near(found, golden, tolerance));
}

static void check_each(const dl_case *c, const dl_totals *totals) {
  const dl_metrics_kind *kind = dl_metrics_for(c->task);
  double found[64];
  int width = 1;
  for (const char *at = kind->each; (at = strchr(at, '|')); at++) width++;
  kind->finish_each(&totals->all, found);
  for (int64_t o = 0; o < c->outputs; o++)
    for (int k = 0; k < c->n_each; k++)
      same(kind->each, "of an output", found[o * width + k], c->each[o * c->n_each + k], c->tolerance);
}

/* Whole, in blocks of 7, and sample by sample: the golden values each time. A binary model's threshold of best F1 comes
 * last and has a test of its own. */
static void check(const dl_case *c) {
  const dl_metrics_kind *kind = dl_metrics_for(c->task);
  const int64_t blocks[] = {c->n, 7, 1};
  for (int b = 0; b < 3; b++) {
    dl_totals totals = totals_of(c, blocks[b]);
    dl_metric found[DL_METRICS_MAX];
    int n_found = kind->finish(&totals.all, found);
    CU_ASSERT_EQUAL(n_found, c->n_golden + (c->task == DL_TASK_BINARY));
    for (int i = 0; i < n_found && i < c->n_golden; i++) {
      CU_ASSERT_STRING_EQUAL(found[i].name, c->golden[i].name);
      same(kind->task, found[i].name, found[i].value, c->golden[i].value, c->tolerance);
    }
    if (c->each) check_each(c, &totals);
    totals_free(&totals);
  }
}

#define GOLDEN(name) .scores = name##_scores, .golden = name, .n_golden = LENGTH(name)
#define CLASSES(name, classes)                                                                     \
  (dl_case) {                                                                                      \
    .task = DL_TASK_CLASSIFICATION, .n = LENGTH(name##_truth), .outputs = (classes), GOLDEN(name), \
    .label = name##_truth, .each = name##_each, .n_each = 6, .tolerance = 1e-13                    \
  }
#define VALUES(kind, name, width) \
  .task = (kind), .n = LENGTH(name##_truth) / (width), .outputs = (width), GOLDEN(name), .y = name##_truth

static void test_classification_equals_scikit_learn(void) {
  const dl_case c = CLASSES(golden_classes, 5);
  check(&c);
}

static void test_classes_that_are_missing_in_truth_or_prediction_are_averaged_as_scikit_learn_does(void) {
  const dl_case c = CLASSES(golden_gaps, 6);
  check(&c);
}

static void test_confusion_counts_have_truth_as_row_and_prediction_as_column(void) {
  const dl_metrics_kind *kind = dl_metrics_for(DL_TASK_CLASSIFICATION);
  CU_ASSERT_EQUAL(kind->counters(5), 25);
  CU_ASSERT_EQUAL(kind->confusion(5), 5);
  dl_totals totals = totals_of(&CLASSES(golden_classes, 5), 16);
  CU_ASSERT_EQUAL(memcmp(totals.counters, golden_classes_confusion, sizeof golden_classes_confusion), 0);
  totals_free(&totals);
  totals = totals_of(&CLASSES(golden_gaps, 6), 3);
  CU_ASSERT_EQUAL(memcmp(totals.counters, golden_gaps_confusion, sizeof golden_gaps_confusion), 0);
  totals_free(&totals);
}

static void test_equal_scores_count_as_the_lowest_class(void) {
  const float scores[] = {0.25F, 0.25F, 0.25F, 0.25F, 0.1F, 0.4F, 0.1F, 0.4F};
  const int32_t truth[] = {3, 3};
  int64_t counters[16] = {0};
  double sums[13];
  const dl_metrics_block block = {.n = 2, .outputs = 4, .scores = scores, .label = truth};
  dl_metrics_for(DL_TASK_CLASSIFICATION)->add(&block, counters, sums, NULL);
  CU_ASSERT_EQUAL(counters[3 * 4 + 0], 1);
  CU_ASSERT_EQUAL(counters[3 * 4 + 1], 1);
}

static void test_binary_equals_scikit_learn(void) {
  check(&(dl_case){VALUES(DL_TASK_BINARY, golden_binary, 1), .tolerance = 1e-13});
}

static void test_nothing_predicted_gives_zero_precision_recall_and_f1(void) {
  check(&(dl_case){VALUES(DL_TASK_BINARY, golden_no_positive, 1), .tolerance = 1e-15});
}

static void test_binary_with_ties_weights_and_another_threshold_equals_scikit_learn(void) {
  check(&(dl_case){VALUES(DL_TASK_BINARY, golden_ties, 1), .tolerance = 1e-13});
  check(&(dl_case){VALUES(DL_TASK_BINARY, golden_weighted_ties, 1), .weight = golden_weighted_ties_weight,
                   .tolerance = 1e-13});
  check(&(dl_case){VALUES(DL_TASK_BINARY, golden_threshold, 1), .threshold = 0.25, .tolerance = 1e-13});
}

static void test_binary_counts_are_a_matrix_with_truth_as_row(void) {
  const float scores[] = {0.9F, 0.2F, 0.8F, 0.7F, 0.1F, 0.6F},
              truth[] = {1, 1, 0, 0, 0, 0}; /* 1 fn, 1 tp, 3 fp, 1 tn */
  const dl_case c = {.task = DL_TASK_BINARY, .n = 6, .outputs = 1, .scores = scores, .y = truth};
  dl_totals totals = totals_of(&c, 6);
  CU_ASSERT_EQUAL(dl_metrics_for(DL_TASK_BINARY)->confusion(1), 2);
  const int64_t expected[] = {1, 3, 1, 1};
  CU_ASSERT_EQUAL(memcmp(totals.counters, expected, sizeof expected), 0);
  totals_free(&totals);
}

static void test_classes_with_weights_and_ties_equal_scikit_learn(void) {
  dl_case c = CLASSES(golden_weighted_classes, 7);
  c.weight = golden_weighted_classes_weight;
  check(&c);
}

static void test_multilabel_equals_scikit_learn(void) {
  check(&(dl_case){VALUES(DL_TASK_MULTILABEL, golden_labels, 4), .each = golden_labels_each, .n_each = 6,
                   .tolerance = 1e-13});
  check(&(dl_case){VALUES(DL_TASK_MULTILABEL, golden_weighted_labels, 3), .weight = golden_weighted_labels_weight,
                   .each = golden_weighted_labels_each, .n_each = 6, .tolerance = 1e-13});
}

static void test_regression_equals_scikit_learn(void) {
  check(&(dl_case){VALUES(DL_TASK_REGRESSION, golden_values, 1), .reference = golden_values_reference,
                   .tolerance = 1e-13});
  check(&(dl_case){VALUES(DL_TASK_REGRESSION, golden_weighted_values, 2), .weight = golden_weighted_values_weight,
                   .reference = golden_weighted_values_reference, .tolerance = 1e-13});
}

static void test_regression_of_several_outputs_equals_scikit_learn_far_from_zero_and_for_a_constant_one(void) {
  check(&(dl_case){VALUES(DL_TASK_REGRESSION, golden_outputs, 3), .reference = golden_outputs_reference,
                   .tolerance = 1e-12});
}

/* A weight of 2 is the sample twice, a weight of 0 its absence. */
static void test_whole_weights_count_a_sample_as_often(void) {
  enum { N = 30, OUTPUTS = 3 };
  static float scores[N * OUTPUTS], more_scores[4 * N * OUTPUTS], y[N * OUTPUTS], more_y[4 * N * OUTPUTS], weight[N];
  static int32_t label[N], more_label[4 * N];
  uint32_t state = 3;
  int64_t more = 0;
  for (int i = 0; i < N; i++) {
    weight[i] = (float)(i % 4);
    label[i] = (int32_t)((state = state * 1664525u + 1013904223u) >> 16) % OUTPUTS;
    for (int o = 0; o < OUTPUTS; o++) {
      scores[i * OUTPUTS + o] = (float)((state = state * 1664525u + 1013904223u) >> 24) / 256;
      y[i * OUTPUTS + o] = (float)((state = state * 1664525u + 1013904223u) >> 31);
    }
    for (int k = 0; k < i % 4; k++, more++) {
      memcpy(more_scores + more * OUTPUTS, scores + i * OUTPUTS, sizeof(float[OUTPUTS]));
      memcpy(more_y + more * OUTPUTS, y + i * OUTPUTS, sizeof(float[OUTPUTS]));
      more_label[more] = label[i];
    }
  }
  for (int task = DL_TASK_CLASSIFICATION; task <= DL_TASK_REGRESSION; task++) {
    const bool labels = task == DL_TASK_CLASSIFICATION;
    if (task == DL_TASK_BINARY) continue; /* reads a single column: its weights are golden */
    const dl_case a = {.task = task,
                       .n = N,
                       .outputs = OUTPUTS,
                       .scores = scores,
                       .weight = weight,
                       .label = labels ? label : NULL,
                       .y = labels ? NULL : y};
    const dl_case b = {.task = task,
                       .n = more,
                       .outputs = OUTPUTS,
                       .scores = more_scores,
                       .label = labels ? more_label : NULL,
                       .y = labels ? NULL : more_y};
    dl_totals weighted = totals_of(&a, 7), repeated = totals_of(&b, 7);
    dl_metric one[DL_METRICS_MAX], other[DL_METRICS_MAX];
    const int n = dl_metrics_for(task)->finish(&weighted.all, one);
    CU_ASSERT_EQUAL(dl_metrics_for(task)->finish(&repeated.all, other), n);
    CU_ASSERT(n > 0);
    for (int i = 0; i < n; i++) same(dl_metrics_for(task)->task, one[i].name, one[i].value, other[i].value, 1e-12);
    totals_free(&weighted);
    totals_free(&repeated);
  }
}

static double r2_of(int64_t n, const float *scores, const float *y, const float *reference) {
  const dl_case c = {
      .task = DL_TASK_REGRESSION, .n = n, .outputs = 1, .scores = scores, .y = y, .reference = reference};
  dl_totals totals = totals_of(&c, n);
  dl_metric found[DL_METRICS_MAX];
  const int n_found = dl_metrics_for(DL_TASK_REGRESSION)->finish(&totals.all, found);
  totals_free(&totals);
  return n_found > 3 && !strcmp(found[3].name, "r2") ? found[3].value : -1e9;
}

static void test_r2_of_a_constant_target_is_1_when_met_0_when_missed_and_undefined_for_one_sample(void) {
  const float y[] = {0.3F, 0.3F, 0.3F, 0.3F, 0.3F}, missed[] = {0.3F, 0.3F, 0.4F, 0.3F, 0.3F};
  CU_ASSERT_EQUAL(r2_of(5, y, y, NULL), 1);
  CU_ASSERT_EQUAL(r2_of(5, missed, y, NULL), 0);
  CU_ASSERT(isnan(r2_of(1, y, y, NULL)));
}

static void test_r2_does_not_depend_on_the_reference(void) {
  const float y[] = {1, 2, 4, 7}, scores[] = {1.5F, 2, 3, 7};
  /* mean 3.5; RSS = 0.25 + 1; TSS = 6.25 + 2.25 + 0.25 + 12.25 = 21 */
  const float references[] = {0, 3.5F, -20, 1000};
  for (int i = 0; i < 4; i++) CU_ASSERT(near(r2_of(4, scores, y, &references[i]), 1 - 1.25 / 21, 1e-9));
}

static void test_no_samples_give_no_metrics(void) {
  int64_t counters[16] = {0};
  double sums[16] = {0}, maxima[1] = {0};
  const dl_metrics_totals nothing = {0, 2, counters, sums, maxima, NULL};
  dl_metric found[DL_METRICS_MAX];
  int n = 0;
  const dl_metrics_kind *const *kinds = dl_metrics_kinds(&n);
  for (int i = 0; i < n; i++) CU_ASSERT_EQUAL(kinds[i]->finish(&nothing, found), 0);
}

/* The listing and the headline are words of what finish writes; the table's place is the task's number. */
static void test_every_kind_reports_the_names_it_lists(void) {
  int n = 0;
  const dl_metrics_kind *const *kinds = dl_metrics_kinds(&n);
  CU_ASSERT_EQUAL(n, 6);
  char tasks[128] = "";
  for (int i = 0; i < n; i++) {
    int64_t counters[64] = {1, 1}; /* something was counted */
    double sums[64] = {0}, maxima[1] = {0};
    const dl_metrics_totals totals = {4, 6, counters, sums, maxima, NULL};
    dl_metric found[DL_METRICS_MAX];
    char names[512] = "";
    bool headline = false;
    CU_ASSERT_FATAL(kinds[i]->counters(6) <= 64 && kinds[i]->sums(6) <= 64 && kinds[i]->maxima <= 1);
    int n_found = kinds[i]->finish(&totals, found);
    for (int k = 0; k < n_found; k++) {
      strcat(strcat(names, k ? "|" : ""), found[k].name);
      headline |= strcmp(found[k].name, kinds[i]->headline) == 0;
    }
    CU_ASSERT_STRING_EQUAL(names, kinds[i]->metrics);
    CU_ASSERT(headline);
    CU_ASSERT_PTR_EQUAL(dl_metrics_for(i), kinds[i]);
    strcat(strcat(tasks, i ? "|" : ""), kinds[i]->task);
  }
  CU_ASSERT_STRING_EQUAL(tasks, DL_TASK_NAMES);
  CU_ASSERT_PTR_NULL(dl_metrics_for(n));
  CU_ASSERT_PTR_NULL(dl_metrics_for(-1));
}

static void test_samples_whose_label_is_minus_one_do_not_count(void) {
  const float scores[5][2] = {{0.9f, 0.1f}, {0.2f, 0.8f}, {0.7f, 0.3f}, {0.1f, 0.9f}, {0.6f, 0.4f}};
  const int32_t with[5] = {0, -1, 1, 1, -1}, without[3] = {0, 1, 1};
  const float kept[3][2] = {{0.9f, 0.1f}, {0.7f, 0.3f}, {0.1f, 0.9f}};
  const dl_metrics_kind *kind = dl_metrics_for(DL_TASK_CLASSIFICATION);
  dl_metric one[DL_METRICS_MAX], other[DL_METRICS_MAX];
  dl_totals all = totals_of(
      &(dl_case){.task = DL_TASK_CLASSIFICATION, .n = 5, .outputs = 2, .scores = scores[0], .label = with}, 5);
  dl_totals few = totals_of(
      &(dl_case){.task = DL_TASK_CLASSIFICATION, .n = 3, .outputs = 2, .scores = kept[0], .label = without}, 5);
  const int n = kind->finish(&all.all, one);
  CU_ASSERT_EQUAL(kind->finish(&few.all, other), n);
  for (int i = 0; i < n; i++) CU_ASSERT(one[i].value == other[i].value);
  CU_ASSERT_DOUBLE_EQUAL(one[0].value, 2.0 / 3, 1e-15);
  totals_free(&all);
  totals_free(&few);
}

static const dl_test tests[] = {
    DL_TEST(test_classification_equals_scikit_learn),
    DL_TEST(test_classes_that_are_missing_in_truth_or_prediction_are_averaged_as_scikit_learn_does),
    DL_TEST(test_confusion_counts_have_truth_as_row_and_prediction_as_column),
    DL_TEST(test_equal_scores_count_as_the_lowest_class),
    DL_TEST(test_binary_equals_scikit_learn),
    DL_TEST(test_nothing_predicted_gives_zero_precision_recall_and_f1),
    DL_TEST(test_binary_with_ties_weights_and_another_threshold_equals_scikit_learn),
    DL_TEST(test_binary_counts_are_a_matrix_with_truth_as_row),
    DL_TEST(test_classes_with_weights_and_ties_equal_scikit_learn),
    DL_TEST(test_whole_weights_count_a_sample_as_often),
    DL_TEST(test_multilabel_equals_scikit_learn),
    DL_TEST(test_regression_equals_scikit_learn),
    DL_TEST(test_regression_of_several_outputs_equals_scikit_learn_far_from_zero_and_for_a_constant_one),
    DL_TEST(test_r2_of_a_constant_target_is_1_when_met_0_when_missed_and_undefined_for_one_sample),
    DL_TEST(test_r2_does_not_depend_on_the_reference),
    DL_TEST(test_no_samples_give_no_metrics),
    DL_TEST(test_every_kind_reports_the_names_it_lists),
    DL_TEST(test_samples_whose_label_is_minus_one_do_not_count),
};
DL_TEST_MAIN("metrics", tests)

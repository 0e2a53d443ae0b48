/* test_metrics.c - metrics against scikit-learn and against closed forms. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../golden/metrics_golden.h"
#include "dltest.h"

#define LENGTH(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))

/* Totals of a data set that is handed over in blocks of `block` samples. */
typedef struct dl_totals {
  int64_t *counters;
  double *sums;
} dl_totals;

static dl_totals totals_of(const dl_metrics_kind *kind, int64_t block, int64_t n, int64_t outputs, const float *scores,
                           const int32_t *label, const float *y, const float *reference) {
  int width = kind->sums(outputs);
  dl_totals totals = {calloc((size_t)kind->counters(outputs) + 1, sizeof(int64_t)),
                      calloc((size_t)width + 1, sizeof(double))};
  double *row = malloc(((size_t)width + 1) * sizeof(double));
  for (int64_t i = 0; i < n; i += block) {
    int64_t m = i + block < n ? block : n - i;
    for (int k = 0; k < width; k++) row[k] = NAN; /* add writes, it does not add */
    kind->add(m, outputs, scores + i * outputs, label ? label + i : NULL, y ? y + i * outputs : NULL, reference,
              totals.counters, row);
    for (int k = 0; k < width; k++) totals.sums[k] += row[k];
  }
  free(row);
  return totals;
}

static void totals_free(dl_totals *totals) {
  free(totals->counters);
  free(totals->sums);
}

static bool near(double a, double b, double tolerance) { return fabs(a - b) <= tolerance * fmax(1, fabs(b)); }

/* Whole, in blocks of 7, and sample by sample: the golden values each time. */
static void check(int task, int64_t n, int64_t outputs, const float *scores, const int32_t *label, const float *y,
                  const float *reference, const dl_metric *golden, int64_t n_golden, double tolerance) {
  const dl_metrics_kind *kind = dl_metrics_for(task);
  const int64_t blocks[] = {n, 7, 1};
  for (int b = 0; b < 3; b++) {
    dl_totals totals = totals_of(kind, blocks[b], n, outputs, scores, label, y, reference);
    dl_metric found[DL_METRICS_MAX];
    int n_found = kind->finish(n, outputs, totals.counters, totals.sums, found);
    CU_ASSERT_EQUAL(n_found, n_golden);
    for (int i = 0; i < n_found && i < n_golden; i++) {
      CU_ASSERT_STRING_EQUAL(found[i].name, golden[i].name);
      if (!near(found[i].value, golden[i].value, tolerance))
        fprintf(stderr, "%s %s: %.17g, not %.17g\n", kind->task, found[i].name, found[i].value, golden[i].value);
      CU_ASSERT(near(found[i].value, golden[i].value, tolerance));
    }
    totals_free(&totals);
  }
}

static void test_classification_equals_scikit_learn(void) {
  int64_t n = LENGTH(golden_classes_truth);
  check(DL_TASK_CLASSIFICATION, n, 5, golden_classes_scores, golden_classes_truth, NULL, NULL, golden_classes,
        LENGTH(golden_classes), 1e-14);
}

static void test_classes_that_are_missing_in_truth_or_prediction_are_averaged_as_scikit_learn_does(void) {
  int64_t n = LENGTH(golden_gaps_truth);
  check(DL_TASK_CLASSIFICATION, n, 6, golden_gaps_scores, golden_gaps_truth, NULL, NULL, golden_gaps,
        LENGTH(golden_gaps), 1e-14);
}

static void test_confusion_counts_have_truth_as_row_and_prediction_as_column(void) {
  const dl_metrics_kind *kind = dl_metrics_for(DL_TASK_CLASSIFICATION);
  CU_ASSERT_EQUAL(kind->counters(5), 25);
  dl_totals totals =
      totals_of(kind, 16, LENGTH(golden_classes_truth), 5, golden_classes_scores, golden_classes_truth, NULL, NULL);
  CU_ASSERT_EQUAL(memcmp(totals.counters, golden_classes_confusion, sizeof golden_classes_confusion), 0);
  totals_free(&totals);
  totals = totals_of(kind, 3, LENGTH(golden_gaps_truth), 6, golden_gaps_scores, golden_gaps_truth, NULL, NULL);
  CU_ASSERT_EQUAL(memcmp(totals.counters, golden_gaps_confusion, sizeof golden_gaps_confusion), 0);
  totals_free(&totals);
}

static void test_equal_scores_count_as_the_lowest_class(void) {
  const float scores[] = {0.25F, 0.25F, 0.25F, 0.25F, 0.1F, 0.4F, 0.1F, 0.4F};
  const int32_t truth[] = {3, 3};
  int64_t counters[16] = {0};
  dl_metrics_for(DL_TASK_CLASSIFICATION)->add(2, 4, scores, truth, NULL, NULL, counters, NULL);
  CU_ASSERT_EQUAL(counters[3 * 4 + 0], 1);
  CU_ASSERT_EQUAL(counters[3 * 4 + 1], 1);
}

static void test_binary_equals_scikit_learn(void) {
  check(DL_TASK_BINARY, LENGTH(golden_binary_truth), 1, golden_binary_scores, NULL, golden_binary_truth, NULL,
        golden_binary, LENGTH(golden_binary), 1e-14);
}

static void test_nothing_predicted_gives_zero_precision_recall_and_f1(void) {
  check(DL_TASK_BINARY, LENGTH(golden_no_positive_truth), 1, golden_no_positive_scores, NULL, golden_no_positive_truth,
        NULL, golden_no_positive, LENGTH(golden_no_positive), 0);
}

static void test_multilabel_equals_scikit_learn(void) {
  check(DL_TASK_MULTILABEL, LENGTH(golden_labels_truth) / 4, 4, golden_labels_scores, NULL, golden_labels_truth, NULL,
        golden_labels, LENGTH(golden_labels), 1e-14);
}

static void test_regression_equals_scikit_learn(void) {
  check(DL_TASK_REGRESSION, LENGTH(golden_values_truth), 1, golden_values_scores, NULL, golden_values_truth,
        golden_values_reference, golden_values, LENGTH(golden_values), 1e-13);
}

static void test_regression_of_several_outputs_equals_scikit_learn_far_from_zero_and_for_a_constant_one(void) {
  check(DL_TASK_REGRESSION, LENGTH(golden_outputs_truth) / 3, 3, golden_outputs_scores, NULL, golden_outputs_truth,
        golden_outputs_reference, golden_outputs, LENGTH(golden_outputs), 1e-12);
}

static double r2_of(int64_t n, const float *scores, const float *y, const float *reference) {
  double sums[4];
  dl_metric found[DL_METRICS_MAX];
  const dl_metrics_kind *kind = dl_metrics_for(DL_TASK_REGRESSION);
  kind->add(n, 1, scores, NULL, y, reference, NULL, sums);
  int n_found = kind->finish(n, 1, NULL, sums, found);
  return n_found == 4 ? found[3].value : -1e9;
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
  double sums[16] = {0};
  dl_metric found[DL_METRICS_MAX];
  int n = 0;
  const dl_metrics_kind *const *kinds = dl_metrics_kinds(&n);
  for (int i = 0; i < n; i++) CU_ASSERT_EQUAL(kinds[i]->finish(0, 2, counters, sums, found), 0);
}

/* The listing and the headline are words of what finish writes; the table's place is the task's number. */
static void test_every_kind_reports_the_names_it_lists(void) {
  int n = 0;
  const dl_metrics_kind *const *kinds = dl_metrics_kinds(&n);
  CU_ASSERT_EQUAL(n, 5);
  char tasks[128] = "";
  for (int i = 0; i < n; i++) {
    int64_t counters[16] = {1, 1}; /* something was counted */
    double sums[16] = {0};
    dl_metric found[DL_METRICS_MAX];
    char names[512] = "";
    bool headline = false;
    int n_found = kinds[i]->finish(4, 2, counters, sums, found);
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
  dl_totals all = totals_of(kind, 5, 5, 2, scores[0], with, NULL, NULL);
  dl_totals few = totals_of(kind, 3, 3, 2, kept[0], without, NULL, NULL);
  const int n = kind->finish(5, 2, all.counters, all.sums, one);
  CU_ASSERT_EQUAL(kind->finish(3, 2, few.counters, few.sums, other), n);
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

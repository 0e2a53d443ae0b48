/* Figures of pixels against scikit-learn (stored) and by hand, over blocks of any size. */
#include <math.h>
#include <string.h>

#include "dltest.h"
#include "golden/metrics_golden.h"
#include "metrics/metrics.h"

enum { CLASSES = 5, MOST = 16 };

static const dl_metrics_kind *kind(void) { return dl_metrics_for(DL_TASK_SEGMENTATION); }

static int judge(const int32_t *truth, const float *scores, int64_t n, int64_t outputs, int64_t block, dl_metric *found,
                 double *each) {
  int64_t counters[CLASSES * CLASSES] = {0};
  CU_ASSERT_FATAL(kind()->counters(outputs) == outputs * outputs && kind()->sums(outputs) == 0);
  for (int64_t first = 0; first < n; first += block) {
    const dl_metrics_block piece = {.n = n - first < block ? n - first : block,
                                    .outputs = outputs,
                                    .scores = scores + first * outputs,
                                    .label = truth + first};
    kind()->add(&piece, counters, NULL, NULL);
  }
  const dl_metrics_totals totals = {.samples = 1, .outputs = outputs, .counters = counters};
  kind()->finish_each(&totals, each);
  return kind()->finish(&totals, found);
}

static void test_figures_of_pixels_are_those_of_scikit_learn(void) {
  const int64_t n = sizeof golden_maps_truth / sizeof *golden_maps_truth;
  for (int64_t block = 1; block <= n; block = 4 * block + 3) {
    dl_metric found[DL_METRICS_MAX];
    double each[CLASSES * MOST];
    const int known = sizeof golden_maps / sizeof *golden_maps,
              count = judge(golden_maps_truth, golden_maps_scores, n, CLASSES, block, found, each);
    CU_ASSERT_EQUAL(count, known);
    for (int i = 0; i < known; i++) {
      CU_ASSERT_STRING_EQUAL(found[i].name, golden_maps[i].name);
      CU_ASSERT_DOUBLE_EQUAL(found[i].value, golden_maps[i].value, 1e-13);
    }
    for (int i = 0; i < CLASSES * 5; i++) CU_ASSERT_DOUBLE_EQUAL(each[i], golden_maps_each[i], 1e-13);
  }
}

/* Truth 0 0 1 -, predicted 0 1 1 0: class 2 is nowhere. */
static void test_a_class_that_is_nowhere_is_left_out_and_so_are_pixels_without_a_label(void) {
  const int32_t truth[] = {0, 0, 1, -1};
  const float scores[] = {0.8f, 0.1f, 0.1f, 0.2f, 0.7f, 0.1f, 0.1f, 0.9f, 0.0f, 1, 0, 0};
  dl_metric found[DL_METRICS_MAX];
  double each[3 * 5];
  CU_ASSERT_EQUAL(judge(truth, scores, 4, 3, 4, found, each), 6);
  const double want[] = {2.0 / 3, 0.75, 0.5, 0.5, 2.0 / 3, 2.0 / 3};
  for (int i = 0; i < 6; i++) CU_ASSERT_DOUBLE_EQUAL(found[i].value, want[i], 1e-15);
  CU_ASSERT_EQUAL(each[2 * 5 + 4], 0);
  CU_ASSERT_EQUAL(judge(truth + 3, scores, 1, 3, 1, found, each), 0); /* nothing to judge */
}

static const dl_test tests[] = {
    DL_TEST(test_figures_of_pixels_are_those_of_scikit_learn),
    DL_TEST(test_a_class_that_is_nowhere_is_left_out_and_so_are_pixels_without_a_label),
};
DL_TEST_MAIN("segmentation", tests)

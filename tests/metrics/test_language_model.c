/* Perplexity, bits and accuracy of tokens against their definitions, over blocks of any size. */
#include <math.h>
#include <string.h>

#include "dltest.h"
#include "metrics/metrics.h"

enum { N = 200, V = 7 };

static double value_of(const dl_metric *found, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (!strcmp(found[i].name, name)) return found[i].value;
  return NAN;
}

static void test_perplexity_bits_and_accuracy_equal_their_definitions(void) {
  static float p[N * V];
  int32_t label[N];
  const dl_metrics_kind *kind = dl_metrics_for(DL_TASK_LANGUAGE_MODEL);
  uint32_t state = 5;
  double nll = 0;
  int right = 0, tokens = 0;
  for (int i = 0; i < N; i++) {
    double sum = 0, e[V];
    for (int k = 0; k < V; k++)
      sum += e[k] = exp(3.0 * (double)((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24);
    int best = 0;
    for (int k = 0; k < V; k++) p[i * V + k] = (float)(e[k] / sum);
    for (int k = 1; k < V; k++)
      if (p[i * V + k] > p[i * V + best]) best = k;
    label[i] = i % 11 == 3 ? -1 : (int32_t)((state >> 13) % V); /* some do not count */
    if (label[i] < 0) continue;
    nll -= log((double)p[i * V + label[i]]);
    right += best == label[i];
    tokens++;
  }
  for (int block = 1; block <= N; block = block * 3 + 1) {
    int64_t counters[8] = {0};
    double sums = 0;
    dl_metric found[DL_METRICS_MAX];
    CU_ASSERT_FATAL(kind->counters(V) <= 8 && kind->sums(V) == 1);
    for (int first = 0; first < N; first += block) {
      double sum;
      const dl_metrics_block piece = {
          .n = N - first < block ? N - first : block, .outputs = V, .scores = p + first * V, .label = label + first};
      kind->add(&piece, counters, &sum, NULL);
      sums += sum;
    }
    const dl_metrics_totals totals = {.samples = 10, .outputs = V, .counters = counters, .sums = &sums};
    const int n = kind->finish(&totals, found);
    CU_ASSERT_DOUBLE_EQUAL(value_of(found, n, "perplexity"), exp(nll / tokens), 1e-12 * exp(nll / tokens));
    CU_ASSERT_DOUBLE_EQUAL(value_of(found, n, "bits_per_token"), nll / tokens / log(2), 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(value_of(found, n, "accuracy"), (double)right / tokens, 1e-15);
  }
}

static void test_a_token_held_impossible_costs_much_but_not_all(void) {
  const dl_metrics_kind *kind = dl_metrics_for(DL_TASK_LANGUAGE_MODEL);
  const float p[2] = {1, 0};
  const int32_t label = 1;
  int64_t counters[8] = {0};
  double sum;
  const dl_metrics_block block = {.n = 1, .outputs = 2, .scores = p, .label = &label};
  kind->add(&block, counters, &sum, NULL);
  CU_ASSERT(isfinite(sum) && sum > 100);
}

static void test_without_tokens_there_is_no_metric(void) {
  const int64_t counters[8] = {0};
  const double sums = 0;
  dl_metric found[DL_METRICS_MAX];
  dl_metrics_totals totals = {.samples = 0, .outputs = V, .counters = counters, .sums = &sums};
  CU_ASSERT_EQUAL(dl_metrics_for(DL_TASK_LANGUAGE_MODEL)->finish(&totals, found), 0);
  totals.samples = 3;
  CU_ASSERT_EQUAL(dl_metrics_for(DL_TASK_LANGUAGE_MODEL)->finish(&totals, found), 0);
}

static const dl_test tests[] = {
    DL_TEST(test_perplexity_bits_and_accuracy_equal_their_definitions),
    DL_TEST(test_a_token_held_impossible_costs_much_but_not_all),
    DL_TEST(test_without_tokens_there_is_no_metric),
};
DL_TEST_MAIN("language_model", tests)

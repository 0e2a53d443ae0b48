/* The token that follows, at each step of a sequence. A block delivers the sum of -log p over its tokens, from the
 * probabilities; one that is below float32's range counts as the smallest there is.
 *
 * perplexity = e^(mean of -log p), bits_per_token = mean of -log2 p.
 */
#include <float.h>
#include <math.h>

#include "metrics/kinds.h"

enum { RIGHT, TOKENS, COUNTERS };

static int64_t counters(int64_t outputs) {
  (void)outputs;
  return COUNTERS;
}

static int sums_of(int64_t outputs) {
  (void)outputs;
  return 1;
}

static void add(int64_t n, int64_t outputs, const float *scores, const int32_t *label, const float *y,
                const float *reference, int64_t *counters, double *sums) {
  (void)y, (void)reference;
  sums[0] = 0;
  for (int64_t i = 0; i < n; i++) {
    if (label[i] < 0) continue;
    const float *row = scores + i * outputs;
    counters[RIGHT] += dl_first_largest(row, outputs) == label[i];
    counters[TOKENS]++;
    sums[0] -= log(fmax((double)row[label[i]], (double)FLT_TRUE_MIN));
  }
}

static int finish(int64_t samples, int64_t outputs, const int64_t *counters, const double *sums, dl_metric *out) {
  (void)outputs;
  if (samples <= 0 || counters[TOKENS] <= 0) return 0;
  const double tokens = (double)counters[TOKENS], mean = sums[0] / tokens;
  const dl_metric found[] = {
      {"perplexity", exp(mean)},
      {"bits_per_token", mean / log(2.0)},
      {"accuracy", (double)counters[RIGHT] / tokens},
  };
  int n_found = (int)(sizeof(found) / sizeof(found[0]));
  for (int i = 0; i < n_found; i++) out[i] = found[i];
  return n_found;
}

const dl_metrics_kind dl_metrics_language_model = {
    .task = "language_model",
    .metrics = "perplexity|bits_per_token|accuracy",
    .headline = "perplexity",
    .help = "the token that follows, at each step; means over tokens",
    .counters = counters,
    .sums = sums_of,
    .add = add,
    .finish = finish,
};

/* The token that follows, at each step of a sequence. A block delivers the sum of -log p over its tokens, from the
 * probabilities; one that is below float32's range counts as the smallest there is.
 *
 * perplexity = e^(mean of -log p), bits_per_token = mean of -log2 p.
 */
#include <float.h>

#include "metrics/kinds.h"

enum { RIGHT, TOKENS, COUNTERS };

static int64_t counters(int64_t outputs) { return COUNTERS + 0 * outputs; }
static int sums_of(int64_t outputs) { return (int)(1 + 0 * outputs); }

static void add(const dl_metrics_block *block, int64_t *counters, double *sums, double *maxima) {
  (void)maxima;
  sums[0] = 0;
  for (int64_t i = 0; i < block->n; i++) {
    const int32_t truth = block->label[i];
    if (truth < 0) continue;
    const float *row = block->scores + i * block->outputs;
    counters[RIGHT] += dl_first_largest(row, block->outputs) == truth;
    counters[TOKENS]++;
    sums[0] -= log(fmax((double)row[truth], (double)FLT_TRUE_MIN));
  }
}

static int finish(const dl_metrics_totals *totals, dl_metric *out) {
  if (totals->samples <= 0 || totals->counters[TOKENS] <= 0) return 0;
  const double tokens = (double)totals->counters[TOKENS], mean = totals->sums[0] / tokens;
  const dl_metric found[] = {
      {"perplexity", exp(mean)},
      {"bits_per_token", mean / log(2.0)},
      {"accuracy", (double)totals->counters[RIGHT] / tokens},
  };
  return DL_REPORT(found, out);
}

const dl_metrics_kind dl_metrics_language_model = {
    .task = "language_model",
    .metrics = "perplexity|bits_per_token|accuracy",
    .headline = "perplexity",
    .falling = "perplexity|bits_per_token",
    .help = "the token that follows, at each step; means over tokens",
    .counters = counters,
    .confusion = dl_no_counters,
    .sums = sums_of,
    .add = add,
    .finish = finish,
};

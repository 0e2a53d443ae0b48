/* Yes or no, one output: a sample counts as positive where its score is above the threshold (0.5, that is a logit above
 * 0, unless another is asked for). A probability is clipped to float32's distance from 0 and 1 before its logarithm is
 * taken, as scikit-learn does.
 *
 *   mcc = (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)), 0 where that has a factor 0
 */
#include <float.h>

#include "metrics/kinds.h"

enum { TN, FP, FN, TP, CELLS, LOG_LOSS = CELLS, BRIER, SUMS };

static int64_t counters(int64_t outputs) { return CELLS + 0 * outputs; }
static int64_t confusion(int64_t outputs) { return 2 + 0 * outputs; }
static int sums_of(int64_t outputs) { return (int)(SUMS + 0 * outputs); }

static void add(const dl_metrics_block *block, int64_t *counters, double *sums, double *maxima) {
  (void)maxima;
  for (int k = 0; k < SUMS; k++) sums[k] = 0;
  for (int64_t i = 0; i < block->n; i++) {
    const double p = (double)block->scores[i * block->outputs], weight = dl_weight(block, i);
    const bool truth = block->y[i * block->outputs] > 0.5F;
    const int cell = 2 * truth + (p > block->threshold);
    const double of_truth = truth ? p : 1 - p;
    counters[cell]++;
    sums[cell] += weight;
    sums[LOG_LOSS] -= weight * log(fmin(fmax(of_truth, (double)FLT_EPSILON), 1 - (double)FLT_EPSILON));
    sums[BRIER] += weight * (p - truth) * (p - truth);
  }
}

static double mcc(const double *cell) {
  const double product = (cell[TP] + cell[FP]) * (cell[TP] + cell[FN]) * (cell[TN] + cell[FP]) * (cell[TN] + cell[FN]);
  return product > 0 ? (cell[TP] * cell[TN] - cell[FP] * cell[FN]) / sqrt(product) : 0;
}

static int finish(const dl_metrics_totals *totals, dl_metric *out) {
  const double *sums = totals->sums, weight = sums[TP] + sums[FP] + sums[FN] + sums[TN];
  if (totals->samples <= 0) return 0;
  const dl_hits hits = {sums[TP], sums[FP], sums[FN]};
  const dl_metric found[] = {
      {"accuracy", (sums[TP] + sums[TN]) / weight},
      {"precision", dl_precision(hits)},
      {"recall", dl_recall(hits)},
      {"f1", dl_f1(hits)},
      {"mcc", mcc(sums)},
      {"log_loss", sums[LOG_LOSS] / weight},
      {"brier", sums[BRIER] / weight},
      {"roc_auc", DL_RANKED(totals, 0, roc_auc)},
      {"pr_auc", DL_RANKED(totals, 0, pr_auc)},
      {"best_f1", DL_RANKED(totals, 0, best_f1)},
      {"best_f1_threshold", DL_RANKED(totals, 0, best_f1_threshold)},
  };
  return DL_REPORT(found, out);
}

const dl_metrics_kind dl_metrics_binary = {
    .task = "binary",
    .metrics = "accuracy|precision|recall|f1|mcc|log_loss|brier|roc_auc|pr_auc|best_f1|best_f1_threshold",
    .headline = "accuracy",
    .falling = "log_loss|brier",
    .neither = "best_f1_threshold",
    .help = "yes or no; yes where the probability is above 0.5, or --threshold",
    .counters = counters,
    .confusion = confusion,
    .sums = sums_of,
    .ranked = true,
    .add = add,
    .finish = finish,
};

/* Values, one or several outputs a sample. A block delivers its weight W and five sums an output, from which all but
 * the largest error follows (w the sample's weight):
 *
 *   residual sum of squares   RSS = sum w (y - f)^2       sum w (y - f)       absolute deviations   sum w |y - f|
 *   total sum of squares      TSS = sum w (y - r)^2 - (sum w (y - r))^2 / W       for any reference r
 *   r2 = 1 - RSS / TSS        explained variance = 1 - (RSS - (sum w (y - f))^2 / W) / TSS
 *
 * TSS loses as many digits as r is far from the mean of y, measured in standard deviations; the caller takes the means
 * of the training targets. What is below the rounding of the sums counts as a constant target, where r2 is 1 for an
 * exact prediction and else 0, as in scikit-learn; explained variance is 1 there for a constant error.
 */
#include "metrics/kinds.h"

enum { SQUARED, ABSOLUTE, RESIDUAL, TARGET, TARGET_SQUARED, PER_OUTPUT };

#define ROUNDING 1e-13 /* relative to the sum of squares; blocks have at most some thousands of samples */

static int sums_of(int64_t outputs) { return (int)(1 + PER_OUTPUT * outputs); } /* [0]: W */

static void add(const dl_metrics_block *block, int64_t *counters, double *sums, double *maxima) {
  const int64_t outputs = block->outputs;
  (void)counters;
  for (int64_t k = 0; k < 1 + PER_OUTPUT * outputs; k++) sums[k] = 0;
  for (int64_t i = 0; i < block->n; i++) {
    const double weight = dl_weight(block, i);
    sums[0] += weight;
    for (int64_t o = 0; o < outputs && weight > 0; o++) {
      const double y = (double)block->y[i * outputs + o], residual = y - (double)block->scores[i * outputs + o];
      const double target = y - (block->reference ? (double)block->reference[o] : 0.0);
      double *sum = sums + 1 + PER_OUTPUT * o;
      sum[SQUARED] += weight * residual * residual;
      sum[ABSOLUTE] += weight * fabs(residual);
      sum[RESIDUAL] += weight * residual;
      sum[TARGET] += weight * target;
      sum[TARGET_SQUARED] += weight * target * target;
      if (!(fabs(residual) <= maxima[0])) maxima[0] = fabs(residual);
    }
  }
}

/* 1 - missed / TSS, for a residual sum of squares or of squares about the mean. */
static double explained(double missed, double weight, const double *sum) {
  const double total = sum[TARGET_SQUARED] - sum[TARGET] * sum[TARGET] / weight;
  if (total <= ROUNDING * sum[TARGET_SQUARED]) return missed > ROUNDING * sum[SQUARED] ? 0 : 1;
  return 1 - missed / total;
}

static int finish(const dl_metrics_totals *totals, dl_metric *out) {
  if (totals->samples <= 0) return 0;
  const double weight = totals->sums[0], outputs = (double)totals->outputs;
  double squared = 0, absolute = 0, r2 = 0, variance = 0;
  for (int64_t o = 0; o < totals->outputs; o++) {
    const double *sum = totals->sums + 1 + PER_OUTPUT * o;
    squared += sum[SQUARED];
    absolute += sum[ABSOLUTE];
    r2 += explained(sum[SQUARED], weight, sum);
    variance += explained(sum[SQUARED] - sum[RESIDUAL] * sum[RESIDUAL] / weight, weight, sum);
  }
  const double mse = squared / (weight * outputs);
  const bool defined = totals->samples > 1;
  const dl_metric found[] = {
      {"mse", mse},
      {"rmse", sqrt(mse)},
      {"mae", absolute / (weight * outputs)},
      {"r2", defined ? r2 / outputs : NAN},
      {"explained_variance", defined ? variance / outputs : NAN},
      {"max_error", totals->maxima[0]},
  };
  return DL_REPORT(found, out);
}

const dl_metrics_kind dl_metrics_regression = {
    .task = "regression",
    .metrics = "mse|rmse|mae|r2|explained_variance|max_error",
    .headline = "r2",
    .falling = "mse|rmse|mae|max_error",
    .help = "values; means over samples and outputs, r2 and explained_variance the mean over outputs",
    .counters = dl_no_counters,
    .confusion = dl_no_counters,
    .sums = sums_of,
    .maxima = 1,
    .add = add,
    .finish = finish,
};

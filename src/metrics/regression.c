/* Values, one or several outputs a sample. A block delivers four sums an output, from which all follows:
 *
 *   residual sum of squares   RSS = sum (y - f)^2         absolute deviations   sum |y - f|
 *   total sum of squares      TSS = sum (y - r)^2 - (sum (y - r))^2 / n         for any reference r
 *
 * TSS loses as many digits as r is far from the mean of y, measured in standard deviations; the caller takes the means
 * of the training targets. What is below the rounding of the sums counts as a constant target, where r2 is 1 for an
 * exact prediction and else 0, as in scikit-learn.
 */
#include <math.h>

#include "metrics/kinds.h"

enum { SQUARED, ABSOLUTE, TARGET, TARGET_SQUARED, PER_OUTPUT };

#define ROUNDING 1e-13 /* relative to the sum of squares; blocks have at most some thousands of samples */

static int64_t counters(int64_t outputs) {
  (void)outputs;
  return 0;
}

static int sums_of(int64_t outputs) { return (int)(PER_OUTPUT * outputs); }

static void add(int64_t n, int64_t outputs, const float *scores, const int32_t *label, const float *y,
                const float *reference, int64_t *counters, double *sums) {
  (void)label, (void)counters;
  for (int64_t k = 0; k < PER_OUTPUT * outputs; k++) sums[k] = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t o = 0; o < outputs; o++) {
      double residual = (double)y[i * outputs + o] - (double)scores[i * outputs + o];
      double target = (double)y[i * outputs + o] - (reference ? (double)reference[o] : 0.0);
      double *sum = sums + PER_OUTPUT * o;
      sum[SQUARED] += residual * residual;
      sum[ABSOLUTE] += fabs(residual);
      sum[TARGET] += target;
      sum[TARGET_SQUARED] += target * target;
    }
}

static double r2(double n, const double *sum) {
  if (n < 2) return NAN;
  double total = sum[TARGET_SQUARED] - sum[TARGET] * sum[TARGET] / n;
  if (total <= ROUNDING * sum[TARGET_SQUARED]) return sum[SQUARED] > 0 ? 0 : 1;
  return 1 - sum[SQUARED] / total;
}

static int finish(int64_t samples, int64_t outputs, const int64_t *counters, const double *sums, dl_metric *out) {
  (void)counters;
  if (samples <= 0) return 0;
  double n = (double)samples, squared = 0, absolute = 0, r2_sum = 0;
  for (int64_t o = 0; o < outputs; o++) {
    const double *sum = sums + PER_OUTPUT * o;
    squared += sum[SQUARED];
    absolute += sum[ABSOLUTE];
    r2_sum += r2(n, sum);
  }
  double mse = squared / (n * (double)outputs);
  const dl_metric found[] = {
      {"mse", mse},
      {"rmse", sqrt(mse)},
      {"mae", absolute / (n * (double)outputs)},
      {"r2", r2_sum / (double)outputs},
  };
  int n_found = (int)(sizeof(found) / sizeof(found[0]));
  for (int i = 0; i < n_found; i++) out[i] = found[i];
  return n_found;
}

const dl_metrics_kind dl_metrics_regression = {
    .task = "regression",
    .metrics = "mse|rmse|mae|r2",
    .headline = "r2",
    .help = "values; means over samples and outputs, r2 the mean of the outputs' r2",
    .counters = counters,
    .sums = sums_of,
    .add = add,
    .finish = finish,
};

/* Yes or no, one output: a sample counts as positive where its score is above 0.5, that is its logit above 0. */
#include "metrics/kinds.h"

enum { TP, FP, FN, TN, COUNTERS };

static int64_t counters(int64_t outputs) {
  (void)outputs;
  return COUNTERS;
}

static void add(int64_t n, int64_t outputs, const float *scores, const int32_t *label, const float *y,
                const float *reference, int64_t *counters, double *sums) {
  (void)label, (void)reference, (void)sums;
  for (int64_t i = 0; i < n; i++) {
    bool truth = y[i * outputs] > 0.5F, predicted = scores[i * outputs] > 0.5F;
    counters[truth ? (predicted ? TP : FN) : (predicted ? FP : TN)]++;
  }
}

static int finish(int64_t samples, int64_t outputs, const int64_t *counters, const double *sums, dl_metric *out) {
  (void)outputs, (void)sums;
  if (samples <= 0) return 0;
  double tp = (double)counters[TP], fp = (double)counters[FP], fn = (double)counters[FN], tn = (double)counters[TN];
  const dl_metric found[] = {
      {"accuracy", (tp + tn) / (double)samples},
      {"precision", dl_ratio(tp, tp + fp)},
      {"recall", dl_ratio(tp, tp + fn)},
      {"f1", dl_f1(tp, fp, fn)},
  };
  int n_found = (int)(sizeof(found) / sizeof(found[0]));
  for (int i = 0; i < n_found; i++) out[i] = found[i];
  return n_found;
}

const dl_metrics_kind dl_metrics_binary = {
    .task = "binary",
    .metrics = "accuracy|precision|recall|f1",
    .headline = "accuracy",
    .help = "yes or no; positive where the probability is above 0.5",
    .counters = counters,
    .sums = dl_no_sums,
    .add = add,
    .finish = finish,
};

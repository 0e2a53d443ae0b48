/* One label out of several classes: everything follows from the confusion counts.
 *
 * Averages over classes leave out a class that is neither in the truth nor predicted, as scikit-learn does: it has no
 * precision and no recall. Balanced accuracy averages recall over the classes that the truth has.
 */
#include "metrics/kinds.h"

static int64_t counters(int64_t outputs) { return outputs * outputs; }

static void add(int64_t n, int64_t outputs, const float *scores, const int32_t *label, const float *y,
                const float *reference, int64_t *counters, double *sums) {
  (void)y, (void)reference, (void)sums;
  for (int64_t i = 0; i < n; i++)
    if (label[i] >= 0) counters[label[i] * outputs + dl_first_largest(scores + i * outputs, outputs)]++;
}

static int finish(int64_t samples, int64_t outputs, const int64_t *counters, const double *sums, dl_metric *out) {
  (void)sums;
  if (samples <= 0) return 0;
  double n = 0, right = 0, present = 0, in_truth = 0, precision = 0, recall = 0, f1 = 0, weighted_f1 = 0;
  for (int64_t c = 0; c < outputs; c++) {
    int64_t truth = 0, predicted = 0, hits = counters[c * outputs + c];
    for (int64_t k = 0; k < outputs; k++) {
      truth += counters[c * outputs + k];
      predicted += counters[k * outputs + c];
    }
    n += (double)truth;
    double tp = (double)hits, fp = (double)(predicted - hits), fn = (double)(truth - hits);
    right += tp;
    present += truth + predicted > 0;
    in_truth += truth > 0;
    precision += dl_ratio(tp, tp + fp);
    recall += dl_ratio(tp, tp + fn);
    f1 += dl_f1(tp, fp, fn);
    weighted_f1 += dl_f1(tp, fp, fn) * (double)truth;
  }
  const dl_metric found[] = {
      {"accuracy", dl_ratio(right, n)},
      {"balanced_accuracy", dl_ratio(recall, in_truth)},
      {"macro_precision", dl_ratio(precision, present)},
      {"macro_recall", dl_ratio(recall, present)},
      {"macro_f1", dl_ratio(f1, present)},
      {"weighted_f1", dl_ratio(weighted_f1, n)},
  };
  int n_found = (int)(sizeof(found) / sizeof(found[0]));
  for (int i = 0; i < n_found; i++) out[i] = found[i];
  return n_found;
}

const dl_metrics_kind dl_metrics_classification = {
    .task = "classification",
    .metrics = "accuracy|balanced_accuracy|macro_precision|macro_recall|macro_f1|weighted_f1",
    .headline = "accuracy",
    .help = "one of several classes; averages leave out a class that is neither in the truth nor predicted",
    .counters = counters,
    .sums = dl_no_sums,
    .add = add,
    .finish = finish,
};

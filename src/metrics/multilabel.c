/* Several yes-or-no labels a sample. Counters: [0] samples with every label right, then tp, fp, fn of each label.
 *
 * subset_accuracy is scikit-learn's accuracy_score of a label matrix; label_accuracy counts single labels (1 - Hamming
 * loss).
 */
#include "metrics/kinds.h"

enum { TP, FP, FN, PER_LABEL };

static int64_t counters(int64_t outputs) { return 1 + PER_LABEL * outputs; }

static void add(int64_t n, int64_t outputs, const float *scores, const int32_t *label, const float *y,
                const float *reference, int64_t *counters, double *sums) {
  (void)label, (void)reference, (void)sums;
  for (int64_t i = 0; i < n; i++) {
    bool all_right = true;
    for (int64_t o = 0; o < outputs; o++) {
      bool truth = y[i * outputs + o] > 0.5F, predicted = scores[i * outputs + o] > 0.5F;
      int64_t *count = counters + 1 + PER_LABEL * o;
      count[TP] += truth && predicted;
      count[FP] += !truth && predicted;
      count[FN] += truth && !predicted;
      all_right &= truth == predicted;
    }
    counters[0] += all_right;
  }
}

static int finish(int64_t samples, int64_t outputs, const int64_t *counters, const double *sums, dl_metric *out) {
  (void)sums;
  if (samples <= 0) return 0;
  double tp = 0, fp = 0, fn = 0, macro_f1 = 0;
  for (int64_t o = 0; o < outputs; o++) {
    const int64_t *count = counters + 1 + PER_LABEL * o;
    tp += (double)count[TP];
    fp += (double)count[FP];
    fn += (double)count[FN];
    macro_f1 += dl_f1((double)count[TP], (double)count[FP], (double)count[FN]);
  }
  const dl_metric found[] = {
      {"subset_accuracy", (double)counters[0] / (double)samples},
      {"label_accuracy", 1 - (fp + fn) / ((double)samples * (double)outputs)},
      {"micro_precision", dl_ratio(tp, tp + fp)},
      {"micro_recall", dl_ratio(tp, tp + fn)},
      {"micro_f1", dl_f1(tp, fp, fn)},
      {"macro_f1", macro_f1 / (double)outputs},
  };
  int n_found = (int)(sizeof(found) / sizeof(found[0]));
  for (int i = 0; i < n_found; i++) out[i] = found[i];
  return n_found;
}

const dl_metrics_kind dl_metrics_multilabel = {
    .task = "multilabel",
    .metrics = "subset_accuracy|label_accuracy|micro_precision|micro_recall|micro_f1|macro_f1",
    .headline = "micro_f1",
    .help = "several yes-or-no labels a sample; a label is predicted where its probability is above 0.5",
    .counters = counters,
    .sums = dl_no_sums,
    .add = add,
    .finish = finish,
};

/* One label out of several classes. All but the areas and top-5 follows from three weights a class: of the samples that
 * are of it, that are predicted as it, and of both.
 *
 * Averages over classes leave out a class that is neither in the truth nor predicted, as scikit-learn does: it has no
 * precision and no recall. Balanced accuracy averages recall over the classes that the truth has. Micro averages of
 * precision, recall and F1 are all the accuracy.
 *
 *   mcc = (n c - sum_k t_k p_k) / sqrt((n^2 - sum p_k^2) (n^2 - sum t_k^2)), 0 where that has a factor 0:
 *   n all, c right, t_k of class k, p_k predicted as it
 */
#include "metrics/kinds.h"

enum { TRUTH, PREDICTED, BOTH, PER_CLASS, TOP = 5 };

static int64_t counters(int64_t outputs) { return outputs * outputs; }
static int64_t confusion(int64_t outputs) { return outputs; }
static int sums_of(int64_t outputs) { return (int)(1 + PER_CLASS * outputs); } /* [0]: right among the first TOP */

/* How many classes stand before `label`: those of larger scores, and the lower ones of equal scores. */
static int64_t place_of(const float *scores, int64_t n, int64_t label) {
  int64_t before = 0;
  for (int64_t c = 0; c < n; c++) before += scores[c] > scores[label] || (scores[c] == scores[label] && c < label);
  return before;
}

static void add(const dl_metrics_block *block, int64_t *counters, double *sums, double *maxima) {
  const int64_t outputs = block->outputs;
  (void)maxima;
  for (int64_t k = 0; k < 1 + PER_CLASS * outputs; k++) sums[k] = 0;
  for (int64_t i = 0; i < block->n; i++) {
    const int64_t truth = block->label[i];
    if (truth < 0) continue;
    const float *scores = block->scores + i * outputs;
    const int64_t predicted = dl_first_largest(scores, outputs);
    const double weight = dl_weight(block, i);
    counters[truth * outputs + predicted]++;
    sums[1 + PER_CLASS * truth + TRUTH] += weight;
    sums[1 + PER_CLASS * predicted + PREDICTED] += weight;
    if (truth == predicted) sums[1 + PER_CLASS * truth + BOTH] += weight;
    if (truth == predicted || place_of(scores, outputs, truth) < TOP) sums[0] += weight;
  }
}

static dl_hits hits_of(const double *sums, int64_t c) {
  const double *w = sums + 1 + PER_CLASS * c;
  return (dl_hits){w[BOTH], w[PREDICTED] - w[BOTH], w[TRUTH] - w[BOTH]};
}

typedef struct averages {
  double weight, right, present, in_truth, precision, recall, f1, precision_w, f1_w, both, truth_2, predicted_2;
} averages;

static averages average(const double *sums, int64_t outputs) {
  averages a = {0};
  for (int64_t c = 0; c < outputs; c++) {
    const double *w = sums + 1 + PER_CLASS * c;
    const dl_hits h = hits_of(sums, c);
    a.weight += w[TRUTH];
    a.right += w[BOTH];
    a.present += w[TRUTH] + w[PREDICTED] > 0;
    a.in_truth += w[TRUTH] > 0;
    a.precision += dl_precision(h);
    a.recall += dl_recall(h);
    a.f1 += dl_f1(h);
    a.precision_w += dl_precision(h) * w[TRUTH];
    a.f1_w += dl_f1(h) * w[TRUTH];
    a.both += w[TRUTH] * w[PREDICTED];
    a.truth_2 += w[TRUTH] * w[TRUTH];
    a.predicted_2 += w[PREDICTED] * w[PREDICTED];
  }
  return a;
}

static double mcc(const averages *a) {
  const double all = a->weight * a->weight, product = (all - a->predicted_2) * (all - a->truth_2);
  return product > 0 ? (a->weight * a->right - a->both) / sqrt(product) : 0;
}

static int finish(const dl_metrics_totals *totals, dl_metric *out) {
  if (totals->samples <= 0) return 0;
  const averages a = average(totals->sums, totals->outputs);
  const dl_metric found[] = {
      {"accuracy", dl_ratio(a.right, a.weight)},
      {"balanced_accuracy", dl_ratio(a.recall, a.in_truth)},
      {"macro_precision", dl_ratio(a.precision, a.present)},
      {"macro_recall", dl_ratio(a.recall, a.present)},
      {"macro_f1", dl_ratio(a.f1, a.present)},
      {"micro_f1", dl_ratio(a.right, a.weight)},
      {"weighted_precision", dl_ratio(a.precision_w, a.weight)},
      {"weighted_recall", dl_ratio(a.right, a.weight)},
      {"weighted_f1", dl_ratio(a.f1_w, a.weight)},
      {"mcc", mcc(&a)},
      {"macro_roc_auc", DL_MEAN_RANKED(totals, roc_auc)},
      {"top5_accuracy", dl_ratio(totals->sums[0], a.weight)},
  };
  return DL_REPORT(found, out) - (totals->outputs <= TOP); /* top-5 says nothing of five classes */
}

static void finish_each(const dl_metrics_totals *totals, double *out) {
  for (int64_t c = 0; c < totals->outputs; c++)
    dl_hits_figures(totals, c, hits_of(totals->sums, c), out + c * DL_HITS_FIGURES);
}

const dl_metrics_kind dl_metrics_classification = {
    .task = "classification",
    .metrics =
        "accuracy|balanced_accuracy|macro_precision|macro_recall|macro_f1|micro_f1|weighted_precision|"
        "weighted_recall|weighted_f1|mcc|macro_roc_auc|top5_accuracy",
    .headline = "accuracy",
    .help =
        "one of several classes; averages leave out a class that is neither in the truth nor predicted; macro_roc_auc "
        "is the mean of one class against the rest; top5_accuracy where there are more than 5 classes",
    .counters = counters,
    .confusion = confusion,
    .sums = sums_of,
    .ranked = true,
    .add = add,
    .finish = finish,
    .each_title = "per_class",
    .each = DL_HITS_NAMES,
    .finish_each = finish_each,
};

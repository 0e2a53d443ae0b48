/* Several yes-or-no labels a sample, each yes where its probability is above the threshold. Sums: the weight of all
 * samples, of those with every label right, then tp, fp, fn of each label.
 *
 * subset_accuracy is scikit-learn's accuracy_score of a label matrix; label_accuracy counts single labels (1 - Hamming
 * loss). Areas are not defined for a label that all samples have, or none: their averages leave it out.
 */
#include "metrics/kinds.h"

enum { ALL, RIGHT, LABELS };
enum { TP, FP, FN, PER_LABEL };

static int sums_of(int64_t outputs) { return (int)(LABELS + PER_LABEL * outputs); }

static void add(const dl_metrics_block *block, int64_t *counters, double *sums, double *maxima) {
  const int64_t outputs = block->outputs;
  (void)counters, (void)maxima;
  for (int64_t k = 0; k < LABELS + PER_LABEL * outputs; k++) sums[k] = 0;
  for (int64_t i = 0; i < block->n; i++) {
    const double weight = dl_weight(block, i);
    bool all_right = true;
    for (int64_t o = 0; o < outputs; o++) {
      const bool truth = block->y[i * outputs + o] > 0.5F;
      const bool predicted = (double)block->scores[i * outputs + o] > block->threshold;
      double *of_label = sums + LABELS + PER_LABEL * o;
      if (truth || predicted) of_label[truth && predicted ? TP : truth ? FN : FP] += weight;
      all_right &= truth == predicted;
    }
    sums[ALL] += weight;
    if (all_right) sums[RIGHT] += weight;
  }
}

static dl_hits hits_of(const double *sums, int64_t o) {
  const double *w = sums + LABELS + PER_LABEL * o;
  return (dl_hits){w[TP], w[FP], w[FN]};
}

static int finish(const dl_metrics_totals *totals, dl_metric *out) {
  if (totals->samples <= 0) return 0;
  const double *sums = totals->sums, outputs = (double)totals->outputs;
  dl_hits all = {0, 0, 0};
  double precision = 0, recall = 0, f1 = 0;
  for (int64_t o = 0; o < totals->outputs; o++) {
    const dl_hits h = hits_of(sums, o);
    all.tp += h.tp;
    all.fp += h.fp;
    all.fn += h.fn;
    precision += dl_precision(h);
    recall += dl_recall(h);
    f1 += dl_f1(h);
  }
  const dl_metric found[] = {
      {"subset_accuracy", sums[RIGHT] / sums[ALL]},
      {"label_accuracy", 1 - (all.fp + all.fn) / (sums[ALL] * outputs)},
      {"micro_precision", dl_precision(all)},
      {"micro_recall", dl_recall(all)},
      {"micro_f1", dl_f1(all)},
      {"macro_precision", precision / outputs},
      {"macro_recall", recall / outputs},
      {"macro_f1", f1 / outputs},
      {"macro_roc_auc", DL_MEAN_RANKED(totals, roc_auc)},
      {"macro_pr_auc", DL_MEAN_RANKED(totals, pr_auc)},
  };
  return DL_REPORT(found, out);
}

enum { BEST_F1 = DL_HITS_FIGURES, BEST_F1_THRESHOLD, EACH };

static void finish_each(const dl_metrics_totals *totals, double *out) {
  for (int64_t o = 0; o < totals->outputs; o++) {
    double *row = out + o * EACH;
    dl_hits_figures(totals, o, hits_of(totals->sums, o), row);
    row[BEST_F1] = DL_RANKED(totals, o, best_f1);
    row[BEST_F1_THRESHOLD] = DL_RANKED(totals, o, best_f1_threshold);
  }
}

const dl_metrics_kind dl_metrics_multilabel = {
    .task = "multilabel",
    .metrics =
        "subset_accuracy|label_accuracy|micro_precision|micro_recall|micro_f1|macro_precision|macro_recall|"
        "macro_f1|macro_roc_auc|macro_pr_auc",
    .headline = "micro_f1",
    .help = "several yes-or-no labels a sample; yes where the probability is above 0.5, or --threshold",
    .counters = dl_no_counters,
    .confusion = dl_no_counters,
    .sums = sums_of,
    .ranked = true,
    .add = add,
    .finish = finish,
    .each_title = "per_label",
    .each = DL_HITS_NAMES "|best_f1|best_f1_threshold",
    .finish_each = finish_each,
};

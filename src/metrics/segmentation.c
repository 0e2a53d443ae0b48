/* A class for every pixel. All follows from the confusion counts over pixels; those without a label do not count, and a
 * sample's weight does not either.
 *
 *   iou = tp / (tp + fp + fn), Jaccard's index; the F1 of a class is its Dice coefficient
 *
 * Averages over classes leave out a class that is neither in the truth nor predicted; balanced accuracy averages recall
 * over the classes that the truth has.
 */
#include "metrics/kinds.h"

static int64_t counters(int64_t outputs) { return outputs * outputs; }
static int64_t confusion(int64_t outputs) { return outputs; }
static int sums_of(int64_t outputs) { return (int)(0 * outputs); }

static void add(const dl_metrics_block *block, int64_t *counters, double *sums, double *maxima) {
  (void)sums;
  (void)maxima;
  for (int64_t i = 0; i < block->n; i++)
    if (block->label[i] >= 0)
      counters[block->label[i] * block->outputs +
               dl_first_largest(block->scores + i * block->outputs, block->outputs)]++;
}

static dl_hits hits_of(const dl_metrics_totals *totals, int64_t c) {
  const int64_t n = totals->outputs, *counts = totals->counters, both = counts[c * n + c];
  int64_t truth = 0, predicted = 0;
  for (int64_t k = 0; k < n; k++) {
    truth += counts[c * n + k];
    predicted += counts[k * n + c];
  }
  return (dl_hits){(double)both, (double)(predicted - both), (double)(truth - both)};
}

static double iou(dl_hits h) { return dl_ratio(h.tp, h.tp + h.fp + h.fn); }

static int finish(const dl_metrics_totals *totals, dl_metric *out) {
  double pixels = 0, right = 0, in_truth = 0, present = 0, recall = 0, ious = 0, f1 = 0, iou_w = 0, f1_w = 0;
  for (int64_t c = 0; c < totals->outputs; c++) {
    const dl_hits h = hits_of(totals, c);
    const double truth = h.tp + h.fn;
    pixels += truth;
    right += h.tp;
    in_truth += truth > 0;
    present += truth + h.fp > 0;
    recall += dl_recall(h);
    ious += iou(h);
    f1 += dl_f1(h);
    iou_w += iou(h) * truth;
    f1_w += dl_f1(h) * truth;
  }
  if (!(pixels > 0)) return 0;
  const dl_metric found[] = {
      {"accuracy", right / pixels},          {"balanced_accuracy", dl_ratio(recall, in_truth)},
      {"mean_iou", dl_ratio(ious, present)}, {"weighted_iou", iou_w / pixels},
      {"macro_f1", dl_ratio(f1, present)},   {"weighted_f1", f1_w / pixels},
  };
  return DL_REPORT(found, out);
}

static void finish_each(const dl_metrics_totals *totals, double *out) {
  for (int64_t c = 0; c < totals->outputs; c++) {
    const dl_hits h = hits_of(totals, c);
    const double figures[] = {dl_precision(h), dl_recall(h), dl_f1(h), iou(h), h.tp + h.fn};
    for (int k = 0; k < 5; k++) *out++ = figures[k];
  }
}

const dl_metrics_kind dl_metrics_segmentation = {
    .task = "segmentation",
    .metrics = "accuracy|balanced_accuracy|mean_iou|weighted_iou|macro_f1|weighted_f1",
    .headline = "mean_iou",
    .help =
        "a class for every pixel; figures are of pixels, means over classes leave out a class that is neither in the "
        "truth nor predicted; the F1 of a class is its Dice coefficient",
    .counters = counters,
    .confusion = confusion,
    .sums = sums_of,
    .add = add,
    .finish = finish,
    .each_title = "per_class",
    .each = "precision|recall|f1|iou|support",
    .finish_each = finish_each,
};

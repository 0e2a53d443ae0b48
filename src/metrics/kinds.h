/* kinds.h - the rows of the table of metrics, one file each, and what they share (floor: metrics, private). */
#ifndef DL_METRICS_KINDS_H
#define DL_METRICS_KINDS_H

#include <math.h>

#include "metrics/metrics.h"

extern const dl_metrics_kind dl_metrics_classification, dl_metrics_binary, dl_metrics_multilabel, dl_metrics_regression,
    dl_metrics_language_model, dl_metrics_segmentation;

/* Weights of one class or label. */
typedef struct dl_hits {
  double tp, fp, fn;
} dl_hits;

/* a / b, and 0 for 0 / 0: scikit-learn's zero_division = 0. */
static inline double dl_ratio(double a, double b) { return b > 0 ? a / b : 0; }

static inline double dl_precision(dl_hits h) { return dl_ratio(h.tp, h.tp + h.fp); }
static inline double dl_recall(dl_hits h) { return dl_ratio(h.tp, h.tp + h.fn); }
/* F1 = 2 tp / (2 tp + fp + fn), the harmonic mean of precision and recall. */
static inline double dl_f1(dl_hits h) { return dl_ratio(2 * h.tp, 2 * h.tp + h.fp + h.fn); }

static inline double dl_weight(const dl_metrics_block *block, int64_t i) {
  return block->weight ? (double)block->weight[i] : 1;
}

/* The mean of what is defined in `values` (n, at a distance of `stride`); NaN where nothing is. */
static inline double dl_mean_defined(const double *values, int64_t n, int64_t stride) {
  double sum = 0, defined = 0;
  for (int64_t i = 0; i < n; i++)
    if (!isnan(values[i * stride])) {
      sum += values[i * stride];
      defined++;
    }
  return defined > 0 ? sum / defined : NAN;
}
#define DL_RANKED_STRIDE ((int64_t)(sizeof(dl_rank_figures) / sizeof(double)))
#define DL_MEAN_RANKED(totals, figure) \
  ((totals)->ranked ? dl_mean_defined(&(totals)->ranked[0].figure, (totals)->outputs, DL_RANKED_STRIDE) : NAN)
#define DL_RANKED(totals, output, figure) ((totals)->ranked ? (totals)->ranked[output].figure : NAN)

/* The figures of one class or label that `each` of several kinds begins with: DL_HITS_NAMES. */
#define DL_HITS_NAMES "precision|recall|f1|support|roc_auc|pr_auc"
enum { DL_HITS_FIGURES = 6 };
static inline void dl_hits_figures(const dl_metrics_totals *totals, int64_t output, dl_hits h, double *out) {
  const double figures[DL_HITS_FIGURES] = {dl_precision(h),
                                           dl_recall(h),
                                           dl_f1(h),
                                           h.tp + h.fn,
                                           DL_RANKED(totals, output, roc_auc),
                                           DL_RANKED(totals, output, pr_auc)};
  for (int i = 0; i < DL_HITS_FIGURES; i++) out[i] = figures[i];
}

/* For kinds that have none. */
static inline int64_t dl_no_counters(int64_t outputs) { return 0 * outputs; }

/* Copies what was found; returns how many. */
static inline int dl_report(const dl_metric *found, size_t n, dl_metric *out) {
  for (size_t i = 0; i < n; i++) out[i] = found[i];
  return (int)n;
}
#define DL_REPORT(found, out) dl_report(found, sizeof(found) / sizeof((found)[0]), out)

#endif

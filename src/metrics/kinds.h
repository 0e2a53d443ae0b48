/* kinds.h - the rows of the table of metrics, one file each, and what they share (floor: metrics, private). */
#ifndef DL_METRICS_KINDS_H
#define DL_METRICS_KINDS_H

#include "metrics/metrics.h"

extern const dl_metrics_kind dl_metrics_classification, dl_metrics_binary, dl_metrics_multilabel, dl_metrics_regression,
    dl_metrics_language_model;

/* a / b, and 0 for 0 / 0: scikit-learn's zero_division = 0. */
static inline double dl_ratio(double a, double b) { return b > 0 ? a / b : 0; }

/* F1 = 2 tp / (2 tp + fp + fn), the harmonic mean of precision and recall. */
static inline double dl_f1(double tp, double fp, double fn) { return dl_ratio(2 * tp, 2 * tp + fp + fn); }

/* For kinds that count alone. */
static inline int dl_no_sums(int64_t outputs) {
  (void)outputs;
  return 0;
}

#endif

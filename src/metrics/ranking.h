/* ranking.h - figures that need all scores in order: areas under curves, the best threshold (floor: metrics).
 *
 * With P the weight of the positives and N of the negatives, and after each group of equal scores, from the highest on,
 * tp and fp the weights of what has passed:
 *
 *   roc_auc    area under tp/P over fp/N by the trapezoid rule, so that a tie counts one half (roc_auc_score)
 *   pr_auc     average precision, sum of (step in recall) * precision, without interpolation (average_precision_score)
 *   best_f1    the largest 2 tp / (tp + fp + P), and a threshold that gives it: yes where the score is above it
 *
 * Exact where weights are whole numbers (below 2^53 together); otherwise sums are taken in the order of scores, equal
 * ones in the order given, so that the bits depend on the arguments alone.
 */
#ifndef DL_METRICS_RANKING_H
#define DL_METRICS_RANKING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

#define DL_CURVE_POINTS 403 /* of a curve, at most */

typedef struct dl_rank_figures {
  double roc_auc; /* NaN without a positive or without a negative, and where a score is NaN: so are the others */
  double pr_auc;  /* NaN without a positive */
  double best_f1, best_f1_threshold;
} dl_rank_figures;

/* Points from the highest threshold on. The first one stands before all samples: its threshold is infinite. */
typedef struct dl_curve {
  int n;
  double x[DL_CURVE_POINTS], y[DL_CURVE_POINTS], threshold[DL_CURVE_POINTS]; /* yes where score >= threshold */
} dl_curve;

typedef struct dl_curves {
  dl_curve roc; /* x = false positive rate, y = true positive rate. Thinned so that the area stays within 0.0025. */
  dl_curve pr;  /* x = recall, y = precision; after steps of at least 1/400 in recall, and the last one */
} dl_curves;

/* Ranks n samples: weight (n) or NULL, samples of weight 0 count for nothing; truth is 0 or 1. `curves` may be NULL.
 * Takes 16 bytes a sample of memory for the call: DL_ERR_NOMEM where there is none. */
dl_status dl_rank(int64_t n, const float *scores, const uint8_t *truth, const float *weight, dl_rank_figures *out,
                  dl_curves *curves);

#endif

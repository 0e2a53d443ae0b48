/* metrics.h - exact metrics of a task (floor: metrics).
 *
 * An accumulator takes blocks of scores and truth. Counts are integers, so that any order gives the same sum; real sums
 * are rows of doubles, one row a block, summed along the canonical tree by the caller (dl_team_tree_sum). From the
 * totals the metrics follow by closed forms. One task is one file and one row of the table.
 *
 * Definitions are scikit-learn's (zero_division = 0); rmse is the root of mse also where there are several outputs.
 */
#ifndef DL_METRICS_METRICS_H
#define DL_METRICS_METRICS_H

#include "core/config.h"

#define DL_METRICS_MAX 64

typedef struct dl_metric {
  const char *name; /* a constant */
  double value;     /* NaN where it is not defined (r2 of a single sample) */
} dl_metric;

typedef struct dl_metrics_kind {
  const char *task;     /* "classification" */
  const char *metrics;  /* "accuracy|macro_f1|...": what finish reports, in that order */
  const char *headline; /* the one that stands for all in a table */
  const char *help;
  /* How many int64 counters, and how many doubles a block delivers (beside the loss), for a network of `outputs`
   * outputs. */
  int64_t (*counters)(int64_t outputs);
  int (*sums)(int64_t outputs);
  /* Adds a block of n samples: scores (n, outputs) are probabilities for classification, binary and multilabel, values
   * for regression. Truth: label (n), each in 0 .. outputs - 1, or -1 for one that does not count, for classification;
   * y (n, outputs) for the others. counters are added to; sums are written. `reference` (outputs; NULL = 0) is a point
   * near the targets' means, the same for all blocks, from which sums of squares are taken so that r2 keeps its digits.
   * No allocation. */
  void (*add)(int64_t n, int64_t outputs, const float *scores, const int32_t *label, const float *y,
              const float *reference, int64_t *counters, double *sums);
  /* The metrics from totals over all `samples`; returns how many were written to out (DL_METRICS_MAX): none for no
   * sample. */
  int (*finish)(int64_t samples, int64_t outputs, const int64_t *counters, const double *sums, dl_metric *out);
} dl_metrics_kind;

/* The kind for a dl_task; NULL where there is none. */
const dl_metrics_kind *dl_metrics_for(int task);
/* All kinds in the order of dl_task, for `dldist list metrics`. */
const dl_metrics_kind *const *dl_metrics_kinds(int *n);

/* The class that n >= 1 scores stand for: the first of the largest. */
int64_t dl_first_largest(const float *scores, int64_t n);

/* classification: the confusion counts are counters, row = truth, column = predicted: counters[truth * outputs +
 * predicted]. The predicted class is the first of the largest scores. */

#endif

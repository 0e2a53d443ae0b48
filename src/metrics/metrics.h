/* metrics.h - exact metrics of a task (floor: metrics).
 *
 * An accumulator takes blocks of scores and truth. What a block delivers is of three kinds: counts, integers that any
 * order adds up to the same; real sums, a row of doubles a block, added along the canonical tree by the caller
 * (dl_team_tree_sum); and maxima. Metrics that need all scores in order (areas under curves) come from ranking.h, which
 * the caller runs over each gathered column. From these totals the metrics follow by closed forms. One task is one file
 * and one row of the table.
 *
 * Definitions are scikit-learn's (zero_division = 0, sample_weight = the samples' weights); rmse is the root of mse
 * also where there are several outputs.
 */
#ifndef DL_METRICS_METRICS_H
#define DL_METRICS_METRICS_H

#include "core/config.h"
#include "metrics/ranking.h"

#define DL_METRICS_MAX 64

typedef struct dl_metric {
  const char *name; /* a constant */
  double value;     /* NaN where it is not defined (r2 of a single sample, roc_auc of one class) */
} dl_metric;

/* Samples with their truth. Nothing is owned. */
typedef struct dl_metrics_block {
  int64_t n, outputs;
  const float *scores;    /* (n, outputs): probabilities for classification, binary and multilabel, else values */
  const int32_t *label;   /* (n), 0 .. outputs - 1, or -1 for one that does not count; classification, language_model */
  const float *y;         /* (n, outputs) for the others */
  const float *weight;    /* (n), or NULL: each counts 1 */
  const float *reference; /* regression: (outputs), a point near the targets' means, the same for all blocks, from which
                             sums of squares are taken so that r2 keeps its digits; NULL = 0 */
  double threshold;       /* binary, multilabel: yes where the score is above it */
} dl_metrics_block;

typedef struct dl_metrics_totals {
  int64_t samples, outputs;
  const int64_t *counters;
  const double *sums, *maxima;
  const dl_rank_figures *ranked; /* of each output, or NULL: not known */
} dl_metrics_totals;

typedef struct dl_metrics_kind {
  const char *task;     /* "classification" */
  const char *metrics;  /* "accuracy|macro_f1|...": what finish reports, in that order */
  const char *headline; /* the one that stands for all in a table */
  const char *falling;  /* "mse|mae": those of them of which less is better; NULL: none */
  const char *neither;  /* those that are neither better nor worse; NULL: none */
  const char *help;
  /* How many counters there are, and how many doubles a block delivers (beside the loss), for `outputs` outputs. */
  int64_t (*counters)(int64_t outputs);
  int (*sums)(int64_t outputs);
  int maxima;
  bool ranked; /* finish wants the figures of each output's ranking */
  /* The side of the confusion matrix that the counters begin with (row = truth, column = predicted; samples, whatever
   * their weights); 0 where there is none. */
  int64_t (*confusion)(int64_t outputs);
  /* Adds to counters, writes sums, raises maxima (which begin at 0). No allocation. */
  void (*add)(const dl_metrics_block *block, int64_t *counters, double *sums, double *maxima);
  /* Writes at most DL_METRICS_MAX metrics and returns their number: none for no sample. */
  int (*finish)(const dl_metrics_totals *totals, dl_metric *out);
  /* Figures of each class or label: what they are called together, their names, and the function that writes them,
   * (outputs, names), NaN where one is not defined. All NULL where there are none. */
  const char *each_title, *each;
  void (*finish_each)(const dl_metrics_totals *totals, double *out);
} dl_metrics_kind;

/* The kind for a dl_task; NULL where there is none. */
const dl_metrics_kind *dl_metrics_for(int task);
/* All kinds in the order of dl_task, for `dldist list metrics`. */
const dl_metrics_kind *const *dl_metrics_kinds(int *n);

/* The class that n >= 1 scores stand for: the first of the largest. */
int64_t dl_first_largest(const float *scores, int64_t n);

#endif

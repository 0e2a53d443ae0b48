/* stats_pairs.h - what two columns have to do with each other (floor: data, private). */
#ifndef DL_DATA_STATS_PAIRS_H
#define DL_DATA_STATS_PAIRS_H

#include "data/stats_source.h"

#define DL_STATS_MAX_CORRELATED 64
#define DL_STATS_MAX_CLASSES 1000

/* The labels of a split: one column of whole numbers from 0 on, or one-hot. */
typedef struct dl_stats_labels {
  int column;  /* of the source, -1: one-hot */
  int classes; /* 0: there are no labels */
} dl_stats_labels;

/* The label of a row in hand, -1 where it has none. */
int dl_stats_label(const dl_stats_source *source, const dl_stats_labels *labels, int64_t row);

typedef struct dl_stats_correlation {
  int n, column[DL_STATS_MAX_CORRELATED + 1];
  int64_t rows;     /* observations in which no column is missing */
  double *pearson;  /* (n, n) */
  double *spearman; /* (n, n); NULL where the memory does not hold the ranks */
} dl_stats_correlation;

/* Collective; results on all members. */
dl_status dl_stats_correlate(dl_stats_source *source, const dl_stats_column *columns, const dl_stats_labels *labels,
                             dl_stats_correlation *out);
void dl_stats_correlation_clear(dl_stats_correlation *correlation);

/* Bits that a column's bins tell of the labels (of y's bins where there are no labels, NAN where y is not one
 * column), for each column of x; `chance`: about how many they would seem to tell if they told nothing (the bias of
 * counting, Miller 1955), for as many values. Collective. class_count: rows of each class, DL_STATS_MAX_CLASSES places.
 */
dl_status dl_stats_mutual(dl_stats_source *source, const dl_stats_column *columns, const dl_stats_labels *labels,
                          double *bits, double *chance, int64_t *class_count);

#endif

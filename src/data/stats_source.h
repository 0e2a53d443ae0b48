/* stats_source.h - a split of a file as columns of numbers, read block by block (floor: data, private).
 *
 * The columns of x are its features, or, of images, its channels with every pixel a value; those of y follow. Rows are
 * cut into leaves of a number that the shape of a sample alone determines; a member reads a run of blocks of whole
 * leaves, in order.
 */
#ifndef DL_DATA_STATS_SOURCE_H
#define DL_DATA_STATS_SOURCE_H

#include "core/team.h"
#include "core/tree.h"
#include "data/hdf5_file.h"
#include "data/stats.h"
#include "data/stats_column.h"

#define DL_STATS_MAX_COLUMNS 16384

typedef struct dl_stats_source {
  dl_team *team;
  dl_h5_file file;
  dl_h5_set x, y;
  char x_name[256], y_name[256];
  char split[16];
  bool has_y, tokens, nhwc;
  bool y_is_image; /* maps or images: left out */
  int64_t rows;
  int x_columns, y_columns, columns;
  int64_t x_each;                /* values a column of x has in a row */
  int64_t leaf_rows, leaves;     /* a leaf of the tree; all of them */
  int64_t block_leaves;          /* leaves that are read at a time */
  int64_t begin_leaf, end_leaf;  /* this member's */
  double *x_values, *y_values;   /* of the block in hand, as in the file */
  int64_t first_row, block_rows; /* of the block in hand */
  int64_t memory_bytes;
} dl_stats_source;

/* Collective. */
dl_status dl_stats_source_open(dl_team *team, const dl_stats_options *options, dl_stats_source *out);
void dl_stats_source_close(dl_stats_source *source);

/* Calls `use` for each block of this member's, with the block in hand. Not collective. */
typedef dl_status (*dl_stats_use)(dl_stats_source *source, void *context);
dl_status dl_stats_each_block(dl_stats_source *source, dl_stats_use use, void *context);

/* Values of a column in a row: x_each or 1. */
static inline int64_t dl_stats_each(const dl_stats_source *s, int column) {
  return column < s->x_columns ? s->x_each : 1;
}
/* Value k of a column in row `row` of the block in hand. */
static inline double dl_stats_value(const dl_stats_source *s, int column, int64_t row, int64_t k) {
  if (column >= s->x_columns) return s->y_values[row * s->y_columns + column - s->x_columns];
  const double *x = s->x_values + row * s->x.row_values;
  return s->nhwc ? x[k * s->x_columns + column] : x[column * s->x_each + k];
}
/* Values of a column that this member reads in all. */
int64_t dl_stats_my_values(const dl_stats_source *source, int column);

/* What a first look tells of every column, agreed on; *one_hot: every row of y is one 1 among 0s. Collective. */
dl_status dl_stats_look(dl_stats_source *source, dl_stats_column *columns, bool *one_hot);

/* All figures of all columns. Collective: same results on all members. (stats_order.c) */
dl_status dl_stats_columns_fill(dl_stats_source *source, dl_stats_column *columns);

/* Ascending, in place; `scratch` has as many places. (stats_sort.c) */
void dl_stats_sort(double *values, double *scratch, int64_t n);
/* A number whose order as an unsigned integer is that of the double. */
uint64_t dl_stats_key(double value);
double dl_stats_of_key(uint64_t key);

/* ---- sums along the tree over leaves (stats_sum.c) ---- */

typedef struct dl_stats_tree {
  dl_tree_stack stack;
  int64_t width;
  int slots;
  double *values; /* (slots, width) */
} dl_stats_tree;
dl_status dl_stats_tree_new(const dl_stats_source *source, int64_t width, dl_stats_tree *out);
void dl_stats_tree_clear(dl_stats_tree *tree);
/* A zeroed row for the next leaf; dl_stats_tree_push adds it to the tree. */
double *dl_stats_tree_leaf(dl_stats_tree *tree);
void dl_stats_tree_push(dl_stats_tree *tree, int64_t leaf);
/* The sum over all leaves, on all members. Collective; `out` has `width`. */
dl_status dl_stats_tree_finish(dl_team *team, dl_stats_tree *tree, double *out);

#endif

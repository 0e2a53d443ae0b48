/* stats_pairs.c - correlations and mutual information.
 *
 * An observation is a row, of images a pixel. Pearson: one pass sums distances from the columns' means and their
 * products over leaves of rows, leaves along the canonical tree, over the observations in which no column is missing.
 * Spearman is the same over ranks (ties share the middle one): a column that is counted has its ranks in a table, any
 * other is sorted whole, a few at a time, and every member looks up its own values. Joint counts of bins and labels are
 * integers.
 */
#include "data/stats_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

int dl_stats_label(const dl_stats_source *s, const dl_stats_labels *labels, int64_t row) {
  if (labels->column >= 0) {
    double value = dl_stats_value(s, labels->column, row, 0);
    return value >= 0 && value < labels->classes ? (int)value : -1;
  }
  for (int c = 0; c < labels->classes; c++)
    if (s->y_values[row * s->y_columns + c] == 1) return c;
  return -1;
}

/* ---- sums of products ---- */

typedef struct ranks {
  double *table; /* counted: the rank of min + i */
  double *value; /* else: this member's values of all observations, NAN where incomplete; then their ranks */
} ranks;

typedef struct product {
  const dl_stats_column *columns;
  const dl_stats_correlation *c;
  ranks *rank;   /* NULL: values */
  double centre; /* of ranks */
  int64_t at;    /* observations so far */
  dl_stats_tree tree;
} product;

/* 1 + n + n (n + 1) / 2: the observations, sums, products. */
static int64_t width_of(int n) { return 1 + n + (int64_t)n * (n + 1) / 2; }

static bool observe(const dl_stats_source *s, const dl_stats_correlation *c, int64_t row, int64_t k, double *out) {
  for (int i = 0; i < c->n; i++) {
    out[i] = dl_stats_value(s, c->column[i], row, k);
    if (!isfinite(out[i])) return false;
  }
  return true;
}

static void to_distances(const product *p, double *x) {
  for (int i = 0; i < p->c->n; i++) {
    const dl_stats_column *column = &p->columns[p->c->column[i]];
    if (!p->rank)
      x[i] -= column->mean;
    else if (p->rank[i].table)
      x[i] = p->rank[i].table[(int64_t)(x[i] - column->min)] - p->centre;
    else
      x[i] = p->rank[i].value[p->at] - p->centre;
  }
}

static void add_products(double *leaf, const double *x, int n) {
  double *products = leaf + 1 + n;
  leaf[0] += 1;
  for (int i = 0; i < n; i++) {
    leaf[1 + i] += x[i];
    for (int j = 0; j <= i; j++) products[j] += x[i] * x[j];
    products += i + 1;
  }
}

static dl_status product_block(dl_stats_source *s, void *context) {
  product *p = context;
  int64_t each = dl_stats_each(s, p->c->column[0]);
  double x[DL_STATS_MAX_CORRELATED + 1];
  for (int64_t row = 0; row < s->block_rows;) {
    int64_t end = row + s->leaf_rows < s->block_rows ? row + s->leaf_rows : s->block_rows;
    double *leaf = dl_stats_tree_leaf(&p->tree);
    int64_t number = (s->first_row + row) / s->leaf_rows;
    for (; row < end; row++)
      for (int64_t k = 0; k < each; k++, p->at++) {
        if (!observe(s, p->c, row, k, x)) continue;
        to_distances(p, x);
        add_products(leaf, x, p->c->n);
      }
    dl_stats_tree_push(&p->tree, number);
  }
  return DL_OK;
}

static double covariance(const double *sums, int n, int i, int j) {
  const double *products = sums + 1 + n;
  if (i < j) {
    int swap = i;
    i = j;
    j = swap;
  }
  return products[(int64_t)i * (i + 1) / 2 + j] - sums[1 + i] * sums[1 + j] / sums[0];
}

/* A column without variance has no correlation: NAN. */
static void to_matrix(const double *sums, int n, double *matrix) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double below = sqrt(covariance(sums, n, i, i)) * sqrt(covariance(sums, n, j, j));
      double r = i == j && below > 0 ? 1 : covariance(sums, n, i, j) / below;
      matrix[i * n + j] = below > 0 && isfinite(below) && isfinite(r) ? fmax(-1, fmin(1, r)) : NAN;
    }
}

static dl_status multiply(dl_stats_source *s, product *p, double *matrix, int64_t *rows) {
  int n = p->c->n;
  double *sums = dl_calloc((size_t)width_of(n), sizeof *sums);
  dl_status status = dl_stats_tree_new(s, width_of(n), &p->tree);
  p->at = 0;
  if (status == DL_OK) status = sums ? dl_stats_each_block(s, product_block, p) : DL_ERR_NOMEM;
  status = dl_team_agree(s->team, status);
  if (status == DL_OK) status = dl_stats_tree_finish(s->team, &p->tree, sums);
  if (status == DL_OK) {
    to_matrix(sums, n, matrix);
    *rows = (int64_t)sums[0];
  }
  dl_stats_tree_clear(&p->tree);
  free(sums);
  return status;
}

/* ---- ranks ---- */

static dl_status keep_block(dl_stats_source *s, void *context) {
  product *p = context;
  int64_t each = dl_stats_each(s, p->c->column[0]);
  double x[DL_STATS_MAX_CORRELATED + 1];
  for (int64_t row = 0; row < s->block_rows; row++)
    for (int64_t k = 0; k < each; k++, p->at++) {
      bool whole = observe(s, p->c, row, k, x);
      for (int i = 0; i < p->c->n; i++) {
        if (p->rank[i].value)
          p->rank[i].value[p->at] = whole ? x[i] : NAN;
        else if (whole)
          p->rank[i].table[(int64_t)(x[i] - p->columns[p->c->column[i]].min)] += 1;
      }
    }
  return DL_OK;
}

/* Counts of each value, summed over members, become ranks. */
static dl_status finish_table(dl_team *team, double *table, int64_t span) {
  int64_t *count = dl_calloc((size_t)span, sizeof *count);
  DL_TRY(dl_team_agree(team, count ? DL_OK : DL_ERR_NOMEM));
  for (int64_t i = 0; i < span; i++) count[i] = (int64_t)table[i];
  dl_status status = dl_team_sum_i64(team, count, (size_t)span);
  double before = 0;
  for (int64_t i = 0; i < span; i++) {
    table[i] = before + ((double)count[i] + 1) / 2;
    before += (double)count[i];
  }
  free(count);
  return status;
}

/* The first place in the ascending `sorted` whose value is not below (or, `after`: is above) `value`. */
static int64_t find(const double *sorted, int64_t n, double value, bool after) {
  int64_t low = 0, high = n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (sorted[middle] < value || (after && sorted[middle] == value))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Replaces this member's values by their ranks among all. */
static dl_status rank_values(dl_team *team, double *value, int64_t mine, int64_t rows, int64_t *complete) {
  double *dense = dl_calloc((size_t)mine + 1, sizeof *dense), *scratch = dl_calloc((size_t)rows + 1, sizeof *scratch);
  void *all = NULL;
  int64_t n = 0;
  dl_status status = dl_team_agree(team, dense && scratch ? DL_OK : DL_ERR_NOMEM);
  for (int64_t i = 0; status == DL_OK && i < mine; i++)
    if (!isnan(value[i])) dense[n++] = value[i];
  if (status == DL_OK) status = dl_team_gather_bytes(team, dense, (size_t)n * sizeof *dense, 0, &all, NULL);
  *complete = n;
  if (status == DL_OK) status = dl_team_sum_i64(team, complete, 1);
  double *sorted = team->rank == 0 ? all : NULL;
  if (status == DL_OK && team->rank == 0) dl_stats_sort(sorted, scratch, *complete);
  if (!sorted) sorted = scratch;
  if (status == DL_OK) status = dl_team_broadcast(team, sorted, (size_t)*complete * sizeof *sorted, 0);
  for (int64_t i = 0; status == DL_OK && i < mine; i++)
    if (!isnan(value[i]))
      value[i] = (double)(find(sorted, *complete, value[i], false) + find(sorted, *complete, value[i], true) + 1) / 2;
  free(dense);
  free(scratch);
  free(all);
  return status;
}

static dl_status alloc_ranks(const dl_stats_source *s, const product *p) {
  for (int i = 0; i < p->c->n; i++) {
    const dl_stats_column *column = &p->columns[p->c->column[i]];
    size_t mine = (size_t)dl_stats_my_values(s, p->c->column[i]);
    if (dl_stats_is_counted(column))
      p->rank[i].table = dl_calloc((size_t)dl_stats_span(column), sizeof(double));
    else
      p->rank[i].value = dl_calloc(mine + 1, sizeof(double));
    if (!p->rank[i].table && !p->rank[i].value) return DL_ERR_NOMEM;
  }
  return DL_OK;
}

static dl_status make_ranks(dl_stats_source *s, product *p) {
  int64_t complete = 0;
  dl_status status = alloc_ranks(s, p);
  p->at = 0;
  if (status == DL_OK) status = dl_stats_each_block(s, keep_block, p);
  DL_TRY(dl_team_agree(s->team, status));
  for (int i = 0; i < p->c->n; i++) {
    int column = p->c->column[i];
    if (p->rank[i].table)
      DL_TRY(finish_table(s->team, p->rank[i].table, dl_stats_span(&p->columns[column])));
    else
      DL_TRY(rank_values(s->team, p->rank[i].value, dl_stats_my_values(s, column), s->rows * dl_stats_each(s, column),
                         &complete));
  }
  p->centre = ((double)p->c->rows + 1) / 2;
  return DL_OK;
}

/* Whether the ranks fit, whatever the number of members. */
static bool ranks_fit(const dl_stats_source *s, const dl_stats_column *columns, const dl_stats_correlation *c) {
  int64_t bytes = 0, observations = s->rows * dl_stats_each(s, c->column[0]);
  for (int i = 0; i < c->n; i++) {
    const dl_stats_column *column = &columns[c->column[i]];
    bytes += dl_stats_is_counted(column) ? dl_stats_span(column) * 8 : observations * 8;
  }
  return bytes + 3 * observations * 8 <= s->memory_bytes || bytes < (1 << 20);
}

static dl_status rank_correlation(dl_stats_source *s, const dl_stats_column *columns, dl_stats_correlation *c) {
  ranks rank[DL_STATS_MAX_CORRELATED + 1] = {{0}};
  product p = {.columns = columns, .c = c, .rank = rank};
  int64_t rows;
  c->spearman = dl_calloc((size_t)c->n * (size_t)c->n, sizeof(double));
  dl_status status = dl_team_agree(s->team, c->spearman ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = make_ranks(s, &p);
  if (status == DL_OK) status = multiply(s, &p, c->spearman, &rows);
  for (int i = 0; i < c->n; i++) {
    free(rank[i].table);
    free(rank[i].value);
  }
  return status;
}

/* ---- correlations ---- */

/* The first columns of x, and y where it is one number that goes with a row of x. */
static void choose_columns(const dl_stats_source *s, const dl_stats_column *columns, const dl_stats_labels *labels,
                           dl_stats_correlation *c) {
  for (int i = 0; i < s->x_columns && c->n < DL_STATS_MAX_CORRELATED; i++)
    if (columns[i].n > 0) c->column[c->n++] = i;
  bool number = s->y_columns == 1 && s->x_each == 1 && labels->classes <= 2;
  if (number && columns[s->x_columns].n > 0) c->column[c->n++] = s->x_columns;
}

dl_status dl_stats_correlate(dl_stats_source *s, const dl_stats_column *columns, const dl_stats_labels *labels,
                             dl_stats_correlation *out) {
  *out = (dl_stats_correlation){0};
  choose_columns(s, columns, labels, out);
  if (out->n < 2) {
    out->n = 0;
    return DL_OK;
  }
  product p = {.columns = columns, .c = out};
  out->pearson = dl_calloc((size_t)out->n * (size_t)out->n, sizeof(double));
  DL_TRY(dl_team_agree(s->team, out->pearson ? DL_OK : DL_ERR_NOMEM));
  DL_TRY(multiply(s, &p, out->pearson, &out->rows));
  return ranks_fit(s, columns, out) ? rank_correlation(s, columns, out) : DL_OK;
}

void dl_stats_correlation_clear(dl_stats_correlation *c) {
  free(c->pearson);
  free(c->spearman);
  c->pearson = c->spearman = NULL;
}

/* ---- mutual information ---- */

typedef struct joint {
  const dl_stats_column *columns;
  const dl_stats_labels *labels;
  int classes;     /* or bins of y */
  int x_columns;   /* 0: the rows of each class alone */
  int64_t *counts; /* (x_columns, DL_STATS_MAX_BINS, classes), then the rows of each class */
} joint;

static dl_status joint_block(dl_stats_source *s, void *context) {
  const joint *j = context;
  int64_t *rows = j->counts + (int64_t)j->x_columns * DL_STATS_MAX_BINS * j->classes;
  for (int64_t r = 0; r < s->block_rows; r++) {
    int label = -1;
    if (j->labels->classes > 0) {
      label = dl_stats_label(s, j->labels, r);
    } else {
      double value = dl_stats_value(s, s->x_columns, r, 0);
      if (isfinite(value)) label = dl_stats_bin(&j->columns[s->x_columns], value);
    }
    if (label < 0) continue;
    rows[label]++;
    for (int c = 0; c < j->x_columns; c++)
      for (int64_t k = 0; k < s->x_each; k++) {
        double value = dl_stats_value(s, c, r, k);
        if (!isfinite(value)) continue;
        j->counts[((int64_t)c * DL_STATS_MAX_BINS + dl_stats_bin(&j->columns[c], value)) * j->classes + label]++;
      }
  }
  return DL_OK;
}

/* sum n_bl / n log2(n n_bl / (n_b n_l)), of integers alone in a fixed order; *chance: (bins - 1) (classes - 1) / (2 n
 * ln 2), of bins and classes with a value. */
static double information(const int64_t *counts, int bins, int classes, double *chance) {
  int used_bins = 0, used_classes = 0;
  dl_stats_sum sum = {0, 0};
  int64_t n = 0;
  for (int i = 0; i < bins * classes; i++) n += counts[i];
  for (int b = 0; b < bins; b++) {
    int64_t in_bin = 0;
    for (int l = 0; l < classes; l++) in_bin += counts[b * classes + l];
    used_bins += in_bin > 0;
    if (in_bin > 0) dl_stats_add(&sum, -(double)in_bin * log2((double)in_bin));
    for (int l = 0; l < classes; l++)
      if (counts[b * classes + l] > 0)
        dl_stats_add(&sum, (double)counts[b * classes + l] * log2((double)counts[b * classes + l]));
  }
  for (int l = 0; l < classes; l++) {
    int64_t in_class = 0;
    for (int b = 0; b < bins; b++) in_class += counts[b * classes + l];
    used_classes += in_class > 0;
    if (in_class > 0) dl_stats_add(&sum, -(double)in_class * log2((double)in_class));
  }
  *chance = n > 0 ? (used_bins - 1) * (double)(used_classes - 1) / (2 * (double)n * M_LN2) : NAN;
  return n > 0 ? fmax(0, log2((double)n) + dl_stats_total(&sum) / (double)n) : NAN;
}

dl_status dl_stats_mutual(dl_stats_source *s, const dl_stats_column *columns, const dl_stats_labels *labels,
                          double *bits, double *chance, int64_t *class_count) {
  bool numbers = s->y_columns == 1 && columns[s->x_columns].n > 0;
  joint j = {.columns = columns, .labels = labels, .x_columns = s->x_columns};
  j.classes = labels->classes ? labels->classes : numbers ? columns[s->x_columns].bins : 0;
  for (int c = 0; c < s->x_columns; c++) bits[c] = chance[c] = NAN;
  if (j.classes == 0) return DL_OK;
  int64_t each = (int64_t)DL_STATS_MAX_BINS * j.classes;
  if (s->x_columns * each > (1 << 20) && s->x_columns * each * 16 > s->memory_bytes) j.x_columns = 0;
  size_t places = (size_t)(j.x_columns * each + j.classes);
  j.counts = dl_calloc(places, sizeof *j.counts);
  dl_status status = j.counts ? dl_stats_each_block(s, joint_block, &j) : DL_ERR_NOMEM;
  status = dl_team_agree(s->team, status);
  if (status == DL_OK) status = dl_team_sum_i64(s->team, j.counts, places);
  for (int c = 0; status == DL_OK && c < j.x_columns; c++)
    bits[c] = information(j.counts + c * each, DL_STATS_MAX_BINS, j.classes, &chance[c]);
  for (int l = 0; status == DL_OK && l < labels->classes; l++) class_count[l] = j.counts[j.x_columns * each + l];
  free(j.counts);
  return status;
}

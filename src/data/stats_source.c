/* stats_source.c - which data sets a split has, how they fall into columns, and the first look at them. */
#include "data/stats_source.h"
#include "data/hdf5_probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/data.h"

#define LEAF_VALUES 32768

/* ---- opening ---- */

static dl_status open_named(dl_stats_source *s, const char *split, const char *what, const char *given, char name[256],
                            dl_h5_set *set, bool *found) {
  int n = given ? snprintf(name, 256, "%s", given) : snprintf(name, 256, "%s/%s", split, what);
  if (n < 0 || n >= 256) return dl_fail(DL_ERR_USAGE, "the name of a data set has more than 255 bytes");
  return dl_h5_set_open(&s->file, name, found, set);
}

/* The split's x, or its tokens. */
static dl_status open_x(dl_stats_source *s, const dl_stats_options *options) {
  bool found = false;
  for (int i = 0; i < DL_SPLITS && !found; i++) {
    const char *split = options->split ? options->split : dl_split_words[i];
    snprintf(s->split, sizeof s->split, "%s", split);
    DL_TRY(open_named(s, split, "x", options->x, s->x_name, &s->x, &found));
    if (!found && !options->x) {
      DL_TRY(open_named(s, split, "tokens", NULL, s->x_name, &s->x, &found));
      s->tokens = found;
    }
    if (options->split || options->x) break;
  }
  if (found) return DL_OK;
  snprintf(s->x_name, sizeof s->x_name, "%s", options->x ? options->x : "");
  if (!options->x) snprintf(s->x_name, sizeof s->x_name, "%s/x", options->split ? options->split : "train");
  return dl_h5_fail_missing(&s->file, s->x_name);
}

static dl_status open_y(dl_stats_source *s, const dl_stats_options *options) {
  if (s->tokens || (options->x && !options->y)) return DL_OK;
  DL_TRY(open_named(s, s->split, "y", options->y, s->y_name, &s->y, &s->has_y));
  if (!s->has_y && options->y) return dl_h5_fail_missing(&s->file, s->y_name);
  if (s->has_y && s->y.dims >= 3 && !options->y) { /* a column a pixel would say nothing */
    s->has_y = false;
    s->y_is_image = true;
    dl_h5_set_close(&s->y);
  }
  if (!s->has_y || s->y.dim[0] == s->x.dim[0]) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, s->file.path, 0, 0, "data set '%s' has %lld rows and '%s' has %lld", s->x_name,
                    (long long)s->x.dim[0], s->y_name, (long long)s->y.dim[0]);
}

/* Images: a column a channel; rows of features: a column each. */
static dl_status choose_columns(dl_stats_source *s, bool nhwc) {
  const dl_h5_set *x = &s->x;
  int64_t columns = x->dims >= 4 ? x->dim[nhwc ? x->dims - 1 : 1] : x->dims == 3 ? 1 : x->row_values;
  int64_t all = columns + (s->has_y ? s->y.row_values : 0);
  if (all > DL_STATS_MAX_COLUMNS) {
    if (columns > DL_STATS_MAX_COLUMNS)
      dl_fail_at(DL_ERR_DATA, s->file.path, 0, 0, "data set '%s' has %lld columns; at most %d can be described",
                 s->x_name, (long long)columns, DL_STATS_MAX_COLUMNS);
    else
      dl_fail_at(DL_ERR_DATA, s->file.path, 0, 0,
                 "data sets '%s' and '%s' have %lld columns together; at most %d can be described", s->x_name,
                 s->y_name, (long long)all, DL_STATS_MAX_COLUMNS);
    return dl_hint("store images as (samples, channels, height, width): they are described channel by channel");
  }
  s->rows = x->dim[0];
  s->x_columns = (int)columns;
  s->x_each = x->row_values / columns;
  s->y_columns = s->has_y ? (int)s->y.row_values : 0;
  s->columns = s->x_columns + s->y_columns;
  s->nhwc = nhwc && x->dims >= 4;
  return DL_OK;
}

static void cut_rows(dl_stats_source *s) {
  int64_t block_rows = dl_h5_block_rows(&s->x);
  for (s->leaf_rows = 1; s->leaf_rows * 2 * s->x.row_values <= LEAF_VALUES && s->leaf_rows < 4096;) s->leaf_rows *= 2;
  s->leaves = (s->rows + s->leaf_rows - 1) / s->leaf_rows;
  s->block_leaves = (block_rows + s->leaf_rows - 1) / s->leaf_rows;
  int64_t blocks = (s->leaves + s->block_leaves - 1) / s->block_leaves, rank = s->team->rank, size = s->team->size;
  if (blocks < size) { /* leaves, where there are too few blocks to go round */
    s->block_leaves = 1;
    blocks = s->leaves;
  }
  s->begin_leaf = blocks * rank / size * s->block_leaves;
  s->end_leaf = blocks * (rank + 1) / size * s->block_leaves;
  if (s->begin_leaf > s->leaves) s->begin_leaf = s->leaves;
  if (s->end_leaf > s->leaves) s->end_leaf = s->leaves;
}

static dl_status open_all(dl_stats_source *s, const dl_stats_options *options) {
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = dl_h5_open_first(options->file, &s->file);
  if (status == DL_OK) status = open_x(s, options);
  if (status == DL_OK) status = open_y(s, options);
  if (status == DL_OK) status = choose_columns(s, options->nhwc);
  if (status == DL_OK) cut_rows(s);
  dl_h5_leave(&turn);
  if (status != DL_OK) return status;
  int64_t rows = s->block_leaves * s->leaf_rows;
  s->x_values = dl_calloc((size_t)rows, (size_t)s->x.row_values * sizeof(double));
  s->y_values = dl_calloc((size_t)rows, (size_t)(s->y_columns + 1) * sizeof(double));
  return s->x_values && s->y_values ? DL_OK : DL_ERR_NOMEM;
}

dl_status dl_stats_source_open(dl_team *team, const dl_stats_options *options, dl_stats_source *out) {
  *out = (dl_stats_source){.team = team, .file = {.id = -1}, .x = {.id = -1}, .y = {.id = -1}};
  out->memory_bytes = options->memory_bytes > 0 ? options->memory_bytes : DL_STATS_MEMORY_BYTES;
  return dl_team_agree(team, open_all(out, options));
}

void dl_stats_source_close(dl_stats_source *source) {
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_h5_set_close(&source->x);
  dl_h5_set_close(&source->y);
  dl_h5_close(&source->file);
  dl_h5_leave(&turn);
  free(source->x_values);
  free(source->y_values);
  source->x_values = source->y_values = NULL;
}

/* ---- reading ---- */

static dl_status read_block(dl_stats_source *s, int64_t leaf) {
  int64_t leaves = s->block_leaves < s->end_leaf - leaf ? s->block_leaves : s->end_leaf - leaf;
  s->first_row = leaf * s->leaf_rows;
  s->block_rows = leaves * s->leaf_rows;
  if (s->first_row + s->block_rows > s->rows) s->block_rows = s->rows - s->first_row;
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = dl_h5_read(&s->x, s->first_row, s->block_rows, H5T_NATIVE_DOUBLE, s->x_values);
  if (status == DL_OK && s->has_y)
    status = dl_h5_read(&s->y, s->first_row, s->block_rows, H5T_NATIVE_DOUBLE, s->y_values);
  dl_h5_leave(&turn);
  return status;
}

dl_status dl_stats_each_block(dl_stats_source *source, dl_stats_use use, void *context) {
  for (int64_t leaf = source->begin_leaf; leaf < source->end_leaf; leaf += source->block_leaves) {
    DL_TRY(read_block(source, leaf));
    DL_TRY(use(source, context));
  }
  return DL_OK;
}

int64_t dl_stats_my_values(const dl_stats_source *s, int column) {
  int64_t end = s->end_leaf * s->leaf_rows < s->rows ? s->end_leaf * s->leaf_rows : s->rows;
  int64_t begin = s->begin_leaf * s->leaf_rows < s->rows ? s->begin_leaf * s->leaf_rows : s->rows;
  return (end - begin) * dl_stats_each(s, column);
}

/* ---- the first look ---- */

typedef struct look {
  int64_t n, missing, infinite, broken, not_one_hot; /* broken: not whole */
  double min, max;
} look;

static void look_at(look *l, double value) {
  if (isnan(value)) {
    l->missing++;
  } else if (isinf(value)) {
    l->infinite++;
  } else {
    l->n++;
    if (value < l->min) l->min = value;
    if (value > l->max) l->max = value;
    if (value != rint(value) || fabs(value) >= 0x1p50) l->broken++;
  }
}

static dl_status look_at_block(dl_stats_source *s, void *context) {
  look *looks = context;
  for (int64_t r = 0; r < s->block_rows; r++) {
    for (int c = 0; c < s->columns; c++) {
      int64_t each = dl_stats_each(s, c);
      for (int64_t k = 0; k < each; k++) look_at(&looks[c], dl_stats_value(s, c, r, k));
    }
    int ones = 0, zeros = 0;
    for (int c = 0; c < s->y_columns; c++) {
      ones += s->y_values[r * s->y_columns + c] == 1;
      zeros += s->y_values[r * s->y_columns + c] == 0;
    }
    if (s->y_columns > 1 && (ones != 1 || zeros != s->y_columns - 1)) looks[s->x_columns].not_one_hot++;
  }
  return DL_OK;
}

static void merge_look(dl_stats_column *column, const look *l, bool is_first) {
  if (is_first) *column = (dl_stats_column){.min = INFINITY, .max = -INFINITY, .whole = true, .best = -1};
  column->n += l->n;
  column->missing += l->missing;
  column->infinite += l->infinite;
  column->min = fmin(column->min, l->min);
  column->max = fmax(column->max, l->max);
  column->whole = column->whole && l->broken == 0;
}

dl_status dl_stats_look(dl_stats_source *source, dl_stats_column *columns, bool *one_hot) {
  int n = source->columns, size = source->team->size;
  look *mine = dl_calloc((size_t)n, sizeof *mine), *all = dl_calloc((size_t)n * (size_t)size, sizeof *all);
  dl_status status = mine && all ? DL_OK : DL_ERR_NOMEM;
  for (int c = 0; status == DL_OK && c < n; c++) mine[c] = (look){.min = INFINITY, .max = -INFINITY};
  if (status == DL_OK) status = dl_stats_each_block(source, look_at_block, mine);
  status = dl_team_agree(source->team, status);
  if (status == DL_OK) status = dl_team_allgather(source->team, mine, (size_t)n * sizeof *mine, all);
  *one_hot = source->y_columns > 1;
  for (int r = 0; status == DL_OK && r < size; r++)
    for (int c = 0; c < n; c++) {
      merge_look(&columns[c], &all[r * n + c], r == 0);
      if (all[r * n + c].not_one_hot) *one_hot = false;
    }
  for (int c = 0; status == DL_OK && c < n; c++) columns[c].whole = columns[c].whole && columns[c].n > 0;
  free(mine);
  free(all);
  return status;
}

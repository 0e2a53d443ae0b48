/* import_csv.c - a table as text into features and targets.
 *
 * Two or three passes over the file, each in memory for some records: what the columns are (csv_table.c), the means
 * that stand for missing values (only where there are any, and of the training rows alone), and the values, which go to
 * their splits a chunk at a time. Rows keep their order within a split. All members parse; the first one adds and
 * writes, in the order of the file.
 */
#include "data/import_csv.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/mem.h"
#include "data/csv_check.h"
#include "data/csv_rows.h"
#include "data/hdf5_output.h"

#define ROW(key_, type_, member, fallback_, choices_, least, largest, help_)                                      \
  {                                                                                                               \
    .key = (key_), .type = (type_), .offset = offsetof(dl_csv_options, member), .min = (least), .max = (largest), \
    .fallback = (fallback_), .choices = (choices_), .help = (help_)                                               \
  }

const dl_option dl_csv_rows[DL_CSV_N_ROWS] = {
    ROW("target", DL_OPTION_STRING, target, NULL, NULL, 0, 0,
        "column of the target by name or number (1 is the first, -1 the last); several, between commas, for "
        "regression"),
    ROW("task", DL_OPTION_CHOICE, task, "auto", "auto|classification|binary|multilabel|regression", 0, 0,
        "what the target is for; auto: classification where it is text or at most 50 whole numbers, else regression"),
    ROW("test-fraction", DL_OPTION_REAL, test_fraction, "0", NULL, 0, 0.9,
        "share of the rows, at random by the seed and of each class alike, that become the test split"),
    ROW("valid-fraction", DL_OPTION_REAL, valid_fraction, "0", NULL, 0, 0.9, "the same for the validation split"),
    ROW("seed", DL_OPTION_INT, seed, "1", NULL, 0, 9e15, "of the random split"),
    ROW("split-file", DL_OPTION_STRING, split_file, "", NULL, 0, 0,
        "a file with the numbers of the test rows (0 is the first), or with train, valid or test for each row"),
    ROW("missing", DL_OPTION_CHOICE, missing, "error", "error|mean|zero|drop", 0, 0,
        "what becomes of missing values (empty, ?, NA, N/A, NaN, null): an error, the mean of the training rows, 0, or "
        "the row is left out"),
    ROW("header", DL_OPTION_CHOICE, header, "auto", "auto|yes|no", 0, 0, "whether the first record names the columns"),
    ROW("delimiter", DL_OPTION_STRING, delimiter, "auto", NULL, 0, 0,
        "one character, or comma, semicolon, tab, pipe, space (runs of blanks); auto finds it"),
    ROW("decimal", DL_OPTION_CHOICE, decimal, "point", "point|comma", 0, 0, "what stands before decimals: 1.5 or 1,5"),
    ROW("ignore", DL_OPTION_STRING, ignore, "", NULL, 0, 0, "columns that are left out"),
    ROW("categorical", DL_OPTION_STRING, categorical, "", NULL, 0, 0, "columns of numbers that are categories"),
    ROW("categories", DL_OPTION_CHOICE, categories, "onehot", "onehot|integers", 0, 0,
        "a column of categories becomes a column a category, or one of their numbers in alphabetical order"),
    ROW("type", DL_OPTION_CHOICE, type, "float32", "float32|float64|uint8", 0, 0, "of the features in the file"),
};

/* ---- means ---- */

typedef struct mean_state {
  int *columns, n;    /* those with missing values */
  double *sum, *lost; /* of each of them; what rounding took (Neumaier) */
  int64_t *count;
} mean_state;

static dl_status pack_for_means(const dl_csv_table *table, const dl_csv_field *fields, int input, void *out,
                                void *context) {
  const mean_state *state = context;
  (void)input;
  for (int k = 0; k < state->n; k++) {
    const dl_csv_field *field = &fields[state->columns[k]];
    double value = NAN; /* missing */
    if (!dl_csv_table_number(table, field->text, field->bytes, &value)) value = NAN;
    memcpy((double *)out + k, &value, sizeof value);
  }
  return DL_OK;
}

static dl_status add_to_means(dl_csv_table *table, dl_split_kind split, int input, const void *packed, void *context) {
  mean_state *state = context;
  (void)table, (void)input;
  for (int k = 0; k < state->n && split == DL_SPLIT_TRAIN; k++) {
    double value;
    memcpy(&value, (const double *)packed + k, sizeof value);
    if (isnan(value)) continue;
    const double sum = state->sum[k] + value;
    state->lost[k] +=
        fabs(state->sum[k]) >= fabs(value) ? (state->sum[k] - sum) + value : (value - sum) + state->sum[k];
    state->sum[k] = sum;
    state->count[k]++;
  }
  return DL_OK;
}

static dl_status sum_means(dl_csv_table *table, mean_state *state) {
  dl_team *team = table->job->team;
  const dl_csv_packing packing = {"means", (size_t)state->n * sizeof(double), pack_for_means, add_to_means, state};
  DL_TRY(dl_csv_rows_pack(table, &packing));
  for (int k = 0; k < state->n; k++)
    if (state->count[k]) state->sum[k] = (state->sum[k] + state->lost[k]) / (double)state->count[k];
  if (team) DL_TRY(dl_team_broadcast(team, state->sum, packing.bytes, 0));
  for (int k = 0; k < state->n; k++) table->columns[state->columns[k]].mean = state->sum[k];
  return DL_OK;
}

static dl_status find_means(dl_csv_table *table) {
  if (table->options->missing != DL_CSV_MEAN) return DL_OK;
  const size_t n = (size_t)table->n;
  mean_state state = {dl_calloc(n, sizeof(int)), 0, dl_calloc(n, sizeof(double)), dl_calloc(n, sizeof(double)),
                      dl_calloc(n, sizeof(int64_t))};
  dl_status status = state.columns && state.sum && state.lost && state.count ? DL_OK : DL_ERR_NOMEM;
  if (table->job->team) status = dl_team_agree(table->job->team, status);
  for (int i = 0; i < table->n && status == DL_OK; i++) {
    const dl_csv_column *column = &table->columns[i];
    if (column->role == DL_CSV_FEATURE && !column->category && column->missing) state.columns[state.n++] = i;
  }
  if (status == DL_OK && state.n) status = sum_means(table, &state);
  free(state.columns);
  free(state.sum);
  free(state.lost);
  free(state.count);
  return status;
}

/* ---- values ---- */

/* One split on its way into the file, a chunk at a time. */
typedef struct split_output {
  dl_h5_target x, y;
  char *x_block; /* in the type of the file */
  double *y_block;
  int64_t block, rows, written; /* rows a block, in the block, in the file */
} split_output;

/* A row in a packed form: x in the type of the file, then y as doubles. */
typedef struct outputs {
  split_output split[DL_SPLITS]; /* on the first member */
  int64_t features, targets;
  size_t x_bytes, y_bytes; /* of a row */
  double *row;             /* (features), before it takes the type of the file */
} outputs;

static dl_status check_value(const dl_csv_table *table, int input, const dl_csv_field *field,
                             const dl_csv_column *column, double value, bool target) {
  if (!target && table->options->type == DL_CSV_UINT8 && !(value >= 0 && value <= 255 && value == rint(value)))
    return dl_csv_fail(table, input, field, column, "is no whole number from 0 to 255, as --type uint8 wants");
  if (!target && table->options->type == DL_CSV_FLOAT64) return DL_OK;
  if (fabs(value) <= (double)FLT_MAX) return DL_OK;
  dl_csv_fail(table, input, field, column, "is larger than a float32 can be");
  return dl_hint(target ? "scale the column" : "scale the column, or keep it whole: --type float64");
}

static dl_status code_of(const dl_csv_table *table, int input, const dl_csv_field *field, const dl_csv_column *column,
                         int *out) {
  const int value = column->values ? dl_text_table_find(column->values, field->text, field->bytes) : -1;
  if (value < 0)
    return dl_csv_fail(table, input, field, column, "was not there before: the file changes while it is read");
  *out = column->code[value];
  return DL_OK;
}

static dl_status put_feature(const dl_csv_table *table, int input, const dl_csv_field *field,
                             const dl_csv_column *column, double *x) {
  const bool missing = dl_csv_missing(field);
  double *out = x + column->at;
  int code = column->categories; /* a missing one has a number of its own, and no column */
  if (!column->category) {
    if (missing)
      *out = table->options->missing == DL_CSV_MEAN ? column->mean : 0;
    else if (!dl_csv_table_number(table, field->text, field->bytes, out))
      return dl_csv_fail(table, input, field, column, "is no number: the file changes while it is read");
    return missing && table->options->type != DL_CSV_UINT8 ? DL_OK
                                                           : check_value(table, input, field, column, *out, false);
  }
  if (!missing) DL_TRY(code_of(table, input, field, column, &code));
  if (table->options->categories == DL_CSV_INTEGERS) {
    *out = code;
    return check_value(table, input, field, column, *out, false);
  }
  for (int64_t i = 0; i < column->width; i++) out[i] = i == code;
  return DL_OK;
}

static dl_status put_target(const dl_csv_table *table, int input, const dl_csv_field *field,
                            const dl_csv_column *column, double *y) {
  int code = 0;
  if (column->category) {
    DL_TRY(code_of(table, input, field, column, &code));
    *y = code;
    return DL_OK;
  }
  if (!dl_csv_table_number(table, field->text, field->bytes, y))
    return dl_csv_fail(table, input, field, column, "is no number: the file changes while it is read");
  return check_value(table, input, field, column, *y, true);
}

static void convert_row(const dl_csv_table *table, const outputs *all, void *out) {
  const int type = table->options->type;
  if (type == DL_CSV_FLOAT64)
    memcpy(out, all->row, all->x_bytes);
  else if (type == DL_CSV_FLOAT32)
    for (int64_t i = 0; i < all->features; i++) {
      const float value = (float)all->row[i];
      memcpy((char *)out + (size_t)i * sizeof value, &value, sizeof value);
    }
  else
    for (int64_t i = 0; i < all->features; i++) ((unsigned char *)out)[i] = (unsigned char)all->row[i];
}

static dl_status pack_row(const dl_csv_table *table, const dl_csv_field *fields, int input, void *out, void *context) {
  outputs *all = context;
  for (int i = 0; i < table->n; i++)
    if (table->columns[i].role == DL_CSV_FEATURE)
      DL_TRY(put_feature(table, input, &fields[i], &table->columns[i], all->row));
  convert_row(table, all, out);
  for (int t = 0; t < table->n_targets; t++) {
    const int i = table->targets[t];
    double y;
    DL_TRY(put_target(table, input, &fields[i], &table->columns[i], &y));
    memcpy((char *)out + all->x_bytes + (size_t)t * sizeof y, &y, sizeof y);
  }
  return DL_OK;
}

/* In the file; of this machine. */
static hid_t x_type(const dl_csv_table *table, bool in_memory) {
  const int type = table->options->type;
  if (in_memory)
    return type == DL_CSV_UINT8 ? H5T_NATIVE_UINT8 : type == DL_CSV_FLOAT64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
  return type == DL_CSV_UINT8 ? H5T_STD_U8LE : type == DL_CSV_FLOAT64 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE;
}

static dl_status flush(const dl_csv_table *table, split_output *s) {
  if (!s->rows) return DL_OK;
  DL_TRY(dl_h5_target_write(&s->x, s->written, s->rows, x_type(table, true), s->x_block));
  DL_TRY(dl_h5_target_write(&s->y, s->written, s->rows, H5T_NATIVE_DOUBLE, s->y_block));
  s->written += s->rows;
  s->rows = 0;
  return DL_OK;
}

static dl_status take_row(dl_csv_table *table, dl_split_kind split, int input, const void *packed, void *context) {
  outputs *all = context;
  split_output *s = &all->split[split];
  if (!s->block || s->written + s->rows >= s->x.dim[0])
    return dl_fail_at(DL_ERR_DATA, table->job->inputs[input], 0, 0, "changed while it was read");
  memcpy(s->x_block + (size_t)s->rows * all->x_bytes, packed, all->x_bytes);
  memcpy(s->y_block + s->rows * all->targets, (const char *)packed + all->x_bytes, all->y_bytes);
  return ++s->rows == s->block ? flush(table, s) : DL_OK;
}

/* ---- the file ---- */

static hid_t y_type(const dl_csv_table *table) {
  const int classes = table->columns[table->targets[0]].categories;
  if (table->task == DL_TASK_REGRESSION) return H5T_IEEE_F32LE;
  return classes <= 256 ? H5T_STD_U8LE : classes <= 65536 ? H5T_STD_U16LE : H5T_STD_I32LE;
}

static dl_status make_split(const dl_csv_table *table, int split, outputs *all) {
  static const char *const x_names[] = {"train/x", "valid/x", "test/x"}, *const y_names[] = {"train/y", "valid/y",
                                                                                             "test/y"};
  split_output *s = &all->split[split];
  const int64_t rows = table->size[split];
  if (!rows) return DL_OK;
  DL_TRY(dl_h5_target_make((hid_t)table->job->file, x_names[split], x_type(table, false), 2,
                           (int64_t[]){rows, all->features}, true, &s->x));
  DL_TRY(dl_h5_target_make((hid_t)table->job->file, y_names[split], y_type(table), table->n_targets > 1 ? 2 : 1,
                           (int64_t[]){rows, all->targets}, true, &s->y));
  s->block = s->x.chunk_rows;
  s->x_block = dl_calloc((size_t)s->block, all->x_bytes);
  s->y_block = dl_calloc((size_t)(s->block * all->targets), sizeof(double));
  return s->x_block && s->y_block ? DL_OK : DL_ERR_NOMEM;
}

/* On the first member. */
static dl_status begin_splits(const dl_csv_table *table, outputs *all) {
  for (int s = 0; s < DL_SPLITS; s++) DL_TRY(make_split(table, s, all));
  return DL_OK;
}

static dl_status end_splits(const dl_csv_table *table, outputs *all, dl_status status) {
  for (int s = 0; s < DL_SPLITS; s++) {
    split_output *out = &all->split[s];
    if (status == DL_OK) status = flush(table, out);
    if (status == DL_OK && out->block && out->written != out->x.dim[0])
      status = dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0, "changed while it was read");
    status = dl_h5_target_close(&out->x, status);
    status = dl_h5_target_close(&out->y, status);
    free(out->x_block);
    free(out->y_block);
  }
  return status;
}

static dl_status write_splits(dl_csv_table *table) {
  dl_team *team = table->job->team;
  outputs all = {.targets = table->n_targets};
  for (int i = 0; i < table->n; i++)
    if (table->columns[i].role == DL_CSV_FEATURE) all.features += table->columns[i].width;
  for (int s = 0; s < DL_SPLITS; s++) all.split[s] = (split_output){.x = {.id = -1}, .y = {.id = -1}};
  const int type = table->options->type;
  all.x_bytes = (size_t)all.features * (type == DL_CSV_UINT8     ? 1
                                        : type == DL_CSV_FLOAT64 ? sizeof(double)
                                                                 : sizeof(float));
  all.y_bytes = (size_t)all.targets * sizeof(double);
  all.row = dl_calloc((size_t)all.features, sizeof *all.row);
  dl_status status = all.row ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && table->job->file >= 0) status = begin_splits(table, &all);
  if (team) status = dl_team_agree(team, status);
  const dl_csv_packing packing = {"writing", all.x_bytes + all.y_bytes, pack_row, take_row, &all};
  if (status == DL_OK) status = dl_csv_rows_pack(table, &packing);
  status = end_splits(table, &all, status);
  free(all.row);
  return team ? dl_team_agree(team, status) : status;
}

/* "age", or "color=red" for each category. */
static dl_status list_features(const dl_csv_table *table, dl_arena *arena, const char **names) {
  for (int i = 0; i < table->n; i++) {
    const dl_csv_column *column = &table->columns[i];
    if (column->role != DL_CSV_FEATURE) continue;
    const bool onehot = column->category && table->options->categories == DL_CSV_ONEHOT;
    for (int64_t c = 0; c < column->width; c++) {
      const char *name =
          onehot ? dl_arena_printf(arena, "%s=%s", column->name, dl_text_table_text(column->values, column->order[c]))
                 : column->name;
      if (!name) return DL_ERR_NOMEM;
      names[column->at + c] = name;
    }
  }
  return DL_OK;
}

static dl_status write_names(const dl_csv_table *table) {
  const dl_csv_column *target = &table->columns[table->targets[0]];
  const int64_t n_targets = target->category ? target->categories : table->n_targets;
  int64_t features = 0;
  for (int i = 0; i < table->n; i++)
    if (table->columns[i].role == DL_CSV_FEATURE) features += table->columns[i].width;
  dl_arena *arena = dl_arena_new();
  const char **names = dl_calloc((size_t)(features > n_targets ? features : n_targets), sizeof *names);
  dl_status status = arena && names ? list_features(table, arena, names) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_h5_write_texts((hid_t)table->job->file, "feature_names", names, features);
  for (int64_t i = 0; names && i < n_targets; i++)
    names[i] = target->category ? dl_text_table_text(target->values, target->order[i])
                                : table->columns[table->targets[i]].name;
  if (status == DL_OK)
    status =
        dl_h5_write_texts((hid_t)table->job->file, target->category ? "class_names" : "target_names", names, n_targets);
  free(names);
  dl_arena_destroy(&arena);
  return status;
}

static void say_what_was_found(const dl_csv_table *table) {
  const dl_csv_column *target = &table->columns[table->targets[0]];
  int numbers = 0, categories = 0;
  int64_t features = 0, missing = 0;
  char task[32];
  for (int i = 0; i < table->n; i++) {
    const dl_csv_column *column = &table->columns[i];
    if (column->role != DL_CSV_FEATURE) continue;
    column->category ? categories++ : numbers++;
    features += column->width;
    missing += column->missing;
  }
  const char delimiter[] = {'\'', table->delimiter, '\'', 0};
  dl_import_say(table->job, "%s: %s, fields cut at %s; %d columns of numbers, %d of categories -> %lld features",
                table->job->inputs[0], table->header ? "header" : "no header",
                table->delimiter == '\t'  ? "tabs"
                : table->delimiter == ' ' ? "blanks"
                                          : delimiter,
                numbers, categories, (long long)features);
  dl_import_say(table->job, "target '%s'%s: %s%s", target->name, table->n_targets > 1 ? " and others" : "",
                dl_choice_name(DL_TASK_NAMES, table->task, task, sizeof task),
                table->options->task ? "" : " (say --task for another)");
  if (missing || table->dropped)
    dl_import_say(table->job, "%lld missing values, %lld rows left out", (long long)missing, (long long)table->dropped);
  dl_csv_say_doubts(table);
}

dl_status dl_import_csv(const dl_import_job *job) {
  dl_csv_table *table = dl_calloc(1, sizeof *table);
  dl_status status = table ? DL_OK : DL_ERR_NOMEM;
  if (job->team) status = dl_team_agree(job->team, status);
  if (!table) return DL_ERR_NOMEM;
  table->job = job;
  table->options = job->options;
  if (status == DL_OK) status = dl_csv_table_scan(table);
  if (status == DL_OK) status = find_means(table);
  if (status == DL_OK) status = write_splits(table);
  if (status == DL_OK && job->file >= 0) status = write_names(table);
  if (status == DL_OK && job->file >= 0) say_what_was_found(table);
  dl_csv_table_clear(table);
  free(table);
  return status;
}

/* csv_table.c - the header, the roles of columns, and what they are once all records have been looked at: numbers or
 * categories, classes, splits.
 *
 * The first member reads the header and keeps the splits; columns are the same on all members. Memory depends on the
 * width of a record, not on their number (but for a byte a row where a split file is given).
 */
#include "data/csv_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/mem.h"
#include "data/csv_check.h"
#include "data/csv_column.h"
#include "data/csv_rows.h"
#include "data/utf8.h"

enum { AUTO_CLASSES = 50 };

static bool is_first(const dl_csv_table *table) { return !table->job->team || table->job->team->rank == 0; }
static dl_status agree(const dl_csv_table *table, dl_status mine) {
  return table->job->team ? dl_team_agree(table->job->team, mine) : mine;
}

dl_status dl_csv_fail(const dl_csv_table *table, int input, const dl_csv_field *field, const dl_csv_column *column,
                      const char *what) {
  return dl_fail_at(DL_ERR_DATA, table->job->inputs[input], field->line, field->column, "column '%.80s': '%.60s' %s",
                    column->name, field->text, what);
}

/* ---- the header ---- */

static int find_column(const dl_csv_table *table, const char *word) {
  for (int i = 0; i < table->n; i++)
    if (!strcmp(table->columns[i].name, word)) return i;
  char *end;
  const long number = strtol(word, &end, 10);
  if (end == word || *end || number == 0 || number > table->n || number < -table->n) return -1;
  return (int)(number > 0 ? number - 1 : table->n + number);
}

static dl_status fail_column(const dl_csv_table *table, const char *option, const char *word) {
  const char *names[64];
  const int n = table->n < 64 ? table->n : 64;
  for (int i = 0; i < n; i++) names[i] = table->columns[i].name;
  dl_fail_at(DL_ERR_USAGE, table->job->inputs[0], 0, 0, "there is no column '%.60s' (--%s)", word, option);
  if (!table->header)
    return dl_hint(
        "its first record was not taken for a header: --header yes where it is one, else columns have "
        "numbers: 1 is the first of %d, -1 the last",
        table->n);
  if (!word[strspn(word, "+-0123456789")])
    return dl_hint("it has %d columns: 1 is the first ('%.60s'), -1 the last ('%.60s')", table->n, names[0],
                   table->columns[table->n - 1].name);
  return dl_hint_nearest(word, names, n, "it has %d columns: 1 is the first ('%.60s'), -1 the last ('%.60s')", table->n,
                         names[0], table->columns[table->n - 1].name);
}

typedef void (*column_fn)(dl_csv_table *table, int column);
static void take_target(dl_csv_table *table, int i) {
  if (table->columns[i].role == DL_CSV_TARGET || table->n_targets == DL_CSV_MOST_TARGETS) return;
  table->columns[i].role = DL_CSV_TARGET;
  table->targets[table->n_targets++] = i;
}
static void take_ignored(dl_csv_table *table, int i) { table->columns[i].role = DL_CSV_IGNORED; }
static void take_categorical(dl_csv_table *table, int i) { table->columns[i].named_categorical = true; }

/* A name that several columns have says nothing. */
static dl_status take_column(dl_csv_table *table, const char *option, const char *word, column_fn take) {
  const int i = find_column(table, word);
  if (i < 0) return fail_column(table, option, word);
  for (int k = i + 1; k < table->n; k++)
    if (!strcmp(table->columns[k].name, word)) {
      dl_fail_at(DL_ERR_USAGE, table->job->inputs[0], 0, 0, "columns %d and %d are both named '%.60s' (--%s)", i + 1,
                 k + 1, word, option);
      return dl_hint("name it by its number: 1 is the first of %d, -1 the last", table->n);
    }
  take(table, i);
  return DL_OK;
}

/* `list`: a name, or names between commas. */
static dl_status for_columns(dl_csv_table *table, const char *option, const char *list, column_fn take) {
  if (!list || !*list) return DL_OK;
  if (find_column(table, list) >= 0) return take_column(table, option, list, take);
  char *copy = dl_strdup(list), *rest = copy;
  dl_status status = copy ? DL_OK : DL_ERR_NOMEM;
  for (char *word; status == DL_OK && (word = strsep(&rest, ","));) {
    word += strspn(word, " ");
    status = take_column(table, option, word, take);
  }
  free(copy);
  return status;
}

/* A header names columns: no field of it is a number or missing, and the next record has a number or a target is named
 * by it. */
static bool looks_like_header(const dl_csv_table *table, const dl_csv_field *first, int n, const dl_csv_field *second,
                              int n_second) {
  double value;
  bool numbers = false, named = false;
  for (int i = 0; i < n; i++) {
    if (dl_csv_missing(&first[i]) && i) return false; /* pandas leaves the name of the first one empty */
    if (dl_csv_table_number(table, first[i].text, first[i].bytes, &value)) return false;
    named = named || (table->options->target && strstr(table->options->target, first[i].text) && first[i].bytes);
  }
  for (int i = 0; i < n_second; i++)
    numbers = numbers || dl_csv_table_number(table, second[i].text, second[i].bytes, &value);
  return numbers || named;
}

/* What the first member says of the header; the names follow, each with its 0 byte. */
typedef struct heading {
  int64_t bytes;
  int32_t n;
  char delimiter, header;
} heading;

static dl_status write_names(const dl_csv_table *table, const dl_csv_field *fields, int n, dl_csv_bytes *out) {
  for (int i = 0; i < n; i++) {
    const char *text = fields[i].text;
    char name[DL_CSV_MOST_NAME + 1];
    if (table->header && !dl_utf8_valid(text, fields[i].bytes)) return dl_csv_fail_utf8(table, 0, &fields[i]);
    if (table->header && *text)
      snprintf(name, sizeof name, "%s", text);
    else
      snprintf(name, sizeof name, "x%d", i + 1);
    DL_TRY(dl_csv_bytes_put(out, name, strlen(name) + 1));
  }
  return DL_OK;
}

/* By the first member: the delimiter, whether there is a header, and the names. */
static dl_status read_heading(dl_csv_table *table, dl_csv *csv, dl_csv *ahead, heading *head, dl_csv_bytes *names) {
  dl_csv_field *first, *second;
  int n, n_second;
  DL_TRY(dl_csv_next(csv, &first, &n));
  if (!n) return dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0, "holds no records");
  DL_TRY(dl_csv_next(ahead, &second, &n_second));
  DL_TRY(dl_csv_next(ahead, &second, &n_second));
  table->header = table->options->header == DL_CSV_HEADER_YES || (table->options->header == DL_CSV_HEADER_AUTO &&
                                                                  looks_like_header(table, first, n, second, n_second));
  DL_TRY(write_names(table, first, n, names));
  *head = (heading){(int64_t)names->used, n, dl_csv_delimiter(csv), table->header};
  return DL_OK;
}

static dl_status make_columns(dl_csv_table *table, const heading *head, const char *names) {
  table->delimiter = head->delimiter;
  table->header = head->header != 0;
  table->columns = dl_calloc((size_t)head->n, sizeof *table->columns);
  if (!table->columns) return DL_ERR_NOMEM;
  for (; table->n < head->n; table->n++, names += strlen(names) + 1)
    if (!(table->columns[table->n].name = dl_strdup(names))) return DL_ERR_NOMEM;
  DL_TRY(for_columns(table, "ignore", table->options->ignore, take_ignored));
  DL_TRY(for_columns(table, "categorical", table->options->categorical, take_categorical));
  return for_columns(table, "target", table->options->target, take_target);
}

static dl_status parse_delimiter(const char *text, char *out) {
  static const char *const names[] = {"auto", "comma", "semicolon", "tab", "space", "pipe"};
  static const char chars[] = {0, ',', ';', '\t', ' ', '|'};
  for (size_t i = 0; i < sizeof chars; i++)
    if (!strcmp(text, names[i])) return *out = chars[i], DL_OK;
  *out = text[0];
  if (text[0] && !text[1] && !strchr("\"\r\n.+-", text[0]) && !((unsigned char)text[0] & 0x80)) return DL_OK;
  if (!strcmp(text, "\\t")) return *out = '\t', DL_OK;
  dl_fail(DL_ERR_USAGE, "--delimiter: '%.20s' cannot be one", text);
  return dl_hint("one character, or comma, semicolon, tab, pipe, space (runs of blanks)");
}

static dl_status open_header(dl_csv_table *table, heading *head, dl_csv_bytes *names) {
  char delimiter = 0;
  dl_csv *csv = NULL, *ahead = NULL;
  DL_TRY(parse_delimiter(table->options->delimiter, &delimiter));
  if (!delimiter && table->options->decimal == DL_CSV_COMMA) delimiter = DL_CSV_FIND_NO_COMMA;
  dl_status status = dl_csv_open(table->job->inputs[0], delimiter, &csv);
  if (status == DL_OK) status = dl_csv_open(table->job->inputs[0], delimiter, &ahead);
  if (status == DL_OK) status = read_heading(table, csv, ahead, head, names);
  dl_csv_close(&csv);
  dl_csv_close(&ahead);
  return status;
}

static dl_status read_header(dl_csv_table *table) {
  dl_team *team = table->job->team;
  heading head = {.n = 0};
  dl_csv_bytes names = {NULL, 0, 0};
  dl_status status = agree(table, is_first(table) ? open_header(table, &head, &names) : DL_OK);
  if (status == DL_OK && team) status = dl_team_broadcast(team, &head, sizeof head, 0);
  const bool room = status != DL_OK || is_first(table) || dl_csv_bytes_add(&names, (size_t)head.bytes);
  if (status == DL_OK) status = agree(table, room ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK && team) status = dl_team_broadcast(team, names.bytes, (size_t)head.bytes, 0);
  if (status == DL_OK) status = agree(table, make_columns(table, &head, names.bytes));
  free(names.bytes);
  return status;
}

/* ---- categories ---- */

typedef struct entry {
  const char *text;
  double number;
  int value;
} entry;

static int by_number(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->number != y->number) return x->number < y->number ? -1 : 1;
  return (x->value > y->value) - (x->value < y->value);
}
static int by_text(const void *a, const void *b) { return strcmp(((const entry *)a)->text, ((const entry *)b)->text); }

/* Numbers by size ("1" and "1.0" are one), texts by their bytes. */
static dl_status order_values(const dl_csv_table *table, dl_csv_column *column) {
  const int n = column->values ? dl_text_table_size(column->values) : 0;
  entry *entries = dl_calloc((size_t)n, sizeof *entries);
  column->code = dl_calloc((size_t)n + 1, sizeof *column->code);
  column->order = dl_calloc((size_t)n + 1, sizeof *column->order);
  const bool numbers = !column->text_line;
  column->category = true;
  column->categories = 0;
  for (int i = 0; entries && i < n; i++) {
    const char *text = dl_text_table_text(column->values, i);
    entries[i] = (entry){.text = text, .value = i};
    if (numbers) dl_csv_table_number(table, text, strlen(text), &entries[i].number);
  }
  if (entries && n) qsort(entries, (size_t)n, sizeof *entries, numbers ? by_number : by_text);
  for (int i = 0; entries && column->code && column->order && i < n; i++) {
    const bool same = numbers && i && entries[i].number == entries[i - 1].number;
    if (!same) column->order[column->categories++] = entries[i].value;
    column->code[entries[i].value] = column->categories - 1;
  }
  const bool good = entries && column->code && column->order;
  free(entries);
  return good ? DL_OK : DL_ERR_NOMEM;
}

/* ---- the task ---- */

static dl_status fail_task(const dl_csv_table *table, const dl_csv_column *column, const char *what) {
  char task[32];
  return dl_fail_at(DL_ERR_DATA, table->job->inputs[0], column->text_line, column->text_column,
                    "target column '%.80s' %s: it does not suit --task %s", column->name, what,
                    dl_choice_name(DL_TASK_NAMES, table->task, task, sizeof task));
}

static dl_status check_target(const dl_csv_table *table, const dl_csv_column *column) {
  const bool labels = table->task == DL_TASK_CLASSIFICATION || table->task == DL_TASK_BINARY;
  if (table->task == DL_TASK_REGRESSION && !column->numeric) return fail_task(table, column, "holds text");
  if (table->task == DL_TASK_MULTILABEL &&
      !(column->numeric && column->whole && column->least >= 0 && column->most <= 1))
    return fail_task(table, column, "holds other values than 0 and 1");
  if (labels && !column->values) return fail_task(table, column, "has more than 65,536 different values");
  if (labels && column->numeric && !column->whole && table->options->task == DL_CSV_TASK_AUTO + 1)
    return fail_task(table, column, "holds numbers that are not whole");
  if (table->task == DL_TASK_BINARY && column->categories != 2)
    return fail_task(table, column, "has not two different values");
  return DL_OK;
}

static dl_status choose_task(dl_csv_table *table) {
  dl_csv_column *first = &table->columns[table->targets[0]];
  const bool classes =
      first->values && (!first->numeric || (first->whole && dl_text_table_size(first->values) <= AUTO_CLASSES));
  table->task = table->options->task               ? table->options->task - 1
                : table->n_targets == 1 && classes ? DL_TASK_CLASSIFICATION
                                                   : DL_TASK_REGRESSION;
  const bool labels = table->task == DL_TASK_CLASSIFICATION || table->task == DL_TASK_BINARY;
  if (labels && table->n_targets > 1)
    return dl_fail(DL_ERR_USAGE, "--target names %d columns; only --task regression and multilabel take several",
                   table->n_targets);
  if (labels) DL_TRY(order_values(table, first));
  for (int i = 0; i < table->n_targets; i++) DL_TRY(check_target(table, &table->columns[table->targets[i]]));
  return DL_OK;
}

static dl_status lay_out_features(dl_csv_table *table) {
  int64_t at = 0;
  for (int i = 0; i < table->n; i++) {
    dl_csv_column *column = &table->columns[i];
    if (column->role != DL_CSV_FEATURE) continue;
    const bool nothing = column->numeric && column->least > column->most;
    if (!column->numeric || nothing) DL_TRY(order_values(table, column));
    column->at = at;
    column->width = column->category && table->options->categories == DL_CSV_ONEHOT ? column->categories : 1;
    at += column->width;
  }
  if (at) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0, "no column is left to learn from");
}

static dl_status check_columns(const dl_csv_table *table) {
  const bool texts = table->options->task == DL_CSV_TASK_CLASSIFICATION || table->options->task == DL_CSV_TASK_BINARY;
  for (int i = 0; i < table->n; i++) {
    const dl_csv_column *column = &table->columns[i];
    if (column->role == DL_CSV_FEATURE || (column->role == DL_CSV_TARGET && !texts))
      DL_TRY(dl_csv_check_column(table, column));
  }
  return DL_OK;
}

/* ---- splits ---- */

_Static_assert(DL_SPLIT_TRAIN == 0, "rows that no split file names are zeroes");

static dl_status fail_split(const dl_csv_table *table, const dl_csv_field *field, const char *what) {
  return dl_fail_at(DL_ERR_DATA, table->options->split_file, field->line, field->column, "'%.40s' %s", field->text,
                    what);
}

static dl_status fail_row(const dl_csv_table *table, const dl_csv_field *field) {
  dl_fail_at(DL_ERR_DATA, table->options->split_file, field->line, field->column, "'%.40s' is for no row of '%.120s'",
             field->text, table->job->inputs[0]);
  return dl_hint("it has %lld; 0 is the first one", (long long)table->rows);
}

/* A word for each row, or the numbers of the rows of test. */
static dl_status read_split_line(dl_csv_table *table, const dl_csv_field *field, int64_t line, bool words) {
  const int split = dl_choice_index(DL_SPLIT_NAMES, field->text);
  double number;
  if (words != (split >= 0))
    return fail_split(table, field, words ? "is none of train, valid, test" : "is no row number");
  if (words) {
    if (line >= table->rows) return fail_row(table, field);
    return table->split_of[line] = (unsigned char)split, DL_OK;
  }
  if (!dl_csv_number(field->text, field->bytes, &number) || number != rint(number) || number < 0)
    return fail_split(table, field, "is no row number (0 is the first)");
  if (number >= (double)table->rows) return fail_row(table, field);
  if (table->split_of[(int64_t)number] == DL_SPLIT_TEST) return fail_split(table, field, "is named twice");
  return table->split_of[(int64_t)number] = DL_SPLIT_TEST, DL_OK;
}

static dl_status read_split_lines(dl_csv_table *table, dl_csv *csv, int64_t *named, bool *words) {
  dl_csv_field *fields;
  int n;
  for (*named = 0;; (*named)++) {
    DL_TRY(dl_csv_next(csv, &fields, &n));
    if (!n) return DL_OK;
    if (n != 1) return fail_split(table, fields, "is not alone on its line");
    if (*named == 0) *words = dl_choice_index(DL_SPLIT_NAMES, fields[0].text) >= 0;
    DL_TRY(read_split_line(table, &fields[0], *named, *words));
  }
}

/* By the first member. The rows were counted before: what the file names must be there. */
static dl_status read_split_file(dl_csv_table *table) {
  dl_csv *csv;
  int64_t named = 0;
  bool words = false;
  table->split_rows = table->rows;
  table->split_of = dl_calloc((size_t)table->rows + 1, 1);
  if (!table->split_of) return DL_ERR_NOMEM;
  DL_TRY(dl_csv_open(table->options->split_file, ',', &csv));
  dl_status status = read_split_lines(table, csv, &named, &words);
  dl_csv_close(&csv);
  DL_TRY(status);
  if (!words || named == table->rows) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, table->options->split_file, 0, 0, "names %lld rows, but '%.120s' has %lld",
                    (long long)named, table->job->inputs[0], (long long)table->rows);
}

static dl_status check_split_options(const dl_csv_table *table) {
  const dl_csv_options *o = table->options;
  const bool file = o->split_file && *o->split_file;
  if (file + (o->test_fraction > 0 || o->valid_fraction > 0) + (table->job->n_inputs == 2 && file) > 1)
    return dl_fail(DL_ERR_USAGE, "--split-file says it all: no --test-fraction and no TEST_FILE beside it");
  if (table->job->n_inputs == 2 && o->test_fraction > 0)
    return dl_fail(DL_ERR_USAGE, "either TEST_FILE or --test-fraction, not both");
  if (o->test_fraction + o->valid_fraction >= 1)
    return dl_fail(DL_ERR_USAGE, "--test-fraction and --valid-fraction leave nothing to train on");
  return DL_OK;
}

dl_split_kind dl_csv_table_split(dl_csv_table *table, int class, int input, int64_t row) {
  if (table->split_of) return row < table->split_rows ? (dl_split_kind)table->split_of[row] : DL_SPLIT_TRAIN;
  return input ? DL_SPLIT_TEST : dl_split_rule_next(&table->rule, class);
}

static dl_status make_rule(dl_csv_table *table) {
  const dl_csv_options *o = table->options;
  const dl_csv_column *target = &table->columns[table->targets[0]];
  const int classes = target->category ? target->categories : 1;
  int64_t *members = dl_calloc((size_t)classes, sizeof *members);
  if (!members) return DL_ERR_NOMEM;
  if (!target->category) members[0] = table->input_rows[0];
  for (int i = 0; target->category && i < dl_text_table_size(target->values); i++)
    members[target->code[i]] += target->count[i]; /* the first input alone is cut */
  dl_status status =
      dl_split_rule_new((uint64_t)o->seed, o->test_fraction, o->valid_fraction, classes, members, &table->rule);
  free(members);
  for (int c = 0; c < classes && status == DL_OK; c++) {
    table->size[DL_SPLIT_TEST] += table->rule.test[c];
    table->size[DL_SPLIT_VALID] += table->rule.valid[c];
  }
  table->size[DL_SPLIT_TRAIN] = table->input_rows[0] - table->size[DL_SPLIT_TEST] - table->size[DL_SPLIT_VALID];
  if (table->job->n_inputs == 2) table->size[DL_SPLIT_TEST] = table->input_rows[1];
  return status;
}

/* By the first member: what only it has counted. */
static dl_status check_rows(dl_csv_table *table) {
  const int64_t kept = table->input_rows[0] + table->input_rows[1];
  table->dropped = table->rows - kept;
  if (table->input_rows[0]) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0,
                    table->dropped ? "every row lacks a value" : "holds no rows");
}

static dl_status cut_splits(dl_csv_table *table) {
  if (!table->split_of) DL_TRY(make_rule(table));
  if (table->size[DL_SPLIT_TRAIN] == 0)
    return dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0, "no row is left to train on");
  if (table->options->test_fraction > 0 && !table->size[DL_SPLIT_TEST])
    return dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0, "--test-fraction %g of %lld rows is none",
                      table->options->test_fraction, (long long)(table->rows - table->dropped));
  return DL_OK;
}

/* From the columns, which are the same on all members. */
static dl_status find_kinds(dl_csv_table *table) {
  DL_TRY(dl_csv_columns_check_texts(table));
  DL_TRY(check_columns(table));
  DL_TRY(choose_task(table));
  return lay_out_features(table);
}

dl_status dl_csv_table_scan(dl_csv_table *table) {
  DL_TRY(agree(table, check_split_options(table)));
  DL_TRY(read_header(table));
  if (table->options->split_file && *table->options->split_file) {
    DL_TRY(dl_csv_rows_count(table));
    DL_TRY(agree(table, is_first(table) ? read_split_file(table) : DL_OK));
  }
  DL_TRY(dl_csv_rows_scan(table));
  DL_TRY(agree(table, is_first(table) ? check_rows(table) : DL_OK));
  DL_TRY(agree(table, find_kinds(table)));
  return agree(table, is_first(table) ? cut_splits(table) : DL_OK);
}

void dl_csv_table_clear(dl_csv_table *table) {
  for (int i = 0; table->columns && i < table->n; i++) dl_csv_column_clear(&table->columns[i]);
  free(table->columns);
  free(table->split_of);
  dl_split_rule_clear(&table->rule);
}

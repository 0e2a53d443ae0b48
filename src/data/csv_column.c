/* csv_column.c - a column is numbers while every value is one, else categories.
 *
 * Both possibilities are kept open while there are few different values; a column with many of them can only hold
 * numbers, and its first text is an error at its place. So memory depends on the width of a record, not on their
 * number. Everything kept is a sum, an extreme, or the first of its kind, so pieces can be looked at apart and joined
 * in order.
 */
#include "data/csv_column.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/csv_check.h"
#include "data/utf8.h"

dl_status dl_csv_column_begin(dl_csv_column *column) {
  column->numeric = !column->named_categorical;
  column->whole = true;
  column->least = INFINITY;
  column->most = -INFINITY;
  column->missing = 0;
  column->text_line = 0;
  dl_text_table_destroy(&column->values);
  free(column->count);
  column->count = NULL;
  column->counts = 0;
  return column->role == DL_CSV_IGNORED || column->too_many ? DL_OK : dl_text_table_new(&column->values);
}

void dl_csv_column_clear(dl_csv_column *column) {
  dl_text_table_destroy(&column->values);
  free(column->name);
  free(column->count);
  free(column->code);
  free(column->order);
}

/* ---- one value ---- */

static void forget_values(dl_csv_column *column) {
  dl_text_table_destroy(&column->values);
  column->too_many = true;
}

static dl_status count_value(dl_csv_column *column, const char *text, size_t bytes, int64_t count) {
  int number;
  if (bytes > DL_CSV_MOST_NAME) return forget_values(column), DL_OK;
  DL_TRY(dl_text_table_add(column->values, text, bytes, &number));
  if (number >= column->counts) {
    const int counts = column->counts ? 2 * column->counts : 16;
    int64_t *more = dl_reallocarray(column->count, (size_t)counts, sizeof *more);
    if (!more) return DL_ERR_NOMEM;
    memset(more + column->counts, 0, (size_t)(counts - column->counts) * sizeof *more);
    column->count = more;
    column->counts = counts;
  }
  column->count[number] += count;
  if (number >= (column->role == DL_CSV_TARGET ? DL_CSV_MOST_CLASSES : DL_CSV_MOST_CATEGORIES)) forget_values(column);
  return DL_OK;
}

static void note_number(dl_csv_column *column, double value) {
  column->whole = column->whole && value == rint(value);
  if (value < column->least) column->least = value;
  if (value > column->most) column->most = value;
}

dl_status dl_csv_fail_utf8(const dl_csv_table *table, int input, const dl_csv_field *field) {
  dl_fail_at(DL_ERR_DATA, table->job->inputs[input], field->line, field->column, "the text is not UTF-8");
  return dl_hint("convert the file: iconv -f LATIN1 -t UTF-8 (or what it is in)");
}

static dl_status note_missing(const dl_csv_table *table, dl_csv_column *column, const dl_csv_field *field, int input) {
  column->missing++;
  const bool target = column->role == DL_CSV_TARGET;
  if (!target && table->options->missing != DL_CSV_ERROR) return DL_OK;
  dl_fail_at(DL_ERR_DATA, table->job->inputs[input], field->line, field->column,
             "%scolumn '%.80s': the value is missing%s%s%s", target ? "target " : "", column->name,
             field->bytes ? " ('" : "", field->text, field->bytes ? "')" : "");
  return dl_hint(target ? "leave such rows out: --missing drop" : "say what to do: --missing mean, zero or drop");
}

dl_status dl_csv_column_note(const dl_csv_table *table, dl_csv_column *column, const dl_csv_field *field, int input) {
  double value;
  if (dl_csv_missing(field)) return note_missing(table, column, field, input);
  if (dl_csv_table_number(table, field->text, field->bytes, &value)) {
    if (!isfinite(value)) return dl_csv_fail(table, input, field, column, "is larger than a float64 can be");
    note_number(column, value);
  } else {
    if (!dl_utf8_valid(field->text, field->bytes)) return dl_csv_fail_utf8(table, input, field);
    if (!column->text_line) {
      column->text_input = input;
      column->text_line = field->line;
      column->text_column = field->column;
      snprintf(column->text, sizeof column->text, "%s", field->text);
    }
    column->numeric = false;
  }
  return column->values ? count_value(column, field->text, field->bytes, input == 0) : DL_OK;
}

/* ---- pieces ---- */

typedef struct wire_column {
  double least, most;
  int64_t missing;
  int32_t numeric, whole, values; /* -1: too many */
  int32_t text_input, text_line, text_column;
  char text[sizeof((dl_csv_column *)NULL)->text];
} wire_column;

typedef struct wire_value {
  int64_t count;
  int64_t bytes; /* which follow */
} wire_value;

dl_status dl_csv_column_put(const dl_csv_column *c, dl_csv_bytes *out) {
  wire_column head = {
      c->least,      c->most,      c->missing,     c->numeric, c->whole, c->values ? dl_text_table_size(c->values) : -1,
      c->text_input, c->text_line, c->text_column, {0}};
  memcpy(head.text, c->text, sizeof head.text);
  DL_TRY(dl_csv_bytes_put(out, &head, sizeof head));
  for (int i = 0; i < head.values; i++) {
    const char *text = dl_text_table_text(c->values, i);
    const wire_value value = {c->count[i], (int64_t)strlen(text)};
    DL_TRY(dl_csv_bytes_put(out, &value, sizeof value));
    DL_TRY(dl_csv_bytes_put(out, text, (size_t)value.bytes));
  }
  return DL_OK;
}

static dl_status join_values(dl_csv_column *column, int n, const char **at) {
  if (n < 0) forget_values(column);
  for (int i = 0; i < n; i++) {
    wire_value value;
    memcpy(&value, *at, sizeof value);
    if (column->values) DL_TRY(count_value(column, *at + sizeof value, (size_t)value.bytes, value.count));
    *at += sizeof value + (size_t)value.bytes;
  }
  return DL_OK;
}

dl_status dl_csv_column_join(dl_csv_column *column, const char **at) {
  wire_column head;
  memcpy(&head, *at, sizeof head);
  *at += sizeof head;
  column->numeric = column->numeric && head.numeric;
  column->whole = column->whole && head.whole;
  if (head.least < column->least) column->least = head.least;
  if (head.most > column->most) column->most = head.most;
  column->missing += head.missing;
  if (!column->text_line && head.text_line) {
    column->text_input = head.text_input;
    column->text_line = head.text_line;
    column->text_column = head.text_column;
    memcpy(column->text, head.text, sizeof column->text);
  }
  return join_values(column, head.values, at);
}

static bool stands_before(const dl_csv_column *a, const dl_csv_column *b) {
  if (a->text_input != b->text_input) return a->text_input < b->text_input;
  return a->text_line != b->text_line ? a->text_line < b->text_line : a->text_column < b->text_column;
}

dl_status dl_csv_columns_check_texts(const dl_csv_table *table) {
  const dl_csv_column *first = NULL;
  for (int i = 0; i < table->n; i++) {
    const dl_csv_column *c = &table->columns[i];
    if (c->role != DL_CSV_IGNORED && !c->numeric && !c->values && (!first || stands_before(c, first))) first = c;
  }
  if (!first) return DL_OK;
  if (!first->text_line)
    return dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0,
                      "column '%.80s' has too many different values for categories", first->name);
  dl_fail_at(DL_ERR_DATA, table->job->inputs[first->text_input], first->text_line, first->text_column,
             "column '%.80s': '%.48s' is no number, and the column has too many different values for categories",
             first->name, first->text);
  return dl_hint("mend the value, or leave the column out: --ignore '%.80s'", first->name);
}

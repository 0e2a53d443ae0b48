/* csv_check.c - a column of numbers with one slip of the pen would become a category for each number, without a word:
 * so texts are held against the numbers that stand beside them.
 */
#include "data/csv_check.h"

#include <stdio.h>
#include <string.h>

enum { MOST_NUMBER = 400, FEW_NUMBERS = 20, NUMBERS_A_TEXT = 9, FEW_CATEGORIES = 20 };

static void trim(const char **text, size_t *bytes) {
  for (; *bytes && (**text == ' ' || **text == '\t'); ++*text) --*bytes;
  while (*bytes && ((*text)[*bytes - 1] == ' ' || (*text)[*bytes - 1] == '\t')) --*bytes;
}

/* With the comma in the point's place; points are no part of such a number. */
static bool number_with_comma(const char *text, size_t bytes, double *out) {
  char copy[MOST_NUMBER];
  if (bytes >= sizeof copy || memchr(text, '.', bytes)) return false;
  memcpy(copy, text, bytes);
  copy[bytes] = 0;
  char *comma = strchr(copy, ',');
  if (comma) *comma = '.';
  return dl_csv_number(copy, bytes, out);
}

bool dl_csv_table_number(const dl_csv_table *table, const char *text, size_t bytes, double *out) {
  if (table->options->decimal != DL_CSV_COMMA && dl_csv_number(text, bytes, out)) return true;
  const char *inner = text;
  trim(&inner, &bytes);
  if (table->options->decimal == DL_CSV_COMMA) return number_with_comma(inner, bytes, out);
  char copy[MOST_NUMBER];
  if (inner == text && !text[bytes]) return false; /* nothing was trimmed */
  if (bytes >= sizeof copy) return false;
  memcpy(copy, inner, bytes);
  copy[bytes] = 0;
  return dl_csv_number(copy, bytes, out);
}

static dl_status fail_column(const dl_csv_table *table, const dl_csv_column *column, const char *what) {
  return dl_fail_at(DL_ERR_DATA, table->job->inputs[column->text_input], column->text_line, column->text_column,
                    "column '%.80s': '%.48s' %s", column->name, column->text, what);
}

dl_status dl_csv_check_column(const dl_csv_table *table, const dl_csv_column *column) {
  if (!column->text_line || !column->values || column->named_categorical) return DL_OK;
  int numbers = 0, with_comma = 0, texts = 0;
  for (int i = 0; i < dl_text_table_size(column->values); i++) {
    const char *text = dl_text_table_text(column->values, i);
    const size_t bytes = strlen(text);
    double value;
    if (dl_csv_table_number(table, text, bytes, &value))
      numbers++;
    else if (number_with_comma(text, bytes, &value))
      with_comma++;
    else
      texts++;
  }
  if (with_comma && !texts) {
    fail_column(table, column, "is no number with a decimal point");
    return dl_hint("--decimal comma reads such numbers; --categorical '%.80s' keeps them as texts", column->name);
  }
  if (numbers < FEW_NUMBERS || numbers < NUMBERS_A_TEXT * (with_comma + texts)) return DL_OK;
  fail_column(table, column, "is no number, as nearly all other values of the column are");
  return dl_hint("mend the value, or say --categorical '%.80s' or --ignore '%.80s'", column->name, column->name);
}

/* 0 or 1 to the number of rows; where there are few enough to tell, all of them. */
static bool counts_rows(const dl_csv_table *table, const dl_csv_column *column) {
  if (!column->numeric || !column->whole || column->missing || table->rows < 3) return false;
  if (column->values && dl_text_table_size(column->values) != (int)table->rows) return false;
  return (column->least == 0 || column->least == 1) && column->most - column->least == (double)(table->rows - 1);
}

void dl_csv_say_doubts(const dl_csv_table *table) {
  for (int i = 0; i < table->n; i++) {
    const dl_csv_column *column = &table->columns[i];
    if (column->role != DL_CSV_FEATURE) continue;
    if (counts_rows(table, column))
      dl_import_say(table->job, "column %d ('%.60s') seems to number the rows: --ignore %d leaves it out", i + 1,
                    column->name, i + 1);
    else if (column->category && column->categories > FEW_CATEGORIES && 2 * (int64_t)column->categories > table->rows)
      dl_import_say(table->job, "column '%.60s' has %d different texts in %lld rows: --ignore %d leaves it out",
                    column->name, column->categories, (long long)table->rows, i + 1);
  }
}

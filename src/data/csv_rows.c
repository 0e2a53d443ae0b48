/* csv_rows.c - three ways to go through the pieces of a table (csv_pieces.h): to count its records, to look at its
 * columns, and to turn its rows into values. */
#include "data/csv_rows.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "data/csv_column.h"

bool dl_csv_missing(const dl_csv_field *field) {
  static const char *const words[] = {"", "?", "NA", "N/A", "NaN", "-NaN", "null"};
  if (field->bytes > 4) return false;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (!strcasecmp(field->text, words[i])) return true;
  return false;
}

/* ---- the records of a piece ---- */

static dl_status check_count(const dl_csv_table *table, const char *path, const dl_csv_field *fields, int n) {
  if (n == table->n) return DL_OK;
  dl_fail_at(DL_ERR_DATA, path, fields[0].line, 0, "%d field%s where the first record has %d", n, n == 1 ? "" : "s",
             table->n);
  return dl_hint("fields are cut at '%c'; another one is named with --delimiter",
                 table->delimiter == '\t' ? ' ' : table->delimiter);
}

/* Whether the record is kept: with --missing drop it lacks nothing that is used. */
static bool is_kept(const dl_csv_table *table, const dl_csv_field *fields) {
  if (table->options->missing != DL_CSV_DROP) return true;
  for (int i = 0; i < table->n; i++)
    if (table->columns[i].role != DL_CSV_IGNORED && dl_csv_missing(&fields[i])) return false;
  return true;
}

static dl_status check_header(const dl_csv_table *table, const char *path, const dl_csv_field *fields, int n) {
  DL_TRY(check_count(table, path, fields, n));
  for (int i = 0; i < n; i++)
    if (fields[i].bytes && strncmp(fields[i].text, table->columns[i].name, DL_CSV_MOST_NAME) != 0)
      return dl_fail_at(DL_ERR_DATA, path, fields[i].line, fields[i].column,
                        "the header names column %d '%.60s', but '%.60s' in '%.120s'", i + 1, fields[i].text,
                        table->columns[i].name, table->job->inputs[0]);
  return DL_OK;
}

/* Called with every record that is kept; `row` is its number in the piece. */
typedef dl_status (*record_fn)(const dl_csv_field *fields, int64_t row, void *context);

static dl_status each_record(const dl_csv_table *table, const dl_csv_piece *piece, dl_csv *csv, int64_t *rows,
                             record_fn each, void *context) {
  const char *path = table->job->inputs[piece->input];
  dl_csv_field *fields;
  int n;
  if (table->header && piece->first) {
    DL_TRY(dl_csv_next(csv, &fields, &n));
    if (n && piece->input) DL_TRY(check_header(table, path, fields, n));
  }
  for (*rows = 0;; (*rows)++) {
    DL_TRY(dl_csv_next(csv, &fields, &n));
    if (!n) return DL_OK;
    DL_TRY(check_count(table, path, fields, n));
    if (each && is_kept(table, fields)) DL_TRY(each(fields, *rows, context));
  }
}

static dl_status read_records(const dl_csv_table *table, const dl_csv_piece *piece, int64_t *rows, record_fn each,
                              void *context) {
  dl_csv *csv;
  DL_TRY(dl_csv_open_text(table->job->inputs[piece->input], piece->line, piece->text, piece->bytes, table->delimiter,
                          &csv));
  const dl_status status = each_record(table, piece, csv, rows, each, context);
  dl_csv_close(&csv);
  return status;
}

/* ---- a pass ---- */

typedef struct pass {
  dl_csv_table *table;
  dl_csv_bytes *out;
  int64_t row;            /* on the first member: of what is taken */
  int input;              /* of the piece being parsed */
  dl_csv_column *columns; /* of the piece */
  const dl_csv_packing *packing;
} pass_state;

static dl_status run(pass_state *pass, const char *phase,
                     dl_status (*parse)(const dl_csv_piece *piece, dl_csv_bytes *out, void *context),
                     dl_status (*take)(const char *bytes, size_t n, int input, void *context)) {
  dl_csv_table *table = pass->table;
  const dl_csv_pass pieces = {phase, table->delimiter, parse, take, pass};
  DL_TRY(dl_csv_pieces_read(table->job, &pieces));
  dl_status status = DL_OK;
  dl_team *team = table->job->team;
  if (table->rows && pass->row != table->rows && !(team && team->rank))
    status = dl_fail_at(DL_ERR_DATA, table->job->inputs[0], 0, 0, "changed while it was read");
  table->rows = pass->row;
  return team ? dl_team_agree(team, status) : status;
}

/* ---- counting ---- */

static dl_status count_piece(const dl_csv_piece *piece, dl_csv_bytes *out, void *context) {
  pass_state *pass = context;
  int64_t rows;
  DL_TRY(read_records(pass->table, piece, &rows, NULL, NULL));
  return dl_csv_bytes_put(out, &rows, sizeof rows);
}

static dl_status take_count(const char *bytes, size_t n, int input, void *context) {
  pass_state *pass = context;
  int64_t rows;
  (void)n, (void)input;
  memcpy(&rows, bytes, sizeof rows);
  pass->row += rows;
  return DL_OK;
}

dl_status dl_csv_rows_count(dl_csv_table *table) {
  pass_state pass = {.table = table};
  return run(&pass, "counting", count_piece, take_count);
}

/* ---- looking at columns: {rows, kept}, the number of each row kept where a split file will ask, the columns ---- */

typedef struct seen {
  int64_t rows, kept;
} seen;

static dl_status scan_record(const dl_csv_field *fields, int64_t row, void *context) {
  pass_state *pass = context;
  const dl_csv_table *table = pass->table;
  for (int i = 0; i < table->n; i++)
    if (pass->columns[i].role != DL_CSV_IGNORED)
      DL_TRY(dl_csv_column_note(table, &pass->columns[i], &fields[i], pass->input));
  pass->row++;
  return table->options->split_file && *table->options->split_file ? dl_csv_bytes_put(pass->out, &row, sizeof row)
                                                                   : DL_OK;
}

static dl_status scan_piece(const dl_csv_piece *piece, dl_csv_bytes *out, void *context) {
  pass_state *pass = context;
  const dl_csv_table *table = pass->table;
  const size_t at = out->used;
  pass_state mine = {.table = pass->table, .out = out, .input = piece->input, .columns = pass->columns};
  seen head = {0, 0};
  DL_TRY(dl_csv_bytes_put(out, &head, sizeof head));
  for (int i = 0; i < table->n; i++) DL_TRY(dl_csv_column_begin(&pass->columns[i]));
  DL_TRY(read_records(table, piece, &head.rows, scan_record, &mine));
  head.kept = mine.row;
  memcpy(out->bytes + at, &head, sizeof head);
  for (int i = 0; i < table->n; i++) DL_TRY(dl_csv_column_put(&pass->columns[i], out));
  return DL_OK;
}

static dl_status take_scan(const char *bytes, size_t n, int input, void *context) {
  pass_state *pass = context;
  dl_csv_table *table = pass->table;
  seen head;
  (void)n;
  memcpy(&head, bytes, sizeof head);
  bytes += sizeof head;
  for (int64_t i = 0, row; table->split_of && i < head.kept; i++, bytes += sizeof row) {
    memcpy(&row, bytes, sizeof row);
    if (pass->row + row < table->split_rows) table->size[table->split_of[pass->row + row]]++;
  }
  for (int i = 0; i < table->n; i++) DL_TRY(dl_csv_column_join(&table->columns[i], &bytes));
  table->input_rows[input] += head.kept;
  pass->row += head.rows;
  return DL_OK;
}

/* What the first member has joined, to all. */
static dl_status share_columns(dl_csv_table *table) {
  dl_team *team = table->job->team;
  dl_csv_bytes all = {NULL, 0, 0};
  dl_status status = DL_OK;
  if (!team || team->size == 1) return DL_OK;
  for (int i = 0; team->rank == 0 && i < table->n && status == DL_OK; i++)
    status = dl_csv_column_put(&table->columns[i], &all);
  status = dl_team_agree(team, status);
  int64_t bytes = (int64_t)all.used;
  if (status == DL_OK) status = dl_team_broadcast(team, &bytes, sizeof bytes, 0);
  if (status == DL_OK)
    status = dl_team_agree(team, team->rank && !dl_csv_bytes_add(&all, (size_t)bytes) ? DL_ERR_NOMEM : DL_OK);
  if (status == DL_OK) status = dl_team_broadcast(team, all.bytes, (size_t)bytes, 0);
  const char *at = all.bytes;
  if (status == DL_OK) {
    for (int i = 0; team->rank && i < table->n && status == DL_OK; i++)
      status = dl_csv_column_join(&table->columns[i], &at);
    status = dl_team_agree(team, status);
  }
  free(all.bytes);
  return status;
}

dl_status dl_csv_rows_scan(dl_csv_table *table) {
  pass_state pass = {.table = table, .columns = dl_calloc((size_t)table->n, sizeof *pass.columns)};
  dl_status status = pass.columns ? DL_OK : DL_ERR_NOMEM;
  for (int i = 0; i < table->n && status == DL_OK; i++) {
    const dl_csv_column *column = &table->columns[i];
    pass.columns[i] =
        (dl_csv_column){.name = column->name, .role = column->role, .named_categorical = column->named_categorical};
    status = dl_csv_column_begin(&table->columns[i]);
  }
  if (table->job->team) status = dl_team_agree(table->job->team, status);
  if (status == DL_OK) status = run(&pass, "reading", scan_piece, take_scan);
  for (int i = 0; pass.columns && i < table->n; i++) {
    pass.columns[i].name = NULL; /* borrowed */
    dl_csv_column_clear(&pass.columns[i]);
  }
  free(pass.columns);
  return status == DL_OK ? share_columns(table) : status;
}

/* ---- rows to values: {rows, kept}, then for each row kept its number, its class, and its values ---- */

typedef struct row_head {
  int32_t row, class;
} row_head;

static int32_t class_of(const dl_csv_table *table, const dl_csv_field *fields) {
  const dl_csv_column *target = &table->columns[table->targets[0]];
  const dl_csv_field *field = &fields[table->targets[0]];
  if (!target->category) return 0;
  const int value = dl_text_table_find(target->values, field->text, field->bytes);
  return value < 0 ? 0 : target->code[value];
}

static dl_status pack_record(const dl_csv_field *fields, int64_t row, void *context) {
  pass_state *pass = context;
  const row_head head = {(int32_t)row, class_of(pass->table, fields)};
  char *at = dl_csv_bytes_add(pass->out, sizeof head + pass->packing->bytes);
  if (!at) return DL_ERR_NOMEM;
  memcpy(at, &head, sizeof head);
  pass->row++;
  return pass->packing->pack(pass->table, fields, pass->input, at + sizeof head, pass->packing->context);
}

static dl_status pack_piece(const dl_csv_piece *piece, dl_csv_bytes *out, void *context) {
  pass_state *pass = context;
  pass_state mine = {.table = pass->table, .out = out, .input = piece->input, .packing = pass->packing};
  const size_t at = out->used;
  seen head = {0, 0};
  DL_TRY(dl_csv_bytes_put(out, &head, sizeof head));
  DL_TRY(read_records(pass->table, piece, &head.rows, pack_record, &mine));
  head.kept = mine.row;
  memcpy(out->bytes + at, &head, sizeof head);
  return DL_OK;
}

static dl_status take_rows(const char *bytes, size_t n, int input, void *context) {
  pass_state *pass = context;
  dl_csv_table *table = pass->table;
  const dl_csv_packing *packing = pass->packing;
  seen all;
  (void)n;
  memcpy(&all, bytes, sizeof all);
  bytes += sizeof all;
  for (int64_t i = 0; i < all.kept; i++, bytes += sizeof(row_head) + packing->bytes) {
    row_head head;
    memcpy(&head, bytes, sizeof head);
    const dl_split_kind split = dl_csv_table_split(table, head.class, input, pass->row + head.row);
    DL_TRY(packing->take(table, split, input, bytes + sizeof head, packing->context));
  }
  pass->row += all.rows;
  return DL_OK;
}

dl_status dl_csv_rows_pack(dl_csv_table *table, const dl_csv_packing *packing) {
  pass_state pass = {.table = table, .packing = packing};
  dl_split_rule_begin(&table->rule);
  return run(&pass, packing->phase, pack_piece, take_rows);
}

/* csv_table.h - what the columns of a table are, found out by reading it once (floor: data, private). */
#ifndef DL_DATA_CSV_TABLE_H
#define DL_DATA_CSV_TABLE_H

#include "data/csv_reader.h"
#include "data/import_csv.h"
#include "data/split_rule.h"
#include "data/text_table.h"

#define DL_CSV_MOST_TARGETS 1024

typedef enum dl_csv_role { DL_CSV_FEATURE, DL_CSV_TARGET, DL_CSV_IGNORED } dl_csv_role;

typedef struct dl_csv_column {
  char *name; /* from the header, or "x7" for column 7 */
  dl_csv_role role;
  bool numeric; /* every value is a number (and it was not said to be categorical) */
  bool named_categorical;
  bool whole;            /* every number is a whole one */
  double least, most;    /* of the numbers */
  int64_t missing;       /* values */
  dl_text_table *values; /* NULL where there are too many */
  bool too_many;
  int64_t *count;                         /* of each value */
  int counts;                             /* allocated */
  int text_input, text_line, text_column; /* where the first text that is no number stands */
  char text[48];
  bool category; /* what became of it, with code[value] = its place in the order */
  int *code, *order;
  int categories;
  double mean;       /* of train */
  int64_t at, width; /* among the features */
} dl_csv_column;

typedef struct dl_csv_table {
  const dl_import_job *job;
  const dl_csv_options *options;
  char delimiter;
  bool header;
  dl_csv_column *columns;
  int n;
  int targets[DL_CSV_MOST_TARGETS], n_targets;
  int task;                /* dl_task */
  unsigned char *split_of; /* of rows, by the split file; NULL: none */
  int64_t split_rows;
  int64_t rows, dropped;   /* of all inputs */
  int64_t input_rows[2];   /* kept, of each */
  int64_t size[DL_SPLITS]; /* rows kept for each split */
  dl_split_rule rule;
} dl_csv_table;

/* Reads the inputs: names, roles, kinds and categories, on all members; rows and splits, on the first one. Collective
 * over the job's team, where there is one. */
dl_status dl_csv_table_scan(dl_csv_table *table);
void dl_csv_table_clear(dl_csv_table *table);

/* The split of a record: to be asked for each one kept, in order, once a pass, on the first member. `row` counts from 0
 * over the records of all inputs. */
dl_split_kind dl_csv_table_split(dl_csv_table *table, int class, int input, int64_t row);

bool dl_csv_missing(const dl_csv_field *field);
dl_status dl_csv_fail(const dl_csv_table *table, int input, const dl_csv_field *field, const dl_csv_column *column,
                      const char *what);

#endif

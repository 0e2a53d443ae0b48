/* csv_rows.h - passes over the records of a table: by all members, taken in order by the first (floor: data, private).
 * Collective over the job's team, where there is one. */
#ifndef DL_DATA_CSV_ROWS_H
#define DL_DATA_CSV_ROWS_H

#include "data/csv_table.h"

/* Counts the records: table->rows, on the first member. */
dl_status dl_csv_rows_count(dl_csv_table *table);

/* Looks at every value of the records that are kept: columns on all members; rows, input_rows and with a split file
 * sizes on the first one. */
dl_status dl_csv_rows_scan(dl_csv_table *table);

/* Every record that is kept becomes `bytes` bytes, by any member; and goes to where its split is, on the first one. */
typedef struct dl_csv_packing {
  const char *phase;
  size_t bytes;
  dl_status (*pack)(const dl_csv_table *table, const dl_csv_field *fields, int input, void *out, void *context);
  dl_status (*take)(dl_csv_table *table, dl_split_kind split, int input, const void *packed, void *context);
  void *context;
} dl_csv_packing;
dl_status dl_csv_rows_pack(dl_csv_table *table, const dl_csv_packing *packing);

#endif

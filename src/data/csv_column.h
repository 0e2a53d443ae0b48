/* csv_column.h - what is found out about a column of a table while its values go by, piece by piece (floor: data,
 * private). */
#ifndef DL_DATA_CSV_COLUMN_H
#define DL_DATA_CSV_COLUMN_H

#include "data/csv_pieces.h"
#include "data/csv_table.h"

/* The most different values that are remembered: categories of a feature, classes of a target. More of them are none.
 */
enum { DL_CSV_MOST_CATEGORIES = 1024, DL_CSV_MOST_CLASSES = 65536, DL_CSV_MOST_NAME = 255 };

/* Nothing has been seen. Keeps name and role. */
dl_status dl_csv_column_begin(dl_csv_column *column);
void dl_csv_column_clear(dl_csv_column *column);

/* One more value. `count[value]` counts those of the first input alone. Fails where it is missing and may not be, is no
 * UTF-8, or is larger than a float64. */
dl_status dl_csv_column_note(const dl_csv_table *table, dl_csv_column *column, const dl_csv_field *field, int input);

/* As bytes; and those of a later piece joined to what an earlier one holds: in which pieces the values came makes no
 * difference. *at moves on. */
dl_status dl_csv_column_put(const dl_csv_column *column, dl_csv_bytes *out);
dl_status dl_csv_column_join(dl_csv_column *column, const char **at);

/* Fails at the first text of the file that stands in a column of too many values to be categories. */
dl_status dl_csv_columns_check_texts(const dl_csv_table *table);

dl_status dl_csv_fail_utf8(const dl_csv_table *table, int input, const dl_csv_field *field);

#endif

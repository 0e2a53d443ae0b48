/* csv_check.h - what a value of a table is, and what seems to be meant otherwise (floor: data, private). */
#ifndef DL_DATA_CSV_CHECK_H
#define DL_DATA_CSV_CHECK_H

#include "data/csv_table.h"

/* A number as the table writes them (--decimal), blanks around it left out. */
bool dl_csv_table_number(const dl_csv_table *table, const char *text, size_t bytes, double *out);

/* A column that holds texts, but seems to be meant for numbers, is an error at its first text: numbers with a decimal
 * comma where a point is wanted; many numbers and a few texts. Not asked for columns that were named categorical. */
dl_status dl_csv_check_column(const dl_csv_table *table, const dl_csv_column *column);

/* Says which columns a network should hardly see: numbers of rows, and texts that differ in nearly every row. */
void dl_csv_say_doubts(const dl_csv_table *table);

#endif

/* text_table.h - different texts, numbered in the order in which they come (floor: data, private). */
#ifndef DL_DATA_TEXT_TABLE_H
#define DL_DATA_TEXT_TABLE_H

#include "core/status.h"

typedef struct dl_text_table dl_text_table;

dl_status dl_text_table_new(dl_text_table **out);
void dl_text_table_destroy(dl_text_table **table);

/* The number of `text`, which is copied where it is new. */
dl_status dl_text_table_add(dl_text_table *table, const char *text, size_t bytes, int *out);
/* -1 where it is unknown. */
int dl_text_table_find(const dl_text_table *table, const char *text, size_t bytes);

int dl_text_table_size(const dl_text_table *table);
const char *dl_text_table_text(const dl_text_table *table, int number);

#endif

/* data_plan.h - looking through the files before anything is read, and reading them (floor: data, private). */
#ifndef DL_DATA_DATA_PLAN_H
#define DL_DATA_DATA_PLAN_H

#include "data/data_set.h"
#include "data/data_source.h"

/* A plan with what only the member who made it needs. */
typedef struct dl_scan {
  dl_source source;
  dl_data_plan plan;
  dl_piece *pieces;         /* owned */
  char *class_names;        /* owned, packed */
  bool y_sparse[DL_SPLITS]; /* labels as numbers, not one-hot */
} dl_scan;

/* Opens every file, checks names, types and shapes against each other and the task. Not collective. */
dl_status dl_scan_make(const dl_config *config, unsigned need, dl_scan *out);
void dl_scan_clear(dl_scan *scan);

/* Reads all into `block` (plan.bytes, zeroed) and checks the values. Not collective. */
dl_status dl_scan_load(const dl_scan *scan, const dl_config *config, bool checksum, void *block);

#endif

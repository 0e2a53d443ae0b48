/* data_plan.h - looking through the files before anything is read, and reading them (floor: data, private). */
#ifndef DL_DATA_DATA_PLAN_H
#define DL_DATA_DATA_PLAN_H

#include "data/data_set.h"
#include "data/data_source.h"
#include "data/hdf5_chunks.h"

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

/* Rows [first, first + rows) of x as they are kept in memory: in the plan's element type, channels first, finite. Not
 * collective. `in_turn` as dl_h5_chunks_read has it. */
dl_status dl_load_rows(const dl_data_plan *plan, const dl_h5_set *x, int layout, int64_t first, int64_t rows,
                       bool in_turn, dl_h5_buffers *buffers, void *out);

/* Reads all into `block` (plan.bytes, zeroed) and checks the values. Not collective. */
dl_status dl_scan_load(const dl_scan *scan, const dl_config *config, bool checksum, void *block);

#endif

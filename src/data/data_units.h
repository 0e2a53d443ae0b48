/* data_units.h - a part of the data set as units: runs of rows that are read in one piece (floor: data, private).
 *
 * A unit is a whole number of chunks of one file, or a run of rows where the file has no chunks; about 256 KiB where
 * chunks are smaller than that.
 */
#ifndef DL_DATA_DATA_UNITS_H
#define DL_DATA_DATA_UNITS_H

#include "data/data_set.h"

#define DL_UNIT_BYTES (256 << 10)

/* Units of one piece (of one file), all but the last one of equal length. */
typedef struct dl_unit_run {
  int64_t piece; /* number in data->pieces, -1: memory */
  int64_t first_unit, first_row, rows, unit_rows;
} dl_unit_run;

typedef struct dl_unit {
  int64_t piece;
  int64_t first; /* row in the part */
  int64_t row;   /* row in the file's data set */
  int64_t rows;
} dl_unit;

typedef struct dl_units {
  int64_t n, n_runs, most_rows; /* most_rows: of a unit */
  dl_unit_run *run;
  const int64_t *order; /* the split's samples, ascending rows of the part; NULL: all of them */
  int64_t samples;      /* of the split */
  int64_t *first;       /* (n + 1) samples of the split before each unit; NULL where not asked for */
} dl_units;

/* The units of the part that `split` is in. `most`: rows that a unit of small chunks may have, 0: no bound. `counted`:
 * with `first`. Not collective. */
dl_status dl_units_make(const dl_data *data, int split, int64_t most, bool counted, dl_units *out);
void dl_units_clear(dl_units *units);
dl_unit dl_unit_at(const dl_units *units, int64_t unit);
int64_t dl_unit_of_row(const dl_units *units, int64_t row); /* the unit that holds row `row` of the part */

#endif

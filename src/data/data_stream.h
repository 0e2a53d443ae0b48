/* data_stream.h - samples that come from the files while they are needed (floor: data, private).
 *
 * One I/O thread a member reads whole units, unpacks them and puts their rows where they will be read, ahead of the
 * compute. It serves two ways of reading: lanes (two windows a lane, the one in use and the next) and file order (a few
 * units). What is asked for out of turn is read at once: any member can have any (epoch, step, leaf).
 */
#ifndef DL_DATA_DATA_STREAM_H
#define DL_DATA_DATA_STREAM_H

#include "data/data_lanes.h"

/* Starts the thread. `data` is borrowed. Not collective. */
dl_status dl_stream_new(const dl_data *data, dl_stream **out);
void dl_stream_destroy(dl_stream **stream);
size_t dl_stream_bytes(const dl_stream *stream); /* memory of buffers */

/* Lanes as dl_lanes_make has them; this member's are [begin, end). Nothing beyond `epochs` is read ahead. Not
 * collective. */
typedef struct dl_stream_lanes {
  int64_t batch, shards, epochs, buffer_bytes;
  bool drop_last;
  int64_t begin, end;
} dl_stream_lanes;
dl_status dl_stream_set_lanes(dl_stream *stream, const dl_stream_lanes *lanes);

/* Rows that lie one after another in a buffer; they stay until two more calls of the same function. */
typedef struct dl_rows {
  const char *x;
  const int64_t *sample; /* numbers in the part, of lanes alone */
  int64_t n;
} dl_rows;

/* The samples of `lane` in `epoch` from `position` on (of step `step`): at least one. Waits where they are not there
 * yet. DL_ERR_DATA as reading has it. */
dl_status dl_stream_lane(dl_stream *stream, int64_t epoch, int64_t step, int64_t lane, int64_t position, dl_rows *out);

/* The rows of a part from `row` on. `next`: a row that will be asked for soon, -1: not known. */
dl_status dl_stream_part(dl_stream *stream, int part, int64_t row, int64_t next, dl_rows *out);

/* From now on values of x must be whole numbers from 0 to limit - 1. */
void dl_stream_limit_tokens(dl_stream *stream, int64_t limit);

typedef struct dl_stream_figures {
  int64_t units, chunks, packed_bytes, row_bytes; /* read; row_bytes: handed on, as kept in memory */
  double busy_s, fetch_s, wait_s;                 /* of the I/O thread, of that in the files; of the compute, for it */
} dl_stream_figures;
dl_stream_figures dl_stream_figures_of(dl_stream *stream);

#endif

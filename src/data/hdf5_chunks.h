/* hdf5_chunks.h - rows of chunked data sets, read a whole chunk at a time and unpacked here (floor: data, private). */
#ifndef DL_DATA_HDF5_CHUNKS_H
#define DL_DATA_HDF5_CHUNKS_H

#include "data/hdf5_file.h"

/* Working memory of a reader: grows to what the largest chunk needs. All zero at first. */
typedef struct dl_h5_buffers {
  void *packed, *spare, *rows;
  size_t room, rows_room;       /* bytes of packed and of spare; of rows */
  int64_t chunks, packed_bytes; /* read so far */
  double fetch_s;               /* spent in reading the packed bytes */
} dl_h5_buffers;
void dl_h5_buffers_clear(dl_h5_buffers *buffers);

/* Whether dl_h5_chunks_read is for this data set: chunked, every filter known (data/unpack.h). */
bool dl_h5_chunks_fit(const dl_h5_set *set);

/* Rows [first, first + rows) as `memory_type` of `memory_bytes` bytes into `out`. `in_turn`: the caller has HDF5's
 * turn; else it is taken chunk by chunk, and unpacking is done without. A chunk that is damaged is DL_ERR_DATA that
 * names file, data set, chunk and rows; where set->bad is there its rows are marked in it, become 0, and a warning says
 * so. Not collective. */
dl_status dl_h5_chunks_read(const dl_h5_set *set, int64_t first, int64_t rows, hid_t memory_type, size_t memory_bytes,
                            bool in_turn, dl_h5_buffers *buffers, void *out);

#endif

/* hdf5_output.h - HDF5 files that are whole or absent (floor: data, private). Between dl_h5_enter and dl_h5_leave. */
#ifndef DL_DATA_HDF5_OUTPUT_H
#define DL_DATA_HDF5_OUTPUT_H

#include "data/hdf5_file.h"

typedef struct dl_h5_output {
  hid_t id;
  char *path, *temporary; /* PATH.tmp-PID, beside it */
} dl_h5_output;

dl_status dl_h5_output_begin(const char *path, dl_h5_output *out);
/* With DL_OK: flushes, closes, fsyncs and renames. With an error: takes the temporary file away and returns the error.
 */
dl_status dl_h5_output_end(dl_h5_output *output, dl_status status);

/* A data set being written. */
typedef struct dl_h5_target {
  hid_t id;
  const char *name;
  int dims;
  int64_t dim[DL_H5_MAX_DIMS];
  int64_t chunk_rows; /* write whole multiples of it */
} dl_h5_target;

/* Makes `name` and the groups above it. `chunked`: chunks of whole rows of 256 KiB to 1 MiB (of part of a row where one
 * is larger) with Fletcher32 checksums. */
dl_status dl_h5_target_make(hid_t file, const char *name, hid_t type, int dims, const int64_t *dim, bool chunked,
                            dl_h5_target *out);
dl_status dl_h5_target_write(const dl_h5_target *target, int64_t first, int64_t rows, hid_t memory_type,
                             const void *values);
/* Values may wait in HDF5's buffers until now: returns `status`, or where that is DL_OK whether they could be written.
 */
dl_status dl_h5_target_close(dl_h5_target *target, dl_status status);

/* `n` texts of a fixed length, padded with 0 bytes: h5py and numpy read them as they are. */
dl_status dl_h5_write_texts(hid_t file, const char *name, const char *const *texts, int64_t n);

#endif

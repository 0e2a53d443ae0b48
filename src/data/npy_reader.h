/* npy_reader.h - one array of numpy, from a file or a member of an archive (floor: data, private). */
#ifndef DL_DATA_NPY_READER_H
#define DL_DATA_NPY_READER_H

#include "data/hdf5_file.h"
#include "data/zip_reader.h"

typedef struct dl_npy {
  char name[512]; /* for messages: the path, or ARCHIVE:MEMBER */
  dl_bytes *bytes;
  char kind; /* 'u', 'i', 'f' or 'b' */
  int width; /* bytes of a value, in the file */
  bool swapped, by_column;
  int dims;
  int64_t dim[DL_H5_MAX_DIMS];
  int64_t row_values, values;
} dl_npy;

/* Reads the header; takes over `bytes`, also on failure. DL_ERR_DATA that names the array. */
dl_status dl_npy_open(dl_bytes *bytes, const char *name, dl_npy *out);
void dl_npy_close(dl_npy *npy);

/* The type in the HDF5 file, little-endian (float16 becomes float32, bool uint8); and of the values that are read. */
hid_t dl_npy_file_type(const dl_npy *npy);
hid_t dl_npy_memory_type(const dl_npy *npy);

/* The next `n` values in the order of the file, in memory type. */
dl_status dl_npy_read(dl_npy *npy, int64_t n, void *out);
/* Fails where bytes follow the last value, or a checksum is wrong. */
dl_status dl_npy_end(dl_npy *npy);

#endif

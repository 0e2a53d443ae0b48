/* hdf5_file.h - HDF5 files as the rest of this floor sees them: opened with care, described, read (floor: data,
 * private).
 *
 * A file comes from outside: before anything is read its shape is checked, and what would lead out of it (external
 * links, external storage, virtual data sets) is refused. Errors are DL_ERR_DATA with the file's path and the data
 * set's name. HDF5 is called by one thread of a process at a time: between dl_h5_enter and dl_h5_leave.
 */
#ifndef DL_DATA_HDF5_FILE_H
#define DL_DATA_HDF5_FILE_H

#define H5_USE_110_API
#include <hdf5.h>

#include "core/status.h"
#include "data/convert.h"
#include "data/unpack.h"

#define DL_H5_MAX_DIMS 6            /* of a data set: samples and DL_MAX_DIMS */
#define DL_H5_MAX_BYTES (1LL << 40) /* of a data set */

/* The process's turn at HDF5; HDF5's own printing of errors is off in between and as it was afterwards. */
typedef struct dl_h5_turn {
  H5E_auto2_t print;
  void *context;
} dl_h5_turn;
void dl_h5_enter(dl_h5_turn *turn);
void dl_h5_leave(dl_h5_turn *turn);

typedef struct dl_h5_file {
  hid_t id;         /* < 0: closed */
  const char *path; /* borrowed */
  int64_t bytes;
} dl_h5_file;

/* Opens for reading, without file locks. A missing file, a directory, a text file, another format, a truncated file and
 * one that may not be read each have their own message. */
dl_status dl_h5_open(const char *path, dl_h5_file *out);
void dl_h5_close(dl_h5_file *file);

/* A numeric type. */
typedef struct dl_h5_number {
  bool integer;
  int64_t bytes;      /* in the file */
  dl_element element; /* how it is kept in memory: integers of 1 and 2 bytes as they are, all else as float32 */
  double unit_max;    /* the largest value of an integer type (1 for booleans), 1 for floats */
  char name[16];      /* "uint8" */
} dl_h5_number;

/* An open data set of numbers. */
typedef struct dl_h5_set {
  hid_t id; /* < 0: closed */
  const dl_h5_file *file;
  const char *name; /* borrowed */
  int dims;
  int64_t dim[DL_H5_MAX_DIMS];
  int64_t row_values; /* dim[1] * dim[2] ... */
  int64_t chunk_rows; /* 1 where it is not chunked */
  dl_h5_number number;
  bool as_kept; /* the file's type is that of number.element */
  bool chunked;
  int64_t chunk[DL_H5_MAX_DIMS];
  dl_unpack filters;
  bool plain_edges;      /* chunks that reach beyond the shape are stored without filters */
  unsigned char fill[8]; /* of chunks that were never written, in the file's type */
  bool *bad;             /* borrowed, dim[0] of them, or NULL: rows of damaged chunks are marked, not an error */
  bool bad_is_known;     /* they have been marked: damage elsewhere is an error */
} dl_h5_set;

/* Opens `name`. *found false and DL_OK where the file has no such name. */
dl_status dl_h5_set_open(const dl_h5_file *file, const char *name, bool *found, dl_h5_set *out);
void dl_h5_set_close(dl_h5_set *set);

/* Fails saying that `name` is missing, with the names that the file has. */
dl_status dl_h5_fail_missing(const dl_h5_file *file, const char *name);

/* The same by HDF5 alone. */
dl_status dl_h5_read_plainly(const dl_h5_set *set, int64_t first, int64_t rows, hid_t memory_type, void *out);

/* Rows [first, first + rows) as `memory_type` into `out`: chunks by data/hdf5_chunks.h where that can be. */
dl_status dl_h5_read(const dl_h5_set *set, int64_t first, int64_t rows, hid_t memory_type, void *out);

/* Rows to read at a time: whole chunks, about 4 MiB of 8-byte values. */
int64_t dl_h5_block_rows(const dl_h5_set *set);

hid_t dl_h5_memory_type(dl_element element);

/* The texts of a 1-D data set of strings (those of variable length that lie in chunks are left out with a warning),
 * packed one after another, each with its 0 byte and at most 255 bytes long; control characters become '?', and spaces
 * at the end go. `exact`: instead every byte of a text becomes two hexadecimal digits, of at most 127 bytes. *found
 * false and DL_OK where the file has no such name. The caller frees *out. */
dl_status dl_h5_read_texts(const dl_h5_file *file, const char *name, bool exact, bool *found, int *n, char **out,
                           size_t *out_bytes);

/* Fails with `what` and the innermost reason on HDF5's error stack: call it before any other HDF5 function. */
dl_status dl_h5_fail(dl_status status, const char *path, const char *what, ...) __attribute__((format(printf, 3, 4)));

/* "(60000, 28, 28)" into `text`. */
char *dl_h5_dims_text(int dims, const int64_t *dim, char *text, size_t size);

/* A description of a type: "uint8", "float64", "string", "compound". */
void dl_h5_type_name(hid_t type, char *text, size_t size);

#endif

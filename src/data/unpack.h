/* unpack.h - what filters did to a chunk, undone within bounds (floor: data, private).
 *
 * HDF5 1.10 reads beyond a chunk that unpacks to less than it claims. Here a chunk that does not come to exactly its
 * size is an error, and no byte beyond a buffer is touched whatever the packed bytes are. Undone are deflate, shuffle,
 * Fletcher32 and h5py's LZF; other filters are HDF5's.
 */
#ifndef DL_DATA_UNPACK_H
#define DL_DATA_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/isa.h"

enum { DL_UNPACK_MOST = 8 };

typedef enum dl_unpack_kind {
  DL_UNPACK_DEFLATE,
  DL_UNPACK_SHUFFLE,
  DL_UNPACK_FLETCHER32,
  DL_UNPACK_LZF,
  DL_UNPACK_KINDS
} dl_unpack_kind;

/* The filters of a data set, in the order in which they were applied. */
typedef struct dl_unpack {
  int n;
  bool all_known; /* else HDF5 must do it */
  int32_t kind[DL_UNPACK_MOST];
  uint32_t width[DL_UNPACK_MOST]; /* bytes of an element, for shuffle */
} dl_unpack;

/* The kind behind HDF5's number of a filter, -1: not known here. */
int dl_unpack_kind_of(int filter);

/* Bytes of a buffer that may hold a chunk of `chunk_bytes` at any stage; packed chunks that need more are damaged. */
static inline size_t dl_unpack_room(size_t chunk_bytes) { return chunk_bytes + chunk_bytes / 8 + 4096; }

/* Undoes the filters on `bytes` bytes in `packed`. `packed` and `spare` have dl_unpack_room(chunk_bytes) and are both
 * written to; *out is one of them and holds chunk_bytes. `skipped`: a bit for each filter that this chunk did without.
 * NULL, or what is wrong ("the Fletcher32 checksum is wrong"). */
const char *dl_unpack_chunk(const dl_unpack *filters, uint32_t skipped, void *packed, size_t bytes, void *spare,
                            size_t chunk_bytes, void **out);

/* Kernels. */
typedef struct dl_unpack_table {
  uint32_t (*fletcher32)(const void *data, size_t bytes); /* as HDF5 computes it: of big-endian words */
  /* n elements of `width` bytes from planes of first, second ... bytes. */
  void (*unshuffle)(uint8_t *restrict out, const uint8_t *restrict in, size_t n, size_t width);
} dl_unpack_table;
DL_ISA_DECLARE(dl_unpack_table, dl_unpack_kernels);

#endif

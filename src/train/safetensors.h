/* safetensors.h - the safetensors format: a JSON header and raw little-endian tensors without holes (floor: train).
 *
 * Format: https://github.com/huggingface/safetensors (8 bytes of header length, the header, the data). Only F32 is
 * written.
 */
#ifndef DL_TRAIN_SAFETENSORS_H
#define DL_TRAIN_SAFETENSORS_H

#include "core/group.h"
#include "core/hash.h"

/* One tensor to write or read: name and shape, and where its floats are. */
typedef struct dl_tensor_view {
  char name[128];
  int dims;
  int64_t shape[DL_MAX_DIMS];
  size_t count;
  float *values;
} dl_tensor_view;

/* Writes `n` tensors in order; fsynced. Out: size and SHA-256 of the file, and, where not NULL, the digest of the
 * tensors alone (of each: name, a 0 byte, little-endian values). */
dl_status dl_safetensors_write(const char *path, const dl_tensor_view *tensors, int n, uint64_t *bytes, dl_digest *file,
                               dl_digest *tensors_digest);

/* Reads `path` into the given tensors, found by name; names, shapes and number must agree exactly. Everything in the
 * header is checked before a value is read: DL_ERR_DATA that names the file and the tensor. */
dl_status dl_safetensors_read(const char *path, const dl_tensor_view *tensors, int n);

/* A text table of what `path` holds, a line a tensor; freed by the caller. Checks the header. *digest as above. */
typedef struct dl_safetensors_entry {
  char name[128], dtype[12];
  int dims;
  int64_t shape[DL_MAX_DIMS];
  uint64_t begin, end; /* in the data part */
} dl_safetensors_entry;
/* Lists the tensors in file order (array freed by the caller) and digests them (digest may be NULL). */
dl_status dl_safetensors_list(const char *path, dl_safetensors_entry **out, int *n, dl_digest *digest);

/* What became of a tensor that was looked for: it is not there, it is of another shape or type, it was read. */
typedef struct dl_tensor_found {
  enum { DL_TENSOR_ABSENT, DL_TENSOR_OTHER, DL_TENSOR_TAKEN } kind;
  dl_safetensors_entry entry; /* what is there; not of what is absent */
} dl_tensor_found;

/* Reads those tensors that are in the file with their name, shape and type F32; the others stay as they are. found (n)
 * says which; *in_file is the number of tensors there. */
dl_status dl_safetensors_read_some(const char *path, const dl_tensor_view *tensors, int n, dl_tensor_found *found,
                                   int *in_file);

/* The digest of tensors in memory, as dl_safetensors_write gives it. */
dl_status dl_tensors_digest(const dl_tensor_view *tensors, int n, dl_digest *out);

#endif

/* import_idx.c - IDX: two zero bytes, a type, the number of dimensions, the dimensions (32 bits, big-endian), the
 * values (big-endian). Described at http://yann.lecun.com/exdb/mnist/.
 *
 * Values stream through one chunk's worth of memory, whatever the header claims; zlib reads plain and packed files
 * alike. The header is held against the file's size first, so that a truncated file is named before anything is
 * written.
 */
#include "data/import_idx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "core/mem.h"
#include "data/hdf5_output.h"

#define MOST_PACKED 1100           /* bytes that deflate makes of one, rounded up */
#define MOST_ROW_BYTES (1LL << 30) /* a row is held in memory */

typedef struct idx_type {
  unsigned char code;
  const char *name;
  size_t bytes;
} idx_type;
static const idx_type types[] = {{0x08, "uint8", 1}, {0x09, "int8", 1},    {0x0b, "int16", 2},
                                 {0x0c, "int32", 4}, {0x0d, "float32", 4}, {0x0e, "float64", 8}};

typedef struct idx_file {
  const char *path;
  gzFile stream;
  const idx_type *type;
  int dims;
  int64_t dim[DL_H5_MAX_DIMS];
  int64_t row_bytes;
} idx_file;

/* The type in memory order (swapped on reading) and in the file: little-endian everywhere. */
static hid_t hdf5_type(const idx_type *type, bool in_memory) {
  switch (type->code) {
    case 0x08:
      return H5T_STD_U8LE;
    case 0x09:
      return H5T_STD_I8LE;
    case 0x0b:
      return in_memory ? H5T_STD_I16BE : H5T_STD_I16LE;
    case 0x0c:
      return in_memory ? H5T_STD_I32BE : H5T_STD_I32LE;
    case 0x0d:
      return in_memory ? H5T_IEEE_F32BE : H5T_IEEE_F32LE;
    default:
      return in_memory ? H5T_IEEE_F64BE : H5T_IEEE_F64LE;
  }
}

/* Reads exactly `bytes`. */
static dl_status read_exactly(const idx_file *file, void *out, size_t bytes, const char *what) {
  for (size_t got = 0; got < bytes;) {
    unsigned want = bytes - got < (1u << 30) ? (unsigned)(bytes - got) : 1u << 30;
    int n = gzread(file->stream, (char *)out + got, want);
    if (n > 0) {
      got += (size_t)n;
      continue;
    }
    int code = Z_OK;
    const char *message = gzerror(file->stream, &code);
    if (code == Z_DATA_ERROR)
      return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the gzip stream is damaged (%s)", message);
    if (code == Z_ERRNO) return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "cannot be read: %s", strerror(errno));
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the IDX file is truncated: it ends within its %s", what);
  }
  return DL_OK;
}

static dl_status read_header(idx_file *file) {
  unsigned char head[4], raw[4 * DL_H5_MAX_DIMS];
  DL_TRY(read_exactly(file, head, sizeof head, "header"));
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (types[i].code == head[2]) file->type = &types[i];
  if (head[0] || head[1] || !file->type)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "not an IDX file: it starts with %02x %02x %02x %02x", head[0],
                      head[1], head[2], head[3]);
  file->dims = head[3];
  if (file->dims < 1 || file->dims > DL_H5_MAX_DIMS)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the IDX file has %d dimensions; 1 to %d can be used", file->dims,
                      DL_H5_MAX_DIMS);
  DL_TRY(read_exactly(file, raw, 4 * (size_t)file->dims, "header"));
  file->row_bytes = (int64_t)file->type->bytes;
  for (int i = 0; i < file->dims; i++) {
    const unsigned char *b = raw + 4 * i;
    file->dim[i] = ((int64_t)b[0] << 24) | ((int64_t)b[1] << 16) | ((int64_t)b[2] << 8) | b[3];
    if (file->dim[i] == 0)
      return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the IDX file is empty: dimension %d is 0", i);
    if (i && file->row_bytes > DL_H5_MAX_BYTES / file->dim[i])
      return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the IDX file claims absurd dimensions");
    if (i) file->row_bytes *= file->dim[i];
  }
  return DL_OK;
}

/* Holds what the header claims against what is there. */
static dl_status check_size(const idx_file *file, int64_t bytes) {
  if (file->dim[0] > DL_H5_MAX_BYTES / file->row_bytes)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the IDX file claims absurd dimensions");
  int64_t want = 4 + 4 * file->dims + file->dim[0] * file->row_bytes;
  bool plain = gzdirect(file->stream);
  if (plain ? bytes < want : bytes * MOST_PACKED < want)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0,
                      "the IDX file is truncated: it has %lld bytes%s, its header asks for %lld", (long long)bytes,
                      plain ? "" : " of gzip", (long long)want);
  return plain && bytes > want
             ? dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the IDX file has %lld bytes more than its header asks for",
                          (long long)(bytes - want))
             : DL_OK;
}

static dl_status open_idx(const char *path, idx_file *out) {
  *out = (idx_file){.path = path};
  struct stat about;
  if (stat(path, &about) != 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  if (!S_ISREG(about.st_mode))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0,
                      S_ISDIR(about.st_mode) ? "is a directory where an IDX file is wanted" : "is not a regular file");
  out->stream = gzopen(path, "rb");
  if (!out->stream) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  gzbuffer(out->stream, 1u << 17);
  dl_status status = read_header(out);
  return status == DL_OK ? check_size(out, about.st_size) : status;
}

static void close_idx(idx_file *file) {
  if (file->stream) gzclose(file->stream);
  file->stream = NULL;
}

/* After the last value nothing may follow; this also reads the gzip stream's checksum. */
static dl_status check_end(const idx_file *file) {
  char more;
  int n = gzread(file->stream, &more, 1), code = Z_OK;
  if (n == 0) {
    gzerror(file->stream, &code);
    return code == Z_OK || code == Z_STREAM_END
               ? DL_OK
               : dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "the gzip stream is truncated at its end");
  }
  return dl_fail_at(
      DL_ERR_DATA, file->path, 0, 0,
      n < 0 ? "the gzip stream is damaged at its end" : "the IDX file has more bytes than its header asks for");
}

static dl_status copy_rows(const idx_file *in, const dl_h5_target *to) {
  if (in->row_bytes > MOST_ROW_BYTES)
    return dl_fail_at(DL_ERR_DATA, in->path, 0, 0, "a row of the IDX file is too large");
  int64_t block = to->chunk_rows;
  char *values = dl_calloc((size_t)block, (size_t)in->row_bytes);
  if (!values) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  for (int64_t first = 0; first < in->dim[0] && status == DL_OK; first += block) {
    int64_t rows = in->dim[0] - first < block ? in->dim[0] - first : block;
    status = read_exactly(in, values, (size_t)(rows * in->row_bytes), "values");
    if (status == DL_OK) status = dl_h5_target_write(to, first, rows, hdf5_type(in->type, true), values);
  }
  free(values);
  return status == DL_OK ? check_end(in) : status;
}

static dl_status copy(const idx_file *in, hid_t file, const char *name) {
  dl_h5_target to;
  DL_TRY(dl_h5_target_make(file, name, hdf5_type(in->type, false), in->dims, in->dim, true, &to));
  dl_status status = copy_rows(in, &to);
  status = dl_h5_target_close(&to, status);
  return status;
}

static dl_status check_pair(const idx_file *images, const idx_file *labels) {
  if (images->dims == 1 && labels->dims > 1) {
    dl_fail_at(DL_ERR_DATA, images->path, 0, 0, "holds labels and '%s' images: they are the wrong way round",
               labels->path);
    return dl_hint("images come first: idx IMAGES LABELS");
  }
  if (labels->dims != 1)
    return dl_fail_at(DL_ERR_DATA, labels->path, 0, 0, "holds %d dimensions where labels (1) are wanted", labels->dims);
  if (images->dim[0] != labels->dim[0])
    return dl_fail_at(DL_ERR_DATA, images->path, 0, 0, "has %lld images, but '%s' has %lld labels",
                      (long long)images->dim[0], labels->path, (long long)labels->dim[0]);
  return DL_OK;
}

static dl_status check_alike(const idx_file *train, const idx_file *test) {
  if (train->type != test->type || train->dims != test->dims ||
      memcmp(train->dim + 1, test->dim + 1, (size_t)(train->dims - 1) * sizeof *train->dim) != 0)
    return dl_fail_at(DL_ERR_DATA, test->path, 0, 0, "has images of another shape or type than '%s'", train->path);
  return DL_OK;
}

dl_status dl_import_idx(const dl_import_job *job) {
  const char *const *inputs = job->inputs;
  const int n_inputs = job->n_inputs;
  static const char *const names[] = {"train/x", "train/y", "test/x", "test/y"};
  if (n_inputs != 2 && n_inputs != 4) return dl_fail(DL_ERR_USAGE, "format idx takes 2 or 4 inputs, not %d", n_inputs);
  idx_file files[4] = {{.path = NULL}};
  dl_status status = DL_OK;
  for (int i = 0; i < n_inputs && status == DL_OK; i++) status = open_idx(inputs[i], &files[i]);
  for (int i = 0; i < n_inputs && status == DL_OK; i += 2) status = check_pair(&files[i], &files[i + 1]);
  if (status == DL_OK && n_inputs == 4) status = check_alike(&files[0], &files[2]);
  for (int i = 0; i < n_inputs && status == DL_OK; i++) status = copy(&files[i], (hid_t)job->file, names[i]);
  for (int i = 0; i < n_inputs; i++) close_idx(&files[i]);
  return status;
}

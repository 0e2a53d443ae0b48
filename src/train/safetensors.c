/* safetensors.c - writing and reading the safetensors format.
 *
 * The header is read under a bound, parsed, and every entry checked (type, shape against offsets, order, no hole, no
 * overlap, end of file) before any value is looked at: a hostile file can make an error, nothing else.
 */
#include "train/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/json.h"
#include "core/mem.h"

#define MAX_HEADER (16u << 20)
#define MAX_TENSORS 100000

/* ---- writing ---- */

/* The entries of the header; a name that it cannot hold, or holds already, would leave a hole in the file. */
static dl_status put_entries(dl_json *header, const dl_tensor_view *tensors, int n) {
  uint64_t at = 0;
  for (int t = 0; t < n; t++) {
    dl_json *entry = dl_json_object(), *shape = dl_json_array(), *offsets = dl_json_array();
    for (int d = 0; d < tensors[t].dims; d++) dl_json_put_int(shape, NULL, tensors[t].shape[d]);
    dl_json_put_int(offsets, NULL, (int64_t)at);
    at += tensors[t].count * sizeof(float);
    dl_json_put_int(offsets, NULL, (int64_t)at);
    dl_json_put_string(entry, "dtype", "F32");
    dl_json_put(entry, "shape", shape);
    dl_json_put(entry, "data_offsets", offsets);
    dl_json_put(header, tensors[t].name, entry);
    if (dl_json_size(header) != (size_t)t + 2)
      return dl_fail(DL_ERR_USAGE, "tensor name '%s' cannot be saved: it is taken twice, reserved or no UTF-8",
                     tensors[t].name);
  }
  return DL_OK;
}

static dl_status header_text(const dl_tensor_view *tensors, int n, char **out, uint64_t *header_bytes) {
  dl_json *header = dl_json_object(), *metadata = dl_json_object();
  dl_json_put_string(metadata, "format", "pt");
  dl_json_put_string(metadata, "producer", "dldist " DLDIST_VERSION);
  dl_json_put(header, "__metadata__", metadata);
  char *text = NULL;
  dl_status status = put_entries(header, tensors, n);
  if (status == DL_OK) status = dl_json_text(header, false, &text);
  dl_json_destroy(&header);
  DL_TRY(status);
  /* Spaces at its end bring the values to a multiple of 64 bytes. */
  size_t length = strlen(text), padded = (length + 8 + 63) / 64 * 64 - 8;
  *out = dl_calloc(padded + 1, 1);
  if (*out) {
    memset(*out, ' ', padded);
    memcpy(*out, text, length);
  }
  free(text);
  *header_bytes = padded;
  return *out ? DL_OK : DL_ERR_NOMEM;
}

static void put_u64(unsigned char out[8], uint64_t value) {
  for (int i = 0; i < 8; i++) out[i] = (unsigned char)(value >> (8 * i));
}

static dl_status digest_tensor(dl_sha256 *hash, const dl_tensor_view *tensor) {
  DL_TRY(dl_sha256_update(hash, tensor->name, strlen(tensor->name) + 1));
  return dl_sha256_update(hash, tensor->values, tensor->count * sizeof(float));
}

dl_status dl_tensors_digest(const dl_tensor_view *tensors, int n, dl_digest *out) {
  dl_sha256 *hash = NULL;
  DL_TRY(dl_sha256_new(&hash));
  dl_status status = DL_OK;
  for (int t = 0; t < n && status == DL_OK; t++) status = digest_tensor(hash, &tensors[t]);
  if (status == DL_OK) status = dl_sha256_finish(hash, out);
  dl_sha256_destroy(&hash);
  return status;
}

static dl_status write_piece(dl_writer *writer, dl_sha256 *hash, const void *data, size_t size, uint64_t *bytes) {
  DL_TRY(dl_writer_write(writer, data, size));
  *bytes += size;
  return dl_sha256_update(hash, data, size);
}

static dl_status write_all(dl_writer *writer, dl_sha256 *hash, const dl_tensor_view *tensors, int n, const char *header,
                           uint64_t header_bytes, uint64_t *bytes) {
  unsigned char length[8];
  put_u64(length, header_bytes);
  DL_TRY(write_piece(writer, hash, length, sizeof length, bytes));
  DL_TRY(write_piece(writer, hash, header, header_bytes, bytes));
  for (int t = 0; t < n; t++)
    DL_TRY(write_piece(writer, hash, tensors[t].values, tensors[t].count * sizeof(float), bytes));
  return DL_OK;
}

dl_status dl_safetensors_write(const char *path, const dl_tensor_view *tensors, int n, uint64_t *bytes, dl_digest *file,
                               dl_digest *tensors_digest) {
  char *header = NULL;
  uint64_t header_bytes = 0;
  dl_writer *writer = NULL;
  dl_sha256 *hash = NULL;
  *bytes = 0;
  dl_status status = header_text(tensors, n, &header, &header_bytes);
  if (status == DL_OK) status = dl_sha256_new(&hash);
  if (status == DL_OK) status = dl_writer_open(path, &writer);
  if (status == DL_OK) status = write_all(writer, hash, tensors, n, header, header_bytes, bytes);
  if (writer) {
    dl_status closed = dl_writer_close(&writer);
    if (status == DL_OK) status = closed;
  }
  if (status == DL_OK) status = dl_sha256_finish(hash, file);
  if (status == DL_OK && tensors_digest) status = dl_tensors_digest(tensors, n, tensors_digest);
  dl_sha256_destroy(&hash);
  free(header);
  return status;
}

/* ---- reading ---- */

static dl_status bad(const char *path, const char *name, const char *what) {
  return dl_fail_at(DL_ERR_DATA, path, 0, 0, "is no sound safetensors file: %s%s%s%s", *name ? "tensor '" : "", name,
                    *name ? "': " : "", what);
}

/* Element size of a dtype, 0 where unknown. */
static uint64_t dtype_bytes(const char *dtype) {
  static const struct {
    const char *name;
    uint64_t bytes;
  } types[] = {
      {"F32", 4},     {"F64", 8}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2}, {"F8_E4M3", 1},
      {"F8_E5M2", 1}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"U16", 2}, {"U32", 4}, {"U64", 8},
  };
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (!strcmp(types[i].name, dtype)) return types[i].bytes;
  return 0;
}

static dl_status read_entry(const char *path, const char *name, const dl_json *value, dl_safetensors_entry *entry) {
  const char *dtype = dl_json_string(dl_json_get(value, "dtype"));
  const dl_json *shape = dl_json_get(value, "shape"), *offsets = dl_json_get(value, "data_offsets");
  if (!dtype || !dl_json_is_array(shape) || !dl_json_is_array(offsets) || dl_json_size(offsets) != 2)
    return bad(path, name, "dtype, shape or data_offsets is missing");
  if (strlen(name) >= sizeof entry->name) return bad(path, "", "a tensor's name has more than 127 bytes");
  uint64_t size = dtype_bytes(dtype);
  if (!size) return bad(path, name, "unknown dtype");
  if (dl_json_size(shape) > DL_MAX_DIMS) return bad(path, name, "more than 5 dimensions");
  snprintf(entry->name, sizeof entry->name, "%s", name);
  snprintf(entry->dtype, sizeof entry->dtype, "%s", dtype);
  entry->dims = (int)dl_json_size(shape);
  for (int d = 0; d < entry->dims; d++) {
    entry->shape[d] = dl_json_int(dl_json_at(shape, (size_t)d), -1);
    if (entry->shape[d] < 0 || __builtin_mul_overflow(size, (uint64_t)entry->shape[d], &size))
      return bad(path, name, "its shape is out of range");
  }
  int64_t begin = dl_json_int(dl_json_at(offsets, 0), -1), end = dl_json_int(dl_json_at(offsets, 1), -1);
  if (begin < 0 || end < begin || (uint64_t)(end - begin) != size)
    return bad(path, name, "its shape and offsets disagree");
  entry->begin = (uint64_t)begin;
  entry->end = (uint64_t)end;
  return DL_OK;
}

static int by_begin(const void *a, const void *b) {
  const dl_safetensors_entry *x = a, *y = b;
  return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : x->end < y->end ? -1 : x->end > y->end;
}

static dl_status read_entries(const char *path, const dl_json *header, uint64_t data_bytes, dl_safetensors_entry **out,
                              int *n) {
  size_t most = dl_json_size(header);
  if (!dl_json_is_object(header) || most > MAX_TENSORS) return bad(path, "", "its header is no map of tensors");
  dl_safetensors_entry *entries = dl_calloc(most, sizeof *entries);
  if (!entries) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  const char *name;
  const dl_json *value;
  *n = 0;
  for (void *at = NULL; status == DL_OK && dl_json_next(header, &at, &name, &value);)
    if (strcmp(name, "__metadata__")) status = read_entry(path, name, value, &entries[(*n)++]);
  if (status == DL_OK) qsort(entries, (size_t)*n, sizeof *entries, by_begin);
  uint64_t end = 0;
  for (int i = 0; status == DL_OK && i < *n; end = entries[i++].end)
    if (entries[i].begin != end) status = bad(path, entries[i].name, "there is a hole or an overlap before it");
  if (status == DL_OK && end != data_bytes) status = bad(path, "", "its data and its header disagree about the size");
  if (status == DL_OK)
    *out = entries;
  else
    free(entries);
  return status;
}

/* Opens, checks the header; leaves `file` at the first value. */
static dl_status open_checked(const char *path, FILE **file, dl_safetensors_entry **entries, int *n) {
  *file = NULL;
  struct stat st;
  if (!stat(path, &st) && !S_ISREG(st.st_mode)) /* not to hang on a pipe */
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file");
  FILE *f = fopen(path, "rb");
  if (!f) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  unsigned char length[8] = {0};
  uint64_t header_bytes = 0, size = 0;
  dl_status status = DL_OK;
  if (fseeko(f, 0, SEEK_END) || (size = (uint64_t)ftello(f)) < 8 || fseeko(f, 0, SEEK_SET) ||
      fread(length, 8, 1, f) != 1)
    status = bad(path, "", "it is shorter than 8 bytes");
  for (int i = 0; i < 8; i++) header_bytes |= (uint64_t)length[i] << (8 * i);
  if (status == DL_OK && (header_bytes > size - 8 || header_bytes > MAX_HEADER))
    status = bad(path, "", "the length of its header is out of range");
  char *text = NULL;
  dl_json *header = NULL;
  if (status == DL_OK && !(text = dl_calloc(header_bytes + 1, 1))) status = DL_ERR_NOMEM;
  if (status == DL_OK && header_bytes && fread(text, header_bytes, 1, f) != 1)
    status = bad(path, "", "it cannot be read");
  if (status == DL_OK) status = dl_json_parse(text, header_bytes, path, &header);
  if (status == DL_OK) status = read_entries(path, header, size - 8 - header_bytes, entries, n);
  dl_json_destroy(&header);
  free(text);
  if (status == DL_OK)
    *file = f;
  else
    fclose(f);
  return status;
}

/* Reads a tensor if it is there as it should be. */
static dl_status take_tensor(const char *path, FILE *file, uint64_t data, const dl_safetensors_entry *entries,
                             int n_entries, const dl_tensor_view *tensor, dl_tensor_found *out) {
  const dl_safetensors_entry *found = NULL;
  for (int i = 0; i < n_entries && !found; i++)
    if (!strcmp(entries[i].name, tensor->name)) found = &entries[i];
  *out = (dl_tensor_found){.kind = DL_TENSOR_ABSENT};
  if (!found) return DL_OK;
  out->entry = *found;
  bool fits = !strcmp(found->dtype, "F32") && found->dims == tensor->dims;
  for (int d = 0; fits && d < tensor->dims; d++) fits = found->shape[d] == tensor->shape[d];
  out->kind = fits ? DL_TENSOR_TAKEN : DL_TENSOR_OTHER;
  if (!fits) return DL_OK;
  if (fseeko(file, (off_t)(data + found->begin), SEEK_SET) ||
      (tensor->count && fread(tensor->values, sizeof(float), tensor->count, file) != tensor->count))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "tensor '%s' cannot be read", tensor->name);
  return DL_OK;
}

static dl_status read_tensor(const char *path, FILE *file, uint64_t data, const dl_safetensors_entry *entries,
                             int n_entries, const dl_tensor_view *tensor) {
  dl_tensor_found found;
  DL_TRY(take_tensor(path, file, data, entries, n_entries, tensor, &found));
  if (found.kind == DL_TENSOR_ABSENT)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "has no tensor '%s': it belongs to another model", tensor->name);
  if (found.kind == DL_TENSOR_OTHER)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "tensor '%s' has another shape or type than the model's", tensor->name);
  return DL_OK;
}

dl_status dl_safetensors_read_some(const char *path, const dl_tensor_view *tensors, int n, dl_tensor_found *found,
                                   int *in_file) {
  FILE *file;
  dl_safetensors_entry *entries = NULL;
  DL_TRY(open_checked(path, &file, &entries, in_file));
  const uint64_t data = (uint64_t)ftello(file);
  dl_status status = DL_OK;
  for (int t = 0; t < n && status == DL_OK; t++)
    status = take_tensor(path, file, data, entries, *in_file, &tensors[t], &found[t]);
  free(entries);
  fclose(file);
  return status;
}

dl_status dl_safetensors_read(const char *path, const dl_tensor_view *tensors, int n) {
  FILE *file;
  dl_safetensors_entry *entries = NULL;
  int n_entries = 0;
  DL_TRY(open_checked(path, &file, &entries, &n_entries));
  uint64_t data = (uint64_t)ftello(file);
  dl_status status = DL_OK;
  if (n_entries != n)
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "has %d tensors where the model has %d", n_entries, n);
  for (int t = 0; t < n && status == DL_OK; t++)
    status = read_tensor(path, file, data, entries, n_entries, &tensors[t]);
  free(entries);
  fclose(file);
  return status;
}

dl_status dl_safetensors_list(const char *path, dl_safetensors_entry **out, int *n, dl_digest *digest) {
  FILE *file;
  DL_TRY(open_checked(path, &file, out, n));
  dl_sha256 *hash = NULL;
  char *piece = digest ? dl_calloc(1, 1 << 16) : NULL;
  dl_status status = !digest ? DL_OK : piece ? dl_sha256_new(&hash) : DL_ERR_NOMEM;
  for (int i = 0; digest && i < *n && status == DL_OK; i++) {
    status = dl_sha256_update(hash, (*out)[i].name, strlen((*out)[i].name) + 1);
    for (uint64_t left = (*out)[i].end - (*out)[i].begin; left && status == DL_OK;) {
      size_t want = left < (1u << 16) ? (size_t)left : 1u << 16;
      if (fread(piece, 1, want, file) != want)
        status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be read");
      else
        status = dl_sha256_update(hash, piece, want);
      left -= want;
    }
  }
  if (digest && status == DL_OK) status = dl_sha256_finish(hash, digest);
  dl_sha256_destroy(&hash);
  free(piece);
  fclose(file);
  if (status != DL_OK) {
    free(*out);
    *out = NULL;
  }
  return status;
}

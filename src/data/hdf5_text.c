/* hdf5_text.c - data sets of texts (class names): fixed-length and variable-length strings alike.
 *
 * Variable-length strings lie in a "global heap", and HDF5 1.10 trusts a damaged heap: of some thousand files with
 * random damage the few that brought the process down or hung it all did so there. So the heap is read here, with every
 * length and address checked. Its form (HDF5 File Format Specification 3.0, III.E): a data set's element is {length: 4
 * bytes, address of a collection: 8, index: 4}; a collection is {"GCOL", version 1, 3 bytes, size: 8} and objects, each
 * {index: 2, references: 2, 4 bytes, size: 8, data padded to 8}; all little-endian.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"
#include "data/hdf5_file.h"

#define MOST_TEXTS (1 << 20)
#define MOST_TEXT_BYTES 255
#define MOST_FIXED_BYTES 65536 /* of a fixed-length string in the file */

/* ---- fixed length ---- */

/* The bytes of `text` as two hexadecimal digits each. */
static size_t append_exactly(char *out, const char *text, size_t bytes) {
  const size_t most = MOST_TEXT_BYTES / 2, length = text ? strnlen(text, bytes < most ? bytes : most) : 0;
  for (size_t i = 0; i < length; i++)
    for (int half = 0; half < 2; half++)
      out[2 * i + (size_t)half] = "0123456789abcdef"[((unsigned char)text[i] >> (half ? 0 : 4)) & 15];
  out[2 * length] = 0;
  return 2 * length + 1;
}

/* Appends at most MOST_TEXT_BYTES of `text`, which need not end in a 0 byte within `bytes`. */
static size_t append(char *out, const char *text, size_t bytes, bool exact) {
  if (exact) return append_exactly(out, text, bytes);
  size_t length = text ? strnlen(text, bytes < MOST_TEXT_BYTES ? bytes : MOST_TEXT_BYTES) : 0;
  while (length && text[length - 1] == ' ') length--;
  for (size_t i = 0; i < length; i++) out[i] = (unsigned char)text[i] < 32 || text[i] == 127 ? '?' : text[i];
  out[length] = 0;
  return length + 1;
}

static dl_status read_fixed(hid_t set, hid_t type, const dl_h5_file *file, const char *name, bool exact, int n,
                            char *out, size_t *used) {
  size_t bytes = H5Tget_size(type);
  if (bytes > MOST_FIXED_BYTES)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' has texts of %zu bytes; at most %d", name, bytes,
                      MOST_FIXED_BYTES);
  if ((int64_t)n * (int64_t)bytes > file->bytes * 1100 + (1 << 20))
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' claims more texts than the file can hold", name);
  char *raw = dl_calloc((size_t)n, bytes);
  if (!raw) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw) < 0)
    status = dl_h5_fail(DL_ERR_DATA, file->path, "data set '%s' cannot be read", name);
  for (int i = 0; i < n && status == DL_OK; i++) *used += append(out + *used, raw + (size_t)i * bytes, bytes, exact);
  free(raw);
  return status;
}

/* ---- variable length ---- */

enum { ELEMENT_BYTES = 16, COLLECTION_HEAD = 16, OBJECT_HEAD = 16, MOST_COLLECTION = 65536 };

/* The collection read last, and where the search in it stands: texts mostly follow one another. */
typedef struct heap {
  int descriptor;
  uint64_t base, file_bytes; /* addresses count from base */
  uint64_t address;          /* of the collection; 0: none */
  size_t bytes, cursor;
  unsigned char data[MOST_COLLECTION];
} heap;

static uint64_t little_endian(const unsigned char *p, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; i--) value = value << 8 | p[i];
  return value;
}

static bool read_at(const heap *h, uint64_t offset, void *out, size_t bytes) {
  if (offset > h->file_bytes || bytes > h->file_bytes - offset) return false;
  for (size_t got = 0; got < bytes;) {
    ssize_t n = pread(h->descriptor, (char *)out + got, bytes - got, (off_t)(offset + got));
    if (n <= 0) return false;
    got += (size_t)n;
  }
  return true;
}

static bool load_collection(heap *h, uint64_t address) {
  if (h->address == address) return true;
  h->address = 0;
  if (address > h->file_bytes || !read_at(h, h->base + address, h->data, COLLECTION_HEAD)) return false;
  uint64_t bytes = little_endian(h->data + 8, 8);
  if (memcmp(h->data, "GCOL\1", 5) != 0 || bytes < COLLECTION_HEAD || bytes > MOST_COLLECTION) return false;
  if (!read_at(h, h->base + address, h->data, (size_t)bytes)) return false;
  h->address = address;
  h->bytes = (size_t)bytes;
  h->cursor = COLLECTION_HEAD;
  return true;
}

/* Object `index` from `begin` to `end` of the collection; NULL where there is none. */
static const unsigned char *search(heap *h, size_t begin, size_t end, unsigned index, size_t *bytes) {
  for (size_t at = begin; at < end && at + OBJECT_HEAD <= h->bytes;) {
    unsigned number = (unsigned)little_endian(h->data + at, 2);
    uint64_t size = little_endian(h->data + at + 8, 8);
    if (number == 0 || size > h->bytes - at - OBJECT_HEAD) return NULL; /* 0: the free space at the end */
    size_t next = at + OBJECT_HEAD + ((size_t)size + 7) / 8 * 8;
    if (number == index) {
      h->cursor = next;
      *bytes = (size_t)size;
      return h->data + at + OBJECT_HEAD;
    }
    at = next;
  }
  return NULL;
}

/* The text that an element of the data set refers to; *bytes 0 for an empty one. False: damaged. */
static bool find_text(heap *h, const unsigned char element[ELEMENT_BYTES], const char **text, size_t *bytes) {
  uint64_t length = little_endian(element, 4), address = little_endian(element + 4, 8);
  unsigned index = (unsigned)little_endian(element + 12, 4);
  *bytes = 0;
  *text = NULL;
  if (length == 0 || address == 0) return true;
  if (!load_collection(h, address)) return false;
  size_t there = 0, cursor = h->cursor;
  const unsigned char *data = search(h, cursor, h->bytes, index, &there);
  if (!data) data = search(h, COLLECTION_HEAD, cursor, index, &there);
  if (!data || there < length) return false;
  *text = (const char *)data;
  *bytes = (size_t)length;
  return true;
}

/* Whether addresses and sizes are of 8 bytes, as they are everywhere; *base: where addresses count from. */
static bool usual_file(const dl_h5_file *file, uint64_t *base) {
  hid_t made = H5Fget_create_plist(file->id);
  size_t address_bytes = 0, size_bytes = 0;
  hsize_t block = 0;
  bool good = made >= 0 && H5Pget_sizes(made, &address_bytes, &size_bytes) >= 0 && H5Pget_userblock(made, &block) >= 0;
  if (made >= 0) H5Pclose(made);
  *base = block;
  return good && address_bytes == 8 && size_bytes == 8;
}

static dl_status copy_texts(heap *h, uint64_t offset, const dl_h5_file *file, const char *name, bool exact, int n,
                            char *out, size_t *used) {
  for (int i = 0; i < n; i++) {
    unsigned char element[ELEMENT_BYTES];
    const char *text;
    size_t bytes;
    if (!read_at(h, offset + (uint64_t)i * ELEMENT_BYTES, element, sizeof element) ||
        !find_text(h, element, &text, &bytes))
      return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' cannot be read: the file is damaged", name);
    *used += append(out + *used, text, bytes, exact);
  }
  return DL_OK;
}

static dl_status read_variable(hid_t set, const dl_h5_file *file, const char *name, bool exact, int n, char *out,
                               size_t *used) {
  uint64_t base;
  haddr_t offset = H5Dget_offset(set);
  if (offset == HADDR_UNDEF || !usual_file(file, &base))
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' keeps its texts in a form that is not read", name);
  heap *h = dl_calloc(1, sizeof *h);
  if (!h) return DL_ERR_NOMEM;
  h->descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
  h->base = base;
  h->file_bytes = (uint64_t)file->bytes;
  dl_status status = h->descriptor < 0 ? dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "cannot be opened again")
                                       : copy_texts(h, offset, file, name, exact, n, out, used);
  if (h->descriptor >= 0) close(h->descriptor);
  free(h);
  return status;
}

/* ---- both ---- */

static dl_status read_texts(hid_t set, hid_t type, const dl_h5_file *file, const char *name, bool exact, int *n,
                            char **out, size_t *out_bytes) {
  hid_t space = H5Dget_space(set);
  hsize_t dim[H5S_MAX_RANK] = {0};
  int dims = space >= 0 ? H5Sget_simple_extent_dims(space, dim, NULL) : -1;
  if (space >= 0) H5Sclose(space);
  if (dims != 1 || dim[0] == 0 || dim[0] > MOST_TEXTS || H5Tget_class(type) != H5T_STRING)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' must be a row of texts (at most %d)", name,
                      MOST_TEXTS);
  hid_t made = H5Dget_create_plist(set);
  bool outside = made < 0 || H5Pget_layout(made) == H5D_VIRTUAL || H5Pget_external_count(made) > 0;
  if (made >= 0) H5Pclose(made);
  size_t stored = (size_t)H5Dget_storage_size(set);
  if (outside)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' keeps its values in other files, which is refused",
                      name);
  *n = (int)dim[0];
  if (stored == 0) return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' has no texts written", name);
  *out = dl_calloc((size_t)*n, MOST_TEXT_BYTES + 1);
  if (!*out) return DL_ERR_NOMEM;
  dl_status status = H5Tis_variable_str(type) > 0 ? read_variable(set, file, name, exact, *n, *out, out_bytes)
                                                  : read_fixed(set, type, file, name, exact, *n, *out, out_bytes);
  if (status != DL_OK) {
    free(*out);
    *out = NULL;
  }
  return status;
}

dl_status dl_h5_read_texts(const dl_h5_file *file, const char *name, bool exact, bool *found, int *n, char **out,
                           size_t *out_bytes) {
  *out = NULL;
  *out_bytes = 0;
  *n = 0;
  *found = H5Lexists(file->id, name, H5P_DEFAULT) > 0;
  if (!*found) return DL_OK;
  H5L_info_t link;
  if (H5Lget_info(file->id, name, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "'%s' is a link, which is refused", name);
  hid_t set = H5Oopen(file->id, name, H5P_DEFAULT);
  hid_t type = set >= 0 && H5Iget_type(set) == H5I_DATASET ? H5Dget_type(set) : -1;
  if (type >= 0 && H5Tis_variable_str(type) > 0 && H5Dget_storage_size(set) > 0 && H5Dget_offset(set) == HADDR_UNDEF) {
    *found = false;
    dl_warn(name,
            "%s: '%s' is left out: its texts of variable length are in chunks; write it contiguous, or with texts of "
            "a fixed length (numpy's type S)",
            file->path, name);
  }
  dl_status status = !*found    ? DL_OK
                     : type < 0 ? dl_h5_fail(DL_ERR_DATA, file->path, "'%s' cannot be opened as a data set", name)
                                : read_texts(set, type, file, name, exact, n, out, out_bytes);
  if (type >= 0) H5Tclose(type);
  if (set >= 0) H5Oclose(set);
  return status;
}

/* hdf5_text.c - data sets of texts (class names): fixed-length and variable-length strings alike. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/hdf5_file.h"

#define MOST_TEXTS (1 << 20)
#define MOST_TEXT_BYTES 255
#define MOST_FIXED_BYTES 65536 /* of a fixed-length string in the file */

/* Appends at most MOST_TEXT_BYTES of `text`, which need not end in a 0 byte within `bytes`. */
static size_t append(char *out, const char *text, size_t bytes) {
  size_t length = text ? strnlen(text, bytes < MOST_TEXT_BYTES ? bytes : MOST_TEXT_BYTES) : 0;
  while (length && text[length - 1] == ' ') length--;
  for (size_t i = 0; i < length; i++) out[i] = (unsigned char)text[i] < 32 || text[i] == 127 ? '?' : text[i];
  out[length] = 0;
  return length + 1;
}

static dl_status read_fixed(hid_t set, hid_t type, const dl_h5_file *file, const char *name, int n, char *out, size_t *used) {
  size_t bytes = H5Tget_size(type);
  if (bytes > MOST_FIXED_BYTES)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' has texts of %zu bytes; at most %d", name, bytes, MOST_FIXED_BYTES);
  if ((int64_t)n * (int64_t)bytes > file->bytes * 1100 + (1 << 20))
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' claims more texts than the file can hold", name);
  char *raw = dl_calloc((size_t)n, bytes);
  if (!raw) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw) < 0)
    status = dl_h5_fail(DL_ERR_DATA, file->path, "data set '%s' cannot be read", name);
  for (int i = 0; i < n && status == DL_OK; i++) *used += append(out + *used, raw + (size_t)i * bytes, bytes);
  free(raw);
  return status;
}

static dl_status read_variable(hid_t set, hid_t type, const dl_h5_file *file, const char *name, int n, char *out, size_t *used) {
  char **texts = dl_calloc((size_t)n, sizeof *texts);
  if (!texts) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  hid_t space = H5Dget_space(set);
  if (space < 0 || H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) < 0)
    status = dl_h5_fail(DL_ERR_DATA, file->path, "data set '%s' cannot be read", name);
  for (int i = 0; i < n && status == DL_OK; i++) *used += append(out + *used, texts[i], MOST_TEXT_BYTES);
  if (space >= 0 && status == DL_OK) H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts);
  if (space >= 0) H5Sclose(space);
  free(texts);
  return status;
}

static dl_status read_texts(hid_t set, hid_t type, const dl_h5_file *file, const char *name, int *n, char **out, size_t *out_bytes) {
  hid_t space = H5Dget_space(set);
  hsize_t dim[H5S_MAX_RANK] = {0};
  int dims = space >= 0 ? H5Sget_simple_extent_dims(space, dim, NULL) : -1;
  if (space >= 0) H5Sclose(space);
  if (dims != 1 || dim[0] == 0 || dim[0] > MOST_TEXTS || H5Tget_class(type) != H5T_STRING)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' must be a row of texts (at most %d)", name, MOST_TEXTS);
  hid_t made = H5Dget_create_plist(set);
  bool outside = made < 0 || H5Pget_layout(made) == H5D_VIRTUAL || H5Pget_external_count(made) > 0;
  if (made >= 0) H5Pclose(made);
  size_t stored = (size_t)H5Dget_storage_size(set);
  if (outside) return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' keeps its values in other files, which is refused", name);
  *n = (int)dim[0];
  if (stored == 0) return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "data set '%s' has no texts written", name);
  *out = dl_calloc((size_t)*n, MOST_TEXT_BYTES + 1);
  if (!*out) return DL_ERR_NOMEM;
  dl_status status = H5Tis_variable_str(type) > 0 ? read_variable(set, type, file, name, *n, *out, out_bytes)
                                                  : read_fixed(set, type, file, name, *n, *out, out_bytes);
  if (status != DL_OK) {
    free(*out);
    *out = NULL;
  }
  return status;
}

dl_status dl_h5_read_texts(const dl_h5_file *file, const char *name, bool *found, int *n, char **out, size_t *out_bytes) {
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
  dl_status status = type < 0 ? dl_h5_fail(DL_ERR_DATA, file->path, "'%s' cannot be opened as a data set", name)
                              : read_texts(set, type, file, name, n, out, out_bytes);
  if (type >= 0) H5Tclose(type);
  if (set >= 0) H5Oclose(set);
  return status;
}

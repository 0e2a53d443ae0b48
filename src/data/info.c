/* info.c - a file's data sets as a table: one line each, in order of name.
 *
 * Links out of the file are named, not followed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/hdf5_probe.h"
#include "data/import.h"

#define MOST_LINES 4096

typedef struct line {
  char name[128], type[24], shape[128], storage[160], bytes[24];
} line;

typedef struct listing {
  line *lines;
  int n;
  bool cut, failed;
} listing;

static void format_bytes(hsize_t bytes, char *text, size_t size) {
  static const char *const units[] = {"kB", "MB", "GB", "TB"};
  if (bytes < 1000) {
    snprintf(text, size, "%d B", (int)bytes);
    return;
  }
  double value = (double)bytes / 1000;
  int unit = 0;
  for (; value >= 999.95 && unit < 3; unit++) value /= 1000;
  snprintf(text, size, "%.1f %s", value, units[unit]);
}

static void describe_shape(hid_t set, line *out) {
  hid_t space = H5Dget_space(set);
  hsize_t dim[H5S_MAX_RANK] = {0};
  int dims = space >= 0 ? H5Sget_simple_extent_dims(space, dim, NULL) : -1;
  int64_t signed_dim[H5S_MAX_RANK];
  for (int i = 0; i < dims; i++) signed_dim[i] = (int64_t)dim[i];
  if (dims < 0)
    snprintf(out->shape, sizeof out->shape, "?");
  else
    dl_h5_dims_text(dims, signed_dim, out->shape, sizeof out->shape);
  if (space >= 0) H5Sclose(space);
}

static void describe_filters(hid_t made, char *text, size_t size) {
  size_t used = strlen(text);
  int n = H5Pget_nfilters(made);
  for (int i = 0; i < n && used + 1 < size; i++) {
    unsigned flags, config;
    size_t n_values = 0;
    char name[32] = "";
    H5Z_filter_t filter = H5Pget_filter2(made, (unsigned)i, &flags, &n_values, NULL, sizeof name, name, &config);
    if (filter < 0) continue;
    const char *separator = used ? "  " : "";
    bool there = H5Zfilter_avail(filter) > 0;
    if (name[0])
      snprintf(text + used, size - used, "%s%s%s", separator, name, there ? "" : " (not available)");
    else
      snprintf(text + used, size - used, "%sfilter %d%s", separator, (int)filter, there ? "" : " (not available)");
    used = strlen(text);
  }
}

static void describe_storage(hid_t set, line *out) {
  hid_t made = H5Dget_create_plist(set);
  if (made < 0) return;
  H5D_layout_t layout = H5Pget_layout(made);
  hsize_t chunk[H5S_MAX_RANK];
  int dims = layout == H5D_CHUNKED ? H5Pget_chunk(made, H5S_MAX_RANK, chunk) : 0;
  int64_t signed_chunk[H5S_MAX_RANK];
  for (int i = 0; i < dims; i++) signed_chunk[i] = (int64_t)chunk[i];
  char text[100];
  if (dims > 0)
    snprintf(out->storage, sizeof out->storage, "chunks %s", dl_h5_dims_text(dims, signed_chunk, text, sizeof text));
  else
    snprintf(out->storage, sizeof out->storage, "%s",
             layout == H5D_VIRTUAL             ? "virtual: in other files"
             : H5Pget_external_count(made) > 0 ? "external: in other files"
             : layout == H5D_COMPACT           ? "compact"
                                               : "contiguous");
  describe_filters(made, out->storage, sizeof out->storage);
  H5Pclose(made);
  format_bytes(H5Dget_storage_size(set), out->bytes, sizeof out->bytes);
}

static void describe_link(hid_t group, const char *name, const H5L_info_t *link, line *out) {
  char target[256] = "";
  const char *file = NULL, *object = NULL;
  if (link->u.val_size < sizeof target) H5Lget_val(group, name, target, sizeof target - 1, H5P_DEFAULT);
  if (link->type == H5L_TYPE_EXTERNAL && link->u.val_size < sizeof target &&
      H5Lunpack_elink_val(target, link->u.val_size, NULL, &file, &object) >= 0)
    snprintf(out->storage, sizeof out->storage, "-> %.70s:%.70s", file, object);
  else if (link->type == H5L_TYPE_SOFT)
    snprintf(out->storage, sizeof out->storage, "-> %.140s", target);
  snprintf(out->type, sizeof out->type, "%s", link->type == H5L_TYPE_SOFT ? "soft link" : "external link");
}

static void clean(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < 32 || *text == 127) *text = '?';
}

static herr_t add_line(hid_t group, const char *name, const H5L_info_t *link, void *context) {
  listing *list = context;
  if (list->n == MOST_LINES) return list->cut = true;
  hid_t object = link->type == H5L_TYPE_HARD ? H5Oopen(group, name, H5P_DEFAULT) : -1;
  bool set = object >= 0 && H5Iget_type(object) == H5I_DATASET;
  if (link->type != H5L_TYPE_HARD || set) {
    line *more = dl_reallocarray(list->lines, (size_t)list->n + 1, sizeof *more);
    if (!more) {
      if (object >= 0) H5Oclose(object);
      list->failed = true;
      return -1;
    }
    list->lines = more;
    line *out = memset(&more[list->n++], 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", name);
    if (set) {
      hid_t type = H5Dget_type(object);
      dl_h5_type_name(type, out->type, sizeof out->type);
      if (type >= 0) H5Tclose(type);
      describe_shape(object, out);
      describe_storage(object, out);
    } else {
      describe_link(group, name, link, out);
    }
    clean(out->name);
    clean(out->storage);
  }
  if (object >= 0) H5Oclose(object);
  return 0;
}

static int wider(int width, const char *text) { return (int)strlen(text) > width ? (int)strlen(text) : width; }

static dl_status write_lines(const listing *list, char **out) {
  int name = 0, type = 0, shape = 0, storage = 0;
  for (int i = 0; i < list->n; i++) {
    name = wider(name, list->lines[i].name);
    type = wider(type, list->lines[i].type);
    shape = wider(shape, list->lines[i].shape);
    storage = wider(storage, list->lines[i].storage);
  }
  size_t size = (size_t)list->n * (size_t)(name + type + shape + storage + 40) + 80, used = 0;
  char *text = dl_calloc(size, 1);
  if (!text) return DL_ERR_NOMEM;
  for (int i = 0; i < list->n; i++) {
    const line *l = &list->lines[i];
    used += (size_t)snprintf(text + used, size - used, "%-*s   %-*s   %-*s   %-*s   %s", name, l->name, type, l->type,
                             shape, l->shape, storage, l->storage, l->bytes);
    while (used && text[used - 1] == ' ') used--;
    text[used++] = '\n';
    text[used] = 0;
  }
  if (list->cut) snprintf(text + used, size - used, "... and more\n");
  if (!list->n) snprintf(text, size, "no data sets\n");
  *out = text;
  return DL_OK;
}

dl_status dl_data_info(const char *path, char **out) {
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_h5_file file;
  listing list = {.n = 0};
  dl_status status = dl_h5_open_first(path, &file);
  if (status == DL_OK && H5Lvisit(file.id, H5_INDEX_NAME, H5_ITER_INC, add_line, &list) < 0)
    status =
        list.failed ? DL_ERR_NOMEM : dl_h5_fail(DL_ERR_DATA, path, "damaged HDF5 file: its contents cannot be listed");
  dl_h5_close(&file);
  dl_h5_leave(&turn);
  if (status == DL_OK) status = write_lines(&list, out);
  free(list.lines);
  return status;
}

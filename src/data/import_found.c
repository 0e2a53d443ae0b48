/* import_found.c - what a file holds, told from the file itself: so it is the same for every format, and what is said
 * is what was written. */
#include "data/import_found.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/data.h"
#include "data/import.h"

enum { MOST_CLASSES = 65536 }; /* that are counted */

typedef struct line {
  char *text;
  size_t size, used;
} line;

static __attribute__((format(printf, 2, 3))) void put(line *l, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int n = vsnprintf(l->text + l->used, l->size - l->used, format, arguments);
  va_end(arguments);
  l->used = n < 0 || (size_t)n >= l->size - l->used ? l->size - 1 : l->used + (size_t)n;
}

/* "uint8 (28, 28)", "one float32" */
static void put_row(line *l, const dl_h5_set *set) {
  char dims[96];
  if (set->dims == 1)
    put(l, "one %s", set->number.name);
  else
    put(l, "%s %s", set->number.name, dl_h5_dims_text(set->dims - 1, set->dim + 1, dims, sizeof dims));
}

/* "train 60000, test 10000"; `set` is the first of them, closed, its name and shape stay. False where there is none. */
static bool put_sizes(line *l, const dl_h5_file *file, const char *part, dl_h5_set *set) {
  bool any = false;
  for (int s = 0; s < DL_SPLITS; s++) {
    char name[32];
    dl_h5_set one;
    bool found = false;
    snprintf(name, sizeof name, "%s/%s", dl_split_words[s], part);
    if (dl_h5_set_open(file, name, &found, &one) != DL_OK || !found) continue;
    put(l, "%s%s %lld", any ? ", " : "", dl_split_words[s], (long long)one.dim[0]);
    if (!any) *set = one;
    any = true;
    dl_h5_set_close(&one);
  }
  return any;
}

/* ---- labels ---- */

typedef struct labels {
  int64_t n, least, most, classes;
  bool *seen; /* MOST_CLASSES */
} labels;

static dl_status count_labels(labels *out, const dl_h5_set *y, int64_t *values, int64_t block) {
  for (int64_t first = 0; first < y->dim[0]; first += block) {
    const int64_t rows = y->dim[0] - first < block ? y->dim[0] - first : block;
    DL_TRY(dl_h5_read(y, first, rows, H5T_NATIVE_INT64, values));
    for (int64_t i = 0; i < rows; i++, out->n++) {
      if (!out->n || values[i] < out->least) out->least = values[i];
      if (!out->n || values[i] > out->most) out->most = values[i];
      if (values[i] < 0 || values[i] >= MOST_CLASSES || out->seen[values[i]]) continue;
      out->seen[values[i]] = true;
      out->classes++;
    }
  }
  return DL_OK;
}

static dl_status count_split(labels *out, const dl_h5_file *file, const char *name) {
  dl_h5_set y;
  bool found = false;
  dl_status status = dl_h5_set_open(file, name, &found, &y);
  if (status != DL_OK || !found) return status;
  const int64_t block = dl_h5_block_rows(&y);
  int64_t *values = dl_calloc((size_t)block, sizeof *values);
  status = values ? count_labels(out, &y, values, block) : DL_ERR_NOMEM;
  free(values);
  dl_h5_set_close(&y);
  return status;
}

/* "10 classes, labels 0 to 9" */
static void put_labels(line *l, const dl_h5_file *file) {
  labels all = {.seen = dl_calloc(MOST_CLASSES, sizeof *all.seen)};
  dl_status status = all.seen ? DL_OK : DL_ERR_NOMEM;
  for (int s = 0; s < DL_SPLITS && status == DL_OK; s++) {
    char name[32];
    snprintf(name, sizeof name, "%s/y", dl_split_words[s]);
    status = count_split(&all, file, name);
  }
  free(all.seen);
  if (status != DL_OK) return;
  if (all.least >= 0 && all.most < MOST_CLASSES)
    put(l, "; %lld class%s, labels", (long long)all.classes, all.classes == 1 ? "" : "es");
  else
    put(l, "; y");
  put(l, " %lld to %lld", (long long)all.least, (long long)all.most);
}

static void put_vocabulary(line *l, hid_t id) {
  if (H5Lexists(id, "vocabulary", H5P_DEFAULT) <= 0) return;
  const hid_t set = H5Dopen2(id, "vocabulary", H5P_DEFAULT), space = set >= 0 ? H5Dget_space(set) : -1;
  if (space >= 0) put(l, "; a vocabulary of %lld", (long long)H5Sget_simple_extent_npoints(space));
  if (space >= 0) H5Sclose(space);
  if (set >= 0) H5Dclose(set);
}

void dl_import_found(hid_t id, char *text, size_t size) {
  const dl_h5_file file = {.id = id, .path = "", .bytes = DL_H5_MAX_BYTES};
  line l = {text, size, 0};
  dl_h5_set x, y;
  bool found = false;
  *text = 0;
  if (put_sizes(&l, &file, "tokens", &x)) {
    put(&l, " tokens of %s", x.number.name);
    put_vocabulary(&l, id);
    return;
  }
  if (!put_sizes(&l, &file, "x", &x)) return;
  put(&l, " samples of ");
  put_row(&l, &x);
  if (dl_h5_set_open(&file, "train/y", &found, &y) != DL_OK || !found) return;
  dl_h5_set_close(&y);
  if (y.number.integer && y.row_values == 1) {
    put_labels(&l, &file);
  } else {
    put(&l, "; y is ");
    put_row(&l, &y);
  }
}

dl_status dl_data_found(const char *path, char *text, size_t size) {
  dl_h5_turn turn;
  dl_h5_file file;
  dl_h5_enter(&turn);
  dl_status status = dl_h5_open(path, &file);
  if (status == DL_OK) dl_import_found(file.id, text, size);
  dl_h5_close(&file);
  dl_h5_leave(&turn);
  return status;
}

/* import_npy.c - arrays of numpy, each in a file of its own or several in an archive (.npz).
 *
 * Rows stream a chunk at a time. An array that lies by columns (Fortran order) has its rows strewn over the file: it is
 * held whole in memory while its rows are gathered.
 */
#include "data/import_npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "data/hdf5_output.h"
#include "data/npy_reader.h"

#define MOST_ROW_BYTES (1LL << 30)
#define MOST_BY_COLUMN (1LL << 34) /* bytes */

enum { N_ARRAYS = 6 };
static const char *const set_names[N_ARRAYS] = {"train/x", "train/y", "test/x", "test/y", "valid/x", "valid/y"};

typedef struct arrays {
  dl_npy npy[N_ARRAYS];
  bool there[N_ARRAYS];
} arrays;

/* ---- copying ---- */

static dl_status copy_by_row(const dl_import_job *job, dl_npy *npy, const dl_h5_target *to, size_t width) {
  char *values = dl_calloc((size_t)(to->chunk_rows * npy->row_values), width);
  dl_status status = values ? DL_OK : DL_ERR_NOMEM;
  for (int64_t first = 0; first < npy->dim[0] && status == DL_OK; first += to->chunk_rows) {
    const int64_t rows = npy->dim[0] - first < to->chunk_rows ? npy->dim[0] - first : to->chunk_rows;
    status = dl_npy_read(npy, rows * npy->row_values, values);
    if (status == DL_OK) status = dl_h5_target_write(to, first, rows, dl_npy_memory_type(npy), values);
    dl_import_progress(job, to->name, first + rows, npy->dim[0]);
  }
  free(values);
  return status;
}

/* Element (i0, i1, ...) of an array by columns is at i0 + d0 (i1 + d1 (i2 + ...)). */
static void gather_row(const dl_npy *npy, const char *all, int64_t row, size_t width, char *out) {
  int64_t index[DL_H5_MAX_DIMS] = {row};
  for (int64_t k = 0; k < npy->row_values; k++) {
    int64_t at = 0;
    for (int d = npy->dims - 1; d >= 0; d--) at = at * npy->dim[d] + index[d];
    memcpy(out + (size_t)k * width, all + (size_t)at * width, width);
    for (int d = npy->dims - 1; d > 0 && ++index[d] == npy->dim[d]; d--) index[d] = 0;
  }
}

static dl_status copy_by_column(dl_npy *npy, const dl_h5_target *to, size_t width) {
  if (npy->values * (int64_t)width > MOST_BY_COLUMN) {
    dl_fail_at(DL_ERR_DATA, npy->name, 0, 0, "lies by columns and is larger than 16 GiB");
    return dl_hint("save it by rows: numpy.save(FILE, numpy.ascontiguousarray(a))");
  }
  char *all = dl_calloc((size_t)npy->values, width),
       *values = dl_calloc((size_t)(to->chunk_rows * npy->row_values), width);
  dl_status status = all && values ? dl_npy_read(npy, npy->values, all) : DL_ERR_NOMEM;
  for (int64_t first = 0; first < npy->dim[0] && status == DL_OK; first += to->chunk_rows) {
    const int64_t rows = npy->dim[0] - first < to->chunk_rows ? npy->dim[0] - first : to->chunk_rows;
    for (int64_t i = 0; i < rows; i++)
      gather_row(npy, all, first + i, width, values + (size_t)(i * npy->row_values) * width);
    status = dl_h5_target_write(to, first, rows, dl_npy_memory_type(npy), values);
  }
  free(all);
  free(values);
  return status;
}

static dl_status copy(const dl_import_job *job, dl_npy *npy, const char *name) {
  const size_t width = H5Tget_size(dl_npy_memory_type(npy));
  if (npy->row_values * (int64_t)width > MOST_ROW_BYTES)
    return dl_fail_at(DL_ERR_DATA, npy->name, 0, 0, "a row is too large");
  dl_h5_target to;
  DL_TRY(dl_h5_target_make((hid_t)job->file, name, dl_npy_file_type(npy), npy->dims, npy->dim, true, &to));
  dl_status status = npy->by_column ? copy_by_column(npy, &to, width) : copy_by_row(job, npy, &to, width);
  status = dl_h5_target_close(&to, status);
  return status == DL_OK ? dl_npy_end(npy) : status;
}

/* ---- what belongs together ---- */

static dl_status check_arrays(const arrays *a) {
  for (int i = 0; i < N_ARRAYS; i += 2) {
    const dl_npy *x = &a->npy[i], *y = &a->npy[i + 1], *first = &a->npy[0];
    if (!a->there[i]) continue;
    if (a->there[i + 1] && x->dim[0] != y->dim[0])
      return dl_fail_at(DL_ERR_DATA, x->name, 0, 0, "has %lld rows, but '%.200s' has %lld", (long long)x->dim[0],
                        y->name, (long long)y->dim[0]);
    if (x->dims != first->dims || memcmp(x->dim + 1, first->dim + 1, (size_t)(x->dims - 1) * sizeof *x->dim) != 0 ||
        x->kind != first->kind || x->width != first->width)
      return dl_fail_at(DL_ERR_DATA, x->name, 0, 0, "has another shape or type than '%.200s'", first->name);
  }
  return DL_OK;
}

static dl_status copy_all(const dl_import_job *job, arrays *a, dl_status status) {
  if (status == DL_OK) status = check_arrays(a);
  for (int i = 0; i < N_ARRAYS && status == DL_OK; i++)
    if (a->there[i]) status = copy(job, &a->npy[i], set_names[i]);
  for (int i = 0; i < N_ARRAYS; i++) dl_npy_close(&a->npy[i]);
  return status;
}

dl_status dl_import_npy(const dl_import_job *job) {
  arrays a = {.there = {false}};
  dl_status status = DL_OK;
  if (job->n_inputs != 2 && job->n_inputs != 4) {
    dl_fail(DL_ERR_USAGE, "format npy takes 2 or 4 inputs, not %d", job->n_inputs);
    return dl_hint("inputs and targets are a file each, then those of the test");
  }
  for (int i = 0; i < job->n_inputs && status == DL_OK; i++) {
    dl_bytes *bytes;
    status = dl_bytes_open_file(job->inputs[i], &bytes);
    if (status == DL_OK) status = dl_npy_open(bytes, job->inputs[i], &a.npy[i]);
    a.there[i] = status == DL_OK;
  }
  return copy_all(job, &a, status);
}

/* ---- archives ---- */

/* What people call them, the first that is there counts. */
static const char *const known_names[N_ARRAYS][9] = {
    {"x_train", "train_x", "xtrain", "train_images", "train_data", "x", "images", "data", "arr_0"},
    {"y_train", "train_y", "ytrain", "train_labels", "train_targets", "y", "labels", "target", "arr_1"},
    {"x_test", "test_x", "xtest", "test_images", "test_data", "arr_2"},
    {"y_test", "test_y", "ytest", "test_labels", "test_targets", "arr_3"},
    {"x_valid", "x_val", "valid_x", "val_x", "val_images", "valid_images", "validation_x"},
    {"y_valid", "y_val", "valid_y", "val_y", "val_labels", "valid_labels", "validation_y"},
};

static const dl_zip_member *find_member(const dl_zip *zip, const char *name) {
  for (int i = 0; i < zip->n; i++) {
    const char *there = zip->members[i].name;
    const size_t length = strlen(there);
    const size_t bare = length > 4 && !strcmp(there + length - 4, ".npy") ? length - 4 : length;
    if (bare == strlen(name) && !strncasecmp(there, name, bare)) return &zip->members[i];
  }
  return NULL;
}

static dl_status fail_names(const dl_zip *zip) {
  char there[160] = "";
  for (int i = 0; i < zip->n && strlen(there) < 100; i++)
    snprintf(there + strlen(there), sizeof there - strlen(there), "%s%.40s", i ? ", " : "", zip->members[i].name);
  dl_fail_at(DL_ERR_DATA, zip->path, 0, 0, "has no array that is known as the inputs or as the targets; it has: %s",
             there);
  return dl_hint("save them as x_train, y_train, x_test and y_test: numpy.savez(FILE, x_train=..., ...)");
}

static dl_status open_member(const dl_import_job *job, const dl_zip *zip, const dl_zip_member *member, dl_npy *out) {
  char name[512];
  dl_bytes *bytes;
  snprintf(name, sizeof name, "%.250s:%.200s", job->inputs[0], member->name);
  DL_TRY(dl_zip_member_open(zip, member, &bytes));
  return dl_npy_open(bytes, name, out);
}

dl_status dl_import_npz(const dl_import_job *job) {
  dl_zip zip;
  arrays a = {.there = {false}};
  DL_TRY(dl_zip_open(job->inputs[0], &zip));
  dl_status status = DL_OK;
  for (int i = 0; i < N_ARRAYS; i++) {
    const dl_zip_member *member = NULL;
    for (int k = 0; k < 9 && !member && known_names[i][k]; k++) member = find_member(&zip, known_names[i][k]);
    if (!member || status != DL_OK) continue;
    status = open_member(job, &zip, member, &a.npy[i]);
    a.there[i] = status == DL_OK;
  }
  if (status == DL_OK && !(a.there[0] && a.there[1])) status = fail_names(&zip);
  for (int i = 2; i < N_ARRAYS && status == DL_OK; i += 2)
    if (a.there[i] != a.there[i + 1])
      status = dl_fail_at(DL_ERR_DATA, zip.path, 0, 0, "has inputs or targets of a split, but not both (%s)",
                          a.npy[a.there[i] ? i : i + 1].name);
  status = copy_all(job, &a, status);
  dl_zip_close(&zip);
  return status;
}

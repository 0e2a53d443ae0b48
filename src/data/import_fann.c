/* import_fann.c - training files of the Fast Artificial Neural Network library: three whole numbers (pairs, inputs,
 * outputs), then for each pair the inputs and the outputs. Ends of lines mean no more than blanks, as to FANN itself.
 * y keeps its columns: one-hot rows are labels to whoever trains with them.
 */
#include "data/import_fann.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "core/mem.h"
#include "data/csv_reader.h"
#include "data/hdf5_output.h"

enum { MOST_VALUES = 1 << 20 }; /* of a row */

typedef struct fann_file {
  const dl_import_job *job;
  const char *path;
  dl_csv *stream;
  dl_csv_field *fields; /* of the line at hand */
  int n, next;
  int64_t pairs, inputs, outputs;
} fann_file;

/* The next number of the file; `what` it should be. */
static dl_status next_number(fann_file *file, const char *what, double *out) {
  while (file->next == file->n) {
    DL_TRY(dl_csv_next(file->stream, &file->fields, &file->n));
    file->next = 0;
    if (file->n == 0) return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "is truncated: it ends before %s", what);
  }
  const dl_csv_field *field = &file->fields[file->next++];
  if (!dl_csv_number(field->text, field->bytes, out) || !(fabs(*out) <= (double)FLT_MAX))
    return dl_fail_at(DL_ERR_DATA, file->path, field->line, field->column, "'%.40s' is no number of a float32",
                      field->text);
  return DL_OK;
}

static dl_status next_count(fann_file *file, const char *what, int64_t most, int64_t *out) {
  double value;
  DL_TRY(next_number(file, what, &value));
  const dl_csv_field *field = &file->fields[file->next - 1];
  if (!(value >= 1 && value <= (double)most && value == rint(value))) {
    dl_fail_at(DL_ERR_DATA, file->path, field->line, field->column, "'%.40s' cannot be %s", field->text, what);
    return dl_hint("a FANN file begins with three whole numbers: pairs, inputs, outputs");
  }
  *out = (int64_t)value;
  return DL_OK;
}

/* A number and what parts it from the next one take two bytes; gzip packs at most 1100 to 1. */
static dl_status check_size(const fann_file *file) {
  const int64_t values = file->inputs + file->outputs;
  if (file->pairs <= dl_csv_size(file->stream) * 1100 / (2 * values) + 1) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "is truncated: its first line promises %lld pairs of %lld numbers",
                    (long long)file->pairs, (long long)values);
}

static dl_status open_file(const dl_import_job *job, int input, fann_file *out) {
  *out = (fann_file){.job = job, .path = job->inputs[input]};
  DL_TRY(dl_csv_open(out->path, ' ', &out->stream));
  DL_TRY(next_count(out, "the number of pairs", 1LL << 40, &out->pairs));
  DL_TRY(next_count(out, "the number of inputs", MOST_VALUES, &out->inputs));
  DL_TRY(next_count(out, "the number of outputs", MOST_VALUES, &out->outputs));
  return check_size(out);
}

/* ---- writing ---- */

typedef struct block {
  double *x, *y;
} block;

static dl_status read_pairs(fann_file *file, int64_t n, const block *b) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < file->inputs; k++) DL_TRY(next_number(file, "its last pair", &b->x[i * file->inputs + k]));
    for (int64_t k = 0; k < file->outputs; k++)
      DL_TRY(next_number(file, "its last pair", &b->y[i * file->outputs + k]));
  }
  return DL_OK;
}

static dl_status check_end(fann_file *file) {
  double value;
  if (file->next == file->n) {
    DL_TRY(dl_csv_next(file->stream, &file->fields, &file->n));
    if (file->n == 0) return DL_OK;
    file->next = 0;
  }
  DL_TRY(next_number(file, "its end", &value));
  return dl_fail_at(DL_ERR_DATA, file->path, file->fields[file->next - 1].line, 0,
                    "goes on after the %lld pairs that its first line promises", (long long)file->pairs);
}

static dl_status copy_pairs(fann_file *file, const dl_h5_target *x, const dl_h5_target *y) {
  const int64_t most = x->chunk_rows;
  const block b = {dl_calloc((size_t)(most * file->inputs), sizeof(double)),
                   dl_calloc((size_t)(most * file->outputs), sizeof(double))};
  dl_status status = b.x && b.y ? DL_OK : DL_ERR_NOMEM;
  for (int64_t first = 0; first < file->pairs && status == DL_OK; first += most) {
    const int64_t n = file->pairs - first < most ? file->pairs - first : most;
    status = read_pairs(file, n, &b);
    if (status == DL_OK) status = dl_h5_target_write(x, first, n, H5T_NATIVE_DOUBLE, b.x);
    if (status == DL_OK) status = dl_h5_target_write(y, first, n, H5T_NATIVE_DOUBLE, b.y);
    dl_import_progress(file->job, "writing", first + n, file->pairs);
  }
  free(b.x);
  free(b.y);
  return status == DL_OK ? check_end(file) : status;
}

static dl_status copy(fann_file *file, const char *x_name, const char *y_name) {
  dl_h5_target x = {.id = -1}, y = {.id = -1};
  const hid_t out = (hid_t)file->job->file;
  dl_status status =
      dl_h5_target_make(out, x_name, H5T_IEEE_F32LE, 2, (int64_t[]){file->pairs, file->inputs}, true, &x);
  if (status == DL_OK)
    status = dl_h5_target_make(out, y_name, H5T_IEEE_F32LE, file->outputs > 1 ? 2 : 1,
                               (int64_t[]){file->pairs, file->outputs}, true, &y);
  if (status == DL_OK) status = copy_pairs(file, &x, &y);
  status = dl_h5_target_close(&x, status);
  status = dl_h5_target_close(&y, status);
  return status;
}

dl_status dl_import_fann(const dl_import_job *job) {
  fann_file files[2] = {{.path = NULL}};
  dl_status status = DL_OK;
  for (int i = 0; i < job->n_inputs && status == DL_OK; i++) status = open_file(job, i, &files[i]);
  if (status == DL_OK && job->n_inputs == 2 &&
      (files[0].inputs != files[1].inputs || files[0].outputs != files[1].outputs))
    status =
        dl_fail_at(DL_ERR_DATA, files[1].path, 0, 0, "has %lld inputs and %lld outputs, but '%.120s' %lld and %lld",
                   (long long)files[1].inputs, (long long)files[1].outputs, files[0].path, (long long)files[0].inputs,
                   (long long)files[0].outputs);
  for (int i = 0; i < job->n_inputs && status == DL_OK; i++)
    status = copy(&files[i], i ? "test/x" : "train/x", i ? "test/y" : "train/y");
  for (int i = 0; i < job->n_inputs; i++) dl_csv_close(&files[i].stream);
  return status;
}

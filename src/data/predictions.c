/* predictions.c - what a model says of a split, in file order, as HDF5. */
#include "data/hdf5_output.h"
#include "data/import.h"

static dl_status write_set(hid_t file, const char *name, hid_t file_type, hid_t memory_type, int dims, int64_t rows,
                           int64_t columns, const void *values) {
  if (!values) return DL_OK;
  dl_h5_target target;
  DL_TRY(dl_h5_target_make(file, name, file_type, dims, (int64_t[2]){rows, columns}, false, &target));
  dl_status status = rows ? dl_h5_target_write(&target, 0, rows, memory_type, values) : DL_OK;
  status = dl_h5_target_close(&target, status);
  return status;
}

static dl_status write_all(hid_t file, const dl_predictions *p) {
  DL_TRY(write_set(file, "scores", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, p->samples, p->outputs, p->scores));
  DL_TRY(write_set(file, "labels", H5T_STD_I64LE, H5T_NATIVE_INT64, p->label_columns > 1 ? 2 : 1, p->samples,
                   p->label_columns > 1 ? p->label_columns : 1, p->labels));
  if (p->y_labels) return write_set(file, "y", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, p->samples, 1, p->y_labels);
  return write_set(file, "y", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, p->samples, p->y_size, p->y);
}

dl_status dl_predictions_write(const char *path, const dl_predictions *predictions) {
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_h5_output file;
  dl_status status = dl_h5_output_begin(path, &file);
  if (status == DL_OK) status = dl_h5_output_end(&file, write_all(file.id, predictions));
  dl_h5_leave(&turn);
  return status;
}

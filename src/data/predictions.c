/* predictions.c - what a model says of a split, in file order, as HDF5. */
#include "data/hdf5_output.h"
#include "data/import.h"

static dl_status write_set(hid_t file, const char *name, hid_t file_type, hid_t memory_type, int dims,
                           const int64_t *dim, const void *values) {
  if (!values) return DL_OK;
  dl_h5_target target;
  DL_TRY(dl_h5_target_make(file, name, file_type, dims, dim, false, &target));
  dl_status status = dim[0] ? dl_h5_target_write(&target, 0, dim[0], memory_type, values) : DL_OK;
  status = dl_h5_target_close(&target, status);
  return status;
}

static dl_status write_all(hid_t file, const dl_predictions *p) {
  const bool maps = p->map[0] > 0;
  const int64_t scores[] = {p->samples, p->outputs, p->map[0], p->map[1]},
                labels[] = {p->samples, maps ? p->map[0] : p->label_columns, p->map[1]},
                y[] = {p->samples, maps ? p->map[0] : p->y_size, p->map[1]};
  DL_TRY(write_set(file, "scores", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, maps ? 4 : 2, scores, p->scores));
  DL_TRY(write_set(file, "labels", H5T_STD_I64LE, H5T_NATIVE_INT64,
                   maps                   ? 3
                   : p->label_columns > 1 ? 2
                                          : 1,
                   labels, p->labels));
  if (p->y_labels) return write_set(file, "y", H5T_STD_I64LE, H5T_NATIVE_INT64, maps ? 3 : 1, y, p->y_labels);
  return write_set(file, "y", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, y, p->y);
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

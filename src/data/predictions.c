/* predictions.c - what a model says of a split, as HDF5. The lock of HDF5 is held for each call alone: members read
 * their samples in between. */
#include <stdlib.h>

#include "core/mem.h"
#include "data/hdf5_output.h"
#include "data/import.h"

enum { SCORES, LABELS, Y, SETS };

struct dl_predictions_file {
  dl_h5_output output;
  dl_h5_target target[SETS];
  bool there[SETS];
  hid_t type[SETS]; /* in memory */
};

static dl_status make_set(dl_predictions_file *f, int set, const char *name, bool whole_numbers, int dims,
                          const int64_t *dim) {
  f->type[set] = whole_numbers ? H5T_NATIVE_INT64 : H5T_NATIVE_FLOAT;
  DL_TRY(dl_h5_target_make(f->output.id, name, whole_numbers ? H5T_STD_I64LE : H5T_IEEE_F32LE, dims, dim, false,
                           &f->target[set]));
  f->there[set] = true;
  return DL_OK;
}

static dl_status make_sets(dl_predictions_file *f, const dl_predictions_form *form) {
  const bool maps = form->map[0] > 0, whole = form->y == DL_PREDICTED_Y_LABELS;
  const int64_t scores[] = {form->rows, form->outputs, form->map[0], form->map[1]},
                labels[] = {form->rows, maps ? form->map[0] : form->label_columns, form->map[1]},
                y[] = {form->rows, maps ? form->map[0] : form->y_size, form->map[1]};
  DL_TRY(make_set(f, SCORES, "scores", false, maps ? 4 : 2, scores));
  if (form->label_columns)
    DL_TRY(make_set(f, LABELS, "labels", true, maps ? 3 : form->label_columns > 1 ? 2 : 1, labels));
  return form->y == DL_PREDICTED_NO_Y ? DL_OK : make_set(f, Y, "y", whole, maps ? 3 : whole ? 1 : 2, y);
}

static dl_status close_sets(dl_predictions_file *f, dl_status status) {
  for (int set = 0; set < SETS; set++)
    if (f->there[set]) status = dl_h5_target_close(&f->target[set], status);
  return dl_h5_output_end(&f->output, status);
}

dl_status dl_predictions_begin(const char *path, const dl_predictions_form *form, dl_predictions_file **out) {
  dl_predictions_file *f = dl_calloc(1, sizeof *f);
  *out = NULL;
  if (!f) return DL_ERR_NOMEM;
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = dl_h5_output_begin(path, &f->output);
  if (status == DL_OK) {
    status = make_sets(f, form);
    if (status != DL_OK) status = close_sets(f, status);
  }
  dl_h5_leave(&turn);
  if (status == DL_OK)
    *out = f;
  else
    free(f);
  return status;
}

dl_status dl_predictions_put(dl_predictions_file *file, int64_t first, int64_t n, const dl_predictions *piece) {
  const void *const values[SETS] = {[SCORES] = piece->scores,
                                    [LABELS] = piece->labels,
                                    [Y] = piece->y ? (const void *)piece->y : (const void *)piece->y_labels};
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = DL_OK;
  for (int set = 0; set < SETS && status == DL_OK; set++)
    if (file->there[set]) status = dl_h5_target_write(&file->target[set], first, n, file->type[set], values[set]);
  dl_h5_leave(&turn);
  return status;
}

dl_status dl_predictions_end(dl_predictions_file **file, dl_status status) {
  if (!*file) return status;
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  status = close_sets(*file, status);
  dl_h5_leave(&turn);
  free(*file);
  *file = NULL;
  return status;
}

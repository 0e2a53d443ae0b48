/* import.c - the table of formats, and the frame around each: the output is whole or absent. */
#include "data/import.h"

#include <string.h>

#include "core/file.h"
#include "core/options.h"
#include "data/hdf5_output.h"
#include "data/import_idx.h"

static const dl_format formats[] = {
    {"idx", "IMAGES LABELS [TEST_IMAGES TEST_LABELS]",
     "IDX files as of MNIST and Fashion-MNIST, plain or packed with gzip", 2, 4, dl_import_idx},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const dl_format *dl_formats(int *n) {
  *n = N_FORMATS;
  return formats;
}

static const dl_format *find_format(const char *name) {
  const char *names[N_FORMATS];
  for (int i = 0; i < N_FORMATS; i++) {
    if (!strcmp(formats[i].name, name)) return &formats[i];
    names[i] = formats[i].name;
  }
  const char *near = dl_nearest_name(name, names, N_FORMATS);
  dl_fail(DL_ERR_USAGE, "unknown format '%.60s'", name);
  if (near)
    dl_hint("did you mean '%s'?", near);
  else
    dl_hint("see `dldist list formats`");
  return NULL;
}

dl_status dl_import(const char *format, const char *const *inputs, int n_inputs, const char *output, bool force) {
  const dl_format *chosen = find_format(format);
  if (!chosen) return DL_ERR_USAGE;
  if (n_inputs < chosen->min_inputs || n_inputs > chosen->max_inputs) {
    dl_fail(DL_ERR_USAGE, "format %s takes %d to %d inputs, not %d", format, chosen->min_inputs, chosen->max_inputs,
            n_inputs);
    return dl_hint("usage: dldist data import %s %s -o FILE.h5", format, chosen->usage);
  }
  if (dl_path_exists(output) && !dl_path_is_dir(output) && !force) {
    dl_fail_at(DL_ERR_USAGE, output, 0, 0, "exists already");
    return dl_hint("name another file, or replace it with --force");
  }
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_h5_output file;
  dl_status status = dl_h5_output_begin(output, &file);
  if (status == DL_OK) status = dl_h5_output_end(&file, chosen->import(inputs, n_inputs, (int64_t)file.id));
  dl_h5_leave(&turn);
  return status;
}

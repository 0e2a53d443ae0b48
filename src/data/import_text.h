/* import_text.h - plain text as tokens (floor: data, private). */
#ifndef DL_DATA_IMPORT_TEXT_H
#define DL_DATA_IMPORT_TEXT_H

#include "core/options.h"

typedef struct dl_text_options {
  int tokens; /* index in "char|byte" */
  double test_fraction;
} dl_text_options;
extern const dl_option dl_text_rows[];
extern const int dl_text_row_count;

/* inputs: FILE; `options` is a dl_text_options, `hdf5_file` a hid_t. See dl_format. */
dl_status dl_import_text(const char *const *inputs, int n_inputs, const void *options, int64_t hdf5_file);

#endif

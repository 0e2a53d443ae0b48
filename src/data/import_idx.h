/* import_idx.h - IDX files (floor: data, private). */
#ifndef DL_DATA_IMPORT_IDX_H
#define DL_DATA_IMPORT_IDX_H

#include "core/status.h"

/* inputs: IMAGES LABELS [TEST_IMAGES TEST_LABELS]; `hdf5_file` is a hid_t. See dl_format. */
dl_status dl_import_idx(const char *const *inputs, int n_inputs, const void *options, int64_t hdf5_file);

#endif

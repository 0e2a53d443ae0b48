/* import_npy.h - arrays of numpy (floor: data, private). */
#ifndef DL_DATA_IMPORT_NPY_H
#define DL_DATA_IMPORT_NPY_H

#include "data/import.h"

/* inputs: X.npy Y.npy [TEST_X.npy TEST_Y.npy], or FILE.npz. See dl_format. */
dl_status dl_import_npy(const dl_import_job *job);
dl_status dl_import_npz(const dl_import_job *job);

#endif

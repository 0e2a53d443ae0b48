/* import_idx.h - IDX files (floor: data, private). */
#ifndef DL_DATA_IMPORT_IDX_H
#define DL_DATA_IMPORT_IDX_H

#include "data/import.h"

/* inputs: IMAGES LABELS [TEST_IMAGES TEST_LABELS]. See dl_format. */
dl_status dl_import_idx(const dl_import_job *job);

#endif

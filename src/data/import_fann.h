/* import_fann.h - the training files of FANN (floor: data, private). */
#ifndef DL_DATA_IMPORT_FANN_H
#define DL_DATA_IMPORT_FANN_H

#include "data/import.h"

/* inputs: FILE [TEST_FILE]. See dl_format. */
dl_status dl_import_fann(const dl_import_job *job);

#endif

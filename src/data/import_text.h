/* import_text.h - plain text as tokens (floor: data, private). */
#ifndef DL_DATA_IMPORT_TEXT_H
#define DL_DATA_IMPORT_TEXT_H

#include "data/import.h"

typedef struct dl_text_options {
  int tokens; /* index in "char|byte" */
  double test_fraction;
} dl_text_options;
extern const dl_option dl_text_rows[];
extern const int dl_text_row_count;

/* inputs: FILE; the options are a dl_text_options. See dl_format. */
dl_status dl_import_text(const dl_import_job *job);

#endif

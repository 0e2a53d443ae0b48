/* import_images.h - folders of pictures, a folder a class (floor: data, private). */
#ifndef DL_DATA_IMPORT_IMAGES_H
#define DL_DATA_IMPORT_IMAGES_H

#include "data/import.h"

typedef struct dl_images_options {
  const char *size;
  int color;
  double test_fraction, valid_fraction;
  int64_t seed;
} dl_images_options;
enum { DL_IMAGES_N_ROWS = 5 };
extern const dl_option dl_images_rows[DL_IMAGES_N_ROWS];

/* inputs: DIR. Collective over the job's team. See dl_format. */
dl_status dl_import_images(const dl_import_job *job);

#endif

/* image_file.h - one picture from a PNG or JPEG file, at the size that is asked for (floor: data, private). */
#ifndef DL_DATA_IMAGE_FILE_H
#define DL_DATA_IMAGE_FILE_H

#include "core/status.h"

typedef struct dl_picture {
  int height, width;
  unsigned char *rgb; /* (height, width, 3); owned */
} dl_picture;

/* Whether the name ends in .png, .jpg or .jpeg, in any case. */
bool dl_picture_is_named(const char *name);

/* PNG of any depth and colour (alpha is left away), JPEG of grey or colours; told apart by their first bytes. At most
 * 64 million pixels. DL_ERR_DATA with the path for all that is damaged. */
dl_status dl_picture_read(const char *path, dl_picture *out);
void dl_picture_clear(dl_picture *picture);

/* Into out (channels, height, width): 3 as they are, 1 as luma (ITU-R 601). Another size is reached by a triangle
 * filter that covers what it shrinks (bilinear where it enlarges), first along rows, then along columns, as Pillow's
 * BILINEAR does. */
dl_status dl_picture_fit(const dl_picture *picture, int height, int width, int channels, unsigned char *out);

#endif

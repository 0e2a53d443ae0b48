/* image.h - what layers on images share (floor: nn, private). */
#ifndef DL_NN_IMAGE_H
#define DL_NN_IMAGE_H

#include "nn/layer.h"

/* That the layer reads an image (C, H, W). */
dl_status dl_image_check(const dl_layer *layer);

/* The layer's output is an image of this shape, unless that is too large. */
dl_status dl_image_set_out(dl_layer *layer, int64_t channels, int64_t height, int64_t width);

/* `3` or `[3, 5]` at an option's node, each from `least` to 2^15. */
dl_status dl_image_pair(const dl_node *node, const char *what, int64_t least, int64_t out[2]);

#endif

/* augment_cover.c - augmentations that take a rectangle from the network's sight: 0 after the normalisation, which is
 * the mean where the norm has one (Zhong et al. 2017, Random Erasing; DeVries and Taylor 2017, Cutout). */
#include <math.h>

#include "data/augment_kinds.h"

/* Rows [top, bottom) and columns [left, right), as far as they are in the image. */
static void cover(const dl_image *image, int64_t top, int64_t left, int64_t bottom, int64_t right) {
  const int64_t y0 = top > 0 ? top : 0, x0 = left > 0 ? left : 0, y1 = bottom < image->height ? bottom : image->height,
                x1 = right < image->width ? right : image->width;
  for (int64_t c = 0; c < image->channels; c++)
    for (int64_t y = y0; y < y1; y++)
      for (int64_t x = x0; x < x1; x++) image->at[(c * image->height + y) * image->width + x] = 0;
}

typedef struct erasing_options {
  double p, area_min, area_max, ratio;
} erasing_options;
static const dl_option erasing_rows[] = {
    {"p", DL_OPTION_REAL, offsetof(erasing_options, p), 0, 1, "0.5", NULL, "how likely an image loses a rectangle",
     false},
    {"area_min", DL_OPTION_REAL, offsetof(erasing_options, area_min), 0, 1, "0.02", NULL,
     "the least part of the image's area that is lost", false},
    {"area_max", DL_OPTION_REAL, offsetof(erasing_options, area_max), 0, 1, "0.33", NULL,
     "the largest part of the image's area that is lost", false},
    {"ratio", DL_OPTION_REAL, offsetof(erasing_options, ratio), 1, 100, "3.3333333333333335", NULL,
     "height / width of the rectangle is drawn from 1 / ratio to ratio", false},
};

static dl_status check_erasing(const void *options, const dl_node *map, const int64_t *shape) {
  const erasing_options *erasing = options;
  (void)shape;
  if (erasing->area_min <= erasing->area_max) return DL_OK;
  return dl_node_fail(map, false, "random_erasing: area_min %g is above area_max %g", erasing->area_min,
                      erasing->area_max);
}

static int64_t side_of(double length, int64_t most) {
  const int64_t side = (int64_t)floor(length + 0.5);
  return side < 1 ? 1 : side > most ? most : side;
}

/* Given that a number below p was drawn, number / p is as random as a number of its own. */
static void cover_random_erasing(const void *options, const uint32_t *words, const dl_image *image) {
  const erasing_options *erasing = options;
  const double drawn = (double)dl_rng_to_unit(words[0]);
  if (drawn >= erasing->p) return;
  const double part = erasing->area_min + (erasing->area_max - erasing->area_min) * (drawn / erasing->p),
               area = part * (double)(image->height * image->width),
               ratio = exp(dl_draw_between(-1, 1, words[1]) * log(erasing->ratio));
  const int64_t h = side_of(sqrt(area * ratio), image->height), w = side_of(sqrt(area / ratio), image->width),
                top = dl_draw_below(image->height - h + 1, words[2]),
                left = dl_draw_below(image->width - w + 1, words[3]);
  cover(image, top, left, top + h, left + w);
}

const dl_augmentation_kind dl_random_erasing = {
    .name = "random_erasing",
    .help = "a rectangle of random area, shape and place becomes 0 after the normalisation",
    .options = erasing_rows,
    .n_options = (int)(sizeof erasing_rows / sizeof erasing_rows[0]),
    .options_size = sizeof(erasing_options),
    .value_option = "p",
    .check = check_erasing,
    .cover = cover_random_erasing};

typedef struct cutout_options {
  int64_t size;
} cutout_options;
static const dl_option cutout_rows[] = {
    {"size", DL_OPTION_INT, offsetof(cutout_options, size), 1, 1e6, NULL, NULL, "the side of the square, in pixels",
     false},
};

static dl_status check_cutout(const void *options, const dl_node *map, const int64_t *shape) {
  const int64_t size = ((const cutout_options *)options)->size, side = shape[1] < shape[2] ? shape[1] : shape[2];
  if (size <= side) return DL_OK;
  dl_node_fail(dl_node_get(map, "size"), false, "cutout: a square of %lld pixels is larger than images of %lld x %lld",
               (long long)size, (long long)shape[1], (long long)shape[2]);
  return dl_hint("size must not be above %lld", (long long)side);
}

static void cover_cutout(const void *options, const uint32_t *words, const dl_image *image) {
  const int64_t size = ((const cutout_options *)options)->size, top = dl_draw_below(image->height, words[0]) - size / 2,
                left = dl_draw_below(image->width, words[1]) - size / 2;
  cover(image, top, left, top + size, left + size);
}

const dl_augmentation_kind dl_cutout = {
    .name = "cutout",
    .help = "a square with its middle anywhere in the image becomes 0 after the normalisation, as far as it is inside",
    .options = cutout_rows,
    .n_options = 1,
    .options_size = sizeof(cutout_options),
    .value_option = "size",
    .check = check_cutout,
    .cover = cover_cutout};

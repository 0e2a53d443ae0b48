/* augment_colour.c - augmentations of brightness and colour: torchvision's ColorJitter, a kind each.
 *
 * Every one mixes an image with another: black, its mean grey, its own grey picture. out = factor * x + (1 - factor) *
 * other, cut to what the file's type holds; floats are not cut, as nobody knows their range.
 */
#include "data/augment_kinds.h"

typedef struct factor_options {
  double by;
} factor_options;
static const dl_option factor_rows[] = {
    {"by", DL_OPTION_REAL, offsetof(factor_options, by), 0, 10, NULL, NULL,
     "the factor is drawn from 1 - by, but no less than 0, to 1 + by", false},
};
#define OPTIONS .options = factor_rows, .n_options = 1, .options_size = sizeof(factor_options), .value_option = "by"

static float draw_factor(const void *options, const uint32_t *words) {
  const double by = ((const factor_options *)options)->by;
  return (float)dl_draw_between(by < 1 ? 1 - by : 0, 1 + by, words[0]);
}

static float mix(const dl_image *image, float x, float factor, float other) {
  const float value = factor * x + (1 - factor) * other;
  return value < image->low ? image->low : value > image->high ? image->high : value;
}

/* Luma of ITU-R BT.601 for three channels, else their mean. */
static float grey_of(const dl_image *image, int64_t pixel) {
  const int64_t plane = image->height * image->width;
  const float *x = image->at + pixel;
  if (image->channels == 3) return (0.299f * x[0] + 0.587f * x[plane]) + 0.114f * x[2 * plane];
  float sum = 0;
  for (int64_t c = 0; c < image->channels; c++) sum += x[c * plane];
  return sum / (float)image->channels;
}

static void mix_all(const dl_image *image, float factor, float other) {
  const int64_t n = image->channels * image->height * image->width;
  for (int64_t i = 0; i < n; i++) image->at[i] = mix(image, image->at[i], factor, other);
}

static void colour_random_brightness(const void *options, const uint32_t *words, const dl_image *image) {
  mix_all(image, draw_factor(options, words), 0);
}

static void colour_random_contrast(const void *options, const uint32_t *words, const dl_image *image) {
  const int64_t pixels = image->height * image->width;
  double sum = 0;
  for (int64_t i = 0; i < pixels; i++) sum += (double)grey_of(image, i);
  mix_all(image, draw_factor(options, words), (float)(sum / (double)pixels));
}

static void colour_random_saturation(const void *options, const uint32_t *words, const dl_image *image) {
  const int64_t pixels = image->height * image->width;
  const float factor = draw_factor(options, words);
  for (int64_t i = 0; i < pixels; i++) {
    const float grey = grey_of(image, i);
    for (int64_t c = 0; c < image->channels; c++) {
      float *x = &image->at[c * pixels + i];
      *x = mix(image, *x, factor, grey);
    }
  }
}

static dl_status check_saturation(const void *options, const dl_node *map, const int64_t *shape) {
  (void)options;
  if (shape[0] == 3) return DL_OK;
  return dl_node_fail(map, false, "random_saturation is for images of three channels (red, green, blue), not of %lld",
                      (long long)shape[0]);
}

const dl_augmentation_kind dl_random_brightness = {
    .name = "random_brightness",
    .help = "multiplies all values by a factor, within what the file's type of integers holds",
    OPTIONS,
    .colour = colour_random_brightness};
const dl_augmentation_kind dl_random_contrast = {
    .name = "random_contrast",
    .help = "stretches values about the image's mean grey by a factor, within what the file's type of integers holds",
    OPTIONS,
    .colour = colour_random_contrast};
const dl_augmentation_kind dl_random_saturation = {
    .name = "random_saturation",
    .help =
        "stretches each pixel's red, green and blue about its grey by a factor, within what the file's type of "
        "integers holds",
    OPTIONS,
    .check = check_saturation,
    .colour = colour_random_saturation};

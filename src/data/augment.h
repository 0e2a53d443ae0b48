/* augment.h - what is done to images on their way into a training batch: data.augment (floor: data).
 *
 * One augmentation is one row of dl_augmentation_kinds. Each is a way of looking at the image: a flip or a shift of its
 * rows or columns. The list, in its order, comes to one view, so that an image is read once whatever the list's length,
 * and nothing is copied or allocated.
 *
 * Views work on the values of the file, as torchvision's transforms before ToTensor and Normalize: where a view looks
 * beside the image it sees 0, which is then normalised like any other value.
 */
#ifndef DL_DATA_AUGMENT_H
#define DL_DATA_AUGMENT_H

#include "data/data.h"

/* Output index i shows input index step * i + at where begin <= i < end, and nothing elsewhere. */
typedef struct dl_view_axis {
  int64_t size, begin, end, step, at; /* step: 1 or -1 */
} dl_view_axis;

typedef struct dl_view {
  dl_view_axis rows, columns;
} dl_view;

typedef struct dl_augmentation_kind {
  const char *name, *help;
  const dl_option *options;
  int n_options;
  size_t options_size;
  const char *value_option; /* the option that `random_crop: 4` sets, NULL: none */
  /* Whether the options fit images of this height and width; NULL: always. Fails at `map`. */
  dl_status (*check)(const void *options, const dl_node *map, int64_t height, int64_t width);
  /* Looks at `view` in the way that four random words say. */
  void (*look)(const void *options, const uint32_t words[4], dl_view *view);
} dl_augmentation_kind;

const dl_augmentation_kind *dl_augmentation_kinds(int *n);

typedef struct dl_augment dl_augment;

/* Parses config->data.augment, whose defaults are put in, for samples of this shape. *out is NULL where nothing is
 * asked for. DL_ERR_USAGE at the place in the configuration for what is unknown or does not fit: samples must be images
 * (C, H, W). Not collective. */
dl_status dl_augment_new(const dl_config *config, const dl_data_shape *shape, dl_augment **out);
void dl_augment_destroy(dl_augment **augment);

/* The view of `sample` (its number in the files' training split) in `epoch`: a pure function of these, the seed and the
 * list. Entry k of the list draws from the stream (seed, DL_RNG_AUGMENT, k). */
void dl_augment_draw(const dl_augment *augment, int64_t epoch, int64_t sample, dl_view *out);

#endif

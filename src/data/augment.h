/* augment.h - what is done to images on their way into a training batch: data.augment (floor: data).
 *
 * One augmentation is one row of dl_augmentation_kinds and does one of three things. It looks: another way of seeing
 * the rows and columns (a flip, a shift, a rotation). It colours: works on the values of the file. Or it covers: works
 * on what the network sees, after normalisation. All that look come first and to one map, in the order of the list, so
 * that an image is read and interpolated once whatever the list's length; then the colours, in their order; then the
 * covers.
 *
 * Views and colours work on the values of the file, as torchvision's transforms before Normalize: where a view looks
 * beside the image it sees 0, which is then normalised like any other value.
 */
#ifndef DL_DATA_AUGMENT_H
#define DL_DATA_AUGMENT_H

#include "data/data.h"
#include "data/data_view.h"

enum { DL_AUGMENT_WORDS = 4 };

/* An image in work. */
typedef struct dl_image {
  int64_t channels, height, width;
  float *at;       /* (channels, height, width) */
  float low, high; /* what the file's type holds; infinite where it is of floats */
} dl_image;

typedef struct dl_augmentation_kind {
  const char *name, *help;
  const dl_option *options;
  int n_options;
  size_t options_size;
  const char *value_option; /* the option that `random_crop: 4` sets, NULL: none */
  /* Whether the options fit images of this shape (channels, height, width); NULL: always. Fails at `map`. */
  dl_status (*check)(const void *options, const dl_node *map, const int64_t *shape);
  /* One of these, in the way that random words say: looks at `view`; works on values as in the file; works on
   * normalised values, of which 0 is the mean where the norm has one. */
  void (*look)(const void *options, const uint32_t words[DL_AUGMENT_WORDS], dl_view *view);
  void (*colour)(const void *options, const uint32_t words[DL_AUGMENT_WORDS], const dl_image *image);
  void (*cover)(const void *options, const uint32_t words[DL_AUGMENT_WORDS], const dl_image *image);
} dl_augmentation_kind;

const dl_augmentation_kind *const *dl_augmentation_kinds(int *n);

typedef struct dl_augment dl_augment;

/* Parses config->data.augment, whose defaults are put in, for samples of this shape. *out is NULL where nothing is
 * asked for. DL_ERR_USAGE at the place in the configuration for what is unknown or does not fit: samples must be images
 * (C, H, W). Not collective. */
dl_status dl_augment_new(const dl_config *config, const dl_data_shape *shape, dl_augment **out);
void dl_augment_destroy(dl_augment **augment);

/* The view of `sample` (its number in the files' training split) in `epoch`: a pure function of these, the seed and the
 * list. Entry k of the list draws from the stream (seed, DL_RNG_AUGMENT, k). */
void dl_augment_draw(const dl_augment *augment, int64_t epoch, int64_t sample, dl_view *out);

/* Whether anything in the list moves the image. */
bool dl_augment_moves(const dl_augment *augment);

/* What the list does to the values of an image that was read through its view: before the normalisation, where
 * dl_augment_has_colours, and after it. Pure functions as the view is. */
bool dl_augment_has_colours(const dl_augment *augment);
void dl_augment_colour(const dl_augment *augment, int64_t epoch, int64_t sample, const dl_image *image);
void dl_augment_cover(const dl_augment *augment, int64_t epoch, int64_t sample, const dl_image *image);

#endif

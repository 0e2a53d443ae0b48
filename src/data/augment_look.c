/* augment_look.c - augmentations that look at an image in another way.
 *
 * Flips and shifts are exact. What turns or scales interpolates; sides of a piece, an angle and a factor are drawn as
 * real numbers.
 */
#include <math.h>

#include "data/augment_kinds.h"

#define OPTIONS(rows, type) \
  .options = rows, .n_options = (int)(sizeof(rows) / sizeof(rows)[0]), .options_size = sizeof(type)

/* ---- flips ---- */

typedef struct flip_options {
  double p;
} flip_options;
static const dl_option flip_rows[] = {
    {"p", DL_OPTION_REAL, offsetof(flip_options, p), 0, 1, "0.5", NULL, "how likely an image is flipped", false},
};

static bool is_flipped(const void *options, const uint32_t *words) {
  return (double)dl_rng_to_unit(words[0]) < ((const flip_options *)options)->p;
}
static void look_flip_horizontal(const void *options, const uint32_t *words, dl_view *view) {
  if (is_flipped(options, words)) dl_view_flip(view, DL_VIEW_COLUMNS);
}
static void look_flip_vertical(const void *options, const uint32_t *words, dl_view *view) {
  if (is_flipped(options, words)) dl_view_flip(view, DL_VIEW_ROWS);
}

const dl_augmentation_kind dl_flip_horizontal = {.name = "flip_horizontal",
                                                 .help = "left and right change places",
                                                 OPTIONS(flip_rows, flip_options),
                                                 .value_option = "p",
                                                 .look = look_flip_horizontal};
const dl_augmentation_kind dl_flip_vertical = {.name = "flip_vertical",
                                               .help = "top and bottom change places",
                                               OPTIONS(flip_rows, flip_options),
                                               .value_option = "p",
                                               .look = look_flip_vertical};

/* ---- shifts ---- */

typedef struct crop_options {
  int64_t padding;
} crop_options;
static const dl_option crop_rows[] = {
    {"padding", DL_OPTION_INT, offsetof(crop_options, padding), 0, 1e6, NULL, NULL,
     "pixels of 0 put around an image before a piece of its old size is cut out at random", false},
};

static dl_status check_crop(const void *options, const dl_node *map, const int64_t *shape) {
  const int64_t padding = ((const crop_options *)options)->padding, height = shape[1], width = shape[2],
                side = height < width ? height : width;
  if (padding < side) return DL_OK;
  dl_node_fail(dl_node_get(map, "padding"), false,
               "random_crop: a padding of %lld can leave nothing of images of %lld x %lld pixels", (long long)padding,
               (long long)height, (long long)width);
  return dl_hint("padding must be below %lld", (long long)side);
}

static void look_random_crop(const void *options, const uint32_t *words, dl_view *view) {
  const int64_t padding = ((const crop_options *)options)->padding, places = 2 * padding + 1;
  dl_view_shift(view, DL_VIEW_ROWS, dl_draw_below(places, words[0]) - padding);
  dl_view_shift(view, DL_VIEW_COLUMNS, dl_draw_below(places, words[1]) - padding);
}

const dl_augmentation_kind dl_random_crop = {
    .name = "random_crop",
    .help = "moves an image up to `padding` pixels in each direction; what comes in is 0, as the file has it",
    OPTIONS(crop_rows, crop_options),
    .value_option = "padding",
    .check = check_crop,
    .look = look_random_crop};

/* ---- what interpolates ---- */

typedef struct rotation_options {
  double degrees;
} rotation_options;
static const dl_option rotation_rows[] = {
    {"degrees", DL_OPTION_REAL, offsetof(rotation_options, degrees), 0, 180, NULL, NULL,
     "the angle is drawn from -degrees to degrees", false},
};

static void look_random_rotation(const void *options, const uint32_t *words, dl_view *view) {
  const double most = ((const rotation_options *)options)->degrees;
  dl_view_turn(view, dl_draw_between(-most, most, words[0]));
}

const dl_augmentation_kind dl_random_rotation = {
    .name = "random_rotation",
    .help = "turns an image about its middle, bilinear; what comes in is 0, as the file has it",
    OPTIONS(rotation_rows, rotation_options),
    .value_option = "degrees",
    .look = look_random_rotation};

typedef struct zoom_options {
  double by;
} zoom_options;
static const dl_option zoom_rows[] = {
    {"by", DL_OPTION_REAL, offsetof(zoom_options, by), 0, 0.9, NULL, NULL,
     "the factor is drawn from 1 - by to 1 + by; above 1 the image grows", false},
};

/* The piece of the image that fills it afterwards: its middle. */
static void look_random_zoom(const void *options, const uint32_t *words, dl_view *view) {
  const double by = ((const zoom_options *)options)->by, factor = dl_draw_between(1 - by, 1 + by, words[0]),
               height = (double)view->rows.size, width = (double)view->columns.size;
  dl_view_fill(view, (height - height / factor) / 2, (width - width / factor) / 2, height / factor, width / factor);
}

const dl_augmentation_kind dl_random_zoom = {
    .name = "random_zoom",
    .help = "makes an image larger or smaller about its middle, bilinear; what comes in is 0, as the file has it",
    OPTIONS(zoom_rows, zoom_options),
    .value_option = "by",
    .look = look_random_zoom};

typedef struct piece_options {
  double area, ratio;
} piece_options;
static const dl_option piece_rows[] = {
    {"area", DL_OPTION_REAL, offsetof(piece_options, area), 0.001, 1, "0.08", NULL,
     "the piece has from this part of the image's area to all of it", false},
    {"ratio", DL_OPTION_REAL, offsetof(piece_options, ratio), 1, 100, "1.3333333333333333", NULL,
     "width / height of the piece is drawn from 1 / ratio to ratio, as far as a piece of its area fits", false},
};

static void look_random_resized_crop(const void *options, const uint32_t *words, dl_view *view) {
  const piece_options *piece = options;
  const double height = (double)view->rows.size, width = (double)view->columns.size,
               area = dl_draw_between(piece->area, 1, words[0]) * height * width, narrow = area / (height * height),
               wide = width * width / area, /* what fits */
      least = fmin(fmax(narrow, 1 / piece->ratio), wide), most = fmax(fmin(wide, piece->ratio), least),
               ratio = exp(dl_draw_between(log(least), log(most), words[1])), h = fmin(height, sqrt(area / ratio)),
               w = fmin(width, sqrt(area * ratio));
  dl_view_fill(view, dl_draw_between(0, height - h, words[2]), dl_draw_between(0, width - w, words[3]), h, w);
}

const dl_augmentation_kind dl_random_resized_crop = {
    .name = "random_resized_crop",
    .help = "a piece of random area, shape and place is brought to the image's size, bilinear",
    OPTIONS(piece_rows, piece_options),
    .value_option = "area",
    .look = look_random_resized_crop};

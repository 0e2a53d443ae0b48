/* augment_kinds.h - the augmentations there are, and what they share (floor: data, private). */
#ifndef DL_DATA_AUGMENT_KINDS_H
#define DL_DATA_AUGMENT_KINDS_H

#include "core/rng.h"
#include "data/augment.h"

/* augment_look.c */
extern const dl_augmentation_kind dl_flip_horizontal, dl_flip_vertical, dl_random_crop, dl_random_rotation,
    dl_random_zoom, dl_random_resized_crop;
/* augment_colour.c */
extern const dl_augmentation_kind dl_random_brightness, dl_random_contrast, dl_random_saturation;
/* augment_cover.c */
extern const dl_augmentation_kind dl_random_erasing, dl_cutout;

/* A whole number from 0 to n - 1. */
static inline int64_t dl_draw_below(int64_t n, uint32_t word) {
  return (int64_t)(((uint64_t)word * (uint64_t)n) >> 32);
}

/* A number from `low` to `high`. */
static inline double dl_draw_between(double low, double high, uint32_t word) {
  return low + (high - low) * (double)dl_rng_to_unit(word);
}

#endif

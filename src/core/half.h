/* half.h - floats in 16 bits, for what travels (floor: core). */
#ifndef DL_CORE_HALF_H
#define DL_CORE_HALF_H

#include <stddef.h>
#include <stdint.h>

/* Rounding is to the nearest, ties to even, with integers alone: the same bits on every machine. Values that `round`
 * has left survive pack and unpack unchanged (which NaN it was may be lost). */
typedef struct dl_half {
  const char *name;
  void (*round)(float *x, size_t n);
  void (*pack)(uint16_t *restrict out, const float *restrict x, size_t n); /* rounds */
  void (*unpack)(float *restrict out, const uint16_t *restrict x, size_t n);
} dl_half;

typedef enum dl_compress { DL_COMPRESS_NONE, DL_COMPRESS_BF16, DL_COMPRESS_FP16, DL_COMPRESS_TOPK } dl_compress;
#define DL_COMPRESS_NAMES "none|bf16|fp16|topk"

/* bfloat16: the upper half of a float, its range and 8 bits of mantissa. binary16: 11 bits of mantissa; beyond 65504
 * comes infinity, below 6e-8 zero. NULL for what is not one of these two. */
const dl_half *dl_half_of(int compress);

#endif

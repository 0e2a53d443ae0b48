/* Bits of the one format from bits of the other, so that no rounding mode and no instruction set has a say. */
#include "core/half.h"

#include "core/bits.h"

/* ---- bfloat16 ---- */

static inline uint32_t bf16_of(float x) {
  uint32_t bits = dl_bits_of(x), rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return (bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16 | 0x40) : rounded;
}

static void bf16_round(float *x, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = dl_float_of(bf16_of(x[i]) << 16);
}
static void bf16_pack(uint16_t *restrict out, const float *restrict x, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = (uint16_t)bf16_of(x[i]);
}
static void bf16_unpack(float *restrict out, const uint16_t *restrict x, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = dl_float_of((uint32_t)x[i] << 16);
}

/* ---- binary16 ---- */

/* Half of the last place is added, less one where the last place is even; what is subnormal is shifted first. */
static inline uint32_t fp16_of(float x) {
  uint32_t bits = dl_bits_of(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff, exponent = rest >> 23;
  if (rest > 0x7f800000) return sign | 0x7e00;
  if (rest >= 0x477ff000) return sign | 0x7c00; /* from 65520 on it rounds to infinity */
  if (exponent >= 113) {                        /* 2^-14 and more: normal */
    uint32_t shifted = rest - (112u << 23);
    return sign | (shifted + 0xfff + (shifted >> 13 & 1)) >> 13;
  }
  if (exponent < 102) return sign; /* below half of the least */
  uint32_t mantissa = (rest & 0x7fffff) | 0x800000, shift = 126 - exponent;
  return sign | (mantissa + (1u << (shift - 1)) - 1 + (mantissa >> shift & 1)) >> shift;
}

static inline float float_of_fp16(uint32_t half) {
  uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ff;
  if (exponent == 31) return dl_float_of(sign | 0x7f800000 | mantissa << 13);
  if (exponent) return dl_float_of(sign | (exponent + 112) << 23 | mantissa << 13);
  float small = (float)mantissa * 0x1p-24f; /* exact */
  return dl_float_of(sign | dl_bits_of(small));
}

static void fp16_round(float *x, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = float_of_fp16(fp16_of(x[i]));
}
static void fp16_pack(uint16_t *restrict out, const float *restrict x, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = (uint16_t)fp16_of(x[i]);
}
static void fp16_unpack(float *restrict out, const uint16_t *restrict x, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = float_of_fp16(x[i]);
}

const dl_half *dl_half_of(int compress) {
  static const dl_half bf16 = {"bf16", bf16_round, bf16_pack, bf16_unpack},
                       fp16 = {"fp16", fp16_round, fp16_pack, fp16_unpack};
  static const dl_half *const kinds[] = {
      [DL_COMPRESS_NONE] = NULL, [DL_COMPRESS_BF16] = &bf16, [DL_COMPRESS_FP16] = &fp16, [DL_COMPRESS_TOPK] = NULL};
  return kinds[compress];
}

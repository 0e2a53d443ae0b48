/* Floats in 16 bits, against a search among all values that the format has. */
#include "core/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dltest.h"

/* What a format's bits mean, from its definition. */
static double value_of(int compress, uint32_t bits) {
  int mantissa_bits = compress == DL_COMPRESS_BF16 ? 7 : 10, exponent_bits = 15 - mantissa_bits;
  int bias = (1 << (exponent_bits - 1)) - 1, exponent = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  double mantissa = bits & ((1u << mantissa_bits) - 1), sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa > 0 ? (double)NAN : sign * (double)INFINITY;
  if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

/* The nearest of the non-negative values, by bisection over their bits; of two the even one. The step above the largest
 * is where the next power of two would be. */
static uint32_t nearest(int compress, double x) {
  uint32_t low = 0, high = compress == DL_COMPRESS_BF16 ? 0x7f80 : 0x7c00;
  double top = compress == DL_COMPRESS_BF16 ? 0x1p128 : 65536;
  if (x >= top) return high;
  while (high - low > 1) {
    uint32_t middle = (low + high) / 2;
    if (value_of(compress, middle) <= x)
      low = middle;
    else
      high = middle;
  }
  double below = x - value_of(compress, low),
         above = (isinf(value_of(compress, high)) ? top : value_of(compress, high)) - x;
  if (below != above) return below < above ? low : high;
  return low & 1 ? high : low;
}

static void test_every_half_survives_unpacking_and_packing(void) {
  for (int compress = DL_COMPRESS_BF16; compress <= DL_COMPRESS_FP16; compress++) {
    const dl_half *half = dl_half_of(compress);
    int wrong = 0;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
      uint16_t in = (uint16_t)bits, out;
      float x;
      half->unpack(&x, &in, 1);
      half->pack(&out, &x, 1);
      double expected = value_of(compress, bits);
      if (isnan(expected))
        wrong += !isnan(x) || !isnan(value_of(compress, out));
      else
        wrong += (double)x != expected || !signbit(x) != !(bits >> 15) || in != out;
    }
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

static void test_rounding_is_to_the_nearest_and_ties_to_even(void) {
  for (int compress = DL_COMPRESS_BF16; compress <= DL_COMPRESS_FP16; compress++) {
    const dl_half *half = dl_half_of(compress);
    int wrong = 0;
    for (uint64_t i = 0; i < 400000; i++) {
      /* Bits from everywhere; every fourth is half-way between two halves, or one beside it. */
      uint32_t bits = (uint32_t)(i * 2654435761u + 12345u) & 0x7fffffff;
      if (i % 4 == 0) bits = (bits & ~0x1fffu) | (compress == DL_COMPRESS_BF16 ? 0x8000u : 0x1000u);
      if (i % 16 == 0) bits += (uint32_t)(i / 16 % 3) - 1;
      float x, rounded;
      memcpy(&x, &bits, sizeof x);
      if (isnan(x)) continue;
      uint16_t out;
      half->pack(&out, &x, 1);
      rounded = x;
      half->round(&rounded, 1);
      uint32_t expected = nearest(compress, (double)x);
      wrong += out != expected || (double)rounded != value_of(compress, expected);
      x = -x;
      half->pack(&out, &x, 1);
      wrong += out != (expected | 0x8000);
    }
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

static void test_no_compression_has_no_format(void) {
  CU_ASSERT_PTR_NULL(dl_half_of(DL_COMPRESS_NONE));
  CU_ASSERT_STRING_EQUAL(dl_half_of(DL_COMPRESS_BF16)->name, "bf16");
  CU_ASSERT_STRING_EQUAL(dl_half_of(DL_COMPRESS_FP16)->name, "fp16");
}

static const dl_test tests[] = {
    DL_TEST(test_every_half_survives_unpacking_and_packing),
    DL_TEST(test_rounding_is_to_the_nearest_and_ties_to_even),
    DL_TEST(test_no_compression_has_no_format),
};
DL_TEST_MAIN("floats in 16 bits", tests)

/* kernels_math.h - functions of one number and sums over lanes that the kernel files share (floor: nn, private to
 * *.isa.c).
 *
 * Every element goes through the same IEEE operations whichever way a loop is vectorised, and sums keep LANES partial
 * sums in float64 (element i goes to lane i % LANES), so all instruction sets give the same bits. The exponential is
 * ours because libm's is neither vectorisable nor the same everywhere: e^x = 2^k e^r with k = round(x / ln 2), |r| <=
 * ln 2 / 2, and a polynomial of degree 6 for e^r (minimax fit, 0.05 ulp before rounding).
 */
#ifndef DL_NN_KERNELS_MATH_H
#define DL_NN_KERNELS_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/bits.h"

#define LANES 8

/* The loop may run on one buffer in place: iteration i touches element i alone. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

static inline double add_lanes(const double lane[LANES]) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* ---- functions of one number ---- */

static inline float exp1(float x) {
  const float shifter = 0x1.8p23f; /* adding it rounds to an integer, kept in the low bits */
  x = x > 89.0f ? 89.0f : x;       /* NaN passes both */
  x = x < -104.0f ? -104.0f : x;
  float t = x * 0x1.715476p0f + shifter;
  float k = t - shifter;
  float r = (x - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f; /* the first product is exact */
  float p = 0x1.6a21acp-10f;
  p = p * r + 0x1.123b6ap-7f;
  p = p * r + 0x1.5558fap-5f;
  p = p * r + 0x1.55549p-3f;
  p = p * r + 0x1.fffffcp-2f;
  float y = 1.0f + (r + r * r * p);
  /* 2^k in two halves, so that the last multiplication overflows or underflows gradually where the result does. */
  uint32_t n = dl_bits_of(t) - dl_bits_of(shifter), half = ((n + 256u) >> 1) - 128u;
  return y * dl_float_of((half + 127u) << 23) * dl_float_of((n - half + 127u) << 23);
}

static inline float sigmoid1(float x) {
  float e = exp1(-fabsf(x));
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

/* Below 5/8 an odd polynomial (minimax fit), above 1 - 2 / (e^2x + 1). */
static inline float tanh1(float x) {
  float a = fabsf(x), z = a * a;
  float p = -0x1.76ac0ep-8f;
  p = p * z + 0x1.5256d4p-6f;
  p = p * z + -0x1.b84448p-5f;
  p = p * z + 0x1.110768p-3f;
  p = p * z + -0x1.555534p-2f;
  float small = a + a * (z * p);
  float large = 1.0f - 2.0f / (exp1(2.0f * a) + 1.0f);
  return copysignf(a < 0.625f ? small : large, x);
}

/* ---- rows ---- */

static inline float largest(int64_t n, const float *x) {
  float lane[16];
  for (int j = 0; j < 16; j++) lane[j] = -INFINITY;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
#pragma GCC unroll 1 /* gcc makes vectors of the loop, not of its sixteen copies */
    for (int j = 0; j < 16; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  for (int j = 0; i < n; i++, j++) lane[j] = x[i] > lane[j] ? x[i] : lane[j];
  float four[4];
  for (int j = 0; j < 8; j++) lane[j] = lane[j + 8] > lane[j] ? lane[j + 8] : lane[j];
  for (int j = 0; j < 4; j++) four[j] = lane[j + 4] > lane[j] ? lane[j + 4] : lane[j];
  const float even = four[2] > four[0] ? four[2] : four[0], odd = four[3] > four[1] ? four[3] : four[1];
  return odd > even ? odd : even;
}

static inline void add_to_lanes(double lane[LANES], int64_t n, const float *x) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++) lane[j] += (double)x[i + j];
  for (int j = 0; i < n; i++, j++) lane[j] += (double)x[i];
}

static inline double sum_of(int64_t n, const float *x) {
  double lane[LANES] = {0};
  add_to_lanes(lane, n, x);
  return add_lanes(lane);
}

/* y = e^(x - max); returns the sum of y. */
static inline double exp_shifted(int64_t n, const float *x, float shift, float *y) {
  INDEPENDENT for (int64_t i = 0; i < n; i++) y[i] = exp1(x[i] - shift);
  return sum_of(n, y);
}

#endif

/* vector.isa.c - sums of float buffers: plain loops, one compilation an instruction set. */
#include "core/vector.h"
#include "core/isa.h"

static void add(float *restrict into, const float *restrict x, size_t n) {
  for (size_t i = 0; i < n; i++) into[i] += x[i];
}

static void sum2(float *restrict out, const float *restrict a, const float *restrict b, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void scale(float *x, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] *= factor;
}

/* The square of a float is exact in float64, so only the order of additions matters: element i goes to lane i % 8. */
static double sumsq(const float *x, size_t n) {
  double lane[8] = {0};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; j++) lane[j] += (double)x[i + (size_t)j] * (double)x[i + (size_t)j];
  for (int j = 0; i < n; i++, j++) lane[j] += (double)x[i] * (double)x[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

extern const dl_vector_ops DL_ISA_NAME(dl_vector_table);
const dl_vector_ops DL_ISA_NAME(dl_vector_table) = {.add = add, .sum2 = sum2, .scale = scale, .sumsq = sumsq};

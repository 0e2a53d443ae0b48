/* vector.isa.c - sums of float buffers: plain loops, one compilation an instruction set. */
#include "core/vector.h"
#include <string.h>

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

/* Word i goes to lane i % 32. A lane keeps the sum of its words and a second one in which every earlier sum has been
 * rotated further, so that words that change places, or changes that cancel in the sum, are seen: Fletcher's checksum,
 * but for the rotation, without which the highest bits of two words at an even distance would cancel. */
#define LANES 32
static uint64_t checksum(const float *x, size_t n) {
  uint32_t sum[LANES] = {0}, turned[LANES] = {0}, word[LANES];
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    memcpy(word, x + i, sizeof word);
    for (int j = 0; j < LANES; j++) {
      sum[j] += word[j];
      turned[j] = (turned[j] << 7 | turned[j] >> 25) + sum[j];
    }
  }
  for (int j = 0; i < n; i++, j++) {
    memcpy(word, x + i, sizeof *word);
    sum[j] += word[0];
    turned[j] = (turned[j] << 7 | turned[j] >> 25) + sum[j];
  }
  uint64_t hash = n;
  for (uint64_t j = 0; j < LANES; j++) /* odd factors: no lane is lost */
    hash += sum[j] * ((4 * j + 1) * 0x9e3779b97f4a7c15u) + turned[j] * ((4 * j + 3) * 0xc2b2ae3d27d4eb4fu);
  hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

extern const dl_vector_ops DL_ISA_NAME(dl_vector_table);
const dl_vector_ops DL_ISA_NAME(dl_vector_table) = {
    .add = add, .sum2 = sum2, .scale = scale, .sumsq = sumsq, .checksum = checksum};

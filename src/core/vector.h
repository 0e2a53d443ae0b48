/* vector.h - sums of float buffers, compiled per instruction set (floor: core). */
#ifndef DL_CORE_VECTOR_H
#define DL_CORE_VECTOR_H

#include <stddef.h>
#include <stdint.h>

typedef struct dl_vector_ops {
  void (*add)(float *restrict into, const float *restrict x, size_t n);                          /* into += x */
  void (*sum2)(float *restrict out, const float *restrict a, const float *restrict b, size_t n); /* out = a + b */
  void (*add_scaled)(float *restrict into, const float *restrict x, float factor, size_t n); /* (into + x) * factor */
  void (*sum2_scaled)(float *restrict out, const float *restrict a, const float *restrict b, float factor, size_t n);
  void (*scale)(float *x, float factor, size_t n); /* x *= factor */
  /* out = x, past the caches where the processor can: for what is not read again soon. */
  void (*send)(float *restrict out, const float *restrict x, size_t n);
  /* Sum of squares in float64 over 32 lanes, lanes added pairwise: the same bits on every instruction set. */
  double (*sumsq)(const float *x, size_t n);
  /* A hash of n floats' bits, to tell changed memory from whole; not against malice. The same on every instruction set.
   * Cost: little beside reading them, about 20 ns for 4 KiB in the first cache. */
  uint64_t (*checksum)(const float *x, size_t n);
  /* sumsq of x, and the checksum of y beside it, at little more than the cost of the first, which turns floats into
   * doubles most of the time. */
  double (*sumsq_checksum)(const float *x, const float *y, size_t n, uint64_t *hash);
} dl_vector_ops;

/* The table in force. */
const dl_vector_ops *dl_vector(void);

#endif

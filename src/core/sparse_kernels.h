/* sparse_kernels.h - what sparse.c does in vectors (floor: core, private to sparse*.c). */
#ifndef DL_CORE_SPARSE_KERNELS_H
#define DL_CORE_SPARSE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A magnitude as an integer: the bits without the sign. Larger magnitudes are larger integers, NaNs the largest. */
typedef struct dl_sparse_kernels {
  /* x += scale * residual; key = magnitudes; returns the largest */
  int32_t (*join)(float *restrict x, const float *restrict residual, float scale, size_t n, int32_t *restrict key);
  /* how many keys are at least `least` */
  size_t (*count)(const int32_t *key, size_t n, int32_t least);
  /* x keeps elements whose key is at least `least`, residual gets the others times `scale`; the rest of both is 0 */
  void (*part)(float *restrict x, float *restrict residual, const int32_t *restrict key, size_t n, int32_t least,
               float scale);
} dl_sparse_kernels;

#endif

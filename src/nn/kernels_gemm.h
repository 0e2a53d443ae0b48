/* kernels_gemm.h - products of matrices by tiles of registers, for AVX2 and AVX-512 (floor: nn, private to gemm*.c).
 *
 * An element is made in runs of DL_GEMM_RUN steps of k: fused multiply-adds in the order of k from zero on, times
 * alpha, runs added in order. So its bits depend on the values and k alone: not on m, n, addresses or the instruction
 * set.
 */
#ifndef DL_NN_KERNELS_GEMM_H
#define DL_NN_KERNELS_GEMM_H

#include "nn/gemm.h"

enum { DL_GEMM_RUN = 256, DL_GEMM_WIDE = 512, DL_GEMM_TALL = 64 };
/* Floats that a product needs for its copies of B and A. */
enum { DL_GEMM_ROOM = DL_GEMM_RUN * (DL_GEMM_WIDE + DL_GEMM_TALL) };

/* C (m, n) = alpha * op(A) op(B) + bias, where it is not NULL, to every row; as dl_gemm_backend.sgemm. All of m, n, k
 * are 1 or more. */
typedef struct dl_product {
  bool trans_a, trans_b;
  dl_gemm_part part;
  int64_t m, n, k;
  float alpha;
  const float *a, *b, *bias;
  int64_t lda, ldb, ldc;
  float *c;
} dl_product;

typedef struct dl_gemm_kernels {
  void (*product)(const dl_product *p, float *room); /* room: DL_GEMM_ROOM floats at 64 bytes. NULL: not for this ISA */
} dl_gemm_kernels;

#endif

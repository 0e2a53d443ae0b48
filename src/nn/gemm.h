/* gemm.h - matrix products: one small table of functions, oneDNN where built in, OpenBLAS always (floor: nn).
 *
 * All products are row-major and run on the calling thread alone. At a fixed shape they give the same bits on every
 * call.
 */
#ifndef DL_NN_GEMM_H
#define DL_NN_GEMM_H

#include "core/status.h"

/* Which part of a product of squares is asked for, for a sequence whose steps see earlier ones alone. */
typedef enum dl_gemm_part {
  DL_GEMM_WHOLE,
  DL_GEMM_C_LOWER, /* C on and below the diagonal; what lies above may be written or not, with anything */
  DL_GEMM_A_LOWER, /* op(A) is 0 above the diagonal: op(A)(i, k) = 0 for k > i */
  DL_GEMM_A_UPPER, /* op(A) is 0 below it */
} dl_gemm_part;

typedef struct dl_gemm_backend {
  const char *name; /* "onednn", "openblas" */
  /* C (m, n) = alpha * op(A) op(B) + beta * C; op(A) is (m, k): A is (m, k), or (k, m) where trans_a. ld = row length
   * in memory. */
  void (*sgemm)(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
  /* Whether A B^T of this shape is faster as (B A^T)^T, transposing included. A rule on the shape alone; NULL: never.
   */
  bool (*better_swapped)(int64_t m, int64_t n, int64_t k);
  /* Our own tiles take products that they suit (gemm_tiles.c). */
  bool with_tiles;
  /* Forces one compute thread for the calling thread. */
  void (*one_thread)(void);
  /* "OpenBLAS 0.3.21 Cooperlake" into text. */
  void (*describe)(char *text, size_t size);
} dl_gemm_backend;

/* y (m, n) = x (m, k) W^T + bias, W (n, k) as in dense layers; bias (n) or NULL. */
void dl_gemm_affine(const dl_gemm_backend *backend, int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx,
                    const float *w, int64_t ldw, const float *bias, float *y, int64_t ldy);
/* As sgemm with beta = 0, of one part. */
void dl_gemm_product(const dl_gemm_backend *backend, dl_gemm_part part, bool trans_a, bool trans_b, int64_t m,
                     int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                     float *c, int64_t ldc);

/* The backend for compute.backend (dl_backend): auto is oneDNN where it is built in. NULL and a record where it is not
 * there. */
const dl_gemm_backend *dl_gemm_choose(int backend);

/* Warns (dl_warn) of variables in the environment that slow the backend's library down or fix its choices; `backend` is
 * a dl_backend, AUTO for all libraries. */
void dl_gemm_check_environment(int backend);

#endif

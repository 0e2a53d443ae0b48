/* gemm.c - the choice of who multiplies matrices: by configuration alone, never by a timing, which would move bits. */
#include "nn/gemm.h"

#include <stdlib.h>

#include "core/config.h"
#include "core/log.h"
#include "nn/gemm_backends.h"
#include "nn/kernels.h"

const dl_gemm_backend *dl_gemm_choose(int backend) {
  static const dl_gemm_backend *const table[] = {
#ifdef DLDIST_HAVE_ONEDNN
      [DL_BACKEND_AUTO] = &dl_gemm_onednn,
      [DL_BACKEND_ONEDNN] = &dl_gemm_onednn,
#else
      [DL_BACKEND_AUTO] = &dl_gemm_openblas,
      [DL_BACKEND_ONEDNN] = NULL,
#endif
      [DL_BACKEND_OPENBLAS] = &dl_gemm_openblas,
  };
  if (backend >= 0 && backend < (int)(sizeof table / sizeof table[0]) && table[backend]) return table[backend];
  dl_fail(DL_ERR_USAGE, "compute.backend: this dldist is built without oneDNN");
  dl_hint("use compute.backend: auto or openblas, or build with libdnnl-dev installed");
  return NULL;
}

void dl_gemm_affine(const dl_gemm_backend *backend, int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx,
                    const float *w, int64_t ldw, const float *bias, float *y, int64_t ldy) {
  const dl_product product = {false, true, DL_GEMM_WHOLE, m, n, k, 1, x, w, bias, ldx, ldw, ldy, y};
  if (backend->with_tiles && dl_gemm_tiles_suit(&product) && dl_gemm_by_tiles(&product)) return;
  backend->sgemm(false, true, m, n, k, 1, x, ldx, w, ldw, 0, y, ldy);
  if (!bias) return;
  if (ldy == n)
    dl_kernels_in_use()->bias_add(m, n, bias, y);
  else
    for (int64_t i = 0; i < m; i++) dl_kernels_in_use()->bias_add(1, n, bias, y + i * ldy);
}

/* Rows of a triangle that libraries are asked for at once. */
enum { TRIANGLE_ROWS = 64 };

void dl_gemm_product(const dl_gemm_backend *backend, dl_gemm_part part, bool trans_a, bool trans_b, int64_t m,
                     int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                     float *c, int64_t ldc) {
  const dl_product product = {trans_a, trans_b, part, m, n, k, alpha, a, b, NULL, lda, ldb, ldc, c};
  if (backend->with_tiles && dl_gemm_by_tiles(&product)) return;
  const int64_t each = part == DL_GEMM_WHOLE ? m : TRIANGLE_ROWS;
  for (int64_t row = 0; row < m; row += each) {
    const int64_t rows = m - row < each ? m - row : each, end = row + rows;
    const int64_t cols = part == DL_GEMM_C_LOWER && end < n ? end : n;
    const int64_t from = part == DL_GEMM_A_UPPER && row < k ? row : 0,
                  to = part == DL_GEMM_A_LOWER && end < k ? end : k;
    backend->sgemm(trans_a, trans_b, rows, cols, to - from, alpha, a + (trans_a ? from * lda + row : row * lda + from),
                   lda, b + (trans_b ? from : from * ldb), ldb, 0, c + row * ldc, ldc);
  }
}

/* What a variable does to the libraries where a user has it set, most of the time without knowing. */
static const struct {
  const char *variable, *effect;
  int backend; /* whom it concerns */
} watched[] = {
    {"OPENBLAS_CORETYPE", "fixes the kernels OpenBLAS uses, whatever the processor: this may halve its speed",
     DL_BACKEND_OPENBLAS},
    {"OPENBLAS_L2_SIZE", "overrides the cache size OpenBLAS plans for: this may halve its speed", DL_BACKEND_OPENBLAS},
    {"OPENBLAS_VERBOSE", "makes OpenBLAS print", DL_BACKEND_OPENBLAS},
    {"DNNL_MAX_CPU_ISA", "limits the instruction set oneDNN uses", DL_BACKEND_ONEDNN},
    {"ONEDNN_MAX_CPU_ISA", "limits the instruction set oneDNN uses", DL_BACKEND_ONEDNN},
    {"DNNL_CPU_ISA_HINTS", "changes the instructions oneDNN prefers", DL_BACKEND_ONEDNN},
    {"ONEDNN_CPU_ISA_HINTS", "changes the instructions oneDNN prefers", DL_BACKEND_ONEDNN},
    {"DNNL_VERBOSE", "makes oneDNN print", DL_BACKEND_ONEDNN},
    {"ONEDNN_VERBOSE", "makes oneDNN print", DL_BACKEND_ONEDNN},
};

void dl_gemm_check_environment(int backend) {
  for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
    const char *value = getenv(watched[i].variable);
    if (value && *value && (backend == DL_BACKEND_AUTO || backend == watched[i].backend))
      dl_warn("blas_environment", "%s=%.64s in the environment %s; unset it unless that is meant", watched[i].variable,
              value, watched[i].effect);
  }
}

/* gemm_openblas.c - matrix products by OpenBLAS; the only user of cblas.h. */
#include <cblas.h>
#include <pthread.h>
#include <stdio.h>

#include "nn/gemm_backends.h"

static void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                  const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, (blasint)m,
              (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

/* The number of threads is the process's, not the calling thread's. */
static void set_one_thread(void) { openblas_set_num_threads(1); }

static void one_thread(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_one_thread);
}

/* The build's text starts with "OpenBLAS 0.3.21 ..."; the core type is the one chosen at run time. */
static void describe(char *text, size_t size) {
  const char *config = openblas_get_config();
  int words = 0, length = 0;
  for (; config[length]; length++)
    if (config[length] == ' ' && ++words == 2) break;
  snprintf(text, size, "%.*s %s", length, config, openblas_get_corename());
}

const dl_gemm_backend dl_gemm_openblas = {
    .name = "openblas", .sgemm = sgemm, .one_thread = one_thread, .describe = describe};

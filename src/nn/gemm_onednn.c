/* gemm_onednn.c - matrix products by oneDNN, whose sgemm is row-major; the only user of dnnl.h.
 *
 * It is the faster of the two libraries where a leaf has few rows; our own tiles take what suits them better. What is
 * used here is the same in oneDNN 2.x and 3.x.
 */
#ifdef DLDIST_HAVE_ONEDNN
#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>

#include "nn/gemm_backends.h"
#include "nn/signal_guard.h"

#ifdef DLDIST_HAVE_OPENMP
#include <omp.h>
#endif

/* A product fails only where oneDNN gets no memory for its copies: the result is made NaN, which the step's verdict
 * finds. */
static void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                  const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  const dl_product product = {trans_a, trans_b, DL_GEMM_WHOLE, m, n, k, alpha, a, b, NULL, lda, ldb, ldc, c};
  if (beta == 0 && dl_gemm_tiles_suit(&product) && dl_gemm_by_tiles(&product)) return;
  sigset_t signals;
  dl_signals_hold(&signals);
  dnnl_status_t status =
      dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  dl_signals_release(&signals);
  if (status == dnnl_success) return;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) c[i * ldc + j] = NAN;
}

/* Read on AVX-512 with (n, k) = (512, 784) and (512, 512): 16 rows 75 -> 61 and 61 -> 39 us, 32 rows 121 -> 105 and
 * 100 -> 70 us, 64 rows 2 %; rows that do not fill whole vectors lose. */
static bool better_swapped(int64_t m, int64_t n, int64_t k) { return m % 16 == 0 && m <= 48 && n >= 128 && k >= 256; }

/* OpenMP keeps the number for each calling thread. */
static void one_thread(void) {
#ifdef DLDIST_HAVE_OPENMP
  omp_set_num_threads(1);
#endif
}

static const struct {
  dnnl_cpu_isa_t isa;
  const char *name;
} isas[] = {
    {dnnl_cpu_isa_sse41, "sse41"},
    {dnnl_cpu_isa_avx, "avx"},
    {dnnl_cpu_isa_avx2, "avx2"},
    {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
    {dnnl_cpu_isa_avx512_core, "avx512_core"},
    {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
    {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
    {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"},
};

static void describe(char *text, size_t size) {
  const dnnl_version_t *version = dnnl_version();
  dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
  char name[32];
  snprintf(name, sizeof name, "isa-%#x", (unsigned)isa);
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++)
    if (isas[i].isa == isa) snprintf(name, sizeof name, "%s", isas[i].name);
  snprintf(text, size, "oneDNN %d.%d.%d %s", version->major, version->minor, version->patch, name);
}

const dl_gemm_backend dl_gemm_onednn = {.name = "onednn",
                                        .sgemm = sgemm,
                                        .better_swapped = better_swapped,
                                        .with_tiles = true,
                                        .one_thread = one_thread,
                                        .describe = describe};
#else
typedef int dl_gemm_onednn_is_not_built_in;
#endif

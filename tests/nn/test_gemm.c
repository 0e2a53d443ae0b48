/* test_gemm.c - both backends against sums in float64, and the same bits wherever the operands lie. */
#include <signal.h>
#include <sys/time.h>

#include "core/log.h"
#include "nn/gemm.h"
#include "nn_fixture.h"

static const dl_gemm_backend *backends[2];
static int n_backends;

static void test_auto_is_onednn_where_it_is_built_in_and_openblas_is_always_there(void) {
  const dl_gemm_backend *best = dl_gemm_choose(DL_BACKEND_AUTO), *plain = dl_gemm_choose(DL_BACKEND_OPENBLAS);
  CU_ASSERT_PTR_NOT_NULL_FATAL(best);
  CU_ASSERT_PTR_NOT_NULL_FATAL(plain);
  CU_ASSERT_STRING_EQUAL(plain->name, "openblas");
  const dl_gemm_backend *fast = dl_gemm_choose(DL_BACKEND_ONEDNN);
  if (fast) {
    CU_ASSERT_STRING_EQUAL(fast->name, "onednn");
    CU_ASSERT_PTR_EQUAL(best, fast);
  } else {
    CU_ASSERT_PTR_EQUAL(best, plain);
    CU_ASSERT_EQUAL(dl_error_last()->status, DL_ERR_USAGE);
  }
  CU_ASSERT_PTR_NULL(dl_gemm_choose(7));
  backends[n_backends++] = plain;
  if (fast) backends[n_backends++] = fast;
}

static void test_each_backend_names_its_version_and_its_processor(void) {
  for (int b = 0; b < n_backends; b++) {
    char text[128], name[32], version[32], core[64];
    backends[b]->describe(text, sizeof text);
    CU_ASSERT_EQUAL(sscanf(text, "%31s %31s %63s", name, version, core), 3);
    CU_ASSERT_STRING_EQUAL(name, strcmp(backends[b]->name, "onednn") ? "OpenBLAS" : "oneDNN");
    int major = -1, minor = -1, patch = -1;
    CU_ASSERT_EQUAL(sscanf(version, "%d.%d.%d", &major, &minor, &patch), 3);
  }
}

/* op(X)(i, j) of a matrix with row length ld. */
static double at(const float *x, bool transposed, int64_t ld, int64_t i, int64_t j) {
  return (double)(transposed ? x[j * ld + i] : x[i * ld + j]);
}

/* Largest error over the largest sum of products, for one shape, with rows longer than the matrix. */
static double worst_error(const dl_gemm_backend *backend, bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                          float alpha, float beta) {
  const int64_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 2, ldc = n + 1;
  float *a = calloc((size_t)((ta ? k : m) * lda), sizeof *a), *b = calloc((size_t)((tb ? n : k) * ldb), sizeof *b);
  float *c = calloc((size_t)(m * ldc), sizeof *c), *c0 = calloc((size_t)(m * ldc), sizeof *c0);
  lcg g = {(uint32_t)(m * 131 + n * 17 + k)};
  for (int64_t i = 0; i < (ta ? k : m) * lda; i++) a[i] = lcg_value(&g);
  for (int64_t i = 0; i < (tb ? n : k) * ldb; i++) b[i] = lcg_value(&g);
  for (int64_t i = 0; i < m * ldc; i++) c[i] = c0[i] = lcg_value(&g);
  backend->one_thread();
  backend->sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  double worst = 0;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0, size = 1;
      for (int64_t p = 0; p < k; p++) {
        const double term = at(a, ta, lda, i, p) * at(b, tb, ldb, p, j);
        sum += term;
        size += fabs(term);
      }
      const double want = (double)alpha * sum + (double)beta * (double)c0[i * ldc + j];
      const double error = fabs((double)c[i * ldc + j] - want) / size;
      if (!(error <= worst)) worst = error;
    }
    if (c[i * ldc + n] != c0[i * ldc + n]) worst = INFINITY; /* wrote beyond its row */
  }
  free(a);
  free(b);
  free(c);
  free(c0);
  return worst;
}

static void test_products_equal_float64_sums_for_all_forms_and_odd_sizes(void) {
  static const int64_t sizes[][3] = {{1, 1, 1},   {1, 10, 33}, {7, 5, 3},     {16, 16, 16},  {17, 1, 64},
                                     {33, 65, 9}, {3, 129, 1}, {128, 10, 50}, {31, 47, 200}, {97, 83, 301}};
  for (int b = 0; b < n_backends; b++)
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
      for (int form = 0; form < 8; form++) {
        const double error = worst_error(backends[b], form & 1, form & 2, sizes[s][0], sizes[s][1], sizes[s][2],
                                         form & 4 ? -0.5f : 1.0f, form & 4 ? 2.0f : 0.0f);
        CU_ASSERT(error < 1e-6);
      }
}

/* The parts that attention asks for, y of the lower half alone where it is C's; ds and p are 0 above the diagonal. */
static void test_products_of_parts_equal_float64_sums(void) {
  enum { T = 101, SIZE = 24, LD = T + 3 };
  static float square[T * LD], tall[T * LD], c[T * LD];
  for (int b = 0; b < n_backends; b++)
    for (int part = DL_GEMM_WHOLE; part <= DL_GEMM_A_UPPER; part++) {
      const bool scores = part == DL_GEMM_C_LOWER, ta = part == DL_GEMM_A_UPPER;
      const int64_t n = scores ? T : SIZE, k = scores ? SIZE : T;
      lcg g = {9};
      for (int i = 0; i < T * LD; i++) square[i] = part > DL_GEMM_C_LOWER && i % LD > i / LD ? 0 : lcg_value(&g);
      for (int i = 0; i < T * LD; i++) tall[i] = lcg_value(&g);
      for (int i = 0; i < T * LD; i++) c[i] = NAN;
      dl_gemm_product(backends[b], (dl_gemm_part)part, ta, scores, T, n, k, 0.5f, square, LD, tall, LD, c, LD);
      double worst = 0;
      for (int64_t i = 0; i < T; i++)
        for (int64_t j = 0; j < (scores ? i + 1 : n); j++) {
          double want = 0;
          for (int64_t p = 0; p < k; p++) want += 0.5 * at(square, ta, LD, i, p) * at(tall, scores, LD, p, j);
          const double error = fabs((double)c[i * LD + j] - want);
          if (!(error <= worst)) worst = error;
        }
      CU_ASSERT(worst < 1e-5);
    }
}

static void test_an_affine_product_adds_its_offsets_to_every_row(void) {
  enum { M = 70, N = 35, K = 40, LDY = N + 2 };
  static float x[M * K], w[N * K], bias[N], y[M * LDY];
  lcg g = {3};
  for (int i = 0; i < M * K; i++) x[i] = lcg_value(&g);
  for (int i = 0; i < N * K; i++) w[i] = lcg_value(&g);
  for (int i = 0; i < N; i++) bias[i] = lcg_value(&g);
  for (int b = 0; b < n_backends; b++)
    for (int with = 0; with < 2; with++) {
      for (int i = 0; i < M * LDY; i++) y[i] = 77;
      dl_gemm_affine(backends[b], M, N, K, x, K, w, K, with ? bias : NULL, y, LDY);
      double worst = 0;
      for (int64_t i = 0; i < M; i++) {
        for (int64_t j = 0; j < N; j++) {
          double want = with ? (double)bias[j] : 0;
          for (int64_t p = 0; p < K; p++) want += (double)x[i * K + p] * (double)w[j * K + p];
          const double error = fabs((double)y[i * LDY + j] - want);
          if (!(error <= worst)) worst = error;
        }
        for (int64_t j = N; j < LDY; j++) CU_ASSERT_EQUAL(y[i * LDY + j], 77);
      }
      CU_ASSERT(worst < 1e-5);
    }
}

static void test_beta_zero_overwrites_nan(void) {
  const float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8};
  for (int k = 0; k < n_backends; k++) {
    float c[4] = {NAN, NAN, NAN, NAN};
    backends[k]->sgemm(false, false, 2, 2, 2, 1, a, 2, b, 2, 0, c, 2);
    CU_ASSERT(c[0] == 19 && c[1] == 22 && c[2] == 43 && c[3] == 50);
  }
}

/* The three products of a layer, at several distances from a page's start. */
static void test_bits_repeat_at_any_address(void) {
  enum { M = 37, N = 61, K = 113, ROOM = 8192 };
  for (int b = 0; b < n_backends; b++)
    for (int form = 0; form < 3; form++) {
      float *a = dl_calloc_aligned(ROOM + 64, 4), *x = dl_calloc_aligned(ROOM + 64, 4), *c = dl_calloc_aligned(ROOM, 4);
      float first[M * N];
      bool equal = true;
      for (int offset = 0; offset < 40; offset += 3) {
        lcg g = {5};
        for (int i = 0; i < M * K; i++) a[offset + i] = lcg_value(&g);
        for (int i = 0; i < N * K; i++) x[offset / 2 + i] = lcg_value(&g);
        const bool ta = form == 1, tb = form == 0;
        backends[b]->sgemm(ta, tb, M, N, K, 1, a + offset, ta ? M : K, x + offset / 2, tb ? K : N, 0, c + offset, N);
        if (offset == 0) memcpy(first, c, sizeof first);
        equal = equal && !memcmp(first, c + offset, sizeof first);
      }
      CU_ASSERT_TRUE(equal);
      free(a);
      free(x);
      free(c);
    }
}

static char warned[4][256];
static int warnings;
static void sink(void *context, const char *code, const char *message) {
  (void)context;
  CU_ASSERT_STRING_EQUAL(code, "blas_environment");
  if (warnings < 4) snprintf(warned[warnings], sizeof warned[0], "%s", message);
  warnings++;
}

static void test_a_variable_that_slows_a_library_down_is_warned_about(void) {
  static const char *const all[] = {"OPENBLAS_CORETYPE",    "OPENBLAS_L2_SIZE",   "OPENBLAS_VERBOSE",
                                    "DNNL_MAX_CPU_ISA",     "ONEDNN_MAX_CPU_ISA", "DNNL_CPU_ISA_HINTS",
                                    "ONEDNN_CPU_ISA_HINTS", "DNNL_VERBOSE",       "ONEDNN_VERBOSE"};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) unsetenv(all[i]);
  dl_log_set_sink(sink, NULL);
  dl_gemm_check_environment(DL_BACKEND_AUTO);
  CU_ASSERT_EQUAL(warnings, 0);
  setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  setenv("OPENBLAS_L2_SIZE", "", 1); /* set, but to nothing */
  dl_gemm_check_environment(DL_BACKEND_AUTO);
  CU_ASSERT_EQUAL(warnings, 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(warned[0], "OPENBLAS_CORETYPE=Haswell"));
  dl_log_set_sink(NULL, NULL);
}

static volatile sig_atomic_t signals_seen;
static void on_alarm(int number) {
  (void)number;
  signals_seen++;
}

/* A handler's frame below the stack pointer must not meet data that a product keeps there. */
static void products_under_signals(const dl_gemm_backend *backend, int64_t m, int64_t n, int64_t k) {
  float *a = calloc((size_t)(m * k), sizeof *a), *b = calloc((size_t)(n * k), sizeof *b);
  float *quiet = calloc((size_t)(m * n), sizeof *quiet), *loud = calloc((size_t)(m * n), sizeof *loud);
  lcg g = {(uint32_t)(m + n + k)};
  for (int64_t i = 0; i < m * k; i++) a[i] = lcg_value(&g);
  for (int64_t i = 0; i < n * k; i++) b[i] = lcg_value(&g);
  backend->one_thread();
  backend->sgemm(false, false, m, n, k, 1, a, k, b, n, 0, quiet, n);
  struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, NULL);
  bool same = true;
  for (int before = signals_seen; signals_seen < before + 2500;) {
    void *neighbour = malloc(700);
    backend->sgemm(false, false, m, n, k, 1, a, k, b, n, 0, loud, n);
    same = same && !memcmp(quiet, loud, (size_t)(m * n) * sizeof *quiet);
    free(neighbour);
  }
  setitimer(ITIMER_REAL, &never, NULL);
  CU_ASSERT_TRUE(same);
  free(a);
  free(b);
  free(quiet);
  free(loud);
}

static void test_products_keep_their_bits_while_signals_arrive(void) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, before;
  sigemptyset(&action.sa_mask);
  sigaction(SIGALRM, &action, &before);
  for (int i = 0; i < n_backends; i++) {
    products_under_signals(backends[i], 16, 784, 256);
  }
  sigaction(SIGALRM, &before, NULL);
}

static const dl_test tests[] = {
    DL_TEST(test_auto_is_onednn_where_it_is_built_in_and_openblas_is_always_there),
    DL_TEST(test_each_backend_names_its_version_and_its_processor),
    DL_TEST(test_products_equal_float64_sums_for_all_forms_and_odd_sizes),
    DL_TEST(test_products_of_parts_equal_float64_sums),
    DL_TEST(test_an_affine_product_adds_its_offsets_to_every_row),
    DL_TEST(test_beta_zero_overwrites_nan),
    DL_TEST(test_bits_repeat_at_any_address),
    DL_TEST(test_products_keep_their_bits_while_signals_arrive),
    DL_TEST(test_a_variable_that_slows_a_library_down_is_warned_about),
};
DL_TEST_MAIN("gemm", tests)

/* test_kernels.c - every kernel against float64 of the C library, and the same bits from every instruction set. */
#include "core/isa.h"
#include "nn/kernels.h"
#include "nn_fixture.h"

DL_ISA_DECLARE(dl_kernels, dl_kernel_table);

static const dl_kernels *tables[3];
static int n_tables;

/* The tables that this processor can run, up to the best. */
static void find_tables(void) {
  n_tables = 0;
  tables[n_tables++] = &dl_kernel_table_base;
#if defined(__x86_64__)
  if (dl_isa_in_use() >= DL_ISA_AVX2) tables[n_tables++] = &dl_kernel_table_avx2;
  if (dl_isa_in_use() >= DL_ISA_AVX512) tables[n_tables++] = &dl_kernel_table_avx512;
#endif
}

static uint32_t bits(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}

/* Distance of `got` from `want` in units of the last place of want rounded to float (below 2^-126 those of 2^-149). */
static double ulps(float got, double want) {
  if (isnan(want)) return isnan(got) ? 0 : INFINITY;
  if (fabs(want) > 0x1.ffffffp127) return isinf(got) && signbit(got) == signbit(want) ? 0 : INFINITY;
  if (!isfinite(got)) return INFINITY;
  int exponent;
  frexp(want, &exponent);
  if (want == 0 || exponent < -125) exponent = -125;
  return fabs((double)got - want) / ldexp(1, exponent - 24);
}

typedef void unary_fn(size_t n, const float *x, float *y);

/* The worst error over the finite floats, by steps through all bit patterns, and over the special values. */
static double worst_over_all_floats(unary_fn *f, double (*reference)(double)) {
  enum { N = 4096 };
  float x[N], y[N];
  const float special[] = {0.0f,        -0.0f,           INFINITY,         -INFINITY,  NAN,       0x1p-149f,
                           -0x1p-149f,  0x1.fffffep127f, -0x1.fffffep127f, 88.72283f,  88.72284f, -87.33654f,
                           -103.97207f, -103.97209f,     0.625f,           0.62499994f};
  double worst = 0;
  for (uint64_t u = 0; u < 0x100000000u;) {
    for (int i = 0; i < N; i++, u += 1021) {
      const uint32_t pattern = (uint32_t)(u < 0x100000000u ? u : 0);
      memcpy(&x[i], &pattern, 4);
    }
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) x[i * 17] = special[i];
    f(N, x, y);
    for (int i = 0; i < N; i++) {
      const double error = ulps(y[i], reference((double)x[i]));
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

/* The range that matters, more densely. */
static double worst_within(unary_fn *f, double (*reference)(double), float limit) {
  enum { N = 65536 };
  static float x[N], y[N];
  double worst = 0;
  lcg g = {3};
  for (int round = 0; round < 8; round++) {
    for (int i = 0; i < N; i++) x[i] = limit * lcg_value(&g);
    f(N, x, y);
    for (int i = 0; i < N; i++) {
      const double error = ulps(y[i], reference((double)x[i]));
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

static double sigmoid64(double x) { return 1 / (1 + exp(-x)); }

static void test_exp_sigmoid_and_tanh_are_near_float64_over_the_whole_range(void) {
  find_tables();
  const dl_kernels *k = tables[n_tables - 1];
  CU_ASSERT(worst_over_all_floats(k->exp, exp) <= 1.0);
  CU_ASSERT(worst_within(k->exp, exp, 104) <= 1.0);
  CU_ASSERT(worst_over_all_floats(k->sigmoid, sigmoid64) <= 3.0);
  CU_ASSERT(worst_within(k->sigmoid, sigmoid64, 20) <= 3.0);
  CU_ASSERT(worst_over_all_floats(k->tanh, tanh) <= 3.0);
  CU_ASSERT(worst_within(k->tanh, tanh, 3) <= 3.0);
  printf("(ulp: exp %.2f sigmoid %.2f tanh %.2f) ", worst_within(k->exp, exp, 104),
         worst_within(k->sigmoid, sigmoid64, 20), worst_within(k->tanh, tanh, 3));
}

/* ---- the same bits from all tables ---- */

enum { ROWS = 5, COLS = 203, N = ROWS * COLS };
typedef struct field {
  float a[N], b[N], c[N], d[N];
  double loss;
} field;

static void fill(field *f) {
  lcg g = {77};
  for (int i = 0; i < N; i++) f->a[i] = 6 * lcg_value(&g);
  for (int i = 0; i < N; i++) f->b[i] = lcg_value(&g);
  for (int i = 0; i < N; i++) f->c[i] = lcg_value(&g) * 0.1f;
  for (int i = 0; i < N; i++) f->d[i] = fabsf(lcg_value(&g)) * 0.01f;
  f->a[9] = NAN;
  f->a[11] = INFINITY;
  f->a[300] = -INFINITY;
  f->loss = 0;
}

static void run_unary(const dl_kernels *k, field *f) {
  k->exp(N, f->a, f->b);
  k->sigmoid(N, f->a, f->c);
  k->tanh(N, f->a, f->d);
}
static void run_backward(const dl_kernels *k, field *f) {
  k->relu(N, f->a, f->a);
  k->relu_backward(N, f->a, f->b, f->b);
  k->sigmoid_backward(N, f->a, f->c, f->c);
  k->tanh_backward(N, f->a, f->d, f->d);
}
static void run_rows(const dl_kernels *k, field *f) {
  k->softmax(ROWS, COLS, f->b, f->b);
  k->softmax_backward(ROWS, COLS, f->b, f->c, f->c);
  k->bias_add(ROWS, COLS, f->c, f->d);
  k->column_sums(ROWS, COLS, f->d, f->a);
  k->transpose_bias(ROWS, COLS, f->a, f->c, f->b);
  k->multiply(N - 1, f->b, f->d, f->d);
}
static void run_losses(const dl_kernels *k, field *f) {
  f->loss += k->cross_entropy_row(COLS, f->b, 17, 0.1f, 0.7f, f->a);
  f->loss += k->cross_entropy_row(10, f->b, 3, 0, 1, f->a + COLS);
  f->loss += k->weighted_cross_entropy_row(COLS, f->b, 17, f->c, 0.1f, 0.7f, f->d + 2 * COLS);
  f->loss += k->weighted_cross_entropy_row(COLS, f->b, 3, f->c + COLS, 0, 1, NULL);
  f->loss += k->bce_row(COLS, f->b, f->c, 1.5f, f->a + 2 * COLS);
  f->loss += k->mse_row(COLS, f->b, f->c, 1.5f, f->a + 3 * COLS);
  f->loss += k->mae_row(COLS, f->b, f->c, 1.5f, f->a + 4 * COLS);
  f->loss += k->huber_row(COLS, f->b, f->c, 0.5f, 1.5f, f->d);
}
static void run_random(const dl_kernels *k, field *f) {
  uint32_t words[301];
  k->random_words(301, (dl_rng_key){{1, 2}}, 3, 4, words);
  memcpy(f->a, words, sizeof words);
  k->random_mask(COLS, (dl_rng_key){{1, 2}}, 3, 5, 1u << 22, 1.25f, f->b);
}

static void test_all_instruction_sets_give_the_same_bits(void) {
  static void (*const runs[])(const dl_kernels *, field *) = {run_unary, run_backward, run_rows, run_losses,
                                                              run_random};
  static field first, other;
  find_tables();
  for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++)
    for (int t = 0; t < n_tables; t++) {
      field *f = t ? &other : &first;
      memset(f, 0, sizeof *f);
      fill(f);
      runs[r](tables[t], f);
      for (int i = 0; i < N; i++) { /* which NaN it is does not matter */
        if (isnan(f->a[i])) f->a[i] = NAN;
        if (isnan(f->b[i])) f->b[i] = NAN;
        if (isnan(f->c[i])) f->c[i] = NAN;
        if (isnan(f->d[i])) f->d[i] = NAN;
      }
      if (t) CU_ASSERT(!memcmp(&first, &other, sizeof first));
    }
  printf("(%d instruction sets) ", n_tables);
}

static void test_element_wise_kernels_have_the_same_bits_at_any_length_and_in_place(void) {
  float x[70], y[70], z[70];
  lcg g = {4};
  for (int i = 0; i < 70; i++) x[i] = 3 * lcg_value(&g);
  find_tables();
  for (int t = 0; t < n_tables; t++) {
    unary_fn *const functions[] = {tables[t]->exp, tables[t]->sigmoid, tables[t]->tanh, tables[t]->relu};
    for (int f = 0; f < 4; f++) {
      functions[f](70, x, y);
      bool equal = true;
      for (size_t n = 0; n <= 70; n++) {
        memcpy(z, x, sizeof z);
        functions[f](n, z, z);
        equal = equal && !memcmp(z, y, n * sizeof *z) && !memcmp(z + n, x + n, (70 - n) * sizeof *z);
      }
      CU_ASSERT_TRUE(equal);
    }
  }
}

/* ---- against float64 ---- */

static void test_relu_lets_nan_through(void) {
  const float x[4] = {NAN, -1, 0, 2}, dy[4] = {5, 6, 7, 8};
  float y[4], dx[4];
  dl_kernels_in_use()->relu(4, x, y);
  CU_ASSERT(isnan(y[0]) && y[1] == 0 && y[2] == 0 && y[3] == 2);
  dl_kernels_in_use()->relu_backward(4, y, dy, dx);
  CU_ASSERT(dx[0] == 5 && dx[1] == 0 && dx[2] == 0 && dx[3] == 8);
}

static void test_softmax_rows_equal_float64_and_survive_large_logits(void) {
  float x[3 * 37], y[3 * 37];
  lcg g = {8};
  for (int i = 0; i < 3 * 37; i++) x[i] = (i / 37 == 1 ? 1e4f : 5.0f) * lcg_value(&g);
  dl_kernels_in_use()->softmax(3, 37, x, y);
  for (int r = 0; r < 3; r++) {
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < 37; i++) most = fmax(most, (double)x[r * 37 + i]);
    for (int i = 0; i < 37; i++) sum += exp((double)x[r * 37 + i] - most);
    for (int i = 0; i < 37; i++)
      CU_ASSERT_DOUBLE_EQUAL((double)y[r * 37 + i], exp((double)x[r * 37 + i] - most) / sum, 3e-7);
  }
}

static void test_column_sums_add_rows_in_order(void) {
  for (int64_t cols = 1; cols < 200; cols += 33) {
    float x[11 * 200], got[200];
    lcg g = {(uint32_t)cols};
    for (int64_t i = 0; i < 11 * cols; i++) x[i] = lcg_value(&g);
    dl_kernels_in_use()->column_sums(11, cols, x, got);
    for (int64_t c = 0; c < cols; c++) {
      float sum = 0;
      for (int64_t r = 0; r < 11; r++) sum += x[r * cols + c];
      CU_ASSERT_EQUAL(bits(got[c]), bits(sum));
    }
  }
}

static void test_transposing_adds_the_bias_and_moves_every_element(void) {
  enum { MOST = 48 * 37 };
  static float x[MOST], y[MOST], bias[48];
  lcg g = {6};
  for (int i = 0; i < MOST; i++) x[i] = lcg_value(&g);
  for (int i = 0; i < 48; i++) bias[i] = lcg_value(&g);
  for (int64_t rows = 1; rows <= 37; rows += 12)
    for (int64_t cols = 1; cols <= 48; cols++)
      for (int with = 0; with < 2; with++) {
        bool equal = true;
        dl_kernels_in_use()->transpose_bias(rows, cols, x, with ? bias : NULL, y);
        for (int64_t r = 0; r < rows; r++)
          for (int64_t c = 0; c < cols; c++) equal = equal && y[r * cols + c] == x[c * rows + r] + (with ? bias[c] : 0);
        CU_ASSERT_TRUE(equal);
      }
}

static void test_random_words_are_those_of_the_generator(void) {
  const dl_rng_key key = dl_rng_stream(42, DL_RNG_DROPOUT, 3);
  find_tables();
  for (int t = 0; t < n_tables; t++)
    for (size_t n = 1; n < 300; n += 23) {
      uint32_t words[300];
      bool equal = true;
      tables[t]->random_words(n, key, 9, 0x123456789ull, words);
      for (size_t i = 0; i < n; i++) equal = equal && words[i] == dl_rng_word(key, 9, 0x123456789ull, i);
      CU_ASSERT_TRUE(equal);
    }
}

static void test_mask_keeps_what_lies_at_or_above_the_threshold(void) {
  const dl_rng_key key = dl_rng_stream(1, DL_RNG_DROPOUT, 0);
  float mask[1000];
  dl_kernels_in_use()->random_mask(1000, key, 2, 3, (uint32_t)(0.3 * 0x1p24), 10.0f / 7, mask);
  int kept = 0;
  bool equal = true;
  for (size_t i = 0; i < 1000; i++) {
    const bool keep = (double)dl_rng_to_unit(dl_rng_word(key, 2, 3, i)) >= floor(0.3 * 0x1p24) * 0x1p-24;
    equal = equal && mask[i] == (keep ? 10.0f / 7 : 0.0f);
    kept += keep;
  }
  CU_ASSERT_TRUE(equal);
  CU_ASSERT(kept > 640 && kept < 760);
}

/* Loss of a row from its definition. */
static double cross_entropy64(int n, const float *x, int label, double smoothing) {
  double sum = 0, loss = 0;
  for (int i = 0; i < n; i++) sum += exp((double)x[i]);
  for (int i = 0; i < n; i++) loss -= ((i == label ? 1 - smoothing : 0) + smoothing / n) * ((double)x[i] - log(sum));
  return loss;
}

static void test_losses_of_a_row_equal_their_definition_with_and_without_gradient(void) {
  const dl_kernels *k = dl_kernels_in_use();
  for (int n = 1; n < 3000; n = n * 3 + 1) {
    static float x[3000], y[3000], gradient[3000];
    lcg g = {(uint32_t)n};
    for (int i = 0; i < n; i++) x[i] = 4 * lcg_value(&g);
    for (int i = 0; i < n; i++) y[i] = lcg_value(&g) > 0 ? 1.0f : 0.0f;
    double bce = 0, mse = 0, mae = 0, huber = 0;
    for (int i = 0; i < n; i++) {
      const double p = sigmoid64((double)x[i]), d = (double)x[i] - (double)y[i];
      bce -= y[i] > 0 ? log(p) : log(1 - p);
      mse += d * d;
      mae += fabs(d);
      huber += fabs(d) < 1.5 ? d * d / 2 : 1.5 * (fabs(d) - 0.75);
    }
    const double ce = cross_entropy64(n, x, n / 2, 0.1), scale = 1e-6;
    for (int with = 0; with < 2; with++) {
      float *at = with ? gradient : NULL;
      CU_ASSERT_DOUBLE_EQUAL(k->cross_entropy_row(n, x, n / 2, 0.1f, 2, at), ce, scale * (1 + ce));
      CU_ASSERT_DOUBLE_EQUAL(k->bce_row(n, x, y, 2, at), bce, scale * (1 + bce));
      CU_ASSERT_DOUBLE_EQUAL(k->mse_row(n, x, y, 2, at), mse, scale * mse);
      CU_ASSERT_DOUBLE_EQUAL(k->mae_row(n, x, y, 2, at), mae, scale * mae);
      CU_ASSERT_DOUBLE_EQUAL(k->huber_row(n, x, y, 1.5f, 2, at), huber, scale * (1 + huber));
    }
    CU_ASSERT(k->cross_entropy_row(n, x, 0, 0.1f, 1, NULL) == k->cross_entropy_row(n, x, 0, 0.1f, 1, gradient));
  }
}

static const dl_test tests[] = {
    DL_TEST(test_exp_sigmoid_and_tanh_are_near_float64_over_the_whole_range),
    DL_TEST(test_all_instruction_sets_give_the_same_bits),
    DL_TEST(test_element_wise_kernels_have_the_same_bits_at_any_length_and_in_place),
    DL_TEST(test_relu_lets_nan_through),
    DL_TEST(test_softmax_rows_equal_float64_and_survive_large_logits),
    DL_TEST(test_column_sums_add_rows_in_order),
    DL_TEST(test_transposing_adds_the_bias_and_moves_every_element),
    DL_TEST(test_random_words_are_those_of_the_generator),
    DL_TEST(test_mask_keeps_what_lies_at_or_above_the_threshold),
    DL_TEST(test_losses_of_a_row_equal_their_definition_with_and_without_gradient),
};
DL_TEST_MAIN("kernels", tests)

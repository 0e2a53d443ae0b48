/* test_kernels_seq.c - kernels of sequence layers: near float64, the same bits from all instruction sets, and the rules
 * of single rows. */
#include <float.h>

#include "core/isa.h"
#include "nn/kernels_seq.h"
#include "nn_fixture.h"

DL_ISA_DECLARE(dl_seq_kernels, dl_seq_kernel_table);

static const dl_seq_kernels *tables[3];
static int n_tables;

static void find_tables(void) {
  n_tables = 0;
  tables[n_tables++] = &dl_seq_kernel_table_base;
#if defined(__x86_64__)
  if (dl_isa_in_use() >= DL_ISA_AVX2) tables[n_tables++] = &dl_seq_kernel_table_avx2;
  if (dl_isa_in_use() >= DL_ISA_AVX512) tables[n_tables++] = &dl_seq_kernel_table_avx512;
#endif
}

/* ---- functions of one number, against float64 ---- */

static double normal(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }
static double density(double x) { return exp(-x * x / 2) / sqrt(2 * M_PI); }
static double sigmoid64(double x) { return 1 / (1 + exp(-x)); }
static double tanh_argument(double x) { return sqrt(2 / M_PI) * (x + 0.044715 * x * x * x); }

static double leaky_relu64(double x, double p) { return x < 0 ? p * x : x; }
static double leaky_relu_slope64(double x, double p) { return x > 0 ? 1 : p; }
static double elu64(double x, double p) { return x > 0 ? x : p * expm1(x); }
static double elu_slope64(double x, double p) { return x > 0 ? 1 : p * exp(x); }
static double gelu64(double x, double p) { return (void)p, x * normal(x); }
static double gelu_slope64(double x, double p) { return (void)p, normal(x) + x * density(x); }
static double gelu_tanh64(double x, double p) { return (void)p, 0.5 * x * (1 + tanh(tanh_argument(x))); }
static double gelu_tanh_slope64(double x, double p) {
  (void)p;
  const double t = tanh(tanh_argument(x)), d = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * d;
}
static double silu64(double x, double p) { return (void)p, x * sigmoid64(x); }
static double silu_slope64(double x, double p) {
  (void)p;
  return sigmoid64(x) * (1 + x * (1 - sigmoid64(x)));
}
static double softplus64(double x, double p) { return fmax(x, 0) + log1p(exp(-fabs(p * x))) / p; }
static double softplus_slope64(double x, double p) { return sigmoid64(p * x); }

enum { PIECE = 4096 };

/* Error in ulp, or over `scale` where that is given: for results that are differences of larger numbers. */
static double error_of(float got, double want, double scale) {
  const double unit = scale > 0 ? scale * 0x1p-24 : fmax(fabs(want) * 0x1p-24, (double)FLT_TRUE_MIN);
  return fabs((double)got - want) / unit;
}

typedef struct unary {
  const char *name;
  size_t function, slope; /* offsets in the table */
  double (*value64)(double x, double p), (*slope64)(double x, double p);
  float p;
  double scaled; /* > 0: errors are over max(|x|, this) */
  double most;   /* half ulps */
} unary;
#define ROW(f, p, scaled, most) \
  { #f, offsetof(dl_seq_kernels, f), offsetof(dl_seq_kernels, f##_backward), f##64, f##_slope64, p, scaled, most }
static const unary functions[] = {
    ROW(leaky_relu, 0.1f, 0, 2), ROW(elu, 1.25f, 0, 6),  ROW(gelu, 0, 0.25, 4),       ROW(gelu_tanh, 0, 0.25, 8),
    ROW(silu, 0, 0, 8),          ROW(softplus, 1, 0, 6), ROW(softplus, 2.5f, 0, 160), /* beta x is rounded, which moves
                                                                                         e^-150 by 2^-17 */
};
enum { N_FUNCTIONS = sizeof functions / sizeof functions[0] };

static dl_activation_fn *function_of(const dl_seq_kernels *k, const unary *f) {
  dl_activation_fn *found;
  memcpy(&found, (const char *)k + f->function, sizeof found);
  return found;
}
static dl_activation_slope_fn *slope_of(const dl_seq_kernels *k, const unary *f) {
  dl_activation_slope_fn *found;
  memcpy(&found, (const char *)k + f->slope, sizeof found);
  return found;
}

static void test_activations_and_their_slopes_are_near_float64(void) {
  static float x[PIECE], y[PIECE], dx[PIECE], ones[PIECE];
  find_tables();
  for (int i = 0; i < PIECE; i++) ones[i] = 1;
  for (int f = 0; f < N_FUNCTIONS; f++) {
    const unary *u = &functions[f];
    const double p = (double)u->p;
    double worst = 0, worst_slope = 0;
    lcg g = {7};
    for (int round = 0; round < 32; round++) {
      for (int i = 0; i < PIECE; i++) x[i] = (round % 4 == 0 ? 60.0f : round % 4 == 1 ? 1e-3f : 6.0f) * lcg_value(&g);
      function_of(tables[n_tables - 1], u)(PIECE, u->p, x, y);
      slope_of(tables[n_tables - 1], u)(PIECE, u->p, x, ones, dx);
      for (int i = 0; i < PIECE; i++) {
        const double at = (double)x[i], scale = u->scaled > 0 ? fmax(fabs(at), u->scaled) : 0;
        worst = fmax(worst, error_of(y[i], u->value64(at, p), scale));
        worst_slope = fmax(worst_slope, error_of(dx[i], u->slope64(at, p), fmax(1, fabs(at) / 4)));
      }
    }
    if (!(worst <= u->most && worst_slope <= 10))
      fprintf(stderr, "%s: %.2f half ulp, slope %.2f\n", u->name, worst, worst_slope);
    CU_ASSERT(worst <= u->most);
    CU_ASSERT(worst_slope <= 10);
  }
}

static void test_activations_let_nan_through_and_keep_their_limits(void) {
  const float x[4] = {NAN, 1e30f, -1e30f, -200};
  float y[4];
  find_tables();
  for (int f = 0; f < N_FUNCTIONS; f++) {
    function_of(tables[n_tables - 1], &functions[f])(4, functions[f].p, x, y);
    CU_ASSERT(isnan(y[0]));
    CU_ASSERT_EQUAL(y[1], 1e30f);
    if (f) CU_ASSERT_EQUAL(y[3], functions[f].function == offsetof(dl_seq_kernels, elu) ? -1.25f : 0.0f);
  }
}

/* ---- the same bits from all tables ---- */

enum { ROWS = 5, COLS = 60, N = ROWS * COLS };
typedef struct field {
  float a[N], b[N], c[N], d[N], e[N], f[N];
} field;

static void fill(field *s) {
  lcg g = {77};
  float *all[] = {s->a, s->b, s->c, s->d, s->e, s->f};
  for (int k = 0; k < 6; k++)
    for (int i = 0; i < N; i++) all[k][i] = (k % 2 ? 1.0f : 4.0f) * lcg_value(&g);
}

static void run_activations(const dl_seq_kernels *k, field *s) {
  for (int f = 0; f < N_FUNCTIONS; f++) {
    function_of(k, &functions[f])(N, functions[f].p, s->a, s->b);
    slope_of(k, &functions[f])(N, functions[f].p, s->a, s->c, s->c);
    for (int i = 0; i < N; i++) s->d[i] += s->b[i];
  }
}
static void run_rows(const dl_seq_kernels *k, field *s) {
  k->layernorm(ROWS, COLS - 1, 1e-5f, s->b, s->c, s->a, s->d, s->e);
  k->layernorm_backward(ROWS, COLS - 1, s->b, s->a, s->e, s->c, s->f, s->d, s->d + COLS);
  k->layernorm(ROWS, COLS - 1, 1e-5f, NULL, NULL, s->f, s->b, s->e);
  k->layernorm_backward(ROWS, COLS - 1, NULL, s->f, s->e, s->c, s->b, NULL, NULL);
  k->attend(ROWS, 37, COLS, 11, NULL, s->a);
  k->attend(ROWS, 37, COLS, 37, s->d, s->c);
  k->attend_backward(ROWS, 37, COLS, 11, s->a, s->c);
}
static void run_cells(const dl_seq_kernels *k, field *s) {
  enum { H = 15 }; /* gates (ROWS, 4 H) fill a field */
  k->lstm(ROWS, H, s->a, s->b, s->c, s->d, s->e);
  k->lstm_backward(ROWS, H, s->a, s->b, s->d, s->e, s->f, s->c);
  k->gru(ROWS, H, s->b, s->a, s->f, s->d);
  k->gru_backward(ROWS, H, s->b, s->a, s->f, s->d, s->e);
  k->rnn_backward(N, 0, s->a, s->b, s->c, s->d);
  k->rnn_backward(N, 1, s->a, s->b, s->c, s->e);
}

static void test_all_instruction_sets_give_the_same_bits(void) {
  static void (*const runs[])(const dl_seq_kernels *, field *) = {run_activations, run_rows, run_cells};
  static field first, other;
  find_tables();
  for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++)
    for (int t = 0; t < n_tables; t++) {
      field *s = t ? &other : &first;
      fill(s);
      runs[r](tables[t], s);
      if (t) CU_ASSERT(!memcmp(&first, &other, sizeof first));
    }
  printf("(%d instruction sets) ", n_tables);
}

static void test_element_wise_kernels_have_the_same_bits_at_any_length_and_in_place(void) {
  float x[70], y[70], z[70];
  lcg g = {4};
  for (int i = 0; i < 70; i++) x[i] = 3 * lcg_value(&g);
  find_tables();
  for (int t = 0; t < n_tables; t++)
    for (int f = 0; f < N_FUNCTIONS; f++) {
      dl_activation_fn *run = function_of(tables[t], &functions[f]);
      run(70, functions[f].p, x, y);
      bool equal = true;
      for (size_t n = 0; n <= 70; n++) {
        memcpy(z, x, sizeof z);
        run(n, functions[f].p, z, z);
        equal = equal && !memcmp(z, y, n * sizeof *z) && !memcmp(z + n, x + n, (70 - n) * sizeof *z);
      }
      CU_ASSERT_TRUE(equal);
    }
}

/* ---- attention's softmax ---- */

static void test_a_row_attends_to_what_it_may_see_and_to_no_hidden_key(void) {
  enum { T = 9, LD = 12 };
  float scores[T * LD], keys[T] = {0}, before[T * LD];
  lcg g = {8};
  keys[2] = keys[5] = -INFINITY;
  for (int i = 0; i < T * LD; i++) before[i] = scores[i] = 30 * lcg_value(&g);
  dl_seq_kernels_in_use()->attend(T, T, LD, 1, keys, scores);
  for (int r = 0; r < T; r++) {
    double sum = 0, all = 0;
    for (int c = 0; c <= r; c++) sum += keys[c] < 0 ? 0 : exp((double)before[r * LD + c]);
    for (int c = 0; c < T; c++) {
      const double want = c > r || keys[c] < 0 ? 0 : exp((double)before[r * LD + c]) / sum;
      CU_ASSERT_DOUBLE_EQUAL((double)scores[r * LD + c], want, 1e-6);
      all += (double)scores[r * LD + c];
    }
    CU_ASSERT_DOUBLE_EQUAL(all, 1, 1e-6);
    for (int c = T; c < LD; c++) CU_ASSERT_EQUAL(scores[r * LD + c], before[r * LD + c]);
  }
}

/* What lies beyond the seen keys may be anything, NaN included. */
static void test_gradients_of_scores_see_no_further_than_scores(void) {
  enum { T = 37, LD = 40 };
  float p[T * LD], dp[T * LD];
  lcg g = {4};
  for (int i = 0; i < T * LD; i++) {
    p[i] = i % LD <= i / LD ? lcg_value(&g) : 0;
    dp[i] = i % LD <= i / LD ? lcg_value(&g) : NAN;
  }
  float before[T * LD];
  memcpy(before, dp, sizeof dp);
  dl_seq_kernels_in_use()->attend_backward(T, T, LD, 1, p, dp);
  for (int r = 0; r < T; r++) {
    double dot = 0;
    for (int c = 0; c <= r; c++) dot += (double)p[r * LD + c] * (double)before[r * LD + c];
    for (int c = 0; c <= r; c++)
      CU_ASSERT_DOUBLE_EQUAL((double)dp[r * LD + c], (double)p[r * LD + c] * ((double)before[r * LD + c] - dot), 1e-6);
    for (int c = r + 1; c < T; c++) CU_ASSERT_EQUAL(dp[r * LD + c], 0);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_activations_and_their_slopes_are_near_float64),
    DL_TEST(test_activations_let_nan_through_and_keep_their_limits),
    DL_TEST(test_all_instruction_sets_give_the_same_bits),
    DL_TEST(test_element_wise_kernels_have_the_same_bits_at_any_length_and_in_place),
    DL_TEST(test_a_row_attends_to_what_it_may_see_and_to_no_hidden_key),
    DL_TEST(test_gradients_of_scores_see_no_further_than_scores),
};
DL_TEST_MAIN("kernels_seq", tests)

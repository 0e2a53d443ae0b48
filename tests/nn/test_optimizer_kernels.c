/* Kernels of optimizers: the same bits on every instruction set and at every length, and penalties against their
 * definition. Whole steps against PyTorch are in tests/train. */
#include "core/isa.h"
#include "nn/optimizer_kernels.h"
#include "nn_fixture.h"

DL_ISA_DECLARE(dl_optimizer_kernels, dl_optimizer_kernel_table);

enum { N = 70 };

typedef struct field {
  float w[N], g[N], a[N], b[N], c[N];
} field;

static void fill(field *f) {
  lcg g = {99};
  for (int i = 0; i < N; i++) {
    f->w[i] = lcg_value(&g);
    f->g[i] = 3 * lcg_value(&g);
    f->a[i] = fabsf(lcg_value(&g)); /* squares come here, means of gradients there: a >= b^2 */
    f->b[i] = 0.1f * lcg_value(&g) * f->a[i];
    f->c[i] = lcg_value(&g);
  }
  f->w[3] = f->w[40] = 0;
}

static const dl_sgd_step sgd_step = {.lr = 0.1f, .momentum = 0.9f, .decay = 0.01f};
static const dl_sgd_step nesterov_step = {.lr = 0.1f, .momentum = 0.9f, .decay = 0.01f, .nesterov = true};
static const dl_adam_step adam_step = {0.999f, 0.01f, 0.9f, 0.1f, 0.999f, 0.001f, 0.003f, 3.3f, 1e-8f};
static const dl_adagrad_step adagrad_step = {0.1f, 0.01f, 1e-10f, 0.1f};
static const dl_rmsprop_step rmsprop_step = {0.1f, 0.01f, 0.9f, 0.1f, 1e-3f, 0.9f};
static const dl_lamb_step lamb_step = {0.9f, 0.1f, 0.999f, 0.001f, 2.3f, 3.3f, 1e-6f, 0.01f};

typedef void (*runner)(const dl_optimizer_kernels *k, size_t n, field *f);
static void run_penalise(const dl_optimizer_kernels *k, size_t n, field *f) { k->penalise(0.3f, 0.7f, n, f->w, f->g); }
static void run_sgd(const dl_optimizer_kernels *k, size_t n, field *f) { k->sgd(&sgd_step, n, f->w, f->g); }
static void run_momentum(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->sgd_momentum(&sgd_step, n, f->w, f->g, f->c);
}
static void run_nesterov(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->sgd_momentum(&nesterov_step, n, f->w, f->g, f->c);
}
static void run_adam(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->adam(&adam_step, n, f->w, f->g, f->c, f->a);
}
static void run_adagrad(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->adagrad(&adagrad_step, n, f->w, f->g, f->a);
}
static void run_rmsprop(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->rmsprop(&rmsprop_step, n, f->w, f->g, f->a, NULL, NULL);
}
static void run_rmsprop_momentum(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->rmsprop(&rmsprop_step, n, f->w, f->g, f->a, f->c, NULL);
}
static void run_rmsprop_centered(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->rmsprop(&rmsprop_step, n, f->w, f->g, f->a, NULL, f->b);
}
static void run_rmsprop_both(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->rmsprop(&rmsprop_step, n, f->w, f->g, f->a, f->c, f->b);
}
static void run_lars(const dl_optimizer_kernels *k, size_t n, field *f) { k->lars(&sgd_step, n, f->w, f->g, f->c); }
static void run_lamb(const dl_optimizer_kernels *k, size_t n, field *f) {
  k->lamb_update(&lamb_step, n, f->w, f->g, f->c, f->a);
}
static void run_subtract(const dl_optimizer_kernels *k, size_t n, field *f) { k->subtract(0.3f, n, f->w, f->g); }

static const runner runs[] = {
    run_penalise, run_sgd,     run_momentum,         run_nesterov,         run_adam,
    run_adagrad,  run_rmsprop, run_rmsprop_momentum, run_rmsprop_centered, run_rmsprop_both,
    run_lars,     run_lamb,    run_subtract,
};
#define RUNS ((int)(sizeof runs / sizeof runs[0]))

static int find_tables(const dl_optimizer_kernels *tables[3]) {
  int n = 0;
  tables[n++] = &dl_optimizer_kernel_table_base;
#if defined(__x86_64__)
  if (dl_isa_in_use() >= DL_ISA_AVX2) tables[n++] = &dl_optimizer_kernel_table_avx2;
  if (dl_isa_in_use() >= DL_ISA_AVX512) tables[n++] = &dl_optimizer_kernel_table_avx512;
#endif
  return n;
}

static void test_all_instruction_sets_give_the_same_bits_at_any_length(void) {
  const dl_optimizer_kernels *tables[3];
  static field untouched, whole, part;
  const int n_tables = find_tables(tables);
  fill(&untouched);
  for (int r = 0; r < RUNS; r++) {
    whole = untouched;
    runs[r](tables[0], N, &whole);
    CU_ASSERT(memcmp(&whole, &untouched, sizeof whole) != 0);
    for (int t = 0; t < n_tables; t++)
      for (size_t n = 0; n <= N; n++) {
        part = untouched;
        runs[r](tables[t], n, &part);
        bool equal = true;
        for (float *x = part.w, *y = whole.w, *z = untouched.w; x < part.w + 5 * N; x += N, y += N, z += N)
          equal = equal && !memcmp(x, y, n * sizeof *x) && !memcmp(x + n, z + n, (N - n) * sizeof *x);
        CU_ASSERT_TRUE(equal);
      }
  }
}

/* The loss's penalty in float64, differentiated by its definition. */
static void test_penalties_add_the_slope_of_their_term_and_nothing_at_zero(void) {
  field f;
  fill(&f);
  const field before = f;
  dl_optimizer_kernels_in_use()->penalise(0.3f, 2 * 0.35f, N, f.w, f.g);
  for (int i = 0; i < N; i++) {
    const double w = (double)f.w[i], h = 1e-6;
    const double slope = (0.3 * (fabs(w + h) - fabs(w - h)) + 0.35 * ((w + h) * (w + h) - (w - h) * (w - h))) / (2 * h);
    CU_ASSERT_DOUBLE_EQUAL((double)f.g[i] - (double)before.g[i], slope, 1e-6);
  }
  CU_ASSERT(f.g[3] == before.g[3] && f.g[40] == before.g[40]);
}

static const dl_test tests[] = {
    DL_TEST(test_all_instruction_sets_give_the_same_bits_at_any_length),
    DL_TEST(test_penalties_add_the_slope_of_their_term_and_nothing_at_zero),
};
DL_TEST_MAIN("kernels of optimizers", tests)

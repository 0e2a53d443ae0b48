/* test_kernels_gemm.c - products by tiles: bit for bit what the header says, on every instruction set, for all forms,
 * parts and sizes. */
#include "core/isa.h"
#include "nn/kernels_gemm.h"
#include "nn_fixture.h"

DL_ISA_DECLARE(dl_gemm_kernels, dl_gemm_kernel_table);

static const dl_gemm_kernels *tables[2];
static int n_tables;

static void find_tables(void) {
  n_tables = 0;
#if defined(__x86_64__)
  if (dl_isa_in_use() >= DL_ISA_AVX2) tables[n_tables++] = &dl_gemm_kernel_table_avx2;
  if (dl_isa_in_use() >= DL_ISA_AVX512) tables[n_tables++] = &dl_gemm_kernel_table_avx512;
#endif
}

static float at(const float *x, bool transposed, int64_t ld, int64_t i, int64_t j) {
  return transposed ? x[j * ld + i] : x[i * ld + j];
}

/* An element in the order that the header promises. */
static float element(const dl_product *p, int64_t i, int64_t j) {
  float y = 0;
  for (int64_t start = 0; start < p->k; start += DL_GEMM_RUN) {
    float sum = 0;
    for (int64_t k = start; k < p->k && k < start + DL_GEMM_RUN; k++)
      sum = fmaf(at(p->a, p->trans_a, p->lda, i, k), at(p->b, p->trans_b, p->ldb, k, j), sum);
    y = start ? y + p->alpha * sum : p->bias ? p->alpha * sum + p->bias[j] : p->alpha * sum;
  }
  return y;
}

/* A's other half is 0, as the parts ask. */
static void clear_half(const dl_product *p, float *a) {
  for (int64_t i = 0; i < p->m; i++)
    for (int64_t k = 0; k < p->k; k++)
      if ((p->part == DL_GEMM_A_LOWER && k > i) || (p->part == DL_GEMM_A_UPPER && k < i))
        a[p->trans_a ? k * p->lda + i : i * p->lda + k] = 0;
}

/* How many elements differ, those beyond a row included, which are to stay as they were. */
static int wrong_elements(const dl_gemm_kernels *table, dl_product p, bool with_bias) {
  const int64_t a_rows = p.trans_a ? p.k : p.m, b_rows = p.trans_b ? p.n : p.k;
  p.lda = (p.trans_a ? p.m : p.k) + 3;
  p.ldb = (p.trans_b ? p.k : p.n) + 2;
  p.ldc = p.n + 1;
  /* Ends of the operands are ends of their memory, for AddressSanitizer. */
  float *a = calloc((size_t)((a_rows - 1) * p.lda + (p.trans_a ? p.m : p.k)), 4);
  float *b = calloc((size_t)((b_rows - 1) * p.ldb + (p.trans_b ? p.k : p.n)), 4);
  float *c = calloc((size_t)(p.m * p.ldc), 4), *bias = calloc((size_t)p.n, 4);
  float *room = dl_calloc_aligned(DL_GEMM_ROOM, 4);
  lcg g = {(uint32_t)(p.m * 131 + p.n * 17 + p.k)};
  for (int64_t i = 0; i < (a_rows - 1) * p.lda + (p.trans_a ? p.m : p.k); i++) a[i] = lcg_value(&g);
  for (int64_t i = 0; i < (b_rows - 1) * p.ldb + (p.trans_b ? p.k : p.n); i++) b[i] = lcg_value(&g);
  for (int64_t i = 0; i < p.n; i++) bias[i] = lcg_value(&g);
  for (int64_t i = 0; i < p.m * p.ldc; i++) c[i] = NAN;
  for (size_t i = 0; i < DL_GEMM_ROOM; i++) room[i] = NAN;
  p.a = a;
  p.b = b;
  p.c = c;
  p.bias = with_bias ? bias : NULL;
  clear_half(&p, a);
  table->product(&p, room);
  int wrong = 0;
  for (int64_t i = 0; i < p.m; i++) {
    for (int64_t j = 0; j < p.n; j++) {
      const float want = element(&p, i, j);
      if (p.part == DL_GEMM_C_LOWER && j > i) continue;
      wrong += memcmp(&c[i * p.ldc + j], &want, sizeof want) != 0;
    }
    wrong += !isnan(c[i * p.ldc + p.n]);
  }
  free(a);
  free(b);
  free(c);
  free(bias);
  free(room);
  return wrong;
}

static void test_every_element_has_the_bits_of_the_stated_order(void) {
  static const int64_t sizes[][3] = {{1, 1, 1},    {8, 32, 8},    {7, 5, 3},      {64, 16, 16},  {65, 33, 17},
                                     {9, 31, 256}, {71, 97, 257}, {130, 48, 530}, {67, 545, 40}, {128, 40, 129}};
  find_tables();
  for (int t = 0; t < n_tables; t++)
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
      for (int form = 0; form < 8; form++) {
        const dl_product p = {.trans_a = form & 1,
                              .trans_b = form & 2,
                              .m = sizes[s][0],
                              .n = sizes[s][1],
                              .k = sizes[s][2],
                              .alpha = form & 4 ? -0.3f : 1};
        CU_ASSERT_EQUAL(wrong_elements(tables[t], p, form & 4), 0);
      }
}

static void test_parts_of_squares_have_the_bits_of_the_whole(void) {
  static const int64_t sizes[][2] = {{128, 32}, {77, 19}, {300, 40}, {5, 70}};
  find_tables();
  for (int t = 0; t < n_tables; t++)
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
      for (int part = DL_GEMM_C_LOWER; part <= DL_GEMM_A_UPPER; part++)
        for (int form = 0; form < 4; form++) {
          const int64_t steps = sizes[s][0], size = sizes[s][1];
          const bool scores = part == DL_GEMM_C_LOWER;
          const dl_product p = {.trans_a = form & 1,
                                .trans_b = form & 2,
                                .part = (dl_gemm_part)part,
                                .m = steps,
                                .n = scores ? steps : size,
                                .k = scores ? size : steps,
                                .alpha = 0.7f};
          CU_ASSERT_EQUAL(wrong_elements(tables[t], p, false), 0);
        }
}

static const dl_test tests[] = {
    DL_TEST(test_every_element_has_the_bits_of_the_stated_order),
    DL_TEST(test_parts_of_squares_have_the_bits_of_the_whole),
};
DL_TEST_MAIN("kernels_gemm", tests)

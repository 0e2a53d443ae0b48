/* test_vector.c - every instruction set gives the bits of the plain formula. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/isa.h"
#include "core/vector.h"
#include "dltest.h"
#include "random.h"

DL_ISA_DECLARE(dl_vector_ops, dl_vector_table);

enum { MOST = 3000, GUARD = 16 };

/* The tables that this processor can run. */
static int tables_here(const dl_vector_ops *tables[3]) {
  int n = 0;
  tables[n++] = &dl_vector_table_base;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables[n++] = &dl_vector_table_avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    tables[n++] = &dl_vector_table_avx512;
#endif
  return n;
}

static void fill(float *x, uint64_t seed) {
  static const float odd[] = {0.0f, -0.0f, 1e-42f, -1e-40f, 3.4e38f, -3.4e38f, 1e-30f, INFINITY};
  for (int i = 0; i < MOST + GUARD; i++) {
    x[i] = random_float(&seed) * ldexpf(1, (int)random_below(&seed, 40) - 20);
    if (random_below(&seed, 50) == 0) x[i] = odd[random_below(&seed, 8)];
  }
}

/* Lengths: all short ones, then some long; offsets break every alignment. */
static size_t length_of(int round) { return round < 200 ? (size_t)round : (size_t)(round * 37 % (MOST - 64)); }

static float a[MOST + GUARD], b[MOST + GUARD], found[MOST + GUARD], wanted[MOST + GUARD];

static void test_add_sum_and_scale_have_the_bits_of_the_scalar_formula_and_write_n_elements(void) {
  const dl_vector_ops *tables[3];
  int n_tables = tables_here(tables), wrong = 0;
  fill(a, 1);
  fill(b, 2);
  for (int t = 0; t < n_tables; t++)
    for (int round = 0; round < 260; round++) {
      size_t n = length_of(round), at = (size_t)round % 17;
      memcpy(wanted, a, sizeof a);
      memcpy(found, a, sizeof a);
      for (size_t i = 0; i < n; i++) wanted[at + i] = a[at + i] + b[i];
      tables[t]->add(found + at, b, n);
      wrong += memcmp(found, wanted, sizeof found) != 0;

      memcpy(found, a, sizeof a);
      tables[t]->sum2(found + at, a + at, b, n);
      wrong += memcmp(found, wanted, sizeof found) != 0;

      memcpy(wanted, a, sizeof a);
      memcpy(found, a, sizeof a);
      for (size_t i = 0; i < n; i++) {
        volatile float sum = a[at + i] + b[i]; /* rounded before it is scaled */
        wanted[at + i] = sum * 0.7f;
      }
      tables[t]->add_scaled(found + at, b, 0.7f, n);
      wrong += memcmp(found, wanted, sizeof found) != 0;

      memcpy(found, a, sizeof a);
      tables[t]->sum2_scaled(found + at, a + at, b, 0.7f, n);
      wrong += memcmp(found, wanted, sizeof found) != 0;

      memcpy(wanted, a, sizeof a);
      memcpy(found, a, sizeof a);
      for (size_t i = 0; i < n; i++) wanted[at + i] = a[at + i] * 0.3f;
      tables[t]->scale(found + at, 0.3f, n);
      wrong += memcmp(found, wanted, sizeof found) != 0;
    }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void flip(float *x, int bit) {
  uint32_t word;
  memcpy(&word, x, sizeof word);
  word ^= (uint32_t)1 << bit;
  memcpy(x, &word, sizeof word);
}

static void test_the_checksum_is_equal_on_all_instruction_sets_and_reads_n_elements(void) {
  const dl_vector_ops *tables[3];
  int n_tables = tables_here(tables), wrong = 0;
  fill(a, 5);
  for (int round = 0; round < 260; round++) {
    const size_t n = length_of(round), at = (size_t)round % 17;
    memcpy(b, a + at, n * sizeof *b); /* as much at another address, and other values behind */
    b[n] = 17;
    const uint64_t hash = tables[0]->checksum(a + at, n);
    for (int t = 0; t < n_tables; t++)
      wrong += tables[t]->checksum(a + at, n) != hash || tables[t]->checksum(b, n) != hash;
    wrong += n && tables[0]->checksum(a + at, n - 1) == hash;
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_the_checksum_of_a_block_knows_every_single_bit(void) {
  const dl_vector_ops *v = dl_vector();
  int missed = 0;
  fill(a, 6);
  for (size_t n = 1000; n <= 1024; n += 24) {
    const uint64_t hash = v->checksum(a, n);
    for (size_t i = 0; i < n; i++)
      for (int bit = 0; bit < 32; bit++) {
        flip(&a[i], bit);
        missed += v->checksum(a, n) == hash;
        flip(&a[i], bit);
      }
  }
  CU_ASSERT_EQUAL(missed, 0);
}

/* Changes that a sum of words would not see. */
static void test_the_checksum_knows_words_that_change_places_and_bits_that_change_together(void) {
  const dl_vector_ops *v = dl_vector();
  int missed = 0;
  fill(a, 7);
  for (int i = 0; i < 1024; i++) a[i] = (float)(i + 1) * 0.25f;
  const uint64_t hash = v->checksum(a, 1024);
  for (int i = 0; i < 1024; i++)
    for (int j = i + 1; j < 1024; j += 1 + i % 3) {
      const float x = a[i], y = a[j];
      a[i] = y, a[j] = x;
      missed += v->checksum(a, 1024) == hash;
      a[i] = -x, a[j] = -y; /* the highest bits of two words */
      missed += v->checksum(a, 1024) == hash;
      a[i] = x, a[j] = y;
    }
  for (int i = 0; i < 1024; i++) a[i] = -a[i];
  missed += v->checksum(a, 1024) == hash;
  memset(a, 0, sizeof a);
  for (size_t n = 1; n < 1024; n++) missed += v->checksum(a, n) == v->checksum(a, n - 1);
  CU_ASSERT_EQUAL(missed, 0);
}

/* Element i goes to lane i % 32; then lane j and the one half of them further on, until one is left. */
static double sumsq_by_lanes(const float *x, size_t n) {
  double lane[32] = {0};
  for (size_t i = 0; i < n; i++) lane[i % 32] += (double)x[i] * (double)x[i];
  for (int lanes = 16; lanes; lanes /= 2)
    for (int j = 0; j < lanes; j++) lane[j] = lane[j] + lane[j + lanes];
  return lane[0];
}

static void test_sumsq_is_equal_bit_for_bit_on_all_instruction_sets(void) {
  const dl_vector_ops *tables[3];
  int n_tables = tables_here(tables), wrong = 0;
  uint64_t random = 3;
  for (int i = 0; i < MOST; i++) a[i] = random_float(&random) * ldexpf(1, (int)random_below(&random, 30));
  for (int t = 0; t < n_tables; t++)
    for (int round = 0; round < 400; round++) {
      size_t n = length_of(round), at = (size_t)round % 17;
      double sum = tables[t]->sumsq(a + at, n), plain = sumsq_by_lanes(a + at, n);
      wrong += memcmp(&sum, &plain, sizeof sum) != 0;
    }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_sumsq_and_checksum_together_have_the_bits_of_each(void) {
  const dl_vector_ops *tables[3];
  int n_tables = tables_here(tables), wrong = 0;
  fill(a, 5);
  fill(b, 6);
  for (int t = 0; t < n_tables; t++)
    for (int round = 0; round < 400; round++) {
      size_t n = length_of(round), at = (size_t)round % 17;
      uint64_t hash;
      double sum = tables[t]->sumsq_checksum(a + at, b + 3, n, &hash), plain = tables[t]->sumsq(a + at, n);
      wrong += memcmp(&sum, &plain, sizeof sum) != 0 || hash != tables[t]->checksum(b + 3, n);
    }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_sumsq_is_the_sum_of_squares(void) {
  const dl_vector_ops *tables[3];
  int n_tables = tables_here(tables);
  fill(a, 4);
  for (int i = 0; i < MOST; i++)
    if (isinf(a[i])) a[i] = 1;
  for (int t = 0; t < n_tables; t++)
    for (size_t n = 0; n < MOST; n += 1 + n / 8) {
      long double sum = 0;
      for (size_t i = 0; i < n; i++) sum += (long double)a[i] * (long double)a[i];
      CU_ASSERT(fabsl((long double)tables[t]->sumsq(a, n) - sum) <= 1e-14L * sum);
    }
  CU_ASSERT(dl_vector()->sumsq(a, 0) == 0);
}

static void test_sumsq_shows_what_is_not_finite(void) {
  const dl_vector_ops *tables[3];
  int n_tables = tables_here(tables);
  for (int t = 0; t < n_tables; t++)
    for (size_t at = 0; at < 40; at++) {
      memset(a, 0, sizeof a);
      a[at] = NAN;
      CU_ASSERT(isnan(tables[t]->sumsq(a, 40)));
      a[at] = -INFINITY;
      CU_ASSERT(isinf(tables[t]->sumsq(a, 40)));
      a[at] = 3.4e38f; /* its square fits in float64 */
      CU_ASSERT(isfinite(tables[t]->sumsq(a, 40)));
    }
}

static void test_the_table_in_force_is_one_that_this_processor_can_run(void) {
  const dl_vector_ops *tables[3];
  int n_tables = tables_here(tables), found_it = 0;
  for (int t = 0; t < n_tables; t++) found_it += dl_vector() == tables[t];
  CU_ASSERT_EQUAL(found_it, 1);
  if (!getenv("DLDIST_ISA")) CU_ASSERT_PTR_EQUAL(dl_vector(), tables[n_tables - 1]);
  static const char *const names[] = {"base", "avx2", "avx512"};
  CU_ASSERT_STRING_EQUAL(dl_isa_text(), names[dl_isa_in_use()]);
}

static const dl_test tests[] = {
    DL_TEST(test_the_checksum_is_equal_on_all_instruction_sets_and_reads_n_elements),
    DL_TEST(test_the_checksum_of_a_block_knows_every_single_bit),
    DL_TEST(test_the_checksum_knows_words_that_change_places_and_bits_that_change_together),
    DL_TEST(test_add_sum_and_scale_have_the_bits_of_the_scalar_formula_and_write_n_elements),
    DL_TEST(test_sumsq_is_equal_bit_for_bit_on_all_instruction_sets),
    DL_TEST(test_sumsq_and_checksum_together_have_the_bits_of_each),
    DL_TEST(test_sumsq_is_the_sum_of_squares),
    DL_TEST(test_sumsq_shows_what_is_not_finite),
    DL_TEST(test_the_table_in_force_is_one_that_this_processor_can_run),
};
DL_TEST_MAIN("core/vector", tests)

/* test_rng.c - Philox against the known answers of Random123, and what is made of it against statistics. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "dltest.h"

static void test_philox_gives_the_known_answers_of_random123(void) {
  static const struct {
    uint32_t counter[4], key[2], wanted[4];
  } known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    uint32_t out[4];
    dl_philox(known[i].counter, (dl_rng_key){{known[i].key[0], known[i].key[1]}}, out);
    CU_ASSERT(!memcmp(out, known[i].wanted, sizeof out));
  }
}

static void test_a_word_is_its_place_in_its_block(void) {
  dl_rng_key key = dl_rng_stream(1, DL_RNG_DROPOUT, 3);
  for (uint32_t element = 0; element < 64; element++) {
    uint32_t block[4];
    dl_rng_block(key, 9, 12345678901, element / 4, block);
    CU_ASSERT_EQUAL(dl_rng_word(key, 9, 12345678901, element), block[element % 4]);
  }
}

static void test_every_coordinate_changes_the_words(void) {
  dl_rng_key key = dl_rng_stream(7, DL_RNG_INIT, 1);
  uint32_t word = dl_rng_word(key, 1, 1, 1);
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(key, 2, 1, 1));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(key, 1, 2, 1));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(key, 1, 1 + (1ull << 32), 1));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(key, 1, 1, 2));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(key, 1, 1, 5));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(dl_rng_stream(8, DL_RNG_INIT, 1), 1, 1, 1));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(dl_rng_stream(7 + (1ull << 32), DL_RNG_INIT, 1), 1, 1, 1));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(dl_rng_stream(7, DL_RNG_SHUFFLE, 1), 1, 1, 1));
  CU_ASSERT_NOT_EQUAL(word, dl_rng_word(dl_rng_stream(7, DL_RNG_INIT, 2), 1, 1, 1));
  CU_ASSERT_EQUAL(word, dl_rng_word(dl_rng_stream(7, DL_RNG_INIT, 1), 1, 1, 1));
}

static void test_unit_floats_lie_in_zero_to_one_with_one_left_out(void) {
  CU_ASSERT(dl_rng_to_unit(0) == 0);
  CU_ASSERT(dl_rng_to_unit(UINT32_MAX) < 1);
  CU_ASSERT(dl_rng_to_unit(UINT32_MAX) == 1 - 0x1p-24f);
  CU_ASSERT(dl_rng_to_unit(1u << 31) == 0.5f);
}

/* ---- permutations ---- */

static bool is_a_bijection(dl_rng_key key, uint32_t time, uint64_t n, unsigned char *seen) {
  memset(seen, 0, n);
  for (uint64_t i = 0; i < n; i++) {
    uint64_t place = dl_rng_permute(key, time, n, i);
    if (place >= n || seen[place]++) return false;
  }
  return true;
}

static void test_permute_is_a_bijection(void) {
  unsigned char *seen = malloc(1u << 18);
  dl_rng_key key = dl_rng_stream(3, DL_RNG_SHUFFLE, 0);
  for (uint64_t n = 1; n <= 500; n++)
    for (uint32_t time = 0; time < 3; time++) CU_ASSERT(is_a_bijection(key, time, n, seen));
  static const uint64_t larger[] = {1023, 1024, 1025, 1797, 4096, 9999, 60000, 65536, 65537, 99999, 200000};
  for (size_t i = 0; i < sizeof larger / sizeof larger[0]; i++)
    CU_ASSERT(is_a_bijection(key, 1 + (uint32_t)i, larger[i], seen));
  free(seen);
}

static void test_permute_stays_within_huge_sets(void) {
  dl_rng_key key = dl_rng_stream(3, DL_RNG_SHUFFLE, 0);
  static const uint64_t huge[] = {1ull << 32, (1ull << 32) + 1, 3000000019, 1ull << 45, 999999999989};
  for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++)
    for (uint64_t k = 0; k < 100; k++) {
      CU_ASSERT(dl_rng_permute(key, 1, huge[i], k) < huge[i]);
      CU_ASSERT(dl_rng_permute(key, 1, huge[i], huge[i] - 1 - k) < huge[i]);
    }
}

static int places_in_common(dl_rng_key a, uint32_t time_a, dl_rng_key b, uint32_t time_b, uint64_t n) {
  int common = 0;
  for (uint64_t i = 0; i < n; i++) common += dl_rng_permute(a, time_a, n, i) == dl_rng_permute(b, time_b, n, i);
  return common;
}

static void test_permutations_of_other_epochs_and_seeds_are_others(void) {
  dl_rng_key key = dl_rng_stream(3, DL_RNG_SHUFFLE, 0), other = dl_rng_stream(4, DL_RNG_SHUFFLE, 0);
  /* Two random permutations agree at one place on average; at ten or more in one case of a million. */
  CU_ASSERT(places_in_common(key, 1, key, 2, 5000) < 10);
  CU_ASSERT(places_in_common(key, 1, other, 1, 5000) < 10);
  CU_ASSERT_EQUAL(places_in_common(key, 1, key, 1, 5000), 5000);
}

/* The value of chi-square that is exceeded about once in a million times (Wilson and Hilferty). */
static double chi_square_bound(int freedom) {
  double f = freedom, c = 1 - 2 / (9 * f) + 4.75 * sqrt(2 / (9 * f));
  return f * c * c * c;
}

static void test_every_index_comes_to_every_place_equally_often(void) {
  enum { ROUNDS = 6000 };
  static const int sizes[] = {2, 3, 4, 5, 6, 7, 8, 10, 13, 20, 31};
  dl_rng_key key = dl_rng_stream(11, DL_RNG_SHUFFLE, 0);
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    int n = sizes[s], count[32][32] = {{0}};
    for (uint32_t time = 0; time < ROUNDS; time++)
      for (int i = 0; i < n; i++) count[i][dl_rng_permute(key, time, (uint64_t)n, (uint64_t)i)]++;
    for (int i = 0; i < n; i++) {
      double chi_square = 0, mean = (double)ROUNDS / n;
      for (int place = 0; place < n; place++) chi_square += (count[i][place] - mean) * (count[i][place] - mean) / mean;
      CU_ASSERT(chi_square < chi_square_bound(n - 1));
    }
  }
}

static void test_all_orders_of_few_samples_come_equally_often(void) {
  enum { ROUNDS = 60000 };
  dl_rng_key key = dl_rng_stream(12, DL_RNG_SHUFFLE, 0);
  static const int orders[] = {1, 1, 2, 6, 24, 120};
  for (int n = 2; n <= 5; n++) {
    int count[3125] = {0}, seen = 0;
    for (uint32_t time = 0; time < ROUNDS; time++) {
      int code = 0;
      for (int i = 0; i < n; i++) code = code * n + (int)dl_rng_permute(key, time, (uint64_t)n, (uint64_t)i);
      count[code]++;
    }
    double chi_square = 0, mean = (double)ROUNDS / orders[n];
    for (int code = 0; code < 3125; code++) {
      if (!count[code]) continue;
      seen++;
      chi_square += (count[code] - mean) * (count[code] - mean) / mean;
    }
    CU_ASSERT_EQUAL(seen, orders[n]);
    if (chi_square >= chi_square_bound(orders[n] - 1)) fprintf(stderr, "n %d: chi-square %g\n", n, chi_square);
    CU_ASSERT(chi_square < chi_square_bound(orders[n] - 1));
  }
}

static void test_neighbours_are_separated(void) {
  enum { N = 20000 };
  dl_rng_key key = dl_rng_stream(5, DL_RNG_SHUFFLE, 0);
  double sum = 0, sum_squares = 0, cross = 0, last = 0;
  for (uint64_t i = 0; i < N; i++) {
    double x = ((double)dl_rng_permute(key, 1, N, i) + 0.5) / N - 0.5;
    sum += x;
    sum_squares += x * x;
    cross += x * last;
    last = x;
  }
  CU_ASSERT(fabs(sum) < 1e-6);
  CU_ASSERT(fabs(cross / sum_squares) < 5 / sqrt(N));
}

/* ---- distributions ---- */

static void test_words_are_uniform(void) {
  enum { N = 1 << 18 };
  int count[256] = {0}, ones[32] = {0};
  dl_rng_key key = dl_rng_stream(1, DL_RNG_INIT, 2);
  for (uint64_t i = 0; i < N; i++) {
    uint32_t word = dl_rng_word(key, 0, 0, i);
    count[word >> 24]++;
    for (int bit = 0; bit < 32; bit++) ones[bit] += word >> bit & 1;
  }
  double chi_square = 0;
  for (int c = 0; c < 256; c++) chi_square += (count[c] - N / 256.0) * (count[c] - N / 256.0) / (N / 256.0);
  CU_ASSERT(chi_square < chi_square_bound(255));
  for (int bit = 0; bit < 32; bit++) CU_ASSERT(fabs(ones[bit] - N / 2.0) < 5 * sqrt(N / 4.0));
}

static void test_normal_numbers_have_the_moments_and_tails_of_the_normal_distribution(void) {
  enum { N = 400000 };
  double moment[5] = {0};
  int below[4] = {0}; /* < -1, < 0, < 1, |z| > 3 */
  dl_rng_key key = dl_rng_stream(2, DL_RNG_INIT, 0);
  for (uint64_t i = 0; i < N; i++) {
    double z = dl_rng_normal(key, 0, i % 7, i / 7);
    for (int k = 1; k < 5; k++) moment[k] += pow(z, k) / N;
    below[0] += z < -1;
    below[1] += z < 0;
    below[2] += z < 1;
    below[3] += fabs(z) > 3;
  }
  double root = sqrt(N);
  CU_ASSERT(fabs(moment[1]) < 5 / root);
  CU_ASSERT(fabs(moment[2] - 1) < 5 * sqrt(2) / root);
  CU_ASSERT(fabs(moment[3]) < 5 * sqrt(15) / root);
  CU_ASSERT(fabs(moment[4] - 3) < 5 * sqrt(96) / root);
  static const double wanted[] = {0.15865525393145705, 0.5, 0.8413447460685429, 0.0026997960632601866};
  for (int k = 0; k < 4; k++)
    CU_ASSERT(fabs(below[k] / (double)N - wanted[k]) < 5 * sqrt(wanted[k] * (1 - wanted[k])) / root);
}

static void test_neighbouring_normal_numbers_are_not_correlated(void) {
  enum { N = 200000 };
  dl_rng_key key = dl_rng_stream(2, DL_RNG_INIT, 5);
  double by_element = 0, by_sample = 0;
  for (uint64_t i = 0; i < N; i++) {
    by_element += dl_rng_normal(key, 0, 0, i) * dl_rng_normal(key, 0, 0, i + 1);
    by_sample += dl_rng_normal(key, 0, i, 0) * dl_rng_normal(key, 0, i + 1, 0);
  }
  CU_ASSERT(fabs(by_element) < 5 * sqrt(N));
  CU_ASSERT(fabs(by_sample) < 5 * sqrt(N));
}

static const dl_test tests[] = {
    DL_TEST(test_philox_gives_the_known_answers_of_random123),
    DL_TEST(test_a_word_is_its_place_in_its_block),
    DL_TEST(test_every_coordinate_changes_the_words),
    DL_TEST(test_unit_floats_lie_in_zero_to_one_with_one_left_out),
    DL_TEST(test_permute_is_a_bijection),
    DL_TEST(test_permute_stays_within_huge_sets),
    DL_TEST(test_permutations_of_other_epochs_and_seeds_are_others),
    DL_TEST(test_every_index_comes_to_every_place_equally_often),
    DL_TEST(test_all_orders_of_few_samples_come_equally_often),
    DL_TEST(test_neighbours_are_separated),
    DL_TEST(test_words_are_uniform),
    DL_TEST(test_normal_numbers_have_the_moments_and_tails_of_the_normal_distribution),
    DL_TEST(test_neighbouring_normal_numbers_are_not_correlated),
};
DL_TEST_MAIN("core/rng", tests)

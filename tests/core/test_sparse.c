/* Top-k against sorting, and blocks as words against what they were. */
#include "core/sparse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/bits.h"
#include "core/tree.h"
#include "dltest.h"

static uint64_t state = 1;
static uint32_t draw(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 32);
}

/* Blocks of several kinds: many binades, few distinct values, all bits possible (NaNs and infinities too), mostly zero.
 */
static float draw_value(int kind) {
  const float unit = (float)(draw() >> 8) * 0x1p-24f - 0.5f;
  switch (kind) {
    case 0:
      return ldexpf(unit, (int)(draw() % 60) - 30);
    case 1:
      return (float)((int)(draw() % 5) - 2);
    case 2:
      return dl_float_of(draw());
    case 3:
      return draw() % 50 ? 0 : unit;
    default:
      return unit;
  }
}
#define KINDS 5

static uint32_t magnitude(float x) {
  const uint32_t bits = dl_bits_of(x) & 0x7fffffff;
  return bits > 0x7f800000 ? 0x7f800001 : bits;
}

typedef struct entry {
  uint32_t magnitude;
  size_t place;
} entry;
static int larger_first(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->magnitude != y->magnitude) return x->magnitude < y->magnitude ? 1 : -1;
  return x->place < y->place ? -1 : 1;
}

static bool same_float(float a, float b) { return dl_bits_of(a) == dl_bits_of(b) || (isnan(a) && isnan(b)); }

/* Which NaN is the largest is not said. */
static void test_the_largest_magnitudes_stay_and_the_rest_is_left_behind(void) {
  int wrong = 0;
  for (int trial = 0; trial < 600; trial++) {
    const size_t n = 1 + draw() % DL_BLOCK, keep = 1 + draw() % n;
    const float scale = trial % 3 ? 1 : 0.3f;
    float x[DL_BLOCK], residual[DL_BLOCK], all[DL_BLOCK];
    bool kept[DL_BLOCK] = {false};
    entry order[DL_BLOCK];
    size_t nans = 0;
    for (size_t i = 0; i < n; i++) {
      x[i] = draw_value(trial % KINDS);
      residual[i] = trial % 2 ? draw_value(trial % KINDS) : 0;
      all[i] = x[i] + scale * residual[i];
      order[i] = (entry){magnitude(all[i]), i};
      nans += isnan(all[i]);
    }
    if (nans > keep) continue;
    qsort(order, n, sizeof *order, larger_first);
    for (size_t k = 0; k < keep; k++) kept[order[k].place] = order[k].magnitude > 0;
    dl_sparse_select(x, residual, n, keep, scale);
    for (size_t i = 0; i < n; i++) {
      wrong += !same_float(x[i], kept[i] ? all[i] : 0);
      wrong += !same_float(residual[i], kept[i] ? 0 : all[i] * (1 / scale));
    }
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_nothing_is_lost_over_steps(void) {
  /* What went out and what is left add up to what came in: integers, so that sums are exact. */
  float x[DL_BLOCK], residual[DL_BLOCK] = {0};
  double in[DL_BLOCK] = {0}, out[DL_BLOCK] = {0};
  int wrong = 0;
  size_t sent = 0;
  for (int step = 0; step < 50; step++) {
    for (size_t i = 0; i < DL_BLOCK; i++) in[i] += x[i] = (float)((int)(draw() % 2001) - 1000);
    dl_sparse_select(x, residual, DL_BLOCK, 11, 1);
    for (size_t i = 0; i < DL_BLOCK; i++) {
      out[i] += x[i];
      sent += x[i] != 0;
    }
  }
  for (size_t i = 0; i < DL_BLOCK; i++) wrong += in[i] != out[i] + residual[i];
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(sent, 50 * 11);
}

static void test_a_share_is_rounded_up_and_never_none(void) {
  CU_ASSERT_EQUAL(dl_sparse_keep(0.01, 1024), 11);
  CU_ASSERT_EQUAL(dl_sparse_keep(0.01, 100), 1);
  CU_ASSERT_EQUAL(dl_sparse_keep(0.01, 1), 1);
  CU_ASSERT_EQUAL(dl_sparse_keep(1e-4, 1024), 1);
  CU_ASSERT_EQUAL(dl_sparse_keep(1, 1000), 1000);
}

static void fill(float *x, size_t n, size_t count) {
  memset(x, 0, n * sizeof *x);
  for (size_t i = 0; i < count; i++) x[draw() % n] = dl_float_of(draw() | 1);
}

static void test_blocks_survive_as_words_in_the_room_that_is_stated(void) {
  uint32_t words[DL_SPARSE_WORDS(DL_BLOCK) + 1];
  float x[DL_BLOCK], back[DL_BLOCK];
  int wrong = 0;
  for (int trial = 0; trial < 2000; trial++) {
    const size_t n = 1 + draw() % DL_BLOCK;
    fill(x, n, draw() % (trial % 2 ? n + 1 : 40));
    if (trial % 7 == 0) x[0] = -0.0f; /* its bits are not all zero */
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += dl_bits_of(x[i]) != 0;
    const size_t places = (count + 1) / 2 + count, bits = (n + 31) / 32 + count, all = n;
    const size_t least = places < bits ? places < all ? places : all : bits < all ? bits : all;
    memset(words, 0xab, sizeof words);
    const size_t used = dl_sparse_pack(words, x, n);
    wrong += used != 1 + least || used > DL_SPARSE_WORDS(n) || words[used] != 0xabababab;
    memset(back, 0xcd, sizeof back);
    wrong += dl_sparse_unpack(back, n, words, used) != used || memcmp(back, x, n * sizeof *x) != 0;
    wrong += dl_sparse_unpack(back, n, words, used + 1) != used; /* more may follow */
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(DL_SPARSE_WORDS(1024), 1025);
}

static void test_words_that_are_no_block_are_refused(void) {
  uint32_t words[DL_SPARSE_WORDS(DL_BLOCK)];
  float x[DL_BLOCK];
  int taken = 0;
  for (int trial = 0; trial < 300; trial++) { /* cut short anywhere */
    const size_t n = 1 + draw() % DL_BLOCK;
    fill(x, n, draw() % (trial % 2 ? n + 1 : 40));
    const size_t used = dl_sparse_pack(words, x, n);
    uint32_t *exact = malloc((used - 1) * sizeof *exact + 1); /* so that a sanitizer sees a step beyond */
    if (!exact) abort();
    memcpy(exact, words, (used - 1) * sizeof *exact);
    taken += dl_sparse_unpack(x, n, exact, used - 1) != 0;
    free(exact);
  }
  CU_ASSERT_EQUAL(taken, 0);
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 8, words, 0), 0);
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 8, (uint32_t[10]){9}, 10), 0);                      /* more than there are */
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 64, (uint32_t[4]){2, 5u | 3u << 16, 1, 2}, 4), 0);  /* places fall */
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 64, (uint32_t[4]){2, 5u | 5u << 16, 1, 2}, 4), 0);  /* twice the same */
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 64, (uint32_t[4]){2, 5u | 64u << 16, 1, 2}, 4), 0); /* beyond the block */
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 64, (uint32_t[4]){2, 5u | 63u << 16, 1, 2}, 4), 4);
  uint32_t bits[22] = {20, 0xfffff, 0};                  /* 20 of 40: a bit each */
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 40, bits, 22), 0); /* a word short */
  uint32_t whole[23] = {20, 0xfffff, 0};
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 40, whole, 23), 23);
  whole[1] = 0x7ffff;
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 40, whole, 23), 0); /* fewer bits than values */
  whole[1] = 0x1fffff;
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 40, whole, 23), 0); /* more */
  whole[1] = 0x7ffff;
  whole[2] = 0x100;
  CU_ASSERT_EQUAL(dl_sparse_unpack(x, 40, whole, 23), 0); /* element 40 of 40 */
}

static void test_a_leaf_of_a_small_batch_is_the_shard_that_has_its_sample(void) {
  int wrong = 0;
  for (int64_t shards = 1; shards <= 24; shards++)
    for (int64_t samples = 1; samples <= 40; samples++) {
      const dl_cut cut = dl_cut_make(samples, shards);
      int64_t leaf = 0;
      for (int64_t shard = 0; shard < shards; shard++)
        if (samples * shard / shards < samples * (shard + 1) / shards)
          wrong += dl_cut_shard_of_leaf(&cut, leaf++) != shard;
      wrong += leaf != cut.leaves;
    }
  CU_ASSERT_EQUAL(wrong, 0);
}

static const dl_test tests[] = {
    DL_TEST(test_the_largest_magnitudes_stay_and_the_rest_is_left_behind),
    DL_TEST(test_nothing_is_lost_over_steps),
    DL_TEST(test_a_share_is_rounded_up_and_never_none),
    DL_TEST(test_blocks_survive_as_words_in_the_room_that_is_stated),
    DL_TEST(test_words_that_are_no_block_are_refused),
    DL_TEST(test_a_leaf_of_a_small_batch_is_the_shard_that_has_its_sample),
};
DL_TEST_MAIN("blocks of few elements", tests)

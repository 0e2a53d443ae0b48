/* test_tree.c - the canonical tree against the recursion that defines it (RFC 6962, section 2.1). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/tree.h"
#include "dltest.h"
#include "random.h"

enum { MOST = 5000 };

/* ---- the definition ---- */

static int64_t split_of(int64_t n) {
  int64_t k = 1;
  while (2 * k < n) k *= 2;
  return k;
}

static float recursive_sum(const float *v, int64_t n) {
  if (n == 1) return v[0];
  int64_t k = split_of(n);
  return recursive_sum(v, k) + recursive_sum(v + k, n - k);
}

static double recursive_sum_strided(const double *v, int64_t n, int stride) {
  if (n == 1) return v[0];
  int64_t k = split_of(n);
  return recursive_sum_strided(v, k, stride) + recursive_sum_strided(v + k * stride, n - k, stride);
}

typedef struct dl_range {
  int64_t begin, end;
} dl_range;

/* The maximal subtrees of the tree over [at, at + n) that lie within the run; appended to out, returns how many there
 * are. */
static int maximal(int64_t at, int64_t n, dl_range run, dl_range *out, int count) {
  if (run.end <= at || at + n <= run.begin) return count;
  if (run.begin <= at && at + n <= run.end) {
    out[count] = (dl_range){at, at + n};
    return count + 1;
  }
  int64_t k = split_of(n);
  count = maximal(at, k, run, out, count);
  return maximal(at + k, n - k, run, out, count);
}

static dl_range range_of(dl_tree_node node, int64_t leaves) {
  int64_t end = (node.index + 1) << node.level;
  return (dl_range){node.index << node.level, end < leaves ? end : leaves};
}

/* A node without a right sibling is written as its parent, so that a subtree has one name. */
static bool has_its_one_name(dl_tree_node node, int64_t leaves) {
  if (node.index == 0) return node.level == 0 || (int64_t)1 << (node.level - 1) < leaves;
  return (node.index & 1) || (node.index + 1) << node.level < leaves;
}

static bool same_nodes(const dl_tree_node *found, int n_found, const dl_range *wanted, int n_wanted, int64_t leaves) {
  bool same = n_found == n_wanted;
  for (int i = 0; same && i < n_found; i++) {
    dl_range range = range_of(found[i], leaves);
    same = range.begin == wanted[i].begin && range.end == wanted[i].end && has_its_one_name(found[i], leaves);
  }
  return same;
}

static bool same_bits(float a, float b) { return !memcmp(&a, &b, sizeof a); }

/* ---- the stack as its users drive it ---- */

typedef struct dl_adder {
  dl_tree_stack stack;
  float slot[DL_TREE_DEPTH];
  int most; /* slots in use at the most */
} dl_adder;

static void adder_push(dl_adder *adder, dl_tree_node node, float value) {
  int top = adder->stack.depth;
  adder->slot[top] = value;
  if (top + 1 > adder->most) adder->most = top + 1;
  int merges = dl_tree_stack_push(&adder->stack, node);
  for (int m = 0; m < merges; m++) adder->slot[top - 1 - m] += adder->slot[top - m];
  CU_ASSERT_EQUAL(adder->stack.depth, top + 1 - merges);
}

static void adder_run(dl_adder *adder, const float *values, int64_t leaves, dl_range run) {
  adder->most = 0;
  dl_tree_stack_reset(&adder->stack, leaves);
  for (int64_t leaf = run.begin; leaf < run.end; leaf++) adder_push(adder, (dl_tree_node){0, leaf}, values[leaf]);
}

static float values[MOST];

static void fill(uint64_t seed) {
  for (int i = 0; i < MOST; i++) values[i] = random_float(&seed) * ldexpf(1, (int)random_below(&seed, 20));
}

/* ---- sentences ---- */

static void test_a_run_leaves_its_maximal_subtrees_with_their_recursive_sums(void) {
  fill(1);
  int wrong_nodes = 0, wrong_sums = 0, wrong_slots = 0;
  for (int64_t n = 1; n <= 200; n++)
    for (int64_t begin = 0; begin < n; begin += n < 70 ? 1 : 7)
      for (int64_t end = begin; end <= n; end += n < 70 ? 1 : 5) {
        dl_range wanted[256];
        int n_wanted = maximal(0, n, (dl_range){begin, end}, wanted, 0);
        dl_adder adder;
        adder_run(&adder, values, n, (dl_range){begin, end});
        wrong_nodes += !same_nodes(adder.stack.node, adder.stack.depth, wanted, n_wanted, n);
        wrong_slots += dl_tree_slots(n, begin, end) != adder.most;
        for (int i = 0; i < n_wanted && i < adder.stack.depth; i++)
          wrong_sums +=
              !same_bits(adder.slot[i], recursive_sum(values + wanted[i].begin, wanted[i].end - wanted[i].begin));
      }
  CU_ASSERT_EQUAL(wrong_nodes, 0);
  CU_ASSERT_EQUAL(wrong_sums, 0);
  CU_ASSERT_EQUAL(wrong_slots, 0);
}

static void test_cover_is_the_maximal_subtrees_of_the_definition(void) {
  int wrong = 0;
  for (int64_t n = 1; n <= 200; n++)
    for (int64_t begin = 0; begin <= n; begin++)
      for (int64_t end = begin; end <= n; end++) {
        dl_range wanted[256];
        dl_tree_node found[DL_TREE_DEPTH];
        int n_wanted = maximal(0, n, (dl_range){begin, end}, wanted, 0);
        wrong += !same_nodes(found, dl_tree_cover(n, begin, end, found), wanted, n_wanted, n);
      }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_cover_of_huge_trees_follows_the_definition_and_fits(void) {
  uint64_t random = 2;
  int wrong = 0;
  for (int round = 0; round < 20000; round++) {
    int64_t n = 1 + random_below(&random, (int64_t)1 << (1 + random_below(&random, 33)));
    int64_t a = random_below(&random, n + 1), b = random_below(&random, n + 1);
    dl_range run = {a < b ? a : b, a < b ? b : a}, wanted[256];
    dl_tree_node found[DL_TREE_DEPTH];
    wrong += !same_nodes(found, dl_tree_cover(n, run.begin, run.end, found), wanted, maximal(0, n, run, wanted, 0), n);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  /* The worst run of 2^33 leaves: all but the first and the last. */
  dl_tree_node found[DL_TREE_DEPTH];
  CU_ASSERT_EQUAL(dl_tree_cover((int64_t)1 << 33, 1, ((int64_t)1 << 33) - 1, found), DL_TREE_DEPTH);
}

static void test_slots_are_the_subtrees_that_wait_and_the_leaf_in_work(void) {
  uint64_t random = 3;
  int wrong = 0;
  for (int round = 0; round < 3000; round++) {
    int64_t n = 1 + random_below(&random, 300), begin = random_below(&random, n);
    int64_t end = begin + random_below(&random, n - begin + 1);
    int most = 0;
    for (int64_t leaf = begin; leaf < end; leaf++) {
      dl_range waiting[256];
      int depth = 1 + maximal(0, n, (dl_range){begin, leaf}, waiting, 0);
      if (depth > most) most = depth;
    }
    wrong += dl_tree_slots(n, begin, end) != most;
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Each run is summed alone, what it publishes is pushed on one stack in order. */
static bool partition_gives_root(int64_t n, const int64_t *cuts, int parts) {
  dl_adder whole = {.most = 0}, part;
  dl_tree_stack_reset(&whole.stack, n);
  for (int p = 0; p < parts; p++) {
    adder_run(&part, values, n, (dl_range){cuts[p], cuts[p + 1]});
    dl_tree_node cover[DL_TREE_DEPTH];
    int published = dl_tree_cover(n, cuts[p], cuts[p + 1], cover);
    if (published != part.stack.depth) return false;
    for (int i = 0; i < published; i++) {
      if (cover[i].level != part.stack.node[i].level || cover[i].index != part.stack.node[i].index) return false;
      adder_push(&whole, cover[i], part.slot[i]);
    }
  }
  dl_range root = whole.stack.depth == 1 ? range_of(whole.stack.node[0], n) : (dl_range){-1, -1};
  return root.begin == 0 && root.end == n && same_bits(whole.slot[0], recursive_sum(values, n));
}

static void test_any_two_or_three_runs_make_the_root_and_its_bits(void) {
  fill(4);
  int wrong = 0;
  for (int64_t n = 1; n <= 64; n++)
    for (int64_t a = 0; a <= n; a++)
      for (int64_t b = a; b <= n; b += n < 40 ? 1 : 3) wrong += !partition_gives_root(n, (int64_t[]){0, a, b, n}, 3);
  CU_ASSERT_EQUAL(wrong, 0);
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void test_random_partitions_make_the_root_and_its_bits(void) {
  uint64_t random = 5;
  int wrong = 0;
  for (int round = 0; round < 2000; round++) {
    int64_t n = 1 + random_below(&random, round % 10 ? 200 : MOST), cuts[34] = {0};
    int parts = 1 + (int)random_below(&random, 32);
    if (round % 50 == 0) fill(random_word(&random));
    for (int p = 1; p < parts; p++) cuts[p] = random_below(&random, n + 1);
    cuts[parts] = n;
    qsort(cuts, (size_t)parts + 1, sizeof *cuts, by_value);
    wrong += !partition_gives_root(n, cuts, parts);
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_a_member_of_a_power_of_two_publishes_one_node(void) {
  for (int members = 1; members <= 64; members *= 2)
    for (int64_t shards = members; shards <= 1024; shards *= 2)
      for (int rank = 0; rank < members; rank++) {
        dl_tree_node found[DL_TREE_DEPTH];
        int64_t begin = dl_rank_first_shard(shards, rank, members),
                end = dl_rank_first_shard(shards, rank + 1, members);
        CU_ASSERT_EQUAL(dl_tree_cover(shards, begin, end, found), 1);
      }
}

static void test_sum_rows_has_the_bits_of_the_recursion(void) {
  uint64_t random = 6;
  double *rows = malloc(MOST * 5 * sizeof *rows), *kept = malloc(MOST * 5 * sizeof *kept), out[5];
  int wrong = 0;
  for (int64_t n = 1; n <= 260; n++) {
    int64_t leaves = n <= 250 ? n : 1 + random_below(&random, MOST);
    int width = 1 + (int)random_below(&random, 5);
    for (int64_t i = 0; i < leaves * width; i++) kept[i] = random_float(&random) * exp(random_float(&random) * 20);
    memcpy(rows, kept, (size_t)(leaves * width) * sizeof *rows);
    dl_tree_sum_rows(rows, leaves, width, out);
    for (int k = 0; k < width; k++) {
      double wanted = recursive_sum_strided(kept + k, leaves, width);
      wrong += memcmp(&wanted, &out[k], sizeof wanted) != 0;
    }
  }
  CU_ASSERT_EQUAL(wrong, 0);
  out[0] = out[1] = 7;
  dl_tree_sum_rows(rows, 0, 2, out);
  CU_ASSERT(out[0] == 0 && out[1] == 0);
  free(rows);
  free(kept);
}

static void test_sum_of_squares_of_a_block_is_right_to_the_last_bits_of_float64(void) {
  fill(7);
  for (size_t n = 0; n <= DL_BLOCK; n++) {
    long double wanted = 0;
    for (size_t i = 0; i < n; i++) wanted += (long double)values[i] * (long double)values[i];
    CU_ASSERT(fabsl((long double)dl_block_sumsq(values, n) - wanted) <= 1e-14L * wanted);
  }
}

/* ---- the cut ---- */

/* The shards that hold a sample, in order, are the leaves. */
static int check_cut(int64_t samples, int64_t shards) {
  dl_cut cut = dl_cut_make(samples, shards);
  int wrong = 0;
  int64_t leaf = 0, next = 0, least = INT64_MAX, most = 0;
  for (int64_t shard = 0; shard < shards; shard++) {
    int64_t begin = dl_leaf_begin(samples, shards, shard), end = dl_leaf_begin(samples, shards, shard + 1), b = -1,
            e = -1;
    wrong += begin != next || dl_cut_leaf_of_shard(&cut, shard) != leaf;
    next = end;
    if (begin == end) continue;
    dl_cut_leaf_range(&cut, leaf++, &b, &e);
    wrong += b != begin || e != end;
    least = e - b < least ? e - b : least;
    most = e - b > most ? e - b : most;
  }
  wrong += next != samples || leaf != cut.leaves || dl_cut_leaf_of_shard(&cut, shards) != leaf;
  return wrong + (leaf && most - least > 1);
}

static void test_every_sample_lies_in_one_leaf_and_leaves_are_alike(void) {
  int wrong = 0;
  for (int64_t samples = 0; samples <= 200; samples++)
    for (int64_t shards = 1; shards <= 70; shards++) wrong += check_cut(samples, shards);
  uint64_t random = 8;
  for (int round = 0; round < 300; round++)
    wrong += check_cut(random_below(&random, 100000000), 1 + random_below(&random, 1000));
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_members_hold_contiguous_runs_that_are_all_leaves(void) {
  int wrong = 0;
  for (int64_t samples = 1; samples <= 150; samples += 1 + samples / 40)
    for (int64_t shards = 1; shards <= 70; shards++)
      for (int size = 1; size <= 9; size++) {
        dl_cut cut = dl_cut_make(samples, shards);
        int64_t next = 0;
        for (int rank = 0; rank < size; rank++) {
          int64_t begin = -1, end = -1, first = dl_rank_first_shard(shards, rank, size);
          dl_cut_rank_leaves(&cut, rank, size, &begin, &end);
          wrong += begin != next || end < begin;
          next = end;
          for (int64_t leaf = begin; leaf < end; leaf++) { /* a leaf is the work of the member that holds its shard */
            int64_t at, past, shard = first;
            dl_cut_leaf_range(&cut, leaf, &at, &past);
            while (dl_leaf_begin(samples, shards, shard + 1) <= at) shard++;
            wrong += shard >= dl_rank_first_shard(shards, rank + 1, size) || dl_leaf_begin(samples, shards, first) > at;
          }
        }
        wrong += next != cut.leaves;
      }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void test_shards_differ_by_one_between_members(void) {
  for (int64_t shards = 1; shards <= 64; shards++)
    for (int size = 1; size <= 20; size++)
      for (int rank = 0; rank < size; rank++) {
        int64_t n = dl_rank_first_shard(shards, rank + 1, size) - dl_rank_first_shard(shards, rank, size);
        CU_ASSERT(n == shards / size || n == (shards + size - 1) / size);
      }
}

static void test_auto_shards_are_a_power_of_two_of_at_least_sixteen_samples(void) {
  static const int64_t wanted[][2] = {{1, 1},      {16, 1},     {31, 1},      {32, 2},       {63, 2},
                                      {128, 8},    {255, 8},    {256, 16},    {1000, 32},    {4095, 128},
                                      {4096, 256}, {8192, 256}, {10000, 256}, {1000000, 256}};
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
    CU_ASSERT_EQUAL(dl_shards_auto(wanted[i][0]), wanted[i][1]);
}

static const dl_test tests[] = {
    DL_TEST(test_a_run_leaves_its_maximal_subtrees_with_their_recursive_sums),
    DL_TEST(test_cover_is_the_maximal_subtrees_of_the_definition),
    DL_TEST(test_cover_of_huge_trees_follows_the_definition_and_fits),
    DL_TEST(test_slots_are_the_subtrees_that_wait_and_the_leaf_in_work),
    DL_TEST(test_any_two_or_three_runs_make_the_root_and_its_bits),
    DL_TEST(test_random_partitions_make_the_root_and_its_bits),
    DL_TEST(test_a_member_of_a_power_of_two_publishes_one_node),
    DL_TEST(test_sum_rows_has_the_bits_of_the_recursion),
    DL_TEST(test_sum_of_squares_of_a_block_is_right_to_the_last_bits_of_float64),
    DL_TEST(test_every_sample_lies_in_one_leaf_and_leaves_are_alike),
    DL_TEST(test_members_hold_contiguous_runs_that_are_all_leaves),
    DL_TEST(test_shards_differ_by_one_between_members),
    DL_TEST(test_auto_shards_are_a_power_of_two_of_at_least_sixteen_samples),
};
DL_TEST_MAIN("core/tree", tests)

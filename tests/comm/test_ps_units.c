/* Units of work and the tree that their sums make, against recursion and by random histories of workers. */
#include <stdlib.h>
#include <string.h>

#include "comm/ps_collect.h"
#include "comm/ps_units.h"
#include "dltest.h"

static uint64_t state = 7;
static uint64_t word(void) {
  uint64_t x = (state += 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static float recursive(const float *v, int64_t n) {
  if (n == 1) return v[0];
  int64_t k = 1;
  while (2 * k < n) k *= 2;
  return recursive(v, k) + recursive(v + k, n - k);
}

enum { MOST = 300 };
static int freed, kept;
static void count_freed(void *p) {
  freed++;
  free(p);
}

/* The sum of the leaves [begin, end): what a worker delivers, by recursion too. */
static dl_ps_sum sum_of(const float *leaves, dl_tree_node node, int64_t n) {
  int64_t begin, end;
  CU_ASSERT(dl_ps_node_leaves(node, n, &begin, &end));
  float *values = malloc(sizeof *values);
  if (!values) abort();
  values[0] = recursive(leaves + begin, end - begin);
  return (dl_ps_sum){.node = node, .values = values, .sums = {(double)(end - begin)}, .owner = values};
}

static bool keep_copy(void *context, dl_ps_sum *sum) {
  float *values = malloc(sizeof *values);
  if (!values) abort();
  *values = sum->values[0];
  sum->values = sum->owner = values;
  sum->borrowed = false;
  kept++;
  (void)context;
  return true;
}

/* The sum as it is read in a worker's own memory, which the worker may want back first. */
static void lend(dl_ps_collect *collect, dl_ps_sum *sum, float *memory, bool waits) {
  CU_ASSERT(dl_ps_collect_own(collect, memory));
  *memory = sum->values[0];
  count_freed(sum->owner);
  *sum = (dl_ps_sum){.node = sum->node, .values = memory, .sums = {sum->sums[0]}, .borrowed = true};
  if (waits) sum->lender = memory;
}

/* What is left to add, as the caller does it. */
static float finish(dl_ps_collect *collect) {
  int merges[DL_PS_COLLECT_MOST], depth = 0;
  float stack[DL_PS_COLLECT_MOST];
  const int n = dl_ps_collect_plan(collect, merges);
  CU_ASSERT(n > 0);
  for (int i = 0; i < n; i++) {
    stack[depth++] = collect->waiting[i].values[0];
    for (int m = 0; m < merges[i]; m++, depth--) stack[depth - 2] += stack[depth - 1];
  }
  CU_ASSERT_EQUAL(depth, 1);
  return stack[0];
}

/* Workers come, go, are late and deliver twice, in random order; their sums are given, lent until somebody wants them
 * back, or may be read for a moment alone: the sum has the bits of the tree, every leaf counts once, and no sum is lost
 * or freed twice. */
static void one_history(int64_t n) {
  float leaves[MOST];
  dl_ps_collect collect;
  dl_ps_units units = {0};
  int made = 0;
  float lent[6];
  kept = 0;
  freed = 0;
  for (int64_t i = 0; i < n; i++) leaves[i] = (float)(int64_t)(word() >> 40) / (float)(1 << word() % 20);
  dl_ps_collect_init(&collect, 1, count_freed);
  collect.keep = keep_copy;
  dl_ps_collect_begin(&collect, n);
  CU_ASSERT_EQUAL(dl_ps_units_open(&units, 5, n), DL_OK);
  int workers = 1 + (int)(word() % 6);
  for (int turns = 0; !dl_ps_units_complete(&units, 5) && turns < 100000; turns++) {
    int w = (int)(word() % (uint64_t)workers);
    const dl_ps_unit *unit;
    CU_ASSERT_EQUAL(dl_ps_units_grant(&units, w, workers, turns, &unit), DL_OK);
    if (!unit) continue;
    dl_ps_unit got = *unit;
    if (word() % 4 == 0) dl_ps_units_lost(&units, w);        /* it is thought dead … */
    if (word() % 4 == 0) dl_ps_units_late(&units, turns, 3); /* … or everybody is slow … */
    for (uint64_t times = word() % 3; times; times--) {      /* … and delivers never, once or twice */
      dl_ps_sum sum = sum_of(leaves, got.node, n);
      made++;
      const uint64_t how = word() % 3;
      if (how) lend(&collect, &sum, &lent[w], how == 1);
      dl_ps_added added = dl_ps_collect_add(&collect, &sum);
      CU_ASSERT(added == DL_PS_ADDED || added == DL_PS_TWICE);
      if (added != DL_PS_ADDED && sum.owner) count_freed(sum.owner);
      if (how == 2) lent[w] = NAN;
      dl_ps_done done = dl_ps_units_done(&units, got.step, got.node);
      CU_ASSERT_EQUAL(done == DL_PS_DONE_NOW, added == DL_PS_ADDED);
    }
    CU_ASSERT_EQUAL(dl_ps_collect_missing(&collect) == 0, dl_ps_units_complete(&units, 5));
  }
  double sums[DL_LEAF_SUMS] = {0};
  float expected = recursive(leaves, n), found = finish(&collect);
  CU_ASSERT(memcmp(&found, &expected, sizeof expected) == 0);
  CU_ASSERT(dl_ps_collect_sums(&collect, sums));
  CU_ASSERT_EQUAL(sums[0], (double)n);
  dl_ps_collect_clear(&collect);
  dl_ps_units_clear(&units);
  CU_ASSERT_EQUAL(freed, made + kept);
}

static void test_random_histories_give_the_bits_of_the_tree(void) {
  for (int64_t n = 1; n <= 40; n++)
    for (int k = 0; k < 10; k++) one_history(n);
  for (int k = 0; k < 30; k++) one_history(1 + (int64_t)(word() % MOST));
}

static void test_the_oracle_knows_the_order_of_additions(void) {
  int differ = 0;
  for (int k = 0; k < 100; k++) {
    float v[37], serial = 0;
    for (int i = 0; i < 37; i++) serial += v[i] = (float)(int64_t)(word() >> 40) / (float)(1 << word() % 20);
    differ += serial != recursive(v, 37);
  }
  CU_ASSERT(differ > 50);
}

static void test_equal_workers_get_equal_first_shares(void) {
  for (int workers = 1; workers <= 8; workers *= 2) {
    dl_ps_units units = {0};
    const dl_ps_unit *unit;
    dl_ps_units_open(&units, 0, 64);
    for (int w = 0; w < workers; w++) {
      CU_ASSERT_EQUAL(dl_ps_units_grant(&units, w, workers, 0, &unit), DL_OK);
      CU_ASSERT_EQUAL(unit->leaves, 64 / workers);
      CU_ASSERT_EQUAL(dl_ps_units_grant(&units, w, workers, 0, &unit), DL_OK); /* asked again: the same */
      CU_ASSERT_EQUAL(unit->holder, w);
      CU_ASSERT_EQUAL(unit->leaves, 64 / workers);
    }
    CU_ASSERT_EQUAL(dl_ps_units_grant(&units, 99, workers, 0, &unit), DL_OK);
    CU_ASSERT_PTR_NULL(unit); /* nothing is left */
    dl_ps_units_clear(&units);
  }
}

/* s + 1 steps are open: no unit of step t is out while a step before t - s is not complete. */
static void test_the_staleness_bound_is_exact(void) {
  for (int64_t s = 0; s <= 5; s++) {
    dl_ps_units units = {0};
    int64_t oldest = 0, most = 0;
    for (int64_t step = 0; step <= s; step++) dl_ps_units_open(&units, step, 4);
    dl_ps_unit held[6];
    bool has[6] = {false};
    for (int turn = 0; oldest < 60 && turn < 100000; turn++) {
      int w = (int)(word() % 6);
      const dl_ps_unit *unit;
      if (has[w] && word() % 2) {
        dl_ps_units_done(&units, held[w].step, held[w].node);
        has[w] = false;
      } else if (!has[w]) {
        CU_ASSERT_EQUAL(dl_ps_units_grant(&units, w, 6, 0, &unit), DL_OK);
        if (!unit) continue;
        held[w] = *unit;
        has[w] = true;
        CU_ASSERT(held[w].step - oldest <= s);
        CU_ASSERT_EQUAL(held[w].base, oldest);
        if (held[w].step - oldest > most) most = held[w].step - oldest;
      }
      while (dl_ps_units_complete(&units, oldest)) {
        dl_ps_units_close(&units, oldest++);
        dl_ps_units_open(&units, oldest + s, 4);
      }
    }
    CU_ASSERT(oldest >= 60);
    CU_ASSERT_EQUAL(most, s < 5 ? s : most); /* and it is reached */
    dl_ps_units_clear(&units);
  }
}

static void test_units_that_nobody_asked_for_are_unknown(void) {
  dl_ps_units units = {0};
  const dl_ps_unit *unit;
  dl_ps_units_open(&units, 3, 8);
  CU_ASSERT_EQUAL(dl_ps_units_look(&units, 3, (dl_tree_node){0, 0}), DL_PS_DONE_UNKNOWN);
  dl_ps_units_grant(&units, 0, 2, 0, &unit);
  dl_tree_node node = unit->node;
  CU_ASSERT_EQUAL(dl_ps_units_done(&units, 2, node), DL_PS_DONE_UNKNOWN);
  CU_ASSERT_EQUAL(dl_ps_units_done(&units, 3, (dl_tree_node){0, 0}), DL_PS_DONE_UNKNOWN);
  CU_ASSERT_EQUAL(dl_ps_units_done(&units, 3, node), DL_PS_DONE_NOW);
  CU_ASSERT_EQUAL(dl_ps_units_done(&units, 3, node), DL_PS_DONE_BEFORE);
  CU_ASSERT_FALSE(dl_ps_units_complete(&units, 3));
  dl_ps_units_clear(&units);
}

static void test_nodes_that_overlap_are_no_nodes(void) {
  dl_ps_collect collect;
  float x = 1;
  dl_ps_collect_init(&collect, 1, NULL);
  dl_ps_collect_begin(&collect, 8);
  dl_ps_sum sum = {.node = {1, 1}, .values = &x}; /* leaves 2 and 3 */
  CU_ASSERT_EQUAL(dl_ps_collect_add(&collect, &sum), DL_PS_ADDED);
  CU_ASSERT_EQUAL(dl_ps_collect_add(&collect, &sum), DL_PS_TWICE);
  const dl_tree_node wrong[] = {{0, 2}, {0, 3}, {2, 0}, {3, 0}, {0, 8}, {1, 4}, {4, 1}, {0, -1}, {-1, 0}, {61, 1}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    sum.node = wrong[i];
    CU_ASSERT_EQUAL(dl_ps_collect_add(&collect, &sum), DL_PS_NOT_A_NODE);
  }
  CU_ASSERT_EQUAL(dl_ps_collect_missing(&collect), 6);
  int merges[DL_PS_COLLECT_MOST];
  double sums[DL_LEAF_SUMS];
  CU_ASSERT_EQUAL(dl_ps_collect_plan(&collect, merges), 0);
  CU_ASSERT_FALSE(dl_ps_collect_sums(&collect, sums));
  dl_ps_collect_clear(&collect);
}

static const dl_test tests[] = {
    DL_TEST(test_the_oracle_knows_the_order_of_additions), DL_TEST(test_random_histories_give_the_bits_of_the_tree),
    DL_TEST(test_equal_workers_get_equal_first_shares),    DL_TEST(test_the_staleness_bound_is_exact),
    DL_TEST(test_units_that_nobody_asked_for_are_unknown), DL_TEST(test_nodes_that_overlap_are_no_nodes),
};
DL_TEST_MAIN("units of parameter servers", tests)

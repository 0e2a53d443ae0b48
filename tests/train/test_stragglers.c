/* Who is slow, and who only was once. */
#include "train/stragglers.h"

#include <string.h>

#include "dltest.h"

#define RANKS 4
static const char hosts[RANKS][64] = {"n1", "n1", "n2", "n3"};

static dl_stragglers *begin(int size) {
  dl_stragglers *s = NULL;
  DL_ASSERT_OK(dl_stragglers_new(size, hosts[0], &s));
  return s;
}

static const int64_t even[RANKS] = {8, 8, 8, 8};

static void test_the_slowest_of_a_step_is_named_with_its_host(void) {
  dl_stragglers *s = begin(RANKS);
  const dl_slowest slowest = dl_stragglers_step(s, (double[]){0.2, 0.1, 0.3, 0.2}, even);
  CU_ASSERT_EQUAL(slowest.rank, 2);
  CU_ASSERT_STRING_EQUAL(slowest.host, "n2");
  CU_ASSERT_DOUBLE_EQUAL(slowest.seconds, 0.3, 1e-15);
  CU_ASSERT_DOUBLE_EQUAL(slowest.over_median, 1.5, 1e-12); /* the lower of the two in the middle is 0.2 */
  dl_stragglers_destroy(&s);
}

static void test_of_two_ranks_the_slower_is_compared_with_the_other(void) {
  dl_stragglers *s = begin(2);
  const dl_slowest slowest = dl_stragglers_step(s, (double[]){0.3, 0.1}, even);
  CU_ASSERT_EQUAL(slowest.rank, 0);
  CU_ASSERT_DOUBLE_EQUAL(slowest.over_median, 3, 1e-12);
  dl_stragglers_destroy(&s);
}

/* Three leaves take longer than two: no fault of the rank that has them. */
static void test_a_larger_share_of_the_batch_is_not_slowness(void) {
  dl_stragglers *s = begin(RANKS);
  char text[640];
  bool told = false;
  for (int step = 0; step < 500; step++) {
    const dl_slowest slowest = dl_stragglers_step(s, (double[]){0.30, 0.20, 0.21, 0.0}, (int64_t[]){24, 16, 16, 0});
    CU_ASSERT_EQUAL(slowest.rank, 2);
    told |= dl_stragglers_persist(s, text, sizeof text);
  }
  CU_ASSERT_FALSE(told);
  dl_stragglers_destroy(&s);
}

static void test_an_epoch_sums_its_steps_and_starts_anew(void) {
  dl_stragglers *s = begin(3);
  for (int step = 0; step < 10; step++)
    dl_stragglers_step(s, step ? (double[]){0.1, 0.2, 0.1} : (double[]){1.5, 0.1, 0.1}, even);
  const dl_slowest slowest = dl_stragglers_epoch(s); /* 2.4, 1.9 and 1.0, though the second was slowest more often */
  CU_ASSERT_EQUAL(slowest.rank, 0);
  CU_ASSERT_DOUBLE_EQUAL(slowest.seconds, 2.4, 1e-12);
  CU_ASSERT_EQUAL(dl_stragglers_epoch(s).rank, -1);
  dl_stragglers_step(s, (double[]){0.1, 0.1, 0.4}, even);
  CU_ASSERT_EQUAL(dl_stragglers_epoch(s).rank, 2);
  dl_stragglers_destroy(&s);
}

/* Steps in which `slow` takes `factor` times as long in `of_ten` of ten; the number of warnings. */
static int warnings(int steps, double each_s, int slow, double factor, int of_ten, char *text, size_t size) {
  dl_stragglers *s = begin(RANKS);
  int told = 0;
  for (int step = 0; step < steps; step++) {
    double own[RANKS] = {each_s, each_s * 1.01, each_s * 0.99, each_s};
    if (step % 10 < of_ten) own[slow] *= factor;
    dl_stragglers_step(s, own, even);
    told += dl_stragglers_persist(s, text, size);
  }
  dl_stragglers_destroy(&s);
  return told;
}

static void test_a_rank_that_is_slow_all_the_time_is_told_once(void) {
  char text[640] = "";
  CU_ASSERT_EQUAL(warnings(1000, 0.05, 3, 1.5, 10, text, sizeof text), 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(text, "rank 3 on n3 was the slowest in 50 of the last 50 steps"));
  CU_ASSERT_PTR_NOT_NULL(strstr(text, "1.50 times"));
  CU_ASSERT_PTR_NOT_NULL(strstr(text, "cpufreq"));
}

static void test_single_slow_steps_small_differences_and_short_runs_are_not_told(void) {
  char text[640];
  CU_ASSERT_EQUAL(warnings(1000, 0.05, 3, 20, 1, text, sizeof text), 0);   /* slow in a tenth */
  CU_ASSERT_EQUAL(warnings(1000, 0.05, 3, 1.1, 10, text, sizeof text), 0); /* by a tenth */
  CU_ASSERT_EQUAL(warnings(49, 0.05, 3, 3, 10, text, sizeof text), 0);     /* in fewer steps than a verdict takes */
  CU_ASSERT_EQUAL(warnings(1000, 1e-4, 3, 3, 10, text, sizeof text), 0);   /* and in less time */
  CU_ASSERT_EQUAL(warnings(10000, 1e-3, 3, 3, 10, text, sizeof text), 1);
}

static const dl_test tests[] = {
    DL_TEST(test_the_slowest_of_a_step_is_named_with_its_host),
    DL_TEST(test_of_two_ranks_the_slower_is_compared_with_the_other),
    DL_TEST(test_a_larger_share_of_the_batch_is_not_slowness),
    DL_TEST(test_an_epoch_sums_its_steps_and_starts_anew),
    DL_TEST(test_a_rank_that_is_slow_all_the_time_is_told_once),
    DL_TEST(test_single_slow_steps_small_differences_and_short_runs_are_not_told),
};
DL_TEST_MAIN("stragglers", tests)

/* Gradient synchronisation in teams of threads. */
#include "sync_property.h"

#include "dltest.h"

static void run_with_threads(int threads, int cases) {
  property_run run = {.first_seed = 1000u * (uint64_t)threads, .cases = cases};
  DL_ASSERT_OK(dl_launch(threads, run_properties, &run));
}

static void test_steps_equal_the_serial_tree_alone(void) { run_with_threads(1, 12); }
static void test_steps_equal_the_serial_tree_for_two_members(void) { run_with_threads(2, 12); }
static void test_steps_equal_the_serial_tree_for_three_members(void) { run_with_threads(3, 12); }
static void test_steps_equal_the_serial_tree_for_four_members(void) { run_with_threads(4, 12); }
static void test_steps_equal_the_serial_tree_for_five_members(void) { run_with_threads(5, 8); }
static void test_steps_equal_the_serial_tree_for_six_members(void) { run_with_threads(6, 8); }
static void test_steps_equal_the_serial_tree_for_seven_members(void) { run_with_threads(7, 8); }
static void test_steps_equal_the_serial_tree_for_eight_members(void) { run_with_threads(8, 8); }

/* The oracle must tell a wrong order apart, or the tests above prove nothing. */
static void test_the_oracle_knows_the_order_of_additions(void) {
  sync_case c;
  float leaves[64];
  int differ = 0;
  make_case(&c, 5, DL_TRANSPORT_SHM);
  for (uint64_t trial = 0; trial < 100; trial++) {
    float serial = 0;
    for (uint64_t i = 0; i < 64; i++) {
      leaves[i] = draw_float(c.seed, trial, i, 0);
      serial += leaves[i];
    }
    differ += serial != tree_float(leaves, 1, 64);
  }
  CU_ASSERT(differ > 50);
}

/* ---- shards beyond what is measured one by one ---- */

static dl_status many_shards(dl_team *team, void *context) {
  sync_case c;
  dl_sync *sync = NULL;
  make_case(&c, 7, *(int *)context);
  c.shards = 5003;
  dl_sync_options options = {.transport = *(int *)context, .shards = c.shards};
  c.group.n_tensors = 1;
  c.tensors[0].count = 16;
  c.group.count = 16;
  DL_TRY(dl_sync_new(team, &c.group, &options, &sync));
  dl_status status = DL_OK;
  for (int64_t samples = 4990; status == DL_OK && samples < 5010; samples++) {
    dl_cut cut = dl_cut_make(samples, c.shards);
    double notes[DL_SYNC_NOTES] = {0};
    dl_sync_request request = {.notes = notes};
    dl_sync_result result;
    status = dl_sync_begin(sync, &cut);
    int64_t first, end;
    dl_cut_rank_leaves(&cut, team->rank, team->size, &first, &end);
    for (int64_t leaf = first; leaf < end; leaf++) {
      float *g = dl_sync_gradients(sync);
      for (int i = 0; i < 16; i++) g[i] = 1;
      dl_sync_leaf_done(sync, leaf, (double[DL_LEAF_SUMS]){1, 1});
    }
    if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
    if (status == DL_OK && (result.sums[0] != (double)cut.leaves || fabs(result.grad_norm - 4) > 1e-6))
      status = dl_fail(DL_ERR_INTERNAL, "%d members, %lld samples: sum %g, norm %g", team->size, (long long)samples,
                       result.sums[0], result.grad_norm);
  }
  dl_sync_destroy(&sync);
  return status;
}

static void test_thousands_of_shards_fit_the_bound(void) {
  for (int threads = 1; threads <= 5; threads += 2) {
    int shm = DL_TRANSPORT_SHM, mpi = DL_TRANSPORT_MPI;
    DL_ASSERT_OK(dl_launch(threads, many_shards, &shm));
    DL_ASSERT_OK(dl_launch(threads, many_shards, &mpi));
  }
}

/* ---- misuse ---- */

static dl_status forget_a_leaf(dl_team *team, void *context) {
  sync_case c;
  dl_sync *sync = NULL;
  make_case(&c, 11, DL_TRANSPORT_SHM);
  c.shards = 8;
  dl_sync_options options = {.transport = *(int *)context, .shards = 8, .norm_first = c.norm_first};
  DL_TRY(dl_sync_new(team, &c.group, &options, &sync));
  dl_cut cut = dl_cut_make(8, 8);
  double notes[DL_SYNC_NOTES] = {0};
  dl_sync_request request = {.notes = notes};
  dl_sync_result result;
  dl_status status = dl_sync_begin(sync, &cut);
  if (status == DL_OK && team->rank != 1) run_leaves(&c, team, sync, 0, &cut);
  if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
  dl_sync_destroy(&sync);
  return status;
}

static void test_a_leaf_that_was_not_delivered_is_an_error_of_all(void) {
  for (int transport = DL_TRANSPORT_SHM; transport <= DL_TRANSPORT_MPI; transport++) {
    CU_ASSERT_EQUAL(dl_launch(2, forget_a_leaf, &transport), DL_ERR_INTERNAL);
    CU_ASSERT_EQUAL(dl_error_last()->rank, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "4 to 8"));
  }
}

static dl_status clip_without_norm(dl_team *team, void *context) {
  sync_case c;
  dl_sync *sync = NULL;
  make_case(&c, 12, DL_TRANSPORT_SHM);
  c.shards = 4;
  c.group.apply = momentum_apply;
  c.group.measure = *(bool *)context ? ratio_measure : NULL;
  dl_sync_options options = {.transport = DL_TRANSPORT_SHM, .shards = 4};
  DL_TRY(dl_sync_new(team, &c.group, &options, &sync));
  dl_cut cut = dl_cut_make(8, 4);
  dl_sync_request request = {.clip_norm = 1};
  dl_sync_result result;
  dl_status status = dl_sync_begin(sync, &cut);
  run_leaves(&c, team, sync, 0, &cut);
  if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
  dl_sync_destroy(&sync);
  return status;
}

static void test_clipping_and_measuring_without_the_norm_first_are_refused(void) {
  static const char *const words[] = {"clipping", "norms of tensors"};
  for (int i = 0; i < 2; i++) {
    bool measures = i;
    CU_ASSERT_EQUAL(dl_launch(2, clip_without_norm, &measures), DL_ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, words[i]));
  }
}

static void test_the_table_names_all_ways(void) {
  static const char *const names[] = {"shm", "nodes", "mpi", "ps"};
  int n = 0;
  const dl_sync_kind *kinds = dl_sync_kinds(&n);
  CU_ASSERT_EQUAL_FATAL(n, 4);
  for (int i = 0; i < n; i++) CU_ASSERT_STRING_EQUAL(kinds[i].name, names[i]);
  for (int i = 0; i < n; i++) CU_ASSERT(strlen(kinds[i].help) > 20);
}

static const dl_test tests[] = {
    DL_TEST(test_the_oracle_knows_the_order_of_additions),
    DL_TEST(test_steps_equal_the_serial_tree_alone),
    DL_TEST(test_steps_equal_the_serial_tree_for_two_members),
    DL_TEST(test_steps_equal_the_serial_tree_for_three_members),
    DL_TEST(test_steps_equal_the_serial_tree_for_four_members),
    DL_TEST(test_steps_equal_the_serial_tree_for_five_members),
    DL_TEST(test_steps_equal_the_serial_tree_for_six_members),
    DL_TEST(test_steps_equal_the_serial_tree_for_seven_members),
    DL_TEST(test_steps_equal_the_serial_tree_for_eight_members),
    DL_TEST(test_thousands_of_shards_fit_the_bound),
    DL_TEST(test_a_leaf_that_was_not_delivered_is_an_error_of_all),
    DL_TEST(test_clipping_and_measuring_without_the_norm_first_are_refused),
    DL_TEST(test_the_table_names_all_ways),
};
DL_TEST_MAIN("sync in teams of threads", tests)

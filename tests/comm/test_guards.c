/* Guards against silent corruption, in teams of threads: bits are flipped on purpose and must be found and named. */
#include "guard_fixture.h"

#include "dltest.h"

typedef struct job {
  guard_run run;
  guard_trial trial;
  guard_tally tally[16]; /* by rank */
} job;

static dl_status member(dl_team *team, void *context) {
  job *j = context;
  return guard_trials(team, &j->run, j->trial, &j->tally[team->rank]);
}

static void expect_all_caught(int threads, const guard_run *run, guard_trial trial) {
  job j = {.run = *run, .trial = trial};
  DL_ASSERT_OK(dl_launch(threads, member, &j));
  for (int r = 0; r < threads; r++) CU_ASSERT_EQUAL(j.tally[r].caught, run->trials);
}

/* ---- gradients ---- */

/* A leaf owned or computed again by the culprit: in a team of two it has a part in every proof. */
static void test_a_thousand_flipped_gradients_are_all_caught_by_recomputing(void) {
  for (int transport = DL_TRANSPORT_SHM; transport <= DL_TRANSPORT_MPI; transport++) {
    const guard_run run = {
        .transport = transport, .first_seed = 10000u * (unsigned)transport, .trials = 500, .recompute_every = 1};
    expect_all_caught(2, &run, guard_gradient_trial);
  }
}

/* With three, the trials in which the culprit has no part in the proof are not caught: those that are name it. */
static void test_with_three_members_the_majority_names_the_one_that_was_wrong(void) {
  job j = {.run = {.transport = DL_TRANSPORT_SHM, .first_seed = 77, .trials = 300, .recompute_every = 1},
           .trial = guard_gradient_trial};
  DL_ASSERT_OK(dl_launch(3, member, &j));
  CU_ASSERT(j.tally[0].caught > 150 && j.tally[0].caught < 250); /* two in three */
  CU_ASSERT_EQUAL(j.tally[0].caught, j.tally[1].caught);
  CU_ASSERT_EQUAL(j.tally[0].caught, j.tally[2].caught);
}

/* Alone: the fault must pass between the two, and the trial's does not: it is in both. */
static void test_a_sound_member_has_no_disputes_with_itself_or_others(void) {
  for (int threads = 1; threads <= 5; threads++) {
    job j = {.run = {.transport = DL_TRANSPORT_SHM, .trials = 50, .recompute_every = 1, .harmless = true},
             .trial = guard_gradient_trial};
    DL_ASSERT_OK(dl_launch(threads, member, &j));
    for (int r = 0; r < threads; r++) CU_ASSERT_EQUAL(j.tally[r].caught, 0);
  }
}

static void test_without_recomputing_nothing_is_caught(void) {
  job j = {.run = {.transport = DL_TRANSPORT_SHM, .trials = 20}, .trial = guard_gradient_trial};
  DL_ASSERT_OK(dl_launch(2, member, &j));
  CU_ASSERT_EQUAL(j.tally[0].caught, 0);
}

/* Which leaves are computed twice, and by whom, over many steps. */
static dl_status count_proofs(dl_team *team, void *context) {
  int(*seconds)[8] = context; /* per rank: leaves that it computed for another */
  const dl_param_group group = guard_group();
  const guard_run run = {.transport = DL_TRANSPORT_SHM, .recompute_every = 3};
  guard_trainer t;
  DL_TRY(guard_start(&t, team, &group, &run, 5, 8));
  for (int step = 1; step <= 300; step++) {
    DL_TRY(dl_sync_begin(t.sync, &t.cut));
    const int64_t leaf = dl_sync_recompute_leaf(t.sync);
    int64_t begin, end;
    dl_cut_rank_leaves(&t.cut, team->rank, team->size, &begin, &end);
    if (leaf >= begin && leaf < end) return dl_fail(DL_ERR_INTERNAL, "rank %d proves itself", team->rank);
    if (leaf >= 0 && step % 3) return dl_fail(DL_ERR_INTERNAL, "a proof in step %d", step);
    if (leaf >= 0) seconds[team->rank][leaf]++;
  }
  dl_sync_destroy(&t.sync);
  return DL_OK;
}

static void test_every_leaf_comes_to_every_other_member_in_turn(void) {
  int seconds[4][8] = {{0}}, all = 0;
  DL_ASSERT_OK(dl_launch(4, count_proofs, seconds));
  for (int r = 0; r < 4; r++)
    for (int leaf = 0; leaf < 8; leaf++) {
      all += seconds[r][leaf];
      CU_ASSERT_EQUAL(seconds[r][leaf] > 0, leaf / 2 != r); /* 100 proofs over 24 pairs */
    }
  CU_ASSERT_EQUAL(all, 100);
}

/* ---- weights ---- */

static void test_a_thousand_flipped_weights_on_one_node_are_found_and_named(void) {
  for (int threads = 1; threads <= 4; threads++)
    for (int norm_first = 0; norm_first < 2; norm_first++) {
      const guard_run run = {.transport = DL_TRANSPORT_SHM,
                             .first_seed = 1000u * (unsigned)threads,
                             .trials = 125,
                             .audit_every = 1 + threads,
                             .norm_first = norm_first};
      expect_all_caught(threads, &run, guard_weight_trial);
    }
}

/* Members with weights of their own are what nodes are: the copies are compared, and most are right. */
static void test_a_flipped_weight_in_one_of_several_copies_is_named_by_the_majority(void) {
  for (int threads = 3; threads <= 5; threads++) {
    const guard_run run = {.transport = DL_TRANSPORT_MPI, .first_seed = 40, .trials = 100, .audit_every = 3};
    expect_all_caught(threads, &run, guard_weight_trial);
  }
}

/* What leaves by dl_sync_get has been looked at. */
static dl_status get_damaged(dl_team *team, void *context) {
  const dl_param_group group = guard_group();
  const guard_run run = {.transport = *(int *)context, .audit_every = 1000};
  guard_trainer t;
  DL_TRY(guard_start(&t, team, &group, &run, 0, team->size));
  for (int step = 0; step < 3; step++) DL_TRY(guard_step(&t));
  float *out = malloc(sizeof(float) * GUARD_COUNT);
  if (!out) abort();
  dl_status before = dl_sync_get(t.sync, -1, out, 0);
  if (team->rank == 1) guard_flip((float *)(uintptr_t)dl_sync_weights(t.sync) + 2999, 30);
  dl_status status = dl_team_barrier(team, "flip");
  if (status == DL_OK) status = dl_sync_get(t.sync, -1, out, 0);
  dl_sync_destroy(&t.sync);
  free(out);
  return before == DL_OK ? status : dl_fail(DL_ERR_INTERNAL, "whole weights were refused");
}

static void test_damaged_weights_do_not_get_into_checkpoints(void) {
  for (int transport = DL_TRANSPORT_SHM; transport <= DL_TRANSPORT_MPI; transport++) {
    CU_ASSERT_EQUAL(dl_launch(3, get_damaged, &transport), DL_ERR_TRAIN);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "layers.0.weight[59, 49] (bit 30:"));
  }
}

/* More than one bit: the block is named. */
static dl_status damage_much(dl_team *team, void *context) {
  (void)context;
  const dl_param_group group = guard_group();
  const guard_run run = {.transport = DL_TRANSPORT_SHM, .audit_every = 1};
  guard_trainer t;
  DL_TRY(guard_start(&t, team, &group, &run, 0, 2));
  float *weights = (float *)(uintptr_t)dl_sync_weights(t.sync);
  if (team->rank == 0) memset(weights + 3008 + 1024, 0x55, 64 * sizeof *weights);
  dl_status status = dl_team_barrier(team, "damage");
  if (status == DL_OK) status = guard_step(&t);
  dl_sync_destroy(&t.sync);
  return status;
}

static void test_damage_of_many_bits_names_the_block(void) {
  CU_ASSERT_EQUAL(dl_launch(2, damage_much, NULL), DL_ERR_TRAIN);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "layers.1.weight, elements 1024 to 1099 of 1100"));
}

static const dl_test tests[] = {
    DL_TEST(test_a_thousand_flipped_gradients_are_all_caught_by_recomputing),
    DL_TEST(test_with_three_members_the_majority_names_the_one_that_was_wrong),
    DL_TEST(test_a_sound_member_has_no_disputes_with_itself_or_others),
    DL_TEST(test_without_recomputing_nothing_is_caught),
    DL_TEST(test_every_leaf_comes_to_every_other_member_in_turn),
    DL_TEST(test_a_thousand_flipped_weights_on_one_node_are_found_and_named),
    DL_TEST(test_a_flipped_weight_in_one_of_several_copies_is_named_by_the_majority),
    DL_TEST(test_damaged_weights_do_not_get_into_checkpoints),
    DL_TEST(test_damage_of_many_bits_names_the_block),
};
DL_TEST_MAIN("guards against silent corruption", tests)

/* Teams of threads, and how they end. */
#include "team_property.h"

#include <errno.h>
#include <sys/wait.h>

#include "comm/gate.h"
#include "core/clock.h"
#include "dltest.h"

static void test_every_operation_holds_for_one_to_eight_threads(void) {
  for (int threads = 1; threads <= 8; threads++) DL_ASSERT_OK(dl_launch(threads, team_properties, NULL));
}

static dl_status expect_name(dl_team *team, void *context) {
  if (strcmp(team->ops->name, context) != 0) return dl_fail(DL_ERR_INTERNAL, "this is a team of %s", team->ops->name);
  return team->processes == 1 && team->nodes == 1 ? DL_OK : dl_fail(DL_ERR_INTERNAL, "more than one process");
}

static void test_teams_are_named_for_what_they_are(void) {
  char solo[] = "solo", threads[] = "threads";
  DL_ASSERT_OK(dl_launch(1, expect_name, solo));
  DL_ASSERT_OK(dl_launch(3, expect_name, threads));
}

static dl_status count_members(dl_team *team, void *context) {
  if (team->rank == 0) *(int *)context = team->size;
  return DL_OK;
}

static void test_alone_the_default_is_all_cores(void) {
  int size = 0;
  DL_ASSERT_OK(dl_launch(0, count_members, &size));
  CU_ASSERT_EQUAL(size, dl_launch_cores());
  CU_ASSERT(size >= 1 && size <= sysconf(_SC_NPROCESSORS_ONLN));
}

static void test_senseless_numbers_of_threads_are_refused(void) {
  CU_ASSERT_EQUAL(dl_launch(-1, count_members, NULL), DL_ERR_USAGE);
  CU_ASSERT_EQUAL(dl_launch(100000, count_members, NULL), DL_ERR_USAGE);
}

/* ---- failing ---- */

static dl_status fail_together(dl_team *team, void *context) {
  (void)context;
  return dl_team_agree(team, team->rank == 2 ? dl_fail(DL_ERR_DATA, "the file is gone") : DL_OK);
}

static void test_an_agreed_failure_is_the_launchs_result(void) {
  CU_ASSERT_EQUAL(dl_launch(4, fail_together, NULL), DL_ERR_DATA);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "the file is gone");
  CU_ASSERT_EQUAL(dl_error_last()->rank, 2);
}

typedef struct lonely {
  int who;
  dl_status (*wait)(dl_team *team);
  int adopted; /* members that were told why */
} lonely;

static dl_status wait_barrier(dl_team *team) { return dl_team_barrier(team, "a barrier"); }
static dl_status wait_broadcast(dl_team *team) {
  int x = 0;
  return dl_team_broadcast(team, &x, sizeof x, 0);
}
static dl_status wait_allgather(dl_team *team) {
  int x = 0, all[16];
  return dl_team_allgather(team, &x, sizeof x, all);
}
static dl_status wait_exchange(dl_team *team) { return team->ops->exchange(team, NULL, 0, NULL, 0); }
static dl_status wait_shared(dl_team *team) {
  dl_shared shared;
  return team->ops->shared_new(team, 64, "a test", &shared);
}

static dl_status fail_alone(dl_team *team, void *context) {
  lonely *l = context;
  if (team->rank == l->who) return dl_fail(DL_ERR_SYSTEM, "rank %d tripped", team->rank);
  dl_status got = l->wait(team);
  if (got == DL_ERR_SYSTEM && dl_error_last()->rank == l->who) __atomic_fetch_add(&l->adopted, 1, __ATOMIC_RELAXED);
  return got;
}

static void test_a_member_that_fails_alone_frees_those_who_wait(void) {
  dl_status (*const waits[])(dl_team *) = {wait_barrier, wait_broadcast, wait_allgather, wait_exchange, wait_shared};
  for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
    for (int who = 0; who < 3; who++) {
      lonely l = {who, waits[i], 0};
      double begin = dl_now_s();
      CU_ASSERT_EQUAL(dl_launch(3, fail_alone, &l), DL_ERR_SYSTEM);
      CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "tripped"));
      CU_ASSERT_EQUAL(dl_error_last()->rank, who);
      CU_ASSERT_EQUAL(l.adopted, 2);
      CU_ASSERT(dl_now_s() - begin < 2);
    }
}

/* A failure right after a gate must not reach back to those who are about to pass it. */
static dl_status fail_after_barrier(dl_team *team, void *context) {
  DL_TRY(dl_team_barrier(team, "the last"));
  __atomic_fetch_add((int *)context, 1, __ATOMIC_RELAXED);
  return team->rank == 0 ? dl_fail(DL_ERR_DATA, "after all had passed") : DL_OK;
}

static void test_a_failure_after_a_barrier_does_not_break_it(void) {
  for (int round = 0; round < 200; round++) {
    int passed = 0;
    CU_ASSERT_EQUAL(dl_launch(4, fail_after_barrier, &passed), DL_ERR_DATA);
    CU_ASSERT_EQUAL(passed, 4);
  }
}

static dl_status leave_early(dl_team *team, void *context) {
  (void)context;
  return team->rank == 1 ? DL_OK : dl_team_barrier(team, "one too many");
}

static void test_a_member_that_ends_while_others_wait_is_an_error(void) {
  CU_ASSERT_EQUAL(dl_launch(3, leave_early, NULL), DL_ERR_INTERNAL);
  CU_ASSERT_EQUAL(dl_error_last()->rank, 1);
}

static dl_status send_nothing(dl_team *team, void *context) {
  int x;
  dl_message receive = {0, 3, &x, sizeof x};
  (void)context;
  return team->ops->exchange(team, NULL, 0, &receive, team->rank == 1);
}

static void test_a_message_that_nobody_sends_is_an_error(void) {
  CU_ASSERT_EQUAL(dl_launch(2, send_nothing, NULL), DL_ERR_INTERNAL);
}

/* ---- waiting too long ends the process, so a child does it ---- */

static dl_status sleep_through(dl_team *team, void *context) {
  (void)context;
  team->timeout_s = 0.3;
  if (team->rank == 2) sleep(20);
  return dl_team_barrier(team, "breakfast");
}

static void test_a_wait_beyond_the_timeout_ends_the_job_and_names_who_is_missing(void) {
  int ends[2], status = 0;
  char told[2048] = "";
  size_t used = 0;
  CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
  double begin = dl_now_s();
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    dl_launch(3, sleep_through, NULL);
    _exit(77);
  }
  close(ends[1]);
  for (ssize_t n; used < sizeof told - 1 && (n = read(ends[0], told + used, sizeof told - 1 - used)) > 0;)
    used += (size_t)n;
  close(ends[0]);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  CU_ASSERT(WIFEXITED(status));
  CU_ASSERT_EQUAL(WEXITSTATUS(status), 4);
  CU_ASSERT(dl_now_s() - begin < 10);
  CU_ASSERT_PTR_NOT_NULL(strstr(told, "dldist: "));
  CU_ASSERT_PTR_NOT_NULL(strstr(told, "rank 2 on "));
  CU_ASSERT_PTR_NOT_NULL(strstr(told, "in phase breakfast"));
  CU_ASSERT_PTR_EQUAL(strstr(told, "dldist: "), told);
  CU_ASSERT_PTR_NULL(strstr(told + 8, "dldist: ")); /* said once */
}

/* ---- the gate itself ---- */

static void test_a_late_gate_says_so_and_a_broken_one_too(void) {
  static dl_gate gate, other;
  static const _Atomic int broken = 1;
  dl_gate_watch late = {.timeout_s = 0.05, .spins = 10}, torn = {.timeout_s = 60, .spins = 10, .broken = &broken};
  CU_ASSERT_EQUAL(dl_gate_pass(&gate, 2, &late), DL_GATE_LATE);
  CU_ASSERT_EQUAL(dl_gate_pass(&other, 2, &torn), DL_GATE_BROKEN);
  CU_ASSERT_EQUAL(dl_gate_pass(&other, 2, &torn), DL_GATE_BROKEN); /* and stays so */
  late.timeout_s = 60;
  CU_ASSERT_EQUAL(dl_gate_pass(&gate, 2, &late), DL_GATE_PASSED); /* the second to come opens it */
}

static const dl_test tests[] = {
    DL_TEST(test_every_operation_holds_for_one_to_eight_threads),
    DL_TEST(test_teams_are_named_for_what_they_are),
    DL_TEST(test_alone_the_default_is_all_cores),
    DL_TEST(test_senseless_numbers_of_threads_are_refused),
    DL_TEST(test_an_agreed_failure_is_the_launchs_result),
    DL_TEST(test_a_member_that_fails_alone_frees_those_who_wait),
    DL_TEST(test_a_failure_after_a_barrier_does_not_break_it),
    DL_TEST(test_a_member_that_ends_while_others_wait_is_an_error),
    DL_TEST(test_a_message_that_nobody_sends_is_an_error),
    DL_TEST(test_a_wait_beyond_the_timeout_ends_the_job_and_names_who_is_missing),
    DL_TEST(test_a_late_gate_says_so_and_a_broken_one_too),
};
DL_TEST_MAIN("teams of threads", tests)

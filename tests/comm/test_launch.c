/* How processes come together and how a job ends: this program starts itself under mpirun, in the part that argv names.
 */
#include <errno.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/launch.h"
#include "comm/sync.h"
#include "core/clock.h"
#include "core/log.h"
#include "dltest.h"

/* ---- the parts that run under mpirun ---- */

static dl_status part_plain(dl_team *team, void *context) {
  (void)context;
  int64_t one = 1;
  DL_TRY(dl_team_sum_i64(team, &one, 1));
  if (team->rank == 0) printf("%s of %lld\n", team->ops->name, (long long)one);
  return DL_OK;
}

static dl_status part_fails_alone(dl_team *team, void *context) {
  (void)context;
  if (team->rank == 1) return dl_fail(DL_ERR_DATA, "rank 1 tripped");
  return dl_team_barrier(team, "waiting for rank 1");
}

static dl_status part_agrees(dl_team *team, void *context) {
  (void)context;
  return dl_team_agree(team, team->rank == 1 ? dl_fail(DL_ERR_DATA, "rank 1 cannot read it") : DL_OK);
}

/* The others end well: their launch must fail all the same. */
static dl_status part_fails_last(dl_team *team, void *context) {
  (void)context;
  return team->rank == 1 ? dl_fail(DL_ERR_DATA, "rank 1 failed at the end") : DL_OK;
}

static dl_status part_sleeps(dl_team *team, void *context) {
  (void)context;
  team->timeout_s = 1;
  if (team->rank == 2) sleep(30);
  return dl_team_barrier(team, "breakfast");
}

static dl_status part_sleeps_in_step(dl_team *team, void *context) {
  dl_tensor tensor = {.name = "w", .count = 64, .dims = 1, .shape = {64}};
  dl_param_group group = {.count = 64, .tensors = &tensor, .n_tensors = 1};
  dl_sync_options options = {.transport = DL_TRANSPORT_SHM, .shards = 3};
  dl_sync *sync = NULL;
  dl_sync_result result;
  (void)context;
  team->timeout_s = 1;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  for (int step = 0; step < 3; step++) {
    dl_cut cut = dl_cut_make(3, 3);
    double notes[DL_SYNC_NOTES] = {0};
    dl_sync_request request = {.notes = notes};
    DL_TRY(dl_sync_begin(sync, &cut));
    dl_sync_gradients(sync)[0] = 1;
    dl_sync_leaf_done(sync, team->rank, (double[DL_LEAF_SUMS]){1, 1});
    if (step == 2 && team->rank == 2) sleep(30);
    DL_TRY(dl_sync_finish(sync, &request, &result));
  }
  return DL_OK;
}

static void note_warning(void *context, const char *code, const char *message) {
  (void)context;
  printf("%s: %s\n", code, message);
}

/* With too little shared memory: an error where it was asked for, messages where it was not. */
static dl_status part_small_shm(dl_team *team, void *context) {
  dl_tensor tensor = {.name = "w", .count = 8 << 20, .dims = 1, .shape = {8 << 20}};
  dl_param_group group = {.count = 8 << 20, .tensors = &tensor, .n_tensors = 1};
  dl_sync_options options = {.transport = DL_TRANSPORT_SHM, .shards = 3};
  dl_sync *sync = NULL;
  (void)context;
  if (team->rank == 0) dl_log_set_sink(note_warning, NULL);
  dl_status status = dl_sync_new(team, &group, &options, &sync);
  if (team->rank == 0) printf("shm: %d %s\n", (int)status, status ? dl_error_last()->message : "");
  options.transport = DL_TRANSPORT_AUTO;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  if (team->rank == 0) printf("auto: %s\n", dl_sync_transport(sync));
  dl_sync_destroy(&sync);
  return DL_OK;
}

typedef struct part {
  const char *name;
  dl_member_fn fn;
  int threads;
  bool all_tell; /* every rank says what its launch returned and exits with 0; else rank 0 alone, with the exit code */
} part;
static const part parts[] = {
    {"plain", part_plain, 0, false},
    {"hybrid", part_plain, 2, false},
    {"fails_alone", part_fails_alone, 0, false},
    {"agrees", part_agrees, 0, true},
    {"agrees_and_exits", part_agrees, 0, false},
    {"fails_last", part_fails_last, 0, true},
    {"sleeps", part_sleeps, 0, false},
    {"sleeps_in_step", part_sleeps_in_step, 0, false},
    {"small_shm", part_small_shm, 0, false},
    {"unequal", part_plain, -1, true}, /* a thread more on rank 1 */
};

static int run_part(const char *name) {
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (strcmp(parts[i].name, name) != 0) continue;
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    int threads = parts[i].threads >= 0 ? parts[i].threads : rank && atoi(rank) == 1 ? 2 : 1;
    dl_status status = dl_launch(threads, parts[i].fn, NULL);
    int finalised = 0;
    MPI_Finalized(&finalised);
    if (!finalised) return 99;
    bool tells = parts[i].all_tell || dl_launch_is_first();
    if (status != DL_OK && tells) printf("told %d: %s\n", dl_status_exit_code(status), dl_error_last()->message);
    return parts[i].all_tell ? 0 : dl_status_exit_code(status);
  }
  return 98;
}

/* ---- starting them ---- */

typedef struct outcome {
  int exit_code; /* -1: by a signal */
  double seconds;
  char out[8192]; /* both streams */
} outcome;

static void run_command(const char *command, outcome *o) {
  size_t used = 0;
  double begin = dl_now_s();
  fflush(NULL);
  FILE *pipe = popen(command, "r");
  *o = (outcome){.exit_code = -1};
  if (!pipe) return;
  for (size_t n; used < sizeof o->out - 1 && (n = fread(o->out + used, 1, sizeof o->out - 1 - used, pipe)) > 0;)
    used += n;
  int status = pclose(pipe);
  o->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  o->seconds = dl_now_s() - begin;
}

static void run_under_mpirun(int ranks, const char *name, const char *before, const char *after, outcome *o) {
  char self[1024] = "", command[2048];
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) self[0] = 0;
  snprintf(command, sizeof command, "%s timeout 50 mpirun -q -n %d '%s' %s 2>&1 %s", before, ranks, self, name, after);
  run_command(command, o);
}

static int times_said(const char *text, const char *what) {
  int n = 0;
  for (; (text = strstr(text, what)) != NULL; text++) n++;
  return n;
}

#define HANGS_S 100 /* far more than a loaded machine takes, far less than the waits of 300 s */
#define MPIRUN(ranks, name) \
  outcome o;                \
  run_under_mpirun(ranks, name, "", "", &o)

static void test_mpirun_makes_a_team_of_its_ranks(void) {
  MPIRUN(3, "plain");
  CU_ASSERT_EQUAL(o.exit_code, 0);
  CU_ASSERT_STRING_EQUAL(o.out, "mpi of 3\n");
}

static void test_one_rank_under_mpirun_is_alone(void) {
  MPIRUN(1, "plain");
  CU_ASSERT_EQUAL(o.exit_code, 0);
  CU_ASSERT_STRING_EQUAL(o.out, "solo of 1\n");
}

static void test_ranks_may_have_threads(void) {
  MPIRUN(2, "hybrid");
  CU_ASSERT_EQUAL(o.exit_code, 0);
  CU_ASSERT_STRING_EQUAL(o.out, "mpi of 4\n");
}

static void test_a_rank_that_fails_alone_ends_the_job_with_one_message(void) {
  MPIRUN(3, "fails_alone");
  CU_ASSERT_EQUAL(o.exit_code, 3);
  CU_ASSERT_EQUAL(times_said(o.out, "dldist: "), 1);
  CU_ASSERT_EQUAL(times_said(o.out, "rank 1 tripped"), 1);
  CU_ASSERT(o.seconds < HANGS_S);
}

static void test_an_agreed_failure_ends_all_ranks_in_order(void) {
  MPIRUN(3, "agrees");
  CU_ASSERT_EQUAL(o.exit_code, 0);
  CU_ASSERT_EQUAL(times_said(o.out, "told 3: rank 1 cannot read it"), 3);
  CU_ASSERT_EQUAL(times_said(o.out, "dldist: "), 0);
  CU_ASSERT(o.seconds < HANGS_S);
}

/* mpirun kills the others at the first exit with a failure. */
static void test_rank_0_has_the_time_to_say_why(void) {
  for (int i = 0; i < 3; i++) {
    MPIRUN(3, "agrees_and_exits");
    CU_ASSERT_EQUAL(o.exit_code, 3);
    CU_ASSERT_STRING_EQUAL(o.out, "told 3: rank 1 cannot read it\n");
  }
}

static void test_a_failure_at_the_end_is_the_result_of_all_ranks(void) {
  MPIRUN(3, "fails_last");
  CU_ASSERT_EQUAL(times_said(o.out, "told 3: rank 1 failed at the end"), 3);
}

static void test_a_rank_that_does_not_come_is_named_and_the_job_ends(void) {
  MPIRUN(3, "sleeps");
  CU_ASSERT_EQUAL(o.exit_code, 4);
  CU_ASSERT_EQUAL(times_said(o.out, "in phase breakfast"), 1);
  CU_ASSERT_EQUAL(times_said(o.out, "dldist: rank 2 on "), 1);
  CU_ASSERT(o.seconds < HANGS_S);
}

static void test_a_rank_that_does_not_end_its_step_is_named(void) {
  MPIRUN(3, "sleeps_in_step");
  CU_ASSERT_EQUAL(o.exit_code, 4);
  CU_ASSERT_EQUAL(times_said(o.out, "in step 3, phase gradients"), 1);
  CU_ASSERT_EQUAL(times_said(o.out, "dldist: rank 2 on "), 1);
  CU_ASSERT(o.seconds < HANGS_S);
}

static void test_ranks_with_unequal_threads_are_refused(void) {
  MPIRUN(2, "unequal");
  CU_ASSERT_EQUAL(times_said(o.out, "told 2: ranks differ in their number of threads: rank 0 has 1, rank 1 has 2"), 2);
}

/* A /dev/shm of 16 MiB, in a mount namespace of its own: for root alone. */
static void test_too_little_shared_memory_is_an_error_or_a_warning(void) {
  outcome o;
  run_command("unshare -m sh -c 'mount -t tmpfs -o size=16m none /dev/shm' 2>&1", &o);
  if (o.exit_code != 0) {
    printf("(not root: skipped) ");
    return;
  }
  run_under_mpirun(3, "small_shm", "unshare -m sh -c \"mount -t tmpfs -o size=16m none /dev/shm;", "; ls /dev/shm\"",
                   &o);
  CU_ASSERT_EQUAL(times_said(o.out, "shm: 5 shared memory for weights and gradients needs"), 1);
  CU_ASSERT_EQUAL(times_said(o.out, "/dev/shm has 1"), 2);
  CU_ASSERT_EQUAL(times_said(o.out, "shared_memory: "), 1);
  CU_ASSERT_EQUAL(times_said(o.out, "auto: mpi\n"), 1);
  CU_ASSERT_EQUAL(times_said(o.out, "dldist-"), 0);
}

/* ---- what the environment says ---- */

static const char *const launcher_signs[] = {
    "OMPI_COMM_WORLD_SIZE", "PMIX_RANK",    "PMI_RANK",    "PMI_SIZE", "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_JOB_ID"};

static void forget_launchers(void) {
  for (size_t i = 0; i < sizeof launcher_signs / sizeof *launcher_signs; i++) unsetenv(launcher_signs[i]);
}

static void test_each_launcher_is_recognised_by_its_sign(void) {
  for (int i = 0; i < 4; i++) {
    forget_launchers();
    CU_ASSERT_FALSE(dl_launch_under_launcher());
    setenv(launcher_signs[i], "2", 1);
    CU_ASSERT_TRUE(dl_launch_under_launcher());
  }
  forget_launchers();
}

static void test_a_batch_script_is_no_launcher(void) {
  forget_launchers();
  setenv("SLURM_JOB_ID", "17", 1);
  setenv("SLURM_PROCID", "0", 1);
  CU_ASSERT_FALSE(dl_launch_under_launcher());
  setenv("SLURM_STEP_ID", "0", 1); /* a shell that srun started: one task */
  setenv("SLURM_STEP_NUM_TASKS", "1", 1);
  CU_ASSERT_FALSE(dl_launch_under_launcher());
  forget_launchers();
}

static void test_srun_without_pmi_is_told_what_to_do(void) {
  forget_launchers();
  setenv("SLURM_STEP_ID", "0", 1);
  setenv("SLURM_PROCID", "0", 1);
  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  CU_ASSERT_TRUE(dl_launch_under_launcher());
  CU_ASSERT_EQUAL(dl_launch(0, part_plain, NULL), DL_ERR_USAGE);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->hint, "srun --mpi=pmix"));
  forget_launchers();
}

static dl_status do_nothing(dl_team *team, void *context) {
  (void)context;
  return dl_team_barrier(team, "nothing");
}

static void test_alone_mpi_is_not_touched_and_the_start_takes_milliseconds(void) {
  int initialised = 1;
  double least = 1e9;
  for (int i = 0; i < 5; i++) {
    double begin = dl_now_s();
    DL_ASSERT_OK(dl_launch(2, do_nothing, NULL));
    if (dl_now_s() - begin < least) least = dl_now_s() - begin;
  }
  MPI_Initialized(&initialised);
  CU_ASSERT_FALSE(initialised);
  CU_ASSERT(least < 0.02);
}

/* MPI itself is no subject for a sanitizer. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(SANITIZED) || defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define UNDER_MPIRUN false
#else
#define UNDER_MPIRUN true
#endif

static const dl_test tests_alone[] = {
    DL_TEST(test_each_launcher_is_recognised_by_its_sign),
    DL_TEST(test_a_batch_script_is_no_launcher),
    DL_TEST(test_srun_without_pmi_is_told_what_to_do),
    DL_TEST(test_alone_mpi_is_not_touched_and_the_start_takes_milliseconds),
};
static const dl_test tests_under_mpirun[] = {
    DL_TEST(test_mpirun_makes_a_team_of_its_ranks),
    DL_TEST(test_one_rank_under_mpirun_is_alone),
    DL_TEST(test_ranks_may_have_threads),
    DL_TEST(test_a_rank_that_fails_alone_ends_the_job_with_one_message),
    DL_TEST(test_an_agreed_failure_ends_all_ranks_in_order),
    DL_TEST(test_rank_0_has_the_time_to_say_why),
    DL_TEST(test_a_failure_at_the_end_is_the_result_of_all_ranks),
    DL_TEST(test_a_rank_that_does_not_come_is_named_and_the_job_ends),
    DL_TEST(test_a_rank_that_does_not_end_its_step_is_named),
    DL_TEST(test_ranks_with_unequal_threads_are_refused),
    DL_TEST(test_too_little_shared_memory_is_an_error_or_a_warning),
};

int main(int argc, char **argv) {
  if (argc == 2) return run_part(argv[1]);
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
  setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
  int failed = dl_test_main("launching alone", tests_alone, sizeof tests_alone / sizeof *tests_alone);
  if (UNDER_MPIRUN)
    failed |= dl_test_main("launching under mpirun", tests_under_mpirun, sizeof tests_under_mpirun / sizeof(dl_test));
  return failed;
}

/* Alone, a process makes threads and never touches MPI: that keeps the start at milliseconds. Under a launcher it joins
 * the others first. Member 0 of each process runs on the calling thread, which is the one that MPI knows. */
#include "comm/launch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/crew.h"
#include "core/cgroup.h"

#define STACK_BYTES ((size_t)8 << 20)
#define MAX_THREADS 1024
#define DL_MESSAGE_TAGS 1024    /* tags of dl_message are below this */
#define LET_SPEAK_NS 300000000L /* mpirun ends all ranks when one exits with a failure: rank 0 says why first */
#define LAST_WORDS_S 5.0        /* how long a failed process waits for the others to fail with it */

/* ---- what the environment says ---- */

static int slurm_step_tasks(void) {
  const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
  if (!tasks || !getenv("SLURM_STEP_ID") || !getenv("SLURM_PROCID")) return 0;
  return atoi(tasks);
}

static bool has_pmi(void) {
  static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"};
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
    if (getenv(signs[i])) return true;
  return false;
}

/* A batch script has SLURM_PROCID too, and is not started by srun: only a step of several tasks counts. */
bool dl_launch_under_launcher(void) { return has_pmi() || slurm_step_tasks() > 1; }

/* World rank 0 is member 0: its node is the first, and it is the first of its node. */
bool dl_launch_is_first(void) {
  static const char *const ranks[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};
  for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
    const char *rank = getenv(ranks[i]);
    if (rank) return atoi(rank) == 0;
  }
  return true;
}

static dl_status fail_srun(void) {
  dl_fail(DL_ERR_USAGE, "srun started %d tasks, but MPI sees one: srun and MPI do not know each other",
          slurm_step_tasks());
  return dl_hint("use srun --mpi=pmix, or mpirun inside the job");
}

/* ---- cores ---- */

static int affinity_cores(void) {
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t *set = CPU_ALLOC((size_t)cpus);
    if (!set) return 1;
    size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
    int failed = sched_getaffinity(0, bytes, set), cores = failed ? 0 : CPU_COUNT_S(bytes, set);
    CPU_FREE(set);
    if (!failed) return cores > 0 ? cores : 1;
    if (errno != EINVAL) return 1;
  }
  return 1;
}

static int within_quota(int cores) {
  double quota = dl_cgroup_read("").cores;
  if (quota <= 0 || quota >= cores) return cores;
  return quota < 1 ? 1 : (int)quota;
}

int dl_launch_cores(void) { return within_quota(affinity_cores()); }

/* ---- running ---- */

typedef struct member_run {
  dl_member *member;
  dl_member_fn fn;
  void *context;
} member_run;

static void *run_member(void *argument) {
  member_run *run = argument;
  dl_status status = dl_crew_gate(run->member, "start");
  if (status == DL_OK) status = run->fn(&run->member->team, run->context);
  dl_member_leave(run->member, status);
  return NULL;
}

static int start_threads(const dl_crew *crew, member_run *runs, pthread_t *threads) {
  pthread_attr_t attributes;
  int started = 1, error = pthread_attr_init(&attributes);
  if (error) return -error;
  error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
  while (!error && started < crew->threads) {
    error = pthread_create(&threads[started], &attributes, run_member, &runs[started]);
    if (!error) started++;
  }
  pthread_attr_destroy(&attributes);
  return started;
}

/* Runs all members of this process; how they ended is kept with each. */
static void run_crew(dl_crew *crew, member_run *runs, pthread_t *threads) {
  int started = crew->threads > 1 ? start_threads(crew, runs, threads) : 1;
  if (started == crew->threads) {
    run_member(&runs[0]);
  } else { /* the others wait at the first gate, to which member 0 does not come */
    dl_fail(DL_ERR_SYSTEM, "thread %d of %d could not be started", started < 1 ? 1 : started, crew->threads);
    dl_hint("give fewer threads (-j)");
    dl_member_leave(&crew->members[0], DL_ERR_SYSTEM);
  }
  for (int t = 1; t < started; t++) pthread_join(threads[t], NULL);
}

/* The lowest member that failed speaks for the process; then the lowest process that failed for all. */
static dl_status conclude(dl_crew *crew) {
  dl_status status = DL_OK;
  dl_error error = {0};
  for (int t = crew->threads - 1; t >= 0; t--) {
    const dl_member *member = &crew->members[t];
    if (member->end == DL_OK) continue;
    status = member->end;
    error = member->error;
  }
  if (crew->wire) {
    double patience_s = status == DL_OK ? crew->members[0].team.timeout_s : LAST_WORDS_S;
    if (!dl_wire_last_words(crew->wire, &status, &error, patience_s)) {
      if (status != DL_OK)
        dl_error_adopt(&error);
      else
        status = DL_ERR_TRAIN; /* the record says for whom this process waited */
      crew->members[0].team.ops->abort(&crew->members[0].team, dl_status_exit_code(status));
    }
  }
  return status == DL_OK ? DL_OK : dl_error_adopt(&error);
}

static dl_status run_team(int threads, dl_wire *wire, dl_member_fn fn, void *context) {
  dl_crew *crew = NULL;
  member_run *runs = dl_calloc((size_t)threads, sizeof *runs);
  pthread_t *handles = dl_calloc((size_t)threads, sizeof *handles);
  dl_status status = runs && handles
                         ? dl_crew_new(threads, wire ? within_quota(1 << 20) : dl_launch_cores(), wire, &crew)
                         : DL_ERR_NOMEM;
  if (status == DL_OK) {
    for (int t = 0; t < threads; t++) runs[t] = (member_run){&crew->members[t], fn, context};
    run_crew(crew, runs, handles);
    status = conclude(crew);
  } else if (wire) {
    dl_error error = *dl_error_last();
    bool met = dl_wire_last_words(wire, &status, &error, LAST_WORDS_S);
    status = dl_error_adopt(&error);
    if (!met) {
      dl_crew_say_why();
      dl_wire_abort(wire, dl_status_exit_code(status));
    }
  }
  dl_crew_destroy(&crew);
  free(handles);
  free(runs);
  return status;
}

static dl_status check_threads(int threads) {
  if (threads >= 1 && threads <= MAX_THREADS) return DL_OK;
  return dl_fail(DL_ERR_USAGE, "%d threads: from 1 to %d can be used", threads, MAX_THREADS);
}

static dl_status run_on_wire(dl_wire *wire, int threads, dl_member_fn fn, void *context) {
  dl_status status = DL_OK;
  if (wire && (int64_t)DL_MESSAGE_TAGS * threads * threads > dl_wire_tag_limit(wire))
    status = dl_fail(DL_ERR_USAGE, "%d threads a rank are more than this MPI's message tags allow for", threads);
  if (status == DL_OK) status = run_team(threads, wire, fn, context);
  dl_wire_destroy(&wire);
  return status;
}

dl_status dl_launch_over(const void *communicator, int threads, dl_member_fn fn, void *context) {
  dl_wire *wire = NULL;
  if (threads == 0) threads = 1;
  DL_TRY(check_threads(threads));
  DL_TRY(dl_wire_new(communicator, threads, &wire));
  return run_on_wire(wire, threads, fn, context);
}

dl_status dl_launch_over_fortran(int communicator, int threads, dl_member_fn fn, void *context) {
  dl_wire *wire = NULL;
  if (threads == 0) threads = 1;
  DL_TRY(check_threads(threads));
  DL_TRY(dl_wire_new_fortran(communicator, threads, &wire));
  return run_on_wire(wire, threads, fn, context);
}

dl_status dl_launch(int threads, dl_member_fn fn, void *context) {
  bool ours = false;
  if (!dl_launch_under_launcher()) {
    if (threads == 0) threads = dl_launch_cores() < MAX_THREADS ? dl_launch_cores() : MAX_THREADS;
    DL_TRY(check_threads(threads));
    return run_team(threads, NULL, fn, context);
  }
  if (threads != 0) DL_TRY(check_threads(threads));
  if (!has_pmi()) return fail_srun(); /* MPI_Init would end the process with its own words */
  DL_TRY(dl_wire_begin(&ours));
  dl_wire *wire = NULL;
  dl_status status = dl_wire_new(NULL, threads ? threads : 1, &wire);
  if (status == DL_OK && !wire && slurm_step_tasks() > 1 && !getenv("OMPI_COMM_WORLD_SIZE")) status = fail_srun();
  if (status == DL_OK) status = run_on_wire(wire, threads ? threads : 1, fn, context);
  dl_wire_end(ours);
  if (status != DL_OK && !dl_launch_is_first()) nanosleep(&(struct timespec){0, LET_SPEAK_NS}, NULL);
  return status;
}

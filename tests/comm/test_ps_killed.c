/* What a server does with its log of pushes when it was killed, or could not write it.
 *
 * Servers are processes that are killed; their workers are threads of this program. The oracle is the log itself, whose
 * entries are applied here one after another by a few lines of this file: the server's weights must have those bits,
 * and the entries must be each leaf of each step once. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/launch.h"
#include "comm/ps_log.h"
#include "comm/ps_worker.h"
#include "comm/sync.h"
#include "dltest.h"

static char folder[64] = "/dev/shm/dl-test-kill-XXXXXX"; /* the many small files are fsynced */

static uint64_t mixed(uint64_t *state) {
  uint64_t x = (*state += 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 27);
}

#define STEPS 40
#define EPOCH 20
#define SHARDS 5
#define SAMPLES 20
#define FLOATS 5008
#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
static const dl_tensor tensor = {.count = 5001, .dims = 1, .shape = {5001}, .trainable = true, .lr_scale = 1};

/* Momentum: a state, so that order and number of the steps matter. */
static _Thread_local double lr_share = 1;
static void momentum(float *w, float *m, float gradient, double share) {
  *m = 0.9f * *m + gradient;
  *w -= 0.5f * (float)share * *m;
}
static void apply(void *context, const dl_tensor *of, size_t n, float *restrict weights, const float *restrict gradient,
                  float *const state[]) {
  (void)context, (void)of;
  for (size_t i = 0; i < n; i++) momentum(&weights[i], &state[0][i], gradient[i], lr_share);
}
static void pace(void *context, double share) {
  (void)context;
  lr_share = share;
}
static const dl_param_group group = {
    .count = FLOATS, .tensors = &tensor, .n_tensors = 1, .n_slots = 1, .apply = apply, .pace = pace};

typedef struct place {
  char address[128], run[128], weights[128];
  int servers, consistency;
  int64_t room; /* of its files */
} place;

static dl_status serve_member(dl_team *team, void *context) {
  const place *p = context;
  dl_sync *sync = NULL;
  dl_ps_options ps = {.role = DL_PS_SERVE,
                      .bind = p->address,
                      .consistency = p->consistency,
                      .staleness = 2,
                      .digest = DIGEST,
                      .log = DL_PS_LOG_WRITE,
                      .log_bytes = (int64_t)1 << 40,
                      .batch = SAMPLES,
                      .epoch_steps = EPOCH,
                      .epoch_samples = EPOCH * SAMPLES};
  dl_sync_options options = {.shards = SHARDS, .ps = &ps};
  team->timeout_s = 60;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_status status = dl_sync_log(sync, p->run, 0, false);
  for (int64_t step = 0; status == DL_OK && step < STEPS; step++) {
    dl_cut cut = dl_cut_make(SAMPLES, SHARDS);
    dl_sync_result result;
    dl_sync_request request = {.step = step};
    status = dl_sync_begin(sync, &cut);
    if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
    if (status == DL_OK && result.sums[1] != SAMPLES)
      status = dl_fail(DL_ERR_INTERNAL, "step %lld has %g samples", (long long)step, result.sums[1]);
  }
  FILE *file = team->rank == 0 && status == DL_OK ? fopen(p->weights, "wb") : NULL;
  if (file) fwrite(dl_sync_weights(sync), sizeof(float), FLOATS, file);
  if (file) fclose(file);
  dl_sync_dismiss(sync, status);
  dl_sync_destroy(&sync);
  return status;
}

/* `most_bytes` of a file, 0: any number. */
static pid_t start_server(place *p, int64_t most_bytes) {
  pid_t pid = fork();
  if (pid) return pid;
  if (most_bytes) {
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)most_bytes, (rlim_t)most_bytes});
  }
  dl_status status = dl_launch(p->servers, serve_member, p);
  if (status != DL_OK) fprintf(stderr, "server: %s\n", dl_error_last()->message);
  _exit(status != DL_OK);
}

/* A process that begins a server, has it end `deaths` times before its work is done, and exits as the last one does. It
 * is forked before there are threads. */
typedef bool end_early(place *p, uint64_t *seed);

static pid_t start_keeper(place *p, int deaths, end_early *end, uint64_t seed) {
  pid_t keeper = fork();
  if (keeper) return keeper;
  for (; deaths > 0; deaths--)
    if (!end(p, &seed)) _exit(2);
  int how = 1;
  pid_t server = start_server(p, 0);
  waitpid(server, &how, 0);
  _exit(how != 0);
}

static bool by_kill(place *p, uint64_t *seed) {
  pid_t server = start_server(p, 0);
  usleep((useconds_t)(60000 + mixed(seed) % 150000));
  kill(server, SIGKILL);
  return waitpid(server, NULL, 0) == server;
}

/* Room for a few entries more than it begins with. */
static bool by_full_disk(place *p, uint64_t *seed) {
  int how = 0;
  p->room += FLOATS / p->servers * (int64_t)sizeof(float) * (int64_t)(3 + mixed(seed) % 9) / 2;
  pid_t server = start_server(p, p->room);
  return waitpid(server, &how, 0) == server && WIFEXITED(how) && WEXITSTATUS(how) == 1;
}

typedef struct worker_run {
  const char *address;
  uint64_t seed;
  bool again;
  _Atomic bool *over;
  dl_status status;
} worker_run;

static dl_status compute(dl_ps_worker *worker, const dl_ps_task *task, const float *weights, uint64_t *seed) {
  for (int64_t leaf = task->begin_leaf; leaf < task->end_leaf; leaf++) {
    float *gradient = dl_ps_worker_gradients(worker);
    if (!gradient) return DL_ERR_NOMEM;
    for (size_t i = 0; i < tensor.count; i++)
      gradient[i] = 0.01f * weights[i] + (float)((i * 31 + (size_t)(task->step * 7 + leaf)) % 101) - 50;
    dl_ps_worker_leaf_done(worker, leaf, (double[DL_LEAF_SUMS]){1, SAMPLES / SHARDS});
  }
  usleep((useconds_t)(mixed(seed) % 9000));
  return DL_OK;
}

static dl_status work(worker_run *run) {
  dl_ps_worker *worker = NULL;
  int64_t shards;
  float *weights = calloc(FLOATS, sizeof *weights);
  dl_ps_worker_options options = {.address = run->address, .timeout_s = 6};
  dl_status status = weights ? dl_ps_worker_open(&options, &worker, &shards) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_ps_worker_join(worker, &group, weights, DIGEST, "test");
  for (dl_ps_task task = {0}; status == DL_OK && !task.end;) {
    status = dl_ps_worker_next(worker, &task);
    if (status == DL_OK && !task.end) status = compute(worker, &task, weights, &run->seed);
  }
  if (worker) dl_ps_worker_leave(worker, "");
  dl_ps_worker_close(&worker);
  free(weights);
  return status;
}

/* Who is told that a server failed begins again with the next one, until the training is over. */
static void *start_work(void *context) {
  worker_run *run = context;
  run->status = work(run);
  while (run->again && run->status != DL_OK && !atomic_load(run->over)) {
    usleep(100000);
    run->status = work(run);
  }
  atomic_store(run->over, true);
  return NULL;
}

/* What the log of server `s` says: each leaf of each step once; applied here, in its order, to `weights`. */
static void apply_log(const place *p, int s, float *weights) {
  char path[192];
  int covered[STEPS][SHARDS] = {0};
  int64_t n = 0;
  dl_ps_log *log = NULL;
  snprintf(path, sizeof path, "%s/pushes/server-%d.log", p->run, s);
  DL_ASSERT_OK(dl_ps_log_open(path, false, &log));
  const dl_ps_log_base *from = log ? dl_ps_log_base_of(log) : NULL;
  const dl_ps_log_entry *entry = from ? dl_ps_log_entries(log, &n) : NULL;
  float *values = calloc(FLOATS, sizeof *values), *m = calloc(FLOATS, sizeof *m);
  if (!values || !m) abort();
  for (int64_t i = 0; i < n; i++) {
    const int64_t begin = entry[i].node.index << entry[i].node.level;
    int64_t end = (entry[i].node.index + 1) << entry[i].node.level;
    if (end > SHARDS) end = SHARDS;
    for (int64_t leaf = begin; leaf < end && entry[i].step < STEPS; leaf++) covered[entry[i].step][leaf]++;
    DL_ASSERT_OK(dl_ps_log_values(log, &entry[i], values));
    const float factor = (float)(1 / entry[i].sums[1]);
    for (size_t k = from->begin; k < from->end && k < tensor.count; k++)
      momentum(&weights[k], &m[k], values[k - from->begin] * factor, (double)(end - begin) / SHARDS);
  }
  for (int step = 0; step < STEPS; step++)
    for (int leaf = 0; leaf < SHARDS; leaf++) CU_ASSERT_EQUAL(covered[step][leaf], 1);
  free(values);
  free(m);
  dl_ps_log_close(&log);
}

static void expect_weights_of_the_log(const place *p) {
  float *found = calloc(FLOATS, sizeof *found), *expected = calloc(FLOATS, sizeof *expected);
  if (!found || !expected) abort();
  for (int s = 0; s < p->servers; s++) apply_log(p, s, expected);
  FILE *file = fopen(p->weights, "rb");
  CU_ASSERT(file && fread(found, sizeof *found, FLOATS, file) == FLOATS);
  if (file) fclose(file);
  CU_ASSERT(memcmp(found, expected, FLOATS * sizeof *found) == 0);
  CU_ASSERT(found[1] != 0);
  free(found);
  free(expected);
}

static void run_trial(int trial, const char *kind, int deaths, end_early *end, bool again) {
  place p = {.servers = 1 + (trial + 1) % 2, .consistency = (trial ^ trial / 2) % 2 ? DL_PS_ASP : DL_PS_SSP};
  snprintf(p.address, sizeof p.address, "ipc://%s/%s%d", folder, kind, trial);
  snprintf(p.run, sizeof p.run, "%s/run-%s%d", folder, kind, trial);
  snprintf(p.weights, sizeof p.weights, "%s/weights-%s%d", folder, kind, trial);
  pid_t keeper = start_keeper(&p, deaths, end, (uint64_t)trial);
  _Atomic bool over = false;
  worker_run run[2];
  pthread_t thread[2];
  for (int i = 0; i < 2; i++) {
    run[i] = (worker_run){p.address, (uint64_t)i, again, &over, DL_OK};
    CU_ASSERT_EQUAL(pthread_create(&thread[i], NULL, start_work, &run[i]), 0);
  }
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  int how = 1;
  waitpid(keeper, &how, 0);
  CU_ASSERT_EQUAL(how, 0);
  CU_ASSERT(run[0].status == DL_OK || run[1].status == DL_OK); /* the last one may have come too late to hear the end */
  expect_weights_of_the_log(&p);
}

static int count_trials(void) {
  const char *asked = getenv("DLDIST_TEST_RUNS");
  return asked && atoi(asked) > 2 ? atoi(asked) : 2;
}

static void test_a_killed_server_has_every_push_that_was_acknowledged_and_the_same_bits(void) {
  for (int trial = 0; trial < count_trials(); trial++) run_trial(trial, "kill", 3, by_kill, false);
}

static void test_a_server_whose_log_cannot_grow_ends_and_goes_on_with_the_same_bits(void) {
  for (int trial = 0; trial < count_trials(); trial++) run_trial(trial, "full", 2, by_full_disk, true);
}

static const dl_test tests[] = {
    DL_TEST(test_a_killed_server_has_every_push_that_was_acknowledged_and_the_same_bits),
    DL_TEST(test_a_server_whose_log_cannot_grow_ends_and_goes_on_with_the_same_bits),
};

int main(void) {
  if (access("/dev/shm", W_OK)) strcpy(folder, "/tmp/dl-test-kill-XXXXXX");
  return dl_test_main_in(folder, "servers that are killed", tests, sizeof tests / sizeof *tests);
}

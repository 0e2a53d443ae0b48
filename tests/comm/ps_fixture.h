/* ps_fixture.h - servers and workers that are threads of a test program and speak over real sockets, and a serial sum
 * along the tree, worked out by recursion, as the oracle. */
#ifndef DL_TEST_PS_FIXTURE_H
#define DL_TEST_PS_FIXTURE_H

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/launch.h"
#include "comm/ps_worker.h"
#include "comm/sync.h"
#include "dltest.h"

#ifndef STEPS
#define STEPS 30
#endif
#define SHARDS 7
#define FLOATS 40016 /* two tensors: blocks, slices and a gap; slices longer than any text */
#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const dl_tensor tensors[] = {
    {.offset = 0, .count = 38001, .dims = 1, .shape = {38001}, .trainable = true, .lr_scale = 1},
    {.offset = 38016, .count = 2000, .dims = 1, .shape = {2000}, .trainable = true, .lr_scale = 1}};

static _Thread_local double lr_share = 1;
static void sgd(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                const float *restrict gradient, float *const state[]) {
  (void)context, (void)tensor, (void)state;
  for (size_t i = 0; i < n; i++) weights[i] -= 0.5f * (float)lr_share * gradient[i];
}
static void pace(void *context, double share) {
  (void)context;
  lr_share = share;
}
static const dl_param_group group = {.count = FLOATS, .tensors = tensors, .n_tensors = 2, .apply = sgd, .pace = pace};

static int64_t samples_of(int64_t step) {
  return step % 10 == 9 ? 3 : 20;
} /* an epoch of 10 steps, its last one ragged */

static float leaf_value(int64_t step, int64_t leaf, size_t i, float weight) {
  uint64_t x = (uint64_t)step * 1000003 + (uint64_t)leaf * 7919 + i * 104729;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return ldexpf((float)(x >> 40) - 8e6f, (int)(x % 9) - 25) + 0.125f * weight;
}

static float recursive(const float *v, int64_t n) {
  if (n == 1) return v[0];
  int64_t k = 1;
  while (2 * k < n) k *= 2;
  return recursive(v, k) + recursive(v + k, n - k);
}

static void oracle(float *weights, bool only_sum) {
  memset(weights, 0, FLOATS * sizeof *weights);
  for (int64_t step = 0; step < STEPS; step++) {
    dl_cut cut = dl_cut_make(samples_of(step), SHARDS);
    for (int t = 0; t < 2; t++)
      for (size_t i = tensors[t].offset; i < tensors[t].offset + tensors[t].count; i++) {
        float v[SHARDS];
        for (int64_t leaf = 0; leaf < cut.leaves; leaf++)
          v[leaf] = leaf_value(step, leaf, i, only_sum ? 0 : weights[i]);
        weights[i] -= 0.5f * (recursive(v, cut.leaves) * (float)(1.0 / (double)samples_of(step)));
      }
  }
}

/* ---- a server ---- */

typedef struct server_run {
  dl_ps_options ps;
  int servers, compress;
  double bucket_bytes, topk;
  const char *log; /* a folder; NULL: none */
  float weights[FLOATS];
  dl_ps_staleness staleness;
  dl_status status;
  double loss;
} server_run;

static dl_status serve_member(dl_team *team, void *context) {
  server_run *run = context;
  dl_sync *sync = NULL;
  dl_sync_options options = {.shards = SHARDS,
                             .norm_first = run->ps.consistency == DL_PS_BSP,
                             .bucket_bytes = run->bucket_bytes,
                             .compress = run->compress,
                             .topk = run->topk,
                             .ps = &run->ps};
  team->timeout_s = 60;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_status status = run->log ? dl_sync_log(sync, run->log, 0, false) : DL_OK;
  for (int64_t step = 0; status == DL_OK && step < STEPS; step++) {
    dl_cut cut = dl_cut_make(samples_of(step), SHARDS);
    dl_sync_result result;
    dl_sync_request request = {.step = step};
    status = dl_sync_begin(sync, &cut);
    if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
    if (status == DL_OK && (!result.finite || result.sums[1] != (double)samples_of(step)))
      status = dl_fail(DL_ERR_INTERNAL, "step %lld has %g samples", (long long)step, result.sums[1]);
    if (team->rank == 0) run->loss = result.sums[0];
  }
  dl_sync_dismiss(sync, status);
  if (team->rank == 0) {
    memcpy(run->weights, dl_sync_weights(sync), sizeof run->weights);
    if (dl_sync_staleness(sync)) run->staleness = *dl_sync_staleness(sync);
  }
  dl_sync_destroy(&sync);
  return status;
}

static void *serve(void *context) {
  server_run *run = context;
  run->status = dl_launch(run->servers, serve_member, run);
  if (run->status != DL_OK) fprintf(stderr, "server: %s\n", dl_error_last()->message);
  return NULL;
}

/* ---- workers ---- */

typedef struct worker_run {
  const char *address, *key, *server_key, *digest;
  int tasks; /* how many it does before it goes; -1: all */
  bool dies; /* without a word, with a task in its hands */
  useconds_t slow;
  bool of_weights; /* gradients depend on the weights */
  bool messages;   /* it shares no memory with its servers */
  bool parts;      /* slices travel in parts while it computes */
  bool halfway;    /* who dies: with half of a sum on its way */
  int compress;
  double topk;
  double timeout_s;
  dl_status status;
  char message[800];
  int done;
  _Atomic bool ended;
} worker_run;

#define STRIDE 1777 /* floats that backward writes at once: no multiple of anything */

static bool is_gap(size_t i) { return i >= tensors[0].count && i < tensors[1].offset; }

/* As a network's backward writes it, from its end on, reading weights that have been waited for. */
static size_t write_leaf(const worker_run *run, dl_ps_worker *worker, const dl_ps_task *task, int64_t leaf,
                         const float *weights, float *gradient, const double sums[DL_LEAF_SUMS]) {
  const bool leaves = run->halfway && run->done + 1 == run->tasks && leaf == task->end_leaf - 1;
  const size_t stop = leaves ? FLOATS / 3 : 0;
  for (size_t i = 0; i < FLOATS && run->parts; i += STRIDE) dl_ps_worker_await(worker, i);
  if (run->parts) dl_ps_worker_await(worker, FLOATS);
  for (size_t i = FLOATS; i-- > stop;) {
    gradient[i] = is_gap(i) ? 0 : leaf_value(task->step, leaf, i, run->of_weights ? weights[i] : 0);
    if (run->parts && i % STRIDE == 0) dl_ps_worker_ready(worker, leaf, i, sums);
  }
  return stop;
}

static dl_status do_task(const worker_run *run, dl_ps_worker *worker, const dl_ps_task *task, const float *weights) {
  for (int64_t leaf = task->begin_leaf; leaf < task->end_leaf; leaf++) {
    int64_t begin, end;
    dl_cut cut = dl_cut_make(task->samples, SHARDS);
    dl_cut_leaf_range(&cut, leaf, &begin, &end);
    const double sums[DL_LEAF_SUMS] = {1, (double)(end - begin)};
    float *gradient = dl_ps_worker_gradients(worker);
    if (!gradient) return DL_ERR_NOMEM;
    if (write_leaf(run, worker, task, leaf, weights, gradient, sums)) {
      usleep(20000); /* what was pushed is on its way */
      return DL_OK;
    }
    dl_ps_worker_leaf_done(worker, leaf, sums);
  }
  if (run->slow) usleep(run->slow);
  return DL_OK;
}

static dl_status work(worker_run *run) {
  dl_ps_worker *worker = NULL;
  int64_t shards;
  float *weights = calloc(FLOATS, sizeof *weights);
  dl_ps_worker_options options = {.address = run->address,
                                  .key = run->key,
                                  .server_key = run->server_key,
                                  .messages = run->messages,
                                  .overlap = run->parts,
                                  .compress = run->compress,
                                  .topk = run->topk,
                                  .batch = 20,
                                  .timeout_s = run->timeout_s > 0 ? run->timeout_s : 20};
  dl_status status = weights ? dl_ps_worker_open(&options, &worker, &shards) : DL_ERR_NOMEM;
  if (status == DL_OK && shards != SHARDS) status = dl_fail(DL_ERR_INTERNAL, "%lld shards", (long long)shards);
  if (status == DL_OK) status = dl_ps_worker_join(worker, &group, weights, run->digest ? run->digest : DIGEST, "test");
  for (bool more = true; status == DL_OK && more;) {
    dl_ps_task task;
    status = dl_ps_worker_next(worker, &task);
    more = status == DL_OK && !task.end && run->done != run->tasks;
    if (more) status = do_task(run, worker, &task, weights);
    run->done += more;
    if (run->halfway && run->done == run->tasks) more = false;
  }
  if (status != DL_OK) snprintf(run->message, sizeof run->message, "%s", dl_error_last()->message);
  if (worker && !run->dies) dl_ps_worker_leave(worker, "");
  dl_ps_worker_close(&worker);
  free(weights);
  return status;
}

static void *start_work(void *context) {
  worker_run *run = context;
  run->status = work(run);
  atomic_store(&run->ended, true);
  return NULL;
}

/* ---- whole runs ---- */

static char folder[] = "/tmp/dl-test-ps-XXXXXX", address[128];

static void run_all(server_run *server, worker_run *workers, int n, useconds_t apart) {
  pthread_t s, w[8];
  static int number;
  snprintf(address, sizeof address, "ipc://%s/%d", folder, number++);
  if (!server->ps.bind) server->ps.bind = address;
  server->ps.role = DL_PS_SERVE;
  server->ps.digest = DIGEST;
  server->ps.batch = 20;
  server->ps.epoch_steps = 10;
  server->ps.epoch_samples = 9 * 20 + 3;
  CU_ASSERT_EQUAL(pthread_create(&s, NULL, serve, server), 0);
  for (int i = 0; i < n; i++) {
    if (!workers[i].address) workers[i].address = server->ps.bind;
    CU_ASSERT_EQUAL(pthread_create(&w[i], NULL, start_work, &workers[i]), 0);
    usleep(apart);
  }
  for (int i = 0; i < n; i++) {
    pthread_join(w[i], NULL);
    if (workers[i].tasks < 0 && workers[i].status) fprintf(stderr, "worker %d: %s\n", i, workers[i].message);
  }
  pthread_join(s, NULL);
  DL_ASSERT_OK(server->status);
}

/* Who says hello when all is done finds nobody. */
static inline bool worked_or_came_late(const worker_run *w) {
  return w->status == DL_OK || (w->status == DL_ERR_TRAIN && w->done == 0);
}

static inline void expect_bits(const server_run *server) {
  float *expected = malloc(sizeof server->weights);
  if (!expected) abort();
  oracle(expected, false);
  CU_ASSERT(memcmp(expected, server->weights, sizeof server->weights) == 0);
  free(expected);
}

#endif

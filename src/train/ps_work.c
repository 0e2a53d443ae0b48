/* ps_work.c - a process that works for parameter servers.
 *
 * The servers hold the run: they evaluate, write checkpoints and metrics.jsonl, and know the schedule. A worker gets
 * leaves of a step and the weights, and gives the sum of their gradients; it keeps no state that matters, so it may
 * begin and end at any time. Members of a team of workers share their data on a node and nothing else: once the data is
 * there each goes its own way.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/ps_worker.h"
#include "core/clock.h"
#include "core/mem.h"
#include "train/ps_role.h"
#include "train/run.h"

/* What a worker did, for its last words. */
typedef struct record {
  int64_t tasks, leaves;
  double begin_s, busy_s;
} record;

static dl_status open_worker(dl_run *run, const dl_config *config, dl_ps_worker **worker, int64_t *shards) {
  dl_ps_worker_options options = {.address = config->sync.connect,
                                  .key = config->sync.key,
                                  .server_key = config->sync.server_key,
                                  .timeout_s = config->sync.timeout,
                                  .messages = config->sync.transport == DL_TRANSPORT_MPI,
                                  .overlap = config->sync.overlap,
                                  .compress = config->sync.compress,
                                  .topk = config->sync.topk,
                                  .batch = config->train.batch,
                                  .stop = run->options->stop};
  DL_TRY(dl_ps_check(config));
  return dl_ps_worker_open(&options, worker, shards);
}

/* The servers say how many shards there are. */
static dl_status take_shards(dl_config *config, int64_t shards) {
  if (config->sync.shards == DL_AUTO) config->sync.shards = shards;
  if (config->sync.shards == shards) return DL_OK;
  dl_config_fail(config, "sync.shards", "sync.shards is %lld here and %lld on the server",
                 (long long)config->sync.shards, (long long)shards);
  return dl_hint("leave it out: workers take the server's");
}

static dl_status join(dl_run *run, dl_ps_worker *worker) {
  dl_digest digest;
  char name[100];
  DL_TRY(dl_ps_digest(run->model, &digest));
  snprintf(name, sizeof name, "%.60s:%d.%d", run->team->host, (int)getpid(), run->team->rank);
  return dl_ps_worker_join(worker, &run->model->group, run->model->private_weights, digest.hex, name);
}

/* ---- work ---- */

/* What the network reads and writes, to who moves it meanwhile. */
typedef struct watch {
  dl_ps_worker *worker;
  int64_t leaf;
  const double *sums; /* of the leaf: known before its backward begins */
} watch;

static void await_weights(void *context, size_t end) { dl_ps_worker_await(((watch *)context)->worker, end); }
static void gradients_ready(void *context, size_t from) {
  const watch *w = context;
  dl_ps_worker_ready(w->worker, w->leaf, from, w->sums);
}

static dl_status run_leaf(dl_model *m, dl_ps_worker *worker, const dl_cut *cut, int64_t leaf) {
  int64_t begin, end;
  double sums[DL_LEAF_SUMS] = {0};
  dl_cut_leaf_range(cut, leaf, &begin, &end);
  DL_TRY(dl_data_read_step(m->data, m->at.epoch, m->config->train.batch, m->at.step_in_epoch, begin, end, &m->batch));
  float *gradients = dl_ps_worker_gradients(worker);
  if (!gradients) return DL_ERR_NOMEM;
  dl_pass pass = dl_model_pass(m, begin);
  watch watcher = {worker, leaf, sums};
  pass.reads = await_weights;
  pass.wrote = gradients_ready;
  pass.watcher = &watcher;
  dl_net_forward(m->net, m->weights, end - begin, &pass);
  dl_net_loss(m->net, end - begin, m->batch.label, m->batch.y, m->batch.weight, &sums[0], &sums[1]);
  dl_net_backward(m->net, m->weights, end - begin, &pass, gradients);
  dl_ps_worker_leaf_done(worker, leaf, sums);
  return DL_OK;
}

static dl_status run_task(dl_run *run, dl_ps_worker *worker, const dl_ps_task *task, record *r) {
  dl_model *m = run->model;
  const int64_t steps = dl_model_steps_per_epoch(m);
  const double begin = dl_now_s();
  dl_cut cut = dl_cut_make(task->samples, m->shards);
  m->at.step = task->step;
  m->at.epoch = task->step / steps;
  m->at.step_in_epoch = task->step % steps;
  if (task->samples != dl_data_step_samples(m->data, m->config->train.batch, m->at.step_in_epoch))
    return dl_fail(DL_ERR_TRAIN, "the server's step %lld has %lld samples, which this worker's data has not",
                   (long long)task->step + 1, (long long)task->samples);
  for (int64_t leaf = task->begin_leaf; leaf < task->end_leaf; leaf++) {
    if (run->options->stop && *run->options->stop) return dl_fail(DL_ERR_STOPPED, "this worker was told to stop");
    DL_TRY(run_leaf(m, worker, &cut, leaf));
  }
  r->tasks++;
  r->leaves += task->end_leaf - task->begin_leaf;
  r->busy_s += dl_now_s() - begin;
  return DL_OK;
}

static dl_status work(dl_run *run, dl_ps_worker *worker, record *r) {
  for (;;) {
    dl_ps_task task;
    DL_TRY(dl_ps_worker_next(worker, &task));
    if (task.end) return task.status;
    DL_TRY(run_task(run, worker, &task, r));
  }
}

/* ---- words ---- */

static void say(const dl_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const dl_run *run, const char *format, ...) {
  char text[512];
  va_list args;
  if (run->options->quiet || run->team->rank != 0) return;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  run->options->error(run->options->context, text);
}

static void say_end(const dl_run *run, const record *r) {
  double seconds = dl_now_s() - r->begin_s;
  say(run, "worked for %s: %lld units of %lld shards in %.1f s, %.0f%% of it computing\n",
      run->model->config->sync.connect, (long long)r->tasks, (long long)r->leaves, seconds,
      seconds > 0 ? 100 * r->busy_s / seconds : 0);
}

/* ---- the whole ---- */

/* Without the others: their ends are their own. */
static dl_status work_alone(dl_run *run, dl_ps_worker *worker) {
  record r = {.begin_s = dl_now_s()};
  dl_status status = join(run, worker);
  if (status == DL_OK) {
    say(run, "%s: working for %s, %lld shards\n", run->model->config->name, run->model->config->sync.connect,
        (long long)run->model->shards);
    status = work(run, worker, &r);
  }
  dl_error error = *dl_error_last();
  dl_ps_worker_leave(worker, status == DL_OK || status == DL_ERR_STOPPED ? "" : error.message);
  if (status == DL_OK || status == DL_ERR_STOPPED) say_end(run, &r);
  return status == DL_OK ? DL_OK : dl_error_adopt(&error);
}

dl_status dl_run_work(dl_run *run, dl_config *config) {
  dl_ps_worker *worker = NULL;
  int64_t shards = 0;
  dl_team_be_patient(run->team);
  dl_status status = open_worker(run, config, &worker, &shards);
  if (status == DL_OK) status = take_shards(config, shards);
  status = dl_team_agree(run->team, status);
  dl_model_source source = {.need = 1u << DL_SPLIT_TRAIN};
  if (status == DL_OK)
    status = dl_model_new_training(run->team, config, &source, &run->model);
  else
    dl_config_destroy(&config);
  if (status == DL_OK) status = work_alone(run, worker);
  dl_error error = *dl_error_last();
  dl_ps_worker_close(&worker);
  return status == DL_OK ? DL_OK : dl_error_adopt(&error);
}

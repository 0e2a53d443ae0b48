/* The ways to get from every rank's gradient to new weights, timed on buffers of growing size.
 *
 * A repetition: every rank writes its gradient, as backward would, all meet, and the clock runs until the rank has its
 * new weights; the slowest rank's time counts. The figure is the median of the repetitions.
 *
 * The limits: all ranks at once copy as many bytes as a fused step must move at least: every published gradient read
 * once, weights and optimizer state read and written once. Where all of it lies in the caches two others are nearer:
 * the arithmetic, every rank taking norm and step of its share alone, in memory of its own; and moving, every rank
 * reading its share of all ranks' gradients where they wrote them, that is out of the other cores' caches, and reading
 * and writing its share of weights and state in place. */
#include "cli/bench_sync.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/peer.h"
#include "comm/sync.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/vector.h"
#include "nn/optimizer.h"

#define MOST_REPETITIONS 400
#define LEAST_REPETITIONS 7
#define SECONDS_EACH 0.25 /* of timed repetitions */
#define WARM_UP 3

/* One size, and what a way to do it may need. */
typedef struct bench {
  dl_team *team;
  const dl_config *config;
  dl_optimizer *optimizer;
  dl_tensor tensor;
  dl_param_group group;
  dl_sync *sync;
  dl_cut cut;
  float *gradients, *weights, *state[DL_MAX_OPTIMIZER_SLOTS]; /* of this rank alone, for the peers */
  char *from, *to;                                            /* for copying */
  size_t copy_bytes;
  dl_shared shared; /* all ranks' gradients */
  float *sum;       /* of a block of them */
  int64_t step;
  double *times, *all; /* MOST_REPETITIONS; x size */
} bench;

typedef struct way {
  const char *name, *column; /* in the table; in the CSV */
  dl_status (*open)(bench *b);
  void (*write)(bench *b); /* the gradient; NULL: there is none */
  dl_status (*run)(bench *b);
  bool peer; /* needs MPI and a process a rank */
  bool node; /* needs one memory */
} way;

/* ---- dldist's own ---- */

static dl_status open_sync(bench *b, bool norm_first) {
  const dl_sync_options options = {.transport = b->config->sync.transport,
                                   .shards = b->team->size,
                                   .norm_first = norm_first,
                                   .audit_every = b->config->sync.audit_every};
  b->cut = dl_cut_make(b->team->size, b->team->size);
  return dl_sync_new(b->team, &b->group, &options, &b->sync);
}

static dl_status open_fused(bench *b) { return open_sync(b, b->group.measure != NULL); }
static dl_status open_two_phase(bench *b) { return open_sync(b, true); }

static void write_floats(float *values, size_t n) {
  for (size_t i = 0; i < n; i++) values[i] = 1e-3f * (float)(i % 7);
}

static void write_in_sync(bench *b) {
  if (dl_sync_begin(b->sync, &b->cut) == DL_OK) write_floats(dl_sync_gradients(b->sync), b->tensor.count);
}

static dl_status finish(bench *b, double clip_norm) {
  static const double notes[DL_SYNC_NOTES] = {0};
  const dl_sync_request request = {.notes = notes, .clip_norm = clip_norm};
  dl_sync_result result;
  dl_sync_leaf_done(b->sync, b->team->rank, (double[DL_LEAF_SUMS]){1, 1});
  return dl_sync_finish(b->sync, &request, &result);
}

static dl_status run_fused(bench *b) { return finish(b, 0); }
static dl_status run_two_phase(bench *b) { return finish(b, 1e-3); }

/* ---- the peers ---- */

static dl_status open_local(bench *b) {
  const size_t n = b->group.count;
  b->gradients = dl_calloc_aligned(n, sizeof(float));
  b->weights = dl_calloc_aligned(n, sizeof(float));
  bool all = b->gradients && b->weights;
  for (int k = 0; k < b->group.n_slots; k++) all &= (b->state[k] = dl_calloc_aligned(n, sizeof(float))) != NULL;
  return dl_team_agree(b->team, all ? DL_OK : DL_ERR_NOMEM);
}

static void write_local(bench *b) { write_floats(b->gradients, b->tensor.count); }

/* The mean and the optimizer, block by block, over all of the buffer. */
static void step_alone(bench *b) {
  float *state[DL_MAX_OPTIMIZER_SLOTS];
  for (size_t at = 0; at < b->tensor.count; at += DL_BLOCK) {
    const size_t n = b->tensor.count - at < DL_BLOCK ? b->tensor.count - at : DL_BLOCK;
    for (int k = 0; k < b->group.n_slots; k++) state[k] = b->state[k] + at;
    dl_vector()->scale(b->gradients + at, 1 / (float)b->team->size, n);
    b->group.apply(b->group.apply_context, &b->tensor, n, b->weights + at, b->gradients + at, state);
  }
}

static dl_status run_share(bench *b) {
  float *state[DL_MAX_OPTIMIZER_SLOTS];
  const size_t share = (b->tensor.count + (size_t)b->team->size - 1) / (size_t)b->team->size;
  volatile double sum = 0; /* looked at by nobody, but taken */
  for (size_t at = 0; at < share; at += DL_BLOCK) {
    const size_t n = share - at < DL_BLOCK ? share - at : DL_BLOCK;
    for (int k = 0; k < b->group.n_slots; k++) state[k] = b->state[k] + at;
    sum = sum + dl_block_sumsq(b->gradients + at, n);
    b->group.apply(b->group.apply_context, &b->tensor, n, b->weights + at, b->gradients + at, state);
  }
  return DL_OK;
}

static dl_status run_peer(bench *b, bool nonblocking) {
  DL_TRY(dl_peer_allreduce(b->team, b->gradients, b->tensor.count, nonblocking));
  step_alone(b);
  return DL_OK;
}
static dl_status run_allreduce(bench *b) { return run_peer(b, false); }
static dl_status run_iallreduce(bench *b) { return run_peer(b, true); }

/* ---- the limit ---- */

static dl_status open_copy(bench *b) {
  const size_t ranks = (size_t)b->team->size, floats = ranks + 2 * (1 + (size_t)b->group.n_slots);
  b->copy_bytes = b->tensor.count * sizeof(float) * floats / ranks / 2;
  b->from = dl_calloc_aligned(b->copy_bytes, 1);
  b->to = dl_calloc_aligned(b->copy_bytes, 1);
  if (b->from) memset(b->from, 1, b->copy_bytes);
  return dl_team_agree(b->team, b->from && b->to ? DL_OK : DL_ERR_NOMEM);
}

static dl_status run_copy(bench *b) {
  memcpy(b->to, b->from, b->copy_bytes);
  return DL_OK;
}

static dl_status open_move(bench *b) {
  DL_TRY(open_local(b));
  b->sum = dl_calloc_aligned(DL_BLOCK, sizeof(float));
  DL_TRY(dl_team_agree(b->team, b->sum ? DL_OK : DL_ERR_NOMEM));
  return b->team->ops->shared_new(b->team, b->group.count * (size_t)b->team->size * sizeof(float), "gradients",
                                  &b->shared);
}

static float *published(const bench *b, int rank) { return (float *)b->shared.base + (size_t)rank * b->group.count; }
static void write_published(bench *b) { write_floats(published(b, b->team->rank), b->tensor.count); }

static dl_status run_move(bench *b) {
  const size_t end = (size_t)dl_group_slice_begin(&b->group, b->team->rank + 1, b->team->size);
  for (size_t k = (size_t)dl_group_slice_begin(&b->group, b->team->rank, b->team->size); k < end; k++) {
    const size_t at = k * DL_BLOCK, left = b->tensor.count - at, n = left < DL_BLOCK ? left : DL_BLOCK;
    for (int r = 0; r < b->team->size; r++) dl_vector()->add(b->sum, published(b, r) + at, n);
    dl_vector()->scale(b->weights + at, 1, n);
    for (int s = 0; s < b->group.n_slots; s++) dl_vector()->scale(b->state[s] + at, 1, n);
  }
  return DL_OK;
}

enum { FUSED, TWO_PHASE, ALLREDUCE, IALLREDUCE, COPY, SHARE, MOVE, WAYS };
static const way ways[WAYS] = {
    [FUSED] = {"fused", "fused_s", open_fused, write_in_sync, run_fused, false, false},
    [TWO_PHASE] = {"two-phase", "two_phase_s", open_two_phase, write_in_sync, run_two_phase, false, false},
    [ALLREDUCE] = {"MPI_Allreduce", "allreduce_s", open_local, write_local, run_allreduce, true, false},
    [IALLREDUCE] = {"MPI_Iallreduce", "iallreduce_s", open_local, write_local, run_iallreduce, true, false},
    [COPY] = {"copy limit", "copy_s", open_copy, NULL, run_copy, false, false},
    [SHARE] = {"share alone", "share_s", open_local, write_local, run_share, false, false},
    [MOVE] = {"move limit", "move_s", open_move, write_published, run_move, false, true},
};

/* ---- timing ---- */

static void close_way(bench *b) {
  void *const mine[] = {b->gradients, b->weights, b->from, b->to, b->sum};
  dl_sync_destroy(&b->sync);
  if (b->shared.base) b->team->ops->shared_destroy(b->team, &b->shared);
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  for (int k = 0; k < DL_MAX_OPTIMIZER_SLOTS; k++) free(b->state[k]);
  b->gradients = b->weights = b->sum = NULL;
  b->from = b->to = NULL;
  memset(b->state, 0, sizeof b->state);
}

static dl_status time_once(bench *b, const way *w, double *seconds) {
  dl_optimizer_begin(b->optimizer, ++b->step, 1e-3);
  if (w->write) w->write(b);
  DL_TRY(dl_team_barrier(b->team, "bench"));
  const double begin = dl_now_s();
  DL_TRY(w->run(b));
  *seconds = dl_now_s() - begin;
  return DL_OK;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* The median over repetitions of the slowest rank's time. */
static dl_status median_time(bench *b, int n, double *out) {
  const int size = b->team->size;
  DL_TRY(dl_team_allgather(b->team, b->times, (size_t)n * sizeof *b->times, b->all));
  for (int i = 0; i < n; i++)
    for (int r = 0; r < size; r++)
      if (b->all[r * n + i] > b->times[i]) b->times[i] = b->all[r * n + i];
  qsort(b->times, (size_t)n, sizeof *b->times, by_value);
  *out = b->times[n / 2];
  return DL_OK;
}

static dl_status time_way(bench *b, const way *w, double *out) {
  double longest = 0;
  *out = NAN;
  if ((w->peer && !dl_peer_available(b->team)) || (w->node && b->team->nodes > 1)) return DL_OK;
  DL_TRY(w->open(b));
  for (int i = 0; i < WARM_UP; i++) DL_TRY(time_once(b, w, &longest));
  DL_TRY(dl_team_max_f64(b->team, &longest));
  int n = longest > 0 ? (int)fmin(MOST_REPETITIONS, SECONDS_EACH / longest) : MOST_REPETITIONS;
  if (n < LEAST_REPETITIONS) n = LEAST_REPETITIONS;
  for (int i = 0; i < n; i++) DL_TRY(time_once(b, w, &b->times[i]));
  return median_time(b, n, out);
}

/* ---- the table ---- */

static void print_head(const bench *b, FILE *csv) {
  const dl_team *team = b->team;
  printf(
      "a step of gradient synchronisation and %s, %d %s%s on %d node%s, audit_every %lld; median ms\n"
      "gain: how many times as fast as MPI_Allreduce followed by a step of every rank's own\n"
      "copy limit: the bytes of a fused step, from a rank's own memory to its own; move limit: from where they lie, "
      "other ranks' gradients out of their caches\n",
      b->optimizer->kind->name, team->size, team->processes > 1 ? "rank" : "thread", team->size == 1 ? "" : "s",
      team->nodes, team->nodes == 1 ? "" : "s", (long long)b->config->sync.audit_every);
  printf("%12s %10s", "parameters", "MiB");
  for (int w = 0; w < WAYS; w++) printf(" %14s", ways[w].name);
  printf(" %12s %15s %12s %12s\n", "fused gain", "two-phase gain", "fused / copy", "fused / move");
  if (!csv) return;
  fputs("ranks,nodes,transport,parameters,bytes", csv);
  for (int w = 0; w < WAYS; w++) fprintf(csv, ",%s", ways[w].column);
  fputc('\n', csv);
}

static void print_ratio(double a, double b, int width) {
  char text[32] = "-";
  if (a > 0 && b > 0) snprintf(text, sizeof text, "%.2fx", a / b);
  printf(" %*s", width, text);
}

static void print_row(const bench *b, const double seconds[WAYS], const char *transport, FILE *csv) {
  const double bytes = (double)b->tensor.count * sizeof(float);
  printf("%12zu %10.4g", b->tensor.count, bytes / (1 << 20));
  for (int w = 0; w < WAYS; w++)
    if (isnan(seconds[w]))
      printf(" %14s", "-");
    else
      printf(" %14.4f", seconds[w] * 1e3);
  print_ratio(seconds[ALLREDUCE], seconds[FUSED], 12);
  print_ratio(seconds[ALLREDUCE], seconds[TWO_PHASE], 15);
  print_ratio(seconds[FUSED], seconds[COPY], 12);
  print_ratio(seconds[FUSED], seconds[MOVE], 12);
  putchar('\n');
  fflush(stdout);
  if (!csv) return;
  fprintf(csv, "%d,%d,%s,%zu,%.0f", b->team->size, b->team->nodes, transport, b->tensor.count, bytes);
  for (int w = 0; w < WAYS; w++)
    if (isnan(seconds[w]))
      fputc(',', csv);
    else
      fprintf(csv, ",%.9f", seconds[w]);
  fputc('\n', csv);
}

static dl_status time_size(bench *b, int64_t bytes, FILE *csv) {
  double seconds[WAYS];
  char transport[16] = "";
  const size_t count = (size_t)bytes / sizeof(float);
  dl_status status = DL_OK;
  b->tensor = (dl_tensor){.name = "weight",
                          .count = count,
                          .dims = 1,
                          .shape = {(int64_t)count},
                          .trainable = true,
                          .decays = true,
                          .lr_scale = 1};
  b->group.count = (count + 15) / 16 * 16;
  for (int w = 0; w < WAYS && status == DL_OK; w++) {
    status = time_way(b, &ways[w], &seconds[w]);
    if (b->sync) snprintf(transport, sizeof transport, "%s", dl_sync_transport(b->sync));
    close_way(b);
  }
  if (status == DL_OK && b->team->rank == 0) print_row(b, seconds, transport, csv);
  return status;
}

static dl_status make_config(const dl_bench_sync *job, dl_config **out) {
  static const char text[] = "name: bench-sync\nmodel: [{dense: 1}]\noptimizer: {name: adam, lr: 0.001}\n";
  return dl_config_parse(text, sizeof text - 1, "(bench)", job->set, job->n_set, out);
}

static dl_status prepare(bench *b, const dl_bench_sync *job, dl_config **config) {
  DL_TRY(make_config(job, config));
  b->config = *config;
  DL_TRY(dl_optimizer_new(*config, &b->optimizer));
  dl_optimizer_wire(b->optimizer, &b->group);
  b->group.tensors = &b->tensor;
  b->group.n_tensors = 1;
  if (b->group.measure)
    return dl_fail(DL_ERR_USAGE, "dldist bench sync: %s needs norms of tensors and cannot be timed alone; take adam",
                   b->optimizer->kind->name);
  b->times = dl_calloc(MOST_REPETITIONS, sizeof *b->times);
  b->all = dl_calloc((size_t)MOST_REPETITIONS * (size_t)b->team->size, sizeof *b->all);
  return b->times && b->all ? DL_OK : DL_ERR_NOMEM;
}

static dl_status open_csv(const dl_bench_sync *job, const dl_team *team, FILE **csv) {
  if (!job->csv || team->rank != 0) return DL_OK;
  *csv = fopen(job->csv, "w");
  return *csv ? DL_OK : dl_fail_at(DL_ERR_SYSTEM, job->csv, 0, 0, "cannot be written");
}

dl_status dl_bench_sync_member(dl_team *team, void *context) {
  const dl_bench_sync *job = context;
  bench b = {.team = team};
  dl_config *config = NULL;
  FILE *csv = NULL;
  dl_status status = prepare(&b, job, &config);
  if (status == DL_OK) status = open_csv(job, team, &csv);
  status = dl_team_agree(team, status);
  if (status == DL_OK && team->rank == 0) print_head(&b, csv);
  for (int64_t bytes = job->least; bytes <= job->most && status == DL_OK; bytes *= 4)
    status = time_size(&b, bytes, csv);
  if (csv && fclose(csv) && status == DL_OK) status = dl_fail_at(DL_ERR_SYSTEM, job->csv, 0, 0, "cannot be written");
  free(b.times);
  free(b.all);
  dl_optimizer_destroy(&b.optimizer);
  dl_config_destroy(&config);
  return dl_team_agree(team, status);
}

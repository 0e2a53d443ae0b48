/* sync_property.h - random steps of a synchroniser against a serial sum in tree order.
 *
 * The oracle shares no code with what it tests: it cuts the batch, sums recursively, takes the norm and applies on its
 * own, over all leaves in one place. Everything is compared bit for bit, on every member.
 */
#ifndef DL_TEST_SYNC_PROPERTY_H
#define DL_TEST_SYNC_PROPERTY_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/launch.h"
#include "comm/sync.h"

#define BY_PARAMETER_SERVERS 3 /* beside the values of dl_transport */
#define CASE_STEPS 7
#define CASE_TENSORS 5
#define CASE_SLOTS 2

/* ---- random numbers of the test's own ---- */

static inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
static inline uint64_t draw(uint64_t seed, uint64_t a, uint64_t b, uint64_t c) {
  return mix(mix(mix(mix(seed) ^ a) ^ b) ^ c);
}
static inline int64_t draw_below(uint64_t seed, uint64_t what, int64_t below) {
  return (int64_t)(draw(seed, what, 0, 0) % (uint64_t)below);
}
/* Magnitudes over many binades, so that another order of additions gives other bits. */
static inline float draw_float(uint64_t seed, uint64_t a, uint64_t b, uint64_t c) {
  uint64_t word = draw(seed, a, b, c);
  float unit = (float)(word >> 40) * 0x1p-24f - 0.5f;
  return ldexpf(unit, (int)(word % 13) - 6);
}

/* ---- a case ---- */

typedef struct sync_case {
  uint64_t seed;
  int transport;
  int64_t shards;
  bool norm_first;
  double clip_norm;
  dl_tensor tensors[CASE_TENSORS];
  dl_param_group group;
  float lr;
  int compress;
  double topk;
  int64_t batch; /* whole, for residuals */
} sync_case;

static void momentum_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                           const float *restrict gradient, float *const state[]) {
  const sync_case *c = context;
  for (size_t i = 0; i < n; i++) {
    state[0][i] = 0.9f * state[0][i] + gradient[i];
    state[1][i] = state[1][i] + gradient[i] * gradient[i];
    weights[i] -= c->lr * tensor->lr_scale * state[0][i];
  }
}

/* A penalty that some tensors have. */
static void some_penalise(void *context, const dl_tensor *tensor, size_t n, const float *restrict weights,
                          float *restrict gradient) {
  (void)context;
  for (size_t i = 0; tensor->decays && i < n; i++) gradient[i] += 0.125f * weights[i];
}

/* An optimizer that needs norms of tensors, and both of them. */
static void ratio_measure(void *context, const dl_tensor *tensor, size_t n, const float *restrict weights,
                          float *restrict gradient, float *const state[]) {
  (void)context, (void)tensor;
  for (size_t i = 0; i < n; i++) {
    state[0][i] = 0.9f * state[0][i] + gradient[i];
    gradient[i] = state[0][i] + 0.01f * weights[i];
  }
}
static void ratio_apply(void *context, const dl_tensor *tensor, const dl_tensor_sums *sums, size_t n,
                        float *restrict weights, const float *restrict update, float *const state[]) {
  const sync_case *c = context;
  const float lr = c->lr * tensor->lr_scale, ratio = (float)sqrt((sums->weights + 1) / (sums->update + 2));
  for (size_t i = 0; i < n; i++) {
    state[1][i] += update[i] * update[i];
    weights[i] -= lr * ratio * update[i];
  }
}

static inline void make_case(sync_case *c, uint64_t seed, int transport) {
  static const double clips[] = {0, 1e-3, 1, 1e6};
  *c = (sync_case){.seed = seed, .transport = transport};
  c->shards = 1 + draw_below(seed, 1, 64);
  if (seed % 3 == 0) c->shards = (int64_t)1 << draw_below(seed, 2, 7); /* perfect trees as often as ragged ones */
  c->norm_first = draw_below(seed, 3, 2);
  c->clip_norm = c->norm_first ? clips[draw_below(seed, 4, 4)] : 0;
  c->group.n_tensors = 1 + (int)draw_below(seed, 5, CASE_TENSORS);
  for (int t = 0; t < c->group.n_tensors; t++) {
    int64_t most = draw_below(seed, 20 + (uint64_t)t, 3) ? 3000 : 20;
    size_t count = (size_t)(1 + draw_below(seed, 10 + (uint64_t)t, most));
    c->tensors[t] = (dl_tensor){.offset = c->group.count,
                                .count = count,
                                .dims = 1,
                                .shape = {(int64_t)count},
                                .trainable = t == 0 || draw_below(seed, 30 + (uint64_t)t, 5) != 0,
                                .lr_scale = t & 1 ? 0.5f : 1};
    /* Some of those that are not learnt are running averages. */
    if (!c->tensors[t].trainable && draw_below(seed, 40 + (uint64_t)t, 2)) c->tensors[t].running = 0.1f;
    c->tensors[t].decays = t % 3 != 1;
    c->group.count += (count + 15) / 16 * 16;
  }
  c->group.tensors = c->tensors;
  c->group.n_slots = CASE_SLOTS;
  c->group.apply = momentum_apply;
  if (draw_below(seed, 6, 2)) c->group.penalise = some_penalise;
  if (c->norm_first && draw_below(seed, 7, 2)) {
    c->group.apply = NULL;
    c->group.measure = ratio_measure;
    c->group.apply_measured = ratio_apply;
  }
  c->group.apply_context = c;
  bool averages = false;
  for (int t = 0; t < c->group.n_tensors; t++) averages |= c->tensors[t].running > 0;
  c->compress = seed % 5 == 2 ? DL_COMPRESS_BF16 : seed % 5 == 4 && !averages ? DL_COMPRESS_FP16 : DL_COMPRESS_NONE;
  static const double shares[] = {0.01, 0.1, 0.5, 1};
  if (draw_below(seed, 11, 3) == 0) {
    c->compress = DL_COMPRESS_TOPK;
    c->shards = 1 + c->shards % 12; /* the oracle sorts every block of every leaf */
  }
  c->topk = shares[draw_below(seed, 12, 4)];
  c->batch = draw_below(seed, 13, 3) ? c->shards + 100 : 0;
}

/* Ragged, tiny and whole batches. */
static inline int64_t case_samples(const sync_case *c, int step) {
  if (step % 3 == 1) return 1 + draw_below(c->seed, 100 + (uint64_t)step, c->shards);
  return c->shards + draw_below(c->seed, 100 + (uint64_t)step, 200);
}

/* What goes wrong in a step: most steps nothing. */
typedef enum trouble { FINE, ONE_FAILS, ONE_STOPS, LOSS_INFINITE, NORMALISER_ZERO, GRADIENT_NAN, TROUBLES } trouble;
static inline trouble case_trouble(const sync_case *c, int step) {
  return step < 3 ? FINE : (trouble)draw_below(c->seed, 200 + (uint64_t)step, TROUBLES);
}

/* The gradient of the leaf whose first sample is `sample`. */
static inline void leaf_gradient(const sync_case *c, int step, int64_t sample, float *out) {
  for (int t = 0; t < c->group.n_tensors; t++)
    for (size_t i = 0; i < c->tensors[t].count; i++)
      out[c->tensors[t].offset + i] =
          draw_float(c->seed, 1000 + (uint64_t)step, (uint64_t)sample, c->tensors[t].offset + i);
  if (case_trouble(c, step) == GRADIENT_NAN && sample == 0) out[0] = NAN;
}

static inline void leaf_sums(const sync_case *c, int step, int64_t sample, double out[DL_LEAF_SUMS]) {
  for (int k = 0; k < DL_LEAF_SUMS; k++)
    out[k] = (double)draw_float(c->seed, 2000 + (uint64_t)step, (uint64_t)sample, (uint64_t)k) / 3;
  out[1] = case_trouble(c, step) == NORMALISER_ZERO ? 0 : 1.0 + fabs(out[1]);
  if (case_trouble(c, step) == LOSS_INFINITE && sample == 0) out[0] = INFINITY;
}

/* ---- the oracle ---- */

typedef struct oracle {
  float *weights, *state[CASE_SLOTS], *mean, *leaves; /* leaves: n x count */
  float *residuals;                                   /* shards x count */
  double *leaf_sums;
  double sums[DL_LEAF_SUMS], norm;
  bool finite;
} oracle;

static inline int64_t split_of(int64_t n) {
  int64_t half = 1;
  while (half * 2 < n) half *= 2;
  return half;
}
/* Every node rounded where the case asks for it. */
static inline float rounded(int compress, float x) {
  if (compress && compress != DL_COMPRESS_TOPK) dl_half_of(compress)->round(&x, 1);
  return x;
}
static inline float tree_rounded(int compress, const float *x, size_t stride, int64_t n) {
  if (n == 1) return rounded(compress, x[0]);
  int64_t half = split_of(n);
  return rounded(compress, tree_rounded(compress, x, stride, half) +
                               tree_rounded(compress, x + (size_t)half * stride, stride, n - half));
}
static inline float tree_float(const float *x, size_t stride, int64_t n) {
  return tree_rounded(DL_COMPRESS_NONE, x, stride, n);
}
static inline double tree_double(const double *x, size_t stride, int64_t n) {
  if (n == 1) return x[0];
  int64_t half = split_of(n);
  return tree_double(x, stride, half) + tree_double(x + (size_t)half * stride, stride, n - half);
}

static inline double oracle_block(const float *x, size_t n) {
  double lane[32] = {0};
  for (size_t i = 0; i < n; i++) lane[i % 32] += (double)x[i] * (double)x[i];
  for (int lanes = 16; lanes; lanes /= 2)
    for (int j = 0; j < lanes; j++) lane[j] = lane[j] + lane[j + lanes];
  return lane[0];
}

static inline double oracle_norm(const sync_case *c, const float *mean) {
  double tensors[CASE_TENSORS] = {0};
  for (int t = 0; t < c->group.n_tensors; t++) {
    double blocks[8];
    int64_t n = 0;
    const dl_tensor *tensor = &c->tensors[t];
    for (size_t at = 0; at < tensor->count; at += 1024, n++)
      blocks[n] = tensor->trainable
                      ? oracle_block(mean + tensor->offset + at, tensor->count - at < 1024 ? tensor->count - at : 1024)
                      : 0;
    tensors[t] = tree_double(blocks, 1, n);
  }
  return sqrt(tree_double(tensors, 1, c->group.n_tensors));
}

static inline double oracle_tensor(const float *x, size_t count) {
  double blocks[8];
  int64_t n = 0;
  for (size_t at = 0; at < count; at += 1024) blocks[n++] = oracle_block(x + at, count - at < 1024 ? count - at : 1024);
  return tree_double(blocks, 1, n);
}

/* One trained tensor: all of it at once. */
static inline void oracle_apply(const sync_case *c, const dl_tensor *tensor, float *weights, float *mean,
                                float *const state[]) {
  void *context = (void *)(uintptr_t)c;
  if (!c->group.measure) {
    momentum_apply(context, tensor, tensor->count, weights, mean, state);
    return;
  }
  ratio_measure(context, tensor, tensor->count, weights, mean, state);
  const dl_tensor_sums sums = {oracle_tensor(weights, tensor->count), oracle_tensor(mean, tensor->count)};
  ratio_apply(context, tensor, &sums, tensor->count, weights, mean, state);
}

typedef struct ranked_element {
  float magnitude; /* infinite for what is not a number */
  size_t place;
} ranked_element;
static inline int larger_first(const void *a, const void *b) {
  const ranked_element *x = a, *y = b;
  if (x->magnitude != y->magnitude) return x->magnitude < y->magnitude ? 1 : -1;
  return x->place < y->place ? -1 : 1;
}

/* Which of n elements are the `keep` first by magnitude, then place, and not 0. */
static inline void choose_kept(const float *x, size_t n, size_t keep, bool *kept) {
  ranked_element order[1024];
  for (size_t i = 0; i < n; i++) order[i] = (ranked_element){isnan(x[i]) ? INFINITY : fabsf(x[i]), i};
  qsort(order, n, sizeof *order, larger_first);
  for (size_t k = 0; k < n; k++) kept[order[k].place] = k < keep && order[k].magnitude > 0;
}

static inline void oracle_thin(const sync_case *c, int64_t samples, float *leaf, float *residual) {
  const float scale = c->batch && samples != c->batch ? (float)((double)samples / (double)c->batch) : 1,
              back = 1 / scale;
  for (int t = 0; t < c->group.n_tensors; t++)
    for (size_t at = 0; c->tensors[t].trainable && at < c->tensors[t].count; at += 1024) {
      const size_t left = c->tensors[t].count - at, n = left < 1024 ? left : 1024;
      const size_t share = (size_t)ceil(c->topk * (double)n), keep = share < 1 ? 1 : share > n ? n : share;
      float *x = leaf + c->tensors[t].offset + at, *r = residual + c->tensors[t].offset + at, all[1024];
      for (size_t i = 0; i < n; i++) all[i] = x[i] + r[i] * scale;
      bool kept[1024];
      choose_kept(all, n, keep, kept);
      for (size_t i = 0; i < n; i++) {
        x[i] = kept[i] ? all[i] : 0;
        r[i] = kept[i] ? 0 : all[i] * back;
      }
    }
}

static inline void oracle_step(const sync_case *c, int step, oracle *o) {
  size_t count = c->group.count;
  int64_t samples = case_samples(c, step), n = 0;
  for (int64_t shard = 0; shard < c->shards; shard++) {
    int64_t begin = samples * shard / c->shards, end = samples * (shard + 1) / c->shards;
    if (begin == end) continue;
    leaf_gradient(c, step, begin, o->leaves + (size_t)n * count);
    leaf_sums(c, step, begin, o->leaf_sums + n * DL_LEAF_SUMS);
    if (c->compress == DL_COMPRESS_TOPK)
      oracle_thin(c, samples, o->leaves + (size_t)n * count, o->residuals + (size_t)shard * count);
    n++;
  }
  for (int k = 0; k < DL_LEAF_SUMS; k++) o->sums[k] = tree_double(o->leaf_sums + k, DL_LEAF_SUMS, n);
  o->finite = isfinite(o->sums[0]) && o->sums[1] > 0;
  if (!o->finite || case_trouble(c, step) == ONE_FAILS) return;
  float factor = (float)(1.0 / o->sums[1]);
  for (size_t i = 0; i < count; i++) o->mean[i] = tree_rounded(c->compress, o->leaves + i, count, n) * factor;
  for (int t = 0; c->group.penalise && t < c->group.n_tensors; t++)
    for (size_t i = 0; c->tensors[t].trainable && c->tensors[t].decays && i < c->tensors[t].count; i++)
      o->mean[c->tensors[t].offset + i] += 0.125f * o->weights[c->tensors[t].offset + i];
  o->norm = oracle_norm(c, o->mean);
  o->finite = isfinite(o->norm);
  if (!o->finite && c->norm_first) return;
  double coefficient = c->clip_norm > 0 ? c->clip_norm / (o->norm + 1e-6) : 1;
  for (int t = 0; t < c->group.n_tensors; t++) {
    const dl_tensor *tensor = &c->tensors[t];
    float *state[CASE_SLOTS] = {o->state[0] + tensor->offset, o->state[1] + tensor->offset},
          *mean = o->mean + tensor->offset;
    for (size_t i = 0; coefficient < 1 && i < tensor->count; i++) mean[i] *= (float)coefficient;
    for (size_t i = tensor->offset; tensor->running > 0 && i < tensor->offset + tensor->count; i++) {
      float over_samples = tree_rounded(c->compress, o->leaves + i, count, n) * (float)(1.0 / (double)samples);
      o->weights[i] += tensor->running * (over_samples - o->weights[i]);
    }
    if (tensor->trainable) oracle_apply(c, tensor, o->weights + tensor->offset, mean, state);
  }
}

/* ---- running it ---- */

/* Remembers the first thing that was wrong. */
#define EXPECT(condition)                                                                                            \
  do {                                                                                                               \
    if (!(condition) && *wrong == DL_OK)                                                                             \
      *wrong = dl_fail(DL_ERR_INTERNAL, "seed %llu, %d members, %s, shards %lld, step %d: %s does not hold",         \
                       (unsigned long long)c->seed, team->size, dl_sync_transport(sync), (long long)c->shards, step, \
                       #condition);                                                                                  \
  } while (0)

static inline bool same_bits(const void *a, const void *b, size_t bytes) { return memcmp(a, b, bytes) == 0; }

/* Another member's leaf, where this one is to compute it a second time. */
static inline void prove_leaf(const sync_case *c, dl_sync *sync, int step, const dl_cut *cut) {
  const int64_t leaf = dl_sync_recompute_leaf(sync);
  int64_t begin, past;
  double sums[DL_LEAF_SUMS];
  if (leaf < 0) return;
  dl_cut_leaf_range(cut, leaf, &begin, &past);
  leaf_gradient(c, step, begin, dl_sync_gradients(sync));
  leaf_sums(c, step, begin, sums);
  dl_sync_leaf_recomputed(sync, sums);
}

static inline void run_leaves(const sync_case *c, dl_team *team, dl_sync *sync, int step, const dl_cut *cut) {
  int64_t first, end;
  (void)team;
  prove_leaf(c, sync, step, cut);
  dl_sync_leaves(sync, &first, &end);
  for (int64_t leaf = first; leaf < end; leaf++) {
    int64_t begin, past;
    double sums[DL_LEAF_SUMS];
    dl_cut_leaf_range(cut, leaf, &begin, &past);
    leaf_gradient(c, step, begin, dl_sync_gradients(sync));
    leaf_sums(c, step, begin, sums);
    for (uint64_t i = 4; i-- > 0 && c->seed % 4;) dl_sync_ready(sync, leaf, c->group.count * i / (1 + c->seed % 4));
    if (leaf + 1 == end && draw_below(c->seed, 700 + (uint64_t)leaf, 3) == 0) usleep(2000); /* others go on meanwhile */
    dl_sync_leaf_done(sync, leaf, sums);
  }
}

static inline void check_failed_step(const sync_case *c, dl_team *team, dl_sync *sync, int step, int who, dl_status got,
                                     dl_status *wrong) {
  char told[64];
  snprintf(told, sizeof told, "rank %d met a bad leaf", who);
  EXPECT(got == DL_ERR_DATA);
  EXPECT(strcmp(dl_error_last()->message, told) == 0);
  EXPECT(dl_error_last()->rank == who);
}

static inline void run_step(sync_case *c, dl_team *team, dl_sync *sync, int step, oracle *o, dl_status *wrong) {
  dl_cut cut = dl_cut_make(case_samples(c, step), c->shards);
  trouble what = case_trouble(c, step);
  int who = (int)draw_below(c->seed, 300 + (uint64_t)step, team->size);
  dl_sync_result result;
  double notes[DL_SYNC_NOTES];
  c->lr = 0.01f / (float)(step + 1);
  for (int k = 0; k < DL_SYNC_NOTES; k++) notes[k] = team->rank * 100 + step * 10 + k;
  EXPECT(dl_sync_begin(sync, &cut) == DL_OK);
  run_leaves(c, team, sync, step, &cut);
  dl_sync_request request = {.stop = what == ONE_STOPS && team->rank == who,
                             .clip_norm = c->clip_norm,
                             .notes = notes,
                             .weights_later = draw_below(c->seed, 9, 2)};
  if (what == ONE_FAILS && team->rank == who) request.status = dl_fail(DL_ERR_DATA, "rank %d met a bad leaf", who);
  dl_status got = dl_sync_finish(sync, &request, &result);
  oracle_step(c, step, o);
  if (what == ONE_FAILS) {
    check_failed_step(c, team, sync, step, who, got, wrong);
  } else {
    EXPECT(got == DL_OK);
    EXPECT(result.finite == o->finite);
    EXPECT(result.stop == (what == ONE_STOPS));
    EXPECT(same_bits(result.sums, o->sums, sizeof o->sums) || what == LOSS_INFINITE);
    EXPECT(result.bad_tensor == (what == GRADIENT_NAN ? 0 : -1)); /* its first element is not a number */
    EXPECT(!o->finite || same_bits(&result.grad_norm, &o->norm, sizeof o->norm));
    for (int r = 0; r < team->size; r++)
      EXPECT(dl_sync_notes(sync)[r * DL_SYNC_NOTES + 3] == (double)(r * 100 + step * 10 + 3));
  }
  EXPECT(dl_sync_await(sync, c->group.count / 2) == DL_OK);
  EXPECT(same_bits(dl_sync_weights(sync), o->weights, c->group.count / 2 * sizeof(float)) || what == GRADIENT_NAN);
  if (draw_below(c->seed, 350 + (uint64_t)step, 2)) EXPECT(dl_sync_settle(sync) == DL_OK);
  EXPECT(dl_sync_await(sync, c->group.count) == DL_OK);
  if (o->finite || c->norm_first || what != GRADIENT_NAN)
    EXPECT(same_bits(dl_sync_weights(sync), o->weights, c->group.count * sizeof(float)));
}

/* Random weights and state go in at one member and come out at another. */
static inline dl_status exchange_buffers(sync_case *c, dl_team *team, dl_sync *sync, oracle *o, bool set,
                                         dl_status *wrong) {
  int root = (int)draw_below(c->seed, set ? 400 : 401, team->size), step = -1;
  float *out = calloc(c->group.count, sizeof *out);
  if (!out) abort();
  for (int slot = -1; slot < CASE_SLOTS; slot++) {
    float *expected = slot < 0 ? o->weights : o->state[slot];
    for (int t = 0; set && t < c->group.n_tensors; t++)
      for (size_t i = c->tensors[t].offset; i < c->tensors[t].offset + c->tensors[t].count; i++)
        expected[i] = draw_float(c->seed, 500, (uint64_t)(slot + 1), i);
    if (set)
      DL_TRY(dl_sync_set(sync, slot, team->rank == root ? expected : NULL, root));
    else
      DL_TRY(dl_sync_get(sync, slot, team->rank == root ? out : NULL, root));
    if (!set && team->rank == root) EXPECT(same_bits(out, expected, c->group.count * sizeof *out));
    if (set && slot < 0) EXPECT(same_bits(dl_sync_weights(sync), expected, c->group.count * sizeof *out));
  }
  const int64_t residuals = c->compress == DL_COMPRESS_TOPK ? c->shards : 0;
  EXPECT(dl_sync_residuals(sync) == residuals);
  for (int64_t shard = 0; shard < residuals; shard++) {
    float *expected = o->residuals + (size_t)shard * c->group.count;
    for (int t = 0; set && t < c->group.n_tensors; t++)
      for (size_t i = c->tensors[t].offset; c->tensors[t].trainable && i < c->tensors[t].offset + c->tensors[t].count;
           i++)
        expected[i] = draw_float(c->seed, 600, (uint64_t)shard, i);
    if (set)
      DL_TRY(dl_sync_set_residual(sync, shard, team->rank == root ? expected : NULL, root));
    else
      DL_TRY(dl_sync_get_residual(sync, shard, team->rank == root ? out : NULL, root));
    if (!set && team->rank == root) EXPECT(same_bits(out, expected, c->group.count * sizeof *out));
  }
  free(out);
  return DL_OK;
}

static inline void run_steps(sync_case *c, dl_team *team, dl_sync *sync, oracle *o, dl_status *wrong) {
  bool whole = true;
  dl_status status = exchange_buffers(c, team, sync, o, true, wrong);
  for (int step = 0; status == DL_OK && step < CASE_STEPS && whole; step++) {
    run_step(c, team, sync, step, o, wrong);
    whole = case_trouble(c, step) != GRADIENT_NAN || c->norm_first; /* without, the weights are spoilt and stay so */
  }
  if (status == DL_OK && whole) status = exchange_buffers(c, team, sync, o, false, wrong);
  if (*wrong == DL_OK) *wrong = status;
}

static inline const char *expected_transport(const dl_team *team, int transport) {
  if (transport == DL_TRANSPORT_MPI) return "mpi";
  return team->nodes > 1 ? "nodes" : "shm";
}

/* One case from its seed; the same verdict on all members. */
static inline dl_status sync_property(dl_team *team, uint64_t seed, int transport) {
  sync_case c;
  dl_sync *sync = NULL;
  dl_status wrong = DL_OK;
  make_case(&c, seed, transport);
  size_t count = c.group.count;
  oracle o = {.weights = calloc(count, sizeof(float)),
              .mean = calloc(count, sizeof(float)),
              .leaves = calloc(count * (size_t)c.shards, sizeof(float)),
              .residuals = calloc(count * (size_t)c.shards, sizeof(float)),
              .leaf_sums = calloc((size_t)c.shards * DL_LEAF_SUMS, sizeof(double))};
  for (int k = 0; k < CASE_SLOTS; k++) o.state[k] = calloc(count, sizeof(float));
  dl_ps_options ps = {.role = DL_PS_TEAM, .servers = (int)draw_below(seed, 600, team->size)};
  dl_sync_options options = {.transport = transport,
                             .shards = c.shards,
                             .norm_first = c.norm_first,
                             .audit_every = draw_below(seed, 8, 4),
                             .recompute_every = draw_below(seed, 10, 3),
                             .seed = seed,
                             .compress = c.compress,
                             .topk = c.topk,
                             .batch = c.batch,
                             .overlap = draw_below(seed, 8, 3) > 0,
                             .bucket_bytes = seed % 2 ? 8192 : 0};
  if (transport == BY_PARAMETER_SERVERS) {
    options.ps = &ps;
    options.transport = seed % 3 ? DL_TRANSPORT_AUTO : DL_TRANSPORT_MPI; /* in memory, or as messages */
  }
  DL_TRY(dl_sync_new(team, &c.group, &options, &sync));
  const char *expected = transport == BY_PARAMETER_SERVERS ? "ps" : expected_transport(team, transport);
  if (strcmp(dl_sync_transport(sync), expected) != 0)
    wrong = dl_fail(DL_ERR_INTERNAL, "the transport is not the one asked for");
  run_steps(&c, team, sync, &o, &wrong);
  wrong = dl_team_agree(team, wrong);
  dl_sync_destroy(&sync);
  for (int k = 0; k < CASE_SLOTS; k++) free(o.state[k]);
  free(o.weights);
  free(o.mean);
  free(o.leaves);
  free(o.residuals);
  free(o.leaf_sums);
  return wrong;
}

typedef struct property_run {
  uint64_t first_seed;
  int cases;
} property_run;

static inline dl_status run_properties(dl_team *team, void *context) {
  const property_run *run = context;
  for (int i = 0; i < run->cases; i++) {
    uint64_t seed = run->first_seed + (uint64_t)i;
    DL_TRY(sync_property(team, seed, team->nodes == 1 ? DL_TRANSPORT_SHM : DL_TRANSPORT_AUTO));
    DL_TRY(sync_property(team, seed, DL_TRANSPORT_MPI));
    DL_TRY(sync_property(team, seed, BY_PARAMETER_SERVERS));
  }
  return DL_OK;
}

#endif

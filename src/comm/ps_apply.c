/* The end of a step on a server: the same folds, norms and phases as in the other synchronisers, over a slice. */
#include <math.h>
#include <string.h>

#include "comm/ps_private.h"
#include "core/clock.h"

static bool counts(const dl_sync *sync, const dl_block_ref *block) {
  return dl_sync_trains(sync, block) || dl_sync_runs(sync, block);
}

/* ---- a step's tree ---- */

/* The nodes whose sum is still to be made, where they lie, and for which blocks. */
typedef struct plan {
  dl_fold_node collected[DL_PS_COLLECT_MOST];
  const dl_fold_node *nodes;
  int n;
  dl_fold_source source;
  int64_t first_block, end_block;
} plan;

static const float *collected(const dl_sync *sync, const dl_fold_node *node, size_t offset) {
  const dl_ps *own = dl_ps_of(sync);
  return own->folded->waiting[node->member].values + (offset - own->folded_begin);
}

static const float *in_memory(const dl_sync *sync, const dl_fold_node *node, size_t offset) {
  const size_t buffer = (size_t)node->member * (size_t)sync->slots + (size_t)node->slot;
  return (const float *)dl_ps_of(sync)->sums.base + buffer * sync->group->count + offset;
}

/* From what was collected, for floats from `begin` on. */
static dl_status plan_collected(dl_sync *sync, dl_ps_collect *collect, size_t begin, plan *out) {
  dl_ps *own = dl_ps_of(sync);
  int merges[DL_PS_COLLECT_MOST];
  own->folded = collect;
  own->folded_begin = begin;
  out->source = collected;
  out->nodes = out->collected;
  out->n = dl_ps_collect_plan(collect, merges);
  for (int i = 0; i < out->n; i++) out->collected[i] = (dl_fold_node){.member = i, .merges = merges[i]};
  if (out->n) return DL_OK;
  return dl_fail(DL_ERR_INTERNAL, "the tree of step %lld has no root", (long long)sync->step);
}

/* Up to the next block, the gap with it. */
static void copy_to_view(const dl_sync *sync, int64_t b, float *view) {
  const size_t from = sync->blocks[b].offset, to = dl_sync_block_offset(sync, b + 1);
  memcpy(view + (from - dl_ps_of(sync)->begin), sync->weights + from, (to - from) * sizeof *view);
}

/* Means, penalties and sums of squares of the slice: applied at once, or kept until the norm is known. A block goes
 * through all of it, to where workers of this host read it (`view`, NULL: nowhere), while it is in the first cache. */
static void take_means(dl_sync *sync, const plan *tree, float factor, bool apply, float *view) {
  dl_ps *own = dl_ps_of(sync);
  for (int64_t b = tree->first_block; b < tree->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    sync->block_sumsq[b] = 0;
    if (counts(sync, block)) {
      float *mean = apply ? sync->fold_buffer : own->means + block->offset;
      dl_sync_fold_nodes(sync, tree->nodes, tree->n, block, tree->source, dl_sync_block_factor(sync, block, factor),
                         mean);
      if (dl_sync_trains(sync, block)) sync->block_sumsq[b] = dl_sync_penalise_block(sync, block, mean);
      if (apply) dl_sync_apply_block(sync, block, mean);
    }
    if (view) copy_to_view(sync, b, view);
  }
}

/* The whole slice, or its buckets one after another. */
static dl_status take_slice(dl_sync *sync, float factor, bool apply) {
  dl_ps *own = dl_ps_of(sync);
  plan tree = {.nodes = sync->fold,
               .n = sync->n_fold,
               .source = in_memory,
               .first_block = sync->first_block,
               .end_block = sync->end_block};
  if (own->server < 0) return DL_OK;
  for (int k = 0; k < own->n_buckets; k++) {
    dl_ps_bucket *bucket = &own->buckets[k];
    if (bucket->server != own->server) continue;
    DL_TRY(plan_collected(sync, &bucket->collect, bucket->part.begin, &tree));
    tree.first_block = bucket->part.first_block;
    tree.end_block = bucket->part.end_block;
    take_means(sync, &tree, factor, apply, NULL);
  }
  if (own->buckets) return DL_OK;
  if (!own->sums.base) DL_TRY(plan_collected(sync, &own->collect, own->begin, &tree));
  take_means(sync, &tree, factor, apply, apply ? dl_ps_serve_begin_view(sync) : NULL);
  return DL_OK;
}

dl_status dl_ps_gather_blocks(dl_sync *sync, double *values, size_t width) {
  dl_ps *own = dl_ps_of(sync);
  size_t widest = (size_t)own->widest * width;
  if (sync->team->size == 1) return DL_OK;
  memcpy(own->send, values + (size_t)sync->first_block * width,
         (size_t)(sync->end_block - sync->first_block) * width * sizeof *values);
  DL_TRY(dl_team_allgather(sync->team, own->send, widest * sizeof *values, own->all));
  for (int s = 0; s < own->servers; s++)
    memcpy(values + (size_t)own->blocks[s] * width, own->all + (size_t)(own->first_server + s) * widest,
           (size_t)(own->blocks[s + 1] - own->blocks[s]) * width * sizeof *values);
  return DL_OK;
}

static dl_status gather_sums(dl_sync *sync) {
  return dl_ps_gather_blocks(sync, &sync->block_sums->weights, sizeof *sync->block_sums / sizeof(double));
}

dl_status dl_ps_apply(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result) {
  bool norm_first = sync->options.norm_first;
  double begin = dl_now_s();
  DL_TRY(take_slice(sync, factor, !norm_first));
  if (!norm_first) result->update_s = dl_now_s() - begin;
  DL_TRY(dl_ps_gather_blocks(sync, sync->block_sumsq, 1));
  result->grad_norm = dl_sync_norm(sync);
  result->finite = isfinite(result->grad_norm);
  if (!norm_first || !result->finite) return DL_OK;
  begin = dl_now_s();
  float clip = dl_sync_clip_factor(result->grad_norm, clip_norm);
  DL_TRY(dl_sync_apply_slice(sync, dl_ps_of(sync)->means, clip, gather_sums));
  result->update_s = dl_now_s() - begin;
  return DL_OK;
}

/* ---- one push alone ---- */

/* average += share * (mean - average) */
static void move_running(const dl_sync *sync, const dl_block_ref *block, const float *mean, double share) {
  float *average = sync->weights + block->offset;
  const float by = (float)(sync->group->tensors[block->tensor].running * share);
  for (size_t i = 0; i < block->n; i++) average[i] += by * (mean[i] - average[i]);
}

/* A block's mean with its penalty, in the first cache. */
static float *mean_of_block(dl_sync *sync, const dl_block_ref *block, const float *values, float factor,
                            double *sumsq) {
  float *mean = sync->fold_buffer;
  memcpy(mean, values + (block->offset - dl_ps_of(sync)->begin), block->n * sizeof *mean);
  dl_vector()->scale(mean, factor, block->n);
  *sumsq = dl_sync_trains(sync, block) ? dl_sync_penalise_block(sync, block, mean) : 0;
  return mean;
}

/* Nothing may change before all are known to be finite, so the values are gone over twice rather than the means kept.
 */
bool dl_ps_look_alone(dl_sync *sync, const float *values, const dl_ps_alone *how, double *norm) {
  double sum = 0;
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    sync->block_sumsq[b] = 0;
    if (!counts(sync, block)) continue;
    mean_of_block(sync, block, values, dl_sync_runs(sync, block) ? how->running_factor : how->factor,
                  &sync->block_sumsq[b]);
    sum += sync->block_sumsq[b];
  }
  *norm = sqrt(sum);
  return isfinite(sum);
}

void dl_ps_apply_alone(dl_sync *sync, const float *values, const dl_ps_alone *how, float clip) {
  const dl_param_group *group = sync->group;
  double ignored;
  float *view = dl_ps_serve_begin_view(sync);
  if (group->pace) group->pace(group->apply_context, how->share);
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    const bool runs = dl_sync_runs(sync, block);
    if (counts(sync, block)) {
      float *mean = mean_of_block(sync, block, values, runs ? how->running_factor : how->factor, &ignored);
      if (runs) move_running(sync, block, mean, how->share);
      if (clip < 1 && !runs) dl_vector()->scale(mean, clip, block->n);
      if (!runs) dl_sync_apply_block(sync, block, mean);
    }
    if (view) copy_to_view(sync, b, view);
  }
}

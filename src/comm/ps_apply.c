/* The end of a step on a server: the same folds, norms and phases as in the other synchronisers, over a slice. */
#include <math.h>
#include <string.h>

#include "comm/ps_private.h"
#include "core/clock.h"

static bool counts(const dl_sync *sync, const dl_block_ref *block) {
  return dl_sync_trains(sync, block) || dl_sync_runs(sync, block);
}

static void mean_of_block(const dl_sync *sync, const dl_block_ref *block, const float *values, float factor,
                          float *out) {
  memcpy(out, values + (block->offset - dl_ps_of(sync)->begin), block->n * sizeof *out);
  dl_vector()->scale(out, factor, block->n);
}

/* Means, penalties and sums of squares of the slice: applied at once, or kept until the norm is known. */
static void take_means(dl_sync *sync, const float *values, float factor, bool apply) {
  dl_ps *own = dl_ps_of(sync);
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    sync->block_sumsq[b] = 0;
    if (!counts(sync, block)) continue;
    float *mean = apply ? sync->fold_buffer : own->means + block->offset;
    const float by = dl_sync_block_factor(sync, block, factor);
    if (values)
      mean_of_block(sync, block, values, by, mean);
    else
      dl_sync_fold_block(sync, block, dl_ps_node_sums, by, mean);
    if (dl_sync_trains(sync, block)) sync->block_sumsq[b] = dl_sync_penalise_block(sync, block, mean);
    if (apply) dl_sync_apply_block(sync, block, mean);
  }
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

dl_status dl_ps_apply(dl_sync *sync, const float *values, float factor, double clip_norm, dl_sync_result *result) {
  bool norm_first = sync->options.norm_first;
  double begin = dl_now_s();
  take_means(sync, values, factor, !norm_first);
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

bool dl_ps_apply_alone(dl_sync *sync, const float *values, float factor, float running_factor, double share,
                       double clip_norm) {
  const dl_param_group *group = sync->group;
  dl_ps *own = dl_ps_of(sync);
  double sum = 0;
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    float *mean = own->means + block->offset;
    sync->block_sumsq[b] = 0;
    if (!counts(sync, block)) continue;
    mean_of_block(sync, block, values, dl_sync_runs(sync, block) ? running_factor : factor, mean);
    if (dl_sync_trains(sync, block)) sync->block_sumsq[b] = dl_sync_penalise_block(sync, block, mean);
    sum += sync->block_sumsq[b];
  }
  if (!isfinite(sum)) return false;
  float clip = dl_sync_clip_factor(sqrt(sum), clip_norm);
  if (group->pace) group->pace(group->apply_context, share);
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    float *mean = own->means + block->offset;
    if (dl_sync_runs(sync, block)) move_running(sync, block, mean, share);
    if (!dl_sync_trains(sync, block)) continue;
    if (clip < 1) dl_vector()->scale(mean, clip, block->n);
    dl_sync_apply_block(sync, block, mean);
  }
  return true;
}

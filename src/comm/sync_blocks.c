/* What synchronisers make a reduction of, block by block: sums along the tree, norms, the optimizer's step. */
#include <math.h>
#include <string.h>

#include "comm/sync_common.h"

size_t dl_sync_block_offset(const dl_sync *sync, int64_t block) {
  return block < sync->n_blocks ? sync->blocks[block].offset : sync->group->count;
}

/* The stack holds pointers: a node that has not been added to yet is read where it lies, so every node is read once and
 * sums stay in the first cache. */
void dl_sync_fold_nodes(dl_sync *sync, const dl_fold_node *nodes, int n, const dl_block_ref *block,
                        dl_fold_source source, float scale, float *out) {
  const dl_vector_ops *v = dl_vector();
  const float *stack[DL_TREE_DEPTH];
  int depth = 0;
  if (n == 1) {
    const float *from = source(sync, &nodes[0], block->offset);
    if (from != out) memcpy(out, from, block->n * sizeof *out);
    if (scale != 1) v->scale(out, scale, block->n);
    return;
  }
  /* NOLINTBEGIN(clang-analyzer-core.*): merges never outrun pushes, and there is one node at least */
  for (int i = 0; i < n; i++) {
    stack[depth++] = source(sync, &nodes[i], block->offset);
    for (int m = 0; m < nodes[i].merges; m++, depth--) {
      const float *left = stack[depth - 2], *right = stack[depth - 1];
      const bool root = i == n - 1 && depth == 2 && scale != 1 && !sync->half;
      float *sum = depth == 2 ? out : sync->fold_buffer + (size_t)(depth - 2) * DL_BLOCK;
      if (root && left == sum)
        v->add_scaled(sum, right, scale, block->n);
      else if (root)
        v->sum2_scaled(sum, left, right, scale, block->n);
      else if (left == sum)
        v->add(sum, right, block->n);
      else
        v->sum2(sum, left, right, block->n);
      if (sync->half) sync->half->round(sum, block->n);
      stack[depth - 2] = sum;
    }
  }
  if (sync->half && scale != 1) v->scale(out, scale, block->n);
  /* NOLINTEND(clang-analyzer-core.*) */
}

void dl_sync_fold_block(dl_sync *sync, const dl_block_ref *block, dl_fold_source source, float factor, float *out) {
  dl_sync_fold_nodes(sync, sync->fold, sync->n_fold, block, source, dl_sync_block_factor(sync, block, factor), out);
}

/* Blocks of a tensor along their tree, then tensors along theirs. */
double dl_sync_norm(dl_sync *sync) {
  double *blocks = sync->norm_scratch, *tensors = blocks + sync->n_blocks, sum = 0;
  memcpy(blocks, sync->block_sumsq, (size_t)sync->n_blocks * sizeof *blocks);
  for (int t = 0; t < sync->group->n_tensors; t++) {
    int64_t n = (int64_t)((sync->group->tensors[t].count + DL_BLOCK - 1) / DL_BLOCK);
    dl_tree_sum_rows(blocks, n, 1, &tensors[t]);
    if (!isfinite(tensors[t])) sync->bad_tensor = t;
    blocks += n;
  }
  dl_tree_sum_rows(tensors, sync->group->n_tensors, 1, &sum);
  return sqrt(sum);
}

float dl_sync_clip_factor(double norm, double clip_norm) {
  if (clip_norm <= 0) return 1;
  double factor = clip_norm / (norm + 1e-6);
  return factor < 1 ? (float)factor : 1;
}

/* average += share * (mean - average) */
static void move_average(float share, size_t n, const float *restrict mean, float *restrict average) {
  for (size_t i = 0; i < n; i++) average[i] += share * (mean[i] - average[i]);
}

double dl_sync_penalise_block(dl_sync *sync, const dl_block_ref *block, float *gradient) {
  const dl_param_group *group = sync->group;
  if (group->penalise)
    group->penalise(group->apply_context, &group->tensors[block->tensor], block->n, sync->weights + block->offset,
                    gradient);
  if (!sync->options.norm_first) return dl_audit_before_write_and_sumsq(sync, block, gradient); /* it is written next */
  return dl_block_sumsq(gradient, block->n);
}

static void state_of(const dl_sync *sync, const dl_block_ref *block, float *state[DL_MAX_OPTIMIZER_SLOTS]) {
  size_t at = sync->state_at ? sync->state_at[block - sync->blocks] : block->offset - sync->state_begin;
  for (int k = 0; k < sync->group->n_slots; k++) state[k] = sync->state[k] + at;
}

void dl_sync_apply_block(dl_sync *sync, const dl_block_ref *block, const float *gradient) {
  const dl_param_group *group = sync->group;
  float *state[DL_MAX_OPTIMIZER_SLOTS];
  dl_audit_before_write(sync, block);
  if (dl_sync_runs(sync, block)) {
    move_average(group->tensors[block->tensor].running, block->n, gradient, sync->weights + block->offset);
  } else {
    state_of(sync, block, state);
    group->apply(group->apply_context, &group->tensors[block->tensor], block->n, sync->weights + block->offset,
                 gradient, state);
  }
  dl_audit_after_write(sync, block);
}

/* Each block's update and sums of squares; running averages are folded in on the way. */
static void measure_slice(dl_sync *sync, float *means, float factor) {
  const dl_param_group *group = sync->group;
  float *state[DL_MAX_OPTIMIZER_SLOTS];
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    float *gradient = means + block->offset;
    const float *weights = sync->weights + block->offset;
    sync->block_sums[b] = (dl_tensor_sums){0};
    if (dl_sync_runs(sync, block)) dl_sync_apply_block(sync, block, gradient);
    if (!dl_sync_trains(sync, block)) continue;
    if (factor < 1) dl_vector()->scale(gradient, factor, block->n);
    state_of(sync, block, state);
    group->measure(group->apply_context, &group->tensors[block->tensor], block->n, weights, gradient, state);
    sync->block_sums[b] =
        (dl_tensor_sums){.weights = dl_block_sumsq(weights, block->n), .update = dl_block_sumsq(gradient, block->n)};
  }
}

/* Blocks of each tensor along their tree. */
static void sum_tensors(dl_sync *sync) {
  dl_tensor_sums *blocks = sync->sums_scratch;
  memcpy(blocks, sync->block_sums, (size_t)sync->n_blocks * sizeof *blocks);
  for (int t = 0; t < sync->group->n_tensors; t++) {
    int64_t n = (int64_t)((sync->group->tensors[t].count + DL_BLOCK - 1) / DL_BLOCK);
    dl_tree_sum_rows(&blocks->weights, n, 2, &sync->tensor_sums[t].weights);
    blocks += n;
  }
}

static void apply_measured(dl_sync *sync, float *updates, float factor) {
  (void)factor; /* is in them */
  const dl_param_group *group = sync->group;
  float *state[DL_MAX_OPTIMIZER_SLOTS];
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    if (!dl_sync_trains(sync, block)) continue;
    state_of(sync, block, state);
    dl_audit_before_write(sync, block);
    group->apply_measured(group->apply_context, &group->tensors[block->tensor], &sync->tensor_sums[block->tensor],
                          block->n, sync->weights + block->offset, updates + block->offset, state);
    dl_audit_after_write(sync, block);
  }
}

static void apply_plain(dl_sync *sync, float *means, float factor) {
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    if (!dl_sync_trains(sync, block) && !dl_sync_runs(sync, block)) continue;
    if (factor < 1 && dl_sync_trains(sync, block)) dl_vector()->scale(means + block->offset, factor, block->n);
    dl_sync_apply_block(sync, block, means + block->offset);
  }
}

/* `work` on every range of blocks that this member owns. */
static void on_ranges(dl_sync *sync, void (*work)(dl_sync *, float *, float), float *means, float factor) {
  for (int i = 0; i < sync->n_ranges; i++) {
    sync->first_block = sync->ranges[i].first;
    sync->end_block = sync->ranges[i].end;
    work(sync, means, factor);
  }
  if (!sync->ranges) work(sync, means, factor);
}

dl_status dl_sync_apply_slice(dl_sync *sync, float *means, float factor, dl_sync_share share) {
  if (!sync->group->measure) {
    on_ranges(sync, apply_plain, means, factor);
    return DL_OK;
  }
  on_ranges(sync, measure_slice, means, factor);
  DL_TRY(share(sync));
  sum_tensors(sync);
  on_ranges(sync, apply_measured, means, factor);
  return DL_OK;
}

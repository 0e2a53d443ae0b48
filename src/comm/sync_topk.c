/* Blocks are thinned one by one (core/sparse.h). The residuals of a member's shards lie side by side in memory of its
 * own: nobody else reads them, but for checkpoints. */
#include "comm/sync_topk.h"

#include <stdlib.h>
#include <string.h>

#include "comm/sync_common.h"
#include "core/sparse.h"

struct dl_topk {
  const dl_param_group *group;
  const dl_block_ref *blocks;
  int64_t n_blocks;
  dl_topk_options options;
  float *residuals; /* shards x group->count */
};

static size_t floats_of(const dl_topk *topk) {
  return (size_t)(topk->options.end_shard - topk->options.first_shard) * topk->group->count;
}

dl_status dl_topk_new(const dl_param_group *group, const dl_block_ref *blocks, const dl_topk_options *options,
                      dl_topk **out) {
  dl_topk *topk = *out = dl_calloc(1, sizeof *topk);
  if (!topk) return DL_ERR_NOMEM;
  *topk = (dl_topk){.group = group, .blocks = blocks, .n_blocks = dl_group_blocks(group), .options = *options};
  if (!floats_of(topk)) return DL_OK;
  topk->residuals = dl_calloc_aligned(floats_of(topk), sizeof *topk->residuals);
  if (topk->residuals) return DL_OK;
  dl_fail(DL_ERR_NOMEM,
          "out of memory: sync.compress: topk keeps what gradients leave behind, %.1f MB of a rank's %lld shards",
          1e-6 * (double)dl_topk_bytes(topk), (long long)(options->end_shard - options->first_shard));
  dl_hint("set sync.shards to the number of ranks");
  dl_topk_destroy(out);
  return DL_ERR_NOMEM;
}

void dl_topk_destroy(dl_topk **topk) {
  if (!*topk) return;
  free((*topk)->residuals);
  free(*topk);
  *topk = NULL;
}

size_t dl_topk_bytes(const dl_topk *topk) { return floats_of(topk) * sizeof *topk->residuals; }

float *dl_topk_residual(dl_topk *topk, int64_t shard) {
  return topk->residuals + (size_t)(shard - topk->options.first_shard) * topk->group->count;
}

static void thin(const dl_topk *topk, const dl_cut *cut, float *residual, float *gradient, size_t from, size_t end) {
  const int64_t batch = topk->options.batch;
  const float scale = batch && cut->samples != batch ? (float)((double)cut->samples / (double)batch) : 1;
  for (int64_t b = dl_group_block_at(topk->blocks, topk->n_blocks, from); b < topk->n_blocks; b++) {
    const dl_block_ref *block = &topk->blocks[b];
    if (block->offset >= end) return;
    if (topk->group->tensors[block->tensor].trainable)
      dl_sparse_select(gradient + block->offset, residual + block->offset, block->n,
                       dl_sparse_keep(topk->options.fraction, block->n), scale);
  }
}

void dl_topk_leaf(dl_topk *topk, const dl_cut *cut, int64_t leaf, float *gradient, size_t from, size_t end) {
  thin(topk, cut, dl_topk_residual(topk, dl_cut_shard_of_leaf(cut, leaf)), gradient, from, end);
}

void dl_topk_sum(dl_topk *topk, const dl_cut *cut, float *sum, size_t from, size_t end) {
  thin(topk, cut, dl_topk_residual(topk, topk->options.first_shard), sum, from, end);
}

/* ---- residuals in and out ---- */

int64_t dl_sync_residuals(const dl_sync *sync) { return sync->topk ? sync->options.shards : 0; }

static int holder_of(const dl_sync *sync, int64_t shard) {
  int rank = 0;
  while (dl_rank_first_shard(sync->options.shards, rank + 1, sync->workers) <= shard) rank++;
  return rank;
}

static dl_status move_residual(dl_sync *sync, int64_t shard, float *values, int root, bool out) {
  const int rank = sync->team->rank, holder = holder_of(sync, shard);
  const size_t bytes = sync->group->count * sizeof *values;
  float *kept = rank == holder ? dl_topk_residual(sync->topk, shard) : NULL;
  if (holder == root && rank == root) memcpy(out ? values : kept, out ? kept : values, bytes);
  const dl_message at_root = {holder, 0, values, bytes}, at_holder = {root, 0, kept, bytes};
  const bool speaks = holder != root, is_root = speaks && rank == root, holds = speaks && rank == holder;
  return sync->team->ops->exchange(sync->team, out ? &at_holder : &at_root, out ? holds : is_root,
                                   out ? &at_root : &at_holder, out ? is_root : holds);
}

static dl_status check_residual(const dl_sync *sync, int64_t shard) {
  if (shard >= 0 && shard < dl_sync_residuals(sync)) return DL_OK;
  return dl_fail(DL_ERR_INTERNAL, "there is no residual of shard %lld", (long long)shard);
}

dl_status dl_sync_set_residual(dl_sync *sync, int64_t shard, const float *values, int root) {
  DL_TRY(dl_team_agree(sync->team, check_residual(sync, shard)));
  return move_residual(sync, shard, (float *)(uintptr_t)values, root, false);
}

dl_status dl_sync_get_residual(dl_sync *sync, int64_t shard, float *values, int root) {
  DL_TRY(dl_team_agree(sync->team, check_residual(sync, shard)));
  return move_residual(sync, shard, values, root, true);
}

/* The part of a step that is the same for all synchronisers.
 *
 * A member sums its leaves with a binary counter into a few gradient buffers. What is left on its stack are the maximal
 * subtrees of its run: everybody can work out which they are from the cut, so none of that is sent. The sums of doubles
 * (loss, normaliser ...) go with the headers and are folded by everyone alike, along the same tree. */
#include "comm/sync_common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"

#define EXACT_SHARDS 2048 /* up to here every possible batch is looked at to find how many buffers are needed */

static const dl_sync_ops *const synchronisers[] = {&dl_sync_shm_ops, &dl_sync_nodes_ops, &dl_sync_message_ops,
                                                   &dl_sync_ps_ops};
#define N_SYNCHRONISERS ((int)(sizeof synchronisers / sizeof *synchronisers))

const dl_sync_kind *dl_sync_kinds(int *n) {
  static dl_sync_kind kinds[N_SYNCHRONISERS];
  for (int i = 0; i < N_SYNCHRONISERS; i++) kinds[i] = (dl_sync_kind){synchronisers[i]->name, synchronisers[i]->help};
  *n = N_SYNCHRONISERS;
  return kinds;
}

/* ---- how much is needed ---- */

static int larger(int a, int b) { return a > b ? a : b; }

static void member_leaves(const dl_sync *sync, const dl_cut *cut, int rank, int64_t *begin, int64_t *end) {
  *begin = *end = cut->leaves;
  if (rank < sync->workers) dl_cut_rank_leaves(cut, rank, sync->workers, begin, end);
}

static void measure_cut(dl_sync *sync, int64_t samples) {
  dl_cut cut = dl_cut_make(samples, sync->options.shards);
  dl_tree_node cover[DL_TREE_DEPTH];
  int nodes = 0;
  for (int r = 0; r < sync->team->size; r++) {
    int64_t begin, end;
    member_leaves(sync, &cut, r, &begin, &end);
    nodes += dl_tree_cover(cut.leaves, begin, end, cover);
    sync->slots = larger(sync->slots, dl_tree_slots(cut.leaves, begin, end));
  }
  sync->max_fold = larger(sync->max_fold, nodes);
}

/* A run of L leaves is covered by at most 2 log2(L) nodes; one more is the leaf in work. */
static void bound_cuts(dl_sync *sync) {
  int64_t longest = sync->options.shards / (sync->workers ? sync->workers : 1) + 1;
  int height = 0;
  while (((int64_t)1 << height) < longest) height++;
  sync->slots = 2 * height + 2;
  sync->max_fold = sync->team->size * sync->slots;
}

/* Only batches of fewer samples than shards differ from the whole one: one cut each. */
static void measure(dl_sync *sync) {
  sync->slots = 1;
  sync->max_fold = 1;
  if (!sync->workers) return; /* the root alone comes from outside */
  if (sync->options.shards > EXACT_SHARDS) {
    bound_cuts(sync);
    return;
  }
  for (int64_t samples = 1; samples <= sync->options.shards; samples++) measure_cut(sync, samples);
}

/* The fold's stack holds pending left siblings: one a level, and the node in work. */
static int fold_height(int64_t shards) {
  int height = 2;
  while (shards > 1) {
    shards = (shards + 1) / 2;
    height++;
  }
  return height;
}

/* ---- life ---- */

static void *keep(dl_sync *sync, size_t count, size_t size) {
  void *p = dl_calloc_aligned(count, size);
  if (p) sync->member_bytes += count * size;
  return p;
}

static dl_status allocate_common(dl_sync *sync) {
  size_t size = (size_t)sync->team->size, slots = (size_t)sync->slots, blocks = (size_t)sync->n_blocks;
  size_t depth = (size_t)fold_height(sync->options.shards);
  sync->header_bytes = sizeof(dl_header) + slots * DL_LEAF_SUMS * sizeof(double);
  sync->header_bytes = (sync->header_bytes + DL_CACHE_LINE - 1) / DL_CACHE_LINE * DL_CACHE_LINE;
  sync->fold_depth = (int)depth;
  sync->blocks = keep(sync, blocks, sizeof *sync->blocks);
  sync->fold = keep(sync, (size_t)sync->max_fold, sizeof *sync->fold);
  sync->sums = keep(sync, slots, DL_LEAF_SUMS * sizeof(double));
  sync->fold_buffer = keep(sync, depth * DL_BLOCK, sizeof(float));
  sync->norm_scratch = keep(sync, blocks + (size_t)sync->group->n_tensors, sizeof(double));
  sync->sum_scratch = keep(sync, depth, DL_LEAF_SUMS * sizeof(double));
  sync->notes = keep(sync, size, DL_SYNC_NOTES * sizeof(double));
  bool measures = sync->group->measure != NULL;
  if (measures) {
    sync->tensor_sums = keep(sync, (size_t)sync->group->n_tensors, sizeof *sync->tensor_sums);
    sync->sums_scratch = keep(sync, blocks, sizeof *sync->sums_scratch);
  }
  bool all = sync->blocks && sync->fold && sync->sums && sync->fold_buffer && sync->norm_scratch && sync->sum_scratch &&
             sync->notes && (!measures || (sync->tensor_sums && sync->sums_scratch));
  if (!all) return DL_ERR_NOMEM;
  dl_group_list_blocks(sync->group, sync->blocks);
  return DL_OK;
}

static dl_status check_options(const dl_sync *sync) {
  if (sync->options.shards < 1 || sync->options.shards > ((int64_t)1 << 40))
    return dl_fail(DL_ERR_USAGE, "sync.shards: %lld is not a number of shards", (long long)sync->options.shards);
  if (sync->group->n_slots < 0 || sync->group->n_slots > DL_MAX_OPTIMIZER_SLOTS || sync->group->count % 16)
    return dl_fail(DL_ERR_INTERNAL, "a parameter group of %zu floats and %d slots", sync->group->count,
                   sync->group->n_slots);
  if (sync->options.ps && sync->options.ps->role == DL_PS_TEAM && sync->workers < 1) {
    dl_fail(DL_ERR_USAGE, "sync.servers: %d of %d ranks serve, none is left to compute", sync->options.ps->servers,
            sync->team->size);
    return dl_hint("start more ranks, or leave sync.servers out: then every rank does both");
  }
  if (sync->group->measure && !sync->options.norm_first)
    return dl_fail(DL_ERR_INTERNAL, "norms of tensors need the norm first");
  for (int t = 0; t < sync->group->n_tensors && sync->options.compress == DL_COMPRESS_FP16; t++)
    if (sync->group->tensors[t].running > 0) {
      dl_fail(DL_ERR_USAGE, "sync.compress: fp16 cannot hold the sums of %s, a running average",
              sync->group->tensors[t].name);
      return dl_hint("use bf16, which has the range of a float");
    }
  if (sync->options.transport == DL_TRANSPORT_SHM && sync->team->nodes > 1) {
    dl_fail(DL_ERR_USAGE, "sync.transport: shm needs all ranks on one node, these are on %d", sync->team->nodes);
    return dl_hint("leave it out, or set sync.transport: auto");
  }
  return DL_OK;
}

/* Servers that do nothing else compute no leaves, nor do those whose workers are other processes. */
static int count_workers(const dl_sync *sync) {
  const dl_ps_options *ps = sync->options.ps;
  return !ps ? sync->team->size : ps->role == DL_PS_SERVE ? 0 : sync->team->size - ps->servers;
}

static dl_status setup_with(dl_sync *sync, const dl_sync_ops *ops) {
  size_t before = sync->member_bytes;
  sync->ops = ops;
  dl_status status = ops->setup(sync);
  if (status == DL_OK) return DL_OK;
  ops->teardown(sync);
  sync->ops = NULL;
  sync->member_bytes = before;
  return status;
}

static dl_status setup_transport(dl_sync *sync) {
  if (sync->options.ps) return setup_with(sync, &dl_sync_ps_ops);
  int transport = sync->options.transport;
  if (transport == DL_TRANSPORT_MPI) return setup_with(sync, &dl_sync_message_ops);
  dl_status status = setup_with(sync, sync->team->nodes > 1 ? &dl_sync_nodes_ops : &dl_sync_shm_ops);
  if (status != DL_ERR_SYSTEM || transport == DL_TRANSPORT_SHM) return status;
  dl_warn("shared_memory", "%s; gradients go as messages, which is slower", dl_error_last()->message);
  return setup_with(sync, &dl_sync_message_ops);
}

static dl_status thin_leaves(dl_sync *sync) {
  const dl_sync_options *o = &sync->options;
  if (o->compress != DL_COMPRESS_TOPK || !sync->workers) return DL_OK; /* workers outside the team thin their own */
  const int rank = sync->team->rank, workers = sync->workers;          /* members beyond these have no leaves */
  const dl_topk_options options = {
      .fraction = o->topk,
      .batch = o->batch,
      .first_shard = dl_rank_first_shard(o->shards, rank < workers ? rank : workers, workers),
      .end_shard = dl_rank_first_shard(o->shards, rank < workers ? rank + 1 : workers, workers)};
  DL_TRY(dl_topk_new(sync->group, sync->blocks, &options, &sync->topk));
  sync->member_bytes += dl_topk_bytes(sync->topk);
  return DL_OK;
}

dl_status dl_sync_new(dl_team *team, const dl_param_group *group, const dl_sync_options *options, dl_sync **out) {
  *out = NULL;
  dl_sync *sync = dl_calloc(1, sizeof *sync);
  dl_status status = sync ? DL_OK : DL_ERR_NOMEM;
  if (sync) {
    sync->team = team;
    sync->group = group;
    sync->options = *options;
    if (options->ps) { /* servers hold the weights: there is one copy, and what travels is theirs to time */
      sync->options.audit_every = sync->options.recompute_every = 0;
      sync->options.overlap &= options->ps->role == DL_PS_TEAM;
    }
    if (sync->options.bucket_bytes <= 0) sync->options.bucket_bytes = DL_SYNC_BUCKET_BYTES;
    sync->half = dl_half_of(options->compress);
    sync->fold_leaves = -1;
    sync->n_blocks = dl_group_blocks(group);
    sync->workers = count_workers(sync);
    status = check_options(sync);
    if (status == DL_OK) measure(sync);
    if (status == DL_OK) status = allocate_common(sync);
  }
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_team_agree(team, thin_leaves(sync));
  if (status == DL_OK) status = setup_transport(sync);
  if (status == DL_OK) status = dl_audit_new(sync);
  if (status == DL_OK) status = dl_recompute_new(sync);
  if (status != DL_OK) dl_sync_destroy(&sync);
  *out = sync;
  return status;
}

static void wake_guards(dl_sync *sync) {
  if (sync->resting_audit) sync->audit = sync->resting_audit;
  if (sync->resting_recompute) sync->recompute = sync->resting_recompute;
  sync->resting_audit = NULL;
  sync->resting_recompute = NULL;
}

void dl_sync_rest_guards(dl_sync *sync, bool rest) {
  const bool rested = sync->resting_audit != NULL;
  wake_guards(sync);
  if (!rest && rested) dl_audit_rewritten(sync);
  if (!rest) return;
  sync->resting_audit = sync->audit;
  sync->resting_recompute = sync->recompute;
  sync->audit = NULL;
  sync->recompute = NULL;
}

void dl_sync_destroy(dl_sync **sync) {
  dl_sync *s = *sync;
  if (!s) return;
  wake_guards(s);
  dl_audit_destroy(s);
  dl_recompute_destroy(s);
  if (s->ops) s->ops->teardown(s);
  dl_topk_destroy(&s->topk);
  void *const mine[] = {s->blocks,      s->fold,  s->sums,        s->fold_buffer, s->norm_scratch,
                        s->sum_scratch, s->notes, s->tensor_sums, s->sums_scratch};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  free(s);
  *sync = NULL;
}

const char *dl_sync_transport(const dl_sync *sync) { return sync->ops->name; }
const float *dl_sync_weights(const dl_sync *sync) { return sync->weights; }
const double *dl_sync_notes(const dl_sync *sync) { return sync->notes; }

void dl_sync_dismiss(dl_sync *sync, dl_status status) {
  if (sync->ops->dismiss) sync->ops->dismiss(sync, status);
}

dl_status dl_sync_log(dl_sync *sync, const char *folder, int64_t step, bool anew) {
  return sync->ops->log ? sync->ops->log(sync, folder, step, anew) : DL_OK;
}

dl_status dl_sync_saved(dl_sync *sync, int64_t step) { return sync->ops->saved ? sync->ops->saved(sync, step) : DL_OK; }

const dl_ps_staleness *dl_sync_staleness(const dl_sync *sync) {
  return sync->ops->staleness ? sync->ops->staleness(sync) : NULL;
}

void dl_sync_memory(const dl_sync *sync, size_t *member_bytes, size_t *node_bytes) {
  *member_bytes = sync->member_bytes;
  *node_bytes = sync->node_bytes;
}

/* ---- the leaves of a step ---- */

/* Depends on the number of leaves alone, so the two cuts of an epoch need it once each. */
static dl_status plan_fold(dl_sync *sync) {
  if (sync->fold_leaves == sync->cut.leaves) return DL_OK;
  if (!sync->workers) { /* the first member has the root */
    sync->fold[0] = (dl_fold_node){0};
    sync->n_fold = 1;
    sync->fold_leaves = sync->cut.leaves;
    return DL_OK;
  }
  dl_tree_stack stack;
  dl_tree_stack_reset(&stack, sync->cut.leaves);
  sync->n_fold = 0;
  for (int r = 0; r < sync->team->size; r++) {
    dl_tree_node cover[DL_TREE_DEPTH];
    int64_t begin, end;
    member_leaves(sync, &sync->cut, r, &begin, &end);
    int nodes = dl_tree_cover(sync->cut.leaves, begin, end, cover);
    for (int k = 0; k < nodes; k++) {
      if (sync->n_fold >= sync->max_fold || stack.depth + 1 > sync->fold_depth)
        return dl_fail(DL_ERR_INTERNAL, "the tree over %lld leaves does not fit", (long long)sync->cut.leaves);
      int merges = dl_tree_stack_push(&stack, cover[k]);
      sync->fold[sync->n_fold++] = (dl_fold_node){r, k, merges};
    }
  }
  if (stack.depth != (sync->cut.leaves > 0)) return dl_fail(DL_ERR_INTERNAL, "the tree has %d roots", stack.depth);
  sync->fold_leaves = sync->cut.leaves;
  return DL_OK;
}

dl_status dl_sync_begin(dl_sync *sync, const dl_cut *cut) {
  if (cut->shards != sync->options.shards || cut->samples < 1)
    return dl_fail(DL_ERR_INTERNAL, "a step of %lld samples in %lld shards, but %lld shards were asked for",
                   (long long)cut->samples, (long long)cut->shards, (long long)sync->options.shards);
  sync->cut = *cut;
  sync->step++;
  sync->number++;
  sync->last_merges = -1;
  member_leaves(sync, cut, sync->team->rank, &sync->first_leaf, &sync->end_leaf);
  dl_tree_stack_reset(&sync->stack, cut->leaves);
  dl_recompute_begin(sync);
  DL_TRY(plan_fold(sync));
  return sync->ops->begin ? sync->ops->begin(sync) : DL_OK;
}

void dl_sync_number_step(dl_sync *sync, int64_t number) { sync->number = number - 1; }

void dl_sync_set_phase(dl_sync *sync, const char *phase) {
  dl_member_of(sync->team)->at = (dl_phase){phase, sync->number};
}

void dl_sync_leaves(const dl_sync *sync, int64_t *begin, int64_t *end) {
  *begin = sync->first_leaf;
  *end = sync->end_leaf;
}

float *dl_sync_gradients(dl_sync *sync) { return sync->gradients + (size_t)sync->stack.depth * sync->group->count; }

static void add_sums(double *restrict into, const double *restrict x) {
  for (int k = 0; k < DL_LEAF_SUMS; k++) into[k] += x[k];
}

/* Elements [from, end) of the leaf in work become what goes out of them. */
static void compress_leaf(dl_sync *sync, int64_t leaf, size_t from, size_t end) {
  float *gradient = dl_sync_gradients(sync);
  if (sync->half) sync->half->round(gradient + from, end - from);
  if (sync->topk) dl_topk_leaf(sync->topk, &sync->cut, leaf, gradient, from, end);
}

/* The last leaf's sums are added bucket by bucket while its backward still runs: what its push will merge is known. */
void dl_sync_ready(dl_sync *sync, int64_t leaf, size_t from) {
  size_t count = sync->group->count;
  if (!sync->ops->ready || !sync->options.overlap || leaf != sync->end_leaf - 1) return;
  if (dl_recompute_is_leaf(sync, leaf)) return; /* others add to what is ready, in its place */
  if (sync->last_merges < 0) {
    dl_tree_stack stack = sync->stack;
    sync->last_merges = dl_tree_stack_push_leaf(&stack, leaf);
    sync->merged_from = count;
  }
  if (sync->topk) from = dl_sync_block_offset(sync, dl_group_block_at(sync->blocks, sync->n_blocks, from));
  if (from >= sync->merged_from) return;
  int top = sync->stack.depth;
  compress_leaf(sync, leaf, from, sync->merged_from);
  for (int m = 0; m < sync->last_merges; m++, top--)
    dl_sync_add(sync, sync->gradients + (size_t)(top - 1) * count + from, sync->gradients + (size_t)top * count + from,
                sync->merged_from - from);
  sync->merged_from = from;
  sync->ops->ready(sync, from);
}

void dl_sync_leaf_done(dl_sync *sync, int64_t leaf, const double sums[DL_LEAF_SUMS]) {
  size_t count = sync->last_merges < 0 ? sync->group->count : 0; /* else they are in, all but the doubles */
  if (!count) dl_sync_ready(sync, leaf, 0);
  int top = sync->stack.depth;
  dl_recompute_leaf_done(sync, leaf, dl_sync_gradients(sync), sums);
  if (count) compress_leaf(sync, leaf, 0, count);
  memcpy(sync->sums + top * DL_LEAF_SUMS, sums, DL_LEAF_SUMS * sizeof *sums);
  int merges = dl_tree_stack_push_leaf(&sync->stack, leaf);
  for (; merges > 0; merges--, top--) {
    if (count)
      dl_sync_add(sync, sync->gradients + (size_t)(top - 1) * count, sync->gradients + (size_t)top * count, count);
    add_sums(sync->sums + (top - 1) * DL_LEAF_SUMS, sync->sums + top * DL_LEAF_SUMS);
  }
}

dl_status dl_sync_await(dl_sync *sync, size_t end) {
  if (!sync->ops->await || sync->await_status != DL_OK) return sync->await_status;
  return sync->await_status = sync->ops->await(sync, end);
}

dl_status dl_sync_settle(dl_sync *sync) { return dl_sync_await(sync, sync->group->count); }

/* ---- the verdict ---- */

static int own_nodes(const dl_sync *sync) {
  int nodes = 0;
  for (int i = 0; i < sync->n_fold; i++) nodes += sync->fold[i].member == sync->team->rank;
  return nodes;
}

static dl_status check_leaves(const dl_sync *sync) {
  if (!sync->workers || sync->stack.depth == own_nodes(sync)) return DL_OK;
  return dl_fail(DL_ERR_INTERNAL, "leaves %lld to %lld were not all delivered", (long long)sync->first_leaf,
                 (long long)sync->end_leaf);
}

static void write_header(dl_sync *sync, const dl_sync_request *request, dl_status status) {
  dl_header *header = sync->ops->header(sync);
  header->status = (int32_t)status;
  header->stop = request->stop;
  dl_recompute_write_header(sync, header);
  header->abandoned = header->partial = header->save = 0;
  if (request->notes) memcpy(header->notes, request->notes, sizeof header->notes);
  memcpy(header->sums, sync->sums, (size_t)sync->stack.depth * DL_LEAF_SUMS * sizeof(double));
}

/* The doubles along the same tree as the gradients, by everyone. */
static void fold_sums(dl_sync *sync, double out[DL_LEAF_SUMS]) {
  double *stack = sync->sum_scratch;
  int depth = 0;
  memset(out, 0, DL_LEAF_SUMS * sizeof *out);
  for (int i = 0; i < sync->n_fold; i++) {
    const dl_fold_node *node = &sync->fold[i];
    const double *sums = dl_sync_header(sync, node->member)->sums + node->slot * DL_LEAF_SUMS;
    memcpy(stack + depth * DL_LEAF_SUMS, sums, DL_LEAF_SUMS * sizeof *out);
    depth++;
    for (int m = 0; m < node->merges; m++, depth--)
      add_sums(stack + (depth - 2) * DL_LEAF_SUMS, stack + (depth - 1) * DL_LEAF_SUMS);
  }
  if (depth) memcpy(out, stack, DL_LEAF_SUMS * sizeof *out);
}

/* True where a member failed. */
static bool read_headers(dl_sync *sync, dl_sync_result *result) {
  bool failed = false;
  for (int r = 0; r < sync->team->size; r++) {
    const dl_header *header = dl_sync_header(sync, r);
    failed |= header->status != DL_OK;
    result->stop |= header->stop != 0;
    memcpy(sync->notes + (size_t)r * DL_SYNC_NOTES, header->notes, sizeof header->notes);
  }
  return failed;
}

/* All adopt the lowest one's record. Who received what had changed before it was sent speaks after who wrote it: both
 * have found it in the same step. */
static dl_status agree_on_failure(dl_sync *sync, dl_status mine, bool received) {
  DL_TRY(dl_team_agree(sync->team, received ? DL_OK : mine));
  return dl_team_agree(sync->team, received ? dl_audit_pending(sync) : DL_OK);
}

static dl_status meet(dl_sync *sync, const dl_sync_request *request, dl_sync_result *result) {
  double begin = dl_now_s();
  *result = (dl_sync_result){.grad_norm = NAN, .bad_tensor = -1};
  sync->bad_tensor = -1;
  sync->later = request->weights_later && sync->options.overlap;
  dl_sync_set_phase(sync, "gradients");
  sync->request = request;
  dl_status mine = request->status;
  const bool received = mine == DL_OK && dl_audit_pends_elsewhere(sync);
  if (mine == DL_OK) mine = dl_audit_pending(sync);
  if (mine == DL_OK) mine = dl_sync_await(sync, sync->group->count);
  if (mine == DL_OK) mine = check_leaves(sync);
  if (mine == DL_OK && request->clip_norm > 0 && !sync->options.norm_first)
    mine = dl_fail(DL_ERR_INTERNAL, "clipping needs the norm first");
  write_header(sync, request, mine);
  DL_TRY(sync->ops->publish(sync));
  if (read_headers(sync, result)) return agree_on_failure(sync, mine, received);
  DL_TRY(dl_recompute_check(sync));
  if (dl_audit_is_due(sync)) DL_TRY(dl_audit_copies(sync));
  result->abandoned = dl_sync_header(sync, 0)->abandoned != 0;
  result->partial = dl_sync_header(sync, 0)->partial != 0;
  result->save = dl_sync_header(sync, 0)->save != 0;
  if (result->abandoned) return DL_OK;
  fold_sums(sync, result->sums);
  double normaliser = result->sums[1];
  result->finite = isfinite(result->sums[0]) && isfinite(normaliser) && normaliser > 0;
  if (result->finite) DL_TRY(sync->ops->reduce(sync, (float)(1.0 / normaliser), request->clip_norm, result));
  result->bad_tensor = sync->bad_tensor;
  result->sync_s = dl_now_s() - begin - result->update_s;
  return DL_OK;
}

dl_status dl_sync_finish(dl_sync *sync, const dl_sync_request *request, dl_sync_result *result) {
  dl_status status = meet(sync, request, result);
  dl_member_of(sync->team)->at = (dl_phase){.step = sync->number};
  return status;
}

/* ---- whole buffers in and out ---- */

static dl_status check_slot(const dl_sync *sync, int slot) {
  if (slot >= -1 && slot < sync->group->n_slots) return DL_OK;
  return dl_fail(DL_ERR_INTERNAL, "there is no optimizer slot %d", slot);
}

dl_status dl_sync_set(dl_sync *sync, int slot, const float *values, int root) {
  DL_TRY(dl_team_agree(sync->team, check_slot(sync, slot)));
  DL_TRY(sync->ops->set(sync, slot, values, root));
  if (slot < 0) dl_audit_rewritten(sync);
  return DL_OK;
}

dl_status dl_sync_get(dl_sync *sync, int slot, float *values, int root) {
  dl_status status = check_slot(sync, slot);
  const bool received = status == DL_OK && dl_audit_pends_elsewhere(sync);
  DL_TRY(agree_on_failure(sync, status == DL_OK ? dl_audit_pending(sync) : status, received));
  if (slot < 0) DL_TRY(dl_audit_copies(sync));
  return sync->ops->get(sync, slot, values, root);
}

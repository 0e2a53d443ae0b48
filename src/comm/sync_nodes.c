/* Several nodes: one copy of the weights on each, in its shared memory, and the same tree.
 *
 * Members of a node add their sums there (each its share of every bucket, in the slot of the first of them), what is
 * left are the maximal subtrees of the node's leaves. Those travel (sync_nodes_flow.c): node k gets the sums of its
 * parts from all nodes, its members finish the tree over them, take the step with the optimizer state of these parts
 * alone, and the new weights go to the other nodes. Every member owns a share of the parameters, as in ZeRO-1.
 *
 *   leaves, buckets go out | gate | the rest goes out | headers: all | verdict; finish the tree, step or means | gate |
 *   norms between nodes | gate | (norm_first: step | gate) weights travel
 *
 * Where steps overlap, weights still arrive while the next step reads its batch and computes its first layers.
 *
 *   [control][arrivals][ready][folded][arrived][sums of squares][sums of tensors][hashes][weights][state of my
 * node's parts ...][received sums][slots of member 0][slots of member 1] ... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/sync_nodes.h"
#include "core/clock.h"

#define NAP_NS 50000L /* weights come in milliseconds, and who brings them needs the core */

/* ---- life ---- */

static void *take(char *base, size_t *used, size_t bytes) {
  void *at = base ? base + *used : NULL;
  *used += (bytes + DL_CACHE_LINE - 1) / DL_CACHE_LINE * DL_CACHE_LINE;
  return at;
}

static size_t lay_out(dl_sync *sync, char *base) {
  dl_nodes *own = dl_nodes_of(sync);
  size_t used = 0, members = (size_t)sync->team->node_size, buckets = (size_t)own->n_buckets;
  size_t buffer = sync->group->count * sizeof(float), parts = own->own_count * sizeof(float);
  own->control = take(base, &used, sizeof *own->control);
  own->arrivals = take(base, &used, members * sizeof *own->arrivals);
  own->ready = take(base, &used, buckets * sizeof *own->ready);
  own->folded = take(base, &used, buckets * sizeof *own->folded);
  own->arrived = take(base, &used, buckets * (size_t)own->columns * sizeof *own->arrived);
  sync->block_sumsq = take(base, &used, (size_t)sync->n_blocks * sizeof(double));
  if (sync->group->measure) sync->block_sums = take(base, &used, (size_t)sync->n_blocks * sizeof *sync->block_sums);
  if (sync->options.audit_every) sync->block_hashes = take(base, &used, (size_t)sync->n_blocks * sizeof(uint64_t));
  sync->weights = take(base, &used, buffer);
  for (int k = 0; k < sync->group->n_slots; k++) sync->state[k] = take(base, &used, parts);
  own->received = take(base, &used, (size_t)own->n_nodes * (size_t)own->max_roots * parts);
  own->slots = take(base, &used, members * (size_t)sync->slots * buffer);
  return used;
}

static dl_status prepare(dl_sync *sync) {
  dl_nodes *own = dl_calloc(1, sizeof *own);
  sync->own = own;
  if (!own) return DL_ERR_NOMEM;
  DL_TRY(dl_nodes_find(sync));
  sync->headers = dl_calloc_aligned((size_t)sync->team->size + 1, sync->header_bytes);
  sync->member_bytes += ((size_t)sync->team->size + 1) * sync->header_bytes;
  return sync->headers ? DL_OK : DL_ERR_NOMEM;
}

static dl_status nodes_setup(dl_sync *sync) {
  DL_TRY(dl_team_agree(sync->team, prepare(sync)));
  dl_nodes *own = dl_nodes_of(sync);
  size_t bytes = lay_out(sync, NULL);
  DL_TRY(sync->team->ops->shared_new(sync->team, bytes, "weights and gradients", &own->memory));
  lay_out(sync, own->memory.base);
  sync->gradients = own->slots + (size_t)sync->team->node_rank * (size_t)sync->slots * sync->group->count;
  sync->state_at = own->own_at;
  sync->copy_rank = sync->team->node_rank;
  sync->copy_size = sync->team->node_size;
  sync->node_bytes = own->memory.bytes;
  return dl_team_agree(sync->team, dl_nodes_flow_new(sync, sync->options.overlap));
}

static void nodes_teardown(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  if (!own) return;
  dl_nodes_flow_destroy(sync);
  if (own->memory.base) sync->team->ops->shared_destroy(sync->team, &own->memory);
  void *const mine[] = {own->place, own->roots_of, own->bucket_first, own->own_at, own->ranges,
                        own->local, own->top,      sync->headers,     own};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  sync->ranges = NULL;
  sync->n_ranges = 0;
  sync->state_at = NULL;
  sync->headers = NULL;
  sync->own = NULL;
}

/* ---- waiting in the node ---- */

static uint32_t gates_of(const void *context, int rank) {
  const dl_sync *sync = context;
  return atomic_load(&dl_nodes_of(sync)->arrivals[rank - sync->team->node_first].gates);
}

static dl_status pass(dl_sync *sync, const char *phase) {
  dl_nodes *own = dl_nodes_of(sync);
  dl_member *member = dl_member_of(sync->team);
  dl_sync_set_phase(sync, phase);
  if (sync->team->node_size == 1) return DL_OK;
  dl_gate_watch watch = dl_member_watch(member);
  atomic_fetch_add_explicit(&own->arrivals[sync->team->node_rank].gates, 1, memory_order_relaxed);
  dl_gate_end end = dl_gate_pass(&own->control->gate, sync->team->node_size, &watch);
  if (end == DL_GATE_PASSED) return DL_OK;
  return dl_member_gate_end(member, end, phase, gates_of, sync, sync->team->node_first, sync->team->node_size);
}

/* ---- sums of the node ---- */

static const float *in_slots(const dl_sync *sync, const dl_fold_node *node, size_t offset) {
  size_t slot = (size_t)(node->member - sync->team->node_first) * (size_t)sync->slots + (size_t)node->slot;
  return dl_nodes_of(sync)->slots + slot * sync->group->count + offset;
}

/* My share of a bucket, every root of it, in place of the root's first entry. */
static void fold_share(dl_sync *sync, int bucket) {
  const dl_nodes *own = dl_nodes_of(sync);
  int64_t first = dl_nodes_bucket_first(own, bucket), blocks = dl_nodes_bucket_end(own, bucket) - first;
  int64_t mine = sync->team->node_rank, all = sync->team->node_size;
  for (int64_t b = first + blocks * mine / all; b < first + blocks * (mine + 1) / all; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    for (int r = 0; r < own->n_roots; r++)
      if (own->roots[r].n > 1)
        dl_sync_fold_nodes(sync, own->local + own->roots[r].begin, own->roots[r].n, block, in_slots, 1,
                           dl_nodes_root_at(sync, r, block->offset));
  }
}

/* The buckets that all members of the node have delivered, as far as I have not added my share. */
static void fold_what_is_ready(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  int64_t all = sync->step * sync->team->node_size;
  while (own->next_fold < own->n_buckets &&
         atomic_load_explicit(&own->ready[own->next_fold], memory_order_acquire) >= all) {
    fold_share(sync, own->next_fold);
    atomic_fetch_add_explicit(&own->folded[own->next_fold++], 1, memory_order_release);
  }
}

static void nodes_ready(dl_sync *sync, size_t from) {
  dl_nodes *own = dl_nodes_of(sync);
  while (own->next_ready < own->n_buckets &&
         dl_sync_block_offset(sync, dl_nodes_bucket_first(own, own->next_ready)) >= from)
    atomic_fetch_add_explicit(&own->ready[own->next_ready++], 1, memory_order_release);
  if (own->next_ready) dl_nodes_flow_open(sync);
  fold_what_is_ready(sync);
  dl_nodes_flow_turn(sync);
}

/* ---- publishing ---- */

static dl_status nodes_begin(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  DL_TRY(dl_nodes_plan_tree(sync));
  own->next_ready = own->next_fold = 0;
  return DL_OK;
}

/* This member's lies behind all members'. */
static dl_header *nodes_header(dl_sync *sync) {
  return (dl_header *)(void *)(sync->headers + (size_t)sync->team->size * sync->header_bytes);
}

static dl_status lead_finish(dl_member *leader, void *context) {
  (void)leader;
  return dl_nodes_flow_finish(context, "gradients");
}

/* Whoever failed has delivered what it has, so that nobody waits for more. */
static dl_status nodes_publish(dl_sync *sync) {
  nodes_ready(sync, 0);
  DL_TRY(pass(sync, "gradients"));
  fold_what_is_ready(sync);
  DL_TRY(dl_crew_lead(dl_member_of(sync->team), "gradients", lead_finish, sync));
  dl_sync_set_phase(sync, "verdict");
  return dl_team_allgather(sync->team, nodes_header(sync), sync->header_bytes, sync->headers);
}

/* ---- words of blocks: every node's to all ---- */

typedef struct swap_args {
  dl_sync *sync;
  double *values;
  size_t width;
  uint64_t *hashes; /* one a block beside the values; NULL: none */
} swap_args;

/* `bytes` to or from the place *at, which moves on. */
static void pack_bytes(char **at, void *values, size_t bytes, bool out) {
  if (bytes) memcpy(out ? values : *at, out ? *at : values, bytes);
  *at += bytes;
}

/* The words of this process's column of node `node`, into `packed` or out of it (NULL: neither); returns how many there
 * are. */
static size_t pack(const swap_args *args, int node, double *packed, bool out) {
  const dl_nodes *own = dl_nodes_of(args->sync);
  char *at = (char *)packed;
  size_t n = 0;
  for (int b = 0; b < own->n_buckets; b++) {
    const dl_block_range part = dl_nodes_part(args->sync, b, own->process, node);
    const size_t blocks = (size_t)(part.end - part.first);
    n += blocks * (args->width + (args->hashes != NULL));
    if (!packed) continue;
    pack_bytes(&at, args->values + (size_t)part.first * args->width, blocks * args->width * sizeof(double), out);
    if (args->hashes) pack_bytes(&at, args->hashes + part.first, blocks * sizeof(uint64_t), out);
  }
  return n;
}

static dl_status lead_swap(dl_member *leader, void *context) {
  const swap_args *args = context;
  dl_nodes *own = dl_nodes_of(args->sync);
  size_t widest = (size_t)own->widest * (args->width + (args->hashes != NULL));
  if (!own->flow) return DL_OK;
  size_t mine = pack(args, own->node, own->swap_send, false);
  for (int k = 0; k < own->n_nodes; k++) {
    if (k == own->node) continue;
    int process = own->place[k].first_process + own->process;
    size_t theirs = pack(args, k, NULL, true);
    DL_TRY(dl_wire_receive(own->wire, own->swap_received + (size_t)k * widest, theirs * sizeof(double), process, 0));
    DL_TRY(dl_wire_send(own->wire, own->swap_send, mine * sizeof(double), process, 0));
  }
  DL_TRY(dl_wire_flush(leader->crew->wire, "norms"));
  for (int k = 0; k < own->n_nodes; k++)
    if (k != own->node) pack(args, k, own->swap_received + (size_t)k * widest, true);
  return DL_OK;
}

static dl_status swap_words(dl_sync *sync, double *values, size_t width, uint64_t *hashes, const char *phase) {
  swap_args args = {sync, values, width, hashes};
  DL_TRY(pass(sync, phase));
  DL_TRY(dl_crew_lead(dl_member_of(sync->team), phase, lead_swap, &args));
  return pass(sync, phase);
}

static dl_status share_sums(dl_sync *sync) {
  return swap_words(sync, &sync->block_sums->weights, sizeof *sync->block_sums / sizeof(double), NULL,
                    "norms of tensors");
}

/* ---- the step ---- */

static const float *of_a_node(const dl_sync *sync, const dl_fold_node *node, size_t offset) {
  const dl_nodes *own = dl_nodes_of(sync);
  if (node->member == own->node) return dl_nodes_root_at(sync, node->slot, offset);
  return own->received + (size_t)(node->member * own->max_roots + node->slot) * own->own_count + own->in_work;
}

/* The first slot of the node's first member: at the places of its own parts nobody reads it any more once they are
 * folded. */
static float *means_of(const dl_sync *sync) { return dl_nodes_of(sync)->slots; }

static void take_means(dl_sync *sync, float factor, bool apply) {
  dl_nodes *own = dl_nodes_of(sync);
  for (int i = 0; i < sync->n_ranges; i++)
    for (int64_t b = sync->ranges[i].first; b < sync->ranges[i].end; b++) {
      const dl_block_ref *block = &sync->blocks[b];
      sync->block_sumsq[b] = 0;
      if (!dl_sync_trains(sync, block) && !dl_sync_runs(sync, block)) continue;
      own->in_work = own->own_at[b];
      dl_sync_fold_nodes(sync, own->top, own->n_top, block, of_a_node, dl_sync_block_factor(sync, block, factor),
                         sync->fold_buffer);
      if (dl_sync_trains(sync, block)) sync->block_sumsq[b] = dl_sync_penalise_block(sync, block, sync->fold_buffer);
      if (apply)
        dl_sync_apply_block(sync, block, sync->fold_buffer);
      else
        memcpy(means_of(sync) + block->offset, sync->fold_buffer, block->n * sizeof(float));
    }
}

static dl_status lead_weights(dl_member *leader, void *context) {
  (void)leader;
  dl_sync *sync = context;
  DL_TRY(dl_nodes_flow_weights(sync));
  return sync->later ? DL_OK : dl_nodes_flow_finish(sync, "weights");
}

/* All members of the node have stepped. Where they may come later, whoever reads them waits. */
static dl_status send_weights(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  DL_TRY(pass(sync, "weights"));
  own->gather_step = sync->step;
  own->awaited = own->n_buckets;
  DL_TRY(dl_crew_lead(dl_member_of(sync->team), "weights", lead_weights, sync));
  return sync->later ? DL_OK : pass(sync, "weights");
}

/* The norm is known before weights travel: what is sent later waits behind them. The hashes of what each node wrote
 * last go with it; the other nodes' copies of that are in use until the end of the step (norm_first), or were until
 * now. */
static dl_status reduce(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result) {
  bool norm_first = sync->options.norm_first;
  double begin = dl_now_s();
  take_means(sync, factor, !norm_first);
  if (!norm_first) dl_audit_before_exchange(sync);
  result->update_s = dl_now_s() - begin;
  DL_TRY(swap_words(sync, sync->block_sumsq, 1, sync->audit ? sync->block_hashes : NULL, "norm"));
  if (norm_first) dl_audit_before_exchange(sync);
  result->grad_norm = dl_sync_norm(sync);
  result->finite = isfinite(result->grad_norm);
  if (!norm_first) return send_weights(sync);
  if (!result->finite) return DL_OK;
  begin = dl_now_s();
  float clip = dl_sync_clip_factor(result->grad_norm, clip_norm);
  DL_TRY(dl_sync_apply_slice(sync, means_of(sync), clip, share_sums));
  result->update_s = dl_now_s() - begin;
  return send_weights(sync);
}

static dl_status nodes_reduce(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result) {
  DL_TRY(reduce(sync, factor, clip_norm, result));
  result->sent_bytes = (int64_t)atomic_load(&dl_nodes_of(sync)->control->sent_bytes);
  return DL_OK;
}

/* ---- weights that come later ---- */

static bool has_arrived(const dl_nodes *own, int bucket) {
  for (int i = 0; i < own->columns; i++)
    if (atomic_load_explicit(&own->arrived[bucket * own->columns + i], memory_order_acquire) < own->gather_step)
      return false;
  return true;
}

static dl_status wait_for_bucket(dl_sync *sync, int bucket) {
  dl_nodes *own = dl_nodes_of(sync);
  dl_member *member = dl_member_of(sync->team);
  double begin = dl_now_s();
  for (int64_t looks = 0; !has_arrived(own, bucket); looks++) {
    if (dl_nodes_flow_turn(sync))
      dl_wire_pause(own->wire, looks);
    else
      nanosleep(&(struct timespec){0, NAP_NS}, NULL);
    if (looks % 64 != 63) continue;
    if (atomic_load(&member->crew->broken)) return dl_error_adopt(&member->crew->record);
    if (dl_nodes_flow_check(sync) != DL_OK) /* the others of the node would wait for what cannot come */
      sync->team->ops->abort(sync->team, dl_status_exit_code(DL_ERR_TRAIN));
    double waited = dl_now_s() - begin;
    dl_gate_watch watch = dl_member_watch(member);
    if (waited > watch.timeout_s || (watch.idle && watch.idle(watch.context, waited)))
      return dl_member_gate_end(member, DL_GATE_LATE, "weights", gates_of, sync, sync->team->node_first,
                                sync->team->node_size);
  }
  return DL_OK;
}

static dl_status nodes_await(dl_sync *sync, size_t end) {
  dl_nodes *own = dl_nodes_of(sync);
  while (own->awaited > 0 && dl_sync_block_offset(sync, dl_nodes_bucket_first(own, own->awaited - 1)) < end) {
    dl_sync_set_phase(sync, "weights");
    DL_TRY(wait_for_bucket(sync, own->awaited - 1));
    own->awaited--;
  }
  return DL_OK;
}

/* ---- whole buffers in and out ---- */

static dl_status exchange(dl_sync *sync, const dl_message *sends, int n_sends, const dl_message *receives,
                          int n_receives) {
  return sync->team->ops->exchange(sync->team, sends, n_sends, receives, n_receives);
}

/* A buffer of all floats to or from what holds the parts of node `node` only. */
static size_t copy_parts(const dl_sync *sync, int node, float *whole, float *parts, bool out) {
  const dl_nodes *own = dl_nodes_of(sync);
  size_t n = 0;
  for (int b = 0; b < own->n_buckets; b++)
    for (int i = 0; i < own->columns; i++) {
      dl_block_range part = dl_nodes_part(sync, b, i, node);
      size_t begin = dl_sync_block_offset(sync, part.first), floats = dl_sync_block_offset(sync, part.end) - begin;
      if (part.first == part.end) continue;
      if (whole) memcpy(out ? whole + begin : parts + n, out ? parts + n : whole + begin, floats * sizeof *whole);
      n += floats;
    }
  return n;
}

/* One node after the other: the root and the node's first member speak. */
static dl_status move_state(dl_sync *sync, int slot, float *values, int root, bool out) {
  dl_nodes *own = dl_nodes_of(sync);
  const dl_team *team = sync->team;
  float *parts = dl_calloc_aligned(sync->group->count, sizeof *parts);
  dl_status status = dl_team_agree(sync->team, parts ? DL_OK : DL_ERR_NOMEM);
  for (int k = 0; k < own->n_nodes && status == DL_OK; k++) {
    int holder = own->place[k].first_member;
    size_t floats = copy_parts(sync, k, NULL, NULL, out);
    bool is_root = team->rank == root, holds = team->rank == holder;
    if (is_root && !out) copy_parts(sync, k, values, parts, false);
    dl_message at_root = {holder, 0, parts, floats * sizeof *parts},
               at_holder = {root, 0, sync->state[slot], floats * sizeof *parts};
    if (root == holder && is_root)
      memcpy(out ? parts : sync->state[slot], out ? sync->state[slot] : parts, floats * sizeof *parts);
    bool speaks = root != holder;
    status = exchange(sync, out ? &at_holder : &at_root, speaks && (out ? holds : is_root), out ? &at_root : &at_holder,
                      speaks && (out ? is_root : holds));
    if (is_root && out && status == DL_OK) copy_parts(sync, k, values, parts, true);
  }
  free(parts);
  return status == DL_OK ? dl_team_barrier(sync->team, "optimizer state") : status;
}

static dl_status set_weights(dl_sync *sync, const float *values, int root) {
  dl_nodes *own = dl_nodes_of(sync);
  const dl_team *team = sync->team;
  size_t bytes = sync->group->count * sizeof(float);
  int root_node = 0, n = 0;
  while (root_node + 1 < own->n_nodes && own->place[root_node + 1].first_member <= root) root_node++;
  dl_message *sends = dl_calloc((size_t)own->n_nodes, sizeof *sends);
  DL_TRY(dl_team_agree(sync->team, sends ? DL_OK : DL_ERR_NOMEM)); /* and nobody reads them any more */
  for (int k = 0; k < own->n_nodes && team->rank == root; k++)
    if (k != root_node) sends[n++] = (dl_message){own->place[k].first_member, 0, (void *)(uintptr_t)values, bytes};
  if (team->rank == root) memcpy(sync->weights, values, bytes);
  dl_message receive = {root, 0, sync->weights, bytes};
  dl_status status =
      exchange(sync, sends, n, &receive, own->node != root_node && team->rank == own->place[own->node].first_member);
  free(sends);
  return status == DL_OK ? dl_team_barrier(sync->team, "set weights") : status;
}

static dl_status nodes_set(dl_sync *sync, int slot, const float *values, int root) {
  DL_TRY(nodes_await(sync, sync->group->count));
  if (slot < 0) return set_weights(sync, values, root);
  return move_state(sync, slot, (float *)(uintptr_t)values, root, false);
}

static dl_status nodes_get(dl_sync *sync, int slot, float *values, int root) {
  DL_TRY(nodes_await(sync, sync->group->count));
  if (sync->team->rank == root) memset(values, 0, sync->group->count * sizeof *values);
  if (slot >= 0) return move_state(sync, slot, values, root, true);
  if (sync->team->rank == root) memcpy(values, sync->weights, sync->group->count * sizeof *values);
  return dl_team_barrier(sync->team, "get weights"); /* nobody changes them before */
}

const dl_sync_ops dl_sync_nodes_ops = {
    .name = "nodes",
    .help =
        "one copy of the weights a node; sums and weights travel between nodes while others compute (several nodes)",
    .setup = nodes_setup,
    .teardown = nodes_teardown,
    .begin = nodes_begin,
    .ready = nodes_ready,
    .await = nodes_await,
    .header = nodes_header,
    .publish = nodes_publish,
    .reduce = nodes_reduce,
    .set = nodes_set,
    .get = nodes_get,
};

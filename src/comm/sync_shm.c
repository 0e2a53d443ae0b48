/* All members of a node in one memory: a step is a pass over it, not a message.
 *
 * Weights, optimizer state and every member's gradient slots lie in one shared piece. The member that owns a slice
 * reads the published nodes of all members for it, block by block, adds them in tree order in the first cache and lets
 * the optimizer write straight into the shared weights. A step has three gates, or four where the norm is needed first:
 *
 *   headers written | gate | verdict; fold slice, (norm_first: write means | gate | norm) apply | gate
 *
 * Headers alternate between two sets: a fast member may write those of the next step while a slow one still reads
 * these. Where norms of tensors are needed, one more gate stands before apply:
 *
 *   ... norm) write updates and sums | gate | apply | gate
 *
 *   [control][headers 0][headers 1][sums of squares][sums of tensors][weights][state ...][means, if norm_first]
 *   [slots of member 0][slots of member 1] ...
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/sync_common.h"
#include "core/clock.h"

typedef struct arrival {
  _Alignas(DL_CACHE_LINE) _Atomic uint32_t gates;
} arrival;

typedef struct control {
  dl_gate gate;
  arrival arrivals[]; /* one a member: names who is missing */
} control;

typedef struct shm {
  dl_shared memory;
  control *control;
  char *headers[2];
  float *means; /* NULL without norm_first */
  float *slots; /* size x slots x count */
} shm;

/* Hands out the next `bytes` of the piece; with base NULL it only counts. */
static void *take(char *base, size_t *used, size_t bytes) {
  void *at = base ? base + *used : NULL;
  *used += (bytes + DL_CACHE_LINE - 1) / DL_CACHE_LINE * DL_CACHE_LINE;
  return at;
}

static size_t lay_out(dl_sync *sync, char *base) {
  shm *own = sync->own;
  size_t used = 0, size = (size_t)sync->team->size, buffer = sync->group->count * sizeof(float);
  own->control = take(base, &used, sizeof(control) + size * sizeof(arrival));
  for (int i = 0; i < 2; i++) own->headers[i] = take(base, &used, size * sync->header_bytes);
  sync->block_sumsq = take(base, &used, (size_t)sync->n_blocks * sizeof(double));
  if (sync->group->measure) sync->block_sums = take(base, &used, (size_t)sync->n_blocks * sizeof *sync->block_sums);
  sync->weights = take(base, &used, buffer);
  for (int k = 0; k < sync->group->n_slots; k++) sync->state[k] = take(base, &used, buffer);
  own->means = sync->options.norm_first ? take(base, &used, buffer) : NULL;
  own->slots = take(base, &used, size * (size_t)sync->slots * buffer);
  return used;
}

static dl_status shm_setup(dl_sync *sync) {
  shm *own = dl_calloc(1, sizeof *own);
  sync->own = own;
  DL_TRY(dl_team_agree(sync->team, own ? DL_OK : DL_ERR_NOMEM));
  size_t bytes = lay_out(sync, NULL);
  DL_TRY(sync->team->ops->shared_new(sync->team, bytes, "weights and gradients", &own->memory));
  lay_out(sync, own->memory.base);
  sync->gradients = own->slots + (size_t)sync->team->rank * (size_t)sync->slots * sync->group->count;
  sync->first_block = dl_group_slice_begin(sync->group, sync->team->rank, sync->team->size);
  sync->end_block = dl_group_slice_begin(sync->group, sync->team->rank + 1, sync->team->size);
  sync->node_bytes = own->memory.bytes;
  sync->copy_rank = sync->team->node_rank;
  sync->copy_size = sync->team->node_size;
  return DL_OK;
}

static void shm_teardown(dl_sync *sync) {
  shm *own = sync->own;
  if (!own) return;
  if (own->memory.base) sync->team->ops->shared_destroy(sync->team, &own->memory);
  free(own);
  sync->own = NULL;
}

static uint32_t gates_of(const void *all, int rank) {
  return atomic_load(&((const control *)all)->arrivals[rank].gates);
}

static dl_status pass(dl_sync *sync, const char *phase) {
  shm *own = sync->own;
  dl_member *member = dl_member_of(sync->team);
  if (sync->team->size == 1) return DL_OK;
  dl_sync_set_phase(sync, phase);
  dl_gate_watch watch = dl_member_watch(member);
  atomic_fetch_add_explicit(&own->control->arrivals[sync->team->rank].gates, 1, memory_order_relaxed);
  dl_gate_end end = dl_gate_pass(&own->control->gate, sync->team->size, &watch);
  if (end == DL_GATE_PASSED) return DL_OK;
  return dl_member_gate_end(member, end, phase, gates_of, own->control, 0, sync->team->size);
}

static dl_header *shm_header(dl_sync *sync) {
  char *set = ((shm *)sync->own)->headers[sync->step & 1];
  return (dl_header *)(void *)(set + (size_t)sync->team->rank * sync->header_bytes);
}

static dl_status shm_publish(dl_sync *sync) {
  sync->headers = ((shm *)sync->own)->headers[sync->step & 1];
  return pass(sync, "gradients");
}

static const float *node_in_slots(const dl_sync *sync, const dl_fold_node *node, size_t offset) {
  const shm *own = sync->own;
  size_t slot = (size_t)node->member * (size_t)sync->slots + (size_t)node->slot;
  return own->slots + slot * sync->group->count + offset;
}

/* Nothing more is needed to apply: the sum of a block goes from the cache into the optimizer. */
static void fold_and_apply(dl_sync *sync, float factor) {
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    sync->block_sumsq[b] = 0;
    if (!dl_sync_trains(sync, block) && !dl_sync_runs(sync, block)) continue;
    dl_sync_fold_block(sync, block, node_in_slots, factor, sync->fold_buffer);
    if (dl_sync_trains(sync, block)) sync->block_sumsq[b] = dl_sync_penalise_block(sync, block, sync->fold_buffer);
    dl_sync_apply_block(sync, block, sync->fold_buffer);
  }
}

static void fold_into_means(dl_sync *sync, float factor) {
  float *means = ((shm *)sync->own)->means;
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    sync->block_sumsq[b] = 0;
    if (!dl_sync_trains(sync, block) && !dl_sync_runs(sync, block)) continue;
    dl_sync_fold_block(sync, block, node_in_slots, factor, means + block->offset);
    if (dl_sync_trains(sync, block)) sync->block_sumsq[b] = dl_sync_penalise_block(sync, block, means + block->offset);
  }
}

static dl_status share_sums(dl_sync *sync) { return pass(sync, "norms of tensors"); }

static dl_status shm_reduce(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result) {
  const shm *own = sync->own;
  double begin = dl_now_s();
  if (!sync->options.norm_first) {
    fold_and_apply(sync, factor);
  } else {
    fold_into_means(sync, factor);
    DL_TRY(pass(sync, "norm"));
    result->grad_norm = dl_sync_norm(sync);
    result->finite = isfinite(result->grad_norm);
    if (!result->finite) return DL_OK;
    begin = dl_now_s();
    float clip = dl_sync_clip_factor(result->grad_norm, clip_norm);
    DL_TRY(dl_sync_apply_slice(sync, own->means, clip, share_sums));
  }
  result->update_s = dl_now_s() - begin;
  DL_TRY(pass(sync, "weights"));
  if (sync->options.norm_first) return DL_OK;
  result->grad_norm = dl_sync_norm(sync);
  result->finite = isfinite(result->grad_norm);
  return DL_OK;
}

static float *buffer_of(dl_sync *sync, int slot) { return slot < 0 ? sync->weights : sync->state[slot]; }

static dl_status shm_set(dl_sync *sync, int slot, const float *values, int root) {
  DL_TRY(dl_team_barrier(sync->team, "set weights")); /* nobody reads them any more */
  if (sync->team->rank == root) memcpy(buffer_of(sync, slot), values, sync->group->count * sizeof *values);
  return dl_team_barrier(sync->team, "set weights");
}

static dl_status shm_get(dl_sync *sync, int slot, float *values, int root) {
  if (sync->team->rank == root) memcpy(values, buffer_of(sync, slot), sync->group->count * sizeof *values);
  return dl_team_barrier(sync->team, "get weights"); /* nobody changes them before */
}

const dl_sync_ops dl_sync_shm_ops = {
    .name = "shm",
    .help = "one copy of the weights a node in shared memory; a step is a pass over it (all ranks on one node)",
    .setup = shm_setup,
    .teardown = shm_teardown,
    .header = shm_header,
    .publish = shm_publish,
    .reduce = shm_reduce,
    .set = shm_set,
    .get = shm_get,
};

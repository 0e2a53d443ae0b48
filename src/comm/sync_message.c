/* The same tree by messages: every member has its own weights, the optimizer state of its slice, and its gradient
 * slots.
 *
 * Where the published nodes form a perfect tree with one node a member, in order, the sums are made by recursive vector
 * halving with distance doubling (Rabenseifner 2004): in stage s a member exchanges half of what it still holds with
 * rank xor 2^s. Neighbours first, then neighbours of pairs: that is the canonical tree, and as addition commutes both
 * partners get the same bits. Half of the buffer is sent in the first stage, a quarter in the second ...: no more than
 * a ring. Which half a member keeps follows the bits of its rank from the lowest on, so its slice is its rank with the
 * bits reversed.
 *
 * Any other shape: every member sends each owner of a slice its nodes of that slice, and the owner folds.
 *
 * The weights go back the way the sums came, or from every owner to all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/sync_common.h"
#include "core/clock.h"

typedef struct message {
  int stages;            /* log2(size), -1 where size is not a power of two */
  int slice;             /* this member's */
  size_t begin, end;     /* its floats */
  size_t *slice_offsets; /* size + 1: where slices begin in the buffer */
  int64_t *slice_blocks; /* size + 1: and in blocks */
  bool halves;           /* the cut in force is a perfect tree, and stages >= 0 */
  dl_header *header;     /* this member's */
  float *received;       /* nodes or halves from others */
  float *state;          /* n_slots x slice */
  double *norm_send;     /* widest slice's sums */
  double *norm_all;      /* of all members */
  int64_t widest;        /* blocks of the widest slice */
  dl_message *sends, *receives;
} message;

static int log2_exact(int size) {
  int stages = 0;
  while ((1 << stages) < size) stages++;
  return (1 << stages) == size ? stages : -1;
}

static int slice_of(const message *own, int rank) {
  int slice = 0;
  if (own->stages < 0) return rank;
  for (int s = 0; s < own->stages; s++) slice = slice << 1 | (rank >> s & 1);
  return slice;
}

/* ---- life ---- */

static void *keep(dl_sync *sync, size_t count, size_t size) {
  void *p = dl_calloc_aligned(count, size);
  if (p) sync->member_bytes += count * size;
  return p;
}

static dl_status find_slices(dl_sync *sync, message *own) {
  int size = sync->team->size;
  own->stages = log2_exact(size);
  own->slice = slice_of(own, sync->team->rank);
  own->slice_offsets = keep(sync, (size_t)size + 1, sizeof *own->slice_offsets);
  own->slice_blocks = keep(sync, (size_t)size + 1, sizeof *own->slice_blocks);
  if (!own->slice_offsets || !own->slice_blocks) return DL_ERR_NOMEM;
  for (int s = 0; s <= size; s++) {
    own->slice_blocks[s] = dl_group_slice_begin(sync->group, s, size);
    own->slice_offsets[s] = dl_sync_block_offset(sync, own->slice_blocks[s]);
    if (s && own->slice_blocks[s] - own->slice_blocks[s - 1] > own->widest)
      own->widest = own->slice_blocks[s] - own->slice_blocks[s - 1];
  }
  own->begin = own->slice_offsets[own->slice];
  own->end = own->slice_offsets[own->slice + 1];
  sync->first_block = own->slice_blocks[own->slice];
  sync->end_block = own->slice_blocks[own->slice + 1];
  return DL_OK;
}

/* Floats that may come in at once: all nodes of my slice, or the half of the buffer that I keep in the first stage. */
static size_t received_floats(const dl_sync *sync, const message *own) {
  int size = sync->team->size;
  size_t nodes = (size_t)sync->max_fold * (own->end - own->begin);
  if (own->stages < 1) return nodes;
  int first = own->slice < size / 2 ? 0 : size / 2;
  size_t half = own->slice_offsets[first + size / 2] - own->slice_offsets[first];
  return nodes > half ? nodes : half;
}

static dl_status allocate(dl_sync *sync, message *own) {
  size_t size = (size_t)sync->team->size, count = sync->group->count, slots = (size_t)sync->slots;
  size_t slice = own->end - own->begin, k = (size_t)sync->group->n_slots;
  sync->weights = keep(sync, count, sizeof(float));
  sync->gradients = keep(sync, count * slots, sizeof(float));
  sync->block_sumsq = keep(sync, (size_t)sync->n_blocks, sizeof(double));
  sync->headers = keep(sync, size, sync->header_bytes);
  own->header = keep(sync, 1, sync->header_bytes);
  own->received = keep(sync, received_floats(sync, own), sizeof(float));
  own->state = keep(sync, slice * k, sizeof(float));
  size_t doubles = sync->group->measure ? sizeof(dl_tensor_sums) : sizeof(double); /* of a block */
  if (sync->group->measure) sync->block_sums = keep(sync, (size_t)sync->n_blocks, sizeof *sync->block_sums);
  own->norm_send = keep(sync, (size_t)own->widest, doubles);
  own->norm_all = keep(sync, (size_t)own->widest * size, doubles);
  own->sends = keep(sync, size * slots, sizeof(dl_message));
  own->receives = keep(sync, size + (size_t)sync->max_fold, sizeof(dl_message));
  bool all = (sync->block_sums || !sync->group->measure) && sync->weights && sync->gradients && sync->block_sumsq &&
             sync->headers && own->header && own->received && own->state && own->norm_send && own->norm_all &&
             own->sends && own->receives;
  if (!all) return DL_ERR_NOMEM;
  sync->state_begin = own->begin;
  for (size_t i = 0; i < k; i++) sync->state[i] = own->state + i * slice;
  return DL_OK;
}

static dl_status message_setup(dl_sync *sync) {
  message *own = dl_calloc(1, sizeof *own);
  dl_status status = own ? DL_OK : DL_ERR_NOMEM;
  sync->own = own;
  if (status == DL_OK) status = find_slices(sync, own);
  if (status == DL_OK) status = allocate(sync, own);
  return dl_team_agree(sync->team, status);
}

static void message_teardown(dl_sync *sync) {
  message *own = sync->own;
  if (!own) return;
  void *const mine[] = {sync->weights, sync->gradients, sync->block_sumsq,  sync->block_sums,  sync->headers,
                        own->header,   own->received,   own->state,         own->norm_send,    own->norm_all,
                        own->sends,    own->receives,   own->slice_offsets, own->slice_blocks, own};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  sync->own = NULL;
}

/* ---- publishing ---- */

static dl_header *message_header(dl_sync *sync) { return ((message *)sync->own)->header; }

static dl_status message_publish(dl_sync *sync) {
  return dl_team_allgather(sync->team, ((message *)sync->own)->header, sync->header_bytes, sync->headers);
}

static dl_status exchange(dl_sync *sync, int n_sends, int n_receives) {
  const message *own = sync->own;
  return sync->team->ops->exchange(sync->team, own->sends, n_sends, own->receives, n_receives);
}

static dl_message floats_of(int peer, int tag, const float *data, size_t floats) {
  return (dl_message){peer, tag, (void *)(uintptr_t)data, floats * sizeof(float)};
}

/* ---- sums ---- */

/* One node a member, merged as a binary counter merges: the perfect tree. */
static bool is_perfect_tree(const dl_sync *sync) {
  if (sync->n_fold != sync->team->size) return false;
  for (int r = 0; r < sync->n_fold; r++)
    if (sync->fold[r].member != r || sync->fold[r].merges != __builtin_ctz(~(unsigned)r)) return false;
  return true;
}

/* The slices [*first, *first + *width) that this member holds after `stage` stages. */
static void slices_held(const message *own, int stage, int *first, int *width) {
  *width = 1 << (own->stages - stage);
  *first = own->slice / *width * *width;
}

static dl_status sum_by_halves(dl_sync *sync) {
  message *own = sync->own;
  for (int stage = 0; stage < own->stages; stage++) {
    int first, width, partner = sync->team->rank ^ 1 << stage;
    slices_held(own, stage + 1, &first, &width);
    int other = first ^ width; /* the sibling half goes to the partner */
    size_t keep_begin = own->slice_offsets[first], keep = own->slice_offsets[first + width] - keep_begin;
    size_t give_begin = own->slice_offsets[other], give = own->slice_offsets[other + width] - give_begin;
    own->sends[0] = floats_of(partner, stage, sync->gradients + give_begin, give);
    own->receives[0] = floats_of(partner, stage, own->received, keep);
    DL_TRY(exchange(sync, 1, 1));
    dl_sync_add(sync, sync->gradients + keep_begin, own->received, keep);
  }
  return DL_OK;
}

static dl_status bring_nodes(dl_sync *sync) {
  message *own = sync->own;
  int n_sends = 0, n_receives = 0, rank = sync->team->rank;
  size_t slice = own->end - own->begin;
  for (int i = 0; i < sync->n_fold; i++) {
    const dl_fold_node *node = &sync->fold[i];
    if (node->member != rank) {
      own->receives[n_receives++] = floats_of(node->member, node->slot, own->received + (size_t)i * slice, slice);
      continue;
    }
    for (int r = 0; r < sync->team->size; r++) {
      int s = slice_of(own, r);
      if (r == rank) continue;
      own->sends[n_sends++] =
          floats_of(r, node->slot, sync->gradients + (size_t)node->slot * sync->group->count + own->slice_offsets[s],
                    own->slice_offsets[s + 1] - own->slice_offsets[s]);
    }
  }
  return exchange(sync, n_sends, n_receives);
}

static const float *node_received(const dl_sync *sync, const dl_fold_node *node, size_t offset) {
  const message *own = sync->own;
  if (node->member == sync->team->rank) return sync->gradients + (size_t)node->slot * sync->group->count + offset;
  return own->received + (size_t)(node - sync->fold) * (own->end - own->begin) + (offset - own->begin);
}

/* The mean of one block of my slice, into the fold buffer. */
static void mean_of_block(dl_sync *sync, const dl_block_ref *block, float factor) {
  if (!((message *)sync->own)->halves) {
    dl_sync_fold_block(sync, block, node_received, factor, sync->fold_buffer);
    return;
  }
  memcpy(sync->fold_buffer, sync->gradients + block->offset, block->n * sizeof(float));
  dl_vector()->scale(sync->fold_buffer, dl_sync_block_factor(sync, block, factor), block->n);
}

/* ---- the step ---- */

/* Doubles of all blocks, `width` a block: every member's slice to all. */
static dl_status gather_blocks(dl_sync *sync, double *values, size_t width) {
  message *own = sync->own;
  size_t widest = (size_t)own->widest * width;
  memcpy(own->norm_send, values + (size_t)sync->first_block * width,
         (size_t)(sync->end_block - sync->first_block) * width * sizeof *values);
  DL_TRY(dl_team_allgather(sync->team, own->norm_send, widest * sizeof *values, own->norm_all));
  for (int r = 0; r < sync->team->size; r++) {
    int s = slice_of(own, r);
    memcpy(values + (size_t)own->slice_blocks[s] * width, own->norm_all + (size_t)r * widest,
           (size_t)(own->slice_blocks[s + 1] - own->slice_blocks[s]) * width * sizeof *values);
  }
  return DL_OK;
}

static dl_status gather_sums(dl_sync *sync) {
  return gather_blocks(sync, &sync->block_sums->weights, sizeof *sync->block_sums / sizeof(double));
}

static dl_status return_by_halves(dl_sync *sync) {
  message *own = sync->own;
  for (int stage = own->stages - 1; stage >= 0; stage--) {
    int first, width, partner = sync->team->rank ^ 1 << stage;
    slices_held(own, stage + 1, &first, &width);
    int other = first ^ width;
    const size_t *at = own->slice_offsets;
    own->sends[0] = floats_of(partner, stage, sync->weights + at[first], at[first + width] - at[first]);
    own->receives[0] = floats_of(partner, stage, sync->weights + at[other], at[other + width] - at[other]);
    DL_TRY(exchange(sync, 1, 1));
  }
  return DL_OK;
}

static dl_status return_to_all(dl_sync *sync) {
  message *own = sync->own;
  int n = 0;
  for (int r = 0; r < sync->team->size; r++) {
    int s = slice_of(own, r);
    if (r == sync->team->rank) continue;
    own->sends[n] = floats_of(r, 0, sync->weights + own->begin, own->end - own->begin);
    own->receives[n] =
        floats_of(r, 0, sync->weights + own->slice_offsets[s], own->slice_offsets[s + 1] - own->slice_offsets[s]);
    n++;
  }
  return exchange(sync, n, n);
}

/* Every mean of my slice: applied at once, or kept in slot 0, which nobody else reads any more, until the norm is
 * known. */
static void take_means(dl_sync *sync, float factor, bool apply) {
  for (int64_t b = sync->first_block; b < sync->end_block; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    sync->block_sumsq[b] = 0;
    if (!dl_sync_trains(sync, block) && !dl_sync_runs(sync, block)) continue;
    mean_of_block(sync, block, factor);
    if (dl_sync_trains(sync, block)) sync->block_sumsq[b] = dl_sync_penalise_block(sync, block, sync->fold_buffer);
    if (apply)
      dl_sync_apply_block(sync, block, sync->fold_buffer);
    else
      memcpy(sync->gradients + block->offset, sync->fold_buffer, block->n * sizeof(float));
  }
}

static dl_status message_reduce(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result) {
  message *own = sync->own;
  bool norm_first = sync->options.norm_first;
  own->halves = own->stages >= 0 && is_perfect_tree(sync);
  DL_TRY(own->halves ? sum_by_halves(sync) : bring_nodes(sync));
  double begin = dl_now_s();
  take_means(sync, factor, !norm_first);
  if (!norm_first) result->update_s = dl_now_s() - begin;
  DL_TRY(gather_blocks(sync, sync->block_sumsq, 1));
  result->grad_norm = dl_sync_norm(sync);
  result->finite = isfinite(result->grad_norm);
  if (norm_first) {
    if (!result->finite) return DL_OK;
    begin = dl_now_s();
    float clip = dl_sync_clip_factor(result->grad_norm, clip_norm);
    DL_TRY(dl_sync_apply_slice(sync, sync->gradients, clip, gather_sums));
    result->update_s = dl_now_s() - begin;
  }
  return own->stages >= 0 ? return_by_halves(sync) : return_to_all(sync);
}

/* ---- whole buffers in and out ---- */

static dl_status message_set(dl_sync *sync, int slot, const float *values, int root) {
  message *own = sync->own;
  bool is_root = sync->team->rank == root;
  size_t count = sync->group->count, slice = own->end - own->begin;
  if (slot < 0) {
    if (is_root) memcpy(sync->weights, values, count * sizeof *values);
    return dl_team_broadcast(sync->team, sync->weights, count * sizeof *values, root);
  }
  int n = 0;
  for (int r = 0; is_root && r < sync->team->size; r++) {
    int s = slice_of(own, r);
    if (r == root) continue;
    own->sends[n++] =
        floats_of(r, 0, values + own->slice_offsets[s], own->slice_offsets[s + 1] - own->slice_offsets[s]);
  }
  if (is_root) memcpy(sync->state[slot], values + own->begin, slice * sizeof *values);
  own->receives[0] = floats_of(root, 0, sync->state[slot], slice);
  return exchange(sync, n, !is_root);
}

static dl_status message_get(dl_sync *sync, int slot, float *values, int root) {
  message *own = sync->own;
  bool is_root = sync->team->rank == root;
  size_t count = sync->group->count, slice = own->end - own->begin;
  if (slot < 0) {
    if (is_root) memcpy(values, sync->weights, count * sizeof *values);
    return DL_OK;
  }
  int n = 0;
  for (int r = 0; is_root && r < sync->team->size; r++) {
    int s = slice_of(own, r);
    if (r == root) continue;
    own->receives[n++] =
        floats_of(r, 0, values + own->slice_offsets[s], own->slice_offsets[s + 1] - own->slice_offsets[s]);
  }
  if (is_root) {
    memset(values, 0, count * sizeof *values);
    memcpy(values + own->begin, sync->state[slot], slice * sizeof *values);
  }
  own->sends[0] = floats_of(root, 0, sync->state[slot], slice);
  return exchange(sync, !is_root, n);
}

const dl_sync_ops dl_sync_message_ops = {
    .name = "mpi",
    .help = "own weights for every rank, gradients and weights travel as messages (any number of nodes)",
    .setup = message_setup,
    .teardown = message_teardown,
    .header = message_header,
    .publish = message_publish,
    .reduce = message_reduce,
    .set = message_set,
    .get = message_get,
};

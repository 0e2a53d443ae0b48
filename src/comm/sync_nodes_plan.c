/* Everything here follows from the nodes' sizes, the group and the cut, so all members find the same. */
#include <stdlib.h>

#include "comm/sync_nodes.h"

#define MOST_BUCKETS 256                /* more are no gain, and each has its messages */
#define FEWEST_BUCKETS 8                /* a small model too travels while it is computed ... */
#define SMALL_BUCKET ((size_t)16 << 10) /* ... but not in buckets below so many floats */
#define EXACT_SHARDS 2048

static void *keep(dl_sync *sync, size_t count, size_t size) {
  void *p = dl_calloc_aligned(count, size);
  if (p) sync->member_bytes += count * size;
  return p;
}

static dl_status find_places(dl_sync *sync, dl_nodes *own) {
  const dl_team *team = sync->team;
  own->n_nodes = team->nodes;
  own->node = team->node;
  own->process = team->node_rank / team->threads;
  own->place = keep(sync, (size_t)own->n_nodes, sizeof *own->place);
  own->roots_of = keep(sync, (size_t)own->n_nodes, sizeof *own->roots_of);
  if (!own->place || !own->roots_of) return DL_ERR_NOMEM;
  for (int p = team->processes; p-- > 0;) {
    dl_node_place *place = &own->place[dl_wire_node_of(own->wire, p)];
    place->first_process = p;
    place->processes++;
  }
  own->columns = own->place[0].processes;
  for (int k = 0; k < own->n_nodes; k++) {
    own->place[k].first_member = own->place[k].first_process * team->threads;
    own->place[k].members = own->place[k].processes * team->threads;
    if (own->place[k].processes < own->columns) own->columns = own->place[k].processes;
  }
  return DL_OK;
}

/* Boundary `i` of `n` even shares of the blocks [first, end). */
static int64_t share(const dl_sync *sync, int64_t first, int64_t end, int64_t i, int64_t n) {
  if (i >= n || first == end) return end;
  size_t begin = dl_sync_block_offset(sync, first), past = dl_sync_block_offset(sync, end);
  return first + dl_group_block_at(sync->blocks + first, end - first, begin + (past - begin) / (size_t)n * (size_t)i);
}

static dl_status cut_buckets(dl_sync *sync, dl_nodes *own) {
  size_t floats = (size_t)(sync->options.bucket_bytes / (double)sizeof(float));
  size_t few = sync->group->count / FEWEST_BUCKETS;
  if (few < SMALL_BUCKET) few = SMALL_BUCKET;
  if (floats > few) floats = few;
  if (floats < DL_BLOCK) floats = DL_BLOCK;
  size_t n = (sync->group->count + floats - 1) / floats;
  own->n_buckets = n < 1 ? 1 : n > MOST_BUCKETS ? MOST_BUCKETS : (int)n;
  own->bucket_first = keep(sync, (size_t)own->n_buckets + 1, sizeof *own->bucket_first);
  if (!own->bucket_first) return DL_ERR_NOMEM;
  for (int b = 0; b <= own->n_buckets; b++)
    own->bucket_first[b] = share(sync, 0, sync->n_blocks, own->n_buckets - b, own->n_buckets);
  return DL_OK;
}

dl_block_range dl_nodes_part(const dl_sync *sync, int bucket, int column, int node) {
  const dl_nodes *own = dl_nodes_of(sync);
  int64_t first = dl_nodes_bucket_first(own, bucket), end = dl_nodes_bucket_end(own, bucket);
  int64_t part = (int64_t)column * own->n_nodes + node, parts = (int64_t)own->columns * own->n_nodes;
  return (dl_block_range){share(sync, first, end, part, parts), share(sync, first, end, part + 1, parts)};
}

/* All parts of this node, one behind the other. */
static dl_status place_own_parts(dl_sync *sync, dl_nodes *own) {
  own->own_at = keep(sync, (size_t)sync->n_blocks, sizeof *own->own_at);
  if (!own->own_at) return DL_ERR_NOMEM;
  for (int b = 0; b < own->n_buckets; b++)
    for (int i = 0; i < own->columns; i++) {
      dl_block_range part = dl_nodes_part(sync, b, i, own->node);
      size_t begin = dl_sync_block_offset(sync, part.first);
      for (int64_t block = part.first; block < part.end; block++)
        own->own_at[block] = own->own_count + (sync->blocks[block].offset - begin);
      own->own_count += dl_sync_block_offset(sync, part.end) - begin;
    }
  for (int i = 0; i < own->columns; i++)
    for (int k = 0; k < own->n_nodes; k++) {
      int64_t blocks = 0;
      for (int b = 0; b < own->n_buckets; b++) {
        dl_block_range part = dl_nodes_part(sync, b, i, k);
        blocks += part.end - part.first;
      }
      if (blocks > own->widest) own->widest = blocks;
    }
  return DL_OK;
}

/* The members of a node divide its blocks evenly, in the order of its parts. */
static dl_status divide_steps(dl_sync *sync, dl_nodes *own) {
  int64_t total = 0, at = 0, members = own->place[own->node].members, mine = sync->team->node_rank;
  own->ranges = keep(sync, (size_t)own->n_buckets * (size_t)own->columns, sizeof *own->ranges);
  if (!own->ranges) return DL_ERR_NOMEM;
  for (int b = 0; b < own->n_buckets; b++)
    for (int i = 0; i < own->columns; i++) {
      dl_block_range part = dl_nodes_part(sync, b, i, own->node);
      total += part.end - part.first;
    }
  int64_t begin = total * mine / members, end = total * (mine + 1) / members;
  for (int b = 0; b < own->n_buckets; b++)
    for (int i = 0; i < own->columns; i++) {
      dl_block_range part = dl_nodes_part(sync, b, i, own->node);
      int64_t blocks = part.end - part.first;
      int64_t from = begin > at ? begin - at : 0, to = end - at < blocks ? end - at : blocks;
      if (from < to) own->ranges[sync->n_ranges++] = (dl_block_range){part.first + from, part.first + to};
      at += blocks;
    }
  sync->ranges = own->ranges;
  if (!sync->n_ranges) own->ranges[sync->n_ranges++] = (dl_block_range){0, 0};
  return DL_OK;
}

/* ---- the tree ---- */

/* Pushes a node's published sums; fills the local fold where it is this one. */
static int fold_node(dl_sync *sync, dl_nodes *own, int node, dl_tree_stack *stack) {
  const dl_node_place *place = &own->place[node];
  int start[DL_TREE_DEPTH] = {0}, n = 0;
  dl_tree_stack_reset(stack, sync->cut.leaves);
  for (int r = place->first_member; r < place->first_member + place->members; r++) {
    dl_tree_node cover[DL_TREE_DEPTH];
    int64_t begin, end;
    dl_cut_rank_leaves(&sync->cut, r, sync->team->size, &begin, &end);
    int nodes = dl_tree_cover(sync->cut.leaves, begin, end, cover);
    for (int k = 0; k < nodes; k++) {
      start[stack->depth] = n;
      int merges = dl_tree_stack_push(stack, cover[k]);
      if (node == own->node && own->local) own->local[n] = (dl_fold_node){r, k, merges};
      n++;
    }
  }
  if (node != own->node) return stack->depth;
  own->n_local = n;
  own->n_roots = stack->depth;
  for (int r = 0; r < stack->depth; r++)
    own->roots[r] = (dl_node_root){start[r], (r + 1 < stack->depth ? start[r + 1] : n) - start[r]};
  return stack->depth;
}

dl_status dl_nodes_plan_tree(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  dl_tree_stack top, stack;
  if (own->planned_leaves == sync->cut.leaves) return DL_OK;
  dl_tree_stack_reset(&top, sync->cut.leaves);
  own->n_top = 0;
  for (int k = 0; k < own->n_nodes; k++) {
    int roots = own->roots_of[k] = fold_node(sync, own, k, &stack);
    if (roots > own->max_roots || own->n_top + roots > sync->max_fold)
      return dl_fail(DL_ERR_INTERNAL, "the sums of node %d do not fit", k);
    for (int r = 0; r < roots; r++) {
      int merges = dl_tree_stack_push(&top, stack.node[r]);
      own->top[own->n_top++] = (dl_fold_node){k, r, merges};
    }
  }
  own->planned_leaves = sync->cut.leaves;
  return DL_OK;
}

/* The most sums that a node of any batch publishes. */
static void measure_roots(dl_sync *sync, dl_nodes *own) {
  const dl_cut before = sync->cut;
  dl_tree_stack stack;
  own->max_roots = 1;
  if (sync->options.shards > EXACT_SHARDS) {
    int height = 1;
    while (((int64_t)1 << height) < sync->options.shards) height++;
    own->max_roots = 2 * height;
    return;
  }
  for (int64_t samples = 1; samples <= sync->options.shards; samples++) {
    sync->cut = dl_cut_make(samples, sync->options.shards);
    for (int k = 0; k < own->n_nodes; k++) {
      int roots = fold_node(sync, own, k, &stack);
      if (roots > own->max_roots) own->max_roots = roots;
    }
  }
  sync->cut = before;
}

float *dl_nodes_root_at(const dl_sync *sync, int root, size_t offset) {
  const dl_nodes *own = dl_nodes_of(sync);
  const dl_fold_node *first = &own->local[own->roots[root].begin];
  size_t slot = (size_t)(first->member - sync->team->node_first) * (size_t)sync->slots + (size_t)first->slot;
  return own->slots + slot * sync->group->count + offset;
}

dl_status dl_nodes_find(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  own->wire = dl_member_of(sync->team)->crew->wire;
  own->planned_leaves = -1;
  DL_TRY(find_places(sync, own));
  DL_TRY(cut_buckets(sync, own));
  DL_TRY(place_own_parts(sync, own));
  DL_TRY(divide_steps(sync, own));
  measure_roots(sync, own);
  own->local = keep(sync, (size_t)sync->max_fold, sizeof *own->local);
  own->top = keep(sync, (size_t)sync->max_fold, sizeof *own->top);
  return own->local && own->top ? DL_OK : DL_ERR_NOMEM;
}

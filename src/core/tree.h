/* tree.h - the canonical tree and the cut of a batch into leaves (floor: core).
 *
 * Whatever is summed over a batch is summed along one binary tree over n leaves that n alone determines: split at the
 * largest power of two below n, recursively (the tree of RFC 6962). Node (level, index) covers the leaves
 * [index << level, min((index + 1) << level, n)); a node without a right half is its left half.
 */
#ifndef DL_CORE_TREE_H
#define DL_CORE_TREE_H

#include "core/status.h"

#define DL_BLOCK 1024    /* elements of a tensor that are handled as one: norms, slices and servers cut here */
#define DL_TREE_DEPTH 64 /* more nodes than any run of leaves can need */

typedef struct dl_tree_node {
  int32_t level;
  int64_t index;
} dl_tree_node;

static inline bool dl_tree_node_is(dl_tree_node a, dl_tree_node b) { return a.level == b.level && a.index == b.index; }

/* A stack of nodes while the leaves of a run are added in order. Values are the caller's: slot k of the stack is slot k
 * of the caller's buffers. */
typedef struct dl_tree_stack {
  int64_t leaves; /* n */
  int depth;
  dl_tree_node node[DL_TREE_DEPTH];
} dl_tree_stack;

void dl_tree_stack_reset(dl_tree_stack *stack, int64_t leaves);

/* Pushes a node that follows all nodes on the stack; returns how often the caller must now add slot `depth` into slot
 * `depth - 1` from the top, that is: for (m = 0; m < returned; m++) slot[top - 1 - m] += slot[top - m], where top was
 * the index of the pushed slot. stack->depth counts what is left. */
int dl_tree_stack_push(dl_tree_stack *stack, dl_tree_node node);
static inline int dl_tree_stack_push_leaf(dl_tree_stack *stack, int64_t leaf) {
  return dl_tree_stack_push(stack, (dl_tree_node){0, leaf});
}

/* The maximal nodes that cover the run [begin, end) of n leaves, in order; at most DL_TREE_DEPTH; returns their number.
 */
int dl_tree_cover(int64_t leaves, int64_t begin, int64_t end, dl_tree_node out[DL_TREE_DEPTH]);

/* The largest stack depth that the run [begin, end) of n leaves reaches, the leaf in work included: the buffers needed.
 */
int dl_tree_slots(int64_t leaves, int64_t begin, int64_t end);

/* Sums `values` (leaves rows of `width` doubles) along the tree into `out` (width); destroys `values`. leaves 0 gives
 * 0. */
void dl_tree_sum_rows(double *values, int64_t leaves, int width, double *out);

/* Sum of squares of n floats: each block of DL_BLOCK in float64 over 32 lanes, blocks along the tree. */
double dl_block_sumsq(const float *x, size_t n); /* one block: n <= DL_BLOCK */

/* ---- the cut of a batch ------------------------------------------------------------------------------------------ */

/* First sample of leaf `leaf` of V in a batch of `samples`; leaf = V gives `samples`. Leaves differ by one sample at
 * most; with fewer samples than V some are empty. */
static inline int64_t dl_leaf_begin(int64_t samples, int64_t shards, int64_t leaf) {
  return samples * leaf / shards; /* both far below 2^31 in any batch that fits in memory */
}

/* First of the logical shards that member `rank` of `size` holds. */
static inline int64_t dl_rank_first_shard(int64_t shards, int rank, int size) { return shards * rank / size; }

/* The cut of a batch among members, empty leaves taken out: what a tree runs over. */
typedef struct dl_cut {
  int64_t samples, shards;
  int64_t leaves; /* n: leaves with at least one sample */
} dl_cut;
dl_cut dl_cut_make(int64_t samples, int64_t shards);
/* Number (0..n) of non-empty leaves before shard `shard`. */
int64_t dl_cut_leaf_of_shard(const dl_cut *cut, int64_t shard);
/* The shard that non-empty leaf `leaf` (0..n-1) is. */
int64_t dl_cut_shard_of_leaf(const dl_cut *cut, int64_t leaf);
/* Samples [begin, end) of non-empty leaf `leaf` (0..n-1) in the batch. */
void dl_cut_leaf_range(const dl_cut *cut, int64_t leaf, int64_t *begin, int64_t *end);
/* Non-empty leaves [begin, end) of member `rank` of `size`. */
void dl_cut_rank_leaves(const dl_cut *cut, int rank, int size, int64_t *begin, int64_t *end);

/* sync.shards: auto = the largest power of two not above batch/16, within 1 to 256. */
int64_t dl_shards_auto(int64_t batch);

#endif

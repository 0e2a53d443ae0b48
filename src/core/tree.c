/* tree.c - the canonical tree.
 *
 * A run of leaves is summed with a binary counter: nodes on the stack wait for their right sibling. Two neighbours
 * merge when the upper one is the right child of the lower one's parent; a node whose right sibling holds no leaf is
 * its parent. The same rule finishes a tree from the nodes that members publish, so there is one rule for all.
 */
#include "core/tree.h"

#include <string.h>

#include "core/vector.h"

void dl_tree_stack_reset(dl_tree_stack *stack, int64_t leaves) {
  stack->leaves = leaves;
  stack->depth = 0;
}

static bool right_sibling_is_empty(dl_tree_node node, int64_t leaves) {
  return (node.index + 1) << node.level >= leaves;
}

int dl_tree_stack_push(dl_tree_stack *stack, dl_tree_node node) {
  int merges = 0;
  for (;;) {
    dl_tree_node *below = stack->depth ? &stack->node[stack->depth - 1] : NULL;
    if (node.index & 1) {
      /* A left sibling that is a whole node has this level; one below it was promoted no further than its own place. */
      if (!below || below->level != node.level || below->index != node.index - 1) break;
      stack->depth--;
      merges++;
    } else if (node.index == 0 || !right_sibling_is_empty(node, stack->leaves)) {
      break;
    }
    node.level++;
    node.index >>= 1;
  }
  stack->node[stack->depth++] = node;
  return merges;
}

int dl_tree_cover(int64_t leaves, int64_t begin, int64_t end, dl_tree_node out[DL_TREE_DEPTH]) {
  dl_tree_stack stack;
  dl_tree_stack_reset(&stack, leaves);
  while (begin < end) {
    /* The largest aligned node that starts here and ends within the run; at the end of the leaves it may be cut short.
     */
    dl_tree_node node = {0, begin};
    while (!(node.index & 1) && node.level < 62) {
      int64_t past = (node.index + 2) << node.level;
      if ((past < leaves ? past : leaves) > end) break;
      if (right_sibling_is_empty(node, leaves) && node.index == 0) break;
      node.level++;
      node.index >>= 1;
    }
    dl_tree_stack_push(&stack, node);
    int64_t past = (node.index + 1) << node.level;
    begin = past < leaves ? past : leaves;
  }
  memcpy(out, stack.node, (size_t)stack.depth * sizeof *out);
  return stack.depth;
}

int dl_tree_slots(int64_t leaves, int64_t begin, int64_t end) {
  dl_tree_stack stack;
  dl_tree_stack_reset(&stack, leaves);
  int most = 0;
  for (int64_t leaf = begin; leaf < end; leaf++) {
    if (stack.depth + 1 > most) most = stack.depth + 1;
    dl_tree_stack_push_leaf(&stack, leaf);
  }
  return most;
}

void dl_tree_sum_rows(double *values, int64_t leaves, int width, double *out) {
  memset(out, 0, (size_t)width * sizeof *out);
  if (leaves < 1) return;
  /* Level by level in place: row i of a level is node (level, i). */
  for (int64_t n = leaves; n > 1; n = (n + 1) / 2) {
    for (int64_t i = 0; i < n / 2; i++)
      for (int k = 0; k < width; k++)
        values[i * width + k] = values[2 * i * width + k] + values[(2 * i + 1) * width + k];
    if (n & 1) memmove(values + n / 2 * width, values + (n - 1) * width, (size_t)width * sizeof *values);
  }
  memcpy(out, values, (size_t)width * sizeof *out);
}

double dl_block_sumsq(const float *x, size_t n) { return dl_vector()->sumsq(x, n); }

/* ---- the cut of a batch ---- */

dl_cut dl_cut_make(int64_t samples, int64_t shards) {
  return (dl_cut){samples, shards, samples < shards ? samples : shards};
}

/* With fewer samples than shards every non-empty leaf has one sample, so leaves and samples are numbered alike. */
int64_t dl_cut_leaf_of_shard(const dl_cut *cut, int64_t shard) {
  return cut->leaves == cut->shards ? shard : dl_leaf_begin(cut->samples, cut->shards, shard);
}

/* The first shard that ends behind sample `leaf`. */
int64_t dl_cut_shard_of_leaf(const dl_cut *cut, int64_t leaf) {
  if (cut->leaves == cut->shards) return leaf;
  return ((leaf + 1) * cut->shards + cut->samples - 1) / cut->samples - 1;
}

void dl_cut_leaf_range(const dl_cut *cut, int64_t leaf, int64_t *begin, int64_t *end) {
  *begin = dl_leaf_begin(cut->samples, cut->leaves, leaf);
  *end = dl_leaf_begin(cut->samples, cut->leaves, leaf + 1);
}

void dl_cut_rank_leaves(const dl_cut *cut, int rank, int size, int64_t *begin, int64_t *end) {
  *begin = dl_cut_leaf_of_shard(cut, dl_rank_first_shard(cut->shards, rank, size));
  *end = dl_cut_leaf_of_shard(cut, dl_rank_first_shard(cut->shards, rank + 1, size));
}

int64_t dl_shards_auto(int64_t batch) {
  int64_t shards = 1;
  while (shards * 2 <= batch / 16 && shards < 256) shards *= 2;
  return shards;
}

/* stats_sum.c - sums along the canonical tree over leaves of rows. A member folds its run of leaves with the tree's
 * stack; the nodes left over, which everybody can name, go to member 0, which finishes with the same rule. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/stats_source.h"

dl_status dl_stats_tree_new(const dl_stats_source *source, int64_t width, dl_stats_tree *out) {
  int slots = dl_tree_slots(source->leaves, source->begin_leaf, source->end_leaf) + 1;
  *out = (dl_stats_tree){.width = width, .slots = slots};
  dl_tree_stack_reset(&out->stack, source->leaves);
  out->values = dl_calloc((size_t)slots, (size_t)width * sizeof(double));
  return out->values ? DL_OK : DL_ERR_NOMEM;
}

void dl_stats_tree_clear(dl_stats_tree *tree) {
  free(tree->values);
  tree->values = NULL;
}

double *dl_stats_tree_leaf(dl_stats_tree *tree) {
  return memset(tree->values + tree->stack.depth * tree->width, 0, (size_t)tree->width * sizeof(double));
}

static void merge(dl_stats_tree *tree, int top, int merges) {
  for (; merges > 0; merges--, top--) {
    double *left = tree->values + (top - 1) * tree->width, *right = tree->values + top * tree->width;
    for (int64_t i = 0; i < tree->width; i++) left[i] += right[i];
  }
}

void dl_stats_tree_push(dl_stats_tree *tree, int64_t leaf) {
  int top = tree->stack.depth;
  merge(tree, top, dl_tree_stack_push_leaf(&tree->stack, leaf));
}

/* Member 0: pushes the nodes of all, in order. */
static dl_status finish(const dl_tree_node *nodes, const double *values, int64_t n, int64_t width, int64_t leaves,
                        double *out) {
  dl_stats_tree tree = {.width = width, .slots = DL_TREE_DEPTH};
  tree.values = dl_calloc(DL_TREE_DEPTH, (size_t)width * sizeof(double));
  if (!tree.values) return DL_ERR_NOMEM;
  dl_tree_stack_reset(&tree.stack, leaves);
  for (int64_t i = 0; i < n; i++) {
    int top = tree.stack.depth;
    memcpy(tree.values + top * width, values + i * width, (size_t)width * sizeof(double));
    merge(&tree, top, dl_tree_stack_push(&tree.stack, nodes[i]));
  }
  memcpy(out, tree.values, (size_t)width * sizeof(double));
  free(tree.values);
  return DL_OK;
}

dl_status dl_stats_tree_finish(dl_team *team, dl_stats_tree *tree, double *out) {
  void *nodes = NULL, *values = NULL;
  size_t node_bytes = 0, depth = (size_t)tree->stack.depth, row = (size_t)tree->width * sizeof(double);
  dl_status status = dl_team_gather_bytes(team, tree->stack.node, depth * sizeof(dl_tree_node), 0, &nodes, &node_bytes);
  if (status == DL_OK) status = dl_team_gather_bytes(team, tree->values, depth * row, 0, &values, NULL);
  if (status == DL_OK) {
    if (team->rank == 0)
      status =
          finish(nodes, values, (int64_t)(node_bytes / sizeof(dl_tree_node)), tree->width, tree->stack.leaves, out);
    status = dl_team_agree(team, status);
  }
  if (status == DL_OK) status = dl_team_broadcast(team, out, row, 0);
  free(nodes);
  free(values);
  return status;
}

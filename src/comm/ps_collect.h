/* ps_collect.h - a step's tree, finished from nodes that come in any order (floor: comm, private).
 *
 * Two siblings are added as soon as both are there; what has no sibling rises to its parent (core/tree.h). So the sum
 * has the bits of the canonical tree whatever the order of arrival, and memory holds the nodes that wait alone. What
 * the last one makes possible is left to the caller, who adds block by block on the way to the optimizer.
 */
#ifndef DL_COMM_PS_COLLECT_H
#define DL_COMM_PS_COLLECT_H

#include "core/group.h"
#include "core/half.h"
#include "core/tree.h"

#define DL_PS_COLLECT_MOST (2 * DL_TREE_DEPTH) /* nodes that wait when the last one comes, and more */

/* A node's sum and who keeps it: `release` is called once when it is added into another or forgotten. */
typedef struct dl_ps_sum {
  dl_tree_node node;
  float *values; /* written to, unless borrowed */
  double sums[DL_LEAF_SUMS];
  void *owner;
  bool borrowed; /* values are somebody else's: they stay as they are until dl_ps_collect_add returns or, where there is
                    a lender, until dl_ps_collect_own */
  const void *lender;
} dl_ps_sum;

typedef struct dl_ps_collect {
  int64_t leaves;
  size_t count; /* floats of a sum */
  void (*release)(void *owner);
  bool (*keep)(void *context, dl_ps_sum *sum); /* a borrowed sum has to wait: makes it one of one's own; false: no
                                                  memory */
  void *context;
  const dl_half *half; /* nodes are rounded so; NULL: they are not */
  dl_ps_sum *waiting;
  int n_waiting;
  dl_tree_node *seen; /* what was added, as it came */
  int n_seen, room;
} dl_ps_collect;

typedef enum dl_ps_added { DL_PS_ADDED, DL_PS_TWICE, DL_PS_NOT_A_NODE, DL_PS_NO_ROOM } dl_ps_added;

/* keep, context and half are set by who needs them. */
void dl_ps_collect_init(dl_ps_collect *collect, size_t count, void (*release)(void *owner));
void dl_ps_collect_clear(dl_ps_collect *collect);
/* Forgets all, for a tree of `leaves`. */
void dl_ps_collect_begin(dl_ps_collect *collect, int64_t leaves);

/* Takes `sum` over on DL_PS_ADDED alone. What covers leaves that are counted already is DL_PS_TWICE where it is the
 * same node, else DL_PS_NOT_A_NODE. */
dl_ps_added dl_ps_collect_add(dl_ps_collect *collect, const dl_ps_sum *sum);

/* Before `lender` takes its memory back: what is still read there is copied. False: no memory. */
bool dl_ps_collect_own(dl_ps_collect *collect, const void *lender);

/* Puts the nodes that wait in order, and says how often the top of the stack is added into what lies below it after
 * each; returns their number, 0 while leaves are missing. */
int dl_ps_collect_plan(dl_ps_collect *collect, int merges[DL_PS_COLLECT_MOST]);
/* The root's doubles; false while leaves are missing. */
bool dl_ps_collect_sums(dl_ps_collect *collect, double sums[DL_LEAF_SUMS]);
/* Leaves that are not there yet. */
int64_t dl_ps_collect_missing(const dl_ps_collect *collect);

/* Leaves [*begin, *end) of a node; false where it has none. */
bool dl_ps_node_leaves(dl_tree_node node, int64_t leaves, int64_t *begin, int64_t *end);

#endif

/* ps_collect.h - a step's tree, finished from nodes that come in any order (floor: comm, private).
 *
 * Two siblings are added as soon as both are there; what has no sibling rises to its parent (core/tree.h). So the sum
 * has the bits of the canonical tree whatever the order of arrival, and memory holds the nodes that wait alone.
 */
#ifndef DL_COMM_PS_COLLECT_H
#define DL_COMM_PS_COLLECT_H

#include "core/group.h"
#include "core/half.h"
#include "core/tree.h"

/* A node's sum and who keeps it: `release` is called once when it is added into another or forgotten. */
typedef struct dl_ps_sum {
  dl_tree_node node;
  float *values; /* written to, unless borrowed */
  double sums[DL_LEAF_SUMS];
  void *owner;
  bool borrowed; /* values are somebody else's, to be read before dl_ps_collect_add returns */
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

/* The root, borrowed; NULL while leaves are missing. */
const dl_ps_sum *dl_ps_collect_root(const dl_ps_collect *collect);
/* Leaves that are not there yet. */
int64_t dl_ps_collect_missing(const dl_ps_collect *collect);

/* Leaves [*begin, *end) of a node; false where it has none. */
bool dl_ps_node_leaves(dl_tree_node node, int64_t leaves, int64_t *begin, int64_t *end);

#endif

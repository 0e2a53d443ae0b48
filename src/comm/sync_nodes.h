/* sync_nodes.h - the synchroniser for several nodes, its parts (floor: comm, private to sync_nodes*.c).
 *
 * The buffer is cut three times, always at block boundaries: into buckets, which travel one by one while backward
 * still runs; each bucket into columns, one for each of the first C processes of every node; each column into parts,
 * one for each node. Part (b, i, k) is summed, stepped and kept up to date by node k; its gradients and weights are
 * sent and received by process i of each node.
 *
 *   |<- bucket n-1 ->| ... |<------------- bucket 0 ------------->|      bucket 0 is nearest the loss: ready first
 *                          | column 0      | column 1      | ...
 *                          | part | part | part | part | ...
 */
#ifndef DL_COMM_SYNC_NODES_H
#define DL_COMM_SYNC_NODES_H

#include <pthread.h>

#include "comm/sync_common.h"
#include "comm/wire_flow.h"

/* A node as all see it. */
typedef struct dl_node_place {
  int first_process, processes;
  int first_member, members;
} dl_node_place;

/* One published sum of a node: entries [begin, begin + n) of the local fold, left in the first one's slot. */
typedef struct dl_node_root {
  int begin, n;
} dl_node_root;

typedef struct dl_arrival {
  _Alignas(DL_CACHE_LINE) _Atomic uint32_t gates;
} dl_arrival;

typedef _Atomic int64_t dl_progress_count;

/* At the front of a node's shared memory. */
typedef struct dl_node_control {
  dl_gate gate;
  _Alignas(DL_CACHE_LINE) _Atomic uint64_t sent_bytes; /* to other nodes, since the start */
} dl_node_control;

typedef struct dl_nodes {
  dl_wire *wire;
  int n_nodes, node, columns;
  int process;          /* of this member, in its node: its column where it is below `columns` */
  dl_node_place *place; /* n_nodes */

  /* buckets and what is cut from them */
  int n_buckets;
  int64_t *bucket_first;  /* n_buckets + 1, descending: bucket b holds blocks [bucket_first[b + 1], bucket_first[b]) */
  size_t *own_at;         /* n_blocks: where a block of this node lies in what holds its parts only */
  size_t own_count;       /* floats of all parts of this node */
  size_t in_work;         /* own_at of the block that is folded */
  dl_block_range *ranges; /* blocks that this member steps */
  int64_t widest;         /* most blocks of a column's parts of one node */

  /* the tree of the cut in force */
  dl_fold_node *local; /* published nodes of this node's members */
  int n_local;
  dl_node_root roots[DL_TREE_DEPTH];
  int n_roots, max_roots;
  int *roots_of;     /* n_nodes: how many each node sends */
  dl_fold_node *top; /* roots of all nodes */
  int n_top;
  int64_t planned_leaves;

  /* the node's shared memory */
  dl_shared memory;
  dl_node_control *control;
  dl_arrival *arrivals;                        /* members */
  dl_progress_count *ready, *folded, *arrived; /* buckets; buckets; buckets x columns */
  float *slots;                                /* members x slots x count */
  float *received;                             /* (n_nodes x max_roots) x own_count; a node's own place stays empty */

  /* this member */
  int next_ready, next_fold;
  int64_t gather_step; /* the step whose weights are on their way or here */
  int awaited;         /* buckets from this one on have the weights of gather_step */

  /* its process, where it has a column (the leader's) */
  dl_flow *flow;
  int next_send;
  int64_t flow_step;
  size_t piece;         /* floats of a message, at most */
  int *weights_missing; /* n_buckets: messages */
  char *packed;         /* max_roots x what dl_nodes_packed_bytes says of count: sums on their way; NULL: as they lie */
  char *unread;         /* the same of others, as they came: as many as `received`; NULL: where they are to be */
  dl_status flow_status;
  dl_error flow_error;
  uint64_t counted_bytes;
  double *swap_send, *swap_received;
  pthread_t thread;
  bool has_thread, thread_ends, thread_works;
  pthread_mutex_t thread_lock;
  pthread_cond_t thread_wakes;
} dl_nodes;

static inline dl_nodes *dl_nodes_of(const dl_sync *sync) { return sync->own; }
static inline bool dl_nodes_leads(const dl_sync *sync) { return dl_member_of(sync->team)->thread == 0; }
/* Whether this member speaks for a column. */
static inline bool dl_nodes_has_column(const dl_sync *sync) {
  return dl_nodes_leads(sync) && dl_nodes_of(sync)->process < dl_nodes_of(sync)->columns;
}

/* ---- sync_nodes_plan.c: who owns what, and the tree ---- */

dl_status dl_nodes_find(dl_sync *sync);      /* places, buckets, parts; not collective, the same on all */
dl_status dl_nodes_plan_tree(dl_sync *sync); /* of the cut in force */
dl_block_range dl_nodes_part(const dl_sync *sync, int bucket, int column, int node);
static inline int64_t dl_nodes_bucket_first(const dl_nodes *own, int bucket) { return own->bucket_first[bucket + 1]; }
static inline int64_t dl_nodes_bucket_end(const dl_nodes *own, int bucket) { return own->bucket_first[bucket]; }
/* Where the sum of a local root lies, for the element at `offset` of the buffer. */
float *dl_nodes_root_at(const dl_sync *sync, int root, size_t offset);

/* ---- sync_nodes_pack.c: sums that do not travel as they lie (sync.compress) ---- */

/* The most bytes that a part of `floats` takes, a multiple of 16. */
size_t dl_nodes_packed_bytes(const dl_sync *sync, size_t floats);
/* Part `part` of a root, which lies at `from`, into `out`; returns the bytes. */
size_t dl_nodes_pack(const dl_sync *sync, void *out, const float *from, dl_block_range part);
/* The same back, from `bytes` at `in` that came from node `node`: DL_ERR_SYSTEM where they are no such part. Bits of 16
 * may lie in the upper half of `to`. */
dl_status dl_nodes_unpack(const dl_sync *sync, float *to, const void *in, size_t bytes, dl_block_range part, int node);

/* ---- sync_nodes_flow.c: what travels ---- */

dl_status dl_nodes_flow_new(dl_sync *sync, bool with_thread);
void dl_nodes_flow_destroy(dl_sync *sync);
/* This member begins to deliver in the present step: gradients travel, both ways. Does nothing the second time. */
void dl_nodes_flow_open(dl_sync *sync);
/* A turn of the flow, if this member speaks and MPI is free: whether it was made. */
bool dl_nodes_flow_turn(dl_sync *sync);
/* Whether messages failed, if this member speaks and MPI is free: DL_ERR_TRAIN, with a record. */
dl_status dl_nodes_flow_check(dl_sync *sync);
/* The leader, with the lock held: until nothing is on its way any more. */
dl_status dl_nodes_flow_finish(dl_sync *sync, const char *what);
/* The leader, with the lock held: the weights of all parts go to all nodes, the first layers' first. */
dl_status dl_nodes_flow_weights(dl_sync *sync);

#endif

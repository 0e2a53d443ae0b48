/* sync_common.h - what the synchronisers share (floor: comm, private).
 *
 * sync.c holds everything that does not depend on how gradients travel: the stack of leaves, the notes that members
 * publish with a step, the verdict, the norm, the application of a block. A synchroniser is a row of the table in
 * sync.c: it places the buffers and brings the nodes of the tree together.
 */
#ifndef DL_COMM_SYNC_COMMON_H
#define DL_COMM_SYNC_COMMON_H

#include "comm/crew.h"
#include "comm/sync.h"
#include "comm/sync_topk.h"
#include "core/half.h"
#include "core/vector.h"

/* What a member publishes with a step, followed by its nodes' sums: `nodes` rows of DL_LEAF_SUMS doubles. */
typedef struct dl_header {
  int32_t status;
  int32_t stop;
  uint64_t delivered, recomputed; /* hashes of the leaf of this step that is computed twice; 0: not by this member */
  int32_t abandoned, partial, save, unused; /* of the first member */
  double notes[DL_SYNC_NOTES];
  double sums[];
} dl_header;

/* Node i of the published nodes, in tree order: slot `slot` of member `member`. After it is pushed, the top of the
 * stack is added into what lies below it `merges` times. */
typedef struct dl_fold_node {
  int32_t member, slot, merges;
} dl_fold_node;

typedef struct dl_block_range {
  int64_t first, end;
} dl_block_range;

typedef struct dl_sync_ops {
  const char *name, *help;
  /* Makes the buffers: weights, state, slots. All members return the same. */
  dl_status (*setup)(dl_sync *sync);
  void (*teardown)(dl_sync *sync);
  /* A step begins, its cut is known; may be NULL. */
  dl_status (*begin)(dl_sync *sync);
  /* This member's sums are final from element `from` on. NULL: it waits for all of them in any case. */
  void (*ready)(dl_sync *sync, size_t from);
  /* Waits until the weights before element `end` have come. NULL: they always have. */
  dl_status (*await)(dl_sync *sync, size_t end);
  /* Where this member writes what it publishes with this step. */
  dl_header *(*header)(dl_sync *sync);
  /* Waits for all members' headers; sync->headers points at `size` of them afterwards, until the next step's. */
  dl_status (*publish)(dl_sync *sync);
  /* Sums, scales by `factor`, takes the norm and applies. result->grad_norm, finite, update_s. */
  dl_status (*reduce)(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result);
  dl_status (*set)(dl_sync *sync, int slot, const float *values, int root);
  dl_status (*get)(dl_sync *sync, int slot, float *values, int root);
  /* dl_sync_log, dl_sync_saved, dl_sync_dismiss and dl_sync_staleness; may be NULL. */
  dl_status (*log)(dl_sync *sync, const char *folder, int64_t step, bool anew);
  dl_status (*saved)(dl_sync *sync, int64_t step);
  void (*dismiss)(dl_sync *sync, dl_status status);
  const dl_ps_staleness *(*staleness)(const dl_sync *sync);
} dl_sync_ops;

typedef struct dl_audit dl_audit;         /* sync_audit.c */
typedef struct dl_recompute dl_recompute; /* sync_recompute.c */

struct dl_sync {
  const dl_sync_ops *ops;
  dl_team *team;
  const dl_param_group *group;
  dl_sync_options options;
  const dl_half *half;     /* options.compress, NULL: none */
  dl_topk *topk;           /* where options.compress says so, else NULL */
  int64_t step;            /* steps begun */
  dl_audit *audit;         /* NULL: none */
  dl_recompute *recompute; /* the same */
  dl_audit *resting_audit; /* dl_sync_rest_guards: the same two, out of the way */
  dl_recompute *resting_recompute;
  int copy_rank,
      copy_size;  /* this member among those that share its copy of the weights: set by setup; size 0: alone */
  int64_t number; /* what messages call the present one */
  bool later;     /* of the present step: weights may come after its end */
  dl_status await_status;
  int workers;                    /* members 0 .. workers - 1 compute leaves; 0: others do, outside the team */
  const dl_sync_request *request; /* of the step that is being finished */

  /* Blocks and the slice of them that this member owns. */
  dl_block_ref *blocks;
  int64_t n_blocks, first_block, end_block;
  const dl_block_range *ranges; /* where it is not one slice: n_ranges of them; else NULL */
  int n_ranges;

  /* The cut in force and its tree. */
  dl_cut cut;
  int64_t first_leaf, end_leaf;
  dl_fold_node *fold; /* published nodes of all members */
  int n_fold;
  int fold_depth;      /* the stack's height while folding */
  int64_t fold_leaves; /* leaves that `fold` was made for; -1: none */
  int slots;           /* gradient buffers of a member: the largest stack of any member and batch */
  int max_fold;        /* the largest n_fold */

  /* This member's stack of leaves. */
  dl_tree_stack stack;
  int last_merges;    /* of the last leaf, once its backward has begun to deliver; -1: not yet */
  size_t merged_from; /* from here on they are done */
  float *gradients;   /* slots x count */
  double *sums;       /* slots x DL_LEAF_SUMS */

  float *weights;
  float *state[DL_MAX_OPTIMIZER_SLOTS]; /* from element `state_begin` of the group on */
  size_t state_begin;
  const size_t *state_at; /* where it does not begin so: each block's place in `state`; else NULL */
  double *block_sumsq;    /* n_blocks, all members' after the norm phase */
  uint64_t *block_hashes; /* n_blocks of the node: of weights as they were written, or came; NULL: not kept */
  int bad_tensor;
  dl_tensor_sums *block_sums;   /* the same after the measure phase; NULL where nothing is measured */
  dl_tensor_sums *tensor_sums;  /* n_tensors, this member's copy */
  dl_tensor_sums *sums_scratch; /* n_blocks */

  char *headers; /* size x header_bytes */
  size_t header_bytes;

  /* Scratch of this member. */
  float *fold_buffer;   /* fold_depth x DL_BLOCK */
  double *norm_scratch; /* n_blocks + n_tensors */
  double *sum_scratch;  /* fold_depth x DL_LEAF_SUMS */
  double *notes;        /* size x DL_SYNC_NOTES */

  size_t member_bytes, node_bytes;
  void *own; /* the synchroniser's */
};

/* ---- guards: hashes of weights (sync_audit.c), leaves computed twice (sync_recompute.c); all do nothing where they
 * are not asked for ---- */

/* After setup. Collective. */
dl_status dl_audit_new(dl_sync *sync);
void dl_audit_destroy(dl_sync *sync);
/* Around every change of a block's weights by its owner. */
void dl_audit_before_write(dl_sync *sync, const dl_block_ref *block);
/* The same in advance for the block that is written next, beside its gradient's sum of squares, which is returned:
 * both together cost little more than the second. */
double dl_audit_before_write_and_sumsq(dl_sync *sync, const dl_block_ref *block, const float *gradient);
void dl_audit_after_write(dl_sync *sync, const dl_block_ref *block);
/* All weights have been set anew. */
void dl_audit_rewritten(dl_sync *sync);
/* Where block_hashes are kept, before new weights go and come: this member's share of what other nodes wrote, and what
 * is sent without being written. */
void dl_audit_before_exchange(dl_sync *sync);
/* What this member found changed before it wrote. Not collective. */
dl_status dl_audit_pending(const dl_sync *sync);
/* Whether that is a copy of what another node wrote. */
bool dl_audit_pends_elsewhere(const dl_sync *sync);
/* All copies of the weights against the hashes of their owners. Collective, while nobody writes. */
dl_status dl_audit_copies(dl_sync *sync);
bool dl_audit_is_due(const dl_sync *sync);

/* Collective. */
dl_status dl_recompute_new(dl_sync *sync);
void dl_recompute_destroy(dl_sync *sync);
void dl_recompute_begin(dl_sync *sync); /* a step: which leaf is computed twice, and by whom */
/* Whether that leaf is the one: it is to stay as it was computed until it is done. */
bool dl_recompute_is_leaf(const dl_sync *sync, int64_t leaf);
void dl_recompute_leaf_done(dl_sync *sync, int64_t leaf, const float *gradient, const double sums[DL_LEAF_SUMS]);
void dl_recompute_write_header(const dl_sync *sync, dl_header *header);
/* When all headers are there: the same result on all members. */
dl_status dl_recompute_check(dl_sync *sync);

extern const dl_sync_ops dl_sync_shm_ops, dl_sync_nodes_ops, dl_sync_message_ops, dl_sync_ps_ops;

static inline const dl_header *dl_sync_header(const dl_sync *sync, int member) {
  return (const dl_header *)(const void *)(sync->headers + (size_t)member * sync->header_bytes);
}
/* A learnt block counts in the norm and is applied; a running average is summed and folded in; others are left alone.
 */
static inline bool dl_sync_trains(const dl_sync *sync, const dl_block_ref *block) {
  return sync->group->tensors[block->tensor].trainable;
}
static inline bool dl_sync_runs(const dl_sync *sync, const dl_block_ref *block) {
  return sync->group->tensors[block->tensor].running > 0;
}
/* What the sum over a block is multiplied by: `factor` (1 / normaliser), or 1 / samples for a running average. */
static inline float dl_sync_block_factor(const dl_sync *sync, const dl_block_ref *block, float factor) {
  return dl_sync_runs(sync, block) ? (float)(1.0 / (double)sync->cut.samples) : factor;
}
/* First float of block `block`; the end of the buffer for one past the last; the gap before a tensor goes with it. */
size_t dl_sync_block_offset(const dl_sync *sync, int64_t block);

/* Where node `node` of the tree lies for the elements at `offset`. */
typedef const float *(*dl_fold_source)(const dl_sync *sync, const dl_fold_node *node, size_t offset);

/* Folds all nodes over one block in tree order and multiplies by `factor`: out (n) = mean gradient. No bits depend on
 * who calls it. `source` finds a node's elements; `out` is none of them, and may be sync->fold_buffer. */
void dl_sync_fold_block(dl_sync *sync, const dl_block_ref *block, dl_fold_source source, float factor, float *out);

/* The same for any nodes that make one tree, without a factor; `out` may be what `source` says of the first of them. */
void dl_sync_fold_nodes(dl_sync *sync, const dl_fold_node *nodes, int n, const dl_block_ref *block,
                        dl_fold_source source, float scale, float *out);

/* into += x, a node of the tree: rounded where the group's gradients are. */
static inline void dl_sync_add(const dl_sync *sync, float *into, const float *x, size_t n) {
  dl_vector()->add(into, x, n);
  if (sync->half) sync->half->round(into, n);
}

/* What this member does now, for messages: "step 12, phase gradients". */
void dl_sync_set_phase(dl_sync *sync, const char *phase);

/* The gradient norm from all blocks' sums of squares; sets sync->bad_tensor. */
double dl_sync_norm(dl_sync *sync);
/* min(1, clip / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 where clip is 0. */
float dl_sync_clip_factor(double norm, double clip_norm);

/* Adds the penalties of a trained block to its mean gradient, and takes its sum of squares. Without norm_first
 * dl_sync_apply_block follows. */
double dl_sync_penalise_block(dl_sync *sync, const dl_block_ref *block, float *gradient);
/* Applies the optimizer to one block with this (mean) gradient. */
void dl_sync_apply_block(dl_sync *sync, const dl_block_ref *block, const float *gradient);

/* The end of a step that needed the norm first: all trained blocks of this member's slice, from the mean gradients of
 * the whole buffer times `factor`. Where the group measures, the means become updates and `share` brings all members'
 * block_sums together in between. */
typedef dl_status (*dl_sync_share)(dl_sync *sync);
dl_status dl_sync_apply_slice(dl_sync *sync, float *means, float factor, dl_sync_share share);

#endif

/* sync.h - gradient synchronisation: the step that all members take together (floor: comm).
 *
 * A synchroniser owns the weights and the optimizer state of a parameter group, wherever they live (one copy a node in
 * shared memory, or one a member), and the buffers that gradients are written to. A step of a member:
 *
 *   dl_sync_begin(sync, &cut)
 *   for each of my leaves:  gradients = dl_sync_gradients(sync); ...backward writes them, beta = 0...;
 *                           dl_sync_leaf_done(sync, leaf, sums)
 *   dl_sync_finish(sync, &request, &result)       reduce; verdict; norm; apply
 *
 * A tensor that is a running average (dl_tensor.running) is summed like a gradient, divided by the step's samples, and
 * moved towards; it has no part in norms, clipping or the optimizer. Where the group has penalties, their gradient is
 * added to the mean: norm and clipping see it. Where it measures, the step has one phase more: updates and their norms.
 *
 * Sums run along the canonical tree (core/tree.h): the weights after a step do not depend on the number of members, nor
 * on the transport. All functions are Collective that do not say otherwise; dl_sync_gradients and dl_sync_leaf_done are
 * not.
 */
#ifndef DL_COMM_SYNC_H
#define DL_COMM_SYNC_H

#include <signal.h>

#include "comm/ps.h"
#include "core/config.h"
#include "core/group.h"
#include "core/team.h"
#include "core/tree.h"

#define DL_SYNC_NOTES 8 /* doubles of each member that all others get with the step (phase times) */

#define DL_SYNC_BUCKET_BYTES (1024.0 * 1024)

typedef struct dl_sync dl_sync;

typedef struct dl_sync_options {
  int transport;           /* dl_transport */
  int64_t shards;          /* V: with the team's size it decides how many gradient buffers are needed */
  bool norm_first;         /* the step needs the gradient norm before it applies (clipping, a group that measures) */
  int64_t audit_every;     /* guards (below); 0: none */
  int64_t recompute_every; /* 0: never */
  uint64_t seed;           /* chooses the leaves that are recomputed */
  bool overlap;        /* between nodes: what travels does so while members compute (dl_sync_ready, weights_later) */
  double bucket_bytes; /* between nodes: what travels as one; 0: DL_SYNC_BUCKET_BYTES */
  int compress; /* dl_compress: every node of the tree, leaves too, is rounded so, whoever sums it and wherever it goes:
                   then two bytes a gradient are enough between nodes and the bits depend on nothing else. topk:
                   leaves are thinned (comm/sync_topk.h), their sums travel as blocks of few elements */
  double topk;  /* DL_COMPRESS_TOPK: the share of each block that is kept */
  int64_t batch;           /* DL_COMPRESS_TOPK: samples of a whole batch */
  const dl_ps_options *ps; /* parameter servers; NULL: allreduce. Copied */
} dl_sync_options;

typedef struct dl_sync_request {
  dl_status status;    /* this member's own state: a failure here becomes everybody's verdict, weights untouched */
  bool stop;           /* this member was told to stop; any one makes result.stop true on all */
  double clip_norm;    /* 0: none; needs norm_first */
  const double *notes; /* DL_SYNC_NOTES doubles of this member */
  bool weights_later;  /* new weights may still be on their way when the step ends; needs overlap. Whoever reads them
                          waits before: dl_sync_await. Equal on all members */
  int64_t step;        /* steps done before this one, over all parts of the run (parameter servers) */
  bool save_due; /* a checkpoint is: no later step is begun before this one is over (ssp, asp); of the first member */
  const volatile sig_atomic_t *stop_flag; /* looked at while waiting for workers (parameter servers); NULL: none */
} dl_sync_request;

typedef struct dl_sync_result {
  double sums[DL_LEAF_SUMS]; /* over all leaves along the tree: [0] loss sum, [1] normaliser */
  double grad_norm;          /* of the mean gradient, before clipping */
  bool stop;
  bool abandoned;          /* parameter servers: stopped before the step was complete; no weight has changed */
  bool partial;            /* ssp, asp: the weights hold parts of steps to come: no state to keep */
  bool save;               /* ssp, asp: what is logged has grown so much that it is time for a checkpoint */
  bool finite;             /* loss and gradient norm are finite */
  int bad_tensor;          /* the last tensor (nearest the loss) whose gradient is not finite, -1: none known */
  int64_t sent_bytes;      /* payload that my node has sent to other nodes since the start; 0 where there are none */
  double sync_s, update_s; /* this member's time in exchange (waiting included) and in applying */
} dl_sync_result;

/* Makes weights (zero), optimizer state (zero) and gradient buffers. Borrows team and group. Errors are agreed on. With
 * transport auto, shared memory is taken where all members are on one node and it can be had; else a warning and
 * messages. */
dl_status dl_sync_new(dl_team *team, const dl_param_group *group, const dl_sync_options *options, dl_sync **out);
void dl_sync_destroy(dl_sync **sync);
const char *dl_sync_transport(const dl_sync *sync); /* "shm", "nodes", "mpi" or "ps" */
/* Says to workers outside the team that there is no more work, and why: DL_OK when training is completed. */
void dl_sync_dismiss(dl_sync *sync, dl_status status);
/* Parameter servers that workers outside the team push to: what ssp and asp acknowledge is logged in `folder` (NULL: it
 * is not), and what is in the log since the weights of `step`, which are those in force, is applied again in the steps
 * to come; `anew`: it is of another run. Before the first step. The other synchronisers keep none. */
dl_status dl_sync_log(dl_sync *sync, const char *folder, int64_t step, bool anew);
/* The weights of `step`, those in force, are in a checkpoint: what was logged before is no longer needed. */
dl_status dl_sync_saved(dl_sync *sync, int64_t step);
/* ssp and asp: how old weights were; NULL where they are never old. On the first member. Not collective. */
const dl_ps_staleness *dl_sync_staleness(const dl_sync *sync);
/* Bytes this synchroniser holds: of this member and, shared, of its node. Not collective. */
void dl_sync_memory(const dl_sync *sync, size_t *member_bytes, size_t *node_bytes);

/* The weights, valid between steps (but see weights_later); the same address as long as the synchroniser lives. Not
 * collective. */
const float *dl_sync_weights(const dl_sync *sync);

dl_status dl_sync_begin(dl_sync *sync, const dl_cut *cut);
/* What messages about a wait call the next step; without it steps count from 1. Not collective. */
void dl_sync_number_step(dl_sync *sync, int64_t number);
/* The leaves [*begin, *end) of this member in the step that was begun. Not collective. */
void dl_sync_leaves(const dl_sync *sync, int64_t *begin, int64_t *end);
float *dl_sync_gradients(dl_sync *sync); /* where the next leaf's gradient goes; gaps stay zero */
/* The gradient of leaf `leaf` is written from element `from` on, and stays so: what is complete may go out. Optional.
 * Not collective. */
void dl_sync_ready(dl_sync *sync, int64_t leaf, size_t from);
void dl_sync_leaf_done(dl_sync *sync, int64_t leaf, const double sums[DL_LEAF_SUMS]);
/* Waits until the weights before element `end` have come, after a step that let them come later. A failure is that of
 * the next step too. Not collective. */
dl_status dl_sync_await(dl_sync *sync, size_t end);
/* For all of them. */
dl_status dl_sync_settle(dl_sync *sync);
/* On DL_OK all members have the same result and weights. Otherwise all return the same error and no weight has changed;
 * a result that is not finite is DL_OK with result->finite false: with norm_first the weights have not changed. */
dl_status dl_sync_finish(dl_sync *sync, const dl_sync_request *request, dl_sync_result *result);
/* Notes of all members of the last finished step: size x DL_SYNC_NOTES, borrowed until the next finish. Not collective.
 */
const double *dl_sync_notes(const dl_sync *sync);

/* Whole buffers in and out, for initialisation and checkpoints. slot -1: the weights; 0..: optimizer slots. `values`
 * has group->count floats and is read (set) or written (get) on `root` alone; NULL elsewhere. */
dl_status dl_sync_set(dl_sync *sync, int slot, const float *values, int root);
dl_status dl_sync_get(dl_sync *sync, int slot, float *values, int root);

/* What top-k compression has left behind, of every shard: how many there are (0 without it; not collective), and in and
 * out as above. A resumed run sets them all, or is another run. */
int64_t dl_sync_residuals(const dl_sync *sync);
dl_status dl_sync_set_residual(dl_sync *sync, int64_t shard, const float *values, int root);
dl_status dl_sync_get_residual(dl_sync *sync, int64_t shard, float *values, int root);

/* ---- guards against silent corruption -----------------------------------------------------------------------------
 *
 * With audit_every, whoever writes a block of weights hashes it, and before it writes there again looks whether the
 * hash still holds. Every audit_every steps, and before weights leave by dl_sync_get, all members compare all of their
 * node's copy with the hashes of who wrote it. What is wrong ends the step (or the next, or the get) with DL_ERR_TRAIN
 * on all members; the message names the tensor, the elements (the bit, where a single one has flipped), ranks and
 * hosts. With three copies or more the majority says which is wrong. Cost: two hashes a step of what a member owns.
 *
 * With recompute_every, in every such step a random leaf is computed a second time by another member (by the same one
 * where it is alone) and the bits of what it delivered are compared before anything is summed. A difference is
 * DL_ERR_TRAIN on all members, no weight has changed, and dl_sync_disputed tells the leaf; to know who was wrong every
 * member then computes it once more (dl_sync_settle_dispute). Members must be alike: other processors give other bits.
 */

/* After dl_sync_begin and before this member's own leaves: the leaf that it must compute for another (into
 * dl_sync_gradients), or -1; dl_sync_leaf_recomputed takes the result. Not collective. */
int64_t dl_sync_recompute_leaf(const dl_sync *sync);
void dl_sync_leaf_recomputed(dl_sync *sync, const double sums[DL_LEAF_SUMS]);
/* The leaf whose two results differ in the step that has just failed, -1: none. Not collective. */
int64_t dl_sync_disputed(const dl_sync *sync);
/* Every member has computed that leaf again, after another dl_sync_begin: returns DL_ERR_TRAIN with a message that says
 * who was wrong, as far as can be told. */
dl_status dl_sync_settle_dispute(dl_sync *sync, const double sums[DL_LEAF_SUMS]);
/* For members that are not alike. Not collective, but called by all. */
void dl_sync_stop_recomputing(dl_sync *sync);
/* Between steps: no hash, audit or second computation until they are told to work again, which takes weights as they
 * are then: all of them must have come (dl_sync_settle). To measure what they cost. Not collective, but called by all.
 */
void dl_sync_rest_guards(dl_sync *sync, bool rest);

/* The table of synchronisers, for `dldist list sync`. */
typedef struct dl_sync_kind {
  const char *name, *help;
} dl_sync_kind;
const dl_sync_kind *dl_sync_kinds(int *n);

#endif

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
 * on the transport. All functions but dl_sync_gradients and dl_sync_leaf_done are Collective.
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

typedef struct dl_sync dl_sync;

typedef struct dl_sync_options {
  int transport;           /* dl_transport */
  int64_t shards;          /* V: with the team's size it decides how many gradient buffers are needed */
  bool norm_first;         /* the step needs the gradient norm before it applies (clipping, a group that measures) */
  const dl_ps_options *ps; /* parameter servers; NULL: allreduce. Copied */
} dl_sync_options;

typedef struct dl_sync_request {
  dl_status status;    /* this member's own state: a failure here becomes everybody's verdict, weights untouched */
  bool stop;           /* this member was told to stop; any one makes result.stop true on all */
  double clip_norm;    /* 0: none; needs norm_first */
  const double *notes; /* DL_SYNC_NOTES doubles of this member */
  int64_t step;        /* steps done before this one, over all parts of the run (parameter servers) */
  const volatile sig_atomic_t *stop_flag; /* looked at while waiting for workers (parameter servers); NULL: none */
} dl_sync_request;

typedef struct dl_sync_result {
  double sums[DL_LEAF_SUMS]; /* over all leaves along the tree: [0] loss sum, [1] normaliser */
  double grad_norm;          /* of the mean gradient, before clipping */
  bool stop;
  bool abandoned;          /* parameter servers: stopped before the step was complete; no weight has changed */
  bool partial;            /* ssp, asp: the weights hold parts of steps to come: no state to keep */
  bool finite;             /* loss and gradient norm are finite */
  int bad_tensor;          /* the last tensor (nearest the loss) whose gradient is not finite, -1: none known */
  double sync_s, update_s; /* this member's time in exchange (waiting included) and in applying */
} dl_sync_result;

/* Makes weights (zero), optimizer state (zero) and gradient buffers. Borrows team and group. Errors are agreed on. With
 * transport auto, shared memory is taken where all members are on one node and it can be had; else a warning and
 * messages. */
dl_status dl_sync_new(dl_team *team, const dl_param_group *group, const dl_sync_options *options, dl_sync **out);
void dl_sync_destroy(dl_sync **sync);
const char *dl_sync_transport(const dl_sync *sync); /* "shm", "mpi" or "ps" */
/* Says to workers outside the team that there is no more work, and why: DL_OK when training is completed. */
void dl_sync_dismiss(dl_sync *sync, dl_status status);
/* ssp and asp: how old weights were; NULL where they are never old. On the first member. Not collective. */
const dl_ps_staleness *dl_sync_staleness(const dl_sync *sync);
/* Bytes this synchroniser holds: of this member and, shared, of its node. Not collective. */
void dl_sync_memory(const dl_sync *sync, size_t *member_bytes, size_t *node_bytes);

/* The weights, valid between steps; the same address as long as the synchroniser lives. Not collective. */
const float *dl_sync_weights(const dl_sync *sync);

dl_status dl_sync_begin(dl_sync *sync, const dl_cut *cut);
/* The leaves [*begin, *end) of this member in the step that was begun. Not collective. */
void dl_sync_leaves(const dl_sync *sync, int64_t *begin, int64_t *end);
float *dl_sync_gradients(dl_sync *sync); /* where the next leaf's gradient goes; gaps stay zero */
void dl_sync_leaf_done(dl_sync *sync, int64_t leaf, const double sums[DL_LEAF_SUMS]);
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

/* The table of synchronisers, for `dldist list sync`. */
typedef struct dl_sync_kind {
  const char *name, *help;
} dl_sync_kind;
const dl_sync_kind *dl_sync_kinds(int *n);

#endif

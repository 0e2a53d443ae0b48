/* ps.h - gradient synchronisation by parameter servers: what the caller chooses (floor: comm).
 *
 * A parameter server owns a slice of the weights and of the optimizer's state. Workers push sums of gradients and pull
 * weights over ZeroMQ. Its caller is one of:
 *
 *   DL_PS_TEAM    members of one team: some or all of them serve a slice, the others (or all) compute. Bits equal
 *                 allreduce's. The step is that of dl_sync; only gradients and weights travel otherwise.
 *   DL_PS_SERVE   the members of the team are the servers, and compute no leaves; workers are other processes
 *                 (comm/ps_worker.h) that come and go. dl_sync_finish hands out the step's leaves, takes their sums and
 *                 applies them: the caller's loop, its evaluations and checkpoints are those of any run.
 *   DL_PS_WORKER  has no dl_sync, but a dl_ps_worker.
 */
#ifndef DL_COMM_PS_H
#define DL_COMM_PS_H

#include "core/status.h"

typedef enum dl_ps_role { DL_PS_NONE, DL_PS_TEAM, DL_PS_SERVE, DL_PS_WORKER } dl_ps_role;
/* In the order of DL_CONSISTENCY_NAMES. */
typedef enum dl_ps_consistency { DL_PS_BSP, DL_PS_SSP, DL_PS_ASP } dl_ps_consistency;
/* Whether pushes are applied one by one, rather than a step's sum at once. */
static inline bool dl_ps_is_async(int consistency, int64_t staleness) {
  return consistency == DL_PS_ASP || (consistency == DL_PS_SSP && staleness > 0);
}
/* What ssp and asp do with a push before it is acknowledged: nothing, hand it to the system, or see it onto the disk.
 * In the order of DL_PS_LOG_NAMES. */
typedef enum dl_ps_log_policy { DL_PS_LOG_NONE, DL_PS_LOG_WRITE, DL_PS_LOG_SYNC } dl_ps_log_policy;
#define DL_PS_ASP_WINDOW 64 /* steps that asp keeps in progress */
#define DL_PS_STALENESSES 32

typedef struct dl_ps_options {
  int role;    /* dl_ps_role */
  int servers; /* TEAM: the last so many members serve and do not compute; 0: all serve and compute */
  const char *bind, *key, *allow; /* SERVE: address of the first server, its key file, its list of keys; borrowed */
  int consistency;                /* SERVE: dl_ps_consistency */
  int64_t staleness;              /* ssp: steps that may be in progress beside the oldest */
  int log;                        /* SERVE: dl_ps_log_policy */
  int64_t log_bytes;              /* SERVE: from here on a log asks for a checkpoint */
  const char *digest;             /* SERVE: of what is computed; workers must have the same. Copied */
  int64_t batch, epoch_samples, epoch_steps; /* SERVE: the sizes of the steps to come */
} dl_ps_options;

/* How old the weights were that pushes were made with, since the start: pushes by the number of updates that were
 * applied in between (the last entry: that many or more), and the most steps in progress at a push. */
typedef struct dl_ps_staleness {
  int64_t pushes[DL_PS_STALENESSES];
  int64_t most_steps;
} dl_ps_staleness;

#endif

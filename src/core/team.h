/* team.h - the members who compute together (floor: core; implementations: src/comm).
 *
 * A member is an MPI rank, a thread of a process, or a thread of an MPI rank. Everything above core and beside comm
 * sees only this interface. Unless it says otherwise a function is Collective: every member calls it, in the same
 * order.
 */
#ifndef DL_CORE_TEAM_H
#define DL_CORE_TEAM_H

#include "core/status.h"

typedef struct dl_team dl_team;

/* One message of dl_team_exchange. */
typedef struct dl_message {
  int peer;   /* the other member */
  int tag;    /* 0 .. 1023; a pair of members uses a tag at most once per direction and call */
  void *data; /* read from when sent, written to when received */
  size_t bytes;
} dl_message;

/* Memory that all members of a node see at the same content (at another address in another process). */
typedef struct dl_shared {
  void *base;
  size_t bytes;
  void *handle; /* the implementation's */
} dl_shared;

typedef struct dl_team_ops {
  const char *name; /* "mpi", "threads", "solo" */
  /* Returns when every member has called it. `what` names the phase in a time-out's message. */
  dl_status (*barrier)(dl_team *team, const char *what);
  /* `root`'s bytes to all. */
  dl_status (*broadcast)(dl_team *team, void *data, size_t bytes, int root);
  /* `bytes` of each member, in member order, into all (size * bytes). `bytes` is equal on all members. */
  dl_status (*allgather)(dl_team *team, const void *send, size_t bytes, void *receive);
  /* Unequal pieces to `root`: counts[r] bytes of member r, in member order; counts is known to all; receive only on
   * root. */
  dl_status (*gather)(dl_team *team, const void *send, const size_t *counts, void *receive, int root);
  /* Point-to-point messages in one phase; returns when all of this member's are done. Sends and receives must match.
   * Members with nothing to say call it too. */
  dl_status (*exchange)(dl_team *team, const dl_message *sends, int n_sends, const dl_message *receives,
                        int n_receives);
  /* Zeroed memory shared by the members of a node, 64-byte aligned, backed by real pages before it returns. All members
   * of the team agree: all have it or all get the same error (DL_ERR_SYSTEM when /dev/shm is too small). */
  dl_status (*shared_new)(dl_team *team, size_t bytes, const char *what, dl_shared *out);
  void (*shared_destroy)(dl_team *team, dl_shared *shared); /* Not collective */
  /* Not collective: ends the whole job now, by exit code (used when the state is unknown). */
  void (*abort)(dl_team *team, int exit_code) __attribute__((noreturn));
} dl_team_ops;

struct dl_team {
  const dl_team_ops *ops;
  int rank, size;           /* this member, 0 .. size - 1, numbered by (node, rank in node) */
  int node, nodes;          /* which node this member is on */
  int node_rank, node_size; /* this member among those of its node */
  int node_first;           /* the member that is node_rank 0 of this node */
  int processes;            /* MPI ranks, 1 without MPI */
  int threads;              /* members in this process */
  double timeout_s;         /* sync.timeout: how long a wait may last before it is an error */
  char host[64];
};

/* Waits, for all; errors of one are errors of all. Every member passes its own status. All return together: DL_OK if
 * all were, else the status of the lowest failing member, whose record every member adopts (with `rank` filled in). */
dl_status dl_team_agree(dl_team *team, dl_status mine);
#ifdef __clang_analyzer__ /* which cannot see that one's own failure is everybody's */
#define dl_team_agree(team, mine) ((mine) != DL_OK ? DL_ERR_INTERNAL : (dl_team_agree)((team), DL_OK))
#endif

static inline dl_status dl_team_barrier(dl_team *team, const char *what) { return team->ops->barrier(team, what); }
static inline dl_status dl_team_broadcast(dl_team *team, void *data, size_t bytes, int root) {
  return team->ops->broadcast(team, data, bytes, root);
}
static inline dl_status dl_team_allgather(dl_team *team, const void *send, size_t bytes, void *receive) {
  return team->ops->allgather(team, send, bytes, receive);
}

/* For phases that wait for somebody's disk (reading data, writing a checkpoint): waits may last an hour or
 * sync.timeout, whatever is more. Returns the old deadline, to be put back into team->timeout_s. Not collective, but
 * called by all. */
static inline double dl_team_be_patient(dl_team *team) {
  double before = team->timeout_s;
  if (team->timeout_s < 3600) team->timeout_s = 3600;
  return before;
}

/* `root`'s string to all as fresh memory (freed by the caller); *text in on root only, out elsewhere. NULL stays NULL.
 */
dl_status dl_team_broadcast_text(dl_team *team, char **text, int root);

/* Unequal pieces to root without knowing the sizes: *out (root only, freed by the caller) holds them in member order.
 */
dl_status dl_team_gather_bytes(dl_team *team, const void *send, size_t bytes, int root, void **out, size_t *out_bytes);

/* Sum over members of int64 counters, in place, on all. Exact. */
dl_status dl_team_sum_i64(dl_team *team, int64_t *values, size_t count);

/* Sum along the canonical tree over `leaves` rows of `width` doubles of which this member holds rows [begin, end) (runs
 * in member order, together all): the same bits on all members and at any size. `rows` is borrowed, `out` has `width`.
 */
dl_status dl_team_tree_sum(dl_team *team, int64_t leaves, int64_t begin, int64_t end, int width, const double *rows,
                           double *out);

/* Largest value over members. */
dl_status dl_team_max_f64(dl_team *team, double *value);

#endif

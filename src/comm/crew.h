/* crew.h - the members of one process, and how they make a team (floor: comm).
 *
 * A crew is the threads of a process. Member 0 of it runs on the thread that launched; it is the crew's leader and
 * alone speaks on the wire to other processes, where there are any.
 */
#ifndef DL_COMM_CREW_H
#define DL_COMM_CREW_H

#include "comm/gate.h"
#include "comm/wire.h"
#include "core/team.h"

typedef struct dl_crew dl_crew;

/* What a member lays open to the others of its crew during one operation. */
typedef struct dl_post {
  const void *send;
  void *receive;
  const dl_message *sends, *receives;
  int n_sends, n_receives;
} dl_post;

typedef struct dl_member {
  dl_team team; /* first: a dl_team of ours is a dl_member */
  dl_crew *crew;
  int thread;
  dl_post post;
  dl_phase at;   /* for messages */
  dl_status end; /* how its function ended, and why */
  dl_error error;
  _Alignas(DL_CACHE_LINE) _Atomic uint32_t arrivals; /* gates that it came to: names who is missing */
} dl_member;

struct dl_crew {
  dl_gate gate;
  _Alignas(DL_CACHE_LINE) _Atomic int broken; /* somebody has left; `record` says why */
  _Atomic int claimed;                        /* the first who leaves writes the record */
  int threads, spins;
  dl_wire *wire; /* NULL: the only process */
  dl_member *members;
  dl_error record;
  dl_status lead_status; /* the leader's result of the operation in work */
  dl_error lead_error;
  struct dl_mapping *mapping; /* memory that the leader made for all of its process (shared.c) */
};

static inline dl_member *dl_member_of(dl_team *team) { return (dl_member *)(void *)team; }
static inline int dl_process_of(const dl_team *team, int member) { return member / team->threads; }
static inline bool dl_is_local(const dl_team *team, int member) {
  return member / team->threads == team->rank / team->threads;
}
static inline dl_member *dl_crew_member(dl_member *member, int rank) {
  return &member->crew->members[rank % member->crew->threads];
}

/* `wire` may be NULL; it stays the caller's. `cores` tell whether waiting by looking pays. */
dl_status dl_crew_new(int threads, int cores, dl_wire *wire, dl_crew **out);
void dl_crew_destroy(dl_crew **crew);

/* Waits for all members of this process. */
dl_status dl_crew_gate(dl_member *member, const char *what);

/* The leader runs `work` while the others wait; its result is the result of all. Opens and closes with a gate. */
dl_status dl_crew_lead(dl_member *member, const char *what, dl_status (*work)(dl_member *leader, void *context),
                       void *context);

/* How a member waits at gates of its own (those of gradient synchronisation). */
dl_gate_watch dl_member_watch(const dl_member *member);
/* What a gate's end means, for gates of one's own. Who is missing after a time-out: `count_of` gives how many gates a
 * rank of [first, first + n) has come to. */
typedef uint32_t (*dl_gate_count)(const void *context, int rank);
dl_status dl_member_gate_end(dl_member *member, dl_gate_end end, const char *what, dl_gate_count count_of,
                             const void *context, int first, int n);

/* Says that this member will come to no more gates: with `status` and this thread's record. Those who wait for it wake.
 */
void dl_member_leave(dl_member *member, dl_status status);

/* This thread's record to standard error, once a process: what ends the job, where nobody above can say it. */
void dl_crew_say_why(void);

/* The three teams: alone, threads, processes. */
extern const dl_team_ops dl_team_solo_ops, dl_team_threads_ops, dl_team_mpi_ops;

/* shared_new and shared_destroy of all teams (shared.c). */
dl_status dl_member_shared_new(dl_team *team, size_t bytes, const char *what, dl_shared *out);
void dl_member_shared_destroy(dl_team *team, dl_shared *shared);

#endif

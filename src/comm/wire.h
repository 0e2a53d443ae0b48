/* wire.h - messages between processes: the one user of MPI (floor: comm).
 *
 * Called by one thread of each process only, its leader, which is the thread that MPI was initialised on; where MPI
 * allows it, by a second one between the leader's operations: whoever calls holds the wire's lock (dl_wire_claim).
 * Every wait has a deadline. Processes are numbered by (node, rank in node), whatever order the launcher chose.
 */
#ifndef DL_COMM_WIRE_H
#define DL_COMM_WIRE_H

#include "core/status.h"

typedef struct dl_wire dl_wire;

/* What a member is in, for messages about a wait. name NULL: what is waited for says it; step 0: there is none yet. */
typedef struct dl_phase {
  const char *name;
  int64_t step;
} dl_phase;
/* "step 12, phase gradients", or `what`; returns `text`. */
const char *dl_phase_text(dl_phase phase, const char *what, char *text, size_t size);

/* Where this process stands, and what it needs to know of its node. */
typedef struct dl_wire_place {
  int rank, size;
  int node, nodes;
  int node_rank, node_size; /* processes */
  int node_first;           /* process */
  int node_cores;           /* cores that the processes of this host may run on, together */
  int host_size;            /* processes on this host: node_size, unless DLDIST_NODES splits it */
} dl_wire_place;

/* Initialises MPI unless it is; *ours says whether dl_wire_end must finalise it. */
dl_status dl_wire_begin(bool *ours);
void dl_wire_end(bool ours);

/* Over a copy of the MPI_Comm at `communicator` (NULL: all processes). `threads` must be equal on all. Collective. *out
 * is NULL where this process is the only one. */
dl_status dl_wire_new(const void *communicator, int threads, dl_wire **out);
dl_status dl_wire_new_fortran(int communicator, int threads, dl_wire **out);
void dl_wire_destroy(dl_wire **wire);
dl_wire_place dl_wire_where(const dl_wire *wire);

int dl_wire_node_of(const dl_wire *wire, int process);
uint64_t dl_wire_sent_bytes(const dl_wire *wire); /* payload of point-to-point messages to other nodes so far */

/* Who may call MPI now. The leader holds it for a whole operation. */
void dl_wire_claim(dl_wire *wire);
bool dl_wire_try_claim(dl_wire *wire);
void dl_wire_release(dl_wire *wire);
bool dl_wire_any_thread(const dl_wire *wire); /* MPI allows a second thread */

/* Waiting (wire_wait.c). A wait that lasts says so to the others, so that at the deadline those who do not wait are
 * known. Where a process waits outside of the wire its leader calls dl_wire_beat now and then. True: the wait is in
 * vain, a process of this host has died. */
bool dl_wire_beat(dl_wire *wire, double waited_s);
bool dl_wire_is_late(dl_wire *wire, double begin_s); /* beats; true past the deadline, or where the wait is in vain */
void dl_wire_pause(const dl_wire *wire, int64_t turn);
void dl_wire_hear(dl_wire *wire);
void dl_wire_leave(dl_wire *wire); /* says to all that this process ends the job, and has said why */
/* Names the missing ranks and their hosts; returns after a while where a lower rank is there to speak. */
dl_status dl_wire_fail_late(dl_wire *wire, const char *what);
/* Messages failed, as `why` says: names this rank, its host and its phase; or the process of its host that has died.
 * Which were lost is not known, so nobody can go on from here. Leaves it to who knows more to end the job before:
 * returns after some seconds. */
dl_status dl_wire_fail_lost(dl_wire *wire, const char *what, const char *why);

/* True after a wait ran out of time, or messages failed: nothing more can be said on this wire. Processes missing are
 * named in the record as members, `threads` of each process. */
bool dl_wire_late(const dl_wire *wire);
bool dl_wire_silent(const dl_wire *wire); /* another process has said why the job ends */
void dl_wire_set_timeout(dl_wire *wire, double timeout_s);
void dl_wire_set_phase(dl_wire *wire, dl_phase phase);

/* Collective over processes; `root` is a process. */
dl_status dl_wire_barrier(dl_wire *wire, const char *what);
dl_status dl_wire_broadcast(dl_wire *wire, void *data, size_t bytes, int root);
dl_status dl_wire_allgather(dl_wire *wire, void *receive, size_t bytes); /* in place: mine lies at rank * bytes */

/* Point to point: any number of posts, then one flush, which every process calls. Buffers stay as they are until then.
 * A pair of processes uses a tag at most once per direction between two flushes. */
dl_status dl_wire_send(dl_wire *wire, const void *data, size_t bytes, int process, int tag);
dl_status dl_wire_receive(dl_wire *wire, void *data, size_t bytes, int process, int tag);
dl_status dl_wire_flush(dl_wire *wire, const char *what);
int dl_wire_tag_limit(const dl_wire *wire); /* tags are below this */

/* The end of a team: every process brings how it ended, all return with the failure of the lowest process that failed.
 * False where the others did not come within `patience_s`: the state is unknown. */
bool dl_wire_last_words(dl_wire *wire, dl_status *status, dl_error *error, double patience_s);

void dl_wire_abort(dl_wire *wire, int exit_code) __attribute__((noreturn));

#endif

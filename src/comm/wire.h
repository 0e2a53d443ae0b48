/* wire.h - messages between processes: the one user of MPI (floor: comm).
 *
 * Called by one thread of each process only, its leader, which is the thread that MPI was initialised on. Every wait
 * has a deadline. Processes are numbered by (node, rank in node), whatever order the launcher chose.
 */
#ifndef DL_COMM_WIRE_H
#define DL_COMM_WIRE_H

#include "core/status.h"

typedef struct dl_wire dl_wire;

/* Where this process stands, and what it needs to know of its node. */
typedef struct dl_wire_place {
  int rank, size;
  int node, nodes;
  int node_rank, node_size; /* processes */
  int node_first;           /* process */
  int node_cores;           /* cores that the processes of this node may run on, together */
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

/* True after a wait ran out of time: nothing more can be said on this wire. Processes missing are named in the record
 * as members, `threads` of each process. */
bool dl_wire_late(const dl_wire *wire);
void dl_wire_set_timeout(dl_wire *wire, double timeout_s);

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

/* wire_private.h - what a wire is made of (floor: comm, private to wire*.c). */
#ifndef DL_COMM_WIRE_PRIVATE_H
#define DL_COMM_WIRE_PRIVATE_H

#include <mpi.h>
#include <pthread.h>

#include "comm/wire.h"

/* What is known of a process of the wire. */
typedef struct dl_wire_peer {
  int node;
  char host[64];
  double heard_s; /* when it last said that it waits */
  pid_t pid;      /* where it can be seen from here, else 0 */
  bool left;      /* it has said that it ends the job */
  bool failed;    /* it has said that messages failed there */
} dl_wire_peer;

struct dl_wire {
  dl_wire_place place;
  MPI_Comm comm, side, flows; /* side: beats and last words; flows: messages beside an operation */
  pthread_mutex_t lock;       /* whoever holds it may call MPI */
  int threads;
  int tag_limit;
  double timeout_s;
  dl_phase phase;
  bool late, crowded;
  bool silent;     /* another process has said why the job ends */
  bool any_thread; /* MPI allows calls from any thread, one at a time */
  double beat_s;   /* when this process last said that it waits */
  double look_s;   /* and last looked whether those of its host live */
  int dead;        /* the process found dead, -1: none */
  dl_wire_peer *peers;
  uint64_t sent_bytes; /* to other nodes */
  MPI_Request *posts;  /* grows to the largest exchange, then stays */
  int n_posts, max_posts;
};

#define DL_TAG_BEAT 1
enum { DL_BEAT_WAITS = 1, DL_BEAT_LEAVES = 2, DL_BEAT_FAILED = 3 }; /* the one byte of a beat */

/* An error of MPI as a status: as it is; and of messages that all wait for, in phase `what` where none is set. */
dl_status dl_wire_check(int code, const char *call);
dl_status dl_wire_check_messages(dl_wire *wire, int code, const char *call, const char *what);
static inline void dl_wire_count(dl_wire *wire, int process, size_t bytes) {
  if (wire->peers[process].node != wire->place.node) wire->sent_bytes += bytes;
}

#endif

/* ps_worker_private.h - what the parts of a worker share (floor: comm, private).
 *
 * ps_worker_join.c connects, converses, says hello and joins; ps_worker.c is the loop of work.
 */
#ifndef DL_COMM_PS_WORKER_PRIVATE_H
#define DL_COMM_PS_WORKER_PRIVATE_H

#include "comm/ps_collect.h"
#include "comm/ps_history.h"
#include "comm/ps_link.h"
#include "comm/ps_share.h"
#include "comm/ps_worker.h"

struct dl_ps_worker {
  dl_ps_worker_options options;
  dl_ps_keys keys;
  char server_key[DL_PS_KEY_TEXT];
  bool locked;
  dl_ps_link **link; /* to each server */
  int servers;
  char (*address)[256];
  int64_t shards;
  uint64_t life, job, sequence;
  uint64_t incarnation; /* of this worker: with the sequence it names each of its pushes */
  dl_ps_history history;
  double heard_s;
  char *introduction;  /* digest and name */
  const dl_half *half; /* NULL: sums are whole floats */
  const dl_param_group *group;
  float *weights;
  int64_t *version; /* of each server's slice */
  size_t *offsets;  /* servers + 1 */
  bool joined;
  dl_ps_task end; /* .end: the server has said so, and why */
  char why[500];
  /* the task in work */
  bool has_task;
  dl_ps_task task;
  dl_tree_node node;
  dl_tree_stack stack;
  float **slot;               /* slot[0], which is pushed, lies in `memory` */
  dl_ps_share *memory;        /* NULL: no server is on this host */
  const dl_ps_share **theirs; /* of each server, NULL: its weights come as messages */
  bool *sees;                 /* each server: reads `memory` */
  double sums[DL_TREE_DEPTH][DL_LEAF_SUMS];
  _Atomic int busy; /* payloads that ZeroMQ still reads */
};

/* How a conversation with a server ended. */
typedef enum dl_ps_heard { DL_PS_ANSWERED, DL_PS_FORGOTTEN, DL_PS_ENDED, DL_PS_FAILED } dl_ps_heard;

static inline size_t dl_ps_worker_slice_bytes(const dl_ps_worker *w, int s) {
  return (w->offsets[s + 1] - w->offsets[s]) * sizeof(float);
}
static inline dl_ps_frame dl_ps_worker_request(const dl_ps_worker *w, int kind) {
  return (dl_ps_frame){.kind = kind, .job = w->job, .life = w->life, .sequence = w->sequence, .version = -1};
}
static inline bool dl_ps_worker_is_stopped(const dl_ps_worker *w) { return w->options.stop && *w->options.stop; }

/* ---- ps_worker_join.c ---- */

void dl_ps_worker_disconnect(dl_ps_worker *w, int linger_ms);
/* Sends `frame` again and again until server `s` answers; the mail is the caller's when it did. `sent`: a first one
 * went with a payload that is not sent again. */
dl_ps_heard dl_ps_worker_converse(dl_ps_worker *w, int s, const dl_ps_frame *frame, const char *text, bool sent,
                                  dl_ps_mail *mail);
/* The servers were silent for too long: an error, FAILED. */
dl_ps_heard dl_ps_worker_fail_silent(const dl_ps_worker *w, int s);
/* From hello on, with new connections: whatever was on the old ones is gone. */
dl_status dl_ps_worker_join_all(dl_ps_worker *w);
/* slot[0] moves into `memory`, or out of it; what it holds is lost. */
void dl_ps_worker_move_slot(dl_ps_worker *w, dl_ps_share *memory);

#endif

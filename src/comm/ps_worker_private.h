/* ps_worker_private.h - what the parts of a worker share (floor: comm, private).
 *
 * ps_worker_join.c connects, converses, says hello and joins; ps_worker.c is the loop of work; ps_worker_flow.c is what
 * travels while leaves are computed.
 */
#ifndef DL_COMM_PS_WORKER_PRIVATE_H
#define DL_COMM_PS_WORKER_PRIVATE_H

#include "comm/ps_collect.h"
#include "comm/ps_history.h"
#include "comm/ps_link.h"
#include "comm/ps_parts.h"
#include "comm/ps_share.h"
#include "comm/ps_worker.h"
#include "comm/sync_topk.h"

/* How a conversation with a server ended. */
typedef enum dl_ps_heard { DL_PS_ANSWERED, DL_PS_FORGOTTEN, DL_PS_ENDED, DL_PS_FAILED } dl_ps_heard;

/* A server's slice on its way. */
typedef struct dl_ps_flow {
  dl_ps_part whole, *parts;
  int n;
  int to_push; /* parts from to_push on are on their way to the server */
  /* weights */
  uint64_t sequence; /* of the request that they answer */
  int64_t version;   /* of the parts that have come; -1: none has */
  bool told;         /* the answer has said that it is this one */
  bool *have;        /* each part */
  int missing;
} dl_ps_flow;

struct dl_ps_worker {
  dl_ps_worker_options options;
  dl_ps_keys keys;
  char server_key[DL_PS_KEY_TEXT];
  bool locked;
  dl_ps_link **link; /* to each server */
  int servers;
  char (*address)[256];
  int64_t shards, part_bytes;
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
  dl_block_ref *blocks;
  int64_t n_blocks;
  dl_ps_flow *flow;       /* each server's slice */
  dl_topk *topk;          /* NULL: sums are whole */
  float *residual_before; /* what it had left behind before the present unit, from element thinned_from on */
  size_t thinned_from;
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
  int last_merges;    /* of its last leaf, once that has begun to deliver; -1: not yet */
  size_t merged_from; /* from here on they are done */
  bool early;         /* some slices are pushed in parts */
  bool pushing;       /* the push has its number */
  dl_ps_heard lost;   /* ANSWERED, or what befell parts on their way: the task is no longer worth anything */
  dl_error error;     /* FAILED */
  _Atomic int busy;   /* payloads that ZeroMQ still reads */
};

static inline size_t dl_ps_worker_slice_bytes(const dl_ps_worker *w, int s) {
  return (w->offsets[s + 1] - w->offsets[s]) * sizeof(float);
}
static inline dl_ps_frame dl_ps_worker_request(const dl_ps_worker *w, int kind) {
  return (dl_ps_frame){.kind = kind, .job = w->job, .life = w->life, .sequence = w->sequence, .version = -1};
}

/* ---- ps_worker_join.c ---- */

void dl_ps_worker_disconnect(dl_ps_worker *w, int linger_ms);
/* Sends `frame` again and again until server `s` answers; the mail is the caller's when it did. `sent`: a first one
 * went with a payload that is not sent again. */
dl_ps_heard dl_ps_worker_converse(dl_ps_worker *w, int s, const dl_ps_frame *frame, const char *text, bool sent,
                                  dl_ps_mail *mail);
/* Whether server `s` says that there is no more work: the first one alone may. */
bool dl_ps_worker_is_the_end(dl_ps_worker *w, int s, dl_ps_mail *mail);
/* Whether there is still something to wait for of server `s`, with the first one's end seen meanwhile: ANSWERED; else
 * ENDED, or FAILED with a record (told to stop, silent for too long since w->heard_s). */
dl_ps_heard dl_ps_worker_patience(dl_ps_worker *w, int s);
/* The same of what happens here alone, since `begin_s`. */
dl_ps_heard dl_ps_worker_patience_since(const dl_ps_worker *w, int s, double begin_s);
/* From hello on, with new connections: whatever was on the old ones is gone. */
dl_status dl_ps_worker_join_all(dl_ps_worker *w);
/* slot[0] moves into `memory`, or out of it; what it holds is lost. */
void dl_ps_worker_move_slot(dl_ps_worker *w, dl_ps_share *memory);

/* ---- ps_worker.c ---- */

void dl_ps_worker_note_push(const dl_ps_worker *w, const char *what, int s);

/* ---- ps_worker_flow.c ---- */

/* When group and number of servers are known. */
dl_status dl_ps_worker_plan(dl_ps_worker *w);
void dl_ps_worker_clear_flow(dl_ps_worker *w);
/* Nothing is on its way: before joining. Afterwards: which servers share this host is known. */
void dl_ps_worker_reset_flow(dl_ps_worker *w);
void dl_ps_worker_note_sharing(dl_ps_worker *w);
/* How server `s` may give its slice, for a frame's status; `views`: in memory too. */
int32_t dl_ps_worker_ways(const dl_ps_worker *w, int s, bool views);
/* What server `s` answers behind all that it sent before, without weights. */
dl_ps_frame dl_ps_worker_echo(const dl_ps_worker *w, int s);
/* The request with the present sequence may be answered with weights in parts; it is not, or it is by those that
 * `frame` announces (false: nobody asked for them). */
void dl_ps_worker_expect(dl_ps_worker *w, int s);
void dl_ps_worker_expect_none(dl_ps_worker *w, int s);
bool dl_ps_worker_expect_parts(dl_ps_worker *w, int s, const dl_ps_frame *frame);
/* Whether this is a part of a slice's weights: taken in, or passed by where it is not awaited. */
bool dl_ps_worker_take_part(dl_ps_worker *w, int s, dl_ps_mail *mail);
/* The push of the task that is done, what is not on its way yet. False: w->lost says why. */
bool dl_ps_worker_push(dl_ps_worker *w);
/* Whether it counts: what a sum that does not has left behind is forgotten. */
void dl_ps_worker_thinned(dl_ps_worker *w, bool counts);

#endif

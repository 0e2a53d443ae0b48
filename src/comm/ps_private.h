/* ps_private.h - what the two ways of parameter servers share (floor: comm, private).
 *
 * sync_ps.c cuts the slices, applies what was summed and has the team's way of bringing it together; ps_serve.c is the
 * other way, with workers that come and go (ps_serve_open.c begins and ends it; ps_push.c and ps_durable.c are ssp and
 * asp); ps_apply.c applies.
 */
#ifndef DL_COMM_PS_PRIVATE_H
#define DL_COMM_PS_PRIVATE_H

#include "comm/ps_collect.h"
#include "comm/ps_crc.h"
#include "comm/ps_history.h"
#include "comm/ps_link.h"
#include "comm/ps_log.h"
#include "comm/ps_parts.h"
#include "comm/ps_share.h"
#include "comm/ps_units.h"
#include "comm/sync_common.h"

#define DL_PS_SECRET_BYTES 32
#define DL_PS_MAX_WORKERS 4096

typedef struct dl_ps_serve dl_ps_serve;

typedef struct dl_ps {
  dl_ps_options options;
  char digest[65];
  int servers, first_server; /* the members that serve: first_server .. first_server + servers - 1 */
  int server;                /* this member's number among them, -1: it does not serve */
  size_t *offsets;           /* servers + 1: where slices begin, in floats */
  int64_t *blocks;           /* servers + 1: and in blocks */
  int64_t widest;            /* blocks of the widest slice */
  size_t begin, end;         /* this member's floats */
  dl_shared shared;          /* on one node: the weights */
  float *private_weights;
  float *state, *means; /* n_slots x slice; count, where the norm comes first */
  dl_header *header;    /* this member's */
  double *send, *all;   /* sums of blocks, for gathering */
  dl_ps_link *link;     /* listens; NULL where this member does not serve */
  uint64_t life, job;
  dl_ps_collect collect;       /* SERVE */
  const dl_ps_collect *folded; /* what is being applied, and its first float */
  size_t folded_begin;
  struct owner *spare;  /* ps_sum.c: buffers between their uses */
  dl_message *messages; /* 2 x size */
  /* TEAM */
  dl_shared sums;                    /* on one node: all members' gradient buffers, and nothing travels */
  dl_ps_link **out;                  /* to each server, NULL for itself */
  dl_status pushed;                  /* how pushing went in this step */
  struct dl_ps_bucket *buckets;      /* of all slices, in order; NULL on one node */
  int n_buckets, to_push;            /* buckets from to_push on are pushed */
  int *awaited;                      /* each server: the bucket whose weights it sends next */
  int64_t weights_step;              /* the step that they are of */
  dl_tree_node cover[DL_TREE_DEPTH]; /* this member's nodes, by slot */
  int n_cover;
  _Atomic int busy; /* pushes that ZeroMQ still reads */
  char *folder;     /* where the socket's file is until all are connected */
  /* SERVE */
  dl_ps_serve *serve;
} dl_ps;

/* What travels as one. */
typedef struct dl_ps_bucket {
  int server;
  dl_ps_part part;
  dl_ps_collect collect; /* the server's */
} dl_ps_bucket;

static inline dl_ps *dl_ps_of(const dl_sync *sync) { return sync->own; }
static inline size_t dl_ps_slice(const dl_ps *own) { return own->end - own->begin; }

/* The parts of a push that have come. */
typedef struct dl_ps_gather {
  uint64_t sequence; /* of the push */
  int64_t step;
  dl_tree_node node;
  bool *have; /* each part; NULL: none has ever come */
  int missing;
  struct owner *owner; /* whose buffer they are in; NULL: none has come */
} dl_ps_gather;

/* A worker as a server knows it. */
typedef struct dl_ps_client {
  dl_ps_peer peer;
  char name[DL_PS_NAME_BYTES];
  bool here, idle;
  uint64_t incarnation;      /* of the process that it is */
  uint64_t sequence;         /* of its last request for work */
  bool taken;                /* that request brought a push, which is in */
  int64_t has;               /* the version of the weights that it has */
  const dl_ps_share *memory; /* where its sums can be read; NULL: they come as messages */
  bool shared;               /* it has said SHARE since it joined */
  bool views, in_parts;      /* its last request can read serve->memory; takes a slice in parts */
  uint64_t pushed;           /* the sequence of its last push that was looked at */
  dl_ps_gather gather;       /* the push that comes */
} dl_ps_client;

/* A unit that some server's log has, and whether all have it. */
typedef struct dl_ps_restored {
  int64_t step;
  dl_tree_node node;
  bool done;
} dl_ps_restored;

/* A push that was applied (ssp, asp). */
typedef struct dl_ps_applied {
  int64_t step;
  dl_tree_node node;
} dl_ps_applied;

/* A slice's weights as messages, for all who ask. */
typedef struct dl_ps_snapshot {
  zmq_msg_t *part; /* NULL: none */
  uint32_t *crc;
  int n;
  int64_t version;
} dl_ps_snapshot;

struct dl_ps_serve {
  dl_ps_client *workers; /* DL_PS_MAX_WORKERS */
  int n;
  dl_ps_units units; /* first server */
  char *welcome;
  char secret[DL_PS_SECRET_BYTES];
  dl_ps_link **others; /* first server: to each of the others */
  dl_ps_share *memory; /* the slice for who shares this host; made when the first one comes */
  dl_ps_part whole;    /* the slice, and how it is cut where it travels in parts */
  dl_ps_part *parts;
  int n_parts;
  dl_ps_snapshot snapshot[2]; /* whole, in parts */
  int64_t version;
  int64_t step; /* steps done before the one in progress */
  bool closed, given_up, not_finite, stopping;
  dl_ps_applied *seen; /* ssp, asp: pushes that were applied, of steps in progress */
  int n_seen;
  int64_t seen_room;
  double ticked_s, lonely_s;
  dl_ps_staleness staleness;
  /* what outlasts this process (ps_durable.c) */
  dl_ps_log *log;  /* NULL: none */
  uint32_t *words; /* an entry's values as the log has them, where these are few elements; NULL: not yet */
  bool log_fits;
  int64_t replayed, to_replay; /* entries that this life has applied again, of those that it began with */
  dl_ps_restored *restored;    /* in the order of steps and leaves */
  int n_restored;
  dl_ps_history history;
};

/* Whether workers outside the team push few elements: top-k, in ssp and asp. */
static inline bool dl_ps_serve_is_few(const dl_sync *sync) {
  return !sync->workers && sync->options.compress == DL_COMPRESS_TOPK;
}

/* ---- ps_sum.c ---- */

/* Takes a pushed slice, or a bucket, over as a node's sum: values that can be written to, and the owner for
 * own->collect; or borrowed ones, where it is said to lie in `memory` (NULL: nowhere). False: no memory, or it is not
 * what `part` says. */
bool dl_ps_take_sum(dl_sync *sync, dl_ps_mail *mail, const dl_ps_part *part, const float *memory, dl_ps_sum *out);
/* The same for a part of a slice: `out` is set when all are there, which are then forgotten. A part that has come is
 * passed by, as is one of an older push; one of a newer push begins anew. */
typedef enum dl_ps_gathered { DL_PS_PART_IN, DL_PS_PART_LAST, DL_PS_PART_BAD, DL_PS_PART_NO_ROOM } dl_ps_gathered;
dl_ps_gathered dl_ps_gather_part(dl_sync *sync, dl_ps_gather *gather, const dl_ps_mail *mail, dl_ps_sum *out);
/* Its worker is gone. */
void dl_ps_gather_drop(dl_ps_gather *gather);
/* For own->collect. */
bool dl_ps_sum_keep(void *own, dl_ps_sum *sum);
void dl_ps_sum_release(void *owner);
/* At the end, when all sums are released. */
void dl_ps_sum_forget(dl_ps *own);

/* ---- sync_ps_flow.c: members of several nodes ---- */

dl_status dl_ps_flow_setup(dl_sync *sync);
void dl_ps_flow_clear(dl_ps *own);
dl_status dl_ps_flow_begin(dl_sync *sync);
/* This member's sums are final from element `from` on. */
void dl_ps_flow_ready(dl_sync *sync, size_t from);
/* Until all nodes of this server's slice are there. */
dl_status dl_ps_flow_collect(dl_sync *sync);
/* The new weights of this server's slice to all; from then on everybody's are awaited. */
dl_status dl_ps_flow_send(dl_sync *sync);
/* Until the weights before element `end` have come. */
dl_status dl_ps_flow_await(dl_sync *sync, size_t end);
/* The next frame of this life of the servers; a wait that is too long is an error that names `what`. */
dl_status dl_ps_next_mail(const dl_sync *sync, dl_ps_link *link, const char *what, dl_ps_mail *mail);
dl_status dl_ps_fail_late(const dl_sync *sync, const char *whom, const char *what);

/* ---- ps_apply.c ---- */

/* Sums along the tree of the slice (which wait in own->sums or own->collect), their penalties and squares; the norm
 * over all servers; the step. Collective over the team. */
dl_status dl_ps_apply(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result);
/* One push as a step of its own, over this server's slice alone: what its values are multiplied with, those of running
 * averages for themselves, and the share that its leaves have in the batch. */
typedef struct dl_ps_alone {
  float factor, running_factor;
  double share;
} dl_ps_alone;
/* The norm of its gradient; false: it is not finite. Not collective. */
bool dl_ps_look_alone(dl_sync *sync, const float *values, const dl_ps_alone *how, double *norm);
/* `clip`: the gradient is multiplied with that too. Not collective. */
void dl_ps_apply_alone(dl_sync *sync, const float *values, const dl_ps_alone *how, float clip);
/* Doubles of all blocks, `width` a block: every server's slice to all. Collective. */
dl_status dl_ps_gather_blocks(dl_sync *sync, double *values, size_t width);

/* ---- ps_weights.c ---- */

/* An answer with the slice as it is now, where that is wanted: in memory, in parts that follow, or as its payload, as
 * the worker said. False: it could not be sent. */
bool dl_ps_serve_send_weights(const dl_sync *sync, const dl_ps_client *to, dl_ps_frame *frame, bool wanted);
void dl_ps_serve_forget_weights(dl_ps_serve *serve);

/* ---- ps_serve_memory.c: workers on this host ---- */

/* SHARE: the handler of ps_serve.c. */
dl_status dl_ps_serve_share(dl_sync *sync, dl_ps_client *worker, const dl_ps_mail *mail);
/* Where this server's slice of the worker's sum lies, NULL: it comes as a message. */
const float *dl_ps_serve_sums(const dl_ps *own, const dl_ps_client *worker);
/* Before the worker's memory may be written to or goes: sums that are still read there are copied. False: no memory. */
bool dl_ps_serve_own(dl_ps *own, const dl_ps_client *worker);
/* Puts the present weights where workers of this host read them. */
void dl_ps_serve_view(const dl_sync *sync);
/* Where those of the next version go, block by block; NULL: nobody reads them. Then, when the version has come, the
 * end. */
float *dl_ps_serve_begin_view(const dl_sync *sync);
void dl_ps_serve_end_view(const dl_sync *sync);

/* ---- ps_serve_open.c ---- */

dl_status dl_ps_serve_setup(dl_sync *sync);
void dl_ps_serve_teardown(dl_sync *sync);

/* ---- ps_serve.c ---- */

dl_status dl_ps_serve_begin(dl_sync *sync);
/* Hands out the step and waits until its sums are there; writes own->header. */
dl_status dl_ps_serve_step(dl_sync *sync);
/* After the weights have changed. */
void dl_ps_serve_applied(dl_sync *sync);
bool dl_ps_serve_is_async(const dl_sync *sync);
/* What became of the step in ssp and asp. */
bool dl_ps_serve_finite(const dl_sync *sync);
void dl_ps_serve_dismiss(dl_sync *sync, dl_status status);
const dl_ps_staleness *dl_ps_serve_staleness(const dl_sync *sync);

/* ---- ps_push.c ---- */

/* A push of worker `w`: applied to this server's slice and logged, or passed by where its unit was applied before. */
dl_status dl_ps_serve_push(dl_sync *sync, const dl_ps_client *w, const dl_ps_mail *mail, const float *values);
/* The values of an entry of the log. */
dl_status dl_ps_serve_logged(const dl_sync *sync, const dl_ps_log_entry *entry, float *values);
/* Applies it as a step of the optimizer's own; `entry` and `values` come from the log (`again`), or go there. */
dl_status dl_ps_serve_apply(dl_sync *sync, const dl_ps_log_entry *entry, const float *values, bool again);

/* ---- ps_durable.c ---- */

/* Opens this server's log under `folder` (NULL: none is kept), which goes on from the weights as they are, those of
 * `step`; `anew`: what is in it is of another run. Collective. */
dl_status dl_ps_durable_open(dl_sync *sync, const char *folder, int64_t step, bool anew);
void dl_ps_durable_close(dl_ps_serve *serve);
/* The last step of which a push is to be applied again while serve->step is in progress; -1: none. */
int64_t dl_ps_durable_reach(const dl_ps_serve *serve);
/* A step that was just opened has its units as they were cut before (first server). */
dl_status dl_ps_durable_restore(dl_ps_serve *serve, int64_t step);
/* Applies what was applied while serve->step was in progress. */
dl_status dl_ps_durable_replay(dl_sync *sync);
/* Whether the log has a push that is yet to be applied again. */
bool dl_ps_durable_has(const dl_ps_serve *serve, int64_t step, dl_tree_node node);
bool dl_ps_durable_is_full(const dl_sync *sync);
/* A checkpoint has the weights of `step`. Collective. */
dl_status dl_ps_durable_saved(dl_sync *sync, int64_t step);

#endif

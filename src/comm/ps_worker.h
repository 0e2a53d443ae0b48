/* ps_worker.h - a worker of parameter servers: one thread of any process that can reach them (floor: comm).
 *
 *   dl_ps_worker_open      says hello and learns the number of shards
 *   dl_ps_worker_join      says what it would compute, and is let in or not
 *   while dl_ps_worker_next(worker, &task) gives one:
 *     for each leaf of the task:  gradients = dl_ps_worker_gradients(worker); ...backward writes them, beta = 0...;
 *                                 dl_ps_worker_leaf_done(worker, leaf, sums)
 *   with overlap, on the way:     dl_ps_worker_await before weights are read; dl_ps_worker_ready as gradients are
 * written dl_ps_worker_leave, dl_ps_worker_close
 *
 * A worker may begin and end at any time. When its servers go and come back it joins them anew. Nothing here is
 * collective; a worker belongs to one thread.
 */
#ifndef DL_COMM_PS_WORKER_H
#define DL_COMM_PS_WORKER_H

#include <signal.h>

#include "core/group.h"
#include "core/tree.h"

typedef struct dl_ps_worker dl_ps_worker;

typedef struct dl_ps_worker_options {
  const char *address;          /* of the first server */
  const char *key, *server_key; /* files; NULL: none */
  double timeout_s;             /* how long servers may be silent */
  bool messages;                /* nothing is shared in memory, even on one host */
  bool overlap;                 /* slices travel in parts while the caller computes; else all of it while it waits */
  int compress;  /* dl_compress: every node is rounded so, and travels in 16 bits. topk: a unit's sum is thinned
                    (comm/sync_topk.h); what stays behind is this worker's, and goes with it */
  double topk;   /* DL_COMPRESS_TOPK: the share of each block that is sent */
  int64_t batch; /* DL_COMPRESS_TOPK: samples of a whole batch */
  const volatile sig_atomic_t *stop;
} dl_ps_worker_options;

typedef struct dl_ps_task {
  bool end;         /* there is no more work, and never will be: `status` says why */
  dl_status status; /* DL_OK: training is completed */
  int64_t step;     /* steps done before this one */
  int64_t samples;  /* of its batch */
  int64_t begin_leaf, end_leaf;
} dl_ps_task;

dl_status dl_ps_worker_open(const dl_ps_worker_options *options, dl_ps_worker **out, int64_t *shards);
/* Where `timeout_s` is over without a sound from the servers: DL_ERR_TRAIN. `weights` (group->count) is written to by
 * dl_ps_worker_next; group and weights are borrowed. */
dl_status dl_ps_worker_join(dl_ps_worker *worker, const dl_param_group *group, float *weights, const char *digest,
                            const char *name);
/* Delivers the task that is done, waits for the next, and brings the weights up to it; with overlap they come later:
 * whoever reads them waits before (dl_ps_worker_await). DL_ERR_STOPPED when *stop is set meanwhile. */
dl_status dl_ps_worker_next(dl_ps_worker *worker, dl_ps_task *out);
float *dl_ps_worker_gradients(dl_ps_worker *worker); /* NULL: no memory */
/* Waits until the weights before element `end` have come. Where they do not come the task is not worth computing, which
 * does no harm: dl_ps_worker_next then goes on with another, or says what is wrong. */
void dl_ps_worker_await(dl_ps_worker *worker, size_t end);
/* The gradient of `leaf` is written from element `from` on, and stays so; `sums` are known. Optional. */
void dl_ps_worker_ready(dl_ps_worker *worker, int64_t leaf, size_t from, const double sums[DL_LEAF_SUMS]);
void dl_ps_worker_leaf_done(dl_ps_worker *worker, int64_t leaf, const double sums[DL_LEAF_SUMS]);
/* Tells the servers that this worker goes; `why` is for their log. */
void dl_ps_worker_leave(dl_ps_worker *worker, const char *why);
void dl_ps_worker_close(dl_ps_worker **worker);

#endif

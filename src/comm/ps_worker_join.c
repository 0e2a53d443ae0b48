/* Every message of a worker is a request with a number that its answer repeats; without an answer the request is made
 * again. What answers an older request is not looked at. A server that has forgotten this worker (it thought it dead,
 * or has begun a new life itself) says so: the worker then begins again with hello, and what it had computed is
 * dropped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "comm/ps_worker_private.h"
#include "core/clock.h"
#include "core/mem.h"

#define MAX_SERVERS 1024
#define AGAIN_S 1.0 /* without an answer the request is made again */
#define WAIT_MS 100
#define MAX_TRIES 50
#define QUEUE 64 /* messages, beside the parts of a slice */

/* ---- connections ---- */

/* Behind the end only the first server still listens. */
void dl_ps_worker_disconnect(dl_ps_worker *w, int linger_ms) {
  for (int s = 0; s < w->servers; s++) dl_ps_link_close(&w->link[s], w->end.end && s ? 0 : linger_ms);
}

static dl_status connect_to(dl_ps_worker *w, int s, size_t most, int parts) {
  if (w->link[s]) return DL_OK;
  dl_ps_link_options options = {.address = w->address[s],
                                .keys = w->locked ? &w->keys : NULL,
                                .server_key = w->server_key,
                                .max_bytes = most,
                                .queue = QUEUE,
                                .parts = parts};
  return dl_ps_link_connect(&options, &w->link[s]);
}

dl_ps_heard dl_ps_worker_patience_since(const dl_ps_worker *w, int s, double begin_s) {
  if (w->options.stop && *w->options.stop) return dl_fail(DL_ERR_STOPPED, "this worker was told to stop"), DL_PS_FAILED;
  if (dl_now_s() - begin_s <= w->options.timeout_s) return DL_PS_ANSWERED;
  dl_fail(DL_ERR_TRAIN, "no sound from the parameter server at %s for %.0f s", w->address[s], w->options.timeout_s);
  dl_hint(w->locked ? "is it there, is this worker's key on its list, and is sync.server_key its key?"
                    : "is it there, and does it want keys? sync.timeout says how long is waited");
  return DL_PS_FAILED;
}

/* The text that came with an answer, for %.*s. */
static int text_bytes(const dl_ps_mail *mail) {
  const size_t bytes = zmq_msg_size(&mail->payload);
  return bytes < sizeof((dl_ps_worker *)0)->why ? (int)bytes : (int)sizeof((dl_ps_worker *)0)->why - 1;
}

bool dl_ps_worker_is_the_end(dl_ps_worker *w, int s, dl_ps_mail *mail) {
  if (mail->frame.kind != DL_PS_END || s != 0 || (w->job && mail->frame.job != w->job)) return false;
  w->end = (dl_ps_task){.end = true, .status = (dl_status)mail->frame.status};
  snprintf(w->why, sizeof w->why, "%.*s", text_bytes(mail), (const char *)zmq_msg_data(&mail->payload));
  return true;
}

/* Whether the first one says the end while another is waited for, which may be gone; it may also send what is left of
 * its weights. */
static bool hears_the_end(dl_ps_worker *w) {
  dl_ps_mail mail;
  while (!w->end.end && w->link[0] && dl_ps_link_receive(w->link[0], &mail)) {
    if (!dl_ps_worker_is_the_end(w, 0, &mail)) dl_ps_worker_take_part(w, 0, &mail);
    dl_ps_mail_done(&mail);
  }
  return w->end.end;
}

dl_ps_heard dl_ps_worker_patience(dl_ps_worker *w, int s) {
  return s > 0 && hears_the_end(w) ? DL_PS_ENDED : dl_ps_worker_patience_since(w, s, w->heard_s);
}

/* Whether this frame ends the wait for an answer. */
static bool judge(dl_ps_worker *w, int s, dl_ps_mail *mail, dl_ps_heard *how) {
  w->heard_s = dl_now_s();
  if (dl_ps_worker_is_the_end(w, s, mail)) return *how = DL_PS_ENDED, true;
  if (dl_ps_worker_take_part(w, s, mail)) return false;
  if (mail->frame.sequence != w->sequence || mail->frame.kind == DL_PS_PING) return false;
  if (mail->frame.kind == DL_PS_STALE && mail->frame.status) return *how = DL_PS_FORGOTTEN, true;
  return *how = DL_PS_ANSWERED, true;
}

static dl_ps_heard converse_bytes(dl_ps_worker *w, int s, const dl_ps_frame *frame, const void *text, size_t bytes,
                                  bool sent, dl_ps_mail *mail) {
  double asked = sent ? dl_now_s() : -1e9;
  dl_ps_heard how = DL_PS_ANSWERED;
  for (;;) {
    while (dl_ps_link_receive(w->link[s], mail)) {
      const bool over = judge(w, s, mail, &how);
      if (!over || how != DL_PS_ANSWERED) dl_ps_mail_done(mail);
      if (over) return how;
    }
    if ((how = dl_ps_worker_patience(w, s)) != DL_PS_ANSWERED) return how;
    const double now = dl_now_s();
    if (now - asked > AGAIN_S) {
      dl_ps_link_send_copy(w->link[s], NULL, frame, text, bytes);
      asked = now;
    }
    dl_ps_link_wait(w->link[s], WAIT_MS);
  }
}

dl_ps_heard dl_ps_worker_converse(dl_ps_worker *w, int s, const dl_ps_frame *frame, const char *text, bool sent,
                                  dl_ps_mail *mail) {
  return converse_bytes(w, s, frame, text, strlen(text), sent, mail);
}

/* ---- hello ---- */

static dl_status bad_welcome(const dl_ps_worker *w) {
  return dl_fail(DL_ERR_TRAIN, "the server at %s gives an answer that cannot be understood", w->address[0]);
}

/* "shards servers bytes", how long a part of a slice is, and a line for each server that is not the first. */
static dl_status read_welcome(dl_ps_worker *w, const char *text) {
  long long shards, bytes;
  int servers, at;
  if (sscanf(text, "%lld %d %lld%n", &shards, &servers, &bytes, &at) != 3 || shards < 1 || servers < 1 ||
      servers > MAX_SERVERS || bytes < 1)
    return bad_welcome(w);
  dl_ps_link **link = dl_reallocarray(w->link, (size_t)servers, sizeof *link);
  if (link) w->link = link;
  char(*address)[256] = link ? dl_reallocarray(w->address, (size_t)servers, sizeof *address) : NULL;
  if (!address) return DL_ERR_NOMEM;
  w->address = address;
  for (int s = w->servers; s < servers; s++) w->link[s] = NULL;
  if (w->group && (shards != w->shards || servers != w->servers)) {
    dl_fail(DL_ERR_TRAIN, "the servers came back as %d with %lld shards: they were %d with %lld", servers, shards,
            w->servers, (long long)w->shards);
    return dl_hint("start this worker again");
  }
  w->servers = servers;
  w->shards = shards;
  w->part_bytes = bytes;
  for (int s = 1; s < servers; s++) {
    char line[256];
    text += at;
    if (sscanf(text, " %255s%n", line, &at) != 1) return bad_welcome(w);
    if (strcmp(line, "-")) memcpy(w->address[s], line, sizeof line);
    if (!strcmp(line, "-")) DL_TRY(dl_ps_address_of(w->address[0], s, w->address[s], sizeof w->address[s]));
  }
  return DL_OK;
}

/* To the first server. */
static dl_status say_hello(dl_ps_worker *w, dl_ps_heard *how) {
  dl_ps_mail mail;
  w->sequence++;
  dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_HELLO);
  *how = dl_ps_worker_converse(w, 0, &frame, "", false, &mail);
  if (*how == DL_PS_FAILED) return dl_error_last()->status;
  if (*how == DL_PS_ENDED) return DL_OK;
  if (*how == DL_PS_FORGOTTEN) return bad_welcome(w);
  dl_status status = mail.frame.kind == DL_PS_WELCOME ? DL_OK : bad_welcome(w);
  if (status == DL_OK) {
    char *text = dl_calloc(zmq_msg_size(&mail.payload) + 1, 1);
    if (text) memcpy(text, zmq_msg_data(&mail.payload), zmq_msg_size(&mail.payload));
    w->life = mail.frame.life;
    w->job = mail.frame.job;
    status = text ? read_welcome(w, text) : DL_ERR_NOMEM;
    free(text);
  }
  dl_ps_mail_done(&mail);
  return status;
}

static dl_status meet(dl_ps_worker *w) {
  dl_ps_heard how;
  DL_TRY(connect_to(w, 0, 0, 0));
  DL_TRY(say_hello(w, &how));
  if (how != DL_PS_ENDED) return DL_OK;
  if (w->end.status == DL_OK) return dl_fail(DL_ERR_TRAIN, "%s: the training is over", w->address[0]);
  return dl_fail(DL_ERR_TRAIN, "%s: the server is ending: %s", w->address[0], w->why);
}

dl_status dl_ps_worker_open(const dl_ps_worker_options *options, dl_ps_worker **out, int64_t *shards) {
  dl_ps_worker *w = *out = dl_calloc(1, sizeof *w);
  if (!w) return DL_ERR_NOMEM;
  w->options = *options;
  w->half = dl_half_of(options->compress);
  w->servers = 1;
  w->link = dl_calloc(1, sizeof *w->link);
  w->address = dl_calloc(1, sizeof *w->address);
  dl_status status = w->link && w->address ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_ps_address_of(options->address, 0, w->address[0], sizeof w->address[0]);
  if (status == DL_OK && options->key) {
    w->locked = true;
    status = dl_ps_keys_read(options->key, &w->keys);
    if (status == DL_OK) status = dl_ps_keys_read_public(options->server_key, w->server_key);
  }
  if (status == DL_OK && getrandom(&w->incarnation, sizeof w->incarnation, 0) != sizeof w->incarnation)
    status = dl_fail(DL_ERR_SYSTEM, "the system gives no random numbers");
  w->incarnation >>= 1; /* never negative in a frame */
  dl_ps_history_open(&w->history, "worker-%016llx", (unsigned long long)w->incarnation);
  w->heard_s = dl_now_s();
  if (status == DL_OK) status = meet(w);
  dl_ps_link_close(&w->link[0], 0); /* the next one knows how long messages may be */
  *shards = w->shards;
  if (status != DL_OK) dl_ps_worker_close(out);
  return status;
}

/* ---- joining ---- */

static dl_status refused(const dl_ps_worker *w, dl_ps_mail *mail) {
  dl_fail(mail->frame.status == DL_ERR_USAGE ? DL_ERR_USAGE : DL_ERR_TRAIN, "%s: %.*s", w->address[0], text_bytes(mail),
          (const char *)zmq_msg_data(&mail->payload));
  return dl_hint(
      "use the server's configuration; sync.* but sync.compress (and topk's sync.topk), train.epochs, paths, "
      "checkpoint.* and log.* may differ");
}

static dl_ps_heard join_one(dl_ps_worker *w, int s) {
  dl_ps_mail mail;
  w->sequence++;
  dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_JOIN);
  frame.version = (int64_t)w->incarnation;
  dl_ps_heard how = dl_ps_worker_converse(w, s, &frame, w->introduction, false, &mail);
  if (how != DL_PS_ANSWERED) return how;
  if (mail.frame.kind != DL_PS_JOINED) {
    mail.frame.kind == DL_PS_REFUSED ? refused(w, &mail) : bad_welcome(w);
    how = DL_PS_FAILED;
  }
  dl_ps_mail_done(&mail);
  return how;
}

/* ---- memory that servers of this host read ---- */

static void close_memory(dl_ps_worker *w) {
  const dl_ps_share *memory = w->memory;
  dl_ps_share_close(&memory);
  w->memory = NULL;
}

void dl_ps_worker_move_slot(dl_ps_worker *w, dl_ps_share *memory) {
  if (!w->memory) free(w->slot[0]);
  close_memory(w);
  w->memory = memory;
  w->slot[0] = memory ? dl_ps_share_data(memory) : NULL;
}

static dl_ps_heard share_with(dl_ps_worker *w, int s) {
  dl_ps_mail mail;
  unsigned char ticket[DL_PS_TICKET_BYTES];
  dl_ps_share_ticket(w->memory, ticket);
  w->sequence++;
  dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_SHARE);
  dl_ps_heard how = converse_bytes(w, s, &frame, ticket, sizeof ticket, false, &mail);
  if (how != DL_PS_ANSWERED) return how;
  w->sees[s] = mail.frame.kind == DL_PS_SHARED && mail.frame.status;
  if (w->sees[s])
    w->theirs[s] = dl_ps_share_open(zmq_msg_data(&mail.payload), mail.frame.payload_bytes,
                                    DL_PS_VIEWS * dl_ps_worker_slice_bytes(w, s));
  dl_ps_mail_done(&mail);
  return how;
}

/* With new memory each time. */
static dl_ps_heard share_with_all(dl_ps_worker *w) {
  bool any = false;
  dl_ps_heard how = DL_PS_ANSWERED;
  for (int s = 0; s < w->servers; s++) {
    dl_ps_share_close(&w->theirs[s]);
    w->sees[s] = false;
  }
  dl_ps_worker_move_slot(w, w->options.messages ? NULL : dl_ps_share_new(w->group->count * sizeof(float)));
  for (int s = 0; s < w->servers && w->memory && how == DL_PS_ANSWERED; s++) {
    how = share_with(w, s);
    any |= w->sees[s];
  }
  if (!any) dl_ps_worker_move_slot(w, NULL);
  return how;
}

/* ---- joining, the whole ---- */

static dl_status join_once(dl_ps_worker *w, dl_ps_heard *how) {
  dl_ps_worker_disconnect(w, 0);
  w->has_task = false;
  dl_ps_worker_reset_flow(w);
  for (int s = 0; s < w->servers; s++) {
    w->version[s] = -1;
    DL_TRY(connect_to(w, s, dl_ps_worker_slice_bytes(w, s), DL_PS_MOST_PARTS));
  }
  DL_TRY(say_hello(w, how));
  for (int s = 0; s < w->servers && *how == DL_PS_ANSWERED; s++) *how = join_one(w, s);
  if (*how == DL_PS_ANSWERED) *how = share_with_all(w);
  if (*how == DL_PS_ANSWERED) DL_TRY(dl_ps_worker_plan(w)); /* servers that begin anew may have other parts */
  if (*how == DL_PS_ANSWERED) dl_ps_worker_note_sharing(w);
  return *how == DL_PS_FAILED ? dl_error_last()->status : DL_OK;
}

dl_status dl_ps_worker_join_all(dl_ps_worker *w) {
  dl_ps_heard how = DL_PS_FORGOTTEN;
  for (int tries = 0; tries < MAX_TRIES; tries++) {
    DL_TRY(join_once(w, &how));
    w->joined = how == DL_PS_ANSWERED;
    if (w->joined || how == DL_PS_ENDED) return DL_OK;
    nanosleep(&(struct timespec){0, 100000000}, NULL);
  }
  return dl_fail(DL_ERR_TRAIN, "the servers at %s forget this worker again and again", w->address[0]);
}

static dl_status allocate(dl_ps_worker *w, const char *digest, const char *name) {
  const dl_param_group *group = w->group;
  w->n_blocks = dl_group_blocks(group);
  w->blocks = dl_calloc((size_t)w->n_blocks, sizeof *w->blocks);
  w->offsets = dl_calloc((size_t)w->servers + 1, sizeof *w->offsets);
  w->version = dl_calloc((size_t)w->servers, sizeof *w->version);
  w->introduction = dl_asprintf("%s%s", digest, name);
  w->slot = dl_calloc(DL_TREE_DEPTH, sizeof *w->slot);
  w->theirs = dl_calloc((size_t)w->servers, sizeof *w->theirs);
  w->sees = dl_calloc((size_t)w->servers, sizeof *w->sees);
  bool all = w->blocks && w->offsets && w->version && w->introduction && w->slot && w->theirs && w->sees;
  if (!all) return DL_ERR_NOMEM;
  dl_group_list_blocks(group, w->blocks);
  for (int s = 0; s <= w->servers; s++) {
    int64_t block = dl_group_slice_begin(group, s, w->servers);
    w->offsets[s] = block < w->n_blocks ? w->blocks[block].offset : group->count;
  }
  if (w->options.compress != DL_COMPRESS_TOPK) return DL_OK;
  const dl_topk_options options = {.fraction = w->options.topk, .batch = w->options.batch, .end_shard = 1};
  w->residual_before = dl_calloc_aligned(group->count, sizeof *w->residual_before);
  w->thinned_from = group->count;
  return w->residual_before ? dl_topk_new(group, w->blocks, &options, &w->topk) : DL_ERR_NOMEM;
}

dl_status dl_ps_worker_join(dl_ps_worker *w, const dl_param_group *group, float *weights, const char *digest,
                            const char *name) {
  w->group = group;
  w->weights = weights;
  DL_TRY(allocate(w, digest, name));
  w->heard_s = dl_now_s();
  return dl_ps_worker_join_all(w);
}

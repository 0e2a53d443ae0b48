/* Every message of a worker is a request with a number that its answer repeats; without an answer the request is made
 * again. What answers an older request is not looked at. A server that has forgotten this worker (it thought it dead,
 * or has begun a new life itself) says so: the worker then begins again with hello, and what it had computed is
 * dropped.
 *
 * With servers on this host slices do not travel (ps_share.h): the sum is made in memory that they read, weights are
 * copied from theirs. What a server may still read is not written to again before it has answered something that came
 * behind the push; in any doubt the worker joins anew, with new memory, and leaves the old to whoever reads it. */
#include "comm/ps_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "comm/ps_collect.h"
#include "comm/ps_history.h"
#include "comm/ps_link.h"
#include "comm/ps_share.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/vector.h"

#define MAX_SERVERS 1024
#define AGAIN_S 1.0 /* without an answer the request is made again */
#define WAIT_MS 100
#define MAX_TRIES 50
#define QUEUE 64
#define LINGER_MS 2000

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
  int slots;
  double sums[DL_TREE_DEPTH][DL_LEAF_SUMS];
  _Atomic int busy; /* payloads that ZeroMQ still reads */
};

/* How a conversation with a server ended. */
typedef enum heard { ANSWERED, FORGOTTEN, ENDED, FAILED } heard;

/* ---- connections ---- */

static size_t slice_bytes(const dl_ps_worker *w, int s) { return (w->offsets[s + 1] - w->offsets[s]) * sizeof(float); }

/* Behind the end only the first server still listens. */
static void disconnect(dl_ps_worker *w, int linger_ms) {
  for (int s = 0; s < w->servers; s++) dl_ps_link_close(&w->link[s], w->end.end && s ? 0 : linger_ms);
}

static dl_status connect_to(dl_ps_worker *w, int s, size_t most) {
  if (w->link[s]) return DL_OK;
  dl_ps_link_options options = {.address = w->address[s],
                                .keys = w->locked ? &w->keys : NULL,
                                .server_key = w->server_key,
                                .max_bytes = most,
                                .queue = QUEUE};
  return dl_ps_link_connect(&options, &w->link[s]);
}

static dl_ps_frame request(const dl_ps_worker *w, int kind) {
  return (dl_ps_frame){.kind = kind, .job = w->job, .life = w->life, .sequence = w->sequence, .version = -1};
}

static bool told_to_stop(const dl_ps_worker *w) { return w->options.stop && *w->options.stop; }

static heard fail_silent(const dl_ps_worker *w, int s) {
  dl_fail(DL_ERR_TRAIN, "no sound from the parameter server at %s for %.0f s", w->address[s], w->options.timeout_s);
  dl_hint(w->locked ? "is it there, is this worker's key on its list, and is sync.server_key its key?"
                    : "is it there, and does it want keys? sync.timeout says how long is waited");
  return FAILED;
}

/* The text that came with an answer, for %.*s. */
static int text_bytes(const dl_ps_mail *mail) {
  const size_t bytes = zmq_msg_size(&mail->payload);
  return bytes < sizeof((dl_ps_worker *)0)->why ? (int)bytes : (int)sizeof((dl_ps_worker *)0)->why - 1;
}

/* Whether server `s` says that there is no more work: the first one alone may. */
static bool is_the_end(dl_ps_worker *w, int s, dl_ps_mail *mail) {
  if (mail->frame.kind != DL_PS_END || s != 0 || (w->job && mail->frame.job != w->job)) return false;
  w->end = (dl_ps_task){.end = true, .status = (dl_status)mail->frame.status};
  snprintf(w->why, sizeof w->why, "%.*s", text_bytes(mail), (const char *)zmq_msg_data(&mail->payload));
  return true;
}

/* While another server is waited for, which may be gone, the first one says nothing else that matters. */
static bool hears_the_end(dl_ps_worker *w) {
  dl_ps_mail mail;
  while (!w->end.end && w->link[0] && dl_ps_link_receive(w->link[0], &mail)) {
    is_the_end(w, 0, &mail);
    dl_ps_mail_done(&mail);
  }
  return w->end.end;
}

/* Whether this frame ends the wait for an answer. */
static bool judge(dl_ps_worker *w, int s, dl_ps_mail *mail, heard *how) {
  w->heard_s = dl_now_s();
  if (is_the_end(w, s, mail)) return *how = ENDED, true;
  if (mail->frame.sequence != w->sequence || mail->frame.kind == DL_PS_PING) return false;
  if (mail->frame.kind == DL_PS_STALE && mail->frame.status) return *how = FORGOTTEN, true;
  return *how = ANSWERED, true;
}

/* Sends `frame` again and again until server `s` answers; the mail is the caller's when it did. `sent`: a
 * first one went with a payload that is not sent again. */
static heard converse_bytes(dl_ps_worker *w, int s, const dl_ps_frame *frame, const void *text, size_t bytes, bool sent,
                            dl_ps_mail *mail) {
  double asked = sent ? dl_now_s() : -1e9;
  heard how = ANSWERED;
  for (;;) {
    while (dl_ps_link_receive(w->link[s], mail)) {
      const bool over = judge(w, s, mail, &how);
      if (!over || how != ANSWERED) dl_ps_mail_done(mail);
      if (over) return how;
    }
    if (s > 0 && hears_the_end(w)) return ENDED;
    if (told_to_stop(w)) return dl_fail(DL_ERR_STOPPED, "this worker was told to stop"), FAILED;
    const double now = dl_now_s();
    if (now - w->heard_s > w->options.timeout_s) return fail_silent(w, s);
    if (now - asked > AGAIN_S) {
      dl_ps_link_send_copy(w->link[s], NULL, frame, text, bytes);
      asked = now;
    }
    dl_ps_link_wait(w->link[s], WAIT_MS);
  }
}

static heard converse(dl_ps_worker *w, int s, const dl_ps_frame *frame, const char *text, bool sent, dl_ps_mail *mail) {
  return converse_bytes(w, s, frame, text, strlen(text), sent, mail);
}

/* ---- hello ---- */

static dl_status bad_welcome(const dl_ps_worker *w) {
  return dl_fail(DL_ERR_TRAIN, "the server at %s gives an answer that cannot be understood", w->address[0]);
}

/* "shards servers", and a line for each server that is not the first. */
static dl_status read_welcome(dl_ps_worker *w, const char *text) {
  long long shards;
  int servers, at;
  if (sscanf(text, "%lld %d%n", &shards, &servers, &at) != 2 || shards < 1 || servers < 1 || servers > MAX_SERVERS)
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
static dl_status say_hello(dl_ps_worker *w, heard *how) {
  dl_ps_mail mail;
  w->sequence++;
  dl_ps_frame frame = request(w, DL_PS_HELLO);
  *how = converse(w, 0, &frame, "", false, &mail);
  if (*how == FAILED) return dl_error_last()->status;
  if (*how == ENDED) return DL_OK;
  if (*how == FORGOTTEN) return bad_welcome(w);
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
  heard how;
  DL_TRY(connect_to(w, 0, 0));
  DL_TRY(say_hello(w, &how));
  if (how != ENDED) return DL_OK;
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
      "use the server's configuration; sync.* but sync.compress, train.epochs, paths, checkpoint.* and log.* may "
      "differ");
}

static heard join_one(dl_ps_worker *w, int s) {
  dl_ps_mail mail;
  w->sequence++;
  dl_ps_frame frame = request(w, DL_PS_JOIN);
  frame.version = (int64_t)w->incarnation;
  heard how = converse(w, s, &frame, w->introduction, false, &mail);
  if (how != ANSWERED) return how;
  if (mail.frame.kind != DL_PS_JOINED) {
    mail.frame.kind == DL_PS_REFUSED ? refused(w, &mail) : bad_welcome(w);
    how = FAILED;
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

/* slot[0] moves into `memory`, or out of it; what it holds is lost. */
static void move_slot(dl_ps_worker *w, dl_ps_share *memory) {
  if (!w->memory) free(w->slot[0]);
  close_memory(w);
  w->memory = memory;
  w->slot[0] = memory ? dl_ps_share_data(memory) : NULL;
}

static heard share_with(dl_ps_worker *w, int s) {
  dl_ps_mail mail;
  unsigned char ticket[DL_PS_TICKET_BYTES];
  dl_ps_share_ticket(w->memory, ticket);
  w->sequence++;
  dl_ps_frame frame = request(w, DL_PS_SHARE);
  heard how = converse_bytes(w, s, &frame, ticket, sizeof ticket, false, &mail);
  if (how != ANSWERED) return how;
  w->sees[s] = mail.frame.kind == DL_PS_SHARED && mail.frame.status;
  if (w->sees[s])
    w->theirs[s] =
        dl_ps_share_open(zmq_msg_data(&mail.payload), mail.frame.payload_bytes, DL_PS_VIEWS * slice_bytes(w, s));
  dl_ps_mail_done(&mail);
  return how;
}

/* With new memory each time. */
static heard share_with_all(dl_ps_worker *w) {
  bool any = false;
  heard how = ANSWERED;
  for (int s = 0; s < w->servers; s++) {
    dl_ps_share_close(&w->theirs[s]);
    w->sees[s] = false;
  }
  move_slot(w, w->options.messages ? NULL : dl_ps_share_new(w->group->count * sizeof(float)));
  for (int s = 0; s < w->servers && w->memory && how == ANSWERED; s++) {
    how = share_with(w, s);
    any |= w->sees[s];
  }
  if (!any) move_slot(w, NULL);
  return how;
}

/* ---- joining, the whole ---- */

/* From hello on, with new connections: whatever was on the old ones is gone. */
static dl_status join_once(dl_ps_worker *w, heard *how) {
  disconnect(w, 0);
  w->has_task = false;
  for (int s = 0; s < w->servers; s++) {
    w->version[s] = -1;
    DL_TRY(connect_to(w, s, slice_bytes(w, s)));
  }
  DL_TRY(say_hello(w, how));
  for (int s = 0; s < w->servers && *how == ANSWERED; s++) *how = join_one(w, s);
  if (*how == ANSWERED) *how = share_with_all(w);
  return *how == FAILED ? dl_error_last()->status : DL_OK;
}

static dl_status join_all(dl_ps_worker *w) {
  heard how = FORGOTTEN;
  for (int tries = 0; tries < MAX_TRIES; tries++) {
    DL_TRY(join_once(w, &how));
    w->joined = how == ANSWERED;
    if (w->joined || how == ENDED) return DL_OK;
    nanosleep(&(struct timespec){0, 100000000}, NULL);
  }
  return dl_fail(DL_ERR_TRAIN, "the servers at %s forget this worker again and again", w->address[0]);
}

dl_status dl_ps_worker_join(dl_ps_worker *w, const dl_param_group *group, float *weights, const char *digest,
                            const char *name) {
  int64_t blocks = dl_group_blocks(group);
  dl_block_ref *list = dl_calloc((size_t)blocks, sizeof *list);
  w->offsets = dl_calloc((size_t)w->servers + 1, sizeof *w->offsets);
  w->version = dl_calloc((size_t)w->servers, sizeof *w->version);
  w->introduction = dl_asprintf("%s%s", digest, name);
  w->slot = dl_calloc(DL_TREE_DEPTH, sizeof *w->slot);
  w->theirs = dl_calloc((size_t)w->servers, sizeof *w->theirs);
  w->sees = dl_calloc((size_t)w->servers, sizeof *w->sees);
  bool all = list && w->offsets && w->version && w->introduction && w->slot && w->theirs && w->sees;
  dl_status status = all ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) {
    dl_group_list_blocks(group, list);
    for (int s = 0; s <= w->servers; s++) {
      int64_t block = dl_group_slice_begin(group, s, w->servers);
      w->offsets[s] = block < blocks ? list[block].offset : group->count;
    }
    w->group = group;
    w->weights = weights;
    w->heard_s = dl_now_s();
    status = join_all(w);
  }
  free(list);
  return status;
}

/* ---- a task ---- */

/* What was lent to ZeroMQ must be back before it is written to; after a while it is taken back by force. */
static dl_status reclaim(dl_ps_worker *w) {
  const double begin = dl_now_s();
  while (atomic_load_explicit(&w->busy, memory_order_acquire)) {
    if (told_to_stop(w)) return dl_fail(DL_ERR_STOPPED, "this worker was told to stop");
    if (dl_now_s() - begin > w->options.timeout_s) {
      fail_silent(w, 0);
      return DL_ERR_TRAIN;
    }
    nanosleep(&(struct timespec){0, 20000}, NULL);
  }
  return DL_OK;
}

float *dl_ps_worker_gradients(dl_ps_worker *w) {
  int slot = w->stack.depth;
  if (!w->slot[slot]) w->slot[slot] = dl_calloc_aligned(w->group->count, sizeof(float));
  return w->slot[slot];
}

void dl_ps_worker_leaf_done(dl_ps_worker *w, int64_t leaf, const double sums[DL_LEAF_SUMS]) {
  int top = w->stack.depth;
  memcpy(w->sums[top], sums, sizeof w->sums[top]);
  if (w->half) w->half->round(w->slot[top], w->group->count);
  for (int merges = dl_tree_stack_push_leaf(&w->stack, leaf); merges > 0; merges--, top--) {
    dl_vector()->add(w->slot[top - 1], w->slot[top], w->group->count);
    if (w->half) w->half->round(w->slot[top - 1], w->group->count);
    for (int k = 0; k < DL_LEAF_SUMS; k++) w->sums[top - 1][k] += w->sums[top][k];
  }
}

static int32_t can_view(const dl_ps_worker *w, int s) { return w->theirs[s] ? DL_PS_VIEW : 0; }

static void note_push(const dl_ps_worker *w, const char *what, int s) {
  dl_ps_history_note(&w->history, "%s %d %lld %d %lld %llu %lld", what, s, (long long)w->task.step, w->node.level,
                     (long long)w->node.index, (unsigned long long)w->sequence, (long long)w->version[s]);
}

static bool send_push(dl_ps_worker *w, int s) {
  zmq_msg_t payload;
  dl_ps_frame frame = request(w, DL_PS_PUSH);
  frame.step = w->task.step;
  frame.node = w->node;
  frame.samples = w->task.samples;
  frame.version = w->version[s];
  frame.status = can_view(w, s);
  note_push(w, "push", s);
  memcpy(frame.sums, w->sums[0], sizeof frame.sums);
  if (w->sees[s]) {
    frame.form = DL_PS_IN_MEMORY;
    return dl_ps_link_send(w->link[s], NULL, &frame, NULL);
  }
  const float *values = w->slot[0] + w->offsets[s];
  if (w->half) frame.form = DL_PS_HALVES;
  bool made = w->half ? dl_ps_payload_pack(&payload, w->half, values, slice_bytes(w, s) / sizeof *values)
                      : dl_ps_payload_borrow(&payload, values, slice_bytes(w, s), &w->busy);
  return made && dl_ps_link_send(w->link[s], NULL, &frame, &payload);
}

/* An answer tells that server `s` is done with the push `sequence`: it was looked at, or was a message. */
static bool has_read(const dl_ps_worker *w, int s, const dl_ps_mail *mail, uint64_t sequence) {
  return !w->sees[s] || mail->frame.taken >= sequence;
}

/* To several servers: all must have it before the first one hears that it is done. A push that gets no answer within
 * a while is lost with its connection: then the unit is given up. */
static heard push_to_all(dl_ps_worker *w, bool *taken, uint64_t *receipts, dl_ps_mail *mail) {
  *taken = true;
  *receipts = 0;
  w->sequence++;
  for (int s = 0; s < w->servers; s++)
    if (!send_push(w, s)) return FORGOTTEN;
  for (int s = 0; s < w->servers; s++) {
    dl_ps_frame frame = request(w, DL_PS_PULL); /* asks for nothing but an answer */
    heard how = converse(w, s, &frame, "", true, mail);
    if (how != ANSWERED) return how;
    *taken &= mail->frame.kind == DL_PS_TAKEN;
    *receipts ^= (uint64_t)mail->frame.version;
    const bool read = has_read(w, s, mail, w->sequence);
    if (mail->frame.kind == DL_PS_TAKEN) note_push(w, "ack", s);
    dl_ps_mail_done(mail);
    if (!read) return FORGOTTEN;
  }
  return ANSWERED;
}

/* What came of a slice, or lies where the server says. False: it makes no sense. A version that has already been
 * written over leaves w->version[s] at -1. */
static bool read_slice(dl_ps_worker *w, int s, dl_ps_mail *mail) {
  const dl_ps_frame *f = &mail->frame;
  if (f->form == DL_PS_IN_MEMORY) {
    if (!w->theirs[s] || f->payload_bytes) return false;
    bool whole = dl_ps_share_read_view(w->theirs[s], f->version, w->weights + w->offsets[s], slice_bytes(w, s));
    w->version[s] = whole ? f->version : -1;
    return true;
  }
  if (!slice_bytes(w, s)) w->version[s] = f->version;
  if (!f->payload_bytes) return f->version == w->version[s];
  if (f->form != DL_PS_FLOATS || f->payload_bytes != slice_bytes(w, s)) return false;
  memcpy(w->weights + w->offsets[s], zmq_msg_data(&mail->payload), slice_bytes(w, s));
  w->version[s] = f->version;
  return true;
}

/* From servers first .. end - 1, side by side. */
static heard pull(dl_ps_worker *w, int first, int end, bool views, dl_ps_mail *mail) {
  w->sequence++;
  for (int asked = 0; asked < 2; asked++)
    for (int s = first; s < end; s++) {
      dl_ps_frame frame = request(w, DL_PS_PULL);
      frame.version = w->version[s];
      frame.status = views ? can_view(w, s) : 0;
      if (!asked) {
        dl_ps_link_send_copy(w->link[s], NULL, &frame, "", 0);
        continue;
      }
      heard how = converse(w, s, &frame, "", true, mail);
      if (how != ANSWERED) return how;
      bool sound = mail->frame.kind == DL_PS_WEIGHTS && read_slice(w, s, mail);
      dl_ps_mail_done(mail);
      if (!sound) return FORGOTTEN;
    }
  return ANSWERED;
}

/* The slices that did not come with the work; what was written over while it was read comes as a message. */
static heard pull_others(dl_ps_worker *w, dl_ps_mail *mail) {
  heard how = w->servers > 1 ? pull(w, 1, w->servers, true, mail) : ANSWERED;
  for (int s = 0; s < w->servers && how == ANSWERED; s++)
    if (w->version[s] < 0) how = pull(w, s, s + 1, false, mail);
  return how;
}

/* The request that asks for work: the push itself where there is one server. */
static heard ask_for_work(dl_ps_worker *w, dl_ps_mail *mail) {
  bool taken = false, pushed = false;
  uint64_t receipts = 0;
  int kind = DL_PS_WANT;
  if (w->has_task && w->servers > 1) {
    heard how = push_to_all(w, &taken, &receipts, mail);
    if (how != ANSWERED) return how;
    if (taken) kind = DL_PS_DONE;
  }
  w->sequence++;
  if (w->has_task && w->servers == 1) pushed = send_push(w, 0);
  dl_ps_frame frame = request(w, kind);
  frame.step = w->task.step;
  frame.node = w->node;
  frame.version = w->version[0];
  frame.status = can_view(w, 0);
  frame.taken = receipts;
  w->has_task = false;
  heard how = converse(w, 0, &frame, "", pushed, mail);
  if (how == ANSWERED && pushed && mail->frame.kind == DL_PS_GRANT && mail->frame.status) note_push(w, "ack", 0);
  if (how != ANSWERED || !pushed || has_read(w, 0, mail, w->sequence)) return how;
  dl_ps_mail_done(mail);
  return FORGOTTEN;
}

static dl_status say_end(const dl_ps_worker *w, dl_ps_task *out) {
  *out = w->end;
  if (out->status == DL_OK) return DL_OK;
  return dl_fail(out->status == DL_ERR_STOPPED ? DL_ERR_STOPPED : DL_ERR_TRAIN, "the server ended: %s", w->why);
}

/* False: the grant makes no sense. */
static bool read_grant(dl_ps_worker *w, dl_ps_mail *mail) {
  const dl_ps_frame *f = &mail->frame;
  if (f->kind != DL_PS_GRANT || f->samples < 1 || f->step < 0 || !read_slice(w, 0, mail)) return false;
  dl_cut cut = dl_cut_make(f->samples, w->shards);
  w->task = (dl_ps_task){.step = f->step, .samples = f->samples};
  w->node = f->node;
  return dl_ps_node_leaves(f->node, cut.leaves, &w->task.begin_leaf, &w->task.end_leaf);
}

dl_status dl_ps_worker_next(dl_ps_worker *w, dl_ps_task *out) {
  w->heard_s = dl_now_s();
  while (!w->end.end) {
    dl_ps_mail mail = {0};
    heard how = ask_for_work(w, &mail);
    if (how == ANSWERED) {
      bool sound = read_grant(w, &mail);
      dl_ps_mail_done(&mail);
      how = sound ? pull_others(w, &mail) : FORGOTTEN;
    }
    if (how == FAILED) return dl_error_last()->status;
    if (how == ANSWERED) break;
    if (how == FORGOTTEN) DL_TRY(join_all(w));
  }
  if (w->end.end) return say_end(w, out);
  DL_TRY(reclaim(w));
  dl_cut cut = dl_cut_make(w->task.samples, w->shards);
  dl_tree_stack_reset(&w->stack, cut.leaves);
  w->has_task = true;
  *out = w->task;
  return DL_OK;
}

/* ---- the end ---- */

/* The first server says the end again until it has heard this. */
void dl_ps_worker_leave(dl_ps_worker *w, const char *why) {
  w->sequence++;
  dl_ps_frame frame = request(w, DL_PS_BYE);
  for (int s = 0; s < (w->end.end ? 1 : w->servers) && (w->joined || w->end.end); s++)
    if (w->link[s]) dl_ps_link_send_copy(w->link[s], NULL, &frame, why, strlen(why));
}

void dl_ps_worker_close(dl_ps_worker **worker) {
  dl_ps_worker *w = *worker;
  if (!w) return;
  if (w->link) disconnect(w, w->joined || w->end.end ? LINGER_MS : 0);
  if (w->slot) move_slot(w, NULL);
  for (int i = 0; w->slot && i < DL_TREE_DEPTH; i++) free(w->slot[i]);
  for (int s = 0; w->theirs && s < w->servers; s++) dl_ps_share_close(&w->theirs[s]);
  free(w->theirs);
  free(w->sees);
  free(w->slot);
  free(w->link);
  free(w->address);
  free(w->introduction);
  free(w->version);
  free(w->offsets);
  dl_ps_history_close(&w->history);
  explicit_bzero(w, sizeof *w);
  free(w);
  *worker = NULL;
}

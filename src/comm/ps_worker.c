/* The loop of work: what is done is pushed, and with the next unit come the weights that it needs.
 *
 * With servers on this host slices do not travel (ps_share.h): the sum is made in memory that they read, weights are
 * copied from theirs. What a server may still read is not written to again before it has answered something that came
 * behind the push; in any doubt the worker joins anew, with new memory, and leaves the old to whoever reads it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/ps_worker_private.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/vector.h"

#define LINGER_MS 2000

/* ---- a task ---- */

/* What was lent to ZeroMQ must be back before it is written to; after a while it is taken back by force. */
static dl_status reclaim(dl_ps_worker *w) {
  const double begin = dl_now_s();
  while (atomic_load_explicit(&w->busy, memory_order_acquire)) {
    if (dl_ps_worker_is_stopped(w)) return dl_fail(DL_ERR_STOPPED, "this worker was told to stop");
    if (dl_now_s() - begin > w->options.timeout_s) {
      dl_ps_worker_fail_silent(w, 0);
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
  dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_PUSH);
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
  bool made = w->half ? dl_ps_payload_pack(&payload, w->half, values, dl_ps_worker_slice_bytes(w, s) / sizeof *values)
                      : dl_ps_payload_borrow(&payload, values, dl_ps_worker_slice_bytes(w, s), &w->busy);
  return made && dl_ps_link_send(w->link[s], NULL, &frame, &payload);
}

/* An answer tells that server `s` is done with the push `sequence`: it was looked at, or was a message. */
static bool has_read(const dl_ps_worker *w, int s, const dl_ps_mail *mail, uint64_t sequence) {
  return !w->sees[s] || mail->frame.taken >= sequence;
}

/* To several servers: all must have it before the first one hears that it is done. A push that gets no answer within
 * a while is lost with its connection: then the unit is given up. */
static dl_ps_heard push_to_all(dl_ps_worker *w, bool *taken, dl_ps_mail *mail) {
  *taken = true;
  w->sequence++;
  for (int s = 0; s < w->servers; s++)
    if (!send_push(w, s)) return DL_PS_FORGOTTEN;
  for (int s = 0; s < w->servers; s++) {
    dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_PULL); /* asks for nothing but an answer */
    dl_ps_heard how = dl_ps_worker_converse(w, s, &frame, "", true, mail);
    if (how != DL_PS_ANSWERED) return how;
    *taken &= mail->frame.kind == DL_PS_TAKEN;
    const bool read = has_read(w, s, mail, w->sequence);
    if (mail->frame.kind == DL_PS_TAKEN) note_push(w, "ack", s);
    dl_ps_mail_done(mail);
    if (!read) return DL_PS_FORGOTTEN;
  }
  return DL_PS_ANSWERED;
}

/* What came of a slice, or lies where the server says. False: it makes no sense. A version that has already been
 * written over leaves w->version[s] at -1. */
static bool read_slice(dl_ps_worker *w, int s, dl_ps_mail *mail) {
  const dl_ps_frame *f = &mail->frame;
  if (f->form == DL_PS_IN_MEMORY) {
    if (!w->theirs[s] || f->payload_bytes) return false;
    bool whole =
        dl_ps_share_read_view(w->theirs[s], f->version, w->weights + w->offsets[s], dl_ps_worker_slice_bytes(w, s));
    w->version[s] = whole ? f->version : -1;
    return true;
  }
  if (!dl_ps_worker_slice_bytes(w, s)) w->version[s] = f->version;
  if (!f->payload_bytes) return f->version == w->version[s];
  if (f->form != DL_PS_FLOATS || f->payload_bytes != dl_ps_worker_slice_bytes(w, s)) return false;
  memcpy(w->weights + w->offsets[s], zmq_msg_data(&mail->payload), dl_ps_worker_slice_bytes(w, s));
  w->version[s] = f->version;
  return true;
}

/* From servers first .. end - 1, side by side. */
static dl_ps_heard pull(dl_ps_worker *w, int first, int end, bool views, dl_ps_mail *mail) {
  w->sequence++;
  for (int asked = 0; asked < 2; asked++)
    for (int s = first; s < end; s++) {
      dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_PULL);
      frame.version = w->version[s];
      frame.status = views ? can_view(w, s) : 0;
      if (!asked) {
        dl_ps_link_send_copy(w->link[s], NULL, &frame, "", 0);
        continue;
      }
      dl_ps_heard how = dl_ps_worker_converse(w, s, &frame, "", true, mail);
      if (how != DL_PS_ANSWERED) return how;
      bool sound = mail->frame.kind == DL_PS_WEIGHTS && read_slice(w, s, mail);
      dl_ps_mail_done(mail);
      if (!sound) return DL_PS_FORGOTTEN;
    }
  return DL_PS_ANSWERED;
}

/* The slices that did not come with the work; what was written over while it was read comes as a message. */
static dl_ps_heard pull_others(dl_ps_worker *w, dl_ps_mail *mail) {
  dl_ps_heard how = w->servers > 1 ? pull(w, 1, w->servers, true, mail) : DL_PS_ANSWERED;
  for (int s = 0; s < w->servers && how == DL_PS_ANSWERED; s++)
    if (w->version[s] < 0) how = pull(w, s, s + 1, false, mail);
  return how;
}

/* The request that asks for work: the push itself where there is one server. */
static dl_ps_heard ask_for_work(dl_ps_worker *w, dl_ps_mail *mail) {
  bool taken = false, pushed = false;
  int kind = DL_PS_WANT;
  if (w->has_task && w->servers > 1) {
    dl_ps_heard how = push_to_all(w, &taken, mail);
    if (how != DL_PS_ANSWERED) return how;
    if (taken) kind = DL_PS_DONE;
  }
  w->sequence++;
  if (w->has_task && w->servers == 1) pushed = send_push(w, 0);
  dl_ps_frame frame = dl_ps_worker_request(w, kind);
  frame.step = w->task.step;
  frame.node = w->node;
  frame.version = w->version[0];
  frame.status = can_view(w, 0);
  w->has_task = false;
  dl_ps_heard how = dl_ps_worker_converse(w, 0, &frame, "", pushed, mail);
  if (how == DL_PS_ANSWERED && pushed && mail->frame.kind == DL_PS_GRANT && mail->frame.status) note_push(w, "ack", 0);
  if (how != DL_PS_ANSWERED || !pushed || has_read(w, 0, mail, w->sequence)) return how;
  dl_ps_mail_done(mail);
  return DL_PS_FORGOTTEN;
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
    dl_ps_heard how = ask_for_work(w, &mail);
    if (how == DL_PS_ANSWERED) {
      bool sound = read_grant(w, &mail);
      dl_ps_mail_done(&mail);
      how = sound ? pull_others(w, &mail) : DL_PS_FORGOTTEN;
    }
    if (how == DL_PS_FAILED) return dl_error_last()->status;
    if (how == DL_PS_ANSWERED) break;
    if (how == DL_PS_FORGOTTEN) DL_TRY(dl_ps_worker_join_all(w));
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
  dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_BYE);
  for (int s = 0; s < (w->end.end ? 1 : w->servers) && (w->joined || w->end.end); s++)
    if (w->link[s]) dl_ps_link_send_copy(w->link[s], NULL, &frame, why, strlen(why));
}

void dl_ps_worker_close(dl_ps_worker **worker) {
  dl_ps_worker *w = *worker;
  if (!w) return;
  if (w->link) dl_ps_worker_disconnect(w, w->joined || w->end.end ? LINGER_MS : 0);
  if (w->slot) dl_ps_worker_move_slot(w, NULL);
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

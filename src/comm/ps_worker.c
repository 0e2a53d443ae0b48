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

#define LINGER_MS 2000

/* ---- a task ---- */

/* What was lent to ZeroMQ must be back before it is written to; after a while it is taken back by force. */
static dl_status reclaim(dl_ps_worker *w) {
  const double begin = dl_now_s();
  while (atomic_load_explicit(&w->busy, memory_order_acquire)) {
    if (dl_ps_worker_patience_since(w, 0, begin) == DL_PS_FAILED) return dl_error_last()->status;
    nanosleep(&(struct timespec){0, 20000}, NULL);
  }
  return DL_OK;
}

void dl_ps_worker_note_push(const dl_ps_worker *w, const char *what, int s) {
  dl_ps_history_note(&w->history, "%s %d %lld %d %lld %llu %lld", what, s, (long long)w->task.step, w->node.level,
                     (long long)w->node.index, (unsigned long long)w->sequence, (long long)w->version[s]);
}

/* An answer tells that server `s` is done with the push `sequence`: it was looked at, or was a message. */
static bool has_read(const dl_ps_worker *w, int s, const dl_ps_mail *mail, uint64_t sequence) {
  return !w->sees[s] || mail->frame.taken >= sequence;
}

/* To several servers: all must have it before the first one hears that it is done. A push that gets no answer within
 * a while is lost with its connection: then the unit is given up. */
static dl_ps_heard push_to_all(dl_ps_worker *w, bool *taken, uint64_t *receipts, dl_ps_mail *mail) {
  *taken = true;
  *receipts = 0;
  if (!dl_ps_worker_push(w)) return w->lost;
  for (int s = 0; s < w->servers; s++) {
    const dl_ps_frame frame = dl_ps_worker_echo(w, s);
    dl_ps_heard how = dl_ps_worker_converse(w, s, &frame, "", true, mail);
    if (how != DL_PS_ANSWERED) return how;
    *taken &= mail->frame.kind == DL_PS_TAKEN;
    *receipts ^= (uint64_t)mail->frame.version;
    const bool read = has_read(w, s, mail, w->sequence);
    if (mail->frame.kind == DL_PS_TAKEN) dl_ps_worker_note_push(w, "ack", s);
    dl_ps_mail_done(mail);
    if (!read) return DL_PS_FORGOTTEN;
  }
  return DL_PS_ANSWERED;
}

/* What came of a slice, or lies where the server says, or will come in parts. False: it makes no sense. A version that
 * has already been written over leaves w->version[s] at -1. */
static bool read_slice(dl_ps_worker *w, int s, dl_ps_mail *mail) {
  const dl_ps_frame *f = &mail->frame;
  if (f->form == DL_PS_IN_PARTS) {
    w->version[s] = f->version;
    return !f->payload_bytes && dl_ps_worker_expect_parts(w, s, f);
  }
  dl_ps_worker_expect_none(w, s);
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
      frame.status = dl_ps_worker_ways(w, s, views);
      if (!asked) {
        dl_ps_worker_expect(w, s);
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
  bool taken = false, pushed = w->has_task && w->servers == 1;
  uint64_t receipts = 0;
  int kind = DL_PS_WANT;
  if (w->has_task && w->servers > 1) {
    dl_ps_heard how = push_to_all(w, &taken, &receipts, mail);
    if (how != DL_PS_ANSWERED) return how;
    if (taken) kind = DL_PS_DONE;
  }
  if (pushed && !dl_ps_worker_push(w)) return w->lost;
  if (!pushed) w->sequence++;
  dl_ps_frame frame = dl_ps_worker_request(w, kind);
  frame.step = w->task.step;
  frame.node = w->node;
  frame.version = w->version[0];
  frame.status = dl_ps_worker_ways(w, 0, true);
  frame.taken = receipts;
  w->has_task = false;
  dl_ps_worker_expect(w, 0);
  dl_ps_heard how = dl_ps_worker_converse(w, 0, &frame, "", pushed, mail);
  if (how == DL_PS_ANSWERED && pushed) taken = mail->frame.kind == DL_PS_GRANT && mail->frame.status;
  if (pushed && taken) dl_ps_worker_note_push(w, "ack", 0);
  dl_ps_worker_thinned(w, taken);
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
    dl_ps_worker_await(w, w->group->count);
    if (w->lost == DL_PS_FAILED) return dl_error_adopt(&w->error);
    dl_ps_heard how = w->lost == DL_PS_ANSWERED ? ask_for_work(w, &mail) : w->lost;
    if (how == DL_PS_ANSWERED) {
      bool sound = read_grant(w, &mail);
      dl_ps_mail_done(&mail);
      how = sound ? pull_others(w, &mail) : DL_PS_FORGOTTEN;
    }
    if (how == DL_PS_FAILED) return w->lost == DL_PS_FAILED ? dl_error_adopt(&w->error) : dl_error_last()->status;
    if (how == DL_PS_ANSWERED) break;
    dl_ps_worker_thinned(w, false);
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
  dl_ps_worker_clear_flow(w);
  free(w->theirs);
  free(w->sees);
  free(w->slot);
  free(w->link);
  free(w->address);
  free(w->introduction);
  free(w->version);
  free(w->offsets);
  free(w->blocks);
  free(w->residual_before);
  dl_topk_destroy(&w->topk);
  dl_ps_history_close(&w->history);
  explicit_bzero(w, sizeof *w);
  free(w);
  *worker = NULL;
}

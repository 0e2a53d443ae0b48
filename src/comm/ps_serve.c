/* ps_serve.c - servers whose workers come and go.
 *
 * The first server is the one that workers ask for work: it cuts the step into units (ps_units), hands them out, and
 * knows when all are done. Every server takes the sums of its slice. A unit is done when all servers have it; so when a
 * worker goes, what it had begun is handed to another, and what a server had already got from it counts once, the
 * second time being dropped. In bsp a step's sum is finished along the tree and applied once, so who came and went
 * changes no bit. In ssp and asp every push is a step of its own, with its share of the batch, and units of the next
 * few steps are handed out while others still compute: ssp hands out no unit of step t before all steps before t - s
 * are applied.
 *
 * A worker is a connection. It is there as long as ZeroMQ can send to it, which its heartbeats see to; four times a
 * second everybody gets a ping, and who cannot be sent one is gone. A worker that comes back joins anew. Everything
 * that a worker sends is a request that it repeats when no answer comes, and that does no harm twice.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/ps_private.h"
#include "comm/ps_receipt.h"
#include "core/clock.h"
#include "core/log.h"

#define TICK_S 0.25
#define WAIT_MS 100
#define END_S 3.0
#define END_AGAIN_S 0.9 /* one that is on its way to who has just left is lost, and with it some of ZeroMQ's memory */
#define LONELY_S 10     /* how long a stop waits for workers to bring what is begun (ssp, asp) */

typedef dl_ps_client worker;

bool dl_ps_serve_is_async(const dl_sync *sync) {
  const dl_ps_options *o = &dl_ps_of(sync)->options;
  return dl_ps_is_async(o->consistency, o->staleness);
}

static bool is_first(const dl_ps *own) { return own->server == 0; }

/* ---- answers ---- */

static dl_ps_frame answer(const dl_ps *own, int kind, const dl_ps_mail *mail) {
  return (dl_ps_frame){.kind = kind,
                       .job = own->job,
                       .life = own->life,
                       .sequence = mail ? mail->frame.sequence : 0,
                       .step = mail ? mail->frame.step : own->serve->step,
                       .node = mail ? mail->frame.node : (dl_tree_node){0},
                       .version = own->serve->version};
}

static bool reply(const dl_ps *own, const dl_ps_mail *mail, int kind, int status, const char *text) {
  dl_ps_frame frame = answer(own, kind, mail);
  frame.status = status;
  return dl_ps_link_send_copy(own->link, &mail->from, &frame, text, strlen(text));
}

static int count_here(const dl_ps_serve *serve) {
  int here = 0;
  for (int i = 0; i < serve->n; i++) here += serve->workers[i].here;
  return here;
}

static worker *find_worker(const dl_ps_serve *serve, const dl_ps_peer *peer) {
  for (int i = 0; i < serve->n; i++) {
    worker *w = &serve->workers[i];
    if (w->here && w->peer.n == peer->n && !memcmp(w->peer.id, peer->id, peer->n)) return w;
  }
  return NULL;
}

/* ---- work ---- */

static void lose(dl_sync *sync, worker *w, const char *why) {
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  w->here = w->idle = false;
  if (dl_ps_serve_own(dl_ps_of(sync), w)) dl_ps_share_close(&w->memory);
  dl_ps_gather_drop(&w->gather);
  int units = dl_ps_units_lost(&serve->units, (int)(w - serve->workers));
  if (is_first(dl_ps_of(sync)))
    dl_warn("ps_worker", "worker %s %s; %d unit%s handed to others, %d worker%s left", w->name, why, units,
            units == 1 ? "" : "s", count_here(serve), count_here(serve) == 1 ? "" : "s");
}

static dl_status hand_out(dl_sync *sync, worker *w) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  const dl_ps_unit *unit;
  if (!w->here || !w->idle) return DL_OK;
  DL_TRY(dl_ps_units_grant(&serve->units, (int)(w - serve->workers), count_here(serve), dl_now_s(), &unit));
  if (!unit) return DL_OK;
  if (!dl_ps_serve_own(own, w)) return DL_ERR_NOMEM;
  int64_t in_epoch = unit->step % own->options.epoch_steps;
  int64_t left = own->options.epoch_samples - in_epoch * own->options.batch;
  dl_ps_frame frame = answer(own, DL_PS_GRANT, NULL);
  frame.sequence = w->sequence;
  frame.step = unit->step;
  frame.node = unit->node;
  frame.samples = left < own->options.batch ? left : own->options.batch;
  frame.status = w->taken;
  w->idle = false;
  if (dl_ps_serve_send_weights(sync, w, &frame, w->has != serve->version)) return DL_OK;
  lose(sync, w, "cannot be sent its work");
  return DL_OK;
}

static dl_status hand_out_all(dl_sync *sync) {
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  for (int i = 0; i < serve->n; i++) DL_TRY(hand_out(sync, &serve->workers[i]));
  return DL_OK;
}

/* ---- what workers send: one function a kind ---- */

static dl_status on_hello(dl_sync *sync, dl_ps_mail *mail) {
  const dl_ps *own = dl_ps_of(sync);
  reply(own, mail, DL_PS_WELCOME, 0, own->serve->welcome);
  return DL_OK;
}

static void copy_name(char *out, const char *text, size_t bytes) {
  size_t n = 0;
  for (; n < bytes && n < DL_PS_NAME_BYTES - 1; n++) out[n] = text[n] > ' ' && text[n] < 127 ? text[n] : '?';
  out[n] = 0;
}

static dl_status on_join(dl_sync *sync, dl_ps_mail *mail) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  const char *text = zmq_msg_data(&mail->payload);
  size_t bytes = zmq_msg_size(&mail->payload), digest = strlen(own->digest);
  if (bytes < digest || memcmp(text, own->digest, digest)) {
    reply(own, mail, DL_PS_REFUSED, DL_ERR_USAGE,
          "the server trains something else: all that is computed must be configured as it is there");
    return DL_OK;
  }
  worker *w = find_worker(serve, &mail->from);
  for (int i = 0; !w && i < serve->n; i++)
    if (!serve->workers[i].here) w = &serve->workers[i];
  if (!w && serve->n < DL_PS_MAX_WORKERS) w = &serve->workers[serve->n++];
  if (!w) {
    reply(own, mail, DL_PS_REFUSED, DL_ERR_SYSTEM, "the server has as many workers as it can have");
    return DL_OK;
  }
  dl_ps_units_lost(&serve->units, (int)(w - serve->workers));
  if (!dl_ps_serve_own(own, w)) return DL_ERR_NOMEM;
  dl_ps_share_close(&w->memory);
  dl_ps_gather_drop(&w->gather);
  *w = (worker){.peer = mail->from, .here = true, .has = -1, .incarnation = (uint64_t)mail->frame.version};
  copy_name(w->name, text + digest, bytes - digest);
  reply(own, mail, DL_PS_JOINED, 0, "");
  return DL_OK;
}

static dl_status on_share(dl_sync *sync, dl_ps_mail *mail) {
  return dl_ps_serve_share(sync, find_worker(dl_ps_of(sync)->serve, &mail->from), mail);
}

/* How its slices may be given to it. */
static void note_ways(worker *w, const dl_ps_frame *f) {
  w->views = f->status & DL_PS_VIEW;
  w->in_parts = f->status & DL_PS_PARTS;
}

/* `taken`: the request brought a push, which is in. What comes behind a later request of the same worker was under way
 * for too long to be answered. */
static dl_status want_work(dl_sync *sync, const dl_ps_mail *mail, bool taken) {
  worker *w = find_worker(dl_ps_of(sync)->serve, &mail->from);
  if (mail->frame.sequence < w->sequence) return DL_OK;
  if (taken || mail->frame.sequence > w->sequence) w->taken = taken;
  note_ways(w, &mail->frame);
  w->idle = true;
  w->sequence = mail->frame.sequence;
  w->has = mail->frame.version;
  return hand_out(sync, w);
}

static dl_status on_want(dl_sync *sync, dl_ps_mail *mail) { return want_work(sync, mail, false); }

static dl_status on_pull(dl_sync *sync, dl_ps_mail *mail) {
  const dl_ps *own = dl_ps_of(sync);
  worker *w = find_worker(own->serve, &mail->from);
  dl_ps_frame frame = answer(own, DL_PS_WEIGHTS, mail);
  const bool wanted = !(mail->frame.status & DL_PS_ECHO) && mail->frame.version != own->serve->version;
  note_ways(w, &mail->frame);
  dl_ps_serve_send_weights(sync, w, &frame, wanted);
  return DL_OK;
}

/* Whether a push is of what was asked for. */
static bool is_placed(const dl_sync *sync, const dl_ps_frame *f) {
  const dl_ps *own = dl_ps_of(sync);
  if (is_first(own) && dl_ps_units_look(&own->serve->units, f->step, f->node) == DL_PS_DONE_UNKNOWN) return false;
  if (!dl_ps_serve_is_async(sync)) return f->step == own->serve->step;
  return f->step >= own->serve->step && f->step <= own->serve->step + DL_PS_ASP_WINDOW && f->samples >= 1;
}

/* What a push brings, all of it or the last part that was missing; `*whole` is false while others are. */
static dl_ps_fault bring_sum(dl_sync *sync, worker *w, dl_ps_mail *mail, dl_ps_sum *sum, bool *whole) {
  const dl_ps *own = dl_ps_of(sync);
  *whole = true;
  if (!is_placed(sync, &mail->frame)) return DL_PS_BAD_PLACE;
  if (!mail->frame.parts)
    return dl_ps_take_sum(sync, mail, &own->serve->whole, dl_ps_serve_sums(own, w), sum) ? DL_PS_FINE
                                                                                         : DL_PS_BAD_LENGTH;
  const dl_ps_gathered part = dl_ps_gather_part(sync, &w->gather, mail, sum);
  *whole = part != DL_PS_PART_IN;
  return part == DL_PS_PART_BAD || part == DL_PS_PART_NO_ROOM ? DL_PS_BAD_LENGTH : DL_PS_FINE;
}

/* It is taken, or was taken before. */
static dl_ps_fault use_sum(dl_sync *sync, worker *w, const dl_ps_mail *mail, dl_ps_sum *sum, dl_status *status) {
  dl_ps *own = dl_ps_of(sync);
  if (dl_ps_serve_is_async(sync)) {
    *status = dl_ps_serve_push(sync, w, mail, sum->values);
    dl_ps_sum_release(sum->owner);
    return DL_PS_FINE;
  }
  sum->lender = own->servers == 1 ? w : NULL; /* who has to wait for more work as long as this is not applied */
  dl_ps_added added = dl_ps_collect_add(&own->collect, sum);
  if (added != DL_PS_ADDED) dl_ps_sum_release(sum->owner);
  if (added == DL_PS_NO_ROOM) *status = DL_ERR_NOMEM;
  return added == DL_PS_NOT_A_NODE ? DL_PS_BAD_PLACE : DL_PS_FINE;
}

static dl_status have_done(dl_sync *sync, const dl_ps_mail *mail) {
  dl_ps_units_done(&dl_ps_of(sync)->serve->units, mail->frame.step, mail->frame.node);
  return want_work(sync, mail, true);
}

/* Who cannot show that all servers have the unit has not done it: others come first. */
static dl_status on_done(dl_sync *sync, dl_ps_mail *mail) {
  const dl_ps *own = dl_ps_of(sync);
  worker *w = find_worker(own->serve, &mail->from);
  bool proven;
  DL_TRY(dl_ps_receipts_match(own, mail->frame.step, mail->frame.node, mail->frame.taken, &proven));
  if (proven) return have_done(sync, mail);
  dl_ps_link_fault(own->link, DL_PS_BAD_DONE);
  dl_ps_units_lost(&own->serve->units, (int)(w - own->serve->workers));
  w->idle = false;
  DL_TRY(hand_out_all(sync));
  return want_work(sync, mail, false);
}

/* Several servers answer each for itself. */
static dl_status say_taken(dl_sync *sync, const worker *w, const dl_ps_mail *mail, bool fine) {
  const dl_ps *own = dl_ps_of(sync);
  uint64_t receipt = 0;
  if (fine) DL_TRY(dl_ps_receipt(own, mail->frame.step, mail->frame.node, &receipt));
  dl_ps_frame frame = answer(own, fine ? DL_PS_TAKEN : DL_PS_STALE, mail);
  frame.version = (int64_t)receipt;
  frame.taken = w->pushed;
  dl_ps_link_send(own->link, &w->peer, &frame, NULL);
  return DL_OK;
}

static dl_status on_push(dl_sync *sync, dl_ps_mail *mail) {
  dl_ps *own = dl_ps_of(sync);
  dl_status status = DL_OK;
  worker *w = find_worker(own->serve, &mail->from);
  if (mail->frame.form == DL_PS_IN_MEMORY && !w->memory) { /* it joined twice, and has to share anew */
    reply(own, mail, DL_PS_STALE, 1, "");
    return DL_OK;
  }
  if (mail->frame.parts && mail->frame.sequence <= w->pushed) return DL_OK; /* it has been answered */
  bool whole;
  dl_ps_sum sum = {0};
  dl_ps_fault fault = bring_sum(sync, w, mail, &sum, &whole);
  if (!whole) return DL_OK;
  if (fault == DL_PS_FINE) fault = use_sum(sync, w, mail, &sum, &status);
  DL_TRY(status);
  if (mail->frame.sequence > w->pushed) w->pushed = mail->frame.sequence; /* older ones may come twice */
  if (fault != DL_PS_FINE) dl_ps_link_fault(own->link, fault);
  if (own->servers > 1) return say_taken(sync, w, mail, fault == DL_PS_FINE);
  return fault == DL_PS_FINE ? have_done(sync, mail) : on_want(sync, mail);
}

static dl_status on_bye(dl_sync *sync, dl_ps_mail *mail) {
  char why[200] = "left";
  size_t bytes = zmq_msg_size(&mail->payload), n = 0;
  const char *text = zmq_msg_data(&mail->payload);
  if (bytes) {
    snprintf(why, sizeof why, "left: ");
    for (n = strlen(why); n < sizeof why - 1 && bytes; n++, bytes--, text++)
      why[n] = *text >= ' ' && *text < 127 ? *text : '?';
    why[n] = 0;
  }
  lose(sync, find_worker(dl_ps_of(sync)->serve, &mail->from), why);
  return hand_out_all(sync);
}

/* From a server, who knows the secret: the first one says that the step is over, another that it has failed. */
static dl_status on_close(dl_sync *sync, dl_ps_mail *mail) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  if (zmq_msg_size(&mail->payload) != sizeof serve->secret ||
      memcmp(zmq_msg_data(&mail->payload), serve->secret, sizeof serve->secret)) {
    dl_ps_link_fault(own->link, DL_PS_BAD_PEER);
    return DL_OK;
  }
  serve->closed = true;
  serve->given_up = mail->frame.status != 0;
  return DL_OK;
}

typedef struct handler {
  dl_status (*handle)(dl_sync *sync, dl_ps_mail *mail);
  bool stranger;   /* may come from who has not joined */
  bool any_job;    /* job and life are not looked at */
  bool first_only; /* the first server alone */
} handler;

static const handler handlers[DL_PS_KINDS] = {
    [DL_PS_HELLO] = {.handle = on_hello, .stranger = true, .any_job = true},
    [DL_PS_JOIN] = {.handle = on_join, .stranger = true, .any_job = true},
    [DL_PS_WANT] = {.handle = on_want, .first_only = true},
    [DL_PS_PULL] = {.handle = on_pull},
    [DL_PS_PUSH] = {.handle = on_push},
    [DL_PS_DONE] = {.handle = on_done, .first_only = true},
    [DL_PS_BYE] = {.handle = on_bye},
    [DL_PS_CLOSE] = {.handle = on_close, .stranger = true},
    [DL_PS_SHARE] = {.handle = on_share},
};

/* Who is not known, or knows another life of the servers, is told to join anew. */
static dl_status handle(dl_sync *sync, dl_ps_mail *mail) {
  dl_ps *own = dl_ps_of(sync);
  const handler *h = &handlers[mail->frame.kind];
  dl_ps_fault fault = DL_PS_FINE;
  if (!h->handle || (h->first_only && !is_first(own))) fault = DL_PS_BAD_KIND;
  if (fault == DL_PS_FINE && !h->any_job && (mail->frame.job != own->job || mail->frame.life != own->life))
    fault = DL_PS_BAD_JOB;
  if (fault == DL_PS_FINE && !h->stranger && !find_worker(own->serve, &mail->from)) fault = DL_PS_BAD_PEER;
  if (fault == DL_PS_FINE) return h->handle(sync, mail);
  dl_ps_link_fault(own->link, fault);
  if (fault != DL_PS_BAD_KIND) reply(own, mail, DL_PS_STALE, 1, "");
  return DL_OK;
}

/* ---- now and then ---- */

static dl_status tick(dl_sync *sync) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  const double now = dl_now_s();
  if (now - serve->ticked_s < TICK_S) return DL_OK;
  serve->ticked_s = now;
  dl_ps_link_report(own->link, now);
  dl_ps_frame ping = answer(own, DL_PS_PING, NULL);
  for (int i = 0; i < serve->n; i++) {
    worker *w = &serve->workers[i];
    if (w->here && !dl_ps_link_send(own->link, &w->peer, &ping, NULL)) lose(sync, w, "is gone");
  }
  if (!is_first(own)) return DL_OK;
  int late = dl_ps_units_late(&serve->units, now, sync->team->timeout_s);
  if (late) dl_warn("ps_worker", "%d units were not done within sync.timeout and go to others", late);
  if (count_here(serve)) serve->lonely_s = now;
  return hand_out_all(sync);
}

/* ---- a step ---- */

dl_status dl_ps_serve_begin(dl_sync *sync) {
  dl_ps_collect_begin(&dl_ps_of(sync)->collect, sync->cut.leaves);
  return DL_OK;
}

/* Later steps may begin before this one is over, but not where a checkpoint is due. */
static dl_status open_steps(dl_sync *sync) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  const dl_ps_options *o = &own->options;
  const bool later = !serve->stopping && !sync->request->save_due && !dl_ps_durable_is_full(sync);
  const int64_t reach = dl_ps_durable_reach(serve);
  if (!later) dl_ps_units_trim(&serve->units, serve->step);
  int64_t ahead = !dl_ps_serve_is_async(sync) ? 0 : o->consistency == DL_PS_SSP ? o->staleness : DL_PS_ASP_WINDOW - 1;
  int64_t epoch_end = (serve->step / o->epoch_steps + 1) * o->epoch_steps;
  for (int64_t step = serve->step; (step <= serve->step + ahead || step <= reach) && step < epoch_end; step++) {
    int64_t left = o->epoch_samples - step % o->epoch_steps * o->batch;
    dl_cut cut = dl_cut_make(left < o->batch ? left : o->batch, sync->options.shards);
    if (dl_ps_units_step(&serve->units, step) || (!later && step > serve->step && step > reach)) continue;
    DL_TRY(dl_ps_units_open(&serve->units, step, cut.leaves));
    DL_TRY(dl_ps_durable_restore(serve, step));
    dl_ps_history_note(&serve->history, "open %lld %lld", (long long)step, (long long)cut.leaves);
  }
  return DL_OK;
}

static void forget_seen(dl_ps_serve *serve) {
  int kept = 0;
  for (int i = 0; i < serve->n_seen; i++)
    if (serve->seen[i].step >= serve->step) serve->seen[kept++] = serve->seen[i];
  serve->n_seen = kept;
}

static bool told_to_stop(const dl_sync *sync) {
  return sync->request->stop || (sync->request->stop_flag && *sync->request->stop_flag);
}

/* Whether the step is over; `*given_up`: without being complete. */
static bool is_over(dl_sync *sync, bool *given_up) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  *given_up = serve->given_up;
  if (!is_first(own) || serve->closed) return serve->closed;
  if (dl_ps_units_complete(&serve->units, serve->step) || serve->not_finite) return true;
  if (!told_to_stop(sync)) return false;
  if (!serve->stopping) dl_ps_units_trim(&serve->units, serve->step);
  serve->stopping = true;
  *given_up = !dl_ps_serve_is_async(sync) || dl_now_s() - serve->lonely_s > LONELY_S ||
              dl_ps_units_step(&serve->units, serve->step)->next == 0;
  return *given_up;
}

static dl_status close_others(const dl_sync *sync, bool given_up) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_frame frame = answer(own, DL_PS_CLOSE, NULL);
  frame.status = given_up;
  for (int s = 0; s < own->servers; s++)
    if (own->serve->others[s] &&
        !dl_ps_link_send_copy(own->serve->others[s], NULL, &frame, own->serve->secret, sizeof own->serve->secret))
      return dl_fail(DL_ERR_TRAIN, "server %d cannot be reached", s);
  return DL_OK;
}

/* What the first server tells the others with the headers. */
static void fill_header(dl_sync *sync, bool given_up) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  const bool async = dl_ps_serve_is_async(sync);
  const dl_ps_step *step = dl_ps_units_step(&serve->units, serve->step);
  own->header->abandoned = given_up;
  own->header->partial =
      async && (dl_ps_units_ahead(&serve->units, serve->step) || (given_up && step && step->next > 0));
  own->header->save = !own->header->partial && dl_ps_durable_is_full(sync);
  own->header->stop = told_to_stop(sync) && (!own->header->partial || given_up);
  if (!async) dl_ps_collect_sums(&own->collect, own->header->sums);
  if (async && step) memcpy(own->header->sums, step->sums, sizeof step->sums);
  if (serve->not_finite) own->header->sums[0] = (double)NAN;
}

static dl_status serve_mail(dl_sync *sync) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_mail mail;
  for (int n = 0; n < 256 && dl_ps_link_receive(own->link, &mail); n++) {
    dl_status status = handle(sync, &mail);
    dl_ps_mail_done(&mail);
    DL_TRY(status);
    bool given_up;
    if (is_over(sync, &given_up)) break;
  }
  return tick(sync);
}

static dl_status serve_step(dl_sync *sync) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  bool given_up;
  serve->step = sync->request->step;
  serve->closed = serve->given_up = false;
  if (!dl_ps_serve_is_async(sync)) serve->version = serve->step;
  forget_seen(serve);
  serve->lonely_s = dl_now_s();
  if (is_first(own)) DL_TRY(open_steps(sync));
  DL_TRY(dl_ps_durable_replay(sync));
  if (is_first(own)) DL_TRY(hand_out_all(sync));
  while (!is_over(sync, &given_up)) {
    dl_ps_link_wait(own->link, WAIT_MS);
    DL_TRY(serve_mail(sync));
  }
  own->header->stop = 0;
  if (!is_first(own)) return DL_OK;
  fill_header(sync, given_up);
  if (!given_up && !serve->not_finite) dl_ps_history_note(&serve->history, "close %lld", (long long)serve->step);
  dl_ps_units_close(&serve->units, serve->step);
  return close_others(sync, given_up);
}

/* One that fails tells it: the others would serve what can no longer be done, and never come to agree. */
dl_status dl_ps_serve_step(dl_sync *sync) {
  const dl_status status = serve_step(sync);
  if (status == DL_OK) return DL_OK;
  dl_error error = *dl_error_last();
  close_others(sync, true);
  return dl_error_adopt(&error);
}

void dl_ps_serve_applied(dl_sync *sync) {
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  serve->version = serve->step + 1;
  if (!sync->options.norm_first) dl_ps_serve_end_view(sync);
}

bool dl_ps_serve_finite(const dl_sync *sync) { return !dl_ps_of(sync)->serve->not_finite; }

const dl_ps_staleness *dl_ps_serve_staleness(const dl_sync *sync) {
  return dl_ps_serve_is_async(sync) ? &dl_ps_of(sync)->serve->staleness : NULL;
}

/* ---- the end ---- */

static void say_end(const dl_sync *sync, dl_status status, const char *why) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_frame end = answer(own, DL_PS_END, NULL);
  end.status = (int32_t)status;
  for (int i = 0; i < own->serve->n; i++)
    if (own->serve->workers[i].here)
      dl_ps_link_send_copy(own->link, &own->serve->workers[i].peer, &end, why, strlen(why));
}

/* Who says goodbye has heard it. Who is here is told again anyway; who asks by a new connection is told now. */
static void hear_out(const dl_sync *sync, const dl_ps_mail *mail, dl_status status, const char *why) {
  const dl_ps *own = dl_ps_of(sync);
  const dl_ps_frame *f = &mail->frame;
  worker *w = find_worker(own->serve, &mail->from);
  if (!(w && w->here) && f->kind != DL_PS_BYE && f->kind != DL_PS_CLOSE && handlers[f->kind].handle)
    reply(own, mail, DL_PS_END, (int)status, why);
  if (f->kind == DL_PS_BYE && f->job == own->job && f->life == own->life && w) w->here = false;
}

/* A message may be lost with its connection, so the end is said until all who are there have said goodbye, for END_S at
 * most: a worker that misses it would wait for a server that is gone until its sync.timeout. */
void dl_ps_serve_dismiss(dl_sync *sync, dl_status status) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_mail mail;
  if (!own->serve || !own->link || !is_first(own)) return;
  const char *why = status == DL_OK ? "" : dl_error_last()->message;
  const double begin = dl_now_s();
  for (double now = begin, told = begin - END_AGAIN_S; count_here(own->serve) && now - begin < END_S;
       now = dl_now_s()) {
    if (now - told >= END_AGAIN_S) {
      say_end(sync, status, why);
      told = now;
    }
    dl_ps_link_wait(own->link, WAIT_MS);
    for (int n = 0; n < 256 && dl_ps_link_receive(own->link, &mail); n++) {
      hear_out(sync, &mail, status, why);
      dl_ps_mail_done(&mail);
    }
  }
}

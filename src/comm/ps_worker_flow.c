/* What travels while a worker computes. The sum of a unit is final from the last layers on while its last leaf goes
 * backward: each part of a slice (ps_parts.h) is pushed as soon as it is, ZeroMQ's own thread sends it, and the server
 * counts the push once all of it is there. Weights come in parts, first layers first, into which forward goes as far as
 * they are there. Where a server shares this host nothing travels, and one message for the whole is enough.
 *
 * Parts that are lost with a connection are not repeated one by one: a server that has all of a push says so, and of a
 * slice that stays incomplete the rest is missed by asking for an echo, which comes behind what was sent before. Then
 * the worker joins anew, and what it had computed is dropped. */
#include <stdlib.h>
#include <string.h>

#include "comm/ps_worker_private.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/vector.h"

#define ECHO_S 1.0 /* parts are missed for so long */
#define WAIT_MS 100

/* ---- the plan ---- */

static bool comes_in_parts(const dl_ps_worker *w, int s) { return w->options.overlap && w->flow[s].n > 1; }
static bool goes_in_parts(const dl_ps_worker *w, int s) { return comes_in_parts(w, s) && !w->sees[s]; }

dl_status dl_ps_worker_plan(dl_ps_worker *w) {
  dl_ps_worker_clear_flow(w);
  w->flow = dl_calloc((size_t)w->servers, sizeof *w->flow);
  if (!w->flow) return DL_ERR_NOMEM;
  for (int s = 0; s < w->servers; s++) {
    dl_ps_flow *flow = &w->flow[s];
    const int64_t first = dl_group_slice_begin(w->group, s, w->servers);
    const int64_t end = dl_group_slice_begin(w->group, s + 1, w->servers);
    flow->whole = dl_ps_part_at(w->group, w->blocks, w->n_blocks, first, end, (double)SIZE_MAX);
    DL_TRY(
        dl_ps_parts_cut(w->group, w->blocks, w->n_blocks, first, end, (double)w->part_bytes, &flow->parts, &flow->n));
    flow->have = dl_calloc((size_t)flow->n, sizeof *flow->have);
    if (!flow->have) return DL_ERR_NOMEM;
  }
  return DL_OK;
}

void dl_ps_worker_clear_flow(dl_ps_worker *w) {
  for (int s = 0; w->flow && s < w->servers; s++) {
    free(w->flow[s].parts);
    free(w->flow[s].have);
  }
  free(w->flow);
  w->flow = NULL;
}

void dl_ps_worker_reset_flow(dl_ps_worker *w) {
  for (int s = 0; w->flow && s < w->servers; s++) w->flow[s].missing = 0;
  w->lost = DL_PS_ANSWERED;
  w->pushing = w->early = false;
  w->last_merges = -1;
}

void dl_ps_worker_note_sharing(dl_ps_worker *w) {
  w->early = false;
  for (int s = 0; s < w->servers; s++) w->early |= goes_in_parts(w, s);
}

int32_t dl_ps_worker_ways(const dl_ps_worker *w, int s, bool views) {
  return (views && w->theirs[s] ? DL_PS_VIEW : 0) | (comes_in_parts(w, s) ? DL_PS_PARTS : 0);
}

dl_ps_frame dl_ps_worker_echo(const dl_ps_worker *w, int s) {
  dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_PULL);
  frame.status = DL_PS_ECHO | dl_ps_worker_ways(w, s, true);
  return frame;
}

/* ---- weights ---- */

static void restart(dl_ps_flow *flow, int64_t version) {
  memset(flow->have, 0, (size_t)flow->n * sizeof *flow->have);
  flow->missing = flow->n;
  flow->version = version;
}

void dl_ps_worker_expect(dl_ps_worker *w, int s) {
  w->flow[s].sequence = w->sequence;
  w->flow[s].told = false;
  restart(&w->flow[s], -1);
}

void dl_ps_worker_expect_none(dl_ps_worker *w, int s) { w->flow[s].missing = 0; }

bool dl_ps_worker_expect_parts(dl_ps_worker *w, int s, const dl_ps_frame *f) {
  dl_ps_flow *flow = &w->flow[s];
  if (!comes_in_parts(w, s) || f->sequence != flow->sequence) return false;
  if (flow->version != f->version) restart(flow, f->version);
  flow->told = true;
  return true;
}

/* Whether this part is still to come; one may come before it is said which version they have. */
static bool is_awaited(dl_ps_flow *flow, const dl_ps_frame *f) {
  if (!flow->missing || f->parts != flow->n || f->sequence != flow->sequence || f->form != DL_PS_FLOATS) return false;
  if (!flow->told && f->version > flow->version) restart(flow, f->version);
  const dl_ps_part *part = &flow->parts[f->part];
  return f->version == flow->version && !flow->have[f->part] &&
         f->payload_bytes == (part->end - part->begin) * sizeof(float);
}

bool dl_ps_worker_take_part(dl_ps_worker *w, int s, dl_ps_mail *mail) {
  const dl_ps_frame *f = &mail->frame;
  if (f->kind != DL_PS_WEIGHTS || !f->parts) return false;
  if (!w->flow || !is_awaited(&w->flow[s], f)) return true;
  memcpy(w->weights + w->flow[s].parts[f->part].begin, zmq_msg_data(&mail->payload), f->payload_bytes);
  w->flow[s].have[f->part] = true;
  w->flow[s].missing--;
  return true;
}

/* The first part before element `end` that has not come; -1: none. */
static int find_missing(const dl_ps_flow *flow, size_t end) {
  for (int k = 0; flow->missing && k < flow->n && flow->parts[k].begin < end; k++)
    if (!flow->have[k]) return k;
  return -1;
}

/* False: there is nothing more to receive now. `*part_s`: when a part came. */
static bool receive(dl_ps_worker *w, int s, uint64_t echo, double *part_s) {
  dl_ps_mail mail;
  if (!dl_ps_link_receive(w->link[s], &mail)) return false;
  w->heard_s = dl_now_s();
  if (dl_ps_worker_is_the_end(w, s, &mail))
    w->lost = DL_PS_ENDED;
  else if (dl_ps_worker_take_part(w, s, &mail))
    *part_s = w->heard_s;
  else if (echo && mail.frame.sequence == echo && mail.frame.kind != DL_PS_PING)
    w->lost = DL_PS_FORGOTTEN; /* it has forgotten this worker, or all that it sent before has come */
  dl_ps_mail_done(&mail);
  return true;
}

static void ask_for_echo(dl_ps_worker *w, int s, uint64_t *echo) {
  if (!*echo) *echo = ++w->sequence;
  const dl_ps_frame frame = dl_ps_worker_echo(w, s);
  dl_ps_link_send_copy(w->link[s], NULL, &frame, "", 0);
}

static void await_part(dl_ps_worker *w, int s, int k) {
  uint64_t echo = 0;
  double asked = w->heard_s = dl_now_s();
  while (w->lost == DL_PS_ANSWERED && w->flow[s].missing && !w->flow[s].have[k]) {
    if (receive(w, s, echo, &asked)) continue;
    w->lost = dl_ps_worker_patience(w, s);
    if (w->lost == DL_PS_FAILED) w->error = *dl_error_last();
    if (w->lost != DL_PS_ANSWERED) return;
    const double now = dl_now_s();
    if (now - asked > ECHO_S) ask_for_echo(w, s, &echo), asked = now;
    dl_ps_link_wait(w->link[s], WAIT_MS);
  }
}

void dl_ps_worker_await(dl_ps_worker *w, size_t end) {
  for (int s = 0; s < w->servers; s++)
    for (int k; w->lost == DL_PS_ANSWERED && (k = find_missing(&w->flow[s], end)) >= 0;) await_part(w, s, k);
}

/* ---- gradients ---- */

/* As the servers want it; what may be lent to ZeroMQ is. */
static bool make_payload(dl_ps_worker *w, const dl_ps_part *part, dl_ps_frame *frame, zmq_msg_t *out) {
  const float *values = w->slot[0] + part->begin;
  const size_t count = part->end - part->begin;
  if (w->topk) {
    frame->form = DL_PS_FEW;
    return dl_ps_payload_few(out, w->blocks, part, values);
  }
  if (!w->half) return dl_ps_payload_borrow(out, values, count * sizeof *values, &w->busy);
  frame->form = DL_PS_HALVES;
  return dl_ps_payload_pack(out, w->half, values, count);
}

/* Part `k`; -1: the whole slice. */
static bool send_slice(dl_ps_worker *w, int s, int k) {
  zmq_msg_t payload;
  dl_ps_frame frame = dl_ps_worker_request(w, DL_PS_PUSH);
  frame.step = w->task.step;
  frame.node = w->node;
  frame.samples = w->task.samples;
  frame.version = w->version[s];
  frame.status = dl_ps_worker_ways(w, s, true);
  memcpy(frame.sums, w->sums[0], sizeof frame.sums);
  if (w->sees[s]) {
    frame.form = DL_PS_IN_MEMORY;
    return dl_ps_link_send(w->link[s], NULL, &frame, NULL);
  }
  if (k >= 0) {
    frame.part = k;
    frame.parts = w->flow[s].n;
  }
  return make_payload(w, k < 0 ? &w->flow[s].whole : &w->flow[s].parts[k], &frame, &payload) &&
         dl_ps_link_send(w->link[s], NULL, &frame, &payload);
}

/* All weights have come by then: they are older than what is pushed. */
static bool begin_push(dl_ps_worker *w) {
  if (w->pushing) return w->lost == DL_PS_ANSWERED;
  dl_ps_worker_await(w, w->group->count);
  if (w->lost != DL_PS_ANSWERED) return false;
  w->pushing = true;
  w->sequence++;
  for (int s = 0; s < w->servers; s++) {
    w->flow[s].to_push = w->flow[s].n;
    dl_ps_worker_note_push(w, "push", s);
  }
  return true;
}

static void push_parts(dl_ps_worker *w, size_t from) {
  for (int s = 0; s < w->servers; s++)
    for (int *k = &w->flow[s].to_push;
         goes_in_parts(w, s) && w->lost == DL_PS_ANSWERED && *k && w->flow[s].parts[*k - 1].begin >= from;)
      if (!send_slice(w, s, --*k)) w->lost = DL_PS_FORGOTTEN;
}

bool dl_ps_worker_push(dl_ps_worker *w) {
  if (!begin_push(w)) return false;
  push_parts(w, 0);
  for (int s = 0; s < w->servers && w->lost == DL_PS_ANSWERED; s++)
    if (!goes_in_parts(w, s) && !send_slice(w, s, -1)) w->lost = DL_PS_FORGOTTEN;
  w->pushing = false;
  return w->lost == DL_PS_ANSWERED;
}

/* ---- leaves ---- */

/* A leaf's doubles in slot `top`, then down the stack. */
static void merge_sums(dl_ps_worker *w, int top, int merges, const double sums[DL_LEAF_SUMS]) {
  memcpy(w->sums[top], sums, sizeof w->sums[top]);
  for (int m = 0; m < merges; m++, top--)
    for (int k = 0; k < DL_LEAF_SUMS; k++) w->sums[top - 1][k] += w->sums[top][k];
}

/* The unit's sum becomes what goes out of it. */
static void thin(dl_ps_worker *w, size_t from, size_t end) {
  const dl_cut cut = dl_cut_make(w->task.samples, w->shards);
  memcpy(w->residual_before + from, dl_topk_residual(w->topk, 0) + from, (end - from) * sizeof *w->residual_before);
  w->thinned_from = from;
  dl_topk_sum(w->topk, &cut, w->slot[0], from, end);
}

void dl_ps_worker_thinned(dl_ps_worker *w, bool counts) {
  const size_t from = w->thinned_from, n = w->group->count - from;
  if (w->topk && !counts) memcpy(dl_topk_residual(w->topk, 0) + from, w->residual_before + from, n * sizeof(float));
  w->thinned_from = w->group->count;
}

/* What the push of the last leaf will merge is known before its gradient is; the doubles are, too. */
static void begin_last(dl_ps_worker *w, int64_t leaf, const double sums[DL_LEAF_SUMS]) {
  dl_tree_stack stack = w->stack;
  w->last_merges = dl_tree_stack_push_leaf(&stack, leaf);
  w->merged_from = w->group->count;
  merge_sums(w, w->stack.depth, w->last_merges, sums);
}

/* Elements [from, end) of the leaf in slot `top`, down the stack. */
static void merge(const dl_ps_worker *w, int top, int merges, size_t from, size_t end) {
  if (w->half) w->half->round(w->slot[top] + from, end - from);
  for (int m = 0; m < merges; m++, top--) {
    dl_vector()->add(w->slot[top - 1] + from, w->slot[top] + from, end - from);
    if (w->half) w->half->round(w->slot[top - 1] + from, end - from);
  }
}

void dl_ps_worker_ready(dl_ps_worker *w, int64_t leaf, size_t from, const double sums[DL_LEAF_SUMS]) {
  if (leaf != w->task.end_leaf - 1 || (from && !w->early)) return;
  if (w->last_merges < 0) begin_last(w, leaf, sums);
  const int64_t block = dl_group_block_at(w->blocks, w->n_blocks, from);
  if (from && w->topk) from = block < w->n_blocks ? w->blocks[block].offset : w->group->count;
  if (from < w->merged_from) {
    merge(w, w->stack.depth, w->last_merges, from, w->merged_from);
    if (w->topk) thin(w, from, w->merged_from);
    w->merged_from = from;
  }
  if (w->early && begin_push(w)) push_parts(w, from);
}

float *dl_ps_worker_gradients(dl_ps_worker *w) {
  int slot = w->stack.depth;
  if (!w->slot[slot]) w->slot[slot] = dl_calloc_aligned(w->group->count, sizeof(float));
  return w->slot[slot];
}

void dl_ps_worker_leaf_done(dl_ps_worker *w, int64_t leaf, const double sums[DL_LEAF_SUMS]) {
  const int top = w->stack.depth;
  dl_ps_worker_ready(w, leaf, 0, sums);
  const int merges = dl_tree_stack_push_leaf(&w->stack, leaf);
  if (w->last_merges >= 0) { /* they are in */
    w->last_merges = -1;
    return;
  }
  merge(w, top, merges, 0, w->group->count);
  merge_sums(w, top, merges, sums);
}

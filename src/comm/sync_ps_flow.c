/* Slices are cut into buckets of sync.bucket_mb, and each is pushed as soon as backward is done with it, the last
 * layers first: ZeroMQ's own thread sends it while the member computes on. A server adds what came when all meet,
 * applies, and sends the new weights, first layers first; they come in while the members read and compute the next
 * step's first layers, who wait for a bucket only when they need it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/ps_private.h"
#include "core/clock.h"

#define WAIT_MS 200

dl_status dl_ps_fail_late(const dl_sync *sync, const char *whom, const char *what) {
  dl_fail(DL_ERR_TRAIN, "waited %.0f s for %s at step %lld (%s)", sync->team->timeout_s, whom, (long long)sync->step,
          what);
  return dl_hint("a rank may be gone or slow; sync.timeout says how long is waited");
}

dl_status dl_ps_next_mail(const dl_sync *sync, dl_ps_link *link, const char *what, dl_ps_mail *mail) {
  const dl_ps *own = dl_ps_of(sync);
  const double begin = dl_now_s();
  for (;;) {
    while (dl_ps_link_receive(link, mail)) {
      if (mail->frame.job == own->job && mail->frame.life == own->life) return DL_OK;
      dl_ps_link_fault(link, DL_PS_BAD_JOB);
      dl_ps_mail_done(mail);
    }
    if (dl_now_s() - begin > sync->team->timeout_s) return dl_ps_fail_late(sync, "the others", what);
    dl_ps_link_wait(link, WAIT_MS);
  }
}

/* ---- buckets ---- */

/* The next one of server `s` from block `block` on; returns the block after it. */
static int64_t cut_bucket(const dl_sync *sync, int s, int64_t block, dl_ps_bucket *out) {
  const dl_ps *own = dl_ps_of(sync);
  const dl_ps_part part =
      dl_ps_part_at(sync->group, sync->blocks, sync->n_blocks, block, own->blocks[s + 1], sync->options.bucket_bytes);
  if (out) *out = (dl_ps_bucket){.server = s, .part = part};
  return part.end_block;
}

dl_status dl_ps_flow_setup(dl_sync *sync) {
  dl_ps *own = dl_ps_of(sync);
  for (int pass = 0; pass < 2; pass++) {
    int n = 0;
    for (int s = 0; s < own->servers; s++)
      for (int64_t b = own->blocks[s]; b < own->blocks[s + 1]; n++)
        b = cut_bucket(sync, s, b, pass ? &own->buckets[n] : NULL);
    own->n_buckets = n;
    if (pass) break;
    own->buckets = dl_calloc((size_t)n + 1, sizeof *own->buckets);
    own->awaited = dl_calloc((size_t)own->servers, sizeof *own->awaited);
    if (!own->buckets || !own->awaited) return DL_ERR_NOMEM;
  }
  for (int k = 0; k < own->n_buckets; k++) {
    dl_ps_bucket *bucket = &own->buckets[k];
    dl_ps_collect_init(&bucket->collect, bucket->part.end - bucket->part.begin, dl_ps_sum_release);
    bucket->collect.half = sync->half;
  }
  for (int s = 0; s < own->servers; s++) own->awaited[s] = own->n_buckets; /* no weights are under way */
  return DL_OK;
}

void dl_ps_flow_clear(dl_ps *own) {
  for (int k = 0; own->buckets && k < own->n_buckets; k++) dl_ps_collect_clear(&own->buckets[k].collect);
  free(own->buckets);
  free(own->awaited);
}

/* ---- gradients ---- */

/* What was lent to ZeroMQ has to be back before it is written to. */
dl_status dl_ps_flow_begin(dl_sync *sync) {
  dl_ps *own = dl_ps_of(sync);
  const double begin = dl_now_s();
  while (atomic_load_explicit(&own->busy, memory_order_acquire)) {
    if (dl_now_s() - begin > sync->team->timeout_s) return dl_ps_fail_late(sync, "a server", "sending gradients");
    usleep(20);
  }
  for (int k = 0; k < own->n_buckets; k++)
    if (own->buckets[k].server == own->server) dl_ps_collect_begin(&own->buckets[k].collect, sync->cut.leaves);
  own->to_push = own->n_buckets;
  own->pushed = DL_OK;
  own->n_cover = dl_tree_cover(sync->cut.leaves, sync->first_leaf, sync->end_leaf, own->cover);
  return DL_OK;
}

/* This member's node in `slot`, its elements of bucket `k`. */
static dl_status push_node(dl_sync *sync, int k, int slot) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_bucket *bucket = &own->buckets[k];
  float *values = sync->gradients + (size_t)slot * sync->group->count + bucket->part.begin;
  const size_t count = bucket->part.end - bucket->part.begin;
  if (bucket->server == own->server) {
    dl_ps_sum sum = {.node = own->cover[slot], .values = values};
    if (dl_ps_collect_add(&bucket->collect, &sum) == DL_PS_ADDED) return DL_OK;
    return dl_fail(DL_ERR_INTERNAL, "a node of this member does not fit the tree");
  }
  zmq_msg_t payload;
  dl_ps_frame frame = {.kind = DL_PS_PUSH,
                       .job = own->job,
                       .life = own->life,
                       .step = sync->step,
                       .part = k,
                       .parts = own->n_buckets,
                       .node = own->cover[slot]};
  if (sync->half) frame.form = DL_PS_HALVES;
  bool made = sync->half ? dl_ps_payload_pack(&payload, sync->half, values, count)
                         : dl_ps_payload_borrow(&payload, values, count * sizeof *values, &own->busy);
  if (made && dl_ps_link_send(own->out[bucket->server], NULL, &frame, &payload)) return DL_OK;
  return dl_fail(DL_ERR_SYSTEM, "gradients could not be sent to server %d", bucket->server);
}

void dl_ps_flow_ready(dl_sync *sync, size_t from) {
  dl_ps *own = dl_ps_of(sync);
  for (; own->to_push && own->buckets[own->to_push - 1].part.begin >= from; own->to_push--)
    for (int slot = 0; slot < own->n_cover && own->pushed == DL_OK; slot++)
      own->pushed = push_node(sync, own->to_push - 1, slot);
}

/* Takes one push; false: it is not what is waited for. */
static bool take_push(dl_sync *sync, dl_ps_mail *mail) {
  dl_ps *own = dl_ps_of(sync);
  const int k = mail->frame.part;
  dl_ps_sum sum;
  if (mail->frame.kind != DL_PS_PUSH || mail->frame.step != sync->step || mail->frame.parts != own->n_buckets)
    return false;
  dl_ps_bucket *bucket = &own->buckets[k];
  if (bucket->server != own->server || !dl_ps_take_sum(sync, mail, &bucket->part, NULL, &sum)) return false;
  if (dl_ps_collect_add(&bucket->collect, &sum) == DL_PS_ADDED) return true;
  dl_ps_sum_release(sum.owner);
  return false;
}

dl_status dl_ps_flow_collect(dl_sync *sync) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_mail mail;
  for (int k = 0; k < own->n_buckets; k++)
    while (own->buckets[k].server == own->server && dl_ps_collect_missing(&own->buckets[k].collect)) {
      DL_TRY(dl_ps_next_mail(sync, own->link, "gradients", &mail));
      if (!take_push(sync, &mail)) dl_ps_link_fault(own->link, DL_PS_BAD_PLACE);
      dl_ps_mail_done(&mail);
    }
  return DL_OK;
}

/* ---- weights ---- */

static dl_status send_bucket(const dl_sync *sync, int k) {
  const dl_ps *own = dl_ps_of(sync);
  const dl_ps_bucket *bucket = &own->buckets[k];
  const size_t bytes = (bucket->part.end - bucket->part.begin) * sizeof(float);
  zmq_msg_t whole, part;
  if (zmq_msg_init_size(&whole, bytes)) return dl_fail(DL_ERR_NOMEM, "no memory for a message of %zu bytes", bytes);
  memcpy(zmq_msg_data(&whole), sync->weights + bucket->part.begin, bytes);
  dl_ps_frame frame = {.kind = DL_PS_WEIGHTS,
                       .job = own->job,
                       .life = own->life,
                       .step = sync->step,
                       .part = k,
                       .parts = own->n_buckets,
                       .payload_crc = dl_ps_crc(zmq_msg_data(&whole), bytes)};
  dl_status status = DL_OK;
  for (int r = 0; status == DL_OK && r < sync->team->size; r++) {
    if (r == sync->team->rank) continue;
    dl_ps_peer to = {0};
    to.n = (uint8_t)snprintf((char *)to.id, sizeof to.id, "m%d", r);
    zmq_msg_init(&part);
    zmq_msg_copy(&part, &whole); /* one copy of the bytes for all */
    if (!dl_ps_link_send(own->link, &to, &frame, &part))
      status = dl_fail(DL_ERR_TRAIN, "rank %d is not there to receive weights", r);
  }
  zmq_msg_close(&whole);
  return status;
}

dl_status dl_ps_flow_send(dl_sync *sync) {
  dl_ps *own = dl_ps_of(sync);
  for (int s = 0; s < own->servers; s++) {
    int first = 0;
    while (first < own->n_buckets && own->buckets[first].server < s) first++;
    own->awaited[s] = s == own->server ? own->n_buckets : first;
  }
  own->weights_step = sync->step;
  for (int k = 0; k < own->n_buckets; k++)
    if (own->buckets[k].server == own->server) DL_TRY(send_bucket(sync, k));
  return DL_OK;
}

static dl_status receive_bucket(dl_sync *sync, int k) {
  const dl_ps *own = dl_ps_of(sync);
  const dl_ps_bucket *bucket = &own->buckets[k];
  const size_t bytes = (bucket->part.end - bucket->part.begin) * sizeof(float);
  dl_ps_mail mail;
  for (bool got = false; !got; dl_ps_mail_done(&mail)) {
    const dl_ps_frame *f = &mail.frame;
    DL_TRY(dl_ps_next_mail(sync, own->out[bucket->server], "weights", &mail));
    got = f->kind == DL_PS_WEIGHTS && f->step == own->weights_step && f->part == k && f->parts == own->n_buckets &&
          f->payload_bytes == bytes;
    if (got) memcpy(sync->weights + bucket->part.begin, zmq_msg_data(&mail.payload), bytes);
  }
  return DL_OK;
}

/* A server's buckets come in their order. */
dl_status dl_ps_flow_await(dl_sync *sync, size_t end) {
  dl_ps *own = dl_ps_of(sync);
  for (int s = 0; s < own->servers; s++)
    for (int *k = &own->awaited[s];
         *k < own->n_buckets && own->buckets[*k].server == s && own->buckets[*k].part.begin < end; ++*k)
      DL_TRY(receive_bucket(sync, *k));
  return DL_OK;
}

/* A server's slice on its way to workers: where it lies for those of this host, else as messages that all share. A
 * slice is copied once a version for all who ask, in one piece or in parts, the first layers first: a worker computes
 * with those that it has while the others are on their way. ZeroMQ keeps what a slow worker has not taken yet; a link
 * has room for all parts of a slice, so an answer never has to wait here. */
#include <stdlib.h>
#include <string.h>

#include "comm/ps_private.h"

static void forget(dl_ps_snapshot *snapshot) {
  for (int k = 0; snapshot->part && k < snapshot->n; k++) zmq_msg_close(&snapshot->part[k]);
  free(snapshot->part);
  free(snapshot->crc);
  *snapshot = (dl_ps_snapshot){.version = -1};
}

void dl_ps_serve_forget_weights(dl_ps_serve *serve) {
  for (int in_parts = 0; in_parts < 2; in_parts++) forget(&serve->snapshot[in_parts]);
}

static bool copy_part(const dl_sync *sync, const dl_ps_part *part, zmq_msg_t *out, uint32_t *crc) {
  const size_t bytes = (part->end - part->begin) * sizeof *sync->weights;
  if (zmq_msg_init_size(out, bytes)) return zmq_msg_init(out), false;
  if (bytes) memcpy(zmq_msg_data(out), sync->weights + part->begin, bytes);
  *crc = dl_ps_crc(zmq_msg_data(out), bytes);
  return true;
}

/* The slice as it is now; NULL: no memory. */
static dl_ps_snapshot *take_snapshot(const dl_sync *sync, bool in_parts) {
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  dl_ps_snapshot *snapshot = &serve->snapshot[in_parts];
  const dl_ps_part *parts = in_parts ? serve->parts : &serve->whole;
  const int n = in_parts ? serve->n_parts : 1;
  if (snapshot->part && snapshot->version == serve->version) return snapshot;
  forget(snapshot);
  snapshot->part = dl_calloc((size_t)n, sizeof *snapshot->part);
  snapshot->crc = dl_calloc((size_t)n, sizeof *snapshot->crc);
  bool made = snapshot->part && snapshot->crc;
  for (; made && snapshot->n < n; snapshot->n++)
    made = copy_part(sync, &parts[snapshot->n], &snapshot->part[snapshot->n], &snapshot->crc[snapshot->n]);
  snapshot->version = serve->version;
  if (made) return snapshot;
  forget(snapshot);
  return NULL;
}

static bool send_copy(const dl_sync *sync, const dl_ps_client *to, dl_ps_frame *frame, dl_ps_snapshot *of, int k) {
  zmq_msg_t payload;
  zmq_msg_init(&payload);
  zmq_msg_copy(&payload, &of->part[k]);
  frame->payload_crc = of->crc[k];
  return dl_ps_link_send(dl_ps_of(sync)->link, &to->peer, frame, &payload);
}

static bool send_parts(const dl_sync *sync, const dl_ps_client *to, dl_ps_frame *frame) {
  dl_ps_snapshot *snapshot = take_snapshot(sync, true);
  frame->form = DL_PS_IN_PARTS;
  bool sent = snapshot && dl_ps_link_send(dl_ps_of(sync)->link, &to->peer, frame, NULL);
  dl_ps_frame part = *frame;
  part.kind = DL_PS_WEIGHTS;
  part.form = DL_PS_FLOATS;
  part.parts = snapshot ? snapshot->n : 0;
  for (; sent && part.part < part.parts; part.part++) sent = send_copy(sync, to, &part, snapshot, part.part);
  return sent;
}

bool dl_ps_serve_send_weights(const dl_sync *sync, const dl_ps_client *to, dl_ps_frame *frame, bool wanted) {
  const dl_ps *own = dl_ps_of(sync);
  frame->taken = to->pushed;
  if (wanted && to->views && own->serve->memory) {
    dl_ps_serve_view(sync);
    frame->form = DL_PS_IN_MEMORY;
    wanted = false;
  }
  if (!wanted) return dl_ps_link_send(own->link, &to->peer, frame, NULL);
  if (to->in_parts && own->serve->n_parts > 1) return send_parts(sync, to, frame);
  dl_ps_snapshot *snapshot = take_snapshot(sync, false);
  return snapshot && send_copy(sync, to, frame, snapshot, 0);
}

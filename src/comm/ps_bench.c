/* A server's thread that adds what is pushed and sends what is pulled; the worker's side is timed. The raw form sends
 * the same bytes in the same order through the same kind of sockets, without header or checksum: what is between the
 * two is what the protocol costs. */
#include "comm/ps_bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "comm/ps_crc.h"
#include "comm/ps_link.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/vector.h"

#define WARM_UP 3
#define WAIT_MS 100
#define PATIENCE_S 60

typedef struct side {
  const dl_ps_bench *bench;
  dl_ps_link *link;
  void *context, *socket; /* raw */
  float *sums;            /* slices x floats: the server's */
  float *values;          /* the worker's */
  _Atomic int busy;
  _Atomic bool over;
} side;

static size_t slice_bytes(const dl_ps_bench *b) { return b->floats * sizeof(float); }

/* ---- with frames ---- */

static void answer(side *s, dl_ps_mail *mail) {
  const dl_ps_bench *b = s->bench;
  const dl_ps_frame *f = &mail->frame;
  if (f->step < 0 || f->step >= b->slices) return;
  float *sum = s->sums + (size_t)f->step * b->floats;
  dl_ps_frame reply = {.kind = DL_PS_TAKEN, .step = f->step};
  zmq_msg_t payload;
  zmq_msg_init(&payload);
  if (f->kind == DL_PS_PUSH && f->payload_bytes == slice_bytes(b))
    dl_vector()->add(sum, zmq_msg_data(&mail->payload), b->floats);
  if (f->kind == DL_PS_PULL) {
    reply.kind = DL_PS_WEIGHTS;
    if (!dl_ps_payload_borrow(&payload, sum, slice_bytes(b), &s->busy)) return;
  }
  dl_ps_link_send(s->link, &mail->from, &reply, &payload);
}

static void *serve_frames(void *argument) {
  side *s = argument;
  dl_ps_mail mail;
  while (!atomic_load(&s->over)) {
    while (dl_ps_link_receive(s->link, &mail)) {
      answer(s, &mail);
      dl_ps_mail_done(&mail);
    }
    dl_ps_link_wait(s->link, WAIT_MS);
  }
  return NULL;
}

static dl_status fail_late(const side *s) {
  return dl_fail(DL_ERR_SYSTEM, "%s: no answer within %d s", s->bench->address, PATIENCE_S);
}

static dl_status frames_once(side *s, int kind, double *seconds) {
  const dl_ps_bench *b = s->bench;
  const double begin = dl_now_s();
  dl_ps_mail mail;
  for (int i = 0; i < b->slices; i++) {
    dl_ps_frame frame = {.kind = kind, .step = i};
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    if (kind == DL_PS_PUSH &&
        !dl_ps_payload_borrow(&payload, s->values + (size_t)i * b->floats, slice_bytes(b), &s->busy))
      return DL_ERR_NOMEM;
    if (!dl_ps_link_send(s->link, NULL, &frame, &payload)) return dl_fail(DL_ERR_SYSTEM, "a frame cannot be sent");
  }
  for (int got = 0; got < b->slices;) {
    if (dl_now_s() - begin > PATIENCE_S) return fail_late(s);
    if (!dl_ps_link_receive(s->link, &mail)) {
      dl_ps_link_wait(s->link, WAIT_MS);
      continue;
    }
    if (mail.frame.kind == DL_PS_WEIGHTS && mail.frame.payload_bytes == slice_bytes(b))
      memcpy(s->values + (size_t)mail.frame.step * b->floats, zmq_msg_data(&mail.payload), slice_bytes(b));
    dl_ps_mail_done(&mail);
    got++;
  }
  *seconds = dl_now_s() - begin;
  return DL_OK;
}

/* ---- ZeroMQ alone: a worker's part is one message of 4 bytes (which slice) and the slice, or only those 4 bytes ----
 */

static bool raw_receive(void *socket, zmq_msg_t *part) {
  zmq_msg_init(part);
  return zmq_msg_recv(part, socket, 0) >= 0;
}

static bool raw_slice(void *socket, const float *data, size_t bytes, _Atomic int *busy) {
  zmq_msg_t payload;
  return dl_ps_payload_borrow(&payload, data, bytes, busy) && zmq_msg_send(&payload, socket, 0) >= 0;
}

/* Answers one request; false when the socket is closed for good. */
static bool raw_answer(side *s) {
  const dl_ps_bench *b = s->bench;
  zmq_msg_t who, which, payload;
  int32_t i = 0;
  if (!raw_receive(s->socket, &who)) return false;
  if (!raw_receive(s->socket, &which) || !raw_receive(s->socket, &payload)) return false;
  if (zmq_msg_size(&which) == sizeof i) memcpy(&i, zmq_msg_data(&which), sizeof i);
  float *sum = s->sums + (size_t)(i >= 0 && i < b->slices ? i : 0) * b->floats;
  const bool push = zmq_msg_size(&payload) == slice_bytes(b);
  if (push) dl_vector()->add(sum, zmq_msg_data(&payload), b->floats);
  bool sent = zmq_msg_send(&who, s->socket, ZMQ_SNDMORE) >= 0 && zmq_msg_send(&which, s->socket, ZMQ_SNDMORE) >= 0;
  sent = sent && (push ? zmq_send(s->socket, "", 0, 0) >= 0 : raw_slice(s->socket, sum, slice_bytes(b), &s->busy));
  zmq_msg_close(&payload);
  return sent;
}

static void *serve_raw(void *argument) {
  side *s = argument;
  while (!atomic_load(&s->over)) {
    zmq_pollitem_t item = {.socket = s->socket, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, WAIT_MS) > 0 && !raw_answer(s)) return NULL;
  }
  return NULL;
}

static dl_status raw_once(side *s, int kind, double *seconds) {
  const dl_ps_bench *b = s->bench;
  const double begin = dl_now_s();
  for (int32_t i = 0; i < b->slices; i++) {
    bool sent = zmq_send(s->socket, &i, sizeof i, ZMQ_SNDMORE) >= 0;
    sent =
        sent && (kind == DL_PS_PUSH ? raw_slice(s->socket, s->values + (size_t)i * b->floats, slice_bytes(b), &s->busy)
                                    : zmq_send(s->socket, "", 0, 0) >= 0);
    if (!sent) return dl_fail(DL_ERR_SYSTEM, "a message cannot be sent: %s", zmq_strerror(zmq_errno()));
  }
  for (int got = 0; got < b->slices; got++) {
    zmq_msg_t which, payload;
    int32_t i = 0;
    if (!raw_receive(s->socket, &which) || !raw_receive(s->socket, &payload)) return fail_late(s);
    if (zmq_msg_size(&which) == sizeof i) memcpy(&i, zmq_msg_data(&which), sizeof i);
    if (zmq_msg_size(&payload) == slice_bytes(b) && i >= 0 && i < b->slices)
      memcpy(s->values + (size_t)i * b->floats, zmq_msg_data(&payload), slice_bytes(b));
    zmq_msg_close(&which);
    zmq_msg_close(&payload);
  }
  *seconds = dl_now_s() - begin;
  return DL_OK;
}

static dl_status open_raw(side *s, int kind, const dl_ps_keys *keys, const char *server_key) {
  int patience = PATIENCE_S * 1000, any = 0, one = 1;
  s->context = zmq_ctx_new();
  s->socket = s->context ? zmq_socket(s->context, kind) : NULL;
  if (!s->socket) return dl_fail(DL_ERR_SYSTEM, "no socket: %s", zmq_strerror(zmq_errno()));
  zmq_setsockopt(s->socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
  zmq_setsockopt(s->socket, ZMQ_RCVHWM, &any, sizeof any);
  zmq_setsockopt(s->socket, ZMQ_SNDHWM, &any, sizeof any);
  zmq_setsockopt(s->socket, ZMQ_LINGER, &any, sizeof any);
  if (keys && !server_key) zmq_setsockopt(s->socket, ZMQ_CURVE_SERVER, &one, sizeof one);
  if (keys) zmq_setsockopt(s->socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, DL_PS_KEY_TEXT);
  if (server_key) zmq_setsockopt(s->socket, ZMQ_CURVE_PUBLICKEY, keys->public_key, DL_PS_KEY_TEXT);
  if (server_key) zmq_setsockopt(s->socket, ZMQ_CURVE_SERVERKEY, server_key, DL_PS_KEY_TEXT);
  const char *address = s->bench->address;
  if (kind == ZMQ_ROUTER ? !zmq_bind(s->socket, address) : !zmq_connect(s->socket, address)) return DL_OK;
  return dl_fail(DL_ERR_SYSTEM, "%s: %s", address, zmq_strerror(zmq_errno()));
}

/* ---- both ---- */

static void close_side(side *s) {
  dl_ps_link_close(&s->link, 0);
  if (s->socket) zmq_close(s->socket);
  if (s->context) zmq_ctx_term(s->context);
  s->socket = s->context = NULL;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

typedef dl_status (*once_fn)(side *s, int kind, double *seconds);

static dl_status median_of(side *s, once_fn once, int kind, double *out) {
  double *times = dl_calloc((size_t)s->bench->rounds, sizeof *times), warm;
  dl_status status = times ? DL_OK : DL_ERR_NOMEM;
  for (int i = 0; status == DL_OK && i < WARM_UP; i++) status = once(s, kind, &warm);
  for (int i = 0; status == DL_OK && i < s->bench->rounds; i++) status = once(s, kind, &times[i]);
  if (status == DL_OK) {
    qsort(times, (size_t)s->bench->rounds, sizeof *times, by_value);
    *out = times[s->bench->rounds / 2];
  }
  free(times);
  return status;
}

static dl_status measure(side *server, side *worker, void *(*serve)(void *), once_fn once, double *push, double *pull) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, serve, server)) return dl_fail(DL_ERR_SYSTEM, "no thread can be started");
  dl_status status = median_of(worker, once, DL_PS_PUSH, push);
  if (status == DL_OK) status = median_of(worker, once, DL_PS_PULL, pull);
  atomic_store(&server->over, true);
  pthread_join(thread, NULL);
  atomic_store(&server->over, false);
  close_side(worker);
  close_side(server);
  return status;
}

static dl_status run_both(side *server, side *worker, const dl_ps_keys *keys, dl_ps_bench_times *out) {
  const dl_ps_bench *b = server->bench;
  dl_ps_allowed allowed = {.n = 1};
  allowed.key = dl_calloc(1, sizeof *allowed.key);
  if (!allowed.key) return DL_ERR_NOMEM;
  memcpy(allowed.key[0], keys[1].public_key, DL_PS_KEY_TEXT);
  dl_ps_link_options listen = {
      .address = b->address, .keys = b->keys ? &keys[0] : NULL, .allowed = &allowed, .max_bytes = slice_bytes(b)};
  dl_ps_link_options connect = {.address = b->address,
                                .keys = b->keys ? &keys[1] : NULL,
                                .server_key = keys[0].public_key,
                                .max_bytes = slice_bytes(b)};
  dl_status status = dl_ps_link_listen(&listen, &server->link);
  if (status == DL_OK) status = dl_ps_link_connect(&connect, &worker->link);
  if (status == DL_OK) status = measure(server, worker, serve_frames, frames_once, &out->push_s, &out->pull_s);
  if (status == DL_OK) status = open_raw(server, ZMQ_ROUTER, b->keys ? &keys[0] : NULL, NULL);
  if (status == DL_OK)
    status = open_raw(worker, ZMQ_DEALER, b->keys ? &keys[1] : NULL, b->keys ? keys[0].public_key : NULL);
  if (status == DL_OK) status = measure(server, worker, serve_raw, raw_once, &out->raw_push_s, &out->raw_pull_s);
  dl_ps_allowed_clear(&allowed);
  return status;
}

dl_status dl_ps_bench_run(const dl_ps_bench *bench, dl_ps_bench_times *out) {
  size_t all = (size_t)bench->slices * bench->floats;
  side server = {.bench = bench}, worker = {.bench = bench};
  dl_ps_keys keys[2];
  server.sums = dl_calloc_aligned(all, sizeof(float));
  worker.values = dl_calloc_aligned(all, sizeof(float));
  dl_status status = server.sums && worker.values ? DL_OK : DL_ERR_NOMEM;
  for (int i = 0; status == DL_OK && i < 2; i++) status = dl_ps_keys_new(&keys[i]);
  if (status == DL_OK) status = run_both(&server, &worker, keys, out);
  close_side(&worker);
  close_side(&server);
  free(server.sums);
  free(worker.values);
  return status;
}

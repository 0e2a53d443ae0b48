/* Threads of this process that add what is pushed and send what is pulled; the workers' side is timed. The raw form
 * sends the same bytes in the same order through the same kind of sockets, without header or checksum: what is between
 * the two is what the protocol costs. All ways are open at once and take turns, so that whatever else the machine does
 * meets them alike. */
#include "comm/ps_bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "comm/ps_link.h"
#include "comm/ps_share.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/vector.h"

#define WARM_UP 3
#define WAIT_MS 100
#define PATIENCE_S 60
#define MOST 4 /* servers, workers */

typedef struct bench bench;

/* A socket of one way: a server's, or a worker's to one server. */
typedef struct plug {
  dl_ps_link *link;
  void *context, *socket; /* raw */
} plug;

typedef struct server {
  bench *of;
  int way;
  plug plug;
  pthread_t thread;
  bool started;
} server;

typedef struct worker {
  bench *of;
  int number;
  float *values;
  dl_ps_share *memory;                /* another copy of them, which servers read */
  const dl_ps_share *seen;            /* as servers have it */
  plug plugs[DL_PS_BENCH_WAYS][MOST]; /* to each server */
  dl_status status;
  dl_error error;
} worker;

struct bench {
  const dl_ps_bench *asked;
  server servers[DL_PS_BENCH_WAYS][MOST];
  worker workers[MOST];
  float *sums;                /* slices x floats: all servers' */
  dl_ps_share **views;        /* of each slice */
  const dl_ps_share **viewed; /* as workers have them */
  dl_ps_keys keys[2];
  _Atomic int busy; /* payloads that ZeroMQ still reads */
  _Atomic bool over;
  int way, kind; /* what the workers do now */
  int64_t round; /* the version that is pulled */
};

static size_t slice_bytes(const bench *b) { return b->asked->floats * sizeof(float); }
static float *sum_of(const bench *b, int slice) { return b->sums + (size_t)slice * b->asked->floats; }
static float *value_of(const worker *w, int slice) { return w->values + (size_t)slice * w->of->asked->floats; }

/* ---- with frames ---- */

static void add_slice(const bench *b, const dl_ps_mail *mail, int slice) {
  const dl_ps_frame *f = &mail->frame;
  const void *from = NULL;
  if (f->form == DL_PS_IN_MEMORY && f->samples < b->asked->workers)
    from = (const float *)dl_ps_share_data(b->workers[f->samples].seen) + (size_t)slice * b->asked->floats;
  else if (f->payload_bytes == slice_bytes(b))
    from = zmq_msg_data((zmq_msg_t *)(uintptr_t)&mail->payload);
  if (from) dl_vector()->add(sum_of(b, slice), from, b->asked->floats);
}

static void answer(server *s, dl_ps_mail *mail) {
  bench *b = s->of;
  const dl_ps_frame *f = &mail->frame;
  const int slice = (int)f->step;
  if (f->step < 0 || f->step >= b->asked->slices) return;
  dl_ps_frame reply = {.kind = DL_PS_TAKEN, .step = f->step, .version = f->version};
  zmq_msg_t payload;
  zmq_msg_init(&payload);
  if (f->kind == DL_PS_PUSH) add_slice(b, mail, slice);
  if (f->kind == DL_PS_PULL) reply.kind = DL_PS_WEIGHTS;
  if (f->kind == DL_PS_PULL && s->way == DL_PS_BENCH_MEMORY)
    dl_ps_share_write_view(b->views[slice], f->version, sum_of(b, slice), slice_bytes(b));
  else if (f->kind == DL_PS_PULL && !dl_ps_payload_borrow(&payload, sum_of(b, slice), slice_bytes(b), &b->busy))
    return;
  dl_ps_link_send(s->plug.link, &mail->from, &reply, &payload);
}

static void *serve_frames(void *argument) {
  server *s = argument;
  dl_ps_mail mail;
  while (!atomic_load(&s->of->over)) {
    while (dl_ps_link_receive(s->plug.link, &mail)) {
      answer(s, &mail);
      dl_ps_mail_done(&mail);
    }
    dl_ps_link_wait(s->plug.link, WAIT_MS);
  }
  return NULL;
}

static dl_status fail_late(const bench *b) {
  return dl_fail(DL_ERR_SYSTEM, "%s: no answer within %d s", b->asked->address, PATIENCE_S);
}

static dl_status send_frame(worker *w, const plug *to, int way, int kind, int slice) {
  bench *b = w->of;
  dl_ps_frame frame = {.kind = kind, .step = slice, .samples = w->number, .version = b->round};
  zmq_msg_t payload;
  zmq_msg_init(&payload);
  if (way == DL_PS_BENCH_MEMORY)
    frame.form = DL_PS_IN_MEMORY;
  else if (kind == DL_PS_PUSH && !dl_ps_payload_borrow(&payload, value_of(w, slice), slice_bytes(b), &b->busy))
    return DL_ERR_NOMEM;
  if (dl_ps_link_send(to->link, NULL, &frame, &payload)) return DL_OK;
  return dl_fail(DL_ERR_SYSTEM, "a frame cannot be sent");
}

static dl_status take_frame(worker *w, const plug *from, int way) {
  const bench *b = w->of;
  const double begin = dl_now_s();
  dl_ps_mail mail;
  while (!dl_ps_link_receive(from->link, &mail)) {
    if (dl_now_s() - begin > PATIENCE_S) return fail_late(b);
    dl_ps_link_wait(from->link, WAIT_MS);
  }
  const int slice = (int)mail.frame.step;
  bool whole = slice >= 0 && slice < b->asked->slices;
  if (whole && mail.frame.kind == DL_PS_WEIGHTS && way == DL_PS_BENCH_MEMORY)
    whole = dl_ps_share_read_view(b->viewed[slice], mail.frame.version, value_of(w, slice), slice_bytes(b));
  else if (whole && mail.frame.payload_bytes == slice_bytes(b))
    memcpy(value_of(w, slice), zmq_msg_data(&mail.payload), slice_bytes(b));
  dl_ps_mail_done(&mail);
  return whole ? DL_OK : dl_fail(DL_ERR_INTERNAL, "a slice was written over while it was read");
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
static bool raw_answer(server *s) {
  bench *b = s->of;
  void *socket = s->plug.socket;
  zmq_msg_t who, which, payload;
  int32_t i = 0;
  if (!raw_receive(socket, &who)) return false;
  if (!raw_receive(socket, &which) || !raw_receive(socket, &payload)) return false;
  if (zmq_msg_size(&which) == sizeof i) memcpy(&i, zmq_msg_data(&which), sizeof i);
  float *sum = sum_of(b, i >= 0 && i < b->asked->slices ? i : 0);
  const bool push = zmq_msg_size(&payload) == slice_bytes(b);
  if (push) dl_vector()->add(sum, zmq_msg_data(&payload), b->asked->floats);
  bool sent = zmq_msg_send(&who, socket, ZMQ_SNDMORE) >= 0 && zmq_msg_send(&which, socket, ZMQ_SNDMORE) >= 0;
  sent = sent && (push ? zmq_send(socket, "", 0, 0) >= 0 : raw_slice(socket, sum, slice_bytes(b), &b->busy));
  zmq_msg_close(&payload);
  return sent;
}

static void *serve_raw(void *argument) {
  server *s = argument;
  while (!atomic_load(&s->of->over)) {
    zmq_pollitem_t item = {.socket = s->plug.socket, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, WAIT_MS) > 0 && !raw_answer(s)) return NULL;
  }
  return NULL;
}

static dl_status send_raw(worker *w, const plug *to, int way, int kind, int slice) {
  bench *b = w->of;
  const int32_t i = slice;
  (void)way;
  bool sent = zmq_send(to->socket, &i, sizeof i, ZMQ_SNDMORE) >= 0;
  sent = sent && (kind == DL_PS_PUSH ? raw_slice(to->socket, value_of(w, slice), slice_bytes(b), &b->busy)
                                     : zmq_send(to->socket, "", 0, 0) >= 0);
  return sent ? DL_OK : dl_fail(DL_ERR_SYSTEM, "a message cannot be sent: %s", zmq_strerror(zmq_errno()));
}

static dl_status take_raw(worker *w, const plug *from, int way) {
  const bench *b = w->of;
  zmq_msg_t which, payload;
  int32_t i = 0;
  (void)way;
  if (!raw_receive(from->socket, &which) || !raw_receive(from->socket, &payload)) return fail_late(b);
  if (zmq_msg_size(&which) == sizeof i) memcpy(&i, zmq_msg_data(&which), sizeof i);
  if (zmq_msg_size(&payload) == slice_bytes(b) && i >= 0 && i < b->asked->slices)
    memcpy(value_of(w, i), zmq_msg_data(&payload), slice_bytes(b));
  zmq_msg_close(&which);
  zmq_msg_close(&payload);
  return DL_OK;
}

/* ---- the ways ---- */

typedef struct way {
  void *(*serve)(void *server);
  dl_status (*send)(worker *w, const plug *to, int way, int kind, int slice);
  dl_status (*take)(worker *w, const plug *from, int way);
} way;

static const way ways[DL_PS_BENCH_WAYS] = {[DL_PS_BENCH_RAW] = {serve_raw, send_raw, take_raw},
                                           [DL_PS_BENCH_FRAMES] = {serve_frames, send_frame, take_frame},
                                           [DL_PS_BENCH_MEMORY] = {serve_frames, send_frame, take_frame}};

static dl_status once(worker *w, int number, int kind) {
  const dl_ps_bench *asked = w->of->asked;
  const way *how = &ways[number];
  for (int i = 0; i < asked->slices; i++) DL_TRY(how->send(w, &w->plugs[number][i % asked->servers], number, kind, i));
  for (int i = 0; i < asked->slices; i++) DL_TRY(how->take(w, &w->plugs[number][i % asked->servers], number));
  return DL_OK;
}

/* ---- sockets ---- */

static dl_status open_raw(const bench *b, const char *address, int kind, plug *out) {
  const bool keys = b->asked->keys, listens = kind == ZMQ_ROUTER;
  const dl_ps_keys *mine = &b->keys[!listens];
  int patience = PATIENCE_S * 1000, any = 0, one = 1;
  out->context = zmq_ctx_new();
  out->socket = out->context ? zmq_socket(out->context, kind) : NULL;
  if (!out->socket) return dl_fail(DL_ERR_SYSTEM, "no socket: %s", zmq_strerror(zmq_errno()));
  zmq_setsockopt(out->socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
  zmq_setsockopt(out->socket, ZMQ_RCVHWM, &any, sizeof any);
  zmq_setsockopt(out->socket, ZMQ_SNDHWM, &any, sizeof any);
  zmq_setsockopt(out->socket, ZMQ_LINGER, &any, sizeof any);
  if (keys && listens) zmq_setsockopt(out->socket, ZMQ_CURVE_SERVER, &one, sizeof one);
  if (keys) zmq_setsockopt(out->socket, ZMQ_CURVE_SECRETKEY, mine->secret_key, DL_PS_KEY_TEXT);
  if (keys && !listens) zmq_setsockopt(out->socket, ZMQ_CURVE_PUBLICKEY, mine->public_key, DL_PS_KEY_TEXT);
  if (keys && !listens) zmq_setsockopt(out->socket, ZMQ_CURVE_SERVERKEY, b->keys[0].public_key, DL_PS_KEY_TEXT);
  if (listens ? !zmq_bind(out->socket, address) : !zmq_connect(out->socket, address)) return DL_OK;
  return dl_fail(DL_ERR_SYSTEM, "%s: %s", address, zmq_strerror(zmq_errno()));
}

static dl_status open_link(const bench *b, const char *address, bool listens, plug *out) {
  dl_ps_allowed allowed = {.n = 1};
  allowed.key = dl_calloc(1, sizeof *allowed.key);
  if (!allowed.key) return DL_ERR_NOMEM;
  memcpy(allowed.key[0], b->keys[1].public_key, DL_PS_KEY_TEXT);
  dl_ps_link_options options = {.address = address,
                                .keys = b->asked->keys ? &b->keys[!listens] : NULL,
                                .allowed = &allowed,
                                .server_key = b->keys[0].public_key,
                                .max_bytes = slice_bytes(b)};
  dl_status status = listens ? dl_ps_link_listen(&options, &out->link) : dl_ps_link_connect(&options, &out->link);
  dl_ps_allowed_clear(&allowed);
  return status;
}

static dl_status open_plug(const bench *b, int number, int s, bool listens, plug *out) {
  char address[256];
  DL_TRY(dl_ps_address_of(b->asked->address, number * b->asked->servers + s, address, sizeof address));
  if (number == DL_PS_BENCH_RAW) return open_raw(b, address, listens ? ZMQ_ROUTER : ZMQ_DEALER, out);
  return open_link(b, address, listens, out);
}

static void close_plug(plug *p) {
  dl_ps_link_close(&p->link, 0);
  if (p->socket) zmq_close(p->socket);
  if (p->context) zmq_ctx_term(p->context);
  *p = (plug){0};
}

static dl_status open_plugs(bench *b) {
  for (int n = 0; n < DL_PS_BENCH_WAYS; n++)
    for (int s = 0; s < b->asked->servers; s++) {
      b->servers[n][s] = (server){.of = b, .way = n};
      DL_TRY(open_plug(b, n, s, true, &b->servers[n][s].plug));
      for (int w = 0; w < b->asked->workers; w++) DL_TRY(open_plug(b, n, s, false, &b->workers[w].plugs[n][s]));
    }
  return DL_OK;
}

/* ---- memory ---- */

static const dl_ps_share *seen_by_others(const dl_ps_share *share, size_t bytes) {
  unsigned char ticket[DL_PS_TICKET_BYTES];
  if (!share) return NULL;
  dl_ps_share_ticket(share, ticket);
  return dl_ps_share_open(ticket, sizeof ticket, bytes);
}

static dl_status make_memory(bench *b) {
  const dl_ps_bench *asked = b->asked;
  const size_t floats = (size_t)asked->slices * asked->floats, view = DL_PS_VIEWS * slice_bytes(b);
  bool all = true;
  b->sums = dl_calloc_aligned(floats, sizeof(float));
  b->views = dl_calloc((size_t)asked->slices, sizeof *b->views);
  b->viewed = dl_calloc((size_t)asked->slices, sizeof *b->viewed);
  if (!b->sums || !b->views || !b->viewed) return DL_ERR_NOMEM;
  for (int i = 0; i < asked->slices; i++) {
    b->views[i] = dl_ps_share_new(view);
    b->viewed[i] = seen_by_others(b->views[i], view);
    all &= b->viewed[i] != NULL;
  }
  for (int i = 0; i < asked->workers; i++) {
    worker *w = &b->workers[i];
    *w = (worker){.of = b, .number = i, .values = dl_calloc_aligned(floats, sizeof(float))};
    w->memory = dl_ps_share_new(floats * sizeof(float));
    w->seen = seen_by_others(w->memory, floats * sizeof(float));
    if (!w->values) return DL_ERR_NOMEM;
    all &= w->seen != NULL;
  }
  return all ? DL_OK : dl_fail(DL_ERR_SYSTEM, "memory cannot be shared through /proc here");
}

/* ---- measuring ---- */

static void *work(void *argument) {
  worker *w = argument;
  w->status = once(w, w->of->way, w->of->kind);
  if (w->status != DL_OK) w->error = *dl_error_last();
  return NULL;
}

/* This thread is the first worker. */
static dl_status time_one(bench *b, int number, int kind, double *seconds) {
  const int n = b->asked->workers;
  pthread_t threads[MOST];
  int started = 1;
  b->way = number;
  b->kind = kind;
  const double begin = dl_now_s();
  while (started < n && !pthread_create(&threads[started], NULL, work, &b->workers[started])) started++;
  work(&b->workers[0]);
  for (int i = 1; i < started; i++) pthread_join(threads[i], NULL);
  *seconds = dl_now_s() - begin;
  for (int i = 0; i < started; i++)
    if (b->workers[i].status != DL_OK) return dl_error_adopt(&b->workers[i].error);
  return started == n ? DL_OK : dl_fail(DL_ERR_SYSTEM, "no thread can be started");
}

static dl_status start_servers(bench *b) {
  for (int n = 0; n < DL_PS_BENCH_WAYS; n++)
    for (int s = 0; s < b->asked->servers; s++) {
      server *it = &b->servers[n][s];
      it->started = pthread_create(&it->thread, NULL, ways[n].serve, it) == 0;
      if (!it->started) return dl_fail(DL_ERR_SYSTEM, "no thread can be started");
    }
  return DL_OK;
}

static void stop_servers(bench *b) {
  atomic_store(&b->over, true);
  for (int n = 0; n < DL_PS_BENCH_WAYS; n++)
    for (int s = 0; s < b->asked->servers; s++)
      if (b->servers[n][s].started) pthread_join(b->servers[n][s].thread, NULL);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static dl_status measure(bench *b, dl_ps_bench_times *out) {
  const int rounds = b->asked->rounds, columns = 2 * DL_PS_BENCH_WAYS;
  double *times = dl_calloc((size_t)(rounds + WARM_UP) * (size_t)columns, sizeof *times);
  dl_status status = times ? DL_OK : DL_ERR_NOMEM;
  for (int r = 0; status == DL_OK && r < rounds + WARM_UP; r++, b->round++)
    for (int c = 0; status == DL_OK && c < columns; c++)
      status = time_one(b, c / 2, c % 2 ? DL_PS_PULL : DL_PS_PUSH, &times[c * (rounds + WARM_UP) + r]);
  for (int c = 0; status == DL_OK && c < columns; c++) {
    double *column = times + c * (rounds + WARM_UP) + WARM_UP;
    qsort(column, (size_t)rounds, sizeof *column, by_value);
    (c % 2 ? out->pull_s : out->push_s)[c / 2] = column[rounds / 2];
  }
  free(times);
  return status;
}

/* ---- the whole ---- */

static void clean_up(bench *b) {
  for (int n = 0; n < DL_PS_BENCH_WAYS; n++)
    for (int s = 0; s < b->asked->servers; s++) {
      for (int w = 0; w < b->asked->workers; w++) close_plug(&b->workers[w].plugs[n][s]);
      close_plug(&b->servers[n][s].plug);
    }
  for (int i = 0; i < b->asked->workers; i++) {
    const dl_ps_share *memory = b->workers[i].memory;
    dl_ps_share_close(&memory);
    dl_ps_share_close(&b->workers[i].seen);
    free(b->workers[i].values);
  }
  for (int i = 0; b->views && b->viewed && i < b->asked->slices; i++) {
    const dl_ps_share *view = b->views[i];
    dl_ps_share_close(&view);
    dl_ps_share_close(&b->viewed[i]);
  }
  free(b->views);
  free(b->viewed);
  free(b->sums);
}

dl_status dl_ps_bench_run(const dl_ps_bench *asked, dl_ps_bench_times *out) {
  bench *b = dl_calloc(1, sizeof *b);
  if (!b) return DL_ERR_NOMEM;
  b->asked = asked;
  dl_status status = asked->servers <= MOST && asked->workers <= MOST ? DL_OK : dl_fail(DL_ERR_INTERNAL, "too many");
  for (int i = 0; status == DL_OK && i < 2; i++) status = dl_ps_keys_new(&b->keys[i]);
  if (status == DL_OK) status = make_memory(b);
  if (status == DL_OK) status = open_plugs(b);
  if (status == DL_OK) status = start_servers(b);
  if (status == DL_OK) status = measure(b, out);
  stop_servers(b);
  clean_up(b);
  free(b);
  return status;
}

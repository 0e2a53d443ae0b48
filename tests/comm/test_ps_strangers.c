/* Strangers with real frames: what workers send is recorded on its way, and sent to the server again by others, bit by
 * bit different, cut, lengthened, under other versions, jobs, lives and kinds, with checksums that are right and wrong.
 * Some have not joined; some have, and send what no worker would. The training that goes on meanwhile must have the
 * bits that it has without them, and the process must not grow. Every second training speaks in parts of slices.
 * DLDIST_TEST_SECONDS: how long (2).
 *
 * The server is a thread of this program, so that sanitizers see all of it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "comm/launch.h"
#include "comm/ps_crc.h"
#include "comm/ps_frame.h"
#include "comm/ps_worker.h"
#include "comm/sync.h"
#include "core/clock.h"
#include "dltest.h"

#define STEPS 60
#define SHARDS 4
#define SAMPLES 16
#define FLOATS 20000
#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const dl_tensor tensor = {.count = FLOATS, .dims = 1, .shape = {FLOATS}, .trainable = true, .lr_scale = 1};
static void apply(void *context, const dl_tensor *of, size_t n, float *restrict weights, const float *restrict gradient,
                  float *const state[]) {
  (void)context, (void)of, (void)state;
  for (size_t i = 0; i < n; i++) weights[i] -= 0.1f * gradient[i];
}
static const dl_param_group group = {.count = FLOATS, .tensors = &tensor, .n_tensors = 1, .apply = apply};

static char folder[] = "/tmp/dl-test-strange-XXXXXX", back[128], front[128];
static float clean[FLOATS], found[FLOATS];

/* ---- a training ---- */

static dl_status serve_member(dl_team *team, void *context) {
  dl_sync *sync = NULL;
  dl_ps_options ps = {.role = DL_PS_SERVE,
                      .bind = back,
                      .digest = DIGEST,
                      .batch = SAMPLES,
                      .epoch_steps = STEPS,
                      .epoch_samples = (int64_t)STEPS * SAMPLES};
  dl_sync_options options = {.shards = SHARDS, .bucket_bytes = 20000, .ps = &ps};
  team->timeout_s = 60;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_status status = DL_OK;
  for (int64_t step = 0; status == DL_OK && step < STEPS; step++) {
    dl_cut cut = dl_cut_make(SAMPLES, SHARDS);
    dl_sync_result result;
    dl_sync_request request = {.step = step};
    status = dl_sync_begin(sync, &cut);
    if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
  }
  dl_sync_dismiss(sync, status);
  memcpy(context, dl_sync_weights(sync), sizeof clean);
  dl_sync_destroy(&sync);
  return status;
}

static void *serve(void *weights) {
  static _Atomic int status;
  atomic_store(&status, (int)dl_launch(1, serve_member, weights));
  return &status;
}

static dl_status work(const char *address, bool parts) {
  dl_ps_worker *worker = NULL;
  int64_t shards;
  float *weights = calloc(FLOATS, sizeof *weights);
  dl_ps_worker_options options = {.address = address, .timeout_s = 60, .messages = parts, .overlap = parts};
  dl_status status = weights ? dl_ps_worker_open(&options, &worker, &shards) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_ps_worker_join(worker, &group, weights, DIGEST, "test");
  for (dl_ps_task task = {0}; status == DL_OK && !task.end;) {
    status = dl_ps_worker_next(worker, &task);
    for (int64_t leaf = task.begin_leaf; status == DL_OK && !task.end && leaf < task.end_leaf; leaf++) {
      float *gradient = dl_ps_worker_gradients(worker);
      dl_ps_worker_await(worker, FLOATS);
      for (size_t i = 0; i < FLOATS; i++)
        gradient[i] = 0.3f * weights[i] + (float)((i * 31 + (size_t)(task.step * 7 + leaf)) % 101) / 7 - 5;
      dl_ps_worker_leaf_done(worker, leaf, (double[DL_LEAF_SUMS]){1, SAMPLES / SHARDS});
    }
    usleep(4000);
  }
  if (worker) dl_ps_worker_leave(worker, "");
  dl_ps_worker_close(&worker);
  free(weights);
  return status;
}

/* A worker of this thread, through `address`, and a server. */
static void train(const char *address, bool parts, float *weights) {
  pthread_t server;
  void *status;
  CU_ASSERT_EQUAL(pthread_create(&server, NULL, serve, weights), 0);
  DL_ASSERT_OK(work(address, parts));
  pthread_join(server, &status);
  CU_ASSERT_EQUAL(atomic_load((_Atomic int *)status), DL_OK);
}

/* ---- the tap: what goes from `front` to the server is recorded ---- */

#define RECORDS 64
#define MOST_BYTES (FLOATS * sizeof(float))
typedef struct record {
  dl_ps_frame frame;
  size_t bytes;
  unsigned char header[DL_PS_HEADER_BYTES], payload[MOST_BYTES];
} record;
static record records[RECORDS];
static int n_records;
static _Atomic long in_parts;
static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool go;
static _Atomic long sent;

static void keep(const void *header, size_t header_bytes, const void *payload, size_t bytes) {
  dl_ps_frame frame;
  if (bytes > MOST_BYTES || dl_ps_frame_read(header, header_bytes, payload, bytes, &frame) != DL_PS_FINE) return;
  if (frame.kind == DL_PS_PUSH && frame.parts) atomic_fetch_add(&in_parts, 1);
  pthread_mutex_lock(&records_lock);
  record *r = &records[n_records++ % RECORDS];
  r->frame = frame;
  r->bytes = bytes;
  memcpy(r->header, header, sizeof r->header);
  memcpy(r->payload, payload, bytes);
  pthread_mutex_unlock(&records_lock);
}

/* All parts of a message from one socket to the other. */
static void pass(void *from, void *to) {
  zmq_msg_t part[4];
  int n = 0, more = 1;
  size_t size = sizeof more;
  for (; more && n < 4; n++) {
    zmq_msg_init(&part[n]);
    if (zmq_msg_recv(&part[n], from, ZMQ_DONTWAIT) < 0) break;
    zmq_getsockopt(from, ZMQ_RCVMORE, &more, &size);
  }
  for (int i = 0; i < n; i++) {
    if (zmq_msg_send(&part[i], to, ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0)) < 0) zmq_msg_close(&part[i]);
  }
}

static void *plain_socket(void *context, int type) {
  void *socket = zmq_socket(context, type);
  int none = 0;
  zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
  return socket;
}

/* One worker at a time is on the other side, so what comes back is for who spoke last. */
static void *tap(void *unused) {
  void *context = zmq_ctx_new(), *near = plain_socket(context, ZMQ_ROUTER), *far = NULL;
  unsigned char id[64];
  size_t id_bytes = 0;
  (void)unused;
  zmq_bind(near, front);
  while (atomic_load(&go)) {
    zmq_pollitem_t item[2] = {{.socket = near, .events = ZMQ_POLLIN}, {.socket = far, .events = ZMQ_POLLIN}};
    if (zmq_poll(item, far ? 2 : 1, 20) <= 0) continue;
    if (item[0].revents) {
      zmq_msg_t name, header, payload;
      zmq_msg_init(&name), zmq_msg_init(&header), zmq_msg_init(&payload);
      zmq_msg_recv(&name, near, 0), zmq_msg_recv(&header, near, 0), zmq_msg_recv(&payload, near, 0);
      if (zmq_msg_size(&name) != id_bytes || memcmp(zmq_msg_data(&name), id, id_bytes)) {
        id_bytes = zmq_msg_size(&name);
        memcpy(id, zmq_msg_data(&name), id_bytes);
        if (far) zmq_close(far);
        far = plain_socket(context, ZMQ_DEALER);
        zmq_connect(far, back);
      }
      keep(zmq_msg_data(&header), zmq_msg_size(&header), zmq_msg_data(&payload), zmq_msg_size(&payload));
      if (zmq_msg_send(&header, far, ZMQ_SNDMORE) < 0) zmq_msg_close(&header);
      if (zmq_msg_send(&payload, far, 0) < 0) zmq_msg_close(&payload);
      zmq_msg_close(&name);
    }
    if (far && item[1].revents && zmq_send(near, id, id_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) pass(far, near);
  }
  if (far) zmq_close(far);
  zmq_close(near);
  zmq_ctx_term(context);
  return NULL;
}

/* ---- strangers ---- */

static uint64_t mixed(uint64_t *state) {
  uint64_t x = (*state += 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

typedef struct message {
  size_t header_bytes, bytes;
  dl_ps_frame frame;
  unsigned char header[2 * DL_PS_HEADER_BYTES], payload[MOST_BYTES + 4096];
} message;

/* Bits of up to four bytes in a row, each of another byte: no flip undoes another. */
static void flip(unsigned char *at, size_t bytes, uint64_t *state) {
  const uint64_t first = mixed(state), most = 1 + mixed(state) % 4;
  for (uint64_t i = 0; i < most && i < bytes; i++)
    at[(first % bytes + i) % bytes] ^= (unsigned char)(1 + mixed(state) % 255);
}

/* The header's own checksum is made right again. */
static void reseal(message *m) {
  const uint32_t crc = dl_ps_crc(m->header, DL_PS_HEADER_BYTES - 4);
  for (int b = 0; b < 4; b++) m->header[DL_PS_HEADER_BYTES - 4 + b] = (unsigned char)(crc >> 8 * b);
}

static void flip_header(message *m, uint64_t *state) { flip(m->header, DL_PS_HEADER_BYTES, state); }
static void flip_payload(message *m, uint64_t *state) {
  m->bytes ? flip(m->payload, m->bytes, state) : flip_header(m, state);
}
static void cut_header(message *m, uint64_t *state) { m->header_bytes = mixed(state) % DL_PS_HEADER_BYTES; }
static void lengthen_header(message *m, uint64_t *state) { m->header_bytes += 1 + mixed(state) % DL_PS_HEADER_BYTES; }
static void cut_payload(message *m, uint64_t *state) {
  m->bytes ? (void)(m->bytes = mixed(state) % m->bytes) : flip_header(m, state);
}
static void lengthen_payload(message *m, uint64_t *state) { m->bytes += 1 + mixed(state) % 4096; }
static void other_version(message *m, uint64_t *state) {
  m->header[4] = (unsigned char)(m->header[4] + 1 + mixed(state) % 255);
  reseal(m);
}
/* Bits of job or life, which no stranger knows. */
static void other_life(message *m, uint64_t *state) {
  flip(m->header + 8 + 8 * (mixed(state) % 2), 8, state);
  reseal(m);
}
/* Any field, under a right checksum. */
static void other_field(message *m, uint64_t *state) {
  flip(m->header + 6, DL_PS_HEADER_BYTES - 10, state);
  reseal(m);
}
/* A ticket to other memory, under right checksums. */
static void other_ticket(message *m, uint64_t *state) {
  if (m->frame.kind != DL_PS_SHARE) {
    flip_header(m, state);
    return;
  }
  flip(m->payload, m->bytes, state);
  m->frame.payload_crc = dl_ps_crc(m->payload, m->bytes);
  dl_ps_frame_write(&m->frame, m->header);
}
static void same(message *m, uint64_t *state) { (void)m, (void)state; }

typedef struct mutation {
  void (*make)(message *m, uint64_t *state);
  bool joined; /* harmless from somebody who has joined too: it cannot be taken for a worker's */
} mutation;
static const mutation mutations[] = {{flip_header, true},     {flip_payload, true}, {cut_header, true},
                                     {lengthen_header, true}, {cut_payload, true},  {lengthen_payload, true},
                                     {other_version, true},   {other_life, false},  {other_field, false},
                                     {same, false},           {other_ticket, true}};
#define N_MUTATIONS (sizeof mutations / sizeof *mutations)

static bool draw(message *m, uint64_t *state) {
  pthread_mutex_lock(&records_lock);
  const int most = n_records < RECORDS ? n_records : RECORDS;
  const record *r = most ? &records[mixed(state) % (uint64_t)most] : NULL;
  if (r) {
    m->frame = r->frame;
    m->header_bytes = DL_PS_HEADER_BYTES;
    m->bytes = r->bytes;
    memcpy(m->header, r->header, sizeof r->header);
    memcpy(m->payload, r->payload, r->bytes);
  }
  pthread_mutex_unlock(&records_lock);
  return r != NULL;
}

/* JOIN makes a worker of who sends it: only those send it who are to be one, and it alone unchanged. */
static bool mutate(message *m, bool joins, uint64_t *state) {
  if (!draw(m, state)) return false;
  if (m->frame.kind == DL_PS_JOIN && joins) return true;
  const mutation *how = &mutations[mixed(state) % N_MUTATIONS];
  if (joins && !how->joined) return false;
  if (m->frame.kind == DL_PS_JOIN && !how->joined) return false;
  how->make(m, state);
  return true;
}

typedef struct stranger {
  uint64_t seed;
  bool joins;
} stranger;

/* Its connections stay open until the end (zeromq/libzmq#4841). */
static void *be_strange(void *argument) {
  enum { SOCKETS = 8 };
  const stranger *s = argument;
  void *context = zmq_ctx_new(), *socket[SOCKETS];
  message *m = calloc(1, sizeof *m);
  uint64_t state = s->seed;
  if (!m) abort();
  for (int i = 0; i < SOCKETS; i++) {
    socket[i] = plain_socket(context, ZMQ_DEALER);
    zmq_connect(socket[i], back);
  }
  for (int i = 0; atomic_load(&go); i++) {
    void *to = socket[mixed(&state) % SOCKETS];
    zmq_msg_t answer;
    if (mutate(m, s->joins, &state) && zmq_send(to, m->header, m->header_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
        zmq_send(to, m->payload, m->bytes, ZMQ_DONTWAIT | (mixed(&state) % 40 ? 0 : ZMQ_SNDMORE)) >= 0)
      atomic_fetch_add(&sent, 1);
    zmq_msg_init(&answer);
    while (zmq_msg_recv(&answer, to, ZMQ_DONTWAIT) >= 0) continue;
    zmq_msg_close(&answer);
    if (i % 20 == 0) usleep(1000);
  }
  for (int i = 0; i < SOCKETS; i++) zmq_close(socket[i]);
  zmq_ctx_term(context);
  free(m);
  return NULL;
}

static double resident_mb(void) {
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file && fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
  if (file) fclose(file);
  return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void test_mutated_frames_change_nothing_and_leave_nothing_behind(void) {
  const char *asked = getenv("DLDIST_TEST_SECONDS");
  const double seconds = asked ? atof(asked) : 2, begin = dl_now_s();
  stranger s[3] = {{1, false}, {2, false}, {3, true}};
  pthread_t thread[3], tapper;
  double first_mb = 0;
  snprintf(back, sizeof back, "ipc://%s/server", folder);
  snprintf(front, sizeof front, "ipc://%s/tap", folder);
  train(back, false, clean);
  CU_ASSERT(clean[1] != 0);
  atomic_store(&go, true);
  CU_ASSERT_EQUAL(pthread_create(&tapper, NULL, tap, NULL), 0);
  for (int i = 0; i < 3; i++) CU_ASSERT_EQUAL(pthread_create(&thread[i], NULL, be_strange, &s[i]), 0);
  for (int round = 0; round < 3 || dl_now_s() - begin < seconds; round++) {
    memset(found, 0, sizeof found);
    train(front, round % 2, found);
    CU_ASSERT(memcmp(clean, found, sizeof clean) == 0);
    if (round == 2) first_mb = resident_mb();
  }
  const double last_mb = resident_mb();
  atomic_store(&go, false);
  for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
  pthread_join(tapper, NULL);
  printf("%ld frames in %.0f s, %.0f then %.0f MB ... ", atomic_load(&sent), dl_now_s() - begin, first_mb, last_mb);
  CU_ASSERT(atomic_load(&sent) > 200);
  CU_ASSERT(atomic_load(&in_parts) >= (long)STEPS * SHARDS);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
  CU_ASSERT(last_mb < first_mb + 64);
#endif
}

static const dl_test tests[] = {DL_TEST(test_mutated_frames_change_nothing_and_leave_nothing_behind)};

int main(void) { return dl_test_main_in(folder, "strangers with real frames", tests, sizeof tests / sizeof *tests); }

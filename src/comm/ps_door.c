/* A request has seven parts: version, request id, domain, address, identity, mechanism, key. The answer has six. */
#include "comm/ps_door.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "core/clock.h"
#include "core/mem.h"

#define PARTS 7
#define PART_BYTES 256
#define PROOF_S 5

struct dl_ps_door {
  void *socket;
  pthread_t thread;
  dl_ps_allowed allowed;
  _Atomic uint64_t denied;
};

typedef struct request {
  char part[PARTS][PART_BYTES];
  int bytes[PARTS], n;
} request;

/* False once the context is shut down. */
static bool read_request(void *socket, request *r) {
  int more = 1;
  size_t size = sizeof more;
  char excess[PART_BYTES];
  r->n = 0;
  while (more) {
    int got = zmq_recv(socket, r->n < PARTS ? r->part[r->n] : excess, PART_BYTES, 0);
    if (got < 0 && zmq_errno() == EINTR) continue;
    if (got < 0) return false;
    if (r->n < PARTS) r->bytes[r->n] = got;
    r->n++;
    if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size)) return false;
  }
  return true;
}

static bool is(const request *r, int part, const char *text) {
  return r->bytes[part] == (int)strlen(text) && !memcmp(r->part[part], text, strlen(text));
}

/* The key in Z85 where it may come in, else "". */
static void judge(const dl_ps_door *door, const request *r, char key[DL_PS_KEY_TEXT]) {
  key[0] = 0;
  if (r->n != PARTS || !is(r, 0, "1.0") || !is(r, 5, "CURVE") || r->bytes[6] != 32) return;
  if (!zmq_z85_encode(key, (const uint8_t *)r->part[6], 32) || !dl_ps_allowed_has(&door->allowed, key)) key[0] = 0;
}

static void *serve(void *argument) {
  dl_ps_door *door = argument;
  request r;
  char key[DL_PS_KEY_TEXT];
  while (read_request(door->socket, &r)) {
    judge(door, &r, key);
    if (!key[0]) atomic_fetch_add(&door->denied, 1);
    const char *code = key[0] ? "200" : "400", *text = key[0] ? "OK" : "not on the list";
    size_t id = r.n > 1 && r.bytes[1] <= PART_BYTES ? (size_t)r.bytes[1] : 0;
    zmq_send(door->socket, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(door->socket, r.part[1], id, ZMQ_SNDMORE);
    zmq_send(door->socket, code, 3, ZMQ_SNDMORE);
    zmq_send(door->socket, text, strlen(text), ZMQ_SNDMORE);
    zmq_send(door->socket, key, strlen(key), ZMQ_SNDMORE);
    zmq_send(door->socket, "", 0, 0);
  }
  zmq_close(door->socket);
  return NULL;
}

dl_status dl_ps_door_open(void *context, const dl_ps_allowed *allowed, dl_ps_door **out) {
  dl_ps_door *door = dl_calloc(1, sizeof *door);
  if (!door) return DL_ERR_NOMEM;
  door->allowed.key = dl_calloc((size_t)allowed->n, sizeof *door->allowed.key);
  dl_status status = door->allowed.key ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) {
    memcpy(door->allowed.key, allowed->key, (size_t)allowed->n * sizeof *allowed->key);
    door->allowed.n = allowed->n;
    door->socket = zmq_socket(context, ZMQ_REP);
    if (!door->socket || zmq_bind(door->socket, "inproc://zeromq.zap.01"))
      status = dl_fail(DL_ERR_SYSTEM, "the authenticator cannot start: %s", zmq_strerror(zmq_errno()));
  }
  if (status == DL_OK && pthread_create(&door->thread, NULL, serve, door))
    status = dl_fail(DL_ERR_SYSTEM, "the authenticator's thread cannot start");
  if (status == DL_OK) {
    *out = door;
    return DL_OK;
  }
  if (door->socket) zmq_close(door->socket);
  dl_ps_allowed_clear(&door->allowed);
  free(door);
  return status;
}

void dl_ps_door_close(dl_ps_door **door) {
  if (!*door) return;
  pthread_join((*door)->thread, NULL);
  dl_ps_allowed_clear(&(*door)->allowed);
  free(*door);
  *door = NULL;
}

uint64_t dl_ps_door_denied(const dl_ps_door *door) { return atomic_load(&door->denied); }

/* ---- the proof ---- */

/* An address that is listened on, as one to connect to. */
static void own_address(const char *address, char *out, size_t size) {
  static const char *const any[] = {"tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:"};
  snprintf(out, size, "%s", address);
  for (size_t i = 0; i < sizeof any / sizeof *any; i++)
    if (!strncmp(address, any[i], strlen(any[i]))) snprintf(out, size, "tcp://127.0.0.1:%s", address + strlen(any[i]));
}

/* The next event of a monitor, 0 for none within a tenth of a second. */
static int next_event(void *monitor) {
  zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
  uint8_t event[6];
  char where[256];
  if (zmq_poll(&item, 1, 100) < 1 || zmq_recv(monitor, event, sizeof event, 0) != sizeof event) return 0;
  zmq_recv(monitor, where, sizeof where, 0);
  return event[0] | event[1] << 8;
}

static int ask(void *monitor) {
  const double begin = dl_now_s();
  while (dl_now_s() - begin < PROOF_S) {
    int event = next_event(monitor);
    if (event & (ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_SUCCEEDED)) return event;
  }
  return 0;
}

dl_status dl_ps_door_prove(const char *address, const char *server_key) {
  char own[256];
  dl_ps_keys stranger;
  int event = 0, none = 0;
  own_address(address, own, sizeof own);
  DL_TRY(dl_ps_keys_new(&stranger));
  void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER), *monitor = zmq_socket(context, ZMQ_PAIR);
  if (socket && monitor) {
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, stranger.public_key, DL_PS_KEY_TEXT);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, stranger.secret_key, DL_PS_KEY_TEXT);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key, DL_PS_KEY_TEXT);
    if (!zmq_socket_monitor(socket, "inproc://proof", ZMQ_EVENT_ALL) && !zmq_connect(monitor, "inproc://proof") &&
        !zmq_connect(socket, own))
      event = ask(monitor);
  }
  if (socket) zmq_close(socket);
  if (monitor) zmq_close(monitor);
  if (context) zmq_ctx_term(context);
  if (event & ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) return DL_OK;
  if (event) return dl_fail(DL_ERR_SYSTEM, "%s lets in a key that is not on the list: nothing is served", address);
  return dl_fail(DL_ERR_SYSTEM, "%s does not answer to a key that is not on the list: nothing is served", address);
}

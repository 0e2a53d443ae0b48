/* ps_proxy.c - a bad network between workers and a parameter server: ps_proxy FRONT BACK SEED DELAY_MS TWICE LOST
 *
 * Listens on FRONT and speaks with the server at BACK, with a connection of its own for each that it has. A message is
 * held back by up to DELAY_MS milliseconds, so that messages overtake each other, TWICE of 1,000 arrive twice, LOST of
 * 1,000 do not arrive: in both directions, as SEED has it. Runs until it is killed. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "comm/ps_frame.h"

#define MOST_PEERS 256
#define MOST_PARTS 4

typedef struct peer {
  unsigned char id[64];
  size_t bytes;
  void *back; /* NULL: free */
} peer;

typedef struct message {
  int64_t due_ms;
  int peer;
  bool to_server;
  int parts;
  zmq_msg_t part[MOST_PARTS];
} message;

static void *context, *front;
static const char *server;
static peer peers[MOST_PEERS];
static message *held;
static int n_held, room;
static uint64_t state;
static int delay_ms, twice, lost;

static uint64_t mixed(void) {
  uint64_t x = (state += 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *made_socket(int type) {
  void *socket = zmq_socket(context, type);
  int zero = 0, one = 1;
  zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
  zmq_setsockopt(socket, ZMQ_RCVHWM, &zero, sizeof zero);
  zmq_setsockopt(socket, ZMQ_SNDHWM, &zero, sizeof zero);
  if (type == ZMQ_ROUTER) zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
  return socket;
}

/* ---- peers ---- */

static int find_peer(const void *id, size_t bytes) {
  int unused = -1;
  for (int i = 0; i < MOST_PEERS; i++) {
    if (!peers[i].back) unused = i;
    if (peers[i].back && peers[i].bytes == bytes && !memcmp(peers[i].id, id, bytes)) return i;
  }
  if (unused < 0 || bytes > sizeof peers->id) return -1;
  peer *p = &peers[unused];
  memcpy(p->id, id, bytes);
  p->bytes = bytes;
  p->back = made_socket(ZMQ_DEALER);
  zmq_connect(p->back, server);
  return unused;
}

static void forget_peer(int number) {
  zmq_close(peers[number].back);
  peers[number].back = NULL;
  for (int i = 0; i < n_held; i++)
    if (held[i].peer == number) held[i].peer = -1;
}

/* ---- messages ---- */

static void hold(const message *m, int64_t due_ms) {
  if (n_held == room) {
    room = room ? 2 * room : 256;
    held = realloc(held, (size_t)room * sizeof *held);
    if (!held) abort();
  }
  message *kept = &held[n_held++];
  *kept = *m;
  kept->due_ms = due_ms;
  for (int i = 0; i < m->parts; i++) {
    zmq_msg_init(&kept->part[i]);
    zmq_msg_copy(&kept->part[i], (zmq_msg_t *)(uintptr_t)&m->part[i]);
  }
}

static int64_t some_delay(void) { return delay_ms ? (int64_t)(mixed() % (uint64_t)(delay_ms + 1)) : 0; }

/* All parts of a message that has begun to arrive; then its fate. */
static void take_message(void *socket, bool to_server, int from) {
  message m = {.peer = from, .to_server = to_server};
  int more = 1, n = 0;
  size_t size = sizeof more;
  for (; more; n++) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, socket, 0) < 0) return;
    zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size);
    if (to_server && n == 0) {
      m.peer = find_peer(zmq_msg_data(&part), zmq_msg_size(&part));
      zmq_msg_close(&part);
    } else if (m.parts < MOST_PARTS) {
      m.part[m.parts++] = part;
    } else {
      zmq_msg_close(&part);
    }
  }
  const uint64_t fate = mixed() % 1000;
  const int copies = fate < (uint64_t)twice ? 2 : fate < (uint64_t)(twice + lost) ? 0 : 1;
  for (int i = 0; i < copies && m.peer >= 0; i++) hold(&m, now_ms() + some_delay());
  for (int i = 0; i < m.parts; i++) zmq_msg_close(&m.part[i]);
}

static void deliver(message *m) {
  bool sent = m->peer >= 0;
  const int number = m->peer;
  void *socket = sent ? (m->to_server ? peers[number].back : front) : NULL;
  if (sent && !m->to_server)
    sent = zmq_send(front, peers[number].id, peers[number].bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0;
  for (int i = 0; sent && i < m->parts; i++)
    sent = zmq_msg_send(&m->part[i], socket, ZMQ_DONTWAIT | (i + 1 < m->parts ? ZMQ_SNDMORE : 0)) >= 0;
  for (int i = 0; i < m->parts; i++) zmq_msg_close(&m->part[i]);
  if (!sent && number >= 0 && !m->to_server) forget_peer(number); /* the worker is gone: the server may see it */
}

static void deliver_due(void) {
  const int64_t now = now_ms();
  for (int i = 0; i < n_held;) {
    if (held[i].due_ms > now) {
      i++;
      continue;
    }
    message m = held[i];
    memmove(&held[i], &held[i + 1], (size_t)(n_held - i - 1) * sizeof *held);
    n_held--;
    deliver(&m);
  }
}

static void turn(void) {
  zmq_pollitem_t item[MOST_PEERS + 1] = {{.socket = front, .events = ZMQ_POLLIN}};
  int whose[MOST_PEERS + 1], n = 1;
  for (int i = 0; i < MOST_PEERS; i++) {
    if (!peers[i].back) continue;
    whose[n] = i;
    item[n++] = (zmq_pollitem_t){.socket = peers[i].back, .events = ZMQ_POLLIN};
  }
  zmq_poll(item, n, n_held ? 1 : 50);
  if (item[0].revents & ZMQ_POLLIN) take_message(front, true, -1);
  for (int i = 1; i < n; i++)
    if (item[i].revents & ZMQ_POLLIN) take_message(item[i].socket, false, whose[i]);
  deliver_due();
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  server = argv[2];
  state = strtoull(argv[3], NULL, 10);
  delay_ms = atoi(argv[4]);
  twice = atoi(argv[5]);
  lost = atoi(argv[6]);
  context = zmq_ctx_new();
  front = made_socket(ZMQ_ROUTER);
  if (zmq_bind(front, argv[1])) {
    fprintf(stderr, "%s: %s\n", argv[1], zmq_strerror(zmq_errno()));
    return 1;
  }
  for (;;) turn();
}

/* Parameter servers with workers that come, go, die and repeat themselves, among strangers.
 *
 * Servers and workers are threads of this program that speak over real sockets. The oracle is a serial sum along the
 * tree, worked out here by recursion. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "comm/ps_crc.h"
#include "comm/ps_frame.h"
#include "comm/ps_keys.h"
#include "comm/ps_link.h"
#include "comm/ps_share.h"
#include "ps_fixture.h"
#include "ps_mail_count.h"

static void test_bsp_has_the_bits_of_the_tree_at_any_number_of_workers_and_servers(void) {
  for (int servers = 1; servers <= 3; servers++)
    for (int workers = 1; workers <= 4; workers++) {
      server_run *server = calloc(1, sizeof *server);
      worker_run w[4] = {0};
      for (int i = 0; i < workers; i++)
        w[i] = (worker_run){.tasks = -1, .slow = 2000, .of_weights = true, .messages = i % 2};
      if (!server) abort();
      server->servers = servers;
      run_all(server, w, workers, 0);
      expect_bits(server);
      for (int i = 0; i < workers; i++) CU_ASSERT(worked_or_came_late(&w[i]));
      free(server);
    }
}

static void test_workers_may_leave_die_and_join_at_any_time(void) {
  for (unsigned trial = 0; trial < 4; trial++) {
    server_run *server = calloc(1, sizeof *server);
    worker_run w[6] = {{.tasks = 3 + (int)trial, .dies = true, .slow = 3000, .of_weights = true},
                       {.tasks = 5, .slow = 2000, .of_weights = true},
                       {.tasks = 1, .dies = true, .of_weights = true},
                       {.tasks = 0, .dies = true, .of_weights = true},
                       {.tasks = 9, .dies = true, .slow = 1000, .of_weights = true},
                       {.tasks = -1, .slow = 1000, .of_weights = true}};
    if (!server) abort();
    server->servers = 1 + (int)trial % 3;
    run_all(server, w, 6, 20000);
    expect_bits(server);
    CU_ASSERT_EQUAL(w[0].done, 3 + (int)trial);
    CU_ASSERT(worked_or_came_late(&w[5]));
    free(server);
  }
}

/* A sum of all leaves, each with its share of the rate, whatever the order: equal up to rounding. */
static void test_ssp_and_asp_apply_each_leaf_once_within_the_bound(void) {
  float *expected = malloc(FLOATS * sizeof *expected);
  if (!expected) abort();
  for (int64_t s = 1; s <= 4; s++) {
    server_run *server = calloc(1, sizeof *server);
    if (!server) abort();
    server->servers = 1 + (int)s % 2;
    server->ps.consistency = s == 4 ? DL_PS_ASP : DL_PS_SSP;
    server->ps.staleness = s;
    worker_run w[3] = {{.tasks = -1, .slow = 6000}, {.tasks = 7, .dies = true}, {.tasks = -1, .slow = 2000}};
    run_all(server, w, 3, 0);
    /* Each push moves by lr · (leaves / all leaves) · (its sum / its samples). Leaves differ by one sample at most, so
     * the whole is within a third of the mean's step; a leaf that is lost or counted twice would be seen where all
     * leaves count the same: in the pushes' number of leaves. */
    int64_t pushes = 0;
    for (int i = 0; i < DL_PS_STALENESSES; i++) pushes += server->staleness.pushes[i];
    CU_ASSERT(pushes >= STEPS);
    CU_ASSERT(server->staleness.most_steps <= (s == 4 ? DL_PS_ASP_WINDOW - 1 : s));
    oracle(expected, true);
    double far = 0, scale = 0;
    for (size_t i = 0; i < FLOATS; i++) {
      far += fabs((double)expected[i] - (double)server->weights[i]);
      scale += fabs((double)expected[i]);
    }
    CU_ASSERT(far < 0.2 * scale);
    CU_ASSERT(far > 0); /* it is not bsp's code that ran */
    free(server);
  }
  free(expected);
}

static void test_ssp_of_staleness_zero_is_bsp(void) {
  server_run *server = calloc(1, sizeof *server);
  worker_run w[2] = {{.tasks = -1, .slow = 2000, .of_weights = true}, {.tasks = -1, .slow = 2000, .of_weights = true}};
  if (!server) abort();
  server->servers = 2;
  server->ps.consistency = DL_PS_SSP;
  run_all(server, w, 2, 0);
  expect_bits(server);
  free(server);
}

static void test_a_worker_that_computes_something_else_is_refused(void) {
  server_run *server = calloc(1, sizeof *server);
  worker_run w[2] = {
      {.tasks = -1, .digest = "ffff2233445566778899aabbccddeeff00112233445566778899aabbccddeeff", .of_weights = true},
      {.tasks = -1, .slow = 4000, .of_weights = true}};
  if (!server) abort();
  server->servers = 1;
  run_all(server, w, 2, 0);
  CU_ASSERT_EQUAL(w[0].status, DL_ERR_USAGE);
  DL_ASSERT_OK(w[1].status);
  expect_bits(server);
  free(server);
}

/* ---- strangers ---- */

static _Atomic bool strangers_go;
static _Atomic int stranger_sent;

static uint64_t mixed(uint64_t *state) {
  uint64_t x = (*state += 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 27);
}

/* Well-formed frames of every kind with made-up contents, damaged ones, wrong parts and lengths: as fast as they go. */
static void stranger_message(void *socket, uint64_t *state, uint64_t job) {
  unsigned char header[DL_PS_HEADER_BYTES + 8], payload[4096];
  uint64_t what = mixed(state) % 6;
  size_t bytes = mixed(state) % sizeof payload;
  for (size_t i = 0; i < sizeof payload; i++) payload[i] = (unsigned char)(i * 7 + bytes);
  dl_ps_frame frame = {.kind = 1 + (int)(mixed(state) % (DL_PS_KINDS - 1)),
                       .job = job,
                       .life = mixed(state) % 2 ? mixed(state) : 0,
                       .step = (int64_t)(mixed(state) % STEPS),
                       .node = {(int32_t)(mixed(state) % 4), (int64_t)(mixed(state) % 8)},
                       .samples = 20,
                       .payload_bytes = what == 1 ? bytes + 1 : bytes,
                       .sums = {1, 20}};
  memcpy(header, payload, sizeof header);
  if (what != 5 && frame.kind != DL_PS_HELLO) frame.payload_crc = what == 2 ? 1 : dl_ps_crc(payload, bytes);
  if (what != 3) dl_ps_frame_write(&frame, header);
  zmq_send(socket, header, what == 4 ? mixed(state) % sizeof header : DL_PS_HEADER_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT);
  zmq_send(socket, payload, bytes, ZMQ_DONTWAIT | (mixed(state) % 50 ? 0 : ZMQ_SNDMORE));
}

/* Connections stay open until the server is gone: libzmq 4.3.4 itself aborts now and then where a peer hangs up while
 * there is something for it (zeromq/libzmq#4841). */
static void *be_a_stranger(void *argument) {
  enum { MOST_SOCKETS = 200 };
  const char *where = argument;
  void *context = zmq_ctx_new(), *sockets[MOST_SOCKETS];
  uint64_t state = 42, job = strtoull("0011223344556677", NULL, 16);
  int rounds = 0;
  for (; atomic_load(&strangers_go) && rounds < MOST_SOCKETS; rounds++) {
    void *socket = sockets[rounds] = zmq_socket(context, ZMQ_DEALER);
    int none = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_connect(socket, where);
    for (int i = 0; i < 300 && atomic_load(&strangers_go); i++) {
      stranger_message(socket, &state, job);
      atomic_fetch_add(&stranger_sent, 1);
      if (i % 50 == 0) usleep(1000);
    }
  }
  while (atomic_load(&strangers_go)) usleep(1000);
  for (int i = 0; i < rounds; i++) zmq_close(sockets[i]);
  zmq_ctx_term(context);
  return NULL;
}

static void test_strangers_on_an_open_socket_change_nothing(void) {
  server_run *server = calloc(1, sizeof *server);
  worker_run w[2] = {{.tasks = -1, .slow = 5000, .of_weights = true}, {.tasks = -1, .slow = 5000, .of_weights = true}};
  pthread_t strangers[2];
  char where[128];
  if (!server) abort();
  server->servers = 1;
  snprintf(where, sizeof where, "ipc://%s/strange", folder);
  server->ps.bind = where;
  atomic_store(&strangers_go, true);
  for (int i = 0; i < 2; i++) CU_ASSERT_EQUAL(pthread_create(&strangers[i], NULL, be_a_stranger, where), 0);
  run_all(server, w, 2, 0);
  atomic_store(&strangers_go, false);
  for (int i = 0; i < 2; i++) pthread_join(strangers[i], NULL);
  CU_ASSERT(atomic_load(&stranger_sent) > 100);
  expect_bits(server);
  DL_ASSERT_OK(w[0].status);
  DL_ASSERT_OK(w[1].status);
  free(server);
}

/* Who has joined (on an open socket that is anybody) and says that it shares memory: what it does not, and then pushes
 * as if it had. `job` and `life` come with WELCOME. */
static void liar_message(void *socket, uint64_t *state, const dl_ps_frame *welcome, const dl_ps_share *small) {
  unsigned char header[DL_PS_HEADER_BYTES], payload[DL_PS_TICKET_BYTES + 90] = DIGEST "liar";
  static const int kinds[] = {DL_PS_JOIN, DL_PS_SHARE, DL_PS_SHARE, DL_PS_PUSH, DL_PS_PUSH, DL_PS_PULL};
  dl_ps_frame frame = *welcome;
  frame.kind = kinds[mixed(state) % 6];
  frame.sequence = mixed(state) % 1000;
  frame.step = welcome->step + (int64_t)(mixed(state) % 2);
  frame.node = (dl_tree_node){(int32_t)(mixed(state) % 3), (int64_t)(mixed(state) % 8)};
  frame.samples = 20;
  frame.status = frame.kind == DL_PS_JOIN ? 0 : DL_PS_VIEW;
  frame.payload_bytes = frame.kind == DL_PS_JOIN ? strlen(DIGEST "liar") : 0;
  frame.form = frame.kind == DL_PS_PUSH ? DL_PS_IN_MEMORY : DL_PS_FLOATS;
  if (frame.kind == DL_PS_SHARE) {
    frame.payload_bytes = DL_PS_TICKET_BYTES;
    dl_ps_share_ticket(small, payload);
    payload[mixed(state) % DL_PS_TICKET_BYTES] ^= (unsigned char)(mixed(state) % 256);
    if (mixed(state) % 2)
      payload[24] = (unsigned char)(FLOATS * 4), payload[25] = (FLOATS * 4 >> 8) & 255, payload[26] = 2;
  }
  frame.payload_crc = frame.payload_bytes ? dl_ps_crc(payload, frame.payload_bytes) : 0;
  dl_ps_frame_write(&frame, header);
  zmq_send(socket, header, sizeof header, ZMQ_SNDMORE | ZMQ_DONTWAIT);
  zmq_send(socket, payload, frame.payload_bytes, ZMQ_DONTWAIT);
}

static _Atomic int liar_heard[DL_PS_KINDS];

static void *be_a_liar(void *argument) {
  const dl_ps_link_options options = {.address = argument, .max_bytes = FLOATS * sizeof(float)};
  dl_ps_link *link = NULL;
  const dl_ps_share *small = dl_ps_share_new(1000);
  dl_ps_frame welcome = {0}, hello = {.kind = DL_PS_HELLO};
  dl_ps_mail mail;
  uint64_t state = 7;
  void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
  int none = 0;
  zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
  zmq_connect(socket, argument);
  if (dl_ps_link_connect(&options, &link) != DL_OK || !small) abort();
  dl_ps_link_send(link, NULL, &hello, NULL);
  for (int i = 0; atomic_load(&strangers_go); i++) {
    dl_ps_link_wait(link, welcome.life ? 0 : 100);
    for (; dl_ps_link_receive(link, &mail); dl_ps_mail_done(&mail))
      if (mail.frame.kind == DL_PS_WELCOME) welcome = mail.frame;
    for (zmq_msg_t part; zmq_msg_init(&part) == 0 && zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) >= 0;
         zmq_msg_close(&part))
      if (zmq_msg_size(&part) == DL_PS_HEADER_BYTES)
        atomic_fetch_add(&liar_heard[((unsigned char *)zmq_msg_data(&part))[6] % DL_PS_KINDS], 1);
    if (welcome.life) liar_message(socket, &state, &welcome, small);
    if (i % 5 == 0) dl_ps_link_send(link, NULL, &hello, NULL), usleep(300);
  }
  zmq_close(socket);
  zmq_ctx_term(context);
  dl_ps_link_close(&link, 0);
  dl_ps_share_close(&small);
  return NULL;
}

static void test_who_lies_about_memory_changes_nothing(void) {
  server_run *server = calloc(1, sizeof *server);
  worker_run w[2] = {{.tasks = -1, .slow = 3000, .of_weights = true}, {.tasks = -1, .slow = 3000, .of_weights = true}};
  pthread_t liar;
  char where[128];
  if (!server) abort();
  server->servers = 1;
  snprintf(where, sizeof where, "ipc://%s/lies", folder);
  server->ps.bind = where;
  atomic_store(&strangers_go, true);
  CU_ASSERT_EQUAL(pthread_create(&liar, NULL, be_a_liar, where), 0);
  run_all(server, w, 2, 0);
  atomic_store(&strangers_go, false);
  pthread_join(liar, NULL);
  CU_ASSERT(atomic_load(&liar_heard[DL_PS_JOINED]) > 0);
  CU_ASSERT(atomic_load(&liar_heard[DL_PS_SHARED]) > 0);
  expect_bits(server);
  DL_ASSERT_OK(w[0].status);
  DL_ASSERT_OK(w[1].status);
  free(server);
}

/* ---- who says that it has done what it has not ---- */

/* Joins all servers, and says of every unit that it is done: at once, or with the receipt of the first server, which
 * got the unit's sum (`servers` 2). */
typedef struct boaster {
  char address[2][128];
  int servers;
  bool pushes;
  int granted, taken;
} boaster;

static bool hear_kind(dl_ps_link *link, int kind, dl_ps_frame *out) {
  dl_ps_mail mail;
  for (int tries = 0; tries < 300 && atomic_load(&strangers_go); tries++) {
    dl_ps_link_wait(link, 10);
    while (dl_ps_link_receive(link, &mail)) {
      *out = mail.frame;
      dl_ps_mail_done(&mail);
      if (out->kind == kind) return true;
    }
  }
  return false;
}

static bool push_sum(dl_ps_link *link, const dl_ps_frame *grant, dl_ps_frame *out) {
  const size_t end = FLOATS / 2 / 1024 * 1024; /* of the first of two slices */
  float *sum = calloc(end, sizeof *sum);
  dl_cut cut = dl_cut_make(grant->samples, SHARDS);
  const int64_t begin = grant->node.index << grant->node.level;
  int64_t n = (int64_t)1 << grant->node.level, first, last, ignored;
  if (!sum) abort();
  if (begin + n > cut.leaves) n = cut.leaves - begin;
  for (size_t i = 0; i < end; i++) {
    float v[SHARDS];
    for (int64_t leaf = 0; leaf < n; leaf++) v[leaf] = leaf_value(grant->step, begin + leaf, i, 0);
    sum[i] = recursive(v, n);
  }
  dl_cut_leaf_range(&cut, begin, &first, &ignored);
  dl_cut_leaf_range(&cut, begin + n - 1, &ignored, &last);
  dl_ps_frame frame = *grant;
  frame.kind = DL_PS_PUSH;
  frame.status = 0;
  frame.payload_crc = 0;
  frame.sequence++;
  frame.sums[0] = (double)n;
  frame.sums[1] = (double)(last - first);
  dl_ps_link_send_copy(link, NULL, &frame, sum, end * sizeof *sum);
  free(sum);
  return hear_kind(link, DL_PS_TAKEN, out);
}

static void boast(boaster *b, dl_ps_link *link[2]) {
  dl_ps_frame welcome = {0}, frame = {.kind = DL_PS_HELLO}, taken = {0};
  dl_ps_link_send(link[0], NULL, &frame, NULL);
  if (!hear_kind(link[0], DL_PS_WELCOME, &welcome)) return;
  for (int s = 0; s < b->servers; s++) {
    frame = (dl_ps_frame){.kind = DL_PS_JOIN, .job = welcome.job, .life = welcome.life};
    dl_ps_link_send_copy(link[s], NULL, &frame, DIGEST "boaster", strlen(DIGEST "boaster"));
    if (!hear_kind(link[s], DL_PS_JOINED, &frame)) return;
  }
  frame = (dl_ps_frame){.kind = DL_PS_WANT, .job = welcome.job, .life = welcome.life, .sequence = 1, .version = -1};
  dl_ps_link_send(link[0], NULL, &frame, NULL);
  for (dl_ps_frame grant; hear_kind(link[0], DL_PS_GRANT, &grant); b->granted++) {
    if (b->pushes && push_sum(link[0], &grant, &taken)) b->taken++;
    frame = grant;
    frame.kind = DL_PS_DONE;
    frame.status = 0;
    frame.sequence += 2;
    frame.taken = (uint64_t)taken.version;
    frame.payload_crc = 0;
    dl_ps_link_send(link[0], NULL, &frame, NULL);
    usleep(500);
  }
}

static void *be_a_boaster(void *argument) {
  boaster *b = argument;
  dl_ps_link *link[2] = {NULL, NULL};
  for (int s = 0; s < b->servers; s++) {
    const dl_ps_link_options options = {.address = b->address[s], .max_bytes = FLOATS * sizeof(float), .queue = 64};
    if (dl_ps_link_connect(&options, &link[s]) != DL_OK) abort();
  }
  boast(b, link);
  while (atomic_load(&strangers_go)) usleep(1000);
  for (int s = 0; s < b->servers; s++) dl_ps_link_close(&link[s], 0);
  return NULL;
}

static void test_who_says_done_without_its_push_has_not_done_it(void) {
  for (int kind = 0; kind < 3; kind++) {
    server_run *server = calloc(1, sizeof *server);
    worker_run w[1] = {{.tasks = -1, .slow = 3000}};
    boaster b = {.servers = 1 + (kind > 0), .pushes = kind == 2};
    pthread_t thread;
    if (!server) abort();
    server->servers = b.servers;
    snprintf(b.address[0], sizeof b.address[0], "ipc://%s/boast%d", folder, kind);
    snprintf(b.address[1], sizeof b.address[1], "ipc://%s/boast%d.1", folder, kind);
    server->ps.bind = b.address[0];
    atomic_store(&strangers_go, true);
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, be_a_boaster, &b), 0);
    run_all(server, w, 1, 0);
    atomic_store(&strangers_go, false);
    pthread_join(thread, NULL);
    CU_ASSERT(b.granted > 2);
    CU_ASSERT(!b.pushes || b.taken > 2);
    float *expected = malloc(sizeof server->weights);
    if (!expected) abort();
    oracle(expected, true);
    CU_ASSERT(memcmp(expected, server->weights, sizeof server->weights) == 0);
    DL_ASSERT_OK(w[0].status);
    free(expected);
    free(server);
  }
}

/* ---- keys ---- */

static void key_files(const char *name, char *key, char *pub, size_t size) {
  dl_ps_keys keys;
  char base[128];
  snprintf(base, sizeof base, "%s/%s", folder, name);
  snprintf(key, size, "%s.key", base);
  snprintf(pub, size, "%s.pub", base);
  DL_ASSERT_OK(dl_ps_keys_new(&keys));
  DL_ASSERT_OK(dl_ps_keys_write(base, &keys));
  CU_ASSERT_EQUAL(dl_ps_keys_write(base, &keys), DL_ERR_USAGE); /* never overwritten */
}

static void test_only_keys_on_the_list_are_let_in(void) {
  char server_key[160], server_pub[160], good_key[160], good_pub[160], bad_key[160], bad_pub[160];
  key_files("server", server_key, server_pub, sizeof server_key);
  key_files("good", good_key, good_pub, sizeof good_key);
  key_files("bad", bad_key, bad_pub, sizeof bad_key);
  server_run *server = calloc(1, sizeof *server);
  if (!server) abort();
  server->servers = 2;
  server->ps.key = server_key;
  server->ps.allow = good_pub;
  worker_run w[5] = {
      {.tasks = -1, .key = bad_key, .server_key = server_pub, .timeout_s = 1}, /* not on the list */
      {.tasks = -1, .timeout_s = 1},                                           /* no key */
      {.tasks = -1, .key = good_key, .server_key = bad_pub, .timeout_s = 1},   /* takes another for the server */
      {.tasks = 4, .key = good_key, .server_key = server_pub, .of_weights = true, .dies = true},
      {.tasks = -1, .key = good_key, .server_key = server_pub, .of_weights = true, .slow = 40000}};
  run_all(server, w, 5, 0);
  for (int i = 0; i < 3; i++) {
    CU_ASSERT_EQUAL(w[i].status, DL_ERR_TRAIN);
    CU_ASSERT_EQUAL(w[i].done, 0);
  }
  DL_ASSERT_OK(w[4].status);
  expect_bits(server);
  free(server);
}

static void test_what_others_can_reach_needs_keys(void) {
  static const char *const open[] = {"tcp://*:5999", "tcp://0.0.0.0:5999", "tcp://[::]:5999", "tcp://192.0.2.1:5999"};
  for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
    dl_ps_link *link = NULL;
    dl_ps_link_options options = {.address = open[i]};
    CU_ASSERT_EQUAL(dl_ps_link_listen(&options, &link), DL_ERR_USAGE);
    CU_ASSERT_PTR_NULL(link);
    dl_ps_keys keys;
    DL_ASSERT_OK(dl_ps_keys_new(&keys));
    options.keys = &keys; /* a key without a list lets nobody be told apart */
    CU_ASSERT_EQUAL(dl_ps_link_listen(&options, &link), DL_ERR_USAGE);
  }
}

/* What a server that was killed leaves is a socket that nobody listens on. */
static void test_an_address_that_is_listened_on_is_not_taken_over(void) {
  char path[160], there[170];
  dl_ps_link *first = NULL, *second = NULL;
  snprintf(path, sizeof path, "%s/taken", folder);
  snprintf(there, sizeof there, "ipc://%s", path);
  dl_ps_link_options options = {.address = there};
  DL_ASSERT_OK(dl_ps_link_listen(&options, &first));
  CU_ASSERT_EQUAL(dl_ps_link_listen(&options, &second), DL_ERR_SYSTEM);
  CU_ASSERT_PTR_NULL(second);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "another process"));
  DL_ASSERT_OK(dl_ps_link_connect(&options, &second));
  const dl_ps_frame hello = {.kind = DL_PS_HELLO};
  CU_ASSERT(dl_ps_link_send_copy(second, NULL, &hello, "", 0));
  CU_ASSERT(dl_ps_link_wait(first, 10000)); /* it still has the address */
  dl_ps_link_close(&second, 0);
  dl_ps_link_close(&first, 0);
  CU_ASSERT_EQUAL(access(path, F_OK), 0);
  DL_ASSERT_OK(dl_ps_link_listen(&options, &first));
  dl_ps_link_close(&first, 0);
}

static void test_key_files_that_others_can_read_are_refused(void) {
  char key[160], pub[160], command[200];
  dl_ps_keys keys;
  key_files("loose", key, pub, sizeof key);
  DL_ASSERT_OK(dl_ps_keys_read(key, &keys));
  snprintf(command, sizeof command, "chmod 640 %s", key);
  CU_ASSERT_EQUAL(system(command), 0);
  CU_ASSERT_EQUAL(dl_ps_keys_read(key, &keys), DL_ERR_USAGE);
  CU_ASSERT_EQUAL(dl_ps_keys_read(pub, &keys), DL_ERR_USAGE);
}

static void test_addresses_that_are_none_are_refused(void) {
  static const char *const wrong[] = {
      "",           "tcp://", "tcp://x",   "tcp://x:",      "tcp://x:0", "tcp://x:65536",
      "tcp://x:1y", "ipc://", "udp://x:1", "localhost:5555"};
  char out[256];
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    CU_ASSERT_EQUAL(dl_ps_address_of(wrong[i], 0, out, sizeof out), DL_ERR_USAGE);
  DL_ASSERT_OK(dl_ps_address_of("tcp://[::1]:5000", 2, out, sizeof out));
  CU_ASSERT_STRING_EQUAL(out, "tcp://[::1]:5002");
  DL_ASSERT_OK(dl_ps_address_of("ipc:///tmp/x", 1, out, sizeof out));
  CU_ASSERT_STRING_EQUAL(out, "ipc:///tmp/x.1");
}

/* Behind all others: whatever came, and however they ended. */
static void test_every_message_that_was_received_was_closed(void) {
  CU_ASSERT(mail_received > 1000);
  CU_ASSERT_EQUAL(mail_n, 0);
  CU_ASSERT_EQUAL(mail_lost, 0);
}

static const dl_test tests[] = {
    DL_TEST(test_bsp_has_the_bits_of_the_tree_at_any_number_of_workers_and_servers),
    DL_TEST(test_workers_may_leave_die_and_join_at_any_time),
    DL_TEST(test_ssp_and_asp_apply_each_leaf_once_within_the_bound),
    DL_TEST(test_ssp_of_staleness_zero_is_bsp),
    DL_TEST(test_a_worker_that_computes_something_else_is_refused),
    DL_TEST(test_strangers_on_an_open_socket_change_nothing),
    DL_TEST(test_who_lies_about_memory_changes_nothing),
    DL_TEST(test_who_says_done_without_its_push_has_not_done_it),
    DL_TEST(test_only_keys_on_the_list_are_let_in),
    DL_TEST(test_what_others_can_reach_needs_keys),
    DL_TEST(test_an_address_that_is_listened_on_is_not_taken_over),
    DL_TEST(test_key_files_that_others_can_read_are_refused),
    DL_TEST(test_addresses_that_are_none_are_refused),
    DL_TEST(test_every_message_that_was_received_was_closed),
};

int main(void) { return dl_test_main_in(folder, "parameter servers", tests, sizeof tests / sizeof *tests); }

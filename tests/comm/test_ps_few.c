/* Pushes of few elements: what is sent and what stays behind by a simulation of its own, what the log keeps and gives
 * again, and what is refused. */
#include <dirent.h>
#include <sys/stat.h>

#include "comm/ps_few.h"
#include "comm/ps_frame.h"
#include "comm/ps_link.h"
#include "core/bits.h"
#include "core/sparse.h"
#include "ps_fixture.h"

#define FRACTION 0.03

static server_run *new_server(const char *name) {
  static char where[8][128];
  static int n;
  server_run *server = calloc(1, sizeof *server);
  if (!server) abort();
  snprintf(where[n], sizeof where[n], "ipc://%s/%s", folder, name);
  server->servers = 1;
  server->bucket_bytes = 20000;
  server->ps.bind = where[n++];
  server->ps.consistency = DL_PS_ASP;
  server->compress = DL_COMPRESS_TOPK;
  server->topk = FRACTION;
  return server;
}

/* ---- a worker whose pushes are simulated ---- */

typedef struct simulation {
  const char *address;
  bool parts, messages;
  float weights[FLOATS], residual[FLOATS];
  int pushes;
  dl_status status;
} simulation;

static int by_size(const void *a, const void *b) {
  const float x = fabsf(*(const float *)a), y = fabsf(*(const float *)b);
  return x < y ? 1 : x > y ? -1 : 0;
}

/* One block of sum + residual: the largest go, the others stay; there are no equal ones among these numbers. */
static void simulate_block(simulation *s, float *sum, float *residual, size_t n, double batch_share) {
  float sorted[DL_BLOCK];
  const size_t keep = (size_t)ceil(FRACTION * (double)n);
  for (size_t i = 0; i < n; i++) sorted[i] = sum[i] += (float)batch_share * residual[i];
  qsort(sorted, n, sizeof *sorted, by_size);
  for (size_t i = 0; i < n; i++) {
    const bool goes = fabsf(sum[i]) >= fabsf(sorted[keep - 1]);
    residual[i] = goes ? 0 : sum[i] / (float)batch_share;
    if (!goes) sum[i] = 0;
  }
  (void)s;
}

static void simulate(simulation *s, const dl_ps_task *task) {
  static _Thread_local float sum[FLOATS];
  const dl_cut cut = dl_cut_make(task->samples, SHARDS);
  int64_t first, last, ignored;
  dl_cut_leaf_range(&cut, task->begin_leaf, &first, &ignored);
  dl_cut_leaf_range(&cut, task->end_leaf - 1, &ignored, &last);
  const double share = (double)(task->end_leaf - task->begin_leaf) / (double)cut.leaves;
  for (int t = 0; t < 2; t++)
    for (size_t at = 0; at < tensors[t].count; at += DL_BLOCK) {
      const size_t place = tensors[t].offset + at,
                   n = tensors[t].count - at < DL_BLOCK ? tensors[t].count - at : DL_BLOCK;
      for (size_t i = place; i < place + n; i++) {
        float v[SHARDS];
        for (int64_t leaf = task->begin_leaf; leaf < task->end_leaf; leaf++)
          v[leaf - task->begin_leaf] = leaf_value(task->step, leaf, i, 0);
        sum[i] = recursive(v, task->end_leaf - task->begin_leaf);
      }
      simulate_block(s, sum + place, s->residual + place, n, (double)task->samples / 20);
      for (size_t i = place; i < place + n; i++)
        s->weights[i] -= 0.5f * (float)share * (sum[i] * (float)(1 / (double)(last - first)));
    }
  s->pushes++;
}

static dl_status work_simulated(simulation *s, dl_ps_worker *worker, const float *weights) {
  worker_run run = {.tasks = -1, .parts = s->parts};
  for (dl_ps_task task = {0};;) {
    DL_TRY(dl_ps_worker_next(worker, &task));
    if (task.end) return task.status;
    DL_TRY(do_task(&run, worker, &task, weights));
    simulate(s, &task);
  }
}

static void *be_simulated(void *argument) {
  simulation *s = argument;
  int64_t shards;
  dl_ps_worker *worker = NULL;
  float *weights = calloc(FLOATS, sizeof *weights);
  const dl_ps_worker_options options = {.address = s->address,
                                        .timeout_s = 20,
                                        .messages = s->messages,
                                        .overlap = s->parts,
                                        .compress = DL_COMPRESS_TOPK,
                                        .topk = FRACTION,
                                        .batch = 20};
  s->status = weights ? dl_ps_worker_open(&options, &worker, &shards) : DL_ERR_NOMEM;
  if (s->status == DL_OK) s->status = dl_ps_worker_join(worker, &group, weights, DIGEST, "simulated");
  if (s->status == DL_OK) s->status = work_simulated(s, worker, weights);
  if (worker) dl_ps_worker_leave(worker, "");
  dl_ps_worker_close(&worker);
  free(weights);
  return NULL;
}

static void run_simulated(server_run *server, simulation *s) {
  pthread_t thread;
  s->address = server->ps.bind;
  CU_ASSERT_EQUAL(pthread_create(&thread, NULL, be_simulated, s), 0);
  run_all(server, NULL, 0, 0);
  pthread_join(thread, NULL);
  DL_ASSERT_OK(s->status);
}

static double distance(const float *a, const float *b) {
  double far = 0, scale = 0;
  for (size_t i = 0; i < FLOATS; i++) {
    far += fabs((double)a[i] - (double)b[i]);
    scale += fabs((double)a[i]);
  }
  return far / scale;
}

static void test_the_largest_go_and_the_rest_goes_later(void) {
  for (int kind = 0; kind < 3; kind++) {
    static const char *const names[] = {"whole", "parts", "memory"};
    server_run *server = new_server(names[kind]);
    simulation *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->parts = kind == 1;
    s->messages = kind < 2;
    run_simulated(server, s);
    CU_ASSERT(s->pushes >= STEPS);
    CU_ASSERT(distance(s->weights, server->weights) < 1e-5);
    CU_ASSERT(distance(server->weights, s->residual) > 0.1); /* something stays behind */
    free(server);
    free(s);
  }
}

/* ---- the log ---- */

static int64_t log_bytes(const char *where) {
  char path[300];
  struct stat file;
  snprintf(path, sizeof path, "%s/pushes/server-0.log", where);
  return stat(path, &file) ? -1 : (int64_t)file.st_size;
}

static void test_the_log_keeps_few_elements_and_gives_the_same_bits_again(void) {
  char where[200];
  snprintf(where, sizeof where, "%s/run", folder);
  server_run *server = new_server("logged"), *again = new_server("again");
  simulation *s = calloc(1, sizeof *s);
  if (!s) abort();
  server->ps.log = again->ps.log = DL_PS_LOG_WRITE;
  server->ps.log_bytes = again->ps.log_bytes = (int64_t)1 << 40;
  server->log = again->log = where;
  s->parts = s->messages = true;
  run_simulated(server, s);
  /* An element is 6 bytes, a block 4 more, an entry at most 512, and two pages before all; a whole push 160,064. */
  const int64_t most = 8192 + s->pushes * (int64_t)(512 + 6.5 * FRACTION * FLOATS + 40 * 10);
  CU_ASSERT(log_bytes(where) > 8192 && log_bytes(where) < most && most < s->pushes * (int64_t)FLOATS * 4 / 10);
  run_all(again, NULL, 0, 0); /* nobody computes: all of it is in the log */
  CU_ASSERT(memcmp(server->weights, again->weights, sizeof again->weights) == 0);
  CU_ASSERT(again->weights[1] != 0 || again->weights[2] != 0 || distance(again->weights, s->weights) < 1e-5);
  free(server);
  free(again);
  free(s);
}

/* ---- what is refused ---- */

typedef struct few_case {
  const char *what;
  uint32_t word[8];
  size_t bytes;
} few_case;

/* A block of 1,024 of which 31 may be there, and one of 1,000. */
static const dl_tensor small = {.count = 1024, .dims = 1, .trainable = true};
static const dl_param_group one = {.count = 1024, .tensors = &small, .n_tensors = 1};

static void test_what_is_no_part_is_refused(void) {
  static const few_case cases[] = {
      {"nothing", {0}, 0},
      {"half a count", {0}, 3},
      {"a count alone", {1}, 4},
      {"a place without its value", {1, 7}, 8},
      {"a place beyond the block", {1, 1024, 0x3f800000}, 12},
      {"a place far beyond", {1, 65535, 0x3f800000}, 12},
      {"places that fall", {2, 5u << 16 | 9, 0x3f800000, 0x3f800000}, 16},
      {"a place that comes twice", {2, 9u << 16 | 9, 0x3f800000, 0x3f800000}, 16},
      {"more elements than the block has", {1025, 0}, 32},
      {"more than any", {UINT32_MAX, 0}, 32},
      {"something behind the last block", {1, 7, 0x3f800000, 0}, 16},
      {"a byte behind the last block", {1, 7, 0x3f800000, 0}, 13},
  };
  const dl_block_ref block = {.n = 1024};
  const dl_ps_part part = {.end_block = 1, .end = 1024};
  float out[1024];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    unsigned char *exact = malloc(cases[i].bytes + 1); /* a sanitizer sees a read beyond */
    if (!exact) abort();
    memcpy(exact + 1, cases[i].word, cases[i].bytes);
    if (dl_ps_few_read(out, &one, &block, &part, FRACTION, exact + 1, cases[i].bytes)) {
      fprintf(stderr, "%s was read\n", cases[i].what);
      CU_ASSERT(false);
    }
    free(exact);
  }
  static const uint32_t sound[] = {2, 1023u << 16 | 9, 0x3f800000, 0x40000000};
  CU_ASSERT(dl_ps_few_read(out, &one, &block, &part, FRACTION, sound, sizeof sound));
  CU_ASSERT(out[9] == 1 && out[1023] == 2 && out[8] == 0 && out[10] == 0);
}

static void test_no_more_elements_are_taken_than_are_kept(void) {
  const dl_block_ref block = {.n = 1024};
  const dl_ps_part part = {.end_block = 1, .end = 1024};
  float x[1024], out[1024];
  uint32_t words[DL_SPARSE_WORDS(1024)];
  for (size_t count = 0; count <= 1024; count += count < 40 ? 1 : 123) {
    for (size_t i = 0; i < 1024; i++) x[i] = i * 997 % 1024 < count ? (float)i + 1 : 0;
    const size_t bytes = dl_ps_few_write(words, &block, &part, x) * sizeof *words;
    CU_ASSERT_EQUAL(dl_ps_few_read(out, &one, &block, &part, FRACTION, words, bytes), count <= 31);
    CU_ASSERT(dl_ps_few_read(out, &one, &block, &part, 1, words, bytes));
    CU_ASSERT(memcmp(x, out, sizeof x) == 0);
  }
}

/* Somebody who has joined pushes what was drawn at random, and whole floats where few elements are asked for; a worker
 * beside it computes all, which the simulation then knows. */
static _Atomic bool stranger_goes;
static _Atomic int stranger_pushed;

static void *push_nonsense(void *where) {
  const dl_ps_link_options options = {.address = where, .max_bytes = FLOATS * sizeof(float)};
  dl_ps_link *link = NULL;
  dl_ps_frame frame = {.kind = DL_PS_HELLO}, bye = {0};
  dl_ps_mail mail;
  uint32_t words[64], state = 5;
  if (dl_ps_link_connect(&options, &link) != DL_OK) abort();
  dl_ps_link_send(link, NULL, &frame, NULL);
  for (bool joined = false; atomic_load(&stranger_goes); usleep(500)) {
    bool granted = false;
    for (; dl_ps_link_receive(link, &mail); dl_ps_mail_done(&mail)) {
      if (mail.frame.kind == DL_PS_WELCOME) frame.job = mail.frame.job, frame.life = mail.frame.life;
      joined |= mail.frame.kind == DL_PS_JOINED;
      granted |= mail.frame.kind == DL_PS_GRANT;
    }
    bye = frame;
    bye.kind = DL_PS_BYE;
    if (granted) dl_ps_link_send(link, NULL, &bye, NULL); /* work that it asked for by mistake is given back */
    joined &= !granted;
    frame.kind = joined ? DL_PS_PUSH : frame.life ? DL_PS_JOIN : DL_PS_HELLO;
    frame.form = state % 3 ? DL_PS_FEW : DL_PS_FLOATS;
    frame.samples = 20;
    frame.sums[1] = 3;
    frame.sequence++;
    frame.step = (int64_t)((state >> 8) % STEPS);
    frame.node = (dl_tree_node){(int32_t)((state >> 16) % 3), (int64_t)((state >> 20) % 7)};
    for (int i = 0; i < 64; i++) words[i] = (state = state * 1664525u + 1013904223u) >> (i % 5 ? 0 : 27);
    if (joined) dl_ps_link_send_copy(link, NULL, &frame, words, (state >> 9) % (sizeof words + 1));
    if (frame.kind == DL_PS_JOIN) dl_ps_link_send_copy(link, NULL, &frame, DIGEST "x", strlen(DIGEST "x"));
    atomic_fetch_add(&stranger_pushed, joined);
  }
  dl_ps_link_close(&link, 0);
  return NULL;
}

static void test_pushes_that_are_no_few_elements_change_nothing(void) {
  server_run *server = new_server("nonsense");
  simulation *s = calloc(1, sizeof *s);
  pthread_t thread;
  char where[128];
  if (!s) abort();
  s->parts = s->messages = true;
  snprintf(where, sizeof where, "%s", server->ps.bind);
  atomic_store(&stranger_goes, true);
  CU_ASSERT_EQUAL(pthread_create(&thread, NULL, push_nonsense, where), 0);
  run_simulated(server, s);
  atomic_store(&stranger_goes, false);
  pthread_join(thread, NULL);
  CU_ASSERT(atomic_load(&stranger_pushed) > 10);
  CU_ASSERT(distance(s->weights, server->weights) < 1e-5);
  free(server);
  free(s);
}

static const dl_test tests[] = {
    DL_TEST(test_the_largest_go_and_the_rest_goes_later),
    DL_TEST(test_the_log_keeps_few_elements_and_gives_the_same_bits_again),
    DL_TEST(test_what_is_no_part_is_refused),
    DL_TEST(test_no_more_elements_are_taken_than_are_kept),
    DL_TEST(test_pushes_that_are_no_few_elements_change_nothing),
};

int main(void) { return dl_test_main_in(folder, "few elements", tests, sizeof tests / sizeof *tests); }

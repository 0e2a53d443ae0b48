/* Slices that travel in parts, as gradients are written and weights are read: a unit counts once and whole, whoever
 * dies halfway, repeats a part, or sends parts that are none. */
#include "comm/ps_frame.h"
#include "comm/ps_link.h"
#include "comm/ps_parts.h"
#include "ps_fixture.h"

static server_run *new_server(int servers, double bucket_bytes) {
  server_run *server = calloc(1, sizeof *server);
  if (!server) abort();
  server->servers = servers;
  server->bucket_bytes = bucket_bytes;
  return server;
}

/* ---- how slices are cut ---- */

static void test_parts_cover_a_slice_in_whole_blocks(void) {
  dl_block_ref blocks[64];
  const int64_t n_blocks = dl_group_blocks(&group);
  dl_group_list_blocks(&group, blocks);
  for (int slices = 1; slices <= 3; slices++)
    for (double bytes = 1; bytes < 1e6; bytes = bytes * 3 + 1) {
      size_t at = 0;
      for (int s = 0; s < slices; s++) {
        dl_ps_part *parts;
        int n;
        const int64_t first = dl_group_slice_begin(&group, s, slices),
                      end = dl_group_slice_begin(&group, s + 1, slices);
        DL_ASSERT_OK(dl_ps_parts_cut(&group, blocks, n_blocks, first, end, bytes, &parts, &n));
        CU_ASSERT(n >= 1 && n <= end - first);
        for (int k = 0; k < n; k++) {
          CU_ASSERT_EQUAL(parts[k].begin, at);
          CU_ASSERT_EQUAL(blocks[parts[k].first_block].offset, at);
          CU_ASSERT(k + 1 == n || (double)(parts[k].end - at) * 4 >= bytes);
          CU_ASSERT((double)(parts[k].end - at) * 4 < bytes + 4 * DL_BLOCK + 64);
          at = parts[k].end;
        }
        free(parts);
      }
      CU_ASSERT_EQUAL(at, FLOATS);
    }
}

static void test_there_are_never_too_many_parts_and_one_at_least(void) {
  enum { MANY = 5000 };
  static const dl_tensor wide = {.count = (size_t)MANY * DL_BLOCK, .dims = 1, .trainable = true};
  const dl_param_group many = {.count = wide.count, .tensors = &wide, .n_tensors = 1};
  dl_block_ref *blocks = calloc(MANY, sizeof *blocks);
  dl_ps_part *parts;
  int n;
  if (!blocks) abort();
  CU_ASSERT_EQUAL(dl_group_blocks(&many), MANY);
  dl_group_list_blocks(&many, blocks);
  DL_ASSERT_OK(dl_ps_parts_cut(&many, blocks, MANY, 0, MANY, 1, &parts, &n));
  CU_ASSERT(n > DL_PS_MOST_PARTS / 2 && n <= DL_PS_MOST_PARTS);
  CU_ASSERT_EQUAL(parts[n - 1].end_block, MANY);
  free(parts);
  DL_ASSERT_OK(dl_ps_parts_cut(&many, blocks, MANY, 7, 7, 1, &parts, &n)); /* a server that has nothing */
  CU_ASSERT_EQUAL(n, 1);
  CU_ASSERT_EQUAL(parts[0].begin, parts[0].end);
  free(parts);
  free(blocks);
}

/* ---- bits ---- */

static void test_parts_have_the_bits_of_the_tree_at_any_number_of_workers_and_servers(void) {
  for (int servers = 1; servers <= 3; servers++)
    for (int workers = 1; workers <= 3; workers++) {
      server_run *server = new_server(servers, 5000.0 * workers);
      worker_run w[3] = {0};
      for (int i = 0; i < workers; i++) /* some in whole slices, and some where nothing travels */
        w[i] = (worker_run){.tasks = -1, .of_weights = true, .messages = i != 2, .parts = i != 1, .slow = 1000};
      run_all(server, w, workers, 0);
      expect_bits(server);
      free(server);
    }
}

static void test_who_goes_with_half_of_a_sum_on_its_way_leaves_nothing_behind(void) {
  for (int servers = 1; servers <= 3; servers++) {
    server_run *server = new_server(servers, 4096);
    worker_run w[5] = {{.tasks = 2, .dies = true, .halfway = true},
                       {.tasks = 3, .halfway = true},
                       {.tasks = 5, .dies = true, .halfway = true},
                       {.tasks = 8, .dies = true, .halfway = true},
                       {.tasks = -1, .slow = 1000}};
    for (int i = 0; i < 5; i++) w[i].messages = w[i].parts = w[i].of_weights = true;
    run_all(server, w, 5, 10000);
    expect_bits(server);
    CU_ASSERT_EQUAL(w[0].done, 2);
    CU_ASSERT(worked_or_came_late(&w[4]));
    free(server);
  }
}

static void test_sixteen_bits_in_parts_are_those_of_the_whole(void) {
  float *whole = calloc(FLOATS, sizeof *whole);
  if (!whole) abort();
  for (int parts = 0; parts < 2; parts++) {
    server_run *server = new_server(2, 10000);
    worker_run w[2] = {0};
    for (int i = 0; i < 2; i++)
      w[i] = (worker_run){
          .tasks = -1, .of_weights = true, .messages = true, .parts = parts, .compress = DL_COMPRESS_BF16, .slow = 500};
    server->compress = DL_COMPRESS_BF16;
    run_all(server, w, 2, 0);
    if (!parts) memcpy(whole, server->weights, sizeof server->weights);
    CU_ASSERT(memcmp(whole, server->weights, sizeof server->weights) == 0);
    free(server);
  }
  CU_ASSERT(whole[1] != 0);
  free(whole);
}

static void test_asynchronous_pushes_in_parts_are_applied_once(void) {
  server_run *server = new_server(2, 8192);
  worker_run w[3] = {
      {.tasks = -1, .slow = 3000}, {.tasks = 7, .dies = true, .halfway = true}, {.tasks = -1, .slow = 1000}};
  for (int i = 0; i < 3; i++) w[i].messages = w[i].parts = true;
  server->ps.consistency = DL_PS_SSP;
  server->ps.staleness = 2;
  run_all(server, w, 3, 0); /* each step has all its samples once, or it fails */
  CU_ASSERT(server->staleness.most_steps <= 2);
  float *expected = malloc(FLOATS * sizeof *expected);
  if (!expected) abort();
  oracle(expected, true);
  double far = 0, scale = 0;
  for (size_t i = 0; i < FLOATS; i++) {
    far += fabs((double)expected[i] - (double)server->weights[i]);
    scale += fabs((double)expected[i]);
  }
  CU_ASSERT(far < 0.2 * scale);
  free(expected);
  free(server);
}

/* ---- a worker made by hand, who sends too much ---- */

typedef struct hand {
  dl_ps_link *link;
  dl_ps_frame frame; /* job, life, the next sequence */
  float weights[FLOATS], sum[FLOATS];
  dl_ps_part *parts;
  int n;
  uint64_t state;
} hand;

static uint64_t drawn(hand *h) {
  h->state = h->state * 6364136223846793005u + 1442695040888963407u;
  return h->state >> 33;
}

static void hand_send(hand *h, const dl_ps_frame *frame, const void *data, size_t bytes) {
  CU_ASSERT(dl_ps_link_send_copy(h->link, NULL, frame, data, bytes));
}

/* The answer to what was asked last. */
static void hand_receive(hand *h, dl_ps_mail *mail) {
  for (int i = 0; i < 4000; i++) {
    if (!dl_ps_link_receive(h->link, mail)) {
      dl_ps_link_wait(h->link, 10);
      continue;
    }
    if (mail->frame.kind == DL_PS_END || (mail->frame.kind != DL_PS_PING && mail->frame.sequence == h->frame.sequence))
      return;
    dl_ps_mail_done(mail);
  }
  abort();
}

static void hand_join(hand *h, const char *where) {
  dl_ps_mail mail;
  dl_block_ref blocks[64];
  const dl_ps_link_options options = {.address = where, .max_bytes = sizeof h->sum};
  dl_group_list_blocks(&group, blocks);
  DL_ASSERT_OK(
      dl_ps_parts_cut(&group, blocks, dl_group_blocks(&group), 0, dl_group_blocks(&group), 4096, &h->parts, &h->n));
  DL_ASSERT_OK(dl_ps_link_connect(&options, &h->link));
  h->frame = (dl_ps_frame){.kind = DL_PS_HELLO};
  hand_send(h, &h->frame, "", 0);
  hand_receive(h, &mail);
  CU_ASSERT_EQUAL(mail.frame.kind, DL_PS_WELCOME);
  h->frame.job = mail.frame.job;
  h->frame.life = mail.frame.life;
  dl_ps_mail_done(&mail);
  h->frame.kind = DL_PS_JOIN;
  h->frame.sequence++;
  hand_send(h, &h->frame, DIGEST "hand", strlen(DIGEST "hand"));
  hand_receive(h, &mail);
  CU_ASSERT_EQUAL(mail.frame.kind, DL_PS_JOINED);
  dl_ps_mail_done(&mail);
}

static void hand_compute(hand *h, const dl_ps_frame *grant) {
  const dl_cut cut = dl_cut_make(grant->samples, SHARDS);
  const int64_t first = grant->node.index << grant->node.level;
  int64_t end = first + ((int64_t)1 << grant->node.level);
  if (end > cut.leaves) end = cut.leaves;
  h->frame.sums[0] = h->frame.sums[1] = 0;
  for (int64_t leaf = first, a, b; leaf < end; leaf++) {
    dl_cut_leaf_range(&cut, leaf, &a, &b);
    h->frame.sums[1] += (double)(b - a);
  }
  for (size_t i = 0; i < FLOATS; i++) {
    float v[SHARDS];
    for (int64_t leaf = first; leaf < end; leaf++) v[leaf - first] = leaf_value(grant->step, leaf, i, h->weights[i]);
    h->sum[i] = is_gap(i) ? 0 : recursive(v, end - first);
  }
}

static void hand_push_part(hand *h, int k) {
  h->frame.part = k;
  h->frame.parts = h->n;
  hand_send(h, &h->frame, h->sum + h->parts[k].begin, (h->parts[k].end - h->parts[k].begin) * sizeof(float));
}

/* What no worker of dldist sends: of an older push, with another number of parts, cut short, of another step or unit.
 */
static void hand_push_nonsense(hand *h) {
  const dl_ps_frame sound = h->frame;
  static const float nonsense[DL_BLOCK + 64];
  const int k = (int)(drawn(h) % (uint64_t)h->n);
  const size_t bytes = (h->parts[k].end - h->parts[k].begin) * sizeof(float);
  h->frame.part = k;
  h->frame.parts = h->n;
  switch (drawn(h) % 4) {
    case 0:
      h->frame.sequence--;
      break;
    case 1:
      h->frame.form = DL_PS_FEW;
      break;
    case 2:
      h->frame.node.level++;
      break;
    default:
      h->frame.form = DL_PS_HALVES;
      break;
  }
  if (bytes <= sizeof nonsense) hand_send(h, &h->frame, nonsense, bytes);
  h->frame = sound;
}

/* All parts in any order, some twice, some of half a push that is begun anew. */
static void hand_push(hand *h, const dl_ps_frame *grant) {
  int order[64];
  h->frame.kind = DL_PS_PUSH;
  h->frame.step = grant->step;
  h->frame.node = grant->node;
  h->frame.samples = grant->samples;
  h->frame.version = grant->version;
  h->frame.sequence++;
  for (int k = 0; k < h->n / 2; k++) hand_push_part(h, k);
  h->frame.sequence++;
  for (int k = 0; k < h->n; k++) order[k] = k;
  for (int k = h->n; k > 1; k--) {
    const int other = (int)(drawn(h) % (uint64_t)k), kept = order[k - 1];
    order[k - 1] = order[other];
    order[other] = kept;
  }
  for (int k = 0; k < h->n; k++) {
    if (k && drawn(h) % 3 == 0) h->frame.sequence--, hand_push_part(h, order[k]), h->frame.sequence++;
    if (k && drawn(h) % 3 == 0) hand_push_part(h, order[k - 1]);
    hand_push_part(h, order[k]);
  }
  hand_push_part(h, order[0]); /* behind the last one */
}

static void *work_by_hand(void *where) {
  hand *h = calloc(1, sizeof *h);
  dl_ps_mail mail;
  if (!h) abort();
  hand_join(h, where);
  h->frame.kind = DL_PS_WANT;
  h->frame.version = -1;
  h->frame.sequence++;
  hand_send(h, &h->frame, "", 0);
  for (;;) {
    hand_receive(h, &mail);
    if (mail.frame.kind == DL_PS_END) break;
    CU_ASSERT_EQUAL(mail.frame.kind, DL_PS_GRANT);
    if (mail.frame.payload_bytes == sizeof h->weights)
      memcpy(h->weights, zmq_msg_data(&mail.payload), sizeof h->weights);
    const dl_ps_frame grant = mail.frame;
    dl_ps_mail_done(&mail);
    hand_compute(h, &grant);
    hand_push(h, &grant);
  }
  dl_ps_mail_done(&mail);
  h->frame.kind = DL_PS_BYE;
  h->frame.parts = h->frame.part = 0;
  hand_send(h, &h->frame, "", 0);
  dl_ps_link_close(&h->link, 1000);
  free(h->parts);
  free(h);
  return NULL;
}

/* Beside it another that knows nothing of parts: a unit that the one has begun never has half of the other's. */
static void test_parts_that_come_twice_or_in_any_order_count_once(void) {
  server_run *server = new_server(1, 4096);
  pthread_t thread;
  char where[128];
  worker_run w[1] = {{.tasks = -1, .slow = 4000, .of_weights = true, .messages = true}};
  snprintf(where, sizeof where, "ipc://%s/hand", folder);
  server->ps.bind = where;
  CU_ASSERT_EQUAL(pthread_create(&thread, NULL, work_by_hand, where), 0);
  run_all(server, w, 1, 0);
  pthread_join(thread, NULL);
  expect_bits(server);
  DL_ASSERT_OK(w[0].status);
  free(server);
}

/* What is given to who asks for it by mistake is given back at once: it leaves, and joins again. */
static void hand_back(hand *h) {
  dl_ps_mail mail;
  bool granted = false;
  for (; dl_ps_link_receive(h->link, &mail); dl_ps_mail_done(&mail)) granted |= mail.frame.kind == DL_PS_GRANT;
  if (!granted) return;
  const dl_ps_frame kept = h->frame;
  h->frame.kind = DL_PS_BYE;
  hand_send(h, &h->frame, "", 0);
  h->frame.kind = DL_PS_JOIN;
  h->frame.version = 0;
  hand_send(h, &h->frame, DIGEST "hand", strlen(DIGEST "hand"));
  h->frame = kept;
}

/* Somebody who joins and sends parts that fit nothing; the training beside it has its bits. */
static _Atomic bool nonsense_goes;
static void *send_nonsense(void *where) {
  hand *h = calloc(1, sizeof *h);
  if (!h) abort();
  h->state = 99;
  hand_join(h, where);
  h->frame.kind = DL_PS_PUSH;
  h->frame.samples = 20;
  while (atomic_load(&nonsense_goes)) {
    h->frame.sequence += drawn(h) % 3;
    h->frame.step = (int64_t)(drawn(h) % STEPS);
    h->frame.node = (dl_tree_node){(int32_t)(drawn(h) % 3), (int64_t)(drawn(h) % 8)};
    hand_push_nonsense(h);
    h->frame.parts = 1 + (int32_t)drawn(h) % 40;
    if (h->frame.parts == h->n) h->frame.parts++;
    h->frame.part = (int32_t)(drawn(h) % (uint64_t)h->frame.parts);
    hand_send(h, &h->frame, h->sum, drawn(h) % 5000);
    h->frame.part = h->frame.parts = 0;
    hand_back(h);
    usleep(300);
  }
  dl_ps_link_close(&h->link, 0);
  free(h->parts);
  free(h);
  return NULL;
}

static void test_parts_that_are_none_change_nothing(void) {
  server_run *server = new_server(1, 4096);
  pthread_t thread;
  char where[128];
  worker_run w[1] = {{.tasks = -1, .slow = 2000, .of_weights = true, .messages = true, .parts = true}};
  snprintf(where, sizeof where, "ipc://%s/nonsense", folder);
  server->ps.bind = where;
  atomic_store(&nonsense_goes, true);
  CU_ASSERT_EQUAL(pthread_create(&thread, NULL, send_nonsense, where), 0);
  run_all(server, w, 1, 0);
  atomic_store(&nonsense_goes, false);
  pthread_join(thread, NULL);
  expect_bits(server);
  free(server);
}

static const dl_test tests[] = {
    DL_TEST(test_parts_cover_a_slice_in_whole_blocks),
    DL_TEST(test_there_are_never_too_many_parts_and_one_at_least),
    DL_TEST(test_parts_have_the_bits_of_the_tree_at_any_number_of_workers_and_servers),
    DL_TEST(test_who_goes_with_half_of_a_sum_on_its_way_leaves_nothing_behind),
    DL_TEST(test_sixteen_bits_in_parts_are_those_of_the_whole),
    DL_TEST(test_asynchronous_pushes_in_parts_are_applied_once),
    DL_TEST(test_parts_that_come_twice_or_in_any_order_count_once),
    DL_TEST(test_parts_that_are_none_change_nothing),
};

int main(void) { return dl_test_main_in(folder, "slices in parts", tests, sizeof tests / sizeof *tests); }

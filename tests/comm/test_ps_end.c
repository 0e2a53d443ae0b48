/* The end of a training, said by the server and heard by workers, where messages are lost: a worker that is played here
 * by hand, and servers that are. What is waited for would else come after sync.timeout, as an error. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/launch.h"
#include "comm/ps_frame.h"
#include "comm/ps_link.h"
#include "comm/ps_worker.h"
#include "comm/sync.h"
#include "dltest.h"

#define FLOATS 3008
#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define JOB 7

static const dl_tensor tensor = {.count = FLOATS, .dims = 1, .shape = {FLOATS}, .trainable = true, .lr_scale = 1};
static void apply(void *context, const dl_tensor *of, size_t n, float *restrict weights, const float *restrict gradient,
                  float *const state[]) {
  (void)context, (void)of, (void)n, (void)weights, (void)gradient, (void)state;
}
static const dl_param_group group = {.count = FLOATS, .tensors = &tensor, .n_tensors = 1, .apply = apply};

static char folder[] = "/tmp/dl-test-end-XXXXXX", address[128];

/* ---- a server that is told to stop, and a worker that is played ---- */

static volatile sig_atomic_t stop;

static dl_status serve_member(dl_team *team, void *context) {
  dl_sync *sync = NULL;
  dl_ps_options ps = {
      .role = DL_PS_SERVE, .bind = address, .digest = DIGEST, .batch = 8, .epoch_steps = 9, .epoch_samples = 72};
  dl_sync_options options = {.shards = 2, .ps = &ps};
  (void)context;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_cut cut = dl_cut_make(8, 2);
  dl_sync_result result;
  dl_sync_request request = {.stop_flag = &stop};
  dl_status status = dl_sync_begin(sync, &cut);
  if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
  if (status == DL_OK) status = dl_fail(DL_ERR_STOPPED, "told to stop");
  dl_sync_dismiss(sync, status);
  dl_sync_destroy(&sync);
  return status;
}

static void *serve(void *status) {
  *(dl_status *)status = dl_launch(1, serve_member, NULL);
  if (*(dl_status *)status != DL_ERR_STOPPED) fprintf(stderr, "server: %s\n", dl_error_last()->message);
  return NULL;
}

/* Until a frame of this kind has come. */
static bool hear(dl_ps_link *link, int kind, dl_ps_frame *out) {
  dl_ps_mail mail;
  for (int turn = 0; turn < 100; turn++) {
    dl_ps_link_wait(link, 100);
    while (dl_ps_link_receive(link, &mail)) {
      *out = mail.frame;
      dl_ps_mail_done(&mail);
      if (out->kind == kind) return true;
    }
  }
  return false;
}

static void ask(dl_ps_link *link, const dl_ps_frame *known, int kind, const char *text) {
  const dl_ps_frame frame = {.kind = kind, .job = known->job, .life = known->life, .sequence = 5, .version = -1};
  CU_ASSERT(dl_ps_link_send_copy(link, NULL, &frame, text, strlen(text)));
}

static void test_the_end_is_said_again_until_the_worker_says_goodbye(void) {
  pthread_t server;
  dl_status status = DL_OK;
  dl_ps_link *link = NULL, *anew = NULL;
  dl_ps_frame welcome = {0}, frame;
  snprintf(address, sizeof address, "ipc://%s/deaf", folder);
  const dl_ps_link_options options = {.address = address, .max_bytes = FLOATS * sizeof(float), .queue = 16};
  stop = 0;
  CU_ASSERT_EQUAL(pthread_create(&server, NULL, serve, &status), 0);
  DL_ASSERT_OK(dl_ps_link_connect(&options, &link));
  ask(link, &welcome, DL_PS_HELLO, "");
  CU_ASSERT(hear(link, DL_PS_WELCOME, &welcome));
  ask(link, &welcome, DL_PS_JOIN, DIGEST "deaf");
  CU_ASSERT(hear(link, DL_PS_JOINED, &frame));
  stop = 1;
  for (int times = 0; times < 3; times++) CU_ASSERT(hear(link, DL_PS_END, &frame));
  CU_ASSERT_EQUAL(frame.status, DL_ERR_STOPPED);
  DL_ASSERT_OK(dl_ps_link_connect(&options, &anew)); /* as who was about to join anew */
  ask(anew, &welcome, DL_PS_HELLO, "");
  CU_ASSERT(hear(anew, DL_PS_END, &frame));
  CU_ASSERT_EQUAL(frame.sequence, 5);
  ask(link, &welcome, DL_PS_BYE, "");
  pthread_join(server, NULL);
  CU_ASSERT_EQUAL(status, DL_ERR_STOPPED);
  dl_ps_link_close(&link, 0);
  dl_ps_link_close(&anew, 0);
}

/* ---- a server that is played, and a worker ---- */

typedef struct script {
  int servers, end_status;
  int end_at;   /* the kind of request, and the how manyth of it, that is answered by the end */
  int end_time; /* from 1 */
  bool apart;   /* the end comes by itself, and that request gets its answer before */
  _Atomic bool goodbye;
} script;

static const int answers[DL_PS_KINDS] = {[DL_PS_HELLO] = DL_PS_WELCOME,
                                         [DL_PS_JOIN] = DL_PS_JOINED,
                                         [DL_PS_SHARE] = DL_PS_SHARED,
                                         [DL_PS_WANT] = DL_PS_STALE};

static void answer(dl_ps_link *link, const script *s, const dl_ps_mail *mail, bool end) {
  char text[32] = "";
  dl_ps_frame frame = {.kind = end ? DL_PS_END : answers[mail->frame.kind],
                       .job = JOB,
                       .life = 3,
                       .sequence = end && s->apart ? 0 : mail->frame.sequence,
                       .status = end ? s->end_status : mail->frame.kind == DL_PS_WANT};
  if (frame.kind == DL_PS_WELCOME) snprintf(text, sizeof text, "2 %d 1000000\n-\n", s->servers);
  if (end) snprintf(text, sizeof text, "for a reason");
  CU_ASSERT(dl_ps_link_send_copy(link, &mail->from, &frame, text, strlen(text)));
}

static void *play(void *context) {
  script *s = context;
  dl_ps_link *link = NULL;
  dl_ps_mail mail;
  int times = 0;
  const dl_ps_link_options options = {.address = address, .max_bytes = FLOATS * sizeof(float), .queue = 16};
  DL_ASSERT_OK(dl_ps_link_listen(&options, &link));
  for (int turn = 0; turn < 300 && !s->goodbye; turn++) {
    dl_ps_link_wait(link, 100);
    for (; dl_ps_link_receive(link, &mail); dl_ps_mail_done(&mail)) {
      if (mail.frame.kind == DL_PS_BYE) s->goodbye = true;
      times += mail.frame.kind == s->end_at;
      const bool end = mail.frame.kind == s->end_at && times >= s->end_time;
      if (answers[mail.frame.kind] && (!end || (s->apart && mail.frame.kind != DL_PS_WANT)))
        answer(link, s, &mail, false);
      if (end) answer(link, s, &mail, true);
    }
  }
  dl_ps_link_close(&link, 0);
  return NULL;
}

/* What a worker of the played server is told in the end. */
static dl_status work(script *s, dl_ps_task *task, char message[200]) {
  static int number;
  static float weights[FLOATS];
  pthread_t server;
  int64_t shards = 0;
  dl_ps_worker *worker = NULL;
  snprintf(address, sizeof address, "ipc://%s/played-%d", folder, number++);
  CU_ASSERT_EQUAL(pthread_create(&server, NULL, play, s), 0);
  const dl_ps_worker_options options = {.address = address, .timeout_s = 10};
  dl_status status = dl_ps_worker_open(&options, &worker, &shards);
  if (status == DL_OK) status = dl_ps_worker_join(worker, &group, weights, DIGEST, "test");
  if (status == DL_OK) status = dl_ps_worker_next(worker, task);
  snprintf(message, 200, "%.199s", status == DL_OK ? "" : dl_error_last()->message);
  if (worker) dl_ps_worker_leave(worker, "");
  dl_ps_worker_close(&worker);
  if (!task->end) s->goodbye = true; /* nobody was let in */
  pthread_join(server, NULL);
  return status;
}

static void test_the_end_is_heard_wherever_it_comes(void) {
  script scripts[] = {
      {.servers = 1, .end_at = DL_PS_WANT, .end_time = 1},
      {.servers = 1, .end_at = DL_PS_WANT, .end_time = 1, .apart = true},
      {.servers = 1, .end_at = DL_PS_JOIN, .end_time = 1},
      {.servers = 1, .end_at = DL_PS_SHARE, .end_time = 1},
      {.servers = 1, .end_at = DL_PS_HELLO, .end_time = 3},               /* forgotten, it is about to join anew */
      {.servers = 2, .end_at = DL_PS_JOIN, .end_time = 1, .apart = true}, /* the other one is gone */
  };
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    dl_ps_task task = {0};
    char message[200];
    DL_ASSERT_OK(work(&scripts[i], &task, message));
    CU_ASSERT(task.end && task.status == DL_OK);
    CU_ASSERT(scripts[i].goodbye);
    scripts[i].goodbye = false;
    scripts[i].end_status = DL_ERR_STOPPED;
    CU_ASSERT_EQUAL(work(&scripts[i], &task, message), DL_ERR_STOPPED);
    CU_ASSERT_STRING_EQUAL(message, "the server ended: for a reason");
  }
}

static void test_who_comes_behind_the_end_is_told_so(void) {
  script s = {.servers = 1, .end_at = DL_PS_HELLO, .end_time = 1};
  dl_ps_task task = {0};
  char message[200];
  CU_ASSERT_EQUAL(work(&s, &task, message), DL_ERR_TRAIN);
  CU_ASSERT_PTR_NOT_NULL(strstr(message, "the training is over"));
}

static const dl_test tests[] = {
    DL_TEST(test_the_end_is_said_again_until_the_worker_says_goodbye),
    DL_TEST(test_the_end_is_heard_wherever_it_comes),
    DL_TEST(test_who_comes_behind_the_end_is_told_so),
};

int main(void) { return dl_test_main_in(folder, "the end of parameter servers", tests, sizeof tests / sizeof *tests); }

/* The log of pushes: what is in it after any crash, and what a server does with it.
 *
 * Servers are processes that are killed; their workers are threads of this program. The oracle is the log itself, whose
 * entries are applied here one after another by a few lines of this file: the server's weights must have those bits,
 * and the entries must be each leaf of each step once. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/launch.h"
#include "comm/ps_log.h"
#include "comm/ps_worker.h"
#include "comm/sync.h"
#include "dltest.h"

static char folder[64] = "/dev/shm/dl-test-log-XXXXXX"; /* the many small files are fsynced */

static uint64_t mixed(uint64_t *state) {
  uint64_t x = (*state += 0x9e3779b97f4a7c15u);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 27);
}

/* ---- the file ---- */

#define N 9
#define WIDTH 37
static const dl_ps_log_base base = {.job = 77, .step = 5, .begin = 100, .end = 100 + WIDTH, .weights_crc = 3};

static dl_ps_log_entry entry_number(int i, float values[WIDTH]) {
  uint64_t state = (uint64_t)i;
  dl_ps_log_entry e = {.at = 5 + i / 3,
                       .step = 6 + i / 2,
                       .node = {i % 3, i},
                       .samples = 20 + i,
                       .sums = {(double)i, 0.5},
                       .incarnation = mixed(&state),
                       .sequence = mixed(&state),
                       .updates = i,
                       .ahead = 1};
  snprintf(e.worker, sizeof e.worker, "host:%d", i);
  for (int k = 0; k < WIDTH; k++) values[k] = (float)(mixed(&state) % 1000) / 7;
  return e;
}

static bool same_entry(const dl_ps_log *log, const dl_ps_log_entry *found, int number) {
  float values[WIDTH], read[WIDTH];
  const dl_ps_log_entry e = entry_number(number, values);
  return dl_ps_log_values(log, found, read) == DL_OK && !memcmp(values, read, sizeof values) && e.at == found->at &&
         e.step == found->step && e.node.level == found->node.level && e.node.index == found->node.index &&
         e.samples == found->samples && !memcmp(e.sums, found->sums, sizeof e.sums) &&
         e.incarnation == found->incarnation && e.sequence == found->sequence && e.updates == found->updates &&
         e.ahead == found->ahead && !strcmp(e.worker, found->worker);
}

/* Entries `first` .. `first + n - 1` of the list, and nothing else. */
static bool holds(const dl_ps_log *log, int first, int64_t n) {
  int64_t found;
  const dl_ps_log_entry *entry = dl_ps_log_entries(log, &found);
  bool same = found == n;
  for (int64_t i = 0; same && i < n; i++) same = same_entry(log, &entry[i], first + (int)i);
  return same;
}

static dl_status append_number(dl_ps_log *log, int i) {
  float values[WIDTH];
  const dl_ps_log_entry e = entry_number(i, values);
  return dl_ps_log_append(log, &e, values);
}

static const char *path_of(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void make_log(const char *name, int n) {
  dl_ps_log *log;
  unlink(path_of(name));
  DL_ASSERT_OK(dl_ps_log_open(path_of(name), n % 2, &log));
  DL_ASSERT_OK(dl_ps_log_restart(log, &base, 0));
  for (int i = 0; i < n; i++) DL_ASSERT_OK(append_number(log, i));
  CU_ASSERT(holds(log, 0, n));
  dl_ps_log_close(&log);
}

static void test_what_was_appended_is_there_when_the_log_is_opened_again(void) {
  dl_ps_log *log;
  for (int n = 0; n <= N; n++) {
    make_log("whole", n);
    DL_ASSERT_OK(dl_ps_log_open(path_of("whole"), false, &log));
    CU_ASSERT(holds(log, 0, n));
    CU_ASSERT_EQUAL(dl_ps_log_torn(log), 0);
    const dl_ps_log_base *found = dl_ps_log_base_of(log);
    CU_ASSERT(found && found->job == 77 && found->step == 5 && found->begin == 100 && found->end == 100 + WIDTH &&
              found->weights_crc == 3);
    dl_ps_log_close(&log);
  }
}

static int64_t size_of(const char *name) {
  struct stat st;
  return stat(path_of(name), &st) ? -1 : (int64_t)st.st_size;
}

#define BASE 80  /* bytes of what a log follows upon, of an entry before its floats, */
#define HEAD 256 /* and of what stands before the first entry */
#define FIRST ((int64_t)8192)
#define EACH (HEAD + WIDTH * (int64_t)sizeof(float))

static void test_a_tail_that_is_cut_anywhere_is_dropped_and_the_log_goes_on(void) {
  dl_ps_log *log;
  make_log("torn", N);
  const int64_t whole = size_of("torn");
  CU_ASSERT_EQUAL(whole, FIRST + N * EACH);
  for (int64_t cut = whole; cut >= 0; cut -= cut < FIRST ? 97 : cut < FIRST + 2 * EACH ? 1 : 53) {
    make_log("torn", N);
    CU_ASSERT_EQUAL(truncate(path_of("torn"), cut), 0);
    const int64_t left = cut < FIRST ? 0 : (cut - FIRST) / EACH, more = cut < FIRST ? 0 : (cut - FIRST) % EACH;
    DL_ASSERT_OK(dl_ps_log_open(path_of("torn"), false, &log));
    CU_ASSERT(holds(log, 0, left));
    CU_ASSERT_EQUAL(dl_ps_log_base_of(log) != NULL, cut >= BASE);
    CU_ASSERT_EQUAL(dl_ps_log_torn(log), cut < BASE ? (cut > 48 ? cut : 0) : more >= HEAD ? EACH : 0);
    if (dl_ps_log_base_of(log) && left < N) DL_ASSERT_OK(append_number(log, (int)left));
    dl_ps_log_close(&log);
    DL_ASSERT_OK(dl_ps_log_open(path_of("torn"), false, &log));
    CU_ASSERT(cut < BASE || holds(log, 0, left < N ? left + 1 : N));
    dl_ps_log_close(&log);
  }
}

static void flip(const char *name, int64_t at, int bit) {
  FILE *file = fopen(path_of(name), "r+b");
  if (!file) abort();
  fseek(file, (long)at, SEEK_SET);
  int byte = fgetc(file);
  fseek(file, (long)at, SEEK_SET);
  fputc(byte ^ 1 << bit, file);
  fclose(file);
}

/* No entry is believed from a flipped bit on, wherever it is; those before are as they were, and damage that is not in
 * the last one is told from the end. */
static void test_damage_is_seen_wherever_it_is(void) {
  uint64_t state = 5;
  make_log("flip", N);
  const int64_t whole = size_of("flip");
  for (int trial = 0; trial < 400; trial++) {
    const int64_t at = trial < 20 ? trial * 5 : FIRST + (int64_t)(mixed(&state) % (uint64_t)(whole - FIRST));
    const int64_t left = at < BASE ? 0 : at < FIRST ? N : (at - FIRST) / EACH;
    make_log("flip", N);
    flip("flip", at, (int)(mixed(&state) % 8));
    dl_ps_log *log;
    DL_ASSERT_OK(dl_ps_log_open(path_of("flip"), false, &log));
    CU_ASSERT(holds(log, 0, left));
    CU_ASSERT_EQUAL(dl_ps_log_base_of(log) != NULL, at >= BASE);
    if (at >= FIRST && left < N - 1) CU_ASSERT_EQUAL(dl_ps_log_torn(log), (N - left) * EACH);
    dl_ps_log_close(&log);
  }
}

/* ---- what is written over ---- */

static void copy_file(const char *from, const char *to) {
  char command[320];
  int n = snprintf(command, sizeof command, "cp %s/%s %s/%s", folder, from, folder, to);
  if (n < 0 || (size_t)n >= sizeof command || system(command)) abort();
}

/* What a crash of this moment leaves of the log in file `name` is `n` entries from `first` on. */
static bool crash_leaves(const char *name, int first, int64_t n) {
  dl_ps_log *log;
  copy_file(name, "crashed");
  if (dl_ps_log_open(path_of("crashed"), false, &log) != DL_OK) return false;
  const bool so = holds(log, first, n) && dl_ps_log_torn(log) == 0;
  dl_ps_log_close(&log);
  return so;
}

static void put_bytes(const char *name, int64_t at, const unsigned char *bytes, size_t n) {
  FILE *file = fopen(path_of(name), "r+b");
  if (!file || fseek(file, (long)at, SEEK_SET) || fwrite(bytes, 1, n, file) != n) abort();
  fclose(file);
}

static void get_bytes(const char *name, int64_t at, unsigned char *bytes, size_t n) {
  FILE *file = fopen(path_of(name), "rb");
  if (!file || fseek(file, (long)at, SEEK_SET) || fread(bytes, 1, n, file) != n) abort();
  fclose(file);
}

static const dl_ps_log_base later = {.job = 77, .step = 6, .begin = 100, .end = 100 + WIDTH, .weights_crc = 4};

/* A log of N entries that has begun anew upon `later`, over them. */
static dl_ps_log *make_worn_log(const char *name) {
  dl_ps_log *log;
  make_log(name, N);
  DL_ASSERT_OK(dl_ps_log_open(path_of(name), false, &log));
  DL_ASSERT_OK(dl_ps_log_restart(log, &later, N));
  return log;
}

/* Entries of before, whole and of the same length, lie right behind the last one. They are the very pushes that could
 * follow: same steps, same units. */
static void test_an_entry_of_an_earlier_time_is_never_believed(void) {
  for (int beginnings = 1; beginnings <= 4; beginnings++) {
    dl_ps_log *log = make_worn_log("worn");
    for (int b = 1; b < beginnings; b++) {
      for (int i = 3; i < N; i++) DL_ASSERT_OK(append_number(log, i));
      DL_ASSERT_OK(dl_ps_log_restart(log, &later, N));
    }
    CU_ASSERT_EQUAL(size_of("worn"), FIRST + N * EACH); /* nothing was given back */
    for (int i = 3; i < N; i++) {
      CU_ASSERT(crash_leaves("worn", 3, i - 3));
      DL_ASSERT_OK(append_number(log, i));
    }
    CU_ASSERT(crash_leaves("worn", 3, N - 3));
    dl_ps_log_close(&log);
    CU_ASSERT_EQUAL(size_of("worn"), FIRST + (N - 3) * EACH);
    CU_ASSERT(crash_leaves("worn", 3, N - 3));
  }
}

/* A new entry that is half written ends in an old one, wherever the writing stopped. */
static void test_a_torn_entry_over_an_old_one_is_dropped(void) {
  unsigned char entry[EACH];
  dl_ps_log *log = make_worn_log("over");
  for (int i = 3; i < 6; i++) DL_ASSERT_OK(append_number(log, i));
  copy_file("over", "before");
  DL_ASSERT_OK(append_number(log, 6));
  get_bytes("over", FIRST + 3 * EACH, entry, sizeof entry);
  dl_ps_log_close(&log);
  for (size_t written = 0; written <= EACH; written += written < HEAD + 8 ? 1 : 5) {
    copy_file("before", "half");
    put_bytes("half", FIRST + 3 * EACH, entry, written);
    DL_ASSERT_OK(dl_ps_log_open(path_of("half"), false, &log));
    CU_ASSERT(holds(log, 3, written < EACH ? 3 : 4));
    CU_ASSERT_EQUAL(dl_ps_log_torn(log), written >= HEAD && written < EACH ? EACH : 0);
    DL_ASSERT_OK(append_number(log, written < EACH ? 6 : 7));
    CU_ASSERT(crash_leaves("half", 3, written < EACH ? 4 : 5));
    dl_ps_log_close(&log);
  }
}

/* The machine's end may leave a later entry without the one before it. Another takes that one's place: what lies behind
 * is of this generation and whole, but followed upon something else. */
static void test_an_entry_counts_behind_the_one_that_it_was_put_behind_alone(void) {
  dl_ps_log *log;
  for (int lost = 0; lost < N; lost++) {
    make_log("lost", N);
    flip("lost", FIRST + lost * EACH + HEAD + 5, 3);
    DL_ASSERT_OK(dl_ps_log_open(path_of("lost"), false, &log));
    CU_ASSERT(holds(log, 0, lost));
    CU_ASSERT_EQUAL(dl_ps_log_torn(log), (N - lost) * EACH);
    DL_ASSERT_OK(append_number(log, lost)); /* the very same push */
    copy_file("lost", "crashed");
    dl_ps_log_close(&log);
    DL_ASSERT_OK(dl_ps_log_open(path_of("crashed"), false, &log));
    CU_ASSERT(holds(log, 0, lost + 1));
    dl_ps_log_close(&log);
  }
}

/* Of the two bases the later one counts; where it is not whole the log is as before, but for what was written over. */
static void test_a_base_that_is_half_written_leaves_the_one_before(void) {
  unsigned char base_bytes[BASE];
  dl_ps_log *log;
  for (int beginnings = 1; beginnings <= 2; beginnings++) {
    const int64_t at = beginnings % 2 ? 4096 : 0;
    for (int appended = 0; appended < 2; appended++) {
      log = make_worn_log("bases");
      if (beginnings == 2) DL_ASSERT_OK(dl_ps_log_restart(log, &later, N));
      if (appended) DL_ASSERT_OK(append_number(log, 3));
      CU_ASSERT(crash_leaves("bases", 3, appended));
      get_bytes("bases", at, base_bytes, BASE);
      flip("bases", at + 30, 1);
      copy_file("bases", "crashed");
      dl_ps_log_close(&log);
      DL_ASSERT_OK(dl_ps_log_open(path_of("crashed"), false, &log));
      CU_ASSERT(dl_ps_log_base_of(log) && dl_ps_log_base_of(log)->step == (beginnings == 1 ? 5 : 6));
      CU_ASSERT(holds(log, 0, beginnings == 1 && !appended ? N : 0));
      dl_ps_log_close(&log);
    }
  }
}

static void test_a_log_of_an_older_form_is_told_from_damage(void) {
  static const unsigned char old[64] = "DLPSLOG1";
  dl_ps_log *log = NULL;
  make_log("old", 0);
  CU_ASSERT_EQUAL(truncate(path_of("old"), 0), 0);
  put_bytes("old", 0, old, sizeof old);
  CU_ASSERT_EQUAL(dl_ps_log_open(path_of("old"), false, &log), DL_ERR_DATA);
  CU_ASSERT_PTR_NULL(log);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "older version"));
  CU_ASSERT_EQUAL(size_of("old"), sizeof old);
  CU_ASSERT_EQUAL(truncate(path_of("old"), 48), 0); /* without entries: nothing is lost */
  DL_ASSERT_OK(dl_ps_log_open(path_of("old"), false, &log));
  CU_ASSERT_PTR_NULL(dl_ps_log_base_of(log));
  DL_ASSERT_OK(dl_ps_log_restart(log, &base, 0));
  DL_ASSERT_OK(append_number(log, 0));
  CU_ASSERT(crash_leaves("old", 0, 1));
  dl_ps_log_close(&log);
}

static void test_a_new_beginning_keeps_what_it_is_told_to(void) {
  dl_ps_log *log;
  for (int from = 0; from <= N; from++) {
    make_log("anew", N);
    DL_ASSERT_OK(dl_ps_log_open(path_of("anew"), false, &log));
    DL_ASSERT_OK(dl_ps_log_restart(log, &later, from));
    CU_ASSERT(holds(log, from, N - from));
    dl_ps_log_close(&log);
    DL_ASSERT_OK(dl_ps_log_open(path_of("anew"), false, &log));
    CU_ASSERT_EQUAL(dl_ps_log_base_of(log)->step, 6);
    /* an entry is of the base's step or later: those of step 5 are not believed */
    CU_ASSERT(holds(log, from, from < 3 ? 0 : N - from));
    dl_ps_log_close(&log);
  }
}

/* What was kept follows upon what is gone, and what comes after upon what was kept. */
static void test_a_log_goes_on_behind_entries_that_it_kept(void) {
  dl_ps_log *log;
  for (int from = 3; from <= N; from++) {
    make_log("goes-on", N - 1);
    DL_ASSERT_OK(dl_ps_log_open(path_of("goes-on"), false, &log));
    DL_ASSERT_OK(dl_ps_log_restart(log, &later, from));
    DL_ASSERT_OK(append_number(log, N - 1));
    CU_ASSERT(crash_leaves("goes-on", from < N ? from : N - 1, from < N ? N - from : 1));
    DL_ASSERT_OK(dl_ps_log_restart(log, &later, N));
    CU_ASSERT(crash_leaves("goes-on", 0, 0));
    DL_ASSERT_OK(append_number(log, 4));
    CU_ASSERT(crash_leaves("goes-on", 4, 1));
    dl_ps_log_close(&log);
  }
}

/* Long enough for a thread of its own; the second one of a new beginning lies over the third of before. */
static void test_a_long_entry_is_in_when_its_writing_is_finished(void) {
  enum { LONG = 100000 };
  dl_ps_log_base wide = base;
  dl_ps_log *log;
  wide.end = wide.begin + LONG;
  float *values = calloc(LONG, sizeof *values), *found = calloc(LONG, sizeof *found), few[WIDTH];
  if (!values || !found) abort();
  DL_ASSERT_OK(dl_ps_log_open(path_of("long"), true, &log));
  for (int beginning = 0; beginning < 2; beginning++) {
    DL_ASSERT_OK(dl_ps_log_restart(log, &wide, N));
    for (int i = 0; i < 3 - beginning; i++) {
      const dl_ps_log_entry e = entry_number(i, few);
      for (int k = 0; k < LONG; k++) values[k] = (float)(k % 1009 + 7 * i + beginning);
      dl_ps_log_begin(log, &e, values);
      DL_ASSERT_OK(dl_ps_log_finish(log));
    }
  }
  copy_file("long", "crashed");
  dl_ps_log_close(&log);
  DL_ASSERT_OK(dl_ps_log_open(path_of("crashed"), false, &log));
  int64_t n;
  const dl_ps_log_entry *entry = dl_ps_log_entries(log, &n);
  CU_ASSERT_EQUAL(n, 2);
  for (int64_t i = 0; i < n; i++) {
    DL_ASSERT_OK(dl_ps_log_values(log, &entry[i], found));
    for (int k = 0; k < LONG; k++) values[k] = (float)(k % 1009 + 7 * (int)i + 1);
    CU_ASSERT(memcmp(values, found, LONG * sizeof *found) == 0);
  }
  dl_ps_log_close(&log);
  free(values);
  free(found);
}

static void test_what_cannot_be_written_is_an_error(void) {
  dl_ps_log *log = NULL;
  CU_ASSERT_EQUAL(dl_ps_log_open("/dev/null/none", false, &log), DL_ERR_SYSTEM);
  CU_ASSERT_PTR_NULL(log);
  CU_ASSERT_EQUAL(dl_ps_log_open("/dev/full", true, &log), DL_OK);
  if (log) CU_ASSERT_EQUAL(append_number(log, 0), DL_ERR_SYSTEM);
  dl_ps_log_close(&log);
}

/* ---- servers that are killed ---- */

#define STEPS 40
#define EPOCH 20
#define SHARDS 5
#define SAMPLES 20
#define FLOATS 5008
#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
static const dl_tensor tensor = {.count = 5001, .dims = 1, .shape = {5001}, .trainable = true, .lr_scale = 1};

/* Momentum: a state, so that order and number of the steps matter. */
static _Thread_local double lr_share = 1;
static void momentum(float *w, float *m, float gradient, double share) {
  *m = 0.9f * *m + gradient;
  *w -= 0.5f * (float)share * *m;
}
static void apply(void *context, const dl_tensor *of, size_t n, float *restrict weights, const float *restrict gradient,
                  float *const state[]) {
  (void)context, (void)of;
  for (size_t i = 0; i < n; i++) momentum(&weights[i], &state[0][i], gradient[i], lr_share);
}
static void pace(void *context, double share) {
  (void)context;
  lr_share = share;
}
static const dl_param_group group = {
    .count = FLOATS, .tensors = &tensor, .n_tensors = 1, .n_slots = 1, .apply = apply, .pace = pace};

typedef struct place {
  char address[128], run[128], weights[128];
  int servers, consistency;
} place;

static dl_status serve_member(dl_team *team, void *context) {
  const place *p = context;
  dl_sync *sync = NULL;
  dl_ps_options ps = {.role = DL_PS_SERVE,
                      .bind = p->address,
                      .consistency = p->consistency,
                      .staleness = 2,
                      .digest = DIGEST,
                      .log = DL_PS_LOG_WRITE,
                      .log_bytes = (int64_t)1 << 40,
                      .batch = SAMPLES,
                      .epoch_steps = EPOCH,
                      .epoch_samples = EPOCH * SAMPLES};
  dl_sync_options options = {.shards = SHARDS, .ps = &ps};
  team->timeout_s = 60;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_status status = dl_sync_log(sync, p->run, 0, false);
  for (int64_t step = 0; status == DL_OK && step < STEPS; step++) {
    dl_cut cut = dl_cut_make(SAMPLES, SHARDS);
    dl_sync_result result;
    dl_sync_request request = {.step = step};
    status = dl_sync_begin(sync, &cut);
    if (status == DL_OK) status = dl_sync_finish(sync, &request, &result);
    if (status == DL_OK && result.sums[1] != SAMPLES)
      status = dl_fail(DL_ERR_INTERNAL, "step %lld has %g samples", (long long)step, result.sums[1]);
  }
  FILE *file = team->rank == 0 && status == DL_OK ? fopen(p->weights, "wb") : NULL;
  if (file) fwrite(dl_sync_weights(sync), sizeof(float), FLOATS, file);
  if (file) fclose(file);
  dl_sync_dismiss(sync, status);
  dl_sync_destroy(&sync);
  return status;
}

static pid_t start_server(place *p) {
  pid_t pid = fork();
  if (pid) return pid;
  dl_status status = dl_launch(p->servers, serve_member, p);
  if (status != DL_OK) fprintf(stderr, "server: %s\n", dl_error_last()->message);
  _exit(status != DL_OK);
}

/* A process that begins a server, kills it `deaths` times after a while, and exits as the last one does. It is forked
 * before there are threads. */
static pid_t start_keeper(place *p, int deaths, uint64_t seed) {
  pid_t keeper = fork();
  if (keeper) return keeper;
  for (; deaths > 0; deaths--) {
    pid_t server = start_server(p);
    usleep((useconds_t)(60000 + mixed(&seed) % 150000));
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
  }
  int how = 1;
  pid_t server = start_server(p);
  waitpid(server, &how, 0);
  _exit(how != 0);
}

typedef struct worker_run {
  const char *address;
  uint64_t seed;
  dl_status status;
} worker_run;

static dl_status compute(dl_ps_worker *worker, const dl_ps_task *task, const float *weights, uint64_t *seed) {
  for (int64_t leaf = task->begin_leaf; leaf < task->end_leaf; leaf++) {
    float *gradient = dl_ps_worker_gradients(worker);
    if (!gradient) return DL_ERR_NOMEM;
    for (size_t i = 0; i < tensor.count; i++)
      gradient[i] = 0.01f * weights[i] + (float)((i * 31 + (size_t)(task->step * 7 + leaf)) % 101) - 50;
    dl_ps_worker_leaf_done(worker, leaf, (double[DL_LEAF_SUMS]){1, SAMPLES / SHARDS});
  }
  usleep((useconds_t)(mixed(seed) % 9000));
  return DL_OK;
}

static dl_status work(worker_run *run) {
  dl_ps_worker *worker = NULL;
  int64_t shards;
  float *weights = calloc(FLOATS, sizeof *weights);
  dl_ps_worker_options options = {.address = run->address, .timeout_s = 6};
  dl_status status = weights ? dl_ps_worker_open(&options, &worker, &shards) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_ps_worker_join(worker, &group, weights, DIGEST, "test");
  for (dl_ps_task task = {0}; status == DL_OK && !task.end;) {
    status = dl_ps_worker_next(worker, &task);
    if (status == DL_OK && !task.end) status = compute(worker, &task, weights, &run->seed);
  }
  if (worker) dl_ps_worker_leave(worker, "");
  dl_ps_worker_close(&worker);
  free(weights);
  return status;
}

static void *start_work(void *context) {
  worker_run *run = context;
  run->status = work(run);
  return NULL;
}

/* What the log of server `s` says: each leaf of each step once; applied here, in its order, to `weights`. */
static void apply_log(const place *p, int s, float *weights) {
  char path[192];
  int covered[STEPS][SHARDS] = {0};
  int64_t n = 0;
  dl_ps_log *log = NULL;
  snprintf(path, sizeof path, "%s/pushes/server-%d.log", p->run, s);
  DL_ASSERT_OK(dl_ps_log_open(path, false, &log));
  const dl_ps_log_base *from = log ? dl_ps_log_base_of(log) : NULL;
  const dl_ps_log_entry *entry = from ? dl_ps_log_entries(log, &n) : NULL;
  float *values = calloc(FLOATS, sizeof *values), *m = calloc(FLOATS, sizeof *m);
  if (!values || !m) abort();
  for (int64_t i = 0; i < n; i++) {
    const int64_t begin = entry[i].node.index << entry[i].node.level;
    int64_t end = (entry[i].node.index + 1) << entry[i].node.level;
    if (end > SHARDS) end = SHARDS;
    for (int64_t leaf = begin; leaf < end && entry[i].step < STEPS; leaf++) covered[entry[i].step][leaf]++;
    DL_ASSERT_OK(dl_ps_log_values(log, &entry[i], values));
    const float factor = (float)(1 / entry[i].sums[1]);
    for (size_t k = from->begin; k < from->end && k < tensor.count; k++)
      momentum(&weights[k], &m[k], values[k - from->begin] * factor, (double)(end - begin) / SHARDS);
  }
  for (int step = 0; step < STEPS; step++)
    for (int leaf = 0; leaf < SHARDS; leaf++) CU_ASSERT_EQUAL(covered[step][leaf], 1);
  free(values);
  free(m);
  dl_ps_log_close(&log);
}

static void expect_weights_of_the_log(const place *p) {
  float *found = calloc(FLOATS, sizeof *found), *expected = calloc(FLOATS, sizeof *expected);
  if (!found || !expected) abort();
  for (int s = 0; s < p->servers; s++) apply_log(p, s, expected);
  FILE *file = fopen(p->weights, "rb");
  CU_ASSERT(file && fread(found, sizeof *found, FLOATS, file) == FLOATS);
  if (file) fclose(file);
  CU_ASSERT(memcmp(found, expected, FLOATS * sizeof *found) == 0);
  CU_ASSERT(found[1] != 0);
  free(found);
  free(expected);
}

static void test_a_killed_server_has_every_push_that_was_acknowledged_and_the_same_bits(void) {
  const char *asked = getenv("DLDIST_TEST_RUNS");
  const int trials = asked && atoi(asked) > 2 ? atoi(asked) : 2;
  for (int trial = 0; trial < trials; trial++) {
    place p = {.servers = 1 + (trial + 1) % 2, .consistency = (trial ^ trial / 2) % 2 ? DL_PS_ASP : DL_PS_SSP};
    snprintf(p.address, sizeof p.address, "ipc://%s/k%d", folder, trial);
    snprintf(p.run, sizeof p.run, "%s/run%d", folder, trial);
    snprintf(p.weights, sizeof p.weights, "%s/weights%d", folder, trial);
    pid_t keeper = start_keeper(&p, 3, (uint64_t)trial);
    worker_run run[2];
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) {
      run[i] = (worker_run){p.address, (uint64_t)i, DL_OK};
      CU_ASSERT_EQUAL(pthread_create(&thread[i], NULL, start_work, &run[i]), 0);
    }
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    int how = 1;
    waitpid(keeper, &how, 0);
    CU_ASSERT_EQUAL(how, 0);
    CU_ASSERT(run[0].status == DL_OK ||
              run[1].status == DL_OK); /* the last one may have come too late to hear the end */
    expect_weights_of_the_log(&p);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_what_was_appended_is_there_when_the_log_is_opened_again),
    DL_TEST(test_a_tail_that_is_cut_anywhere_is_dropped_and_the_log_goes_on),
    DL_TEST(test_damage_is_seen_wherever_it_is),
    DL_TEST(test_an_entry_of_an_earlier_time_is_never_believed),
    DL_TEST(test_a_torn_entry_over_an_old_one_is_dropped),
    DL_TEST(test_an_entry_counts_behind_the_one_that_it_was_put_behind_alone),
    DL_TEST(test_a_base_that_is_half_written_leaves_the_one_before),
    DL_TEST(test_a_log_of_an_older_form_is_told_from_damage),
    DL_TEST(test_a_new_beginning_keeps_what_it_is_told_to),
    DL_TEST(test_a_log_goes_on_behind_entries_that_it_kept),
    DL_TEST(test_a_long_entry_is_in_when_its_writing_is_finished),
    DL_TEST(test_what_cannot_be_written_is_an_error),
    DL_TEST(test_a_killed_server_has_every_push_that_was_acknowledged_and_the_same_bits),
};

int main(void) {
  char command[96];
  if (!mkdtemp(folder) && !mkdtemp(strcpy(folder, "/tmp/dl-test-log-XXXXXX"))) return 1;
  int failed = dl_test_main("the log of pushes", tests, sizeof tests / sizeof *tests);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command) || failed;
}

/* The log of pushes: what is in it after any crash. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/ps_log.h"
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

static int64_t torn_bytes(const dl_ps_log *log) {
  int64_t n;
  return dl_ps_log_torn(log, &n);
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
    CU_ASSERT_EQUAL(torn_bytes(log), 0);
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
    CU_ASSERT_EQUAL(torn_bytes(log), cut < BASE ? (cut > 48 ? cut : 0) : more >= HEAD ? EACH : 0);
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
    if (at >= FIRST && left < N - 1) CU_ASSERT_EQUAL(torn_bytes(log), (N - left) * EACH);
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
  const bool so = holds(log, first, n) && torn_bytes(log) == 0;
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
    CU_ASSERT_EQUAL(torn_bytes(log), written >= HEAD && written < EACH ? EACH : 0);
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
    CU_ASSERT_EQUAL(torn_bytes(log), (N - lost) * EACH);
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

/* ---- entries of any length, as few elements have ---- */

static int words_of(int i) { return (i * 11 + 5) % WIDTH; }

static dl_status append_short(dl_ps_log *log, int i, int words) {
  float values[WIDTH];
  dl_ps_log_entry e = entry_number(i, values);
  e.bytes = words * (int64_t)sizeof(float);
  return dl_ps_log_append(log, &e, values);
}

static bool is_short(const dl_ps_log *log, const dl_ps_log_entry *found, int i, int words) {
  float values[WIDTH], read[WIDTH];
  const dl_ps_log_entry e = entry_number(i, values);
  const size_t bytes = (size_t)words * sizeof(float);
  return (size_t)found->bytes == bytes && e.sequence == found->sequence &&
         dl_ps_log_values(log, found, read) == DL_OK && !memcmp(values, read, bytes);
}

static void test_damage_among_entries_of_any_length_is_told_by_their_number(void) {
  int64_t place[N + 1] = {FIRST}, n;
  for (int i = 0; i < N; i++) place[i + 1] = place[i] + HEAD + words_of(i + 1) * (int64_t)sizeof(float);
  for (int where = 0; where < 2 * (N - 1); where++) {
    const int hurt = where / 2;
    dl_ps_log *log;
    unlink(path_of("short"));
    DL_ASSERT_OK(dl_ps_log_open(path_of("short"), false, &log));
    DL_ASSERT_OK(dl_ps_log_restart(log, &base, 0));
    for (int i = 0; i < N; i++) DL_ASSERT_OK(append_short(log, i, words_of(i + 1)));
    dl_ps_log_close(&log);
    CU_ASSERT_EQUAL(size_of("short"), place[N]);
    flip("short", place[hurt] + (where % 2 ? 40 : HEAD + 2), 4); /* its header or its values */
    DL_ASSERT_OK(dl_ps_log_open(path_of("short"), false, &log));
    const dl_ps_log_entry *entry = dl_ps_log_entries(log, &n);
    CU_ASSERT_EQUAL(n, hurt);
    for (int i = 0; i < n; i++) CU_ASSERT(is_short(log, &entry[i], i, words_of(i + 1)));
    CU_ASSERT_EQUAL(dl_ps_log_torn(log, &n), place[N] - place[hurt]);
    CU_ASSERT_EQUAL(n, N - hurt);
    dl_ps_log_close(&log);
  }
}

/* The new ones are together as long as as many old ones: whole ones of before begin right behind them. */
static void test_an_old_entry_that_begins_where_new_ones_end_is_not_believed(void) {
  enum { OLD = 5 };
  static const int old[OLD] = {30, 4, 11, 4, 11}, new[] = {4, 11, 30, 11};
  for (int appended = 1; appended <= 4; appended++) {
    dl_ps_log *log;
    int64_t n;
    unlink(path_of("edge"));
    DL_ASSERT_OK(dl_ps_log_open(path_of("edge"), false, &log));
    DL_ASSERT_OK(dl_ps_log_restart(log, &base, 0));
    for (int i = 0; i < OLD; i++) DL_ASSERT_OK(append_short(log, 3 + i, old[i]));
    DL_ASSERT_OK(dl_ps_log_restart(log, &later, OLD));
    for (int i = 0; i < appended; i++) DL_ASSERT_OK(append_short(log, 3 + i, new[i]));
    copy_file("edge", "crashed");
    dl_ps_log_close(&log);
    DL_ASSERT_OK(dl_ps_log_open(path_of("crashed"), false, &log));
    const dl_ps_log_entry *entry = dl_ps_log_entries(log, &n);
    CU_ASSERT_EQUAL(n, appended);
    for (int i = 0; i < n; i++) CU_ASSERT(is_short(log, &entry[i], 3 + i, new[i]));
    CU_ASSERT_EQUAL(torn_bytes(log), 0);
    dl_ps_log_close(&log);
  }
}

/* ---- where it cannot be written ---- */

static void limit_files(rlim_t bytes) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit)) abort();
  limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
  if (setrlimit(RLIMIT_FSIZE, &limit)) abort();
}

/* The third one does not go in, by whichever thread it is written. Once there is room, it does. */
static void test_a_log_that_cannot_grow_says_so_and_holds_what_it_held(void) {
  enum { LONG = 100000 };
  float *values = calloc(LONG, sizeof *values), few[WIDTH];
  if (!values) abort();
  signal(SIGXFSZ, SIG_IGN);
  for (int wide = 0; wide < 2; wide++) {
    dl_ps_log_base on = base;
    dl_ps_log *log;
    int64_t n;
    on.end = on.begin + (wide ? LONG : WIDTH);
    const int64_t each = HEAD + (wide ? LONG : WIDTH) * (int64_t)sizeof(float);
    unlink(path_of("full"));
    DL_ASSERT_OK(dl_ps_log_open(path_of("full"), wide, &log));
    DL_ASSERT_OK(dl_ps_log_restart(log, &on, 0));
    limit_files((rlim_t)(FIRST + 2 * each + each * 2 / 3));
    for (int i = 0; i < 3; i++) {
      const dl_ps_log_entry e = entry_number(i, few);
      memcpy(values, few, sizeof few);
      CU_ASSERT_EQUAL(dl_ps_log_append(log, &e, values), i < 2 ? DL_OK : DL_ERR_SYSTEM);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "cannot be written"));
    limit_files(RLIM_INFINITY);
    dl_ps_log_entries(log, &n);
    CU_ASSERT_EQUAL(n, 2);
    dl_ps_log_close(&log);
    CU_ASSERT_EQUAL(size_of("full"), FIRST + 2 * each);
    DL_ASSERT_OK(dl_ps_log_open(path_of("full"), false, &log));
    const dl_ps_log_entry e = entry_number(2, few);
    DL_ASSERT_OK(dl_ps_log_append(log, &e, values));
    const dl_ps_log_entry *entry = dl_ps_log_entries(log, &n);
    CU_ASSERT_EQUAL(n, 3);
    for (int i = 0; i < n; i++) CU_ASSERT_EQUAL(entry[i].samples, 20 + i);
    dl_ps_log_close(&log);
  }
  free(values);
}

static void test_what_cannot_be_written_is_an_error(void) {
  dl_ps_log *log = NULL;
  CU_ASSERT_EQUAL(dl_ps_log_open("/dev/null/none", false, &log), DL_ERR_SYSTEM);
  CU_ASSERT_PTR_NULL(log);
  CU_ASSERT_EQUAL(dl_ps_log_open("/dev/full", true, &log), DL_OK);
  if (log) CU_ASSERT_EQUAL(append_number(log, 0), DL_ERR_SYSTEM);
  dl_ps_log_close(&log);
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
    DL_TEST(test_damage_among_entries_of_any_length_is_told_by_their_number),
    DL_TEST(test_an_old_entry_that_begins_where_new_ones_end_is_not_believed),
    DL_TEST(test_a_log_that_cannot_grow_says_so_and_holds_what_it_held),
    DL_TEST(test_what_cannot_be_written_is_an_error),
};

int main(void) {
  if (access("/dev/shm", W_OK)) strcpy(folder, "/tmp/dl-test-log-XXXXXX");
  return dl_test_main_in(folder, "the log of pushes", tests, sizeof tests / sizeof *tests);
}

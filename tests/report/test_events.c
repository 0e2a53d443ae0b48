/* test_events.c - metrics.jsonl: lines, cutting at a checkpoint, full disks. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "dltest.h"
#include "report/events.h"

static char folder[64];
static char path[96];
static int warnings;

static void count_warning(void *context, const char *code, const char *message) {
  (void)context, (void)message;
  warnings += strcmp(code, "events_damaged") == 0;
}

static void put_file(const char *text, size_t bytes) {
  FILE *file = fopen(path, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CU_ASSERT_EQUAL(fwrite(text, 1, bytes, file), bytes);
  CU_ASSERT_EQUAL(fclose(file), 0);
}

static char *get_file(void) {
  char *text = NULL;
  size_t bytes = 0;
  DL_ASSERT_OK(dl_file_read(path, 64u << 20, DL_ERR_SYSTEM, &text, &bytes));
  return text;
}

/* Opens what `text` holds for a resume at `step` and says whether exactly `kept` bytes of it stay. */
static bool keeps(const char *text, int64_t step, size_t kept) {
  put_file(text, strlen(text));
  dl_events *events = NULL;
  DL_ASSERT_OK(dl_events_open(path, step, dl_now_s(), &events));
  dl_events_close(&events);
  char *now = get_file();
  bool same = now && strlen(now) == kept && strncmp(now, text, kept) == 0;
  free(now);
  return same;
}

static void test_each_event_is_one_line_with_event_time_and_step_first(void) {
  dl_events *events = NULL;
  put_file("old\n", 4);
  DL_ASSERT_OK(dl_events_open(path, -1, dl_now_s() - 2, &events));
  for (int step = 1; step <= 2; step++) {
    dl_json *object = dl_event_new("step", step);
    dl_json_put_real(object, "loss", 0.5);
    dl_json_put_string(object, "text", "two\nlines");
    DL_ASSERT_OK(dl_events_write(events, object));
  }
  char *text = get_file(), *line = text;
  for (int step = 1; step <= 2; step++) {
    char *end = strchr(line, '\n');
    CU_ASSERT_PTR_NOT_NULL_FATAL(end);
    dl_json *object = NULL;
    const char *key = NULL;
    void *position = NULL;
    const dl_json *value = NULL;
    static const char *const keys[] = {"event", "time", "step", "loss", "text"};
    DL_ASSERT_OK(dl_json_parse(line, (size_t)(end - line), "line", &object));
    for (size_t i = 0; i < 5; i++) {
      CU_ASSERT(dl_json_next(object, &position, &key, &value));
      CU_ASSERT_STRING_EQUAL(key, keys[i]);
    }
    double time = dl_json_real(dl_json_get(object, "time"), -1);
    CU_ASSERT(time >= 2 && time < 60);
    CU_ASSERT_EQUAL(dl_json_int(dl_json_get(object, "step"), 0), step);
    CU_ASSERT_STRING_EQUAL(dl_json_string(dl_json_get(object, "event")), "step");
    CU_ASSERT_STRING_EQUAL(dl_json_string(dl_json_get(object, "text")), "two\nlines");
    dl_json_destroy(&object);
    line = end + 1;
  }
  CU_ASSERT_EQUAL(*line, 0);
  free(text);
  dl_events_close(&events);
  CU_ASSERT_PTR_NULL(events);
}

#define L0 "{\"event\":\"start\",\"time\":0,\"step\":0}\n"
#define L1 "{\"event\":\"step\",\"time\":1.5,\"step\":1}\n"
#define L2 "{\"event\":\"step\",\"time\":2.5,\"step\":2}\n"
#define E2 "{\"event\":\"eval\",\"time\":2.75,\"step\":2}\n"
#define N2 "{\"event\":\"warning\",\"time\":2.8}\n"
#define L3 "{\"event\":\"step\",\"time\":3.5,\"step\":3}\n"
#define B(text) (sizeof(text) - 1)

static void test_a_resume_keeps_what_happened_up_to_the_checkpoint(void) {
  static const char all[] = L0 L1 L2 E2 N2 L3;
  CU_ASSERT(keeps(all, 3, B(all)));
  CU_ASSERT(keeps(all, 1000, B(all)));
  CU_ASSERT(keeps(all, 2, B(L0 L1 L2 E2 N2)));
  CU_ASSERT(keeps(all, 1, B(L0 L1)));
  CU_ASSERT(keeps(all, 0, B(L0)));
  CU_ASSERT(keeps("", 5, 0));
  CU_ASSERT(keeps(L3, 2, 0));
}

static void test_lines_after_the_first_later_one_go_even_when_their_step_is_small(void) {
  CU_ASSERT(keeps(L0 L1 L3 L0 L1, 2, B(L0 L1)));
}

static void test_a_torn_last_line_is_cut_off_at_every_byte(void) {
  static const char all[] = L0 L1 L2;
  warnings = 0;
  dl_log_set_sink(count_warning, NULL);
  for (size_t bytes = B(L0 L1); bytes < B(all); bytes++) {
    char torn[sizeof all];
    memcpy(torn, all, bytes);
    torn[bytes] = 0;
    CU_ASSERT(keeps(torn, 100, B(L0 L1)));
  }
  CU_ASSERT(keeps(L0 L1 "{\"event\":\n", 100, B(L0 L1))); /* torn, with the newline of another write */
  CU_ASSERT_EQUAL(warnings, 0);
  dl_log_set_sink(NULL, NULL);
}

static void test_a_damaged_line_ends_what_is_kept_with_a_warning(void) {
  warnings = 0;
  dl_log_set_sink(count_warning, NULL);
  CU_ASSERT(keeps(L0 "[1]\n" L1, 100, B(L0)));
  CU_ASSERT_EQUAL(warnings, 1);
  CU_ASSERT(keeps(L0 "\n" L1, 100, B(L0)));
  CU_ASSERT(keeps(L0 "{\"step\":1,\"step\":2}\n" L1, 100, B(L0)));
  CU_ASSERT_EQUAL(warnings, 3);
  dl_log_set_sink(NULL, NULL);
}

static void test_zeros_that_a_crash_left_are_cut_off(void) {
  char text[B(L0) + 5000];
  memset(text, 0, sizeof text);
  memcpy(text, L0, B(L0));
  put_file(text, sizeof text);
  dl_events *events = NULL;
  DL_ASSERT_OK(dl_events_open(path, 10, dl_now_s(), &events));
  DL_ASSERT_OK(dl_events_write(events, dl_event_new("start", 10)));
  dl_events_close(&events);
  char *now = get_file();
  CU_ASSERT_EQUAL(strncmp(now, L0 "{\"event\":\"start\"", B(L0 "{\"event\":\"start\"")), 0);
  CU_ASSERT_EQUAL(now[strlen(now) - 1], '\n');
  free(now);
}

/* Lines of all lengths around the reader's buffer, one of them over 64 KiB. */
static void test_lines_longer_than_the_buffer_are_read_whole(void) {
  size_t cap = 4u << 20, n = 0, kept = 0;
  char *text = malloc(cap);
  for (int step = 1; step <= 40; step++) {
    int length = step == 20 ? 200000 : step * 3301;
    n += (size_t)snprintf(text + n, cap - n, "{\"step\":%d,\"pad\":\"%0*d\"}\n", step, length, 7);
    if (step == 30) kept = n;
  }
  CU_ASSERT(keeps(text, 30, kept));
  CU_ASSERT(keeps(text, 40, n));
  free(text);
}

static void test_a_line_without_an_end_is_read_up_to_a_bound_and_cut(void) {
  size_t bytes = DL_EVENT_BYTES + (1u << 20);
  char *text = malloc(bytes + 1);
  memset(text, 'x', bytes);
  memcpy(text, L0, B(L0));
  text[bytes] = 0;
  CU_ASSERT(keeps(text, 30, B(L0)));
  free(text);
}

static void test_time_goes_on_from_the_last_line_kept(void) {
  put_file(L0 L1 L2 E2 L3, B(L0 L1 L2 E2 L3));
  dl_events *events = NULL;
  DL_ASSERT_OK(dl_events_open(path, 2, dl_now_s() - 10, &events));
  double time = dl_events_time(events);
  CU_ASSERT(time >= 12.75 && time < 60);
  dl_events_close(&events);
}

static void test_resuming_without_a_file_starts_one(void) {
  unlink(path);
  dl_events *events = NULL;
  DL_ASSERT_OK(dl_events_open(path, 7, dl_now_s(), &events));
  DL_ASSERT_OK(dl_events_write(events, dl_event_new("start", 7)));
  dl_events_close(&events);
  char *now = get_file();
  CU_ASSERT_EQUAL(strncmp(now, "{\"event\":\"start\"", 16), 0);
  free(now);
}

static void fails_to_open(const char *where) {
  dl_events *events = NULL;
  CU_ASSERT_EQUAL(dl_events_open(where, 0, 0, &events), DL_ERR_SYSTEM);
  CU_ASSERT_PTR_NULL(events);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, where);
}

static void test_a_folder_a_pipe_or_a_missing_folder_is_an_error_that_names_the_path(void) {
  fails_to_open(folder);
  fails_to_open("/nonexistent/metrics.jsonl");
  unlink(path);
  CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
  fails_to_open(path);
  unlink(path);
}

/* /dev/full is no plain file, so a file-size limit plays the full disk. It may let part of a line through. */
static void test_a_full_disk_is_an_error_that_names_the_path_and_leaves_whole_lines(void) {
  dl_events *events = NULL;
  DL_ASSERT_OK(dl_events_open(path, -1, dl_now_s(), &events));
  DL_ASSERT_OK(dl_events_write(events, dl_event_new("start", 0)));
  char *before = get_file();
  struct rlimit old, small;
  CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = old;
  small.rlim_cur = strlen(before) + 5;
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &small), 0);
  CU_ASSERT_EQUAL(dl_events_write(events, dl_event_new("step", 1)), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, path);
  CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, handler);
  char *after = get_file();
  CU_ASSERT_STRING_EQUAL(after, before);
  DL_ASSERT_OK(dl_events_write(events, dl_event_new("step", 2))); /* room again: the file goes on */
  dl_events_close(&events);
  free(before);
  free(after);
}

static int set_up(void) {
  snprintf(folder, sizeof folder, "/tmp/dldist-events-XXXXXX");
  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
  return 0;
}

static const dl_test tests[] = {
    DL_TEST(test_each_event_is_one_line_with_event_time_and_step_first),
    DL_TEST(test_a_resume_keeps_what_happened_up_to_the_checkpoint),
    DL_TEST(test_lines_after_the_first_later_one_go_even_when_their_step_is_small),
    DL_TEST(test_a_torn_last_line_is_cut_off_at_every_byte),
    DL_TEST(test_a_damaged_line_ends_what_is_kept_with_a_warning),
    DL_TEST(test_zeros_that_a_crash_left_are_cut_off),
    DL_TEST(test_lines_longer_than_the_buffer_are_read_whole),
    DL_TEST(test_a_line_without_an_end_is_read_up_to_a_bound_and_cut),
    DL_TEST(test_time_goes_on_from_the_last_line_kept),
    DL_TEST(test_resuming_without_a_file_starts_one),
    DL_TEST(test_a_folder_a_pipe_or_a_missing_folder_is_an_error_that_names_the_path),
    DL_TEST(test_a_full_disk_is_an_error_that_names_the_path_and_leaves_whole_lines),
};

int main(void) {
  if (set_up() != 0) return 1;
  int result = dl_test_main("events", tests, sizeof(tests) / sizeof(tests[0]));
  unlink(path);
  rmdir(folder);
  return result;
}

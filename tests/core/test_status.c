/* test_status.c - the error record: what it says, whose it is, what the process ends with. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/status.h"
#include "dltest.h"

static const char *formatted(void) {
  static char text[2048];
  return dl_error_format(dl_error_last(), text, sizeof text);
}

static void test_a_failure_is_one_statement_and_keeps_its_status(void) {
  CU_ASSERT_EQUAL(dl_fail(DL_ERR_TRAIN, "loss is %s in step %d", "nan", 7), DL_ERR_TRAIN);
  CU_ASSERT_STRING_EQUAL(formatted(), "loss is nan in step 7");
  CU_ASSERT_EQUAL(dl_error_last()->status, DL_ERR_TRAIN);
  CU_ASSERT_EQUAL(dl_error_last()->rank, -1);
}

static void test_places_are_written_as_compilers_write_them(void) {
  dl_fail_at(DL_ERR_USAGE, "c.yaml", 6, 25, "unknown key '%s' in optimizer", "learnig_rate");
  CU_ASSERT_EQUAL(dl_hint("did you mean '%s'?", "lr"), DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(formatted(), "c.yaml:6:25: unknown key 'learnig_rate' in optimizer (did you mean 'lr'?)");
  dl_fail_at(DL_ERR_DATA, "a.csv", 12, 0, "too few columns");
  CU_ASSERT_STRING_EQUAL(formatted(), "a.csv:12: too few columns");
  dl_fail_at(DL_ERR_DATA, "a.h5", 0, 0, "is truncated");
  CU_ASSERT_STRING_EQUAL(formatted(), "a.h5: is truncated");
  dl_fail_at(DL_ERR_DATA, NULL, 3, 4, "no file");
  CU_ASSERT_STRING_EQUAL(formatted(), "no file");
}

static void test_a_new_failure_forgets_the_old_hint_and_place(void) {
  dl_fail_at(DL_ERR_DATA, "a.h5", 1, 1, "old");
  dl_hint("old hint");
  dl_fail(DL_ERR_SYSTEM, "new");
  CU_ASSERT_STRING_EQUAL(formatted(), "new");
}

static void test_a_message_may_be_made_of_the_old_record(void) {
  dl_fail_at(DL_ERR_DATA, "a.h5", 2, 3, "no y");
  dl_hint("write one");
  dl_fail_at(DL_ERR_TRAIN, dl_error_last()->file, 4, 5, "split: %s", dl_error_last()->message);
  CU_ASSERT_STRING_EQUAL(formatted(), "a.h5:4:5: split: no y");
  dl_hint("first");
  dl_hint("%s, then", dl_error_last()->hint);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->hint, "first, then");
}

static void test_long_texts_are_cut_not_overrun(void) {
  char *text = malloc(5000), small[10];
  memset(text, 'x', 4999);
  text[4999] = 0;
  dl_fail_at(DL_ERR_DATA, text, 2147483647, 2147483647, "%s", text);
  dl_hint("%s", text);
  CU_ASSERT_EQUAL(strlen(dl_error_last()->file), sizeof dl_error_last()->file - 1);
  CU_ASSERT_EQUAL(strlen(dl_error_last()->message), sizeof dl_error_last()->message - 1);
  CU_ASSERT_EQUAL(strlen(dl_error_last()->hint), sizeof dl_error_last()->hint - 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(formatted(), ":2147483647:2147483647: x"));
  CU_ASSERT_STRING_EQUAL(dl_error_format(dl_error_last(), small, sizeof small), "xxxxxxxxx");
  free(text);
}

static void test_an_adopted_record_is_this_threads_and_terminated(void) {
  dl_error foreign;
  memset(&foreign, 'A', sizeof foreign);
  foreign.status = DL_ERR_DATA;
  foreign.rank = 5;
  foreign.line = foreign.column = 0;
  CU_ASSERT_EQUAL(dl_error_adopt(&foreign), DL_ERR_DATA);
  CU_ASSERT_EQUAL(dl_error_last()->rank, 5);
  CU_ASSERT_EQUAL(strlen(dl_error_last()->message), sizeof foreign.message - 1);
  CU_ASSERT_EQUAL(strlen(dl_error_last()->file), sizeof foreign.file - 1);
  CU_ASSERT_EQUAL(strlen(dl_error_last()->hint), sizeof foreign.hint - 1);
  CU_ASSERT_EQUAL(dl_error_adopt(dl_error_last()), DL_ERR_DATA);
}

static void *fail_elsewhere(void *clean) {
  *(bool *)clean = dl_error_last()->message[0] == 0 && dl_error_last()->rank == -1;
  dl_fail(DL_ERR_NOMEM, "of the other thread");
  return NULL;
}

static void test_a_record_belongs_to_its_thread(void) {
  dl_fail(DL_ERR_DATA, "of this thread");
  pthread_t thread;
  bool clean = false;
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, fail_elsewhere, &clean), 0);
  pthread_join(thread, NULL);
  CU_ASSERT(clean);
  CU_ASSERT_STRING_EQUAL(formatted(), "of this thread");
}

static void test_exit_codes_are_those_of_the_manual(void) {
  static const struct {
    dl_status status;
    int code;
  } wanted[] = {
      {DL_OK, 0},           {DL_ERR_USAGE, 2},  {DL_ERR_DATA, 3},  {DL_ERR_TRAIN, 4},
      {DL_ERR_STOPPED, 75}, {DL_ERR_SYSTEM, 1}, {DL_ERR_NOMEM, 1}, {DL_ERR_INTERNAL, 1},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
    CU_ASSERT_EQUAL(dl_status_exit_code(wanted[i].status), wanted[i].code);
  CU_ASSERT_EQUAL(dl_status_exit_code((dl_status)(DL_ERR_INTERNAL + 1)), 1);
}

static dl_status passes_on(dl_status status, bool *reached) {
  DL_TRY(status);
  *reached = true;
  return DL_OK;
}

static void test_try_passes_errors_on_and_nothing_else(void) {
  bool reached = false;
  CU_ASSERT_EQUAL(passes_on(DL_ERR_STOPPED, &reached), DL_ERR_STOPPED);
  CU_ASSERT(!reached);
  CU_ASSERT_EQUAL(passes_on(DL_OK, &reached), DL_OK);
  CU_ASSERT(reached);
}

/* ---- warnings and durations ---- */

static void keep_warning(void *context, const char *code, const char *message) {
  snprintf(context, 200, "%s: %s", code, message);
}

static void test_a_warning_goes_to_the_sink_of_its_thread_or_nowhere(void) {
  char kept[200] = "";
  dl_warn("lost", "nobody hears %d", 1);
  dl_log_set_sink(keep_warning, kept);
  dl_warn("blas_environment", "%s slows it down", "OPENBLAS_CORETYPE");
  CU_ASSERT_STRING_EQUAL(kept, "blas_environment: OPENBLAS_CORETYPE slows it down");
  dl_log_set_sink(NULL, NULL);
  dl_warn("lost", "again");
  CU_ASSERT_STRING_EQUAL(kept, "blas_environment: OPENBLAS_CORETYPE slows it down");
}

static void test_durations_read_like_clocks(void) {
  static const struct {
    double seconds;
    const char *text;
  } wanted[] = {
      {-5, "0:00"},      {0, "0:00"},       {7, "0:07"},        {59.7, "1:00"},        {750, "12:30"},
      {3599.4, "59:59"}, {3600, "1:00:00"}, {11045, "3:04:05"}, {360000, "100:00:00"},
  };
  char text[32];
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
    CU_ASSERT_STRING_EQUAL(dl_format_duration(wanted[i].seconds, text), wanted[i].text);
  CU_ASSERT(strlen(dl_format_duration(1e300, text)) < 32);
  double before = dl_now_s();
  CU_ASSERT(dl_now_s() >= before);
}

static const dl_test tests[] = {
    DL_TEST(test_a_failure_is_one_statement_and_keeps_its_status),
    DL_TEST(test_places_are_written_as_compilers_write_them),
    DL_TEST(test_a_new_failure_forgets_the_old_hint_and_place),
    DL_TEST(test_a_message_may_be_made_of_the_old_record),
    DL_TEST(test_long_texts_are_cut_not_overrun),
    DL_TEST(test_an_adopted_record_is_this_threads_and_terminated),
    DL_TEST(test_a_record_belongs_to_its_thread),
    DL_TEST(test_exit_codes_are_those_of_the_manual),
    DL_TEST(test_try_passes_errors_on_and_nothing_else),
    DL_TEST(test_a_warning_goes_to_the_sink_of_its_thread_or_nowhere),
    DL_TEST(test_durations_read_like_clocks),
};
DL_TEST_MAIN("core/status", tests)

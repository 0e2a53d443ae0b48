/* test_file.c - files that are whole or absent, folders, paths. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "dltest.h"

static char folder[64];

/* A name in the tests' own folder; eight of them live at a time. */
static const char *in_folder(const char *name) {
  static char paths[8][256];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static int entries(const char *path) {
  int n = 0;
  DIR *dir = opendir(path);
  while (dir && readdir(dir)) n++;
  if (dir) closedir(dir);
  return n - 2;
}

static bool holds(const char *path, const char *wanted) {
  char *text = NULL;
  size_t bytes = 0;
  DL_ASSERT_OK(dl_file_read(path, 1 << 20, DL_ERR_DATA, &text, &bytes));
  bool same = text && bytes == strlen(wanted) && !strcmp(text, wanted);
  free(text);
  return same;
}

static void test_what_is_written_is_read_whole(void) {
  const char *path = in_folder("whole");
  DL_ASSERT_OK(dl_file_write_atomic(path, "one", 3));
  CU_ASSERT(holds(path, "one"));
  DL_ASSERT_OK(dl_file_write_atomic(path, "a longer text", 13));
  CU_ASSERT(holds(path, "a longer text"));
  DL_ASSERT_OK(dl_file_write_atomic(path, "", 0));
  CU_ASSERT(holds(path, ""));
  CU_ASSERT_EQUAL(entries(folder), 1);
  unlink(path);
}

static void test_what_cannot_be_written_is_named_as_it_was_asked_for(void) {
  const char *path = in_folder("nowhere/page.html");
  CU_ASSERT_EQUAL(dl_file_write_atomic(path, "x", 1), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, path);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "cannot be written: No such file or directory");
}

static void test_reading_is_bounded_and_keeps_zero_bytes(void) {
  const char *path = in_folder("bounded");
  DL_ASSERT_OK(dl_file_write_atomic(path, "ab\0cd", 5));
  char *text = NULL;
  size_t bytes = 0;
  DL_ASSERT_OK(dl_file_read(path, 5, DL_ERR_DATA, &text, &bytes));
  CU_ASSERT(bytes == 5 && !memcmp(text, "ab\0cd", 6));
  free(text);
  text = NULL;
  CU_ASSERT_EQUAL(dl_file_read(path, 4, DL_ERR_DATA, &text, &bytes), DL_ERR_DATA);
  CU_ASSERT_PTR_NULL(text);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, path);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "is too large: 5 bytes, at most 4 are read");
  unlink(path);
}

static void test_what_cannot_be_read_is_an_error_of_the_callers_kind_that_names_it(void) {
  char *text = NULL;
  const char *missing = in_folder("missing"), *pipe = in_folder("pipe");
  CU_ASSERT_EQUAL(dl_file_read(missing, 10, DL_ERR_USAGE, &text, NULL), DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, missing);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "cannot be opened: No such file or directory");
  CU_ASSERT_EQUAL(dl_file_read(folder, 10, DL_ERR_DATA, &text, NULL), DL_ERR_DATA);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, folder);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "is a directory");
  CU_ASSERT_EQUAL(mkfifo(pipe, 0600), 0);
  CU_ASSERT_EQUAL(dl_file_read(pipe, 10, DL_ERR_DATA, &text, NULL), DL_ERR_DATA); /* and does not wait for a writer */
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "is not a regular file");
  CU_ASSERT_EQUAL(dl_file_read("/dev/zero", 10, DL_ERR_DATA, &text, NULL), DL_ERR_DATA);
  CU_ASSERT_PTR_NULL(text);
  unlink(pipe);
}

static void test_a_full_disk_leaves_the_old_file_and_nothing_else(void) {
  const char *path = in_folder("kept");
  char *large = calloc(1, 100000);
  DL_ASSERT_OK(dl_file_write_atomic(path, "old", 3));
  struct rlimit usual, small;
  getrlimit(RLIMIT_FSIZE, &usual);
  small = usual;
  small.rlim_cur = 5000;
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  dl_status status = dl_file_write_atomic(path, large, 100000);
  setrlimit(RLIMIT_FSIZE, &usual);
  signal(SIGXFSZ, handler);
  CU_ASSERT_EQUAL(status, DL_ERR_SYSTEM);
  CU_ASSERT(!strncmp(dl_error_last()->file, path, strlen(path)));
  CU_ASSERT(holds(path, "old"));
  CU_ASSERT_EQUAL(entries(folder), 1);
  unlink(path);
  free(large);
}

static void test_an_atomic_write_that_cannot_end_leaves_nothing(void) {
  const char *path = in_folder("none/file"), *taken = in_folder("taken");
  CU_ASSERT_EQUAL(dl_file_write_atomic(path, "x", 1), DL_ERR_SYSTEM);
  CU_ASSERT(!strncmp(dl_error_last()->file, path, strlen(path)));
  DL_ASSERT_OK(dl_dir_make(taken));
  CU_ASSERT_EQUAL(dl_file_write_atomic(taken, "x", 1), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, taken);
  CU_ASSERT_EQUAL(entries(folder), 1);
  DL_ASSERT_OK(dl_dir_remove(taken));
}

/* ---- a reader beside a writer ---- */

enum { PATTERN = 200000 };
static atomic_bool done;

static void *read_all_the_time(void *torn) {
  while (!atomic_load(&done)) {
    char *text = NULL;
    size_t bytes = 0;
    if (dl_file_read(in_folder("busy"), PATTERN, DL_ERR_DATA, &text, &bytes) != DL_OK) {
      ++*(int *)torn;
      continue;
    }
    bool whole = bytes == PATTERN;
    for (size_t i = 1; whole && i < bytes; i++) whole = text[i] == text[0];
    *(int *)torn += !whole;
    free(text);
  }
  return NULL;
}

static void test_a_reader_sees_the_old_or_the_new_file_but_no_mixture(void) {
  char path[256], *data = malloc(PATTERN);
  snprintf(path, sizeof path, "%s", in_folder("busy"));
  int torn = 0;
  memset(data, 'a', PATTERN);
  DL_ASSERT_OK(dl_file_write_atomic(path, data, PATTERN));
  atomic_store(&done, false);
  pthread_t reader;
  CU_ASSERT_EQUAL_FATAL(pthread_create(&reader, NULL, read_all_the_time, &torn), 0);
  for (int round = 0; round < 60; round++) {
    memset(data, 'a' + round % 26, PATTERN);
    DL_ASSERT_OK(dl_file_write_atomic(path, data, PATTERN));
  }
  atomic_store(&done, true);
  pthread_join(reader, NULL);
  CU_ASSERT_EQUAL(torn, 0);
  unlink(path);
  free(data);
}

/* ---- the writer ---- */

static void test_a_writer_writes_its_pieces_in_order(void) {
  const char *path = in_folder("pieces");
  dl_writer *writer = NULL;
  DL_ASSERT_OK(dl_writer_open(path, &writer));
  DL_ASSERT_OK(dl_writer_write(writer, "first ", 6));
  DL_ASSERT_OK(dl_writer_write(writer, "", 0));
  DL_ASSERT_OK(dl_writer_write(writer, "second", 6));
  DL_ASSERT_OK(dl_writer_close(&writer));
  CU_ASSERT_PTR_NULL(writer);
  DL_ASSERT_OK(dl_writer_close(&writer));
  CU_ASSERT(holds(path, "first second"));
  DL_ASSERT_OK(dl_writer_open(path, &writer));
  DL_ASSERT_OK(dl_writer_close(&writer));
  CU_ASSERT(holds(path, ""));
  unlink(path);
}

static void test_a_writer_says_where_there_is_no_space(void) {
  dl_writer *writer = NULL;
  CU_ASSERT_EQUAL(dl_writer_open(in_folder("none/file"), &writer), DL_ERR_SYSTEM);
  CU_ASSERT_PTR_NULL(writer);
  DL_ASSERT_OK(dl_writer_open("/dev/full", &writer));
  CU_ASSERT_EQUAL(dl_writer_write(writer, "x", 1), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, "/dev/full");
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "cannot be written: No space left on device");
  dl_writer_close(&writer);
  CU_ASSERT_PTR_NULL(writer);
}

/* ---- folders and paths ---- */

static void test_folders_are_made_with_their_parents_however_they_are_written(void) {
  DL_ASSERT_OK(dl_dir_make(in_folder("a/b/c")));
  DL_ASSERT_OK(dl_dir_make(in_folder("a/b/c")));
  DL_ASSERT_OK(dl_dir_make(in_folder("a//b///d/")));
  DL_ASSERT_OK(dl_dir_make("/"));
  DL_ASSERT_OK(dl_dir_make("."));
  CU_ASSERT(dl_path_is_dir(in_folder("a/b/c")) && dl_path_is_dir(in_folder("a/b/d")));
  DL_ASSERT_OK(dl_dir_sync(in_folder("a/b")));
  for (int i = 0; i < 4; i++)
    DL_ASSERT_OK(dl_dir_remove(in_folder(((const char *[]){"a/b/c", "a/b/d", "a/b", "a"})[i])));
  CU_ASSERT(!dl_path_exists(in_folder("a")));
}

static void test_a_folder_that_cannot_be_made_is_an_error_that_names_the_part(void) {
  const char *file = in_folder("file");
  DL_ASSERT_OK(dl_file_write_atomic(file, "x", 1));
  CU_ASSERT_EQUAL(dl_dir_make(file), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, file);
  CU_ASSERT_EQUAL(dl_dir_make(in_folder("file/x/y")), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, in_folder("file/x"));
  CU_ASSERT_EQUAL(dl_dir_make(""), DL_ERR_SYSTEM);
  CU_ASSERT_EQUAL(dl_dir_sync(in_folder("missing")), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, in_folder("missing"));
  CU_ASSERT(dl_path_exists(file) && !dl_path_is_dir(file));
  unlink(file);
}

static void test_removing_takes_a_folder_and_its_files_and_no_more(void) {
  DL_ASSERT_OK(dl_dir_make(in_folder("step/deeper")));
  DL_ASSERT_OK(dl_file_write_atomic(in_folder("step/one"), "1", 1));
  DL_ASSERT_OK(dl_file_write_atomic(in_folder("step/deeper/two"), "2", 1));
  CU_ASSERT_EQUAL(dl_dir_remove(in_folder("step")), DL_ERR_SYSTEM);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, in_folder("step"));
  CU_ASSERT(holds(in_folder("step/deeper/two"), "2"));
  DL_ASSERT_OK(dl_dir_remove(in_folder("step/deeper")));
  DL_ASSERT_OK(dl_dir_remove(in_folder("step")));
  DL_ASSERT_OK(dl_dir_remove(in_folder("step"))); /* gone already */
  CU_ASSERT_EQUAL(entries(folder), 0);
}

static void test_paths_are_joined_and_split_as_in_the_shell(void) {
  static const char *const joined[][3] = {
      {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"},         {".", "b", "b"},
      {"", "b", "b"},    {"/", "b", "/b"},   {"a/b", "c/d", "a/b/c/d"}, {"..", "b", "../b"},
  };
  for (size_t i = 0; i < sizeof joined / sizeof joined[0]; i++) {
    char *path = dl_path_join(joined[i][0], joined[i][1]);
    CU_ASSERT_STRING_EQUAL(path, joined[i][2]);
    free(path);
  }
  static const char *const folders[][2] = {
      {"a/b.yaml", "a"}, {"b.yaml", "."}, {"/b.yaml", "/"}, {"a/b/c", "a/b"}, {"", "."}, {"../x", ".."},
  };
  for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
    char *path = dl_path_dirname(folders[i][0]);
    CU_ASSERT_STRING_EQUAL(path, folders[i][1]);
    free(path);
  }
}

static void test_an_absolute_path_starts_at_the_working_directory(void) {
  char here[4096], wanted[5000];
  CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof here));
  snprintf(wanted, sizeof wanted, "%s%sx/y", here, strcmp(here, "/") ? "/" : "");
  char *path = dl_path_absolute("x/y"), *same = dl_path_absolute("/x");
  CU_ASSERT_STRING_EQUAL(path, wanted);
  CU_ASSERT_STRING_EQUAL(same, "/x");
  free(path);
  free(same);
}

static const dl_test tests[] = {
    DL_TEST(test_what_is_written_is_read_whole),
    DL_TEST(test_what_cannot_be_written_is_named_as_it_was_asked_for),
    DL_TEST(test_reading_is_bounded_and_keeps_zero_bytes),
    DL_TEST(test_what_cannot_be_read_is_an_error_of_the_callers_kind_that_names_it),
    DL_TEST(test_a_full_disk_leaves_the_old_file_and_nothing_else),
    DL_TEST(test_an_atomic_write_that_cannot_end_leaves_nothing),
    DL_TEST(test_a_reader_sees_the_old_or_the_new_file_but_no_mixture),
    DL_TEST(test_a_writer_writes_its_pieces_in_order),
    DL_TEST(test_a_writer_says_where_there_is_no_space),
    DL_TEST(test_folders_are_made_with_their_parents_however_they_are_written),
    DL_TEST(test_a_folder_that_cannot_be_made_is_an_error_that_names_the_part),
    DL_TEST(test_removing_takes_a_folder_and_its_files_and_no_more),
    DL_TEST(test_paths_are_joined_and_split_as_in_the_shell),
    DL_TEST(test_an_absolute_path_starts_at_the_working_directory),
};

int main(void) {
  snprintf(folder, sizeof folder, "/tmp/dldist-file-XXXXXX");
  if (!mkdtemp(folder)) return 1;
  int failed = dl_test_main("core/file", tests, sizeof tests / sizeof tests[0]);
  return rmdir(folder) || failed; /* a test that leaves something behind fails */
}

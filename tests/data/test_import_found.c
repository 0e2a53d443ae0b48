/* The closing line of an import says what is in the file. */
#include "import_fixture.h"

#include "data/import.h"
#include "data/import_found.h"

/* ---- imports ---- */

static char said[2048];
static void keep_line(void *context, const char *line) {
  (void)context;
  snprintf(said, sizeof said, "%s", line);
}

static void expect_said(const char *format, const char *const *inputs, int n, const char *want) {
  const dl_import_listener listener = {keep_line, NULL, NULL};
  *said = 0;
  DL_ASSERT_OK(dl_import_on(NULL, format, inputs, n, NULL, 0, test_path("found.h5"), true, &listener));
  CU_ASSERT_STRING_EQUAL(said, want);
  if (strcmp(said, want)) fprintf(stderr, "says: %s\nwants: %s\n", said, want);
}

static void test_every_format_ends_by_telling_what_it_found(void) {
  write_bytes("images", "\0\0\x08\x03\0\0\0\3\0\0\0\1\0\0\0\2abcdef", 22);
  write_bytes("labels", "\0\0\x08\x01\0\0\0\3\0\2\2", 11);
  const char *const idx[] = {keep("images"), keep("labels"), keep("images"), keep("labels")};
  expect_said("idx", idx, 2, "train 3 samples of uint8 (1, 2); 2 classes, labels 0 to 2");
  expect_said("idx", idx, 4, "train 3, test 3 samples of uint8 (1, 2); 2 classes, labels 0 to 2");
  write_text("text", "na\xc3\xafve na\xc3\xafve");
  expect_said("text", (const char *const[]){keep("text")}, 1, "train 11 tokens of uint8; a vocabulary of 6");
  write_text("fann", "2 3 2\n1 2 3\n0 1\n4 5 6\n1 0\n");
  expect_said("fann", (const char *const[]){keep("fann")}, 1, "train 2 samples of float32 (3,); y is float32 (2,)");
}

/* ---- files ---- */

static void expect_found(const char *kind, int64_t rows, const int *labels, const char *want) {
  char text[400];
  const float x[12] = {0};
  hid_t file = make_file("made.h5");
  make_floats(file, "train/x", DIMS(6, 2), x);
  if (rows) make_labels(file, "train/y", (hsize_t)rows, labels);
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_import_found(file, text, sizeof text);
  dl_h5_leave(&turn);
  H5Fclose(file);
  CU_ASSERT_STRING_EQUAL(text, want);
  if (strcmp(text, want)) fprintf(stderr, "%s: says: %s\nwants: %s\n", kind, text, want);
}

static void test_labels_are_told_as_they_are(void) {
  expect_found("all", 6, (int[]){0, 1, 2, 0, 1, 2}, "train 6 samples of float32 (2,); 3 classes, labels 0 to 2");
  expect_found("one", 6, (int[]){0, 0, 0, 0, 0, 0}, "train 6 samples of float32 (2,); 1 class, labels 0 to 0");
  expect_found("from 1", 6, (int[]){1, 2, 3, 4, 5, 10}, "train 6 samples of float32 (2,); 6 classes, labels 1 to 10");
  expect_found("below 0", 6, (int[]){-1, 1, 2, 0, 1, 2}, "train 6 samples of float32 (2,); y -1 to 2");
  expect_found("large", 6, (int[]){0, 1, 2, 65536, 1, 2}, "train 6 samples of float32 (2,); y 0 to 65536");
  expect_found("none", 0, NULL, "train 6 samples of float32 (2,)");
}

static void test_a_file_without_splits_has_nothing_to_tell(void) {
  char text[400] = "x";
  const float x[2] = {0};
  hid_t file = make_file("made.h5");
  make_floats(file, "images", DIMS(2), x);
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_import_found(file, text, sizeof text);
  dl_h5_leave(&turn);
  H5Fclose(file);
  CU_ASSERT_STRING_EQUAL(text, "");
}

static void test_a_text_that_is_too_short_is_cut_and_ended(void) {
  char text[16];
  const float x[12] = {0};
  hid_t file = make_file("made.h5");
  make_floats(file, "train/x", DIMS(6, 2), x);
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_import_found(file, text, sizeof text);
  dl_h5_leave(&turn);
  H5Fclose(file);
  CU_ASSERT_STRING_EQUAL(text, "train 6 samples");
}

static const dl_test tests[] = {
    DL_TEST(test_every_format_ends_by_telling_what_it_found),
    DL_TEST(test_labels_are_told_as_they_are),
    DL_TEST(test_a_file_without_splits_has_nothing_to_tell),
    DL_TEST(test_a_text_that_is_too_short_is_cut_and_ended),
};
DL_TEST_MAIN("import found", tests)

/* Tokens for language models: windows, splits and vocabularies, and text files imported as tokens. */
#include "make_h5.h"

#include "core/file.h"
#include "data/import.h"

enum { N = 1000, SEQUENCE = 7 };

static int token_of(int file, int i) { return (i * 31 + i / 7 + 5 * file) % 90; }

static void make_tokens(hid_t file, const char *name, hid_t type, int number, int n) {
  int values[N];
  for (int i = 0; i < n; i++) values[i] = token_of(number, i);
  make_set(file, name, type, H5T_NATIVE_INT, DIMS((hsize_t)n), H5P_DEFAULT, values);
}

static void make_one(const char *name, hid_t type, int number, int n) {
  hid_t file = make_file(name);
  make_tokens(file, "train/tokens", type, number, n);
  H5Fclose(file);
}

#define CONFIG "task: language_model\ndata: {file: %s, sequence: 7, shuffle: none%s}"
static dl_status open_tokens(const char *file, const char *more, dl_data **out) {
  char text[512];
  snprintf(text, sizeof text, CONFIG, file, more);
  return open_text(text, out);
}

/* Sample `at` of a split begins at token `first` of file `number`. */
static bool is_window(const dl_data *data, dl_split_kind split, int64_t at, int number, int first) {
  float x[SEQUENCE];
  int32_t label[SEQUENCE];
  dl_batch batch = {.x = x, .label = label};
  DL_ASSERT_OK(dl_data_read(data, split, at, at + 1, &batch));
  bool good = true;
  for (int i = 0; i < SEQUENCE; i++)
    good = good && x[i] == (float)token_of(number, first + i) && label[i] == token_of(number, first + i + 1);
  return good;
}

static void test_windows_follow_each_other_and_ask_for_the_next_token_whatever_the_type(void) {
  const hid_t types[] = {H5T_STD_U8LE, H5T_STD_I8LE, H5T_STD_U16BE, H5T_STD_I64LE, H5T_IEEE_F64LE};
  for (int n = 8; n <= 1000; n += 31)
    for (int t = 0; t < 5; t++) {
      dl_data *data;
      make_one("t.h5", types[t], 0, n);
      DL_ASSERT_OK(open_tokens("t.h5", "", &data));
      if (!data) return;
      const dl_data_shape *shape = dl_data_shape_of(data);
      CU_ASSERT(shape->x_dims == 1 && shape->x_shape[0] == 7 && shape->y_size == 7);
      CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN), (n - 1) / 7); /* the tail is dropped */
      CU_ASSERT_TRUE(dl_data_has_y(data, DL_SPLIT_TRAIN));
      bool good = true;
      int most = 0;
      for (int i = 0; i < (n - 1) / 7; i++) good = good && is_window(data, DL_SPLIT_TRAIN, i, 0, 7 * i);
      for (int i = 0; i <= (n - 1) / 7 * 7; i++) most = token_of(0, i) > most ? token_of(0, i) : most;
      CU_ASSERT_TRUE(good);
      CU_ASSERT_EQUAL(shape->classes, most + 1);
      dl_data_destroy(&data);
    }
}

static void test_a_fraction_for_valid_is_the_tail(void) {
  dl_data *data;
  make_one("t.h5", H5T_STD_U8LE, 0, 1000);
  DL_ASSERT_OK(open_tokens("t.h5", ", valid: 0.1", &data)); /* 142 windows */
  if (!data) return;
  CU_ASSERT(dl_data_samples(data, DL_SPLIT_TRAIN) == 128 && dl_data_samples(data, DL_SPLIT_VALID) == 14);
  CU_ASSERT_TRUE(is_window(data, DL_SPLIT_TRAIN, 127, 0, 127 * 7));
  for (int i = 0; i < 14; i++) CU_ASSERT_TRUE(is_window(data, DL_SPLIT_VALID, i, 0, (128 + i) * 7));
  dl_data_destroy(&data);
}

static void test_no_window_spans_two_files(void) {
  dl_data *data;
  make_one("a.h5", H5T_STD_U8LE, 0, 24); /* 3 windows */
  make_one("b.h5", H5T_STD_U8LE, 1, 20); /* 2 */
  DL_ASSERT_OK(open_tokens("[a.h5, b.h5]", "", &data));
  if (!data) return;
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN), 5);
  for (int i = 0; i < 5; i++) CU_ASSERT_TRUE(is_window(data, DL_SPLIT_TRAIN, i, i / 3, i % 3 * 7));
  dl_data_destroy(&data);
}

static void test_names_of_splits_are_taken_from_the_configuration(void) {
  dl_data *data;
  hid_t file = make_file("t.h5");
  make_tokens(file, "books", H5T_STD_U8LE, 0, 100);
  make_tokens(file, "letters", H5T_STD_U8LE, 1, 50);
  H5Fclose(file);
  DL_ASSERT_OK(open_tokens("t.h5", ", train: {tokens: books}, valid: {x: letters}", &data));
  if (!data) return;
  CU_ASSERT(dl_data_samples(data, DL_SPLIT_TRAIN) == 14 && dl_data_samples(data, DL_SPLIT_VALID) == 7);
  CU_ASSERT_TRUE(is_window(data, DL_SPLIT_VALID, 6, 1, 42));
  dl_data_destroy(&data);
}

static void test_wrong_tokens_are_told(void) {
  static const struct {
    int kind;
    const char *message;
  } rows[] = {
      {0, "'train/tokens' has -1 at 3: tokens are whole numbers from 0 to 1048575"},
      {1, "'train/tokens' has 1.5 at 3: tokens are whole numbers from 0 to 1048575"},
      {2, "'train/tokens' has the shape (5, 4); language_model wants one row of tokens"},
      {3, "'train/tokens' has 7 tokens, fewer than a window of 8 (set a smaller data.sequence)"},
      {4, "'train/tokens' has the token 3 at 3, but the vocabulary has 2"},
      {5, "'train/tokens' has 1.67772e+07 at 3: tokens are whole numbers from 0 to 1048575"},
  };
  for (int r = 0; r < 6; r++) {
    double values[20] = {0, 1, 1, 3};
    if (r == 0) values[3] = -1;
    if (r == 1) values[3] = 1.5;
    if (r == 5) values[3] = 16777217;
    hid_t file = make_file("t.h5");
    const hid_t type = r == 1 ? H5T_IEEE_F32LE : H5T_STD_I32LE;
    make_set(file, "train/tokens", type, H5T_NATIVE_DOUBLE, r == 2 ? 2 : 1,
             r == 2 ? (hsize_t[]){5, 4} : (hsize_t[]){r == 3 ? 7 : 20}, H5P_DEFAULT, values);
    if (r == 4) {
      hid_t text = H5Tcopy(H5T_C_S1);
      make_set(file, "vocabulary", text, text, DIMS(2), H5P_DEFAULT, "ab");
      H5Tclose(text);
    }
    H5Fclose(file);
    dl_data *data;
    char got[1400];
    CU_ASSERT_EQUAL(open_tokens("t.h5", "", &data), DL_ERR_DATA);
    dl_error_format(dl_error_last(), got, sizeof got);
    const char *said = strstr(got, "'train");
    CU_ASSERT_STRING_EQUAL(said ? said : got, rows[r].message);
    if (!said || strcmp(said, rows[r].message)) fprintf(stderr, "%s\n", got);
  }
}

static void test_windows_in_memory_behave_like_a_file_of_the_same_tokens(void) {
  enum { WINDOWS = 142 };
  float tokens[WINDOWS * (SEQUENCE + 1)];
  for (int i = 0; i < WINDOWS * (SEQUENCE + 1); i++)
    tokens[i] = (float)token_of(0, i / (SEQUENCE + 1) * SEQUENCE + i % (SEQUENCE + 1));
  dl_config *config = make_config("task: language_model\ndata: {sequence: 7, shuffle: none, valid: 0.1}");
  dl_data_shape shape = {.x_dims = 1, .x_shape = {SEQUENCE}, .classes = 97};
  dl_data_arrays splits[DL_SPLITS] = {{.samples = WINDOWS, .tokens = tokens}};
  dl_data *data;
  DL_ASSERT_OK(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data));
  if (!data) return;
  CU_ASSERT(dl_data_samples(data, DL_SPLIT_TRAIN) == 128 && dl_data_samples(data, DL_SPLIT_VALID) == 14);
  CU_ASSERT(dl_data_shape_of(data)->classes == 97 && dl_data_shape_of(data)->y_size == SEQUENCE);
  for (int i = 0; i < 128; i++) CU_ASSERT_TRUE(is_window(data, DL_SPLIT_TRAIN, i, 0, 7 * i));
  for (int i = 0; i < 14; i++) CU_ASSERT_TRUE(is_window(data, DL_SPLIT_VALID, i, 0, (128 + i) * 7));
  dl_data_destroy(&data);
  tokens[SEQUENCE] = 97; /* the last one of window 0: asked for, never read */
  CU_ASSERT_EQUAL(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "window 0 of train holds 97:"));
  shape.classes = 0; /* not known: the largest one decides */
  DL_ASSERT_OK(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data));
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, 98);
  dl_data_destroy(&data);
  shape.x_shape[0] = SEQUENCE - 1;
  CU_ASSERT_EQUAL(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data), DL_ERR_USAGE);
  dl_config_destroy(&config);
}

static void test_values_that_are_no_tokens_of_the_vocabulary_are_found(void) {
  dl_data *data;
  hid_t file = make_file("x.h5");
  const float x[6] = {0, 1, 2, 3, 4, 2.5f};
  make_floats(file, "train/x", DIMS(2, 3), x);
  make_labels(file, "train/y", 2, (int[]){0, 1});
  H5Fclose(file);
  DL_ASSERT_OK(open_text("data: {file: x.h5}", &data));
  if (!data) return;
  CU_ASSERT_EQUAL(dl_data_check_tokens(data, 3), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "sample 1 of train holds 3,"));
  CU_ASSERT_EQUAL(dl_data_check_tokens(data, 5), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "holds 2.5,"));
  dl_data_destroy(&data);
}

/* ---- text ---- */

static dl_status import_text(const char *text, size_t bytes, const char *tokens, const char *fraction) {
  FILE *file = fopen(test_path("text.txt"), "wb");
  CU_ASSERT_EQUAL(fwrite(text, 1, bytes, file), bytes);
  fclose(file);
  const char *input = test_path("text.txt");
  const dl_import_setting settings[] = {{"tokens", tokens}, {"test-fraction", fraction}};
  return dl_import("text", &input, 1, settings, fraction ? 2 : 1, test_path("text.h5"), true);
}

static void test_a_text_becomes_its_characters_in_order_of_code_points(void) {
  const char text[] =
      "b\xc3\xa9"
      "a \xe2\x82\xac\nb \xf0\x9f\x98\x80"; /* b é a space € \n b space 😀 */
  static const char *const vocabulary[] = {"0a", "20", "61", "62", "c3a9", "e282ac", "f09f9880"};
  const int want[] = {3, 4, 2, 1, 5, 0, 3, 1, 6};
  dl_data *data;
  DL_ASSERT_OK(import_text(text, sizeof text - 1, "char", NULL));
  DL_ASSERT_OK(open_text("task: language_model\ndata: {file: text.h5, sequence: 8}", &data));
  if (!data) return;
  float x[8];
  int32_t label[8];
  dl_batch batch = {.x = x, .label = label};
  DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TRAIN, 0, 1, &batch));
  for (int i = 0; i < 8; i++) CU_ASSERT(x[i] == (float)want[i] && label[i] == want[i + 1]);
  int n;
  const char *const *names = dl_data_class_names(data, &n);
  CU_ASSERT_EQUAL_FATAL(n, 7);
  for (int i = 0; i < 7; i++) CU_ASSERT_STRING_EQUAL(names[i], vocabulary[i]);
  dl_data_destroy(&data);
}

static void test_the_tail_of_a_text_is_its_test_split(void) {
  char text[1000];
  dl_data *data;
  for (int i = 0; i < 1000; i++) text[i] = (char)token_of(0, i);
  DL_ASSERT_OK(import_text(text, sizeof text, "byte", "0.25"));
  DL_ASSERT_OK(open_tokens("text.h5", "", &data));
  if (!data) return;
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, 256);
  CU_ASSERT(dl_data_samples(data, DL_SPLIT_TRAIN) == 107 && dl_data_samples(data, DL_SPLIT_TEST) == 35);
  for (int i = 0; i < 107; i++) CU_ASSERT_TRUE(is_window(data, DL_SPLIT_TRAIN, i, 0, 7 * i));
  for (int i = 0; i < 35; i++) CU_ASSERT_TRUE(is_window(data, DL_SPLIT_TEST, i, 0, 750 + 7 * i));
  dl_data_destroy(&data);
}

static void test_bytes_that_are_no_utf8_are_refused(void) {
  static const char *const wrong[] = {"ab\x80",         "ab\xc0\xaf",         "ab\xc3", "ab\xe0\x80\x80",
                                      "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80", "ab\xff", "ab\xe2\x82"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    CU_ASSERT_EQUAL(import_text(wrong[i], strlen(wrong[i]), "char", NULL), DL_ERR_DATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "no UTF-8 at byte 2"));
    DL_ASSERT_OK(import_text(wrong[i], strlen(wrong[i]), "byte", NULL));
  }
  CU_ASSERT_EQUAL(import_text("", 0, "char", NULL), DL_ERR_DATA);
  CU_ASSERT_EQUAL(import_text("abc", 3, "word", NULL), DL_ERR_USAGE);
  CU_ASSERT_EQUAL(import_text("abc", 3, "char", "1"), DL_ERR_USAGE);
  CU_ASSERT_EQUAL(import_text("abc", 3, "char", "-0.1"), DL_ERR_USAGE);
}

static const dl_test tests[] = {
    DL_TEST(test_windows_follow_each_other_and_ask_for_the_next_token_whatever_the_type),
    DL_TEST(test_a_fraction_for_valid_is_the_tail),
    DL_TEST(test_no_window_spans_two_files),
    DL_TEST(test_names_of_splits_are_taken_from_the_configuration),
    DL_TEST(test_wrong_tokens_are_told),
    DL_TEST(test_windows_in_memory_behave_like_a_file_of_the_same_tokens),
    DL_TEST(test_values_that_are_no_tokens_of_the_vocabulary_are_found),
    DL_TEST(test_a_text_becomes_its_characters_in_order_of_code_points),
    DL_TEST(test_the_tail_of_a_text_is_its_test_split),
    DL_TEST(test_bytes_that_are_no_utf8_are_refused),
};
DL_TEST_MAIN("tokens", tests)

/* Tables cut into pieces: whatever the size of a piece, and whoever parses it, the file is the same to the last byte,
 * and so is what is said of a wrong one. The tables are written at random, with all that could be mistaken for the end
 * of a record; what they hold is known beforehand. */
#include <zlib.h>

#include "../core/random.h"
#include "data/csv_pieces.h"
#include "data/import.h"
#include "import_fixture.h"

enum { ROWS = 60, MOST_TEXT = 1 << 15 };
static const size_t piece_sizes[] = {1, 7, 333, 4096};
static const int crowds[] = {1, 2, 5};

typedef struct table {
  char text[MOST_TEXT];
  size_t bytes;
  int line;            /* of what is written next */
  int line_of[ROWS];   /* where records begin */
  double number[ROWS]; /* -1: missing */
  int word[ROWS], label[ROWS];
} table;

static void add(table *t, const char *text) {
  for (; *text; text++) {
    t->text[t->bytes++] = *text;
    /* LF, CR LF and CR end a line alike */
    t->line += *text == '\n' && !(t->bytes > 1 && t->text[t->bytes - 2] == '\r');
    t->line += *text == '\r';
  }
  t->text[t->bytes] = 0;
}

static const char *const words[] = {"plain",
                                    "\"a \"\"word\"\"\"",
                                    " \"with,comma\" ",
                                    "\"two\nlines\"",
                                    "\"\r\n,\r\"\"\n\"",
                                    "it\"s a \"letter\" in",
                                    "\"\"\"\"\"quoted\"\"\"\"\"",
                                    "  \"\n\n\n\""};
enum { WORDS = sizeof words / sizeof words[0] };

static void make_table(table *t, uint64_t seed) {
  static const char *const ends[] = {"\n", "\r\n", "\r", "\n\n", "\r\r\n", "\n \n"};
  char number[32];
  *t = (table){.line = 1};
  add(t, "\"number\",\"a \"\"word\"\"\",label\n");
  for (int i = 0; i < ROWS; i++) {
    t->number[i] = random_below(&seed, 9) ? (double)random_below(&seed, 1000) / 8 : -1;
    t->word[i] = (int)random_below(&seed, WORDS);
    t->label[i] = (int)random_below(&seed, 3);
    t->line_of[i] = t->line;
    snprintf(number, sizeof number, "%.3f,", t->number[i]);
    add(t, t->number[i] < 0 ? "?," : number);
    add(t, words[t->word[i]]);
    snprintf(number, sizeof number, ",%d", t->label[i]);
    add(t, number);
    add(t, ends[random_below(&seed, 6)]);
  }
}

typedef struct attempt {
  dl_import_setting settings[8];
  int n_settings;
  const char *inputs[2], *output;
  int n_inputs;
  dl_status status;
  dl_error error;
} attempt;

static void import_csv(dl_team *team, void *context) {
  attempt *a = context;
  const dl_status status =
      dl_import_on(team, "csv", a->inputs, a->n_inputs, a->settings, a->n_settings, a->output, true, NULL);
  if (team->rank) return;
  a->status = status;
  if (status != DL_OK) a->error = *dl_error_last();
}

static void run_at(attempt *a, size_t piece, int members) {
  dl_csv_piece_bytes = piece;
  unlink(a->output);
  test_crowd_run(members, members, false, import_csv, a);
  dl_csv_piece_bytes = 1 << 20;
}

/* All pieces and crowds against one member with one piece. */
static void expect_the_same_everywhere(attempt *a) {
  char *want = NULL, *got = NULL;
  size_t n_want = 0, n_got = 0;
  run_at(a, 1 << 20, 1);
  const attempt first = *a;
  if (first.status == DL_OK) DL_ASSERT_OK(dl_file_read(a->output, 1 << 24, DL_ERR_DATA, &want, &n_want));
  for (size_t p = 0; p < sizeof piece_sizes / sizeof piece_sizes[0]; p++)
    for (int c = 0; c < 3; c++) {
      run_at(a, piece_sizes[p], crowds[c]);
      CU_ASSERT_EQUAL(a->status, first.status);
      if (first.status != DL_OK) {
        CU_ASSERT_STRING_EQUAL(a->error.message, first.error.message);
        CU_ASSERT_EQUAL(a->error.line, first.error.line);
        CU_ASSERT_EQUAL(a->error.column, first.error.column);
        CU_ASSERT_EQUAL(a->error.rank, 0);
        CU_ASSERT_FALSE(dl_path_exists(a->output));
        continue;
      }
      DL_ASSERT_OK(dl_file_read(a->output, 1 << 24, DL_ERR_DATA, &got, &n_got));
      CU_ASSERT_TRUE(n_got == n_want && !memcmp(got, want, n_want));
      free(got);
    }
  free(want);
}

static attempt attempt_with(const char *missing, const char *test_fraction) {
  return (attempt){.settings = {{"target", "label"}, {"missing", missing}, {"test-fraction", test_fraction}},
                   .n_settings = 3,
                   .inputs = {keep("in.csv")},
                   .n_inputs = 1,
                   .output = keep("out.h5")};
}

static void expect_values(const table *t) {
  static double x[ROWS * (WORDS + 1)];
  static int y[ROWS];
  const hid_t file = H5Fopen(test_path("out.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t sets[] = {H5Dopen2(file, "train/x", H5P_DEFAULT), H5Dopen2(file, "train/y", H5P_DEFAULT)};
  const hid_t space = H5Dget_space(sets[0]);
  CU_ASSERT_EQUAL_FATAL(H5Sget_simple_extent_npoints(space), ROWS * (WORDS + 1));
  H5Dread(sets[0], H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
  H5Dread(sets[1], H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, y);
  int column_of[WORDS]; /* of a word, which has one of its own */
  for (int w = 0; w < WORDS; w++) column_of[w] = -1;
  for (int i = 0; i < ROWS; i++) {
    const double *row = &x[i * (WORDS + 1)];
    int at = 0, ones = 0;
    CU_ASSERT_EQUAL(row[0], t->number[i] < 0 ? 0 : t->number[i]);
    CU_ASSERT_EQUAL(y[i], t->label[i]);
    for (int c = 0; c < WORDS; c++)
      if (row[1 + c] == 1) at = c, ones++;
    CU_ASSERT_EQUAL(ones, 1);
    if (column_of[t->word[i]] < 0) column_of[t->word[i]] = at;
    CU_ASSERT_EQUAL(column_of[t->word[i]], at);
  }
  for (int w = 0; w < WORDS; w++)
    for (int v = 0; v < w; v++) CU_ASSERT_NOT_EQUAL(column_of[w], column_of[v]);
  H5Sclose(space);
  H5Dclose(sets[0]);
  H5Dclose(sets[1]);
  H5Fclose(file);
}

static void test_the_file_is_the_same_at_any_size_of_pieces_and_number_of_members(void) {
  static table t;
  static const char *const rules[] = {"zero", "mean", "drop"};
  for (uint64_t seed = 1; seed <= 3; seed++) {
    make_table(&t, seed);
    write_bytes("in.csv", t.text, t.bytes);
    attempt whole = attempt_with("zero", "0");
    run_at(&whole, 64, 3);
    DL_ASSERT_OK(whole.status);
    expect_values(&t);
    attempt a = attempt_with(rules[seed - 1], "0.3");
    expect_the_same_everywhere(&a);
    CU_ASSERT_EQUAL(a.status, DL_OK);
  }
}

static void test_a_split_file_and_a_second_file_hold_for_any_pieces(void) {
  static table t;
  make_table(&t, 4);
  write_bytes("in.csv", t.text, t.bytes);
  write_text("rows.txt", "3\n42\n59\n0\n");
  attempt a = attempt_with("drop", "0");
  a.settings[a.n_settings++] = (dl_import_setting){"split-file", keep("rows.txt")};
  expect_the_same_everywhere(&a);
  CU_ASSERT_EQUAL(a.status, DL_OK);
  attempt two = attempt_with("mean", "0");
  two.inputs[two.n_inputs++] = keep("in.csv");
  two.settings[two.n_settings++] = (dl_import_setting){"valid-fraction", "0.2"};
  expect_the_same_everywhere(&two);
  CU_ASSERT_EQUAL(two.status, DL_OK);
}

static void test_an_error_is_the_first_one_of_the_file_at_its_line(void) {
  static table t;
  static const char *const wrong[] = {"1,2,3,4\n", "1,\"a\"b,0\n", "1,caf\xe9,0\n", "1,plain,\n", "1e999,plain,0\n"};
  for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
    make_table(&t, 5 + k);
    const int line = t.line;
    add(&t, wrong[k]);
    add(&t, "1,2,3,4,5\n2,\"never closed\n");
    write_bytes("in.csv", t.text, t.bytes);
    attempt a = attempt_with("zero", "0");
    expect_the_same_everywhere(&a);
    CU_ASSERT_EQUAL(a.status, DL_ERR_DATA);
    CU_ASSERT_EQUAL(a.error.line, line);
  }
}

static void test_a_quote_that_stays_open_is_named_where_it_opens(void) {
  static table t;
  make_table(&t, 11);
  const int line = t.line;
  add(&t, "1, \"never closed,0\n1,plain,1\n1,plain,1\n");
  write_bytes("in.csv", t.text, t.bytes);
  attempt a = attempt_with("zero", "0");
  expect_the_same_everywhere(&a);
  CU_ASSERT_EQUAL(a.status, DL_ERR_DATA);
  CU_ASSERT_EQUAL(a.error.line, line);
  CU_ASSERT_EQUAL(a.error.column, 4);
}

static void test_a_packed_file_that_ends_early_is_an_error_after_its_records(void) {
  static table t;
  static unsigned char packed[MOST_TEXT];
  make_table(&t, 12);
  for (int bad = 0; bad < 2; bad++) {
    if (bad) add(&t, "\n1,2\n");
    const int line = t.line - bad;
    add(&t, "1,plain,0");
    gzFile file = gzopen(test_path("in.csv"), "wb");
    gzwrite(file, t.text, (unsigned)t.bytes);
    gzflush(file, Z_FULL_FLUSH); /* all is there but the end of the stream */
    gzclose(file);
    FILE *whole = fopen(test_path("in.csv"), "rb");
    const size_t n = fread(packed, 1, sizeof packed, whole);
    fclose(whole);
    write_bytes("in.csv", packed, n - 10);
    attempt a = attempt_with("zero", "0");
    expect_the_same_everywhere(&a);
    CU_ASSERT_EQUAL(a.status, DL_ERR_DATA);
    CU_ASSERT_EQUAL(a.error.line, line);
    CU_ASSERT_PTR_NOT_NULL(strstr(a.error.message, bad ? "2 fields where" : "the gzip stream is truncated"));
  }
}

static void test_more_values_than_a_category_has_are_counted_over_all_pieces(void) {
  enum { MOST = 1024 };
  static char text[MOST * 24];
  for (int extra = 0; extra < 2; extra++) {
    strcpy(text, "name,y\n");
    char *at = text + strlen(text);
    for (int i = 0; i < MOST + extra; i++) at += sprintf(at, "n%d,%d\n", i, i % 2);
    sprintf(at, "n0,1\n");
    write_text("in.csv", text);
    attempt a = attempt_with("zero", "0");
    a.settings[0].value = "y";
    expect_the_same_everywhere(&a);
    CU_ASSERT_EQUAL(a.status, extra ? DL_ERR_DATA : DL_OK);
    if (extra) CU_ASSERT_EQUAL(a.error.line, 2);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_the_file_is_the_same_at_any_size_of_pieces_and_number_of_members),
    DL_TEST(test_a_split_file_and_a_second_file_hold_for_any_pieces),
    DL_TEST(test_an_error_is_the_first_one_of_the_file_at_its_line),
    DL_TEST(test_a_quote_that_stays_open_is_named_where_it_opens),
    DL_TEST(test_a_packed_file_that_ends_early_is_an_error_after_its_records),
    DL_TEST(test_more_values_than_a_category_has_are_counted_over_all_pieces),
};
DL_TEST_MAIN("csv pieces", tests)

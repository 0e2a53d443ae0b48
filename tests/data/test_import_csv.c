/* Importing tables: what is read from hand-written files, value by value; and what is wrong, named by line and column.
 */
#include "import_fixture.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <zlib.h>

#include "core/file.h"
#include "data/csv_reader.h"
#include "data/import.h"

/* "--key value" pairs after the inputs, as on the command line. */
static dl_status import_text(const char *text, int n, const dl_import_setting *settings) {
  write_text("in.csv", text);
  const char *input = keep("in.csv");
  return dl_import("csv", &input, 1, settings, n, test_path("out.h5"), true);
}
#define SET(...) \
  (int)(sizeof((dl_import_setting[]){__VA_ARGS__}) / sizeof(dl_import_setting)), (dl_import_setting[]) { __VA_ARGS__ }

/* The values of a data set as doubles, with its shape; freed by the caller. */
static double *read_set(const char *name, hsize_t *rows, hsize_t *columns) {
  hid_t file = H5Fopen(test_path("out.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT);
  hsize_t dim[2] = {0, 1};
  *rows = 0;
  double *values = NULL;
  if (set >= 0) {
    hid_t space = H5Dget_space(set);
    H5Sget_simple_extent_dims(space, dim, NULL);
    H5Sclose(space);
    values = calloc(dim[0] * dim[1] + 1, sizeof *values);
    H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(set);
    *rows = dim[0];
  }
  *columns = dim[1];
  H5Fclose(file);
  return values;
}

static void expect_set(const char *name, hsize_t rows, hsize_t columns, const double *want) {
  hsize_t got_rows, got_columns;
  double *got = read_set(name, &got_rows, &got_columns);
  CU_ASSERT_EQUAL(got_rows, rows);
  CU_ASSERT_EQUAL(got_columns, columns);
  for (hsize_t i = 0; got && got_rows == rows && got_columns == columns && i < rows * columns; i++) {
    if (got[i] != want[i]) fprintf(stderr, "%s[%d]: %.17g, not %.17g\n", name, (int)i, got[i], want[i]);
    CU_ASSERT_EQUAL(got[i], want[i]);
  }
  free(got);
}

/* Texts of a fixed length, joined by '|'. */
static void expect_texts(const char *name, const char *want) {
  hid_t file = H5Fopen(test_path("out.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT),
        type = H5Dget_type(set), space = H5Dget_space(set);
  const size_t width = H5Tget_size(type), n = (size_t)H5Sget_simple_extent_npoints(space);
  char *raw = calloc(n + 1, width), all[1024] = "";
  H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw);
  for (size_t i = 0; i < n; i++)
    snprintf(all + strlen(all), sizeof all - strlen(all), "%s%.*s", i ? "|" : "", (int)width, raw + i * width);
  CU_ASSERT_STRING_EQUAL(all, want);
  free(raw);
  H5Sclose(space);
  H5Tclose(type);
  H5Dclose(set);
  H5Fclose(file);
}

static void expect_error(const char *text, int n, const dl_import_setting *settings, dl_status status,
                         const char *part) {
  unlink(test_path("out.h5"));
  CU_ASSERT_EQUAL(import_text(text, n, settings), status);
  expect_refused(part);
}

/* ---- reading ---- */

static void test_numbers_are_those_of_strtod_bit_for_bit(void) {
  const char *const hard[] = {"0.1",
                              "1e-3",
                              "9007199254740993",
                              "2.2250738585072011e-308",
                              "5e-324",
                              "1e22",
                              "1e23",
                              "123456789012345678901234567890",
                              "0.000000000000000000000000123",
                              "-0",
                              "+7",
                              ".5",
                              "5.",
                              "1.7976931348623157e308",
                              "8.5e-45",
                              "0.30000000000000004"};
  for (size_t i = 0; i < sizeof hard / sizeof hard[0]; i++) {
    double got = 99, want = strtod(hard[i], NULL);
    CU_ASSERT_TRUE(dl_csv_number(hard[i], strlen(hard[i]), &got));
    CU_ASSERT_EQUAL(memcmp(&got, &want, sizeof got), 0);
  }
  unsigned state = 1;
  for (int i = 0; i < 20000; i++) {
    char text[64];
    double value, got;
    unsigned long long bits = 0;
    for (int k = 0; k < 4; k++) bits = bits << 16 | ((state = state * 1664525u + 1013904223u) >> 16);
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) continue;
    if (i & 1) value = (double)(int)(bits % 2000000) / 1000;
    snprintf(text, sizeof text, i % 3 ? "%.17g" : "%.6g", value);
    const double want = strtod(text, NULL);
    CU_ASSERT_TRUE(isfinite(want) == (dl_csv_number(text, strlen(text), &got) && isfinite(got)));
    CU_ASSERT_EQUAL(memcmp(&got, &want, sizeof got), 0);
  }
  const char *const none[] = {"", "-", ".", "1 2", "0x10", "inf", "nan", "1e", "1,5", "--1", "1.2.3", "e5"};
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
    double got;
    CU_ASSERT_FALSE(dl_csv_number(none[i], strlen(none[i]), &got));
  }
}

static void test_fields_are_cut_as_rfc_4180_says(void) {
  write_text("r.csv",
             "\xef\xbb\xbf a , \"b, \"\"quoted\"\"\" ,c\"d\r\n\r\n\"two\nlines\",,\"\"\r1,2,3\n  \n x , y\t,\"z\" ");
  const char *const want[4][3] = {
      {"a", "b, \"quoted\"", "c\"d"}, {"two\nlines", "", ""}, {"1", "2", "3"}, {"x", "y", "z"}};
  const int lines[4][3] = {{1, 1, 1}, {3, 4, 4}, {5, 5, 5}, {7, 7, 7}};
  dl_csv *csv;
  dl_csv_field *fields;
  int n;
  DL_ASSERT_OK(dl_csv_open(test_path("r.csv"), 0, &csv));
  CU_ASSERT_EQUAL(dl_csv_delimiter(csv), ',');
  for (int r = 0; r < 4; r++) {
    DL_ASSERT_OK(dl_csv_next(csv, &fields, &n));
    CU_ASSERT_EQUAL(n, 3);
    for (int i = 0; i < 3 && n == 3; i++) {
      CU_ASSERT_STRING_EQUAL(fields[i].text, want[r][i]);
      CU_ASSERT_EQUAL(fields[i].bytes, strlen(want[r][i]));
      CU_ASSERT_EQUAL(fields[i].line, lines[r][i]);
    }
  }
  DL_ASSERT_OK(dl_csv_next(csv, &fields, &n));
  CU_ASSERT_EQUAL(n, 0);
  dl_csv_close(&csv);
}

static void test_the_delimiter_is_found(void) {
  const char *const texts[] = {"a,b\n1,2\n",         "a;b\n1,5;2,5\n1;2\n", "a\tb c\n1\t2\n",      "a|b\n1|2\n",
                               " 1  2 3\n4 5   6\n", "alone\nx\n",          "\"a;b\",c;d\n1,2;3\n"};
  const char want[] = ",;\t| ,,";
  for (int i = 0; i < 7; i++) {
    dl_csv *csv;
    write_text("d.csv", texts[i]);
    DL_ASSERT_OK(dl_csv_open(test_path("d.csv"), 0, &csv));
    CU_ASSERT_EQUAL(dl_csv_delimiter(csv), want[i]);
    dl_csv_close(&csv);
  }
}

/* ---- tables ---- */

static const char people[] =
    "age,color,size,class\n1,red,1.5,yes\n2,\"blue\",2.5,no\n3,green,?,yes\n4,red,4.5,no\n5,blue,0.1,yes\n";

static void test_numbers_categories_and_classes_arrive_with_their_names(void) {
  DL_ASSERT_OK(import_text(people, SET({"target", "class"}, {"missing", "mean"})));
  const double mean = (float)((1.5 + 2.5 + 4.5 + 0.1) / 4), tenth = 0.1f;
  expect_set("train/x", 5, 5,
             (double[]){1, 0, 0, 1, 1.5, 2, 1, 0, 0, 2.5, 3, 0, 1, 0, mean, 4, 0, 0, 1, 4.5, 5, 1, 0, 0, tenth});
  expect_set("train/y", 5, 1, (double[]){1, 0, 1, 0, 1});
  expect_texts("feature_names", "age|color=blue|color=green|color=red|size");
  expect_texts("class_names", "no|yes");
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: out.h5}", &data));
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, 2);
  dl_data_destroy(&data);
}

static void test_missing_values_go_by_the_rule_that_is_given(void) {
  DL_ASSERT_OK(
      import_text(people, SET({"target", "-1"}, {"missing", "zero"}, {"ignore", "color"}, {"type", "float64"})));
  expect_set("train/x", 5, 2, (double[]){1, 1.5, 2, 2.5, 3, 0, 4, 4.5, 5, 0.1});
  DL_ASSERT_OK(import_text(people, SET({"target", "4"}, {"missing", "drop"}, {"ignore", "color,age"})));
  expect_set("train/x", 4, 1, (double[]){1.5, 2.5, 4.5, 0.1f});
  expect_set("train/y", 4, 1, (double[]){1, 0, 0, 1});
  DL_ASSERT_OK(import_text("c,y\na,0\n,1\nb,0\n", SET({"target", "y"}, {"missing", "mean"})));
  expect_set("train/x", 3, 2, (double[]){1, 0, 0, 0, 0, 1});
  DL_ASSERT_OK(
      import_text("c,y\na,0\n,1\nb,0\n", SET({"target", "y"}, {"missing", "zero"}, {"categories", "integers"})));
  expect_set("train/x", 3, 1, (double[]){0, 2, 1});
  expect_error(people, SET({"target", "class"}), DL_ERR_DATA, "in.csv:4:9: column 'size': the value is missing ('?')");
  expect_error("a,y\n1,2\n3,\n", SET({"target", "y"}, {"missing", "mean"}), DL_ERR_DATA,
               "in.csv:3:3: target column 'y'");
}

static void test_tasks_follow_the_target_or_the_option(void) {
  const char text[] = "3;1.5\n1;2.5\n10;3.5\n1.0;4.5\n"; /* no header */
  DL_ASSERT_OK(import_text(text, SET({"target", "1"})));
  expect_set("train/y", 4, 1, (double[]){1, 0, 2, 0}); /* in order of the numbers; 1 and 1.0 are one */
  expect_texts("class_names", "1|3|10");
  expect_texts("feature_names", "x2");
  DL_ASSERT_OK(import_text(text, SET({"target", "1"}, {"task", "regression"})));
  expect_set("train/y", 4, 1, (double[]){3, 1, 10, 1});
  expect_texts("target_names", "x1");
  DL_ASSERT_OK(import_text(text, SET({"target", "2"})));
  expect_set("train/y", 4, 1, (double[]){1.5, 2.5, 3.5, 4.5});
  DL_ASSERT_OK(import_text("a,b,c\n1,2.5,3\n4,5,6\n", SET({"target", "c,a"})));
  expect_set("train/y", 2, 2, (double[]){3, 1, 6, 4});
  DL_ASSERT_OK(import_text("a,b,c\n1,2.5,0\n0,5,1\n", SET({"target", "a,c"}, {"task", "multilabel"})));
  expect_set("train/y", 2, 2, (double[]){1, 0, 0, 1});
  DL_ASSERT_OK(import_text("0,e\n9,p\n5,e\n", SET({"target", "-1"}, {"task", "binary"}, {"categorical", "1"})));
  expect_set("train/x", 3, 3, (double[]){1, 0, 0, 0, 0, 1, 0, 1, 0});
  expect_set("train/y", 3, 1, (double[]){0, 1, 0});
  expect_error("a,b\n1,2\n2,x\n3,y\n", SET({"target", "b"}, {"task", "binary"}), DL_ERR_DATA, "--task binary");
  expect_error("a,b\n1,2\n2,x\n", SET({"target", "b"}, {"task", "regression"}), DL_ERR_DATA,
               "in.csv:3:3: target column 'b' holds text");
  expect_error("a,b\n1,2\n2,3\n", SET({"target", "a,b"}), DL_ERR_DATA, "no column is left");
}

/* Every class gives its share, nobody is lost, order is kept, another seed is another split. */
static void test_the_random_split_is_stratified_and_by_seed(void) {
  char text[8000] = "v,y\n";
  for (int i = 0; i < 500; i++) snprintf(text + strlen(text), 20, "%d,%s\n", i, i % 5 ? "a" : "b");
  double *first = NULL;
  for (int seed = 1; seed <= 2; seed++) {
    hsize_t n, m, one;
    DL_ASSERT_OK(import_text(text, SET({"target", "y"}, {"test-fraction", "0.2"}, {"valid-fraction", "0.1"},
                                       {"seed", seed == 1 ? "1" : "2"})));
    bool seen[500] = {false};
    const char *const x_names[] = {"train/x", "valid/x", "test/x"}, *const y_names[] = {"train/y", "valid/y", "test/y"};
    const hsize_t want[] = {350, 50, 100};
    for (int s = 0; s < 3; s++) {
      double *x = read_set(x_names[s], &n, &one), *y = read_set(y_names[s], &m, &one), ones = 0;
      CU_ASSERT_EQUAL(n, want[s]);
      CU_ASSERT_EQUAL(m, n);
      for (hsize_t i = 0; i < n; i++) {
        CU_ASSERT_FALSE(seen[(int)x[i]]);
        CU_ASSERT_TRUE(i == 0 || x[i] > x[i - 1]);
        CU_ASSERT_EQUAL(y[i], (int)x[i] % 5 == 0);
        seen[(int)x[i]] = true;
        ones += y[i];
      }
      CU_ASSERT_EQUAL(ones, (double)n / 5);
      free(y);
      if (s == 2 && seed == 1) first = x;
      if (s == 2 && seed == 2) CU_ASSERT_TRUE(memcmp(first, x, n * sizeof *x) != 0);
      if (s < 2 || seed == 2) free(x);
    }
  }
  free(first);
}

static void test_a_split_file_says_who_is_test(void) {
  const char text[] = "v,y\n0,5.5\n1,6\n2,?\n3,8\n";
  write_text("rows", "3\n1\n");
  DL_ASSERT_OK(import_text(text, SET({"target", "y"}, {"missing", "drop"}, {"split-file", keep("rows")})));
  expect_set("train/x", 1, 1, (double[]){0});
  expect_set("test/x", 2, 1, (double[]){1, 3});
  write_text("words", "test\ntrain\ntrain\nvalid\n");
  DL_ASSERT_OK(import_text(text, SET({"target", "y"}, {"missing", "drop"}, {"split-file", keep("words")})));
  expect_set("train/x", 1, 1, (double[]){1});
  expect_set("valid/x", 1, 1, (double[]){3});
  expect_set("test/x", 1, 1, (double[]){0});
  const char *const wrong[][2] = {{"4\n", "wrong:1:1: '4' is for no row of"},
                                  {"1\n999999999999\n", "wrong:2:1: '999999999999' is for no row"},
                                  {"train\ntest\ntrain\nvalid\ntest\n", "wrong:5:1: 'test' is for no row"},
                                  {"1\n1\n", "wrong:2:1: '1' is named twice"},
                                  {"1\ntrain\n", "wrong:2:1: 'train' is no row number"},
                                  {"train\ntest\n", "names 2 rows"},
                                  {"-1\n", "is no row number"}};
  for (int i = 0; i < 7; i++) {
    write_text("wrong", wrong[i][0]);
    expect_error(text, SET({"target", "y"}, {"missing", "drop"}, {"split-file", keep("wrong")}), DL_ERR_DATA,
                 wrong[i][1]);
  }
}

static void test_a_second_file_is_the_test_split(void) {
  write_text("a.csv", "v,y\n1,no\n2,yes\n");
  write_text("b.csv", "v,y\n3,maybe\n");
  write_text("c.csv", "y,v\n3,maybe\n");
  const char *inputs[] = {keep("a.csv"), keep("b.csv")}, *turned[] = {keep("a.csv"), keep("c.csv")};
  const dl_import_setting target = {"target", "y"};
  DL_ASSERT_OK(dl_import("csv", inputs, 2, &target, 1, test_path("out.h5"), true));
  expect_set("train/y", 2, 1, (double[]){1, 2});
  expect_set("test/x", 1, 1, (double[]){3});
  expect_set("test/y", 1, 1, (double[]){0});
  CU_ASSERT_EQUAL(dl_import("csv", turned, 2, &target, 1, test_path("out.h5"), true), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "names column 1 'y'"));
}

/* pandas leaves the name of its index empty. */
static void test_a_second_file_may_have_a_column_without_a_name(void) {
  write_text("a.csv", ",v,y\n0,1,no\n1,2,yes\n");
  write_text("b.csv", ",v,y\n0,3,no\n");
  const char *inputs[] = {keep("a.csv"), keep("b.csv")};
  const dl_import_setting target = {"target", "y"};
  DL_ASSERT_OK(dl_import("csv", inputs, 2, &target, 1, test_path("out.h5"), true));
  expect_set("test/x", 1, 2, (double[]){0, 3});
}

static void test_decimal_commas_are_read_where_they_are_named_and_an_error_elsewhere(void) {
  DL_ASSERT_OK(import_text("a;b;y\n1,5;-2;0\n 0,25;\" 1e2 \";1\n", SET({"target", "y"}, {"decimal", "comma"})));
  expect_set("train/x", 2, 2, (double[]){1.5, -2, 0.25, 100});
  DL_ASSERT_OK(import_text("1,5;2,5;0\n2,5;3,5;1\n", SET({"target", "-1"}, {"decimal", "comma"}))); /* no header */
  expect_set("train/x", 2, 2, (double[]){1.5, 2.5, 2.5, 3.5});
  DL_ASSERT_OK(import_text("a;y\n1;2,5\n2;3,25\n", SET({"target", "y"}, {"decimal", "comma"})));
  expect_set("train/y", 2, 1, (double[]){2.5, 3.25});
  expect_error("a;b;y\n1;2;0\n1;2,5;1\n", SET({"target", "y"}), DL_ERR_DATA,
               "in.csv:3:3: column 'b': '2,5' is no number with a decimal point");
  expect_error("a;y\n1;2,5\n2;3\n", SET({"target", "y"}), DL_ERR_DATA, "in.csv:2:3: column 'y'");
  DL_ASSERT_OK(import_text("a;b;y\n1;2;0\n1;2,5;1\n", SET({"target", "y"}, {"categorical", "b"})));
  expect_texts("feature_names", "a|b=2|b=2,5");
}

static void test_one_text_among_many_numbers_is_an_error_and_not_a_category(void) {
  char text[1000] = "v,y\n";
  for (int i = 0; i < 30; i++) snprintf(text + strlen(text), 20, "%d.5,%d\n", i, i % 2);
  DL_ASSERT_OK(import_text(text, SET({"target", "y"})));
  snprintf(text + strlen(text), 20, "7.5x,1\n");
  expect_error(text, SET({"target", "y"}), DL_ERR_DATA, "in.csv:32:1: column 'v': '7.5x' is no number");
  DL_ASSERT_OK(import_text(text, SET({"target", "y"}, {"categorical", "v"})));
  hsize_t rows, columns;
  free(read_set("train/x", &rows, &columns));
  CU_ASSERT_EQUAL(columns, 31);
  DL_ASSERT_OK(import_text("v,y\n1,0\n2,1\n3+,1\n", SET({"target", "y"}))); /* few: categories */
  expect_texts("feature_names", "v=1|v=2|v=3+");
}

static void test_what_is_not_utf8_is_named_by_its_place(void) {
  expect_error("a,y\n1,no\n2,caf\xe9\n", SET({"target", "y"}), DL_ERR_DATA, "in.csv:3:3: the text is not UTF-8");
  expect_error("a,\xe9t\xe9\n1,2\n", SET({"target", "2"}), DL_ERR_DATA, "in.csv:1:3: the text is not UTF-8");
  DL_ASSERT_OK(import_text("a,y\n1,no\n2,caf\xc3\xa9\n", SET({"target", "y"})));
  expect_texts("class_names", "caf\xc3\xa9|no");
}

static void test_packed_and_large_files_are_read_alike_in_any_locale(void) {
  char *text = calloc(1, 4 << 20);
  size_t n = 0;
  n += (size_t)sprintf(text, "a,b,y\n");
  for (int i = 0; i < 60000; i++) n += (size_t)sprintf(text + n, "%d.25,\"%d\",%d\n", i, i % 7, i % 2);
  gzFile packed = gzopen(test_path("in.csv"), "wb");
  CU_ASSERT_EQUAL(gzwrite(packed, text, (unsigned)n), (int)n);
  gzclose(packed);
  setlocale(LC_ALL, "de_DE.UTF-8");
  const char *input = keep("in.csv");
  const dl_import_setting target = {"target", "y"};
  DL_ASSERT_OK(dl_import("csv", &input, 1, &target, 1, test_path("out.h5"), true));
  hsize_t rows, columns;
  double *x = read_set("train/x", &rows, &columns), *y = read_set("train/y", &rows, &columns);
  CU_ASSERT_EQUAL(rows, 60000);
  for (int i = 0; i < 60000; i++) {
    CU_ASSERT_EQUAL(x[2 * i], i + 0.25);
    CU_ASSERT_EQUAL(x[2 * i + 1], i % 7);
    CU_ASSERT_EQUAL(y[i], i % 2);
  }
  free(x);
  free(y);
  /* a gzip stream that ends too early */
  char *bytes;
  size_t size;
  DL_ASSERT_OK(dl_file_read(input, 1 << 24, DL_ERR_DATA, &bytes, &size));
  write_bytes("in.csv", bytes, size - 9);
  CU_ASSERT_EQUAL(dl_import("csv", &input, 1, &target, 1, test_path("out.h5"), true), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "gzip"));
  free(bytes);
  free(text);
}

static void test_what_is_wrong_is_named_by_line_and_column(void) {
  const dl_import_setting y = {"target", "y"};
  const struct {
    const char *text, *part;
    dl_status status;
  } wrong[] = {
      {"a,y\n1,2\n1,2,3\n", "in.csv:3: 3 fields where the first record has 2", DL_ERR_DATA},
      {"a,y\n1,\"2\n3,4\n", "in.csv:2:3: the quote that opens here is never closed", DL_ERR_DATA},
      {"a,y\n1,\"2\"x\n", "in.csv:2:6: text follows a closing quote", DL_ERR_DATA},
      {"", "holds no records", DL_ERR_DATA},
      {"a,y\n", "holds no rows", DL_ERR_DATA},
      {"a,b\n1,2\n", "there is no column 'y'", DL_ERR_USAGE},
      {"y,a,y\n1,2,3\n", "columns 1 and 3 are both named 'y'", DL_ERR_USAGE},
      {"a,y\n1e999,2\n", "in.csv:2:1: column 'a': '1e999' is larger than a float64", DL_ERR_DATA},
      {"a,y\n1e39,2\n", "in.csv:2:1: column 'a': '1e39' is larger than a float32", DL_ERR_DATA},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    expect_error(wrong[i].text, 1, &y, wrong[i].status, wrong[i].part);
  expect_error("a,y\n1,2\n", SET({"target", "3"}), DL_ERR_USAGE, "1 is the first ('a'), -1 the last ('y')");
  expect_error("a,y\n1,2\n", SET({"target", "y"}, {"tokens", "char"}), DL_ERR_USAGE, "takes no --tokens");
  expect_error("a,y\n1,2\n", SET({"seed", "3"}), DL_ERR_USAGE, "needs --target");
  expect_error("a,y\n1,2\n", SET({"target", "y"}, {"missing", "dorp"}), DL_ERR_USAGE, "dorp");
  expect_error("a,y\n1,2\n", SET({"target", "y"}, {"delimiter", "ab"}), DL_ERR_USAGE, "--delimiter");
  expect_error("a,y\n-1,2\n", SET({"target", "y"}, {"type", "uint8"}), DL_ERR_DATA, "in.csv:2:1: column 'a': '-1'");
  expect_error("a,y\n1,2\n3,4\n", SET({"target", "y"}, {"test-fraction", "0.1"}), DL_ERR_DATA, "of 2 rows is none");
  char *many = calloc(1, 100000);
  strcpy(many, "a,y\n");
  for (int i = 0; i < 3000; i++) sprintf(many + strlen(many), "%d,1\n", i);
  strcat(many, "oops,1\n");
  expect_error(many, 1, &y, DL_ERR_DATA, "in.csv:3002:1: column 'a': 'oops' is no number");
  free(many);
  write_bytes("in.csv", "a,y\n1\0,2\n", 9);
  const char *input = keep("in.csv");
  CU_ASSERT_EQUAL(dl_import("csv", &input, 1, &y, 1, test_path("out.h5"), true), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "0 byte"));
  CU_ASSERT_EQUAL(dl_error_last()->line, 2);
}

static const dl_test tests[] = {
    DL_TEST(test_numbers_are_those_of_strtod_bit_for_bit),
    DL_TEST(test_fields_are_cut_as_rfc_4180_says),
    DL_TEST(test_the_delimiter_is_found),
    DL_TEST(test_numbers_categories_and_classes_arrive_with_their_names),
    DL_TEST(test_missing_values_go_by_the_rule_that_is_given),
    DL_TEST(test_tasks_follow_the_target_or_the_option),
    DL_TEST(test_the_random_split_is_stratified_and_by_seed),
    DL_TEST(test_a_split_file_says_who_is_test),
    DL_TEST(test_a_second_file_is_the_test_split),
    DL_TEST(test_a_second_file_may_have_a_column_without_a_name),
    DL_TEST(test_decimal_commas_are_read_where_they_are_named_and_an_error_elsewhere),
    DL_TEST(test_one_text_among_many_numbers_is_an_error_and_not_a_category),
    DL_TEST(test_what_is_not_utf8_is_named_by_its_place),
    DL_TEST(test_packed_and_large_files_are_read_alike_in_any_locale),
    DL_TEST(test_what_is_wrong_is_named_by_line_and_column),
};
DL_TEST_MAIN("import csv", tests)

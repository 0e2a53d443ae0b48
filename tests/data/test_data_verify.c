/* Verifying files that are damaged on purpose, and cutting splits off. */
#include "make_h5.h"

#include <math.h>

#include "core/file.h"
#include "data/import.h"
#include "data/verify.h"

enum { ROWS = 300, WIDTH = 400, CHUNK = 100 };

/* Rows of float32 in three chunks with checksums; row i begins with i. */
static void make_good(const char *name, int seed) {
  static float x[ROWS * WIDTH];
  static int y[ROWS];
  unsigned state = (unsigned)seed;
  for (int i = 0; i < ROWS * WIDTH; i++) x[i] = (float)((state = state * 1664525u + 1013904223u) >> 8);
  for (int i = 0; i < ROWS; i++) y[i] = i % 3;
  hid_t file = make_file(name), made = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(made, 2, (hsize_t[]){CHUNK, WIDTH});
  H5Pset_fletcher32(made);
  make_set(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(ROWS, WIDTH), made, x);
  make_set(file, "train/y", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(ROWS), H5P_DEFAULT, y);
  H5Pclose(made);
  H5Fclose(file);
}

static void change(const char *name, const char *set_name, hsize_t row, hid_t type, const void *values,
                   hsize_t columns) {
  hid_t file = H5Fopen(test_path(name), H5F_ACC_RDWR, H5P_DEFAULT), set = H5Dopen2(file, set_name, H5P_DEFAULT),
        space = H5Dget_space(set);
  const hsize_t start[] = {row, 0}, count[] = {1, columns};
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
  hid_t memory = H5Screate_simple(1, &columns, NULL);
  CU_ASSERT_TRUE(H5Dwrite(set, type, memory, space, H5P_DEFAULT, values) >= 0);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(file);
}

static dl_verification verify(const char *name) {
  dl_verification v;
  DL_ASSERT_OK(dl_data_verify(test_path(name), &v));
  return v;
}

static const dl_finding *find(const dl_verification *v, dl_finding_kind kind) {
  for (int i = 0; i < v->n; i++)
    if (v->findings[i].kind == kind) return &v->findings[i];
  CU_FAIL("the finding is missing");
  static const dl_finding none;
  return &none;
}

static void test_a_good_file_has_no_findings(void) {
  make_good("good.h5", 1);
  dl_verification v = verify("good.h5");
  CU_ASSERT_EQUAL(v.n, 0);
  CU_ASSERT_EQUAL(v.errors, 0);
  CU_ASSERT_EQUAL(v.n_sets, 2);
  CU_ASSERT_TRUE(v.sets[0].checksums && v.sets[0].chunks == 3 && v.sets[0].rows == ROWS);
  CU_ASSERT_FALSE(v.sets[1].checksums);
  dl_verification_clear(&v);
}

static void test_a_flipped_byte_is_named_by_chunk_and_rows(void) {
  make_good("flip.h5", 1);
  const float mark = 123456.789f; /* the first value of row 150 */
  change("flip.h5", "train/x", 150, H5T_NATIVE_FLOAT, &mark, 1);
  flip_bit("flip.h5", &mark, sizeof mark, 1);
  dl_verification v = verify("flip.h5");
  CU_ASSERT_EQUAL(v.n, 1);
  const dl_finding *f = find(&v, DL_FINDING_UNREADABLE);
  CU_ASSERT_STRING_EQUAL(f->set, "train/x");
  CU_ASSERT_TRUE(f->chunk == 1 && f->first == 100 && f->last == 199);
  CU_ASSERT_PTR_NOT_NULL(strstr(f->text, "Fletcher32 checksum"));
  dl_verification_clear(&v);
}

/* Several chunks are read at a time; what is wrong with one is not said of its neighbours. */
static void test_a_damaged_chunk_of_one_row_is_named_alone(void) {
  float x[ROWS * 2];
  for (int i = 0; i < ROWS * 2; i++) x[i] = (float)i;
  x[2 * 7] = 0x1.deadbep-3f;
  x[2 * 200] = NAN;
  hid_t file = make_file("rows.h5"), made = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(made, 2, (hsize_t[]){1, 2});
  H5Pset_fletcher32(made);
  make_set(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(ROWS, 2), made, x);
  H5Pclose(made);
  H5Fclose(file);
  flip_bit("rows.h5", &x[2 * 7], sizeof *x, 1);
  dl_verification v = verify("rows.h5");
  CU_ASSERT_EQUAL(v.n, 2);
  const dl_finding *f = find(&v, DL_FINDING_UNREADABLE);
  CU_ASSERT_TRUE(f->first == 7 && f->last == 7);
  f = find(&v, DL_FINDING_NOT_FINITE);
  CU_ASSERT_TRUE(f->first == 200 && f->last == 200);
  dl_verification_clear(&v);
}

static void test_nan_and_infinity_are_counted_where_they_are(void) {
  make_good("nan.h5", 1);
  const float bad[] = {NAN, 1, INFINITY};
  change("nan.h5", "train/x", 220, H5T_NATIVE_FLOAT, bad, 3);
  change("nan.h5", "train/x", 230, H5T_NATIVE_FLOAT, bad, 1);
  dl_verification v = verify("nan.h5");
  const dl_finding *f = find(&v, DL_FINDING_NOT_FINITE);
  CU_ASSERT_TRUE(v.n == 1 && f->chunk == 2 && f->first == 220 && f->last == 230 && f->count == 3);
  dl_verification_clear(&v);
}

static void test_labels_are_held_against_the_class_names_and_rows_against_x(void) {
  make_good("label.h5", 1);
  hid_t file = H5Fopen(test_path("label.h5"), H5F_ACC_RDWR, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, 2);
  make_set(file, "class_names", type, type, DIMS(2), H5P_DEFAULT, "a\0b\0");
  make_set(file, "test/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(2, WIDTH + 1), H5P_DEFAULT, NULL);
  make_set(file, "test/y", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(3), H5P_DEFAULT, (int[]){0, 1, 0});
  H5Tclose(type);
  H5Fclose(file);
  dl_verification v = verify("label.h5");
  const dl_finding *f = find(&v, DL_FINDING_LABEL);
  CU_ASSERT_STRING_EQUAL(f->set, "train/y");
  CU_ASSERT_TRUE(f->count == ROWS / 3 && f->first == 2 && f->last == ROWS - 1);
  int shapes = 0;
  for (int i = 0; i < v.n; i++) shapes += v.findings[i].kind == DL_FINDING_SHAPE;
  CU_ASSERT_EQUAL(shapes, 2);
  dl_verification_clear(&v);
}

static void test_rows_that_are_there_twice_are_found_within_and_between_splits(void) {
  static float row[WIDTH];
  make_good("twice.h5", 1);
  for (int i = 0; i < WIDTH; i++) row[i] = (float)i;
  change("twice.h5", "train/x", 7, H5T_NATIVE_FLOAT, row, WIDTH);
  change("twice.h5", "train/x", 299, H5T_NATIVE_FLOAT, row, WIDTH);
  hid_t file = H5Fopen(test_path("twice.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
  static float test[2 * WIDTH];
  memcpy(test + WIDTH, row, sizeof row);
  make_floats(file, "test/x", DIMS(2, WIDTH), test);
  H5Fclose(file);
  dl_verification v = verify("twice.h5");
  const dl_finding *again = find(&v, DL_FINDING_REPEATED), *leak = find(&v, DL_FINDING_LEAK);
  CU_ASSERT_TRUE(v.n == 2 && v.errors == 1);
  CU_ASSERT_TRUE(again->count == 1 && again->first == 299 && again->chunk == 2 &&
                 strstr(again->text, "1 row is there before: row 299 is row 7 again"));
  CU_ASSERT_STRING_EQUAL(leak->set, "test/x");
  CU_ASSERT_TRUE(leak->count == 1 && leak->first == 1 &&
                 strstr(leak->text, "1 row is in train/x too: row 1 is row 7 there"));
  CU_ASSERT_EQUAL(leak->chunk, -1); /* test/x does not lie in chunks */
  dl_verification_clear(&v);
}

static void test_names_that_are_not_as_many_as_the_columns_are_told(void) {
  const float x[6 * 3] = {0};
  hid_t type = H5Tcopy(H5T_C_S1);
  for (int columns = 2; columns <= 3; columns++) {
    hid_t file = make_file("names.h5");
    make_floats(file, "train/x", DIMS(6, (hsize_t)columns), x);
    make_set(file, "feature_names", type, type, DIMS(3), H5P_DEFAULT, "abc");
    H5Fclose(file);
    dl_verification v = verify("names.h5");
    CU_ASSERT_EQUAL(v.errors, columns == 2);
    if (columns == 2) CU_ASSERT_STRING_EQUAL(find(&v, DL_FINDING_SHAPE)->text, "3 names, but train/x has 2 columns");
    dl_verification_clear(&v);
  }
  H5Tclose(type);
}

static void test_what_is_no_data_set_file_is_an_error(void) {
  dl_verification v;
  H5Fclose(make_file("empty.h5"));
  CU_ASSERT_EQUAL(dl_data_verify(test_path("empty.h5"), &v), DL_ERR_DATA);
  CU_ASSERT_EQUAL(dl_data_verify(test_path("absent.h5"), &v), DL_ERR_DATA);
}

/* ---- splitting ---- */

static hsize_t rows_of(const char *name, const char *set_name, float *x, int *y) {
  hid_t file = H5Fopen(test_path(name), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t set = H5Lexists(file, set_name, H5P_DEFAULT) > 0 ? H5Dopen2(file, set_name, H5P_DEFAULT) : -1;
  hsize_t dim[2] = {0};
  if (set >= 0) {
    hid_t space = H5Dget_space(set);
    H5Sget_simple_extent_dims(space, dim, NULL);
    H5Sclose(space);
    if (x) H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
    if (y) H5Dread(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, y);
    H5Dclose(set);
  }
  H5Fclose(file);
  return dim[0];
}

static void test_every_row_lands_in_one_split_with_its_label(void) {
  static float whole[ROWS * WIDTH], part[ROWS * WIDTH];
  static int labels[ROWS];
  static const char *const names[][2] = {{"train/x", "train/y"}, {"valid/x", "valid/y"}, {"test/x", "test/y"}};
  bool seen[ROWS] = {false};
  make_good("whole.h5", 5);
  rows_of("whole.h5", "train/x", whole, NULL);
  DL_ASSERT_OK(dl_data_split(test_path("whole.h5"), 0.2, 0.1, 9, test_path("cut.h5"), true));
  const hsize_t want[] = {210, 30, 60};
  for (int s = 0; s < 3; s++) {
    const hsize_t n = rows_of("cut.h5", names[s][0], part, NULL);
    int last = -1, of_class[3] = {0};
    CU_ASSERT_EQUAL(n, want[s]);
    CU_ASSERT_EQUAL(rows_of("cut.h5", names[s][1], NULL, labels), n);
    for (hsize_t i = 0; i < n; i++) {
      int row = last + 1; /* the order stays */
      while (row < ROWS && memcmp(whole + row * WIDTH, part + i * WIDTH, WIDTH * sizeof *part) != 0) row++;
      CU_ASSERT_TRUE_FATAL(row < ROWS && !seen[row]);
      CU_ASSERT_EQUAL(labels[i], row % 3);
      seen[last = row] = true;
      of_class[labels[i]]++;
    }
    CU_ASSERT_TRUE(of_class[0] == (int)n / 3 && of_class[1] == (int)n / 3);
  }
  CU_ASSERT_EQUAL(dl_data_split(test_path("cut.h5"), 0.2, 0, 9, test_path("again.h5"), true), DL_ERR_USAGE);
  CU_ASSERT_EQUAL(dl_data_split(test_path("whole.h5"), 0.2, 0, 9, test_path("cut.h5"), false), DL_ERR_USAGE);
  CU_ASSERT_EQUAL(dl_data_split(test_path("whole.h5"), 0.001, 0, 9, test_path("cut.h5"), true), DL_ERR_DATA);
  CU_ASSERT_EQUAL(rows_of("cut.h5", "test/x", NULL, NULL), 60); /* a failure leaves the old file */
}

/* Numbers that are values, not classes, are cut at random too: of a rising y the test rows lie all over. */
static void test_whole_numbers_that_are_values_are_cut_at_random(void) {
  static const int offset[] = {0, -150, 100000};
  static float x[ROWS];
  static int y[ROWS], test[ROWS];
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < ROWS; i++) y[i] = offset[k] + i;
    hid_t file = make_file("values.h5");
    make_floats(file, "train/x", DIMS(ROWS, 1), x);
    make_set(file, "train/y", H5T_STD_I32LE, H5T_NATIVE_INT, DIMS(ROWS), H5P_DEFAULT, y);
    H5Fclose(file);
    DL_ASSERT_OK(dl_data_split(test_path("values.h5"), 0.2, 0, 9, test_path("cut.h5"), true));
    CU_ASSERT_EQUAL(rows_of("cut.h5", "test/y", NULL, test), 60);
    double mean = 0;
    for (int i = 0; i < 60; i++) mean += (test[i] - offset[k]) / 60.0;
    CU_ASSERT_DOUBLE_EQUAL(mean, 149.5, 40); /* 4 standard errors of 60 out of 300 */
  }
}

static void test_values_in_other_files_are_not_copied(void) {
  float x[20] = {0};
  hid_t file = make_file("outside.h5"), made = H5Pcreate(H5P_DATASET_CREATE);
  make_floats(file, "train/x", DIMS(20, 1), x);
  H5Pset_external(made, "/etc/passwd", 0, sizeof x);
  make_set(file, "valid/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(20, 1), made, NULL);
  H5Pclose(made);
  H5Fclose(file);
  CU_ASSERT_EQUAL(dl_data_split(test_path("outside.h5"), 0.2, 0, 9, test_path("inside.h5"), true), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "'valid/x' keeps its values in other files"));
  CU_ASSERT_FALSE(dl_path_exists(test_path("inside.h5")));
}

static void test_labels_without_samples_are_found(void) {
  const int y[] = {0, 1, 0, 1};
  hid_t file = make_file("lonely.h5");
  make_set(file, "train/y", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(4), H5P_DEFAULT, y);
  H5Fclose(file);
  dl_verification v = verify("lonely.h5");
  CU_ASSERT_EQUAL(v.errors, 1);
  CU_ASSERT_STRING_EQUAL(find(&v, DL_FINDING_SHAPE)->set, "train/y");
  CU_ASSERT_STRING_EQUAL(find(&v, DL_FINDING_SHAPE)->text, "there is no train/x beside it");
  dl_verification_clear(&v);
}

static const dl_test tests[] = {
    DL_TEST(test_a_good_file_has_no_findings),
    DL_TEST(test_a_flipped_byte_is_named_by_chunk_and_rows),
    DL_TEST(test_a_damaged_chunk_of_one_row_is_named_alone),
    DL_TEST(test_nan_and_infinity_are_counted_where_they_are),
    DL_TEST(test_labels_are_held_against_the_class_names_and_rows_against_x),
    DL_TEST(test_rows_that_are_there_twice_are_found_within_and_between_splits),
    DL_TEST(test_names_that_are_not_as_many_as_the_columns_are_told),
    DL_TEST(test_what_is_no_data_set_file_is_an_error),
    DL_TEST(test_every_row_lands_in_one_split_with_its_label),
    DL_TEST(test_whole_numbers_that_are_values_are_cut_at_random),
    DL_TEST(test_labels_without_samples_are_found),
    DL_TEST(test_values_in_other_files_are_not_copied),
};
DL_TEST_MAIN("data verify", tests)

/* Bad input: each kind ends in its own message and code, and takes nothing down with it. */
#include "make_h5.h"

#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* `text` must fail with `status`, its message or place holding all of `parts` (separated by |). */
static void expect_need(const char *text, unsigned need, dl_status status, const char *parts) {
  dl_data *data;
  dl_status got = open_need(text, need, &data);
  char whole[2048], list[512];
  dl_error_format(dl_error_last(), whole, sizeof whole);
  CU_ASSERT_EQUAL(got, status);
  CU_ASSERT_PTR_NULL(data);
  if (got != status) fprintf(stderr, "%s: status %d, message %s\n", text, got, whole);
  dl_data_destroy(&data);
  snprintf(list, sizeof list, "%s", parts);
  for (char *next, *part = strtok_r(list, "|", &next); part && got == status; part = strtok_r(NULL, "|", &next)) {
    bool there = strstr(whole, part) != NULL;
    CU_ASSERT_TRUE(there);
    if (!there) fprintf(stderr, "%s\n  says: %s\n  without: %s\n", text, whole, part);
  }
}
static void expect(const char *text, dl_status status, const char *parts) {
  expect_need(text, 1u << DL_SPLIT_TRAIN, status, parts);
}

/* Training on data set `name` of `file` must fail so. */
#define EXPECT_X(file, name, parts) expect("data: {file: " file ", train: {x: " name "}}", DL_ERR_DATA, parts)

static const int good_labels[6] = {0, 1, 2, 0, 1, 2};
static const float good_x[18] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};

/* A file with an x of float32 of this name and shape, and with labels where they are wanted. */
static void make_with(const char *name, const char *x, int dims, const hsize_t *dim, bool labels) {
  hid_t file = make_file(name);
  make_floats(file, x, dims, dim, good_x);
  if (labels) make_labels(file, "train/y", 6, good_labels);
  H5Fclose(file);
}
static void make_good(const char *name) { make_with(name, "train/x", DIMS(6, 2), true); }

static void test_what_is_not_an_hdf5_file_is_named_for_what_it_is(void) {
  expect("data: {file: nowhere.h5}", DL_ERR_DATA, "nowhere.h5|does not exist");
  mkdir(test_path("folder"), 0755);
  expect("data: {file: folder}", DL_ERR_DATA, "folder|is a directory|folder/*.h5");
  write_bytes("text.h5", "x,y\n1,2\n", 8);
  expect("data: {file: text.h5}", DL_ERR_DATA, "text.h5|text file");
  write_bytes("empty.h5", "", 0);
  expect("data: {file: empty.h5}", DL_ERR_DATA, "empty.h5|is empty");
  write_bytes("packed.h5", "\x1f\x8b\x08\0\0\0\0\0", 8);
  expect("data: {file: packed.h5}", DL_ERR_DATA, "packed.h5|gzip|data import idx");
  write_bytes("idx.h5", "\0\0\x08\x03\0\0\0\1\0\0\0\1", 12);
  expect("data: {file: idx.h5}", DL_ERR_DATA, "idx.h5|IDX|data import idx");
  write_bytes("noise.h5", "\x80\x01\x02\xff\0\3", 6);
  expect("data: {file: noise.h5}", DL_ERR_DATA, "noise.h5|not an HDF5 file");
  CU_ASSERT_EQUAL(mkfifo(test_path("pipe.h5"), 0600), 0);
  expect("data: {file: pipe.h5}", DL_ERR_DATA, "pipe.h5|not a regular file");
  expect("data: {file: 'none-*.h5'}", DL_ERR_DATA, "no data file matches|none-*.h5|c.yaml:2");
}

static void test_a_truncated_file_is_called_truncated(void) {
  make_good("whole.h5");
  FILE *file = fopen(test_path("whole.h5"), "rb");
  char bytes[65536];
  size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  for (size_t keep = 512; keep < n; keep += 701) {
    write_bytes("cut.h5", bytes, keep);
    expect("data: {file: cut.h5}", DL_ERR_DATA, "cut.h5|truncated");
  }
}

/* In a process of its own, which gives root's rights away. */
static int open_without_rights(void) {
  if (geteuid() == 0 && seteuid(65534) != 0) return 2;
  dl_data *data;
  dl_status status = open_text("data: {file: secret.h5}", &data);
  const dl_error *error = dl_error_last();
  bool said = strstr(error->message, "Permission denied") && strstr(error->file, "secret.h5");
  return status == DL_ERR_DATA && said ? 0 : 1;
}

static void test_a_file_that_may_not_be_read_says_so(void) {
  make_good("secret.h5");
  chmod(test_path("secret.h5"), 0);
  chmod(test_folder, 0755);
  pid_t child = fork();
  if (child == 0) _exit(open_without_rights());
  int code = -1;
  CU_ASSERT_EQUAL(waitpid(child, &code, 0), child);
  CU_ASSERT_EQUAL(code, 0);
}

static void test_names_that_are_missing_or_wrong_are_named(void) {
  make_good("good.h5");
  EXPECT_X("good.h5", "train/images", "good.h5|no data set 'train/images'|train/x, train/y");
  expect("data: {file: good.h5, train: {y: label}}", DL_ERR_DATA, "good.h5|no data set 'label'");
  expect("data: {file: good.h5, train: {weight: w}}", DL_ERR_DATA, "no data set 'w'");
  EXPECT_X("good.h5", "train", "'train' is not a data set but a group");
  EXPECT_X("good.h5", "/", "good.h5");
  expect("data: {file: good.h5, test: {x: test/x}}", DL_ERR_DATA, "no data set 'test/x'");
  expect_need("data: {file: good.h5}", 1u << DL_SPLIT_TEST, DL_ERR_DATA, "no data set 'test/x'");
  expect_need("data: {file: good.h5}", 1u << DL_SPLIT_VALID, DL_ERR_DATA, "no data set 'valid/x'");
  expect("data: {file: good.h5, train: {z: a}}", DL_ERR_USAGE, "c.yaml:2:|unknown key 'z'");
  expect("data: {file: good.h5, train: {x: 'train/x', y: [1]}}", DL_ERR_USAGE, "c.yaml:2:");
  expect("data: {file: {a: b}}", DL_ERR_USAGE, "c.yaml:2:|data.file must be");
  expect("data: {file: []}", DL_ERR_USAGE, "c.yaml:2:|empty list");
  expect("data: {file: [good.h5, good.h5]}", DL_ERR_USAGE, "c.yaml:2:|named twice");
  expect("seed: 1", DL_ERR_USAGE, "data.file is missing");
  expect("data: {file: good.h5, valid: 1.5}", DL_ERR_USAGE, "c.yaml:2:|fraction");
  expect("data: {file: good.h5, valid: -0.1}", DL_ERR_USAGE, "c.yaml:2:|fraction");
  expect("data: {file: good.h5, valid: half}", DL_ERR_USAGE, "c.yaml:2:");
  expect_need("data: {file: good.h5, valid: 0.1}", 1u << DL_SPLIT_VALID, DL_ERR_USAGE, "c.yaml:2:|no samples");
  expect("data: {file: good.h5, normalize: per_channel}", DL_ERR_USAGE, "c.yaml:2:|per_channel|per_feature");
}

/* A file with x (6, 2) and a y of the given kind, for a task. */
static void expect_y(const char *task, int dims, const hsize_t *dim, const double *y, const char *parts) {
  hid_t file = make_file("bad.h5");
  make_floats(file, "train/x", DIMS(6, 2), good_x);
  make_set(file, "train/y", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, dims, dim, H5P_DEFAULT, y);
  H5Fclose(file);
  char text[160];
  snprintf(text, sizeof text, "task: %s\ndata: {file: bad.h5}", task);
  expect(text, DL_ERR_DATA, parts);
}

static void test_targets_that_do_not_fit_the_task_are_named_with_their_row(void) {
  expect_y("classification", DIMS(5), (double[5]){0}, "bad.h5|'train/x' has 6 samples|'train/y' has 5");
  expect_y("classification", DIMS(6), (double[6]){0, 1, 2.5}, "'train/y' has 2.5 in row 2|whole");
  expect_y("classification", DIMS(6), (double[6]){0, 1, 2, -1}, "label -1 in row 3|start at 0");
  expect_y("classification", DIMS(6), (double[6]){0, 1, 2, 3, NAN}, "row 4");
  expect_y("classification", DIMS(6), (double[6]){0, INFINITY}, "row 1");
  expect_y("classification", DIMS(6), (double[6]){0, 1e12}, "row 1|below 1048576");
  expect_y("classification", DIMS(6, 2), (double[12]){1, 0, 0, 1, 1, 1}, "row 2 is not one-hot");
  expect_y("classification", DIMS(6, 2), (double[12]){1, 0, 0, 0}, "row 1 is not one-hot");
  expect_y("classification", DIMS(6, 2), (double[12]){1, 0, 0, 0.5}, "row 1 is not one-hot");
  expect_y("classification", DIMS(6, 2, 1), (double[12]){0}, "shape (6, 2, 1)|one-hot");
  expect_y("binary", DIMS(6), (double[6]){0, 1, 2}, "has 2 in row 2|binary wants 0 or 1");
  expect_y("binary", DIMS(6, 2), (double[12]){0}, "shape (6, 2)|one column");
  expect_y("multilabel", DIMS(6, 2), (double[12]){0, 1, 1, 0.5}, "has 0.5 in row 1|multilabel wants 0 or 1");
  expect_y("regression", DIMS(6), (double[6]){0, NAN}, "'train/y' has NaN in row 1");
  expect_y("regression", DIMS(6), (double[6]){0, 0, 1e300}, "infinite as float32 in row 2");
}

static void test_a_label_beyond_the_class_names_is_an_error_of_the_data(void) {
  int labels[6] = {0, 1, 9, 3, 10, 5};
  hid_t file = make_file("ten.h5"), type = H5Tcopy(H5T_C_S1);
  make_floats(file, "train/x", DIMS(6, 2), good_x);
  make_labels(file, "train/y", 6, labels);
  H5Tset_size(type, 2);
  make_set(file, "class_names", type, type, DIMS(10), H5P_DEFAULT, "0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0");
  H5Tclose(type);
  H5Fclose(file);
  expect("data: {file: ten.h5}", DL_ERR_DATA, "ten.h5|'train/y' has the label 10 in row 4|10 class names|0 to 9");
}

static void test_labels_are_held_against_a_models_outputs(void) {
  for (int part = 0; part < 2; part++) {
    int labels[6] = {0, 1, 9, 3, part ? 10 : 4, 5};
    hid_t file = make_file(part ? "outputs-1.h5" : "outputs-0.h5");
    make_floats(file, "train/x", DIMS(6, 2), good_x);
    make_labels(file, "train/y", 6, labels);
    H5Fclose(file);
  }
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: 'outputs-*.h5', valid: 0.3}", &data));
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, 11);
  DL_ASSERT_OK(dl_data_check_labels(data, 11));
  CU_ASSERT_EQUAL(dl_data_check_labels(data, 10), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->file, "outputs-1.h5"));
  CU_ASSERT_PTR_NOT_NULL(
      strstr(dl_error_last()->message, "'train/y' has the label 10 in row 4, but the model has 10 outputs"));
  dl_data_destroy(&data);
}

static void test_values_of_x_must_be_finite_numbers(void) {
  float x[12];
  memcpy(x, good_x, sizeof x);
  x[7] = NAN;
  hid_t file = make_file("nan.h5");
  make_floats(file, "train/x", DIMS(6, 2), x);
  make_labels(file, "train/y", 6, good_labels);
  double large[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1e60};
  make_set(file, "train/large", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(6, 2), H5P_DEFAULT, large);
  hid_t type = H5Tcopy(H5T_C_S1), pair = H5Tcreate(H5T_COMPOUND, 8);
  H5Tinsert(pair, "a", 0, H5T_NATIVE_FLOAT);
  make_set(file, "train/text", type, type, DIMS(6), H5P_DEFAULT, "abcdef");
  make_set(file, "train/pair", pair, pair, DIMS(6), H5P_DEFAULT, NULL);
  hid_t scalar = H5Screate(H5S_SCALAR);
  H5Dclose(H5Dcreate2(file, "train/one", H5T_IEEE_F32LE, scalar, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  make_floats(file, "train/none", DIMS(0, 2), NULL);
  make_floats(file, "train/flat", DIMS(6, 0), NULL);
  make_floats(file, "train/deep", DIMS(6, 1, 1, 1, 1, 1, 1), NULL);
  H5Sclose(scalar);
  H5Tclose(type);
  H5Tclose(pair);
  H5Fclose(file);
  expect("data: {file: nan.h5}", DL_ERR_DATA, "nan.h5|'train/x' has NaN in row 3");
  EXPECT_X("nan.h5", "train/large", "'train/large' has a value that is infinite as float32 in row 5");
  EXPECT_X("nan.h5", "train/text", "'train/text' is of type string");
  EXPECT_X("nan.h5", "train/pair", "'train/pair' is of type compound");
  EXPECT_X("nan.h5", "train/one", "'train/one' is a single value");
  EXPECT_X("nan.h5", "train/none", "'train/none' is empty: shape (0, 2)");
  EXPECT_X("nan.h5", "train/flat", "'train/flat' is empty: shape (6, 0)");
  EXPECT_X("nan.h5", "train/deep", "'train/deep' has 7 dimensions");
}

static void test_files_of_one_data_set_must_agree(void) {
  unsigned char bytes[12] = {0};
  make_good("a0.h5");
  make_with("a1.h5", "train/x", DIMS(6, 1), true);
  expect("data: {file: [a0.h5, a1.h5]}", DL_ERR_DATA, "a1.h5|shape (1,)|a0.h5|(2,)");
  hid_t file = make_file("a1.h5");
  make_set(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UCHAR, DIMS(6, 2), H5P_DEFAULT, bytes);
  make_labels(file, "train/y", 6, good_labels);
  H5Fclose(file);
  expect("data: {file: [a0.h5, a1.h5]}", DL_ERR_DATA, "a1.h5|type uint8|a0.h5|float32");
  make_with("a1.h5", "train/other", DIMS(6, 2), false);
  expect("data: {file: [a0.h5, a1.h5]}", DL_ERR_DATA, "a1.h5|no data set 'train/x'");
  make_with("a1.h5", "train/x", DIMS(6, 2), false);
  expect_need("data: {file: [a0.h5, a1.h5]}", 1u | DL_DATA_WITHOUT_Y, DL_ERR_DATA, "a1.h5|no data set 'train/y' here");
  make_with("a1.h5", "test/x", DIMS(6, 3), false);
  expect("data: {file: [a0.h5, a1.h5]}", DL_ERR_DATA, "a1.h5|'test/x'");
  make_good("b0.h5");
  make_good("b1.h5");
  expect_need("data: {file: [b0.h5, b1.h5]}", 1u << DL_SPLIT_TEST, DL_ERR_DATA, "none of the 2 data files|'test/x'");
}

static void test_nothing_leads_out_of_the_file(void) {
  make_good("target.h5");
  hid_t file = make_file("links.h5"), made = H5Pcreate(H5P_DATASET_CREATE),
        virtual_made = H5Pcreate(H5P_DATASET_CREATE);
  hid_t train = H5Gcreate2(file, "train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  make_labels(file, "train/y", 6, good_labels);
  H5Lcreate_external(test_path("target.h5"), "/train/x", train, "x", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external(test_path("target.h5"), "/train", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/train/x", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/nowhere", file, "dangling", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/loop", file, "loop", H5P_DEFAULT, H5P_DEFAULT);
  make_floats(file, "own", DIMS(6, 2), good_x);
  H5Lcreate_soft("/own", file, "inside", H5P_DEFAULT, H5P_DEFAULT);
  H5Pset_external(made, test_path("target.h5"), 0, H5F_UNLIMITED);
  make_set(file, "raw", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(6, 2), made, NULL);
  hid_t space = H5Screate_simple(DIMS(6, 2), NULL);
  H5Pset_virtual(virtual_made, space, test_path("target.h5"), "/train/x", space);
  make_set(file, "virtual", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(6, 2), virtual_made, NULL);
  H5Sclose(space);
  H5Pclose(made);
  H5Pclose(virtual_made);
  H5Gclose(train);
  H5Fclose(file);
  expect("data: {file: links.h5}", DL_ERR_DATA, "links.h5|'train/x' is a link into another file|target.h5");
  EXPECT_X("links.h5", "outside/x", "link into another file");
  EXPECT_X("links.h5", "soft", "link into another file");
  EXPECT_X("links.h5", "dangling", "links.h5");
  EXPECT_X("links.h5", "loop", "links.h5");
  EXPECT_X("links.h5", "raw", "external storage");
  EXPECT_X("links.h5", "virtual", "virtual");
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: links.h5, train: {x: inside}}", &data));
  dl_data_destroy(&data);
}

static size_t pass_filter(unsigned flags, size_t n, const unsigned values[], size_t bytes, size_t *size,
                          void **buffer) {
  (void)flags, (void)n, (void)values, (void)size, (void)buffer;
  return bytes;
}

static void test_a_filter_that_is_not_there_is_named(void) {
  const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, 32123, 1, 1, "strange", NULL, NULL, pass_filter};
  H5Zregister(&filter);
  hid_t made = H5Pcreate(H5P_DATASET_CREATE), file = make_file("filter.h5");
  H5Pset_chunk(made, 2, (hsize_t[]){3, 2});
  H5Pset_filter(made, 32123, 0, 0, NULL);
  make_set(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(6, 2), made, good_x);
  make_labels(file, "train/y", 6, good_labels);
  H5Pclose(made);
  H5Fclose(file);
  H5Zunregister(32123);
  expect("data: {file: filter.h5}", DL_ERR_DATA, "filter.h5|'train/x'|filter 32123 (strange)|HDF5_PLUGIN_PATH");
}

static void test_absurd_sizes_are_refused_before_memory_is_asked_for(void) {
  hid_t made = H5Pcreate(H5P_DATASET_CREATE), file = make_file("huge.h5");
  H5Pset_chunk(made, 2, (hsize_t[]){4, 1024});
  make_set(file, "train/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(1ull << 40, 1ull << 20), made, NULL);
  make_set(file, "train/wide", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(4, 1ull << 30), made, NULL);
  make_labels(file, "train/y", 6, good_labels);
  H5Pclose(made);
  H5Fclose(file);
  expect("data: {file: huge.h5}", DL_ERR_DATA, "huge.h5|'train/x' claims the shape (1099511627776, 1048576)");
  EXPECT_X("huge.h5", "train/wide", "'train/wide' claims the shape");
}

static void test_a_damaged_chunk_is_found_by_its_checksum(void) {
  hid_t made = H5Pcreate(H5P_DATASET_CREATE), file = make_file("sum.h5");
  H5Pset_chunk(made, 2, (hsize_t[]){6, 2});
  H5Pset_fletcher32(made);
  make_set(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(6, 2), made, good_x);
  make_labels(file, "train/y", 6, good_labels);
  H5Pclose(made);
  H5Fclose(file);
  flip_bit("sum.h5", good_x, 12 * sizeof good_x[0], 5);
  expect("data: {file: sum.h5}", DL_ERR_DATA,
         "sum.h5|'train/x' is damaged in rows 0 to 5|chunk at (0, 0)|Fletcher32 checksum is wrong|on_corrupt: "
         "skip|damaged");
}

/* HDF5 would convert them beyond its buffers. */
static void test_numbers_whose_bits_lie_beyond_their_bytes_are_refused(void) {
  const int x[6] = {1, 2, 3, 4, 5, 6}, y[6] = {0, 1, 0, 1, 0, 1};
  static const unsigned char plain[] = {0x10, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00};
  for (int bad = 0; bad < 2; bad++) {
    hid_t file = make_file("bits.h5");
    make_set(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(6), H5P_DEFAULT, x);
    make_labels(file, "train/y", 6, y);
    H5Fclose(file);
    /* Class and size of the type, its offset and precision: 8 bits, then 250 of them. */
    static char bytes[1 << 16];
    FILE *raw = fopen(test_path("bits.h5"), "rb");
    const size_t n = fread(bytes, 1, sizeof bytes, raw);
    fclose(raw);
    char *found = memmem(bytes, n, plain, sizeof plain);
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    if (bad) found[10] = (char)250;
    write_bytes("bits.h5", bytes, n);
    dl_data *data = NULL;
    CU_ASSERT_EQUAL(open_text("data: {file: bits.h5}", &data), bad ? DL_ERR_DATA : DL_OK);
    dl_data_destroy(&data);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_what_is_not_an_hdf5_file_is_named_for_what_it_is),
    DL_TEST(test_a_truncated_file_is_called_truncated),
    DL_TEST(test_a_file_that_may_not_be_read_says_so),
    DL_TEST(test_names_that_are_missing_or_wrong_are_named),
    DL_TEST(test_targets_that_do_not_fit_the_task_are_named_with_their_row),
    DL_TEST(test_a_label_beyond_the_class_names_is_an_error_of_the_data),
    DL_TEST(test_labels_are_held_against_a_models_outputs),
    DL_TEST(test_values_of_x_must_be_finite_numbers),
    DL_TEST(test_files_of_one_data_set_must_agree),
    DL_TEST(test_nothing_leads_out_of_the_file),
    DL_TEST(test_a_filter_that_is_not_there_is_named),
    DL_TEST(test_absurd_sizes_are_refused_before_memory_is_asked_for),
    DL_TEST(test_a_damaged_chunk_is_found_by_its_checksum),
    DL_TEST(test_numbers_whose_bits_lie_beyond_their_bytes_are_refused),
};
DL_TEST_MAIN("data errors", tests)

/* Importing IDX files, writing predictions, listing a file; and damaged input of all kinds. */
#include "make_h5.h"

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>
#include <zlib.h>

#include "core/file.h"
#include "data/import.h"

static unsigned random_state = 4711;
static unsigned next_random(void) { return (random_state = random_state * 1664525u + 1013904223u) >> 8; }

/* ---- IDX files ---- */

/* An IDX file in memory: header for `dims` dimensions, then the bytes. */
static size_t make_idx(unsigned char *out, int type, int dims, const unsigned *dim, const void *values, size_t bytes) {
  unsigned char *p = out;
  *p++ = 0, *p++ = 0, *p++ = (unsigned char)type, *p++ = (unsigned char)dims;
  for (int i = 0; i < dims; i++)
    for (int shift = 24; shift >= 0; shift -= 8) *p++ = (unsigned char)(dim[i] >> shift);
  memcpy(p, values, bytes);
  return (size_t)(p - out) + bytes;
}

static void write_plain(const char *name, const void *bytes, size_t n) {
  FILE *file = fopen(test_path(name), "wb");
  CU_ASSERT_EQUAL(fwrite(bytes, 1, n, file), n);
  fclose(file);
}
static void write_packed(const char *name, const void *bytes, size_t n) {
  gzFile file = gzopen(test_path(name), "wb");
  CU_ASSERT_EQUAL(gzwrite(file, bytes, (unsigned)n), (int)n);
  gzclose(file);
}

enum { N = 700, H = 28, W = 28, N_TEST = 5 };
static unsigned char images[N * H * W], labels[N], buffer[N * H * W + 64];

static void make_four(bool packed) {
  for (int i = 0; i < N * H * W; i++) images[i] = (unsigned char)next_random();
  for (int i = 0; i < N; i++) labels[i] = (unsigned char)(next_random() % 10);
  void (*write)(const char *, const void *, size_t) = packed ? write_packed : write_plain;
  write("images", buffer, make_idx(buffer, 8, 3, (unsigned[]){N, H, W}, images, sizeof images));
  write("labels", buffer, make_idx(buffer, 8, 1, (unsigned[]){N}, labels, sizeof labels));
  write("test-images", buffer, make_idx(buffer, 8, 3, (unsigned[]){N_TEST, H, W}, images + 99, N_TEST * H * W));
  write("test-labels", buffer, make_idx(buffer, 8, 1, (unsigned[]){N_TEST}, labels + 7, N_TEST));
}

static dl_status import_files(const char *const *names, int n, const char *output, bool force) {
  char paths[4][256];
  const char *inputs[4];
  for (int i = 0; i < n; i++) {
    snprintf(paths[i], sizeof paths[i], "%s", test_path(names[i]));
    inputs[i] = paths[i];
  }
  return dl_import("idx", inputs, n, NULL, 0, test_path(output), force);
}

static const char *const four[] = {"images", "labels", "test-images", "test-labels"};

static void check_set(hid_t file, const char *name, const unsigned char *want, int dims, const hsize_t *dim,
                      const hsize_t *want_chunk) {
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(set), made = H5Dget_create_plist(set),
        type = H5Dget_type(set);
  hsize_t got[3] = {0}, chunk[3] = {0}, n = 1;
  CU_ASSERT_EQUAL(H5Sget_simple_extent_dims(space, got, NULL), dims);
  H5Pget_chunk(made, 3, chunk);
  for (int i = 0; i < dims; i++) {
    CU_ASSERT_EQUAL(got[i], dim[i]);
    CU_ASSERT_EQUAL(chunk[i], want_chunk[i]);
    n *= dim[i];
  }
  CU_ASSERT_TRUE(H5Tequal(type, H5T_STD_U8LE) > 0);
  CU_ASSERT_EQUAL(H5Pget_nfilters(made), 1);
  unsigned flags;
  size_t n_values = 0;
  CU_ASSERT_EQUAL(H5Pget_filter2(made, 0, &flags, &n_values, NULL, 0, NULL, NULL), H5Z_FILTER_FLETCHER32);
  unsigned char *values = calloc(n, 1);
  H5Dread(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  CU_ASSERT_EQUAL(memcmp(values, want, n), 0);
  free(values);
  H5Tclose(type);
  H5Pclose(made);
  H5Sclose(space);
  H5Dclose(set);
}

static void test_idx_files_arrive_byte_for_byte_plain_or_packed(void) {
  for (int packed = 0; packed < 2; packed++) {
    make_four(packed);
    DL_ASSERT_OK(import_files(four, 4, "out.h5", packed));
    hid_t file = H5Fopen(test_path("out.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    check_set(file, "train/x", images, DIMS(N, H, W), (hsize_t[]){335, H, W}); /* 256 KiB in whole rows */
    check_set(file, "train/y", labels, DIMS(N), (hsize_t[]){N});
    check_set(file, "test/x", images + 99, DIMS(N_TEST, H, W), (hsize_t[]){N_TEST, H, W});
    check_set(file, "test/y", labels + 7, DIMS(N_TEST), (hsize_t[]){N_TEST});
    H5Fclose(file);
    dl_data *data;
    DL_ASSERT_OK(open_text("data: {file: out.h5}", &data));
    CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TEST), N_TEST);
    CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, 10);
    dl_data_destroy(&data);
  }
}

static void test_two_inputs_make_a_file_without_test(void) {
  make_four(false);
  DL_ASSERT_OK(import_files(four, 2, "two.h5", false));
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: two.h5}", &data));
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN), N);
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TEST), 0);
  dl_data_destroy(&data);
}

static void test_wide_idx_types_keep_their_values(void) {
  const unsigned char shorts[8] = {0x80, 0, 0xff, 0xfe, 0, 1, 0x7f, 0xff}; /* -32768, -2, 1, 32767 */
  const unsigned char doubles[32] = {0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0,    0,
                                     0,    0,    0, 0, 0, 0, 0, 0, 0,    0, 0, 0x40, 0x59}; /* 1.5, -2, 0, 100 */
  const unsigned char y[4] = {0, 1, 1, 0};
  const double want[2][4] = {{-32768, -2, 1, 32767}, {1.5, -2, 0, 100}};
  write_plain("y", buffer, make_idx(buffer, 8, 1, (unsigned[]){4}, y, 4));
  for (int k = 0; k < 2; k++) {
    write_plain("x", buffer,
                make_idx(buffer, k ? 0x0e : 0x0b, 2, (unsigned[]){4, 1}, k ? doubles : shorts, k ? 32 : 8));
    DL_ASSERT_OK(import_files((const char *const[]){"x", "y"}, 2, "wide.h5", true));
    dl_data *data;
    DL_ASSERT_OK(open_text("data: {file: wide.h5, normalize: none}", &data));
    float *x = read_x(data, DL_SPLIT_TRAIN);
    for (int i = 0; i < 4; i++) CU_ASSERT_EQUAL(x[i], (float)want[k][i]);
    free(x);
    dl_data_destroy(&data);
  }
}

static int files_like(const char *part) {
  DIR *folder = opendir(test_folder);
  int n = 0;
  for (struct dirent *entry; (entry = readdir(folder));) n += strstr(entry->d_name, part) != NULL;
  closedir(folder);
  return n;
}

static void expect_import(const char *images_, const char *labels_, dl_status status, const char *part) {
  unlink(test_path("never.h5"));
  CU_ASSERT_EQUAL(import_files((const char *const[]){images_, labels_}, 2, "never.h5", false), status);
  char whole[1024];
  dl_error_format(dl_error_last(), whole, sizeof whole);
  bool there = strstr(whole, part) != NULL;
  if (!there) fprintf(stderr, "says: %s\nwithout: %s\n", whole, part);
  CU_ASSERT_TRUE(there);
  CU_ASSERT_FALSE(dl_path_exists(test_path("never.h5")));
  CU_ASSERT_EQUAL(files_like(".tmp"), 0);
}

static void test_idx_files_that_are_wrong_are_named_and_leave_nothing_behind(void) {
  make_four(false);
  size_t n = make_idx(buffer, 8, 3, (unsigned[]){N, H, W}, images, sizeof images);
  expect_import("labels", "images", DL_ERR_DATA, "wrong way round");
  expect_import("images", "test-labels", DL_ERR_DATA, "700 images");
  expect_import("images", "test-images", DL_ERR_DATA, "labels (1) are wanted");
  expect_import("images", "absent", DL_ERR_DATA, "absent");
  write_plain("short", buffer, n - 1);
  expect_import("short", "labels", DL_ERR_DATA,
                "short: the IDX file is truncated: it has 548815 bytes, its header asks for 548816");
  write_packed("short", buffer, n - 1);
  expect_import("short", "labels", DL_ERR_DATA, "ends within its values");
  write_plain("head", buffer, 9);
  expect_import("head", "labels", DL_ERR_DATA, "ends within its header");
  buffer[n] = 1;
  write_plain("long", buffer, n + 1);
  expect_import("long", "labels", DL_ERR_DATA, "1 bytes more");
  write_packed("long", buffer, n + 1);
  expect_import("long", "labels", DL_ERR_DATA, "more bytes than its header");
  write_plain("huge", buffer, make_idx(buffer, 8, 3, (unsigned[]){0xffffffff, 0xffffffff, 0xffffffff}, images, 99));
  expect_import("huge", "labels", DL_ERR_DATA, "absurd");
  write_plain("huge", buffer, make_idx(buffer, 8, 3, (unsigned[]){N, 60000, 60000}, images, 99));
  expect_import("huge", "labels", DL_ERR_DATA, "absurd");
  write_packed("huge", buffer, make_idx(buffer, 8, 2, (unsigned[]){N, 60000000}, images, 99));
  expect_import("huge", "labels", DL_ERR_DATA, "truncated");
  write_plain("zero", buffer, make_idx(buffer, 8, 3, (unsigned[]){0, H, W}, images, 0));
  expect_import("zero", "labels", DL_ERR_DATA, "is empty");
  write_plain("other", "PK\3\4 and more", 13);
  expect_import("other", "labels", DL_ERR_DATA, "not an IDX file");
  mkdir(test_path("dir"), 0755);
  expect_import("dir", "labels", DL_ERR_DATA, "is a directory");
}

static void test_a_damaged_gzip_stream_is_found_by_its_checksum(void) {
  make_four(true);
  char bytes[1 << 20];
  FILE *file = fopen(test_path("labels"), "rb");
  size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  bytes[n - 6] ^= 1; /* of the CRC */
  write_plain("crc", bytes, n);
  expect_import("images", "crc", DL_ERR_DATA, "damaged");
  write_plain("crc", bytes, n - 4);
  expect_import("images", "crc", DL_ERR_DATA, "gzip stream");
}

static void test_an_existing_file_is_replaced_only_by_force(void) {
  make_four(false);
  write_plain("kept.h5", "precious", 8);
  CU_ASSERT_EQUAL(import_files(four, 2, "kept.h5", false), DL_ERR_USAGE);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->hint, "--force"));
  char *text;
  DL_ASSERT_OK(dl_file_read(test_path("kept.h5"), 100, DL_ERR_SYSTEM, &text, NULL));
  CU_ASSERT_STRING_EQUAL(text, "precious");
  free(text);
  DL_ASSERT_OK(import_files(four, 2, "kept.h5", true));
  CU_ASSERT_EQUAL(H5Fis_hdf5(test_path("kept.h5")), 1);
  CU_ASSERT_EQUAL(import_files((const char *const[]){"images", "absent"}, 2, "kept.h5", true), DL_ERR_DATA);
  CU_ASSERT_EQUAL(H5Fis_hdf5(test_path("kept.h5")), 1); /* a failed import leaves the old one */
  CU_ASSERT_EQUAL(import_files(four, 2, "dir2/none/x.h5", true), DL_ERR_SYSTEM);
  CU_ASSERT_EQUAL(import_files(four, 3, "three.h5", true), DL_ERR_USAGE);
  const char *one = "images";
  CU_ASSERT_EQUAL(dl_import("idy", &one, 1, NULL, 0, test_path("x.h5"), false), DL_ERR_USAGE);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->hint, "idx"));
  CU_ASSERT_EQUAL(dl_import("idx", &one, 1, NULL, 0, test_path("x.h5"), false), DL_ERR_USAGE);
  CU_ASSERT_EQUAL(files_like(".tmp"), 0);
}

static void test_the_same_input_makes_the_same_bytes(void) {
  make_four(false);
  char *bytes[2];
  size_t n[2];
  for (int k = 0; k < 2; k++) {
    DL_ASSERT_OK(import_files(four, 4, "again.h5", true));
    DL_ASSERT_OK(dl_file_read(test_path("again.h5"), 1 << 22, DL_ERR_SYSTEM, &bytes[k], &n[k]));
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 100000000}, NULL); /* times are kept in seconds */
  }
  CU_ASSERT_EQUAL(n[0], n[1]);
  CU_ASSERT_EQUAL(memcmp(bytes[0], bytes[1], n[0]), 0);
  free(bytes[0]);
  free(bytes[1]);
}

/* ---- predictions and listing ---- */

static void test_predictions_read_back_and_are_listed(void) {
  float scores[6] = {0.1f, 0.9f, 0.5f, 0.5f, 1, 0}, got[6];
  int64_t guesses[3] = {1, 0, 0}, truth[3] = {1, 1, 0}, got_labels[3];
  dl_predictions_form form = {.rows = 3, .outputs = 2, .label_columns = 1, .y = DL_PREDICTED_Y_LABELS};
  const dl_predictions first = {.scores = scores, .labels = guesses, .y_labels = truth},
                       rest = {.scores = scores + 2, .labels = guesses + 1, .y_labels = truth + 1};
  dl_predictions_file *out;
  DL_ASSERT_OK(dl_predictions_begin(test_path("p.h5"), &form, &out));
  DL_ASSERT_OK(dl_predictions_put(out, 1, 2, &rest)); /* in any order */
  DL_ASSERT_OK(dl_predictions_put(out, 0, 1, &first));
  CU_ASSERT(access(test_path("p.h5"), F_OK) != 0);
  DL_ASSERT_OK(dl_predictions_end(&out, DL_OK));
  hid_t file = H5Fopen(test_path("p.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  struct {
    const char *name;
    hid_t type;
    void *to;
    const void *want;
    size_t bytes;
  } sets[] = {{"scores", H5T_NATIVE_FLOAT, got, scores, sizeof scores},
              {"labels", H5T_NATIVE_INT64, got_labels, guesses, sizeof guesses},
              {"y", H5T_NATIVE_INT64, got_labels, truth, sizeof truth}};
  for (int i = 0; i < 3; i++) {
    hid_t set = H5Dopen2(file, sets[i].name, H5P_DEFAULT);
    CU_ASSERT_TRUE(H5Dread(set, sets[i].type, H5S_ALL, H5S_ALL, H5P_DEFAULT, sets[i].to) >= 0);
    CU_ASSERT_EQUAL(memcmp(sets[i].to, sets[i].want, sets[i].bytes), 0);
    H5Dclose(set);
  }
  H5Fclose(file);
  char *text;
  DL_ASSERT_OK(dl_data_info(test_path("p.h5"), &text));
  CU_ASSERT_STRING_EQUAL(text,
                         "labels   int64     (3,)     contiguous   24 B\n"
                         "scores   float32   (3, 2)   contiguous   24 B\n"
                         "y        int64     (3,)     contiguous   24 B\n");
  free(text);
  const dl_predictions values = {.scores = scores, .y = scores};
  form = (dl_predictions_form){.rows = 3, .outputs = 2, .y_size = 2, .y = DL_PREDICTED_Y_VALUES};
  DL_ASSERT_OK(dl_predictions_begin(test_path("p.h5"), &form, &out));
  DL_ASSERT_OK(dl_predictions_put(out, 0, 3, &values));
  DL_ASSERT_OK(dl_predictions_end(&out, DL_OK));
  DL_ASSERT_OK(dl_data_info(test_path("p.h5"), &text));
  CU_ASSERT_STRING_EQUAL(text,
                         "scores   float32   (3, 2)   contiguous   24 B\n"
                         "y        float32   (3, 2)   contiguous   24 B\n");
  free(text);
  CU_ASSERT_EQUAL(dl_predictions_begin("/nonexistent/folder/p.h5", &form, &out), DL_ERR_SYSTEM);
  CU_ASSERT_PTR_NULL(out);
  DL_ASSERT_OK(dl_predictions_begin(test_path("gone.h5"), &form, &out));
  CU_ASSERT_EQUAL(dl_predictions_end(&out, DL_ERR_DATA), DL_ERR_DATA);
  CU_ASSERT(access(test_path("gone.h5"), F_OK) != 0);
}

static void test_an_imported_file_is_listed_with_chunks_and_checksums(void) {
  make_four(false);
  DL_ASSERT_OK(import_files(four, 2, "list.h5", true));
  hid_t file = H5Fopen(test_path("list.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Lcreate_external("other.h5", "/a", file, "away", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/train/x", file, "near", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  char *text;
  DL_ASSERT_OK(dl_data_info(test_path("list.h5"), &text));
  CU_ASSERT_STRING_EQUAL(text,
                         "away      external link                   -> other.h5:/a\n"
                         "near      soft link                       -> /train/x\n"
                         "train/x   uint8           (700, 28, 28)   chunks (335, 28, 28)  fletcher32   787.9 kB\n"
                         "train/y   uint8           (700,)          chunks (700,)  fletcher32          704 B\n");
  free(text);
  CU_ASSERT_EQUAL(dl_data_info(test_path("absent.h5"), &text), DL_ERR_DATA);
}

/* ---- damage ---- */

/* Cuts the file short or changes some of its bytes; returns its new length. */
static size_t damage(unsigned char *bytes, size_t n) {
  unsigned kind = next_random() % 4;
  if (kind == 0) return next_random() % n;
  for (unsigned i = 0; i <= next_random() % 4; i++) {
    size_t at = next_random() % (kind == 1 ? n < 64 ? n : 64 : n);
    bytes[at] = (unsigned char)(kind == 2 ? bytes[at] ^ (1u << next_random() % 8) : next_random());
  }
  return n;
}

static void test_damaged_idx_files_end_in_a_status(void) {
  unsigned char whole[4096], bytes[4096], values[300];
  for (int i = 0; i < 300; i++) values[i] = (unsigned char)(i * 31);
  write_plain("fy", whole, make_idx(whole, 8, 1, (unsigned[]){12}, values, 12));
  int failed = 0, passed = 0;
  for (int round = 0; round < 1500; round++) {
    size_t n = make_idx(whole, 8, 3, (unsigned[]){12, 5, 5}, values, 300);
    bool packed = round & 1;
    if (packed) {
      write_packed("fx", whole, n);
      FILE *file = fopen(test_path("fx"), "rb");
      n = fread(whole, 1, sizeof whole, file);
      fclose(file);
    }
    memcpy(bytes, whole, n);
    n = damage(bytes, n);
    write_plain("fx", bytes, n);
    dl_status status = import_files((const char *const[]){"fx", "fy"}, 2, "fz.h5", true);
    CU_ASSERT_TRUE(status == DL_OK || status == DL_ERR_DATA);
    if (status == DL_OK)
      passed++;
    else
      failed++;
  }
  CU_ASSERT_TRUE(failed > 700 && passed > 100);
  CU_ASSERT_EQUAL(files_like(".tmp"), 0);
}

static const dl_test tests[] = {
    DL_TEST(test_idx_files_arrive_byte_for_byte_plain_or_packed),
    DL_TEST(test_two_inputs_make_a_file_without_test),
    DL_TEST(test_wide_idx_types_keep_their_values),
    DL_TEST(test_idx_files_that_are_wrong_are_named_and_leave_nothing_behind),
    DL_TEST(test_a_damaged_gzip_stream_is_found_by_its_checksum),
    DL_TEST(test_an_existing_file_is_replaced_only_by_force),
    DL_TEST(test_the_same_input_makes_the_same_bytes),
    DL_TEST(test_predictions_read_back_and_are_listed),
    DL_TEST(test_an_imported_file_is_listed_with_chunks_and_checksums),
    DL_TEST(test_damaged_idx_files_end_in_a_status),
};
DL_TEST_MAIN("data import", tests)

/* Importing arrays of numpy, files of FANN and folders of pictures, against what numpy and Pillow say they hold
 * (tests/golden/make_import.py); and what is damaged or does not fit. */
#include "import_fixture.h"

#include <math.h>
#include <sys/stat.h>

#include "core/file.h"
#include "data/image_file.h"
#include "data/import.h"
#include "golden/import_golden.h"

static dl_status import(const char *format, int n, const char *const *inputs) {
  return dl_import(format, inputs, n, NULL, 0, test_path("out.h5"), true);
}

static void expect_values(const char *name, size_t n, const double *want) {
  hid_t file = H5Fopen(test_path("out.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT),
        space = H5Dget_space(set);
  CU_ASSERT_EQUAL((size_t)H5Sget_simple_extent_npoints(space), n);
  double *got = calloc(n + 1, sizeof *got);
  if ((size_t)H5Sget_simple_extent_npoints(space) == n)
    H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, got);
  for (size_t i = 0; i < n; i++) CU_ASSERT_EQUAL(got[i], want[i]);
  free(got);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(file);
}

static void expect_error(const char *format, int n, const char *const *inputs, const char *part) {
  unlink(test_path("out.h5"));
  CU_ASSERT_EQUAL(import(format, n, inputs), DL_ERR_DATA);
  expect_refused(part);
}

/* ---- numpy ---- */

static const double five[] = {0, 1, 2, 3, 4};

static void test_arrays_of_every_type_order_and_layout_arrive(void) {
  write_bytes("y.npy", labels_npy, sizeof labels_npy);
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
    write_bytes("x.npy", arrays[i].bytes, arrays[i].n);
    DL_ASSERT_OK(import("npy", 2, (const char *const[]){keep("x.npy"), keep("y.npy")}));
    expect_values("train/x", 30, arrays[i].values);
    expect_values("train/y", 5, five);
  }
}

static void test_archives_stored_or_packed_arrive_with_their_test_split(void) {
  for (int packed = 0; packed < 2; packed++) {
    write_bytes("a.npz", packed ? packed_npz : stored_npz, packed ? sizeof packed_npz : sizeof stored_npz);
    DL_ASSERT_OK(import("npz", 1, (const char *const[]){keep("a.npz")}));
    expect_values("train/x", 80, npz_train);
    expect_values("train/y", 5, five);
    expect_values("test/x", 32, npz_test);
    expect_values("test/y", 2, five);
  }
}

static void test_arrays_that_are_wrong_are_named(void) {
  unsigned char bytes[sizeof array_0 + 1];
  const char *const both[] = {keep("x.npy"), keep("y.npy")}, *const four[] = {both[0], both[1], both[1], both[1]};
  write_bytes("y.npy", labels_npy, sizeof labels_npy);
  write_bytes("x.npy", array_0, sizeof array_0 - 1);
  expect_error("npy", 2, both, "x.npy: is truncated: it has 29 bytes of values, its header asks for 30");
  memcpy(bytes, array_0, sizeof array_0);
  write_bytes("x.npy", bytes, sizeof bytes);
  expect_error("npy", 2, both, "it has 31 bytes of values");
  write_bytes("x.npy", array_0, 50);
  expect_error("npy", 2, both, "ends within its header");
  write_bytes("x.npy", structured_npy, sizeof structured_npy);
  expect_error("npy", 2, both, "structured type");
  write_bytes("x.npy", complex_npy, sizeof complex_npy);
  expect_error("npy", 2, both, "is of type '<c8'");
  write_text("x.npy", "no numpy");
  expect_error("npy", 2, both, "x.npy");
  write_bytes("x.npy", array_0, sizeof array_0);
  expect_error("npy", 4, four, "has another shape or type than");
}

static void test_archives_that_are_wrong_are_named(void) {
  static unsigned char bytes[sizeof packed_npz];
  const char *const one[] = {keep("a.npz")};
  write_bytes("a.npz", packed_npz, sizeof packed_npz - 30);
  expect_error("npz", 1, one, "no directory at its end");
  memcpy(bytes, packed_npz, sizeof bytes);
  int found = 0;
  for (size_t at = 60; at < 140; at++) { /* somewhere in the packed values of the first member */
    bytes[at] ^= 0x10;
    write_bytes("a.npz", bytes, sizeof bytes);
    unlink(test_path("out.h5"));
    const dl_status status = import("npz", 1, one);
    CU_ASSERT_TRUE(status == DL_ERR_DATA || status == DL_OK);
    found += status == DL_ERR_DATA;
    bytes[at] ^= 0x10;
  }
  CU_ASSERT_TRUE(found > 60); /* all but what stands in no way: the local header's name, time, extra field */
  write_text("a.npz", "PK\5\6 and no more than that");
  expect_error("npz", 1, one, "a.npz");
}

/* ---- FANN ---- */

static void test_files_of_fann_arrive_with_their_test_file(void) {
  const char *const both[] = {keep("a.train"), keep("a.test")};
  write_text("a.train", "3 2 1\n0.5 1\n0\n-1e-3 2\n1\n3 4\n0 \n");
  write_text("a.test", "1 2 1\n9\n8\n 7");
  DL_ASSERT_OK(import("fann", 2, both));
  expect_values("train/x", 6, (double[]){0.5, 1, -1e-3f, 2, 3, 4});
  expect_values("train/y", 3, (double[]){0, 1, 0});
  expect_values("test/x", 2, (double[]){9, 8});
  expect_values("test/y", 1, (double[]){7});
  const char *const wrong[][2] = {{"3 2 1\n0 1\n0\n", "is truncated"},
                                  {"1 1 1\n1\n2\n3\n", "goes on after the 1 pairs"},
                                  {"1 1 1\n1\nx\n", "a.train:3:1: 'x' is no number"},
                                  {"0 1 1\n", "cannot be the number"},
                                  {"99999999 9 9\n1\n", "promises 99999999 pairs"},
                                  {"", "is truncated"},
                                  {"1 2 2\n1 2 3 4\n", "but '"}};
  for (int i = 0; i < 7; i++) {
    write_text("a.train", wrong[i][0]);
    expect_error("fann", i < 6 ? 1 : 2, both, wrong[i][1]);
  }
}

/* ---- pictures ---- */

static int most_apart(const unsigned char *a, const unsigned char *b, size_t n) {
  int most = 0;
  for (size_t i = 0; i < n; i++) most = abs(a[i] - b[i]) > most ? abs(a[i] - b[i]) : most;
  return most;
}

static void test_pictures_are_those_of_pillow_at_any_size(void) {
  static const int sizes[3][2] = {{11, 17}, {5, 6}, {20, 19}};
  unsigned char got[3 * 20 * 19];
  for (size_t i = 0; i < sizeof pictures / sizeof pictures[0]; i++) {
    dl_picture picture;
    write_bytes("p", pictures[i].bytes, pictures[i].n);
    DL_ASSERT_OK(dl_picture_read(test_path("p"), &picture));
    CU_ASSERT_TRUE(picture.height == 11 && picture.width == 17);
    for (int k = 0; k < 3; k++) {
      const size_t n = 3 * (size_t)sizes[k][0] * (size_t)sizes[k][1];
      DL_ASSERT_OK(dl_picture_fit(&picture, sizes[k][0], sizes[k][1], 3, got));
      const int apart = most_apart(got, pictures[i].fit[k], n);
      if (apart > (k > 0)) fprintf(stderr, "%s at size %d: %d apart\n", pictures[i].name, k, apart);
      CU_ASSERT_TRUE(apart <= (k > 0)); /* Pillow weighs in whole numbers */
    }
    DL_ASSERT_OK(dl_picture_fit(&picture, 11, 17, 1, got));
    CU_ASSERT_EQUAL(most_apart(got, pictures[i].luma, 11 * 17), 0);
    dl_picture_clear(&picture);
  }
}

static void make_gallery(const char *root) {
  static const char *const classes[] = {"cat", "ant", "bee"};
  char path[32], name[48];
  mkdir(test_path(root), 0755);
  for (int c = 0; c < 3; c++) {
    snprintf(path, sizeof path, "%s/%s", root, classes[c]);
    mkdir(test_path(path), 0755);
    for (int i = 0; i < 8; i++) {
      snprintf(name, sizeof name, "%s/%s/%d.%s", root, classes[c], i, i < 5 ? "png" : "JPG");
      write_bytes(name, pictures[i].bytes, pictures[i].n);
    }
  }
  snprintf(name, sizeof name, "%s/cat/notes.txt", root);
  write_text(name, "no picture");
}

typedef struct gallery_run {
  const char *folder, *output;
  dl_status status;
} gallery_run;

static void import_gallery(dl_team *team, void *context) {
  gallery_run *run = context;
  const dl_import_setting settings[] = {{"size", "6x7"}, {"test-fraction", "0.25"}, {"seed", "3"}};
  dl_status status = dl_import_on(team, "images", &run->folder, 1, settings, 3, run->output, true, NULL);
  if (team->rank == 0) run->status = status;
}

static void test_folders_of_pictures_make_the_same_bytes_at_any_number_of_members(void) {
  char *bytes[3];
  size_t n[3];
  make_gallery("zoo");
  for (int k = 0; k < 3; k++) {
    gallery_run run = {keep("zoo"), keep("zoo.h5"), DL_ERR_INTERNAL};
    test_crowd_run((const int[]){1, 2, 5}[k], 5, false, import_gallery, &run);
    DL_ASSERT_OK(run.status);
    DL_ASSERT_OK(dl_file_read(run.output, 1 << 22, DL_ERR_DATA, &bytes[k], &n[k]));
    CU_ASSERT_TRUE(n[k] == n[0] && !memcmp(bytes[k], bytes[0], n[0]));
  }
  for (int k = 0; k < 3; k++) free(bytes[k]);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: zoo.h5}", &data));
  int names;
  const char *const *name = dl_data_class_names(data, &names);
  CU_ASSERT_EQUAL(names, 3);
  CU_ASSERT_TRUE(names == 3 && !strcmp(name[0], "ant") && !strcmp(name[2], "cat"));
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN), 18);
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TEST), 6);
  int32_t *labels = read_labels(data, DL_SPLIT_TEST);
  for (int i = 0; i < 6; i++) CU_ASSERT_EQUAL(labels[i], i / 2); /* of each class its share, in order of names */
  free(labels);
  dl_data_destroy(&data);
}

static void test_folders_that_are_wrong_are_named(void) {
  const char *const bad[] = {keep("bad")};
  make_gallery("bad");
  DL_ASSERT_OK(import("images", 1, bad));
  write_bytes("bad/ant/9.png", picture_rgb, sizeof picture_rgb / 2);
  expect_error("images", 1, bad, "bad/ant/9.png: damaged PNG file");
  write_bytes("bad/ant/9.png", picture_jpeg, sizeof picture_jpeg / 2);
  expect_error("images", 1, bad, "bad/ant/9.png: damaged JPEG file: Premature end");
  write_text("bad/ant/9.png", "GIF89a and more");
  expect_error("images", 1, bad, "neither a PNG nor a JPEG");
  unlink(test_path("bad/ant/9.png"));
  mkdir(test_path("bad/empty"), 0755);
  expect_error("images", 1, bad, "bad/empty: holds no .png, .jpg or .jpeg file");
  mkdir(test_path("none"), 0755);
  expect_error("images", 1, (const char *const[]){keep("none")}, "holds no folder of pictures");
  expect_error("images", 1, (const char *const[]){keep("nowhere")}, "there is no such folder");
}

static void test_damaged_pictures_end_in_a_status(void) {
  static unsigned char bytes[8192];
  unsigned state = 7;
  int failed = 0;
  for (int round = 0; round < 2000; round++) {
    const size_t k = (size_t)round % (sizeof pictures / sizeof pictures[0]), n = pictures[k].n;
    memcpy(bytes, pictures[k].bytes, n);
    for (int i = 0; i < 3; i++) {
      state = state * 1664525u + 1013904223u;
      bytes[(state >> 8) % n] ^= (unsigned char)(1u << (state >> 28 & 7));
    }
    dl_picture picture;
    write_bytes("p", bytes, n);
    const dl_status status = dl_picture_read(test_path("p"), &picture);
    CU_ASSERT_TRUE(status == DL_OK || status == DL_ERR_DATA);
    failed += status != DL_OK;
    dl_picture_clear(&picture);
  }
  CU_ASSERT_TRUE(failed > 500);
}

static const dl_test tests[] = {
    DL_TEST(test_arrays_of_every_type_order_and_layout_arrive),
    DL_TEST(test_archives_stored_or_packed_arrive_with_their_test_split),
    DL_TEST(test_arrays_that_are_wrong_are_named),
    DL_TEST(test_archives_that_are_wrong_are_named),
    DL_TEST(test_files_of_fann_arrive_with_their_test_file),
    DL_TEST(test_pictures_are_those_of_pillow_at_any_size),
    DL_TEST(test_folders_of_pictures_make_the_same_bytes_at_any_number_of_members),
    DL_TEST(test_folders_that_are_wrong_are_named),
    DL_TEST(test_damaged_pictures_end_in_a_status),
};
DL_TEST_MAIN("import arrays", tests)

/* test_import_cifar10.c - the binary version of CIFAR-10: records of any number, and what is wrong with them. */
#include "make_h5.h"

#include <sys/stat.h>

#include "core/file.h"
#include "data/import.h"

enum { RECORD = 3073, MOST = 300 };
static unsigned char records[MOST * RECORD];

static void make_records(int n, unsigned seed) {
  for (int i = 0; i < n * RECORD; i++) {
    seed = seed * 1664525u + 1013904223u;
    records[i] = i % RECORD ? (unsigned char)(seed >> 24) : (unsigned char)((seed >> 24) % 10);
  }
}

static void write_file(const char *name, size_t bytes) {
  FILE *file = fopen(test_path(name), "wb");
  CU_ASSERT_EQUAL_FATAL(file != NULL, 1);
  CU_ASSERT_EQUAL(fwrite(records, 1, bytes, file), bytes);
  fclose(file);
}

static dl_status import_folder(const char *folder, const char *output) {
  const char *inputs[] = {test_path(folder)};
  return dl_import("cifar10", inputs, 1, NULL, 0, test_path(output), true);
}

/* Rows of `name` from `first` on against the records of `seed`: labels or images. */
static void check_rows(hid_t file, const char *name, int first, int n, int all, unsigned seed, int label) {
  const hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(set);
  hsize_t dim[4] = {0};
  const int row = label ? 1 : RECORD - 1;
  static unsigned char values[2 * MOST * RECORD];
  CU_ASSERT_EQUAL(H5Sget_simple_extent_dims(space, dim, NULL), label ? 1 : 4);
  CU_ASSERT_EQUAL((int)dim[0], all);
  if (!label) CU_ASSERT(dim[1] == 3 && dim[2] == 32 && dim[3] == 32);
  CU_ASSERT(H5Dread(set, H5T_NATIVE_UCHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  make_records(n, seed);
  int wrong = 0;
  for (int i = 0; i < n; i++)
    wrong += memcmp(values + (first + i) * row, records + i * RECORD + (label ? 0 : 1), (size_t)row) != 0;
  CU_ASSERT_EQUAL(wrong, 0);
  H5Sclose(space);
  H5Dclose(set);
}

static void test_batches_of_any_number_of_records_arrive_in_order(void) {
  mkdir(test_path("batches"), 0700);
  make_records(MOST, 1);
  write_file("batches/data_batch_1.bin", MOST * RECORD);
  make_records(7, 2);
  write_file("batches/data_batch_2.bin", 7 * RECORD);
  make_records(3, 3);
  write_file("batches/test_batch.bin", 3 * RECORD);
  DL_ASSERT_OK(import_folder("batches", "batches.h5"));
  const hid_t file = H5Fopen(test_path("batches.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  for (int label = 0; label < 2; label++) {
    const char *train = label ? "train/y" : "train/x";
    check_rows(file, train, 0, MOST, MOST + 7, 1, label);
    check_rows(file, train, MOST, 7, MOST + 7, 2, label);
    check_rows(file, label ? "test/y" : "test/x", 0, 3, 3, 3, label);
  }
  const hid_t set = H5Dopen2(file, "class_names", H5P_DEFAULT), type = H5Dget_type(set);
  char names[10][10]; /* as wide as the longest, automobile */
  CU_ASSERT_EQUAL_FATAL(H5Tget_size(type), 10);
  CU_ASSERT(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, names) >= 0);
  CU_ASSERT_STRING_EQUAL(names[0], "airplane");
  CU_ASSERT_STRING_EQUAL(names[9], "truck");
  CU_ASSERT_EQUAL(memcmp(names[1], "automobile", 10), 0);
  H5Tclose(type);
  H5Dclose(set);
  H5Fclose(file);
}

static void test_a_folder_without_a_test_batch_makes_a_file_without_test(void) {
  mkdir(test_path("only"), 0700);
  make_records(5, 4);
  write_file("only/data_batch_1.bin", 5 * RECORD);
  DL_ASSERT_OK(import_folder("only", "only.h5"));
  const hid_t file = H5Fopen(test_path("only.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
  CU_ASSERT(H5Lexists(file, "train", H5P_DEFAULT) > 0);
  CU_ASSERT_EQUAL(H5Lexists(file, "test", H5P_DEFAULT), 0);
  H5Fclose(file);
}

static void check_refused(const char *folder, const char *message) {
  char got[1400], want[512], full[256];
  snprintf(full, sizeof full, "%s", test_path(folder));
  snprintf(want, sizeof want, "%s%s", full, message);
  CU_ASSERT_EQUAL(import_folder(folder, "refused.h5"), DL_ERR_DATA);
  dl_error_format(dl_error_last(), got, sizeof got);
  CU_ASSERT_STRING_EQUAL(got, want);
  if (strcmp(got, want)) fprintf(stderr, "%s\n", got);
  CU_ASSERT_FALSE(dl_path_exists(test_path("refused.h5")));
}

static void test_what_is_wrong_is_named_and_leaves_nothing_behind(void) {
  check_refused("nowhere", ": cannot be opened: there is no such folder");
  make_records(4, 5);
  write_file("file", 4 * RECORD);
  check_refused("file", ": is a file where the folder of data_batch_1.bin is wanted");
  mkdir(test_path("wrong"), 0700);
  check_refused("wrong",
                ": holds no data_batch_1.bin (unpack cifar-10-binary.tar.gz and name the folder "
                "cifar-10-batches-bin)");
  write_file("wrong/data_batch_1.bin", 4 * RECORD - 1);
  check_refused("wrong",
                "/data_batch_1.bin: has 12291 bytes: that is no whole number of records of 3073 bytes (it is "
                "truncated, or not from the binary version of CIFAR-10 (cifar-10-binary.tar.gz))");
  write_file("wrong/data_batch_1.bin", 4 * RECORD);
  write_file("wrong/data_batch_3.bin", 4 * RECORD);
  check_refused("wrong", ": data_batch_2.bin is missing, but data_batch_3.bin is there");
  records[2 * RECORD] = 10;
  write_file("wrong/data_batch_2.bin", 4 * RECORD);
  check_refused("wrong", "/data_batch_2.bin: record 2 has the label 10, but CIFAR-10 has the classes 0 to 9");
  write_file("wrong/data_batch_2.bin", 0);
  check_refused("wrong",
                "/data_batch_2.bin: has 0 bytes: that is no whole number of records of 3073 bytes (it is "
                "truncated, or not from the binary version of CIFAR-10 (cifar-10-binary.tar.gz))");
}

static const dl_test tests[] = {
    DL_TEST(test_batches_of_any_number_of_records_arrive_in_order),
    DL_TEST(test_a_folder_without_a_test_batch_makes_a_file_without_test),
    DL_TEST(test_what_is_wrong_is_named_and_leaves_nothing_behind),
};
DL_TEST_MAIN("import_cifar10", tests)

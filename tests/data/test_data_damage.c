/* HDF5 files that were cut short or changed at random: whatever they are, opening and listing them ends in a status. */
#include "make_h5.h"

#include <sys/wait.h>

#include "core/file.h"
#include "data/import.h"

static unsigned random_state = 815;
static unsigned next_random(void) { return (random_state = random_state * 1664525u + 1013904223u) >> 8; }

/* A small file of every kind of storage. */
static void make_base(const char *name, bool latest) {
  float x[48];
  int y[12];
  for (int i = 0; i < 48; i++) x[i] = (float)i;
  for (int i = 0; i < 12; i++) y[i] = i % 3;
  hid_t access = H5Pcreate(H5P_FILE_ACCESS), made = H5Pcreate(H5P_DATASET_CREATE), type = H5Tcopy(H5T_C_S1);
  if (latest) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  hid_t file = H5Fcreate(test_path(name), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  H5Pset_chunk(made, 2, (hsize_t[]){5, 4});
  H5Pset_shuffle(made);
  H5Pset_deflate(made, 4);
  H5Pset_fletcher32(made);
  make_set(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(12, 4), made, x);
  make_labels(file, "train/y", 12, y);
  make_floats(file, "test/x", DIMS(12, 4), x);
  H5Tset_size(type, H5T_VARIABLE);
  make_set(file, "class_names", type, type, DIMS(3), H5P_DEFAULT, (const char *const[]){"a", "bb", "ccc"});
  H5Tclose(type);
  H5Pclose(made);
  H5Fclose(file);
  H5Pclose(access);
}

static size_t damage(unsigned char *bytes, size_t n) {
  unsigned kind = next_random() % 4;
  if (kind == 0) return next_random() % n;
  for (unsigned i = 0; i <= next_random() % 6; i++) {
    size_t at = next_random() % (kind == 1 ? 1024 : n);
    bytes[at] = (unsigned char)(kind == 2 ? bytes[at] ^ (1u << next_random() % 8) : next_random());
  }
  return n;
}

/* Writes one damaged file and opens it in both ways: 0 opened, 1 refused, 2 neither. */
static int open_damaged(const char *base, size_t n) {
  unsigned char bytes[65536];
  memcpy(bytes, base, n);
  size_t left = damage(bytes, n);
  FILE *file = fopen(test_path("d.h5"), "wb");
  fwrite(bytes, 1, left, file);
  fclose(file);
  dl_data *data;
  dl_status status = open_text("data: {file: d.h5}", &data);
  dl_data_destroy(&data);
  char *text = NULL;
  dl_status listed = dl_data_info(test_path("d.h5"), &text);
  free(text);
  bool good = (status == DL_OK || status == DL_ERR_DATA) && (listed == DL_OK || listed == DL_ERR_DATA);
  if (!good) fprintf(stderr, "status %d, %d: %s\n", status, listed, dl_error_last()->message);
  return good ? status != DL_OK : 2;
}

/* A process of its own for each hundred, so that a crash or a hang has a number. */
static void test_damaged_hdf5_files_end_in_a_status(void) {
  for (int latest = 0; latest < 2; latest++) {
    make_base("base.h5", latest);
    char *base;
    size_t n;
    DL_ASSERT_OK(dl_file_read(test_path("base.h5"), 65536, DL_ERR_SYSTEM, &base, &n));
    for (unsigned hundred = 0; hundred < 8; hundred++) {
      pid_t child = fork();
      if (child == 0) {
        alarm(300); /* a hang: they take a second */
        int opened = 0, refused = 0;
        for (unsigned i = 0; i < 100; i++) {
          random_state = 7919 * (hundred * 100 + i) + (unsigned)latest;
          int kind = open_damaged(base, n);
          if (kind == 2) _exit(1);
          opened += kind == 0;
          refused += kind == 1;
        }
        _exit(opened > 5 && refused > 5 ? 0 : 2);
      }
      int code = -1;
      CU_ASSERT_EQUAL(waitpid(child, &code, 0), child);
      CU_ASSERT_EQUAL(code, 0);
      if (code)
        fprintf(stderr, "files %u to %u of kind %d: wait status %d\n", hundred * 100, hundred * 100 + 99, latest, code);
    }
    free(base);
  }
}

static const dl_test tests[] = {DL_TEST(test_damaged_hdf5_files_end_in_a_status)};
DL_TEST_MAIN("data damage", tests)

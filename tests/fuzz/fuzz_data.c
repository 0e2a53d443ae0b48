/* fuzz_data.c - the floor of data: importers, pictures, and HDF5 files that are looked at, verified and opened for
 * training. The first byte chooses among options where a format has some. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/data.h"
#include "data/image_file.h"
#include "data/import.h"
#include "data/solo_team.h"
#include "data/verify.h"
#include "fuzz_targets.h"

static void import(const char *format, const char *const *inputs, int n, const dl_import_setting *settings,
                   int n_settings) {
  char output[128];
  snprintf(output, sizeof output, "%s", fuzz_scratch("out.h5"));
  const dl_status status = dl_import(format, inputs, n, settings, n_settings, output, true);
  if ((status == DL_OK) != (access(output, F_OK) == 0)) abort(); /* whole or absent */
  unlink(output);
}

static void import_one(const char *format, const uint8_t *bytes, size_t n) {
  fuzz_file file = fuzz_file_make(bytes, n);
  const char *input = file.path;
  import(format, &input, 1, NULL, 0);
  close(file.descriptor);
}

/* The same bytes as inputs and targets: the shapes fit. */
static void import_twice(const char *format, const uint8_t *bytes, size_t n) {
  fuzz_file file = fuzz_file_make(bytes, n);
  const char *inputs[] = {file.path, file.path};
  import(format, inputs, 2, NULL, 0);
  close(file.descriptor);
}

void fuzz_idx(const uint8_t *bytes, size_t n) { import_twice("idx", bytes, n); }
void fuzz_npy(const uint8_t *bytes, size_t n) { import_twice("npy", bytes, n); }
void fuzz_npz(const uint8_t *bytes, size_t n) { import_one("npz", bytes, n); }
void fuzz_fann(const uint8_t *bytes, size_t n) { import_one("fann", bytes, n); }

void fuzz_text(const uint8_t *bytes, size_t n) {
  if (!n) return;
  fuzz_file file = fuzz_file_make(bytes + 1, n - 1);
  const char *input = file.path;
  const dl_import_setting settings[] = {{"tokens", bytes[0] & 1 ? "byte" : "char"}, {"test-fraction", "0.3"}};
  import("text", &input, 1, settings, 2);
  close(file.descriptor);
}

void fuzz_csv(const uint8_t *bytes, size_t n) {
  static const char *const missing[] = {"error", "mean", "zero", "drop"};
  static const char *const tasks[] = {"auto", "classification", "binary", "regression"};
  if (!n) return;
  fuzz_file file = fuzz_file_make(bytes + 1, n - 1);
  const char *input = file.path;
  const dl_import_setting settings[] = {{"target", bytes[0] & 1 ? "-1" : "y"},
                                        {"missing", missing[bytes[0] >> 1 & 3]},
                                        {"task", tasks[bytes[0] >> 3 & 3]},
                                        {"categories", bytes[0] & 32 ? "integers" : "onehot"},
                                        {"test-fraction", bytes[0] & 64 ? "0.3" : "0"},
                                        {"decimal", bytes[0] & 128 ? "comma" : "point"}};
  import("csv", &input, 1, settings, 6);
  close(file.descriptor);
}

void fuzz_csv_split(const uint8_t *bytes, size_t n) {
  static const char table[] = "a,y\n1,2\n3,4\n5,6.5\n";
  fuzz_file rows = fuzz_file_make(bytes, n), file = fuzz_file_make(table, sizeof table - 1);
  const char *input = file.path;
  const dl_import_setting settings[] = {{"target", "y"}, {"split-file", rows.path}};
  import("csv", &input, 1, settings, 2);
  close(rows.descriptor);
  close(file.descriptor);
}

void fuzz_cifar10(const uint8_t *bytes, size_t n) {
  char folder[128], path[160];
  snprintf(folder, sizeof folder, "%s", fuzz_scratch("cifar"));
  snprintf(path, sizeof path, "%s/data_batch_1.bin", folder);
  mkdir(folder, 0700);
  fuzz_write(path, bytes, n);
  const char *input = folder;
  import("cifar10", &input, 1, NULL, 0);
  unlink(path);
  rmdir(folder);
}

void fuzz_picture(const uint8_t *bytes, size_t n) {
  unsigned char out[3 * 9 * 7];
  fuzz_file file = fuzz_file_make(bytes, n);
  dl_picture picture;
  if (dl_picture_read(file.path, &picture) == DL_OK && (int64_t)picture.height * picture.width < 1 << 20)
    dl_picture_fit(&picture, 9, 7, bytes[n / 2] & 1 ? 3 : 1, out);
  dl_picture_clear(&picture);
  close(file.descriptor);
}

/* Listed, verified, and opened for training. HDF5 wants a file with a name of its own. */
void fuzz_hdf5(const uint8_t *bytes, size_t n) {
  char path[128];
  snprintf(path, sizeof path, "%s", fuzz_scratch("in.h5"));
  fuzz_write(path, bytes, n);
  char *text = NULL, yaml[256];
  dl_verification verification;
  if (dl_data_info(path, &text) == DL_OK) free(text);
  if (dl_data_verify(path, &verification) == DL_OK) dl_verification_clear(&verification);
  static const char *const tasks[] = {"classification", "segmentation", "regression", "multilabel"};
  const int length =
      snprintf(yaml, sizeof yaml, "task: %s\nmodel: [{dense: 2}]\ndata: {file: %s}\n", tasks[n % 4], path);
  dl_config *config = NULL;
  dl_data *data = NULL;
  if (dl_config_parse(yaml, (size_t)length, "/c.yaml", NULL, 0, &config) != DL_OK) abort();
  if (dl_data_open(test_solo_team(), config, 1u << DL_SPLIT_TRAIN, &data) == DL_OK) dl_data_destroy(&data);
  dl_config_destroy(&config);
  unlink(path);
}

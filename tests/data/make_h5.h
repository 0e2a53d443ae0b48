/* make_h5.h - what the tests of this floor share: a folder that goes away, HDF5 files written with the C API, data sets
 * opened from a line of configuration. */
#ifndef DL_TEST_MAKE_H5_H
#define DL_TEST_MAKE_H5_H

#include <hdf5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/data.h"
#include "dltest.h"
#include "solo_team.h"

static char test_folder[64];

static inline void test_folder_remove(void) {
  char command[96];
  snprintf(command, sizeof command, "rm -rf '%s'", test_folder);
  if (test_folder[0] && system(command) != 0) fprintf(stderr, "%s is left\n", test_folder);
}
/* A path in the folder; four live at a time. */
static inline const char *test_path(const char *name) {
  static char paths[4][256];
  static int next;
  if (!test_folder[0]) {
    snprintf(test_folder, sizeof test_folder, "/tmp/dldist-test-XXXXXX");
    if (!mkdtemp(test_folder)) abort();
    atexit(test_folder_remove);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  }
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
  return path;
}

static inline void write_bytes(const char *name, const void *bytes, size_t n) {
  FILE *file = fopen(test_path(name), "wb");
  CU_ASSERT_EQUAL(fwrite(bytes, 1, n, file), n);
  fclose(file);
}

/* Flips the lowest bit of byte `at` of where `mark` stands in the file. */
static inline void flip_bit(const char *name, const void *mark, size_t size, size_t at) {
  static char bytes[1 << 22];
  FILE *file = fopen(test_path(name), "rb");
  const size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  char *found = memmem(bytes, n, mark, size);
  CU_ASSERT_PTR_NOT_NULL_FATAL(found);
  found[at] ^= 1;
  write_bytes(name, bytes, n);
}

static inline hid_t make_file(const char *name) {
  return H5Fcreate(test_path(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
}

/* A data set of `file_type` from values of `memory_type`; `made`: a creation list or H5P_DEFAULT. */
static inline void make_set(hid_t file, const char *name, hid_t file_type, hid_t memory_type, int dims,
                            const hsize_t *dim, hid_t made, const void *values) {
  hid_t links = H5Pcreate(H5P_LINK_CREATE), space = H5Screate_simple(dims, dim, NULL);
  H5Pset_create_intermediate_group(links, 1);
  hid_t set = H5Dcreate2(file, name, file_type, space, links, made, H5P_DEFAULT);
  CU_ASSERT_TRUE(set >= 0);
  if (values) CU_ASSERT_TRUE(H5Dwrite(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(set);
  H5Sclose(space);
  H5Pclose(links);
}

#define DIMS(...) \
  (int)(sizeof((hsize_t[]){__VA_ARGS__}) / sizeof(hsize_t)), (hsize_t[]) { __VA_ARGS__ }
static inline void make_floats(hid_t file, const char *name, int dims, const hsize_t *dim, const float *values) {
  make_set(file, name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, dims, dim, H5P_DEFAULT, values);
}
static inline void make_labels(hid_t file, const char *name, hsize_t n, const int *values) {
  make_set(file, name, H5T_STD_I64LE, H5T_NATIVE_INT, 1, &n, H5P_DEFAULT, values);
}

/* A configuration of `text` (YAML, without a model) in the folder. */
static inline dl_config *make_config(const char *text) {
  char all[2048];
  int n = snprintf(all, sizeof all, "model: [{dense: 2}]\n%s\n", text);
  dl_config *config = NULL;
  DL_ASSERT_OK(dl_config_parse(all, (size_t)n, test_path("c.yaml"), NULL, 0, &config));
  return config;
}

/* Opens what `text` says, alone; train is needed unless `need` says otherwise. */
static inline dl_status open_need(const char *text, unsigned need, dl_data **out) {
  dl_config *config = make_config(text);
  *out = NULL;
  dl_status status = config ? dl_data_open(test_solo_team(), config, need, out) : DL_ERR_USAGE;
  dl_config_destroy(&config);
  return status;
}
static inline dl_status open_text(const char *text, dl_data **out) {
  return open_need(text, 1u << DL_SPLIT_TRAIN, out);
}

/* A sink of warnings: the code of the last one, into 64 bytes. */
static inline void keep_code(void *context, const char *code, const char *message) {
  (void)message;
  snprintf(context, 64, "%s", code);
}

/* All x of a split, freed by the caller. */
static inline float *read_x(const dl_data *data, dl_split_kind split) {
  int64_t n = dl_data_samples(data, split);
  float *x = calloc((size_t)(n * dl_data_shape_of(data)->x_size) + 1, sizeof *x);
  dl_batch batch = {.x = x};
  DL_ASSERT_OK(dl_data_read(data, split, 0, n, &batch));
  return x;
}
static inline int32_t *read_labels(const dl_data *data, dl_split_kind split) {
  int64_t n = dl_data_samples(data, split);
  int32_t *label = calloc((size_t)n + 1, sizeof *label);
  dl_batch batch = {.label = label};
  DL_ASSERT_OK(dl_data_read(data, split, 0, n, &batch));
  return label;
}

#endif

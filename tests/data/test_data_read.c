/* What comes out of a data set is what was written: types, layouts, labels, files, normalisation. */
#include "make_h5.h"

#include <math.h>

#include "core/log.h"

static const int labels6[] = {2, 0, 1, 2, 1, 0};

/* ---- types ---- */

static void read_back(hid_t file_type, double first, double step, double unit_max, const char *normalize) {
  double values[12];
  for (int i = 0; i < 12; i++) values[i] = first + i * step;
  hid_t file = make_file("types.h5");
  make_set(file, "train/x", file_type, H5T_NATIVE_DOUBLE, DIMS(6, 2), H5P_DEFAULT, values);
  make_labels(file, "train/y", 6, labels6);
  H5Fclose(file);
  char text[160];
  snprintf(text, sizeof text, "data: {file: types.h5, normalize: %s}", normalize);
  dl_data *data;
  DL_ASSERT_OK(open_text(text, &data));
  if (!data) return;
  float *x = read_x(data, DL_SPLIT_TRAIN);
  for (int i = 0; i < 12; i++) CU_ASSERT_DOUBLE_EQUAL(x[i], values[i] / unit_max, fabs(values[i] / unit_max) * 3e-7);
  free(x);
  dl_data_destroy(&data);
}

static void test_every_number_type_reads_back_as_written(void) {
  const struct {
    hid_t file_type;
    double first, step; /* value i is first + i * step */
    double unit_max;    /* of the type; for wide integers the largest absolute value that is there */
  } cases[] = {
      {H5T_STD_U8LE, 0, 23, 255},
      {H5T_STD_I8LE, -128, 23, 127},
      {H5T_STD_U16LE, 0, 5957, 65535},
      {H5T_STD_U16BE, 1, 5957, 65535},
      {H5T_STD_I16LE, -32768, 5957, 32767},
      {H5T_STD_I16BE, -5, 1, 32767},
      {H5T_STD_I32LE, -2147483648.0, 390451572, 2147483648.0},
      {H5T_STD_U32BE, 0, 390451572, 390451572 * 11.0},
      {H5T_STD_I64LE, -9e18, 1.5e18, 9e18},
      {H5T_STD_U64LE, 0, 1.5e18, 11 * 1.5e18},
      {H5T_IEEE_F32LE, -2.5, 0.25, 1},
      {H5T_IEEE_F32BE, 1e30, 1e29, 1},
      {H5T_IEEE_F64LE, -3, 0.125, 1},
      {H5T_IEEE_F64BE, 1e-30, 1e-30, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    read_back(cases[i].file_type, cases[i].first, cases[i].step, 1, "none");
    read_back(cases[i].file_type, cases[i].first, cases[i].step, cases[i].unit_max, "unit");
    read_back(cases[i].file_type, cases[i].first, cases[i].step, cases[i].unit_max, "auto");
  }
}

static void test_booleans_and_half_floats_are_numbers(void) {
  hid_t boolean = H5Tenum_create(H5T_NATIVE_INT8);
  signed char no = 0, yes = 1, values[6] = {1, 0, 0, 1, 1, 0};
  H5Tenum_insert(boolean, "FALSE", &no);
  H5Tenum_insert(boolean, "TRUE", &yes);
  hid_t half = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  float halves[6] = {0.5f, -1.5f, 2048, 0, 0.25f, 65504};
  hid_t file = make_file("odd.h5");
  make_set(file, "train/x", boolean, boolean, DIMS(6), H5P_DEFAULT, values);
  make_labels(file, "train/y", 6, labels6);
  make_set(file, "half/x", half, H5T_NATIVE_FLOAT, DIMS(6), H5P_DEFAULT, halves);
  H5Fclose(file);
  H5Tclose(boolean);
  H5Tclose(half);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: odd.h5}", &data));
  float *x = read_x(data, DL_SPLIT_TRAIN);
  for (int i = 0; i < 6; i++) CU_ASSERT_EQUAL(x[i], (float)values[i]);
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->x_size, 1);
  free(x);
  dl_data_destroy(&data);
  DL_ASSERT_OK(open_text("data: {file: odd.h5, train: {x: half/x}}", &data));
  x = read_x(data, DL_SPLIT_TRAIN);
  for (int i = 0; i < 6; i++) CU_ASSERT_EQUAL(x[i], halves[i]);
  free(x);
  dl_data_destroy(&data);
}

/* ---- layouts ---- */

static void check_layout(const char *layout, int dims, const hsize_t *dim, int want_dims, const int64_t *want,
                         bool last) {
  hsize_t size = 1;
  for (int i = 0; i < dims; i++) size *= dim[i];
  unsigned short *values = calloc(size, sizeof *values);
  for (hsize_t i = 0; i < size; i++) values[i] = (unsigned short)(i * 7);
  const hid_t types[] = {H5T_STD_U8LE, H5T_STD_U16LE, H5T_IEEE_F32LE};
  for (int t = 0; t < 3; t++) {
    hid_t file = make_file("layout.h5");
    make_set(file, "train/x", types[t], H5T_NATIVE_USHORT, dims, dim, H5P_DEFAULT, values);
    make_labels(file, "train/y", dim[0], labels6);
    H5Fclose(file);
    char text[160];
    snprintf(text, sizeof text, "data: {file: layout.h5, normalize: none, layout: %s}", layout);
    dl_data *data;
    DL_ASSERT_OK(open_text(text, &data));
    const dl_data_shape *shape = dl_data_shape_of(data);
    CU_ASSERT_EQUAL(shape->x_dims, want_dims);
    for (int i = 0; i < want_dims; i++) CU_ASSERT_EQUAL(shape->x_shape[i], want[i]);
    CU_ASSERT_EQUAL((hsize_t)(shape->x_size * (int64_t)dim[0]), size);
    float *x = read_x(data, DL_SPLIT_TRAIN);
    hsize_t channels = last ? dim[dims - 1] : 1, pixels = (hsize_t)shape->x_size / channels;
    int wrong = 0;
    for (hsize_t n = 0; n < dim[0]; n++)
      for (hsize_t p = 0; p < pixels; p++)
        for (hsize_t c = 0; c < channels; c++) {
          unsigned v = values[(n * pixels + p) * channels + c];
          wrong += x[(n * channels + c) * pixels + p] != (float)(t == 0 && v > 255 ? 255 : v);
        }
    CU_ASSERT_EQUAL(wrong, 0);
    free(x);
    dl_data_destroy(&data);
  }
  free(values);
}

static void test_images_come_channels_first_whatever_the_layout(void) {
  check_layout("nchw", DIMS(6, 3, 4, 5), 3, (int64_t[]){3, 4, 5}, false);
  check_layout("nhwc", DIMS(6, 4, 5, 3), 3, (int64_t[]){3, 4, 5}, true);
  check_layout("nhwc", DIMS(6, 4, 5, 1), 3, (int64_t[]){1, 4, 5}, true);
  check_layout("nchw", DIMS(6, 4, 5), 3, (int64_t[]){1, 4, 5}, false);
  check_layout("nhwc", DIMS(6, 4, 5), 3, (int64_t[]){1, 4, 5}, false);
  check_layout("nhwc", DIMS(6, 7), 1, (int64_t[]){7}, false);
  check_layout("nchw", DIMS(6), 1, (int64_t[]){1}, false);
  check_layout("nhwc", DIMS(6, 2, 3, 4, 5), 4, (int64_t[]){5, 2, 3, 4}, true);
}

static void test_chunked_packed_and_checksummed_sets_read_as_plain_ones(void) {
  float values[600];
  for (int i = 0; i < 600; i++) values[i] = (float)i;
  int labels[100];
  for (int i = 0; i < 100; i++) labels[i] = i % 7;
  hid_t made = H5Pcreate(H5P_DATASET_CREATE), rows = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(made, 2, (hsize_t[]){7, 4});
  H5Pset_shuffle(made);
  H5Pset_deflate(made, 6);
  H5Pset_fletcher32(made);
  H5Pset_chunk(rows, 1, (hsize_t[]){9});
  hid_t file = make_file("chunks.h5");
  make_set(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(100, 6), made, values);
  make_set(file, "train/y", H5T_STD_I16BE, H5T_NATIVE_INT, DIMS(100), rows, labels);
  H5Fclose(file);
  H5Pclose(made);
  H5Pclose(rows);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: chunks.h5}", &data));
  float *x = read_x(data, DL_SPLIT_TRAIN);
  int32_t *y = read_labels(data, DL_SPLIT_TRAIN);
  CU_ASSERT_EQUAL(memcmp(x, values, sizeof values), 0);
  CU_ASSERT_EQUAL(memcmp(y, labels, sizeof labels), 0);
  free(x);
  free(y);
  dl_data_destroy(&data);
}

/* ---- y ---- */

static void check_labels_as(const char *name, int dims, const hsize_t *dim, hid_t type, const double *values,
                            int64_t classes) {
  float x[6] = {0, 1, 2, 3, 4, 5};
  hid_t file = make_file("labels.h5");
  make_floats(file, "train/x", DIMS(6), x);
  make_set(file, "train/y", type, H5T_NATIVE_DOUBLE, dims, dim, H5P_DEFAULT, values);
  H5Fclose(file);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: labels.h5}", &data));
  if (!data) return;
  int32_t *y = read_labels(data, DL_SPLIT_TRAIN);
  for (int i = 0; i < 6; i++)
    if (y[i] != labels6[i]) fprintf(stderr, "%s: label %d is %d\n", name, i, y[i]);
  CU_ASSERT_EQUAL(memcmp(y, labels6, sizeof labels6), 0);
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, classes);
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->y_size, 1);
  free(y);
  dl_data_destroy(&data);
}

static void test_labels_may_be_integers_whole_floats_columns_or_one_hot(void) {
  const double plain[6] = {2, 0, 1, 2, 1, 0};
  double hot[24] = {0};
  for (int i = 0; i < 6; i++) hot[4 * i + labels6[i]] = 1;
  const hid_t types[] = {H5T_STD_U8LE,  H5T_STD_I8LE,  H5T_STD_U16BE,  H5T_STD_I32LE, H5T_STD_U32LE,
                         H5T_STD_I64LE, H5T_STD_U64BE, H5T_IEEE_F32LE, H5T_IEEE_F64LE};
  for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
    check_labels_as("(N,)", DIMS(6), types[t], plain, 3);
    check_labels_as("(N, 1)", DIMS(6, 1), types[t], plain, 3);
    check_labels_as("one-hot", DIMS(6, 4), types[t], hot, 4);
  }
}

static void test_the_other_tasks_deliver_values(void) {
  float x[4] = {0, 1, 2, 3}, bits[8] = {0, 1, 1, 0, 0, 0, 1, 1}, values[8] = {0.5f, -1, 2, 3e9f, 5, 6, 7, 8}, got[8];
  float weights[4] = {0, 0.5f, 2, 1}, got_weights[4];
  hid_t file = make_file("values.h5");
  make_floats(file, "train/x", DIMS(4), x);
  make_floats(file, "train/bits", DIMS(4, 2), bits);
  make_floats(file, "train/bit", DIMS(4, 1), bits);
  make_floats(file, "train/values", DIMS(4, 2), values);
  make_floats(file, "train/w", DIMS(4), weights);
  H5Fclose(file);
  struct {
    const char *text;
    int64_t y_size;
    const float *want;
  } cases[] = {
      {"task: binary\ndata: {file: values.h5, train: {y: train/bit}}", 1, bits},
      {"task: multilabel\ndata: {file: values.h5, train: {y: train/bits, weight: train/w}}", 2, bits},
      {"task: regression\ndata: {file: values.h5, train: {y: train/values}}", 2, values},
      {"task: regression\ndata: {file: values.h5, train: {y: train/bit}}", 1, bits},
  };
  for (int i = 0; i < 4; i++) {
    dl_data *data;
    DL_ASSERT_OK(open_text(cases[i].text, &data));
    if (!data) continue;
    CU_ASSERT_EQUAL(dl_data_shape_of(data)->y_size, cases[i].y_size);
    CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, 0);
    dl_batch batch = {.y = got, .weight = got_weights};
    DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TRAIN, 0, 4, &batch));
    CU_ASSERT_EQUAL(memcmp(got, cases[i].want, 16 * (size_t)cases[i].y_size), 0);
    for (int k = 0; k < 4; k++) CU_ASSERT_EQUAL(got_weights[k], i == 1 ? weights[k] : 1.0f);
    dl_data_destroy(&data);
  }
}

static void test_class_names_are_read_from_both_kinds_of_strings(void) {
  float x[6] = {0};
  for (int variable = 0; variable < 2; variable++) {
    hid_t file = make_file("names.h5"), type = H5Tcopy(H5T_C_S1);
    make_floats(file, "train/x", DIMS(6), x);
    make_labels(file, "train/y", 6, labels6);
    H5Tset_size(type, variable ? H5T_VARIABLE : 6);
    const char *const texts[4] = {"cat", "dog", "a\nb", "newt"};
    make_set(file, "class_names", type, type, DIMS(4), H5P_DEFAULT,
             variable ? (const void *)texts : "cat\0\0\0dog   a\nb\0\0\0newt\0");
    H5Tclose(type);
    H5Fclose(file);
    dl_data *data;
    DL_ASSERT_OK(open_text("data: {file: names.h5}", &data));
    if (!data) continue;
    int n;
    const char *const *names = dl_data_class_names(data, &n);
    CU_ASSERT_EQUAL(n, 4);
    CU_ASSERT_STRING_EQUAL(names[0], "cat");
    CU_ASSERT_STRING_EQUAL(names[1], "dog");
    CU_ASSERT_STRING_EQUAL(names[2], "a?b");
    CU_ASSERT_STRING_EQUAL(names[3], "newt");
    CU_ASSERT_EQUAL(dl_data_shape_of(data)->classes, 4);
    dl_data_destroy(&data);
  }
}

static void test_many_names_lie_in_several_heaps(void) {
  enum { MANY = 500 };
  float x[6] = {0};
  char text[MANY][48];
  const char *texts[MANY];
  for (int i = 0; i < MANY; i++) {
    snprintf(text[i], sizeof text[i], "class number %d%.*s", i, i % 24, "........................");
    texts[i] = text[i];
  }
  hid_t made = H5Pcreate(H5P_FILE_CREATE), chunked = H5Pcreate(H5P_DATASET_CREATE), type = H5Tcopy(H5T_C_S1);
  H5Pset_userblock(made, 1024); /* addresses in the file count from behind it */
  H5Pset_chunk(chunked, 1, (hsize_t[]){100});
  H5Tset_size(type, H5T_VARIABLE);
  for (int in_chunks = 0; in_chunks < 2; in_chunks++) {
    hid_t file = H5Fcreate(test_path("many.h5"), H5F_ACC_TRUNC, made, H5P_DEFAULT);
    make_floats(file, "train/x", DIMS(6), x);
    make_labels(file, "train/y", 6, labels6);
    make_set(file, "class_names", type, type, DIMS(MANY), in_chunks ? chunked : H5P_DEFAULT, texts);
    H5Fclose(file);
    dl_data *data;
    char code[64] = "";
    dl_log_set_sink(keep_code, code);
    DL_ASSERT_OK(open_text("data: {file: many.h5}", &data));
    dl_log_set_sink(NULL, NULL);
    int n, wrong = 0;
    const char *const *names = dl_data_class_names(data, &n);
    CU_ASSERT_EQUAL(n, in_chunks ? 0 : MANY);
    CU_ASSERT_STRING_EQUAL(code, in_chunks ? "class_names" : "");
    for (int i = 0; i < n; i++) wrong += strcmp(names[i], text[i]) != 0;
    CU_ASSERT_EQUAL(wrong, 0);
    dl_data_destroy(&data);
  }
  H5Tclose(type);
  H5Pclose(made);
  H5Pclose(chunked);
}

/* ---- files ---- */

static void make_shard(const char *name, int first, int n, bool test) {
  float x[64];
  int y[64];
  for (int i = 0; i < n; i++) x[i] = (float)(first + i), y[i] = (first + i) % 5;
  hid_t file = make_file(name);
  make_floats(file, test ? "test/x" : "train/x", DIMS((hsize_t)n), x);
  make_labels(file, test ? "test/y" : "train/y", (hsize_t)n, y);
  H5Fclose(file);
}

static void check_shards(const char *file, int n, int n_test) {
  char text[200];
  snprintf(text, sizeof text, "data: {file: %s}", file);
  dl_data *data;
  DL_ASSERT_OK(open_text(text, &data));
  if (!data) return;
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN), n);
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TEST), n_test);
  float *x = read_x(data, DL_SPLIT_TRAIN);
  int32_t *y = read_labels(data, DL_SPLIT_TRAIN);
  int wrong = 0;
  for (int i = 0; i < n; i++) wrong += x[i] != (float)i || y[i] != i % 5;
  CU_ASSERT_EQUAL(wrong, 0);
  free(x);
  free(y);
  dl_data_destroy(&data);
}

static void test_several_files_are_one_data_set_in_order(void) {
  make_shard("part-00.h5", 0, 7, false);
  make_shard("part-01.h5", 7, 1, false);
  make_shard("part-02.h5", 8, 30, false);
  make_shard("held-out.h5", 0, 11, true);
  check_shards("[part-00.h5, part-01.h5, part-02.h5]", 38, 0);
  check_shards("'part-*.h5'", 38, 0);
  check_shards("['part-0[0-1].h5', part-02.h5]", 38, 0);
  check_shards("['part-*.h5', held-out.h5]", 38, 11);
  char absolute[200];
  snprintf(absolute, sizeof absolute, "'%s'", test_path("part-??.h5"));
  check_shards(absolute, 38, 0);
  dl_data *data; /* order is the list's, not the names' */
  DL_ASSERT_OK(open_text("data: {file: [part-02.h5, part-00.h5]}", &data));
  float *x = read_x(data, DL_SPLIT_TRAIN);
  CU_ASSERT_EQUAL(x[0], 8);
  CU_ASSERT_EQUAL(x[30], 0);
  free(x);
  dl_data_destroy(&data);
}

static void test_a_name_with_a_star_in_it_is_a_file_where_it_exists(void) {
  make_shard("odd[1].h5", 0, 9, false);
  check_shards("'odd[1].h5'", 9, 0);
}

static void test_a_valid_split_in_the_file_is_taken_and_prediction_needs_no_y(void) {
  float x[5] = {4, 3, 2, 1, 0};
  int y[5] = {0, 1, 0, 1, 0};
  hid_t file = make_file("splits.h5");
  make_floats(file, "train/x", DIMS(5), x);
  make_labels(file, "train/y", 5, y);
  make_floats(file, "valid/x", DIMS(2), x);
  make_labels(file, "valid/y", 2, y);
  make_floats(file, "test/x", DIMS(3), x);
  H5Fclose(file);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: splits.h5}", &data));
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_VALID), 2);
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TEST), 3);
  CU_ASSERT_TRUE(dl_data_has_y(data, DL_SPLIT_VALID));
  CU_ASSERT_FALSE(dl_data_has_y(data, DL_SPLIT_TEST));
  int32_t label[3];
  CU_ASSERT_EQUAL(dl_data_read(data, DL_SPLIT_TEST, 0, 3, &(dl_batch){.label = label}), DL_ERR_DATA);
  dl_data_destroy(&data);
  DL_ASSERT_OK(
      open_need("data: {file: splits.h5}", 1u << DL_SPLIT_TEST | DL_DATA_WITHOUT_Y | DL_DATA_ONLY_NEEDED, &data));
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN), 0);
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TEST), 3);
  CU_ASSERT_EQUAL(dl_data_bytes(data) < 4096, 1);
  dl_data_destroy(&data);
}

/* ---- normalisation ---- */

static void make_normal_file(int n, int channels, int pixels, float *x) {
  int *y = calloc((size_t)n, sizeof *y);
  unsigned state = 12345;
  for (int i = 0; i < n * channels * pixels; i++) {
    state = state * 1664525u + 1013904223u;
    int c = i / pixels % channels;
    x[i] = c == 1 ? 0.1f : (float)(state >> 8) / 1e5f + (float)(1000 * c);
  }
  for (int i = 0; i < n; i++) y[i] = i % 3;
  hid_t file = make_file("norm.h5");
  make_floats(file, "train/x", DIMS((hsize_t)n, (hsize_t)channels, (hsize_t)pixels, 1), x);
  make_labels(file, "train/y", (hsize_t)n, y);
  make_floats(file, "test/x", DIMS((hsize_t)n, (hsize_t)channels, (hsize_t)pixels, 1), x);
  H5Fclose(file);
  free(y);
}

/* The oracle: mean and std of the population in long double over the samples that are left, found by their values. */
static void check_norm(const char *normalize, int figures_, int n, int channels, int pixels, const float *raw) {
  char text[160];
  snprintf(text, sizeof text, "data: {file: norm.h5, valid: 0.25, normalize: %s}", normalize);
  dl_data *data, *plain;
  DL_ASSERT_OK(open_text(text, &data));
  DL_ASSERT_OK(open_text("data: {file: norm.h5, valid: 0.25, normalize: none}", &plain));
  const dl_norm *norm = dl_data_norm(data);
  CU_ASSERT_EQUAL(norm->n, figures_);
  float *left = read_x(plain, DL_SPLIT_TRAIN), *test = read_x(data, DL_SPLIT_TEST);
  int64_t n_left = dl_data_samples(plain, DL_SPLIT_TRAIN);
  int size = channels * pixels, each = size / figures_;
  for (int f = 0; f < figures_; f++) {
    long double sum = 0, squares = 0;
    for (int64_t i = 0; i < n_left; i++)
      for (int e = f * each; e < (f + 1) * each; e++) sum += (long double)left[i * size + e];
    long double mean = sum / (n_left * each);
    for (int64_t i = 0; i < n_left; i++)
      for (int e = f * each; e < (f + 1) * each; e++)
        squares += (left[i * size + e] - mean) * (left[i * size + e] - mean);
    double std = (double)sqrtl(squares / (n_left * each));
    bool constant = f * each / pixels == 1;
    CU_ASSERT_DOUBLE_EQUAL(norm->shift[f], (double)mean, 1e-6 * fabs((double)mean));
    CU_ASSERT_DOUBLE_EQUAL(norm->scale[f], constant ? 1 : 1 / std, 1e-6 / (constant ? 1 : std));
    for (int i = 0; i < n; i++)
      CU_ASSERT_DOUBLE_EQUAL(test[i * size + f * each],
                             (raw[i * size + f * each] - (double)norm->shift[f]) * (double)norm->scale[f], 1e-3);
  }
  free(left);
  free(test);
  dl_data_destroy(&data);
  dl_data_destroy(&plain);
}

static void test_normalisation_uses_what_is_left_of_train(void) {
  enum { N = 40, C = 3, P = 6 };
  static float x[N * C * P];
  make_normal_file(N, C, P, x);
  check_norm("per_feature", C * P, N, C, P, x);
  check_norm("per_channel", C, N, C, P, x);
}

static void test_a_checkpoints_norm_replaces_the_data_sets(void) {
  make_shard("setnorm.h5", 0, 6, false);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: setnorm.h5}", &data));
  float shift[2] = {2, 0}, scale[2] = {10, 1};
  DL_ASSERT_OK(dl_data_set_norm(data, &(dl_norm){DL_NORMALIZE_PER_FEATURE, 1, shift, scale}));
  float *x = read_x(data, DL_SPLIT_TRAIN);
  for (int i = 0; i < 6; i++) CU_ASSERT_EQUAL(x[i], (float)(10 * (i - 2)));
  free(x);
  CU_ASSERT_EQUAL(dl_data_set_norm(data, &(dl_norm){DL_NORMALIZE_PER_FEATURE, 2, shift, scale}), DL_ERR_DATA);
  CU_ASSERT_EQUAL(dl_data_set_norm(data, &(dl_norm){DL_NORMALIZE_PER_CHANNEL, 1, shift, scale}), DL_ERR_DATA);
  CU_ASSERT_EQUAL(dl_data_set_norm(data, &(dl_norm){DL_NORMALIZE_AUTO, 1, shift, scale}), DL_ERR_DATA);
  dl_data_destroy(&data);
}

/* ---- arrays ---- */

static void test_arrays_behave_like_a_file_of_the_same_values(void) {
  float x[80];
  int32_t y[40];
  int wide[40];
  for (int i = 0; i < 80; i++) x[i] = (float)(i * i % 37);
  for (int i = 0; i < 40; i++) wide[i] = y[i] = i % 4;
  hid_t file = make_file("same.h5");
  make_floats(file, "train/x", DIMS(40, 2), x);
  make_labels(file, "train/y", 40, wide);
  H5Fclose(file);
  dl_config *config = make_config("data: {file: same.h5, valid: 0.2, normalize: per_feature}");
  dl_data_shape shape = {.x_dims = 1, .x_shape = {2}};
  dl_data_arrays splits[DL_SPLITS] = {{.samples = 40, .x = x, .labels = y}};
  dl_data *arrays, *files;
  DL_ASSERT_OK(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &arrays));
  DL_ASSERT_OK(dl_data_open(test_solo_team(), config, 1, &files));
  CU_ASSERT_EQUAL(dl_data_shape_of(arrays)->classes, 4);
  for (int s = 0; s < 2; s++) {
    int64_t n = dl_data_samples(files, (dl_split_kind)s);
    CU_ASSERT_EQUAL(n, dl_data_samples(arrays, (dl_split_kind)s));
    float *a = read_x(arrays, (dl_split_kind)s), *b = read_x(files, (dl_split_kind)s);
    int32_t *c = read_labels(arrays, (dl_split_kind)s), *d = read_labels(files, (dl_split_kind)s);
    CU_ASSERT_EQUAL(memcmp(a, b, (size_t)n * 2 * sizeof *a), 0);
    CU_ASSERT_EQUAL(memcmp(c, d, (size_t)n * sizeof *c), 0);
    free(a), free(b), free(c), free(d);
  }
  dl_data_destroy(&arrays);
  dl_data_destroy(&files);
  y[7] = -1;
  CU_ASSERT_EQUAL(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &arrays), DL_ERR_DATA);
  y[7] = 3;
  x[11] = NAN;
  CU_ASSERT_EQUAL(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &arrays), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "row 5"));
  dl_config_destroy(&config);
}

static const dl_test tests[] = {
    DL_TEST(test_every_number_type_reads_back_as_written),
    DL_TEST(test_booleans_and_half_floats_are_numbers),
    DL_TEST(test_images_come_channels_first_whatever_the_layout),
    DL_TEST(test_chunked_packed_and_checksummed_sets_read_as_plain_ones),
    DL_TEST(test_labels_may_be_integers_whole_floats_columns_or_one_hot),
    DL_TEST(test_the_other_tasks_deliver_values),
    DL_TEST(test_class_names_are_read_from_both_kinds_of_strings),
    DL_TEST(test_many_names_lie_in_several_heaps),
    DL_TEST(test_several_files_are_one_data_set_in_order),
    DL_TEST(test_a_name_with_a_star_in_it_is_a_file_where_it_exists),
    DL_TEST(test_a_valid_split_in_the_file_is_taken_and_prediction_needs_no_y),
    DL_TEST(test_normalisation_uses_what_is_left_of_train),
    DL_TEST(test_a_checkpoints_norm_replaces_the_data_sets),
    DL_TEST(test_arrays_behave_like_a_file_of_the_same_values),
};
DL_TEST_MAIN("data read", tests)

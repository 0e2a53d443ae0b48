/* Images as inputs and as what is to be learnt: which way round they lie, targets and masks, autoencoders. */
#include "make_h5.h"

#include "core/log.h"

static const int labels6[] = {2, 0, 1, 2, 1, 0};

static void test_channels_that_seem_to_lie_at_the_other_end_are_told(void) {
  static const struct {
    hsize_t dim[4];
    int dims;
    const char *layout, *code;
  } rows[] = {
      {{6, 8, 9, 3}, 4, "nchw", "layout"}, {{6, 8, 9, 3}, 4, "nhwc", ""},  {{6, 3, 8, 9}, 4, "nhwc", "layout"},
      {{6, 3, 8, 9}, 4, "nchw", ""},       {{6, 8, 9, 16}, 4, "nchw", ""}, {{6, 8, 3, 3}, 4, "nchw", ""},
      {{6, 4, 4, 3}, 4, "nchw", ""},       {{6, 9, 3}, 3, "nchw", ""},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const float x[6 * 8 * 9 * 16] = {0};
    hid_t file = make_file("images.h5");
    make_floats(file, "train/x", rows[i].dims, rows[i].dim, x);
    make_labels(file, "train/y", 6, labels6);
    H5Fclose(file);
    dl_data *data;
    char code[64] = "", text[96];
    snprintf(text, sizeof text, "data: {file: images.h5, layout: %s}", rows[i].layout);
    dl_log_set_sink(keep_code, code);
    DL_ASSERT_OK(open_text(text, &data));
    dl_log_set_sink(NULL, NULL);
    CU_ASSERT_STRING_EQUAL(code, rows[i].code);
    dl_data_destroy(&data);
  }
}

/* Values of regression, masks of multilabel. */
static void check_image_targets(const char *task, float (*value)(int)) {
  float x[3] = {0, 1, 2}, y[18], got[18];
  char text[96];
  for (int i = 0; i < 18; i++) y[i] = value(i);
  hid_t file = make_file("targets.h5");
  make_floats(file, "train/x", DIMS(3), x);
  make_floats(file, "train/y", DIMS(3, 1, 2, 3), y);
  H5Fclose(file);
  dl_data *data;
  snprintf(text, sizeof text, "task: %s\ndata: {file: targets.h5}", task);
  DL_ASSERT_OK(open_text(text, &data));
  if (!data) return;
  CU_ASSERT_EQUAL(dl_data_shape_of(data)->y_size, 6);
  dl_batch batch = {.y = got};
  DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TRAIN, 0, 3, &batch));
  CU_ASSERT_EQUAL(memcmp(got, y, sizeof y), 0);
  dl_data_destroy(&data);
}
static float square_of(int i) { return (float)(i * i); }
static float is_third(int i) { return (float)(i % 3 == 0); }

static void test_targets_may_be_images(void) {
  check_image_targets("regression", square_of);
  check_image_targets("multilabel", is_third);
}

static void test_images_to_be_learnt_and_augmentation_are_warned_of(void) {
  static const struct {
    const char *y, *more, *code;
  } rows[] = {
      {"mask", ", augment: [flip_horizontal]", "augment"},   {"mask", ", augment: []", ""},
      {"mask", ", augment: [{random_brightness: 0.5}]", ""}, {"last", ", augment: [flip_horizontal]", "augment"},
      {"flat", ", augment: [flip_horizontal]", "augment"},   {"mask", "", ""},
      {"row", ", augment: [flip_horizontal]", ""},
  };
  const float x[3 * 8] = {0}, y[3 * 4] = {0}, two[3 * 16] = {0};
  hid_t file = make_file("masks.h5");
  make_floats(file, "train/x", DIMS(3, 2, 4), x);
  make_floats(file, "mask", DIMS(3, 2, 2), y);
  make_floats(file, "row", DIMS(3, 4), y);
  make_floats(file, "flat", DIMS(3, 8), x);
  make_floats(file, "last", DIMS(3, 2, 4, 2), two);
  H5Fclose(file);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[160], code[64] = "";
    dl_data *data;
    snprintf(text, sizeof text, "task: multilabel\ndata: {file: masks.h5, train: {y: %s}%s}", rows[i].y, rows[i].more);
    dl_log_set_sink(keep_code, code);
    DL_ASSERT_OK(open_text(text, &data));
    dl_log_set_sink(NULL, NULL);
    CU_ASSERT_STRING_EQUAL(code, rows[i].code);
    dl_data_destroy(&data);
  }
}

enum { MASKS = 9, MASK_H = 6, MASK_W = 5, MASK_PLANE = MASK_H * MASK_W };

/* Zeros and ones in patches. */
static float patch(int i) { return (float)((i / 7 + i / 11) % 2); }

static void make_masks(float (*value)(int)) {
  float x[MASKS * MASK_PLANE], two[2 * MASKS * MASK_PLANE];
  for (int i = 0; i < MASKS * MASK_PLANE; i++) x[i] = value(i);
  for (int i = 0; i < 2 * MASKS * MASK_PLANE; i++)
    two[i] = x[i / (2 * MASK_PLANE) * MASK_PLANE + i % MASK_PLANE]; /* each twice */
  hid_t file = make_file("over.h5");
  make_floats(file, "train/x", DIMS(MASKS, MASK_H, MASK_W), x);
  make_floats(file, "plain", DIMS(MASKS, MASK_H, MASK_W), x);
  make_floats(file, "last", DIMS(MASKS, MASK_H, MASK_W, 1), x);
  make_floats(file, "first", DIMS(MASKS, 1, MASK_H, MASK_W), x);
  make_floats(file, "twice", DIMS(MASKS, 2, MASK_H, MASK_W), two);
  H5Fclose(file);
}

/* x and its target are the same picture in the file: views keep them so. */
static void test_targets_that_lie_over_x_are_augmented_with_it(void) {
  static const char *const names[] = {"plain", "last", "first", "twice"},
                           *const lists[] = {"flip_horizontal, {random_crop: 2}, flip_vertical",
                                             "{random_crop: 1}, {random_rotation: 30}, {random_zoom: 0.3}"};
  for (int k = 0; k < 4 * 2 * 2; k++) {
    const bool yes_or_no = k & 1;
    const int planes = k / 4 == 3 ? 2 : 1;
    char text[256], code[64] = "";
    make_masks(yes_or_no ? patch : square_of);
    snprintf(text, sizeof text, "task: %s\ndata: {file: over.h5, normalize: none, train: {y: %s}, augment: [%s]}",
             yes_or_no ? "multilabel" : "regression", names[k / 4], lists[k / 2 % 2]);
    dl_data *data;
    dl_log_set_sink(keep_code, code);
    DL_ASSERT_OK(open_text(text, &data));
    dl_log_set_sink(NULL, NULL);
    CU_ASSERT_STRING_EQUAL(code, "");
    float x[MASKS * MASK_PLANE], y[2 * MASKS * MASK_PLANE], still[MASKS * MASK_PLANE];
    dl_batch both = {.x = x, .y = y}, alone = {.x = still};
    DL_ASSERT_OK(dl_data_read_step(data, 1, MASKS, 0, 0, MASKS, &both));
    DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TRAIN, 0, MASKS, &alone));
    int wrong = 0;
    for (int i = 0; i < planes * MASKS * MASK_PLANE; i++) {
      const float seen = x[i / (planes * MASK_PLANE) * MASK_PLANE + i % MASK_PLANE];
      wrong += y[i] != (yes_or_no ? (float)(seen >= 0.5f) : seen);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(memcmp(x, still, sizeof x) != 0); /* they were moved */
    DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TRAIN, 0, MASKS, &both));
    CU_ASSERT(!memcmp(x, still, sizeof x) && y[MASK_PLANE - 1] == still[MASK_PLANE - 1]);
    dl_data_destroy(&data);
  }
}

static void test_colours_and_covers_leave_targets_alone(void) {
  make_masks(patch);
  dl_data *data;
  DL_ASSERT_OK(
      open_text("task: multilabel\ndata: {file: over.h5, train: {y: plain}, shuffle: none, augment: "
                "[{random_brightness: 0.9}, {cutout: 4}]}",
                &data));
  float x[MASKS * MASK_PLANE], y[MASKS * MASK_PLANE];
  dl_batch both = {.x = x, .y = y};
  DL_ASSERT_OK(dl_data_read_step(data, 1, MASKS, 0, 0, MASKS, &both));
  int wrong = 0, other = 0;
  for (int i = 0; i < MASKS * MASK_PLANE; i++) {
    wrong += y[i] != patch(i);
    other += x[i] != patch(i);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT(other > MASKS * 4);
  dl_data_destroy(&data);
}

/* An autoencoder: y is x as the network reads it, in every split. */
static void test_where_y_is_x_the_targets_are_what_the_network_reads(void) {
  static const char *const more[] = {"normalize: none", "normalize: unit", "normalize: per_channel, layout: nhwc",
                                     "augment: [flip_horizontal]", "shuffle: lanes"};
  double values[6 * 2 * 3 * 2];
  for (int i = 0; i < 72; i++) values[i] = (double)(i * 37 % 251);
  hid_t file = make_file("auto.h5");
  make_set(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, DIMS(6, 2, 3, 2), H5P_DEFAULT, values);
  make_set(file, "test/x", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, DIMS(2, 2, 3, 2), H5P_DEFAULT, values + 48);
  make_labels(file, "test/y", 2, labels6);
  H5Fclose(file);
  for (int i = 0; i < 5; i++) {
    char text[200];
    snprintf(text, sizeof text, "task: regression\ndata: {file: auto.h5, train: {y: train/x}, %s}", more[i]);
    dl_data *data;
    DL_ASSERT_OK(open_text(text, &data));
    if (!data) continue;
    CU_ASSERT_EQUAL(dl_data_shape_of(data)->y_size, 12);
    CU_ASSERT(dl_data_has_y(data, DL_SPLIT_TEST));
    float x[48], y[48];
    dl_batch both = {.x = x, .y = y}, alone = {.y = y};
    DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TEST, 0, 2, &both));
    CU_ASSERT_EQUAL(memcmp(x, y, 24 * sizeof *x), 0);
    if (i == 0)
      for (int k = 0; k < 24; k++) CU_ASSERT_EQUAL(y[k], (float)values[48 + k]);
    memset(y, 0, sizeof y);
    DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TEST, 0, 2, &alone));
    CU_ASSERT_EQUAL(memcmp(x, y, 24 * sizeof *x), 0);
    if (i < 4) { /* lanes want an order first */
      DL_ASSERT_OK(dl_data_read_step(data, 1, 4, 0, 0, 4, &both));
      CU_ASSERT_EQUAL(memcmp(x, y, sizeof x), 0);
    }
    dl_data_destroy(&data);
  }
  dl_data *data;
  CU_ASSERT_EQUAL(open_text("task: regression\ndata: {file: auto.h5, train: {y: train/x}, test: {y: test/y}}", &data),
                  DL_ERR_DATA);
}

static const dl_test tests[] = {
    DL_TEST(test_channels_that_seem_to_lie_at_the_other_end_are_told),
    DL_TEST(test_targets_may_be_images),
    DL_TEST(test_images_to_be_learnt_and_augmentation_are_warned_of),
    DL_TEST(test_targets_that_lie_over_x_are_augmented_with_it),
    DL_TEST(test_colours_and_covers_leave_targets_alone),
    DL_TEST(test_where_y_is_x_the_targets_are_what_the_network_reads),
};
DL_TEST_MAIN("data images", tests)

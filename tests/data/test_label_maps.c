/* Maps of labels: from files of any form and from arrays, with labels that stand for none, moved with the image; what
 * is wrong with them is told with file and row. */
#include "make_h5.h"

#include "core/log.h"

enum { MAPS = 7, MAP_H = 4, MAP_W = 5, MAP = MAP_H * MAP_W };

static int label_at(int i) { return i % 13 == 5 ? 255 : (i * 7 + i / MAP) % 4; }

static void make_maps(const char *name, int bad_at, int bad) {
  float x[MAPS * MAP];
  int y[MAPS * MAP];
  for (int i = 0; i < MAPS * MAP; i++) {
    x[i] = (float)label_at(i); /* the image shows its labels */
    y[i] = i == bad_at ? bad : label_at(i);
  }
  hid_t file = make_file(name);
  make_floats(file, "train/x", DIMS(MAPS, MAP_H, MAP_W), x);
  make_set(file, "plain", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(MAPS, MAP_H, MAP_W), H5P_DEFAULT, y);
  make_set(file, "first", H5T_STD_I64BE, H5T_NATIVE_INT, DIMS(MAPS, 1, MAP_H, MAP_W), H5P_DEFAULT, y);
  make_set(file, "last", H5T_IEEE_F32LE, H5T_NATIVE_INT, DIMS(MAPS, MAP_H, MAP_W, 1), H5P_DEFAULT, y);
  make_set(file, "flat", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(MAPS, MAP), H5P_DEFAULT, y);
  make_set(file, "hot", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(MAPS, 2, MAP_H, MAP_W / 2), H5P_DEFAULT, y);
  H5Fclose(file);
}

static dl_status open_maps(const char *y, const char *more, dl_data **out) {
  char text[400];
  snprintf(
      text, sizeof text,
      "task: segmentation\nloss: {name: cross_entropy, ignore_index: 255}\ndata: {file: maps.h5, train: {y: %s}%s}", y,
      more);
  return open_text(text, out);
}

static void test_maps_of_every_form_and_type_are_read_label_by_label(void) {
  static const char *const forms[] = {"plain", "first", "last"};
  make_maps("maps.h5", -1, 0);
  for (int k = 0; k < 3; k++) {
    dl_data *data;
    DL_ASSERT_OK(open_maps(forms[k], "", &data));
    if (!data) continue;
    const dl_data_shape *shape = dl_data_shape_of(data);
    CU_ASSERT(shape->y_size == MAP && shape->map[0] == MAP_H && shape->map[1] == MAP_W);
    CU_ASSERT_EQUAL(shape->classes, 4); /* 255 is none */
    int32_t label[MAPS * MAP];
    dl_batch batch = {.label = label};
    DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_TRAIN, 0, MAPS, &batch));
    int wrong = 0;
    for (int i = 0; i < MAPS * MAP; i++) wrong += label[i] != label_at(i);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(dl_data_check_labels(data, 4), DL_OK);
    CU_ASSERT_EQUAL(dl_data_check_labels(data, 3), DL_ERR_DATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "has the label 3 in row 0"));
    dl_data_destroy(&data);
  }
}

static void test_a_fraction_for_validation_cuts_maps_off_whole(void) {
  make_maps("maps.h5", -1, 0);
  dl_data *data;
  DL_ASSERT_OK(open_maps("plain", ", valid: 0.3", &data));
  CU_ASSERT(dl_data_samples(data, DL_SPLIT_TRAIN) == 5 && dl_data_samples(data, DL_SPLIT_VALID) == 2);
  float x[2 * MAP];
  int32_t label[2 * MAP];
  dl_batch batch = {.x = x, .label = label};
  DL_ASSERT_OK(dl_data_read(data, DL_SPLIT_VALID, 0, 2, &batch));
  int wrong = 0;
  for (int i = 0; i < 2 * MAP; i++) wrong += (float)label[i] != x[i];
  CU_ASSERT_EQUAL(wrong, 0);
  dl_data_destroy(&data);
}

/* An image that shows its labels still does where it was but flipped and moved; 0 comes in there, and no label. */
static void check_moved(const dl_data *data) {
  float x[MAPS * MAP];
  int32_t label[MAPS * MAP];
  dl_batch batch = {.x = x, .label = label};
  DL_ASSERT_OK(dl_data_read_step(data, 2, MAPS, 0, 0, MAPS, &batch));
  int wrong = 0, none = 0;
  for (int i = 0; i < MAPS * MAP; i++) {
    none += label[i] == -1;
    wrong += (label[i] == -1 ? 0 : (float)label[i]) != x[i];
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT(none > 5 && none < MAPS * MAP / 2);
}

static void test_labels_move_with_the_image(void) {
  make_maps("maps.h5", -1, 0);
  dl_data *data;
  DL_ASSERT_OK(open_maps("first", ", augment: [flip_horizontal, {random_crop: 2}, flip_vertical]", &data));
  check_moved(data);
  dl_data_destroy(&data);

  float x[MAPS * MAP];
  int32_t label[MAPS * MAP];
  for (int i = 0; i < MAPS * MAP; i++) x[i] = (float)(label[i] = label_at(i));
  dl_config *config = make_config(
      "task: segmentation\nloss: {name: cross_entropy, ignore_index: 255}\ndata: {augment: [{random_crop: 2}]}");
  const dl_data_shape shape = {.x_dims = 3, .x_shape = {1, MAP_H, MAP_W}};
  const dl_data_arrays splits[DL_SPLITS] = {{.samples = MAPS, .x = x, .labels = label}};
  DL_ASSERT_OK(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data));
  CU_ASSERT(dl_data_shape_of(data)->classes == 4 && dl_data_shape_of(data)->y_size == MAP);
  check_moved(data);
  dl_data_destroy(&data);
  label[3 * MAP + 2] = -4;
  CU_ASSERT_EQUAL(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "row 3 of train has the label -4"));
  dl_config_destroy(&config);
}

static void expect(const char *y, const char *more, dl_status status, const char *part) {
  dl_data *data = NULL;
  CU_ASSERT_EQUAL(open_maps(y, more, &data), status);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, part));
  if (!strstr(dl_error_last()->message, part)) fprintf(stderr, "says: %s\n", dl_error_last()->message);
  dl_data_destroy(&data);
}

static void test_what_is_no_map_of_labels_is_told(void) {
  make_maps("maps.h5", -1, 0);
  expect("flat", "", DL_ERR_DATA, "'flat' has the shape (7, 20); segmentation wants a map of class numbers a sample");
  expect("hot", "", DL_ERR_DATA, "'hot' has the shape (7, 2, 4, 2); segmentation wants");
  make_maps("maps.h5", 3 * MAP + 4, -2);
  expect("first", "", DL_ERR_DATA, "'first' has the label -2 in row 3: labels start at 0");
  make_maps("maps.h5", 5 * MAP, 200000000);
  expect("first", "", DL_ERR_DATA, "in row 5: labels must be below");
}

static const dl_test tests[] = {
    DL_TEST(test_maps_of_every_form_and_type_are_read_label_by_label),
    DL_TEST(test_a_fraction_for_validation_cuts_maps_off_whole),
    DL_TEST(test_labels_move_with_the_image),
    DL_TEST(test_what_is_no_map_of_labels_is_told),
};
DL_TEST_MAIN("data: label maps", tests)

/* Augmented batches against a brute-force version that pads, cuts and mirrors whole images, value by value; who is
 * augmented, and what a configuration may say about it. */
#include "make_h5.h"

#include <math.h>

#include "core/rng.h"
#include "data/augment.h"
#include "nn/allocations.h"

enum { SAMPLES = 23, MOST_VALUES = 4096 };

/* ---- the brute-force version ---- */

/* One augmentation as the oracle knows it: 'h' and 'v' flip with probability p, 'c' crops with this padding. */
typedef struct deed {
  char what;
  double p;
  int padding;
} deed;

typedef struct picture {
  int c, h, w;
  float at[MOST_VALUES];
} picture;

static void mirror(picture *image, char what) {
  picture *old = malloc(sizeof *old);
  *old = *image;
  for (int c = 0; c < image->c; c++)
    for (int y = 0; y < image->h; y++)
      for (int x = 0; x < image->w; x++) {
        const int from_y = what == 'v' ? image->h - 1 - y : y, from_x = what == 'h' ? image->w - 1 - x : x;
        image->at[(c * image->h + y) * image->w + x] = old->at[(c * image->h + from_y) * image->w + from_x];
      }
  free(old);
}

/* Pads with zeros, then cuts a piece of the old size whose upper left corner is at (top, left). */
static void pad_and_cut(picture *image, int padding, int top, int left) {
  const int h = image->h + 2 * padding, w = image->w + 2 * padding;
  float *padded = calloc((size_t)(image->c * h * w), sizeof *padded);
  for (int c = 0; c < image->c; c++)
    for (int y = 0; y < image->h; y++)
      for (int x = 0; x < image->w; x++)
        padded[(c * h + y + padding) * w + x + padding] = image->at[(c * image->h + y) * image->w + x];
  for (int c = 0; c < image->c; c++)
    for (int y = 0; y < image->h; y++)
      for (int x = 0; x < image->w; x++)
        image->at[(c * image->h + y) * image->w + x] = padded[(c * h + y + top) * w + x + left];
  free(padded);
}

static void do_deeds(const deed *deeds, int n, uint64_t seed, uint32_t epoch, uint64_t sample, picture *image) {
  for (int k = 0; k < n; k++) {
    const dl_rng_key key = dl_rng_stream(seed, DL_RNG_AUGMENT, (uint32_t)k);
    const uint32_t first = dl_rng_word(key, epoch, sample, 0), second = dl_rng_word(key, epoch, sample, 1);
    const double places = 2.0 * deeds[k].padding + 1;
    if (deeds[k].what == 'c')
      pad_and_cut(image, deeds[k].padding, (int)floor(first / 4294967296.0 * places),
                  (int)floor(second / 4294967296.0 * places));
    else if (floor(first / 256.0) / 16777216.0 < deeds[k].p)
      mirror(image, deeds[k].what);
  }
}

/* ---- files ---- */

typedef struct file_form {
  hid_t type;
  const char *layout, *normalize;
  int c, h, w;
  bool grey; /* (N, H, W) */
} file_form;

/* A value that says where it stands; never 0, which is what comes in from outside. */
static int value_at(int n, int c, int y, int x) { return 1 + (n * 31 + c * 17 + y * 5 + x * 3 + x * y) % 120; }

static void make_images(const char *name, const file_form *form) {
  const int c = form->c, h = form->h, w = form->w;
  int *values = calloc((size_t)(SAMPLES * c * h * w), sizeof *values), labels[SAMPLES];
  const bool last = !strcmp(form->layout, "nhwc");
  for (int n = 0; n < SAMPLES; n++) {
    labels[n] = n; /* a sample's label is its number */
    for (int k = 0; k < c; k++)
      for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
          values[last ? ((n * h + y) * w + x) * c + k : ((n * c + k) * h + y) * w + x] = value_at(n, k, y, x);
  }
  const hsize_t plain[] = {SAMPLES, (hsize_t)c, (hsize_t)h, (hsize_t)w},
                turned[] = {SAMPLES, (hsize_t)h, (hsize_t)w, (hsize_t)c}, grey[] = {SAMPLES, (hsize_t)h, (hsize_t)w};
  hid_t file = make_file(name);
  make_set(file, "train/x", form->type, H5T_NATIVE_INT, form->grey ? 3 : 4,
           form->grey ? grey
           : last     ? turned
                      : plain,
           H5P_DEFAULT, values);
  make_labels(file, "train/y", SAMPLES, labels);
  H5Fclose(file);
  free(values);
}

/* ---- batches against the oracle ---- */

/* The values of one row that are not what the oracle says, bit for bit. */
static int wrong_values(const dl_data *data, const file_form *form, const deed *deeds, int n, uint32_t epoch,
                        int32_t sample, const float *got) {
  const dl_norm *norm = dl_data_norm(data);
  picture *image = malloc(sizeof *image);
  image->c = form->c, image->h = form->h, image->w = form->w;
  const int plane = form->h * form->w;
  for (int i = 0; i < form->c * plane; i++)
    image->at[i] = (float)value_at(sample, i / plane, i % plane / form->w, i % form->w);
  do_deeds(deeds, n, 5, epoch, (uint64_t)sample, image);
  int wrong = 0;
  for (int i = 0; i < form->c * plane; i++) {
    const int figure = norm->n == 1 ? 0 : norm->n == form->c ? i / plane : i;
    const float want = (image->at[i] - norm->shift[figure]) * norm->scale[figure];
    wrong += memcmp(&want, &got[i], sizeof want) != 0;
  }
  free(image);
  return wrong;
}

static void check_epoch(const dl_data *data, const file_form *form, const deed *deeds, int n, int64_t epoch) {
  const int64_t size = form->c * form->h * form->w, batch = 7;
  float *x = calloc((size_t)(batch * size), sizeof *x), *one = calloc((size_t)size, sizeof *one);
  int32_t labels[7] = {0};
  int wrong = 0;
  for (int64_t step = 0; step < dl_data_steps(data, batch, false); step++) {
    const int64_t rows = dl_data_step_samples(data, batch, step);
    dl_batch all = {.x = x, .label = labels}, single = {.x = one};
    DL_ASSERT_OK(dl_data_read_step(data, epoch, batch, step, 0, rows, &all));
    for (int64_t i = 0; i < rows; i++) {
      wrong += wrong_values(data, form, deeds, n, (uint32_t)epoch, labels[i], x + i * size);
      DL_ASSERT_OK(dl_data_read_step(data, epoch, batch, step, i, i + 1, &single)); /* whoever computes it */
      wrong += memcmp(one, x + i * size, (size_t)size * sizeof *one) != 0;
    }
  }
  CU_ASSERT_EQUAL(wrong, 0);
  if (wrong) fprintf(stderr, "%s %s, %d deeds: %d values are wrong\n", form->layout, form->normalize, n, wrong);
  free(x);
  free(one);
}

static void check_form(const file_form *form, const char *list, const deed *deeds, int n, const char *more) {
  char text[512];
  make_images("images.h5", form);
  snprintf(text, sizeof text, "seed: 5\ndata: {file: images.h5, layout: %s, normalize: %s, augment: [%s]%s}",
           form->layout, form->normalize, list, more);
  dl_data *data;
  DL_ASSERT_OK(open_text(text, &data));
  if (!data) return;
  for (int64_t epoch = 0; epoch < 3; epoch++) check_epoch(data, form, deeds, n, epoch);
  dl_data_destroy(&data);
}

static void test_batches_are_those_of_brute_force_for_every_type_layout_and_norm(void) {
  const hid_t types[] = {H5T_STD_U8LE, H5T_STD_I8LE, H5T_STD_U16LE, H5T_STD_I16LE, H5T_IEEE_F32LE};
  const char *const norms[] = {"none", "unit", "per_channel", "per_feature"};
  const deed deeds[] = {{'h', 0.5, 0}, {'c', 0, 2}};
  for (int t = 0; t < 5; t++)
    for (int k = 0; k < 4; k++)
      for (int last = 0; last < 2; last++) {
        const file_form form = {types[t], last ? "nhwc" : "nchw", norms[k], 3, 5, 7, false};
        check_form(&form, "flip_horizontal, {random_crop: {padding: 2}}", deeds, 2, "");
      }
}

static void test_any_list_in_any_order_is_brute_force(void) {
  const file_form form = {H5T_STD_U8LE, "nchw", "per_channel", 3, 6, 9, false};
  const deed crop_first[] = {{'c', 0, 5}, {'h', 0.5, 0}}, twice[] = {{'c', 0, 3}, {'c', 0, 3}},
             many[] = {{'v', 0.3, 0}, {'c', 0, 4}, {'h', 0.7, 0}, {'c', 0, 1}, {'v', 0.5, 0}, {'h', 1, 0}, {'c', 0, 5}},
             far[] = {{'c', 0, 5}, {'c', 0, 5}, {'h', 0.5, 0}, {'c', 0, 5}, {'v', 0.5, 0}, {'c', 0, 4}},
             certain[] = {{'h', 1, 0}}, never[] = {{'h', 0, 0}, {'v', 0, 0}, {'c', 0, 0}};
  check_form(&form, "{random_crop: 5}, flip_horizontal", crop_first, 2, "");
  check_form(&form, "{random_crop: {padding: 3}}, {random_crop: 3}", twice, 2, "");
  check_form(&form,
             "{flip_vertical: 0.3}, {random_crop: 4}, {flip_horizontal: {p: 0.7}}, {random_crop: 1}, flip_vertical, "
             "{flip_horizontal: 1}, {random_crop: 5}",
             many, 7, "");
  /* further than the image is wide, and back */
  check_form(&form,
             "{random_crop: 5}, {random_crop: 5}, flip_horizontal, {random_crop: 5}, flip_vertical, {random_crop: 4}",
             far, 6, "");
  check_form(&form, "{flip_horizontal: {p: 1}}", certain, 1, "");
  check_form(&form, "{flip_horizontal: 0}, {flip_vertical: 0}, {random_crop: 0}", never, 3, "");
  check_form(&form, "", NULL, 0, "");
}

static void test_sides_of_one_grey_images_and_a_cut_for_valid_are_brute_force(void) {
  const deed flip[] = {{'h', 0.5, 0}, {'v', 0.5, 0}}, both[] = {{'c', 0, 4}, {'h', 0.5, 0}};
  const file_form column = {H5T_IEEE_F32LE, "nchw", "none", 2, 9, 1, false},
                  dot = {H5T_STD_U8LE, "nchw", "unit", 1, 1, 1, false},
                  grey = {H5T_STD_U8LE, "nchw", "per_channel", 1, 8, 5, true},
                  wide = {H5T_STD_U16LE, "nhwc", "per_feature", 4, 5, 70, false};
  check_form(&column, "flip_horizontal, flip_vertical", flip, 2, "");
  check_form(&dot, "flip_horizontal, flip_vertical", flip, 2, "");
  check_form(&grey, "{random_crop: 4}, flip_horizontal", both, 2, "");
  check_form(&wide, "{random_crop: 4}, flip_horizontal", both, 2, "");
  check_form(&grey, "{random_crop: 4}, flip_horizontal", both, 2, ", valid: 0.3");
  check_form(&grey, "{random_crop: 4}, flip_horizontal", both, 2, ", shuffle: none");
}

/* ---- what is random about it ---- */

static dl_augment *make_augment(const char *list, int64_t seed, int64_t height, int64_t width) {
  char text[256];
  snprintf(text, sizeof text, "seed: %lld\ndata: {augment: [%s]}", (long long)seed, list);
  dl_config *config = make_config(text);
  const dl_data_shape shape = {.x_dims = 3, .x_shape = {1, height, width}, .x_size = height * width};
  dl_augment *augment = NULL;
  DL_ASSERT_OK(dl_augment_new(config, &shape, &augment));
  dl_config_destroy(&config);
  return augment;
}

/* chi-square of `n` counts that should be equal, in standard deviations from what is expected. */
static double unevenness(const int *counts, int n, double all) {
  double chi = 0;
  for (int i = 0; i < n; i++) chi += (counts[i] - all / n) * (counts[i] - all / n) / (all / n);
  return (chi - (n - 1)) / sqrt(2.0 * (n - 1));
}

static void test_flips_and_shifts_come_evenly_and_independently(void) {
  enum { DRAWS = 49 * 4 * 400, PADDING = 3 };
  dl_augment *augment = make_augment("flip_horizontal, flip_vertical, {random_crop: 3}", 9, 32, 32);
  static int counts[4 * 49];
  memset(counts, 0, sizeof counts);
  for (int i = 0; i < DRAWS; i++) {
    dl_view view;
    dl_augment_draw(augment, i % 7, i / 7, &view);
    const int mirrored = view.columns.step < 0, turned = view.rows.step < 0;
    const int64_t down = turned ? 31 - view.rows.at : view.rows.at,
                  right = mirrored ? 31 - view.columns.at : view.columns.at;
    CU_ASSERT_FATAL(down >= -PADDING && down <= PADDING && right >= -PADDING && right <= PADDING);
    counts[((mirrored * 2 + turned) * 7 + (int)down + PADDING) * 7 + (int)right + PADDING]++;
  }
  CU_ASSERT(fabs(unevenness(counts, 4 * 49, DRAWS)) < 4);
  dl_augment_destroy(&augment);
}

/* How many of 4,000 draws two lists, seeds, epochs and samples have in common. */
static int in_common(const dl_augment *a, const dl_augment *b, int epochs_apart, int samples_apart) {
  int same = 0;
  for (int i = 0; i < 4000; i++) {
    dl_view x, y;
    dl_augment_draw(a, 3, i, &x);
    dl_augment_draw(b, 3 + epochs_apart, i + samples_apart, &y);
    same += !memcmp(&x.rows, &y.rows, sizeof x.rows) && !memcmp(&x.columns, &y.columns, sizeof x.columns);
  }
  return same;
}

static void test_draws_depend_on_seed_epoch_sample_and_place_alone(void) {
  dl_augment *a = make_augment("{random_crop: 4}", 1, 32, 32), *again = make_augment("{random_crop: 4}", 1, 32, 32),
             *seed = make_augment("{random_crop: 4}", 2, 32, 32),
             *second = make_augment("{flip_vertical: 0}, {random_crop: 4}", 1, 32, 32);
  CU_ASSERT_EQUAL(in_common(a, again, 0, 0), 4000);
  const int chance[] = {in_common(a, seed, 0, 0), in_common(a, second, 0, 0), in_common(a, a, 1, 0),
                        in_common(a, a, 0, 1)};
  for (int i = 0; i < 4; i++) CU_ASSERT(abs(chance[i] - 4000 / 81) < 30); /* one of 81 is the same by chance */
  dl_augment_destroy(&a);
  dl_augment_destroy(&again);
  dl_augment_destroy(&seed);
  dl_augment_destroy(&second);
}

/* ---- who is augmented ---- */

static file_form usual; /* made by main: HDF5's types are no constants */

static void test_reading_for_evaluation_and_the_figures_of_the_norm_see_images_as_they_are(void) {
  make_images("eval.h5", &usual);
  dl_data *plain, *augmented;
  DL_ASSERT_OK(open_text("data: {file: eval.h5, normalize: per_channel, valid: 0.3}", &plain));
  DL_ASSERT_OK(open_text(
      "data: {file: eval.h5, normalize: per_channel, valid: 0.3, augment: [{flip_horizontal: 1}, {random_crop: 4}]}",
      &augmented));
  for (int split = 0; split < 2; split++) {
    float *a = read_x(plain, (dl_split_kind)split), *b = read_x(augmented, (dl_split_kind)split);
    const int64_t n = dl_data_samples(plain, (dl_split_kind)split);
    CU_ASSERT(n > 0 && n == dl_data_samples(augmented, (dl_split_kind)split));
    CU_ASSERT_EQUAL(memcmp(a, b, (size_t)(n * 192) * sizeof *a), 0);
    free(a);
    free(b);
  }
  CU_ASSERT_EQUAL(memcmp(dl_data_norm(plain)->shift, dl_data_norm(augmented)->shift, 12), 0);
  dl_data_destroy(&plain);
  dl_data_destroy(&augmented);
}

static void test_flat_rows_may_be_evaluated_with_a_list_for_images(void) {
  const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  const int y[4] = {0, 1, 0, 1};
  hid_t file = make_file("flat.h5");
  make_floats(file, "train/x", DIMS(4, 2), x);
  make_labels(file, "train/y", 4, y);
  H5Fclose(file);
  dl_data *data;
  const unsigned evaluation = 1u << DL_SPLIT_TRAIN | DL_DATA_ONLY_NEEDED;
  DL_ASSERT_OK(open_need("data: {file: flat.h5, augment: [flip_horizontal]}", evaluation, &data));
  dl_data_destroy(&data);
}

static void test_arrays_are_augmented_like_files(void) {
  const int values = usual.c * usual.h * usual.w;
  float *x = calloc((size_t)(SAMPLES * values), sizeof *x);
  int32_t labels[SAMPLES];
  for (int i = 0; i < SAMPLES * values; i++) x[i] = (float)value_at(i / values, i % values / 64, i % 64 / 8, i % 8);
  for (int n = 0; n < SAMPLES; n++) labels[n] = n;
  dl_config *config = make_config("seed: 5\ndata: {normalize: per_channel, augment: [{random_crop: 3}]}");
  const dl_data_shape shape = {.x_dims = 3, .x_shape = {3, 8, 8}};
  const dl_data_arrays splits[DL_SPLITS] = {{.samples = SAMPLES, .x = x, .labels = labels}};
  dl_data *data;
  DL_ASSERT_OK(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data));
  check_epoch(data, &usual, (const deed[]){{'c', 0, 3}}, 1, 4);
  dl_data_destroy(&data);
  dl_config_destroy(&config);
  free(x);
}

#if COUNTS_ALLOCATIONS
static void test_a_step_allocates_nothing(void) {
  make_images("steps.h5", &usual);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: steps.h5, augment: [flip_horizontal, {random_crop: 4}]}", &data));
  static float x[8 * 192];
  dl_batch batch = {.x = x};
  const long before = allocations;
  for (int64_t epoch = 0; epoch < 4; epoch++) DL_ASSERT_OK(dl_data_read_step(data, epoch, 8, 1, 0, 8, &batch));
  CU_ASSERT_EQUAL(allocations, before);
  dl_data_destroy(&data);
  CU_ASSERT(before > 0); /* or the counter does not count */
}
#endif

/* ---- configuration ---- */

static void expect(const char *file, const char *augment, const char *parts) {
  char text[512], whole[2048], list[512];
  snprintf(text, sizeof text, "data:\n  file: %s\n  augment: %s", file, augment);
  dl_data *data;
  const dl_status got = open_text(text, &data);
  dl_error_format(dl_error_last(), whole, sizeof whole);
  CU_ASSERT_EQUAL(got, DL_ERR_USAGE);
  dl_data_destroy(&data);
  snprintf(list, sizeof list, "%s", parts);
  for (char *next, *part = strtok_r(list, "|", &next); part && got != DL_OK; part = strtok_r(NULL, "|", &next)) {
    CU_ASSERT_PTR_NOT_NULL(strstr(whole, part));
    if (!strstr(whole, part)) fprintf(stderr, "%s\n  says: %s\n  without: %s\n", augment, whole, part);
  }
}

static void test_what_is_wrong_with_a_list_is_said_at_its_place(void) {
  make_images("wrong.h5", &usual);
  expect("wrong.h5", "flip_horizontal", "c.yaml:4:12|must be a list of augmentations");
  expect("wrong.h5", "[flip_horizontl]", "c.yaml:4:13|unknown augmentation 'flip_horizontl'|'flip_horizontal'");
  expect("wrong.h5", "[flip_horizontal, {randomcrop: 4}]", "c.yaml:4:31|unknown augmentation|'random_crop'");
  expect("wrong.h5", "[zzz]", "c.yaml:4:13|unknown augmentation 'zzz'|dldist list augmentations");
  expect("wrong.h5", "[{flip_horizontal: {p: 1.5}}]", "c.yaml:4:35|p must lie within 0 and 1");
  expect("wrong.h5", "[{flip_horizontal: {q: 0.5}}]", "c.yaml:4:32|unknown key 'q' in flip_horizontal");
  expect("wrong.h5", "[random_crop]", "c.yaml:4:13|random_crop: 'padding' is missing");
  expect("wrong.h5", "[{random_crop: {padding: -1}}]", "c.yaml:4:37|padding must lie within");
  expect("wrong.h5", "[{random_crop: {padding: 2.5}}]", "c.yaml:4:37|whole number");
  expect("wrong.h5", "[{random_crop: 8}]", "c.yaml:4:27|a padding of 8|8 x 8|below 8");
  expect("wrong.h5", "[{flip_horizontal: 1, random_crop: 1}]", "c.yaml:4|an augmentation must be a name");
  expect("wrong.h5", "[[flip_horizontal]]", "c.yaml:4:13|an augmentation must be a name");
}

static void test_features_and_tokens_are_no_images(void) {
  const float x[12] = {0};
  const int y[4] = {0, 1, 0, 1};
  hid_t file = make_file("features.h5");
  make_floats(file, "train/x", DIMS(4, 3), x);
  make_labels(file, "train/y", 4, y);
  H5Fclose(file);
  expect("features.h5", "[flip_horizontal]", "c.yaml:4:12|is for images|a sample of x has 1 dimension");
  file = make_file("volumes.h5");
  make_floats(file, "train/x", DIMS(4, 1, 1, 1, 3), x);
  make_labels(file, "train/y", 4, y);
  H5Fclose(file);
  expect("volumes.h5", "[flip_horizontal]", "c.yaml:4:12|is for images|a sample of x has 4 dimensions");
}

static void test_the_configuration_in_force_holds_the_defaults(void) {
  make_images("force.h5", &usual);
  dl_config *config = make_config("data: {file: force.h5, augment: [flip_horizontal, {random_crop: 4}]}");
  dl_data *data;
  DL_ASSERT_OK(dl_data_open(test_solo_team(), config, 1u << DL_SPLIT_TRAIN, &data));
  char *text = NULL;
  DL_ASSERT_OK(dl_config_write(config, &text));
  dl_config *again = NULL;
  DL_ASSERT_OK(dl_config_parse(text, strlen(text), test_path("again.yaml"), NULL, 0, &again));
  const dl_node *root = again->document.root, *p = dl_node_find(root, "data.augment.0.flip_horizontal.p"),
                *padding = dl_node_find(root, "data.augment.1.random_crop.padding");
  CU_ASSERT(p && !strcmp(p->text, "0.5"));
  CU_ASSERT(padding && !strcmp(padding->text, "4"));
  dl_config_destroy(&again);
  free(text);
  dl_data_destroy(&data);
  dl_config_destroy(&config);
}

static const dl_test tests[] = {
    DL_TEST(test_batches_are_those_of_brute_force_for_every_type_layout_and_norm),
    DL_TEST(test_any_list_in_any_order_is_brute_force),
    DL_TEST(test_sides_of_one_grey_images_and_a_cut_for_valid_are_brute_force),
    DL_TEST(test_flips_and_shifts_come_evenly_and_independently),
    DL_TEST(test_draws_depend_on_seed_epoch_sample_and_place_alone),
    DL_TEST(test_reading_for_evaluation_and_the_figures_of_the_norm_see_images_as_they_are),
    DL_TEST(test_flat_rows_may_be_evaluated_with_a_list_for_images),
    DL_TEST(test_arrays_are_augmented_like_files),
#if COUNTS_ALLOCATIONS
    DL_TEST(test_a_step_allocates_nothing),
#endif
    DL_TEST(test_what_is_wrong_with_a_list_is_said_at_its_place),
    DL_TEST(test_features_and_tokens_are_no_images),
    DL_TEST(test_the_configuration_in_force_holds_the_defaults),
};

int main(void) {
  usual = (file_form){H5T_STD_U8LE, "nchw", "per_channel", 3, 8, 8, false};
  return dl_test_main("data: augmentation", tests, sizeof tests / sizeof tests[0]);
}

/* What each augmentation does to an image: views against Pillow, colours and covers against float64 by brute force, and
 * how what is random about them is spread. */
#include "make_h5.h"

#include <math.h>

#include "core/rng.h"
#include "data/augment.h"
#include "data/convert.h"
#include "golden/augment_golden.h"
#include "nn/allocations.h"

/* ---- views ---- */

static void do_golden_deed(const golden_deed *deed, dl_view *view) {
  if (deed->what == 't') dl_view_turn(view, deed->n[0]);
  if (deed->what == 'f') dl_view_fill(view, deed->n[0], deed->n[1], deed->n[2], deed->n[3]);
  if (deed->what == 'h') dl_view_flip(view, DL_VIEW_COLUMNS);
  if (deed->what == 'v') dl_view_flip(view, DL_VIEW_ROWS);
  if (deed->what != 's') return;
  dl_view_shift(view, DL_VIEW_ROWS, (int64_t)deed->n[0]);
  dl_view_shift(view, DL_VIEW_COLUMNS, (int64_t)deed->n[1]);
}

static dl_view golden_view(int k) {
  dl_view view;
  dl_view_begin(&view, GOLDEN_H, GOLDEN_W);
  for (int d = 0; d < GOLDEN_DEEDS && golden[k].deeds[d].what; d++) do_golden_deed(&golden[k].deeds[d], &view);
  return view;
}

enum { GOLDEN_PLANE = GOLDEN_H * GOLDEN_W };

/* Two channels: the picture, and it mirrored in value, as elements of a kind. */
static const void *picture_of(int element) {
  static union {
    uint8_t u8[2 * GOLDEN_PLANE];
    int8_t i8[2 * GOLDEN_PLANE];
    uint16_t u16[2 * GOLDEN_PLANE];
    int16_t i16[2 * GOLDEN_PLANE];
    float f32[2 * GOLDEN_PLANE];
  } all;
  for (int i = 0; i < 2 * GOLDEN_PLANE; i++) {
    const int value = i < GOLDEN_PLANE ? golden_picture[i] : 255 - golden_picture[i - GOLDEN_PLANE];
    if (element == DL_ELEMENT_U8) all.u8[i] = (uint8_t)value;
    if (element == DL_ELEMENT_I8) all.i8[i] = (int8_t)(value / 2);
    if (element == DL_ELEMENT_U16) all.u16[i] = (uint16_t)(value * 200);
    if (element == DL_ELEMENT_I16) all.i16[i] = (int16_t)(value * -100);
    if (element == DL_ELEMENT_F32) all.f32[i] = (float)value / 8;
  }
  return &all;
}

static void test_what_is_seen_is_what_pillow_sees(void) {
  const double scale[DL_ELEMENTS] = {1, 0, 200, -100, 0.125}; /* of i8 later: its halves are whole numbers */
  for (int k = 0; k < GOLDEN_CASES; k++)
    for (int element = 0; element < DL_ELEMENTS; element++) {
      if (element == DL_ELEMENT_I8) continue;
      const dl_view view = golden_view(k);
      float out[2 * GOLDEN_PLANE];
      dl_view_read(&view, element, 2, picture_of(element), NULL, out);
      double worst = 0;
      for (int i = 0; i < GOLDEN_PLANE; i++)
        worst = fmax(worst, fabs((double)out[i] / scale[element] - golden[k].want[i]));
      CU_ASSERT(worst < 1e-3); /* of values to 255, Pillow's places being floats of their own */
      if (worst >= 1e-3) fprintf(stderr, "case %d, element %d: %g\n", k, element, worst);
    }
}

/* Of each channel the same: the second is 255 less the first where the picture is, and 0 beside it. */
static void test_channels_are_seen_alike_and_normalised_by_their_own_figures(void) {
  float shift[] = {10, 20}, factor[] = {0.5f, 0.25f};
  const dl_norm norm = {.kind = DL_NORMALIZE_PER_CHANNEL, .n = 2, .shift = shift, .scale = factor};
  for (int k = 0; k < GOLDEN_CASES; k++) {
    const dl_view view = golden_view(k);
    float raw[2 * GOLDEN_PLANE], ones[2 * GOLDEN_PLANE], normal[2 * GOLDEN_PLANE];
    uint8_t white[2 * GOLDEN_PLANE];
    memset(white, 1, sizeof white);
    dl_view_read(&view, DL_ELEMENT_U8, 2, picture_of(DL_ELEMENT_U8), NULL, raw);
    dl_view_read(&view, DL_ELEMENT_U8, 2, picture_of(DL_ELEMENT_U8), &norm, normal);
    dl_view_read(&view, DL_ELEMENT_U8, 2, white, NULL, ones); /* how much of each point is the picture */
    int wrong = 0;
    for (int i = 0; i < 2 * GOLDEN_PLANE; i++) {
      const float want = (raw[i] - shift[i / GOLDEN_PLANE]) * factor[i / GOLDEN_PLANE];
      wrong += memcmp(&want, &normal[i], sizeof want) != 0;
    }
    for (int i = 0; i < GOLDEN_PLANE; i++) wrong += fabsf(raw[i] + raw[GOLDEN_PLANE + i] - 255 * ones[i]) > 1e-3f;
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

static void test_bytes_with_a_sign_are_seen_as_floats_of_their_value_are(void) {
  float values[2 * GOLDEN_PLANE], want[2 * GOLDEN_PLANE], got[2 * GOLDEN_PLANE];
  const int8_t *bytes = picture_of(DL_ELEMENT_I8);
  for (int i = 0; i < 2 * GOLDEN_PLANE; i++) values[i] = (float)bytes[i];
  for (int k = 0; k < GOLDEN_CASES; k++) {
    const dl_view view = golden_view(k);
    dl_view_read(&view, DL_ELEMENT_I8, 2, bytes, NULL, got);
    dl_view_read(&view, DL_ELEMENT_F32, 2, values, NULL, want);
    CU_ASSERT_EQUAL(memcmp(got, want, sizeof got), 0);
  }
}

/* The picture has no 0: where Pillow has one there is nothing. */
static void test_labels_are_those_of_the_nearest_pixels(void) {
  int32_t labels[GOLDEN_PLANE], seen[GOLDEN_PLANE];
  for (int i = 0; i < GOLDEN_PLANE; i++) labels[i] = golden_picture[i];
  for (int k = 0; k < GOLDEN_CASES; k++) {
    const dl_view view = golden_view(k);
    dl_view_read_labels(&view, labels, seen);
    int wrong = 0;
    for (int i = 0; i < GOLDEN_PLANE; i++) wrong += seen[i] != (golden[k].nearest[i] ? golden[k].nearest[i] : -1);
    CU_ASSERT_EQUAL(wrong, 0);
    if (wrong) fprintf(stderr, "case %d: %d labels are wrong\n", k, wrong);
  }
}

/* ---- lists ---- */

static dl_augment *make_augment(const char *list, int64_t channels, int64_t height, int64_t width) {
  char text[256];
  snprintf(text, sizeof text, "seed: 3\ndata: {augment: [%s]}", list);
  dl_config *config = make_config(text);
  const dl_data_shape shape = {.x_dims = 3, .x_shape = {channels, height, width}, .x_size = channels * height * width};
  dl_augment *augment = NULL;
  DL_ASSERT_OK(dl_augment_new(config, &shape, &augment));
  dl_config_destroy(&config);
  return augment;
}

static double unit(int entry, int64_t epoch, int64_t sample, int word) {
  const dl_rng_key key = dl_rng_stream(3, DL_RNG_AUGMENT, (uint32_t)entry);
  return floor(dl_rng_word(key, (uint32_t)epoch, (uint64_t)sample, (uint64_t)word) / 256.0) / 16777216.0;
}

/* The largest distance of two maps at the corners of an image. */
static double apart(const dl_view *a, const dl_view *b) {
  double worst = 0;
  for (int corner = 0; corner < 4; corner++)
    for (int side = 0; side < 2; side++) {
      const double y = corner / 2 ? (double)a->rows.size : 0, x = corner % 2 ? (double)a->columns.size : 0,
                   at = a->map[side][0] * y + a->map[side][1] * x + a->map[side][2],
                   other = b->map[side][0] * y + b->map[side][1] * x + b->map[side][2];
      worst = fmax(worst, fabs(at - other));
    }
  return worst;
}

static void test_angles_factors_and_pieces_are_those_that_were_asked_for(void) {
  dl_augment *turn = make_augment("{random_rotation: 25}", 1, 12, 20),
             *zoom = make_augment("{random_zoom: {by: 0.4}}", 1, 12, 20),
             *piece = make_augment("{random_resized_crop: {area: 0.3, ratio: 2}}", 1, 12, 20);
  double least_turn = 99, most_turn = -99, least_area = 2, most_area = 0, worst = 0;
  for (int64_t n = 0; n < 3000; n++) {
    dl_view got, want;
    dl_augment_draw(turn, 4, n, &got);
    dl_view_begin(&want, 12, 20);
    dl_view_turn(&want, -25 + 50 * unit(0, 4, n, 0));
    worst = fmax(worst, apart(&got, &want));
    const double degrees = atan2(got.map[0][1], got.map[0][0]) * 180 / acos(-1);
    least_turn = fmin(least_turn, degrees), most_turn = fmax(most_turn, degrees);

    dl_augment_draw(zoom, 4, n, &got);
    const double factor = 0.6 + 0.8 * unit(0, 4, n, 0), part = got.map[0][0] * got.map[1][1];
    worst = fmax(worst, fabs(part * factor * factor - 1));
    worst = fmax(worst, fabs(got.map[0][0] * 5.5 + got.map[0][2] - 5.5)); /* the middle stays */
    worst = fmax(worst, fabs(got.map[1][1] * 9.5 + got.map[1][2] - 9.5));

    dl_augment_draw(piece, 4, n, &got);
    const double h = got.map[0][0] * 12, w = got.map[1][1] * 20, top = got.map[0][2] - got.map[0][0] / 2 + 0.5,
                 left = got.map[1][2] - got.map[1][1] / 2 + 0.5;
    CU_ASSERT_FATAL(top > -1e-9 && left > -1e-9 && top + h < 12 + 1e-9 && left + w < 20 + 1e-9);
    CU_ASSERT_FATAL(w / h < 2 + 1e-9 && (w / h > 0.5 - 1e-9 || h > 12 - 1e-9));
    least_area = fmin(least_area, h * w / 240), most_area = fmax(most_area, h * w / 240);
  }
  CU_ASSERT(worst < 1e-9);
  CU_ASSERT(least_turn >= -25.001 && least_turn < -24.8 && most_turn <= 25.001 && most_turn > 24.8);
  CU_ASSERT(least_area > 0.29 && least_area < 0.32 && most_area < 1.0001 && most_area > 0.9);
  dl_augment_destroy(&turn);
  dl_augment_destroy(&zoom);
  dl_augment_destroy(&piece);
}

static void test_a_piece_has_its_area_whatever_its_shape_could_be(void) {
  dl_augment *most = make_augment("{random_resized_crop: {area: 0.9, ratio: 1.2}}", 1, 8, 32),
             *all = make_augment("{random_resized_crop: 1}", 1, 32, 32);
  for (int64_t n = 0; n < 500; n++) {
    dl_view view;
    dl_augment_draw(most, 1, n, &view);
    CU_ASSERT_FATAL(view.map[0][0] * view.map[1][1] > 0.9 - 1e-9 && view.map[0][0] < 1 + 1e-9 &&
                    view.map[1][1] < 1 + 1e-9);
    dl_augment_draw(all, 1, n, &view);
    CU_ASSERT_DOUBLE_EQUAL(view.map[0][0], 1, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(view.map[1][1], 1, 1e-12);
  }
  dl_augment_destroy(&most);
  dl_augment_destroy(&all);
}

/* ---- colours ---- */

enum { SIDE = 6, PLANE = SIDE * SIDE, VALUES = 3 * PLANE, SAMPLES = 17 };

static int value_at(int sample, int i) { return (sample * 53 + i * 29 + i * i) % 256; }

typedef struct shade {
  char what; /* 'b'rightness, 'c'ontrast, 's'aturation */
  double by;
} shade;

static double grey_of(const double *x) { return 0.299 * x[0] + 0.587 * x[PLANE] + 0.114 * x[2 * PLANE]; }

/* Entry k of the list is shade k. */
static void shade_by_hand(const shade *shades, int n, int64_t epoch, int64_t sample, double *x) {
  for (int k = 0; k < n; k++) {
    const double least = fmax(0, 1 - shades[k].by),
                 factor = least + (1 + shades[k].by - least) * unit(k, epoch, sample, 0);
    double mean = 0, grey[PLANE];
    for (int i = 0; i < PLANE; i++) mean += (grey[i] = grey_of(x + i)) / PLANE;
    for (int i = 0; i < VALUES; i++) {
      const double other = shades[k].what == 'b' ? 0 : shades[k].what == 'c' ? mean : grey[i % PLANE];
      x[i] = fmin(255, fmax(0, factor * x[i] + (1 - factor) * other));
    }
  }
}

static void make_pictures(const char *name) {
  static unsigned char values[SAMPLES * VALUES];
  int labels[SAMPLES];
  for (int n = 0; n < SAMPLES; n++) {
    labels[n] = n;
    for (int i = 0; i < VALUES; i++) values[n * VALUES + i] = (unsigned char)value_at(n, i);
  }
  hid_t file = make_file(name);
  const hsize_t dims[] = {SAMPLES, 3, SIDE, SIDE};
  make_set(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UCHAR, 4, dims, H5P_DEFAULT, values);
  make_labels(file, "train/y", SAMPLES, labels);
  H5Fclose(file);
}

static dl_data *open_pictures(const char *list, const char *normalize) {
  char text[400];
  dl_data *data;
  make_pictures("pictures.h5");
  snprintf(text, sizeof text, "seed: 3\ndata: {file: pictures.h5, normalize: %s, augment: [%s]}", normalize, list);
  DL_ASSERT_OK(open_text(text, &data));
  return data;
}

/* All samples of an epoch, by their number. */
static void read_epoch(const dl_data *data, int64_t epoch, float *out) {
  static float x[SAMPLES * VALUES];
  int32_t labels[SAMPLES];
  dl_batch batch = {.x = x, .label = labels};
  DL_ASSERT_OK(dl_data_read_step(data, epoch, SAMPLES, 0, 0, SAMPLES, &batch));
  for (int i = 0; i < SAMPLES; i++)
    memcpy(out + (size_t)labels[i] * VALUES, x + (size_t)i * VALUES, VALUES * sizeof *x);
}

static void test_colours_are_those_of_float64_in_the_order_of_the_list(void) {
  const struct {
    const char *list;
    shade shades[3];
    int n;
  } cases[] = {{"{random_brightness: 0.5}", {{'b', 0.5}}, 1},
               {"{random_contrast: 0.7}", {{'c', 0.7}}, 1},
               {"{random_saturation: {by: 1.5}}", {{'s', 1.5}}, 1},
               {"{random_brightness: 3}, {random_contrast: 0.4}, {random_saturation: 0.9}",
                {{'b', 3}, {'c', 0.4}, {'s', 0.9}},
                3},
               {"{random_saturation: 0.9}, {random_contrast: 2}, {random_brightness: 0.3}",
                {{'s', 0.9}, {'c', 2}, {'b', 0.3}},
                3}};
  static float got[SAMPLES * VALUES];
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    dl_data *data = open_pictures(cases[k].list, "per_channel");
    const dl_norm *norm = dl_data_norm(data);
    double worst = 0;
    for (int64_t epoch = 0; epoch < 3; epoch++) {
      read_epoch(data, epoch, got);
      for (int n = 0; n < SAMPLES; n++) {
        double want[VALUES];
        for (int i = 0; i < VALUES; i++) want[i] = value_at(n, i);
        shade_by_hand(cases[k].shades, cases[k].n, epoch, n, want);
        for (int i = 0; i < VALUES; i++)
          worst = fmax(worst, fabs((double)got[n * VALUES + i] / (double)norm->scale[i / PLANE] +
                                   (double)norm->shift[i / PLANE] - want[i]));
      }
    }
    CU_ASSERT(worst < 1e-3); /* of 255 */
    if (worst >= 1e-3) fprintf(stderr, "%s: %g\n", cases[k].list, worst);
    dl_data_destroy(&data);
  }
}

/* A colour sees what the view shows wherever they stand in the list: entry 1 turns, entry 0 brightens. */
static void test_views_come_before_colours_wherever_they_stand(void) {
  static float got[SAMPLES * VALUES];
  dl_data *data = open_pictures("{random_brightness: 0.9}, {random_rotation: 40}", "none");
  read_epoch(data, 1, got);
  int wrong = 0;
  for (int n = 0; n < SAMPLES; n++) {
    unsigned char bytes[VALUES];
    float seen[VALUES];
    dl_view view;
    for (int i = 0; i < VALUES; i++) bytes[i] = (unsigned char)value_at(n, i);
    dl_view_begin(&view, SIDE, SIDE);
    dl_view_turn(&view, -40 + 80 * unit(1, 1, n, 0));
    dl_view_read(&view, DL_ELEMENT_U8, 3, bytes, NULL, seen);
    const double factor = 0.1 + 1.8 * unit(0, 1, n, 0);
    for (int i = 0; i < VALUES; i++)
      wrong += fabs((double)got[n * VALUES + i] - fmin(255, factor * (double)seen[i])) > 1e-3;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  dl_data_destroy(&data);
}

static void test_floats_are_not_cut(void) {
  float x[2 * VALUES], got[2 * VALUES];
  int32_t labels[2] = {0, 1}, seen[2];
  for (int i = 0; i < 2 * VALUES; i++) x[i] = (float)(i % 7) - 3;
  dl_config *config = make_config("seed: 3\ndata: {augment: [{random_brightness: 4}]}");
  const dl_data_shape shape = {.x_dims = 3, .x_shape = {3, SIDE, SIDE}};
  const dl_data_arrays splits[DL_SPLITS] = {{.samples = 2, .x = x, .labels = labels}};
  dl_data *data;
  DL_ASSERT_OK(dl_data_from_arrays(test_solo_team(), config, &shape, splits, &data));
  dl_batch batch = {.x = got, .label = seen};
  DL_ASSERT_OK(dl_data_read_step(data, 0, 2, 0, 0, 2, &batch));
  for (int row = 0; row < 2; row++) {
    const double factor = 5 * unit(0, 0, seen[row], 0);
    for (int i = 0; i < VALUES; i++)
      CU_ASSERT_DOUBLE_EQUAL(got[row * VALUES + i], factor * (double)x[seen[row] * VALUES + i], 1e-5);
  }
  dl_data_destroy(&data);
  dl_config_destroy(&config);
}

/* ---- covers ---- */

/* Rows and columns of what is 0 in a channel; false where that is no rectangle. */
static bool find_hole(const float *x, int64_t height, int64_t width, int64_t hole[4]) {
  int64_t zeros = 0;
  hole[0] = height, hole[1] = width, hole[2] = hole[3] = 0;
  for (int64_t i = 0; i < height * width; i++) {
    if (x[i] != 0) continue;
    const int64_t row = i / width, column = i % width;
    zeros++;
    hole[0] = row < hole[0] ? row : hole[0];
    hole[1] = column < hole[1] ? column : hole[1];
    hole[2] = row + 1 > hole[2] ? row + 1 : hole[2];
    hole[3] = column + 1 > hole[3] ? column + 1 : hole[3];
  }
  return !zeros || zeros == (hole[2] - hole[0]) * (hole[3] - hole[1]);
}

enum { TALL = 40, WIDE = 30, DRAWS = 6000 };

static bool cover_ones(const dl_augment *augment, int64_t sample, int64_t hole[4]) {
  static float x[2 * TALL * WIDE];
  for (int i = 0; i < 2 * TALL * WIDE; i++) x[i] = 1;
  const dl_image image = {.channels = 2, .height = TALL, .width = WIDE, .at = x};
  dl_augment_cover(augment, 5, sample, &image);
  CU_ASSERT(!memcmp(x, x + TALL * WIDE, sizeof x / 2)); /* all channels alike */
  return find_hole(x, TALL, WIDE, hole);
}

static void test_erased_rectangles_have_the_area_and_shape_that_were_asked_for(void) {
  dl_augment *augment =
      make_augment("{random_erasing: {p: 0.4, area_min: 0.05, area_max: 0.2, ratio: 3}}", 2, TALL, WIDE);
  int holes = 0, strange = 0, at_top = 0;
  double area = 0, squared = 0;
  for (int64_t n = 0; n < DRAWS; n++) {
    int64_t hole[4];
    if (!cover_ones(augment, n, hole)) strange++;
    const double h = (double)(hole[2] - hole[0]), w = (double)(hole[3] - hole[1]), part = h * w / (TALL * WIDE);
    if (hole[2] == 0) continue;
    holes++;
    at_top += hole[0] == 0;
    area += part, squared += part * part;
    strange += part < 0.04 || part > 0.22 || h / w > 3.6 || w / h > 3.6;
  }
  const double mean = area / holes, deviation = sqrt(squared / holes - mean * mean);
  CU_ASSERT_EQUAL(strange, 0);
  CU_ASSERT(fabs(holes - 0.4 * DRAWS) < 4 * sqrt(0.24 * DRAWS));
  CU_ASSERT(fabs(mean - 0.125) < 0.003 && fabs(deviation - 0.15 / sqrt(12)) < 0.002); /* of an even spread */
  CU_ASSERT(at_top > holes / 60 && at_top < holes / 15);
  dl_augment_destroy(&augment);
}

static void test_a_cut_out_square_has_its_middle_anywhere(void) {
  dl_augment *augment = make_augment("{cutout: 9}", 2, TALL, WIDE);
  int64_t least[2] = {99, 99}, most[2] = {0, 0};
  int strange = 0;
  for (int64_t n = 0; n < DRAWS; n++) {
    int64_t hole[4];
    strange += !cover_ones(augment, n, hole);
    const int64_t h = hole[2] - hole[0], w = hole[3] - hole[1];
    strange += h > 9 || w > 9 || (h < 9 && hole[0] > 0 && hole[2] < TALL) || (w < 9 && hole[1] > 0 && hole[3] < WIDE);
    least[0] = h < least[0] ? h : least[0], least[1] = w < least[1] ? w : least[1];
    most[0] = h > most[0] ? h : most[0], most[1] = w > most[1] ? w : most[1];
  }
  CU_ASSERT_EQUAL(strange, 0);
  CU_ASSERT(least[0] == 5 && least[1] == 5 && most[0] == 9 && most[1] == 9);
  dl_augment_destroy(&augment);
}

static void test_what_is_covered_is_0_after_the_normalisation(void) {
  static float plain[SAMPLES * VALUES], covered[SAMPLES * VALUES];
  dl_data *data = open_pictures("", "per_channel");
  read_epoch(data, 2, plain);
  dl_data_destroy(&data);
  data = open_pictures("{cutout: 3}", "per_channel");
  read_epoch(data, 2, covered);
  int holes = 0, other = 0;
  for (int i = 0; i < SAMPLES * VALUES; i++) {
    if (memcmp(&plain[i], &covered[i], sizeof plain[i]) == 0) continue;
    holes++;
    other += covered[i] != 0;
  }
  CU_ASSERT_EQUAL(other, 0);
  CU_ASSERT(holes >= SAMPLES * 3 * 4 - 3 && holes <= SAMPLES * 3 * 9);
  dl_data_destroy(&data);
}

/* ---- all of them ---- */

#if COUNTS_ALLOCATIONS
static void test_none_of_them_allocates_in_a_step(void) {
  dl_data *data = open_pictures(
      "flip_vertical, {random_crop: 2}, {random_rotation: 9}, {random_zoom: 0.2}, random_resized_crop, "
      "{random_brightness: 1}, {random_contrast: 1}, {random_saturation: 1}, random_erasing, {cutout: 2}",
      "unit");
  static float got[SAMPLES * VALUES];
  read_epoch(data, 0, got);
  const long before = allocations;
  for (int64_t epoch = 0; epoch < 4; epoch++) read_epoch(data, epoch, got);
  CU_ASSERT_EQUAL(allocations, before);
  CU_ASSERT(before > 0);
  dl_data_destroy(&data);
}
#endif

static void expect(const char *augment, int64_t channels, const char *parts) {
  char text[512], whole[2048], list[512];
  snprintf(text, sizeof text, "data:\n  augment: [%s]", augment);
  dl_config *config = make_config(text);
  const dl_data_shape shape = {.x_dims = 3, .x_shape = {channels, 8, 9}, .x_size = channels * 72};
  dl_augment *made = NULL;
  CU_ASSERT_EQUAL(dl_augment_new(config, &shape, &made), DL_ERR_USAGE);
  dl_error_format(dl_error_last(), whole, sizeof whole);
  snprintf(list, sizeof list, "%s", parts);
  for (char *next, *part = strtok_r(list, "|", &next); part; part = strtok_r(NULL, "|", &next)) {
    CU_ASSERT_PTR_NOT_NULL(strstr(whole, part));
    if (!strstr(whole, part)) fprintf(stderr, "%s\n  says: %s\n  without: %s\n", augment, whole, part);
  }
  dl_augment_destroy(&made);
  dl_config_destroy(&config);
}

static void test_what_does_not_fit_is_said_at_its_place(void) {
  expect("random_rotation", 3, "c.yaml:3:13|random_rotation: 'degrees' is missing");
  expect("{random_rotation: 181}", 3, "c.yaml:3:31|degrees must lie within 0 and 180");
  expect("{random_zoom: 1}", 3, "by must lie within 0 and 0.9");
  expect("{random_saturation: 0.5}", 1, "c.yaml:3:|three channels|not of 1");
  expect("{random_erasing: {area_min: 0.5}}", 3, "c.yaml:3:|area_min 0.5 is above area_max 0.33");
  expect("{cutout: 9}", 3, "c.yaml:3:22|a square of 9 pixels is larger than images of 8 x 9|must not be above 8");
  expect("{random_resized_crop: {area: 0}}", 3, "area must lie within");
  expect("{random_erase: 0.5}", 3, "unknown augmentation 'random_erase'|did you mean 'random_erasing'");
}

static const dl_test tests[] = {
    DL_TEST(test_what_is_seen_is_what_pillow_sees),
    DL_TEST(test_channels_are_seen_alike_and_normalised_by_their_own_figures),
    DL_TEST(test_bytes_with_a_sign_are_seen_as_floats_of_their_value_are),
    DL_TEST(test_labels_are_those_of_the_nearest_pixels),
    DL_TEST(test_angles_factors_and_pieces_are_those_that_were_asked_for),
    DL_TEST(test_a_piece_has_its_area_whatever_its_shape_could_be),
    DL_TEST(test_colours_are_those_of_float64_in_the_order_of_the_list),
    DL_TEST(test_views_come_before_colours_wherever_they_stand),
    DL_TEST(test_floats_are_not_cut),
    DL_TEST(test_erased_rectangles_have_the_area_and_shape_that_were_asked_for),
    DL_TEST(test_a_cut_out_square_has_its_middle_anywhere),
    DL_TEST(test_what_is_covered_is_0_after_the_normalisation),
#if COUNTS_ALLOCATIONS
    DL_TEST(test_none_of_them_allocates_in_a_step),
#endif
    DL_TEST(test_what_does_not_fit_is_said_at_its_place),
};

int main(void) { return dl_test_main("data: kinds of augmentation", tests, sizeof tests / sizeof tests[0]); }

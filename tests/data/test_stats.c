/* test_stats.c - dl_stats against numpy, scipy and scikit-learn, at any number of members and in little memory. */
#include "data/stats.h"

#include <math.h>

#include "data/stats_column.h"
#include "data/stats_source.h"
#include "make_h5.h"

typedef struct golden_figure {
  int column;
  const char *key;
  double value;
} golden_figure;
typedef struct golden_fit {
  int column;
  const char *family;
  double log_likelihood, aic, ks;
} golden_fit;
typedef struct golden_posterior {
  int column;
  const char *key;
  double low, high;
} golden_posterior;
typedef struct golden_tail {
  const char *function;
  double x, shape, value;
} golden_tail;
#include "golden/stats_golden.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool near(double found, double wanted, double tolerance) {
  if (isnan(found) || isnan(wanted)) return isnan(found) && isnan(wanted);
  return fabs(found - wanted) <= tolerance * fmax(fabs(wanted), 1e-5);
}
#define NEAR(what, found, wanted, tolerance)                                                  \
  do {                                                                                        \
    double near_found = (found), near_wanted = (wanted);                                      \
    bool near_good = near(near_found, near_wanted, tolerance);                                \
    if (!near_good) fprintf(stderr, "%s: %.17g, not %.17g\n", what, near_found, near_wanted); \
    CU_ASSERT_TRUE(near_good);                                                                \
  } while (0)

/* ---- running ---- */

typedef struct run_context {
  dl_stats_options options;
  dl_json *json; /* member 0's */
  dl_status status;
  dl_error error;
} run_context;

static void run_member(dl_team *team, void *context) {
  run_context *run = context;
  dl_json *json = NULL;
  dl_status status = dl_stats(team, &run->options, &json);
  if (team->rank != 0) return;
  run->json = json;
  run->status = status;
  run->error = *dl_error_last();
}

static dl_json *stats_at(const char *file, int members, int64_t memory, const char *split, bool nhwc, dl_error *error) {
  run_context run = {.options = {.file = file, .split = split, .nhwc = nhwc, .memory_bytes = memory}};
  test_crowd_run(members, members, false, run_member, &run);
  if (error) *error = run.error;
  if (run.status != DL_OK && !error) fprintf(stderr, "dl_stats: %s\n", run.error.message);
  if (!error) CU_ASSERT_EQUAL(run.status, DL_OK);
  return run.json;
}

static char *text_of(dl_json *json) {
  char *text = NULL;
  DL_ASSERT_OK(dl_json_text(json, false, &text));
  dl_json_destroy(&json);
  return text;
}

/* "a/b/3" inside an object; the number there. */
static double look_up(const dl_json *object, const char *path) {
  char name[64];
  while (object) {
    size_t length = strcspn(path, "/");
    snprintf(name, sizeof name, "%.*s", (int)length, path);
    object = dl_json_is_array(object) ? dl_json_at(object, strtoul(name, NULL, 10)) : dl_json_get(object, name);
    if (!path[length]) break;
    path += length + 1;
  }
  return dl_json_real(object, NAN);
}

static const char *golden_file(void) {
  static char path[256];
  if (path[0]) return path;
  hid_t file = make_file("golden.h5");
  make_set(file, "train/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(GOLDEN_ROWS, GOLDEN_COLUMNS), H5P_DEFAULT,
           golden_x);
  make_labels(file, "train/y", GOLDEN_ROWS, golden_y);
  double whole[GOLDEN_ROWS * 8];
  for (int r = 0; r < GOLDEN_ROWS; r++)
    for (int c = 0; c < 8; c++) whole[r * 8 + c] = golden_x[r * GOLDEN_COLUMNS + c];
  make_set(file, "valid/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(GOLDEN_ROWS, 8), H5P_DEFAULT, whole);
  make_labels(file, "valid/y", GOLDEN_ROWS, golden_y);
  H5Fclose(file);
  snprintf(path, sizeof path, "%s", test_path("golden.h5"));
  return path;
}

/* ---- against the oracles ---- */

static void check_fits(const dl_json *features) {
  size_t fits = 0;
  for (size_t i = 0; i < COUNT(golden_fits); i++) {
    const golden_fit *g = &golden_fits[i];
    const dl_json *all = dl_json_get(dl_json_at(features, (size_t)g->column), "fits"), *fit = NULL;
    for (size_t k = 0; k < dl_json_size(all); k++)
      if (!strcmp(dl_json_string(dl_json_get(dl_json_at(all, k), "family")), g->family)) fit = dl_json_at(all, k);
    NEAR(g->family, look_up(fit, "log_likelihood"), g->log_likelihood, 1e-10);
    NEAR(g->family, look_up(fit, "aic"), g->aic, 1e-10);
    NEAR(g->family, look_up(fit, "ks"), g->ks, 1e-10);
  }
  for (size_t c = 0; c < GOLDEN_COLUMNS; c++) fits += dl_json_size(dl_json_get(dl_json_at(features, c), "fits"));
  CU_ASSERT_EQUAL(fits, COUNT(golden_fits)); /* and no others */
}

/* The marked fit is the one of the least AIC that scipy finds. */
static void check_best(const dl_json *features) {
  for (size_t c = 0; c < GOLDEN_COLUMNS; c++) {
    const dl_json *fits = dl_json_get(dl_json_at(features, c), "fits");
    const char *found = "none", *wanted = "none";
    double least = INFINITY;
    for (size_t i = 0; i < COUNT(golden_fits); i++) {
      if (golden_fits[i].column != (int)c || golden_fits[i].aic >= least) continue;
      least = golden_fits[i].aic;
      wanted = golden_fits[i].family;
    }
    for (size_t k = 0; k < dl_json_size(fits); k++)
      if (dl_json_bool(dl_json_get(dl_json_at(fits, k), "best"), false))
        found = dl_json_string(dl_json_get(dl_json_at(fits, k), "family"));
    CU_ASSERT_STRING_EQUAL(found, wanted);
  }
}

static void test_every_figure_equals_numpy_and_scipy_at_1_2_and_3_members(void) {
  for (int members = 1; members <= 3; members++) {
    dl_json *json = stats_at(golden_file(), members, 0, "train", false, NULL);
    const dl_json *features = dl_json_get(json, "features");
    for (size_t i = 0; i < COUNT(golden_figures); i++)
      NEAR(golden_figures[i].key,
           look_up(dl_json_at(features, (size_t)golden_figures[i].column), golden_figures[i].key),
           golden_figures[i].value, 1e-10);
    for (size_t i = 0; i < COUNT(golden_posteriors); i++) {
      const golden_posterior *g = &golden_posteriors[i];
      const dl_json *posterior = dl_json_get(dl_json_at(features, (size_t)g->column), "posterior");
      NEAR(g->key, look_up(dl_json_get(posterior, g->key), "low"), g->low, 1e-10);
      NEAR(g->key, look_up(dl_json_get(posterior, g->key), "high"), g->high, 1e-10);
    }
    check_fits(features);
    check_best(features);
    dl_json_destroy(&json);
  }
}

static void test_correlations_equal_numpy_and_scipy_over_the_complete_rows(void) {
  dl_json *json = stats_at(golden_file(), 2, 0, "train", false, NULL);
  const dl_json *correlation = dl_json_get(json, "correlation");
  char path[64];
  CU_ASSERT_EQUAL(look_up(correlation, "observations"), GOLDEN_WHOLE_ROWS);
  for (int i = 0; i < 9; i++)
    for (int j = 0; j < 9; j++) {
      snprintf(path, sizeof path, "pearson/%d/%d", i, j);
      NEAR(path, look_up(correlation, path), golden_pearson[i * 9 + j], 1e-9);
      snprintf(path, sizeof path, "spearman/%d/%d", i, j);
      NEAR(path, look_up(correlation, path), golden_spearman[i * 9 + j], 1e-9);
    }
  CU_ASSERT_TRUE(isnan(look_up(correlation, "pearson/9/0"))); /* a constant has none */
  dl_json_destroy(&json);
}

static void test_naive_bayes_and_class_balance_equal_sklearn_and_counting(void) {
  dl_json *json = stats_at(golden_file(), 3, 0, "valid", false, NULL);
  int counts[3] = {0};
  double entropy = 0;
  char path[64];
  for (int i = 0; i < GOLDEN_ROWS; i++) counts[golden_y[i]]++;
  NEAR("accuracy", look_up(json, "naive_bayes/accuracy"), golden_bayes, 1e-12);
  for (int c = 0; c < 3; c++) {
    snprintf(path, sizeof path, "labels/classes/%d/count", c);
    CU_ASSERT_EQUAL(look_up(json, path), counts[c]);
    entropy -= counts[c] * log2(counts[c] / (double)GOLDEN_ROWS) / GOLDEN_ROWS;
  }
  NEAR("entropy", look_up(json, "labels/entropy_bits"), entropy, 1e-12);
  dl_json_destroy(&json);
}

static void test_special_functions_equal_scipy(void) {
  for (size_t i = 0; i < COUNT(golden_tails); i++) {
    const golden_tail *g = &golden_tails[i];
    NEAR(g->function, (strstr(g->function, "cdf") ? dl_gamma_cdf : dl_gamma_tail)(g->x, g->shape), g->value, 1e-11);
  }
}

/* ---- the same bits ---- */

/* Columns with crowds of equal values, missing ones, and both signs, so that pieces of every kind come up. */
static const char *crowded_file(void) {
  static char path[256];
  enum { ROWS = 9000 };
  if (path[0]) return path;
  double *x = calloc(ROWS * 4, sizeof *x), *y = calloc(ROWS, sizeof *y);
  uint64_t state = 3;
  for (int i = 0; i < ROWS; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    double u = (double)(state >> 11) / 9007199254740992.0;
    x[4 * i] = i % 3 ? 0.25 : u - 0.5;
    x[4 * i + 1] = i % 50 ? tan(3 * (u - 0.5)) : NAN;
    x[4 * i + 2] = floor(u * 70);
    x[4 * i + 3] = u * 1e-300 * (i % 2 ? 1 : -1e300);
    y[i] = u * u + x[4 * i];
  }
  hid_t file = make_file("crowded.h5");
  make_set(file, "train/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(ROWS, 4), H5P_DEFAULT, x);
  make_set(file, "train/y", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(ROWS), H5P_DEFAULT, y);
  H5Fclose(file);
  free(x);
  free(y);
  snprintf(path, sizeof path, "%s", test_path("crowded.h5"));
  return path;
}

static void test_bits_are_equal_for_any_number_of_members(void) {
  char *one = text_of(stats_at(crowded_file(), 1, 0, NULL, false, NULL));
  static const int sizes[] = {2, 3, 5, 8};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char *other = text_of(stats_at(crowded_file(), sizes[i], 0, NULL, false, NULL));
    CU_ASSERT_STRING_EQUAL(one, other);
    free(other);
  }
  free(one);
}

static void test_bits_are_equal_when_a_column_must_be_taken_in_pieces(void) {
  char *whole = text_of(stats_at(crowded_file(), 1, 0, NULL, false, NULL));
  static const int64_t memory[] = {2000, 20000, 150000, 1000000};
  for (size_t i = 0; i < COUNT(memory); i++) {
    char *pieces = text_of(stats_at(crowded_file(), 2, memory[i], NULL, false, NULL));
    CU_ASSERT_STRING_EQUAL(whole, pieces);
    free(pieces);
  }
  free(whole);
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void test_sorting_agrees_with_qsort(void) {
  enum { N = 3000 };
  double values[N], scratch[N], wanted[N];
  uint64_t state = 9;
  for (int n = 0; n <= N; n += 500) {
    for (int i = 0; i < n; i++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      memcpy(&values[i], &state, sizeof state);
      if (!isfinite(values[i]) || i % 7 == 0) values[i] = (double)(i % 5) - 2;
    }
    memcpy(wanted, values, sizeof wanted);
    qsort(wanted, (size_t)n, sizeof *wanted, compare_doubles);
    dl_stats_sort(values, scratch, n);
    CU_ASSERT_EQUAL(memcmp(values, wanted, (size_t)n * sizeof *values), 0);
  }
}

/* ---- shapes ---- */

static void test_images_are_described_channel_by_channel_in_either_layout(void) {
  enum { N = 6, C = 3, H = 4, W = 5 };
  unsigned char nchw[N * C * H * W], nhwc[N * C * H * W];
  double sum[C] = {0};
  for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++)
      for (int i = 0; i < H * W; i++) {
        unsigned char value = (unsigned char)((n * 37 + c * 50 + i * 11) % 256);
        nchw[(n * C + c) * H * W + i] = nhwc[(n * H * W + i) * C + c] = value;
        sum[c] += value;
      }
  hid_t file = make_file("images.h5");
  make_set(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(N, C, H, W), H5P_DEFAULT, nchw);
  make_set(file, "test/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(N, H, W, C), H5P_DEFAULT, nhwc);
  H5Fclose(file);
  dl_json *a = stats_at(test_path("images.h5"), 2, 0, "train", false, NULL);
  dl_json *b = stats_at(test_path("images.h5"), 1, 0, "test", true, NULL);
  for (int c = 0; c < C; c++) {
    char path[64];
    snprintf(path, sizeof path, "features/%d/mean", c);
    NEAR(path, look_up(a, path), sum[c] / (N * H * W), 1e-14);
    CU_ASSERT_EQUAL(look_up(a, path), look_up(b, path));
    snprintf(path, sizeof path, "correlation/pearson/0/%d", c);
    CU_ASSERT_EQUAL(look_up(a, path), look_up(b, path));
  }
  CU_ASSERT_EQUAL(dl_json_size(dl_json_get(a, "features")), C);
  CU_ASSERT_EQUAL(look_up(a, "features/0/count"), N * H * W);
  dl_json_destroy(&a);
  dl_json_destroy(&b);
}

static void test_one_hot_labels_are_labels(void) {
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 9}, y[24] = {0};
  static const int label[8] = {2, 0, 1, 1, 2, 2, 2, 0};
  for (int i = 0; i < 8; i++) y[i * 3 + label[i]] = 1;
  hid_t file = make_file("hot.h5");
  make_floats(file, "train/x", DIMS(8, 1), x);
  make_floats(file, "train/y", DIMS(8, 3), y);
  make_floats(file, "test/x", DIMS(8, 1), x);
  make_labels(file, "test/y", 8, label);
  H5Fclose(file);
  dl_json *hot = stats_at(test_path("hot.h5"), 2, 0, "train", false, NULL);
  dl_json *plain = stats_at(test_path("hot.h5"), 1, 0, "test", false, NULL);
  CU_ASSERT_EQUAL(look_up(hot, "labels/classes/2/count"), 4);
  CU_ASSERT_EQUAL(look_up(hot, "features/0/mutual_information_bits"),
                  look_up(plain, "features/0/mutual_information_bits"));
  CU_ASSERT_TRUE(look_up(hot, "features/0/mutual_information_bits") > 1);
  dl_json_destroy(&hot);
  dl_json_destroy(&plain);
}

static void expect_error(const char *file, const char *split, const char *part) {
  dl_error error;
  for (int members = 1; members <= 2; members++) {
    dl_json *json = stats_at(file, members, 0, split, false, &error);
    CU_ASSERT_PTR_NULL(json);
    CU_ASSERT_EQUAL(error.status, DL_ERR_DATA);
    bool said = strstr(error.message, part) != NULL;
    if (!said) fprintf(stderr, "'%s' does not say '%s'\n", error.message, part);
    CU_ASSERT_TRUE(said);
  }
}

static void test_files_that_cannot_be_described_are_named_with_the_reason(void) {
  float x[8] = {0};
  double nothing[3] = {NAN, NAN, NAN};
  hid_t file = make_file("odd.h5");
  make_floats(file, "train/x", DIMS(8, 1), x);
  make_labels(file, "train/y", 3, (int[]){0, 1, 2});
  make_set(file, "valid/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(2, 20000), H5P_DEFAULT, NULL);
  make_set(file, "test/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(3, 1), H5P_DEFAULT, nothing);
  H5Fclose(file);
  expect_error(test_path("none.h5"), NULL, "does not exist");
  expect_error(test_path("odd.h5"), "train", "8 rows");
  expect_error(test_path("odd.h5"), "valid", "20000 columns");
  expect_error(golden_file(), "test", "there is no data set 'test/x'");
  dl_json *json = stats_at(test_path("odd.h5"), 2, 0, "test", false, NULL); /* no value at all is no error */
  CU_ASSERT_EQUAL(look_up(json, "features/0/missing"), 3);
  CU_ASSERT_TRUE(isnan(look_up(json, "features/0/mean")));
  dl_json_destroy(&json);
}

static const dl_test tests[] = {
    DL_TEST(test_every_figure_equals_numpy_and_scipy_at_1_2_and_3_members),
    DL_TEST(test_correlations_equal_numpy_and_scipy_over_the_complete_rows),
    DL_TEST(test_naive_bayes_and_class_balance_equal_sklearn_and_counting),
    DL_TEST(test_special_functions_equal_scipy),
    DL_TEST(test_bits_are_equal_for_any_number_of_members),
    DL_TEST(test_bits_are_equal_when_a_column_must_be_taken_in_pieces),
    DL_TEST(test_sorting_agrees_with_qsort),
    DL_TEST(test_images_are_described_channel_by_channel_in_either_layout),
    DL_TEST(test_one_hot_labels_are_labels),
    DL_TEST(test_files_that_cannot_be_described_are_named_with_the_reason),
};
DL_TEST_MAIN("stats", tests)

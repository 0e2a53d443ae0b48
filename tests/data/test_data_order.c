/* Who goes where: the cut of valid, the order of an epoch, leaves, and the same for any team. */
#include "make_h5.h"

#include <math.h>

/* n samples: x = the sample's number, labels such that class c has counts[c] samples, spread. */
static void make_numbered(const char *name, int n, const int *counts, int classes) {
  float *x = calloc((size_t)n, sizeof *x);
  int *y = calloc((size_t)n, sizeof *y), left[16], c = 0;
  memcpy(left, counts, (size_t)classes * sizeof *counts);
  for (int i = 0; i < n; i++) {
    x[i] = (float)i;
    do c = (c + 1) % classes;
    while (!left[c]);
    y[i] = c;
    left[c]--;
  }
  hid_t file = make_file(name);
  make_floats(file, "train/x", DIMS((hsize_t)n), x);
  make_labels(file, "train/y", (hsize_t)n, y);
  H5Fclose(file);
  free(x);
  free(y);
}

static void check_cut(int n, const int *counts, int classes, double fraction) {
  make_numbered("cut.h5", n, counts, classes);
  char text[128];
  snprintf(text, sizeof text, "data: {file: cut.h5, valid: %.17g}", fraction);
  dl_data *data;
  DL_ASSERT_OK(open_text(text, &data));
  int n_valid = (int)floor(fraction * n), taken[16] = {0}, wrong = 0;
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_VALID), n_valid);
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN), n - n_valid);
  float *train = read_x(data, DL_SPLIT_TRAIN), *valid = read_x(data, DL_SPLIT_VALID);
  int32_t *labels = read_labels(data, DL_SPLIT_VALID);
  bool *seen = calloc((size_t)n, sizeof *seen);
  for (int i = 0; i < n - n_valid; i++)
    wrong += seen[(int)train[i]] || (i && train[i] <= train[i - 1]), seen[(int)train[i]] = true;
  for (int i = 0; i < n_valid; i++)
    wrong += seen[(int)valid[i]] || (i && valid[i] <= valid[i - 1]), seen[(int)valid[i]] = true;
  CU_ASSERT_EQUAL(wrong, 0); /* each sample once, in file order */
  for (int i = 0; i < n_valid; i++) taken[labels[i]]++;
  for (int c = 0; c < classes; c++) CU_ASSERT_TRUE(fabs(taken[c] - (double)n_valid * counts[c] / n) < 1);
  free(train), free(valid), free(labels), free(seen);
  dl_data_destroy(&data);
}

static void test_valid_takes_exactly_its_fraction_from_each_class(void) {
  const double fractions[] = {0.1, 0.29, 0.5, 1 / 3.0, 0.999, 0.07};
  for (size_t f = 0; f < sizeof fractions / sizeof fractions[0]; f++) {
    check_cut(100, (int[]){50, 30, 20}, 3, fractions[f]);
    check_cut(997, (int[]){1, 2, 3, 500, 491}, 5, fractions[f]);
    check_cut(7, (int[]){7}, 1, fractions[f]);
    check_cut(60, (int[]){6, 6, 6, 6, 6, 6, 6, 6, 6, 6}, 10, fractions[f]);
  }
}

static float *valid_of(const char *text, int64_t *n) {
  dl_data *data;
  DL_ASSERT_OK(open_text(text, &data));
  *n = dl_data_samples(data, DL_SPLIT_VALID);
  float *x = read_x(data, DL_SPLIT_VALID);
  dl_data_destroy(&data);
  return x;
}

static void test_an_epoch_holds_what_valid_left_of_train_and_none_of_valid(void) {
  make_numbered("epoch.h5", 90, (int[]){40, 50}, 2);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: epoch.h5, valid: 0.3}", &data));
  float *valid = read_x(data, DL_SPLIT_VALID), x[90];
  int seen[90] = {0}, wrong = 0;
  for (int64_t step = 0; step < dl_data_steps(data, 8, false); step++) {
    dl_batch batch = {.x = x + step * 8};
    DL_ASSERT_OK(dl_data_read_step(data, 2, 8, step, 0, dl_data_step_samples(data, 8, step), &batch));
  }
  for (int i = 0; i < 63; i++) seen[(int)x[i]]++;
  for (int i = 0; i < 27; i++) seen[(int)valid[i]]++;
  for (int i = 0; i < 90; i++) wrong += seen[i] != 1;
  CU_ASSERT_EQUAL(wrong, 0);
  free(valid);
  dl_data_destroy(&data);
}

static void test_the_cut_depends_on_the_seed_alone(void) {
  make_numbered("seed.h5", 200, (int[]){100, 100}, 2);
  int64_t n, m, k;
  float *a = valid_of("seed: 1\ndata: {file: seed.h5, valid: 0.2}", &n),
        *b = valid_of("seed: 1\ndata: {file: seed.h5, valid: 0.2, shuffle: none}", &m);
  float *c = valid_of("seed: 2\ndata: {file: seed.h5, valid: 0.2}", &k);
  CU_ASSERT_EQUAL(n, 40);
  CU_ASSERT_EQUAL(m, 40);
  CU_ASSERT_EQUAL(k, 40);
  CU_ASSERT_EQUAL(memcmp(a, b, 40 * sizeof *a), 0);
  CU_ASSERT_NOT_EQUAL(memcmp(a, c, 40 * sizeof *a), 0);
  free(a), free(b), free(c);
}

static void test_without_classes_the_cut_is_random(void) {
  make_numbered("reg.h5", 1000, (int[]){500, 500}, 2);
  dl_data *data;
  DL_ASSERT_OK(open_text("task: regression\ndata: {file: reg.h5, valid: 0.3}", &data));
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_VALID), 300);
  float *x = read_x(data, DL_SPLIT_VALID);
  int late = 0;
  for (int i = 0; i < 300; i++) late += x[i] >= 500;
  CU_ASSERT_TRUE(late > 110 && late < 190); /* 4.6 standard deviations */
  free(x);
  dl_data_destroy(&data);
}

/* Epoch `epoch` in batches of `batch` cut at random places: the numbers of the samples. */
static void read_epoch(const dl_data *data, int64_t epoch, int64_t batch, unsigned *state, float *out) {
  for (int64_t step = 0; step < dl_data_steps(data, batch, false); step++) {
    int64_t n = dl_data_step_samples(data, batch, step);
    for (int64_t begin = 0; begin < n;) {
      *state = *state * 1664525u + 1013904223u;
      int64_t end = begin + 1 + (int64_t)(*state >> 16) % (n - begin);
      dl_batch piece = {.x = out};
      DL_ASSERT_OK(dl_data_read_step(data, epoch, batch, step, begin, end, &piece));
      out += end - begin;
      begin = end;
    }
  }
}

static bool is_permutation(const float *x, int n) {
  bool *seen = calloc((size_t)n, sizeof *seen), good = true;
  for (int i = 0; i < n; i++) {
    int at = (int)x[i];
    good = good && at >= 0 && at < n && !seen[at];
    if (good) seen[at] = true;
  }
  free(seen);
  return good;
}

static void test_an_epoch_is_a_permutation_that_batch_and_leaves_do_not_change(void) {
  enum { N = 613 };
  make_numbered("epoch.h5", N, (int[]){300, 313}, 2);
  dl_data *data, *other;
  DL_ASSERT_OK(open_text("seed: 5\ndata: {file: epoch.h5}", &data));
  DL_ASSERT_OK(open_text("seed: 6\ndata: {file: epoch.h5}", &other));
  CU_ASSERT_EQUAL(dl_data_shuffle(data), DL_SHUFFLE_FULL);
  float first[N], again[N], second[N], seeded[N];
  unsigned state = 1;
  read_epoch(data, 0, 64, &state, first);
  read_epoch(data, 0, 100, &state, again);
  read_epoch(data, 1, 64, &state, second);
  read_epoch(other, 0, 64, &state, seeded);
  CU_ASSERT_TRUE(is_permutation(first, N));
  CU_ASSERT_TRUE(is_permutation(second, N));
  CU_ASSERT_TRUE(is_permutation(seeded, N));
  CU_ASSERT_EQUAL(memcmp(first, again, sizeof first), 0);
  int same_epoch = 0, same_seed = 0, in_place = 0;
  for (int i = 0; i < N; i++)
    same_epoch += first[i] == second[i], same_seed += first[i] == seeded[i], in_place += (int)first[i] == i;
  CU_ASSERT_TRUE(same_epoch < 15 && same_seed < 15 && in_place < 15); /* 1 expected each */
  dl_data_destroy(&data);
  dl_data_destroy(&other);
}

static void test_shuffle_none_is_file_order_and_steps_count_the_ragged_batch(void) {
  make_numbered("none.h5", 130, (int[]){65, 65}, 2);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: none.h5, shuffle: none}", &data));
  float x[130];
  unsigned state = 9;
  read_epoch(data, 3, 32, &state, x);
  for (int i = 0; i < 130; i++) CU_ASSERT_EQUAL(x[i], (float)i);
  CU_ASSERT_EQUAL(dl_data_steps(data, 32, false), 5);
  CU_ASSERT_EQUAL(dl_data_steps(data, 32, true), 4);
  CU_ASSERT_EQUAL(dl_data_steps(data, 65, false), 2);
  CU_ASSERT_EQUAL(dl_data_steps(data, 200, false), 1);
  CU_ASSERT_EQUAL(dl_data_steps(data, 200, true), 0);
  CU_ASSERT_EQUAL(dl_data_step_samples(data, 32, 4), 2);
  CU_ASSERT_EQUAL(dl_data_step_samples(data, 65, 2), 0);
  dl_batch batch = {.x = x};
  CU_ASSERT_EQUAL(dl_data_read_step(data, 0, 32, 4, 0, 3, &batch), DL_ERR_INTERNAL);
  CU_ASSERT_EQUAL(dl_data_read_step(data, 0, 32, 5, 0, 1, &batch), DL_ERR_INTERNAL);
  CU_ASSERT_EQUAL(dl_data_read(data, DL_SPLIT_TRAIN, 100, 131, &batch), DL_ERR_INTERNAL);
  dl_data_destroy(&data);
}

static void test_leaves_together_are_the_batch(void) {
  make_numbered("leaves.h5", 500, (int[]){250, 250}, 2);
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: leaves.h5, valid: 0.1}", &data));
  float whole[450], leaf[450];
  for (int shards = 1; shards <= 64; shards++)
    for (int64_t step = 0; step < dl_data_steps(data, 100, false); step++) {
      int64_t n = dl_data_step_samples(data, 100, step), at = 0;
      dl_batch all = {.x = whole};
      DL_ASSERT_OK(dl_data_read_step(data, 2, 100, step, 0, n, &all));
      dl_cut cut = dl_cut_make(n, shards);
      for (int64_t l = 0; l < cut.leaves; l++) {
        int64_t begin, end;
        dl_cut_leaf_range(&cut, l, &begin, &end);
        dl_batch piece = {.x = leaf + at};
        DL_ASSERT_OK(dl_data_read_step(data, 2, 100, step, begin, end, &piece));
        at += end - begin;
      }
      CU_ASSERT_EQUAL(at, n);
      CU_ASSERT_EQUAL(memcmp(whole, leaf, (size_t)n * sizeof *whole), 0);
    }
  dl_data_destroy(&data);
}

/* ---- teams ---- */

enum { N_TEAM = 300 };
typedef struct team_case {
  const char *text;
  dl_status status[TEST_MEMBERS];
  char message[TEST_MEMBERS][sizeof((dl_error *)0)->message];
  float valid[TEST_MEMBERS][N_TEAM], epoch[TEST_MEMBERS][N_TEAM];
  int64_t n_valid[TEST_MEMBERS], classes[TEST_MEMBERS];
  float scale[TEST_MEMBERS];
} team_case;

static void open_as_member(dl_team *team, void *context) {
  team_case *test = context;
  char all[1024];
  int n = snprintf(all, sizeof all, "model: [{dense: 2}]\n%s\n", test->text), r = team->rank;
  char name[256];
  snprintf(name, sizeof name, "%s/c.yaml", test_folder);
  dl_config *config = NULL;
  dl_data *data = NULL;
  test->status[r] = dl_config_parse(all, (size_t)n, name, NULL, 0, &config);
  if (test->status[r] == DL_OK) test->status[r] = dl_data_open(team, config, 1, &data);
  snprintf(test->message[r], sizeof test->message[r], "%s", dl_error_last()->message);
  if (data) {
    dl_batch batch = {.x = test->valid[r]};
    test->n_valid[r] = dl_data_samples(data, DL_SPLIT_VALID);
    test->classes[r] = dl_data_shape_of(data)->classes;
    test->scale[r] = dl_data_norm(data)->scale[0];
    test->status[r] = dl_data_read(data, DL_SPLIT_VALID, 0, test->n_valid[r], &batch);
    batch.x = test->epoch[r];
    int64_t left = dl_data_samples(data, DL_SPLIT_TRAIN);
    if (test->status[r] == DL_OK) test->status[r] = dl_data_read_step(data, 4, left, 0, 0, left, &batch);
  }
  dl_data_destroy(&data);
  dl_config_destroy(&config);
}

static void test_every_member_of_any_team_sees_the_same_data(void) {
  make_numbered("team.h5", N_TEAM, (int[]){100, 120, 80}, 3);
  static team_case alone, test;
  alone.text = test.text = "data: {file: team.h5, valid: 0.2, normalize: per_feature}";
  test_crowd_run(1, 1, false, open_as_member, &alone);
  CU_ASSERT_EQUAL(alone.status[0], DL_OK);
  CU_ASSERT_EQUAL(alone.n_valid[0], 60);
  const int sizes[] = {1, 2, 3, 4, 5, 8}, per_nodes[] = {1, 3, 8};
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
    for (size_t p = 0; p < 3; p++)
      for (int no_shared = 0; no_shared < 2; no_shared++) {
        test_crowd_run(sizes[s], per_nodes[p], no_shared, open_as_member, &test);
        for (int r = 0; r < sizes[s]; r++) {
          CU_ASSERT_EQUAL(test.status[r], DL_OK);
          CU_ASSERT_EQUAL(test.n_valid[r], 60);
          CU_ASSERT_EQUAL(test.classes[r], 3);
          CU_ASSERT_EQUAL(memcmp(&test.scale[r], &alone.scale[0], sizeof(float)), 0);
          CU_ASSERT_EQUAL(memcmp(test.valid[r], alone.valid[0], sizeof test.valid[r]), 0);
          CU_ASSERT_EQUAL(memcmp(test.epoch[r], alone.epoch[0], sizeof test.epoch[r]), 0);
        }
      }
}

static void test_one_members_trouble_is_everybodys_one_error(void) {
  static team_case test;
  make_numbered("trouble.h5", N_TEAM, (int[]){100, 120, 80}, 3);
  struct {
    const char *text, *part;
    dl_status status;
  } cases[] = {
      {"data: {file: nowhere.h5}", "does not exist", DL_ERR_DATA},
      {"data: {file: trouble.h5, train: {y: train/z}}", "'train/z'", DL_ERR_DATA},
      {"data: {file: trouble.h5, normalize: per_channel}", "per_channel", DL_ERR_USAGE},
      {"task: binary\ndata: {file: trouble.h5}", "binary wants 0 or 1", DL_ERR_DATA},
  };
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
    for (int no_shared = 0; no_shared < 2; no_shared++) {
      test.text = cases[c].text;
      test_crowd_run(5, 3, no_shared, open_as_member, &test);
      for (int r = 0; r < 5; r++) {
        CU_ASSERT_EQUAL(test.status[r], cases[c].status);
        CU_ASSERT_PTR_NOT_NULL(strstr(test.message[r], cases[c].part));
      }
    }
}

static const dl_test tests[] = {
    DL_TEST(test_valid_takes_exactly_its_fraction_from_each_class),
    DL_TEST(test_an_epoch_holds_what_valid_left_of_train_and_none_of_valid),
    DL_TEST(test_the_cut_depends_on_the_seed_alone),
    DL_TEST(test_without_classes_the_cut_is_random),
    DL_TEST(test_an_epoch_is_a_permutation_that_batch_and_leaves_do_not_change),
    DL_TEST(test_shuffle_none_is_file_order_and_steps_count_the_ragged_batch),
    DL_TEST(test_leaves_together_are_the_batch),
    DL_TEST(test_every_member_of_any_team_sees_the_same_data),
    DL_TEST(test_one_members_trouble_is_everybodys_one_error),
};
DL_TEST_MAIN("data order", tests)

/* The public interface from a program's side: what <dldist/dldist.h> says, and nothing below it. */
#include <dldist/dldist.h>

/* The frame of the tests alone. */
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_fixture.h"

enum { FEATURES = 5, CLASSES = 3, TRAIN = 300, TEST = 150 };

/* ---- data: clouds around three corners ---- */

typedef struct arrays {
  float x[TRAIN][FEATURES], test_x[TEST][FEATURES];
  int32_t labels[TRAIN], test_labels[TEST];
} arrays;

static float unit(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) * 0x1p-24f;
}

static void fill(float (*x)[FEATURES], int32_t *labels, int n, uint32_t *state) {
  for (int i = 0; i < n; i++) {
    labels[i] = i * 7 % CLASSES;
    for (int f = 0; f < FEATURES; f++) x[i][f] = (f % CLASSES == labels[i] ? 1.0f : 0.0f) + 1.4f * unit(state);
  }
}

static arrays *new_arrays(void) {
  arrays *a = calloc(1, sizeof *a);
  uint32_t state = 1;
  CU_ASSERT_PTR_NOT_NULL_FATAL(a);
  fill(a->x, a->labels, TRAIN, &state);
  fill(a->test_x, a->test_labels, TEST, &state);
  return a;
}

static const int64_t shape[] = {FEATURES};

/* dense, relu, dense over the arrays; not trained. */
static dl_network *new_network(const arrays *a) {
  dl_network *network = NULL;
  OK(dl_network_new(context(), &network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(network);
  OK(dl_network_add(network, "dense: 8"));
  OK(dl_network_add(network, "relu"));
  OK(dl_network_add(network, "dense: {units: 3}"));
  OK(dl_network_set(network, "optimizer", "{name: sgd, lr: 0.2, momentum: 0.9}"));
  OK(dl_network_set(network, "train.epochs", "8"));
  OK(dl_network_set(network, "train.batch", "32"));
  OK(dl_network_set(network, "data.normalize", "per_feature"));
  if (!a) return network;
  OK(dl_network_set_data(network, DL_TRAIN, TRAIN, 1, shape, &a->x[0][0], a->labels, 0, NULL));
  OK(dl_network_set_data(network, DL_TEST, TEST, 1, shape, &a->test_x[0][0], a->test_labels, 0, NULL));
  return network;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place) {
  (void)st, (void)kind, (void)place;
  return remove(path);
}
static void remove_all(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static const char *new_folder(void) {
  static char folder[64];
  snprintf(folder, sizeof folder, "/tmp/dldist-api-XXXXXX");
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
  return folder;
}

static void put_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  fputs(text, file);
  fclose(file);
}

/* ---- a class for every pixel ---- */

static void test_maps_of_labels_are_learnt_and_predicted_pixel_by_pixel(void) {
  enum { IMAGES = 40, SIDE = 6, PIXELS = SIDE * SIDE };
  static float x[IMAGES * PIXELS], scores[IMAGES][PIXELS][2];
  static int32_t labels[IMAGES * PIXELS];
  const int64_t image[] = {1, SIDE, SIDE};
  for (int i = 0; i < IMAGES * PIXELS; i++) {
    labels[i] = i % 17 == 4 ? 9 : i * 37 % 11 < 5; /* 9 is none */
    x[i] = labels[i] == 1 ? 1 : -1;
  }
  dl_network *network = NULL;
  OK(dl_network_new(context(), &network));
  OK(dl_network_set(network, "task", "segmentation"));
  OK(dl_network_set(network, "loss", "{name: cross_entropy, ignore_index: 9}"));
  OK(dl_network_set(network, "optimizer", "{name: adam, lr: 0.1}"));
  OK(dl_network_set(network, "train.batch", "8"));
  OK(dl_network_add(network, "conv2d: {filters: 2, kernel: 1}"));
  OK(dl_network_set_data(network, DL_TRAIN, IMAGES, 3, image, x, labels, 0, NULL));
  OK(dl_network_train(network));
  double iou = 0;
  OK(dl_network_metric(network, DL_TRAIN, "mean_iou", &iou));
  CU_ASSERT_EQUAL(iou, 1);
  CU_ASSERT_EQUAL(dl_network_outputs(network), 2);
  OK(dl_network_predict(network, IMAGES, x, &scores[0][0][0]));
  int wrong = 0;
  for (int i = 0; i < IMAGES * PIXELS; i++) {
    const float *of_pixel = scores[i / PIXELS][i % PIXELS];
    wrong += labels[i] != 9 && (of_pixel[1] > of_pixel[0]) != labels[i];
    CU_ASSERT(fabsf(of_pixel[0] + of_pixel[1] - 1) < 1e-6f);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  dl_network_close(&network);
}

/* ---- the best epoch ---- */

/* Without a folder too: the network ends as a run of just the best epoch's length does. */
static void test_a_network_that_keeps_its_best_epoch_ends_with_it(void) {
  enum { EPOCHS = 7 };
  arrays *a = new_arrays();
  char hex[EPOCHS + 1][65] = {{0}}, kept[65], stopped[65];
  double loss[EPOCHS + 1], best = 0;
  int lowest = 0;
  for (int epochs = 1; epochs <= EPOCHS + 2; epochs++) {
    const bool keeps = epochs == EPOCHS + 1, stops = epochs == EPOCHS + 2;
    char count[16];
    dl_network *network = new_network(a);
    snprintf(count, sizeof count, "%d", keeps || stops ? EPOCHS : epochs);
    OK(dl_network_set(network, "train.epochs", count));
    OK(dl_network_set(network, "optimizer.lr", "0.9")); /* restless */
    OK(dl_network_set_data(network, DL_VALID, TEST, 1, shape, &a->test_x[0][0], a->test_labels, 0, NULL));
    if (keeps || stops) OK(dl_network_set(network, "checkpoint.best", "true"));
    if (stops) OK(dl_network_set(network, "train.patience", "1"));
    OK(dl_network_train(network));
    OK(dl_network_weights_sha256(network, keeps ? kept : stops ? stopped : hex[epochs]));
    OK(dl_network_metric(network, DL_VALID, "loss", keeps || stops ? &best : &loss[epochs]));
    if (keeps) CU_ASSERT_EQUAL(best, loss[lowest]);
    if (!keeps && !stops && (!lowest || loss[epochs] < loss[lowest])) lowest = epochs;
    dl_network_close(&network);
  }
  int first = 1; /* the first that the next one is no better than */
  while (first < EPOCHS && loss[first + 1] < loss[first]) first++;
  CU_ASSERT(lowest < EPOCHS && first < EPOCHS); /* or nothing was shown */
  CU_ASSERT_STRING_EQUAL(kept, hex[lowest]);
  CU_ASSERT_STRING_EQUAL(stopped, hex[first]);
  free(a);
}

/* ---- a program's whole life ---- */

static void test_a_program_builds_trains_judges_predicts_saves_and_opens_again(void) {
  arrays *a = new_arrays();
  dl_network *network = new_network(a), *opened = NULL;
  CU_ASSERT_EQUAL(dl_context_rank(context()), 0);
  CU_ASSERT_EQUAL(dl_context_size(context()), 1);
  CU_ASSERT_EQUAL(dl_network_outputs(network), 0);
  OK(dl_network_train(network));
  CU_ASSERT_EQUAL(dl_network_outputs(network), CLASSES);

  /* The metric is what the predictions give. */
  static float scores[TEST][CLASSES], again[TEST][CLASSES];
  OK(dl_network_predict(network, TEST, &a->test_x[0][0], &scores[0][0]));
  int right = 0;
  double loss = 0;
  for (int i = 0; i < TEST; i++) {
    int best = 0;
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) {
      sum += (double)scores[i][c];
      if (scores[i][c] > scores[i][best]) best = c;
    }
    CU_ASSERT(fabs(sum - 1) < 1e-5);
    right += best == a->test_labels[i];
    loss -= log((double)scores[i][a->test_labels[i]]) / TEST;
  }
  double accuracy = 0, test_loss = 0, train_loss = 0;
  OK(dl_network_metric(network, DL_TEST, "accuracy", &accuracy));
  OK(dl_network_metric(network, DL_TEST, "loss", &test_loss));
  OK(dl_network_metric(network, DL_TRAIN, "loss", &train_loss));
  CU_ASSERT_EQUAL(accuracy, (double)right / TEST);
  CU_ASSERT(accuracy > 0.8);
  CU_ASSERT(fabs(test_loss - loss) < 1e-5);
  CU_ASSERT(train_loss < 0.5);

  /* Saved and opened it is the same. */
  const char *folder = new_folder();
  char path[128], hex[65], opened_hex[65];
  snprintf(path, sizeof path, "%s/saved", folder);
  OK(dl_network_save(network, path));
  snprintf(path, sizeof path, "%s/saved/latest", folder);
  OK(dl_network_weights_sha256(network, hex));
  CU_ASSERT_EQUAL(strspn(hex, "0123456789abcdef"), 64);
  CU_ASSERT_EQUAL(hex[64], 0);
  OK(dl_network_open(context(), path, &opened));
  CU_ASSERT_PTR_NOT_NULL_FATAL(opened);
  CU_ASSERT_EQUAL(dl_network_outputs(opened), CLASSES);
  OK(dl_network_weights_sha256(opened, opened_hex));
  CU_ASSERT_STRING_EQUAL(hex, opened_hex);
  OK(dl_network_predict(opened, TEST, &a->test_x[0][0], &again[0][0]));
  CU_ASSERT_EQUAL(memcmp(scores, again, sizeof scores), 0);
  FAILS(dl_network_metric(opened, DL_TEST, "accuracy", &accuracy), DL_ERR_USAGE, "dl_network_set_data");
  OK(dl_network_set_data(opened, DL_TEST, TEST, 1, shape, &a->test_x[0][0], a->test_labels, 0, NULL));
  double opened_loss = 0;
  OK(dl_network_metric(opened, DL_TEST, "loss", &opened_loss));
  CU_ASSERT_EQUAL(opened_loss, test_loss);
  FAILS(dl_network_save(opened, folder), DL_ERR_USAGE, "copy the checkpoint");
  dl_network_close(&opened);
  dl_network_close(&network);
  CU_ASSERT_PTR_NULL(network);
  remove_all(folder);
  free(a);
}

static void test_a_prediction_depends_on_its_sample_alone(void) {
  arrays *a = new_arrays();
  dl_network *network = new_network(a);
  static float all[TRAIN][CLASSES], one[CLASSES];
  OK(dl_network_train(network));
  OK(dl_network_predict(network, TRAIN, &a->x[0][0], &all[0][0])); /* more than two blocks */
  for (int i = 0; i < TRAIN; i += 37) {
    OK(dl_network_predict(network, 1, a->x[i], one));
    for (int c = 0; c < CLASSES; c++) CU_ASSERT(fabsf(one[c] - all[i][c]) < 1e-5f);
  }
  OK(dl_network_predict(network, 0, NULL, NULL));
  FAILS(dl_network_predict(network, -1, &a->x[0][0], one), DL_ERR_USAGE, "-1 samples");
  a->x[3][2] = NAN;
  FAILS(dl_network_predict(network, TRAIN, &a->x[0][0], &all[0][0]), DL_ERR_DATA, "row 3");
  dl_network_close(&network);
  free(a);
}

static void test_training_repeats_bit_for_bit_and_the_seed_changes_it(void) {
  arrays *a = new_arrays();
  char first[65], second[65], other[65];
  dl_network *network = new_network(a);
  OK(dl_network_train(network));
  OK(dl_network_weights_sha256(network, first));
  OK(dl_network_train(network)); /* from the initial weights again */
  OK(dl_network_weights_sha256(network, second));
  CU_ASSERT_STRING_EQUAL(first, second);
  OK(dl_network_set(network, "seed", "2"));
  OK(dl_network_train(network));
  OK(dl_network_weights_sha256(network, other));
  CU_ASSERT_STRING_NOT_EQUAL(first, other);
  dl_network_close(&network);
  free(a);
}

static void test_several_outputs_are_learnt_and_judged_as_values(void) {
  static float x[200][2], y[200][3], predicted[200][3];
  static const int64_t two[] = {2};
  uint32_t state = 9;
  for (int i = 0; i < 200; i++) {
    x[i][0] = unit(&state);
    x[i][1] = unit(&state);
    for (int o = 0; o < 3; o++) y[i][o] = (float)(o + 1) * x[i][0] - 2 * x[i][1] + (float)o;
  }
  dl_network *network = NULL;
  OK(dl_network_new(context(), &network));
  OK(dl_network_add(network, "dense: 3"));
  OK(dl_network_set(network, "task", "regression"));
  OK(dl_network_set(network, "optimizer", "{name: adam, lr: 0.05}"));
  OK(dl_network_set(network, "train", "{epochs: 60, batch: 20}"));
  OK(dl_network_set_data(network, DL_TRAIN, 150, 1, two, &x[0][0], NULL, 3, &y[0][0]));
  OK(dl_network_set_data(network, DL_TEST, 50, 1, two, &x[150][0], NULL, 3, &y[150][0]));
  OK(dl_network_train(network));
  OK(dl_network_predict(network, 50, &x[150][0], &predicted[0][0]));
  double mse = 0, said = 0, r2 = 0;
  for (int i = 0; i < 50; i++)
    for (int o = 0; o < 3; o++) mse += pow((double)y[150 + i][o] - (double)predicted[i][o], 2) / 150;
  OK(dl_network_metric(network, DL_TEST, "mse", &said));
  OK(dl_network_metric(network, DL_TEST, "r2", &r2));
  CU_ASSERT(fabs(said - mse) <= 1e-9 + 1e-6 * mse);
  CU_ASSERT(r2 > 0.99);
  dl_network_close(&network);
}

/* ---- arrays that change ---- */

static void test_arrays_set_after_training_are_the_ones_that_are_judged(void) {
  arrays *a = new_arrays(), *b = new_arrays();
  dl_network *network = new_network(a);
  double before = 0, after = 0, halves = 0;
  OK(dl_network_train(network));
  OK(dl_network_metric(network, DL_TEST, "accuracy", &before));
  /* The same samples under wrong labels; the old arrays are the program's again, and gone. */
  for (int i = 0; i < TEST; i++) b->test_labels[i] = (b->test_labels[i] + 1) % CLASSES;
  OK(dl_network_set_data(network, DL_TEST, TEST, 1, shape, &b->test_x[0][0], b->test_labels, 0, NULL));
  OK(dl_network_set_data(network, DL_TRAIN, TRAIN, 1, shape, &b->x[0][0], b->labels, 0, NULL));
  memset(a, 0xff, sizeof *a);
  free(a);
  OK(dl_network_metric(network, DL_TEST, "accuracy", &after));
  CU_ASSERT(before > 0.8);
  CU_ASSERT(after < 0.2);
  OK(dl_network_set_data(network, DL_TEST, TEST / 2, 1, shape, &b->test_x[0][0], b->test_labels, 0, NULL));
  OK(dl_network_metric(network, DL_TEST, "accuracy", &halves));
  CU_ASSERT(fabs(halves * (TEST / 2) - round(halves * (TEST / 2))) < 1e-9); /* of 75 samples, not of 150 */
  OK(dl_network_metric(network, DL_TRAIN, "accuracy", &after));
  CU_ASSERT(after > 0.8);
  OK(dl_network_train(network)); /* on the new ones */
  dl_network_close(&network);
  free(b);
}

static void test_a_validation_cut_off_train_ends_with_the_arrays_it_was_cut_off(void) {
  arrays *a = new_arrays(), *b = new_arrays();
  dl_network *network = new_network(a);
  double value = 0;
  OK(dl_network_set(network, "data.valid", "0.2"));
  OK(dl_network_train(network));
  OK(dl_network_metric(network, DL_VALID, "accuracy", &value));
  CU_ASSERT(fabs(value * 60 - round(value * 60)) < 1e-9); /* floor(0.2 * 300) samples */
  OK(dl_network_set_data(network, DL_TRAIN, TRAIN, 1, shape, &b->x[0][0], b->labels, 0, NULL));
  OK(dl_network_set_data(network, DL_TEST, TEST, 1, shape, &b->test_x[0][0], b->test_labels, 0, NULL));
  memset(a, 0xff, sizeof *a);
  free(a);
  FAILS(dl_network_metric(network, DL_VALID, "accuracy", &value), DL_ERR_USAGE, "train again");
  OK(dl_network_train(network));
  OK(dl_network_metric(network, DL_VALID, "accuracy", &value));
  dl_network_close(&network);
  free(b);
}

static void test_arrays_of_another_shape_than_the_opened_network_are_refused(void) {
  arrays *a = new_arrays();
  dl_network *network = new_network(a), *opened = NULL;
  static const int64_t shapes[][2] = {{4, 0}, {6, 0}, {1, 5}};
  const char *folder = new_folder();
  char path[128];
  double value;
  OK(dl_network_train(network));
  OK(dl_network_save(network, folder));
  snprintf(path, sizeof path, "%s/latest", folder);
  for (int i = 0; i < 3; i++) {
    OK(dl_network_open(context(), path, &opened));
    CU_ASSERT_PTR_NOT_NULL_FATAL(opened);
    dl_status status =
        dl_network_set_data(opened, DL_TEST, 10, i < 2 ? 1 : 2, shapes[i], &a->test_x[0][0], a->test_labels, 0, NULL);
    if (status == DL_OK) status = dl_network_metric(opened, DL_TEST, "loss", &value);
    CU_ASSERT_EQUAL(status, DL_ERR_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_last_error(), "shape"));
    dl_network_close(&opened);
  }
  dl_network_close(&network);
  remove_all(folder);
  free(a);
}

static void test_splits_with_another_number_of_targets_are_refused(void) {
  static float x[60][2], y[60][3];
  static const int64_t two[] = {2};
  dl_network *network = NULL;
  double value;
  uint32_t state = 4;
  for (int i = 0; i < 60; i++) {
    x[i][0] = unit(&state);
    x[i][1] = unit(&state);
    for (int o = 0; o < 3; o++) y[i][o] = x[i][0];
  }
  OK(dl_network_new(context(), &network));
  OK(dl_network_add(network, "dense: 3"));
  OK(dl_network_set(network, "task", "regression"));
  OK(dl_network_set(network, "train", "{epochs: 1, batch: 20}"));
  OK(dl_network_set_data(network, DL_TRAIN, 60, 1, two, &x[0][0], NULL, 3, &y[0][0]));
  OK(dl_network_set_data(network, DL_TEST, 20, 1, two, &x[0][0], NULL, 0, NULL)); /* no truth: the others keep theirs */
  OK(dl_network_train(network));
  FAILS(dl_network_metric(network, DL_TEST, "mse", &value), DL_ERR_DATA, "no y");
  FAILS(dl_network_set_data(network, DL_TEST, 60, 1, two, &x[0][0], NULL, 1, &y[0][0]), DL_ERR_USAGE, "1 ");
  FAILS(dl_network_set_data(network, DL_TEST, 60, 1, two, &x[0][0], NULL, 0, &y[0][0]), DL_ERR_USAGE, "0 ");
  OK(dl_network_set_data(network, DL_TEST, 60, 1, two, &x[0][0], NULL, 3, &y[0][0]));
  OK(dl_network_metric(network, DL_TEST, "mse", &value));
  dl_network_close(&network);
}

/* ---- errors ---- */

static dl_status train_with(const arrays *a, const char *layer, const char *key, const char *value) {
  dl_network *network = new_network(a);
  if (layer) OK(dl_network_add(network, layer));
  if (key) OK(dl_network_set(network, key, value));
  dl_status status = dl_network_train(network);
  CU_ASSERT_EQUAL(dl_network_outputs(network), status == DL_OK ? CLASSES : 0);
  dl_network_close(&network);
  return status;
}

static void test_an_error_in_a_layer_or_a_setting_says_which_and_what_to_do(void) {
  arrays *a = new_arrays();
  OK(train_with(a, NULL, NULL, NULL));
  FAILS(train_with(a, "dens: 3", NULL, NULL), DL_ERR_USAGE, "did you mean 'dense'?");
  FAILS(train_with(a, "dense: {unit: 3}", NULL, NULL), DL_ERR_USAGE, "layer 3:1:9: unknown key 'unit'");
  FAILS(train_with(a, "dense: x", NULL, NULL), DL_ERR_USAGE, "units must be");
  FAILS(train_with(a, "dense: 0", NULL, NULL), DL_ERR_USAGE, "layer 3:1:8: units must lie");
  FAILS(train_with(a, "dense: [", NULL, NULL), DL_ERR_USAGE, "layer 3:");
  FAILS(train_with(a, "", NULL, NULL), DL_ERR_USAGE, "layer");
  FAILS(train_with(a, "{dense: 3, relu: }", NULL, NULL), DL_ERR_USAGE, "one name");
  FAILS(train_with(a, "softmax", NULL, NULL), DL_ERR_USAGE, "softmax");
  FAILS(train_with(a, NULL, "train.epoch", "3"), DL_ERR_USAGE, "did you mean 'epochs'?");
  FAILS(train_with(a, NULL, "learning_rate", "3"), DL_ERR_USAGE, "unknown key 'learning_rate'");
  FAILS(train_with(a, NULL, "train.epochs", "many"), DL_ERR_USAGE, "epochs must be a whole number, not 'many'");
  FAILS(train_with(a, NULL, "train.epochs", "0"), DL_ERR_USAGE, "train.epochs");
  FAILS(train_with(a, NULL, "optimizer", "{name: adm}"), DL_ERR_USAGE, "did you mean 'adam'?");
  FAILS(train_with(a, NULL, "optimizer.lr", "{"), DL_ERR_USAGE, "--set optimizer.lr:");
  FAILS(train_with(a, NULL, "", "3"), DL_ERR_USAGE, "key.path=VALUE");
  FAILS(train_with(a, NULL, "loss", "mse"), DL_ERR_USAGE, "mse");
  free(a);
}

static void test_data_that_are_missing_or_wrong_are_an_error(void) {
  arrays *a = new_arrays();
  dl_network *network = new_network(NULL);
  CU_ASSERT_NOT_EQUAL(dl_network_train(network), DL_OK); /* neither arrays nor data.file */
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_last_error(), "data.file"));
  OK(dl_network_set_data(network, DL_TEST, TEST, 1, shape, &a->test_x[0][0], a->test_labels, 0, NULL));
  CU_ASSERT_NOT_EQUAL(dl_network_train(network), DL_OK); /* nothing to train on */
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_last_error(), "train"));
  OK(dl_network_set_data(network, DL_TRAIN, TRAIN, 1, shape, &a->x[0][0], NULL, 0, NULL));
  FAILS(dl_network_train(network), DL_ERR_DATA, "no y");
  a->labels[17] = 3;
  OK(dl_network_set_data(network, DL_TRAIN, TRAIN, 1, shape, &a->x[0][0], a->labels, 0, NULL));
  FAILS(dl_network_train(network), DL_ERR_DATA, "3");
  a->labels[17] = -1;
  FAILS(dl_network_train(network), DL_ERR_DATA, "row 17");
  a->labels[17] = 1;
  a->x[5][0] = INFINITY;
  FAILS(dl_network_train(network), DL_ERR_DATA, "row 5");
  a->x[5][0] = 1;
  OK(dl_network_train(network));
  dl_network_close(&network);
  free(a);
}

static void test_arrays_that_cannot_be_are_refused_when_set(void) {
  static const struct {
    int split, dims;
    int64_t samples, shape[6];
  } all[] = {
      {-1, 1, 10, {5}},
      {3, 1, 10, {5}},
      {DL_TRAIN, 0, 10, {5}},
      {DL_TRAIN, 6, 10, {1, 1, 1, 1, 1, 5}},
      {DL_TRAIN, 1, 10, {0}},
      {DL_TRAIN, 2, 10, {5, -1}},
      {DL_TRAIN, 2, 10, {1LL << 40, 1LL << 40}},
      {DL_TRAIN, 1, -1, {5}},
  };
  arrays *a = new_arrays();
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    dl_network *network = new_network(NULL);
    dl_status status = dl_network_set_data(network, all[i].split, all[i].samples, all[i].dims, all[i].shape,
                                           &a->x[0][0], a->labels, 0, NULL);
    if (status == DL_OK) status = dl_network_train(network);
    CU_ASSERT_EQUAL(status, DL_ERR_USAGE);
    dl_network_close(&network);
  }
  dl_network *network = new_network(a);
  static const int64_t other[] = {4};
  FAILS(dl_network_set_data(network, DL_VALID, 10, 1, other, &a->x[0][0], a->labels, 0, NULL), DL_ERR_USAGE, "shape");
  dl_network_close(&network);
  free(a);
}

static void test_use_before_training_is_an_error_that_says_what_is_missing(void) {
  arrays *a = new_arrays();
  dl_network *network = new_network(a);
  double value;
  char hex[65];
  float scores[CLASSES];
  FAILS(dl_network_metric(network, DL_TEST, "accuracy", &value), DL_ERR_USAGE, "dl_network_train");
  FAILS(dl_network_predict(network, 1, a->x[0], scores), DL_ERR_USAGE, "dl_network_train");
  FAILS(dl_network_weights_sha256(network, hex), DL_ERR_USAGE, "dl_network_train");
  FAILS(dl_network_save(network, "/nowhere/at/all"), DL_ERR_USAGE, "dl_network_train");
  OK(dl_network_train(network));
  FAILS(dl_network_metric(network, DL_TEST, "acuracy", &value), DL_ERR_USAGE, "accuracy|");
  FAILS(dl_network_metric(network, DL_TEST, "r2", &value), DL_ERR_USAGE, "r2");
  FAILS(dl_network_metric(network, 7, "accuracy", &value), DL_ERR_USAGE, "no split 7");
  FAILS(dl_network_metric(network, DL_VALID, "accuracy", &value), DL_ERR_USAGE, "dl_network_set_data");
  FAILS(dl_network_save(network, "/proc/no/such/place"), DL_ERR_SYSTEM, "/proc/no");
  dl_network_close(&network);
  free(a);
}

static void test_what_is_no_checkpoint_cannot_be_opened(void) {
  const char *folder = new_folder();
  char path[128];
  dl_network *network = NULL;
  snprintf(path, sizeof path, "%s/absent", folder);
  FAILS(dl_network_open(context(), path, &network), DL_ERR_DATA, path);
  FAILS(dl_network_open(context(), folder, &network), DL_ERR_DATA, folder);
  snprintf(path, sizeof path, "%s/file", folder);
  put_file(path, "text");
  FAILS(dl_network_open(context(), path, &network), DL_ERR_DATA, path);
  snprintf(path, sizeof path, "%s/checkpoints", folder);
  CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
  FAILS(dl_network_open(context(), folder, &network), DL_ERR_DATA, "no whole checkpoint"); /* a run without any */
  CU_ASSERT_PTR_NULL(network);
  remove_all(folder);
}

/* ---- configuration files ---- */

static const char config_text[] =
    "# a comment, so that lines do not move by chance\n"
    "\n"
    "seed: 4\n"
    "train: {epochs: 2,\n"
    "        batch: 50}\n"
    "model:\n"
    "  - dense: 8 # of the file\n";

static void test_a_configuration_file_is_added_to_and_errors_keep_its_lines(void) {
  arrays *a = new_arrays();
  const char *folder = new_folder();
  char path[128], place[200], hex[65], other[65];
  snprintf(path, sizeof path, "%s/c.yaml", folder);
  put_file(path, config_text);
  dl_network *network = NULL, *by_hand = NULL;
  OK(dl_network_new(context(), &network));
  OK(dl_network_load_config(network, path));
  OK(dl_network_add(network, "tanh"));
  OK(dl_network_add(network, "dense: 3"));
  OK(dl_network_set(network, "train.epochs", "3"));
  OK(dl_network_set_data(network, DL_TRAIN, TRAIN, 1, shape, &a->x[0][0], a->labels, 0, NULL));
  OK(dl_network_train(network));
  OK(dl_network_weights_sha256(network, hex));
  OK(dl_network_new(context(), &by_hand));
  OK(dl_network_add(by_hand, "dense: 8"));
  OK(dl_network_add(by_hand, "tanh"));
  OK(dl_network_add(by_hand, "dense: 3"));
  OK(dl_network_set(by_hand, "train", "{epochs: 3, batch: 50}"));
  OK(dl_network_set(by_hand, "seed", "4"));
  OK(dl_network_set_data(by_hand, DL_TRAIN, TRAIN, 1, shape, &a->x[0][0], a->labels, 0, NULL));
  OK(dl_network_train(by_hand));
  OK(dl_network_weights_sha256(by_hand, other));
  CU_ASSERT_STRING_EQUAL(hex, other);

  char wrong[sizeof config_text + 100];
  snprintf(wrong, sizeof wrong, "%soptimizer: {name: adam,\n            learnig_rate: 3}\n", config_text);
  put_file(path, wrong);
  OK(dl_network_load_config(network, path));
  snprintf(place, sizeof place, "%s:9:13: unknown key 'learnig_rate'", path);
  FAILS(dl_network_train(network), DL_ERR_USAGE, place);
  snprintf(wrong, sizeof wrong, "%s  - dense: {unit: 3}\n", config_text);
  put_file(path, wrong);
  OK(dl_network_load_config(network, path));
  snprintf(place, sizeof place, "%s:8:13: unknown key 'unit'", path);
  FAILS(dl_network_train(network), DL_ERR_USAGE, place);
  FAILS(dl_network_load_config(network, folder), DL_ERR_USAGE, folder);
  dl_network_close(&network);
  dl_network_close(&by_hand);
  remove_all(folder);
  free(a);
}

static void test_layers_go_with_an_empty_model_and_not_with_one_that_is_no_list(void) {
  static const struct {
    const char *text;
    dl_status status;
  } all[] = {{"model:\n", DL_OK}, {"model: []\n", DL_OK}, {"model: relu\n", DL_ERR_USAGE}, {"- relu\n", DL_ERR_USAGE}};
  arrays *a = new_arrays();
  const char *folder = new_folder();
  char path[128];
  snprintf(path, sizeof path, "%s/c.yaml", folder);
  for (int i = 0; i < 4; i++) {
    dl_network *network = new_network(a);
    put_file(path, all[i].text);
    OK(dl_network_load_config(network, path));
    dl_status status = dl_network_train(network);
    if (status != all[i].status) fprintf(stderr, "%s%s\n", all[i].text, dl_last_error());
    CU_ASSERT_EQUAL(status, all[i].status);
    bool placed = status == DL_OK || strstr(dl_last_error(), path);
    if (!placed) fprintf(stderr, "%s%s\n", all[i].text, dl_last_error());
    CU_ASSERT(placed);
    dl_network_close(&network);
  }
  remove_all(folder);
  free(a);
}

int main(void) {
  static const dl_test tests[] = {
      DL_TEST(test_maps_of_labels_are_learnt_and_predicted_pixel_by_pixel),
      DL_TEST(test_a_network_that_keeps_its_best_epoch_ends_with_it),
      DL_TEST(test_a_program_builds_trains_judges_predicts_saves_and_opens_again),
      DL_TEST(test_a_prediction_depends_on_its_sample_alone),
      DL_TEST(test_training_repeats_bit_for_bit_and_the_seed_changes_it),
      DL_TEST(test_several_outputs_are_learnt_and_judged_as_values),
      DL_TEST(test_arrays_set_after_training_are_the_ones_that_are_judged),
      DL_TEST(test_a_validation_cut_off_train_ends_with_the_arrays_it_was_cut_off),
      DL_TEST(test_arrays_of_another_shape_than_the_opened_network_are_refused),
      DL_TEST(test_splits_with_another_number_of_targets_are_refused),
      DL_TEST(test_an_error_in_a_layer_or_a_setting_says_which_and_what_to_do),
      DL_TEST(test_data_that_are_missing_or_wrong_are_an_error),
      DL_TEST(test_arrays_that_cannot_be_are_refused_when_set),
      DL_TEST(test_use_before_training_is_an_error_that_says_what_is_missing),
      DL_TEST(test_what_is_no_checkpoint_cannot_be_opened),
      DL_TEST(test_a_configuration_file_is_added_to_and_errors_keep_its_lines),
      DL_TEST(test_layers_go_with_an_empty_model_and_not_with_one_that_is_no_list),
  };
  int failed = dl_test_main("api", tests, sizeof tests / sizeof tests[0]);
  dl_context_close(&opened_context);
  return failed;
}

/* A class for every pixel: the loss, its normaliser and all gradients of linear networks against float64 by hand, for
 * outputs that lie either way; what a network must end in. */
#include "nn_fixture.h"

enum { C = 3, H = 3, W = 4, P = H * W, IN = 2, X = IN * P, N = 5 };

typedef struct truth {
  int32_t label[N * P];
  float weight[N];
  double class_weight[C];
} truth;

static truth make_truth(lcg *g, int32_t ignored) {
  truth t = {.class_weight = {1, 1, 1}};
  for (int i = 0; i < N * P; i++) t.label[i] = lcg_class(g, C);
  for (int i = 0; i < N * P; i += 7) t.label[i] = i % 2 ? -1 : ignored;
  for (int i = 0; i < N; i++) t.weight[i] = i == 2 ? 1 : 0.25f * (float)(i + 1);
  return t;
}

/* z (C, P) of sample x by the network's weights: a convolution of 1 x 1, or a dense layer whose outputs are reshaped.
 */
static void logits_of(const fixture *f, bool dense, const float *x, double *z) {
  const float *w = f->weights + f->tensors[0].offset, *b = f->weights + f->tensors[1].offset;
  for (int c = 0; c < C; c++)
    for (int p = 0; p < P; p++) {
      const int row = dense ? c * P + p : c;
      z[c * P + p] = (double)b[row];
      for (int k = 0; k < (dense ? X : IN); k++)
        z[c * P + p] += (double)w[row * (dense ? X : IN) + k] * (double)(dense ? x[k] : x[k * P + p]);
    }
}

/* The derivative of the loss by z, (C, P); adds to loss and normaliser. */
static void slope_of(const truth *t, bool weighted, int sample, const double *z, double *slope, double *loss,
                     double *all) {
  memset(slope, 0, C * P * sizeof *slope);
  for (int p = 0; p < P; p++) {
    const int32_t label = t->label[sample * P + p];
    if (label < 0 || label >= C) continue;
    const double w = (weighted ? (double)t->weight[sample] : 1) * t->class_weight[label];
    double sum = 0;
    for (int c = 0; c < C; c++) sum += exp(z[c * P + p]);
    *loss += w * (log(sum) - z[label * P + p]);
    *all += w;
    for (int c = 0; c < C; c++) slope[c * P + p] = w * (exp(z[c * P + p]) / sum - (c == label));
  }
}

static void add_gradients(bool dense, const float *x, const double *slope, double *dw, double *db) {
  for (int c = 0; c < C; c++)
    for (int p = 0; p < P; p++) {
      const int row = dense ? c * P + p : c;
      db[row] += slope[c * P + p];
      for (int k = 0; k < (dense ? X : IN); k++)
        dw[row * (dense ? X : IN) + k] += slope[c * P + p] * (double)(dense ? x[k] : x[k * P + p]);
    }
}

static double furthest(const float *got, const double *want, size_t n) {
  double most = 0, largest = 0;
  for (size_t i = 0; i < n; i++) {
    largest = fmax(largest, fabs(want[i]));
    const double far = fabs((double)got[i] - want[i]);
    if (!(far <= most)) most = isnan(far) ? INFINITY : far;
  }
  return most / largest;
}

static double out_of(float got, double want, double worst) {
  const double far = fabs((double)got - want);
  return far <= worst ? worst : isnan(far) ? INFINITY : far;
}

static void check_network(const char *model, const char *loss_text, const double *class_weight, bool weighted) {
  const bool dense = strstr(model, "dense") != NULL;
  char yaml[300];
  fixture f;
  const int64_t shape[] = {IN, H, W};
  snprintf(yaml, sizeof yaml, "task: segmentation\n%s\n%s", model, loss_text);
  DL_ASSERT_OK(fixture_new(&f, yaml, 3, shape, C, N));
  if (!f.net) return;
  CU_ASSERT(dl_net_rows(f.net) == P && dl_net_outputs(f.net) == C);
  lcg g = {11};
  fixture_fill(&f, &g, 1);
  truth t = make_truth(&g, 255);
  if (class_weight) memcpy(t.class_weight, class_weight, sizeof t.class_weight);
  float x[N * X];
  for (int i = 0; i < N * X; i++) x[i] = lcg_value(&g);
  memcpy(dl_net_input(f.net), x, sizeof x);
  const dl_pass pass = {.training = true};
  double loss, all, want_loss = 0, want_all = 0, dw[C * P * X] = {0}, db[C * P] = {0};
  const float *out = dl_net_forward(f.net, f.weights, N, &pass);
  double worst = 0;
  for (int i = 0; i < N; i++) {
    double z[C * P], slope[C * P];
    logits_of(&f, dense, x + i * X, z);
    for (int k = 0; k < C * P; k++) worst = out_of(out[(i * P + k % P) * C + k / P], z[k], worst);
    slope_of(&t, weighted, i, z, slope, &want_loss, &want_all);
    add_gradients(dense, x + i * X, slope, dw, db);
  }
  CU_ASSERT(worst < 1e-5); /* (n, h, w, c) */
  dl_net_loss(f.net, N, t.label, NULL, weighted ? t.weight : NULL, &loss, &all);
  CU_ASSERT_DOUBLE_EQUAL(loss, want_loss, 1e-5 * want_loss);
  CU_ASSERT_DOUBLE_EQUAL(all, want_all, 1e-12 * want_all);
  dl_net_backward(f.net, f.weights, N, &pass, f.gradients);
  CU_ASSERT(furthest(f.gradients + f.tensors[0].offset, dw, f.tensors[0].count) < 1e-5);
  CU_ASSERT(furthest(f.gradients + f.tensors[1].offset, db, f.tensors[1].count) < 1e-5);

  /* Scores are probabilities of each pixel; labels that do not count become -1. */
  dl_net_forward(f.net, f.weights, N, &pass);
  const float *scores = dl_net_scores(f.net, N);
  for (int i = 0; i < N * P; i++) {
    double sum = 0;
    for (int c = 0; c < C; c++) sum += (double)scores[i * C + c];
    CU_ASSERT_DOUBLE_EQUAL(sum, 1, 1e-6);
  }
  dl_net_drop_ignored(f.net, N, t.label);
  CU_ASSERT_EQUAL(t.label[0], -1);
  fixture_clear(&f);
}

static const char by_pixel[] = "model: [{conv2d: {filters: 3, kernel: 1}}]",
                  by_plane[] = "model: [flatten, {dense: 36}, {reshape: [3, 3, 4]}]";

static void test_loss_and_gradients_are_those_of_float64(void) {
  const char plain[] = "loss: {name: cross_entropy, ignore_index: 255}",
             classes[] = "loss: {name: cross_entropy, ignore_index: 255, class_weights: [0.5, 2, 1.25]}";
  const double weights[] = {0.5, 2, 1.25};
  for (int weighted = 0; weighted < 2; weighted++) {
    check_network(by_pixel, plain, NULL, weighted);
    check_network(by_plane, plain, NULL, weighted);
    check_network(by_pixel, classes, weights, weighted);
    check_network(by_plane, classes, weights, weighted);
  }
}

static void expect(const char *model, int64_t outputs, const int64_t *map, const char *part) {
  char yaml[300], whole[2048];
  snprintf(yaml, sizeof yaml, "task: segmentation\nmodel:\n  - {conv2d: {filters: 4, kernel: 3, padding: same}}\n%s",
           model);
  dl_config *config = NULL;
  DL_ASSERT_OK(dl_config_parse(yaml, strlen(yaml), "c.yaml", NULL, 0, &config));
  dl_net_spec spec = {.config = config, .x_dims = 3, .x_shape = {1, 8, 10}, .outputs = outputs, .max_batch = 2};
  if (map) memcpy(spec.map, map, sizeof spec.map);
  dl_net *net = NULL;
  CU_ASSERT_EQUAL(dl_net_new(&spec, &net), *part ? DL_ERR_USAGE : DL_OK);
  dl_error_format(dl_error_last(), whole, sizeof whole);
  if (*part) CU_ASSERT_PTR_NOT_NULL(strstr(whole, part));
  if (*part && !strstr(whole, part)) fprintf(stderr, "says: %s\nwithout: %s\n", whole, part);
  dl_net_destroy(&net);
  dl_config_destroy(&config);
}

static void test_what_a_network_must_end_in_is_said_at_its_last_layer(void) {
  const int64_t same[] = {8, 10}, half[] = {4, 5};
  expect("  - {conv2d: {filters: 2, kernel: 1}}\n", 0, same, "");
  expect("  - maxpool2d: 2\n", 0, half, "");
  expect("  - maxpool2d: 2\n", 0, same, "here (classes, 8, 10) as the labels are, but this is (4, 4, 5)");
  expect("  - flatten\n  - dense: 4\n", 0, same, "but this is (4)");
  expect("  - flatten\n  - dense: 4\n", 0, NULL, "c.yaml:5");
  expect("  - {conv2d: {filters: 2, kernel: 1}}\n", 3, same, "ends in 2 channels but the data set has 3 classes");
  expect("  - softmax\n", 0, same, "a final softmax before cross_entropy is an error");
  expect("  - relu\nloss: mse\n", 0, same, "loss mse does not fit task segmentation");
}

static const dl_test tests[] = {
    DL_TEST(test_loss_and_gradients_are_those_of_float64),
    DL_TEST(test_what_a_network_must_end_in_is_said_at_its_last_layer),
};
DL_TEST_MAIN("segmentation", tests)

/* test_gradients.c - outputs, losses and gradients of networks against finite differences of a twin in float64. */
#include "nn_fixture.h"
#include "twin.h"

typedef struct grad_case {
  const char *yaml;
  twin net;
  int outputs;
  bool weighted;
} grad_case;

#define LAYERS(...) .layers = {__VA_ARGS__}
#define DENSE(n) \
  { .kind = 'd', .units = n }
#define DENSE_FROM(n, ...)                           \
  {                                                  \
    .kind = 'd', .units = n, .from = { __VA_ARGS__ } \
  }
#define DROP(p) \
  { .kind = 'o', .rate = p }
#define ACT(k) \
  { .kind = k }
#define JOIN(k, ...)                   \
  {                                    \
    .kind = k, .from = { __VA_ARGS__ } \
  }

typedef struct truth {
  float x[16 * 48], y[16 * 48], weight[16];
  int32_t label[16];
} truth;

static void make_truth(const grad_case *c, int n, truth *t) {
  lcg g = {(uint32_t)n * 7 + 1};
  const bool bits = !strcmp(c->net.loss, "bce");
  for (int i = 0; i < n * c->net.in; i++) t->x[i] = 2 * lcg_value(&g);
  for (int i = 0; i < n * c->outputs; i++) t->y[i] = bits ? (lcg_value(&g) > 0 ? 1.0f : 0.0f) : 3 * lcg_value(&g);
  for (int i = 0; i < n; i++) t->weight[i] = 1.5f + lcg_value(&g);
  for (int i = 0; i < n; i++) t->label[i] = lcg_class(&g, c->outputs);
}

/* Largest difference from the twin's central differences, over the largest gradient. */
static double gradient_error(const grad_case *c, const fixture *f, int n, const truth *t, const float *weight) {
  static double packed[4096];
  int count = 0;
  double worst = 0, largest = 1e-3;
  for (int k = 0; k < f->n_tensors; k++)
    for (size_t i = 0; i < f->tensors[k].count; i++) packed[count++] = (double)f->weights[f->tensors[k].offset + i];
  count = 0;
  for (int k = 0; k < f->n_tensors; k++)
    for (size_t i = 0; i < f->tensors[k].count; i++, count++) {
      const double h = 1e-6, at = packed[count];
      packed[count] = at + h;
      const double up = twin_loss(&c->net, packed, n, t->x, t->label, t->y, weight, NULL);
      packed[count] = at - h;
      const double down = twin_loss(&c->net, packed, n, t->x, t->label, t->y, weight, NULL);
      packed[count] = at;
      const double want = f->tensors[k].trainable ? (up - down) / (2 * h) : 0;
      const double error = fabs((double)f->gradients[f->tensors[k].offset + i] - want);
      if (!(error <= worst)) worst = error;
      if (fabs(want) > largest) largest = fabs(want);
    }
  return worst / largest;
}

static void check_case(const grad_case *c, int n) {
  fixture f;
  static truth t;
  static double packed[4096], want[16 * 48];
  DL_ASSERT_OK(fixture_new(&f, c->yaml, 1, (int64_t[]){c->net.in}, c->outputs, 9));
  if (!f.weights) return;
  lcg g = {99};
  fixture_fill(&f, &g, 0.6f);
  for (size_t i = 0; i < f.count; i++) f.gradients[i] = NAN; /* written, not added to */
  make_truth(c, n, &t);
  const float *weight = c->weighted ? t.weight : NULL;
  const dl_pass pass = {
      .training = c->net.training, .seed = c->net.seed, .step = c->net.step, .first_sample = c->net.first_sample};
  memcpy(dl_net_input(f.net), t.x, (size_t)(n * c->net.in) * sizeof(float));
  const float *outputs = dl_net_forward(f.net, f.weights, n, &pass);
  int count = 0;
  for (int k = 0; k < f.n_tensors; k++)
    for (size_t i = 0; i < f.tensors[k].count; i++) packed[count++] = (double)f.weights[f.tensors[k].offset + i];
  const double loss = twin_loss(&c->net, packed, n, t.x, t.label, t.y, weight, want);
  double error = 0, largest = 0, loss_sum, normaliser, weight_sum = 0;
  for (int i = 0; i < n * c->outputs; i++) {
    if (!(fabs((double)outputs[i] - want[i]) <= error)) error = fabs((double)outputs[i] - want[i]);
    largest = fmax(largest, fabs(want[i]));
  }
  CU_ASSERT(error <= 2e-6 * (1 + largest));
  const bool classes = !strcmp(c->net.loss, "cross_entropy");
  dl_net_loss(f.net, n, classes ? t.label : NULL, classes ? NULL : t.y, weight, &loss_sum, &normaliser);
  CU_ASSERT_DOUBLE_EQUAL(loss_sum, loss, 2e-6 * fabs(loss));
  for (int i = 0; i < n; i++) weight_sum += weight ? (double)weight[i] : 1;
  CU_ASSERT_DOUBLE_EQUAL(normaliser, weight_sum * (classes ? 1 : c->outputs), 1e-12 * normaliser);
  dl_net_backward(f.net, f.weights, n, &pass, f.gradients);
  const double gradient = gradient_error(c, &f, n, &t, weight);
  if (!(gradient <= 1e-5)) fprintf(stderr, "%s: n %d: relative gradient error %g\n", c->yaml, n, gradient);
  CU_ASSERT(gradient <= 1e-5);
  fixture_clear(&f);
}

static void check_cases(const grad_case *cases, size_t n_cases) {
  for (size_t i = 0; i < n_cases; i++)
    for (int n = 1; n <= 9; n += 4) check_case(&cases[i], n);
}
#define CHECK(cases) check_cases(cases, sizeof(cases) / sizeof(cases)[0])

static void test_every_layer_agrees_with_finite_differences(void) {
  static const grad_case cases[] = {
      {"model: [{dense: 7}]", {LAYERS(DENSE(7)), .in = 5, .loss = "cross_entropy"}, 7, false},
      {"model: [{dense: {units: 3, bias: false}}]",
       {LAYERS({.kind = 'D', .units = 3}), .in = 1, .loss = "cross_entropy"},
       3,
       false},
      {"model: [{dense: 9}, relu, {dense: 7}, sigmoid, {dense: 6}, tanh, {dense: 4}]",
       {LAYERS(DENSE(9), ACT('r'), DENSE(7), ACT('s'), DENSE(6), ACT('t'), DENSE(4)), .in = 11,
        .loss = "cross_entropy"},
       4,
       false},
      {"model: [{dense: 19}, softmax, {dense: 4}]",
       {LAYERS(DENSE(19), ACT('m'), DENSE(4)), .in = 5, .loss = "cross_entropy"},
       4,
       false},
      {"model: [flatten, {dense: 5}, flatten, tanh, flatten, {dense: 3}, flatten]",
       {LAYERS(ACT('f'), DENSE(5), ACT('f'), ACT('t'), ACT('f'), DENSE(3), ACT('f')), .in = 6, .loss = "cross_entropy"},
       3,
       false},
      {"model: [tanh, relu, {dense: 3}]",
       {LAYERS(ACT('t'), ACT('r'), DENSE(3)), .in = 6, .loss = "cross_entropy"},
       3,
       false},
      {"model: [{dense: 8}, tanh, sigmoid, relu, {dense: 3}, tanh]",
       {LAYERS(DENSE(8), ACT('t'), ACT('s'), ACT('r'), DENSE(3), ACT('t')), .in = 6, .loss = "cross_entropy"},
       3,
       false},
  };
  CHECK(cases);
}

static void test_every_loss_agrees_with_finite_differences(void) {
  static const grad_case cases[] = {
      {"loss: {name: cross_entropy, label_smoothing: 0.15}\nmodel: [{dense: 17}]",
       {LAYERS(DENSE(17)), .in = 5, .loss = "cross_entropy", .smoothing = 0.15},
       17,
       true},
      {"model: [{dense: 6}, relu, {dense: 10}]",
       {LAYERS(DENSE(6), ACT('r'), DENSE(10)), .in = 3, .loss = "cross_entropy"},
       10,
       true},
      {"task: binary\nmodel: [{dense: 3}, tanh, {dense: 1}]",
       {LAYERS(DENSE(3), ACT('t'), DENSE(1)), .in = 5, .loss = "bce"},
       1,
       true},
      {"task: multilabel\nmodel: [{dense: 13}]", {LAYERS(DENSE(13)), .in = 5, .loss = "bce"}, 13, true},
      {"task: regression\nmodel: [{dense: 11}]", {LAYERS(DENSE(11)), .in = 5, .loss = "mse"}, 11, true},
      {"task: regression\nloss: mae\nmodel: [{dense: 11}]", {LAYERS(DENSE(11)), .in = 5, .loss = "mae"}, 11, true},
      {"task: regression\nloss: huber\nmodel: [{dense: 11}]",
       {LAYERS(DENSE(11)), .in = 5, .loss = "huber", .delta = 1},
       11,
       false},
      {"task: regression\nloss: {name: huber, delta: 0.25}\nmodel: [{dense: 11}, sigmoid]",
       {LAYERS(DENSE(11), ACT('s')), .in = 5, .loss = "huber", .delta = 0.25},
       11,
       true},
  };
  CHECK(cases);
}

static void test_dropout_drops_by_seed_layer_step_sample_and_element(void) {
#define DROP_YAML "model: [{dense: 21}, tanh, {dropout: 0.4}, relu, {dropout: {rate: 0.25}}, {dense: 4}]"
#define DROP_LAYERS LAYERS(DENSE(21), ACT('t'), DROP(0.4), ACT('r'), DROP(0.25), DENSE(4))
  static const grad_case cases[] = {
      {DROP_YAML, {DROP_LAYERS, .in = 5, .loss = "cross_entropy", .training = true, .seed = 7, .step = 3}, 4, false},
      {DROP_YAML,
       {DROP_LAYERS, .in = 5, .loss = "cross_entropy", .training = true, .seed = 1ull << 40,
        .first_sample = 1ull << 33},
       4,
       false},
      {DROP_YAML, {DROP_LAYERS, .in = 5, .loss = "cross_entropy", .training = false}, 4, false},
      {"model: [{dropout: 0}, {dense: 4}]",
       {LAYERS(DROP(0), DENSE(4)), .in = 5, .loss = "cross_entropy", .training = true},
       4,
       false},
  };
  CHECK(cases);
}

static void test_branches_that_fork_and_join_agree_with_finite_differences(void) {
  static const grad_case cases[] = {
      /* a value read twice, once by an element-wise layer that must not write into it */
      {"model: [{dense: {units: 8, name: a}}, {relu: {name: b}}, {dense: {units: 8, from: a}}, {add: {from: [a, b, "
       "layers.2]}}, {dense: 3}]",
       {LAYERS(DENSE(8), ACT('r'), DENSE_FROM(8, 2), JOIN('+', 2, 3, 4), DENSE(3)), .in = 4, .loss = "cross_entropy"},
       3,
       false},
      /* the input read by two branches, joined side by side */
      {"model: [{dense: {units: 5, name: a}}, {tanh: {name: t, from: input}}, {concat: {from: [t, a, input], name: "
       "c}}, {dense: 3}]",
       {LAYERS(DENSE(5), JOIN('t', 1), JOIN('c', 3, 2, 1), DENSE(3)), .in = 4, .loss = "cross_entropy"},
       3,
       false},
      /* a flatten shares memory with a value that others read */
      {"model: [{dense: {units: 6, name: a}}, {flatten: {name: f}}, {sigmoid: {name: s}}, {add: {from: [s, a]}}, tanh, "
       "{dense: 3}]",
       {LAYERS(DENSE(6), ACT('f'), ACT('s'), JOIN('+', 4, 2), ACT('t'), DENSE(3)), .in = 4, .loss = "cross_entropy"},
       3,
       false},
      /* one value twice into the same join, whose result is read twice too */
      {"model: [{dense: {units: 6, name: a}}, {add: {from: [a, a], name: b}}, {relu: {name: r}}, {concat: {from: [r, "
       "b]}}, {dense: 3}]",
       {LAYERS(DENSE(6), JOIN('+', 2, 2), ACT('r'), JOIN('c', 4, 3), DENSE(3)), .in = 4, .loss = "cross_entropy"},
       3,
       false},
  };
  CHECK(cases);
}

static void test_frozen_layers_have_zero_gradients_and_pass_the_others_on(void) {
  static const grad_case cases[] = {
      {"model: [{dense: 8}, tanh, {dense: {units: 6, trainable: false}}, relu, {dense: 3}]",
       {LAYERS(DENSE(8), ACT('t'), DENSE(6), ACT('r'), DENSE(3)), .in = 4, .loss = "cross_entropy"},
       3,
       false},
      {"model: [{dense: {units: 8, trainable: false}}, tanh, {dense: 3}]",
       {LAYERS(DENSE(8), ACT('t'), DENSE(3)), .in = 4, .loss = "cross_entropy"},
       3,
       false},
      {"model: [{dense: {units: 3, trainable: false}}]",
       {LAYERS(DENSE(3)), .in = 4, .loss = "cross_entropy"},
       3,
       false},
  };
  CHECK(cases);
}

static const dl_test tests[] = {
    DL_TEST(test_every_layer_agrees_with_finite_differences),
    DL_TEST(test_every_loss_agrees_with_finite_differences),
    DL_TEST(test_dropout_drops_by_seed_layer_step_sample_and_element),
    DL_TEST(test_branches_that_fork_and_join_agree_with_finite_differences),
    DL_TEST(test_frozen_layers_have_zero_gradients_and_pass_the_others_on),
};
DL_TEST_MAIN("gradients", tests)

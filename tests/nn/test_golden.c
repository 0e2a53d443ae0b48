/* test_golden.c - networks and optimizers against stored values of PyTorch 1.13. */
#include "golden/nn_golden.h"
#include "nn/gemm.h"
#include "nn/optimizer.h"
#include "nn_fixture.h"

typedef struct net_golden {
  const char *yaml, *truth; /* label, bits, real */
  const float *outputs, *loss, *gradients;
} net_golden;

#define GOLDEN(name) golden_##name##_outputs, golden_##name##_loss, golden_##name##_gradients
#define MLP(f) "model: [{dense: 9}, " f ", {dense: 7}, " f ", {dense: 5}]\n"

static const net_golden nets[] = {
    {MLP("relu"), "label", GOLDEN(relu_cross_entropy)},
    {MLP("tanh") "loss: {name: cross_entropy, label_smoothing: 0.1}", "label", GOLDEN(tanh_smoothed)},
    {MLP("sigmoid") "task: multilabel", "bits", GOLDEN(sigmoid_bce)},
    {MLP("tanh") "task: regression", "real", GOLDEN(tanh_mse)},
    {MLP("relu") "task: regression\nloss: mae", "real", GOLDEN(relu_mae)},
    {MLP("relu") "task: regression\nloss: {name: huber, delta: 0.5}", "real", GOLDEN(relu_huber)},
};

enum { N = 6, IN = 12, OUT = 5 };

/* max |a - b| <= tolerance * max |b| */
static bool near(const float *a, const float *b, size_t n, double factor, double tolerance) {
  double error = 0, largest = 0;
  for (size_t i = 0; i < n; i++) {
    const double d = fabs((double)a[i] * factor - (double)b[i]);
    if (!(d <= error)) error = d;
    largest = fmax(largest, fabs((double)b[i]));
  }
  return error <= tolerance * largest;
}

static void check_net(const net_golden *golden, const char *backend) {
  char yaml[512];
  fixture f;
  snprintf(yaml, sizeof yaml, "%s\ncompute: {backend: %s}\n", golden->yaml, backend);
  DL_ASSERT_OK(fixture_new(&f, yaml, 1, (int64_t[]){IN}, OUT, N));
  if (!f.weights) return;
  lcg g = {2023};
  fixture_fill(&f, &g, 0.75f);
  float *x = dl_net_input(f.net), y[N * OUT];
  int32_t label[N];
  for (int i = 0; i < N * IN; i++) x[i] = lcg_value(&g);
  if (!strcmp(golden->truth, "label"))
    for (int i = 0; i < N; i++) label[i] = lcg_class(&g, OUT);
  else
    for (int i = 0; i < N * OUT; i++) y[i] = lcg_value(&g);
  for (int i = 0; !strcmp(golden->truth, "bits") && i < N * OUT; i++) y[i] = y[i] > 0 ? 1.0f : 0.0f;
  const dl_pass pass = {.training = true};
  double loss, normaliser;
  CU_ASSERT(near(dl_net_forward(f.net, f.weights, N, &pass), golden->outputs, N * OUT, 1, 1e-5));
  dl_net_loss(f.net, N, label, y, NULL, &loss, &normaliser);
  CU_ASSERT_DOUBLE_EQUAL(loss / normaliser, (double)golden->loss[0], 2e-7 * fabs((double)golden->loss[0]));
  dl_net_backward(f.net, f.weights, N, &pass, f.gradients);
  size_t at = 0;
  for (int t = 0; t < f.n_tensors; at += f.tensors[t++].count)
    CU_ASSERT(
        near(f.gradients + f.tensors[t].offset, golden->gradients + at, f.tensors[t].count, 1 / normaliser, 1e-5));
  CU_ASSERT_EQUAL(at, 227);
  fixture_clear(&f);
}

static void test_outputs_losses_and_gradients_equal_pytorch_on_both_backends(void) {
  const bool both = dl_gemm_choose(DL_BACKEND_ONEDNN) != NULL;
  for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
    check_net(&nets[i], "openblas");
    if (both) check_net(&nets[i], "onednn");
  }
}

/* ---- optimizers ---- */

typedef struct optimizer_golden {
  const char *yaml;
  const float *trail; /* 50 steps of 6 weights */
} optimizer_golden;

static const optimizer_golden optimizers[] = {
    {"{name: sgd, lr: 0.05}", golden_sgd},
    {"{name: sgd, lr: 0.05, momentum: 0.9}", golden_sgd_momentum},
    {"{name: sgd, lr: 0.05, momentum: 0.8, nesterov: true, weight_decay: 0.02}", golden_sgd_nesterov_decay},
    {"{name: adam, lr: 0.01}", golden_adam},
    {"{name: adam, lr: 0.01, beta1: 0.8, beta2: 0.95, eps: 1e-6, weight_decay: 0.05}", golden_adam_decay},
    {"adamw", golden_adamw},
    {"{name: adamw, lr: 0.02, weight_decay: 0.3}", golden_adamw_decay},
};

static dl_optimizer *optimizer_from(const char *yaml, dl_config **config) {
  char text[256];
  dl_optimizer *optimizer = NULL;
  *config = NULL;
  snprintf(text, sizeof text, "model: [{dense: 1}]\noptimizer: %s\n", yaml);
  DL_ASSERT_OK(dl_config_parse(text, strlen(text), "c.yaml", NULL, 0, config));
  if (*config) DL_ASSERT_OK(dl_optimizer_new(*config, &optimizer));
  return optimizer;
}

static void check_optimizer(const optimizer_golden *golden) {
  dl_config *config;
  dl_optimizer *optimizer = optimizer_from(golden->yaml, &config);
  if (!optimizer) return;
  const dl_tensor tensor = {.count = 6, .trainable = true, .lr_scale = 1};
  float w[6], gradient[6], slots[2][6] = {{0}};
  float *const state[] = {slots[0], slots[1]};
  lcg g = {77};
  bool equal = true;
  for (int i = 0; i < 6; i++) w[i] = lcg_value(&g);
  for (int step = 0; step < 50; step++) {
    for (int i = 0; i < 6; i++) gradient[i] = lcg_value(&g);
    dl_optimizer_begin(optimizer, step + 1, optimizer->lr);
    optimizer->kind->apply(optimizer, &tensor, 6, w, gradient, state);
    equal = equal && near(w, golden->trail + 6 * step, 6, 1, 1e-6);
  }
  if (!equal) fprintf(stderr, "%s\n", golden->yaml);
  CU_ASSERT_TRUE(equal);
  dl_optimizer_destroy(&optimizer);
  dl_config_destroy(&config);
}

static void test_optimizers_equal_pytorch_step_for_step(void) {
  for (size_t i = 0; i < sizeof optimizers / sizeof optimizers[0]; i++) check_optimizer(&optimizers[i]);
}

static void test_lr_scale_multiplies_the_step_and_frozen_tensors_stay(void) {
  static const char *const yaml[] = {"{name: sgd, lr: 0.5}", "{name: sgd, lr: 0.5, momentum: 0.9}",
                                     "{name: adam, lr: 0.5}"};
  for (int k = 0; k < 3; k++) {
    dl_config *config;
    dl_optimizer *optimizer = optimizer_from(yaml[k], &config);
    if (!optimizer) return;
    float plain = 1, quarter = 1, frozen = 1, slots[6] = {0};
    const float gradient = 0.25f;
    dl_tensor tensor = {.count = 1, .trainable = true, .lr_scale = 1};
    dl_optimizer_begin(optimizer, 1, optimizer->lr);
    optimizer->kind->apply(optimizer, &tensor, 1, &plain, &gradient, (float *[]){slots, slots + 1});
    tensor.lr_scale = 0.25f;
    optimizer->kind->apply(optimizer, &tensor, 1, &quarter, &gradient, (float *[]){slots + 2, slots + 3});
    tensor.trainable = false;
    optimizer->kind->apply(optimizer, &tensor, 1, &frozen, &gradient, (float *[]){slots + 4, slots + 5});
    CU_ASSERT(plain < 1);
    CU_ASSERT_DOUBLE_EQUAL((double)(1 - quarter), (double)(1 - plain) / 4, 1e-7);
    CU_ASSERT(frozen == 1 && slots[4] == 0 && slots[5] == 0);
    dl_optimizer_destroy(&optimizer);
    dl_config_destroy(&config);
  }
}

static void test_optimizers_keep_the_slots_that_their_options_need_under_pytorchs_names(void) {
  static const struct {
    const char *yaml;
    int slots;
    const char *names[3];
  } rows[] = {
      {"sgd", 0, {0}},
      {"{name: sgd, momentum: 0.5}", 1, {"momentum_buffer"}},
      {"adam", 2, {"exp_avg", "exp_avg_sq"}},
      {"adamw", 2, {"exp_avg", "exp_avg_sq"}},
      {"adagrad", 1, {"sum"}},
      {"rmsprop", 1, {"square_avg"}},
      {"{name: rmsprop, centered: true}", 2, {"square_avg", "grad_avg"}},
      {"{name: rmsprop, momentum: 0.1}", 2, {"square_avg", "momentum_buffer"}},
      {"{name: rmsprop, centered: true, momentum: 0.1}", 3, {"square_avg", "momentum_buffer", "grad_avg"}},
      {"lars", 1, {"momentum_buffer"}},
      {"{name: lars, momentum: 0}", 0, {0}},
      {"lamb", 2, {"exp_avg", "exp_avg_sq"}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    dl_config *config;
    dl_optimizer *optimizer = optimizer_from(rows[i].yaml, &config);
    if (!optimizer) return;
    CU_ASSERT_EQUAL(dl_optimizer_slots(optimizer), rows[i].slots);
    for (int s = 0; s < rows[i].slots; s++)
      CU_ASSERT_STRING_EQUAL(dl_optimizer_slot_name(optimizer, s), rows[i].names[s]);
    CU_ASSERT_PTR_NULL(dl_optimizer_slot_name(optimizer, rows[i].slots));
    dl_optimizer_destroy(&optimizer);
    dl_config_destroy(&config);
  }
}

static void test_wrong_optimizers_are_told_at_their_place(void) {
  static const struct {
    const char *yaml, *message;
  } rows[] = {
      {"adma", "c.yaml:2:12: unknown optimizer 'adma' (did you mean 'adam'?)"},
      {"{name: adam, learnig_rate: 1}", "c.yaml:2:25: unknown key 'learnig_rate' in optimizer (did you mean 'lr'?)"},
      {"{name: adam, momentum: 1}",
       "c.yaml:2:25: unknown key 'momentum' in optimizer (known here: name, lr, weight_decay, decay_biases, l1, l2, "
       "beta1, beta2, eps)"},
      {"{name: sgd, lr: -1}", "c.yaml:2:28: lr must be at least 0, not -1"},
      {"{name: sgd, nesterov: true}", "c.yaml:2:24: nesterov needs a momentum above 0 (for example momentum: 0.9)"},
      {"{name: [adam]}", "c.yaml:2:19: optimizer: name must be a text, not a list"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[256], got[1400];
    dl_config *config;
    dl_optimizer *optimizer = NULL;
    snprintf(text, sizeof text, "model: [{dense: 1}]\noptimizer: %s\n", rows[i].yaml);
    DL_ASSERT_OK(dl_config_parse(text, strlen(text), "c.yaml", NULL, 0, &config));
    CU_ASSERT_EQUAL(dl_optimizer_new(config, &optimizer), DL_ERR_USAGE);
    CU_ASSERT_STRING_EQUAL(dl_error_format(dl_error_last(), got, sizeof got), rows[i].message);
    if (strcmp(got, rows[i].message)) fprintf(stderr, "%s\n", got);
    dl_config_destroy(&config);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_outputs_losses_and_gradients_equal_pytorch_on_both_backends),
    DL_TEST(test_optimizers_equal_pytorch_step_for_step),
    DL_TEST(test_lr_scale_multiplies_the_step_and_frozen_tensors_stay),
    DL_TEST(test_optimizers_keep_the_slots_that_their_options_need_under_pytorchs_names),
    DL_TEST(test_wrong_optimizers_are_told_at_their_place),
};
DL_TEST_MAIN("golden", tests)

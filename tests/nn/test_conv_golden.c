/* test_conv_golden.c - networks on images against stored values of PyTorch 1.13, on both backends: outputs, loss, all
 * gradients, and running averages after a step. */
#include "golden/conv_golden.h"
#include "nn/gemm.h"
#include "nn_fixture.h"

enum { N = 4, IN = 3 * 11 * 10, OUT = 5 };

typedef struct golden {
  const char *model;
  const float *outputs, *loss, *results, *evaluated;
  size_t count; /* of results */
} golden;

#define GOLDEN(name)                                                                                    \
  .outputs = golden_##name##_outputs, .loss = golden_##name##_loss, .results = golden_##name##_results, \
  .evaluated = golden_##name##_evaluated, .count = sizeof golden_##name##_results / sizeof(float)

static const golden nets[] = {
    {.model = "[{conv2d: {filters: 8, kernel: 3}}, relu, {maxpool2d: 2},"
              " {conv2d: {filters: 16, kernel: [3, 2], padding: [1, 0]}}, relu,"
              " {avgpool2d: {kernel: 2, stride: 1, padding: 1}}, flatten, {dense: 5}]",
     GOLDEN(plain)},
    {.model = "[{conv2d: {filters: 8, kernel: 3, padding: same, dilation: 2, bias: false}}, batchnorm, relu,"
              " {conv2d: {filters: 12, kernel: 3, stride: 2, padding: 1, groups: 4, bias: false}},"
              " {batchnorm: {momentum: 0.3}}, relu,"
              " {conv2d_transpose: {filters: 6, kernel: 3, stride: 2, padding: 1, output_padding: 1, groups: 2}}, relu,"
              " {upsample2d: 2}, {maxpool2d: {kernel: 3, stride: 3, padding: 1}}, flatten, {dense: {units: 5, bias: "
              "false}}, batchnorm]",
     GOLDEN(options)},
    {.model = "[{conv2d: {filters: 16, kernel: 3, padding: 1, bias: false}}, batchnorm, relu,"
              " {residual: {layers: [{conv2d: {filters: 16, kernel: 3, stride: 2, padding: 1, bias: false}}, batchnorm,"
              " relu, {conv2d: {filters: 16, kernel: 3, padding: 1, bias: false}}, batchnorm],"
              " shortcut: [{conv2d: {filters: 16, kernel: 1, stride: 2, bias: false}}, batchnorm]}},"
              " relu, global_avgpool2d, {dense: 5}]",
     GOLDEN(resnet)},
};

/* max |a - b| <= 1e-5 * max |b| */
static bool near(const float *a, const float *b, size_t n) {
  double error = 0, largest = 0;
  for (size_t i = 0; i < n; i++) {
    const double d = fabs((double)a[i] - (double)b[i]);
    if (!(d <= error)) error = d;
    largest = fmax(largest, fabs((double)b[i]));
  }
  if (!(error <= 1e-5 * largest)) fprintf(stderr, "off by %g of %g\n", error, largest);
  return error <= 1e-5 * largest;
}

/* What the step makes of the leaf's sums: gradients of the mean loss, running averages moved; returns the values. */
static const float *step(const fixture *f, const dl_tensor *t, double normaliser) {
  float *g = f->gradients + t->offset, *w = f->weights + t->offset;
  for (size_t i = 0; i < t->count; i++) {
    g[i] = (float)((double)g[i] / (t->running > 0 ? N : normaliser));
    if (t->running > 0) w[i] += t->running * (g[i] - w[i]);
  }
  return t->running > 0 ? w : g;
}

static void check(const golden *want, const char *backend) {
  char yaml[1024];
  fixture f;
  snprintf(yaml, sizeof yaml, "compute: {backend: %s}\nmodel: %s\n", backend, want->model);
  DL_ASSERT_OK(fixture_new(&f, yaml, 3, (int64_t[]){3, 11, 10}, OUT, N));
  if (!f.weights) return;
  lcg g = {2024};
  fixture_fill(&f, &g, 0.5f);
  for (int t = 0; t < f.n_tensors; t++)
    for (size_t i = 0; strstr(f.tensors[t].name, "running_var") && i < f.tensors[t].count; i++)
      f.weights[f.tensors[t].offset + i] += 1.0f;
  float *x = dl_net_input(f.net);
  int32_t label[N];
  for (int i = 0; i < N * IN; i++) x[i] = lcg_value(&g);
  for (int i = 0; i < N; i++) label[i] = lcg_class(&g, OUT);
  const dl_pass training = {.training = true}, evaluation = {.training = false};
  double loss, normaliser;
  CU_ASSERT(near(dl_net_forward(f.net, f.weights, N, &training), want->outputs, N * OUT));
  dl_net_loss(f.net, N, label, NULL, NULL, &loss, &normaliser);
  CU_ASSERT_DOUBLE_EQUAL(loss / normaliser, (double)want->loss[0], 1e-6 * fabs((double)want->loss[0]));
  dl_net_backward(f.net, f.weights, N, &training, f.gradients);
  size_t at = 0;
  for (int t = 0; t < f.n_tensors; at += f.tensors[t++].count) {
    const bool good = near(step(&f, &f.tensors[t], normaliser), want->results + at, f.tensors[t].count);
    if (!good) fprintf(stderr, "%s: %s\n", backend, f.tensors[t].name);
    CU_ASSERT(good);
  }
  CU_ASSERT_EQUAL(at, want->count);
  CU_ASSERT(near(dl_net_forward(f.net, f.weights, N, &evaluation), want->evaluated, N * OUT));
  fixture_clear(&f);
}

static void test_networks_on_images_equal_pytorch_on_both_backends(void) {
  const bool both = dl_gemm_choose(DL_BACKEND_ONEDNN) != NULL;
  for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
    check(&nets[i], "openblas");
    if (both) check(&nets[i], "onednn");
  }
}

static const dl_test tests[] = {DL_TEST(test_networks_on_images_equal_pytorch_on_both_backends)};
DL_TEST_MAIN("conv_golden", tests)

/* test_blocks.c - a batch that goes through a network block by block gives what it gives as a whole.
 *
 * Oracle: the same network with one block for the whole batch, which the other tests compare with PyTorch, finite
 * differences and a twin in float64. Blocks of one sample, of a few, with a smaller last one; every way in which values
 * and gradients may cross from one run of layers to another.
 */
#include "nn_fixture.h"

enum { CHANNELS = 3, IMAGE = 12, BATCH = 11, IMAGE_CLASSES = 4 };

static const char *const models[] = {
    /* pooling that does the relu before it, dropout, a dense end */
    "  - conv2d: {filters: 6, kernel: 3}\n  - relu\n  - maxpool2d: 2\n  - dropout: 0.3\n"
    "  - conv2d: {filters: 5, kernel: 3}\n  - tanh\n  - flatten\n  - dense: 7\n  - relu\n  - dense: 4\n",
    /* residual blocks with batchnorm, as in ResNet-20; a shortcut; what is made again in the backward pass */
    "  - conv2d: {filters: 4, kernel: 3, padding: 1, bias: false}\n  - batchnorm\n  - relu\n"
    "  - residual: {layers: [{conv2d: {filters: 4, kernel: 3, padding: 1}}, batchnorm, relu, {conv2d: {filters: 4, "
    "kernel: 3, padding: 1}}, batchnorm]}\n  - relu\n"
    "  - residual: {layers: [{conv2d: {filters: 6, kernel: 3, stride: 2, padding: 1}}, batchnorm, relu, {conv2d: "
    "{filters: 6, kernel: 3, padding: 1}}, batchnorm], shortcut: [{conv2d: {filters: 6, kernel: 1, stride: 2}}, "
    "batchnorm]}\n  - relu\n  - global_avgpool2d\n  - dense: 4\n",
    /* batchnorm before the activation is before the convolution (pre-activation), and as the first layer */
    "  - batchnorm\n  - conv2d: {filters: 4, kernel: 3, padding: 1}\n"
    "  - residual: [batchnorm, relu, {conv2d: {filters: 4, kernel: 3, padding: 1}}, batchnorm, relu, {conv2d: "
    "{filters: "
    "4, kernel: 3, padding: 1}}]\n  - avgpool2d: 3\n  - flatten\n  - dense: 4\n",
    /* a small U-Net: sizes that fall and rise by more than four, values that skip several runs */
    "  - conv2d: {filters: 4, kernel: 3, padding: 1}\n  - relu: {name: wide}\n  - maxpool2d: 4\n"
    "  - conv2d: {filters: 8, kernel: 3, padding: 1}\n  - batchnorm\n  - relu: {name: deep}\n"
    "  - conv2d: {filters: 4, kernel: 1}\n  - upsample2d: 4\n  - concat: {from: [layers.7, wide]}\n"
    "  - conv2d: {filters: 3, kernel: 3, padding: 1}\n  - relu\n  - conv2d_transpose: {filters: 2, kernel: 2, stride: "
    "2}\n  - maxpool2d: 6\n  - flatten\n  - dense: 4\n",
    /* branches of an Inception block, one of them frozen; a join of three; softplus reads x, elu y */
    "  - conv2d: {filters: 4, kernel: 3, padding: 1, name: stem}\n"
    "  - conv2d: {filters: 3, kernel: 1, name: a, from: stem}\n"
    "  - conv2d: {filters: 3, kernel: 3, padding: 1, name: b, from: stem, trainable: false}\n  - relu: {name: rb}\n"
    "  - conv2d: {filters: 3, kernel: 5, padding: 2, name: c, from: stem}\n  - softplus: {name: pc}\n"
    "  - maxpool2d: {kernel: 3, stride: 1, padding: 1, name: p, from: stem}\n"
    "  - concat: {from: [a, rb, pc, p]}\n  - conv2d: {filters: 4, kernel: 1, name: d}\n"
    "  - add: {from: [d, stem, d]}\n  - elu\n  - batchnorm: {trainable: false}\n  - avgpool2d: 4\n  - flatten\n"
    "  - dense: 4\n",
    /* an end that is an image */
    "  - conv2d: {filters: 4, kernel: 3}\n  - batchnorm: {affine: false}\n  - gelu\n  - conv2d: {filters: 4, kernel: "
    "10}\n"
    "  - reshape: [4]\n",
};

typedef struct result {
  float outputs[BATCH * IMAGE_CLASSES], *gradients;
} result;

static void run_model(const char *backend, const char *layers, fixture_cut cut, int64_t n, fixture *f, result *out) {
  char yaml[2048];
  int32_t label[BATCH];
  double loss, normaliser;
  const dl_pass pass = {.training = true, .seed = 9, .step = 3, .first_sample = 20};
  snprintf(yaml, sizeof yaml, "compute: {backend: %s}\nmodel:\n%s", backend, layers);
  DL_ASSERT_OK(fixture_new_cut(f, yaml, 3, (int64_t[]){CHANNELS, IMAGE, IMAGE}, IMAGE_CLASSES, BATCH, cut));
  CU_ASSERT_FATAL(f->weights != NULL);
  lcg g = {77};
  dl_net_init(f->net, 5, f->weights);
  for (int t = 0; t < f->n_tensors; t++) /* norms that do something */
    for (size_t i = 0; i < f->tensors[t].count; i++)
      f->weights[f->tensors[t].offset + i] += 0.1f * lcg_value(&g) + 0.1f;
  for (int64_t i = 0; i < n * CHANNELS * IMAGE * IMAGE; i++) dl_net_input(f->net)[i] = lcg_value(&g);
  for (int64_t i = 0; i < n; i++) label[i] = lcg_class(&g, IMAGE_CLASSES);
  memcpy(out->outputs, dl_net_forward(f->net, f->weights, n, &pass), (size_t)(n * IMAGE_CLASSES) * sizeof(float));
  dl_net_loss(f->net, n, label, NULL, NULL, &loss, &normaliser);
  for (size_t i = 0; i < f->count; i++) f->gradients[i] = NAN;
  dl_net_backward(f->net, f->weights, n, &pass, f->gradients);
  out->gradients = f->gradients;
}

/* max |a - b| against max |b|; a bias before batchnorm has a gradient of rounding errors alone. */
static void compare(const float *a, const float *b, size_t n, double least) {
  double error = 0, largest = least;
  for (size_t i = 0; i < n; i++) {
    if (!(fabs((double)a[i] - (double)b[i]) <= error)) error = fabs((double)a[i] - (double)b[i]);
    largest = fmax(largest, fabs((double)b[i]));
  }
  CU_ASSERT(error <= 2e-5 * largest);
}

static void check_model(const char *backend, const char *layers, fixture_cut how, int64_t n) {
  fixture whole, cut;
  result want, got;
  run_model(backend, layers, (fixture_cut){INT64_MAX / 2, INT64_MAX}, n, &whole, &want);
  run_model(backend, layers, how, n, &cut, &got);
  compare(got.outputs, want.outputs, (size_t)(n * IMAGE_CLASSES), 0.1);
  for (int t = 0; t < whole.n_tensors; t++)
    compare(got.gradients + whole.tensors[t].offset, want.gradients + whole.tensors[t].offset, whole.tensors[t].count,
            0.1);
  fixture_clear(&whole);
  fixture_clear(&cut);
}

static void test_blocks_of_any_size_give_what_the_whole_batch_gives(void) {
  static const fixture_cut blocks[] = {{1, 1}, {2000, INT64_MAX}, {2000, 1}, {8000, 1}};
  for (size_t m = 0; m < sizeof models / sizeof models[0]; m++)
    for (size_t k = 0; k < sizeof blocks / sizeof blocks[0]; k++)
      for (int64_t n = 1; n <= BATCH; n += 5) {
        check_model("openblas", models[m], blocks[k], n);
        check_model("auto", models[m], blocks[k], n);
      }
}

/* The same bits again after passes of other sizes: nothing of an earlier pass is left where a later one reads. */
static void test_passes_in_blocks_repeat_bit_for_bit(void) {
  for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
    fixture first, again;
    result want, got;
    run_model("auto", models[m], (fixture_cut){2000, 1}, BATCH, &first, &want);
    run_model("auto", models[m], (fixture_cut){2000, 1}, 3, &again, &got);
    fixture_clear(&again);
    run_model("auto", models[m], (fixture_cut){2000, 1}, BATCH, &again, &got);
    CU_ASSERT(!memcmp(got.outputs, want.outputs, sizeof got.outputs));
    for (int t = 0; t < first.n_tensors; t++) {
      const dl_tensor *tensor = &first.tensors[t];
      CU_ASSERT(
          !memcmp(got.gradients + tensor->offset, want.gradients + tensor->offset, tensor->count * sizeof(float)));
    }
    fixture_clear(&first);
    fixture_clear(&again);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_blocks_of_any_size_give_what_the_whole_batch_gives),
    DL_TEST(test_passes_in_blocks_repeat_bit_for_bit),
};
DL_TEST_MAIN("blocks", tests)

/* test_image.c - one suite for both forms of convolution, and for everything else that works on images: outputs and
 * gradients against finite differences of a twin in float64, bits that repeat, passes that do not allocate, errors. */
#include <pthread.h>

#include "allocations.h"
#include "image_twin.h"
#include "nn/conv.h"
#include "nn/gemm.h"
#include "nn/kernels_image.h"
#include "nn_fixture.h"

typedef struct image_case {
  const char *model; /* of regression, flattened at its end where it is not */
  int c, h, w;       /* of the input */
  image_twin_layer layers[IMAGE_TWIN_LAYERS];
  bool evaluation; /* not training: batchnorm takes the running figures */
} image_case;

/* Every case starts with a 1x1 convolution, so that the gradient of what it feeds is seen in its weights. */
#define FIRST(f) \
  { .kind = 'c', .filters = f, .kh = 1, .kw = 1 }
#define CONV(f, ...) \
  { .kind = 'c', .filters = f, __VA_ARGS__ }
#define TRANS(f, ...) \
  { .kind = 't', .filters = f, __VA_ARGS__ }
#define ONLY(k, ...) \
  { .kind = k, __VA_ARGS__ }
#define TO(height, width) .oh = height, .ow = width
#define K(height, width) .kh = height, .kw = width
#define S(height, width) .sh = height, .sw = width
#define D(height, width) .dh = height, .dw = width
#define P(height, width) .top = height, .left = width

static const char *const backends[] = {"onednn", "openblas"};
/* The first one that this build has. */
static int first_backend(void) { return dl_gemm_choose(DL_BACKEND_ONEDNN) ? 0 : 1; }

static const char *yaml_of(const image_case *t, const char *backend, char *text, size_t size) {
  snprintf(text, size, "task: regression\ncompute: {backend: %s}\nmodel:\n  - conv2d: {filters: %d, kernel: 1}\n%s",
           backend, t->layers[0].filters, t->model);
  return text;
}

static int pack(const fixture *f, const float *buffer, double *packed) {
  int count = 0;
  for (int k = 0; k < f->n_tensors; k++)
    for (size_t i = 0; i < f->tensors[k].count; i++) packed[count++] = (double)buffer[f->tensors[k].offset + i];
  return count;
}

/* Sum of squared errors of n samples, as the program's loss. */
static double twin_loss(const image_case *t, const double *weights, int n, const float *truth) {
  const image_value *y = image_twin_run(t->layers, weights, n);
  double loss = 0;
  for (int i = 0; i < n * y->c * y->h * y->w; i++) loss += pow(y->v[i] - (double)truth[i], 2);
  return loss;
}

enum { MOST_DIFFERENCES = 64 }; /* about, of a tensor */

static double gradient_error(const image_case *t, const fixture *f, int n, const float *truth) {
  static double weights[8192], got[8192];
  double worst = 0, largest = 1e-3;
  pack(f, f->weights, weights);
  pack(f, f->gradients, got);
  int at = 0;
  for (int k = 0; k < f->n_tensors; k++) {
    const size_t every = f->tensors[k].count / MOST_DIFFERENCES | 1; /* odd: meets all places of even dimensions */
    for (size_t i = 0; i < f->tensors[k].count; i++, at++) {
      const double h = 1e-6, middle = weights[at];
      if (f->tensors[k].running > 0 || i % every) continue;
      weights[at] = middle + h;
      const double up = twin_loss(t, weights, n, truth);
      weights[at] = middle - h;
      const double down = twin_loss(t, weights, n, truth);
      weights[at] = middle;
      const double want = f->tensors[k].trainable ? (up - down) / (2 * h) : 0, error = fabs(got[at] - want);
      if (!(error <= worst)) worst = error;
      largest = fmax(largest, fabs(want));
    }
  }
  return worst / largest;
}

static void check_case_of(const image_case *t, const char *backend, int n) {
  fixture f;
  char yaml[1024];
  static double packed[8192];
  static float truth[IMAGE_TWIN_ROOM];
  DL_ASSERT_OK(fixture_new(&f, yaml_of(t, backend, yaml, sizeof yaml), 3, (int64_t[]){t->c, t->h, t->w}, 0, 3));
  if (!f.weights) return;
  lcg g = {(uint32_t)n + 41};
  fixture_fill(&f, &g, 0.7f);
  for (int k = 0; k < f.n_tensors; k++) /* a variance is positive */
    for (size_t i = 0; strstr(f.tensors[k].name, "running_var") && i < f.tensors[k].count; i++)
      f.weights[f.tensors[k].offset + i] += 1.0f;
  for (size_t i = 0; i < f.count; i++) f.gradients[i] = NAN; /* written, not added to */
  image_values[0] = (image_value){.c = t->c, .h = t->h, .w = t->w};
  for (int i = 0; i < n * t->c * t->h * t->w; i++) {
    dl_net_input(f.net)[i] = lcg_value(&g);
    image_values[0].v[i] = (double)dl_net_input(f.net)[i];
  }
  for (int i = 0; i < n * dl_net_outputs(f.net); i++) truth[i] = lcg_value(&g);
  const dl_pass pass = {.training = !t->evaluation};
  const float *y = dl_net_forward(f.net, f.weights, n, &pass);
  pack(&f, f.weights, packed);
  const image_value *want = image_twin_run(t->layers, packed, n);
  const int size = n * want->c * want->h * want->w;
  CU_ASSERT_EQUAL(n * dl_net_outputs(f.net), size);
  double error = 0, largest = 0, loss, normaliser;
  for (int i = 0; i < size; i++) {
    if (!(fabs((double)y[i] - want->v[i]) <= error)) error = fabs((double)y[i] - want->v[i]);
    largest = fmax(largest, fabs(want->v[i]));
  }
  dl_net_loss(f.net, n, NULL, truth, NULL, &loss, &normaliser);
  dl_net_backward(f.net, f.weights, n, &pass, f.gradients);
  const double gradient = gradient_error(t, &f, n, truth);
  if (!(error <= 3e-6 * largest) || !(gradient <= 1e-5))
    fprintf(stderr, "%s%s, n %d: outputs off by %g, gradients by %g\n", t->model, backend, n, error / largest,
            gradient);
  CU_ASSERT(error <= 3e-6 * largest);
  CU_ASSERT(gradient <= 1e-5);
  fixture_clear(&f);
}

static void check_cases(const image_case *cases, size_t n_cases) {
  for (size_t i = 0; i < n_cases; i++)
    for (int b = first_backend(); b < 2; b++)
      for (int n = 1; n <= 3; n += 2) check_case_of(&cases[i], backends[b], n);
}
#define CHECK(cases) check_cases(cases, sizeof(cases) / sizeof(cases)[0])

static void test_convolutions_agree_with_finite_differences(void) {
  static const image_case cases[] = {
      {"  - conv2d: {filters: 4, kernel: 3}\n  - flatten\n", 2, 5, 7, .layers = {FIRST(3), CONV(4, K(3, 3), TO(3, 5))}},
      {"  - conv2d: {filters: 4, kernel: 3, bias: false, padding: 1}\n", 2, 5, 7,
       .layers = {FIRST(3), CONV(4, K(3, 3), TO(5, 7), P(1, 1), .no_bias = true)}},
      {"  - conv2d: {filters: 5, kernel: [1, 3], stride: [2, 1], padding: [0, 2]}\n  - flatten\n", 3, 7, 4,
       .layers = {FIRST(2), CONV(5, K(1, 3), S(2, 1), P(0, 2), TO(4, 6))}},
      {"  - conv2d: {filters: 2, kernel: [3, 2], stride: [3, 2], dilation: [2, 3], padding: valid}\n", 1, 9, 8,
       .layers = {FIRST(3), CONV(2, K(3, 2), S(3, 2), D(2, 3), TO(2, 3))}},
      {"  - conv2d: {filters: 6, kernel: 3, groups: 2, padding: same}\n  - flatten\n", 2, 5, 5,
       .layers = {FIRST(4), CONV(6, K(3, 3), P(1, 1), TO(5, 5), .groups = 2)}},
      {"  - conv2d: {filters: 4, kernel: 3, groups: 4, padding: same, stride: 2}\n", 2, 6, 5, /* depthwise */
       .layers = {FIRST(4), CONV(4, K(3, 3), S(2, 2), P(0, 1), TO(3, 3), .groups = 4)}},
      {"  - conv2d: {filters: 3, kernel: [2, 4], padding: same}\n", 2, 4, 6, /* what is odd goes to the end */
       .layers = {FIRST(2), CONV(3, K(2, 4), P(0, 1), TO(4, 6))}},
      {"  - conv2d: {filters: 3, kernel: 3, padding: same, dilation: 2}\n", 2, 4, 6,
       .layers = {FIRST(2), CONV(3, K(3, 3), D(2, 2), P(2, 2), TO(4, 6))}},
      {"  - conv2d: {filters: 17, kernel: 1}\n", 16, 3, 3, .layers = {FIRST(33), CONV(17, K(1, 1), TO(3, 3))}},
      {"  - conv2d: {filters: 20, kernel: 3, padding: 1}\n  - relu\n  - flatten\n  - dense: 3\n", 3, 4, 4,
       .layers = {FIRST(16), CONV(20, K(3, 3), P(1, 1), TO(4, 4)), ONLY('r'), ONLY('d', .filters = 3)}},
  };
  CHECK(cases);
}

static void test_transposed_convolutions_agree_with_finite_differences(void) {
  static const image_case cases[] = {
      {"  - conv2d_transpose: {filters: 4, kernel: 3}\n", 2, 3, 4, .layers = {FIRST(3), TRANS(4, K(3, 3), TO(5, 6))}},
      {"  - conv2d_transpose: {filters: 4, kernel: [2, 3], stride: [2, 3], bias: false}\n  - flatten\n", 2, 3, 2,
       .layers = {FIRST(3), TRANS(4, K(2, 3), S(2, 3), TO(6, 6), .no_bias = true)}},
      {"  - conv2d_transpose: {filters: 2, kernel: 3, stride: 2, padding: 1, output_padding: 1}\n", 2, 3, 4,
       .layers = {FIRST(3), TRANS(2, K(3, 3), S(2, 2), P(1, 1), TO(6, 8))}},
      {"  - conv2d_transpose: {filters: 2, kernel: 2, stride: 3, output_padding: 2}\n", 2, 3, 2,
       .layers = {FIRST(3), TRANS(2, K(2, 2), S(3, 3), TO(10, 7))}},
      {"  - conv2d_transpose: {filters: 4, kernel: 3, stride: 2, padding: same, groups: 2}\n", 1, 3, 2,
       .layers = {FIRST(6), TRANS(4, K(3, 3), S(2, 2), TO(6, 4), .groups = 2)}},
      {"  - conv2d_transpose: {filters: 3, kernel: 3, dilation: 2, padding: 2}\n", 1, 3, 4,
       .layers = {FIRST(2), TRANS(3, K(3, 3), D(2, 2), P(2, 2), TO(3, 4))}},
  };
  CHECK(cases);
}

static void test_pooling_and_upsampling_agree_with_finite_differences(void) {
  static const image_case cases[] = {
      {"  - maxpool2d: 2\n  - flatten\n", 2, 5, 6, .layers = {FIRST(3), ONLY('m', K(2, 2), S(2, 2), TO(2, 3))}},
      {"  - maxpool2d: {kernel: 3, stride: 2, padding: 1}\n", 2, 5, 6,
       .layers = {FIRST(18), ONLY('m', K(3, 3), S(2, 2), P(1, 1), TO(3, 3))}},
      {"  - maxpool2d: {kernel: [1, 3], stride: [2, 1]}\n", 2, 5, 6,
       .layers = {FIRST(3), ONLY('m', K(1, 3), S(2, 1), TO(3, 4))}},
      {"  - avgpool2d: {kernel: 3, stride: 2, padding: 1}\n  - flatten\n", 2, 5, 6,
       .layers = {FIRST(3), ONLY('a', K(3, 3), S(2, 2), P(1, 1), TO(3, 3))}},
      {"  - avgpool2d: {kernel: [3, 2], stride: 1, padding: [1, 0], count_include_pad: false}\n", 2, 5, 6,
       .layers = {FIRST(3), ONLY('A', K(3, 2), S(1, 1), P(1, 0), TO(5, 5))}},
      {"  - global_avgpool2d\n", 2, 5, 3, .layers = {FIRST(19), ONLY('g')}},
      {"  - upsample2d: {scale: [2, 3]}\n", 2, 2, 3, .layers = {FIRST(3), ONLY('u', TO(4, 9))}},
      {"  - relu\n  - maxpool2d: 2\n  - conv2d: {filters: 2, kernel: 2}\n  - flatten\n  - dense: 3\n", 2, 6, 6,
       .layers = {FIRST(5), ONLY('r'), ONLY('m', K(2, 2), S(2, 2), TO(3, 3)), CONV(2, K(2, 2), TO(2, 2)),
                  ONLY('d', .filters = 3)}},
  };
  CHECK(cases);
}

static void test_batch_normalisation_agrees_with_finite_differences(void) {
  static const image_case cases[] = {
      {"  - batchnorm\n", 2, 3, 5, .layers = {FIRST(3), ONLY('b')}},
      {"  - batchnorm\n  - relu\n  - flatten\n  - dense: 2\n", 2, 2, 3,
       .layers = {FIRST(18), ONLY('b'), ONLY('r'), ONLY('d', .filters = 2)}},
      {"  - batchnorm\n  - flatten\n", 2, 3, 3, .layers = {FIRST(3), ONLY('B')}, .evaluation = true},
      {"  - batchnorm: {trainable: false}\n", 2, 3, 3, .layers = {FIRST(3), ONLY('B')}},
      {"  - flatten\n  - dense: 5\n  - batchnorm\n", 1, 2, 3, .layers = {FIRST(2), ONLY('d', .filters = 5), ONLY('b')}},
  };
  CHECK(cases);
}

static void test_branches_in_both_orders_agree_with_finite_differences(void) {
  static const image_case cases[] = {
      /* a residual block */
      {"  - conv2d: {filters: 3, kernel: 3, padding: 1, name: a}\n  - add: {from: [layers.0, a]}\n  - relu\n  - "
       "flatten\n",
       2, 4, 5, .layers = {FIRST(3), CONV(3, K(3, 3), P(1, 1), TO(4, 5), .add = 2), ONLY('r')}},
      /* an image that a convolution and a dense layer read: its gradient is a sum of both orders */
      {"  - flatten\n  - dense: {units: 4, name: d}\n  - conv2d: {filters: 4, kernel: [2, 3], from: layers.0}\n"
       "  - flatten\n  - add: {from: [d, layers.4]}\n",
       2, 2, 3, .layers = {FIRST(3), ONLY('d', .filters = 4), CONV(4, K(2, 3), TO(1, 1), .like = 2, .add = 3)}},
      /* the input, plain, added to an image with channels last */
      {"  - add: {from: [layers.0, input]}\n  - conv2d: {filters: 2, kernel: 2}\n", 3, 3, 4,
       .layers = {CONV(3, K(1, 1), .add = 1), CONV(2, K(2, 2), TO(2, 3))}},
  };
  CHECK(cases);
}

/* ---- what the steps rely on ---- */

static const char small_cnn[] =
    "model:\n"
    "  - conv2d: {filters: 17, kernel: 3, padding: same}\n"
    "  - batchnorm\n"
    "  - relu\n"
    "  - maxpool2d: 2\n"
    "  - conv2d: {filters: 16, kernel: 3, groups: 1, stride: 2}\n"
    "  - relu\n"
    "  - conv2d_transpose: {filters: 8, kernel: 2, stride: 2}\n"
    "  - dropout: 0.3\n"
    "  - upsample2d: 2\n"
    "  - avgpool2d: {kernel: 3, stride: 1, padding: 1}\n"
    "  - conv2d: {filters: 8, kernel: 3, groups: 4}\n"
    "  - flatten\n"
    "  - dense: 5\n";
enum { SIDE = 9, SAMPLES = 6 };

static void run_pass(fixture *f, int64_t n, double *loss) {
  int32_t label[SAMPLES];
  double normaliser;
  const dl_pass pass = {.training = true, .seed = 3, .step = 2};
  for (int64_t i = 0; i < n; i++) label[i] = (int32_t)(i % 5);
  dl_net_forward(f->net, f->weights, n, &pass);
  dl_net_loss(f->net, n, label, NULL, NULL, loss, &normaliser);
  dl_net_backward(f->net, f->weights, n, &pass, f->gradients);
}

static void open_small(fixture *f, const char *backend) {
  char yaml[1024];
  snprintf(yaml, sizeof yaml, "compute: {backend: %s}\n%s", backend, small_cnn);
  DL_ASSERT_OK(fixture_new(f, yaml, 3, (int64_t[]){3, SIDE, SIDE}, 5, SAMPLES));
  lcg g = {5};
  if (!f->weights) return;
  dl_net_init(f->net, 11, f->weights);
  for (int i = 0; i < SAMPLES * 3 * SIDE * SIDE; i++) dl_net_input(f->net)[i] = lcg_value(&g);
}

#if COUNTS_ALLOCATIONS
static void test_a_pass_allocates_only_when_it_meets_a_new_number_of_samples(void) {
  for (int b = first_backend(); b < 2; b++) {
    fixture f;
    double loss;
    open_small(&f, backends[b]);
    for (int n = 1; n <= SAMPLES; n++) run_pass(&f, n, &loss);
    const long before = allocations;
    for (int round = 0; round < 3; round++)
      for (int n = 1; n <= SAMPLES; n++) run_pass(&f, n, &loss);
    CU_ASSERT_EQUAL(allocations, before);
    CU_ASSERT(isfinite(loss));
    fixture_clear(&f);
  }
}
#endif

typedef struct racer {
  pthread_t thread;
  const char *backend;
  float *gradients; /* of SAMPLES samples, then of 2 */
  size_t count;
  double loss[2];
} racer;

static void *race(void *context) {
  racer *r = context;
  fixture f;
  open_small(&f, r->backend);
  r->count = f.count;
  r->gradients = dl_calloc(2 * f.count, sizeof(float));
  for (int k = 0; k < 3 && r->gradients; k++) {
    run_pass(&f, SAMPLES, &r->loss[0]);
    memcpy(r->gradients, f.gradients, f.count * sizeof(float));
    run_pass(&f, 2, &r->loss[1]);
    memcpy(r->gradients + f.count, f.gradients, f.count * sizeof(float));
  }
  fixture_clear(&f);
  return NULL;
}

static void test_passes_give_the_same_bits_again_elsewhere_and_in_threads(void) {
  for (int b = first_backend(); b < 2; b++) {
    racer alone = {.backend = backends[b]}, racers[4];
    race(&alone);
    CU_ASSERT_FATAL(alone.gradients != NULL);
    void *elsewhere = dl_calloc(1, 4096 * 7 + 64); /* other addresses */
    for (int i = 0; i < 4; i++) racers[i] = (racer){.backend = backends[b]};
    for (int i = 0; i < 4; i++) CU_ASSERT_EQUAL_FATAL(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(racers[i].thread, NULL);
    for (int i = 0; i < 4; i++) {
      CU_ASSERT(racers[i].loss[0] == alone.loss[0] && racers[i].loss[1] == alone.loss[1]);
      CU_ASSERT(racers[i].gradients && !memcmp(racers[i].gradients, alone.gradients, 2 * alone.count * sizeof(float)));
      free(racers[i].gradients);
    }
    free(elsewhere);
    free(alone.gradients);
  }
}

static void test_more_batch_sizes_than_are_kept_still_give_the_same_bits(void) {
  fixture f;
  DL_ASSERT_OK(fixture_new(&f, "model: [{conv2d: {filters: 3, kernel: 2}}, flatten, {dense: 5}]", 3,
                           (int64_t[]){2, 4, 4}, 5, 20));
  if (!f.weights) return;
  const dl_pass pass = {.training = true};
  float first[20][5];
  dl_net_init(f.net, 1, f.weights);
  lcg g = {8};
  for (int i = 0; i < 20 * 32; i++) dl_net_input(f.net)[i] = lcg_value(&g);
  for (int n = 1; n <= 20; n++) memcpy(first[n - 1], dl_net_forward(f.net, f.weights, n, &pass), sizeof first[0]);
  for (int n = 20; n >= 1; n--)
    CU_ASSERT(!memcmp(first[n - 1], dl_net_forward(f.net, f.weights, n, &pass), sizeof first[0]));
  fixture_clear(&f);
}

/* ---- blocks of a batch ---- */

enum { BIG = 48, BIG_BLOCK = 8, BIG_SAMPLES = 19 }; /* 48 x 48 x 48 floats: 8 samples stay below 2^20 */

/* Outputs and gradients of samples [first, first + n). */
static void pass_of(fixture *f, const float *x, int first, int n, float *outputs, double *gradients) {
  const dl_pass pass = {.training = true, .seed = 4, .first_sample = (uint64_t)first};
  int32_t label[BIG_SAMPLES];
  double loss, normaliser;
  for (int i = 0; i < n; i++) label[i] = (first + i) % 5;
  memcpy(dl_net_input(f->net), x + first * BIG * BIG, (size_t)(n * BIG * BIG) * sizeof *x);
  memcpy(outputs + first * 5, dl_net_forward(f->net, f->weights, n, &pass), (size_t)(n * 5) * sizeof *x);
  dl_net_loss(f->net, n, label, NULL, NULL, &loss, &normaliser);
  dl_net_backward(f->net, f->weights, n, &pass, f->gradients);
  for (int t = 0; t < f->n_tensors; t++)
    for (size_t i = f->tensors[t].offset; i < f->tensors[t].offset + f->tensors[t].count; i++)
      gradients[i] += (double)f->gradients[i];
}

/* Layers whose inputs are kept for a block alone, some that are kept, a branch, and one of another order. */
static const char big_cnn[] =
    "model:\n"
    "  - conv2d: {filters: 48, kernel: 3, padding: 1}\n"
    "  - relu\n"
    "  - maxpool2d: 2\n"
    "  - conv2d: {filters: 48, kernel: 3, padding: 1, name: a}\n"
    "  - dropout: 0.2\n"
    "  - avgpool2d: {kernel: 3, stride: 1, padding: 1, name: b}\n"
    "  - tanh: {name: c}\n"
    "  - conv2d: {filters: 48, kernel: 3, padding: 1}\n"
    "  - add: {from: [layers.7, c]}\n"
    "  - upsample2d: 2\n"
    "  - maxpool2d: 4\n"
    "  - flatten\n"
    "  - dense: 5\n";

static void test_a_batch_in_blocks_equals_its_blocks(void) {
  for (int b = first_backend(); b < 2; b++) {
    fixture f;
    char yaml[1024];
    static float x[BIG_SAMPLES * BIG * BIG], whole[BIG_SAMPLES * 5], parts[BIG_SAMPLES * 5];
    snprintf(yaml, sizeof yaml, "compute: {backend: %s}\n%s", backends[b], big_cnn);
    DL_ASSERT_OK(fixture_new(&f, yaml, 3, (int64_t[]){1, BIG, BIG}, 5, BIG_SAMPLES));
    if (!f.weights) return;
    double *want = dl_calloc(f.count, sizeof *want), *got = dl_calloc(f.count, sizeof *got);
    CU_ASSERT_FATAL(want && got);
    dl_net_init(f.net, 2, f.weights);
    lcg g = {6};
    for (int i = 0; i < BIG_SAMPLES * BIG * BIG; i++) x[i] = lcg_value(&g);
    pass_of(&f, x, 0, BIG_SAMPLES, whole, got);
    for (int first = 0; first < BIG_SAMPLES; first += BIG_BLOCK)
      pass_of(&f, x, first, BIG_SAMPLES - first < BIG_BLOCK ? BIG_SAMPLES - first : BIG_BLOCK, parts, want);
    double outputs = 0, error = 0, largest = 0;
    for (int i = 0; i < BIG_SAMPLES * 5; i++) outputs = fmax(outputs, fabs((double)whole[i] - (double)parts[i]));
    CU_ASSERT(outputs <= 1e-5);
    for (size_t i = 0; i < f.count; i++) {
      if (!(fabs(got[i] - want[i]) <= error)) error = fabs(got[i] - want[i]);
      largest = fmax(largest, fabs(want[i]));
    }
    CU_ASSERT(error <= 1e-5 * largest);
    free(want);
    free(got);
    fixture_clear(&f);
  }
}

/* Its reference loops are a thousand times slower than the patches. */
static void test_onednn_serves_common_shapes_where_it_is_built_in(void) {
  static const dl_conv_shape shapes[] = {
      {.ic = 3,
       .ih = 32,
       .iw = 32,
       .oc = 32,
       .oh = 30,
       .ow = 30,
       .groups = 1,
       .kh = 3,
       .kw = 3,
       .sh = 1,
       .sw = 1,
       .dh = 1,
       .dw = 1},
      {.ic = 16,
       .ih = 32,
       .iw = 32,
       .oc = 32,
       .oh = 16,
       .ow = 16,
       .groups = 1,
       .kh = 1,
       .kw = 1,
       .sh = 2,
       .sw = 2,
       .dh = 1,
       .dw = 1},
      {.ic = 64,
       .ih = 9,
       .iw = 7,
       .oc = 64,
       .oh = 5,
       .ow = 3,
       .groups = 1,
       .kh = 3,
       .kw = 3,
       .sh = 1,
       .sw = 1,
       .dh = 2,
       .dw = 2},
      {.ic = 32,
       .ih = 8,
       .iw = 8,
       .oc = 32,
       .oh = 6,
       .ow = 6,
       .groups = 32,
       .kh = 3,
       .kw = 3,
       .sh = 1,
       .sw = 1,
       .dh = 1,
       .dw = 1},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
    dl_conv *conv;
    const dl_gemm_backend *best = dl_gemm_choose(DL_BACKEND_AUTO);
    DL_ASSERT_OK(dl_conv_new(&shapes[i], best, &conv));
    CU_ASSERT_STRING_EQUAL(conv->ops->name, strcmp(best->name, "onednn") ? "patches" : "onednn");
    dl_conv_destroy(&conv);
    DL_ASSERT_OK(dl_conv_new(&shapes[i], dl_gemm_choose(DL_BACKEND_OPENBLAS), &conv));
    CU_ASSERT_STRING_EQUAL(conv->ops->name, "patches");
    dl_conv_destroy(&conv);
  }
}

/* Many equal slopes: added up one float after another they are 1e-4 off. */
static void test_a_bias_has_the_exact_sum_of_large_images(void) {
  enum { WIDE = 64, IMAGES = 5, CHANNELS = 32, FILTERS = 10, PIXELS = IMAGES * WIDE * WIDE };
  static const int choices[] = {DL_BACKEND_AUTO, DL_BACKEND_OPENBLAS};
  const dl_conv_shape shape = {.ic = CHANNELS,
                               .ih = WIDE,
                               .iw = WIDE,
                               .oc = FILTERS,
                               .oh = WIDE,
                               .ow = WIDE,
                               .groups = 1,
                               .kh = 1,
                               .kw = 1,
                               .sh = 1,
                               .sw = 1,
                               .dh = 1,
                               .dw = 1,
                               .bias = true};
  float dw[FILTERS * CHANNELS], dbias[FILTERS];
  float *x = dl_calloc_aligned((size_t)PIXELS * CHANNELS, sizeof *x),
        *dy = dl_calloc_aligned((size_t)PIXELS * FILTERS, sizeof *dy);
  CU_ASSERT_FATAL(x && dy);
  for (int i = 0; i < PIXELS * FILTERS; i++) dy[i] = 0.1F * (float)(1 + i % FILTERS);
  for (size_t k = 0; k < sizeof choices / sizeof choices[0]; k++) {
    dl_conv *conv;
    DL_ASSERT_OK(dl_conv_new(&shape, dl_gemm_choose(choices[k]), &conv));
    conv->ops->backward_weights(conv, IMAGES, x, dy, dw, dbias);
    for (int f = 0; f < FILTERS; f++) {
      const double want = (double)dy[f] * PIXELS;
      CU_ASSERT(fabs((double)dbias[f] - want) <= 1e-6 * want);
    }
    dl_conv_destroy(&conv);
  }
  free(x);
  free(dy);
}

/* ---- batch normalisation's running averages ---- */

static void test_batchnorm_delivers_sums_of_means_and_unbiased_variances(void) {
  fixture f;
  double loss, normaliser;
  DL_ASSERT_OK(fixture_new(&f, "task: regression\nmodel: [{batchnorm: {momentum: 0.25, name: bn}}, flatten]", 3,
                           (int64_t[]){2, 3, 2}, 12, 4));
  if (!f.weights) return;
  CU_ASSERT_EQUAL_FATAL(f.n_tensors, 4);
  static const char *const names[] = {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"};
  for (int k = 0; k < 4; k++) {
    CU_ASSERT_STRING_EQUAL(f.tensors[k].name, names[k]);
    CU_ASSERT_EQUAL(f.tensors[k].trainable, k < 2);
    CU_ASSERT_EQUAL(f.tensors[k].running, k < 2 ? 0.0f : 0.25f);
    CU_ASSERT_FALSE(f.tensors[k].decays);
  }
  dl_net_init(f.net, 1, f.weights);
  for (int c = 0; c < 2; c++)
    CU_ASSERT(f.weights[f.tensors[0].offset + c] == 1 && f.weights[f.tensors[1].offset + c] == 0 &&
              f.weights[f.tensors[2].offset + c] == 0 && f.weights[f.tensors[3].offset + c] == 1);
  lcg g = {3};
  float truth[48] = {0};
  float *x = dl_net_input(f.net);
  for (int i = 0; i < 4 * 12; i++) x[i] = 5 + lcg_value(&g);
  const dl_pass pass = {.training = true};
  dl_net_forward(f.net, f.weights, 4, &pass);
  dl_net_loss(f.net, 4, NULL, truth, NULL, &loss, &normaliser);
  dl_net_backward(f.net, f.weights, 4, &pass, f.gradients);
  for (int c = 0; c < 2; c++) {
    double mean = 0, variance = 0;
    for (int i = 0; i < 24; i++) mean += (double)x[i / 6 * 12 + c * 6 + i % 6] / 24;
    for (int i = 0; i < 24; i++) variance += pow((double)x[i / 6 * 12 + c * 6 + i % 6] - mean, 2) / 23;
    CU_ASSERT_DOUBLE_EQUAL((double)f.gradients[f.tensors[2].offset + c], 4 * mean, 1e-6 * mean);
    CU_ASSERT_DOUBLE_EQUAL((double)f.gradients[f.tensors[3].offset + c], 4 * variance, 1e-6 * variance);
  }
  fixture_clear(&f);
}

/* ---- NaN ---- */

static void test_a_nan_in_an_image_reaches_the_loss_through_every_kind(void) {
  for (int b = first_backend(); b < 2; b++) {
    fixture f;
    double loss;
    open_small(&f, backends[b]);
    dl_net_input(f.net)[40] = NAN;
    run_pass(&f, SAMPLES, &loss);
    CU_ASSERT(isnan(loss));
    fixture_clear(&f);
  }
}

/* ---- initial weights ---- */

static void test_convolutions_start_as_pytorchs_do(void) {
  fixture f;
  DL_ASSERT_OK(
      fixture_new(&f,
                  "task: regression\nmodel: [{conv2d: {filters: 40, kernel: [3, 5], groups: 2}}, "
                  "{conv2d_transpose: {filters: 30, kernel: 3}}, {conv2d: {filters: 2, kernel: 3, init: zeros}}]",
                  3, (int64_t[]){20, 9, 9}, 0, 1));
  if (!f.weights) return;
  dl_net_init(f.net, 4, f.weights);
  const double bound[] = {1 / sqrt(10 * 15.0), 1 / sqrt(10 * 15.0), 1 / sqrt(30 * 9.0), 1 / sqrt(30 * 9.0), 0};
  for (int k = 0; k < 5; k++) {
    double most = 0, sum = 0, squares = 0;
    const dl_tensor *t = &f.tensors[k];
    for (size_t i = 0; i < t->count; i++) {
      const double v = (double)f.weights[t->offset + i];
      most = fmax(most, fabs(v));
      sum += v;
      squares += v * v;
    }
    const double n = (double)t->count, deviation = bound[k] / sqrt(3);
    CU_ASSERT(most <= bound[k] * (1 + 1e-6));
    if (n < 1000) continue; /* the law of large numbers */
    CU_ASSERT(most >= 0.98 * bound[k]);
    CU_ASSERT(fabs(sum / n) <= 5 * deviation / sqrt(n));
    CU_ASSERT_DOUBLE_EQUAL(sqrt(squares / n), deviation, 0.05 * deviation);
  }
  fixture_clear(&f);
}

/* ---- shapes and errors ---- */

static void test_wrong_images_are_told_at_their_place(void) {
  static const struct {
    const char *layers, *message;
  } rows[] = {
      {"{conv2d: {filters: 4, kernel: 9}}",
       "c.yaml:2:10: layers.0 (conv2d): its kernel (9, 9) is larger than the image it reads, (3, 8, 7) (take a smaller "
       "kernel, `padding: same`, or fewer layers that shrink the image)"},
      {"{conv2d: {filters: 4, kernel: 5, dilation: 2}}",
       "c.yaml:2:10: layers.0 (conv2d): its kernel (5, 5) with its dilation is larger than the image it reads, (3, 8, "
       "7) "
       "(take a smaller kernel, `padding: same`, or fewer layers that shrink the image)"},
      {"{conv2d: {filters: 4, kernel: 3, groups: 2}}",
       "c.yaml:2:10: layers.0 (conv2d): groups: 2 must divide the 3 channels it reads and its 4 filters"},
      {"{conv2d: {kernel: 3}}", "c.yaml:2:10: conv2d: 'filters' is missing (number of channels of the output)"},
      {"{conv2d: {filters: 4, kernel: 3, padding: some}}",
       "c.yaml:2:51: padding must be a number, a list of two, same or valid, not the text 'some'"},
      {"{conv2d: {filters: 4, kernel: 3, padding: -1}}", "c.yaml:2:51: padding must lie within 0 and 32768, not -1"},
      {"{conv2d: {filters: 4, kernel: 3, padding: [1, 2, 3]}}",
       "c.yaml:2:51: padding must be a number or a list of two, such as 3 or [3, 5]"},
      {"{conv2d: {filters: 4, kernel: 3, strides: 2}}",
       "c.yaml:2:42: unknown key 'strides' in conv2d (did you mean 'stride'?)"},
      {"flatten, {conv2d: {filters: 4, kernel: 3}}",
       "c.yaml:2:19: layers.1 (conv2d): it takes images (channels, height, width), but what it reads has the shape "
       "(168) "
       "(put it before `flatten`, or `reshape` its input to an image)"},
      {"{maxpool2d: 9}",
       "c.yaml:2:10: layers.0 (maxpool2d): its kernel (9, 9) is larger than the image it reads, (3, 8, 7)"},
      {"{maxpool2d: {kernel: 3, padding: 2}}",
       "c.yaml:2:10: layers.0 (maxpool2d): padding (2, 2) is more than half the kernel (3, 3)"},
      {"{conv2d_transpose: {filters: 4, kernel: 1, padding: 9}}",
       "c.yaml:2:10: layers.0 (conv2d_transpose): its padding leaves nothing of the output; it reads (3, 8, 7) (take a "
       "smaller padding)"},
      {"{conv2d_transpose: {filters: 4, kernel: 2, output_padding: 1}}",
       "c.yaml:2:10: layers.0 (conv2d_transpose): output_padding must be less than stride or dilation, not 1"},
      {"{upsample2d: 1024}, {upsample2d: 1024}",
       "c.yaml:2:30: layers.1 (upsample2d): it makes (3, 8388608, 7340032) of (3, 8192, 7168): that is too large"},
      {"flatten, {dense: 4}, {batchnorm: {momentum: 2}}", "c.yaml:2:53: momentum must lie within 1e-09 and 1, not 2"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[256], got[1400];
    fixture f;
    snprintf(text, sizeof text, "task: regression\nmodel: [%s]\n", rows[i].layers);
    CU_ASSERT_EQUAL(fixture_new(&f, text, 3, (int64_t[]){3, 8, 7}, 0, 2), DL_ERR_USAGE);
    dl_error_format(dl_error_last(), got, sizeof got);
    CU_ASSERT_STRING_EQUAL(got, rows[i].message);
    if (strcmp(got, rows[i].message)) fprintf(stderr, "%s\n", got);
    fixture_clear(&f);
  }
}

/* The first of the largest, the last NaN before all, 0 where relu finds nothing above; the gradient goes there. */
static void test_windows_of_two_by_two_choose_as_one_pixel_after_the_other_does(void) {
  enum { N = 2, C = 37, H = 5, W = 6, OH = 2, OW = 3 };
  float x[N * H * W * C], dy[N * OH * OW * C], y[N * OH * OW * C], dx[N * H * W * C], want[N * H * W * C];
  int32_t place[N * OH * OW * C];
  for (int relu = 0; relu < 2; relu++) {
    const dl_window w = {C, H, W, OH, OW, 2, 2, 2, 2, 0, 0, false, relu};
    for (int i = 0; i < N * H * W * C; i++) {
      x[i] = (float)((uint32_t)i * 2654435761u >> 29) - 4; /* -4 .. 3: many are equal */
      if (i % 41 == 0) x[i] = NAN;
      dx[i] = 99;
      want[i] = 0;
    }
    for (int i = 0; i < N * OH * OW * C; i++) dy[i] = i % 7 ? (float)i : INFINITY;
    dl_image_kernels_in_use()->maxpool(&w, N, x, y, place);
    dl_image_kernels_in_use()->maxpool_backward(&w, N, place, dy, dx);
    bool good = true;
    for (int o = 0; o < N * OH * OW * C; o++) {
      const int c = o % C, ox = o / C % OW, oy = o / C / OW % OH, s = o / C / OW / OH;
      int chosen = relu ? -1 : 0, at = ((s * H + 2 * oy) * W + 2 * ox) * C + c;
      float most = relu ? 0 : x[at];
      for (int k = 0; k < 4; k++) {
        const float value = x[at + (k / 2 * W + k % 2) * C];
        if (!(value > most) && !isnan(value)) continue;
        most = value;
        chosen = k;
      }
      good = good && place[o] == chosen && (y[o] == most || (isnan(y[o]) && isnan(most)));
      if (chosen >= 0) want[at + (chosen / 2 * W + chosen % 2) * C] = dy[o];
    }
    CU_ASSERT_TRUE(good);
    CU_ASSERT_EQUAL(memcmp(dx, want, sizeof dx), 0);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_convolutions_agree_with_finite_differences),
    DL_TEST(test_transposed_convolutions_agree_with_finite_differences),
    DL_TEST(test_pooling_and_upsampling_agree_with_finite_differences),
    DL_TEST(test_windows_of_two_by_two_choose_as_one_pixel_after_the_other_does),
    DL_TEST(test_batch_normalisation_agrees_with_finite_differences),
    DL_TEST(test_branches_in_both_orders_agree_with_finite_differences),
#if COUNTS_ALLOCATIONS
    DL_TEST(test_a_pass_allocates_only_when_it_meets_a_new_number_of_samples),
#endif
    DL_TEST(test_passes_give_the_same_bits_again_elsewhere_and_in_threads),
    DL_TEST(test_more_batch_sizes_than_are_kept_still_give_the_same_bits),
    DL_TEST(test_onednn_serves_common_shapes_where_it_is_built_in),
    DL_TEST(test_a_bias_has_the_exact_sum_of_large_images),
    DL_TEST(test_a_batch_in_blocks_equals_its_blocks),
    DL_TEST(test_batchnorm_delivers_sums_of_means_and_unbiased_variances),
    DL_TEST(test_a_nan_in_an_image_reaches_the_loss_through_every_kind),
    DL_TEST(test_convolutions_start_as_pytorchs_do),
    DL_TEST(test_wrong_images_are_told_at_their_place),
};
DL_TEST_MAIN("image", tests)

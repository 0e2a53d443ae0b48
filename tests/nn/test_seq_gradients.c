/* test_seq_gradients.c - sequence layers, one after the other, against central differences of a twin in float64. */
#include "nn/gemm.h"
#include "nn_fixture.h"
#include "seq_twin.h"

typedef struct seq_case {
  const char *model;
  seq_twin net;
  int vocabulary; /* tokens for x; 0: values */
  int zero_row;   /* of the embedding, which stays zero and does not learn, plus 1; 0: none */
} seq_case;

#define LAYERS(...) .layers = {__VA_ARGS__}
#define DENSE(n) \
  { .kind = 'd', .units = n }
#define EMBEDDING(vocabulary, n) \
  { .kind = 'e', .units = n, .layers = vocabulary }

/* A dense layer or an embedding comes first: its gradients are those of the next layer's input. */
static const seq_case cases[] = {
    {"[{dense: 3}, {rnn: {units: 5, return_sequences: true}}]",
     {LAYERS(DENSE(3), {.kind = 'r', .units = 5}), .steps = 7, .in = 2},
     0,
     0},
    {"[{dense: 3}, {rnn: {units: 3, layers: 3, bidirectional: true, nonlinearity: relu, return_sequences: true}}]",
     {LAYERS(DENSE(3), {.kind = 'R', .units = 3, .layers = 3, .both = true}), .steps = 5, .in = 2},
     0,
     0},
    {"[{dense: 3}, {rnn: {units: 5, bidirectional: true, bias: false}}]",
     {LAYERS(DENSE(3), {.kind = 'r', .units = 5, .both = true, .last = true, .bare = true}), .steps = 9, .in = 2},
     0,
     0},
    {"[{dense: 3}, {lstm: {units: 5, return_sequences: true}}]",
     {LAYERS(DENSE(3), {.kind = 'l', .units = 5}), .steps = 7, .in = 3},
     0,
     0},
    {"[{dense: 3}, {lstm: {units: 3, layers: 2, bidirectional: true, return_sequences: true}}]",
     {LAYERS(DENSE(3), {.kind = 'l', .units = 3, .layers = 2, .both = true}), .steps = 5, .in = 2},
     0,
     0},
    {"[{dense: 3}, {lstm: {units: 7, layers: 2, bidirectional: true}}]",
     {LAYERS(DENSE(3), {.kind = 'l', .units = 7, .layers = 2, .both = true, .last = true}), .steps = 3, .in = 1},
     0,
     0},
    {"[{dense: 3}, {lstm: {units: 5, bias: false}}]",
     {LAYERS(DENSE(3), {.kind = 'l', .units = 5, .last = true, .bare = true}), .steps = 1, .in = 2},
     0,
     0},
    {"[{dense: 3}, {gru: {units: 5, return_sequences: true}}]",
     {LAYERS(DENSE(3), {.kind = 'g', .units = 5}), .steps = 7, .in = 3},
     0,
     0},
    {"[{dense: 3}, {gru: {units: 3, layers: 2, bidirectional: true, return_sequences: true}}]",
     {LAYERS(DENSE(3), {.kind = 'g', .units = 3, .layers = 2, .both = true}), .steps = 5, .in = 2},
     0,
     0},
    {"[{dense: 3}, {gru: {units: 7, layers: 3, bias: false}}]",
     {LAYERS(DENSE(3), {.kind = 'g', .units = 7, .layers = 3, .last = true, .bare = true}), .steps = 4, .in = 1},
     0,
     0},
    {"[{dense: 5}, {attention: {heads: 1}}]", {LAYERS(DENSE(5), {.kind = 'a', .units = 1}), .steps = 3, .in = 2}, 0, 0},
    {"[{dense: 9}, {attention: {heads: 3, causal: true}}]",
     {LAYERS(DENSE(9), {.kind = 'a', .units = 3, .causal = true}), .steps = 7, .in = 2},
     0,
     0},
    {"[{dense: 6}, {attention: {heads: 2, causal: true, bias: false}}]",
     {LAYERS(DENSE(6), {.kind = 'a', .units = 2, .causal = true, .bare = true}), .steps = 1, .in = 2},
     0,
     0},
    {"[{embedding: {vocabulary: 4, size: 6}}, {attention: {heads: 2, padding: 2, from: [layers.0, input]}}]",
     {LAYERS(EMBEDDING(4, 6), {.kind = 'a', .units = 2, .padding = 3}), .steps = 7},
     4,
     0},
    {"[{embedding: {vocabulary: 4, size: 6}}, {attention: {heads: 3, causal: true, padding: 1, from: [layers.0, "
     "input]}}]",
     {LAYERS(EMBEDDING(4, 6), {.kind = 'a', .units = 3, .causal = true, .padding = 2}), .steps = 5},
     4,
     0},
    {"[{embedding: {vocabulary: 7, size: 3}}, positional_embedding, {dense: 2}]",
     {LAYERS(EMBEDDING(7, 3), {.kind = 'p'}, DENSE(2)), .steps = 5},
     7,
     0},
    {"[{embedding: {vocabulary: 3, size: 5, padding: 1}}, {dense: 3}]",
     {LAYERS(EMBEDDING(3, 5), DENSE(3)), .steps = 9},
     3,
     2},
    {"[{dense: 7}, layernorm]", {LAYERS(DENSE(7), {.kind = 'n'}), .steps = 3, .in = 2}, 0, 0},
    {"[{dense: 5}, {layernorm: {affine: false}}]",
     {LAYERS(DENSE(5), {.kind = 'n', .bare = true}), .steps = 3, .in = 2},
     0,
     0},
    {"[{dense: 3}, {layernorm: {dims: 2}}]", {LAYERS(DENSE(3), {.kind = 'N'}), .steps = 5, .in = 2}, 0, 0},
    {"[{embedding: {vocabulary: 5, size: 4}}, positional_embedding, layernorm, {attention: {heads: 2, causal: true}}, "
     "{gru: {units: 3, bidirectional: true, return_sequences: true}}, {lstm: {units: 3}}, {dense: 1}]",
     {LAYERS(EMBEDDING(5, 4), {.kind = 'p'}, {.kind = 'n'}, {.kind = 'a', .units = 2, .causal = true},
             {.kind = 'g', .units = 3, .both = true}, {.kind = 'l', .units = 3, .last = true}, DENSE(1)),
      .steps = 5},
     5,
     0},
};
enum { N_CASES = sizeof cases / sizeof cases[0], MOST = 4096 };

static double packed[MOST];
static float x[MOST], y[MOST];

static int pack(const fixture *f) {
  int count = 0;
  for (int t = 0; t < f->n_tensors; t++)
    for (size_t i = 0; i < f->tensors[t].count; i++) packed[count++] = (double)f->weights[f->tensors[t].offset + i];
  return count;
}

/* Largest difference from the twin's central differences, over the largest of the tensor. */
static double gradient_error(const seq_case *c, const fixture *f, int n, int tensor, int at) {
  const dl_tensor *tensor_of = &f->tensors[tensor];
  double worst = 0, largest = 1e-2;
  for (size_t i = 0; i < tensor_of->count; i++) {
    const double h = 1e-5, here = packed[at + (int)i];
    packed[at + (int)i] = here + h;
    const double up = seq_loss(&c->net, packed, n, x, y);
    packed[at + (int)i] = here - h;
    const double down = seq_loss(&c->net, packed, n, x, y);
    packed[at + (int)i] = here;
    const bool still = c->zero_row && !tensor && (int)i / (int)tensor_of->shape[1] == c->zero_row - 1;
    const double want = still ? 0 : (up - down) / (2 * h);
    const double error = fabs((double)f->gradients[tensor_of->offset + i] - want);
    if (!(error <= worst)) worst = error;
    largest = fmax(largest, fabs(want));
  }
  return worst / largest;
}

static void fill(const seq_case *c, fixture *f, int n, int outputs) {
  lcg g = {(uint32_t)(n * 31 + c->net.steps)};
  fixture_fill(f, &g, 0.75f);
  if (c->zero_row) {
    const size_t size = (size_t)f->tensors[0].shape[1];
    memset(f->weights + f->tensors[0].offset + (size_t)(c->zero_row - 1) * size, 0, size * sizeof(float));
  }
  const int values = n * c->net.steps * (c->net.in ? c->net.in : 1);
  for (int i = 0; i < values; i++) x[i] = c->vocabulary ? (float)lcg_class(&g, c->vocabulary) : 2 * lcg_value(&g);
  for (int i = 0; i < n * outputs; i++) y[i] = 2 * lcg_value(&g);
  for (size_t i = 0; i < f->count; i++) f->gradients[i] = NAN; /* written, not added to */
  memcpy(dl_net_input(f->net), x, (size_t)values * sizeof *x);
}

static bool outputs_agree(const seq_case *c, int n, const float *found) {
  seq_value want;
  double worst = 0, largest = 1e-3;
  for (int s = 0; s < n; s++) {
    seq_forward(&c->net, packed, x + s * c->net.steps * (c->net.in ? c->net.in : 1), &want);
    const int values = want.steps * want.width;
    for (int i = 0; i < values; i++) {
      const double error = fabs((double)found[s * values + i] - want.v[i]);
      if (!(error <= worst)) worst = error;
      largest = fmax(largest, fabs(want.v[i]));
    }
  }
  return worst <= 1e-5 * largest;
}

static void check_case(const seq_case *c, const char *backend, int n) {
  char yaml[1024];
  fixture f;
  seq_value shape;
  static const double zeros[MOST];
  static const float nothing[MOST];
  seq_forward(&c->net, zeros, nothing, &shape);
  const int outputs = shape.steps * shape.width;
  snprintf(yaml, sizeof yaml, "task: regression\nmodel: %s\ncompute: {backend: %s}\n", c->model, backend);
  DL_ASSERT_OK(fixture_new(&f, yaml, c->vocabulary ? 1 : 2, (int64_t[]){c->net.steps, c->net.in}, outputs, 4));
  if (!f.weights) return;
  fill(c, &f, n, outputs);
  const int count = pack(&f);
  CU_ASSERT_FATAL(count < MOST);
  const dl_pass pass = {.training = true};
  bool good = outputs_agree(c, n, dl_net_forward(f.net, f.weights, n, &pass));
  if (!good) fprintf(stderr, "%s: outputs of %d\n", c->model, n);
  CU_ASSERT(good);
  double loss, normaliser;
  dl_net_loss(f.net, n, NULL, y, NULL, &loss, &normaliser);
  const double want = seq_loss(&c->net, packed, n, x, y);
  CU_ASSERT_DOUBLE_EQUAL(loss, want, 1e-5 * want);
  dl_net_backward(f.net, f.weights, n, &pass, f.gradients);
  int at = 0;
  for (int t = 0; t < f.n_tensors; at += (int)f.tensors[t++].count) {
    const double error = gradient_error(c, &f, n, t, at);
    if (!(error <= 2e-5))
      fprintf(stderr, "%s: gradient of %s, %d samples: %g\n", c->model, f.tensors[t].name, n, error);
    CU_ASSERT(error <= 2e-5);
  }
  fixture_clear(&f);
}

static void check_all(int n) {
  const bool both = dl_gemm_choose(DL_BACKEND_ONEDNN) != NULL;
  for (int i = 0; i < N_CASES; i++) {
    check_case(&cases[i], "openblas", n);
    if (both) check_case(&cases[i], "onednn", n);
  }
}

static void test_every_sequence_layer_agrees_with_finite_differences_for_one_sample(void) { check_all(1); }
static void test_every_sequence_layer_agrees_with_finite_differences_for_three_samples(void) { check_all(3); }

static const dl_test tests[] = {
    DL_TEST(test_every_sequence_layer_agrees_with_finite_differences_for_one_sample),
    DL_TEST(test_every_sequence_layer_agrees_with_finite_differences_for_three_samples),
};
DL_TEST_MAIN("seq gradients", tests)

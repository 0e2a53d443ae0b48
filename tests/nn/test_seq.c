/* test_seq.c - sequence layers and branches against stored values of PyTorch in float64. */
#include "golden/seq_golden.h"
#include "nn/gemm.h"
#include "nn_fixture.h"

#include "allocations.h"

enum { N_CASES = sizeof golden_cases / sizeof golden_cases[0] };

/* max |a - b| <= 1e-5 * max |b| */
static bool near(const float *a, const float *b, size_t n, double factor) {
  double error = 0, largest = 0;
  for (size_t i = 0; i < n; i++) {
    const double d = fabs((double)a[i] * factor - (double)b[i]);
    if (!(d <= error)) error = d;
    largest = fmax(largest, fabs((double)b[i]));
  }
  return error <= 1e-5 * largest;
}

/* The rows of padding tokens are zero in both. */
static void clear_padding(const fixture *f, const seq_golden *golden) {
  const char *at = strstr(golden->model, "padding: ");
  if (!at || !golden->vocabulary) return;
  const int64_t size = f->tensors[0].shape[1];
  memset(f->weights + f->tensors[0].offset + strtol(at + 9, NULL, 10) * size, 0, (size_t)size * sizeof(float));
}

static void check_case(const seq_golden *golden, const char *backend) {
  char yaml[1024];
  fixture f;
  static float y[4096];
  snprintf(yaml, sizeof yaml, "task: regression\nmodel: %s\ncompute: {backend: %s}\n", golden->model, backend);
  DL_ASSERT_OK(fixture_new(&f, yaml, golden->dims, golden->shape, golden->outputs, 4));
  if (!f.weights) return;
  lcg g = {4242};
  fixture_fill(&f, &g, 0.75f);
  clear_padding(&f, golden);
  int64_t size = 1;
  for (int i = 0; i < golden->dims; i++) size *= golden->shape[i];
  float *x = dl_net_input(f.net);
  for (int i = 0; i < golden->n * size; i++)
    x[i] = golden->vocabulary ? (float)lcg_class(&g, golden->vocabulary) : lcg_value(&g);
  const size_t all = (size_t)(golden->n * golden->outputs);
  for (size_t i = 0; i < all; i++) y[i] = lcg_value(&g);
  const dl_pass pass = {.training = true};
  double loss, normaliser;
  bool good = near(dl_net_forward(f.net, f.weights, golden->n, &pass), golden->values, all, 1);
  if (!good) fprintf(stderr, "%s: outputs\n", golden->name);
  CU_ASSERT_TRUE(good);
  dl_net_loss(f.net, golden->n, NULL, y, NULL, &loss, &normaliser);
  CU_ASSERT_DOUBLE_EQUAL(loss / normaliser, (double)golden->values[all], 1e-6 * (double)golden->values[all]);
  for (size_t i = 0; i < f.count; i++) f.gradients[i] = NAN; /* written, not added to */
  dl_net_backward(f.net, f.weights, golden->n, &pass, f.gradients);
  size_t at = all + 1;
  for (int t = 0; t < f.n_tensors; at += f.tensors[t++].count) {
    good = near(f.gradients + f.tensors[t].offset, golden->values + at, f.tensors[t].count, 1 / normaliser);
    if (!good) fprintf(stderr, "%s: gradient of %s\n", golden->name, f.tensors[t].name);
    CU_ASSERT_TRUE(good);
  }
  CU_ASSERT_EQUAL(at, all + 1 + (size_t)golden->parameters);
  fixture_clear(&f);
}

static void test_outputs_losses_and_gradients_equal_pytorch_on_both_backends(void) {
  const bool both = dl_gemm_choose(DL_BACKEND_ONEDNN) != NULL;
  for (int i = 0; i < N_CASES; i++) {
    check_case(&golden_cases[i], "openblas");
    if (both) check_case(&golden_cases[i], "onednn");
  }
}

/* ---- names and starts ---- */

static const char *const gpt =
    "task: language_model\n"
    "model:\n"
    "  - embedding: {vocabulary: 11, size: 8, std: 0.02}\n"
    "  - positional_embedding\n"
    "  - residual: {name: first, layers: [layernorm, {attention: {heads: 2, causal: true}}]}\n"
    "  - residual: [layernorm, {dense: 12}, gelu, {dense: 8}]\n"
    "  - lstm: {units: 8, return_sequences: true}\n"
    "  - dense: 11\n";

static void test_tensors_are_named_as_in_pytorch_and_by_their_place(void) {
  static const char *const names[] = {"layers.0.weight",
                                      "layers.1.weight",
                                      "first.layers.0.weight",
                                      "first.layers.0.bias",
                                      "first.layers.1.in_proj_weight",
                                      "first.layers.1.in_proj_bias",
                                      "first.layers.1.out_proj.weight",
                                      "first.layers.1.out_proj.bias",
                                      "layers.3.layers.0.weight",
                                      "layers.3.layers.0.bias",
                                      "layers.3.layers.1.weight",
                                      "layers.3.layers.1.bias",
                                      "layers.3.layers.3.weight",
                                      "layers.3.layers.3.bias",
                                      "layers.4.weight_ih_l0",
                                      "layers.4.weight_hh_l0",
                                      "layers.4.bias_ih_l0",
                                      "layers.4.bias_hh_l0",
                                      "layers.5.weight",
                                      "layers.5.bias"};
  fixture f;
  DL_ASSERT_OK(fixture_new(&f, gpt, 1, (int64_t[]){6}, 11, 2));
  CU_ASSERT_EQUAL_FATAL(f.n_tensors, (int)(sizeof names / sizeof names[0]));
  for (int t = 0; t < f.n_tensors; t++) CU_ASSERT_STRING_EQUAL(f.tensors[t].name, names[t]);
  CU_ASSERT(f.tensors[14].shape[0] == 32 && f.tensors[14].shape[1] == 8 && f.tensors[4].shape[0] == 24);
  CU_ASSERT_EQUAL(dl_net_outputs(f.net), 11);
  CU_ASSERT_EQUAL(dl_net_rows(f.net), 6);
  CU_ASSERT_EQUAL(dl_net_token_limit(f.net), 11);
  fixture_clear(&f);
}

static void test_trainable_and_lr_scale_of_a_residual_hold_for_the_layers_inside(void) {
  fixture f;
  DL_ASSERT_OK(
      fixture_new(&f,
                  "model: [{residual: {trainable: false, layers: [{dense: 4}]}}, {residual: {lr_scale: 0.5, layers: "
                  "[{residual: {layers: [{dense: {units: 4, lr_scale: 0.5}}]}}]}}, {dense: 2}]",
                  1, (int64_t[]){4}, 2, 2));
  CU_ASSERT_EQUAL_FATAL(f.n_tensors, 6);
  CU_ASSERT(!f.tensors[0].trainable && f.tensors[2].trainable && f.tensors[4].trainable);
  CU_ASSERT(f.tensors[2].lr_scale == 0.25f && f.tensors[4].lr_scale == 1);
  fixture_clear(&f);
}

static double deviation(const float *x, size_t n) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i];
  for (size_t i = 0; i < n; i++) squares += pow((double)x[i] - sum / (double)n, 2);
  return sqrt(squares / (double)n);
}

static void test_weights_start_from_pytorchs_distributions(void) {
  fixture f;
  DL_ASSERT_OK(
      fixture_new(&f,
                  "task: regression\nmodel: [{embedding: {vocabulary: 100, size: 64}}, {attention: 4}, layernorm, "
                  "{gru: 64}, {dense: 1}]",
                  1, (int64_t[]){3}, 1, 1));
  dl_net_init(f.net, 5, f.weights);
  const float *w[16];
  for (int t = 0; t < f.n_tensors && t < 16; t++) w[t] = f.weights + f.tensors[t].offset;
  CU_ASSERT_DOUBLE_EQUAL(deviation(w[0], 6400), 1, 0.03);                               /* normal */
  CU_ASSERT_DOUBLE_EQUAL(deviation(w[1], 3 * 4096), sqrt(6.0 / 256) / sqrt(3.0), 2e-3); /* xavier uniform */
  CU_ASSERT_DOUBLE_EQUAL(deviation(w[3], 4096), 0.125 / sqrt(3.0), 2e-3);               /* 1 / sqrt(64) */
  CU_ASSERT(w[2][0] == 0 && w[4][63] == 0 && w[5][7] == 1 && w[6][7] == 0);
  for (int t = 7; t < 11; t++) CU_ASSERT_DOUBLE_EQUAL(deviation(w[t], f.tensors[t].count), 0.125 / sqrt(3.0), 8e-3);
  fixture_clear(&f);
}

/* ---- what a pass must not depend on ---- */

static void test_causal_layers_do_not_see_what_follows(void) {
  fixture f;
  float before[6 * 11];
  DL_ASSERT_OK(fixture_new(&f, gpt, 1, (int64_t[]){6}, 11, 2));
  dl_net_init(f.net, 1, f.weights);
  const dl_pass pass = {.training = false};
  float *x = dl_net_input(f.net);
  for (int i = 0; i < 6; i++) x[i] = (float)(i * 3 % 11);
  memcpy(before, dl_net_forward(f.net, f.weights, 1, &pass), sizeof before);
  for (int t = 1; t < 6; t++) { /* another token at step t */
    for (int i = 0; i < 6; i++) x[i] = (float)(i * 3 % 11);
    x[t] = 10;
    const float *y = dl_net_forward(f.net, f.weights, 1, &pass);
    CU_ASSERT(!memcmp(y, before, (size_t)(t * 11) * sizeof *y));
    CU_ASSERT(memcmp(y + t * 11, before + t * 11, 11 * sizeof *y) != 0);
  }
  fixture_clear(&f);
}

static void test_a_token_beyond_the_vocabulary_makes_the_loss_nan(void) {
  fixture f;
  const int32_t labels[12] = {0};
  double loss, normaliser;
  DL_ASSERT_OK(fixture_new(&f, gpt, 1, (int64_t[]){6}, 11, 2));
  dl_net_init(f.net, 1, f.weights);
  const dl_pass pass = {.training = true};
  memset(dl_net_input(f.net), 0, 12 * sizeof(float));
  dl_net_forward(f.net, f.weights, 2, &pass);
  dl_net_loss(f.net, 2, labels, NULL, NULL, &loss, &normaliser);
  CU_ASSERT(isfinite(loss) && normaliser == 12);
  dl_net_input(f.net)[3] = 11;
  dl_net_forward(f.net, f.weights, 2, &pass);
  dl_net_loss(f.net, 2, labels, NULL, NULL, &loss, &normaliser);
  CU_ASSERT(isnan(loss));
  dl_net_backward(f.net, f.weights, 2, &pass, f.gradients); /* and touches no memory of others */
  fixture_clear(&f);
}

static void test_a_batch_of_padding_alone_attends_to_nothing(void) {
  fixture f;
  DL_ASSERT_OK(
      fixture_new(&f,
                  "task: regression\nmodel: [{embedding: {vocabulary: 4, size: 6}}, {attention: {heads: 2, padding: "
                  "2, from: [layers.0, input]}}]",
                  1, (int64_t[]){5}, 30, 1));
  dl_net_init(f.net, 1, f.weights);
  const dl_pass pass = {.training = false};
  for (int i = 0; i < 5; i++) dl_net_input(f.net)[i] = 2;
  const float *y = dl_net_forward(f.net, f.weights, 1, &pass);
  for (int i = 0; i < 30; i++) CU_ASSERT_EQUAL(y[i], 0); /* biases start at 0 */
  fixture_clear(&f);
}

static const char *const mixed =
    "task: language_model\n"
    "model: [{embedding: {vocabulary: 5, size: 6}}, positional_embedding, {residual: [layernorm, {attention: 2}]}, "
    "{gru: {units: 5, bidirectional: true, return_sequences: true}}, {lstm: {units: 4, layers: 2, return_sequences: "
    "true}}, "
    "{rnn: {units: 4, return_sequences: true}}, {residual: {layers: [{dense: 7}, silu], shortcut: {dense: 7}}}, elu, "
    "{dense: 5}]";

static void run_mixed(fixture *f, int64_t n, uint32_t seed, double *loss) {
  int32_t label[4 * 9];
  double normaliser;
  lcg g = {seed};
  const dl_pass pass = {.training = true};
  for (int i = 0; i < n * 9; i++) dl_net_input(f->net)[i] = (float)lcg_class(&g, 5);
  for (int i = 0; i < n * 9; i++) label[i] = lcg_class(&g, 5);
  dl_net_forward(f->net, f->weights, n, &pass);
  dl_net_loss(f->net, n, label, NULL, NULL, loss, &normaliser);
  dl_net_backward(f->net, f->weights, n, &pass, f->gradients);
}

static void test_passes_repeat_bit_for_bit_after_passes_of_other_sizes(void) {
  fixture f;
  double loss, again;
  DL_ASSERT_OK(fixture_new(&f, mixed, 1, (int64_t[]){9}, 5, 4));
  dl_net_init(f.net, 3, f.weights);
  float *kept = calloc(f.count, sizeof *kept);
  for (int64_t n = 1; n <= 4; n++) {
    run_mixed(&f, n, 5, &loss);
    memcpy(kept, f.gradients, f.count * sizeof *kept);
    run_mixed(&f, 5 - n, 6, &again);
    run_mixed(&f, 4, 7, &again);
    run_mixed(&f, n, 5, &again);
    CU_ASSERT(loss == again);
    CU_ASSERT(!memcmp(kept, f.gradients, f.count * sizeof *kept));
  }
  free(kept);
  fixture_clear(&f);
}

/* The loss along the gradient, by central differences: whatever the layers are, both must tell the same. */
static void test_the_gradient_is_the_slope_of_the_loss(void) {
  fixture f;
  double up, down, slope = 0, loss;
  DL_ASSERT_OK(fixture_new(&f, mixed, 1, (int64_t[]){9}, 5, 4));
  dl_net_init(f.net, 3, f.weights);
  run_mixed(&f, 3, 5, &loss);
  float *direction = calloc(f.count, sizeof *direction), *weights = calloc(f.count, sizeof *weights);
  double norm = 0;
  for (size_t i = 0; i < f.count; i++) norm += (double)f.gradients[i] * (double)f.gradients[i];
  memcpy(weights, f.weights, f.count * sizeof *weights);
  for (size_t i = 0; i < f.count; i++) direction[i] = (float)((double)f.gradients[i] / sqrt(norm));
  for (size_t i = 0; i < f.count; i++) slope += (double)f.gradients[i] * (double)direction[i];
  const float h = 0x1p-7f;
  for (size_t i = 0; i < f.count; i++) f.weights[i] = weights[i] + h * direction[i];
  run_mixed(&f, 3, 5, &up);
  for (size_t i = 0; i < f.count; i++) f.weights[i] = weights[i] - h * direction[i];
  run_mixed(&f, 3, 5, &down);
  CU_ASSERT_DOUBLE_EQUAL((up - down) / (2 * (double)h), slope, 2e-3 * slope);
  free(direction);
  free(weights);
  fixture_clear(&f);
}

#if COUNTS_ALLOCATIONS
static void test_no_pass_allocates(void) {
  fixture f;
  double loss;
  const long before = allocations;
  DL_ASSERT_OK(fixture_new(&f, mixed, 1, (int64_t[]){9}, 5, 4));
  CU_ASSERT(allocations > before + 10); /* the counter counts */
  dl_net_init(f.net, 3, f.weights);
  const long built = allocations;
  for (uint32_t step = 0; step < 3; step++) run_mixed(&f, 4 - step, step, &loss);
  dl_net_scores(f.net, 2);
  CU_ASSERT_EQUAL(allocations, built);
  fixture_clear(&f);
}
#endif

/* ---- wrong models ---- */

static void test_wrong_sequence_models_are_told_at_their_line_with_what_to_do(void) {
  static const struct {
    const char *yaml, *message;
  } rows[] = {
      {"model:\n  - lstm: 4\n  - dense: 2\n",
       "c.yaml:2:5: layers.0 (lstm): it takes a sequence of rows (steps, features), but what it reads has the shape "
       "(6) "
       "(put `embedding` before it for tokens, or `reshape: [steps, features]`)"},
      {"model:\n  - reshape: [2, 3]\n  - lstm: {units: 4, layer: 2}\n  - dense: 2\n",
       "c.yaml:3:22: unknown key 'layer' in lstm (did you mean 'layers'?)"},
      {"model:\n  - reshape: [2, 3]\n  - lstm: {units: 4, layers: 9}\n  - dense: 2\n",
       "c.yaml:3:30: layers must lie within 1 and 8, not 9"},
      {"model:\n  - reshape: [4, -1]\n  - flatten\n  - dense: 2\n",
       "c.yaml:2:5: layers.0 (reshape): what it reads has the shape (6) of 6 values, which (4, 1) cannot hold"},
      {"model:\n  - reshape: [-1, -1]\n  - dense: 2\n", "c.yaml:2:19: only one dimension of shape may be -1"},
      {"model:\n  - reshape: [0, 6]\n  - dense: 2\n",
       "c.yaml:2:15: a dimension of shape must be 1 or more, or -1, not 0"},
      {"model:\n  - {embedding: {vocabulary: 4, size: 6}}\n  - attention: 4\n  - dense: 2\n",
       "c.yaml:3:5: layers.1 (attention): 6 features cannot be shared by 4 heads"},
      {"model:\n  - {embedding: {vocabulary: 4, size: 6}}\n  - attention: {heads: 2, padding: 0}\n  - dense: 2\n",
       "c.yaml:3:5: layers.1 (attention): padding needs the tokens as a second input (name them: from: [LAYER, "
       "input])"},
      {"model:\n  - embedding: {vocabulary: 4, size: 6, padding: 4}\n  - dense: 2\n",
       "c.yaml:2:5: layers.0 (embedding): padding is 4, but tokens run from 0 to 3"},
      {"model:\n  - embedding: {size: 6}\n  - dense: 2\n",
       "c.yaml:2:5: embedding: 'vocabulary' is missing (number of tokens: they run from 0 to one less)"},
      {"model:\n  - positional_embedding\n  - dense: 2\n",
       "c.yaml:2:5: layers.0 (positional_embedding): it takes a sequence of rows (steps, features), but what it reads "
       "has "
       "the shape (6) (put `embedding` before it)"},
      {"model:\n  - residual: [{dense: 5}]\n  - dense: 2\n",
       "c.yaml:2:5: layers.0 (residual): its layers end in the shape (5), but its input has (6) (both are added: give "
       "it a "
       "`shortcut:` that ends in the same shape)"},
      {"model:\n  - residual: {layers: [{dense: 5}], shortcut: {dense: 4}}\n  - dense: 2\n",
       "c.yaml:2:5: layers.0 (residual): its layers end in the shape (5), but its shortcut has (4) (both are added: "
       "give "
       "it a `shortcut:` that ends in the same shape)"},
      {"model:\n  - residual: {layers: [{dense: 6}, {densee: 6}]}\n  - dense: 2\n",
       "c.yaml:2:38: unknown layer 'densee' (did you mean 'dense'?)"},
      {"model:\n  - residual: {layers: []}\n  - dense: 2\n", "c.yaml:2:24: layers must be a list of one layer or more"},
      {"model:\n  - residual: {shortcut: {dense: 6}}\n  - dense: 2\n",
       "c.yaml:2:5: residual: 'layers' is missing (a list of layers, the first of which reads what the residual "
       "reads)"},
      {"model:\n  - dense: {units: 4, name: a, from: b}\n  - dense: {units: 2, name: b}\n",
       "c.yaml:2:38: layer 'b' does not stand above: the graph would have a cycle (a layer reads layers that stand "
       "above "
       "it in the list)"},
      {"model:\n  - dense: {units: 2, name: a, from: a}\n",
       "c.yaml:2:38: layer 'a' does not stand above: the graph would have a cycle (a layer reads layers that stand "
       "above "
       "it in the list)"},
      {"model:\n  - embedding: {vocabulary: 4, size: 6}\n  - lstm: {units: 3, return_sequences: true}\n  - dense: 2\n",
       "c.yaml:4:5: layers.2 (dense): a classification ends in one row of logits, but this is (6, 2) (put `flatten` or "
       "`global_avgpool2d` before the last `dense`; recurrent layers without return_sequences)"},
      {"task: language_model\nmodel:\n  - embedding: {vocabulary: 4, size: 6}\n  - lstm: 3\n  - dense: 4\n",
       "c.yaml:5:5: layers.2 (dense): a language model ends in a row of logits for each of the 6 steps, but this is "
       "(4) "
       "(use return_sequences: true in recurrent layers, and a last `dense: VOCABULARY`)"},
      {"task: language_model\nmodel:\n  - embedding: {vocabulary: 4, size: 6}\n  - dense: 1\n",
       "c.yaml:4:5: the model ends in 1 outputs but the data set has 2 tokens (make the last layer `dense: 2`)"},
      {"task: language_model\nmodel:\n  - embedding: {vocabulary: 4, size: 6}\n  - dense: 4\n  - softmax\n",
       "c.yaml:5:5: layers.2 (softmax): a final softmax before cross_entropy is an error: the loss works on logits "
       "(take "
       "the softmax out)"},
      {"task: language_model\nloss: mse\nmodel:\n  - embedding: {vocabulary: 4, size: 6}\n  - dense: 4\n",
       "c.yaml:2:7: loss mse does not fit task language_model (use cross_entropy, or another task)"},
      {"model:\n  - {elu: -1}\n  - dense: 2\n", "c.yaml:2:11: alpha must lie within 0 and 1000000, not -1"},
      {"model:\n  - {gelu: erf}\n  - dense: 2\n", "c.yaml:2:12: approximate must be one of none|tanh, not 'erf'"},
      {"model:\n  - layernorm: {dims: 3}\n  - dense: 2\n",
       "c.yaml:2:5: layers.0 (layernorm): dims is 3, but what it reads has the shape (6)"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    fixture f;
    char got[1400];
    CU_ASSERT_EQUAL(fixture_new(&f, rows[i].yaml, 1, (int64_t[]){6}, 2, 4), DL_ERR_USAGE);
    dl_error_format(dl_error_last(), got, sizeof got);
    CU_ASSERT_STRING_EQUAL(got, rows[i].message);
    if (strcmp(got, rows[i].message)) fprintf(stderr, "%s => %s\n", rows[i].yaml, got);
    fixture_clear(&f);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_outputs_losses_and_gradients_equal_pytorch_on_both_backends),
    DL_TEST(test_tensors_are_named_as_in_pytorch_and_by_their_place),
    DL_TEST(test_trainable_and_lr_scale_of_a_residual_hold_for_the_layers_inside),
    DL_TEST(test_weights_start_from_pytorchs_distributions),
    DL_TEST(test_causal_layers_do_not_see_what_follows),
    DL_TEST(test_a_token_beyond_the_vocabulary_makes_the_loss_nan),
    DL_TEST(test_a_batch_of_padding_alone_attends_to_nothing),
    DL_TEST(test_passes_repeat_bit_for_bit_after_passes_of_other_sizes),
    DL_TEST(test_the_gradient_is_the_slope_of_the_loss),
#if COUNTS_ALLOCATIONS
    DL_TEST(test_no_pass_allocates),
#endif
    DL_TEST(test_wrong_sequence_models_are_told_at_their_line_with_what_to_do),
};
DL_TEST_MAIN("seq", tests)

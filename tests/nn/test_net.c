/* test_net.c - what a network is built to: names, layout, initial weights, scores, errors at their place, no
 * allocation. */
#include <pthread.h>

#include "allocations.h"
#include "nn/layer.h"
#include "nn/loss.h"
#include "nn_fixture.h"

static void run_pass(fixture *f, int64_t n, uint32_t step, double *loss) {
  int32_t label[16];
  double normaliser;
  const dl_pass pass = {.training = true, .seed = 3, .step = step};
  for (int64_t i = 0; i < n; i++) label[i] = (int32_t)(i % dl_net_outputs(f->net));
  dl_net_forward(f->net, f->weights, n, &pass);
  dl_net_loss(f->net, n, label, NULL, NULL, loss, &normaliser);
  dl_net_backward(f->net, f->weights, n, &pass, f->gradients);
}

static void fill_input(fixture *f, int64_t count, uint32_t seed) {
  lcg g = {seed};
  for (int64_t i = 0; i < count; i++) dl_net_input(f->net)[i] = lcg_value(&g);
}

static const char mixed[] =
    "model:\n"
    "  - flatten\n"
    "  - {dense: {units: 33, name: wide}}\n"
    "  - relu\n"
    "  - {dropout: 0.3}\n"
    "  - {dense: {units: 33, bias: false, lr_scale: 0.5}}\n"
    "  - {tanh: {name: t}}\n"
    "  - {add: {from: [t, wide]}}\n"
    "  - {dense: {units: 5, trainable: false}}\n"
    "  - {dense: 3}\n";

#if COUNTS_ALLOCATIONS
static void test_no_pass_allocates(void) {
  fixture f;
  double loss;
  const int64_t shape[] = {1, 4, 5};
  const long before = allocations;
  DL_ASSERT_OK(fixture_new(&f, mixed, 3, shape, 3, 8));
  CU_ASSERT(allocations > before + 10); /* the counter counts */
  dl_net_init(f.net, 1, f.weights);
  fill_input(&f, 8 * 20, 1);
  const long built = allocations;
  for (uint32_t step = 0; step < 3; step++) run_pass(&f, 8 - step, step, &loss);
  dl_net_scores(f.net, 6);
  CU_ASSERT_EQUAL(allocations, built);
  fixture_clear(&f);
}
#endif

/* ---- names and layout ---- */

static void test_tensors_are_named_by_place_or_name_and_lie_padded_in_layer_order(void) {
  static const struct {
    const char *name;
    int dims;
    int64_t shape[2];
    bool trainable, decays;
    float lr_scale;
  } want[] = {
      {"wide.weight", 2, {33, 20}, true, true, 1},        {"wide.bias", 1, {33}, true, false, 1},
      {"layers.4.weight", 2, {33, 33}, true, true, 0.5f}, {"layers.7.weight", 2, {5, 33}, false, true, 1},
      {"layers.7.bias", 1, {5}, false, false, 1},         {"layers.8.weight", 2, {3, 5}, true, true, 1},
      {"layers.8.bias", 1, {3}, true, false, 1},
  };
  fixture f;
  DL_ASSERT_OK(fixture_new(&f, mixed, 3, (int64_t[]){1, 4, 5}, 3, 8));
  CU_ASSERT_EQUAL_FATAL(f.n_tensors, 7);
  size_t end = 0;
  int64_t parameters = 0;
  for (int t = 0; t < 7; t++) {
    const dl_tensor *tensor = &f.tensors[t];
    CU_ASSERT_STRING_EQUAL(tensor->name, want[t].name);
    CU_ASSERT_EQUAL(tensor->dims, want[t].dims);
    for (int d = 0; d < want[t].dims; d++) CU_ASSERT_EQUAL(tensor->shape[d], want[t].shape[d]);
    CU_ASSERT_EQUAL(tensor->trainable, want[t].trainable);
    CU_ASSERT_EQUAL(tensor->decays, want[t].decays);
    CU_ASSERT_EQUAL(tensor->lr_scale, want[t].lr_scale);
    CU_ASSERT_EQUAL(tensor->offset, (end + 15) / 16 * 16);
    end = tensor->offset + tensor->count;
    parameters += (int64_t)tensor->count;
  }
  CU_ASSERT_EQUAL(f.count, (end + 15) / 16 * 16);
  CU_ASSERT_EQUAL(dl_net_parameters(f.net), parameters);
  CU_ASSERT_EQUAL(dl_net_outputs(f.net), 3);
  CU_ASSERT_EQUAL(dl_net_multiply_adds(f.net), 33 * 20 + 33 * 33 + 5 * 33 + 3 * 5);
  CU_ASSERT(dl_net_bytes(f.net) >= 8 * sizeof(float) * (20 + 33 + 33 + 33 + 33 + 5 + 3));
  fixture_clear(&f);
}

static void test_backward_writes_all_gradients_and_leaves_the_gaps_alone(void) {
  fixture f;
  double loss;
  DL_ASSERT_OK(fixture_new(&f, mixed, 3, (int64_t[]){1, 4, 5}, 3, 8));
  dl_net_init(f.net, 1, f.weights);
  fill_input(&f, 8 * 20, 1);
  for (size_t i = 0; i < f.count; i++) f.gradients[i] = 12345;
  run_pass(&f, 8, 0, &loss);
  size_t end = 0;
  for (int t = 0; t <= f.n_tensors; t++) {
    const size_t next = t < f.n_tensors ? f.tensors[t].offset : f.count;
    for (size_t i = end; i < next; i++) CU_ASSERT_EQUAL(f.gradients[i], 12345);
    for (size_t i = next; t < f.n_tensors && i < next + f.tensors[t].count; i++)
      CU_ASSERT_NOT_EQUAL(f.gradients[i], 12345);
    if (t < f.n_tensors) end = next + f.tensors[t].count;
  }
  fixture_clear(&f);
}

static void test_passes_repeat_bit_for_bit_after_other_passes(void) {
  fixture f;
  double first, again;
  DL_ASSERT_OK(fixture_new(&f, mixed, 3, (int64_t[]){1, 4, 5}, 3, 8));
  float *kept = dl_calloc(f.count, sizeof(float));
  dl_net_init(f.net, 1, f.weights);
  fill_input(&f, 8 * 20, 1);
  run_pass(&f, 7, 5, &first);
  memcpy(kept, f.gradients, f.count * sizeof(float));
  fill_input(&f, 8 * 20, 2);
  run_pass(&f, 8, 6, &again);
  CU_ASSERT_NOT_EQUAL(first, again);
  fill_input(&f, 8 * 20, 1);
  run_pass(&f, 7, 5, &again);
  CU_ASSERT_EQUAL(first, again);
  CU_ASSERT(!memcmp(kept, f.gradients, f.count * sizeof(float)));
  free(kept);
  fixture_clear(&f);
}

typedef struct racer {
  pthread_t thread;
  const char *yaml;
  fixture f;
  dl_status status;
  double loss;
} racer;

static void *race(void *context) {
  racer *r = context;
  r->status = fixture_new(&r->f, r->yaml, 1, (int64_t[]){301}, 10, 16);
  if (r->status != DL_OK) return NULL;
  dl_net_init(r->f.net, 5, r->f.weights);
  fill_input(&r->f, 16 * 301, 9);
  for (uint32_t step = 0; step < 20; step++) run_pass(&r->f, 16, step, &r->loss);
  return NULL;
}

static void test_threads_with_networks_of_their_own_get_the_same_bits(void) {
  static const char *const yaml[] = {
      "model: [{dense: 130}, relu, {dropout: 0.2}, {dense: 10}]\ncompute: {backend: openblas}",
      "model: [{dense: 130}, relu, {dropout: 0.2}, {dense: 10}]\ncompute: {backend: auto}"};
  for (int k = 0; k < 2; k++) {
    racer alone = {.yaml = yaml[k]}, racers[4];
    race(&alone);
    DL_ASSERT_OK(alone.status);
    for (int i = 0; i < 4; i++) {
      racers[i] = (racer){.yaml = yaml[k]};
      CU_ASSERT_EQUAL_FATAL(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
      pthread_join(racers[i].thread, NULL);
      CU_ASSERT(racers[i].status == DL_OK && racers[i].loss == alone.loss);
      CU_ASSERT(!memcmp(racers[i].f.gradients, alone.f.gradients, alone.f.count * sizeof(float)));
      fixture_clear(&racers[i].f);
    }
    fixture_clear(&alone.f);
  }
}

/* The form of a product may change with the number of rows (16 rows have one of their own): the values may not. */
static void test_a_wide_layer_equals_float64_at_any_number_of_rows(void) {
  static const char *const yaml[] = {"model: [{dense: 130}]\ncompute: {backend: openblas}",
                                     "model: [{dense: 130}]\ncompute: {backend: auto}",
                                     "model: [{dense: {units: 130, bias: false}}]\ncompute: {backend: auto}"};
  for (int k = 0; k < 3; k++) {
    fixture f;
    const dl_pass pass = {0};
    DL_ASSERT_OK(fixture_new(&f, yaml[k], 1, (int64_t[]){301}, 130, 48));
    dl_net_init(f.net, 5, f.weights);
    fill_input(&f, 48 * 301, 9);
    for (int64_t n = 1; n <= 48; n++) {
      const float *y = dl_net_forward(f.net, f.weights, n, &pass), *x = dl_net_input(f.net);
      double worst = 0;
      for (int64_t r = 0; r < n; r++)
        for (int64_t u = 0; u < 130; u++) {
          double sum = f.n_tensors > 1 ? (double)f.weights[f.tensors[1].offset + (size_t)u] : 0;
          for (int64_t i = 0; i < 301; i++) sum += (double)x[r * 301 + i] * (double)f.weights[u * 301 + i];
          if (!(fabs((double)y[r * 130 + u] - sum) <= worst)) worst = fabs((double)y[r * 130 + u] - sum);
        }
      CU_ASSERT(worst < 2e-6);
    }
    fixture_clear(&f);
  }
}

/* ---- initial weights ---- */

static void test_dense_starts_uniform_within_one_over_the_root_of_its_inputs(void) {
  fixture f;
  DL_ASSERT_OK(fixture_new(&f, "model: [{dense: 300}, relu, {dense: 10}]", 1, (int64_t[]){100}, 10, 1));
  for (size_t i = 0; i < f.count; i++) f.weights[i] = NAN;
  dl_net_init(f.net, 42, f.weights);
  const double bound[] = {0.1, 0.1, 1 / sqrt(300), 1 / sqrt(300)};
  for (int t = 0; t < 4; t++) {
    const float *w = f.weights + f.tensors[t].offset;
    const double n = (double)f.tensors[t].count;
    double sum = 0, squares = 0, most = 0;
    for (size_t i = 0; i < f.tensors[t].count; i++) {
      sum += (double)w[i];
      squares += (double)w[i] * (double)w[i];
      most = fmax(most, fabs((double)w[i]));
    }
    CU_ASSERT(most <= bound[t] * (1 + 1e-7) && most > bound[t] * (t == 3 ? 0.5 : 0.9));
    CU_ASSERT(fabs(sum / n) < 5 * bound[t] / sqrt(3 * n)); /* five standard errors */
    CU_ASSERT(fabs(squares / n / (bound[t] * bound[t] / 3) - 1) < 5 * 0.9 / sqrt(n));
  }
  size_t end = f.tensors[3].offset + 10;
  for (size_t i = end; i < f.count; i++) CU_ASSERT_EQUAL(f.weights[i], 0);
  fixture_clear(&f);
}

static void test_initial_weights_depend_on_the_seed_and_the_layers_place(void) {
  fixture a, b;
  DL_ASSERT_OK(fixture_new(&a, "model: [{dense: 20}, relu, {dense: 20}]", 1, (int64_t[]){20}, 20, 1));
  DL_ASSERT_OK(fixture_new(&b, "model: [{dense: 20}, relu, {dense: 20}, tanh, {dense: 2}]", 1, (int64_t[]){20}, 2, 9));
  dl_net_init(a.net, 42, a.weights);
  dl_net_init(b.net, 42, b.weights);
  CU_ASSERT(!memcmp(a.weights, b.weights, a.count * sizeof(float)));
  CU_ASSERT(memcmp(a.weights, a.weights + a.tensors[2].offset, 400 * sizeof(float)) != 0);
  CU_ASSERT(memcmp(a.weights, a.weights + a.tensors[1].offset, 20 * sizeof(float)) != 0); /* nor is the bias a copy */
  dl_net_init(b.net, 43, b.weights);
  CU_ASSERT(memcmp(a.weights, b.weights, 20 * sizeof(float)) != 0);
  fixture_clear(&a);
  fixture_clear(&b);
}

static void test_init_takes_the_distributions_of_the_literature(void) {
  static const struct {
    const char *init;
    double variance, bound;
  } rows[] = {{"kaiming_uniform", 2.0 / 100, 0.2449490},
              {"kaiming_normal", 2.0 / 100, 1},
              {"xavier_uniform", 2.0 / 400, 0.1224745},
              {"xavier_normal", 2.0 / 400, 1},
              {"zeros", 0, 0}};
  for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
    char yaml[128];
    fixture f;
    snprintf(yaml, sizeof yaml, "model: [{dense: {units: 300, init: %s}}]", rows[r].init);
    DL_ASSERT_OK(fixture_new(&f, yaml, 1, (int64_t[]){100}, 300, 1));
    dl_net_init(f.net, 1, f.weights);
    double squares = 0, most = 0, bias = 0;
    for (int i = 0; i < 30000; i++) {
      squares += (double)f.weights[i] * (double)f.weights[i];
      most = fmax(most, fabs((double)f.weights[i]));
    }
    for (size_t i = 0; i < 300; i++) bias = fmax(bias, fabs((double)f.weights[f.tensors[1].offset + i]));
    CU_ASSERT_DOUBLE_EQUAL(squares / 30000, rows[r].variance, 0.05 * rows[r].variance);
    CU_ASSERT(most <= rows[r].bound);
    CU_ASSERT(bias > 0.09 && bias <= 0.1);
    fixture_clear(&f);
  }
}

/* ---- scores ---- */

static void test_scores_are_probabilities_by_task(void) {
  static const struct {
    const char *yaml;
    int kind;
  } rows[] = {{"model: [{dense: 3}]", 0},
              {"task: multilabel\nmodel: [{dense: 3}]", 1},
              {"task: binary\nmodel: [{dense: 3}]", 1},
              {"task: regression\nmodel: [{dense: 3}]", 2}};
  for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
    fixture f;
    float logits[12];
    const dl_pass pass = {0};
    DL_ASSERT_OK(fixture_new(&f, rows[r].yaml, 1, (int64_t[]){5}, 3, 4));
    dl_net_init(f.net, 1, f.weights);
    fill_input(&f, 20, 3);
    memcpy(logits, dl_net_forward(f.net, f.weights, 4, &pass), sizeof logits);
    for (int twice = 0; twice < 2; twice++) {
      const float *scores = dl_net_scores(f.net, 4);
      for (int i = 0; i < 12; i++) {
        double sum = 0;
        for (int j = 0; j < 3; j++) sum += exp((double)logits[i / 3 * 3 + j]);
        const double x = (double)logits[i];
        const double want[] = {exp(x) / sum, 1 / (1 + exp(-x)), x};
        CU_ASSERT_DOUBLE_EQUAL((double)scores[i], want[rows[r].kind], 3e-7);
      }
    }
    fixture_clear(&f);
  }
}

/* ---- what is put into the configuration, and what is shown ---- */

static void test_the_effective_configuration_holds_defaults_and_builds_the_same_network(void) {
  fixture f, g;
  char *text = NULL, *again = NULL;
  DL_ASSERT_OK(fixture_new(&f, mixed, 3, (int64_t[]){1, 4, 5}, 3, 8));
  DL_ASSERT_OK(dl_config_write(f.config, &text));
  CU_ASSERT_STRING_EQUAL(dl_node_find(f.config->document.root, "loss.name")->text, "cross_entropy");
  CU_ASSERT_STRING_EQUAL(dl_node_find(f.config->document.root, "loss.label_smoothing")->text, "0");
  CU_ASSERT_STRING_EQUAL(dl_node_find(f.config->document.root, "model.1.dense.bias")->text, "true");
  CU_ASSERT_STRING_EQUAL(dl_node_find(f.config->document.root, "model.8.dense.units")->text, "3");
  DL_ASSERT_OK(fixture_new(&g, text, 3, (int64_t[]){1, 4, 5}, 3, 8));
  DL_ASSERT_OK(dl_config_write(g.config, &again));
  CU_ASSERT_STRING_EQUAL(text, again);
  CU_ASSERT_EQUAL(f.n_tensors, g.n_tensors);
  CU_ASSERT(!memcmp(f.tensors, g.tensors, (size_t)f.n_tensors * sizeof *f.tensors));
  /* a second network from the same configuration */
  dl_net *second = NULL;
  const dl_net_spec spec = {.config = f.config, .x_dims = 3, .x_shape = {1, 4, 5}, .max_batch = 2};
  DL_ASSERT_OK(dl_net_new(&spec, &second));
  CU_ASSERT_EQUAL(dl_net_buffer_count(second), f.count);
  dl_net_destroy(&second);
  free(text);
  free(again);
  fixture_clear(&f);
  fixture_clear(&g);
}

static void test_the_summary_is_a_table_of_the_layers(void) {
  static const char want[] =
      "layer     kind                output       parameters   multiply-adds      memory\n"
      "input                         (1, 4, 5)\n"
      "layers.0  flatten             (20)                  0               0         0 B\n"
      "a         dense               (6)                 126             120        48 B\n"
      "layers.2  dense (frozen)      (6)                  42              36        48 B\n"
      "layers.3  add <- a, layers.2  (6)                   0               0        24 B\n"
      "total                                             168             156       640 B\n"
      "multiply-adds: of one sample, forward. memory: of a member that works on 1 sample at a time; what lies in a "
      "layer's buffer without copy counts 0; the total has gradients and scratch too\n";
  fixture f;
  char *text = NULL;
  DL_ASSERT_OK(fixture_new(&f,
                           "model: [flatten, {dense: {units: 6, name: a}}, {dense: {units: 6, trainable: false}}, "
                           "{add: {from: [a, layers.2]}}]",
                           3, (int64_t[]){1, 4, 5}, 6, 1));
  DL_ASSERT_OK(dl_net_summary(f.net, &text));
  CU_ASSERT_STRING_EQUAL(text, want);
  free(text);
  fixture_clear(&f);
}

static void test_every_layer_and_loss_in_the_tables_is_whole(void) {
  int n, n_losses;
  const dl_layer_kind *const *kinds = dl_layer_kinds(&n);
  for (int i = 0; i < n; i++) {
    CU_ASSERT(kinds[i]->name && kinds[i]->help && kinds[i]->setup && kinds[i]->forward && kinds[i]->backward);
    CU_ASSERT_PTR_EQUAL(dl_layer_kind_find(kinds[i]->name), kinds[i]);
    for (int k = 0; k < kinds[i]->n_options; k++) CU_ASSERT(kinds[i]->options[k].key && kinds[i]->options[k].help);
  }
  const dl_loss *losses = dl_losses(&n_losses);
  for (int i = 0; i < n_losses; i++) {
    CU_ASSERT(losses[i].name && losses[i].help && losses[i].compute && losses[i].tasks);
    CU_ASSERT_PTR_EQUAL(dl_loss_find(losses[i].name), &losses[i]);
  }
  CU_ASSERT_PTR_NULL(dl_layer_kind_find("no_such_layer"));
  CU_ASSERT_PTR_NULL(dl_loss_find("no_such_loss"));
}

/* ---- errors, where they stand ---- */

static void test_wrong_models_are_told_at_their_line_with_what_to_do(void) {
  static const struct {
    const char *yaml;
    int dims;
    int64_t outputs;
    const char *message;
  } rows[] = {
      {"model:\n  - dense: 9\n", 1, 10,
       "c.yaml:2:5: the model ends in 9 outputs but the data set has 10 classes (make the last layer `dense: 10`)"},
      {"model:\n  - dense: 1\n", 1, 10,
       "c.yaml:2:5: the model ends in 1 output but the data set has 10 classes (make the last layer `dense: 10`)"},
      {"task: regression\nmodel: [{dense: 2}]\n", 1, 3,
       "c.yaml:2:10: the model ends in 2 outputs but the data set has 3 values of y a sample (make the last layer "
       "`dense: 3`)"},
      {"model:\n  - dense: 10\n", 3, 10,
       "c.yaml:2:5: layers.0 (dense): it takes samples of one dimension, but what it reads has the shape (1, 8, 8) "
       "(put `flatten` before it)"},
      {"model:\n  - flaten\n  - dense: 10\n", 1, 10, "c.yaml:2:5: unknown layer 'flaten' (did you mean 'flatten'?)"},
      {"model:\n  - {dens: 10}\n", 1, 10, "c.yaml:2:6: unknown layer 'dens' (did you mean 'dense'?)"},
      {"model:\n  - {linear: 10}\n", 1, 10, "c.yaml:2:6: unknown layer 'linear' (did you mean 'dense'?)"},
      {"model:\n  - {dense: {units: 10, bais: false}}\n", 1, 10,
       "c.yaml:2:25: unknown key 'bais' in dense (did you mean 'bias'?)"},
      {"model:\n  - dense\n", 1, 10, "c.yaml:2:5: dense: 'units' is missing (number of outputs)"},
      {"model:\n  - {dense: ten}\n", 1, 10, "c.yaml:2:13: units must be a whole number, not 'ten'"},
      {"model:\n  - {dense: 0}\n", 1, 10, "c.yaml:2:13: units must lie within 1 and 16777216, not 0"},
      {"model:\n  - {relu: 3}\n", 1, 10, "c.yaml:2:12: relu takes no single value, but '3'"},
      {"model:\n  - dense: 10\n  - softmax\n", 1, 10,
       "c.yaml:3:5: layers.1 (softmax): a final softmax before cross_entropy is an error: the loss works on logits "
       "(take the softmax out)"},
      {"model:\n  - dense: 10\n  - softmax\n  - flatten\n", 1, 10,
       "c.yaml:3:5: layers.1 (softmax): a final softmax before cross_entropy is an error: the loss works on logits "
       "(take the softmax out)"},
      {"task: binary\nmodel: [{dense: 1}, sigmoid]\n", 1, 1,
       "c.yaml:2:21: layers.1 (sigmoid): a final sigmoid before bce is an error: the loss works on logits (take the "
       "sigmoid out)"},
      {"task: binary\nloss: mse\nmodel: [{dense: 1}]\n", 1, 1,
       "c.yaml:2:7: loss mse does not fit task binary (use bce, or another task)"},
      {"loss: cros_entropy\nmodel: [{dense: 10}]\n", 1, 10,
       "c.yaml:1:7: unknown loss 'cros_entropy' (did you mean 'cross_entropy'?)"},
      {"loss: {name: cross_entropy, label_smoothing: 2}\nmodel: [{dense: 10}]\n", 1, 10,
       "c.yaml:1:46: label_smoothing must lie within 0 and 1, not 2"},
      {"loss: {name: cross_entropy, delta: 2}\nmodel: [{dense: 10}]\n", 1, 10,
       "c.yaml:1:29: unknown key 'delta' in cross_entropy (known here: name, label_smoothing, class_weights, "
       "ignore_index)"},
      {"model: [{dropout: 1.5}, {dense: 10}]\n", 1, 10, "c.yaml:1:19: rate must lie within 0 and 1, not 1.5"},
      {"model: [relu, flatten]\n", 1, 10,
       "c.yaml:1:1: the model has no weights to train (add a layer such as `dense: 10`)"},
      {"model: []\n", 1, 10, "c.yaml:1:1: the model has no layers (add a layer such as `dense: 10`)"},
      {"model: dense\n", 1, 10, "c.yaml:1:8: model must be a list of layers, not 'dense'"},
      {"model: [[dense, 10]]\n", 1, 10, "c.yaml:1:9: a layer must be a name, or one name with its options, not a list"},
      {"model: [{dense: 10, relu: }]\n", 1, 10,
       "c.yaml:1:9: a layer must be a name, or one name with its options, not a map of several keys (indent the "
       "options below the name)"},
      {"model: [{dense: {units: 10, name: a}}, {dense: {units: 10, name: a}}]\n", 1, 10,
       "c.yaml:1:66: two layers are called 'a'"},
      {"model: [{dense: {units: 10, name: input}}]\n", 1, 10,
       "c.yaml:1:35: a layer cannot be called 'input': that is the network's input"},
      {"model: [{dense: {units: 4, name: first}}, {dense: {units: 10, from: frist}}]\n", 1, 10,
       "c.yaml:1:69: no layer above is called 'frist' (did you mean 'first'?)"},
      {"model: [{dense: 4}, {dense: {units: 10, from: input}}]\n", 1, 10,
       "c.yaml:1:10: layers.0 (dense): no other layer reads its output"},
      {"model: [{dense: {units: 4, name: a}}, {dense: 5}, {add: {from: [a, layers.1]}}, {dense: 10}]\n", 1, 10,
       "c.yaml:1:52: layers.2 (add): it adds inputs of one shape, but its first input has the shape (4) and input 2 "
       "has (5)"},
      {"model: [{dense: {units: 4, name: a}}, {add: {from: a}}, {dense: 10}]\n", 1, 10,
       "c.yaml:1:40: layers.1 (add): it needs two inputs or more (name them: {add: {from: [a, b]}})"},
      {"model: [{dense: {units: 4, name: a}}, {relu: {from: [a, input]}}, {dense: 10}]\n", 1, 10,
       "c.yaml:1:40: layers.1 (relu): it reads one input, not 2"},
      {"model: [{dense: 4}, {embedding: {vocabulary: 10, size: 3}}, flatten, {dense: 10}]\n", 1, 10,
       "c.yaml:1:22: layers.1 (embedding): it reads tokens, which only the network's input holds, but here the output "
       "of layers.0 (dense) (put it first, or behind `flatten` or `reshape` alone, or let it read them: from: input)"},
      {"model: [{dense: {units: 10, lr_scale: -1}}]\n", 1, 10,
       "c.yaml:1:39: lr_scale must lie within 0 and 1000000, not -1"},
      {"model: [{dense: {units: 10, init: orthogonal}}]\n", 1, 10,
       "c.yaml:1:35: init must be one of default|kaiming_uniform|kaiming_normal|xavier_uniform|xavier_normal|zeros, "
       "not "
       "'orthogonal'"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    fixture f;
    char got[1400];
    const dl_status status = fixture_new(&f, rows[i].yaml, rows[i].dims, (int64_t[]){1, 8, 8}, rows[i].outputs, 4);
    CU_ASSERT_EQUAL(status, DL_ERR_USAGE);
    CU_ASSERT_PTR_NULL(f.net);
    dl_error_format(dl_error_last(), got, sizeof got);
    CU_ASSERT_STRING_EQUAL(got, rows[i].message);
    if (strcmp(got, rows[i].message)) fprintf(stderr, "%s => %s\n", rows[i].yaml, got);
    fixture_clear(&f);
  }
}

static void test_a_workspace_larger_than_allowed_is_refused_with_the_layer_that_takes_most(void) {
  static const char yaml[] = "model: [flatten, {dense: {units: 3000, name: wide}}, {dense: 10}]\n";
  fixture f = {0};
  char got[600];
  CU_ASSERT_EQUAL_FATAL(dl_config_parse(yaml, strlen(yaml), "c.yaml", NULL, 0, &f.config), DL_OK);
  const dl_net_spec spec = {
      .config = f.config, .x_dims = 3, .x_shape = {1, 4, 5}, .max_batch = 100, .most_bytes = 1200000};
  CU_ASSERT_EQUAL(dl_net_new(&spec, &f.net), DL_ERR_NOMEM);
  CU_ASSERT_PTR_NULL(f.net);
  dl_error_format(dl_error_last(), got, sizeof got);
  CU_ASSERT_PTR_NOT_NULL(strstr(got, "a pass of 100 samples takes "));
  CU_ASSERT_PTR_NOT_NULL(strstr(got, " for wide (dense); a member has 0.0 GB"));
  fixture_clear(&f);
}

static const dl_test tests[] = {
#if COUNTS_ALLOCATIONS
    DL_TEST(test_no_pass_allocates),
#endif
    DL_TEST(test_tensors_are_named_by_place_or_name_and_lie_padded_in_layer_order),
    DL_TEST(test_backward_writes_all_gradients_and_leaves_the_gaps_alone),
    DL_TEST(test_passes_repeat_bit_for_bit_after_other_passes),
    DL_TEST(test_threads_with_networks_of_their_own_get_the_same_bits),
    DL_TEST(test_a_wide_layer_equals_float64_at_any_number_of_rows),
    DL_TEST(test_dense_starts_uniform_within_one_over_the_root_of_its_inputs),
    DL_TEST(test_initial_weights_depend_on_the_seed_and_the_layers_place),
    DL_TEST(test_init_takes_the_distributions_of_the_literature),
    DL_TEST(test_scores_are_probabilities_by_task),
    DL_TEST(test_the_effective_configuration_holds_defaults_and_builds_the_same_network),
    DL_TEST(test_the_summary_is_a_table_of_the_layers),
    DL_TEST(test_every_layer_and_loss_in_the_tables_is_whole),
    DL_TEST(test_wrong_models_are_told_at_their_line_with_what_to_do),
    DL_TEST(test_a_workspace_larger_than_allowed_is_refused_with_the_layer_that_takes_most),
};
DL_TEST_MAIN("net", tests)

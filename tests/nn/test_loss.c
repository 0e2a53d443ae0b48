/* Options of cross_entropy against PyTorch 1.13, and what is said of a network whose outputs are not finite. */
#include "golden/loss_golden.h"
#include "nn/loss.h"
#include "nn_fixture.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

typedef struct made_loss {
  dl_config *config;
  const dl_loss *loss;
  dl_arena *arena;
  void *options;
} made_loss;

static dl_status make_loss(const char *yaml, int64_t outputs, const int64_t *counts, int64_t n_counts, made_loss *out) {
  char text[256];
  const char *name, *ignored;
  static const dl_option name_row = {.key = "name", .type = DL_OPTION_STRING, .help = "which loss"};
  *out = (made_loss){.arena = dl_arena_new()};
  snprintf(text, sizeof text, "model: [{dense: 5}]\nloss: %s\n", yaml);
  DL_TRY(dl_config_parse(text, strlen(text), "c.yaml", NULL, 0, &out->config));
  DL_TRY(dl_named_normalise(out->config->loss, "loss", "cross_entropy", &name));
  out->loss = dl_loss_find(name);
  out->options = dl_arena_alloc(out->arena, out->loss->options_size);
  const dl_option_set sets[] = {{&name_row, 1, &ignored}, {out->loss->options, out->loss->n_options, out->options}};
  DL_TRY(dl_options_parse(sets, 2, out->config->loss, name));
  const dl_loss_setup setup = {out->config->loss, outputs, counts, n_counts, out->arena};
  return out->loss->setup(out->options, &setup);
}

static void clear_loss(made_loss *loss) {
  dl_config_destroy(&loss->config);
  dl_arena_destroy(&loss->arena);
}

static void check_case(size_t row) {
  float logits[LOSS_N * LOSS_C], gradient[LOSS_N * LOSS_C];
  int32_t label[LOSS_N];
  double sum, normaliser, only, error = 0, largest = 0;
  made_loss made;
  lcg g = {31};
  for (int i = 0; i < LOSS_N * LOSS_C; i++) logits[i] = 4 * lcg_value(&g);
  for (int i = 0; i < LOSS_N; i++) label[i] = lcg_class(&g, LOSS_C);
  DL_ASSERT_OK(make_loss(loss_golden[row].yaml, LOSS_C, NULL, 0, &made));
  const float *weight = loss_golden[row].by_sample ? loss_sample_weights : NULL;
  made.loss->compute(made.options, LOSS_N, LOSS_C, logits, label, NULL, weight, &sum, &normaliser, gradient);
  CU_ASSERT_DOUBLE_EQUAL(sum / normaliser, loss_golden[row].loss, 3e-7 * loss_golden[row].loss);
  made.loss->compute(made.options, LOSS_N, LOSS_C, logits, label, NULL, weight, &only, &normaliser, NULL);
  CU_ASSERT(only == sum);
  for (int i = 0; i < LOSS_N * LOSS_C; i++) {
    const double d = fabs((double)gradient[i] / normaliser - (double)loss_golden[row].gradient[i]);
    if (!(d <= error)) error = d;
    largest = fmax(largest, fabs((double)loss_golden[row].gradient[i]));
  }
  if (!(error <= 1e-6 * largest)) fprintf(stderr, "%s: %.3g\n", loss_golden[row].yaml, error / largest);
  CU_ASSERT(error <= 1e-6 * largest);
  clear_loss(&made);
}

static void test_cross_entropy_with_each_option_equals_pytorch(void) {
  for (size_t row = 0; row < COUNT(loss_golden); row++) check_case(row);
}

static void test_balanced_weights_make_classes_count_alike_and_stand_in_the_configuration(void) {
  static const int64_t counts[] = {10, 0, 30, 60};
  made_loss made;
  DL_ASSERT_OK(make_loss("{name: cross_entropy, class_weights: balanced}", 5, counts, 4, &made));
  const double expected[] = {100.0 / (3 * 10), 1, 100.0 / (3 * 30), 100.0 / (3 * 60), 1};
  const dl_node *list = dl_node_get(made.config->loss, "class_weights"), *item = list->first;
  CU_ASSERT_EQUAL_FATAL(dl_node_size(list), 5);
  for (int32_t c = 0; c < 5; c++, item = item->next) {
    const float logits[5] = {0};
    double sum, normaliser, written;
    made.loss->compute(made.options, 1, 5, logits, &c, NULL, NULL, &sum, &normaliser, NULL);
    CU_ASSERT_DOUBLE_EQUAL(normaliser, expected[c], 1e-6);
    DL_ASSERT_OK(dl_node_real(item, "weight", &written));
    CU_ASSERT((float)written == (float)normaliser);
  }
  clear_loss(&made);
}

static void test_unfit_class_weights_are_told_at_their_place(void) {
  static const struct {
    const char *yaml, *message;
  } rows[] = {
      {"{name: cross_entropy, class_weights: [1, 2]}",
       "c.yaml:2:44: class_weights has 2 weights, but the model has 5 outputs"},
      {"{name: cross_entropy, class_weights: [1, 2, 3, 4, -5]}",
       "c.yaml:2:57: a class weight must lie within 0 and 1e30, not -5"},
      {"{name: cross_entropy, class_weights: evenly}",
       "c.yaml:2:44: class_weights must be a list of numbers or balanced, not 'evenly'"},
      {"{name: cross_entropy, class_weights: balanced}",
       "c.yaml:2:44: class_weights: balanced needs class labels to count"},
      {"{name: cross_entropy, ignore_index: none}", "c.yaml:2:43: ignore_index must be a whole number, not 'none'"},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    char got[1400];
    made_loss made;
    CU_ASSERT_EQUAL(make_loss(rows[i].yaml, 5, NULL, 0, &made), DL_ERR_USAGE);
    dl_error_format(dl_error_last(), got, sizeof got);
    CU_ASSERT_STRING_EQUAL(got, rows[i].message);
    if (strcmp(got, rows[i].message)) fprintf(stderr, "%s\n", got);
    clear_loss(&made);
  }
}

/* -1 stands for none, whatever is ignored. */
static void test_a_label_that_is_no_class_makes_the_loss_nan_unless_it_is_ignored(void) {
  const float logits[5] = {0};
  static const int32_t labels[] = {-2, 5, -100, -1};
  for (int i = 0; i < 4; i++)
    for (int ignored = 0; ignored < 2; ignored++) {
      char yaml[64];
      double sum, normaliser;
      float gradient[5] = {1, 1, 1, 1, 1};
      made_loss made;
      snprintf(yaml, sizeof yaml, "{name: cross_entropy, ignore_index: %d}", ignored ? labels[i] : 77);
      DL_ASSERT_OK(make_loss(yaml, 5, NULL, 0, &made));
      made.loss->compute(made.options, 1, 5, logits, &labels[i], NULL, NULL, &sum, &normaliser, gradient);
      const bool left_out = ignored || labels[i] == -1;
      CU_ASSERT(left_out ? sum == 0 && normaliser == 0 : isnan(sum));
      for (int c = 0; left_out && c < 5; c++) CU_ASSERT(gradient[c] == 0);
      clear_loss(&made);
    }
}

/* ---- not finite ---- */

static void test_the_first_layer_whose_output_is_not_finite_is_found_though_buffers_are_shared(void) {
  fixture f;
  char text[64];
  const dl_pass pass = {.training = true};
  DL_ASSERT_OK(fixture_new(&f, "model: [{dense: 4}, relu, {dense: {units: 4, name: middle}}, tanh, {dense: 3}]", 1,
                           (int64_t[]){2}, 3, 5));
  if (!f.weights) return;
  lcg g = {5};
  fixture_fill(&f, &g, 1);
  float *x = dl_net_input(f.net);
  for (int i = 0; i < 10; i++) x[i] = lcg_value(&g);
  CU_ASSERT_EQUAL(dl_net_layers(f.net), 5);
  CU_ASSERT_EQUAL(dl_net_first_not_finite(f.net, f.weights, 5, &pass), 5);
  for (int t = f.n_tensors - 1; t >= 0; t--) { /* from the last layer on, each before all that were spoilt */
    f.weights[f.tensors[t].offset] = t % 2 ? INFINITY : NAN;
    CU_ASSERT_EQUAL(dl_net_tensor_layer(f.net, t), t / 2 * 2);
    CU_ASSERT_EQUAL(dl_net_first_not_finite(f.net, f.weights, 5, &pass), t / 2 * 2);
  }
  CU_ASSERT_STRING_EQUAL(dl_net_layer_text(f.net, 2, text, sizeof text), "middle (dense)");
  CU_ASSERT_STRING_EQUAL(dl_net_layer_text(f.net, 4, text, sizeof text), "layers.4 (dense)");
  x[9] = NAN;
  CU_ASSERT_EQUAL(dl_net_first_not_finite(f.net, f.weights, 4, &pass), 0);
  CU_ASSERT_EQUAL(dl_net_first_not_finite(f.net, f.weights, 5, &pass), -1);
  fixture_clear(&f);
}

static void test_ignored_labels_are_dropped_for_metrics_and_others_stay(void) {
  fixture f;
  int32_t label[4] = {0, 2, -7, 1};
  DL_ASSERT_OK(
      fixture_new(&f, "model: [{dense: 3}]\nloss: {name: cross_entropy, ignore_index: 2}", 1, (int64_t[]){2}, 3, 4));
  if (!f.weights) return;
  dl_net_drop_ignored(f.net, 4, label);
  CU_ASSERT(label[0] == 0 && label[1] == -1 && label[2] == -7 && label[3] == 1);
  fixture_clear(&f);
}

static const dl_test tests[] = {
    DL_TEST(test_cross_entropy_with_each_option_equals_pytorch),
    DL_TEST(test_balanced_weights_make_classes_count_alike_and_stand_in_the_configuration),
    DL_TEST(test_unfit_class_weights_are_told_at_their_place),
    DL_TEST(test_a_label_that_is_no_class_makes_the_loss_nan_unless_it_is_ignored),
    DL_TEST(test_the_first_layer_whose_output_is_not_finite_is_found_though_buffers_are_shared),
    DL_TEST(test_ignored_labels_are_dropped_for_metrics_and_others_stay),
};
DL_TEST_MAIN("losses", tests)

/* Which epoch is the best, by hand: every score in its own direction, a least gain, scores that are not defined, and
 * what a checkpoint keeps of it. */
#include "train/best.h"

#include <math.h>
#include <string.h>

#include "dltest.h"

static dl_config *config_of(const char *text) {
  dl_config *config = NULL;
  DL_ASSERT_OK(dl_config_parse(text, strlen(text), "/c.yaml", NULL, 0, &config));
  CU_ASSERT_PTR_NOT_NULL_FATAL(config);
  return config;
}

/* The epochs that are the best so far, as a text of digits, where epoch k + 1 has score[k] as its `name`, or as its
 * loss; and how many epochs were run. */
static void watch(const char *settings, const char *name, const double *score, int n, char *best, int64_t *ran) {
  char text[256];
  snprintf(text, sizeof text, "model: [{dense: 2}]\n%s", settings);
  dl_model model = {.config = config_of(text)};
  int used = 0;
  for (int k = 0; k < n && !dl_best_is_over(&model); k++) {
    dl_evaluation e = {.loss = score[k]};
    if (strcmp(name, "loss")) e = (dl_evaluation){.loss = 1, .n_metrics = 1, .metrics = {{name, score[k]}}};
    model.at.epoch++;
    model.at.step += 10;
    if (dl_best_observe(&model, &e)) used += snprintf(best + used, 16, "%lld", (long long)model.at.epoch);
    CU_ASSERT(model.best.epoch * 10 == model.best.step);
  }
  best[used] = 0;
  *ran = model.at.epoch;
  dl_config_destroy(&model.config);
}

static void test_each_score_is_better_in_its_own_direction(void) {
  static const struct {
    const char *settings, *name, *falling, *rising;
  } rows[] = {
      {"task: classification", "loss", "125", "1"},
      {"task: regression\ntrain: {monitor: mse}", "mse", "125", "1"},
      {"task: regression\ntrain: {monitor: r2}", "r2", "1", "134"},
      {"task: binary\ntrain: {monitor: log_loss}", "log_loss", "125", "1"},
      {"task: binary\ntrain: {monitor: roc_auc}", "roc_auc", "1", "134"},
      {"task: classification\ntrain: {monitor: macro_f1}", "macro_f1", "1", "134"},
      {"task: language_model\ntrain: {monitor: perplexity}", "perplexity", "125", "1"},
      {"task: language_model\ntrain: {monitor: accuracy}", "accuracy", "1", "134"},
      {"task: multilabel\ntrain: {monitor: micro_f1}", "micro_f1", "1", "134"},
  };
  static const double falling[] = {0.9, 0.8, 0.8, 0.85, 0.7}, rising[] = {0.1, 0.1, 0.3, 0.4, 0.2};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char best[32];
    int64_t ran;
    watch(rows[i].settings, rows[i].name, falling, 5, best, &ran);
    CU_ASSERT_STRING_EQUAL(best, rows[i].falling);
    watch(rows[i].settings, rows[i].name, rising, 5, best, &ran);
    CU_ASSERT_STRING_EQUAL(best, rows[i].rising);
    CU_ASSERT_EQUAL(ran, 5);
  }
}

static void test_patience_counts_epochs_without_enough_gain(void) {
  static const double loss[] = {1, 0.9, 0.85, 0.84, 0.83, 0.82, 0.81, 0.80, 0.79, 0.78};
  char best[32];
  int64_t ran;
  watch("train: {patience: 3}", "loss", loss, 10, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "12345678910");
  CU_ASSERT_EQUAL(ran, 10);
  watch("train: {patience: 5, min_delta: 0.045}", "loss", loss, 10, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "1238");
  CU_ASSERT_EQUAL(ran, 10);
  watch("train: {patience: 4, min_delta: 0.045}", "loss", loss, 10, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "123");
  CU_ASSERT_EQUAL(ran, 7);
  watch("train: {patience: 2, min_delta: 0.2}", "loss", loss, 10, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "1");
  CU_ASSERT_EQUAL(ran, 3);
  watch("train: {patience: 1, epochs: 4}", "loss", loss, 10, best, &ran);
  CU_ASSERT_EQUAL(ran, 4); /* the epochs end first */
}

static void test_a_score_that_is_not_defined_is_never_the_best(void) {
  static const double auc[] = {NAN, 0.5, NAN, 0.6, NAN, NAN, 0.9}, never[] = {NAN, NAN, NAN, NAN};
  char best[32];
  int64_t ran;
  watch("task: binary\ntrain: {monitor: roc_auc, patience: 2}", "roc_auc", auc, 7, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "24");
  CU_ASSERT_EQUAL(ran, 6);
  watch("task: binary\ntrain: {monitor: roc_auc, patience: 3}", "roc_auc", never, 4, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "");
  CU_ASSERT_EQUAL(ran, 3);
}

static void test_an_infinite_score_is_never_the_best(void) {
  static const double mse[] = {INFINITY, 2, INFINITY, 1}, r2[] = {-INFINITY, 0.5, 0.6, INFINITY};
  char best[32];
  int64_t ran;
  watch("task: regression\ntrain: {monitor: mse}", "mse", mse, 4, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "24");
  watch("task: regression\ntrain: {monitor: r2}", "r2", r2, 4, best, &ran);
  CU_ASSERT_STRING_EQUAL(best, "23");
}

static void test_a_state_gives_back_what_it_was_given(void) {
  dl_model model = {.config = config_of("model: [{dense: 2}]\ntrain: {patience: 2, monitor: accuracy}"),
                    .best = {0.1 + 0.2, 7, 700, 1, ""}};
  dl_json *state = dl_json_object();
  dl_json_put(state, "best", dl_best_json(&model));
  dl_model other = {.config = config_of("model: [{dense: 2}]\ntrain: {patience: 5, monitor: accuracy}")};
  DL_ASSERT_OK(dl_best_read(&other, state));
  CU_ASSERT(other.best.score == 0.1 + 0.2 && other.best.epoch == 7 && other.best.step == 700);
  CU_ASSERT_EQUAL(other.best.bad_epochs, 1);
  dl_config_destroy(&other.config);
  other.config = config_of("model: [{dense: 2}]\ntrain: {patience: 5, monitor: loss}"); /* says nothing of that */
  DL_ASSERT_OK(dl_best_read(&other, state));
  CU_ASSERT(!other.best.epoch && !other.best.bad_epochs);
  DL_ASSERT_OK(dl_best_read(&model, NULL)); /* of a version that did not know it */
  CU_ASSERT_EQUAL(model.best.epoch, 0);
  model.best = (dl_best){.bad_epochs = 2}; /* two epochs, and no score yet */
  dl_json_destroy(&state);
  state = dl_json_object();
  dl_json_put(state, "best", dl_best_json(&model));
  model.best = (dl_best){0};
  DL_ASSERT_OK(dl_best_read(&model, state));
  CU_ASSERT(model.best.bad_epochs == 2 && model.best.epoch == 0);
  dl_json_destroy(&state);
  dl_config_destroy(&other.config);
  dl_config_destroy(&model.config);
}

static void test_a_state_that_is_not_sound_is_refused(void) {
  static const char *const bad[] = {
      "{\"best\":{\"monitor\":\"loss\",\"score\":null,\"epoch\":2,\"step\":20,\"bad_epochs\":0}}",
      "{\"best\":{\"monitor\":\"loss\",\"score\":0.5,\"epoch\":2,\"step\":0,\"bad_epochs\":0}}",
      "{\"best\":{\"monitor\":\"loss\",\"score\":0.5,\"epoch\":2,\"step\":20}}",
      "{\"best\":{\"monitor\":\"loss\",\"score\":0.5,\"epoch\":-2,\"step\":20,\"bad_epochs\":1}}",
  };
  dl_model model = {.config = config_of("model: [{dense: 2}]\ntrain: {patience: 2}")};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    dl_json *state = NULL;
    DL_ASSERT_OK(dl_json_parse(bad[i], strlen(bad[i]), "state.json", &state));
    CU_ASSERT_EQUAL(dl_best_read(&model, state), DL_ERR_DATA);
    dl_json_destroy(&state);
  }
  dl_config_destroy(&model.config);
}

int main(void) {
  static const dl_test tests[] = {
      DL_TEST(test_each_score_is_better_in_its_own_direction),
      DL_TEST(test_patience_counts_epochs_without_enough_gain),
      DL_TEST(test_a_score_that_is_not_defined_is_never_the_best),
      DL_TEST(test_an_infinite_score_is_never_the_best),
      DL_TEST(test_a_state_gives_back_what_it_was_given),
      DL_TEST(test_a_state_that_is_not_sound_is_refused),
  };
  return dl_test_main("the best epoch", tests, sizeof tests / sizeof tests[0]);
}

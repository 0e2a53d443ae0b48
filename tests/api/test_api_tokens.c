/* Texts and sequences as arrays of integers, through the public interface alone. */
#include <dldist/dldist.h>

/* The frame of the tests alone. */
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api_fixture.h"

enum { TEXT = 3001, VOCABULARY = 6, WINDOW = 10, WINDOWS = (TEXT - 1) / WINDOW };

/* Each token follows the one before, plus 1; one time in ten it is any of them. */
static void write_text(int32_t *text, int count, uint32_t state) {
  for (int i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    const bool jump = i == 0 || (state >> 16) % 10 == 0;
    text[i] = (int32_t)((jump ? state >> 22 : (uint32_t)text[i - 1] + 1) % VOCABULARY);
  }
}

static dl_network *new_model(const char *epochs) {
  dl_network *network = NULL;
  OK(dl_network_new(context(), &network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(network);
  OK(dl_network_set(network, "task", "language_model"));
  OK(dl_network_set(network, "data.sequence", "10"));
  OK(dl_network_add(network, "embedding: {vocabulary: 6, size: 5}"));
  OK(dl_network_add(network, "rnn: {units: 12, return_sequences: true}"));
  OK(dl_network_add(network, "dense: 6"));
  OK(dl_network_set(network, "optimizer", "{name: adam, lr: 0.02}"));
  OK(dl_network_set(network, "train", "{batch: 20}"));
  OK(dl_network_set(network, "train.epochs", epochs));
  return network;
}

/* -log p of what follows, summed over the windows, from the probabilities that the network gives for their tokens. */
static double loss_of(dl_network *network, const int32_t *text) {
  static int32_t windows[WINDOWS][WINDOW];
  static float p[WINDOWS][WINDOW][VOCABULARY];
  double loss = 0;
  for (int w = 0; w < WINDOWS; w++) memcpy(windows[w], text + w * WINDOW, sizeof windows[w]);
  OK(dl_network_predict_tokens(network, WINDOWS, WINDOW, &windows[0][0], &p[0][0][0]));
  for (int w = 0; w < WINDOWS; w++)
    for (int k = 0; k < WINDOW; k++) {
      double sum = 0;
      for (int v = 0; v < VOCABULARY; v++) sum += (double)p[w][k][v];
      CU_ASSERT_DOUBLE_EQUAL(sum, 1, 1e-5);
      loss -= log((double)p[w][k][text[w * WINDOW + k + 1]]);
    }
  return loss / (WINDOWS * WINDOW);
}

static void test_a_text_is_learnt_to_the_entropy_it_has_and_its_loss_is_that_of_its_windows(void) {
  static int32_t text[TEXT], other[TEXT];
  double loss, perplexity, elsewhere;
  write_text(text, TEXT, 1);
  write_text(other, TEXT, 77);
  dl_network *network = new_model("8");
  OK(dl_network_set_tokens(network, DL_TRAIN, TEXT, text));
  OK(dl_network_set_tokens(network, DL_TEST, TEXT, other));
  OK(dl_network_train(network));
  OK(dl_network_metric(network, DL_TRAIN, "loss", &loss));
  OK(dl_network_metric(network, DL_TRAIN, "perplexity", &perplexity));
  OK(dl_network_metric(network, DL_TEST, "loss", &elsewhere));
  CU_ASSERT_DOUBLE_EQUAL(loss, loss_of(network, text), 1e-5);
  CU_ASSERT_DOUBLE_EQUAL(elsewhere, loss_of(network, other), 1e-5);
  CU_ASSERT_DOUBLE_EQUAL(perplexity, exp(loss), 1e-5);
  const double stay = 0.9 + 0.1 / VOCABULARY, jump = 0.1 / VOCABULARY;
  const double entropy = -stay * log(stay) - (VOCABULARY - 1) * jump * log(jump); /* 0.447 */
  CU_ASSERT_DOUBLE_EQUAL(elsewhere, entropy, 0.08);          /* 3,000 draws: a standard deviation of 0.02 */
  OK(dl_network_set_tokens(network, DL_TRAIN, TEXT, other)); /* the ones that are judged from now on */
  OK(dl_network_metric(network, DL_TRAIN, "loss", &loss));
  CU_ASSERT_EQUAL(loss, elsewhere);
  dl_network_close(&network);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *at) {
  (void)about, (void)kind, (void)at;
  return remove(path);
}

static void test_a_saved_language_model_judges_and_predicts_when_it_is_opened(void) {
  static int32_t text[TEXT];
  char folder[] = "/tmp/dldist-tokens-XXXXXX";
  double before, after;
  write_text(text, TEXT, 5);
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
  dl_network *network = new_model("2"), *opened = NULL;
  OK(dl_network_set(network, "data.valid", "0.25"));
  OK(dl_network_set_tokens(network, DL_TRAIN, TEXT, text));
  OK(dl_network_train(network));
  OK(dl_network_metric(network, DL_VALID, "loss", &before)); /* the tail: 75 of 300 windows */
  OK(dl_network_save(network, folder));
  OK(dl_network_open(context(), folder, &opened));
  FAILS(dl_network_metric(opened, DL_TEST, "loss", &after), DL_ERR_USAGE, "dl_network_set_tokens");
  OK(dl_network_set_tokens(opened, DL_TEST, 75 * WINDOW + 1, text + 225 * WINDOW));
  OK(dl_network_metric(opened, DL_TEST, "loss", &after));
  CU_ASSERT_DOUBLE_EQUAL(after, before, 1e-9);
  CU_ASSERT_DOUBLE_EQUAL(loss_of(opened, text), loss_of(network, text), 0);
  dl_network_close(&network);
  dl_network_close(&opened);
  nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Sequences whose class is their first token's parity. */
static void test_sequences_are_classified_with_the_weights_that_rows_of_numbers_give(void) {
  enum { SAMPLES = 240, STEPS = 7 };
  static int32_t tokens[SAMPLES][STEPS], labels[SAMPLES];
  static float x[SAMPLES][STEPS], scores[SAMPLES][2], same[SAMPLES][2];
  static const int64_t shape[] = {STEPS};
  char hex[2][65];
  double accuracy;
  uint32_t state = 9;
  for (int i = 0; i < SAMPLES; i++) {
    for (int k = 0; k < STEPS; k++)
      x[i][k] = (float)(tokens[i][k] = (int32_t)((state = state * 1664525u + 1013904223u) >> 20) % VOCABULARY);
    labels[i] = tokens[i][0] % 2;
  }
  for (int way = 0; way < 2; way++) {
    dl_network *network = NULL;
    OK(dl_network_new(context(), &network));
    OK(dl_network_add(network, "embedding: {vocabulary: 6, size: 4}"));
    OK(dl_network_add(network, "gru: {units: 12, bidirectional: true}"));
    OK(dl_network_add(network, "dense: 2"));
    OK(dl_network_set(network, "optimizer", "{name: adam, lr: 0.02}"));
    OK(dl_network_set(network, "train", "{epochs: 10, batch: 24}"));
    if (way)
      OK(dl_network_set_data(network, DL_TRAIN, SAMPLES, 1, shape, &x[0][0], labels, 0, NULL));
    else
      OK(dl_network_set_sequences(network, DL_TRAIN, SAMPLES, STEPS, &tokens[0][0], labels, 0, NULL));
    OK(dl_network_train(network));
    OK(dl_network_metric(network, DL_TRAIN, "accuracy", &accuracy));
    CU_ASSERT(accuracy > 0.97);
    OK(dl_network_predict_tokens(network, SAMPLES, STEPS, &tokens[0][0], &scores[0][0]));
    OK(dl_network_predict(network, SAMPLES, &x[0][0], &same[0][0]));
    CU_ASSERT_EQUAL(memcmp(scores, same, sizeof scores), 0);
    OK(dl_network_weights_sha256(network, hex[way]));
    if (!way)
      OK(dl_network_set_sequences(network, DL_TRAIN, SAMPLES, STEPS, &tokens[0][0], labels, 0, NULL)); /* anew */
    dl_network_close(&network);
  }
  CU_ASSERT_STRING_EQUAL(hex[0], hex[1]);
}

static void test_what_is_no_text_is_refused_with_what_to_do(void) {
  static int32_t text[TEXT];
  static const float x[4] = {0};
  static const int64_t shape[] = {1};
  float scores[WINDOW * VOCABULARY];
  write_text(text, TEXT, 2);
  dl_network *network = new_model("1");
  FAILS(dl_network_train(network), DL_ERR_USAGE, "data.file");
  FAILS(dl_network_predict_tokens(network, 1, WINDOW, text, scores), DL_ERR_USAGE, "not trained yet");
  FAILS(dl_network_set_tokens(network, 3, TEXT, text), DL_ERR_USAGE, "there is no split 3");
  FAILS(dl_network_set_tokens(network, DL_TRAIN, -1, text), DL_ERR_USAGE, "a text of -1 tokens");
  FAILS(dl_network_set_tokens(network, DL_TRAIN, 4, NULL), DL_ERR_USAGE, "a text of 4 tokens");
  text[7] = -3;
  FAILS(dl_network_set_tokens(network, DL_TRAIN, TEXT, text), DL_ERR_DATA, "token 7 is -3");
  text[7] = VOCABULARY;
  OK(dl_network_set_tokens(network, DL_TRAIN, TEXT, text));
  FAILS(dl_network_train(network), DL_ERR_USAGE, "7"); /* tokens against 6 outputs */
  text[7] = 0;
  OK(dl_network_set_tokens(network, DL_TRAIN, WINDOW, text));
  FAILS(dl_network_train(network), DL_ERR_DATA, "10 tokens, fewer than a window of 11");
  FAILS(dl_network_set_data(network, DL_TEST, 4, 1, shape, x, NULL, 1, x), DL_ERR_USAGE, "has a text already");
  OK(dl_network_set_tokens(network, DL_TRAIN, TEXT, text));
  OK(dl_network_train(network));
  FAILS(dl_network_predict_tokens(network, 1, WINDOW - 1, text, scores), DL_ERR_USAGE, "the network reads 10");
  OK(dl_network_set(network, "task", "regression"));
  FAILS(dl_network_train(network), DL_ERR_USAGE, "dl_network_set_sequences");
  dl_network_close(&network);
  network = new_model("1");
  OK(dl_network_set_data(network, DL_TRAIN, 4, 1, shape, x, NULL, 1, x));
  FAILS(dl_network_set_tokens(network, DL_TRAIN, TEXT, text), DL_ERR_USAGE, "has samples already");
  FAILS(dl_network_train(network), DL_ERR_USAGE, "takes a row of tokens");
  dl_network_close(&network);
}

int main(void) {
  static const dl_test tests[] = {
      DL_TEST(test_a_text_is_learnt_to_the_entropy_it_has_and_its_loss_is_that_of_its_windows),
      DL_TEST(test_a_saved_language_model_judges_and_predicts_when_it_is_opened),
      DL_TEST(test_sequences_are_classified_with_the_weights_that_rows_of_numbers_give),
      DL_TEST(test_what_is_no_text_is_refused_with_what_to_do),
  };
  int failed = dl_test_main("api tokens", tests, sizeof tests / sizeof tests[0]);
  dl_context_close(&opened_context);
  return failed;
}

/* train_tokens.c - a language model over tokens of this program's own, alone or under mpirun.
 *
 *   cc train_tokens.c $(pkg-config --cflags --libs dldist) -o train_tokens
 *   ./train_tokens
 *   mpirun -np 2 ./train_tokens        the same weights, bit for bit
 *
 * The text counts: 0 1 2 ... 9 0 1 ..., but now and then it begins anew at a random digit. What follows a digit is
 * mostly the next one, which is what the network learns.
 */
#include <dldist/dldist.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT = 20000, DIGITS = 10, WINDOW = 16 };

static int32_t text[TEXT];

static void write_text(void) {
  uint32_t state = 1;
  for (int i = 0; i < TEXT; i++) {
    state = state * 1664525u + 1013904223u;
    text[i] =
        (int32_t)(i == 0 || (state >> 16) % 20 == 0 ? (state >> 20) % DIGITS : (uint32_t)(text[i - 1] + 1) % DIGITS);
  }
}

/* Errors of collective functions are the same on all processes: all end here together. */
static void must(dl_status status) {
  if (status == DL_OK) return;
  fprintf(stderr, "train_tokens: %s\n", dl_last_error());
  exit(1);
}

static dl_network *build(dl_context *context) {
  dl_network *network;
  must(dl_network_new(context, &network));
  must(dl_network_set(network, "task", "language_model"));
  must(dl_network_set(network, "data.sequence", "16"));
  must(dl_network_add(network, "embedding: {vocabulary: 10, size: 8}"));
  must(dl_network_add(network, "gru: {units: 24, return_sequences: true}"));
  must(dl_network_add(network, "dense: 10"));
  must(dl_network_set(network, "optimizer", "{name: adam, lr: 0.01}"));
  must(dl_network_set(network, "train", "{epochs: 3, batch: 32}"));
  must(dl_network_set(network, "sync.shards", "4"));
  must(dl_network_set_tokens(network, DL_TRAIN, TEXT, text));
  return network;
}

int main(void) {
  dl_context *context;
  must(dl_context_open(&context));
  write_text();
  dl_network *network = build(context);
  must(dl_network_train(network));

  int32_t counted[WINDOW];
  float scores[WINDOW][DIGITS];
  double perplexity;
  char sha256[65];
  for (int i = 0; i < WINDOW; i++) counted[i] = i % DIGITS; /* ends with 5 */
  must(dl_network_metric(network, DL_TRAIN, "perplexity", &perplexity));
  must(dl_network_predict_tokens(network, 1, WINDOW, counted, &scores[0][0]));
  must(dl_network_weights_sha256(network, sha256));
  int next = 0;
  for (int d = 1; d < DIGITS; d++)
    if (scores[WINDOW - 1][d] > scores[WINDOW - 1][next]) next = d;
  if (dl_context_rank(context) == 0)
    printf("perplexity %.3f, after %d comes %d\nweights %s\n", perplexity, (int)counted[WINDOW - 1], next, sha256);
  dl_network_close(&network);
  dl_context_close(&context);
  return next == 6 ? 0 : 1;
}

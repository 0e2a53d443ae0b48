/* generate.c - drawing one token after another.
 *
 * The network is built for sequences of one length: the tokens so far (the last ones where there are more) stand at its
 * beginning, and the logits of the last of them are those of the token that follows. A model that looks at later steps
 * has learnt from what stands there and cannot be used so. Token i is drawn by the random number of (seed, i) alone.
 */
#include "train/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"

enum { MOST_TOKEN_BYTES = 128, MOST_PROMPT = 1 << 20 };

typedef struct generator {
  dl_model *model;
  int64_t sequence, vocabulary;
  int32_t *tokens; /* prompt, then what was drawn */
  int64_t n, room, first_shown;
  double *share; /* (vocabulary) */
} generator;

/* The bytes of a token, kept as hexadecimal digits. */
static size_t token_text(const dl_model *model, int32_t token, char out[MOST_TOKEN_BYTES]) {
  const char *digits = token < model->n_class_names ? model->class_names[token] : "";
  size_t n = 0;
  for (; digits[2 * n] && digits[2 * n + 1] && n < MOST_TOKEN_BYTES; n++) {
    char pair[3] = {digits[2 * n], digits[2 * n + 1], 0};
    out[n] = (char)strtol(pair, NULL, 16);
  }
  return n;
}

/* ---- the prompt ---- */

/* The token whose text is the longest beginning of `text`, -1 where there is none. */
static int32_t longest_token(const dl_model *model, const char *text, size_t *length) {
  int32_t best = -1;
  char bytes[MOST_TOKEN_BYTES];
  *length = 0;
  for (int32_t i = 0; i < model->n_class_names; i++) {
    const size_t n = token_text(model, i, bytes);
    if (n > *length && !strncmp(text, bytes, n)) {
      best = i;
      *length = n;
    }
  }
  return best;
}

static dl_status read_texts(generator *g, const char *prompt) {
  size_t length;
  for (const char *at = prompt; *at; at += length) {
    const int32_t token = longest_token(g->model, at, &length);
    if (token < 0)
      return dl_fail(DL_ERR_USAGE, "the prompt has '%.8s' at byte %zu, which is not in the model's vocabulary", at,
                     (size_t)(at - prompt));
    g->tokens[g->n++] = token;
  }
  return DL_OK;
}

static dl_status read_numbers(generator *g, const char *prompt) {
  for (const char *at = prompt; *at;) {
    char *end;
    const long token = strtol(at, &end, 10);
    if (end == at || token < 0 || token >= g->vocabulary) {
      dl_fail(DL_ERR_USAGE, "the prompt has '%.20s', which is no token from 0 to %lld", at,
              (long long)g->vocabulary - 1);
      return dl_hint("the model knows no texts of its tokens: the prompt is a row of numbers");
    }
    g->tokens[g->n++] = (int32_t)token;
    at = end + strspn(end, " ,");
  }
  return DL_OK;
}

/* Without a prompt a line begins, where the vocabulary has lines; that token is not shown. */
static dl_status read_prompt(generator *g, const char *prompt) {
  size_t length;
  if (prompt && *prompt) return g->model->n_class_names ? read_texts(g, prompt) : read_numbers(g, prompt);
  const int32_t line = longest_token(g->model, "\n", &length);
  g->tokens[g->n++] = line < 0 ? 0 : line;
  g->first_shown = 1;
  return DL_OK;
}

/* ---- drawing ---- */

static int32_t draw(generator *g, const float *logits, const dl_generate_options *o, int64_t number) {
  int32_t best = (int32_t)dl_first_largest(logits, g->vocabulary);
  if (o->temperature <= 0) return best;
  double sum = 0, below = 0;
  for (int32_t i = 0; i < g->vocabulary; i++)
    sum += g->share[i] = exp(((double)logits[i] - (double)logits[best]) / o->temperature);
  const dl_rng_key key = dl_rng_stream((uint64_t)o->seed, DL_RNG_SAMPLE, 0);
  const double at = (double)dl_rng_word(key, 0, (uint64_t)number, 0) * 0x1p-32 * sum;
  for (int32_t i = 0; i < g->vocabulary; i++)
    if (at < (below += g->share[i])) return i;
  return best;
}

static dl_status add_token(generator *g, const dl_generate_options *o, int64_t number) {
  const int64_t first = g->n > g->sequence ? g->n - g->sequence : 0, seen = g->n - first;
  float *x = dl_net_input(g->model->net);
  for (int64_t i = 0; i < g->sequence; i++) x[i] = i < seen ? (float)g->tokens[first + i] : 0;
  const dl_pass pass = {.training = false};
  const float *logits = dl_net_forward(g->model->net, g->model->weights, 1, &pass) + (seen - 1) * g->vocabulary;
  for (int64_t i = 0; i < g->vocabulary; i++)
    if (!isfinite(logits[i])) return dl_fail(DL_ERR_DATA, "the model's outputs are not finite");
  g->tokens[g->n++] = draw(g, logits, o, number);
  return DL_OK;
}

static dl_status write_text(const generator *g, char **text, size_t *bytes) {
  FILE *file = open_memstream(text, bytes);
  if (!file) return dl_fail(DL_ERR_NOMEM, "out of memory: no room for the text");
  for (int64_t i = g->first_shown; i < g->n; i++) {
    char token[MOST_TOKEN_BYTES];
    if (g->model->n_class_names)
      fwrite(token, 1, token_text(g->model, g->tokens[i], token), file);
    else
      fprintf(file, "%s%d", i > g->first_shown ? " " : "", g->tokens[i]);
  }
  return fclose(file) ? dl_fail(DL_ERR_NOMEM, "out of memory: no room for the text") : DL_OK;
}

dl_status dl_generate(dl_model *model, const dl_generate_options *options, char **text, size_t *bytes) {
  const char *prompt = options->prompt ? options->prompt : "";
  const size_t length = strlen(prompt);
  if (model->config->task != DL_TASK_LANGUAGE_MODEL) {
    dl_fail(DL_ERR_USAGE, "only a language model makes text: this model's task is %s",
            dl_choice_name(DL_TASK_NAMES, model->config->task, (char[32]){0}, 32));
    return dl_hint("predict with --data FILE.h5 -o PREDICTIONS.h5 instead");
  }
  const int layer = dl_net_looks_ahead(model->net);
  if (layer >= 0) {
    char name[160];
    dl_fail(DL_ERR_USAGE, "%s looks at later tokens: what it has learnt does not tell the token that follows",
            dl_net_layer_text(model->net, layer, name, sizeof name));
    return dl_hint("train with causal: true in attention and without bidirectional in recurrent layers");
  }
  if (length > MOST_PROMPT) return dl_fail(DL_ERR_USAGE, "the prompt is longer than %d bytes", MOST_PROMPT);
  generator g = {.model = model, .sequence = model->config->data.sequence, .vocabulary = dl_net_outputs(model->net)};
  g.tokens = dl_calloc(length + 1 + (size_t)options->tokens, sizeof *g.tokens);
  g.share = dl_calloc((size_t)g.vocabulary, sizeof *g.share);
  dl_status status = g.tokens && g.share ? read_prompt(&g, prompt) : DL_ERR_NOMEM;
  for (int64_t i = 0; i < options->tokens && status == DL_OK; i++) status = add_token(&g, options, i);
  if (status == DL_OK) status = write_text(&g, text, bytes);
  free(g.tokens);
  free(g.share);
  return status;
}

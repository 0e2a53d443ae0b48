/* tokens.c - texts and sequences as integers. The data set reads windows of float32, as it would from a file: a text is
 * cut into windows of sequence + 1 tokens, one every `sequence`, the last token of a window being the first of the
 * next.
 */
#include <stdlib.h>

#include "api/network.h"
#include "core/mem.h"

#define MOST_TOKENS (1 << 24) /* different ones: whole numbers that float32 has */

static dl_status check(int64_t count, const int32_t *tokens) {
  for (int64_t i = 0; i < count; i++)
    if (tokens[i] < 0 || tokens[i] >= MOST_TOKENS)
      return dl_fail(DL_ERR_DATA, "token %lld is %d: tokens are whole numbers from 0 to %d", (long long)i, tokens[i],
                     MOST_TOKENS - 1);
  return DL_OK;
}

dl_status dl_windows_of(const dl_token_row *row, int64_t sequence, int split, float **out, int64_t *samples) {
  *out = NULL;
  *samples = 0;
  if (!row->count) return DL_OK;
  const int64_t n = (row->count - 1) / sequence;
  if (n < 1)
    return dl_fail(DL_ERR_DATA, "the text of split %d has %lld tokens, fewer than a window of %lld", split,
                   (long long)row->count, (long long)sequence + 1);
  if (!(*out = dl_calloc((size_t)(n * (sequence + 1)), sizeof **out))) return DL_ERR_NOMEM;
  for (int64_t w = 0; w < n; w++)
    for (int64_t k = 0; k <= sequence; k++) (*out)[w * (sequence + 1) + k] = (float)row->values[w * sequence + k];
  *samples = n;
  return DL_OK;
}

dl_status dl_network_set_tokens(dl_network *network, int split, int64_t count, const int32_t *tokens) {
  if (split < 0 || split >= DL_SPLITS) return dl_fail(DL_ERR_USAGE, "there is no split %d", split);
  if (count < 0 || (count && !tokens)) return dl_fail(DL_ERR_USAGE, "a text of %lld tokens", (long long)count);
  if (network->has_arrays)
    return dl_fail(DL_ERR_USAGE, "the network has samples already: dl_network_set_data and a text do not go together");
  DL_TRY(check(count, tokens));
  network->tokens[split] = (dl_token_row){count, tokens};
  network->has_tokens = true;
  network->replaced[split] = true;
  return DL_OK;
}

static dl_status rows_of(int64_t samples, int64_t steps, const int32_t *tokens, int64_t spare, float **out) {
  int64_t count;
  if (samples < 0 || steps < 1 || __builtin_mul_overflow(samples, steps + spare, &count) || (samples && !tokens))
    return dl_fail(DL_ERR_USAGE, "%lld sequences of %lld tokens", (long long)samples, (long long)steps);
  DL_TRY(check(samples * steps, tokens));
  float *rows = dl_calloc((size_t)count + 1, sizeof *rows);
  if (!rows) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < samples; i++)
    for (int64_t k = 0; k < steps; k++) rows[i * (steps + spare) + k] = (float)tokens[i * steps + k];
  *out = rows;
  return DL_OK;
}

dl_status dl_network_set_sequences(dl_network *network, int split, int64_t samples, int64_t steps,
                                   const int32_t *tokens, const int32_t *labels, int64_t y_size, const float *y) {
  float *x = NULL;
  DL_TRY(rows_of(samples, steps, tokens, 0, &x));
  dl_status status = dl_network_set_data(network, split, samples, 1, &steps, x, labels, y_size, y);
  if (status == DL_OK)
    network->owned[split] = x;
  else
    free(x);
  return status;
}

dl_status dl_network_predict_tokens(dl_network *network, int64_t samples, int64_t steps, const int32_t *tokens,
                                    float *scores) {
  float *rows = NULL;
  DL_TRY(dl_network_need_model(network));
  const bool text = network->model->config->task == DL_TASK_LANGUAGE_MODEL;
  const int64_t wanted = dl_data_shape_of(network->model->data)->x_size;
  if (steps != wanted)
    return dl_fail(DL_ERR_USAGE, "sequences of %lld tokens, but the network reads %lld", (long long)steps,
                   (long long)wanted);
  DL_TRY(rows_of(samples, steps, tokens, text, &rows)); /* the token after a window, which nobody asks for, is 0 */
  dl_data_arrays arrays = {.samples = samples, .x = text ? NULL : rows, .tokens = text ? rows : NULL};
  dl_status status = dl_network_scores(network, &arrays, scores);
  free(rows);
  return status;
}

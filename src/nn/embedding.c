/* embedding.c - a row of numbers for each token, and a row for each place in a sequence.
 *
 * Tokens come as floats that hold whole numbers, exact to 2^24. That they lie below the vocabulary is checked where
 * data are opened; a pass turns one that does not into NaN, which the step's verdict finds. The gradient of a row is
 * the sum over its tokens in the order of the batch.
 */
#include <math.h>
#include <string.h>

#include "core/vector.h"
#include "nn/layer_kinds.h"

typedef struct embedding_options {
  int64_t vocabulary, size, padding;
  double std;
} embedding_options;

static const dl_option options[] = {
    {.key = "vocabulary",
     .type = DL_OPTION_INT,
     .offset = offsetof(embedding_options, vocabulary),
     .min = 1,
     .max = 1 << 24,
     .help = "number of tokens: they run from 0 to one less"},
    {.key = "size",
     .type = DL_OPTION_INT,
     .offset = offsetof(embedding_options, size),
     .min = 1,
     .max = 1 << 20,
     .help = "numbers for each token"},
    {.key = "padding",
     .type = DL_OPTION_INT,
     .offset = offsetof(embedding_options, padding),
     .min = -1,
     .max = 1 << 24,
     .fallback = "-1",
     .help = "token whose row is and stays zero; -1: none"},
    {.key = "std",
     .type = DL_OPTION_REAL,
     .offset = offsetof(embedding_options, std),
     .max = 1e6,
     .fallback = "1",
     .help = "standard deviation of the normal distribution that rows start from (init: default)"},
};

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  const embedding_options *o = layer->options;
  if (layer->in.dims == DL_MAX_DIMS)
    return dl_layer_fail(layer, "what it reads has %d dimensions already", DL_MAX_DIMS);
  if (o->padding >= o->vocabulary)
    return dl_layer_fail(layer, "padding is %lld, but tokens run from 0 to %lld", (long long)o->padding,
                         (long long)o->vocabulary - 1);
  layer->out = layer->in;
  layer->out.dim[layer->out.dims++] = o->size;
  layer->token_limit = o->vocabulary;
  return dl_layer_add_tensor(builder, "weight", 2, (int64_t[]){o->vocabulary, o->size}, true);
}

static void init_normal(const dl_layer *layer, double std, dl_rng_key key, float *values, size_t count, int64_t rows,
                        int64_t cols) {
  if (layer->init != DL_INIT_DEFAULT) {
    dl_init_fill(layer->init, 0, cols, rows, key, 0, values, count);
    return;
  }
  for (size_t i = 0; i < count; i++) values[i] = (float)(std * dl_rng_normal(key, 0, 0, i));
}

static void init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  (void)tensor;
  const embedding_options *o = layer->options;
  init_normal(layer, o->std, key, values, count, o->vocabulary, o->size);
  if (o->padding >= 0) memset(values + o->padding * o->size, 0, (size_t)o->size * sizeof *values);
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  const embedding_options *o = layer->options;
  const int64_t tokens = run->n * dl_shape_size(&layer->in);
  for (int64_t i = 0; i < tokens; i++) {
    float *row = run->y + i * o->size;
    if (run->x[i] >= 0 && run->x[i] < (float)o->vocabulary)
      memcpy(row, run->weights[0] + (int64_t)run->x[i] * o->size, (size_t)o->size * sizeof *row);
    else
      for (int64_t j = 0; j < o->size; j++) row[j] = NAN;
  }
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  const embedding_options *o = layer->options;
  const int64_t tokens = run->n * dl_shape_size(&layer->in);
  if (run->dx) memset(run->dx, 0, (size_t)tokens * sizeof *run->dx); /* a token has no slope */
  if (!run->gradients) return;
  memset(run->gradients[0], 0, (size_t)(o->vocabulary * o->size) * sizeof(float));
  for (int64_t i = 0; i < tokens; i++) {
    if (!(run->x[i] >= 0 && run->x[i] < (float)o->vocabulary) || (int64_t)run->x[i] == o->padding) continue;
    dl_vector()->add(run->gradients[0] + (int64_t)run->x[i] * o->size, run->dy + i * o->size, (size_t)o->size);
  }
}

const dl_layer_kind dl_layer_embedding = {
    .name = "embedding",
    .help = "a learnt row of numbers for each token",
    .options = options,
    .n_options = 4,
    .options_size = sizeof(embedding_options),
    .setup = setup,
    .init = init,
    .forward = forward,
    .backward = backward,
};

/* ---- places ---- */

typedef struct positional_options {
  double std;
} positional_options;

static const dl_option positional_rows[] = {
    {.key = "std",
     .type = DL_OPTION_REAL,
     .offset = offsetof(positional_options, std),
     .max = 1e6,
     .fallback = "1",
     .help = "standard deviation of the normal distribution that rows start from (init: default)"},
};

static dl_status positional_setup(dl_layer *layer, dl_layer_builder *builder) {
  char shape[96];
  if (layer->in.dims != 2) {
    dl_layer_fail(layer, "it takes a sequence of rows (steps, features), but what it reads has the shape %s",
                  dl_shape_text(&layer->in, shape, sizeof shape));
    return dl_hint("put `embedding` before it");
  }
  layer->out = layer->in;
  layer->in_place = true;
  return dl_layer_add_tensor(builder, "weight", 2, layer->in.dim, true);
}

static void positional_init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  (void)tensor;
  init_normal(layer, ((const positional_options *)layer->options)->std, key, values, count, layer->in.dim[0],
              layer->in.dim[1]);
}

static void positional_forward(const dl_layer *layer, const dl_layer_run *run) {
  const size_t size = (size_t)dl_shape_size(&layer->in);
  for (int64_t i = 0; i < run->n; i++) {
    const size_t at = (size_t)i * size;
    if (run->y == run->x)
      dl_vector()->add(run->y + at, run->weights[0], size);
    else
      dl_vector()->sum2(run->y + at, run->x + at, run->weights[0], size);
  }
}

static void positional_backward(const dl_layer *layer, const dl_layer_run *run) {
  const size_t size = (size_t)dl_shape_size(&layer->in);
  if (run->gradients) {
    memset(run->gradients[0], 0, size * sizeof(float));
    for (int64_t i = 0; i < run->n; i++) dl_vector()->add(run->gradients[0], run->dy + (size_t)i * size, size);
  }
  if (run->dx && run->dx != run->dy) memcpy(run->dx, run->dy, (size_t)run->n * size * sizeof(float));
}

const dl_layer_kind dl_layer_positional_embedding = {
    .name = "positional_embedding",
    .help = "adds a learnt row of numbers for each place in the sequence",
    .options = positional_rows,
    .n_options = 1,
    .options_size = sizeof(positional_options),
    .setup = positional_setup,
    .init = positional_init,
    .forward = positional_forward,
    .backward = positional_backward,
};

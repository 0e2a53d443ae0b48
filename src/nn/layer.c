/* layer.c - the table of layers, what all of them take, and the distributions that weights start from. */
#include "nn/layer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nn/layer_kinds.h"

static const dl_layer_kind *const kinds[] = {
    &dl_layer_dense,
    &dl_layer_relu,
    &dl_layer_sigmoid,
    &dl_layer_tanh,
    &dl_layer_softmax,
    &dl_layer_dropout,
    &dl_layer_flatten,
    &dl_layer_add,
    &dl_layer_concat,
    &dl_layer_conv2d,
    &dl_layer_conv2d_transpose,
    &dl_layer_maxpool2d,
    &dl_layer_avgpool2d,
    &dl_layer_global_avgpool2d,
    &dl_layer_batchnorm,
    &dl_layer_upsample2d,
    &dl_layer_residual,
    &dl_layer_reshape,
    &dl_layer_leaky_relu,
    &dl_layer_elu,
    &dl_layer_gelu,
    &dl_layer_silu,
    &dl_layer_softplus,
    &dl_layer_layernorm,
    &dl_layer_embedding,
    &dl_layer_positional_embedding,
    &dl_layer_rnn,
    &dl_layer_lstm,
    &dl_layer_gru,
    &dl_layer_attention,
};

const dl_layer_kind *const *dl_layer_kinds(int *n) {
  *n = (int)(sizeof kinds / sizeof kinds[0]);
  return kinds;
}

const dl_layer_kind *dl_layer_kind_find(const char *name) {
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (!strcmp(kinds[i]->name, name)) return kinds[i];
  return NULL;
}

static const dl_option common[] = {
    {.key = "name",
     .type = DL_OPTION_STRING,
     .offset = offsetof(dl_layer_common, name),
     .fallback = "",
     .help = "the layer's name: its tensors are NAME.weight, NAME.bias, and `from` may name it"},
    {.key = "from",
     .type = DL_OPTION_NODE,
     .offset = offsetof(dl_layer_common, from),
     .fallback = "",
     .help = "the layer or list of layers it reads, by name (or `input`); default: the layer before"},
    {.key = "trainable",
     .type = DL_OPTION_BOOL,
     .offset = offsetof(dl_layer_common, trainable),
     .fallback = "true",
     .help = "whether the layer's weights are trained"},
    {.key = "lr_scale",
     .type = DL_OPTION_REAL,
     .offset = offsetof(dl_layer_common, lr_scale),
     .max = 1e6,
     .fallback = "1",
     .help = "factor on the learning rate for this layer"},
    {.key = "init",
     .type = DL_OPTION_CHOICE,
     .offset = offsetof(dl_layer_common, init),
     .fallback = "default",
     .choices = DL_INIT_NAMES,
     .help = "how the weight starts; default: as in PyTorch; biases always start so"},
};

const dl_option *dl_layer_common_options(int *n) {
  *n = (int)(sizeof common / sizeof common[0]);
  return common;
}

int64_t dl_shape_size(const dl_shape *shape) {
  int64_t size = 1;
  for (int i = 0; i < shape->dims; i++) size *= shape->dim[i];
  return size;
}

char *dl_shape_text(const dl_shape *shape, char *text, size_t size) {
  size_t at = 0;
  if (size) text[0] = 0;
  for (int i = 0; i < shape->dims && at < size; i++)
    at += (size_t)snprintf(text + at, size - at, "%s%lld", i ? ", " : "(", (long long)shape->dim[i]);
  if (at < size) snprintf(text + at, size - at, "%s", shape->dims ? ")" : "()");
  return text;
}

dl_status dl_layer_fail(const dl_layer *layer, const char *format, ...) {
  char message[512];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return dl_node_fail(layer->node, true, "%s (%s): %s", layer->name, layer->kind->name, message);
}

/* Element e of tensor t is a function of (key, t, e) alone. */
static void fill_uniform(double bound, dl_rng_key key, int tensor, float *values, size_t count) {
  for (size_t i = 0; i < count; i += 4) {
    uint32_t word[4];
    dl_rng_block(key, 0, (uint64_t)tensor, (uint32_t)(i / 4), word);
    for (size_t j = 0; j < 4 && i + j < count; j++)
      values[i + j] = (float)(bound * (2.0 * (double)dl_rng_to_unit(word[j]) - 1.0));
  }
}

static void fill_normal(double deviation, dl_rng_key key, int tensor, float *values, size_t count) {
  for (size_t i = 0; i < count; i++) values[i] = (float)(deviation * dl_rng_normal(key, 0, (uint64_t)tensor, i));
}

void dl_init_fill(int init, double bound, int64_t fan_in, int64_t fan_out, dl_rng_key key, int tensor, float *values,
                  size_t count) {
  const double in = (double)fan_in, both = (double)(fan_in + fan_out);
  switch ((dl_init)init) {
    case DL_INIT_DEFAULT:
      fill_uniform(bound, key, tensor, values, count);
      return;
    case DL_INIT_KAIMING_UNIFORM:
      fill_uniform(sqrt(6.0 / in), key, tensor, values, count);
      return;
    case DL_INIT_KAIMING_NORMAL:
      fill_normal(sqrt(2.0 / in), key, tensor, values, count);
      return;
    case DL_INIT_XAVIER_UNIFORM:
      fill_uniform(sqrt(6.0 / both), key, tensor, values, count);
      return;
    case DL_INIT_XAVIER_NORMAL:
      fill_normal(sqrt(2.0 / both), key, tensor, values, count);
      return;
    case DL_INIT_ZEROS:
      memset(values, 0, count * sizeof *values);
      return;
  }
}

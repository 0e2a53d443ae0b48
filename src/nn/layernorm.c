/* layernorm.c - each row of the last dimensions to mean 0 and variance 1, then scaled and shifted by what is learnt.
 *
 * Ba, Kiros, Hinton: "Layer normalization", 2016. Mean and 1 / sqrt(variance + eps) of each row are kept for the
 * backward pass.
 */
#include "nn/kernels_seq.h"
#include "nn/layer_kinds.h"

typedef struct layernorm_options {
  int64_t dims;
  double eps;
  bool affine;
} layernorm_options;

static const dl_option options[] = {
    {.key = "dims",
     .type = DL_OPTION_INT,
     .offset = offsetof(layernorm_options, dims),
     .min = 1,
     .max = DL_MAX_DIMS,
     .fallback = "1",
     .help = "how many of the last dimensions are one row"},
    {.key = "eps",
     .type = DL_OPTION_REAL,
     .offset = offsetof(layernorm_options, eps),
     .max = 1,
     .fallback = "1.0e-5",
     .help = "added to the variance"},
    {.key = "affine",
     .type = DL_OPTION_BOOL,
     .offset = offsetof(layernorm_options, affine),
     .fallback = "true",
     .help = "whether weight and bias are learnt"},
};

static int64_t row_size(const dl_layer *layer) {
  const layernorm_options *o = layer->options;
  int64_t size = 1;
  for (int i = layer->in.dims - (int)o->dims; i < layer->in.dims; i++) size *= layer->in.dim[i];
  return size;
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  const layernorm_options *o = layer->options;
  char shape[96];
  if (o->dims > layer->in.dims)
    return dl_layer_fail(layer, "dims is %lld, but what it reads has the shape %s", (long long)o->dims,
                         dl_shape_text(&layer->in, shape, sizeof shape));
  const int64_t *last = layer->in.dim + layer->in.dims - o->dims;
  layer->out = layer->in;
  layer->work_count = (size_t)(2 * dl_shape_size(&layer->in) / row_size(layer));
  if (!o->affine) return DL_OK;
  DL_TRY(dl_layer_add_tensor(builder, "weight", (int)o->dims, last, false));
  return dl_layer_add_tensor(builder, "bias", (int)o->dims, last, false);
}

static void init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  (void)layer, (void)key;
  for (size_t i = 0; i < count; i++) values[i] = tensor == 0 ? 1.0f : 0.0f;
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  const layernorm_options *o = layer->options;
  const int64_t cols = row_size(layer), rows = run->n * dl_shape_size(&layer->in) / cols;
  dl_seq_kernels_in_use()->layernorm(rows, cols, (float)o->eps, o->affine ? run->weights[0] : NULL,
                                     o->affine ? run->weights[1] : NULL, run->x, run->y, run->work);
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  const layernorm_options *o = layer->options;
  const int64_t cols = row_size(layer), rows = run->n * dl_shape_size(&layer->in) / cols;
  const bool learns = o->affine && run->gradients;
  dl_seq_kernels_in_use()->layernorm_backward(rows, cols, o->affine ? run->weights[0] : NULL, run->x, run->work,
                                              run->dy, run->dx, learns ? run->gradients[0] : NULL,
                                              learns ? run->gradients[1] : NULL);
}

const dl_layer_kind dl_layer_layernorm = {
    .name = "layernorm",
    .help = "mean 0 and variance 1 over the last dimension of each sample, then scale and shift",
    .options = options,
    .n_options = 3,
    .options_size = sizeof(layernorm_options),
    .setup = setup,
    .init = init,
    .forward = forward,
    .backward = backward,
};

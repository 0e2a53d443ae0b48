/* dropout.c - sets a share of the values to zero while training and scales the others by 1 / (1 - rate), as PyTorch
 * does.
 *
 * Element e of a sample is kept or not by the random word of (seed, layer; step, sample, e): who computes the sample,
 * and in which leaf, makes no difference. The factors are kept for the backward pass.
 */
#include <math.h>
#include <string.h>

#include "nn/kernels.h"
#include "nn/layer_kinds.h"

typedef struct dropout_options {
  double rate;
} dropout_options;

static const dl_option options[] = {
    {.key = "rate",
     .type = DL_OPTION_REAL,
     .offset = offsetof(dropout_options, rate),
     .max = 1,
     .fallback = "0.5",
     .help = "share of the values that is set to zero"},
};

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  layer->out = layer->in;
  layer->in_place = true;
  layer->work_count = (size_t)dl_shape_size(&layer->in);
  return DL_OK;
}

static void copy(float *to, const float *from, size_t n) {
  if (to != from) memcpy(to, from, n * sizeof *to);
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  const dropout_options *o = layer->options;
  const dl_kernels *kernels = dl_kernels_in_use();
  const size_t m = (size_t)dl_shape_size(&layer->in);
  if (!run->pass->training) {
    copy(run->y, run->x, (size_t)run->n * m);
    return;
  }
  const dl_rng_key key = dl_rng_stream(run->pass->seed, DL_RNG_DROPOUT, (uint32_t)layer->number);
  const uint32_t threshold = (uint32_t)ceil(o->rate * 0x1p24);
  const float scale = o->rate < 1 ? (float)(1 / (1 - o->rate)) : 0;
  for (int64_t row = 0; row < run->n; row++)
    kernels->random_mask(m, key, run->pass->step, run->pass->first_sample + (uint64_t)row, threshold, scale,
                         run->work + (size_t)row * m);
  kernels->multiply((size_t)run->n * m, run->work, run->x, run->y);
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  const size_t all = (size_t)(run->n * dl_shape_size(&layer->in));
  if (!run->dx) return;
  if (run->pass->training)
    dl_kernels_in_use()->multiply(all, run->work, run->dy, run->dx);
  else
    copy(run->dx, run->dy, all);
}

const dl_layer_kind dl_layer_dropout = {
    .name = "dropout",
    .help = "sets values to zero at random while training",
    .options = options,
    .n_options = 1,
    .options_size = sizeof(dropout_options),
    .value_option = "rate",
    .order = DL_ORDER_EITHER,
    .by_sample = true,
    .forgets_input = true,
    .setup = setup,
    .forward = forward,
    .backward = backward,
};

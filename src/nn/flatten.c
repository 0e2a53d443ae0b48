/* flatten.c - a sample of any shape as one row of numbers: the same memory, another shape. */
#include <string.h>

#include "nn/layer_kinds.h"

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  layer->out = (dl_shape){.dims = 1, .dim = {dl_shape_size(&layer->in)}};
  layer->same_values = true;
  return DL_OK;
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  if (run->y != run->x) memcpy(run->y, run->x, (size_t)(run->n * layer->out.dim[0]) * sizeof(float));
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  if (run->dx && run->dx != run->dy) memcpy(run->dx, run->dy, (size_t)(run->n * layer->out.dim[0]) * sizeof(float));
}

const dl_layer_kind dl_layer_flatten = {
    .name = "flatten",
    .help = "all dimensions of a sample as one",
    .by_sample = true,
    .forgets_input = true,
    .setup = setup,
    .forward = forward,
    .backward = backward,
};

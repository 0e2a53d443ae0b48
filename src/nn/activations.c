/* activations.c - relu, sigmoid, tanh, and softmax over the last dimension.
 *
 * All find their derivative from the output, so they work in the buffer of the layer below and need no copy of x.
 */
#include "nn/kernels.h"
#include "nn/layer_kinds.h"

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  layer->out = layer->in;
  layer->in_place = true;
  layer->reads_output = true;
  return DL_OK;
}

static size_t elements(const dl_layer *layer, const dl_layer_run *run) {
  return (size_t)(run->n * dl_shape_size(&layer->out));
}

#define ELEMENTWISE(f, makes_probabilities, is_cheap, text)                                         \
  static void f##_forward(const dl_layer *layer, const dl_layer_run *run) {                         \
    dl_kernels_in_use()->f(elements(layer, run), run->x, run->y);                                   \
  }                                                                                                 \
  static void f##_backward(const dl_layer *layer, const dl_layer_run *run) {                        \
    if (run->dx) dl_kernels_in_use()->f##_backward(elements(layer, run), run->y, run->dy, run->dx); \
  }                                                                                                 \
  const dl_layer_kind dl_layer_##f = {.name = #f,                                                   \
                                      .help = text,                                                 \
                                      .order = DL_ORDER_EITHER,                                     \
                                      .by_sample = true,                                            \
                                      .squashes = makes_probabilities,                              \
                                      .cheap = is_cheap,                                            \
                                      .setup = setup,                                               \
                                      .forward = f##_forward,                                       \
                                      .backward = f##_backward}

ELEMENTWISE(relu, false, true, "max(x, 0)");
ELEMENTWISE(sigmoid, true, false, "1 / (1 + e^-x)");
ELEMENTWISE(tanh, false, false, "hyperbolic tangent");

static int64_t last_dim(const dl_layer *layer) { return layer->out.dims ? layer->out.dim[layer->out.dims - 1] : 1; }

static void softmax_forward(const dl_layer *layer, const dl_layer_run *run) {
  int64_t cols = last_dim(layer);
  dl_kernels_in_use()->softmax((int64_t)elements(layer, run) / cols, cols, run->x, run->y);
}

static void softmax_backward(const dl_layer *layer, const dl_layer_run *run) {
  int64_t cols = last_dim(layer);
  if (run->dx)
    dl_kernels_in_use()->softmax_backward((int64_t)elements(layer, run) / cols, cols, run->y, run->dy, run->dx);
}

const dl_layer_kind dl_layer_softmax = {
    .name = "softmax",
    .help = "e^x / sum of e^x over the last dimension",
    .squashes = true,
    .setup = setup,
    .forward = softmax_forward,
    .backward = softmax_backward,
};

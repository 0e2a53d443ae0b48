/* upsample2d.c - every pixel repeated scale times in height and width (nearest), as nn.Upsample does by default. */
#include <string.h>

#include "core/vector.h"
#include "nn/image.h"
#include "nn/layer_kinds.h"

typedef struct upsample_options {
  int64_t scale[2];
} upsample_options;

static const dl_option options[] = {
    {.key = "scale",
     .type = DL_OPTION_PAIR,
     .offset = offsetof(upsample_options, scale),
     .min = 1,
     .max = 1 << 10,
     .fallback = "2",
     .help = "factors on height and width"},
};

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  const upsample_options *o = layer->options;
  DL_TRY(dl_image_check(layer));
  return dl_image_set_out(layer, layer->in.dim[0], layer->in.dim[1] * o->scale[0], layer->in.dim[2] * o->scale[1]);
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  const upsample_options *o = layer->options;
  const int64_t channels = layer->in.dim[0], width = layer->in.dim[2], out_row = layer->out.dim[2] * channels;
  const float *x = run->x;
  float *y = run->y;
  for (int64_t row = 0; row < run->n * layer->in.dim[1]; row++, x += width * channels, y += o->scale[0] * out_row) {
    for (int64_t j = 0; j < layer->out.dim[2]; j++)
      memcpy(y + j * channels, x + j / o->scale[1] * channels, (size_t)channels * sizeof *y);
    for (int64_t i = 1; i < o->scale[0]; i++) memcpy(y + i * out_row, y, (size_t)out_row * sizeof *y);
  }
}

/* The gradients of all copies, row by row from the top left. */
static void backward(const dl_layer *layer, const dl_layer_run *run) {
  const upsample_options *o = layer->options;
  const int64_t channels = layer->in.dim[0], width = layer->in.dim[2], out_row = layer->out.dim[2] * channels;
  const float *dy = run->dy;
  float *dx = run->dx;
  if (!dx) return;
  memset(dx, 0, (size_t)(run->n * dl_shape_size(&layer->in)) * sizeof *dx);
  for (int64_t row = 0; row < run->n * layer->in.dim[1]; row++, dx += width * channels)
    for (int64_t i = 0; i < o->scale[0]; i++, dy += out_row)
      for (int64_t j = 0; j < layer->out.dim[2]; j++)
        dl_vector()->add(dx + j / o->scale[1] * channels, dy + j * channels, (size_t)channels);
}

const dl_layer_kind dl_layer_upsample2d = {
    .name = "upsample2d",
    .help = "a larger image: every pixel repeated (nearest)",
    .options = options,
    .n_options = 1,
    .options_size = sizeof(upsample_options),
    .value_option = "scale",
    .order = DL_ORDER_CHANNELS_LAST,
    .by_sample = true,
    .forgets_input = true,
    .setup = setup,
    .forward = forward,
    .backward = backward,
};

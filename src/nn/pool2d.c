/* pool2d.c - maxpool2d, avgpool2d and global_avgpool2d on images whose channels lie together.
 *
 * A window's largest value is kept with its place, so the backward pass needs neither x nor y. As in PyTorch the output
 * has floor((size + 2 padding - kernel) / stride) + 1 rows, and padding is at most half the kernel, so every window
 * touches the image.
 */
#include <stdlib.h>

#include "nn/image.h"
#include "nn/kernels_image.h"
#include "nn/layer_kinds.h"

typedef struct pool_options {
  int64_t kernel[2], stride[2], padding[2]; /* stride 0: as kernel */
  bool count_padding;
} pool_options;

static const dl_option options[] = {
    {.key = "kernel",
     .type = DL_OPTION_PAIR,
     .offset = offsetof(pool_options, kernel),
     .min = 1,
     .max = 1 << 15,
     .help = "height and width of the window"},
    {.key = "stride",
     .type = DL_OPTION_PAIR,
     .offset = offsetof(pool_options, stride),
     .min = 1,
     .max = 1 << 15,
     .fallback = "",
     .help = "steps between windows; default: the kernel"},
    {.key = "padding",
     .type = DL_OPTION_PAIR,
     .offset = offsetof(pool_options, padding),
     .max = 1 << 14,
     .fallback = "0",
     .help = "rows and columns added on each side that count for nothing (avgpool2d: as zeros)"},
    {.key = "count_include_pad",
     .type = DL_OPTION_BOOL,
     .offset = offsetof(pool_options, count_padding),
     .fallback = "true",
     .help = "whether padding counts as zeros in the mean"},
};

static dl_status check_window(const dl_layer *layer, const dl_window *w) {
  char shape[96];
  if (2 * w->ph > w->kh || 2 * w->pw > w->kw)
    return dl_layer_fail(layer, "padding (%lld, %lld) is more than half the kernel (%lld, %lld)", (long long)w->ph,
                         (long long)w->pw, (long long)w->kh, (long long)w->kw);
  if (w->ih + 2 * w->ph < w->kh || w->iw + 2 * w->pw < w->kw)
    return dl_layer_fail(layer, "its kernel (%lld, %lld) is larger than the image it reads, %s", (long long)w->kh,
                         (long long)w->kw, dl_shape_text(&layer->in, shape, sizeof shape));
  return DL_OK;
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  const pool_options *o = layer->options;
  const int64_t *stride = o->stride[0] ? o->stride : o->kernel;
  DL_TRY(dl_image_check(layer));
  dl_window *w = layer->state = dl_calloc(1, sizeof *w);
  if (!w) return DL_ERR_NOMEM;
  *w = (dl_window){.channels = layer->in.dim[0],
                   .ih = layer->in.dim[1],
                   .iw = layer->in.dim[2],
                   .kh = o->kernel[0],
                   .kw = o->kernel[1],
                   .sh = stride[0],
                   .sw = stride[1],
                   .ph = o->padding[0],
                   .pw = o->padding[1],
                   .count_padding = o->count_padding};
  DL_TRY(check_window(layer, w));
  w->oh = (w->ih + 2 * w->ph - w->kh) / w->sh + 1;
  w->ow = (w->iw + 2 * w->pw - w->kw) / w->sw + 1;
  layer->out = (dl_shape){.dims = 3, .dim = {w->channels, w->oh, w->ow}};
  return DL_OK;
}

static dl_status max_setup(dl_layer *layer, dl_layer_builder *builder) {
  DL_TRY(setup(layer, builder));
  layer->work_count = (size_t)dl_shape_size(&layer->out);
  return DL_OK;
}

static void destroy(dl_layer *layer) {
  free(layer->state);
  layer->state = NULL;
}

/* Places are numbers of four bytes in the workspace of floats. */
static void max_forward(const dl_layer *layer, const dl_layer_run *run) {
  dl_window window = *(const dl_window *)layer->state;
  window.relu = layer->with_relu;
  dl_image_kernels_in_use()->maxpool(&window, run->n, run->x, run->y, (int32_t *)(void *)run->work);
}

static void max_backward(const dl_layer *layer, const dl_layer_run *run) {
  if (run->dx)
    dl_image_kernels_in_use()->maxpool_backward(layer->state, run->n, (int32_t *)(void *)run->work, run->dy, run->dx);
}

const dl_layer_kind dl_layer_maxpool2d = {
    .name = "maxpool2d",
    .help = "the largest value of each window, channel by channel",
    .options = options,
    .n_options = 3,
    .options_size = sizeof(pool_options),
    .value_option = "kernel",
    .order = DL_ORDER_CHANNELS_LAST,
    .by_sample = true,
    .forgets_input = true,
    .takes_relu = true,
    .setup = max_setup,
    .forward = max_forward,
    .backward = max_backward,
    .destroy = destroy,
};

static void avg_forward(const dl_layer *layer, const dl_layer_run *run) {
  dl_image_kernels_in_use()->avgpool(layer->state, run->n, run->x, run->y);
}

static void avg_backward(const dl_layer *layer, const dl_layer_run *run) {
  if (run->dx) dl_image_kernels_in_use()->avgpool_backward(layer->state, run->n, run->dy, run->dx);
}

const dl_layer_kind dl_layer_avgpool2d = {
    .name = "avgpool2d",
    .help = "the mean of each window, channel by channel",
    .options = options,
    .n_options = 4,
    .options_size = sizeof(pool_options),
    .value_option = "kernel",
    .order = DL_ORDER_CHANNELS_LAST,
    .by_sample = true,
    .forgets_input = true,
    .setup = setup,
    .forward = avg_forward,
    .backward = avg_backward,
    .destroy = destroy,
};

/* One window over all of the image; the output is a row of channels. */
static dl_status global_setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  DL_TRY(dl_image_check(layer));
  dl_window *w = layer->state = dl_calloc(1, sizeof *w);
  if (!w) return DL_ERR_NOMEM;
  const int64_t h = layer->in.dim[1], width = layer->in.dim[2];
  *w = (dl_window){.channels = layer->in.dim[0],
                   .ih = h,
                   .iw = width,
                   .oh = 1,
                   .ow = 1,
                   .kh = h,
                   .kw = width,
                   .sh = 1,
                   .sw = 1,
                   .count_padding = true};
  layer->out = (dl_shape){.dims = 1, .dim = {w->channels}};
  return DL_OK;
}

const dl_layer_kind dl_layer_global_avgpool2d = {
    .name = "global_avgpool2d",
    .help = "the mean of each channel over the image",
    .order = DL_ORDER_CHANNELS_LAST,
    .by_sample = true,
    .forgets_input = true,
    .setup = global_setup,
    .forward = avg_forward,
    .backward = avg_backward,
    .destroy = destroy,
};

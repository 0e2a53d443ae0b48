/* conv2d.c - conv2d and conv2d_transpose: options, shapes and initial weights.
 *
 * A transposed convolution is the backward pass of a convolution from its output to its input, with the same weights
 * (in, out / groups, kh, kw) in their places: each of its three passes is another one of the mirror image's.
 */
#include <math.h>
#include <string.h>

#include "nn/conv.h"
#include "nn/image.h"
#include "nn/kernels.h"
#include "nn/kernels_image.h"
#include "nn/layer_kinds.h"

typedef struct conv_options {
  int64_t filters, kernel[2], stride[2], dilation[2], output_padding[2], groups;
  dl_node *padding;
  bool bias;
} conv_options;

#define MOST_PIXELS (1 << 15)
#define ROW(name, kind, ...) \
  { .key = #name, .type = DL_OPTION_##kind, .offset = offsetof(conv_options, name), __VA_ARGS__ }

static const dl_option options[] = {
    ROW(filters, INT, .min = 1, .max = 1 << 20, .help = "number of channels of the output"),
    ROW(kernel, PAIR, .min = 1, .max = MOST_PIXELS, .help = "height and width of the kernel"),
    ROW(stride, PAIR, .min = 1, .max = MOST_PIXELS, .fallback = "1", .help = "steps between places of the kernel"),
    ROW(padding, NODE, .fallback = "0",
        .help = "zeros on each side, a number or [height, width]; valid: none; same: output size = input size / stride "
                "(conv2d_transpose: * stride)"),
    ROW(dilation, PAIR, .min = 1, .max = MOST_PIXELS, .fallback = "1", .help = "steps between kernel elements"),
    ROW(groups, INT, .min = 1, .max = 1 << 20, .fallback = "1",
        .help = "parts that channels are cut into, each convolved by itself"),
    ROW(bias, BOOL, .fallback = "true", .help = "whether a learnt offset is added to each channel"),
    ROW(output_padding, PAIR, .max = MOST_PIXELS, .fallback = "0",
        .help = "rows and columns added at the output's end"),
};
enum { N_TRANSPOSE_OPTIONS = sizeof options / sizeof options[0], N_CONV_OPTIONS = N_TRANSPOSE_OPTIONS - 1 };

/* ---- shapes ---- */

/* One dimension: sizes of the convolution's input and output (of the mirror image's for conv2d_transpose). */
typedef struct extent {
  int64_t in, out, begin, end; /* begin, end: zeros before and after */
} extent;

typedef enum padding_kind { PADDING_NUMBERS, PADDING_SAME, PADDING_VALID } padding_kind;

static dl_status read_padding(const conv_options *o, padding_kind *kind, int64_t numbers[2]) {
  const dl_node *node = o->padding;
  *kind = PADDING_NUMBERS;
  numbers[0] = numbers[1] = 0;
  if (!node || node->kind == DL_NODE_NULL) return DL_OK;
  if (node->kind == DL_NODE_SCALAR && !strcmp(node->text, "same"))
    *kind = PADDING_SAME;
  else if (node->kind == DL_NODE_SCALAR && !strcmp(node->text, "valid"))
    *kind = PADDING_VALID;
  else if (node->kind == DL_NODE_SCALAR && !strchr("-+0123456789", *node->text))
    return dl_node_fail(node, false, "padding must be a number, a list of two, same or valid, not the text '%.40s'",
                        node->text);
  else
    return dl_image_pair(node, "padding", 0, numbers);
  return DL_OK;
}

/* `in` is what the layer reads; range: what the kernel spans. */
static extent conv_extent(int64_t in, int64_t range, int64_t stride, padding_kind kind, int64_t padding) {
  extent e = {.in = in, .begin = padding, .end = padding};
  if (kind == PADDING_SAME) { /* as in Keras, and PyTorch at stride 1: what is odd goes to the end */
    const int64_t out = (in + stride - 1) / stride, all = (out - 1) * stride + range - in;
    e.begin = all > 0 ? all / 2 : 0;
    e.end = all > 0 ? all - e.begin : 0;
  }
  e.out = in + e.begin + e.end < range ? 0 : (in + e.begin + e.end - range) / stride + 1;
  return e;
}

/* Of the mirror image: its output is what the layer reads, its input what the layer writes. */
static extent transpose_extent(int64_t in, int64_t range, int64_t stride, padding_kind kind, int64_t padding,
                               int64_t more) {
  extent e = {.out = in, .begin = padding};
  e.in = (in - 1) * stride + range - 2 * padding + more;
  if (kind == PADDING_SAME) {
    e.in = in * stride;
    e.begin = range > stride ? (range - stride) / 2 : 0;
  }
  e.end = (in - 1) * stride + range - e.in - e.begin;
  if (e.end < 0) e.end = 0; /* the last rows, which no kernel reaches, are not padding */
  return e;
}

static dl_status check_extent(const dl_layer *layer, bool transpose, const extent *e) {
  const conv_options *o = layer->options;
  char shape[96];
  dl_shape_text(&layer->in, shape, sizeof shape);
  if (transpose && e->in < 1) {
    dl_layer_fail(layer, "its padding leaves nothing of the output; it reads %s", shape);
    return dl_hint("take a smaller padding");
  }
  if (e->out >= 1) return DL_OK;
  dl_layer_fail(layer, "its kernel (%lld, %lld)%s is larger than the image it reads, %s", (long long)o->kernel[0],
                (long long)o->kernel[1], o->dilation[0] > 1 || o->dilation[1] > 1 ? " with its dilation" : "", shape);
  return dl_hint("take a smaller kernel, `padding: same`, or fewer layers that shrink the image");
}

static dl_status find_extents(const dl_layer *layer, bool transpose, extent out[2]) {
  const conv_options *o = layer->options;
  padding_kind kind;
  int64_t padding[2];
  DL_TRY(read_padding(o, &kind, padding));
  for (int d = 0; d < 2; d++) {
    const int64_t in = layer->in.dim[1 + d], range = o->dilation[d] * (o->kernel[d] - 1) + 1;
    const int64_t most = o->stride[d] > o->dilation[d] ? o->stride[d] : o->dilation[d];
    if (transpose && o->output_padding[d] >= most)
      return dl_layer_fail(layer, "output_padding must be less than stride or dilation, not %lld",
                           (long long)o->output_padding[d]);
    out[d] = transpose ? transpose_extent(in, range, o->stride[d], kind, padding[d], o->output_padding[d])
                       : conv_extent(in, range, o->stride[d], kind, padding[d]);
    DL_TRY(check_extent(layer, transpose, &out[d]));
  }
  return DL_OK;
}

static dl_conv_shape shape_of(const dl_layer *layer, bool transpose, const extent e[2]) {
  const conv_options *o = layer->options;
  const int64_t in = layer->in.dim[0];
  return (dl_conv_shape){.ic = transpose ? o->filters : in,
                         .ih = e[0].in,
                         .iw = e[1].in,
                         .oc = transpose ? in : o->filters,
                         .oh = e[0].out,
                         .ow = e[1].out,
                         .groups = o->groups,
                         .kh = o->kernel[0],
                         .kw = o->kernel[1],
                         .sh = o->stride[0],
                         .sw = o->stride[1],
                         .dh = o->dilation[0],
                         .dw = o->dilation[1],
                         .top = e[0].begin,
                         .left = e[1].begin,
                         .bottom = e[0].end,
                         .right = e[1].end,
                         .bias = o->bias && !transpose};
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder, bool transpose) {
  const conv_options *o = layer->options;
  extent e[2];
  DL_TRY(dl_image_check(layer));
  if (layer->in.dim[0] % o->groups || o->filters % o->groups)
    return dl_layer_fail(layer, "groups: %lld must divide the %lld channels it reads and its %lld filters",
                         (long long)o->groups, (long long)layer->in.dim[0], (long long)o->filters);
  DL_TRY(find_extents(layer, transpose, e));
  const dl_conv_shape s = shape_of(layer, transpose, e);
  DL_TRY(dl_image_set_out(layer, o->filters, transpose ? s.ih : s.oh, transpose ? s.iw : s.ow));
  const int64_t each = s.ic / s.groups; /* channels that a filter reads */
  layer->multiply_adds = (double)s.oc * (double)(s.oh * s.ow) * (double)each * (double)(s.kh * s.kw);
  DL_TRY(dl_layer_add_tensor(builder, "weight", 4, (int64_t[]){s.oc, each, s.kh, s.kw}, true));
  if (o->bias) DL_TRY(dl_layer_add_tensor(builder, "bias", 1, &o->filters, false));
  dl_conv *conv;
  DL_TRY(dl_conv_new(&s, dl_layer_gemm(builder), &conv));
  layer->state = conv;
  return DL_OK;
}

static dl_status conv_setup(dl_layer *layer, dl_layer_builder *builder) { return setup(layer, builder, false); }
static dl_status transpose_setup(dl_layer *layer, dl_layer_builder *builder) { return setup(layer, builder, true); }

static void destroy(dl_layer *layer) {
  dl_conv *conv = layer->state;
  dl_conv_destroy(&conv);
  layer->state = NULL;
}

/* PyTorch: kaiming_uniform with a = sqrt(5) comes to U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for the bias too; fans are
 * those of the weight's shape, for conv2d_transpose as well. */
static void init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  const dl_conv_shape *s = &((const dl_conv *)layer->state)->shape;
  const int64_t field = s->kh * s->kw, in = s->ic / s->groups * field, out = s->oc * field;
  dl_init_fill(tensor == 0 ? layer->init : DL_INIT_DEFAULT, 1 / sqrt((double)in), in, out, key, tensor, values, count);
}

/* ---- passes ---- */

static const float *bias_of(const dl_layer *layer, const dl_layer_run *run) {
  return layer->n_tensors > 1 ? run->weights[1] : NULL;
}

static float *bias_gradient(const dl_layer *layer, const dl_layer_run *run) {
  return layer->n_tensors > 1 ? run->gradients[1] : NULL;
}

static void conv_forward(const dl_layer *layer, const dl_layer_run *run) {
  dl_conv *c = layer->state;
  c->ops->forward(c, run->n, run->x, run->weights[0], bias_of(layer, run), run->y);
}

static void conv_backward(const dl_layer *layer, const dl_layer_run *run) {
  dl_conv *c = layer->state;
  if (run->gradients)
    c->ops->backward_weights(c, run->n, run->x, run->dy, run->gradients[0], bias_gradient(layer, run));
  if (run->dx) c->ops->backward_data(c, run->n, run->dy, run->weights[0], run->dx);
}

const dl_layer_kind dl_layer_conv2d = {
    .name = "conv2d",
    .help = "a learnt filter at each place of an image",
    .options = options,
    .n_options = N_CONV_OPTIONS,
    .options_size = sizeof(conv_options),
    .order = DL_ORDER_CHANNELS_LAST,
    .by_sample = true,
    .setup = conv_setup,
    .init = init,
    .forward = conv_forward,
    .backward = conv_backward,
    .destroy = destroy,
};

static void transpose_forward(const dl_layer *layer, const dl_layer_run *run) {
  dl_conv *c = layer->state;
  const float *bias = bias_of(layer, run);
  c->ops->backward_data(c, run->n, run->x, run->weights[0], run->y);
  if (bias) dl_kernels_in_use()->bias_add(run->n * c->shape.ih * c->shape.iw, c->shape.ic, bias, run->y);
}

static void transpose_backward(const dl_layer *layer, const dl_layer_run *run) {
  dl_conv *c = layer->state;
  float *dbias = run->gradients ? bias_gradient(layer, run) : NULL;
  if (run->gradients) c->ops->backward_weights(c, run->n, run->dy, run->x, run->gradients[0], NULL);
  if (dbias) dl_image_kernels_in_use()->channel_sums(run->n * c->shape.ih * c->shape.iw, c->shape.ic, run->dy, dbias);
  if (run->dx) c->ops->forward(c, run->n, run->dy, run->weights[0], NULL, run->dx);
}

const dl_layer_kind dl_layer_conv2d_transpose = {
    .name = "conv2d_transpose",
    .help = "a convolution backwards: spreads each pixel over a larger image",
    .options = options,
    .n_options = N_TRANSPOSE_OPTIONS,
    .options_size = sizeof(conv_options),
    .order = DL_ORDER_CHANNELS_LAST,
    .by_sample = true,
    .setup = transpose_setup,
    .init = init,
    .forward = transpose_forward,
    .backward = transpose_backward,
    .destroy = destroy,
};

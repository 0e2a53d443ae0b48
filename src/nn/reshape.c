/* reshape.c - the same numbers in another shape, in the same memory. */
#include <string.h>

#include "nn/layer_kinds.h"

typedef struct reshape_options {
  dl_node *shape;
} reshape_options;

static const dl_option options[] = {
    {.key = "shape",
     .type = DL_OPTION_NODE,
     .offset = offsetof(reshape_options, shape),
     .help = "the dimensions of a sample, such as [16, 4]; one of them may be -1: what is left"},
};

/* Dimensions from the list (or a single number); *open is the place of -1, or -1. */
static dl_status read_shape(const dl_layer *layer, const dl_node *node, dl_shape *out, int *open) {
  const dl_node *item = node->kind == DL_NODE_LIST ? node->first : node;
  *out = (dl_shape){0};
  *open = -1;
  for (; item; item = node->kind == DL_NODE_LIST ? item->next : NULL) {
    int64_t value;
    DL_TRY(dl_node_int(item, "shape", &value));
    if (out->dims == DL_MAX_DIMS) return dl_node_fail(item, false, "shape has more than %d dimensions", DL_MAX_DIMS);
    if (value == -1 && *open >= 0) return dl_node_fail(item, false, "only one dimension of shape may be -1");
    if (value != -1 && (value < 1 || value > INT32_MAX))
      return dl_node_fail(item, false, "a dimension of shape must be 1 or more, or -1, not %s", item->text);
    if (value == -1) *open = out->dims;
    out->dim[out->dims++] = value == -1 ? 1 : value;
  }
  return out->dims ? DL_OK : dl_layer_fail(layer, "shape has no dimensions");
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  const reshape_options *o = layer->options;
  const int64_t size = dl_shape_size(&layer->in);
  char from[96], to[96];
  int open;
  DL_TRY(read_shape(layer, o->shape, &layer->out, &open));
  int64_t rest = 1;
  for (int i = 0; i < layer->out.dims; i++)
    if (__builtin_mul_overflow(rest, layer->out.dim[i], &rest)) return dl_layer_fail(layer, "its shape is too large");
  if (open >= 0) layer->out.dim[open] = size / rest;
  layer->same_values = true;
  if (size % rest == 0 && dl_shape_size(&layer->out) == size) return DL_OK;
  return dl_layer_fail(layer, "what it reads has the shape %s of %lld values, which %s cannot hold",
                       dl_shape_text(&layer->in, from, sizeof from), (long long)size,
                       dl_shape_text(&layer->out, to, sizeof to));
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  if (run->y != run->x) memcpy(run->y, run->x, (size_t)(run->n * dl_shape_size(&layer->out)) * sizeof(float));
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  if (run->dx && run->dx != run->dy)
    memcpy(run->dx, run->dy, (size_t)(run->n * dl_shape_size(&layer->out)) * sizeof(float));
}

const dl_layer_kind dl_layer_reshape = {
    .name = "reshape",
    .help = "the same values in another shape",
    .options = options,
    .n_options = 1,
    .options_size = sizeof(reshape_options),
    .value_option = "shape",
    .setup = setup,
    .forward = forward,
    .backward = backward,
};

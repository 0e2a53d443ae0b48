/* image.c - what layers on images share. */
#include "nn/image.h"

/* Sides and channels are ints to the libraries; what is far beyond any memory is refused before it overflows. */
static bool fits(const dl_shape *shape) {
  double size = 1;
  bool each = true;
  for (int i = 0; i < 3; i++) {
    each = each && shape->dim[i] <= INT32_MAX;
    size *= (double)shape->dim[i];
  }
  return each && size < 0x1p40;
}

dl_status dl_image_check(const dl_layer *layer) {
  char shape[96];
  if (layer->in.dims != 3) {
    dl_layer_fail(layer, "it takes images (channels, height, width), but what it reads has the shape %s",
                  dl_shape_text(&layer->in, shape, sizeof shape));
    return layer->in.dims == 2 ? dl_hint("give it channels: `reshape: [1, %lld, %lld]` before it",
                                         (long long)layer->in.dim[0], (long long)layer->in.dim[1])
                               : dl_hint("put it before `flatten`, or `reshape` its input to an image");
  }
  return fits(&layer->in) ? DL_OK
                          : dl_layer_fail(layer, "the image it reads, %s, is too large",
                                          dl_shape_text(&layer->in, shape, sizeof shape));
}

dl_status dl_image_set_out(dl_layer *layer, int64_t channels, int64_t height, int64_t width) {
  char in[96], out[96];
  layer->out = (dl_shape){.dims = 3, .dim = {channels, height, width}};
  return fits(&layer->out)
             ? DL_OK
             : dl_layer_fail(layer, "it makes %s of %s: that is too large", dl_shape_text(&layer->out, out, sizeof out),
                             dl_shape_text(&layer->in, in, sizeof in));
}

dl_status dl_image_pair(const dl_node *node, const char *what, int64_t least, int64_t out[2]) {
  const bool two = node->kind == DL_NODE_LIST && dl_node_size(node) == 2;
  if (node->kind != DL_NODE_SCALAR && !two)
    return dl_node_fail(node, false, "%s must be a number or a list of two, such as 3 or [3, 5]", what);
  const dl_node *first = two ? node->first : node, *second = two ? node->first->next : node;
  DL_TRY(dl_node_int(first, what, &out[0]));
  DL_TRY(dl_node_int(second, what, &out[1]));
  for (int i = 0; i < 2; i++)
    if (out[i] < least || out[i] > 1 << 15)
      return dl_node_fail(i ? second : first, false, "%s must lie within %lld and %d, not %lld", what, (long long)least,
                          1 << 15, (long long)out[i]);
  return DL_OK;
}

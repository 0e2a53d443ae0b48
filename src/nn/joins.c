/* joins.c - where branches meet: add (equal shapes, summed in the order of `from`) and concat (along the first
 * dimension). */
#include <string.h>

#include "core/vector.h"
#include "nn/layer_kinds.h"

static bool same_shape(const dl_shape *a, const dl_shape *b, int from_dim) {
  bool same = a->dims == b->dims;
  for (int i = from_dim; same && i < a->dims; i++) same = a->dim[i] == b->dim[i];
  return same;
}

static dl_status check_shapes(const dl_layer *layer, int from_dim, const char *rule) {
  char first[96], other[96];
  for (int i = 1; i < layer->n_inputs; i++)
    if (!same_shape(&layer->in, layer->input_shapes[i], from_dim))
      return dl_layer_fail(layer, "%s, but its first input has the shape %s and input %d has %s", rule,
                           dl_shape_text(&layer->in, first, sizeof first), i + 1,
                           dl_shape_text(layer->input_shapes[i], other, sizeof other));
  return DL_OK;
}

static dl_status add_setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  DL_TRY(check_shapes(layer, 0, "it adds inputs of one shape"));
  layer->out = layer->in;
  return DL_OK;
}

static void add_forward(const dl_layer *layer, const dl_layer_run *run) {
  const size_t n = (size_t)(run->n * dl_shape_size(&layer->out));
  memcpy(run->y, run->xs[0], n * sizeof(float));
  for (int i = 1; i < layer->n_inputs; i++) dl_vector()->add(run->y, run->xs[i], n);
}

static void add_backward(const dl_layer *layer, const dl_layer_run *run) {
  const size_t n = (size_t)(run->n * dl_shape_size(&layer->out));
  for (int i = 0; i < layer->n_inputs; i++)
    if (run->dxs[i]) memcpy(run->dxs[i], run->dy, n * sizeof(float));
}

const dl_layer_kind dl_layer_add = {
    .name = "add",
    .help = "the sum of the layers that `from` names",
    .joins = true,
    .setup = add_setup,
    .forward = add_forward,
    .backward = add_backward,
};

static dl_status concat_setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  DL_TRY(check_shapes(layer, 1, "it joins inputs that differ in their first dimension alone"));
  layer->out = layer->in;
  for (int i = 1; i < layer->n_inputs; i++) layer->out.dim[0] += layer->input_shapes[i]->dim[0];
  return DL_OK;
}

static void concat_forward(const dl_layer *layer, const dl_layer_run *run) {
  const int64_t out = dl_shape_size(&layer->out);
  float *y = run->y;
  for (int i = 0; i < layer->n_inputs; i++) {
    const int64_t in = dl_shape_size(layer->input_shapes[i]);
    for (int64_t r = 0; r < run->n; r++) memcpy(y + r * out, run->xs[i] + r * in, (size_t)in * sizeof(float));
    y += in;
  }
}

static void concat_backward(const dl_layer *layer, const dl_layer_run *run) {
  const int64_t out = dl_shape_size(&layer->out);
  const float *dy = run->dy;
  for (int i = 0; i < layer->n_inputs; i++) {
    const int64_t in = dl_shape_size(layer->input_shapes[i]);
    for (int64_t r = 0; run->dxs[i] && r < run->n; r++)
      memcpy(run->dxs[i] + r * in, dy + r * out, (size_t)in * sizeof(float));
    dy += in;
  }
}

const dl_layer_kind dl_layer_concat = {
    .name = "concat",
    .help = "the layers that `from` names, side by side along the first dimension",
    .joins = true,
    .setup = concat_setup,
    .forward = concat_forward,
    .backward = concat_backward,
};

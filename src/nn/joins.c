/* joins.c - where branches meet: add (equal shapes, summed in the order of `from`), residual (its layers and its
 * shortcut) and concat (along the first dimension). */
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
  layer->in_place = true;
  return DL_OK;
}

static void add_forward(const dl_layer *layer, const dl_layer_run *run) {
  const size_t n = (size_t)(run->n * dl_shape_size(&layer->out));
  const bool in_place = run->y == run->xs[0];
  if (!in_place) dl_vector()->sum2(run->y, run->xs[0], run->xs[1], n);
  for (int i = in_place ? 1 : 2; i < layer->n_inputs; i++) dl_vector()->add(run->y, run->xs[i], n);
}

static void add_backward(const dl_layer *layer, const dl_layer_run *run) {
  const size_t n = (size_t)(run->n * dl_shape_size(&layer->out));
  for (int i = 0; i < layer->n_inputs; i++)
    if (run->dxs[i] && run->dxs[i] != run->dy) memcpy(run->dxs[i], run->dy, n * sizeof(float));
}

const dl_layer_kind dl_layer_add = {
    .name = "add",
    .help = "the sum of the layers that `from` names",
    .joins = true,
    .order = DL_ORDER_EITHER,
    .by_sample = true,
    .forgets_input = true,
    .cheap = true,
    .setup = add_setup,
    .forward = add_forward,
    .backward = add_backward,
};

/* ---- residual: the end of its layers and its shortcut, added ---- */

static const dl_option residual_rows[] = {
    {.key = "layers",
     .type = DL_OPTION_NODE,
     .offset = offsetof(dl_layer_branches, layers),
     .help = "a list of layers, the first of which reads what the residual reads"},
    {.key = "shortcut",
     .type = DL_OPTION_NODE,
     .offset = offsetof(dl_layer_branches, shortcut),
     .fallback = "",
     .help = "a layer or a list of layers beside them, where shapes or sizes change; default: the input as it is"},
};

static dl_status residual_setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  char first[96], other[96];
  layer->out = layer->in;
  layer->in_place = true;
  if (same_shape(&layer->in, layer->input_shapes[1], 0)) return DL_OK;
  const dl_layer_branches *branches = layer->options;
  dl_layer_fail(layer, "its layers end in the shape %s, but its %s has %s",
                dl_shape_text(&layer->in, first, sizeof first), branches->shortcut ? "shortcut" : "input",
                dl_shape_text(layer->input_shapes[1], other, sizeof other));
  return dl_hint("both are added: give it a `shortcut:` that ends in the same shape");
}

const dl_layer_kind dl_layer_residual = {
    .name = "residual",
    .help = "the sum of its layers and its input, or of its layers and its shortcut",
    .options = residual_rows,
    .n_options = 2,
    .options_size = sizeof(dl_layer_branches),
    .value_option = "layers",
    .composite = true,
    .order = DL_ORDER_EITHER,
    .by_sample = true,
    .forgets_input = true,
    .cheap = true,
    .setup = residual_setup,
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

/* Runs of memory that come from each input in turn: samples, or pixels where channels lie together. */
static int64_t runs_of(const dl_layer *layer, const dl_layer_run *run) {
  return layer->channels_last ? run->n * layer->out.dim[1] * layer->out.dim[2] : run->n;
}

static int64_t run_size(const dl_layer *layer, const dl_shape *shape) {
  return layer->channels_last ? shape->dim[0] : dl_shape_size(shape);
}

static void concat_forward(const dl_layer *layer, const dl_layer_run *run) {
  const int64_t out = run_size(layer, &layer->out), runs = runs_of(layer, run);
  float *y = run->y;
  for (int i = 0; i < layer->n_inputs; i++) {
    const int64_t in = run_size(layer, layer->input_shapes[i]);
    for (int64_t r = 0; r < runs; r++) memcpy(y + r * out, run->xs[i] + r * in, (size_t)in * sizeof(float));
    y += in;
  }
}

static void concat_backward(const dl_layer *layer, const dl_layer_run *run) {
  const int64_t out = run_size(layer, &layer->out), runs = runs_of(layer, run);
  const float *dy = run->dy;
  for (int i = 0; i < layer->n_inputs; i++) {
    const int64_t in = run_size(layer, layer->input_shapes[i]);
    for (int64_t r = 0; run->dxs[i] && r < runs; r++)
      memcpy(run->dxs[i] + r * in, dy + r * out, (size_t)in * sizeof(float));
    dy += in;
  }
}

const dl_layer_kind dl_layer_concat = {
    .name = "concat",
    .help = "the layers that `from` names, side by side along the first dimension",
    .joins = true,
    .order = DL_ORDER_EITHER,
    .by_sample = true,
    .forgets_input = true,
    .setup = concat_setup,
    .forward = concat_forward,
    .backward = concat_backward,
};

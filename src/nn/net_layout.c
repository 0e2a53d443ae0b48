/* net_layout.c - one workspace, laid out once.
 *
 *   | input | outputs of layers ... | turned copies ... | work of layers ... | gradient slots ... | scratch |
 *     rows of 16 floats; n samples use the front of each piece
 *
 * An element-wise layer writes into the buffer it reads where that is safe: nobody else reads it, and no layer whose
 * output lies there needs it in the backward pass. Gradients of outputs live from the backward pass of the first reader
 * to that of the layer itself: they take turns in few slots, which keeps them in cache. Where several layers read one
 * value, the first to run backward (the last in the list) writes its gradient and the others add to it, in that order.
 *
 * Where a layer reads an image in the other order (dl_order), its input is turned into a copy before it runs, and its
 * dx is turned back into the value's gradient afterwards.
 */
#include <stdlib.h>

#include "nn/layer_kinds.h"
#include "nn/net_private.h"

typedef struct piece {
  size_t count; /* floats a sample */
  size_t offset;
  bool taken; /* slots: in use; buffers: not to be written again */
} piece;

typedef struct layout {
  dl_net *net;
  piece *buffers, *slots; /* n_layers + 1 buffers at most; a slot for each value and each scratch at most */
  int n_buffers, n_slots;
  size_t *turned, *work; /* offsets: a copy for each input of each layer; work of each layer */
  size_t scratch;        /* offset of what layers share */
} layout;

static size_t size_of(const dl_value *value) { return (size_t)dl_shape_size(&value->shape); }

/* In which order the layer works, and which of its inputs are to be turned for it. */
static void choose_order(layout *l, int number) {
  dl_layer *layer = &l->net->layers[number];
  const dl_value *values = l->net->values;
  const bool first = values[layer->inputs[0] + 1].channels_last;
  layer->channels_last =
      layer->kind->order == DL_ORDER_CHANNELS_LAST || (layer->kind->order == DL_ORDER_EITHER && first);
  l->net->values[number + 1].channels_last = layer->channels_last && layer->out.dims == 3;
  for (int k = 0; k < layer->n_inputs; k++) {
    const dl_value *in = &values[layer->inputs[k] + 1];
    l->net->steps[number].turns[k] = in->channels_last != layer->channels_last && !dl_shape_one_order(&in->shape);
  }
}

static void place_output(layout *l, int number) {
  const dl_layer *layer = &l->net->layers[number];
  dl_value *in = &l->net->values[layer->inputs[0] + 1], *out = &l->net->values[number + 1];
  piece *buffer = &l->buffers[in->buffer];
  const bool turned = l->net->steps[number].turns[0], alone = in->readers == 1 && !buffer->taken;
  if (layer->same_values && !turned) {
    out->buffer = in->buffer;
    buffer->taken = buffer->taken || in->readers > 1;
  } else if (layer->in_place && alone && !turned) {
    out->buffer = in->buffer;
  } else {
    out->buffer = l->n_buffers++;
    l->buffers[out->buffer] = (piece){.count = size_of(out)};
  }
  if (layer->reads_output) l->buffers[out->buffer].taken = true;
}

/* The smallest free slot that holds `count`, else the largest free one, grown, else a new one. */
static int take_slot(layout *l, size_t count) {
  int fit = -1, largest = -1;
  for (int i = 0; i < l->n_slots; i++) {
    const piece *s = &l->slots[i];
    if (s->taken) continue;
    if (s->count >= count && (fit < 0 || s->count < l->slots[fit].count)) fit = i;
    if (largest < 0 || s->count > l->slots[largest].count) largest = i;
  }
  int slot = fit >= 0 ? fit : largest >= 0 ? largest : l->n_slots++;
  if (l->slots[slot].count < count) l->slots[slot].count = count;
  l->slots[slot].taken = true;
  return slot;
}

/* Where the backward pass of layer `number` writes; its own gradient's slot is free afterwards. */
static void place_gradients(layout *l, int number) {
  const dl_layer *layer = &l->net->layers[number];
  dl_net_step *step = &l->net->steps[number];
  const dl_value *out = &l->net->values[number + 1];
  bool handed_over = false;
  for (int i = 0; i < layer->n_inputs; i++) {
    dl_value *in = &l->net->values[layer->inputs[i] + 1];
    if (!in->wants_gradient) continue;
    step->adds[i] = in->slot >= 0;
    if (step->adds[i]) {
      step->dx_slot[i] = take_slot(l, size_of(in));
    } else if (step->turns[i]) {
      in->slot = take_slot(l, size_of(in));
      step->dx_slot[i] = take_slot(l, size_of(in));
    } else if ((layer->in_place || layer->same_values) && !handed_over) {
      step->dx_slot[i] = in->slot = out->slot;
      handed_over = true;
    } else {
      step->dx_slot[i] = in->slot = take_slot(l, size_of(in));
    }
  }
  for (int i = 0; i < layer->n_inputs; i++)
    if (step->dx_slot[i] >= 0 && (step->adds[i] || step->turns[i])) l->slots[step->dx_slot[i]].taken = false;
  if (!handed_over) l->slots[out->slot].taken = false;
}

/* max(x, 0) and the largest of a window may change places: where a relu in place is read by a pooling layer alone, that
 * one does both, on fewer values. */
static void join_relu(const layout *l, int number) {
  dl_layer *layer = &l->net->layers[number];
  const int below = layer->inputs[0];
  if (!layer->kind->takes_relu || below < 0 || l->net->steps[number].turns[0]) return;
  dl_layer *relu = &l->net->layers[below];
  const dl_value *x = &l->net->values[below + 1], *before = &l->net->values[relu->inputs[0] + 1];
  if (relu->kind != &dl_layer_relu || x->readers != 1 || x->buffer != before->buffer) return;
  relu->left_to_reader = true;
  layer->with_relu = true;
}

static void plan(layout *l) {
  dl_net *net = l->net;
  net->values[0].buffer = l->n_buffers++;
  l->buffers[0] = (piece){.count = size_of(&net->values[0]), .taken = true};
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    choose_order(l, i);
    place_output(l, i);
    join_relu(l, i);
    net->values[i + 1].wants_gradient = layer->trainable && layer->n_tensors > 0;
    for (int k = 0; k < layer->n_inputs; k++)
      if (net->values[layer->inputs[k] + 1].wants_gradient) net->values[i + 1].wants_gradient = true;
  }
  for (int i = 0; i <= net->n_layers; i++) net->values[i].slot = -1;
  for (int i = 0; i < net->n_layers; i++)
    for (int k = 0; k < DL_LAYER_MAX_INPUTS; k++) net->steps[i].dx_slot[k] = -1;
  dl_value *last = dl_net_output_value(net);
  if (last->wants_gradient) last->slot = take_slot(l, size_of(last));
  for (int i = net->n_layers; i-- > 0;)
    if (net->values[i + 1].wants_gradient) place_gradients(l, i);
}

/* Offset of a piece of `fixed` floats and `count` a sample; false on overflow. */
static bool reserve(dl_net *net, size_t fixed, size_t count, size_t *offset) {
  size_t all;
  if (__builtin_mul_overflow(count, (size_t)net->max_batch, &all) || __builtin_add_overflow(all, fixed, &all) ||
      all > SIZE_MAX / 64)
    return false;
  *offset = net->workspace_count;
  net->workspace_count += (all + 15) / 16 * 16;
  return net->workspace_count <= SIZE_MAX / 64;
}

static bool reserve_turned(layout *l, int number) {
  const dl_layer *layer = &l->net->layers[number];
  bool fits = true;
  for (int k = 0; k < layer->n_inputs; k++)
    if (l->net->steps[number].turns[k])
      fits = fits && reserve(l->net, 0, (size_t)dl_shape_size(layer->input_shapes[k]),
                             &l->turned[number * DL_LAYER_MAX_INPUTS + k]);
  return fits;
}

static bool reserve_all(layout *l, size_t *outputs) {
  dl_net *net = l->net;
  const dl_value *last = dl_net_output_value(net);
  size_t most = 0;
  bool fits = true;
  for (int i = 0; i < l->n_buffers; i++) fits = fits && reserve(net, 0, l->buffers[i].count, &l->buffers[i].offset);
  for (int i = 0; i < net->n_layers; i++) fits = fits && reserve_turned(l, i);
  for (int i = 0; i < net->n_layers; i++)
    fits = fits && reserve(net, net->layers[i].work_fixed, net->layers[i].work_count, &l->work[i]);
  for (int i = 0; i < l->n_slots; i++) fits = fits && reserve(net, 0, l->slots[i].count, &l->slots[i].offset);
  if (last->channels_last) fits = fits && reserve(net, 0, 2 * size_of(last), outputs);
  for (int i = 0; i < net->n_layers; i++)
    if (net->layers[i].scratch_count > most) most = net->layers[i].scratch_count;
  return fits && reserve(net, 0, most, &l->scratch);
}

static dl_status allocate(layout *l) {
  dl_net *net = l->net;
  size_t outputs = 0;
  if (!reserve_all(l, &outputs))
    return dl_fail(DL_ERR_NOMEM, "the network's workspace for %lld samples is too large", (long long)net->max_batch);
  net->workspace = dl_calloc_aligned(net->workspace_count, sizeof(float));
  if (!net->workspace) return DL_ERR_NOMEM;
  net->scratch = net->workspace + l->scratch;
  for (int i = 0; i <= net->n_layers; i++) {
    dl_value *value = &net->values[i];
    value->y = net->workspace + l->buffers[value->buffer].offset;
    if (value->slot >= 0) value->dy = net->workspace + l->slots[value->slot].offset;
  }
  for (int i = 0; i < net->n_layers; i++) {
    dl_net_step *step = &net->steps[i];
    step->work = net->workspace + l->work[i];
    for (int k = 0; k < net->layers[i].n_inputs; k++) {
      if (step->turns[k]) step->turned[k] = net->workspace + l->turned[i * DL_LAYER_MAX_INPUTS + k];
      step->x[k] = step->turns[k] ? step->turned[k] : net->values[net->layers[i].inputs[k] + 1].y;
      if (step->dx_slot[k] >= 0) step->dx[k] = net->workspace + l->slots[step->dx_slot[k]].offset;
    }
  }
  const dl_value *last = dl_net_output_value(net);
  net->y = last->channels_last ? net->workspace + outputs : last->y;
  net->dy = last->channels_last && last->dy ? net->y + size_of(last) * (size_t)net->max_batch : last->dy;
  return DL_OK;
}

dl_status dl_net_layout(dl_net *net) {
  size_t slots = 1;
  for (int i = 0; i < net->n_layers; i++) slots += 2 * (size_t)net->layers[i].n_inputs;
  layout l = {.net = net};
  l.buffers = dl_calloc((size_t)net->n_layers + 1, sizeof *l.buffers);
  l.slots = dl_calloc(slots, sizeof *l.slots);
  l.turned = dl_calloc((size_t)net->n_layers, DL_LAYER_MAX_INPUTS * sizeof *l.turned);
  l.work = dl_calloc((size_t)net->n_layers, sizeof *l.work);
  dl_status status = l.buffers && l.slots && l.turned && l.work ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) {
    plan(&l);
    status = allocate(&l);
  }
  free(l.buffers);
  free(l.slots);
  free(l.turned);
  free(l.work);
  return status;
}

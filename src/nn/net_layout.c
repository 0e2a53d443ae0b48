/* net_layout.c - one workspace, laid out once.
 *
 *   | input | outputs of layers ... | turned copies ... | work of layers ... | gradient slots ... | scratch |
 *     rows of 16 floats; n samples use the front of each piece; what passes with its block has room for one block
 *
 * An element-wise layer writes into the buffer it reads where that is safe: nobody else reads it, and no layer whose
 * output lies there needs it in the backward pass. Gradients of outputs live from the backward pass of the first reader
 * to that of the layer itself: they take turns in few slots, which keeps them in cache. Where several layers read one
 * value, the first to run backward (the last in the list) writes its gradient and the others add to it, in that order.
 * A slot with the gradients of all samples stays taken until the run (net_runs.c) that reads it ends, for its other
 * blocks.
 *
 * Where a layer reads an image in the other order (dl_order), its input is turned into a copy before it runs, and its
 * dx is turned back into the value's gradient afterwards.
 */
#include <stdlib.h>

#include "nn/layer_kinds.h"
#include "nn/net_private.h"

typedef struct piece {
  size_t count; /* floats; of buffers: a sample */
  size_t offset;
  bool taken;  /* slots: in use; buffers: not to be written again */
  bool leaves; /* slots: free when the run ends */
  bool passed; /* slots: every block of the run writes it anew */
} piece;

typedef struct layout {
  dl_net *net;
  piece *buffers, *slots; /* n_layers + 1 buffers at most; a slot for each value and each scratch at most */
  int n_buffers, n_slots;
  const dl_net_run *run; /* whose gradients are being placed */
  size_t *turned, *work; /* offsets: a copy for each input of each layer; work of each layer */
  size_t scratch;        /* offset of what layers share */
  size_t block_gradients;
  size_t *stage, stages; /* where each value's stage lies among them (NO_STAGE: it has none); their size */
  size_t stages_offset;
} layout;
#define NO_STAGE SIZE_MAX

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

/* The smallest free slot that holds `count`, else the largest free one, grown, else a new one. What is to outlive a
 * block may not lie where blocks write. */
static int take_slot(layout *l, size_t count, bool passing) {
  int fit = -1, largest = -1;
  for (int i = 0; i < l->n_slots; i++) {
    const piece *s = &l->slots[i];
    if (s->taken || (s->passed && !passing)) continue;
    if (s->count >= count && (fit < 0 || s->count < l->slots[fit].count)) fit = i;
    if (largest < 0 || s->count > l->slots[largest].count) largest = i;
  }
  int slot = fit >= 0 ? fit : largest >= 0 ? largest : l->n_slots++;
  if (l->slots[slot].count < count) l->slots[slot].count = count;
  l->slots[slot].taken = true;
  l->slots[slot].passed = l->slots[slot].passed || passing;
  return slot;
}

/* count * rows; more than any memory where that overflows. */
static size_t floats_of(size_t count, int64_t rows) {
  size_t all;
  return __builtin_mul_overflow(count, (size_t)rows, &all) ? SIZE_MAX : all;
}

/* A slot for gradients of this value's shape: of a block where passing, else of all samples. */
static int take_rows(layout *l, const dl_value *value, bool passing) {
  return take_slot(l, floats_of(size_of(value), passing ? dl_net_block_rows(l->net, l->run) : l->net->max_batch),
                   passing);
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
    const bool aside = step->adds[i] || step->turns[i], fits = !out->dy_passing || in->dy_passing;
    if (!aside && fits && (layer->in_place || layer->same_values) && !handed_over) {
      step->dx_slot[i] = in->slot = out->slot;
      in->dy_passing = out->dy_passing;
      handed_over = true;
    } else if (in->slot < 0) {
      in->slot = take_rows(l, in, in->dy_passing);
    }
    if (aside) step->dx_slot[i] = take_rows(l, in, l->run->block != INT64_MAX);
    if (step->dx_slot[i] < 0) step->dx_slot[i] = in->slot;
    step->dx_passing[i] = aside ? l->run->block != INT64_MAX : in->dy_passing;
  }
  for (int i = 0; i < layer->n_inputs; i++)
    if (step->dx_slot[i] >= 0 && (step->adds[i] || step->turns[i])) l->slots[step->dx_slot[i]].taken = false;
  if (handed_over) return;
  if (out->dy_passing)
    l->slots[out->slot].taken = false;
  else
    l->slots[out->slot].leaves = true;
}

static void place_run_gradients(layout *l, const dl_net_run *run) {
  l->run = run;
  for (int i = run->end; i-- > run->begin;)
    if (l->net->values[i + 1].wants_gradient) place_gradients(l, i);
  for (int i = 0; i < l->n_slots; i++) {
    if (l->slots[i].leaves) l->slots[i].taken = false;
    l->slots[i].leaves = l->slots[i].passed = false;
  }
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

static dl_status plan(layout *l) {
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
  DL_TRY(dl_net_plan_runs(net));
  for (int i = 0; i <= net->n_layers; i++) net->values[i].slot = -1;
  for (int i = 0; i < net->n_layers; i++)
    for (int k = 0; k < DL_LAYER_MAX_INPUTS; k++) net->steps[i].dx_slot[k] = -1;
  dl_value *last = dl_net_output_value(net);
  l->run = net->backward;
  if (last->wants_gradient) last->slot = take_rows(l, last, false);
  for (int r = 0; r < net->n_backward; r++) place_run_gradients(l, &net->backward[r]);
  return DL_OK;
}

/* Offset of a piece of `fixed` floats and `count` for each of `rows`; false on overflow. */
static bool reserve(dl_net *net, size_t fixed, size_t count, int64_t rows, size_t *offset) {
  size_t all = floats_of(count, rows);
  if (__builtin_add_overflow(all, fixed, &all) || all > SIZE_MAX / 64) return false;
  *offset = net->workspace_count;
  net->workspace_count += (all + 15) / 16 * 16;
  return net->workspace_count <= SIZE_MAX / 64;
}

/* Rows of each buffer of outputs: a block where what lies in it passes, of the run that writes it or writes it again.
 */
static void find_rows(const dl_net *net, int64_t *rows) {
  rows[net->values[0].buffer] = net->max_batch;
  for (int r = 0; r < net->n_forward; r++)
    for (int i = net->forward[r].begin; i < net->forward[r].end; i++) {
      const int again = net->steps[i].again;
      const int64_t block = dl_net_block_rows(net, &net->forward[r]),
                    other = again >= 0 ? dl_net_block_rows(net, &net->backward[again]) : 0;
      rows[net->values[i + 1].buffer] = !net->values[i + 1].passing ? net->max_batch : other > block ? other : block;
    }
}

/* What the layers take of the workspace, for the summary: a shared buffer is the first one's. */
static void count_floats(layout *l, const int64_t *buffer_rows) {
  dl_net *net = l->net;
  for (int i = 0, seen = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    const int buffer = net->values[i + 1].buffer;
    size_t *floats = &net->steps[i].floats;
    *floats = layer->work_fixed + floats_of(layer->work_count, net->max_batch);
    for (int k = 0; k < layer->n_inputs; k++)
      if (net->steps[i].turns[k]) *floats += floats_of((size_t)dl_shape_size(layer->input_shapes[k]), net->max_batch);
    if (buffer > seen) *floats += floats_of(l->buffers[buffer].count, buffer_rows[buffer]);
    if (buffer > seen) seen = buffer;
  }
}

static bool reserve_turned(layout *l, int number) {
  const dl_layer *layer = &l->net->layers[number];
  bool fits = true;
  for (int k = 0; k < layer->n_inputs; k++)
    if (l->net->steps[number].turns[k])
      fits = fits && reserve(l->net, 0, (size_t)dl_shape_size(layer->input_shapes[k]), l->net->max_batch,
                             &l->turned[number * DL_LAYER_MAX_INPUTS + k]);
  return fits;
}

/* Values that are kept and take this much together outgrow every cache: a block of them is written to a stage first,
 * from which it goes past the caches. Written where they are kept they would be fetched from memory to be overwritten.
 */
enum { STAGE_LEAST = 1 << 24 };

static bool is_staged(const dl_net *net, const dl_net_run *run, int number) {
  const dl_value *value = &net->values[number + 1];
  if (run->block >= net->max_batch || value->passing || number + 1 == net->n_layers) return false;
  for (int i = 0; i <= net->n_layers; i++) /* its buffer is written by this run alone */
    if (net->values[i].buffer == value->buffer && (i - 1 < run->begin || i - 1 >= run->end)) return false;
  return true;
}

static void place_stages(layout *l) {
  dl_net *net = l->net;
  size_t kept = 0;
  for (int i = 0; i < net->n_layers; i++) l->stage[i] = NO_STAGE;
  for (int i = 0; i < l->n_buffers; i++) kept += l->buffers[i].count;
  if (floats_of(kept, net->max_batch) < (net->stage_floats ? (size_t)net->stage_floats : STAGE_LEAST)) return;
  for (int r = 0; r < net->n_forward; r++) {
    const dl_net_run *run = &net->forward[r];
    size_t used = 0;
    for (int i = run->begin; i < run->end; i++) {
      dl_value *value = &net->values[i + 1];
      if (!is_staged(net, run, i)) continue;
      value->stage_run = r;
      value->sends = true;
      for (int k = run->begin; k < i && l->stage[i] == NO_STAGE; k++)
        if (net->values[k + 1].buffer == value->buffer) {
          l->stage[i] = l->stage[k];
          net->values[k + 1].sends = false;
        }
      if (l->stage[i] != NO_STAGE) continue;
      l->stage[i] = used;
      used += (floats_of(size_of(value), run->block) + 15) / 16 * 16;
    }
    if (used > l->stages) l->stages = used;
  }
}

static bool reserve_all(layout *l, const int64_t *buffer_rows, size_t *outputs) {
  dl_net *net = l->net;
  const int64_t rows = net->max_batch;
  const dl_value *last = dl_net_output_value(net);
  size_t most = 0, tensors = 0;
  bool fits = true;
  for (int i = 0; i < l->n_buffers; i++)
    fits = fits && reserve(net, 0, l->buffers[i].count, buffer_rows[i], &l->buffers[i].offset);
  for (int i = 0; i < net->n_layers; i++) fits = fits && reserve_turned(l, i);
  for (int i = 0; i < net->n_layers; i++)
    fits = fits && reserve(net, net->layers[i].work_fixed, net->layers[i].work_count, rows, &l->work[i]);
  for (int i = 0; i < l->n_slots; i++) fits = fits && reserve(net, l->slots[i].count, 0, 0, &l->slots[i].offset);
  if (dl_net_turns_outputs(net)) fits = fits && reserve(net, 0, 2 * size_of(last), rows, outputs);
  for (int i = 0; i < net->n_layers; i++)
    if (net->layers[i].scratch_count > most) most = net->layers[i].scratch_count;
  for (int r = 0; r < net->n_backward; r++)
    for (int i = net->backward[r].begin; i < net->backward[r].end; i++)
      if (net->backward[r].block < rows && dl_net_layer_floats(net, &net->layers[i]) > tensors)
        tensors = dl_net_layer_floats(net, &net->layers[i]);
  place_stages(l);
  return fits && reserve(net, 0, most, rows, &l->scratch) && reserve(net, tensors, 0, 0, &l->block_gradients) &&
         reserve(net, l->stages, 0, 0, &l->stages_offset);
}

/* Names the layer that takes most, where sizes are numbers. */
static dl_status too_large(const dl_net *net, bool fits) {
  int most = 0;
  char layer[160];
  for (int i = 1; i < net->n_layers; i++)
    if (net->steps[i].floats > net->steps[most].floats) most = i;
  dl_net_layer_text(net, most, layer, sizeof layer);
  if (fits)
    dl_fail(DL_ERR_NOMEM,
            "out of memory: a pass of %lld samples takes %.1f GB, %.1f GB of them for %s; a member has %.1f GB",
            (long long)net->max_batch, 4e-9 * (double)net->workspace_count, 4e-9 * (double)net->steps[most].floats,
            layer, 1e-9 * (double)net->most_bytes);
  else
    dl_fail(DL_ERR_NOMEM, "out of memory: a pass of %lld samples is larger than any memory, most of it for %s",
            (long long)net->max_batch, layer);
  return dl_hint("take a smaller train.batch, more sync.shards, smaller layers, or fewer members on a node");
}

static dl_status allocate(layout *l) {
  dl_net *net = l->net;
  size_t outputs = 0;
  int64_t *rows = dl_calloc((size_t)net->n_layers + 1, sizeof *rows);
  if (!rows) return DL_ERR_NOMEM;
  find_rows(net, rows);
  const bool fits = reserve_all(l, rows, &outputs);
  count_floats(l, rows);
  free(rows);
  if (!fits || net->workspace_count > net->most_bytes / sizeof(float)) return too_large(net, fits);
  net->workspace = dl_calloc_aligned(net->workspace_count, sizeof(float));
  if (!net->workspace) return DL_ERR_NOMEM;
  net->scratch = net->workspace + l->scratch;
  net->block_gradients = net->workspace + l->block_gradients;
  for (int i = 0; i <= net->n_layers; i++) {
    dl_value *value = &net->values[i];
    value->y = net->workspace + l->buffers[value->buffer].offset;
    if (value->slot >= 0) value->dy = net->workspace + l->slots[value->slot].offset;
  }
  for (int i = 0; i < net->n_layers; i++) {
    dl_net_step *step = &net->steps[i];
    if (l->stage[i] != NO_STAGE) net->values[i + 1].stage = net->workspace + l->stages_offset + l->stage[i];
    step->work = net->workspace + l->work[i];
    for (int k = 0; k < net->layers[i].n_inputs; k++) {
      if (step->turns[k]) step->turned[k] = net->workspace + l->turned[i * DL_LAYER_MAX_INPUTS + k];
      step->x[k] = step->turns[k] ? step->turned[k] : net->values[net->layers[i].inputs[k] + 1].y;
      if (step->dx_slot[k] >= 0) step->dx[k] = net->workspace + l->slots[step->dx_slot[k]].offset;
    }
  }
  const dl_value *last = dl_net_output_value(net);
  net->y = dl_net_turns_outputs(net) ? net->workspace + outputs : last->y;
  net->dy = dl_net_turns_outputs(net) && last->dy ? net->y + size_of(last) * (size_t)net->max_batch : last->dy;
  return DL_OK;
}

dl_status dl_net_layout(dl_net *net) {
  if (net->buffer_count > net->most_bytes / sizeof(float)) { /* gradients alone */
    dl_fail(DL_ERR_NOMEM, "out of memory: %lld parameters take %.1f GB; a member has %.1f GB",
            (long long)dl_net_parameters(net), 4e-9 * (double)net->buffer_count, 1e-9 * (double)net->most_bytes);
    return dl_hint("take smaller layers, or fewer members on a node");
  }
  size_t slots = 1;
  for (int i = 0; i < net->n_layers; i++) slots += 2 * (size_t)net->layers[i].n_inputs;
  layout l = {.net = net};
  l.buffers = dl_calloc((size_t)net->n_layers + 1, sizeof *l.buffers);
  l.slots = dl_calloc(slots, sizeof *l.slots);
  l.turned = dl_calloc((size_t)net->n_layers, DL_LAYER_MAX_INPUTS * sizeof *l.turned);
  l.work = dl_calloc((size_t)net->n_layers, sizeof *l.work);
  l.stage = dl_calloc((size_t)net->n_layers, sizeof *l.stage);
  dl_status status = l.buffers && l.slots && l.turned && l.work && l.stage ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) {
    status = plan(&l);
    if (status == DL_OK) status = allocate(&l);
  }
  free(l.buffers);
  free(l.slots);
  free(l.turned);
  free(l.work);
  free(l.stage);
  return status;
}

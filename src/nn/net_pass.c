/* net_pass.c - a network's passes: its runs of layers (net_runs.c) forward in order, backward in reverse, each on one
 * block of samples after another. No pass allocates.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/clock.h"
#include "core/vector.h"
#include "nn/kernels.h"
#include "nn/kernels_image.h"
#include "nn/net_private.h"

/* A pass, and the block of it that is being worked on. */
typedef struct block {
  dl_pass pass; /* first_sample is the block's */
  const float *weights;
  float *gradients;        /* NULL: forward */
  int64_t first, n, total; /* samples [first, first + n) of `total` */
  bool starts, ends;       /* the first and the last block of a run */
  bool alone;              /* the run is one layer and one block */
  int forward_run;         /* the number of the run, NO_RUN in the backward pass */
} block;
enum { NO_RUN = -1 };

/* Seconds, where somebody wants to know. */
static double now(const dl_net *net) { return net->times ? dl_now_s() : 0; }

static void took(const dl_net *net, int number, bool backward, double since) {
  if (net->times) net->times[2 * number + backward] += dl_now_s() - since;
}

/* ---- where things lie ---- */

static float *y_of(const dl_value *value, const block *b) {
  if (value->stage && value->stage_run == b->forward_run) return value->stage;
  return value->y + (value->passing ? 0 : b->first * dl_shape_size(&value->shape));
}

static float *dy_of(const dl_value *value, const block *b) {
  return value->dy ? value->dy + (value->dy_passing ? 0 : b->first * dl_shape_size(&value->shape)) : NULL;
}

static const dl_value *input_of(const dl_net *net, int number, int k) {
  return &net->values[net->layers[number].inputs[k] + 1];
}

static const float *x_of(const dl_net *net, int number, int k, const block *b) {
  const dl_net_step *step = &net->steps[number];
  const dl_value *in = input_of(net, number, k);
  return step->turns[k] ? step->turned[k] + b->first * dl_shape_size(&in->shape) : y_of(in, b);
}

static float *dx_of(const dl_net *net, int number, int k, const block *b) {
  const dl_net_step *step = &net->steps[number];
  const int64_t size = dl_shape_size(&input_of(net, number, k)->shape);
  return step->dx[k] ? step->dx[k] + (step->dx_passing[k] ? 0 : b->first * size) : NULL;
}

/* What a layer sees of a block, with room for what it points to. */
typedef struct view {
  dl_layer_run run;
  const float *weights[DL_LAYER_MAX_TENSORS], *xs[DL_LAYER_MAX_INPUTS];
  float *gradients[DL_LAYER_MAX_TENSORS], *dxs[DL_LAYER_MAX_INPUTS];
} view;

static void look_forward(const dl_net *net, int number, const block *b, view *v) {
  const dl_layer *layer = &net->layers[number];
  for (int t = 0; t < layer->n_tensors; t++) v->weights[t] = b->weights + net->tensors[layer->first_tensor + t].offset;
  for (int k = 0; k < layer->n_inputs; k++) v->xs[k] = x_of(net, number, k, b);
  v->run = (dl_layer_run){.gemm = net->gemm,
                          .pass = &b->pass,
                          .n = b->n,
                          .total = b->total,
                          .starts = b->starts,
                          .ends = b->ends,
                          .weights = v->weights,
                          .x = v->xs[0],
                          .y = y_of(&net->values[number + 1], b),
                          .work = net->steps[number].work + (size_t)b->first * layer->work_count,
                          .scratch = net->scratch,
                          .xs = v->xs,
                          .tensors = &net->tensors[layer->first_tensor],
                          .alone = b->alone};
}

/* `gradients`: where the layer's tensors begin there. */
static void look_backward(const dl_net *net, int number, const block *b, float *gradients, view *v) {
  const dl_layer *layer = &net->layers[number];
  const dl_tensor *tensors = &net->tensors[layer->first_tensor];
  look_forward(net, number, b, v);
  for (int t = 0; t < layer->n_tensors; t++) v->gradients[t] = gradients + (tensors[t].offset - tensors[0].offset);
  for (int k = 0; k < layer->n_inputs; k++) v->dxs[k] = dx_of(net, number, k, b);
  v->run.gradients = layer->trainable ? v->gradients : NULL;
  v->run.dy = dy_of(&net->values[number + 1], b);
  v->run.dx = v->dxs[0];
  v->run.dxs = v->dxs;
}

/* An image of a value in the other order: (n, C, H, W) to (n, H, W, C), or back. */
static void turn(const dl_shape *shape, bool to_channels_last, int64_t n, const float *x, float *y, bool add) {
  const int64_t channels = shape->dim[0], pixels = shape->dim[1] * shape->dim[2];
  if (to_channels_last)
    dl_image_kernels_in_use()->transpose(n, channels, pixels, x, y, add);
  else
    dl_image_kernels_in_use()->transpose(n, pixels, channels, x, y, add);
}

static void turn_inputs(const dl_net *net, int number, const block *b) {
  const dl_layer *layer = &net->layers[number];
  const dl_net_step *step = &net->steps[number];
  for (int k = 0; k < layer->n_inputs; k++)
    if (step->turns[k])
      turn(layer->input_shapes[k], layer->channels_last, b->n, y_of(input_of(net, number, k), b),
           step->turned[k] + b->first * dl_shape_size(layer->input_shapes[k]), false);
}

/* ---- forward ---- */

static void forward_layer(const dl_net *net, int number, const block *b) {
  const dl_layer *layer = &net->layers[number];
  const double since = now(net);
  view v;
  if (!layer->kind->gather) turn_inputs(net, number, b);
  if (layer->left_to_reader) return;
  look_forward(net, number, b, &v);
  layer->kind->forward(layer, &v.run);
  took(net, number, false, since);
}

static void gather_layer(const dl_net *net, int number, const block *b) {
  const double since = now(net);
  view v;
  turn_inputs(net, number, b);
  look_forward(net, number, b, &v);
  net->layers[number].kind->gather(&net->layers[number], &v.run);
  took(net, number, false, since);
}

/* Block number `i` of `run` in the order of time; false where there is none. An empty batch is one empty block. */
static bool take_block(const dl_net_run *run, int64_t i, const dl_pass *pass, block *b) {
  const int64_t size = run->block < b->total ? run->block : b->total, blocks = size ? (b->total + size - 1) / size : 1;
  if (i == blocks) return false;
  b->starts = i == 0;
  b->ends = i + 1 == blocks;
  b->alone = blocks == 1 && run->end - run->begin == 1;
  b->first = size * (run->downwards ? blocks - 1 - i : i);
  b->n = b->total - b->first < size ? b->total - b->first : size;
  b->pass = *pass;
  b->pass.first_sample += (uint64_t)b->first;
  return true;
}

static bool all_finite(const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

static bool output_finite(const dl_net *net, int number, const block *b) {
  const dl_value *value = &net->values[number + 1];
  return all_finite(y_of(value, b), b->n * dl_shape_size(&value->shape));
}

/* From the stage to where the backward pass, or another run, reads it. */
static void send_output(const dl_net *net, int number, const block *b) {
  const double since = now(net);
  const dl_value *value = &net->values[number + 1];
  const int64_t size = dl_shape_size(&value->shape);
  dl_vector()->send(value->y + b->first * size, value->stage, (size_t)(b->n * size));
  took(net, number, false, since);
}

/* Returns the first layer whose output is not finite where `watch`: each is looked at before the next layer writes into
 * its buffer. Otherwise, and where all are finite, the number of layers. */
static int forward_run(const dl_net *net, int number, block *b, const dl_pass *pass, bool watch) {
  const dl_net_run *run = &net->forward[number];
  int found = net->n_layers;
  b->forward_run = number;
  for (int64_t k = 0; take_block(run, k, pass, b); k++) {
    for (int i = run->begin; i < run->end; i++) {
      forward_layer(net, i, b);
      if (watch && i < found && !output_finite(net, i, b)) found = i;
    }
    if (run->gathers >= 0) gather_layer(net, run->gathers, b);
    for (int i = run->begin; i < run->end; i++)
      if (net->values[i + 1].sends) send_output(net, i, b);
  }
  return found;
}

/* Where tensor `tensor` begins; the end of the buffer for one past the last. */
static size_t element_of(const dl_net *net, int tensor) {
  return tensor < net->n_tensors ? net->tensors[tensor].offset : net->buffer_count;
}

/* A layer that announces what it reads is waited for by itself where it is alone in its run. */
static void announce_reads(const dl_net *net, const dl_net_run *run, const dl_pass *pass) {
  const int last = run->gathers >= 0 ? run->gathers : run->end - 1;
  if (!pass->reads || last < 0 || (last == run->begin && net->layers[last].kind->announces)) return;
  pass->reads(pass->watcher, element_of(net, net->layers[last].first_tensor + net->layers[last].n_tensors));
}

void dl_layer_reads(const dl_layer_run *run, int tensor) {
  if (run->pass->reads) run->pass->reads(run->pass->watcher, run->tensors[tensor].offset + run->tensors[tensor].count);
}

void dl_layer_wrote(const dl_layer_run *run, int tensor) {
  if (run->alone && run->pass->wrote) run->pass->wrote(run->pass->watcher, run->tensors[tensor].offset);
}

static int forward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass, bool watch) {
  assert(n >= 0 && n <= net->max_batch);
  block b = {.weights = weights, .total = n};
  int found = net->n_layers;
  net->gemm->one_thread();
  for (int r = 0; r < net->n_forward && found == net->n_layers; r++) {
    announce_reads(net, &net->forward[r], pass);
    found = forward_run(net, r, &b, pass, watch);
  }
  return found;
}

const float *dl_net_forward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass) {
  forward(net, weights, n, pass, false);
  net->scored = false;
  const dl_value *last = dl_net_output_value(net);
  if (dl_net_turns_outputs(net)) turn(&last->shape, !last->channels_last, n, last->y, net->y, false);
  return net->y;
}

int dl_net_first_not_finite(dl_net *net, const float *weights, int64_t n, const dl_pass *pass) {
  if (!all_finite(net->values[0].y, n * dl_shape_size(&net->values[0].shape))) return -1;
  return forward(net, weights, n, pass, true);
}

/* ---- loss and scores ---- */

/* A weight is a sample's: where it has several rows they are all of that weight. */
static void weighted_rows_loss(dl_net *net, int64_t n, const int32_t *label, const float *weight, double *loss_sum,
                               double *normaliser) {
  const int64_t outputs = dl_net_outputs(net), values = net->rows * outputs;
  *loss_sum = *normaliser = 0;
  for (int64_t i = 0; i < n; i++) {
    double loss, total;
    float *slope = net->dy ? net->dy + i * values : NULL;
    net->loss->compute(net->loss_options, net->rows, outputs, net->y + i * values, label + i * net->rows, NULL, NULL,
                       &loss, &total, slope);
    *loss_sum += (double)weight[i] * loss;
    *normaliser += (double)weight[i] * total;
    for (int64_t k = 0; slope && weight[i] != 1 && k < values; k++) slope[k] *= weight[i];
  }
}

void dl_net_loss(dl_net *net, int64_t n, const int32_t *label, const float *y, const float *weight, double *loss_sum,
                 double *normaliser) {
  if (weight && net->rows > 1) {
    weighted_rows_loss(net, n, label, weight, loss_sum, normaliser);
    return;
  }
  net->loss->compute(net->loss_options, n * net->rows, dl_net_outputs(net), net->y, label, y, weight, loss_sum,
                     normaliser, net->dy);
}

void dl_net_drop_ignored(const dl_net *net, int64_t n, int32_t *label) {
  if (!net->loss->ignores) return;
  for (int64_t i = 0; i < n * net->rows; i++)
    if (net->loss->ignores(net->loss_options, label[i])) label[i] = -1;
}

static void softmax_rows(int64_t n, int64_t outputs, float *y) { dl_kernels_in_use()->softmax(n, outputs, y, y); }
static void sigmoid_rows(int64_t n, int64_t outputs, float *y) {
  dl_kernels_in_use()->sigmoid((size_t)(n * outputs), y, y);
}

const float *dl_net_scores(dl_net *net, int64_t n) {
  static void (*const by_task[])(int64_t n, int64_t outputs, float *y) = {
      [DL_TASK_CLASSIFICATION] = softmax_rows, [DL_TASK_BINARY] = sigmoid_rows,
      [DL_TASK_MULTILABEL] = sigmoid_rows,     [DL_TASK_REGRESSION] = NULL,
      [DL_TASK_LANGUAGE_MODEL] = softmax_rows, [DL_TASK_SEGMENTATION] = softmax_rows,
  };
  if (!net->scored && by_task[net->task]) by_task[net->task](n * net->rows, dl_net_outputs(net), net->y);
  net->scored = true;
  return net->y;
}

/* ---- backward ---- */

/* Gives each input what the layer wrote aside: dx in the other order, or to be added. */
static void hand_on(const dl_net *net, int number, const block *b) {
  const dl_layer *layer = &net->layers[number];
  const dl_net_step *step = &net->steps[number];
  for (int k = 0; k < layer->n_inputs; k++) {
    const dl_shape *shape = layer->input_shapes[k];
    float *dx = dx_of(net, number, k, b), *dy = dy_of(input_of(net, number, k), b);
    if (dx && step->turns[k])
      turn(shape, !layer->channels_last, b->n, dx, dy, step->adds[k]);
    else if (step->adds[k])
      dl_vector()->add(dy, dx, (size_t)(b->n * dl_shape_size(shape)));
  }
}

/* The gradient of the first block's weights is written where it belongs, that of the others aside and added. */
static void backward_layer(const dl_net *net, int number, const block *b) {
  const dl_layer *layer = &net->layers[number];
  const bool tensors = layer->n_tensors && layer->trainable && !layer->kind->gather_backward;
  const double since = now(net);
  float *own = layer->n_tensors ? b->gradients + net->tensors[layer->first_tensor].offset : NULL;
  view v;
  look_backward(net, number, b, !b->starts && tensors ? net->block_gradients : own, &v);
  if (!tensors) v.run.gradients = NULL;
  if (!layer->left_to_reader)
    layer->kind->backward(layer, &v.run);
  else if (v.run.dx && v.run.dx != v.run.dy)
    memcpy(v.run.dx, v.run.dy, (size_t)(b->n * dl_shape_size(&layer->out)) * sizeof *v.run.dx);
  for (int t = 0; !b->starts && tensors && t < layer->n_tensors; t++) {
    const dl_tensor *tensor = &net->tensors[layer->first_tensor + t];
    dl_vector()->add(b->gradients + tensor->offset, v.gradients[t], tensor->count);
  }
  hand_on(net, number, b);
  took(net, number, true, since);
}

static void gather_layer_backward(const dl_net *net, int number, const block *b) {
  const dl_layer *layer = &net->layers[number];
  const double since = now(net);
  view v;
  look_backward(net, number, b, b->gradients + net->tensors[layer->first_tensor].offset, &v);
  layer->kind->gather_backward(layer, &v.run);
  took(net, number, true, since);
}

static bool wants_gradient(const dl_net *net, int number) { return net->values[number + 1].wants_gradient; }

static void backward_run(const dl_net *net, int number, block *b, const dl_pass *pass) {
  const dl_net_run *run = &net->backward[number];
  for (int64_t k = 0; take_block(run, k, pass, b); k++) {
    for (int i = 0; i < run->end; i++)
      if (net->steps[i].again == number) forward_layer(net, i, b);
    for (int i = run->end; i-- > run->begin;)
      if (wants_gradient(net, i)) backward_layer(net, i, b);
    if (run->gathers >= 0 && wants_gradient(net, run->gathers)) gather_layer_backward(net, run->gathers, b);
  }
}

/* The gradients of a run's layers are whole when its last block is done; those that a layer below gathered are not
 * announced before its own run. */
static void announce_writes(const dl_net *net, const dl_net_run *run, const dl_pass *pass, float *gradients) {
  for (int i = run->begin; i < run->end; i++)
    for (int t = net->layers[i].first_tensor; t < net->layers[i].first_tensor + net->layers[i].n_tensors; t++)
      if (!net->tensors[t].trainable && net->tensors[t].running <= 0)
        memset(gradients + net->tensors[t].offset, 0, net->tensors[t].count * sizeof(float));
  if (pass->wrote && run->begin < net->n_layers)
    pass->wrote(pass->watcher, run->begin ? element_of(net, net->layers[run->begin].first_tensor) : 0);
}

void dl_net_backward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass, float *gradients) {
  block b = {.weights = weights, .gradients = gradients, .total = n, .forward_run = NO_RUN};
  net->gemm->one_thread();
  const dl_value *last = dl_net_output_value(net);
  if (dl_net_turns_outputs(net) && last->dy) turn(&last->shape, last->channels_last, n, net->dy, last->dy, false);
  for (int r = 0; r < net->n_backward; r++) {
    backward_run(net, r, &b, pass);
    announce_writes(net, &net->backward[r], pass, gradients);
  }
}

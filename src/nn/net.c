/* net.c - a network's life and its passes: the list forward in order, backward in reverse. No pass allocates. */
#include "nn/net.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vector.h"
#include "nn/kernels.h"
#include "nn/kernels_image.h"
#include "nn/net_private.h"

dl_status dl_net_new(const dl_net_spec *spec, dl_net **out) {
  dl_net *net = dl_calloc(1, sizeof *net);
  if (!net) return DL_ERR_NOMEM;
  net->arena = dl_arena_new();
  dl_status status = net->arena ? dl_net_build(spec, net) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_net_layout(net);
  if (status == DL_OK) status = dl_net_plan_runs(net);
  if (status != DL_OK) {
    dl_net_destroy(&net);
    return status;
  }
  for (int i = 0; i < net->n_layers; i++) net->layers[i].node = NULL; /* the configuration may go before the network */
  *out = net;
  return DL_OK;
}

void dl_net_destroy(dl_net **net) {
  if (!*net) return;
  for (int i = 0; i < (*net)->n_layers && (*net)->layers; i++) {
    dl_layer *layer = &(*net)->layers[i];
    if (layer->state && layer->kind->destroy) layer->kind->destroy(layer);
  }
  dl_arena_destroy(&(*net)->arena);
  free((*net)->tensors);
  free((*net)->workspace);
  free(*net);
  *net = NULL;
}

const dl_tensor *dl_net_tensors(const dl_net *net, int *n) {
  *n = net->n_tensors;
  return net->tensors;
}

size_t dl_net_buffer_count(const dl_net *net) { return net->buffer_count; }

int64_t dl_net_parameters(const dl_net *net) {
  int64_t sum = 0;
  for (int i = 0; i < net->n_tensors; i++) sum += (int64_t)net->tensors[i].count;
  return sum;
}

int64_t dl_net_outputs(const dl_net *net) { return dl_shape_size(&dl_net_output_value(net)->shape) / net->rows; }

int64_t dl_net_rows(const dl_net *net) { return net->rows; }

int64_t dl_net_token_limit(const dl_net *net) {
  int64_t limit = 0;
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    if (layer->inputs[0] < 0 && layer->token_limit && (!limit || layer->token_limit < limit))
      limit = layer->token_limit;
  }
  return limit;
}

size_t dl_net_bytes(const dl_net *net) { return net->workspace_count * sizeof(float); }

double dl_net_multiply_adds(const dl_net *net) {
  double sum = 0;
  for (int i = 0; i < net->n_layers; i++) sum += net->layers[i].multiply_adds;
  return sum;
}

void dl_net_init(const dl_net *net, uint64_t seed, float *weights) {
  memset(weights, 0, net->buffer_count * sizeof *weights);
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    const dl_rng_key key = dl_rng_stream(seed, DL_RNG_INIT, (uint32_t)layer->number);
    for (int t = 0; t < layer->n_tensors; t++) {
      const dl_tensor *tensor = &net->tensors[layer->first_tensor + t];
      layer->kind->init(layer, t, key, weights + tensor->offset, tensor->count);
    }
  }
}

/* ---- passes ---- */

float *dl_net_input(dl_net *net) { return net->values[0].y; }

/* An image of a value in the other order: (n, C, H, W) to (n, H, W, C), or back. */
static void turn(const dl_shape *shape, bool to_channels_last, int64_t n, const float *x, float *y, bool add) {
  const int64_t channels = shape->dim[0], pixels = shape->dim[1] * shape->dim[2];
  if (to_channels_last)
    dl_image_kernels_in_use()->transpose(n, channels, pixels, x, y, add);
  else
    dl_image_kernels_in_use()->transpose(n, pixels, channels, x, y, add);
}

static void turn_inputs(const dl_net *net, int number, int64_t n) {
  const dl_layer *layer = &net->layers[number];
  const dl_net_step *step = &net->steps[number];
  for (int k = 0; k < layer->n_inputs; k++)
    if (step->turns[k])
      turn(layer->input_shapes[k], layer->channels_last, n, net->values[layer->inputs[k] + 1].y, step->turned[k],
           false);
}

/* Where row `first` of a value lies. */
static float *row_of(const dl_value *value, int64_t first) {
  return value->y + (value->passing ? 0 : first * dl_shape_size(&value->shape));
}

/* Rows [first, first + n) of a batch through layer `number`, which works by sample. */
static void forward_rows(const dl_net *net, int number, int64_t first, int64_t n, const dl_pass *pass,
                         const float *buffer) {
  const dl_layer *layer = &net->layers[number];
  const dl_net_step *step = &net->steps[number];
  const float *weights[DL_LAYER_MAX_TENSORS], *xs[DL_LAYER_MAX_INPUTS];
  if (layer->left_to_reader) return;
  for (int t = 0; t < layer->n_tensors; t++) weights[t] = buffer + net->tensors[layer->first_tensor + t].offset;
  for (int k = 0; k < layer->n_inputs; k++) {
    const float *x = row_of(&net->values[layer->inputs[k] + 1], first);
    float *turned = step->turned[k] + (step->turns[k] ? first * dl_shape_size(layer->input_shapes[k]) : 0);
    if (step->turns[k]) turn(layer->input_shapes[k], layer->channels_last, n, x, turned, false);
    xs[k] = step->turns[k] ? turned : x;
  }
  dl_pass part = *pass;
  part.first_sample += (uint64_t)first;
  const dl_layer_run run = {.gemm = net->gemm,
                            .pass = &part,
                            .n = n,
                            .weights = weights,
                            .x = xs[0],
                            .y = row_of(&net->values[number + 1], first),
                            .work = step->work + (size_t)first * layer->work_count,
                            .scratch = net->scratch,
                            .xs = xs};
  layer->kind->forward(layer, &run);
}

static void forward_run(const dl_net *net, int begin, int end, int64_t n, const dl_pass *pass, const float *weights) {
  const int64_t block = net->steps[begin].block;
  for (int64_t first = 0; first < n; first += block)
    for (int i = begin; i < end; i++) forward_rows(net, i, first, n - first < block ? n - first : block, pass, weights);
}

/* What a layer sees of a pass; `weights` and `gradients` have room for its tensors. */
static dl_layer_run run_of(const dl_net *net, int number, int64_t n, const dl_pass *pass, const float *buffer,
                           const float *weights[DL_LAYER_MAX_TENSORS]) {
  const dl_layer *layer = &net->layers[number];
  const dl_net_step *step = &net->steps[number];
  for (int t = 0; t < layer->n_tensors; t++) weights[t] = buffer + net->tensors[layer->first_tensor + t].offset;
  return (dl_layer_run){.gemm = net->gemm,
                        .pass = pass,
                        .n = n,
                        .weights = weights,
                        .x = step->x[0],
                        .y = net->values[number + 1].y,
                        .work = step->work,
                        .scratch = net->scratch,
                        .xs = step->x};
}

static void forward_layer(const dl_net *net, int number, int64_t n, const dl_pass *pass, const float *weights) {
  const float *own[DL_LAYER_MAX_TENSORS];
  const dl_layer_run run = run_of(net, number, n, pass, weights, own);
  turn_inputs(net, number, n);
  if (!net->layers[number].left_to_reader) net->layers[number].kind->forward(&net->layers[number], &run);
}

/* Where tensor `tensor` begins; the end of the buffer for one past the last. */
static size_t element_of(const dl_net *net, int tensor) {
  return tensor < net->n_tensors ? net->tensors[tensor].offset : net->buffer_count;
}

static void announce_reads(const dl_net *net, int last, const dl_pass *pass) {
  const dl_layer *layer = &net->layers[last];
  if (pass->reads) pass->reads(pass->watcher, element_of(net, layer->first_tensor + layer->n_tensors));
}

const float *dl_net_forward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass) {
  assert(n >= 0 && n <= net->max_batch);
  net->gemm->one_thread();
  for (int i = 0; i < net->n_layers; i = net->steps[i].run_end) {
    announce_reads(net, net->steps[i].run_end - 1, pass);
    if (n > net->steps[i].block)
      forward_run(net, i, net->steps[i].run_end, n, pass, weights);
    else
      for (int k = i; k < net->steps[i].run_end; k++) forward_layer(net, k, n, pass, weights);
  }
  net->scored = false;
  const dl_value *last = dl_net_output_value(net);
  if (last->channels_last) turn(&last->shape, false, n, last->y, net->y, false);
  return net->y;
}

static bool all_finite(const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

/* Layers share buffers, so each output is looked at before the next layer runs. */
int dl_net_first_not_finite(dl_net *net, const float *weights, int64_t n, const dl_pass *pass) {
  int number = -1;
  net->gemm->one_thread();
  while (all_finite(net->values[number + 1].y, n * dl_shape_size(&net->values[number + 1].shape))) {
    if (++number == net->n_layers) break;
    forward_layer(net, number, n, pass, weights);
  }
  return number;
}

int dl_net_layers(const dl_net *net) { return net->n_layers; }

int dl_net_tensor_layer(const dl_net *net, int tensor) {
  int number = 0;
  while (number + 1 < net->n_layers && tensor >= net->layers[number].first_tensor + net->layers[number].n_tensors)
    number++;
  return number;
}

char *dl_net_layer_text(const dl_net *net, int number, char *text, size_t size) {
  snprintf(text, size, "%s (%s)", net->layers[number].name, net->layers[number].kind->name);
  return text;
}

void dl_net_loss(dl_net *net, int64_t n, const int32_t *label, const float *y, const float *weight, double *loss_sum,
                 double *normaliser) {
  net->loss->compute(net->loss_options, n * net->rows, dl_net_outputs(net), net->y, label, y, weight, loss_sum,
                     normaliser, net->dy);
}

void dl_net_drop_ignored(const dl_net *net, int64_t n, int32_t *label) {
  if (!net->loss->ignores) return;
  for (int64_t i = 0; i < n * net->rows; i++)
    if (net->loss->ignores(net->loss_options, label[i])) label[i] = -1;
}

static void backward_layer(const dl_net *net, int number, int64_t n, const dl_pass *pass, const float *weights,
                           float *gradients) {
  const dl_layer *layer = &net->layers[number];
  const dl_net_step *step = &net->steps[number];
  const float *own[DL_LAYER_MAX_TENSORS];
  float *own_gradients[DL_LAYER_MAX_TENSORS];
  for (int t = 0; t < layer->n_tensors; t++)
    own_gradients[t] = gradients + net->tensors[layer->first_tensor + t].offset;
  dl_layer_run run = run_of(net, number, n, pass, weights, own);
  run.gradients = layer->trainable ? own_gradients : NULL;
  run.dy = net->values[number + 1].dy;
  run.dx = step->dx[0];
  run.dxs = step->dx;
  if (!layer->left_to_reader) layer->kind->backward(layer, &run);
  for (int i = 0; i < layer->n_inputs; i++) {
    float *dy = net->values[layer->inputs[i] + 1].dy;
    if (step->dx[i] && step->turns[i])
      turn(layer->input_shapes[i], !layer->channels_last, n, step->dx[i], dy, step->adds[i]);
    else if (step->adds[i])
      dl_vector()->add(dy, step->dx[i], (size_t)(n * dl_shape_size(layer->input_shapes[i])));
  }
}

static void clear_frozen(const dl_net *net, int number, float *gradients) {
  const dl_layer *layer = &net->layers[number];
  for (int t = layer->first_tensor; t < layer->first_tensor + layer->n_tensors; t++)
    if (!net->tensors[t].trainable && net->tensors[t].running <= 0)
      memset(gradients + net->tensors[t].offset, 0, net->tensors[t].count * sizeof(float));
}

void dl_net_backward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass, float *gradients) {
  net->gemm->one_thread();
  const dl_value *last = dl_net_output_value(net);
  if (last->channels_last && last->dy) turn(&last->shape, true, n, net->dy, last->dy, false);
  for (int i = net->n_layers; i-- > 0;) {
    if (net->values[i + 1].wants_gradient) backward_layer(net, i, n, pass, weights, gradients);
    clear_frozen(net, i, gradients);
    if (pass->wrote) pass->wrote(pass->watcher, i ? element_of(net, net->layers[i].first_tensor) : 0);
  }
}

static void softmax_rows(int64_t n, int64_t outputs, float *y) { dl_kernels_in_use()->softmax(n, outputs, y, y); }
static void sigmoid_rows(int64_t n, int64_t outputs, float *y) {
  dl_kernels_in_use()->sigmoid((size_t)(n * outputs), y, y);
}

const float *dl_net_scores(dl_net *net, int64_t n) {
  static void (*const by_task[])(int64_t n, int64_t outputs, float *y) = {
      [DL_TASK_CLASSIFICATION] = softmax_rows, [DL_TASK_BINARY] = sigmoid_rows,
      [DL_TASK_MULTILABEL] = sigmoid_rows,     [DL_TASK_REGRESSION] = NULL,
      [DL_TASK_LANGUAGE_MODEL] = softmax_rows,
  };
  if (!net->scored && by_task[net->task]) by_task[net->task](n * net->rows, dl_net_outputs(net), net->y);
  net->scored = true;
  return net->y;
}

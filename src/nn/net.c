/* net.c - a network's life and its passes: the list forward in order, backward in reverse. No pass allocates. */
#include "nn/net.h"

#include <assert.h>
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

int64_t dl_net_outputs(const dl_net *net) { return dl_shape_size(&dl_net_output_value(net)->shape); }

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

const float *dl_net_forward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass) {
  assert(n >= 0 && n <= net->max_batch);
  net->gemm->one_thread();
  for (int i = 0; i < net->n_layers; i++) {
    const float *own[DL_LAYER_MAX_TENSORS];
    const dl_layer_run run = run_of(net, i, n, pass, weights, own);
    turn_inputs(net, i, n);
    net->layers[i].kind->forward(&net->layers[i], &run);
  }
  net->scored = false;
  const dl_value *last = dl_net_output_value(net);
  if (last->channels_last) turn(&last->shape, false, n, last->y, net->y, false);
  return net->y;
}

void dl_net_loss(dl_net *net, int64_t n, const int32_t *label, const float *y, const float *weight, double *loss_sum,
                 double *normaliser) {
  const dl_value *last = dl_net_output_value(net);
  net->loss->compute(net->loss_options, n, dl_shape_size(&last->shape), net->y, label, y, weight, loss_sum, normaliser,
                     net->dy);
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
  layer->kind->backward(layer, &run);
  for (int i = 0; i < layer->n_inputs; i++) {
    float *dy = net->values[layer->inputs[i] + 1].dy;
    if (step->dx[i] && step->turns[i])
      turn(layer->input_shapes[i], !layer->channels_last, n, step->dx[i], dy, step->adds[i]);
    else if (step->adds[i])
      dl_vector()->add(dy, step->dx[i], (size_t)(n * dl_shape_size(layer->input_shapes[i])));
  }
}

void dl_net_backward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass, float *gradients) {
  net->gemm->one_thread();
  const dl_value *last = dl_net_output_value(net);
  if (last->channels_last && last->dy) turn(&last->shape, true, n, net->dy, last->dy, false);
  for (int i = net->n_layers; i-- > 0;)
    if (net->values[i + 1].wants_gradient) backward_layer(net, i, n, pass, weights, gradients);
  for (int t = 0; t < net->n_tensors; t++)
    if (!net->tensors[t].trainable && net->tensors[t].running <= 0)
      memset(gradients + net->tensors[t].offset, 0, net->tensors[t].count * sizeof(float));
}

static void softmax_rows(int64_t n, int64_t outputs, float *y) { dl_kernels_in_use()->softmax(n, outputs, y, y); }
static void sigmoid_rows(int64_t n, int64_t outputs, float *y) {
  dl_kernels_in_use()->sigmoid((size_t)(n * outputs), y, y);
}

const float *dl_net_scores(dl_net *net, int64_t n) {
  static void (*const by_task[])(int64_t n, int64_t outputs, float *y) = {
      [DL_TASK_CLASSIFICATION] = softmax_rows,
      [DL_TASK_BINARY] = sigmoid_rows,
      [DL_TASK_MULTILABEL] = sigmoid_rows,
      [DL_TASK_REGRESSION] = NULL,
  };
  const dl_value *last = dl_net_output_value(net);
  if (!net->scored && by_task[net->task]) by_task[net->task](n, dl_shape_size(&last->shape), net->y);
  net->scored = true;
  return net->y;
}

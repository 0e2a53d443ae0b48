/* net.c - a network's life and what can be asked of it. */
#include "nn/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int64_t dl_net_outputs(const dl_net *net) { return dl_shape_size(&dl_net_output_value(net)->shape) / net->rows; }

int64_t dl_net_rows(const dl_net *net) { return net->rows; }

void dl_net_map(const dl_net *net, int64_t map[2]) {
  memcpy(map, dl_net_output_value(net)->shape.dim + 1, 2 * sizeof *map);
}

int64_t dl_net_token_limit(const dl_net *net) {
  int64_t limit = 0;
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    if (layer->token_limit && (!limit || layer->token_limit < limit)) limit = layer->token_limit;
  }
  return limit;
}

int dl_net_looks_ahead(const dl_net *net) {
  for (int i = 0; i < net->n_layers; i++)
    if (net->layers[i].looks_ahead) return i;
  return -1;
}

size_t dl_net_bytes(const dl_net *net) { return net->workspace_count * sizeof(float); }

double dl_net_multiply_adds(const dl_net *net) {
  double sum = 0;
  for (int i = 0; i < net->n_layers; i++) sum += net->layers[i].multiply_adds;
  return sum;
}

double dl_net_layer_multiply_adds(const dl_net *net, int number) { return net->layers[number].multiply_adds; }

void dl_net_time_layers(dl_net *net, double *times) { net->times = times; }

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

float *dl_net_input(dl_net *net) { return net->values[0].y; }

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

/* net_summary.c - the layers as a table of text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/net_private.h"

static int64_t layer_parameters(const dl_net *net, const dl_layer *layer) {
  int64_t sum = 0;
  for (int t = 0; t < layer->n_tensors; t++) sum += (int64_t)net->tensors[layer->first_tensor + t].count;
  return sum;
}

/* "dense", "dense (frozen)", "add <- a, b" */
static void write_kind(const dl_net *net, const dl_layer *layer, char *text, size_t size) {
  size_t at =
      (size_t)snprintf(text, size, "%s%s", layer->kind->name, layer->n_tensors && !layer->trainable ? " (frozen)" : "");
  if (layer->n_inputs == 1 && layer->inputs[0] == layer->number - 1) return;
  for (int i = 0; i < layer->n_inputs && at < size; i++)
    at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : " <- ",
                           layer->inputs[i] < 0 ? "input" : net->layers[layer->inputs[i]].name);
}

/* "512 B", "1.5 MB" */
static const char *bytes_text(size_t bytes, char *text, size_t size) {
  static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
  double value = (double)bytes;
  int unit = 0;
  for (; value >= 1000 && unit < 4; unit++) value /= 1000;
  snprintf(text, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

dl_status dl_net_summary(const dl_net *net, char **out) {
  char *text = NULL, shape[96], kind[160], memory[32];
  size_t bytes = 0;
  FILE *file = open_memstream(&text, &bytes);
  if (!file) return dl_fail(DL_ERR_NOMEM, "out of memory: no room for the table of layers");
  int name_width = 5, kind_width = 4,
      shape_width = (int)strlen(dl_shape_text(&net->values[0].shape, shape, sizeof shape));
  if (shape_width < 6) shape_width = 6;
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    write_kind(net, layer, kind, sizeof kind);
    dl_shape_text(&layer->out, shape, sizeof shape);
    if ((int)strlen(layer->name) > name_width) name_width = (int)strlen(layer->name);
    if ((int)strlen(kind) > kind_width) kind_width = (int)strlen(kind);
    if ((int)strlen(shape) > shape_width) shape_width = (int)strlen(shape);
  }
  fprintf(file, "%-*s  %-*s  %-*s  %12s  %14s  %10s\n", name_width, "layer", kind_width, "kind", shape_width, "output",
          "parameters", "multiply-adds", "memory");
  dl_shape_text(&net->values[0].shape, shape, sizeof shape);
  fprintf(file, "%-*s  %-*s  %s\n", name_width, "input", kind_width, "", shape);
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    write_kind(net, layer, kind, sizeof kind);
    fprintf(file, "%-*s  %-*s  %-*s  %12lld  %14.0f  %10s\n", name_width, layer->name, kind_width, kind, shape_width,
            dl_shape_text(&layer->out, shape, sizeof shape), (long long)layer_parameters(net, layer),
            layer->multiply_adds, bytes_text(net->steps[i].floats * sizeof(float), memory, sizeof memory));
  }
  fprintf(file, "%-*s  %-*s  %-*s  %12lld  %14.0f  %10s\n", name_width, "total", kind_width, "", shape_width, "",
          (long long)dl_net_parameters(net), dl_net_multiply_adds(net),
          bytes_text(dl_net_bytes(net), memory, sizeof memory));
  fprintf(file,
          "multiply-adds: of one sample, forward. memory: of a member that works on %lld sample%s at a time; what lies "
          "in a layer's buffer without copy counts 0; the total has gradients and scratch too\n",
          (long long)net->max_batch, net->max_batch == 1 ? "" : "s");
  if (fclose(file) || !text) {
    free(text);
    return dl_fail(DL_ERR_NOMEM, "out of memory: no room for the table of layers");
  }
  *out = text;
  return DL_OK;
}

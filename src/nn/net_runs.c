/* net_runs.c - runs of layers that go through a batch block by block in the forward pass.
 *
 * The output of a convolution on a whole batch is larger than a cache: written to memory by one layer, it is fetched
 * back by the next. Layers that work by sample (dl_layer_kind.by_sample) and follow one another form a run: a block of
 * samples goes through all of them before the next one starts. What nobody needs in the backward pass, such as the
 * input of pooling, is kept for one block only: all blocks use the same memory, which stays in cache. Block sizes
 * depend on shapes alone.
 */
#include <stdlib.h>

#include "nn/net_private.h"

/* Floats of the largest value of a block. */
enum { BLOCK_FLOATS = 1 << 20 };

static bool may_run(const dl_layer *layer) {
  return layer->kind->by_sample && !layer->work_fixed && layer->kind->forward;
}

/* Runs start at images: other values are small. */
static int end_of_run(const dl_net *net, int begin) {
  int end = begin + 1;
  if (!may_run(&net->layers[begin]) || !net->layers[begin].channels_last) return end;
  while (end < net->n_layers && may_run(&net->layers[end])) end++;
  return end;
}

/* The largest power of two of samples whose values fit. */
static int64_t block_of(const dl_net *net, int begin, int end) {
  int64_t largest = 1, block = 1;
  for (int i = begin; i < end; i++) {
    const int64_t size = dl_shape_size(&net->values[i + 1].shape);
    if (size > largest) largest = size;
  }
  while (2 * block * largest <= BLOCK_FLOATS) block *= 2;
  return block;
}

/* Buffers that outlive a block: read in the backward pass, by another run, or from outside. */
static void find_kept(const dl_net *net, const int *run_of, bool *kept) {
  kept[net->values[0].buffer] = kept[dl_net_output_value(net)->buffer] = true;
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i];
    const bool alone = net->steps[run_of[i]].run_end == run_of[i] + 1;
    if (alone || (layer->reads_output && !layer->left_to_reader)) kept[net->values[i + 1].buffer] = true;
    for (int k = 0; k < layer->n_inputs; k++) {
      const int from = layer->inputs[k];
      const bool reads = !layer->kind->forgets_input && !layer->left_to_reader && !net->steps[i].turns[k];
      if (reads || from < 0 || run_of[from] != run_of[i]) kept[net->values[from + 1].buffer] = true;
    }
  }
}

dl_status dl_net_plan_runs(dl_net *net) {
  int *run_of = dl_calloc((size_t)net->n_layers, sizeof *run_of);
  bool *kept = dl_calloc((size_t)net->n_layers + 1, sizeof *kept);
  if (run_of && kept) {
    for (int i = 0; i < net->n_layers; i = net->steps[i].run_end) {
      net->steps[i].run_end = end_of_run(net, i);
      net->steps[i].block = net->steps[i].run_end > i + 1 ? block_of(net, i, net->steps[i].run_end) : INT64_MAX;
      for (int k = i; k < net->steps[i].run_end; k++) run_of[k] = i;
    }
    find_kept(net, run_of, kept);
    for (int i = 0; i <= net->n_layers; i++) net->values[i].passing = !kept[net->values[i].buffer];
  }
  const dl_status status = run_of && kept ? DL_OK : DL_ERR_NOMEM;
  free(run_of);
  free(kept);
  return status;
}

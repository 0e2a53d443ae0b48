/* net_runs.c - runs of layers that go through a batch block by block.
 *
 * The output of a convolution on a whole batch is larger than a cache: written to memory by one layer, it is fetched
 * back by the next. Layers that work by sample (dl_layer_kind.by_sample) and follow one another form a run: a block of
 * samples goes through all of them before the next one starts, forward as well as backward. Values that nobody needs
 * afterwards, such as the input of pooling or most gradients, are kept for one block only: all blocks use the same
 * memory, which stays in cache.
 *
 * A layer that needs sums over the leaf (batchnorm) stands at a border: it takes the sums of each block at the end of
 * the run before (gathers), and its own pass starts the next run.
 *
 *   forward   | conv, gather of bn | bn, relu, conv, gather of bn | bn, add, relu, conv, ...
 *
 * Values that the backward pass reads are kept for all samples, but for those that cheap layers (batchnorm, relu) make
 * of others that are kept: what such a layer writes for one run is written again there, block by block. That costs less
 * than bringing it to memory and back, and a third of the memory of a residual network.
 *
 * Block sizes depend on shapes alone.
 */
#include <stdlib.h>
#include <string.h>

#include "nn/net_private.h"

/* Floats of the largest value of a block, a megabyte; read for ResNet-20 and cifar10-cnn with half and twice as much.
 * A layer with more weights than this is no part of a run: every block would bring them, and their gradient, into cache
 * anew. */
enum { BLOCK_FLOATS = 1 << 18, MOST_WEIGHTS = 2 * BLOCK_FLOATS };

size_t dl_net_layer_floats(const dl_net *net, const dl_layer *layer) {
  if (!layer->n_tensors) return 0;
  const dl_tensor *first = &net->tensors[layer->first_tensor], *last = first + layer->n_tensors - 1;
  return last->offset + last->count - first->offset;
}

static bool may_run(const dl_net *net, const dl_layer *layer) {
  return layer->kind->by_sample && !(layer->work_fixed && layer->work_count) &&
         dl_net_layer_floats(net, layer) <= MOST_WEIGHTS;
}

/* The largest power of two of samples whose values fit; all of them where no layer works on images, whose values are
 * small. */
static int64_t block_of(const dl_net *net, int begin, int end) {
  int64_t largest = 1, block = 1;
  bool images = false;
  for (int i = begin; i < end; i++) {
    const int64_t size = dl_shape_size(&net->values[i + 1].shape);
    if (size > largest) largest = size;
    images = images || net->layers[i].channels_last;
  }
  while (2 * block * largest <= net->block_floats) block *= 2;
  return images && end > begin + 1 ? block : INT64_MAX;
}

/* Floats of a sample that a layer moves. */
static int64_t reach_of(const dl_net *net, int i) {
  const int64_t in = dl_shape_size(&net->layers[i].in), out = dl_shape_size(&net->layers[i].out);
  return in > out ? in : out;
}

/* Whether the next layer would better have blocks of another size than the run before it, whose largest reach is given.
 */
static bool far_apart(int64_t reach, int64_t next) { return reach >= 4 * next || next >= 4 * reach; }

/* Cuts the list into runs, in its order. A layer that gathers starts one: forward at its front, backward at its end. */
static int cut(const dl_net *net, bool backward, dl_net_run *runs) {
  int n = 0, begin = 0;
  int64_t reach = 0;
  for (int i = 0; i < net->n_layers; i++) {
    const dl_layer *layer = &net->layers[i], *next = layer + 1;
    if (reach_of(net, i) > reach) reach = reach_of(net, i);
    const bool last = i + 1 == net->n_layers;
    const bool border = last || (backward ? layer->kind->gather_backward != NULL : next->kind->gather != NULL);
    if (!border && may_run(net, layer) && may_run(net, next) && !far_apart(reach, reach_of(net, i + 1))) continue;
    reach = 0;
    runs[n++] = (dl_net_run){.begin = begin, .end = i + 1, .gathers = -1, .block = block_of(net, begin, i + 1)};
    begin = i + 1;
  }
  return n;
}

/* The run before hands its blocks to the layer that gathers: an empty one where there is none. */
static void plan_forward(dl_net *net) {
  dl_net_run *runs = net->forward;
  net->n_forward = cut(net, false, runs + 1) + 1;
  runs[0] = (dl_net_run){.gathers = -1, .block = INT64_MAX};
  for (int r = 1; r < net->n_forward; r++)
    if (net->layers[runs[r].begin].kind->gather) runs[r - 1].gathers = runs[r].begin;
}

static void plan_backward(dl_net *net) {
  dl_net_run *runs = net->backward;
  net->n_backward = cut(net, true, runs + 1) + 1;
  for (int a = 1, b = net->n_backward - 1; a < b; a++, b--) {
    const dl_net_run last = runs[b];
    runs[b] = runs[a];
    runs[a] = last;
  }
  runs[0] = (dl_net_run){.begin = net->n_layers, .end = net->n_layers, .gathers = -1, .block = INT64_MAX};
  for (int r = 1; r < net->n_backward; r++)
    if (net->layers[runs[r].end - 1].kind->gather_backward) runs[r - 1].gathers = runs[r].end - 1;
}

/* One run takes the blocks upwards, the next downwards: it starts with what is still in cache. */
static void turn_about(dl_net *net) {
  bool downwards = false;
  for (int r = 0; r < net->n_forward + net->n_backward; r++) {
    dl_net_run *run = r < net->n_forward ? &net->forward[r] : &net->backward[r - net->n_forward];
    run->downwards = downwards;
    if (run->block != INT64_MAX) downwards = !downwards;
  }
}

/* The number of the run that each layer is in. */
static void number_runs(const dl_net_run *runs, int n, int *run_of) {
  for (int r = 0; r < n; r++)
    for (int i = runs[r].begin; i < runs[r].end; i++) run_of[i] = r;
}

/* What is known of a buffer of outputs. */
typedef struct use {
  bool kept;    /* outlives a block of the forward pass */
  bool cheap;   /* only cheap layers write it, from values that are kept */
  int backward; /* the run of the backward pass that reads it, NONE, or SEVERAL */
} use;
enum { NONE = -1, SEVERAL = -2 };

static void note_backward(use *u, int run) { u->backward = u->backward == NONE || u->backward == run ? run : SEVERAL; }

/* Who reads the values that layer i reads and writes. */
static void note_layer(const dl_net *net, int i, const int *forward_of, const int *backward_of, use *uses) {
  const dl_layer *layer = &net->layers[i];
  use *own = &uses[net->values[i + 1].buffer];
  if (net->forward[forward_of[i]].block == INT64_MAX) own->kept = true;
  if (layer->reads_output && !layer->left_to_reader) note_backward(own, backward_of[i]);
  if (!layer->kind->cheap || layer->left_to_reader) own->cheap = false;
  for (int k = 0; k < layer->n_inputs; k++) {
    const int from = layer->inputs[k];
    use *u = &uses[net->values[from + 1].buffer];
    if (from < 0 || forward_of[from] != forward_of[i] || layer->kind->gather) u->kept = true;
    if (!layer->kind->forgets_input && !layer->left_to_reader && !net->steps[i].turns[k])
      note_backward(u, backward_of[i]);
  }
}

/* Buffers outlive a block where another run, the backward pass or somebody outside reads them. What cheap layers write
 * for one run of the backward pass is written again there instead: it need not go through memory. */
static void find_passing(dl_net *net, const int *forward_of, const int *backward_of, use *uses) {
  for (int i = 0; i <= net->n_layers; i++) uses[i] = (use){.cheap = true, .backward = NONE};
  uses[net->values[0].buffer].kept = uses[dl_net_output_value(net)->buffer].kept = true;
  for (int i = 0; i < net->n_layers; i++) note_layer(net, i, forward_of, backward_of, uses);
  for (int i = 0; i < net->n_layers; i++) {
    use *u = &uses[net->values[i + 1].buffer];
    for (int k = 0; k < net->layers[i].n_inputs; k++) {
      const use *in = &uses[net->values[net->layers[i].inputs[k] + 1].buffer];
      if (in != u && !in->kept) u->cheap = false;
    }
    const bool again = u->cheap && u->backward >= 0 && net->backward[u->backward].block != INT64_MAX;
    if (u->backward != NONE && !again) u->kept = true;
  }
  for (int i = 0; i <= net->n_layers; i++) net->values[i].passing = !uses[net->values[i].buffer].kept;
  for (int i = 0; i < net->n_layers; i++)
    net->steps[i].again = net->values[i + 1].passing ? uses[net->values[i + 1].buffer].backward : NONE;
}

/* Gradients that are written and read within a run. */
static void find_passing_gradients(dl_net *net, const int *run_of) {
  for (int i = 0; i < net->n_layers; i++)
    net->values[i + 1].dy_passing =
        net->backward[run_of[i]].block != INT64_MAX && !net->layers[i].kind->gather_backward && i + 1 < net->n_layers;
  for (int i = 0; i < net->n_layers; i++)
    for (int k = 0; k < net->layers[i].n_inputs; k++) {
      const int from = net->layers[i].inputs[k];
      if (from >= 0 && run_of[from] != run_of[i]) net->values[from + 1].dy_passing = false;
    }
}

dl_status dl_net_plan_runs(dl_net *net) {
  const size_t room = (size_t)net->n_layers + 1;
  if (!net->block_floats) net->block_floats = BLOCK_FLOATS;
  net->forward = dl_arena_alloc(net->arena, room * sizeof *net->forward);
  net->backward = dl_arena_alloc(net->arena, room * sizeof *net->backward);
  int *forward_of = dl_calloc(2 * room, sizeof *forward_of), *backward_of = forward_of + room;
  use *uses = dl_calloc(room, sizeof *uses);
  const dl_status status = net->forward && net->backward && forward_of && uses ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) {
    plan_forward(net);
    plan_backward(net);
    turn_about(net);
    number_runs(net->forward, net->n_forward, forward_of);
    number_runs(net->backward, net->n_backward, backward_of);
    find_passing(net, forward_of, backward_of, uses);
    find_passing_gradients(net, backward_of);
  }
  free(forward_of);
  free(uses);
  return status;
}

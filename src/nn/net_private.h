/* net_private.h - what a network is made of (floor: nn, private to net*.c). */
#ifndef DL_NN_NET_PRIVATE_H
#define DL_NN_NET_PRIVATE_H

#include "nn/layer.h"
#include "nn/loss.h"

/* A value that flows: number 0 is the network's input, number i + 1 the output of layer i. */
typedef struct dl_value {
  dl_shape shape;
  int readers;         /* layers that read it */
  bool channels_last;  /* an image that lies as H, W, C */
  bool wants_gradient; /* something trainable lies at or below it */
  int buffer;          /* several values may live in one buffer of outputs, one after another */
  int slot;            /* its gradient's place, -1: none */
  bool passing;        /* nobody reads it after its block of samples: blocks take turns at the front of its buffer */
  bool dy_passing;     /* the same of its gradient, in the backward pass */
  float *y, *dy;       /* (max_batch, shape), or (block, shape) where passing */
  float *stage;        /* (block, shape): y of a block within the forward run that writes it; NULL: y itself */
  int stage_run;       /* that run */
  bool sends;          /* the last of its buffer: brings the stage to y when the block is done */
} dl_value;

/* Some layers, one after another, on a block of samples at a time (net_runs.c). */
typedef struct dl_net_run {
  int begin, end; /* layers [begin, end) of the list; the backward pass takes them from the end */
  int gathers;    /* the layer that takes sums of every block at the end, -1: none */
  int64_t block;  /* samples at a time; INT64_MAX: all of them */
  bool downwards; /* the last block first */
} dl_net_run;

/* What a layer works with, fixed when the network is laid out. */
typedef struct dl_net_step {
  const float *x[DL_LAYER_MAX_INPUTS];
  float *turned[DL_LAYER_MAX_INPUTS]; /* where turns: the copy that x is */
  float *dx[DL_LAYER_MAX_INPUTS];
  int dx_slot[DL_LAYER_MAX_INPUTS];     /* -1: nobody needs it */
  bool adds[DL_LAYER_MAX_INPUTS];       /* dx is scratch, to be added to the gradient that another reader has written */
  bool turns[DL_LAYER_MAX_INPUTS];      /* x is a copy of the value in the other order, and dx is turned back */
  bool dx_passing[DL_LAYER_MAX_INPUTS]; /* blocks take turns at the front of dx */
  float *work;
  size_t floats; /* of the workspace that are this layer's: outputs, copies, work */
  int again;     /* the run of the backward pass that does the layer's forward pass once more, -1: none */
} dl_net_step;

struct dl_net {
  dl_arena *arena;
  dl_layer *layers;
  dl_net_step *steps; /* one a layer */
  int n_layers;
  dl_net_run *forward, *backward; /* backward: the last layers first */
  int n_forward, n_backward;
  const dl_node *model; /* while the network is built: the list, and what the composites around a layer say */
  bool frozen;
  double lr_scale;
  dl_value *values; /* n_layers + 1 */
  dl_tensor *tensors;
  int n_tensors, tensor_room;
  size_t buffer_count;
  const dl_gemm_backend *gemm;
  const dl_loss *loss;
  void *loss_options;
  int task;
  int64_t max_batch, block_floats, stage_floats;
  size_t most_bytes;
  int64_t rows; /* of outputs a sample: the steps of a sequence for language_model, else 1 */
  float *workspace, *scratch;
  float *block_gradients; /* of a layer's tensors, of a block that is not the first */
  size_t workspace_count;
  float *y, *dy; /* the outputs and their gradient, in plain order */
  bool scored;   /* the outputs have become scores */
  double *times; /* dl_net_time_layers: forward and backward of each layer, NULL: nobody asked */
};

/* Whether an image of this shape is the same memory in both orders; what is no image is. */
static inline bool dl_shape_one_order(const dl_shape *shape) {
  return shape->dims != 3 || shape->dim[0] == 1 || shape->dim[1] * shape->dim[2] == 1;
}

static inline dl_value *dl_net_output_value(const dl_net *net) { return &net->values[net->n_layers]; }
/* Outputs are handed out channels first, but as rows of classes where every pixel is one: whether they lie otherwise.
 */
static inline bool dl_net_turns_outputs(const dl_net *net) {
  return dl_net_output_value(net)->channels_last != (net->task == DL_TASK_SEGMENTATION);
}

/* The layer that made the values of layer `number`'s output, past those that only change their shape; -1: the input. */
static inline int dl_net_maker(const dl_net *net, int number) {
  while (number >= 0 && net->layers[number].same_values) number = net->layers[number].inputs[0];
  return number;
}

/* The layers of the configuration, their shapes and tensors; the checks of the network's end (net_build.c). */
dl_status dl_net_build(const dl_net_spec *spec, dl_net *net);
/* Buffers for outputs, gradients and work in one workspace (net_layout.c). */
dl_status dl_net_layout(dl_net *net);
/* Runs of layers that go through a batch block by block, and which values outlive a block (net_runs.c). Reads the order
 * and the buffers of the outputs. */
dl_status dl_net_plan_runs(dl_net *net);
/* Rows of a buffer whose values live for a block of `run` alone. */
static inline int64_t dl_net_block_rows(const dl_net *net, const dl_net_run *run) {
  return run->block < net->max_batch ? run->block : net->max_batch;
}
/* Floats of the tensors of a layer, gaps between them included. */
size_t dl_net_layer_floats(const dl_net *net, const dl_layer *layer);

#endif

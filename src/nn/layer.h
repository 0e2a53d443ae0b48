/* layer.h - what a layer is (floor: nn). One kind of layer is one file and one row of dl_layer_kinds. */
#ifndef DL_NN_LAYER_H
#define DL_NN_LAYER_H

#include "core/group.h"
#include "core/options.h"
#include "core/rng.h"
#include "nn/gemm.h"
#include "nn/net.h"

typedef struct dl_shape {
  int dims; /* of one sample */
  int64_t dim[DL_MAX_DIMS];
} dl_shape;
int64_t dl_shape_size(const dl_shape *shape);
char *dl_shape_text(const dl_shape *shape, char *text, size_t size); /* "(3, 32, 32)" */

typedef struct dl_layer_kind dl_layer_kind;

/* A layer of a network. The kind's own data hang on `options` (parsed) and `state` (laid out by setup). */
typedef struct dl_layer {
  const dl_layer_kind *kind;
  const char *name;       /* "layers.N", or the user's */
  int number;             /* N: its place in the model's list; keys random numbers */
  const dl_node *node;    /* where it stands in the configuration */
  void *options;          /* kind->options_size bytes */
  bool trainable;
  double lr_scale;
  int n_inputs;
  int inputs[8];          /* numbers of the layers it reads, -1: the network's input */
  dl_shape in, out;       /* in: of inputs[0] */
  int first_tensor, n_tensors;
  size_t work_count;      /* floats of workspace a sample that setup asks for (kept from forward to backward) */
  double multiply_adds;   /* a sample, forward */
  bool in_place;          /* output may share the input's buffer (setup may set it: element-wise layers) */
} dl_layer;

/* What forward and backward get: shapes are (n, in) and (n, out). */
typedef struct dl_layer_run {
  const dl_gemm_backend *gemm;
  const dl_pass *pass;
  int64_t n;
  const float *const *weights; /* per tensor of the layer */
  float *const *gradients;     /* per tensor; NULL in forward. Written, not added to */
  const float *x;              /* (n, in) */
  float *y;                    /* (n, out) */
  const float *dy;             /* (n, out): backward */
  float *dx;                   /* (n, in): backward writes it; NULL where nobody needs it. May be the same memory as dy where in_place */
  float *work;                 /* (n, work_count) */
} dl_layer_run;

/* Setup declares the layer's parameters through this. */
typedef struct dl_layer_builder dl_layer_builder;
dl_status dl_layer_add_tensor(dl_layer_builder *builder, const char *suffix, int dims, const int64_t *shape, bool decays);

struct dl_layer_kind {
  const char *name, *help;
  const dl_option *options;
  int n_options;
  size_t options_size;
  const char *value_option; /* the option that `dense: 64` sets, NULL: none */
  /* Checks layer->in, sets layer->out, work_count, multiply_adds, in_place; declares tensors. */
  dl_status (*setup)(dl_layer *layer, dl_layer_builder *builder);
  /* Initial values of tensor `tensor` (0 ..) of the layer; NULL where it has none. */
  void (*init)(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count);
  void (*forward)(const dl_layer *layer, const dl_layer_run *run);
  void (*backward)(const dl_layer *layer, const dl_layer_run *run);
};
const dl_layer_kind *const *dl_layer_kinds(int *n);
const dl_layer_kind *dl_layer_kind_find(const char *name);

#endif

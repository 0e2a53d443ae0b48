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

#define DL_LAYER_MAX_INPUTS 8
#define DL_LAYER_MAX_TENSORS 64

/* How weights start: `default` is what PyTorch does for the kind; the others are torch.nn.init's, for the weight alone.
 */
#define DL_INIT_NAMES "default|kaiming_uniform|kaiming_normal|xavier_uniform|xavier_normal|zeros"
typedef enum dl_init {
  DL_INIT_DEFAULT,
  DL_INIT_KAIMING_UNIFORM,
  DL_INIT_KAIMING_NORMAL,
  DL_INIT_XAVIER_UNIFORM,
  DL_INIT_XAVIER_NORMAL,
  DL_INIT_ZEROS,
} dl_init;

/* How an image (C, H, W) lies in memory. Plain is what shapes say and files hold; inside a network of images the
 * channels of a pixel lie together (H, W, C), which convolutions are fastest on. The network turns the images that a
 * layer reads where they lie the other way. */
typedef enum dl_order {
  DL_ORDER_PLAIN,         /* reads and writes C, H, W */
  DL_ORDER_EITHER,        /* element-wise and the like: as the first input lies, so does the output (channels_last) */
  DL_ORDER_CHANNELS_LAST, /* reads and writes H, W, C */
} dl_order;

typedef struct dl_layer_kind dl_layer_kind;

/* A layer of a network. The kind's own data hang on `options` (parsed) and `state` (laid out by setup). */
typedef struct dl_layer {
  const dl_layer_kind *kind;
  const char *name;    /* "layers.N", or the user's */
  int number;          /* N: its place in the model's list; keys random numbers */
  const dl_node *node; /* where it stands in the configuration */
  void *options;       /* kind->options_size bytes */
  void *state;         /* what setup made, for kind->destroy; changed by passes */
  bool trainable;
  double lr_scale;
  int init;                        /* dl_init */
  int n_inputs;                    /* 1 unless the kind joins */
  int inputs[DL_LAYER_MAX_INPUTS]; /* numbers of the layers it reads, -1: the network's input */
  const dl_shape *input_shapes[DL_LAYER_MAX_INPUTS];
  dl_shape in, out; /* in: of inputs[0] */
  int first_tensor, n_tensors;
  size_t work_count;    /* floats of workspace a sample that setup asks for (kept from forward to backward) */
  size_t scratch_count; /* floats of workspace a sample within a pass of this layer, shared by all layers */
  double multiply_adds; /* a sample, forward */
  size_t work_fixed;    /* floats of workspace more, whatever the number of samples, at the front */
  bool in_place;        /* output may share the input's buffer (setup may set it: element-wise layers) */
  bool same_values;     /* output is the input in another shape, in the same memory (setup may set it) */
  bool reads_output;    /* backward reads y: nobody may write into the output's buffer */
  int64_t token_limit;  /* > 0: what it reads are tokens, whole numbers below this (setup sets it) */
  bool looks_ahead;     /* a step of a sequence depends on later ones (setup sets it) */
  bool channels_last;   /* images are read and written as H, W, C; set by the network */
  bool with_relu;       /* works on max(x, 0) of what it reads; set by the network where kind->takes_relu */
  bool left_to_reader;  /* does nothing: the layer that reads it does it with_relu; set by the network */
} dl_layer;

/* What forward and backward get: shapes are (n, in) and (n, out). */
typedef struct dl_layer_run {
  const dl_gemm_backend *gemm;
  const dl_pass *pass;
  int64_t n;                   /* samples of this block */
  int64_t total;               /* samples of the leaf */
  bool starts, ends;           /* first and last block of the leaf */
  const float *const *weights; /* per tensor of the layer */
  float *const *gradients;     /* per tensor; NULL in forward and where the layer is frozen. Written, not added to */
  const float *x;              /* (n, in) */
  float *y;                    /* (n, out) */
  const float *dy;             /* (n, out): backward */
  float *dx; /* (n, in): backward writes it; NULL where nobody needs it. May be the same memory as dy where in_place */
  float *work;              /* work_fixed, then (n, work_count) */
  float *scratch;           /* (n, scratch_count), of no value before or after */
  const float *const *xs;   /* x of every input, for kinds that join; xs[0] is x */
  float *const *dxs;        /* dx of every input; dxs[0] is dx */
  const dl_tensor *tensors; /* of the layer, as they lie in the buffers */
  bool alone;               /* no other layer and no other block is in work with this one */
} dl_layer_run;

/* For kinds that say so (announces), what dl_pass.reads and dl_pass.wrote want to know: the layer's tensors 0 to
 * `tensor` are read from now on; the gradients of tensors from `tensor` on are written, and those of all later layers
 * were before. */
void dl_layer_reads(const dl_layer_run *run, int tensor);
void dl_layer_wrote(const dl_layer_run *run, int tensor);

/* Setup declares the layer's parameters through this. */
typedef struct dl_layer_builder dl_layer_builder;
dl_status dl_layer_add_tensor(dl_layer_builder *builder, const char *suffix, int dims, const int64_t *shape,
                              bool decays);
/* A tensor that is not learnt but averaged over steps (dl_tensor.running); left alone where the layer is frozen. */
dl_status dl_layer_add_running(dl_layer_builder *builder, const char *suffix, int dims, const int64_t *shape,
                               double momentum);
/* Who multiplies matrices, for layers that prepare themselves in setup. */
const dl_gemm_backend *dl_layer_gemm(const dl_layer_builder *builder);

struct dl_layer_kind {
  const char *name, *help;
  const dl_option *options;
  int n_options;
  size_t options_size;
  const char *value_option; /* the option that `dense: 64` sets, NULL: none */
  bool joins;               /* reads several inputs (`from: [a, b]`) */
  int most_inputs;          /* where it does not join: how many it may read; 0: one */
  bool composite;           /* its option `layers` is a list of layers, whose end and `shortcut`'s end it reads */
  dl_order order;           /* how it takes images */
  bool takes_relu;          /* can do the relu before it as well (with_relu) */
  bool by_sample;     /* a pass over some of the samples is the same as over all (gradients of weights: their sum) */
  bool forgets_input; /* backward does not read x */
  bool cheap;         /* forward costs no more than reading its output from memory; it may run twice on a block */
  bool announces;     /* of its tensors forward reads one after another and calls dl_layer_reads */
  bool squashes;      /* makes probabilities: not allowed at the end before a loss on logits */
  /* Checks layer->in, sets layer->out, work_count, multiply_adds, in_place; declares tensors. */
  dl_status (*setup)(dl_layer *layer, dl_layer_builder *builder);
  /* Initial values of tensor `tensor` (0 ..) of the layer; NULL where it has none. */
  void (*init)(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count);
  void (*forward)(const dl_layer *layer, const dl_layer_run *run);
  void (*backward)(const dl_layer *layer, const dl_layer_run *run);
  /* For kinds whose passes by sample need sums over the leaf first: reads x (and dy) of every block before
   * forward (backward) of the first one. Such a kind writes its gradients in gather_backward. NULL: none. */
  void (*gather)(const dl_layer *layer, const dl_layer_run *run);
  void (*gather_backward)(const dl_layer *layer, const dl_layer_run *run);
  void (*destroy)(dl_layer *layer); /* takes state away; NULL: it has none */
};
const dl_layer_kind *const *dl_layer_kinds(int *n);
const dl_layer_kind *dl_layer_kind_find(const char *name); /* NULL where there is none */

/* The options that every layer takes, beside its kind's own. */
typedef struct dl_layer_common {
  const char *name;
  dl_node *from;
  bool trainable;
  double lr_scale;
  int init;
} dl_layer_common;
const dl_option *dl_layer_common_options(int *n);

/* The options of a composite kind. */
typedef struct dl_layer_branches {
  dl_node *layers, *shortcut; /* shortcut: NULL where there is none */
} dl_layer_branches;

/* Fails at the layer's place in the configuration: "layers.2 (dense): ...". */
dl_status dl_layer_fail(const dl_layer *layer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fills `values` of tensor `tensor` by a distribution of `init`, or U(-bound, bound) for DL_INIT_DEFAULT. */
void dl_init_fill(int init, double bound, int64_t fan_in, int64_t fan_out, dl_rng_key key, int tensor, float *values,
                  size_t count);

#endif

/* net.h - a network: layers in a fixed order, their parameters in one buffer (floor: nn). */
#ifndef DL_NN_NET_H
#define DL_NN_NET_H

#include "core/config.h"
#include "core/group.h"

typedef struct dl_net dl_net;

typedef struct dl_net_spec {
  const dl_config *config; /* model, loss, task, seed, compute.backend; its tree receives the defaults */
  int x_dims;              /* of one sample */
  int64_t x_shape[DL_MAX_DIMS];
  int64_t outputs;             /* what the data asks for: classes, or values of y; 0: unknown, take the network's */
  int64_t max_batch;           /* largest number of samples of a pass */
  const int64_t *class_counts; /* samples of each class in the training split, where the loss balances classes */
  int64_t n_class_counts;
  /* How a pass goes through memory, 0: what is fastest. Floats of the largest value of a block of samples (net_runs.c),
   * and of all values that are kept from which on they are written past the caches (net_layout.c). */
  int64_t block_floats, stage_floats;
  size_t most_bytes; /* a workspace larger than this is refused (DL_ERR_NOMEM); 0: what the machine can give */
  int64_t map[2];    /* segmentation: height and width of a sample's labels; 0: unknown */
} dl_net_spec;

/* Builds the network: checks the shapes (DL_ERR_USAGE at the YAML line, with the layer and its shapes), lays out
 * parameters and the workspace. Not collective. */
dl_status dl_net_new(const dl_net_spec *spec, dl_net **out);
void dl_net_destroy(dl_net **net);

const dl_tensor *dl_net_tensors(const dl_net *net, int *n); /* in layer order */
size_t dl_net_buffer_count(const dl_net *net);              /* floats of a parameter buffer (gaps included) */
int64_t dl_net_parameters(const dl_net *net);               /* trainable and not, without gaps */
int64_t dl_net_outputs(const dl_net *net);                  /* of a row */
int64_t dl_net_rows(const dl_net *net); /* rows of outputs a sample: language_model has one a step, segmentation one a
                                           pixel, others one */
void dl_net_map(const dl_net *net, int64_t map[2]); /* segmentation: height and width of the outputs */
/* Tokens that x may hold run from 0 to one less; 0: x are no tokens. */
int64_t dl_net_token_limit(const dl_net *net);
/* The first layer in which a step of a sequence depends on later ones, -1: none. A language model that has one sees the
 * tokens that it is asked for. */
int dl_net_looks_ahead(const dl_net *net);
size_t dl_net_bytes(const dl_net *net);         /* workspace */
double dl_net_multiply_adds(const dl_net *net); /* of a forward pass of one sample */

/* Initial weights by the seed (PyTorch 1.13's distributions), into `weights` (buffer_count floats, gaps zero). */
void dl_net_init(const dl_net *net, uint64_t seed, float *weights);

/* What a pass may depend on beside its samples. */
typedef struct dl_pass {
  bool training;
  uint64_t seed;
  uint32_t step;         /* global step, from 0: keys dropout */
  uint64_t first_sample; /* place of row 0 in the global batch */
  /* For whoever moves weights and gradients meanwhile; may be NULL. Weights before element `end` are read from now on;
   * gradients from element `from` on are written. */
  void (*reads)(void *watcher, size_t end);
  void (*wrote)(void *watcher, size_t from);
  void *watcher;
} dl_pass;

/* The buffer that a batch's x is to be read into: (max_batch, x). Not an allocation. */
float *dl_net_input(dl_net *net);

/* Forward pass of the n samples in dl_net_input. Returns the outputs (n, outputs): logits where the loss works on
 * logits; of segmentation (n, height, width, classes). Borrowed until the next pass. */
const float *dl_net_forward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass);

/* Loss of the last forward pass: adds nothing, writes *loss_sum (sum, not mean) and *normaliser (what to divide by:
 * samples, elements or weights). Truth: label (n, rows), of which -1 counts for nothing, or y (n, outputs); weight (n)
 * or NULL. `gradients` NULL: loss alone; otherwise the gradient of the sum with respect to all parameters is written
 * there (beta = 0, gaps untouched) by a backward pass. */
void dl_net_loss(dl_net *net, int64_t n, const int32_t *label, const float *y, const float *weight, double *loss_sum,
                 double *normaliser);
void dl_net_backward(dl_net *net, const float *weights, int64_t n, const dl_pass *pass, float *gradients);
/* Labels that the loss leaves out become -1, for metrics; n samples. */
void dl_net_drop_ignored(const dl_net *net, int64_t n, int32_t *label);

/* To find out why a loss is not finite. Runs a forward pass of the n samples in dl_net_input; returns the number of the
 * first layer whose output is not finite, -1 where the input is not, the number of layers where all are finite. */
int dl_net_first_not_finite(dl_net *net, const float *weights, int64_t n, const dl_pass *pass);
int dl_net_tensor_layer(const dl_net *net, int tensor);                          /* the layer that a tensor is of */
int dl_net_layers(const dl_net *net);                                            /* their number */
char *dl_net_layer_text(const dl_net *net, int number, char *text, size_t size); /* "layers.2 (dense)" */

/* Scores of the last forward pass for metrics and predictions: softmax or sigmoid of the logits where the task has
 * them, in place of the outputs' own buffer; (n, outputs), borrowed until the next pass. */
const float *dl_net_scores(dl_net *net, int64_t n);

/* From now on adds the seconds of each layer's passes to times[2 i] (forward) and times[2 i + 1] (backward), turning of
 * images included; times has room for 2 * dl_net_layers, is borrowed, and NULL ends it. */
void dl_net_time_layers(dl_net *net, double *times);
/* Multiply-adds of a forward pass of one sample through layer `number`. */
double dl_net_layer_multiply_adds(const dl_net *net, int number);

/* A table of the layers as text (name, output shape, parameters, multiply-adds, memory), for --dry-run; freed by the
 * caller. */
dl_status dl_net_summary(const dl_net *net, char **out);

#endif

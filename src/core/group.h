/* group.h - a parameter group: what gradient synchronisation sees of a network and its optimizer (floor: core).
 *
 * Parameters, gradients and optimizer slots are single buffers of `count` floats laid out alike: tensor after tensor,
 * each starting at a multiple of 16 floats (64 bytes), the gaps zero. A slice of the buffer is cut at block boundaries
 * (DL_BLOCK elements counted from a tensor's start).
 */
#ifndef DL_CORE_GROUP_H
#define DL_CORE_GROUP_H

#include "core/status.h"

#define DL_MAX_DIMS 5
#define DL_MAX_OPTIMIZER_SLOTS 4
#define DL_LEAF_SUMS \
  8 /* doubles that a leaf delivers beside its gradient: [0] loss sum, [1] normaliser, rest the task's */

typedef struct dl_tensor {
  char name[96];        /* "layers.0.weight" */
  size_t offset, count; /* in floats; offset is a multiple of 16 */
  int dims;
  int64_t shape[DL_MAX_DIMS]; /* as in PyTorch */
  bool trainable;
  bool decays; /* false for biases and norms: penalties pass them by, weight decay and trust ratios on request */
  float lr_scale;
  float running; /* > 0: not learnt, but a running average: what leaves deliver as its gradient is a sum over their
                    samples, and each step it moves by this share towards that sum divided by the step's samples */
} dl_tensor;

/* One block of one tensor for the optimizer: n <= DL_BLOCK. `gradient` is divided by the normaliser and clipped
 * already. `state[k]` is optimizer slot k at the same place. */
typedef void (*dl_apply_fn)(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                            const float *restrict gradient, float *const state[]);

/* Adds the gradient of penalties on the weights to the mean gradient of one block, before norms and clipping. */
typedef void (*dl_penalise_fn)(void *context, const dl_tensor *tensor, size_t n, const float *restrict weights,
                               float *restrict gradient);

/* Optimizers whose step depends on whole tensors (LARS, LAMB) have two functions in place of dl_apply_fn. The first may
 * turn a block's gradient into its update, in place, and change the state, not the weights. The second gets what the
 * first left, and the sums of squares of the whole tensor: of the weights before the step, and of that update. */
typedef void (*dl_measure_fn)(void *context, const dl_tensor *tensor, size_t n, const float *restrict weights,
                              float *restrict gradient, float *const state[]);
typedef struct dl_tensor_sums {
  double weights, update;
} dl_tensor_sums;
typedef void (*dl_apply_measured_fn)(void *context, const dl_tensor *tensor, const dl_tensor_sums *sums, size_t n,
                                     float *restrict weights, const float *restrict update, float *const state[]);

typedef struct dl_param_group {
  size_t count;             /* floats in a buffer, a multiple of 16 */
  const dl_tensor *tensors; /* in buffer order, borrowed */
  int n_tensors;
  int n_slots; /* optimizer slots */
  dl_apply_fn apply;
  dl_penalise_fn penalise;                   /* NULL: no penalties */
  dl_measure_fn measure;                     /* NULL, or apply is not used but these two: the step then needs */
  dl_apply_measured_fn apply_measured;       /* dl_sync_options.norm_first */
  void (*pace)(void *context, double share); /* the next apply is of this share of a step: its lr is scaled so */
  void *apply_context;                       /* one per member; holds the step's lr and the like, set before the step */
} dl_param_group;

/* Blocks of a group are numbered over all tensors in order. */
typedef struct dl_block_ref {
  int32_t tensor;
  uint32_t n;
  size_t offset;
} dl_block_ref;
int64_t dl_group_blocks(const dl_param_group *group);
/* All blocks in order; `out` has dl_group_blocks entries. */
void dl_group_list_blocks(const dl_param_group *group, dl_block_ref *out);
/* The first of `n` such blocks that begins at element `offset` of the buffer or behind; n: none. */
int64_t dl_group_block_at(const dl_block_ref *blocks, int64_t n, size_t offset);
/* First block of slice `slice` of `slices`: evenly by elements, cut at block boundaries; slice = slices gives the end.
 */
int64_t dl_group_slice_begin(const dl_param_group *group, int slice, int slices);

#endif

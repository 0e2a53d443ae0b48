/* optimizer_adaptive.c - adagrad and rmsprop in PyTorch 1.13's formulas: each weight has a step of its own, from the
 * squares of its gradients. */
#include "nn/optimizer_kinds.h"

/* ---- adagrad ---- */

typedef struct adagrad_options {
  dl_optimizer_common common;
  double lr_decay, initial_accumulator, eps;
} adagrad_options;

static const dl_option adagrad_rows[] = {
    DL_OPTIMIZER_COMMON("0.01", "0", DL_DECAY_AS_GRADIENT),
    DL_OPTIMIZER_REAL(adagrad_options, lr_decay, 0, 1e6, "0", "lr is divided by 1 + this * (t - 1) at step t"),
    DL_OPTIMIZER_REAL(adagrad_options, initial_accumulator, 0, 1e30, "0", "what the sums of squares start from"),
    DL_OPTIMIZER_REAL(adagrad_options, eps, 0, 1e6, "1.0e-10", "added to the denominator"),
};

static void adagrad_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                          const float *restrict gradient, float *const state[]) {
  const dl_optimizer *optimizer = context;
  const adagrad_options *o = optimizer->options;
  const double lr = dl_optimizer_lr_of(optimizer, tensor) / (1 + (double)(optimizer->step - 1) * o->lr_decay);
  const dl_adagrad_step step = {.lr = (float)lr,
                                .decay = (float)dl_optimizer_decay_of(optimizer, tensor),
                                .eps = (float)o->eps,
                                .initial = optimizer->step == 1 ? (float)o->initial_accumulator : 0};
  if (tensor->trainable) dl_optimizer_kernels_in_use()->adagrad(&step, n, weights, gradient, state[0]);
}

const dl_optimizer_kind dl_optimizer_adagrad = {
    .name = "adagrad",
    .help = "steps divided by the root of all squared gradients so far (Duchi, Hazan and Singer, 2011)",
    DL_OPTIMIZER_ROWS(adagrad_rows),
    .options_size = sizeof(adagrad_options),
    .slot_names = {"sum"},
    .apply = adagrad_apply,
};

/* ---- rmsprop ---- */

typedef struct rmsprop_options {
  dl_optimizer_common common;
  double alpha, eps, momentum;
  bool centered;
} rmsprop_options;

static const dl_option rmsprop_rows[] = {
    DL_OPTIMIZER_COMMON("0.01", "0", DL_DECAY_AS_GRADIENT),
    DL_OPTIMIZER_REAL(rmsprop_options, alpha, 0, 1, "0.99", "how slowly the mean of squared gradients moves"),
    DL_OPTIMIZER_REAL(rmsprop_options, eps, 0, 1e6, "1.0e-8", "added to the denominator"),
    DL_OPTIMIZER_REAL(rmsprop_options, momentum, 0, 1, "0", "share of the last step that is kept"),
    DL_OPTIMIZER_BOOL(rmsprop_options, centered, "false", "whether the squared mean of gradients is taken off first"),
};

enum { SQUARE_AVG, MOMENTUM, GRAD_AVG };

static unsigned rmsprop_slots(const void *options) {
  const rmsprop_options *o = options;
  return 1u << SQUARE_AVG | (unsigned)(o->momentum > 0) << MOMENTUM | (unsigned)o->centered << GRAD_AVG;
}

static void rmsprop_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                          const float *restrict gradient, float *const state[]) {
  const dl_optimizer *optimizer = context;
  const rmsprop_options *o = optimizer->options;
  const dl_rmsprop_step step = {.lr = (float)dl_optimizer_lr_of(optimizer, tensor),
                                .decay = (float)dl_optimizer_decay_of(optimizer, tensor),
                                .alpha = (float)o->alpha,
                                .one_minus_alpha = (float)(1 - o->alpha),
                                .eps = (float)o->eps,
                                .momentum = (float)o->momentum};
  float *momentum = o->momentum > 0 ? state[1] : NULL, *mean = o->centered ? state[momentum ? 2 : 1] : NULL;
  if (tensor->trainable) dl_optimizer_kernels_in_use()->rmsprop(&step, n, weights, gradient, state[0], momentum, mean);
}

const dl_optimizer_kind dl_optimizer_rmsprop = {
    .name = "rmsprop",
    .help = "steps divided by the root of a running mean of squared gradients (Tieleman and Hinton, 2012)",
    DL_OPTIMIZER_ROWS(rmsprop_rows),
    .options_size = sizeof(rmsprop_options),
    .slot_names = {[SQUARE_AVG] = "square_avg", [MOMENTUM] = "momentum_buffer", [GRAD_AVG] = "grad_avg"},
    .slots = rmsprop_slots,
    .apply = rmsprop_apply,
};

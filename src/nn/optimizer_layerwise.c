/* optimizer_layerwise.c - lars and lamb: the step of each tensor is scaled by the ratio of two norms, of its weights
 * and of its update.
 *
 * Norms need whole tensors, so a step has two functions (core/group.h): the first makes the update, the second applies
 * it once the norms are known. A tensor with a norm of zero has the ratio 1, and so has one that is exempt
 * (decay_biases: false, as in the papers' own experiments).
 */
#include <math.h>

#include "nn/optimizer_kinds.h"

static bool adapts(const dl_optimizer *optimizer, const dl_tensor *tensor) {
  return tensor->decays || ((const dl_optimizer_common *)optimizer->options)->decay_biases;
}

/* ---- lars: You, Gitman and Ginsburg, 2017, algorithm 1 ---- */

typedef struct lars_options {
  dl_optimizer_common common;
  double momentum, trust;
} lars_options;

static const dl_option lars_rows[] = {
    DL_OPTIMIZER_COMMON("0.1", "0", DL_DECAY_AS_GRADIENT),
    DL_OPTIMIZER_REAL(lars_options, momentum, 0, 1, "0.9", "share of the last step that is kept"),
    DL_OPTIMIZER_REAL(lars_options, trust, 0, 1e6, "0.001",
                      "a tensor's lr is scaled by this * |w| / (|gradient| + weight_decay * |w|)"),
};

static unsigned lars_slots(const void *options) { return ((const lars_options *)options)->momentum > 0; }

/* The update is the gradient itself. */
static void lars_measure(void *context, const dl_tensor *tensor, size_t n, const float *restrict weights,
                         float *restrict gradient, float *const state[]) {
  (void)context, (void)tensor, (void)n, (void)weights, (void)gradient, (void)state;
}

static void lars_apply(void *context, const dl_tensor *tensor, const dl_tensor_sums *sums, size_t n,
                       float *restrict weights, const float *restrict update, float *const state[]) {
  const dl_optimizer *optimizer = context;
  const lars_options *o = optimizer->options;
  const double decay = dl_optimizer_decay_of(optimizer, tensor), w = sqrt(sums->weights), g = sqrt(sums->update);
  const double ratio = adapts(optimizer, tensor) && w > 0 && g > 0 ? o->trust * w / (g + decay * w) : 1;
  const dl_sgd_step step = {.lr = (float)(dl_optimizer_lr_of(optimizer, tensor) * ratio),
                            .momentum = (float)o->momentum,
                            .decay = (float)decay};
  if (o->momentum > 0)
    dl_optimizer_kernels_in_use()->lars(&step, n, weights, update, state[0]);
  else
    dl_optimizer_kernels_in_use()->sgd(&step, n, weights, update);
}

const dl_optimizer_kind dl_optimizer_lars = {
    .name = "lars",
    .help = "sgd with a learning rate for each tensor, for large batches (You, Gitman and Ginsburg, 2017)",
    DL_OPTIMIZER_ROWS(lars_rows),
    .options_size = sizeof(lars_options),
    .slot_names = {"momentum_buffer"},
    .slots = lars_slots,
    .measure = lars_measure,
    .apply_measured = lars_apply,
};

/* ---- lamb: You et al., 2020, algorithm 2 ---- */

typedef struct lamb_options {
  dl_optimizer_common common;
  double beta1, beta2, eps;
} lamb_options;

static const dl_option lamb_rows[] = {
    DL_OPTIMIZER_COMMON("0.001", "0.01", "this times the weights is added to the update"),
    DL_OPTIMIZER_REAL(lamb_options, beta1, 0, 0.999999999, "0.9", "how slowly the mean of gradients moves"),
    DL_OPTIMIZER_REAL(lamb_options, beta2, 0, 0.999999999, "0.999", "how slowly the mean of squared gradients moves"),
    DL_OPTIMIZER_REAL(lamb_options, eps, 0, 1e6, "1.0e-6", "added to the denominator"),
};

enum { INVERSE_BIAS1, INVERSE_SQRT_BIAS2 };

static void lamb_begin(dl_optimizer *optimizer) {
  const lamb_options *o = optimizer->options;
  optimizer->scalar[INVERSE_BIAS1] = 1 / (1 - pow(o->beta1, (double)optimizer->step));
  optimizer->scalar[INVERSE_SQRT_BIAS2] = 1 / sqrt(1 - pow(o->beta2, (double)optimizer->step));
}

static void lamb_measure(void *context, const dl_tensor *tensor, size_t n, const float *restrict weights,
                         float *restrict gradient, float *const state[]) {
  const dl_optimizer *optimizer = context;
  const lamb_options *o = optimizer->options;
  const dl_lamb_step step = {.beta1 = (float)o->beta1,
                             .one_minus_beta1 = (float)(1 - o->beta1),
                             .beta2 = (float)o->beta2,
                             .one_minus_beta2 = (float)(1 - o->beta2),
                             .inverse_bias1 = (float)optimizer->scalar[INVERSE_BIAS1],
                             .inverse_sqrt_bias2 = (float)optimizer->scalar[INVERSE_SQRT_BIAS2],
                             .eps = (float)o->eps,
                             .decay = (float)dl_optimizer_decay_of(optimizer, tensor)};
  dl_optimizer_kernels_in_use()->lamb_update(&step, n, weights, gradient, state[0], state[1]);
}

static void lamb_apply(void *context, const dl_tensor *tensor, const dl_tensor_sums *sums, size_t n,
                       float *restrict weights, const float *restrict update, float *const state[]) {
  (void)state;
  const dl_optimizer *optimizer = context;
  const double w = sqrt(sums->weights), u = sqrt(sums->update);
  const double ratio = adapts(optimizer, tensor) && w > 0 && u > 0 ? w / u : 1;
  dl_optimizer_kernels_in_use()->subtract((float)(dl_optimizer_lr_of(optimizer, tensor) * ratio), n, weights, update);
}

const dl_optimizer_kind dl_optimizer_lamb = {
    .name = "lamb",
    .help = "adam with a step for each tensor as large as its weights, for large batches (You et al., 2020)",
    DL_OPTIMIZER_ROWS(lamb_rows),
    .options_size = sizeof(lamb_options),
    .slot_names = {"exp_avg", "exp_avg_sq"},
    .begin = lamb_begin,
    .measure = lamb_measure,
    .apply_measured = lamb_apply,
};

/* optimizer_adam.c - adam and adamw in PyTorch 1.13's formulas: they differ in where the decay goes. */
#include <math.h>

#include "nn/optimizer_kinds.h"

typedef struct adam_options {
  dl_optimizer_common common;
  double beta1, beta2, eps;
} adam_options;

#define ADAM_ROWS(decay, decay_help)                                                                           \
  DL_OPTIMIZER_COMMON("0.001", decay, decay_help),                                                             \
      DL_OPTIMIZER_REAL(adam_options, beta1, 0, 0.999999999, "0.9", "how slowly the mean of gradients moves"), \
      DL_OPTIMIZER_REAL(adam_options, beta2, 0, 0.999999999, "0.999",                                          \
                        "how slowly the mean of squared gradients moves"),                                     \
      DL_OPTIMIZER_REAL(adam_options, eps, 0, 1e6, "1.0e-8", "added to the denominator")

static const dl_option adam_rows[] = {ADAM_ROWS("0", DL_DECAY_AS_GRADIENT)};
static const dl_option adamw_rows[] = {ADAM_ROWS("0.01", "weights shrink by lr times this in each step")};

enum { BIAS1, INVERSE_SQRT_BIAS2 };

static void begin(dl_optimizer *optimizer) {
  const adam_options *o = optimizer->options;
  optimizer->scalar[BIAS1] = 1 - pow(o->beta1, (double)optimizer->step);
  optimizer->scalar[INVERSE_SQRT_BIAS2] = 1 / sqrt(1 - pow(o->beta2, (double)optimizer->step));
}

static void block(const dl_optimizer *optimizer, double decay, double decoupled, const dl_tensor *tensor, size_t n,
                  float *restrict weights, const float *restrict gradient, float *const state[]) {
  const adam_options *o = optimizer->options;
  const double lr = dl_optimizer_lr_of(optimizer, tensor);
  const dl_adam_step step = {.keep = (float)(1 - lr * decoupled),
                             .decay = (float)decay,
                             .beta1 = (float)o->beta1,
                             .one_minus_beta1 = (float)(1 - o->beta1),
                             .beta2 = (float)o->beta2,
                             .one_minus_beta2 = (float)(1 - o->beta2),
                             .step_size = (float)(lr / optimizer->scalar[BIAS1]),
                             .inverse_sqrt_bias2 = (float)optimizer->scalar[INVERSE_SQRT_BIAS2],
                             .eps = (float)o->eps};
  if (tensor->trainable) dl_optimizer_kernels_in_use()->adam(&step, n, weights, gradient, state[0], state[1]);
}

static void adam_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                       const float *restrict gradient, float *const state[]) {
  block(context, dl_optimizer_decay_of(context, tensor), 0, tensor, n, weights, gradient, state);
}

static void adamw_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                        const float *restrict gradient, float *const state[]) {
  block(context, 0, dl_optimizer_decay_of(context, tensor), tensor, n, weights, gradient, state);
}

const dl_optimizer_kind dl_optimizer_adam = {
    .name = "adam",
    .help = "steps scaled by running means of gradient and squared gradient (Kingma and Ba, 2015)",
    DL_OPTIMIZER_ROWS(adam_rows),
    .options_size = sizeof(adam_options),
    .slot_names = {"exp_avg", "exp_avg_sq"},
    .begin = begin,
    .apply = adam_apply,
};

const dl_optimizer_kind dl_optimizer_adamw = {
    .name = "adamw",
    .help = "adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019)",
    DL_OPTIMIZER_ROWS(adamw_rows),
    .options_size = sizeof(adam_options),
    .slot_names = {"exp_avg", "exp_avg_sq"},
    .begin = begin,
    .apply = adamw_apply,
};

/* optimizer_kernels.isa.c - optimizers as plain loops, one compilation an instruction set. The order of operations is
 * PyTorch 1.13's where it has the optimizer, the papers' else. */
#include "nn/optimizer_kernels.h"

#include <math.h>

#include "core/isa.h"

static void penalise(float l1, float twice_l2, size_t n, const float *restrict w, float *restrict g) {
  for (size_t i = 0; i < n; i++) {
    const float sign = w[i] > 0 ? 1.0f : w[i] < 0 ? -1.0f : w[i]; /* 0 at 0; NaN stays */
    g[i] += l1 * sign + twice_l2 * w[i];
  }
}

static void sgd(const dl_sgd_step *step, size_t n, float *restrict w, const float *restrict g) {
  const dl_sgd_step s = *step;
  for (size_t i = 0; i < n; i++) w[i] -= s.lr * (g[i] + s.decay * w[i]);
}

static void sgd_momentum(const dl_sgd_step *step, size_t n, float *restrict w, const float *restrict g,
                         float *restrict buffer) {
  const dl_sgd_step s = *step;
  /* Nesterov looks one step ahead: d + momentum * buffer; the plain form takes the buffer alone. */
  const float of_gradient = s.nesterov ? 1.0f : 0.0f, of_buffer = s.nesterov ? s.momentum : 1.0f;
  for (size_t i = 0; i < n; i++) {
    float d = g[i] + s.decay * w[i];
    buffer[i] = s.momentum * buffer[i] + d;
    w[i] -= s.lr * (of_gradient * d + of_buffer * buffer[i]);
  }
}

/* Kingma and Ba, "Adam", 2015, in the order of PyTorch: denominator = sqrt(v) / sqrt(1 - beta2^t) + eps. */
static void adam(const dl_adam_step *step, size_t n, float *restrict w, const float *restrict g, float *restrict m,
                 float *restrict v) {
  const dl_adam_step s = *step;
  for (size_t i = 0; i < n; i++) {
    float p = w[i] * s.keep;
    float d = g[i] + s.decay * p;
    m[i] = m[i] * s.beta1 + d * s.one_minus_beta1;
    v[i] = v[i] * s.beta2 + s.one_minus_beta2 * d * d;
    w[i] = p - s.step_size * m[i] / (sqrtf(v[i]) * s.inverse_sqrt_bias2 + s.eps);
  }
}

/* Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011. */
static void adagrad(const dl_adagrad_step *step, size_t n, float *restrict w, const float *restrict g,
                    float *restrict sum) {
  const dl_adagrad_step s = *step;
  for (size_t i = 0; i < n; i++) {
    float d = g[i] + s.decay * w[i];
    sum[i] = sum[i] + s.initial + d * d;
    w[i] -= s.lr * d / (sqrtf(sum[i]) + s.eps);
  }
}

/* Tieleman and Hinton's lecture 6.5, 2012; centered: Graves, 2013. The four forms share one body, so that each is one
 * loop without a branch. */
static inline __attribute__((always_inline)) void rmsprop_form(dl_rmsprop_step s, size_t n, float *restrict w,
                                                               const float *restrict g, float *restrict square,
                                                               float *restrict momentum, float *restrict mean) {
  for (size_t i = 0; i < n; i++) {
    float d = g[i] + s.decay * w[i];
    square[i] = square[i] * s.alpha + s.one_minus_alpha * d * d;
    float variance = square[i];
    if (mean) {
      mean[i] = mean[i] * s.alpha + s.one_minus_alpha * d;
      variance -= mean[i] * mean[i];
    }
    float move = d / (sqrtf(variance) + s.eps);
    if (momentum) move = momentum[i] = s.momentum * momentum[i] + move;
    w[i] -= s.lr * move;
  }
}

static void rmsprop(const dl_rmsprop_step *step, size_t n, float *w, const float *g, float *square, float *momentum,
                    float *mean) {
  if (momentum && mean)
    rmsprop_form(*step, n, w, g, square, momentum, mean);
  else if (momentum)
    rmsprop_form(*step, n, w, g, square, momentum, NULL);
  else if (mean)
    rmsprop_form(*step, n, w, g, square, NULL, mean);
  else
    rmsprop_form(*step, n, w, g, square, NULL, NULL);
}

/* You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1: lr is in the buffer.
 */
static void lars(const dl_sgd_step *step, size_t n, float *restrict w, const float *restrict g,
                 float *restrict buffer) {
  const dl_sgd_step s = *step;
  for (size_t i = 0; i < n; i++) {
    buffer[i] = s.momentum * buffer[i] + s.lr * (g[i] + s.decay * w[i]);
    w[i] -= buffer[i];
  }
}

/* You et al., "Large batch optimization for deep learning", 2020, algorithm 2. */
static void lamb_update(const dl_lamb_step *step, size_t n, const float *restrict w, float *restrict g,
                        float *restrict m, float *restrict v) {
  const dl_lamb_step s = *step;
  for (size_t i = 0; i < n; i++) {
    float d = g[i];
    m[i] = m[i] * s.beta1 + d * s.one_minus_beta1;
    v[i] = v[i] * s.beta2 + s.one_minus_beta2 * d * d;
    g[i] = m[i] * s.inverse_bias1 / (sqrtf(v[i]) * s.inverse_sqrt_bias2 + s.eps) + s.decay * w[i];
  }
}

static void subtract(float factor, size_t n, float *restrict w, const float *restrict update) {
  for (size_t i = 0; i < n; i++) w[i] -= factor * update[i];
}

extern const dl_optimizer_kernels DL_ISA_NAME(dl_optimizer_kernel_table);
const dl_optimizer_kernels DL_ISA_NAME(dl_optimizer_kernel_table) = {
    .penalise = penalise,
    .sgd = sgd,
    .sgd_momentum = sgd_momentum,
    .adam = adam,
    .adagrad = adagrad,
    .rmsprop = rmsprop,
    .lars = lars,
    .lamb_update = lamb_update,
    .subtract = subtract,
};

/* optimizer_kernels.h - one pass over a block for each optimizer, one table per instruction set (floor: nn).
 *
 * All tables give the same bits: every element goes through the same IEEE operations, nothing is contracted to fused
 * multiply-adds. w are weights, g the mean gradient; factors are worked out in float64 by the caller. `decay` times the
 * weights is added to the gradient first.
 */
#ifndef DL_NN_OPTIMIZER_KERNELS_H
#define DL_NN_OPTIMIZER_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct dl_sgd_step {
  float lr, momentum, decay;
  bool nesterov;
} dl_sgd_step;

typedef struct dl_adam_step {
  float keep; /* weights *= keep first: 1 - lr * weight_decay for adamw, else 1 */
  float decay;
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float step_size;          /* lr / (1 - beta1^t) */
  float inverse_sqrt_bias2; /* 1 / sqrt(1 - beta2^t) */
  float eps;
} dl_adam_step;

typedef struct dl_adagrad_step {
  float lr, decay, eps;
  float initial; /* added to the sum: its first value in the first step, else 0 */
} dl_adagrad_step;

typedef struct dl_rmsprop_step {
  float lr, decay, alpha, one_minus_alpha, eps, momentum;
} dl_rmsprop_step;

typedef struct dl_lamb_step {
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float inverse_bias1, inverse_sqrt_bias2; /* 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
  float eps, decay;
} dl_lamb_step;

typedef struct dl_optimizer_kernels {
  /* g += l1 sign(w) + twice_l2 w, with sign(0) = 0 */
  void (*penalise)(float l1, float twice_l2, size_t n, const float *w, float *g);
  void (*sgd)(const dl_sgd_step *step, size_t n, float *w, const float *g);
  void (*sgd_momentum)(const dl_sgd_step *step, size_t n, float *w, const float *g, float *buffer);
  void (*adam)(const dl_adam_step *step, size_t n, float *w, const float *g, float *exp_avg, float *exp_avg_sq);
  void (*adagrad)(const dl_adagrad_step *step, size_t n, float *w, const float *g, float *sum);
  /* momentum NULL: none; grad_avg NULL: not centered */
  void (*rmsprop)(const dl_rmsprop_step *step, size_t n, float *w, const float *g, float *square_avg, float *momentum,
                  float *grad_avg);
  /* buffer = momentum buffer + lr (g + decay w); w -= buffer */
  void (*lars)(const dl_sgd_step *step, size_t n, float *w, const float *g, float *buffer);
  /* Turns g into LAMB's update: m^ / (sqrt(v^) + eps) + decay w */
  void (*lamb_update)(const dl_lamb_step *step, size_t n, const float *w, float *g, float *exp_avg, float *exp_avg_sq);
  void (*subtract)(float factor, size_t n, float *w, const float *update); /* w -= factor update */
} dl_optimizer_kernels;

/* The table in force. */
const dl_optimizer_kernels *dl_optimizer_kernels_in_use(void);

#endif

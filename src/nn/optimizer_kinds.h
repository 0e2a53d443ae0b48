/* optimizer_kinds.h - what the files of optimizers share (floor: nn, private to optimizer*.c). */
#ifndef DL_NN_OPTIMIZER_KINDS_H
#define DL_NN_OPTIMIZER_KINDS_H

#include "nn/optimizer.h"
#include "nn/optimizer_kernels.h"

/* How to write a row of an option that is a member of `struct_`. */
#define DL_OPTIMIZER_REAL(struct_, member, low, high, default_, text)                                     \
  {                                                                                                       \
    .key = #member, .type = DL_OPTION_REAL, .offset = offsetof(struct_, member), .min = low, .max = high, \
    .fallback = default_, .help = text                                                                    \
  }
#define DL_OPTIMIZER_BOOL(struct_, member, default_, text) \
  { .key = #member, .type = DL_OPTION_BOOL, .offset = offsetof(struct_, member), .fallback = default_, .help = text }

/* The rows that every optimizer has; its options begin with a dl_optimizer_common. */
#define DL_OPTIMIZER_COMMON(lr_default, decay_default, decay_help)                                                    \
  DL_OPTIMIZER_REAL(dl_optimizer_common, lr, 0, 1e38, lr_default, "learning rate"),                                   \
      DL_OPTIMIZER_REAL(dl_optimizer_common, weight_decay, 0, 1e6, decay_default, decay_help),                        \
      DL_OPTIMIZER_BOOL(dl_optimizer_common, decay_biases, "true",                                                    \
                        "whether biases and norms have weight decay too (lars, lamb: and a trust ratio)"),            \
      DL_OPTIMIZER_REAL(dl_optimizer_common, l1, 0, 1e6, "0",                                                         \
                        "penalty of the loss: this times the sum of |w|; biases and norms exempt, not in the logged " \
                        "loss"),                                                                                      \
      DL_OPTIMIZER_REAL(dl_optimizer_common, l2, 0, 1e6, "0",                                                         \
                        "penalty of the loss: this times the sum of w^2; biases and norms exempt, not in the logged " \
                        "loss")
#define DL_DECAY_AS_GRADIENT "this times the weights is added to the gradient"

#define DL_OPTIMIZER_ROWS(rows) .options = rows, .n_options = (int)(sizeof(rows) / sizeof(rows)[0])

/* The weight decay of a tensor, and this step's learning rate for it. */
static inline double dl_optimizer_decay_of(const dl_optimizer *optimizer, const dl_tensor *tensor) {
  const dl_optimizer_common *o = optimizer->options;
  return tensor->decays || o->decay_biases ? o->weight_decay : 0;
}
static inline double dl_optimizer_lr_of(const dl_optimizer *optimizer, const dl_tensor *tensor) {
  return optimizer->step_lr * (double)tensor->lr_scale;
}

extern const dl_optimizer_kind dl_optimizer_sgd, dl_optimizer_adam, dl_optimizer_adamw, dl_optimizer_adagrad,
    dl_optimizer_rmsprop, dl_optimizer_lars, dl_optimizer_lamb;

#endif

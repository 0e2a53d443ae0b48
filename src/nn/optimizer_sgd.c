/* optimizer_sgd.c - stochastic gradient descent in PyTorch 1.13's form: the learning rate stands outside the momentum.
 */
#include "nn/optimizer_kinds.h"

typedef struct sgd_options {
  dl_optimizer_common common;
  double momentum;
  bool nesterov;
} sgd_options;

static const dl_option rows[] = {
    DL_OPTIMIZER_COMMON("0.01", "0", DL_DECAY_AS_GRADIENT),
    DL_OPTIMIZER_REAL(sgd_options, momentum, 0, 1, "0", "share of the last step that is kept"),
    DL_OPTIMIZER_BOOL(sgd_options, nesterov, "false", "whether the momentum looks one step ahead"),
};

static unsigned slots(const void *options) { return ((const sgd_options *)options)->momentum > 0; }

static dl_status check(const void *options, const dl_node *node) {
  const sgd_options *o = options;
  if (!o->nesterov || o->momentum > 0) return DL_OK;
  dl_node_fail(dl_node_get(node, "nesterov"), true, "nesterov needs a momentum above 0");
  return dl_hint("for example momentum: 0.9");
}

static void apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                  const float *restrict gradient, float *const state[]) {
  const dl_optimizer *optimizer = context;
  const sgd_options *o = optimizer->options;
  const dl_sgd_step step = {.lr = (float)dl_optimizer_lr_of(optimizer, tensor),
                            .momentum = (float)o->momentum,
                            .decay = (float)dl_optimizer_decay_of(optimizer, tensor),
                            .nesterov = o->nesterov};
  if (!tensor->trainable) return;
  if (o->momentum > 0)
    dl_optimizer_kernels_in_use()->sgd_momentum(&step, n, weights, gradient, state[0]);
  else
    dl_optimizer_kernels_in_use()->sgd(&step, n, weights, gradient);
}

const dl_optimizer_kind dl_optimizer_sgd = {
    .name = "sgd",
    .help = "stochastic gradient descent, with momentum where asked for",
    DL_OPTIMIZER_ROWS(rows),
    .options_size = sizeof(sgd_options),
    .check = check,
    .slot_names = {"momentum_buffer"},
    .slots = slots,
    .apply = apply,
};

/* optimizer.c - sgd, adam and adamw in PyTorch 1.13's formulas.
 *
 * The scalars of a step are worked out once in float64; a block of a tensor is then one pass of a kernel over weights,
 * gradient and slots. weight_decay is PyTorch's: it falls on biases too.
 */
#include "nn/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/kernels.h"

/* ---- sgd ---- */

typedef struct sgd_options {
  double lr, momentum, weight_decay;
  bool nesterov;
} sgd_options;

#define AT(type, member) offsetof(type, member)
static const dl_option sgd_rows[] = {
    {.key = "lr",
     .type = DL_OPTION_REAL,
     .offset = AT(sgd_options, lr),
     .max = 1e6,
     .fallback = "0.01",
     .help = "learning rate"},
    {.key = "momentum",
     .type = DL_OPTION_REAL,
     .offset = AT(sgd_options, momentum),
     .max = 1,
     .fallback = "0",
     .help = "share of the last step that is kept"},
    {.key = "nesterov",
     .type = DL_OPTION_BOOL,
     .offset = AT(sgd_options, nesterov),
     .fallback = "false",
     .help = "whether the momentum looks one step ahead"},
    {.key = "weight_decay",
     .type = DL_OPTION_REAL,
     .offset = AT(sgd_options, weight_decay),
     .max = 1e6,
     .fallback = "0",
     .help = "this times the weights is added to the gradient"},
};

static double sgd_lr(const void *options) { return ((const sgd_options *)options)->lr; }

static int sgd_slots(const dl_optimizer *optimizer) {
  const sgd_options *o = optimizer->options;
  return o->momentum != 0;
}

static dl_status sgd_check(const void *options, const dl_node *node) {
  const sgd_options *o = options;
  if (!o->nesterov || o->momentum > 0) return DL_OK;
  dl_node_fail(dl_node_get(node, "nesterov"), true, "nesterov needs a momentum above 0");
  return dl_hint("for example momentum: 0.9");
}

static void sgd_begin(dl_optimizer *optimizer) { (void)optimizer; }

static void sgd_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                      const float *restrict gradient, float *const state[]) {
  const dl_optimizer *optimizer = context;
  const sgd_options *o = optimizer->options;
  const dl_sgd_step step = {.lr = (float)(optimizer->step_lr * (double)tensor->lr_scale),
                            .momentum = (float)o->momentum,
                            .l2 = (float)o->weight_decay,
                            .nesterov = o->nesterov};
  if (!tensor->trainable) return;
  if (o->momentum != 0)
    dl_kernels_in_use()->sgd_momentum(&step, n, weights, gradient, state[0]);
  else
    dl_kernels_in_use()->sgd(&step, n, weights, gradient);
}

/* ---- adam and adamw: they differ in where the decay goes ---- */

typedef struct adam_options {
  double lr, beta1, beta2, eps, weight_decay;
} adam_options;

#define ADAM_ROWS(decay, decay_help)                                                                     \
  {.key = "lr",                                                                                          \
   .type = DL_OPTION_REAL,                                                                               \
   .offset = AT(adam_options, lr),                                                                       \
   .max = 1e6,                                                                                           \
   .fallback = "0.001",                                                                                  \
   .help = "learning rate"},                                                                             \
      {.key = "beta1",                                                                                   \
       .type = DL_OPTION_REAL,                                                                           \
       .offset = AT(adam_options, beta1),                                                                \
       .max = 0.999999999,                                                                               \
       .fallback = "0.9",                                                                                \
       .help = "how slowly the mean of gradients moves"},                                                \
      {.key = "beta2",                                                                                   \
       .type = DL_OPTION_REAL,                                                                           \
       .offset = AT(adam_options, beta2),                                                                \
       .max = 0.999999999,                                                                               \
       .fallback = "0.999",                                                                              \
       .help = "how slowly the mean of squared gradients moves"},                                        \
      {.key = "eps",                                                                                     \
       .type = DL_OPTION_REAL,                                                                           \
       .offset = AT(adam_options, eps),                                                                  \
       .max = 1e6,                                                                                       \
       .fallback = "1e-08",                                                                              \
       .help = "added to the denominator"},                                                              \
  {                                                                                                      \
    .key = "weight_decay", .type = DL_OPTION_REAL, .offset = AT(adam_options, weight_decay), .max = 1e6, \
    .fallback = decay, .help = decay_help                                                                \
  }

static const dl_option adam_rows[] = {ADAM_ROWS("0", "this times the weights is added to the gradient")};
static const dl_option adamw_rows[] = {ADAM_ROWS("0.01", "weights shrink by lr times this in each step")};

static int adam_slots(const dl_optimizer *optimizer) {
  (void)optimizer;
  return 2;
}

static double adam_lr(const void *options) { return ((const adam_options *)options)->lr; }

enum { BIAS1, INVERSE_SQRT_BIAS2 };

static void adam_begin(dl_optimizer *optimizer) {
  const adam_options *o = optimizer->options;
  optimizer->scalar[BIAS1] = 1 - pow(o->beta1, (double)optimizer->step);
  optimizer->scalar[INVERSE_SQRT_BIAS2] = 1 / sqrt(1 - pow(o->beta2, (double)optimizer->step));
}

static void adam_block(const dl_optimizer *optimizer, double l2, double decoupled, const dl_tensor *tensor, size_t n,
                       float *restrict weights, const float *restrict gradient, float *const state[]) {
  const adam_options *o = optimizer->options;
  const double lr = optimizer->step_lr * (double)tensor->lr_scale;
  const dl_adam_step step = {.keep = (float)(1 - lr * decoupled),
                             .l2 = (float)l2,
                             .beta1 = (float)o->beta1,
                             .one_minus_beta1 = (float)(1 - o->beta1),
                             .beta2 = (float)o->beta2,
                             .one_minus_beta2 = (float)(1 - o->beta2),
                             .step_size = (float)(lr / optimizer->scalar[BIAS1]),
                             .inverse_sqrt_bias2 = (float)optimizer->scalar[INVERSE_SQRT_BIAS2],
                             .eps = (float)o->eps};
  if (tensor->trainable) dl_kernels_in_use()->adam(&step, n, weights, gradient, state[0], state[1]);
}

static void adam_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                       const float *restrict gradient, float *const state[]) {
  const dl_optimizer *optimizer = context;
  adam_block(optimizer, ((const adam_options *)optimizer->options)->weight_decay, 0, tensor, n, weights, gradient,
             state);
}

static void adamw_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                        const float *restrict gradient, float *const state[]) {
  const dl_optimizer *optimizer = context;
  adam_block(optimizer, 0, ((const adam_options *)optimizer->options)->weight_decay, tensor, n, weights, gradient,
             state);
}

/* ---- the table ---- */

#define ROWS(rows) .options = rows, .n_options = (int)(sizeof(rows) / sizeof(rows)[0])

static const dl_optimizer_kind kinds[] = {
    {.name = "sgd",
     .help = "stochastic gradient descent, with momentum where asked for",
     ROWS(sgd_rows),
     .options_size = sizeof(sgd_options),
     .check = sgd_check,
     .slots = sgd_slots,
     .slot_names = {"momentum_buffer"},
     .lr = sgd_lr,
     .begin = sgd_begin,
     .apply = sgd_apply},
    {.name = "adam",
     .help = "steps scaled by running means of gradient and squared gradient (Kingma and Ba, 2015)",
     ROWS(adam_rows),
     .options_size = sizeof(adam_options),
     .slots = adam_slots,
     .slot_names = {"exp_avg", "exp_avg_sq"},
     .lr = adam_lr,
     .begin = adam_begin,
     .apply = adam_apply},
    {.name = "adamw",
     .help = "adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019)",
     ROWS(adamw_rows),
     .options_size = sizeof(adam_options),
     .slots = adam_slots,
     .slot_names = {"exp_avg", "exp_avg_sq"},
     .lr = adam_lr,
     .begin = adam_begin,
     .apply = adamw_apply},
};

const dl_optimizer_kind *dl_optimizer_kinds(int *n) {
  *n = (int)(sizeof kinds / sizeof kinds[0]);
  return kinds;
}

static dl_status find_kind(const dl_node *node, const char *name, const dl_optimizer_kind **out) {
  const char *names[sizeof kinds / sizeof kinds[0]];
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    names[i] = kinds[i].name;
    if (strcmp(kinds[i].name, name)) continue;
    *out = &kinds[i];
    return DL_OK;
  }
  const char *near = dl_nearest_name(name, names, (int)(sizeof kinds / sizeof kinds[0]));
  dl_node_fail(dl_node_get(node, "name"), false, "unknown optimizer '%.60s'", name);
  return near ? dl_hint("did you mean '%s'?", near) : dl_hint("`dldist list optimizers` shows all");
}

static dl_status parse(const dl_config *config, dl_optimizer *optimizer) {
  dl_node *node = config->optimizer ? config->optimizer : dl_node_get(config->document.root, "optimizer");
  if (!node || node->kind == DL_NODE_NULL) DL_TRY(dl_node_set(config->document.root, "optimizer", "adam", &node));
  const char *name, *ignored;
  DL_TRY(dl_named_normalise(node, "optimizer", &name));
  DL_TRY(find_kind(node, name, &optimizer->kind));
  const dl_optimizer_kind *kind = optimizer->kind;
  optimizer->options = dl_calloc(1, kind->options_size);
  if (!optimizer->options) return DL_ERR_NOMEM;
  static const dl_option name_row = {.key = "name", .type = DL_OPTION_STRING, .help = "which optimizer"};
  const dl_option_set sets[] = {{&name_row, 1, &ignored}, {kind->options, kind->n_options, optimizer->options}};
  DL_TRY(dl_options_parse(sets, 2, node, "optimizer"));
  return kind->check ? kind->check(optimizer->options, node) : DL_OK;
}

dl_status dl_optimizer_new(const dl_config *config, dl_optimizer **out) {
  dl_optimizer *optimizer = dl_calloc(1, sizeof *optimizer);
  if (!optimizer) return DL_ERR_NOMEM;
  dl_status status = parse(config, optimizer);
  if (status != DL_OK) {
    dl_optimizer_destroy(&optimizer);
    return status;
  }
  optimizer->lr = optimizer->kind->lr(optimizer->options);
  dl_optimizer_begin(optimizer, 1, optimizer->lr);
  *out = optimizer;
  return DL_OK;
}

void dl_optimizer_destroy(dl_optimizer **optimizer) {
  if (!*optimizer) return;
  free((*optimizer)->options);
  free(*optimizer);
  *optimizer = NULL;
}

void dl_optimizer_begin(dl_optimizer *optimizer, int64_t step, double lr) {
  optimizer->step = step;
  optimizer->step_lr = lr;
  optimizer->kind->begin(optimizer);
}

int dl_optimizer_slots(const dl_optimizer *optimizer) { return optimizer->kind->slots(optimizer); }

/* optimizer.c - the table of optimizers, their options, and the penalties that all of them share.
 *
 * The scalars of a step are worked out once in float64; a block of a tensor is then one pass of a kernel over weights,
 * gradient and slots. weight_decay is PyTorch's: it falls on biases too, unless decay_biases is false.
 */
#include "nn/optimizer.h"

#include <stdlib.h>
#include <string.h>

#include "core/isa.h"
#include "nn/optimizer_kinds.h"

DL_ISA_DECLARE(dl_optimizer_kernels, dl_optimizer_kernel_table);

const dl_optimizer_kernels *dl_optimizer_kernels_in_use(void) { return DL_ISA_CHOOSE(dl_optimizer_kernel_table); }

static const dl_optimizer_kind *const kinds[] = {
    &dl_optimizer_sgd,     &dl_optimizer_adam, &dl_optimizer_adamw, &dl_optimizer_adagrad,
    &dl_optimizer_rmsprop, &dl_optimizer_lars, &dl_optimizer_lamb,
};
#define N_KINDS ((int)(sizeof kinds / sizeof kinds[0]))

const dl_optimizer_kind *const *dl_optimizer_kinds(int *n) {
  *n = N_KINDS;
  return kinds;
}

static dl_status find_kind(const dl_node *node, const char *name, const dl_optimizer_kind **out) {
  const char *names[N_KINDS];
  for (int i = 0; i < N_KINDS; i++) {
    names[i] = kinds[i]->name;
    if (strcmp(names[i], name)) continue;
    *out = kinds[i];
    return DL_OK;
  }
  dl_node_fail(dl_node_get(node, "name"), false, "unknown optimizer '%.60s'", name);
  return dl_hint_nearest(name, names, N_KINDS, "`dldist list optimizers` shows all");
}

static dl_status parse(const dl_config *config, dl_optimizer *optimizer) {
  dl_node *node = config->optimizer ? config->optimizer : dl_node_get(config->document.root, "optimizer");
  if (!node || node->kind == DL_NODE_NULL) DL_TRY(dl_node_set(config->document.root, "optimizer", "adam", &node));
  const char *name, *ignored;
  DL_TRY(dl_named_normalise(node, "optimizer", "adam", &name));
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
  optimizer->lr = ((const dl_optimizer_common *)optimizer->options)->lr;
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
  optimizer->whole_lr = optimizer->step_lr = lr;
  if (optimizer->kind->begin) optimizer->kind->begin(optimizer);
}

/* ---- slots ---- */

static bool keeps(const dl_optimizer *optimizer, int name) {
  const dl_optimizer_kind *kind = optimizer->kind;
  return kind->slot_names[name] && (!kind->slots || kind->slots(optimizer->options) >> name & 1);
}

int dl_optimizer_slots(const dl_optimizer *optimizer) {
  int n = 0;
  for (int i = 0; i < DL_MAX_OPTIMIZER_SLOTS; i++) n += keeps(optimizer, i);
  return n;
}

const char *dl_optimizer_slot_name(const dl_optimizer *optimizer, int slot) {
  for (int i = 0; i < DL_MAX_OPTIMIZER_SLOTS; i++)
    if (keeps(optimizer, i) && slot-- == 0) return optimizer->kind->slot_names[i];
  return NULL;
}

/* ---- penalties ---- */

static void penalise(void *context, const dl_tensor *tensor, size_t n, const float *restrict weights,
                     float *restrict gradient) {
  const dl_optimizer_common *o = ((const dl_optimizer *)context)->options;
  if (tensor->decays) dl_optimizer_kernels_in_use()->penalise((float)o->l1, (float)(2 * o->l2), n, weights, gradient);
}

static void pace(void *context, double share) {
  dl_optimizer *optimizer = context;
  optimizer->step_lr = optimizer->whole_lr * share;
  if (optimizer->kind->begin) optimizer->kind->begin(optimizer);
}

void dl_optimizer_wire(dl_optimizer *optimizer, dl_param_group *group) {
  const dl_optimizer_common *o = optimizer->options;
  group->n_slots = dl_optimizer_slots(optimizer);
  group->apply = optimizer->kind->apply;
  group->measure = optimizer->kind->measure;
  group->apply_measured = optimizer->kind->apply_measured;
  group->penalise = o->l1 > 0 || o->l2 > 0 ? penalise : NULL;
  group->pace = pace;
  group->apply_context = optimizer;
}

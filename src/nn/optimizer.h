/* optimizer.h - optimizers (floor: nn). One optimizer is one row of the table in optimizer.c; it applies to one block
 * of one tensor at a time, so that whoever owns a slice can run it there. */
#ifndef DL_NN_OPTIMIZER_H
#define DL_NN_OPTIMIZER_H

#include "core/config.h"
#include "core/group.h"

typedef struct dl_optimizer dl_optimizer;
typedef struct dl_optimizer_kind dl_optimizer_kind;

/* What the options of every optimizer begin with. */
typedef struct dl_optimizer_common {
  double lr, weight_decay;
  bool decay_biases; /* false: tensors with !decays have no weight decay, and no trust ratio */
  double l1, l2;     /* penalties of the loss */
} dl_optimizer_common;

/* The scalars of one step, worked out once. */
struct dl_optimizer {
  const dl_optimizer_kind *kind;
  void *options;    /* parsed, owned; begins with a dl_optimizer_common */
  double lr;        /* base learning rate, before the schedule */
  double whole_lr;  /* this step's, set by dl_optimizer_begin */
  double step_lr;   /* the same, or a share of it (dl_param_group.pace) */
  int64_t step;     /* from 1 */
  double scalar[4]; /* the kind's own: bias corrections … */
};

struct dl_optimizer_kind {
  const char *name, *help;
  const dl_option *options;
  int n_options;
  size_t options_size;
  /* What the rows cannot say of the options together; NULL: nothing. Fails at `node`, the optimizer's map. */
  dl_status (*check)(const void *options, const dl_node *node);
  const char *slot_names[DL_MAX_OPTIMIZER_SLOTS]; /* "exp_avg", "exp_avg_sq": names in optimizer.safetensors */
  /* Which of these are kept with these options, as bits; NULL: all that have a name. Kept slots stand side by side. */
  unsigned (*slots)(const void *options);
  void (*begin)(dl_optimizer *optimizer); /* NULL: nothing to work out */
  /* Context: the dl_optimizer. Either apply, or the two that need the norms of whole tensors (core/group.h). */
  dl_apply_fn apply;
  dl_measure_fn measure;
  dl_apply_measured_fn apply_measured;
};
const dl_optimizer_kind *const *dl_optimizer_kinds(int *n);

/* From the configuration's optimizer (defaults are put into its tree). */
dl_status dl_optimizer_new(const dl_config *config, dl_optimizer **out);
void dl_optimizer_destroy(dl_optimizer **optimizer);
/* Before every step: `step` from 1, `lr` after the schedule. */
void dl_optimizer_begin(dl_optimizer *optimizer, int64_t step, double lr);
int dl_optimizer_slots(const dl_optimizer *optimizer);
const char *dl_optimizer_slot_name(const dl_optimizer *optimizer, int slot); /* slot from 0 */
/* Sets what the group takes from the optimizer: slots, functions and their context. */
void dl_optimizer_wire(dl_optimizer *optimizer, dl_param_group *group);

#endif

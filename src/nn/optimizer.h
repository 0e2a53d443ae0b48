/* optimizer.h - optimizers (floor: nn). One optimizer is one file or row of dl_optimizer_kinds; it applies to one block
 * of one tensor at a time, so that whoever owns a slice can run it there. */
#ifndef DL_NN_OPTIMIZER_H
#define DL_NN_OPTIMIZER_H

#include "core/config.h"
#include "core/group.h"

typedef struct dl_optimizer dl_optimizer;
typedef struct dl_optimizer_kind dl_optimizer_kind;

/* The scalars of one step, worked out once. */
struct dl_optimizer {
  const dl_optimizer_kind *kind;
  void *options;    /* parsed, owned */
  double lr;        /* base learning rate, before the schedule */
  double step_lr;   /* this step's, set by dl_optimizer_begin */
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
  int (*slots)(const dl_optimizer *optimizer);
  const char *slot_names[DL_MAX_OPTIMIZER_SLOTS]; /* "exp_avg", "exp_avg_sq": names in optimizer.safetensors */
  double (*lr)(const void *options);
  void (*begin)(dl_optimizer *optimizer);
  dl_apply_fn apply; /* context: the dl_optimizer */
};
const dl_optimizer_kind *dl_optimizer_kinds(int *n);

/* From the configuration's optimizer (defaults are put into its tree). */
dl_status dl_optimizer_new(const dl_config *config, dl_optimizer **out);
void dl_optimizer_destroy(dl_optimizer **optimizer);
/* Before every step: `step` from 1, `lr` after the schedule. */
void dl_optimizer_begin(dl_optimizer *optimizer, int64_t step, double lr);
int dl_optimizer_slots(const dl_optimizer *optimizer);

#endif

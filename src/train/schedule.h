/* schedule.h - learning-rate schedules (floor: train). One schedule is one row of the table.
 *
 * Formulas are those of torch.optim.lr_scheduler where it has the schedule; those over the length of the run count its
 * steps. */
#ifndef DL_TRAIN_SCHEDULE_H
#define DL_TRAIN_SCHEDULE_H

#include "core/config.h"

typedef struct dl_schedule dl_schedule;

/* What a schedule that watches the validation loss carries; the same on all members, kept in checkpoints. */
typedef struct dl_schedule_state {
  double factor; /* on the learning rate; 1 for schedules that watch nothing */
  double best;   /* lowest loss so far, infinity at first */
  int64_t bad_epochs, cooldown;
} dl_schedule_state;

typedef struct dl_schedule_kind {
  const char *name, *help;
  const dl_option *options; /* the kind's own, beside name, warmup_steps and warmup_factor */
  int n_options;
  size_t options_size;
  /* What to multiply the base learning rate by at `step` of `steps` (from 1, warm-up taken off) and `epoch` (from 1).
   */
  double (*factor)(const void *options, int64_t step, int64_t steps, int64_t epoch);
  bool uses_length; /* looks at `steps`: then the number of epochs is part of what is computed */
  /* After each epoch; NULL: watches nothing. */
  void (*observe)(const void *options, dl_schedule_state *state, double base_lr, double valid_loss);
} dl_schedule_kind;
const dl_schedule_kind *dl_schedule_kinds(int *n);

/* The options that every schedule takes: name and warm-up. */
const dl_option *dl_schedule_common_options(int *n);

/* From the configuration's schedule (defaults are put into its tree). `steps` of the whole run, `epoch_steps` of an
 * epoch. */
dl_status dl_schedule_new(const dl_config *config, int64_t steps, int64_t epoch_steps, dl_schedule **out);
void dl_schedule_destroy(dl_schedule **schedule);

const dl_schedule_kind *dl_schedule_kind_of(const dl_schedule *schedule);

/* Steps of warm-up, 0: none. */
int64_t dl_schedule_warmup(const dl_schedule *schedule);

/* After each epoch, for kinds with `observe`; nothing for the others. */
void dl_schedule_observe(dl_schedule *schedule, double base_lr, double valid_loss);
const dl_schedule_state *dl_schedule_state_of(const dl_schedule *schedule);
void dl_schedule_set_state(dl_schedule *schedule, const dl_schedule_state *state);

/* Factor on the base learning rate at `step` (from 1): linear from warmup_factor to 1 over the warm-up, then the
 * kind's; times the state's. */
double dl_schedule_factor(const dl_schedule *schedule, int64_t step);

#endif

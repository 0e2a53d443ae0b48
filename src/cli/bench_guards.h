/* bench_guards.h - dldist bench step --guards: what the guards against silent corruption cost of a step (floor: cli).
 */
#ifndef DL_CLI_BENCH_GUARDS_H
#define DL_CLI_BENCH_GUARDS_H

#include "train/run.h"

/* Whole epochs of `epoch_steps` steps that dl_bench_guards takes to time about `steps` steps with guards and as many
 * without. */
int64_t dl_bench_guards_epochs(int64_t steps, int64_t epoch_steps);

/* Before the model is made: audits and recomputed leaves come as often as can be timed. *every gets what the
 * configuration says of them: what a run has. */
typedef struct dl_bench_guards_every {
  int64_t audit, recompute;
} dl_bench_guards_every;
void dl_bench_guards_prepare(dl_config *config, dl_bench_guards_every *every);

/* Trains run->model for `epochs` epochs of `epoch_steps` steps, guards on and off by turns, and prints on member 0 what
 * each guard costs at the configuration's periods. run->step_seconds has room for all steps. Collective. */
dl_status dl_bench_guards(dl_run *run, const dl_bench_guards_every *every, int64_t epochs, int64_t epoch_steps);

#endif

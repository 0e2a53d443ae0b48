/* The same model trains with guards and without by turns, a few dozen steps each, so that both see the same memory and
 * the same weather. A step without is compared with its neighbours in time: the ratio of each pair of turns counts, and
 * the median of these ratios is the figure.
 *
 * The three guards cost at different times: hashes in every step, an audit and a leaf computed twice now and then.
 * Those two come far more often here than in a run, so that there are enough of them to take a median, and count for
 * their share of a run's steps. */
#include "cli/bench_guards.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"

#define TURN_EPOCHS 3
#define SETTLING 4 /* steps at the start of a turn that do not count: what happens between turns empties caches */
#define AUDIT_EVERY 7
#define RECOMPUTE_EVERY 9

int64_t dl_bench_guards_epochs(int64_t steps, int64_t epoch_steps) {
  const int64_t counted = TURN_EPOCHS * epoch_steps - SETTLING, turns = 2 * ((steps + counted - 1) / counted);
  return TURN_EPOCHS * (turns + 1); /* one more to warm up */
}

void dl_bench_guards_prepare(dl_config *config, dl_bench_guards_every *every) {
  *every = (dl_bench_guards_every){config->sync.audit_every, config->sync.recompute_every};
  if (every->audit) config->sync.audit_every = AUDIT_EVERY;
  if (every->recompute) config->sync.recompute_every = RECOMPUTE_EVERY;
}

/* What a step of a turn with guards had to do. */
typedef enum kind { ORDINARY, AUDIT, RECOMPUTE, KINDS } kind;

static bool is_kind(const dl_bench_guards_every *every, kind what, int64_t step) {
  const bool audit = every->audit && step % AUDIT_EVERY == 0,
             recompute = every->recompute && step % RECOMPUTE_EVERY == 0;
  return what == ORDINARY ? !audit && !recompute : what == AUDIT ? audit && !recompute : recompute && !audit;
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(double *values, int64_t n) {
  qsort(values, (size_t)n, sizeof *values, by_value);
  return n ? values[n / 2] : NAN;
}

/* The median of a turn's steps of one kind; steps count from 1. */
static double median_of_turn(const dl_bench_guards_every *every, kind what, const double *seconds, int64_t first,
                             int64_t end, double *scratch) {
  int64_t n = 0;
  for (int64_t i = first + SETTLING; i < end; i++)
    if (is_kind(every, what, i + 1)) scratch[n++] = seconds[i];
  return median(scratch, n);
}

/* Medians over pairs of turns: [0] of a step without, else of how much longer a step of that kind is than one without
 * (ordinary) or than an ordinary one (the others), in parts of a step without. */
static void compare(const dl_bench_guards_every *every, const double *seconds, int64_t turns, int64_t steps,
                    double *scratch, double *without, double more[KINDS]) {
  double *values = scratch + steps;
  for (int what = -1; what < KINDS; what++) {
    int64_t n = 0;
    for (int64_t turn = 1; turn + 1 < turns; turn += 2) {
      const int64_t on = turn * steps, off = on + steps;
      const double base = median_of_turn(&(dl_bench_guards_every){0}, ORDINARY, seconds, off, off + steps, scratch),
                   usual = median_of_turn(every, ORDINARY, seconds, on, off, scratch);
      const double with = what < 0 ? NAN : median_of_turn(every, (kind)what, seconds, on, off, scratch);
      const double value = what < 0 ? base : what == ORDINARY ? usual / base - 1 : (with - usual) / base;
      if (isfinite(value)) values[n++] = value;
    }
    *(what < 0 ? without : &more[what]) = median(values, n);
  }
}

static void print_share(const char *what, double share, int64_t every) {
  if (every > 1)
    printf("%-34s %6.2f %%  (%.1f %% of one step in %lld)\n", what, 100 * share / (double)every, 100 * share,
           (long long)every);
  else
    printf("%-34s %6.2f %%\n", what, 100 * share);
}

static void print_guards(const dl_model *model, const dl_bench_guards_every *every, double without,
                         const double more[KINDS]) {
  const double audit = every->audit ? more[AUDIT] : 0, recompute = every->recompute ? more[RECOMPUTE] : 0;
  const double all = more[ORDINARY] + audit / (double)(every->audit ? every->audit : 1) +
                     recompute / (double)(every->recompute ? every->recompute : 1);
  printf("%lld parameters, %d rank%s, %lld samples a rank, %lld shards, transport %s\n",
         (long long)dl_net_parameters(model->net), model->team->size, model->team->size == 1 ? "" : "s",
         (long long)(model->config->train.batch / model->team->size), (long long)model->shards,
         dl_sync_transport(model->sync));
  printf("step without guards: median %.3f ms; with them more, of that:\n", without * 1e3);
  print_share("hashes of weights, every step", more[ORDINARY], 1);
  if (every->audit) print_share("audits of all copies", audit, every->audit);
  if (every->recompute) print_share("a leaf computed twice", recompute, every->recompute);
  print_share("guards: all together", all, 1);
}

dl_status dl_bench_guards(dl_run *run, const dl_bench_guards_every *every, int64_t epochs, int64_t epoch_steps) {
  const int64_t turns = epochs / TURN_EPOCHS, steps = TURN_EPOCHS * epoch_steps;
  double without = NAN, more[KINDS], *scratch = dl_calloc((size_t)(steps + turns), sizeof *scratch);
  dl_status status = dl_team_agree(run->team, scratch ? DL_OK : DL_ERR_NOMEM);
  for (int64_t turn = 0; turn < turns && status == DL_OK; turn++) { /* turn 0 warms up; then on, off, on ... */
    dl_sync_rest_guards(run->model->sync, turn % 2 == 0);
    run->model->config->train.epochs = (turn + 1) * TURN_EPOCHS;
    status = dl_fit(run);
  }
  if (status == DL_OK && run->team->rank == 0) {
    compare(every, run->step_seconds, turns, steps, scratch, &without, more);
    print_guards(run->model, every, without, more);
  }
  free(scratch);
  return status;
}

/* schedule.c - learning-rate schedules as pure functions of the step: nothing is carried, so a resume needs nothing.
 * The one that watches the validation loss carries four numbers. */
#include "train/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dl_schedule {
  const dl_schedule_kind *kind;
  void *options;
  int64_t steps, epoch_steps;
  const char *name;
  int64_t warmup_steps;
  double warmup_factor;
  dl_schedule_state state;
};

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define ROW(type, member, kind_, fallback, low, high, help) \
  { #member, kind_, offsetof(type, member), low, high, fallback, NULL, help, false }

static double constant_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)options, (void)step, (void)steps, (void)epoch;
  return 1;
}

typedef struct {
  int64_t every_epochs;
  double gamma;
} step_options;
static const dl_option step_rows[] = {
    ROW(step_options, every_epochs, DL_OPTION_INT, "30", 1, 1e9, "epochs from one drop to the next"),
    ROW(step_options, gamma, DL_OPTION_REAL, "0.1", 0, 1, "factor of each drop"),
};
static double step_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)step, (void)steps;
  const step_options *o = options;
  int64_t drops = (epoch - 1) / o->every_epochs;
  return pow(o->gamma, (double)drops);
}

typedef struct {
  double gamma;
} exponential_options;
static const dl_option exponential_rows[] = {
    ROW(exponential_options, gamma, DL_OPTION_REAL, "0.95", 0, 1, "factor of each epoch"),
};
static double exponential_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)step, (void)steps;
  return pow(((const exponential_options *)options)->gamma, (double)(epoch - 1));
}

typedef struct {
  double decay;
} inverse_time_options;
static const dl_option inverse_time_rows[] = {
    ROW(inverse_time_options, decay, DL_OPTION_REAL, "0.0001", 0, 1e9, "lr / (1 + decay * (t - 1)) at step t"),
};
static double inverse_time_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)steps, (void)epoch;
  return 1 / (1 + ((const inverse_time_options *)options)->decay * (double)(step - 1));
}

typedef struct {
  double power, final_factor;
} polynomial_options;
static const dl_option polynomial_rows[] = {
    ROW(polynomial_options, power, DL_OPTION_REAL, "1", 0, 100, "power of the remaining part of the run"),
    ROW(polynomial_options, final_factor, DL_OPTION_REAL, "0", 0, 1, "factor at the end"),
};
/* From 0 at the first step; the end itself would be reached by the step after the last. */
static double progress(int64_t step, int64_t steps) {
  return steps > 0 ? fmin((double)(step - 1) / (double)steps, 1) : 1;
}
static double polynomial_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)epoch;
  const polynomial_options *o = options;
  return o->final_factor + (1 - o->final_factor) * pow(1 - progress(step, steps), o->power);
}

typedef struct {
  double final_factor;
} cosine_options;
static const dl_option cosine_rows[] = {
    ROW(cosine_options, final_factor, DL_OPTION_REAL, "0", 0, 1, "factor at the end"),
};
/* Loshchilov and Hutter, "SGDR", 2017, without restarts. */
#define PI 3.14159265358979323846
static double cosine_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)epoch;
  double low = ((const cosine_options *)options)->final_factor;
  return low + (1 - low) * 0.5 * (1 + cos(PI * progress(step, steps)));
}

typedef struct {
  double pct_start, div_factor, final_div_factor;
} one_cycle_options;
static const dl_option one_cycle_rows[] = {
    ROW(one_cycle_options, pct_start, DL_OPTION_REAL, "0.3", 0, 1, "share of the run in which lr rises"),
    ROW(one_cycle_options, div_factor, DL_OPTION_REAL, "25", 1, 1e12, "lr starts at its base value divided by this"),
    ROW(one_cycle_options, final_div_factor, DL_OPTION_REAL, "10000", 1, 1e12, "lr ends at its start divided by this"),
};
static double half_cosine(double from, double to, double share) { return to + (from - to) / 2 * (1 + cos(PI * share)); }
/* Smith and Topin, "Super-convergence", 2018, in PyTorch's two phases: up until step pct_start * steps, then down. */
static double one_cycle_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)epoch;
  const one_cycle_options *o = options;
  const double at = (double)(step - 1), top = o->pct_start * (double)steps - 1, end = (double)(steps - 1),
               first = 1 / o->div_factor;
  if (at <= top && top > 0) return half_cosine(first, 1, at / top);
  return half_cosine(1, first / o->final_div_factor, end > top ? fmin((at - top) / (end - top), 1) : 1);
}

typedef struct {
  double factor, threshold, min_lr;
  int64_t patience, cooldown;
} plateau_options;
static const dl_option plateau_rows[] = {
    ROW(plateau_options, factor, DL_OPTION_REAL, "0.1", 0, 1, "factor of each drop"),
    ROW(plateau_options, patience, DL_OPTION_INT, "10", 0, 1e9, "epochs without progress that are let pass"),
    ROW(plateau_options, threshold, DL_OPTION_REAL, "0.0001", 0, 1,
        "share by which the validation loss must fall below its best to be progress"),
    ROW(plateau_options, cooldown, DL_OPTION_INT, "0", 0, 1e9, "epochs after a drop that are not judged"),
    ROW(plateau_options, min_lr, DL_OPTION_REAL, "0", 0, 1e6, "lr never falls below this"),
};
/* ReduceLROnPlateau of PyTorch, mode min, threshold_mode rel, eps 1e-8. */
static void plateau_observe(const void *options, dl_schedule_state *state, double base_lr, double loss) {
  const plateau_options *o = options;
  if (loss < state->best * (1 - o->threshold)) {
    state->best = loss;
    state->bad_epochs = 0;
  } else {
    state->bad_epochs++;
  }
  if (state->cooldown > 0) {
    state->cooldown--;
    state->bad_epochs = 0;
  }
  if (state->bad_epochs <= o->patience) return;
  const double lr = base_lr * state->factor, lower = fmax(lr * o->factor, o->min_lr);
  if (lr - lower > 1e-8) state->factor = lower / base_lr;
  state->cooldown = o->cooldown;
  state->bad_epochs = 0;
}

#define OPTIONS(table, type) .options = table, .n_options = COUNT(table), .options_size = sizeof(type)
static const dl_schedule_kind kinds[] = {
    {.name = "constant", .help = "the base learning rate throughout", .options_size = 1, .factor = constant_factor},
    {.name = "step",
     .help = "a drop by gamma every few epochs",
     OPTIONS(step_rows, step_options),
     .factor = step_factor},
    {.name = "exponential",
     .help = "a drop by gamma each epoch",
     OPTIONS(exponential_rows, exponential_options),
     .factor = exponential_factor},
    {.name = "inverse_time",
     .help = "lr / (1 + decay * (t - 1)) at step t",
     OPTIONS(inverse_time_rows, inverse_time_options),
     .factor = inverse_time_factor},
    {.name = "polynomial",
     .help = "down to final_factor along a power of what remains",
     OPTIONS(polynomial_rows, polynomial_options),
     .factor = polynomial_factor,
     .uses_length = true},
    {.name = "cosine",
     .help = "down to final_factor along half a cosine",
     OPTIONS(cosine_rows, cosine_options),
     .factor = cosine_factor,
     .uses_length = true},
    {.name = "one_cycle",
     .help = "up to the base learning rate and down again, each along half a cosine (Smith and Topin, 2018)",
     OPTIONS(one_cycle_rows, one_cycle_options),
     .factor = one_cycle_factor,
     .uses_length = true},
    {.name = "plateau",
     .help = "a drop where the validation loss has stopped falling",
     OPTIONS(plateau_rows, plateau_options),
     .factor = constant_factor,
     .observe = plateau_observe},
};

const dl_schedule_kind *dl_schedule_kinds(int *n) {
  *n = COUNT(kinds);
  return kinds;
}

static const dl_option common_rows[] = {
    {"name", DL_OPTION_STRING, offsetof(dl_schedule, name), 0, 0, NULL, NULL, "which schedule", false},
    {"warmup_steps", DL_OPTION_INT, offsetof(dl_schedule, warmup_steps), 0, 1e12, "0", NULL,
     "steps over which lr rises linearly to its base value", false},
    {"warmup_factor", DL_OPTION_REAL, offsetof(dl_schedule, warmup_factor), 0, 1, "0", NULL,
     "factor that the warm-up starts from", false},
};

const dl_option *dl_schedule_common_options(int *n) {
  *n = COUNT(common_rows);
  return common_rows;
}

static dl_status find_kind(const dl_node *node, const char *name, const dl_schedule_kind **out) {
  const char *names[COUNT(kinds)];
  for (int i = 0; i < COUNT(kinds); i++) {
    names[i] = kinds[i].name;
    if (!strcmp(name, names[i])) {
      *out = &kinds[i];
      return DL_OK;
    }
  }
  dl_node_fail(node, false, "unknown schedule '%.60s'", name);
  return dl_hint_nearest(name, names, COUNT(kinds), "`dldist list schedules` names them");
}

dl_status dl_schedule_new(const dl_config *config, int64_t steps, int64_t epoch_steps, dl_schedule **out) {
  const char *name;
  const dl_schedule_kind *kind = NULL;
  DL_TRY(dl_named_normalise(config->schedule, "schedule", "constant", &name));
  DL_TRY(find_kind(dl_node_get(config->schedule, "name"), name, &kind));
  dl_schedule *schedule = dl_calloc(1, sizeof *schedule);
  if (!schedule) return DL_ERR_NOMEM;
  *schedule = (dl_schedule){.kind = kind, .steps = steps, .epoch_steps = epoch_steps > 0 ? epoch_steps : 1};
  schedule->state = (dl_schedule_state){.factor = 1, .best = INFINITY};
  schedule->options = dl_calloc(1, kind->options_size);
  dl_option_set sets[] = {{common_rows, COUNT(common_rows), schedule},
                          {kind->options, kind->n_options, schedule->options}};
  dl_status status = schedule->options ? dl_options_parse(sets, 2, config->schedule, "schedule") : DL_ERR_NOMEM;
  if (status == DL_OK)
    *out = schedule;
  else
    dl_schedule_destroy(&schedule);
  return status;
}

void dl_schedule_destroy(dl_schedule **schedule) {
  if (!*schedule) return;
  free((*schedule)->options);
  free(*schedule);
  *schedule = NULL;
}

const dl_schedule_kind *dl_schedule_kind_of(const dl_schedule *schedule) { return schedule->kind; }

int64_t dl_schedule_warmup(const dl_schedule *schedule) { return schedule->warmup_steps; }

void dl_schedule_observe(dl_schedule *s, double base_lr, double valid_loss) {
  if (s->kind->observe) s->kind->observe(s->options, &s->state, base_lr, valid_loss);
}

const dl_schedule_state *dl_schedule_state_of(const dl_schedule *s) { return &s->state; }

void dl_schedule_set_state(dl_schedule *s, const dl_schedule_state *state) { s->state = *state; }

double dl_schedule_factor(const dl_schedule *s, int64_t step) {
  if (step <= s->warmup_steps)
    return s->state.factor * (s->warmup_factor + (1 - s->warmup_factor) * (double)step / (double)s->warmup_steps);
  int64_t epoch = (step - 1) / s->epoch_steps + 1;
  return s->state.factor * s->kind->factor(s->options, step - s->warmup_steps, s->steps - s->warmup_steps, epoch);
}

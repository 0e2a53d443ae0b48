/* schedule.c - learning-rate schedules as pure functions of the step: nothing is carried, so a resume needs nothing. */
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
  return pow(o->gamma, (double)((epoch - 1) / o->every_epochs));
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
static double progress(int64_t step, int64_t steps) {
  return steps > 1 ? fmin((double)(step - 1) / (double)(steps - 1), 1) : 1;
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
static double cosine_factor(const void *options, int64_t step, int64_t steps, int64_t epoch) {
  (void)epoch;
  double low = ((const cosine_options *)options)->final_factor;
  return low + (1 - low) * 0.5 * (1 + cos(3.14159265358979323846 * progress(step, steps)));
}

static const dl_schedule_kind kinds[] = {
    {"constant", "the base learning rate throughout", NULL, 0, 1, constant_factor, false},
    {"step", "a drop by gamma every few epochs", step_rows, COUNT(step_rows), sizeof(step_options), step_factor, false},
    {"exponential", "a drop by gamma each epoch", exponential_rows, COUNT(exponential_rows),
     sizeof(exponential_options), exponential_factor, false},
    {"inverse_time", "lr / (1 + decay * (t - 1)) at step t", inverse_time_rows, COUNT(inverse_time_rows),
     sizeof(inverse_time_options), inverse_time_factor, false},
    {"polynomial", "down to final_factor along a power of what remains", polynomial_rows, COUNT(polynomial_rows),
     sizeof(polynomial_options), polynomial_factor, true},
    {"cosine", "down to final_factor along half a cosine", cosine_rows, COUNT(cosine_rows), sizeof(cosine_options),
     cosine_factor, true},
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

static dl_status find_kind(const dl_node *node, const char *name, const dl_schedule_kind **out) {
  const char *names[COUNT(kinds)];
  for (int i = 0; i < COUNT(kinds); i++) {
    names[i] = kinds[i].name;
    if (!strcmp(name, names[i])) {
      *out = &kinds[i];
      return DL_OK;
    }
  }
  const char *near = dl_nearest_name(name, names, COUNT(kinds));
  dl_node_fail(node, false, "unknown schedule '%.60s'", name);
  return near ? dl_hint("did you mean '%s'?", near) : dl_hint("`dldist list schedules` names them");
}

dl_status dl_schedule_new(const dl_config *config, int64_t steps, int64_t epoch_steps, dl_schedule **out) {
  const char *name;
  const dl_schedule_kind *kind = NULL;
  DL_TRY(dl_named_normalise(config->schedule, "schedule", &name));
  DL_TRY(find_kind(dl_node_get(config->schedule, "name"), name, &kind));
  dl_schedule *schedule = dl_calloc(1, sizeof *schedule);
  if (!schedule) return DL_ERR_NOMEM;
  *schedule = (dl_schedule){.kind = kind, .steps = steps, .epoch_steps = epoch_steps > 0 ? epoch_steps : 1};
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

double dl_schedule_factor(const dl_schedule *s, int64_t step) {
  if (step <= s->warmup_steps)
    return s->warmup_factor + (1 - s->warmup_factor) * (double)step / (double)s->warmup_steps;
  int64_t epoch = (step - 1) / s->epoch_steps + 1;
  return s->kind->factor(s->options, step - s->warmup_steps, s->steps - s->warmup_steps, epoch);
}

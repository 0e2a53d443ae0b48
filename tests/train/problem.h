/* problem.h - small learning problems in arrays, and models that learn them on a team. */
#ifndef DL_TRAIN_PROBLEM_H
#define DL_TRAIN_PROBLEM_H

#include "comm/launch.h"
#include "core/mem.h"
#include "scratch.h"
#include "train/model.h"
#include "train/run.h"

enum { FEATURES = 6 };

/* Arrays of all splits, and the task on them. */
typedef struct problem {
  const char *text; /* of the configuration */
  int64_t samples[DL_SPLITS], outputs;
  float *x[DL_SPLITS], *y[DL_SPLITS];
  int32_t *labels[DL_SPLITS];
} problem;

static inline void problem_clear(problem *p) {
  for (int s = 0; s < DL_SPLITS; s++) {
    free(p->x[s]);
    free(p->y[s]);
    free(p->labels[s]);
  }
}

/* x uniform; truth from a fixed function of x with some noise, so that there is something to learn and some error. */
static inline void problem_make(problem *p, const char *text, int64_t outputs, int64_t train, int64_t valid,
                                int64_t test) {
  uint32_t state = 5;
  *p = (problem){.text = text, .samples = {train, valid, test}, .outputs = outputs};
  for (int s = 0; s < DL_SPLITS; s++) {
    size_t n = (size_t)p->samples[s];
    p->x[s] = calloc(n * FEATURES + 1, sizeof(float));
    p->y[s] = calloc(n * (size_t)outputs + 1, sizeof(float));
    p->labels[s] = calloc(n + 1, sizeof(int32_t));
    CU_ASSERT_FATAL(p->x[s] && p->y[s] && p->labels[s]);
    for (size_t i = 0; i < n; i++) {
      float *x = p->x[s] + i * FEATURES, sum = 0.3f * random_value(&state);
      for (int f = 0; f < FEATURES; f++) x[f] = (float)(f + 1) * random_value(&state) + (float)f;
      for (int f = 0; f < FEATURES; f++) sum += (f % 2 ? -1.0f : 1.0f) * (x[f] - (float)f) / (float)(f + 1);
      p->labels[s][i] = sum < -0.5f ? 0 : sum < 0.5f ? 1 : 2;
      for (int64_t o = 0; o < outputs; o++) p->y[s][(int64_t)i * outputs + o] = sum * (float)(o + 1) + 100.0f;
      if (outputs == 1) p->y[s][i] = sum > 0 ? 1.0f : 0.0f;
    }
  }
}

static inline dl_status model_open(dl_team *team, const problem *p, const dl_json *state, dl_model **out) {
  dl_config *config = NULL;
  DL_TRY(dl_team_agree(team, dl_config_parse(p->text, strlen(p->text), "c.yaml", NULL, 0, &config)));
  bool labels = config->task == DL_TASK_CLASSIFICATION;
  dl_data_shape shape = {.x_dims = 1, .x_shape = {FEATURES}, .x_size = FEATURES, .y_size = labels ? 1 : p->outputs};
  dl_data_arrays arrays[DL_SPLITS] = {{0}};
  for (int s = 0; s < DL_SPLITS; s++)
    if (p->samples[s])
      arrays[s] = (dl_data_arrays){
          .samples = p->samples[s], .x = p->x[s], .y = labels ? NULL : p->y[s], .labels = labels ? p->labels[s] : NULL};
  dl_model_source source = {.shape = &shape, .arrays = arrays, .state = state, .need = 1u << DL_SPLIT_TRAIN};
  return dl_model_new_training(team, config, &source, out);
}

/* Trains from where the model stands; `checkpoints` NULL: nothing is written. */
static inline dl_status model_fit(dl_model *model, const char *checkpoints, const volatile sig_atomic_t *stop) {
  dl_run_options options = {.quiet = true, .stop = stop};
  dl_run run = {.team = model->team, .options = &options, .model = model, .saved_step = -1};
  char *folder = checkpoints ? dl_strdup(checkpoints) : NULL;
  run.checkpoints = folder;
  dl_status status = dl_fit(&run);
  free(folder);
  free(run.last_checkpoint);
  return status;
}

/* The same figures, bit for bit. */
static inline bool same_evaluation(const dl_evaluation *a, const dl_evaluation *b) {
  bool same = a->samples == b->samples && !memcmp(&a->loss, &b->loss, sizeof a->loss) && a->n_metrics == b->n_metrics &&
              !a->confusion == !b->confusion;
  for (int i = 0; same && i < a->n_metrics; i++)
    same = !strcmp(a->metrics[i].name, b->metrics[i].name) &&
           !memcmp(&a->metrics[i].value, &b->metrics[i].value, sizeof a->metrics[i].value);
  size_t cells = (size_t)(a->confusion_side * a->confusion_side);
  const size_t each = (size_t)(a->outputs * a->n_each) * sizeof *a->each;
  same = same && !a->each == !b->each && (!a->each || !memcmp(a->each, b->each, each));
  return same && (!a->confusion || !memcmp(a->confusion, b->confusion, cells * sizeof *a->confusion));
}

#endif

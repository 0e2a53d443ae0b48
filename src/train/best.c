/* best.c - see best.h. */
#include "train/best.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/options.h"

enum { MOST_NAMES = DL_METRICS_MAX + 1 };

bool dl_best_is_wanted(const dl_config *config) { return config->train.patience > 0 || config->checkpoint.best; }

/* loss, then the task's metrics; the texts are in `room`. */
static int name_scores(int task, char room[MOST_NAMES][40], const char *names[MOST_NAMES]) {
  const char *all = dl_metrics_for(task)->metrics;
  int n = 1;
  strcpy(room[0], "loss");
  for (const char *at = all; at && n < MOST_NAMES; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL, n++)
    dl_choice_name(all, n - 1, room[n], sizeof room[n]);
  for (int i = 0; i < n; i++) names[i] = room[i];
  return n;
}

dl_status dl_best_check_monitor(const dl_config *config) {
  const char *monitor = config->train.monitor, *names[MOST_NAMES], *neither = dl_metrics_for(config->task)->neither;
  char room[MOST_NAMES][40];
  const int n = name_scores(config->task, room, names);
  bool known = false;
  for (int i = 0; i < n; i++) known = known || (monitor && !strcmp(monitor, names[i]));
  if (known && neither && dl_choice_index(neither, monitor) >= 0)
    return dl_config_fail(config, "train.monitor", "'%s' is neither better nor worse", monitor);
  if (known) return DL_OK;
  char task[32];
  dl_config_fail(config, "train.monitor", "'%.60s' is no score of the task %s", monitor ? monitor : "null",
                 dl_choice_name(DL_TASK_NAMES, config->task, task, sizeof task));
  return dl_hint_nearest(monitor ? monitor : "", names, n, "loss, or one of %s", dl_metrics_for(config->task)->metrics);
}

dl_status dl_best_check(const dl_model *model) {
  const dl_config *config = model->config;
  if (!dl_best_is_wanted(config) || dl_data_has_y(model->data, DL_SPLIT_VALID)) return DL_OK;
  dl_config_fail(config, config->train.patience ? "train.patience" : "checkpoint.best",
                 "the best epoch is told by the validation split, and there is none");
  return dl_hint("set data.valid, for example to 0.1");
}

static double score_of(const dl_config *config, const dl_evaluation *e) {
  for (int i = 0; i < e->n_metrics; i++)
    if (!strcmp(e->metrics[i].name, config->train.monitor)) return e->metrics[i].value;
  return strcmp(config->train.monitor, "loss") ? NAN : e->loss;
}

static bool falls(const dl_config *config) {
  const char *falling = dl_metrics_for(config->task)->falling;
  return !strcmp(config->train.monitor, "loss") || (falling && dl_choice_index(falling, config->train.monitor) >= 0);
}

bool dl_best_observe(dl_model *model, const dl_evaluation *valid) {
  const dl_config *config = model->config;
  dl_best *best = &model->best;
  const double score = score_of(config, valid), delta = config->train.min_delta,
               gain = falls(config) ? best->score - score : score - best->score;
  best->bad_epochs++;
  if (!isfinite(score) || (best->epoch && !(gain > delta))) return false;
  *best = (dl_best){.score = score, .epoch = model->at.epoch, .step = model->at.step};
  return true;
}

bool dl_best_is_over(const dl_model *model) {
  const int64_t patience = model->config->train.patience;
  return model->at.epoch >= model->config->train.epochs ||
         (patience > 0 && model->best.bad_epochs >= patience && model->at.step_in_epoch == 0);
}

int64_t dl_best_kept_step(const dl_model *model) {
  return model->config->checkpoint.best && model->best.epoch ? model->best.step : -1;
}

/* ---- in files ---- */

dl_json *dl_best_json(const dl_model *model) {
  dl_json *object = dl_json_object();
  dl_json_put_string(object, "monitor", model->config->train.monitor);
  dl_json_put_real(object, "score", model->best.epoch ? model->best.score : NAN);
  dl_json_put_int(object, "epoch", model->best.epoch);
  dl_json_put_int(object, "step", model->best.step);
  dl_json_put_int(object, "bad_epochs", model->best.bad_epochs);
  if (model->best.weights[0]) dl_json_put_string(object, "weights_sha256", model->best.weights);
  return object;
}

/* Its checkpoint's own state does not know its digest yet, but stands beside it. */
static void read_digest(const dl_json *state, const dl_json *kept, dl_best *best) {
  const bool own = best->step == dl_json_int(dl_json_get(state, "step"), -1);
  const char *digest = dl_json_string(dl_json_get(own ? state : kept, "weights_sha256"));
  if (best->epoch && digest) snprintf(best->weights, sizeof best->weights, "%s", digest);
}

dl_status dl_best_read(dl_model *model, const dl_json *state) {
  const dl_json *kept = dl_json_get(state, "best");
  const char *monitor = dl_json_string(dl_json_get(kept, "monitor"));
  model->best = (dl_best){0};
  if (!dl_best_is_wanted(model->config) || !monitor || strcmp(monitor, model->config->train.monitor)) return DL_OK;
  dl_best best = {.score = dl_json_real(dl_json_get(kept, "score"), NAN),
                  .epoch = dl_json_int(dl_json_get(kept, "epoch"), 0),
                  .step = dl_json_int(dl_json_get(kept, "step"), 0),
                  .bad_epochs = dl_json_int(dl_json_get(kept, "bad_epochs"), -1)};
  if (best.epoch < 0 || best.bad_epochs < 0 || (best.epoch && (isnan(best.score) || best.step < 1)))
    return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no sound `best`");
  read_digest(state, kept, &best);
  model->best = best;
  return DL_OK;
}

/* ---- the weights of the best epoch ---- */

dl_status dl_best_keep(dl_run *run) {
  dl_model *model = run->model;
  if (run->checkpoints) return DL_OK;
  const bool root = run->team->rank == 0;
  if (root && !run->best_weights) run->best_weights = dl_calloc_aligned(model->group.count, sizeof(float));
  DL_TRY(dl_team_agree(run->team, root && !run->best_weights ? DL_ERR_NOMEM : DL_OK));
  return dl_sync_get(model->sync, -1, run->best_weights, 0);
}

/* Member 0 finds the best checkpoint in the run's folder; all learn whether it is there. */
static dl_status find_kept(const dl_run *run, char **path, bool *there) {
  const dl_best *best = &run->model->best;
  int32_t found = 0;
  *path = NULL;
  dl_status status = DL_OK;
  if (run->team->rank == 0) status = dl_checkpoint_at(run->checkpoints, best->step, best->weights, path);
  found = *path != NULL;
  status = dl_team_agree(run->team, status);
  if (status == DL_OK) status = dl_team_broadcast(run->team, &found, sizeof found, 0);
  *there = found;
  return status;
}

static dl_status take_from_folder(dl_run *run, bool *taken) {
  char *path;
  const double deadline = dl_team_be_patient(run->team); /* a file may take its time */
  dl_status status = find_kept(run, &path, taken);
  if (status == DL_OK && *taken) status = dl_model_load_weights(run->model, path);
  if (status == DL_OK && !*taken && run->team->rank == 0)
    dl_warn("best_lost", "the checkpoint of the best epoch (%lld) is gone: the run ends with its last weights",
            (long long)run->model->best.epoch);
  run->team->timeout_s = deadline;
  free(path);
  return status;
}

dl_status dl_best_settle(dl_run *run) {
  dl_model *model = run->model;
  const dl_config *config = model->config;
  char *path = NULL;
  bool there = true;
  if (!dl_best_is_wanted(config) || !model->at.epoch) return DL_OK;
  if (!model->best.epoch && !model->best.bad_epochs && run->team->rank == 0)
    dl_warn("best_begins", "the %lld epochs so far were not judged by %s: the best one is looked for from here on",
            (long long)model->at.epoch, config->train.monitor);
  if (model->best.epoch && config->checkpoint.best && run->checkpoints) DL_TRY(find_kept(run, &path, &there));
  free(path);
  if (there) return DL_OK;
  if (run->team->rank == 0)
    dl_warn("best_lost",
            "the checkpoint of the best epoch so far (%lld) is not in %s: the best one is looked for from here on",
            (long long)model->best.epoch, run->checkpoints);
  model->best = (dl_best){0};
  return DL_OK;
}

dl_status dl_best_take(dl_run *run, bool *taken) {
  const int64_t step = dl_best_kept_step(run->model);
  *taken = false;
  if (step < 0 || step == run->model->at.step) return DL_OK;
  if (run->checkpoints) return take_from_folder(run, taken);
  *taken = true;
  return dl_sync_set(run->model->sync, -1, run->best_weights, 0);
}

/* judge.c - a checkpoint, the data of one split, scores. */
#include "train/judge.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/mem.h"
#include "data/import.h"

/* Member 0: the checkpoint's folder, whole. */
static dl_status find_path(const dl_judge_options *o, char **out) {
  if (o->checkpoint) return dl_checkpoint_find(o->checkpoint, out);
  if (!dl_path_is_dir(o->run)) return dl_fail_at(DL_ERR_DATA, o->run, 0, 0, "is no run's folder");
  char *folder = dl_path_join(o->run, "checkpoints");
  dl_status status = folder ? dl_checkpoint_best(folder, out) : DL_ERR_NOMEM;
  free(folder);
  if (status == DL_OK && !*out) {
    dl_fail_at(DL_ERR_DATA, o->run, 0, 0, "holds no whole checkpoint");
    return dl_hint("train first: dldist train --run %.180s", o->run);
  }
  return status;
}

static dl_status read_state(const dl_judge_options *o, char **path, char **text) {
  dl_json *state = NULL;
  DL_TRY(find_path(o, path));
  DL_TRY(dl_checkpoint_state(*path, &state));
  dl_status status = dl_json_text(state, false, text);
  dl_json_destroy(&state);
  return status;
}

/* The configuration that the checkpoint keeps, with another data file where one was given. */
static dl_status config_of(const dl_judge_options *o, const dl_json *state, dl_config **out) {
  const char *text = dl_json_string(dl_json_get(state, "config"));
  if (!text) return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no configuration");
  char *file = o->data ? dl_path_absolute(o->data) : NULL;
  char *set = file ? dl_asprintf("data.file=\"%s\"", file) : NULL;
  free(file);
  if (o->data && !set) return DL_ERR_NOMEM;
  const char *assignments[] = {set};
  dl_status status = dl_config_parse(text, strlen(text), "state.json", assignments, set != NULL, out);
  free(set);
  /* A fraction was cut off the training file; another file has a split of its own. */
  if (status == DL_OK && o->data && (*out)->data.valid && (*out)->data.valid->kind == DL_NODE_SCALAR)
    (*out)->data.valid = NULL;
  return status == DL_ERR_USAGE
             ? dl_fail(DL_ERR_DATA, "the checkpoint's configuration is not sound: %.400s", dl_error_last()->message)
             : status;
}

/* Splits to try: the one asked for, or the first of test, valid, train that the data set has. */
static dl_status open_split(dl_team *team, const dl_judge_options *o, const dl_json *state, const char *path,
                            bool truth, dl_model **out, dl_split_kind *split) {
  static const dl_split_kind order[] = {DL_SPLIT_TEST, DL_SPLIT_VALID, DL_SPLIT_TRAIN};
  dl_error first = {0};
  for (int i = 0; i < 3; i++) {
    *split = o->split >= 0 ? (dl_split_kind)o->split : order[i];
    dl_config *config = NULL;
    DL_TRY(dl_team_agree(team, config_of(o, state, &config)));
    dl_model_source source = {.state = state,
                              .need = (1u << *split) | (truth ? 0 : DL_DATA_WITHOUT_Y) | DL_DATA_ONLY_NEEDED};
    /* A fraction of train is cut off only when train is there too. */
    if (*split == DL_SPLIT_VALID && config->data.valid && config->data.valid->kind == DL_NODE_SCALAR)
      source.need |= 1u << DL_SPLIT_TRAIN;
    dl_status status = dl_model_new_from_checkpoint(team, config, &source, path, out);
    if (status != DL_ERR_DATA || o->split >= 0) return status;
    if (i == 0) first = *dl_error_last();
  }
  return dl_error_adopt(&first); /* where none is there, the first is what was expected */
}

/* state.json of the checkpoint on all members, its path on member 0. */
static dl_status load_state(dl_team *team, const dl_judge_options *options, char **path, dl_json **state) {
  char *text = NULL;
  dl_status status = dl_team_agree(team, team->rank == 0 ? read_state(options, path, &text) : DL_OK);
  if (status == DL_OK) status = dl_team_broadcast_text(team, &text, 0);
  if (status == DL_OK) status = dl_team_agree(team, dl_json_parse(text, strlen(text), "state.json", state));
  free(text);
  return status;
}

dl_status dl_judge_open(dl_team *team, const dl_judge_options *options, bool need_truth, dl_model **out,
                        dl_split_kind *split) {
  char *path = NULL;
  dl_json *state = NULL;
  dl_status status = load_state(team, options, &path, &state);
  if (status == DL_OK) status = open_split(team, options, state, path, need_truth, out, split);
  dl_json_destroy(&state);
  free(path);
  return status;
}

dl_status dl_judge_open_bare(dl_team *team, const char *folder, dl_model **out) {
  char *path = NULL, *checkpoints = dl_path_join(folder, "checkpoints");
  dl_json *state = NULL;
  dl_config *config = NULL;
  dl_data_shape shape;
  const dl_data_arrays nothing[DL_SPLITS] = {{0}};
  DL_TRY(dl_team_agree(team, checkpoints ? DL_OK : DL_ERR_NOMEM));
  bool is_run = dl_path_is_dir(checkpoints);
  dl_judge_options options = {.run = is_run ? folder : NULL, .checkpoint = is_run ? NULL : folder, .split = -1};
  dl_status status = load_state(team, &options, &path, &state);
  if (status == DL_OK) {
    status = dl_state_shape(state, &shape);
    if (status == DL_OK) status = config_of(&options, state, &config);
    status = dl_team_agree(team, status);
    if (status != DL_OK) dl_config_destroy(&config);
  }
  dl_model_source source = {.shape = &shape, .arrays = nothing, .state = state};
  if (status == DL_OK) status = dl_model_new_from_checkpoint(team, config, &source, path, out);
  dl_json_destroy(&state);
  free(path);
  free(checkpoints);
  return status;
}

/* ---- predictions ---- */

/* Truth in file order: values, or labels as int64. */
static dl_status read_truth(dl_model *model, dl_split_kind split, int64_t samples, int64_t width, float **y,
                            int64_t **labels) {
  const int64_t rows = samples * dl_net_rows(model->net);
  bool with_labels = dl_task_has_labels(model->config->task);
  int32_t *raw = NULL;
  dl_batch batch = {0};
  if (with_labels) {
    batch.label = raw = dl_calloc((size_t)rows, sizeof *raw);
    *labels = dl_calloc((size_t)rows, sizeof **labels);
  } else {
    batch.y = *y = dl_calloc((size_t)(samples * width), sizeof **y);
  }
  dl_status status = (with_labels ? raw && *labels : *y != NULL) ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_data_read(model->data, split, 0, samples, &batch);
  for (int64_t i = 0; with_labels && status == DL_OK && i < rows; i++) (*labels)[i] = raw[i];
  free(raw);
  return status;
}

/* What the scores decide: a class a row, yes or no for each output, or nothing (*columns 0). */
static dl_status decide(const dl_model *model, int64_t rows, const float *scores, double threshold, int64_t **labels,
                        int64_t *columns) {
  const int64_t outputs = dl_net_outputs(model->net);
  const int task = model->config->task;
  *columns = dl_task_has_labels(task) ? 1 : dl_task_is_yes_or_no(task) ? outputs : 0;
  if (!*columns) return DL_OK;
  *labels = dl_calloc((size_t)(rows * *columns), sizeof **labels);
  if (!*labels) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < rows * *columns; i++)
    (*labels)[i] =
        dl_task_has_labels(task) ? dl_first_largest(scores + i * outputs, outputs) : (double)scores[i] > threshold;
  return DL_OK;
}

/* Scores of maps, a row of classes a pixel, to an image a class. */
static dl_status turn_maps(int64_t samples, int64_t pixels, int64_t classes, float *scores) {
  float *one = dl_calloc((size_t)(pixels * classes), sizeof *one);
  if (!one) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < samples; i++, scores += pixels * classes) {
    for (int64_t p = 0; p < pixels; p++)
      for (int64_t c = 0; c < classes; c++) one[c * pixels + p] = scores[p * classes + c];
    memcpy(scores, one, (size_t)(pixels * classes) * sizeof *one);
  }
  free(one);
  return DL_OK;
}

static dl_status write_predictions(dl_model *model, dl_split_kind split, float *scores, double threshold,
                                   const char *path) {
  const int64_t samples = dl_data_samples(model->data, split), rows = samples * dl_net_rows(model->net);
  int64_t outputs = dl_net_outputs(model->net), *labels = NULL, *truth = NULL, columns;
  float *y = NULL;
  dl_status status = decide(model, rows, scores, threshold, &labels, &columns);
  if (status == DL_OK && dl_data_has_y(model->data, split))
    status = read_truth(model, split, samples, outputs, &y, &truth);
  const bool maps = model->config->task == DL_TASK_SEGMENTATION;
  if (maps && status == DL_OK) status = turn_maps(samples, dl_net_rows(model->net), outputs, scores);
  dl_predictions p = {.samples = maps ? samples : rows,
                      .outputs = outputs,
                      .y_size = outputs,
                      .scores = scores,
                      .labels = labels,
                      .label_columns = columns,
                      .y = y,
                      .y_labels = truth};
  if (maps) dl_net_map(model->net, p.map);
  if (status == DL_OK) status = dl_predictions_write(path, &p);
  free(labels);
  free(truth);
  free(y);
  return status;
}

/* Whether `path` is, or a pattern takes in, a file of the data set that is read. */
static bool is_data_file(const dl_node *file, const char *path, const char *absolute) {
  struct stat a, b;
  if (file->kind == DL_NODE_LIST) {
    for (const dl_node *item = file->first; item; item = item->next)
      if (is_data_file(item, path, absolute)) return true;
    return false;
  }
  if (file->kind != DL_NODE_SCALAR) return false;
  if (!stat(file->text, &a) && !stat(path, &b)) return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  return !fnmatch(file->text, absolute, FNM_PATHNAME);
}

static dl_status spare_data(const dl_model *model, const char *path) {
  char *absolute = dl_path_absolute(path);
  if (!absolute) return DL_ERR_NOMEM;
  bool same = model->config->data.file && is_data_file(model->config->data.file, path, absolute);
  free(absolute);
  if (!same) return DL_OK;
  dl_fail_at(DL_ERR_USAGE, path, 0, 0, "is a file of the data set: the predictions would replace it");
  return dl_hint("name another file");
}

dl_status dl_judge_check_threshold(const dl_model *model) {
  char task[32];
  if (dl_task_is_yes_or_no(model->config->task)) return DL_OK;
  return dl_fail(DL_ERR_USAGE, "--threshold goes with the tasks binary and multilabel; this model's is %s",
                 dl_choice_name(DL_TASK_NAMES, model->config->task, task, sizeof task));
}

dl_status dl_judge_predict(dl_model *model, dl_split_kind split, double threshold, const char *path) {
  float *scores = NULL;
  DL_TRY(dl_team_agree(model->team, model->team->rank == 0 ? spare_data(model, path) : DL_OK));
  DL_TRY(dl_predict(model, split, &scores));
  dl_status status = model->team->rank == 0 ? write_predictions(model, split, scores, threshold, path) : DL_OK;
  free(scores);
  return dl_team_agree(model->team, status);
}

/* judge.c - a checkpoint, the data of one split, scores. */
#include "train/judge.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/log.h"
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

/* Member 0's way from scores to a file. */
typedef struct writer {
  dl_model *model;
  dl_split_kind split;
  double threshold;
  dl_predictions_form form;
  dl_predictions_file *file;
} writer;

/* What becomes of a piece; freed as a whole. */
typedef struct piece {
  float *y, *turned;
  int64_t *labels, *y_labels;
  int32_t *raw;
} piece;

static void piece_clear(piece *p) {
  free(p->y);
  free(p->turned);
  free(p->labels);
  free(p->y_labels);
  free(p->raw);
}

/* Truth: values, or labels as int64. */
static dl_status read_truth(const writer *w, int64_t first, int64_t n, piece *p) {
  const int64_t rows = n * dl_net_rows(w->model->net);
  dl_batch batch = {0};
  if (w->form.y == DL_PREDICTED_NO_Y) return DL_OK;
  if (w->form.y == DL_PREDICTED_Y_VALUES) {
    batch.y = p->y = dl_calloc((size_t)(n * w->form.y_size), sizeof *p->y);
    return p->y ? dl_data_read(w->model->data, w->split, first, first + n, &batch) : DL_ERR_NOMEM;
  }
  batch.label = p->raw = dl_calloc((size_t)rows, sizeof *p->raw);
  p->y_labels = dl_calloc((size_t)rows, sizeof *p->y_labels);
  if (!p->raw || !p->y_labels) return DL_ERR_NOMEM;
  DL_TRY(dl_data_read(w->model->data, w->split, first, first + n, &batch));
  for (int64_t i = 0; i < rows; i++) p->y_labels[i] = p->raw[i];
  return DL_OK;
}

/* What the scores decide: a class a row, yes or no for each output, or nothing. */
static dl_status decide(const writer *w, int64_t n, const float *scores, piece *p) {
  const int64_t outputs = w->form.outputs, values = n * dl_net_rows(w->model->net) * w->form.label_columns;
  const bool classes = dl_task_has_labels(w->model->config->task);
  if (!w->form.label_columns) return DL_OK;
  p->labels = dl_calloc((size_t)values, sizeof *p->labels);
  if (!p->labels) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < values; i++)
    p->labels[i] = classes ? dl_first_largest(scores + i * outputs, outputs) : (double)scores[i] > w->threshold;
  return DL_OK;
}

/* Scores of maps, a row of classes a pixel, to an image a class. */
static dl_status turn_maps(const writer *w, int64_t n, const float *scores, piece *p) {
  const int64_t pixels = w->form.map[0] * w->form.map[1], classes = w->form.outputs;
  if (!pixels) return DL_OK;
  p->turned = dl_calloc((size_t)(n * pixels * classes), sizeof *p->turned);
  if (!p->turned) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < pixels; k++)
      for (int64_t c = 0; c < classes; c++)
        p->turned[(i * classes + c) * pixels + k] = scores[(i * pixels + k) * classes + c];
  return DL_OK;
}

static dl_status write_piece(void *context, int64_t first, int64_t n, float *scores) {
  const writer *w = context;
  const int64_t rows = w->form.map[0] ? 1 : dl_net_rows(w->model->net); /* in the file, a sample */
  piece p = {0};
  dl_status status = read_truth(w, first, n, &p);
  if (status == DL_OK) status = decide(w, n, scores, &p);
  if (status == DL_OK) status = turn_maps(w, n, scores, &p);
  const dl_predictions out = {
      .scores = p.turned ? p.turned : scores, .y = p.y, .labels = p.labels, .y_labels = p.y_labels};
  if (status == DL_OK) status = dl_predictions_put(w->file, first * rows, n * rows, &out);
  piece_clear(&p);
  return status;
}

/* Truth goes with what was predicted where it is as large as that. */
static dl_predicted_y truth_of(const dl_model *model, dl_split_kind split) {
  if (!dl_data_has_y(model->data, split)) return DL_PREDICTED_NO_Y;
  if (!dl_task_has_labels(model->config->task)) return DL_PREDICTED_Y_VALUES;
  if (dl_check_rows(model) == DL_OK) return DL_PREDICTED_Y_LABELS;
  dl_warn("maps", "the data set's maps of labels are of another size than what the model gives: they are left out");
  return DL_PREDICTED_NO_Y;
}

/* Member 0. */
static dl_status begin_file(writer *w, const char *path) {
  const dl_model *model = w->model;
  const int task = model->config->task;
  const bool maps = task == DL_TASK_SEGMENTATION;
  const int64_t outputs = dl_net_outputs(model->net), samples = dl_data_samples(model->data, w->split);
  w->form = (dl_predictions_form){.rows = maps ? samples : samples * dl_net_rows(model->net),
                                  .outputs = outputs,
                                  .y_size = outputs,
                                  .label_columns = dl_task_has_labels(task)     ? 1
                                                   : dl_task_is_yes_or_no(task) ? outputs
                                                                                : 0,
                                  .y = truth_of(model, w->split)};
  if (maps) dl_net_map(model->net, w->form.map);
  return dl_predictions_begin(path, &w->form, &w->file);
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
  const bool root = model->team->rank == 0;
  writer w = {.model = model, .split = split, .threshold = threshold};
  DL_TRY(dl_team_agree(model->team, root ? spare_data(model, path) : DL_OK));
  dl_status status = dl_team_agree(model->team, root ? begin_file(&w, path) : DL_OK);
  if (status == DL_OK) status = dl_predict_each(model, split, write_piece, &w);
  return dl_team_agree(model->team, dl_predictions_end(&w.file, status));
}

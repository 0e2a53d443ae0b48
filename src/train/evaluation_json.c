/* evaluation_json.c - an evaluation as JSON: a line of metrics.jsonl, evaluation.json, and what dldist eval --json
 * prints. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/options.h"
#include "train/run.h"

#define MOST_CLASSES 100 /* of which tables are written */

static void put_confusion(dl_json *object, const dl_evaluation *e) {
  const int64_t side = e->confusion_side;
  dl_json *matrix = dl_json_array();
  for (int64_t r = 0; r < side; r++) {
    dl_json *row = dl_json_array();
    for (int64_t c = 0; c < side; c++) dl_json_put_int(row, NULL, e->confusion[r * side + c]);
    dl_json_put(matrix, NULL, row);
  }
  dl_json_put(object, "confusion", matrix);
}

/* {"precision": [one a class], ...} */
static void put_each(dl_json *object, const dl_metrics_kind *kind, const dl_evaluation *e) {
  char name[40];
  dl_json *table = dl_json_object();
  for (int k = 0; k < e->n_each; k++) {
    dl_json *column = dl_json_array();
    for (int64_t c = 0; c < e->outputs; c++) dl_json_put_real(column, NULL, e->each[c * e->n_each + k]);
    dl_json_put(table, dl_choice_name(kind->each, k, name, sizeof name), column);
  }
  dl_json_put(object, kind->each_title, table);
}

void dl_run_put_evaluation(dl_json *event, const char *split, const dl_model *model, const dl_evaluation *e) {
  dl_json_put_string(event, "split", split);
  dl_json_put_int(event, "epoch", model->at.epoch);
  dl_json_put_int(event, "samples", e->samples);
  dl_json_put_real(event, "loss", e->loss);
  for (int i = 0; i < e->n_metrics; i++) dl_json_put_real(event, e->metrics[i].name, e->metrics[i].value);
  if (!isnan(e->threshold)) dl_json_put_real(event, "threshold", e->threshold);
  if (e->confusion && e->confusion_side <= MOST_CLASSES) put_confusion(event, e);
  if (e->each && e->outputs <= MOST_CLASSES) put_each(event, dl_metrics_for(model->config->task), e);
}

static void put_curve(dl_json *object, const char *name, const dl_curve *curve, const char *x, const char *y) {
  const char *const keys[] = {x, y, "threshold"};
  const double *const values[] = {curve->x, curve->y, curve->threshold};
  dl_json *points = dl_json_object();
  for (int k = 0; k < 3; k++) {
    dl_json *column = dl_json_array();
    for (int i = 0; i < curve->n; i++) dl_json_put_real(column, NULL, values[k][i]);
    dl_json_put(points, keys[k], column);
  }
  dl_json_put(object, name, points);
}

void dl_run_put_details(dl_json *object, const dl_model *model, const dl_evaluation *e) {
  if (model->n_class_names > 0 && model->n_class_names <= MOST_CLASSES && e->each) {
    dl_json *names = dl_json_array();
    for (int i = 0; i < model->n_class_names; i++) dl_json_put_string(names, NULL, model->class_names[i]);
    dl_json_put(object, "class_names", names);
  }
  if (!e->curves) return;
  put_curve(object, "roc_curve", &e->curves->roc, "fpr", "tpr");
  put_curve(object, "pr_curve", &e->curves->pr, "recall", "precision");
}

dl_status dl_run_write_evaluation(const dl_run *run, const char *split, const dl_evaluation *e) {
  char *text = NULL, *path = dl_path_join(run->folder, "evaluation.json");
  dl_json *object = dl_json_object();
  dl_json_put_int(object, "step", run->took_best ? run->model->best.step : run->model->at.step);
  dl_run_put_evaluation(object, split, run->model, e);
  dl_run_put_details(object, run->model, e);
  dl_status status = path ? dl_json_text(object, false, &text) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_file_write_atomic(path, text, strlen(text));
  dl_json_destroy(&object);
  free(text);
  free(path);
  return status;
}

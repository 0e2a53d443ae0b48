/* evaluate.c - exact evaluation and prediction by all members.
 *
 * A split is cut into blocks of a fixed size, in file order; members take contiguous runs of blocks. A block's result
 * is a row of doubles (loss, normaliser, the metrics' sums) and integer counts: rows are summed along the canonical
 * tree over blocks, counts exactly, so that nothing depends on who evaluated what.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "train/model.h"
#include "train/ranked.h"

void dl_evaluation_clear(dl_evaluation *evaluation) {
  free(evaluation->confusion);
  free(evaluation->each);
  free(evaluation->curves);
  *evaluation = (dl_evaluation){0};
}

/* Reads and runs block `block`; returns the number of its samples. */
dl_status dl_eval_run_block(dl_model *model, dl_split_kind split, int64_t block, bool truth, int64_t *n) {
  const int64_t samples = dl_data_samples(model->data, split), size = dl_eval_block(model);
  int64_t first = block * size, end = first + size;
  if (end > samples) end = samples;
  dl_batch batch = {.x = model->batch.x};
  if (truth) batch = model->batch;
  DL_TRY(dl_data_read(model->data, split, first, end, &batch));
  dl_pass pass = {.training = false, .first_sample = (uint64_t)first};
  dl_net_forward(model->net, model->weights, end - first, &pass);
  *n = end - first;
  return DL_OK;
}

/* A point near the targets' means, for stable sums of squares: the mean over the first block, the same on all members.
 */
static dl_status reference_point(dl_model *model, dl_split_kind split, float *reference) {
  int64_t outputs = dl_net_outputs(model->net), n = dl_data_samples(model->data, split);
  if (!model->batch.y || n < 1) return DL_OK;
  if (n > dl_eval_block(model)) n = dl_eval_block(model);
  DL_TRY(dl_data_read(model->data, split, 0, n, &model->batch));
  for (int64_t o = 0; o < outputs; o++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)model->batch.y[i * outputs + o];
    reference[o] = (float)(sum / (double)n);
  }
  return DL_OK;
}

/* One evaluation's buffers. */
typedef struct job {
  dl_model *model;
  dl_split_kind split;
  const dl_metrics_kind *kind;
  double threshold;
  int64_t begin, end, counts; /* my blocks; integers counted */
  int width;                  /* doubles a row: loss, normaliser, the kind's sums */
  double *rows, *totals, *maxima;
  float *reference;
  int64_t *counters;
  dl_rank_figures *figures;
  dl_ranked ranked;
  bool is_ranked;
} job;

static void job_clear(job *j) {
  free(j->rows);
  free(j->totals);
  free(j->maxima);
  free(j->reference);
  free(j->counters);
  free(j->figures);
  dl_ranked_clear(&j->ranked);
}

dl_status dl_check_rows(const dl_model *model) {
  const dl_data_shape *shape = dl_data_shape_of(model->data);
  const int64_t rows = dl_net_rows(model->net);
  const bool maps = model->config->task == DL_TASK_SEGMENTATION;
  int64_t map[2] = {0, 0};
  if (maps) dl_net_map(model->net, map);
  const bool same = shape->y_size == rows && !memcmp(map, shape->map, sizeof map);
  if (!dl_task_has_labels(model->config->task) || same) return DL_OK;
  if (!maps)
    return dl_fail(DL_ERR_DATA, "the data set has %lld labels a sample, but the model has %lld rows of outputs",
                   (long long)shape->y_size, (long long)rows);
  return dl_fail(DL_ERR_DATA, "the data set's maps have %lld x %lld labels, but the model gives %lld x %lld",
                 (long long)shape->map[0], (long long)shape->map[1], (long long)map[0], (long long)map[1]);
}

/* Not collective. */
static dl_status job_begin(job *j, const dl_evaluation *e) {
  const int64_t blocks = dl_eval_blocks(e->samples, dl_eval_block(j->model));
  const dl_team *team = j->model->team;
  j->begin = blocks * team->rank / team->size;
  j->end = blocks * (team->rank + 1) / team->size;
  j->width = 2 + j->kind->sums(e->outputs);
  j->counts = j->kind->counters(e->outputs);
  const int64_t mine = j->end - j->begin, outputs = e->outputs;
  j->rows = dl_calloc((size_t)(mine * j->width), sizeof *j->rows);
  j->totals = dl_calloc((size_t)j->width, sizeof *j->totals);
  j->maxima = dl_calloc((size_t)j->kind->maxima + 1, sizeof *j->maxima);
  j->reference = dl_calloc((size_t)outputs, sizeof *j->reference);
  j->counters = dl_calloc((size_t)j->counts + 1, sizeof *j->counters);
  j->figures = dl_calloc((size_t)outputs, sizeof *j->figures);
  bool there = j->rows && j->totals && j->maxima && j->reference && j->counters && j->figures;
  j->is_ranked = j->kind->ranked && e->samples > 0 && outputs <= DL_RANKED_SCORES / e->samples;
  if (!there || !j->is_ranked) return there ? DL_OK : DL_ERR_NOMEM;
  return dl_ranked_begin(&j->ranked, mine * dl_eval_block(j->model), outputs,
                         dl_task_has_labels(j->model->config->task));
}

static dl_status my_blocks(job *j) {
  dl_model *model = j->model;
  const dl_batch *batch = &model->batch;
  for (int64_t b = j->begin; b < j->end; b++) {
    double *row = j->rows + (b - j->begin) * j->width;
    int64_t n = 0;
    DL_TRY(dl_eval_run_block(model, j->split, b, true, &n));
    dl_net_loss(model->net, n, batch->label, batch->y, batch->weight, &row[0], &row[1]);
    if (batch->label) dl_net_drop_ignored(model->net, n, batch->label);
    const dl_metrics_block block = {.n = n * dl_net_rows(model->net),
                                    .outputs = dl_net_outputs(model->net),
                                    .scores = dl_net_scores(model->net, n),
                                    .label = batch->label,
                                    .y = batch->y,
                                    .weight = dl_net_rows(model->net) == 1 ? batch->weight : NULL,
                                    .reference = j->reference,
                                    .threshold = j->threshold};
    j->kind->add(&block, j->counters, row + 2, j->maxima);
    if (j->is_ranked) dl_ranked_add(&j->ranked, &block);
  }
  return DL_OK;
}

/* Totals over all members. */
static dl_status meet(job *j, dl_evaluation *out, bool curves) {
  dl_team *team = j->model->team;
  const int64_t blocks = dl_eval_blocks(out->samples, dl_eval_block(j->model));
  DL_TRY(dl_team_tree_sum(team, blocks, j->begin, j->end, j->width, j->rows, j->totals));
  DL_TRY(dl_team_sum_i64(team, j->counters, (size_t)j->counts));
  for (int k = 0; k < j->kind->maxima; k++) DL_TRY(dl_team_max_f64(team, &j->maxima[k]));
  if (!j->is_ranked) return DL_OK;
  if (curves && team->rank == 0) out->curves = dl_calloc(1, sizeof *out->curves);
  DL_TRY(dl_team_agree(team, curves && team->rank == 0 && !out->curves ? DL_ERR_NOMEM : DL_OK));
  return dl_ranked_finish(team, &j->ranked, j->figures, out->curves);
}

static dl_status report(job *j, dl_evaluation *out) {
  const dl_metrics_totals totals = {.samples = out->samples,
                                    .outputs = out->outputs,
                                    .counters = j->counters,
                                    .sums = j->totals + 2,
                                    .maxima = j->maxima,
                                    .ranked = j->is_ranked ? j->figures : NULL};
  out->loss = j->totals[1] > 0 ? j->totals[0] / j->totals[1] : NAN; /* nothing has a label */
  out->n_metrics = j->kind->finish(&totals, out->metrics);
  out->confusion_side = j->kind->confusion(out->outputs);
  if (out->confusion_side) {
    out->confusion = j->counters;
    j->counters = NULL;
  }
  if (!j->kind->each) return DL_OK;
  for (const char *at = j->kind->each; at; at = strchr(at + 1, '|')) out->n_each++;
  out->each = dl_calloc((size_t)(out->outputs * out->n_each), sizeof *out->each);
  if (!out->each) return DL_ERR_NOMEM;
  j->kind->finish_each(&totals, out->each);
  return DL_OK;
}

dl_status dl_evaluate_at(dl_model *model, dl_split_kind split, double threshold, bool curves, dl_evaluation *out) {
  *out = (dl_evaluation){.samples = dl_data_samples(model->data, split), .outputs = dl_net_outputs(model->net)};
  out->threshold = dl_task_is_yes_or_no(model->config->task) ? threshold : NAN;
  job j = {.model = model, .split = split, .kind = dl_metrics_for(model->config->task), .threshold = threshold};
  dl_status status = dl_team_agree(model->team, dl_check_rows(model));
  if (status == DL_OK) status = dl_team_agree(model->team, job_begin(&j, out));
  if (status == DL_OK) {
    status = reference_point(model, split, j.reference);
    if (status == DL_OK) status = my_blocks(&j);
    status = dl_team_agree(model->team, status);
  }
  if (status == DL_OK) status = meet(&j, out, curves && model->config->task == DL_TASK_BINARY);
  if (status == DL_OK) status = dl_team_agree(model->team, report(&j, out));
  job_clear(&j);
  if (status != DL_OK) dl_evaluation_clear(out);
  return status;
}

dl_status dl_evaluate(dl_model *model, dl_split_kind split, dl_evaluation *out) {
  return dl_evaluate_at(model, split, DL_THRESHOLD, false, out);
}

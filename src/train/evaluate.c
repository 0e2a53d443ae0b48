/* evaluate.c - exact evaluation and prediction by all members.
 *
 * A split is cut into blocks of a fixed size, in file order; members take contiguous runs of blocks. A block's result
 * is a row of doubles (loss, normaliser, the metrics' sums) and integer counts: rows are summed along the canonical
 * tree over blocks, counts exactly, so that nothing depends on who evaluated what.
 */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "train/model.h"

void dl_evaluation_clear(dl_evaluation *evaluation) {
  free(evaluation->confusion);
  *evaluation = (dl_evaluation){0};
}

static int64_t blocks_of(int64_t samples, int64_t block) { return (samples + block - 1) / block; }

/* Reads and runs block `block`; returns the number of its samples. */
static dl_status run_block(dl_model *model, dl_split_kind split, int64_t block, bool truth, int64_t *n) {
  const int64_t samples = dl_data_samples(model->data, split), size = dl_eval_block(model->config);
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
  if (n > dl_eval_block(model->config)) n = dl_eval_block(model->config);
  DL_TRY(dl_data_read(model->data, split, 0, n, &model->batch));
  for (int64_t o = 0; o < outputs; o++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)model->batch.y[i * outputs + o];
    reference[o] = (float)(sum / (double)n);
  }
  return DL_OK;
}

static dl_status my_blocks(dl_model *model, dl_split_kind split, const dl_metrics_kind *kind, int64_t begin,
                           int64_t end, int width, const float *reference, double *rows, int64_t *counters) {
  int64_t outputs = dl_net_outputs(model->net), n;
  for (int64_t block = begin; block < end; block++) {
    double *row = rows + (block - begin) * width;
    DL_TRY(run_block(model, split, block, true, &n));
    dl_net_loss(model->net, n, model->batch.label, model->batch.y, model->batch.weight, &row[0], &row[1]);
    if (model->batch.label) dl_net_drop_ignored(model->net, n, model->batch.label);
    kind->add(n * dl_net_rows(model->net), outputs, dl_net_scores(model->net, n), model->batch.label, model->batch.y,
              reference, counters, row + 2);
  }
  return DL_OK;
}

static dl_status evaluate(dl_model *model, dl_split_kind split, double *rows, double *totals, float *reference,
                          int width, int64_t begin, int64_t end, dl_evaluation *out) {
  const dl_metrics_kind *kind = dl_metrics_for(model->config->task);
  int64_t outputs = dl_net_outputs(model->net), n_counters = kind->counters(outputs);
  dl_status status = reference_point(model, split, reference);
  if (status == DL_OK) status = my_blocks(model, split, kind, begin, end, width, reference, rows, out->confusion);
  DL_TRY(dl_team_agree(model->team, status));
  DL_TRY(dl_team_tree_sum(model->team, blocks_of(out->samples, dl_eval_block(model->config)), begin, end, width, rows,
                          totals));
  DL_TRY(dl_team_sum_i64(model->team, out->confusion, (size_t)n_counters));
  out->loss = totals[1] > 0 ? totals[0] / totals[1] : 0;
  out->n_metrics = kind->finish(out->samples, outputs, out->confusion, totals + 2, out->metrics);
  return DL_OK;
}

dl_status dl_evaluate(dl_model *model, dl_split_kind split, dl_evaluation *out) {
  const dl_metrics_kind *kind = dl_metrics_for(model->config->task);
  int64_t outputs = dl_net_outputs(model->net);
  int width = 2 + kind->sums(outputs);
  *out = (dl_evaluation){.samples = dl_data_samples(model->data, split), .outputs = outputs};
  int64_t blocks = blocks_of(out->samples, dl_eval_block(model->config));
  int64_t begin = blocks * model->team->rank / model->team->size,
          end = blocks * (model->team->rank + 1) / model->team->size;
  double *rows = dl_calloc((size_t)((end - begin) * width), sizeof *rows),
         *totals = dl_calloc((size_t)width, sizeof *totals);
  float *reference = dl_calloc((size_t)outputs, sizeof *reference);
  out->confusion = dl_calloc((size_t)kind->counters(outputs), sizeof *out->confusion);
  bool there = rows && totals && reference && out->confusion;
  dl_status status = dl_team_agree(model->team, there ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = evaluate(model, split, rows, totals, reference, width, begin, end, out);
  free(rows);
  free(totals);
  free(reference);
  if (model->config->task != DL_TASK_CLASSIFICATION || status != DL_OK) {
    free(out->confusion);
    out->confusion = NULL;
  }
  return status;
}

dl_status dl_predict(dl_model *model, dl_split_kind split, float **scores) {
  const int64_t width = dl_net_outputs(model->net) * dl_net_rows(model->net), size = dl_eval_block(model->config);
  int64_t samples = dl_data_samples(model->data, split), blocks = blocks_of(samples, size);
  int64_t begin = blocks * model->team->rank / model->team->size,
          end = blocks * (model->team->rank + 1) / model->team->size;
  int64_t last = end * size < samples ? end * size : samples, count = last - begin * size;
  if (count < 0) count = 0;
  float *mine = dl_calloc((size_t)(count * width), sizeof *mine);
  dl_status status = mine ? DL_OK : DL_ERR_NOMEM;
  for (int64_t block = begin; block < end && status == DL_OK; block++) {
    int64_t n = 0;
    status = run_block(model, split, block, false, &n);
    if (status == DL_OK)
      memcpy(mine + (block - begin) * size * width, dl_net_scores(model->net, n), (size_t)(n * width) * sizeof *mine);
  }
  void *all = NULL;
  status = dl_team_agree(model->team, status);
  if (status == DL_OK)
    status = dl_team_gather_bytes(model->team, mine, (size_t)(count * width) * sizeof *mine, 0, &all, NULL);
  free(mine);
  *scores = all;
  return status;
}

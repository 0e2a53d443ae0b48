/* data_norm.c - what is done to x on its way into a batch.
 *
 * Mean and standard deviation (of the population) come from two passes in float64 over what is left of train, summed
 * sample after sample by one member and sent to the others: the same bits whatever the team. A figure whose variance is
 * no more than rounding explains (Chan, Golub, LeVeque 1983) is constant and is only shifted.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/data_set.h"

void dl_norm_clear(dl_norm *norm) {
  free(norm->shift);
  free(norm->scale);
  *norm = (dl_norm){.kind = DL_NORMALIZE_NONE};
}

int dl_norm_kind(int normalize, const dl_data_plan *plan) {
  if (normalize != DL_NORMALIZE_AUTO) return normalize;
  return plan->integer ? DL_NORMALIZE_UNIT : DL_NORMALIZE_NONE;
}

/* How many figures a kind has for this shape; 0: it does not fit. */
static int64_t figures(int kind, const dl_data_shape *shape) {
  if (kind == DL_NORMALIZE_PER_FEATURE) return shape->x_size;
  if (kind == DL_NORMALIZE_PER_CHANNEL) return shape->x_dims >= 2 ? shape->x_shape[0] : 0;
  return 1;
}

static dl_status make_empty(dl_norm *norm, int kind, int64_t n) {
  *norm = (dl_norm){.kind = kind, .n = n, .shift = dl_calloc((size_t)n, 4), .scale = dl_calloc((size_t)n, 4)};
  if (!norm->shift || !norm->scale) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < n; i++) norm->scale[i] = 1;
  return DL_OK;
}

dl_status dl_part_raw_row(const dl_data *data, int part, int64_t sample, float *out) {
  const size_t row = (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
  dl_row_run run = {.n = 0};
  DL_TRY(dl_part_find(data, part, sample, -1, &run));
  const char *x = run.x + (size_t)(sample - run.first) * row;
  DL_ISA_CHOOSE(dl_convert_kernels)->of[data->plan.element].uniform(out, x, (size_t)data->plan.shape.x_size, 0, 1);
  return DL_OK;
}

static int64_t train_sample(const dl_data *data, int64_t i) {
  return data->order[DL_SPLIT_TRAIN] ? data->order[DL_SPLIT_TRAIN][i] : i;
}

/* sums[f] += the f-th element of each training sample, or of its squared distance from `mean` of its figure. */
static dl_status add_pass(const dl_data *data, const double *mean, int64_t n, float *row, double *sums) {
  int64_t size = data->plan.shape.x_size, each = size / n;
  for (int64_t i = 0; i < data->plan.samples[DL_SPLIT_TRAIN]; i++) {
    DL_TRY(dl_part_raw_row(data, DL_SPLIT_TRAIN, train_sample(data, i), row));
    if (!mean)
      for (int64_t f = 0; f < size; f++) sums[f] += (double)row[f];
    else
      for (int64_t c = 0; c < n; c++)
        for (int64_t f = c * each; f < (c + 1) * each; f++)
          sums[f] += ((double)row[f] - mean[c]) * ((double)row[f] - mean[c]);
  }
  return DL_OK;
}

/* figure[c] = the mean over its elements of sums; clears sums. */
static void fold(double *sums, int64_t size, int64_t n, int64_t samples, double *figure) {
  int64_t each = size / n;
  for (int64_t c = 0; c < n; c++) {
    figure[c] = 0;
    for (int64_t f = c * each; f < (c + 1) * each; f++) figure[c] += sums[f];
    figure[c] /= (double)each * (double)samples;
  }
  memset(sums, 0, (size_t)size * sizeof *sums);
}

static dl_status compute(const dl_data *data, dl_norm *norm) {
  int64_t size = data->plan.shape.x_size, samples = data->plan.samples[DL_SPLIT_TRAIN], n = norm->n;
  float *row = dl_calloc((size_t)size, sizeof *row);
  double *sums = dl_calloc((size_t)size, sizeof *sums), *mean = dl_calloc((size_t)n, sizeof *mean);
  double *variance = dl_calloc((size_t)n, sizeof *variance);
  dl_status status = row && sums && mean && variance ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) status = add_pass(data, NULL, n, row, sums);
  if (status == DL_OK) {
    fold(sums, size, n, samples, mean);
    status = add_pass(data, mean, n, row, sums);
  }
  if (status == DL_OK) {
    fold(sums, size, n, samples, variance);
    int64_t each = size / n;
    double count = (double)samples * (double)each;
    for (int64_t c = 0; c < n; c++) {
      double noise = count * mean[c] * DBL_EPSILON;
      bool constant = variance[c] <= count * DBL_EPSILON * variance[c] + noise * noise;
      norm->shift[c] = (float)mean[c];
      norm->scale[c] = constant ? 1.0f : (float)(1 / sqrt(variance[c]));
      if (!isfinite(norm->scale[c])) norm->scale[c] = 1;
    }
  }
  free(row);
  free(sums);
  free(mean);
  free(variance);
  return status;
}

/* unit for integers of 4 and 8 bytes, which seldom use their range: the largest absolute value of what is left of train
 * becomes 1. */
static dl_status scale_wide_integers(const dl_data *data, dl_norm *norm) {
  int64_t size = data->plan.shape.x_size;
  float *row = dl_calloc((size_t)size, sizeof *row), most = 0;
  if (!row) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  for (int64_t i = 0; i < data->plan.samples[DL_SPLIT_TRAIN] && status == DL_OK; i++) {
    status = dl_part_raw_row(data, DL_SPLIT_TRAIN, train_sample(data, i), row);
    for (int64_t f = 0; f < size && status == DL_OK; f++) most = fmaxf(most, fabsf(row[f]));
  }
  free(row);
  norm->scale[0] = most > 0 ? (float)(1 / (double)most) : 1;
  return status;
}

static dl_status prepare(dl_data *data, const dl_config *config) {
  int kind = dl_norm_kind(config->data.normalize, &data->plan);
  if (config->task == DL_TASK_LANGUAGE_MODEL) {
    if (config->data.normalize > DL_NORMALIZE_NONE)
      return dl_config_fail(config, "data.normalize", "tokens are not normalised: data.normalize must be none");
    kind = DL_NORMALIZE_NONE;
  }
  bool computed = kind == DL_NORMALIZE_PER_FEATURE || kind == DL_NORMALIZE_PER_CHANNEL;
  if (computed && data->plan.samples[DL_SPLIT_TRAIN] == 0) kind = DL_NORMALIZE_NONE; /* a checkpoint's norm will come */
  int64_t n = figures(kind, &data->plan.shape);
  if (n == 0) {
    dl_config_fail(config, "data.normalize",
                   "normalize: per_channel needs images, but a sample of x is a row of %lld features",
                   (long long)data->plan.shape.x_size);
    return dl_hint("use per_feature");
  }
  DL_TRY(make_empty(&data->norm, kind, n));
  if (kind == DL_NORMALIZE_UNIT) data->norm.scale[0] = (float)(1 / data->plan.unit_max);
  return DL_OK;
}

dl_status dl_norm_make(dl_data *data, const dl_config *config) {
  dl_team *team = data->team;
  dl_status status = prepare(data, config);
  bool computed = data->norm.kind == DL_NORMALIZE_PER_FEATURE || data->norm.kind == DL_NORMALIZE_PER_CHANNEL;
  if (status == DL_OK && team->rank == 0 && computed) status = compute(data, &data->norm);
  if (status == DL_OK && team->rank == 0 && data->norm.kind == DL_NORMALIZE_UNIT && data->plan.unit_max > 65535)
    status = scale_wide_integers(data, &data->norm);
  DL_TRY(dl_team_agree(team, status));
  size_t bytes = (size_t)data->norm.n * sizeof(float);
  DL_TRY(dl_team_broadcast(team, data->norm.shift, bytes, 0));
  return dl_team_broadcast(team, data->norm.scale, bytes, 0);
}

dl_status dl_data_set_norm(dl_data *data, const dl_norm *norm) {
  int64_t n = norm->kind > DL_NORMALIZE_AUTO && norm->kind <= DL_NORMALIZE_PER_CHANNEL
                  ? figures(norm->kind, &data->plan.shape)
                  : 0;
  if (n == 0 || n != norm->n)
    return dl_fail(DL_ERR_DATA,
                   "the normalisation kept with the model has %lld figures, which does not fit samples of %lld values",
                   (long long)norm->n, (long long)data->plan.shape.x_size);
  dl_norm copy;
  dl_status status = make_empty(&copy, norm->kind, n);
  if (status != DL_OK) {
    dl_norm_clear(&copy);
    return status;
  }
  memcpy(copy.shift, norm->shift, (size_t)n * sizeof(float));
  memcpy(copy.scale, norm->scale, (size_t)n * sizeof(float));
  dl_norm_clear(&data->norm);
  data->norm = copy;
  return DL_OK;
}

/* data_arrays.c - a data set over the caller's own arrays: borrowed, checked, and cut like files are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/data_set.h"
#include "data/data_source.h"

static dl_status check_values(const char *what, int split, const float *values, int64_t n, int64_t row_values) {
  for (int64_t i = 0; i < n * row_values; i++)
    if (!isfinite(values[i]))
      return dl_fail(DL_ERR_DATA, "%s of %s has a value that is not finite in row %lld", what,
                     dl_choice_name(DL_SPLIT_NAMES, split, (char[16]){0}, 16), (long long)(i / row_values));
  return DL_OK;
}

/* `each` labels a sample. */
static dl_status check_labels(const dl_config *config, int split, const int32_t *labels, int64_t n, int64_t each,
                              int64_t known, int64_t *classes) {
  int64_t ignored;
  const bool ignores = dl_source_ignored_label(config, &ignored);
  for (int64_t i = 0; i < n * each; i++) {
    if (ignores && labels[i] == ignored) continue;
    if (labels[i] < 0 || labels[i] >= (known ? known : DL_MAX_CLASSES))
      return dl_fail(DL_ERR_DATA, "row %lld of %s has the label %d, which is out of range", (long long)(i / each),
                     dl_choice_name(DL_SPLIT_NAMES, split, (char[16]){0}, 16), labels[i]);
    if (labels[i] >= *classes) *classes = labels[i] + 1;
  }
  return DL_OK;
}

static dl_status check_targets(int split, int task, const float *y, int64_t n, int64_t row_values) {
  DL_TRY(check_values("y", split, y, n, row_values));
  if (task == DL_TASK_REGRESSION) return DL_OK;
  for (int64_t i = 0; i < n * row_values; i++)
    if (y[i] != 0 && y[i] != 1)
      return dl_fail(DL_ERR_DATA, "y of %s has %g in row %lld: %s wants 0 or 1",
                     dl_choice_name(DL_SPLIT_NAMES, split, (char[16]){0}, 16), (double)y[i],
                     (long long)(i / row_values), dl_choice_name(DL_TASK_NAMES, task, (char[32]){0}, 32));
  return DL_OK;
}

static dl_status take_windows(dl_data *data, const dl_config *config, int split, const dl_data_arrays *arrays,
                              int64_t *classes) {
  const dl_data_shape *shape = &data->plan.shape;
  const int64_t limit = shape->classes ? shape->classes : DL_MAX_CLASSES, values = data->plan.row_values;
  if (shape->x_dims != 1 || shape->x_size != config->data.sequence)
    return dl_fail(DL_ERR_USAGE, "windows of %lld tokens, but data.sequence is %lld", (long long)shape->x_size,
                   (long long)config->data.sequence);
  for (int64_t i = 0; i < arrays->samples * values; i++) {
    const float token = arrays->tokens[i];
    if (!(token >= 0 && token < (float)limit && token == floorf(token)))
      return dl_fail(DL_ERR_DATA, "window %lld of %s holds %g: tokens are whole numbers from 0 to %lld",
                     (long long)(i / values), dl_choice_name(DL_SPLIT_NAMES, split, (char[16]){0}, 16), (double)token,
                     (long long)limit - 1);
    if ((int64_t)token >= *classes) *classes = (int64_t)token + 1;
  }
  data->plan.samples[split] = arrays->samples;
  data->part[split] = (dl_part){.samples = arrays->samples, .x = arrays->tokens};
  return DL_OK;
}

static dl_status take_split(dl_data *data, const dl_config *config, int split, const dl_data_arrays *arrays,
                            int64_t *classes) {
  dl_data_shape *shape = &data->plan.shape;
  const bool labels = config->task == DL_TASK_CLASSIFICATION || config->task == DL_TASK_SEGMENTATION;
  const float *x = config->task == DL_TASK_LANGUAGE_MODEL ? arrays->tokens : arrays->x;
  if (arrays->samples && config->task == DL_TASK_LANGUAGE_MODEL && !x)
    return dl_fail(DL_ERR_USAGE, "task language_model takes a row of tokens, not samples of x");
  if (arrays->samples < 0 || (arrays->samples && !x))
    return dl_fail(DL_ERR_USAGE, "%s has %lld samples and no x",
                   dl_choice_name(DL_SPLIT_NAMES, split, (char[16]){0}, 16), (long long)arrays->samples);
  if (!arrays->samples) return DL_OK;
  if (config->task == DL_TASK_LANGUAGE_MODEL) return take_windows(data, config, split, arrays, classes);
  DL_TRY(check_values("x", split, arrays->x, arrays->samples, shape->x_size));
  if (arrays->labels && config->task == DL_TASK_SEGMENTATION && !shape->map[0])
    return dl_fail(DL_ERR_USAGE,
                   "segmentation wants images (channels, height, width), but x has %d dimensions a sample",
                   shape->x_dims);
  if (labels && arrays->labels) {
    DL_TRY(check_labels(config, split, arrays->labels, arrays->samples, shape->y_size, shape->classes, classes));
  } else if (!labels && arrays->y) {
    DL_TRY(check_targets(split, config->task, arrays->y, arrays->samples, shape->y_size));
  }
  data->plan.samples[split] = arrays->samples;
  data->part[split] =
      (dl_part){arrays->samples, arrays->x, labels ? NULL : arrays->y, labels ? arrays->labels : NULL, NULL};
  return DL_OK;
}

static dl_status check_shape(const dl_config *config, dl_data_shape *shape) {
  int64_t size = 1;
  if (shape->x_dims < 1 || shape->x_dims > DL_MAX_DIMS)
    return dl_fail(DL_ERR_USAGE, "x has %d dimensions a sample; 1 to %d can be used", shape->x_dims, DL_MAX_DIMS);
  for (int i = 0; i < shape->x_dims; i++) {
    if (shape->x_shape[i] < 1 || shape->x_shape[i] > (1LL << 31) / size)
      return dl_fail(DL_ERR_USAGE, "dimension %d of x is out of range: %lld", i, (long long)shape->x_shape[i]);
    size *= shape->x_shape[i];
  }
  shape->x_size = size;
  if (config->task == DL_TASK_CLASSIFICATION || config->task == DL_TASK_BINARY) shape->y_size = 1;
  if (config->task == DL_TASK_LANGUAGE_MODEL) shape->y_size = size;
  if (config->task == DL_TASK_SEGMENTATION) {
    if (!shape->map[0] && shape->x_dims == 3) /* no network says otherwise: the labels lie over x */
      memcpy(shape->map, shape->x_shape + 1, sizeof shape->map);
    shape->y_size = shape->map[0] ? shape->map[0] * shape->map[1] : 1;
  }
  if (shape->y_size < 1 || shape->y_size > (1LL << 31))
    return dl_fail(DL_ERR_USAGE, "y has %lld values a sample", (long long)shape->y_size);
  if (config->task != DL_TASK_CLASSIFICATION && config->task != DL_TASK_LANGUAGE_MODEL &&
      config->task != DL_TASK_SEGMENTATION)
    shape->classes = 0;
  return DL_OK;
}

static dl_status cut_valid(dl_data *data, const dl_config *config) {
  double fraction;
  DL_TRY(dl_source_valid_fraction(config, &fraction));
  const dl_part *train = &data->part[DL_SPLIT_TRAIN];
  int64_t n_valid = dl_valid_samples(fraction, train->samples);
  if (!n_valid || data->plan.samples[DL_SPLIT_VALID]) return DL_OK;
  int64_t *order = data->own_block = dl_calloc_aligned((size_t)train->samples + 8, sizeof *order);
  if (!order) return DL_ERR_NOMEM;
  data->block = data->own_block;
  int64_t n_train = train->samples - n_valid;
  data->plan.order[DL_SPLIT_TRAIN] = 8 * (int64_t)sizeof *order; /* offset 0 means none */
  data->plan.order[DL_SPLIT_VALID] = (8 + n_train) * (int64_t)sizeof *order;
  data->plan.samples[DL_SPLIT_TRAIN] = n_train;
  data->plan.samples[DL_SPLIT_VALID] = n_valid;
  data->plan.bytes = (train->samples + 8) * (int64_t)sizeof *order;
  if (config->task == DL_TASK_LANGUAGE_MODEL) {
    dl_valid_tail(train->samples, n_valid, order + 8, order + 8 + n_train);
    return DL_OK;
  }
  return dl_valid_cut((uint64_t)config->seed, train->samples, n_valid,
                      config->task == DL_TASK_CLASSIFICATION ? train->labels : NULL, data->plan.shape.classes,
                      order + 8, order + 8 + n_train);
}

static dl_status take_arrays(dl_data *data, const dl_config *config, const dl_data_shape *shape,
                             const dl_data_arrays splits[DL_SPLITS]) {
  data->plan.shape = *shape;
  data->plan.element = DL_ELEMENT_F32;
  data->plan.unit_max = 1;
  data->plan.shuffle = config->data.shuffle == DL_SHUFFLE_AUTO ? DL_SHUFFLE_FULL : config->data.shuffle;
  DL_TRY(check_shape(config, &data->plan.shape));
  const bool values = config->task == DL_TASK_REGRESSION || config->task == DL_TASK_MULTILABEL;
  const dl_data_shape *of = &data->plan.shape;
  const bool over = of->x_dims == 3 && of->map[0] == of->x_shape[1] && of->map[1] == of->x_shape[2];
  data->plan.y_planes = config->task == DL_TASK_SEGMENTATION                                      ? (over ? 1 : -1)
                        : values && dl_y_may_be_image(&data->plan.shape, data->plan.shape.y_size) ? -1
                                                                                                  : 0;
  data->plan.row_values = data->plan.shape.x_size + (config->task == DL_TASK_LANGUAGE_MODEL);
  int64_t classes = 0;
  for (int s = 0; s < DL_SPLITS; s++) DL_TRY(take_split(data, config, s, &splits[s], &classes));
  if (!data->plan.shape.classes) data->plan.shape.classes = classes;
  return cut_valid(data, config);
}

dl_status dl_data_from_arrays(dl_team *team, const dl_config *config, const dl_data_shape *shape,
                              const dl_data_arrays splits[DL_SPLITS], dl_data **out) {
  *out = NULL;
  dl_data *data = dl_calloc(1, sizeof *data);
  dl_status status = data ? DL_OK : DL_ERR_NOMEM;
  if (data) data->team = team;
  if (status == DL_OK) status = take_arrays(data, config, shape, splits);
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_data_finish(data, config, splits[DL_SPLIT_TRAIN].samples > 0);
  if (status == DL_OK)
    *out = data;
  else
    dl_data_destroy(&data);
  return status;
}

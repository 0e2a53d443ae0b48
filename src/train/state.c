/* state.c - a model to and from a checkpoint. The members gather at member 0, which alone touches the disk. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "train/best.h"
#include "train/model.h"

#define STATE_VERSION 1

/* Views of buffers: the weights, then each optimizer slot with its name in front, then what top-k compression has left
 * behind of each shard, a tensor of the whole buffer's length. */
typedef struct buffers {
  int sets;              /* weights and slots */
  int64_t residuals;     /* shards */
  float *values;         /* (sets + residuals) x group->count, on member 0 */
  dl_tensor_view *views; /* sets x n_tensors + residuals */
  dl_checkpoint checkpoint;
} buffers;

static void buffers_free(buffers *b) {
  free(b->values);
  free(b->views);
}

static void view_residuals(const dl_model *model, buffers *b) {
  const size_t count = model->group.count;
  for (int64_t k = 0; k < b->residuals; k++) {
    dl_tensor_view *view = &b->views[b->sets * model->group.n_tensors + k];
    *view = (dl_tensor_view){.dims = 1,
                             .shape = {(int64_t)count},
                             .count = count,
                             .values = b->values + ((size_t)b->sets + (size_t)k) * count};
    snprintf(view->name, sizeof view->name, "residual.%lld", (long long)k);
  }
}

/* `all`: not the weights alone. */
static dl_status buffers_make(const dl_model *model, bool with_values, bool all, buffers *b) {
  const dl_param_group *group = &model->group;
  *b = (buffers){.sets = all ? 1 + group->n_slots : 1};
  if (all && model->sync) b->residuals = dl_sync_residuals(model->sync);
  if (!with_values) return DL_OK;
  const size_t tensors = (size_t)b->sets * (size_t)group->n_tensors + (size_t)b->residuals;
  b->values = dl_calloc_aligned(((size_t)b->sets + (size_t)b->residuals) * group->count, sizeof(float));
  b->views = dl_calloc(tensors, sizeof *b->views);
  if (!b->values || !b->views) {
    buffers_free(b);
    *b = (buffers){0};
    return DL_ERR_NOMEM;
  }
  for (int s = 0; s < b->sets; s++)
    for (int t = 0; t < group->n_tensors; t++) {
      const dl_tensor *tensor = &group->tensors[t];
      dl_tensor_view *view = &b->views[s * group->n_tensors + t];
      *view = (dl_tensor_view){.dims = tensor->dims,
                               .count = tensor->count,
                               .values = b->values + (size_t)s * group->count + tensor->offset};
      memcpy(view->shape, tensor->shape, sizeof view->shape);
      snprintf(view->name, sizeof view->name, "%s%s%s", s ? dl_optimizer_slot_name(model->optimizer, s - 1) : "",
               s ? "." : "", tensor->name);
    }
  view_residuals(model, b);
  b->checkpoint = (dl_checkpoint){.model = b->views,
                                  .n_model = group->n_tensors,
                                  .optimizer = b->views + group->n_tensors,
                                  .n_optimizer = (int)(tensors - (size_t)group->n_tensors)};
  return DL_OK;
}

/* Buffer `i` of all of them; NULL but on member 0. */
static float *buffer_at(const dl_model *model, const buffers *b, int64_t i) {
  return b->values ? b->values + (size_t)i * model->group.count : NULL;
}

/* ---- state.json ---- */

static dl_json *norm_json(const dl_norm *norm) {
  char kind[32];
  dl_json *object = dl_json_object(), *shift = dl_json_array(), *scale = dl_json_array();
  for (int64_t i = 0; i < norm->n; i++) {
    dl_json_put_real(shift, NULL, (double)norm->shift[i]);
    dl_json_put_real(scale, NULL, (double)norm->scale[i]);
  }
  dl_json_put_string(object, "kind", dl_choice_name(DL_NORMALIZE_NAMES, norm->kind, kind, sizeof kind));
  dl_json_put(object, "shift", shift);
  dl_json_put(object, "scale", scale);
  return object;
}

/* What `auto` stood for: a resume takes it from here. */
static dl_json *resolved_json(const dl_config *config) {
  static const char *const keys[] = {"sync.shards", "compute.backend", "data.shuffle", "data.normalize"};
  dl_json *object = dl_json_object();
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    const dl_node *node = dl_node_find(config->document.root, keys[i]);
    dl_json_put_string(object, keys[i], node ? node->text : NULL);
  }
  return object;
}

static dl_json *class_names_json(const dl_model *model) {
  dl_json *names = dl_json_array();
  for (int i = 0; i < model->n_class_names; i++) dl_json_put_string(names, NULL, model->class_names[i]);
  return names;
}

static dl_json *shape_json(const dl_data_shape *shape) {
  dl_json *dims = dl_json_array();
  for (int d = 0; d < shape->x_dims; d++) dl_json_put_int(dims, NULL, shape->x_shape[d]);
  return dims;
}

/* What the schedule carries; a best loss that is not there yet becomes null. */
static dl_json *schedule_json(const dl_schedule *schedule) {
  const dl_schedule_state *state = dl_schedule_state_of(schedule);
  dl_json *object = dl_json_object();
  dl_json_put_real(object, "factor", state->factor);
  dl_json_put_real(object, "best", state->best);
  dl_json_put_int(object, "bad_epochs", state->bad_epochs);
  dl_json_put_int(object, "cooldown", state->cooldown);
  return object;
}

static dl_status state_json(const dl_model *model, const dl_json *fingerprint, dl_json **out) {
  char *config = NULL;
  DL_TRY(dl_config_write(model->config, &config));
  dl_json *state = dl_json_object();
  dl_json_put_int(state, "version", STATE_VERSION);
  dl_json_put_string(state, "dldist", DLDIST_VERSION);
  dl_json_put_int(state, "epoch", model->at.epoch);
  dl_json_put_int(state, "step_in_epoch", model->at.step_in_epoch);
  dl_json_put_int(state, "step", model->at.step);
  dl_json_put_real(state, "seconds", model->at.seconds);
  dl_json_put_int(state, "seed", model->config->seed);
  dl_json_put_int(state, "shards", model->shards);
  dl_json_put_int(state, "batch", model->config->train.batch);
  dl_json_put_int(state, "train_samples", dl_data_samples(model->data, DL_SPLIT_TRAIN));
  dl_json_put(state, "x_shape", shape_json(dl_data_shape_of(model->data)));
  dl_json_put_int(state, "outputs", dl_net_outputs(model->net));
  dl_json_put(state, "resolved", resolved_json(model->config));
  dl_json_put(state, "class_names", class_names_json(model));
  dl_json_put(state, "normalize", norm_json(&model->norm));
  if (dl_schedule_kind_of(model->schedule)->observe) dl_json_put(state, "schedule", schedule_json(model->schedule));
  if (dl_best_is_wanted(model->config)) dl_json_put(state, "best", dl_best_json(model));
  dl_json_put(state, "fingerprint", dl_json_copy(fingerprint));
  dl_json_put_string(state, "config", config);
  free(config);
  *out = state;
  return DL_OK;
}

/* ---- saving ---- */

static dl_status get_buffers(dl_model *model, buffers *b) {
  for (int s = 0; s < b->sets; s++) DL_TRY(dl_sync_get(model->sync, s - 1, buffer_at(model, b, s), 0));
  for (int64_t k = 0; k < b->residuals; k++)
    DL_TRY(dl_sync_get_residual(model->sync, k, buffer_at(model, b, b->sets + k), 0));
  return DL_OK;
}

dl_status dl_model_save(dl_model *model, const char *folder, int64_t keep, const dl_json *fingerprint,
                        dl_checkpoint_written *out) {
  bool root = model->team->rank == 0;
  buffers b;
  dl_status status = dl_team_agree(model->team, buffers_make(model, root, true, &b));
  if (status == DL_OK) status = get_buffers(model, &b);
  if (status == DL_OK && root) {
    status = state_json(model, fingerprint, &b.checkpoint.state);
    const dl_checkpoint_place place = {model->at.step, keep, dl_best_kept_step(model), model->best.weights};
    if (status == DL_OK) status = dl_checkpoint_write(folder, &place, &b.checkpoint, out);
    if (status == DL_OK && model->best.step == model->at.step)
      memcpy(model->best.weights, out->weights.hex, sizeof model->best.weights);
    dl_json_destroy(&b.checkpoint.state);
  }
  buffers_free(&b);
  return dl_team_agree(model->team, status);
}

dl_status dl_model_digest(dl_model *model, dl_digest *out) {
  buffers b;
  dl_status status = dl_team_agree(model->team, buffers_make(model, model->team->rank == 0, false, &b));
  if (status == DL_OK && model->sync) status = dl_sync_get(model->sync, -1, b.values, 0);
  if (status == DL_OK && !model->sync && b.values)
    memcpy(b.values, model->weights, model->group.count * sizeof *b.values);
  if (status == DL_OK && model->team->rank == 0) status = dl_tensors_digest(b.views, model->group.n_tensors, out);
  buffers_free(&b);
  return dl_team_agree(model->team, status);
}

/* ---- loading ---- */

dl_status dl_state_shape(const dl_json *state, dl_data_shape *out) {
  const dl_json *dims = dl_json_get(state, "x_shape");
  *out = (dl_data_shape){.x_dims = (int)dl_json_size(dims), .x_size = 1};
  bool sound = out->x_dims >= 1 && out->x_dims <= DL_MAX_DIMS;
  for (int d = 0; sound && d < out->x_dims; d++) {
    out->x_shape[d] = dl_json_int(dl_json_at(dims, (size_t)d), 0);
    sound = out->x_shape[d] >= 1 && !__builtin_mul_overflow(out->x_size, out->x_shape[d], &out->x_size);
  }
  out->y_size = dl_json_int(dl_json_get(state, "outputs"), 0);
  if (!sound || out->y_size < 1) return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no sound shapes");
  return DL_OK;
}

static dl_status read_position(const dl_model *model, const dl_json *state, dl_position *at) {
  *at = (dl_position){
      .epoch = dl_json_int(dl_json_get(state, "epoch"), -1),
      .step_in_epoch = dl_json_int(dl_json_get(state, "step_in_epoch"), -1),
      .step = dl_json_int(dl_json_get(state, "step"), -1),
      .seconds = dl_json_real(dl_json_get(state, "seconds"), 0),
  };
  int64_t samples = dl_json_int(dl_json_get(state, "train_samples"), -1), steps = dl_model_steps_per_epoch(model);
  if (dl_json_int(dl_json_get(state, "version"), 0) != STATE_VERSION)
    return dl_fail(DL_ERR_DATA, "the checkpoint's state.json is of another version than %d", STATE_VERSION);
  if (samples != dl_data_samples(model->data, DL_SPLIT_TRAIN)) {
    dl_fail(DL_ERR_DATA, "the checkpoint was trained on %lld samples, but the data set now has %lld",
            (long long)samples, (long long)dl_data_samples(model->data, DL_SPLIT_TRAIN));
    return dl_hint("put the data set back, or begin a new run");
  }
  if (at->epoch < 0 || at->step_in_epoch < 0 || at->step_in_epoch >= steps || at->epoch > INT64_MAX / steps - 1 ||
      at->step != at->epoch * steps + at->step_in_epoch)
    return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no sound position");
  return DL_OK;
}

static dl_status read_schedule(const dl_model *model, const dl_json *state) {
  const dl_json *kept = dl_json_get(state, "schedule");
  if (!dl_schedule_kind_of(model->schedule)->observe) return DL_OK;
  dl_schedule_state now = {.factor = dl_json_real(dl_json_get(kept, "factor"), -1),
                           .best = dl_json_real(dl_json_get(kept, "best"), INFINITY),
                           .bad_epochs = dl_json_int(dl_json_get(kept, "bad_epochs"), -1),
                           .cooldown = dl_json_int(dl_json_get(kept, "cooldown"), -1)};
  if (!(now.factor >= 0 && now.factor <= 1) || now.bad_epochs < 0 || now.cooldown < 0)
    return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no sound `schedule`");
  dl_schedule_set_state(model->schedule, &now);
  return DL_OK;
}

static dl_status set_buffers(dl_model *model, const buffers *b) {
  for (int s = 0; s < b->sets; s++) DL_TRY(dl_sync_set(model->sync, s - 1, buffer_at(model, b, s), 0));
  for (int64_t k = 0; k < b->residuals; k++)
    DL_TRY(dl_sync_set_residual(model->sync, k, buffer_at(model, b, b->sets + k), 0));
  return DL_OK;
}

dl_status dl_model_load(dl_model *model, const char *path, const dl_json *state) {
  bool root = model->team->rank == 0;
  buffers b = {0};
  dl_position at;
  dl_status status = read_position(model, state, &at);
  if (status == DL_OK) status = read_schedule(model, state);
  if (status == DL_OK) status = dl_best_read(model, state);
  if (status == DL_OK) status = buffers_make(model, root, true, &b);
  if (status == DL_OK && root) status = dl_checkpoint_read(path, &b.checkpoint);
  status = dl_team_agree(model->team, status);
  if (status == DL_OK) status = set_buffers(model, &b);
  if (status == DL_OK) model->at = at;
  buffers_free(&b);
  return status;
}

dl_status dl_model_load_weights(dl_model *model, const char *path) {
  const bool root = model->team->rank == 0;
  buffers b = {0};
  dl_status status = buffers_make(model, root, false, &b);
  if (status == DL_OK && root) {
    b.checkpoint.optimizer = NULL;
    status = dl_checkpoint_read(path, &b.checkpoint);
  }
  status = dl_team_agree(model->team, status);
  if (status == DL_OK) status = dl_sync_set(model->sync, -1, b.values, 0);
  buffers_free(&b);
  return status;
}

/* model.c - building a model in the one order that works: data, network, weights. */
#include "train/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "nn/gemm.h"
#include "report/format.h"
#include "train/ps_role.h"
#include "train/start_weights.h"

bool dl_task_has_labels(int task) {
  return task == DL_TASK_CLASSIFICATION || task == DL_TASK_LANGUAGE_MODEL || task == DL_TASK_SEGMENTATION;
}

bool dl_task_is_yes_or_no(int task) { return task == DL_TASK_BINARY || task == DL_TASK_MULTILABEL; }

/* Large images go in smaller blocks: a workspace for many of them would be larger than that for a leaf. */
int64_t dl_eval_block(const dl_model *model) {
  const dl_data_shape *shape = dl_data_shape_of(model->data);
  if (model->config->task == DL_TASK_LANGUAGE_MODEL) {
    const int64_t samples = DL_EVAL_TOKENS / model->config->data.sequence;
    return samples < 1 ? 1 : samples > DL_EVAL_BLOCK ? DL_EVAL_BLOCK : samples;
  }
  int64_t block = DL_EVAL_BLOCK;
  while (block > 1 && shape->x_size > DL_EVAL_FLOATS / block) block /= 2;
  return block;
}

int64_t dl_model_steps_per_epoch(const dl_model *model) {
  return dl_data_steps(model->data, model->config->train.batch, model->config->train.drop_last);
}

dl_pass dl_model_pass(const dl_model *model, int64_t first) {
  return (dl_pass){.training = true,
                   .seed = (uint64_t)model->config->seed,
                   .step = (uint32_t)model->at.step,
                   .first_sample = (uint64_t)first};
}

static dl_status resolve_int(dl_config *config, const char *path, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)value);
  return dl_config_resolve(config, path, text);
}

static dl_status resolve_choice(dl_config *config, const char *path, const char *choices, int index) {
  char text[64];
  return dl_config_resolve(config, path, dl_choice_name(choices, index, text, sizeof text));
}

/* ---- what `auto` stands for ---- */

#define MAX_SHARDS 1000000 /* as its option has it */

/* The value that the run began with, where it goes on from a checkpoint: NULL for none. */
static const char *kept_value(const dl_model_source *source, const char *key) {
  return dl_json_string(dl_json_get(dl_json_get(source->state, "resolved"), key));
}

static dl_status read_kept_shards(const char *kept, int64_t *shards) {
  char *end;
  *shards = strtoll(kept, &end, 10); /* out of its range: an extreme value, out of ours too */
  if (end != kept && !*end && *shards >= 1 && *shards <= MAX_SHARDS) return DL_OK;
  return dl_fail(DL_ERR_DATA, "the checkpoint's sync.shards is out of range");
}

static dl_status resolve_shards(dl_model *model, const dl_model_source *source) {
  dl_config *config = model->config;
  const char *kept = kept_value(source, "sync.shards");
  if (config->sync.shards == DL_AUTO && kept) DL_TRY(read_kept_shards(kept, &config->sync.shards));
  if (config->sync.shards == DL_AUTO) {
    int64_t shards = dl_shards_auto(config->train.batch);
    if (model->team->size > shards) {
      shards = model->team->size;
      dl_warn("shards",
              "sync.shards: auto was raised to %lld, the number of ranks; set sync.shards: %lld to get the same "
              "bits at other numbers of ranks",
              (long long)shards, (long long)shards);
    }
    config->sync.shards = shards;
  }
  model->shards = config->sync.shards;
  return resolve_int(config, "sync.shards", model->shards);
}

static dl_status resolve_backend(dl_model *model, const dl_model_source *source) {
  dl_config *config = model->config;
  const char *kept = kept_value(source, "compute.backend");
  int index = kept ? dl_choice_index(DL_BACKEND_NAMES, kept) : -1;
  if (config->compute.backend == DL_BACKEND_AUTO && index > 0) config->compute.backend = index;
  const dl_gemm_backend *backend = dl_gemm_choose(config->compute.backend);
  if (!backend) return dl_error_last()->status;
  config->compute.backend = dl_choice_index(DL_BACKEND_NAMES, backend->name);
  return dl_config_resolve(config, "compute.backend", backend->name);
}

/* ---- data ---- */

static dl_status copy_norm(dl_norm *to, const dl_norm *from) {
  dl_norm_clear(to);
  size_t bytes = (size_t)from->n * sizeof(float);
  *to = (dl_norm){.kind = from->kind, .n = from->n};
  to->shift = dl_calloc((size_t)from->n, sizeof(float));
  to->scale = dl_calloc((size_t)from->n, sizeof(float));
  if (!to->shift || !to->scale) return DL_ERR_NOMEM;
  memcpy(to->shift, from->shift, bytes);
  memcpy(to->scale, from->scale, bytes);
  return DL_OK;
}

/* The figures that a checkpoint keeps. */
static dl_status norm_from_state(const dl_json *state, dl_norm *out) {
  const dl_json *norm = dl_json_get(state, "normalize"), *shift = dl_json_get(norm, "shift"),
                *scale = dl_json_get(norm, "scale");
  const char *kind = dl_json_string(dl_json_get(norm, "kind"));
  int index = kind ? dl_choice_index(DL_NORMALIZE_NAMES, kind) : -1;
  size_t n = dl_json_size(shift);
  if (index <= 0 || n < 1 || n != dl_json_size(scale))
    return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no sound `normalize`");
  *out = (dl_norm){.kind = index, .n = (int64_t)n};
  out->shift = dl_calloc(n, sizeof(float));
  out->scale = dl_calloc(n, sizeof(float));
  if (!out->shift || !out->scale) return DL_ERR_NOMEM;
  for (size_t i = 0; i < n; i++) {
    out->shift[i] = (float)dl_json_real(dl_json_at(shift, i), NAN);
    out->scale[i] = (float)dl_json_real(dl_json_at(scale, i), NAN);
    if (!isfinite(out->shift[i]) || !isfinite(out->scale[i]))
      return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has a `normalize` that is not finite");
  }
  return DL_OK;
}

/* "(1, 28, 28)" */
static const char *shape_text(const dl_data_shape *shape, char *text, size_t size) {
  size_t used = 0;
  for (int d = 0; d < shape->x_dims && used < size; d++)
    used += (size_t)snprintf(text + used, size - used, "%s%lld", d ? ", " : "(", (long long)shape->x_shape[d]);
  if (used < size) snprintf(text + used, size - used, ")");
  return text;
}

static dl_status fail_shape(const dl_data_shape *now, const dl_data_shape *then) {
  char x[160], y[160];
  return dl_fail(DL_ERR_DATA, "the data set's samples have the shape %s, but the model was trained on %s",
                 shape_text(now, x, sizeof x), shape_text(then, y, sizeof y));
}

/* Whether a sample's values stand in the same order: shapes that are equal but for dimensions of 1, or of which one is
 * flat. Images with channels last read as channels first have as many values, and none in its place. */
static bool same_order(const dl_data_shape *a, const dl_data_shape *b) {
  if (a->x_size != b->x_size) return false;
  if (a->x_dims == 1 || b->x_dims == 1) return true;
  int i = 0, j = 0;
  for (;; i++, j++) {
    while (i < a->x_dims && a->x_shape[i] == 1) i++;
    while (j < b->x_dims && b->x_shape[j] == 1) j++;
    if (i == a->x_dims || j == b->x_dims) return i == a->x_dims && j == b->x_dims;
    if (a->x_shape[i] != b->x_shape[j]) return false;
  }
}

/* What differs otherwise is for the network to judge: it may begin with `flatten`. */
static dl_status check_kept_shape(const dl_model *model, const dl_json *state) {
  dl_data_shape kept;
  DL_TRY(dl_state_shape(state, &kept));
  const dl_data_shape *shape = dl_data_shape_of(model->data);
  return same_order(shape, &kept) ? DL_OK : fail_shape(shape, &kept);
}

static dl_status use_kept_norm(dl_model *model, const dl_json *state) {
  dl_norm norm = {0};
  dl_status status = norm_from_state(state, &norm);
  if (status == DL_OK) status = dl_data_set_norm(model->data, &norm);
  dl_norm_clear(&norm);
  return status;
}

static dl_status keep_class_names(dl_model *model) {
  int n;
  const char *const *names = dl_data_class_names(model->data, &n);
  if (!names || !n) return DL_OK;
  model->class_names = dl_calloc((size_t)n, sizeof *model->class_names);
  if (!model->class_names) return DL_ERR_NOMEM;
  model->n_class_names = n;
  for (int i = 0; i < n; i++)
    if (!(model->class_names[i] = dl_strdup(names[i]))) return DL_ERR_NOMEM;
  return DL_OK;
}

static bool has_embedding(const dl_node *node) {
  static const char word[] = "embedding";
  if (node->kind == DL_NODE_SCALAR) return !node->key && !strcmp(node->text, word);
  for (const dl_node *child = node->first; child; child = child->next)
    if ((child->key && !strcmp(child->key, word)) || has_embedding(child)) return true;
  return false;
}

/* What an embedding reads is not to be normalised. */
static void keep_tokens(dl_config *config) {
  if (config->data.normalize == DL_NORMALIZE_AUTO && config->model && has_embedding(config->model))
    config->data.normalize = DL_NORMALIZE_NONE;
}

static dl_status open_data(dl_model *model, const dl_model_source *source) {
  keep_tokens(model->config);
  if (source->shape)
    DL_TRY(dl_data_from_arrays(model->team, model->config, source->shape, source->arrays, &model->data));
  else
    DL_TRY(dl_data_open(model->team, model->config, source->need, &model->data));
  dl_status status = source->state ? check_kept_shape(model, source->state) : DL_OK;
  if (status == DL_OK && source->state) status = use_kept_norm(model, source->state);
  if (status == DL_OK) status = keep_class_names(model);
  if (status == DL_OK) status = copy_norm(&model->norm, dl_data_norm(model->data));
  if (status == DL_OK)
    status = resolve_choice(model->config, "data.shuffle", DL_SHUFFLE_NAMES, dl_data_shuffle(model->data));
  /* What the user asked for stays, or a resume could not tell it from what the checkpoint holds. */
  int normalize = model->config->data.normalize;
  if (normalize == DL_NORMALIZE_AUTO) normalize = model->norm.kind;
  if (status == DL_OK) status = resolve_choice(model->config, "data.normalize", DL_NORMALIZE_NAMES, normalize);
  return dl_team_agree(model->team, status);
}

/* ---- network ---- */

static dl_status make_batch(dl_model *model, int64_t most) {
  const dl_data_shape *shape = dl_data_shape_of(model->data);
  bool labels = dl_task_has_labels(model->config->task);
  model->batch.x = dl_net_input(model->net);
  const bool weighted = model->config->task != DL_TASK_LANGUAGE_MODEL;
  if (weighted) model->batch.weight = dl_calloc_aligned((size_t)most, sizeof(float));
  if (labels)
    model->batch.label = dl_calloc_aligned((size_t)(most * dl_net_rows(model->net)), sizeof(int32_t));
  else
    model->batch.y = dl_calloc_aligned((size_t)(most * (shape->y_size > 0 ? shape->y_size : 1)), sizeof(float));
  return (model->batch.weight || !weighted) && (model->batch.label || model->batch.y) ? DL_OK : DL_ERR_NOMEM;
}

/* Labels against outputs: too large ones are bad data, classes that never come are worth a word. */
static dl_status check_classes(const dl_model *model) {
  int64_t outputs = dl_net_outputs(model->net), classes = dl_data_shape_of(model->data)->classes;
  if (!dl_task_has_labels(model->config->task)) return DL_OK;
  if (model->config->task == DL_TASK_LANGUAGE_MODEL) {
    if (classes <= outputs) return DL_OK;
    return dl_fail(DL_ERR_DATA, "the data set has %lld tokens, but the model has %lld outputs", (long long)classes,
                   (long long)outputs);
  }
  DL_TRY(dl_data_check_labels(model->data, outputs));
  if (classes > outputs) {
    dl_fail(DL_ERR_DATA, "the data set's labels are one-hot rows of %lld columns, but the model has %lld outputs",
            (long long)classes, (long long)outputs);
    return dl_hint("make the last layer `dense: %lld`", (long long)classes);
  }
  if (classes && classes < outputs && !model->n_class_names)
    dl_warn("classes", "the model has %lld outputs, but the data set has labels of %lld class%s only",
            (long long)outputs, (long long)classes, classes == 1 ? "" : "es");
  return DL_OK;
}

/* How often each class comes, where the loss asks: `class_weights: balanced`. *counts is NULL where it does not. */
static dl_status count_classes(const dl_model *model, int64_t **counts, int64_t *classes) {
  const dl_node *word = model->config->loss ? dl_node_get(model->config->loss, "class_weights") : NULL;
  const int64_t samples = dl_data_samples(model->data, DL_SPLIT_TRAIN);
  *classes = dl_data_shape_of(model->data)->classes;
  *counts = NULL;
  if (!word || word->kind != DL_NODE_SCALAR || *classes < 1 || !dl_task_has_labels(model->config->task) ||
      model->config->task == DL_TASK_LANGUAGE_MODEL)
    return DL_OK;
  const int64_t each = dl_data_shape_of(model->data)->y_size, block = 1 + 256 / each;
  int32_t *label = dl_calloc((size_t)(block * each), sizeof *label);
  *counts = dl_calloc((size_t)*classes, sizeof **counts);
  dl_batch batch = {.label = label};
  dl_status status = label && *counts ? DL_OK : DL_ERR_NOMEM;
  for (int64_t i = 0; i < samples && status == DL_OK; i += block) {
    const int64_t end = i + block < samples ? i + block : samples;
    status = dl_data_read(model->data, DL_SPLIT_TRAIN, i, end, &batch);
    for (int64_t k = 0; k < (end - i) * each && status == DL_OK; k++)
      if (label[k] >= 0 && label[k] < *classes && !dl_data_ignores(model->data, label[k])) (*counts)[label[k]]++;
  }
  free(label);
  return status;
}

/* Tokens against the vocabulary of the embedding that reads them. */
static dl_status check_tokens(const dl_model *model) {
  const int64_t limit = dl_net_token_limit(model->net), classes = dl_data_shape_of(model->data)->classes;
  if (!limit) return DL_OK;
  if (model->norm.kind != DL_NORMALIZE_NONE)
    return dl_config_fail(model->config, "data.normalize", "an embedding reads tokens: data.normalize must be none");
  if (model->config->task != DL_TASK_LANGUAGE_MODEL) return dl_data_check_tokens(model->data, limit);
  if (classes <= limit) return DL_OK;
  dl_fail(DL_ERR_DATA, "the data set has %lld tokens, but the embedding's vocabulary is of %lld", (long long)classes,
          (long long)limit);
  return dl_hint("set vocabulary: %lld", (long long)classes);
}

/* `trains`: maps of labels must be as the network's outputs; else whoever wants them looks. */
static dl_status make_net(dl_model *model, int64_t most, int64_t outputs, bool trains) {
  const dl_data_shape *shape = dl_data_shape_of(model->data);
  dl_net_spec spec = {.config = model->config, .x_dims = shape->x_dims, .outputs = outputs, .max_batch = most};
  memcpy(spec.x_shape, shape->x_shape, sizeof spec.x_shape);
  for (int s = 0; trains && s < DL_SPLITS; s++)
    if (dl_data_has_y(model->data, (dl_split_kind)s)) memcpy(spec.map, shape->map, sizeof spec.map);
  spec.most_bytes = dl_memory_bytes() / (size_t)model->team->node_size;
  int64_t *counts;
  dl_status status = count_classes(model, &counts, &spec.n_class_counts);
  spec.class_counts = counts;
  if (status == DL_OK) status = dl_net_new(&spec, &model->net);
  free(counts);
  DL_TRY(status);
  DL_TRY(check_classes(model));
  DL_TRY(check_tokens(model));
  model->group.tensors = dl_net_tensors(model->net, &model->group.n_tensors);
  model->group.count = dl_net_buffer_count(model->net);
  return make_batch(model, most);
}

/* What the data asks of the last layer; 0: only that labels fit (check_classes). */
static int64_t outputs_wanted(const dl_model *model) {
  if (model->config->task == DL_TASK_LANGUAGE_MODEL) return dl_data_shape_of(model->data)->classes;
  if (dl_task_has_labels(model->config->task)) return model->n_class_names;
  return dl_data_shape_of(model->data)->y_size;
}

/* Such a model learns to copy what it is asked for; its loss says nothing. */
static void warn_of_looking_ahead(const dl_model *model) {
  const int layer = dl_net_looks_ahead(model->net);
  char text[160];
  if (model->config->task != DL_TASK_LANGUAGE_MODEL || layer < 0) return;
  dl_warn(
      "looks_ahead",
      "%s sees the tokens that the model is asked for: its loss says nothing (give attention causal: true, recurrent "
      "layers bidirectional: false)",
      dl_net_layer_text(model->net, layer, text, sizeof text));
}

static void warn_of_long_warmup(const dl_model *model, int64_t steps) {
  const int64_t warmup = dl_schedule_warmup(model->schedule);
  if (warmup >= steps && warmup > 0)
    dl_warn("warmup", "schedule.warmup_steps: %lld, but the whole run has %lld steps: it ends before the warm-up does",
            (long long)warmup, (long long)steps);
}

static dl_status check_trainable(const dl_model *model) {
  for (int i = 0; i < model->group.n_tensors; i++)
    if (model->group.tensors[i].trainable) return DL_OK;
  dl_config_fail(model->config, "model", "no layer of the model is trained");
  return dl_hint("leave `trainable: false` away in one of them");
}

static dl_status make_training(dl_model *model) {
  dl_config *config = model->config;
  DL_TRY(check_trainable(model));
  DL_TRY(dl_optimizer_new(config, &model->optimizer));
  DL_TRY(dl_data_set_order(model->data, config, model->shards));
  int64_t epoch_steps = dl_model_steps_per_epoch(model);
  if (epoch_steps < 1)
    return dl_config_fail(config, "train.batch",
                          "train.batch of %lld with drop_last leaves no step: the training split has %lld samples",
                          (long long)config->train.batch, (long long)dl_data_samples(model->data, DL_SPLIT_TRAIN));
  DL_TRY(dl_schedule_new(config, epoch_steps * config->train.epochs, epoch_steps, &model->schedule));
  if (dl_schedule_kind_of(model->schedule)->observe && !dl_data_has_y(model->data, DL_SPLIT_VALID)) {
    dl_config_fail(config, "schedule", "schedule %s watches the validation loss, but there is no validation split",
                   dl_schedule_kind_of(model->schedule)->name);
    return dl_hint("set data.valid, for example to 0.1");
  }
  dl_optimizer_wire(model->optimizer, &model->group);
  warn_of_long_warmup(model, epoch_steps * config->train.epochs);
  warn_of_looking_ahead(model);
  return DL_OK;
}

static dl_model *begin(dl_team *team, dl_config *config) {
  dl_model *model = dl_calloc(1, sizeof *model);
  if (!model) {
    dl_config_destroy(&config);
    return NULL;
  }
  model->team = team;
  model->config = config;
  dl_team_be_patient(team); /* data may come from a slow disk; steps have sync.timeout */
  return model;
}

static dl_status resolve_before_data(dl_model *model, const dl_model_source *source) {
  DL_TRY(resolve_shards(model, source));
  return resolve_backend(model, source);
}

static int64_t largest_pass(const dl_model *model) {
  int64_t leaf = (model->config->train.batch + model->shards - 1) / model->shards;
  const int64_t block = dl_eval_block(model);
  return leaf > block ? leaf : block;
}

/* A worker's weights come from its servers. */
static dl_status place_own_weights(dl_model *model) {
  model->private_weights = dl_calloc_aligned(model->group.count, sizeof *model->private_weights);
  model->weights = model->private_weights;
  return dl_team_agree(model->team, model->weights ? DL_OK : DL_ERR_NOMEM);
}

/* Weights, optimizer state and gradients against what the node has: who touches more is ended without a word. What topk
 * leaves behind is there twice where the first member writes a checkpoint. */
static dl_status check_memory(const dl_model *model) {
  const int members = model->team->node_size;
  const bool keeps = model->config->sync.compress == DL_COMPRESS_TOPK && dl_ps_role_of(model->config) <= DL_PS_TEAM;
  const double residuals = keeps ? (double)model->shards : 0; /* servers' workers have one of their own */
  const double copy = (double)model->group.count * sizeof(float),
               copies = 1 + (double)model->group.n_slots * members / model->team->size +
                        (model->team->node_first ? 0 : residuals);
  const double own = (1 + residuals / model->team->size) * copy + (double)dl_net_bytes(model->net),
               all = copies * copy + members * own;
  char count[DL_FIGURE_BYTES];
  if (all <= (double)dl_memory_bytes()) return DL_OK;
  dl_fail(
      DL_ERR_NOMEM,
      "out of memory: %s parameters take %.1f GB a node with the optimizer's state%s, and %.1f GB for each of its %d "
      "members; it has %.1f GB",
      dl_format_count(dl_net_parameters(model->net), count), 1e-9 * copies * copy,
      residuals > 0 ? " and a checkpoint of what topk leaves behind" : "", 1e-9 * own, members,
      1e-9 * (double)dl_memory_bytes());
  if (residuals > 0) return dl_hint("take fewer sync.shards: topk keeps a copy of the parameters for each");
  return dl_hint("take smaller layers, or fewer members on a node");
}

static dl_status build_training(dl_model *model, const dl_model_source *source) {
  DL_TRY(dl_team_agree(model->team, resolve_before_data(model, source)));
  DL_TRY(open_data(model, source));
  dl_status status = make_net(model, largest_pass(model), outputs_wanted(model), true);
  if (status == DL_OK) status = make_training(model);
  if (status == DL_OK) status = check_memory(model);
  DL_TRY(dl_team_agree(model->team, status));
  const dl_ps_role role = dl_ps_role_of(model->config);
  if (role == DL_PS_WORKER && !source->shape) return place_own_weights(model);
  dl_ps_options ps;
  dl_digest digest;
  if (source->shape && (role == DL_PS_WORKER || role == DL_PS_SERVE))
    status = dl_fail(DL_ERR_USAGE, "sync.connect and sync.bind are for runs on files, not on arrays in memory");
  if (status == DL_OK) status = dl_ps_choose(model, &digest, &ps);
  DL_TRY(dl_team_agree(model->team, status));
  dl_sync_options options = {.transport = model->config->sync.transport,
                             .shards = model->shards,
                             .audit_every = model->config->sync.audit_every,
                             .recompute_every = model->config->sync.recompute_every,
                             .seed = (uint64_t)model->config->seed,
                             .norm_first = model->config->train.clip_norm > 0 || model->group.measure,
                             .overlap = model->config->sync.overlap,
                             .bucket_bytes = model->config->sync.bucket_mb * 1024 * 1024,
                             .compress = model->config->sync.compress,
                             .topk = model->config->sync.topk,
                             .batch = model->config->train.batch,
                             .ps = ps.role == DL_PS_NONE ? NULL : &ps};
  DL_TRY(dl_sync_new(model->team, &model->group, &options, &model->sync));
  model->weights = dl_sync_weights(model->sync);
  return dl_start_weights(model, source->state != NULL);
}

dl_status dl_model_new_training(dl_team *team, dl_config *config, const dl_model_source *source, dl_model **out) {
  dl_model *model = begin(team, config);
  DL_TRY(dl_team_agree(team, model ? DL_OK : DL_ERR_NOMEM));
  dl_status status = build_training(model, source);
  if (status == DL_OK)
    *out = model;
  else
    dl_model_destroy(&model);
  return status;
}

/* ---- evaluation alone ---- */

/* One copy of the weights a node where that can be had, else one a member. */
static dl_status place_weights(dl_model *model, float **where) {
  dl_team *team = model->team;
  size_t bytes = model->group.count * sizeof(float);
  if (team->ops->shared_new(team, bytes, "weights", &model->shared_weights) == DL_OK) {
    *where = model->shared_weights.base;
    return DL_OK;
  }
  model->shared_weights = (dl_shared){0};
  model->private_weights = dl_calloc_aligned(model->group.count, sizeof(float));
  *where = model->private_weights;
  return dl_team_agree(team, *where ? DL_OK : DL_ERR_NOMEM);
}

/* Member 0 reads; the others get the bytes: with shared weights one member of each node writes them. */
static dl_status load_weights(dl_model *model, const char *path) {
  dl_team *team = model->team;
  float *weights;
  DL_TRY(place_weights(model, &weights));
  model->weights = weights;
  float *values = dl_calloc_aligned(model->group.count, sizeof *values);
  dl_tensor_view *views = dl_calloc((size_t)model->group.n_tensors, sizeof *views);
  dl_status status = values && views ? DL_OK : DL_ERR_NOMEM;
  for (int t = 0; status == DL_OK && t < model->group.n_tensors; t++) {
    const dl_tensor *tensor = &model->group.tensors[t];
    views[t] = (dl_tensor_view){.dims = tensor->dims, .count = tensor->count, .values = values + tensor->offset};
    snprintf(views[t].name, sizeof views[t].name, "%s", tensor->name);
    memcpy(views[t].shape, tensor->shape, sizeof views[t].shape);
  }
  dl_checkpoint checkpoint = {.model = views, .n_model = model->group.n_tensors};
  if (status == DL_OK && team->rank == 0) status = dl_checkpoint_read(path, &checkpoint);
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_team_broadcast(team, values, model->group.count * sizeof *values, 0);
  if (status == DL_OK && (!model->shared_weights.base || team->node_rank == 0))
    memcpy(weights, values, model->group.count * sizeof *values); /* NOLINT: both were agreed to be there */
  if (status == DL_OK) status = dl_team_barrier(team, "loading weights");
  free(values);
  free(views);
  return status;
}

/* Names that the checkpoint keeps, where the data set has none or there is none. */
static dl_status take_kept_names(dl_model *model, const dl_json *state) {
  const dl_json *names = dl_json_get(state, "class_names");
  const size_t n = dl_json_is_array(names) ? dl_json_size(names) : 0;
  if (model->n_class_names || !n || n > INT32_MAX) return DL_OK;
  model->class_names = dl_calloc(n, sizeof *model->class_names);
  if (!model->class_names) return DL_ERR_NOMEM;
  model->n_class_names = (int)n;
  for (size_t i = 0; i < n; i++) {
    const char *name = dl_json_string(dl_json_at(names, i));
    if (!(model->class_names[i] = dl_strdup(name ? name : ""))) return DL_ERR_NOMEM;
  }
  return DL_OK;
}

static dl_status build_from_checkpoint(dl_model *model, const dl_model_source *source, const char *path) {
  DL_TRY(dl_team_agree(model->team, resolve_before_data(model, source)));
  DL_TRY(open_data(model, source));
  dl_status status = take_kept_names(model, source->state);
  if (status == DL_OK) status = make_net(model, dl_eval_block(model), 0, false);
  dl_data_shape kept;
  if (status == DL_ERR_USAGE && dl_state_shape(source->state, &kept) == DL_OK) /* it was sound for its own data */
    status = fail_shape(dl_data_shape_of(model->data), &kept);
  if (status == DL_OK && !dl_task_has_labels(model->config->task)) {
    int64_t wanted = dl_data_shape_of(model->data)->y_size;
    if (wanted && wanted != dl_net_outputs(model->net))
      status = dl_fail(DL_ERR_DATA, "the data set has %lld values of y a sample, but the model gives %lld",
                       (long long)wanted, (long long)dl_net_outputs(model->net));
  }
  model->at.epoch = dl_json_int(dl_json_get(source->state, "epoch"), 0);
  model->at.step = dl_json_int(dl_json_get(source->state, "step"), 0);
  DL_TRY(dl_team_agree(model->team, status));
  return load_weights(model, path);
}

dl_status dl_model_new_from_checkpoint(dl_team *team, dl_config *config, const dl_model_source *source,
                                       const char *path, dl_model **out) {
  dl_model *model = begin(team, config);
  DL_TRY(dl_team_agree(team, model ? DL_OK : DL_ERR_NOMEM));
  dl_status status = build_from_checkpoint(model, source, path);
  if (status == DL_OK)
    *out = model;
  else
    dl_model_destroy(&model);
  return status;
}

void dl_model_destroy(dl_model **model) {
  dl_model *m = *model;
  if (!m) return;
  dl_sync_destroy(&m->sync);
  if (m->shared_weights.base) m->team->ops->shared_destroy(m->team, &m->shared_weights);
  free(m->private_weights);
  dl_schedule_destroy(&m->schedule);
  dl_optimizer_destroy(&m->optimizer);
  dl_net_destroy(&m->net);
  dl_data_destroy(&m->data);
  dl_norm_clear(&m->norm);
  free(m->batch.y);
  free(m->batch.label);
  free(m->batch.weight);
  free(m->given);
  for (int i = 0; i < m->n_class_names; i++) free(m->class_names[i]);
  free(m->class_names);
  dl_config_destroy(&m->config);
  free(m);
  *model = NULL;
}

dl_status dl_model_summary(const dl_model *model, char **out) { return dl_net_summary(model->net, out); }

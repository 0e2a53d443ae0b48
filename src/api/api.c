/* api.c - the public interface over the floors below.
 *
 * A network gathers text (a configuration, layers, settings) until it is trained; from then on it has a dl_model. Work
 * on arrays of the caller's that are not the model's own data set goes through a second dl_data over those arrays, with
 * the model's normalisation: the same path that training data take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/network.h"
#include "comm/launch.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "train/best.h"
#include "train/fingerprint.h"
#include "train/judge.h"
#include "train/run.h"

const char *dl_version(void) { return DLDIST_VERSION; }

const char *dl_last_error(void) {
  static _Thread_local char text[1400];
  return dl_error_format(dl_error_last(), text, sizeof text);
}

/* ---- context ---- */

static dl_status open_context(dl_team_where where, const void *communicator, dl_context **out) {
  dl_context *context = dl_calloc(1, sizeof *context);
  if (!context) return DL_ERR_NOMEM;
  dl_status status = dl_team_open(DL_TEAM_ALONE, NULL, &context->alone);
  if (status == DL_OK) status = dl_team_open(where, communicator, &context->team);
  if (status == DL_OK)
    *out = context;
  else
    dl_context_close(&context);
  return status;
}

dl_status dl_context_open(dl_context **out) { return open_context(DL_TEAM_LAUNCHED, NULL, out); }
dl_status dl_context_open_over(const void *communicator, dl_context **out) {
  return open_context(DL_TEAM_OVER, communicator, out);
}
dl_status dl_context_open_fortran(int communicator, dl_context **out) {
  return open_context(DL_TEAM_FORTRAN, &communicator, out);
}

void dl_context_close(dl_context **context) {
  if (!*context) return;
  dl_team_close(&(*context)->team);
  dl_team_close(&(*context)->alone);
  free(*context);
  *context = NULL;
}

int dl_context_rank(const dl_context *context) { return context->team->rank; }
int dl_context_size(const dl_context *context) { return context->team->size; }

/* ---- network ---- */

static dl_status list_add(text_list *list, char *text) {
  char **more = text ? dl_reallocarray(list->text, (size_t)list->n + 1, sizeof *more) : NULL;
  if (!more) {
    free(text);
    return DL_ERR_NOMEM;
  }
  list->text = more;
  list->text[list->n++] = text;
  return DL_OK;
}

static void list_clear(text_list *list) {
  for (int i = 0; i < list->n; i++) free(list->text[i]);
  free(list->text);
  *list = (text_list){0};
}

dl_status dl_network_new(dl_context *context, dl_network **out) {
  dl_network *network = dl_calloc(1, sizeof *network);
  if (!network) return DL_ERR_NOMEM;
  network->context = context;
  *out = network;
  return DL_OK;
}

void dl_network_close(dl_network **network) {
  dl_network *n = *network;
  if (!n) return;
  dl_model_destroy(&n->model);
  list_clear(&n->layers);
  list_clear(&n->settings);
  free(n->config);
  free(n->config_name);
  for (int s = 0; s < DL_SPLITS; s++) free(n->owned[s]);
  free(n);
  *network = NULL;
}

dl_status dl_network_load_config(dl_network *network, const char *path) {
  char *text = NULL, *name = dl_strdup(path);
  dl_status status = name ? dl_file_read(path, 1 << 20, DL_ERR_USAGE, &text, NULL) : DL_ERR_NOMEM;
  if (status != DL_OK) {
    free(name);
    return status;
  }
  free(network->config);
  free(network->config_name);
  network->config = text;
  network->config_name = name;
  return DL_OK;
}

dl_status dl_network_add(dl_network *network, const char *layer) {
  return list_add(&network->layers, dl_strdup(layer));
}

dl_status dl_network_set(dl_network *network, const char *key, const char *value) {
  return list_add(&network->settings, dl_asprintf("%s=%s", key, value));
}

/* The model's list, which may be absent or empty. A root that is no map is left to dl_config_from_document. */
static dl_status find_model(dl_node *root, dl_node **out) {
  char text[96];
  if (root->kind == DL_NODE_NULL) root->kind = DL_NODE_MAP;
  dl_node *model = *out = dl_node_get(root, "model");
  if (root->kind != DL_NODE_MAP) return DL_OK;
  if (!model) {
    if (!(model = *out = dl_node_new(root, DL_NODE_LIST, NULL))) return DL_ERR_NOMEM;
    return dl_node_put(root, "model", model);
  }
  if (model->kind == DL_NODE_NULL) model->kind = DL_NODE_LIST;
  if (model->kind == DL_NODE_LIST) return DL_OK;
  return dl_node_fail(model, false, "model must be a list of layers, not %s",
                      dl_node_describe(model, text, sizeof text));
}

/* Each layer is parsed on its own, so that an error names it, and appended to the model's list. */
static dl_status append_layers(const dl_network *network, dl_node *root) {
  dl_node *model;
  DL_TRY(find_model(root, &model));
  for (int i = 0; model && i < network->layers.n; i++) {
    dl_document document;
    char name[64];
    snprintf(name, sizeof name, "layer %d", i);
    DL_TRY(dl_document_parse(network->layers.text[i], strlen(network->layers.text[i]), name, &document));
    dl_node *layer = dl_node_clone(document.root, root->arena);
    dl_document_destroy(&document);
    if (!layer) return DL_ERR_NOMEM;
    DL_TRY(dl_node_put(model, NULL, layer));
  }
  return DL_OK;
}

/* File, then layers, then settings. */
static dl_status make_config(const dl_network *network, dl_config **out) {
  dl_document document;
  const char *text = network->config ? network->config : "",
             *name = network->config_name ? network->config_name : "(network)";
  DL_TRY(dl_document_parse(text, strlen(text), name, &document));
  dl_status status = network->layers.n ? append_layers(network, document.root) : DL_OK;
  if (status != DL_OK) {
    dl_document_destroy(&document);
    return status;
  }
  return dl_config_from_document(&document, name, (const char *const *)network->settings.text, network->settings.n,
                                 out);
}

dl_status dl_network_set_data(dl_network *network, int split, int64_t samples, int dims, const int64_t *shape,
                              const float *x, const int32_t *labels, int64_t y_size, const float *y) {
  if (split < 0 || split >= DL_SPLITS) return dl_fail(DL_ERR_USAGE, "there is no split %d", split);
  if (dims < 1 || dims > DL_MAX_DIMS)
    return dl_fail(DL_ERR_USAGE, "x has %d dimensions a sample; 1 to %d can be used", dims, DL_MAX_DIMS);
  if (y && y_size < 1) return dl_fail(DL_ERR_USAGE, "y has %lld values a sample", (long long)y_size);
  dl_data_shape wanted = {.x_dims = dims, .x_size = 1, .y_size = y ? y_size : network->shape.y_size};
  for (int d = 0; d < dims; d++) {
    wanted.x_shape[d] = shape[d];
    if (shape[d] < 1 || __builtin_mul_overflow(wanted.x_size, shape[d], &wanted.x_size))
      return dl_fail(DL_ERR_USAGE, "dimension %d of x is out of range: %lld", d, (long long)shape[d]);
  }
  if (network->has_arrays && memcmp(wanted.x_shape, network->shape.x_shape, sizeof wanted.x_shape))
    return dl_fail(DL_ERR_USAGE, "the samples have another shape than those set before");
  if (network->shape.y_size && wanted.y_size != network->shape.y_size)
    return dl_fail(DL_ERR_USAGE, "y has %lld values a sample, but %lld in the split set before", (long long)y_size,
                   (long long)network->shape.y_size);
  if (network->has_tokens)
    return dl_fail(DL_ERR_USAGE,
                   "the network has a text already: dl_network_set_tokens and samples do not go together");
  if (network->owned[split] && network->owned[split] != x) { /* of dl_network_set_sequences */
    free(network->owned[split]);
    network->owned[split] = NULL;
  }
  network->shape = wanted;
  network->arrays[split] = (dl_data_arrays){.samples = samples, .x = x, .y = y, .labels = labels};
  network->has_arrays = true;
  network->replaced[split] = true;
  return DL_OK;
}

/* ---- training ---- */

/* Texts become windows once the configuration says how long they are. */
static dl_status take_tokens(dl_network *network, const dl_config *config, dl_data_shape *shape) {
  if (config->task != DL_TASK_LANGUAGE_MODEL) {
    dl_fail(DL_ERR_USAGE, "a text was set with dl_network_set_tokens, but the task is not language_model");
    return dl_hint("set \"task\" to \"language_model\", or give samples to dl_network_set_sequences");
  }
  *shape =
      (dl_data_shape){.x_dims = 1, .x_shape = {config->data.sequence}, .x_size = config->data.sequence, .y_size = 1};
  for (int s = 0; s < DL_SPLITS; s++) {
    free(network->owned[s]);
    network->owned[s] = NULL;
    network->arrays[s] = (dl_data_arrays){0};
    DL_TRY(
        dl_windows_of(&network->tokens[s], config->data.sequence, s, &network->owned[s], &network->arrays[s].samples));
    network->arrays[s].tokens = network->owned[s];
  }
  return DL_OK;
}

dl_status dl_network_train(dl_network *network) {
  dl_team *team = network->context->team;
  dl_config *config = NULL;
  dl_status status = dl_team_agree(team, make_config(network, &config));
  if (status != DL_OK) {
    dl_config_destroy(&config);
    return status;
  }
  status = dl_team_agree(team, dl_best_check_monitor(config));
  if (status != DL_OK) {
    dl_config_destroy(&config);
    return status;
  }
  dl_model_destroy(&network->model);
  dl_model_source source = {.need = 1u << DL_SPLIT_TRAIN};
  dl_data_shape shape = network->shape;
  if (!shape.y_size) shape.y_size = 1;
  if (network->has_tokens) {
    status = dl_team_agree(team, take_tokens(network, config, &shape));
    if (status != DL_OK) {
      dl_config_destroy(&config);
      return status;
    }
  }
  network->on_arrays = network->has_arrays || network->has_tokens;
  if (network->on_arrays) {
    source.shape = &shape;
    source.arrays = network->arrays;
  }
  memset(network->replaced, 0, sizeof network->replaced);
  DL_TRY(dl_model_new_training(team, config, &source, &network->model));
  dl_run_options options = {.quiet = true};
  dl_run run = {.team = team, .options = &options, .model = network->model, .saved_step = -1};
  status = dl_team_agree(team, dl_best_check(network->model));
  if (status == DL_OK) status = dl_fit(&run);
  network->model->best = (dl_best){0}; /* a network that is saved is no part of a run */
  if (status != DL_OK) dl_model_destroy(&network->model);
  return status;
}

dl_status dl_network_need_model(const dl_network *network) {
  return network->model
             ? DL_OK
             : dl_fail(DL_ERR_USAGE, "the network is not trained yet: call dl_network_train or dl_network_open");
}

/* ---- using it ---- */

dl_status dl_network_view(const dl_model *model, dl_team *team, const dl_data_shape *shape,
                          const dl_data_arrays arrays[DL_SPLITS], dl_model *view) {
  *view = *model;
  view->team = team;
  view->data = NULL;
  DL_TRY(dl_data_from_arrays(team, model->config, shape, arrays, &view->data));
  dl_status status = dl_data_set_norm(view->data, &model->norm);
  if (status != DL_OK) dl_data_destroy(&view->data);
  return dl_team_agree(team, status);
}

dl_data_shape dl_network_shape(const dl_model *model) {
  dl_data_shape shape = *dl_data_shape_of(model->data);
  if (!dl_task_has_labels(model->config->task)) shape.y_size = dl_net_outputs(model->net);
  shape.classes = dl_task_has_labels(model->config->task) ? dl_net_outputs(model->net) : 0;
  if (model->config->task == DL_TASK_SEGMENTATION) dl_net_map(model->net, shape.map);
  return shape;
}

/* Whether the arrays of `split` are of the form that the model was made for. */
static dl_status check_arrays(const dl_network *network, int split, const dl_data_shape *wanted) {
  const dl_data_shape *shape = &network->shape;
  const bool text = network->model->config->task == DL_TASK_LANGUAGE_MODEL;
  if (text != network->has_tokens)
    return dl_fail(DL_ERR_USAGE, text ? "the split has no text: set it with dl_network_set_tokens"
                                      : "a text was set, but the network wants samples: dl_network_set_data");
  if (text && network->tokens[split].count < 1)
    return dl_fail(DL_ERR_USAGE, "the split has no text: set it with dl_network_set_tokens");
  if (text) return DL_OK;
  if (!network->has_arrays || network->arrays[split].samples < 1)
    return dl_fail(DL_ERR_USAGE, "the split has no samples: set them with dl_network_set_data");
  if (shape->x_dims != wanted->x_dims || memcmp(shape->x_shape, wanted->x_shape, sizeof shape->x_shape))
    return dl_fail(DL_ERR_USAGE, "the samples have another shape than those that the network was trained on");
  if (!dl_task_has_labels(network->model->config->task) && network->arrays[split].y && shape->y_size != wanted->y_size)
    return dl_fail(DL_ERR_USAGE, "y has %lld values a sample, but the network %lld outputs", (long long)shape->y_size,
                   (long long)wanted->y_size);
  return DL_OK;
}

static dl_status evaluate_split(dl_network *network, int split, dl_evaluation *out) {
  bool own = dl_data_samples(network->model->data, split) > 0 && !network->replaced[split];
  if (own && split == DL_VALID && network->on_arrays && network->replaced[DL_TRAIN] && !network->arrays[split].samples)
    return dl_fail(DL_ERR_USAGE, "valid was cut off arrays of train that were set anew since: train again");
  if (own) return dl_evaluate(network->model, split, out);
  dl_model view;
  dl_data_shape shape = dl_network_shape(network->model);
  DL_TRY(dl_team_agree(network->context->team, check_arrays(network, split, &shape)));
  dl_data_arrays arrays[DL_SPLITS] = {{0}};
  float *windows = NULL;
  if (network->has_tokens) {
    dl_data_arrays *a = &arrays[DL_SPLIT_TEST];
    dl_status made = dl_windows_of(&network->tokens[split], shape.x_size, split, &windows, &a->samples);
    a->tokens = windows;
    DL_TRY(dl_team_agree(network->context->team, made));
  } else {
    arrays[DL_SPLIT_TEST] = network->arrays[split];
  }
  dl_status status = dl_network_view(network->model, network->context->team, &shape, arrays, &view);
  if (status == DL_OK) {
    status = dl_evaluate(&view, DL_SPLIT_TEST, out);
    dl_data_destroy(&view.data);
  }
  free(windows);
  return status;
}

dl_status dl_network_metric(dl_network *network, int split, const char *metric, double *value) {
  DL_TRY(dl_network_need_model(network));
  if (split < 0 || split >= DL_SPLITS) return dl_fail(DL_ERR_USAGE, "there is no split %d", split);
  dl_evaluation evaluation = {0};
  dl_status status = evaluate_split(network, split, &evaluation);
  bool found = status == DL_OK && !strcmp(metric, "loss");
  if (found) *value = evaluation.loss;
  for (int i = 0; status == DL_OK && !found && i < evaluation.n_metrics; i++)
    if ((found = !strcmp(evaluation.metrics[i].name, metric))) *value = evaluation.metrics[i].value;
  if (status == DL_OK && !found)
    status = dl_fail(DL_ERR_USAGE, "there is no metric '%.60s' for this task: %.200s", metric,
                     dl_metrics_for(network->model->config->task)->metrics);
  dl_evaluation_clear(&evaluation);
  return status;
}

dl_status dl_network_predict(dl_network *network, int64_t samples, const float *x, float *scores) {
  DL_TRY(dl_network_need_model(network));
  if (samples < 0) return dl_fail(DL_ERR_USAGE, "%lld samples", (long long)samples);
  return dl_network_scores(network, &(dl_data_arrays){.samples = samples, .x = x}, scores);
}

dl_status dl_network_scores(const dl_network *network, const dl_data_arrays *of, float *scores) {
  if (!of->samples) return DL_OK;
  dl_model view;
  dl_data_shape shape = dl_network_shape(network->model);
  dl_data_arrays arrays[DL_SPLITS] = {{0}};
  arrays[DL_SPLIT_TEST] = *of;
  DL_TRY(dl_network_view(network->model, network->context->alone, &shape, arrays, &view));
  float *all = NULL;
  dl_status status = dl_predict(&view, DL_SPLIT_TEST, &all);
  const int64_t rows = of->samples * dl_net_rows(view.net);
  if (status == DL_OK) memcpy(scores, all, (size_t)(rows * dl_net_outputs(view.net)) * sizeof *scores);
  free(all);
  dl_data_destroy(&view.data);
  return status;
}

int64_t dl_network_rows(const dl_network *network) { return network->model ? dl_net_rows(network->model->net) : 0; }

int64_t dl_network_outputs(const dl_network *network) {
  return network->model ? dl_net_outputs(network->model->net) : 0;
}

/* ---- files ---- */

dl_status dl_network_weights_sha256(dl_network *network, char hex[65]) {
  DL_TRY(dl_network_need_model(network));
  dl_digest digest = {{0}};
  DL_TRY(dl_model_digest(network->model, &digest));
  DL_TRY(dl_team_broadcast(network->context->team, &digest, sizeof digest, 0));
  memcpy(hex, digest.hex, sizeof digest.hex);
  return DL_OK;
}

dl_status dl_network_save(dl_network *network, const char *folder) {
  DL_TRY(dl_network_need_model(network));
  if (!network->model->sync)
    return dl_fail(DL_ERR_USAGE,
                   "a network that was opened from a checkpoint has nothing new to save: copy the checkpoint");
  dl_status status = network->context->team->rank == 0 ? dl_dir_make(folder) : DL_OK;
  DL_TRY(dl_team_agree(network->context->team, status));
  dl_json *fingerprint = dl_fingerprint(network->model->shards, network->model->config->compute.backend);
  dl_checkpoint_written written = {0};
  status = dl_model_save(network->model, folder, 2, fingerprint, &written);
  dl_json_destroy(&fingerprint);
  free(written.path);
  return status;
}

dl_status dl_network_open(dl_context *context, const char *checkpoint, dl_network **out) {
  dl_network *network = NULL;
  DL_TRY(dl_team_agree(context->team, dl_network_new(context, &network)));
  dl_status status = dl_judge_open_bare(context->team, checkpoint, &network->model);
  if (status == DL_OK)
    *out = network;
  else
    dl_network_close(&network);
  return status;
}

static void ignore(void *context, const char *text) { (void)context, (void)text; }

dl_status dl_train_config(dl_context *context, const char *config, const char *folder) {
  dl_run_options options = {.config_path = config,
                            .folder = folder,
                            .resume = "auto",
                            .quiet = true,
                            .start_s = dl_now_s(),
                            .output = ignore,
                            .error = ignore};
  return dl_run_train(context->team, &options);
}

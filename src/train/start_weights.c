/* start_weights.c - see start_weights.h. Member 0 alone reads, and hands the weights to the others. */
#include "train/start_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"

/* The file that train.weights stands for. */
static dl_status find_file(const char *given, char **out) {
  *out = NULL;
  if (!dl_path_exists(given)) {
    dl_fail_at(DL_ERR_DATA, given, 0, 0, "does not exist (train.weights)");
    return dl_hint("name a run's folder, a checkpoint's, or a .safetensors file");
  }
  if (!dl_path_is_dir(given)) {
    *out = dl_strdup(given);
    return *out ? DL_OK : DL_ERR_NOMEM;
  }
  char *checkpoints = dl_path_join(given, "checkpoints"), *checkpoint = NULL;
  dl_status status = checkpoints ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && dl_path_is_dir(checkpoints)) status = dl_checkpoint_best(checkpoints, &checkpoint);
  if (status == DL_OK && !checkpoint) status = dl_checkpoint_find(given, &checkpoint);
  if (status == DL_OK) *out = dl_path_join(checkpoint, "model.safetensors");
  free(checkpoints);
  free(checkpoint);
  return status == DL_OK && !*out ? DL_ERR_NOMEM : status;
}

static const char *entry_text(const dl_safetensors_entry *e, char text[160]) {
  int used = snprintf(text, 160, "%s (", e->dtype);
  for (int d = 0; d < e->dims; d++)
    used += snprintf(text + used, (size_t)(160 - used), "%s%lld", d ? ", " : "", (long long)e->shape[d]);
  snprintf(text + used, (size_t)(160 - used), ")");
  return text;
}

/* The first tensor there of another shape or type, -1: none. */
static int first_other(const dl_tensor_found *found, int n) {
  for (int t = 0; t < n; t++)
    if (found[t].kind == DL_TENSOR_OTHER) return t;
  return -1;
}

static dl_status fail_none(const char *path, const dl_tensor_view *views, const dl_tensor_found *found, int n) {
  dl_safetensors_entry *entries = NULL;
  int in_file = 0;
  char first[128] = "nothing", text[160];
  const int other = first_other(found, n);
  if (dl_safetensors_list(path, &entries, &in_file, NULL) == DL_OK && in_file)
    memcpy(first, entries[0].name, sizeof first);
  free(entries);
  dl_fail_at(DL_ERR_DATA, path, 0, 0, "no tensor has the name, shape and type of one of the model's (train.weights)");
  if (other >= 0)
    return dl_hint("%s there is %s; float32 of the model's shape is taken", views[other].name,
                   entry_text(&found[other].entry, text));
  return dl_hint("the model has %.120s, ...; the file %.120s, ...: give layers a `name`", views[0].name, first);
}

/* What is there in another shape or type, a word for all of it. */
static void warn_of_others(const char *path, const dl_tensor_view *views, const dl_tensor_found *found, int n) {
  int others = 0;
  char text[160];
  for (int t = 0; t < n; t++) others += found[t].kind == DL_TENSOR_OTHER;
  const int first = first_other(found, n);
  if (first < 0) return;
  dl_warn("weights_shape",
          "%d tensor%s of %s %s not of the model's shape and type, and begin%s by the seed: %s there is %s", others,
          others == 1 ? "" : "s", path, others == 1 ? "is" : "are", others == 1 ? "s" : "", views[first].name,
          entry_text(&found[first].entry, text));
}

/* "6 of 10 tensors begin as in PATH, the others by the seed: a.weight, ..." */
static dl_status say(dl_model *model, const dl_tensor_view *views, const dl_tensor_found *found, int n) {
  char names[300] = "";
  int others = 0;
  for (int t = 0; t < n; t++)
    if (found[t].kind != DL_TENSOR_TAKEN && others++ < 4)
      snprintf(names + strlen(names), sizeof names - strlen(names), "%s%.60s", *names ? ", " : "", views[t].name);
  model->given =
      dl_asprintf("%d of %d tensors begin as in %s%s%s%s", model->given_tensors, n, model->config->train.weights,
                  others ? ", the others by the seed: " : "", names, others > 4 ? ", ..." : "");
  return model->given ? DL_OK : DL_ERR_NOMEM;
}

static dl_status read_given(dl_model *model, const char *path, float *values) {
  const int n = model->group.n_tensors;
  dl_tensor_view *views = dl_calloc((size_t)n, sizeof *views);
  dl_tensor_found *found = dl_calloc((size_t)n, sizeof *found);
  dl_status status = views && found ? DL_OK : DL_ERR_NOMEM;
  for (int t = 0; status == DL_OK && t < n; t++) {
    const dl_tensor *tensor = &model->group.tensors[t];
    views[t] = (dl_tensor_view){.dims = tensor->dims, .count = tensor->count, .values = values + tensor->offset};
    snprintf(views[t].name, sizeof views[t].name, "%s", tensor->name);
    memcpy(views[t].shape, tensor->shape, sizeof views[t].shape);
  }
  int in_file;
  if (status == DL_OK) status = dl_safetensors_read_some(path, views, n, found, &in_file);
  for (int t = 0; status == DL_OK && t < n; t++) model->given_tensors += found[t].kind == DL_TENSOR_TAKEN;
  if (status == DL_OK) warn_of_others(path, views, found, n);
  if (status == DL_OK && !model->given_tensors) status = fail_none(path, views, found, n);
  if (status == DL_OK) status = say(model, views, found, n);
  free(views);
  free(found);
  return status;
}

static dl_status make_weights(dl_model *model, bool resumes, float *values) {
  const char *given = model->config->train.weights;
  dl_net_init(model->net, (uint64_t)model->config->seed, values);
  if (!given || !*given || resumes) return DL_OK;
  char *joined = dl_path_join(model->config->folder, given), *path = NULL;
  dl_status status = joined ? find_file(joined, &path) : DL_ERR_NOMEM;
  if (status == DL_OK) status = read_given(model, path, values);
  free(joined);
  free(path);
  return status;
}

dl_status dl_start_weights(dl_model *model, bool resumes) {
  float *values = NULL;
  dl_status status = DL_OK;
  if (model->team->rank == 0) {
    values = dl_calloc_aligned(model->group.count, sizeof *values);
    status = values ? make_weights(model, resumes, values) : DL_ERR_NOMEM;
  }
  status = dl_team_agree(model->team, status);
  if (status == DL_OK) status = dl_sync_set(model->sync, -1, values, 0);
  free(values);
  return status;
}

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

static dl_status fail_none(const char *path, const dl_tensor_view *views) {
  dl_safetensors_entry *entries = NULL;
  int n = 0;
  char first[128] = "nothing";
  if (dl_safetensors_list(path, &entries, &n, NULL) == DL_OK && n) memcpy(first, entries[0].name, sizeof first);
  free(entries);
  dl_fail_at(DL_ERR_DATA, path, 0, 0, "no tensor has the name and shape of one of the model's (train.weights)");
  return dl_hint("the model has %.120s, ...; the file %.120s, ...: give layers a `name`", views[0].name, first);
}

/* What is there in another shape, a word for all of it. */
static void warn_of_others(const char *path, const dl_tensor_view *views, const dl_tensor_found *found, int n) {
  char names[300] = "";
  int others = 0;
  for (int t = 0; t < n; t++)
    if (found[t] == DL_TENSOR_OTHER && others++ < 3)
      snprintf(names + strlen(names), sizeof names - strlen(names), "%s%.80s", *names ? ", " : "", views[t].name);
  if (others)
    dl_warn("weights_shape",
            "%d tensor%s (%s%s) of %s %s another shape or type than the model's, and begin%s by the seed", others,
            others == 1 ? "" : "s", names, others > 3 ? ", ..." : "", path, others == 1 ? "has" : "have",
            others == 1 ? "s" : "");
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
  for (int t = 0; status == DL_OK && t < n; t++) model->given_tensors += found[t] == DL_TENSOR_TAKEN;
  if (status == DL_OK) warn_of_others(path, views, found, n);
  if (status == DL_OK && !model->given_tensors) status = fail_none(path, views);
  free(views);
  free(found);
  return status;
}

static dl_status make_weights(dl_model *model, bool resumes, float *values) {
  const char *given = model->config->train.weights;
  dl_net_init(model->net, (uint64_t)model->config->seed, values);
  if (!given || resumes) return DL_OK;
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

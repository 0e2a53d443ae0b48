/* One configuration serves all: what a process does is said by the keys that name addresses. */
#include "train/ps_role.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/mem.h"

dl_ps_role dl_ps_role_of(const dl_config *config) {
  if (config->sync.mode != DL_SYNC_PS) return DL_PS_NONE;
  if (config->sync.bind) return DL_PS_SERVE;
  return config->sync.connect ? DL_PS_WORKER : DL_PS_TEAM;
}

dl_status dl_ps_check(const dl_config *config) {
  const dl_ps_role role = dl_ps_role_of(config);
  if (role == DL_PS_NONE && (config->sync.connect || config->sync.bind)) {
    const char *key = config->sync.connect ? "sync.connect" : "sync.bind";
    dl_config_fail(config, key, "%s is for parameter servers", key);
    return dl_hint("set sync.mode: ps");
  }
  if (role == DL_PS_WORKER && !config->sync.key != !config->sync.server_key)
    return dl_config_fail(config, config->sync.key ? "sync.key" : "sync.server_key",
                          "a worker with a key needs both sync.key, its own, and sync.server_key, the server's .pub");
  if (role == DL_PS_SERVE && config->sync.compress == DL_COMPRESS_TOPK &&
      !dl_ps_is_async(config->sync.consistency, config->sync.staleness)) {
    dl_config_fail(config, "sync.compress",
                   "topk leaves gradients behind with the worker that computed them: with bsp the bits would depend on "
                   "who computes");
    return dl_hint("set sync.consistency: ssp or asp, or take bf16 or fp16, or sync.mode: ps in one job");
  }
  if (role != DL_PS_TEAM) return DL_OK;
  if (config->sync.consistency != DL_PS_BSP) {
    dl_config_fail(config, "sync.consistency", "ssp and asp are for workers that come and go");
    return dl_hint("serve with `dldist ps serve`, and set sync.connect for the workers");
  }
  return DL_OK;
}

/* Whether two paths are one place, of which nothing need be there. */
static bool is_same_place(const char *a, const char *b) {
  struct stat x, y;
  const char *a_name = strrchr(a, '/'), *b_name = strrchr(b, '/');
  char *a_folder = dl_path_dirname(a), *b_folder = dl_path_dirname(b);
  const bool is = a_folder && b_folder && !strcmp(a_name ? a_name + 1 : a, b_name ? b_name + 1 : b) &&
                  !stat(a_folder, &x) && !stat(b_folder, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
  free(a_folder);
  free(b_folder);
  return is;
}

dl_status dl_ps_check_folder(const dl_config *config, const char *folder) {
  const char *socket = config->sync.bind;
  char *place = dl_strdup(folder);
  bool in_the_way = false;
  if (!place) return DL_ERR_NOMEM;
  for (size_t n = strlen(place); n > 1 && place[n - 1] == '/';) place[--n] = 0;
  while (socket && !strncmp(socket, "ipc://", 6) && !in_the_way && place && strcmp(place, ".") && strcmp(place, "/")) {
    in_the_way = is_same_place(place, socket + 6); /* or a folder that it lies in */
    char *above = dl_path_dirname(place);
    free(place);
    place = above;
  }
  free(place);
  if (!in_the_way) return DL_OK;
  dl_config_fail(config, "sync.bind", "%s would be a socket and a folder of this run", socket + 6);
  return dl_hint("give the socket, or the run, another name");
}

/* ---- what is computed ---- */

static dl_status add_text(dl_sha256 *hash, const char *text) { return dl_sha256_update(hash, text, strlen(text) + 1); }

static dl_status add_row(dl_sha256 *hash, const dl_config *config, const dl_option *row) {
  const dl_node *node = dl_node_find(config->document.root, row->key);
  char *text = NULL;
  DL_TRY(add_text(hash, row->key));
  if (!node || node->kind == DL_NODE_NULL) return DL_OK;
  dl_status status = node->kind == DL_NODE_SCALAR ? add_text(hash, node->text) : dl_node_write(node, &text);
  if (status == DL_OK && text) status = add_text(hash, text);
  free(text);
  return status;
}

/* Of sync.* what changes sums. */
static bool is_computed(const dl_config *config, const char *key) {
  if (!strcmp(key, "sync.topk")) return config->sync.compress == DL_COMPRESS_TOPK;
  return strncmp(key, "sync.", 5) != 0 || !strcmp(key, "sync.compress");
}

static dl_status add_model(dl_sha256 *hash, const dl_model *model) {
  char text[256];
  const dl_data_shape *shape = dl_data_shape_of(model->data);
  for (int i = 0; i < dl_config_row_count; i++)
    if (!dl_config_rows[i].neutral && is_computed(model->config, dl_config_rows[i].key))
      DL_TRY(add_row(hash, model->config, &dl_config_rows[i]));
  snprintf(text, sizeof text, "%lld samples of %lld and %lld, %lld shards, %d tensors, %zu floats",
           (long long)dl_data_samples(model->data, DL_SPLIT_TRAIN), (long long)shape->x_size,
           (long long)dl_net_outputs(model->net), (long long)model->shards, model->group.n_tensors, model->group.count);
  DL_TRY(add_text(hash, text));
  DL_TRY(dl_sha256_update(hash, model->norm.shift, (size_t)model->norm.n * sizeof *model->norm.shift));
  return dl_sha256_update(hash, model->norm.scale, (size_t)model->norm.n * sizeof *model->norm.scale);
}

dl_status dl_ps_digest(const dl_model *model, dl_digest *out) {
  dl_sha256 *hash;
  DL_TRY(dl_sha256_new(&hash));
  dl_status status = add_model(hash, model);
  if (status == DL_OK) status = dl_sha256_finish(hash, out);
  dl_sha256_destroy(&hash);
  return status;
}

dl_status dl_ps_choose(const dl_model *model, dl_digest *digest, dl_ps_options *out) {
  const dl_config *config = model->config;
  *out = (dl_ps_options){.role = dl_ps_role_of(config)};
  DL_TRY(dl_ps_check(config));
  if (out->role == DL_PS_NONE) return DL_OK;
  DL_TRY(dl_ps_digest(model, digest));
  out->digest = digest->hex;
  out->batch = config->train.batch;
  out->epoch_samples = dl_data_samples(model->data, DL_SPLIT_TRAIN);
  out->epoch_steps = dl_model_steps_per_epoch(model);
  if (out->role == DL_PS_TEAM) {
    out->servers = (int)config->sync.servers;
    return DL_OK;
  }
  out->bind = config->sync.bind;
  out->key = config->sync.key;
  out->allow = config->sync.allow;
  out->consistency = config->sync.consistency;
  out->staleness = config->sync.staleness;
  out->log = config->sync.log;
  out->log_bytes = config->sync.log_mb << 20;
  return DL_OK;
}

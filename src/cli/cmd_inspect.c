/* cmd_inspect.c - dldist inspect: what a checkpoint holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "core/file.h"
#include "core/mem.h"
#include "train/checkpoint.h"

static const dl_arg args_table[] = {
    {"--json", NULL, NULL, "one JSON object instead of a table"},
};

typedef struct content {
  dl_json *state;
  dl_safetensors_entry *model, *optimizer;
  int n_model, n_optimizer;
  dl_digest digest;
} content;

static dl_status list(const char *folder, const char *name, dl_safetensors_entry **out, int *n, dl_digest *digest) {
  char *path = dl_path_join(folder, name);
  dl_status status = path ? dl_safetensors_list(path, out, n, digest) : DL_ERR_NOMEM;
  free(path);
  return status;
}

static dl_status load(const char *path, content *c) {
  DL_TRY(dl_checkpoint_state(path, &c->state));
  DL_TRY(list(path, "model.safetensors", &c->model, &c->n_model, &c->digest));
  return list(path, "optimizer.safetensors", &c->optimizer, &c->n_optimizer, NULL);
}

static int64_t elements(const dl_safetensors_entry *entry) {
  int64_t n = 1;
  for (int d = 0; d < entry->dims; d++) n *= entry->shape[d];
  return n;
}

static int64_t parameters(const content *c) {
  int64_t n = 0;
  for (int i = 0; i < c->n_model; i++) n += elements(&c->model[i]);
  return n;
}

static dl_json *tensors_json(const dl_safetensors_entry *entries, int n) {
  dl_json *array = dl_json_array();
  for (int i = 0; i < n; i++) {
    dl_json *tensor = dl_json_object(), *shape = dl_json_array();
    for (int d = 0; d < entries[i].dims; d++) dl_json_put_int(shape, NULL, entries[i].shape[d]);
    dl_json_put_string(tensor, "name", entries[i].name);
    dl_json_put_string(tensor, "dtype", entries[i].dtype);
    dl_json_put(tensor, "shape", shape);
    dl_json_put(array, NULL, tensor);
  }
  return array;
}

static dl_status print_json(const char *path, const content *c) {
  dl_json *object = dl_json_object();
  dl_json_put_string(object, "checkpoint", path);
  dl_json_put_string(object, "weights_sha256", c->digest.hex);
  dl_json_put_int(object, "parameters", parameters(c));
  dl_json_put(object, "tensors", tensors_json(c->model, c->n_model));
  dl_json_put(object, "optimizer", tensors_json(c->optimizer, c->n_optimizer));
  static const char *const keys[] = {"dldist", "epoch", "step",        "step_in_epoch", "seed",
                                     "shards", "batch", "class_names", "fingerprint"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
    dl_json_put(object, keys[i], dl_json_copy(dl_json_get(c->state, keys[i])));
  char *text = NULL;
  dl_status status = dl_json_text(object, false, &text);
  if (status == DL_OK) printf("%s\n", text);
  free(text);
  dl_json_destroy(&object);
  return status;
}

static void print_tensors(const dl_safetensors_entry *entries, int n) {
  for (int i = 0; i < n; i++) {
    char shape[160] = "";
    size_t used = 0;
    for (int d = 0; d < entries[i].dims; d++)
      used +=
          (size_t)snprintf(shape + used, sizeof shape - used, "%s%lld", d ? ", " : "", (long long)entries[i].shape[d]);
    printf("  %-36s %-5s (%s)\n", entries[i].name, entries[i].dtype, shape);
  }
}

static dl_status print_table(const char *path, const content *c) {
  printf("checkpoint      %s\n", path);
  printf("weights_sha256  %s\n", c->digest.hex);
  printf("position        %lld epochs, %lld steps (%lld in the epoch)\n",
         (long long)dl_json_int(dl_json_get(c->state, "epoch"), 0),
         (long long)dl_json_int(dl_json_get(c->state, "step"), 0),
         (long long)dl_json_int(dl_json_get(c->state, "step_in_epoch"), 0));
  printf("parameters      %lld\n", (long long)parameters(c));
  printf("shards          %lld\n", (long long)dl_json_int(dl_json_get(c->state, "shards"), 0));
  printf("model.safetensors\n");
  print_tensors(c->model, c->n_model);
  printf("optimizer.safetensors\n");
  print_tensors(c->optimizer, c->n_optimizer);
  return DL_OK;
}

static dl_status run(const dl_command *command, const dl_args *args) {
  char *path;
  content c = {0};
  DL_TRY(dl_checkpoint_find(args->positional[0], &path));
  dl_status status = load(path, &c);
  if (status == DL_OK) status = dl_option_of(command, args, "--json") ? print_json(path, &c) : print_table(path, &c);
  dl_json_destroy(&c.state);
  free(c.model);
  free(c.optimizer);
  free(path);
  return status;
}

const dl_command dl_command_inspect = {
    .name = "inspect",
    .usage = "CHECKPOINT [--json]",
    .help = "tells what a checkpoint holds, and the SHA-256 of its weights",
    .more =
        "CHECKPOINT is a checkpoint's folder, or a run's folder for its newest one. Every file is checked against the "
        "manifest first. weights_sha256 is taken over every tensor of model.safetensors in file order: name, a 0 byte, "
        "little-endian values.",
    .args = args_table,
    .n_args = sizeof args_table / sizeof args_table[0],
    .min_positional = 1,
    .max_positional = 1,
    .whole_line_only = true,
    .run = run,
};

/* config.c - the keys of the configuration: one row each. */
#include "core/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"

#define AT(member) offsetof(dl_config, member)
#define MANY 9e15 /* no upper bound */

const dl_option dl_config_rows[] = {
    {"name", DL_OPTION_STRING, AT(name), 0, 0, "dldist", NULL, "the run's name: its folder is runs/NAME-DATE", true},
    {"seed", DL_OPTION_INT, AT(seed), 0, MANY, "1", NULL,
     "seed of everything random: initial weights, order of samples, dropout, the cut of valid", false},
    {"task", DL_OPTION_CHOICE, AT(task), 0, 0, "classification", DL_TASK_NAMES, "what is learnt", false},
    {"data.file", DL_OPTION_NODE, AT(data.file), 0, 0, "", NULL,
     "HDF5 file, a list of files, or a glob, that are one data set; relative to the configuration's folder", true},
    {"data.train", DL_OPTION_NODE, AT(data.train), 0, 0, "", NULL,
     "data set names of the training split: {x: train/x, y: train/y}; weight: for weights per sample; regression with "
     "y: train/x is an autoencoder",
     false},
    {"data.valid", DL_OPTION_NODE, AT(data.valid), 0, 0, "", NULL,
     "data set names of the validation split, or a fraction to cut off train; default: valid/x and valid/y if there",
     false},
    {"data.test", DL_OPTION_NODE, AT(data.test), 0, 0, "", NULL,
     "data set names of the test split; default: test/x and test/y if there", true},
    {"data.layout", DL_OPTION_CHOICE, AT(data.layout), 0, 0, "nchw", DL_LAYOUT_NAMES, "how images lie in the file",
     false},
    {"data.normalize", DL_OPTION_CHOICE, AT(data.normalize), 0, 0, "auto", DL_NORMALIZE_NAMES,
     "what is done to x; auto: unit for integers, else none; figures come from what is left of train", false},
    {"data.augment", DL_OPTION_NODE, AT(data.augment), 0, 0, "", NULL,
     "what is done to images in training: [flip_horizontal, {random_crop: {padding: 4}}, {random_rotation: 10}]; "
     "see `dldist list augmentations`",
     false},
    {"data.sequence", DL_OPTION_INT, AT(data.sequence), 1, 1e6, "128", NULL,
     "language_model: tokens of a sample; each is asked for the token that follows", false},
    {"data.shuffle", DL_OPTION_CHOICE, AT(data.shuffle), 0, 0, "auto", DL_SHUFFLE_NAMES,
     "order of the training samples: full is a new permutation each epoch, from memory; lanes mixes chunks of files "
     "larger than memory; none is file order; auto: full up to 4 GiB of x, then lanes",
     false},
    {"data.shuffle_buffer_mb", DL_OPTION_INT, AT(data.shuffle_buffer_mb), 1, 1e7, "1024", NULL,
     "lanes: MiB that all ranks together mix samples in; more mixes better", false},
    {"data.on_corrupt", DL_OPTION_CHOICE, AT(data.on_corrupt), 0, 0, "stop", DL_ON_CORRUPT_NAMES,
     "what damaged chunks do: stop the run, or have their rows left out, found by one pass over the files at the start",
     false},
    {"model", DL_OPTION_NODE, AT(model), 0, 0, NULL, NULL, "the layers, in order: see `dldist list layers`", false},
    {"loss", DL_OPTION_NODE, AT(loss), 0, 0, "", NULL,
     "the loss: see `dldist list losses`; default: the task's (cross_entropy, bce, mse)", false},
    {"optimizer", DL_OPTION_NODE, AT(optimizer), 0, 0, "{name: adam}", NULL,
     "the optimizer and its options: see `dldist list optimizers`", false},
    {"schedule", DL_OPTION_NODE, AT(schedule), 0, 0, "{name: constant}", NULL,
     "how the learning rate changes: see `dldist list schedules`", false},
    {"train.epochs", DL_OPTION_INT, AT(train.epochs), 1, 1e9, "10", NULL, "passes over the training set", true},
    {"train.batch", DL_OPTION_INT, AT(train.batch), 1, 1e8, "128", NULL, "samples a step, over all members", false},
    {"train.clip_norm", DL_OPTION_REAL, AT(train.clip_norm), 0, 1e30, "0", NULL,
     "gradients are scaled down to this global norm; 0: never", false},
    {"train.drop_last", DL_OPTION_BOOL, AT(train.drop_last), 0, 0, "false", NULL,
     "whether a last batch that is not full is left out", false},
    {"train.weights", DL_OPTION_STRING, AT(train.weights), 0, 0, "", NULL,
     "weights to begin with: a run's or a checkpoint's folder, or a .safetensors file (of PyTorch too); tensors of the "
     "same "
     "name and shape are taken, the others begin by the seed; relative to the configuration's folder",
     true},
    {"train.monitor", DL_OPTION_STRING, AT(train.monitor), 0, 0, "loss", NULL,
     "the score of the validation split that tells the best epoch: loss, or a metric of the task (`dldist list "
     "metrics`)",
     true},
    {"train.patience", DL_OPTION_INT, AT(train.patience), 0, 1e9, "0", NULL,
     "epochs in a row without a better train.monitor after which training ends; 0: never before train.epochs", true},
    {"train.min_delta", DL_OPTION_REAL, AT(train.min_delta), 0, 1e30, "0", NULL,
     "by how much train.monitor must be better than the best so far to count", true},
    {"sync.mode", DL_OPTION_CHOICE, AT(sync.mode), 0, 0, "allreduce", DL_SYNC_MODE_NAMES,
     "how members agree on gradients: allreduce among all, or parameter servers; the bits are the same", true},
    {"sync.shards", DL_OPTION_AUTO_INT, AT(sync.shards), 1, 1e6, "auto", NULL,
     "logical shards of a batch: the same value gives the same bits at any number of ranks; "
     "auto: the largest power of two not above batch/16, at least the number of ranks",
     false},
    {"sync.transport", DL_OPTION_CHOICE, AT(sync.transport), 0, 0, "auto", DL_TRANSPORT_NAMES,
     "how gradients travel: shared memory or messages; the bits are the same", true},
    {"sync.timeout", DL_OPTION_REAL, AT(sync.timeout), 1, 1e6, "300", NULL,
     "seconds to wait for another rank before the job is given up", true},
    {"sync.audit_every", DL_OPTION_INT, AT(sync.audit_every), 0, 1e9, "100", NULL,
     "steps between audits: all weights in memory against the hashes of who wrote them; 0: no hashes, no audits", true},
    {"sync.recompute_every", DL_OPTION_INT, AT(sync.recompute_every), 0, 1e9, "200", NULL,
     "steps between trials in which another rank computes a random leaf once more and compares bits; 0: never", true},
    {"sync.overlap", DL_OPTION_BOOL, AT(sync.overlap), 0, 0, "true", NULL,
     "between nodes, and to and from servers: gradients and weights travel while members compute; the bits are the "
     "same",
     true},
    {"sync.compress", DL_OPTION_CHOICE, AT(sync.compress), 0, 0, "none", DL_COMPRESS_NAMES,
     "what gradients take between nodes and to servers: bf16 and fp16 round every sum of them to 16 bits, topk sends "
     "the largest of each leaf (workers of `dldist ps serve`: of each push; ssp and asp) and keeps the others for the "
     "next step; the same bits at any number of ranks and nodes, but not those of none",
     false},
    {"sync.topk", DL_OPTION_REAL, AT(sync.topk), 1e-4, 1, "0.01", NULL,
     "compress: topk: the share of the gradients that is sent, of each block of 1,024", false},
    {"sync.bucket_mb", DL_OPTION_REAL, AT(sync.bucket_mb), 0.001, 1024, "1", NULL,
     "between nodes, and to and from servers (their setting): MiB of parameters that travel as one; the bits are the "
     "same",
     true},
    {"sync.servers", DL_OPTION_INT, AT(sync.servers), 0, 1e4, "0", NULL,
     "ps under mpirun or in threads: the last so many ranks serve and do not compute; 0: every rank does both", true},
    {"sync.connect", DL_OPTION_STRING, AT(sync.connect), 0, 0, "", NULL,
     "ps: the address of `dldist ps serve` (tcp://HOST:PORT or ipc:///PATH): this process is a worker of it", true},
    {"sync.bind", DL_OPTION_STRING, AT(sync.bind), 0, 0, "", NULL,
     "ps: the address that `dldist ps serve` listens on (its --bind)", true},
    {"sync.consistency", DL_OPTION_CHOICE, AT(sync.consistency), 0, 0, "bsp", DL_CONSISTENCY_NAMES,
     "ps serve: bsp has the bits of allreduce; ssp and asp apply each push as it comes, ssp with bounded staleness",
     false},
    {"sync.staleness", DL_OPTION_INT, AT(sync.staleness), 0, 63, "0", NULL,
     "ssp: steps that may be in progress beside the oldest one; 0 is bsp", false},
    {"sync.log", DL_OPTION_CHOICE, AT(sync.log), 0, 0, "write", DL_PS_LOG_NAMES,
     "ps serve, ssp and asp: what is done with a push before it is acknowledged: write hands it to the system, which "
     "outlasts the server's death; sync waits for the disk, which outlasts the machine's; none: back to the checkpoint",
     true},
    {"sync.log_mb", DL_OPTION_INT, AT(sync.log_mb), 1, 1e9, "4096", NULL,
     "ps serve, ssp and asp: MiB of logged pushes of a server at which it is time for a checkpoint", true},
    {"sync.key", DL_OPTION_STRING, AT(sync.key), 0, 0, "", NULL,
     "ps: this process's key file (`dldist ps keygen`); needed wherever others than this machine could connect", true},
    {"sync.server_key", DL_OPTION_STRING, AT(sync.server_key), 0, 0, "", NULL, "ps worker: the server's .pub file",
     true},
    {"sync.allow", DL_OPTION_STRING, AT(sync.allow), 0, 0, "", NULL,
     "ps serve: the list of public keys that may work for it (.pub files one after another)", true},
    {"compute.backend", DL_OPTION_CHOICE, AT(compute.backend), 0, 0, "auto", DL_BACKEND_NAMES,
     "library for matrix products; auto: oneDNN where it is built in", false},
    {"checkpoint.every_epochs", DL_OPTION_INT, AT(checkpoint.every_epochs), 0, 1e9, "1", NULL,
     "epochs between checkpoints; 0: none but the last", true},
    {"checkpoint.every_minutes", DL_OPTION_REAL, AT(checkpoint.every_minutes), 0, 1e6, "10", NULL,
     "minutes between checkpoints within an epoch; 0: none", true},
    {"checkpoint.keep", DL_OPTION_INT, AT(checkpoint.keep), 1, 1e6, "2", NULL, "how many checkpoints are kept", true},
    {"checkpoint.best", DL_OPTION_BOOL, AT(checkpoint.best), 0, 0, "false", NULL,
     "whether the checkpoint of the best epoch (train.monitor) is kept too, as checkpoints/best, and the run ends with "
     "its "
     "weights",
     true},
    {"log.every_steps", DL_OPTION_INT, AT(log.every_steps), 1, 1e9, "1", NULL,
     "steps between `step` lines in metrics.jsonl", true},
};
const int dl_config_row_count = sizeof dl_config_rows / sizeof dl_config_rows[0];

dl_status dl_config_parse(const char *text, size_t bytes, const char *name, const char *const *assignments,
                          int n_assignments, dl_config **out) {
  dl_document document;
  DL_TRY(dl_document_parse(text, bytes, name, &document));
  return dl_config_from_document(&document, name, assignments, n_assignments, out);
}

dl_status dl_config_from_document(dl_document *document, const char *name, const char *const *assignments,
                                  int n_assignments, dl_config **out) {
  dl_config *config = dl_calloc(1, sizeof *config);
  if (!config) {
    dl_document_destroy(document);
    return DL_ERR_NOMEM;
  }
  config->document = *document;
  *document = (dl_document){0};
  dl_status status = DL_OK;
  config->source = dl_strdup(name);
  config->folder = dl_path_dirname(name);
  if (!config->source || !config->folder) status = DL_ERR_NOMEM;
  bool map = config->document.root->kind == DL_NODE_MAP || config->document.root->kind == DL_NODE_NULL;
  for (int i = 0; status == DL_OK && map && i < n_assignments; i++) /* else the table says what is wrong, and where */
    status = dl_node_set_yaml(config->document.root, assignments[i]);
  dl_option_set rows = {dl_config_rows, dl_config_row_count, config};
  if (status == DL_OK) status = dl_options_parse(&rows, 1, config->document.root, "");
  if (status == DL_OK)
    *out = config;
  else
    dl_config_destroy(&config);
  return status;
}

void dl_config_destroy(dl_config **config) {
  if (!*config) return;
  dl_document_destroy(&(*config)->document);
  free((*config)->folder);
  free((*config)->source);
  free(*config);
  *config = NULL;
}

/* Maps whose keys came in any order are written in the order of the table. */
static dl_status in_table_order(dl_node *root) {
  for (int pass = 0; pass < 2; pass++) { /* dotted keys name their map, then their place in it */
    for (int i = 0; i < dl_config_row_count; i++) {
      const char *key = dl_config_rows[i].key, *dot = strchr(key, '.');
      if (pass && !dot) continue;
      char first[64];
      snprintf(first, sizeof first, "%.*s", (int)strcspn(key, "."), key);
      dl_node *map = pass ? dl_node_get(root, first) : root;
      dl_node *node = map ? dl_node_get(map, pass ? dot + 1 : first) : NULL;
      if (!node || node == map->last) continue;
      dl_node **link = &map->first;
      while (*link != node) link = &(*link)->next;
      *link = node->next;
      node->next = NULL;
      map->last->next = node;
      map->last = node;
    }
  }
  return DL_OK;
}

dl_status dl_config_write(const dl_config *config, char **out) {
  dl_arena *arena = dl_arena_new();
  dl_node *copy = arena ? dl_node_clone(config->document.root, arena) : NULL;
  dl_status status = copy ? in_table_order(copy) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_node_write(copy, out);
  dl_arena_destroy(&arena);
  return status;
}

dl_status dl_config_resolve(dl_config *config, const char *path, const char *text) {
  return dl_node_set(config->document.root, path, text, NULL);
}

dl_status dl_config_fail(const dl_config *config, const char *path, const char *format, ...) {
  char message[sizeof dl_error_last()->message], part[160];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  snprintf(part, sizeof part, "%s", path);
  const dl_node *node = dl_node_find(config->document.root, part);
  while ((!node || !node->line) && strrchr(part, '.')) {
    *strrchr(part, '.') = 0;
    node = dl_node_find(config->document.root, part);
  }
  if (!node || !node->line) return dl_fail_at(DL_ERR_USAGE, config->source, 0, 0, "%s", message);
  return dl_node_fail(node, false, "%s", message);
}

/* data_source.c - from the configuration's data.* keys to a list of files and the names within them.
 *
 * Files that match one glob are taken in byte order of their names, whatever the locale, so that the data set's order
 * is the same on all machines. A name that exists as it stands is never read as a pattern.
 */
#include "data/data_source.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"

#define MOST_FILES 65536

#define NAME_ROWS(split)                                                                                                \
  {                                                                                                                     \
    {"x", DL_OPTION_STRING, offsetof(dl_split_names, x), 0, 0, split "/x", NULL, "data set of the inputs", false},      \
        {"y", DL_OPTION_STRING, offsetof(dl_split_names, y), 0, 0, split "/y", NULL, "data set of the targets", false}, \
        {"weight", DL_OPTION_STRING, offsetof(dl_split_names, weight), 0, 0, "", NULL, "data set of weights", false},   \
  }
const char *const dl_split_words[DL_SPLITS] = {"train", "valid", "test"};

static const dl_option name_rows[DL_SPLITS][3] = {NAME_ROWS("train"), NAME_ROWS("valid"), NAME_ROWS("test")};

/* language_model reads tokens alone; a user may call them x. */
static const dl_option token_rows[] = {
    {"tokens", DL_OPTION_STRING, offsetof(dl_split_names, tokens), 0, 0, "", NULL, "data set of the tokens", false},
    {"x", DL_OPTION_STRING, offsetof(dl_split_names, x), 0, 0, "", NULL, "data set of the tokens", false},
};
static const char *const token_names[DL_SPLITS] = {"train/tokens", "valid/tokens", "test/tokens"};
static const char *const split_keys[DL_SPLITS] = {"data.train", "data.valid", "data.test"};

/* ---- files ---- */

static dl_status add_file(dl_source *source, const dl_node *node, const char *path) {
  for (int i = 0; i < source->n_files; i++)
    if (!strcmp(source->files[i], path)) return dl_node_fail(node, false, "the data file '%s' is named twice", path);
  if (source->n_files == MOST_FILES) return dl_node_fail(node, false, "more than %d data files", MOST_FILES);
  char **files = dl_reallocarray(source->files, (size_t)source->n_files + 1, sizeof *files);
  if (!files) return DL_ERR_NOMEM;
  source->files = files;
  files[source->n_files] = dl_strdup(path);
  return files[source->n_files] ? (source->n_files++, DL_OK) : DL_ERR_NOMEM;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static dl_status add_matches(dl_source *source, const dl_node *node, const char *pattern) {
  glob_t found = {0};
  int result = glob(pattern, GLOB_NOSORT, NULL, &found);
  dl_status status = DL_OK;
  if (result == GLOB_NOMATCH)
    status = dl_fail_at(DL_ERR_DATA, node->file, node->line, node->column, "no data file matches '%s'", pattern);
  else if (result)
    status = dl_fail_at(DL_ERR_SYSTEM, node->file, node->line, node->column, "cannot search for '%s'", pattern);
  if (status == DL_OK) qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_name);
  for (size_t i = 0; status == DL_OK && i < found.gl_pathc; i++) status = add_file(source, node, found.gl_pathv[i]);
  globfree(&found);
  return status;
}

static dl_status add_named(dl_source *source, const dl_config *config, const dl_node *node) {
  char text[96];
  if (node->kind != DL_NODE_SCALAR || !*node->text)
    return dl_node_fail(node, false, "data.file must be a file name, a glob, or a list of them, not %s",
                        dl_node_describe(node, text, sizeof text));
  char *path = dl_path_join(config->folder, node->text);
  if (!path) return DL_ERR_NOMEM;
  bool pattern = strpbrk(node->text, "*?[") && !dl_path_exists(path);
  dl_status status = pattern ? add_matches(source, node, path) : add_file(source, node, path);
  free(path);
  return status;
}

static dl_status list_files(dl_source *source, const dl_config *config) {
  const dl_node *node = config->data.file;
  if (!node || node->kind == DL_NODE_NULL) {
    dl_config_fail(config, "data.file", "data.file is missing: no data set is named");
    return dl_hint("name an HDF5 file: `data: {file: FILE.h5}` or --set data.file=FILE.h5");
  }
  if (node->kind != DL_NODE_LIST) return add_named(source, config, node);
  if (!node->first) return dl_node_fail(node, false, "data.file is an empty list");
  for (const dl_node *item = node->first; item; item = item->next) DL_TRY(add_named(source, config, item));
  return DL_OK;
}

/* ---- names ---- */

static bool is_given(const dl_node *node) { return node && node->kind != DL_NODE_NULL; }

/* The map is read from a copy: members that are threads may share the configuration. */
static dl_status read_names(dl_source *source, const dl_node *node, int split, int task) {
  dl_split_names *names = &source->split[split];
  dl_node *map = is_given(node) ? dl_node_clone(node, source->arena) : NULL;
  if (!map) {
    dl_document empty;
    DL_TRY(dl_document_parse("", 0, "(default)", &empty));
    map = dl_node_clone(empty.root, source->arena);
    dl_document_destroy(&empty);
  }
  if (!map) return DL_ERR_NOMEM;
  const bool tokens = task == DL_TASK_LANGUAGE_MODEL;
  dl_option_set rows = {tokens ? token_rows : name_rows[split], tokens ? 2 : 3, names};
  DL_TRY(dl_options_parse(&rows, 1, map, split_keys[split]));
  if (tokens && names->tokens) names->x = names->tokens;
  if (tokens && !names->x) names->x = token_names[split];
  if (tokens) names->y = names->x; /* what is asked for lies in the same row */
  names->named = is_given(node);
  return DL_OK;
}

dl_status dl_source_valid_fraction(const dl_config *config, double *out) {
  const dl_node *node = config->data.valid;
  *out = 0;
  if (!is_given(node) || node->kind != DL_NODE_SCALAR) return DL_OK;
  DL_TRY(dl_node_real(node, "data.valid", out));
  if (!(*out >= 0 && *out < 1))
    return dl_node_fail(node, false, "data.valid must be a fraction from 0 to below 1, or {x:, y:}, not %s",
                        node->text);
  return DL_OK;
}

/* An autoencoder's targets: where y of train is its x, so it is in splits of which nothing else is said. */
static void follow_train(dl_source *source, const dl_node *const *nodes) {
  const dl_split_names *train = &source->split[DL_SPLIT_TRAIN];
  for (int s = 0; s < DL_SPLITS; s++)
    if (!strcmp(train->x, train->y) && !dl_node_get(nodes[s], "y")) source->split[s].y = source->split[s].x;
}

static dl_status list_names(dl_source *source, const dl_config *config, unsigned need) {
  const dl_node *nodes[DL_SPLITS] = {config->data.train, config->data.valid, config->data.test};
  DL_TRY(dl_source_valid_fraction(config, &source->valid_fraction));
  bool scalar_valid = is_given(nodes[DL_SPLIT_VALID]) && nodes[DL_SPLIT_VALID]->kind == DL_NODE_SCALAR;
  if (scalar_valid) nodes[DL_SPLIT_VALID] = NULL;
  if (source->valid_fraction > 0 && (need >> DL_SPLIT_VALID & 1)) need |= 1u << DL_SPLIT_TRAIN;
  source->only_needed = need & DL_DATA_ONLY_NEEDED;
  bool training = (need >> DL_SPLIT_TRAIN & 1) && !(need & DL_DATA_WITHOUT_Y);
  for (int s = 0; s < DL_SPLITS; s++) {
    dl_split_names *names = &source->split[s];
    DL_TRY(read_names(source, nodes[s], s, config->task));
    names->needed = (need >> s & 1) || (training && names->named);
    names->wanted = names->needed || !source->only_needed;
    names->needs_y = names->needed && !(need & DL_DATA_WITHOUT_Y);
  }
  if (config->task == DL_TASK_REGRESSION) follow_train(source, nodes);
  if (scalar_valid) source->split[DL_SPLIT_VALID].wanted = source->split[DL_SPLIT_VALID].needed = false;
  return DL_OK;
}

dl_status dl_source_make(const dl_config *config, unsigned need, dl_source *out) {
  *out = (dl_source){.arena = dl_arena_new()};
  dl_status status = out->arena ? list_names(out, config, need) : DL_ERR_NOMEM;
  if (status == DL_OK) status = list_files(out, config);
  if (status != DL_OK) dl_source_clear(out);
  return status;
}

void dl_source_clear(dl_source *source) {
  for (int i = 0; i < source->n_files; i++) free(source->files[i]);
  free(source->files);
  dl_arena_destroy(&source->arena);
  *source = (dl_source){.n_files = 0};
}

/* What is no whole number is the loss's to refuse. */
bool dl_source_ignored_label(const dl_config *config, int64_t *out) {
  const dl_node *node = config->loss ? dl_node_get(config->loss, "ignore_index") : NULL;
  char *end = NULL;
  if (!node || node->kind != DL_NODE_SCALAR) return false;
  *out = strtoll(node->text, &end, 10);
  return end != node->text && !*end;
}

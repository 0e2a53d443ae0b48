/* options.c - tables bound to YAML maps. */
#include "core/options.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- choices ---- */

int dl_choice_index(const char *choices, const char *word) {
  size_t length = strlen(word);
  int index = 0;
  for (const char *p = choices; *p; index++) {
    size_t n = strcspn(p, "|");
    if (n == length && !strncmp(p, word, n)) return index;
    p += n + (p[n] == '|');
  }
  return -1;
}

const char *dl_choice_name(const char *choices, int index, char *text, size_t size) {
  const char *p = choices;
  while (index-- > 0 && *p) {
    p += strcspn(p, "|");
    p += *p == '|';
  }
  snprintf(text, size, "%.*s", (int)strcspn(p, "|"), p);
  return text;
}

/* ---- the nearest name ---- */

/* What users of other frameworks type. */
static const char *const synonyms[][2] = {
    {"learning_rate", "lr"},
    {"batch_size", "batch"},
    {"weight_decay_rate", "weight_decay"},
    {"n_epochs", "epochs"},
    {"num_epochs", "epochs"},
    {"linear", "dense"},
    {"fc", "dense"},
    {"out_features", "units"},
    {"rate", "p"},
    {"p", "rate"},
    {"path", "file"},
    {"criterion", "loss"},
    {"gradient_clip", "clip_norm"},
    {"clip", "clip_norm"},
    {"max_grad_norm", "clip_norm"},
    {"binary_cross_entropy", "bce"},
    {"crossentropy", "cross_entropy"},
    {"layers", "model"},
    {"network", "model"},
    {"filename", "file"},
    {"clipnorm", "clip_norm"},
    {"out_channels", "filters"},
    {"kernel_size", "kernel"},
    {"strides", "stride"},
    {"hidden_size", "units"},
    {"num_embeddings", "vocabulary"},
    {"embedding_dim", "size"},
    {"num_heads", "heads"},
};

/* What users of other frameworks type where no key of ours says the same. */
static const char *const advice[][2] = {
    {"activation", "an activation is a layer of its own: write it, like `- relu`, on the next line"},
    {"input_shape", "shapes follow from the data and from the layer before: leave it out"},
    {"input_dim", "shapes follow from the data and from the layer before: leave it out"},
    {"input_size", "shapes follow from the data and from the layer before: leave it out"},
    {"in_features", "shapes follow from the data and from the layer before: leave it out"},
    {"in_channels", "shapes follow from the data and from the layer before: leave it out"},
    {"kernel_initializer", "`init` says how a layer's weights begin"},
    {"kernel_regularizer", "penalties are the optimizer's: set l1, l2 or weight_decay there"},
    {"batch_first", "sequences are (samples, steps, features): leave it out"},
    {"num_layers", "write the layer once for each of them"},
    {"metrics", "all metrics of the task are always computed: leave it out"},
    {"callbacks", "see train, schedule and checkpoint in `dldist help train`"},
};

/* Optimal string alignment distance of words up to 31 letters. */
static int distance(const char *a, const char *b) {
  int d[33][33];
  int n = (int)strnlen(a, 31), m = (int)strnlen(b, 31);
  for (int i = 0; i <= n; i++) d[i][0] = i;
  for (int j = 0; j <= m; j++) d[0][j] = j;
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= m; j++) {
      int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
      int best = d[i - 1][j - 1] + (x != y);
      if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
        best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

const char *dl_nearest_name(const char *word, const char *const *names, int n) {
  for (size_t s = 0; s < sizeof synonyms / sizeof synonyms[0]; s++)
    for (int i = 0; i < n; i++)
      if (distance(word, synonyms[s][0]) <= (strlen(synonyms[s][0]) > 4) && !strcmp(names[i], synonyms[s][1]))
        return names[i];
  int best = -1, least = 1 + (int)strlen(word) / 3;
  for (int i = 0; i < n; i++) {
    int d = distance(word, names[i]);
    if (d <= least && (best < 0 || d < least)) {
      best = i;
      least = d;
    }
  }
  return best < 0 ? NULL : names[best];
}

dl_status dl_hint_nearest(const char *word, const char *const *names, int n, const char *otherwise, ...) {
  const char *near = dl_nearest_name(word, names, n);
  if (near) return dl_hint("did you mean '%s'?", near);
  char text[sizeof dl_error_last()->hint];
  va_list args;
  va_start(args, otherwise);
  vsnprintf(text, sizeof text, otherwise, args);
  va_end(args);
  return dl_hint("%s", text);
}

/* ---- binding ---- */

static dl_status check_range(const dl_option *option, const dl_node *node, double value) {
  if (option->min == 0 && option->max == 0) return DL_OK;
  if (value >= option->min && value <= option->max) return DL_OK;
  if (option->max >= 9e15 && value < option->min)
    return dl_node_fail(node, false, "%s must be at least %.10g, not %s", option->key, option->min, node->text);
  return dl_node_fail(node, false, "%s must lie within %.10g and %.10g, not %s", option->key, option->min, option->max,
                      node->text);
}

/* The tree holds one form of it from here on: a resume compares texts. */
static dl_status bind_bool(const dl_option *o, dl_node *node, void *to) {
  DL_TRY(dl_node_bool(node, o->key, to));
  node->text = *(bool *)to ? "true" : "false";
  return DL_OK;
}

static dl_status bind_int(const dl_option *o, dl_node *node, void *to) {
  DL_TRY(dl_node_int(node, o->key, to));
  return check_range(o, node, (double)*(int64_t *)to);
}

static dl_status bind_auto_int(const dl_option *o, dl_node *node, void *to) {
  if (node->kind == DL_NODE_SCALAR && !strcmp(node->text, "auto")) {
    *(int64_t *)to = DL_AUTO;
    return DL_OK;
  }
  if (dl_node_int(node, o->key, to) != DL_OK) {
    char text[96];
    return dl_node_fail(node, false, "%s must be a whole number or auto, not %s", o->key,
                        dl_node_describe(node, text, sizeof text));
  }
  return check_range(o, node, (double)*(int64_t *)to);
}

static dl_status bind_real(const dl_option *o, dl_node *node, void *to) {
  DL_TRY(dl_node_real(node, o->key, to));
  return check_range(o, node, *(double *)to);
}

static dl_status bind_string(const dl_option *o, dl_node *node, void *to) {
  char text[96];
  if (node->kind != DL_NODE_SCALAR)
    return dl_node_fail(node, false, "%s must be a text, not %s", o->key, dl_node_describe(node, text, sizeof text));
  *(const char **)to = node->text;
  return DL_OK;
}

static dl_status bind_choice(const dl_option *o, dl_node *node, void *to) {
  char text[96];
  int index = node->kind == DL_NODE_SCALAR ? dl_choice_index(o->choices, node->text) : -1;
  if (index < 0)
    return dl_node_fail(node, false, "%s must be one of %s, not %s", o->key, o->choices,
                        dl_node_describe(node, text, sizeof text));
  *(int *)to = index;
  return DL_OK;
}

static dl_status bind_pair(const dl_option *o, dl_node *node, void *to) {
  int64_t *pair = to;
  if (node->kind == DL_NODE_LIST && dl_node_size(node) == 2) {
    DL_TRY(bind_int(o, node->first, &pair[0]));
    return bind_int(o, node->last, &pair[1]);
  }
  if (node->kind != DL_NODE_SCALAR) {
    char text[96];
    return dl_node_fail(node, false, "%s must be a whole number or a list of two, not %s", o->key,
                        dl_node_describe(node, text, sizeof text));
  }
  DL_TRY(bind_int(o, node, &pair[0]));
  pair[1] = pair[0];
  return DL_OK;
}

static dl_status bind_node(const dl_option *o, dl_node *node, void *to) {
  (void)o;
  *(dl_node **)to = node;
  return DL_OK;
}

static dl_status (*const binders[])(const dl_option *, dl_node *, void *) = {
    [DL_OPTION_BOOL] = bind_bool, [DL_OPTION_INT] = bind_int,       [DL_OPTION_AUTO_INT] = bind_auto_int,
    [DL_OPTION_REAL] = bind_real, [DL_OPTION_STRING] = bind_string, [DL_OPTION_CHOICE] = bind_choice,
    [DL_OPTION_PAIR] = bind_pair, [DL_OPTION_NODE] = bind_node,
};

/* Puts the default of an absent key into the map, parsed as YAML so that "[3, 5]" is a list. */
static dl_status put_default(const dl_option *option, dl_node *map, dl_node **out) {
  dl_document document;
  DL_TRY(dl_document_parse(option->fallback, strlen(option->fallback), "(default)", &document));
  dl_node *value = dl_node_clone(document.root, map->arena);
  dl_document_destroy(&document);
  if (!value) return DL_ERR_NOMEM;
  dl_node *root = map;
  for (const char *key = option->key;;) {
    size_t length = strcspn(key, ".");
    char part[64];
    snprintf(part, sizeof part, "%.*s", (int)length, key);
    if (!key[length]) {
      *out = value;
      value->line = value->column = 0;
      return dl_node_put(root, part, value);
    }
    dl_node *next = dl_node_get(root, part);
    if (!next || next->kind == DL_NODE_NULL) {
      next = dl_node_new(root, DL_NODE_MAP, NULL);
      if (!next) return DL_ERR_NOMEM;
      DL_TRY(dl_node_put(root, part, next));
    }
    root = next;
    key += length + 1;
  }
}

static dl_status bind_option(const dl_option *option, dl_node *map, const char *where, void *target) {
  void *to = (char *)target + option->offset;
  dl_node *node = dl_node_find(map, option->key);
  bool absent = !node || (node->kind == DL_NODE_NULL && option->type != DL_OPTION_NODE);
  if (absent && !option->fallback) {
    dl_node_fail(map, true, "%s%s'%s' is missing", where, *where ? ": " : "", option->key);
    return dl_hint("%s", option->help);
  }
  if (absent && !*option->fallback) {
    if (option->type == DL_OPTION_NODE) *(dl_node **)to = NULL;
    if (option->type == DL_OPTION_STRING) *(const char **)to = NULL;
    return DL_OK;
  }
  if (absent) DL_TRY(put_default(option, map, &node));
  return binders[option->type](option, node, to);
}

/* ---- unknown keys ---- */

enum { MAX_NAMES = 128 };

/* The names that may follow `prefix` ("" or "train."), each once. */
static int names_under(const dl_option_set *sets, int n_sets, const char *prefix, char names[MAX_NAMES][64]) {
  int n = 0;
  size_t skip = strlen(prefix);
  for (int s = 0; s < n_sets; s++)
    for (int i = 0; i < sets[s].n && n < MAX_NAMES; i++) {
      const char *key = sets[s].options[i].key;
      if (strncmp(key, prefix, skip)) continue;
      snprintf(names[n], sizeof names[n], "%.*s", (int)strcspn(key + skip, "."), key + skip);
      bool seen = false;
      for (int k = 0; k < n && !seen; k++) seen = !strcmp(names[k], names[n]);
      if (!seen) n++;
    }
  return n;
}

static const dl_option *find_option(const dl_option_set *sets, int n_sets, const char *key) {
  for (int s = 0; s < n_sets; s++)
    for (int i = 0; i < sets[s].n; i++)
      if (!strcmp(sets[s].options[i].key, key)) return &sets[s].options[i];
  return NULL;
}

/* `batch_size` at the top: the row whose last part is near, as its whole key ("train.batch"). */
static const char *near_elsewhere(const dl_option_set *sets, int n_sets, const char *word) {
  for (int s = 0; s < n_sets; s++)
    for (int i = 0; i < sets[s].n; i++) {
      const char *key = sets[s].options[i].key, *dot = strrchr(key, '.');
      if (dot && dl_nearest_name(word, (const char *const[]){dot + 1}, 1)) return key;
    }
  return NULL;
}

/* All names where a line holds them. */
static dl_status hint_known(char names[MAX_NAMES][64], int n) {
  char text[160];
  size_t used = 0;
  for (int i = 0; i < n && used < sizeof text; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", names[i]);
  if (!n || used >= sizeof text) return dl_hint("known here: see `dldist help train` and `dldist list`");
  return dl_hint("known here: %s", text);
}

static dl_status unknown_key(const dl_option_set *sets, int n_sets, const dl_node *child, const char *place,
                             char names[MAX_NAMES][64], int n) {
  const char *list[MAX_NAMES];
  for (int i = 0; i < n; i++) list[i] = names[i];
  const char *near = dl_nearest_name(child->key, list, n);
  if (!near) near = near_elsewhere(sets, n_sets, child->key);
  dl_node_fail(child, true, "unknown key '%.60s'%s%s", child->key, *place ? " in " : "", place);
  for (size_t a = 0; a < sizeof advice / sizeof advice[0]; a++)
    if (!strcmp(child->key, advice[a][0])) return dl_hint("%s", advice[a][1]);
  return near ? dl_hint("did you mean '%s'?", near) : hint_known(names, n);
}

static dl_status check_keys(const dl_option_set *sets, int n_sets, const dl_node *map, const char *prefix,
                            const char *where) {
  char(*names)[64] = dl_calloc(MAX_NAMES, sizeof *names);
  if (!names) return DL_ERR_NOMEM;
  int n = names_under(sets, n_sets, prefix, names);
  char place[160];
  snprintf(place, sizeof place, "%s%s%.*s", where, *where && *prefix ? " " : "",
           (int)(*prefix ? strlen(prefix) - 1 : 0), prefix);
  dl_status status = DL_OK;
  for (const dl_node *child = map->first; child && status == DL_OK; child = child->next) {
    bool known = false;
    for (int i = 0; i < n && !known; i++) known = !strcmp(names[i], child->key);
    if (!known) {
      status = unknown_key(sets, n_sets, child, place, names, n);
      break;
    }
    char path[160];
    snprintf(path, sizeof path, "%s%s", prefix, child->key);
    if (find_option(sets, n_sets, path) || child->kind == DL_NODE_NULL) continue;
    char text[96];
    if (child->kind != DL_NODE_MAP)
      status = dl_node_fail(child, false, "%s must be a map, not %s", path, dl_node_describe(child, text, sizeof text));
    else {
      snprintf(path, sizeof path, "%s%s.", prefix, child->key);
      status = check_keys(sets, n_sets, child, path, where);
    }
  }
  free(names);
  return status;
}

dl_status dl_options_parse(const dl_option_set *sets, int n_sets, dl_node *map, const char *where) {
  if (map->kind == DL_NODE_NULL) map->kind = DL_NODE_MAP;
  if (map->kind != DL_NODE_MAP) {
    char text[96];
    return dl_node_fail(map, false, "%s must be a map of options, not %s", *where ? where : "the configuration",
                        dl_node_describe(map, text, sizeof text));
  }
  DL_TRY(check_keys(sets, n_sets, map, "", where));
  for (int s = 0; s < n_sets; s++)
    for (int i = 0; i < sets[s].n; i++) DL_TRY(bind_option(&sets[s].options[i], map, where, sets[s].target));
  return DL_OK;
}

/* ---- entries ---- */

dl_status dl_entry_normalise(dl_node *entry, const char *where, const char *(*value_key)(const char *name),
                             const char **name, dl_node **map) {
  char text[96];
  if (entry->kind == DL_NODE_SCALAR) { /* relu */
    dl_node *options = dl_node_new(entry, DL_NODE_MAP, NULL);
    if (!options) return DL_ERR_NOMEM;
    const char *word = entry->text;
    options->file = entry->file;
    options->line = entry->line;
    options->column = entry->column;
    entry->kind = DL_NODE_MAP;
    entry->text = "";
    DL_TRY(dl_node_put(entry, word, options));
    options->key_line = entry->line;
    options->key_column = entry->column;
  }
  if (entry->kind != DL_NODE_MAP || dl_node_size(entry) != 1)
    return dl_node_fail(entry, false, "%s must be a name, or one name with its options, not %s", where,
                        entry->kind == DL_NODE_MAP ? "a map of several keys (indent the options below the name)"
                                                   : dl_node_describe(entry, text, sizeof text));
  dl_node *options = entry->first;
  *name = options->key;
  if (options->kind == DL_NODE_SCALAR || options->kind == DL_NODE_LIST) { /* dense: 64 */
    const char *key = value_key(*name);
    if (!key)
      return dl_node_fail(options, false, "%s takes no single value, but %s", *name,
                          dl_node_describe(options, text, sizeof text));
    DL_TRY(dl_node_wrap(options, key));
  }
  if (options->kind == DL_NODE_NULL) options->kind = DL_NODE_MAP;
  *map = options;
  return DL_OK;
}

dl_status dl_named_normalise(dl_node *node, const char *where, const char *fallback, const char **name) {
  char text[96];
  if (node->kind == DL_NODE_NULL) node->kind = DL_NODE_MAP;
  if (node->kind == DL_NODE_SCALAR) DL_TRY(dl_node_wrap(node, "name"));
  if (node->kind != DL_NODE_MAP)
    return dl_node_fail(node, false, "%s must be a name, or a map with a name, not %s", where,
                        dl_node_describe(node, text, sizeof text));
  dl_node *found = dl_node_get(node, "name");
  if (!found) {
    found = dl_node_new(node, DL_NODE_SCALAR, fallback);
    if (!found) return DL_ERR_NOMEM;
    DL_TRY(dl_node_put(node, "name", found));
  }
  if (found->kind != DL_NODE_SCALAR)
    return dl_node_fail(found, false, "%s: name must be a text, not %s", where,
                        dl_node_describe(found, text, sizeof text));
  *name = found->text;
  return DL_OK;
}

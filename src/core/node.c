/* node.c - the tree of a YAML document: looking up, changing, checking. Reading is in node_read.c, writing in
 * node_write.c. */
#include "core/node.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dl_document_destroy(dl_document *document) {
  dl_arena_destroy(&document->arena);
  document->root = NULL;
}

size_t dl_node_size(const dl_node *node) {
  size_t n = 0;
  for (const dl_node *child = node->first; child; child = child->next) n++;
  return n;
}

static dl_node *child_named(const dl_node *map, const char *key, size_t length) {
  if (!map || map->kind != DL_NODE_MAP) return NULL;
  for (dl_node *child = map->first; child; child = child->next)
    if (!strncmp(child->key, key, length) && !child->key[length]) return child;
  return NULL;
}

dl_node *dl_node_get(const dl_node *map, const char *key) { return child_named(map, key, strlen(key)); }

/* The child that the first part of a path names; *rest is what follows the dot, NULL at the end. */
static dl_node *step(const dl_node *node, const char *path, const char **rest) {
  size_t length = strcspn(path, ".");
  *rest = path[length] ? path + length + 1 : NULL;
  if (node->kind != DL_NODE_LIST) return child_named(node, path, length);
  char *end;
  long index = strtol(path, &end, 10);
  if (end != path + length || index < 0) return NULL;
  dl_node *child = node->first;
  while (child && index--) child = child->next;
  return child;
}

dl_node *dl_node_find(const dl_node *root, const char *path) {
  const dl_node *node = root;
  dl_node *found = NULL;
  for (const char *rest; path && node; path = rest) node = found = step(node, path, &rest);
  return path ? NULL : found;
}

/* ---- changing ---- */

dl_node *dl_node_new(const dl_node *near, dl_node_kind kind, const char *text) {
  dl_node *node = dl_arena_alloc(near->arena, sizeof *node);
  if (!node) return NULL;
  *node = (dl_node){
      .kind = kind, .text = dl_arena_strdup(near->arena, text ? text : ""), .file = "(default)", .arena = near->arena};
  return node->text ? node : NULL;
}

static void copy_place(dl_node *to, const dl_node *from) {
  to->file = from->file;
  to->line = from->line;
  to->column = from->column;
}

/* Puts `child` where `old` stands among the children of `parent`. */
static void replace_child(dl_node *parent, dl_node *old, dl_node *child) {
  dl_node **link = &parent->first;
  while (*link && *link != old) link = &(*link)->next;
  *link = child;
  child->next = old->next;
  if (parent->last == old) parent->last = child;
}

dl_status dl_node_put(dl_node *parent, const char *key, dl_node *child) {
  child->next = NULL;
  child->key = NULL;
  if (key) {
    child->key = dl_arena_strdup(parent->arena, key);
    if (!child->key) return DL_ERR_NOMEM;
    dl_node *old = dl_node_get(parent, key);
    if (old) {
      child->key_line = old->key_line;
      child->key_column = old->key_column;
      replace_child(parent, old, child);
      return DL_OK;
    }
  }
  if (parent->last)
    parent->last->next = child;
  else
    parent->first = child;
  parent->last = child;
  return DL_OK;
}

/* Sets a parsed value at a dotted path. */
static dl_status put_at(dl_node *root, const char *path, dl_node *value) {
  const char *whole = path;
  dl_node *node = root;
  for (;;) {
    const char *rest;
    char key[128];
    size_t length = strcspn(path, ".");
    if (!length || length >= sizeof key) return dl_fail(DL_ERR_USAGE, "'%s' is no key of the configuration", path);
    snprintf(key, sizeof key, "%.*s", (int)length, path);
    if (node->kind == DL_NODE_NULL) node->kind = DL_NODE_MAP;
    dl_node *child = step(node, path, &rest);
    if (node->kind == DL_NODE_LIST && !child)
      return dl_node_fail(value, false, "'%s' cannot be set: the list has no entry %s", whole, key);
    if (node->kind == DL_NODE_SCALAR && dl_node_get(root, node->key ? node->key : "") == node) {
      /* `optimizer: adam` at the top and --set optimizer.lr=1: the text was the name. */
      dl_node *name = dl_node_new(node, DL_NODE_SCALAR, node->text);
      if (!name) return DL_ERR_NOMEM;
      copy_place(name, node);
      node->kind = DL_NODE_MAP;
      node->text = "";
      node->quoted = false;
      DL_TRY(dl_node_put(node, "name", name));
    }
    if (node->kind == DL_NODE_SCALAR)
      return path == whole ? dl_node_fail(value, false, "'%s' cannot be set: the configuration is no map", whole)
                           : dl_node_fail(value, false, "'%s' cannot be set: '%.*s' is no map", whole,
                                          (int)(path - whole) - 1, whole);
    if (!rest && node->kind == DL_NODE_LIST) {
      replace_child(node, child, value);
      return DL_OK;
    }
    if (!rest) return dl_node_put(node, key, value);
    if (!child || child->kind == DL_NODE_NULL) {
      if (!child) {
        child = dl_node_new(node, DL_NODE_MAP, NULL);
        if (!child) return DL_ERR_NOMEM;
        copy_place(child, value);
        DL_TRY(dl_node_put(node, key, child));
      }
      child->kind = DL_NODE_MAP;
    }
    node = child;
    path = rest;
  }
}

dl_status dl_node_set(dl_node *root, const char *path, const char *text, dl_node **out) {
  dl_node *value = dl_node_new(root, DL_NODE_SCALAR, text);
  if (!value) return DL_ERR_NOMEM;
  const dl_node *old = dl_node_find(root, path);
  if (old) copy_place(value, old);
  if (out) *out = value;
  return put_at(root, path, value);
}

dl_status dl_node_set_yaml(dl_node *root, const char *assignment) {
  const char *equals = strchr(assignment, '=');
  if (!equals || equals == assignment) {
    dl_fail(DL_ERR_USAGE, "--set %s: not of the form key.path=VALUE", assignment);
    return dl_hint("for example --set train.epochs=5");
  }
  dl_document document;
  char *path = dl_arena_printf(root->arena, "%.*s", (int)(equals - assignment), assignment);
  char *name = path ? dl_arena_printf(root->arena, "--set %s", path) : NULL;
  if (!name) return DL_ERR_NOMEM;
  DL_TRY(dl_document_parse(equals + 1, strlen(equals + 1), name, &document));
  bool empty = document.root->kind == DL_NODE_MAP && !document.root->first && !strchr(equals, '{');
  dl_node *value = dl_node_clone(document.root, root->arena);
  dl_document_destroy(&document);
  if (!value) return DL_ERR_NOMEM;
  if (empty) value->kind = DL_NODE_NULL; /* --set key= is null */
  dl_status status = put_at(root, path, value);
  if (status == DL_OK) {
    /* The key's place is in the file, the node's is the option: errors are those of the option. */
    dl_node *put = dl_node_find(root, path);
    if (put) put->key_line = put->key_column = 0;
  }
  return status;
}

dl_status dl_node_wrap(dl_node *node, const char *key) {
  dl_node *inner = dl_node_new(node, node->kind, NULL);
  if (!inner) return DL_ERR_NOMEM;
  *inner = *node;
  node->kind = DL_NODE_MAP;
  node->text = "";
  node->quoted = false;
  node->first = node->last = NULL;
  int line = node->line, column = node->column;
  DL_TRY(dl_node_put(node, key, inner));
  inner->key_line = line;
  inner->key_column = column;
  return DL_OK;
}

dl_node *dl_node_clone(const dl_node *node, dl_arena *arena) {
  dl_node *copy = dl_arena_alloc(arena, sizeof *copy);
  if (!copy) return NULL;
  *copy = *node;
  copy->arena = arena;
  copy->first = copy->last = copy->next = NULL;
  copy->text = dl_arena_strdup(arena, node->text);
  copy->file = dl_arena_strdup(arena, node->file);
  copy->key = node->key ? dl_arena_strdup(arena, node->key) : NULL;
  if (!copy->text || !copy->file || (node->key && !copy->key)) return NULL;
  for (const dl_node *child = node->first; child; child = child->next) {
    dl_node *twin = dl_node_clone(child, arena);
    if (!twin) return NULL;
    if (copy->last)
      copy->last->next = twin;
    else
      copy->first = twin;
    copy->last = twin;
  }
  return copy;
}

/* 1e-3 and 0.001 are the same number, whoever wrote them. */
static bool equal_scalars(const dl_node *a, const dl_node *b) {
  if (!strcmp(a->text, b->text)) return true;
  char *end_a, *end_b;
  double x = strtod(a->text, &end_a), y = strtod(b->text, &end_b);
  return a->text[0] && b->text[0] && !*end_a && !*end_b && x == y;
}

bool dl_node_equal(const dl_node *a, const dl_node *b) {
  if (a->kind != b->kind || dl_node_size(a) != dl_node_size(b)) return false;
  if (a->kind == DL_NODE_SCALAR) return equal_scalars(a, b);
  const dl_node *other = b->first;
  for (const dl_node *child = a->first; child; child = child->next) {
    if (a->kind == DL_NODE_MAP) other = dl_node_get(b, child->key);
    if (!other || !dl_node_equal(child, other)) return false;
    if (a->kind == DL_NODE_LIST) other = other->next;
  }
  return true;
}

/* ---- checking ---- */

dl_status dl_node_fail(const dl_node *node, bool key, const char *format, ...) {
  char message[sizeof dl_error_last()->message];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  bool use_key = key && node->key_line;
  return dl_fail_at(DL_ERR_USAGE, node->file, use_key ? node->key_line : node->line,
                    use_key ? node->key_column : node->column, "%s", message);
}

const char *dl_node_describe(const dl_node *node, char *text, size_t size) {
  if (node->kind == DL_NODE_SCALAR)
    snprintf(text, size, "'%.60s'", node->text);
  else
    snprintf(text, size, "%s", node->kind == DL_NODE_MAP ? "a map" : node->kind == DL_NODE_LIST ? "a list" : "nothing");
  return text;
}

static dl_status wrong_type(const dl_node *node, const char *what, const char *wanted) {
  char text[96];
  dl_node_fail(node, false, "%s must be %s, not %s", what, wanted, dl_node_describe(node, text, sizeof text));
  return node->quoted ? dl_hint("quotes make it a text: leave them out") : dl_error_last()->status;
}

dl_status dl_node_int(const dl_node *node, const char *what, int64_t *out) {
  char *end = NULL;
  errno = 0;
  long long value = node->kind == DL_NODE_SCALAR && !node->quoted ? strtoll(node->text, &end, 10) : 0;
  if (!end || end == node->text || *end || errno) return wrong_type(node, what, "a whole number");
  *out = value;
  return DL_OK;
}

dl_status dl_node_real(const dl_node *node, const char *what, double *out) {
  char *end = NULL;
  bool plain = node->kind == DL_NODE_SCALAR && !node->quoted && node->text[0] && !strpbrk(node->text, "xXnNiIpP");
  double value = plain ? strtod(node->text, &end) : 0;
  if (!end || end == node->text || *end || !isfinite(value)) return wrong_type(node, what, "a number");
  *out = value;
  return DL_OK;
}

dl_status dl_node_bool(const dl_node *node, const char *what, bool *out) {
  static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"}; /* YAML 1.2, core schema */
  bool plain = node->kind == DL_NODE_SCALAR && !node->quoted;
  for (int i = 0; plain && i < 6; i++) {
    if (strcmp(node->text, words[i])) continue;
    *out = i < 3;
    return DL_OK;
  }
  return wrong_type(node, what, "true or false");
}

/* node.h - a YAML document as a tree with places, read through libfyaml, the only user of it (floor: core).
 *
 * Every node knows where it stands, so that whoever finds it wrong can say where. The tree may be changed (defaults put
 * in, --set applied) and written back. Nodes belong to their document's arena.
 */
#ifndef DL_CORE_NODE_H
#define DL_CORE_NODE_H

#include "core/mem.h"
#include "core/status.h"

typedef enum dl_node_kind { DL_NODE_NULL, DL_NODE_SCALAR, DL_NODE_LIST, DL_NODE_MAP } dl_node_kind;

typedef struct dl_node dl_node;
struct dl_node {
  dl_node_kind kind;
  bool quoted;      /* a scalar in quotes is a string whatever it looks like */
  const char *text; /* a scalar's text, "" for null */
  const char *key;  /* in a map: this entry's key, else NULL */
  const char *file; /* where it stands: file name, "--set", or "(default)" */
  int line, column; /* of the value, from 1; 0 for defaults */
  int key_line, key_column;
  dl_node *first, *last; /* children in order */
  dl_node *next;
  dl_arena *arena;
};

typedef struct dl_document {
  dl_arena *arena;
  dl_node *root;
} dl_document;

/* Parses `bytes` of YAML that were read from `name`. Syntax errors, duplicate keys, anchors and tags that the parser
 * refuses, more than 1 MiB of text, a depth over 64: DL_ERR_USAGE with file, line and column. An empty text is an empty
 * map. */
dl_status dl_document_parse(const char *text, size_t bytes, const char *name, dl_document *out);
void dl_document_destroy(dl_document *document);

/* Writes `node` as YAML text that parses to the same tree; freed by the caller. */
dl_status dl_node_write(const dl_node *node, char **out);

size_t dl_node_size(const dl_node *node);                     /* children */
dl_node *dl_node_get(const dl_node *map, const char *key);    /* NULL where missing or not a map */
dl_node *dl_node_find(const dl_node *root, const char *path); /* dotted; numbers index lists */
/* Sets the scalar at a dotted path, making maps on the way; it stands where the one before it stood. *out may be NULL.
 */
dl_status dl_node_set(dl_node *root, const char *path, const char *text, dl_node **out);
/* Puts a parsed value at a dotted path, as `--set path=yaml` does. An index into a list must exist. */
dl_status dl_node_set_yaml(dl_node *root, const char *assignment);
/* New nodes in the arena of `near`, not yet linked. NULL and a record on failure. */
dl_node *dl_node_new(const dl_node *near, dl_node_kind kind, const char *text);
/* Appends to a list or a map (key NULL for lists; replaces an entry of the same key). */
dl_status dl_node_put(dl_node *parent, const char *key, dl_node *child);
/* Turns `node` into a map of one entry key: value, where value is what the node was. */
dl_status dl_node_wrap(dl_node *node, const char *key);
dl_node *dl_node_clone(const dl_node *node, dl_arena *arena);
bool dl_node_equal(const dl_node *a, const dl_node *b); /* same content, places and key order aside */

/* Fails at this node's (or, for key true, its key's) place. */
dl_status dl_node_fail(const dl_node *node, bool key, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Scalars with their type checked; errors name `what`. "1e-3", "0x10", "1_000" are not integers; 3.0 is not an integer.
 */
dl_status dl_node_int(const dl_node *node, const char *what, int64_t *out);
dl_status dl_node_real(const dl_node *node, const char *what, double *out);
dl_status dl_node_bool(const dl_node *node, const char *what, bool *out); /* true, True, TRUE, false, ... */
/* "a map", "a list", "the text 'x'" for messages. */
const char *dl_node_describe(const dl_node *node, char *text, size_t size);

#endif

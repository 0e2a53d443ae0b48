/* node_read.c - YAML text to nodes, event by event, through libfyaml.
 *
 * Events rather than libfyaml's own documents: every node gets its exact place, duplicate keys are found with theirs,
 * and aliases are copied under a bound on the number of nodes, so that no small text becomes a large tree.
 */
#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/node.h"

#define MAX_TEXT (1u << 20)
#define MAX_NODES 100000
#define MAX_DEPTH 64
#define MAX_ANCHORS 256
#define MAX_KEYS 4096 /* of one map: finding duplicates takes their square */

typedef struct reader {
  struct fy_parser *parser;
  struct fy_diag *diag;
  dl_arena *arena;
  const char *name; /* in the arena */
  int nodes, depth, anchors;
  size_t copied_bytes; /* of text, by aliases */
  struct {
    const char *name;
    const dl_node *node;
  } anchor[MAX_ANCHORS];
} reader;

static dl_status read_node(reader *r, struct fy_parser *parser, struct fy_event *event, dl_node **out);

/* From 1, 0 where not known. libfyaml's mark of a quoted text or an alias stands behind the quote or the asterisk. */
static void place_of(struct fy_event *event, int *line, int *column) {
  const struct fy_mark *mark = fy_event_start_mark(event);
  struct fy_token *token = event->type == FYET_SCALAR ? event->scalar.value : NULL;
  enum fy_scalar_style style = token ? fy_scalar_token_get_style(token) : FYSS_PLAIN;
  bool behind = event->type == FYET_ALIAS || style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
  *line = mark ? mark->line + 1 : 0;
  *column = mark ? mark->column + !(behind && mark->column) : 0;
}

static dl_status fail_at_event(const reader *r, struct fy_event *event, const char *message) {
  int line, column;
  place_of(event, &line, &column);
  return dl_fail_at(DL_ERR_USAGE, r->name, line, column, "%s", message);
}

/* What the parser collected, or a general sentence. */
static dl_status syntax_error(const reader *r) {
  void *at = NULL;
  const struct fy_diag_error *error = fy_diag_errors_iterate(r->diag, &at);
  return error ? dl_fail_at(DL_ERR_USAGE, r->name, error->line, error->column, "not valid YAML: %s", error->msg)
               : dl_fail_at(DL_ERR_USAGE, r->name, 0, 0, "not valid YAML");
}

static char *token_text(reader *r, struct fy_token *token) {
  size_t length = 0;
  const char *text = token ? fy_token_get_text(token, &length) : "";
  return dl_arena_printf(r->arena, "%.*s", (int)length, text ? text : "");
}

/* A text with "\0" in it would end there without a word. */
static bool holds_zero(struct fy_token *token) {
  size_t length = 0;
  const char *text = token ? fy_token_get_text(token, &length) : NULL;
  return text && memchr(text, 0, length);
}

static dl_status new_node(reader *r, struct fy_event *event, dl_node_kind kind, dl_node **out) {
  if (++r->nodes > MAX_NODES) return fail_at_event(r, event, "the document has more than 100,000 nodes");
  dl_node *node = dl_arena_alloc(r->arena, sizeof *node);
  if (!node) return DL_ERR_NOMEM;
  *node = (dl_node){.kind = kind, .text = "", .file = r->name, .arena = r->arena};
  place_of(event, &node->line, &node->column);
  *out = node;
  return DL_OK;
}

static dl_status next_event(reader *r, struct fy_event **out) {
  *out = fy_parser_parse(r->parser);
  return *out ? DL_OK : syntax_error(r);
}

static bool is_null(const char *text) {
  return !*text || !strcmp(text, "~") || !strcmp(text, "null") || !strcmp(text, "Null") || !strcmp(text, "NULL");
}

static dl_status read_scalar(reader *r, struct fy_event *event, dl_node **out) {
  DL_TRY(new_node(r, event, DL_NODE_SCALAR, out));
  struct fy_token *token = event->scalar.value;
  if (holds_zero(token)) return fail_at_event(r, event, "a text with a 0 byte in it");
  (*out)->text = token_text(r, token);
  if (!(*out)->text) return DL_ERR_NOMEM;
  (*out)->quoted = token && fy_scalar_token_get_style(token) != FYSS_PLAIN;
  if (!(*out)->quoted && is_null((*out)->text)) {
    (*out)->kind = DL_NODE_NULL;
    (*out)->text = "";
  }
  return DL_OK;
}

static dl_status read_list(reader *r, struct fy_event *event, dl_node **out) {
  DL_TRY(new_node(r, event, DL_NODE_LIST, out));
  for (;;) {
    struct fy_event *item;
    DL_TRY(next_event(r, &item));
    bool end = item->type == FYET_SEQUENCE_END;
    dl_node *child = NULL;
    dl_status status = end ? DL_OK : read_node(r, r->parser, item, &child);
    fy_parser_event_free(r->parser, item);
    if (end || status != DL_OK) return status;
    DL_TRY(dl_node_put(*out, NULL, child));
  }
}

/* One key: a scalar that the map does not have yet. */
static dl_status read_key(reader *r, struct fy_event *event, const dl_node *map, dl_node **key) {
  if (event->type != FYET_SCALAR) return fail_at_event(r, event, "a key must be plain text");
  DL_TRY(read_scalar(r, event, key));
  const dl_node *old = dl_node_get(map, (*key)->text);
  if (!old) return DL_OK;
  dl_node_fail(*key, false, "key '%s' stands twice", (*key)->text);
  return dl_hint("it was set in line %d already: remove one of them", old->key_line);
}

static dl_status read_map(reader *r, struct fy_event *event, dl_node **out) {
  DL_TRY(new_node(r, event, DL_NODE_MAP, out));
  for (int keys = 0;; keys++) {
    struct fy_event *item;
    DL_TRY(next_event(r, &item));
    bool end = item->type == FYET_MAPPING_END;
    dl_node *key = NULL, *value = NULL;
    dl_status status = end                ? DL_OK
                       : keys == MAX_KEYS ? fail_at_event(r, item, "a map of more than 4,096 keys")
                                          : read_key(r, item, *out, &key);
    fy_parser_event_free(r->parser, item);
    if (end || status != DL_OK) return status;
    DL_TRY(next_event(r, &item));
    status = read_node(r, r->parser, item, &value);
    fy_parser_event_free(r->parser, item);
    DL_TRY(status);
    DL_TRY(dl_node_put(*out, key->text, value));
    value->key_line = key->line;
    value->key_column = key->column;
  }
}

/* Adds what a copy of `node` would take, at `depth`. */
static void measure(const dl_node *node, int depth, reader *r, int *deepest) {
  r->nodes++;
  r->copied_bytes += strlen(node->text) + (node->key ? strlen(node->key) : 0);
  if (depth > *deepest) *deepest = depth;
  for (const dl_node *child = node->first; child; child = child->next) measure(child, depth + 1, r, deepest);
}

static dl_status read_alias(reader *r, struct fy_event *event, dl_node **out) {
  const char *name = token_text(r, event->alias.anchor);
  if (!name) return DL_ERR_NOMEM;
  for (int i = r->anchors; i-- > 0;) {
    if (strcmp(r->anchor[i].name, name)) continue;
    int deepest = 0;
    measure(r->anchor[i].node, r->depth, r, &deepest);
    if (r->nodes > MAX_NODES) return fail_at_event(r, event, "aliases make the document larger than 100,000 nodes");
    if (r->copied_bytes > MAX_TEXT) return fail_at_event(r, event, "aliases make the document larger than 1 MiB");
    if (deepest > MAX_DEPTH) return fail_at_event(r, event, "nested deeper than 64 levels");
    *out = dl_node_clone(r->anchor[i].node, r->arena);
    if (!*out) return DL_ERR_NOMEM;
    (*out)->key = NULL;
    return DL_OK;
  }
  fail_at_event(r, event, "an alias of an anchor that was not set before");
  return dl_hint("a text that begins with * or & stands in quotes");
}

static dl_status keep_anchor(reader *r, struct fy_event *event, struct fy_token *anchor, const dl_node *node) {
  if (!anchor) return DL_OK;
  if (r->anchors == MAX_ANCHORS) return fail_at_event(r, event, "more than 256 anchors");
  r->anchor[r->anchors].name = token_text(r, anchor);
  r->anchor[r->anchors++].node = node;
  return r->anchor[r->anchors - 1].name ? DL_OK : DL_ERR_NOMEM;
}

static dl_status read_node(reader *r, struct fy_parser *parser, struct fy_event *event, dl_node **out) {
  (void)parser;
  if (++r->depth > MAX_DEPTH) return fail_at_event(r, event, "nested deeper than 64 levels");
  struct fy_token *anchor = NULL;
  dl_status status;
  switch (event->type) {
    case FYET_SCALAR:
      status = read_scalar(r, event, out);
      anchor = event->scalar.anchor;
      break;
    case FYET_SEQUENCE_START:
      status = read_list(r, event, out);
      anchor = event->sequence_start.anchor;
      break;
    case FYET_MAPPING_START:
      status = read_map(r, event, out);
      anchor = event->mapping_start.anchor;
      break;
    case FYET_ALIAS:
      status = read_alias(r, event, out);
      break;
    default:
      status = fail_at_event(r, event, "not valid YAML: a value is missing");
      break;
  }
  r->depth--;
  return status == DL_OK ? keep_anchor(r, event, anchor, *out) : status;
}

/* Skips what stands around the one document; an empty text gives an empty map. */
static dl_status read_stream(reader *r, dl_node **root) {
  for (;;) {
    struct fy_event *event = fy_parser_parse(r->parser);
    if (!event) return fy_parser_get_stream_error(r->parser) ? syntax_error(r) : DL_OK;
    enum fy_event_type type = event->type;
    bool content =
        type == FYET_SCALAR || type == FYET_SEQUENCE_START || type == FYET_MAPPING_START || type == FYET_ALIAS;
    dl_status status = DL_OK;
    if (content && *root)
      status = fail_at_event(r, event, "a second document in the file");
    else if (content)
      status = read_node(r, r->parser, event, root);
    fy_parser_event_free(r->parser, event);
    DL_TRY(status);
    if (type == FYET_STREAM_END) return DL_OK;
  }
}

/* Bytes of the UTF-8 character at `p`, 0 where there is none. */
static size_t character_length(const unsigned char *p, size_t left) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
  if (n < 2) return n;
  if (n > left) return 0;
  uint32_t code = *p & (0x7Fu >> n);
  for (size_t i = 1; i < n; i++) {
    if (p[i] >> 6 != 2) return 0;
    code = code << 6 | (p[i] & 0x3Fu);
  }
  return code >= least[n] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) ? n : 0;
}

/* libfyaml takes a comment that is not UTF-8 for the end of the text. */
static dl_status check_encoding(const char *text, size_t bytes, const char *name) {
  int line = 1, column = 1;
  for (size_t at = 0, n; at < bytes; at += n) {
    n = character_length((const unsigned char *)text + at, bytes - at);
    if (!n || !text[at])
      return dl_fail_at(DL_ERR_USAGE, name, line, column, "not valid YAML: %s", n ? "a 0 byte" : "not UTF-8");
    column = text[at] == '\n' ? 1 : column + 1;
    line += text[at] == '\n';
  }
  return DL_OK;
}

static void print_nothing(struct fy_diag *diag, void *user, const char *text, size_t bytes) {
  (void)diag, (void)user, (void)text, (void)bytes;
}

/* A parser that keeps what it has to say instead of printing it. */
static dl_status start_parser(reader *r, const char *text, size_t bytes) {
  struct fy_diag_cfg silence;
  fy_diag_cfg_default(&silence);
  silence.fp = NULL;
  silence.output_fn = print_nothing;
  r->diag = fy_diag_create(&silence);
  if (r->diag) {
    fy_diag_set_collect_errors(r->diag, true);
    struct fy_parse_cfg config = {.flags = FYPCF_QUIET, .diag = r->diag};
    r->parser = fy_parser_create(&config);
  }
  if (r->parser && !fy_parser_set_string(r->parser, text, bytes)) return DL_OK;
  return dl_fail(DL_ERR_SYSTEM, "the YAML parser could not be started");
}

static void stop_parser(reader *r) {
  if (r->parser) fy_parser_destroy(r->parser);
  if (r->diag) fy_diag_destroy(r->diag); /* not unref, which leaves the collected errors behind */
}

dl_status dl_document_parse(const char *text, size_t bytes, const char *name, dl_document *out) {
  *out = (dl_document){0};
  if (bytes > MAX_TEXT) return dl_fail_at(DL_ERR_USAGE, name, 0, 0, "is too large: more than 1 MiB of YAML");
  DL_TRY(check_encoding(text, bytes, name));
  out->arena = dl_arena_new();
  if (!out->arena) return DL_ERR_NOMEM;
  reader *r = dl_arena_alloc(out->arena, sizeof *r);
  dl_status status = DL_ERR_NOMEM;
  if (r && (r->name = dl_arena_strdup(out->arena, name))) {
    r->arena = out->arena;
    status = start_parser(r, text, bytes);
    if (status == DL_OK) status = read_stream(r, &out->root);
    stop_parser(r);
  }
  if (status == DL_OK && !out->root) {
    out->root = dl_arena_alloc(out->arena, sizeof *out->root);
    if (out->root)
      *out->root =
          (dl_node){.kind = DL_NODE_MAP, .text = "", .file = r->name, .line = 1, .column = 1, .arena = out->arena};
    else
      status = DL_ERR_NOMEM;
  }
  if (status != DL_OK) dl_document_destroy(out);
  return status;
}

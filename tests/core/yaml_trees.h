/* yaml_trees.h - what the tests of nodes share: reading that must succeed, and whether a tree survives writing. */
#ifndef DL_TEST_YAML_TREES_H
#define DL_TEST_YAML_TREES_H

#include <stdlib.h>
#include <string.h>

#include "core/node.h"
#include "dltest.h"

static inline dl_document parsed(const char *text) {
  dl_document document = {0};
  DL_ASSERT_OK(dl_document_parse(text, strlen(text), "c.yaml", &document));
  return document;
}

static inline const char *last_error(void) {
  static char text[2048];
  return dl_error_format(dl_error_last(), text, sizeof text);
}

/* Stricter than dl_node_equal: the same texts, read as the same types, in the same order. */
static inline bool identical(const dl_node *a, const dl_node *b) {
  if (a->kind != b->kind || strcmp(a->text, b->text) || !a->key != !b->key || (a->key && strcmp(a->key, b->key)))
    return false;
  int64_t i, j;
  double x, y;
  bool p, q;
  if (a->kind == DL_NODE_SCALAR &&
      (dl_node_int(a, "a", &i) != dl_node_int(b, "b", &j) || dl_node_real(a, "a", &x) != dl_node_real(b, "b", &y) ||
       dl_node_bool(a, "a", &p) != dl_node_bool(b, "b", &q)))
    return false;
  const dl_node *other = b->first;
  for (const dl_node *child = a->first; child; child = child->next, other = other->next)
    if (!other || !identical(child, other)) return false;
  return !other;
}

/* What is written parses to the same tree. */
static inline bool survives_writing(const dl_node *root) {
  char *text = NULL;
  dl_document again = {0};
  DL_ASSERT_OK(dl_node_write(root, &text));
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) /* of which YAML allows none */
    if (*p < 0x20 && *p != '\n') CU_FAIL("a control character was written");
  dl_status status = dl_document_parse(text, strlen(text), "written.yaml", &again);
  bool same = status == DL_OK && identical(root, again.root) && dl_node_equal(root, again.root);
  if (!same) fprintf(stderr, "%s\n---- %s\n", status == DL_OK ? "another tree" : last_error(), text);
  dl_document_destroy(&again);
  free(text);
  return same;
}

#endif

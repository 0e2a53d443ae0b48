/* node_write.c - nodes to YAML text: block style, maps without children of their own on one line. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/node.h"

static bool has_nested(const dl_node *node) {
  for (const dl_node *child = node->first; child; child = child->next)
    if (child->first) return true;
  return false;
}

/* Plain text is safe when it is made of these alone and would not read as something else. */
static bool plain_is_safe(const char *text) {
  if (!*text || !strcasecmp(text, "null") || !strcmp(text, "...")) return false;
  for (const char *p = text; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("_./+", *p) &&
        !(*p == '-' && (p > text || isdigit((unsigned char)p[1]) || p[1] == '.')))
      return false;
  return true;
}

static void write_text(FILE *out, const char *text, bool quoted) {
  char *end;
  double ignored = strtod(text, &end);
  (void)ignored;
  bool looks_typed = !*end || !strcmp(text, "true") || !strcmp(text, "false");
  if (plain_is_safe(text) && !(quoted && looks_typed)) {
    fputs(text, out);
    return;
  }
  fputc('"', out);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p == '"' || *p == '\\')
      fprintf(out, "\\%c", *p);
    else if (*p < 0x20 || *p == 0x7f)
      fprintf(out, "\\x%02x", *p);
    else
      fputc(*p, out);
  }
  fputc('"', out);
}

static void write_flow(FILE *out, const dl_node *node) {
  if (node->kind == DL_NODE_NULL)
    fputs("null", out);
  else if (node->kind == DL_NODE_SCALAR)
    write_text(out, node->text, node->quoted);
  else {
    bool map = node->kind == DL_NODE_MAP;
    fputc(map ? '{' : '[', out);
    for (const dl_node *child = node->first; child; child = child->next) {
      if (map) {
        write_text(out, child->key, false);
        fputs(": ", out);
      }
      write_flow(out, child);
      if (child->next) fputs(", ", out);
    }
    fputc(map ? '}' : ']', out);
  }
}

static void write_block(FILE *out, const dl_node *node, int indent) {
  for (const dl_node *child = node->first; child; child = child->next) {
    fprintf(out, "%*s", indent, "");
    bool map = node->kind == DL_NODE_MAP;
    if (map) {
      write_text(out, child->key, false);
      fputc(':', out);
    } else {
      fputc('-', out);
    }
    if (map && has_nested(child)) {
      fputc('\n', out);
      write_block(out, child, indent + 2);
    } else {
      fputc(' ', out);
      write_flow(out, child);
      fputc('\n', out);
    }
  }
}

dl_status dl_node_write(const dl_node *node, char **out) {
  size_t bytes;
  *out = NULL;
  FILE *stream = open_memstream(out, &bytes);
  if (!stream) return dl_fail(DL_ERR_NOMEM, "YAML text could not be made: out of memory");
  if (node->first)
    write_block(stream, node, 0);
  else {
    write_flow(stream, node);
    fputc('\n', stream);
  }
  if (!fclose(stream)) return DL_OK;
  free(*out);
  *out = NULL;
  return dl_fail(DL_ERR_NOMEM, "YAML text could not be made: out of memory");
}

/* test_node_write.c - whatever was read or made is written so that it reads back the same; mutated texts included. */
#include <stdlib.h>
#include <string.h>

#include "core/node.h"
#include "dltest.h"
#include "random.h"
#include "yaml_trees.h"

static void test_the_writer_is_readable(void) {
  dl_document d =
      parsed("{name: a run, train: {epochs: 3, x: [1, 2]}, model: [{dense: 64}, relu], valid: ~, s: '5', e: ''}");
  char *text = NULL;
  DL_ASSERT_OK(dl_node_write(d.root, &text));
  CU_ASSERT_STRING_EQUAL(text,
                         "name: \"a run\"\ntrain:\n  epochs: 3\n  x: [1, 2]\nmodel:\n  - {dense: 64}\n  - relu\n"
                         "valid: null\ns: \"5\"\ne: \"\"\n");
  free(text);
  dl_document_destroy(&d);
}

static const char *const nasty[] = {
    "",
    " ",
    "~",
    "null",
    "Null",
    "NULL",
    "true",
    "false",
    "yes",
    "no",
    "on",
    "1",
    "-1",
    "+1",
    "1.5",
    "-.5",
    ".5",
    "1e5",
    "0x10",
    "1_000",
    "nan",
    ".nan",
    "inf",
    "-.inf",
    "-",
    "--",
    "---",
    "...",
    "- a",
    "a: b",
    "a:b",
    "a: ",
    ":",
    "a #b",
    "#",
    "# b",
    "&a",
    "*a",
    "!t",
    "!!str x",
    "|",
    ">",
    "%",
    "@",
    "`",
    "?",
    "? a",
    "{",
    "}",
    "[",
    "]",
    ",",
    "a, b",
    "{a: b}",
    "'",
    "''",
    "\"",
    "a\"b",
    "\\",
    "\\n",
    "a\nb",
    "\n",
    "\r\n",
    "\t",
    " a",
    "a ",
    "a  b",
    "\x01",
    "\x1b[0m",
    "\x7f",
    "Stra\xc3\x9f\xc3\xaa",
    "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
    "\xf0\x9f\x98\x80",
    "\xc2\x85",
    "\xc2\xa0",
    "\xe2\x80\xa8",
    "\xe2\x80\xa9",
    "\xef\xbb\xbf",
    "a\xef\xbb\xbf",
    "\xc2\x80",
    "\xc2\x9f",
    "<<",
    "=",
    "1:30",
    "2020-01-01",
    "/data/a-b_c.h5",
    "*.h5",
    "a/b*.h5",
    "C:\\x",
    "012",
    "1e400",
    "=1",
};
enum { NASTY = sizeof nasty / sizeof nasty[0] };

static void test_nasty_texts_survive_as_values_and_as_keys(void) {
  dl_document d = parsed("{list: [], map: {}, deep: {list: []}}");
  for (size_t i = 0; i < NASTY; i++) {
    for (int quoted = 1; quoted >= 0; quoted--) {
      if (!quoted && (strpbrk(nasty[i], " \n\t:#&*!|>%@`?{}[],'\"\\") || !nasty[i][0])) continue;
      dl_node *item = dl_node_new(d.root, DL_NODE_SCALAR, nasty[i]);
      item->quoted = quoted;
      dl_document alone = {.root = item};
      CU_ASSERT(!quoted || survives_writing(alone.root));
      if (quoted) DL_ASSERT_OK(dl_node_put(dl_node_get(d.root, "list"), NULL, dl_node_clone(item, d.arena)));
      if (quoted) DL_ASSERT_OK(dl_node_put(dl_node_get(d.root, "map"), nasty[i], item));
    }
    dl_node *list = dl_node_new(d.root, DL_NODE_LIST, NULL);
    DL_ASSERT_OK(dl_node_put(list, NULL, dl_node_new(d.root, DL_NODE_LIST, NULL)));
    if (nasty[i][0]) DL_ASSERT_OK(dl_node_put(dl_node_get(d.root, "deep"), nasty[i], list));
  }
  CU_ASSERT(survives_writing(d.root));
  dl_document_destroy(&d);
}

/* A random tree with quoted and plain scalars, numbers, nulls, and empty maps and lists. */
static dl_node *random_tree(dl_node *near, uint64_t *random, int depth) {
  static const char *const plain[] = {"3",    "-2",    "-.5",  "+.5",    "1e-3", "-1.5e+10",
                                      "true", "false", "relu", "a/b.h5", "x-y",  ".5"};
  int kind = (int)random_below(random, depth > 5 ? 3 : 6);
  if (kind == 0) return dl_node_new(near, DL_NODE_NULL, NULL);
  if (kind < 3) {
    bool quoted = kind == 1;
    const char *text = quoted ? nasty[random_below(random, NASTY)] : plain[random_below(random, 12)];
    dl_node *node = dl_node_new(near, DL_NODE_SCALAR, text);
    node->quoted = quoted;
    return node;
  }
  bool map = kind > 3;
  dl_node *node = dl_node_new(near, map ? DL_NODE_MAP : DL_NODE_LIST, NULL);
  for (int64_t n = random_below(random, 5); n-- > 0;) {
    dl_node *child = random_tree(near, random, depth + 1);
    DL_ASSERT_OK(dl_node_put(node, map ? nasty[random_below(random, NASTY)] : NULL, child));
  }
  return node;
}

static void test_random_trees_survive_writing(void) {
  uint64_t random = 5;
  int lost = 0;
  for (int round = 0; round < 4000; round++) {
    dl_document d = parsed("");
    lost += !survives_writing(random_tree(d.root, &random, 0));
    dl_document_destroy(&d);
    if (lost > 5) break;
  }
  CU_ASSERT_EQUAL(lost, 0);
}

static void test_mutated_documents_end_in_a_status_and_what_is_read_survives_writing(void) {
  static const char whole[] =
      "# a run\nname: \"caf\xc3\xa9 \\u00e9\\n\"\nseed: 1\ndata: {file: [a.h5, 'b''c.h5'], valid: 0.1, x: ~}\nmodel: "
      "&m\n"
      "  - dense: {units: 64, bias: true}\n  - relu\n  - &r {dropout: 0.5}\n  - *r\nother: *m\ntext: |\n  one\n   two\n"
      "folded: >-\n  a\n  b\n\n  c\n? long\n: 1\nempty: []\nnone: {}\n!!str t: !!int 3\n...\n";
  static const char letters[] =
      "\n\t {}[],:-?&*!|>'\"%@`#\\~.0x<\xc3\x85\xff\xe2\x80\xa8\xef\xbb\xbf"
      "e\x01";
  uint64_t random = 11;
  int read = 0, lost = 0;
  for (int round = 0; round < 6000 && lost < 5; round++) {
    char text[2 * sizeof whole];
    size_t bytes = sizeof whole - 1;
    memcpy(text, whole, bytes);
    for (int64_t k = 1 + random_below(&random, 4); k-- > 0;) {
      size_t at = (size_t)random_below(&random, (int64_t)bytes), n = (size_t)random_below(&random, 12);
      if (at + n > bytes) n = bytes - at;
      switch (random_below(&random, 4)) {
        case 0:
          text[at] = letters[random_below(&random, sizeof letters - 1)];
          break;
        case 1:
          memmove(text + at, text + at + n, bytes - at - n), bytes -= n;
          break;
        case 2: /* twice */
          memmove(text + at + n, text + at, bytes - at), bytes += n;
          break;
        default:
          memmove(text + at + 1, text + at, bytes - at), bytes++,
              text[at] = letters[random_below(&random, sizeof letters - 1)];
      }
    }
    char *exact = malloc(bytes); /* of the exact size, for the address sanitizer */
    memcpy(exact, text, bytes);
    dl_document d = {0};
    dl_status status = dl_document_parse(exact, bytes, "fuzz.yaml", &d);
    CU_ASSERT(status == DL_OK || status == DL_ERR_USAGE);
    if (status == DL_OK) {
      read++;
      lost += !survives_writing(d.root);
    } else {
      CU_ASSERT(dl_error_last()->message[0] && !strcmp(dl_error_last()->file, "fuzz.yaml"));
    }
    dl_document_destroy(&d);
    free(exact);
  }
  CU_ASSERT_EQUAL(lost, 0);
  CU_ASSERT(read > 500);
}

static const dl_test tests[] = {
    DL_TEST(test_the_writer_is_readable),
    DL_TEST(test_nasty_texts_survive_as_values_and_as_keys),
    DL_TEST(test_random_trees_survive_writing),
    DL_TEST(test_mutated_documents_end_in_a_status_and_what_is_read_survives_writing),
};
DL_TEST_MAIN("core/node_write", tests)

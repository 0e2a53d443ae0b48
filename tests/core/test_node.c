/* test_node.c - YAML in, and changed by --set. */
#include <stdlib.h>
#include <string.h>

#include "core/node.h"
#include "dltest.h"
#include "yaml_trees.h"

/* Says what came instead. */
static void expect_error(dl_status status, const char *wanted) {
  if (status != DL_ERR_USAGE || strcmp(last_error(), wanted))
    fprintf(stderr, "wanted: %s\n found: (%d) %s\n", wanted, status, last_error());
  CU_ASSERT_EQUAL(status, DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(last_error(), wanted);
}

static void expect_parse_error(const char *text, const char *wanted) {
  dl_document document = {0};
  expect_error(dl_document_parse(text, strlen(text), "c.yaml", &document), wanted);
  CU_ASSERT_PTR_NULL(document.arena);
  CU_ASSERT_PTR_NULL(document.root);
}

/* ---- reading ---- */

static void test_every_node_knows_its_kind_text_and_place(void) {
  dl_document d = parsed("name: run\ntrain: {epochs: 3, on: true}\nmodel:\n  - dense: 64\n  - \"relu\"\nvalid: ~\n");
  CU_ASSERT_EQUAL(d.root->kind, DL_NODE_MAP);
  CU_ASSERT_EQUAL(dl_node_size(d.root), 4);
  static const struct {
    const char *path;
    dl_node_kind kind;
    const char *text;
    int line, column, key_line, key_column;
  } wanted[] = {
      {"name", DL_NODE_SCALAR, "run", 1, 7, 1, 1},
      {"train", DL_NODE_MAP, "", 2, 8, 2, 1},
      {"train.epochs", DL_NODE_SCALAR, "3", 2, 17, 2, 9},
      {"train.on", DL_NODE_SCALAR, "true", 2, 24, 2, 20},
      {"model", DL_NODE_LIST, "", 4, 3, 3, 1},
      {"model.0.dense", DL_NODE_SCALAR, "64", 4, 12, 4, 5},
      {"model.1", DL_NODE_SCALAR, "relu", 5, 5, 0, 0},
      {"valid", DL_NODE_NULL, "", 6, 8, 6, 1},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
    const dl_node *node = dl_node_find(d.root, wanted[i].path);
    CU_ASSERT_PTR_NOT_NULL(node);
    if (!node) continue;
    CU_ASSERT_EQUAL(node->kind, wanted[i].kind);
    CU_ASSERT_STRING_EQUAL(node->text, wanted[i].text);
    CU_ASSERT_STRING_EQUAL(node->file, "c.yaml");
    CU_ASSERT(node->line == wanted[i].line && node->column == wanted[i].column);
    CU_ASSERT(node->key_line == wanted[i].key_line && node->key_column == wanted[i].key_column);
  }
  CU_ASSERT(dl_node_find(d.root, "model.1")->quoted && !dl_node_find(d.root, "name")->quoted);
  static const char *const absent[] = {"nam",     "names",    "train.x", "model.2", "model.-1",
                                       "model.x", "model.0x", "name.x",  ""};
  for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) CU_ASSERT_PTR_NULL(dl_node_find(d.root, absent[i]));
  dl_document_destroy(&d);
}

static void test_columns_count_characters(void) {
  expect_parse_error("{\xc3\xa4: 1, \xc3\xa4: 2}",
                     "c.yaml:1:8: key '\xc3\xa4' stands twice (it was set in line 1 already: remove one of them)");
}

static void test_nothing_at_all_is_an_empty_map(void) {
  static const char *const texts[] = {"", "\n\n", "# only a comment\n", "---\n...\n# end\n"};
  for (size_t i = 0; i < 3; i++) {
    dl_document d = parsed(texts[i]);
    CU_ASSERT(d.root->kind == DL_NODE_MAP && !d.root->first);
    dl_document_destroy(&d);
  }
  dl_document d = parsed(texts[3]); /* an explicit document with nothing in it is null */
  CU_ASSERT_EQUAL(d.root->kind, DL_NODE_NULL);
  dl_document_destroy(&d);
}

static void test_errors_of_the_text_come_with_their_place(void) {
  expect_parse_error("a: 1\nb: 2\na: 3\n",
                     "c.yaml:3:1: key 'a' stands twice (it was set in line 1 already: remove one of them)");
  expect_parse_error("t: {x: 1,\n    x: 2}\n",
                     "c.yaml:2:5: key 'x' stands twice (it was set in line 1 already: remove one of them)");
  expect_parse_error("a: 1\n---\nb: 2\n", "c.yaml:3:1: a second document in the file");
  expect_parse_error("? [1, 2]\n: 3\n", "c.yaml:1:3: a key must be plain text");
  expect_parse_error(
      "a: *b\n",
      "c.yaml:1:4: an alias of an anchor that was not set before (a text that begins with * or & stands in quotes)");
  expect_parse_error(
      "a: &b [*b]\n",
      "c.yaml:1:8: an alias of an anchor that was not set before (a text that begins with * or & stands in quotes)");
  expect_parse_error("a: \"b\\0c\"\n", "c.yaml:1:4: a text with a 0 byte in it");
  dl_document document;
  expect_error(dl_document_parse("a: b\0c", 6, "c.yaml", &document), "c.yaml:1:5: not valid YAML: a 0 byte");
  static const char *const broken[] = {"a: [1, 2",     "a: {b: 1",      "a: \"x",      "a: b: c",
                                       "\ta: 1\n",     "a: 1\n b: 2\n", "- a\nb: 1\n", "a: @x\n",
                                       "a: \"\\q\"\n", "%YAML 9",       "]",           "\xff\xfe\xfd"};
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
    dl_status status = dl_document_parse(broken[i], strlen(broken[i]), "c.yaml", &document);
    if (status == DL_OK) fprintf(stderr, "taken for YAML: %s\n", broken[i]);
    CU_ASSERT_EQUAL(status, DL_ERR_USAGE);
    CU_ASSERT(!strncmp(last_error(), "c.yaml:", 7));
    if (dl_error_last()->line < 1) fprintf(stderr, "%s: %s\n", broken[i], last_error());
    CU_ASSERT(dl_error_last()->line >= 1 && dl_error_last()->column >= 1);
  }
}

static void test_what_is_not_utf8_is_refused_also_in_a_comment(void) {
  expect_parse_error("a: 1\n# gr\xfcn\nb: 2\n", "c.yaml:2:5: not valid YAML: not UTF-8");
  expect_parse_error("# \xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\xf0\n", "c.yaml:1:6: not valid YAML: not UTF-8");
  static const char *const bad[] = {"\x80",
                                    "\xc0\x80",
                                    "\xc1\xbf",
                                    "\xe0\x9f\xbf",
                                    "\xed\xa0\x80",
                                    "\xed\xbf\xbf",
                                    "\xf0\x8f\xbf\xbf",
                                    "\xf4\x90\x80\x80",
                                    "\xf8\x88\x80\x80\x80",
                                    "\xfe",
                                    "\xff",
                                    "\xe2\x82",
                                    "\xe2\x82x",
                                    "\xc3"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char text[32];
    snprintf(text, sizeof text, "a: 1 #%s", bad[i]);
    expect_parse_error(text, "c.yaml:1:7: not valid YAML: not UTF-8");
  }
  static const char *const good[] = {"\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",    "\xed\x9f\xbf",
                                     "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbd"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    char text[32];
    snprintf(text, sizeof text, "a: 1 #%s\nb: 2", good[i]);
    dl_document d = parsed(text);
    CU_ASSERT_EQUAL(dl_node_size(d.root), 2);
    dl_document_destroy(&d);
  }
}

static void test_scalars_have_the_types_that_they_look_like_and_quotes_make_texts(void) {
  dl_document d = parsed(
      "[3, -7, +5, 3.0, 1e-3, -.5, 0x10, 1_000, '3', true, 'true', True, nan, .inf, 1e999, "
      "9223372036854775807, 9223372036854775808, 3 4, abc, '', null]");
  /* int, real, bool */
  static const char wanted[][4] = {"ir-", "ir-", "ir-", "-r-", "-r-", "-r-", "---", "---", "---", "--b", "---",
                                   "--b", "---", "---", "---", "ir-", "-r-", "---", "---", "---", "---"};
  int64_t i;
  double x;
  bool b;
  size_t n = 0;
  for (const dl_node *node = d.root->first; node; node = node->next, n++) {
    CU_ASSERT_EQUAL(dl_node_int(node, "x", &i) == DL_OK, wanted[n][0] == 'i');
    CU_ASSERT_EQUAL(dl_node_real(node, "x", &x) == DL_OK, wanted[n][1] == 'r');
    CU_ASSERT_EQUAL(dl_node_bool(node, "x", &b) == DL_OK, wanted[n][2] == 'b');
  }
  CU_ASSERT_EQUAL(n, sizeof wanted / sizeof wanted[0]);
  DL_ASSERT_OK(dl_node_int(dl_node_find(d.root, "15"), "x", &i));
  CU_ASSERT_EQUAL(i, INT64_MAX);
  DL_ASSERT_OK(dl_node_real(dl_node_find(d.root, "5"), "x", &x));
  CU_ASSERT(x == -0.5);
  expect_error(dl_node_int(dl_node_find(d.root, "3"), "epochs", &i),
               "c.yaml:1:13: epochs must be a whole number, not '3.0'");
  expect_error(dl_node_real(d.root, "lr", &x), "c.yaml:1:1: lr must be a number, not a list");
  expect_error(dl_node_real(dl_node_find(d.root, "8"), "lr", &x),
               "c.yaml:1:42: lr must be a number, not '3' (quotes make it a text: leave them out)");
  expect_error(dl_node_bool(dl_node_find(d.root, "20"), "on", &b),
               "c.yaml:1:141: on must be true or false, not nothing");
  dl_document_destroy(&d);
}

static void test_a_value_that_is_resolved_stands_where_it_stood(void) {
  dl_document d = parsed("seed: 1\nsync:\n  shards: auto\n");
  int64_t i;
  DL_ASSERT_OK(dl_node_set(d.root, "sync.shards", "x", NULL));
  expect_error(dl_node_int(dl_node_find(d.root, "sync.shards"), "shards", &i),
               "c.yaml:3:11: shards must be a whole number, not 'x'");
  DL_ASSERT_OK(dl_node_set_yaml(d.root, "sync.shards=auto"));
  DL_ASSERT_OK(dl_node_set(d.root, "sync.shards", "y", NULL));
  expect_error(dl_node_int(dl_node_find(d.root, "sync.shards"), "shards", &i),
               "--set sync.shards:1:1: shards must be a whole number, not 'y'");
  dl_document_destroy(&d);
}

/* ---- bounds ---- */

static void test_aliases_are_copies(void) {
  dl_document d = parsed("a: &x {p: 1, q: [2, 3]}\nb: *x\nc: [*x, *x]\n");
  CU_ASSERT(dl_node_equal(dl_node_get(d.root, "a"), dl_node_get(d.root, "b")));
  DL_ASSERT_OK(dl_node_set(d.root, "b.p", "9", NULL));
  CU_ASSERT_STRING_EQUAL(dl_node_find(d.root, "a.p")->text, "1");
  CU_ASSERT_STRING_EQUAL(dl_node_find(d.root, "c.1.q.1")->text, "3");
  CU_ASSERT(survives_writing(d.root));
  dl_document_destroy(&d);
}

static void test_a_billion_laughs_are_refused(void) {
  char text[2000] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; i++) {
    char line[200];
    int n = snprintf(line, sizeof line, "a%d: &a%d [", i, i);
    for (int k = 0; k < 10; k++) n += snprintf(line + n, sizeof line - (size_t)n, "%s*a%d", k ? ", " : "", i - 1);
    strcat(strcat(text, line), "]\n");
  }
  dl_document d;
  CU_ASSERT_EQUAL(dl_document_parse(text, strlen(text), "c.yaml", &d), DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "aliases make the document larger than 100,000 nodes");
  CU_ASSERT(dl_error_last()->line > 1);
}

static void test_many_copies_of_a_long_text_are_refused(void) {
  enum { LONG = 300000 };
  char *text = malloc(LONG + 100);
  memset(text, 'x', LONG);
  memcpy(text, "a: &a ", 6);
  strcpy(text + LONG, "\nb: [*a, *a, *a, *a]\n");
  dl_document d;
  CU_ASSERT_EQUAL(dl_document_parse(text, strlen(text), "c.yaml", &d), DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "aliases make the document larger than 1 MiB");
  CU_ASSERT_EQUAL(dl_error_last()->line, 2);
  free(text);
}

static char *nested(int depth, char open, char close) {
  char *text = malloc(2 * (size_t)depth + 1);
  if (!text) abort();
  memset(text, open, (size_t)depth);
  memset(text + depth, close, (size_t)depth);
  text[2 * depth] = 0;
  return text;
}

static void test_depth_is_bounded_also_through_aliases(void) {
  static const int refused[] = {65, 66, 1000, 400000};
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    char *text = nested(refused[i], '[', ']');
    dl_document d;
    CU_ASSERT_EQUAL(dl_document_parse(text, strlen(text), "c.yaml", &d), DL_ERR_USAGE);
    free(text);
  }
  char *text = nested(60, '[', ']'), longer[600];
  dl_document d = parsed(text);
  CU_ASSERT(survives_writing(d.root));
  dl_document_destroy(&d);
  snprintf(longer, sizeof longer, "a: &a %s\nb: &b [[[[*a]]]]\n", text);
  CU_ASSERT_EQUAL(dl_document_parse(longer, strlen(longer), "c.yaml", &d), DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "nested deeper than 64 levels");
  snprintf(longer, sizeof longer, "a: &a %s\nb: &b [[[*a]]]\n", text);
  d = parsed(longer);
  CU_ASSERT(survives_writing(d.root));
  dl_document_destroy(&d);
  free(text);
}

static void test_the_keys_of_a_map_are_bounded(void) {
  char *text = malloc(4098 * 8);
  size_t n = 0;
  for (int i = 0; i < 4096; i++) n += (size_t)snprintf(text + n, 8, "k%d:\n", i);
  dl_document d = parsed(text);
  CU_ASSERT_EQUAL(dl_node_size(d.root), 4096);
  dl_document_destroy(&d);
  snprintf(text + n, 8, "one:\n");
  expect_parse_error(text, "c.yaml:4097:1: a map of more than 4,096 keys");
  free(text);
}

static void test_size_and_the_number_of_nodes_are_bounded(void) {
  enum { LARGE = (1 << 20) + 1 };
  char *text = malloc(LARGE + 1);
  memset(text, ' ', LARGE);
  text[LARGE] = 0;
  expect_parse_error(text, "c.yaml: is too large: more than 1 MiB of YAML");
  size_t n = 0;
  text[n++] = '[';
  for (int i = 0; i < 100001; i++, n += 2) memcpy(text + n, "1,", 2);
  memcpy(text + n, "]", 2);
  dl_document d;
  CU_ASSERT_EQUAL(dl_document_parse(text, strlen(text), "c.yaml", &d), DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->message, "the document has more than 100,000 nodes");
  free(text);
}

/* ---- --set ---- */

/* `document` after the assignments, as text of the writer's. */
static void expect_set(const char *document, const char *assignment, const char *wanted) {
  dl_document d = parsed(document), w = parsed(wanted);
  DL_ASSERT_OK(dl_node_set_yaml(d.root, assignment));
  if (!identical(d.root, w.root)) fprintf(stderr, "--set %s into %s\n", assignment, document);
  CU_ASSERT(identical(d.root, w.root));
  CU_ASSERT(survives_writing(d.root));
  dl_document_destroy(&d);
  dl_document_destroy(&w);
}

static void test_set_puts_values_where_the_path_says(void) {
  expect_set("a: 1", "a=2", "a: 2");
  expect_set("a: 1", "b=2", "{a: 1, b: 2}");
  expect_set("", "train.epochs=5", "train: {epochs: 5}");
  expect_set("~", "train.epochs=5", "train: {epochs: 5}");
  expect_set("train:", "train.epochs=5", "train: {epochs: 5}");
  expect_set("train: {batch: 8, epochs: 1}", "train.epochs=5", "train: {batch: 8, epochs: 5}");
  expect_set("a: 1", "b.c.d=[1, {e: f}]", "{a: 1, b: {c: {d: [1, {e: f}]}}}");
  expect_set("model: [relu, {dense: 64}, tanh]", "model.1.dense=32", "model: [relu, {dense: 32}, tanh]");
  expect_set("model: [relu, {dense: 64}, tanh]", "model.2=relu", "model: [relu, {dense: 64}, relu]");
  expect_set("model: [relu, {dense: 64}]", "model.0={dense: {units: 3}}", "model: [{dense: {units: 3}}, {dense: 64}]");
  expect_set("optimizer: adam", "optimizer.lr=1", "optimizer: {name: adam, lr: 1}");
  expect_set("optimizer: adam", "optimizer.name=sgd", "optimizer: {name: sgd}");
  expect_set("optimizer: adam", "optimizer.a.b=1", "optimizer: {name: adam, a: {b: 1}}");
  expect_set("a: 1", "a=", "a: ~");
  expect_set("a: 1", "a={}", "a: {}");
  expect_set("a: 1", "a=[]", "a: []");
  expect_set("a: 1", "a=null", "a: null");
  expect_set("a: 1", "a=\"5\"", "a: '5'");
  expect_set("a: 1", "a=b=c", "a: b=c");
  expect_set("a: 1", "a=x:y", "a: 'x:y'");
}

static void test_set_says_what_it_cannot_do(void) {
  static const struct {
    const char *document, *assignment, *wanted;
  } bad[] = {
      {"a: 1", "a", "--set a: not of the form key.path=VALUE (for example --set train.epochs=5)"},
      {"a: 1", "=1", "--set =1: not of the form key.path=VALUE (for example --set train.epochs=5)"},
      {"a: 1", "", "--set : not of the form key.path=VALUE (for example --set train.epochs=5)"},
      {"a: 1", "a..b=1", "'.b' is no key of the configuration"},
      {"a: 1", ".a=1", "'.a' is no key of the configuration"},
      {"m: [1]", "m.1=2", "--set m.1:1:1: 'm.1' cannot be set: the list has no entry 1"},
      {"m: [1]", "m.x=2", "--set m.x:1:1: 'm.x' cannot be set: the list has no entry x"},
      {"m: [1]", "m.-1=2", "--set m.-1:1:1: 'm.-1' cannot be set: the list has no entry -1"},
      {"m: [1]", "m.99999999999999999999=2",
       "--set m.99999999999999999999:1:1: 'm.99999999999999999999' cannot be set: the list has no entry "
       "99999999999999999999"},
      {"scalar", "a=2", "--set a:1:1: 'a' cannot be set: the configuration is no map"},
      {"scalar", "a.b=2", "--set a.b:1:1: 'a.b' cannot be set: the configuration is no map"},
      {"a: 1", "b={c: 1, c: 2}",
       "--set b:1:8: key 'c' stands twice (it was set in line 1 already: remove one of them)"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    dl_document d = parsed(bad[i].document);
    expect_error(dl_node_set_yaml(d.root, bad[i].assignment), bad[i].wanted);
    dl_document_destroy(&d);
  }
  dl_document d = parsed("a: 1");
  CU_ASSERT_EQUAL(dl_node_set_yaml(d.root, "b=[1"), DL_ERR_USAGE);
  CU_ASSERT(!strncmp(last_error(), "--set b:", 8) && dl_error_last()->line);
  char path[300];
  memset(path, 'k', sizeof path);
  strcpy(path + 200, "=1");
  CU_ASSERT_EQUAL(dl_node_set_yaml(d.root, path), DL_ERR_USAGE);
  dl_document_destroy(&d);
}

static void test_what_was_set_says_so_when_it_is_wrong(void) {
  dl_document d = parsed("\n\n   a: 1");
  DL_ASSERT_OK(dl_node_set_yaml(d.root, "a=x"));
  int64_t i;
  expect_error(dl_node_int(dl_node_get(d.root, "a"), "a", &i), "--set a:1:1: a must be a whole number, not 'x'");
  expect_error(dl_node_fail(dl_node_get(d.root, "a"), true, "unknown key 'a'"), "--set a:1:1: unknown key 'a'");
  dl_document_destroy(&d);
}

static void test_wrapping_keeps_the_node_and_its_neighbours(void) {
  dl_document d = parsed("[{dense: 64}, adam, {x: [1, 2]}]"),
              w = parsed("[{dense: {units: 64}}, {name: adam}, {x: {pad: [1, 2]}}]");
  DL_ASSERT_OK(dl_node_wrap(dl_node_find(d.root, "0.dense"), "units"));
  DL_ASSERT_OK(dl_node_wrap(dl_node_find(d.root, "1"), "name"));
  DL_ASSERT_OK(dl_node_wrap(dl_node_find(d.root, "2.x"), "pad"));
  CU_ASSERT(identical(d.root, w.root));
  dl_document_destroy(&d);
  dl_document_destroy(&w);
}

static void test_equality_is_of_content(void) {
  static const struct {
    const char *a, *b;
    bool equal;
  } pairs[] = {
      {"{a: 1, b: 2}", "{b: 2, a: 1}", true},
      {"[1, 2]", "[2, 1]", false},
      {"a: 1e-3", "a: 0.001", true},
      {"a: 1", "a: 1.5", false},
      {"a: x", "a: y", false},
      {"a: {}", "a: []", false},
      {"a: ~", "a: {}", false},
      {"a: 1", "b: 1", false},
      {"{a: 1, b: 2}", "a: 1", false},
      {"[1]", "[1, 1]", false},
      {"a: [1, {b: c}]", "a:\n- 1\n- b: c", true},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    dl_document a = parsed(pairs[i].a), b = parsed(pairs[i].b);
    CU_ASSERT_EQUAL(dl_node_equal(a.root, b.root), pairs[i].equal);
    CU_ASSERT_EQUAL(dl_node_equal(b.root, a.root), pairs[i].equal);
    dl_document_destroy(&a);
    dl_document_destroy(&b);
  }
}

static const dl_test tests[] = {
    DL_TEST(test_every_node_knows_its_kind_text_and_place),
    DL_TEST(test_columns_count_characters),
    DL_TEST(test_nothing_at_all_is_an_empty_map),
    DL_TEST(test_errors_of_the_text_come_with_their_place),
    DL_TEST(test_what_is_not_utf8_is_refused_also_in_a_comment),
    DL_TEST(test_scalars_have_the_types_that_they_look_like_and_quotes_make_texts),
    DL_TEST(test_a_value_that_is_resolved_stands_where_it_stood),
    DL_TEST(test_aliases_are_copies),
    DL_TEST(test_a_billion_laughs_are_refused),
    DL_TEST(test_many_copies_of_a_long_text_are_refused),
    DL_TEST(test_depth_is_bounded_also_through_aliases),
    DL_TEST(test_the_keys_of_a_map_are_bounded),
    DL_TEST(test_size_and_the_number_of_nodes_are_bounded),
    DL_TEST(test_set_puts_values_where_the_path_says),
    DL_TEST(test_set_says_what_it_cannot_do),
    DL_TEST(test_what_was_set_says_so_when_it_is_wrong),
    DL_TEST(test_wrapping_keeps_the_node_and_its_neighbours),
    DL_TEST(test_equality_is_of_content),
};
DL_TEST_MAIN("core/node", tests)

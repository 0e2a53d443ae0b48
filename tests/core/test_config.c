/* test_config.c - options as tables, and the configuration's own table. */
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/options.h"
#include "dltest.h"

/* ---- a table with an option of every type ---- */

typedef struct dl_sample {
  bool nesterov;
  int64_t units, shards, kernel[2], steps;
  double lr, momentum;
  const char *name, *comment;
  int mode;
  dl_node *extra, *given;
} dl_sample;

#define AT(member) offsetof(dl_sample, member)
static const dl_option sample_rows[] = {
    {"name", DL_OPTION_STRING, AT(name), 0, 0, NULL, NULL, "which one", false},
    {"lr", DL_OPTION_REAL, AT(lr), 0, 1e3, "0.001", NULL, "learning rate", false},
    {"momentum", DL_OPTION_REAL, AT(momentum), 0, 1, "0", NULL, "momentum", false},
    {"nesterov", DL_OPTION_BOOL, AT(nesterov), 0, 0, "false", NULL, "look ahead", false},
    {"units", DL_OPTION_INT, AT(units), 1, 9e15, "16", NULL, "outputs", false},
    {"shards", DL_OPTION_AUTO_INT, AT(shards), 1, 64, "auto", NULL, "shards", false},
    {"kernel", DL_OPTION_PAIR, AT(kernel), 1, 9, "[3, 5]", NULL, "window", false},
    {"mode", DL_OPTION_CHOICE, AT(mode), 0, 0, "fast", "slow|fast|exact", "how", false},
    {"comment", DL_OPTION_STRING, AT(comment), 0, 0, "", NULL, "free text", true},
    {"extra", DL_OPTION_NODE, AT(extra), 0, 0, "", NULL, "anything", false},
    {"given", DL_OPTION_NODE, AT(given), 0, 0, "{a: [1, x]}", NULL, "anything with a default", false},
    {"decay.steps", DL_OPTION_INT, AT(steps), 0, 100, "7", NULL, "steps", false},
};

static dl_document document;
static dl_sample sample;

/* Parses `text` at the key optimizer, or alone where `text` does not start with it. */
static dl_status bind(const char *text) {
  dl_document_destroy(&document);
  DL_TRY(dl_document_parse(text, strlen(text), "c.yaml", &document));
  dl_node *map = dl_node_get(document.root, "optimizer");
  memset(&sample, 0x55, sizeof sample);
  dl_option_set set = {sample_rows, sizeof sample_rows / sizeof sample_rows[0], &sample};
  return dl_options_parse(&set, 1, map ? map : document.root, map ? "optimizer" : "");
}

static void expect_error(dl_status status, const char *wanted) {
  char text[2048];
  dl_error_format(dl_error_last(), text, sizeof text);
  if (status != DL_ERR_USAGE || strcmp(text, wanted))
    fprintf(stderr, "wanted: %s\n found: (%d) %s\n", wanted, status, text);
  CU_ASSERT_EQUAL(status, DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(text, wanted);
}

static void expect_bind_error(const char *text, const char *wanted) { expect_error(bind(text), wanted); }

/* ---- options ---- */

static void test_what_is_given_is_bound(void) {
  DL_ASSERT_OK(
      bind("{name: adam, lr: 1e-3, momentum: 1, nesterov: true, units: 7, shards: 6, kernel: 4, mode: exact,\n"
           " comment: 'null', extra: [1], decay: {steps: 0}, given: null}"));
  CU_ASSERT_STRING_EQUAL(sample.name, "adam");
  CU_ASSERT(sample.lr == 1e-3 && sample.momentum == 1 && sample.nesterov);
  CU_ASSERT(sample.units == 7 && sample.shards == 6 && sample.kernel[0] == 4 && sample.kernel[1] == 4);
  CU_ASSERT(sample.mode == 2 && sample.steps == 0);
  CU_ASSERT_STRING_EQUAL(sample.comment, "null");
  CU_ASSERT_EQUAL(sample.extra->kind, DL_NODE_LIST);
  CU_ASSERT_EQUAL(sample.given->kind, DL_NODE_NULL);
}

static void test_defaults_are_bound_and_put_into_the_map(void) {
  DL_ASSERT_OK(bind("name: 5\nlr: ~\n"));
  CU_ASSERT_STRING_EQUAL(sample.name, "5");
  CU_ASSERT(sample.lr == 0.001 && sample.momentum == 0 && !sample.nesterov);
  CU_ASSERT(sample.units == 16 && sample.shards == DL_AUTO && sample.kernel[0] == 3 && sample.kernel[1] == 5);
  CU_ASSERT(sample.mode == 1 && sample.steps == 7);
  CU_ASSERT_PTR_NULL(sample.comment);
  CU_ASSERT_PTR_NULL(sample.extra);
  char *text = NULL;
  DL_ASSERT_OK(dl_node_write(document.root, &text));
  CU_ASSERT_STRING_EQUAL(text,
                         "name: 5\nlr: 0.001\nmomentum: 0\nnesterov: false\nunits: 16\nshards: auto\n"
                         "kernel: [3, 5]\nmode: fast\ngiven:\n  a: [1, x]\ndecay: {steps: 7}\n");
  dl_sample first = sample;
  DL_ASSERT_OK(bind(text)); /* the effective configuration says the same */
  CU_ASSERT(first.lr == sample.lr && first.units == sample.units && first.kernel[1] == sample.kernel[1]);
  CU_ASSERT(first.mode == sample.mode && first.shards == sample.shards && first.steps == sample.steps);
  free(text);
}

static void test_unknown_keys_are_refused_with_the_nearest_name(void) {
  expect_bind_error("name: x\ntask: y\ndata:\n  file: z\n#\noptimizer: {name: adam, learnig_rate: 0.1}\n",
                    "c.yaml:6:25: unknown key 'learnig_rate' in optimizer (did you mean 'lr'?)");
  expect_bind_error("optimizer:\n  name: sgd\n  momentun: 1\n",
                    "c.yaml:3:3: unknown key 'momentun' in optimizer (did you mean 'momentum'?)");
  expect_bind_error("{name: a, Nesterov: true}", "c.yaml:1:11: unknown key 'Nesterov' (did you mean 'nesterov'?)");
  expect_bind_error("{name: a, uints: 3}", "c.yaml:1:11: unknown key 'uints' (did you mean 'units'?)");
  expect_bind_error("{name: a, out_features: 3}", "c.yaml:1:11: unknown key 'out_features' (did you mean 'units'?)");
  expect_bind_error("optimizer: {name: a, decay: {step: 3}}",
                    "c.yaml:1:30: unknown key 'step' in optimizer decay (did you mean 'steps'?)");
  expect_bind_error("{name: a, activation: relu}",
                    "c.yaml:1:11: unknown key 'activation' (an activation is a layer of its own: write it, like `- "
                    "relu`, on the next line)");
  expect_bind_error("{name: a, zzzzzzzz: 3}",
                    "c.yaml:1:11: unknown key 'zzzzzzzz' (known here: name, lr, momentum, nesterov, units, shards, "
                    "kernel, mode, comment, extra, given, decay)");
  expect_bind_error("{name: a, decay.steps: 3}",
                    "c.yaml:1:11: unknown key 'decay.steps' (known here: name, lr, momentum, nesterov, units, shards, "
                    "kernel, mode, comment, extra, given, decay)");
}

static void test_wrong_types_are_refused_at_the_value(void) {
  expect_bind_error("{name: a, lr: fast}", "c.yaml:1:15: lr must be a number, not 'fast'");
  expect_bind_error("{name: a, lr: '1'}",
                    "c.yaml:1:15: lr must be a number, not '1' (quotes make it a text: leave them out)");
  expect_bind_error("{name: a, lr: .nan}", "c.yaml:1:15: lr must be a number, not '.nan'");
  expect_bind_error("{name: a, units: 3.0}", "c.yaml:1:18: units must be a whole number, not '3.0'");
  expect_bind_error("{name: a, units: {x: 1}}", "c.yaml:1:18: units must be a whole number, not a map");
  expect_bind_error("{name: a, nesterov: 1}", "c.yaml:1:21: nesterov must be true or false, not '1'");
  expect_bind_error("{name: a, nesterov: yes}", "c.yaml:1:21: nesterov must be true or false, not 'yes'");
  expect_bind_error("{name: a, shards: some}", "c.yaml:1:19: shards must be a whole number or auto, not 'some'");
  expect_bind_error("{name: [a]}", "c.yaml:1:8: name must be a text, not a list");
  expect_bind_error("{name: a, kernel: [1, 2, 3]}",
                    "c.yaml:1:19: kernel must be a whole number or a list of two, not a list");
  expect_bind_error("{name: a, kernel: [1, x]}", "c.yaml:1:23: kernel must be a whole number, not 'x'");
  expect_bind_error("{name: a, mode: medium}", "c.yaml:1:17: mode must be one of slow|fast|exact, not 'medium'");
  expect_bind_error("{name: a, mode: fas}", "c.yaml:1:17: mode must be one of slow|fast|exact, not 'fas'");
  expect_bind_error("{name: a, mode: slow|fast}", "c.yaml:1:17: mode must be one of slow|fast|exact, not 'slow|fast'");
  expect_bind_error("{name: a, decay: 3}", "c.yaml:1:18: decay must be a map, not '3'");
  expect_bind_error("[1, 2]", "c.yaml:1:1: the configuration must be a map of options, not a list");
  expect_bind_error("optimizer: [adam]", "c.yaml:1:12: optimizer must be a map of options, not a list");
}

static void test_booleans_are_those_of_yaml_and_kept_in_one_form(void) {
  static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
  for (int i = 0; i < 6; i++) {
    char text[64];
    snprintf(text, sizeof text, "{name: a, nesterov: %s}", words[i]);
    DL_ASSERT_OK(bind(text));
    CU_ASSERT_EQUAL(sample.nesterov, i < 3);
    CU_ASSERT_STRING_EQUAL(dl_node_get(document.root, "nesterov")->text, i < 3 ? "true" : "false");
  }
}

static void test_values_out_of_range_are_refused(void) {
  expect_bind_error("{name: a, units: 0}", "c.yaml:1:18: units must be at least 1, not 0");
  expect_bind_error("{name: a, lr: -1}", "c.yaml:1:15: lr must lie within 0 and 1000, not -1");
  expect_bind_error("{name: a, momentum: 1.0001}", "c.yaml:1:21: momentum must lie within 0 and 1, not 1.0001");
  expect_bind_error("{name: a, shards: 65}", "c.yaml:1:19: shards must lie within 1 and 64, not 65");
  expect_bind_error("{name: a, shards: -9223372036854775808}",
                    "c.yaml:1:19: shards must lie within 1 and 64, not -9223372036854775808");
  expect_bind_error("{name: a, kernel: [3, 10]}", "c.yaml:1:23: kernel must lie within 1 and 9, not 10");
  CU_ASSERT_EQUAL(bind("{name: a, units: 9223372036854775807}"), DL_ERR_USAGE);
  CU_ASSERT_PTR_NULL(strstr(dl_error_last()->message, "at least")); /* it is too large, not too small */
  CU_ASSERT_EQUAL(bind("{name: a, units: 99999999999999999999}"), DL_ERR_USAGE);
  DL_ASSERT_OK(bind("{name: a, momentum: 1.0, lr: 0, shards: 64, kernel: [1, 9], decay: {steps: 100}}"));
}

static void test_a_required_key_is_asked_for_with_its_help(void) {
  expect_bind_error("\noptimizer: {lr: 1}", "c.yaml:2:1: optimizer: 'name' is missing (which one)");
  expect_bind_error("{name: ~}", "c.yaml:1:1: 'name' is missing (which one)");
}

static void test_several_tables_serve_one_map(void) {
  typedef struct {
    double p;
    const char *name;
  } common;
  static const dl_option own[] = {{"p", DL_OPTION_REAL, offsetof(common, p), 0, 1, "0.5", NULL, "p", false}};
  static const dl_option shared[] = {{"name", DL_OPTION_STRING, offsetof(common, name), 0, 0, "", NULL, "n", false}};
  common a = {0}, b = {0};
  dl_option_set sets[] = {{own, 1, &a}, {shared, 1, &b}};
  dl_document_destroy(&document);
  DL_ASSERT_OK(dl_document_parse("{name: x, p: 1}", 15, "c.yaml", &document));
  DL_ASSERT_OK(dl_options_parse(sets, 2, document.root, "dropout"));
  CU_ASSERT(a.p == 1 && !a.name && b.name && !strcmp(b.name, "x"));
  DL_ASSERT_OK(dl_node_set(document.root, "nmae", "y", NULL));
  CU_ASSERT_EQUAL(dl_options_parse(sets, 2, document.root, "dropout"), DL_ERR_USAGE);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->hint, "did you mean 'name'?");
}

/* ---- names ---- */

static void test_the_nearest_name_is_near_or_none(void) {
  static const char *const names[] = {"relu", "dense", "conv2d", "dropout", "lr", "p", "clip_norm", "rate"};
  static const char *const wanted[][2] = {
      {"relu", "relu"},
      {"rleu", "relu"},
      {"Relu", "relu"},
      {"Dense", "dense"},
      {"linear", "dense"},
      {"conv2", "conv2d"},
      {"drop", NULL},
      {"droput", "dropout"},
      {"lr", "lr"},
      {"learning_rate", "lr"},
      {"fc", "dense"},
      {"xyz", NULL},
      {"max_grad_norm", "clip_norm"},
      {"quantization", NULL},
      {"", "p"},
      {"rates", "rate"},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
    const char *found = dl_nearest_name(wanted[i][0], names, 8);
    bool same = found && wanted[i][1] ? !strcmp(found, wanted[i][1]) : found == wanted[i][1];
    if (!same) fprintf(stderr, "'%s': %s\n", wanted[i][0], found ? found : "none");
    CU_ASSERT(same);
  }
  CU_ASSERT_PTR_NULL(dl_nearest_name("x", names, 0));
  CU_ASSERT_PTR_NULL(dl_nearest_name("x", (const char *const[]){"rate"}, 1)); /* x is no p */
  char longest[2000];
  memset(longest, 'd', sizeof longest - 1);
  longest[sizeof longest - 1] = 0;
  dl_nearest_name(longest, names, 8);
}

static void test_choices_are_found_by_their_whole_names(void) {
  char text[16];
  CU_ASSERT_EQUAL(dl_choice_index("auto|shm|mpi", "auto"), 0);
  CU_ASSERT_EQUAL(dl_choice_index("auto|shm|mpi", "mpi"), 2);
  CU_ASSERT_EQUAL(dl_choice_index("auto|shm|mpi", "aut"), -1);
  CU_ASSERT_EQUAL(dl_choice_index("auto|shm|mpi", "auto|shm"), -1);
  CU_ASSERT_EQUAL(dl_choice_index("auto|shm|mpi", ""), -1);
  CU_ASSERT_STRING_EQUAL(dl_choice_name("auto|shm|mpi", 1, text, sizeof text), "shm");
  CU_ASSERT_STRING_EQUAL(dl_choice_name("auto|shm|mpi", 2, text, sizeof text), "mpi");
  CU_ASSERT_STRING_EQUAL(dl_choice_name("auto|shm|mpi", 9, text, sizeof text), "");
  CU_ASSERT_STRING_EQUAL(dl_choice_name("auto|shm|mpi", 0, text, 3), "au");
}

/* ---- entries ---- */

static const char *value_key(const char *name) { return strcmp(name, "relu") ? "units" : NULL; }

static void test_every_form_of_a_layer_becomes_a_name_with_its_options(void) {
  static const char *const forms[][2] = {
      {"relu", "relu: {}"},
      {"relu:", "relu: {}"},
      {"dense: 64", "dense: {units: 64}"},
      {"dense: [1, 2]", "dense: {units: [1, 2]}"},
      {"dense: {units: 64}", "dense: {units: 64}"},
      {"\"relu\"", "relu: {}"},
  };
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    dl_document a = {0}, b = {0};
    const char *name = NULL;
    dl_node *map = NULL;
    DL_ASSERT_OK(dl_document_parse(forms[i][0], strlen(forms[i][0]), "c.yaml", &a));
    DL_ASSERT_OK(dl_document_parse(forms[i][1], strlen(forms[i][1]), "c.yaml", &b));
    DL_ASSERT_OK(dl_entry_normalise(a.root, "layer 1", value_key, &name, &map));
    CU_ASSERT(dl_node_equal(a.root, b.root));
    CU_ASSERT_STRING_EQUAL(name, b.root->first->key);
    CU_ASSERT(map == a.root->first && map->kind == DL_NODE_MAP);
    dl_document_destroy(&a);
    dl_document_destroy(&b);
  }
}

static void test_what_is_no_layer_is_refused(void) {
  static const char *const bad[][2] = {
      {"[1]", "c.yaml:1:1: layer 1 must be a name, or one name with its options, not a list"},
      {"~", "c.yaml:1:1: layer 1 must be a name, or one name with its options, not nothing"},
      {"{a: 1, b: 2}",
       "c.yaml:1:1: layer 1 must be a name, or one name with its options, not a map of several keys "
       "(indent the options below the name)"},
      {"relu: 3", "c.yaml:1:7: relu takes no single value, but '3'"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    dl_document d = {0};
    const char *name;
    dl_node *map;
    DL_ASSERT_OK(dl_document_parse(bad[i][0], strlen(bad[i][0]), "c.yaml", &d));
    expect_error(dl_entry_normalise(d.root, "layer 1", value_key, &name, &map), bad[i][1]);
    dl_document_destroy(&d);
  }
}

static void test_a_named_thing_is_a_name_or_a_map_with_one(void) {
  static const char *const forms[][2] = {
      {"adam", NULL},
      {"{lr: 1, name: adam}", NULL},
      {"[adam]", "c.yaml:1:1: optimizer must be a name, or a map with a name, not a list"},
      {"{lr: 1}", NULL}, /* the fallback */
      {"~", NULL},
      {"{name: [x]}", "c.yaml:1:8: optimizer: name must be a text, not a list"}};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    dl_document d = {0};
    const char *name = NULL;
    DL_ASSERT_OK(dl_document_parse(forms[i][0], strlen(forms[i][0]), "c.yaml", &d));
    dl_status status = dl_named_normalise(d.root, "optimizer", "adam", &name);
    if (forms[i][1]) {
      expect_error(status, forms[i][1]);
    } else {
      DL_ASSERT_OK(status);
      CU_ASSERT_STRING_EQUAL(name, "adam");
      CU_ASSERT_STRING_EQUAL(dl_node_get(d.root, "name")->text, "adam");
    }
    dl_document_destroy(&d);
  }
}

/* ---- the configuration ---- */

static dl_status parse(const char *text, const char *set, dl_config **config) {
  return dl_config_parse(text, strlen(text), "dir/c.yaml", &set, set ? 1 : 0, config);
}

static void expect_config_error(const char *text, const char *set, const char *wanted) {
  dl_config *config = NULL;
  expect_error(parse(text, set, &config), wanted);
  CU_ASSERT_PTR_NULL(config);
}

static void test_the_defaults_are_those_of_the_manual(void) {
  dl_config *c = NULL;
  DL_ASSERT_OK(parse("model: [relu]", NULL, &c));
  if (!c) return;
  CU_ASSERT(c->task == DL_TASK_CLASSIFICATION && c->data.layout == DL_LAYOUT_NCHW &&
            c->data.shuffle == DL_SHUFFLE_AUTO);
  CU_ASSERT(c->data.normalize == DL_NORMALIZE_AUTO && c->sync.transport == DL_TRANSPORT_AUTO);
  CU_ASSERT(c->seed == 1 && c->train.clip_norm == 0 && !c->train.drop_last && c->sync.shards == DL_AUTO);
  CU_ASSERT(c->sync.timeout == 300 && c->checkpoint.every_epochs == 1 && c->checkpoint.every_minutes == 10);
  CU_ASSERT(c->checkpoint.keep == 2 && c->log.every_steps == 1);
  CU_ASSERT_STRING_EQUAL(dl_node_get(c->optimizer, "name")->text, "adam");
  CU_ASSERT_PTR_NULL(c->data.valid);
  CU_ASSERT_STRING_EQUAL(c->folder, "dir");
  dl_config_destroy(&c);
  CU_ASSERT_PTR_NULL(c);
  dl_config_destroy(&c);
}

static void test_every_row_binds_its_member_and_its_default_passes_its_own_check(void) {
  for (int i = 0; i < dl_config_row_count; i++) {
    const dl_option *row = &dl_config_rows[i];
    CU_ASSERT(row->help && row->help[0] && row->offset < sizeof(dl_config));
    CU_ASSERT_EQUAL(row->choices != NULL, row->type == DL_OPTION_CHOICE);
    for (int k = 0; k < i; k++) {
      CU_ASSERT_STRING_NOT_EQUAL(row->key, dl_config_rows[k].key);
      CU_ASSERT_NOT_EQUAL(row->offset, dl_config_rows[k].offset);
    }
  }
  dl_config *c = NULL;
  DL_ASSERT_OK(
      parse("{seed: 9, task: regression, train: {epochs: 4, batch: 32, drop_last: true}, model: [], "
            "sync: {shards: 6, transport: mpi}, data: {layout: nhwc, valid: 0.1}}",
            "train.clip_norm=.5", &c));
  if (!c) return;
  CU_ASSERT(c->seed == 9 && c->task == DL_TASK_REGRESSION && c->train.epochs == 4 && c->train.batch == 32);
  CU_ASSERT(c->train.drop_last && c->train.clip_norm == 0.5 && c->sync.shards == 6 &&
            c->sync.transport == DL_TRANSPORT_MPI);
  CU_ASSERT(c->data.layout == DL_LAYOUT_NHWC && !strcmp(c->data.valid->text, "0.1"));
  dl_config_destroy(&c);
}

static void test_errors_of_the_configuration_have_their_places(void) {
  expect_config_error("model: []\ntrain:\n  epoch: 3\n", NULL,
                      "dir/c.yaml:3:3: unknown key 'epoch' in train (did you mean 'epochs'?)");
  expect_config_error("model: []\nbatch_size: 3\n", NULL,
                      "dir/c.yaml:2:1: unknown key 'batch_size' (did you mean 'train.batch'?)");
  expect_config_error("model: []\ntrain: {batch_size: 3}\n", NULL,
                      "dir/c.yaml:2:9: unknown key 'batch_size' in train (did you mean 'batch'?)");
  expect_config_error("model: []\ntrain: {epochs: 0}\n", NULL,
                      "dir/c.yaml:2:17: train.epochs must lie within 1 and 1000000000, not 0");
  expect_config_error("model: []\nsync: {transport: tcp}\n", NULL,
                      "dir/c.yaml:2:19: sync.transport must be one of auto|shm|mpi, not 'tcp'");
  expect_config_error("model: []\nseed: 1\nseed: 2\n", NULL,
                      "dir/c.yaml:3:1: key 'seed' stands twice (it was set in line 2 already: remove one of them)");
  expect_config_error("model: []", "train.epochs=many",
                      "--set train.epochs:1:1: train.epochs must be a whole number, not 'many'");
  expect_config_error("model: []", "trian.epochs=3",
                      "--set trian.epochs:1:1: unknown key 'trian' (did you mean 'train'?)");
  expect_config_error("model: []\n\ntrain: {epoch: 1}", "train.epoch=3",
                      "--set train.epoch:1:1: unknown key 'epoch' in train (did you mean 'epochs'?)");
  expect_config_error("model: []\ntrain: {epochs: 3}", "train.epochs.x.y=3",
                      "--set train.epochs.x.y:1:1: 'train.epochs.x.y' cannot be set: 'train.epochs' is no map");
}

static void test_the_effective_configuration_parses_to_itself_in_the_order_of_the_table(void) {
  dl_config *c = NULL, *again = NULL;
  DL_ASSERT_OK(
      parse("sync: {timeout: 5}\nmodel: [{dense: 64}, relu]\ntrain: {batch: 32, epochs: 2}\nname: 'x: y'\n"
            "data: {valid: 0.1, file: [a.h5, 'b c.h5']}",
            "optimizer.lr=-.5", &c));
  if (!c) return;
  DL_ASSERT_OK(dl_config_resolve(c, "sync.shards", "8"));
  char *text = NULL, *twice = NULL;
  DL_ASSERT_OK(dl_config_write(c, &text));
  DL_ASSERT_OK(parse(text, NULL, &again));
  if (again) {
    DL_ASSERT_OK(dl_config_write(again, &twice));
    CU_ASSERT_STRING_EQUAL(text, twice);
    CU_ASSERT(dl_node_equal(c->document.root, again->document.root));
    CU_ASSERT_EQUAL(again->sync.shards, 8);
    CU_ASSERT(again->train.epochs == 2 && !strcmp(again->name, "x: y"));
    double lr = 0;
    DL_ASSERT_OK(dl_node_real(dl_node_get(again->optimizer, "lr"), "lr", &lr));
    CU_ASSERT(lr == -0.5);
  }
  const char *last = text;
  static const char *const order[] = {"name:",        "\nseed:",  "\ntask:",     "\ndata:", "\n  file:",     "\nmodel:",
                                      "\noptimizer:", "\ntrain:", "\n  epochs:", "\nsync:", "\ncheckpoint:", "\nlog:"};
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
    const char *found = strstr(last, order[i]);
    if (!found && order[i][1] == ' ') continue; /* on one line with its map */
    CU_ASSERT_PTR_NOT_NULL(found);
    if (found) last = found;
  }
  free(text);
  free(twice);
  dl_config_destroy(&c);
  dl_config_destroy(&again);
}

static void test_a_failure_stands_at_its_key_or_the_nearest_parent_in_the_file(void) {
  dl_config *c = NULL;
  DL_ASSERT_OK(parse("model: []\n\ndata:\n  file: x.h5\n", NULL, &c));
  if (!c) return;
  expect_error(dl_config_fail(c, "data.file", "no %s", "x"), "dir/c.yaml:4:9: no x");
  expect_error(dl_config_fail(c, "data.layout", "bad"), "dir/c.yaml:4:3: bad");
  expect_error(dl_config_fail(c, "sync.shards", "bad"), "dir/c.yaml: bad");
  dl_config_destroy(&c);
}

static void test_leave_nothing(void) { /* the document that the others share */
  dl_document_destroy(&document);
  CU_ASSERT_PTR_NULL(document.root);
}

static const dl_test tests[] = {
    DL_TEST(test_what_is_given_is_bound),
    DL_TEST(test_defaults_are_bound_and_put_into_the_map),
    DL_TEST(test_unknown_keys_are_refused_with_the_nearest_name),
    DL_TEST(test_wrong_types_are_refused_at_the_value),
    DL_TEST(test_booleans_are_those_of_yaml_and_kept_in_one_form),
    DL_TEST(test_values_out_of_range_are_refused),
    DL_TEST(test_a_required_key_is_asked_for_with_its_help),
    DL_TEST(test_several_tables_serve_one_map),
    DL_TEST(test_the_nearest_name_is_near_or_none),
    DL_TEST(test_choices_are_found_by_their_whole_names),
    DL_TEST(test_every_form_of_a_layer_becomes_a_name_with_its_options),
    DL_TEST(test_what_is_no_layer_is_refused),
    DL_TEST(test_a_named_thing_is_a_name_or_a_map_with_one),
    DL_TEST(test_the_defaults_are_those_of_the_manual),
    DL_TEST(test_every_row_binds_its_member_and_its_default_passes_its_own_check),
    DL_TEST(test_errors_of_the_configuration_have_their_places),
    DL_TEST(test_the_effective_configuration_parses_to_itself_in_the_order_of_the_table),
    DL_TEST(test_a_failure_stands_at_its_key_or_the_nearest_parent_in_the_file),
    DL_TEST(test_leave_nothing),
};
DL_TEST_MAIN("core/config", tests)

/* net_build.c - from the model's list in the configuration to layers with shapes and tensors.
 *
 * The list is a graph in a fixed order: a layer reads the one before it, or those that `from` names, which stand above
 * it. So one walk down the list knows all input shapes, and running the list in order is a topological order. What
 * stands inside a residual takes its place in the same order, before the sum that the residual itself is.
 */
#include <stdio.h>
#include <string.h>

#include "nn/net_private.h"

struct dl_layer_builder {
  dl_net *net;
  dl_layer *layer;
};

dl_status dl_layer_add_tensor(dl_layer_builder *builder, const char *suffix, int dims, const int64_t *shape,
                              bool decays) {
  dl_net *net = builder->net;
  dl_layer *layer = builder->layer;
  if (layer->n_tensors == DL_LAYER_MAX_TENSORS) return dl_fail(DL_ERR_INTERNAL, "a layer of too many tensors");
  if (net->n_tensors == net->tensor_room) {
    int room = 2 * net->tensor_room + 16;
    dl_tensor *more = dl_reallocarray(net->tensors, (size_t)room, sizeof *more);
    if (!more) return DL_ERR_NOMEM;
    net->tensors = more;
    net->tensor_room = room;
  }
  dl_tensor tensor = {.offset = net->buffer_count,
                      .count = 1,
                      .dims = dims,
                      .trainable = layer->trainable,
                      .decays = decays,
                      .lr_scale = (float)layer->lr_scale};
  for (int i = 0; i < dims; i++) {
    tensor.shape[i] = shape[i];
    if (__builtin_mul_overflow(tensor.count, (size_t)shape[i], &tensor.count) || tensor.count > SIZE_MAX / 64)
      return dl_layer_fail(layer, "its %s is too large", suffix);
  }
  if (snprintf(tensor.name, sizeof tensor.name, "%s.%s", layer->name, suffix) >= (int)sizeof tensor.name)
    return dl_layer_fail(layer, "its name is too long");
  net->buffer_count += (tensor.count + 15) / 16 * 16;
  net->tensors[net->n_tensors++] = tensor;
  layer->n_tensors++;
  return DL_OK;
}

dl_status dl_layer_add_running(dl_layer_builder *builder, const char *suffix, int dims, const int64_t *shape,
                               double momentum) {
  DL_TRY(dl_layer_add_tensor(builder, suffix, dims, shape, false));
  dl_tensor *tensor = &builder->net->tensors[builder->net->n_tensors - 1];
  tensor->running = tensor->trainable ? (float)momentum : 0;
  tensor->trainable = false;
  return DL_OK;
}

const dl_gemm_backend *dl_layer_gemm(const dl_layer_builder *builder) { return builder->net->gemm; }

/* ---- one entry of the list ---- */

static const char *value_option(const char *name) {
  const dl_layer_kind *kind = dl_layer_kind_find(name);
  return kind ? kind->value_option : NULL;
}

static dl_status unknown_layer(const dl_node *entry, const char *word) {
  const char *names[64];
  int n;
  const dl_layer_kind *const *kinds = dl_layer_kinds(&n);
  for (int i = 0; i < n; i++) names[i] = kinds[i]->name;
  dl_node_fail(entry, true, "unknown layer '%.60s'", word);
  return dl_hint_nearest(word, names, n, "`dldist list layers` shows all");
}

static dl_status check_name(const dl_net *net, const dl_layer *layer, const dl_node *map) {
  const dl_node *given = dl_node_get(map, "name");
  const dl_node *node = given ? given : map;
  if (!*layer->name || strlen(layer->name) > 64) return dl_node_fail(node, false, "a layer's name has 1 to 64 letters");
  if (!strcmp(layer->name, "input"))
    return dl_node_fail(node, false, "a layer cannot be called 'input': that is the network's input");
  for (int i = 0; i < layer->number; i++)
    if (!strcmp(net->layers[i].name, layer->name))
      return dl_node_fail(node, false, "two layers are called '%s'", layer->name);
  return DL_OK;
}

/* Whether some layer of the model has that name. */
static bool is_named_in(const dl_node *node, const char *name) {
  for (const dl_node *child = node->first; child; child = child->next)
    if ((child->key && !strcmp(child->key, "name") && child->kind == DL_NODE_SCALAR && !strcmp(child->text, name)) ||
        is_named_in(child, name))
      return true;
  return false;
}

static dl_status find_input(const dl_net *net, dl_layer *layer, const dl_node *word) {
  char text[96];
  if (word->kind != DL_NODE_SCALAR)
    return dl_node_fail(word, false, "from must be a layer's name or a list of names, not %s",
                        dl_node_describe(word, text, sizeof text));
  if (layer->n_inputs == DL_LAYER_MAX_INPUTS)
    return dl_node_fail(word, false, "from names more than %d layers", DL_LAYER_MAX_INPUTS);
  int found = layer->number;
  for (int i = -1; i < layer->number; i++)
    if (!strcmp(word->text, i < 0 ? "input" : net->layers[i].name)) found = i;
  if (found < layer->number) {
    layer->inputs[layer->n_inputs++] = found;
    return DL_OK;
  }
  const char *names[256] = {"input"};
  int n = 1;
  for (int i = 0; i < layer->number && n < 256; i++) names[n++] = net->layers[i].name;
  if (is_named_in(net->model, word->text)) {
    dl_node_fail(word, false, "layer '%.60s' does not stand above: the graph would have a cycle", word->text);
    return dl_hint("a layer reads layers that stand above it in the list");
  }
  dl_node_fail(word, false, "no layer above is called '%.60s'", word->text);
  return dl_hint_nearest(word->text, names, n, "give that layer a name: {dense: {units: 64, name: %.40s}}", word->text);
}

static dl_status find_inputs(const dl_net *net, dl_layer *layer, const dl_node *from, int previous) {
  const int most = layer->kind->most_inputs > 1 ? layer->kind->most_inputs : 1;
  if (!from || from->kind == DL_NODE_NULL)
    layer->inputs[layer->n_inputs++] = previous;
  else if (from->kind == DL_NODE_LIST)
    for (const dl_node *word = from->first; word; word = word->next) DL_TRY(find_input(net, layer, word));
  else
    DL_TRY(find_input(net, layer, from));
  if (layer->kind->joins && layer->n_inputs < 2) {
    dl_layer_fail(layer, "it needs two inputs or more");
    return dl_hint("name them: {%s: {from: [a, b]}}", layer->kind->name);
  }
  if (!layer->kind->joins && (layer->n_inputs < 1 || layer->n_inputs > most))
    return dl_layer_fail(layer, most > 1 ? "it reads one input or two, not %d" : "it reads one input, not %d",
                         layer->n_inputs);
  return DL_OK;
}

/* Options, name and inputs of an entry that reads layer `previous` unless it says otherwise. `path`: its name unless it
 * has one of its own. */
static dl_status parse_layer(dl_net *net, dl_node *entry, const char *path, int previous, dl_layer *layer) {
  const dl_node *named = entry->kind == DL_NODE_MAP && dl_node_size(entry) == 1 ? entry->first : entry;
  const char *word = named == entry ? entry->text : named->key;
  if ((named != entry || entry->kind == DL_NODE_SCALAR) && !dl_layer_kind_find(word)) return unknown_layer(named, word);
  dl_node *map;
  DL_TRY(dl_entry_normalise(entry, "a layer", value_option, &word, &map));
  layer->kind = dl_layer_kind_find(word);
  layer->number = net->n_layers;
  layer->node = map;
  layer->options = dl_arena_alloc(net->arena, layer->kind->options_size);
  if (!layer->options) return DL_ERR_NOMEM;
  dl_layer_common common = {0};
  int n_common;
  const dl_option *common_options = dl_layer_common_options(&n_common);
  const dl_option_set sets[] = {{layer->kind->options, layer->kind->n_options, layer->options},
                                {common_options, n_common, &common}};
  DL_TRY(dl_options_parse(sets, 2, map, layer->kind->name));
  layer->trainable = common.trainable && !net->frozen;
  layer->lr_scale = common.lr_scale * net->lr_scale;
  layer->init = common.init;
  layer->name = dl_arena_strdup(net->arena, common.name ? common.name : path);
  if (!layer->name) return DL_ERR_NOMEM;
  DL_TRY(check_name(net, layer, map));
  return find_inputs(net, layer, common.from, previous);
}

/* Tokens are checked where they come from: an embedding cannot read what other layers made. */
static dl_status check_tokens(const dl_net *net, const dl_layer *layer) {
  const int maker = dl_net_maker(net, layer->inputs[0]);
  if (!layer->token_limit || maker < 0) return DL_OK;
  char text[160];
  dl_layer_fail(layer, "it reads tokens, which only the network's input holds, but here the output of %s",
                dl_net_layer_text(net, maker, text, sizeof text));
  return dl_hint("put it first, or behind `flatten` or `reshape` alone, or let it read them: from: input");
}

/* Shapes and tensors of a layer whose inputs are known; it takes its place at the end of the list. */
static dl_status set_up_layer(dl_net *net, const dl_layer *parsed) {
  const int number = net->n_layers++;
  dl_layer *layer = &net->layers[number];
  *layer = *parsed;
  layer->number = number;
  for (int i = 0; i < layer->n_inputs; i++) {
    dl_value *value = &net->values[layer->inputs[i] + 1];
    layer->input_shapes[i] = &value->shape;
    value->readers++;
  }
  layer->in = *layer->input_shapes[0];
  layer->first_tensor = net->n_tensors;
  dl_layer_builder builder = {net, layer};
  DL_TRY(layer->kind->setup(layer, &builder));
  net->values[number + 1].shape = layer->out;
  return check_tokens(net, layer);
}

/* ---- lists, and lists within ---- */

static dl_status build_list(dl_net *net, dl_node *list, const char *path, int *last);

/* The layers of a composite, then those of its shortcut, both from what it reads; it becomes their sum. */
static dl_status build_inside(dl_net *net, dl_layer *layer) {
  const dl_layer_branches *branches = layer->options;
  char path[160];
  int end = layer->inputs[0], side = layer->inputs[0];
  if (branches->layers->kind != DL_NODE_LIST || !branches->layers->first)
    return dl_node_fail(branches->layers, false, "layers must be a list of one layer or more");
  const bool frozen = net->frozen;
  const double lr_scale = net->lr_scale;
  net->frozen = !layer->trainable;
  net->lr_scale = layer->lr_scale;
  snprintf(path, sizeof path, "%s.layers", layer->name);
  DL_TRY(build_list(net, branches->layers, path, &end));
  snprintf(path, sizeof path, "%s.shortcut", layer->name);
  if (branches->shortcut) DL_TRY(build_list(net, branches->shortcut, path, &side));
  net->frozen = frozen;
  net->lr_scale = lr_scale;
  layer->inputs[0] = end;
  layer->inputs[1] = side;
  layer->n_inputs = 2;
  return DL_OK;
}

static dl_status build_entry(dl_net *net, dl_node *entry, const char *path, int *last) {
  dl_layer layer = {0};
  DL_TRY(parse_layer(net, entry, path, *last, &layer));
  if (layer.kind && layer.kind->composite) DL_TRY(build_inside(net, &layer));
  *last = net->n_layers;
  return set_up_layer(net, &layer);
}

/* Each entry reads the one before, the first one layer *last, which becomes the list's end. A shortcut may be a single
 * layer instead of a list. */
static dl_status build_list(dl_net *net, dl_node *list, const char *path, int *last) {
  char name[192];
  int number = 0;
  if (list->kind != DL_NODE_LIST) return build_entry(net, list, path, last);
  for (dl_node *entry = list->first; entry; entry = entry->next, number++) {
    snprintf(name, sizeof name, "%s.%d", path, number);
    DL_TRY(build_entry(net, entry, name, last));
  }
  return DL_OK;
}

/* No fewer than the layers that a list becomes: whatever stands in lists, and a shortcut of a single layer. */
static size_t most_layers(const dl_node *node) {
  size_t n = 0;
  for (const dl_node *child = node->first; child; child = child->next)
    n += most_layers(child) + (node->kind == DL_NODE_LIST || (child->key && !strcmp(child->key, "shortcut")));
  return n;
}

enum { MOST_LAYERS = 10000 };

static dl_status build_layers(const dl_config *config, dl_net *net) {
  dl_node *model = config->model;
  char text[96];
  if (!model || model->kind == DL_NODE_NULL) return dl_config_fail(config, "model", "the configuration has no model");
  if (model->kind != DL_NODE_LIST)
    return dl_node_fail(model, false, "model must be a list of layers, not %s",
                        dl_node_describe(model, text, sizeof text));
  if (!model->first) {
    dl_node_fail(model, true, "the model has no layers");
    return dl_hint("add a layer such as `dense: 10`");
  }
  const size_t room = most_layers(model);
  if (room > MOST_LAYERS) return dl_node_fail(model, true, "the model has %zu layers, more than %d", room, MOST_LAYERS);
  net->model = model;
  net->lr_scale = 1;
  net->layers = dl_arena_alloc(net->arena, room * sizeof *net->layers);
  net->steps = dl_arena_alloc(net->arena, room * sizeof *net->steps);
  dl_value *values = dl_arena_alloc(net->arena, (room + 1) * sizeof *values);
  if (!net->layers || !net->steps || !values) return DL_ERR_NOMEM;
  values[0] = net->values[0];
  net->values = values;
  int last = -1;
  DL_TRY(build_list(net, model, "layers", &last));
  for (int i = 0; i + 1 < net->n_layers; i++)
    if (!net->values[i + 1].readers) return dl_layer_fail(&net->layers[i], "no other layer reads its output");
  if (!net->n_tensors) {
    dl_node_fail(model, true, "the model has no weights to train");
    return dl_hint("add a layer such as `dense: 10`");
  }
  return DL_OK;
}

/* ---- the end: loss, task and outputs ---- */

static const struct {
  const char *name, *loss, *what; /* what the data set counts its outputs in */
} tasks[] = {
    [DL_TASK_CLASSIFICATION] = {"classification", "cross_entropy", "classes"},
    [DL_TASK_BINARY] = {"binary", "bce", "values of y a sample"},
    [DL_TASK_MULTILABEL] = {"multilabel", "bce", "labels a sample"},
    [DL_TASK_REGRESSION] = {"regression", "mse", "values of y a sample"},
    [DL_TASK_LANGUAGE_MODEL] = {"language_model", "cross_entropy", "tokens"},
    [DL_TASK_SEGMENTATION] = {"segmentation", "cross_entropy", "classes"},
};

static dl_status unknown_loss(const dl_node *node, const char *word) {
  const char *names[64];
  int n;
  const dl_loss *losses = dl_losses(&n);
  for (int i = 0; i < n; i++) names[i] = losses[i].name;
  dl_node_fail(dl_node_get(node, "name"), false, "unknown loss '%.60s'", word);
  return dl_hint_nearest(word, names, n, "`dldist list losses` shows all");
}

static dl_status build_loss(const dl_config *config, dl_net *net) {
  dl_node *node = config->loss ? config->loss : dl_node_get(config->document.root, "loss");
  if (!node || node->kind == DL_NODE_NULL)
    DL_TRY(dl_node_set(config->document.root, "loss", tasks[net->task].loss, &node));
  const char *name;
  DL_TRY(dl_named_normalise(node, "loss", tasks[net->task].loss, &name));
  net->loss = dl_loss_find(name);
  if (!net->loss) return unknown_loss(node, name);
  if (!(net->loss->tasks & (1u << net->task))) {
    dl_node_fail(dl_node_get(node, "name"), false, "loss %s does not fit task %s", name, tasks[net->task].name);
    return dl_hint("use %s, or another task", tasks[net->task].loss);
  }
  net->loss_options = dl_arena_alloc(net->arena, net->loss->options_size);
  if (!net->loss_options) return DL_ERR_NOMEM;
  const char *ignored;
  static const dl_option name_row = {.key = "name", .type = DL_OPTION_STRING, .help = "which loss"};
  const dl_option_set sets[] = {{&name_row, 1, &ignored},
                                {net->loss->options, net->loss->n_options, net->loss_options}};
  return dl_options_parse(sets, 2, node, name);
}

/* A language model gives logits over the vocabulary for each step of the sequence that it reads. */
static dl_status check_sequence(const dl_net_spec *spec, const dl_layer *last) {
  char shape[96];
  if (last->out.dims != 2 || spec->x_dims != 1 || last->out.dim[0] != spec->x_shape[0]) {
    dl_layer_fail(last, "a language model ends in a row of logits for each of the %lld steps, but this is %s",
                  (long long)spec->x_shape[0], dl_shape_text(&last->out, shape, sizeof shape));
    return dl_hint("use return_sequences: true in recurrent layers, and a last `dense: VOCABULARY`");
  }
  if (last->out.dim[1] >= spec->outputs) return DL_OK;
  dl_node_fail(last->node, true, "the model ends in %lld outputs but the data set has %lld tokens",
               (long long)last->out.dim[1], (long long)spec->outputs);
  return dl_hint("make the last layer `dense: %lld`", (long long)spec->outputs);
}

/* A segmentation gives a row of logits for each label of the map: (classes, height, width). */
static dl_status check_map(const dl_net_spec *spec, const dl_layer *last) {
  const int64_t *map = spec->map;
  char shape[96];
  const bool image = last->out.dims == 3;
  if (!image || (map[0] && (last->out.dim[1] != map[0] || last->out.dim[2] != map[1]))) {
    dl_shape_text(&last->out, shape, sizeof shape);
    if (map[0])
      dl_layer_fail(last,
                    "a segmentation ends in (classes, height, width), here (classes, %lld, %lld) as the labels "
                    "are, but this is %s",
                    (long long)map[0], (long long)map[1], shape);
    else
      dl_layer_fail(last, "a segmentation ends in (classes, height, width), but this is %s", shape);
    return dl_hint("end in `conv2d: {filters: CLASSES, kernel: 1}`; upsample2d or conv2d_transpose undo pooling");
  }
  if (!spec->outputs || last->out.dim[0] == spec->outputs) return DL_OK;
  dl_node_fail(last->node, true, "the model ends in %lld channels but the data set has %lld classes",
               (long long)last->out.dim[0], (long long)spec->outputs);
  return dl_hint("make the last layer `conv2d: {filters: %lld, kernel: 1}`", (long long)spec->outputs);
}

/* Logits of several places or steps would be taken for one long row of classes. */
static dl_status check_logits(const dl_layer *last) {
  int wide = 0;
  for (int i = 0; i < last->out.dims; i++) wide += last->out.dim[i] > 1;
  if (wide <= 1) return DL_OK;
  char shape[96];
  dl_layer_fail(last, "a classification ends in one row of logits, but this is %s",
                dl_shape_text(&last->out, shape, sizeof shape));
  return dl_hint(
      "put `flatten` or `global_avgpool2d` before the last `dense`; recurrent layers without return_sequences");
}

static dl_status check_end(const dl_net_spec *spec, const dl_net *net) {
  const dl_layer *last = &net->layers[net->n_layers - 1];
  const int made = dl_net_maker(net, net->n_layers - 1);
  const dl_layer *maker = made < 0 ? last : &net->layers[made];
  if (net->loss->on_logits && maker->kind->squashes) {
    dl_layer_fail(maker, "a final %s before %s is an error: the loss works on logits", maker->kind->name,
                  net->loss->name);
    return dl_hint("take the %s out", maker->kind->name);
  }
  if (net->task == DL_TASK_LANGUAGE_MODEL) return check_sequence(spec, last);
  if (net->task == DL_TASK_SEGMENTATION) return check_map(spec, last);
  if (net->task == DL_TASK_CLASSIFICATION) DL_TRY(check_logits(last));
  const int64_t outputs = dl_shape_size(&last->out);
  if (!spec->outputs || outputs == spec->outputs) return DL_OK;
  dl_node_fail(last->node, true, "the model ends in %lld output%s but the data set has %lld %s", (long long)outputs,
               outputs == 1 ? "" : "s", (long long)spec->outputs, tasks[net->task].what);
  return dl_hint("make the last layer `dense: %lld`", (long long)spec->outputs);
}

dl_status dl_net_build(const dl_net_spec *spec, dl_net *net) {
  const dl_config *config = spec->config;
  if (config->task < 0 || config->task >= (int)(sizeof tasks / sizeof tasks[0]) || spec->max_batch < 1 ||
      spec->x_dims < 0 || spec->x_dims > DL_MAX_DIMS)
    return dl_fail(DL_ERR_INTERNAL, "dl_net_new: a specification that cannot be");
  net->task = config->task;
  net->max_batch = spec->max_batch;
  net->block_floats = spec->block_floats;
  net->stage_floats = spec->stage_floats;
  net->most_bytes = spec->most_bytes ? spec->most_bytes : dl_memory_bytes();
  net->gemm = dl_gemm_choose(config->compute.backend);
  if (!net->gemm) return DL_ERR_USAGE;
  dl_value input = {.shape = {.dims = 1, .dim = {1}}};
  if (spec->x_dims) input.shape.dims = spec->x_dims;
  for (int i = 0; i < spec->x_dims; i++) input.shape.dim[i] = spec->x_shape[i];
  for (int i = 0; i < spec->x_dims; i++)
    if (spec->x_shape[i] < 1)
      return dl_fail(DL_ERR_DATA, "samples of x hold no value: a dimension is %lld", (long long)spec->x_shape[i]);
  net->values = &input;
  dl_status status = build_layers(config, net);
  if (net->values == &input) net->values = NULL;
  DL_TRY(status);
  DL_TRY(build_loss(config, net));
  DL_TRY(check_end(spec, net));
  const dl_shape *out = &dl_net_output_value(net)->shape;
  net->rows = net->task == DL_TASK_LANGUAGE_MODEL ? out->dim[0]
              : net->task == DL_TASK_SEGMENTATION ? out->dim[1] * out->dim[2]
                                                  : 1;
  if (!net->loss->setup) return DL_OK;
  const dl_loss_setup setup = {.node = dl_node_get(config->document.root, "loss"),
                               .outputs = dl_net_outputs(net),
                               .class_counts = spec->class_counts,
                               .n_class_counts = spec->n_class_counts,
                               .arena = net->arena};
  return net->loss->setup(net->loss_options, &setup);
}

/* augment.c - the list of data.augment, parsed by its table and drawn into one view.
 *
 * Flips and shifts of an axis are closed under composition: both keep the form i -> step * i + at on a range of i, so a
 * list of them in any order is two such axes. What a crop has shifted out is lost to a later one, as the ranges are
 * intersected.
 */
#include "data/augment.h"

#include <stdlib.h>
#include <string.h>

#include "core/rng.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* ---- axes ---- */

/* i now shows what size - 1 - i showed. */
static void flip_axis(dl_view_axis *axis) {
  const int64_t begin = axis->begin;
  axis->at += axis->step * (axis->size - 1);
  axis->step = -axis->step;
  axis->begin = axis->size - axis->end;
  axis->end = axis->size - begin;
}

/* i now shows what i + by showed. */
static void shift_axis(dl_view_axis *axis, int64_t by) {
  axis->at += axis->step * by;
  axis->begin = axis->begin > by ? axis->begin - by : 0;
  axis->end = axis->end - by < axis->size ? axis->end - by : axis->size;
  if (axis->end < axis->begin) axis->end = axis->begin;
}

/* ---- kinds ---- */

typedef struct flip_options {
  double p;
} flip_options;
static const dl_option flip_rows[] = {
    {"p", DL_OPTION_REAL, offsetof(flip_options, p), 0, 1, "0.5", NULL, "how likely an image is flipped", false},
};

static void look_flip_horizontal(const void *options, const uint32_t words[4], dl_view *view) {
  if ((double)dl_rng_to_unit(words[0]) < ((const flip_options *)options)->p) flip_axis(&view->columns);
}

static void look_flip_vertical(const void *options, const uint32_t words[4], dl_view *view) {
  if ((double)dl_rng_to_unit(words[0]) < ((const flip_options *)options)->p) flip_axis(&view->rows);
}

typedef struct crop_options {
  int64_t padding;
} crop_options;
static const dl_option crop_rows[] = {
    {"padding", DL_OPTION_INT, offsetof(crop_options, padding), 0, 1e6, NULL, NULL,
     "pixels of 0 put around an image before a piece of its old size is cut out at random", false},
};

static dl_status check_crop(const void *options, const dl_node *map, int64_t height, int64_t width) {
  const int64_t padding = ((const crop_options *)options)->padding, side = height < width ? height : width;
  if (padding < side) return DL_OK;
  dl_node_fail(dl_node_get(map, "padding"), false,
               "random_crop: a padding of %lld can leave nothing of images of %lld x %lld pixels", (long long)padding,
               (long long)height, (long long)width);
  return dl_hint("padding must be below %lld", (long long)side);
}

/* A whole number from 0 to n - 1. */
static int64_t below(int64_t n, uint32_t word) { return (int64_t)(((uint64_t)word * (uint64_t)n) >> 32); }

static void look_random_crop(const void *options, const uint32_t words[4], dl_view *view) {
  const int64_t padding = ((const crop_options *)options)->padding;
  shift_axis(&view->rows, below(2 * padding + 1, words[0]) - padding);
  shift_axis(&view->columns, below(2 * padding + 1, words[1]) - padding);
}

static const dl_augmentation_kind kinds[] = {
    {.name = "flip_horizontal",
     .help = "left and right change places",
     .options = flip_rows,
     .n_options = COUNT(flip_rows),
     .options_size = sizeof(flip_options),
     .value_option = "p",
     .look = look_flip_horizontal},
    {.name = "flip_vertical",
     .help = "top and bottom change places",
     .options = flip_rows,
     .n_options = COUNT(flip_rows),
     .options_size = sizeof(flip_options),
     .value_option = "p",
     .look = look_flip_vertical},
    {.name = "random_crop",
     .help = "moves an image up to `padding` pixels in each direction; what comes in is 0, as the file has it",
     .options = crop_rows,
     .n_options = COUNT(crop_rows),
     .options_size = sizeof(crop_options),
     .value_option = "padding",
     .check = check_crop,
     .look = look_random_crop},
};

const dl_augmentation_kind *dl_augmentation_kinds(int *n) {
  *n = COUNT(kinds);
  return kinds;
}

/* ---- the list ---- */

typedef struct entry {
  const dl_augmentation_kind *kind;
  void *options; /* owned */
  dl_rng_key key;
} entry;

struct dl_augment {
  int64_t height, width;
  int n;
  entry entries[];
};

static const dl_augmentation_kind *kind_named(const char *name) {
  for (int i = 0; i < COUNT(kinds); i++)
    if (!strcmp(kinds[i].name, name)) return &kinds[i];
  return NULL;
}

static const char *value_key(const char *name) {
  const dl_augmentation_kind *kind = kind_named(name);
  return kind ? kind->value_option : NULL;
}

static dl_status unknown_kind(const dl_node *node, bool key, const char *name) {
  const char *names[COUNT(kinds)];
  for (int i = 0; i < COUNT(kinds); i++) names[i] = kinds[i].name;
  dl_node_fail(node, key, "unknown augmentation '%.60s'", name);
  return dl_hint_nearest(name, names, COUNT(kinds), "`dldist list augmentations` names them");
}

/* A name that nobody knows is told first: whether it takes a value cannot be said of it. */
static dl_status check_name(const dl_node *node) {
  const bool map = node->kind == DL_NODE_MAP && dl_node_size(node) == 1;
  if (!map && node->kind != DL_NODE_SCALAR) return DL_OK; /* not an entry at all: what follows says so */
  const char *name = map ? node->first->key : node->text;
  return kind_named(name) ? DL_OK : unknown_kind(map ? node->first : node, map, name);
}

static dl_status parse_entry(dl_node *node, const dl_augment *augment, entry *out) {
  const char *name;
  dl_node *map;
  DL_TRY(check_name(node));
  DL_TRY(dl_entry_normalise(node, "an augmentation", value_key, &name, &map));
  out->kind = kind_named(name);
  out->options = dl_calloc(1, out->kind->options_size);
  if (!out->options) return DL_ERR_NOMEM;
  const dl_option_set set = {out->kind->options, out->kind->n_options, out->options};
  DL_TRY(dl_options_parse(&set, 1, map, name));
  return out->kind->check ? out->kind->check(out->options, map, augment->height, augment->width) : DL_OK;
}

static dl_status parse_list(const dl_config *config, const dl_data_shape *shape, dl_augment *augment) {
  augment->height = shape->x_shape[1];
  augment->width = shape->x_shape[2];
  for (dl_node *node = config->data.augment->first; node; node = node->next) {
    entry *next = &augment->entries[augment->n];
    next->key = dl_rng_stream((uint64_t)config->seed, DL_RNG_AUGMENT, (uint32_t)augment->n);
    augment->n++;
    DL_TRY(parse_entry(node, augment, next));
  }
  return DL_OK;
}

dl_status dl_augment_new(const dl_config *config, const dl_data_shape *shape, dl_augment **out) {
  dl_node *list = config->data.augment;
  char text[96];
  *out = NULL;
  if (!list || list->kind == DL_NODE_NULL) return DL_OK;
  if (list->kind != DL_NODE_LIST)
    return dl_node_fail(list, false, "data.augment must be a list of augmentations, not %s",
                        dl_node_describe(list, text, sizeof text));
  if (!dl_node_size(list)) return DL_OK;
  if (shape->x_dims != 3)
    return dl_node_fail(list, false,
                        "data.augment is for images (channels, height, width), but a sample of x has %d %s",
                        shape->x_dims, shape->x_dims == 1 ? "dimension" : "dimensions");
  dl_augment *augment = dl_calloc(1, sizeof *augment + dl_node_size(list) * sizeof(entry));
  if (!augment) return DL_ERR_NOMEM;
  const dl_status status = parse_list(config, shape, augment);
  if (status == DL_OK)
    *out = augment;
  else
    dl_augment_destroy(&augment);
  return status;
}

void dl_augment_destroy(dl_augment **augment) {
  if (!*augment) return;
  for (int i = 0; i < (*augment)->n; i++) free((*augment)->entries[i].options);
  free(*augment);
  *augment = NULL;
}

void dl_augment_draw(const dl_augment *augment, int64_t epoch, int64_t sample, dl_view *out) {
  *out = (dl_view){.rows = {.size = augment->height, .end = augment->height, .step = 1},
                   .columns = {.size = augment->width, .end = augment->width, .step = 1}};
  for (int i = 0; i < augment->n; i++) {
    const entry *e = &augment->entries[i];
    uint32_t words[4];
    dl_rng_block(e->key, (uint32_t)epoch, (uint64_t)sample, 0, words);
    e->kind->look(e->options, words, out);
  }
}

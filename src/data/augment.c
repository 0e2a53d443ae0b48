/* augment.c - the list of data.augment, parsed by its table and drawn for a sample. */
#include "data/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "data/augment_kinds.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const dl_augmentation_kind *const kinds[] = {
    &dl_flip_horizontal,   &dl_flip_vertical,   &dl_random_crop,
    &dl_random_rotation,   &dl_random_zoom,     &dl_random_resized_crop,
    &dl_random_brightness, &dl_random_contrast, &dl_random_saturation,
    &dl_random_erasing,    &dl_cutout,
};

const dl_augmentation_kind *const *dl_augmentation_kinds(int *n) {
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
  dl_data_shape shape;
  bool looks, colours, covers;
  int n;
  entry entries[];
};

static const dl_augmentation_kind *kind_named(const char *name) {
  for (int i = 0; i < COUNT(kinds); i++)
    if (!strcmp(kinds[i]->name, name)) return kinds[i];
  return NULL;
}

static const char *value_key(const char *name) {
  const dl_augmentation_kind *kind = kind_named(name);
  return kind ? kind->value_option : NULL;
}

static dl_status unknown_kind(const dl_node *node, bool key, const char *name) {
  const char *names[COUNT(kinds)];
  for (int i = 0; i < COUNT(kinds); i++) names[i] = kinds[i]->name;
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
  return out->kind->check ? out->kind->check(out->options, map, augment->shape.x_shape) : DL_OK;
}

static dl_status parse_list(const dl_config *config, const dl_data_shape *shape, dl_augment *augment) {
  augment->shape = *shape;
  for (dl_node *node = config->data.augment->first; node; node = node->next) {
    entry *next = &augment->entries[augment->n];
    next->key = dl_rng_stream((uint64_t)config->seed, DL_RNG_AUGMENT, (uint32_t)augment->n);
    augment->n++;
    DL_TRY(parse_entry(node, augment, next));
    augment->looks = augment->looks || next->kind->look;
    augment->colours = augment->colours || next->kind->colour;
    augment->covers = augment->covers || next->kind->cover;
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

/* ---- draws ---- */

typedef struct words {
  uint32_t at[DL_AUGMENT_WORDS];
} words;

static words draw(const entry *e, int64_t epoch, int64_t sample) {
  words drawn;
  dl_rng_block(e->key, (uint32_t)epoch, (uint64_t)sample, 0, drawn.at);
  return drawn;
}

void dl_augment_draw(const dl_augment *augment, int64_t epoch, int64_t sample, dl_view *out) {
  dl_view_begin(out, augment->shape.x_shape[1], augment->shape.x_shape[2]);
  for (int i = 0; i < augment->n; i++) {
    const entry *e = &augment->entries[i];
    if (e->kind->look) e->kind->look(e->options, draw(e, epoch, sample).at, out);
  }
}

bool dl_augment_moves(const dl_augment *augment) { return augment->looks; }

bool dl_augment_has_colours(const dl_augment *augment) { return augment->colours; }

void dl_augment_colour(const dl_augment *augment, int64_t epoch, int64_t sample, const dl_image *image) {
  for (int i = 0; i < augment->n && augment->colours; i++) {
    const entry *e = &augment->entries[i];
    if (e->kind->colour) e->kind->colour(e->options, draw(e, epoch, sample).at, image);
  }
}

void dl_augment_cover(const dl_augment *augment, int64_t epoch, int64_t sample, const dl_image *image) {
  for (int i = 0; i < augment->n && augment->covers; i++) {
    const entry *e = &augment->entries[i];
    if (e->kind->cover) e->kind->cover(e->options, draw(e, epoch, sample).at, image);
  }
}

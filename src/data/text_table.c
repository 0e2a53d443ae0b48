/* text_table.c - open addressing over FNV-1a, at most half full. */
#include "data/text_table.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

struct dl_text_table {
  dl_arena *arena;
  char **texts;
  int n, most;
  int *slots; /* number + 1; 0: empty */
  size_t n_slots;
};

dl_status dl_text_table_new(dl_text_table **out) {
  dl_text_table *t = *out = dl_calloc(1, sizeof *t);
  if (!t) return DL_ERR_NOMEM;
  t->n_slots = 64;
  t->arena = dl_arena_new();
  t->slots = dl_calloc(t->n_slots, sizeof *t->slots);
  if (t->arena && t->slots) return DL_OK;
  dl_text_table_destroy(out);
  return DL_ERR_NOMEM;
}

void dl_text_table_destroy(dl_text_table **table) {
  if (!*table) return;
  dl_arena_destroy(&(*table)->arena);
  free((*table)->texts);
  free((*table)->slots);
  free(*table);
  *table = NULL;
}

/* Where `text` is, or the empty slot where it belongs. */
static int *slot_of(const dl_text_table *t, const char *text, size_t bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
  for (size_t at = (size_t)(hash ^ hash >> 32);; at++) {
    int *slot = &t->slots[at & (t->n_slots - 1)];
    if (!*slot) return slot;
    const char *known = t->texts[*slot - 1];
    if (!strncmp(known, text, bytes) && !known[bytes]) return slot;
  }
}

static dl_status grow(dl_text_table *t) {
  const int most = t->most ? 2 * t->most : 32;
  char **texts = dl_reallocarray(t->texts, (size_t)most, sizeof *texts);
  if (!texts) return DL_ERR_NOMEM;
  t->texts = texts;
  t->most = most;
  int *slots = dl_calloc(4 * (size_t)most, sizeof *slots);
  if (!slots) return DL_ERR_NOMEM;
  free(t->slots);
  t->slots = slots;
  t->n_slots = 4 * (size_t)most;
  for (int i = 0; i < t->n; i++) *slot_of(t, texts[i], strlen(texts[i])) = i + 1;
  return DL_OK;
}

dl_status dl_text_table_add(dl_text_table *t, const char *text, size_t bytes, int *out) {
  int *slot = slot_of(t, text, bytes);
  if (!*slot) {
    if (t->n == t->most) {
      DL_TRY(grow(t));
      slot = slot_of(t, text, bytes);
    }
    char *copy = dl_arena_alloc(t->arena, bytes + 1);
    if (!copy) return DL_ERR_NOMEM;
    memcpy(copy, text, bytes);
    t->texts[t->n] = copy;
    *slot = ++t->n;
  }
  *out = *slot - 1;
  return DL_OK;
}

int dl_text_table_find(const dl_text_table *t, const char *text, size_t bytes) { return *slot_of(t, text, bytes) - 1; }
int dl_text_table_size(const dl_text_table *t) { return t->n; }
const char *dl_text_table_text(const dl_text_table *t, int number) { return t->texts[number]; }

/* mem.c - checked allocation and the bump allocator. */
#include "core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "core/cgroup.h"

static size_t machine_bytes(void) {
  struct sysinfo info;
  size_t bytes;
  if (sysinfo(&info) || __builtin_mul_overflow(info.totalram + info.totalswap, (size_t)info.mem_unit, &bytes))
    return SIZE_MAX;
  return bytes;
}

size_t dl_memory_bytes(void) {
  static _Atomic size_t known; /* 0: not yet looked up; whoever looks finds the same */
  size_t bytes = known;
  if (bytes) return bytes;
  size_t machine = machine_bytes(), group = dl_cgroup_read("").memory_bytes;
  bytes = machine < group ? machine : group;
  known = bytes;
  return bytes;
}

static void *out_of_memory(size_t count, size_t size) {
  dl_fail(DL_ERR_NOMEM, "out of memory: %zu x %zu bytes could not be allocated", count, size);
  return NULL;
}

void *dl_calloc(size_t count, size_t size) {
  void *p = calloc(count ? count : 1, size ? size : 1);
  return p ? p : out_of_memory(count, size);
}

/* A pass walks through large buffers in strides of rows: with pages of 2 MiB it misses fewer addresses. Only a wish. */
enum { HUGE_PAGE = 1 << 21, LARGE_BYTES = 1 << 22 };

static void ask_for_huge_pages(void *p, size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(p, bytes, MADV_HUGEPAGE);
#else
  (void)p, (void)bytes;
#endif
}

void *dl_calloc_aligned(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - DL_CACHE_LINE)
    return out_of_memory(count, size);
  const size_t unit = bytes >= LARGE_BYTES && bytes <= SIZE_MAX - HUGE_PAGE ? HUGE_PAGE : DL_CACHE_LINE;
  bytes = (bytes + unit - 1) / unit * unit;
  if (!bytes) bytes = DL_CACHE_LINE;
  if (bytes >= HUGE_PAGE && bytes > dl_memory_bytes()) return out_of_memory(count, size);
  void *p = aligned_alloc(unit, bytes);
  if (!p) return out_of_memory(count, size);
  if (unit == HUGE_PAGE) ask_for_huge_pages(p, bytes);
  memset(p, 0, bytes);
  return p;
}

void *dl_reallocarray(void *old, size_t count, size_t size) {
  void *p = reallocarray(old, count ? count : 1, size ? size : 1);
  return p ? p : out_of_memory(count, size);
}

void *dl_make_room(void *old, int64_t n, int64_t *room, size_t size) {
  if (n < *room) return old;
  const int64_t more = *room ? 2 * *room : 16;
  void *p = dl_reallocarray(old, (size_t)more, size);
  if (p) *room = more;
  return p;
}

char *dl_strdup(const char *text) {
  char *copy = strdup(text);
  return copy ? copy : out_of_memory(strlen(text) + 1, 1);
}

char *dl_asprintf(const char *format, ...) {
  char *text = NULL;
  va_list args;
  va_start(args, format);
  int n = vasprintf(&text, format, args);
  va_end(args);
  return n < 0 ? out_of_memory(1, 1) : text;
}

/* ---- arena: chunks of at least 16 KiB, newest first ---- */

#define ARENA_CHUNK (16u * 1024)

typedef struct chunk {
  struct chunk *next;
  size_t used, size;
  max_align_t data[];
} chunk;

struct dl_arena {
  chunk *chunks;
};

dl_arena *dl_arena_new(void) { return dl_calloc(1, sizeof(dl_arena)); }

void dl_arena_destroy(dl_arena **arena) {
  if (!*arena) return;
  for (chunk *c = (*arena)->chunks, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  free(*arena);
  *arena = NULL;
}

void *dl_arena_alloc(dl_arena *arena, size_t bytes) {
  if (bytes > SIZE_MAX / 2) return out_of_memory(bytes, 1);
  bytes = (bytes + 15) / 16 * 16;
  chunk *c = arena->chunks;
  if (!c || c->size - c->used < bytes) {
    size_t size = bytes > ARENA_CHUNK ? bytes : ARENA_CHUNK;
    c = dl_calloc(1, sizeof *c + size);
    if (!c) return NULL;
    c->size = size;
    c->next = arena->chunks;
    arena->chunks = c;
  }
  void *p = (char *)c->data + c->used;
  c->used += bytes;
  return p;
}

char *dl_arena_strdup(dl_arena *arena, const char *text) {
  size_t bytes = strlen(text) + 1;
  char *copy = dl_arena_alloc(arena, bytes);
  return copy ? memcpy(copy, text, bytes) : NULL;
}

char *dl_arena_printf(dl_arena *arena, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *text = n < 0 ? NULL : dl_arena_alloc(arena, (size_t)n + 1);
  if (text) vsnprintf(text, (size_t)n + 1, format, again);
  va_end(again);
  return text;
}

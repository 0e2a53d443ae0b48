/* mem.h - memory that belongs to somebody (floor: core). */
#ifndef DL_CORE_MEM_H
#define DL_CORE_MEM_H

#include "core/status.h"

#define DL_CACHE_LINE 64

/* Zeroed memory for `count` objects of `size` bytes; overflow-checked; NULL and a record on failure. */
void *dl_calloc(size_t count, size_t size);

/* Zeroed memory aligned to 64 bytes (size rounded up to a multiple of 64), released with free(). From 4 MiB on it is
 * whole pages of 2 MiB, where the system has them for the asking. */
void *dl_calloc_aligned(size_t count, size_t size);

/* What this machine has, or this process's control groups allow where that is less, swap included: an upper bound of
 * what can be had. Linux promises more than that, and ends the process where it is touched. */
size_t dl_memory_bytes(void);

/* realloc with an overflow check; the old block stays valid on failure (NULL). */
void *dl_reallocarray(void *old, size_t count, size_t size);

/* `old`, of which `n` objects are used, with room for one more: itself, or where it is full (n == *room) what takes its
 * place, twice as large. On failure NULL, the old block and *room stay as they are. */
void *dl_make_room(void *old, int64_t n, int64_t *room, size_t size);

char *dl_strdup(const char *text);
/* printf into fresh memory; NULL and a record on failure. */
char *dl_asprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A bump allocator: many small objects with one owner and one end (a parsed configuration). */
typedef struct dl_arena dl_arena;
dl_arena *dl_arena_new(void);
void dl_arena_destroy(dl_arena **arena);
void *dl_arena_alloc(dl_arena *arena, size_t bytes); /* zeroed, 16-byte aligned; NULL and a record on failure */
char *dl_arena_strdup(dl_arena *arena, const char *text);
char *dl_arena_printf(dl_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

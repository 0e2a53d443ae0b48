/* scratch.h - what the tests of this floor share: a folder of their own, files as bytes, and a generator of numbers. */
#ifndef DL_TRAIN_SCRATCH_H
#define DL_TRAIN_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "dltest.h"

enum { SCRATCH_PATH = 400 };

/* A fresh folder, removed with all that is in it by scratch_end. */
typedef struct scratch {
  char folder[64];
} scratch;

static inline void scratch_begin(scratch *s) {
  snprintf(s->folder, sizeof s->folder, "/tmp/dldist-test-XXXXXX");
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(s->folder));
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int kind, struct FTW *place) {
  (void)st, (void)kind, (void)place;
  return remove(path);
}
static inline void scratch_remove(const char *path) { nftw(path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS); }
static inline void scratch_end(scratch *s) { scratch_remove(s->folder); }

/* A path below the folder; valid until the fourth call after it. */
static inline const char *scratch_path(const scratch *s, const char *name) {
  static char paths[4][SCRATCH_PATH];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, SCRATCH_PATH, "%s/%s", s->folder, name);
  return path;
}

/* All bytes of a file in fresh memory. */
static inline unsigned char *bytes_of(const char *path, size_t *n) {
  char *text = NULL;
  if (dl_file_read(path, 1 << 24, DL_ERR_DATA, &text, n) != DL_OK) {
    *n = 0;
    return NULL;
  }
  return (unsigned char *)text;
}

static inline void put_bytes(const char *path, const void *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CU_ASSERT_EQUAL(fwrite(bytes, 1, n, file), n);
  CU_ASSERT_EQUAL(fclose(file), 0);
}

/* x' = 1664525 x + 1013904223 mod 2^32; the upper bits are the number. */
static inline uint32_t random_below(uint32_t *state, uint32_t below) {
  *state = *state * 1664525u + 1013904223u;
  return (uint32_t)((uint64_t)(*state) * below >> 32);
}
static inline float random_value(uint32_t *state) {
  return (float)random_below(state, 1u << 24) * 0x1p-23f - 1.0f; /* [-1, 1) */
}

#endif

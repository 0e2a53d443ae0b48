/* import_fixture.h - what the tests of importers share: files of text, and imports that are refused. */
#ifndef DL_IMPORT_FIXTURE_H
#define DL_IMPORT_FIXTURE_H

#include "core/file.h"
#include "make_h5.h"

/* A path that stays longer than test_path's. */
static inline const char *keep(const char *name) {
  static char paths[8][256];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s", test_path(name));
  return path;
}

static inline void write_text(const char *name, const char *text) { write_bytes(name, text, strlen(text)); }

/* The error says this, and nothing was written to out.h5. */
static inline void expect_refused(const char *part) {
  char whole[1400];
  dl_error_format(dl_error_last(), whole, sizeof whole);
  if (!strstr(whole, part)) fprintf(stderr, "says: %s\nwithout: %s\n", whole, part);
  CU_ASSERT_PTR_NOT_NULL(strstr(whole, part));
  CU_ASSERT_FALSE(dl_path_exists(test_path("out.h5")));
}

#endif

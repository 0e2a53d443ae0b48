/* fuzz_targets.h - whatever reads bytes from outside, as functions of bytes: run by libFuzzer, and over the stored
 * corpus as a test. */
#ifndef DL_FUZZ_TARGETS_H
#define DL_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

typedef struct fuzz_target {
  const char *name;
  void (*run)(const uint8_t *bytes, size_t n);
} fuzz_target;
extern const fuzz_target fuzz_targets[];
extern const int fuzz_target_count;

#endif

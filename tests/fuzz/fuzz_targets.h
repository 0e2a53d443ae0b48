/* fuzz_targets.h - whatever reads bytes from outside, as functions of bytes: run by libFuzzer, and over the stored
 * corpus as a test. Any status will do; what must not happen is a crash, a hang, a read out of bounds, memory without
 * bound, or a file left behind. A new target is a function, and its name in the list. */
#ifndef DL_FUZZ_TARGETS_H
#define DL_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

/* fuzz_data.c, fuzz_run.c, fuzz_few.c, fuzz_log.c */
/* clang-format off */
#define FUZZ_TARGETS(TARGET) \
  TARGET(idx) \
  TARGET(cifar10) \
  TARGET(text) \
  TARGET(csv) \
  TARGET(csv_split) \
  TARGET(npy) \
  TARGET(npz) \
  TARGET(fann) \
  TARGET(picture) \
  TARGET(hdf5) \
  TARGET(config) \
  TARGET(safetensors) \
  TARGET(checkpoint) \
  TARGET(run_log) \
  TARGET(ps_frame) \
  TARGET(ps_few) \
  TARGET(ps_log)
/* clang-format on */

#define FUZZ_DECLARE(name) void fuzz_##name(const uint8_t *bytes, size_t n);
FUZZ_TARGETS(FUZZ_DECLARE)

typedef struct fuzz_target {
  const char *name;
  void (*run)(const uint8_t *bytes, size_t n);
} fuzz_target;
extern const fuzz_target fuzz_targets[];
extern const int fuzz_target_count;

/* ---- for the targets ---- */

/* The bytes as a file in memory. Close the descriptor. */
typedef struct fuzz_file {
  int descriptor;
  char path[64];
} fuzz_file;
fuzz_file fuzz_file_make(const void *bytes, size_t n);

/* A path of this process in memory, valid until the next call. */
const char *fuzz_scratch(const char *name);
void fuzz_write(const char *path, const void *bytes, size_t n);

#endif

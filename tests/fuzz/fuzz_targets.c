/* fuzz_targets.c - the table of targets, and what they share. */
#include "fuzz_targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define TARGET(name) {#name, fuzz_##name},
const fuzz_target fuzz_targets[] = {FUZZ_TARGETS(TARGET)};
const int fuzz_target_count = sizeof fuzz_targets / sizeof fuzz_targets[0];

fuzz_file fuzz_file_make(const void *bytes, size_t n) {
  fuzz_file file = {.descriptor = memfd_create("fuzz", MFD_CLOEXEC)};
  if (file.descriptor < 0 || write(file.descriptor, bytes, n) != (ssize_t)n) abort();
  snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.descriptor);
  return file;
}

const char *fuzz_scratch(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "/dev/shm/dldist-fuzz-%d-%s", (int)getpid(), name);
  return path;
}

void fuzz_write(const char *path, const void *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, n, file) != n) abort();
  fclose(file);
}

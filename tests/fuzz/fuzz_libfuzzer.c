/* fuzz_libfuzzer.c - the entry of libFuzzer for the target that FUZZ_TARGET names. */
#include <string.h>

#include "fuzz_targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  for (int i = 0; i < fuzz_target_count; i++)
    if (!strcmp(fuzz_targets[i].name, FUZZ_TARGET)) fuzz_targets[i].run(bytes, n);
  return 0;
}

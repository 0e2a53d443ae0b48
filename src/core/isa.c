/* isa.c - the processor's best instruction set, found once. */
#include "core/isa.h"

#include <stdlib.h>
#include <string.h>

static dl_isa detect(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return DL_ISA_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return DL_ISA_AVX2;
#endif
  return DL_ISA_BASE;
}

static const char *const isa_names[] = {"base", "avx2", "avx512"};

static dl_isa choose(void) {
  dl_isa best = detect();
  const char *wish = getenv("DLDIST_ISA");
  for (int i = 0; wish && i < (int)best; i++)
    if (!strcmp(wish, isa_names[i])) return (dl_isa)i;
  return best;
}

/* Set before main, so that threads only ever read it. */
static dl_isa in_use;
__attribute__((constructor)) static void set_in_use(void) { in_use = choose(); }

dl_isa dl_isa_in_use(void) { return in_use; }
const char *dl_isa_text(void) { return isa_names[in_use]; }

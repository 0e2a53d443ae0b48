/* gemm.c - the choice of who multiplies matrices: by configuration alone, never by a timing, which would move bits. */
#include "nn/gemm.h"

#include <stdlib.h>

#include "core/config.h"
#include "core/log.h"
#include "nn/gemm_backends.h"

const dl_gemm_backend *dl_gemm_choose(int backend) {
  static const dl_gemm_backend *const table[] = {
#ifdef DLDIST_HAVE_ONEDNN
      [DL_BACKEND_AUTO] = &dl_gemm_onednn,
      [DL_BACKEND_ONEDNN] = &dl_gemm_onednn,
#else
      [DL_BACKEND_AUTO] = &dl_gemm_openblas,
      [DL_BACKEND_ONEDNN] = NULL,
#endif
      [DL_BACKEND_OPENBLAS] = &dl_gemm_openblas,
  };
  if (backend >= 0 && backend < (int)(sizeof table / sizeof table[0]) && table[backend]) return table[backend];
  dl_fail(DL_ERR_USAGE, "compute.backend: this dldist is built without oneDNN");
  dl_hint("use compute.backend: auto or openblas, or build with libdnnl-dev installed");
  return NULL;
}

/* What a variable does to the libraries where a user has it set, most of the time without knowing. */
static const struct {
  const char *variable, *effect;
  int backend; /* whom it concerns */
} watched[] = {
    {"OPENBLAS_CORETYPE", "fixes the kernels OpenBLAS uses, whatever the processor: this may halve its speed",
     DL_BACKEND_OPENBLAS},
    {"OPENBLAS_L2_SIZE", "overrides the cache size OpenBLAS plans for: this may halve its speed", DL_BACKEND_OPENBLAS},
    {"OPENBLAS_VERBOSE", "makes OpenBLAS print", DL_BACKEND_OPENBLAS},
    {"DNNL_MAX_CPU_ISA", "limits the instruction set oneDNN uses", DL_BACKEND_ONEDNN},
    {"ONEDNN_MAX_CPU_ISA", "limits the instruction set oneDNN uses", DL_BACKEND_ONEDNN},
    {"DNNL_CPU_ISA_HINTS", "changes the instructions oneDNN prefers", DL_BACKEND_ONEDNN},
    {"ONEDNN_CPU_ISA_HINTS", "changes the instructions oneDNN prefers", DL_BACKEND_ONEDNN},
    {"DNNL_VERBOSE", "makes oneDNN print", DL_BACKEND_ONEDNN},
    {"ONEDNN_VERBOSE", "makes oneDNN print", DL_BACKEND_ONEDNN},
};

void dl_gemm_check_environment(int backend) {
  for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
    const char *value = getenv(watched[i].variable);
    if (value && *value && (backend == DL_BACKEND_AUTO || backend == watched[i].backend))
      dl_warn("blas_environment", "%s=%.64s in the environment %s; unset it unless that is meant", watched[i].variable,
              value, watched[i].effect);
  }
}

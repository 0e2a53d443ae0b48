/* gemm_tiles.c - which products our own tiles make, and where their copies lie.
 *
 * Read on AVX-512 (one thread, GF/s, oneDNN's sgemm and ours): 2048 rows, 256 to 1024 features 242 and 248, back 234
 * and 241; weight gradients of 1024 x 256 205 and 231. With few rows the copy of the weights costs more than it saves.
 */
#include <stdalign.h>

#include "core/isa.h"
#include "nn/gemm_backends.h"

enum { FEWEST_ROWS = 64, FEWEST = 16 };

DL_ISA_DECLARE(dl_gemm_kernels, dl_gemm_kernel_table);

/* A pass allocates nothing, and threads multiply at the same time. */
static _Thread_local alignas(64) float room[DL_GEMM_ROOM];

bool dl_gemm_by_tiles(const dl_product *p) {
  const dl_gemm_kernels *kernels = DL_ISA_CHOOSE(dl_gemm_kernel_table);
  if (!kernels->product || p->m < FEWEST_ROWS || p->n < FEWEST || p->k < FEWEST) return false;
  kernels->product(p, room);
  return true;
}

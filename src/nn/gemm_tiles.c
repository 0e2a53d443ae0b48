/* gemm_tiles.c - which products our own tiles make, and where their copies lie.
 *
 * Small ones and triangles, as attention asks for them, always. Of the others, those where they were read to be faster
 * than oneDNN 2.6's sgemm (AVX-512, one thread, ratio of speeds; m x k to n):
 *   y = x W^T from 256 rows on: 2048 x 256 to 256 1.07, x 1024 to 256 1.06, x 784 to 512 1.08, x 256 to 1024 0.97,
 * where the offset added in passing wins it back; with fewer rows the copy of W costs more: 128 x 784 to 512 0.95;
 *   whatever reads rows of A that lie whole pages apart, where oneDNN loses: y 128 x 1024 to 64 1.98, weight gradients
 * of 256 to 1024 1.14; other weight gradients 0.87 to 1.03, and gradients of the input 0.95 to 1.02, are oneDNN's. So
 * are products of fewer columns than two tiles (a dense layer's few rows turned over: 512 x 784 to 16 0.6).
 */
#include <stdalign.h>

#include "core/isa.h"
#include "nn/gemm_backends.h"

enum { FEWEST = 16, FEW_ROWS = 32, ROWS = 256, WIDE = 64, PAGE_FLOATS = 1024 };

DL_ISA_DECLARE(dl_gemm_kernels, dl_gemm_kernel_table);

/* A pass allocates nothing, and threads multiply at the same time. */
static _Thread_local alignas(64) float room[DL_GEMM_ROOM];

bool dl_gemm_tiles_suit(const dl_product *p) {
  const bool by_page = p->lda % PAGE_FLOATS == 0;
  if (p->trans_a) return by_page && !p->trans_b;
  return p->trans_b && p->n >= WIDE && p->m >= (by_page ? FEW_ROWS : ROWS);
}

bool dl_gemm_by_tiles(const dl_product *p) {
  const dl_gemm_kernels *kernels = DL_ISA_CHOOSE(dl_gemm_kernel_table);
  if (!kernels->product || p->m < FEWEST || p->n < FEWEST || p->k < FEWEST) return false;
  kernels->product(p, room);
  return true;
}

/* sparse.isa.c - passes over a block: plain loops, one compilation an instruction set. */
#include <string.h>

#include "core/bits.h"
#include "core/isa.h"
#include "core/sparse_kernels.h"

static int32_t join(float *restrict x, const float *restrict residual, float scale, size_t n, int32_t *restrict key) {
  int32_t most = 0;
  for (size_t i = 0; i < n; i++) {
    x[i] += scale * residual[i];
    const int32_t magnitude = (int32_t)(dl_bits_of(x[i]) & 0x7fffffff);
    key[i] = magnitude < INT32_MAX ? magnitude : INT32_MAX - 1; /* so that there is one above all */
    most = key[i] > most ? key[i] : most;
  }
  return most;
}

static size_t count(const int32_t *key, size_t n, int32_t least) {
  int32_t some = 0;
  for (size_t i = 0; i < n; i++) some += key[i] >= least;
  return (size_t)some;
}

static void part(float *restrict x, float *restrict residual, const int32_t *restrict key, size_t n, int32_t least,
                 float scale) {
  for (size_t i = 0; i < n; i++) {
    const float all = x[i], left = all * scale;
    x[i] = key[i] >= least ? all : 0;
    residual[i] = key[i] >= least ? 0 : left;
  }
}

extern const dl_sparse_kernels DL_ISA_NAME(dl_sparse_table);
const dl_sparse_kernels DL_ISA_NAME(dl_sparse_table) = {.join = join, .count = count, .part = part};

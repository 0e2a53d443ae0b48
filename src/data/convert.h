/* convert.h - elements as they are kept in memory, and their way into a batch (floor: data, private).
 *
 * Kernels of a kind of element: out = (in - shift) * scale, and means of elements; no fused multiply-add, so that every
 * instruction set gives the same bits.
 */
#ifndef DL_DATA_CONVERT_H
#define DL_DATA_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "core/isa.h"

typedef enum dl_element {
  DL_ELEMENT_U8,
  DL_ELEMENT_I8,
  DL_ELEMENT_U16,
  DL_ELEMENT_I16,
  DL_ELEMENT_F32,
  DL_ELEMENTS
} dl_element;

static inline size_t dl_element_bytes(int element) {
  return element == DL_ELEMENT_F32 ? 4 : element >= DL_ELEMENT_U16 ? 2 : 1;
}

typedef struct dl_convert_ops {
  /* One shift and scale for all n values. */
  void (*uniform)(float *restrict out, const void *restrict in, size_t n, float shift, float scale);
  /* A shift and a scale for each value. */
  void (*each)(float *restrict out, const void *restrict in, size_t n, const float *restrict shift,
               const float *restrict scale);
  /* Means of four, by value: out[i] = sum of weight[k * n + i] * in[at[k * n + i]] over k in its order. */
  void (*blend)(float *restrict out, const void *restrict in, size_t n, const int64_t *restrict at,
                const float *restrict weight);
} dl_convert_ops;

typedef struct dl_convert_table {
  dl_convert_ops of[DL_ELEMENTS];
} dl_convert_table;

DL_ISA_DECLARE(dl_convert_table, dl_convert_kernels);

#endif

/* convert.isa.c - see convert.h. Plain loops that the compiler vectorises, one set a type. */
#include "data/convert.h"

#define KERNELS(name, type)                                                                                      \
  static void name##_uniform(float *restrict out, const void *restrict in, size_t n, float shift, float scale) { \
    const type *restrict x = in;                                                                                 \
    for (size_t i = 0; i < n; i++) out[i] = ((float)x[i] - shift) * scale;                                       \
  }                                                                                                              \
  static void name##_each(float *restrict out, const void *restrict in, size_t n, const float *restrict shift,   \
                          const float *restrict scale) {                                                         \
    const type *restrict x = in;                                                                                 \
    for (size_t i = 0; i < n; i++) out[i] = ((float)x[i] - shift[i]) * scale[i];                                 \
  }                                                                                                              \
  static void name##_blend(float *restrict out, const void *restrict in, size_t n, const int64_t *restrict at,   \
                           const float *restrict weight) {                                                       \
    const type *restrict x = in;                                                                                 \
    for (size_t i = 0; i < n; i++)                                                                               \
      out[i] = ((weight[i] * (float)x[at[i]] + weight[n + i] * (float)x[at[n + i]]) +                            \
                weight[2 * n + i] * (float)x[at[2 * n + i]]) +                                                   \
               weight[3 * n + i] * (float)x[at[3 * n + i]];                                                      \
  }

KERNELS(u8, uint8_t)
KERNELS(i8, int8_t)
KERNELS(u16, uint16_t)
KERNELS(i16, int16_t)
KERNELS(f32, float)

const dl_convert_table DL_ISA_NAME(dl_convert_kernels) = {.of = {
                                                              [DL_ELEMENT_U8] = {u8_uniform, u8_each, u8_blend},
                                                              [DL_ELEMENT_I8] = {i8_uniform, i8_each, i8_blend},
                                                              [DL_ELEMENT_U16] = {u16_uniform, u16_each, u16_blend},
                                                              [DL_ELEMENT_I16] = {i16_uniform, i16_each, i16_blend},
                                                              [DL_ELEMENT_F32] = {f32_uniform, f32_each, f32_blend},
                                                          }};

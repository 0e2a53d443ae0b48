/* kernels_conv.c - the table in force, and what it is for. */
#include "nn/kernels_conv.h"

#include "core/isa.h"

DL_ISA_DECLARE(dl_conv_kernels, dl_conv_kernel_table);

const dl_conv_kernels *dl_conv_kernels_in_use(void) { return DL_ISA_CHOOSE(dl_conv_kernel_table); }

/* Photographs have three channels; from eight on oneDNN's own kernels are full. */
bool dl_conv_few_suits(const dl_conv_shape *s) {
  return dl_conv_kernels_in_use()->few_forward && s->groups == 1 && s->ic <= 4 && s->dw == 1 && s->oc % 16 == 0 &&
         s->oc <= 256 && s->kh * s->kw <= 128;
}

void dl_conv_few_pack(const dl_conv_shape *s, const float *w, float *packed) {
  const int64_t field = s->kh * s->kw;
  for (int64_t o = 0; o < s->oc; o++)
    for (int64_t c = 0; c < s->ic; c++)
      for (int64_t k = 0; k < field; k++) packed[(k * s->ic + c) * s->oc + o] = w[(o * s->ic + c) * field + k];
}

/* kernels_conv.h - convolutions of images of few channels, one table per instruction set (floor: nn). */
#ifndef DL_NN_KERNELS_CONV_H
#define DL_NN_KERNELS_CONV_H

#include "nn/conv.h"

typedef struct dl_conv_kernels {
  /* y (n, oh, ow, oc) = x (n, ih, iw, ic) * w + bias (oc, or NULL) for shapes that dl_conv_few_suits; w lies as
   * (kh, kw, ic, oc). Every element is one chain of fused multiply-adds over (kh, kw, ic), so all tables give the same
   * bits. NULL where the instruction set has no fused multiply-add. */
  void (*few_forward)(const dl_conv_shape *s, int64_t n, const float *x, const float *w, const float *bias, float *y);
} dl_conv_kernels;

/* The table in force. */
const dl_conv_kernels *dl_conv_kernels_in_use(void);

/* Whether few_forward is there and the better one, by shape alone (and instruction set). */
bool dl_conv_few_suits(const dl_conv_shape *s);
/* w (oc, ic, kh, kw) as few_forward reads it. */
void dl_conv_few_pack(const dl_conv_shape *s, const float *w, float *packed);

#endif

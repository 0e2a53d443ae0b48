/* conv.h - convolutions of images (n, H, W, C): oneDNN where it is built in, patches and matrix products always (floor:
 * nn).
 *
 * Both forms run on the calling thread and give the same bits on every call at the same shape. Weights and their
 * gradients are plain: (oc, ic / groups, kh, kw). What a form needs for n samples is made at the first pass with that n
 * (and kept for the few that a network sees); passes afterwards allocate nothing.
 */
#ifndef DL_NN_CONV_H
#define DL_NN_CONV_H

#include "nn/gemm.h"

typedef struct dl_conv_shape {
  int64_t ic, ih, iw, oc, oh, ow, groups;
  int64_t kh, kw, sh, sw, dh, dw;   /* kernel, stride, dilation (1: none) */
  int64_t top, left, bottom, right; /* zeros around the input */
  bool bias;                        /* forward adds one, backward_weights gives its gradient: else they are NULL */
} dl_conv_shape;

typedef struct dl_conv dl_conv;

/* One form. A pass that gets no memory makes its result NaN, which the step's verdict finds. */
typedef struct dl_conv_ops {
  const char *name;
  /* *out NULL with DL_OK: this form has nothing good for the shape. */
  dl_status (*new)(const dl_conv_shape *shape, const dl_gemm_backend *gemm, dl_conv **out);
  void (*destroy)(dl_conv *conv);
  /* y = x * w + bias. */
  void (*forward)(dl_conv *conv, int64_t n, const float *x, const float *w, const float *bias, float *y);
  void (*backward_data)(dl_conv *conv, int64_t n, const float *dy, const float *w, float *dx);
  void (*backward_weights)(dl_conv *conv, int64_t n, const float *x, const float *dy, float *dw, float *dbias);
} dl_conv_ops;

/* The start of every form's own struct. */
struct dl_conv {
  const dl_conv_ops *ops;
  dl_conv_shape shape;
  const dl_gemm_backend *gemm;
};

/* The form that goes with `gemm`. */
dl_status dl_conv_new(const dl_conv_shape *shape, const dl_gemm_backend *gemm, dl_conv **out);
void dl_conv_destroy(dl_conv **conv);

extern const dl_conv_ops dl_conv_patches;
#ifdef DLDIST_HAVE_ONEDNN
extern const dl_conv_ops dl_conv_onednn;
#endif

#endif

/* conv_patches.c - convolution as matrix products: the inputs of each output pixel are copied into a row of a matrix of
 * patches (rows, kh * kw * channels), which is multiplied with the weights (im2col; Chellapilla et al., 2006).
 *
 * The work goes in blocks of whole lines of output pixels, so that a block of patches stays in cache and its memory
 * does not grow with the batch. With channels last, a patch is made of runs of channels, and its product is the output
 * as it lies. A kernel of 1x1 without stride or padding needs no copy: the input is its patches.
 */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/vector.h"
#include "nn/conv.h"
#include "nn/kernels.h"
#include "nn/kernels_image.h"

enum { BLOCK_ROWS = 1024 };

typedef struct patches_conv {
  dl_conv base;
  int64_t ic, oc;        /* of a group */
  int64_t depth;         /* kh * kw * ic: length of a patch */
  int64_t block;         /* lines of output pixels in a block */
  bool direct;           /* patches are the input itself */
  float *weights, *rows; /* (groups * oc, kh * kw, ic) and (block * ow, depth) */
} patches_conv;

static void destroy(dl_conv *conv) {
  patches_conv *c = (patches_conv *)conv;
  free(c->weights);
  free(c->rows);
  free(c);
}

static bool is_direct(const dl_conv_shape *s) {
  return s->kh == 1 && s->kw == 1 && s->groups == 1 && s->sh == 1 && s->sw == 1 && s->ih == s->oh && s->iw == s->ow &&
         !s->top && !s->left;
}

static dl_status new (const dl_conv_shape *s, const dl_gemm_backend *gemm, dl_conv **out) {
  patches_conv *c = dl_calloc(1, sizeof *c);
  if (!c) return DL_ERR_NOMEM;
  c->base = (dl_conv){&dl_conv_patches, *s, gemm};
  c->ic = s->ic / s->groups;
  c->oc = s->oc / s->groups;
  c->depth = s->kh * s->kw * c->ic;
  c->block = s->ow < BLOCK_ROWS ? BLOCK_ROWS / s->ow : 1;
  c->direct = is_direct(s);
  size_t weights, rows;
  const bool fits = !__builtin_mul_overflow((size_t)s->oc, (size_t)c->depth, &weights) &&
                    !__builtin_mul_overflow((size_t)(c->block * s->ow), (size_t)c->depth, &rows);
  if (fits) {
    c->weights = dl_calloc_aligned(weights, sizeof(float));
    c->rows = dl_calloc_aligned(c->direct ? 1 : rows, sizeof(float));
  }
  if (!c->weights || !c->rows) {
    destroy(&c->base);
    return fits ? DL_ERR_NOMEM : dl_fail(DL_ERR_NOMEM, "a convolution's patches are too large");
  }
  *out = &c->base;
  return DL_OK;
}

/* Lines [first, first + lines) of output pixels of all samples, and group `group`: x to patches, or patches added to
 * dx. Exactly one of `x` and `dx` is given. */
static void walk(const patches_conv *c, int64_t group, int64_t first, int64_t lines, const float *x, float *dx) {
  const dl_conv_shape *s = &c->base.shape;
  float *row = c->rows;
  for (int64_t line = first; line < first + lines; line++) {
    const int64_t image = line / s->oh * s->ih, y0 = line % s->oh * s->sh - s->top;
    for (int64_t ox = 0, x0 = -s->left; ox < s->ow; ox++, x0 += s->sw)
      for (int64_t i = 0; i < s->kh; i++)
        for (int64_t j = 0; j < s->kw; j++, row += c->ic) {
          const int64_t iy = y0 + i * s->dh, ix = x0 + j * s->dw;
          const bool inside = iy >= 0 && iy < s->ih && ix >= 0 && ix < s->iw;
          const int64_t at = ((image + iy) * s->iw + ix) * s->ic + group * c->ic;
          if (dx && inside)
            dl_vector()->add(dx + at, row, (size_t)c->ic);
          else if (x && inside)
            memcpy(row, x + at, (size_t)c->ic * sizeof *row);
          else if (x)
            memset(row, 0, (size_t)c->ic * sizeof *row);
        }
  }
}

/* (oc, ic, kh * kw) to (oc, kh * kw, ic), and back. */
static void pack(const patches_conv *c, const float *w) {
  const dl_conv_shape *s = &c->base.shape;
  dl_image_kernels_in_use()->transpose(s->oc, c->ic, s->kh * s->kw, w, c->weights, false);
}

static void unpack(const patches_conv *c, float *w) {
  const dl_conv_shape *s = &c->base.shape;
  dl_image_kernels_in_use()->transpose(s->oc, s->kh * s->kw, c->ic, c->weights, w, false);
}

static int64_t lines_of(const patches_conv *c, int64_t n, int64_t first) {
  const int64_t left = n * c->base.shape.oh - first;
  return left < c->block ? left : c->block;
}

static void forward(dl_conv *conv, int64_t n, const float *x, const float *w, const float *bias, float *y) {
  const patches_conv *c = (const patches_conv *)conv;
  const dl_conv_shape *s = &conv->shape;
  pack(c, w);
  for (int64_t first = 0; first < n * s->oh; first += c->block) {
    const int64_t lines = lines_of(c, n, first), pixels = lines * s->ow;
    float *to = y + first * s->ow * s->oc;
    for (int64_t g = 0; g < s->groups; g++) {
      if (!c->direct) walk(c, g, first, lines, x, NULL);
      conv->gemm->sgemm(false, true, pixels, c->oc, c->depth, 1, c->direct ? x + first * s->ow * s->ic : c->rows,
                        c->depth, c->weights + g * c->oc * c->depth, c->depth, 0, to + g * c->oc, s->oc);
    }
    if (s->bias) dl_kernels_in_use()->bias_add(pixels, s->oc, bias, to);
  }
}

static void backward_data(dl_conv *conv, int64_t n, const float *dy, const float *w, float *dx) {
  const patches_conv *c = (const patches_conv *)conv;
  const dl_conv_shape *s = &conv->shape;
  pack(c, w);
  if (!c->direct) memset(dx, 0, (size_t)(n * s->ih * s->iw * s->ic) * sizeof *dx);
  for (int64_t first = 0; first < n * s->oh; first += c->block) {
    const int64_t lines = lines_of(c, n, first), pixels = lines * s->ow;
    for (int64_t g = 0; g < s->groups; g++) {
      conv->gemm->sgemm(false, false, pixels, c->depth, c->oc, 1, dy + first * s->ow * s->oc + g * c->oc, s->oc,
                        c->weights + g * c->oc * c->depth, c->depth, 0,
                        c->direct ? dx + first * s->ow * s->ic : c->rows, c->depth);
      if (!c->direct) walk(c, g, first, lines, NULL, dx);
    }
  }
}

static void backward_weights(dl_conv *conv, int64_t n, const float *x, const float *dy, float *dw, float *dbias) {
  const patches_conv *c = (const patches_conv *)conv;
  const dl_conv_shape *s = &conv->shape;
  for (int64_t first = 0; first < n * s->oh; first += c->block) {
    const int64_t lines = lines_of(c, n, first), pixels = lines * s->ow;
    for (int64_t g = 0; g < s->groups; g++) {
      if (!c->direct) walk(c, g, first, lines, x, NULL);
      conv->gemm->sgemm(true, false, c->oc, c->depth, pixels, 1, dy + first * s->ow * s->oc + g * c->oc, s->oc,
                        c->direct ? x + first * s->ow * s->ic : c->rows, c->depth, first ? 1 : 0,
                        c->weights + g * c->oc * c->depth, c->depth);
    }
  }
  unpack(c, dw);
  if (s->bias) dl_image_kernels_in_use()->channel_sums(n * s->oh * s->ow, s->oc, dy, dbias);
}

const dl_conv_ops dl_conv_patches = {
    .name = "patches",
    .new = new,
    .destroy = destroy,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};

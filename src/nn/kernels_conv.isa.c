/* kernels_conv.isa.c - convolutions of images of few channels, directly.
 *
 * Channels lie together, so the kernel's row over a pixel is one run of kw * ic numbers of the image, and that of the
 * next pixel starts sw * ic further. A tile of a few pixels by two vectors of output channels stays in registers over
 * all of the kernel. Nothing is copied but the weights. At the border, where a part of the kernel lies outside, a tile
 * is one pixel and its run shorter.
 */
#include "nn/kernels_conv.h"

#include "core/isa.h"

#include "nn/kernels_vec.h"

#if DL_HAS_VEC

#if defined(__AVX512F__)
enum { PIXELS = 10 };
#else
enum { PIXELS = 6 };
#endif

/* The part of the kernel that lies on the image, for the pixels of a tile. */
typedef struct field {
  const float *x, *w;   /* of its first element, for the first pixel */
  int64_t rows, run;    /* rows of the kernel, numbers of each */
  int64_t x_row, w_row; /* from one row to the next: of the image, of the weights */
  int64_t next, oc;     /* from one pixel to the next; from one number's weights to the next's */
} field;

/* `pixels` x `vecs` (1 or 2) vectors of y, whose pixels lie oc apart. */
static inline __attribute__((always_inline)) void tile(int pixels, int vecs, const field *f, const float *bias,
                                                       float *y) {
  vec sum[PIXELS][2];
#pragma GCC unroll 16
  for (int p = 0; p < pixels; p++)
    for (int v = 0; v < vecs; v++) sum[p][v] = bias ? load(bias + v * LANES) : zeros();
  for (int64_t i = 0; i < f->rows; i++) {
    const float *x = f->x + i * f->x_row, *w = f->w + i * f->w_row;
    for (int64_t k = 0; k < f->run; k++, x++, w += f->oc) {
      const vec w0 = load(w), w1 = vecs > 1 ? load(w + LANES) : w0;
#pragma GCC unroll 16
      for (int p = 0; p < pixels; p++) {
        const vec value = spread(x[p * f->next]);
        sum[p][0] = fused(value, w0, sum[p][0]);
        if (vecs > 1) sum[p][1] = fused(value, w1, sum[p][1]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < pixels; p++)
    for (int v = 0; v < vecs; v++) store(y + p * f->oc + v * LANES, sum[p][v]);
}

static void tile_two(const field *f, const float *bias, float *y) { tile(PIXELS, 2, f, bias, y); }
static void tile_one(const field *f, const float *bias, float *y) { tile(PIXELS, 1, f, bias, y); }
static void pixel_two(const field *f, const float *bias, float *y) { tile(1, 2, f, bias, y); }
static void pixel_one(const field *f, const float *bias, float *y) { tile(1, 1, f, bias, y); }

/* All channels of `pixels` (PIXELS or 1) pixels. */
static void all_channels(bool whole, field f, const float *bias, float *y) {
  int64_t c = 0;
  for (; c + 2 * LANES <= f.oc; c += 2 * LANES, f.w += 2 * LANES)
    (whole ? tile_two : pixel_two)(&f, bias ? bias + c : NULL, y + c);
  if (c < f.oc) (whole ? tile_one : pixel_one)(&f, bias ? bias + c : NULL, y + c);
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* One row of pixels of one image. */
static void row(const dl_conv_shape *s, const float *image, const float *w, const float *bias, int64_t oy, float *y) {
  const int64_t y0 = oy * s->sh - s->top;
  const int64_t first = y0 < 0 ? (-y0 + s->dh - 1) / s->dh : 0;
  const int64_t end = most(first, least(s->kh, y0 < s->ih ? (s->ih - y0 + s->dh - 1) / s->dh : 0));
  for (int64_t ox = 0; ox < s->ow;) {
    const int64_t x0 = ox * s->sw - s->left, j0 = most(0, -x0), j1 = most(j0, least(s->kw, s->iw - x0));
    const bool inside = j0 == 0 && ox + PIXELS <= s->ow && x0 + (PIXELS - 1) * s->sw + s->kw <= s->iw;
    const field f = {.x = image + ((y0 + first * s->dh) * s->iw + x0 + j0) * s->ic,
                     .w = w + (first * s->kw + j0) * s->ic * s->oc,
                     .rows = end - first,
                     .run = (j1 - j0) * s->ic,
                     .x_row = s->dh * s->iw * s->ic,
                     .w_row = s->kw * s->ic * s->oc,
                     .next = s->sw * s->ic,
                     .oc = s->oc};
    all_channels(inside, f, bias, y + ox * s->oc);
    ox += inside ? PIXELS : 1;
  }
}

static void few_forward(const dl_conv_shape *s, int64_t n, const float *x, const float *w, const float *bias,
                        float *y) {
  for (int64_t i = 0; i < n; i++, x += s->ih * s->iw * s->ic)
    for (int64_t oy = 0; oy < s->oh; oy++, y += s->ow * s->oc) row(s, x, w, bias, oy, y);
}
#define FEW_FORWARD few_forward
#else
#define FEW_FORWARD NULL
#endif

extern const dl_conv_kernels DL_ISA_NAME(dl_conv_kernel_table);
const dl_conv_kernels DL_ISA_NAME(dl_conv_kernel_table) = {.few_forward = FEW_FORWARD};

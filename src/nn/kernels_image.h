/* kernels_image.h - arithmetic on images, one table per instruction set (floor: nn).
 *
 * Images are (n, H, W, C): a row is a pixel of `cols` channels. All tables give the same bits (see kernels.h). No two
 * pointers may be the same memory unless said otherwise.
 */
#ifndef DL_NN_KERNELS_IMAGE_H
#define DL_NN_KERNELS_IMAGE_H

#include "core/status.h"

/* A window that walks over an image: pooling. Padding stands before the first row and column; what lies outside counts
 * as absent. */
typedef struct dl_window {
  int64_t channels, ih, iw, oh, ow;
  int64_t kh, kw, sh, sw, ph, pw;
  bool count_padding; /* avgpool: divide by kh * kw even at the border */
  bool relu;          /* maxpool: of max(x, 0) */
} dl_window;

typedef struct dl_image_kernels {
  /* y (n, cols, rows) = the transpose of each of the n matrices x (n, rows, cols), or is added to it. */
  void (*transpose)(int64_t n, int64_t rows, int64_t cols, const float *x, float *y, bool add);

  /* The largest of each window, and its place in the window (the first of equals, and NaN where there is one; -1 where
   * relu makes it 0). */
  void (*maxpool)(const dl_window *w, int64_t n, const float *x, float *y, int32_t *place);
  void (*maxpool_backward)(const dl_window *w, int64_t n, const int32_t *place, const float *dy, float *dx);
  void (*avgpool)(const dl_window *w, int64_t n, const float *x, float *y);
  void (*avgpool_backward)(const dl_window *w, int64_t n, const float *dy, float *dx);

  /* Sums of each column, in float64 until the end. */
  void (*channel_sums)(int64_t rows, int64_t cols, const float *x, float *out);
  /* Adds each column's sum and that of its squares, in float64, row by row. */
  void (*moments)(int64_t rows, int64_t cols, const float *x, double *sum, double *squares);
  /* y = (x - mean) * scale + shift, by column; y may be x. */
  void (*normalise)(int64_t rows, int64_t cols, const float *x, const float *mean, const float *scale,
                    const float *shift, float *y);
  /* Adds each column's sum of dy, and of dy * (x - mean), likewise. */
  void (*normalise_sums)(int64_t rows, int64_t cols, const float *x, const float *mean, const float *dy, double *sum,
                         double *product);
  /* dx = scale * dy - offset - (x - mean) * slope, by column; dx may be dy. */
  void (*normalise_backward)(int64_t rows, int64_t cols, const float *x, const float *mean, const float *scale,
                             const float *offset, const float *slope, const float *dy, float *dx);
} dl_image_kernels;

/* The table in force. */
const dl_image_kernels *dl_image_kernels_in_use(void);

#endif

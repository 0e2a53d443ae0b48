/* kernels.h - element-wise arithmetic of layers and losses, one table per instruction set (floor: nn).
 *
 * All tables give the same bits: sums run over a fixed number of lanes in float64, nothing is contracted to fused
 * multiply-adds. Where a function takes x and y (or dy and dx), both may be the same memory; otherwise they do not
 * overlap.
 */
#ifndef DL_NN_KERNELS_H
#define DL_NN_KERNELS_H

#include "core/rng.h"
#include "core/status.h"

typedef struct dl_kernels {
  /* e^x to 1 ulp (gradual underflow, overflow to inf); 1 / (1 + e^-x) and tanh to 3 ulp. */
  void (*exp)(size_t n, const float *x, float *y);
  void (*sigmoid)(size_t n, const float *x, float *y);
  void (*tanh)(size_t n, const float *x, float *y);
  void (*relu)(size_t n, const float *x, float *y);
  /* dx = dy * f'(x), from the outputs y. */
  void (*sigmoid_backward)(size_t n, const float *y, const float *dy, float *dx);
  void (*tanh_backward)(size_t n, const float *y, const float *dy, float *dx);
  void (*relu_backward)(size_t n, const float *y, const float *dy, float *dx);
  /* Each of `rows` rows of `cols`. */
  void (*softmax)(int64_t rows, int64_t cols, const float *x, float *y);
  void (*softmax_backward)(int64_t rows, int64_t cols, const float *y, const float *dy, float *dx);

  void (*bias_add)(int64_t rows, int64_t cols, const float *bias, float *y); /* y (rows, cols) += bias (cols) */
  /* y (rows, cols) = x^T + bias, x (cols, rows); bias (cols) or NULL. */
  void (*transpose_bias)(int64_t rows, int64_t cols, const float *x, const float *bias, float *y);
  void (*column_sums)(int64_t rows, int64_t cols, const float *x, float *out); /* each column from row 0 on, in order */
  void (*multiply)(size_t n, const float *a, const float *x, float *y);        /* y = a * x; y may be x */

  /* Elements 0 .. n-1 of `sample` at `time`: the words of dl_rng_block. */
  void (*random_words)(size_t n, dl_rng_key key, uint32_t time, uint64_t sample, uint32_t *words);
  /* The same words as factors: `scale` where the word's upper 24 bits are not below `threshold`, else 0. */
  void (*random_mask)(size_t n, dl_rng_key key, uint32_t time, uint64_t sample, uint32_t threshold, float scale,
                      float *mask);

  /* Loss of one sample from its row of outputs, not weighted; writes weight * d loss / d outputs where `gradient` is
   * not NULL. */
  double (*cross_entropy_row)(int64_t n, const float *logits, int64_t label, float smoothing, float weight,
                              float *gradient);
  /* The same with a weight for each class. */
  double (*weighted_cross_entropy_row)(int64_t n, const float *logits, int64_t label, const float *class_weights,
                                       float smoothing, float weight, float *gradient);
  double (*bce_row)(int64_t n, const float *logits, const float *y, float weight, float *gradient);
  double (*mse_row)(int64_t n, const float *output, const float *y, float weight, float *gradient);
  double (*mae_row)(int64_t n, const float *output, const float *y, float weight, float *gradient);
  double (*huber_row)(int64_t n, const float *output, const float *y, float delta, float weight, float *gradient);
} dl_kernels;

/* The table in force. */
const dl_kernels *dl_kernels_in_use(void);

#endif

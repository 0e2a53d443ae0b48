/* kernels.isa.c - element-wise arithmetic: plain loops, one compilation an instruction set, on the functions of
 * kernels_math.h.
 */
#include <math.h>
#include <string.h>

#include "core/isa.h"
#include "nn/kernels.h"
#include "nn/kernels_math.h"

static void exp_all(size_t n, const float *x, float *y) {
  INDEPENDENT for (size_t i = 0; i < n; i++) y[i] = exp1(x[i]);
}

static void sigmoid_all(size_t n, const float *x, float *y) {
  INDEPENDENT for (size_t i = 0; i < n; i++) y[i] = sigmoid1(x[i]);
}

static void tanh_all(size_t n, const float *x, float *y) {
  INDEPENDENT for (size_t i = 0; i < n; i++) y[i] = tanh1(x[i]);
}

/* A NaN goes through, forward and backward. */
static void relu(size_t n, const float *x, float *y) {
  INDEPENDENT for (size_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0.0f : x[i];
}

static void relu_backward(size_t n, const float *y, const float *dy, float *dx) {
  INDEPENDENT for (size_t i = 0; i < n; i++) dx[i] = y[i] <= 0 ? 0.0f : dy[i];
}

static void sigmoid_backward(size_t n, const float *y, const float *dy, float *dx) {
  INDEPENDENT for (size_t i = 0; i < n; i++) dx[i] = dy[i] * (1.0f - y[i]) * y[i];
}

static void tanh_backward(size_t n, const float *y, const float *dy, float *dx) {
  INDEPENDENT for (size_t i = 0; i < n; i++) dx[i] = dy[i] * (1.0f - y[i] * y[i]);
}

/* ---- rows ---- */

/* The same sum without a place for y. */
static inline double exp_shifted_sum(int64_t n, const float *x, float shift) {
  enum { PIECE = 32 * LANES };
  double lane[LANES] = {0};
  float piece[PIECE];
  for (int64_t i = 0; i < n; i += PIECE) {
    int64_t m = n - i < PIECE ? n - i : PIECE;
    for (int64_t j = 0; j < m; j++) piece[j] = exp1(x[i + j] - shift);
    add_to_lanes(lane, m, piece);
  }
  return add_lanes(lane);
}

static void softmax(int64_t rows, int64_t cols, const float *x, float *y) {
  for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
    float factor = (float)(1.0 / exp_shifted(cols, x, largest(cols, x), y));
    for (int64_t i = 0; i < cols; i++) y[i] *= factor;
  }
}

/* dx = y * (dy - sum(dy * y)) */
static void softmax_backward(int64_t rows, int64_t cols, const float *y, const float *dy, float *dx) {
  for (int64_t r = 0; r < rows; r++, y += cols, dy += cols, dx += cols) {
    double lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= cols; i += LANES)
      for (int j = 0; j < LANES; j++) lane[j] += (double)dy[i + j] * (double)y[i + j];
    for (int j = 0; i < cols; i++, j++) lane[j] += (double)dy[i] * (double)y[i];
    float dot = (float)add_lanes(lane);
    INDEPENDENT for (i = 0; i < cols; i++) dx[i] = y[i] * (dy[i] - dot);
  }
}

static void bias_add(int64_t rows, int64_t cols, const float *restrict bias, float *restrict y) {
  for (int64_t r = 0; r < rows; r++, y += cols)
    for (int64_t c = 0; c < cols; c++) y[c] += bias[c];
}

/* Sixteen columns at a time: their part of x is one run of memory, and y is written a cache line at a time. */
static void transpose_bias(int64_t rows, int64_t cols, const float *restrict x, const float *restrict bias,
                           float *restrict y) {
  for (int64_t c = 0; c < cols; c += 16) {
    const int64_t width = cols - c < 16 ? cols - c : 16;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t j = 0; j < width; j++) y[r * cols + c + j] = x[(c + j) * rows + r] + (bias ? bias[c + j] : 0);
  }
}

/* Memory is read in its order: eight rows at a time, while the sums stay in the first cache. */
static void column_sums(int64_t rows, int64_t cols, const float *restrict x, float *restrict out) {
  memset(out, 0, (size_t)cols * sizeof *out);
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8, x += 8 * cols)
    for (int64_t c = 0; c < cols; c++) {
      float sum = out[c];
      for (int64_t j = 0; j < 8; j++) sum += x[j * cols + c];
      out[c] = sum;
    }
  for (; r < rows; r++, x += cols)
    for (int64_t c = 0; c < cols; c++) out[c] += x[c];
}

static void multiply(size_t n, const float *a, const float *x, float *y) {
  INDEPENDENT for (size_t i = 0; i < n; i++) y[i] = a[i] * x[i];
}

/* ---- random numbers: sixteen blocks of Philox4x32-10 side by side ---- */

#define BLOCKS 16

static inline void philox_blocks(dl_rng_key key, uint32_t time, uint64_t sample, uint32_t first,
                                 uint32_t words[restrict 4 * BLOCKS]) {
  for (uint32_t j = 0; j < BLOCKS; j++) {
    uint32_t c0 = first + j, c1 = (uint32_t)sample, c2 = (uint32_t)(sample >> 32), c3 = time;
#pragma GCC unroll 10
    for (uint32_t round = 0; round < 10; round++) {
      uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
      c0 = (uint32_t)(p1 >> 32) ^ c1 ^ (key.k[0] + round * 0x9E3779B9u);
      c1 = (uint32_t)p1;
      c2 = (uint32_t)(p0 >> 32) ^ c3 ^ (key.k[1] + round * 0xBB67AE85u);
      c3 = (uint32_t)p0;
    }
    words[4 * j] = c0;
    words[4 * j + 1] = c1;
    words[4 * j + 2] = c2;
    words[4 * j + 3] = c3;
  }
}

static void random_words(size_t n, dl_rng_key key, uint32_t time, uint64_t sample, uint32_t *restrict out) {
  uint32_t words[4 * BLOCKS];
  for (size_t i = 0; i < n; i += 4 * BLOCKS) {
    philox_blocks(key, time, sample, (uint32_t)(i / 4), words);
    memcpy(out + i, words, (n - i < 4 * BLOCKS ? n - i : 4 * BLOCKS) * sizeof *out);
  }
}

static void random_mask(size_t n, dl_rng_key key, uint32_t time, uint64_t sample, uint32_t threshold, float scale,
                        float *restrict mask) {
  uint32_t words[4 * BLOCKS];
  float factors[4 * BLOCKS];
  for (size_t i = 0; i < n; i += 4 * BLOCKS) {
    philox_blocks(key, time, sample, (uint32_t)(i / 4), words);
    for (int j = 0; j < 4 * BLOCKS; j++) factors[j] = (words[j] >> 8) < threshold ? 0.0f : scale;
    memcpy(mask + i, factors, (n - i < 4 * BLOCKS ? n - i : 4 * BLOCKS) * sizeof *mask);
  }
}

/* ---- losses of one sample ---- */

/* With log p_j = x_j - max - log(sum): loss = -(1 - s) log p_label - s / n sum_j log p_j. */
static double cross_entropy_row(int64_t n, const float *restrict x, int64_t label, float smoothing, float weight,
                                float *restrict gradient) {
  float shift = largest(n, x), spread = smoothing / (float)n;
  double sum = gradient ? exp_shifted(n, x, shift, gradient) : exp_shifted_sum(n, x, shift), linear = 0;
  if (gradient) {
    float factor = (float)(1.0 / sum);
    for (int64_t i = 0; i < n; i++) gradient[i] = weight * (gradient[i] * factor - spread);
    gradient[label] -= weight * (1.0f - smoothing);
  }
  double log_sum = log(sum) + (double)shift;
  if (smoothing > 0) linear = (log_sum - sum_of(n, x) / (double)n) * (double)smoothing;
  return (log_sum - (double)x[label]) * (1.0 - (double)smoothing) + linear;
}

/* loss = -(1 - s) w_label log p_label - s / n sum_j w_j log p_j. */
static double weighted_cross_entropy_row(int64_t n, const float *restrict x, int64_t label,
                                         const float *restrict class_weights, float smoothing, float weight,
                                         float *restrict gradient) {
  const float shift = largest(n, x), share = smoothing / (float)n, hit = class_weights[label] * (1.0f - smoothing);
  const double sum = gradient ? exp_shifted(n, x, shift, gradient) : exp_shifted_sum(n, x, shift);
  const double log_sum = log(sum) + (double)shift;
  double weights = 0, products = 0;
  if (smoothing > 0) {
    double lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
      for (int j = 0; j < LANES; j++) lane[j] += (double)class_weights[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++) lane[j] += (double)class_weights[i] * (double)x[i];
    products = add_lanes(lane);
    weights = sum_of(n, class_weights);
  }
  if (gradient) {
    const float factor = (float)(((double)hit + (double)share * weights) / sum);
    for (int64_t i = 0; i < n; i++) gradient[i] = weight * (gradient[i] * factor - share * class_weights[i]);
    gradient[label] -= weight * hit;
  }
  return (double)hit * (log_sum - (double)x[label]) + (double)share * (log_sum * weights - products);
}

/* loss = max(x, 0) - x y + log(1 + e^-|x|); the logarithms of up to PRODUCT factors in [1, 2] are taken as one. */
#define PRODUCT 1008
static double bce_row(int64_t n, const float *restrict x, const float *restrict y, float weight,
                      float *restrict gradient) {
  double loss = 0;
  for (int64_t begin = 0; begin < n; begin += PRODUCT) {
    double sum[LANES] = {0}, product[LANES] = {1, 1, 1, 1, 1, 1, 1, 1};
    int64_t end = n - begin < PRODUCT ? n : begin + PRODUCT, i = begin;
    for (; i + LANES <= end; i += LANES)
      for (int j = 0; j < LANES; j++) {
        float v = x[i + j];
        sum[j] += (double)(v < 0 ? 0.0f : v) - (double)v * (double)y[i + j];
        product[j] *= 1.0 + (double)exp1(-fabsf(v));
      }
    for (int j = 0; i < end; i++, j++) {
      sum[j] += (double)(x[i] < 0 ? 0.0f : x[i]) - (double)x[i] * (double)y[i];
      product[j] *= 1.0 + (double)exp1(-fabsf(x[i]));
    }
    double all = ((product[0] * product[4]) * (product[2] * product[6])) *
                 ((product[1] * product[5]) * (product[3] * product[7]));
    loss += add_lanes(sum) + log(all);
  }
  if (gradient)
    for (int64_t i = 0; i < n; i++) gradient[i] = weight * (sigmoid1(x[i]) - y[i]);
  return loss;
}

static inline double squared1(double d) { return d * d; }
static inline double absolute1(double d) { return fabs(d); }

/* Sum of f(output - y) over a row. */
#define ROW_SUM(f)                                                                     \
  double lane[LANES] = {0};                                                            \
  int64_t i = 0;                                                                       \
  for (; i + LANES <= n; i += LANES)                                                   \
    for (int j = 0; j < LANES; j++) lane[j] += f((double)x[i + j] - (double)y[i + j]); \
  for (int j = 0; i < n; i++, j++) lane[j] += f((double)x[i] - (double)y[i])

static double mse_row(int64_t n, const float *restrict x, const float *restrict y, float weight,
                      float *restrict gradient) {
  ROW_SUM(squared1);
  if (gradient)
    for (i = 0; i < n; i++) gradient[i] = weight * (2.0f * (x[i] - y[i]));
  return add_lanes(lane);
}

static double mae_row(int64_t n, const float *restrict x, const float *restrict y, float weight,
                      float *restrict gradient) {
  ROW_SUM(absolute1);
  if (gradient)
    for (i = 0; i < n; i++) {
      float d = x[i] - y[i];
      gradient[i] = weight * (d > 0 ? 1.0f : d < 0 ? -1.0f : d); /* 0 at 0; NaN stays */
    }
  return add_lanes(lane);
}

static double huber_row(int64_t n, const float *restrict x, const float *restrict y, float delta, float weight,
                        float *restrict gradient) {
  const double h = (double)delta;
#define HUBER(d) (fabs(d) < h ? 0.5 * (d) * (d) : h * (fabs(d) - 0.5 * h))
  ROW_SUM(HUBER);
#undef HUBER
  if (gradient)
    for (i = 0; i < n; i++) {
      float d = x[i] - y[i];
      gradient[i] = weight * (d > delta ? delta : d < -delta ? -delta : d);
    }
  return add_lanes(lane);
}

extern const dl_kernels DL_ISA_NAME(dl_kernel_table);
const dl_kernels DL_ISA_NAME(dl_kernel_table) = {
    .exp = exp_all,
    .sigmoid = sigmoid_all,
    .tanh = tanh_all,
    .relu = relu,
    .sigmoid_backward = sigmoid_backward,
    .tanh_backward = tanh_backward,
    .relu_backward = relu_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .bias_add = bias_add,
    .transpose_bias = transpose_bias,
    .column_sums = column_sums,
    .multiply = multiply,
    .random_words = random_words,
    .random_mask = random_mask,
    .cross_entropy_row = cross_entropy_row,
    .weighted_cross_entropy_row = weighted_cross_entropy_row,
    .bce_row = bce_row,
    .mse_row = mse_row,
    .mae_row = mae_row,
    .huber_row = huber_row,
};

/* kernels_seq.h - arithmetic of activations that need their input, of normalisation, attention and recurrent cells, one
 * table per instruction set (floor: nn).
 *
 * As in kernels.h all tables give the same bits. Errors against float64: elu and softplus (beta 1) 3 ulp, silu 4 ulp,
 * gelu 2^-22 and its tanh form 2^-21 times max(|x|, 1/4); slopes 2^-20.
 */
#ifndef DL_NN_KERNELS_SEQ_H
#define DL_NN_KERNELS_SEQ_H

#include <stddef.h>
#include <stdint.h>

/* y = f(x); dx = dy * f'(x). `p` is the function's one parameter, where it has one. y may be x, dx may be dy. */
typedef void dl_activation_fn(size_t n, float p, const float *x, float *y);
typedef void dl_activation_slope_fn(size_t n, float p, const float *x, const float *dy, float *dx);

/* Shapes of a recurrent step: (n, h) unless said otherwise; memory does not overlap. */
typedef struct dl_seq_kernels {
  dl_activation_fn *leaky_relu, *elu, *gelu, *gelu_tanh, *silu, *softplus;
  dl_activation_slope_fn *leaky_relu_backward, *elu_backward, *gelu_backward, *gelu_tanh_backward, *silu_backward,
      *softplus_backward;

  /* y = (x - mean) / sqrt(variance + eps) * weight + bias, a row at a time; stats (rows, 2) keeps mean and 1 / sqrt for
   * the backward pass. weight and bias (cols) or NULL, both or neither. */
  void (*layernorm)(int64_t rows, int64_t cols, float eps, const float *weight, const float *bias, const float *x,
                    float *y, float *stats);
  /* dx, dweight and dbias may be NULL; the latter two are written, rows added in order. */
  void (*layernorm_backward)(int64_t rows, int64_t cols, const float *weight, const float *x, const float *stats,
                             const float *dy, float *dx, float *dweight, float *dbias);

  /* Softmax in place over the first min(cols, limit + r) scores of row r (0 ..), the rest of the row's cols become 0.
   * keys (cols) or NULL: 0 for a key to look at, -inf for one to leave out; a row without any becomes 0. */
  void (*attend)(int64_t rows, int64_t cols, int64_t ld, int64_t limit, const float *keys, float *scores);
  /* ds = p * (dp - sum(dp * p)), in place of dp, over the first min(cols, limit + r) of row r; the rest of the row's
   * cols becomes 0, whatever it was. */
  void (*attend_backward)(int64_t rows, int64_t cols, int64_t ld, int64_t limit, const float *p, float *dp);

  /* LSTM: gates (n, 4h) hold i, f, g, o before their functions, and after them when done. */
  void (*lstm)(int64_t n, int64_t h, float *gates, const float *c_before, float *c, float *tanh_c, float *out);
  /* gates: in their values, out the gradients before the functions. dc: in of c, out of c_before. */
  void (*lstm_backward)(int64_t n, int64_t h, float *gates, const float *c_before, const float *tanh_c, const float *dy,
                        const float *dh, float *dc);
  /* GRU: x_part (n, 3h) = r, z, n from the input, h_part (n, 3h) from the state. After: x_part r, z, n. */
  void (*gru)(int64_t n, int64_t h, float *x_part, const float *h_part, const float *before, float *out);
  /* x_part and h_part: out their gradients; dh: in of out, out the part of `before` that does not pass through h_part.
   */
  void (*gru_backward)(int64_t n, int64_t h, float *x_part, float *h_part, const float *before, const float *dy,
                       float *dh);
  /* Plain cell, after its function: gates = (dy + dh) * f'. */
  void (*rnn_backward)(size_t n, int rectified, const float *out, const float *dy, const float *dh, float *gates);
} dl_seq_kernels;

/* The table in force. */
const dl_seq_kernels *dl_seq_kernels_in_use(void);

#endif

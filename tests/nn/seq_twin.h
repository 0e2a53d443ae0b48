/* seq_twin.h - sequence layers in float64, plain loops from the formulas, to hold the real ones against.
 *
 * A value is (steps, width) of one sample. Weights lie in PyTorch's order and shapes; a layer takes its own from the
 * front of what it is given. Formulas: torch.nn's RNN, LSTM, GRU, MultiheadAttention, LayerNorm, Embedding, Linear.
 */
#ifndef DL_NN_SEQ_TWIN_H
#define DL_NN_SEQ_TWIN_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { SEQ_LAYERS = 8, SEQ_VALUES = 256 };

typedef struct seq_layer {
  char kind; /* d dense, e embedding, p positional, n layernorm, N over both dimensions, r rnn, R rnn with relu, l lstm,
                g gru, a attention */
  int units; /* of dense, embedding, recurrent layers; heads of attention */
  int layers;  /* recurrent: 0 is 1; embedding: its vocabulary */
  bool both;   /* recurrent: bidirectional */
  bool last;   /* recurrent: what each direction ends with, instead of all steps */
  bool causal; /* attention */
  bool bare;   /* without biases; layernorm: without scale and shift */
  int padding; /* attention: the token nobody looks at, plus 1; 0: none */
} seq_layer;

typedef struct seq_twin {
  seq_layer layers[SEQ_LAYERS]; /* up to the first of kind 0 */
  int steps, in;                /* of x; in 0: tokens */
} seq_twin;

typedef struct seq_value {
  double v[SEQ_VALUES];
  int steps, width;
} seq_value;

static inline double seq_sigmoid(double x) { return 1 / (1 + exp(-x)); }

static inline const double *seq_take(const double **w, int count) {
  const double *here = *w;
  *w += count;
  return here;
}

static inline double seq_dot(const double *a, const double *b, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static inline void seq_dense(const seq_value *x, int units, bool bare, const double **w, seq_value *y) {
  const double *weight = seq_take(w, units * x->width), *bias = bare ? NULL : seq_take(w, units);
  *y = (seq_value){.steps = x->steps, .width = units};
  for (int t = 0; t < x->steps; t++)
    for (int o = 0; o < units; o++)
      y->v[t * units + o] = seq_dot(weight + o * x->width, x->v + t * x->width, x->width) + (bias ? bias[o] : 0);
}

static inline void seq_layernorm(const seq_value *x, int row, bool bare, const double **w, seq_value *y) {
  const double *scale = bare ? NULL : seq_take(w, row), *shift = bare ? NULL : seq_take(w, row);
  *y = *x;
  for (int r = 0; r < x->steps * x->width; r += row) {
    double mean = 0, variance = 0;
    for (int i = 0; i < row; i++) mean += x->v[r + i] / row;
    for (int i = 0; i < row; i++) variance += (x->v[r + i] - mean) * (x->v[r + i] - mean) / row;
    for (int i = 0; i < row; i++) {
      const double z = (x->v[r + i] - mean) / sqrt(variance + 1e-5);
      y->v[r + i] = bare ? z : z * scale[i] + shift[i];
    }
  }
}

/* Gates of a step before their functions: input part and state part, (gates * h) each. */
typedef struct seq_gates {
  double input[SEQ_VALUES], state[SEQ_VALUES];
} seq_gates;

/* One step: h_next and c from h, c. */
static inline void seq_step(char kind, int n, const seq_gates *a, double *h, double *c) {
  for (int i = 0; i < n; i++) {
    double g[4];
    for (int k = 0; k < 4; k++) g[k] = a->input[k * n + i] + a->state[k * n + i];
    if (kind == 'r') h[i] = tanh(g[0]);
    if (kind == 'R') h[i] = g[0] > 0 ? g[0] : 0;
    if (kind == 'l') { /* input, forget, cell, output */
      c[i] = seq_sigmoid(g[1]) * c[i] + seq_sigmoid(g[0]) * tanh(g[2]);
      h[i] = seq_sigmoid(g[3]) * tanh(c[i]);
    }
    if (kind == 'g') { /* reset, update, new */
      const double fresh = tanh(a->input[2 * n + i] + seq_sigmoid(g[0]) * a->state[2 * n + i]);
      h[i] = (1 - seq_sigmoid(g[1])) * fresh + seq_sigmoid(g[1]) * h[i];
    }
  }
}

/* One layer in one direction, into the columns of y from `column` on. */
static inline void seq_direction(const seq_layer *layer, const seq_value *x, bool backwards, const double **w,
                                 seq_value *y, int column) {
  const int n = layer->units, gates = layer->kind == 'l' ? 4 : layer->kind == 'g' ? 3 : 1;
  const double *w_ih = seq_take(w, gates * n * x->width), *w_hh = seq_take(w, gates * n * n);
  const double *b_ih = layer->bare ? NULL : seq_take(w, gates * n), *b_hh = layer->bare ? NULL : seq_take(w, gates * n);
  double h[SEQ_VALUES] = {0}, c[SEQ_VALUES] = {0};
  for (int s = 0; s < x->steps; s++) {
    const int t = backwards ? x->steps - 1 - s : s;
    seq_gates a = {{0}, {0}};
    for (int k = 0; k < gates * n; k++) {
      a.input[k] = seq_dot(w_ih + k * x->width, x->v + t * x->width, x->width) + (b_ih ? b_ih[k] : 0);
      a.state[k] = seq_dot(w_hh + k * n, h, n) + (b_hh ? b_hh[k] : 0);
    }
    seq_step(layer->kind, n, &a, h, c);
    for (int i = 0; i < n; i++) y->v[t * y->width + column + i] = h[i];
  }
}

static inline void seq_recurrent(const seq_layer *layer, const seq_value *x, const double **w, seq_value *y) {
  seq_value below = *x;
  const int directions = layer->both ? 2 : 1, n = layer->units;
  for (int l = 0; l < (layer->layers ? layer->layers : 1); l++) {
    *y = (seq_value){.steps = x->steps, .width = n * directions};
    for (int d = 0; d < directions; d++) seq_direction(layer, &below, d == 1, w, y, d * n);
    below = *y;
  }
  if (!layer->last) return;
  *y = (seq_value){.steps = 1, .width = n * directions};
  for (int i = 0; i < n; i++) {
    y->v[i] = below.v[(x->steps - 1) * below.width + i];
    if (layer->both) y->v[n + i] = below.v[n + i];
  }
}

/* One head's row: softmax of q k / sqrt(size) over the steps it sees, times v. */
static inline void seq_attend(const seq_layer *layer, const seq_value *qkv, const float *tokens, int t, int head,
                              double *out) {
  const int d = qkv->width / 3, size = d / layer->units;
  double p[SEQ_VALUES] = {0}, sum = 0;
  for (int s = 0; s < qkv->steps; s++) {
    if ((layer->causal && s > t) || (layer->padding && (int)tokens[s] == layer->padding - 1)) continue;
    const double *q = qkv->v + t * 3 * d + head * size, *k = qkv->v + s * 3 * d + d + head * size;
    sum += p[s] = exp(seq_dot(q, k, size) / sqrt(size));
  }
  for (int i = 0; i < size; i++) {
    out[head * size + i] = 0;
    for (int s = 0; s < qkv->steps && sum > 0; s++)
      out[head * size + i] += p[s] / sum * qkv->v[s * 3 * d + 2 * d + head * size + i];
  }
}

static inline void seq_attention(const seq_layer *layer, const seq_value *x, const float *tokens, const double **w,
                                 seq_value *y) {
  const int d = x->width;
  seq_value qkv, heads = *x;
  seq_dense(x, 3 * d, layer->bare, w, &qkv);
  for (int t = 0; t < x->steps; t++)
    for (int head = 0; head < layer->units; head++) seq_attend(layer, &qkv, tokens, t, head, heads.v + t * d);
  seq_dense(&heads, d, layer->bare, w, y);
}

/* What the network makes of one sample. */
static inline void seq_forward(const seq_twin *net, const double *w, const float *x, seq_value *y) {
  *y = (seq_value){.steps = net->steps, .width = net->in ? net->in : 1};
  for (int i = 0; i < net->steps * y->width; i++) y->v[i] = (double)x[i];
  for (int k = 0; k < SEQ_LAYERS && net->layers[k].kind; k++) {
    const seq_layer *layer = &net->layers[k];
    const seq_value in = *y;
    switch (layer->kind) {
      case 'd':
        seq_dense(&in, layer->units, layer->bare, &w, y);
        break;
      case 'n':
        seq_layernorm(&in, in.width, layer->bare, &w, y);
        break;
      case 'N':
        seq_layernorm(&in, in.steps * in.width, layer->bare, &w, y);
        break;
      case 'a':
        seq_attention(layer, &in, x, &w, y);
        break;
      case 'p':
        for (int i = 0; i < in.steps * in.width; i++) y->v[i] = in.v[i] + w[i];
        w += in.steps * in.width;
        break;
      case 'e':
        *y = (seq_value){.steps = in.steps, .width = layer->units};
        for (int t = 0; t < in.steps; t++)
          memcpy(y->v + t * layer->units, w + (int)in.v[t] * layer->units, (size_t)layer->units * sizeof *w);
        w += layer->layers * layer->units;
        break;
      default:
        seq_recurrent(layer, &in, &w, y);
    }
  }
}

/* Sum of squared differences over n samples. */
static inline double seq_loss(const seq_twin *net, const double *w, int n, const float *x, const float *y) {
  double sum = 0;
  seq_value out;
  for (int s = 0; s < n; s++) {
    seq_forward(net, w, x + s * net->steps * (net->in ? net->in : 1), &out);
    const int values = out.steps * out.width;
    for (int i = 0; i < values; i++)
      sum += (out.v[i] - (double)y[s * values + i]) * (out.v[i] - (double)y[s * values + i]);
  }
  return sum;
}

#endif

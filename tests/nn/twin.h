/* twin.h - a network in float64, written from the formulas alone, to hold the real one against.
 *
 * Values are numbered as they arise: 0 is the input, i + 1 the output of layer i.
 */
#ifndef DL_NN_TWIN_H
#define DL_NN_TWIN_H

#include <math.h>
#include <string.h>

#include "core/rng.h"

enum { TWIN_LAYERS = 12, TWIN_WIDTH = 48 };

typedef struct twin_layer {
  char kind;   /* d dense, D dense without bias, r relu, s sigmoid, t tanh, m softmax, o dropout, f flatten, + add, c
                  concat */
  int units;   /* dense */
  double rate; /* dropout */
  int from[3]; /* values it reads, 1 added; none: the one before */
} twin_layer;

typedef struct twin {
  twin_layer layers[TWIN_LAYERS]; /* up to the first of kind 0 */
  int in;
  const char *loss; /* cross_entropy, bce, mse, mae, huber */
  double smoothing, delta;
  bool training; /* dropout is on, by seed, step and first sample */
  uint64_t seed, first_sample;
  uint32_t step;
} twin;

static inline int twin_size(const twin *net) {
  int n = 0;
  while (n < TWIN_LAYERS && net->layers[n].kind) n++;
  return n;
}

typedef struct twin_values {
  double v[TWIN_LAYERS + 1][TWIN_WIDTH];
  int width[TWIN_LAYERS + 1];
} twin_values;

static inline double twin_unary(char kind, double x) {
  return kind == 'r' ? (x > 0 ? x : 0) : kind == 's' ? 1 / (1 + exp(-x)) : kind == 't' ? tanh(x) : x;
}

static inline void twin_dense(const twin_layer *layer, const double *x, int in, const double **w, double *y) {
  for (int o = 0; o < layer->units; o++) {
    y[o] = 0;
    for (int i = 0; i < in; i++) y[o] += (*w)[o * in + i] * x[i];
  }
  *w += layer->units * in;
  if (layer->kind == 'D') return;
  for (int o = 0; o < layer->units; o++) y[o] += (*w)[o];
  *w += layer->units;
}

static inline void twin_softmax(const double *x, int n, double *y) {
  double most = x[0], sum = 0;
  for (int i = 1; i < n; i++) most = fmax(most, x[i]);
  for (int i = 0; i < n; i++) sum += y[i] = exp(x[i] - most);
  for (int i = 0; i < n; i++) y[i] /= sum;
}

/* One layer of one sample; `w` moves on past its weights. */
static inline void twin_layer_run(const twin *net, int number, int row, const double **w, twin_values *values) {
  const twin_layer *layer = &net->layers[number];
  const int from = layer->from[0] ? layer->from[0] - 1 : number, n = values->width[from];
  const double *x = values->v[from];
  double *y = values->v[number + 1];
  int width = n;
  if (layer->kind == 'd' || layer->kind == 'D') {
    twin_dense(layer, x, n, w, y);
    width = layer->units;
  } else if (layer->kind == 'm') {
    twin_softmax(x, n, y);
  } else if (layer->kind == '+') {
    memcpy(y, x, (size_t)n * sizeof *y);
    for (int k = 1; k < 3 && layer->from[k]; k++)
      for (int i = 0; i < n; i++) y[i] += values->v[layer->from[k] - 1][i];
  } else if (layer->kind == 'c') {
    width = 0;
    for (int k = 0; k < 3 && layer->from[k]; k++)
      for (int i = 0; i < values->width[layer->from[k] - 1]; i++) y[width++] = values->v[layer->from[k] - 1][i];
  } else if (layer->kind == 'o' && net->training) {
    const dl_rng_key key = dl_rng_stream(net->seed, DL_RNG_DROPOUT, (uint32_t)number);
    for (int i = 0; i < n; i++) {
      const uint32_t word = dl_rng_word(key, net->step, net->first_sample + (uint64_t)row, (uint64_t)i);
      y[i] = (double)dl_rng_to_unit(word) >= layer->rate ? x[i] / (1 - layer->rate) : 0;
    }
  } else {
    for (int i = 0; i < n; i++) y[i] = twin_unary(layer->kind, x[i]);
  }
  values->width[number + 1] = width;
}

static inline double twin_row_loss(const twin *net, const double *x, int n, int label, const float *y) {
  double loss = 0, sum = 0;
  if (!strcmp(net->loss, "cross_entropy")) {
    for (int i = 0; i < n; i++) sum += exp(x[i]);
    for (int i = 0; i < n; i++) loss -= ((i == label) * (1 - net->smoothing) + net->smoothing / n) * (x[i] - log(sum));
    return loss;
  }
  for (int i = 0; i < n; i++) {
    const double t = (double)y[i], d = x[i] - t, p = 1 / (1 + exp(-x[i]));
    if (!strcmp(net->loss, "bce")) loss -= t * log(p) + (1 - t) * log(1 - p);
    if (!strcmp(net->loss, "mse")) loss += d * d;
    if (!strcmp(net->loss, "mae")) loss += fabs(d);
    if (!strcmp(net->loss, "huber"))
      loss += fabs(d) <= net->delta ? d * d / 2 : net->delta * (fabs(d) - net->delta / 2);
  }
  return loss;
}

/* Sum of losses over n samples with weights packed tensor after tensor; `outputs` (n, last width) may be NULL. */
static inline double twin_loss(const twin *net, const double *weights, int n, const float *x, const int32_t *label,
                               const float *y, const float *sample_weight, double *outputs) {
  static twin_values values;
  const int n_layers = twin_size(net);
  double loss = 0;
  for (int row = 0; row < n; row++) {
    const double *w = weights;
    for (int i = 0; i < net->in; i++) values.v[0][i] = (double)x[row * net->in + i];
    values.width[0] = net->in;
    for (int i = 0; i < n_layers; i++) twin_layer_run(net, i, row, &w, &values);
    const int width = values.width[n_layers];
    const double *last = values.v[n_layers];
    if (outputs) memcpy(outputs + row * width, last, (size_t)width * sizeof *last);
    loss += (sample_weight ? (double)sample_weight[row] : 1) *
            twin_row_loss(net, last, width, label ? label[row] : 0, y ? y + row * width : NULL);
  }
  return loss;
}

#endif

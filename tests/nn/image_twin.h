/* image_twin.h - networks on images in float64, written from the formulas alone: every sum in full, plain (n, C, H, W)
 * order, nothing shared with the program. */
#ifndef DL_NN_IMAGE_TWIN_H
#define DL_NN_IMAGE_TWIN_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { IMAGE_TWIN_LAYERS = 6, IMAGE_TWIN_ROOM = 16384 };

typedef struct image_twin_layer {
  char kind; /* c conv, t transposed conv, m maxpool, a avgpool (padding counts), A avgpool (padding does not), b
                batchnorm of the batch, B batchnorm of given figures, u upsample, r relu, d dense over all of a sample,
                g global average */
  int filters, kh, kw;
  int sh, sw, dh, dw, groups; /* 0: 1 */
  int top, left, oh, ow;      /* zeros before; size of the output */
  bool no_bias;
  int like; /* reads value like - 1 (0: the input) instead of the one before; 0: no */
  int add;  /* adds value add - 1 to its output; 0: no */
} image_twin_layer;

typedef struct image_value {
  int c, h, w;
  double v[IMAGE_TWIN_ROOM];
} image_value;

#define AT(x, n, ch, y, i) ((x)->v[((((n) * (x)->c + (ch)) * (x)->h) + (y)) * (x)->w + (i)])

static inline double image_pixel(const image_value *x, int n, int c, int y, int i) {
  return y < 0 || y >= x->h || i < 0 || i >= x->w ? 0 : AT(x, n, c, y, i);
}

static inline void image_conv(const image_twin_layer *l, int n, const image_value *x, const double *w, image_value *y) {
  const int ic = x->c / l->groups, oc = l->filters / l->groups;
  for (int s = 0; s < n; s++)
    for (int o = 0; o < l->filters; o++)
      for (int oy = 0; oy < y->h; oy++)
        for (int ox = 0; ox < y->w; ox++) {
          double sum = l->no_bias ? 0 : w[l->filters * ic * l->kh * l->kw + o];
          for (int c = 0; c < ic; c++)
            for (int i = 0; i < l->kh; i++)
              for (int j = 0; j < l->kw; j++)
                sum += w[((o * ic + c) * l->kh + i) * l->kw + j] * image_pixel(x, s, o / oc * ic + c,
                                                                               oy * l->sh - l->top + i * l->dh,
                                                                               ox * l->sw - l->left + j * l->dw);
          AT(y, s, o, oy, ox) = sum;
        }
}

/* Each input pixel adds its kernel to the output around it. */
static inline void image_transpose(const image_twin_layer *l, int n, const image_value *x, const double *w,
                                   image_value *y) {
  const int ic = x->c / l->groups, oc = l->filters / l->groups;
  for (int s = 0; s < n; s++) {
    for (int o = 0; o < l->filters; o++)
      for (int p = 0; p < y->h * y->w; p++)
        AT(y, s, o, p / y->w, p % y->w) = l->no_bias ? 0 : w[x->c * oc * l->kh * l->kw + o];
    for (int c = 0; c < x->c; c++)
      for (int iy = 0; iy < x->h; iy++)
        for (int ix = 0; ix < x->w; ix++)
          for (int o = 0; o < oc; o++)
            for (int i = 0; i < l->kh; i++)
              for (int j = 0; j < l->kw; j++) {
                const int oy = iy * l->sh - l->top + i * l->dh, ox = ix * l->sw - l->left + j * l->dw;
                if (oy >= 0 && oy < y->h && ox >= 0 && ox < y->w)
                  AT(y, s, c / ic * oc + o, oy, ox) += AT(x, s, c, iy, ix) * w[((c * oc + o) * l->kh + i) * l->kw + j];
              }
  }
}

static inline void image_pool(const image_twin_layer *l, int n, const image_value *x, image_value *y) {
  for (int p = 0; p < n * y->c * y->h * y->w; p++) {
    const int ox = p % y->w, oy = p / y->w % y->h, c = p / (y->w * y->h) % y->c, s = p / (y->w * y->h * y->c);
    double most = -INFINITY, sum = 0;
    int count = 0;
    for (int i = 0; i < l->kh; i++)
      for (int j = 0; j < l->kw; j++) {
        const int iy = oy * l->sh - l->top + i, ix = ox * l->sw - l->left + j;
        if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w) continue;
        most = fmax(most, AT(x, s, c, iy, ix));
        sum += AT(x, s, c, iy, ix);
        count++;
      }
    y->v[p] = l->kind == 'm' ? most : sum / (l->kind == 'A' ? count : l->kh * l->kw);
  }
}

/* w: weight, bias, running mean, running variance. */
static inline void image_batchnorm(const image_twin_layer *l, int n, const image_value *x, const double *w,
                                   image_value *y) {
  const int pixels = x->h * x->w;
  for (int c = 0; c < x->c; c++) {
    double mean = w[2 * x->c + c], variance = w[3 * x->c + c];
    if (l->kind == 'b') {
      mean = variance = 0;
      for (int p = 0; p < n * pixels; p++) mean += x->v[(p / pixels * x->c + c) * pixels + p % pixels] / (n * pixels);
      for (int p = 0; p < n * pixels; p++)
        variance += pow(x->v[(p / pixels * x->c + c) * pixels + p % pixels] - mean, 2) / (n * pixels);
    }
    for (int p = 0; p < n * pixels; p++) {
      const int at = (p / pixels * x->c + c) * pixels + p % pixels;
      y->v[at] = (x->v[at] - mean) / sqrt(variance + 1e-5) * w[c] + w[x->c + c];
    }
  }
}

static inline void image_dense(const image_twin_layer *l, int n, const image_value *x, const double *w,
                               image_value *y) {
  const int in = x->c * x->h * x->w;
  for (int s = 0; s < n; s++)
    for (int o = 0; o < l->filters; o++) {
      y->v[s * l->filters + o] = w[l->filters * in + o];
      for (int i = 0; i < in; i++) y->v[s * l->filters + o] += w[o * in + i] * x->v[s * in + i];
    }
}

/* Parameters of the layer, and its values. */
static inline int image_layer_run(const image_twin_layer *l, int n, const image_value *x, const double *w,
                                  image_value *y) {
  y->c = l->filters ? l->filters : x->c;
  y->h = l->oh ? l->oh : x->h;
  y->w = l->ow ? l->ow : x->w;
  switch (l->kind) {
    case 'c':
      image_conv(l, n, x, w, y);
      return l->filters * (x->c / l->groups * l->kh * l->kw + !l->no_bias);
    case 't':
      image_transpose(l, n, x, w, y);
      return x->c * (l->filters / l->groups) * l->kh * l->kw + (l->no_bias ? 0 : l->filters);
    case 'b':
    case 'B':
      image_batchnorm(l, n, x, w, y);
      return 4 * x->c;
    case 'd':
      y->h = y->w = 1;
      image_dense(l, n, x, w, y);
      return l->filters * (x->c * x->h * x->w + 1);
    case 'u':
      for (int p = 0; p < n * y->c * y->h * y->w; p++)
        y->v[p] = AT(x, p / (y->w * y->h * y->c), p / (y->w * y->h) % y->c, p / y->w % y->h * x->h / y->h,
                     p % y->w * x->w / y->w);
      return 0;
    case 'r':
      for (int p = 0; p < n * y->c * y->h * y->w; p++) y->v[p] = fmax(x->v[p], 0);
      return 0;
    case 'g': {
      const image_twin_layer all = {.kind = 'a', .kh = x->h, .kw = x->w, .sh = 1, .sw = 1};
      y->h = y->w = 1;
      image_pool(&all, n, x, y);
      return 0;
    }
    default:
      image_pool(l, n, x, y);
      return 0;
  }
}

static image_value image_values[IMAGE_TWIN_LAYERS + 1];

/* The last values of n samples of the network up to the first layer of kind 0; weights packed tensor after tensor. */
static inline const image_value *image_twin_run(const image_twin_layer *layers, const double *weights, int n) {
  int i = 0;
  for (; i < IMAGE_TWIN_LAYERS && layers[i].kind; i++) {
    const image_value *x = &image_values[layers[i].like ? layers[i].like - 1 : i];
    image_value *y = &image_values[i + 1];
    image_twin_layer l = layers[i];
    int *ones[] = {&l.sh, &l.sw, &l.dh, &l.dw, &l.groups};
    for (int k = 0; k < 5; k++) *ones[k] += *ones[k] == 0;
    weights += image_layer_run(&l, n, x, weights, y);
    for (int p = 0; layers[i].add && p < n * y->c * y->h * y->w; p++) y->v[p] += image_values[layers[i].add - 1].v[p];
  }
  return &image_values[i];
}

#endif

/* kernels_seq.isa.c - arithmetic of sequence layers: plain loops on the functions of kernels_math.h.
 *
 * The normal distribution function is a polynomial times the density (minimax fit, absolute error 2^-26 before
 * rounding), so that gelu and its slope need one exponential; log(1 + e) for e in [0, 1] is 2 artanh(e / (2 + e)) by a
 * minimax fit (relative error below 2^-29 before rounding).
 */
#include "nn/kernels_seq.h"

#include "core/isa.h"
#include "nn/kernels_math.h"

/* ---- functions of one number ---- */

/* e^x = scale (1 + tail) for -88 <= x <= 0: exp1's own steps, with one scaling by 2^k. */
static inline float exp_tail(float x, float *scale) {
  const float shifter = 0x1.8p23f;
  float t = x * 0x1.715476p0f + shifter;
  float k = t - shifter;
  float r = (x - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
  float p = 0x1.6a21acp-10f;
  p = p * r + 0x1.123b6ap-7f;
  p = p * r + 0x1.5558fap-5f;
  p = p * r + 0x1.55549p-3f;
  p = p * r + 0x1.fffffcp-2f;
  *scale = dl_float_of((dl_bits_of(t) - dl_bits_of(shifter) + 127u) << 23);
  return r + r * r * p;
}

/* e^x for x <= 0, and 0 below -88. */
static inline float exp_to_zero(float x) {
  float scale, tail = exp_tail(x < -88.0f ? -88.0f : x, &scale); /* NaN passes */
  return (1.0f + tail) * scale;
}

/* The normal distribution function at -a, for a >= 0: e^(-a a / 2) t P(t) with t = 1 / (1 + c a), as Abramowitz and
 * Stegun 7.1.26. Also gives e^(-a a / 2). */
static inline float normal_tail(float a, float *density) {
  *density = exp_to_zero(-0.5f * (a * a));
  float u = 1.0f / (1.0f + 0x1.8a0474p-2f * a);
  float q = 0x1.ab7a28p-5f;
  q = q * u + -0x1.090ec4p-2f;
  q = q * u + 0x1.927558p-2f;
  q = q * u + -0x1.0d5d6ap-5f;
  q = q * u + 0x1.95692p-3f;
  q = q * u + 0x1.304286p-3f;
  return *density * (u * q);
}

/* e^x - 1 for x <= 0, with 1 taken off before the scaling. */
static inline float expm1_of_negative(float x) {
  float scale, tail = exp_tail(x < -80.0f ? -80.0f : x, &scale);
  return scale * tail + (scale - 1.0f);
}

/* log(1 + e), e in [0, 1] */
static inline float log1p_of_unit(float e) {
  float s = e / (2.0f + e), z = s * s;
  float p = 0x1.f1aee6p-4f;
  p = p * z + 0x1.b6d6a2p-4f;
  p = p * z + 0x1.250972p-3f;
  p = p * z + 0x1.9996a8p-3f;
  p = p * z + 0x1.555558p-2f;
  return 2.0f * (s + s * (z * p));
}

static inline float leaky_relu1(float x, float p) { return x < 0 ? p * x : x; }
static inline float leaky_relu_slope(float x, float p) { return x > 0 ? 1.0f : x <= 0 ? p : x; }

static inline float elu1(float x, float p) {
  float below = p * expm1_of_negative(x > 0 ? 0.0f : x);
  return x > 0 ? x : below;
}
static inline float elu_slope(float x, float p) {
  float below = p * exp1(x > 0 ? 0.0f : x);
  return x > 0 ? 1.0f : below;
}

/* x times the normal distribution function. */
static inline float gelu1(float x, float p) {
  (void)p;
  float density, tail = normal_tail(fabsf(x), &density);
  return x * (x > 0 ? 1.0f - tail : tail);
}
static inline float gelu_slope(float x, float p) {
  (void)p;
  float density, tail = normal_tail(fabsf(x), &density);
  return (x > 0 ? 1.0f - tail : tail) + x * (0x1.988454p-2f * density);
}

/* u = sqrt(2 / pi) (x + 0.044715 x^3) */
static inline float gelu_tanh1(float x, float p) {
  (void)p;
  float u = 0x1.988454p-1f * (x + 0.044715f * (x * x * x));
  return 0.5f * x * (1.0f + tanh1(u));
}
static inline float gelu_tanh_slope(float x, float p) {
  (void)p;
  float z = x * x, t = tanh1(0x1.988454p-1f * (x + 0.044715f * (z * x)));
  float du = 0x1.988454p-1f * (1.0f + 3.0f * 0.044715f * z);
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * du;
}

static inline float silu1(float x, float p) {
  (void)p;
  return x * sigmoid1(x);
}
static inline float silu_slope(float x, float p) {
  (void)p;
  float s = sigmoid1(x);
  return s + x * (s * (1.0f - s));
}

/* log(1 + e^(p x)) / p */
static inline float softplus1(float x, float p) {
  float u = p * x;
  return ((u < 0 ? 0.0f : u) + log1p_of_unit(exp1(-fabsf(u)))) / p; /* NaN passes */
}
static inline float softplus_slope(float x, float p) { return sigmoid1(p * x); }

#define ACTIVATION(f)                                                                       \
  static void f(size_t n, float p, const float *x, float *y) {                              \
    INDEPENDENT for (size_t i = 0; i < n; i++) y[i] = f##1(x[i], p);                        \
  }                                                                                         \
  static void f##_backward(size_t n, float p, const float *x, const float *dy, float *dx) { \
    INDEPENDENT for (size_t i = 0; i < n; i++) dx[i] = dy[i] * f##_slope(x[i], p);          \
  }
ACTIVATION(leaky_relu)
ACTIVATION(elu)
ACTIVATION(gelu)
ACTIVATION(gelu_tanh)
ACTIVATION(silu)
ACTIVATION(softplus)

/* ---- normalisation ---- */

static inline double squared_distances(int64_t n, const float *x, double from) {
  double lane[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++) {
      double d = (double)x[i + j] - from;
      lane[j] += d * d;
    }
  for (int j = 0; i < n; i++, j++) {
    double d = (double)x[i] - from;
    lane[j] += d * d;
  }
  return add_lanes(lane);
}

static void layernorm(int64_t rows, int64_t cols, float eps, const float *weight, const float *bias, const float *x,
                      float *y, float *stats) {
  for (int64_t r = 0; r < rows; r++, x += cols, y += cols, stats += 2) {
    const double middle = sum_of(cols, x) / (double)cols;
    const double variance = squared_distances(cols, x, middle) / (double)cols;
    const float mean = stats[0] = (float)middle, scale = stats[1] = (float)(1.0 / sqrt(variance + (double)eps));
    if (weight)
      INDEPENDENT for (int64_t c = 0; c < cols; c++) y[c] = (x[c] - mean) * scale * weight[c] + bias[c];
    else
      INDEPENDENT for (int64_t c = 0; c < cols; c++) y[c] = (x[c] - mean) * scale;
  }
}

/* With g = dy * weight and u = (x - mean) * scale: dx = scale * (g - mean(g) - u * mean(g u)). */
static void layernorm_dx(int64_t cols, const float *weight, const float *x, float mean, float scale, const float *dy,
                         float *dx) {
  double g[LANES] = {0}, gu[LANES] = {0};
  int64_t i = 0;
#define ADD(at, lane)                                         \
  do {                                                        \
    float d = weight ? dy[at] * weight[at] : dy[at];          \
    g[lane] += (double)d;                                     \
    gu[lane] += (double)d * (double)((x[at] - mean) * scale); \
  } while (0)
  for (; i + LANES <= cols; i += LANES)
    for (int j = 0; j < LANES; j++) ADD(i + j, j);
  for (int j = 0; i < cols; i++, j++) ADD(i, j);
#undef ADD
  const float g_mean = (float)(add_lanes(g) / (double)cols), gu_mean = (float)(add_lanes(gu) / (double)cols);
  if (weight)
    INDEPENDENT for (int64_t c = 0; c < cols; c++) dx[c] =
        scale * (dy[c] * weight[c] - g_mean - (x[c] - mean) * scale * gu_mean);
  else
    INDEPENDENT for (int64_t c = 0; c < cols; c++) dx[c] = scale * (dy[c] - g_mean - (x[c] - mean) * scale * gu_mean);
}

static void layernorm_backward(int64_t rows, int64_t cols, const float *weight, const float *x, const float *stats,
                               const float *dy, float *dx, float *restrict dweight, float *restrict dbias) {
  if (dweight) {
    memset(dweight, 0, (size_t)cols * sizeof *dweight);
    memset(dbias, 0, (size_t)cols * sizeof *dbias);
  }
  for (int64_t r = 0; r < rows; r++, x += cols, dy += cols, stats += 2) {
    const float mean = stats[0], scale = stats[1];
    if (dweight)
      for (int64_t c = 0; c < cols; c++) {
        dweight[c] += dy[c] * ((x[c] - mean) * scale);
        dbias[c] += dy[c];
      }
    if (!dx) continue;
    layernorm_dx(cols, weight, x, mean, scale, dy, dx);
    dx += cols;
  }
}

/* ---- attention ---- */

/* Rows of a triangle have all lengths: they are filled up to whole vectors, with what adds nothing. */
static inline int64_t filled(int64_t n, int64_t cols) {
  const int64_t up = (n + 15) / 16 * 16;
  return up < cols ? up : cols;
}

/* Each row waits for its largest, its sum and its factor: rows take each step side by side, so that nothing waits. */
enum { SIDE_BY_SIDE = 8 };

static inline int64_t seen_by(int64_t row, int64_t cols, int64_t limit) {
  return limit + row < cols ? limit + row : cols;
}

/* The next matrix, which usually follows this one in memory, is asked for in time. */
static inline void ask_for(const float *x, int64_t n) {
  for (int64_t c = 0; c < n; c += 16) __builtin_prefetch(x + c);
}

/* Row `row` and as many as `count` after it. */
static void attend_rows(int64_t row, int64_t count, int64_t cols, int64_t ld, int64_t limit, const float *keys,
                        float *scores) {
  float most[SIDE_BY_SIDE], factor[SIDE_BY_SIDE];
  for (int64_t r = 0; r < count; r++) {
    float *x = scores + r * ld;
    const int64_t seen = seen_by(row + r, cols, limit), n = filled(seen, cols);
    if (keys)
      for (int64_t c = 0; c < seen; c++) x[c] += keys[c];
    for (int64_t c = seen; c < n; c++) x[c] = -INFINITY;
    most[r] = largest(n, x);
    if (most[r] == -INFINITY) most[r] = 0; /* nobody to look at: all become 0 */
  }
  for (int64_t r = 0; r < count; r++) {
    const int64_t n = filled(seen_by(row + r, cols, limit), cols);
    INDEPENDENT for (int64_t c = 0; c < n; c++) scores[r * ld + c] = exp_to_zero(scores[r * ld + c] - most[r]);
  }
  for (int64_t r = 0; r < count; r++) {
    const double sum = sum_of(filled(seen_by(row + r, cols, limit), cols), scores + r * ld);
    factor[r] = sum == 0 ? 0 : (float)(1.0 / sum);
  }
  for (int64_t r = 0; r < count; r++) {
    const int64_t n = filled(seen_by(row + r, cols, limit), cols);
    for (int64_t c = 0; c < n; c++) scores[r * ld + c] *= factor[r];
    for (int64_t c = n; c < cols; c++) scores[r * ld + c] = 0;
  }
}

static void attend(int64_t rows, int64_t cols, int64_t ld, int64_t limit, const float *keys, float *scores) {
  for (int64_t r = 0; r < rows; r += SIDE_BY_SIDE) {
    const int64_t count = rows - r < SIDE_BY_SIDE ? rows - r : SIDE_BY_SIDE;
    for (int64_t i = 0; i < count; i++) ask_for(scores + (rows + r + i) * ld, seen_by(r + i, cols, limit));
    attend_rows(r, count, cols, ld, limit, keys, scores + r * ld);
  }
}

static void attend_backward_rows(int64_t row, int64_t count, int64_t cols, int64_t ld, int64_t limit,
                                 const float *restrict p, float *restrict dp) {
  float dot[SIDE_BY_SIDE];
  for (int64_t r = 0; r < count; r++) {
    const int64_t seen = seen_by(row + r, cols, limit), n = filled(seen, cols);
    const float *restrict x = p + r * ld;
    float *restrict dx = dp + r * ld;
    double lane[LANES] = {0};
    int64_t i = 0;
    for (int64_t c = seen; c < cols; c++) dx[c] = 0;
    for (; i + LANES <= n; i += LANES)
      for (int j = 0; j < LANES; j++) lane[j] += (double)dx[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++) lane[j] += (double)dx[i] * (double)x[i];
    dot[r] = (float)add_lanes(lane);
  }
  for (int64_t r = 0; r < count; r++) {
    const int64_t n = filled(seen_by(row + r, cols, limit), cols);
    for (int64_t c = 0; c < n; c++) dp[r * ld + c] = p[r * ld + c] * (dp[r * ld + c] - dot[r]);
  }
}

static void attend_backward(int64_t rows, int64_t cols, int64_t ld, int64_t limit, const float *p, float *dp) {
  for (int64_t r = 0; r < rows; r += SIDE_BY_SIDE) {
    const int64_t count = rows - r < SIDE_BY_SIDE ? rows - r : SIDE_BY_SIDE;
    for (int64_t i = 0; i < count; i++) ask_for(p + (rows + r + i) * ld, seen_by(r + i, cols, limit));
    attend_backward_rows(r, count, cols, ld, limit, p + r * ld, dp + r * ld);
  }
}

/* ---- recurrent cells ---- */

/* Hochreiter and Schmidhuber 1997, with the forget gate of Gers 2000: c = f c + i g, out = o tanh(c). */
static void lstm(int64_t n, int64_t h, float *restrict gates, const float *restrict c_before, float *restrict c,
                 float *restrict tanh_c, float *restrict out) {
  for (int64_t r = 0; r < n; r++, gates += 4 * h, c_before += h, c += h, tanh_c += h, out += h) {
    float *restrict i = gates, *restrict f = gates + h, *restrict g = gates + 2 * h, *restrict o = gates + 3 * h;
    for (int64_t j = 0; j < 2 * h; j++) gates[j] = sigmoid1(gates[j]);
    for (int64_t j = 0; j < h; j++) g[j] = tanh1(g[j]);
    for (int64_t j = 0; j < h; j++) o[j] = sigmoid1(o[j]);
    for (int64_t j = 0; j < h; j++) c[j] = f[j] * c_before[j] + i[j] * g[j];
    for (int64_t j = 0; j < h; j++) {
      float t = tanh1(c[j]);
      tanh_c[j] = t;
      out[j] = o[j] * t;
    }
  }
}

static void lstm_backward(int64_t n, int64_t h, float *restrict gates, const float *restrict c_before,
                          const float *restrict tanh_c, const float *restrict dy, const float *restrict dh,
                          float *restrict dc) {
  for (int64_t r = 0; r < n; r++, gates += 4 * h, c_before += h, tanh_c += h, dy += h, dh += h, dc += h) {
    float *restrict pi = gates, *restrict pf = gates + h, *restrict pg = gates + 2 * h, *restrict po = gates + 3 * h;
    INDEPENDENT for (int64_t j = 0; j < h; j++) {
      const float i = pi[j], f = pf[j], g = pg[j], o = po[j], t = tanh_c[j], d = dy[j] + dh[j];
      const float e = dc[j] + d * o * (1.0f - t * t);
      pi[j] = e * g * i * (1.0f - i);
      pf[j] = e * c_before[j] * f * (1.0f - f);
      pg[j] = e * i * (1.0f - g * g);
      po[j] = d * t * o * (1.0f - o);
      dc[j] = e * f;
    }
  }
}

/* Cho et al. 2014 in PyTorch's form: n = tanh(x_n + r * h_n), out = (1 - z) n + z before. */
static void gru(int64_t n, int64_t h, float *restrict x_part, const float *restrict h_part,
                const float *restrict before, float *restrict out) {
  for (int64_t s = 0; s < n; s++, x_part += 3 * h, h_part += 3 * h, before += h, out += h) {
    for (int64_t j = 0; j < 2 * h; j++) x_part[j] = sigmoid1(x_part[j] + h_part[j]);
    const float *restrict r = x_part, *restrict z = x_part + h, *restrict hn = h_part + 2 * h;
    float *restrict m = x_part + 2 * h;
    for (int64_t j = 0; j < h; j++) m[j] = tanh1(m[j] + r[j] * hn[j]);
    for (int64_t j = 0; j < h; j++) out[j] = m[j] + z[j] * (before[j] - m[j]);
  }
}

static void gru_backward(int64_t n, int64_t h, float *restrict x_part, float *restrict h_part,
                         const float *restrict before, const float *restrict dy, float *restrict dh) {
  for (int64_t s = 0; s < n; s++, x_part += 3 * h, h_part += 3 * h, before += h, dy += h, dh += h) {
    float *restrict xr = x_part, *restrict xz = x_part + h, *restrict xn = x_part + 2 * h;
    float *restrict hr = h_part, *restrict hz = h_part + h, *restrict hn = h_part + 2 * h;
    INDEPENDENT for (int64_t j = 0; j < h; j++) {
      const float r = xr[j], z = xz[j], m = xn[j], d = dy[j] + dh[j];
      const float dm = d * (1.0f - z) * (1.0f - m * m);
      const float dr = dm * hn[j] * r * (1.0f - r), dz = d * (before[j] - m) * z * (1.0f - z);
      xr[j] = hr[j] = dr;
      xz[j] = hz[j] = dz;
      xn[j] = dm;
      hn[j] = dm * r;
      dh[j] = d * z;
    }
  }
}

static void rnn_backward(size_t n, int rectified, const float *restrict out, const float *restrict dy,
                         const float *restrict dh, float *restrict gates) {
  if (rectified)
    for (size_t i = 0; i < n; i++) gates[i] = out[i] <= 0 ? 0.0f : dy[i] + dh[i];
  else
    for (size_t i = 0; i < n; i++) gates[i] = (dy[i] + dh[i]) * (1.0f - out[i] * out[i]);
}

extern const dl_seq_kernels DL_ISA_NAME(dl_seq_kernel_table);
const dl_seq_kernels DL_ISA_NAME(dl_seq_kernel_table) = {
    .leaky_relu = leaky_relu,
    .elu = elu,
    .gelu = gelu,
    .gelu_tanh = gelu_tanh,
    .silu = silu,
    .softplus = softplus,
    .leaky_relu_backward = leaky_relu_backward,
    .elu_backward = elu_backward,
    .gelu_backward = gelu_backward,
    .gelu_tanh_backward = gelu_tanh_backward,
    .silu_backward = silu_backward,
    .softplus_backward = softplus_backward,
    .layernorm = layernorm,
    .layernorm_backward = layernorm_backward,
    .attend = attend,
    .attend_backward = attend_backward,
    .lstm = lstm,
    .lstm_backward = lstm_backward,
    .gru = gru,
    .gru_backward = gru_backward,
    .rnn_backward = rnn_backward,
};

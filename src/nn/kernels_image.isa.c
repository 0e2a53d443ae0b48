/* kernels_image.isa.c - arithmetic on images whose channels lie together: plain loops over channels, one compilation an
 * instruction set.
 *
 * Sums run over the rows in order in float64, one sum a column, so the width of the vectors does not enter the bits.
 * Sixteen columns at a time stay in registers over a tile of rows that fits the nearest cache.
 */
#include <math.h>
#include <string.h>

#include "core/isa.h"
#include "nn/kernels_image.h"

/* ---- the two orders ---- */

/* Few columns, as a photograph's three: each output row is one run, each input row one element apart. */
#define TRANSPOSE_FEW(COLS)                                                                     \
  static void transpose_##COLS(int64_t rows, const float *restrict x, float *restrict y) {      \
    for (int64_t r = 0; r < rows; r++)                                                          \
      for (int c = 0; c < COLS; c++) y[c * rows + r] = x[r * COLS + c];                         \
  }                                                                                             \
  static void transpose_back_##COLS(int64_t cols, const float *restrict x, float *restrict y) { \
    for (int64_t c = 0; c < cols; c++)                                                          \
      for (int r = 0; r < COLS; r++) y[c * COLS + r] = x[r * cols + c];                         \
  }
TRANSPOSE_FEW(3)

static void transpose_one(int64_t rows, int64_t cols, const float *restrict x, float *restrict y, bool add) {
  enum { TILE = 16 };
  for (int64_t r0 = 0; r0 < rows; r0 += TILE)
    for (int64_t c0 = 0; c0 < cols; c0 += TILE) {
      const int64_t r1 = rows - r0 < TILE ? rows : r0 + TILE, c1 = cols - c0 < TILE ? cols : c0 + TILE;
      for (int64_t c = c0; c < c1; c++)
        for (int64_t r = r0; r < r1; r++) y[c * rows + r] = add ? y[c * rows + r] + x[r * cols + c] : x[r * cols + c];
    }
}

static void transpose(int64_t n, int64_t rows, int64_t cols, const float *x, float *y, bool add) {
  for (int64_t i = 0; i < n; i++, x += rows * cols, y += rows * cols) {
    if (cols == 3 && !add)
      transpose_3(rows, x, y);
    else if (rows == 3 && !add)
      transpose_back_3(cols, x, y);
    else
      transpose_one(rows, cols, x, y, add);
  }
}

/* ---- pooling ---- */

/* The part of a window that lies on the image, along one dimension: places [begin, end) of it. */
typedef struct span {
  int64_t begin, end;
} span;

static inline span on_image(int64_t at, int64_t size, int64_t kernel) {
  return (span){at < 0 ? -at : 0, at + kernel > size ? size - at : kernel};
}

static inline void max_first(int64_t n, int32_t place, const float *restrict x, float *restrict y,
                             int32_t *restrict places) {
  for (int64_t c = 0; c < n; c++) {
    y[c] = x[c];
    places[c] = place;
  }
}

static inline void max_none(int64_t n, float *restrict y, int32_t *restrict places) {
  for (int64_t c = 0; c < n; c++) {
    y[c] = 0;
    places[c] = -1;
  }
}

static inline void max_next(int64_t n, int32_t place, const float *restrict x, float *restrict y,
                            int32_t *restrict places) {
  for (int64_t c = 0; c < n; c++) {
    const bool more = x[c] > y[c] || x[c] != x[c];
    y[c] = more ? x[c] : y[c];
    places[c] = more ? place : places[c];
  }
}

static inline void add_where(int64_t n, int32_t place, const int32_t *restrict places, const float *restrict dy,
                             float *restrict dx) {
  for (int64_t c = 0; c < n; c++) dx[c] += places[c] == place ? dy[c] : 0.0f;
}

static inline void put_where(int64_t n, int32_t place, const int32_t *restrict places, const float *restrict dy,
                             float *restrict dx) {
  for (int64_t c = 0; c < n; c++) dx[c] = places[c] == place ? dy[c] : 0.0f;
}

static inline void add_scaled(int64_t n, float factor, const float *restrict x, float *restrict y) {
  for (int64_t c = 0; c < n; c++) y[c] += factor * x[c];
}

/* Windows of 2x2 side by side, the usual ones: all four pixels in registers. Same order, same bits as one by one. */
static inline bool is_quad(const dl_window *w) {
  return w->kh == 2 && w->kw == 2 && w->sh == 2 && w->sw == 2 && !w->ph && !w->pw;
}

static inline void max_quad(int64_t n, bool relu, const float *restrict x, const float *restrict below,
                            float *restrict y, int32_t *restrict places) {
  for (int64_t c = 0; c < n; c++) {
    const float four[4] = {x[c], x[n + c], below[c], below[n + c]};
    float most = relu ? 0 : four[0];
    int32_t place = relu ? -1 : 0;
    for (int32_t k = 0; k < 4; k++) {
      const bool more = four[k] > most || four[k] != four[k];
      most = more ? four[k] : most;
      place = more ? k : place;
    }
    y[c] = most;
    places[c] = place;
  }
}

static inline void put_quad(int64_t n, const int32_t *restrict places, const float *restrict dy, float *restrict dx,
                            float *restrict below) {
  for (int64_t c = 0; c < n; c++) {
    int32_t bits, kept[4]; /* masks, not branches */
    memcpy(&bits, &dy[c], sizeof bits);
    for (int32_t k = 0; k < 4; k++) kept[k] = bits & -(places[c] == k);
    memcpy(&dx[c], &kept[0], sizeof bits);
    memcpy(&dx[n + c], &kept[1], sizeof bits);
    memcpy(&below[c], &kept[2], sizeof bits);
    memcpy(&below[n + c], &kept[3], sizeof bits);
  }
}

/* For every window of an image: its output pixel `out` and its part on the image, rows `v` and columns `h`, whose pixel
 * (i, j) is number (y + i) * iw + x + j. */
#define EACH_WINDOW(w)                              \
  for (int64_t oy = 0, out = 0; oy < (w)->oh; oy++) \
    for (int64_t ox = 0, y0 = oy * (w)->sh - (w)->ph, x0 = -(w)->pw; ox < (w)->ow; ox++, out++, x0 += (w)->sw)
#define EACH_PLACE(w, v, h)                                                          \
  const span v = on_image(y0, (w)->ih, (w)->kh), h = on_image(x0, (w)->iw, (w)->kw); \
  for (int64_t i = v.begin; i < v.end; i++)                                          \
    for (int64_t j = h.begin; j < h.end; j++)

static void maxpool_quads(const dl_window *w, int64_t n, const float *x, float *y, int32_t *place) {
  const int64_t channels = w->channels, row = w->iw * channels;
  for (int64_t s = 0; s < n; s++, x += w->ih * row)
    for (int64_t oy = 0; oy < w->oh; oy++)
      for (int64_t ox = 0; ox < w->ow; ox++, y += channels, place += channels) {
        const float *from = x + 2 * oy * row + 2 * ox * channels;
        max_quad(channels, w->relu, from, from + row, y, place);
      }
}

static void maxpool_quads_backward(const dl_window *w, int64_t n, const int32_t *place, const float *dy, float *dx) {
  const int64_t channels = w->channels, row = w->iw * channels;
  const bool tiled = 2 * w->oh == w->ih && 2 * w->ow == w->iw;
  for (int64_t s = 0; s < n; s++, dx += w->ih * row) {
    if (!tiled) memset(dx, 0, (size_t)(w->ih * row) * sizeof *dx);
    for (int64_t oy = 0; oy < w->oh; oy++)
      for (int64_t ox = 0; ox < w->ow; ox++, dy += channels, place += channels) {
        float *to = dx + 2 * oy * row + 2 * ox * channels;
        put_quad(channels, place, dy, to, to + row);
      }
  }
}

static void maxpool(const dl_window *w, int64_t n, const float *x, float *y, int32_t *place) {
  const int64_t channels = w->channels, in = w->ih * w->iw * channels, out_size = w->oh * w->ow * channels;
  if (is_quad(w)) {
    maxpool_quads(w, n, x, y, place);
    return;
  }
  for (int64_t s = 0; s < n; s++, x += in, y += out_size, place += out_size) {
    EACH_WINDOW(w) {
      float *to = y + out * channels;
      int32_t *at = place + out * channels;
      if (w->relu) max_none(channels, to, at);
      EACH_PLACE(w, v, h) {
        const float *from = x + ((y0 + i) * w->iw + x0 + j) * channels;
        if (i == v.begin && j == h.begin && !w->relu)
          max_first(channels, (int32_t)(i * w->kw + j), from, to, at);
        else
          max_next(channels, (int32_t)(i * w->kw + j), from, to, at);
      }
    }
  }
}

static void maxpool_backward(const dl_window *w, int64_t n, const int32_t *place, const float *dy, float *dx) {
  const int64_t channels = w->channels, in = w->ih * w->iw * channels, out_size = w->oh * w->ow * channels;
  if (is_quad(w)) {
    maxpool_quads_backward(w, n, place, dy, dx);
    return;
  }
  const bool apart = w->sh >= w->kh && w->sw >= w->kw; /* each pixel lies in one window at most */
  const bool tiled = w->sh == w->kh && w->sw == w->kw && w->oh * w->sh == w->ih && w->ow * w->sw == w->iw;
  for (int64_t s = 0; s < n; s++, dx += in, dy += out_size, place += out_size) {
    if (!tiled) memset(dx, 0, (size_t)in * sizeof *dx);
    EACH_WINDOW(w) {
      EACH_PLACE(w, v, h) {
        float *to = dx + ((y0 + i) * w->iw + x0 + j) * channels;
        (apart ? put_where : add_where)(channels, (int32_t)(i * w->kw + j), place + out * channels, dy + out * channels,
                                        to);
      }
    }
  }
}

static inline float share(const dl_window *w, int64_t y0, int64_t x0) {
  const span v = on_image(y0, w->ih, w->kh), h = on_image(x0, w->iw, w->kw);
  return 1.0f / (float)(w->count_padding ? w->kh * w->kw : (v.end - v.begin) * (h.end - h.begin));
}

static void avgpool(const dl_window *w, int64_t n, const float *x, float *y) {
  const int64_t channels = w->channels, in = w->ih * w->iw * channels, out_size = w->oh * w->ow * channels;
  for (int64_t s = 0; s < n; s++, x += in, y += out_size) {
    memset(y, 0, (size_t)out_size * sizeof *y);
    EACH_WINDOW(w) {
      const float factor = share(w, y0, x0);
      EACH_PLACE(w, v, h)
      add_scaled(channels, 1.0f, x + ((y0 + i) * w->iw + x0 + j) * channels, y + out * channels);
      for (int64_t c = 0; c < channels; c++) y[out * channels + c] *= factor;
    }
  }
}

static void avgpool_backward(const dl_window *w, int64_t n, const float *dy, float *dx) {
  const int64_t channels = w->channels, in = w->ih * w->iw * channels, out_size = w->oh * w->ow * channels;
  for (int64_t s = 0; s < n; s++, dx += in, dy += out_size) {
    memset(dx, 0, (size_t)in * sizeof *dx);
    EACH_WINDOW(w) {
      const float factor = share(w, y0, x0);
      EACH_PLACE(w, v, h)
      add_scaled(channels, factor, dy + out * channels, dx + ((y0 + i) * w->iw + x0 + j) * channels);
    }
  }
}

/* ---- batch normalisation ---- */

enum { WIDTH = 16, TILE_ROWS = 128 };

/* Adds to two sums of each column, over tiles of rows. `term` takes the element's place and its two values. */
#define COLUMN_SUMS(one, two, WHAT_ONE, WHAT_TWO)                     \
  for (int64_t r0 = 0; r0 < rows; r0 += TILE_ROWS) {                  \
    const int64_t r1 = rows - r0 < TILE_ROWS ? rows : r0 + TILE_ROWS; \
    int64_t c0 = 0;                                                   \
    for (; c0 + WIDTH <= cols; c0 += WIDTH) {                         \
      double a[WIDTH], b[WIDTH];                                      \
      memcpy(a, one + c0, sizeof a);                                  \
      memcpy(b, two + c0, sizeof b);                                  \
      for (int64_t r = r0; r < r1; r++)                               \
        for (int j = 0; j < WIDTH; j++) {                             \
          const int64_t c = c0 + j, at = r * cols + c;                \
          a[j] += WHAT_ONE;                                           \
          b[j] += WHAT_TWO;                                           \
        }                                                             \
      memcpy(one + c0, a, sizeof a);                                  \
      memcpy(two + c0, b, sizeof b);                                  \
    }                                                                 \
    for (int64_t r = r0; r < r1; r++)                                 \
      for (int64_t c = c0; c < cols; c++) {                           \
        const int64_t at = r * cols + c;                              \
        one[c] += WHAT_ONE;                                           \
        two[c] += WHAT_TWO;                                           \
      }                                                               \
  }

static void moments(int64_t rows, int64_t cols, const float *restrict x, double *restrict sum,
                    double *restrict squares) {
  COLUMN_SUMS(sum, squares, (double)x[at], (double)x[at] * (double)x[at])
}

static void channel_sums(int64_t rows, int64_t cols, const float *restrict x, float *restrict out) {
  int64_t c0 = 0;
  for (; c0 + WIDTH <= cols; c0 += WIDTH) {
    double sum[WIDTH] = {0};
    for (int64_t r = 0; r < rows; r++)
      for (int j = 0; j < WIDTH; j++) sum[j] += (double)x[r * cols + c0 + j];
    for (int j = 0; j < WIDTH; j++) out[c0 + j] = (float)sum[j];
  }
  for (int64_t c = c0; c < cols; c++) {
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) sum += (double)x[r * cols + c];
    out[c] = (float)sum;
  }
}

static void normalise_sums(int64_t rows, int64_t cols, const float *restrict x, const float *restrict mean,
                           const float *restrict dy, double *restrict sum, double *restrict product) {
  COLUMN_SUMS(sum, product, (double)dy[at], (double)dy[at] * (double)(x[at] - mean[c]))
}

/* The loops below may run in place: an element depends on its own place alone. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

static void normalise(int64_t rows, int64_t cols, const float *x, const float *mean, const float *scale,
                      const float *shift, float *y) {
  for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
    INDEPENDENT for (int64_t c = 0; c < cols; c++) y[c] = (x[c] - mean[c]) * scale[c] + shift[c];
  }
}

static void normalise_backward(int64_t rows, int64_t cols, const float *x, const float *mean, const float *scale,
                               const float *offset, const float *slope, const float *dy, float *dx) {
  for (int64_t r = 0; r < rows; r++, x += cols, dy += cols, dx += cols) {
    INDEPENDENT for (int64_t c = 0; c < cols; c++) dx[c] = (scale[c] * dy[c] - offset[c]) - (x[c] - mean[c]) * slope[c];
  }
}

extern const dl_image_kernels DL_ISA_NAME(dl_image_kernel_table);
const dl_image_kernels DL_ISA_NAME(dl_image_kernel_table) = {
    .transpose = transpose,
    .maxpool = maxpool,
    .maxpool_backward = maxpool_backward,
    .avgpool = avgpool,
    .avgpool_backward = avgpool_backward,
    .channel_sums = channel_sums,
    .moments = moments,
    .normalise = normalise,
    .normalise_sums = normalise_sums,
    .normalise_backward = normalise_backward,
};

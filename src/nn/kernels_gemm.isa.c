/* kernels_gemm.isa.c - products of matrices by tiles of registers.
 *
 * After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008: a run of rows of B is copied
 * into panels as wide as a tile; a tile of C stays in registers over the run, and each of its steps reads one row of
 * the panel, from the first cache, and a number of each of its rows of A. A is read where it lies, or, where it is
 * transposed and read more than once, from a copy in strips as high as a tile.
 *
 * Why own ones beside two libraries: products of sequences are many and small (attention's heads) or have a short k,
 * where a library's set-up and copies show; here a triangle's other half is left out tile by tile, and an offset is
 * added while the tile is in registers. Intrinsics, because compilers spill an accumulator that is an array of floats.
 */
#include "nn/kernels_gemm.h"
#include "core/isa.h"

#include "nn/kernels_vec.h"

#if DL_HAS_VEC
#include <string.h>

#if defined(__AVX512F__)
enum { ROWS = 8 };
#else
enum { ROWS = 6 };
#endif
enum { PANEL = 2 * LANES, TALL = DL_GEMM_TALL / ROWS * ROWS, AHEAD = 16 };

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- a tile of up to ROWS x PANEL ---- */

/* Where a tile goes. `adds`: to what earlier runs left there. */
typedef struct place {
  float *c;
  int64_t ld, cols;
  float alpha;
  bool adds;
  const float *bias; /* of its columns, or NULL */
} place;

static void put_some(const place *at, const float *row, float *c) {
  for (int64_t j = 0; j < at->cols; j++) {
    const float y = at->alpha * row[j];
    c[j] = at->adds ? c[j] + y : at->bias ? y + at->bias[j] : y;
  }
}

static inline void put_all(const place *at, vec left, vec right, float *c) {
  const vec alpha = spread(at->alpha);
  vec y0 = times(left, alpha), y1 = times(right, alpha);
  if (at->adds || at->bias) {
    const float *more = at->adds ? c : at->bias;
    y0 = plus(load(more), y0);
    y1 = plus(load(more + LANES), y1);
  }
  store(c, y0);
  store(c + LANES, y1);
}

/* A(r, p) = a[r * row + p * next]; b (k, PANEL). */
static inline __attribute__((always_inline)) void tile(int rows, int64_t k, const float *a, int64_t row, int64_t next,
                                                       const float *b, const place *at) {
  vec left[ROWS], right[ROWS];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    left[r] = right[r] = zeros();
    __builtin_prefetch(at->c + r * at->ld, 1);
    __builtin_prefetch(at->c + r * at->ld + at->cols - 1, 1);
  }
  for (int64_t p = 0; p < k; p++, a += next, b += PANEL) {
    const vec b0 = load(b), b1 = load(b + LANES);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      const vec x = spread(a[r * row]);
      left[r] = fused(x, b0, left[r]);
      right[r] = fused(x, b1, right[r]);
    }
  }
  if (at->cols == PANEL) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) put_all(at, left[r], right[r], at->c + r * at->ld);
    return;
  }
  float some[ROWS][PANEL];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    store(some[r], left[r]);
    store(some[r] + LANES, right[r]);
  }
  for (int r = 0; r < rows; r++) put_some(at, some[r], at->c + r * at->ld);
}

typedef void tile_fn(int64_t k, const float *a, int64_t ld, const float *b, const place *at);
#define TILE(n)                                                                                     \
  static void rows_##n(int64_t k, const float *a, int64_t ld, const float *b, const place *at) {    \
    tile(n, k, a, ld, 1, b, at);                                                                    \
  }                                                                                                 \
  static void columns_##n(int64_t k, const float *a, int64_t ld, const float *b, const place *at) { \
    tile(n, k, a, 1, ld, b, at);                                                                    \
  }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
#if defined(__AVX512F__)
TILE(7)
TILE(8)
#endif

/* [A lies in columns][rows of the tile] */
static tile_fn *const tiles[2][ROWS + 1] = {
#if defined(__AVX512F__)
    {NULL, rows_1, rows_2, rows_3, rows_4, rows_5, rows_6, rows_7, rows_8},
    {NULL, columns_1, columns_2, columns_3, columns_4, columns_5, columns_6, columns_7, columns_8},
#else
    {NULL, rows_1, rows_2, rows_3, rows_4, rows_5, rows_6},
    {NULL, columns_1, columns_2, columns_3, columns_4, columns_5, columns_6},
#endif
};

/* ---- copies ---- */

/* Eight rows of eight numbers become columns. */
static inline void turn8(const float *x, int64_t ld, float *y, int64_t to) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(x + i * ld);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(y + i * to, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(y + (i + 4) * to, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

/* y (k, PANEL) = columns [0, cols) of x (k, ld), or rows of x (cols, ld) turned; zeros beside them. */
static void copy_panel(bool turned, int64_t k, int64_t cols, const float *x, int64_t ld, float *y) {
  if (!turned && cols == PANEL) {
    for (int64_t p = 0; p < k; p++) {
      if (p + AHEAD < k) __builtin_prefetch(x + (p + AHEAD) * ld), __builtin_prefetch(x + (p + AHEAD) * ld + 16);
      memcpy(y + p * PANEL, x + p * ld, PANEL * sizeof *y);
    }
    return;
  }
  const int64_t whole = turned ? cols / 8 * 8 : 0, even = turned ? k / 8 * 8 : 0;
  for (int64_t j = 0; j < whole; j += 8)
    for (int64_t p = 0; p < even; p += 8) turn8(x + j * ld + p, ld, y + p * PANEL + j, PANEL);
  for (int64_t p = 0; p < k; p++) {
    for (int64_t j = p < even ? whole : 0; j < cols; j++) y[p * PANEL + j] = turned ? x[j * ld + p] : x[p * ld + j];
    for (int64_t j = cols; j < PANEL; j++) y[p * PANEL + j] = 0;
  }
}

/* Strips of ROWS columns of x (k, ld): strip s is y + s * k * ROWS, (k, its columns). Row by row, as memory lies; rows
 * that are far apart are asked for in time. */
static void copy_strips(int64_t k, int64_t cols, const float *x, int64_t ld, float *y) {
  const int64_t whole = cols / ROWS * ROWS, rest = cols - whole;
  for (int64_t p = 0; p < k; p++) {
    const float *row = x + p * ld;
    for (int64_t j = 0; j < cols && p + AHEAD < k; j += 16) __builtin_prefetch(row + AHEAD * ld + j);
    for (int64_t s = 0; s < whole; s += ROWS) memcpy(y + s * k + p * ROWS, row + s, ROWS * sizeof *y);
    for (int64_t j = 0; j < rest; j++) y[whole * k + p * rest + j] = row[whole + j];
  }
}

/* ---- a run of k, some columns ---- */

typedef struct block {
  const dl_product *p;
  int64_t column, columns, start, run; /* of C; of k */
  const float *panels;
  float *strips;
} block;

/* Steps [*from, *to) of the run that the part asks of rows [row, row + rows). */
static void steps_of(const block *b, int64_t row, int64_t rows, int64_t *from, int64_t *to) {
  *from = 0;
  *to = b->run;
  if (b->p->part == DL_GEMM_A_LOWER) *to = least(b->run, row + rows - b->start);
  if (b->p->part == DL_GEMM_A_UPPER && row > b->start) *from = least(b->run, row - b->start);
  if (*to < *from) *to = *from;
}

/* Rows [row, row + tall) times one panel; A(r, p) of the block's rows as tile_fn takes it. */
static void multiply_panel(const block *b, int64_t row, int64_t tall, int64_t j) {
  const dl_product *p = b->p;
  const bool copied = b->strips;
  place at = {.ld = p->ldc,
              .cols = least(PANEL, b->columns - j),
              .alpha = p->alpha,
              .adds = b->start > 0,
              .bias = p->bias ? p->bias + b->column + j : NULL};
  for (int64_t i = row; i < row + tall; i += ROWS) {
    const int64_t rows = least(ROWS, row + tall - i), ld = copied ? rows : p->lda;
    int64_t from, to;
    steps_of(b, i, rows, &from, &to);
    if (p->part == DL_GEMM_C_LOWER && b->column + j >= i + rows) continue;
    if (from == to && at.adds) continue;
    const float *a = copied       ? b->strips + (i - row) * b->run
                     : p->trans_a ? p->a + b->start * ld + i
                                  : p->a + i * ld + b->start;
    at.c = p->c + i * p->ldc + b->column + j;
    tiles[p->trans_a][rows](to - from, a + from * (p->trans_a ? ld : 1), ld, b->panels + j * b->run + from * PANEL,
                            &at);
  }
}

static void multiply_block(const block *b) {
  const dl_product *p = b->p;
  for (int64_t row = 0; row < p->m; row += TALL) {
    const int64_t tall = least(TALL, p->m - row);
    if (b->strips) copy_strips(b->run, tall, p->a + b->start * p->lda + row, p->lda, b->strips);
    for (int64_t j = 0; j < b->columns; j += PANEL) multiply_panel(b, row, tall, j);
  }
}

static void product(const dl_product *p, float *room) {
  for (int64_t column = 0; column < p->n; column += DL_GEMM_WIDE)
    for (int64_t start = 0; start < p->k; start += DL_GEMM_RUN) {
      const block b = {.p = p,
                       .column = column,
                       .columns = least(DL_GEMM_WIDE, p->n - column),
                       .start = start,
                       .run = least(DL_GEMM_RUN, p->k - start),
                       .panels = room,
                       .strips = p->trans_a && p->n > PANEL ? room + DL_GEMM_RUN * DL_GEMM_WIDE : NULL};
      for (int64_t j = 0; j < b.columns; j += PANEL) {
        const int64_t first = column + j;
        copy_panel(p->trans_b, b.run, least(PANEL, b.columns - j),
                   p->trans_b ? p->b + first * p->ldb + start : p->b + start * p->ldb + first, p->ldb,
                   room + j * b.run);
      }
      multiply_block(&b);
    }
}
#define PRODUCT product
#else
#define PRODUCT NULL
#endif

extern const dl_gemm_kernels DL_ISA_NAME(dl_gemm_kernel_table);
const dl_gemm_kernels DL_ISA_NAME(dl_gemm_kernel_table) = {.product = PRODUCT};

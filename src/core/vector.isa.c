/* vector.isa.c - sums of float buffers: plain loops, one compilation an instruction set. */
#include "core/vector.h"

#include <stdint.h>
#include <string.h>

#include "core/isa.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define SEND(out, x) _mm512_stream_ps(out, _mm512_loadu_ps(x))
#elif defined(__AVX__)
#include <immintrin.h>
#define SEND(out, x) (_mm256_stream_ps(out, _mm256_loadu_ps(x)), _mm256_stream_ps((out) + 8, _mm256_loadu_ps((x) + 8)))
#endif

static void add(float *restrict into, const float *restrict x, size_t n) {
  for (size_t i = 0; i < n; i++) into[i] += x[i];
}

static void sum2(float *restrict out, const float *restrict a, const float *restrict b, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void add_scaled(float *restrict into, const float *restrict x, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) into[i] = (into[i] + x[i]) * factor;
}

static void sum2_scaled(float *restrict out, const float *restrict a, const float *restrict b, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = (a[i] + b[i]) * factor;
}

static void scale(float *x, float factor, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] *= factor;
}

static void send(float *restrict out, const float *restrict x, size_t n) {
#ifdef SEND
  enum { LINE = 16 };
  size_t head = (LINE - (uintptr_t)out / sizeof *out % LINE) % LINE;
  if (head > n) head = n;
  memcpy(out, x, head * sizeof *out);
  size_t i = head;
  for (; i + LINE <= n; i += LINE) SEND(out + i, x + i);
  memcpy(out + i, x + i, (n - i) * sizeof *out);
  _mm_sfence();
#else
  memcpy(out, x, n * sizeof *out);
#endif
}

/* Vectors written as such, as compilers would keep arrays of lanes in memory. */
#if defined __AVX512F__
#define WORDS 16
#elif defined __AVX2__ && defined __FMA__
#define WORDS 8
#else
#define WORDS 4
#endif
typedef uint32_t words __attribute__((vector_size(4 * WORDS)));
typedef uint64_t pairs __attribute__((vector_size(4 * WORDS)));
typedef double doubles __attribute__((vector_size(4 * WORDS)));

/* ---- squares ---- */

/* The square of a float is exact in float64, so a fused multiply-add gives the same bits as a product and a sum, and
 * only the order of additions matters: element i goes to lane i % 32, so that additions that wait for each other are
 * few. */
#define SUMS 32
#define WIDE (WORDS / 2)
typedef struct squares { /* of 4 * WIDE lanes */
  doubles a, b, c, d;
} squares;

/* sum + x[0 .. WIDE) squared. gcc 12 converts a vector of floats in two halves where it is not told how. */
static inline doubles plus_square(doubles sum, const float *x) {
#if WORDS == 16
  const doubles wide = _mm512_cvtps_pd(_mm256_loadu_ps(x));
  return _mm512_fmadd_pd(wide, wide, sum);
#elif WORDS == 8
  const doubles wide = _mm256_cvtps_pd(_mm_loadu_ps(x));
  return _mm256_fmadd_pd(wide, wide, sum);
#else
  const doubles wide = {x[0], x[1]};
  return sum + wide * wide;
#endif
}

static inline void add_squares(squares *s, const float *x) {
  s->a = plus_square(s->a, x);
  s->b = plus_square(s->b, x + WIDE);
  s->c = plus_square(s->c, x + 2 * WIDE);
  s->d = plus_square(s->d, x + 3 * WIDE);
}

/* Elements [0, whole), a multiple of 32: as many lanes at a time as stay in registers. */
static inline void sum_rows(double lane[SUMS], const float *x, size_t whole) {
  for (size_t c = 0; c < SUMS; c += 4 * WIDE) {
    squares s = {{0}, {0}, {0}, {0}};
    for (size_t i = 0; i < whole; i += SUMS) add_squares(&s, x + i + c);
    memcpy(lane + c, &s, sizeof s);
  }
}

/* Elements [i, n), and the lanes together: the upper half to the lower one until one is left. */
static inline double end_sumsq(double lane[SUMS], const float *x, size_t i, size_t n) {
  for (; i < n; i++) lane[i % SUMS] += (double)x[i] * (double)x[i];
  for (size_t j = 0; j < 16; j++) lane[j] += lane[j + 16];
  for (size_t j = 0; j < 8; j++) lane[j] += lane[j + 8];
  for (size_t j = 0; j < 4; j++) lane[j] += lane[j + 4];
  return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

static double sumsq(const float *x, size_t n) {
  double lane[SUMS];
  const size_t whole = n / SUMS * SUMS;
  sum_rows(lane, x, whole);
  return end_sumsq(lane, x, whole, n);
}

/* ---- the hash ---- */

/* Word i goes to lane i % 64. A lane keeps two sums of its words: a plain one, and one that is turned by 7 bits before
 * each addition. The second sees words that change places, and high bits that change in pairs and cancel in the first;
 * both together tell every single bit of a block from every other. A word that changes alone always changes its sums,
 * and the hash, as factors are odd. Written in vectors, as compilers would keep arrays in memory here. */
#define LANES 64
typedef struct lanes { /* of one vector */
  words sum, turned;
} lanes;

/* Odd factors without pattern: the finaliser of splitmix64. Those of even and of odd lanes stand apart, as a vector of
 * words is weighed as two of 64 bits. */
#define MIX(z, shift, factor) (((z) ^ ((z) >> (shift))) * (factor))
#define FACTOR(j) (MIX(MIX((j + 1) * 0x9e3779b97f4a7c15u, 30, 0xbf58476d1ce4e5b9u), 27, 0x94d049bb133111ebu) | 1)
#define FACTORS(j) FACTOR(j##u), FACTOR(j##u + 2), FACTOR(j##u + 4), FACTOR(j##u + 6)
static const uint64_t even_factors[LANES / 2] = {FACTORS(0),  FACTORS(8),  FACTORS(16), FACTORS(24),
                                                 FACTORS(32), FACTORS(40), FACTORS(48), FACTORS(56)};
static const uint64_t odd_factors[LANES / 2] = {FACTORS(1),  FACTORS(9),  FACTORS(17), FACTORS(25),
                                                FACTORS(33), FACTORS(41), FACTORS(49), FACTORS(57)};

static inline void add_words(lanes *l, const float *x) {
  words word;
  memcpy(&word, x, sizeof word);
  l->sum += word;
  l->turned = (l->turned << 7 | l->turned >> 25) + word;
}

/* (sum + 2^32 turned) times its factor, of lanes `first` on: nothing leaves registers. */
static inline pairs weigh(lanes l, size_t first) {
  const uint64_t low = 0xffffffffu;
  const pairs sum = (pairs)l.sum, turned = (pairs)l.turned;
  pairs even, odd;
  memcpy(&even, even_factors + first / 2, sizeof even);
  memcpy(&odd, odd_factors + first / 2, sizeof odd);
  return ((sum & low) | turned << 32) * even + (sum >> 32 | (turned & ~low)) * odd;
}

static inline uint64_t finish(pairs total, size_t n) {
  uint64_t hash = n;
  for (size_t i = 0; i < WORDS / 2; i++) hash += total[i];
  hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

/* Where all lanes fit into registers they are added row by row, and the squares of `y`, unless `lane` is NULL, with
 * them; else vector by vector. */
static inline __attribute__((always_inline)) uint64_t checksum_with(const float *x, size_t n, const float *y,
                                                                    double *lane) {
  const size_t whole = n / LANES * LANES;
  float rest[LANES] = {0};
  if (n > whole) memcpy(rest, x + whole, (n - whole) * sizeof *x);
#if WORDS == 16
  lanes a = {{0}, {0}}, b = a, c = a, d = a;
  squares s = {{0}, {0}, {0}, {0}};
  for (size_t i = 0; i < n; i += LANES) {
    const float *row = i < whole ? x + i : rest;
    add_words(&a, row);
    add_words(&b, row + 16);
    add_words(&c, row + 32);
    add_words(&d, row + 48);
    for (size_t k = i; lane && i < whole && k < i + LANES; k += SUMS) add_squares(&s, y + k);
  }
  if (lane) memcpy(lane, &s, sizeof s);
  const pairs total = weigh(a, 0) + weigh(b, 16) + weigh(c, 32) + weigh(d, 48);
#else
  pairs total = {0};
  for (size_t c = 0; c < LANES; c += WORDS) {
    lanes l = {{0}, {0}};
    for (size_t i = 0; i < whole; i += LANES) add_words(&l, x + i + c);
    if (n > whole) add_words(&l, rest + c);
    total += weigh(l, c);
  }
  if (lane) sum_rows(lane, y, whole);
#endif
  return finish(total, n);
}

static uint64_t checksum(const float *x, size_t n) { return checksum_with(x, n, NULL, NULL); }

static double sumsq_checksum(const float *x, const float *y, size_t n, uint64_t *hash) {
  double lane[SUMS];
  *hash = checksum_with(y, n, x, lane);
  return end_sumsq(lane, x, n / LANES * LANES, n);
}

extern const dl_vector_ops DL_ISA_NAME(dl_vector_table);
const dl_vector_ops DL_ISA_NAME(dl_vector_table) = {.add = add,
                                                    .sum2 = sum2,
                                                    .add_scaled = add_scaled,
                                                    .sum2_scaled = sum2_scaled,
                                                    .scale = scale,
                                                    .send = send,
                                                    .sumsq = sumsq,
                                                    .checksum = checksum,
                                                    .sumsq_checksum = sumsq_checksum};

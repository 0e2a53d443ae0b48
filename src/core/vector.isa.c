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

/* The square of a float is exact in float64, so only the order of additions matters: element i goes to lane i % 8. */
static double sumsq(const float *x, size_t n) {
  double lane[8] = {0};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; j++) lane[j] += (double)x[i + (size_t)j] * (double)x[i + (size_t)j];
  for (int j = 0; i < n; i++, j++) lane[j] += (double)x[i] * (double)x[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Word i goes to lane i % 64. A lane keeps two sums of its words: a plain one, and one that is turned by 7 bits before
 * each addition. The second sees words that change places, and high bits that change in pairs and cancel in the first;
 * both together tell every single bit of a block from every other. A word that changes alone always changes its sums,
 * and the hash, as factors are odd. Written in vectors, as compilers would keep arrays in memory here. */
#define LANES 64
#if defined __AVX512F__
#define WORDS 16
#elif defined __AVX2__
#define WORDS 8
#else
#define WORDS 4
#endif
/* Odd factors without pattern: the finaliser of splitmix64. */
#define MIX(z, shift, factor) (((z) ^ ((z) >> (shift))) * (factor))
#define FACTOR(j) (MIX(MIX((j + 1) * 0x9e3779b97f4a7c15u, 30, 0xbf58476d1ce4e5b9u), 27, 0x94d049bb133111ebu) | 1)
#define FACTORS(j) FACTOR(j##u), FACTOR(j##u + 1), FACTOR(j##u + 2), FACTOR(j##u + 3)
static const uint64_t factors[LANES] = {FACTORS(0),  FACTORS(4),  FACTORS(8),  FACTORS(12), FACTORS(16), FACTORS(20),
                                        FACTORS(24), FACTORS(28), FACTORS(32), FACTORS(36), FACTORS(40), FACTORS(44),
                                        FACTORS(48), FACTORS(52), FACTORS(56), FACTORS(60)};
typedef uint32_t words __attribute__((vector_size(4 * WORDS)));

static inline void add_words(words *sum, words *turned, const float *x) {
  words word;
  memcpy(&word, x, sizeof word);
  *sum += word;
  *turned = (*turned << 7 | *turned >> 25) + word;
}

static uint64_t checksum(const float *x, size_t n) {
  const size_t whole = n / LANES * LANES;
  float rest[LANES] = {0};
  uint32_t sums[LANES], turned_sums[LANES];
  if (n > whole) memcpy(rest, x + whole, (n - whole) * sizeof *x);
  for (size_t c = 0; c < LANES; c += WORDS) {
    words sum = {0}, turned = {0};
    for (size_t i = 0; i < whole; i += LANES) add_words(&sum, &turned, x + i + c);
    if (n > whole) add_words(&sum, &turned, rest + c);
    memcpy(sums + c, &sum, sizeof sum);
    memcpy(turned_sums + c, &turned, sizeof turned);
  }
  uint64_t hash = n;
  for (size_t j = 0; j < LANES; j++) hash += (sums[j] | (uint64_t)turned_sums[j] << 32) * factors[j];
  hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

extern const dl_vector_ops DL_ISA_NAME(dl_vector_table);
const dl_vector_ops DL_ISA_NAME(dl_vector_table) = {.add = add,
                                                    .sum2 = sum2,
                                                    .add_scaled = add_scaled,
                                                    .sum2_scaled = sum2_scaled,
                                                    .scale = scale,
                                                    .send = send,
                                                    .sumsq = sumsq,
                                                    .checksum = checksum};

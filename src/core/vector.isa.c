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

extern const dl_vector_ops DL_ISA_NAME(dl_vector_table);
const dl_vector_ops DL_ISA_NAME(dl_vector_table) = {
    .add = add, .sum2 = sum2, .scale = scale, .send = send, .sumsq = sumsq};

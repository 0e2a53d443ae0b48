/* kernels_vec.h - vectors of LANES floats, where the instruction set has fused multiply-adds (floor: nn, private to
 * *.isa.c). DL_HAS_VEC says whether it has.
 */
#ifndef DL_NN_KERNELS_VEC_H
#define DL_NN_KERNELS_VEC_H

#if defined(__AVX512F__)
#define DL_HAS_VEC 1
#include <immintrin.h>
enum { LANES = 16 };
typedef __m512 vec;
#define DL_VEC(name) _mm512_##name
#elif defined(__AVX2__) && defined(__FMA__)
#define DL_HAS_VEC 1
#include <immintrin.h>
enum { LANES = 8 };
typedef __m256 vec;
#define DL_VEC(name) _mm256_##name
#else
#define DL_HAS_VEC 0
#endif

#if DL_HAS_VEC
static inline vec zeros(void) { return DL_VEC(setzero_ps)(); }
static inline vec load(const float *x) { return DL_VEC(loadu_ps)(x); }
static inline vec spread(float x) { return DL_VEC(set1_ps)(x); }
static inline void store(float *x, vec v) { DL_VEC(storeu_ps)(x, v); }
static inline vec fused(vec a, vec b, vec c) { return DL_VEC(fmadd_ps)(a, b, c); }
static inline vec times(vec a, vec b) { return DL_VEC(mul_ps)(a, b); }
static inline vec plus(vec a, vec b) { return DL_VEC(add_ps)(a, b); }
#endif

#endif

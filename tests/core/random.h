/* random.h - random numbers for the tests of core (SplitMix64): a source that is not the one under test. */
#ifndef DL_TEST_RANDOM_H
#define DL_TEST_RANDOM_H

#include <stdint.h>

static inline uint64_t random_word(uint64_t *state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline int64_t random_below(uint64_t *state, int64_t n) { return (int64_t)(random_word(state) % (uint64_t)n); }

/* Between -1 and 1, with all the bits of a float in use. */
static inline float random_float(uint64_t *state) { return (float)(int32_t)random_word(state) * 0x1p-31f; }

#endif

/* rng.h - counter-based random numbers: Philox4x32-10 (floor: core).
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A number is a pure function of
 * (seed, purpose, layer, time, sample, element): no state is carried, so nothing depends on who computes, in which
 * order.
 */
#ifndef DL_CORE_RNG_H
#define DL_CORE_RNG_H

#include <stdint.h>

#define DL_RNG_VERSION 1 /* kept in the fingerprint: a change of any mapping below raises it */

typedef enum dl_rng_purpose {
  DL_RNG_INIT = 1,
  DL_RNG_DROPOUT,
  DL_RNG_SHUFFLE,
  DL_RNG_SPLIT,
  DL_RNG_AUGMENT,
  DL_RNG_SAMPLE,
  DL_RNG_GUARD,
} dl_rng_purpose;

typedef struct dl_rng_key {
  uint32_t k[2];
} dl_rng_key;

/* The raw function: 10 rounds. */
void dl_philox(const uint32_t counter[4], dl_rng_key key, uint32_t out[4]);

/* The stream of one purpose and layer (0 where there is none). */
dl_rng_key dl_rng_stream(uint64_t seed, dl_rng_purpose purpose, uint32_t layer);

/* Four 32-bit words: elements 4*block .. 4*block+3 of `sample` at `time` (an epoch or a step). */
void dl_rng_block(dl_rng_key key, uint32_t time, uint64_t sample, uint32_t block, uint32_t out[4]);

/* One word, and as a float in [0, 1) with 24 bits. */
uint32_t dl_rng_word(dl_rng_key key, uint32_t time, uint64_t sample, uint64_t element);
static inline float dl_rng_to_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }

/* Standard normal by Box and Muller in float64 from elements 2e and 2e+1. */
double dl_rng_normal(dl_rng_key key, uint32_t time, uint64_t sample, uint64_t element);

/* A random permutation of 0..n-1, addressable: the place of `index`, by a Feistel network over a rectangle with cycle
 * walking (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). n >= 1. About 0.1 us. */
uint64_t dl_rng_permute(dl_rng_key key, uint32_t time, uint64_t n, uint64_t index);

#endif

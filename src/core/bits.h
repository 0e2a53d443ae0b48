/* bits.h - the bits of a float as a number, and back (floor: core). */
#ifndef DL_CORE_BITS_H
#define DL_CORE_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t dl_bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float dl_float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

#endif

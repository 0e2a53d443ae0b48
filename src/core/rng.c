/* rng.c - Philox4x32-10 and what is made of it. */
#include "core/rng.h"

#include <math.h>

void dl_philox(const uint32_t counter[4], dl_rng_key key, uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key.k[0], k1 = key.k[1];
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)p1;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

dl_rng_key dl_rng_stream(uint64_t seed, dl_rng_purpose purpose, uint32_t layer) {
  uint32_t out[4], counter[4] = {(uint32_t)purpose, layer, DL_RNG_VERSION, 0};
  dl_philox(counter, (dl_rng_key){{(uint32_t)seed, (uint32_t)(seed >> 32)}}, out);
  return (dl_rng_key){{out[0], out[1]}};
}

void dl_rng_block(dl_rng_key key, uint32_t time, uint64_t sample, uint32_t block, uint32_t out[4]) {
  uint32_t counter[4] = {block, (uint32_t)sample, (uint32_t)(sample >> 32), time};
  dl_philox(counter, key, out);
}

uint32_t dl_rng_word(dl_rng_key key, uint32_t time, uint64_t sample, uint64_t element) {
  uint32_t out[4];
  dl_rng_block(key, time, sample, (uint32_t)(element / 4), out);
  return out[element % 4];
}

double dl_rng_normal(dl_rng_key key, uint32_t time, uint64_t sample, uint64_t element) {
  uint32_t a = dl_rng_word(key, time, sample, 2 * element), b = dl_rng_word(key, time, sample, 2 * element + 1);
  double u = ((double)a + 1) * 0x1p-32; /* in (0, 1] */
  double v = (double)b * 0x1p-32;
  return sqrt(-2 * log(u)) * cos(6.283185307179586477 * v);
}

/* The domain is a rectangle a x b >= n with a, b about sqrt(n): x = l * b + r. A round replaces the halves by (r, l +
 * F(r)), the sides changing places; an even number of rounds, so that the sides stand as they stood. Eight rounds leave
 * the orders of a dozen samples visibly unequal (chi-square), sixteen do not. Values >= n walk on along their cycle. */
uint64_t dl_rng_permute(dl_rng_key key, uint32_t time, uint64_t n, uint64_t index) {
  uint64_t a = (uint64_t)sqrt((double)n);
  while (a * a < n) a++;
  uint64_t b = (n + a - 1) / a;
  uint64_t x = index;
  uint32_t rounds = n < 4096 ? 16 : 8;
  do {
    uint64_t left = x / b, right = x % b, left_size = a, right_size = b;
    for (uint32_t round = 0; round < rounds; round++) {
      uint32_t out[4];
      dl_rng_block(key, time, right, round, out);
      uint64_t f = (((uint64_t)out[0] << 32) | out[1]) % left_size;
      uint64_t mixed = left + f < left_size ? left + f : left + f - left_size;
      left = right;
      right = mixed;
      uint64_t size = left_size;
      left_size = right_size;
      right_size = size;
    }
    x = left * b + right;
  } while (x >= n);
  return x;
}

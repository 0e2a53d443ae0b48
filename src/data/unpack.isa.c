/* unpack.isa.c - see unpack.h. Integer sums over blocks: any order gives the same checksum. */
#include <string.h>

#include "data/unpack.h"

/* 360 words: the weighted sum of that many stays below 2^32. */
#define WORDS 360

static uint64_t fold(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* sum1 = w1 + w2 + ..., sum2 = the sum of sum1 after each word, both modulo 65535 with 65535 standing for it. A block
 * of n words adds n * sum1 and the words weighted n, n - 1 ... 1 to sum2. */
static uint32_t fletcher32(const void *data, size_t bytes) {
  const uint8_t *in = data;
  uint64_t sum1 = 0, sum2 = 0;
  for (size_t words = bytes / 2; words > 0;) {
    const uint32_t n = words < WORDS ? (uint32_t)words : WORDS;
    uint16_t word[WORDS];
    uint32_t plain = 0, weighted = 0;
    memcpy(word, in, 2 * (size_t)n);
    for (uint32_t i = 0; i < n; i++) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
      const uint32_t w = word[i];
#else
      const uint32_t w = (uint16_t)(word[i] >> 8 | word[i] << 8);
#endif
      plain += w;
      weighted += (n - i) * w;
    }
    sum2 = fold(sum2 + n * sum1 + weighted);
    sum1 = fold(sum1 + plain);
    in += 2 * (size_t)n;
    words -= n;
  }
  if (bytes % 2) {
    sum1 = fold(sum1 + ((uint64_t)*in << 8));
    sum2 = fold(sum2 + sum1);
  }
  return (uint32_t)(sum2 << 16 | sum1);
}

#define PLANES(width_)           \
  for (size_t i = 0; i < n; i++) \
    for (size_t b = 0; b < (width_); b++) out[i * (width_) + b] = in[b * n + i];

static void unshuffle(uint8_t *restrict out, const uint8_t *restrict in, size_t n, size_t width) {
  if (width == 2) {
    PLANES(2)
  } else if (width == 4) {
    PLANES(4)
  } else if (width == 8) {
    PLANES(8)
  } else {
    PLANES(width)
  }
}

const dl_unpack_table DL_ISA_NAME(dl_unpack_kernels) = {.fletcher32 = fletcher32, .unshuffle = unshuffle};

/* The lanes are the same for both forms, so that machines with and without the instruction understand each other. */
#include "comm/ps_crc.h"

#include <pthread.h>
#include <string.h>

#define LANES 4
#define POLYNOMIAL 0x82f63b78u /* Castagnoli, reflected */

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? POLYNOMIAL : 0);
    table[i] = value;
  }
}

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t bytes) {
  while (bytes--) crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
  return crc;
}

uint32_t dl_ps_crc_portable(const void *data, size_t bytes) {
  const unsigned char *p = data;
  uint32_t lane[LANES] = {~0u, ~0u, ~0u, ~0u};
  pthread_once(&once, make_table);
  for (; bytes >= 8 * LANES; bytes -= 8 * LANES)
    for (int k = 0; k < LANES; k++, p += 8) lane[k] = by_table(lane[k], p, 8);
  lane[0] = by_table(lane[0], p, bytes);
  unsigned char ends[4 * LANES];
  for (int k = 0; k < LANES; k++)
    for (int b = 0; b < 4; b++) ends[4 * k + b] = (unsigned char)(lane[k] >> 8 * b);
  return ~by_table(~0u, ends, sizeof ends);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(const unsigned char *p, size_t bytes) {
  uint64_t a = ~0u, b = ~0u, c = ~0u, d = ~0u;
  for (; bytes >= 8 * LANES; bytes -= 8 * LANES, p += 8 * LANES) {
    uint64_t word[LANES];
    memcpy(word, p, sizeof word);
    a = __builtin_ia32_crc32di(a, word[0]);
    b = __builtin_ia32_crc32di(b, word[1]);
    c = __builtin_ia32_crc32di(c, word[2]);
    d = __builtin_ia32_crc32di(d, word[3]);
  }
  for (; bytes; bytes--) a = __builtin_ia32_crc32qi((uint32_t)a, *p++);
  uint64_t crc = __builtin_ia32_crc32di(~0u, (a & 0xffffffffu) | b << 32);
  return ~(uint32_t)__builtin_ia32_crc32di(crc, (c & 0xffffffffu) | d << 32);
}

uint32_t dl_ps_crc(const void *data, size_t bytes) {
  return __builtin_cpu_supports("sse4.2") ? by_instruction(data, bytes) : dl_ps_crc_portable(data, bytes);
}
#else
uint32_t dl_ps_crc(const void *data, size_t bytes) { return dl_ps_crc_portable(data, bytes); }
#endif

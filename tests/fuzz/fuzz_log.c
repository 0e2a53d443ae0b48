/* fuzz_log.c - the log of pushes that a server finds when it begins. The first byte says whether checksums are made
 * right, so that what they guard is reached; then come the two bases, and what stands behind them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/ps_crc.h"
#include "comm/ps_log.h"
#include "fuzz_targets.h"

enum { BASE = 80, PLACE = 4096, FIRST = 2 * PLACE, HEAD = 256, BYTES_AT = 96, MOST = 1 << 16 };

static uint64_t number_at(const uint8_t *p, int bytes) {
  uint64_t x = 0;
  for (int b = 0; b < bytes; b++) x |= (uint64_t)p[b] << 8 * b;
  return x;
}

static void put_crc(uint8_t *to, const uint8_t *from, size_t n) {
  const uint32_t crc = dl_ps_crc(from, n);
  for (int b = 0; b < 4; b++) to[b] = (uint8_t)(crc >> 8 * b);
}

static void seal(uint8_t *file, size_t n) {
  for (int i = 0; i < 2; i++) put_crc(file + i * PLACE + BASE - 4, file + i * PLACE, BASE - 4);
  for (size_t at = FIRST; at + HEAD <= n;) {
    const uint64_t bytes = number_at(file + at + BYTES_AT, 8);
    if (bytes > n - at - HEAD) return;
    put_crc(file + at + HEAD - 8, file + at + HEAD, bytes);
    put_crc(file + at + HEAD - 4, file + at, HEAD - 4);
    at += HEAD + bytes;
  }
}

/* One more push goes behind those that were found, and all are found again. */
static void go_on(const char *path, dl_ps_log *log, int64_t n) {
  const dl_ps_log_base *base = dl_ps_log_base_of(log);
  float values[64] = {1};
  dl_ps_log_entry entry = {.at = base->step, .step = base->step, .samples = 1};
  if (base->end - base->begin > 64 || base->step == INT64_MAX) return;
  if (dl_ps_log_append(log, &entry, values) != DL_OK || dl_ps_log_open(path, false, &log) != DL_OK) abort();
  const dl_ps_log_entry *found = dl_ps_log_entries(log, &n);
  if (!n || found[n - 1].samples != 1 || (found[n - 1].bytes && dl_ps_log_values(log, &found[n - 1], values) != DL_OK))
    abort();
  dl_ps_log_close(&log);
}

void fuzz_ps_log(const uint8_t *bytes, size_t n) {
  if (n < 1 + 2 * BASE || n > MOST) return;
  const size_t tail = n - 1 - 2 * BASE, size = FIRST + tail;
  uint8_t *data = calloc(size, 1);
  dl_ps_log *log = NULL;
  if (!data) abort();
  memcpy(data, bytes + 1, BASE);
  memcpy(data + PLACE, bytes + 1 + BASE, BASE);
  memcpy(data + FIRST, bytes + 1 + 2 * BASE, tail);
  if (bytes[0] & 1) seal(data, size);
  fuzz_file file = fuzz_file_make(data, size);
  if (dl_ps_log_open(file.path, false, &log) == DL_OK) {
    int64_t found, torn;
    const dl_ps_log_entry *entry = dl_ps_log_entries(log, &found);
    for (int64_t i = 0; i < found; i++) {
      if (entry[i].bytes < 0 || entry[i].bytes > (int64_t)size || entry[i].bytes > (int64_t)tail) abort();
      if (dl_ps_log_values(log, &entry[i], data) != DL_OK) abort();
    }
    if (dl_ps_log_torn(log, &torn) < 0 || torn < 0) abort();
    if (dl_ps_log_base_of(log)) go_on(file.path, log, found);
    dl_ps_log_close(&log);
  }
  close(file.descriptor);
  free(data);
}

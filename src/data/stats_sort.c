/* stats_sort.c - ascending doubles: a radix sort of their keys by bytes from the lowest, bytes that are all alike left
 * out. A key is the double's bits with the sign turned so that unsigned order is numeric order. */
#include <string.h>

#include "data/stats_source.h"

uint64_t dl_stats_key(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits >> 63 ? ~bits : bits | 1ull << 63;
}

double dl_stats_of_key(uint64_t key) {
  double value;
  key = key >> 63 ? key & ~(1ull << 63) : ~key;
  memcpy(&value, &key, sizeof value);
  return value;
}

static uint64_t key_at(const double *values, int64_t i) {
  uint64_t key;
  memcpy(&key, &values[i], sizeof key);
  return key;
}

/* values and scratch hold keys here. */
static void scatter(const double *from, double *to, int64_t n, int shift, const int64_t *count) {
  int64_t place[256], sum = 0;
  for (int b = 0; b < 256; b++) {
    place[b] = sum;
    sum += count[b];
  }
  for (int64_t i = 0; i < n; i++) to[place[key_at(from, i) >> shift & 255]++] = from[i];
}

void dl_stats_sort(double *values, double *scratch, int64_t n) {
  int64_t count[8][256];
  memset(count, 0, sizeof count);
  for (int64_t i = 0; i < n; i++) {
    uint64_t key = dl_stats_key(values[i]);
    for (int b = 0; b < 8; b++) count[b][key >> 8 * b & 255]++;
    memcpy(&values[i], &key, sizeof key);
  }
  double *from = values, *to = scratch;
  for (int b = 0; b < 8; b++) {
    if (n == 0 || count[b][key_at(from, 0) >> 8 * b & 255] == n) continue;
    scatter(from, to, n, 8 * b, count[b]);
    double *swap = from;
    from = to;
    to = swap;
  }
  for (int64_t i = 0; i < n; i++) values[i] = dl_stats_of_key(key_at(from, i));
}

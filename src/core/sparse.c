/* Top-k by bisection: the k-th largest magnitude is found by counting how many are at least a candidate, magnitudes
 * being integers for that. A count is a pass of a few dozen instructions over a block in the first cache, and about a
 * dozen of them are enough, as the search ends where the count is right; no order of elements is moved. What is kept is
 * a set that the values alone define, whichever way the search went. */
#include "core/sparse.h"

#include <math.h>
#include <string.h>

#include "core/bits.h"
#include "core/isa.h"
#include "core/sparse_kernels.h"
#include "core/tree.h"

#define FIRST_STEP ((int64_t)1 << 23) /* a factor of two */

DL_ISA_DECLARE(dl_sparse_kernels, dl_sparse_table);

size_t dl_sparse_keep(double fraction, size_t n) {
  const double share = ceil(fraction * (double)n);
  return share < 1 ? 1 : share > (double)n ? n : (size_t)share;
}

/* ---- which are kept ---- */

/* Keys from *least on are kept, and the first `ties` of those that are *least - 1. */
typedef struct cut {
  int32_t least;
  size_t ties;
} cut;

static cut find_cut(const dl_sparse_kernels *k, const int32_t *key, size_t n, size_t keep, int32_t most) {
  int64_t low = 1, high = (int64_t)most + 1; /* at least `keep` are >= low, once it is known; fewer are >= high */
  size_t above = 0, counted;
  for (int64_t step = FIRST_STEP; high - step > low; step *= 2) { /* down from the largest, in growing steps */
    counted = k->count(key, n, (int32_t)(high - step));
    if (counted == keep) return (cut){(int32_t)(high - step), 0};
    if (counted > keep) {
      low = high - step;
      break;
    }
    high -= step;
    above = counted;
  }
  if (low == 1 && (most == 0 || k->count(key, n, 1) <= keep)) return (cut){1, 0}; /* all but zeros */
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    counted = k->count(key, n, (int32_t)middle);
    if (counted == keep) return (cut){(int32_t)middle, 0};
    if (counted > keep)
      low = middle;
    else
      high = middle, above = counted;
  }
  return (cut){(int32_t)high, keep - above}; /* high <= most: nobody else is >= low */
}

/* The first few of the elements that are equal to the last one kept stay, too. */
static void keep_ties(const cut *c, const float *all, float *x, float *residual, const int32_t *key, size_t n) {
  size_t left = c->ties;
  for (size_t i = 0; i < n && left; i++) {
    if (key[i] != c->least - 1) continue;
    x[i] = all[i];
    residual[i] = 0;
    left--;
  }
}

void dl_sparse_select(float *x, float *residual, size_t n, size_t keep, float scale) {
  const dl_sparse_kernels *k = DL_ISA_CHOOSE(dl_sparse_table);
  _Alignas(64) int32_t key[DL_BLOCK];
  float all[DL_BLOCK];
  const int32_t most = k->join(x, residual, scale, n, key);
  const cut c = find_cut(k, key, n, keep, most);
  if (c.ties) memcpy(all, x, n * sizeof *x);
  k->part(x, residual, key, n, c.least, 1 / scale);
  if (c.ties) keep_ties(&c, all, x, residual, key, n);
}

/* ---- as words ---- */

typedef enum form { PLACES, BITS, ALL } form;

static size_t words_of(form f, size_t n, size_t count) {
  return f == PLACES ? (count + 1) / 2 + count : f == BITS ? (n + 31) / 32 + count : n;
}

static form form_of(size_t n, size_t count) {
  form best = PLACES;
  for (form f = BITS; f <= ALL; f++)
    if (words_of(f, n, count) < words_of(best, n, count)) best = f;
  return best;
}

/* The places of elements that are not all zero bits. */
static size_t find_places(const float *x, size_t n, uint16_t *places) {
  size_t count = 0, i = 0;
  for (; i + 4 <= n; i += 4) { /* most fours are empty */
    uint64_t words[2];
    memcpy(words, x + i, sizeof words);
    if (!(words[0] | words[1])) continue;
    for (size_t j = i; j < i + 4; j++)
      if (dl_bits_of(x[j])) places[count++] = (uint16_t)j;
  }
  for (; i < n; i++)
    if (dl_bits_of(x[i])) places[count++] = (uint16_t)i;
  return count;
}

size_t dl_sparse_pack(uint32_t *out, const float *x, size_t n) {
  uint16_t places[DL_BLOCK];
  const size_t count = find_places(x, n, places);
  const form f = form_of(n, count);
  const size_t words = words_of(f, n, count), map = words - (f == ALL ? words : count);
  *out++ = (uint32_t)count;
  if (f == ALL) {
    memcpy(out, x, n * sizeof *x);
    return 1 + n;
  }
  memset(out, 0, map * sizeof *out);
  for (size_t i = 0; i < count; i++) {
    if (f == PLACES)
      out[i / 2] |= (uint32_t)places[i] << i % 2 * 16;
    else
      out[places[i] / 32] |= (uint32_t)1 << places[i] % 32;
    out[map + i] = dl_bits_of(x[places[i]]);
  }
  return 1 + words;
}

/* Places must rise and stay below n. */
static bool read_places(float *x, size_t n, const uint32_t *in, size_t count) {
  const uint32_t *values = in + (count + 1) / 2;
  size_t past = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t place = in[i / 2] >> i % 2 * 16 & 0xffff;
    if (place < past || place >= n) return false;
    x[place] = dl_float_of(values[i]);
    past = place + 1;
  }
  return true;
}

static bool read_bits(float *x, size_t n, const uint32_t *in, size_t count) {
  const uint32_t *values = in + (n + 31) / 32;
  size_t found = 0;
  for (size_t i = 0; i < (n + 31) / 32 * 32; i++) {
    if (!(in[i / 32] >> i % 32 & 1)) continue;
    if (i >= n || found == count) return false;
    x[i] = dl_float_of(values[found++]);
  }
  return found == count;
}

size_t dl_sparse_unpack(float *x, size_t n, const uint32_t *in, size_t words) {
  const size_t count = words ? *in : 0;
  if (!words || count > n) return 0;
  const form f = form_of(n, count);
  const size_t needed = words_of(f, n, count);
  if (needed > words - 1) return 0;
  if (f == ALL) {
    memcpy(x, in + 1, n * sizeof *x);
    return 1 + needed;
  }
  memset(x, 0, n * sizeof *x);
  const bool sound = f == PLACES ? read_places(x, n, in + 1, count) : read_bits(x, n, in + 1, count);
  return sound ? 1 + needed : 0;
}

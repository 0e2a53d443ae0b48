/* data_order.c - cutting valid off train.
 *
 * Who is cut depends on the seed and the number of samples alone. With labels each class gives its share: the floors of
 * n_valid * n_c / n, then one more where the remainder is largest (the lower class first among equals), so that the
 * total is exact. Within a class the samples are taken by an addressable permutation.
 */
#include <math.h>
#include <stdlib.h>

#include "core/mem.h"
#include "core/rng.h"
#include "data/data_set.h"

int64_t dl_valid_samples(double fraction, int64_t samples) { return (int64_t)floor(fraction * (double)samples); }

typedef struct share {
  int64_t class, taken, remainder;
} share;

static int by_remainder(const void *a, const void *b) {
  const share *x = a, *y = b;
  if (x->remainder != y->remainder) return x->remainder < y->remainder ? 1 : -1;
  return (x->class > y->class) - (x->class < y->class);
}
static int by_class(const void *a, const void *b) {
  const share *x = a, *y = b;
  return (x->class > y->class) - (x->class < y->class);
}

/* How many each class gives. counts has classes + 1 entries, the ends of the classes' runs. */
static void make_shares(const int64_t *ends, int64_t classes, int64_t samples, int64_t n_valid, share *shares) {
  int64_t left = n_valid;
  for (int64_t c = 0; c < classes; c++) {
    __extension__ __int128 product = (__int128)n_valid * (ends[c + 1] - ends[c]);
    shares[c] = (share){c, (int64_t)(product / samples), (int64_t)(product % samples)};
    left -= shares[c].taken;
  }
  qsort(shares, (size_t)classes, sizeof *shares, by_remainder);
  for (int64_t c = 0; c < classes && left > 0; c++, left--) shares[c].taken++;
  qsort(shares, (size_t)classes, sizeof *shares, by_class);
}

/* Marks `taken` of the `n` samples that `members` lists (NULL: 0 .. n - 1). */
static void mark(dl_rng_key key, int64_t class, int64_t n, int64_t taken, const int64_t *members, bool *chosen) {
  for (int64_t i = 0; i < taken; i++) {
    int64_t at = (int64_t)dl_rng_permute(key, (uint32_t) class, (uint64_t)n, (uint64_t)i);
    chosen[members ? members[at] : at] = true;
  }
}

/* Labels that are no class (loss.ignore_index) are cut like one more. */
static int64_t class_of(int32_t label, int64_t classes) { return label >= 0 && label < classes ? label : classes; }

static dl_status mark_by_class(dl_rng_key key, int64_t samples, int64_t n_valid, const int32_t *labels, int64_t classes,
                               bool *chosen) {
  const int64_t kinds = classes + 1;
  int64_t *ends = dl_calloc((size_t)kinds + 2, sizeof *ends), *members = dl_calloc((size_t)samples, sizeof *members);
  share *shares = dl_calloc((size_t)kinds, sizeof *shares);
  dl_status status = ends && members && shares ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) {
    int64_t *next = ends + 1; /* counting sort; afterwards class c is at ends[c] .. ends[c + 1] */
    for (int64_t i = 0; i < samples; i++) next[class_of(labels[i], classes) + 1]++;
    for (int64_t c = 0; c < kinds; c++) next[c + 1] += next[c];
    for (int64_t i = 0; i < samples; i++) members[next[class_of(labels[i], classes)]++] = i;
    make_shares(ends, kinds, samples, n_valid, shares);
    for (int64_t c = 0; c < kinds; c++) mark(key, c, ends[c + 1] - ends[c], shares[c].taken, members + ends[c], chosen);
  }
  free(ends);
  free(members);
  free(shares);
  return status;
}

dl_status dl_valid_cut(uint64_t seed, int64_t samples, int64_t n_valid, const int32_t *labels, int64_t classes,
                       int64_t *train, int64_t *valid) {
  dl_rng_key key = dl_rng_stream(seed, DL_RNG_SPLIT, 0);
  bool *chosen = dl_calloc((size_t)samples, sizeof *chosen);
  if (!chosen) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  if (labels)
    status = mark_by_class(key, samples, n_valid, labels, classes, chosen);
  else
    mark(key, 0, samples, n_valid, NULL, chosen);
  for (int64_t i = 0; i < samples && status == DL_OK; i++) *(chosen[i] ? valid++ : train++) = i;
  free(chosen);
  return status;
}

void dl_valid_tail(int64_t samples, int64_t n_valid, int64_t *train, int64_t *valid) {
  for (int64_t i = 0; i < samples; i++) *(i < samples - n_valid ? train++ : valid++) = i;
}

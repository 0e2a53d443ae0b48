/* split_rule.c - shares by largest remainder, rows by an addressable permutation. Equal remainders are decided by lot:
 * by the number of the class, a split of many small classes would be those of the first numbers. */
#include "data/split_rule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

typedef struct claim {
  int64_t class, remainder;
  uint32_t lot;
} claim;

static int by_remainder(const void *a, const void *b) {
  const claim *x = a, *y = b;
  if (x->remainder != y->remainder) return x->remainder < y->remainder ? 1 : -1;
  return x->lot != y->lot ? (x->lot > y->lot ? 1 : -1) : (x->class > y->class) - (x->class < y->class);
}

/* Cuts `wanted` of `all` rows from the classes in proportion. */
static void cut(const dl_split_rule *rule, dl_rng_key lots, int64_t all, int64_t wanted, claim *claims,
                int64_t *shares) {
  int64_t left = wanted;
  uint32_t word[4];
  for (int64_t c = 0; c < rule->classes && all; c++) {
    __extension__ __int128 product = (__int128)wanted * rule->members[c];
    shares[c] = (int64_t)(product / all);
    dl_rng_block(lots, 0, (uint64_t)c, 0, word);
    claims[c] = (claim){c, (int64_t)(product % all), word[0]};
    left -= shares[c];
  }
  qsort(claims, (size_t)rule->classes, sizeof *claims, by_remainder);
  for (int64_t i = 0; i < rule->classes && left > 0; i++, left--) shares[claims[i].class]++;
}

dl_status dl_split_rule_new(uint64_t seed, double test, double valid, int64_t classes, const int64_t *members,
                            dl_split_rule *out) {
  *out = (dl_split_rule){.key = dl_rng_stream(seed, DL_RNG_SPLIT, 1), .classes = classes};
  out->members = dl_calloc(4 * (size_t)classes, sizeof *members);
  claim *claims = dl_calloc((size_t)classes, sizeof *claims);
  if (!out->members || !claims) {
    free(claims);
    dl_split_rule_clear(out);
    return DL_ERR_NOMEM;
  }
  out->test = out->members + classes;
  out->valid = out->test + classes;
  out->seen = out->valid + classes;
  int64_t all = 0;
  for (int64_t c = 0; c < classes; c++) all += out->members[c] = members[c];
  const dl_rng_key lots = dl_rng_stream(seed, DL_RNG_SPLIT, 2);
  cut(out, lots, all, (int64_t)floor(test * (double)all), claims, out->test);
  cut(out, lots, all, (int64_t)floor(valid * (double)all), claims, out->valid);
  for (int64_t c = 0; c < classes; c++) /* rounding both up may ask for one too many */
    if (out->valid[c] > members[c] - out->test[c]) out->valid[c] = members[c] - out->test[c];
  free(claims);
  return DL_OK;
}

void dl_split_rule_clear(dl_split_rule *rule) {
  free(rule->members);
  *rule = (dl_split_rule){.classes = 0};
}

void dl_split_rule_begin(dl_split_rule *rule) {
  if (rule->classes) memset(rule->seen, 0, (size_t)rule->classes * sizeof *rule->seen);
}

dl_split_kind dl_split_rule_next(dl_split_rule *rule, int64_t class) {
  if (class < 0 || class >= rule->classes || rule->seen[class] >= rule->members[class]) return DL_SPLIT_TRAIN;
  if (!rule->test[class] && !rule->valid[class]) return DL_SPLIT_TRAIN;
  const int64_t place = (int64_t)dl_rng_permute(rule->key, (uint32_t) class, (uint64_t)rule->members[class],
                                                (uint64_t)rule->seen[class]++);
  return place < rule->test[class]                        ? DL_SPLIT_TEST
         : place < rule->test[class] + rule->valid[class] ? DL_SPLIT_VALID
                                                          : DL_SPLIT_TRAIN;
}

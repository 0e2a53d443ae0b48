/* split_rule.h - who of a stream of rows goes to which split, without a list of rows (floor: data, private).
 *
 * With fractions: of n rows floor(fraction * n) go to a split, of each class its share (the floors of it, then one more
 * where the remainder is largest, by lot among equals). Within a class of m rows the row with number k
 * goes by its place in a permutation keyed by (seed, class): the first places are test, the next ones valid.
 */
#ifndef DL_DATA_SPLIT_RULE_H
#define DL_DATA_SPLIT_RULE_H

#include "core/rng.h"
#include "data/data.h"

typedef struct dl_split_rule {
  dl_rng_key key;
  int64_t classes;
  int64_t *members, *test, *valid; /* of each class */
  int64_t *seen;
} dl_split_rule;

/* `members`: rows of each of `classes` classes; copied. */
dl_status dl_split_rule_new(uint64_t seed, double test, double valid, int64_t classes, const int64_t *members,
                            dl_split_rule *out);
void dl_split_rule_clear(dl_split_rule *rule);

/* The stream begins (again). */
void dl_split_rule_begin(dl_split_rule *rule);
/* The split of the next row, which is of `class`. */
dl_split_kind dl_split_rule_next(dl_split_rule *rule, int64_t class);

#endif

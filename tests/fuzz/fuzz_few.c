/* fuzz_few.c - a slice of which few elements are left, as a worker pushes it and a log keeps it: the first byte says
 * how many elements may be, whether the last tensor is learnt, and where in memory the others lie. What is taken has no
 * more elements than that, and is the same when it is written and read once more. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/ps_few.h"
#include "fuzz_targets.h"

enum { FLOATS = 1120, BLOCKS = 4 };

static size_t count_elements(const float *x, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += x[i] != 0; /* what is not a number is an element */
  return count;
}

static void check_taken(const float *values, const dl_param_group *group, const dl_block_ref *blocks,
                        const dl_ps_part *part, double fraction) {
  float again[FLOATS] = {0};
  uint32_t words[FLOATS + BLOCKS];
  for (int b = 0; b < BLOCKS; b++) {
    const double most = fmax(1, ceil(fraction * (double)blocks[b].n));
    const bool learnt = group->tensors[blocks[b].tensor].trainable;
    if (learnt && (double)count_elements(values + blocks[b].offset, blocks[b].n) > most) abort();
  }
  const size_t n = dl_ps_few_write(words, blocks, part, values);
  if (n > dl_ps_few_room(blocks, part) || n > FLOATS + BLOCKS) abort();
  if (!dl_ps_few_read(again, group, blocks, part, fraction, words, n * sizeof *words)) abort();
  if (memcmp(values, again, sizeof again) != 0) abort();
}

void fuzz_ps_few(const uint8_t *bytes, size_t n) {
  static const double fractions[] = {0.01, 0.1, 0.5, 1};
  if (!n) return;
  const dl_tensor tensors[] = {
      {.offset = 0, .count = 40, .dims = 1, .shape = {40}, .trainable = true},
      {.offset = 48, .count = 1025, .dims = 1, .shape = {1025}, .trainable = true},
      {.offset = 1088, .count = 20, .dims = 1, .shape = {20}, .trainable = bytes[0] & 1},
  };
  const dl_param_group group = {.count = FLOATS, .tensors = tensors, .n_tensors = 3};
  dl_block_ref blocks[BLOCKS];
  if (dl_group_blocks(&group) != BLOCKS) abort();
  dl_group_list_blocks(&group, blocks);
  const dl_ps_part part = {0, BLOCKS, 0, FLOATS};
  const size_t apart = bytes[0] >> 3 & 3, size = n - 1;
  uint8_t *exact = malloc(apart + size + !(apart + size)); /* a read beyond it is seen */
  float *values = calloc(FLOATS, sizeof *values);
  if (!exact || !values) abort();
  memcpy(exact + apart, bytes + 1, size);
  const double fraction = fractions[bytes[0] >> 1 & 3];
  if (dl_ps_few_read(values, &group, blocks, &part, fraction, exact + apart, size))
    check_taken(values, &group, blocks, &part, fraction);
  free(values);
  free(exact);
}

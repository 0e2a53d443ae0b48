/* A block is copied out before it is read: messages lie anywhere. */
#include "comm/ps_few.h"

#include <string.h>

#include "core/sparse.h"

size_t dl_ps_few_room(const dl_block_ref *blocks, const dl_ps_part *part) {
  size_t words = 0;
  for (int64_t b = part->first_block; b < part->end_block; b++) words += DL_SPARSE_WORDS(blocks[b].n);
  return words;
}

size_t dl_ps_few_write(uint32_t *out, const dl_block_ref *blocks, const dl_ps_part *part, const float *values) {
  size_t words = 0;
  for (int64_t b = part->first_block; b < part->end_block; b++)
    words += dl_sparse_pack(out + words, values + (blocks[b].offset - part->begin), blocks[b].n);
  return words;
}

bool dl_ps_few_read(float *out, const dl_param_group *group, const dl_block_ref *blocks, const dl_ps_part *part,
                    double fraction, const void *data, size_t bytes) {
  uint32_t words[DL_SPARSE_WORDS(DL_BLOCK)];
  const unsigned char *next = data;
  for (int64_t b = part->first_block; b < part->end_block; b++) {
    const dl_block_ref *block = &blocks[b];
    const size_t room = DL_SPARSE_WORDS(block->n) * sizeof *words, some = bytes < room ? bytes : room;
    if (some) memcpy(words, next, some);
    const size_t used = dl_sparse_unpack(out + (block->offset - part->begin), block->n, words, some / sizeof *words);
    const bool learnt = group->tensors[block->tensor].trainable;
    if (!used || words[0] > (learnt ? dl_sparse_keep(fraction, block->n) : block->n)) return false;
    next += used * sizeof *words;
    bytes -= used * sizeof *words;
  }
  return bytes == 0;
}

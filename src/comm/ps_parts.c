/* Blocks are taken until there is enough. Where that makes too many parts the size is doubled. */
#include "comm/ps_parts.h"

#include "core/mem.h"

static size_t place_of(const dl_param_group *group, const dl_block_ref *blocks, int64_t n_blocks, int64_t block) {
  return block < n_blocks ? blocks[block].offset : group->count;
}

dl_ps_part dl_ps_part_at(const dl_param_group *group, const dl_block_ref *blocks, int64_t n_blocks, int64_t first,
                         int64_t end, double bytes) {
  dl_ps_part part = {.first_block = first, .end_block = first, .begin = place_of(group, blocks, n_blocks, first)};
  for (part.end = part.begin; part.end_block < end && (double)(part.end - part.begin) * sizeof(float) < bytes;)
    part.end = place_of(group, blocks, n_blocks, ++part.end_block);
  return part;
}

dl_status dl_ps_parts_cut(const dl_param_group *group, const dl_block_ref *blocks, int64_t n_blocks, int64_t first,
                          int64_t end, double bytes, dl_ps_part **out, int *n) {
  dl_ps_part *parts = *out = dl_calloc(DL_PS_MOST_PARTS, sizeof *parts);
  if (!parts) return DL_ERR_NOMEM;
  for (int64_t block = end + 1; block != end; bytes *= 2) {
    block = first;
    *n = 0;
    do {
      parts[*n] = dl_ps_part_at(group, blocks, n_blocks, block, end, bytes);
      block = parts[*n].end_block;
    } while (++*n < DL_PS_MOST_PARTS && block < end);
  }
  return DL_OK;
}

/* Sums in fewer bytes than floats take. Where every node of the tree is rounded to 16 bits, or is a sum of leaves of
 * which few elements are left, nothing is lost on the way; so bits do not depend on which sums travel.
 *
 * Sixteen bits: floats by floats. Few elements: block by block (core/sparse.h), each behind the other, so a part is as
 * long as it has to be; a block takes one word more than its floats at most, and there are 16 floats of the buffer for
 * a block at least: 17 words for 16 floats hold every part at a place of its own. */
#include <string.h>

#include "comm/sync_nodes.h"
#include "core/sparse.h"

size_t dl_nodes_packed_bytes(const dl_sync *sync, size_t floats) {
  return sync->topk ? floats / 16 * 17 * sizeof(uint32_t) : floats * sizeof(uint16_t);
}

static size_t floats_of(const dl_sync *sync, dl_block_range part) {
  return dl_sync_block_offset(sync, part.end) - dl_sync_block_offset(sync, part.first);
}

static size_t pack_blocks(const dl_sync *sync, uint32_t *out, const float *from, dl_block_range part) {
  const size_t begin = sync->blocks[part.first].offset;
  size_t words = 0;
  for (int64_t b = part.first; b < part.end; b++)
    words += dl_sparse_pack(out + words, from + (sync->blocks[b].offset - begin), sync->blocks[b].n);
  return words * sizeof *out;
}

size_t dl_nodes_pack(const dl_sync *sync, void *out, const float *from, dl_block_range part) {
  if (sync->topk) return pack_blocks(sync, out, from, part);
  sync->half->pack(out, from, floats_of(sync, part));
  return floats_of(sync, part) * sizeof(uint16_t);
}

static bool unpack_blocks(const dl_sync *sync, float *to, const uint32_t *in, size_t words, dl_block_range part) {
  const size_t begin = sync->blocks[part.first].offset;
  size_t read = 0;
  for (int64_t b = part.first; b < part.end; b++) {
    const size_t some =
        dl_sparse_unpack(to + (sync->blocks[b].offset - begin), sync->blocks[b].n, in + read, words - read);
    if (!some) return false;
    read += some;
  }
  return read == words;
}

/* Front to back: what is not read yet is never overwritten. */
static void unpack_halves(const dl_sync *sync, float *to, const uint16_t *from, size_t floats) {
  for (size_t at = 0; at < floats; at += DL_BLOCK) {
    uint16_t some[DL_BLOCK];
    size_t n = floats - at < DL_BLOCK ? floats - at : DL_BLOCK;
    memcpy(some, from + at, n * sizeof *some);
    sync->half->unpack(to + at, some, n);
  }
}

dl_status dl_nodes_unpack(const dl_sync *sync, float *to, const void *in, size_t bytes, dl_block_range part, int node) {
  const size_t floats = floats_of(sync, part);
  bool sound = bytes == floats * sizeof(uint16_t);
  if (sync->topk)
    sound = bytes % sizeof(uint32_t) == 0 && unpack_blocks(sync, to, in, bytes / sizeof(uint32_t), part);
  else if (sound)
    unpack_halves(sync, to, in, floats);
  if (sound) return DL_OK;
  dl_fail(DL_ERR_SYSTEM, "%zu bytes from node %d are no gradients of %zu parameters", bytes, node, floats);
  return dl_hint("look at the memory of that machine and of this one, and at the network between them");
}

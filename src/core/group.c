/* group.c - blocks and slices of a parameter group. */
#include "core/group.h"

#include "core/tree.h"

int64_t dl_group_blocks(const dl_param_group *group) {
  int64_t blocks = 0;
  for (int t = 0; t < group->n_tensors; t++) blocks += (int64_t)((group->tensors[t].count + DL_BLOCK - 1) / DL_BLOCK);
  return blocks;
}

void dl_group_list_blocks(const dl_param_group *group, dl_block_ref *out) {
  for (int t = 0; t < group->n_tensors; t++) {
    const dl_tensor *tensor = &group->tensors[t];
    for (size_t at = 0; at < tensor->count; at += DL_BLOCK) {
      size_t left = tensor->count - at;
      *out++ = (dl_block_ref){t, (uint32_t)(left < DL_BLOCK ? left : DL_BLOCK), tensor->offset + at};
    }
  }
}

int64_t dl_group_block_at(const dl_block_ref *blocks, int64_t n, size_t offset) {
  int64_t first = 0;
  while (first < n) {
    int64_t middle = first + (n - first) / 2;
    if (blocks[middle].offset < offset)
      first = middle + 1;
    else
      n = middle;
  }
  return first;
}

/* The block in which element `slice * elements / slices` (padding not counted) lies. */
int64_t dl_group_slice_begin(const dl_param_group *group, int slice, int slices) {
  size_t elements = 0;
  for (int t = 0; t < group->n_tensors; t++) elements += group->tensors[t].count;
  if (slice >= slices) return dl_group_blocks(group);
  size_t goal = elements / (size_t)slices * (size_t)slice + elements % (size_t)slices * (size_t)slice / (size_t)slices;
  int64_t block = 0;
  for (int t = 0; t < group->n_tensors; t++) {
    size_t count = group->tensors[t].count;
    if (goal < count) return block + (int64_t)(goal / DL_BLOCK);
    goal -= count;
    block += (int64_t)((count + DL_BLOCK - 1) / DL_BLOCK);
  }
  return block;
}

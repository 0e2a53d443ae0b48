/* ps_parts.h - a slice in parts: what travels as one (floor: comm, private).
 *
 * Parts are runs of whole blocks, in order, of about as many bytes as a bucket has (sync.bucket_mb). Who knows the
 * layout and that size knows all of them, so a message names a part by its number alone.
 */
#ifndef DL_COMM_PS_PARTS_H
#define DL_COMM_PS_PARTS_H

#include "core/group.h"
#include "core/tree.h"

#define DL_PS_MOST_PARTS 1024 /* of a slice that workers outside a job push to */

typedef struct dl_ps_part {
  int64_t first_block, end_block;
  size_t begin, end; /* floats of the group; the gap before a tensor goes with it */
} dl_ps_part;

/* The part of `bytes` or a little more that begins with block `first`, and ends with block `end` - 1 at the latest.
 * `blocks` are all n_blocks of the group. */
dl_ps_part dl_ps_part_at(const dl_param_group *group, const dl_block_ref *blocks, int64_t n_blocks, int64_t first,
                         int64_t end, double bytes);

/* A slice, blocks `first` to `end` - 1, as one part or as `*n` of them, in order: one at least, DL_PS_MOST_PARTS at
 * most. The caller frees them. */
dl_status dl_ps_parts_cut(const dl_param_group *group, const dl_block_ref *blocks, int64_t n_blocks, int64_t first,
                          int64_t end, double bytes, dl_ps_part **out, int *n);

#endif

/* ps_few.h - parts of slices of which few elements are left (floor: comm, private).
 *
 * The blocks of a part as words (core/sparse.h), one after another and nothing between or behind them: as workers push
 * them with sync.compress: topk, and as a server's log keeps them.
 */
#ifndef DL_COMM_PS_FEW_H
#define DL_COMM_PS_FEW_H

#include "comm/ps_parts.h"

/* Words that a part takes at most. */
size_t dl_ps_few_room(const dl_block_ref *blocks, const dl_ps_part *part);
/* Writes the floats of a part, which `values` begins with; returns how many words that took. */
size_t dl_ps_few_write(uint32_t *out, const dl_block_ref *blocks, const dl_ps_part *part, const float *values);
/* Reads them into `out`, which may lie anywhere, as may `data`. False: that is no such part, or a block of a tensor
 * that is learnt has more elements than `fraction` of it; `out` may then be anything. Nothing beyond `bytes` is read.
 */
bool dl_ps_few_read(float *out, const dl_param_group *group, const dl_block_ref *blocks, const dl_ps_part *part,
                    double fraction, const void *data, size_t bytes);

#endif

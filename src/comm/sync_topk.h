/* sync_topk.h - top-k with error feedback, for the gradients of leaves (floor: comm).
 *
 * Of every block of a leaf's gradient the elements of the largest magnitudes go out, the others stay behind as the
 * leaf's residual and are added to its gradient in the next step (Stich, Cordonnier and Jaggi, "Sparsified SGD with
 * memory", 2018). It is leaves that are thinned, not what a member or a node has to send: so what goes out depends on
 * the configuration and the data alone, whoever computes a leaf and whatever is summed where.
 *
 * A residual belongs to a shard (a leaf's place in a whole batch): a shard that has no sample in a ragged batch keeps
 * its own. Residuals count as sums over a whole batch: in a batch of fewer samples they are scaled by its share, as
 * their effect on the mean would grow otherwise. Tensors that are not learnt by the optimizer are left as they are.
 *
 * Nothing here is collective.
 */
#ifndef DL_COMM_SYNC_TOPK_H
#define DL_COMM_SYNC_TOPK_H

#include "core/group.h"
#include "core/tree.h"

typedef struct dl_topk dl_topk;

typedef struct dl_topk_options {
  double fraction;                /* of each block that goes out, above 0 to 1; at least one element does */
  int64_t batch;                  /* samples of a whole batch; 0: residuals are never scaled */
  int64_t first_shard, end_shard; /* those whose residuals are kept here */
} dl_topk_options;

/* Residuals begin as 0. Borrows group and blocks (dl_group_list_blocks). Memory: dl_topk_bytes. */
dl_status dl_topk_new(const dl_param_group *group, const dl_block_ref *blocks, const dl_topk_options *options,
                      dl_topk **out);
void dl_topk_destroy(dl_topk **topk);
size_t dl_topk_bytes(const dl_topk *topk);

/* Thins the gradient of leaf `leaf` of a batch in its elements [from, end), which hold whole blocks; the residual of
 * its shard, which is one of these, changes. A place is thinned once a step. */
void dl_topk_leaf(dl_topk *topk, const dl_cut *cut, int64_t leaf, float *gradient, size_t from, size_t end);

/* The same for any sum of leaves, with the residual of the first shard. */
void dl_topk_sum(dl_topk *topk, const dl_cut *cut, float *sum, size_t from, size_t end);

/* The residual of a shard that is kept here: group->count floats, gaps 0. */
float *dl_topk_residual(dl_topk *topk, int64_t shard);

#endif

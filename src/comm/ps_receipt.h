/* ps_receipt.h - what a server gives for a push, to be shown to the first one (floor: comm, private).
 *
 * Where there are several servers a worker tells the first one that all have a unit. So that this can be believed,
 * every server answers a push with a number that nobody can make up, and the worker hands in what they make together.
 * It is worked out anew when it is looked at: nothing is kept, and what is said twice is as good as what is said once.
 */
#ifndef DL_COMM_PS_RECEIPT_H
#define DL_COMM_PS_RECEIPT_H

#include "comm/ps_private.h"

/* This server's for a unit of this life of the servers, > 0: 62 bits of a hash that begins with the servers' secret. */
dl_status dl_ps_receipt(const dl_ps *own, int64_t step, dl_tree_node node, uint64_t *out);
/* Whether `all` are the receipts of all servers, one laid over the other. Cost: a hash for each server. */
dl_status dl_ps_receipts_match(const dl_ps *own, int64_t step, dl_tree_node node, uint64_t all, bool *out);

#endif

/* The length of what is hashed is fixed, so that a hash over secret and text is a proof: there is nothing to extend. */
#include "comm/ps_receipt.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"

static dl_status receipt_of(const dl_ps *own, int server, int64_t step, dl_tree_node node, uint64_t *out) {
  const uint64_t numbers[] = {own->life,           own->job, (uint64_t)server, (uint64_t)step, (uint64_t)node.level,
                              (uint64_t)node.index};
  dl_sha256 *hash = NULL;
  dl_digest digest = {{0}};
  dl_status status = dl_sha256_new(&hash);
  if (status == DL_OK) status = dl_sha256_update(hash, own->serve->secret, sizeof own->serve->secret);
  if (status == DL_OK) status = dl_sha256_update(hash, numbers, sizeof numbers);
  if (status == DL_OK) status = dl_sha256_finish(hash, &digest);
  dl_sha256_destroy(&hash);
  DL_TRY(status);
  digest.hex[16] = 0;
  *out = strtoull(digest.hex, NULL, 16) >> 2 | 1; /* a frame has no negative numbers */
  return DL_OK;
}

dl_status dl_ps_receipt(const dl_ps *own, int64_t step, dl_tree_node node, uint64_t *out) {
  return receipt_of(own, own->server, step, node, out);
}

dl_status dl_ps_receipts_match(const dl_ps *own, int64_t step, dl_tree_node node, uint64_t all, bool *out) {
  uint64_t receipt;
  for (int s = 0; s < own->servers; s++) {
    DL_TRY(receipt_of(own, s, step, node, &receipt));
    all ^= receipt;
  }
  *out = all == 0;
  return DL_OK;
}

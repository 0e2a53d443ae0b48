/* One leaf of a step is computed by two members, and the bits of what they deliver are compared.
 *
 * Which leaf, and by whom, is a random number of (seed, step): all know it without a word. The second member computes
 * it before its own leaves, while its gradient buffers are free, and keeps hashes alone; the owner hashes the leaf as
 * backward left it, before it is compressed and added to others. Both hashes travel with the headers of the step, so
 * that everybody compares them and nothing wrong has been summed.
 *
 * Two results do not say who was wrong. Where the weights are whole every member then computes the leaf once more, and
 * the majority speaks: a fault that has passed shows by who no longer gets its own result. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/sync_common.h"
#include "core/rng.h"

struct dl_recompute {
  int64_t leaf; /* of this step, -1: none */
  int owner, second;
  uint64_t delivered, recomputed; /* this member's hashes of it, 0 where it is another's task */
  uint64_t *tensors[2];           /* n_tensors + 1: of each tensor and of the sums; as delivered, as recomputed */
  bool disputed, stopped;
  int64_t step;  /* of the dispute */
  uint64_t *now; /* for the settling: n_tensors + 1 */
  struct vote *votes;
};

/* What a member gets when it computes the disputed leaf once more. */
typedef struct vote {
  uint64_t hash;
  char host[64];
} vote;

static size_t parts_of(const dl_sync *sync) { return (size_t)sync->group->n_tensors + 1; }

static dl_status allocate(dl_sync *sync, dl_recompute *own) {
  const size_t parts = parts_of(sync), size = (size_t)sync->team->size;
  own->tensors[0] = dl_calloc(parts, sizeof(uint64_t));
  own->tensors[1] = dl_calloc(parts, sizeof(uint64_t));
  own->now = dl_calloc(parts, sizeof(uint64_t));
  own->votes = dl_calloc(size, sizeof(vote));
  own->leaf = -1;
  return own->tensors[0] && own->tensors[1] && own->now && own->votes ? DL_OK : DL_ERR_NOMEM;
}

dl_status dl_recompute_new(dl_sync *sync) {
  if (!sync->options.recompute_every) return DL_OK;
  sync->recompute = dl_calloc(1, sizeof *sync->recompute);
  return dl_team_agree(sync->team, sync->recompute ? allocate(sync, sync->recompute) : DL_ERR_NOMEM);
}

void dl_recompute_destroy(dl_sync *sync) {
  dl_recompute *own = sync->recompute;
  if (!own) return;
  void *const mine[] = {own->tensors[0], own->tensors[1], own->now, own->votes, own};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  sync->recompute = NULL;
}

void dl_sync_stop_recomputing(dl_sync *sync) {
  if (sync->recompute) sync->recompute->stopped = true;
}

/* ---- hashes of a leaf ---- */

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

/* Of every tensor that backward writes, block by block, and of the sums. Gaps and frozen tensors are left out. */
static void hash_leaf(const dl_sync *sync, const float *gradient, const double sums[DL_LEAF_SUMS], uint64_t *out) {
  float bits[2 * DL_LEAF_SUMS];
  memset(out, 0, parts_of(sync) * sizeof *out);
  for (int64_t b = 0; b < sync->n_blocks; b++) {
    const dl_block_ref *block = &sync->blocks[b];
    if (!dl_sync_trains(sync, block) && !dl_sync_runs(sync, block)) continue;
    out[block->tensor] = mix(out[block->tensor], dl_vector()->checksum(gradient + block->offset, block->n));
  }
  memcpy(bits, sums, sizeof bits);
  out[sync->group->n_tensors] = dl_vector()->checksum(bits, 2 * DL_LEAF_SUMS);
}

/* Never 0, which says that there is none. */
static uint64_t hash_parts(const dl_sync *sync, const uint64_t *parts) {
  uint64_t hash = 1;
  for (size_t i = 0; i < parts_of(sync); i++) hash = mix(hash, parts[i]);
  return hash ? hash : 1;
}

/* ---- a step ---- */

void dl_recompute_begin(dl_sync *sync) {
  dl_recompute *own = sync->recompute;
  const dl_team *team = sync->team;
  if (!own || own->disputed) return;
  own->leaf = -1;
  own->delivered = own->recomputed = 0;
  if (own->stopped || sync->step % sync->options.recompute_every) return;
  const dl_rng_key key = dl_rng_stream(sync->options.seed, DL_RNG_GUARD, 0);
  uint32_t word[4];
  dl_rng_block(key, (uint32_t)sync->step, 0, 0, word);
  own->leaf = (int64_t)(word[0] % (uint64_t)sync->cut.leaves);
  for (int r = 0; r < team->size; r++) {
    int64_t begin, end;
    dl_cut_rank_leaves(&sync->cut, r, team->size, &begin, &end);
    if (begin <= own->leaf && own->leaf < end) own->owner = r;
  }
  own->second = own->owner;
  if (team->size > 1) own->second = (own->owner + 1 + (int)(word[1] % (uint32_t)(team->size - 1))) % team->size;
}

int64_t dl_sync_recompute_leaf(const dl_sync *sync) {
  const dl_recompute *own = sync->recompute;
  return own && own->leaf >= 0 && own->second == sync->team->rank ? own->leaf : -1;
}

void dl_sync_leaf_recomputed(dl_sync *sync, const double sums[DL_LEAF_SUMS]) {
  dl_recompute *own = sync->recompute;
  hash_leaf(sync, dl_sync_gradients(sync), sums, own->tensors[1]);
  own->recomputed = hash_parts(sync, own->tensors[1]);
}

bool dl_recompute_is_leaf(const dl_sync *sync, int64_t leaf) {
  return sync->recompute && sync->recompute->leaf == leaf;
}

void dl_recompute_leaf_done(dl_sync *sync, int64_t leaf, const float *gradient, const double sums[DL_LEAF_SUMS]) {
  dl_recompute *own = sync->recompute;
  if (!dl_recompute_is_leaf(sync, leaf)) return;
  hash_leaf(sync, gradient, sums, own->tensors[0]);
  own->delivered = hash_parts(sync, own->tensors[0]);
}

void dl_recompute_write_header(const dl_sync *sync, dl_header *header) {
  const dl_recompute *own = sync->recompute;
  header->delivered = own ? own->delivered : 0;
  header->recomputed = own ? own->recomputed : 0;
}

dl_status dl_recompute_check(dl_sync *sync) {
  dl_recompute *own = sync->recompute;
  if (!own || own->leaf < 0) return DL_OK;
  const uint64_t delivered = dl_sync_header(sync, own->owner)->delivered,
                 recomputed = dl_sync_header(sync, own->second)->recomputed;
  if (delivered && delivered == recomputed) return DL_OK;
  own->disputed = delivered && recomputed;
  own->step = sync->step;
  return dl_fail(DL_ERR_TRAIN, "step %" PRId64 ": leaf %" PRId64 " of rank %d %s", sync->step, own->leaf, own->owner,
                 own->disputed ? "has another gradient when it is computed again" : "was not computed twice");
}

int64_t dl_sync_disputed(const dl_sync *sync) {
  const dl_recompute *own = sync->recompute;
  return own && own->disputed ? own->leaf : -1;
}

/* ---- who was wrong ---- */

static void name_difference(const dl_sync *sync, char *text, size_t size) {
  const dl_recompute *own = sync->recompute;
  int first = 0;
  while (first < sync->group->n_tensors && own->tensors[0][first] == own->tensors[1][first]) first++;
  if (first < sync->group->n_tensors)
    snprintf(text, size, "the gradient of %s", sync->group->tensors[first].name);
  else
    snprintf(text, size, "the loss");
}

static dl_status say_who(const dl_sync *sync) {
  const dl_recompute *own = sync->recompute;
  const uint64_t delivered = hash_parts(sync, own->tensors[0]), recomputed = hash_parts(sync, own->tensors[1]);
  const int size = sync->team->size;
  int for_owner = 0, for_second = 0;
  char what[128], verdict[192];
  for (int r = 0; r < size; r++) {
    for_owner += own->votes[r].hash == delivered;
    for_second += own->votes[r].hash == recomputed;
  }
  name_difference(sync, what, sizeof what);
  const int wrong = for_owner > for_second ? own->second : own->owner,
            votes = for_owner > for_second ? for_owner : for_second;
  if (for_owner == for_second)
    snprintf(verdict, sizeof verdict, "computed once more by all %d, neither is confirmed over the other", size);
  else
    snprintf(verdict, sizeof verdict, "rank %d on %s was wrong (%d of %d confirm the other when they compute it again)",
             wrong, own->votes[wrong].host, votes, size);
  dl_fail(DL_ERR_TRAIN,
          "step %" PRId64 ": leaf %" PRId64
          " as rank %d on %s delivered it differs in %s from what rank %d on %s "
          "computes: %s",
          own->step, own->leaf, own->owner, own->votes[own->owner].host, what, own->second,
          own->votes[own->second].host, verdict);
  return dl_hint("a processor or memory that computes wrongly: leave that machine out, and look at dmesg and mcelog");
}

dl_status dl_sync_settle_dispute(dl_sync *sync, const double sums[DL_LEAF_SUMS]) {
  dl_recompute *own = sync->recompute;
  if (!own || !own->disputed) return dl_fail(DL_ERR_INTERNAL, "there is no dispute to settle");
  DL_TRY(dl_audit_copies(sync)); /* other weights give other gradients: then memory is to blame */
  const size_t bytes = parts_of(sync) * sizeof(uint64_t);
  vote mine = {0};
  hash_leaf(sync, dl_sync_gradients(sync), sums, own->now);
  mine.hash = hash_parts(sync, own->now);
  memcpy(mine.host, sync->team->host, sizeof mine.host);
  DL_TRY(dl_team_allgather(sync->team, &mine, sizeof mine, own->votes));
  DL_TRY(dl_team_broadcast(sync->team, own->tensors[0], bytes, own->owner));
  DL_TRY(dl_team_broadcast(sync->team, own->tensors[1], bytes, own->second));
  return say_who(sync);
}

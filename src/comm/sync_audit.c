/* Weights against the hashes of who wrote them.
 *
 * The owner of a block keeps the hash of what it wrote last, in memory of its own. Every step writes all that is
 * learnt, so a change that nobody looked for before the next write would be lost in it, and stay in the weights: the
 * owner hashes a block before it writes as well, beside the sum of squares of its gradient: that is bound by turning
 * floats into doubles, and the hash fits in between. What it finds becomes everybody's failure at the next meeting.
 *
 * That is memory as the owner sees it. An audit compares every copy: the hashes go to all, the members who share a copy
 * divide its blocks, and the first block that differs anywhere is looked at by all.
 *
 * Copies on other nodes are written by messages. Between nodes the hashes travel with the blocks' sums of squares, so
 * that the members of a node can look at what the others wrote too, before it is overwritten. Elsewhere blocks that are
 * not learnt, and the copies of members that have one each, are seen by audits alone.
 *
 * Where the hash is known and a single bit has flipped, trying all bits of the block finds which. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/sync_common.h"

/* A block that is not what its owner wrote. */
typedef struct finding {
  int64_t block;    /* n_blocks: nothing found */
  int64_t step;     /* in which it was found */
  uint64_t hash;    /* of what is there now */
  int32_t bit;      /* of element `element` of the block; -1: more than one bit */
  uint32_t element; /* of the block */
  float was, is;
} finding;

/* A member's part in the second round of an audit. */
typedef struct report {
  finding at; /* the disputed block in this member's copy; block n_blocks: it is whole there */
  uint64_t hash;
  int32_t copy; /* the first member of those that share the copy */
  char host[64];
} report;

struct dl_audit {
  uint64_t *hashes; /* n_blocks; this member's are its own, the others' those of the last audit */
  int32_t *owner;   /* n_blocks: who writes it */
  int64_t *at;      /* size: a place in each one's hashes */
  int64_t widest;   /* most blocks of one owner */
  uint64_t *send, *gathered;
  report *reports;
  finding *first;             /* size: what each has found */
  finding pending;            /* this member's, before a write */
  const dl_block_ref *looked; /* that was looked at in advance; NULL: none */
  bool known;                 /* weights were set: hashes hold; 0 stands for none */
};

static finding nothing(const dl_sync *sync) { return (finding){.block = sync->n_blocks, .bit = -1}; }

static uint64_t hash_of(const dl_sync *sync, const dl_block_ref *block) {
  return dl_vector()->checksum(sync->weights + block->offset, block->n);
}

/* ---- life ---- */

static dl_status allocate(dl_sync *sync, dl_audit *audit) {
  const size_t size = (size_t)sync->team->size;
  audit->hashes = dl_calloc((size_t)sync->n_blocks, sizeof *audit->hashes);
  audit->owner = dl_calloc((size_t)sync->n_blocks, sizeof *audit->owner);
  audit->at = dl_calloc(size, sizeof *audit->at);
  audit->reports = dl_calloc(size, sizeof *audit->reports);
  audit->first = dl_calloc(size, sizeof *audit->first);
  audit->pending = nothing(sync);
  sync->member_bytes += (size_t)sync->n_blocks * (sizeof *audit->hashes + sizeof *audit->owner) +
                        size * (sizeof *audit->at + sizeof *audit->reports + sizeof *audit->first);
  return audit->hashes && audit->owner && audit->at && audit->reports && audit->first ? DL_OK : DL_ERR_NOMEM;
}

/* The blocks that this member writes: its slice, or its ranges. */
static int ranges_of(const dl_sync *sync, dl_block_range *slice, const dl_block_range **out) {
  *slice = (dl_block_range){sync->first_block, sync->end_block};
  *out = sync->ranges ? sync->ranges : slice;
  return sync->ranges ? sync->n_ranges : 1;
}

/* Every member says how many ranges it has, then which: all blocks have one owner. */
static dl_status learn_owners(dl_sync *sync, dl_audit *audit) {
  const dl_team *team = sync->team;
  const dl_block_range *mine;
  dl_block_range slice, *all = NULL, *padded = NULL;
  int n = ranges_of(sync, &slice, &mine), most = 0, *counts = dl_calloc((size_t)team->size, sizeof *counts);
  DL_TRY(dl_team_agree(sync->team, counts ? DL_OK : DL_ERR_NOMEM));
  dl_status status = dl_team_allgather(sync->team, &n, sizeof n, counts);
  for (int r = 0; r < team->size; r++) most = counts[r] > most ? counts[r] : most;
  if (status == DL_OK) {
    all = dl_calloc((size_t)most * (size_t)team->size, sizeof *all);
    padded = dl_calloc((size_t)most, sizeof *padded);
    status = dl_team_agree(sync->team, all && padded ? DL_OK : DL_ERR_NOMEM);
  }
  if (status == DL_OK) {
    memcpy(padded, mine, (size_t)n * sizeof *mine);
    status = dl_team_allgather(sync->team, padded, (size_t)most * sizeof *padded, all);
  }
  for (int r = 0; r < team->size && status == DL_OK; r++) {
    int64_t blocks = 0;
    for (int i = 0; i < counts[r]; i++) {
      const dl_block_range *range = &all[(size_t)r * (size_t)most + (size_t)i];
      for (int64_t b = range->first; b < range->end; b++, blocks++) audit->owner[b] = r;
    }
    if (blocks > audit->widest) audit->widest = blocks;
  }
  free(counts);
  free(all);
  free(padded);
  return status;
}

static dl_status make_room(dl_sync *sync, dl_audit *audit) {
  DL_TRY(learn_owners(sync, audit));
  sync->member_bytes += (size_t)audit->widest * (size_t)(sync->team->size + 1) * sizeof *audit->send;
  audit->send = dl_calloc((size_t)audit->widest + 1, sizeof *audit->send);
  audit->gathered = dl_calloc((size_t)audit->widest * (size_t)sync->team->size + 1, sizeof *audit->gathered);
  return dl_team_agree(sync->team, audit->send && audit->gathered ? DL_OK : DL_ERR_NOMEM);
}

dl_status dl_audit_new(dl_sync *sync) {
  if (!sync->options.audit_every) return DL_OK;
  sync->audit = dl_calloc(1, sizeof *sync->audit);
  dl_status status = sync->audit ? allocate(sync, sync->audit) : DL_ERR_NOMEM;
  DL_TRY(dl_team_agree(sync->team, status));
  return make_room(sync, sync->audit);
}

void dl_audit_destroy(dl_sync *sync) {
  dl_audit *audit = sync->audit;
  if (!audit) return;
  void *const mine[] = {audit->hashes,   audit->owner,   audit->at,    audit->send,
                        audit->gathered, audit->reports, audit->first, audit};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  sync->audit = NULL;
}

/* ---- what differs ---- */

/* Looks for the one bit that gives `hash` when it is turned back, on a copy of the block. Every trial hashes the block:
 * some milliseconds, on the way to an error. */
static void find_bit(const float *now, uint32_t n, uint64_t hash, finding *out) {
  float block[DL_BLOCK];
  memcpy(block, now, n * sizeof *now);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t word, turned;
    memcpy(&word, &now[i], sizeof word);
    for (int32_t bit = 0; bit < 32; bit++) {
      turned = word ^ (uint32_t)1 << bit;
      memcpy(&block[i], &turned, sizeof turned);
      if (dl_vector()->checksum(block, n) != hash) continue;
      out->element = i;
      out->bit = bit;
      out->was = block[i];
      out->is = now[i];
      return;
    }
    block[i] = now[i];
  }
}

static finding describe(const dl_sync *sync, int64_t number, uint64_t expected) {
  const dl_block_ref *block = &sync->blocks[number];
  finding out = {.block = number, .step = sync->step, .hash = hash_of(sync, block), .bit = -1};
  find_bit(sync->weights + block->offset, block->n, expected, &out);
  return out;
}

/* "layers.0.weight[3, 17] (bit 22: 0.5 became 2.1e+38)" or "layers.0.weight, elements 1024 to 2047 of 401408" */
static void name_place(const dl_sync *sync, const finding *f, char *text, size_t size) {
  const dl_block_ref *block = &sync->blocks[f->block];
  const dl_tensor *tensor = &sync->group->tensors[block->tensor];
  size_t first = block->offset - tensor->offset, left = first + f->element;
  if (f->bit < 0) {
    snprintf(text, size, "%s, elements %zu to %zu of %zu", tensor->name, first, first + block->n - 1, tensor->count);
    return;
  }
  size_t used = (size_t)snprintf(text, size, "%s[", tensor->name), stride = tensor->count;
  for (int d = 0; d < tensor->dims && used < size; d++) {
    stride /= (size_t)tensor->shape[d];
    used += (size_t)snprintf(text + used, size - used, "%s%zu", d ? ", " : "", stride ? left / stride : 0);
    left = stride ? left % stride : 0;
  }
  if (used < size)
    snprintf(text + used, size - used, "] (bit %d: %.9g became %.9g)", f->bit, (double)f->was, (double)f->is);
}

static dl_status hint(void) { return dl_hint("look at that machine's memory (dmesg, mcelog, memtest)"); }

/* ---- the owner's looks ---- */

/* The first finding stays. */
static void note_finding(dl_sync *sync, int64_t block, uint64_t hash, uint64_t expected) {
  finding *pending = &sync->audit->pending;
  if (hash != expected && pending->block == sync->n_blocks) *pending = describe(sync, block, expected);
}

static void look(dl_sync *sync, int64_t block, uint64_t expected) {
  note_finding(sync, block, hash_of(sync, &sync->blocks[block]), expected);
}

/* At what the owner wrote last, where that is known. */
static void look_before_write(dl_sync *sync, const dl_block_ref *block, uint64_t hash) {
  const int64_t number = block - sync->blocks;
  if (sync->audit->hashes[number]) note_finding(sync, number, hash, sync->audit->hashes[number]);
}

void dl_audit_before_write(dl_sync *sync, const dl_block_ref *block) {
  if (sync->audit && sync->audit->looked != block) look_before_write(sync, block, hash_of(sync, block));
}

double dl_audit_before_write_and_sumsq(dl_sync *sync, const dl_block_ref *block, const float *gradient) {
  if (!sync->audit) return dl_vector()->sumsq(gradient, block->n);
  uint64_t hash;
  const double sum = dl_vector()->sumsq_checksum(gradient, sync->weights + block->offset, block->n, &hash);
  look_before_write(sync, block, hash);
  sync->audit->looked = block;
  return sum;
}

void dl_audit_after_write(dl_sync *sync, const dl_block_ref *block) {
  const int64_t number = block - sync->blocks;
  if (!sync->audit) return;
  sync->audit->hashes[number] = hash_of(sync, block);
  sync->audit->looked = NULL;
  if (sync->block_hashes) sync->block_hashes[number] = sync->audit->hashes[number];
}

/* ---- what other nodes wrote ---- */

static bool is_foreign(const dl_sync *sync, int64_t block) {
  const dl_team *team = sync->team;
  const int owner = sync->audit->owner[block];
  return owner < team->node_first || owner >= team->node_first + team->node_size;
}

/* This member's share of the blocks of its copy. */
static dl_block_range share_of(const dl_sync *sync, int turn) {
  const int sharers = sync->copy_size > 0 ? sync->copy_size : 1;
  turn = (sync->copy_rank + turn) % sharers;
  return (dl_block_range){sync->n_blocks * turn / sharers, sync->n_blocks * (turn + 1) / sharers};
}

/* As they came: the next audit has the owners' word for it. */
static void hash_foreign(dl_sync *sync) {
  const dl_block_range share = share_of(sync, 0);
  for (int64_t b = share.first; b < share.end; b++)
    if (is_foreign(sync, b)) sync->block_hashes[b] = hash_of(sync, &sync->blocks[b]);
}

/* What is not learnt is sent with the rest: its owner has not looked at it by writing it. */
void dl_audit_before_exchange(dl_sync *sync) {
  const dl_block_range share = share_of(sync, 0);
  const dl_audit *audit = sync->audit;
  if (!audit || !sync->block_hashes || !audit->known) return;
  for (int64_t b = share.first; b < share.end; b++)
    if (is_foreign(sync, b)) look(sync, b, sync->block_hashes[b]);
  for (int i = 0; i < sync->n_ranges; i++)
    for (int64_t b = sync->ranges[i].first; b < sync->ranges[i].end; b++)
      if (!dl_sync_trains(sync, &sync->blocks[b]) && !dl_sync_runs(sync, &sync->blocks[b]))
        look(sync, b, audit->hashes[b]);
}

void dl_audit_rewritten(dl_sync *sync) {
  dl_audit *audit = sync->audit;
  if (!audit) return;
  memset(audit->hashes, 0, (size_t)sync->n_blocks * sizeof *audit->hashes);
  for (int64_t b = 0; b < sync->n_blocks; b++)
    if (audit->owner[b] == sync->team->rank) dl_audit_after_write(sync, &sync->blocks[b]);
  if (sync->block_hashes) hash_foreign(sync);
  audit->pending = nothing(sync);
  audit->known = true;
}

bool dl_audit_pends_elsewhere(const dl_sync *sync) {
  const dl_audit *audit = sync->audit;
  return audit && audit->pending.block < sync->n_blocks && audit->owner[audit->pending.block] != sync->team->rank;
}

dl_status dl_audit_pending(const dl_sync *sync) {
  const dl_audit *audit = sync->audit;
  char place[256], copy[128] = "";
  if (!audit || audit->pending.block == sync->n_blocks) return DL_OK;
  const int owner = audit->owner[audit->pending.block];
  name_place(sync, &audit->pending, place, sizeof place);
  if (owner == sync->team->rank)
    snprintf(copy, sizeof copy, "since rank %d on %s wrote them", owner, sync->team->host);
  else
    snprintf(copy, sizeof copy, "in the copy of rank %d on %s, since they came from rank %d",
             sync->team->rank - sync->copy_rank, sync->team->host, owner);
  dl_fail(DL_ERR_TRAIN, "step %" PRId64 ": weights have changed in memory: %s, %s", audit->pending.step, place, copy);
  return hint();
}

/* ---- the audit ---- */

/* Everybody's hashes of its own blocks, in their order. */
static dl_status gather_hashes(dl_sync *sync, dl_audit *audit) {
  const size_t widest = (size_t)audit->widest;
  size_t n = 0;
  for (int64_t b = 0; b < sync->n_blocks; b++)
    if (audit->owner[b] == sync->team->rank) audit->send[n++] = audit->hashes[b];
  DL_TRY(dl_team_allgather(sync->team, audit->send, widest * sizeof *audit->send, audit->gathered));
  memset(audit->at, 0, (size_t)sync->team->size * sizeof *audit->at);
  for (int64_t b = 0; b < sync->n_blocks; b++) {
    const int r = audit->owner[b];
    audit->hashes[b] = audit->gathered[(size_t)r * widest + (size_t)audit->at[r]++];
  }
  return DL_OK;
}

/* The blocks of this copy that are this member's to look at: not its own where others share the copy. */
static finding look_at_share(const dl_sync *sync, const dl_audit *audit) {
  const dl_block_range share = share_of(sync, 1);
  for (int64_t b = share.first; b < share.end; b++)
    if (hash_of(sync, &sync->blocks[b]) != audit->hashes[b]) return (finding){.block = b};
  return nothing(sync);
}

/* Whether more copies have `hash` than any other value; the owner's own hash counts as one more. Ties are nobody's. */
static bool is_majority(const dl_sync *sync, uint64_t hash, uint64_t owners) {
  const report *all = sync->audit->reports;
  int with = hash == owners, most_others = 0;
  for (int r = 0; r < sync->team->size; r++) {
    if (all[r].copy != r) continue;
    with += all[r].hash == hash;
    int same = all[r].hash == owners;
    for (int s = 0; s < sync->team->size; s++) same += all[s].copy == s && all[s].hash == all[r].hash;
    if (all[r].hash != hash && same > most_others) most_others = same;
  }
  return with > most_others;
}

/* Copies that are not what their owner wrote: how many of how many, and whose is the first. */
typedef struct tally {
  int copies, wrong, first;
} tally;

static tally count_copies(const dl_sync *sync, uint64_t written) {
  const report *all = sync->audit->reports;
  tally t = {.first = -1};
  for (int r = 0; r < sync->team->size; r++) {
    if (all[r].copy != r) continue;
    t.copies++;
    if (all[r].hash == written) continue;
    t.wrong++;
    if (t.first < 0) t.first = r;
  }
  return t;
}

/* Whether the owner's copy changed before it was sent to some: these have what it has now, and others what it wrote. */
static bool was_sent_on(const dl_sync *sync, const tally *t, int owner, uint64_t written) {
  const report *all = sync->audit->reports;
  int same = 0;
  for (int r = 0; r < sync->team->size; r++) same += all[r].copy == r && all[r].hash == all[owner].hash;
  return all[owner].hash != written && same == t->wrong && same > 1 && same < t->copies;
}

/* The same reports on all members give the same words. */
static dl_status judge(const dl_sync *sync, int64_t block) {
  const report *all = sync->audit->reports;
  const uint64_t written = sync->audit->hashes[block];
  const int owner = sync->audit->owner[block];
  const tally t = count_copies(sync, written);
  if (t.first < 0) /* found by one, and gone when all looked */
    return dl_fail(DL_ERR_TRAIN, "step %" PRId64 ", audit: weights change in memory while they are looked at",
                   sync->step);
  char place[256], who[400];
  name_place(sync, &all[t.first].at, place, sizeof place);
  if (t.copies == 1)
    snprintf(who, sizeof who, ", since rank %d on %s wrote them", owner, all[owner].host);
  else if (was_sent_on(sync, &t, owner, written))
    snprintf(who, sizeof who, ", since rank %d on %s wrote them, and were sent so: %d of %d copies have them", owner,
             all[owner].host, t.wrong, t.copies);
  else if (is_majority(sync, written, written))
    snprintf(who, sizeof who, ", in %d of %d copies, first in that of rank %d on %s; most are what rank %d on %s wrote",
             t.wrong, t.copies, t.first, all[t.first].host, owner, all[owner].host);
  else if (is_majority(sync, all[t.first].hash, written))
    snprintf(who, sizeof who,
             ", or rank %d on %s, which wrote them, keeps a wrong hash: %d of %d copies are not as it says", owner,
             all[owner].host, t.wrong, t.copies);
  else
    snprintf(who, sizeof who,
             ", in %d of %d copies, first in that of rank %d on %s: not what rank %d on %s wrote, and no "
             "value is in most of them",
             t.wrong, t.copies, t.first, all[t.first].host, owner, all[owner].host);
  dl_fail(DL_ERR_TRAIN, "step %" PRId64 ", audit: weights have changed in memory: %s%s", sync->step, place, who);
  return hint();
}

bool dl_audit_is_due(const dl_sync *sync) { return sync->audit && sync->step % sync->options.audit_every == 0; }

dl_status dl_audit_copies(dl_sync *sync) {
  dl_audit *audit = sync->audit;
  const dl_team *team = sync->team;
  if (!audit || !audit->known) return DL_OK;
  DL_TRY(dl_team_agree(sync->team, dl_sync_settle(sync))); /* new weights may still be on their way */
  DL_TRY(gather_hashes(sync, audit));
  const finding mine = look_at_share(sync, audit);
  DL_TRY(dl_team_allgather(sync->team, &mine, sizeof mine, audit->first));
  int64_t block = sync->n_blocks;
  for (int r = 0; r < team->size; r++)
    if (audit->first[r].block < block) block = audit->first[r].block;
  if (block == sync->n_blocks) return DL_OK;
  report own = {.at = describe(sync, block, audit->hashes[block]), .copy = team->rank - sync->copy_rank};
  own.hash = own.at.hash;
  memcpy(own.host, team->host, sizeof own.host);
  DL_TRY(dl_team_allgather(sync->team, &own, sizeof own, audit->reports));
  return judge(sync, block);
}

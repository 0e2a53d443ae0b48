/* guard_fixture.h - a small trainer whose memory and arithmetic can be made to fail.
 *
 * Gradients are a function of (step, leaf, element). Every trial makes one fault at a place that its seed chooses, and
 * knows by itself what has to be said of it.
 */
#ifndef DL_TEST_GUARD_FIXTURE_H
#define DL_TEST_GUARD_FIXTURE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/launch.h"
#include "comm/sync.h"

#define GUARD_TENSORS 3
#define GUARD_FROZEN 1 /* the tensor that is not learnt */

/* What a wrong bit is expected to be named by, and how many trials were as expected. */
typedef struct guard_run {
  int transport;
  uint64_t first_seed;
  int trials;
  int64_t audit_every, recompute_every;
  bool norm_first;
  bool overlap;  /* between nodes */
  bool harmless; /* no fault is made */
} guard_run;

/* What was made and what was found. */
typedef struct guard_tally {
  int audited; /* wrong gradients in a leaf that was computed twice: these must be caught */
  int caught;
} guard_tally;

static const dl_tensor guard_tensors[GUARD_TENSORS] = {
    {.name = "layers.0.weight", .count = 60 * 50, .dims = 2, .shape = {60, 50}, .trainable = true, .lr_scale = 1},
    {.name = "layers.1.weight", .offset = 3008, .count = 1100, .dims = 1, .shape = {1100}},
    {.name = "layers.2.bias", .offset = 4112, .count = 7, .dims = 1, .shape = {7}, .trainable = true, .lr_scale = 1},
};
#define GUARD_COUNT 4128

static inline uint64_t guard_draw(uint64_t seed, uint64_t what) {
  uint64_t x = seed * 0x9e3779b97f4a7c15u + (what + 1) * 0xd1b54a32d192ed03u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static inline void guard_apply(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                               const float *restrict gradient, float *const state[]) {
  (void)context, (void)tensor, (void)state;
  for (size_t i = 0; i < n; i++) weights[i] -= 0.125f * gradient[i];
}

static inline dl_param_group guard_group(void) {
  return (dl_param_group){
      .count = GUARD_COUNT, .tensors = guard_tensors, .n_tensors = GUARD_TENSORS, .apply = guard_apply};
}

static inline void guard_gradient(int step, int64_t leaf, float *out) {
  for (int t = 0; t < GUARD_TENSORS; t++)
    for (size_t i = 0; guard_tensors[t].trainable && i < guard_tensors[t].count; i++)
      out[guard_tensors[t].offset + i] =
          (float)(guard_draw((uint64_t)step, (uint64_t)leaf * 10000 + i + (size_t)t * 5000) >> 40) * 0x1p-24f - 0.5f;
}

static inline void guard_flip(float *value, int bit) {
  uint32_t word;
  memcpy(&word, value, sizeof word);
  word ^= (uint32_t)1 << bit;
  memcpy(value, &word, sizeof word);
}

/* A place in one of the tensors, `learnt` ones alone where asked. */
typedef struct guard_place {
  int tensor, bit;
  size_t element; /* of the tensor */
} guard_place;

static inline guard_place guard_choose(uint64_t seed, bool learnt) {
  guard_place p = {.tensor = (int)(guard_draw(seed, 1) % GUARD_TENSORS), .bit = (int)(guard_draw(seed, 2) % 32)};
  if (learnt && p.tensor == GUARD_FROZEN) p.tensor = 0;
  p.element = guard_draw(seed, 3) % guard_tensors[p.tensor].count;
  return p;
}

/* As a message has to name it. */
static inline void guard_name(const guard_place *p, char *text, size_t size) {
  const dl_tensor *tensor = &guard_tensors[p->tensor];
  if (tensor->dims == 2)
    snprintf(text, size, "%s[%zu, %zu] (bit %d:", tensor->name, p->element / 50, p->element % 50, p->bit);
  else
    snprintf(text, size, "%s[%zu] (bit %d:", tensor->name, p->element, p->bit);
}

#define GUARD_MEMBERS 64

/* Where a member is, and what it computed for another in the step. */
typedef struct guard_seat {
  char host[64];
  int node_first, node_size;
  int64_t proof;
} guard_seat;

static inline dl_status guard_seats(dl_team *team, int64_t proof, guard_seat out[GUARD_MEMBERS]) {
  guard_seat mine = {.node_first = team->node_first, .node_size = team->node_size, .proof = proof};
  memcpy(mine.host, team->host, sizeof mine.host);
  if (team->size > GUARD_MEMBERS) return dl_fail(DL_ERR_USAGE, "at most %d members", GUARD_MEMBERS);
  return dl_team_allgather(team, &mine, sizeof mine, out);
}

/* The owner of an element: slices are even by elements and cut at blocks (core/group.h). */
static inline int guard_owner(const dl_param_group *group, const guard_place *p, int size) {
  int64_t block = (int64_t)(p->element / 1024);
  for (int t = 0; t < p->tensor; t++) block += (int64_t)((guard_tensors[t].count + 1023) / 1024);
  for (int r = 0; r < size; r++)
    if (block < dl_group_slice_begin(group, r + 1, size)) return r;
  return -1;
}

#define GUARD_EXPECT(condition)                                                                                    \
  do {                                                                                                             \
    if (!(condition))                                                                                              \
      return dl_fail(DL_ERR_INTERNAL, "seed %llu, rank %d of %d: %s does not hold (%s)", (unsigned long long)seed, \
                     team->rank, team->size, #condition, last);                                                    \
  } while (0)

/* ---- a step ---- */

typedef struct guard_trainer {
  dl_team *team;
  dl_sync *sync;
  dl_cut cut;
  int step;          /* from 1 */
  guard_place wrong; /* in the gradients of ... */
  int culprit;       /* ... this rank, -1: nobody's */
  bool steady;       /* also when it computes again */
  bool overlap;
  int64_t proof; /* the leaf that this member computed for another, -1: none */
} guard_trainer;

static inline void guard_leaf(const guard_trainer *t, int64_t leaf, bool again, double sums[DL_LEAF_SUMS]) {
  float *gradients = dl_sync_gradients(t->sync);
  guard_gradient(t->step, leaf, gradients);
  if (t->culprit == t->team->rank && (!again || t->steady))
    guard_flip(gradients + guard_tensors[t->wrong.tensor].offset + t->wrong.element, t->wrong.bit);
  for (int k = 0; k < DL_LEAF_SUMS; k++) sums[k] = 1 + (double)(leaf * k);
}

static inline dl_status guard_step(guard_trainer *t) {
  double sums[DL_LEAF_SUMS], notes[DL_SYNC_NOTES] = {0};
  int64_t begin, end;
  dl_sync_request request = {.notes = notes, .weights_later = t->overlap};
  dl_sync_result result;
  t->step++;
  DL_TRY(dl_sync_begin(t->sync, &t->cut));
  t->proof = dl_sync_recompute_leaf(t->sync);
  if (t->proof >= 0) {
    guard_leaf(t, t->proof, false, sums);
    dl_sync_leaf_recomputed(t->sync, sums);
  }
  dl_cut_rank_leaves(&t->cut, t->team->rank, t->team->size, &begin, &end);
  for (int64_t leaf = begin; leaf < end; leaf++) {
    guard_leaf(t, leaf, false, sums);
    dl_sync_leaf_done(t->sync, leaf, sums);
  }
  dl_status status = dl_sync_finish(t->sync, &request, &result);
  if (status == DL_OK || dl_sync_disputed(t->sync) < 0) return status;
  DL_TRY(dl_sync_begin(t->sync, &t->cut));
  guard_leaf(t, dl_sync_disputed(t->sync), true, sums);
  return dl_sync_settle_dispute(t->sync, sums);
}

/* A trainer with random weights. */
static inline dl_status guard_start(guard_trainer *t, dl_team *team, const dl_param_group *group, const guard_run *run,
                                    uint64_t seed, int64_t shards) {
  const dl_sync_options options = {.transport = run->transport,
                                   .shards = shards,
                                   .norm_first = run->norm_first,
                                   .overlap = run->overlap,
                                   .audit_every = run->audit_every,
                                   .recompute_every = run->recompute_every,
                                   .seed = seed};
  float weights[GUARD_COUNT] = {0};
  *t = (guard_trainer){
      .team = team, .cut = dl_cut_make(4 * shards, shards), .culprit = -1, .overlap = run->overlap, .proof = -1};
  for (int k = 0; k < GUARD_TENSORS; k++)
    for (size_t i = 0; i < guard_tensors[k].count; i++)
      weights[guard_tensors[k].offset + i] = (float)(guard_draw(7, i + (size_t)k * 5000) >> 40) * 0x1p-24f;
  DL_TRY(dl_sync_new(team, group, &options, &t->sync));
  DL_TRY(dl_sync_set(t->sync, -1, team->rank == 0 ? weights : NULL, 0));
  return dl_team_barrier(team, "start"); /* all have hashed them: whatever flips now can be known */
}

/* ---- trials ---- */

/* Whether the culprit has a part in the leaf that was computed twice: it owns it, or computed it for another. */
static inline bool guard_is_audited(const guard_trainer *t, const guard_seat *seats) {
  for (int r = 0; r < t->team->size && t->team->size > 1; r++) {
    int64_t begin, end;
    if (seats[r].proof < 0) continue;
    dl_cut_rank_leaves(&t->cut, t->culprit, t->team->size, &begin, &end);
    return r == t->culprit || (seats[r].proof >= begin && seats[r].proof < end);
  }
  return false;
}

/* One bit of everything that one rank computes in a step is wrong: the leaf that is computed twice shows it wherever it
 * is the culprit's, and nothing shows it elsewhere. */
static inline dl_status guard_gradient_trial(dl_team *team, const guard_run *run, uint64_t seed, guard_tally *tally) {
  const dl_param_group group = guard_group();
  guard_trainer t;
  guard_seat seats[GUARD_MEMBERS];
  char last[1400] = "";
  DL_TRY(guard_start(&t, team, &group, run, seed, team->size * 2));
  float *before = malloc(sizeof(float) * GUARD_COUNT);
  if (!before) abort();
  memcpy(before, dl_sync_weights(t.sync), sizeof(float) * GUARD_COUNT);
  t.wrong = guard_choose(seed, true);
  if (!run->harmless) t.culprit = (int)(guard_draw(seed, 5) % (uint64_t)team->size);
  t.steady = guard_draw(seed, 6) % 2;
  t.step = (int)(seed % 1000);
  dl_status status = guard_step(&t);
  bool whole = !memcmp(before, dl_sync_weights(t.sync), sizeof(float) * GUARD_COUNT);
  free(before);
  dl_sync_destroy(&t.sync);
  snprintf(last, sizeof last, "%s", dl_error_last()->message);
  DL_TRY(guard_seats(team, t.proof, seats));
  const bool audited = t.culprit >= 0 && guard_is_audited(&t, seats);
  GUARD_EXPECT((status != DL_OK) == audited);
  if (status == DL_OK) return DL_OK;
  char culprit[128], tensor[128];
  snprintf(culprit, sizeof culprit, "rank %d on %s was wrong", t.culprit, seats[t.culprit].host);
  snprintf(tensor, sizeof tensor, "the gradient of %s", guard_tensors[t.wrong.tensor].name);
  tally->audited++;
  tally->caught++;
  GUARD_EXPECT(status == DL_ERR_TRAIN);
  GUARD_EXPECT(whole);
  GUARD_EXPECT(strstr(last, tensor) != NULL);
  GUARD_EXPECT(strstr(last, team->size > 2 || !t.steady ? culprit : "neither is confirmed") != NULL);
  return DL_OK;
}

/* Whether a message names the node of `victim`, whoever found it: by the copies that all compare, by what came from
 * another node, by who wrote it there, by who sent it on before anybody looked. */
static inline bool guard_names_node(const dl_team *team, const guard_seat *seats, int victim, const char *message) {
  const guard_seat *seat = &seats[victim];
  char text[192];
  snprintf(text, sizeof text, ", in 1 of %d copies, first in that of rank %d on %s; most are what rank", team->nodes,
           seat->node_first, seat->host);
  if (strstr(message, text)) return true;
  snprintf(text, sizeof text, ", in the copy of rank %d on %s, since they came from rank ", seat->node_first,
           seat->host);
  bool named = strstr(message, text) != NULL;
  for (int r = seat->node_first; r < seat->node_first + seat->node_size && !named; r++) {
    snprintf(text, sizeof text, ", since rank %d on %s wrote them", r, seat->host);
    named = strstr(message, text) != NULL;
    snprintf(text, sizeof text, ", or rank %d on %s, which wrote them, keeps a wrong hash", r, seat->host);
    named |= strstr(message, text) != NULL;
  }
  return named;
}

/* A bit of the weights flips after some step, in the copy that `victim` sees; the trial steps on until it is found. */
static inline dl_status guard_weight_trial(dl_team *team, const guard_run *run, uint64_t seed, guard_tally *tally) {
  const dl_param_group group = guard_group();
  const bool own_copies = run->transport == DL_TRANSPORT_MPI && team->size > 1,
             by_node = !own_copies && team->nodes > 1;
  guard_trainer t;
  guard_seat seats[GUARD_MEMBERS];
  char last[1400] = "", place[128], who[128];
  DL_TRY(guard_seats(team, -1, seats));
  DL_TRY(guard_start(&t, team, &group, run, seed, team->size));
  const guard_place p = guard_choose(seed, false);
  const int victim = (int)(guard_draw(seed, 4) % (uint64_t)team->size), owner = guard_owner(&group, &p, team->size);
  int after = (int)(guard_draw(seed, 5) % 7), found = -1;
  /* What another wrote is written again in the next step: there in time for an audit, it must be found. */
  if (own_copies) after = (int)(run->audit_every - 1);
  dl_status status = DL_OK;
  for (int step = 0; step < after + 2 * (int)run->audit_every + 2 && status == DL_OK; step++) {
    DL_TRY(dl_sync_settle(t.sync));
    if (step == after && team->rank == victim)
      guard_flip((float *)(uintptr_t)dl_sync_weights(t.sync) + guard_tensors[p.tensor].offset + p.element, p.bit);
    status = dl_team_barrier(team, "flip");
    if (status == DL_OK) status = guard_step(&t);
    if (status != DL_OK) found = step + 1;
  }
  snprintf(last, sizeof last, "%s", dl_error_last()->message);
  dl_sync_destroy(&t.sync);
  guard_name(&p, place, sizeof place);
  GUARD_EXPECT(status == DL_ERR_TRAIN);
  GUARD_EXPECT(strstr(last, place) != NULL);
  const int64_t next_audit = (after + 1 + run->audit_every - 1) / run->audit_every * run->audit_every;
  GUARD_EXPECT(found <= next_audit || found <= after + 2); /* the owner's look is told with the next step */
  if (own_copies)
    snprintf(who, sizeof who, ", in 1 of %d copies, first in that of rank %d on %s; most", team->size, victim,
             seats[victim].host);
  else
    snprintf(who, sizeof who, "since rank %d on %s wrote them", owner, seats[owner].host);
  GUARD_EXPECT(by_node ? guard_names_node(team, seats, victim, last) : strstr(last, who) != NULL);
  tally->audited++;
  tally->caught++;
  return DL_OK;
}

/* The same bit flips in the copies of the first two of three nodes or more. Where one of them wrote it, it sent it so
 * to the other; else the two tell against each other. */
static inline dl_status guard_sent_on_trial(dl_team *team, const guard_run *run, uint64_t seed, guard_tally *tally) {
  const dl_param_group group = guard_group();
  guard_trainer t;
  guard_seat seats[GUARD_MEMBERS];
  char last[1400] = "";
  DL_TRY(guard_seats(team, -1, seats));
  DL_TRY(guard_start(&t, team, &group, run, seed, team->size));
  const guard_place p = guard_choose(seed, false);
  const int second = seats[0].node_size, third = second + seats[second].node_size;
  dl_status status = guard_step(&t);
  if (status == DL_OK && team->node_rank == 0 && team->rank < third)
    guard_flip((float *)(uintptr_t)dl_sync_weights(t.sync) + guard_tensors[p.tensor].offset + p.element, p.bit);
  DL_TRY(dl_team_agree(team, status));
  status = guard_step(&t);
  snprintf(last, sizeof last, "%s", dl_error_last()->message);
  dl_sync_destroy(&t.sync);
  GUARD_EXPECT(status == DL_ERR_TRAIN);
  int owner = -1;
  const char *sent = strstr(last, ", since rank "), *else_wrong = strstr(last, "not what rank ");
  const char *wrote = team->nodes == 3 && else_wrong ? else_wrong : strstr(last, "most are what rank ");
  if (sent) wrote = sent + 2;
  GUARD_EXPECT(wrote && sscanf(strstr(wrote, "rank "), "rank %d", &owner) == 1);
  GUARD_EXPECT((sent != NULL) == (owner < third));
  tally->audited++;
  tally->caught += sent != NULL;
  return DL_OK;
}

typedef dl_status (*guard_trial)(dl_team *team, const guard_run *run, uint64_t seed, guard_tally *tally);

/* All trials. */
static inline dl_status guard_trials(dl_team *team, const guard_run *run, guard_trial trial, guard_tally *tally) {
  *tally = (guard_tally){0};
  dl_status wrong = DL_OK;
  for (int i = 0; i < run->trials && wrong == DL_OK; i++)
    wrong = dl_team_agree(team, trial(team, run, run->first_seed + (uint64_t)i, tally));
  return wrong;
}

#endif

/* team_property.h - what every team must do, whatever its members are. Each check returns the same on all members. */
#ifndef DL_TEST_TEAM_PROPERTY_H
#define DL_TEST_TEAM_PROPERTY_H

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/launch.h"

/* A sanitizer ends the program at an allocation that fails, unless it is told not to. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "allocator_may_return_null=1"; }

#define CHECK(condition)                                                                                           \
  do {                                                                                                             \
    if (!(condition) && wrong == DL_OK)                                                                            \
      wrong = dl_fail(DL_ERR_INTERNAL, "%s of %d members, line %d: %s does not hold", team->ops->name, team->size, \
                      __LINE__, #condition);                                                                       \
  } while (0)

static inline unsigned char byte_of(int member, size_t i) { return (unsigned char)(member * 37 + (int)(i % 251) + 1); }

static inline void fill(unsigned char *p, size_t n, int member) {
  for (size_t i = 0; i < n; i++) p[i] = byte_of(member, i);
}
static inline bool is_filled(const unsigned char *p, size_t n, int member) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != byte_of(member, i)) return false;
  return true;
}
static inline void *need(size_t bytes) {
  void *p = calloc(bytes ? bytes : 1, 1);
  if (!p) abort();
  return p;
}

/* Ranks are a numbering by (node, rank in node): each once, nodes one after another. */
static inline dl_status check_places(dl_team *team) {
  dl_status wrong = DL_OK;
  int mine[4] = {team->rank, team->node, team->node_rank, team->node_first},
      *all = need(sizeof mine * (size_t)team->size);
  DL_TRY(dl_team_allgather(team, mine, sizeof mine, all));
  for (int r = 0, rank_in_node = 0; r < team->size; r++, rank_in_node++) {
    bool first = r == 0 || all[4 * r + 1] != all[4 * r - 3];
    if (first) rank_in_node = 0;
    CHECK(all[4 * r] == r);
    CHECK(r == 0 ? all[1] == 0 : all[4 * r + 1] - all[4 * r - 3] == first);
    CHECK(all[4 * r + 2] == rank_in_node);
    CHECK(all[4 * r + 3] == r - rank_in_node);
  }
  CHECK(all[4 * (team->size - 1) + 1] == team->nodes - 1);
  CHECK(team->size == team->processes * team->threads);
  CHECK(team->host[0] != 0);
  free(all);
  return wrong;
}

static inline dl_status check_broadcast(dl_team *team, size_t bytes) {
  dl_status wrong = DL_OK;
  unsigned char *data = need(bytes);
  for (int root = 0; root < team->size; root++) {
    fill(data, bytes, team->rank);
    DL_TRY(dl_team_broadcast(team, data, bytes, root));
    CHECK(is_filled(data, bytes, root));
  }
  free(data);
  return wrong;
}

static inline dl_status check_allgather(dl_team *team, size_t bytes) {
  dl_status wrong = DL_OK;
  unsigned char *mine = need(bytes), *all = need(bytes * (size_t)team->size);
  fill(mine, bytes, team->rank);
  DL_TRY(dl_team_allgather(team, mine, bytes, all));
  for (int r = 0; r < team->size; r++) CHECK(is_filled(all + (size_t)r * bytes, bytes, r));
  memset(all, 0, bytes * (size_t)team->size); /* and in place */
  fill(all + (size_t)team->rank * bytes, bytes, team->rank);
  DL_TRY(dl_team_allgather(team, all + (size_t)team->rank * bytes, bytes, all));
  for (int r = 0; r < team->size; r++) CHECK(is_filled(all + (size_t)r * bytes, bytes, r));
  free(mine);
  free(all);
  return wrong;
}

/* Unequal pieces, some empty. */
static inline dl_status check_gather(dl_team *team, size_t unit) {
  dl_status wrong = DL_OK;
  size_t *counts = need((size_t)team->size * sizeof *counts), total = 0, at = 0;
  for (int r = 0; r < team->size; r++) total += counts[r] = unit * (size_t)(r * 7 % 4);
  unsigned char *mine = need(counts[team->rank]), *all = need(total);
  fill(mine, counts[team->rank], team->rank);
  for (int root = 0; root < team->size; root++) {
    memset(all, 0, total);
    DL_TRY(team->ops->gather(team, mine, counts, team->rank == root ? all : NULL, root));
    if (team->rank != root) continue;
    at = 0;
    for (int r = 0; r < team->size; at += counts[r], r++) CHECK(is_filled(all + at, counts[r], r));
  }
  free(mine);
  free(all);
  free(counts);
  return wrong;
}

/* Everybody to everybody (member 1 aside, who is silent), two tags a pair, sizes by pair. */
static inline size_t pair_bytes(int from, int to, int tag, size_t unit) {
  return unit * (size_t)(1 + (from * 3 + to * 5 + tag) % 4);
}
static inline dl_status check_exchange(dl_team *team, size_t unit) {
  dl_status wrong = DL_OK;
  int n = 0, size = team->size, silent = size > 2 ? 1 : -1;
  dl_message *sends = need(2 * (size_t)size * sizeof *sends), *receives = need(2 * (size_t)size * sizeof *receives);
  for (int peer = 0; peer < size && team->rank != silent; peer++) {
    for (int tag = 0; tag < 2 && peer != team->rank && peer != silent; tag++, n++) {
      size_t out = pair_bytes(team->rank, peer, tag, unit), in = pair_bytes(peer, team->rank, tag, unit);
      sends[n] = (dl_message){peer, tag ? 1023 : 0, need(out), out};
      receives[n] = (dl_message){peer, tag ? 1023 : 0, need(in), in};
      fill(sends[n].data, out, team->rank * size + peer + tag);
    }
  }
  DL_TRY(team->ops->exchange(team, sends, n, receives, n));
  for (int i = 0; i < n; i++) {
    CHECK(
        is_filled(receives[i].data, receives[i].bytes, receives[i].peer * size + team->rank + (receives[i].tag != 0)));
    free(sends[i].data);
    free(receives[i].data);
  }
  free(sends);
  free(receives);
  return wrong;
}

/* Names of shared memory that this process has made and not removed. */
static inline size_t names_left(void) {
  char pattern[64];
  glob_t found;
  snprintf(pattern, sizeof pattern, "/dev/shm/dldist-*-%d-*", (int)getpid());
  size_t n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
  if (n) globfree(&found);
  return n;
}

/* What one member of a node writes, all of it read; it is zero before. */
static inline dl_status check_shared(dl_team *team, size_t bytes) {
  dl_status wrong = DL_OK;
  dl_shared shared = {0};
  DL_TRY(team->ops->shared_new(team, bytes * (size_t)team->node_size, "a test", &shared));
  unsigned char *base = shared.base;
  CHECK(((uintptr_t)base & 63) == 0);
  CHECK(names_left() == 0);
  CHECK(shared.bytes >= bytes * (size_t)team->node_size);
  for (size_t i = 0; i < bytes * (size_t)team->node_size; i++) CHECK(base[i] == 0);
  DL_TRY(dl_team_barrier(team, "test"));
  fill(base + (size_t)team->node_rank * bytes, bytes, team->rank);
  DL_TRY(dl_team_barrier(team, "test"));
  for (int k = 0; k < team->node_size; k++) CHECK(is_filled(base + (size_t)k * bytes, bytes, team->node_first + k));
  DL_TRY(dl_team_barrier(team, "test"));
  team->ops->shared_destroy(team, &shared);
  CHECK(shared.base == NULL);
  return wrong;
}

/* More than the node can have: the same error on all, and the team goes on. */
static inline dl_status check_shared_too_large(dl_team *team) {
  dl_status wrong = DL_OK;
  dl_shared shared = {0};
  dl_status got = team->ops->shared_new(team, (size_t)1 << 46, "a test", &shared);
  CHECK(got == (team->node_size > team->threads ? DL_ERR_SYSTEM : DL_ERR_NOMEM));
  CHECK(shared.base == NULL);
  if (got == DL_ERR_SYSTEM) {
    CHECK(strstr(dl_error_last()->message, "/dev/shm") != NULL);
    CHECK(strstr(dl_error_last()->hint, "sync.transport") != NULL);
  }
  return wrong;
}

static inline dl_status check_agree(dl_team *team) {
  dl_status wrong = DL_OK;
  CHECK(dl_team_agree(team, DL_OK) == DL_OK);
  for (int bad = 0; bad < team->size; bad++) {
    bool fails = team->rank == bad || team->rank == team->size - 1;
    dl_status mine = fails ? dl_fail(DL_ERR_DATA, "member %d fails", team->rank) : DL_OK;
    char told[32];
    snprintf(told, sizeof told, "member %d fails", bad);
    CHECK(dl_team_agree(team, mine) == DL_ERR_DATA);
    CHECK(strcmp(dl_error_last()->message, told) == 0);
    CHECK(dl_error_last()->rank == bad);
  }
  return wrong;
}

/* Nobody passes before the last has come: each counts itself in first. */
static inline dl_status check_barrier(dl_team *team) {
  dl_status wrong = DL_OK;
  dl_shared shared = {0};
  DL_TRY(team->ops->shared_new(team, sizeof(_Atomic int), "a count", &shared));
  _Atomic int *count = shared.base;
  for (int round = 1; round <= 50; round++) {
    if (round % 10 == 0 && team->rank == round / 10 % team->size) usleep(2000);
    __atomic_fetch_add((int *)shared.base, 1, __ATOMIC_RELAXED);
    DL_TRY(dl_team_barrier(team, "test"));
    CHECK(*count >= round * team->node_size);
    DL_TRY(dl_team_barrier(team, "test"));
    CHECK(*count <= round * team->node_size + team->node_size);
  }
  team->ops->shared_destroy(team, &shared);
  return wrong;
}

static inline dl_status check_helpers(dl_team *team) {
  dl_status wrong = DL_OK;
  int64_t values[2] = {team->rank + 1, -team->rank};
  DL_TRY(dl_team_sum_i64(team, values, 2));
  CHECK(values[0] == (int64_t)team->size * (team->size + 1) / 2);
  CHECK(values[1] == -(int64_t)team->size * (team->size - 1) / 2);
  double most = team->rank == team->size / 2 ? 7.5 : -1;
  DL_TRY(dl_team_max_f64(team, &most));
  CHECK(most == 7.5);
  char *text = team->rank == team->size - 1 ? strdup("a text for all") : NULL;
  DL_TRY(dl_team_broadcast_text(team, &text, team->size - 1));
  CHECK(text && strcmp(text, "a text for all") == 0);
  free(text);
  return wrong;
}

static inline dl_status team_properties(dl_team *team, void *context) {
  static const size_t sizes[] = {0, 1, 1000, 300000};
  (void)context;
  dl_status wrong = DL_OK;
#define ALSO(check)                     \
  do {                                  \
    dl_status got = check;              \
    if (wrong == DL_OK) wrong = got;    \
    DL_TRY(dl_team_agree(team, wrong)); \
  } while (0)
  ALSO(check_places(team));
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    ALSO(check_broadcast(team, sizes[i]));
    ALSO(check_allgather(team, sizes[i]));
    ALSO(check_gather(team, sizes[i]));
    ALSO(check_exchange(team, sizes[i]));
    ALSO(check_shared(team, sizes[i]));
  }
  ALSO(check_shared_too_large(team));
  ALSO(check_agree(team));
  ALSO(check_barrier(team));
  ALSO(check_helpers(team));
#undef ALSO
  return DL_OK;
}

#endif

/* solo_team.h - a team for the tests of this floor, which is built without src/comm: one member, or some threads of
 * this process that may be told apart into nodes of `per_node` members, with or without memory to share. */
#ifndef DL_TEST_SOLO_TEAM_H
#define DL_TEST_SOLO_TEAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/team.h"

enum { TEST_MEMBERS = 16 };

typedef struct test_crowd {
  int size, per_node;
  bool no_shared; /* shared memory cannot be had */
  pthread_barrier_t barrier;
  const void *posted[TEST_MEMBERS];
} test_crowd;

typedef struct test_team {
  dl_team team; /* first: a dl_team is one of these */
  test_crowd *crowd;
} test_team;

typedef struct test_shared {
  atomic_int holders;
  void *memory;
} test_shared;

static inline void test_post(dl_team *team, const void *what) {
  test_crowd *crowd = ((test_team *)(void *)team)->crowd;
  crowd->posted[team->rank] = what;
  pthread_barrier_wait(&crowd->barrier);
}
static inline void test_wait(dl_team *team) { pthread_barrier_wait(&((test_team *)(void *)team)->crowd->barrier); }
static inline const void *test_posted(dl_team *team, int rank) {
  return ((test_team *)(void *)team)->crowd->posted[rank];
}

static dl_status test_barrier(dl_team *team, const char *what) {
  (void)what;
  test_wait(team);
  return DL_OK;
}

static dl_status test_broadcast(dl_team *team, void *data, size_t bytes, int root) {
  test_post(team, data);
  if (team->rank != root) memcpy(data, test_posted(team, root), bytes);
  test_wait(team);
  return DL_OK;
}

static dl_status test_allgather(dl_team *team, const void *send, size_t bytes, void *receive) {
  test_post(team, send);
  for (int r = 0; r < team->size; r++) memcpy((char *)receive + (size_t)r * bytes, test_posted(team, r), bytes);
  test_wait(team);
  return DL_OK;
}

static dl_status test_gather(dl_team *team, const void *send, const size_t *counts, void *receive, int root) {
  test_post(team, send);
  for (int r = 0; team->rank == root && r < team->size; r++) {
    if (counts[r]) memcpy(receive, test_posted(team, r), counts[r]);
    receive = (char *)receive + counts[r];
  }
  test_wait(team);
  return DL_OK;
}

typedef struct test_outbox {
  const dl_message *sends;
  int n;
} test_outbox;

static dl_status test_exchange(dl_team *team, const dl_message *sends, int n_sends, const dl_message *receives,
                               int n_receives) {
  const test_outbox mine = {sends, n_sends};
  test_post(team, &mine);
  for (int i = 0; i < n_receives; i++) {
    const test_outbox *from = test_posted(team, receives[i].peer);
    for (int k = 0; k < from->n; k++)
      if (from->sends[k].peer == team->rank && from->sends[k].tag == receives[i].tag)
        if (receives[i].bytes) memcpy(receives[i].data, from->sends[k].data, receives[i].bytes);
  }
  test_wait(team);
  return DL_OK;
}

static dl_status test_shared_new(dl_team *team, size_t bytes, const char *what, dl_shared *out) {
  test_crowd *crowd = ((test_team *)(void *)team)->crowd;
  *out = (dl_shared){.base = NULL};
  if (crowd->no_shared) return dl_fail(DL_ERR_SYSTEM, "no memory to share for %s", what);
  test_shared *shared = NULL;
  if (team->node_rank == 0) {
    shared = calloc(1, sizeof *shared);
    shared->memory = dl_calloc_aligned(bytes, 1);
    atomic_init(&shared->holders, team->node_size);
  }
  test_post(team, shared);
  memcpy(&shared, &crowd->posted[team->node_first], sizeof shared);
  test_wait(team);
  *out = (dl_shared){shared->memory, bytes, shared};
  return DL_OK;
}

static void test_shared_destroy(dl_team *team, dl_shared *shared) {
  (void)team;
  test_shared *s = shared->handle;
  if (atomic_fetch_sub(&s->holders, 1) == 1) {
    free(s->memory);
    free(s);
  }
  shared->base = NULL;
}

static __attribute__((noreturn)) void test_abort(dl_team *team, int code) {
  (void)team;
  exit(code);
}

static const dl_team_ops test_team_ops = {.name = "test",
                                          .barrier = test_barrier,
                                          .broadcast = test_broadcast,
                                          .allgather = test_allgather,
                                          .gather = test_gather,
                                          .exchange = test_exchange,
                                          .shared_new = test_shared_new,
                                          .shared_destroy = test_shared_destroy,
                                          .abort = test_abort};

typedef void (*test_member_fn)(dl_team *team, void *context);
typedef struct test_member {
  test_team member;
  pthread_t thread;
  test_member_fn run;
  void *context;
} test_member;

static void *test_run_member(void *context) {
  test_member *m = context;
  m->run(&m->member.team, m->context);
  return NULL;
}

/* Runs `run` on `size` threads. */
static inline void test_crowd_run(int size, int per_node, bool no_shared, test_member_fn run, void *context) {
  test_crowd crowd = {.size = size, .per_node = per_node, .no_shared = no_shared};
  test_member members[TEST_MEMBERS];
  pthread_barrier_init(&crowd.barrier, NULL, (unsigned)size);
  for (int r = 0; r < size; r++) {
    int node = r / per_node, first = node * per_node;
    members[r] = (test_member){.run = run, .context = context, .member = {.crowd = &crowd}};
    members[r].member.team = (dl_team){.ops = &test_team_ops,
                                       .rank = r,
                                       .size = size,
                                       .node = node,
                                       .nodes = (size + per_node - 1) / per_node,
                                       .node_rank = r - first,
                                       .node_size = first + per_node > size ? size - first : per_node,
                                       .node_first = first,
                                       .processes = 1,
                                       .threads = size,
                                       .timeout_s = 60,
                                       .host = "test"};
    pthread_create(&members[r].thread, NULL, test_run_member, &members[r]);
  }
  for (int r = 0; r < size; r++) pthread_join(members[r].thread, NULL);
  pthread_barrier_destroy(&crowd.barrier);
}

/* A team of one for a test that stays on its thread. */
typedef struct test_solo {
  test_crowd crowd;
  test_team member;
} test_solo;
static inline dl_team *test_solo_team(void) {
  static test_solo solo;
  if (!solo.crowd.size) {
    solo.crowd = (test_crowd){.size = 1, .per_node = 1};
    pthread_barrier_init(&solo.crowd.barrier, NULL, 1);
    solo.member.crowd = &solo.crowd;
    solo.member.team = (dl_team){.ops = &test_team_ops,
                                 .size = 1,
                                 .nodes = 1,
                                 .node_size = 1,
                                 .processes = 1,
                                 .threads = 1,
                                 .timeout_s = 60,
                                 .host = "test"};
  }
  return &solo.member.team;
}

#endif

/* Every operation of a team is a few gates of the process with work between them: members lay their arguments open,
 * pass a gate, copy from each other, pass a gate. With other processes the leader speaks for all between two gates.
 *
 * A member whose function ends lowers no gate: it leaves, and says why. Since a gate needs all, whoever still waits at
 * one can never pass and returns with the record of who left. That makes failure outside an agreement a prompt, common
 * end. */
#include "comm/crew.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPINS 4000         /* about 0.2 ms: members on cores of their own come within that */
#define SPINS_CROWDED 20   /* more members than cores: the one waited for needs this core */
#define LEAVE_WORD_S 5     /* mpirun needs about 3 s to end a job with a stopped rank */
#define LEAD_PATIENCE_S 20 /* the leader's own deadline is nearer than that of those who wait for it */

static void place_member(dl_crew *crew, int thread) {
  dl_member *member = &crew->members[thread];
  dl_wire_place at = {.size = 1, .nodes = 1, .node_size = 1};
  if (crew->wire) at = dl_wire_where(crew->wire);
  int threads = crew->threads;
  member->crew = crew;
  member->thread = thread;
  member->team = (dl_team){
      .ops = at.size > 1   ? &dl_team_mpi_ops
             : threads > 1 ? &dl_team_threads_ops
                           : &dl_team_solo_ops,
      .rank = at.rank * threads + thread,
      .size = at.size * threads,
      .node = at.node,
      .nodes = at.nodes,
      .node_rank = at.node_rank * threads + thread,
      .node_size = at.node_size * threads,
      .node_first = at.node_first * threads,
      .processes = at.size,
      .threads = threads,
      .timeout_s = 300,
  };
  if (gethostname(member->team.host, sizeof member->team.host) != 0) strcpy(member->team.host, "unknown");
  member->team.host[sizeof member->team.host - 1] = 0;
}

dl_status dl_crew_new(int threads, int cores, dl_wire *wire, dl_crew **out) {
  *out = NULL;
  dl_crew *crew = dl_calloc_aligned(1, sizeof *crew);
  if (!crew) return DL_ERR_NOMEM;
  crew->members = dl_calloc_aligned((size_t)threads, sizeof *crew->members);
  if (!crew->members) {
    free(crew);
    return DL_ERR_NOMEM;
  }
  int on_node = threads;
  if (wire) {
    dl_wire_place at = dl_wire_where(wire);
    on_node *= at.host_size;
    if (at.node_cores < cores) cores = at.node_cores;
  }
  crew->threads = threads;
  crew->wire = wire;
  crew->spins = on_node > cores ? SPINS_CROWDED : SPINS;
  for (int t = 0; t < threads; t++) place_member(crew, t);
  *out = crew;
  return DL_OK;
}

void dl_crew_destroy(dl_crew **crew) {
  if (!*crew) return;
  free((*crew)->members);
  free(*crew);
  *crew = NULL;
}

/* ---- gates ---- */

/* The leader says to other processes that this one waits, and looks whether those of its host live. */
static bool wait_with_others(void *context, double waited_s) {
  dl_wire *wire = context;
  if (!dl_wire_try_claim(wire)) return false;
  bool in_vain = dl_wire_beat(wire, waited_s);
  dl_wire_release(wire);
  return in_vain;
}

dl_gate_watch dl_member_watch(const dl_member *member) {
  dl_crew *crew = member->crew;
  dl_gate_watch watch = {.timeout_s = member->team.timeout_s, .spins = crew->spins, .broken = &crew->broken};
  if (crew->wire && member->thread == 0) {
    dl_wire_set_timeout(crew->wire, watch.timeout_s);
    watch.idle = wait_with_others;
    watch.context = crew->wire;
  }
  return watch;
}

/* The lowest rank that waits speaks and ends the job; the others leave it the time. */
static void fail_late(dl_member *member, const char *what, dl_gate_count count_of, const void *context, int first,
                      int n) {
  char missing[256] = "";
  size_t used = 0;
  uint32_t mine = count_of(context, member->team.rank);
  bool lowest = true;
  for (int rank = first; rank < first + n && used + 16 < sizeof missing; rank++) {
    if (count_of(context, rank) != mine)
      used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%d", used ? ", " : "", rank);
    else if (rank < member->team.rank)
      lowest = false;
  }
  for (int i = 0; !lowest && i < 10 * LEAVE_WORD_S; i++) nanosleep(&(struct timespec){0, 100000000}, NULL);
  dl_fail(DL_ERR_TRAIN, "rank %s on %s did not come: rank %d on %s waited %.0f s in %s", missing, member->team.host,
          member->team.rank, member->team.host, member->team.timeout_s, what);
  dl_hint("a rank is lost, stopped, or very slow; sync.timeout says how long to wait");
}

dl_status dl_member_gate_end(dl_member *member, dl_gate_end end, const char *what, dl_gate_count count_of,
                             const void *context, int first, int n) {
  if (end == DL_GATE_PASSED) return DL_OK;
  if (end == DL_GATE_BROKEN) return dl_error_adopt(&member->crew->record);
  char text[96];
  what = dl_phase_text(member->at, what, text, sizeof text);
  if (member->crew->wire && member->thread == 0) {
    dl_wire_claim(member->crew->wire);
    dl_wire_set_phase(member->crew->wire, member->at);
    dl_wire_fail_late(member->crew->wire, what);
    dl_wire_release(member->crew->wire);
  } else {
    fail_late(member, what, count_of, context, first, n);
  }
  member->team.ops->abort(&member->team, dl_status_exit_code(DL_ERR_TRAIN));
}

static uint32_t arrivals_of(const void *crew, int rank) {
  const dl_crew *c = crew;
  return atomic_load(&c->members[rank % c->threads].arrivals);
}

static dl_status gate_within(dl_member *member, const char *what, double timeout_s) {
  dl_crew *crew = member->crew;
  if (crew->threads == 1) return DL_OK;
  dl_gate_watch watch = dl_member_watch(member);
  watch.timeout_s = timeout_s;
  atomic_fetch_add_explicit(&member->arrivals, 1, memory_order_relaxed);
  dl_gate_end end = dl_gate_pass(&crew->gate, crew->threads, &watch);
  if (end == DL_GATE_PASSED) return DL_OK;
  return dl_member_gate_end(member, end, what, arrivals_of, crew, crew->members[0].team.rank, crew->threads);
}

dl_status dl_crew_gate(dl_member *member, const char *what) {
  return gate_within(member, what, member->team.timeout_s);
}

dl_status dl_crew_lead(dl_member *member, const char *what, dl_status (*work)(dl_member *leader, void *context),
                       void *context) {
  dl_crew *crew = member->crew;
  DL_TRY(dl_crew_gate(member, what));
  if (member->thread == 0) {
    if (crew->wire) {
      dl_wire_claim(crew->wire);
      dl_wire_set_timeout(crew->wire, member->team.timeout_s);
      dl_wire_set_phase(crew->wire, member->at);
    }
    crew->lead_status = work(member, context);
    if (crew->lead_status != DL_OK) crew->lead_error = *dl_error_last();
    if (crew->wire) dl_wire_release(crew->wire);
    if (crew->wire && dl_wire_late(crew->wire))
      member->team.ops->abort(&member->team, dl_status_exit_code(DL_ERR_TRAIN));
  }
  DL_TRY(gate_within(member, what, member->team.timeout_s + LEAD_PATIENCE_S));
  if (crew->lead_status == DL_OK) return DL_OK;
  return dl_error_adopt(&crew->lead_error);
}

/* The leader's result stays readable: nobody leads again before all have passed the next opening gate. */

void dl_member_leave(dl_member *member, dl_status status) {
  dl_crew *crew = member->crew;
  member->end = status;
  if (status != DL_OK) {
    member->error = *dl_error_last();
    member->error.status = status;
    if (member->error.rank < 0) member->error.rank = member->team.rank;
  }
  if (atomic_exchange(&crew->claimed, 1)) return;
  if (status == DL_OK) {
    dl_error ended = {.status = DL_ERR_INTERNAL, .rank = member->team.rank};
    snprintf(ended.message, sizeof ended.message, "rank %d ended while others wait for it", member->team.rank);
    crew->record = ended;
  } else {
    crew->record = member->error;
  }
  atomic_store_explicit(&crew->broken, 1, memory_order_release);
}

/* ---- operations ---- */

static dl_status lead_barrier(dl_member *leader, void *what) { return dl_wire_barrier(leader->crew->wire, what); }

static dl_status team_barrier(dl_team *team, const char *what) {
  dl_member *member = dl_member_of(team);
  if (!member->crew->wire) return dl_crew_gate(member, what);
  return dl_crew_lead(member, what, lead_barrier, (void *)(uintptr_t)what);
}

typedef struct broadcast_args {
  void *data;
  size_t bytes;
  int root;
} broadcast_args;

/* The copy that this process reads or fills first: the root's own where it is here, else the leader's. */
static void *first_copy(dl_member *member, int root) {
  return dl_is_local(&member->team, root) ? dl_crew_member(member, root)->post.receive
                                          : member->crew->members[0].post.receive;
}

static dl_status lead_broadcast(dl_member *leader, void *context) {
  broadcast_args *args = context;
  return dl_wire_broadcast(leader->crew->wire, first_copy(leader, args->root), args->bytes,
                           dl_process_of(&leader->team, args->root));
}

static dl_status team_broadcast(dl_team *team, void *data, size_t bytes, int root) {
  dl_member *member = dl_member_of(team);
  broadcast_args args = {data, bytes, root};
  member->post = (dl_post){.receive = data};
  if (member->crew->wire)
    DL_TRY(dl_crew_lead(member, "broadcast", lead_broadcast, &args));
  else
    DL_TRY(dl_crew_gate(member, "broadcast"));
  const void *from = first_copy(member, root);
  if (from != data) memcpy(data, from, bytes);
  return dl_crew_gate(member, "broadcast");
}

static dl_status lead_allgather(dl_member *leader, void *context) {
  size_t bytes = *(size_t *)context * (size_t)leader->team.threads;
  return dl_wire_allgather(leader->crew->wire, leader->post.receive, bytes);
}

static dl_status team_allgather(dl_team *team, const void *send, size_t bytes, void *receive) {
  dl_member *member = dl_member_of(team);
  const dl_post *leader = &member->crew->members[0].post;
  member->post = (dl_post){.receive = receive};
  DL_TRY(dl_crew_gate(member, "allgather"));
  memmove((char *)leader->receive + (size_t)team->rank * bytes, send, bytes);
  if (member->crew->wire)
    DL_TRY(dl_crew_lead(member, "allgather", lead_allgather, &bytes));
  else
    DL_TRY(dl_crew_gate(member, "allgather"));
  if (receive != leader->receive) memcpy(receive, leader->receive, bytes * (size_t)team->size);
  return dl_crew_gate(member, "allgather");
}

typedef struct gather_args {
  const size_t *counts;
  int root;
} gather_args;

static dl_status lead_gather(dl_member *leader, void *context) {
  const gather_args *args = context;
  dl_team *team = &leader->team;
  dl_wire *wire = leader->crew->wire;
  int root_process = dl_process_of(team, args->root);
  if (!dl_is_local(team, args->root)) {
    for (int t = 0; t < team->threads; t++)
      DL_TRY(dl_wire_send(wire, leader->crew->members[t].post.send, args->counts[team->rank + t], root_process, t));
    return dl_wire_flush(wire, "gather");
  }
  char *at = dl_crew_member(leader, args->root)->post.receive;
  for (int r = 0; r < team->size; at += args->counts[r], r++)
    if (!dl_is_local(team, r))
      DL_TRY(dl_wire_receive(wire, at, args->counts[r], dl_process_of(team, r), r % team->threads));
  return dl_wire_flush(wire, "gather");
}

static dl_status team_gather(dl_team *team, const void *send, const size_t *counts, void *receive, int root) {
  dl_member *member = dl_member_of(team);
  member->post = (dl_post){.send = send, .receive = receive};
  if (member->crew->wire) {
    gather_args args = {counts, root};
    DL_TRY(dl_crew_lead(member, "gather", lead_gather, &args));
  } else {
    DL_TRY(dl_crew_gate(member, "gather"));
  }
  if (dl_is_local(team, root)) {
    char *at = dl_crew_member(member, root)->post.receive;
    for (int r = 0; r < team->rank; r++) at += counts[r];
    if (counts[team->rank]) memcpy(at, send, counts[team->rank]);
  }
  return dl_crew_gate(member, "gather");
}

/* A message's tag on the wire also says which threads it goes between. */
static int wire_tag(const dl_team *team, int tag, int from, int to) {
  return (tag * team->threads + from % team->threads) * team->threads + to % team->threads;
}

static dl_status lead_exchange(dl_member *leader, void *context) {
  (void)context;
  dl_team *team = &leader->team;
  dl_wire *wire = leader->crew->wire;
  for (int t = 0; t < team->threads; t++) {
    const dl_post *post = &leader->crew->members[t].post;
    int rank = team->rank + t;
    for (int i = 0; i < post->n_receives; i++) {
      const dl_message *m = &post->receives[i];
      if (dl_is_local(team, m->peer)) continue;
      DL_TRY(dl_wire_receive(wire, m->data, m->bytes, dl_process_of(team, m->peer),
                             wire_tag(team, m->tag, m->peer, rank)));
    }
    for (int i = 0; i < post->n_sends; i++) {
      const dl_message *m = &post->sends[i];
      if (dl_is_local(team, m->peer)) continue;
      DL_TRY(
          dl_wire_send(wire, m->data, m->bytes, dl_process_of(team, m->peer), wire_tag(team, m->tag, rank, m->peer)));
    }
  }
  return dl_wire_flush(wire, "exchange");
}

static dl_status copy_from_crew(dl_member *member, const dl_message *receive) {
  const dl_post *post = &dl_crew_member(member, receive->peer)->post;
  for (int i = 0; i < post->n_sends; i++) {
    const dl_message *send = &post->sends[i];
    if (send->peer != member->team.rank || send->tag != receive->tag) continue;
    if (send->bytes != receive->bytes) break;
    if (send->bytes) memcpy(receive->data, send->data, send->bytes);
    return DL_OK;
  }
  return dl_fail(DL_ERR_INTERNAL, "rank %d waits for message %d of %zu bytes that rank %d does not send",
                 member->team.rank, receive->tag, receive->bytes, receive->peer);
}

static dl_status team_exchange(dl_team *team, const dl_message *sends, int n_sends, const dl_message *receives,
                               int n_receives) {
  dl_member *member = dl_member_of(team);
  member->post = (dl_post){.sends = sends, .n_sends = n_sends, .receives = receives, .n_receives = n_receives};
  if (member->crew->wire)
    DL_TRY(dl_crew_lead(member, "exchange", lead_exchange, NULL));
  else
    DL_TRY(dl_crew_gate(member, "exchange"));
  for (int i = 0; i < n_receives; i++)
    if (dl_is_local(team, receives[i].peer)) DL_TRY(copy_from_crew(member, &receives[i]));
  return dl_crew_gate(member, "exchange");
}

/* ---- the end of a job ---- */

void dl_crew_say_why(void) {
  static atomic_flag said = ATOMIC_FLAG_INIT;
  if (atomic_flag_test_and_set(&said)) return;
  char text[1400], line[1500];
  int n = snprintf(line, sizeof line, "dldist: %s\n", dl_error_format(dl_error_last(), text, sizeof text));
  if (n > 0 && write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0) return;
}

/* The one call of MPI that any thread may make: the leader may be the one that never comes. */
static __attribute__((noreturn)) void team_abort(dl_team *team, int exit_code) {
  dl_crew *crew = dl_member_of(team)->crew;
  if (!crew->wire || !dl_wire_silent(crew->wire)) dl_crew_say_why();
  if (crew->wire) dl_wire_abort(crew->wire, exit_code);
  _exit(exit_code);
}

#define TEAM_OPS(kind)                                                                               \
  {                                                                                                  \
    .name = kind, .barrier = team_barrier, .broadcast = team_broadcast, .allgather = team_allgather, \
    .gather = team_gather, .exchange = team_exchange, .shared_new = dl_member_shared_new,            \
    .shared_destroy = dl_member_shared_destroy, .abort = team_abort                                  \
  }

const dl_team_ops dl_team_solo_ops = TEAM_OPS("solo");
const dl_team_ops dl_team_threads_ops = TEAM_OPS("threads");
const dl_team_ops dl_team_mpi_ops = TEAM_OPS("mpi");

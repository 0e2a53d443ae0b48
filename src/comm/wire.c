/* Non-blocking calls and a loop of MPI_Test around them: Open MPI 4.1 makes no progress by itself and none of its
 * blocking calls can time out. The loop looks, then yields, then sleeps a little, because ranks may outnumber cores
 * (wire_wait.c). */
#include "comm/wire.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/wire_private.h"
#include "core/clock.h"
#include "core/mem.h"

#define PIECE_BYTES ((size_t)1 << 30) /* MPI counts are ints */

/* ---- errors ---- */

dl_status dl_wire_check(int code, const char *call) {
  if (code == MPI_SUCCESS) return DL_OK;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return dl_fail(DL_ERR_SYSTEM, "%s failed: %s", call, text);
}

static dl_status check(int code, const char *call) { return dl_wire_check(code, call); }

dl_status dl_wire_check_messages(dl_wire *wire, int code, const char *call, const char *what) {
  if (code == MPI_SUCCESS) return DL_OK;
  dl_wire_check(code, call);
  const dl_error why = *dl_error_last();
  return dl_wire_fail_lost(wire, what, why.message);
}

/* ---- waiting ---- */

static dl_status wait_all(dl_wire *wire, MPI_Request *requests, int n, const char *what) {
  double begin = dl_now_s();
  for (int64_t turn = 0;; turn++) {
    int done = 0;
    DL_TRY(dl_wire_check_messages(wire, MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE), "MPI_Testall", what));
    if (done) return DL_OK;
    if (turn % 64 == 63 && dl_wire_is_late(wire, begin)) return dl_wire_fail_late(wire, what);
    dl_wire_pause(wire, turn);
  }
}

/* ---- set-up ---- */

/* What each process tells the others at set-up. */
typedef struct introduction {
  int threads;
  int first_of_node; /* lowest rank on its node, in the caller's numbering */
  int node_rank;
  cpu_set_t cores;
  char host[64];
  pid_t pid;
} introduction;

dl_status dl_wire_begin(bool *ours) {
  int initialised = 0, finalised = 0, provided = 0;
  *ours = false;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (finalised) return dl_fail(DL_ERR_USAGE, "MPI has been finalised in this process and cannot be started again");
  if (initialised) return DL_OK;
  DL_TRY(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread"));
  *ours = true;
  return DL_OK;
}

void dl_wire_end(bool ours) {
  if (ours) MPI_Finalize();
}

static dl_status check_thread_level(int threads) {
  int provided = MPI_THREAD_SINGLE, is_main = 0;
  DL_TRY(check(MPI_Query_thread(&provided), "MPI_Query_thread"));
  DL_TRY(check(MPI_Is_thread_main(&is_main), "MPI_Is_thread_main"));
  if (threads > 1 && provided < MPI_THREAD_FUNNELED) {
    dl_fail(DL_ERR_USAGE, "%d threads a rank need MPI_THREAD_FUNNELED, but MPI was initialised without threads",
            threads);
    return dl_hint("call MPI_Init_thread with MPI_THREAD_FUNNELED or higher");
  }
  if (!is_main && provided < MPI_THREAD_SERIALIZED) {
    dl_fail(DL_ERR_USAGE, "MPI was not initialised on this thread and does not allow calls from others");
    return dl_hint("call MPI_Init_thread with MPI_THREAD_SERIALIZED or higher");
  }
  return DL_OK;
}

static dl_status introduce(MPI_Comm comm, int threads, introduction *all) {
  introduction mine;
  memset(&mine, 0, sizeof mine);
  MPI_Comm local;
  mine.threads = threads;
  DL_TRY(check(MPI_Comm_rank(comm, &mine.first_of_node), "MPI_Comm_rank"));
  DL_TRY(check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local), "MPI_Comm_split_type"));
  dl_status status = check(MPI_Comm_rank(local, &mine.node_rank), "MPI_Comm_rank");
  if (status == DL_OK) status = check(MPI_Bcast(&mine.first_of_node, 1, MPI_INT, 0, local), "MPI_Bcast");
  MPI_Comm_free(&local);
  DL_TRY(status);
  mine.pid = getpid();
  if (gethostname(mine.host, sizeof mine.host - 1) != 0) strcpy(mine.host, "unknown");
  if (sched_getaffinity(0, sizeof mine.cores, &mine.cores) != 0) CPU_SET(0, &mine.cores);
  return check(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all, sizeof mine, MPI_BYTE, comm), "MPI_Allgather");
}

static bool stands_before(const introduction *a, const introduction *b) {
  return a->first_of_node != b->first_of_node ? a->first_of_node < b->first_of_node : a->node_rank < b->node_rank;
}

static dl_wire_place find_place(const introduction *all, int size, int old_rank) {
  const introduction *mine = &all[old_rank];
  dl_wire_place place = {.size = size, .node_rank = mine->node_rank};
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (int i = 0; i < size; i++) {
    place.rank += stands_before(&all[i], mine);
    if (all[i].node_rank == 0) {
      place.nodes++;
      place.node += all[i].first_of_node < mine->first_of_node;
    }
    if (all[i].first_of_node == mine->first_of_node) {
      place.node_size++;
      CPU_OR(&cores, &cores, &all[i].cores);
    }
  }
  place.node_first = place.rank - place.node_rank;
  place.node_cores = CPU_COUNT(&cores);
  place.host_size = place.node_size;
  return place;
}

/* DLDIST_NODES=3,1 (rank 0's word counts) splits what is on one host into pretended nodes of so many processes, the
 * last number standing for the rest: one copy of the weights for each NUMA domain, and a cluster's shapes without one.
 */
static dl_status pretend_nodes(dl_wire *wire, int *node_of) {
  char text[256] = "";
  const char *asked = getenv("DLDIST_NODES");
  dl_wire_place *place = &wire->place;
  if (asked) snprintf(text, sizeof text, "%.250s%s", asked, strlen(asked) > 250 ? "..." : ""); /* refused if reached */
  DL_TRY(check(MPI_Bcast(text, sizeof text, MPI_CHAR, 0, wire->comm), "MPI_Bcast"));
  if (!text[0] || place->nodes > 1) return DL_OK;
  char *at = text;
  long count = 0;
  place->nodes = 0;
  for (int first = 0; first < place->size; first += (int)count, place->nodes++) {
    if (*at) count = strtol(at, &at, 10);
    const bool ends = !*at || *at == ',';
    if (*at == ',') at++;
    if (!ends || count < 1 || count > place->size)
      return dl_fail(DL_ERR_USAGE, "DLDIST_NODES: '%.60s' is no list of numbers of ranks", text);
    int end = first + (int)count < place->size ? first + (int)count : place->size;
    for (int process = first; process < end; process++) node_of[process] = place->nodes;
    if (place->rank < first || place->rank >= end) continue;
    place->node = place->nodes;
    place->node_first = first;
    place->node_rank = place->rank - first;
    place->node_size = end - first;
  }
  return DL_OK;
}

/* Peers in the wire's own order: `all` is in the caller's. */
static dl_status meet_peers(dl_wire *wire, const introduction *all) {
  int size = wire->place.size;
  int *node_of = dl_calloc((size_t)size, sizeof *node_of);
  wire->peers = dl_calloc((size_t)size, sizeof *wire->peers);
  if (!node_of || !wire->peers) {
    free(node_of);
    return DL_ERR_NOMEM;
  }
  for (int i = 0; i < size; i++) {
    dl_wire_place at = find_place(all, size, i);
    node_of[at.rank] = at.node;
    memcpy(wire->peers[at.rank].host, all[i].host, sizeof all[i].host);
    wire->peers[at.rank].heard_s = -1e9;
    if (at.node == wire->place.node && kill(all[i].pid, 0) == 0) wire->peers[at.rank].pid = all[i].pid;
  }
  dl_status status = pretend_nodes(wire, node_of);
  for (int i = 0; i < size; i++) wire->peers[i].node = node_of[i];
  free(node_of);
  return status;
}

/* Fills a wire whose `comm` is the caller's communicator, then replaces it by the ordered one. */
static dl_status settle(dl_wire *wire, MPI_Comm outer, introduction *all) {
  int size = wire->place.size, old_rank = wire->place.rank, provided = MPI_THREAD_SINGLE;
  DL_TRY(introduce(outer, wire->threads, all));
  for (int i = 0; i < size; i++)
    if (all[i].threads != all[0].threads) {
      dl_fail(DL_ERR_USAGE, "ranks differ in their number of threads: rank 0 has %d, rank %d has %d", all[0].threads, i,
              all[i].threads);
      return dl_hint("give every rank the same -j");
    }
  wire->place = find_place(all, size, old_rank);
  wire->crowded = wire->place.node_size * wire->threads > wire->place.node_cores;
  DL_TRY(check(MPI_Query_thread(&provided), "MPI_Query_thread"));
  wire->any_thread = provided >= MPI_THREAD_SERIALIZED;
  DL_TRY(check(MPI_Comm_split(outer, 0, wire->place.rank, &wire->comm), "MPI_Comm_split"));
  DL_TRY(check(MPI_Comm_dup(wire->comm, &wire->side), "MPI_Comm_dup"));
  DL_TRY(check(MPI_Comm_dup(wire->comm, &wire->flows), "MPI_Comm_dup"));
  const MPI_Comm ours[] = {wire->comm, wire->side, wire->flows};
  for (int i = 0; i < 3; i++)
    DL_TRY(check(MPI_Comm_set_errhandler(ours[i], MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
  DL_TRY(meet_peers(wire, all));
  int *upper = NULL, found = 0;
  DL_TRY(check(MPI_Comm_get_attr(wire->comm, MPI_TAG_UB, &upper, &found), "MPI_Comm_get_attr"));
  wire->tag_limit = found && *upper < INT_MAX ? *upper + 1 : found ? INT_MAX : 32768;
  return DL_OK;
}

static dl_status wire_over(MPI_Comm given, int threads, dl_wire **out) {
  *out = NULL;
  DL_TRY(check_thread_level(threads));
  int size = 0, rank = 0;
  DL_TRY(check(MPI_Comm_size(given, &size), "MPI_Comm_size"));
  DL_TRY(check(MPI_Comm_rank(given, &rank), "MPI_Comm_rank"));
  if (size == 1) return DL_OK;
  MPI_Comm outer;
  DL_TRY(check(MPI_Comm_dup(given, &outer), "MPI_Comm_dup"));
  MPI_Comm_set_errhandler(outer, MPI_ERRORS_RETURN);
  dl_wire *wire = dl_calloc(1, sizeof *wire);
  introduction *all = dl_calloc((size_t)size, sizeof *all);
  dl_status status = DL_ERR_NOMEM;
  if (wire && all) {
    *wire = (dl_wire){.place = {.size = size, .rank = rank},
                      .comm = MPI_COMM_NULL,
                      .side = MPI_COMM_NULL,
                      .flows = MPI_COMM_NULL,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .threads = threads,
                      .timeout_s = 300,
                      .dead = -1};
    status = settle(wire, outer, all);
  }
  free(all);
  MPI_Comm_free(&outer);
  if (status != DL_OK) dl_wire_destroy(&wire);
  *out = wire;
  return status;
}

dl_status dl_wire_new(const void *communicator, int threads, dl_wire **out) {
  MPI_Comm given = MPI_COMM_WORLD;
  if (communicator) memcpy(&given, communicator, sizeof given);
  return wire_over(given, threads, out);
}

dl_status dl_wire_new_fortran(int communicator, int threads, dl_wire **out) {
  return wire_over(MPI_Comm_f2c((MPI_Fint)communicator), threads, out);
}

void dl_wire_destroy(dl_wire **wire) {
  dl_wire *w = *wire;
  if (!w) return;
  if (w->side != MPI_COMM_NULL) {
    dl_wire_hear(w);
    MPI_Comm_free(&w->side);
  }
  if (w->flows != MPI_COMM_NULL) MPI_Comm_free(&w->flows);
  if (w->comm != MPI_COMM_NULL) MPI_Comm_free(&w->comm);
  free(w->posts);
  free(w->peers);
  free(w);
  *wire = NULL;
}

dl_wire_place dl_wire_where(const dl_wire *wire) { return wire->place; }
bool dl_wire_late(const dl_wire *wire) { return wire->late; }
bool dl_wire_silent(const dl_wire *wire) { return wire->silent; }
void dl_wire_set_timeout(dl_wire *wire, double timeout_s) { wire->timeout_s = timeout_s; }
void dl_wire_claim(dl_wire *wire) { pthread_mutex_lock(&wire->lock); }
bool dl_wire_try_claim(dl_wire *wire) { return pthread_mutex_trylock(&wire->lock) == 0; }
void dl_wire_release(dl_wire *wire) { pthread_mutex_unlock(&wire->lock); }
bool dl_wire_any_thread(const dl_wire *wire) { return wire->any_thread; }
int dl_wire_node_of(const dl_wire *wire, int process) { return wire->peers[process].node; }
uint64_t dl_wire_sent_bytes(const dl_wire *wire) { return wire->sent_bytes; }
void dl_wire_set_phase(dl_wire *wire, dl_phase phase) { wire->phase = phase; }
int dl_wire_tag_limit(const dl_wire *wire) { return wire->tag_limit; }

/* ---- collectives ---- */

dl_status dl_wire_barrier(dl_wire *wire, const char *what) {
  MPI_Request request;
  DL_TRY(dl_wire_check_messages(wire, MPI_Ibarrier(wire->comm, &request), "MPI_Ibarrier", what));
  return wait_all(wire, &request, 1, what);
}

dl_status dl_wire_broadcast(dl_wire *wire, void *data, size_t bytes, int root) {
  char *at = data;
  for (size_t done = 0; done < bytes; done += PIECE_BYTES) {
    size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
    MPI_Request request;
    const int code = MPI_Ibcast(at + done, (int)n, MPI_BYTE, root, wire->comm, &request);
    DL_TRY(dl_wire_check_messages(wire, code, "MPI_Ibcast", "broadcast"));
    DL_TRY(wait_all(wire, &request, 1, "broadcast"));
  }
  return DL_OK;
}

dl_status dl_wire_allgather(dl_wire *wire, void *receive, size_t bytes) {
  if (bytes > PIECE_BYTES / (size_t)wire->place.size) { /* counts of the whole would not fit: a broadcast of each */
    for (int process = 0; process < wire->place.size; process++)
      DL_TRY(dl_wire_broadcast(wire, (char *)receive + (size_t)process * bytes, bytes, process));
    return DL_OK;
  }
  MPI_Request request;
  const int code = MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, receive, (int)bytes, MPI_BYTE, wire->comm, &request);
  DL_TRY(dl_wire_check_messages(wire, code, "MPI_Iallgather", "allgather"));
  return wait_all(wire, &request, 1, "allgather");
}

/* ---- point to point ---- */

static dl_status reserve_posts(dl_wire *wire, size_t bytes) {
  size_t pieces = bytes / PIECE_BYTES + 1;
  if (pieces > INT_MAX / 4) return dl_fail(DL_ERR_SYSTEM, "a message of %zu bytes is too long", bytes);
  if (wire->n_posts + (int)pieces <= wire->max_posts) return DL_OK;
  int room = 2 * (wire->n_posts + (int)pieces);
  MPI_Request *posts = dl_reallocarray(wire->posts, (size_t)room, sizeof *posts);
  if (!posts) return DL_ERR_NOMEM;
  wire->posts = posts;
  wire->max_posts = room;
  return DL_OK;
}

dl_status dl_wire_send(dl_wire *wire, const void *data, size_t bytes, int process, int tag) {
  const char *at = data;
  dl_wire_count(wire, process, bytes);
  DL_TRY(reserve_posts(wire, bytes));
  for (size_t done = 0; done < bytes; done += PIECE_BYTES) { /* pieces of a tag do not overtake each other */
    size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
    const int code = MPI_Isend(at + done, (int)n, MPI_BYTE, process, tag, wire->comm, &wire->posts[wire->n_posts]);
    DL_TRY(dl_wire_check_messages(wire, code, "MPI_Isend", "messages"));
    wire->n_posts++;
  }
  return DL_OK;
}

dl_status dl_wire_receive(dl_wire *wire, void *data, size_t bytes, int process, int tag) {
  char *at = data;
  DL_TRY(reserve_posts(wire, bytes));
  for (size_t done = 0; done < bytes; done += PIECE_BYTES) {
    size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
    const int code = MPI_Irecv(at + done, (int)n, MPI_BYTE, process, tag, wire->comm, &wire->posts[wire->n_posts]);
    DL_TRY(dl_wire_check_messages(wire, code, "MPI_Irecv", "messages"));
    wire->n_posts++;
  }
  return DL_OK;
}

dl_status dl_wire_flush(dl_wire *wire, const char *what) {
  int n = wire->n_posts;
  wire->n_posts = 0;
  return wait_all(wire, wire->posts, n, what);
}

/* ---- the end ---- */

bool dl_wire_last_words(dl_wire *wire, dl_status *status, dl_error *error, double patience_s) {
  if (wire->late) return false;
  wire->timeout_s = patience_s;
  int size = wire->place.size;
  int mine = *status == DL_OK ? size : wire->place.rank, first = size;
  MPI_Request request;
  if (MPI_Iallreduce(&mine, &first, 1, MPI_INT, MPI_MIN, wire->side, &request) != MPI_SUCCESS) return false;
  if (wait_all(wire, &request, 1, "end") != DL_OK) return false;
  if (first == size) return true;
  if (MPI_Ibcast(error, sizeof *error, MPI_BYTE, first, wire->side, &request) != MPI_SUCCESS) return false;
  if (wait_all(wire, &request, 1, "end") != DL_OK) return false;
  *status = error->status;
  return true;
}

void dl_wire_abort(dl_wire *wire, int exit_code) {
  dl_wire_leave(wire);
  MPI_Abort(wire->comm, exit_code);
  _exit(exit_code);
}

/* Non-blocking calls and a loop of MPI_Test around them: Open MPI 4.1 makes no progress by itself and none of its
 * blocking calls can time out. The loop looks, then yields, then sleeps a little, because ranks may outnumber cores.
 *
 * Who is missing after a time-out: whoever waits long sends the others, on a communicator of its own, a note with the
 * number of the wait it is in. Who has sent no note of this wait by the deadline is not in it. */
#include "comm/wire.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/mem.h"

#define PIECE_BYTES ((size_t)1 << 30) /* MPI counts are ints */
#define TAG_NOTE 1
#define NOTES_AFTER_S 10.0
#define LEAVE_WORD_S 5 /* mpirun needs about 3 s to end a job with a stopped rank */

struct dl_wire {
  dl_wire_place place;
  MPI_Comm comm, side; /* side: notes and last words, never in the way of the others */
  int threads;
  int tag_limit;
  double timeout_s;
  bool late, crowded;
  int64_t waits;      /* waits so far: the same number on all processes in the same wait */
  int64_t note;       /* what goes out as a note */
  int64_t *heard;     /* last note of each process */
  MPI_Request *posts; /* grows to the largest exchange, then stays */
  int n_posts, max_posts;
};

/* ---- errors ---- */

static dl_status check(int code, const char *call) {
  if (code == MPI_SUCCESS) return DL_OK;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return dl_fail(DL_ERR_SYSTEM, "%s failed: %s", call, text);
}

/* ---- waiting ---- */

static void drain_notes(dl_wire *wire) {
  for (;;) {
    int there = 0;
    MPI_Status from;
    if (MPI_Iprobe(MPI_ANY_SOURCE, TAG_NOTE, wire->side, &there, &from) != MPI_SUCCESS || !there) return;
    int64_t wait = 0;
    if (MPI_Recv(&wait, 1, MPI_INT64_T, from.MPI_SOURCE, TAG_NOTE, wire->side, MPI_STATUS_IGNORE) != MPI_SUCCESS)
      return;
    if (wait > wire->heard[from.MPI_SOURCE]) wire->heard[from.MPI_SOURCE] = wait;
  }
}

static void send_notes(dl_wire *wire) {
  drain_notes(wire);
  wire->note = wire->waits;
  for (int process = 0; process < wire->place.size; process++) {
    MPI_Request request;
    if (process == wire->place.rank) continue;
    if (MPI_Isend(&wire->note, 1, MPI_INT64_T, process, TAG_NOTE, wire->side, &request) == MPI_SUCCESS)
      MPI_Request_free(&request); /* eight bytes: they are on their way when Isend returns */
  }
}

static dl_status fail_late(dl_wire *wire, const char *what) {
  char missing[512] = "";
  size_t used = 0;
  bool lowest = true;
  drain_notes(wire);
  for (int process = 0; process < wire->place.size; process++) {
    if (process < wire->place.rank && wire->heard[process] >= wire->waits) lowest = false;
    if (process == wire->place.rank || wire->heard[process] >= wire->waits) continue;
    char one[32];
    int n = snprintf(one, sizeof one, "%s%d", used ? ", " : "", process * wire->threads);
    if (used + (size_t)n + 8 > sizeof missing) break;
    memcpy(missing + used, one, (size_t)n + 1);
    used += (size_t)n;
  }
  wire->late = true;
  if (!lowest) sleep(LEAVE_WORD_S); /* the lowest that waits speaks and ends the job */
  if (used)
    dl_fail(DL_ERR_TRAIN, "waited %.0f s in '%s' for rank %s", wire->timeout_s, what, missing);
  else
    dl_fail(DL_ERR_TRAIN, "waited %.0f s in '%s': all ranks are there, the network does not deliver", wire->timeout_s,
            what);
  return dl_hint("a rank is lost or very slow; sync.timeout says how long to wait");
}

/* Looks, yields, sleeps: `turn` counts the looks of one wait. */
static void pause_between_looks(const dl_wire *wire, int64_t turn) {
  if (!wire->crowded && turn < 2000) return;
  if (turn < 20000) {
    sched_yield();
  } else {
    struct timespec nap = {0, 50000};
    nanosleep(&nap, NULL);
  }
}

static dl_status wait_all(dl_wire *wire, MPI_Request *requests, int n, const char *what) {
  double begin = dl_now_s();
  bool noted = false;
  wire->waits++;
  for (int64_t turn = 0;; turn++) {
    int done = 0;
    DL_TRY(check(MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE), what));
    if (done) return DL_OK;
    if (turn % 64 == 63) {
      double waited = dl_now_s() - begin;
      if (!noted && (waited > NOTES_AFTER_S || waited > wire->timeout_s / 2)) {
        send_notes(wire);
        noted = true;
      }
      if (waited > wire->timeout_s) return fail_late(wire, what);
    }
    pause_between_looks(wire, turn);
  }
}

/* ---- set-up ---- */

/* What each process tells the others at set-up. */
typedef struct introduction {
  int threads;
  int first_of_node; /* lowest rank on its node, in the caller's numbering */
  int node_rank;
  cpu_set_t cores;
} introduction;

dl_status dl_wire_begin(bool *ours) {
  int initialised = 0, finalised = 0, provided = 0;
  *ours = false;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (finalised) return dl_fail(DL_ERR_USAGE, "MPI has been finalised in this process and cannot be started again");
  if (initialised) return DL_OK;
  DL_TRY(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread"));
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
  return place;
}

/* Fills a wire whose `comm` is the caller's communicator, then replaces it by the ordered one. */
static dl_status settle(dl_wire *wire, MPI_Comm outer, introduction *all) {
  int size = wire->place.size, old_rank = wire->place.rank;
  DL_TRY(introduce(outer, wire->threads, all));
  for (int i = 0; i < size; i++)
    if (all[i].threads != all[0].threads) {
      dl_fail(DL_ERR_USAGE, "ranks differ in their number of threads: rank 0 has %d, rank %d has %d", all[0].threads, i,
              all[i].threads);
      return dl_hint("give every rank the same -j");
    }
  wire->place = find_place(all, size, old_rank);
  wire->crowded = wire->place.node_size * wire->threads > wire->place.node_cores;
  DL_TRY(check(MPI_Comm_split(outer, 0, wire->place.rank, &wire->comm), "MPI_Comm_split"));
  DL_TRY(check(MPI_Comm_dup(wire->comm, &wire->side), "MPI_Comm_dup"));
  DL_TRY(check(MPI_Comm_set_errhandler(wire->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
  DL_TRY(check(MPI_Comm_set_errhandler(wire->side, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
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
  int64_t *heard = dl_calloc((size_t)size, sizeof *heard);
  dl_status status = DL_ERR_NOMEM;
  if (wire && all && heard) {
    *wire = (dl_wire){.place = {.size = size, .rank = rank},
                      .comm = MPI_COMM_NULL,
                      .side = MPI_COMM_NULL,
                      .threads = threads,
                      .timeout_s = 300,
                      .heard = heard};
    heard = NULL;
    status = settle(wire, outer, all);
  }
  free(all);
  free(heard);
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
    drain_notes(w);
    MPI_Comm_free(&w->side);
  }
  if (w->comm != MPI_COMM_NULL) MPI_Comm_free(&w->comm);
  free(w->posts);
  free(w->heard);
  free(w);
  *wire = NULL;
}

dl_wire_place dl_wire_where(const dl_wire *wire) { return wire->place; }
bool dl_wire_late(const dl_wire *wire) { return wire->late; }
void dl_wire_set_timeout(dl_wire *wire, double timeout_s) { wire->timeout_s = timeout_s; }
int dl_wire_tag_limit(const dl_wire *wire) { return wire->tag_limit; }

/* ---- collectives ---- */

dl_status dl_wire_barrier(dl_wire *wire, const char *what) {
  MPI_Request request;
  DL_TRY(check(MPI_Ibarrier(wire->comm, &request), "MPI_Ibarrier"));
  return wait_all(wire, &request, 1, what);
}

dl_status dl_wire_broadcast(dl_wire *wire, void *data, size_t bytes, int root) {
  char *at = data;
  for (size_t done = 0; done < bytes; done += PIECE_BYTES) {
    size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
    MPI_Request request;
    DL_TRY(check(MPI_Ibcast(at + done, (int)n, MPI_BYTE, root, wire->comm, &request), "MPI_Ibcast"));
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
  DL_TRY(check(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, receive, (int)bytes, MPI_BYTE, wire->comm, &request),
               "MPI_Iallgather"));
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
  DL_TRY(reserve_posts(wire, bytes));
  for (size_t done = 0; done < bytes; done += PIECE_BYTES) { /* pieces of a tag do not overtake each other */
    size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
    DL_TRY(check(MPI_Isend(at + done, (int)n, MPI_BYTE, process, tag, wire->comm, &wire->posts[wire->n_posts]),
                 "MPI_Isend"));
    wire->n_posts++;
  }
  return DL_OK;
}

dl_status dl_wire_receive(dl_wire *wire, void *data, size_t bytes, int process, int tag) {
  char *at = data;
  DL_TRY(reserve_posts(wire, bytes));
  for (size_t done = 0; done < bytes; done += PIECE_BYTES) {
    size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
    DL_TRY(check(MPI_Irecv(at + done, (int)n, MPI_BYTE, process, tag, wire->comm, &wire->posts[wire->n_posts]),
                 "MPI_Irecv"));
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
  MPI_Abort(wire->comm, exit_code);
  _exit(exit_code);
}

/* Waiting on a wire, and who is missing when it takes too long.
 *
 * Whoever has waited for a while, at a gate in memory or for messages, says so to all others once a second on a
 * communicator of its own (a beat). Who is waited for at the deadline and has not been heard of lately waits for
 * nobody: it is stopped, cut off, gone, or computes. That names the right one wherever the others wait: a rank that
 * itself waits for the missing one beats. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "comm/wire_private.h"
#include "core/clock.h"

#define BEATS_AFTER_S 2.0
#define LOOK_EVERY_S 0.05
#define GIVE_WAY_S 4 /* mpirun needs about 3 s to end a job with a stopped rank */

static double smaller(double a, double b) { return a < b ? a : b; }

/* Seconds between beats: fewer where many would speak, more where the deadline is near. */
static double beat_interval(const dl_wire *wire) {
  return smaller(1.0 + wire->place.size / 256.0, wire->timeout_s / 10);
}
static double still_fresh_s(const dl_wire *wire) { return smaller(5 * beat_interval(wire), wire->timeout_s / 2); }

static void hear(dl_wire *wire, double now) {
  for (;;) {
    int there = 0;
    MPI_Status from;
    char beat;
    if (MPI_Iprobe(MPI_ANY_SOURCE, DL_TAG_BEAT, wire->side, &there, &from) != MPI_SUCCESS || !there) return;
    if (MPI_Recv(&beat, 1, MPI_CHAR, from.MPI_SOURCE, DL_TAG_BEAT, wire->side, MPI_STATUS_IGNORE) != MPI_SUCCESS)
      return;
    wire->peers[from.MPI_SOURCE].heard_s = now;
    if (beat == DL_BEAT_LEAVES) wire->peers[from.MPI_SOURCE].left = true;
    if (beat == DL_BEAT_FAILED) wire->peers[from.MPI_SOURCE].failed = true;
  }
}

static void tell_all(dl_wire *wire, const char *beat) {
  for (int process = 0; process < wire->place.size; process++) {
    MPI_Request request;
    if (process == wire->place.rank) continue;
    if (MPI_Isend(beat, 1, MPI_CHAR, process, DL_TAG_BEAT, wire->side, &request) == MPI_SUCCESS)
      MPI_Request_free(&request); /* one byte: it is on its way when Isend returns */
  }
}

/* Any thread may come here at the end; whoever has MPI keeps it. */
void dl_wire_leave(dl_wire *wire) {
  static const char beat = DL_BEAT_LEAVES;
  if (!dl_wire_try_claim(wire)) return;
  tell_all(wire, &beat);
  for (int i = 0; i < 20; i++) {
    hear(wire, dl_now_s()); /* which lets it move */
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  dl_wire_release(wire);
}

/* A process that was killed is gone from its host long before the deadline. Who has left by itself has said why. */
static bool somebody_died(dl_wire *wire, double now) {
  if (wire->dead >= 0) return true;
  if (now - wire->look_s < LOOK_EVERY_S) return false;
  wire->look_s = now;
  for (int p = 0; p < wire->place.size && wire->dead < 0; p++)
    if (wire->peers[p].pid && kill(wire->peers[p].pid, 0) && errno == ESRCH) wire->dead = p;
  if (wire->dead < 0) return false;
  hear(wire, now);
  return true;
}

void dl_wire_hear(dl_wire *wire) { hear(wire, dl_now_s()); }

bool dl_wire_beat(dl_wire *wire, double waited_s) {
  static const char beat = DL_BEAT_WAITS;
  double now = dl_now_s();
  if (somebody_died(wire, now)) return true;
  if (waited_s < smaller(BEATS_AFTER_S, wire->timeout_s / 5) || now - wire->beat_s < beat_interval(wire)) return false;
  hear(wire, now);
  wire->beat_s = now;
  tell_all(wire, &beat);
  return false;
}

/* ---- who is missing ---- */

typedef struct sentence {
  char *text;
  size_t size, used;
} sentence;

static __attribute__((format(printf, 2, 3))) void add(sentence *s, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(s->text + s->used, s->size - s->used, format, arguments);
  va_end(arguments);
  if (n > 0) s->used = s->used + (size_t)n < s->size ? s->used + (size_t)n : s->size - 1;
}

static bool is_missing(const dl_wire *wire, int process, double now) {
  return process != wire->place.rank && now - wire->peers[process].heard_s > still_fresh_s(wire);
}

/* The missing ranks of processes [first, end), which are of one host; returns how many processes are missing. */
static int list_host(const dl_wire *wire, int first, int end, double now, sentence *s) {
  int missing = 0, listed = 0;
  for (int p = first; p < end; p++) missing += is_missing(wire, p, now);
  if (!missing) return 0;
  add(s, "%srank%s", s->used ? ", " : "", missing * wire->threads > 1 ? "s" : "");
  for (int p = first; p < end; p++)
    for (int t = 0; is_missing(wire, p, now) && t < wire->threads; t++)
      add(s, "%s%d", listed++ ? ", " : " ", p * wire->threads + t);
  add(s, " on %s", wire->peers[first].host);
  return missing;
}

/* "rank 2 on n1, ranks 4, 5 on n2": members. */
static int list_missing(const dl_wire *wire, double now, sentence *s) {
  int missing = 0;
  for (int p = 0, end; p < wire->place.size; p = end) {
    end = p + 1;
    while (end < wire->place.size && !strcmp(wire->peers[end].host, wire->peers[p].host)) end++;
    missing += list_host(wire, p, end, now, s);
  }
  return missing;
}

const char *dl_phase_text(dl_phase phase, const char *what, char *text, size_t size) {
  if (phase.name)
    snprintf(text, size, "step %lld, phase %s", (long long)phase.step, phase.name);
  else if (phase.step)
    snprintf(text, size, "step %lld, phase %s", (long long)phase.step, what);
  else
    snprintf(text, size, "phase %s", what);
  return text;
}

/* Until mpirun has ended this process too, whatever signals it sends before; or, where it cannot, until who spoke is
 * gone. */
static void give_way(dl_wire *wire) {
  double begin = dl_now_s(), end = begin + GIVE_WAY_S;
  for (double now = begin; now < end; now = dl_now_s()) {
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    hear(wire, now);
    for (int p = 0; p < wire->place.size; p++) {
      const dl_wire_peer *peer = &wire->peers[p];
      if (!peer->left) continue;
      wire->silent = true;
      if (peer->pid && kill(peer->pid, 0) && end > now + 1) end = now + 1;
    }
  }
}

/* The lowest of those who know speaks: of all that wait; of the host where somebody died. */
static bool another_speaks(const dl_wire *wire, double now) {
  for (int p = 0; p < wire->place.size; p++)
    if (wire->peers[p].left) return true;
  for (int p = 0; p < wire->place.rank; p++)
    if (wire->dead >= 0 ? wire->peers[p].pid && p != wire->dead : !is_missing(wire, p, now)) return true;
  return false;
}

static dl_status fail_dead(const dl_wire *wire, const char *what) {
  const int rank = wire->dead * wire->threads;
  dl_fail(DL_ERR_TRAIN, "rank %d on %s was lost, its process has died: noticed by rank %d on %s in %s", rank,
          wire->peers[wire->dead].host, wire->place.rank * wire->threads, wire->peers[wire->place.rank].host, what);
  return dl_hint("killed for want of memory, or crashed: see the system's log; run again to go on from the checkpoint");
}

dl_status dl_wire_fail_late(dl_wire *wire, const char *what) {
  char missing[400] = "", phase[96];
  sentence s = {missing, sizeof missing, 0};
  double now = dl_now_s();
  hear(wire, now);
  what = dl_phase_text(wire->phase, what, phase, sizeof phase);
  wire->late = true;
  if (another_speaks(wire, now)) give_way(wire);
  if (wire->dead >= 0) return fail_dead(wire, what);
  int rank = wire->place.rank * wire->threads;
  const char *host = wire->peers[wire->place.rank].host;
  if (list_missing(wire, now, &s))
    dl_fail(DL_ERR_TRAIN, "%s did not come: rank %d on %s waited %.0f s in %s", missing, rank, host, wire->timeout_s,
            what);
  else
    dl_fail(DL_ERR_TRAIN, "rank %d on %s waited %.0f s in %s: all ranks are there, the network does not deliver", rank,
            host, wire->timeout_s, what);
  return dl_hint("a rank is lost, stopped, or very slow; sync.timeout says how long to wait");
}

/* Where many see them fail the lowest speaks. */
static bool lower_failed(const dl_wire *wire) {
  int p = 0;
  while (p < wire->place.rank && !wire->peers[p].failed) p++;
  return p < wire->place.rank;
}

dl_status dl_wire_fail_lost(dl_wire *wire, const char *what, const char *why) {
  static const char beat = DL_BEAT_FAILED;
  char phase[96];
  double now = dl_now_s();
  what = dl_phase_text(wire->phase, what, phase, sizeof phase);
  wire->late = true;
  tell_all(wire, &beat);
  if (!somebody_died(wire, now) || another_speaks(wire, now)) give_way(wire);
  if (lower_failed(wire)) give_way(wire);
  if (somebody_died(wire, dl_now_s())) return fail_dead(wire, what);
  dl_fail(DL_ERR_TRAIN, "messages failed at rank %d on %s in %s: %.500s", wire->place.rank * wire->threads,
          wire->peers[wire->place.rank].host, what, why);
  return dl_hint("a node or the network was lost; run again to go on from the checkpoint");
}

/* ---- the wait itself ---- */

/* Looks, yields, sleeps: `turn` counts the looks of one wait. */
void dl_wire_pause(const dl_wire *wire, int64_t turn) {
  if (!wire->crowded && turn < 2000) return;
  if (turn < 20000) {
    sched_yield();
  } else {
    struct timespec nap = {0, 50000};
    nanosleep(&nap, NULL);
  }
}

bool dl_wire_is_late(dl_wire *wire, double begin_s) {
  double waited = dl_now_s() - begin_s;
  return dl_wire_beat(wire, waited) || waited > wire->timeout_s;
}

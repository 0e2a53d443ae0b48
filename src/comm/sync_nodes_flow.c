/* What travels between nodes. The sum of a bucket goes out as soon as the members of a node have added theirs to it;
 * every node sends each other node the sums of that one's part, straight from where they lie, and the owner finishes
 * the tree when all has come. As many bytes as recursive halving sends, in one stage instead of one for each doubling.
 * Weights go back in the same way, from where the optimizer wrote them to where the other nodes read them.
 *
 * Parts travel in pieces that MPI sends without asking first (at most 64 KiB over TCP). A larger message asks, and the
 * answer waits behind whatever goes the same way: with both nodes sending, one direction then idles while the other is
 * busy. Large models do ask, as their pieces would be too many, and packed sums, whose length is not known before.
 *
 * Open MPI moves nothing by itself. A thread of the process that sleeps between its turns does, where MPI allows calls
 * from a second thread, and only while something is on its way; the wire's lock keeps it from the leader. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "comm/sync_nodes.h"
#include "core/clock.h"

#define DRAIN_S 2.0
#define SLICE_NS 100000u       /* the shortest that Linux gives */
#define TIMER_SLACK_NS 10000ul /* 50 us otherwise */
#define PIECE_FLOATS ((size_t)15 * DL_BLOCK)
#define MOST_PIECES 2048        /* of a model; every turn looks at all that are on their way */
#define SHORTEST_NAP_NS 500000L /* at 1 Gbit/s 63 KB, which a socket holds many times */
#define LONGEST_NAP_NS 2000000L /* where nothing moves: a turn takes 20 us from who computes there */

static size_t floats_of(const dl_sync *sync, dl_block_range part, size_t *begin) {
  *begin = dl_sync_block_offset(sync, part.first);
  return part.first < part.end ? dl_sync_block_offset(sync, part.end) - *begin : 0;
}

static int process_of(const dl_nodes *own, int node) { return own->place[node].first_process + own->process; }
static int gradient_tag(const dl_nodes *own, int bucket, int root) { return 1 + bucket * own->max_roots + root; }
static int weight_tag(const dl_nodes *own, int bucket) { return 1 + own->n_buckets * own->max_roots + bucket; }

/* What a message is posted with: a bucket of weights, or packed sums. */
static int packed_id(const dl_nodes *own, int bucket, int node, int root) {
  return own->n_buckets + (bucket * own->n_nodes + node) * own->max_roots + root;
}

/* ---- what is posted ---- */

/* The floats of the piece that begins at `at`; a part of none has no piece. */
static size_t piece(const dl_nodes *own, size_t floats, size_t at) {
  return floats - at < own->piece ? floats - at : own->piece;
}
static int pieces_of(const dl_nodes *own, size_t floats) { return (int)((floats + own->piece - 1) / own->piece); }

/* Pieces of one tag arrive in the order of posting. */
static dl_status receive_pieces(dl_nodes *own, float *to, size_t floats, int node, int tag, int id) {
  for (size_t at = 0; at < floats; at += own->piece)
    DL_TRY(dl_flow_receive(own->flow, to + at, piece(own, floats, at) * sizeof *to, process_of(own, node), tag, id));
  return DL_OK;
}

static dl_status send_pieces(dl_nodes *own, const float *from, size_t floats, int node, int tag) {
  for (size_t at = 0; at < floats; at += own->piece)
    DL_TRY(dl_flow_send(own->flow, from + at, piece(own, floats, at) * sizeof *from, process_of(own, node), tag, -1));
  return DL_OK;
}

/* Where a sum of another node goes, and where it comes in before it is unpacked: 16 bits into the upper half of its
 * place, what may be longer than that into memory of its own. */
typedef struct arrival {
  float *floats;
  void *unread;
} arrival;

static arrival arrival_of(const dl_sync *sync, int bucket, int node, int root) {
  const dl_nodes *own = dl_nodes_of(sync);
  const dl_block_range part = dl_nodes_part(sync, bucket, own->process, own->node);
  const size_t at = (size_t)(node * own->max_roots + root) * own->own_count + own->own_at[part.first];
  size_t begin, floats = floats_of(sync, part, &begin);
  arrival out = {.floats = own->received + at};
  out.unread = own->unread ? (void *)(own->unread + dl_nodes_packed_bytes(sync, at))
                           : (void *)((uint16_t *)(void *)out.floats + floats);
  return out;
}

static dl_status receive_gradients(dl_sync *sync, dl_nodes *own, int bucket) {
  size_t begin, floats = floats_of(sync, dl_nodes_part(sync, bucket, own->process, own->node), &begin);
  if (!floats) return DL_OK;
  for (int k = 0; k < own->n_nodes; k++)
    for (int r = 0; k != own->node && r < own->roots_of[k]; r++) {
      const arrival to = arrival_of(sync, bucket, k, r);
      const int tag = gradient_tag(own, bucket, r);
      if (own->packed) /* as long as it turns out, so it is one message */
        DL_TRY(dl_flow_receive(own->flow, to.unread, dl_nodes_packed_bytes(sync, floats), process_of(own, k), tag,
                               packed_id(own, bucket, k, r)));
      else
        DL_TRY(receive_pieces(own, to.floats, floats, k, tag, -1));
    }
  return DL_OK;
}

static dl_status send_gradients(dl_sync *sync, dl_nodes *own, int bucket) {
  for (int i = 1; i < own->n_nodes; i++) {
    int k = (own->node + i) % own->n_nodes; /* not all to the same one first */
    const dl_block_range part = dl_nodes_part(sync, bucket, own->process, k);
    size_t begin, floats = floats_of(sync, part, &begin);
    for (int r = 0; floats && r < own->n_roots; r++) {
      const float *from = dl_nodes_root_at(sync, r, begin);
      const int tag = gradient_tag(own, bucket, r);
      if (own->packed) {
        void *out = own->packed + dl_nodes_packed_bytes(sync, (size_t)r * sync->group->count + begin);
        const size_t bytes = dl_nodes_pack(sync, out, from, part);
        DL_TRY(dl_flow_send(own->flow, out, bytes, process_of(own, k), tag, -1));
      } else {
        DL_TRY(send_pieces(own, from, floats, k, tag));
      }
    }
  }
  return DL_OK;
}

static void weights_arrived(dl_nodes *own, int bucket) {
  atomic_store_explicit(&own->arrived[bucket * own->columns + own->process], own->gather_step, memory_order_release);
}

static dl_status unpack(dl_sync *sync, int id, size_t bytes) {
  const dl_nodes *own = dl_nodes_of(sync);
  const int root = id % own->max_roots, node = id / own->max_roots % own->n_nodes,
            bucket = id / own->max_roots / own->n_nodes;
  const arrival to = arrival_of(sync, bucket, node, root);
  return dl_nodes_unpack(sync, to.floats, to.unread, bytes, dl_nodes_part(sync, bucket, own->process, own->node), node);
}

static dl_status message_done(void *context, int id, size_t bytes) {
  dl_nodes *own = dl_nodes_of(context);
  if (id >= own->n_buckets) return unpack(context, id - own->n_buckets, bytes);
  if (--own->weights_missing[id] == 0) weights_arrived(own, id);
  return DL_OK;
}

static dl_status swap_weights(dl_sync *sync, dl_nodes *own, int bucket) {
  size_t begin, floats;
  own->weights_missing[bucket] = 0;
  for (int k = 0; k < own->n_nodes; k++) {
    floats = floats_of(sync, dl_nodes_part(sync, bucket, own->process, k), &begin);
    if (k == own->node || !floats) continue;
    own->weights_missing[bucket] += pieces_of(own, floats);
    DL_TRY(receive_pieces(own, sync->weights + begin, floats, k, weight_tag(own, bucket), bucket));
  }
  floats = floats_of(sync, dl_nodes_part(sync, bucket, own->process, own->node), &begin);
  for (int i = 1; i < own->n_nodes; i++)
    DL_TRY(send_pieces(own, sync->weights + begin, floats, (own->node + i) % own->n_nodes, weight_tag(own, bucket)));
  if (!own->weights_missing[bucket]) weights_arrived(own, bucket);
  return DL_OK;
}

/* ---- turns: with the wire's lock held ---- */

static dl_status turn(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  int64_t all = own->flow_step * own->place[own->node].members;
  while (own->next_send < own->n_buckets &&
         atomic_load_explicit(&own->folded[own->next_send], memory_order_acquire) >= all)
    DL_TRY(send_gradients(sync, own, own->next_send++));
  return dl_flow_turn(own->flow);
}

/* The first error stays. */
static dl_status keep(dl_nodes *own, dl_status status) {
  if (status == DL_OK || own->flow_status != DL_OK) return status;
  own->flow_status = status;
  own->flow_error = *dl_error_last();
  return status;
}

static void guarded_turn(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  if (own->flow_status == DL_OK) keep(own, turn(sync));
}

/* In the phase that this member is in: whoever moved messages may have been in none. */
static dl_status fail_flow(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  const dl_phase phase = dl_member_of(sync->team)->at;
  const dl_error why = own->flow_error;
  dl_wire_set_phase(own->wire, phase);
  return dl_wire_fail_lost(own->wire, "messages", why.message);
}

static bool is_idle(const dl_nodes *own) {
  return own->flow_status != DL_OK || (own->next_send >= own->n_buckets && !dl_flow_pending(own->flow));
}

/* ---- the thread ---- */

static bool wait_for_work(dl_nodes *own) {
  pthread_mutex_lock(&own->thread_lock);
  while (!own->thread_works && !own->thread_ends) pthread_cond_wait(&own->thread_wakes, &own->thread_lock);
  bool on = !own->thread_ends;
  pthread_mutex_unlock(&own->thread_lock);
  return on;
}

static void set_work(dl_nodes *own, bool works) {
  if (!own->has_thread) return;
  pthread_mutex_lock(&own->thread_lock);
  own->thread_works = works;
  pthread_cond_signal(&own->thread_wakes);
  pthread_mutex_unlock(&own->thread_lock);
}

/* Few microseconds when they are due are worth more than a share of a core: a short slice lets a thread that wakes go
 * before one that computes (Linux 6.12; elsewhere it is as it was). A class that the user chose stays. */
static void ask_for_short_slices(void) {
  const int nice_now = getpriority(PRIO_PROCESS, 0);
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline, period;
  } attributes = {.size = sizeof attributes, .nice = nice_now, .runtime_ns = SLICE_NS};
  prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
  if (sched_getscheduler(0) != SCHED_OTHER) return;
  (void)!syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void *run_thread(void *context) {
  ask_for_short_slices();
  dl_sync *sync = context;
  dl_nodes *own = dl_nodes_of(sync);
  long nap_ns = SHORTEST_NAP_NS;
  while (wait_for_work(own)) {
    bool moved = false;
    nanosleep(&(struct timespec){0, nap_ns}, NULL); /* who gave it work has just moved what could be moved */
    if (dl_wire_try_claim(own->wire)) {
      const int pending = dl_flow_pending(own->flow), next = own->next_send;
      guarded_turn(sync);
      moved = dl_flow_pending(own->flow) != pending || own->next_send != next;
      if (is_idle(own)) set_work(own, false);
      dl_wire_release(own->wire);
    }
    nap_ns = moved ? SHORTEST_NAP_NS : 2 * nap_ns < LONGEST_NAP_NS ? 2 * nap_ns : LONGEST_NAP_NS;
  }
  return NULL;
}

static dl_status start_thread(dl_sync *sync, dl_nodes *own) {
  pthread_mutex_init(&own->thread_lock, NULL);
  pthread_cond_init(&own->thread_wakes, NULL);
  if (pthread_create(&own->thread, NULL, run_thread, sync))
    return dl_fail(DL_ERR_SYSTEM, "the thread for messages could not be started");
  own->has_thread = true;
  return DL_OK;
}

/* ---- life ---- */

/* The most pieces that a part of this process's column has. */
static int most_pieces(const dl_sync *sync, const dl_nodes *own) {
  int most = 1;
  for (int b = 0; b < own->n_buckets; b++)
    for (int k = 0; k < own->n_nodes; k++) {
      size_t begin;
      const int pieces = pieces_of(own, floats_of(sync, dl_nodes_part(sync, b, own->process, k), &begin));
      if (pieces > most) most = pieces;
    }
  return most;
}

static dl_status make_room_to_pack(dl_sync *sync, dl_nodes *own) {
  if (!sync->half && !sync->topk) return DL_OK;
  const size_t roots = (size_t)own->max_roots, packed = dl_nodes_packed_bytes(sync, roots * sync->group->count),
               unread = dl_nodes_packed_bytes(sync, (size_t)own->n_nodes * roots * own->own_count);
  own->packed = dl_calloc_aligned(packed, 1);
  if (sync->topk) own->unread = dl_calloc_aligned(unread, 1);
  sync->member_bytes += packed + (sync->topk ? unread : 0);
  return own->packed && (own->unread || !sync->topk) ? DL_OK : DL_ERR_NOMEM;
}

dl_status dl_nodes_flow_new(dl_sync *sync, bool with_thread) {
  dl_nodes *own = dl_nodes_of(sync);
  size_t others = (size_t)own->n_nodes - 1, doubles = (size_t)own->widest * 2;
  if (!dl_nodes_has_column(sync)) return DL_OK;
  own->piece = sync->group->count > MOST_PIECES * PIECE_FLOATS ? sync->group->count : PIECE_FLOATS;
  const size_t parts = (size_t)own->n_buckets * others, gradients = parts * (size_t)own->max_roots;
  const size_t room = 2 * (gradients + parts) * (size_t)most_pieces(sync, own);
  if ((int64_t)own->n_buckets * (own->max_roots + 1) + 2 > dl_wire_tag_limit(own->wire))
    return dl_fail(DL_ERR_USAGE, "sync.bucket_mb: %d buckets are more than this MPI's tags allow for", own->n_buckets);
  own->next_send = own->n_buckets;
  own->weights_missing = dl_calloc((size_t)own->n_buckets, sizeof *own->weights_missing);
  own->swap_send = dl_calloc_aligned(doubles, sizeof(double));
  own->swap_received = dl_calloc_aligned(doubles * (size_t)own->n_nodes, sizeof(double));
  if (!own->weights_missing || !own->swap_send || !own->swap_received) return DL_ERR_NOMEM;
  DL_TRY(make_room_to_pack(sync, own));
  sync->member_bytes += dl_flow_bytes(room) + doubles * sizeof(double) * (size_t)(own->n_nodes + 1);
  DL_TRY(dl_flow_new(own->wire, (int)room, message_done, sync, &own->flow));
  return with_thread && dl_wire_any_thread(own->wire) ? start_thread(sync, own) : DL_OK;
}

/* After a good end only the last weights may still leave; after a bad one nobody may take them, and where messages
 * failed the record says so already. */
static void drain(dl_nodes *own) {
  if (!own->flow || own->flow_status != DL_OK) return;
  dl_wire_claim(own->wire);
  for (double end = dl_now_s() + DRAIN_S; dl_flow_pending(own->flow) && dl_now_s() < end;) {
    if (dl_flow_turn(own->flow) != DL_OK) break;
    dl_wire_pause(own->wire, 2000);
  }
  dl_wire_release(own->wire);
}

void dl_nodes_flow_destroy(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  if (own->has_thread) {
    pthread_mutex_lock(&own->thread_lock);
    own->thread_ends = true;
    pthread_cond_signal(&own->thread_wakes);
    pthread_mutex_unlock(&own->thread_lock);
    pthread_join(own->thread, NULL);
    own->has_thread = false;
    pthread_cond_destroy(&own->thread_wakes);
    pthread_mutex_destroy(&own->thread_lock);
  }
  drain(own);
  dl_flow_destroy(&own->flow);
  free(own->weights_missing);
  free(own->packed);
  free(own->unread);
  free(own->swap_send);
  free(own->swap_received);
}

/* ---- what the members call ---- */

static void count_bytes(dl_nodes *own) {
  uint64_t sent = dl_wire_sent_bytes(own->wire);
  atomic_fetch_add_explicit(&own->control->sent_bytes, sent - own->counted_bytes, memory_order_relaxed);
  own->counted_bytes = sent;
}

void dl_nodes_flow_open(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  if (!own->flow || own->flow_step == sync->step) return;
  dl_wire_claim(own->wire);
  own->flow_step = sync->step;
  own->next_send = 0;
  for (int b = 0; b < own->n_buckets && own->flow_status == DL_OK; b++) keep(own, receive_gradients(sync, own, b));
  dl_wire_release(own->wire);
  set_work(own, sync->options.overlap);
}

bool dl_nodes_flow_turn(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  if (!own->flow || !dl_wire_try_claim(own->wire)) return false;
  guarded_turn(sync);
  dl_wire_release(own->wire);
  return true;
}

dl_status dl_nodes_flow_finish(dl_sync *sync, const char *what) {
  dl_nodes *own = dl_nodes_of(sync);
  if (!own->flow) return DL_OK;
  double begin = dl_now_s();
  for (int64_t looks = 0; !is_idle(own); looks++) {
    guarded_turn(sync);
    if (looks % 64 == 63 && dl_wire_is_late(own->wire, begin)) return dl_wire_fail_late(own->wire, what);
    if (!is_idle(own)) dl_wire_pause(own->wire, looks);
  }
  count_bytes(own);
  return own->flow_status == DL_OK ? DL_OK : fail_flow(sync);
}

dl_status dl_nodes_flow_check(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  if (!own->flow || !dl_wire_try_claim(own->wire)) return DL_OK;
  const dl_status status = own->flow_status == DL_OK ? DL_OK : fail_flow(sync);
  dl_wire_release(own->wire);
  return status;
}

dl_status dl_nodes_flow_weights(dl_sync *sync) {
  dl_nodes *own = dl_nodes_of(sync);
  if (!own->flow) return DL_OK;
  for (int b = own->n_buckets; b-- > 0;)
    if (keep(own, swap_weights(sync, own, b)) != DL_OK) return fail_flow(sync);
  count_bytes(own);
  set_work(own, sync->options.overlap);
  return DL_OK;
}

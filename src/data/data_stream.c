/* data_stream.c - buffers that the I/O thread fills and the compute reads.
 *
 * A buffer is idle, queued (with the thread, who alone touches it then), ready or failed; one mutex guards these states
 * and the queue. The compute asks for a place; a miss is queued before everything else and waited for. A window that is
 * ready has the following one queued into the lane's other buffer, at the end of an epoch the first one of the next.
 * Geometry of windows is worked out by the thread alone. An error stays with its buffer and becomes that of whoever
 * asks for the place.
 */
#include "data/data_stream.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "data/data_reader.h"

enum { PART_BUFFERS = 3 };
enum { IDLE, QUEUED, READY, FAILED };

typedef struct buffer {
  int state;
  bool is_lane;
  /* what was asked for */
  int64_t epoch, lane, position; /* a window; or: */
  int part;
  int64_t unit;
  /* what is there */
  dl_lane_window window;
  int64_t first, n; /* row of the part; rows */
  char *x;
  size_t room;
  int64_t *sample; /* of windows */
  int64_t used;    /* when, by the stream's count */
  dl_error error;
} buffer;

struct dl_stream {
  const dl_data *data;
  size_t row_bytes;
  pthread_t thread;
  bool running;
  pthread_mutex_t lock;
  pthread_cond_t asked, done;
  bool stop;
  buffer **queue; /* room for every buffer there is */
  int waiting;
  /* the thread's own */
  dl_reader *reader;
  uint32_t *place;
  int64_t units_read;
  dl_stream_figures figures; /* under the lock */
  /* the compute's own */
  dl_stream_lanes wanted;
  dl_lanes lanes;            /* geometry that needs no epoch is everybody's; epochs are the thread's */
  buffer (*lane)[2];         /* of each lane of this member, and one pair for those of others */
  dl_units units[DL_SPLITS]; /* of parts, in file order */
  buffer part[PART_BUFFERS];
  int64_t count;
};

/* ---- the thread ---- */

static dl_status make_room(const dl_stream *s, buffer *b, int64_t rows) {
  const size_t bytes = (size_t)rows * s->row_bytes;
  if (b->room >= bytes) return DL_OK;
  free(b->x);
  free(b->sample);
  b->room = 0;
  b->sample = NULL;
  b->x = malloc(bytes);
  if (b->is_lane) b->sample = malloc((size_t)rows * sizeof *b->sample);
  if (!b->x || (b->is_lane && !b->sample))
    return dl_fail(DL_ERR_NOMEM, "no memory for %.1f MB of samples read ahead", (double)bytes / 1e6);
  b->room = bytes;
  return DL_OK;
}

static void copy_row(char *restrict to, const char *restrict from, size_t bytes) { memcpy(to, from, bytes); }

/* The samples of one unit to their places; q counts those of the window. */
static int64_t deal_unit(const dl_stream *s, buffer *b, const dl_unit *unit, const char *x, int64_t from, int64_t to,
                         int64_t q) {
  const int64_t *order = s->lanes.units.order;
  for (int64_t i = from; i < to; i++, q++) {
    const int64_t sample = order ? order[i] : i;
    const size_t at = s->place[q];
    copy_row(b->x + at * s->row_bytes, x + (size_t)(sample - unit->first) * s->row_bytes, s->row_bytes);
    b->sample[at] = sample;
  }
  return q;
}

static dl_status load_window(dl_stream *s, buffer *b) {
  const dl_lane_window *near = b->n ? &b->window : NULL;
  const dl_lane_window w = dl_lane_window_at(&s->lanes, b->epoch, b->lane, b->position, near);
  const dl_lanes_epoch *e = dl_lanes_epoch_of(&s->lanes, b->epoch);
  const int64_t lane = dl_lane_begin(&s->lanes, b->lane), begin = lane + w.begin, end = lane + w.end;
  int64_t q = 0;
  b->n = 0;
  DL_TRY(make_room(s, b, s->lanes.window));
  dl_lane_deal(&s->lanes, &w, s->place);
  for (int64_t k = w.unit; k < w.unit_end; k++) {
    const int64_t from = e->start[k] > begin ? e->start[k] : begin, to = e->start[k + 1] < end ? e->start[k + 1] : end;
    if (from >= to) continue;
    const dl_unit unit = dl_unit_at(&s->lanes.units, e->unit[k]);
    const int64_t shift = s->lanes.units.first[e->unit[k]] - e->start[k];
    const char *x;
    DL_TRY(dl_reader_unit(s->reader, s->data->source_part[DL_SPLIT_TRAIN], &unit, &x));
    q = deal_unit(s, b, &unit, x, from + shift, to + shift, q);
    s->units_read++;
  }
  b->window = w;
  b->n = w.end - w.begin;
  return DL_OK;
}

static dl_status load_unit(dl_stream *s, buffer *b) {
  const dl_unit unit = dl_unit_at(&s->units[b->part], b->unit);
  const char *x;
  b->n = 0;
  DL_TRY(make_room(s, b, s->units[b->part].most_rows));
  DL_TRY(dl_reader_unit(s->reader, b->part, &unit, &x));
  memcpy(b->x, x, (size_t)unit.rows * s->row_bytes);
  b->first = unit.first;
  b->n = unit.rows;
  s->units_read++;
  return DL_OK;
}

static void *serve(void *context) {
  dl_stream *s = context;
  pthread_mutex_lock(&s->lock);
  for (;;) {
    while (!s->waiting && !s->stop) pthread_cond_wait(&s->asked, &s->lock);
    if (s->stop) break;
    buffer *b = s->queue[0];
    memmove(s->queue, s->queue + 1, (size_t)--s->waiting * sizeof s->queue[0]);
    pthread_mutex_unlock(&s->lock);
    const double begin = dl_now_s();
    const dl_status status = b->is_lane ? load_window(s, b) : load_unit(s, b);
    if (status != DL_OK) b->error = *dl_error_last();
    b->error.status = status;
    const double seconds = dl_now_s() - begin;
    pthread_mutex_lock(&s->lock);
    s->figures.busy_s += seconds;
    s->figures.units = s->units_read;
    s->figures.row_bytes += b->n * (int64_t)s->row_bytes;
    s->figures.fetch_s = dl_reader_buffers(s->reader)->fetch_s;
    s->figures.chunks = dl_reader_buffers(s->reader)->chunks;
    s->figures.packed_bytes = dl_reader_buffers(s->reader)->packed_bytes;
    b->state = status == DL_OK ? READY : FAILED;
    pthread_cond_signal(&s->done);
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* Signals are the compute's. */
static dl_status start_thread(dl_stream *s) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&s->thread, NULL, serve, s);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) return dl_fail(DL_ERR_SYSTEM, "no thread could be started to read data: %s", strerror(failed));
  s->running = true;
  return DL_OK;
}

/* ---- life ---- */

dl_status dl_stream_new(const dl_data *data, dl_stream **out) {
  dl_stream *s = dl_calloc(1, sizeof *s);
  *out = NULL;
  if (!s) return DL_ERR_NOMEM;
  s->data = data;
  s->row_bytes = (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->asked, NULL);
  pthread_cond_init(&s->done, NULL);
  s->queue = dl_calloc(PART_BUFFERS, sizeof *s->queue);
  dl_status status = s->queue ? dl_reader_new(data, &s->reader) : DL_ERR_NOMEM;
  for (int p = 0; p < DL_SPLITS && status == DL_OK; p++)
    if (data->source_part[p] == p && data->part[p].samples) status = dl_units_make(data, p, 0, false, &s->units[p]);
  if (status == DL_OK) status = start_thread(s);
  if (status != DL_OK) dl_stream_destroy(&s);
  *out = s;
  return status;
}

static void free_buffers(buffer *b, int n) {
  for (int i = 0; i < n; i++) {
    free(b[i].x);
    free(b[i].sample);
  }
}

static int64_t lane_pairs(const dl_stream *s) { return s->lane ? s->wanted.end - s->wanted.begin + 1 : 0; }

void dl_stream_destroy(dl_stream **stream) {
  dl_stream *s = *stream;
  if (!s) return;
  if (s->running) {
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->asked);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
  }
  for (int64_t i = 0; i < lane_pairs(s); i++) free_buffers(s->lane[i], 2);
  free(s->lane);
  free_buffers(s->part, PART_BUFFERS);
  for (int p = 0; p < DL_SPLITS; p++) dl_units_clear(&s->units[p]);
  dl_lanes_clear(&s->lanes);
  dl_reader_destroy(&s->reader);
  free(s->place);
  free(s->queue);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->asked);
  pthread_cond_destroy(&s->done);
  free(s);
  *stream = NULL;
}

static void warn_of_few(const dl_stream *s) {
  const dl_lanes *l = &s->lanes;
  const int64_t most = l->units.most_rows;
  if (l->units.n < 4 * l->shards)
    dl_warn("lanes",
            "data.shuffle: lanes mixes %lld chunk%s over %lld shards, too few to mix well: use full, or write the file "
            "with smaller chunks",
            (long long)l->units.n, l->units.n == 1 ? "" : "s", (long long)l->shards);
  else if (l->window < 4 * most && dl_lane_length(l, 0) > l->window)
    dl_warn("lanes",
            "data.shuffle: lanes mixes the samples of %lld chunk%s at a time: set data.shuffle_buffer_mb to %lld "
            "to mix those of 8",
            (long long)(l->window / most), l->window / most == 1 ? "" : "s",
            (long long)(16 * most * l->shards * (int64_t)s->row_bytes >> 20) + 1);
}

dl_status dl_stream_set_lanes(dl_stream *s, const dl_stream_lanes *wanted) {
  DL_TRY(dl_lanes_make(s->data, wanted->batch, wanted->shards, wanted->drop_last, wanted->buffer_bytes, &s->lanes));
  s->wanted = *wanted;
  const size_t pairs = (size_t)(wanted->end - wanted->begin) + 1;
  s->lane = dl_calloc(pairs, sizeof *s->lane);
  s->place = dl_calloc((size_t)s->lanes.window, sizeof *s->place);
  if (!s->lane || !s->place) return DL_ERR_NOMEM;
  pthread_mutex_lock(&s->lock);
  buffer **queue = dl_reallocarray(s->queue, 2 * pairs + PART_BUFFERS, sizeof *queue);
  if (queue) s->queue = queue;
  pthread_mutex_unlock(&s->lock);
  if (!queue) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  for (size_t i = 0; i < pairs; i++)
    for (int k = 0; k < 2; k++) {
      s->lane[i][k].is_lane = true; /* the pair for other lanes gets its memory when one is asked for */
      if (i + 1 < pairs && status == DL_OK) status = make_room(s, &s->lane[i][k], s->lanes.window);
    }
  warn_of_few(s);
  return status;
}

size_t dl_stream_bytes(const dl_stream *s) {
  size_t bytes = 0;
  for (int64_t i = 0; i + 1 < lane_pairs(s); i++)
    bytes += 2 * (size_t)s->lanes.window * (s->row_bytes + sizeof(int64_t));
  return bytes + (s->lane ? (size_t)s->lanes.window * sizeof *s->place : 0);
}

void dl_stream_limit_tokens(dl_stream *s, int64_t limit) {
  pthread_mutex_lock(&s->lock);
  dl_reader_limit_tokens(s->reader, limit);
  pthread_mutex_unlock(&s->lock);
}

dl_stream_figures dl_stream_figures_of(dl_stream *s) {
  pthread_mutex_lock(&s->lock);
  const dl_stream_figures figures = s->figures;
  pthread_mutex_unlock(&s->lock);
  return figures;
}

/* ---- asking; the lock is held ---- */

static void ask(dl_stream *s, buffer *b, bool first) {
  b->state = QUEUED;
  if (first) {
    memmove(s->queue + 1, s->queue, (size_t)s->waiting * sizeof s->queue[0]);
    s->queue[0] = b;
  } else {
    s->queue[s->waiting] = b;
  }
  s->waiting++;
  pthread_cond_signal(&s->asked);
}

/* One that waits behind others comes first from now on. */
static void hurry(dl_stream *s, const buffer *b) {
  for (int i = 1; i < s->waiting; i++)
    if (s->queue[i] == b) {
      buffer *found = s->queue[i];
      memmove(s->queue + 1, s->queue, (size_t)i * sizeof s->queue[0]);
      s->queue[0] = found;
    }
}

static void wait_for(dl_stream *s, const buffer *b) {
  const double begin = dl_now_s();
  hurry(s, b);
  while (b->state == QUEUED) pthread_cond_wait(&s->done, &s->lock);
  s->figures.wait_s += dl_now_s() - begin;
}

static dl_status take_error(buffer *b) {
  b->state = IDLE;
  const dl_status status = b->error.status;
  dl_error_adopt(&b->error);
  return status;
}

/* ---- lanes ---- */

static buffer *pair_of(dl_stream *s, int64_t lane) {
  const bool mine = lane >= s->wanted.begin && lane < s->wanted.end;
  return s->lane[mine ? lane - s->wanted.begin : s->wanted.end - s->wanted.begin];
}

static bool holds(const buffer *b, int64_t epoch, int64_t lane, int64_t position) {
  const dl_lane_window *w = &b->window;
  return b->state == READY && w->epoch == epoch && w->lane == lane && position >= w->begin && position < w->end;
}

static bool will_hold(const buffer *b, int64_t epoch, int64_t lane, int64_t position) {
  return b->state == QUEUED && b->epoch == epoch && b->lane == lane && position >= b->position;
}

static void ask_window(dl_stream *s, buffer *b, int64_t epoch, int64_t lane, int64_t position, bool first) {
  b->epoch = epoch;
  b->lane = lane;
  b->position = position;
  ask(s, b, first);
}

/* The window after the one in `now`, into the other buffer of the pair. */
static void read_on(dl_stream *s, const buffer *now, buffer *other) {
  const dl_lane_window *w = &now->window;
  const bool last = w->end == dl_lane_length(&s->lanes, w->lane);
  const int64_t epoch = w->epoch + last, position = last ? 0 : w->end;
  if (epoch >= s->wanted.epochs || other->state == QUEUED || other->state == FAILED ||
      holds(other, epoch, w->lane, position))
    return;
  ask_window(s, other, epoch, w->lane, position, false);
}

/* What this member's lanes will want at this step, before the first of them is waited for. */
static void ask_for_all(dl_stream *s, int64_t epoch, int64_t step, int64_t from) {
  for (int64_t lane = from; lane < s->wanted.end; lane++) {
    const int64_t position = dl_lane_position(&s->lanes, lane, step);
    buffer *pair = pair_of(s, lane);
    if (position >= dl_lane_length(&s->lanes, lane)) continue;
    bool there = false;
    for (int k = 0; k < 2; k++)
      there = there || pair[k].state == FAILED || holds(&pair[k], epoch, lane, position) ||
              will_hold(&pair[k], epoch, lane, position);
    buffer *free_one = pair[0].state == QUEUED || pair[0].used > pair[1].used ? &pair[1] : &pair[0];
    if (!there && free_one->state != QUEUED) ask_window(s, free_one, epoch, lane, position, false);
  }
}

static dl_status find_window(dl_stream *s, int64_t epoch, int64_t step, int64_t lane, int64_t position, buffer **out) {
  buffer *pair = pair_of(s, lane);
  for (;;) {
    buffer *late = NULL;
    for (int k = 0; k < 2; k++) {
      if (pair[k].state == FAILED && pair[k].epoch == epoch && pair[k].lane == lane && pair[k].position <= position)
        return take_error(&pair[k]);
      if (holds(&pair[k], epoch, lane, position)) {
        pair[k].used = ++s->count;
        *out = &pair[k];
        return DL_OK;
      }
      if (will_hold(&pair[k], epoch, lane, position)) late = &pair[k];
    }
    if (!late) {
      late = pair[0].used > pair[1].used ? &pair[1] : &pair[0];
      if (late->state == QUEUED) wait_for(s, late); /* something else is on its way there */
      ask_window(s, late, epoch, lane, position, true);
      if (lane >= s->wanted.begin && lane < s->wanted.end) ask_for_all(s, epoch, step, lane + 1);
    }
    wait_for(s, late);
  }
}

dl_status dl_stream_lane(dl_stream *s, int64_t epoch, int64_t step, int64_t lane, int64_t position, dl_rows *out) {
  buffer *b = NULL;
  pthread_mutex_lock(&s->lock);
  dl_status status = find_window(s, epoch, step, lane, position, &b);
  if (status == DL_OK) {
    buffer *pair = pair_of(s, lane);
    const int64_t skip = position - b->window.begin;
    *out = (dl_rows){b->x + (size_t)skip * s->row_bytes, b->sample + skip, b->n - skip};
    if (lane >= s->wanted.begin && lane < s->wanted.end) read_on(s, b, b == pair ? pair + 1 : pair);
  }
  pthread_mutex_unlock(&s->lock);
  return status;
}

/* ---- file order ---- */

static buffer *find_unit(dl_stream *s, int part, int64_t unit) {
  for (int k = 0; k < PART_BUFFERS; k++)
    if (s->part[k].state != IDLE && s->part[k].part == part && s->part[k].unit == unit) return &s->part[k];
  return NULL;
}

/* The one that was not used for longest. */
static buffer *oldest_unit(dl_stream *s) {
  buffer *oldest = &s->part[0];
  for (int k = 1; k < PART_BUFFERS; k++)
    if (s->part[k].used < oldest->used) oldest = &s->part[k];
  return oldest;
}

static buffer *ask_unit(dl_stream *s, int part, int64_t unit, bool first) {
  buffer *b = oldest_unit(s);
  if (b->state == QUEUED && !first) return NULL;
  if (b->state == QUEUED) wait_for(s, b);
  b->part = part;
  b->unit = unit;
  b->used = ++s->count;
  ask(s, b, first);
  return b;
}

dl_status dl_stream_part(dl_stream *s, int part, int64_t row, int64_t next, dl_rows *out) {
  const int64_t unit = dl_unit_of_row(&s->units[part], row);
  pthread_mutex_lock(&s->lock);
  buffer *b = find_unit(s, part, unit);
  if (!b) b = ask_unit(s, part, unit, true);
  if (b->state == QUEUED) wait_for(s, b);
  dl_status status = b->state == FAILED ? take_error(b) : DL_OK;
  if (status == DL_OK) {
    b->used = ++s->count;
    const int64_t skip = row - b->first;
    *out = (dl_rows){b->x + (size_t)skip * s->row_bytes, NULL, b->n - skip};
    int64_t ahead = next < 0 ? unit + 1 : dl_unit_of_row(&s->units[part], next);
    if (ahead < s->units[part].n && !find_unit(s, part, ahead)) ask_unit(s, part, ahead, false);
  }
  pthread_mutex_unlock(&s->lock);
  return status;
}

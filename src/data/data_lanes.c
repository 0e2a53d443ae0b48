/* data_lanes.c - see data_lanes.h.
 *
 * A lane's length follows from what leaves draw: steps times the leaf of a full batch, and the leaf of the ragged one.
 * Windows end at units, so that a unit is read for one window alone, but for the two that a lane's ends may cut. They
 * are made about equal: a short last window would mix badly. A window's order is a Fisher-Yates shuffle whose words
 * come from the stream (seed, lanes), keyed by epoch, lane and the window's number.
 */
#include "data/data_lanes.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

static int64_t leaf_size(int64_t samples, int64_t shards, int64_t leaf) {
  return dl_leaf_begin(samples, shards, leaf + 1) - dl_leaf_begin(samples, shards, leaf);
}

int64_t dl_lane_begin(const dl_lanes *l, int64_t lane) {
  return l->steps * dl_leaf_begin(l->batch, l->shards, lane) + dl_leaf_begin(l->ragged, l->shards, lane);
}

int64_t dl_lane_length(const dl_lanes *l, int64_t lane) {
  return l->steps * leaf_size(l->batch, l->shards, lane) + leaf_size(l->ragged, l->shards, lane);
}

int64_t dl_lane_position(const dl_lanes *l, int64_t lane, int64_t step) {
  return step * leaf_size(l->batch, l->shards, lane);
}

/* ---- making ---- */

static int64_t longest_lane(const dl_lanes *l) {
  int64_t most = 0;
  for (int64_t i = 0; i < l->shards; i++)
    if (dl_lane_length(l, i) > most) most = dl_lane_length(l, i);
  return most;
}

static int64_t fullest_unit(const dl_units *units) {
  int64_t most = 1;
  for (int64_t u = 0; u < units->n; u++)
    if (units->first[u + 1] - units->first[u] > most) most = units->first[u + 1] - units->first[u];
  return most;
}

static dl_status size_windows(dl_lanes *l, size_t row_bytes, int64_t buffer_bytes) {
  const int64_t unit = fullest_unit(&l->units), longest = longest_lane(l);
  int64_t most = buffer_bytes / 2 / l->shards / (int64_t)row_bytes;
  if (most > INT32_MAX) most = INT32_MAX;
  if (most >= longest) { /* a lane is one window */
    l->window = longest;
    return DL_OK;
  }
  if (most < unit) {
    const double bytes = 2.0 * (double)l->shards * (double)(unit < longest ? unit : longest) * (double)row_bytes;
    dl_fail(DL_ERR_USAGE,
            "data.shuffle: lanes wants room for two chunks of %lld samples in each of the %lld shards: "
            "data.shuffle_buffer_mb of %lld is too small",
            (long long)unit, (long long)l->shards, (long long)(buffer_bytes >> 20));
    return dl_hint("set data.shuffle_buffer_mb to at least %lld, or write the file with smaller chunks",
                   (long long)(bytes / (1 << 20)) + 1);
  }
  const int64_t windows = most > unit ? (longest + most - unit - 1) / (most - unit) : longest,
                even = (longest + windows - 1) / windows + unit;
  l->window = even < most ? even : most;
  return DL_OK;
}

dl_status dl_lanes_make(const dl_data *data, int64_t batch, int64_t shards, bool drop_last, int64_t buffer_bytes,
                        dl_lanes *out) {
  const int64_t n = data->plan.samples[DL_SPLIT_TRAIN], few = n / (32 * shards);
  *out = (dl_lanes){.batch = batch, .shards = shards, .steps = n / batch, .ragged = drop_last ? 0 : n % batch};
  out->order_key = dl_rng_stream(data->seed, DL_RNG_SHUFFLE, 1);
  out->deal_key = dl_rng_stream(data->seed, DL_RNG_SHUFFLE, 2);
  out->epoch[0].epoch = out->epoch[1].epoch = -1;
  dl_status status = dl_units_make(data, DL_SPLIT_TRAIN, few < 1 ? 1 : few, true, &out->units);
  for (int i = 0; i < 2 && status == DL_OK; i++) {
    out->epoch[i].unit = dl_calloc((size_t)out->units.n, sizeof *out->epoch[i].unit);
    out->epoch[i].start = dl_calloc((size_t)out->units.n + 1, sizeof *out->epoch[i].start);
    if (!out->epoch[i].unit || !out->epoch[i].start) status = DL_ERR_NOMEM;
  }
  const size_t row_bytes = (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
  if (status == DL_OK) status = size_windows(out, row_bytes, buffer_bytes);
  if (status != DL_OK) dl_lanes_clear(out);
  return status;
}

void dl_lanes_clear(dl_lanes *lanes) {
  dl_units_clear(&lanes->units);
  for (int i = 0; i < 2; i++) {
    free(lanes->epoch[i].unit);
    free(lanes->epoch[i].start);
  }
  *lanes = (dl_lanes){.batch = 0};
}

/* ---- epochs and windows ---- */

const dl_lanes_epoch *dl_lanes_epoch_of(dl_lanes *l, int64_t epoch) {
  dl_lanes_epoch *e = &l->epoch[epoch & 1];
  if (e->epoch == epoch) return e;
  const uint64_t n = (uint64_t)l->units.n;
  int64_t at = 0;
  for (uint64_t k = 0; k < n; k++) {
    const uint64_t unit = dl_rng_permute(l->order_key, (uint32_t)epoch, n, k);
    e->unit[k] = (uint32_t)unit;
    e->start[k] = at;
    at += l->units.first[unit + 1] - l->units.first[unit];
  }
  e->start[n] = at;
  e->epoch = epoch;
  return e;
}

/* The window that begins at position `begin` of a lane, in unit `unit` of the epoch's order. */
static dl_lane_window window_from(const dl_lanes *l, const dl_lanes_epoch *e, const dl_lane_window *lane, int64_t begin,
                                  int64_t unit, int64_t number) {
  const int64_t first = dl_lane_begin(l, lane->lane), end = first + dl_lane_length(l, lane->lane), from = first + begin;
  dl_lane_window out = {lane->epoch, lane->lane, number, begin, begin, unit, unit};
  int64_t to = from;
  while (to < end) {
    const int64_t next = e->start[out.unit_end + 1] < end ? e->start[out.unit_end + 1] : end;
    if (next - from > l->window && to > from) break;
    to = next;
    out.unit_end++;
  }
  out.end = to - first;
  return out;
}

/* The unit that holds place `at` of the string: the last one that starts at or before it and is not empty. */
static int64_t unit_of(const dl_lanes *l, const dl_lanes_epoch *e, int64_t at) {
  int64_t low = 0, high = l->units.n;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (e->start[middle] <= at)
      low = middle;
    else
      high = middle;
  }
  return low;
}

dl_lane_window dl_lane_window_at(dl_lanes *l, int64_t epoch, int64_t lane, int64_t position,
                                 const dl_lane_window *near) {
  const dl_lanes_epoch *e = dl_lanes_epoch_of(l, epoch);
  dl_lane_window w = {.epoch = epoch, .lane = lane};
  if (near && near->epoch == epoch && near->lane == lane && near->begin <= position)
    w = *near;
  else
    w = window_from(l, e, &w, 0, unit_of(l, e, dl_lane_begin(l, lane)), 0);
  while (position >= w.end && w.end < dl_lane_length(l, lane))
    w = window_from(l, e, &w, w.end, w.unit_end, w.number + 1);
  return w;
}

void dl_lane_deal(const dl_lanes *l, const dl_lane_window *window, uint32_t *place) {
  const int64_t n = window->end - window->begin;
  uint32_t words[4];
  dl_rng_block(l->deal_key, (uint32_t)window->epoch, (uint64_t)window->lane, (uint32_t)window->number, words);
  const dl_rng_key key = {{words[0], words[1]}};
  const uint32_t time = words[2];
  const uint64_t sample = words[3];
  for (int64_t i = 0; i < n; i++) place[i] = (uint32_t)i;
  for (int64_t i = n - 1, drawn = 0; i > 0; i--, drawn++) {
    if (drawn % 4 == 0) dl_rng_block(key, time, sample, (uint32_t)(drawn / 4), words);
    const uint64_t j = (uint64_t)words[drawn % 4] * (uint64_t)(i + 1) >> 32;
    const uint32_t kept = place[i];
    place[i] = place[j];
    place[j] = kept;
  }
}

/* data_lanes.h - the order `data.shuffle: lanes` as plain arithmetic (floor: data, private).
 *
 * The units of train are permuted by (seed, epoch) and their samples strung together; the string is cut into V lanes,
 * each as long as what its leaf draws in an epoch, and a lane into windows of whole units that fit its share of
 * data.shuffle_buffer_mb. Within a window samples come in a random order. Leaf i of a step takes the next samples of
 * lane i. Everything is a pure function of (configuration, shapes of the files, epoch, lane, position): nothing depends
 * on ranks, memory or time.
 */
#ifndef DL_DATA_DATA_LANES_H
#define DL_DATA_DATA_LANES_H

#include "data/data_units.h"

typedef struct dl_lanes_epoch {
  int64_t epoch;  /* -1: not made yet */
  uint32_t *unit; /* (n) the units as they come */
  int64_t *start; /* (n + 1) samples before each */
} dl_lanes_epoch;

typedef struct dl_lanes {
  dl_units units;
  int64_t batch, shards, steps, ragged; /* full steps of an epoch; samples of the last one, 0: none */
  int64_t window;                       /* samples that a window may have */
  dl_rng_key order_key, deal_key;
  dl_lanes_epoch epoch[2]; /* of even and of odd epochs */
} dl_lanes;

typedef struct dl_lane_window {
  int64_t epoch, lane, number; /* number: from 0 in the lane */
  int64_t begin, end;          /* positions in the lane */
  int64_t unit, unit_end;      /* places in the epoch's order of units */
} dl_lane_window;

/* `buffer_bytes`: of all lanes together, for two windows each. DL_ERR_USAGE where that holds no chunk for each. Not
 * collective. */
dl_status dl_lanes_make(const dl_data *data, int64_t batch, int64_t shards, bool drop_last, int64_t buffer_bytes,
                        dl_lanes *out);
void dl_lanes_clear(dl_lanes *lanes);

int64_t dl_lane_length(const dl_lanes *lanes, int64_t lane);
/* The position in `lane` of what its leaf takes first in `step`. */
int64_t dl_lane_position(const dl_lanes *lanes, int64_t lane, int64_t step);

/* The order of the units of an epoch, made where it is not there: 0.3 us a unit. The pointer holds until the epoch
 * after next is asked for. Positions of the string of samples: [*begin, *end) is the lane. */
const dl_lanes_epoch *dl_lanes_epoch_of(dl_lanes *lanes, int64_t epoch);
int64_t dl_lane_begin(const dl_lanes *lanes, int64_t lane);

/* The window of (epoch, lane) that holds `position`. `near`: a window to start from (of the same lane and epoch, before
 * it), or NULL. */
dl_lane_window dl_lane_window_at(dl_lanes *lanes, int64_t epoch, int64_t lane, int64_t position,
                                 const dl_lane_window *near);

/* place[q]: where in the window's order its q-th sample stands; end - begin of them. */
void dl_lane_deal(const dl_lanes *lanes, const dl_lane_window *window, uint32_t *place);

#endif

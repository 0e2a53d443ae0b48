/* events.h - metrics.jsonl: one JSON object a line, on the disk's way as it happens (floor: report).
 *
 * Each event has `event`, `time` (seconds since the run's start, the time between a stop and a resume not counted) and
 * `step`. A line is one write(2) on a file opened for appending: whoever reads along sees whole lines. Only the member
 * that writes opens it; nothing here is collective.
 */
#ifndef DL_REPORT_EVENTS_H
#define DL_REPORT_EVENTS_H

#include "core/json.h"
#include "core/status.h"

#define DL_EVENT_BYTES (16u << 20) /* the longest line that is read back */

typedef struct dl_events dl_events;

/* Opens `path`. resume_step < 0: a new file, or an old one emptied. Otherwise the file goes on after the checkpoint of
 * that step: it is cut before the first line of a later step, or before the first that is not a JSON object (a torn
 * last line; one further up raises a warning), and `time` goes on from the last line kept. `start_s` is dl_now_s() at
 * the start of this process's part of the run. DL_ERR_SYSTEM with the path where it cannot be opened, read or cut. */
dl_status dl_events_open(const char *path, int64_t resume_step, double start_s, dl_events **out);
void dl_events_close(dl_events **events);

/* A fresh object with `event`, `time` and `step` in front, to be filled and given to dl_events_write. */
dl_json *dl_event_new(const char *event, int64_t step);

/* Sets `time`, writes the line, takes ownership of `object` in any case. DL_ERR_SYSTEM with the path where the disk is
 * full; then the file ends with the last whole line. */
dl_status dl_events_write(dl_events *events, dl_json *object);

/* Seconds since the run's start, as the next event would have them. */
double dl_events_time(const dl_events *events);

#endif

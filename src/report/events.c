/* The file is only ever appended to and cut, never written anew: a crash at any point leaves whole lines and at most
 * one torn line at the end, which the next resume cuts off. The cut is found by reading line after line through one
 * buffer that grows up to DL_EVENT_BYTES.
 */
#include "report/events.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"

struct dl_events {
  int fd;
  char *path;
  double zero_s; /* what dl_now_s() was, or would have been, at time 0 */
  off_t bytes;   /* of whole lines */
};

static dl_status fail(const dl_events *events, const char *what) {
  int error = errno;
  dl_fail_at(DL_ERR_SYSTEM, events->path, 0, 0, "cannot %s: %s", what, strerror(error));
  if (error == ENOSPC || error == EDQUOT)
    return dl_hint("free some space and run the same command again: it goes on from the last checkpoint");
  return DL_ERR_SYSTEM;
}

/* ---- reading back ------------------------------------------------------------------------------------------------ */

typedef struct dl_line_reader {
  int fd;
  char *buffer;
  size_t capacity, begin, end; /* unread bytes are [begin, end) */
  bool at_end;
} dl_line_reader;

/* Makes room for more bytes: first by moving what is there to the front, then by growing. */
static dl_status make_room(dl_line_reader *reader) {
  if (reader->begin > 0) {
    memmove(reader->buffer, reader->buffer + reader->begin, reader->end - reader->begin);
    reader->end -= reader->begin;
    reader->begin = 0;
  }
  if (reader->end < reader->capacity) return DL_OK;
  size_t capacity = reader->capacity ? 2 * reader->capacity : 64u << 10;
  char *grown = dl_reallocarray(reader->buffer, capacity, 1);
  if (!grown) return DL_ERR_NOMEM;
  reader->buffer = grown;
  reader->capacity = capacity;
  return DL_OK;
}

/* The next whole line without its newline; *line is NULL at the end of the file or before a line without an end or
 * longer than DL_EVENT_BYTES. */
static dl_status next_line(const dl_events *events, dl_line_reader *reader, const char **line, size_t *bytes) {
  size_t searched = 0;
  for (*line = NULL;;) {
    size_t unread = reader->end - reader->begin;
    char *from = unread > 0 ? reader->buffer + reader->begin : NULL;
    char *newline = unread > searched ? memchr(from + searched, '\n', unread - searched) : NULL;
    if (newline) {
      *line = from;
      *bytes = (size_t)(newline - from);
      reader->begin += *bytes + 1;
      return DL_OK;
    }
    if (reader->at_end || unread >= DL_EVENT_BYTES) return DL_OK;
    searched = unread;
    DL_TRY(make_room(reader));
    ssize_t got = read(reader->fd, reader->buffer + reader->end, reader->capacity - reader->end);
    if (got < 0 && errno != EINTR) return fail(events, "read");
    if (got == 0) reader->at_end = true;
    if (got > 0) reader->end += (size_t)got;
  }
}

/* Step and time of a line; false where it is not a JSON object. A line without a step belongs to what stands before it.
 */
static bool read_line(const dl_events *events, const char *line, size_t bytes, int64_t *step, double *time_s) {
  dl_json *object = NULL;
  if (dl_json_parse(line, bytes, events->path, &object) != DL_OK) return false;
  bool whole = dl_json_is_object(object);
  *step = dl_json_int(dl_json_get(object, "step"), *step);
  *time_s = dl_json_real(dl_json_get(object, "time"), *time_s);
  dl_json_destroy(&object);
  return whole;
}

/* Finds how much of the file of `size` bytes stays: *bytes, and the time of its last line. */
static dl_status find_cut(const dl_events *events, dl_line_reader *reader, int64_t resume_step, off_t size,
                          off_t *bytes, double *time_s) {
  int64_t step = 0, number = 0;
  double line_time = 0;
  for (*bytes = 0, *time_s = 0;; number++) {
    const char *line = NULL;
    size_t line_bytes = 0;
    DL_TRY(next_line(events, reader, &line, &line_bytes));
    if (!line) return DL_OK;
    off_t end = *bytes + (off_t)line_bytes + 1;
    if (!read_line(events, line, line_bytes, &step, &line_time)) {
      if (end < size)
        dl_warn("events_damaged", "%s:%lld: not a JSON object; this line and all after it are cut off", events->path,
                (long long)number + 1);
      return DL_OK;
    }
    if (step > resume_step) return DL_OK;
    *bytes = end;
    if (isfinite(line_time) && line_time > *time_s) *time_s = line_time;
  }
}

static dl_status cut(dl_events *events, int64_t resume_step, off_t size, double start_s) {
  dl_line_reader reader = {.fd = events->fd};
  double time_s = 0;
  dl_status status = find_cut(events, &reader, resume_step, size, &events->bytes, &time_s);
  free(reader.buffer);
  DL_TRY(status);
  events->zero_s = start_s - time_s;
  return ftruncate(events->fd, events->bytes) == 0 ? DL_OK : fail(events, "cut off what came after the checkpoint");
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static dl_status open_file(dl_events *events, int64_t resume_step, double start_s) {
  /* Not to wait for the other end of a pipe, should it be one. */
  int flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  events->fd = open(events->path, flags, 0666);
  if (events->fd < 0) return fail(events, "open");
  struct stat about;
  if (fstat(events->fd, &about) != 0) return fail(events, "look at");
  if (!S_ISREG(about.st_mode)) return dl_fail_at(DL_ERR_SYSTEM, events->path, 0, 0, "not a plain file");
  events->zero_s = start_s;
  if (resume_step >= 0) return cut(events, resume_step, about.st_size, start_s);
  return ftruncate(events->fd, 0) == 0 ? DL_OK : fail(events, "empty");
}

dl_status dl_events_open(const char *path, int64_t resume_step, double start_s, dl_events **out) {
  *out = NULL;
  dl_events *events = dl_calloc(1, sizeof *events);
  if (!events) return DL_ERR_NOMEM;
  events->fd = -1;
  events->path = dl_strdup(path);
  dl_status status = events->path ? open_file(events, resume_step, start_s) : DL_ERR_NOMEM;
  if (status == DL_OK)
    *out = events;
  else
    dl_events_close(&events);
  return status;
}

void dl_events_close(dl_events **events) {
  if (!*events) return;
  if ((*events)->fd >= 0) close((*events)->fd);
  free((*events)->path);
  free(*events);
  *events = NULL;
}

double dl_events_time(const dl_events *events) { return round((dl_now_s() - events->zero_s) * 1e6) / 1e6; }

dl_json *dl_event_new(const char *event, int64_t step) {
  dl_json *object = dl_json_object();
  dl_json_put_string(object, "event", event);
  dl_json_put_real(object, "time", 0);
  dl_json_put_int(object, "step", step);
  return object;
}

static dl_status append(dl_events *events, const char *line, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t wrote = write(events->fd, line + done, bytes - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      dl_status status = fail(events, "write");
      if (done > 0 && ftruncate(events->fd, events->bytes) != 0) return status; /* the next resume cuts the torn line */
      return status;
    }
    done += (size_t)wrote;
  }
  events->bytes += (off_t)bytes;
  return DL_OK;
}

dl_status dl_events_write(dl_events *events, dl_json *object) {
  char *line = NULL;
  dl_json_put_real(object, "time", dl_events_time(events));
  dl_status status = dl_json_text(object, false, &line);
  dl_json_destroy(&object);
  if (status == DL_OK) {
    size_t bytes = strlen(line);
    line[bytes] = '\n'; /* in place of the end: one write a line */
    status = append(events, line, bytes + 1);
  }
  free(line);
  return status;
}

/* status.c - one error record a thread. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local dl_error last_error = {.rank = -1};

static dl_status set_error(dl_status status, const char *file, int line, int column, const char *format, va_list args) {
  dl_error error = {.status = status, .rank = -1, .line = line, .column = column};
  if (file) snprintf(error.file, sizeof error.file, "%s", file);
  vsnprintf(error.message, sizeof error.message, format, args);
  last_error = error; /* at the end: an argument may point into the old record */
  return status;
}

dl_status(dl_fail)(dl_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  set_error(status, NULL, 0, 0, format, args);
  va_end(args);
  return status;
}

dl_status(dl_fail_at)(dl_status status, const char *file, int line, int column, const char *format, ...) {
  va_list args;
  va_start(args, format);
  set_error(status, file, line, column, format, args);
  va_end(args);
  return status;
}

dl_status dl_hint(const char *format, ...) {
  va_list args;
  va_start(args, format);
  char hint[sizeof last_error.hint];
  vsnprintf(hint, sizeof hint, format, args);
  va_end(args);
  memcpy(last_error.hint, hint, sizeof hint);
  return last_error.status;
}

const dl_error *dl_error_last(void) { return &last_error; }

dl_status dl_error_adopt(const dl_error *error) {
  if (error != &last_error) last_error = *error;
  last_error.file[sizeof last_error.file - 1] = 0; /* it may have come over the wire */
  last_error.message[sizeof last_error.message - 1] = 0;
  last_error.hint[sizeof last_error.hint - 1] = 0;
  return last_error.status;
}

char *dl_error_format(const dl_error *error, char *text, size_t size) {
  char place[sizeof error->file + 32] = "";
  if (error->file[0] && error->line && error->column)
    snprintf(place, sizeof place, "%s:%d:%d: ", error->file, error->line, error->column);
  else if (error->file[0] && error->line)
    snprintf(place, sizeof place, "%s:%d: ", error->file, error->line);
  else if (error->file[0])
    snprintf(place, sizeof place, "%s: ", error->file);
  snprintf(text, size, "%s%s%s%s%s", place, error->message, error->hint[0] ? " (" : "", error->hint,
           error->hint[0] ? ")" : "");
  return text;
}

int dl_status_exit_code(dl_status status) {
  static const int exit_code[] = {
      [DL_OK] = 0,           [DL_ERR_USAGE] = 2,  [DL_ERR_DATA] = 3,  [DL_ERR_TRAIN] = 4,
      [DL_ERR_STOPPED] = 75, [DL_ERR_SYSTEM] = 1, [DL_ERR_NOMEM] = 1, [DL_ERR_INTERNAL] = 1,
  };
  size_t known = sizeof exit_code / sizeof exit_code[0];
  return (size_t)status < known ? exit_code[status] : 1;
}

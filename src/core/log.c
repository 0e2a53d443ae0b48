/* log.c - the thread's warning sink. */
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local struct {
  dl_log_sink sink;
  void *context;
} current;

void dl_log_set_sink(dl_log_sink sink, void *context) {
  current.sink = sink;
  current.context = context;
}

void dl_warn(const char *code, const char *format, ...) {
  if (!current.sink) return;
  char message[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  current.sink(current.context, code, message);
}

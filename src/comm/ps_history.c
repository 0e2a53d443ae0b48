/* A line is one write to a file that is opened for appending. */
#include "comm/ps_history.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void dl_ps_history_open(dl_ps_history *history, const char *format, ...) {
  const char *folder = getenv(DL_PS_HISTORY_VARIABLE);
  char name[128], path[4096];
  va_list args;
  *history = (dl_ps_history){0};
  if (!folder || !*folder) return;
  va_start(args, format);
  vsnprintf(name, sizeof name, format, args);
  va_end(args);
  if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) return;
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file > 0) history->file = file;
}

void dl_ps_history_close(dl_ps_history *history) {
  if (history->file) close(history->file);
  history->file = 0;
}

void dl_ps_history_note(const dl_ps_history *history, const char *format, ...) {
  char line[512];
  va_list args;
  if (!history->file) return;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  if (n < 0 || n >= (int)sizeof line - 1) return;
  line[n] = '\n';
  if (write(history->file, line, (size_t)n + 1) < 0) return; /* the checker will miss it */
}

/* run_log.c - metrics.jsonl, config.yaml and evaluation.json of a run that may be damaged, cut short or still going on.
 *
 * A step that is not above the one before it means that the run went back to a checkpoint: what lies between is taken
 * out, as a resume would.
 */
#include "report/run_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "report/events.h"

#define SMALL_FILE_BYTES (8u << 20)

const char *const dl_log_names[DL_LOG_FIGURES] = {"step", "epoch",   "loss",     "lr",   "grad_norm", "samples_per_s",
                                                  "read", "forward", "backward", "sync", "update"};

/* ---- steps ---- */

static void let_go_of_every_second(dl_run_log *log) {
  for (int f = 0; f < DL_LOG_FIGURES; f++)
    for (int64_t i = 0; i < log->steps / 2; i++) log->figure[f][i] = log->figure[f][2 * i];
  log->steps /= 2;
  log->stride *= 2;
}

static dl_status make_room(dl_run_log *log) {
  if (log->steps < log->capacity) return DL_OK;
  if (log->capacity == DL_LOG_STEPS) {
    let_go_of_every_second(log);
    return DL_OK;
  }
  int64_t capacity = log->capacity ? 2 * log->capacity : 1024;
  for (int f = 0; f < DL_LOG_FIGURES; f++) {
    double *grown = dl_reallocarray(log->figure[f], (size_t)capacity, sizeof *grown);
    if (!grown) return DL_ERR_NOMEM;
    log->figure[f] = grown;
  }
  log->capacity = capacity;
  return DL_OK;
}

static double figure_of(const dl_json *event, dl_log_figure f) {
  const dl_json *value = dl_json_get(event, dl_log_names[f]);
  return dl_json_real(f >= DL_LOG_READ ? dl_json_get(value, "median") : value, NAN);
}

static dl_status take_step(dl_run_log *log, dl_json *event) {
  double step = figure_of(event, DL_LOG_STEP);
  if (!isfinite(step)) {
    log->foreign++;
    return DL_OK;
  }
  while (log->steps > 0 && log->figure[DL_LOG_STEP][log->steps - 1] >= step) log->steps--;
  DL_TRY(make_room(log));
  for (int f = 0; f < DL_LOG_FIGURES; f++) log->figure[f][log->steps] = figure_of(event, (dl_log_figure)f);
  log->steps++;
  return DL_OK;
}

/* ---- the other events ---- */

static void replace(dl_json **kept, const dl_json *event) {
  if (*kept) dl_json_destroy(kept);
  *kept = dl_json_copy(event);
}

/* Scalars alone: matrices and tables of many epochs would fill the memory. */
static dl_status take_eval(dl_run_log *log, dl_json *event) {
  void *position = NULL;
  const char *key;
  const dl_json *value;
  if (dl_json_get(event, "confusion")) replace(&log->matrix, event);
  if (dl_json_size(log->evals) >= DL_LOG_EVALS) return DL_OK;
  dl_json *kept = dl_json_object();
  while (dl_json_next(event, &position, &key, &value))
    if (dl_json_is_number(value) || dl_json_string(value)) dl_json_put(kept, key, dl_json_copy(value));
  dl_json_put(log->evals, NULL, kept);
  return DL_OK;
}

static dl_status take_start(dl_run_log *log, dl_json *event) {
  replace(&log->start, event);
  return DL_OK;
}

static dl_status take_end(dl_run_log *log, dl_json *event) {
  replace(&log->end, event);
  return DL_OK;
}

static dl_status take_warning(dl_run_log *log, dl_json *event) {
  if (log->n_warnings++ < DL_LOG_WARNINGS) dl_json_put(log->warnings, NULL, dl_json_copy(event));
  return DL_OK;
}

static dl_status take_checkpoint(dl_run_log *log, dl_json *event) {
  (void)event;
  log->checkpoints++;
  return DL_OK;
}

static const struct {
  const char *event;
  dl_status (*take)(dl_run_log *log, dl_json *event);
} events[] = {{"step", take_step}, {"eval", take_eval},       {"start", take_start},
              {"end", take_end},   {"warning", take_warning}, {"checkpoint", take_checkpoint}};

static dl_status take_line(dl_run_log *log, const char *line, size_t bytes) {
  dl_json *event = NULL;
  const char *name = NULL;
  if (dl_json_parse(line, bytes, "metrics.jsonl", &event) == DL_OK) name = dl_json_string(dl_json_get(event, "event"));
  dl_status status = DL_OK;
  size_t i = 0, n = sizeof events / sizeof *events;
  while (name && i < n && strcmp(name, events[i].event) != 0) i++;
  if (name && i < n)
    status = events[i].take(log, event);
  else
    log->foreign++;
  if (event) dl_json_destroy(&event);
  return status;
}

/* ---- lines ---- */

/* Reads by characters of the stream's buffer, so that a line without an end costs no more than DL_EVENT_BYTES. */
static dl_status read_lines(dl_run_log *log, FILE *file) {
  size_t capacity = 4096, used = 0;
  char *line = dl_calloc(capacity, 1);
  bool too_long = false;
  dl_status status = line ? DL_OK : DL_ERR_NOMEM;
  for (int c; status == DL_OK && (c = getc_unlocked(file)) != EOF;) {
    if (c == '\n') {
      if (too_long)
        log->foreign++;
      else if (used > 0)
        status = take_line(log, line, used);
      used = 0;
      too_long = false;
      continue;
    }
    if (used == capacity && capacity < DL_EVENT_BYTES) {
      char *grown = dl_reallocarray(line, capacity * 2, 1);
      if (!grown) status = DL_ERR_NOMEM;
      if (grown) line = grown, capacity *= 2;
    }
    if (used < capacity)
      line[used++] = (char)c;
    else
      too_long = true;
  }
  if (used > 0 && status == DL_OK) log->foreign++; /* a line without its end is not whole */
  free(line);
  return status;
}

static dl_status fail_open(const char *folder, const char *path) {
  if (errno != ENOENT) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be read: %s", strerror(errno));
  dl_fail_at(DL_ERR_DATA, folder, 0, 0,
             dl_path_is_dir(folder)   ? "is not a run's folder: it has no metrics.jsonl"
             : dl_path_exists(folder) ? "is a file; a run's folder is wanted"
                                      : "there is no such folder");
  return dl_hint("give the folder that `dldist train --run` names");
}

static dl_status read_metrics(dl_run_log *log) {
  char *path = dl_path_join(log->folder, "metrics.jsonl");
  if (!path) return DL_ERR_NOMEM;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* not to wait for a pipe */
  struct stat about;
  dl_status status = DL_OK;
  if (descriptor < 0) {
    if (errno == ENOTDIR) errno = ENOENT;
    status = fail_open(log->folder, path);
  } else if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode)) {
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "is not a plain file");
  }
  FILE *file = status == DL_OK ? fdopen(descriptor, "r") : NULL;
  if (file) status = read_lines(log, file);
  if (file && ferror(file)) status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be read: %s", strerror(errno));
  if (file)
    fclose(file);
  else if (descriptor >= 0)
    close(descriptor);
  free(path);
  return status;
}

/* ---- the files beside it, which may be absent ---- */

static char *read_beside(const dl_run_log *log, const char *name, size_t *bytes) {
  char *path = dl_path_join(log->folder, name), *text = NULL;
  struct stat about;
  bool plain = path && stat(path, &about) == 0 && S_ISREG(about.st_mode);
  if (!plain || dl_file_read(path, SMALL_FILE_BYTES, DL_ERR_DATA, &text, bytes) != DL_OK) text = NULL;
  free(path);
  return text;
}

static void read_others(dl_run_log *log) {
  size_t bytes = 0;
  log->config = read_beside(log, "config.yaml", &bytes);
  if (log->config && dl_document_parse(log->config, bytes, "config.yaml", &log->document) != DL_OK)
    log->document = (dl_document){NULL, NULL};
  char *text = read_beside(log, "evaluation.json", &bytes);
  if (text && dl_json_parse(text, bytes, "evaluation.json", &log->evaluation) != DL_OK) log->evaluation = NULL;
  free(text);
}

dl_status dl_run_log_read(const char *folder, dl_run_log *out) {
  *out = (dl_run_log){.stride = 1, .evals = dl_json_array(), .warnings = dl_json_array(), .folder = dl_strdup(folder)};
  dl_status status = out->folder ? read_metrics(out) : DL_ERR_NOMEM;
  if (status == DL_OK) read_others(out);
  if (status != DL_OK) dl_run_log_clear(out);
  return status;
}

void dl_run_log_clear(dl_run_log *log) {
  dl_json **const all[] = {&log->start, &log->end, &log->evals, &log->matrix, &log->warnings, &log->evaluation};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (*all[i]) dl_json_destroy(all[i]);
  for (int f = 0; f < DL_LOG_FIGURES; f++) free(log->figure[f]);
  if (log->document.root) dl_document_destroy(&log->document);
  free(log->config);
  free(log->folder);
  *log = (dl_run_log){0};
}

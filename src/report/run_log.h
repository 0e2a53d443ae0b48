/* run_log.h - a run's folder read back for a report, by whoever comes: nothing in it is trusted (floor: report).
 *
 * metrics.jsonl is read line by line; a torn line, one that is not a JSON object of a known event, or one longer than
 * DL_EVENT_BYTES is counted and passed over. Memory is bounded: of more than DL_LOG_STEPS steps every second is let go,
 * as often as needed.
 */
#ifndef DL_REPORT_RUN_LOG_H
#define DL_REPORT_RUN_LOG_H

#include "core/json.h"
#include "core/node.h"

#define DL_LOG_STEPS 65536
#define DL_LOG_EVALS 4096
#define DL_LOG_WARNINGS 50

/* What of a step is kept. DL_LOG_READ and the four after it are medians over the members, in seconds. */
typedef enum dl_log_figure {
  DL_LOG_STEP,
  DL_LOG_EPOCH,
  DL_LOG_LOSS,
  DL_LOG_LR,
  DL_LOG_GRAD_NORM,
  DL_LOG_SPEED,
  DL_LOG_READ,
  DL_LOG_FORWARD,
  DL_LOG_BACKWARD,
  DL_LOG_SYNC,
  DL_LOG_UPDATE,
  DL_LOG_FIGURES
} dl_log_figure;
extern const char *const dl_log_names[DL_LOG_FIGURES];

typedef struct dl_run_log {
  char *folder;
  int64_t steps, capacity;                  /* kept, ascending */
  int64_t stride;                           /* 1: every step that was logged is kept */
  double *figure[DL_LOG_FIGURES];           /* NAN where the line has none */
  dl_json *start, *end;                     /* the last of each, NULL: none */
  dl_json *evals;                           /* array: scalars of each evaluation, at most DL_LOG_EVALS */
  dl_json *matrix;                          /* the last evaluation with a confusion matrix, whole; NULL: none */
  dl_json *warnings;                        /* array, the first DL_LOG_WARNINGS */
  int64_t n_warnings, checkpoints, foreign; /* foreign: lines that were passed over */
  dl_json *evaluation;                      /* evaluation.json, NULL: none */
  char *config;                             /* config.yaml, NULL: none */
  dl_document document;                     /* of it; root NULL where it is none */
} dl_run_log;

/* DL_ERR_DATA where the folder has no metrics.jsonl that can be read, with what the folder is instead. */
dl_status dl_run_log_read(const char *folder, dl_run_log *out);
void dl_run_log_clear(dl_run_log *log);

#endif

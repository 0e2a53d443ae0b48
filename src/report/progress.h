/* progress.h - what a person sees of a run: a progress line, a table row an epoch, warnings, the end (floor: report).
 *
 * Nothing is printed here: text goes to the caller's sink, which is standard error in the program. The times are the
 * caller's too (dl_now_s). One member shows; nothing here is collective. With `quiet` nothing is shown at all.
 */
#ifndef DL_REPORT_PROGRESS_H
#define DL_REPORT_PROGRESS_H

#include "core/status.h"

typedef struct dl_progress dl_progress;

typedef struct dl_progress_options {
  void (*write)(void *context, const char *text);
  void *context;
  bool quiet;
  bool terminal;  /* a line may be drawn over: what write reaches is a terminal (and not a dumb one) */
  int columns;    /* width of the terminal; 0: not known, then the line has 80 and the table is never cut */
  int64_t epochs; /* of the whole run */
  int64_t epoch_steps;
  bool valid;         /* the table shows the validation split */
  bool slowest;       /* the table shows the slowest rank */
  const char *metric; /* name of its metric beside the loss, NULL: none; borrowed */
} dl_progress_options;

typedef struct dl_progress_state {
  int64_t epoch, step; /* from 1; the step within the epoch */
  double loss;
  double samples_per_s;
} dl_progress_state;

typedef struct dl_progress_row {
  int64_t epoch, steps; /* steps since the start of the run */
  double loss, lr, samples_per_s;
  double valid_loss, valid_metric; /* NaN: not evaluated, shown as "-" */
  double seconds;                  /* since the start of the run */
  bool best;                       /* the best epoch so far: marked */
  int slowest;                     /* the rank that was slowest in this epoch, -1: none */
  double over_median;              /* its time over the median rank's */
} dl_progress_row;

dl_status dl_progress_new(const dl_progress_options *options, dl_progress **out);
/* Takes the line away and frees. */
void dl_progress_destroy(dl_progress **progress);

/* After every step: draws at most every 0.1 s, some nanoseconds otherwise. The loss shown is smoothed over about 50
 * steps. What is left is judged by the pace of the steps and by how long the gaps between epochs took. No allocation.
 */
void dl_progress_step(dl_progress *progress, const dl_progress_state *state, double now_s);

/* At the end of an epoch: takes the line away and adds a row, the first time below a header. */
void dl_progress_epoch(dl_progress *progress, const dl_progress_row *row);

/* Lines of their own, which leave the progress line whole. A newline is added; one within the text goes on indented. */
void dl_progress_note(dl_progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "warning: ..."; a dl_log_sink with the dl_progress as context. */
void dl_progress_warning(void *progress, const char *code, const char *message);

/* Takes the line away, for whoever writes to the same terminal; the next step draws it again. */
void dl_progress_clear(dl_progress *progress);

#endif

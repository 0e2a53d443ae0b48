/* summary.h - what a run or an evaluation came to, as text (floor: report).
 *
 * The scores are a result and go to standard output; how the run ended and what to do next goes to standard error.
 */
#ifndef DL_REPORT_SUMMARY_H
#define DL_REPORT_SUMMARY_H

#include "core/status.h"

typedef struct dl_figure {
  const char *name;
  double value;
} dl_figure;

/* The scores of a split, one a line:
 *
 *   test (10,000 samples)
 *     loss       0.3121
 *     accuracy   0.8912
 *
 * *out is freed by the caller. */
dl_status dl_summary_scores(const char *split, int64_t samples, const dl_figure *figures, int n_figures, char **out);

typedef struct dl_run_end {
  const char *status; /* "completed", "stopped", "failed" */
  const char *run;    /* the run's folder */
  int64_t steps, epochs;
  double seconds, samples_per_s;
  const char *const *next; /* commands worth trying next */
  int n_next;
} dl_run_end;

/*   completed: 4,690 steps (10 epochs) in 0:08, 58,624 samples/s
 *   the run is in runs/demo
 *   try next:
 *     dldist eval --run runs/demo
 *
 * *out is freed by the caller. */
dl_status dl_summary_end(const dl_run_end *end, char **out);

#endif

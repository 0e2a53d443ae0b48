/* Text through open_memstream: it grows as needed, and one check at its end tells whether memory held. */
#include "report/summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "report/format.h"

static dl_status finish(FILE *stream, char **text) {
  bool whole = stream && ferror(stream) == 0;
  if (stream && fclose(stream) != 0) whole = false;
  if (whole) return DL_OK;
  free(*text);
  *text = NULL;
  return dl_fail(DL_ERR_NOMEM, "out of memory for a summary");
}

dl_status dl_summary_scores(const char *split, int64_t samples, const dl_figure *figures, int n_figures, char **out) {
  char number[DL_FIGURE_BYTES];
  size_t bytes = 0;
  int width = 0;
  *out = NULL;
  FILE *stream = open_memstream(out, &bytes);
  if (!stream) return finish(stream, out);
  for (int i = 0; i < n_figures; i++)
    if ((int)strlen(figures[i].name) > width) width = (int)strlen(figures[i].name);
  fprintf(stream, "%s (%s sample%s)\n", split, dl_format_count(samples, number), samples == 1 ? "" : "s");
  for (int i = 0; i < n_figures; i++)
    fprintf(stream, "  %-*s  %s\n", width, figures[i].name, dl_format_figure(figures[i].value, number));
  return finish(stream, out);
}

dl_status dl_summary_end(const dl_run_end *end, char **out) {
  char steps[DL_FIGURE_BYTES], epochs[DL_FIGURE_BYTES], rate[DL_FIGURE_BYTES], time[32];
  size_t bytes = 0;
  *out = NULL;
  FILE *stream = open_memstream(out, &bytes);
  if (!stream) return finish(stream, out);
  fprintf(stream, "%s: %s step%s (%s epoch%s) in %s", end->status, dl_format_count(end->steps, steps),
          end->steps == 1 ? "" : "s", dl_format_count(end->epochs, epochs), end->epochs == 1 ? "" : "s",
          dl_format_duration(end->seconds, time));
  if (isfinite(end->samples_per_s) && end->samples_per_s > 0)
    fprintf(stream, ", %s samples/s", dl_format_rate(end->samples_per_s, rate));
  fputc('\n', stream);
  if (end->run) fprintf(stream, "the run is in %s\n", end->run);
  if (end->n_next > 0) fputs("try next:\n", stream);
  for (int i = 0; i < end->n_next; i++) fprintf(stream, "  %s\n", end->next[i]);
  return finish(stream, out);
}

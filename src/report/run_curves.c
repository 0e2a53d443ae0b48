/* run_curves.c - loss, learning rate, gradient norm, speed, phases and scores of one run, or of several over each
 * other: training in the run's colour, evaluations dashed with dots. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "report/chart.h"
#include "report/page.h"
#include "report/run_page.h"

enum { MOST_SERIES = 3 * DL_REPORT_RUNS, MOST_METRICS = 24, NAME_BYTES = 64 };

/* The evaluations of a split: one figure against the step or the epoch. Owns x and y. */
typedef struct points {
  double *x, *y;
  int64_t n;
} points;

static const char *const splits[] = {"valid", "test", "train"};
enum { SPLITS = 3 };

/* What was drawn of a chart; names and points live as long as it. */
typedef struct drawing {
  dl_series series[MOST_SERIES];
  char names[MOST_SERIES][NAME_BYTES];
  points owned[MOST_SERIES];
  int n;
} drawing;

static void clear(drawing *d) {
  for (int i = 0; i < d->n; i++) {
    free(d->owned[i].x);
    free(d->owned[i].y);
  }
  free(d);
}

static points points_of(const dl_run_log *log, const char *split, const char *x_key, const char *key) {
  points p = {0};
  size_t n = dl_json_size(log->evals);
  p.x = dl_calloc(n + 1, sizeof *p.x);
  p.y = dl_calloc(n + 1, sizeof *p.y);
  for (size_t i = 0; p.x && p.y && i < n; i++) {
    const dl_json *eval = dl_json_at(log->evals, i);
    const char *its = dl_json_string(dl_json_get(eval, "split"));
    double x = dl_json_real(dl_json_get(eval, x_key), NAN), y = dl_json_real(dl_json_get(eval, key), NAN);
    if (!its || strcmp(its, split) != 0 || !isfinite(x) || !isfinite(y)) continue;
    while (p.n > 0 && p.x[p.n - 1] >= x) p.n--; /* evaluated again after a resume */
    p.x[p.n] = x;
    p.y[p.n++] = y;
  }
  return p;
}

static void add_series(drawing *d, const dl_run_log *log, const char *what, dl_series series, points owned) {
  if (d->n == MOST_SERIES || series.n == 0) {
    free(owned.x);
    free(owned.y);
    return;
  }
  snprintf(d->names[d->n], NAME_BYTES, "%.30s%s%.30s", log ? dl_run_page_name(log) : "", log && *what ? " " : "", what);
  series.name = d->names[d->n];
  d->owned[d->n] = owned;
  d->series[d->n++] = series;
}

static void add_evals(drawing *d, const dl_run_log *logs, int n, const char *x_key, const char *key) {
  for (int r = 0; r < n; r++)
    for (int s = 0; s < SPLITS; s++) {
      points p = points_of(&logs[r], splits[s], x_key, key);
      dl_series series = {
          .x = p.x, .y = p.y, .n = p.n, .colour = n > 1 ? r : s + 1, .dashed = n > 1 && s > 0, .dots = true};
      add_series(d, n > 1 ? &logs[r] : NULL, splits[s], series, p);
    }
}

static void add_figure(drawing *d, const dl_run_log *logs, int n, dl_log_figure figure, const char *what) {
  for (int r = 0; r < n; r++) {
    dl_series series = {
        .x = logs[r].figure[DL_LOG_STEP], .y = logs[r].figure[figure], .n = logs[r].steps, .colour = n > 1 ? r : 0};
    add_series(d, n > 1 ? &logs[r] : NULL, what, series, (points){0});
  }
}

static bool has_values(const drawing *d) {
  for (int i = 0; i < d->n; i++)
    for (int64_t k = 0; k < d->series[i].n; k++)
      if (isfinite(d->series[i].y[k])) return true;
  return false;
}

/* Losses and norms that span more than a factor of 20 are easier to read as powers of ten. */
static bool spans_powers(const drawing *d) {
  double low = INFINITY, high = 0;
  for (int i = 0; i < d->n; i++)
    for (int64_t k = 0; k < d->series[i].n; k++) {
      double y = d->series[i].y[k];
      if (!isfinite(y)) continue;
      low = fmin(low, y);
      high = fmax(high, y);
    }
  return low > 0 && high > 20 * low;
}

static void draw(FILE *stream, const drawing *d, const char *title, const char *x_name, bool may_log, bool from_zero) {
  dl_chart chart = {.title = title,
                    .x_name = x_name,
                    .series = d->series,
                    .n_series = d->n,
                    .log_y = may_log && spans_powers(d),
                    .from_zero = from_zero};
  if (has_values(d)) dl_chart_lines(stream, &chart);
}

static void draw_loss(FILE *stream, const dl_run_log *logs, int n) {
  drawing *d = dl_calloc(1, sizeof *d);
  if (!d) return;
  add_figure(d, logs, n, DL_LOG_LOSS, "training");
  add_evals(d, logs, n, "step", "loss");
  draw(stream, d, "loss", "step", true, false);
  clear(d);
}

static void draw_figure(FILE *stream, const dl_run_log *logs, int n, dl_log_figure figure, const char *title,
                        bool may_log) {
  drawing *d = dl_calloc(1, sizeof *d);
  if (!d) return;
  add_figure(d, logs, n, figure, "");
  draw(stream, d, title, "step", may_log, !may_log);
  clear(d);
}

static void draw_phases(FILE *stream, const dl_run_log *log) {
  drawing *d = dl_calloc(1, sizeof *d);
  if (!d) return;
  for (int f = DL_LOG_READ; f <= DL_LOG_UPDATE; f++) {
    add_figure(d, log, 1, (dl_log_figure)f, dl_log_names[f]);
    if (d->n) d->series[d->n - 1].colour = f - DL_LOG_READ;
  }
  dl_chart chart = {.title = "seconds of a step by phase (median over members)",
                    .x_name = "step",
                    .series = d->series,
                    .n_series = d->n,
                    .stacked = true};
  if (has_values(d)) dl_chart_lines(stream, &chart);
  clear(d);
}

/* ---- scores: whatever numbers the evaluations hold ---- */

static bool is_score(const char *key) {
  static const char *const others[] = {"time", "step", "epoch", "samples", "loss", "threshold"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (!strcmp(key, others[i])) return false;
  return true;
}

int dl_run_page_scores(const dl_run_log *logs, int n, const char **names, int most) {
  int found = 0;
  for (int r = 0; r < n; r++)
    for (size_t i = 0; i < dl_json_size(logs[r].evals); i++) {
      void *position = NULL;
      const char *key;
      const dl_json *value;
      while (dl_json_next(dl_json_at(logs[r].evals, i), &position, &key, &value)) {
        int k = 0;
        while (k < found && strcmp(names[k], key) != 0) k++;
        if (k == found && found < most && dl_json_is_number(value) && is_score(key)) names[found++] = key;
      }
    }
  return found;
}

static void draw_scores(FILE *stream, const dl_run_log *logs, int n) {
  const char *names[MOST_METRICS];
  int found = dl_run_page_scores(logs, n, names, MOST_METRICS);
  for (int k = 0; k < found; k++) {
    drawing *d = dl_calloc(1, sizeof *d);
    if (!d) return;
    add_evals(d, logs, n, "epoch", names[k]);
    bool several = false; /* a single evaluation is better read in the table */
    for (int i = 0; i < d->n; i++) several = several || d->series[i].n > 1;
    if (several) draw(stream, d, names[k], "epoch", false, false);
    clear(d);
  }
}

void dl_run_page_curves(dl_page *page, const dl_run_log *logs, int n) {
  FILE *s = page->stream;
  fputs("<div class=\"grid\">", s);
  draw_loss(s, logs, n);
  draw_figure(s, logs, n, DL_LOG_LR, "learning rate", false);
  draw_figure(s, logs, n, DL_LOG_GRAD_NORM, "gradient norm", true);
  draw_figure(s, logs, n, DL_LOG_SPEED, "samples a second", false);
  if (n == 1) draw_phases(s, logs);
  draw_scores(s, logs, n);
  fputs("</div>\n", s);
}

/* chart.c - lines, areas, histograms, bars and heat maps. Coordinates are those of a 440 x 230 view box that scales
 * with the page. */
#include "report/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "report/page.h"

enum { WIDTH = 440, HEIGHT = 230, LEFT = 58, RIGHT = 12, TOP = 10, BOTTOM = 36 };

typedef struct frame {
  double x0, x1, y0, y1; /* data at the edges; y as logarithms where log_y */
  bool log_y;
} frame;

static double to_x(const frame *f, double x) { return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT); }
static double to_y(const frame *f, double y) {
  if (f->log_y) y = log10(y);
  return HEIGHT - BOTTOM - (y - f->y0) / (f->y1 - f->y0) * (HEIGHT - TOP - BOTTOM);
}

static void widen(double *low, double *high) {
  if (!(*low <= *high)) *low = 0, *high = 1;
  if (*high - *low > 0 && *high - *low > 1e-12 * fmax(fabs(*low), fabs(*high))) return;
  double pad = fabs(*low) > 0 ? fabs(*low) / 10 : 0.5;
  *low -= pad;
  *high += pad;
}

/* 1, 2 or 5 times a power of ten, so that about `n` steps fit. */
static double nice_step(double span, int n) {
  double raw = span / n, power = pow(10, floor(log10(raw))), part = raw / power;
  return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static char *tick_text(double value, double step, char text[32]) {
  if (fabs(value) < step * 1e-6) value = 0;
  if (fabs(value) >= 1e7 || (value != 0 && fabs(value) < 1e-3))
    snprintf(text, 32, "%.4g", value);
  else
    snprintf(text, 32, "%.10g", rint(value / step * 1000) / 1000 * step);
  return text;
}

static void y_tick(FILE *s, const frame *f, double value, double step) {
  char text[32];
  double y = to_y(f, value);
  fprintf(
      s,
      "<path class=\"axis\" d=\"M%d %.1fH%d\"/><text class=\"mute\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
      LEFT, y, WIDTH - RIGHT, LEFT - 5, y + 4, tick_text(value, step, text));
}

static void axes(FILE *s, const frame *f, const char *x_name) {
  char text[32];
  if (f->log_y && f->y1 - f->y0 >= 1) {
    for (double p = ceil(f->y0); p <= f->y1 + 1e-9; p += ceil((f->y1 - f->y0) / 6))
      y_tick(s, f, pow(10, p), pow(10, p));
  } else {
    double low = f->log_y ? pow(10, f->y0) : f->y0, high = f->log_y ? pow(10, f->y1) : f->y1;
    double step = nice_step(high - low, 5);
    for (double y = ceil(low / step - 1e-9) * step; y <= high + step * 1e-6; y += step) y_tick(s, f, y, step);
  }
  double step = nice_step(f->x1 - f->x0, 5);
  for (double x = ceil(f->x0 / step - 1e-9) * step; x <= f->x1 + step * 1e-6; x += step)
    fprintf(s, "<text class=\"mute\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>", to_x(f, x),
            HEIGHT - BOTTOM + 15, tick_text(x, step, text));
  fprintf(s, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/><text class=\"mute\" x=\"%d\" y=\"%d\" text-anchor=\"end\">",
          LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT, WIDTH - RIGHT, HEIGHT - 4);
  dl_page_text(s, x_name);
  fputs("</text>", s);
}

static void begin(FILE *s, const char *what) {
  fprintf(s, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
  dl_page_text(s, what);
  fputs("\">", s);
}

static void keys(FILE *s, const dl_chart *chart) {
  if (chart->n_series < 2) return;
  fputs("<p class=\"keys\">", s);
  for (int i = 0; i < chart->n_series; i++) {
    fprintf(s, "<span><span class=\"key\" style=\"background:var(--c%d)%s\"></span>",
            chart->series[i].colour % DL_CHART_COLOURS, chart->series[i].dashed ? ";opacity:.55" : "");
    dl_page_text(s, chart->series[i].name);
    fputs("</span> ", s);
  }
  fputs("</p>", s);
}

/* ---- lines ---- */

static frame frame_of(const dl_chart *chart) {
  frame f = {INFINITY, -INFINITY, INFINITY, -INFINITY, chart->log_y};
  for (int i = 0; i < chart->n_series; i++)
    for (int64_t k = 0; k < chart->series[i].n; k++) {
      double x = chart->series[i].x[k], y = chart->series[i].y[k];
      if (!isfinite(x) || !isfinite(y)) continue;
      if (y <= 0) f.log_y = false;
      f.x0 = fmin(f.x0, x);
      f.x1 = fmax(f.x1, x);
      f.y0 = fmin(f.y0, y);
      f.y1 = fmax(f.y1, y);
    }
  if (!(f.y0 <= f.y1)) f.log_y = false;
  if (f.log_y) {
    f.y0 = log10(f.y0);
    f.y1 = log10(f.y1);
  } else if (chart->from_zero && f.y0 > 0) {
    f.y0 = 0;
  }
  widen(&f.x0, &f.x1);
  widen(&f.y0, &f.y1);
  f.y1 += (f.y1 - f.y0) * 0.04;
  return f;
}

/* The lowest and the highest of points [from, to), in their order; NaN where there is none. */
static void extremes(const double *y, int64_t from, int64_t to, int64_t at[2]) {
  int64_t low = -1, high = -1;
  for (int64_t k = from; k < to; k++) {
    if (!isfinite(y[k])) continue;
    if (low < 0 || y[k] < y[low]) low = k;
    if (high < 0 || y[k] > y[high]) high = k;
  }
  at[0] = low < high ? low : high;
  at[1] = low < high ? high : low;
}

static void line(FILE *s, const frame *f, const dl_series *series) {
  int64_t stretches = series->n > DL_CHART_POINTS ? DL_CHART_POINTS / 2 : series->n;
  bool open = false;
  fprintf(s, "<path class=\"line\" style=\"stroke:var(--c%d)%s\" d=\"", series->colour % DL_CHART_COLOURS,
          series->dashed ? ";stroke-dasharray:5 3;opacity:.7" : "");
  for (int64_t i = 0; i < stretches; i++) {
    int64_t at[2];
    extremes(series->y, series->n * i / stretches, series->n * (i + 1) / stretches, at);
    for (int k = at[0] == at[1]; k < 2; k++) {
      if (at[k] >= 0) fprintf(s, "%c%.1f %.1f", open ? 'L' : 'M', to_x(f, series->x[at[k]]), to_y(f, series->y[at[k]]));
      open = at[k] >= 0;
    }
  }
  fputs("\"/>", s);
  for (int64_t k = 0; (series->dots || series->n == 1) && series->n <= 60 && k < series->n; k++)
    if (isfinite(series->y[k]))
      fprintf(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" style=\"fill:var(--c%d)\"><title>%.6g: %.6g</title></circle>",
              to_x(f, series->x[k]), to_y(f, series->y[k]), series->colour % DL_CHART_COLOURS, series->x[k],
              series->y[k]);
}

/* ---- areas: series over each other, thinned to means ---- */

enum { STRETCHES = 200 };

static double mean_of(const double *y, int64_t from, int64_t to) {
  double sum = 0;
  int64_t n = 0;
  for (int64_t k = from; k < to; k++)
    if (isfinite(y[k])) sum += y[k], n++;
  return n ? sum / (double)n : 0;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* What nine of ten values do not exceed: a single step that was held up must not flatten all others. */
static double ninth_tenth(const double *values, int n) {
  double sorted[STRETCHES];
  memcpy(sorted, values, (size_t)n * sizeof *sorted);
  qsort(sorted, (size_t)n, sizeof *sorted, by_value);
  return sorted[n * 9 / 10 < n ? n * 9 / 10 : n - 1];
}

static void areas(FILE *s, const dl_chart *chart) {
  int64_t n = chart->series[0].n, stretches = n > STRETCHES ? STRETCHES : n;
  double top[STRETCHES] = {0}, x[STRETCHES], level[16][STRETCHES], most = 0;
  int shown = chart->n_series < 16 ? chart->n_series : 16;
  for (int64_t k = 0; k < stretches; k++) {
    x[k] = chart->series[0].x[n * k / stretches];
    for (int i = 0; i < shown; i++)
      level[i][k] = top[k] += mean_of(chart->series[i].y, n * k / stretches, n * (k + 1) / stretches);
    most = fmax(most, top[k]);
  }
  frame f = {x[0], x[stretches - 1], 0, fmin(most, 3 * ninth_tenth(top, (int)stretches)), false};
  widen(&f.x0, &f.x1);
  if (!(f.y1 > 0)) f.y1 = most > 0 ? most : 1;
  axes(s, &f, chart->x_name);
  for (int i = 0; i < shown; i++) {
    fprintf(s, "<path style=\"fill:var(--c%d);opacity:.75\" d=\"", chart->series[i].colour % DL_CHART_COLOURS);
    for (int64_t k = 0; k < stretches; k++)
      fprintf(s, "%c%.1f %.1f", k ? 'L' : 'M', to_x(&f, x[k]), to_y(&f, fmin(level[i][k], f.y1)));
    for (int64_t k = stretches; k-- > 0;)
      fprintf(s, "L%.1f %.1f", to_x(&f, x[k]), to_y(&f, i ? fmin(level[i - 1][k], f.y1) : 0));
    fputs("Z\"/>", s);
  }
}

void dl_chart_lines(FILE *stream, const dl_chart *chart) {
  fputs("<div class=\"card\"><h3>", stream);
  dl_page_text(stream, chart->title);
  fputs("</h3>", stream);
  begin(stream, chart->title);
  if (chart->stacked && chart->n_series > 0 && chart->series[0].n > 0) {
    areas(stream, chart);
  } else {
    frame f = frame_of(chart);
    axes(stream, &f, chart->x_name);
    for (int i = 0; i < chart->n_series; i++) line(stream, &f, &chart->series[i]);
  }
  fputs("</svg>", stream);
  keys(stream, chart);
  fputs("</div>\n", stream);
}

/* ---- histograms ---- */

void dl_chart_histogram(FILE *s, const double *edges, const double *counts, int bins, const dl_chart_curve *curves,
                        int n_curves) {
  double most = 1;
  for (int b = 0; b < bins; b++) {
    most = fmax(most, counts[b]);
    for (int i = 0; i < n_curves; i++) most = fmax(most, isfinite(curves[i].expected[b]) ? curves[i].expected[b] : 0);
  }
  frame f = {edges[0], edges[bins], 0, most * 1.08, false};
  widen(&f.x0, &f.x1);
  begin(s, "histogram");
  axes(s, &f, "");
  for (int b = 0; b < bins; b++) {
    double x = to_x(&f, edges[b]), y = to_y(&f, counts[b]), width = to_x(&f, edges[b + 1]) - x;
    fprintf(s,
            "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" style=\"fill:var(--c0);opacity:.55\">"
            "<title>%.6g to %.6g: %.0f</title></rect>",
            x, y, fmax(width - 0.6, 0.4), HEIGHT - BOTTOM - y, edges[b], edges[b + 1], counts[b]);
  }
  for (int i = 0; i < n_curves; i++) {
    fprintf(s, "<path class=\"line\" style=\"stroke:var(--c%d)\" d=\"", curves[i].colour % DL_CHART_COLOURS);
    for (int b = 0; b < bins; b++)
      fprintf(s, "%c%.1f %.1f", b ? 'L' : 'M', to_x(&f, (edges[b] + edges[b + 1]) / 2),
              fmax(to_y(&f, fmin(curves[i].expected[b], f.y1)), 0));
    fputs("\"/>", s);
  }
  fputs("</svg>", s);
}

/* ---- bars ---- */

void dl_chart_bars(FILE *s, const char *const *names, const double *values, int n) {
  enum { ROW = 19, NAME = 130 };
  double most = 0;
  char text[32];
  for (int i = 0; i < n; i++) most = fmax(most, values[i]);
  fprintf(s, "<svg viewBox=\"0 0 %d %d\" role=\"img\" style=\"max-width:720px\">", WIDTH, n * ROW + 4);
  for (int i = 0; i < n; i++) {
    double width = most > 0 ? values[i] / most * (WIDTH - NAME - 80) : 0;
    fprintf(s, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", NAME - 8, i * ROW + 15);
    dl_page_textf(s, "%.22s", names[i]);
    fprintf(
        s, "</text><rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\" style=\"fill:var(--c0);opacity:.7\"/>",
        NAME, i * ROW + 4, fmax(width, 1), ROW - 6);
    fprintf(s, "<text x=\"%.1f\" y=\"%d\">%s</text>", NAME + width + 6, i * ROW + 15, dl_page_number(values[i], text));
  }
  fputs("</svg>\n", s);
}

/* ---- heat maps ---- */

static void cell(FILE *s, double x, double y, double size, double value, double strength) {
  double shade = isfinite(strength) ? fmin(1, fabs(strength)) : 0;
  char text[32];
  fprintf(s,
          "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" style=\"fill:var(--%s);opacity:%.3f\"><title>%s"
          "</title></rect>",
          x, y, size - 0.5, size - 0.5, strength < 0 ? "cold" : "hot", shade, dl_page_number(value, text));
}

void dl_chart_heat(FILE *s, const char *const *names, const double *values, int n, bool counts) {
  double side = n <= 12 ? 36 : n <= 30 ? 20 : 12, left = 110, top = 110;
  double width = left + n * side + 60, /* slanting names lean to the right */
      height = top + n * side + 10;
  fprintf(s, "<div class=\"scroll\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" style=\"width:%.0fpx;max-width:%s\">",
          width, height, width, n <= 12 ? "100%" : "none");
  for (int i = 0; i < n; i++) {
    double size = side < 14 ? 8 : 11, middle = top + (i + 0.5) * side + 4;
    fprintf(s, "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\" style=\"font-size:%.0fpx\">", left - 5, middle, size);
    dl_page_textf(s, "%.18s", names[i]);
    fprintf(s, "</text><text transform=\"translate(%.1f %.0f) rotate(-60)\" style=\"font-size:%.0fpx\">",
            left + (i + 0.5) * side + 3, top - 5, size);
    dl_page_textf(s, "%.18s", names[i]);
    fputs("</text>", s);
    double row = 0;
    for (int j = 0; j < n; j++) row += values[i * n + j];
    for (int j = 0; j < n; j++) {
      double value = values[i * n + j];
      cell(s, left + j * side, top + i * side, side, value, counts ? (row > 0 ? value / row : 0) : value);
      if (n <= 12 && isfinite(value))
        fprintf(s, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" style=\"font-size:10px\">%.*f</text>",
                left + (j + 0.5) * side, middle, counts ? 0 : 2, value);
    }
  }
  fputs("</svg></div>\n", s);
}

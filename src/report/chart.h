/* chart.h - pictures as inline SVG, in the colours of page.h (floor: report).
 *
 * Every picture is bounded: a line has at most DL_CHART_POINTS points (of more, the lowest and the highest of each
 * stretch are kept, so that no spike is lost), bars and cells at most what the caller hands over. NaN breaks a line.
 */
#ifndef DL_REPORT_CHART_H
#define DL_REPORT_CHART_H

#include <stdio.h>

#include "core/status.h"

#define DL_CHART_POINTS 800
#define DL_CHART_COLOURS 8

typedef struct dl_series {
  const char *name;
  const double *x, *y; /* x ascending */
  int64_t n;
  int colour; /* 0 .. DL_CHART_COLOURS - 1, taken modulo that */
  bool dashed, dots;
} dl_series;

typedef struct dl_chart {
  const char *title, *x_name;
  const dl_series *series;
  int n_series;
  bool stacked; /* areas above each other; all series have the same x */
  bool log_y;   /* where all values are above 0 */
  bool from_zero;
} dl_chart;
void dl_chart_lines(FILE *stream, const dl_chart *chart);

/* Bars between edges (bins + 1), with curves over their middles. */
typedef struct dl_chart_curve {
  const char *name;
  const double *expected; /* a value a bin */
  int colour;
} dl_chart_curve;
void dl_chart_histogram(FILE *stream, const double *edges, const double *counts, int bins, const dl_chart_curve *curves,
                        int n_curves);

/* Horizontal bars with names and values. */
void dl_chart_bars(FILE *stream, const char *const *names, const double *values, int n);

/* An n x n table of cells coloured by value: from -1 (cold) over 0 to 1 (hot), or, `counts`, by share of the row. */
void dl_chart_heat(FILE *stream, const char *const *names, const double *values, int n, bool counts);

#endif

/* format.h - how figures look on a terminal (floor: report).
 *
 * All write at most DL_FIGURE_BYTES with the end and return `text`. The locale is not asked.
 */
#ifndef DL_REPORT_FORMAT_H
#define DL_REPORT_FORMAT_H

#include "core/status.h"

#define DL_FIGURE_BYTES 32

/* "60,000" */
char *dl_format_count(int64_t value, char text[DL_FIGURE_BYTES]);
/* A loss or a metric, four digits after the point where that says enough: "0.3121", "12.5000", "1.25e-05", "nan". */
char *dl_format_figure(double value, char text[DL_FIGURE_BYTES]);
/* Things a second: "7.3", "51,234". */
char *dl_format_rate(double value, char text[DL_FIGURE_BYTES]);

#endif

/* Figures as text: plain printf, with thousands set apart by hand so that no locale changes them. */
#include "report/format.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

char *dl_format_count(int64_t value, char text[DL_FIGURE_BYTES]) {
  char digits[24];
  int n = snprintf(digits, sizeof digits, "%" PRId64, value), put = 0;
  for (int i = 0; i < n; i++) {
    if (i > (value < 0) && (n - i) % 3 == 0) text[put++] = ',';
    text[put++] = digits[i];
  }
  text[put] = 0;
  return text;
}

char *dl_format_figure(double value, char text[DL_FIGURE_BYTES]) {
  double size = fabs(value);
  bool fixed = size == 0 || (size >= 0.00995 && size < 99999);
  if (isnan(value))
    snprintf(text, DL_FIGURE_BYTES, "nan"); /* printf may write -nan */
  else
    snprintf(text, DL_FIGURE_BYTES, fixed ? "%.4f" : "%.3g", value);
  return text;
}

char *dl_format_rate(double value, char text[DL_FIGURE_BYTES]) {
  if (isfinite(value) && fabs(value) >= 99.95 && fabs(value) < 1e15) return dl_format_count(llround(value), text);
  snprintf(text, DL_FIGURE_BYTES, isfinite(value) && fabs(value) < 1e15 ? "%.1f" : "%.3g", value);
  return text;
}

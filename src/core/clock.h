/* clock.h - time (floor: core). */
#ifndef DL_CORE_CLOCK_H
#define DL_CORE_CLOCK_H

/* Seconds on the monotonic clock, from an arbitrary start. */
double dl_now_s(void);

/* "0:07", "12:30", "3:04:05" into `text` (at least 32 bytes); returns `text`. */
char *dl_format_duration(double seconds, char *text);

#endif

/* stragglers.h - which member the others wait for (floor: train).
 *
 * What is compared is the time that a member needs for its own leaves (read, forward, backward) by the sample, so that
 * a larger share of the batch does not count as slowness. Member 0 keeps this; nothing is collective. No function
 * allocates but dl_stragglers_new.
 */
#ifndef DL_TRAIN_STRAGGLERS_H
#define DL_TRAIN_STRAGGLERS_H

#include "core/status.h"

#define DL_STRAGGLER_STEPS 50 /* a verdict takes as many steps at least, ... */
#define DL_STRAGGLER_S 2.0    /* ... and as many seconds of the slowest member */
#define DL_STRAGGLER_OVER 1.25
#define DL_STRAGGLER_SHARE 0.8

typedef struct dl_stragglers dl_stragglers;

/* The slowest member over some steps. */
typedef struct dl_slowest {
  int rank;           /* -1: none (a team of one, or no step yet) */
  const char *host;   /* borrowed */
  double seconds;     /* of its own work */
  double over_median; /* its time by the sample over the median member's: 1.25 is a quarter slower */
} dl_slowest;

/* `hosts`: size names of 64 bytes, copied. */
dl_status dl_stragglers_new(int size, const char *hosts, dl_stragglers **out);
void dl_stragglers_destroy(dl_stragglers **stragglers);

/* One step: own_s[r] seconds over samples[r] samples (0: it had none); returns the slowest of this step. */
dl_slowest dl_stragglers_step(dl_stragglers *stragglers, const double *own_s, const int64_t *samples);

/* The slowest since the last call, which starts anew: an epoch. */
dl_slowest dl_stragglers_epoch(dl_stragglers *stragglers);

/* True once for a member that was the slowest in DL_STRAGGLER_SHARE of the last steps, and slower than the median by
 * DL_STRAGGLER_OVER over all of them: `text` says so, and what to do. */
bool dl_stragglers_persist(dl_stragglers *stragglers, char *text, size_t size);

#endif

/* ps_units.h - the work of the steps in progress, and who has it (floor: comm, private).
 *
 * A unit is a node of a step's tree: a run of leaves whose sum one worker delivers. Units are cut as workers ask: the
 * first of a worker in a step is its even share, later ones share what is left, all rounded down to a power of two. Who
 * computes a unit changes no bit. A unit that was cut stays so: when its worker goes, another gets the same.
 */
#ifndef DL_COMM_PS_UNITS_H
#define DL_COMM_PS_UNITS_H

#include "core/group.h"
#include "core/tree.h"

#define DL_PS_NOBODY (-1)

typedef struct dl_ps_unit {
  int64_t step;
  dl_tree_node node;
  int64_t leaves; /* how many it has */
  int holder;     /* a worker's number, or DL_PS_NOBODY */
  int64_t base;   /* the oldest step in progress when it was handed out: all before it are in the weights */
  bool done;
  double since_s; /* when it was handed out */
} dl_ps_unit;

typedef struct dl_ps_step {
  int64_t step, leaves;
  int64_t next;              /* the first leaf that is in no unit */
  int64_t done;              /* leaves of done units */
  double sums[DL_LEAF_SUMS]; /* the caller's */
} dl_ps_step;

typedef struct dl_ps_units {
  dl_ps_unit *unit;
  int n;
  int64_t room, steps_room;
  dl_ps_step *step; /* ascending */
  int n_steps;
} dl_ps_units;

typedef enum dl_ps_done { DL_PS_DONE_NOW, DL_PS_DONE_BEFORE, DL_PS_DONE_UNKNOWN } dl_ps_done;

void dl_ps_units_clear(dl_ps_units *units);
/* Opens the steps one after another. */
dl_status dl_ps_units_open(dl_ps_units *units, int64_t step, int64_t leaves);
/* A unit of a step as it was cut before, with whatever lies between it and the one before it cut anew. In the order of
 * their leaves, before anything of the step is handed out. DL_ERR_DATA: it does not fit. */
dl_status dl_ps_units_restore(dl_ps_units *units, int64_t step, dl_tree_node node, bool done);
/* Forgets a step and its units. */
void dl_ps_units_close(dl_ps_units *units, int64_t step);

/* The next unit for `holder`, one of `workers`: the one that it has already, one that was given up, or a new one. *out
 * is NULL where there is none; else it is borrowed until the next call. */
dl_status dl_ps_units_grant(dl_ps_units *units, int holder, int workers, double now_s, const dl_ps_unit **out);
/* A unit of a step in progress, NULL where there is none; borrowed until the next call. */
dl_ps_unit *dl_ps_units_find(const dl_ps_units *units, int64_t step, dl_tree_node node);
/* What is known of a unit; it is left as it is. */
dl_ps_done dl_ps_units_look(const dl_ps_units *units, int64_t step, dl_tree_node node);
dl_ps_done dl_ps_units_done(dl_ps_units *units, int64_t step, dl_tree_node node);
/* The worker is gone: what it has not done is free. Returns how many units that is. */
int dl_ps_units_lost(dl_ps_units *units, int holder);
/* The same for units that have been out for longer than `limit_s`. */
int dl_ps_units_late(dl_ps_units *units, double now_s, double limit_s);
bool dl_ps_units_complete(const dl_ps_units *units, int64_t step);
/* A step in progress, NULL where it is not; borrowed. */
dl_ps_step *dl_ps_units_step(const dl_ps_units *units, int64_t step);
/* Whether a unit of a step after `step` has been handed out. */
bool dl_ps_units_ahead(const dl_ps_units *units, int64_t step);
/* Closes the steps after `step` of which nothing has been handed out. */
void dl_ps_units_trim(dl_ps_units *units, int64_t step);

#endif

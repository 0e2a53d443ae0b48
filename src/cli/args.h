/* args.h - a command line against a table (floor: cli). */
#ifndef DL_CLI_ARGS_H
#define DL_CLI_ARGS_H

#include "core/status.h"

typedef struct dl_arg {
  const char *name;  /* "--run", or "-j" */
  const char *other; /* a second spelling, NULL: none */
  const char *value; /* what it takes ("DIR"); NULL: a flag */
  const char *help;
} dl_arg;

#define DL_ARGS_MAX 64
#define DL_ARGS_ROWS 64 /* of a command's table */

/* What was given: value[i] for row i (the last one, "" for a flag given), lists for all that may be repeated. */
typedef struct dl_args {
  const char *value[DL_ARGS_ROWS];
  const char *set[DL_ARGS_MAX]; /* every --set, in order */
  int n_set;
  const char *positional[DL_ARGS_MAX];
  int n_positional;
} dl_args;

/* DL_ERR_USAGE for unknown options (with the nearest), missing values, too many or too few positionals. "--set=x",
 * "--set x",
 * "-j4" and "-j 4" are understood; "--" ends options. */
dl_status dl_args_parse(const char *command, const dl_arg *rows, int n_rows, int min_positional, int max_positional,
                        int argc, char **argv, dl_args *out);

/* The value of option `name`, NULL where it was not given. */
const char *dl_args_get(const dl_args *args, const dl_arg *rows, int n_rows, const char *name);

#endif

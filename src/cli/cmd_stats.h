/* cmd_stats.h - dldist data stats, an action of dldist data (floor: cli). */
#ifndef DL_CLI_CMD_STATS_H
#define DL_CLI_CMD_STATS_H

#include "cli/command.h"

/* Its options in the command's table. */
#define DL_STATS_ARGS                                                                                               \
  {"--split", NULL, "train|valid|test", "stats: which split; default: the first of them that is there"},            \
      {"--x", NULL, "NAME", "stats: another data set in the file than SPLIT/x"},                                    \
      {"--y", NULL, "NAME", "stats: another data set in the file than SPLIT/y"},                                    \
      {"--layout", NULL, "nchw|nhwc", "stats: how images lie in the file; default: nchw"},                          \
      {"--memory", NULL, "MIB", "stats: what a rank or thread may hold; default: 1024"},                            \
      {"--json", NULL, NULL, "stats, verify: one JSON object instead of a table"},                                  \
      {"--html", NULL, "OUT.html", "stats: writes a page with pictures as well"}, {                                 \
    "-j", "--threads", "THREADS", "stats, import images: threads; default: all cores alone, 1 under mpirun or srun" \
  }

dl_status dl_stats_command(const dl_command *command, const dl_args *args);

#endif

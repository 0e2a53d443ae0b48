/* supervise.h - a process that is begun again when it is killed (floor: cli). */
#ifndef DL_CLI_SUPERVISE_H
#define DL_CLI_SUPERVISE_H

#include "core/status.h"

/* Forks. The child gets DL_OK and *child true, and goes on with the work; when this process dies it gets SIGTERM. Where
 * a signal ends it (a crash, an abort, kill -9) another child follows, after half a second and twice as long each time
 * up to five, until ten in a row have lived for less than a minute. SIGTERM, SIGINT and SIGUSR1 are passed on, and the
 * child's end is then the end. A child that exits by itself is not followed: this process gets its exit code in
 * *exit_code, 1 where a signal ended the last of ten. To be called before there are threads. */
dl_status dl_supervise(const char *name, bool *child, int *exit_code);

#endif

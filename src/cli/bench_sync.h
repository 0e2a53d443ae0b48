/* bench_sync.h - `dldist bench sync`: what a step of synchronisation and optimizer costs, by size (floor: cli). */
#ifndef DL_CLI_BENCH_SYNC_H
#define DL_CLI_BENCH_SYNC_H

#include "core/team.h"

typedef struct dl_bench_sync {
  int64_t least, most;    /* bytes of a gradient buffer; sizes between them go up by factors of 4 */
  const char *csv;        /* file for the figures, NULL: none */
  const char *const *set; /* "KEY=VALUE" of the configuration: transport, guards, optimizer */
  int n_set;
} dl_bench_sync;

/* A dl_member_fn; `context` is a dl_bench_sync. Member 0 prints the table. */
dl_status dl_bench_sync_member(dl_team *team, void *context);

#endif

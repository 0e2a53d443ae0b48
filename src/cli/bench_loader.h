/* bench_loader.h - dldist bench loader: how fast training batches come (floor: cli). */
#ifndef DL_CLI_BENCH_LOADER_H
#define DL_CLI_BENCH_LOADER_H

#include "cli/command.h"

dl_status dl_bench_loader(const dl_command *command, const dl_args *args);

#endif

/* bench_ps.h - dldist bench ps (floor: cli). */
#ifndef DL_CLI_BENCH_PS_H
#define DL_CLI_BENCH_PS_H

#include "core/status.h"

/* Times pushes and pulls against the same bytes by ZeroMQ alone, and prints them. Not collective. */
dl_status dl_bench_ps(void);

#endif

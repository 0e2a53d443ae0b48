/* bench_ps.c - dldist bench ps: 64 slices of 65,536 floats from one worker to one server and back. */
#include "cli/bench_ps.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/ps_bench.h"

#define SLICES 64
#define FLOATS 65536
#define ROUNDS 30

static dl_status one(const char *name, const char *address, bool keys) {
  const dl_ps_bench bench = {
      .address = address, .keys = keys, .slices = SLICES, .rounds = keys ? ROUNDS / 3 : ROUNDS, .floats = FLOATS};
  dl_ps_bench_times t;
  DL_TRY(dl_ps_bench_run(&bench, &t));
  printf("%-12s push %6.2f ms (ZeroMQ alone %6.2f, ratio %.2f)   pull %6.2f ms (%6.2f, %.2f)\n", name, t.push_s * 1e3,
         t.raw_push_s * 1e3, t.push_s / t.raw_push_s, t.pull_s * 1e3, t.raw_pull_s * 1e3, t.pull_s / t.raw_pull_s);
  return DL_OK;
}

dl_status dl_bench_ps(void) {
  char folder[] = "/tmp/dldist-bench-XXXXXX", ipc[80], path[64], tcp[64];
  if (!mkdtemp(folder)) return dl_fail(DL_ERR_SYSTEM, "no folder for a socket can be made in /tmp");
  snprintf(path, sizeof path, "%s/s", folder);
  snprintf(ipc, sizeof ipc, "ipc://%s", path);
  snprintf(tcp, sizeof tcp, "tcp://127.0.0.1:%d", 10000 + (int)getpid() % 20000);
  printf("%.1f MB of float32 in %d slices, one worker, one server that adds; medians\n",
         (double)SLICES * FLOATS * sizeof(float) / 1e6, SLICES);
  dl_status status = one("tcp", tcp, false);
  if (status == DL_OK) status = one("ipc", ipc, false);
  if (status == DL_OK) status = one("tcp, CURVE", tcp, true);
  unlink(path);
  rmdir(folder);
  return status;
}

/* bench_ps.c - dldist bench ps: 64 slices of 65,536 floats from workers to servers and back. */
#include "cli/bench_ps.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/ps_bench.h"

#define SLICES 64
#define FLOATS 65536
#define ROUNDS 30

static void print_half(const char *name, const double seconds[DL_PS_BENCH_WAYS], bool keys) {
  const double raw = seconds[DL_PS_BENCH_RAW] * 1e3, frames = seconds[DL_PS_BENCH_FRAMES] * 1e3;
  printf("  %s %7.2f %7.2f %5.2f ", name, raw, frames, frames / raw);
  if (keys)
    printf("%7s ", "-");
  else
    printf("%7.2f ", seconds[DL_PS_BENCH_MEMORY] * 1e3);
}

static dl_status one(const char *name, const char *address, bool keys, int n) {
  const dl_ps_bench bench = {.address = address,
                             .keys = keys,
                             .servers = n,
                             .workers = n,
                             .slices = SLICES,
                             .rounds = keys ? ROUNDS / 3 : ROUNDS,
                             .floats = FLOATS};
  dl_ps_bench_times t;
  DL_TRY(dl_ps_bench_run(&bench, &t));
  printf("%-11s %d + %d", name, n, n);
  print_half("push", t.push_s, keys);
  print_half("pull", t.pull_s, keys);
  putchar('\n');
  return DL_OK;
}

dl_status dl_bench_ps(void) {
  enum { MOST = 2, SOCKETS = MOST * DL_PS_BENCH_WAYS };
  char folder[] = "/tmp/dldist-bench-XXXXXX", ipc[80], path[64], tcp[64];
  dl_status status = DL_OK;
  if (!mkdtemp(folder)) return dl_fail(DL_ERR_SYSTEM, "no folder for a socket can be made in /tmp");
  snprintf(ipc, sizeof ipc, "ipc://%s/s", folder);
  snprintf(tcp, sizeof tcp, "tcp://127.0.0.1:%d", 10000 + (int)getpid() % 20000);
  printf(
      "%.1f MB of float32 in %d slices from each worker, servers that add; medians in ms: ZeroMQ alone, frames, their "
      "ratio, payload in memory\n",
      (double)SLICES * FLOATS * sizeof(float) / 1e6, SLICES);
  for (int n = 1; status == DL_OK && n <= MOST; n++) {
    status = one("tcp", tcp, false, n);
    if (status == DL_OK) status = one("ipc", ipc, false, n);
  }
  if (status == DL_OK) status = one("tcp, CURVE", tcp, true, 1);
  for (int i = 0; i < SOCKETS; i++) {
    snprintf(path, sizeof path, i ? "%s/s.%d" : "%s/s", folder, i);
    unlink(path);
  }
  rmdir(folder);
  return status;
}

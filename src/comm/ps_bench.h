/* ps_bench.h - how fast slices travel, beside ZeroMQ alone (floor: comm). */
#ifndef DL_COMM_PS_BENCH_H
#define DL_COMM_PS_BENCH_H

#include "core/status.h"

typedef struct dl_ps_bench {
  const char *address; /* of the first server, and 3 x servers following ones: tcp://127.0.0.1:PORT or ipc:///PATH */
  bool keys;           /* CURVE */
  int servers, workers;
  int slices, rounds;
  size_t floats; /* of a slice */
} dl_ps_bench;

/* The same bytes by ZeroMQ alone; frames with their checksums; slices in memory that both see, told of by frames. */
typedef enum dl_ps_bench_way {
  DL_PS_BENCH_RAW,
  DL_PS_BENCH_FRAMES,
  DL_PS_BENCH_MEMORY,
  DL_PS_BENCH_WAYS
} dl_ps_bench_way;

/* Seconds, medians over the rounds: every worker has all its slices in flight, one after another, until the last has
 * been answered; the slowest worker counts. A push is added to the server's sum; a pull ends in the worker's own
 * memory. */
typedef struct dl_ps_bench_times {
  double push_s[DL_PS_BENCH_WAYS], pull_s[DL_PS_BENCH_WAYS];
} dl_ps_bench_times;

/* Servers and workers are threads of this process; the ways take turns, round by round. Not collective. */
dl_status dl_ps_bench_run(const dl_ps_bench *bench, dl_ps_bench_times *out);

#endif

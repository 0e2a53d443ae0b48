/* ps_bench.h - how fast slices travel, beside ZeroMQ alone (floor: comm). */
#ifndef DL_COMM_PS_BENCH_H
#define DL_COMM_PS_BENCH_H

#include "core/status.h"

typedef struct dl_ps_bench {
  const char *address; /* a free one; tcp://127.0.0.1:PORT or ipc:///PATH */
  bool keys;           /* CURVE */
  int slices, rounds;
  size_t floats; /* of a slice */
} dl_ps_bench;

/* Seconds, medians over the rounds: all slices one after another in flight, until the last has been answered. */
typedef struct dl_ps_bench_times {
  double push_s, pull_s;         /* frames with their checksums; a push is added to the server's sum */
  double raw_push_s, raw_pull_s; /* the same bytes by ZeroMQ alone, added alike */
} dl_ps_bench_times;

/* One worker, one server, in threads of this process. Not collective. */
dl_status dl_ps_bench_run(const dl_ps_bench *bench, dl_ps_bench_times *out);

#endif

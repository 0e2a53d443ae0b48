/* mpi_common.h - a main for tests that run in MPI teams: one thread a rank, then two. Only rank 0 speaks. */
#ifndef DL_TEST_MPI_COMMON_H
#define DL_TEST_MPI_COMMON_H

#include <mpi.h>
#include <stdio.h>

#include "comm/launch.h"

static inline int mpi_test_main(const char *name, dl_member_fn fn, void *context) {
  int provided = 0, rank = 0, failures = 0;
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int threads = 1; threads <= 2; threads++) {
    MPI_Comm world = MPI_COMM_WORLD;
    dl_status status = dl_launch_over(&world, threads, fn, context);
    char text[1400];
    if (status != DL_OK) failures++;
    if (rank == 0)
      printf("%s, %d thread%s a rank: %s\n", name, threads, threads > 1 ? "s" : "",
             status == DL_OK ? "passed" : dl_error_format(dl_error_last(), text, sizeof text));
  }
  MPI_Finalize();
  return failures ? 1 : 0;
}

#endif

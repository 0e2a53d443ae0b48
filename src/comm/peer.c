/* peer.c - MPI_Allreduce as a data-parallel trainer without a tree would call it. */
#include "comm/peer.h"

#include <limits.h>
#include <mpi.h>

bool dl_peer_available(const dl_team *team) { return team->processes > 1 && team->threads == 1; }

dl_status dl_peer_allreduce(dl_team *team, float *values, size_t n, bool nonblocking) {
  if (!dl_peer_available(team) || n > INT_MAX)
    return dl_fail(DL_ERR_INTERNAL, "MPI_Allreduce of %zu floats in a team of %d processes", n, team->processes);
  int code;
  if (nonblocking) {
    MPI_Request request;
    code = MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request);
    if (code == MPI_SUCCESS) code = MPI_Wait(&request, MPI_STATUS_IGNORE);
  } else {
    code = MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  }
  return code == MPI_SUCCESS ? DL_OK : dl_fail(DL_ERR_SYSTEM, "MPI_Allreduce failed with code %d", code);
}

/* peer.h - the library's own sum of gradients, to be compared with (floor: comm).
 *
 * Training does not use it: its order of additions is the library's, so the bits depend on the number of ranks.
 */
#ifndef DL_COMM_PEER_H
#define DL_COMM_PEER_H

#include "core/team.h"

/* Whether there is a team that MPI_Allreduce could serve: several processes of one member each. */
bool dl_peer_available(const dl_team *team);

/* MPI_Allreduce in place over `values` (n floats), or MPI_Iallreduce and MPI_Wait. For teams of dl_launch, over all
 * processes. Collective; no deadline. */
dl_status dl_peer_allreduce(dl_team *team, float *values, size_t n, bool nonblocking);

#endif

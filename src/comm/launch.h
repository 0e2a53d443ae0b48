/* launch.h - how members come to be: alone, as threads, under mpirun or srun (floor: comm). */
#ifndef DL_COMM_LAUNCH_H
#define DL_COMM_LAUNCH_H

#include "core/team.h"

/* What every member runs. Its result is agreed on by the team before dl_launch returns. */
typedef dl_status (*dl_member_fn)(dl_team *team, void *context);

/* True where the environment says that mpirun, srun or another PMI launcher started this process as one of several (or
 * of one). Not collective. */
bool dl_launch_under_launcher(void);

/* Cores that this process may run on (affinity and cgroup quota counted). */
int dl_launch_cores(void);

/* Runs `fn` on every member: under a launcher MPI is initialised (unless it is already) and each rank runs `threads`
 * members; alone `threads` members run in this process without MPI. threads = 0: the default (1 under a launcher, else
 * the cores at hand). Returns this process's status; the error record is the team's. MPI is finalised if it was
 * initialised here. The job aborts when a member fails outside an agreement. */
dl_status dl_launch(int threads, dl_member_fn fn, void *context);

/* The same over the caller's communicator: `communicator` points to an MPI_Comm, which is duplicated and stays the
 * caller's. Collective over it. MPI must be initialised, with MPI_THREAD_MULTIPLE where threads > 1. */
dl_status dl_launch_over(const void *communicator, int threads, dl_member_fn fn, void *context);
/* For Fortran handles. */
dl_status dl_launch_over_fortran(int communicator, int threads, dl_member_fn fn, void *context);

#endif

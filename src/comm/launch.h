/* launch.h - how members come to be: alone, as threads, under mpirun or srun (floor: comm). */
#ifndef DL_COMM_LAUNCH_H
#define DL_COMM_LAUNCH_H

#include "core/team.h"

/* What every member runs. Its result is agreed on by the team before dl_launch returns. */
typedef dl_status (*dl_member_fn)(dl_team *team, void *context);

/* True where the environment says that mpirun, srun or another PMI launcher started this process as one of several (or
 * of one). Not collective. */
bool dl_launch_under_launcher(void);

/* True in the one process of a job that speaks to the user, by the environment alone: before there is a team, and after
 * one (a failed dl_launch has the same record in every process). It is the process of member 0. Not collective. */
bool dl_launch_is_first(void);

/* Cores that this process may run on (affinity and cgroup quota counted). */
int dl_launch_cores(void);

/* Runs `fn` on every member: under a launcher MPI is initialised (unless it is already) and each rank runs `threads`
 * members; alone `threads` members run in this process without MPI. threads = 0: the default (1 under a launcher, else
 * the cores at hand). Returns this process's status; the error record is the team's. MPI is finalised if it was
 * initialised here. The job aborts when a member fails outside an agreement. */
dl_status dl_launch(int threads, dl_member_fn fn, void *context);

/* The same over the caller's communicator: `communicator` points to an MPI_Comm, which is duplicated and stays the
 * caller's. Collective over it. MPI must be initialised, with MPI_THREAD_FUNNELED or higher where
 * threads > 1: the calling thread alone speaks MPI. */
dl_status dl_launch_over(const void *communicator, int threads, dl_member_fn fn, void *context);
/* For Fortran handles. */
dl_status dl_launch_over_fortran(int communicator, int threads, dl_member_fn fn, void *context);

/* A team of one member a process that lasts until it is closed, for programs that call instead of being called. `where`
 * says over what. Collective over the processes it takes in. */
typedef enum dl_team_where {
  DL_TEAM_ALONE,    /* this process */
  DL_TEAM_LAUNCHED, /* all processes under a launcher, else this one; MPI is initialised unless it is */
  DL_TEAM_OVER,     /* the MPI_Comm at `communicator` */
  DL_TEAM_FORTRAN,  /* the Fortran handle at `communicator` (an int) */
} dl_team_where;
dl_status dl_team_open(dl_team_where where, const void *communicator, dl_team **out);
void dl_team_close(dl_team **team);

#endif

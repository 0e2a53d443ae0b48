/* dldist_mpi.h - dldist over an MPI communicator of yours. */
#ifndef DLDIST_DLDIST_MPI_H
#define DLDIST_DLDIST_MPI_H

#include <mpi.h>

#include "dldist/dldist.h"

/* The communicator is duplicated and stays yours. Collective over it. */
static inline dl_status dl_context_open_mpi(MPI_Comm communicator, dl_context **out) {
  return dl_context_open_over(&communicator, out);
}

#endif

/* Every operation of a team, with MPI ranks and with threads of MPI ranks as members. */
#include "mpi_common.h"
#include "team_property.h"

int main(void) { return mpi_test_main("team", team_properties, NULL); }

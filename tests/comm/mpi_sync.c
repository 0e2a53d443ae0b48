/* Gradient synchronisation in MPI teams against the serial tree. */
#include "mpi_common.h"
#include "sync_property.h"

int main(void) {
  property_run run = {.first_seed = 77000, .cases = 8};
  return mpi_test_main("sync", run_properties, &run);
}

/* Guards against silent corruption in MPI teams: copies of other processes, shared memory between them. */
#include "guard_fixture.h"
#include "mpi_common.h"

static dl_status trials(dl_team *team, void *context) {
  (void)context;
  int caught = 0;
  guard_run run = {.first_seed = 300, .trials = 40, .audit_every = 3};
  run.transport = team->nodes == 1 ? DL_TRANSPORT_SHM : DL_TRANSPORT_MPI;
  DL_TRY(guard_trials(team, &run, guard_weight_trial, &caught));
  run.transport = DL_TRANSPORT_MPI;
  if (team->size > 2) DL_TRY(guard_trials(team, &run, guard_weight_trial, &caught));
  run = (guard_run){.transport = DL_TRANSPORT_MPI, .first_seed = 900, .trials = 40, .recompute_every = 1};
  if (team->size == 1) return DL_OK;
  DL_TRY(guard_trials(team, &run, guard_gradient_trial, &caught));
  return caught > 0 ? DL_OK : dl_fail(DL_ERR_INTERNAL, "no wrong gradient was seen");
}

int main(void) { return mpi_test_main("guards", trials, NULL); }

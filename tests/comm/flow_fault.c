/* MPI fails in the third step of a job on several nodes: the calls below are this program's own, and one of them brings
 * an error in one process (-1: in all) once the step is in that phase. It ends the job at once, whoever waits; the
 * script beside it looks at what was said. Pretended nodes: DLDIST_NODES. Ends with 0 where nothing was noticed.
 *
 *   mpirun -n 3 flow_fault THREADS PROCESS gradients|verdict|weights MPI_Testsome|MPI_Isend|MPI_Iallgather */
#include <mpi.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/launch.h"
#include "comm/sync.h"

#define FLOATS ((size_t)1 << 16)
#define FAULT_STEP 3

/* What has begun in FAULT_STEP. Messages of a flow have tags from 1 on; all gradients are awaited before one is sent,
 * and weights go only after the verdict. */
enum { BEFORE, GRADIENTS, VERDICT, WEIGHTS, PHASES };
static const char *const phase_names[PHASES] = {"", "gradients", "verdict", "weights"};
static _Atomic int in_step, phase_now, fails_here;
static const char *fault_phase, *fault_call;

static void begins(int phase) {
  if (in_step && phase > phase_now) phase_now = phase;
}
static int fault(const char *call) {
  return fails_here && !strcmp(phase_names[phase_now], fault_phase) && !strcmp(call, fault_call);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int process, int tag, MPI_Comm comm,
              MPI_Request *request) {
  if (tag > 0) begins(phase_now < VERDICT ? GRADIENTS : WEIGHTS);
  return tag > 0 && fault("MPI_Isend") ? MPI_ERR_OTHER : PMPI_Isend(data, count, type, process, tag, comm, request);
}

int MPI_Irecv(void *data, int count, MPI_Datatype type, int process, int tag, MPI_Comm comm, MPI_Request *request) {
  if (tag > 0 && phase_now >= VERDICT) begins(WEIGHTS);
  return PMPI_Irecv(data, count, type, process, tag, comm, request);
}

int MPI_Iallgather(const void *send, int n_send, MPI_Datatype sends, void *receive, int n_receive,
                   MPI_Datatype receives, MPI_Comm comm, MPI_Request *request) {
  begins(VERDICT);
  return fault("MPI_Iallgather") ? MPI_ERR_OTHER
                                 : PMPI_Iallgather(send, n_send, sends, receive, n_receive, receives, comm, request);
}

int MPI_Testsome(int n, MPI_Request requests[], int *done, int indices[], MPI_Status statuses[]) {
  return fault("MPI_Testsome") ? MPI_ERR_OTHER : PMPI_Testsome(n, requests, done, indices, statuses);
}

static void descend(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                    const float *restrict gradient, float *const state[]) {
  (void)context, (void)tensor, (void)state;
  for (size_t i = 0; i < n; i++) weights[i] -= 0.01f * gradient[i];
}

static dl_status step(dl_team *team, dl_sync *sync) {
  const double sums[DL_LEAF_SUMS] = {1, 1};
  const dl_cut cut = dl_cut_make(team->size, team->size);
  DL_TRY(dl_sync_begin(sync, &cut));
  DL_TRY(dl_sync_await(sync, FLOATS));
  for (size_t i = 0; i < FLOATS; i++) dl_sync_gradients(sync)[i] = (float)team->rank;
  dl_sync_leaf_done(sync, team->rank, sums);
  const dl_sync_request request = {.weights_later = true};
  dl_sync_result result;
  return dl_sync_finish(sync, &request, &result);
}

static dl_status run(dl_team *team, void *context) {
  const int *process = context;
  const dl_tensor tensor = {.name = "weight", .count = FLOATS, .trainable = true, .lr_scale = 1};
  const dl_param_group group = {.count = FLOATS, .tensors = &tensor, .n_tensors = 1, .apply = descend};
  const dl_sync_options options = {.shards = team->size, .overlap = true};
  dl_sync *sync = NULL;
  team->timeout_s = 60;
  fails_here = *process < 0 || team->rank / team->threads == *process;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_status status = DL_OK;
  for (int i = 1; i <= FAULT_STEP && status == DL_OK; i++) {
    if (i == FAULT_STEP) status = dl_team_barrier(team, "before the fault");
    in_step = i == FAULT_STEP;
    if (status == DL_OK) status = step(team, sync);
  }
  if (status == DL_OK) status = dl_sync_settle(sync);
  dl_sync_destroy(&sync);
  return status;
}

int main(int count, char **words) {
  if (count != 5) return 2;
  fault_phase = words[3];
  fault_call = words[4];
  int process = atoi(words[2]);
  dl_status status = dl_launch(atoi(words[1]), run, &process);
  char text[1400];
  if (status != DL_OK) fprintf(stderr, "%s\n", dl_error_format(dl_error_last(), text, sizeof text));
  return dl_status_exit_code(status);
}

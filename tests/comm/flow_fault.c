/* MPI fails while gradients or weights travel between nodes: MPI_Testsome is this program's own, and from those of the
 * third step on it brings an error in one process. Its error ends the job at once, whoever waits; the script beside it
 * looks at what was said. Pretended nodes: DLDIST_NODES. Ends with 0 where nothing was noticed.
 *
 *   mpirun -n 3 flow_fault THREADS PROCESS gradients|weights */
#include <mpi.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/launch.h"
#include "comm/sync.h"

#define FLOATS ((size_t)1 << 16)
#define FAULT_STEP 3

static _Atomic int armed, sent; /* in FAULT_STEP: gradients have set out; the fault is on */
static _Atomic int step_now, fails_here, in_gradients;

/* Messages of a flow have tags from 1 on. All gradients are awaited before one is sent, so the first receive after a
 * send is that of weights. */
int MPI_Isend(const void *data, int count, MPI_Datatype type, int process, int tag, MPI_Comm comm,
              MPI_Request *request) {
  if (step_now == FAULT_STEP && tag > 0) sent = 1;
  if (sent && fails_here && in_gradients) armed = 1;
  return PMPI_Isend(data, count, type, process, tag, comm, request);
}

int MPI_Irecv(void *data, int count, MPI_Datatype type, int process, int tag, MPI_Comm comm, MPI_Request *request) {
  if (step_now == FAULT_STEP && tag > 0 && sent && fails_here) armed = 1;
  return PMPI_Irecv(data, count, type, process, tag, comm, request);
}

int MPI_Testsome(int n, MPI_Request requests[], int *done, int indices[], MPI_Status statuses[]) {
  return armed ? MPI_ERR_OTHER : PMPI_Testsome(n, requests, done, indices, statuses);
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
  fails_here = team->rank / team->threads == *process;
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_status status = DL_OK;
  for (int i = 1; i <= FAULT_STEP && status == DL_OK; i++) {
    if (i == FAULT_STEP) status = dl_team_barrier(team, "before the fault");
    step_now = i;
    if (status == DL_OK) status = step(team, sync);
  }
  if (status == DL_OK) status = dl_sync_settle(sync);
  dl_sync_destroy(&sync);
  return status;
}

int main(int count, char **words) {
  if (count != 4) return 2;
  in_gradients = strcmp(words[3], "gradients") == 0;
  int process = atoi(words[2]);
  dl_status status = dl_launch(atoi(words[1]), run, &process);
  char text[1400];
  if (status != DL_OK) fprintf(stderr, "%s\n", dl_error_format(dl_error_last(), text, sizeof text));
  return dl_status_exit_code(status);
}

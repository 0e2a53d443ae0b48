/* Guards against silent corruption in MPI teams: copies of other processes, shared memory between them, nodes. FLIPS in
 * the environment is the number of bits that are flipped in each way (default 40). */
#include "guard_fixture.h"
#include "mpi_common.h"

static int flips(void) {
  const char *text = getenv("FLIPS");
  const int n = text ? atoi(text) : 0;
  return n > 0 ? n : 40;
}

static void tell(const dl_team *team, const char *what, const guard_run *run, const guard_tally *tally) {
  if (team->rank == 0)
    printf("%s, %d members on %d nodes: %d flips, %d audited, %d caught and named\n", what, team->size, team->nodes,
           run->trials, tally->audited, tally->caught);
}

/* One memory, or one a node: audits in every step and in every third, with and without a norm that is needed first. */
static dl_status weights_of_nodes(dl_team *team) {
  guard_tally tally;
  for (int form = 0; form < 4; form++) {
    const guard_run run = {.first_seed = 300 + 10000u * (unsigned)form,
                           .trials = flips() / 4,
                           .audit_every = form % 2 ? 3 : 1,
                           .norm_first = form / 2,
                           .overlap = form == 1};
    DL_TRY(guard_trials(team, &run, guard_weight_trial, &tally));
    tell(team, "weights", &run, &tally);
  }
  return DL_OK;
}

static dl_status weights_sent_on(dl_team *team) {
  const guard_run run = {.first_seed = 60000, .trials = flips() / 4, .audit_every = 1};
  guard_tally tally;
  if (team->nodes < 3) return DL_OK;
  DL_TRY(guard_trials(team, &run, guard_sent_on_trial, &tally));
  return tally.caught > 0 ? DL_OK : dl_fail(DL_ERR_INTERNAL, "no weights were sent on");
}

static dl_status trials(dl_team *team, void *context) {
  (void)context;
  guard_tally tally;
  DL_TRY(weights_of_nodes(team));
  DL_TRY(weights_sent_on(team));
  guard_run run = {.transport = DL_TRANSPORT_MPI, .first_seed = 300, .trials = flips() / 4, .audit_every = 3};
  if (team->size > 2) DL_TRY(guard_trials(team, &run, guard_weight_trial, &tally));
  for (int overlap = 0; overlap < 2 && team->size > 1; overlap++) {
    run = (guard_run){
        .first_seed = 900 + 5000u * (unsigned)overlap, .trials = flips() / 2, .recompute_every = 1, .overlap = overlap};
    DL_TRY(guard_trials(team, &run, guard_gradient_trial, &tally));
    tell(team, "gradients", &run, &tally);
    if (!tally.caught) return dl_fail(DL_ERR_INTERNAL, "no wrong gradient was seen");
  }
  return DL_OK;
}

int main(void) { return mpi_test_main("guards", trials, NULL); }

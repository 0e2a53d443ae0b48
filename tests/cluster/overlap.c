/* A training step whose computing is sleep, so that what is left to see is how much of the exchange it hides, even on a
 * machine with fewer cores than ranks: layers of 1 MiB of parameters, each with a forward and a backward time.
 *
 *   overlap LAYERS FORWARD_MS BACKWARD_MS OVERLAP(0|1)        prints the median step in ms */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/launch.h"
#include "comm/sync.h"
#include "core/clock.h"

#define LAYER_FLOATS ((size_t)1 << 18)
#define MAX_LAYERS 64
#define STEPS 7

typedef struct job {
  int layers;
  double forward_ms, backward_ms;
  bool overlap;
} job;

static void descend(void *context, const dl_tensor *tensor, size_t n, float *restrict weights,
                    const float *restrict gradient, float *const state[]) {
  (void)context, (void)tensor, (void)state;
  for (size_t i = 0; i < n; i++) weights[i] -= 0.01f * gradient[i];
}

static void compute(double ms) {
  struct timespec time = {(time_t)(ms / 1000), (long)(1e6 * ms) % 1000000000};
  nanosleep(&time, NULL);
}

static dl_status step(dl_team *team, dl_sync *sync, const job *j) {
  const double sums[DL_LEAF_SUMS] = {1, 1};
  dl_cut cut = dl_cut_make(team->size, team->size);
  DL_TRY(dl_sync_begin(sync, &cut));
  for (int layer = 0; layer < j->layers; layer++) {
    DL_TRY(dl_sync_await(sync, (size_t)(layer + 1) * LAYER_FLOATS));
    compute(j->forward_ms);
  }
  for (int layer = j->layers; layer-- > 0;) {
    float *gradients = dl_sync_gradients(sync) + (size_t)layer * LAYER_FLOATS;
    compute(j->backward_ms);
    for (size_t i = 0; i < LAYER_FLOATS; i++) gradients[i] = (float)(team->rank + layer);
    dl_sync_ready(sync, team->rank, (size_t)layer * LAYER_FLOATS);
  }
  dl_sync_leaf_done(sync, team->rank, sums);
  dl_sync_request request = {.weights_later = true};
  dl_sync_result result;
  return dl_sync_finish(sync, &request, &result);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static dl_status run(dl_team *team, void *context) {
  const job *j = context;
  dl_tensor tensors[MAX_LAYERS] = {{.dims = 0}};
  dl_param_group group = {.tensors = tensors, .n_tensors = j->layers, .apply = descend};
  for (int i = 0; i < j->layers; i++, group.count += LAYER_FLOATS)
    tensors[i] = (dl_tensor){.offset = group.count, .count = LAYER_FLOATS, .trainable = true, .lr_scale = 1};
  dl_sync_options options = {.shards = team->size, .overlap = j->overlap};
  dl_sync *sync = NULL;
  double times[STEPS];
  DL_TRY(dl_sync_new(team, &group, &options, &sync));
  dl_status status = DL_OK;
  for (int i = 0; i < STEPS && status == DL_OK; i++) {
    double begin = dl_now_s();
    status = step(team, sync, j);
    times[i] = dl_now_s() - begin;
  }
  if (status == DL_OK) status = dl_sync_settle(sync);
  dl_sync_destroy(&sync);
  qsort(times, STEPS, sizeof *times, by_value);
  if (status == DL_OK && team->rank == 0) printf("%.1f\n", times[STEPS / 2] * 1e3);
  return status;
}

int main(int count, char **words) {
  if (count != 5) return 2;
  job j = {atoi(words[1]), atof(words[2]), atof(words[3]), strcmp(words[4], "1") == 0};
  if (j.layers < 1 || j.layers > MAX_LAYERS) return 2;
  dl_status status = dl_launch(1, run, &j);
  char text[1400];
  if (status != DL_OK) fprintf(stderr, "%s\n", dl_error_format(dl_error_last(), text, sizeof text));
  return dl_status_exit_code(status);
}

/* cmd_bench.c - dldist bench: times what matters on this machine, on data made up in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "comm/launch.h"
#include "core/clock.h"
#include "core/mem.h"
#include "core/rng.h"
#include "nn/gemm.h"
#include "train/run.h"

static const dl_arg args_table[] = {
    {"--batch", NULL, "N", "step: samples a member (default 128)"},
    {"--shards", NULL, "N|auto|ranks", "step: logical shards (default ranks)"},
    {"--steps", NULL, "N", "step: steps to time (default 300)"},
    {"--set", NULL, "KEY=VALUE", "sets a key of the configuration (may be repeated)"},
    {"-j", "--threads", "THREADS", "threads; default: 1"},
};

#define WARM_UP 30
#define FEATURES 784
#define CLASSES 10

typedef struct step_job {
  int64_t batch, steps;
  const char *shards; /* a number, "auto" or "ranks" */
  const char *const *set;
  int n_set;
} step_job;

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Uniform features and labels that follow from them, so that there is something to learn. */
static void make_samples(int64_t n, float *x, int32_t *label) {
  dl_rng_key key = dl_rng_stream(7, DL_RNG_SAMPLE, 0);
  for (int64_t i = 0; i < n; i++) {
    for (uint32_t b = 0; b < FEATURES / 4; b++) {
      uint32_t words[4];
      dl_rng_block(key, 0, (uint64_t)i, b, words);
      for (int k = 0; k < 4; k++) x[i * FEATURES + 4 * (int64_t)b + k] = dl_rng_to_unit(words[k]);
    }
    label[i] = (int32_t)(dl_rng_word(key, 1, (uint64_t)i, 0) % CLASSES);
  }
}

static dl_status make_config(const dl_team *team, const step_job *job, dl_config **out) {
  char ranks[16];
  snprintf(ranks, sizeof ranks, "%d", team->size);
  long long batch = (long long)job->batch * team->size;
  char *text = dl_asprintf(
      "name: bench-step\nmodel: [{dense: 512}, relu, {dense: 512}, relu, {dense: 10}]\noptimizer: {name: adam, lr: "
      "0.001}\n"
      "train: {epochs: 1, batch: %lld}\nsync: {shards: %s}\n",
      batch, strcmp(job->shards, "ranks") ? job->shards : ranks);
  if (!text) return DL_ERR_NOMEM;
  dl_status status = dl_config_parse(text, strlen(text), "(bench)", job->set, job->n_set, out);
  free(text);
  return status;
}

static void print_step(const dl_model *model, const step_job *job, double *times, int64_t n) {
  qsort(times, (size_t)n, sizeof *times, by_value);
  double median = times[n / 2], flops = 6.0 * dl_net_multiply_adds(model->net) * (double)job->batch;
  printf("%d rank%s, %lld samples a rank, %lld shards, %s, transport %s\n", model->team->size,
         model->team->size == 1 ? "" : "s", (long long)job->batch, (long long)model->shards,
         dl_gemm_choose(model->config->compute.backend)->name, dl_sync_transport(model->sync));
  printf("step: median %.3f ms, fastest %.3f ms, 90%% below %.3f ms; %.0f samples/s; %.0f GF/s a rank\n", median * 1e3,
         times[0] * 1e3, times[n * 9 / 10] * 1e3, (double)(job->batch * model->team->size) / median,
         flops / median / 1e9);
}

static dl_status time_steps(dl_team *team, const step_job *job, float *x, int32_t *label, double *times,
                            int64_t samples) {
  dl_run_options options = {.quiet = true};
  dl_run run = {.team = team, .options = &options, .saved_step = -1, .step_seconds = times};
  dl_data_shape shape = {.x_dims = 1, .x_shape = {FEATURES}, .x_size = FEATURES, .y_size = 1, .classes = CLASSES};
  dl_data_arrays arrays[DL_SPLITS] = {{.samples = samples, .x = x, .labels = label}};
  dl_model_source source = {.shape = &shape, .arrays = arrays};
  dl_config *config = NULL;
  DL_TRY(dl_team_agree(team, make_config(team, job, &config)));
  DL_TRY(dl_model_new_training(team, config, &source, &run.model));
  dl_status status = dl_fit(&run);
  if (status == DL_OK && team->rank == 0) print_step(run.model, job, times + WARM_UP, job->steps);
  dl_model_destroy(&run.model);
  return status;
}

static dl_status step_member(dl_team *team, void *context) {
  const step_job *job = context;
  int64_t samples = job->batch * team->size * (job->steps + WARM_UP);
  int64_t distinct =
      job->batch * team->size * 8; /* what a step reads comes from a set that fits no cache, but is soon made */
  if (distinct < samples) samples = distinct;
  float *x = dl_calloc_aligned((size_t)(samples * FEATURES), sizeof *x);
  int32_t *label = dl_calloc_aligned((size_t)samples, sizeof *label);
  int64_t epochs = (job->steps + WARM_UP + 7) / 8, steps = epochs * 8;
  double *times = dl_calloc((size_t)steps, sizeof *times);
  dl_status status = dl_team_agree(team, x && label && times ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) {
    make_samples(samples, x, label);
    char set[48];
    snprintf(set, sizeof set, "train.epochs=%lld", (long long)epochs);
    const char *sets[DL_ARGS_MAX + 1] = {set};
    memcpy(sets + 1, job->set, (size_t)job->n_set * sizeof *sets);
    step_job whole = *job;
    whole.set = sets;
    whole.n_set++;
    status = time_steps(team, &whole, x, label, times, samples);
  }
  free(times);
  free(label);
  free(x);
  return status;
}

static dl_status number(const dl_command *command, const dl_args *args, const char *name, int64_t most,
                        int64_t *value) {
  const char *text = dl_option_of(command, args, name);
  if (!text) return DL_OK;
  char *end;
  long long n = strtoll(text, &end, 10);
  if (end == text || *end || n < 1 || n > most)
    return dl_fail(DL_ERR_USAGE, "dldist bench: %s takes a number from 1 to %lld, not '%s'", name, (long long)most,
                   text);
  *value = n;
  return DL_OK;
}

static dl_status bench_step(const dl_command *command, const dl_args *args) {
  step_job job = {.batch = 128, .steps = 300, .shards = "ranks", .set = args->set, .n_set = args->n_set};
  int threads = 0;
  DL_TRY(number(command, args, "--batch", 1000000, &job.batch));
  DL_TRY(number(command, args, "--steps", 1000000, &job.steps));
  DL_TRY(dl_threads_option(command, args, &threads));
  if (dl_option_of(command, args, "--shards")) job.shards = dl_option_of(command, args, "--shards");
  return dl_launch(threads ? threads : 1, step_member, &job);
}

static const struct {
  const char *name;
  dl_status (*run)(const dl_command *, const dl_args *);
} benches[] = {{"step", bench_step}};
#define N_BENCHES ((int)(sizeof benches / sizeof benches[0]))

static dl_status run(const dl_command *command, const dl_args *args) {
  for (int i = 0; i < N_BENCHES; i++)
    if (!strcmp(args->positional[0], benches[i].name)) return benches[i].run(command, args);
  dl_fail(DL_ERR_USAGE, "dldist bench: unknown benchmark '%.60s'", args->positional[0]);
  return dl_hint("there is: step");
}

const dl_command dl_command_bench = {
    .name = "bench",
    .usage = "step [--batch N] [--shards N|auto|ranks] [--steps N] [--set KEY=VALUE]... [-j THREADS]",
    .help = "times training on this machine",
    .more =
        "step: a training step of a 784-512-512-10 network with Adam, on samples made up in memory: forward, loss, "
        "backward, "
        "exchange, update, and reading the batch.",
    .args = args_table,
    .n_args = sizeof args_table / sizeof args_table[0],
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};

/* cmd_bench.c - dldist bench: times what matters on this machine, on data made up in memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_guards.h"
#include "cli/bench_loader.h"
#include "cli/bench_models.h"
#include "cli/bench_ps.h"
#include "cli/bench_sync.h"
#include "cli/command.h"
#include "comm/launch.h"
#include "core/clock.h"
#include "core/mem.h"
#include "nn/gemm.h"
#include "train/run.h"

static const dl_arg args_table[] = {
    {"--model", NULL, "NAME", "step: the network: mlp, cifar10-cnn, resnet20, lstm or gpt (default mlp)"},
    {"--batch", NULL, "N", "step: samples a member (default: the network's); loader: samples of a batch (default 512)"},
    {"--shards", NULL, "N|auto|ranks", "step, loader: logical shards (default: the ranks; loader: 8)"},
    {"--steps", NULL, "N", "step: steps to time (default: the network's)"},
    {"--peak", NULL, "GF/S", "step: peak of a core; the share of it that a step reaches is printed"},
    {"--layers", NULL, NULL, "step: a table of the time in each layer, of member 0"},
    {"--guards", NULL, NULL, "step: what sync.audit_every and sync.recompute_every cost, on and off by turns"},
    {"--min", NULL, "KIB", "sync: smallest gradient buffer (default 4)"},
    {"--max", NULL, "KIB", "sync: largest gradient buffer (default 262144, which is 256 MiB)"},
    {"--csv", NULL, "FILE", "sync: writes the figures there too, in seconds"},
    {"--set", NULL, "KEY=VALUE", "sets a key of the configuration (may be repeated)"},
    {"--data", NULL, "FILE.h5", "loader: what is read"},
    {"--epochs", NULL, "N", "loader: passes to time (default 3)"},
    {"-j", "--threads", "THREADS", "threads; default: 1"},
};

#define EPOCH_STEPS 8 /* what is read comes from a set that fits no cache, but is soon made */

typedef struct step_job {
  const dl_bench_model *model;
  int64_t batch, steps;
  int64_t warm_up, epochs; /* steps before the timed ones; epochs that hold them all */
  double peak;             /* GF/s a core, 0: not given */
  bool layers;             /* print the time in each */
  bool guards;             /* steps with and without them by turns */
  const char *shards;      /* a number, "auto" or "ranks" */
  const char *const *set;
  int n_set;
} step_job;

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static dl_status make_config(const dl_team *team, const step_job *job, dl_config **out) {
  char ranks[16], data[96] = "";
  snprintf(ranks, sizeof ranks, "%d", team->size);
  if (job->model->tokens)
    snprintf(data, sizeof data, "task: language_model\ndata: {sequence: %lld}\n", (long long)job->model->x_shape[0]);
  char *text = dl_asprintf(
      "name: bench-step\n%smodel: %s\noptimizer: {name: adam, lr: 0.001}\ntrain: {epochs: %lld, batch: %lld}\n"
      "sync: {shards: %s}\n",
      data, job->model->layers, (long long)job->epochs, (long long)job->batch * team->size,
      strcmp(job->shards, "ranks") ? job->shards : ranks);
  if (!text) return DL_ERR_NOMEM;
  dl_status status = dl_config_parse(text, strlen(text), "(bench)", job->set, job->n_set, out);
  free(text);
  return status;
}

static void print_step(const dl_model *model, const step_job *job, double *times, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += times[i];
  qsort(times, (size_t)n, sizeof *times, by_value);
  const double median = times[n / 2], flops = 6.0 * dl_net_multiply_adds(model->net) * (double)job->batch,
               speed = flops / median / 1e9;
  printf("%s, %lld parameters, %d rank%s, %lld samples a rank, %lld shards, %s, transport %s\n", job->model->name,
         (long long)dl_net_parameters(model->net), model->team->size, model->team->size == 1 ? "" : "s",
         (long long)job->batch, (long long)model->shards, dl_gemm_choose(model->config->compute.backend)->name,
         dl_sync_transport(model->sync));
  printf("step: median %.3f ms, fastest %.3f ms, 90%% below %.3f ms, mean %.3f ms; %.0f samples/s; %.0f GF/s a rank",
         median * 1e3, times[0] * 1e3, times[n * 9 / 10] * 1e3, 1e3 * sum / (double)n,
         (double)(job->batch * model->team->size) / median, speed);
  if (job->peak > 0) printf("; %.1f%% of %g GF/s", 100 * speed / job->peak, job->peak);
  putchar('\n');
}

/* Where rank 0's time of a step went. What waits for weights that are still on their way counts as forward. */
static void print_phases(const step_job *job, const double *phases) {
  printf("mean of rank 0's phases, ms:");
  for (int p = 0; p < DL_STEP_PHASES; p++) {
    double sum = 0;
    for (int64_t i = 0; i < job->steps; i++) sum += phases[i * DL_STEP_PHASES + p];
    printf("%s %s %.3f", p ? "," : "", dl_step_phase_names[p], 1e3 * sum / (double)job->steps);
  }
  putchar('\n');
}

/* `times`: seconds of every layer's passes over `steps` steps. */
static void print_layers(const dl_model *model, const step_job *job, const double *times, int64_t steps) {
  char name[96];
  printf("%-36s  %10s  %8s  %10s  %8s\n", "layer", "forward ms", "GF/s", "backward", "GF/s");
  for (int i = 0; i < dl_net_layers(model->net); i++) {
    const double flops = 2e-9 * dl_net_layer_multiply_adds(model->net, i) * (double)(job->batch * steps);
    const double forward = times[2 * i], backward = times[2 * i + 1];
    printf("%-36s  %10.3f  %8.1f  %10.3f  %8.1f\n", dl_net_layer_text(model->net, i, name, sizeof name),
           1e3 * forward / (double)steps, forward > 0 ? flops / forward : 0, 1e3 * backward / (double)steps,
           backward > 0 ? 2 * flops / backward : 0);
  }
}

static dl_status time_steps(dl_team *team, const step_job *job, const dl_data_arrays arrays[DL_SPLITS], double *times,
                            double *phases) {
  const dl_bench_model *made = job->model;
  dl_run_options options = {.quiet = true};
  dl_run run = {.team = team, .options = &options, .saved_step = -1, .step_seconds = times, .step_phases = phases};
  dl_data_shape shape = {.x_dims = made->x_dims, .y_size = 1, .classes = made->classes};
  memcpy(shape.x_shape, made->x_shape, sizeof shape.x_shape);
  dl_model_source source = {.shape = &shape, .arrays = arrays};
  dl_config *config = NULL;
  dl_bench_guards_every every;
  DL_TRY(dl_team_agree(team, make_config(team, job, &config)));
  if (job->guards) dl_bench_guards_prepare(config, &every);
  DL_TRY(dl_model_new_training(team, config, &source, &run.model));
  double *layers = job->layers ? dl_calloc(2 * (size_t)dl_net_layers(run.model->net), sizeof *layers) : NULL;
  dl_net_time_layers(run.model->net, layers);
  dl_status status = dl_team_agree(team, layers || !job->layers ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = job->guards ? dl_bench_guards(&run, &every, job->epochs, EPOCH_STEPS) : dl_fit(&run);
  if (status == DL_OK && team->rank == 0 && !job->guards) {
    print_step(run.model, job, times + job->warm_up, job->steps);
    print_phases(job, phases + job->warm_up * DL_STEP_PHASES);
  }
  if (status == DL_OK && team->rank == 0 && layers) print_layers(run.model, job, layers, job->epochs * EPOCH_STEPS);
  free(layers);
  dl_model_destroy(&run.model);
  return status;
}

static dl_status step_member(dl_team *team, void *context) {
  const step_job *job = context;
  const dl_bench_model *made = job->model;
  const int64_t samples = job->batch * team->size * EPOCH_STEPS;
  float *x = dl_calloc_aligned((size_t)(samples * dl_bench_model_row(made)), sizeof *x);
  int32_t *label = dl_calloc_aligned((size_t)samples, sizeof *label);
  double *times = dl_calloc((size_t)(job->epochs * EPOCH_STEPS), sizeof *times);
  double *phases = dl_calloc((size_t)(job->epochs * EPOCH_STEPS) * DL_STEP_PHASES, sizeof *phases);
  dl_status status = dl_team_agree(team, x && label && times && phases ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) {
    dl_bench_model_fill(made, samples, x, label);
    const dl_data_arrays tokens[DL_SPLITS] = {{.samples = samples, .tokens = x}},
                         values[DL_SPLITS] = {{.samples = samples, .x = x, .labels = label}};
    status = time_steps(team, job, made->tokens ? tokens : values, times, phases);
  }
  free(phases);
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

static dl_status peak(const dl_command *command, const dl_args *args, double *value) {
  const char *text = dl_option_of(command, args, "--peak");
  char *end;
  if (!text) return DL_OK;
  *value = strtod(text, &end);
  if (end == text || *end || !(*value > 0) || !isfinite(*value))
    return dl_fail(DL_ERR_USAGE, "dldist bench: --peak takes a number of GF/s above 0, not '%s'", text);
  return DL_OK;
}

static dl_status bench_step(const dl_command *command, const dl_args *args) {
  step_job job = {.shards = "ranks", .set = args->set, .n_set = args->n_set};
  int threads = 0;
  DL_TRY(dl_bench_model_find(dl_option_of(command, args, "--model"), &job.model));
  job.batch = job.model->batch;
  job.steps = job.model->steps;
  DL_TRY(number(command, args, "--batch", 1000000, &job.batch));
  DL_TRY(number(command, args, "--steps", 1000000, &job.steps));
  DL_TRY(peak(command, args, &job.peak));
  DL_TRY(dl_threads_option(command, args, &threads));
  job.layers = dl_option_of(command, args, "--layers") != NULL;
  job.warm_up = job.steps < 10 ? 1 : job.steps < 300 ? job.steps / 10 : 30;
  job.epochs = (job.steps + job.warm_up + EPOCH_STEPS - 1) / EPOCH_STEPS;
  job.guards = dl_option_of(command, args, "--guards") != NULL;
  if (job.guards) job.epochs = dl_bench_guards_epochs(job.steps, EPOCH_STEPS);
  if (dl_option_of(command, args, "--shards")) job.shards = dl_option_of(command, args, "--shards");
  return dl_launch(threads ? threads : 1, step_member, &job);
}

static dl_status bench_sync(const dl_command *command, const dl_args *args) {
  int64_t least = 4, most = 262144;
  int threads = 0;
  DL_TRY(number(command, args, "--min", 1 << 22, &least));
  DL_TRY(number(command, args, "--max", 1 << 22, &most));
  DL_TRY(dl_threads_option(command, args, &threads));
  if (least > most)
    return dl_fail(DL_ERR_USAGE, "dldist bench: --min %lld is above --max %lld", (long long)least, (long long)most);
  dl_bench_sync job = {.least = least * 1024,
                       .most = most * 1024,
                       .csv = dl_option_of(command, args, "--csv"),
                       .set = args->set,
                       .n_set = args->n_set};
  return dl_launch(threads ? threads : 1, dl_bench_sync_member, &job);
}

static dl_status bench_ps(const dl_command *command, const dl_args *args) {
  (void)command, (void)args;
  return dl_launch_is_first() ? dl_bench_ps() : DL_OK;
}

static const struct {
  const char *name;
  dl_status (*run)(const dl_command *, const dl_args *);
} benches[] = {{"step", bench_step}, {"loader", dl_bench_loader}, {"sync", bench_sync}, {"ps", bench_ps}};
#define N_BENCHES ((int)(sizeof benches / sizeof benches[0]))

static dl_status run(const dl_command *command, const dl_args *args) {
  for (int i = 0; i < N_BENCHES; i++)
    if (!strcmp(args->positional[0], benches[i].name)) return benches[i].run(command, args);
  dl_fail(DL_ERR_USAGE, "dldist bench: unknown benchmark '%.60s'", args->positional[0]);
  return dl_hint("there are: step, loader, sync, ps");
}

const dl_command dl_command_bench = {
    .name = "bench",
    .usage =
        "step [--model NAME] [--batch N] [--shards N|auto|ranks] [--steps N] [--peak GF/S] [--layers] [--guards] "
        "[--set "
        "KEY=VALUE]... "
        "[-j THREADS]\n"
        "       dldist bench loader --data FILE.h5 [--batch N] [--shards N] [--epochs N] [--set KEY=VALUE]... [-j "
        "THREADS]"
        "\n       dldist bench sync [--min KIB] [--max KIB] [--csv FILE] [--set KEY=VALUE]... [-j THREADS]"
        "\n       dldist bench ps",
    .help = "times training on this machine",
    .more =
        "step: a whole training step with Adam on samples made up in memory: reading the batch, forward, loss, "
        "backward, exchange, update. Networks: mlp (784-512-512-10), cifar10-cnn (three convolutions), resnet20, "
        "lstm (2 x 256 on windows of 64 tokens), gpt (four blocks of width 256 on windows of 128 tokens). GF/s "
        "count a multiply-add as two operations, and backward as twice forward. With --guards the same steps run with "
        "and without the guards against silent corruption by turns; their cost is given in parts of a step.\n\n"
        "loader: training batches of a file's train/x and nothing else, after one epoch that does not count: bytes "
        "of "
        "x as "
        "they are kept in memory, floats written into batches, and the share of the time that batches waited for the "
        "files. data.shuffle: lanes unless --set says otherwise.\n\n"
        "sync: from every rank's gradient to new weights, without the computing in between, over gradient buffers "
        "from "
        "4 KiB to 256 MiB: the fused step, the step in two phases (clipping), MPI_Allreduce and MPI_Iallreduce "
        "followed "
        "by a step of every rank's own (under mpirun), the time that the same ranks need to copy as many bytes as a "
        "fused "
        "step must move, that of norm and step of a rank's share alone, in memory of its own, and that of moving the "
        "bytes "
        "of a fused step from where they lie, the other ranks' gradients out of their caches.\n\n"
        "ps: pushes and pulls of parameter servers on this host, beside the same bytes by ZeroMQ alone.",
    .args = args_table,
    .n_args = sizeof args_table / sizeof args_table[0],
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};

/* cmd_train.c - dldist train. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/command.h"
#include "comm/launch.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "train/run.h"

static const dl_arg args_table[] = {
    {"--set", NULL, "KEY=VALUE", "sets a key of the configuration (may be repeated): --set train.epochs=5"},
    {"--run", NULL, "DIR", "the run's folder; default runs/NAME-DATE"},
    {"--resume", NULL, "auto|never|CHECKPOINT",
     "what to go on from; auto (default): the newest whole checkpoint in the folder"},
    {"-j", "--threads", "THREADS", "threads that train together; default: all cores alone, 1 under mpirun or srun"},
    {"--quiet", "-q", NULL, "no progress, epochs or warnings (metrics.jsonl keeps those); the results alone"},
    {"--dry-run", "-n", NULL, "checks configuration and data, prints the network, trains nothing"},
};

/* The demo: a small network on the digits that come with dldist. */
static const char demo_text[] =
    "name: digits-demo\n"
    "seed: 1\n"
    "task: classification\n"
    "data: {file: \"%s\", normalize: per_feature}\n"
    "model: [flatten, {dense: 128}, relu, {dropout: 0.2}, {dense: 10}]\n"
    "optimizer: {name: adam, lr: 0.003}\n"
    "train: {epochs: 20, batch: 64}\n"
    "sync: {shards: 8}\n";

static dl_status demo_config(char **out) {
  char *digits = dl_find_shared_file("digits.h5");
  if (!digits) {
    dl_fail(DL_ERR_USAGE,
            "no configuration was given, there is no dldist.yaml here, and the demo's digits.h5 is not found");
    return dl_hint("give a configuration: dldist train CONFIG.yaml");
  }
  *out = dl_asprintf(demo_text, digits);
  free(digits);
  return *out ? DL_OK : DL_ERR_NOMEM;
}

/* CONFIG, dldist.yaml, or the demo. */
static dl_status choose_config(const dl_args *args, dl_run_options *options, char **demo) {
  *demo = NULL;
  if (args->n_positional)
    options->config_path = args->positional[0];
  else if (dl_path_exists("dldist.yaml"))
    options->config_path = "dldist.yaml";
  if (options->config_path) return DL_OK;
  DL_TRY(demo_config(demo));
  options->config_text = *demo;
  options->config_name = "(demo)";
  return DL_OK;
}

/* mpirun puts a pipe between rank 0 and the terminal; who knows that there is one says so by DLDIST_TERMINAL=COLUMNS,
 * as launchers/local does. Columns, or 0 where there is no terminal. */
static int terminal_columns(void) {
  const char *said = getenv("DLDIST_TERMINAL"), *term = getenv("TERM");
  if (said && *said) return atoi(said);
  if (!isatty(STDERR_FILENO) || (term && !strcmp(term, "dumb"))) return 0;
  struct winsize size;
  return !ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : 80;
}

static dl_status member(dl_team *team, void *context) { return dl_run_train(team, context); }

dl_status dl_train_launch(const dl_command *command, const dl_args *args, int threads) {
  int columns = terminal_columns();
  dl_run_options options = {.assignments = args->set,
                            .n_assignments = args->n_set,
                            .folder = dl_option_of(command, args, "--run"),
                            .resume = dl_option_of(command, args, "--resume"),
                            .quiet = dl_option_of(command, args, "--quiet") != NULL,
                            .dry_run = dl_option_of(command, args, "--dry-run") != NULL,
                            .terminal = columns > 0,
                            .columns = columns,
                            .start_s = dl_now_s(),
                            .output = dl_print,
                            .error = dl_print_error,
                            .stop = &dl_stop_requested};
  if (!options.resume) options.resume = "auto";
  int asked = 0;
  char *demo;
  DL_TRY(dl_threads_option(command, args, &asked));
  if (asked) threads = asked;
  DL_TRY(choose_config(args, &options, &demo));
  dl_catch_signals();
  dl_status status = dl_launch(threads, member, &options);
  free(demo);
  return status;
}

static dl_status run(const dl_command *command, const dl_args *args) { return dl_train_launch(command, args, 0); }

const dl_command dl_command_train = {
    .name = "train",
    .usage =
        "[CONFIG.yaml] [--set KEY=VALUE]... [--run DIR] [--resume auto|never|CHECKPOINT] [-j THREADS] [--quiet] "
        "[--dry-run]",
    .help = "trains a network",
    .more =
        "CONFIG defaults to dldist.yaml in the working directory, and without it to a demo on the digits that come "
        "with "
        "dldist. Started by mpirun or srun all ranks train together; alone, threads of one process do. The "
        "configuration "
        "says what is computed, the number of ranks only how fast: the same configuration and sync.shards give the "
        "same "
        "weights bit for bit.\n\n"
        "SIGTERM, SIGINT and SIGUSR1 stop the run after the step with a checkpoint and exit code 75; the same command "
        "goes "
        "on from there.",
    .args = args_table,
    .n_args = sizeof args_table / sizeof args_table[0],
    .max_positional = 1,
    .run = run,
};

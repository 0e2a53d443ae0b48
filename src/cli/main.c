/* main.c - dldist: the subcommand, its errors, its exit code. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "comm/launch.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/options.h"
#include "data/data.h"

static const dl_command *const commands[] = {
    &dl_command_train, &dl_command_eval,   &dl_command_predict, &dl_command_data,
    &dl_command_ps,    &dl_command_report, &dl_command_inspect, &dl_command_list,
    &dl_command_bench, &dl_command_doctor, &dl_command_help,
};
#define N_COMMANDS ((int)(sizeof commands / sizeof commands[0]))

const dl_command *const *dl_commands(int *n) {
  *n = N_COMMANDS;
  return commands;
}

const dl_command *dl_command_find(const char *name) {
  for (int i = 0; i < N_COMMANDS; i++)
    if (!strcmp(commands[i]->name, name)) return commands[i];
  return NULL;
}

void dl_print(void *context, const char *text) {
  (void)context;
  fputs(text, stdout);
  fflush(stdout);
}

void dl_print_error(void *context, const char *text) {
  (void)context;
  fputs(text, stderr);
  fflush(stderr);
}

void dl_print_warning(void *context, const char *code, const char *message) {
  (void)context, (void)code;
  fprintf(stderr, "warning: %s\n", message);
}

volatile sig_atomic_t dl_stop_requested;

static void on_signal(int number) {
  if (dl_stop_requested == number) _exit(128 + number); /* asked twice: at once */
  dl_stop_requested = number;
}

void dl_catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
}

dl_status dl_threads_option(const dl_command *command, const dl_args *args, int *out) {
  const char *text = dl_option_of(command, args, "-j");
  *out = 0;
  if (!text) return DL_OK;
  char *end;
  long value = strtol(text, &end, 10);
  if (end == text || *end || value < 1 || value > 1024)
    return dl_fail(DL_ERR_USAGE, "dldist %s: -j takes a number of threads from 1 to 1024, not '%s'", command->name,
                   text);
  *out = (int)value;
  return DL_OK;
}

/* Installed: PREFIX/bin/dldist and PREFIX/share/dldist; in a build: DLDIST_SHARE, or the source tree's share. */
char *dl_find_shared_file(const char *name) {
  char program[4096];
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  char *folder = NULL, *found = NULL;
  if (n > 0) {
    program[n] = 0;
    folder = dl_path_dirname(program);
  }
  const char *share = getenv("DLDIST_SHARE");
  const char *const places[] = {share, "../share/dldist", DLDIST_SOURCE_SHARE};
  for (int i = 0; i < 3 && !found; i++) {
    if (!places[i] || !*places[i] || (i == 1 && !folder)) continue;
    char *dir = i == 1 ? dl_path_join(folder, places[i]) : dl_strdup(places[i]);
    char *path = dir ? dl_path_join(dir, name) : NULL;
    if (path && dl_path_exists(path)) found = realpath(path, NULL); /* it goes into config.yaml: no bin/.. */
    free(path);
    free(dir);
  }
  free(folder);
  return found;
}

static int report(dl_status status) {
  if (status != DL_OK && dl_launch_is_first()) {
    const dl_error *error = dl_error_last();
    char text[2048];
    dl_error_format(error, text, sizeof text);
    bool stopped = status == DL_ERR_STOPPED;
    if (error->rank > 0)
      fprintf(stderr, "dldist: %s%s [rank %d]\n", stopped ? "" : "error: ", text, error->rank);
    else
      fprintf(stderr, "dldist: %s%s\n", stopped ? "" : "error: ", text);
  }
  fflush(stdout);
  if (status == DL_OK && ferror(stdout)) {
    fprintf(stderr, "dldist: error: standard output could not be written: %s\n", strerror(errno));
    return 1;
  }
  return dl_status_exit_code(status);
}

static dl_status unknown_command(const char *name) {
  const char *names[N_COMMANDS];
  for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i]->name;
  dl_fail(DL_ERR_USAGE, "unknown command '%.60s'", name);
  return dl_hint_nearest(name, names, N_COMMANDS, "see dldist help");
}

static dl_status run(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "help";
  if (!strcmp(name, "--help") || !strcmp(name, "-h")) name = "help";
  if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
    if (dl_launch_is_first()) puts("dldist " DLDIST_VERSION);
    return DL_OK;
  }
  const dl_command *command = dl_command_find(name);
  if (!command) return unknown_command(name);
  for (int i = 2; i < argc && strcmp(argv[i], "--"); i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
      dl_args args = {.positional = {name}, .n_positional = 1};
      return dl_launch_is_first() ? dl_command_help.run(&dl_command_help, &args) : DL_OK;
    }
  dl_args args;
  DL_TRY(dl_args_parse(name, command->args, command->n_args, command->min_positional, command->max_positional, argc - 2,
                       argv + (argc > 2 ? 2 : argc), &args));
  if (command->whole_line_only && !dl_launch_is_first()) return DL_OK;
  return command->run(command, &args);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a file as long as ulimit -f allows is an error that is told */
  dl_data_own_process();
  return report(run(argc, argv));
}

/* command.h - the subcommands: one file each, one row each (floor: cli). */
#ifndef DL_CLI_COMMAND_H
#define DL_CLI_COMMAND_H

#include <signal.h>

#include "cli/args.h"
#include "core/team.h"

typedef struct dl_command {
  const char *name;
  const char *usage; /* what follows the name */
  const char *help;  /* one sentence */
  const char *more;  /* paragraphs for `dldist help NAME`, may be "" */
  const dl_arg *args;
  int n_args;
  int min_positional, max_positional;
  bool whole_line_only; /* only rank 0 of a launcher does it: the others end at once */
  dl_status (*run)(const struct dl_command *command, const dl_args *args);
} dl_command;

extern const dl_command dl_command_train, dl_command_eval, dl_command_predict, dl_command_data, dl_command_inspect,
    dl_command_list, dl_command_report, dl_command_bench, dl_command_doctor, dl_command_ps, dl_command_help;
const dl_command *const *dl_commands(int *n);
const dl_command *dl_command_find(const char *name);

/* `dldist train` on a command line that has its options: CONFIG is the first positional. `threads` is the default of
 * -j, 0: train's own. */
dl_status dl_train_launch(const dl_command *command, const dl_args *args, int threads);

/* The value of an option of the command, NULL where it was not given. */
static inline const char *dl_option_of(const dl_command *command, const dl_args *args, const char *name) {
  return dl_args_get(args, command->args, command->n_args, name);
}

/* The number of threads that -j asks for: 0 where it was not given. */
dl_status dl_threads_option(const dl_command *command, const dl_args *args, int *out);

/* Standard output and error, whole texts at a time. `context` is not used. */
void dl_print(void *context, const char *text);
void dl_print_error(void *context, const char *text);
/* A dl_log_sink: "warning: ..." on standard error. */
void dl_print_warning(void *context, const char *code, const char *message);

/* Set by SIGINT, SIGTERM and SIGUSR1 once dl_catch_signals was called; a second signal of the same kind ends the
 * program. */
extern volatile sig_atomic_t dl_stop_requested;
void dl_catch_signals(void);

/* Where the data that come with dldist lie: fresh string, NULL where the file is not found. */
char *dl_find_shared_file(const char *name);

#endif

/* cmd_import.c - dldist data import: every option of the command line that a format may know is handed to it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd_data.h"
#include "comm/launch.h"
#include "core/clock.h"
#include "core/options.h"
#include "data/import.h"

/* A line that is drawn over, on a terminal, from the second second on. */
typedef struct follower {
  bool terminal, drawn;
  double last_s;
} follower;

static void say(void *context, const char *line) {
  follower *f = context;
  fprintf(stderr, "%s%s\n", f->drawn ? "\r\033[K" : "", line);
  f->drawn = false;
}

static void progress(void *context, const char *phase, int64_t done, int64_t total) {
  follower *f = context;
  const double now = dl_now_s();
  if (!f->terminal || now - f->last_s < 0.2) return;
  f->last_s = now;
  f->drawn = true;
  if (total > 0)
    fprintf(stderr, "\r\033[K%s %.0f%%", phase, 100 * (double)(done < total ? done : total) / (double)total);
  else
    fprintf(stderr, "\r\033[K%s %lld", phase, (long long)done);
}

/* What was given and is not the command's own. */
static int collect_settings(const dl_command *command, const dl_args *args, dl_import_setting *settings) {
  int n = 0;
  for (int i = 0; i < command->n_args; i++) {
    const dl_arg *a = &command->args[i];
    if (args->value[i] && !strncmp(a->name, "--", 2) && strcmp(a->name, "--force") != 0)
      settings[n++] = (dl_import_setting){a->name + 2, args->value[i]};
  }
  return n;
}

typedef struct call {
  const dl_format *format;
  const char *const *inputs;
  int n_inputs, n_settings;
  dl_import_setting settings[DL_ARGS_ROWS];
  const char *output;
  bool force;
} call;

static dl_status import(dl_team *team, void *context) {
  const call *c = context;
  follower who = {.terminal = isatty(STDERR_FILENO), .last_s = dl_now_s()};
  const dl_import_listener listener = {say, progress, &who};
  if (team) dl_team_be_patient(team);
  dl_status status = dl_import_on(team, c->format->name, c->inputs, c->n_inputs, c->settings, c->n_settings, c->output,
                                  c->force, team && team->rank ? NULL : &listener);
  if (who.drawn) fprintf(stderr, "\r\033[K");
  return status;
}

dl_status dl_data_import(const dl_command *command, const dl_args *args) {
  call c = {.output = dl_option_of(command, args, "-o"), .force = dl_option_of(command, args, "--force") != NULL};
  int threads;
  if (args->n_positional < 2) {
    dl_fail(DL_ERR_USAGE, "dldist data import needs a format");
    return dl_hint("for example dldist data import idx IMAGES LABELS -o FILE.h5; see dldist list formats");
  }
  c.format = dl_format_find(args->positional[1]);
  if (!c.format) return DL_ERR_USAGE;
  c.inputs = args->positional + 2;
  c.n_inputs = args->n_positional - 2;
  DL_TRY(dl_format_check_inputs(c.format, c.inputs, c.n_inputs));
  if (!c.output) return dl_fail(DL_ERR_USAGE, "dldist data import needs -o FILE.h5");
  c.n_settings = collect_settings(command, args, c.settings);
  DL_TRY(dl_threads_option(command, args, &threads));
  dl_data_leave_nothing();
  if (c.format->parallel) return dl_launch(threads, import, &c);
  return dl_launch_is_first() ? import(NULL, &c) : DL_OK;
}

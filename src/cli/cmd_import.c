/* cmd_import.c - dldist data import: every option of the command line that a format may know is handed to it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd_data.h"
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

static dl_status find_format(const char *name, const dl_format **out) {
  const char *names[32];
  int n;
  const dl_format *formats = dl_formats(&n);
  for (int i = 0; i < n && i < 32; i++) {
    names[i] = formats[i].name;
    if (!strcmp(name, names[i])) return *out = &formats[i], DL_OK;
  }
  dl_fail(DL_ERR_USAGE, "dldist data: unknown format '%.60s'", name);
  return dl_hint_nearest(name, names, n, "see dldist help data");
}

/* What was given and is not the command's own. */
static int collect_settings(const dl_command *command, const dl_args *args, dl_import_setting *settings) {
  int n = 0;
  for (int i = 0; i < command->n_args; i++) {
    const dl_arg *a = &command->args[i];
    if (args->value[i] && strcmp(a->name, "-o") != 0 && strcmp(a->name, "--force") != 0)
      settings[n++] = (dl_import_setting){a->name + 2, args->value[i]};
  }
  return n;
}

dl_status dl_data_import(const dl_command *command, const dl_args *args) {
  const dl_format *format = NULL;
  const char *output = dl_option_of(command, args, "-o");
  if (args->n_positional < 2) {
    dl_fail(DL_ERR_USAGE, "dldist data import needs a format");
    return dl_hint("for example dldist data import idx IMAGES LABELS -o FILE.h5; see dldist list formats");
  }
  DL_TRY(find_format(args->positional[1], &format));
  const int inputs = args->n_positional - 2;
  if (inputs < format->min_inputs || inputs > format->max_inputs)
    return dl_fail(DL_ERR_USAGE, "dldist data import %s takes %s, %d given", format->name, format->usage, inputs);
  if (!output) return dl_fail(DL_ERR_USAGE, "dldist data import needs -o FILE.h5");
  dl_import_setting settings[DL_ARGS_ROWS];
  const int n = collect_settings(command, args, settings);
  follower who = {.terminal = isatty(STDERR_FILENO), .last_s = dl_now_s()};
  const dl_import_listener listener = {say, progress, &who};
  dl_status status = dl_import_followed(format->name, args->positional + 2, inputs, settings, n, output,
                                        dl_option_of(command, args, "--force") != NULL, &listener);
  if (who.drawn) fprintf(stderr, "\r\033[K");
  return status;
}

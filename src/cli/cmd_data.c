/* cmd_data.c - dldist data import | info | stats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_stats.h"
#include "cli/command.h"
#include "comm/launch.h"
#include "core/options.h"
#include "data/import.h"

static const dl_arg args_table[] = {
    {"-o", "--output", "FILE.h5", "import: the file to write"},
    {"--force", "-f", NULL, "import: replaces an existing file"},
    {"--tokens", NULL, "char|byte", "import text: what a token is; default: char"},
    {"--test-fraction", NULL, "F", "import text: share at the end that becomes the test split; default: 0"},
    DL_STATS_ARGS,
};

static dl_status unknown(const char *what, const char *word, const char *const *names, int n) {
  dl_fail(DL_ERR_USAGE, "dldist data: unknown %s '%.60s'", what, word);
  return dl_hint_nearest(word, names, n, "see dldist help data");
}

static dl_status import(const dl_command *command, const dl_args *args) {
  int n;
  const dl_format *formats = dl_formats(&n), *format = NULL;
  const char *names[32], *output = dl_option_of(command, args, "-o");
  if (args->n_positional < 2) {
    dl_fail(DL_ERR_USAGE, "dldist data import needs a format");
    return dl_hint("for example dldist data import idx IMAGES LABELS -o FILE.h5; see dldist list formats");
  }
  for (int i = 0; i < n && i < 32; i++) {
    names[i] = formats[i].name;
    if (!strcmp(args->positional[1], names[i])) format = &formats[i];
  }
  if (!format) return unknown("format", args->positional[1], names, n);
  int inputs = args->n_positional - 2;
  if (inputs < format->min_inputs || inputs > format->max_inputs)
    return dl_fail(DL_ERR_USAGE, "dldist data import %s takes %s, %d given", format->name, format->usage, inputs);
  if (!output) return dl_fail(DL_ERR_USAGE, "dldist data import needs -o FILE.h5");
  static const char *const words[] = {"--tokens", "--test-fraction"};
  enum { WORDS = sizeof words / sizeof words[0] };
  dl_import_setting settings[WORDS];
  int n_settings = 0;
  for (int i = 0; i < WORDS; i++) {
    const char *value = dl_option_of(command, args, words[i]);
    if (value) settings[n_settings++] = (dl_import_setting){words[i] + 2, value};
  }
  return dl_import(format->name, args->positional + 2, inputs, settings, n_settings, output,
                   dl_option_of(command, args, "--force") != NULL);
}

static dl_status info(const dl_command *command, const dl_args *args) {
  (void)command;
  if (args->n_positional != 2) return dl_fail(DL_ERR_USAGE, "dldist data info needs one FILE");
  char *text = NULL;
  DL_TRY(dl_data_info(args->positional[1], &text));
  fputs(text, stdout);
  free(text);
  return DL_OK;
}

static const struct {
  const char *name;
  dl_status (*run)(const dl_command *, const dl_args *);
  bool together; /* all ranks of a launcher do it, not rank 0 alone */
} actions[] = {{"import", import, false}, {"info", info, false}, {"stats", dl_stats_command, true}};
#define N_ACTIONS ((int)(sizeof actions / sizeof actions[0]))

static dl_status run(const dl_command *command, const dl_args *args) {
  const char *names[N_ACTIONS];
  for (int i = 0; i < N_ACTIONS; i++) {
    names[i] = actions[i].name;
    if (strcmp(args->positional[0], names[i])) continue;
    return actions[i].together || dl_launch_is_first() ? actions[i].run(command, args) : DL_OK;
  }
  return unknown("action", args->positional[0], names, N_ACTIONS);
}

const dl_command dl_command_data = {
    .name = "data",
    .usage =
        "import FORMAT INPUT... -o FILE.h5 [--force] [--tokens char|byte] [--test-fraction F] | info FILE | "
        "stats FILE [--split S] [--json] [--html OUT.html]",
    .help = "brings data into HDF5, and tells what a file holds",
    .more =
        "A data set is an HDF5 file with samples first: /train/x and /train/y, likewise valid and test. An import "
        "writes "
        "chunks with Fletcher32 checksums, and the file is whole or not there.\n\n"
        "stats describes every feature, or every channel of images, the labels and the tokens: moments, quantiles, "
        "histograms, distributions fitted by maximum likelihood, correlations, entropy, mutual information, credible "
        "intervals and a naive Bayes baseline. Under mpirun and with -j the work is shared; the figures have the same "
        "bits.",
    .args = args_table,
    .n_args = sizeof args_table / sizeof args_table[0],
    .min_positional = 1,
    .max_positional = DL_ARGS_MAX,
    .run = run,
};

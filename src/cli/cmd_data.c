/* cmd_data.c - dldist data import | info | stats | verify | split. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_data.h"
#include "cli/cmd_stats.h"
#include "comm/launch.h"
#include "core/options.h"
#include "data/import.h"

static const dl_arg args_table[] = {
    {"-o", "--output", "FILE.h5", "import, split: the file to write"},
    {"--force", "-f", NULL, "import, split: replaces an existing file"},
    {"--size", NULL, "HxW", "import images: what all are brought to; default: as the first"},
    {"--color", NULL, "rgb|grey", "import images: three channels or one; default: rgb"},
    {"--tokens", NULL, "char|byte", "import text: what a token is; default: char"},
    {"--test-fraction", NULL, "F", "import, split: share that becomes the test split (text: the tail); default: 0"},
    {"--valid-fraction", NULL, "F",
     "import csv and images, split: share that becomes the validation split; default: 0"},
    {"--seed", NULL, "S", "import, split: of the random split; default: 1"},
    {"--target", NULL, "COLUMN", "import csv: the target's name or number (-1: the last); several between commas"},
    {"--task", NULL, "T", "import csv: classification, binary, multilabel or regression"},
    {"--split-file", NULL, "FILE", "import csv: numbers of the test rows, or train, valid or test for each row"},
    {"--missing", NULL, "error|mean|zero|drop", "import csv: what becomes of missing values; default: error"},
    {"--header", NULL, "auto|yes|no", "import csv: whether the first record names the columns"},
    {"--delimiter", NULL, "C", "import csv: what cuts fields; found by itself"},
    {"--decimal", NULL, "point|comma", "import csv: what stands before decimals; default: point"},
    {"--ignore", NULL, "COLUMNS", "import csv: columns that are left out"},
    {"--categorical", NULL, "COLUMNS", "import csv: columns of numbers that are categories"},
    {"--categories", NULL, "onehot|integers", "import csv: what a column of categories becomes; default: onehot"},
    {"--type", NULL, "T", "import csv: of the features: float32, float64 or uint8; default: float32"},
    DL_STATS_ARGS,
};

static void on_end(int number) {
  dl_data_abandon_output();
  raise(number); /* which has its default action again */
}

void dl_data_leave_nothing(void) {
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    struct sigaction before, action = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    const bool ignored = !sigaction(ends[i], NULL, &before) && before.sa_handler == SIG_IGN; /* nohup */
    if (!ignored) sigaction(ends[i], &action, NULL);
  }
}

static dl_status unknown(const char *what, const char *word, const char *const *names, int n) {
  dl_fail(DL_ERR_USAGE, "dldist data: unknown %s '%.60s'", what, word);
  return dl_hint_nearest(word, names, n, "see dldist help data");
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
} actions[] = {{"import", dl_data_import, true},
               {"info", info, false},
               {"stats", dl_stats_command, true},
               {"verify", dl_data_verify_command, false},
               {"split", dl_data_split_command, false}};
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
        "import FORMAT INPUT... -o FILE.h5 [--force] [OPTION]... | info FILE | "
        "stats FILE [--split S] [--json] [--html OUT.html] | verify FILE [--json] | split FILE -o OUT.h5 "
        "[--test-fraction F] [--valid-fraction F] [--seed S]",
    .help = "brings data into HDF5, and tells what a file holds and what is wrong with it",
    .more =
        "A data set is an HDF5 file with samples first: /train/x and /train/y, likewise valid and test. An import "
        "writes "
        "chunks with Fletcher32 checksums, and the file is whole or not there. Formats and their options: dldist list "
        "formats.\n\n"
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

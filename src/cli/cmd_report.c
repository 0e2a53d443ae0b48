/* cmd_report.c - dldist report. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "report/run_page.h"

static dl_status run(const dl_command *command, const dl_args *args) {
  (void)command;
  DL_TRY(dl_report_write(args->positional, args->n_positional));
  for (int i = 0; i < args->n_positional; i++) {
    size_t length = strlen(args->positional[i]);
    bool slash = length > 0 && args->positional[i][length - 1] == '/';
    printf("%s%sreport.html\n", args->positional[i], slash ? "" : "/");
  }
  return DL_OK;
}

const dl_command dl_command_report = {
    .name = "report",
    .usage = "RUN...",
    .help = "writes RUN/report.html: a run's curves, scores, warnings and configuration; several runs are compared",
    .more =
        "The page is one file that needs nothing else. It is also written at the end of every training run. With "
        "several "
        "runs each page begins with a comparison of all: how they ended, in which keys of the configuration they "
        "differ, their curves over each other. A run that is still going on, or was cut short, is shown as far as it "
        "went.",
    .min_positional = 1,
    .max_positional = DL_REPORT_RUNS,
    .whole_line_only = true,
    .run = run,
};

/* cmd_stats.c - dldist data stats. */
#include "cli/cmd_stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/launch.h"
#include "core/file.h"
#include "core/log.h"
#include "core/options.h"
#include "data/stats.h"
#include "report/stats_page.h"

typedef struct job {
  dl_stats_options stats;
  bool json;
  const char *html;
} job;

static dl_status write_page(const char *path, const dl_json *stats) {
  char *text = NULL;
  size_t bytes = 0;
  DL_TRY(dl_stats_page(stats, &text, &bytes));
  dl_status status = dl_file_write_atomic(path, text, bytes);
  free(text);
  return status;
}

/* Before hours of reading rather than after them. */
static dl_status check_page(const char *path) {
  char *folder = path ? dl_path_dirname(path) : NULL;
  if (!folder) return path ? DL_ERR_NOMEM : DL_OK;
  dl_status status = DL_OK;
  if (dl_path_is_dir(path))
    status = dl_fail_at(DL_ERR_USAGE, path, 0, 0, "is a directory; name a file");
  else if (access(folder, W_OK) != 0)
    status = dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be written: %s", strerror(errno));
  free(folder);
  return status;
}

static dl_status show(const job *j, const dl_json *stats) {
  char *text = NULL;
  if (j->html) DL_TRY(write_page(j->html, stats));
  DL_TRY(j->json ? dl_json_text(stats, true, &text) : dl_stats_table(stats, &text));
  printf(j->json ? "%s\n" : "%s", text);
  free(text);
  return DL_OK;
}

static dl_status stats_member(dl_team *team, void *context) {
  const job *j = context;
  dl_json *stats = NULL;
  DL_TRY(dl_team_agree(team, team->rank == 0 ? check_page(j->html) : DL_OK));
  if (team->rank == 0) dl_log_set_sink(dl_print_warning, NULL);
  dl_status status = dl_stats(team, &j->stats, &stats);
  if (status == DL_OK && team->rank == 0) status = show(j, stats);
  if (stats) dl_json_destroy(&stats);
  dl_log_set_sink(NULL, NULL);
  return dl_team_agree(team, status);
}

static dl_status read_memory(const char *text, int64_t *bytes) {
  char *end;
  if (!text) return DL_OK;
  long long mib = strtoll(text, &end, 10);
  if (end == text || *end || mib < 1 || mib > 1 << 24)
    return dl_fail(DL_ERR_USAGE, "dldist data stats: --memory takes a number of MiB from 1 to 16777216, not '%s'",
                   text);
  *bytes = (int64_t)mib << 20;
  return DL_OK;
}

dl_status dl_stats_command(const dl_command *command, const dl_args *args) {
  job j = {.json = dl_option_of(command, args, "--json") != NULL, .html = dl_option_of(command, args, "--html")};
  const char *layout = dl_option_of(command, args, "--layout");
  int threads = 0;
  if (args->n_positional != 2) return dl_fail(DL_ERR_USAGE, "dldist data stats needs one FILE");
  j.stats.file = args->positional[1];
  j.stats.split = dl_option_of(command, args, "--split");
  j.stats.x = dl_option_of(command, args, "--x");
  j.stats.y = dl_option_of(command, args, "--y");
  if (j.stats.split && dl_choice_index("train|valid|test", j.stats.split) < 0)
    return dl_fail(DL_ERR_USAGE, "dldist data stats: --split is one of train|valid|test, not '%s'", j.stats.split);
  if (layout && dl_choice_index("nchw|nhwc", layout) < 0)
    return dl_fail(DL_ERR_USAGE, "dldist data stats: --layout is one of nchw|nhwc, not '%s'", layout);
  j.stats.nhwc = layout && !strcmp(layout, "nhwc");
  DL_TRY(read_memory(dl_option_of(command, args, "--memory"), &j.stats.memory_bytes));
  DL_TRY(dl_threads_option(command, args, &threads));
  return dl_launch(threads, stats_member, &j);
}

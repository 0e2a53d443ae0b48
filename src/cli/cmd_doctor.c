/* cmd_doctor.c - dldist doctor: what this build and this machine are like, and what stands in the way of speed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cli/command.h"
#include "comm/launch.h"
#include "core/config.h"
#include "core/isa.h"
#include "core/log.h"
#include "core/mem.h"
#include "nn/gemm.h"

static void count_warning(void *context, const char *code, const char *message) {
  int *count = context;
  (void)code;
  printf("  warning: %s\n", message);
  ++*count;
}

static void print_backends(void) {
  for (int backend = 1; backend < 3; backend++) {
    char name[32], text[160];
    const dl_gemm_backend *gemm = dl_gemm_choose(backend);
    dl_choice_name(DL_BACKEND_NAMES, backend, name, sizeof name);
    if (gemm) gemm->describe(text, sizeof text);
    printf("  %-20s %s\n", name, gemm ? text : "not built in");
  }
}

static dl_status member(dl_team *team, void *context) {
  int *count = context;
  char(*hosts)[64] = dl_calloc((size_t)team->size, sizeof *hosts);
  dl_status status = dl_team_agree(team, hosts ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = dl_team_allgather(team, team->host, sizeof team->host, hosts);
  dl_shared probe = {0};
  dl_status shared = status == DL_OK ? team->ops->shared_new(team, 1 << 20, "a test", &probe) : status;
  if (status == DL_OK && team->rank == 0) {
    printf("team\n  %-20s %s, %d members on %d node%s (", "", team->ops->name, team->size, team->nodes,
           team->nodes == 1 ? "" : "s");
    for (int r = 0; r < team->size; r++)
      if (!r || strcmp(hosts[r], hosts[r - 1])) printf("%s%s", r ? ", " : "", hosts[r]);
    printf(")\n");
    if (shared != DL_OK) {
      printf("  warning: no memory can be shared: %s\n", dl_error_last()->message);
      ++*count;
    }
  }
  if (shared == DL_OK) team->ops->shared_destroy(team, &probe);
  free(hosts);
  return dl_team_agree(team, status);
}

static dl_status run(const dl_command *command, const dl_args *args) {
  (void)command, (void)args;
  int warnings = 0;
  bool first = dl_launch_is_first();
  if (first) {
    printf("dldist %s\n  %-20s %s\n  %-20s %d\n", DLDIST_VERSION, "kernels", dl_isa_text(), "cores", dl_launch_cores());
    print_backends();
    dl_log_set_sink(count_warning, &warnings);
    dl_gemm_check_environment(DL_BACKEND_AUTO);
    dl_log_set_sink(NULL, NULL);
    struct statvfs shm;
    if (!statvfs("/dev/shm", &shm))
      printf("  %-20s %.0f MB free\n", "/dev/shm", (double)shm.f_bavail * (double)shm.f_frsize / 1e6);
    char *digits = dl_find_shared_file("digits.h5");
    printf("  %-20s %s\n", "demo data", digits ? digits : "not found (set DLDIST_SHARE)");
    free(digits);
  }
  DL_TRY(dl_launch(0, member, &warnings));
  if (first) printf("%s\n", warnings ? "see the warnings above" : "nothing to complain about");
  return DL_OK;
}

const dl_command dl_command_doctor = {
    .name = "doctor",
    .usage = "",
    .help = "tells what this build and this machine are like, and what is in the way",
    .more = "",
    .run = run,
};

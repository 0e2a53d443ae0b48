/* cgroup.c - the smallest limit of a group and its parents. /proc/self/cgroup has a line a hierarchy,
 * `ID:CONTROLLERS:GROUP`; version 2 has one without controllers. Inside a container the group may lie outside of what
 * is mounted: the mount's own top is looked at in any case. */
#include "core/cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

/* A limit of one folder; 0: none. */
typedef double (*limit_fn)(const char *folder);

enum { LINE = 128 };

static bool read_line(const char *folder, const char *name, char line[LINE]) {
  char path[4200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "re");
  bool got = file && fgets(line, LINE, file);
  if (file) fclose(file);
  return got;
}

/* Below 0: no limit. */
static double number_in(const char *folder, const char *name) {
  char line[LINE], *end;
  if (!read_line(folder, name, line)) return -1;
  double value = strtod(line, &end);
  return end > line && value >= 0 ? value : -1; /* "max" is no number */
}

static double cores_v2(const char *folder) {
  char line[LINE];
  double quota, period;
  if (!read_line(folder, "cpu.max", line)) return 0;
  return sscanf(line, "%lf %lf", &quota, &period) == 2 && period > 0 ? quota / period : 0;
}

static double cores_v1(const char *folder) {
  double quota = number_in(folder, "cpu.cfs_quota_us"), period = number_in(folder, "cpu.cfs_period_us");
  return quota > 0 && period > 0 ? quota / period : 0;
}

static double machine_swap(void) {
  struct sysinfo info;
  return sysinfo(&info) ? 0 : (double)info.totalswap * info.mem_unit;
}

/* Limits of memory, of swap and of both together (below 0: none), as one of both. No swap at all is a limit. */
static double memory_of(double memory, double swap, double both) {
  if (memory < 0) return both;
  const double sum = memory + (swap >= 0 ? swap : machine_swap());
  return both > 0 && both < sum ? both : sum;
}

static double memory_v2(const char *folder) {
  return memory_of(number_in(folder, "memory.max"), number_in(folder, "memory.swap.max"), -1);
}

static double memory_v1(const char *folder) { /* where there is no limit: about 2^63 */
  return memory_of(number_in(folder, "memory.limit_in_bytes"), -1, number_in(folder, "memory.memsw.limit_in_bytes"));
}

typedef struct limit {
  const char *controller; /* of version 1: its name and its folder's */
  limit_fn v1, v2;
} limit;

static double smallest_under(const char *root, const char *mount, const char *group, limit_fn of) {
  char folder[4096];
  double least = 0;
  const size_t top = (size_t)snprintf(folder, sizeof folder, "%s/sys/fs/cgroup%s%s", root, *mount ? "/" : "", mount);
  if (top >= sizeof folder) return 0;
  snprintf(folder + top, sizeof folder - top, "%s", group);
  for (;;) {
    double value = of(folder);
    if (value > 0 && (least == 0 || value < least)) least = value;
    char *slash = strrchr(folder, '/');
    if (!slash || strlen(folder) <= top) return least;
    *slash = 0;
  }
}

static bool names(char *controllers, const char *wanted) {
  for (char *rest, *word = strtok_r(controllers, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
    if (!strcmp(word, wanted)) return true;
  return false;
}

static double smallest(const char *root, const limit *what) {
  char line[4096];
  snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
  FILE *file = fopen(line, "re");
  double least = 0;
  while (file && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) continue;
    *group++ = 0;
    double value = 0;
    if (controllers[1] == 0)
      value = smallest_under(root, "", group, what->v2);
    else if (names(controllers + 1, what->controller))
      value = smallest_under(root, what->controller, group, what->v1);
    if (value > 0 && (least == 0 || value < least)) least = value;
  }
  if (file) fclose(file);
  return least;
}

dl_cgroup dl_cgroup_read(const char *root) {
  const double cores = smallest(root, &(limit){.controller = "cpu", .v1 = cores_v1, .v2 = cores_v2});
  const double bytes = smallest(root, &(limit){.controller = "memory", .v1 = memory_v1, .v2 = memory_v2});
  return (dl_cgroup){.cores = cores, .memory_bytes = bytes > 0 && bytes < 0x1p62 ? (size_t)bytes : SIZE_MAX};
}

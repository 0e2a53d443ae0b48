/* cgroup.h - what the control groups of this process allow (Linux, versions 1 and 2): containers and batch systems give
 * a job less than the machine has. Floor: core. */
#ifndef DL_CORE_CGROUP_H
#define DL_CORE_CGROUP_H

#include <stddef.h>

typedef struct dl_cgroup {
  double cores;        /* by quota; 0: no limit */
  size_t memory_bytes; /* memory and swap; SIZE_MAX: no limit */
} dl_cgroup;

/* The smallest limits of this process's group and its parents. `root` stands before /proc and /sys: "" but in tests.
 * Not collective; reads a few files. */
dl_cgroup dl_cgroup_read(const char *root);

#endif

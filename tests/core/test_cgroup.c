/* test_cgroup.c - limits of control groups, read from a tree of files as Linux shows them. */
#include "core/cgroup.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "dltest.h"

#define GB ((size_t)1000000000)

typedef struct text_file {
  const char *path, *text;
} text_file;

static size_t swap_bytes(void) {
  struct sysinfo info;
  return sysinfo(&info) ? 0 : (size_t)info.totalswap * info.mem_unit;
}

static void make_folders(char *path, const char *from) {
  for (char *slash = strchr(path + strlen(from) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(path, 0755);
    *slash = '/';
  }
}

static dl_cgroup read_tree(const text_file *files, int n) {
  char root[] = "/tmp/dldist-cgroup-XXXXXX", path[512];
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
  for (int i = 0; i < n; i++) {
    snprintf(path, sizeof path, "%s%s", root, files[i].path);
    make_folders(path, root);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(files[i].text, file);
    fclose(file);
  }
  dl_cgroup limits = dl_cgroup_read(root);
  snprintf(path, sizeof path, "rm -r '%s'", root);
  CU_ASSERT_EQUAL(system(path), 0);
  return limits;
}
#define READ(...) \
  read_tree((const text_file[]){__VA_ARGS__}, (int)(sizeof((const text_file[]){__VA_ARGS__}) / sizeof(text_file)))

static void test_version_2_takes_the_smallest_of_a_group_and_its_parents(void) {
  dl_cgroup limits =
      READ({"/proc/self/cgroup", "0::/slurm/job_7/step_0\n"}, {"/sys/fs/cgroup/slurm/cpu.max", "max 100000\n"},
           {"/sys/fs/cgroup/slurm/job_7/cpu.max", "250000 100000\n"},
           {"/sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "800000 100000\n"},
           {"/sys/fs/cgroup/slurm/job_7/memory.max", "3000000000\n"},
           {"/sys/fs/cgroup/slurm/job_7/memory.swap.max", "1000000000\n"},
           {"/sys/fs/cgroup/slurm/job_7/step_0/memory.max", "max\n"});
  CU_ASSERT_EQUAL(limits.cores, 2.5);
  CU_ASSERT_EQUAL(limits.memory_bytes, 4 * GB);
}

static void test_version_1_has_a_folder_for_each_controller(void) {
  dl_cgroup limits =
      READ({"/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/b\n3:cpuset:/c\n0::/\n"},
           {"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "50000\n"}, {"/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"},
           {"/sys/fs/cgroup/memory/b/memory.limit_in_bytes", "2000000000\n"},
           {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
           {"/sys/fs/cgroup/cpuset/c/cpu.cfs_quota_us", "1\n"});
  CU_ASSERT_EQUAL(limits.cores, 0.5);
  CU_ASSERT_EQUAL(limits.memory_bytes, 2 * GB + swap_bytes());
}

static void test_a_limit_of_memory_and_swap_together_bounds_both(void) {
  dl_cgroup limits =
      READ({"/proc/self/cgroup", "4:memory:/b\n"}, {"/sys/fs/cgroup/memory/b/memory.limit_in_bytes", "2000000000\n"},
           {"/sys/fs/cgroup/memory/b/memory.memsw.limit_in_bytes", "2000000000\n"});
  CU_ASSERT_EQUAL(limits.memory_bytes, 2 * GB);
}

static void test_swap_that_is_not_allowed_is_not_counted(void) {
  dl_cgroup limits = READ({"/proc/self/cgroup", "0::/pod\n"}, {"/sys/fs/cgroup/pod/memory.max", "1000000000\n"},
                          {"/sys/fs/cgroup/pod/memory.swap.max", "0\n"});
  CU_ASSERT_EQUAL(limits.memory_bytes, GB);
}

/* A container sees a path of the host that is not mounted inside, and its own limits at the top of the mount. */
static void test_a_group_outside_of_the_mount_has_the_limits_of_its_top(void) {
  dl_cgroup limits =
      READ({"/proc/self/cgroup", "0::/../../docker/abc\n"}, {"/sys/fs/cgroup/cpu.max", "150000 100000\n"},
           {"/sys/fs/cgroup/memory.max", "1000000000\n"}, {"/sys/fs/cgroup/memory.swap.max", "max\n"});
  CU_ASSERT_EQUAL(limits.cores, 1.5);
  CU_ASSERT_EQUAL(limits.memory_bytes, GB + swap_bytes());
}

static void test_without_limits_there_are_none(void) {
  dl_cgroup limits = READ({"/proc/self/cgroup", "4:memory:/\n3:name=systemd:/\n0::/\nnonsense\n"},
                          {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
                          {"/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "9223372036854771712\n"});
  CU_ASSERT_EQUAL(limits.cores, 0);
  CU_ASSERT_EQUAL(limits.memory_bytes, SIZE_MAX);
  limits = READ({"/nothing", ""});
  CU_ASSERT_EQUAL(limits.cores, 0);
  CU_ASSERT_EQUAL(limits.memory_bytes, SIZE_MAX);
}

static const dl_test tests[] = {
    DL_TEST(test_version_2_takes_the_smallest_of_a_group_and_its_parents),
    DL_TEST(test_version_1_has_a_folder_for_each_controller),
    DL_TEST(test_a_limit_of_memory_and_swap_together_bounds_both),
    DL_TEST(test_swap_that_is_not_allowed_is_not_counted),
    DL_TEST(test_a_group_outside_of_the_mount_has_the_limits_of_its_top),
    DL_TEST(test_without_limits_there_are_none),
};
DL_TEST_MAIN("cgroup", tests)

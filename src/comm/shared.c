/* Memory that a node shares. Threads of one process share an allocation. Processes of one node share a POSIX object:
 * made by the node's first member, opened by the others, and its name removed as soon as all have it, while it is
 * empty, so that nothing is left behind however the job ends. Its pages are reserved before it is mapped: a file system
 * that is full must be an error here, not a SIGBUS later. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "comm/crew.h"

typedef struct dl_mapping {
  void *base;
  size_t bytes;
  bool mapped;       /* a mapping of an object, not an allocation */
  int fd;            /* the object until it is mapped, else -1 */
  _Atomic int users; /* members of this process that still hold it */
} dl_mapping;

typedef struct object_name {
  char text[64];
} object_name;

static dl_status fail_space(const char *what, size_t bytes, int error) {
  struct statvfs fs;
  double mib = 1024.0 * 1024.0, free_mib = -1;
  if (statvfs("/dev/shm", &fs) == 0) free_mib = (double)fs.f_bavail * (double)fs.f_frsize / mib;
  if (error == ENOSPC)
    dl_fail(DL_ERR_SYSTEM, "shared memory for %s needs %.1f MiB, but /dev/shm has %.1f MiB free", what,
            (double)bytes / mib, free_mib);
  else
    dl_fail(DL_ERR_SYSTEM, "shared memory for %s (%.1f MiB in /dev/shm) cannot be had: %s", what, (double)bytes / mib,
            strerror(error));
  return dl_hint("enlarge it (mount -o remount,size=... /dev/shm; docker run --shm-size), or set sync.transport: mpi");
}

static dl_mapping *make_mapping(int users, size_t bytes) {
  dl_mapping *mapping = dl_calloc(1, sizeof *mapping);
  if (!mapping) return NULL;
  mapping->bytes = bytes;
  mapping->fd = -1;
  atomic_store(&mapping->users, users);
  return mapping;
}

static void drop_mapping(dl_mapping *mapping) {
  if (mapping->fd >= 0) close(mapping->fd);
  if (mapping->mapped)
    munmap(mapping->base, mapping->bytes);
  else
    free(mapping->base);
  free(mapping);
}

static dl_status map_object(dl_mapping *mapping, const char *what) {
  void *base = mmap(NULL, mapping->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, mapping->fd, 0);
  if (base == MAP_FAILED) return fail_space(what, mapping->bytes, errno);
  close(mapping->fd);
  mapping->fd = -1;
  mapping->base = base;
  mapping->mapped = true;
  return DL_OK;
}

static int create_object(object_name *name) {
  for (int attempt = 0; attempt < 16; attempt++) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) return -1;
    snprintf(name->text, sizeof name->text, "/dldist-%u-%d-%016llx", (unsigned)getuid(), (int)getpid(),
             (unsigned long long)random);
    int fd = shm_open(name->text, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

static dl_status reserve_object(int fd, size_t bytes, const char *what) {
  struct statvfs fs;
  if (fstatvfs(fd, &fs) == 0 && fs.f_blocks && (double)fs.f_bavail * (double)fs.f_frsize < (double)bytes)
    return fail_space(what, bytes, ENOSPC);
  int error;
  do error = posix_fallocate(fd, 0, (off_t)bytes);
  while (error == EINTR);
  return error ? fail_space(what, bytes, error) : DL_OK;
}

static dl_status create_named(dl_mapping *mapping, object_name *name, const char *what) {
  mapping->fd = create_object(name);
  if (mapping->fd >= 0) return DL_OK;
  int error = errno;
  name->text[0] = 0;
  return fail_space(what, mapping->bytes, error);
}

static dl_status open_named(dl_mapping *mapping, const object_name *name, const char *what) {
  mapping->fd = shm_open(name->text, O_RDWR | O_CLOEXEC, 0);
  return mapping->fd >= 0 ? DL_OK : fail_space(what, mapping->bytes, errno);
}

static dl_status new_in_process(dl_member *member, size_t bytes) {
  dl_mapping *mapping = make_mapping(member->team.threads, bytes);
  member->crew->mapping = mapping;
  if (!mapping) return DL_ERR_NOMEM;
  mapping->base = dl_calloc_aligned(bytes, 1);
  return mapping->base ? DL_OK : DL_ERR_NOMEM;
}

/* An empty object is made, opened by all and unnamed before it grows: whoever is killed while pages are reserved leaves
 * nothing. Each step ends in an agreement of the whole team, whatever the shape of its nodes. */
static dl_status new_on_nodes(dl_member *member, size_t bytes, const char *what, object_name *names) {
  dl_team *team = &member->team;
  dl_crew *crew = member->crew;
  bool alone = team->node_size == team->threads, leads = member->thread == 0, maps = leads && !alone;
  bool creates = maps && team->node_rank == 0;
  object_name mine = {""};
  dl_status status = DL_OK;
  if (leads && alone) {
    status = new_in_process(member, bytes);
  } else if (leads) {
    crew->mapping = make_mapping(team->threads, bytes);
    if (!crew->mapping) status = DL_ERR_NOMEM;
    if (crew->mapping && creates) status = create_named(crew->mapping, &mine, what);
  }
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_team_allgather(team, &mine, sizeof mine, names);
  if (status == DL_OK)
    status = dl_team_agree(team, maps && !creates ? open_named(crew->mapping, &names[team->node_first], what) : DL_OK);
  if (mine.text[0]) shm_unlink(mine.text);
  if (status == DL_OK) status = dl_team_agree(team, creates ? reserve_object(crew->mapping->fd, bytes, what) : DL_OK);
  if (status == DL_OK) status = dl_team_agree(team, maps ? map_object(crew->mapping, what) : DL_OK);
  return status;
}

dl_status dl_member_shared_new(dl_team *team, size_t bytes, const char *what, dl_shared *out) {
  dl_member *member = dl_member_of(team);
  dl_crew *crew = member->crew;
  dl_status status;
  *out = (dl_shared){0};
  bytes = (bytes + DL_CACHE_LINE - 1) / DL_CACHE_LINE * DL_CACHE_LINE;
  if (!bytes) bytes = DL_CACHE_LINE;
  if (!crew->wire) {
    status = dl_team_agree(team, member->thread == 0 ? new_in_process(member, bytes) : DL_OK);
  } else {
    object_name *names = dl_calloc((size_t)team->size, sizeof *names);
    DL_TRY(dl_team_agree(team, names ? DL_OK : DL_ERR_NOMEM));
    status = new_on_nodes(member, bytes, what, names);
    free(names);
  }
  if (status == DL_OK) *out = (dl_shared){crew->mapping->base, bytes, crew->mapping};
  dl_status passed = dl_crew_gate(member, "shared memory"); /* all have taken the address, or none */
  if (status == DL_OK) status = passed;
  if (status != DL_OK) *out = (dl_shared){0};
  if (member->thread != 0) return status;
  if (status != DL_OK && crew->mapping) drop_mapping(crew->mapping);
  crew->mapping = NULL;
  return status;
}

void dl_member_shared_destroy(dl_team *team, dl_shared *shared) {
  (void)team;
  dl_mapping *mapping = shared->handle;
  *shared = (dl_shared){0};
  if (mapping && atomic_fetch_sub(&mapping->users, 1) == 1) drop_mapping(mapping);
}

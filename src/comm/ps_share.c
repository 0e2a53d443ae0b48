/* A page of head, then the data. A ticket's descriptor is opened as a bare path first: what it is can then be looked at
 * before it is opened for good, and cannot change in between. Opening something else (a pipe, a device) would wait or
 * have effects.
 */
#include "comm/ps_share.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/mem.h"

#define HEAD_BYTES 4096
#define SECRET_BYTES 32
#define MAGIC 0x31765348534c5044u
#define TMPFS 0x01021994

#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic ignored "-Wtsan" /* it does not see fences, and need not: versions are read again */
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

typedef struct head {
  uint64_t magic;
  unsigned char secret[SECRET_BYTES];
  struct {
    _Alignas(DL_CACHE_LINE) _Atomic int64_t version; /* that is there, + 1; 0: none, or it is being written */
  } view[DL_PS_VIEWS];
} head;

struct dl_ps_share {
  head *at;
  size_t bytes; /* of the data */
  int fd;       /* -1: somebody else's */
};

/* ---- life ---- */

static bool reserve(dl_ps_share *s) {
  const size_t all = HEAD_BYTES + s->bytes;
  s->fd = memfd_create("dldist-ps", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (s->fd < 0 || posix_fallocate(s->fd, 0, (off_t)all)) return false;
  void *base = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s->fd, 0);
  if (base == MAP_FAILED) return false;
  s->at = base;
  fcntl(s->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE); /* Linux 5.1; without it others could write if they wanted */
  return fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 &&
         getrandom(s->at->secret, SECRET_BYTES, 0) == SECRET_BYTES;
}

dl_ps_share *dl_ps_share_new(size_t bytes) {
  dl_ps_share *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->bytes = bytes;
  s->fd = -1;
  if (reserve(s)) {
    s->at->magic = MAGIC;
    return s;
  }
  const dl_ps_share *failed = s;
  dl_ps_share_close(&failed);
  return NULL;
}

void dl_ps_share_close(const dl_ps_share **share) {
  dl_ps_share *s = (dl_ps_share *)(uintptr_t)*share;
  if (!s) return;
  if (s->at) munmap(s->at, HEAD_BYTES + s->bytes);
  if (s->fd >= 0) close(s->fd);
  free(s);
  *share = NULL;
}

void *dl_ps_share_data(const dl_ps_share *share) { return (unsigned char *)share->at + HEAD_BYTES; }

/* ---- tickets ---- */

static uint64_t number_at(const unsigned char *p) {
  uint64_t value = 0;
  for (int b = 0; b < 8; b++) value |= (uint64_t)p[b] << 8 * b;
  return value;
}

void dl_ps_share_ticket(const dl_ps_share *share, unsigned char out[DL_PS_TICKET_BYTES]) {
  const uint64_t numbers[] = {MAGIC, (uint64_t)getpid(), (uint64_t)share->fd, (uint64_t)share->bytes};
  for (size_t i = 0; i < 32; i++) out[i] = (unsigned char)(numbers[i / 8] >> 8 * (i % 8));
  memcpy(out + 32, share->at->secret, SECRET_BYTES);
}

static bool can_be_read(int path, size_t bytes) {
  struct stat what;
  struct statfs where;
  if (fstat(path, &what) || !S_ISREG(what.st_mode) || what.st_uid != geteuid()) return false;
  if (fstatfs(path, &where) || where.f_type != TMPFS) return false;
  return what.st_size >= 0 && (uint64_t)what.st_size >= (uint64_t)HEAD_BYTES + bytes;
}

/* Opened for reading; -1: it is not such an object. */
static int open_object(uint64_t process, uint64_t descriptor, size_t bytes) {
  char name[80];
  if (process > INT32_MAX || descriptor > INT32_MAX) return -1;
  snprintf(name, sizeof name, "/proc/%u/fd/%u", (unsigned)process, (unsigned)descriptor);
  int path = open(name, O_PATH | O_CLOEXEC), fd = -1;
  if (path < 0) return -1;
  snprintf(name, sizeof name, "/proc/self/fd/%d", path);
  if (can_be_read(path, bytes)) fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  close(path);
  if (fd < 0) return -1;
  int seals = fcntl(fd, F_GET_SEALS);
  if (seals >= 0 && (seals & F_SEAL_SHRINK)) return fd;
  close(fd);
  return -1;
}

const dl_ps_share *dl_ps_share_open(const void *ticket, size_t ticket_bytes, size_t bytes) {
  const unsigned char *t = ticket;
  if (ticket_bytes != DL_PS_TICKET_BYTES || number_at(t) != MAGIC || number_at(t + 24) != bytes) return NULL;
  int fd = open_object(number_at(t + 8), number_at(t + 16), bytes);
  if (fd < 0) return NULL;
  void *base = mmap(NULL, HEAD_BYTES + bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  close(fd);
  if (base == MAP_FAILED) return NULL;
  const dl_ps_share *s = NULL;
  const head *at = base;
  if (at->magic == MAGIC && !memcmp(at->secret, t + 32, SECRET_BYTES)) {
    dl_ps_share *opened = calloc(1, sizeof *opened);
    if (opened) *opened = (dl_ps_share){base, bytes, -1};
    s = opened;
  }
  if (!s) munmap(base, HEAD_BYTES + bytes);
  return s;
}

/* ---- views ---- */

static size_t stride_of(const dl_ps_share *share) { return share->bytes / DL_PS_VIEWS; }

static _Atomic int64_t *stamp_of(const dl_ps_share *share, int64_t version) {
  return &share->at->view[version % DL_PS_VIEWS].version;
}

static unsigned char *place_of(const dl_ps_share *share, int64_t version) {
  return (unsigned char *)dl_ps_share_data(share) + (size_t)(version % DL_PS_VIEWS) * stride_of(share);
}

void *dl_ps_share_begin_view(dl_ps_share *share, int64_t version) {
  atomic_store_explicit(stamp_of(share, version), 0, memory_order_relaxed);
  atomic_thread_fence(memory_order_release); /* who sees a new value sees that the old version is gone */
  return place_of(share, version);
}

void dl_ps_share_end_view(dl_ps_share *share, int64_t version) {
  atomic_store_explicit(stamp_of(share, version), version + 1, memory_order_release);
}

void dl_ps_share_write_view(dl_ps_share *share, int64_t version, const void *values, size_t bytes) {
  if (atomic_load_explicit(stamp_of(share, version), memory_order_relaxed) == version + 1) return;
  memcpy(dl_ps_share_begin_view(share, version), values, bytes);
  dl_ps_share_end_view(share, version);
}

bool dl_ps_share_read_view(const dl_ps_share *share, int64_t version, void *out, size_t bytes) {
  if (version < 0 || bytes > stride_of(share)) return false;
  if (atomic_load_explicit(stamp_of(share, version), memory_order_acquire) != version + 1) return false;
  memcpy(out, place_of(share, version), bytes);
  atomic_thread_fence(memory_order_acquire);
  return atomic_load_explicit(stamp_of(share, version), memory_order_relaxed) == version + 1;
}

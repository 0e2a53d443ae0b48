/* Fields are written and read one by one, as in frames (ps_frame.c). An entry is handed to the system by one writev,
 * header and floats together, by a thread of its own while the optimizer runs: in asp and ssp the core of the worker
 * who waits for this push is free. Where entries are kept beyond a new beginning (a server that has applied a part of
 * its log again and then made a checkpoint) the file cannot be written over: they are copied to a new one, which takes
 * its place by its name, and go on to name what they were put behind. */
#include "comm/ps_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include "comm/ps_crc.h"
#include "core/file.h"
#include "core/mem.h"

#define FILE_MAGIC 0x32474f4c53504c44u /* "DLPSLOG2" */
#define OLD_MAGIC 0x31474f4c53504c44u  /* one base, and entries without names */
#define OLD_BASE_BYTES 48
#define ENTRY_MAGIC 0x48535550u /* "PUSH" */
#define BASE_BYTES 80
#define BASE_PLACE 4096 /* of the second one: no write to one touches a page or sector of the other */
#define FIRST_ENTRY ((int64_t)2 * BASE_PLACE)
#define ENTRY_BYTES 256
#define APART_BYTES (1 << 18) /* of values, from which a thread is worth its beginning (some 30 us) */
#define MOST_FLOATS ((size_t)1 << 40)

/* What makes entries follow upon a base, and upon one another. */
typedef struct log_names {
  uint64_t turn;       /* how often the log began anew; the base lies at turn mod 2 */
  uint64_t generation; /* of all entries since then */
  uint64_t last;       /* the name of the last entry; the base's stands for the one before the first */
} log_names;

struct dl_ps_log {
  char *path;
  int fd;
  bool synced, has_base, whole; /* it was opened to its end */
  dl_ps_log_base base;
  log_names names;
  uint64_t next_name;
  dl_ps_log_entry *entry;
  int64_t n, room;
  int64_t end, torn;
  /* what is being written */
  dl_ps_log_entry now;
  const void *now_values;
  bool apart; /* by `writer` */
  pthread_t writer;
  int error; /* how that went: errno */
};

/* ---- bytes ---- */

static void put(unsigned char **to, uint64_t value, int bytes) {
  for (int b = 0; b < bytes; b++) *(*to)++ = (unsigned char)(value >> 8 * b);
}
static uint64_t take(const unsigned char **from, int bytes) {
  uint64_t value = 0;
  for (int b = 0; b < bytes; b++) value |= (uint64_t) * (*from)++ << 8 * b;
  return value;
}

static void write_base(const dl_ps_log_base *base, const log_names *names, unsigned char out[BASE_BYTES]) {
  unsigned char *p = out;
  memset(out, 0, BASE_BYTES);
  put(&p, FILE_MAGIC, 8);
  put(&p, base->job, 8);
  put(&p, (uint64_t)base->step, 8);
  put(&p, base->begin, 8);
  put(&p, base->end, 8);
  put(&p, names->turn, 8);
  put(&p, names->generation, 8);
  put(&p, names->last, 8);
  p = out + BASE_BYTES - 8;
  put(&p, base->weights_crc, 4);
  put(&p, dl_ps_crc(out, BASE_BYTES - 4), 4);
}

static bool read_base(const unsigned char bytes[BASE_BYTES], dl_ps_log_base *out, log_names *names) {
  const unsigned char *p = bytes, *crc = bytes + BASE_BYTES - 4, *weights = bytes + BASE_BYTES - 8;
  if (take(&p, 8) != FILE_MAGIC || take(&crc, 4) != dl_ps_crc(bytes, BASE_BYTES - 4)) return false;
  out->job = take(&p, 8);
  out->step = (int64_t)take(&p, 8);
  out->begin = take(&p, 8);
  out->end = take(&p, 8);
  names->turn = take(&p, 8);
  names->generation = take(&p, 8);
  names->last = take(&p, 8);
  out->weights_crc = (uint32_t)take(&weights, 4);
  return out->step >= 0 && out->begin <= out->end && out->end < MOST_FLOATS;
}

static void write_entry(const dl_ps_log_entry *e, uint64_t generation, uint32_t values_crc,
                        unsigned char out[ENTRY_BYTES]) {
  unsigned char *p = out;
  put(&p, ENTRY_MAGIC, 4);
  put(&p, (uint64_t)e->node.level, 4);
  put(&p, (uint64_t)e->node.index, 8);
  put(&p, (uint64_t)e->at, 8);
  put(&p, (uint64_t)e->step, 8);
  put(&p, (uint64_t)e->samples, 8);
  put(&p, e->incarnation, 8);
  put(&p, e->sequence, 8);
  put(&p, (uint64_t)e->updates, 8);
  put(&p, (uint64_t)e->ahead, 8);
  put(&p, generation, 8);
  put(&p, e->behind, 8);
  put(&p, e->name, 8);
  put(&p, (uint64_t)e->bytes, 8);
  memcpy(p, e->sums, sizeof e->sums);
  p += sizeof e->sums;
  memset(p, 0, ENTRY_BYTES - 8 - (size_t)(p - out));
  memcpy(p, e->worker, sizeof e->worker);
  p = out + ENTRY_BYTES - 8;
  put(&p, values_crc, 4);
  put(&p, dl_ps_crc(out, ENTRY_BYTES - 4), 4);
}
_Static_assert(4 + 4 + 8 * 12 + DL_LEAF_SUMS * 8 + DL_PS_NAME_BYTES + 8 <= ENTRY_BYTES,
               "an entry's header is too short");

static bool read_entry(const unsigned char bytes[ENTRY_BYTES], dl_ps_log_entry *out, uint64_t *generation,
                       uint32_t *values_crc) {
  const unsigned char *p = bytes, *tail = bytes + ENTRY_BYTES - 8;
  *out = (dl_ps_log_entry){0};
  *values_crc = (uint32_t)take(&tail, 4);
  if (take(&tail, 4) != dl_ps_crc(bytes, ENTRY_BYTES - 4) || take(&p, 4) != ENTRY_MAGIC) return false;
  out->node.level = (int32_t)take(&p, 4);
  out->node.index = (int64_t)take(&p, 8);
  out->at = (int64_t)take(&p, 8);
  out->step = (int64_t)take(&p, 8);
  out->samples = (int64_t)take(&p, 8);
  out->incarnation = take(&p, 8);
  out->sequence = take(&p, 8);
  out->updates = (int64_t)take(&p, 8);
  out->ahead = (int64_t)take(&p, 8);
  *generation = take(&p, 8);
  out->behind = take(&p, 8);
  out->name = take(&p, 8);
  out->bytes = (int64_t)take(&p, 8);
  memcpy(out->sums, p, sizeof out->sums);
  memcpy(out->worker, p + sizeof out->sums, sizeof out->worker);
  return !out->worker[sizeof out->worker - 1] && out->at >= 0 && out->step >= out->at && out->samples > 0 &&
         out->node.level >= 0 && out->node.level < 62 && out->node.index >= 0 && out->node.index < (int64_t)1 << 40;
}

/* ---- the file ---- */

static dl_status fail_log(const dl_ps_log *log, const char *what) {
  const bool full = errno == ENOSPC || errno == EDQUOT;
  dl_fail_at(DL_ERR_SYSTEM, log->path, 0, 0, "the log of pushes cannot be %s: %s", what, strerror(errno));
  return full ? dl_hint("free some space and give the command again, or set sync.log: none") : DL_ERR_SYSTEM;
}

static size_t values_bytes(const dl_ps_log *log) { return (log->base.end - log->base.begin) * sizeof(float); }

/* Few elements take no more than this (core/sparse.h): a word for each block, which has 16 floats at least. */
static int64_t most_bytes(const dl_ps_log *log) { return (int64_t)(values_bytes(log) + values_bytes(log) / 16 + 4); }

/* All of them, or false: the file ends before (or cannot be read, which is the same for who asks). */
static bool read_at(int fd, void *data, size_t bytes, int64_t place) {
  char *p = data;
  while (bytes) {
    ssize_t n = pread(fd, p, bytes < (1u << 30) ? bytes : (1u << 30), place);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    place += n;
    bytes -= (size_t)n;
  }
  return true;
}

static dl_status keep(dl_ps_log *log, const dl_ps_log_entry *entry) {
  dl_ps_log_entry *all = dl_make_room(log->entry, log->n, &log->room, sizeof *all);
  if (!all) return DL_ERR_NOMEM;
  log->entry = all;
  log->entry[log->n] = *entry;
  log->entry[log->n++].place = log->end + ENTRY_BYTES;
  log->names.last = entry->name;
  log->end += ENTRY_BYTES + entry->bytes;
  return DL_OK;
}

/* The base that counts. */
static void find_base(dl_ps_log *log) {
  unsigned char bytes[BASE_BYTES];
  dl_ps_log_base base;
  log_names names;
  for (int64_t i = 0; i < 2; i++) {
    if (!read_at(log->fd, bytes, BASE_BYTES, i * BASE_PLACE) || !read_base(bytes, &base, &names)) continue;
    if (names.turn % 2 != (uint64_t)i || (log->has_base && names.turn < log->names.turn)) continue;
    log->base = base;
    log->names = names;
    log->has_base = true;
  }
}

/* An entry of this generation that begins at `place`, whatever it was put behind. */
static bool entry_at(const dl_ps_log *log, int64_t place, dl_ps_log_entry *entry, uint32_t *crc) {
  unsigned char bytes[ENTRY_BYTES];
  uint64_t generation;
  return read_at(log->fd, bytes, ENTRY_BYTES, place) && read_entry(bytes, entry, &generation, crc) &&
         generation == log->names.generation && entry->at >= log->base.step && entry->bytes >= 0 &&
         entry->bytes <= most_bytes(log);
}

/* Entries in the order in which they were applied, up to the first that is not whole or does not follow. */
static dl_status find_entries(dl_ps_log *log, int64_t size) {
  dl_ps_log_entry entry;
  uint32_t crc;
  const int64_t most = most_bytes(log) < size ? most_bytes(log) : size; /* a base may speak of any slice */
  char *values = dl_calloc((size_t)most + 1, 1);
  dl_status status = values ? DL_OK : DL_ERR_NOMEM;
  while (status == DL_OK && entry_at(log, log->end, &entry, &crc) && entry.behind == log->names.last &&
         entry.bytes <= most && read_at(log->fd, values, (size_t)entry.bytes, log->end + ENTRY_BYTES) &&
         dl_ps_crc(values, (size_t)entry.bytes) == crc)
    status = keep(log, &entry);
  free(values);
  return status;
}

static void find_torn(dl_ps_log *log, int64_t size) {
  const int64_t whole = dl_ps_log_entry_bytes(log);
  dl_ps_log_entry entry;
  uint32_t crc;
  for (int64_t place = log->end, step; place + ENTRY_BYTES <= size; place += step) {
    const bool found = entry_at(log, place, &entry, &crc);
    step = found ? ENTRY_BYTES + entry.bytes : whole;
    if (found) log->torn = place + step - log->end;
  }
}

/* Nothing is lost of a log that has no entries. */
static dl_status check_form(const dl_ps_log *log) {
  unsigned char bytes[8];
  const unsigned char *p = bytes;
  if (!read_at(log->fd, bytes, sizeof bytes, 0) || take(&p, 8) != OLD_MAGIC) return DL_OK;
  if (lseek(log->fd, 0, SEEK_END) <= OLD_BASE_BYTES) return DL_OK;
  dl_fail_at(DL_ERR_DATA, log->path, 0, 0, "the log of pushes was written by an older version of dldist");
  return dl_hint(
      "let that version go on and stop it with SIGTERM, or remove the file: what was pushed since the newest "
      "checkpoint is then computed again");
}

dl_status dl_ps_log_open(const char *path, bool synced, dl_ps_log **out) {
  dl_ps_log *log = *out = dl_calloc(1, sizeof *log);
  if (!log) return DL_ERR_NOMEM;
  log->synced = synced;
  log->fd = -1;
  log->end = FIRST_ENTRY;
  log->path = dl_strdup(path);
  dl_status status = log->path ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && getrandom(&log->next_name, sizeof log->next_name, 0) != sizeof log->next_name)
    status = dl_fail(DL_ERR_SYSTEM, "the system gives no random numbers");
  if (status == DL_OK) log->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
  if (status == DL_OK && log->fd < 0) status = fail_log(log, "opened");
  if (status == DL_OK) status = check_form(log);
  if (status == DL_OK) find_base(log);
  const int64_t all = status == DL_OK ? lseek(log->fd, 0, SEEK_END) : 0, size = log->has_base ? all : 0;
  if (!log->has_base && all > OLD_BASE_BYTES) log->torn = all;
  if (size - log->end >= ENTRY_BYTES) status = find_entries(log, size);
  if (status == DL_OK && log->has_base) find_torn(log, size);
  log->whole = status == DL_OK;
  if (status != DL_OK) dl_ps_log_close(out);
  return status;
}

void dl_ps_log_close(dl_ps_log **log) {
  dl_ps_log *l = *log;
  if (!l) return;
  if (l->whole && l->has_base && ftruncate(l->fd, l->end)) l->end = 0; /* then it takes more room */
  if (l->fd >= 0) close(l->fd);
  free(l->entry);
  free(l->path);
  free(l);
  *log = NULL;
}

const dl_ps_log_base *dl_ps_log_base_of(const dl_ps_log *log) { return log->has_base ? &log->base : NULL; }
const dl_ps_log_entry *dl_ps_log_entries(const dl_ps_log *log, int64_t *n) { return *n = log->n, log->entry; }
int64_t dl_ps_log_bytes(const dl_ps_log *log) { return log->end; }
int64_t dl_ps_log_entry_bytes(const dl_ps_log *log) { return (int64_t)(ENTRY_BYTES + values_bytes(log)); }
int64_t dl_ps_log_torn(const dl_ps_log *log) { return log->torn; }

dl_status dl_ps_log_values(const dl_ps_log *log, const dl_ps_log_entry *entry, void *out) {
  if (read_at(log->fd, out, (size_t)entry->bytes, entry->place)) return DL_OK;
  return dl_fail_at(DL_ERR_SYSTEM, log->path, 0, 0, "the log of pushes can no longer be read");
}

/* ---- writing ---- */

static bool write_whole(int fd, struct iovec *part, int n, int64_t place) {
  while (n) {
    ssize_t wrote = pwritev(fd, part, n, place);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    place += wrote;
    while (n && (size_t)wrote >= part->iov_len) wrote -= (ssize_t)part++->iov_len, n--;
    if (n) part->iov_base = (char *)part->iov_base + wrote, part->iov_len -= (size_t)wrote;
  }
  return true;
}

static bool put_down(const dl_ps_log *log, struct iovec *part, int n, int64_t place) {
  return write_whole(log->fd, part, n, place) && !(log->synced && fdatasync(log->fd));
}

static void *write_down(void *context) {
  dl_ps_log *log = context;
  unsigned char header[ENTRY_BYTES];
  const size_t bytes = (size_t)log->now.bytes;
  write_entry(&log->now, log->names.generation, dl_ps_crc(log->now_values, bytes), header);
  struct iovec part[2] = {{header, sizeof header}, {(void *)(uintptr_t)log->now_values, bytes}};
  log->error = put_down(log, part, bytes ? 2 : 1, log->end) ? 0 : errno;
  return NULL;
}

void dl_ps_log_begin(dl_ps_log *log, const dl_ps_log_entry *entry, const void *values) {
  log->now = *entry;
  log->now.behind = log->names.last;
  log->now.name = log->next_name++;
  if (!log->now.bytes) log->now.bytes = (int64_t)values_bytes(log);
  log->now_values = values;
  log->apart = log->now.bytes >= APART_BYTES && pthread_create(&log->writer, NULL, write_down, log) == 0;
  if (!log->apart) write_down(log);
}

dl_status dl_ps_log_finish(dl_ps_log *log) {
  if (log->apart) pthread_join(log->writer, NULL);
  log->apart = false;
  if (!log->error) return keep(log, &log->now);
  errno = log->error;
  return fail_log(log, "written");
}

dl_status dl_ps_log_append(dl_ps_log *log, const dl_ps_log_entry *entry, const void *values) {
  dl_ps_log_begin(log, entry, values);
  return dl_ps_log_finish(log);
}

/* The entries from `from` on, byte for byte. */
static dl_status copy_tail(dl_ps_log *log, int64_t from, dl_writer *writer) {
  enum { PIECE = 1 << 20 };
  int64_t place = from < log->n ? log->entry[from].place - ENTRY_BYTES : log->end;
  char *piece = dl_calloc(PIECE, 1);
  dl_status status = piece ? DL_OK : DL_ERR_NOMEM;
  for (; status == DL_OK && place < log->end; place += PIECE) {
    size_t bytes = log->end - place < PIECE ? (size_t)(log->end - place) : PIECE;
    if (!read_at(log->fd, piece, bytes, place)) status = fail_log(log, "read");
    if (status == DL_OK) status = dl_writer_write(writer, piece, bytes);
  }
  free(piece);
  return status;
}

/* The file under `name` takes the log's place. */
static dl_status take_place(dl_ps_log *log, const char *name) {
  char *folder = dl_path_dirname(log->path);
  int fd = folder ? open(name, O_RDWR | O_CLOEXEC) : -1;
  dl_status status = folder ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && (fd < 0 || rename(name, log->path))) status = fail_log(log, "put in place");
  if (status == DL_OK) {
    if (log->fd >= 0) close(log->fd);
    log->fd = fd;
    fd = -1;
    status = dl_dir_sync(folder);
  }
  if (fd >= 0) close(fd);
  free(folder);
  return status;
}

/* The base alone, beside the one that counted until now; what is behind it no longer does. */
static dl_status begin_in_place(dl_ps_log *log, unsigned char base[BASE_BYTES], uint64_t turn) {
  struct iovec part = {base, BASE_BYTES};
  char *folder = log->synced && !log->has_base ? dl_path_dirname(log->path) : NULL;
  dl_status status = DL_OK;
  if (!put_down(log, &part, 1, (int64_t)(turn % 2) * BASE_PLACE)) status = fail_log(log, "written");
  if (status == DL_OK && folder) status = dl_dir_sync(folder); /* the file is new */
  free(folder);
  return status;
}

/* A file of its own for the base and the entries from `from` on. */
static dl_status begin_file(dl_ps_log *log, const unsigned char base[BASE_BYTES], int64_t from) {
  static const unsigned char none[FIRST_ENTRY - BASE_BYTES] = {0};
  char *name = dl_asprintf("%s.new", log->path);
  dl_writer *writer = NULL;
  dl_status status = name ? dl_writer_open(name, &writer) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_writer_write(writer, base, BASE_BYTES);
  if (status == DL_OK) status = dl_writer_write(writer, none, sizeof none);
  if (status == DL_OK) status = copy_tail(log, from, writer);
  dl_status closed = dl_writer_close(&writer);
  if (status == DL_OK) status = closed;
  if (status == DL_OK) status = take_place(log, name);
  free(name);
  return status;
}

dl_status dl_ps_log_restart(dl_ps_log *log, const dl_ps_log_base *base, int64_t from) {
  unsigned char bytes[BASE_BYTES];
  const int64_t first = from < log->n ? from : log->n, kept = log->n - first;
  log_names names = {.turn = log->has_base && !kept ? log->names.turn + 1 : 0,
                     .generation = kept ? log->names.generation : log->next_name++,
                     .last = kept ? log->entry[first].behind : log->next_name++};
  write_base(base, &names, bytes);
  DL_TRY(kept ? begin_file(log, bytes, first) : begin_in_place(log, bytes, names.turn));
  log->base = *base;
  log->names = names;
  log->has_base = true;
  log->n = 0;
  log->end = FIRST_ENTRY;
  for (int64_t i = 0; i < kept; i++) DL_TRY(keep(log, &log->entry[first + i]));
  return DL_OK;
}

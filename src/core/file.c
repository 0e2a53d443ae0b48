/* file.c - files that are whole or absent: written beside, fsynced, renamed, the directory fsynced. */
#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"

dl_status dl_file_read(const char *path, size_t max_bytes, dl_status on_error, char **out, size_t *out_bytes) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to hang on a pipe */
  if (fd < 0) return dl_fail_at(on_error, path, 0, 0, "cannot be opened: %s", strerror(errno));
  struct stat st;
  char *text = NULL;
  dl_status status = DL_OK;
  size_t used = 0;
  if (fstat(fd, &st) || !S_ISREG(st.st_mode))
    status = dl_fail_at(on_error, path, 0, 0, S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file");
  else if ((uint64_t)st.st_size > max_bytes)
    status = dl_fail_at(on_error, path, 0, 0, "is too large: %lld bytes, at most %zu are read", (long long)st.st_size,
                        max_bytes);
  else if (!(text = dl_calloc((size_t)st.st_size + 1, 1)))
    status = DL_ERR_NOMEM;
  while (status == DL_OK && used < (size_t)st.st_size) {
    ssize_t n = read(fd, text + used, (size_t)st.st_size - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) status = dl_fail_at(on_error, path, 0, 0, "cannot be read: %s", strerror(errno));
    if (n <= 0) break;
    used += (size_t)n;
  }
  close(fd);
  if (status != DL_OK || !text) {
    free(text);
    return status;
  }
  text[used] = 0;
  *out = text;
  if (out_bytes) *out_bytes = used;
  return DL_OK;
}

/* ---- writing ---- */

/* errno says why; a full disk is worth a word. */
static dl_status fail_write(const char *path) {
  bool full = errno == ENOSPC || errno == EDQUOT;
  dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be written: %s", strerror(errno));
  return full ? dl_hint("free some space and give the command again: a run goes on from its last checkpoint")
              : DL_ERR_SYSTEM;
}

struct dl_writer {
  int fd;
  char *path;
};

dl_status dl_writer_open(const char *path, dl_writer **out) {
  dl_writer *writer = dl_calloc(1, sizeof *writer);
  if (!writer) return DL_ERR_NOMEM;
  writer->path = dl_strdup(path);
  writer->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (!writer->path || writer->fd < 0) {
    dl_status status =
        writer->path ? dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be written: %s", strerror(errno)) : DL_ERR_NOMEM;
    if (writer->fd >= 0) close(writer->fd);
    free(writer->path);
    free(writer);
    return status;
  }
  *out = writer;
  return DL_OK;
}

dl_status dl_writer_write(dl_writer *writer, const void *data, size_t bytes) {
  const char *p = data;
  while (bytes) {
    ssize_t n = write(writer->fd, p, bytes < (1u << 30) ? bytes : (1u << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_write(writer->path);
    p += n;
    bytes -= (size_t)n;
  }
  return DL_OK;
}

dl_status dl_writer_close(dl_writer **writer) {
  if (!*writer) return DL_OK;
  dl_writer *w = *writer;
  dl_status status = DL_OK;
  if (fsync(w->fd)) status = fail_write(w->path);
  if (close(w->fd) && status == DL_OK) status = fail_write(w->path);
  free(w->path);
  free(w);
  *writer = NULL;
  return status;
}

/* Whoever asked for `path` knows of no other name. */
static dl_status name_path(const char *path, const char *temporary, dl_status status) {
  dl_error error = *dl_error_last();
  if (status == DL_OK || strncmp(error.file, temporary, sizeof error.file - 1) != 0) return status;
  snprintf(error.file, sizeof error.file, "%s", path);
  return dl_error_adopt(&error);
}

dl_status dl_file_write_atomic(const char *path, const void *data, size_t bytes) {
  char *temporary = dl_asprintf("%s.tmp-%ld", path, (long)getpid());
  char *folder = dl_path_dirname(path);
  dl_writer *writer = NULL;
  dl_status status = temporary && folder ? dl_writer_open(temporary, &writer) : DL_ERR_NOMEM;
  if (status == DL_OK) {
    status = dl_writer_write(writer, data, bytes);
    dl_status closed = dl_writer_close(&writer);
    if (status == DL_OK) status = closed;
    if (status == DL_OK && rename(temporary, path))
      status = dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be put in place: %s", strerror(errno));
    if (status == DL_OK)
      status = dl_dir_sync(folder);
    else
      unlink(temporary);
  }
  if (temporary) status = name_path(path, temporary, status);
  free(temporary);
  free(folder);
  return status;
}

/* ---- directories and paths ---- */

dl_status dl_dir_make(const char *path) {
  char *copy = dl_strdup(path);
  if (!copy) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  for (char *p = copy + (*copy != 0); status == DL_OK; p++) {
    if (*p != '/' && *p) continue;
    char kept = *p;
    *p = 0;
    if (mkdir(copy, 0777) && errno != EEXIST)
      status = dl_fail_at(DL_ERR_SYSTEM, copy, 0, 0, "the folder cannot be made: %s", strerror(errno));
    *p = kept;
    if (!kept) break;
  }
  if (status == DL_OK && !dl_path_is_dir(path)) status = dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "is not a folder");
  free(copy);
  return status;
}

dl_status dl_dir_sync(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be opened: %s", strerror(errno));
  int failed = fsync(fd) && errno != EINVAL && errno != ENOTSUP; /* some file systems have no fsync for directories */
  int error = errno;
  close(fd);
  return failed ? dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be written: %s", strerror(error)) : DL_OK;
}

dl_status dl_dir_remove(const char *path) {
  DIR *dir = opendir(path);
  if (!dir)
    return errno == ENOENT ? DL_OK : dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be opened: %s", strerror(errno));
  for (struct dirent *entry; (entry = readdir(dir));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) unlinkat(dirfd(dir), entry->d_name, 0);
  closedir(dir);
  if (rmdir(path)) return dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be removed: %s", strerror(errno));
  return DL_OK;
}

bool dl_path_exists(const char *path) {
  struct stat st;
  return !stat(path, &st);
}

bool dl_path_is_dir(const char *path) {
  struct stat st;
  return !stat(path, &st) && S_ISDIR(st.st_mode);
}

char *dl_path_join(const char *dir, const char *name) {
  if (name[0] == '/' || !strcmp(dir, ".") || !dir[0]) return dl_strdup(name);
  size_t n = strlen(dir);
  return dl_asprintf("%s%s%s", dir, dir[n - 1] == '/' ? "" : "/", name);
}

char *dl_path_dirname(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return dl_strdup(".");
  if (slash == path) return dl_strdup("/");
  return dl_asprintf("%.*s", (int)(slash - path), path);
}

char *dl_path_absolute(const char *path) {
  if (path[0] == '/') return dl_strdup(path);
  char folder[PATH_MAX];
  if (!getcwd(folder, sizeof folder)) {
    dl_fail(DL_ERR_SYSTEM, "the working directory is unknown: %s", strerror(errno));
    return NULL;
  }
  return dl_path_join(folder, path);
}

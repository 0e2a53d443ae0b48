/* file.h - files that are whole or absent (floor: core). */
#ifndef DL_CORE_FILE_H
#define DL_CORE_FILE_H

#include "core/status.h"

/* Reads all of `path` (at most `max_bytes`) into fresh memory with a 0 byte after it; the caller frees *out. A
 * directory, a missing file, one too large: an error of `on_error` that names the path. */
dl_status dl_file_read(const char *path, size_t max_bytes, dl_status on_error, char **out, size_t *out_bytes);

/* Writes `bytes` to `path` so that after a crash the file is old or new, never half: temporary beside it, fsync,
 * rename, fsync of the directory. */
dl_status dl_file_write_atomic(const char *path, const void *data, size_t bytes);

/* A plain file written in pieces and fsynced at its end; errors name the path. */
typedef struct dl_writer dl_writer;
dl_status dl_writer_open(const char *path, dl_writer **out);
dl_status dl_writer_write(dl_writer *writer, const void *data, size_t bytes);
dl_status dl_writer_close(dl_writer **writer); /* flush, fsync, close; frees in any case */

dl_status dl_dir_make(const char *path);   /* mkdir -p */
dl_status dl_dir_sync(const char *path);   /* fsync of a directory */
dl_status dl_dir_remove(const char *path); /* rm -r, one level deep: a checkpoint's folder */
bool dl_path_exists(const char *path);
bool dl_path_is_dir(const char *path);
/* Fresh strings, freed by the caller; NULL and a record on failure. */
char *dl_path_join(const char *dir, const char *name); /* `name` itself where it is absolute */
char *dl_path_dirname(const char *path);
char *dl_path_absolute(const char *path);

#endif

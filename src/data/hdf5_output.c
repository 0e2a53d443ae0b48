/* hdf5_output.c - HDF5 does not survive a crash in the middle of a write, so a file is written under another name and
 * takes its own once it is on the disk. */
#include "data/hdf5_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"
#include "data/import.h"
#include "data/utf8.h"

#define CHUNK_BYTES (256LL << 10)
#define MOST_CHUNK_BYTES (1LL << 20)

/* One at a time, as HDF5 has one user at a time. */
static _Atomic(const char *) being_written;

void dl_data_abandon_output(void) {
  const char *path = atomic_load(&being_written);
  if (path) unlink(path);
}

static void forget(dl_h5_output *output) {
  atomic_store(&being_written, NULL);
  free(output->path);
  free(output->temporary);
  *output = (dl_h5_output){.id = -1};
}

/* The file is made before HDF5 sees it, for the sake of a plain error. */
static dl_status make_file(dl_h5_output *out) {
  int descriptor = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return dl_fail_at(DL_ERR_SYSTEM, out->path, 0, 0, "cannot be written: %s", strerror(errno));
  atomic_store(&being_written, out->temporary);
  close(descriptor);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(access, 0, 1);
#endif
  out->id = H5Fcreate(out->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
  dl_status status = out->id < 0 ? dl_h5_fail(DL_ERR_SYSTEM, out->path, "cannot be written") : DL_OK;
  H5Pclose(access);
  if (status != DL_OK) unlink(out->temporary);
  return status;
}

dl_status dl_h5_output_begin(const char *path, dl_h5_output *out) {
  *out = (dl_h5_output){.id = -1, .path = dl_strdup(path), .temporary = dl_asprintf("%s.tmp-%d", path, (int)getpid())};
  dl_status status = out->path && out->temporary ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && dl_path_is_dir(path))
    status = dl_fail_at(DL_ERR_USAGE, path, 0, 0, "is a directory; name a file");
  if (status == DL_OK) status = make_file(out);
  if (status != DL_OK) forget(out);
  return status;
}

static dl_status sync_file(const dl_h5_output *output) {
  int descriptor = open(output->temporary, O_RDONLY | O_CLOEXEC);
  bool good = descriptor >= 0 && fsync(descriptor) == 0;
  int error = errno;
  if (descriptor >= 0) close(descriptor);
  return good ? DL_OK : dl_fail_at(DL_ERR_SYSTEM, output->path, 0, 0, "cannot be written: %s", strerror(error));
}

static dl_status take_name(const dl_h5_output *output) {
  if (rename(output->temporary, output->path) != 0)
    return dl_fail_at(DL_ERR_SYSTEM, output->path, 0, 0, "cannot be put in place: %s", strerror(errno));
  char *folder = dl_path_dirname(output->path);
  dl_status status = folder ? dl_dir_sync(folder) : DL_ERR_NOMEM;
  free(folder);
  return status;
}

/* Data sets do not know their file: its name is added to what they say. */
static dl_status name_file(const dl_h5_output *output, dl_status status) {
  dl_error error = *dl_error_last();
  if (status != DL_ERR_SYSTEM || error.file[0]) return status;
  snprintf(error.file, sizeof error.file, "%s", output->path);
  return dl_error_adopt(&error);
}

dl_status dl_h5_output_end(dl_h5_output *output, dl_status status) {
  if (status != DL_OK) status = name_file(output, status);
  if (status == DL_OK && H5Fflush(output->id, H5F_SCOPE_LOCAL) < 0)
    status = dl_h5_fail(DL_ERR_SYSTEM, output->path, "cannot be written");
  if (output->id >= 0 && H5Fclose(output->id) < 0 && status == DL_OK)
    status = dl_h5_fail(DL_ERR_SYSTEM, output->path, "cannot be written");
  if (status == DL_OK) status = sync_file(output);
  if (status == DL_OK) status = take_name(output);
  if (status != DL_OK) unlink(output->temporary);
  forget(output);
  return status;
}

/* ---- data sets ---- */

/* Whole rows where they fit, else as much of a row as does. */
static void chunk_dims(int dims, const int64_t *dim, int64_t element_bytes, hsize_t *chunk) {
  int64_t bytes = element_bytes;
  for (int i = dims - 1; i >= 0; i--) {
    int64_t most = i == 0 ? (CHUNK_BYTES + bytes - 1) / bytes : MOST_CHUNK_BYTES / bytes;
    int64_t n = dim[i] < most ? dim[i] : most;
    chunk[i] = (hsize_t)(n > 0 ? n : 1);
    bytes *= (int64_t)chunk[i];
  }
}

static hid_t make_plan(hid_t type, int dims, const int64_t *dim, bool chunked, hsize_t *chunk) {
  hid_t made = H5Pcreate(H5P_DATASET_CREATE);
  chunk_dims(dims, dim, (int64_t)H5Tget_size(type), chunk);
  bool good = made >= 0 && H5Pset_obj_track_times(made, 0) >= 0;
  if (chunked) good = good && H5Pset_chunk(made, dims, chunk) >= 0 && H5Pset_fletcher32(made) >= 0;
  if (good || made < 0) return made;
  H5Pclose(made);
  return -1;
}

dl_status dl_h5_target_make(hid_t file, const char *name, hid_t type, int dims, const int64_t *dim, bool chunked,
                            dl_h5_target *out) {
  *out = (dl_h5_target){.id = -1, .name = name, .dims = dims};
  hsize_t size[DL_H5_MAX_DIMS] = {0}, chunk[DL_H5_MAX_DIMS] = {0};
  for (int i = 0; i < dims; i++) size[i] = (hsize_t)(out->dim[i] = dim[i]);
  hid_t space = H5Screate_simple(dims, size, NULL), links = H5Pcreate(H5P_LINK_CREATE);
  hid_t made = make_plan(type, dims, dim, chunked, chunk);
  if (space >= 0 && links >= 0 && made >= 0 && H5Pset_create_intermediate_group(links, 1) >= 0)
    out->id = H5Dcreate2(file, name, type, space, links, made, H5P_DEFAULT);
  dl_status status = out->id < 0 ? dl_h5_fail(DL_ERR_SYSTEM, NULL, "data set '%s' cannot be made", name) : DL_OK;
  out->chunk_rows = chunked ? (int64_t)chunk[0] : 1;
  if (space >= 0) H5Sclose(space);
  if (links >= 0) H5Pclose(links);
  if (made >= 0) H5Pclose(made);
  return status;
}

dl_status dl_h5_target_write(const dl_h5_target *target, int64_t first, int64_t rows, hid_t memory_type,
                             const void *values) {
  hsize_t start[DL_H5_MAX_DIMS] = {(hsize_t)first}, count[DL_H5_MAX_DIMS] = {(hsize_t)rows};
  for (int i = 1; i < target->dims; i++) count[i] = (hsize_t)target->dim[i];
  hid_t file_space = H5Dget_space(target->id), memory_space = H5Screate_simple(target->dims, count, NULL);
  dl_status status = DL_OK;
  if (file_space < 0 || memory_space < 0 ||
      H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
      H5Dwrite(target->id, memory_type, memory_space, file_space, H5P_DEFAULT, values) < 0)
    status = dl_h5_fail(DL_ERR_SYSTEM, NULL, "data set '%s' cannot be written", target->name);
  if (file_space >= 0) H5Sclose(file_space);
  if (memory_space >= 0) H5Sclose(memory_space);
  return status;
}

dl_status dl_h5_target_close(dl_h5_target *target, dl_status status) {
  if (target->id >= 0 && H5Dclose(target->id) < 0 && status == DL_OK)
    status = dl_h5_fail(DL_ERR_SYSTEM, NULL, "data set '%s' cannot be written", target->name);
  target->id = -1;
  return status;
}

/* ---- texts ---- */

static hid_t text_type(const char *const *texts, int64_t n, size_t *width) {
  bool ascii = true;
  *width = 1;
  for (int64_t i = 0; i < n; i++) {
    const size_t bytes = strlen(texts[i]);
    if (bytes > *width) *width = bytes;
    for (size_t k = 0; k < bytes; k++) ascii = ascii && (unsigned char)texts[i][k] < 0x80;
  }
  const hid_t type = H5Tcopy(H5T_C_S1);
  if (type >= 0 && H5Tset_size(type, *width) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0 &&
      H5Tset_cset(type, ascii ? H5T_CSET_ASCII : H5T_CSET_UTF8) >= 0)
    return type;
  if (type >= 0) H5Tclose(type);
  return -1;
}

dl_status dl_h5_write_texts(hid_t file, const char *name, const char *const *texts, int64_t n) {
  size_t width;
  dl_h5_target target = {.id = -1};
  for (int64_t i = 0; i < n; i++)
    if (!dl_utf8_valid(texts[i], strlen(texts[i])))
      return dl_fail(DL_ERR_DATA, "'%.80s', which is to stand in %s, is not UTF-8", texts[i], name);
  const hid_t type = text_type(texts, n, &width);
  if (type < 0) return dl_h5_fail(DL_ERR_SYSTEM, NULL, "data set '%s' cannot be made", name);
  char *packed = dl_calloc((size_t)n, width);
  dl_status status = packed ? dl_h5_target_make(file, name, type, 1, &n, false, &target) : DL_ERR_NOMEM;
  for (int64_t i = 0; packed && i < n; i++) memcpy(packed + (size_t)i * width, texts[i], strlen(texts[i]));
  if (status == DL_OK) status = dl_h5_target_write(&target, 0, n, type, packed);
  status = dl_h5_target_close(&target, status);
  H5Tclose(type);
  free(packed);
  return status;
}

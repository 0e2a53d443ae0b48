/* checkpoint.c - checkpoints that survive a crash at any moment.
 *
 * The order of what is done is the whole point: files and manifest in a folder of a temporary name, each fsynced; read
 * back and compared with the manifest; the folder renamed; its parent fsynced; the pointer moved. Whatever a crash
 * leaves, a name of the form step-N is whole, and the reader proves it again by the manifest.
 */
#include "train/checkpoint.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"

#define MAX_STATE (64u << 20)
#define MAX_MANIFEST (1u << 20)
#define MAX_CHECKPOINTS 100000

static void manifest_add(dl_json *files, const char *name, uint64_t bytes, const dl_digest *digest) {
  dl_json *entry = dl_json_object();
  dl_json_put_int(entry, "bytes", (int64_t)bytes);
  dl_json_put_string(entry, "sha256", digest->hex);
  dl_json_put(files, name, entry);
}

static dl_status write_text_file(const char *folder, const char *name, const dl_json *json, uint64_t *bytes,
                                 dl_digest *digest) {
  char *text = NULL, *path = dl_path_join(folder, name);
  dl_status status = path ? dl_json_text(json, true, &text) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_file_write_atomic(path, text, strlen(text));
  if (status == DL_OK && digest) {
    *bytes = strlen(text);
    status = dl_sha256_file(path, digest);
  }
  free(text);
  free(path);
  return status;
}

static dl_status write_tensors(const char *folder, const char *name, const dl_tensor_view *tensors, int n,
                               dl_json *files, uint64_t *total, dl_digest *weights) {
  char *path = dl_path_join(folder, name);
  if (!path) return DL_ERR_NOMEM;
  uint64_t bytes;
  dl_digest digest;
  dl_status status = dl_safetensors_write(path, tensors, n, &bytes, &digest, weights);
  if (status == DL_OK) {
    manifest_add(files, name, bytes, &digest);
    *total += bytes;
  }
  free(path);
  return status;
}

/* All four files into `folder`, which is fresh. */
static dl_status write_files(const char *folder, const dl_checkpoint *c, dl_checkpoint_written *out) {
  dl_json *manifest = dl_json_object(), *files = dl_json_object();
  dl_digest digest;
  uint64_t bytes = 0;
  dl_status status = dl_dir_make(folder);
  if (status == DL_OK)
    status = write_tensors(folder, "model.safetensors", c->model, c->n_model, files, &out->bytes, &out->weights);
  if (status == DL_OK)
    status = write_tensors(folder, "optimizer.safetensors", c->optimizer, c->n_optimizer, files, &out->bytes, NULL);
  if (status == DL_OK) {
    dl_json_put_string(c->state, "weights_sha256", out->weights.hex);
    status = write_text_file(folder, "state.json", c->state, &bytes, &digest);
  }
  if (status == DL_OK) manifest_add(files, "state.json", bytes, &digest);
  out->bytes += bytes;
  dl_json_put_int(manifest, "version", 1);
  dl_json_put(manifest, "files", files);
  if (status == DL_OK) status = write_text_file(folder, "MANIFEST.json", manifest, NULL, NULL);
  dl_json_destroy(&manifest);
  return status == DL_OK ? dl_dir_sync(folder) : status;
}

static dl_status move_pointer(const char *folder, const char *pointer, const char *name) {
  char *temporary = dl_asprintf("%s/.%s-%ld", folder, pointer, (long)getpid()), *path = dl_path_join(folder, pointer);
  dl_status status = temporary && path ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) {
    unlink(temporary);
    if (symlink(name, temporary) || rename(temporary, path))
      status = dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "the pointer cannot be moved: %s", strerror(errno));
    else
      status = dl_dir_sync(folder);
  }
  free(temporary);
  free(path);
  return status;
}

/* ---- finding ---- */

typedef struct names {
  int64_t *step;
  int n;
} names;

static int newest_first(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}

/* The number in "step-00000012", -1 for other names. */
static int64_t step_of_name(const char *name) {
  if (strncmp(name, "step-", 5) || !isdigit((unsigned char)name[5])) return -1;
  char *end;
  errno = 0;
  long long step = strtoll(name + 5, &end, 10);
  char own[32]; /* "step-12" is somebody else's */
  snprintf(own, sizeof own, "step-%08lld", step);
  return *end || errno || strcmp(name, own) ? -1 : step;
}

static dl_status list_steps(const char *folder, names *out) {
  *out = (names){0};
  DIR *dir = opendir(folder);
  if (!dir && (errno == ENOENT || errno == ENOTDIR)) return DL_OK;
  if (!dir) return dl_fail_at(DL_ERR_DATA, folder, 0, 0, "cannot be opened: %s", strerror(errno));
  dl_status status = DL_OK;
  for (struct dirent *entry; status == DL_OK && out->n < MAX_CHECKPOINTS && (entry = readdir(dir));) {
    int64_t step = step_of_name(entry->d_name);
    if (step < 0) continue;
    int64_t *more = dl_reallocarray(out->step, (size_t)out->n + 1, sizeof *more);
    if (!more) status = DL_ERR_NOMEM;
    if (more) {
      out->step = more;
      out->step[out->n++] = step;
    }
  }
  closedir(dir);
  if (out->n) qsort(out->step, (size_t)out->n, sizeof *out->step, newest_first);
  return status;
}

static char *step_path(const char *folder, int64_t step) {
  return dl_asprintf("%s/step-%08lld", folder, (long long)step);
}

/* Whether a checkpoint's weights have this digest. */
static bool has_weights(const char *path, const char *digest) {
  dl_json *state = NULL;
  if (!digest || !*digest) return true;
  const char *its =
      dl_checkpoint_state(path, &state) == DL_OK ? dl_json_string(dl_json_get(state, "weights_sha256")) : NULL;
  const bool same = its && !strcmp(its, digest);
  dl_json_destroy(&state);
  return same;
}

static bool is_best(const char *path, int64_t step, const dl_checkpoint_place *place) {
  return step == place->best && (step == place->step || has_weights(path, place->best_weights));
}

/* A pointer without what it points to, `best` where none is kept, and what a crash left. */
static void clear_names(const char *folder, const dl_checkpoint_place *place) {
  DIR *dir = opendir(folder);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    if (!strncmp(entry->d_name, ".latest-", 8) || !strncmp(entry->d_name, ".best-", 6))
      unlinkat(dirfd(dir), entry->d_name, 0);
    if (!strcmp(entry->d_name, "best") && (place->best < 0 || faccessat(dirfd(dir), "best", F_OK, 0)))
      unlinkat(dirfd(dir), entry->d_name, 0);
    if (strncmp(entry->d_name, ".tmp-step-", 10)) continue;
    char *path = dl_path_join(folder, entry->d_name);
    if (path) dl_dir_remove(path);
    free(path);
  }
  if (dir) closedir(dir);
}

/* Old checkpoints beyond `keep` that are not the best, those of a later step (a run that went back), and what else is
 * left over. */
static dl_status prune(const char *folder, const dl_checkpoint_place *place) {
  names all;
  DL_TRY(list_steps(folder, &all));
  int64_t kept = 0;
  for (int i = 0; i < all.n; i++) {
    if (all.step[i] <= place->step && kept++ < place->keep) continue;
    char *path = step_path(folder, all.step[i]);
    if (path && !(all.step[i] <= place->step && is_best(path, all.step[i], place))) dl_dir_remove(path);
    free(path);
  }
  free(all.step);
  clear_names(folder, place);
  return DL_OK;
}

/* Where the step was written before, by a run that went back since, the two change places in one go, so that there is
 * no moment without it; file systems that cannot do that have one. */
static dl_status put_in_place(const char *temporary, const char *path) {
  if (!renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE)) return DL_OK; /* the old one is pruned */
  DL_TRY(dl_dir_remove(path));
  if (rename(temporary, path))
    return dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "cannot be put in place: %s", strerror(errno));
  return DL_OK;
}

static dl_status point(const char *folder, const char *pointer, int64_t step, const dl_checkpoint_place *place) {
  if (step < 0) return DL_OK;
  char *path = step_path(folder, step);
  dl_status status = path ? DL_OK : DL_ERR_NOMEM;
  if (path && dl_path_is_dir(path) && (step == place->step || is_best(path, step, place)))
    status = move_pointer(folder, pointer, strrchr(path, '/') + 1);
  free(path);
  return status;
}

dl_status dl_checkpoint_point(const char *folder, const dl_checkpoint_place *place) {
  DL_TRY(point(folder, "latest", place->step, place));
  return point(folder, "best", place->best, place);
}

dl_status dl_checkpoint_write(const char *folder, const dl_checkpoint_place *place, const dl_checkpoint *checkpoint,
                              dl_checkpoint_written *out) {
  *out = (dl_checkpoint_written){0};
  char *temporary = dl_asprintf("%s/.tmp-step-%08lld", folder, (long long)place->step),
       *path = step_path(folder, place->step);
  dl_status status = temporary && path ? dl_dir_remove(temporary) : DL_ERR_NOMEM;
  if (status == DL_OK) status = write_files(temporary, checkpoint, out);
  if (status == DL_OK) status = dl_checkpoint_verify(temporary);
  if (status == DL_OK) status = put_in_place(temporary, path);
  if (status == DL_OK) status = dl_dir_sync(folder);
  if (status == DL_OK) status = dl_checkpoint_point(folder, place);
  if (status == DL_OK) status = prune(folder, place);
  if (status != DL_OK && temporary) {
    dl_error error = *dl_error_last();
    dl_dir_remove(temporary);
    dl_error_adopt(&error);
  }
  free(temporary);
  if (status == DL_OK)
    out->path = path;
  else
    free(path);
  return status;
}

/* ---- checking and reading ---- */

static dl_status check_file(const char *folder, const char *name, const dl_json *entry) {
  if (strchr(name, '/')) return dl_fail_at(DL_ERR_DATA, folder, 0, 0, "its manifest names a file outside it");
  const char *wanted = dl_json_string(dl_json_get(entry, "sha256"));
  int64_t bytes = dl_json_int(dl_json_get(entry, "bytes"), -1);
  char *path = dl_path_join(folder, name);
  if (!path) return DL_ERR_NOMEM;
  struct stat st;
  dl_digest digest;
  dl_status status = DL_OK;
  if (stat(path, &st))
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "is missing from the checkpoint");
  else if (!S_ISREG(st.st_mode))
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "is not a regular file");
  else if (st.st_size != bytes)
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "has %lld bytes where the manifest says %lld", (long long)st.st_size,
                        (long long)bytes);
  else if ((status = dl_sha256_file(path, &digest)) == DL_OK && (!wanted || strcmp(digest.hex, wanted)))
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "is damaged: its SHA-256 is not the manifest's");
  free(path);
  return status;
}

dl_status dl_checkpoint_verify(const char *path) {
  char *manifest_path = dl_path_join(path, "MANIFEST.json"), *text = NULL;
  size_t bytes = 0;
  dl_json *manifest = NULL;
  dl_status status = manifest_path ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && !dl_path_exists(manifest_path)) {
    dl_fail_at(DL_ERR_DATA, path, 0, 0, "is no whole checkpoint: it has no MANIFEST.json");
    status = dl_hint("a checkpoint is a folder such as runs/NAME/checkpoints/latest");
  }
  if (status == DL_OK) status = dl_file_read(manifest_path, MAX_MANIFEST, DL_ERR_DATA, &text, &bytes);
  if (status == DL_OK) status = dl_json_parse(text, bytes, manifest_path, &manifest);
  const dl_json *files = status == DL_OK ? dl_json_get(manifest, "files") : NULL;
  static const char *const needed[] = {"model.safetensors", "optimizer.safetensors", "state.json"};
  for (int i = 0; status == DL_OK && i < 3; i++)
    if (!dl_json_is_object(dl_json_get(files, needed[i])))
      status = dl_fail_at(DL_ERR_DATA, manifest_path, 0, 0, "does not name %s", needed[i]);
  const char *name;
  const dl_json *entry;
  for (void *at = NULL; status == DL_OK && dl_json_next(files, &at, &name, &entry);)
    status = check_file(path, name, entry);
  dl_json_destroy(&manifest);
  free(text);
  free(manifest_path);
  return status;
}

dl_status dl_checkpoint_newest(const char *folder, char **out) {
  names all;
  *out = NULL;
  DL_TRY(list_steps(folder, &all));
  dl_status status = DL_OK;
  for (int i = 0; i < all.n && !*out && status == DL_OK; i++) {
    char *path = step_path(folder, all.step[i]);
    if (!path)
      status = DL_ERR_NOMEM;
    else if (dl_checkpoint_verify(path) == DL_OK) {
      *out = path;
      path = NULL;
    } else {
      char text[1200];
      dl_warn("checkpoint_damaged", "checkpoint %s is passed over: %s", path,
              dl_error_format(dl_error_last(), text, sizeof text));
    }
    free(path);
  }
  free(all.step);
  if (status != DL_OK || *out || !all.n) return status;
  dl_fail_at(DL_ERR_DATA, folder, 0, 0, "holds checkpoints, but none of them is whole");
  return dl_hint("put one back, choose another --run, or begin again with --resume never");
}

dl_status dl_checkpoint_forget(const char *folder) { return prune(folder, &(dl_checkpoint_place){-1, 0, -1, NULL}); }

dl_status dl_checkpoint_at(const char *folder, int64_t step, const char *weights, char **out) {
  *out = step_path(folder, step);
  if (!*out) return DL_ERR_NOMEM;
  if (dl_path_is_dir(*out) && dl_checkpoint_verify(*out) == DL_OK && has_weights(*out, weights)) return DL_OK;
  free(*out);
  *out = NULL;
  return DL_OK;
}

dl_status dl_checkpoint_best(const char *folder, char **out) {
  char name[64] = "", *pointer = dl_path_join(folder, "best");
  if (!pointer) return DL_ERR_NOMEM;
  const ssize_t length = readlink(pointer, name, sizeof name - 1);
  const bool there = length > 0 && dl_path_is_dir(pointer);
  free(pointer);
  *out = NULL;
  if (length > 0 && step_of_name(name) >= 0) DL_TRY(dl_checkpoint_at(folder, step_of_name(name), NULL, out));
  if (*out) return DL_OK;
  if (length > 0)
    dl_warn("checkpoint_damaged", "the best checkpoint of %s is %s: the newest is taken", folder,
            there ? "damaged" : "gone");
  return dl_checkpoint_newest(folder, out);
}

dl_status dl_checkpoint_state(const char *path, dl_json **out) {
  char *state_path = dl_path_join(path, "state.json"), *text = NULL;
  size_t bytes = 0;
  dl_status status = state_path ? dl_file_read(state_path, MAX_STATE, DL_ERR_DATA, &text, &bytes) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_json_parse(text, bytes, state_path, out);
  if (status == DL_OK && !dl_json_is_object(*out)) {
    dl_json_destroy(out);
    status = dl_fail_at(DL_ERR_DATA, state_path, 0, 0, "is no JSON object");
  }
  free(text);
  free(state_path);
  return status;
}

dl_status dl_checkpoint_read(const char *path, const dl_checkpoint *checkpoint) {
  char *model = dl_path_join(path, "model.safetensors"), *optimizer = dl_path_join(path, "optimizer.safetensors");
  dl_status status =
      model && optimizer ? dl_safetensors_read(model, checkpoint->model, checkpoint->n_model) : DL_ERR_NOMEM;
  if (status == DL_OK && checkpoint->optimizer)
    status = dl_safetensors_read(optimizer, checkpoint->optimizer, checkpoint->n_optimizer);
  free(model);
  free(optimizer);
  return status;
}

/* A folder without checkpoints within may be one itself. */
dl_status dl_checkpoint_find(const char *path, char **out) {
  *out = NULL;
  if (!dl_path_is_dir(path)) {
    dl_fail_at(DL_ERR_DATA, path, 0, 0, "is no checkpoint's folder");
    return dl_hint(
        "a checkpoint is a folder such as runs/NAME/checkpoints/latest; runs/NAME stands for its newest one");
  }
  char *manifest = dl_path_join(path, "MANIFEST.json"), *within = dl_path_join(path, "checkpoints");
  dl_status status = manifest && within ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && !dl_path_exists(manifest))
    status = dl_checkpoint_newest(dl_path_is_dir(within) ? within : path, out);
  if (status == DL_OK && !*out) {
    *out = dl_strdup(path);
    status = *out ? dl_checkpoint_verify(path) : DL_ERR_NOMEM;
  }
  free(manifest);
  free(within);
  return status;
}

/* A line is a word, a key in Z85 and, for people, a name: `dldist-public KEY NAME`. Other lines begin with #. */
#include "comm/ps_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "core/file.h"
#include "core/mem.h"

#define PUBLIC "dldist-public"
#define SECRET "dldist-secret"
#define MAX_FILE ((size_t)1 << 20)

dl_status dl_ps_keys_new(dl_ps_keys *out) {
  if (zmq_curve_keypair(out->public_key, out->secret_key) == 0) return DL_OK;
  return dl_fail(DL_ERR_SYSTEM, "no keys can be made: %s", zmq_strerror(zmq_errno()));
}

/* ---- writing ---- */

static dl_status write_new(const char *path, mode_t mode, const char *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (file < 0) {
    dl_fail_at(errno == EEXIST ? DL_ERR_USAGE : DL_ERR_SYSTEM, path, 0, 0, "%s", strerror(errno));
    return errno == EEXIST ? dl_hint("keys are never overwritten: remove the file, or choose another name")
                           : DL_ERR_SYSTEM;
  }
  size_t bytes = strlen(text);
  bool written = write(file, text, bytes) == (ssize_t)bytes && fchmod(file, mode) == 0 && fsync(file) == 0;
  int error = errno;
  close(file);
  return written ? DL_OK : dl_fail_at(DL_ERR_SYSTEM, path, 0, 0, "%s", strerror(error));
}

dl_status dl_ps_keys_write(const char *name, const dl_ps_keys *keys) {
  const char *slash = strrchr(name, '/'), *label = slash ? slash + 1 : name;
  char *secret_path = dl_asprintf("%s.key", name), *public_path = dl_asprintf("%s.pub", name);
  char *secret = dl_asprintf(PUBLIC " %s %s\n" SECRET " %s\n", keys->public_key, label, keys->secret_key);
  char *public = dl_asprintf(PUBLIC " %s %s\n", keys->public_key, label);
  dl_status status = secret_path && public_path && secret && public ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK) status = write_new(secret_path, 0600, secret);
  if (status == DL_OK && (status = write_new(public_path, 0644, public)) != DL_OK) unlink(secret_path);
  free(secret_path);
  free(public_path);
  free(secret);
  free(public);
  return status;
}

/* ---- reading ---- */

/* The key of a line that begins with `word`; *out is empty where it is another line. False: neither key nor comment. */
static bool key_of_line(const char *line, const char *word, char out[DL_PS_KEY_TEXT]) {
  char first[24] = "", key[DL_PS_KEY_TEXT + 1] = "";
  uint8_t raw[32];
  out[0] = 0;
  if (sscanf(line, "%23s %41s", first, key) < 1 || first[0] == '#') return true;
  if (strcmp(first, PUBLIC) && strcmp(first, SECRET)) return false;
  if (strlen(key) != DL_PS_KEY_TEXT - 1 || !zmq_z85_decode(raw, key)) return false;
  if (!strcmp(first, word)) memcpy(out, key, DL_PS_KEY_TEXT);
  return true;
}

/* Calls `take` for each key behind `word` in the file. */
static dl_status read_keys(const char *path, const char *word, dl_status (*take)(void *to, const char *key), void *to) {
  char *text = NULL, key[DL_PS_KEY_TEXT], *rest;
  DL_TRY(dl_file_read(path, MAX_FILE, DL_ERR_USAGE, &text, NULL));
  dl_status status = DL_OK;
  int number = 0;
  for (char *line = text; status == DL_OK && line && *line; line = rest) {
    rest = strchr(line, '\n');
    if (rest) *rest++ = 0;
    number++;
    if (!key_of_line(line, word, key)) {
      dl_fail_at(DL_ERR_USAGE, path, number, 0, "is no key");
      status = dl_hint("keys are made by `dldist ps keygen NAME`; an allow-list is .pub files one after another");
    } else if (key[0]) {
      status = take(to, key);
    }
  }
  memset(text, 0, strlen(text));
  free(text);
  return status;
}

static dl_status take_one(void *to, const char *key) {
  memcpy(to, key, DL_PS_KEY_TEXT);
  return DL_OK;
}

static dl_status read_one(const char *path, const char *word, char out[DL_PS_KEY_TEXT]) {
  out[0] = 0;
  DL_TRY(read_keys(path, word, take_one, out));
  if (out[0]) return DL_OK;
  dl_fail_at(DL_ERR_USAGE, path, 0, 0, "holds no %s", strcmp(word, SECRET) ? "public key" : "secret key");
  return dl_hint("make keys with `dldist ps keygen NAME`");
}

dl_status dl_ps_keys_read(const char *path, dl_ps_keys *out) {
  struct stat what;
  if (stat(path, &what) == 0 && what.st_mode & 077) {
    dl_fail_at(DL_ERR_USAGE, path, 0, 0, "can be read by others (mode %03o)", (unsigned)(what.st_mode & 0777));
    return dl_hint("chmod 600 %.200s", path);
  }
  DL_TRY(read_one(path, PUBLIC, out->public_key));
  return read_one(path, SECRET, out->secret_key);
}

dl_status dl_ps_keys_read_public(const char *path, char out[DL_PS_KEY_TEXT]) { return read_one(path, PUBLIC, out); }

static dl_status take_allowed(void *to, const char *key) {
  dl_ps_allowed *allowed = to;
  char(*more)[DL_PS_KEY_TEXT] = dl_reallocarray(allowed->key, (size_t)allowed->n + 1, sizeof *more);
  if (!more) return DL_ERR_NOMEM;
  allowed->key = more;
  memcpy(allowed->key[allowed->n++], key, DL_PS_KEY_TEXT);
  return DL_OK;
}

dl_status dl_ps_allowed_read(const char *path, dl_ps_allowed *out) {
  *out = (dl_ps_allowed){0};
  dl_status status = read_keys(path, PUBLIC, take_allowed, out);
  if (status == DL_OK && !out->n) status = dl_fail_at(DL_ERR_USAGE, path, 0, 0, "holds no public key");
  if (status != DL_OK) dl_ps_allowed_clear(out);
  return status;
}

void dl_ps_allowed_clear(dl_ps_allowed *allowed) {
  free(allowed->key);
  *allowed = (dl_ps_allowed){0};
}

bool dl_ps_allowed_has(const dl_ps_allowed *allowed, const char *key) {
  for (int i = 0; i < allowed->n; i++)
    if (!strcmp(allowed->key[i], key)) return true;
  return false;
}

/* hash.c - SHA-256 through libcrypto. */
#include "core/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

struct dl_sha256 {
  EVP_MD_CTX *context;
};

dl_status dl_sha256_new(dl_sha256 **out) {
  dl_sha256 *hash = dl_calloc(1, sizeof *hash);
  if (!hash) return DL_ERR_NOMEM;
  hash->context = EVP_MD_CTX_new();
  if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
    dl_sha256_destroy(&hash);
    return dl_fail(DL_ERR_SYSTEM, "libcrypto offers no SHA-256");
  }
  *out = hash;
  return DL_OK;
}

dl_status dl_sha256_update(dl_sha256 *hash, const void *data, size_t bytes) {
  if (EVP_DigestUpdate(hash->context, data, bytes) != 1) return dl_fail(DL_ERR_SYSTEM, "SHA-256 failed in libcrypto");
  return DL_OK;
}

dl_status dl_sha256_finish(dl_sha256 *hash, dl_digest *out) {
  unsigned char raw[EVP_MAX_MD_SIZE];
  if (EVP_DigestFinal_ex(hash->context, raw, NULL) != 1) return dl_fail(DL_ERR_SYSTEM, "SHA-256 failed in libcrypto");
  for (int i = 0; i < 32; i++) snprintf(out->hex + 2 * i, 3, "%02x", raw[i]);
  return DL_OK;
}

void dl_sha256_destroy(dl_sha256 **hash) {
  if (!*hash) return;
  EVP_MD_CTX_free((*hash)->context);
  free(*hash);
  *hash = NULL;
}

dl_status dl_sha256_file(const char *path, dl_digest *out) {
  FILE *file = fopen(path, "rb");
  if (!file) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  dl_sha256 *hash = NULL;
  char *piece = dl_calloc(1, 1 << 20);
  dl_status status = piece ? dl_sha256_new(&hash) : DL_ERR_NOMEM;
  size_t n;
  while (status == DL_OK && (n = fread(piece, 1, 1 << 20, file)) > 0) status = dl_sha256_update(hash, piece, n);
  if (status == DL_OK && ferror(file))
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be read: %s", strerror(errno));
  if (status == DL_OK) status = dl_sha256_finish(hash, out);
  dl_sha256_destroy(&hash);
  free(piece);
  fclose(file);
  return status;
}

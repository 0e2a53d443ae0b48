/* hash.h - SHA-256 (FIPS 180-4) through OpenSSL's libcrypto, the only user of it (floor: core). */
#ifndef DL_CORE_HASH_H
#define DL_CORE_HASH_H

#include "core/status.h"

typedef struct dl_sha256 dl_sha256;
typedef struct dl_digest {
  char hex[65];
} dl_digest; /* lower case, terminated */

dl_status dl_sha256_new(dl_sha256 **out);
dl_status dl_sha256_update(dl_sha256 *hash, const void *data, size_t bytes);
dl_status dl_sha256_finish(dl_sha256 *hash, dl_digest *out);
void dl_sha256_destroy(dl_sha256 **hash);

/* The whole of `path`, read in pieces. */
dl_status dl_sha256_file(const char *path, dl_digest *out);

#endif

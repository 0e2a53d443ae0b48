/* ps_keys.h - who may speak with a parameter server (floor: comm).
 *
 * Keys are CURVE key pairs in text files: NAME.key holds both halves and is its owner's alone (mode 0600), NAME.pub
 * holds the public one and what it is called. An allow-list is any number of .pub files one after another.
 */
#ifndef DL_COMM_PS_KEYS_H
#define DL_COMM_PS_KEYS_H

#include "core/status.h"

#define DL_PS_KEY_TEXT 41 /* Z85 and its end */

typedef struct dl_ps_keys {
  char public_key[DL_PS_KEY_TEXT], secret_key[DL_PS_KEY_TEXT];
} dl_ps_keys;

typedef struct dl_ps_allowed {
  char (*key)[DL_PS_KEY_TEXT];
  int n;
} dl_ps_allowed;

/* Makes a new pair. */
dl_status dl_ps_keys_new(dl_ps_keys *out);
/* Writes `name`.key and `name`.pub; neither may exist. */
dl_status dl_ps_keys_write(const char *name, const dl_ps_keys *keys);
/* Both halves from a .key file, which no one else may read. */
dl_status dl_ps_keys_read(const char *path, dl_ps_keys *out);
/* The public half from a .pub (or .key) file. */
dl_status dl_ps_keys_read_public(const char *path, char out[DL_PS_KEY_TEXT]);
dl_status dl_ps_allowed_read(const char *path, dl_ps_allowed *out);
void dl_ps_allowed_clear(dl_ps_allowed *allowed);
bool dl_ps_allowed_has(const dl_ps_allowed *allowed, const char *key);

#endif

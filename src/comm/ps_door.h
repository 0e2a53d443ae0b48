/* ps_door.h - the authenticator of a listening link (floor: comm, private).
 *
 * ZeroMQ asks a handler in the process (its RFC 27) whether a key may come in; a CURVE server without one lets any key
 * in. So the handler runs before the socket listens, and a random key proves that it is asked.
 */
#ifndef DL_COMM_PS_DOOR_H
#define DL_COMM_PS_DOOR_H

#include "comm/ps_keys.h"

typedef struct dl_ps_door dl_ps_door;

/* Starts the handler's thread in `context`; `allowed` is copied. */
dl_status dl_ps_door_open(void *context, const dl_ps_allowed *allowed, dl_ps_door **out);
/* After the context was shut down. */
void dl_ps_door_close(dl_ps_door **door);
uint64_t dl_ps_door_denied(const dl_ps_door *door);

/* Connects to `address` with a key made up on the spot: DL_OK only where that was refused. */
dl_status dl_ps_door_prove(const char *address, const char *server_key);

#endif

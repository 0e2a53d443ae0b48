/* ps_share.h - memory of one process that others of this host read (floor: comm, private).
 *
 * Between a worker and a server on one host slices need not travel: each has an object in memory that it alone writes,
 * and tells the other a ticket: process, descriptor, size and 32 random bytes that also stand in the object. Who can
 * open that descriptor in /proc and finds those bytes shares the host; nobody else gets as far, so the two need not
 * know what kind of address they speak over. Nothing that comes with a message is an address or an offset: both know
 * the layout.
 *
 * The object is a memfd of its owner's user, sealed so that it can never shrink: to read it cannot fail, whatever its
 * owner does or however it ends. It is mapped for reading only. What its owner writes while it is read is seen as any
 * floats; who is let in is trusted to compute.
 */
#ifndef DL_COMM_PS_SHARE_H
#define DL_COMM_PS_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DL_PS_TICKET_BYTES 64
#define DL_PS_VIEWS 3 /* versions of a server's slice that its object holds */

typedef struct dl_ps_share dl_ps_share;

/* Zeroed memory of `bytes` that others can read; NULL: it cannot be had, and things travel as messages. */
dl_ps_share *dl_ps_share_new(size_t bytes);
void dl_ps_share_ticket(const dl_ps_share *share, unsigned char out[DL_PS_TICKET_BYTES]);
/* The object behind a ticket, `bytes` of it; NULL: it is not on this host, not its user's, too small, not sealed, or
 * not what the ticket says. */
const dl_ps_share *dl_ps_share_open(const void *ticket, size_t ticket_bytes, size_t bytes);
/* `share` may be of either kind. */
void dl_ps_share_close(const dl_ps_share **share);
/* Page-aligned; written to by its owner alone. */
void *dl_ps_share_data(const dl_ps_share *share);

/* ---- a slice in DL_PS_VIEWS versions: a version's place is told by its number, and may be written over while it is
 * read, which the reader then sees ---- */

/* The owner's: copies `bytes` of `values` into the place of `version` (>= 0), unless they are there. */
void dl_ps_share_write_view(dl_ps_share *share, int64_t version, const void *values, size_t bytes);
/* The same in parts: its place, to be filled, and once that is done. */
void *dl_ps_share_begin_view(dl_ps_share *share, int64_t version);
void dl_ps_share_end_view(dl_ps_share *share, int64_t version);
/* False: `version` is not there, or no longer; `out` may then be half of another one. */
bool dl_ps_share_read_view(const dl_ps_share *share, int64_t version, void *out, size_t bytes);

#endif

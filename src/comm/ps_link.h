/* ps_link.h - one ZeroMQ socket with who may use it (floor: comm, private).
 *
 * A server listens (ROUTER), a worker connects (DEALER). Every link has its own context, so its own I/O thread and,
 * where it listens with keys, its own authenticator. Heartbeats are those of ZeroMQ's own protocol: the I/O thread
 * sends and answers them whatever the program is doing, so a member that computes for minutes is there, and one that
 * was killed, stopped or cut off is gone after DL_PS_GONE_MS.
 *
 * A link belongs to one thread.
 */
#ifndef DL_COMM_PS_LINK_H
#define DL_COMM_PS_LINK_H

#include <stdatomic.h>
#include <zmq.h>

#include "comm/ps_frame.h"
#include "comm/ps_keys.h"
#include "comm/ps_parts.h"
#include "core/half.h"

#define DL_PS_BEAT_MS 2000
#define DL_PS_GONE_MS 8000
#define DL_PS_PEER_BYTES 32

typedef struct dl_ps_link dl_ps_link;

typedef struct dl_ps_link_options {
  const char *address;
  const dl_ps_keys *keys;       /* NULL: open; then only loopback and ipc are listened on */
  const dl_ps_allowed *allowed; /* who listens with keys: their peers */
  const char *server_key;       /* who connects with keys: the server's public key */
  const char *name;             /* who connects: the routing id, NULL: the server gives one */
  size_t max_bytes;             /* the longest payload that is let in */
  int queue;                    /* messages a peer may have waiting in either direction; 0: any number */
  int parts; /* where it is not 0: so many more in the direction in which slices go in parts: from who listens, and to
                and from who connects */
} dl_ps_link_options;

/* Who a message came from: the server's name of a connection. */
typedef struct dl_ps_peer {
  uint8_t n, id[DL_PS_PEER_BYTES];
} dl_ps_peer;

typedef struct dl_ps_mail {
  dl_ps_peer from;
  char user[DL_PS_KEY_TEXT]; /* the peer's public key, "" on an open link */
  dl_ps_frame frame;
  zmq_msg_t payload; /* closed by dl_ps_mail_done, unless it was moved away */
} dl_ps_mail;

/* With keys, proves before it returns that a random key is refused. */
dl_status dl_ps_link_listen(const dl_ps_link_options *options, dl_ps_link **out);
dl_status dl_ps_link_connect(const dl_ps_link_options *options, dl_ps_link **out);
/* What was sent is given `linger_ms` to leave. */
void dl_ps_link_close(dl_ps_link **link, int linger_ms);
/* Where it listens, as others would connect to it. */
const char *dl_ps_link_address(const dl_ps_link *link);

/* Waits for a message; false after `timeout_ms`, or when a signal came. */
bool dl_ps_link_wait(dl_ps_link *link, int timeout_ms);
/* The next message that is well-formed, without waiting; false: there is none. Bad ones are dropped and counted. */
bool dl_ps_link_receive(dl_ps_link *link, dl_ps_mail *mail);
void dl_ps_mail_done(dl_ps_mail *mail);
/* Counts a message that was dropped for a reason that the link cannot know. */
void dl_ps_link_fault(dl_ps_link *link, dl_ps_fault fault);
/* Warns of what was dropped since the last time, at most every ten seconds. */
void dl_ps_link_report(dl_ps_link *link, double now_s);
uint64_t dl_ps_link_dropped(const dl_ps_link *link);

/* Sends; `to` is NULL on a link that connects. `payload` may be NULL; its bytes are sent without a copy, and it is
 * empty afterwards in any case. frame->payload_* are filled in, unless payload_crc is known (not 0). False: the peer is
 * not there, or has too much waiting; nothing was sent. */
bool dl_ps_link_send(dl_ps_link *link, const dl_ps_peer *to, const dl_ps_frame *frame, zmq_msg_t *payload);
/* The same with a copy of `bytes` of `data`. */
bool dl_ps_link_send_copy(dl_ps_link *link, const dl_ps_peer *to, const dl_ps_frame *frame, const void *data,
                          size_t bytes);
/* A payload that lies in the caller's memory: `*busy` counts those that ZeroMQ still reads. */
bool dl_ps_payload_borrow(zmq_msg_t *payload, const void *data, size_t bytes, _Atomic int *busy);

/* `count` floats in 16 bits each: a message of its own. */
bool dl_ps_payload_pack(zmq_msg_t *payload, const dl_half *half, const float *values, size_t count);

/* A part as few elements (ps_few.h). */
bool dl_ps_payload_few(zmq_msg_t *payload, const dl_block_ref *blocks, const dl_ps_part *part, const float *values);

/* True for ipc:// and for tcp:// on loopback. */
bool dl_ps_address_is_local(const char *address);
/* The address of server `server` of a group whose first one has `address`: the next ports, or `.N` behind an ipc path.
 * DL_ERR_USAGE where it is no address. */
dl_status dl_ps_address_of(const char *address, int server, char *out, size_t size);

#endif

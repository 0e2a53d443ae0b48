/* ps_frame.h - what travels between workers and parameter servers (floor: comm, private).
 *
 * A message is two parts: a header of DL_PS_HEADER_BYTES, little-endian, and a payload that may be empty. A header is
 * believed only once magic, version, kind, length and checksum are right; a payload only once its length is what the
 * header says and its checksum is right. Nothing in it is an address, a size to allocate, or a name of who sends: who
 * sends is known from the connection.
 *
 *   worker -> server   HELLO        who are you? (answered to anybody who is let in)
 *                      JOIN         configuration's digest and a name; the server answers JOINED or REFUSED
 *                      WANT         work, please (first server)
 *                      PULL         your slice, at `version` or newer
 *                      PUSH         the sum of a unit's gradients over your slice, or a part of it; when all of it is
 *                                   there, to the first server also: more work
 *                      DONE         all servers have this unit (first server, where there are several)
 *                      BYE          I leave: my units are free
 *                      SHARE        the ticket of memory that this host shares (ps_share.h); status 1: cannot use the
 *                                   server's
 *   server -> worker   WELCOME      shards, servers and their addresses
 *                      GRANT        a unit of work, and the slice where the worker has an older one
 *                      WEIGHTS      a slice, or a part of it
 *                      TAKEN        a push has arrived (servers that are not the first)
 *                      STALE        that unit is no longer wanted
 *                      SHARED       status 1: the worker's memory can be read here; the payload is the server's ticket,
 *                                   or empty
 *                      PING         nothing: shows whether the worker is there
 *                      END          no more work, and why: the worker says BYE, and hears it again until then
 *   server -> server   CLOSE        the step is complete, or given up (flag); the payload is the job's secret
 */
#ifndef DL_COMM_PS_FRAME_H
#define DL_COMM_PS_FRAME_H

#include "core/group.h"
#include "core/status.h"
#include "core/tree.h"

#define DL_PS_HEADER_BYTES 184
#define DL_PS_VERSION 3

typedef enum dl_ps_kind {
  DL_PS_HELLO = 1,
  DL_PS_JOIN,
  DL_PS_WANT,
  DL_PS_PULL,
  DL_PS_PUSH,
  DL_PS_DONE,
  DL_PS_BYE,
  DL_PS_WELCOME,
  DL_PS_JOINED,
  DL_PS_REFUSED,
  DL_PS_GRANT,
  DL_PS_WEIGHTS,
  DL_PS_TAKEN,
  DL_PS_STALE,
  DL_PS_PING,
  DL_PS_END,
  DL_PS_CLOSE,
  DL_PS_SHARE,
  DL_PS_SHARED,
  DL_PS_KINDS
} dl_ps_kind;

/* In the status of WANT, PULL, PUSH and DONE: how the slice may be given; PULL also: an answer is all that is asked. */
#define DL_PS_VIEW 1  /* as DL_PS_IN_MEMORY */
#define DL_PS_PARTS 2 /* as DL_PS_IN_PARTS */
#define DL_PS_ECHO 4

/* How a slice travels. */
typedef enum dl_ps_form {
  DL_PS_FLOATS,    /* as the payload; of length 0: there is none */
  DL_PS_HALVES,    /* the same in the 16 bits of sync.compress */
  DL_PS_IN_MEMORY, /* no payload: it lies where sender and receiver both see it (ps_share.h) */
  DL_PS_FEW,       /* blocks of which few elements are left (core/sparse.h), one after another */
  DL_PS_IN_PARTS,  /* no payload: it follows in parts (ps_parts.h), WEIGHTS with this frame's sequence and version */
  DL_PS_FORMS
} dl_ps_form;

typedef struct dl_ps_frame {
  int kind;                  /* dl_ps_kind */
  uint64_t job;              /* which training: 0 in HELLO */
  uint64_t life;             /* which life of the servers: 0 until WELCOME */
  uint64_t sequence;         /* of the worker's request; the answer repeats it */
  int64_t step;              /* steps done before the one meant */
  int64_t version;           /* of weights: that the payload has, or that the sender has; JOIN: the incarnation;
                                TAKEN: a receipt (ps_receipt.h) */
  dl_tree_node node;         /* the unit: a node of the step's tree */
  int64_t samples;           /* of the step's batch */
  int32_t status;            /* a dl_status, or a flag of the kind's own; GRANT: the push that asked is in */
  int32_t form;              /* dl_ps_form */
  int32_t part, parts;       /* PUSH, WEIGHTS: which part of the slice, of how many; 0, 0: all of it */
  uint64_t taken;            /* answers: the sequence of the last push from this worker that was looked at;
                                DONE: the servers' receipts, one laid over the other */
  double sums[DL_LEAF_SUMS]; /* of the unit's leaves */
  uint64_t payload_bytes;
  uint32_t payload_crc;
} dl_ps_frame;

/* Why a message was dropped; counted by reason. */
typedef enum dl_ps_fault {
  DL_PS_FINE,
  DL_PS_BAD_PARTS, /* not two parts, or a header of another length */
  DL_PS_BAD_MAGIC,
  DL_PS_BAD_VERSION,
  DL_PS_BAD_KIND,
  DL_PS_BAD_HEADER, /* checksum, or a value out of any range */
  DL_PS_BAD_LENGTH, /* of the payload */
  DL_PS_BAD_CRC,
  DL_PS_BAD_JOB,   /* of another job or another life of the servers */
  DL_PS_BAD_PEER,  /* has not joined, or is not who may say this */
  DL_PS_BAD_PLACE, /* a unit, step or length that is not asked for */
  DL_PS_BAD_DONE,  /* a unit that is said to be done, and is not at all servers */
  DL_PS_FAULTS
} dl_ps_fault;
extern const char *const dl_ps_fault_names[DL_PS_FAULTS];

/* Writes a header; payload_bytes and payload_crc are taken as they stand. */
void dl_ps_frame_write(const dl_ps_frame *frame, unsigned char out[DL_PS_HEADER_BYTES]);

/* Reads a header of `bytes` bytes and checks its payload; `out` is set on DL_PS_FINE alone. No byte beyond `bytes` and
 * `payload_bytes` is read. */
dl_ps_fault dl_ps_frame_read(const void *header, size_t bytes, const void *payload, size_t payload_bytes,
                             dl_ps_frame *out);

#endif

/* wire_flow.h - messages that travel while the members compute (floor: comm).
 *
 * A flow is a set of messages between processes, posted one by one and driven by whoever calls dl_flow_turn, with the
 * wire's lock held. Nothing here waits. A process has at most one flow at a time.
 */
#ifndef DL_COMM_WIRE_FLOW_H
#define DL_COMM_WIRE_FLOW_H

#include "comm/wire.h"

typedef struct dl_flow dl_flow;

/* A message has gone or come; `id` is what it was posted with, 0 or above; `bytes` of one that has come are those that
 * it had. A failure ends the turn in which it happens. */
typedef dl_status (*dl_flow_done)(void *context, int id, size_t bytes);

/* `room` messages may be on their way at once, which take so many bytes. */
size_t dl_flow_bytes(size_t room);
dl_status dl_flow_new(dl_wire *wire, int room, dl_flow_done done, void *context, dl_flow **out);
void dl_flow_destroy(dl_flow **flow); /* what is still on its way is given up */

/* Buffers stay as they are until the message is done. `id` below 0: nobody is told. At most 1 GiB; what comes may be
 * shorter than its buffer. Messages of one tag between two processes arrive in the order of posting. */
dl_status dl_flow_send(dl_flow *flow, const void *data, size_t bytes, int process, int tag, int id);
dl_status dl_flow_receive(dl_flow *flow, void *data, size_t bytes, int process, int tag, int id);

/* Lets messages move and reports those that are done. */
dl_status dl_flow_turn(dl_flow *flow);
int dl_flow_pending(const dl_flow *flow);

#endif

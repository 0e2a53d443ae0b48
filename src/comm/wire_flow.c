/* Requests in an array without holes: what is done is replaced by the last. */
#include "comm/wire_flow.h"

#include <stdlib.h>

#include "comm/wire_private.h"
#include "core/mem.h"

struct dl_flow {
  dl_wire *wire;
  dl_flow_done done;
  void *context;
  int pending, room;
  MPI_Request *requests;
  int *ids;
  int *completed; /* of one turn */
  MPI_Status *statuses;
};

size_t dl_flow_bytes(size_t room) { return room * (sizeof(MPI_Request) + 2 * sizeof(int) + sizeof(MPI_Status)); }

dl_status dl_flow_new(dl_wire *wire, int room, dl_flow_done done, void *context, dl_flow **out) {
  dl_flow *flow = dl_calloc(1, sizeof *flow);
  *out = flow;
  if (!flow) return DL_ERR_NOMEM;
  *flow = (dl_flow){.wire = wire, .done = done, .context = context, .room = room};
  flow->requests = dl_calloc((size_t)room, sizeof *flow->requests);
  flow->ids = dl_calloc((size_t)room, sizeof *flow->ids);
  flow->completed = dl_calloc((size_t)room, sizeof *flow->completed);
  flow->statuses = dl_calloc((size_t)room, sizeof *flow->statuses);
  if (flow->requests && flow->ids && flow->completed && flow->statuses) return DL_OK;
  dl_flow_destroy(out);
  return DL_ERR_NOMEM;
}

void dl_flow_destroy(dl_flow **flow) {
  dl_flow *f = *flow;
  if (!f) return;
  for (int i = 0; i < f->pending; i++) {
    MPI_Cancel(&f->requests[i]);
    MPI_Request_free(&f->requests[i]);
  }
  free(f->requests);
  free(f->ids);
  free(f->completed);
  free(f->statuses);
  free(f);
  *flow = NULL;
}

static dl_status posted(dl_flow *flow, int code, const char *call, int id) {
  DL_TRY(dl_wire_check(code, call));
  flow->ids[flow->pending++] = id;
  return DL_OK;
}

static dl_status check_room(const dl_flow *flow) {
  if (flow->pending < flow->room) return DL_OK;
  return dl_fail(DL_ERR_INTERNAL, "a flow has no room for message %d", flow->pending + 1);
}

dl_status dl_flow_send(dl_flow *flow, const void *data, size_t bytes, int process, int tag, int id) {
  DL_TRY(check_room(flow));
  dl_wire_count(flow->wire, process, bytes);
  return posted(flow,
                MPI_Isend(data, (int)bytes, MPI_BYTE, process, tag, flow->wire->flows, &flow->requests[flow->pending]),
                "MPI_Isend", id);
}

dl_status dl_flow_receive(dl_flow *flow, void *data, size_t bytes, int process, int tag, int id) {
  DL_TRY(check_room(flow));
  return posted(flow,
                MPI_Irecv(data, (int)bytes, MPI_BYTE, process, tag, flow->wire->flows, &flow->requests[flow->pending]),
                "MPI_Irecv", id);
}

static dl_status tell(dl_flow *flow, int id, const MPI_Status *status) {
  int bytes = 0;
  if (id < 0) return DL_OK;
  DL_TRY(dl_wire_check(MPI_Get_count(status, MPI_BYTE, &bytes), "MPI_Get_count"));
  return flow->done(flow->context, id, bytes > 0 ? (size_t)bytes : 0);
}

dl_status dl_flow_turn(dl_flow *flow) {
  int done = 0;
  if (!flow->pending) return DL_OK;
  DL_TRY(dl_wire_check(MPI_Testsome(flow->pending, flow->requests, &done, flow->completed, flow->statuses),
                       "MPI_Testsome"));
  if (done == MPI_UNDEFINED) done = 0;
  dl_status status = DL_OK;
  for (int i = 0; i < done && status == DL_OK; i++)
    status = tell(flow, flow->ids[flow->completed[i]], &flow->statuses[i]);
  int kept = 0;
  for (int i = 0; done && i < flow->pending; i++) {
    if (flow->requests[i] == MPI_REQUEST_NULL) continue;
    flow->requests[kept] = flow->requests[i];
    flow->ids[kept++] = flow->ids[i];
  }
  if (done) flow->pending = kept;
  return status;
}

int dl_flow_pending(const dl_flow *flow) { return flow->pending; }

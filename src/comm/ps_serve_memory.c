/* A worker that shares this host says so once after it joined. Its object holds the whole gradient, as its only
 * content, and is read in place when a push comes; the weights are put into an object of the server's own, a few
 * versions of them, from which workers take their copies side by side. */
#include <stdlib.h>

#include "comm/ps_private.h"

dl_status dl_ps_serve_share(dl_sync *sync, dl_ps_client *worker, const dl_ps_mail *mail) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  unsigned char ticket[DL_PS_TICKET_BYTES];
  size_t bytes = 0;
  if (!worker->shared)
    worker->memory = dl_ps_share_open(zmq_msg_data((zmq_msg_t *)(uintptr_t)&mail->payload), mail->frame.payload_bytes,
                                      sync->group->count * sizeof(float));
  worker->shared = true; /* once: to open objects is work */
  if (worker->memory && !serve->memory) serve->memory = dl_ps_share_new(DL_PS_VIEWS * dl_ps_slice(own) * sizeof(float));
  if (worker->memory && serve->memory) {
    dl_ps_share_ticket(serve->memory, ticket);
    bytes = sizeof ticket;
  }
  dl_ps_frame answer = {.kind = DL_PS_SHARED,
                        .job = own->job,
                        .life = own->life,
                        .sequence = mail->frame.sequence,
                        .version = serve->version,
                        .status = worker->memory != NULL};
  dl_ps_link_send_copy(own->link, &worker->peer, &answer, ticket, bytes);
  return DL_OK;
}

const float *dl_ps_serve_sums(const dl_ps *own, const dl_ps_client *worker) {
  return worker && worker->memory ? (const float *)dl_ps_share_data(worker->memory) + own->begin : NULL;
}

void dl_ps_serve_view(const dl_sync *sync) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_share_write_view(own->serve->memory, own->serve->version, sync->weights + own->begin,
                         dl_ps_slice(own) * sizeof(float));
}

bool dl_ps_serve_own(dl_ps *own, const dl_ps_client *worker) { return dl_ps_collect_own(&own->collect, worker); }

float *dl_ps_serve_begin_view(const dl_sync *sync) {
  const dl_ps_serve *serve = dl_ps_of(sync)->serve;
  return serve && serve->memory ? dl_ps_share_begin_view(serve->memory, serve->version + 1) : NULL;
}

void dl_ps_serve_end_view(const dl_sync *sync) {
  const dl_ps_serve *serve = dl_ps_of(sync)->serve;
  if (serve->memory) dl_ps_share_end_view(serve->memory, serve->version);
}

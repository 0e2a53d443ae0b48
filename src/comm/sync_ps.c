/* Parameter servers: some members own a slice of the weights and of the optimizer's state; sums of gradients come to
 * them and weights go from them over ZeroMQ.
 *
 * Within a team the members know from the cut which nodes of the tree everybody has. A member hands its nodes to
 * ZeroMQ, which sends them from where they lie while it meets the others for the headers; a server adds nodes as they
 * come (ps_collect), and the step's phases (norms; norms of tensors) bring the team together, as with any synchroniser.
 * On one node the sockets are files in a folder of the server's own that is gone as soon as all are connected; between
 * nodes they are TCP with keys made for this job, which the members tell each other.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/ps_private.h"
#include "core/clock.h"
#include "core/log.h"

#define ADDRESS_BYTES 128
#define WAIT_MS 200
#define LINGER_MS 2000

typedef struct contact {
  char address[ADDRESS_BYTES], key[DL_PS_KEY_TEXT];
} contact;

/* ---- slices and memory ---- */

static void *keep(dl_sync *sync, size_t count, size_t size) {
  void *p = dl_calloc_aligned(count, size);
  if (p) sync->member_bytes += count * size;
  return p;
}

static dl_status find_slices(dl_sync *sync, dl_ps *own) {
  int size = sync->team->size;
  own->servers = own->options.servers ? own->options.servers : size;
  own->first_server = size - own->servers;
  own->server = sync->team->rank < own->first_server ? -1 : sync->team->rank - own->first_server;
  own->offsets = keep(sync, (size_t)own->servers + 1, sizeof *own->offsets);
  own->blocks = keep(sync, (size_t)own->servers + 1, sizeof *own->blocks);
  if (!own->offsets || !own->blocks) return DL_ERR_NOMEM;
  for (int s = 0; s <= own->servers; s++) {
    own->blocks[s] = dl_group_slice_begin(sync->group, s, own->servers);
    own->offsets[s] = dl_sync_block_offset(sync, own->blocks[s]);
    if (s && own->blocks[s] - own->blocks[s - 1] > own->widest) own->widest = own->blocks[s] - own->blocks[s - 1];
  }
  if (own->server < 0) return DL_OK;
  own->begin = own->offsets[own->server];
  own->end = own->offsets[own->server + 1];
  sync->first_block = own->blocks[own->server];
  sync->end_block = own->blocks[own->server + 1];
  return DL_OK;
}

static bool place_gradients(dl_sync *sync, dl_ps *own) {
  const size_t floats = sync->group->count * (size_t)sync->slots;
  if (own->sums.base)
    sync->gradients = (float *)own->sums.base + (size_t)sync->team->rank * floats;
  else if (sync->workers)
    sync->gradients = keep(sync, floats, sizeof(float));
  return sync->gradients || !sync->workers;
}

static dl_status allocate(dl_sync *sync, dl_ps *own) {
  const bool serves = own->options.role == DL_PS_SERVE;
  size_t size = (size_t)sync->team->size, count = sync->group->count, k = (size_t)sync->group->n_slots;
  size_t doubles = sync->group->measure ? sizeof(dl_tensor_sums) : sizeof(double), slice = dl_ps_slice(own);
  bool whole = own->server >= 0 && sync->options.norm_first && (!serves || !dl_ps_serve_is_async(sync));
  bool all = place_gradients(sync, own);
  sync->block_sumsq = keep(sync, (size_t)sync->n_blocks, sizeof(double));
  sync->headers = keep(sync, size, sync->header_bytes);
  own->header = keep(sync, 1, sync->header_bytes);
  own->state = keep(sync, slice * k, sizeof(float));
  if (whole) own->means = keep(sync, count, sizeof(float));
  if (sync->group->measure) sync->block_sums = keep(sync, (size_t)sync->n_blocks, sizeof *sync->block_sums);
  own->send = keep(sync, (size_t)own->widest, doubles);
  own->all = keep(sync, (size_t)own->widest * size, doubles);
  own->messages = keep(sync, 2 * size, sizeof *own->messages);
  own->out = keep(sync, (size_t)own->servers, sizeof(dl_ps_link *));
  all = all && sync->block_sumsq && sync->headers && own->header && own->state && (own->means || !whole) &&
        (sync->block_sums || !sync->group->measure) && own->send && own->all && own->messages && own->out;
  if (!all) return DL_ERR_NOMEM;
  sync->state_begin = own->begin;
  for (size_t i = 0; i < k; i++) sync->state[i] = own->state + i * slice;
  return DL_OK;
}

/* Members of one node share the weights, and what is summed: then the step is a pass over memory by who serves, and
 * nothing travels. Else every member that computes pulls its own. */
static dl_status share_memory(dl_sync *sync, dl_ps *own) {
  dl_team *team = sync->team;
  const size_t bytes = sync->group->count * sizeof(float);
  const bool serve = own->options.role == DL_PS_SERVE;
  if (team->nodes > 1 || (!serve && sync->options.transport == DL_TRANSPORT_MPI)) return DL_OK;
  if (team->ops->shared_new(team, bytes, "weights", &own->shared) != DL_OK) return DL_OK;
  sync->node_bytes = own->shared.bytes;
  if (serve) return DL_OK;
  size_t all = bytes * (size_t)sync->slots * (size_t)team->size;
  if (team->ops->shared_new(team, all, "gradients", &own->sums) == DL_OK) {
    sync->node_bytes += own->sums.bytes;
    return DL_OK;
  }
  team->ops->shared_destroy(team, &own->shared);
  sync->node_bytes = 0;
  if (team->rank == 0)
    dl_warn("shared_memory", "%s; gradients go as messages, which is slower", dl_error_last()->message);
  return DL_OK;
}

static dl_status place_weights(dl_sync *sync, dl_ps *own) {
  if (!own->shared.base) own->private_weights = keep(sync, sync->group->count, sizeof(float));
  sync->weights = own->shared.base ? own->shared.base : own->private_weights;
  return dl_team_agree(sync->team, sync->weights ? DL_OK : DL_ERR_NOMEM);
}

/* ---- connections within a team ---- */

static size_t widest_bytes(const dl_ps *own) {
  size_t most = 0;
  for (int s = 0; s < own->servers; s++)
    if (own->offsets[s + 1] - own->offsets[s] > most) most = own->offsets[s + 1] - own->offsets[s];
  return most * sizeof(float);
}

static dl_status open_folder(dl_ps *own, char *address, size_t size) {
  const char *place = getenv("TMPDIR");
  if (!place || !*place || strlen(place) > 60) place = "/tmp";
  own->folder = dl_asprintf("%s/dldist-ps-XXXXXX", place);
  if (!own->folder) return DL_ERR_NOMEM;
  if (!mkdtemp(own->folder)) {
    free(own->folder);
    own->folder = NULL;
    return dl_fail(DL_ERR_SYSTEM, "no folder for a socket can be made in %s", place);
  }
  snprintf(address, size, "ipc://%s/s", own->folder);
  return DL_OK;
}

static void close_folder(dl_ps *own) {
  if (!own->folder) return;
  char *path = dl_asprintf("%s/s", own->folder);
  if (path) unlink(path);
  rmdir(own->folder);
  free(path);
  free(own->folder);
  own->folder = NULL;
}

static dl_status listen_to(dl_sync *sync, dl_ps *own, const dl_ps_keys *keys, const dl_ps_allowed *allowed,
                           contact *mine) {
  char address[ADDRESS_BYTES] = "tcp://*:*";
  if (own->server < 0) return DL_OK;
  if (!keys) DL_TRY(open_folder(own, address, sizeof address));
  dl_ps_link_options options = {.address = address, .keys = keys, .allowed = allowed, .max_bytes = widest_bytes(own)};
  DL_TRY(dl_ps_link_listen(&options, &own->link));
  const char *bound = dl_ps_link_address(own->link), *port = strrchr(bound, ':');
  if (keys && port)
    snprintf(mine->address, sizeof mine->address, "tcp://%s%s", sync->team->host, port);
  else
    snprintf(mine->address, sizeof mine->address, "%s", bound);
  return DL_OK;
}

static dl_status connect_all(const dl_sync *sync, dl_ps *own, const dl_ps_keys *keys, const contact *all) {
  char name[16];
  snprintf(name, sizeof name, "m%d", sync->team->rank);
  for (int s = 0; s < own->servers; s++) {
    if (s == own->server) continue;
    const contact *server = &all[own->first_server + s];
    dl_ps_link_options options = {.address = server->address,
                                  .keys = keys,
                                  .server_key = server->key,
                                  .name = name,
                                  .max_bytes = widest_bytes(own)};
    DL_TRY(dl_ps_link_connect(&options, &own->out[s]));
    dl_ps_frame hello = {.kind = DL_PS_HELLO, .job = own->job, .life = own->life};
    dl_ps_link_send(own->out[s], NULL, &hello, NULL);
  }
  return DL_OK;
}

static dl_status fail_late(const dl_sync *sync, const char *whom, const char *what) {
  dl_fail(DL_ERR_TRAIN, "waited %.0f s for %s at step %lld (%s)", sync->team->timeout_s, whom, (long long)sync->step,
          what);
  return dl_hint("a rank may be gone or slow; sync.timeout says how long is waited");
}

/* The next frame of this life of the servers; a wait that is too long is an error that names `what`. */
static dl_status next_mail(const dl_sync *sync, dl_ps_link *link, const char *what, dl_ps_mail *mail) {
  const dl_ps *own = dl_ps_of(sync);
  const double begin = dl_now_s();
  for (;;) {
    while (dl_ps_link_receive(link, mail)) {
      if (mail->frame.job == own->job && mail->frame.life == own->life) return DL_OK;
      dl_ps_link_fault(link, DL_PS_BAD_JOB);
      dl_ps_mail_done(mail);
    }
    if (dl_now_s() - begin > sync->team->timeout_s) return fail_late(sync, "the others", what);
    dl_ps_link_wait(link, WAIT_MS);
  }
}

/* Every server hears from every other member once, so that it can send to all. */
static dl_status hear_all(const dl_sync *sync, const dl_ps *own) {
  dl_ps_mail mail;
  if (own->server < 0) return DL_OK;
  for (int heard = 1; heard < sync->team->size; heard++) {
    DL_TRY(next_mail(sync, own->link, "connecting", &mail));
    dl_ps_mail_done(&mail);
  }
  return DL_OK;
}

static dl_status share_contacts(dl_sync *sync, dl_ps *own, contact *mine, contact *all, dl_ps_keys *keys) {
  dl_team *team = sync->team;
  dl_ps_allowed allowed = {0};
  const bool far = team->nodes > 1;
  dl_status status = far ? dl_ps_keys_new(keys) : DL_OK;
  if (status == DL_OK && far) memcpy(mine->key, keys->public_key, sizeof mine->key);
  DL_TRY(dl_team_agree(team, status));
  DL_TRY(dl_team_allgather(team, mine, sizeof *mine, all));
  if (far) {
    allowed.key = dl_calloc((size_t)team->size, sizeof *allowed.key);
    if (!allowed.key) status = DL_ERR_NOMEM;
    for (; status == DL_OK && allowed.n < team->size; allowed.n++)
      memcpy(allowed.key[allowed.n], all[allowed.n].key, DL_PS_KEY_TEXT);
  }
  if (status == DL_OK) status = listen_to(sync, own, far ? keys : NULL, &allowed, mine);
  dl_ps_allowed_clear(&allowed);
  DL_TRY(dl_team_agree(team, status));
  return dl_team_allgather(team, mine, sizeof *mine, all);
}

static dl_status meet(dl_sync *sync, dl_ps *own) {
  dl_team *team = sync->team;
  contact mine = {0}, *all = dl_calloc((size_t)team->size, sizeof *all);
  dl_ps_keys keys = {0};
  dl_status status = dl_team_agree(team, all ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = share_contacts(sync, own, &mine, all, &keys);
  if (status == DL_OK) status = dl_team_agree(team, connect_all(sync, own, team->nodes > 1 ? &keys : NULL, all));
  if (status == DL_OK) status = dl_team_agree(team, hear_all(sync, own));
  close_folder(own);
  free(all);
  return status;
}

/* ---- life ---- */

static dl_status draw_life(dl_sync *sync, dl_ps *own) {
  dl_status status = DL_OK;
  if (sync->team->rank == 0 && getrandom(&own->life, sizeof own->life, 0) != sizeof own->life)
    status = dl_fail(DL_ERR_SYSTEM, "the system gives no random numbers");
  own->life |= 1; /* not 0 */
  DL_TRY(dl_team_agree(sync->team, status));
  return dl_team_broadcast(sync->team, &own->life, sizeof own->life, 0);
}

static dl_status ps_setup(dl_sync *sync) {
  dl_ps *own = dl_calloc(1, sizeof *own);
  dl_status status = own ? DL_OK : DL_ERR_NOMEM;
  sync->own = own;
  if (own) {
    own->options = *sync->options.ps;
    snprintf(own->digest, sizeof own->digest, "%s", own->options.digest ? own->options.digest : "");
    own->options.digest = own->digest;
    char first[17];
    snprintf(first, sizeof first, "%.16s", own->digest);
    own->job = strtoull(first, NULL, 16);
    status = find_slices(sync, own);
  }
  DL_TRY(dl_team_agree(sync->team, status));
  dl_ps_collect_init(&own->collect, dl_ps_slice(own), dl_ps_sum_release);
  own->collect.keep = dl_ps_sum_keep;
  own->collect.context = own;
  own->collect.half = sync->half;
  DL_TRY(share_memory(sync, own));
  DL_TRY(dl_team_agree(sync->team, allocate(sync, own)));
  DL_TRY(place_weights(sync, own));
  DL_TRY(draw_life(sync, own));
  if (own->options.role == DL_PS_SERVE) return dl_ps_serve_setup(sync);
  return own->sums.base ? DL_OK : meet(sync, own);
}

static void ps_teardown(dl_sync *sync) {
  dl_ps *own = sync->own;
  if (!own) return;
  dl_ps_serve_teardown(sync);
  for (int s = 0; own->out && s < own->servers; s++) dl_ps_link_close(&own->out[s], 0);
  dl_ps_link_close(&own->link, own->options.role == DL_PS_SERVE ? LINGER_MS : 0);
  dl_ps_collect_clear(&own->collect);
  dl_ps_sum_forget(own);
  close_folder(own);
  if (own->sums.base) sync->gradients = NULL;
  if (own->sums.base) sync->team->ops->shared_destroy(sync->team, &own->sums);
  if (own->shared.base) sync->team->ops->shared_destroy(sync->team, &own->shared);
  void *const mine[] = {sync->gradients,
                        sync->block_sumsq,
                        sync->headers,
                        sync->block_sums,
                        own->header,
                        own->state,
                        own->means,
                        own->send,
                        own->all,
                        own->messages,
                        own->out,
                        own->offsets,
                        own->blocks,
                        own->private_weights,
                        own};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  sync->own = NULL;
}

/* ---- a step ---- */

/* What was lent to ZeroMQ has to be back before it is written to. */
static dl_status ps_begin(dl_sync *sync) {
  dl_ps *own = sync->own;
  if (own->options.role == DL_PS_SERVE) return dl_ps_serve_begin(sync);
  const double begin = dl_now_s();
  while (atomic_load_explicit(&own->busy, memory_order_acquire)) {
    if (dl_now_s() - begin > sync->team->timeout_s) return fail_late(sync, "a server", "sending gradients");
    usleep(20);
  }
  dl_ps_collect_begin(&own->collect, sync->cut.leaves);
  return DL_OK;
}

static dl_header *ps_header(dl_sync *sync) { return dl_ps_of(sync)->header; }

/* This member's node in `slot`, to server `s`. */
static dl_status push_node(dl_sync *sync, int s, int slot, dl_tree_node node) {
  dl_ps *own = sync->own;
  float *values = sync->gradients + (size_t)slot * sync->group->count + own->offsets[s];
  if (s == own->server) {
    dl_ps_sum sum = {.node = node, .values = values};
    if (dl_ps_collect_add(&own->collect, &sum) == DL_PS_ADDED) return DL_OK;
    return dl_fail(DL_ERR_INTERNAL, "a node of this member does not fit the tree");
  }
  zmq_msg_t payload;
  dl_ps_frame frame = {.kind = DL_PS_PUSH, .job = own->job, .life = own->life, .step = sync->step, .node = node};
  size_t bytes = (own->offsets[s + 1] - own->offsets[s]) * sizeof(float);
  if (sync->half) frame.form = DL_PS_HALVES;
  bool made = sync->half ? dl_ps_payload_pack(&payload, sync->half, values, bytes / sizeof *values)
                         : dl_ps_payload_borrow(&payload, values, bytes, &own->busy);
  if (made && dl_ps_link_send(own->out[s], NULL, &frame, &payload)) return DL_OK;
  return dl_fail(DL_ERR_SYSTEM, "gradients could not be sent to server %d", s);
}

static dl_status push_all(dl_sync *sync) {
  const dl_ps *own = sync->own;
  for (int k = 0; k < sync->stack.depth && !own->sums.base; k++)
    for (int s = 0; s < own->servers; s++) DL_TRY(push_node(sync, s, k, sync->stack.node[k]));
  return DL_OK;
}

static dl_status ps_publish(dl_sync *sync) {
  dl_ps *own = sync->own;
  if (own->options.role == DL_PS_SERVE) {
    DL_TRY(dl_team_agree(sync->team, dl_ps_serve_step(sync)));
  } else if (own->header->status == DL_OK) {
    own->pushed = push_all(sync); /* what went wrong is told with the sums */
  }
  return dl_team_allgather(sync->team, own->header, sync->header_bytes, sync->headers);
}

/* Until all nodes of the slice are there. */
static dl_status collect(dl_sync *sync) {
  dl_ps *own = sync->own;
  dl_ps_mail mail;
  dl_ps_sum sum;
  while (own->server >= 0 && !own->sums.base && dl_ps_collect_missing(&own->collect)) {
    DL_TRY(next_mail(sync, own->link, "gradients", &mail));
    bool fits =
        mail.frame.kind == DL_PS_PUSH && mail.frame.step == sync->step && dl_ps_take_sum(own, &mail, NULL, &sum);
    if (fits && dl_ps_collect_add(&own->collect, &sum) != DL_PS_ADDED) {
      dl_ps_sum_release(sum.owner);
      fits = false;
    }
    if (!fits) dl_ps_link_fault(own->link, DL_PS_BAD_PLACE);
    dl_ps_mail_done(&mail);
  }
  return DL_OK;
}

static dl_status send_weights(dl_sync *sync) {
  dl_ps *own = sync->own;
  if (own->server < 0) return DL_OK;
  zmq_msg_t whole, part;
  size_t bytes = dl_ps_slice(own) * sizeof(float);
  if (zmq_msg_init_size(&whole, bytes)) return dl_fail(DL_ERR_NOMEM, "no memory for a message of %zu bytes", bytes);
  if (bytes) memcpy(zmq_msg_data(&whole), sync->weights + own->begin, bytes);
  dl_ps_frame frame = {.kind = DL_PS_WEIGHTS, .job = own->job, .life = own->life, .step = sync->step};
  dl_status status = DL_OK;
  for (int r = 0; status == DL_OK && r < sync->team->size; r++) {
    if (r == sync->team->rank) continue;
    dl_ps_peer to = {0};
    to.n = (uint8_t)snprintf((char *)to.id, sizeof to.id, "m%d", r);
    zmq_msg_init(&part);
    zmq_msg_copy(&part, &whole); /* one copy of the bytes for all */
    if (!dl_ps_link_send(own->link, &to, &frame, &part))
      status = dl_fail(DL_ERR_TRAIN, "rank %d is not there to receive weights", r);
  }
  zmq_msg_close(&whole);
  return status;
}

static dl_status receive_weights(dl_sync *sync) {
  dl_ps *own = sync->own;
  dl_ps_mail mail;
  for (int s = 0; s < own->servers; s++) {
    if (s == own->server) continue;
    size_t bytes = (own->offsets[s + 1] - own->offsets[s]) * sizeof(float);
    for (bool got = false; !got; dl_ps_mail_done(&mail)) {
      DL_TRY(next_mail(sync, own->out[s], "weights", &mail));
      got = mail.frame.kind == DL_PS_WEIGHTS && mail.frame.step == sync->step && mail.frame.payload_bytes == bytes;
      if (got && bytes) memcpy(sync->weights + own->offsets[s], zmq_msg_data(&mail.payload), bytes);
    }
  }
  return DL_OK;
}

/* Where they do not share their weights, each server gets the others' slices. */
static dl_status exchange_weights(dl_sync *sync) {
  dl_ps *own = sync->own;
  int n = 0, size = sync->team->size;
  if (own->shared.base) return dl_team_barrier(sync->team, "weights");
  dl_message *sends = own->messages, *receives = own->messages + size;
  for (int r = 0; r < size; r++) {
    if (r == sync->team->rank) continue;
    sends[n] = (dl_message){r, 0, sync->weights + own->begin, dl_ps_slice(own) * sizeof(float)};
    receives[n++] =
        (dl_message){r, 0, sync->weights + own->offsets[r], (own->offsets[r + 1] - own->offsets[r]) * sizeof(float)};
  }
  return sync->team->ops->exchange(sync->team, sends, n, receives, n);
}

/* Pushes were applied as they came: what is left is to know how that went everywhere. */
static dl_status conclude_async(dl_sync *sync, dl_sync_result *result) {
  if (!dl_ps_serve_finite(sync) && sync->first_block < sync->end_block)
    sync->block_sumsq[sync->first_block] = (double)NAN;
  DL_TRY(dl_ps_gather_blocks(sync, sync->block_sumsq, 1));
  result->grad_norm = dl_sync_norm(sync);
  result->finite = isfinite(result->grad_norm);
  return DL_OK;
}

static dl_status ps_reduce(dl_sync *sync, float factor, double clip_norm, dl_sync_result *result) {
  dl_ps *own = sync->own;
  if (own->options.role == DL_PS_SERVE && dl_ps_serve_is_async(sync)) {
    DL_TRY(conclude_async(sync, result));
    return exchange_weights(sync);
  }
  if (own->options.role == DL_PS_TEAM && !own->sums.base) {
    dl_status status = own->pushed == DL_OK ? collect(sync) : own->pushed;
    DL_TRY(dl_team_agree(sync->team, status));
  }
  DL_TRY(dl_ps_apply(sync, factor, clip_norm, result));
  if (sync->options.norm_first && !result->finite) return DL_OK;
  if (own->options.role == DL_PS_SERVE) dl_ps_serve_applied(sync);
  if (own->options.role == DL_PS_SERVE || own->sums.base) return exchange_weights(sync);
  dl_status status = send_weights(sync);
  return dl_team_agree(sync->team, status == DL_OK ? receive_weights(sync) : status);
}

/* ---- whole buffers in and out ---- */

static dl_status set_weights(dl_sync *sync, const float *values, int root) {
  const dl_ps *own = sync->own;
  size_t bytes = sync->group->count * sizeof *values;
  DL_TRY(dl_team_barrier(sync->team, "set weights"));
  if (sync->team->rank == root) memcpy(sync->weights, values, bytes);
  return own->shared.base ? dl_team_barrier(sync->team, "set weights")
                          : dl_team_broadcast(sync->team, sync->weights, bytes, root);
}

static size_t slice_of(const dl_ps *own, int rank, size_t *begin) {
  int s = rank - own->first_server;
  *begin = s < 0 ? 0 : own->offsets[s];
  return s < 0 ? 0 : own->offsets[s + 1] - own->offsets[s];
}

static dl_status ps_set(dl_sync *sync, int slot, const float *values, int root) {
  dl_ps *own = sync->own;
  bool is_root = sync->team->rank == root;
  if (slot < 0) return set_weights(sync, values, root);
  int n = 0;
  size_t begin, slice = dl_ps_slice(own);
  for (int r = 0; is_root && r < sync->team->size; r++) {
    size_t floats = slice_of(own, r, &begin);
    if (r == root || !floats) continue;
    own->messages[n++] = (dl_message){r, 0, (void *)(uintptr_t)(values + begin), floats * sizeof(float)};
  }
  if (is_root && slice) memcpy(sync->state[slot], values + own->begin, slice * sizeof *values);
  dl_message receive = {root, 0, sync->state[slot], slice * sizeof *values};
  return sync->team->ops->exchange(sync->team, own->messages, n, &receive, !is_root && slice);
}

static dl_status ps_get(dl_sync *sync, int slot, float *values, int root) {
  dl_ps *own = sync->own;
  bool is_root = sync->team->rank == root;
  size_t count = sync->group->count, begin, slice = dl_ps_slice(own);
  if (slot < 0) {
    if (is_root) memcpy(values, sync->weights, count * sizeof *values);
    return dl_team_barrier(sync->team, "get weights");
  }
  int n = 0;
  if (is_root) memset(values, 0, count * sizeof *values);
  for (int r = 0; is_root && r < sync->team->size; r++) {
    size_t floats = slice_of(own, r, &begin);
    if (r == root || !floats) continue;
    own->messages[n++] = (dl_message){r, 0, values + begin, floats * sizeof(float)};
  }
  if (is_root && slice) memcpy(values + own->begin, sync->state[slot], slice * sizeof *values);
  dl_message send = {root, 0, sync->state[slot], slice * sizeof *values};
  return sync->team->ops->exchange(sync->team, &send, !is_root && slice, own->messages, n);
}

static dl_status ps_log(dl_sync *sync, const char *folder, int64_t step, bool anew) {
  return dl_ps_of(sync)->options.role == DL_PS_SERVE ? dl_ps_durable_open(sync, folder, step, anew) : DL_OK;
}

static dl_status ps_saved(dl_sync *sync, int64_t step) {
  return dl_ps_of(sync)->options.role == DL_PS_SERVE ? dl_ps_durable_saved(sync, step) : DL_OK;
}

static void ps_dismiss(dl_sync *sync, dl_status status) {
  if (dl_ps_of(sync)->options.role == DL_PS_SERVE) dl_ps_serve_dismiss(sync, status);
}

static const dl_ps_staleness *ps_staleness(const dl_sync *sync) {
  return dl_ps_of(sync)->options.role == DL_PS_SERVE ? dl_ps_serve_staleness(sync) : NULL;
}

const dl_sync_ops dl_sync_ps_ops = {
    .name = "ps",
    .help =
        "parameter servers own slices of weights and optimizer state; workers push and pull over ZeroMQ (sync.mode: "
        "ps)",
    .setup = ps_setup,
    .teardown = ps_teardown,
    .header = ps_header,
    .publish = ps_publish,
    .reduce = ps_reduce,
    .set = ps_set,
    .get = ps_get,
    .begin = ps_begin,
    .log = ps_log,
    .saved = ps_saved,
    .dismiss = ps_dismiss,
    .staleness = ps_staleness,
};

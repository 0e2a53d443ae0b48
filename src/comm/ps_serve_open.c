/* Servers listen first, each on its own address, and agree that they do; then the first one connects to the others, to
 * tell them when a step is over, and they to it, to tell it that one has failed. What shows that it is a server who
 * speaks is a secret that the team shares. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "comm/ps_private.h"

#define QUEUE 16 /* messages a peer may have waiting, beside the parts of a slice that is sent to it */

/* Where others reach what listens on `address`: `host` stands for "any". */
static void reach(const char *address, const char *host, char *out, size_t size) {
  static const char *const any[] = {"tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:"};
  snprintf(out, size, "%s", address);
  for (size_t i = 0; i < sizeof any / sizeof *any; i++)
    if (!strncmp(address, any[i], strlen(any[i]))) snprintf(out, size, "tcp://%s:%s", host, address + strlen(any[i]));
}

/* Of a slice, however it travels. */
static size_t most_bytes(const dl_sync *sync, const dl_ps *own) {
  const bool few = dl_ps_serve_is_few(sync);
  return (dl_ps_slice(own) + (few ? (size_t)(sync->end_block - sync->first_block) : 0)) * sizeof(float);
}

static dl_status listen_to(const dl_sync *sync, dl_ps *own, const dl_ps_keys *keys, const dl_ps_allowed *allowed) {
  char address[256];
  DL_TRY(dl_ps_address_of(own->options.bind, own->server, address, sizeof address));
  dl_ps_link_options options = {.address = address,
                                .keys = keys,
                                .allowed = allowed,
                                .max_bytes = most_bytes(sync, own),
                                .queue = QUEUE,
                                .parts = own->serve->n_parts};
  return dl_ps_link_listen(&options, &own->link);
}

/* In whole bytes: workers are told, and cut alike. */
static int64_t part_bytes(const dl_sync *sync) { return (int64_t)sync->options.bucket_bytes; }

/* "shards servers bytes", how many bytes a part of a slice has, then a line for each further server: "-" stands for the
 * same host, next ports. */
static dl_status write_welcome(const dl_sync *sync, dl_ps *own, const char *hosts) {
  size_t room = 64 + (size_t)own->servers * 400, used;
  char *text = own->serve->welcome = dl_calloc(room, 1), address[256], far[400];
  if (!text) return DL_ERR_NOMEM;
  used = (size_t)snprintf(text, room, "%lld %d %lld\n", (long long)sync->options.shards, own->servers,
                          (long long)part_bytes(sync));
  for (int s = 1; s < own->servers; s++) {
    const bool near = !strncmp(hosts, hosts + s * 64, 64);
    DL_TRY(dl_ps_address_of(own->options.bind, s, address, sizeof address));
    reach(address, hosts + s * 64, far, sizeof far);
    used += (size_t)snprintf(text + used, room - used, "%s\n", near ? "-" : far);
  }
  return DL_OK;
}

static dl_status connect_others(dl_ps *own, const dl_ps_keys *keys, const char *hosts) {
  dl_ps_serve *serve = own->serve;
  char address[256], far[400];
  serve->others = dl_calloc((size_t)own->servers, sizeof *serve->others);
  if (!serve->others) return DL_ERR_NOMEM;
  for (int s = 0; s < own->servers; s++) {
    const bool near = !strncmp(hosts + own->server * 64, hosts + s * 64, 64);
    if (s == own->server || (s && own->server)) continue;
    DL_TRY(dl_ps_address_of(own->options.bind, s, address, sizeof address));
    reach(address, near ? "127.0.0.1" : hosts + s * 64, far, sizeof far);
    dl_ps_link_options options = {
        .address = far, .keys = keys, .server_key = keys ? keys->public_key : NULL, .max_bytes = 0};
    DL_TRY(dl_ps_link_connect(&options, &serve->others[s]));
  }
  return DL_OK;
}

/* The servers of a group let each other in: they have the same key. */
static dl_status read_keys(const dl_ps *own, dl_ps_keys *keys, dl_ps_allowed *allowed) {
  const dl_ps_options *o = &own->options;
  if (!o->key) return DL_OK;
  DL_TRY(dl_ps_keys_read(o->key, keys));
  if (!o->allow) return DL_OK;
  DL_TRY(dl_ps_allowed_read(o->allow, allowed));
  char(*more)[DL_PS_KEY_TEXT] = dl_reallocarray(allowed->key, (size_t)allowed->n + 1, sizeof *more);
  if (!more) return DL_ERR_NOMEM;
  allowed->key = more;
  memcpy(allowed->key[allowed->n++], keys->public_key, DL_PS_KEY_TEXT);
  return DL_OK;
}

static dl_status open_links(dl_sync *sync, dl_ps *own, const char *hosts) {
  dl_ps_keys keys = {0};
  dl_ps_allowed allowed = {0};
  const bool locked = own->options.key != NULL;
  dl_status status = read_keys(own, &keys, &allowed);
  if (status == DL_OK) status = listen_to(sync, own, locked ? &keys : NULL, &allowed);
  if (status == DL_OK) status = write_welcome(sync, own, hosts);
  status = dl_team_agree(sync->team, status);
  if (status == DL_OK) status = connect_others(own, locked ? &keys : NULL, hosts);
  dl_ps_allowed_clear(&allowed);
  explicit_bzero(&keys, sizeof keys);
  return status;
}

static dl_status check_consistency(const dl_sync *sync, const dl_ps *own) {
  if (!dl_ps_serve_is_async(sync)) return DL_OK;
  if (sync->group->measure) {
    dl_fail(DL_ERR_USAGE, "lars and lamb need the norms of whole tensors, which ssp and asp do not have");
    return dl_hint("set sync.consistency: bsp, or take another optimizer");
  }
  if (own->servers > 1 && sync->options.norm_first) {
    dl_fail(DL_ERR_USAGE, "train.clip_norm needs the norm over all servers, which ssp and asp do not have");
    return dl_hint("set sync.consistency: bsp, or serve with one server (-j 1)");
  }
  return DL_OK;
}

dl_status dl_ps_serve_setup(dl_sync *sync) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve = dl_calloc(1, sizeof *serve);
  char *hosts = dl_calloc((size_t)sync->team->size, 64);
  dl_status status = serve && hosts ? DL_OK : DL_ERR_NOMEM;
  if (serve) {
    serve->whole = (dl_ps_part){sync->first_block, sync->end_block, own->begin, own->end};
    serve->workers = dl_calloc(DL_PS_MAX_WORKERS, sizeof *serve->workers);
    if (!serve->workers) status = DL_ERR_NOMEM;
  }
  if (status == DL_OK)
    status = dl_ps_parts_cut(sync->group, sync->blocks, sync->n_blocks, sync->first_block, sync->end_block,
                             (double)part_bytes(sync), &serve->parts, &serve->n_parts);
  if (status == DL_OK) status = check_consistency(sync, own);
  if (status == DL_OK && getrandom(serve->secret, sizeof serve->secret, 0) != sizeof serve->secret)
    status = dl_fail(DL_ERR_SYSTEM, "the system gives no random numbers");
  status = dl_team_agree(sync->team, status);
  if (status == DL_OK) status = dl_team_broadcast(sync->team, serve->secret, sizeof serve->secret, 0);
  if (status == DL_OK) status = dl_team_allgather(sync->team, sync->team->host, sizeof sync->team->host, hosts);
  if (status == DL_OK) status = dl_team_agree(sync->team, open_links(sync, own, hosts));
  free(hosts);
  return status;
}

void dl_ps_serve_teardown(dl_sync *sync) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  if (!serve) return;
  for (int s = 0; serve->others && s < own->servers; s++) dl_ps_link_close(&serve->others[s], 0);
  dl_ps_serve_forget_weights(serve);
  dl_ps_units_clear(&serve->units);
  for (int i = 0; serve->workers && i < serve->n; i++) {
    dl_ps_share_close(&serve->workers[i].memory);
    dl_ps_gather_drop(&serve->workers[i].gather);
  }
  const dl_ps_share *memory = serve->memory;
  dl_ps_share_close(&memory);
  free(serve->others);
  free(serve->workers);
  free(serve->welcome);
  free(serve->seen);
  free(serve->parts);
  free(serve->words);
  dl_ps_durable_close(serve);
  free(serve);
  own->serve = NULL;
}

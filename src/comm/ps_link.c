/* Sockets, and what is let in through them: a message is looked at only once its parts, lengths and checksums are
 * right. */
#include "comm/ps_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "comm/ps_crc.h"
#include "comm/ps_door.h"
#include "comm/ps_few.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"

#define HANDSHAKE_MS 5000
#define REPORT_S 10
#define MIN_BYTES 65536 /* texts of the protocol are below this */
#define SEAL_BYTES 256  /* what encryption adds to a message, and more */

struct dl_ps_link {
  void *context, *socket;
  dl_ps_door *door; /* NULL: open, or connecting */
  bool listens;
  char address[256];
  uint64_t faults[DL_PS_FAULTS], reported;
  double reported_s;
};

/* ---- addresses ---- */

bool dl_ps_address_is_local(const char *address) {
  static const char *const local[] = {"ipc://", "tcp://127.", "tcp://localhost:", "tcp://[::1]:"};
  for (size_t i = 0; i < sizeof local / sizeof *local; i++)
    if (!strncmp(address, local[i], strlen(local[i]))) return true;
  return false;
}

dl_status dl_ps_address_of(const char *address, int server, char *out, size_t size) {
  const char *colon = strrchr(address, ':');
  char *end = NULL;
  if (!strncmp(address, "ipc://", 6) && address[6]) {
    int n = server ? snprintf(out, size, "%s.%d", address, server) : snprintf(out, size, "%s", address);
    if (n > 0 && (size_t)n < size && n < 100) return DL_OK;
  } else if (!strncmp(address, "tcp://", 6) && colon > address + 6) {
    long port = strtol(colon + 1, &end, 10);
    if (end != colon + 1 && !*end && port > 0 && port + server < 65536 && strlen(address) + 6 < size) {
      snprintf(out, size, "%.*s:%ld", (int)(colon - address), address, port + server);
      return DL_OK;
    }
  }
  dl_fail(DL_ERR_USAGE, "'%.200s' is no address of a parameter server", address);
  return dl_hint("give tcp://HOST:PORT or ipc:///PATH");
}

/* ---- life ---- */

static void set_int(void *socket, int option, int value) { zmq_setsockopt(socket, option, &value, sizeof value); }

static void set_common(void *socket, const dl_ps_link_options *o, bool listens) {
  const int more = o->queue ? 2 * (o->parts + 1) : 0; /* ZeroMQ counts those that have gone as there by up to half */
  int64_t most = (int64_t)(o->max_bytes > MIN_BYTES ? o->max_bytes : MIN_BYTES) + SEAL_BYTES;
  zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
  set_int(socket, ZMQ_RCVHWM, o->queue + (listens ? 0 : more));
  set_int(socket, ZMQ_SNDHWM, o->queue + more);
  set_int(socket, ZMQ_LINGER, 0);
  set_int(socket, ZMQ_HEARTBEAT_IVL, DL_PS_BEAT_MS);
  set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, DL_PS_GONE_MS);
  set_int(socket, ZMQ_HEARTBEAT_TTL, DL_PS_GONE_MS);
  set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
  set_int(socket, ZMQ_RECONNECT_IVL, 50);
  set_int(socket, ZMQ_RECONNECT_IVL_MAX, 1000);
  set_int(socket, ZMQ_IPV6, 1);
}

static dl_status fail_zmq(const dl_ps_link_options *o, const char *what) {
  dl_status status = zmq_errno() == EINVAL || zmq_errno() == ENODEV ? DL_ERR_USAGE : DL_ERR_SYSTEM;
  return dl_fail(status, "%s %s: %s", what, o->address, zmq_strerror(zmq_errno()));
}

static dl_status make_link(const dl_ps_link_options *o, bool listens, dl_ps_link **out) {
  dl_ps_link *link = dl_calloc(1, sizeof *link);
  if (!link) return DL_ERR_NOMEM;
  *out = link;
  link->listens = listens;
  link->reported_s = -REPORT_S;
  link->context = zmq_ctx_new();
  if (link->context) link->socket = zmq_socket(link->context, listens ? ZMQ_ROUTER : ZMQ_DEALER);
  if (!link->socket) return fail_zmq(o, "a socket for");
  snprintf(link->address, sizeof link->address, "%s", o->address);
  set_common(link->socket, o, listens);
  return DL_OK;
}

static dl_status check_open(const dl_ps_link_options *o) {
  if (o->keys && o->allowed && o->allowed->n) return DL_OK;
  if (!o->keys && dl_ps_address_is_local(o->address)) return DL_OK;
  if (o->keys) dl_fail(DL_ERR_USAGE, "a parameter server with a key needs the list of keys that it lets in");
  if (!o->keys)
    dl_fail(DL_ERR_USAGE, "a parameter server on %.200s could be reached from other machines: that needs keys",
            o->address);
  return dl_hint("dldist ps keygen NAME makes keys; give sync.key and sync.allow (see docs/parameter-server.md)");
}

/* Whether somebody accepts connections there: the socket of a server that is gone refuses them. */
static bool is_listened_to(const char *path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool is = fd >= 0 && (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0 || errno == EAGAIN);
  if (fd >= 0) close(fd);
  return is;
}

/* ZeroMQ removes what has the socket's name, whatever it is. */
static dl_status check_free(const dl_ps_link_options *o) {
  struct stat st;
  const char *path = o->address + strlen("ipc://");
  if (strncmp(o->address, "ipc://", 6) || lstat(path, &st)) return DL_OK;
  if (!S_ISSOCK(st.st_mode)) {
    dl_fail(DL_ERR_USAGE, "cannot listen on %s: there is a %s of that name", o->address,
            S_ISDIR(st.st_mode) ? "folder" : "file");
    return dl_hint("give a socket a name of its own");
  }
  if (!is_listened_to(path)) return DL_OK;
  dl_fail(DL_ERR_SYSTEM, "cannot listen on %s: another process does", o->address);
  return dl_hint("wait for its end, or give another address");
}

static dl_status bind_link(dl_ps_link *link, const dl_ps_link_options *o) {
  set_int(link->socket, ZMQ_ROUTER_MANDATORY, 1);
  DL_TRY(check_free(o));
  if (o->keys) {
    DL_TRY(dl_ps_door_open(link->context, o->allowed, &link->door));
    set_int(link->socket, ZMQ_CURVE_SERVER, 1);
    zmq_setsockopt(link->socket, ZMQ_CURVE_SECRETKEY, o->keys->secret_key, DL_PS_KEY_TEXT);
    zmq_setsockopt(link->socket, ZMQ_ZAP_DOMAIN, "dldist", 6);
  }
  if (zmq_bind(link->socket, o->address)) return fail_zmq(o, "cannot listen on");
  if (!strncmp(o->address, "ipc://", 6)) chmod(o->address + 6, 0600);
  size_t size = sizeof link->address; /* the port that was asked for, or one that was free */
  zmq_getsockopt(link->socket, ZMQ_LAST_ENDPOINT, link->address, &size);
  return o->keys ? dl_ps_door_prove(link->address, o->keys->public_key) : DL_OK;
}

dl_status dl_ps_link_listen(const dl_ps_link_options *options, dl_ps_link **out) {
  *out = NULL;
  DL_TRY(check_open(options));
  dl_status status = make_link(options, true, out);
  if (status == DL_OK) status = bind_link(*out, options);
  if (status != DL_OK) dl_ps_link_close(out, 0);
  return status;
}

dl_status dl_ps_link_connect(const dl_ps_link_options *o, dl_ps_link **out) {
  *out = NULL;
  dl_status status = make_link(o, false, out);
  if (status == DL_OK && o->name) zmq_setsockopt((*out)->socket, ZMQ_ROUTING_ID, o->name, strlen(o->name));
  if (status == DL_OK && o->keys) {
    zmq_setsockopt((*out)->socket, ZMQ_CURVE_PUBLICKEY, o->keys->public_key, DL_PS_KEY_TEXT);
    zmq_setsockopt((*out)->socket, ZMQ_CURVE_SECRETKEY, o->keys->secret_key, DL_PS_KEY_TEXT);
    zmq_setsockopt((*out)->socket, ZMQ_CURVE_SERVERKEY, o->server_key, DL_PS_KEY_TEXT);
  }
  if (status == DL_OK && zmq_connect((*out)->socket, o->address)) status = fail_zmq(o, "cannot connect to");
  if (status != DL_OK) dl_ps_link_close(out, 0);
  return status;
}

void dl_ps_link_close(dl_ps_link **link, int linger_ms) {
  dl_ps_link *l = *link;
  if (!l) return;
  if (l->socket) {
    set_int(l->socket, ZMQ_LINGER, linger_ms);
    zmq_close(l->socket);
  }
  if (l->context) zmq_ctx_shutdown(l->context);
  dl_ps_door_close(&l->door);
  if (l->context)
    while (zmq_ctx_term(l->context) && zmq_errno() == EINTR) continue;
  free(l);
  *link = NULL;
}

const char *dl_ps_link_address(const dl_ps_link *link) { return link->address; }

/* ---- receiving ---- */

bool dl_ps_link_wait(dl_ps_link *link, int timeout_ms) {
  zmq_pollitem_t item = {.socket = link->socket, .events = ZMQ_POLLIN};
  return zmq_poll(&item, 1, timeout_ms) > 0;
}

void dl_ps_link_fault(dl_ps_link *link, dl_ps_fault fault) { link->faults[fault]++; }

uint64_t dl_ps_link_dropped(const dl_ps_link *link) {
  uint64_t all = 0;
  for (int i = 1; i < DL_PS_FAULTS; i++) all += link->faults[i];
  return all;
}

void dl_ps_link_report(dl_ps_link *link, double now_s) {
  uint64_t denied = link->door ? dl_ps_door_denied(link->door) : 0, all = dl_ps_link_dropped(link) + denied;
  if (all == link->reported || now_s - link->reported_s < REPORT_S) return;
  int most = 1;
  for (int i = 2; i < DL_PS_FAULTS; i++)
    if (link->faults[i] > link->faults[most]) most = i;
  char text[128] = "";
  if (dl_ps_link_dropped(link)) snprintf(text, sizeof text, ", most often for %s", dl_ps_fault_names[most]);
  dl_warn("ps_strangers", "%s: %llu messages dropped%s, %llu connections refused", link->address,
          (unsigned long long)dl_ps_link_dropped(link), text, (unsigned long long)denied);
  link->reported = all;
  link->reported_s = now_s;
}

static bool has_more(void *socket) {
  int more = 0;
  size_t size = sizeof more;
  return zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0 && more;
}

static bool next_part(void *socket, zmq_msg_t *part) {
  zmq_msg_init(part);
  int got;
  while ((got = zmq_msg_recv(part, socket, ZMQ_DONTWAIT)) < 0 && zmq_errno() == EINTR) continue;
  return got >= 0;
}

static void drop_rest(void *socket) {
  zmq_msg_t part;
  while (has_more(socket)) {
    bool got = next_part(socket, &part);
    zmq_msg_close(&part);
    if (!got) return;
  }
}

static void note_user(zmq_msg_t *header, char user[DL_PS_KEY_TEXT]) {
  const char *id = zmq_msg_gets(header, "User-Id");
  snprintf(user, DL_PS_KEY_TEXT, "%s", id ? id : "");
}

/* One whole message: DL_PS_FINE with a payload, or a fault with none. */
static dl_ps_fault read_message(dl_ps_link *link, zmq_msg_t *first, dl_ps_mail *mail) {
  void *socket = link->socket;
  zmq_msg_t header;
  if (link->listens) {
    size_t n = zmq_msg_size(first);
    if (n < 1 || n > DL_PS_PEER_BYTES || !has_more(socket)) return DL_PS_BAD_PARTS;
    mail->from.n = (uint8_t)n;
    memcpy(mail->from.id, zmq_msg_data(first), n);
    if (!next_part(socket, &header)) return zmq_msg_close(&header), DL_PS_BAD_PARTS;
  } else {
    zmq_msg_init(&header);
    zmq_msg_move(&header, first);
  }
  dl_ps_fault fault = has_more(socket) && next_part(socket, &mail->payload) ? DL_PS_FINE : DL_PS_BAD_PARTS;
  if (fault == DL_PS_FINE && has_more(socket)) fault = DL_PS_BAD_PARTS;
  if (fault == DL_PS_FINE)
    fault = dl_ps_frame_read(zmq_msg_data(&header), zmq_msg_size(&header), zmq_msg_data(&mail->payload),
                             zmq_msg_size(&mail->payload), &mail->frame);
  note_user(&header, mail->user);
  zmq_msg_close(&header);
  return fault;
}

bool dl_ps_link_receive(dl_ps_link *link, dl_ps_mail *mail) {
  zmq_msg_t first;
  for (int dropped = 0; dropped < 64; dropped++) { /* then the caller's other duties have their turn */
    if (!next_part(link->socket, &first)) {
      zmq_msg_close(&first);
      return false;
    }
    memset(mail, 0, sizeof *mail);
    zmq_msg_init(&mail->payload);
    dl_ps_fault fault = read_message(link, &first, mail);
    zmq_msg_close(&first);
    if (fault == DL_PS_FINE) return true;
    drop_rest(link->socket);
    dl_ps_link_fault(link, fault);
    dl_ps_mail_done(mail);
  }
  return false;
}

void dl_ps_mail_done(dl_ps_mail *mail) { zmq_msg_close(&mail->payload); }

/* ---- sending ---- */

static bool send_part(void *socket, const void *data, size_t bytes, int flags) {
  int sent;
  while ((sent = zmq_send(socket, data, bytes, flags)) < 0 && zmq_errno() == EINTR) continue;
  return sent >= 0;
}

bool dl_ps_link_send(dl_ps_link *link, const dl_ps_peer *to, const dl_ps_frame *frame, zmq_msg_t *payload) {
  unsigned char header[DL_PS_HEADER_BYTES];
  dl_ps_frame f = *frame;
  zmq_msg_t none;
  zmq_msg_init(&none);
  if (!payload) payload = &none;
  f.payload_bytes = zmq_msg_size(payload);
  if (f.payload_bytes && !f.payload_crc) f.payload_crc = dl_ps_crc(zmq_msg_data(payload), f.payload_bytes);
  dl_ps_frame_write(&f, header);
  bool sent = !to || send_part(link->socket, to->id, to->n, ZMQ_SNDMORE | ZMQ_DONTWAIT);
  sent = sent && send_part(link->socket, header, sizeof header, ZMQ_SNDMORE | ZMQ_DONTWAIT);
  if (sent) {
    int got;
    while ((got = zmq_msg_send(payload, link->socket, ZMQ_DONTWAIT)) < 0 && zmq_errno() == EINTR) continue;
    sent = got >= 0;
  }
  if (!sent) zmq_msg_close(payload);
  if (payload != &none) zmq_msg_init(payload);
  return sent;
}

bool dl_ps_link_send_copy(dl_ps_link *link, const dl_ps_peer *to, const dl_ps_frame *frame, const void *data,
                          size_t bytes) {
  zmq_msg_t payload;
  if (zmq_msg_init_size(&payload, bytes)) return false;
  if (bytes) memcpy(zmq_msg_data(&payload), data, bytes);
  return dl_ps_link_send(link, to, frame, &payload);
}

static void returned(void *data, void *busy) {
  (void)data;
  atomic_fetch_sub_explicit((_Atomic int *)busy, 1, memory_order_release);
}

bool dl_ps_payload_borrow(zmq_msg_t *payload, const void *data, size_t bytes, _Atomic int *busy) {
  atomic_fetch_add(busy, 1);
  if (zmq_msg_init_data(payload, (void *)(uintptr_t)data, bytes, returned, busy) == 0) return true;
  atomic_fetch_sub(busy, 1);
  return false;
}

/* By parts, as a message may lie anywhere. */
bool dl_ps_payload_pack(zmq_msg_t *payload, const dl_half *half, const float *values, size_t count) {
  uint16_t part[1024];
  if (zmq_msg_init_size(payload, count * sizeof *part)) return false;
  unsigned char *out = zmq_msg_data(payload);
  for (size_t done = 0, n; done < count; done += n) {
    n = count - done < 1024 ? count - done : 1024;
    half->pack(part, values + done, n);
    memcpy(out + done * sizeof *part, part, n * sizeof *part);
  }
  return true;
}

bool dl_ps_payload_few(zmq_msg_t *payload, const dl_block_ref *blocks, const dl_ps_part *part, const float *values) {
  uint32_t *words = dl_calloc(dl_ps_few_room(blocks, part) + 1, sizeof *words);
  if (!words) return false;
  const size_t bytes = dl_ps_few_write(words, blocks, part, values) * sizeof *words;
  const bool made = zmq_msg_init_size(payload, bytes) == 0;
  if (made && bytes) memcpy(zmq_msg_data(payload), words, bytes);
  free(words);
  return made;
}

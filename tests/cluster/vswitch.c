/* An Ethernet switch in user space between network namespaces, with delay, rate and a plug to pull, for kernels that
 * have no netem.
 *
 *   vswitch PORTS name:pid ...
 *
 * Port i is a TAP device "eth0" in the network namespace of process `pid`, with MAC address 02:00:00:00:00:i (from 1).
 * The file PORTS is read at the start and at SIGHUP; a line says "name delay_us rate_mbit up", where name * means all,
 * rate 0 no limit, up 0 or 1; later lines win. A frame from port a to port b is sent at a's rate, travels for a's and
 * b's delay, and is received at b's rate; what would have to wait behind more than 4 MiB is dropped. "ready" is printed
 * when the ports are there. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define MAX_PORTS 64
#define PREFIX 10 /* struct virtio_net_hdr, before each frame */
#define FRAME_BYTES (PREFIX + 65536 + 64)
#define QUEUE_BYTES (4 << 20)

typedef struct frame {
  int64_t due; /* ns */
  uint64_t number;
  int to, bytes;
  char data[];
} frame;

typedef struct port {
  char name[32];
  int fd;
  bool up;
  int64_t delay, sends_at, receives_at; /* ns; when its link is free again */
  double ns_per_byte;
  long queued; /* bytes on their way to it */
} port;

static port ports[MAX_PORTS];
static int n_ports;
static frame **heap; /* by due time */
static int n_heap, heap_room;
static uint64_t frames;
static volatile sig_atomic_t asked = 1;

static void on_hangup(int signal) {
  (void)signal;
  asked = 1;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- frames that wait ---- */

static bool before(const frame *a, const frame *b) {
  return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void push(frame *f) {
  if (n_heap == heap_room) {
    heap_room = heap_room ? 2 * heap_room : 256;
    heap = realloc(heap, (size_t)heap_room * sizeof *heap);
    if (!heap) abort();
  }
  int i = n_heap++;
  for (; i && before(f, heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
  heap[i] = f;
}

static frame *pop(void) {
  frame *first = heap[0], *last = heap[--n_heap];
  int i = 0, child;
  while ((child = 2 * i + 1) < n_heap) {
    if (child + 1 < n_heap && before(heap[child + 1], heap[child])) child++;
    if (!before(heap[child], last)) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = last;
  return first;
}

/* ---- ports ---- */

static void set_ports(const char *name, double delay_us, double rate_mbit, int up) {
  for (int i = 0; i < n_ports; i++) {
    if (strcmp(name, "*") != 0 && strcmp(name, ports[i].name) != 0) continue;
    ports[i].delay = (int64_t)(delay_us * 1000);
    ports[i].ns_per_byte = rate_mbit > 0 ? 8000 / rate_mbit : 0;
    ports[i].up = up;
  }
}

static void read_ports(const char *path) {
  char line[256], name[32];
  double delay_us, rate_mbit;
  int up;
  asked = 0;
  set_ports("*", 0, 0, 1);
  FILE *file = fopen(path, "r");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "%31s %lf %lf %d", name, &delay_us, &rate_mbit, &up) == 4)
      set_ports(name, delay_us, rate_mbit, up);
  if (file) fclose(file);
}

static int open_port(const char *pid, int number) {
  char path[64];
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, .ifr_name = "eth0"};
  int prefix = PREFIX;
  snprintf(path, sizeof path, "/proc/%.20s/ns/net", pid);
  int space = open(path, O_RDONLY | O_CLOEXEC);
  if (space < 0 || setns(space, CLONE_NEWNET)) return -1;
  close(space);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) || ioctl(fd, TUNSETVNETHDRSZ, &prefix) ||
      ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6))
    return -1;
  const unsigned char mac[6] = {2, 0, 0, 0, 0, (unsigned char)number};
  request.ifr_hwaddr.sa_family = 1; /* Ethernet */
  memcpy(request.ifr_hwaddr.sa_data, mac, sizeof mac);
  return ioctl(fd, SIOCSIFHWADDR, &request) ? -1 : fd;
}

static bool add_port(char *word, int home, int poll) {
  char *colon = strchr(word, ':');
  if (!colon || n_ports == MAX_PORTS) return false;
  *colon = 0;
  port *p = &ports[n_ports];
  snprintf(p->name, sizeof p->name, "%s", word);
  p->fd = open_port(colon + 1, n_ports + 1);
  if (p->fd < 0 || setns(home, CLONE_NEWNET)) return false;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)n_ports};
  n_ports++;
  return epoll_ctl(poll, EPOLL_CTL_ADD, p->fd, &event) == 0;
}

/* ---- switching ---- */

static void deliver(const port *to, const char *data, int bytes) {
  if (to->up && write(to->fd, data, (size_t)bytes) < 0 && errno != EAGAIN && errno != EIO) perror("vswitch: write");
}

/* A link is busy for as long as a frame takes at its rate; returns when this one is through. */
static int64_t through(int64_t *free_at, double ns_per_byte, int64_t at, int bytes) {
  if (*free_at < at) *free_at = at;
  *free_at += (int64_t)(bytes * ns_per_byte);
  return *free_at;
}

static void forward(int from, int to, const char *data, int bytes, int64_t at) {
  port *a = &ports[from], *b = &ports[to];
  int size = bytes - PREFIX;
  if (!a->up || !b->up || b->queued + size > QUEUE_BYTES) return;
  at = through(&a->sends_at, a->ns_per_byte, at, size) + a->delay;
  at = through(&b->receives_at, b->ns_per_byte, at, size) + b->delay;
  if (at - now_ns() < 1000) {
    deliver(b, data, bytes);
    return;
  }
  frame *f = malloc(sizeof *f + (size_t)bytes);
  if (!f) abort();
  *f = (frame){.due = at, .number = frames++, .to = to, .bytes = bytes};
  memcpy(f->data, data, (size_t)bytes);
  b->queued += size;
  push(f);
}

static void receive(int from) {
  static char data[FRAME_BYTES];
  for (int i = 0; i < 32; i++) {
    int bytes = (int)read(ports[from].fd, data, sizeof data);
    if (bytes < PREFIX + 14) return;
    int64_t at = now_ns();
    const unsigned char *mac = (const unsigned char *)data + PREFIX;
    if (mac[0] & 1) {
      for (int to = 0; to < n_ports; to++)
        if (to != from) forward(from, to, data, bytes, at);
    } else if (mac[0] == 2 && mac[5] >= 1 && mac[5] <= n_ports) {
      forward(from, mac[5] - 1, data, bytes, at);
    }
  }
}

static void deliver_due(void) {
  for (int64_t now = now_ns(); n_heap && heap[0]->due <= now;) {
    frame *f = pop();
    ports[f->to].queued -= f->bytes - PREFIX;
    deliver(&ports[f->to], f->data, f->bytes);
    free(f);
  }
}

int main(int count, char **words) {
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), poll = epoll_create1(EPOLL_CLOEXEC);
  if (count < 3) {
    fprintf(stderr, "usage: vswitch PORTS name:pid ...\n");
    return 2;
  }
  for (int i = 2; i < count; i++)
    if (!add_port(words[i], home, poll)) {
      fprintf(stderr, "vswitch: port %s: %s\n", words[i], strerror(errno));
      return 1;
    }
  struct sigaction on = {.sa_handler = on_hangup};
  sigaction(SIGHUP, &on, NULL);
  prctl(PR_SET_TIMERSLACK, 1000UL);
  sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}); /* a switch waits for no host's core */
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[16];
    if (asked) read_ports(words[1]);
    int64_t wait = n_heap ? heap[0]->due - now_ns() : 1000000000;
    if (wait < 0) wait = 0;
    struct timespec limit = {wait / 1000000000, wait % 1000000000};
    int n = epoll_pwait2(poll, events, 16, &limit, NULL);
    if (n < 0 && errno != EINTR) return 1;
    deliver_due();
    for (int i = 0; i < n; i++) receive((int)events[i].data.u32);
  }
}

/* ps_judge.c - judges what parameter servers and their workers did, from the histories that they wrote
 * (src/comm/ps_history.h): ps_judge FOLDER STALENESS, -1 for no bound. Exit code 0: every update that was acknowledged
 * is in the weights, none is there twice, every step that was closed is whole, and no weights were staler than the
 * bound. Else a line for each thing that is wrong, and 1.
 *
 * It knows nothing of logs, checkpoints or units in hand: a server's weights are the updates of its lines, in order; a
 * life that begins at step C has lost all of step C and later. Staleness is taken from the lines too: an update of
 * step t may be made only with weights in which all steps before t - s are whole. */
#include <glob.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STEPS 100000
#define MOST_SERVERS 64

typedef struct unit {
  long long step, index;
  int level;
  char worker[20];
  unsigned long long sequence;
} unit;

/* A push that was passed by stands for the one that was there. */
typedef struct twin {
  unit mine, other;
} twin;

typedef struct server {
  unit *in; /* what is in its weights */
  int n, room;
  twin *twins;
  int n_twins, twins_room;
  long long life_step, life_updates;
  long long *covered, *whole_at; /* of each step: leaves that are in; the number of updates at which it was whole */
} server;

static server servers[MOST_SERVERS];
static long long leaves[MOST_STEPS];
static long long last_closed = -1;
static int n_servers, wrong;

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void complain(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  putchar('\n');
  wrong++;
}

static void *grown(void *list, int n, int *room, size_t size) {
  if (n < *room) return list;
  *room = *room ? 2 * *room : 256;
  void *more = realloc(list, (size_t)*room * size);
  if (!more) abort();
  return more;
}

/* ---- a server's lines ---- */

static long long first_leaf(const unit *u) { return u->index << u->level; }
static long long end_leaf(const unit *u) {
  const long long end = (u->index + 1) << u->level;
  return end < leaves[u->step] ? end : leaves[u->step];
}

static const unit *overlapping(const server *s, const unit *u) {
  for (int i = 0; i < s->n; i++)
    if (s->in[i].step == u->step && first_leaf(&s->in[i]) < end_leaf(u) && first_leaf(u) < end_leaf(&s->in[i]))
      return &s->in[i];
  return NULL;
}

static void begin_life(server *s, long long step) {
  int kept = 0;
  for (int i = 0; i < s->n; i++)
    if (s->in[i].step < step) s->in[kept++] = s->in[i];
  s->n = kept;
  s->life_step = step;
  s->life_updates = 0;
  for (long long t = step; t < MOST_STEPS; t++) s->covered[t] = s->whole_at[t] = 0;
}

static void judge_staleness(int k, const unit *u, long long version, long long bound) {
  const server *s = &servers[k];
  for (long long t = s->life_step; bound >= 0 && t < u->step - bound; t++)
    if (s->covered[t] < leaves[t] || s->whole_at[t] > version)
      complain("server %d: an update of step %lld was made with weights in which step %lld was not whole", k, u->step,
               t);
}

static void apply(int k, const unit *u, long long version, long long updates, long long bound) {
  server *s = &servers[k];
  if (updates != s->life_updates)
    complain("server %d: update %lld of its life calls itself %lld", k, s->life_updates, updates);
  if (version < 0 || version > updates) complain("server %d: weights %lld of %lld", k, version, updates);
  if (overlapping(s, u)) complain("server %d: step %lld has leaf %lld twice", k, u->step, first_leaf(u));
  judge_staleness(k, u, version, bound);
  s->in = grown(s->in, s->n, &s->room, sizeof *s->in);
  s->in[s->n++] = *u;
  s->life_updates++;
  s->covered[u->step] += end_leaf(u) - first_leaf(u);
  if (s->covered[u->step] == leaves[u->step]) s->whole_at[u->step] = s->life_updates;
}

static void pass_by(int k, const unit *u) {
  server *s = &servers[k];
  const unit *other = overlapping(s, u);
  s->twins = grown(s->twins, s->n_twins, &s->twins_room, sizeof *s->twins);
  s->twins[s->n_twins++] = (twin){*u, other ? *other : *u};
}

static void read_server(int k, FILE *file, long long bound) {
  char line[512], word[16];
  long long step, version, updates;
  unit u;
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "begin %lld", &step) == 1 && step >= 0) {
      begin_life(&servers[k], step);
    } else if (sscanf(line, "close %lld", &step) == 1) {
      if (servers[k].covered[step] != leaves[step])
        complain("server %d: step %lld was closed before it was whole", k, step);
      if (step > last_closed) last_closed = step;
    } else if (sscanf(line, "%15s %lld %d %lld %19s %llu %lld %lld", word, &u.step, &u.level, &u.index, u.worker,
                      &u.sequence, &version, &updates) == 8 &&
               u.step >= 0 && u.step < MOST_STEPS) {
      if (!strcmp(word, "twice"))
        pass_by(k, &u);
      else
        apply(k, &u, version, updates, bound);
    } else if (strncmp(line, "open ", 5)) {
      complain("server %d: a line that says nothing: %s", k, line);
    }
  }
}

/* The first server alone says how many leaves a step has. */
static void read_leaves(FILE *file) {
  char line[512];
  long long step, n;
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "open %lld %lld", &step, &n) == 2 && step >= 0 && step < MOST_STEPS) leaves[step] = n;
  rewind(file);
}

static void read_servers(const char *folder, long long bound) {
  for (; n_servers < MOST_SERVERS; n_servers++) {
    char path[4096];
    server *s = &servers[n_servers];
    snprintf(path, sizeof path, "%s/server-%d", folder, n_servers);
    FILE *file = fopen(path, "r");
    if (!file) break;
    s->covered = calloc(MOST_STEPS, sizeof *s->covered);
    s->whole_at = calloc(MOST_STEPS, sizeof *s->whole_at);
    if (!s->covered || !s->whole_at) abort();
    if (!n_servers) read_leaves(file);
    read_server(n_servers, file, bound);
    fclose(file);
  }
}

/* ---- workers' lines, and the end ---- */

static bool same_push(const unit *a, const unit *b) {
  return a->step == b->step && a->level == b->level && a->index == b->index && a->sequence == b->sequence &&
         !strcmp(a->worker, b->worker);
}

static bool is_in(const server *s, const unit *u) {
  for (int i = 0; i < s->n; i++)
    if (same_push(&s->in[i], u)) return true;
  return false;
}

static bool is_kept(const server *s, const unit *u) {
  if (is_in(s, u)) return true;
  for (int i = 0; i < s->n_twins; i++)
    if (same_push(&s->twins[i].mine, u) && is_in(s, &s->twins[i].other)) return true;
  return false;
}

static int read_worker(const char *path) {
  FILE *file = fopen(path, "r");
  char line[512];
  int acknowledged = 0, k;
  unit u = {0};
  if (!file) return 0;
  snprintf(u.worker, sizeof u.worker, "%s", strrchr(path, '-') + 1);
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "ack %d %lld %d %lld %llu", &k, &u.step, &u.level, &u.index, &u.sequence) != 5) continue;
    acknowledged++;
    if (k < 0 || k >= n_servers || !is_kept(&servers[k], &u))
      complain("server %d: step %lld, leaf %lld of worker %s was acknowledged, and is lost", k, u.step,
               u.index << u.level, u.worker);
  }
  fclose(file);
  return acknowledged;
}

static int read_workers(const char *folder) {
  char pattern[4096];
  glob_t found;
  int acknowledged = 0;
  snprintf(pattern, sizeof pattern, "%s/worker-*", folder);
  if (glob(pattern, 0, NULL, &found)) return 0;
  for (size_t i = 0; i < found.gl_pathc; i++) acknowledged += read_worker(found.gl_pathv[i]);
  globfree(&found);
  return acknowledged;
}

static void judge_steps(void) {
  long long in;
  for (int k = 0; k < n_servers; k++)
    for (long long t = 0; t <= last_closed; t++) {
      in = 0;
      for (int i = 0; i < servers[k].n; i++)
        if (servers[k].in[i].step == t) in += end_leaf(&servers[k].in[i]) - first_leaf(&servers[k].in[i]);
      if (in != leaves[t] || !in) complain("server %d: %lld of %lld leaves of step %lld are in", k, in, leaves[t], t);
    }
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  read_servers(argv[1], atoll(argv[2]));
  const int acknowledged = read_workers(argv[1]);
  judge_steps();
  printf("%d servers, %lld steps, %d acknowledged, %d wrong\n", n_servers, last_closed + 1, acknowledged, wrong);
  return wrong || !n_servers || !acknowledged || last_closed < 0;
}

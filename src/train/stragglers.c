/* Two sums are kept for every member: of the epoch, and of a window that ends when both enough steps and enough time
 * have gone by. A single slow step is the operating system's; who is slow in most steps of a window, and by the sum of
 * it, is slow. */
#include "train/stragglers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

typedef struct work {
  double seconds;
  int64_t samples;
} work;

struct dl_stragglers {
  int size;
  char *hosts;                 /* size x 64 */
  work *step, *epoch, *window; /* size */
  int *slowest;                /* size: steps of the window in which it was the slowest */
  double *scratch;
  int window_steps;
  double window_s;
  int told; /* the member that the last warning was about, -1: none */
  bool due; /* a window has ended with a verdict that nobody has fetched */
  dl_slowest verdict;
  int verdict_steps, verdict_of;
};

dl_status dl_stragglers_new(int size, const char *hosts, dl_stragglers **out) {
  dl_stragglers *s = dl_calloc(1, sizeof *s);
  *out = s;
  if (!s) return DL_ERR_NOMEM;
  s->size = size;
  s->told = -1;
  s->hosts = dl_calloc((size_t)size, 64);
  s->step = dl_calloc((size_t)size, sizeof *s->step);
  s->epoch = dl_calloc((size_t)size, sizeof *s->epoch);
  s->window = dl_calloc((size_t)size, sizeof *s->window);
  s->slowest = dl_calloc((size_t)size, sizeof *s->slowest);
  s->scratch = dl_calloc((size_t)size, sizeof *s->scratch);
  if (!s->hosts || !s->step || !s->epoch || !s->window || !s->slowest || !s->scratch) {
    dl_stragglers_destroy(out);
    return DL_ERR_NOMEM;
  }
  memcpy(s->hosts, hosts, (size_t)size * 64);
  return DL_OK;
}

void dl_stragglers_destroy(dl_stragglers **stragglers) {
  dl_stragglers *s = *stragglers;
  if (!s) return;
  void *const mine[] = {s->hosts, s->step, s->epoch, s->window, s->slowest, s->scratch, s};
  for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) free(mine[i]);
  *stragglers = NULL;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* By the sample; members without samples are not in it. The median of an even number is the lower one, so that of two
 * the slower is compared with the other. */
static dl_slowest slowest_of(dl_stragglers *s, const work *of) {
  dl_slowest out = {.rank = -1};
  int n = 0;
  double worst = -1;
  for (int r = 0; r < s->size; r++) {
    if (of[r].samples < 1) continue;
    const double each = of[r].seconds / (double)of[r].samples;
    s->scratch[n++] = each;
    if (each > worst) {
      worst = each;
      out = (dl_slowest){.rank = r, .host = s->hosts + r * 64, .seconds = of[r].seconds};
    }
  }
  if (n < 2) return (dl_slowest){.rank = -1};
  qsort(s->scratch, (size_t)n, sizeof *s->scratch, by_value);
  const double median = s->scratch[(n - 1) / 2];
  out.over_median = median > 0 ? worst / median : 1;
  return out;
}

/* The end of a window: who was the slowest most often must also be the slowest in sum. */
static void judge_window(dl_stragglers *s) {
  const dl_slowest all = slowest_of(s, s->window);
  const bool persists = all.rank >= 0 && all.over_median >= DL_STRAGGLER_OVER &&
                        s->slowest[all.rank] >= DL_STRAGGLER_SHARE * s->window_steps;
  if (persists && all.rank != s->told) {
    s->due = true;
    s->verdict = all;
    s->verdict_steps = s->slowest[all.rank];
    s->verdict_of = s->window_steps;
  }
  s->told = persists ? all.rank : -1;
  memset(s->window, 0, (size_t)s->size * sizeof *s->window);
  memset(s->slowest, 0, (size_t)s->size * sizeof *s->slowest);
  s->window_steps = 0;
  s->window_s = 0;
}

dl_slowest dl_stragglers_step(dl_stragglers *s, const double *own_s, const int64_t *samples) {
  double longest = 0;
  for (int r = 0; r < s->size; r++) {
    s->step[r] = (work){own_s[r], samples[r]};
    s->epoch[r].seconds += own_s[r];
    s->epoch[r].samples += samples[r];
    s->window[r].seconds += own_s[r];
    s->window[r].samples += samples[r];
    if (own_s[r] > longest) longest = own_s[r];
  }
  const dl_slowest slowest = slowest_of(s, s->step);
  if (slowest.rank >= 0) s->slowest[slowest.rank]++;
  s->window_s += longest;
  if (++s->window_steps >= DL_STRAGGLER_STEPS && s->window_s >= DL_STRAGGLER_S) judge_window(s);
  return slowest;
}

dl_slowest dl_stragglers_epoch(dl_stragglers *s) {
  const dl_slowest slowest = slowest_of(s, s->epoch);
  memset(s->epoch, 0, (size_t)s->size * sizeof *s->epoch);
  return slowest;
}

bool dl_stragglers_persist(dl_stragglers *s, char *text, size_t size) {
  if (!s->due) return false;
  s->due = false;
  snprintf(text, size,
           "rank %d on %s was the slowest in %d of the last %d steps and needs %.2f times as long for a sample as the "
           "median rank: all wait for it. Look for other programs on %s (top), for its clock (cpufreq) and memory, "
           "and for how ranks are bound to cores (mpirun --report-bindings)",
           s->verdict.rank, s->verdict.host, s->verdict_steps, s->verdict_of, s->verdict.over_median, s->verdict.host);
  return true;
}

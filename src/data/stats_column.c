/* stats_column.c - moments, quantiles, histogram, entropy and distances of one column.
 *
 * A column comes as runs of equal values in ascending order, three times: first sums, quantiles and counts; then what
 * needs the mean and the median; then the distances of the fits, which need both. Sums are compensated and their order
 * is that of the values, so the figures are a function of the multiset alone, whoever computes them.
 */
#include "data/stats_column.h"

#include <math.h>
#include <string.h>

const double dl_stats_levels[DL_STATS_QUANTILES] = {0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99};

int64_t dl_stats_span(const dl_stats_column *c) {
  return c->n > 0 && c->whole && c->max - c->min < DL_STATS_TABLE ? (int64_t)(c->max - c->min) + 1 : 0;
}

bool dl_stats_is_counted(const dl_stats_column *c) {
  int64_t span = dl_stats_span(c);
  return span > 0 && (span <= 4096 || span <= c->n);
}

/* ---- bins ---- */

static void choose_bins(dl_stats_column *c) {
  int64_t span = dl_stats_span(c);
  if (c->n == 0) {
    c->bins = 0;
  } else if (span > 0 && span <= DL_STATS_MAX_BINS) {
    c->bins = (int)span;
    c->first_edge = c->min - 0.5;
    c->bin_width = 1;
  } else {
    bool constant = !(c->max > c->min);
    c->bins = constant ? 1 : DL_STATS_BINS;
    c->first_edge = constant ? c->min - 0.5 : c->min;
    c->bin_width = constant ? 1 : c->max / c->bins - c->min / c->bins;
  }
}

double dl_stats_edge(const dl_stats_column *c, int edge) {
  bool to_max = c->first_edge == c->min && edge == c->bins;
  return to_max ? c->max : c->first_edge + edge * c->bin_width;
}

int dl_stats_bin(const dl_stats_column *c, double value) {
  double place = (value - c->first_edge) / c->bin_width;
  int bin = place > 0 ? (place < c->bins ? (int)place : c->bins - 1) : 0;
  while (bin > 0 && value < dl_stats_edge(c, bin)) bin--;
  while (bin + 1 < c->bins && value >= dl_stats_edge(c, bin + 1)) bin++;
  return bin;
}

/* ---- runs of equal values ---- */

typedef struct state state;
typedef void (*emit_fn)(state *s, double value, int64_t count);
struct state {
  dl_stats_column *column;
  emit_fn emit;
  double value; /* the run that is not ended yet */
  int64_t count, before /* values in the runs ended */;
  dl_stats_sum sum[7];
  double low[DL_STATS_QUANTILES], high[DL_STATS_QUANTILES];
};

static void end_run(state *s) {
  if (s->count == 0) return;
  s->emit(s, s->value, s->count);
  s->before += s->count;
  s->count = 0;
}

static void take(void *context, const double *value, const int64_t *count, int64_t n) {
  state *s = context;
  for (int64_t i = 0; i < n; i++) {
    int64_t more = count ? count[i] : 1;
    if (more == 0) continue;
    if (s->count > 0 && !(value[i] > s->value)) {
      s->count += more;
      continue;
    }
    end_run(s);
    s->value = value[i] + 0.0; /* -0 is 0 */
    s->count = more;
  }
}

static dl_status walk_with(state *s, emit_fn emit, dl_stats_walk walk, void *walker) {
  s->emit = emit;
  s->count = s->before = 0;
  memset(s->sum, 0, sizeof s->sum);
  DL_TRY(walk(walker, take, s));
  end_run(s);
  return DL_OK;
}

/* ---- first: sums, quantiles, counts ---- */

enum { SUM, COUNT_LOG_COUNT };

static void first(state *s, double value, int64_t count) {
  dl_stats_column *c = s->column;
  double times = (double)count;
  dl_stats_add(&s->sum[SUM], value * times);
  dl_stats_add(&s->sum[COUNT_LOG_COUNT], times * log2(times));
  c->distinct++;
  if (value == 0) c->zeros += count;
  c->count[dl_stats_bin(c, value)] += count;
  for (int q = 0; q < DL_STATS_QUANTILES; q++) {
    int64_t place = (int64_t)floor(dl_stats_levels[q] * (double)(c->n - 1)), next = place + (place + 1 < c->n);
    if (place >= s->before && place < s->before + count) s->low[q] = value;
    if (next >= s->before && next < s->before + count) s->high[q] = value;
  }
}

static void after_first(state *s) {
  dl_stats_column *c = s->column;
  double n = (double)c->n, sum = 0;
  c->mean = dl_stats_total(&s->sum[SUM]) / n;
  for (int q = 0; q < DL_STATS_QUANTILES; q++) {
    double place = dl_stats_levels[q] * (double)(c->n - 1), part = place - floor(place);
    c->quantile[q] =
        part < 0.5 ? s->low[q] + (s->high[q] - s->low[q]) * part : s->high[q] - (s->high[q] - s->low[q]) * (1 - part);
  }
  for (int b = 0; b < c->bins; b++)
    if (c->count[b] > 0) sum += (double)c->count[b] * log2((double)c->count[b]);
  if (dl_stats_span(c) > 0) sum = dl_stats_total(&s->sum[COUNT_LOG_COUNT]);
  c->entropy = fmax(0, log2(n) - sum / n);
}

/* ---- second: what needs mean and median ---- */

enum { FIRST, SQUARE, CUBE, FOURTH, DISTANCE, LOG, LOG_SQUARE };

/* log(value / mean), exact where they are close. */
static double log_ratio(double value, double mean) {
  double part = (value - mean) / mean;
  return fabs(part) < 0.5 ? log1p(part) : log(value / mean);
}

static void second(state *s, double value, int64_t count) {
  dl_stats_column *c = s->column;
  double times = (double)count, d = value - c->mean;
  dl_stats_add(&s->sum[FIRST], d * times);
  dl_stats_add(&s->sum[SQUARE], d * d * times);
  dl_stats_add(&s->sum[CUBE], d * d * d * times);
  dl_stats_add(&s->sum[FOURTH], d * d * (d * d) * times);
  dl_stats_add(&s->sum[DISTANCE], fabs(value - c->quantile[DL_STATS_QUANTILES / 2]) * times);
  if (!(c->min > 0)) return;
  double u = log_ratio(value, c->mean);
  dl_stats_add(&s->sum[LOG], u * times);
  dl_stats_add(&s->sum[LOG_SQUARE], u * u * times);
}

/* Shifts the moments from the rounded mean to the true one, which matters where the values hardly differ. */
static void after_second(state *s) {
  dl_stats_column *c = s->column;
  double n = (double)c->n, e = dl_stats_total(&s->sum[FIRST]) / n;
  double m2 = dl_stats_total(&s->sum[SQUARE]) / n, m3 = dl_stats_total(&s->sum[CUBE]) / n,
         m4 = dl_stats_total(&s->sum[FOURTH]) / n;
  m4 += -4 * e * m3 + 6 * e * e * m2 - 3 * e * e * e * e;
  m3 += -3 * e * m2 + 2 * e * e * e;
  m2 -= e * e;
  c->variance = c->max > c->min && !(m2 <= 0) ? m2 : 0; /* not a number where squares overflow */
  c->skewness = c->variance > 0 ? m3 / (m2 * sqrt(m2)) : NAN;
  c->kurtosis = c->variance > 0 ? m4 / (m2 * m2) - 3 : NAN;
  c->mean_distance = dl_stats_total(&s->sum[DISTANCE]) / n;
  if (!(c->min > 0)) return;
  double u = dl_stats_total(&s->sum[LOG]) / n;
  c->mean_log = log(c->mean) + u;
  c->log_gap = e / c->mean - u;
  c->variance_log = fmax(0, dl_stats_total(&s->sum[LOG_SQUARE]) / n - u * u);
}

/* Beside it, for Poisson alone. */
static void factorials(state *s, double value, int64_t count) {
  dl_stats_add(&s->sum[0], lgamma(value + 1) * (double)count);
}

/* ---- third: distances of Kolmogorov and Smirnov ---- */

static void third(state *s, double value, int64_t count) {
  dl_stats_column *c = s->column;
  double n = (double)c->n, below = (double)s->before / n, with = (double)(s->before + count) / n;
  for (int i = 0; i < c->n_fits; i++) {
    dl_stats_fit *fit = &c->fit[i];
    const dl_stats_family *family = &dl_stats_families[fit->family];
    double there = family->cdf(value, fit->parameter);
    double before = family->discrete ? family->cdf(value - 1, fit->parameter) : there;
    fit->ks = fmax(fit->ks, fmax(fabs(there - with), fabs(before - below)));
  }
}

dl_status dl_stats_column_fill(dl_stats_column *column, dl_stats_walk walk, void *walker) {
  state s = {.column = column};
  column->distinct = column->zeros = 0;
  column->n_fits = 0;
  column->best = -1;
  memset(column->count, 0, sizeof column->count);
  choose_bins(column);
  DL_TRY(walk_with(&s, first, walk, walker));
  bool mine = column->n > 0 && s.before == column->n; /* a member without values only walks along */
  if (mine) after_first(&s);
  DL_TRY(walk_with(&s, second, walk, walker));
  if (mine) after_second(&s);
  if (column->whole && column->min >= 0) {
    DL_TRY(walk_with(&s, factorials, walk, walker));
    column->sum_lgamma = dl_stats_total(&s.sum[0]);
  }
  if (mine) dl_stats_fit_all(column);
  DL_TRY(walk_with(&s, third, walk, walker));
  if (mine) dl_stats_posterior(column);
  return DL_OK;
}

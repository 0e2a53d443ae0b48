/* stats_order.c - the values of every column in ascending order, at one member each.
 *
 * Columns of few whole numbers are counted in tables, all else is gathered at an owner and sorted, as many columns at a
 * time as the memory allows. A column that does not fit is cut by its keys: a pass counts the next 16 bits of the keys
 * under a prefix, neighbouring counts are joined to pieces that fit, every piece is gathered and sorted by a pass of
 * its own, and what is still too large (equal values, mostly) goes down one level; after four levels only equal values
 * are left and their number is enough.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/stats_source.h"

/* ---- columns that fit ---- */

typedef struct run_of_values {
  const double *value;
  const int64_t *count;
  int64_t n;
} run_of_values;

static dl_status walk_run(void *walker, dl_stats_take take, void *context) {
  const run_of_values *run = walker;
  take(context, run->value, run->count, run->n);
  return DL_OK;
}

/* A column of the panel in hand. */
typedef struct place {
  int column, owner;
  int64_t *table; /* counted: places for the whole numbers from min on */
  double *mine;   /* sorted: this member's values, then at the owner all of them */
  int64_t n_mine;
} place;

typedef struct panel {
  const dl_stats_column *columns;
  place *places;
  int n;
} panel;

static dl_status collect_block(dl_stats_source *s, void *context) {
  const panel *p = context;
  for (int i = 0; i < p->n; i++) {
    place *at = &p->places[i];
    double min = p->columns[at->column].min;
    int64_t each = dl_stats_each(s, at->column);
    for (int64_t r = 0; r < s->block_rows; r++)
      for (int64_t k = 0; k < each; k++) {
        double value = dl_stats_value(s, at->column, r, k);
        if (!isfinite(value)) continue;
        if (at->table)
          at->table[(int64_t)(value - min)]++;
        else
          at->mine[at->n_mine++] = value;
      }
  }
  return DL_OK;
}

static dl_status panel_alloc(const dl_stats_source *s, panel *p) {
  for (int i = 0; i < p->n; i++) {
    place *at = &p->places[i];
    const dl_stats_column *c = &p->columns[at->column];
    if (dl_stats_is_counted(c))
      at->table = dl_calloc((size_t)dl_stats_span(c), sizeof *at->table);
    else
      at->mine = dl_calloc((size_t)dl_stats_my_values(s, at->column) + 1, sizeof *at->mine);
    if (!at->table && !at->mine) return DL_ERR_NOMEM;
  }
  return DL_OK;
}

static void panel_clear(panel *p) {
  for (int i = 0; i < p->n; i++) {
    free(p->places[i].table);
    free(p->places[i].mine);
  }
}

/* Tables are summed on all, values go to their owner. */
static dl_status panel_gather(dl_team *team, panel *p) {
  for (int i = 0; i < p->n; i++) {
    place *at = &p->places[i];
    if (at->table) {
      DL_TRY(dl_team_sum_i64(team, at->table, (size_t)dl_stats_span(&p->columns[at->column])));
      continue;
    }
    void *all = NULL;
    DL_TRY(dl_team_gather_bytes(team, at->mine, (size_t)at->n_mine * sizeof(double), at->owner, &all, NULL));
    free(at->mine);
    at->mine = all;
  }
  return DL_OK;
}

static dl_status fill_counted(dl_stats_column *c, const int64_t *table) {
  int64_t span = dl_stats_span(c);
  double *value = dl_calloc((size_t)span, sizeof *value);
  if (!value) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < span; i++) value[i] = c->min + (double)i;
  run_of_values run = {value, table, span};
  dl_status status = dl_stats_column_fill(c, walk_run, &run);
  free(value);
  return status;
}

static dl_status fill_sorted(dl_stats_column *c, double *values) {
  double *scratch = dl_calloc((size_t)c->n + 1, sizeof *scratch);
  if (!scratch) return DL_ERR_NOMEM;
  dl_stats_sort(values, scratch, c->n);
  free(scratch);
  run_of_values run = {values, NULL, c->n};
  return dl_stats_column_fill(c, walk_run, &run);
}

static dl_status panel_fill(dl_stats_source *s, panel *p, dl_stats_column *columns) {
  dl_status status = panel_alloc(s, p);
  if (status == DL_OK) status = dl_stats_each_block(s, collect_block, p);
  DL_TRY(dl_team_agree(s->team, status));
  DL_TRY(panel_gather(s->team, p));
  for (int i = 0; i < p->n && status == DL_OK; i++) {
    const place *at = &p->places[i];
    if (at->owner != s->team->rank) continue;
    dl_stats_column *c = &columns[at->column];
    status = at->table ? fill_counted(c, at->table) : fill_sorted(c, at->mine);
  }
  DL_TRY(dl_team_agree(s->team, status));
  for (int i = 0; i < p->n; i++)
    DL_TRY(dl_team_broadcast(s->team, &columns[p->places[i].column], sizeof *columns, p->places[i].owner));
  return DL_OK;
}

/* ---- columns that do not fit ---- */

typedef struct cut {
  dl_stats_source *source;
  int column;
  int64_t room;       /* values that a piece may have */
  uint64_t low, high; /* keys of the range in hand, both included */
  int shift;          /* counting: bits below the 16 that are counted */
  int64_t *counts;
  double *mine;
  int64_t n_mine;
  dl_stats_take take;
  void *context;
} cut;

/* The values of a block that lie in the range: counted, or kept. */
static inline dl_status visit_block(dl_stats_source *s, cut *k, bool keep) {
  int64_t each = dl_stats_each(s, k->column);
  for (int64_t r = 0; r < s->block_rows; r++)
    for (int64_t i = 0; i < each; i++) {
      double value = dl_stats_value(s, k->column, r, i);
      uint64_t key = dl_stats_key(value);
      if (!isfinite(value) || key < k->low || key > k->high) continue;
      if (keep)
        k->mine[k->n_mine++] = value;
      else
        k->counts[key >> k->shift & 65535]++;
    }
  return DL_OK;
}

static dl_status count_block(dl_stats_source *s, void *context) { return visit_block(s, context, false); }
static dl_status keep_block(dl_stats_source *s, void *context) { return visit_block(s, context, true); }

static dl_status sort_and_take(const cut *k, double *all, int64_t n) {
  double *scratch = dl_calloc((size_t)n + 1, sizeof *scratch);
  if (!scratch) return DL_ERR_NOMEM;
  dl_stats_sort(all, scratch, n);
  free(scratch);
  k->take(k->context, all, NULL, n);
  return DL_OK;
}

/* The `n` values with keys from low to high, at member 0. */
static dl_status take_piece(const cut *whole, uint64_t low, uint64_t high, int64_t n) {
  cut k = *whole;
  dl_team *team = k.source->team;
  void *all = NULL;
  k.low = low;
  k.high = high;
  k.n_mine = 0;
  k.mine = dl_calloc((size_t)n + 1, sizeof *k.mine);
  dl_status status = k.mine ? dl_stats_each_block(k.source, keep_block, &k) : DL_ERR_NOMEM;
  status = dl_team_agree(team, status);
  if (status == DL_OK) status = dl_team_gather_bytes(team, k.mine, (size_t)k.n_mine * sizeof *k.mine, 0, &all, NULL);
  if (status == DL_OK) status = dl_team_agree(team, team->rank == 0 ? sort_and_take(&k, all, n) : DL_OK);
  free(k.mine);
  free(all);
  return status;
}

static dl_status take_range(const cut *above, uint64_t low, int shift);

/* One place of the counts that has more values than there is room for. */
static dl_status take_crowd(const cut *k, uint64_t low, int64_t n) {
  if (k->shift > 0) return take_range(k, low, k->shift - 16);
  double value = dl_stats_of_key(low);
  if (k->source->team->rank == 0) k->take(k->context, &value, &n, 1);
  return DL_OK;
}

static dl_status take_counted(const cut *k, uint64_t low) {
  uint64_t step = 1ull << k->shift;
  for (int i = 0; i < 65536;) {
    uint64_t from = low + (uint64_t)i * step;
    int64_t n = k->counts[i];
    if (n > k->room) {
      DL_TRY(take_crowd(k, from, n));
      i++;
      continue;
    }
    int end = i + 1;
    for (; end < 65536 && n + k->counts[end] <= k->room; end++) n += k->counts[end];
    if (n > 0) DL_TRY(take_piece(k, from, low + (uint64_t)(end - 1) * step + (step - 1), n));
    i = end;
  }
  return DL_OK;
}

/* The values whose keys begin like `low` down to bit shift + 16. */
static dl_status take_range(const cut *above, uint64_t low, int shift) {
  cut k = *above;
  k.low = low;
  k.high = shift == 48 ? UINT64_MAX : low + ((1ull << (shift + 16)) - 1);
  k.shift = shift;
  k.counts = dl_calloc(65536, sizeof *k.counts);
  dl_status status = k.counts ? dl_stats_each_block(k.source, count_block, &k) : DL_ERR_NOMEM;
  status = dl_team_agree(k.source->team, status);
  if (status == DL_OK) status = dl_team_sum_i64(k.source->team, k.counts, 65536);
  if (status == DL_OK) status = take_counted(&k, low);
  free(k.counts);
  return status;
}

static dl_status walk_cut(void *walker, dl_stats_take take, void *context) {
  cut *k = walker;
  k->take = take;
  k->context = context;
  return take_range(k, 0, 48);
}

static dl_status fill_cut(dl_stats_source *s, dl_stats_column *columns, int column) {
  int64_t room = s->memory_bytes / (4 * (int64_t)sizeof(double));
  cut k = {.source = s, .column = column, .room = room > 1 ? room : 1};
  DL_TRY(dl_stats_column_fill(&columns[column], walk_cut, &k));
  return dl_team_broadcast(s->team, &columns[column], sizeof *columns, 0);
}

/* ---- all columns ---- */

/* Bytes that a column takes of a member's memory, counting its own values and its share of the others'. */
static int64_t cost_of(const dl_stats_source *s, const dl_stats_column *c) {
  int64_t size = s->team->size;
  return dl_stats_is_counted(c) ? dl_stats_span(c) * 8 * (size + 2) : (2 * c->n / size + 1) * 8;
}

static bool fits_alone(const dl_stats_source *s, const dl_stats_column *c) {
  return dl_stats_is_counted(c) || c->n * 3 * 8 <= s->memory_bytes;
}

/* Fills the panel with columns from `first` on; returns the first that is left. */
static int choose_panel(const dl_stats_source *s, const dl_stats_column *columns, int first, panel *p) {
  int64_t left = s->memory_bytes, most = 0;
  int next = first;
  for (p->n = 0; next < s->columns; next++) {
    const dl_stats_column *c = &columns[next];
    if (!fits_alone(s, c)) break;
    int64_t scratch = dl_stats_is_counted(c) ? 0 : 2 * c->n * 8;
    if (scratch > most) most = scratch;
    left -= cost_of(s, c);
    if (p->n > 0 && left < most) break;
    p->places[p->n] = (place){.column = next, .owner = p->n % s->team->size};
    p->n++;
  }
  return next;
}

dl_status dl_stats_columns_fill(dl_stats_source *source, dl_stats_column *columns) {
  panel p = {.columns = columns, .places = dl_calloc((size_t)source->columns, sizeof *p.places)};
  dl_status status = dl_team_agree(source->team, p.places ? DL_OK : DL_ERR_NOMEM);
  for (int next = 0; status == DL_OK && next < source->columns;) {
    if (!fits_alone(source, &columns[next])) {
      status = fill_cut(source, columns, next++);
      continue;
    }
    next = choose_panel(source, columns, next, &p);
    status = panel_fill(source, &p, columns);
    panel_clear(&p);
  }
  free(p.places);
  return status;
}

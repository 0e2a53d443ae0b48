/* data_units.c - units are numbered along the pieces; a binary search over pieces finds one, the rest is division. */
#include "data/data_units.h"

#include <stdlib.h>

#include "core/mem.h"

static int64_t unit_rows(int64_t chunk_rows, int64_t rows, size_t row_bytes, int64_t most) {
  int64_t want = DL_UNIT_BYTES / (int64_t)row_bytes;
  if (most && want > most) want = most;
  if (want < 1) want = 1;
  const int64_t unit = chunk_rows >= want ? chunk_rows : want / chunk_rows * chunk_rows;
  return unit < rows ? unit : rows;
}

static void add_run(dl_units *units, int64_t piece, int64_t first_row, int64_t rows, int64_t rows_of_unit) {
  units->run[units->n_runs++] = (dl_unit_run){piece, units->n, first_row, rows, rows_of_unit};
  units->n += (rows + rows_of_unit - 1) / rows_of_unit;
  if (rows_of_unit > units->most_rows) units->most_rows = rows_of_unit;
}

static dl_status count(dl_units *units) {
  units->first = dl_calloc((size_t)units->n + 1, sizeof *units->first);
  if (!units->first) return DL_ERR_NOMEM;
  int64_t at = 0;
  for (int64_t u = 0; u < units->n; u++) {
    const dl_unit unit = dl_unit_at(units, u);
    const int64_t end = unit.first + unit.rows;
    units->first[u] = at;
    if (!units->order) at = end;
    while (units->order && at < units->samples && units->order[at] < end) at++;
  }
  units->first[units->n] = at;
  return DL_OK;
}

dl_status dl_units_make(const dl_data *data, int split, int64_t most, bool counted, dl_units *out) {
  const int part = data->source_part[split];
  const size_t row_bytes = (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
  *out = (dl_units){.order = data->order[split], .samples = data->plan.samples[split]};
  out->run = dl_calloc((size_t)data->plan.n_pieces + 1, sizeof *out->run);
  if (!out->run) return DL_ERR_NOMEM;
  const int64_t rows = data->part[part].samples;
  if (data->part[part].x) {
    if (rows) add_run(out, -1, 0, rows, unit_rows(1, rows, row_bytes, most));
  } else {
    for (int64_t p = 0; p < data->plan.n_pieces; p++) {
      const dl_piece *piece = &data->pieces[p];
      if (piece->split == part)
        add_run(out, p, piece->first, piece->rows, unit_rows(piece->chunk_rows, piece->rows, row_bytes, most));
    }
  }
  if (out->n > INT32_MAX) {
    dl_units_clear(out);
    return dl_fail(DL_ERR_DATA, "the data set has too many chunks: %lld", (long long)out->n);
  }
  return counted ? count(out) : DL_OK;
}

void dl_units_clear(dl_units *units) {
  free(units->run);
  free(units->first);
  *units = (dl_units){.n = 0};
}

static const dl_unit_run *run_of(const dl_units *units, int64_t value, bool by_row) {
  int64_t low = 0, high = units->n_runs;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if ((by_row ? units->run[middle].first_row : units->run[middle].first_unit) <= value)
      low = middle;
    else
      high = middle;
  }
  return &units->run[low];
}

dl_unit dl_unit_at(const dl_units *units, int64_t unit) {
  const dl_unit_run *run = run_of(units, unit, false);
  const int64_t row = (unit - run->first_unit) * run->unit_rows, left = run->rows - row;
  return (dl_unit){run->piece, run->first_row + row, row, left < run->unit_rows ? left : run->unit_rows};
}

int64_t dl_unit_of_row(const dl_units *units, int64_t row) {
  const dl_unit_run *run = run_of(units, row, true);
  return run->first_unit + (row - run->first_row) / run->unit_rows;
}

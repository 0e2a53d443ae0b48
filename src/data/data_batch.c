/* data_batch.c - batches: rows of the block found by number and converted on the way.
 *
 * Place i of an epoch's order is sample permute(i) of what is left of train: a keyed permutation that any member can
 * evaluate anywhere, so an epoch's order is never written down. An augmented image is read through its view, a row at a
 * time.
 */
#include <string.h>

#include "data/data_set.h"
#include "data/data_stream.h"

int64_t dl_data_steps(const dl_data *data, int64_t batch, bool drop_last) {
  int64_t n = data->plan.samples[DL_SPLIT_TRAIN];
  return n / batch + (!drop_last && n % batch != 0);
}

int64_t dl_data_step_samples(const dl_data *data, int64_t batch, int64_t step) {
  int64_t n = data->plan.samples[DL_SPLIT_TRAIN], full = n / batch;
  return step < 0 || step > full ? 0 : step < full ? batch : n % batch;
}

static void convert_row(const dl_data *data, const void *in, float *out) {
  const dl_convert_ops *ops = &DL_ISA_CHOOSE(dl_convert_kernels)->of[data->plan.element];
  const dl_norm *norm = &data->norm;
  size_t n = (size_t)data->plan.shape.x_size;
  if (norm->kind == DL_NORMALIZE_PER_FEATURE) {
    ops->each(out, in, n, norm->shift, norm->scale);
    return;
  }
  size_t run = n / (size_t)norm->n, bytes = run * dl_element_bytes(data->plan.element);
  for (size_t c = 0; c < (size_t)norm->n; c++)
    ops->uniform(out + c * run, (const char *)in + c * bytes, run, norm->shift[c], norm->scale[c]);
}

/* (x - shift) * scale, value `first` of the sample being the first one here; the bits are those of the kernels. */
static void normalise(const dl_norm *norm, size_t first, size_t channel, size_t n, float *x) {
  if (norm->kind == DL_NORMALIZE_PER_FEATURE) {
    for (size_t i = 0; i < n; i++) x[i] = (x[i] - norm->shift[first + i]) * norm->scale[first + i];
    return;
  }
  const size_t figure = norm->n > 1 ? channel : 0;
  const float shift = norm->shift[figure], scale = norm->scale[figure];
  for (size_t i = 0; i < n; i++) x[i] = (x[i] - shift) * scale;
}

static void reverse(float *x, size_t n) {
  for (size_t i = 0, j = n; i + 1 < j; i++) {
    const float first = x[i];
    x[i] = x[--j];
    x[j] = first;
  }
}

/* One row of an image as its columns are seen; `in` is the row it shows, NULL: none. */
static void look_at_row(const dl_convert_ops *ops, const dl_view_axis *columns, size_t element_bytes, const char *in,
                        float *out) {
  const size_t width = (size_t)columns->size, begin = in ? (size_t)columns->begin : width,
               n = in ? (size_t)(columns->end - columns->begin) : 0;
  for (size_t i = 0; i < begin; i++) out[i] = 0;
  for (size_t i = begin + n; i < width; i++) out[i] = 0;
  if (!n) return;
  const int64_t shown = columns->step > 0 ? columns->begin : columns->end - 1;
  const size_t first = (size_t)(columns->step * shown + columns->at);
  ops->uniform(out + begin, in + first * element_bytes, n, 0, 1);
  if (columns->step < 0) reverse(out + begin, n);
}

static void convert_view(const dl_data *data, const dl_view *view, const char *in, float *out) {
  const dl_convert_ops *ops = &DL_ISA_CHOOSE(dl_convert_kernels)->of[data->plan.element];
  const dl_view_axis *rows = &view->rows;
  const size_t channels = (size_t)data->plan.shape.x_shape[0], width = (size_t)view->columns.size,
               height = (size_t)rows->size, bytes = dl_element_bytes(data->plan.element);
  for (size_t c = 0; c < channels; c++)
    for (int64_t y = 0; y < rows->size; y++) {
      const bool shown = y >= rows->begin && y < rows->end;
      const size_t from = shown ? (c * height + (size_t)(rows->step * y + rows->at)) * width : 0,
                   to = (c * height + (size_t)y) * width;
      look_at_row(ops, &view->columns, bytes, shown ? in + from * bytes : NULL, out + to);
      normalise(&data->norm, to, c, width, out + to);
    }
}

dl_status dl_part_find(const dl_data *data, int part, int64_t sample, int64_t next, dl_row_run *run) {
  if (sample >= run->first && sample < run->first + run->n) return DL_OK;
  if (!data->plan.streamed) {
    *run = (dl_row_run){0, data->part[part].samples, data->part[part].x};
    return DL_OK;
  }
  dl_rows rows;
  DL_TRY(dl_stream_part(data->stream, part, sample, next, &rows));
  *run = (dl_row_run){sample, rows.n, rows.x};
  return DL_OK;
}

static const char *row_of(const dl_data *data, const dl_row_run *run, int64_t sample) {
  return run->x + (size_t)(sample - run->first) * (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
}

static dl_status check_wanted(const dl_data *data, const dl_part *part, const dl_batch *out) {
  if (out->x && !part->samples) return dl_fail(DL_ERR_INTERNAL, "a batch of a split that is absent");
  const bool tokens = data->task == DL_TASK_LANGUAGE_MODEL;
  if ((out->y && !part->y) || (out->label && !part->labels && !tokens))
    return part->y || part->labels
               ? dl_fail(DL_ERR_INTERNAL, "a batch wants %s, which the task has not", out->y ? "values" : "labels")
               : dl_fail(DL_ERR_DATA, "the data set has no y");
  (void)data;
  return DL_OK;
}

/* The token after each of x. */
static void take_tokens(const dl_data *data, const void *row, int32_t *out) {
  enum { PIECE = 256 };
  const dl_convert_ops *ops = &DL_ISA_CHOOSE(dl_convert_kernels)->of[data->plan.element];
  const size_t n = (size_t)data->plan.shape.x_size, bytes = dl_element_bytes(data->plan.element);
  float piece[PIECE];
  for (size_t i = 0; i < n; i += PIECE) {
    const size_t m = n - i < PIECE ? n - i : PIECE;
    ops->uniform(piece, (const char *)row + (i + 1) * bytes, m, 0, 1);
    for (size_t j = 0; j < m; j++) out[i + j] = (int32_t)piece[j];
  }
}

static void see(const dl_data *data, const char *x, const dl_view *view, float *out) {
  if (view)
    convert_view(data, view, x, out);
  else
    convert_row(data, x, out);
}

/* `x`: the sample's row. `view`: NULL for x as it is. */
static void take(const dl_data *data, const dl_part *part, int64_t sample, const char *x, const dl_view *view,
                 int64_t row, const dl_batch *out) {
  size_t s = (size_t)sample, r = (size_t)row, size = (size_t)data->plan.shape.x_size,
         y_size = (size_t)data->plan.shape.y_size;
  if (out->x) see(data, x, view, out->x + r * size);
  if (out->y && data->plan.y_is_x)
    see(data, x, view, out->y + r * size);
  else if (out->y)
    memcpy(out->y + r * y_size, part->y + s * y_size, y_size * sizeof(float));
  if (out->label && data->task == DL_TASK_LANGUAGE_MODEL)
    take_tokens(data, x, out->label + r * size);
  else if (out->label)
    out->label[r] = part->labels[s];
  if (out->weight) out->weight[r] = part->weight ? part->weight[s] : 1.0f;
}

/* A row of a training batch. */
static void take_trained(const dl_data *data, int64_t epoch, int64_t sample, const char *x, int64_t row,
                         const dl_batch *out) {
  dl_view view;
  if (data->augment) dl_augment_draw(data->augment, epoch, sample, &view);
  take(data, &data->part[DL_SPLIT_TRAIN], sample, x, data->augment ? &view : NULL, row, out);
}

/* Whether batches of this kind look at x: y is in memory whatever x is, unless it is x. */
static bool wants_x(const dl_data *data, const dl_batch *out) {
  return out->x || (out->y && data->plan.y_is_x) || (out->label && data->task == DL_TASK_LANGUAGE_MODEL);
}

/* What one leaf takes: samples [begin, end) of a batch, all of shard `lane`, whose first one is number `leaf` there. */
static dl_status read_lane(const dl_data *data, int64_t epoch, int64_t batch, int64_t step, int64_t lane, int64_t leaf,
                           int64_t begin, int64_t end, int64_t row, const dl_batch *out) {
  const int64_t shards = data->shards,
                whole = dl_leaf_begin(batch, shards, lane + 1) - dl_leaf_begin(batch, shards, lane);
  int64_t position = step * whole + begin - leaf;
  const size_t bytes = (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
  while (begin < end) {
    dl_rows rows;
    DL_TRY(dl_stream_lane(data->stream, epoch, step, lane, position, &rows));
    const int64_t n = rows.n < end - begin ? rows.n : end - begin;
    for (int64_t i = 0; i < n; i++) take_trained(data, epoch, rows.sample[i], rows.x + (size_t)i * bytes, row++, out);
    position += n;
    begin += n;
  }
  return DL_OK;
}

static dl_status read_lanes(const dl_data *data, int64_t epoch, int64_t batch, int64_t step, int64_t begin, int64_t end,
                            const dl_batch *out) {
  const int64_t samples = dl_data_step_samples(data, batch, step), shards = data->shards;
  if (batch != data->lanes_batch)
    return dl_fail(DL_ERR_INTERNAL, "lanes were made for batches of %lld, not of %lld", (long long)data->lanes_batch,
                   (long long)batch);
  int64_t row = 0;
  while (begin < end) {
    int64_t lane = begin * shards / samples;
    while (dl_leaf_begin(samples, shards, lane + 1) <= begin) lane++;
    const int64_t leaf = dl_leaf_begin(samples, shards, lane), after = dl_leaf_begin(samples, shards, lane + 1),
                  to = after < end ? after : end;
    DL_TRY(read_lane(data, epoch, batch, step, lane, leaf, begin, to, row, out));
    row += to - begin;
    begin = to;
  }
  return DL_OK;
}

static int64_t trained_sample(const dl_data *data, int64_t epoch, int64_t place) {
  const int64_t *order = data->order[DL_SPLIT_TRAIN];
  if (data->shuffle == DL_SHUFFLE_FULL)
    place = (int64_t)dl_rng_permute(data->order_key, (uint32_t)epoch, (uint64_t)data->plan.samples[DL_SPLIT_TRAIN],
                                    (uint64_t)place);
  return order ? order[place] : place;
}

/* Rows at random places are asked of memory some rows before they are wanted. */
static void fetch_row(const dl_data *data, int64_t sample) {
  enum { LINE = 64, MOST = 2048 };
  const size_t bytes = (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
  const char *x = (const char *)data->part[DL_SPLIT_TRAIN].x + (size_t)sample * bytes;
  for (size_t at = 0; at < bytes && at < MOST; at += LINE) __builtin_prefetch(x + at);
}

static dl_status read_permuted(const dl_data *data, int64_t epoch, int64_t batch, int64_t step, int64_t begin,
                               int64_t end, const dl_batch *out) {
  enum { AHEAD = 4 };
  const int64_t n = data->plan.samples[DL_SPLIT_TRAIN], first = step * batch;
  const bool x = wants_x(data, out), in_memory = x && !data->plan.streamed;
  int64_t sample[AHEAD];
  dl_row_run run = {.n = 0};
  for (int64_t i = begin; i < end + AHEAD; i++) {
    if (i >= begin + AHEAD) {
      const int64_t row = i - AHEAD, now = sample[row % AHEAD],
                    next =
                        in_memory || first + row + batch >= n ? -1 : trained_sample(data, epoch, first + row + batch);
      if (x) DL_TRY(dl_part_find(data, DL_SPLIT_TRAIN, now, next, &run));
      take_trained(data, epoch, now, x ? row_of(data, &run, now) : NULL, row - begin, out);
    }
    if (i >= end) continue;
    sample[i % AHEAD] = trained_sample(data, epoch, first + i);
    if (in_memory) fetch_row(data, sample[i % AHEAD]);
  }
  return DL_OK;
}

dl_status dl_data_read_step(const dl_data *data, int64_t epoch, int64_t batch, int64_t step, int64_t begin, int64_t end,
                            dl_batch *out) {
  if (batch < 1 || epoch < 0 || begin < 0 || begin > end || end > dl_data_step_samples(data, batch, step))
    return dl_fail(DL_ERR_INTERNAL, "samples %lld to %lld of step %lld are not in the epoch", (long long)begin,
                   (long long)end, (long long)step);
  if (begin < end) DL_TRY(check_wanted(data, &data->part[DL_SPLIT_TRAIN], out));
  return data->shuffle == DL_SHUFFLE_LANES ? read_lanes(data, epoch, batch, step, begin, end, out)
                                           : read_permuted(data, epoch, batch, step, begin, end, out);
}

dl_status dl_data_read(const dl_data *data, dl_split_kind split, int64_t begin, int64_t end, dl_batch *out) {
  if (begin < 0 || begin > end || end > data->plan.samples[split])
    return dl_fail(DL_ERR_INTERNAL, "samples %lld to %lld are not in the split", (long long)begin, (long long)end);
  const int part = data->source_part[split];
  const int64_t *order = data->order[split];
  const bool x = wants_x(data, out);
  dl_row_run run = {.n = 0};
  if (begin < end) DL_TRY(check_wanted(data, &data->part[part], out));
  for (int64_t i = begin; i < end; i++) {
    const int64_t sample = order ? order[i] : i;
    if (x) DL_TRY(dl_part_find(data, part, sample, -1, &run));
    take(data, &data->part[part], sample, x ? row_of(data, &run, sample) : NULL, NULL, i - begin, out);
  }
  return DL_OK;
}

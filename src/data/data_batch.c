/* data_batch.c - batches: rows of the block found by number and converted on the way.
 *
 * Place i of an epoch's order is sample permute(i) of what is left of train: a keyed permutation that any member can
 * evaluate anywhere, so an epoch's order is never written down. An augmented image is read through its view.
 */
#include <math.h>
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

/* Whose draws an augmented row is seen by. */
typedef struct drawn {
  int64_t epoch, sample;
  dl_view view;
} drawn;

/* What integers of this kind can be. */
static void find_range(int element, float *low, float *high) {
  static const float most[] = {
      [DL_ELEMENT_U8] = 255, [DL_ELEMENT_I8] = 127, [DL_ELEMENT_U16] = 65535, [DL_ELEMENT_I16] = 32767};
  const bool is_float = element == DL_ELEMENT_F32, is_signed = element == DL_ELEMENT_I8 || element == DL_ELEMENT_I16;
  *high = is_float ? INFINITY : most[element];
  *low = is_float ? -INFINITY : is_signed ? -1 - most[element] : 0;
}

static void see_augmented(const dl_data *data, const char *x, const drawn *by, float *out) {
  const int64_t *shape = data->plan.shape.x_shape;
  const bool coloured = dl_augment_has_colours(data->augment);
  dl_image image = {.channels = shape[0], .height = shape[1], .width = shape[2], .at = out};
  find_range(data->plan.element, &image.low, &image.high);
  dl_view_read(&by->view, data->plan.element, shape[0], x, coloured ? NULL : &data->norm, out);
  if (coloured) {
    dl_augment_colour(data->augment, by->epoch, by->sample, &image);
    dl_view_normalise(&data->norm, shape[0], shape[1] * shape[2], out);
  }
  dl_augment_cover(data->augment, by->epoch, by->sample, &image);
}

static void see(const dl_data *data, const char *x, const drawn *by, float *out) {
  if (by)
    see_augmented(data, x, by, out);
  else
    convert_row(data, x, out);
}

/* Images to be learnt are seen as x is, but for its colours and covers; a yes or no stays one. */
static void see_targets(const dl_data *data, const float *y, const drawn *by, float *out) {
  const size_t n = (size_t)data->plan.shape.y_size;
  if (!by || data->plan.y_planes < 1) {
    memcpy(out, y, n * sizeof *out);
    return;
  }
  dl_view_read(&by->view, DL_ELEMENT_F32, data->plan.y_planes, y, NULL, out);
  for (size_t i = 0; i < n && data->task == DL_TASK_MULTILABEL; i++) out[i] = out[i] >= 0.5f;
}

/* One label, or a map of them. */
static void see_labels(const dl_data *data, const int32_t *labels, const drawn *by, int32_t *out) {
  if (by && data->plan.y_planes > 0)
    dl_view_read_labels(&by->view, labels, out);
  else
    memcpy(out, labels, (size_t)data->plan.shape.y_size * sizeof *out);
}

/* `x`: the sample's row. `by`: NULL for x as it is. */
static void take(const dl_data *data, const dl_part *part, int64_t sample, const char *x, const drawn *by, int64_t row,
                 const dl_batch *out) {
  size_t s = (size_t)sample, r = (size_t)row, size = (size_t)data->plan.shape.x_size,
         y_size = (size_t)data->plan.shape.y_size;
  if (out->x) see(data, x, by, out->x + r * size);
  if (out->y && data->plan.y_is_x)
    see(data, x, by, out->y + r * size);
  else if (out->y)
    see_targets(data, part->y + s * y_size, by, out->y + r * y_size);
  if (out->label && data->task == DL_TASK_LANGUAGE_MODEL)
    take_tokens(data, x, out->label + r * size);
  else if (out->label)
    see_labels(data, part->labels + s * y_size, by, out->label + r * y_size);
  if (out->weight) out->weight[r] = part->weight ? part->weight[s] : 1.0f;
}

/* A row of a training batch. */
static void take_trained(const dl_data *data, int64_t epoch, int64_t sample, const char *x, int64_t row,
                         const dl_batch *out) {
  drawn by = {.epoch = epoch, .sample = sample};
  if (data->augment) dl_augment_draw(data->augment, epoch, sample, &by.view);
  take(data, &data->part[DL_SPLIT_TRAIN], sample, x, data->augment ? &by : NULL, row, out);
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

/* data_set.c - opening: the leader of each node looks, plans and reads; the others get the plan and see the same
 * memory.
 *
 * Every phase ends in an agreement, so that one member's trouble is everybody's error. Where the node has no memory to
 * share each member reads for itself.
 */
#include "data/data_set.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"
#include "data/data_plan.h"
#include "data/data_source.h"
#include "data/data_stream.h"

/* ---- the plan and the block ---- */

static dl_status share_plan(dl_data *data, const dl_scan *scan, bool reader) {
  data->plan = scan->plan;
  DL_TRY(dl_team_broadcast(data->team, &data->plan, sizeof data->plan, 0));
  dl_status status = DL_OK;
  if (reader && memcmp(&data->plan, &scan->plan, sizeof data->plan) != 0)
    status =
        dl_fail(DL_ERR_DATA, "the data files on %s have other shapes than those on the first node", data->team->host);
  return dl_team_agree(data->team, status);
}

/* Shared memory, or else a block of this member's own, for which it becomes a reader. */
static dl_status make_block(dl_data *data, const dl_config *config, unsigned need, dl_scan *scan, bool *reader) {
  dl_team *team = data->team;
  size_t bytes = (size_t)data->plan.bytes;
  dl_status status = team->ops->shared_new(team, bytes, "the data set", &data->shared);
  data->block = data->shared.base;
  if (status != DL_ERR_SYSTEM) return status;
  data->shared = (dl_shared){.base = NULL};
  dl_warn("shared_memory", "the data set is kept by each member for itself (%.1f MB each): %s", (double)bytes / 1e6,
          dl_error_last()->message);
  status = *reader ? DL_OK : dl_scan_make(config, need, scan);
  *reader = true;
  if (status == DL_OK && memcmp(&data->plan, &scan->plan, sizeof data->plan) != 0)
    status = dl_fail(DL_ERR_DATA, "the data files changed while they were opened");
  if (status == DL_OK && !(data->own_block = dl_calloc_aligned(bytes, 1))) status = DL_ERR_NOMEM;
  data->block = data->own_block;
  return dl_team_agree(team, status);
}

/* What was read must be the same everywhere. */
static dl_status share_facts(dl_data *data) {
  dl_facts mine = *(const dl_facts *)data->block, first = mine;
  DL_TRY(dl_team_broadcast(data->team, &first, sizeof first, 0));
  data->plan.shape.classes = first.classes;
  memcpy(data->plan.samples, first.samples, sizeof first.samples);
  dl_status status = DL_OK;
  if (mine.classes != first.classes || mine.checksum != first.checksum ||
      memcmp(mine.samples, first.samples, sizeof first.samples) != 0)
    status = dl_fail(DL_ERR_DATA, "the data files on %s have another content than those on the first node",
                     data->team->host);
  return dl_team_agree(data->team, status);
}

static const void *at(const dl_data *data, int64_t offset) {
  return offset ? (const char *)data->block + offset : NULL;
}

static void bind_parts(dl_data *data) {
  for (int s = 0; s < DL_SPLITS; s++) {
    const dl_part_plan *plan = &data->plan.part[s];
    data->part[s] =
        (dl_part){plan->samples, at(data, plan->x), at(data, plan->y), at(data, plan->labels), at(data, plan->weight)};
    if (plan->bad) data->bad[s] = (bool *)((char *)data->block + plan->bad);
  }
  data->pieces = at(data, data->plan.pieces);
}

/* Those who get the data from their node's leader could read them as well: whether a job runs must not depend on which
 * ranks share a node. */
static dl_status check_access(const dl_config *config, unsigned need) {
  dl_source source = {0};
  dl_h5_file file;
  dl_h5_turn turn;
  dl_status status = dl_source_make(config, need, &source);
  for (int i = 0; i < source.n_files && status == DL_OK; i++) {
    const int descriptor = open(source.files[i], O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
      status = dl_fail_at(DL_ERR_DATA, source.files[i], 0, 0,
                          errno == ENOENT ? "the data file does not exist" : "cannot open the data file: %s",
                          strerror(errno));
    else
      close(descriptor);
  }
  if (status == DL_OK) {
    dl_h5_enter(&turn);
    status = dl_h5_open(source.files[0], &file);
    dl_h5_close(&file);
    dl_h5_leave(&turn);
  }
  dl_source_clear(&source);
  return status;
}

static dl_status open_files(dl_data *data, const dl_config *config, unsigned need, dl_scan *scan) {
  dl_team *team = data->team;
  bool reader = team->node_rank == 0;
  DL_TRY(dl_team_agree(team, reader ? dl_scan_make(config, need, scan) : DL_OK)); /* the files are sound, then */
  DL_TRY(dl_team_agree(team, reader ? DL_OK : check_access(config, need)));
  DL_TRY(share_plan(data, scan, reader));
  DL_TRY(make_block(data, config, need, scan, &reader));
  DL_TRY(dl_team_agree(team, reader ? dl_scan_load(scan, config, team->nodes > 1, data->block) : DL_OK));
  DL_TRY(share_facts(data));
  bind_parts(data);
  const bool trains = (need >> DL_SPLIT_TRAIN & 1) && !(need & DL_DATA_ONLY_NEEDED);
  return dl_data_finish(data, config, trains);
}

/* ---- what files and arrays have in common ---- */

static dl_status bind_class_names(dl_data *data) {
  int64_t n = data->plan.n_class_names;
  if (!n) return DL_OK;
  data->class_names = dl_calloc((size_t)n, sizeof *data->class_names);
  if (!data->class_names) return DL_ERR_NOMEM;
  const char *name = at(data, data->plan.class_names);
  for (int64_t i = 0; i < n; i++, name += strlen(name) + 1) data->class_names[i] = name;
  return DL_OK;
}

bool dl_y_may_be_image(const dl_data_shape *x, int64_t values) {
  const int64_t pixels = x->x_dims == 3 ? x->x_shape[1] * x->x_shape[2] : 0;
  return pixels > 1 && values % pixels == 0;
}

/* Masks and other images to be learnt that do not lie over x pixel by pixel are not moved with it. */
static dl_status check_augment(const dl_data *data, const dl_config *config) {
  if (!data->augment || !dl_augment_moves(data->augment) || data->plan.y_planes >= 0) return DL_OK;
  const dl_data_shape *s = &data->plan.shape;
  if (data->task == DL_TASK_SEGMENTATION) {
    dl_node_fail(config->data.augment, false,
                 "data.augment moves x, but not maps of %lld x %lld labels with images of %lld x %lld",
                 (long long)s->map[0], (long long)s->map[1], (long long)(s->x_dims == 3 ? s->x_shape[1] : 1),
                 (long long)(s->x_dims == 3 ? s->x_shape[2] : s->x_size));
    return dl_hint("take out what flips, moves, turns or scales, or bring labels and images to one size");
  }
  if (data->team->rank == 0)
    dl_warn("augment",
            "data.augment moves x alone: y of a sample does not lie over it as an image of its height and width, "
            "channels first, and will not fit if it is one");
  return DL_OK;
}

dl_status dl_data_finish(dl_data *data, const dl_config *config, bool trains) {
  for (int s = 0; s < DL_SPLITS; s++) {
    data->source_part[s] = s;
    data->order[s] = at(data, data->plan.order[s]);
  }
  if (!data->part[DL_SPLIT_VALID].samples) data->source_part[DL_SPLIT_VALID] = DL_SPLIT_TRAIN;
  data->task = config->task;
  data->ignores = dl_source_ignored_label(config, &data->ignored);
  data->shuffle = data->plan.shuffle;
  data->layout = config->data.layout;
  data->seed = (uint64_t)config->seed;
  data->order_key = dl_rng_stream(data->seed, DL_RNG_SHUFFLE, 0);
  DL_TRY(dl_team_agree(data->team, bind_class_names(data)));
  if (trains) DL_TRY(dl_team_agree(data->team, dl_augment_new(config, &data->plan.shape, &data->augment)));
  DL_TRY(dl_team_agree(data->team, check_augment(data, config)));
  if (data->plan.streamed) DL_TRY(dl_team_agree(data->team, dl_stream_new(data, &data->stream)));
  return dl_norm_make(data, config);
}

dl_status dl_data_open(dl_team *team, const dl_config *config, unsigned need, dl_data **out) {
  *out = NULL;
  dl_data *data = dl_calloc(1, sizeof *data);
  DL_TRY(dl_team_agree(team, data ? DL_OK : DL_ERR_NOMEM));
  data->team = team;
  dl_scan scan;
  memset(&scan, 0, sizeof scan);
  dl_status status = open_files(data, config, need, &scan);
  dl_scan_clear(&scan);
  if (status == DL_OK)
    *out = data;
  else
    dl_data_destroy(&data);
  return status;
}

void dl_data_destroy(dl_data **data) {
  dl_data *d = *data;
  if (!d) return;
  dl_stream_destroy(&d->stream);
  if (d->shared.base) d->team->ops->shared_destroy(d->team, &d->shared);
  free(d->own_block);
  free(d->class_names);
  dl_norm_clear(&d->norm);
  dl_augment_destroy(&d->augment);
  free(d);
  *data = NULL;
}

/* ---- questions ---- */

const dl_data_shape *dl_data_shape_of(const dl_data *data) { return &data->plan.shape; }
int64_t dl_data_samples(const dl_data *data, dl_split_kind split) { return data->plan.samples[split]; }
int dl_data_shuffle(const dl_data *data) { return data->shuffle; }
const dl_norm *dl_data_norm(const dl_data *data) { return &data->norm; }
size_t dl_data_bytes(const dl_data *data) {
  const size_t buffers = data->stream ? dl_stream_bytes(data->stream) * (size_t)data->team->node_size : 0;
  return (size_t)data->plan.bytes + buffers;
}

size_t dl_data_row_bytes(const dl_data *data) {
  return (size_t)data->plan.row_values * dl_element_bytes(data->plan.element);
}

const char *dl_piece_file(const dl_data *data, const dl_piece *piece) {
  return (const char *)at(data, data->plan.file_names) + piece->file_name;
}
const char *dl_piece_y(const dl_data *data, const dl_piece *piece) {
  const char *file = dl_piece_file(data, piece);
  return file + strlen(file) + 1;
}
const char *dl_piece_x(const dl_data *data, const dl_piece *piece) {
  const char *y = dl_piece_y(data, piece);
  return y + strlen(y) + 1;
}

dl_status dl_data_set_order(dl_data *data, const dl_config *config, int64_t shards) {
  if (data->shuffle != DL_SHUFFLE_LANES || !data->plan.samples[DL_SPLIT_TRAIN]) return DL_OK;
  const dl_team *team = data->team;
  const dl_stream_lanes lanes = {.batch = config->train.batch,
                                 .shards = shards,
                                 .epochs = config->train.epochs,
                                 .buffer_bytes = config->data.shuffle_buffer_mb << 20,
                                 .drop_last = config->train.drop_last,
                                 .begin = dl_rank_first_shard(shards, team->rank, team->size),
                                 .end = dl_rank_first_shard(shards, team->rank + 1, team->size)};
  data->lanes_batch = lanes.batch;
  data->shards = shards;
  if (!data->stream) DL_TRY(dl_stream_new(data, &data->stream));
  return dl_stream_set_lanes(data->stream, &lanes);
}

dl_data_reading dl_data_reading_of(const dl_data *data) {
  if (!data->stream) return (dl_data_reading){0};
  const dl_stream_figures f = dl_stream_figures_of(data->stream);
  return (dl_data_reading){.chunks = f.chunks,
                           .packed_bytes = f.packed_bytes,
                           .bytes = f.row_bytes,
                           .busy_s = f.busy_s,
                           .fetch_s = f.fetch_s,
                           .wait_s = f.wait_s};
}

bool dl_data_has_y(const dl_data *data, dl_split_kind split) {
  const dl_part *part = &data->part[data->source_part[split]];
  return data->plan.samples[split] > 0 && (part->y || part->labels || data->task == DL_TASK_LANGUAGE_MODEL);
}

const char *const *dl_data_class_names(const dl_data *data, int *n) {
  if (n) *n = data->class_names ? (int)data->plan.n_class_names : 0;
  return data->class_names;
}

/* Says which file and row holds sample `row` of a part. */
static dl_status fail_label(const dl_data *data, int split, int64_t at_label, int64_t classes) {
  long long label = data->part[split].labels[at_label];
  const int64_t row = at_label / data->plan.shape.y_size;
  const dl_piece *piece = at(data, data->plan.pieces);
  for (int64_t i = 0; piece && i < data->plan.n_pieces; i++, piece++) {
    if (piece->split != split || row < piece->first || row >= piece->first + piece->rows) continue;
    dl_fail_at(DL_ERR_DATA, dl_piece_file(data, piece), 0, 0,
               "'%s' has the label %lld in row %lld, but the model has %lld outputs: labels run from 0 to %lld",
               dl_piece_y(data, piece), label, (long long)(row - piece->first), (long long)classes,
               (long long)classes - 1);
    if (data->task != DL_TASK_SEGMENTATION) return DL_ERR_DATA;
    return dl_hint("pixels without a class: loss: {name: cross_entropy, ignore_index: %lld}", label);
  }
  return dl_fail(DL_ERR_DATA,
                 "sample %lld of %s has the label %lld, but the model has %lld outputs: labels run from 0 to %lld",
                 (long long)row, dl_choice_name(DL_SPLIT_NAMES, split, (char[16]){0}, 16), label, (long long)classes,
                 (long long)classes - 1);
}

bool dl_data_ignores(const dl_data *data, int32_t label) { return data->ignores && label == data->ignored; }

dl_status dl_data_check_labels(const dl_data *data, int64_t classes) {
  if (data->plan.shape.classes <= classes) return DL_OK;
  for (int s = 0; s < DL_SPLITS; s++)
    for (int64_t i = 0; data->part[s].labels && i < data->part[s].samples * data->plan.shape.y_size; i++)
      if (data->part[s].labels[i] >= classes && !dl_data_ignores(data, data->part[s].labels[i]))
        return fail_label(data, s, i, classes);
  return DL_OK;
}

dl_status dl_data_check_tokens(const dl_data *data, int64_t limit) {
  if (data->plan.streamed) {
    dl_stream_limit_tokens(data->stream, limit);
    return DL_OK;
  }
  const int64_t size = data->plan.shape.x_size;
  float *row = dl_calloc((size_t)size, sizeof *row);
  if (!row) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  for (int s = 0; s < DL_SPLITS; s++)
    for (int64_t i = 0; data->part[s].x && i < data->part[s].samples && status == DL_OK; i++) {
      status = dl_part_raw_row(data, s, i, row);
      for (int64_t k = 0; k < size && status == DL_OK; k++)
        if (!(row[k] >= 0 && row[k] < (float)limit && row[k] == floorf(row[k])))
          status =
              dl_fail(DL_ERR_DATA,
                      "x of sample %lld of %s holds %g, but the embedding's vocabulary is of %lld: tokens are whole "
                      "numbers from 0 to %lld",
                      (long long)i, dl_choice_name(DL_SPLIT_NAMES, s, (char[16]){0}, 16), (double)row[k],
                      (long long)limit, (long long)limit - 1);
    }
  free(row);
  return status;
}

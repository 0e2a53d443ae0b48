/* data_plan.c - from files to a plan: shapes found out and held against each other before memory is asked for.
 *
 * A split is the samples of all files that have it, in order. A file may lack a split (train and test in files of their
 * own) but not all of them: a shard that was misnamed would be lost in silence.
 */
#include "data/data_plan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/log.h"
#include "data/hdf5_probe.h"

/* Bytes of a chunk: what is too much, too little, and recommended. */
#define LARGE_CHUNK (32.0 * 1024 * 1024)
#define SMALL_CHUNK (8.0 * 1024)
#define GOOD_CHUNK (512.0 * 1024)

/* What stands fixed once the first file of a split is seen. */
typedef struct looked {
  const char *x, *file; /* the first x of all, NULL: none yet; the others must be like it */
  char type[16];
  int64_t y_values[DL_SPLITS];
  bool has_y[DL_SPLITS], has_weight[DL_SPLITS];
} looked;

/* ---- x ---- */

/* The shape of one sample as the network gets it. */
static void sample_shape(const dl_h5_set *set, int layout, dl_data_shape *out) {
  int dims = set->dims - 1;
  const int64_t *dim = set->dim + 1;
  memset(out->x_shape, 0, sizeof out->x_shape);
  out->x_size = set->row_values;
  if (dims == 0) { /* (N): one feature */
    out->x_dims = 1;
    out->x_shape[0] = 1;
  } else if (dims == 2) { /* (N, H, W): one channel */
    out->x_dims = 3;
    out->x_shape[0] = 1;
    memcpy(out->x_shape + 1, dim, 2 * sizeof *dim);
  } else if (dims >= 3 && layout == DL_LAYOUT_NHWC) {
    out->x_dims = dims;
    out->x_shape[0] = dim[dims - 1];
    memcpy(out->x_shape + 1, dim, (size_t)(dims - 1) * sizeof *dim);
  } else {
    out->x_dims = dims;
    memcpy(out->x_shape, dim, (size_t)dims * sizeof *dim);
  }
}

static dl_status check_x(dl_scan *scan, looked *seen, const dl_h5_set *x, int layout) {
  dl_data_plan *plan = &scan->plan;
  dl_data_shape shape;
  memcpy(&shape, &plan->shape, sizeof shape); /* gaps included: plans of several nodes are compared as bytes */
  sample_shape(x, layout, &shape);
  if (!seen->x) {
    memcpy(&plan->shape, &shape, sizeof shape);
    plan->element = (int32_t)x->number.element;
    plan->integer = x->number.integer;
    plan->unit_max = x->number.unit_max;
    plan->row_values = shape.x_size;
    seen->x = x->name;
    seen->file = x->file->path;
    memcpy(seen->type, x->number.name, sizeof seen->type);
    return DL_OK;
  }
  if (shape.x_dims != plan->shape.x_dims || memcmp(shape.x_shape, plan->shape.x_shape, sizeof shape.x_shape) != 0) {
    char text[160], both[160];
    return dl_fail_at(DL_ERR_DATA, x->file->path, 0, 0,
                      "samples of '%s' have the shape %s, but those of '%s' in %s have %s", x->name,
                      dl_h5_dims_text(shape.x_dims, shape.x_shape, text, sizeof text), seen->x, seen->file,
                      dl_h5_dims_text(plan->shape.x_dims, plan->shape.x_shape, both, sizeof both));
  }
  if ((int)x->number.element != plan->element || x->number.unit_max != plan->unit_max)
    return dl_fail_at(DL_ERR_DATA, x->file->path, 0, 0, "'%s' is of type %s, but '%s' in %s is of type %s", x->name,
                      x->number.name, seen->x, seen->file, seen->type);
  return DL_OK;
}

/* Windows of sequence + 1 tokens, one every `sequence` tokens: the last one of a window is the first one of the next.
 */
static dl_status check_tokens(dl_scan *scan, looked *seen, const dl_h5_set *x, const dl_config *config,
                              int64_t *windows) {
  const int64_t sequence = config->data.sequence;
  char text[160];
  if (x->dims != 1)
    return dl_fail_at(DL_ERR_DATA, x->file->path, 0, 0, "'%s' has the shape %s; language_model wants one row of tokens",
                      x->name, dl_h5_dims_text(x->dims, x->dim, text, sizeof text));
  *windows = (x->dim[0] - 1) / sequence;
  if (*windows < 1) {
    dl_fail_at(DL_ERR_DATA, x->file->path, 0, 0, "'%s' has %lld tokens, fewer than a window of %lld", x->name,
               (long long)x->dim[0], (long long)sequence + 1);
    return dl_hint("set a smaller data.sequence");
  }
  dl_data_plan *plan = &scan->plan;
  if (seen->x && (int)x->number.element != plan->element)
    return dl_fail_at(DL_ERR_DATA, x->file->path, 0, 0, "'%s' is of type %s, but '%s' in %s is of type %s", x->name,
                      x->number.name, seen->x, seen->file, seen->type);
  plan->shape.x_dims = 1;
  plan->shape.x_shape[0] = plan->shape.x_size = plan->shape.y_size = sequence;
  plan->row_values = sequence + 1;
  plan->element = (int32_t)x->number.element;
  plan->integer = x->number.integer;
  plan->unit_max = 1;
  seen->x = x->name;
  seen->file = x->file->path;
  memcpy(seen->type, x->number.name, sizeof seen->type);
  return DL_OK;
}

/* ---- y ---- */

typedef struct y_form {
  const char *wanted;
  int max_dims;
  bool one_column;
} y_form;
static const y_form y_forms[] = {
    [DL_TASK_CLASSIFICATION] = {"labels (N,) or (N, 1), or one-hot rows (N, C)", 2, false},
    [DL_TASK_BINARY] = {"one column of 0 and 1: (N,) or (N, 1)", 2, true},
    [DL_TASK_MULTILABEL] = {"values of 0 and 1", DL_H5_MAX_DIMS, false},
    [DL_TASK_REGRESSION] = {"values", DL_H5_MAX_DIMS, false}, /* a sample's as one row */
    [DL_TASK_SEGMENTATION] = {"a map of class numbers a sample: (N, H, W), (N, 1, H, W) or (N, H, W, 1)", 4, false},
};

/* dl_data_plan.y_planes. */
static int32_t planes_over_x(const dl_data_shape *x, const dl_h5_set *y) {
  const int64_t *end = y->dim + y->dims;
  if (x->x_dims != 3) return 0;
  if (y->dims < 3) return dl_y_may_be_image(x, y->row_values) ? -1 : 0;
  if (y->dims == 4 && end[-1] == 1 && x->x_shape[2] > 1) end--; /* (N, H, W, 1) */
  if (y->dims > 4 || end[-2] != x->x_shape[1] || end[-1] != x->x_shape[2]) return -1;
  return (int32_t)(y->row_values / (end[-2] * end[-1]));
}

/* Height and width of a sample's map of labels; false: y is none. What could be (N, 1, H, W) and (N, H, W, 1) is what
 * lies over x, or the first. */
static bool find_map(const dl_data_shape *x, const dl_h5_set *y, int64_t map[2]) {
  const int64_t *dim = y->dim + 1;
  if (y->dims == 4 && dim[0] != 1 && dim[2] != 1) return false;
  if (y->dims < 3 || y->dims > 4) return false;
  const bool last =
      y->dims == 4 && dim[2] == 1 && (dim[0] != 1 || (dim[0] == x->x_shape[1] && dim[1] == x->x_shape[2]));
  if (y->dims == 4 && !last) dim++;
  memcpy(map, dim, 2 * sizeof *map);
  return true;
}

static dl_status check_y(dl_scan *scan, looked *seen, int split, const dl_h5_set *x, const dl_h5_set *y, int task) {
  const y_form *form = &y_forms[task];
  const char *path = y->file->path;
  char text[160];
  if (y->dim[0] != x->dim[0])
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has %lld samples but '%s' has %lld", x->name, (long long)x->dim[0],
                      y->name, (long long)y->dim[0]);
  int64_t map[2] = {0, 0};
  const bool maps = task == DL_TASK_SEGMENTATION;
  if (y->dims > form->max_dims || (form->one_column && y->row_values != 1) ||
      (maps && !find_map(&scan->plan.shape, y, map)))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has the shape %s; %s wants %s", y->name,
                      dl_h5_dims_text(y->dims, y->dim, text, sizeof text),
                      dl_choice_name(DL_TASK_NAMES, task, (char[32]){0}, 32), form->wanted);
  if (seen->y_values[split] && seen->y_values[split] != y->row_values)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has %lld values a sample here, %lld in the files before", y->name,
                      (long long)y->row_values, (long long)seen->y_values[split]);
  if (task == DL_TASK_CLASSIFICATION && y->row_values > DL_MAX_CLASSES)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has %lld one-hot columns; at most %d", y->name,
                      (long long)y->row_values, DL_MAX_CLASSES);
  int64_t size = task == DL_TASK_CLASSIFICATION ? 1 : y->row_values;
  if (scan->plan.shape.y_size && scan->plan.shape.y_size != size)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has %lld values a sample, but another split has %lld", y->name,
                      (long long)size, (long long)scan->plan.shape.y_size);
  const bool same = task == DL_TASK_REGRESSION && !strcmp(y->name, x->name);
  if (scan->plan.shape.y_size && same != scan->plan.y_is_x)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' is %s, unlike y of another split", y->name,
                      same ? "x and y" : "not x itself");
  const bool first = !seen->y_values[split];
  if (maps && scan->plan.shape.y_size && memcmp(map, scan->plan.shape.map, sizeof map))
    return dl_fail_at(
        DL_ERR_DATA, path, 0, 0, "'%s' has maps of %lld x %lld labels, but there are others of %lld x %lld", y->name,
        (long long)map[0], (long long)map[1], (long long)scan->plan.shape.map[0], (long long)scan->plan.shape.map[1]);
  memcpy(scan->plan.shape.map, map, sizeof map);
  scan->plan.y_is_x = same;
  scan->plan.shape.y_size = size;
  seen->y_values[split] = y->row_values;
  scan->y_sparse[split] = y->row_values == 1 || maps;
  if (split != DL_SPLIT_TRAIN || same) return DL_OK;
  if (task == DL_TASK_CLASSIFICATION || task == DL_TASK_BINARY) return DL_OK;
  const int32_t planes = planes_over_x(&scan->plan.shape, y);
  scan->plan.y_planes = first || planes == scan->plan.y_planes ? planes : -1;
  return DL_OK;
}

static dl_status check_weight(const dl_h5_set *x, const dl_h5_set *weight) {
  if (weight->dim[0] == x->dim[0] && weight->row_values == 1) return DL_OK;
  char text[160];
  return dl_fail_at(DL_ERR_DATA, x->file->path, 0, 0,
                    "weights '%s' have the shape %s; one for each of the %lld samples is wanted", weight->name,
                    dl_h5_dims_text(weight->dims, weight->dim, text, sizeof text), (long long)x->dim[0]);
}

/* ---- one split of one file ---- */

/* Whether all files that have this split have this companion of x. */
static dl_status check_everywhere(const dl_scan *scan, int split, bool *has, bool found, const dl_h5_file *file,
                                  const char *name) {
  bool first = scan->plan.part[split].samples == 0;
  if (!first && *has != found)
    return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "there is %s data set '%s' here, unlike in the files before",
                      found ? "a" : "no", name);
  *has = found;
  return DL_OK;
}

static dl_status look_companions(dl_scan *scan, looked *seen, int split, const dl_h5_set *x, int task) {
  const dl_split_names *names = &scan->source.split[split];
  dl_h5_set y = {.id = -1}, weight = {.id = -1};
  bool found = false;
  DL_TRY(dl_h5_set_open(x->file, names->y, &found, &y));
  dl_status status = found ? check_y(scan, seen, split, x, &y, task) : DL_OK;
  dl_h5_set_close(&y);
  if (status == DL_OK && !found && names->needs_y) status = dl_h5_fail_missing(x->file, names->y);
  if (status == DL_OK) status = check_everywhere(scan, split, &seen->has_y[split], found, x->file, names->y);
  if (status != DL_OK || !names->weight) return status;
  DL_TRY(dl_h5_set_open(x->file, names->weight, &found, &weight));
  status = found ? check_weight(x, &weight) : dl_h5_fail_missing(x->file, names->weight);
  dl_h5_set_close(&weight);
  seen->has_weight[split] = found;
  return status;
}

static dl_status add_piece(dl_scan *scan, int split, int file, int64_t rows, const dl_h5_set *x) {
  dl_data_plan *plan = &scan->plan;
  dl_piece *more = dl_reallocarray(scan->pieces, (size_t)plan->n_pieces + 1, sizeof *more);
  if (!more) return DL_ERR_NOMEM;
  scan->pieces = more;
  more[plan->n_pieces++] = (dl_piece){.split = split,
                                      .file = file,
                                      .first = plan->part[split].samples,
                                      .rows = rows,
                                      .chunk_rows = x->chunk_rows,
                                      .file_bytes = x->file->bytes};
  plan->part[split].samples += rows;
  if (plan->part[split].samples <= DL_H5_MAX_BYTES) return DL_OK;
  return dl_fail(DL_ERR_DATA, "the files together hold more samples than can be");
}

/* Chunks that no way of reading makes fast, with the command that mends them. */
static void warn_of_chunks(const dl_h5_set *x) {
  if (!x->chunked) return;
  const double row = (double)(x->row_values * x->number.bytes);
  double chunk = (double)x->number.bytes, whole = row * (double)x->dim[0];
  for (int i = 0; i < x->dims; i++) chunk *= (double)x->chunk[i];
  const bool large = chunk > LARGE_CHUNK && chunk < 2 * whole, small = chunk < SMALL_CHUNK && whole > 256 * SMALL_CHUNK;
  if (!large && !small) return;
  int64_t want = (int64_t)(GOOD_CHUNK / row), dim[DL_H5_MAX_DIMS];
  char text[160];
  memcpy(dim, x->dim, sizeof dim);
  dim[0] = want < 1 ? 1 : want < x->dim[0] ? want : x->dim[0];
  dl_h5_dims_text(x->dims, dim, text, sizeof text);
  char *to = text; /* "(256, 28, 28)" becomes "256x28x28" */
  for (const char *c = text; *c; c++)
    if (*c >= '0' && *c <= '9')
      *to++ = *c;
    else if (*c == ',' && c[1] == ' ')
      *to++ = 'x';
  *to = 0;
  dl_warn("chunks",
          "%s: '%s' lies in chunks of %.1f %s, which are read slowly: mend it with `h5repack -l %s:CHUNK=%s IN OUT`",
          x->file->path, x->name, large ? chunk / 1e6 : chunk, large ? "MB" : "bytes", x->name, text);
}

static dl_status look_split(dl_scan *scan, looked *seen, const dl_config *config, int split, int file_number,
                            const dl_h5_file *file, bool *found) {
  dl_h5_set x;
  DL_TRY(dl_h5_set_open(file, scan->source.split[split].x, found, &x));
  if (!*found) return DL_OK;
  const bool tokens = config->task == DL_TASK_LANGUAGE_MODEL;
  int64_t rows = x.dim[0];
  dl_status status =
      tokens ? check_tokens(scan, seen, &x, config, &rows) : check_x(scan, seen, &x, config->data.layout);
  if (status == DL_OK && !tokens) status = look_companions(scan, seen, split, &x, config->task);
  if (status == DL_OK) status = add_piece(scan, split, file_number, rows, &x);
  if (status == DL_OK) warn_of_chunks(&x);
  dl_h5_set_close(&x);
  return status;
}

/* ---- one file ---- */

static dl_status look_class_names(dl_scan *scan, const dl_h5_file *file, const char *set, bool exact) {
  bool found;
  int n;
  char *names;
  size_t bytes;
  DL_TRY(dl_h5_read_texts(file, set, exact, &found, &n, &names, &bytes));
  if (!found) return DL_OK;
  dl_data_plan *plan = &scan->plan;
  bool same =
      !scan->class_names || ((int64_t)bytes == plan->class_names_bytes && !memcmp(names, scan->class_names, bytes));
  if (scan->class_names || !same) {
    free(names);
    return same ? DL_OK : dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "'%s' differ from those of the files before", set);
  }
  scan->class_names = names;
  plan->n_class_names = n;
  plan->class_names_bytes = (int64_t)bytes;
  return DL_OK;
}

static dl_status look_file(dl_scan *scan, looked *seen, const dl_config *config, int file_number) {
  dl_h5_file file;
  DL_TRY(dl_h5_open_first(scan->source.files[file_number], &file));
  dl_status status = DL_OK;
  const char *missing = NULL;
  int splits = 0;
  for (int s = 0; s < DL_SPLITS && status == DL_OK; s++) {
    const dl_split_names *names = &scan->source.split[s];
    bool found = false;
    if (names->wanted) status = look_split(scan, seen, config, s, file_number, &file, &found);
    splits += found;
    if (!found && !missing && (names->needed || (s == DL_SPLIT_TEST && !splits))) missing = names->x;
  }
  /* Where there is but one file, what is missing is missing. */
  bool wrong = scan->source.n_files == 1 || (!splits && !scan->source.only_needed);
  if (status == DL_OK && missing && wrong) status = dl_h5_fail_missing(&file, missing);
  if (status == DL_OK && (config->task == DL_TASK_CLASSIFICATION || config->task == DL_TASK_SEGMENTATION))
    status = look_class_names(scan, &file, "class_names", false);
  if (status == DL_OK && config->task == DL_TASK_LANGUAGE_MODEL)
    status = look_class_names(scan, &file, "vocabulary", true);
  dl_h5_close(&file);
  return status;
}

/* ---- the whole ---- */

static dl_status check_needed(const dl_scan *scan) {
  const dl_source *source = &scan->source;
  for (int s = 0; s < DL_SPLITS; s++)
    if (source->split[s].needed && scan->plan.part[s].samples == 0)
      return dl_fail(DL_ERR_DATA, "none of the %d data files (%s, ...) has a data set '%s'", source->n_files,
                     source->files[0], source->split[s].x);
  return DL_OK;
}

/* One 64-byte aligned piece of the block; 0 bytes are 0. */
static int64_t place(int64_t *end, int64_t count, int64_t size) {
  if (!count) return 0;
  int64_t at = *end;
  *end = (at + count * size + 63) / 64 * 64;
  return at;
}

/* The order, and whether x stays in the files: by its bytes alone, so that it is the same wherever the job runs. */
static void choose_order(dl_scan *scan, const dl_config *config) {
  dl_data_plan *plan = &scan->plan;
  const bool tokens = config->task == DL_TASK_LANGUAGE_MODEL; /* are always kept */
  double bytes = 0;
  for (int s = 0; s < DL_SPLITS; s++)
    bytes += (double)plan->part[s].samples * (double)plan->row_values * (double)dl_element_bytes(plan->element);
  const bool large = bytes > (double)DL_DATA_FULL_MOST && !tokens;
  plan->shuffle = config->data.shuffle;
  if (plan->shuffle == DL_SHUFFLE_AUTO) plan->shuffle = large ? DL_SHUFFLE_LANES : DL_SHUFFLE_FULL;
  plan->streamed = (plan->shuffle == DL_SHUFFLE_LANES && !tokens) ||
                   (large && (plan->shuffle == DL_SHUFFLE_NONE || scan->source.only_needed));
}

/* Where damage is skipped every split is a list of samples. */
static void lay_out_lists(dl_data_plan *plan, int64_t *end) {
  for (int s = 0; s < DL_SPLITS; s++) {
    plan->part[s].bad = place(end, plan->part[s].samples, sizeof(bool));
    if (!plan->order[s]) plan->order[s] = place(end, plan->samples[s], sizeof(int64_t));
  }
}

static dl_status lay_out(dl_scan *scan, const looked *seen, const dl_config *config) {
  const int task = config->task;
  dl_data_plan *plan = &scan->plan;
  choose_order(scan, config);
  int64_t end = 0, element = (int64_t)dl_element_bytes(plan->element);
  place(&end, 1, sizeof(dl_facts));
  for (int64_t i = 0; i < plan->n_pieces; i++) {
    const dl_piece *piece = &scan->pieces[i];
    scan->pieces[i].file_name = plan->file_names_bytes;
    plan->file_names_bytes += (int64_t)strlen(scan->source.files[piece->file]) + 1;
    plan->file_names_bytes += (int64_t)strlen(scan->source.split[piece->split].y) + 1;
    plan->file_names_bytes += (int64_t)strlen(scan->source.split[piece->split].x) + 1;
  }
  plan->pieces = place(&end, plan->n_pieces, sizeof(dl_piece));
  plan->file_names = place(&end, plan->file_names_bytes, 1);
  plan->class_names = place(&end, plan->class_names_bytes, 1);
  for (int s = 0; s < DL_SPLITS; s++) {
    dl_part_plan *part = &plan->part[s];
    int64_t n = part->samples;
    if (n > DL_H5_MAX_BYTES / 8 / (plan->shape.x_size + plan->shape.y_size + 1))
      return dl_fail(DL_ERR_DATA, "the data set is too large to be kept in memory: %lld samples of %lld values",
                     (long long)n, (long long)plan->shape.x_size);
    if (!plan->streamed) part->x = place(&end, n, plan->row_values * element);
    const bool labels = task == DL_TASK_CLASSIFICATION || task == DL_TASK_SEGMENTATION;
    if (seen->has_y[s] && labels) part->labels = place(&end, n, plan->shape.y_size * (int64_t)sizeof(int32_t));
    if (seen->has_y[s] && !labels) part->y = place(&end, n, plan->y_is_x ? 0 : plan->shape.y_size * 4);
    if (seen->has_weight[s]) part->weight = place(&end, n, sizeof(float));
    plan->samples[s] = n;
  }
  int64_t n = plan->part[DL_SPLIT_TRAIN].samples, n_valid = dl_valid_samples(scan->source.valid_fraction, n);
  if (n_valid) {
    plan->samples[DL_SPLIT_VALID] = n_valid;
    plan->samples[DL_SPLIT_TRAIN] = n - n_valid;
    plan->order[DL_SPLIT_TRAIN] = place(&end, n - n_valid, sizeof(int64_t));
    plan->order[DL_SPLIT_VALID] = place(&end, n_valid, sizeof(int64_t));
  }
  if (config->data.on_corrupt == DL_ON_CORRUPT_SKIP) lay_out_lists(plan, &end);
  plan->bytes = end;
  return DL_OK;
}

/* Channels that seem to lie at the other end: a network would convolve over them as if they were pixels. */
static void warn_of_layout(const dl_scan *scan, int layout) {
  enum { MOST_CHANNELS = 4 }; /* red, green, blue, alpha */
  const dl_data_shape *s = &scan->plan.shape;
  if (s->x_dims != 3) return;
  const bool last = layout == DL_LAYOUT_NHWC;
  const int64_t c = s->x_shape[0], h = s->x_shape[1], w = s->x_shape[2], other_c = last ? h : w, side = last ? w : h;
  if (other_c > MOST_CHANNELS || c <= MOST_CHANNELS || side <= MOST_CHANNELS) return;
  dl_warn("layout", "x is read as %lld channels of %lld x %lld pixels: if its channels come %s, say data.layout: %s",
          (long long)c, (long long)h, (long long)w, last ? "first" : "last", last ? "nchw" : "nhwc");
}

static void warn_of_network(const dl_scan *scan) {
  static const long kinds[] = {0x6969, 0xFF534D42, 0x517B, 0xFE534D42, 0x5346414F}; /* NFS, CIFS, SMB, SMB2, AFS */
  struct statfs about;
  if (statfs(scan->source.files[0], &about) != 0) return;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if ((uint32_t)about.f_type == (uint32_t)kinds[i])
      dl_warn("network_file_system",
              "%s lies on a network file system and is read anew in every epoch: copy it to a local or a parallel one",
              scan->source.files[0]);
}

dl_status dl_scan_make(const dl_config *config, unsigned need, dl_scan *out) {
  memset(out, 0, sizeof *out);
  looked seen = {.x = NULL};
  DL_TRY(dl_source_make(config, need, &out->source));
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = DL_OK;
  for (int f = 0; f < out->source.n_files && status == DL_OK; f++) status = look_file(out, &seen, config, f);
  dl_h5_leave(&turn);
  if (status == DL_OK) status = check_needed(out);
  if (status == DL_OK && !seen.x)
    status = dl_fail(DL_ERR_DATA, "the data files hold no samples under the names wanted");
  if (status == DL_OK && config->task == DL_TASK_LANGUAGE_MODEL && config->data.on_corrupt == DL_ON_CORRUPT_SKIP)
    status = dl_config_fail(config, "data.on_corrupt", "tokens cannot be left out: data.on_corrupt must be stop");
  if (status == DL_OK) status = lay_out(out, &seen, config);
  if (status == DL_OK && out->plan.streamed) warn_of_network(out);
  if (status == DL_OK) warn_of_layout(out, config->data.layout);
  if (status == DL_OK && (need >> DL_SPLIT_TRAIN & 1) && !out->plan.samples[DL_SPLIT_TRAIN])
    status = dl_config_fail(config, "data.valid", "data.valid leaves no samples to train on");
  if (status == DL_OK && (need >> DL_SPLIT_VALID & 1) && !out->plan.samples[DL_SPLIT_VALID])
    status = dl_config_fail(config, "data.valid", "the valid split has no samples: data.valid cuts none of %lld",
                            (long long)out->plan.part[DL_SPLIT_TRAIN].samples);
  if (status != DL_OK) dl_scan_clear(out);
  return status;
}

void dl_scan_clear(dl_scan *scan) {
  dl_source_clear(&scan->source);
  free(scan->pieces);
  free(scan->class_names);
  scan->pieces = NULL;
  scan->class_names = NULL;
}

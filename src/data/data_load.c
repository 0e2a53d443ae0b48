/* data_load.c - reading what the plan found, once, straight into its place, and checking the values.
 *
 * x is read in one call a file in the element type it is kept in; images with channels last are turned to channels
 * first there and then, so that batches are plain runs. Labels are read as doubles a block of whole chunks at a time:
 * every integer below 2^53 and every label written as a float is exact.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "data/data_plan.h"
#include "data/hdf5_file.h"

/* ---- x ---- */

/* One sample (pixels, channels) to (channels, pixels). */
#define TRANSPOSE(type)                                                                      \
  static void transpose_##type(void *sample, void *copy, int64_t pixels, int64_t channels) { \
    type *out = sample, *in = copy;                                                          \
    memcpy(in, out, (size_t)(pixels * channels) * sizeof *in);                               \
    for (int64_t c = 0; c < channels; c++)                                                   \
      for (int64_t p = 0; p < pixels; p++) *out++ = in[p * channels + c];                    \
  }
TRANSPOSE(uint8_t)
TRANSPOSE(uint16_t)
TRANSPOSE(float)

static dl_status channels_first(const dl_data_plan *plan, int64_t rows, void *x) {
  void (*transpose)(void *, void *, int64_t, int64_t) = (void (*[])(void *, void *, int64_t, int64_t)){
      [1] = transpose_uint8_t, [2] = transpose_uint16_t, [4] = transpose_float}[dl_element_bytes(plan->element)];
  int64_t channels = plan->shape.x_shape[0], pixels = plan->shape.x_size / channels;
  size_t bytes = (size_t)plan->shape.x_size * dl_element_bytes(plan->element);
  if (channels == 1) return DL_OK;
  void *copy = dl_calloc(1, bytes);
  if (!copy) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < rows; i++) transpose((char *)x + (size_t)i * bytes, copy, pixels, channels);
  free(copy);
  return DL_OK;
}

/* Fails at the first value that is not a finite float32. */
static dl_status check_finite(const dl_h5_set *set, const float *values, int64_t first, int64_t rows) {
  int64_t n = rows * set->row_values;
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(values[i]))
      return dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0, "'%s' has %s in row %lld", set->name,
                        isnan(values[i]) ? "NaN" : "a value that is infinite as float32",
                        (long long)(first + i / set->row_values));
  return DL_OK;
}

dl_status dl_load_rows(const dl_data_plan *plan, const dl_h5_set *x, int layout, int64_t first, int64_t rows,
                       bool in_turn, dl_h5_buffers *buffers, void *out) {
  const hid_t type = dl_h5_memory_type((dl_element)plan->element);
  if (dl_h5_chunks_fit(x)) {
    DL_TRY(dl_h5_chunks_read(x, first, rows, type, dl_element_bytes(plan->element), in_turn, buffers, out));
  } else {
    dl_h5_turn turn;
    if (!in_turn) dl_h5_enter(&turn);
    dl_status status = dl_h5_read_plainly(x, first, rows, type, out);
    if (!in_turn) dl_h5_leave(&turn);
    DL_TRY(status);
  }
  if (plan->element == DL_ELEMENT_F32) DL_TRY(check_finite(x, out, first, rows));
  return x->dims >= 4 && layout == DL_LAYOUT_NHWC ? channels_first(plan, rows, out) : DL_OK;
}

/* All of x, or where it is streamed and damage is to be found now, all of it a block at a time and away again. */
static dl_status load_x(const dl_data_plan *plan, const dl_h5_set *set, int layout, void *out) {
  const size_t row_bytes = (size_t)plan->row_values * dl_element_bytes(plan->element);
  const int64_t n = set->dim[0], block = out ? n : dl_h5_block_rows(set);
  if (!out && !set->bad) return DL_OK;
  dl_h5_buffers buffers = {.packed = NULL};
  void *spare = out ? NULL : dl_calloc_aligned((size_t)block, row_bytes);
  dl_status status = out || spare ? DL_OK : DL_ERR_NOMEM;
  for (int64_t first = 0; first < n && status == DL_OK; first += block) {
    const int64_t rows = n - first < block ? n - first : block;
    status = dl_load_rows(plan, set, layout, first, rows, true, &buffers, out ? out : spare);
  }
  free(spare);
  dl_h5_buffers_clear(&buffers);
  return status;
}

/* ---- y ---- */

typedef struct label_check {
  int64_t names; /* of classes; 0: not known */
  int64_t classes;
  bool ignores;
  int64_t ignored; /* this label is no class, and kept as it is */
} label_check;

static dl_status take_label(const dl_h5_set *set, int64_t row, double value, label_check *check, int32_t *out) {
  const char *path = set->file->path;
  if (!(value == floor(value)))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has %g in row %lld: labels are whole numbers", set->name, value,
                      (long long)row);
  if (check->ignores && value == (double)check->ignored && fabs(value) < 2147483648.0) {
    *out = (int32_t)value;
    return DL_OK;
  }
  if (value < 0) {
    dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has the label %.0f in row %lld: labels start at 0", set->name, value,
               (long long)row);
    return dl_hint("if it stands for no class: loss: {name: cross_entropy, ignore_index: %.0f}", value);
  }
  if (check->names && value >= (double)check->names)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0,
                      "'%s' has the label %.0f in row %lld, but there are %lld class names: labels run from 0 to %lld",
                      set->name, value, (long long)row, (long long)check->names, (long long)check->names - 1);
  if (value >= DL_MAX_CLASSES)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "'%s' has the label %.0f in row %lld: labels must be below %d",
                      set->name, value, (long long)row, DL_MAX_CLASSES);
  *out = (int32_t)value;
  if (*out >= check->classes) check->classes = *out + 1;
  return DL_OK;
}

static dl_status take_one_hot(const dl_h5_set *set, int64_t row, const double *values, label_check *check,
                              int32_t *out) {
  int64_t hot = -1;
  for (int64_t c = 0; c < set->row_values; c++) {
    if (values[c] == 0) continue;
    if (values[c] != 1 || hot >= 0) {
      hot = -1;
      break;
    }
    hot = c;
  }
  if (hot < 0)
    return dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0,
                      "'%s' has %lld columns, but row %lld is not one-hot (a single 1, else 0)", set->name,
                      (long long)set->row_values, (long long)row);
  DL_TRY(take_label(set, row, (double)hot, check, out));
  if (check->classes < set->row_values) check->classes = set->row_values;
  return DL_OK;
}

static dl_status load_labels(const dl_h5_set *set, label_check *check, int32_t *out) {
  int64_t block = dl_h5_block_rows(set), columns = set->row_values;
  double *values = dl_calloc((size_t)(block * columns), sizeof *values);
  if (!values) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  for (int64_t first = 0; first < set->dim[0] && status == DL_OK; first += block) {
    int64_t rows = set->dim[0] - first < block ? set->dim[0] - first : block;
    status = dl_h5_read(set, first, rows, H5T_NATIVE_DOUBLE, values);
    for (int64_t i = 0; i < rows && status == DL_OK; i++)
      status = set->bad && set->bad[first + i] ? DL_OK
               : columns == 1                  ? take_label(set, first + i, values[i], check, &out[first + i])
                              : take_one_hot(set, first + i, values + i * columns, check, &out[first + i]);
  }
  free(values);
  return status;
}

/* Every value is a label. */
static dl_status load_maps(const dl_h5_set *set, label_check *check, int32_t *out) {
  const int64_t block = dl_h5_block_rows(set), size = set->row_values;
  double *values = dl_calloc((size_t)(block * size), sizeof *values);
  dl_status status = values ? DL_OK : DL_ERR_NOMEM;
  for (int64_t first = 0; first < set->dim[0] && status == DL_OK; first += block) {
    const int64_t rows = set->dim[0] - first < block ? set->dim[0] - first : block;
    status = dl_h5_read(set, first, rows, H5T_NATIVE_DOUBLE, values);
    for (int64_t i = 0; i < rows * size && status == DL_OK; i++) {
      const int64_t row = first + i / size;
      if (!set->bad || !set->bad[row]) status = take_label(set, row, values[i], check, &out[first * size + i]);
    }
  }
  free(values);
  return status;
}

static dl_status load_values(const dl_h5_set *set, int task, float *out) {
  DL_TRY(dl_h5_read(set, 0, set->dim[0], H5T_NATIVE_FLOAT, out));
  DL_TRY(check_finite(set, out, 0, set->dim[0]));
  if (task == DL_TASK_REGRESSION) return DL_OK;
  for (int64_t i = 0; i < set->dim[0] * set->row_values; i++)
    if (out[i] != 0 && out[i] != 1)
      return dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0, "'%s' has %g in row %lld: %s wants 0 or 1", set->name,
                        (double)out[i], (long long)(i / set->row_values),
                        dl_choice_name(DL_TASK_NAMES, task, (char[32]){0}, 32));
  return DL_OK;
}

static dl_status load_weights(const dl_h5_set *set, float *out) {
  DL_TRY(dl_h5_read(set, 0, set->dim[0], H5T_NATIVE_FLOAT, out));
  DL_TRY(check_finite(set, out, 0, set->dim[0]));
  for (int64_t i = 0; i < set->dim[0]; i++)
    if (out[i] < 0)
      return dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0,
                        "'%s' has the weight %g in row %lld: weights are not negative", set->name, (double)out[i],
                        (long long)i);
  return DL_OK;
}

/* ---- files ---- */

/* Opens a data set that the plan saw and that must be as it was. */
static dl_status open_again(const dl_h5_file *file, const char *name, int64_t rows, int64_t row_values,
                            dl_h5_set *out) {
  bool found;
  DL_TRY(dl_h5_set_open(file, name, &found, out));
  if (found && out->dim[0] == rows && (!row_values || out->row_values == row_values)) return DL_OK;
  dl_h5_set_close(out);
  return dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "'%s' changed while it was read", name);
}

/* ---- tokens ---- */

/* Whole numbers from 0 on, below the vocabulary's size where there is one. */
static dl_status check_tokens(const dl_h5_set *set, int element, const void *x, int64_t first, int64_t n,
                              label_check *check) {
  const dl_convert_ops *ops = &DL_ISA_CHOOSE(dl_convert_kernels)->of[element];
  enum { PIECE = 1024 };
  float piece[PIECE];
  for (int64_t i = 0; i < n; i += PIECE) {
    const int64_t m = n - i < PIECE ? n - i : PIECE;
    ops->uniform(piece, (const char *)x + (size_t)i * dl_element_bytes(element), (size_t)m, 0, 1);
    for (int64_t k = 0; k < m; k++) {
      int32_t token;
      const bool good = piece[k] >= 0 && piece[k] < DL_MAX_CLASSES && piece[k] == floorf(piece[k]);
      if (good && check->names && piece[k] >= (float)check->names)
        return dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0,
                          "'%s' has the token %g at %lld, but the vocabulary has %lld", set->name, (double)piece[k],
                          (long long)(first + i + k), (long long)check->names);
      if (!good)
        return dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0,
                          "'%s' has %g at %lld: tokens are whole numbers from 0 to %d", set->name, (double)piece[k],
                          (long long)(first + i + k), DL_MAX_CLASSES - 1);
      token = (int32_t)piece[k];
      if (token >= check->classes) check->classes = token + 1;
    }
  }
  return DL_OK;
}

/* Rows of `row_values` tokens, the last one of each being the first one of the next. */
static dl_status load_tokens(const dl_data_plan *plan, const dl_h5_set *set, int64_t rows, label_check *check,
                             char *out) {
  const int64_t sequence = plan->row_values - 1, block = 1 + (1 << 20) / plan->row_values;
  const size_t bytes = dl_element_bytes(plan->element), row = (size_t)plan->row_values * bytes;
  char *values = dl_calloc((size_t)(block * sequence + 1), bytes);
  if (!values) return DL_ERR_NOMEM;
  dl_status status = DL_OK;
  for (int64_t first = 0; first < rows && status == DL_OK; first += block) {
    const int64_t n = rows - first < block ? rows - first : block, tokens = n * sequence + 1;
    status = dl_h5_read(set, first * sequence, tokens, dl_h5_memory_type((dl_element)plan->element), values);
    if (status == DL_OK) status = check_tokens(set, plan->element, values, first * sequence, tokens, check);
    for (int64_t i = 0; i < n && status == DL_OK; i++)
      memcpy(out + (size_t)(first + i) * row, values + (size_t)(i * sequence) * bytes, row);
  }
  free(values);
  return status;
}

static dl_status load_token_piece(const dl_scan *scan, const dl_h5_file *file, const dl_piece *piece, char *block,
                                  label_check *check) {
  const dl_data_plan *plan = &scan->plan;
  const char *name = scan->source.split[piece->split].x;
  const size_t row = (size_t)plan->row_values * dl_element_bytes(plan->element);
  bool found;
  dl_h5_set set;
  DL_TRY(dl_h5_set_open(file, name, &found, &set));
  dl_status status =
      found && set.dims == 1 && (set.dim[0] - 1) / (plan->row_values - 1) == piece->rows
          ? load_tokens(plan, &set, piece->rows, check, block + plan->part[piece->split].x + (size_t)piece->first * row)
          : dl_fail_at(DL_ERR_DATA, file->path, 0, 0, "'%s' changed while it was read", name);
  dl_h5_set_close(&set);
  return status;
}

static dl_status load_piece(const dl_scan *scan, const dl_config *config, const dl_h5_file *file, const dl_piece *piece,
                            char *block, label_check *check) {
  const dl_data_plan *plan = &scan->plan;
  const dl_part_plan *part = &plan->part[piece->split];
  const dl_split_names *names = &scan->source.split[piece->split];
  size_t x_row = (size_t)plan->shape.x_size * dl_element_bytes(plan->element), first = (size_t)piece->first;
  size_t y_row = (size_t)plan->shape.y_size * sizeof(float);
  if (config->task == DL_TASK_LANGUAGE_MODEL) return load_token_piece(scan, file, piece, block, check);
  bool *bad = part->bad ? (bool *)(void *)(block + part->bad) + first : NULL;
  dl_h5_set set;
  DL_TRY(open_again(file, names->x, piece->rows, plan->shape.x_size, &set));
  set.bad = bad;
  dl_status status = load_x(plan, &set, config->data.layout, part->x ? block + part->x + first * x_row : NULL);
  dl_h5_set_close(&set);
  if (status == DL_OK && ((part->y && !plan->y_is_x) || part->labels)) {
    const bool maps = config->task == DL_TASK_SEGMENTATION;
    DL_TRY(open_again(file, names->y, piece->rows, part->y || maps ? plan->shape.y_size : 0, &set));
    set.bad = bad;
    int32_t *labels = (int32_t *)(void *)(block + part->labels) + first * (size_t)plan->shape.y_size;
    status = maps           ? load_maps(&set, check, labels)
             : part->labels ? load_labels(&set, check, labels)
                            : load_values(&set, config->task, (float *)(void *)(block + part->y + first * y_row));
    dl_h5_set_close(&set);
  }
  if (status == DL_OK && part->weight) {
    DL_TRY(open_again(file, names->weight, piece->rows, 1, &set));
    set.bad = bad;
    status = load_weights(&set, (float *)(void *)(block + part->weight) + first);
    dl_h5_set_close(&set);
  }
  return status;
}

static dl_status load_files(const dl_scan *scan, const dl_config *config, char *block, label_check *check) {
  dl_status status = DL_OK;
  for (int64_t p = 0; p < scan->plan.n_pieces && status == DL_OK;) { /* the pieces of a file stand together */
    int number = scan->pieces[p].file;
    dl_h5_file file;
    DL_TRY(dl_h5_open(scan->source.files[number], &file));
    for (; p < scan->plan.n_pieces && scan->pieces[p].file == number && status == DL_OK; p++)
      status = load_piece(scan, config, &file, &scan->pieces[p], block, check);
    dl_h5_close(&file);
  }
  return status;
}

/* A quick sum over the block from `begin`: four multiply-and-add chains over 8-byte words. */
static uint64_t sum_up(const char *block, int64_t begin, int64_t end) {
  uint64_t lane[4] = {1, 2, 3, 4}, word[4];
  for (int64_t i = begin; i + 32 <= end; i += 32) {
    memcpy(word, block + i, 32);
    for (int k = 0; k < 4; k++) lane[k] = (lane[k] ^ word[k]) * 0x9e3779b97f4a7c15u;
  }
  return lane[0] ^ (lane[1] >> 7) ^ (lane[2] >> 13) ^ (lane[3] >> 29);
}

static void put_names(const dl_scan *scan, char *block) {
  const dl_data_plan *plan = &scan->plan;
  if (plan->n_pieces) memcpy(block + plan->pieces, scan->pieces, (size_t)plan->n_pieces * sizeof(dl_piece));
  char *names = block + plan->file_names;
  for (int64_t i = 0; i < plan->n_pieces; i++) {
    const dl_split_names *split = &scan->source.split[scan->pieces[i].split];
    const char *part[] = {scan->source.files[scan->pieces[i].file], split->y, split->x};
    char *to = names + scan->pieces[i].file_name;
    for (int k = 0; k < 3; k++) to = stpcpy(to, part[k]) + 1;
  }
  if (plan->class_names) memcpy(block + plan->class_names, scan->class_names, (size_t)plan->class_names_bytes);
}

/* Cuts valid off train. */
static dl_status cut_valid(const dl_scan *scan, const dl_config *config, int64_t classes, char *to) {
  const dl_data_plan *plan = &scan->plan;
  const dl_part_plan *train = &plan->part[DL_SPLIT_TRAIN];
  int64_t *in_train = (int64_t *)(void *)(to + plan->order[DL_SPLIT_TRAIN]),
          *in_valid = (int64_t *)(void *)(to + plan->order[DL_SPLIT_VALID]);
  if (config->task == DL_TASK_LANGUAGE_MODEL) {
    dl_valid_tail(train->samples, plan->samples[DL_SPLIT_VALID], in_train, in_valid);
    return DL_OK;
  }
  return dl_valid_cut(
      (uint64_t)config->seed, train->samples, plan->samples[DL_SPLIT_VALID],
      train->labels && config->task == DL_TASK_CLASSIFICATION ? (const int32_t *)(void *)(to + train->labels) : NULL,
      classes, in_train, in_valid);
}

/* The samples of each split without those of damaged chunks. */
static dl_status leave_out_bad(const dl_scan *scan, bool cut, char *to, dl_facts *facts) {
  const dl_data_plan *plan = &scan->plan;
  int64_t total = 0;
  for (int s = 0; s < DL_SPLITS; s++) {
    const int part = s == DL_SPLIT_VALID && cut ? DL_SPLIT_TRAIN : s;
    const bool *bad = (const bool *)(const void *)(to + plan->part[part].bad);
    int64_t *order = (int64_t *)(void *)(to + plan->order[s]), kept = 0;
    const bool whole = part == s && !(cut && s == DL_SPLIT_TRAIN);
    for (int64_t i = 0; plan->samples[s] && i < plan->samples[s]; i++) {
      const int64_t sample = whole ? i : order[i];
      if (!bad[sample]) order[kept++] = sample;
    }
    total += plan->samples[s] - kept;
    facts->samples[s] = kept;
  }
  if (total)
    dl_warn("corrupt_data", "%lld samples are left out: their chunks are damaged (data.on_corrupt: skip)",
            (long long)total);
  if (plan->samples[DL_SPLIT_TRAIN] && !facts->samples[DL_SPLIT_TRAIN])
    return dl_fail(DL_ERR_DATA, "every chunk of the training split is damaged");
  return DL_OK;
}

dl_status dl_scan_load(const dl_scan *scan, const dl_config *config, bool checksum, void *block) {
  const dl_data_plan *plan = &scan->plan;
  char *to = block;
  label_check check = {.names = plan->n_class_names, .classes = plan->n_class_names};
  check.ignores = dl_source_ignored_label(config, &check.ignored);
  put_names(scan, to);
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = load_files(scan, config, to, &check);
  dl_h5_leave(&turn);
  DL_TRY(status);
  dl_facts *facts = block;
  facts->classes = check.classes;
  int64_t first = plan->class_names ? plan->class_names : plan->file_names;
  if (checksum) facts->checksum = sum_up(to, first, plan->bytes);
  for (int s = 0; s < DL_SPLITS; s++) facts->samples[s] = plan->samples[s];
  const bool cut = scan->source.valid_fraction > 0 && plan->order[DL_SPLIT_VALID];
  if (cut) DL_TRY(cut_valid(scan, config, check.classes, to));
  return config->data.on_corrupt == DL_ON_CORRUPT_SKIP ? leave_out_bad(scan, cut, to, facts) : DL_OK;
}

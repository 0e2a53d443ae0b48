/* data_split.c - cutting splits off train: the labels say to which class a row belongs, then each data set of train is
 * read once and its rows are dealt out, a block at a time, in the order of the file. Values are copied in the file's
 * own type.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "data/hdf5_output.h"
#include "data/hdf5_probe.h"
#include "data/split_rule.h"
#include "data/verify.h"

enum { MOST_CLASSES = 65536 };

typedef struct splitter {
  const char *path;
  dl_h5_file in;
  hid_t out;
  double test, valid;
  dl_split_rule rule;
  int32_t *labels; /* of train; NULL: one class */
  int64_t rows, size[DL_SPLITS];
} splitter;

/* ---- who goes where ---- */

/* *labels: whether all of y are numbers of classes; others are values, whose rows are dealt out alike. */
static dl_status count_labels(splitter *s, const dl_h5_set *y, int64_t *members, bool *labels) {
  s->labels = dl_calloc((size_t)s->rows, sizeof *s->labels);
  if (!s->labels) return DL_ERR_NOMEM;
  DL_TRY(dl_h5_read(y, 0, s->rows, H5T_NATIVE_INT32, s->labels));
  for (int64_t i = 0; i < s->rows && *labels; i++) *labels = s->labels[i] >= 0 && s->labels[i] < MOST_CLASSES;
  for (int64_t i = 0; i < s->rows && *labels; i++) members[s->labels[i]]++;
  if (*labels) return DL_OK;
  free(s->labels);
  s->labels = NULL;
  return DL_OK;
}

static dl_status make_rule(splitter *s, uint64_t seed) {
  dl_h5_set y;
  bool found = false;
  int64_t *members = dl_calloc(MOST_CLASSES, sizeof *members);
  if (!members) return DL_ERR_NOMEM;
  dl_status status = dl_h5_set_open(&s->in, "train/y", &found, &y);
  bool labels = status == DL_OK && found && y.number.integer && y.row_values == 1;
  if (status == DL_OK && found && y.dim[0] != s->rows)
    status = dl_fail_at(DL_ERR_DATA, s->path, 0, 0, "'train/y' has %lld rows, but 'train/x' has %lld",
                        (long long)y.dim[0], (long long)s->rows);
  if (status == DL_OK && labels) status = count_labels(s, &y, members, &labels);
  if (found) dl_h5_set_close(&y);
  if (!labels) members[0] = s->rows;
  if (status == DL_OK)
    status = dl_split_rule_new(seed, s->test, s->valid, labels ? MOST_CLASSES : 1, members, &s->rule);
  free(members);
  for (int64_t c = 0; status == DL_OK && c < s->rule.classes; c++) {
    s->size[DL_SPLIT_TEST] += s->rule.test[c];
    s->size[DL_SPLIT_VALID] += s->rule.valid[c];
  }
  s->size[DL_SPLIT_TRAIN] = s->rows - s->size[DL_SPLIT_TEST] - s->size[DL_SPLIT_VALID];
  return status;
}

/* ---- dealing out ---- */

typedef struct pile {
  dl_h5_target to;
  char name[32];
  char *values;
  int64_t block, rows, written;
} pile;

static dl_status flush(pile *p, hid_t type) {
  if (!p->rows) return DL_OK;
  DL_TRY(dl_h5_target_write(&p->to, p->written, p->rows, type, p->values));
  p->written += p->rows;
  p->rows = 0;
  return DL_OK;
}

static dl_status deal(splitter *s, const dl_h5_set *set, hid_t type, size_t row_bytes, pile *piles, char *values,
                      int64_t block) {
  dl_split_rule_begin(&s->rule);
  for (int64_t first = 0; first < s->rows; first += block) {
    const int64_t rows = s->rows - first < block ? s->rows - first : block;
    DL_TRY(dl_h5_read(set, first, rows, type, values));
    for (int64_t i = 0; i < rows; i++) {
      pile *p = &piles[dl_split_rule_next(&s->rule, s->labels ? s->labels[first + i] : 0)];
      memcpy(p->values + (size_t)p->rows * row_bytes, values + (size_t)i * row_bytes, row_bytes);
      if (++p->rows == p->block) DL_TRY(flush(p, type));
    }
  }
  for (int k = 0; k < DL_SPLITS; k++) DL_TRY(flush(&piles[k], type));
  return DL_OK;
}

static dl_status make_pile(const splitter *s, const dl_h5_set *set, const char *part, int split, hid_t type,
                           size_t row_bytes, pile *out) {
  int64_t dim[DL_H5_MAX_DIMS];
  memcpy(dim, set->dim, sizeof dim);
  dim[0] = s->size[split];
  snprintf(out->name, sizeof out->name, "%s/%s", dl_split_words[split], part);
  if (!dim[0]) return DL_OK;
  DL_TRY(dl_h5_target_make(s->out, out->name, type, set->dims, dim, true, &out->to));
  out->block = out->to.chunk_rows;
  out->values = dl_calloc((size_t)out->block, row_bytes);
  return out->values ? DL_OK : DL_ERR_NOMEM;
}

static dl_status copy_set(splitter *s, const dl_h5_set *set, const char *part) {
  const hid_t type = H5Dget_type(set->id);
  if (type < 0) return dl_h5_fail(DL_ERR_DATA, s->path, "data set '%s': unreadable type", set->name);
  const size_t row_bytes = (size_t)set->row_values * H5Tget_size(type);
  const int64_t block = dl_h5_block_rows(set);
  pile piles[DL_SPLITS] = {{.to = {.id = -1}}, {.to = {.id = -1}}, {.to = {.id = -1}}};
  char *values = dl_calloc((size_t)block, row_bytes);
  dl_status status = values ? DL_OK : DL_ERR_NOMEM;
  for (int k = 0; k < DL_SPLITS && status == DL_OK; k++)
    status = make_pile(s, set, part, k, type, row_bytes, &piles[k]);
  if (status == DL_OK) status = deal(s, set, type, row_bytes, piles, values, block);
  for (int k = 0; k < DL_SPLITS; k++) {
    status = dl_h5_target_close(&piles[k].to, status);
    free(piles[k].values);
  }
  free(values);
  H5Tclose(type);
  return status;
}

static dl_status copy_part(splitter *s, const char *part) {
  char name[32];
  dl_h5_set set;
  bool found = false;
  snprintf(name, sizeof name, "train/%s", part);
  DL_TRY(dl_h5_set_open(&s->in, name, &found, &set));
  if (!found) return DL_OK;
  dl_status status = set.dim[0] == s->rows
                         ? copy_set(s, &set, part)
                         : dl_fail_at(DL_ERR_DATA, s->path, 0, 0, "'%s' has %lld rows, but 'train/x' has %lld", name,
                                      (long long)set.dim[0], (long long)s->rows);
  dl_h5_set_close(&set);
  return status;
}

/* Tokens are one row: valid and test are its tail, in this order. */
static dl_status copy_tokens(splitter *s, const dl_h5_set *set) {
  int64_t first = 0;
  s->rows = set->dim[0];
  s->size[DL_SPLIT_TEST] = (int64_t)floor(s->test * (double)s->rows);
  s->size[DL_SPLIT_VALID] = (int64_t)floor(s->valid * (double)s->rows);
  s->size[DL_SPLIT_TRAIN] = s->rows - s->size[DL_SPLIT_TEST] - s->size[DL_SPLIT_VALID];
  const hid_t type = H5Dget_type(set->id);
  dl_status status = DL_OK;
  for (int k = 0; k < DL_SPLITS && status == DL_OK; k++) {
    pile p = {.to = {.id = -1}};
    status = make_pile(s, set, "tokens", k, type, H5Tget_size(type), &p);
    for (int64_t at = 0; at < s->size[k] && status == DL_OK; at += p.block) {
      const int64_t n = s->size[k] - at < p.block ? s->size[k] - at : p.block;
      status = dl_h5_read(set, first + at, n, type, p.values);
      if (status == DL_OK) status = dl_h5_target_write(&p.to, at, n, type, p.values);
    }
    first += s->size[k];
    status = dl_h5_target_close(&p.to, status);
    free(p.values);
  }
  H5Tclose(type);
  return status;
}

/* ---- the rest of the file ---- */

/* The splits that are there already lie in this file, and are numbers. */
static dl_status check_splits(const splitter *s) {
  static const char *const parts[] = {"x", "y", "weight", "tokens"};
  for (int k = DL_SPLIT_VALID; k < DL_SPLITS; k++)
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
      char name[32];
      dl_h5_set set;
      bool found = false;
      snprintf(name, sizeof name, "%s/%s", dl_split_words[k], parts[p]);
      DL_TRY(dl_h5_set_open(&s->in, name, &found, &set));
      if (found) dl_h5_set_close(&set);
    }
  return DL_OK;
}

/* What is no part of train goes along as it is; train/files and other strange parts would no longer fit. */
static dl_status copy_rest(const splitter *s) {
  static const char *const rest[] = {"class_names", "feature_names", "target_names", "vocabulary", "valid", "test"};
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  dl_status status = DL_OK;
  for (size_t i = 0; i < sizeof rest / sizeof rest[0] && status == DL_OK; i++) {
    if (H5Lexists(s->in.id, rest[i], H5P_DEFAULT) <= 0 || H5Lexists(s->out, rest[i], H5P_DEFAULT) > 0) continue;
    H5L_info_t link;
    if (H5Lget_info(s->in.id, rest[i], &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
      status = dl_fail_at(DL_ERR_DATA, s->path, 0, 0, "'%s' is a link, which is refused", rest[i]);
    else if (H5Ocopy(s->in.id, rest[i], s->out, rest[i], H5P_DEFAULT, links) < 0)
      status = dl_h5_fail(DL_ERR_DATA, s->path, "'%s' cannot be copied", rest[i]);
  }
  H5Pclose(links);
  return status;
}

static dl_status check_free(const splitter *s) {
  for (int k = DL_SPLIT_VALID; k < DL_SPLITS; k++) {
    if ((k == DL_SPLIT_TEST ? s->test : s->valid) <= 0 || H5Lexists(s->in.id, dl_split_words[k], H5P_DEFAULT) <= 0)
      continue;
    dl_fail_at(DL_ERR_USAGE, s->path, 0, 0, "has a %s split already", dl_split_words[k]);
    return dl_hint("leave out --%s-fraction", dl_split_words[k]);
  }
  return DL_OK;
}

static dl_status split_file(splitter *s, uint64_t seed) {
  dl_h5_set x, tokens;
  bool found = false, has_tokens = false;
  DL_TRY(check_free(s));
  DL_TRY(check_splits(s));
  DL_TRY(dl_h5_set_open(&s->in, "train/tokens", &has_tokens, &tokens));
  if (has_tokens) {
    dl_status status = copy_tokens(s, &tokens);
    dl_h5_set_close(&tokens);
    return status == DL_OK ? copy_rest(s) : status;
  }
  DL_TRY(dl_h5_set_open(&s->in, "train/x", &found, &x));
  if (!found) return dl_h5_fail_missing(&s->in, "train/x");
  s->rows = x.dim[0];
  dl_h5_set_close(&x);
  DL_TRY(make_rule(s, seed));
  if (!s->size[DL_SPLIT_TRAIN] || (s->test > 0 && !s->size[DL_SPLIT_TEST]) ||
      (s->valid > 0 && !s->size[DL_SPLIT_VALID]))
    return dl_fail_at(DL_ERR_DATA, s->path, 0, 0, "has too few rows (%lld): a split would be empty",
                      (long long)s->rows);
  DL_TRY(copy_part(s, "x"));
  DL_TRY(copy_part(s, "y"));
  DL_TRY(copy_part(s, "weight"));
  return copy_rest(s);
}

dl_status dl_data_split(const char *path, double test, double valid, uint64_t seed, const char *output, bool force) {
  if (!(test >= 0 && valid >= 0 && test + valid > 0 && test + valid < 1))
    return dl_fail(DL_ERR_USAGE, "the fractions of test and valid together must lie between 0 and 1");
  if (dl_path_exists(output) && !dl_path_is_dir(output) && !force) {
    dl_fail_at(DL_ERR_USAGE, output, 0, 0, "exists already");
    return dl_hint("name another file, or replace it with --force");
  }
  splitter s = {.path = path, .test = test, .valid = valid, .in = {.id = -1}};
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = dl_h5_open_first(path, &s.in);
  dl_h5_output file;
  if (status == DL_OK) status = dl_h5_output_begin(output, &file);
  if (status == DL_OK) {
    s.out = file.id;
    status = dl_h5_output_end(&file, split_file(&s, seed));
  }
  dl_h5_close(&s.in);
  dl_h5_leave(&turn);
  dl_split_rule_clear(&s.rule);
  free(s.labels);
  return status;
}

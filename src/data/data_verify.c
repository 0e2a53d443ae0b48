/* data_verify.c - every chunk is read once; what is wrong is counted and its place kept.
 *
 * Rows of x are known again by 128 bits of hash: among a billion rows two different ones with the same hash would be a
 * matter of 10^-21. Sorted by hash, equal rows lie side by side.
 */
#include "data/verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/data.h"
#include "data/hdf5_probe.h"

enum { MOST_OF_A_KIND = 20, N_PARTS = 4 };
static const char *const parts[N_PARTS] = {"x", "y", "weight", "tokens"};

const char *dl_finding_name(dl_finding_kind kind) {
  static const char *const names[] = {"unreadable", "not finite", "label", "shape", "leak", "repeated"};
  return names[kind];
}

typedef struct row_hash {
  uint64_t a, b;
  int64_t row; /* times DL_SPLITS, plus the split */
} row_hash;

typedef struct checker {
  const dl_h5_file *file;
  dl_verification *out;
  int64_t classes, words; /* of class_names and vocabulary; 0: none */
  row_hash *hashes;
  int64_t n, most;
  dl_h5_set x[DL_SPLITS]; /* as described; closed */
  bool has_x[DL_SPLITS], bad_x[DL_SPLITS];
} checker;

static dl_status add(checker *c, const dl_finding *finding) {
  dl_verification *v = c->out;
  int alike = 0;
  v->errors += finding->kind != DL_FINDING_REPEATED;
  for (int i = 0; i < v->n; i++)
    alike += v->findings[i].kind == finding->kind && !strcmp(v->findings[i].set, finding->set);
  if (alike == MOST_OF_A_KIND) return DL_OK;
  dl_finding *more = dl_reallocarray(v->findings, (size_t)v->n + 1, sizeof *more);
  if (!more) return DL_ERR_NOMEM;
  v->findings = more;
  more[v->n++] = *finding;
  return DL_OK;
}

static int64_t chunk_of(const dl_h5_set *set, int64_t row) { return set->chunked ? row / set->chunk_rows : -1; }

/* ---- rows ---- */

static uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static void hash_row(const unsigned char *bytes, size_t n, row_hash *out) {
  uint64_t a = 0x9e3779b97f4a7c15u ^ n, b = 0xd1b54a32d192ed03u + n, word;
  for (size_t at = 0; at < n; at += sizeof word) {
    word = 0;
    memcpy(&word, bytes + at, n - at < sizeof word ? n - at : sizeof word);
    a = mix(a ^ word, 0xa0761d6478bd642fu) + at;
    b = mix(b + word, 0xe7037ed1a0b428dbu) ^ a;
  }
  out->a = mix(a, 0x8ebc6af09c88c6e3u);
  out->b = mix(b, 0x589965cc75374cc3u);
}

static dl_status keep_hashes(checker *c, int split, int64_t first, int64_t rows, const void *values, size_t row_bytes) {
  if (c->n + rows > c->most) {
    const int64_t most = 2 * c->most > c->n + rows ? 2 * c->most : c->n + rows;
    row_hash *more = dl_reallocarray(c->hashes, (size_t)most, sizeof *more);
    if (!more) return DL_ERR_NOMEM;
    c->hashes = more;
    c->most = most;
  }
  for (int64_t i = 0; i < rows; i++, c->n++) {
    hash_row((const unsigned char *)values + (size_t)i * row_bytes, row_bytes, &c->hashes[c->n]);
    c->hashes[c->n].row = (first + i) * DL_SPLITS + split;
  }
  return DL_OK;
}

/* ---- blocks ---- */

/* One data set on its way through. */
typedef struct passage {
  checker *c;
  const dl_h5_set *set;
  int split, part;
  hid_t type; /* doubles, or the small integers that the file has */
  size_t width;
  int64_t least, most; /* of labels; most < least: not held against anything */
  bool maps;           /* of labels */
} passage;

static dl_status check_numbers(const passage *p, int64_t first, int64_t rows, const double *values) {
  const int64_t row_values = p->set->row_values;
  dl_finding nan = {.kind = DL_FINDING_NOT_FINITE, .first = -1}, label = {.kind = DL_FINDING_LABEL, .first = -1};
  double bad = 0;
  for (int64_t i = 0; i < rows * row_values; i++) {
    const bool finite = isfinite(values[i]);
    const bool fits = !finite || p->most < p->least || (p->maps && (values[i] < 0 || values[i] == 255)) ||
                      (values[i] >= (double)p->least && values[i] <= (double)p->most && values[i] == rint(values[i]));
    dl_finding *f = !finite ? &nan : !fits ? &label : NULL;
    if (!f) continue;
    f->last = first + i / row_values;
    if (f->count++ == 0) f->first = f->last;
    if (f == &label && f->count == 1) bad = values[i];
  }
  dl_finding *const both[] = {&nan, &label};
  for (int k = 0; k < 2; k++) {
    dl_finding *f = both[k];
    if (!f->count) continue;
    f->chunk = chunk_of(p->set, f->first);
    snprintf(f->set, sizeof f->set, "%s", p->set->name);
    if (k)
      snprintf(f->text, sizeof f->text, "%lld outside of %lld to %lld, the first one %g", (long long)f->count,
               (long long)p->least, (long long)p->most, bad);
    else
      snprintf(f->text, sizeof f->text, "%lld NaN or infinite", (long long)f->count);
    DL_TRY(add(p->c, f));
  }
  return DL_OK;
}

static dl_status add_unreadable(const passage *p, int64_t first, int64_t rows) {
  dl_finding f = {.kind = DL_FINDING_UNREADABLE,
                  .chunk = chunk_of(p->set, first),
                  .first = first,
                  .last = first + rows - 1,
                  .count = rows};
  const char *why = strstr(dl_error_last()->message, "(HDF5: "), *of_chunk = strstr(dl_error_last()->message, "): ");
  snprintf(f.set, sizeof f.set, "%s", p->set->name);
  if (!why && of_chunk)
    snprintf(f.text, sizeof f.text, "the rows cannot be read: %.100s", of_chunk + 3);
  else
    snprintf(f.text, sizeof f.text, "the rows cannot be read%s%.100s", why ? " " : "", why ? why : "");
  return add(p->c, &f);
}

/* A block that cannot be read is looked at again, a row of chunks at a time. */
static dl_status look_at_block(const passage *p, int64_t first, int64_t rows, void *values) {
  const dl_h5_set *set = p->set;
  if (dl_h5_read(set, first, rows, p->type, values) == DL_OK) {
    if (p->width == sizeof(double)) DL_TRY(check_numbers(p, first, rows, values));
    return p->part == 0 && set->row_values > 1
               ? keep_hashes(p->c, p->split, first, rows, values, (size_t)set->row_values * p->width)
               : DL_OK;
  }
  if (!set->chunked || rows <= set->chunk_rows) return add_unreadable(p, first, rows);
  for (int64_t at = 0; at < rows; at += set->chunk_rows)
    DL_TRY(look_at_block(p, first + at, rows - at < set->chunk_rows ? rows - at : set->chunk_rows, values));
  return DL_OK;
}

static dl_status pass(const passage *p) {
  const dl_h5_set *set = p->set;
  const int64_t block = dl_h5_block_rows(set);
  void *values = dl_calloc((size_t)(block * set->row_values), p->width);
  dl_status status = values ? DL_OK : DL_ERR_NOMEM;
  for (int64_t first = 0; first < set->dim[0] && status == DL_OK; first += block)
    status = look_at_block(p, first, set->dim[0] - first < block ? set->dim[0] - first : block, values);
  free(values);
  return status;
}

/* ---- data sets ---- */

static bool has_checksums(const dl_h5_set *set) {
  bool found = false;
  const hid_t made = H5Dget_create_plist(set->id);
  const int n = made >= 0 ? H5Pget_nfilters(made) : 0;
  for (int i = 0; i < n; i++) {
    unsigned flags;
    size_t values = 0;
    found = found || H5Pget_filter2(made, (unsigned)i, &flags, &values, NULL, 0, NULL, NULL) == H5Z_FILTER_FLETCHER32;
  }
  if (made >= 0) H5Pclose(made);
  return found;
}

static void describe(checker *c, const dl_h5_set *set) {
  dl_verified_set *d = &c->out->sets[c->out->n_sets++];
  *d = (dl_verified_set){.rows = set->dim[0],
                         .bytes = set->dim[0] * set->row_values * set->number.bytes,
                         .chunks = set->chunked ? (set->dim[0] + set->chunk_rows - 1) / set->chunk_rows : 0,
                         .checksums = has_checksums(set)};
  snprintf(d->name, sizeof d->name, "%s", set->name);
  snprintf(d->type, sizeof d->type, "%s", set->number.name);
  dl_h5_dims_text(set->dims, set->dim, d->shape, sizeof d->shape);
}

static dl_status add_shape(checker *c, const char *set, const char *text) {
  dl_finding f = {.kind = DL_FINDING_SHAPE, .chunk = -1, .first = -1, .last = -1, .count = 1};
  snprintf(f.set, sizeof f.set, "%s", set);
  snprintf(f.text, sizeof f.text, "%.*s", (int)sizeof f.text - 1, text);
  return add(c, &f);
}

static dl_status check_shape(checker *c, const dl_h5_set *set, int split, int part) {
  char text[160], want[96], got[96];
  if (part == 0) {
    const dl_h5_set *first = NULL;
    for (int s = 0; s < split && !first; s++) first = c->has_x[s] ? &c->x[s] : NULL;
    c->x[split] = *set;
    c->has_x[split] = true;
    if (!first || (first->dims == set->dims &&
                   !memcmp(first->dim + 1, set->dim + 1, (size_t)(set->dims - 1) * sizeof *set->dim) &&
                   !strcmp(first->number.name, set->number.name)))
      return DL_OK;
    snprintf(text, sizeof text, "%s of %s, but %s is %s of %s", dl_h5_dims_text(set->dims, set->dim, got, sizeof got),
             set->number.name, first->name, dl_h5_dims_text(first->dims, first->dim, want, sizeof want),
             first->number.name);
    return add_shape(c, set->name, text);
  }
  if (part != 3 && !c->has_x[split] && !c->bad_x[split]) {
    snprintf(text, sizeof text, "there is no %s/x beside it", dl_split_words[split]);
    return add_shape(c, set->name, text);
  }
  if (part == 3 || !c->has_x[split] || c->x[split].dim[0] == set->dim[0]) return DL_OK;
  snprintf(text, sizeof text, "%lld rows, but %s has %lld", (long long)set->dim[0], c->x[split].name,
           (long long)c->x[split].dim[0]);
  return add_shape(c, set->name, text);
}

/* Labels are held against the class names where y is one column of whole numbers or a map of them, tokens against the
 * vocabulary. Which label of a map stands for none nobody says here: 255 or a negative one may. */
static void set_limits(const checker *c, passage *p) {
  const dl_h5_set *set = p->set;
  p->least = 0;
  p->most = -1;
  p->maps = p->part == 1 && set->dims >= 3;
  if (p->part == 1 && c->classes && set->number.integer && (set->row_values == 1 || p->maps)) p->most = c->classes - 1;
  if (p->part == 3 && set->number.integer) p->most = (c->words ? c->words : INT32_MAX) - 1;
}

static dl_status check_set(checker *c, int split, int part) {
  char name[32];
  dl_h5_set set;
  bool found = false;
  snprintf(name, sizeof name, "%s/%s", dl_split_words[split], parts[part]);
  dl_status status = dl_h5_set_open(c->file, name, &found, &set);
  if (status == DL_ERR_DATA) {
    c->bad_x[split] = c->bad_x[split] || part == 0;
    return add_shape(c, name, dl_error_last()->message);
  }
  if (status != DL_OK || !found) return status;
  describe(c, &set);
  set.name = c->out->sets[c->out->n_sets - 1].name; /* which stays */
  passage p = {.c = c, .set = &set, .split = split, .part = part, .type = H5T_NATIVE_DOUBLE, .width = sizeof(double)};
  set_limits(c, &p);
  if (part == 0 && set.number.element != DL_ELEMENT_F32) {
    p.type = dl_h5_memory_type(set.number.element);
    p.width = (size_t)set.number.bytes;
  }
  status = check_shape(c, &set, split, part);
  if (status == DL_OK) status = pass(&p);
  dl_h5_set_close(&set);
  return status;
}

/* ---- rows that are there twice ---- */

static int by_hash(const void *a, const void *b) {
  const row_hash *x = a, *y = b;
  if (x->a != y->a) return x->a < y->a ? -1 : 1;
  if (x->b != y->b) return x->b < y->b ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

typedef struct pair {
  int64_t count, first[2]; /* rows of the first case */
} pair;

/* found[s][t]: rows of t that are in s (s < t), or that are there again (s == t). */
static void count_pairs(const checker *c, pair found[DL_SPLITS][DL_SPLITS]) {
  for (int64_t i = 0, end; i < c->n; i = end) {
    int64_t first[DL_SPLITS] = {-1, -1, -1};
    for (end = i; end < c->n && c->hashes[end].a == c->hashes[i].a && c->hashes[end].b == c->hashes[i].b; end++) {
      const int split = (int)(c->hashes[end].row % DL_SPLITS);
      if (first[split] < 0) first[split] = c->hashes[end].row / DL_SPLITS;
    }
    for (int64_t k = i; k < end && end - i > 1; k++) {
      const int t = (int)(c->hashes[k].row % DL_SPLITS);
      const int64_t row = c->hashes[k].row / DL_SPLITS;
      for (int s = 0; s <= t; s++) {
        if (first[s] < 0 || (s == t && first[s] == row)) continue;
        if (found[s][t].count++ == 0 || row < found[s][t].first[1]) {
          found[s][t].first[0] = first[s];
          found[s][t].first[1] = row;
        }
      }
    }
  }
}

static dl_status find_repeated(checker *c) {
  pair found[DL_SPLITS][DL_SPLITS] = {{{.count = 0}}};
  if (c->n) qsort(c->hashes, (size_t)c->n, sizeof *c->hashes, by_hash);
  count_pairs(c, found);
  for (int s = 0; s < DL_SPLITS; s++)
    for (int t = s; t < DL_SPLITS; t++) {
      const pair *p = &found[s][t];
      if (!p->count) continue;
      dl_finding f = {.kind = s == t ? DL_FINDING_REPEATED : DL_FINDING_LEAK,
                      .count = p->count,
                      .first = p->first[1],
                      .last = p->first[1],
                      .chunk = chunk_of(&c->x[t], p->first[1])};
      snprintf(f.set, sizeof f.set, "%s/x", dl_split_words[t]);
      const char *rows = p->count == 1 ? "row is" : "rows are";
      if (s == t)
        snprintf(f.text, sizeof f.text, "%lld %s there before: row %lld is row %lld again", (long long)p->count, rows,
                 (long long)p->first[1], (long long)p->first[0]);
      else
        snprintf(f.text, sizeof f.text, "%lld %s in %s/x too: row %lld is row %lld there", (long long)p->count, rows,
                 dl_split_words[s], (long long)p->first[1], (long long)p->first[0]);
      DL_TRY(add(c, &f));
    }
  return DL_OK;
}

/* ---- the file ---- */

static dl_status count_texts(const dl_h5_file *file, const char *name, int64_t *out) {
  bool found;
  int n;
  char *texts;
  size_t bytes;
  DL_TRY(dl_h5_read_texts(file, name, true, &found, &n, &texts, &bytes));
  *out = n;
  free(texts);
  return DL_OK;
}

/* Names that are not as many as the columns are nobody's: whoever reads them takes none. */
static dl_status check_names(checker *c) {
  int64_t names = 0;
  char text[96];
  DL_TRY(count_texts(c->file, "feature_names", &names));
  for (int s = 0; s < DL_SPLITS && names; s++) {
    const dl_h5_set *x = &c->x[s];
    if (!c->has_x[s] || x->dims != 2 || x->row_values == names) continue;
    snprintf(text, sizeof text, "%lld names, but %s has %lld columns", (long long)names, x->name,
             (long long)x->row_values);
    return add_shape(c, "feature_names", text);
  }
  return DL_OK;
}

static dl_status check_file(checker *c) {
  DL_TRY(count_texts(c->file, "class_names", &c->classes));
  DL_TRY(count_texts(c->file, "vocabulary", &c->words));
  for (int s = 0; s < DL_SPLITS; s++)
    for (int p = 0; p < N_PARTS; p++) DL_TRY(check_set(c, s, p));
  if (!c->out->n_sets && !c->out->n) return dl_h5_fail_missing(c->file, "train/x");
  DL_TRY(check_names(c));
  return find_repeated(c);
}

dl_status dl_data_verify(const char *path, dl_verification *out) {
  *out = (dl_verification){.n = 0};
  dl_h5_turn turn;
  dl_h5_file file;
  dl_h5_enter(&turn);
  dl_status status = dl_h5_open_first(path, &file);
  checker c = {.file = &file, .out = out};
  if (status == DL_OK) status = check_file(&c);
  dl_h5_close(&file);
  dl_h5_leave(&turn);
  free(c.hashes);
  if (status != DL_OK) dl_verification_clear(out);
  return status;
}

void dl_verification_clear(dl_verification *v) {
  free(v->findings);
  *v = (dl_verification){.n = 0};
}

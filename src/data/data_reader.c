/* data_reader.c - the files that were used last stay open; each is held against what it was when the data set was
 * opened, so that a file that changes under a run ends it with a word instead of other samples.
 */
#include "data/data_reader.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "data/data_plan.h"

#define MOST_OPEN 32

typedef struct opened {
  int64_t piece; /* -1: free */
  int64_t used;  /* when, by the reader's count */
  dl_h5_file file;
  dl_h5_set x;
  struct stat about;
} opened;

struct dl_reader {
  const dl_data *data;
  dl_h5_buffers buffers;
  char *rows; /* of one unit */
  size_t room;
  int64_t count;
  _Atomic int64_t token_limit; /* 0: none */
  opened open[MOST_OPEN];
};

dl_status dl_reader_new(const dl_data *data, dl_reader **out) {
  dl_reader *r = dl_calloc(1, sizeof *r);
  *out = r;
  if (!r) return DL_ERR_NOMEM;
  r->data = data;
  for (int i = 0; i < MOST_OPEN; i++) r->open[i].piece = -1;
  return DL_OK;
}

static void close_one(opened *o) {
  if (o->piece < 0) return;
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_h5_set_close(&o->x);
  dl_h5_close(&o->file);
  dl_h5_leave(&turn);
  o->piece = -1;
}

void dl_reader_destroy(dl_reader **reader) {
  dl_reader *r = *reader;
  if (!r) return;
  for (int i = 0; i < MOST_OPEN; i++) close_one(&r->open[i]);
  dl_h5_buffers_clear(&r->buffers);
  free(r->rows);
  free(r);
  *reader = NULL;
}

const dl_h5_buffers *dl_reader_buffers(const dl_reader *reader) { return &reader->buffers; }
void dl_reader_limit_tokens(dl_reader *reader, int64_t limit) { reader->token_limit = limit; }

/* ---- files ---- */

static dl_status fail_changed(const char *path) {
  dl_fail_at(DL_ERR_DATA, path, 0, 0, "the data file changed during the run");
  return dl_hint("leave data files alone while they are in use; run again to go on from the last checkpoint");
}

/* What was sound when the run began: where its size is another one, that is what is wrong with it. */
static dl_status open_file(const char *path, const dl_piece *piece, dl_h5_file *out) {
  const dl_status status = dl_h5_open(path, out);
  struct stat now;
  if (status != DL_ERR_DATA || (stat(path, &now) == 0 && now.st_size == piece->file_bytes)) return status;
  return fail_changed(path);
}

static dl_status open_in_turn(dl_reader *r, opened *o, const dl_piece *piece) {
  const char *path = dl_piece_file(r->data, piece), *name = dl_piece_x(r->data, piece);
  bool found = false;
  DL_TRY(open_file(path, piece, &o->file));
  dl_status status = dl_h5_set_open(&o->file, name, &found, &o->x);
  if (status == DL_OK && (!found || o->x.dim[0] != piece->rows || o->x.row_values != r->data->plan.shape.x_size ||
                          o->file.bytes != piece->file_bytes || stat(path, &o->about) != 0)) {
    dl_h5_set_close(&o->x);
    status = fail_changed(path);
  }
  if (status != DL_OK) dl_h5_close(&o->file);
  return status;
}

static dl_status check_unchanged(const opened *o) {
  struct stat now;
  if (stat(o->file.path, &now) != 0 || now.st_size != o->about.st_size || now.st_ino != o->about.st_ino ||
      now.st_mtim.tv_sec != o->about.st_mtim.tv_sec || now.st_mtim.tv_nsec != o->about.st_mtim.tv_nsec)
    return fail_changed(o->file.path);
  return DL_OK;
}

static dl_status find(dl_reader *r, int64_t piece, opened **out) {
  opened *oldest = &r->open[0];
  for (int i = 0; i < MOST_OPEN; i++) {
    opened *o = &r->open[i];
    if (o->piece == piece) {
      o->used = ++r->count;
      *out = o;
      return DL_OK;
    }
    if (oldest->piece >= 0 && (o->piece < 0 || o->used < oldest->used)) oldest = o;
  }
  close_one(oldest);
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_status status = open_in_turn(r, oldest, &r->data->pieces[piece]);
  dl_h5_leave(&turn);
  DL_TRY(status);
  oldest->piece = piece;
  oldest->used = ++r->count;
  *out = oldest;
  return DL_OK;
}

/* ---- units ---- */

static dl_status check_tokens(const dl_reader *r, const opened *o, const dl_unit *unit, int64_t limit) {
  enum { PIECE = 1024 };
  float value[PIECE];
  const int element = r->data->plan.element;
  const dl_convert_ops *ops = &DL_ISA_CHOOSE(dl_convert_kernels)->of[element];
  const int64_t n = unit->rows * r->data->plan.row_values;
  for (int64_t i = 0; i < n; i += PIECE) {
    const int64_t m = n - i < PIECE ? n - i : PIECE;
    ops->uniform(value, r->rows + (size_t)i * dl_element_bytes(element), (size_t)m, 0, 1);
    for (int64_t k = 0; k < m; k++)
      if (!(value[k] >= 0 && value[k] < (float)limit && value[k] == (float)(int32_t)value[k]))
        return dl_fail_at(DL_ERR_DATA, o->file.path, 0, 0,
                          "'%s' has %g in row %lld, but the embedding's vocabulary is of %lld: tokens are whole "
                          "numbers from 0 to %lld",
                          o->x.name, (double)value[k], (long long)(unit->row + (i + k) / r->data->plan.row_values),
                          (long long)limit, (long long)limit - 1);
  }
  return DL_OK;
}

dl_status dl_reader_unit(dl_reader *r, int part, const dl_unit *unit, const char **x) {
  const dl_data_plan *plan = &r->data->plan;
  const size_t row_bytes = (size_t)plan->row_values * dl_element_bytes(plan->element),
               bytes = (size_t)unit->rows * row_bytes;
  if (unit->piece < 0) {
    *x = (const char *)r->data->part[part].x + (size_t)unit->first * row_bytes;
    return DL_OK;
  }
  opened *o;
  DL_TRY(find(r, unit->piece, &o));
  DL_TRY(check_unchanged(o));
  if (r->room < bytes) {
    free(r->rows);
    r->room = 0;
    if (!(r->rows = dl_calloc_aligned(bytes, 1))) return DL_ERR_NOMEM;
    r->room = bytes;
  }
  o->x.bad = r->data->bad[part] ? r->data->bad[part] + r->data->pieces[unit->piece].first : NULL;
  o->x.bad_is_known = true;
  const dl_status status =
      dl_load_rows(plan, &o->x, r->data->layout, unit->row, unit->rows, false, &r->buffers, r->rows);
  if (status != DL_OK) { /* the file may have changed in the middle of it */
    const dl_error error = *dl_error_last();
    return check_unchanged(o) == DL_OK ? dl_error_adopt(&error) : DL_ERR_DATA;
  }
  const int64_t limit = r->token_limit;
  if (limit) DL_TRY(check_tokens(r, o, unit, limit));
  *x = r->rows;
  return check_unchanged(o);
}

/* hdf5_chunks.c - a band of rows is the chunks that begin at one row: each is fetched as it is stored, unpacked, and
 * its part of the rows put where it belongs.
 *
 * Fetching by H5Dread_chunk leaves out HDF5's own pipeline, which reads beyond chunks that unpack short, and HDF5's
 * lock is held for the reading alone.
 */
#include "data/hdf5_chunks.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"

void dl_h5_buffers_clear(dl_h5_buffers *buffers) {
  free(buffers->packed);
  free(buffers->spare);
  free(buffers->rows);
  *buffers = (dl_h5_buffers){.packed = NULL};
}

bool dl_h5_chunks_fit(const dl_h5_set *set) { return set->chunked && set->filters.all_known; }

static size_t chunk_bytes(const dl_h5_set *set) {
  size_t bytes = (size_t)set->number.bytes;
  for (int i = 0; i < set->dims; i++) bytes *= (size_t)set->chunk[i]; /* bounded when the set was opened */
  return bytes;
}

static dl_status make_room(dl_h5_buffers *b, size_t chunk, size_t rows) {
  const size_t room = dl_unpack_room(chunk);
  if (b->room < room) {
    free(b->packed);
    free(b->spare);
    b->room = 0;
    b->packed = dl_calloc_aligned(room, 1);
    b->spare = dl_calloc_aligned(room, 1);
    if (!b->packed || !b->spare) return DL_ERR_NOMEM;
    b->room = room;
  }
  if (b->rows_room < rows) {
    free(b->rows);
    b->rows_room = 0;
    if (!(b->rows = dl_calloc_aligned(rows, 1))) return DL_ERR_NOMEM;
    b->rows_room = rows;
  }
  return DL_OK;
}

/* ---- one chunk ---- */

/* A read of some rows: where each chunk's part of them goes. */
typedef struct job {
  const dl_h5_set *set;
  dl_h5_buffers *buffers;
  bool in_turn;
  int64_t first, rows; /* wanted of this band, within the data set */
  int64_t band;        /* the band's first row */
  char *out;           /* row `first`, in the file's type */
  size_t chunk_bytes;
} job;

static dl_status fail_chunk(const job *j, const int64_t *at, const char *why) {
  const dl_h5_set *set = j->set;
  const int64_t end = j->band + set->chunk[0];
  char text[160];
  dl_fail_at(DL_ERR_DATA, set->file->path, 0, 0, "'%s' is damaged in rows %lld to %lld (the chunk at %s): %s",
             set->name, (long long)j->band, (long long)(end < set->dim[0] ? end : set->dim[0]) - 1,
             dl_h5_dims_text(set->dims, at, text, sizeof text), why);
  return dl_hint("write the file again, or leave such rows out with data.on_corrupt: skip");
}

/* Whether a chunk was never written. Slow: asked only where reading it failed, because HDF5 may hold such a chunk in
 * its cache and then answers as if it were stored. */
static bool is_absent(const job *j, const hsize_t *at) {
  haddr_t address = 0;
  hsize_t bytes = 0;
  unsigned mask = 0;
  return H5Dget_chunk_info_by_coord(j->set->id, at, &mask, &address, &bytes) >= 0 && address == HADDR_UNDEF;
}

/* The stored bytes into buffers->packed. *bytes 0: the chunk was never written. */
static const char *fetch_in_turn(const job *j, const hsize_t *at, size_t *bytes, uint32_t *skipped) {
  hsize_t stored = 0;
  *bytes = 0;
  *skipped = 0;
  if (H5Dget_chunk_storage_size(j->set->id, at, &stored) < 0) return is_absent(j, at) ? NULL : "it cannot be found";
  if (stored == 0) return NULL;
  if (stored > j->buffers->room) return "it claims to be larger than it can be";
  if (H5Dread_chunk(j->set->id, H5P_DEFAULT, at, skipped, j->buffers->packed) < 0)
    return is_absent(j, at) ? NULL : "it cannot be read";
  *bytes = (size_t)stored;
  return NULL;
}

static const char *fetch(const job *j, const hsize_t *at, size_t *bytes, uint32_t *skipped) {
  const double begin = dl_now_s();
  dl_h5_turn turn;
  if (!j->in_turn) dl_h5_enter(&turn);
  const char *wrong = fetch_in_turn(j, at, bytes, skipped);
  if (!j->in_turn) dl_h5_leave(&turn);
  j->buffers->fetch_s += dl_now_s() - begin;
  j->buffers->packed_bytes += (int64_t)*bytes;
  j->buffers->chunks++;
  return wrong;
}

/* Whether the chunk reaches beyond the data set, which then may be stored without filters. */
static bool at_the_edge(const dl_h5_set *set, const hsize_t *at) {
  for (int i = 0; i < set->dims; i++)
    if ((int64_t)at[i] + set->chunk[i] > set->dim[i]) return true;
  return false;
}

static const char *unpack(const job *j, const hsize_t *at, size_t bytes, uint32_t skipped, void **values) {
  const dl_h5_set *set = j->set;
  dl_h5_buffers *b = j->buffers;
  if (set->plain_edges && at_the_edge(set, at)) skipped = UINT32_MAX;
  if (bytes) return dl_unpack_chunk(&set->filters, skipped, b->packed, bytes, b->spare, j->chunk_bytes, values);
  const size_t size = (size_t)set->number.bytes;
  for (size_t i = 0; i < j->chunk_bytes; i += size) memcpy((char *)b->packed + i, set->fill, size);
  *values = b->packed;
  return NULL;
}

/* A box of values copied between two arrays; strides in bytes, `run` bytes at the innermost level. */
typedef struct box {
  int levels;
  int64_t count[DL_H5_MAX_DIMS];
  size_t in_stride[DL_H5_MAX_DIMS], out_stride[DL_H5_MAX_DIMS], run;
} box;

static void copy_box(const box *b, int level, const char *in, char *out) {
  if (level >= b->levels || level >= DL_H5_MAX_DIMS) {
    memcpy(out, in, b->run);
    return;
  }
  for (int64_t i = 0; i < b->count[level]; i++)
    copy_box(b, level + 1, in + (size_t)i * b->in_stride[level], out + (size_t)i * b->out_stride[level]);
}

static void place(const job *j, const hsize_t *at, const char *values) {
  const dl_h5_set *set = j->set;
  box b = {.levels = set->dims};
  size_t in = (size_t)set->number.bytes, out = in, offset = 0;
  for (int i = set->dims - 1; i >= 0; i--) {
    const int64_t left = i ? set->dim[i] - (int64_t)at[i] : j->rows;
    b.in_stride[i] = in;
    b.out_stride[i] = out;
    b.count[i] = i && left > set->chunk[i] ? set->chunk[i] : left;
    if (i) offset += (size_t)at[i] * out;
    in *= (size_t)set->chunk[i];
    out *= (size_t)set->dim[i];
  }
  b.run = (size_t)set->number.bytes;
  while (b.levels > 0 && b.in_stride[b.levels - 1] == b.run && b.out_stride[b.levels - 1] == b.run)
    b.run *= (size_t)b.count[--b.levels];
  copy_box(&b, 0, values + (size_t)(j->first - j->band) * b.in_stride[0], j->out + offset);
}

static dl_status read_chunk(const job *j, const hsize_t *at) {
  size_t bytes;
  uint32_t skipped;
  void *values = NULL;
  const char *wrong = fetch(j, at, &bytes, &skipped);
  if (!wrong) wrong = unpack(j, at, bytes, skipped, &values);
  if (!wrong) {
    place(j, at, values);
    return DL_OK;
  }
  int64_t place_of[DL_H5_MAX_DIMS];
  for (int i = 0; i < j->set->dims; i++) place_of[i] = (int64_t)at[i];
  return fail_chunk(j, place_of, wrong);
}

/* ---- bands ---- */

/* The next chunk of the band; false after the last one. */
static bool next_chunk(const dl_h5_set *set, hsize_t *at) {
  for (int i = set->dims - 1; i > 0; i--) {
    at[i] += (hsize_t)set->chunk[i];
    if ((int64_t)at[i] < set->dim[i]) return true;
    at[i] = 0;
  }
  return false;
}

static dl_status read_band(const job *j) {
  hsize_t at[DL_H5_MAX_DIMS] = {(hsize_t)j->band};
  do {
    DL_TRY(read_chunk(j, at));
  } while (next_chunk(j->set, at));
  return DL_OK;
}

/* False where the damage is new: its rows have been promised. */
static bool leave_out(const job *j) {
  const dl_h5_set *set = j->set;
  if (!set->bad) return false;
  for (int64_t i = 0; set->bad_is_known && i < j->rows; i++)
    if (!set->bad[j->first + i]) return false;
  memset(j->out, 0, (size_t)(j->rows * set->row_values * set->number.bytes));
  if (set->bad_is_known) return true;
  for (int64_t i = 0; i < j->rows; i++) set->bad[j->first + i] = true;
  dl_warn("corrupt_data", "%s: %s; these rows are left out", set->file->path, dl_error_last()->message);
  return true;
}

static dl_status convert(const job *j, hid_t memory_type, size_t memory_bytes, void *out) {
  const dl_h5_set *set = j->set;
  const size_t n = (size_t)(j->rows * set->row_values);
  dl_h5_turn turn;
  if (!j->in_turn) dl_h5_enter(&turn);
  hid_t type = H5Dget_type(set->id), base = type;
  if (type >= 0 && H5Tget_class(type) == H5T_ENUM) base = H5Tget_super(type);
  dl_status status = base >= 0 && H5Tconvert(base, memory_type, n, j->buffers->rows, NULL, H5P_DEFAULT) >= 0
                         ? DL_OK
                         : dl_h5_fail(DL_ERR_DATA, set->file->path, "'%s' cannot be converted", set->name);
  if (base >= 0 && base != type) H5Tclose(base);
  if (type >= 0) H5Tclose(type);
  if (!j->in_turn) dl_h5_leave(&turn);
  if (status == DL_OK) memcpy(out, j->buffers->rows, n * memory_bytes);
  return status;
}

static bool same_type(const dl_h5_set *set, hid_t memory_type, bool in_turn) {
  dl_h5_turn turn;
  if (!in_turn) dl_h5_enter(&turn);
  const bool same = set->as_kept && H5Tequal(memory_type, dl_h5_memory_type(set->number.element)) > 0;
  if (!in_turn) dl_h5_leave(&turn);
  return same;
}

dl_status dl_h5_chunks_read(const dl_h5_set *set, int64_t first, int64_t rows, hid_t memory_type, size_t memory_bytes,
                            bool in_turn, dl_h5_buffers *buffers, void *out) {
  const bool same = same_type(set, memory_type, in_turn);
  const size_t wide = memory_bytes > (size_t)set->number.bytes ? memory_bytes : (size_t)set->number.bytes,
               row = (size_t)set->row_values * memory_bytes, end = (size_t)(first + rows);
  const int64_t most = rows < set->chunk[0] ? rows : set->chunk[0];
  job j = {.set = set, .buffers = buffers, .in_turn = in_turn, .chunk_bytes = chunk_bytes(set)};
  DL_TRY(make_room(buffers, j.chunk_bytes, same ? 0 : (size_t)(most * set->row_values) * wide));
  for (j.first = first; j.first < (int64_t)end; j.first += j.rows) {
    j.band = j.first / set->chunk[0] * set->chunk[0];
    j.rows = j.band + set->chunk[0] - j.first;
    if (j.rows > (int64_t)end - j.first) j.rows = (int64_t)end - j.first;
    char *to = (char *)out + (size_t)(j.first - first) * row;
    j.out = same ? to : buffers->rows;
    dl_status status = read_band(&j);
    if (status == DL_ERR_DATA && leave_out(&j)) status = DL_OK;
    if (status == DL_OK && !same) status = convert(&j, memory_type, memory_bytes, to);
    DL_TRY(status);
  }
  return DL_OK;
}

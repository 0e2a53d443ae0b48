/* unpack.c - filters undone one after another, the last one first, between two buffers that take turns. */
#include "data/unpack.h"

#include <string.h>
#include <zlib.h>

/* A stage: `bytes` of `in` into `out` with room for `room`; *bytes becomes what came out. In place where out == in. */
typedef struct stage {
  uint8_t *in, *out;
  size_t bytes, room;
  uint32_t width;
} stage;

static const char *undo_deflate(stage *s) {
  z_stream z = {.next_in = s->in, .avail_in = (uInt)s->bytes, .next_out = s->out, .avail_out = (uInt)s->room};
  if (s->bytes > UINT32_MAX / 2 || s->room > UINT32_MAX / 2) return "a chunk of more than 2 GB cannot be unpacked";
  if (inflateInit(&z) != Z_OK) return "no memory to unpack deflate";
  const int result = inflate(&z, Z_FINISH);
  s->bytes = (size_t)(z.next_out - s->out);
  inflateEnd(&z);
  if (result == Z_STREAM_END) return NULL;
  return result == Z_BUF_ERROR || result == Z_OK ? "its deflate data end too early or unpack to too much"
                                                 : "its deflate data are damaged";
}

static const char *undo_shuffle(stage *s) {
  const size_t n = s->width > 1 ? s->bytes / s->width : 0, done = n * s->width;
  if (n < 2) {
    memcpy(s->out, s->in, s->bytes);
    return NULL;
  }
  DL_ISA_CHOOSE(dl_unpack_kernels)->unshuffle(s->out, s->in, n, s->width);
  memcpy(s->out + done, s->in + done, s->bytes - done);
  return NULL;
}

static uint32_t swap_in_halves(uint32_t x) { return (x & 0x00ff00ffu) << 8 | (x >> 8 & 0x00ff00ffu); }

/* Four bytes at the end, least significant first. HDF5 1.6.2 and older swapped them in pairs. */
static const char *undo_fletcher32(stage *s) {
  if (s->bytes < 4) return "it is too short for its Fletcher32 checksum";
  const size_t n = s->bytes -= 4;
  const uint8_t *end = s->in + n;
  const uint32_t kept = end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24,
                 sum = DL_ISA_CHOOSE(dl_unpack_kernels)->fletcher32(s->in, n);
  return kept == sum || kept == swap_in_halves(sum) ? NULL : "its Fletcher32 checksum is wrong";
}

/* LZF: a control byte below 32 is followed by that many bytes and one more; else its upper 3 bits and 2 are a length
 * (7: the next byte is added), its lower 5 and the next byte how far back, less 1. */
static const char *undo_lzf(stage *s) {
  static const char damaged[] = "its LZF data are damaged";
  size_t in = 0, out = 0;
  while (in < s->bytes) {
    const size_t control = s->in[in++];
    if (control < 32) {
      const size_t n = control + 1;
      if (n > s->bytes - in || n > s->room - out) return damaged;
      memcpy(s->out + out, s->in + in, n);
      in += n;
      out += n;
      continue;
    }
    size_t n = control >> 5;
    if (n == 7 && in < s->bytes) n += s->in[in++];
    if (in >= s->bytes) return damaged;
    const size_t back = ((control & 31) << 8 | s->in[in++]) + 1;
    n += 2;
    if (back > out || n > s->room - out) return damaged;
    for (size_t i = 0; i < n; i++, out++) s->out[out] = s->out[out - back];
  }
  s->bytes = out;
  return NULL;
}

static const struct {
  int filter; /* HDF5's number */
  bool in_place;
  const char *(*undo)(stage *);
} kinds[DL_UNPACK_KINDS] = {
    [DL_UNPACK_DEFLATE] = {1, false, undo_deflate},
    [DL_UNPACK_SHUFFLE] = {2, false, undo_shuffle},
    [DL_UNPACK_FLETCHER32] = {3, true, undo_fletcher32},
    [DL_UNPACK_LZF] = {32000, false, undo_lzf},
};

int dl_unpack_kind_of(int filter) {
  for (int k = 0; k < DL_UNPACK_KINDS; k++)
    if (kinds[k].filter == filter) return k;
  return -1;
}

const char *dl_unpack_chunk(const dl_unpack *filters, uint32_t skipped, void *packed, size_t bytes, void *spare,
                            size_t chunk_bytes, void **out) {
  stage s = {.in = packed, .out = spare, .bytes = bytes, .room = dl_unpack_room(chunk_bytes)};
  for (int i = filters->n - 1; i >= 0; i--) {
    if (skipped >> i & 1) continue;
    s.width = filters->width[i];
    const char *wrong = kinds[filters->kind[i]].undo(&s);
    if (wrong) return wrong;
    if (kinds[filters->kind[i]].in_place) continue;
    uint8_t *full = s.out;
    s.out = s.in;
    s.in = full;
  }
  *out = s.in;
  if (s.bytes == chunk_bytes) return NULL;
  return s.bytes < chunk_bytes ? "it unpacks to fewer bytes than it should hold"
                               : "it unpacks to more bytes than it should hold";
}

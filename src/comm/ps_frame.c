/* Fields are read one by one from bytes: no struct is laid over what a stranger may have sent. */
#include "comm/ps_frame.h"

#include <string.h>

#include "comm/ps_crc.h"

#define MAGIC 0x53504c44u /* "DLPS" */
#define CRC_AT (DL_PS_HEADER_BYTES - 4)

const char *const dl_ps_fault_names[DL_PS_FAULTS] = {
    [DL_PS_FINE] = "fine",
    [DL_PS_BAD_PARTS] = "not a message of dldist",
    [DL_PS_BAD_MAGIC] = "not a message of dldist",
    [DL_PS_BAD_VERSION] = "another version of the protocol",
    [DL_PS_BAD_KIND] = "an unknown kind of message",
    [DL_PS_BAD_HEADER] = "a damaged header",
    [DL_PS_BAD_LENGTH] = "a wrong length",
    [DL_PS_BAD_CRC] = "a damaged payload",
    [DL_PS_BAD_JOB] = "a message of another job",
    [DL_PS_BAD_PEER] = "a peer that has not joined",
    [DL_PS_BAD_PLACE] = "a unit of work that is not asked for",
    [DL_PS_BAD_DONE] = "a unit of work that was not done",
};

typedef struct cursor {
  unsigned char *to;
  const unsigned char *from;
} cursor;

static void put(cursor *c, uint64_t value, int bytes) {
  for (int b = 0; b < bytes; b++) *c->to++ = (unsigned char)(value >> 8 * b);
}
static uint64_t take(cursor *c, int bytes) {
  uint64_t value = 0;
  for (int b = 0; b < bytes; b++) value |= (uint64_t)*c->from++ << 8 * b;
  return value;
}
static uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
static double double_of(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

void dl_ps_frame_write(const dl_ps_frame *frame, unsigned char out[DL_PS_HEADER_BYTES]) {
  cursor c = {.to = out};
  memset(out, 0, DL_PS_HEADER_BYTES);
  put(&c, MAGIC, 4);
  put(&c, DL_PS_VERSION, 2);
  put(&c, (uint64_t)frame->kind, 2);
  put(&c, frame->job, 8);
  put(&c, frame->life, 8);
  put(&c, frame->sequence, 8);
  put(&c, (uint64_t)frame->step, 8);
  put(&c, (uint64_t)frame->version, 8);
  put(&c, (uint64_t)frame->node.level, 4);
  put(&c, (uint64_t)frame->status, 4);
  put(&c, (uint64_t)frame->node.index, 8);
  put(&c, (uint64_t)frame->samples, 8);
  for (int k = 0; k < DL_LEAF_SUMS; k++) put(&c, bits_of(frame->sums[k]), 8);
  put(&c, (uint64_t)frame->form, 8);
  put(&c, frame->taken, 8);
  put(&c, frame->payload_bytes, 8);
  put(&c, frame->payload_crc, 4);
  put(&c, (uint64_t)frame->part, 4);
  put(&c, (uint64_t)frame->parts, 4);
  c.to = out + CRC_AT;
  put(&c, dl_ps_crc(out, CRC_AT), 4);
}

static bool in_range(const dl_ps_frame *f) {
  return f->step >= -1 && f->version >= -1 && f->node.level >= 0 && f->node.level < 62 && f->node.index >= 0 &&
         f->node.index < (int64_t)1 << 40 && f->samples >= 0 && f->form >= 0 && f->part >= 0 &&
         (f->parts ? f->part < f->parts : f->part == 0);
}

dl_ps_fault dl_ps_frame_read(const void *header, size_t bytes, const void *payload, size_t payload_bytes,
                             dl_ps_frame *out) {
  cursor c = {.from = header};
  dl_ps_frame f = {0};
  if (bytes != DL_PS_HEADER_BYTES) return DL_PS_BAD_PARTS;
  if (take(&c, 4) != MAGIC) return DL_PS_BAD_MAGIC;
  cursor end = {.from = (const unsigned char *)header + CRC_AT};
  if (take(&end, 4) != dl_ps_crc(header, CRC_AT)) return DL_PS_BAD_HEADER;
  if (take(&c, 2) != DL_PS_VERSION) return DL_PS_BAD_VERSION;
  f.kind = (int)take(&c, 2);
  if (f.kind < 1 || f.kind >= DL_PS_KINDS) return DL_PS_BAD_KIND;
  f.job = take(&c, 8);
  f.life = take(&c, 8);
  f.sequence = take(&c, 8);
  f.step = (int64_t)take(&c, 8);
  f.version = (int64_t)take(&c, 8);
  f.node.level = (int32_t)take(&c, 4);
  f.status = (int32_t)take(&c, 4);
  f.node.index = (int64_t)take(&c, 8);
  f.samples = (int64_t)take(&c, 8);
  for (int k = 0; k < DL_LEAF_SUMS; k++) f.sums[k] = double_of(take(&c, 8));
  const uint64_t form = take(&c, 8);
  f.form = form < DL_PS_FORMS ? (int32_t)form : -1;
  f.taken = take(&c, 8);
  f.payload_bytes = take(&c, 8);
  f.payload_crc = (uint32_t)take(&c, 4);
  f.part = (int32_t)take(&c, 4);
  f.parts = (int32_t)take(&c, 4);
  if (!in_range(&f)) return DL_PS_BAD_HEADER;
  if (f.payload_bytes != payload_bytes) return DL_PS_BAD_LENGTH;
  if (payload_bytes && dl_ps_crc(payload, payload_bytes) != f.payload_crc) return DL_PS_BAD_CRC;
  *out = f;
  return DL_PS_FINE;
}

/* What a push brings, as a sum that the tree can take: where it lies in the message it stays there; what came in 16
 * bits, as few elements or in parts, or may not be kept, is in a buffer of the server's own, and these are used again.
 */
#include <stdlib.h>
#include <string.h>

#include "comm/ps_few.h"
#include "comm/ps_private.h"

typedef struct owner {
  dl_ps *of;
  zmq_msg_t message;
  float *buffer; /* a slice; stays with the owner, who waits in own->spare between its uses */
  struct owner *next;
} owner;

static owner *take_owner(dl_ps *own) {
  owner *o = own->spare;
  if (o)
    own->spare = o->next;
  else
    o = dl_calloc(1, sizeof *o);
  if (!o) return NULL;
  o->of = own;
  zmq_msg_init(&o->message);
  return o;
}

void dl_ps_sum_release(void *p) {
  owner *o = p;
  if (!o) return;
  zmq_msg_close(&o->message);
  o->next = o->of->spare;
  o->of->spare = o;
}

void dl_ps_sum_forget(dl_ps *own) {
  while (own->spare) {
    owner *o = own->spare;
    own->spare = o->next;
    free(o->buffer);
    free(o);
  }
}

static float *buffer_of(owner *o) {
  if (!o->buffer) o->buffer = dl_calloc_aligned(dl_ps_slice(o->of), sizeof(float));
  return o->buffer;
}

bool dl_ps_sum_keep(void *context, dl_ps_sum *sum) {
  dl_ps *own = context;
  owner *o = take_owner(own);
  float *buffer = o ? buffer_of(o) : NULL;
  if (buffer) {
    memcpy(buffer, sum->values, dl_ps_slice(own) * sizeof(float));
    sum->values = buffer;
    sum->owner = o;
    sum->borrowed = false;
    return true;
  }
  dl_ps_sum_release(o);
  return false;
}

static void unpack(const dl_half *half, float *out, const unsigned char *data, size_t count) {
  uint16_t part[1024];
  for (size_t done = 0, n; done < count; done += n) {
    n = count - done < 1024 ? count - done : 1024;
    memcpy(part, data + done * sizeof *part, n * sizeof *part); /* it may lie anywhere */
    half->unpack(out + done, part, n);
  }
}

/* Whether so many bytes can be this part. */
static bool has_length(const dl_sync *sync, const dl_ps_part *part, int form, size_t bytes) {
  const size_t count = part->end - part->begin;
  if (dl_ps_serve_is_few(sync)) return form == DL_PS_FEW;
  if (form == DL_PS_HALVES) return sync->half && bytes == count * sizeof(uint16_t);
  return form == DL_PS_FLOATS && bytes == count * sizeof(float);
}

static bool read_part(const dl_sync *sync, const dl_ps_part *part, int form, const zmq_msg_t *payload, float *out) {
  const unsigned char *data = zmq_msg_data((zmq_msg_t *)(uintptr_t)payload);
  const size_t bytes = zmq_msg_size(payload), count = part->end - part->begin;
  if (form == DL_PS_FEW) return dl_ps_few_read(out, sync->group, sync->blocks, part, sync->options.topk, data, bytes);
  if (form == DL_PS_HALVES)
    unpack(sync->half, out, data, count);
  else if (bytes)
    memcpy(out, data, bytes);
  return true;
}

/* The payload's floats, where they can be used as they lie; else unpacked or moved into place (ZeroMQ packs small
 * messages). */
static float *values_of(const dl_sync *sync, owner *o, int form, const dl_ps_part *part) {
  unsigned char *data = zmq_msg_data(&o->message);
  if (form == DL_PS_FLOATS && (uintptr_t)data % sizeof(float) == 0) return (float *)(void *)data;
  float *values = buffer_of(o);
  return values && read_part(sync, part, form, &o->message, values) ? values : NULL;
}

static bool take_message(dl_sync *sync, dl_ps_mail *mail, const dl_ps_part *part, dl_ps_sum *out) {
  const int form = mail->frame.form;
  owner *o = has_length(sync, part, form, zmq_msg_size(&mail->payload)) ? take_owner(dl_ps_of(sync)) : NULL;
  if (!o) return false;
  zmq_msg_move(&o->message, &mail->payload);
  *out = (dl_ps_sum){.node = mail->frame.node, .values = values_of(sync, o, form, part), .owner = o};
  if (out->values) return true;
  dl_ps_sum_release(o);
  return false;
}

bool dl_ps_take_sum(dl_sync *sync, dl_ps_mail *mail, const dl_ps_part *part, const float *memory, dl_ps_sum *out) {
  if (mail->frame.form == DL_PS_IN_MEMORY) {
    if (!memory || mail->frame.payload_bytes) return false;
    *out = (dl_ps_sum){.node = mail->frame.node, .values = (float *)(uintptr_t)memory, .borrowed = true};
  } else if (!take_message(sync, mail, part, out)) {
    return false;
  }
  memcpy(out->sums, mail->frame.sums, sizeof out->sums);
  return true;
}

/* ---- a slice that comes in parts: each is put where it belongs in a buffer of the server's, one a worker ---- */

void dl_ps_gather_drop(dl_ps_gather *gather) {
  dl_ps_sum_release(gather->owner);
  free(gather->have);
  *gather = (dl_ps_gather){0};
}

static bool begin_gather(dl_ps *own, dl_ps_gather *g, const dl_ps_frame *f) {
  const size_t n = (size_t)own->serve->n_parts;
  if (!g->have) g->have = dl_calloc(n, sizeof *g->have);
  if (!g->owner) g->owner = take_owner(own);
  if (!g->have || !g->owner || !buffer_of(g->owner)) return false;
  memset(g->have, 0, n * sizeof *g->have);
  g->missing = own->serve->n_parts;
  g->sequence = f->sequence;
  g->step = f->step;
  g->node = f->node;
  return true;
}

static dl_ps_gathered end_gather(dl_ps_gather *g, const dl_ps_frame *f, dl_ps_sum *out) {
  *out = (dl_ps_sum){.node = g->node, .values = g->owner->buffer, .owner = g->owner};
  memcpy(out->sums, f->sums, sizeof out->sums);
  g->owner = NULL;
  return DL_PS_PART_LAST;
}

dl_ps_gathered dl_ps_gather_part(dl_sync *sync, dl_ps_gather *g, const dl_ps_mail *mail, dl_ps_sum *out) {
  dl_ps *own = dl_ps_of(sync);
  const dl_ps_frame *f = &mail->frame;
  if (f->parts != own->serve->n_parts) return DL_PS_PART_BAD;
  const dl_ps_part *part = &own->serve->parts[f->part];
  if (!has_length(sync, part, f->form, zmq_msg_size(&mail->payload))) return DL_PS_PART_BAD;
  if (g->missing && f->sequence < g->sequence) return DL_PS_PART_IN;
  if ((!g->missing || f->sequence > g->sequence) && !begin_gather(own, g, f)) return DL_PS_PART_NO_ROOM;
  if (f->step != g->step || !dl_tree_node_is(f->node, g->node)) return DL_PS_PART_BAD;
  if (g->have[f->part]) return DL_PS_PART_IN;
  if (!read_part(sync, part, f->form, &mail->payload, g->owner->buffer + (part->begin - own->begin)))
    return DL_PS_PART_BAD;
  g->have[f->part] = true;
  return --g->missing ? DL_PS_PART_IN : end_gather(g, f, out);
}

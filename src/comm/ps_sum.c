/* What a push brings, as a sum that the tree can take: where it lies in the message it stays there; what came in 16
 * bits or may not be kept is in a buffer of the server's own, and these are used again. */
#include <stdlib.h>
#include <string.h>

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

/* The payload's floats, where they can be used as they lie; else unpacked or moved into place. */
static float *values_of(const dl_ps *own, owner *o, int form) {
  unsigned char *data = zmq_msg_data(&o->message);
  const size_t count = dl_ps_slice(own);
  if (form == DL_PS_FLOATS && (uintptr_t)data % sizeof(float) == 0) return (float *)(void *)data;
  float *values = buffer_of(o);
  if (!values) return NULL;
  if (form == DL_PS_FLOATS)
    memcpy(values, data, count * sizeof(float)); /* ZeroMQ packs small messages */
  else
    unpack(own->collect.half, values, data, count);
  return values;
}

static bool take_message(dl_ps *own, dl_ps_mail *mail, dl_ps_sum *out) {
  const bool halves = mail->frame.form == DL_PS_HALVES;
  if (halves && !own->collect.half) return false;
  if (zmq_msg_size(&mail->payload) != dl_ps_slice(own) * (halves ? sizeof(uint16_t) : sizeof(float))) return false;
  owner *o = take_owner(own);
  if (!o) return false;
  zmq_msg_move(&o->message, &mail->payload);
  *out = (dl_ps_sum){.node = mail->frame.node, .values = values_of(own, o, mail->frame.form), .owner = o};
  if (out->values) return true;
  dl_ps_sum_release(o);
  return false;
}

bool dl_ps_take_sum(dl_ps *own, dl_ps_mail *mail, const float *memory, dl_ps_sum *out) {
  if (mail->frame.form == DL_PS_IN_MEMORY) {
    if (!memory || mail->frame.payload_bytes) return false;
    *out = (dl_ps_sum){.node = mail->frame.node, .values = (float *)(uintptr_t)memory, .borrowed = true};
  } else if (!take_message(own, mail, out)) {
    return false;
  }
  memcpy(out->sums, mail->frame.sums, sizeof out->sums);
  return true;
}

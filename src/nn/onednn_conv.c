/* onednn_conv.c - convolution by oneDNN's primitives on images whose channels lie together; the one file that knows
 * where the C interfaces of 2.x and 3.x differ.
 *
 * Against its own blocked order, read on AVX-512 (oneDNN 2.6, one thread, forward and backward of 3x3 kernels): 32 to
 * 64 channels of 15x15, 32 images, 2.51 to 2.62 ms; 64 to 64 of 6x6 0.51 to 0.62 ms; 16 to 16 of 32x32, 64 images, 4.15
 * to 4.32 ms; only three input channels lose (0.66 to 0.45 ms): their forward pass is our own (kernels_conv.isa.c). And
 * everything between convolutions is a plain loop.
 *
 * oneDNN chooses the order of weights: they are copied into it in each pass, which takes microseconds. Primitives are
 * made for a number of samples and kept; their scratch memory is ours, so a pass allocates nothing.
 */
#ifdef DLDIST_HAVE_ONEDNN
#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "nn/kernels_conv.h"
#include "nn/kernels_image.h"
#include "nn/signal_guard.h"

/* ---- 2.x and 3.x ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t desc_ref;
typedef dnnl_memory_desc_t desc;
#define REF(d) (d)
static bool desc_make(desc *d, int dims, const dnnl_dims_t dim, dnnl_format_tag_t tag) {
  return dnnl_memory_desc_create_with_tag(d, dims, dim, dnnl_f32, tag) == dnnl_success;
}
static void desc_free(desc *d) {
  if (*d) dnnl_memory_desc_destroy(*d);
}
#else
typedef const dnnl_memory_desc_t *desc_ref;
typedef dnnl_memory_desc_t desc;
#define REF(d) (&(d))
static bool desc_make(desc *d, int dims, const dnnl_dims_t dim, dnnl_format_tag_t tag) {
  return dnnl_memory_desc_init_by_tag(d, dims, dim, dnnl_f32, tag) == dnnl_success;
}
static void desc_free(desc *d) { (void)d; }
#endif

/* What a convolution of n samples is to oneDNN. `w` has the order that oneDNN chooses. `bias` where there is one. */
typedef struct geometry {
  desc x, w, bias, y, plain;
  bool biased;
  dnnl_dims_t stride, dilation, begin, end;
} geometry;

typedef enum pass { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS, PASSES } pass;

static bool primitive_desc(pass which, const geometry *g, dnnl_engine_t engine, dnnl_primitive_attr_t attr,
                           dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *out) {
  const desc_ref bias = g->biased ? REF(g->bias) : NULL;
#if DNNL_VERSION_MAJOR >= 3
  switch (which) {
    case FORWARD:
      return dnnl_convolution_forward_primitive_desc_create(out, engine, dnnl_forward_training, dnnl_convolution_direct,
                                                            g->x, g->w, bias, g->y, g->stride, g->dilation, g->begin,
                                                            g->end, attr) == dnnl_success;
    case BACKWARD_DATA:
      return dnnl_convolution_backward_data_primitive_desc_create(out, engine, dnnl_convolution_direct, g->x, g->w,
                                                                  g->y, g->stride, g->dilation, g->begin, g->end,
                                                                  forward, attr) == dnnl_success;
    default:
      return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, dnnl_convolution_direct, g->x, g->w,
                                                                     bias, g->y, g->stride, g->dilation, g->begin,
                                                                     g->end, forward, attr) == dnnl_success;
  }
#else
  dnnl_convolution_desc_t d;
  dnnl_status_t status;
  if (which == FORWARD)
    status = dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_training, dnnl_convolution_direct, &g->x,
                                                        &g->w, bias, &g->y, g->stride, g->dilation, g->begin, g->end);
  else if (which == BACKWARD_DATA)
    status = dnnl_dilated_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &g->x, &g->w, &g->y,
                                                              g->stride, g->dilation, g->begin, g->end);
  else
    status = dnnl_dilated_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, &g->x, &g->w, bias, &g->y,
                                                                 g->stride, g->dilation, g->begin, g->end);
  return status == dnnl_success && dnnl_primitive_desc_create(out, &d, attr, engine, forward) == dnnl_success;
#endif
}

/* ---- what is kept ---- */

/* One pass for one n: a convolution and the copy of the weights (or their gradient) between the two orders. */
typedef struct job {
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t convolution, reorder;
  dnnl_memory_t x, w, bias, y, plain, scratch;
  size_t w_bytes, scratch_bytes;
} job;

typedef struct entry {
  int64_t n;
  uint64_t used;
  job jobs[PASSES];
} entry;

enum { MOST_ENTRIES = 16 }; /* leaf sizes of a full and of the last batch, blocks of evaluation, and their blocks */

typedef struct onednn_conv {
  dl_conv base;
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_attr_t attr;
  entry entries[MOST_ENTRIES];
  int n_entries;
  uint64_t clock;
  size_t w_bytes, scratch_bytes;
  void *w, *scratch; /* weights in oneDNN's order, scratch memory: for the largest need */
  float *few;        /* weights for few_forward, NULL where that is not taken */
} onednn_conv;

static void job_free(job *j) {
  if (j->convolution) dnnl_primitive_destroy(j->convolution);
  if (j->reorder) dnnl_primitive_destroy(j->reorder);
  dnnl_memory_t memories[] = {j->x, j->w, j->bias, j->y, j->plain, j->scratch};
  for (size_t i = 0; i < sizeof memories / sizeof memories[0]; i++)
    if (memories[i]) dnnl_memory_destroy(memories[i]);
  if (j->desc) dnnl_primitive_desc_destroy(j->desc);
  *j = (job){0};
}

static void entry_free(entry *e) {
  for (int p = PASSES; p-- > 0;) job_free(&e->jobs[p]);
  *e = (entry){0};
}

static void destroy(dl_conv *conv) {
  onednn_conv *c = (onednn_conv *)conv;
  for (int i = 0; i < c->n_entries; i++) entry_free(&c->entries[i]);
  if (c->attr) dnnl_primitive_attr_destroy(c->attr);
  if (c->stream) dnnl_stream_destroy(c->stream);
  if (c->engine) dnnl_engine_destroy(c->engine);
  free(c->w);
  free(c->scratch);
  free(c->few);
  free(c);
}

static void geometry_free(geometry *g) {
  desc *all[] = {&g->x, &g->w, &g->bias, &g->y, &g->plain};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) desc_free(all[i]);
}

static bool geometry_make(const dl_conv_shape *s, int64_t n, geometry *g) {
  const bool grouped = s->groups > 1;
  const dnnl_dims_t x = {n, s->ic, s->ih, s->iw}, y = {n, s->oc, s->oh, s->ow}, bias = {s->oc};
  const dnnl_dims_t w = {s->oc, s->ic, s->kh, s->kw};
  const dnnl_dims_t grouped_w = {s->groups, s->oc / s->groups, s->ic / s->groups, s->kh, s->kw};
  *g = (geometry){.biased = s->bias,
                  .stride = {s->sh, s->sw},
                  .dilation = {s->dh - 1, s->dw - 1},
                  .begin = {s->top, s->left},
                  .end = {s->bottom, s->right}};
  return desc_make(&g->x, 4, x, dnnl_nhwc) && desc_make(&g->y, 4, y, dnnl_nhwc) &&
         (!s->bias || desc_make(&g->bias, 1, bias, dnnl_a)) &&
         desc_make(&g->w, grouped ? 5 : 4, grouped ? grouped_w : w, dnnl_format_tag_any) &&
         desc_make(&g->plain, grouped ? 5 : 4, grouped ? grouped_w : w, grouped ? dnnl_goihw : dnnl_oihw);
}

static bool memory_make(onednn_conv *c, desc_ref d, dnnl_memory_t *out) {
  return dnnl_memory_create(out, d, c->engine, DNNL_MEMORY_NONE) == dnnl_success;
}

/* Whether oneDNN has more than its reference loops. */
static bool is_fast(dnnl_primitive_desc_t made) {
  const char *name = "";
  return dnnl_primitive_desc_query(made, dnnl_query_impl_info_str, 0, &name) == dnnl_success && strncmp(name, "ref", 3);
}

static bool reorder_make(onednn_conv *c, desc_ref from, desc_ref to, job *j) {
  dnnl_primitive_desc_t d;
  if (dnnl_memory_desc_equal(from, to)) return true;
  if (dnnl_reorder_primitive_desc_create(&d, from, c->engine, to, c->engine, c->attr) != dnnl_success) return false;
  const bool made = dnnl_primitive_create(&j->reorder, d) == dnnl_success;
  const desc_ref scratch = dnnl_primitive_desc_query_md(d, dnnl_query_scratchpad_md, 0);
  const bool none = !scratch || dnnl_memory_desc_get_size(scratch) == 0;
  dnnl_primitive_desc_destroy(d);
  return made && none;
}

static bool job_make(onednn_conv *c, pass which, const geometry *g, dnnl_primitive_desc_t forward, job *j) {
  const bool gradient = which == BACKWARD_WEIGHTS;
  if (!primitive_desc(which, g, c->engine, c->attr, forward, &j->desc) || !is_fast(j->desc)) return false;
  const desc_ref w =
      dnnl_primitive_desc_query_md(j->desc, gradient ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
  const desc_ref scratch = dnnl_primitive_desc_query_md(j->desc, dnnl_query_scratchpad_md, 0);
  j->w_bytes = dnnl_memory_desc_get_size(w);
  j->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
  return memory_make(c, REF(g->x), &j->x) && memory_make(c, w, &j->w) &&
         (!g->biased || memory_make(c, REF(g->bias), &j->bias)) && memory_make(c, REF(g->y), &j->y) &&
         memory_make(c, REF(g->plain), &j->plain) && (!j->scratch_bytes || memory_make(c, scratch, &j->scratch)) &&
         (gradient ? reorder_make(c, w, REF(g->plain), j) : reorder_make(c, REF(g->plain), w, j)) &&
         dnnl_primitive_create(&j->convolution, j->desc) == dnnl_success;
}

/* A buffer that grows to what the greediest job needs. */
static bool grow(void **buffer, size_t *have, size_t want) {
  if (want <= *have) return true;
  void *more = dl_calloc_aligned(want, 1);
  if (!more) return false;
  free(*buffer);
  *buffer = more;
  *have = want;
  return true;
}

static bool entry_make(onednn_conv *c, int64_t n, entry *e) {
  geometry g;
  bool made = geometry_make(&c->base.shape, n, &g);
  *e = (entry){.n = n};
  for (int p = 0; p < PASSES && made; p++) {
    job *j = &e->jobs[p];
    made = job_make(c, (pass)p, &g, p == FORWARD ? NULL : e->jobs[FORWARD].desc, j) &&
           grow(&c->w, &c->w_bytes, j->w_bytes) && grow(&c->scratch, &c->scratch_bytes, j->scratch_bytes);
  }
  geometry_free(&g);
  if (!made) entry_free(e);
  return made;
}

/* The primitives for n samples, made where they are not there yet in place of those unused the longest; NULL where that
 * fails. */
static entry *entry_of(onednn_conv *c, int64_t n) {
  entry *e = &c->entries[0];
  for (int i = 0; i < c->n_entries; i++) {
    if (c->entries[i].n == n) {
      c->entries[i].used = ++c->clock;
      return &c->entries[i];
    }
    if (c->entries[i].used < e->used) e = &c->entries[i];
  }
  if (c->n_entries < MOST_ENTRIES)
    e = &c->entries[c->n_entries++];
  else
    entry_free(e);
  if (!entry_make(c, n, e)) return NULL;
  e->used = ++c->clock;
  return e;
}

static dl_status new (const dl_conv_shape *shape, const dl_gemm_backend *gemm, dl_conv **out) {
  onednn_conv *c = dl_calloc(1, sizeof *c);
  if (!c) return DL_ERR_NOMEM;
  c->base = (dl_conv){&dl_conv_onednn, *shape, gemm};
  gemm->one_thread();
  const bool made = dnnl_engine_create(&c->engine, dnnl_cpu, 0) == dnnl_success &&
                    dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags) == dnnl_success &&
                    dnnl_primitive_attr_create(&c->attr) == dnnl_success &&
                    dnnl_primitive_attr_set_scratchpad_mode(c->attr, dnnl_scratchpad_mode_user) == dnnl_success;
  if (made && dl_conv_few_suits(shape)) {
    c->few = dl_calloc_aligned((size_t)(shape->oc * shape->ic * shape->kh * shape->kw), sizeof(float));
    if (!c->few) {
      destroy(&c->base);
      return DL_ERR_NOMEM;
    }
  }
  /* What is fast for one sample is for many. */
  if (!made || !entry_of(c, 1)) {
    destroy(&c->base);
    return made ? DL_OK : dl_fail(DL_ERR_NOMEM, "oneDNN cannot be set up for a convolution");
  }
  *out = &c->base;
  return DL_OK;
}

/* ---- passes ---- */

/* The interface of oneDNN takes what it only reads as void * too. */
static void put(dnnl_memory_t memory, const void *at) {
  union {
    const void *in;
    void *out;
  } pointer = {at};
  dnnl_memory_set_data_handle(memory, pointer.out);
}

typedef struct operands {
  const float *x, *w, *bias, *y;
} operands;

/* Runs a job with its operands; `w` is plain. False where oneDNN fails. */
static bool run(onednn_conv *c, job *j, pass which, const operands *o) {
  static const struct {
    int x, w, bias, y;
  } names[] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
               {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, 0, DNNL_ARG_DIFF_DST},
               {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST}};
  put(j->x, o->x);
  put(j->y, o->y);
  if (j->bias) put(j->bias, o->bias);
  put(j->plain, o->w);
  put(j->w, j->reorder ? c->w : o->w);
  if (j->scratch) put(j->scratch, c->scratch);
  dnnl_exec_arg_t args[5] = {{names[which].x, j->x}, {names[which].w, j->w}, {names[which].y, j->y}};
  int n = 3;
  if (names[which].bias && j->bias) args[n++] = (dnnl_exec_arg_t){names[which].bias, j->bias};
  if (j->scratch) args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, j->scratch};
  const bool gradient = which == BACKWARD_WEIGHTS;
  const dnnl_exec_arg_t copy[] = {{DNNL_ARG_FROM, gradient ? j->w : j->plain},
                                  {DNNL_ARG_TO, gradient ? j->plain : j->w}};
  bool done = true;
  sigset_t signals;
  dl_signals_hold(&signals);
  if (j->reorder && !gradient) done = dnnl_primitive_execute(j->reorder, c->stream, 2, copy) == dnnl_success;
  done = done && dnnl_primitive_execute(j->convolution, c->stream, n, args) == dnnl_success;
  if (j->reorder && gradient) done = done && dnnl_primitive_execute(j->reorder, c->stream, 2, copy) == dnnl_success;
  done = dnnl_stream_wait(c->stream) == dnnl_success && done;
  dl_signals_release(&signals);
  return done;
}

static void make_nan(float *values, int64_t n) {
  for (int64_t i = 0; i < n; i++) values[i] = NAN;
}

static void forward(dl_conv *conv, int64_t n, const float *x, const float *w, const float *bias, float *y) {
  onednn_conv *c = (onednn_conv *)conv;
  if (c->few) {
    dl_conv_few_pack(&conv->shape, w, c->few);
    dl_conv_kernels_in_use()->few_forward(&conv->shape, n, x, c->few, bias, y);
    return;
  }
  entry *e = entry_of(c, n);
  const operands o = {x, w, bias, y};
  if (!e || !run(c, &e->jobs[FORWARD], FORWARD, &o)) make_nan(y, n * conv->shape.oc * conv->shape.oh * conv->shape.ow);
}

static void backward_data(dl_conv *conv, int64_t n, const float *dy, const float *w, float *dx) {
  onednn_conv *c = (onednn_conv *)conv;
  entry *e = entry_of(c, n);
  const operands o = {dx, w, NULL, dy};
  if (!e || !run(c, &e->jobs[BACKWARD_DATA], BACKWARD_DATA, &o))
    make_nan(dx, n * conv->shape.ic * conv->shape.ih * conv->shape.iw);
}

/* Where filters of a group do not fill its vectors oneDNN 2.6 may add up the slope of the bias one float after another:
 * read 4e-4 off on 5 images of 64 x 64. Depthwise convolutions have loops of their own. */
static bool sums_plainly(const dl_conv_shape *s) {
  return s->oc / s->groups % 16 && !(s->groups == s->ic && s->groups == s->oc);
}

static void backward_weights(dl_conv *conv, int64_t n, const float *x, const float *dy, float *dw, float *dbias) {
  onednn_conv *c = (onednn_conv *)conv;
  const dl_conv_shape *s = &conv->shape;
  entry *e = entry_of(c, n);
  const operands o = {x, dw, dbias, dy};
  if (!e || !run(c, &e->jobs[BACKWARD_WEIGHTS], BACKWARD_WEIGHTS, &o))
    make_nan(dw, s->oc * (s->ic / s->groups) * s->kh * s->kw);
  else if (dbias && sums_plainly(s))
    dl_image_kernels_in_use()->channel_sums(n * s->oh * s->ow, s->oc, dy, dbias);
}

const dl_conv_ops dl_conv_onednn = {
    .name = "onednn",
    .new = new,
    .destroy = destroy,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
#else
typedef int dl_conv_onednn_is_not_built_in;
#endif

/* attention.c - multi-head self-attention, as torch.nn.MultiheadAttention computes it (batch first, no dropout).
 *
 * Vaswani et al., "Attention is all you need", 2017. One product makes queries, keys and values of all samples; per
 * sample and head the products work on the slices where they lie. With `causal` they are products of triangles
 * (dl_gemm_part), of which little more than half is computed; what lies above the diagonal is 0 in p and ds.
 *
 *   qkv (n, T, 3 d)    p (n, heads, T, T)    o (n, T, d), all kept for the backward pass
 */
#include <math.h>
#include <string.h>

#include "nn/kernels.h"
#include "nn/kernels_seq.h"
#include "nn/layer_kinds.h"

enum { IN_WEIGHT, IN_BIAS, OUT_WEIGHT, OUT_BIAS }; /* without bias: IN_WEIGHT, then OUT_WEIGHT */

typedef struct attention_options {
  int64_t heads, padding;
  bool causal, bias;
} attention_options;

static const dl_option options[] = {
    {.key = "heads",
     .type = DL_OPTION_INT,
     .offset = offsetof(attention_options, heads),
     .min = 1,
     .max = 1 << 12,
     .help = "number of heads; they share the features evenly"},
    {.key = "causal",
     .type = DL_OPTION_BOOL,
     .offset = offsetof(attention_options, causal),
     .fallback = "false",
     .help = "whether a step looks at itself and earlier steps only"},
    {.key = "padding",
     .type = DL_OPTION_INT,
     .offset = offsetof(attention_options, padding),
     .min = -1,
     .max = 1 << 24,
     .fallback = "-1",
     .help = "token that nobody looks at, as a second input tells it: from: [LAYER, input]; -1: none"},
    {.key = "bias",
     .type = DL_OPTION_BOOL,
     .offset = offsetof(attention_options, bias),
     .fallback = "true",
     .help = "whether learnt offsets are added"},
};

/* The numbers of a layer, and where its parts lie: in floats a sample. */
typedef struct plan {
  const attention_options *o;
  int64_t steps, d, heads, size; /* size: of a head */
  size_t qkv, p, out, keys, work;
  size_t dqkv, d_out, dp, scratch;
} plan;

static plan plan_of(const dl_layer *layer) {
  const attention_options *o = layer->options;
  plan p = {.o = o, .steps = layer->in.dim[0], .d = layer->in.dim[1], .heads = o->heads};
  p.size = p.d / p.heads;
  const size_t rows = (size_t)(p.steps * p.d), square = (size_t)(p.steps * p.steps);
  p.p = 3 * rows;
  p.out = p.p + (size_t)p.heads * square;
  p.keys = p.out + rows;
  p.work = p.keys + (size_t)(layer->n_inputs > 1 ? p.steps : 0);
  p.d_out = 3 * rows;
  p.dp = p.d_out + rows;
  p.scratch = p.dp + square;
  return p;
}

static dl_status check_padding(const dl_layer *layer) {
  const attention_options *o = layer->options;
  char text[96];
  if (layer->n_inputs == 1 && o->padding >= 0) {
    dl_layer_fail(layer, "padding needs the tokens as a second input");
    return dl_hint("name them: from: [LAYER, input]");
  }
  if (layer->n_inputs == 1) return DL_OK;
  if (o->padding < 0) return dl_layer_fail(layer, "it has a second input, the tokens, but no padding");
  if (layer->input_shapes[1]->dims == 1 && layer->input_shapes[1]->dim[0] == layer->in.dim[0]) return DL_OK;
  return dl_layer_fail(layer, "its second input must be the tokens (%lld), but it has the shape %s",
                       (long long)layer->in.dim[0], dl_shape_text(layer->input_shapes[1], text, sizeof text));
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  const attention_options *o = layer->options;
  char shape[96];
  if (layer->in.dims != 2) {
    dl_layer_fail(layer, "it takes a sequence of rows (steps, features), but what it reads has the shape %s",
                  dl_shape_text(&layer->in, shape, sizeof shape));
    return dl_hint("put `embedding` before it for tokens, or `reshape: [steps, features]`");
  }
  const int64_t t = layer->in.dim[0], d = layer->in.dim[1];
  if (d % o->heads)
    return dl_layer_fail(layer, "%lld features cannot be shared by %lld heads", (long long)d, (long long)o->heads);
  DL_TRY(check_padding(layer));
  const plan p = plan_of(layer);
  layer->out = layer->in;
  layer->work_count = p.work;
  layer->looks_ahead = !o->causal;
  layer->scratch_count = p.scratch;
  layer->multiply_adds = (double)t * (double)d * (4.0 * (double)d + (o->causal ? 1.0 : 2.0) * (double)t);
  DL_TRY(dl_layer_add_tensor(builder, "in_proj_weight", 2, (int64_t[]){3 * d, d}, true));
  if (o->bias) DL_TRY(dl_layer_add_tensor(builder, "in_proj_bias", 1, (int64_t[]){3 * d}, false));
  DL_TRY(dl_layer_add_tensor(builder, "out_proj.weight", 2, (int64_t[]){d, d}, true));
  return o->bias ? dl_layer_add_tensor(builder, "out_proj.bias", 1, (int64_t[]){d}, false) : DL_OK;
}

static int role_of(const dl_layer *layer, int tensor) {
  return ((const attention_options *)layer->options)->bias ? tensor : 2 * tensor;
}

/* PyTorch: in_proj_weight by xavier_uniform as one matrix, out_proj as nn.Linear, biases zero. */
static void init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  const int64_t d = layer->in.dim[1];
  const int role = role_of(layer, tensor);
  if (role == IN_WEIGHT)
    dl_init_fill(layer->init == DL_INIT_DEFAULT ? DL_INIT_XAVIER_UNIFORM : layer->init, 0, d, 3 * d, key, tensor,
                 values, count);
  else if (role == OUT_WEIGHT)
    dl_init_fill(layer->init, 1 / sqrt((double)d), d, d, key, tensor, values, count);
  else
    memset(values, 0, count * sizeof *values);
}

/* Tensor of a role; NULL for an absent bias. */
static const float *weight_of(const dl_layer *layer, const dl_layer_run *run, int role) {
  const bool bias = ((const attention_options *)layer->options)->bias;
  return bias ? run->weights[role] : role % 2 ? NULL : run->weights[role / 2];
}
static float *gradient_of(const dl_layer *layer, const dl_layer_run *run, int role) {
  const bool bias = ((const attention_options *)layer->options)->bias;
  return bias ? run->gradients[role] : role % 2 ? NULL : run->gradients[role / 2];
}

/* ---- one head of one sample ---- */

typedef struct head {
  const plan *p;
  const dl_gemm_backend *gemm;
  const float *q, *k, *v; /* (T, size), rows 3 d apart */
  float *probability;     /* (T, T) */
  const float *keys;      /* (T) or NULL */
  float scale;
} head;

static head head_at(const plan *p, const dl_layer_run *run, int64_t sample, int64_t number) {
  const float *qkv = run->work + (size_t)run->n * p->qkv + sample * p->steps * 3 * p->d + number * p->size;
  return (head){.p = p,
                .gemm = run->gemm,
                .q = qkv,
                .k = qkv + p->d,
                .v = qkv + 2 * p->d,
                .probability = run->work + (size_t)run->n * p->p + (sample * p->heads + number) * p->steps * p->steps,
                .keys = p->work > p->keys ? run->work + (size_t)run->n * p->keys + sample * p->steps : NULL,
                .scale = (float)(1 / sqrt((double)p->size))};
}

static dl_gemm_part part_of(const head *h, dl_gemm_part causal) { return h->p->o->causal ? causal : DL_GEMM_WHOLE; }

static void forward_head(const head *h, float *out) {
  const plan *p = h->p;
  const int64_t t = p->steps, ld = 3 * p->d, size = p->size;
  dl_gemm_product(h->gemm, part_of(h, DL_GEMM_C_LOWER), false, true, t, t, size, h->scale, h->q, ld, h->k, ld,
                  h->probability, t);
  dl_seq_kernels_in_use()->attend(t, t, t, p->o->causal ? 1 : t, h->keys, h->probability);
  dl_gemm_product(h->gemm, part_of(h, DL_GEMM_A_LOWER), false, false, t, size, t, 1, h->probability, t, h->v, ld, out,
                  p->d);
}

/* d_out (T, size) rows d apart; dq, dk, dv as q, k, v; dp (T, T) is room. */
static void backward_head(const head *h, const float *d_out, float *dp, float *dq, float *dk, float *dv) {
  const plan *p = h->p;
  const int64_t t = p->steps, ld = 3 * p->d, size = p->size;
  const dl_gemm_part seen = part_of(h, DL_GEMM_A_LOWER), seeing = part_of(h, DL_GEMM_A_UPPER);
  dl_gemm_product(h->gemm, part_of(h, DL_GEMM_C_LOWER), false, true, t, t, size, 1, d_out, p->d, h->v, ld, dp, t);
  dl_seq_kernels_in_use()->attend_backward(t, t, t, p->o->causal ? 1 : t, h->probability, dp);
  dl_gemm_product(h->gemm, seen, false, false, t, size, t, h->scale, dp, t, h->k, ld, dq, ld);
  dl_gemm_product(h->gemm, seeing, true, false, t, size, t, 1, h->probability, t, d_out, p->d, dv, ld);
  dl_gemm_product(h->gemm, seeing, true, false, t, size, t, h->scale, dp, t, h->q, ld, dk, ld);
}

/* ---- the whole ---- */

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  const plan p = plan_of(layer);
  const int64_t n = run->n, rows = n * p.steps;
  float *qkv = run->work + (size_t)n * p.qkv, *out = run->work + (size_t)n * p.out,
        *keys = run->work + (size_t)n * p.keys;
  for (int64_t i = 0; layer->n_inputs > 1 && i < rows; i++)
    keys[i] = run->xs[1][i] == (float)p.o->padding ? -INFINITY : 0;
  dl_gemm_affine(run->gemm, rows, 3 * p.d, p.d, run->x, p.d, weight_of(layer, run, IN_WEIGHT), p.d,
                 weight_of(layer, run, IN_BIAS), qkv, 3 * p.d);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < p.heads; j++) {
      const head h = head_at(&p, run, i, j);
      forward_head(&h, out + i * p.steps * p.d + j * p.size);
    }
  dl_gemm_affine(run->gemm, rows, p.d, p.d, out, p.d, weight_of(layer, run, OUT_WEIGHT), p.d,
                 weight_of(layer, run, OUT_BIAS), run->y, p.d);
}

/* dW = dy^T x, db = sum of dy, dx = dy W, for a projection of `in` to `out`. */
static void project_backward(const dl_layer_run *run, int64_t rows, int64_t in, int64_t out, const float *x,
                             const float *w, const float *dy, float *dw, float *db, float *dx) {
  if (dw) run->gemm->sgemm(true, false, out, in, rows, 1, dy, out, x, in, 0, dw, in);
  if (db) dl_kernels_in_use()->column_sums(rows, out, dy, db);
  if (dx) run->gemm->sgemm(false, false, rows, in, out, 1, dy, out, w, in, 0, dx, in);
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  const plan p = plan_of(layer);
  const int64_t n = run->n, rows = n * p.steps, ld = 3 * p.d;
  float *dqkv = run->scratch + (size_t)n * p.dqkv, *d_out = run->scratch + (size_t)n * p.d_out,
        *dp = run->scratch + (size_t)n * p.dp;
  const bool learns = run->gradients;
  project_backward(run, rows, p.d, p.d, run->work + (size_t)n * p.out, weight_of(layer, run, OUT_WEIGHT), run->dy,
                   learns ? gradient_of(layer, run, OUT_WEIGHT) : NULL,
                   learns ? gradient_of(layer, run, OUT_BIAS) : NULL, d_out);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < p.heads; j++) {
      const head h = head_at(&p, run, i, j);
      float *dq = dqkv + i * p.steps * ld + j * p.size;
      backward_head(&h, d_out + i * p.steps * p.d + j * p.size, dp, dq, dq + p.d, dq + 2 * p.d);
    }
  project_backward(run, rows, p.d, ld, run->x, weight_of(layer, run, IN_WEIGHT), dqkv,
                   learns ? gradient_of(layer, run, IN_WEIGHT) : NULL, learns ? gradient_of(layer, run, IN_BIAS) : NULL,
                   run->dx);
  if (layer->n_inputs > 1 && run->dxs[1]) memset(run->dxs[1], 0, (size_t)rows * sizeof(float));
}

const dl_layer_kind dl_layer_attention = {
    .name = "attention",
    .help = "self-attention of several heads over a sequence (steps, features)",
    .options = options,
    .n_options = 4,
    .options_size = sizeof(attention_options),
    .value_option = "heads",
    .most_inputs = 2,
    .setup = setup,
    .init = init,
    .forward = forward,
    .backward = backward,
};

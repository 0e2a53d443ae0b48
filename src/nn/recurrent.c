/* recurrent.c - rnn, lstm, gru: several layers, one or both directions.
 *
 * Within a layer everything lies time-major, (T, n, ...), so that a time step is one run of memory:
 *
 *   gates (T, n, G h)     input part x W_ih^T of all steps in one product, then the state part step by step
 *   state (T + 1, n, h)   what each step gives; the zero state before the first stands at the front (backwards: at the
 * end)
 *
 * Backward goes through the steps once for the gradients of the gates, which replace the gates in place; those of both
 * weights and of the input are then one product each over all steps. The state starts from zero at each sample.
 * Names, shapes and formulas are those of PyTorch's nn.RNN, nn.LSTM and nn.GRU.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/vector.h"
#include "nn/kernels.h"
#include "nn/kernels_seq.h"
#include "nn/layer_kinds.h"

enum { MOST_LAYERS = DL_LAYER_MAX_TENSORS / 8 };
enum { W_IH, W_HH, B_IH, B_HH };
/* From so many steps on W_hh is transposed once for all of them: products with it as it lies are slower (32 rows, 256
 * to 1,024: 85 -> 75 us; 16 rows: 56 -> 42). */
enum { PACK_STEPS = 8 };

typedef struct recurrent_options {
  int64_t units, layers;
  bool bidirectional, return_sequences, bias;
  int nonlinearity; /* rnn */
} recurrent_options;

#define RECURRENT_ROWS                                                                                      \
  {.key = "units",                                                                                          \
   .type = DL_OPTION_INT,                                                                                   \
   .offset = offsetof(recurrent_options, units),                                                            \
   .min = 1,                                                                                                \
   .max = 1 << 16,                                                                                          \
   .help = "size of the state"},                                                                            \
      {.key = "layers",                                                                                     \
       .type = DL_OPTION_INT,                                                                               \
       .offset = offsetof(recurrent_options, layers),                                                       \
       .min = 1,                                                                                            \
       .max = MOST_LAYERS,                                                                                  \
       .fallback = "1",                                                                                     \
       .help = "layers on top of each other"},                                                              \
      {.key = "bidirectional",                                                                              \
       .type = DL_OPTION_BOOL,                                                                              \
       .offset = offsetof(recurrent_options, bidirectional),                                                \
       .fallback = "false",                                                                                 \
       .help = "a second state that reads the sequence from its end; outputs are twice as wide"},           \
      {.key = "return_sequences",                                                                           \
       .type = DL_OPTION_BOOL,                                                                              \
       .offset = offsetof(recurrent_options, return_sequences),                                             \
       .fallback = "false",                                                                                 \
       .help = "true: the state at every step (steps, units); false: the last one (units)"},                \
  {                                                                                                         \
    .key = "bias", .type = DL_OPTION_BOOL, .offset = offsetof(recurrent_options, bias), .fallback = "true", \
    .help = "whether learnt offsets are added"                                                              \
  }

static const dl_option gated_rows[] = {RECURRENT_ROWS};
static const dl_option rnn_rows[] = {RECURRENT_ROWS,
                                     {.key = "nonlinearity",
                                      .type = DL_OPTION_CHOICE,
                                      .offset = offsetof(recurrent_options, nonlinearity),
                                      .fallback = "tanh",
                                      .choices = "tanh|relu",
                                      .help = "the function of the state"}};

/* One direction of one layer, at a step. Pointers to the step's part; shapes (n, ...). */
typedef struct cell_step {
  int64_t n, h;
  int nonlinearity;
  float *gates;        /* (n, G h) */
  float *state_part;   /* (n, G h): the state's part, where the cell keeps it apart */
  const float *before; /* (n, h) state */
  float *out;          /* (n, h) */
  const float *c_before;
  float *c, *tanh_c;
  const float *dy; /* (n, h): backward */
  float *dh, *dc;
} cell_step;

typedef struct cell {
  int gates;
  bool apart;      /* the state's part of the gates is not added to the input's part before their functions */
  bool has_memory; /* c and tanh_c */
  void (*forward)(const cell_step *step);
  void (*backward)(const cell_step *step);
} cell;

static void rnn_forward(const cell_step *s) {
  const size_t all = (size_t)(s->n * s->h);
  (s->nonlinearity ? dl_kernels_in_use()->relu : dl_kernels_in_use()->tanh)(all, s->gates, s->out);
}
static void rnn_backward(const cell_step *s) {
  dl_seq_kernels_in_use()->rnn_backward((size_t)(s->n * s->h), s->nonlinearity, s->out, s->dy, s->dh, s->gates);
  memset(s->dh, 0, (size_t)(s->n * s->h) * sizeof(float));
}
static void lstm_forward(const cell_step *s) {
  dl_seq_kernels_in_use()->lstm(s->n, s->h, s->gates, s->c_before, s->c, s->tanh_c, s->out);
}
static void lstm_backward(const cell_step *s) {
  dl_seq_kernels_in_use()->lstm_backward(s->n, s->h, s->gates, s->c_before, s->tanh_c, s->dy, s->dh, s->dc);
  memset(s->dh, 0, (size_t)(s->n * s->h) * sizeof(float));
}
static void gru_forward(const cell_step *s) {
  dl_seq_kernels_in_use()->gru(s->n, s->h, s->gates, s->state_part, s->before, s->out);
}
static void gru_backward(const cell_step *s) {
  dl_seq_kernels_in_use()->gru_backward(s->n, s->h, s->gates, s->state_part, s->before, s->dy, s->dh);
}

static const cell rnn_cell = {.gates = 1, .forward = rnn_forward, .backward = rnn_backward};
static const cell lstm_cell = {.gates = 4, .has_memory = true, .forward = lstm_forward, .backward = lstm_backward};
static const cell gru_cell = {.gates = 3, .apart = true, .forward = gru_forward, .backward = gru_backward};

/* ---- sizes and places ---- */

/* The numbers of a layer, and where its parts lie in work and scratch: in floats a sample, to be multiplied by n. */
typedef struct plan {
  const recurrent_options *o;
  const cell *cell;
  int64_t steps, in, h, wide; /* wide: G h */
  int directions;
  size_t input;                                    /* (T, n, in): the first layer's input */
  size_t joined;                                   /* (T, n, directions h): of the first layer; the next follow */
  size_t gates, state_part, state, memory, tanh_c; /* of the first direction of the first layer */
  size_t direction;                                /* from one direction to the next */
  size_t work;                                     /* all */
  size_t packed;                                   /* at the front of work, in floats in all: W_hh^T (h, G h) */
  size_t dy, dx, dh, dc, turned, bias, scratch;    /* in scratch; bias: floats in all, not a sample */
} plan;

static size_t take(size_t *end, int64_t count) {
  const size_t at = *end;
  *end += (size_t)count;
  return at;
}

static plan plan_of(const dl_layer *layer, const cell *kind) {
  const recurrent_options *o = layer->options;
  plan p = {.o = o, .cell = kind, .h = o->units, .wide = kind->gates * o->units};
  p.steps = layer->in.dim[layer->in.dims - 2];
  p.in = layer->in.dim[layer->in.dims - 1];
  p.directions = o->bidirectional ? 2 : 1;
  const int64_t t = p.steps, h = p.h, out = p.directions * h, widest = p.in > out ? p.in : out;
  size_t end = 0;
  p.input = take(&end, t * p.in);
  p.joined = take(&end, p.directions > 1 ? o->layers * t * out : 0);
  const size_t begin = end;
  p.gates = take(&end, t * p.wide);
  p.state_part = take(&end, kind->apart ? t * p.wide : 0);
  p.state = take(&end, (t + 1) * h);
  p.memory = take(&end, kind->has_memory ? (t + 1) * h : 0);
  p.tanh_c = take(&end, kind->has_memory ? t * h : 0);
  p.direction = end - begin;
  p.packed = t >= PACK_STEPS ? (size_t)(p.wide * h) : 0;
  p.work = begin + p.direction * (size_t)(p.directions * o->layers);
  p.dy = take(&p.scratch, t * widest);
  p.dx = take(&p.scratch, t * widest);
  p.turned = take(&p.scratch, p.directions > 1 ? t * h : 0);
  p.dh = take(&p.scratch, h);
  p.dc = take(&p.scratch, kind->has_memory ? h : 0);
  p.bias = take(&p.scratch, p.wide);
  return p;
}

/* ---- setup ---- */

static dl_status add_direction(const plan *p, dl_layer_builder *builder, int64_t number, bool reverse) {
  static const char *const names[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
  const int64_t in = number ? p->directions * p->h : p->in;
  for (int t = 0; t < (p->o->bias ? 4 : 2); t++) {
    char name[40];
    snprintf(name, sizeof name, "%s_l%lld%s", names[t], (long long)number, reverse ? "_reverse" : "");
    DL_TRY(dl_layer_add_tensor(builder, name, t < B_IH ? 2 : 1, (int64_t[]){p->wide, t == W_IH ? in : p->h}, t < B_IH));
  }
  return DL_OK;
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder, const cell *kind) {
  const recurrent_options *o = layer->options;
  char shape[96];
  const bool sequence = layer->in.dims == 2 || (layer->in.dims == 3 && layer->in.dim[0] == 1);
  if (!sequence) {
    dl_layer_fail(layer, "it takes a sequence of rows (steps, features), but what it reads has the shape %s",
                  dl_shape_text(&layer->in, shape, sizeof shape));
    return layer->in.dims == 1 ? dl_hint("put `embedding` before it for tokens, or `reshape: [steps, features]`")
                               : dl_hint("put `reshape: [steps, features]` before it");
  }
  const plan p = plan_of(layer, kind);
  const int64_t out = p.directions * p.h;
  layer->out = o->return_sequences ? (dl_shape){.dims = 2, .dim = {p.steps, out}} : (dl_shape){.dims = 1, .dim = {out}};
  layer->work_fixed = p.packed;
  layer->looks_ahead = o->bidirectional;
  layer->work_count = p.work;
  layer->scratch_count = p.scratch;
  for (int64_t l = 0; l < o->layers; l++)
    for (int d = 0; d < p.directions; d++) {
      layer->multiply_adds += (double)(p.steps * p.wide) * (double)((l ? out : p.in) + p.h);
      DL_TRY(add_direction(&p, builder, l, d == 1));
    }
  return DL_OK;
}

/* All of PyTorch's start uniform within 1 / sqrt(units). */
static void init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  const recurrent_options *o = layer->options;
  const int each = o->bias ? 4 : 2;
  const int64_t h = o->units, rows = tensor % each < B_IH ? (int64_t)count / h : 1;
  const bool weight = tensor % each < B_IH;
  dl_init_fill(weight ? layer->init : DL_INIT_DEFAULT, 1 / sqrt((double)h), tensor % each == W_HH ? h : rows, h, key,
               tensor, values, count);
}

/* ---- one direction of one layer ---- */

typedef struct direction {
  const plan *p;
  const dl_layer_run *run;
  int64_t number; /* layer */
  bool reverse;
  int tensor; /* its first */
  int64_t in;
  const float *x;                                      /* (T, n, in) */
  float *gates, *state_part, *state, *memory, *tanh_c; /* state and memory: (T + 1, n, h) */
} direction;

static int tensors_of(const plan *p) { return p->o->bias ? 4 : 2; } /* a direction */

static direction direction_of(const plan *p, const dl_layer_run *run, int64_t number, int side) {
  const size_t n = (size_t)run->n, at = (size_t)(number * p->directions + side) * p->direction;
  float *work = run->work + p->packed;
  direction d = {.p = p, .run = run, .number = number, .reverse = side == 1};
  d.tensor = (int)(number * p->directions + side) * tensors_of(p);
  d.in = number ? p->directions * p->h : p->in;
  d.gates = work + n * (p->gates + at);
  d.state_part = work + n * (p->state_part + at);
  d.state = work + n * (p->state + at);
  d.memory = work + n * (p->memory + at);
  d.tanh_c = work + n * (p->tanh_c + at);
  if (!number)
    d.x = work + n * p->input;
  else if (p->directions > 1)
    d.x = work + n * (p->joined + (size_t)((number - 1) * p->steps * d.in));
  else
    d.x = work + n * (p->state + at - p->direction) + run->n * p->h;
  return d;
}

/* What the direction gives, (T, n, h). */
static float *outputs_of(const direction *d) { return d->state + (d->reverse ? 0 : d->run->n * d->p->h); }

static cell_step step_at(const direction *d, int64_t t) {
  const plan *p = d->p;
  const int64_t n = d->run->n, row = n * p->h, now = d->reverse ? t : t + 1, before = d->reverse ? t + 1 : t;
  return (cell_step){.n = n,
                     .h = p->h,
                     .nonlinearity = p->o->nonlinearity,
                     .gates = d->gates + t * n * p->wide,
                     .state_part = d->state_part + t * n * p->wide,
                     .before = d->state + before * row,
                     .out = d->state + now * row,
                     .c_before = d->memory + before * row,
                     .c = d->memory + now * row,
                     .tanh_c = d->tanh_c + t * row};
}

static void add_bias(const direction *d, int first, int count, int64_t rows, float *y) {
  const plan *p = d->p;
  const float *bias = d->run->weights[d->tensor + first];
  if (count > 1) {
    float *both = d->run->scratch + (size_t)d->run->n * p->bias;
    dl_vector()->sum2(both, bias, d->run->weights[d->tensor + first + 1], (size_t)p->wide);
    bias = both;
  }
  dl_kernels_in_use()->bias_add(rows, p->wide, bias, y);
}

static void forward_direction(const direction *d) {
  const plan *p = d->p;
  const dl_layer_run *run = d->run;
  const int64_t n = run->n, rows = p->steps * n, none = d->reverse ? p->steps : 0;
  dl_layer_reads(run, d->tensor + W_IH);
  run->gemm->sgemm(false, true, rows, p->wide, d->in, 1, d->x, d->in, run->weights[d->tensor + W_IH], d->in, 0,
                   d->gates, p->wide);
  dl_layer_reads(run, d->tensor + tensors_of(p) - 1);
  if (p->o->bias) add_bias(d, B_IH, p->cell->apart ? 1 : 2, rows, d->gates);
  memset(d->state + none * n * p->h, 0, (size_t)(n * p->h) * sizeof(float));
  if (p->cell->has_memory) memset(d->memory + none * n * p->h, 0, (size_t)(n * p->h) * sizeof(float));
  const float *w = run->weights[d->tensor + W_HH];
  const bool packed = p->packed > 0;
  if (packed) dl_kernels_in_use()->transpose_bias(p->h, p->wide, w, NULL, run->work);
  for (int64_t i = 0; i < p->steps; i++) {
    const cell_step step = step_at(d, d->reverse ? p->steps - 1 - i : i);
    float *into = p->cell->apart ? step.state_part : step.gates;
    if (i || p->cell->apart)
      run->gemm->sgemm(false, !packed, n, p->wide, p->h, 1, step.before, p->h, packed ? run->work : w,
                       packed ? p->wide : p->h, p->cell->apart ? 0 : 1, into, p->wide);
    if (p->cell->apart && p->o->bias) add_bias(d, B_HH, 1, n, into);
    p->cell->forward(&step);
  }
}

static void bias_gradients(const direction *d, int64_t rows, const float *state_part) {
  const plan *p = d->p;
  float *const *g = d->run->gradients + d->tensor;
  if (!p->o->bias) return;
  dl_kernels_in_use()->column_sums(rows, p->wide, d->gates, g[B_IH]);
  if (p->cell->apart)
    dl_kernels_in_use()->column_sums(rows, p->wide, state_part, g[B_HH]);
  else
    memcpy(g[B_HH], g[B_IH], (size_t)p->wide * sizeof(float));
}

/* Gradients of the weights, once the gates hold theirs: the last tensor first, as they are sent in that order. */
static void weight_gradients(const direction *d) {
  const plan *p = d->p;
  const dl_layer_run *run = d->run;
  const int64_t n = run->n, rows = p->steps * n;
  const bool last_side = d->reverse == (p->directions > 1);
  float *const *g = run->gradients + d->tensor;
  const float *before = d->state + (d->reverse ? n * p->h : 0), *state_part = p->cell->apart ? d->state_part : d->gates;
  bias_gradients(d, rows, state_part);
  run->gemm->sgemm(true, false, p->wide, p->h, rows, 1, state_part, p->wide, before, p->h, 0, g[W_HH], p->h);
  if (last_side) dl_layer_wrote(run, d->tensor + W_HH);
  run->gemm->sgemm(true, false, p->wide, d->in, rows, 1, d->gates, p->wide, d->x, d->in, 0, g[W_IH], d->in);
  if (last_side) dl_layer_wrote(run, (int)d->number * p->directions * tensors_of(p));
}

/* dy (T, n, h); dx (T, n, in) is written, or added to, or NULL. */
static void backward_direction(const direction *d, const float *dy, float *dx, bool adds) {
  const plan *p = d->p;
  const dl_layer_run *run = d->run;
  const int64_t n = run->n, row = n * p->h;
  float *dh = run->scratch + (size_t)n * p->dh, *dc = run->scratch + (size_t)n * p->dc;
  memset(dh, 0, (size_t)row * sizeof(float));
  if (p->cell->has_memory) memset(dc, 0, (size_t)row * sizeof(float));
  for (int64_t i = p->steps; i-- > 0;) {
    const int64_t t = d->reverse ? p->steps - 1 - i : i;
    cell_step step = step_at(d, t);
    step.dy = dy + t * row;
    step.dh = dh;
    step.dc = dc;
    p->cell->backward(&step);
    if (i)
      run->gemm->sgemm(false, false, n, p->h, p->wide, 1, p->cell->apart ? step.state_part : step.gates, p->wide,
                       run->weights[d->tensor + W_HH], p->h, 1, dh, p->h);
  }
  if (run->gradients) weight_gradients(d);
  if (dx)
    run->gemm->sgemm(false, false, p->steps * n, d->in, p->wide, 1, d->gates, p->wide, run->weights[d->tensor + W_IH],
                     d->in, adds ? 1 : 0, dx, d->in);
}

/* ---- the whole ---- */

/* (n, T, width) to (T, n, width), or back. */
static void turn(int64_t n, int64_t steps, int64_t width, const float *from, float *to, bool to_time_major) {
  for (int64_t t = 0; t < steps; t++)
    for (int64_t i = 0; i < n; i++) {
      const int64_t time = (t * n + i) * width, batch = (i * steps + t) * width;
      memcpy(to + (to_time_major ? time : batch), from + (to_time_major ? batch : time), (size_t)width * sizeof *to);
    }
}

/* Rows of `width` from `from` (one after another) to every `stride`th place of `to`, or the other way round. */
static void spread(int64_t rows, int64_t width, int64_t stride, const float *from, float *to) {
  for (int64_t r = 0; r < rows; r++) memcpy(to + r * stride, from + r * width, (size_t)width * sizeof *to);
}
static void collect(int64_t rows, int64_t width, int64_t stride, const float *from, float *to) {
  for (int64_t r = 0; r < rows; r++) memcpy(to + r * width, from + r * stride, (size_t)width * sizeof *to);
}

/* The last layer's states to y: all, or the one that each direction ends with. */
static void write_outputs(const plan *p, const dl_layer_run *run) {
  const int64_t n = run->n, h = p->h, out = p->directions * h;
  for (int s = 0; s < p->directions; s++) {
    const direction d = direction_of(p, run, p->o->layers - 1, s);
    const float *states = outputs_of(&d);
    if (!p->o->return_sequences) {
      spread(n, h, out, states + (s ? 0 : (p->steps - 1) * n * h), run->y + s * h);
      continue;
    }
    for (int64_t t = 0; t < p->steps; t++)
      for (int64_t i = 0; i < n; i++)
        memcpy(run->y + (i * p->steps + t) * out + s * h, states + (t * n + i) * h, (size_t)h * sizeof(float));
  }
}

static void forward(const dl_layer *layer, const dl_layer_run *run, const cell *kind) {
  const plan p = plan_of(layer, kind);
  const int64_t rows = p.steps * run->n, out = p.directions * p.h;
  float *work = run->work + p.packed;
  turn(run->n, p.steps, p.in, run->x, work + (size_t)run->n * p.input, true);
  for (int64_t l = 0; l < p.o->layers; l++)
    for (int s = 0; s < p.directions; s++) {
      const direction d = direction_of(&p, run, l, s);
      forward_direction(&d);
      if (p.directions > 1)
        spread(rows, p.h, out, outputs_of(&d),
               work + (size_t)run->n * (p.joined + (size_t)(l * p.steps * out)) + s * p.h);
    }
  write_outputs(&p, run);
}

/* dy of the last layer, time-major over all directions. */
static void read_gradients(const plan *p, const dl_layer_run *run, float *dy) {
  const int64_t n = run->n, h = p->h, out = p->directions * h;
  if (p->o->return_sequences) {
    turn(n, p->steps, out, run->dy, dy, true);
    return;
  }
  memset(dy, 0, (size_t)(p->steps * n * out) * sizeof *dy);
  for (int s = 0; s < p->directions; s++)
    for (int64_t i = 0; i < n; i++)
      memcpy(dy + ((s ? 0 : p->steps - 1) * n + i) * out + s * h, run->dy + i * out + s * h, (size_t)h * sizeof *dy);
}

static void backward(const dl_layer *layer, const dl_layer_run *run, const cell *kind) {
  const plan p = plan_of(layer, kind);
  const int64_t rows = p.steps * run->n, out = p.directions * p.h;
  float *dy = run->scratch + (size_t)run->n * p.dy, *dx = run->scratch + (size_t)run->n * p.dx,
        *turned = run->scratch + (size_t)run->n * p.turned;
  read_gradients(&p, run, dy);
  for (int64_t l = p.o->layers; l-- > 0;) {
    float *into = l || run->dx ? dx : NULL;
    for (int s = 0; s < p.directions; s++) {
      const direction d = direction_of(&p, run, l, s);
      if (p.directions > 1) collect(rows, p.h, out, dy + s * p.h, turned);
      backward_direction(&d, p.directions > 1 ? turned : dy, into, s > 0);
    }
    float *swap = dy;
    dy = dx;
    dx = swap;
  }
  if (run->dx) turn(run->n, p.steps, p.in, dy, run->dx, false);
}

#define KIND(word, table, text)                                                       \
  static dl_status word##_setup(dl_layer *layer, dl_layer_builder *builder) {         \
    return setup(layer, builder, &word##_cell);                                       \
  }                                                                                   \
  static void word##_layer_forward(const dl_layer *layer, const dl_layer_run *run) {  \
    forward(layer, run, &word##_cell);                                                \
  }                                                                                   \
  static void word##_layer_backward(const dl_layer *layer, const dl_layer_run *run) { \
    backward(layer, run, &word##_cell);                                               \
  }                                                                                   \
  const dl_layer_kind dl_layer_##word = {.name = #word,                               \
                                         .help = text,                                \
                                         .options = table,                            \
                                         .n_options = sizeof table / sizeof table[0], \
                                         .options_size = sizeof(recurrent_options),   \
                                         .value_option = "units",                     \
                                         .announces = true,                           \
                                         .setup = word##_setup,                       \
                                         .init = init,                                \
                                         .forward = word##_layer_forward,             \
                                         .backward = word##_layer_backward}

KIND(rnn, rnn_rows, "a state that each step of a sequence changes: tanh(W x + U h + b)");
KIND(lstm, gated_rows, "long short-term memory: a state with input, forget and output gates");
KIND(gru, gated_rows, "gated recurrent unit: a state with reset and update gates");

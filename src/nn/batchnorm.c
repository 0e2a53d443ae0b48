/* batchnorm.c - y = (x - mean) / sqrt(var + eps) * weight + bias for each channel of images, or each feature of rows
 * (Ioffe and Szegedy, 2015).
 *
 * While training, mean and variance are those of the leaf ("ghost" batch norm, Hoffer et al., 2017), in float64: what
 * is computed does not depend on who computes it. The running averages that evaluation uses move once a step: a leaf of
 * n samples delivers n times its mean and n times its unbiased variance as those tensors' gradients, which the
 * synchroniser sums over the leaves and folds in (dl_tensor.running). A frozen layer always uses the running averages
 * and leaves them as they are.
 *
 * Images lie as rows of channels, so both cases are a matrix (rows, channels) and statistics of its columns.
 */
#include <math.h>
#include <string.h>

#include "nn/kernels_image.h"
#include "nn/layer_kinds.h"

typedef struct batchnorm_options {
  double eps, momentum;
  bool affine;
} batchnorm_options;

static const dl_option options[] = {
    {.key = "eps",
     .type = DL_OPTION_REAL,
     .offset = offsetof(batchnorm_options, eps),
     .min = 1e-30,
     .max = 1e6,
     .fallback = "1.0e-5",
     .help = "added to the variance"},
    {.key = "momentum",
     .type = DL_OPTION_REAL,
     .offset = offsetof(batchnorm_options, momentum),
     .min = 1e-9,
     .max = 1,
     .fallback = "0.1",
     .help = "share by which the running averages move towards a step's figures"},
    {.key = "affine",
     .type = DL_OPTION_BOOL,
     .offset = offsetof(batchnorm_options, affine),
     .fallback = "true",
     .help = "whether a factor and an offset are learnt for each channel"},
};

/* Numbers of the tensors; without affine the running averages come first. */
enum { WEIGHT, BIAS, AFFINE };
static int running_mean(const dl_layer *layer) { return layer->n_tensors - 2; }
static int running_var(const dl_layer *layer) { return layer->n_tensors - 1; }
static bool is_affine(const dl_layer *layer) { return layer->n_tensors > AFFINE; }

static int64_t channels_of(const dl_layer *layer) { return layer->in.dim[0]; }
static int64_t rows_of(const dl_layer *layer, int64_t n) { return n * (dl_shape_size(&layer->in) / layer->in.dim[0]); }

/* What a pass works with, one number a channel each; the sums in float64 come first. */
typedef struct scratch {
  float *mean, *rstd, *scale, *shift, *offset, *slope;
  double *sum, *other;
} scratch;
enum { SCRATCH_FLOATS = 10 };

static scratch scratch_of(const dl_layer *layer, float *work) {
  const int64_t c = channels_of(layer);
  double *sums = (double *)(void *)work; /* the workspace starts at a multiple of 64 bytes */
  float *rest = work + 4 * c;
  return (scratch){rest, rest + c, rest + 2 * c, rest + 3 * c, rest + 4 * c, rest + 5 * c, sums, sums + c};
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  const batchnorm_options *o = layer->options;
  char shape[96];
  if (layer->in.dims != 1 && layer->in.dims != 3)
    return dl_layer_fail(layer,
                         "it takes images (channels, height, width) or features, but what it reads has the shape %s",
                         dl_shape_text(&layer->in, shape, sizeof shape));
  const int64_t channels = channels_of(layer);
  layer->out = layer->in;
  layer->work_fixed = SCRATCH_FLOATS * (size_t)channels;
  if (o->affine) {
    DL_TRY(dl_layer_add_tensor(builder, "weight", 1, &channels, false));
    DL_TRY(dl_layer_add_tensor(builder, "bias", 1, &channels, false));
  }
  DL_TRY(dl_layer_add_running(builder, "running_mean", 1, &channels, o->momentum));
  return dl_layer_add_running(builder, "running_var", 1, &channels, o->momentum);
}

static void init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  (void)key;
  const bool one = tensor == running_var(layer) || (is_affine(layer) && tensor == WEIGHT);
  for (size_t i = 0; i < count; i++) values[i] = one ? 1 : 0;
}

static bool uses_leaf(const dl_layer *layer, const dl_layer_run *run) {
  return run->pass->training && layer->trainable && run->total > 0;
}

static void clear(const dl_layer *layer, const scratch *s) {
  memset(s->sum, 0, (size_t)channels_of(layer) * sizeof *s->sum);
  memset(s->other, 0, (size_t)channels_of(layer) * sizeof *s->other);
}

/* Mean and 1 / sqrt(var + eps) of what is normalised, and what follows for y = (x - mean) scale + shift; the leaf's
 * variance is kept in s->other. */
static void find_statistics(const dl_layer *layer, const dl_layer_run *run, const scratch *s) {
  const batchnorm_options *o = layer->options;
  const double rows = (double)rows_of(layer, run->total);
  for (int64_t c = 0; c < channels_of(layer); c++) {
    double mean = (double)run->weights[running_mean(layer)][c], variance = (double)run->weights[running_var(layer)][c];
    if (uses_leaf(layer, run)) {
      mean = s->sum[c] / rows;
      variance = s->other[c] / rows - mean * mean;
      if (variance < 0) variance = 0; /* rounding; NaN stays */
      s->other[c] = variance;
    }
    s->mean[c] = (float)mean;
    s->rstd[c] = (float)(1 / sqrt(variance + o->eps));
    s->scale[c] = is_affine(layer) ? s->rstd[c] * run->weights[WEIGHT][c] : s->rstd[c];
    s->shift[c] = is_affine(layer) ? run->weights[BIAS][c] : 0;
  }
}

static void gather(const dl_layer *layer, const dl_layer_run *run) {
  const scratch s = scratch_of(layer, run->work);
  if (run->starts) clear(layer, &s);
  if (uses_leaf(layer, run))
    dl_image_kernels_in_use()->moments(rows_of(layer, run->n), channels_of(layer), run->x, s.sum, s.other);
  if (run->ends) find_statistics(layer, run, &s);
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  const scratch s = scratch_of(layer, run->work);
  dl_image_kernels_in_use()->normalise(rows_of(layer, run->n), channels_of(layer), run->x, s.mean, s.scale, s.shift,
                                       run->y);
}

/* n times the leaf's mean and unbiased variance (the biased one, 0, of a single row). Runs before s->sum and s->other
 * are written again; nothing comes of running averages themselves. */
static void deliver_running(const dl_layer *layer, const dl_layer_run *run, const scratch *s) {
  const bool leaf = uses_leaf(layer, run);
  const double n = (double)run->total, rows = (double)rows_of(layer, run->total);
  const double unbiased = rows > 1 ? rows / (rows - 1) : 1;
  for (int64_t c = 0; c < channels_of(layer); c++) {
    run->gradients[running_mean(layer)][c] = leaf ? (float)(n * (s->sum[c] / rows)) : 0;
    run->gradients[running_var(layer)][c] = leaf ? (float)(n * unbiased * s->other[c]) : 0;
  }
}

/* With g = dy, x' = (x - mean) rstd, N rows: dbias = sum g, dweight = sum g x',
 * dx = scale (g - dbias / N - x' dweight / N); with running averages dx = scale g. */
static void find_slopes(const dl_layer *layer, const dl_layer_run *run, const scratch *s) {
  const double share = uses_leaf(layer, run) ? 1 / (double)rows_of(layer, run->total) : 0;
  for (int64_t c = 0; c < channels_of(layer); c++) {
    const double scale = (double)s->scale[c], rstd = (double)s->rstd[c];
    if (run->gradients && is_affine(layer)) {
      run->gradients[WEIGHT][c] = (float)(s->other[c] * rstd);
      run->gradients[BIAS][c] = (float)s->sum[c];
    }
    s->offset[c] = (float)(scale * s->sum[c] * share);
    s->slope[c] = (float)(scale * s->other[c] * rstd * rstd * share);
  }
}

static void gather_backward(const dl_layer *layer, const dl_layer_run *run) {
  const scratch s = scratch_of(layer, run->work);
  if (run->starts && run->gradients) deliver_running(layer, run, &s);
  if (run->starts) clear(layer, &s);
  dl_image_kernels_in_use()->normalise_sums(rows_of(layer, run->n), channels_of(layer), run->x, s.mean, run->dy, s.sum,
                                            s.other);
  if (run->ends) find_slopes(layer, run, &s);
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  const scratch s = scratch_of(layer, run->work);
  if (run->dx)
    dl_image_kernels_in_use()->normalise_backward(rows_of(layer, run->n), channels_of(layer), run->x, s.mean, s.scale,
                                                  s.offset, s.slope, run->dy, run->dx);
}

const dl_layer_kind dl_layer_batchnorm = {
    .name = "batchnorm",
    .help = "each channel brought to mean 0 and variance 1 over the leaf, then scaled and moved",
    .options = options,
    .n_options = 3,
    .options_size = sizeof(batchnorm_options),
    .order = DL_ORDER_CHANNELS_LAST,
    .by_sample = true,
    .cheap = true,
    .setup = setup,
    .init = init,
    .forward = forward,
    .backward = backward,
    .gather = gather,
    .gather_backward = gather_backward,
};

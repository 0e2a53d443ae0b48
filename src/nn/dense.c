/* dense.c - y = x W^T + b, W (units, in) as in PyTorch's nn.Linear; every step of a sequence is a row.
 *
 * Three products, each in the form that reads both operands as they lie: y = x W^T, dW = dy^T x, dx = dy W.
 * Where the library has a weakness for few rows, y^T = W x^T takes the place of the first.
 */
#include <math.h>

#include "nn/kernels.h"
#include "nn/layer_kinds.h"

typedef struct dense_options {
  int64_t units;
  bool bias;
} dense_options;

static const dl_option options[] = {
    {.key = "units",
     .type = DL_OPTION_INT,
     .offset = offsetof(dense_options, units),
     .min = 1,
     .max = 1 << 24,
     .help = "number of outputs"},
    {.key = "bias",
     .type = DL_OPTION_BOOL,
     .offset = offsetof(dense_options, bias),
     .fallback = "true",
     .help = "whether a learnt offset is added"},
};

/* The last dimension is a row: of a sample of one dimension the whole, of a sequence (steps, features) one step. */
static int64_t inputs_of(const dl_layer *layer) { return layer->in.dim[layer->in.dims - 1]; }
static int64_t units_of(const dl_layer *layer) { return layer->out.dim[layer->out.dims - 1]; }
static int64_t rows_of(const dl_layer *layer, const dl_layer_run *run) {
  return layer->in.dims == 2 ? run->n * layer->in.dim[0] : run->n;
}

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  const dense_options *o = layer->options;
  char shape[96];
  if (layer->in.dims != 1 && layer->in.dims != 2) {
    dl_layer_fail(layer, "it takes samples of one dimension, but what it reads has the shape %s",
                  dl_shape_text(&layer->in, shape, sizeof shape));
    return dl_hint("put `flatten` before it");
  }
  const int64_t in = inputs_of(layer), rows = dl_shape_size(&layer->in) / in;
  if (in > INT32_MAX) return dl_layer_fail(layer, "%lld inputs are too many", (long long)in);
  layer->out = layer->in;
  layer->out.dim[layer->out.dims - 1] = o->units;
  layer->multiply_adds = (double)rows * (double)in * (double)o->units;
  layer->work_count = (size_t)(rows * o->units);
  DL_TRY(dl_layer_add_tensor(builder, "weight", 2, (int64_t[]){o->units, in}, true));
  return o->bias ? dl_layer_add_tensor(builder, "bias", 1, (int64_t[]){o->units}, false) : DL_OK;
}

/* nn.Linear: kaiming_uniform with a = sqrt(5) comes to U(-1/sqrt(in), 1/sqrt(in)), for the bias too. */
static void init(const dl_layer *layer, int tensor, dl_rng_key key, float *values, size_t count) {
  const int64_t in = inputs_of(layer), out = units_of(layer);
  dl_init_fill(tensor == 0 ? layer->init : DL_INIT_DEFAULT, 1 / sqrt((double)in), in, out, key, tensor, values, count);
}

static void forward(const dl_layer *layer, const dl_layer_run *run) {
  const int64_t n = rows_of(layer, run), in = inputs_of(layer), out = units_of(layer);
  const float *bias = layer->n_tensors > 1 ? run->weights[1] : NULL;
  if (run->gemm->better_swapped && run->gemm->better_swapped(n, out, in)) {
    run->gemm->sgemm(false, true, out, n, in, 1, run->weights[0], in, run->x, in, 0, run->work, n);
    dl_kernels_in_use()->transpose_bias(n, out, run->work, bias, run->y);
    return;
  }
  dl_gemm_affine(run->gemm, n, out, in, run->x, in, run->weights[0], in, bias, run->y, out);
}

static void backward(const dl_layer *layer, const dl_layer_run *run) {
  const int64_t n = rows_of(layer, run), in = inputs_of(layer), out = units_of(layer);
  if (run->gradients) {
    run->gemm->sgemm(true, false, out, in, n, 1, run->dy, out, run->x, in, 0, run->gradients[0], in);
    if (layer->n_tensors > 1) dl_kernels_in_use()->column_sums(n, out, run->dy, run->gradients[1]);
  }
  if (run->dx) run->gemm->sgemm(false, false, n, in, out, 1, run->dy, out, run->weights[0], in, 0, run->dx, in);
}

const dl_layer_kind dl_layer_dense = {
    .name = "dense",
    .help = "every output from every input: y = x W^T + b",
    .options = options,
    .n_options = 2,
    .options_size = sizeof(dense_options),
    .value_option = "units",
    .setup = setup,
    .init = init,
    .forward = forward,
    .backward = backward,
};

/* activations_seq.c - leaky_relu, elu, gelu, silu, softplus: activations whose slope is found from their input, which
 * therefore stays where it is.
 */
#include "nn/kernels_seq.h"
#include "nn/layer_kinds.h"

typedef struct activation_options {
  double parameter;
  int approximate; /* gelu */
} activation_options;

enum { EXACT, TANH };

static dl_status setup(dl_layer *layer, dl_layer_builder *builder) {
  (void)builder;
  layer->out = layer->in;
  return DL_OK;
}

static size_t elements(const dl_layer *layer, const dl_layer_run *run) {
  return (size_t)(run->n * dl_shape_size(&layer->out));
}

static float parameter(const dl_layer *layer) {
  const activation_options *o = layer->options;
  return o ? (float)o->parameter : 0;
}

#define PARAMETER(word, low, high, usual, text)                                                                        \
  {                                                                                                                    \
    {                                                                                                                  \
      .key = word, .type = DL_OPTION_REAL, .min = low, .offset = offsetof(activation_options, parameter), .max = high, \
      .fallback = usual, .help = text                                                                                  \
    }                                                                                                                  \
  }

static const dl_option leaky_relu_rows[] = PARAMETER("slope", 0, 1e6, "0.01", "slope where the input is negative");
static const dl_option elu_rows[] = PARAMETER("alpha", 0, 1e6, "1", "minus the value far below zero");
static const dl_option softplus_rows[] = PARAMETER("beta", 1e-6, 1e6, "1", "sharpness: log(1 + e^(beta x)) / beta");
static const dl_option gelu_rows[] = {
    {.key = "approximate",
     .type = DL_OPTION_CHOICE,
     .offset = offsetof(activation_options, approximate),
     .fallback = "none",
     .choices = "none|tanh",
     .help = "none: by the error function; tanh: the older approximation"},
};

#define FORWARD(name, f)                                                                                       \
  static void name##_forward(const dl_layer *layer, const dl_layer_run *run) {                                 \
    dl_seq_kernels_in_use()->f(elements(layer, run), parameter(layer), run->x, run->y);                        \
  }                                                                                                            \
  static void name##_backward(const dl_layer *layer, const dl_layer_run *run) {                                \
    if (run->dx)                                                                                               \
      dl_seq_kernels_in_use()->f##_backward(elements(layer, run), parameter(layer), run->x, run->dy, run->dx); \
  }
FORWARD(leaky_relu, leaky_relu)
FORWARD(elu, elu)
FORWARD(silu, silu)
FORWARD(softplus, softplus)

static void gelu_forward(const dl_layer *layer, const dl_layer_run *run) {
  const dl_seq_kernels *k = dl_seq_kernels_in_use();
  const activation_options *o = layer->options;
  (o->approximate == TANH ? k->gelu_tanh : k->gelu)(elements(layer, run), 0, run->x, run->y);
}
static void gelu_backward(const dl_layer *layer, const dl_layer_run *run) {
  const dl_seq_kernels *k = dl_seq_kernels_in_use();
  const activation_options *o = layer->options;
  if (run->dx)
    (o->approximate == TANH ? k->gelu_tanh_backward : k->gelu_backward)(elements(layer, run), 0, run->x, run->dy,
                                                                        run->dx);
}

#define WITH_OPTION(rows, value) \
  .options = rows, .n_options = 1, .options_size = sizeof(activation_options), .value_option = value

const dl_layer_kind dl_layer_leaky_relu = {.name = "leaky_relu",
                                           .help = "x above zero, slope * x below",
                                           WITH_OPTION(leaky_relu_rows, "slope"),
                                           .order = DL_ORDER_EITHER,
                                           .setup = setup,
                                           .forward = leaky_relu_forward,
                                           .backward = leaky_relu_backward};
const dl_layer_kind dl_layer_elu = {.name = "elu",
                                    .help = "x above zero, alpha (e^x - 1) below",
                                    WITH_OPTION(elu_rows, "alpha"),
                                    .order = DL_ORDER_EITHER,
                                    .setup = setup,
                                    .forward = elu_forward,
                                    .backward = elu_backward};
const dl_layer_kind dl_layer_gelu = {.name = "gelu",
                                     .help = "x times the normal distribution function of x",
                                     WITH_OPTION(gelu_rows, "approximate"),
                                     .order = DL_ORDER_EITHER,
                                     .setup = setup,
                                     .forward = gelu_forward,
                                     .backward = gelu_backward};
const dl_layer_kind dl_layer_silu = {.name = "silu",
                                     .help = "x sigmoid(x)",
                                     .order = DL_ORDER_EITHER,
                                     .setup = setup,
                                     .forward = silu_forward,
                                     .backward = silu_backward};
const dl_layer_kind dl_layer_softplus = {.name = "softplus",
                                         .help = "log(1 + e^(beta x)) / beta",
                                         WITH_OPTION(softplus_rows, "beta"),
                                         .order = DL_ORDER_EITHER,
                                         .setup = setup,
                                         .forward = softplus_forward,
                                         .backward = softplus_backward};

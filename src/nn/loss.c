/* loss.c - losses as sums over samples, with what to divide by, and their gradients.
 *
 * PyTorch 1.13's formulas with reduction='mean' are sum / normaliser: samples for cross_entropy, elements for the
 * others; with sample weights sum(w * loss) / sum(w). Rows are summed in order in float64.
 */
#include "nn/loss.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/config.h"
#include "nn/kernels.h"

#define TASK(name) (1u << DL_TASK_##name)

/* ---- cross entropy ---- */

typedef struct cross_entropy_options {
  double label_smoothing;
  dl_node *class_weights_node, *ignore_node;
  const float *class_weights; /* one a class; NULL: all 1 */
  bool ignores;
  int64_t ignored;
} cross_entropy_options;

static const dl_option cross_entropy_rows[] = {
    {.key = "label_smoothing",
     .type = DL_OPTION_REAL,
     .offset = offsetof(cross_entropy_options, label_smoothing),
     .max = 1,
     .fallback = "0",
     .help = "share of the truth that is spread evenly over all classes"},
    {.key = "class_weights",
     .type = DL_OPTION_NODE,
     .offset = offsetof(cross_entropy_options, class_weights_node),
     .fallback = "",
     .help = "a weight for each class, or `balanced`: samples / (classes * samples of the class)"},
    {.key = "ignore_index",
     .type = DL_OPTION_NODE,
     .offset = offsetof(cross_entropy_options, ignore_node),
     .fallback = "",
     .help = "samples (or tokens, or pixels) with this label are left out of loss and metrics"},
};

/* scikit-learn's rule; a class that never comes has the weight 1. The weights take the place of the word, so that the
 * configuration repeats itself without counting. */
static dl_status balance(const dl_loss_setup *setup, dl_node *node, float *weights) {
  if (!setup->class_counts)
    return dl_node_fail(node, false, "class_weights: %s needs class labels to count", node->text);
  int64_t samples = 0, classes = 0;
  for (int64_t c = 0; c < setup->n_class_counts; c++) {
    samples += setup->class_counts[c];
    classes += setup->class_counts[c] > 0;
  }
  node->kind = DL_NODE_LIST;
  node->text = "";
  for (int64_t c = 0; c < setup->outputs; c++) {
    const int64_t count = c < setup->n_class_counts ? setup->class_counts[c] : 0;
    weights[c] = count ? (float)((double)samples / ((double)classes * (double)count)) : 1;
    char text[32];
    snprintf(text, sizeof text, "%.9g", (double)weights[c]);
    dl_node *item = dl_node_new(node, DL_NODE_SCALAR, text);
    if (!item) return DL_ERR_NOMEM;
    DL_TRY(dl_node_put(node, NULL, item));
  }
  return DL_OK;
}

static dl_status take_list(const dl_loss_setup *setup, const dl_node *node, float *weights) {
  char text[96];
  if (node->kind != DL_NODE_LIST)
    return dl_node_fail(node, false, "class_weights must be a list of numbers or balanced, not %s",
                        dl_node_describe(node, text, sizeof text));
  if ((int64_t)dl_node_size(node) != setup->outputs)
    return dl_node_fail(node, false, "class_weights has %zu weights, but the model has %lld outputs",
                        dl_node_size(node), (long long)setup->outputs);
  for (const dl_node *item = node->first; item; item = item->next) {
    double weight;
    DL_TRY(dl_node_real(item, "a class weight", &weight));
    if (!(weight >= 0 && weight <= 1e30))
      return dl_node_fail(item, false, "a class weight must lie within 0 and 1e30, not %s", item->text);
    *weights++ = (float)weight;
  }
  return DL_OK;
}

static dl_status set_up_cross_entropy(void *options, const dl_loss_setup *setup) {
  cross_entropy_options *o = options;
  dl_node *node = o->class_weights_node, *ignore = o->ignore_node;
  o->class_weights_node = o->ignore_node = NULL; /* the configuration may go before the network */
  if (ignore && ignore->kind != DL_NODE_NULL) {
    DL_TRY(dl_node_int(ignore, "ignore_index", &o->ignored));
    o->ignores = true;
  }
  if (!node || node->kind == DL_NODE_NULL) return DL_OK;
  float *weights = dl_arena_alloc(setup->arena, (size_t)setup->outputs * sizeof *weights);
  if (!weights) return DL_ERR_NOMEM;
  o->class_weights = weights;
  const bool counted = node->kind == DL_NODE_SCALAR && (!strcmp(node->text, "balanced") || !strcmp(node->text, "auto"));
  return counted ? balance(setup, node, weights) : take_list(setup, node, weights);
}

static bool cross_entropy_ignores(const void *options, int32_t label) {
  const cross_entropy_options *o = options;
  return o->ignores && o->ignored == label;
}

typedef struct huber_options {
  double delta;
} huber_options;

static const dl_option huber_rows[] = {
    {.key = "delta",
     .type = DL_OPTION_REAL,
     .offset = offsetof(huber_options, delta),
     .min = 1e-30,
     .max = 1e30,
     .fallback = "1",
     .help = "error from which on the loss grows linearly"},
};

/* A label of -1 stands for none: what augmentation has brought in from beside an image. */
static bool is_left_out(const cross_entropy_options *o, int32_t label) {
  return label == -1 || cross_entropy_ignores(o, label);
}

/* PyTorch's: the sum of w_label * loss is divided by the sum of w_label; of smoothing's share each class has its own
 * weight. A label that is no class makes the loss NaN, which the step's verdict finds. */
static void cross_entropy(const void *options, int64_t n, int64_t outputs, const float *output, const int32_t *label,
                          const float *y, const float *weight, double *loss_sum, double *normaliser, float *gradient) {
  (void)y;
  const dl_kernels *kernels = dl_kernels_in_use();
  const cross_entropy_options *o = options;
  const float smoothing = (float)o->label_smoothing;
  double loss = 0, total = 0;
  for (int64_t r = 0; r < n; r++) {
    const float w = weight ? weight[r] : 1, *row = output + r * outputs;
    const bool known = label[r] >= 0 && label[r] < outputs;
    const int64_t class = known ? label[r] : 0;
    float *slope = gradient ? gradient + r * outputs : NULL;
    if (is_left_out(o, label[r])) {
      if (slope) memset(slope, 0, (size_t)outputs * sizeof *slope);
      continue;
    }
    const double value = o->class_weights ? kernels->weighted_cross_entropy_row(outputs, row, class, o->class_weights,
                                                                                smoothing, w, slope)
                                          : kernels->cross_entropy_row(outputs, row, class, smoothing, w, slope);
    loss += (double)w * (known ? value : (double)NAN);
    total += o->class_weights ? (double)w * (double)o->class_weights[class] : (double)w;
  }
  *loss_sum = loss;
  *normaliser = total;
}

/* ---- losses of rows ---- */

/* The losses that take a row of outputs and a row of truth differ in one kernel. */
#define ROWWISE(name, call)                                                                                      \
  static void name(const void *options, int64_t n, int64_t outputs, const float *output, const int32_t *label,   \
                   const float *y, const float *weight, double *loss_sum, double *normaliser, float *gradient) { \
    (void)label;                                                                                                 \
    (void)options;                                                                                               \
    const dl_kernels *kernels = dl_kernels_in_use();                                                             \
    double loss = 0, total = 0;                                                                                  \
    for (int64_t r = 0; r < n; r++) {                                                                            \
      const float w = weight ? weight[r] : 1;                                                                    \
      const float *row = output + r * outputs, *truth = y + r * outputs;                                         \
      float *slope = gradient ? gradient + r * outputs : NULL;                                                   \
      loss += (double)w * kernels->call;                                                                         \
      total += (double)w;                                                                                        \
    }                                                                                                            \
    *loss_sum = loss;                                                                                            \
    *normaliser = total * (double)outputs;                                                                       \
  }

ROWWISE(bce, bce_row(outputs, row, truth, w, slope))
ROWWISE(mse, mse_row(outputs, row, truth, w, slope))
ROWWISE(mae, mae_row(outputs, row, truth, w, slope))
ROWWISE(huber, huber_row(outputs, row, truth, (float)((const huber_options *)options)->delta, w, slope))

static const dl_loss losses[] = {
    {.name = "cross_entropy",
     .help = "-log of the probability of the true class, from logits",
     .on_logits = true,
     .tasks = TASK(CLASSIFICATION) | TASK(LANGUAGE_MODEL) | TASK(SEGMENTATION),
     .options = cross_entropy_rows,
     .n_options = sizeof cross_entropy_rows / sizeof cross_entropy_rows[0],
     .options_size = sizeof(cross_entropy_options),
     .setup = set_up_cross_entropy,
     .ignores = cross_entropy_ignores,
     .compute = cross_entropy},
    {.name = "bce",
     .help = "binary cross entropy of each output, from logits",
     .on_logits = true,
     .tasks = TASK(BINARY) | TASK(MULTILABEL),
     .compute = bce},
    {.name = "mse", .help = "squared error", .tasks = TASK(REGRESSION), .compute = mse},
    {.name = "mae", .help = "absolute error", .tasks = TASK(REGRESSION), .compute = mae},
    {.name = "huber",
     .help = "half the squared error up to delta, linear beyond",
     .tasks = TASK(REGRESSION),
     .options = huber_rows,
     .n_options = 1,
     .options_size = sizeof(huber_options),
     .compute = huber},
};

const dl_loss *dl_losses(int *n) {
  *n = (int)(sizeof losses / sizeof losses[0]);
  return losses;
}

const dl_loss *dl_loss_find(const char *name) {
  for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++)
    if (!strcmp(losses[i].name, name)) return &losses[i];
  return NULL;
}

/* loss.c - losses as sums over samples, with what to divide by, and their gradients.
 *
 * PyTorch 1.13's formulas with reduction='mean' are sum / normaliser: samples for cross_entropy, elements for the
 * others; with sample weights sum(w * loss) / sum(w). Rows are summed in order in float64.
 */
#include "nn/loss.h"

#include <math.h>
#include <string.h>

#include "core/config.h"
#include "nn/kernels.h"

#define TASK(name) (1u << DL_TASK_##name)

typedef struct cross_entropy_options {
  double label_smoothing;
} cross_entropy_options;

static const dl_option cross_entropy_rows[] = {
    {.key = "label_smoothing",
     .type = DL_OPTION_REAL,
     .offset = offsetof(cross_entropy_options, label_smoothing),
     .max = 1,
     .fallback = "0",
     .help = "share of the truth that is spread evenly over all classes"},
};

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

/* A label that is no class makes the loss NaN, which the step's verdict finds. */
static void cross_entropy(const void *options, int64_t n, int64_t outputs, const float *output, const int32_t *label,
                          const float *y, const float *weight, double *loss_sum, double *normaliser, float *gradient) {
  (void)y;
  const dl_kernels *kernels = dl_kernels_in_use();
  const float smoothing = (float)((const cross_entropy_options *)options)->label_smoothing;
  double loss = 0, total = 0;
  for (int64_t r = 0; r < n; r++) {
    const float w = weight ? weight[r] : 1;
    const bool known = label[r] >= 0 && label[r] < outputs;
    const double row = kernels->cross_entropy_row(outputs, output + r * outputs, known ? label[r] : 0, smoothing, w,
                                                  gradient ? gradient + r * outputs : NULL);
    loss += (double)w * (known ? row : (double)NAN);
    total += (double)w;
  }
  *loss_sum = loss;
  *normaliser = total;
}

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
     .tasks = TASK(CLASSIFICATION),
     .options = cross_entropy_rows,
     .n_options = 1,
     .options_size = sizeof(cross_entropy_options),
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

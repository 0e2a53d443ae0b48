/* loss.h - losses (floor: nn). One loss is one row of dl_losses. */
#ifndef DL_NN_LOSS_H
#define DL_NN_LOSS_H

#include "core/options.h"

/* What a loss may depend on beside its options' rows. */
typedef struct dl_loss_setup {
  dl_node *node;               /* the loss in the configuration; resolved values are put there */
  int64_t outputs;             /* of a row */
  const int64_t *class_counts; /* samples of each class in the training split; NULL: not known */
  int64_t n_class_counts;
  dl_arena *arena; /* outlives the configuration */
} dl_loss_setup;

typedef struct dl_loss {
  const char *name, *help;
  bool on_logits; /* a final softmax or sigmoid before it is an error */
  unsigned tasks; /* bit (1 << dl_task) for each task it fits */
  const dl_option *options;
  int n_options;
  size_t options_size;
  /* Works out what the rows cannot say; NULL: nothing. */
  dl_status (*setup)(void *options, const dl_loss_setup *setup);
  /* Whether a row with this label is left out of loss, normaliser and metrics; NULL: none is. */
  bool (*ignores)(const void *options, int32_t label);
  /* Over n samples: writes the sum of losses and the normaliser; writes d(sum)/d(outputs) to `gradient` (n, outputs)
   * where it is not NULL. Truth is `label` for classification, else `y`. A label that is no class makes the sum NaN. */
  void (*compute)(const void *options, int64_t n, int64_t outputs, const float *output, const int32_t *label,
                  const float *y, const float *weight, double *loss_sum, double *normaliser, float *gradient);
} dl_loss;
const dl_loss *dl_losses(int *n);
const dl_loss *dl_loss_find(const char *name);

#endif

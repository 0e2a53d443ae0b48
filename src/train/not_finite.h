/* not_finite.h - the end of a training that went wrong (floor: train). */
#ifndef DL_TRAIN_NOT_FINITE_H
#define DL_TRAIN_NOT_FINITE_H

#include "train/model.h"

/* Fails (DL_ERR_TRAIN) with the step, the layer where what is not finite first appears, the last good checkpoint (NULL:
 * none known) and advice. `result` is that of the step of `cut` that was just finished, model->at stands before it.
 * Collective; the record is the same on all members but for the checkpoint. Costs a forward pass of the batch. */
dl_status dl_fail_not_finite(dl_model *model, const dl_cut *cut, const dl_sync_result *result, const char *checkpoint);

#endif

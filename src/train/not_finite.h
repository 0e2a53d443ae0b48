/* not_finite.h - the end of a training that went wrong (floor: train). */
#ifndef DL_TRAIN_NOT_FINITE_H
#define DL_TRAIN_NOT_FINITE_H

#include "train/model.h"

/* Fails (DL_ERR_TRAIN) with the step and the layer where what is not finite first appears. `result` is what
 * dl_sync_finish delivered for the batch at model->at. Collective; the record is the same on all members. Costs a
 * forward pass of the batch. */
dl_status dl_fail_not_finite(dl_model *model, const dl_cut *cut, const dl_sync_result *result);

#endif

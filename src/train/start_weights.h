/* start_weights.h - the weights that training begins with (floor: train). */
#ifndef DL_TRAIN_START_WEIGHTS_H
#define DL_TRAIN_START_WEIGHTS_H

#include "train/model.h"

/* Sets the weights by the seed, and over them those of train.weights that fit by name and shape; `resumes`: those of a
 * checkpoint come next, so that train.weights is not looked at. DL_ERR_DATA where the file is no sound one or nothing
 * of it fits; what it has in another shape is warned of. Collective. */
dl_status dl_start_weights(dl_model *model, bool resumes);

#endif

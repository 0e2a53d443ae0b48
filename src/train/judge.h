/* judge.h - evaluating and predicting with a trained model (floor: train). */
#ifndef DL_TRAIN_JUDGE_H
#define DL_TRAIN_JUDGE_H

#include "train/model.h"

/* Borrowed, the same for all members of a process. */
typedef struct dl_judge_options {
  const char *run;        /* a run's folder: its newest checkpoint; or */
  const char *checkpoint; /* a checkpoint's folder */
  const char *data;       /* NULL: the data set that the model was trained with */
  int split;              /* dl_split_kind; -1: test where there is one, else valid, else train */
} dl_judge_options;

/* Loads the checkpoint on all members with the data of one split; *split is the one taken. Collective. The caller
 * destroys the model. `need_truth`: y must be there. */
dl_status dl_judge_open(dl_team *team, const dl_judge_options *options, bool need_truth, dl_model **out,
                        dl_split_kind *split);

/* The network of a checkpoint (or of a run's newest) without any data: for arrays that come later. Collective. */
dl_status dl_judge_open_bare(dl_team *team, const char *folder, dl_model **out);

/* Predictions of the split into `path` (import.h's form); truth is added where the split has it. binary and multilabel:
 * yes where the probability is above `threshold`. Collective. */
dl_status dl_judge_predict(dl_model *model, dl_split_kind split, double threshold, const char *path);

/* DL_ERR_USAGE where the model's task judges nothing by a threshold. Not collective. */
dl_status dl_judge_check_threshold(const dl_model *model);

#endif

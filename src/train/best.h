/* best.h - which epoch was the best so far by a score of the validation split, and whether it is time to end (floor:
 * train).
 *
 * train.monitor is the score; train.patience ends a run, as EarlyStopping of Keras does; checkpoint.best keeps the
 * checkpoint of the best epoch and ends the run with its weights. All members see the same scores, so all decide alike.
 */
#ifndef DL_TRAIN_BEST_H
#define DL_TRAIN_BEST_H

#include "train/run.h"

/* DL_ERR_USAGE, at its place in the configuration, where train.monitor is no score of the task; where one is wanted and
 * there is no validation split. Not collective. */
dl_status dl_best_check_monitor(const dl_config *config);
dl_status dl_best_check(const dl_model *model);

/* Whether anything depends on which epoch is best. Not collective. */
bool dl_best_is_wanted(const dl_config *config);

/* Takes in the scores at the end of an epoch, where model->at stands: whether they are the best so far. A score that is
 * not finite is not. Not collective. */
bool dl_best_observe(dl_model *model, const dl_evaluation *valid);

/* Whether the run is at its end: its epochs are done, or train.patience is. Not collective. */
bool dl_best_is_over(const dl_model *model);

/* The step whose checkpoint stays, -1: none does. Not collective. */
int64_t dl_best_kept_step(const dl_model *model);

/* `best` of state.json and of the run's `end`, and back; a state of another monitor has nothing to say. Not collective.
 */
dl_json *dl_best_json(const dl_model *model);
dl_status dl_best_read(dl_model *model, const dl_json *state);

/* After a resume: a best epoch whose checkpoint is not in the run's folder, or whose scores were not watched, is told
 * and forgotten. Collective. */
dl_status dl_best_settle(dl_run *run);

/* At the end of the best epoch so far: without a folder for checkpoints its weights are kept in memory. Collective. */
dl_status dl_best_keep(dl_run *run);

/* The run's last act before it is tested: gives the model the weights of the best epoch, if they are kept and are not
 * what it has. Where their checkpoint is gone a warning says so. *taken: whether. Collective. */
dl_status dl_best_take(dl_run *run, bool *taken);

#endif

/* checkpoint.h - a run's state on disk: folders that are whole or absent (floor: train).
 *
 *   checkpoints/step-00001563/{model.safetensors,optimizer.safetensors,state.json,MANIFEST.json}
 *   checkpoints/latest    checkpoints/best (where it is kept)
 *
 * A checkpoint says nothing of the number of ranks. It is written beside, fsynced, read back, renamed, the folder
 * fsynced, and the pointer `latest` (a symbolic link) moved last. All functions here run on one member; none is
 * collective.
 */
#ifndef DL_TRAIN_CHECKPOINT_H
#define DL_TRAIN_CHECKPOINT_H

#include "core/json.h"
#include "train/safetensors.h"

typedef struct dl_checkpoint {
  dl_tensor_view *model; /* model.safetensors */
  int n_model;
  dl_tensor_view *optimizer; /* optimizer.safetensors */
  int n_optimizer;
  dl_json *state; /* state.json */
} dl_checkpoint;

typedef struct dl_checkpoint_written {
  char *path; /* freed by the caller */
  uint64_t bytes;
  dl_digest weights;
} dl_checkpoint_written;

typedef struct dl_checkpoint_place {
  int64_t step, keep;
  int64_t best; /* the step of the one that stays as `best`, -1: none does */
  const char
      *best_weights; /* its digest (state.json), for a run that came from elsewhere has other steps; NULL, "": any */
} dl_checkpoint_place;

/* Writes `folder`/step-NNNNNNNN and prunes all but the `keep` newest and the best. */
dl_status dl_checkpoint_write(const char *folder, const dl_checkpoint_place *place, const dl_checkpoint *checkpoint,
                              dl_checkpoint_written *out);

/* Moves the pointers to where they should be, as far as there are such checkpoints: a crash may have kept them behind.
 */
dl_status dl_checkpoint_point(const char *folder, const dl_checkpoint_place *place);

/* The checkpoint of a step (a path freed by the caller), NULL where there is no whole one, or not with this digest of
 * its weights (NULL, "": any). */
dl_status dl_checkpoint_at(const char *folder, int64_t step, const char *weights, char **out);
/* The one that is kept as the best, else the newest, each whole; as dl_checkpoint_newest. */
dl_status dl_checkpoint_best(const char *folder, char **out);

/* The checkpoint that `path` stands for: itself, the newest of a run's folder or of its folder of checkpoints (a path
 * freed by the caller), checked as by dl_checkpoint_verify. */
dl_status dl_checkpoint_find(const char *path, char **out);

/* Checks MANIFEST.json: every file there, its size and SHA-256. */
dl_status dl_checkpoint_verify(const char *path);

/* The newest whole checkpoint in `folder` (a path freed by the caller), or NULL where there is none. Damaged ones are
 * passed over with a warning that names them; where all are, DL_ERR_DATA. */
dl_status dl_checkpoint_newest(const char *folder, char **out);

/* Removes all checkpoints in `folder`, whole or not. */
dl_status dl_checkpoint_forget(const char *folder);

/* state.json of a checkpoint. */
dl_status dl_checkpoint_state(const char *path, dl_json **out);

/* Fills the given tensors. */
dl_status dl_checkpoint_read(const char *path, const dl_checkpoint *checkpoint);

#endif

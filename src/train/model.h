/* model.h - a network with its data and its weights on a team: what training, evaluation and prediction share (floor:
 * train).
 *
 * Every member has one dl_model. Unless said otherwise functions are Collective and their errors are agreed on.
 */
#ifndef DL_TRAIN_MODEL_H
#define DL_TRAIN_MODEL_H

#include "comm/sync.h"
#include "core/json.h"
#include "data/data.h"
#include "metrics/metrics.h"
#include "nn/net.h"
#include "nn/optimizer.h"
#include "train/checkpoint.h"
#include "train/schedule.h"

#define DL_EVAL_BLOCK \
  128 /* most samples of a block of evaluation and prediction: fixed, so that scores do not depend on ranks */
#define DL_EVAL_TOKENS 2048      /* and most tokens, for language models */
#define DL_EVAL_FLOATS (1 << 21) /* and most floats of their inputs: 128 images of 3 x 64 x 64, 8 of 3 x 224 x 224 */

/* Where a run stands. */
typedef struct dl_position {
  int64_t epoch;         /* epochs done */
  int64_t step_in_epoch; /* steps of the present epoch done */
  int64_t step;          /* steps done since the start */
  double seconds;        /* of training, over all parts of the run */
} dl_position;

/* The best epoch so far, by train.monitor (best.h). */
typedef struct dl_best {
  double score;
  int64_t epoch, step; /* where it stood at its end; epoch 0: there is none yet */
  int64_t bad_epochs;  /* in a row since, or since the start */
  char weights[65];    /* member 0: SHA-256 of its weights once its checkpoint is written, else "" */
} dl_best;

typedef struct dl_model {
  dl_team *team;     /* borrowed */
  dl_config *config; /* owned */
  dl_data *data;     /* owned; NULL where there is none yet */
  dl_net *net;
  dl_optimizer *optimizer; /* these three NULL in a model that does not train */
  dl_schedule *schedule;
  dl_sync *sync;
  dl_param_group group;
  const float *weights; /* the sync's, or shared_weights */
  dl_shared shared_weights;
  float *private_weights; /* where no memory can be shared */
  int64_t shards;         /* V in force */
  dl_position at;
  dl_best best;
  dl_batch batch;     /* buffers for a leaf or a block; x is the network's */
  char **class_names; /* NULL or outputs names, owned */
  int n_class_names;
  dl_norm norm;      /* the one in force, owned */
  int given_tensors; /* member 0: how many began as train.weights has them */
  char *given;       /* member 0: that in words, owned; NULL: none */
} dl_model;

/* How a model comes to its data. */
typedef struct dl_model_source {
  const dl_data_shape *shape;   /* arrays in memory (the API), with `arrays`; NULL: data.file */
  const dl_data_arrays *arrays; /* DL_SPLITS of them */
  const dl_json *state;         /* state.json of the checkpoint it goes on from, or NULL */
  unsigned need;                /* splits, for dl_data_open */
} dl_model_source;

/* Builds everything for training: opens the data, resolves what is auto in the configuration (from `state` where there
 * is one), builds network, optimizer, schedule and synchroniser, and sets initial weights by the seed. Takes `config`
 * over, in any case. */
dl_status dl_model_new_training(dl_team *team, dl_config *config, const dl_model_source *source, dl_model **out);

/* The network alone with the weights of checkpoint `path`, on the data of `source` (evaluation, prediction). */
dl_status dl_model_new_from_checkpoint(dl_team *team, dl_config *config, const dl_model_source *source,
                                       const char *path, dl_model **out);

void dl_model_destroy(dl_model **model); /* Not collective */

/* What the training pass of the present step depends on, for the leaf whose first sample is `first`. Not collective. */
dl_pass dl_model_pass(const dl_model *model, int64_t first);
int64_t dl_model_steps_per_epoch(const dl_model *model);
bool dl_task_has_labels(int task);   /* whether truth is class labels (or tokens), not values */
bool dl_task_is_yes_or_no(int task); /* whether scores are judged by a threshold */
/* Samples of a block of evaluation, by the configuration and the shape of the samples alone. */
int64_t dl_eval_block(const dl_model *model);

/* Builds the network without data or weights, for --dry-run: the data is opened for its shape. */
dl_status dl_model_summary(const dl_model *model, char **out);

/* ---- checkpoints (state.c) ---- */

/* Writes a checkpoint into `folder` on member 0, where that of model->best stays too; `out` is filled there alone.
 * `fingerprint` is member 0's, copied. */
dl_status dl_model_save(dl_model *model, const char *folder, int64_t keep, const dl_json *fingerprint,
                        dl_checkpoint_written *out);
/* The shapes of a sample that a checkpoint was trained on; y_size is the number of outputs. Not collective. */
dl_status dl_state_shape(const dl_json *state, dl_data_shape *out);
/* Loads weights, optimizer state and position of checkpoint `path` (known to member 0) with its state (to all). */
dl_status dl_model_load(dl_model *model, const char *path, const dl_json *state);
/* Loads the weights alone of checkpoint `path` (known to member 0) into a model that trains. */
dl_status dl_model_load_weights(dl_model *model, const char *path);
/* SHA-256 over the weights, on member 0. */
dl_status dl_model_digest(dl_model *model, dl_digest *out);

/* ---- evaluation (evaluate.c) ---- */

#define DL_THRESHOLD 0.5 /* yes where the probability is above it, unless another one is asked for */

typedef struct dl_evaluation {
  int64_t samples;
  double loss;
  dl_metric metrics[DL_METRICS_MAX];
  int n_metrics;
  int64_t outputs;
  double threshold;   /* binary, multilabel; else NaN */
  int64_t *confusion; /* classification, binary: side x side, row = truth, column = predicted; owned, else NULL */
  int64_t confusion_side;
  double *each; /* figures of each class or label, (outputs, n_each), by the names of dl_metrics_kind.each; owned */
  int n_each;
  dl_curves *curves; /* binary, on member 0, where asked for; owned, else NULL */
} dl_evaluation;
void dl_evaluation_clear(dl_evaluation *evaluation);

/* Exact over a split, at any number of members: the same bits. Every member gets the result. Areas under curves take
 * the memory that ranked.h says; they are NaN for a split of more than DL_RANKED_SCORES scores. */
dl_status dl_evaluate(dl_model *model, dl_split_kind split, dl_evaluation *out);
/* The same with another threshold, and with the curves of a binary model. */
dl_status dl_evaluate_at(dl_model *model, dl_split_kind split, double threshold, bool curves, dl_evaluation *out);

/* ---- prediction (predict.c) ---- */

/* Scores of a split, (n, rows, outputs) of samples [first, first + n), handed to `take` on member 0, each sample once;
 * the samples of a member come in file order. Rows: dl_net_rows. What is in memory does not depend on the split. */
typedef dl_status dl_predict_take(void *context, int64_t first, int64_t n, float *scores);
dl_status dl_predict_each(dl_model *model, dl_split_kind split, dl_predict_take *take, void *context);

/* All of them in file order: *scores (samples x rows x outputs) on member 0 alone, freed by the caller. */
dl_status dl_predict(dl_model *model, dl_split_kind split, float **scores);

/* DL_ERR_DATA where the data set's labels are not one for each row of the network's outputs: they would not fit the
 * batch. Not collective. */
dl_status dl_check_rows(const dl_model *model);

/* A split in blocks of dl_eval_block samples: their number; reading and running one, whose scores are dl_net_scores;
 * *n: how many samples it has. Not collective. */
static inline int64_t dl_eval_blocks(int64_t samples, int64_t block) { return (samples + block - 1) / block; }
dl_status dl_eval_run_block(dl_model *model, dl_split_kind split, int64_t block, bool truth, int64_t *n);

#endif

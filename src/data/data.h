/* data.h - a data set: HDF5 files, samples first, as the configuration names them (floor: data).
 *
 * The data set is addressable: any member can produce the batch of (epoch, step, leaf), or a run of samples in file
 * order. The order depends on the configuration alone. x is kept in memory
 * once per node, in the file's own element type, or where it is large (data.shuffle: lanes) read when it is needed, by
 * one more thread a member; it is converted on the way into a batch. y and weights are kept in any case.
 */
#ifndef DL_DATA_DATA_H
#define DL_DATA_DATA_H

#include "core/config.h"
#include "core/group.h"
#include "core/team.h"
#include "core/tree.h"

typedef enum dl_split_kind { DL_SPLIT_TRAIN, DL_SPLIT_VALID, DL_SPLIT_TEST, DL_SPLITS } dl_split_kind;
#define DL_SPLIT_NAMES "train|valid|test"
extern const char *const dl_split_words[DL_SPLITS]; /* one by one; the groups of a data set file */

typedef struct dl_data dl_data;

/* What a network must know of the data. */
typedef struct dl_data_shape {
  int x_dims;                   /* of one sample */
  int64_t x_shape[DL_MAX_DIMS]; /* C,H,W for images (nchw whatever the file has), or features */
  int64_t x_size;               /* product */
  int64_t y_size;  /* values of y a sample: 1 for class labels, x_size for language_model, labels of a map */
  int64_t map[2];  /* segmentation: height and width of a sample's map of labels; else 0. Arrays: 0 is x's */
  int64_t classes; /* classification: labels run 0 .. classes - 1, from train, valid and test; else 0.
                      language_model: so do tokens */
} dl_data_shape;

/* A batch in the caller's buffers, row after row. */
typedef struct dl_batch {
  float *x;       /* (n, x_size), normalised, in nchw */
  float *y;       /* (n, y_size) for binary, multilabel and regression; NULL where not wanted */
  int32_t *label; /* (n) class labels for classification, (n, x_size) for language_model: the token after each of x,
                     (n, y_size) for segmentation, where -1 is none (beside an augmented image);
                     NULL where not wanted */
  float *weight;  /* (n) sample weights, 1 where the data set has none; NULL where not wanted */
} dl_batch;

/* Normalisation figures, kept with the model: x' = (x - shift[f]) * scale[f], f = element or channel. */
typedef struct dl_norm {
  int kind;             /* dl_normalize, never AUTO */
  int64_t n;            /* figures: 1 (none, unit), features or channels */
  float *shift, *scale; /* n each; owned by whoever made the norm */
} dl_norm;
void dl_norm_clear(dl_norm *norm);

/* Opens and checks the data set that `config` names (data.file relative to config->folder, globs in order of name),
 * cuts `valid` off where it is a fraction (random by the seed, stratified for classification), computes the
 * normalisation from what is left of train. Reads each file once per node. Collective; errors are agreed on:
 * DL_ERR_DATA with file and data set for missing files or names, unfit shapes, NaN, labels out of range; DL_ERR_USAGE
 * for a configuration that does not fit. `need`: a bit (1 << dl_split_kind) for each split that must be there, with its
 * y; others are taken where they are (in training, which needs train, those that the configuration names must be there
 * too). */
#define DL_DATA_WITHOUT_Y (1u << 8)   /* y may be absent: prediction */
#define DL_DATA_ONLY_NEEDED (1u << 9) /* splits that are not needed are not read: evaluation and prediction */
dl_status dl_data_open(dl_team *team, const dl_config *config, unsigned need, dl_data **out);

/* The same for arrays of the caller's, which stay theirs and are borrowed: x (n, x_shape), y (n, y_size) float32 or
 * labels int32 (n); arrays are the same on all members. language_model has `tokens` alone: windows of data.sequence
 * tokens (x_shape: that one number), each with the token after it. */
typedef struct dl_data_arrays {
  int64_t samples;
  const float *x, *y;
  const int32_t *labels;
  const float *tokens; /* (n, x_size + 1), whole numbers */
} dl_data_arrays;
dl_status dl_data_from_arrays(dl_team *team, const dl_config *config, const dl_data_shape *shape,
                              const dl_data_arrays splits[DL_SPLITS], dl_data **out);
void dl_data_destroy(dl_data **data);

const dl_data_shape *dl_data_shape_of(const dl_data *data);
int64_t dl_data_samples(const dl_data *data, dl_split_kind split); /* 0 where absent */
bool dl_data_has_y(const dl_data *data, dl_split_kind split);
int dl_data_shuffle(const dl_data *data); /* the order in force: dl_shuffle, never AUTO */
const dl_norm *dl_data_norm(const dl_data *data);
/* Fails with DL_ERR_DATA that names split and sample where a value of x is no whole number from 0 to limit - 1: such a
 * model's x are tokens. Not collective. */
dl_status dl_data_check_tokens(const dl_data *data, int64_t limit);
/* language_model: class names are the texts of the tokens ("/vocabulary"), two hexadecimal digits for each byte.
 * Class names where the file has them ("/class_names"), else NULL; *n is 0 or the number of classes. */
const char *const *dl_data_class_names(const dl_data *data, int *n);
/* Whether a model with `classes` outputs can learn or judge these labels: DL_ERR_DATA that names file, data set, row
 * and label of the first one out of range. DL_OK where there are no labels. Not collective. */
dl_status dl_data_check_labels(const dl_data *data, int64_t classes);
/* Whether the loss leaves samples of this label out (ignore_index). Not collective. */
bool dl_data_ignores(const dl_data *data, int32_t label);
/* Uses another norm (a checkpoint's) from now on; copied. Fails where it does not fit the shape. Not collective. */
dl_status dl_data_set_norm(dl_data *data, const dl_norm *norm);
size_t dl_data_bytes(const dl_data *data);     /* memory per node */
size_t dl_data_row_bytes(const dl_data *data); /* of x of a sample, as it is kept */

/* Says that the process is dldist's own, not a program that uses HDF5 beside it: HDF5 then has no work left when the
 * process exits, where it would tell of files that a full disk kept it from writing. Before any other function of this
 * floor; once. */
void dl_data_own_process(void);

/* ---- batches. Not collective; no allocation, but for the first batch of a lane that is another member's. ---- */

/* The order `data.shuffle: lanes` needs to know how a batch is cut: before training batches are read. Nothing for other
 * orders. Takes data.shuffle_buffer_mb for all members together. DL_ERR_USAGE where that is too little. Not collective.
 */
dl_status dl_data_set_order(dl_data *data, const dl_config *config, int64_t shards);

/* What this member has read from files since the data set was opened (0 where x is kept in memory). */
typedef struct dl_data_reading {
  int64_t chunks, packed_bytes; /* as they lie in the files */
  int64_t bytes;                /* of samples handed on, as kept in memory */
  double busy_s, fetch_s;       /* of the I/O thread; of that, in the file system */
  double wait_s;                /* that batches had to wait for it */
} dl_data_reading;
dl_data_reading dl_data_reading_of(const dl_data *data);

/* Steps of an epoch; samples of global batch `step` (from 0). */
int64_t dl_data_steps(const dl_data *data, int64_t batch, bool drop_last);
int64_t dl_data_step_samples(const dl_data *data, int64_t batch, int64_t step);

/* Samples [begin, end) (of a leaf: dl_cut_leaf_range) of global batch `step` of `epoch` (both from 0) of the training
 * set, augmented as data.augment says: nowhere else are they. Any member can have any of them. With lanes those of the
 * member's own leaves, step after step, come from what was read ahead; elsewhere the chunks of a window are read first.
 * DL_ERR_DATA where that fails. */
dl_status dl_data_read_step(const dl_data *data, int64_t epoch, int64_t batch, int64_t step, int64_t begin, int64_t end,
                            dl_batch *out);
/* Samples [begin, end) of a split in file order. */
dl_status dl_data_read(const dl_data *data, dl_split_kind split, int64_t begin, int64_t end, dl_batch *out);

#endif

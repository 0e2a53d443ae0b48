/* dldist.h - training from a program.
 *
 * From simple to advanced:
 *
 *   1. dl_context: the processes that compute together: this one, MPI_COMM_WORLD, or a communicator of yours
 *   2. dl_network: layers and options, the same that a configuration file has
 *   3. its data: arrays of yours, or an HDF5 file
 *   4. train, evaluate, predict, save, open again
 *   5. dl_train_config: what `dldist train CONFIG.yaml --run DIR` does, with checkpoints and resume
 *
 * "Collective" functions are called by every process of the context, in the same order; their errors are the same on
 * all. Every function returns DL_OK or an error whose text dl_last_error gives. Objects are owned by whoever made them
 * and end with their _close; pointers that are passed in are borrowed for the call unless said otherwise. Not thread
 * safe: a context and its networks belong to one thread, the one that MPI was initialised on.
 *
 * The configuration says what is computed, the number of processes only how fast: with the same sync.shards the weights
 * are the same bit for bit.
 */
#ifndef DLDIST_DLDIST_H
#define DLDIST_DLDIST_H

#include <stddef.h>
#include <stdint.h>

#include "dldist/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DL_API __attribute__((visibility("default")))
#else
#define DL_API
#endif

/* "0.1.0" */
DL_API const char *dl_version(void);

/* The last failure of this thread: "file:line:column: message (what to do)". Valid until the next call. Not collective.
 */
DL_API const char *dl_last_error(void);

/* ---- 1. context ---- */

typedef struct dl_context dl_context;

/* Under mpirun or srun: all processes of the job (MPI is initialised unless it is; then dl_context_close finalises it).
 * Alone: this process, without MPI. Collective. */
DL_API dl_status dl_context_open(dl_context **out);

/* Over an MPI communicator, which is duplicated and stays yours: see dldist_mpi.h for the typed form. `communicator`
 * points to an MPI_Comm. MPI must be initialised. Collective over it. */
DL_API dl_status dl_context_open_over(const void *communicator, dl_context **out);

/* The same for a Fortran communicator handle. */
DL_API dl_status dl_context_open_fortran(int communicator, dl_context **out);

/* Collective. Close networks first. */
DL_API void dl_context_close(dl_context **context);

DL_API int dl_context_rank(const dl_context *context); /* 0 .. size - 1, numbered by (node, rank in node) */
DL_API int dl_context_size(const dl_context *context);

/* ---- 2. network ---- */

typedef struct dl_network dl_network;

/* An empty network. Not collective. */
DL_API dl_status dl_network_new(dl_context *context, dl_network **out);
DL_API void dl_network_close(dl_network **network); /* Not collective */

/* Starts from the configuration file `path`, read by every process. Not collective. */
DL_API dl_status dl_network_load_config(dl_network *network, const char *path);

/* Appends a layer as a line of a configuration has it: "relu", "dense: 64", "dropout: {rate: 0.2}". Checked when
 * training starts. Not collective. */
DL_API dl_status dl_network_add(dl_network *network, const char *layer);

/* Sets a key of the configuration: ("optimizer", "{name: adam, lr: 0.01}"), ("train.epochs", "20"). Not collective. */
DL_API dl_status dl_network_set(dl_network *network, const char *key, const char *value);

/* ---- 3. data ---- */

enum { DL_TRAIN = 0, DL_VALID = 1, DL_TEST = 2 };

/* Arrays of a split, equal on all processes, borrowed until the network is closed or they are set again: x (samples,
 * shape...) row after row; truth is `labels` (samples) for classification, y (samples, y_size) for other tasks. For
 * segmentation it is `labels` (samples, height, width): of x where the network is trained on arrays, else of its
 * outputs. Without arrays the data come from data.file. Not collective. */
DL_API dl_status dl_network_set_data(dl_network *network, int split, int64_t samples, int dims, const int64_t *shape,
                                     const float *x, const int32_t *labels, int64_t y_size, const float *y);

/* language_model: the text of a split as one row of tokens (0 .. vocabulary - 1), equal on all processes, borrowed like
 * arrays. It is cut into windows of data.sequence tokens, each with the token after it; the tail is dropped. Memory: 4
 * bytes a token beside the text. Not collective. */
DL_API dl_status dl_network_set_tokens(dl_network *network, int split, int64_t count, const int32_t *tokens);

/* Other tasks of networks that begin with an embedding: samples of `steps` tokens each, with the truth of
 * dl_network_set_data; tokens (samples, steps) are copied. Not collective. */
DL_API dl_status dl_network_set_sequences(dl_network *network, int split, int64_t samples, int64_t steps,
                                          const int32_t *tokens, const int32_t *labels, int64_t y_size, const float *y);

/* ---- 4. using it ---- */

/* Trains to the end of train.epochs, from the initial weights; no file is written. Collective. */
DL_API dl_status dl_network_train(dl_network *network);

/* One metric of a split: "loss", or a metric of the task ("accuracy", "macro_f1", "r2"; see `dldist list metrics`). For
 * an opened checkpoint the split's arrays must be set. Collective. */
DL_API dl_status dl_network_metric(dl_network *network, int split, const char *metric, double *value);

/* Scores of samples of yours: x (samples, shape...), scores (samples, outputs): probabilities for classification,
 * binary and multilabel, values for regression; of segmentation (samples, dl_network_rows, outputs): a row for each
 * pixel of the network's outputs. Every process may have its own. Not collective. */
DL_API dl_status dl_network_predict(dl_network *network, int64_t samples, const float *x, float *scores);

/* The same for tokens (samples, steps): scores (samples, outputs); of a language_model, whose steps are data.sequence,
 * (samples, steps, outputs): the probabilities of the token after each. Not collective. */
DL_API dl_status dl_network_predict_tokens(dl_network *network, int64_t samples, int64_t steps, const int32_t *tokens,
                                           float *scores);

/* Outputs of a trained or opened network, 0 before. */
DL_API int64_t dl_network_outputs(const dl_network *network);
/* Rows of outputs a sample: segmentation has one a pixel of its outputs, language_model one a step, others one. A
 * sample's scores are rows * outputs numbers. 0 before. */
DL_API int64_t dl_network_rows(const dl_network *network);

/* SHA-256 of the weights as 64 hexadecimal digits and a 0 byte, on all processes. Collective. */
DL_API dl_status dl_network_weights_sha256(dl_network *network, char hex[65]);

/* Writes a checkpoint below `folder` (folder/step-NNNNNNNN, and folder/latest points to it), by rank 0. The folder
 * belongs to one network: the two newest checkpoints are kept, those of later steps are removed. Collective. */
DL_API dl_status dl_network_save(dl_network *network, const char *folder);

/* A trained network from a checkpoint's folder, a folder of checkpoints (its latest), or a run's. It predicts,
 * evaluates and tells its digest. Collective. */
DL_API dl_status dl_network_open(dl_context *context, const char *checkpoint, dl_network **out);

/* ---- 5. whole runs ---- */

/* Trains as `dldist train CONFIG --run FOLDER --quiet` does: files, checkpoints, resume of what is there. Then
 * dl_network_open(context, FOLDER, ...). Collective. */
DL_API dl_status dl_train_config(dl_context *context, const char *config, const char *folder);

#ifdef __cplusplus
}
#endif

#endif

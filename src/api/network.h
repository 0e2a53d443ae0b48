/* network.h - what stands behind the public names (floor: api, private). */
#ifndef DL_API_NETWORK_H
#define DL_API_NETWORK_H

#include "dldist/dldist.h"
#include "train/model.h"

/* A text of the caller's, borrowed. */
typedef struct dl_token_row {
  int64_t count;
  const int32_t *values;
} dl_token_row;

struct dl_context {
  dl_team *team, *alone; /* alone: this process, for work that is not collective */
};

typedef struct text_list {
  char **text;
  int n;
} text_list;

struct dl_network {
  dl_context *context;
  char *config, *config_name; /* the file's text and name, or NULL */
  text_list layers, settings; /* settings: "key=value" */
  bool has_arrays;            /* of samples; or */
  bool has_tokens;            /* of text */
  dl_data_shape shape;        /* of the arrays; y_size 0: no y yet */
  dl_data_arrays arrays[DL_SPLITS];
  dl_token_row tokens[DL_SPLITS];
  float *owned[DL_SPLITS];  /* tokens as the data set reads them: rows that were set, or windows that the model has */
  dl_model *model;          /* once trained or opened */
  bool on_arrays;           /* the model has arrays for its data */
  bool replaced[DL_SPLITS]; /* set since it was trained or opened: the model's own may be gone */
};

/* ---- api.c ---- */

/* A second model over other arrays, which shares all but the data with `model`; its data is the caller's to destroy.
 * Collective over `team`. */
dl_status dl_network_view(const dl_model *model, dl_team *team, const dl_data_shape *shape,
                          const dl_data_arrays arrays[DL_SPLITS], dl_model *view);
/* The shape that the model was made for, whatever the caller's arrays are. */
dl_data_shape dl_network_shape(const dl_model *model);
dl_status dl_network_need_model(const dl_network *network);
/* Scores of all samples of `arrays` into `scores`. Not collective. */
dl_status dl_network_scores(const dl_network *network, const dl_data_arrays *arrays, float *scores);

/* ---- tokens.c ---- */

/* Tokens as windows of sequence + 1 values, one every `sequence` tokens, in fresh memory (*out, NULL for none). */
dl_status dl_windows_of(const dl_token_row *row, int64_t sequence, int split, float **out, int64_t *samples);
#endif

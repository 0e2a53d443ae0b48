/* generate.h - text from a trained language model (floor: train). */
#ifndef DL_TRAIN_GENERATE_H
#define DL_TRAIN_GENERATE_H

#include "train/judge.h"

typedef struct dl_generate_options {
  int64_t tokens; /* how many to add */
  const char
      *prompt; /* text in the model's vocabulary, or numbers where the model has no texts of tokens; NULL: none */
  double temperature; /* logits are divided by it; 0: always the likeliest token */
  int64_t seed;       /* of the drawing: the same seed gives the same text */
} dl_generate_options;

/* Writes the prompt and what follows to *text (*bytes of it, and a 0 byte), freed by the caller. Each token is drawn
 * from the model's distribution after the last `data.sequence` tokens. Not collective; one forward pass a token.
 * DL_ERR_USAGE: the model is no language model, or the prompt has what the vocabulary has not. */
dl_status dl_generate(dl_model *model, const dl_generate_options *options, char **text, size_t *bytes);

#endif

/* data_source.h - which files and which names in them a configuration means (floor: data, private). */
#ifndef DL_DATA_SOURCE_H
#define DL_DATA_SOURCE_H

#include "data/data.h"

typedef struct dl_split_names {
  const char *x, *y, *weight; /* weight: NULL where there is none */
  const char *tokens;         /* another word for x, of language_model */
  bool named;                 /* by the configuration, not by default */
  bool wanted;                /* whether it is looked for at all */
  bool needed;                /* whether it must be there */
  bool needs_y;
} dl_split_names;

typedef struct dl_source {
  char **files; /* in the order in which they are one data set; owned */
  int n_files;
  dl_split_names split[DL_SPLITS];
  bool only_needed;
  double valid_fraction; /* of train; 0: valid is a split of its own, or absent */
  dl_arena *arena;       /* of the names */
} dl_source;

/* Reads data.file, data.train, data.valid and data.test; matches globs. Not collective. DL_ERR_USAGE at the key's
 * place; DL_ERR_DATA where no file matches a pattern. */
dl_status dl_source_make(const dl_config *config, unsigned need, dl_source *out);
void dl_source_clear(dl_source *source);

/* data.valid where it is a fraction, else 0. */
dl_status dl_source_valid_fraction(const dl_config *config, double *out);

/* loss.ignore_index: a label that need not be a class; false where there is none. */
bool dl_source_ignored_label(const dl_config *config, int64_t *out);

#endif

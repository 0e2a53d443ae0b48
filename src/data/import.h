/* import.h - bringing other formats into HDF5, and looking at a file (floor: data). */
#ifndef DL_DATA_IMPORT_H
#define DL_DATA_IMPORT_H

#include "core/options.h"
#include "core/team.h"

/* Who follows an import: may be NULL, or have NULL members. Called by one member, in its turn. */
typedef struct dl_import_listener {
  void (*say)(void *context, const char *line);                                    /* what was found, a line each */
  void (*progress)(void *context, const char *phase, int64_t done, int64_t total); /* often; total 0: not known */
  void *context;
} dl_import_listener;

typedef struct dl_import_job {
  const char *const *inputs;
  int n_inputs;
  const void *options; /* options_size bytes, bound by the format's rows */
  int64_t file;        /* the open output (a hid_t) on the first member, -1 elsewhere */
  dl_team *team;       /* NULL: one member alone */
  const dl_import_listener *listener;
} dl_import_job;
void dl_import_say(const dl_import_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dl_import_progress(const dl_import_job *job, const char *phase, int64_t done, int64_t total);

/* One format: one file, one row of the table. */
typedef struct dl_format {
  const char *name;  /* "idx" */
  const char *usage; /* "IMAGES LABELS [TEST_IMAGES TEST_LABELS]" */
  const char *help;  /* one sentence */
  int min_inputs, max_inputs;
  dl_status (*import)(const dl_import_job *job);
  const dl_option *options; /* keys as on the command line: "test-fraction" */
  int n_options;
  size_t options_size;
  bool parallel; /* `import` is Collective over the job's team; else it runs on one member, without a team */
} dl_format;
const dl_format *dl_formats(int *n);
/* NULL, with a record of DL_ERR_USAGE, where there is none. */
const dl_format *dl_format_find(const char *name);
/* Whether a format takes so many inputs; DL_ERR_USAGE names how it is called, and the format that the first one's name
 * speaks for. Not collective. */
dl_status dl_format_check_inputs(const dl_format *format, const char *const *inputs, int n);

/* What the command line says of a format's options, in words. */
typedef struct dl_import_setting {
  const char *key, *value;
} dl_import_setting;

/* Imports into `output`: written beside it and renamed at the end; an existing file is refused without `force`.
 * DL_ERR_USAGE for a setting that the format does not know. */
dl_status dl_import(const char *format, const char *const *inputs, int n_inputs, const dl_import_setting *settings,
                    int n_settings, const char *output, bool force);
/* The same with somebody who follows it, and Collective over a team (of one where the format is not parallel, or NULL);
 * the file's bytes do not depend on its size. */
dl_status dl_import_on(dl_team *team, const char *format, const char *const *inputs, int n_inputs,
                       const dl_import_setting *settings, int n_settings, const char *output, bool force,
                       const dl_import_listener *listener);

/* Writing predictions, piece by piece and atomic: /scores float32 (rows, outputs), /labels int64 where they are
 * decided, (rows) or with more than one label column (rows, label_columns), /y as float32 (rows, y_size) or as int64
 * (rows). Of maps, where map[0] is not 0: /scores (rows, outputs, height, width), /labels and /y (rows, height, width).
 */
typedef enum dl_predicted_y { DL_PREDICTED_NO_Y, DL_PREDICTED_Y_VALUES, DL_PREDICTED_Y_LABELS } dl_predicted_y;
typedef struct dl_predictions_form {
  int64_t rows, outputs, y_size;
  int64_t label_columns; /* 0: nothing is decided */
  int64_t map[2];
  dl_predicted_y y;
} dl_predictions_form;
typedef struct dl_predictions {
  const float *scores, *y; /* y, y_labels: as the form says */
  const int64_t *labels, *y_labels;
} dl_predictions;
typedef struct dl_predictions_file dl_predictions_file;
dl_status dl_predictions_begin(const char *path, const dl_predictions_form *form, dl_predictions_file **out);
/* Rows [first, first + n), in any order. */
dl_status dl_predictions_put(dl_predictions_file *file, int64_t first, int64_t n, const dl_predictions *piece);
/* With DL_OK the file is whole and there; with an error it is gone, and the error is returned. */
dl_status dl_predictions_end(dl_predictions_file **file, dl_status status);

/* For a handler of signals that end the process: takes away what an import, a split or predictions have written so far.
 * Async-signal-safe. */
void dl_data_abandon_output(void);

/* A text description of an HDF5 file's data sets (names, shapes, types, chunks, filters, bytes) for `dldist data info`;
 * freed by the caller. */
dl_status dl_data_info(const char *path, char **out);

/* The same of the whole in a line, as an import ends with: "train 60000, test 10000 samples of uint8 (28, 28); 10
 * classes, labels 0 to 9"; "" where it holds no split. */
dl_status dl_data_found(const char *path, char *text, size_t size);

#endif

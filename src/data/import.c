/* import.c - the table of formats, and the frame around each: the output is whole or absent. */
#include "data/import.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/file.h"
#include "core/options.h"
#include "data/hdf5_output.h"
#include "data/import_cifar10.h"
#include "data/import_csv.h"
#include "data/import_fann.h"
#include "data/import_found.h"
#include "data/import_idx.h"
#include "data/import_images.h"
#include "data/import_npy.h"
#include "data/import_text.h"

static const dl_format formats[] = {
    {"idx", "IMAGES LABELS [TEST_IMAGES TEST_LABELS]",
     "IDX files as of MNIST and Fashion-MNIST, plain or packed with gzip", 2, 4, dl_import_idx, NULL, 0, 0, false},
    {"cifar10", "DIR",
     "the binary version of CIFAR-10: a folder of data_batch_N.bin and test_batch.bin, any number of records", 1, 1,
     dl_import_cifar10, NULL, 0, 0, false},
    {"text", "FILE [--tokens char|byte] [--test-fraction F]",
     "a text as the row of its characters or bytes, for language models; the tail is the test split", 1, 1,
     dl_import_text, dl_text_rows, 2, sizeof(dl_text_options), false},
    {"csv", "FILE [TEST_FILE] --target COLUMN [OPTION]...",
     "a table of numbers and categories as text, plain or packed with gzip", 1, 2, dl_import_csv, dl_csv_rows,
     DL_CSV_N_ROWS, sizeof(dl_csv_options), true},
    {"fann", "FILE [TEST_FILE]", "training files of FANN, the Fast Artificial Neural Network library", 1, 2,
     dl_import_fann, NULL, 0, 0, false},
    {"npy", "X.npy Y.npy [TEST_X.npy TEST_Y.npy]", "arrays of numpy, samples first: integers, floats and booleans", 2,
     4, dl_import_npy, NULL, 0, 0, false},
    {"npz", "FILE.npz",
     "an archive of numpy with x_train, y_train, x_test, y_test (or x and y, and what else they are called)", 1, 1,
     dl_import_npz, NULL, 0, 0, false},
    {"images", "DIR [--size HxW] [OPTION]...",
     "folders of PNG and JPEG files, a folder a class; with train and test folders above them where there are", 1, 1,
     dl_import_images, dl_images_rows, DL_IMAGES_N_ROWS, sizeof(dl_images_options), true},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const dl_format *dl_formats(int *n) {
  *n = N_FORMATS;
  return formats;
}

void dl_import_say(const dl_import_job *job, const char *format, ...) {
  if (!job->listener || !job->listener->say) return;
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  job->listener->say(job->listener->context, line);
}

void dl_import_progress(const dl_import_job *job, const char *phase, int64_t done, int64_t total) {
  if (job->listener && job->listener->progress) job->listener->progress(job->listener->context, phase, done, total);
}

const dl_format *dl_format_find(const char *name) {
  const char *names[N_FORMATS];
  for (int i = 0; i < N_FORMATS; i++) {
    if (!strcmp(formats[i].name, name)) return &formats[i];
    names[i] = formats[i].name;
  }
  dl_fail(DL_ERR_USAGE, "unknown format '%.60s'", name);
  dl_hint_nearest(name, names, N_FORMATS, "see `dldist list formats`");
  return NULL;
}

/* Every setting is known, every required one is given. */
static dl_status check_settings(const dl_format *format, const dl_import_setting *settings, int n) {
  const char *names[64];
  for (int k = 0; k < format->n_options && k < 64; k++) names[k] = format->options[k].key;
  for (int i = 0; i < n; i++) {
    bool known = false;
    for (int k = 0; k < format->n_options; k++) known = known || !strcmp(settings[i].key, names[k]);
    if (known) continue;
    dl_fail(DL_ERR_USAGE, "format %s takes no --%s", format->name, settings[i].key);
    return dl_hint_nearest(settings[i].key, names, format->n_options, "see `dldist list formats`");
  }
  for (int k = 0; k < format->n_options; k++) {
    bool given = format->options[k].fallback != NULL;
    for (int i = 0; i < n; i++) given = given || !strcmp(settings[i].key, names[k]);
    if (!given)
      return dl_fail(DL_ERR_USAGE, "format %s needs --%s: %s", format->name, names[k], format->options[k].help);
  }
  return DL_OK;
}

/* Settings as the map that rows are bound to; `options` is zeroed. */
static dl_status bind_settings(const dl_format *format, const dl_import_setting *settings, int n, void *options,
                               dl_document *document) {
  DL_TRY(check_settings(format, settings, n));
  DL_TRY(dl_document_parse("", 0, "command line", document));
  dl_status status = DL_OK;
  for (int i = 0; i < n && status == DL_OK; i++) {
    dl_node *value = dl_node_new(document->root, DL_NODE_SCALAR, settings[i].value);
    status = value ? dl_node_put(document->root, settings[i].key, value) : DL_ERR_NOMEM;
  }
  const dl_option_set rows = {format->options, format->n_options, options};
  if (status == DL_OK && dl_options_parse(&rows, 1, document->root, format->name) != DL_OK) {
    dl_error error = *dl_error_last(); /* a command line has no lines to point at */
    error.file[0] = 0;
    error.line = error.column = 0;
    status = dl_error_adopt(&error);
  }
  return status;
}

static dl_status agree(const dl_import_job *job, dl_status mine) {
  return job->team ? dl_team_agree(job->team, mine) : mine;
}

static void say_what_was_found(const dl_import_job *job) {
  char text[400];
  dl_import_found((hid_t)job->file, text, sizeof text);
  if (*text) dl_import_say(job, "%s", text);
}

/* On the first member the file is there; the others work for it. */
static dl_status import_into(const dl_format *format, dl_import_job *job, const char *output) {
  const bool writes = !job->team || job->team->rank == 0;
  dl_h5_turn turn;
  dl_h5_output file = {.id = -1};
  dl_status status = DL_OK;
  if (writes) {
    dl_h5_enter(&turn);
    status = dl_h5_output_begin(output, &file);
  }
  job->file = (int64_t)file.id;
  const bool begun = writes && status == DL_OK;
  status = agree(job, status);
  if (status == DL_OK) status = format->import(job);
  if (begun && status == DL_OK && job->listener) say_what_was_found(job);
  if (begun) status = dl_h5_output_end(&file, status);
  if (writes) dl_h5_leave(&turn);
  return agree(job, status);
}

dl_status dl_import(const char *format, const char *const *inputs, int n_inputs, const dl_import_setting *settings,
                    int n_settings, const char *output, bool force) {
  return dl_import_on(NULL, format, inputs, n_inputs, settings, n_settings, output, force, NULL);
}

/* The format that a file's ending names, NULL where none does. */
static const dl_format *format_of_ending(const char *path) {
  const char *dot = strrchr(path, '.');
  for (int i = 0; dot && i < N_FORMATS; i++)
    if (!strcasecmp(dot + 1, formats[i].name)) return &formats[i];
  return NULL;
}

dl_status dl_format_check_inputs(const dl_format *format, const char *const *inputs, int n) {
  if (n >= format->min_inputs && n <= format->max_inputs) return DL_OK;
  const dl_format *other = n ? format_of_ending(inputs[0]) : NULL;
  dl_fail(DL_ERR_USAGE, "dldist data import %s takes %s, %d given", format->name, format->usage, n);
  if (!other || other == format) return DL_ERR_USAGE;
  return dl_hint("or was it dldist data import %s %s", other->name, other->usage);
}

static dl_status check_output(const char *output, bool force) {
  if (!dl_path_exists(output) || dl_path_is_dir(output) || force) return DL_OK;
  dl_fail_at(DL_ERR_USAGE, output, 0, 0, "exists already");
  return dl_hint("name another file, or replace it with --force");
}

dl_status dl_import_on(dl_team *team, const char *format, const char *const *inputs, int n_inputs,
                       const dl_import_setting *settings, int n_settings, const char *output, bool force,
                       const dl_import_listener *listener) {
  const dl_format *chosen = dl_format_find(format);
  if (!chosen) return DL_ERR_USAGE; /* for all members alike */
  void *options = dl_calloc(1, chosen->options_size + 1);
  dl_import_job job = {.inputs = inputs, .n_inputs = n_inputs, .options = options, .listener = listener, .team = team};
  dl_document document = {.root = NULL}; /* holds the texts of the options */
  dl_status status = options ? dl_format_check_inputs(chosen, inputs, n_inputs) : DL_ERR_NOMEM;
  if (status == DL_OK) status = check_output(output, force);
  if (status == DL_OK) status = bind_settings(chosen, settings, n_settings, options, &document);
  status = agree(&job, status);
  if (status == DL_OK) status = import_into(chosen, &job, output);
  dl_document_destroy(&document);
  free(options);
  return status;
}

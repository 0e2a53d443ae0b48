/* import_cifar10.c - the binary version of CIFAR-10: data_batch_1.bin, data_batch_2.bin ... and test_batch.bin, each a
 * row of records: a label (one byte), then 3 x 32 x 32 bytes of red, green and blue. Described at
 * https://www.cs.toronto.edu/~kriz/cifar.html.
 *
 * The number of records follows from a file's size; every label is checked before it is written. Records stream
 * through one chunk's worth of memory.
 */
#include "data/import_cifar10.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/mem.h"
#include "data/hdf5_output.h"

enum { CHANNELS = 3, SIDE = 32, IMAGE_BYTES = CHANNELS * SIDE * SIDE, RECORD_BYTES = 1 + IMAGE_BYTES, CLASSES = 10 };
enum { MOST_FILES = 99 };

/* The files of one split: data_batch_1.bin to data_batch_N.bin, or test_batch.bin. */
typedef struct split {
  const char *folder, *x, *y; /* names of the data sets */
  bool test;
  int n;
  int64_t records[MOST_FILES], all;
} split;

typedef struct file_path {
  char text[PATH_MAX];
} file_path;

static const char *path_of(const split *s, int number, file_path *path) {
  if (s->test)
    snprintf(path->text, sizeof path->text, "%s/test_batch.bin", s->folder);
  else
    snprintf(path->text, sizeof path->text, "%s/data_batch_%d.bin", s->folder, number);
  return path->text;
}

static dl_status add_file(split *s, const char *path) {
  struct stat about;
  if (stat(path, &about) != 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  if (!S_ISREG(about.st_mode)) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "is not a regular file");
  if (about.st_size == 0 || about.st_size % RECORD_BYTES) {
    dl_fail_at(DL_ERR_DATA, path, 0, 0, "has %lld bytes: that is no whole number of records of %d bytes",
               (long long)about.st_size, (int)RECORD_BYTES);
    return dl_hint("it is truncated, or not from the binary version of CIFAR-10 (cifar-10-binary.tar.gz)");
  }
  s->records[s->n++] = about.st_size / RECORD_BYTES;
  s->all += about.st_size / RECORD_BYTES;
  return DL_OK;
}

/* All files of the split; a gap in the numbers is a lost file. */
static dl_status find_files(split *s) {
  file_path path;
  for (int number = 1; number <= (s->test ? 1 : MOST_FILES); number++) {
    if (!dl_path_exists(path_of(s, number, &path))) continue;
    if (s->n != number - 1)
      return dl_fail_at(DL_ERR_DATA, s->folder, 0, 0, "data_batch_%d.bin is missing, but data_batch_%d.bin is there",
                        s->n + 1, number);
    DL_TRY(add_file(s, path.text));
  }
  if (s->n || s->test) return DL_OK;
  dl_fail_at(DL_ERR_DATA, s->folder, 0, 0, "holds no data_batch_1.bin");
  return dl_hint("unpack cifar-10-binary.tar.gz and name the folder cifar-10-batches-bin");
}

/* ---- records ---- */

typedef struct buffers {
  unsigned char *records, *images;
  unsigned char *labels; /* of the whole split */
} buffers;

/* `rows` records from `file`, the first of which is number `first` of its file, to images and labels. */
static dl_status read_records(FILE *file, const char *path, int64_t first, int64_t rows, const buffers *b,
                              int64_t label_at) {
  if (fread(b->records, RECORD_BYTES, (size_t)rows, file) != (size_t)rows)
    return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be read to its end: %s",
                      ferror(file) ? strerror(errno) : "it has become shorter");
  for (int64_t i = 0; i < rows; i++) {
    const unsigned char *record = b->records + i * RECORD_BYTES;
    if (record[0] >= CLASSES)
      return dl_fail_at(DL_ERR_DATA, path, 0, 0, "record %lld has the label %d, but CIFAR-10 has the classes 0 to %d",
                        (long long)(first + i), record[0], CLASSES - 1);
    b->labels[label_at + i] = record[0];
    memcpy(b->images + i * IMAGE_BYTES, record + 1, IMAGE_BYTES);
  }
  return DL_OK;
}

/* Blocks are whole chunks of the data set but where a file ends. */
static dl_status copy_file(const split *s, int number, int64_t at, const dl_h5_target *to, const buffers *b) {
  file_path path;
  FILE *file = fopen(path_of(s, number + 1, &path), "rb");
  if (!file) return dl_fail_at(DL_ERR_DATA, path.text, 0, 0, "cannot be opened: %s", strerror(errno));
  dl_status status = DL_OK;
  for (int64_t done = 0, rows = 0; done < s->records[number] && status == DL_OK; done += rows) {
    rows = to->chunk_rows - (at + done) % to->chunk_rows;
    if (rows > s->records[number] - done) rows = s->records[number] - done;
    status = read_records(file, path.text, done, rows, b, at + done);
    if (status == DL_OK) status = dl_h5_target_write(to, at + done, rows, H5T_STD_U8LE, b->images);
  }
  fclose(file);
  return status;
}

static dl_status copy_images(const split *s, const dl_h5_target *to, const buffers *b) {
  int64_t at = 0;
  for (int i = 0; i < s->n; at += s->records[i++]) DL_TRY(copy_file(s, i, at, to, b));
  return DL_OK;
}

static dl_status write_labels(const split *s, hid_t file, const unsigned char *labels) {
  dl_h5_target to;
  DL_TRY(dl_h5_target_make(file, s->y, H5T_STD_U8LE, 1, &s->all, true, &to));
  dl_status status = dl_h5_target_write(&to, 0, s->all, H5T_STD_U8LE, labels);
  status = dl_h5_target_close(&to, status);
  return status;
}

static dl_status copy_split(const split *s, hid_t file) {
  if (!s->n) return DL_OK;
  dl_h5_target to;
  DL_TRY(dl_h5_target_make(file, s->x, H5T_STD_U8LE, 4, (int64_t[]){s->all, CHANNELS, SIDE, SIDE}, true, &to));
  buffers b = {.records = dl_calloc((size_t)to.chunk_rows, RECORD_BYTES),
               .images = dl_calloc((size_t)to.chunk_rows, IMAGE_BYTES),
               .labels = dl_calloc((size_t)s->all, 1)};
  dl_status status = b.records && b.images && b.labels ? copy_images(s, &to, &b) : DL_ERR_NOMEM;
  if (status == DL_OK) status = write_labels(s, file, b.labels);
  free(b.records);
  free(b.images);
  free(b.labels);
  status = dl_h5_target_close(&to, status);
  return status;
}

/* ---- names ---- */

static dl_status write_names(hid_t file) {
  static const char *const names[CLASSES] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                             "dog",      "frog",       "horse", "ship", "truck"};
  return dl_h5_write_texts(file, "class_names", names, CLASSES);
}

dl_status dl_import_cifar10(const dl_import_job *job) {
  const char *const *inputs = job->inputs;
  split train = {.folder = inputs[0], .x = "train/x", .y = "train/y"};
  split test = {.folder = inputs[0], .x = "test/x", .y = "test/y", .test = true};
  if (!dl_path_is_dir(inputs[0]))
    return dl_fail_at(DL_ERR_DATA, inputs[0], 0, 0,
                      dl_path_exists(inputs[0]) ? "is a file where the folder of data_batch_1.bin is wanted"
                                                : "cannot be opened: there is no such folder");
  if (strlen(inputs[0]) > PATH_MAX - 64) return dl_fail_at(DL_ERR_DATA, inputs[0], 0, 0, "its name is too long");
  DL_TRY(find_files(&train));
  DL_TRY(find_files(&test));
  DL_TRY(copy_split(&train, (hid_t)job->file));
  DL_TRY(copy_split(&test, (hid_t)job->file));
  return write_names((hid_t)job->file);
}

/* import_images.c - pictures in folders, decoded by all members of a team, written by one.
 *
 * Every member lists the folders, in byte order of their names (the lists are held against each other); a block of
 * chunks is cut into runs, one a member, whose pictures come together on the first one. So the file is the same at any
 * number of members. The pictures of train lie in an order that is random by the seed: a chunk is no run of one class.
 */
#include "data/import_images.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "data/hdf5_output.h"
#include "data/image_file.h"
#include "data/split_rule.h"
#include "data/text_table.h"

enum { MOST_CLASSES = 65536, MOST_SIDE = 8192, MOST_CLASS_NAME = 255 };
#define MOST_PICTURES (1LL << 30)
#define BLOCK_BYTES (8LL << 20)
#define CHUNK_BYTES (256LL << 10)

const dl_option dl_images_rows[DL_IMAGES_N_ROWS] = {
    {.key = "size",
     .type = DL_OPTION_STRING,
     .offset = offsetof(dl_images_options, size),
     .fallback = "",
     .help = "height x width that all pictures are brought to (32x32); without it all must be as large as the first"},
    {.key = "color",
     .type = DL_OPTION_CHOICE,
     .offset = offsetof(dl_images_options, color),
     .fallback = "rgb",
     .choices = "rgb|grey",
     .help = "three channels or one"},
    {.key = "test-fraction",
     .type = DL_OPTION_REAL,
     .offset = offsetof(dl_images_options, test_fraction),
     .max = 0.9,
     .fallback = "0",
     .help = "share of the pictures, at random by the seed and of each class alike, that become the test split"},
    {.key = "valid-fraction",
     .type = DL_OPTION_REAL,
     .offset = offsetof(dl_images_options, valid_fraction),
     .max = 0.9,
     .fallback = "0",
     .help = "the same for the validation split"},
    {.key = "seed",
     .type = DL_OPTION_INT,
     .offset = offsetof(dl_images_options, seed),
     .max = 9e15,
     .fallback = "1",
     .help = "of the random split and of the order of train"},
};

/* A picture: where it is, relative to the folder. */
typedef struct entry {
  char *path;
  int class;
  int split;
} entry;

typedef struct gallery {
  const dl_import_job *job;
  const char *folder;
  entry *entries;
  int64_t n, most;
  dl_text_table *classes; /* in the order in which they were met */
  int code[MOST_CLASSES]; /* in byte order */
  int64_t size[DL_SPLITS];
  int height, width, channels;
} gallery;

/* ---- listing ---- */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

typedef struct names {
  char **name;
  int64_t n;
} names;

static void clear_names(names *list) {
  for (int64_t i = 0; i < list->n; i++) free(list->name[i]);
  free(list->name);
  *list = (names){NULL, 0};
}

/* What a folder holds, hidden files left out, sorted. */
static dl_status list_folder(const char *path, names *out) {
  *out = (names){NULL, 0};
  DIR *folder = opendir(path);
  if (!folder) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  dl_status status = DL_OK;
  for (struct dirent *e; status == DL_OK && (e = readdir(folder));) {
    if (e->d_name[0] == '.') continue;
    if ((out->n & (out->n - 1)) == 0) {
      char **more = dl_reallocarray(out->name, out->n ? 2 * (size_t)out->n : 1, sizeof *more);
      if (!more) status = DL_ERR_NOMEM;
      if (more) out->name = more;
    }
    if (status == DL_OK && !(out->name[out->n++] = dl_strdup(e->d_name))) status = DL_ERR_NOMEM;
  }
  closedir(folder);
  if (status != DL_OK) clear_names(out);
  if (out->n) qsort(out->name, (size_t)out->n, sizeof *out->name, by_name);
  return status;
}

static bool is_folder(const char *above, const char *name) {
  char path[PATH_MAX];
  return snprintf(path, sizeof path, "%s/%s", above, name) < (int)sizeof path && dl_path_is_dir(path);
}

static dl_status add_entry(gallery *g, const char *under, const char *class, const char *name, int split) {
  if (g->n == g->most) {
    const int64_t most = g->most ? 2 * g->most : 1024;
    entry *more = g->n < MOST_PICTURES ? dl_reallocarray(g->entries, (size_t)most, sizeof *more) : NULL;
    if (!more) return DL_ERR_NOMEM;
    g->entries = more;
    g->most = most;
  }
  entry *e = &g->entries[g->n];
  *e = (entry){.path = dl_asprintf("%s%s/%s", under, class, name), .split = split};
  if (!e->path) return DL_ERR_NOMEM;
  g->n++;
  return dl_text_table_add(g->classes, class, strlen(class), &e->class);
}

/* The pictures of one class: DIR/under/class. */
static dl_status list_class(gallery *g, const char *under, const char *class, int split) {
  char path[PATH_MAX];
  names files;
  if (snprintf(path, sizeof path, "%s/%s%s", g->folder, under, class) >= (int)sizeof path)
    return dl_fail_at(DL_ERR_DATA, g->folder, 0, 0, "the name of '%.100s' is too long", class);
  if (strlen(class) > MOST_CLASS_NAME || dl_text_table_size(g->classes) >= MOST_CLASSES)
    return dl_fail_at(DL_ERR_DATA, g->folder, 0, 0, "more than 65,536 classes, or the name of one is too long");
  DL_TRY(list_folder(path, &files));
  dl_status status = DL_OK;
  const int64_t before = g->n;
  for (int64_t i = 0; i < files.n && status == DL_OK; i++)
    if (dl_picture_is_named(files.name[i])) status = add_entry(g, under, class, files.name[i], split);
  clear_names(&files);
  if (status == DL_OK && g->n == before)
    status = dl_fail_at(DL_ERR_DATA, path, 0, 0, "holds no .png, .jpg or .jpeg file: a folder is a class");
  return status;
}

static dl_status list_split(gallery *g, const char *under, int split) {
  char path[PATH_MAX];
  names classes;
  snprintf(path, sizeof path, "%s/%s", g->folder, under);
  DL_TRY(list_folder(path, &classes));
  dl_status status = DL_OK;
  for (int64_t i = 0; i < classes.n && status == DL_OK; i++)
    if (is_folder(path, classes.name[i])) status = list_class(g, under, classes.name[i], split);
  clear_names(&classes);
  return status;
}

static dl_status list_all(gallery *g) {
  const dl_images_options *o = g->job->options;
  if (!dl_path_is_dir(g->folder))
    return dl_fail_at(
        DL_ERR_DATA, g->folder, 0, 0,
        dl_path_exists(g->folder) ? "is a file where a folder of folders is wanted" : "there is no such folder");
  const bool train = is_folder(g->folder, "train"), test = is_folder(g->folder, "test");
  const char *valid = is_folder(g->folder, "valid") ? "valid/" : is_folder(g->folder, "val") ? "val/" : NULL;
  if (!(train && (test || valid))) return list_split(g, "", DL_SPLIT_TRAIN);
  if (o->test_fraction > 0 || o->valid_fraction > 0)
    return dl_fail(DL_ERR_USAGE,
                   "the folder has splits of its own (train and %s): no --test-fraction or --valid-fraction",
                   test ? "test" : "valid");
  DL_TRY(list_split(g, "train/", DL_SPLIT_TRAIN));
  if (valid) DL_TRY(list_split(g, valid, DL_SPLIT_VALID));
  return test ? list_split(g, "test/", DL_SPLIT_TEST) : DL_OK;
}

/* ---- classes and splits ---- */

static dl_status number_classes(gallery *g) {
  const int n = dl_text_table_size(g->classes);
  const char **sorted = dl_calloc((size_t)n, sizeof *sorted);
  if (!sorted) return DL_ERR_NOMEM;
  for (int i = 0; i < n; i++) sorted[i] = dl_text_table_text(g->classes, i);
  qsort(sorted, (size_t)n, sizeof *sorted, by_name);
  for (int i = 0; i < n; i++) g->code[dl_text_table_find(g->classes, sorted[i], strlen(sorted[i]))] = i;
  for (int64_t i = 0; i < g->n; i++) g->entries[i].class = g->code[g->entries[i].class];
  dl_status status = g->job->file >= 0 ? dl_h5_write_texts((hid_t)g->job->file, "class_names", sorted, n) : DL_OK;
  free(sorted);
  return status;
}

static dl_status cut_splits(gallery *g) {
  const dl_images_options *o = g->job->options;
  if (o->test_fraction + o->valid_fraction >= 1)
    return dl_fail(DL_ERR_USAGE, "--test-fraction and --valid-fraction leave nothing to train on");
  const int classes = dl_text_table_size(g->classes);
  int64_t *members = dl_calloc((size_t)classes, sizeof *members);
  dl_split_rule rule;
  if (!members) return DL_ERR_NOMEM;
  for (int64_t i = 0; i < g->n; i++) members[g->entries[i].class]++;
  dl_status status = dl_split_rule_new((uint64_t)o->seed, o->test_fraction, o->valid_fraction, classes, members, &rule);
  free(members);
  DL_TRY(status);
  for (int64_t i = 0; i < g->n; i++) {
    entry *e = &g->entries[i];
    if (e->split == DL_SPLIT_TRAIN) e->split = (int)dl_split_rule_next(&rule, e->class);
    g->size[e->split]++;
  }
  dl_split_rule_clear(&rule);
  return g->size[DL_SPLIT_TRAIN] ? DL_OK : dl_fail_at(DL_ERR_DATA, g->folder, 0, 0, "no picture is left to train on");
}

static int by_split(const void *a, const void *b) {
  const entry *x = a, *y = b;
  return x->split != y->split ? x->split - y->split : strcmp(x->path, y->path);
}

/* Splits one after another; train shuffled. */
static dl_status order_entries(gallery *g) {
  const dl_images_options *o = g->job->options;
  const int64_t n = g->size[DL_SPLIT_TRAIN];
  const dl_rng_key key = dl_rng_stream((uint64_t)o->seed, DL_RNG_SHUFFLE, 1);
  entry *sorted = dl_calloc((size_t)n, sizeof *sorted);
  if (!sorted) return DL_ERR_NOMEM;
  qsort(g->entries, (size_t)g->n, sizeof *g->entries, by_split);
  memcpy(sorted, g->entries, (size_t)n * sizeof *sorted);
  for (int64_t i = 0; i < n; i++) g->entries[dl_rng_permute(key, 0, (uint64_t)n, (uint64_t)i)] = sorted[i];
  free(sorted);
  return DL_OK;
}

static dl_status find_size(gallery *g) {
  const dl_images_options *o = g->job->options;
  char path[PATH_MAX];
  g->channels = o->color ? 1 : 3;
  if (o->size && *o->size) {
    char more;
    const int got = sscanf(o->size, "%6dx%6d%c", &g->height, &g->width, &more);
    if (got == 1 && !strchr(o->size, 'x'))
      g->width = g->height;
    else if (got != 2)
      g->height = 0;
    if (g->height >= 1 && g->height <= MOST_SIDE && g->width >= 1 && g->width <= MOST_SIDE) return DL_OK;
    return dl_fail(DL_ERR_USAGE, "--size: '%.40s' is no height x width from 1 to %d, such as 32x32", o->size,
                   MOST_SIDE);
  }
  dl_picture first;
  snprintf(path, sizeof path, "%s/%s", g->folder, g->entries[0].path);
  DL_TRY(dl_picture_read(path, &first));
  g->height = first.height;
  g->width = first.width;
  dl_picture_clear(&first);
  return DL_OK;
}

static dl_status look(gallery *g) {
  DL_TRY(dl_text_table_new(&g->classes));
  DL_TRY(list_all(g));
  if (!g->n) {
    dl_fail_at(DL_ERR_DATA, g->folder, 0, 0, "holds no folder of pictures");
    return dl_hint("wanted is DIR/CLASS/PICTURE.png, or DIR/train/CLASS/... and DIR/test/CLASS/...");
  }
  DL_TRY(number_classes(g));
  DL_TRY(cut_splits(g));
  DL_TRY(order_entries(g));
  return find_size(g);
}

/* What the members must have seen alike. */
typedef struct sight {
  uint64_t hash;
  int64_t n, height, width;
} sight;

static dl_status check_alike(const gallery *g) {
  dl_team *team = g->job->team;
  if (!team) return DL_OK;
  sight mine = {0xcbf29ce484222325u, g->n, g->height, g->width};
  for (int64_t i = 0; i < g->n; i++)
    for (const char *p = g->entries[i].path; *p; p++) mine.hash = (mine.hash ^ (unsigned char)*p) * 0x100000001b3u;
  sight first = mine;
  DL_TRY(dl_team_broadcast(team, &first, sizeof first, 0));
  const bool same =
      first.hash == mine.hash && first.n == mine.n && first.height == mine.height && first.width == mine.width;
  return dl_team_agree(team,
                       same ? DL_OK : dl_fail_at(DL_ERR_DATA, g->folder, 0, 0, "not all members see the same files"));
}

/* ---- pictures ---- */

static dl_status read_one(const gallery *g, const entry *e, unsigned char *out) {
  char path[PATH_MAX];
  const dl_images_options *o = g->job->options;
  dl_picture picture;
  if (snprintf(path, sizeof path, "%s/%s", g->folder, e->path) >= (int)sizeof path)
    return dl_fail_at(DL_ERR_DATA, g->folder, 0, 0, "the name of a picture is too long");
  DL_TRY(dl_picture_read(path, &picture));
  dl_status status = DL_OK;
  if (!(o->size && *o->size) && (picture.height != g->height || picture.width != g->width)) {
    dl_fail_at(DL_ERR_DATA, path, 0, 0, "is of %d x %d pixels, but the first picture of %d x %d", picture.height,
               picture.width, g->height, g->width);
    status = dl_hint("bring all to one size: --size %dx%d", g->height, g->width);
  }
  if (status == DL_OK) status = dl_picture_fit(&picture, g->height, g->width, g->channels, out);
  dl_picture_clear(&picture);
  return status;
}

/* Entries [first, first + rows): each member its run, together on the first one, in `all`. */
static dl_status read_block(const gallery *g, int64_t first, int64_t rows, unsigned char *mine, unsigned char *all) {
  dl_team *team = g->job->team;
  const int64_t bytes = (int64_t)g->channels * g->height * g->width;
  const int size = team ? team->size : 1, rank = team ? team->rank : 0;
  const int64_t begin = rows * rank / size, end = rows * (rank + 1) / size;
  dl_status status = DL_OK;
  for (int64_t i = begin; i < end && status == DL_OK; i++)
    status = read_one(g, &g->entries[first + i], (team ? mine : all) + (i - begin) * bytes);
  if (!team) return status;
  DL_TRY(dl_team_agree(team, status));
  size_t *counts = dl_calloc((size_t)size, sizeof *counts);
  for (int r = 0; counts && r < size; r++) counts[r] = (size_t)((rows * (r + 1) / size - rows * r / size) * bytes);
  DL_TRY(dl_team_agree(team, counts ? DL_OK : DL_ERR_NOMEM));
  status = team->ops->gather(team, mine, counts, all, 0);
  free(counts);
  return status;
}

typedef struct split_sets {
  dl_h5_target x, y;
} split_sets;

static dl_status make_sets(const gallery *g, int split, split_sets *out) {
  static const char *const x_names[] = {"train/x", "valid/x", "test/x"}, *const y_names[] = {"train/y", "valid/y",
                                                                                             "test/y"};
  const int64_t rows = g->size[split];
  const int64_t rgb[] = {rows, 3, g->height, g->width}, grey[] = {rows, g->height, g->width};
  const hid_t label = dl_text_table_size(g->classes) <= 256 ? H5T_STD_U8LE : H5T_STD_U16LE;
  if (g->job->file < 0) return DL_OK;
  DL_TRY(dl_h5_target_make((hid_t)g->job->file, x_names[split], H5T_STD_U8LE, g->channels == 3 ? 4 : 3,
                           g->channels == 3 ? rgb : grey, true, &out->x));
  return dl_h5_target_make((hid_t)g->job->file, y_names[split], label, 1, &rows, true, &out->y);
}

static dl_status write_names_and_labels(const gallery *g, int split, int64_t first, const split_sets *sets) {
  static const char *const names_of[] = {"train/files", "valid/files", "test/files"};
  const int64_t rows = g->size[split];
  if (g->job->file < 0) return DL_OK;
  const char **paths = dl_calloc((size_t)rows, sizeof *paths);
  int32_t *labels = dl_calloc((size_t)rows, sizeof *labels);
  dl_status status = paths && labels ? DL_OK : DL_ERR_NOMEM;
  for (int64_t i = 0; i < rows && status == DL_OK; i++) {
    paths[i] = g->entries[first + i].path;
    labels[i] = g->entries[first + i].class;
  }
  if (status == DL_OK) status = dl_h5_target_write(&sets->y, 0, rows, H5T_NATIVE_INT32, labels);
  if (status == DL_OK) status = dl_h5_write_texts((hid_t)g->job->file, names_of[split], paths, rows);
  free(paths);
  free(labels);
  return status;
}

static dl_status end_sets(const gallery *g, int split, int64_t first, split_sets *sets) {
  dl_status status = write_names_and_labels(g, split, first, sets);
  status = dl_h5_target_close(&sets->x, status);
  return dl_h5_target_close(&sets->y, status);
}

static dl_status agree(const gallery *g, dl_status mine) {
  return g->job->team ? dl_team_agree(g->job->team, mine) : mine;
}

static dl_status copy_split(gallery *g, int split, int64_t first) {
  const int64_t rows = g->size[split], bytes = (int64_t)g->channels * g->height * g->width;
  split_sets sets = {{.id = -1}, {.id = -1}};
  if (!rows) return DL_OK;
  dl_status status = agree(g, make_sets(g, split, &sets));
  int64_t block = (CHUNK_BYTES + bytes - 1) / bytes; /* rows of a chunk; equal on all members */
  if (block * bytes < BLOCK_BYTES) block *= BLOCK_BYTES / (block * bytes);
  if (block > rows) block = rows;
  const bool writes = g->job->file >= 0;
  unsigned char *mine = NULL, *all = NULL;
  if (status == DL_OK) {
    mine = dl_calloc((size_t)block, (size_t)bytes);
    all = dl_calloc((size_t)(writes ? block : 1), (size_t)bytes);
    status = agree(g, mine && all ? DL_OK : DL_ERR_NOMEM);
  }
  for (int64_t at = 0; at < rows && status == DL_OK; at += block) {
    const int64_t n = rows - at < block ? rows - at : block;
    status = read_block(g, first + at, n, mine, all);
    if (status == DL_OK) status = agree(g, writes ? dl_h5_target_write(&sets.x, at, n, H5T_STD_U8LE, all) : DL_OK);
    if (status == DL_OK) dl_import_progress(g->job, "pictures", first + at + n, g->n);
  }
  if (status == DL_OK) status = agree(g, end_sets(g, split, first, &sets));
  dl_h5_target_close(&sets.x, status); /* nothing is left of them but after a failure */
  dl_h5_target_close(&sets.y, status);
  free(mine);
  free(all);
  return status;
}

static dl_status copy_splits(gallery *g) {
  int64_t first = 0;
  for (int s = 0; s < DL_SPLITS; s++) {
    DL_TRY(copy_split(g, s, first));
    first += g->size[s];
  }
  return DL_OK;
}

dl_status dl_import_images(const dl_import_job *job) {
  gallery *g = dl_calloc(1, sizeof *g);
  dl_status status = g ? DL_OK : DL_ERR_NOMEM;
  if (g) {
    g->job = job;
    g->folder = job->inputs[0];
    status = look(g);
  }
  if (job->team) status = dl_team_agree(job->team, status);
  if (!g) return status;
  if (status == DL_OK) status = check_alike(g);
  if (status == DL_OK) status = copy_splits(g);
  for (int64_t i = 0; i < g->n; i++) free(g->entries[i].path);
  free(g->entries);
  dl_text_table_destroy(&g->classes);
  free(g);
  return status;
}

/* data_set.h - what a dl_data is made of (floor: data, private).
 *
 * A plan is what the leader of a node finds in the files before it reads them: plain numbers, sent to all members. It
 * lays out one block of memory per node that holds everything which grows with the data:
 *
 *   facts | pieces | file names | class names | x train | y train | w train | bad train | x valid | ... | orders
 *
 * The block is shared where it can be, and then written by the leader alone. Where x is streamed it stays in the files
 * (data/data_stream.h) and the block holds the rest.
 */
#ifndef DL_DATA_DATA_SET_H
#define DL_DATA_DATA_SET_H

#include "core/rng.h"
#include "data/augment.h"
#include "data/convert.h"
#include "data/data.h"

#define DL_MAX_CLASSES (1 << 20)
#define DL_DATA_FULL_MOST (4LL << 30) /* bytes of x, as kept in memory, up to which data.shuffle: auto is full */

typedef struct dl_stream dl_stream;

/* Samples of one split, as they lie in the files or arrays. */
typedef struct dl_part {
  int64_t samples;       /* 0: absent */
  const void *x;         /* (samples, row_values) of the plan's element type; NULL: streamed */
  const float *y;        /* (samples, y_size) or NULL */
  const int32_t *labels; /* (samples), of segmentation (samples, y_size) */
  const float *weight;
} dl_part;

/* What the block holds for a split; offsets are bytes from its start, 0: nothing. */
typedef struct dl_part_plan {
  int64_t samples, x, y, labels, weight, bad; /* bad: a bool a sample, where damage is skipped */
} dl_part_plan;

typedef struct dl_data_plan {
  dl_data_shape shape; /* classes: 0 until the labels are read */
  int32_t element;     /* dl_element */
  int32_t integer;     /* whether x is of an integer type in the files */
  int32_t shuffle;     /* dl_shuffle, never AUTO */
  int32_t streamed;    /* whether x stays in the files */
  int32_t y_is_x;      /* y is x as the network reads it; it is not kept beside it */
  int32_t y_planes;    /* images of x's height and width that y is made of: augmented with it; 0: it is no image; -1: it
                          may    be one, and lies otherwise */
  int64_t row_values;  /* of x, as it is kept: x_size, and for language_model the token after the last one */
  double unit_max;
  dl_part_plan part[DL_SPLITS];
  int64_t samples[DL_SPLITS]; /* of the splits as they are used: valid may be cut off train */
  int64_t order[DL_SPLITS];   /* offsets of int64 numbers of a part's samples; 0: all of them in file order */
  int64_t n_pieces, pieces, file_names, file_names_bytes;
  int64_t n_class_names, class_names, class_names_bytes;
  int64_t bytes; /* of the block */
} dl_data_plan;

/* A run of rows that one file gives to a part. */
typedef struct dl_piece {
  int32_t split, file;
  int64_t first, rows; /* first: in the part */
  int64_t chunk_rows;  /* of x */
  int64_t file_bytes;
  int64_t file_name; /* offset in file_names: the file's path, 0, the name of y, 0, the name of x, 0 */
} dl_piece;

/* What is known once all has been read; the block begins with it. */
typedef struct dl_facts {
  int64_t classes;
  uint64_t checksum;          /* of what was read, where there are several nodes to compare */
  int64_t samples[DL_SPLITS]; /* of the splits, without those whose chunks are damaged */
} dl_facts;

struct dl_data {
  dl_team *team;
  dl_data_plan plan;
  dl_shared shared; /* base NULL: not shared */
  void *block;      /* the node's, or own_block, or NULL (arrays) */
  void *own_block;
  dl_part part[DL_SPLITS];
  const int64_t *order[DL_SPLITS]; /* into the part below; NULL: all in file order */
  int source_part[DL_SPLITS];      /* the part that a split's samples are in */
  dl_norm norm;
  dl_augment *augment; /* NULL: none, or not opened to train */
  const dl_piece *pieces;
  bool *bad[DL_SPLITS];        /* of parts; NULL: none */
  dl_stream *stream;           /* NULL: all is in memory and the order is not lanes */
  int64_t lanes_batch, shards; /* of lanes; 0 until dl_data_set_order */
  int shuffle, task, layout;
  uint64_t seed;
  bool ignores; /* loss.ignore_index: */
  int64_t ignored;
  dl_rng_key order_key; /* of the epochs' permutations */
  const char **class_names;
};

/* data_order.c: the order of the samples. ----------------------------------------------------------------------------
 */

/* floor(fraction * samples). */
int64_t dl_valid_samples(double fraction, int64_t samples);
/* Cuts `n_valid` of `samples` off: their numbers in file order into `valid`, the others' into `train`. With labels
 * (below `classes`) each class gives its share, by largest remainder. */
dl_status dl_valid_cut(uint64_t seed, int64_t samples, int64_t n_valid, const int32_t *labels, int64_t classes,
                       int64_t *train, int64_t *valid);

/* The same for tokens: the last `n_valid` are valid's. */
void dl_valid_tail(int64_t samples, int64_t n_valid, int64_t *train, int64_t *valid);

/* data_norm.c ---------------------------------------------------------------------------------------------------------
 */

/* What `normalize` is for this x, never AUTO. */
int dl_norm_kind(int normalize, const dl_data_plan *plan);
/* Computes the figures on member 0 and sends them to all. Collective. */
dl_status dl_norm_make(dl_data *data, const dl_config *config);
/* Row `sample` of a part, raw, as float32 values: x_size of them. */
dl_status dl_part_raw_row(const dl_data *data, int part, int64_t sample, float *out);

/* data_batch.c --------------------------------------------------------------------------------------------------------
 */

/* Rows of a part that lie one after another: found for one sample, used for those that follow. */
typedef struct dl_row_run {
  int64_t first, n; /* rows of the part; n 0: none yet */
  const char *x;
} dl_row_run;
/* Makes `run` hold `sample`. `next`: a row that will be wanted soon, -1: the following ones. */
dl_status dl_part_find(const dl_data *data, int part, int64_t sample, int64_t next, dl_row_run *run);

/* data_set.c ----------------------------------------------------------------------------------------------------------
 */

/* Whether so many values of y a sample could be one or more images of x's size. */
bool dl_y_may_be_image(const dl_data_shape *x, int64_t values);

/* Binds splits to parts, makes class names, the norm and, for a data set that is opened to train, the augmentations:
 * what files and arrays have in common. Collective. */
/* A piece's file, and its names of y and x there. */
const char *dl_piece_file(const dl_data *data, const dl_piece *piece);
const char *dl_piece_y(const dl_data *data, const dl_piece *piece);
const char *dl_piece_x(const dl_data *data, const dl_piece *piece);

dl_status dl_data_finish(dl_data *data, const dl_config *config, bool trains);

#endif

/* h5.c - makes and reads small HDF5 files for the tests of the command line.
 *
 *   cli_h5 make KIND FILE.h5     a data set of 4 features and 3 classes: y = the largest of the first three features
 *       good                     as it should be
 *       nan                      one x of train is not a number
 *       label                    one label of train is 10
 *       no_y                     train/y is missing
 *       no_test                  there is no test split
 *       short_y                  train/y has fewer samples than train/x
 *       one_hot                  labels as one-hot rows of 5 columns, of which three come
 *       line                     regression: y = 2 x0 - x1 + 0.5
 *       part                     good, but 400 samples of train and 100 of test
 *       ignored                  part, and behind it samples that have the label -100
 *       twice                    part, and the first 200 samples once more
 *       weighted                 part, and behind it 200 with wrong labels; train/weight: 200 twos, 200 ones, 200 zeros
 *       maps                     images of 8 x 8 in three shades, whose pixels' shades are the labels; 255 is none
 *       half                     the same with labels of every other row and column
 *       odd                      the same as 4 x 16 maps
 *       void                     maps, and no pixel of the test split has a label
 *   cli_h5 hurt FILE.h5 NAME ROW flips a bit in the middle of the chunk that holds this row
 *   cli_h5 print FILE.h5 NAME    the values of a data set, a line a sample
 */
#include <hdf5.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEATURES 4
#define MOST 600

typedef struct samples {
  int n;
  float x[MOST][FEATURES], value[MOST];
  int32_t label[MOST];
} samples;

static uint32_t next_random(uint32_t *state) { return (*state = *state * 1664525u + 1013904223u) >> 8; }

static void make_samples(samples *s, int n, uint32_t seed) {
  s->n = n;
  for (int i = 0; i < n; i++) {
    for (int f = 0; f < FEATURES; f++) s->x[i][f] = (float)next_random(&seed) / (float)(1u << 24);
    s->value[i] = 2 * s->x[i][0] - s->x[i][1] + 0.5f;
    s->label[i] = 0;
    for (int c = 1; c < 3; c++)
      if (s->x[i][c] > s->x[i][s->label[i]]) s->label[i] = c;
  }
}

/* The kinds that must teach the same as another one. */
static void arrange(const char *kind, samples *train, samples *test) {
  const int ignored = !strcmp(kind, "ignored");
  if (!strcmp(kind, "part")) {
    train->n = 400;
    test->n = 100;
  }
  for (int i = 400; i < MOST; i++) {
    if (ignored) train->label[i] = -100;
    if (!strcmp(kind, "weighted")) train->label[i] = (train->label[i] + 1) % 3;
    if (strcmp(kind, "twice")) continue;
    memcpy(train->x[i], train->x[i - 400], sizeof train->x[i]);
    train->label[i] = train->label[i - 400];
  }
  for (int i = 100; ignored && i < test->n; i++) test->label[i] = -100;
}

static int write_set(hid_t group, const char *name, hid_t type, int dims, const hsize_t *dim, const void *values) {
  hid_t space = H5Screate_simple(dims, dim, NULL);
  hid_t set = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  int bad = set < 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0;
  H5Dclose(set);
  H5Sclose(space);
  return bad;
}

static int write_one_hot(hid_t group, const samples *s) {
  static float hot[MOST][5];
  memset(hot, 0, sizeof hot);
  for (int i = 0; i < s->n; i++) hot[i][s->label[i]] = 1;
  return write_set(group, "y", H5T_NATIVE_FLOAT, 2, (hsize_t[]){(hsize_t)s->n, 5}, hot);
}

static int write_split(hid_t file, const char *split, const samples *s, const char *kind) {
  hid_t group = H5Gcreate2(file, split, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  hsize_t x_dim[] = {(hsize_t)s->n, FEATURES}, y_dim[] = {(hsize_t)s->n};
  int bad = write_set(group, "x", H5T_NATIVE_FLOAT, 2, x_dim, s->x), train = !strcmp(split, "train");
  if (train && !strcmp(kind, "short_y")) y_dim[0] -= 7;
  if (!strcmp(kind, "line"))
    bad |= write_set(group, "y", H5T_NATIVE_FLOAT, 1, y_dim, s->value);
  else if (!strcmp(kind, "one_hot"))
    bad |= write_one_hot(group, s);
  else if (!train || strcmp(kind, "no_y"))
    bad |= write_set(group, "y", H5T_NATIVE_INT32, 1, y_dim, s->label);
  float weight[MOST];
  for (int i = 0; i < MOST; i++) weight[i] = (float)(2 - i / 200);
  if (train && !strcmp(kind, "weighted")) bad |= write_set(group, "weight", H5T_NATIVE_FLOAT, 1, y_dim, weight);
  H5Gclose(group);
  return bad;
}

enum { SIDE = 8, PIXELS = SIDE * SIDE };

/* Stripes of three shades under noise; a pixel of each image has no label. */
static int write_maps(hid_t file, const char *split, int n, uint32_t seed, const char *kind) {
  static float x[MOST * PIXELS];
  static uint8_t y[MOST * PIXELS];
  const int half = !strcmp(kind, "half"), none = !strcmp(kind, "void") && !strcmp(split, "test"),
            side = half ? SIDE / 2 : SIDE;
  for (int i = 0; i < n; i++) {
    const uint32_t begin = next_random(&seed) % 9, across = next_random(&seed) % 2;
    for (uint32_t p = 0; p < PIXELS; p++) {
      const uint32_t shade = (begin + (across ? p % SIDE : p / SIDE)) / 3 % 3, row = p / SIDE, column = p % SIDE;
      x[i * PIXELS + (int)p] = (float)shade + 0.9f * ((float)next_random(&seed) / (float)(1u << 24) - 0.5f);
      if (!half) y[i * PIXELS + (int)p] = (uint8_t)shade;
      if (half && row % 2 == 0 && column % 2 == 0)
        y[i * PIXELS / 4 + (int)(row / 2 * SIDE / 2 + column / 2)] = (uint8_t)shade;
    }
    if (!half) y[i * PIXELS + i % PIXELS] = 255;
  }
  if (none) memset(y, 255, sizeof y);
  hid_t group = H5Gcreate2(file, split, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  hsize_t x_dim[] = {(hsize_t)n, SIDE, SIDE}, y_dim[] = {(hsize_t)n, (hsize_t)side, (hsize_t)side};
  if (!strcmp(kind, "odd")) y_dim[1] = SIDE / 2, y_dim[2] = SIDE * 2;
  const int bad =
      write_set(group, "x", H5T_NATIVE_FLOAT, 3, x_dim, x) | write_set(group, "y", H5T_NATIVE_UINT8, 3, y_dim, y);
  H5Gclose(group);
  return bad;
}

static int make_maps(const char *path, const char *kind) {
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (file < 0) return 1;
  const int bad = write_maps(file, "train", 300, 1, kind) | write_maps(file, "test", 60, 2, kind);
  return H5Fclose(file) < 0 || bad;
}

static int make(const char *kind, const char *path) {
  if (!strcmp(kind, "maps") || !strcmp(kind, "half") || !strcmp(kind, "void") || !strcmp(kind, "odd"))
    return make_maps(path, kind);
  static const char *const kinds[] = {"good", "nan",     "label", "no_y",     "short_y", "line",
                                      "part", "ignored", "twice", "weighted", "one_hot", "no_test"};
  static samples train, test;
  int known = 0;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) known |= !strcmp(kind, kinds[i]);
  hid_t file = known ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT) : -1;
  if (file < 0) return 1;
  make_samples(&train, MOST, 1);
  make_samples(&test, 150, 2);
  arrange(kind, &train, &test);
  if (!strcmp(kind, "nan")) train.x[417][2] = NAN;
  if (!strcmp(kind, "label")) train.label[333] = 10;
  int bad = write_split(file, "train", &train, kind);
  if (strcmp(kind, "no_test")) bad |= write_split(file, "test", &test, kind);
  return H5Fclose(file) < 0 || bad;
}

static int hurt(const char *path, const char *name, const char *row) {
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = file < 0 ? -1 : H5Dopen2(file, name, H5P_DEFAULT);
  hid_t made = set < 0 ? -1 : H5Dget_create_plist(set);
  hsize_t chunk[8], at[8] = {0}, bytes = 0;
  haddr_t address = HADDR_UNDEF;
  unsigned mask;
  if (made < 0 || H5Pget_chunk(made, 8, chunk) < 1) return 1;
  at[0] = strtoull(row, NULL, 10) / chunk[0] * chunk[0];
  if (H5Dget_chunk_info_by_coord(set, at, &mask, &address, &bytes) < 0 || address == HADDR_UNDEF) return 1;
  if (H5Pclose(made) < 0 || H5Dclose(set) < 0 || H5Fclose(file) < 0) return 1;
  FILE *raw = fopen(path, "r+b");
  if (!raw || fseek(raw, (long)(address + bytes / 2), SEEK_SET)) return 1;
  const int value = fgetc(raw);
  return fseek(raw, -1, SEEK_CUR) || fputc(value ^ 16, raw) == EOF || fclose(raw);
}

static int print(const char *path, const char *name) {
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = file < 0 ? -1 : H5Dopen2(file, name, H5P_DEFAULT);
  hsize_t dim[8] = {0}, width = 1;
  int dims = set < 0 ? -1 : H5Sget_simple_extent_ndims(H5Dget_space(set));
  if (dims < 1 || dims > 8) return 1;
  H5Sget_simple_extent_dims(H5Dget_space(set), dim, NULL);
  for (int d = 1; d < dims; d++) width *= dim[d];
  double *values = malloc((size_t)(dim[0] * width + 1) * sizeof *values);
  if (!values || H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) return 1;
  for (hsize_t i = 0; i < dim[0] * width; i++) printf("%.9g%c", values[i], (i + 1) % width ? ' ' : '\n');
  free(values);
  return H5Fclose(file) < 0;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "make")) return make(argv[2], argv[3]);
  if (argc == 4 && !strcmp(argv[1], "print")) return print(argv[2], argv[3]);
  if (argc == 5 && !strcmp(argv[1], "hurt")) return hurt(argv[2], argv[3], argv[4]);
  fprintf(stderr, "usage: cli_h5 make KIND FILE.h5 | hurt FILE.h5 NAME ROW | print FILE.h5 NAME\n");
  return 2;
}

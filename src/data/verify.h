/* verify.h - reading all of a data set file and saying what is wrong with it; cutting splits off (floor: data). */
#ifndef DL_DATA_VERIFY_H
#define DL_DATA_VERIFY_H

#include "core/status.h"

typedef enum dl_finding_kind {
  DL_FINDING_UNREADABLE, /* a chunk whose checksum is wrong, or that cannot be unpacked */
  DL_FINDING_NOT_FINITE, /* NaN or infinite */
  DL_FINDING_LABEL,      /* a label without a class name, a token without a text, a negative one */
  DL_FINDING_SHAPE,      /* rows or shapes that do not fit together */
  DL_FINDING_LEAK,       /* rows of one split that are in another one too */
  DL_FINDING_REPEATED,   /* rows that are there more than once in a split: no error */
} dl_finding_kind;
/* "unreadable" ... */
const char *dl_finding_name(dl_finding_kind kind);

typedef struct dl_finding {
  dl_finding_kind kind;
  char set[32];        /* "train/x" */
  int64_t chunk;       /* -1: does not matter, or there are none */
  int64_t first, last; /* rows from 0, both included; -1: does not matter */
  int64_t count;       /* values, labels or rows concerned */
  char text[160];
} dl_finding;

typedef struct dl_verified_set {
  char name[32], type[16], shape[96];
  int64_t rows, bytes, chunks; /* 0: it does not lie in chunks */
  bool checksums;              /* Fletcher32 */
} dl_verified_set;

typedef struct dl_verification {
  dl_verified_set sets[12];
  int n_sets;
  dl_finding *findings; /* at most 20 of a kind in a data set */
  int n;
  int64_t errors; /* findings, those left out counted, but for DL_FINDING_REPEATED */
} dl_verification;

/* Reads train, valid and test: x, y, weight and tokens. DL_OK also where there are findings; DL_ERR_DATA where the file
 * cannot be opened or holds none of them. Memory: a chunk, and 24 bytes a row. Not collective. */
dl_status dl_data_verify(const char *path, dl_verification *out);
void dl_verification_clear(dl_verification *verification);

/* Writes `output` with parts of `path`'s train as test and valid (of each class its share where y are whole numbers;
 * the tail for tokens); names and the splits that are there already are copied. Atomic; refused without `force` where
 * `output` is there. DL_ERR_USAGE where the file has the split already. Not collective. */
dl_status dl_data_split(const char *path, double test, double valid, uint64_t seed, const char *output, bool force);

#endif

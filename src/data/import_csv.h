/* import_csv.h - tables of numbers and categories as text (floor: data, private). */
#ifndef DL_DATA_IMPORT_CSV_H
#define DL_DATA_IMPORT_CSV_H

#include "data/import.h"

typedef struct dl_csv_options {
  const char *target, *split_file, *delimiter, *ignore, *categorical;
  int task, header, missing, categories, type, decimal;
  double test_fraction, valid_fraction;
  int64_t seed;
} dl_csv_options;
enum { DL_CSV_TASK_AUTO, DL_CSV_TASK_CLASSIFICATION, DL_CSV_TASK_BINARY }; /* then multilabel|regression */
enum { DL_CSV_HEADER_AUTO, DL_CSV_HEADER_YES, DL_CSV_HEADER_NO };
enum { DL_CSV_ERROR, DL_CSV_MEAN, DL_CSV_ZERO, DL_CSV_DROP };
enum { DL_CSV_ONEHOT, DL_CSV_INTEGERS };
enum { DL_CSV_FLOAT32, DL_CSV_FLOAT64, DL_CSV_UINT8 };

enum { DL_CSV_POINT, DL_CSV_COMMA };

enum { DL_CSV_N_ROWS = 14 };
extern const dl_option dl_csv_rows[DL_CSV_N_ROWS];

/* inputs: FILE [TEST_FILE]. See dl_format. */
dl_status dl_import_csv(const dl_import_job *job);

#endif

/* csv_reader.h - records of a text with delimiters, one at a time (floor: data, private).
 *
 * RFC 4180, and what is met beside it: lines end in LF, CR LF or CR; a byte order mark and blank lines are skipped;
 * blanks around a field go unless they are quoted; a quote inside of an unquoted field is a letter. Plain files and
 * gzip are read alike, in memory for one record.
 */
#ifndef DL_DATA_CSV_READER_H
#define DL_DATA_CSV_READER_H

#include "core/status.h"

#define DL_CSV_MOST_FIELDS (1 << 20)
#define DL_CSV_FIND_NO_COMMA '\1'      /* a delimiter that is to be found, and is no comma */
#define DL_CSV_MOST_RECORD (64u << 20) /* bytes */

typedef struct dl_csv_field {
  char *text; /* ends in a 0 byte; there is none in it */
  size_t bytes;
  int line, column; /* in the file, from 1; columns count bytes */
} dl_csv_field;

typedef struct dl_csv dl_csv;

/* `delimiter`: 0 = the one of , ; tab | that cuts the first records alike (else runs of blanks, else a comma); ' ' =
 * runs of blanks. Errors of all functions are DL_ERR_DATA with file, line and column. `path` is borrowed. */
dl_status dl_csv_open(const char *path, char delimiter, dl_csv **out);
/* Records of a text in memory, which is borrowed; `line` is that of its first byte, which begins a line. */
dl_status dl_csv_open_text(const char *path, int64_t line, const char *text, size_t bytes, char delimiter,
                           dl_csv **out);
void dl_csv_close(dl_csv **csv);

/* The next record; *n = 0 at the end of the file. The fields live until the next call. */
dl_status dl_csv_next(dl_csv *csv, dl_csv_field **fields, int *n);

/* The same file as bytes, in place of records: up to `most`, 0 at the end. The lines of errors are not those of the
 * file. */
dl_status dl_csv_read(dl_csv *csv, char *out, size_t most, size_t *got);
/* Of `n` bytes that begin with a record, those up to the end of the last record that ends in a line end; 0: none. */
size_t dl_csv_cut(const dl_csv *csv, const char *text, size_t n);
/* Line ends in whole records. */
int64_t dl_csv_lines(const char *text, size_t n);

char dl_csv_delimiter(const dl_csv *csv);
/* Of the file as it lies on the disk: bytes read so far, and in all. */
int64_t dl_csv_position(const dl_csv *csv);
int64_t dl_csv_size(const dl_csv *csv);

/* A decimal number as of C's strtod in the C locale, correctly rounded; true where `text` is one and nothing else. */
bool dl_csv_number(const char *text, size_t bytes, double *out);

#endif

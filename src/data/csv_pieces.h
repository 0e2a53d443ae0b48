/* csv_pieces.h - a text with delimiters in pieces of whole records, which the members of a team parse in turn (floor:
 * data, private).
 *
 * The first member reads the file, plain or packed, once; cuts it behind line ends that are outside of quotes; and
 * hands a piece to each member. What they make of them comes back to it in the order of the text. So nothing depends on
 * the number of members, nobody else needs to see the file, and memory is some MiB a member and a record.
 */
#ifndef DL_DATA_CSV_PIECES_H
#define DL_DATA_CSV_PIECES_H

#include "data/csv_reader.h"
#include "data/import.h"

typedef struct dl_csv_piece {
  const char *text;
  size_t bytes;
  int64_t line; /* of its first byte, in the file */
  int input;    /* of the job's */
  bool first;   /* of the input: it begins with the header, where there is one */
} dl_csv_piece;

/* Bytes that grow. */
typedef struct dl_csv_bytes {
  char *bytes;
  size_t used, size;
} dl_csv_bytes;
/* `n` more bytes at the end, to be written by the caller; NULL and a record on failure. */
void *dl_csv_bytes_add(dl_csv_bytes *to, size_t n);
dl_status dl_csv_bytes_put(dl_csv_bytes *to, const void *what, size_t n);

typedef struct dl_csv_pass {
  const char *phase; /* for progress */
  char delimiter;
  /* By any member: what a piece holds, as bytes. */
  dl_status (*parse)(const dl_csv_piece *piece, dl_csv_bytes *out, void *context);
  /* By the first member, for one piece after the other. */
  dl_status (*take)(const char *bytes, size_t n, int input, void *context);
  void *context;
} dl_csv_pass;

/* Reads the job's inputs. Collective over its team, where there is one; errors are agreed on, and are those that a
 * reader of one record after the other would meet first: DL_ERR_DATA with file and line. */
dl_status dl_csv_pieces_read(const dl_import_job *job, const dl_csv_pass *pass);

/* Bytes of a piece, but for long records: tests make it small. */
extern size_t dl_csv_piece_bytes;

#endif

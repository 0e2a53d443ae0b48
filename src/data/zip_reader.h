/* zip_reader.h - streams of bytes: a plain file, or a member of a ZIP archive as numpy writes it (floor: data,
 * private). */
#ifndef DL_DATA_ZIP_READER_H
#define DL_DATA_ZIP_READER_H

#include "core/status.h"

typedef struct dl_bytes dl_bytes;
/* `path` is borrowed. */
dl_status dl_bytes_open_file(const char *path, dl_bytes **out);
/* Exactly `n` bytes; DL_ERR_DATA where there are fewer, or the packed ones are damaged. `what` they belong to. */
dl_status dl_bytes_read(dl_bytes *bytes, void *out, size_t n, const char *what);
/* Fails where bytes are left, or the archive's CRC-32 is not that of what was read. */
dl_status dl_bytes_end(dl_bytes *bytes);
/* How many bytes there are in all, as far as the archive can be believed. */
int64_t dl_bytes_size(const dl_bytes *bytes);
void dl_bytes_close(dl_bytes **bytes);

/* The members of an archive: stored or deflated, ZIP64 too; encrypted ones and those in parts are refused. */
enum { DL_ZIP_MOST_NAME = 255, DL_ZIP_MOST_MEMBERS = 4096 };
typedef struct dl_zip_member {
  char name[DL_ZIP_MOST_NAME + 1];
  int64_t header_at, packed, size; /* bytes */
  uint32_t crc;
  int method;
} dl_zip_member;
typedef struct dl_zip {
  const char *path; /* borrowed */
  dl_zip_member *members;
  int n;
} dl_zip;
dl_status dl_zip_open(const char *path, dl_zip *out);
void dl_zip_close(dl_zip *zip);
dl_status dl_zip_member_open(const dl_zip *zip, const dl_zip_member *member, dl_bytes **out);

#endif

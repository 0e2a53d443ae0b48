/* zip_reader.c - the central directory at the archive's end says where members are (PKWARE's APPNOTE 6.3): records are
 * found from the end backwards, every number is held against the file's size, and what is unpacked against the size
 * and the CRC-32 that the directory gives.
 */
#include "data/zip_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/mem.h"

enum { END_RECORD = 22, END64_RECORD = 56, LOCATOR = 20, ENTRY = 46, LOCAL = 30, IN_BYTES = 1 << 16 };
enum { STORED = 0, DEFLATED = 8 };
#define MOST_DIRECTORY (16 << 20)

struct dl_bytes {
  const char *path;
  int descriptor;
  int64_t at, packed_end; /* in the file */
  int64_t size, done;     /* unpacked bytes */
  bool deflated, checked; /* whether there is a crc to hold it against */
  uint32_t crc, want_crc;
  z_stream inflater;
  unsigned char in[IN_BYTES];
};

/* ---- plain files ---- */

static dl_status open_plain(const char *path, int *descriptor, int64_t *size) {
  struct stat about;
  *descriptor = -1;
  if (stat(path, &about) != 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  if (!S_ISREG(about.st_mode))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0,
                      S_ISDIR(about.st_mode) ? "is a directory where a file is wanted" : "is not a regular file");
  *descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (*descriptor < 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  *size = about.st_size;
  return DL_OK;
}

static dl_status read_at(const char *path, int descriptor, int64_t offset, void *out, size_t n) {
  for (size_t got = 0; got < n;) {
    const ssize_t more = pread(descriptor, (char *)out + got, n - got, (off_t)(offset + (int64_t)got));
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be read: %s", strerror(errno));
    if (more == 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "is truncated");
    got += (size_t)more;
  }
  return DL_OK;
}

dl_status dl_bytes_open_file(const char *path, dl_bytes **out) {
  dl_bytes *b = *out = dl_calloc(1, sizeof *b);
  if (!b) return DL_ERR_NOMEM;
  b->path = path;
  const dl_status status = open_plain(path, &b->descriptor, &b->size);
  b->packed_end = b->size;
  if (status != DL_OK) dl_bytes_close(out);
  return status;
}

void dl_bytes_close(dl_bytes **bytes) {
  if (!*bytes) return;
  if ((*bytes)->descriptor >= 0) close((*bytes)->descriptor);
  if ((*bytes)->deflated) inflateEnd(&(*bytes)->inflater);
  free(*bytes);
  *bytes = NULL;
}

int64_t dl_bytes_size(const dl_bytes *bytes) { return bytes->size; }

static dl_status inflate_some(dl_bytes *b, unsigned char *out, size_t n, const char *what) {
  b->inflater.next_out = out;
  b->inflater.avail_out = (uInt)n;
  while (b->inflater.avail_out) {
    if (!b->inflater.avail_in && b->at < b->packed_end) {
      const int64_t left = b->packed_end - b->at;
      const size_t more = left < IN_BYTES ? (size_t)left : IN_BYTES;
      DL_TRY(read_at(b->path, b->descriptor, b->at, b->in, more));
      b->at += (int64_t)more;
      b->inflater.next_in = b->in;
      b->inflater.avail_in = (uInt)more;
    }
    const int code = inflate(&b->inflater, Z_NO_FLUSH);
    if (code == Z_STREAM_END && !b->inflater.avail_out) return DL_OK;
    if (code != Z_OK)
      return dl_fail_at(DL_ERR_DATA, b->path, 0, 0, "the packed values are %s in its %s",
                        code == Z_BUF_ERROR || code == Z_STREAM_END ? "truncated" : "damaged", what);
  }
  return DL_OK;
}

dl_status dl_bytes_read(dl_bytes *b, void *out, size_t n, const char *what) {
  if ((int64_t)n > b->size - b->done)
    return dl_fail_at(DL_ERR_DATA, b->path, 0, 0, "is truncated: it ends within its %s", what);
  for (size_t got = 0; got < n;) {
    const size_t part = n - got < (1u << 30) ? n - got : 1u << 30;
    unsigned char *to = (unsigned char *)out + got;
    if (b->deflated) {
      DL_TRY(inflate_some(b, to, part, what));
    } else {
      DL_TRY(read_at(b->path, b->descriptor, b->at, to, part));
      b->at += (int64_t)part;
    }
    if (b->checked) b->crc = (uint32_t)crc32(b->crc, to, (uInt)part);
    got += part;
  }
  b->done += (int64_t)n;
  return DL_OK;
}

dl_status dl_bytes_end(dl_bytes *b) {
  if (b->done < b->size)
    return dl_fail_at(DL_ERR_DATA, b->path, 0, 0, "has %lld bytes more than its header asks for",
                      (long long)(b->size - b->done));
  if (b->checked && b->crc != b->want_crc)
    return dl_fail_at(DL_ERR_DATA, b->path, 0, 0, "the archive is damaged: a member's CRC-32 is wrong");
  return DL_OK;
}

/* ---- archives ---- */

static uint64_t number(const unsigned char *p, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; i--) value = value << 8 | p[i];
  return value;
}

static dl_status fail_zip(const dl_zip *zip, const char *what) {
  return dl_fail_at(DL_ERR_DATA, zip->path, 0, 0, "damaged archive: %s", what);
}

typedef struct directory {
  int64_t at, bytes, members;
} directory;

/* Where the sizes do not fit 32 bits there is a second end record, and its address before the first one. */
static dl_status read_end64(const dl_zip *zip, int descriptor, int64_t end_at, int64_t size, directory *out) {
  unsigned char p[END64_RECORD];
  if (end_at < LOCATOR) return fail_zip(zip, "no ZIP64 record");
  DL_TRY(read_at(zip->path, descriptor, end_at - LOCATOR, p, LOCATOR));
  const uint64_t at = number(p + 8, 8);
  if (memcmp(p, "PK\6\7", 4) != 0 || at > (uint64_t)(size - END64_RECORD)) return fail_zip(zip, "no ZIP64 record");
  DL_TRY(read_at(zip->path, descriptor, (int64_t)at, p, END64_RECORD));
  if (memcmp(p, "PK\6\6", 4) != 0) return fail_zip(zip, "no ZIP64 record");
  const uint64_t members = number(p + 32, 8), bytes = number(p + 40, 8), first = number(p + 48, 8);
  if (members > DL_ZIP_MOST_MEMBERS || bytes > (uint64_t)size || first > (uint64_t)size)
    return fail_zip(zip, "its directory does not fit the file");
  *out = (directory){(int64_t)first, (int64_t)bytes, (int64_t)members};
  return DL_OK;
}

static dl_status find_directory(const dl_zip *zip, int descriptor, int64_t size, directory *out) {
  unsigned char tail[END_RECORD + 65535];
  const int64_t bytes = size < (int64_t)sizeof tail ? size : (int64_t)sizeof tail;
  DL_TRY(read_at(zip->path, descriptor, size - bytes, tail, (size_t)bytes));
  for (int64_t i = bytes - END_RECORD; i >= 0; i--) {
    const unsigned char *p = tail + i;
    if (memcmp(p, "PK\5\6", 4) != 0) continue;
    *out = (directory){(int64_t)number(p + 16, 4), (int64_t)number(p + 12, 4), (int64_t)number(p + 10, 2)};
    if (out->at == UINT32_MAX || out->bytes == UINT32_MAX || out->members == UINT16_MAX)
      return read_end64(zip, descriptor, size - bytes + i, size, out);
    return DL_OK;
  }
  return dl_fail_at(DL_ERR_DATA, zip->path, 0, 0, "is no whole ZIP archive: it has no directory at its end");
}

/* Sizes that do not fit 32 bits stand in the extra field number 1, in this order. */
static void read_extra(const unsigned char *p, size_t bytes, dl_zip_member *m) {
  for (size_t at = 0; at + 4 <= bytes;) {
    const unsigned id = (unsigned)number(p + at, 2);
    const size_t length = (size_t)number(p + at + 2, 2);
    at += 4;
    if (length > bytes - at) return;
    if (id == 1) {
      int64_t *const wide[] = {&m->size, &m->packed, &m->header_at};
      for (size_t i = 0, used = 0; i < 3; i++)
        if (*wide[i] == UINT32_MAX && used + 8 <= length) {
          *wide[i] = (int64_t)number(p + at + used, 8);
          used += 8;
        }
    }
    at += length;
  }
}

static dl_status read_entry(const dl_zip *zip, const unsigned char *p, int64_t left, int64_t size, int64_t *used,
                            dl_zip_member *m) {
  if (left < ENTRY || memcmp(p, "PK\1\2", 4) != 0) return fail_zip(zip, "its directory is cut off");
  const size_t name = (size_t)number(p + 28, 2), extra = (size_t)number(p + 30, 2), comment = (size_t)number(p + 32, 2);
  *used = ENTRY + (int64_t)(name + extra + comment);
  if (*used > left || name > DL_ZIP_MOST_NAME) return fail_zip(zip, "its directory is cut off");
  *m = (dl_zip_member){.method = (int)number(p + 10, 2),
                       .crc = (uint32_t)number(p + 16, 4),
                       .packed = (int64_t)number(p + 20, 4),
                       .size = (int64_t)number(p + 24, 4),
                       .header_at = (int64_t)number(p + 42, 4)};
  memcpy(m->name, p + ENTRY, name);
  for (size_t i = 0; i < name; i++)
    if ((unsigned char)m->name[i] < 32) m->name[i] = '?';
  read_extra(p + ENTRY + name, extra, m);
  if (number(p + 8, 2) & 1) return dl_fail_at(DL_ERR_DATA, zip->path, 0, 0, "'%s' is encrypted", m->name);
  if (m->method != STORED && m->method != DEFLATED)
    return dl_fail_at(DL_ERR_DATA, zip->path, 0, 0, "'%s' is packed by method %d; stored and deflated are read",
                      m->name, m->method);
  if (m->packed < 0 || m->header_at < 0 || m->header_at > size - LOCAL || m->packed > size - LOCAL - m->header_at ||
      m->size < 0 || (m->method == STORED ? m->size != m->packed : m->size / 1100 > m->packed))
    return fail_zip(zip, "a member's size does not fit the file");
  return DL_OK;
}

static dl_status read_directory(dl_zip *zip, int descriptor, int64_t size) {
  directory d;
  if (size < END_RECORD) return fail_zip(zip, "it is too short");
  DL_TRY(find_directory(zip, descriptor, size, &d));
  if (d.members > DL_ZIP_MOST_MEMBERS || d.bytes > MOST_DIRECTORY || d.at > size || d.bytes > size - d.at)
    return fail_zip(zip, "its directory does not fit the file");
  unsigned char *raw = dl_calloc((size_t)d.bytes, 1);
  zip->members = dl_calloc((size_t)d.members, sizeof *zip->members);
  dl_status status = raw && zip->members ? read_at(zip->path, descriptor, d.at, raw, (size_t)d.bytes) : DL_ERR_NOMEM;
  for (int64_t at = 0, used = 0; zip->n < d.members && status == DL_OK; at += used, zip->n++)
    status = read_entry(zip, raw + at, d.bytes - at, size, &used, &zip->members[zip->n]);
  free(raw);
  return status;
}

dl_status dl_zip_open(const char *path, dl_zip *out) {
  int descriptor;
  int64_t size = 0;
  *out = (dl_zip){.path = path};
  DL_TRY(open_plain(path, &descriptor, &size));
  const dl_status status = read_directory(out, descriptor, size);
  close(descriptor);
  if (status != DL_OK) dl_zip_close(out);
  return status;
}

void dl_zip_close(dl_zip *zip) {
  free(zip->members);
  zip->members = NULL;
  zip->n = 0;
}

dl_status dl_zip_member_open(const dl_zip *zip, const dl_zip_member *member, dl_bytes **out) {
  DL_TRY(dl_bytes_open_file(zip->path, out));
  dl_bytes *b = *out;
  unsigned char p[LOCAL];
  dl_status status = read_at(b->path, b->descriptor, member->header_at, p, LOCAL);
  b->at = member->header_at + LOCAL + (int64_t)(number(p + 26, 2) + number(p + 28, 2));
  if (status == DL_OK && (memcmp(p, "PK\3\4", 4) != 0 || member->packed > b->size - b->at))
    status = fail_zip(zip, "a member is not where the directory says");
  b->packed_end = b->at + member->packed;
  b->size = member->size;
  b->want_crc = member->crc;
  b->checked = true;
  b->crc = (uint32_t)crc32(0, NULL, 0);
  if (status == DL_OK && member->method == DEFLATED) {
    b->deflated = inflateInit2(&b->inflater, -MAX_WBITS) == Z_OK;
    if (!b->deflated) status = dl_fail(DL_ERR_NOMEM, "zlib cannot begin");
  }
  if (status != DL_OK) dl_bytes_close(out);
  return status;
}

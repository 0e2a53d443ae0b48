/* csv_reader.c - bytes to fields by a small machine: a field at a time, copied into the record's buffer in runs.
 *
 * Numbers take the short way where it is exact: at most 19 digits that fit 53 bits, times or divided by a power of ten
 * up to 10^22, are one correctly rounded operation on exact doubles (Clinger, "How to read floating point numbers
 * accurately", 1990). All others go to strtod.
 */
#include "data/csv_reader.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "core/mem.h"

enum { BUFFER_BYTES = 1 << 18, SNIFFED_RECORDS = 20 };
#define END (-1)

struct dl_csv {
  const char *path;
  gzFile stream; /* NULL: the buffer, which is borrowed, is all there is */
  int64_t file_bytes;
  char delimiter;
  const unsigned char *buffer;
  unsigned char *own; /* the buffer, where there is a stream */
  size_t at, end;
  int64_t before;     /* bytes before the buffer */
  int64_t line;       /* of the byte at `at`, from 1 */
  int64_t line_start; /* where it starts */
  char *text;         /* of the record */
  size_t used, size;
  dl_csv_field *fields;
  int n, most;
};

/* ---- bytes ---- */

static int to_int(int64_t value) { return value > INT32_MAX ? INT32_MAX : (int)value; }
static int64_t offset_of(const dl_csv *csv) { return csv->before + (int64_t)csv->at; }
static int column_of(const dl_csv *csv) { return to_int(offset_of(csv) - csv->line_start + 1); }

static dl_status fail_here(const dl_csv *csv, const char *what) {
  return dl_fail_at(DL_ERR_DATA, csv->path, to_int(csv->line), column_of(csv), "%s", what);
}

static dl_status fill(dl_csv *csv) {
  if (csv->at < csv->end || !csv->stream) return DL_OK;
  csv->before += (int64_t)csv->end;
  csv->at = csv->end = 0;
  int got = gzread(csv->stream, csv->own, BUFFER_BYTES), code = Z_OK;
  if (got > 0) {
    csv->end = (size_t)got;
    return DL_OK;
  }
  const char *message = gzerror(csv->stream, &code);
  if (code == Z_ERRNO) return dl_fail_at(DL_ERR_DATA, csv->path, 0, 0, "cannot be read: %s", strerror(errno));
  if (code != Z_OK && code != Z_STREAM_END)
    return dl_fail_at(DL_ERR_DATA, csv->path, to_int(csv->line), 0, "the gzip stream is %s",
                      code == Z_BUF_ERROR ? "truncated" : message);
  return DL_OK;
}

/* The byte at hand, END at the end of the file. */
static dl_status peek(dl_csv *csv, int *out) {
  DL_TRY(fill(csv));
  *out = csv->at < csv->end ? csv->buffer[csv->at] : END;
  return DL_OK;
}

static bool is_blank(const dl_csv *csv, int byte) { return byte == ' ' || (byte == '\t' && csv->delimiter != '\t'); }

static dl_status skip_blanks(dl_csv *csv) {
  int byte;
  DL_TRY(peek(csv, &byte));
  while (is_blank(csv, byte)) {
    csv->at++;
    DL_TRY(peek(csv, &byte));
  }
  return DL_OK;
}

static bool ends_line(int byte) { return byte == '\n' || byte == '\r'; }

/* Past LF, CR LF or CR. */
static dl_status pass_line_end(dl_csv *csv) {
  const int first = csv->buffer[csv->at++];
  int byte;
  if (first == '\r') {
    DL_TRY(peek(csv, &byte));
    if (byte == '\n') csv->at++;
  }
  csv->line++;
  csv->line_start = offset_of(csv);
  return DL_OK;
}

/* ---- fields ---- */

static dl_status append(dl_csv *csv, const unsigned char *bytes, size_t n) {
  if (n && memchr(bytes, 0, n)) return fail_here(csv, "there is a 0 byte: this is no text with delimiters");
  if (csv->used + n + 1 > csv->size) {
    if (csv->used + n + 1 > DL_CSV_MOST_RECORD) {
      fail_here(csv, "the record is longer than 64 MiB");
      return dl_hint("is a closing quote missing?");
    }
    size_t size = csv->size ? csv->size : 4096;
    while (size < csv->used + n + 1) size *= 2;
    char *text = dl_reallocarray(csv->text, size, 1);
    if (!text) return DL_ERR_NOMEM;
    csv->text = text;
    csv->size = size;
  }
  if (n) memcpy(csv->text + csv->used, bytes, n);
  csv->used += n;
  return DL_OK;
}

static dl_status read_plain(dl_csv *csv) {
  for (;;) {
    DL_TRY(fill(csv));
    const size_t first = csv->at;
    while (csv->at < csv->end) {
      const int byte = csv->buffer[csv->at];
      if (byte == csv->delimiter || ends_line(byte) || (csv->delimiter == ' ' && byte == '\t')) break;
      csv->at++;
    }
    DL_TRY(append(csv, csv->buffer + first, csv->at - first));
    if (csv->at < csv->end || first == csv->at) return DL_OK;
  }
}

/* From behind the opening quote to behind the closing one. */
static dl_status read_quoted(dl_csv *csv, const dl_csv_field *field) {
  for (int byte;;) {
    DL_TRY(peek(csv, &byte));
    if (byte == END) {
      dl_fail_at(DL_ERR_DATA, csv->path, field->line, field->column, "the quote that opens here is never closed");
      return dl_hint("a quote within quotes is written twice: \"\"");
    }
    if (ends_line(byte)) {
      DL_TRY(append(csv, (const unsigned char *)"\n", 1));
      DL_TRY(pass_line_end(csv));
    } else if (byte == '"') {
      csv->at++;
      DL_TRY(peek(csv, &byte));
      if (byte != '"') return DL_OK;
      DL_TRY(append(csv, csv->buffer + csv->at++, 1));
    } else {
      const size_t first = csv->at;
      while (csv->at < csv->end && csv->buffer[csv->at] != '"' && !ends_line(csv->buffer[csv->at])) csv->at++;
      DL_TRY(append(csv, csv->buffer + first, csv->at - first));
    }
  }
}

static dl_status new_field(dl_csv *csv) {
  if (csv->n == csv->most) {
    if (csv->n == DL_CSV_MOST_FIELDS) return fail_here(csv, "the record has more than 1,048,576 fields");
    const int most = csv->most ? 2 * csv->most : 64;
    dl_csv_field *fields = dl_reallocarray(csv->fields, (size_t)most, sizeof *fields);
    if (!fields) return DL_ERR_NOMEM;
    csv->fields = fields;
    csv->most = most;
  }
  csv->fields[csv->n++] = (dl_csv_field){.bytes = csv->used, .line = to_int(csv->line), .column = column_of(csv)};
  return DL_OK;
}

/* Ends before what ends it. `bytes` is the field's place in the record's text until the record is whole. */
static dl_status read_field(dl_csv *csv) {
  int byte;
  DL_TRY(skip_blanks(csv));
  DL_TRY(new_field(csv));
  dl_csv_field *field = &csv->fields[csv->n - 1];
  DL_TRY(peek(csv, &byte));
  if (byte == '"') {
    csv->at++;
    DL_TRY(read_quoted(csv, field));
    const int64_t after = offset_of(csv);
    DL_TRY(skip_blanks(csv));
    DL_TRY(peek(csv, &byte));
    if (byte != END && !ends_line(byte) && byte != csv->delimiter && !(csv->delimiter == ' ' && offset_of(csv) > after))
      return fail_here(csv, "text follows a closing quote");
  } else {
    DL_TRY(read_plain(csv));
    while (csv->used > field->bytes && is_blank(csv, csv->text[csv->used - 1])) csv->used--;
  }
  return append(csv, (const unsigned char *)"", 0);
}

/* Past what ends a field; *more where another one follows. */
static dl_status pass_field_end(dl_csv *csv, bool *more) {
  int byte;
  *more = false;
  if (csv->delimiter == ' ') DL_TRY(skip_blanks(csv));
  DL_TRY(peek(csv, &byte));
  if (byte == END) return DL_OK;
  if (ends_line(byte)) return pass_line_end(csv);
  *more = true;
  csv->at += csv->delimiter != ' ';
  return DL_OK;
}

static dl_status skip_blank_lines(dl_csv *csv, bool *end) {
  int byte;
  for (;;) {
    if (csv->delimiter != '\t') DL_TRY(skip_blanks(csv));
    DL_TRY(peek(csv, &byte));
    *end = byte == END;
    if (!ends_line(byte)) return DL_OK;
    DL_TRY(pass_line_end(csv));
  }
}

dl_status dl_csv_next(dl_csv *csv, dl_csv_field **fields, int *n) {
  bool end, more = true;
  csv->n = *n = 0;
  csv->used = 0;
  DL_TRY(skip_blank_lines(csv, &end));
  if (end) return DL_OK;
  while (more) {
    DL_TRY(read_field(csv));
    csv->text[csv->used++] = 0;
    DL_TRY(pass_field_end(csv, &more));
  }
  for (int i = 0; i < csv->n; i++) {
    const size_t first = csv->fields[i].bytes, next = i + 1 < csv->n ? csv->fields[i + 1].bytes : csv->used;
    csv->fields[i].text = csv->text + first;
    csv->fields[i].bytes = next - first - 1;
  }
  *fields = csv->fields;
  *n = csv->n;
  return DL_OK;
}

/* ---- pieces of whole records ---- */

/* The byte behind the last line end within [from, to) of a text of n bytes; 0: none. Of CR LF the LF ends the line. */
static size_t behind_line_end(const char *text, size_t from, size_t to, size_t n) {
  const char *end = to > from ? memrchr(text + from, '\n', to - from) : NULL;
  if (end) return (size_t)(end - text) + 1;
  if (to == n && to > from) to--; /* what follows the last byte is not known */
  while (to > from && (end = memrchr(text + from, '\r', to - from))) {
    to = (size_t)(end - text);
    if (end[1] != '\n') return to + 1;
  }
  return 0;
}

/* Whether a quote at `at`, which is outside of quotes, begins a field. */
static bool opens_field(const dl_csv *csv, const char *text, size_t at) {
  size_t before = at;
  while (before && is_blank(csv, text[before - 1])) before--;
  if (!before || ends_line(text[before - 1])) return true;
  return csv->delimiter == ' ' ? before < at : text[before - 1] == csv->delimiter;
}

/* Behind the quote that closes what was opened before `at`; n where there is none. */
static size_t behind_quotes(const char *text, size_t at, size_t n) {
  while (at < n) {
    const char *quote = memchr(text + at, '"', n - at);
    if (!quote) return n;
    at = (size_t)(quote - text) + 1;
    if (at == n || text[at] != '"') return at;
    at++; /* a quote within quotes is written twice */
  }
  return n;
}

size_t dl_csv_cut(const dl_csv *csv, const char *text, size_t n) {
  size_t best = 0, at = 0;
  while (at < n) {
    const char *quote = memchr(text + at, '"', n - at);
    const size_t gap_end = quote ? (size_t)(quote - text) : n, end = behind_line_end(text, at, gap_end, n);
    if (end) best = end;
    at = !quote || !opens_field(csv, text, gap_end) ? gap_end + 1 : behind_quotes(text, gap_end + 1, n);
  }
  return best;
}

int64_t dl_csv_lines(const char *text, size_t n) {
  int64_t lines = 0;
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  for (const char *p = text, *end = text + n; p < end && (p = memchr(p, '\r', (size_t)(end - p))); p++)
    lines += p + 1 == end || p[1] != '\n';
  return lines;
}

/* ---- opening ---- */

/* Fields of the first records of the buffer when cut at `delimiter`; *alike where all have as many. */
static int cut(const dl_csv *csv, char delimiter, bool *alike) {
  dl_csv try = {.path = csv->path, .buffer = csv->buffer, .at = csv->at, .end = csv->end, .delimiter = delimiter};
  dl_csv_field *fields;
  int first = 0, n = 0;
  *alike = true;
  for (int i = 0; i < SNIFFED_RECORDS && *alike; i++) {
    const dl_status status = dl_csv_next(&try, &fields, &n);
    if (try.at == try.end && (csv->end == BUFFER_BYTES || n == 0)) break; /* cut off, or at the end */
    if (status != DL_OK) *alike = false;
    if (!first) first = n;
    *alike = *alike && n == first;
  }
  free(try.text);
  free(try.fields);
  return first;
}

static char find_delimiter(const dl_csv *csv, bool comma) {
  static const char candidates[] = ",;\t|";
  char best = comma ? ',' : ';';
  int most_alike = 1, most = 1;
  for (const char *c = comma ? candidates : candidates + 1; *c; c++) {
    bool alike;
    const int n = cut(csv, *c, &alike);
    if (alike ? n <= most_alike : most_alike > 1 || n <= most) continue;
    best = *c;
    most = n;
    if (alike) most_alike = n;
  }
  bool alike;
  if (most_alike == 1 && most == 1 && cut(csv, ' ', &alike) > 1 && alike) best = ' ';
  return best;
}

static dl_status begin(dl_csv *csv, char delimiter) {
  struct stat about;
  const char *path = csv->path;
  if (stat(path, &about) != 0) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  if (!S_ISREG(about.st_mode))
    return dl_fail_at(DL_ERR_DATA, path, 0, 0,
                      S_ISDIR(about.st_mode) ? "is a directory where a text file is wanted" : "is not a regular file");
  csv->file_bytes = about.st_size;
  csv->stream = gzopen(path, "rb");
  if (!csv->stream) return dl_fail_at(DL_ERR_DATA, path, 0, 0, "cannot be opened: %s", strerror(errno));
  gzbuffer(csv->stream, 1u << 17);
  csv->buffer = csv->own = dl_calloc(BUFFER_BYTES, 1);
  if (!csv->own) return DL_ERR_NOMEM;
  DL_TRY(fill(csv));
  if (csv->end >= 3 && !memcmp(csv->buffer, "\xef\xbb\xbf", 3)) csv->at = 3;
  csv->line_start = (int64_t)csv->at;
  if (csv->end >= 2 && (!memcmp(csv->buffer, "\xff\xfe", 2) || !memcmp(csv->buffer, "\xfe\xff", 2))) {
    dl_fail_at(DL_ERR_DATA, path, 1, 1, "the text is in UTF-16");
    return dl_hint("convert it: iconv -f UTF-16 -t UTF-8");
  }
  const bool comma = delimiter != DL_CSV_FIND_NO_COMMA;
  csv->delimiter = delimiter && comma ? delimiter : find_delimiter(csv, comma);
  return DL_OK;
}

dl_status dl_csv_open(const char *path, char delimiter, dl_csv **out) {
  dl_csv *csv = dl_calloc(1, sizeof *csv);
  *out = csv;
  if (!csv) return DL_ERR_NOMEM;
  csv->path = path;
  csv->line = 1;
  dl_status status = begin(csv, delimiter);
  if (status != DL_OK) dl_csv_close(out);
  return status;
}

dl_status dl_csv_open_text(const char *path, int64_t line, const char *text, size_t bytes, char delimiter,
                           dl_csv **out) {
  dl_csv *csv = *out = dl_calloc(1, sizeof *csv);
  if (!csv) return DL_ERR_NOMEM;
  csv->path = path;
  csv->line = line;
  csv->buffer = (const unsigned char *)text;
  csv->end = bytes;
  csv->delimiter = delimiter;
  return DL_OK;
}

dl_status dl_csv_read(dl_csv *csv, char *out, size_t most, size_t *got) {
  *got = 0;
  DL_TRY(fill(csv));
  const size_t n = csv->end - csv->at < most ? csv->end - csv->at : most;
  memcpy(out, csv->buffer + csv->at, n);
  csv->at += n;
  *got = n;
  return DL_OK;
}

void dl_csv_close(dl_csv **csv) {
  if (!*csv) return;
  if ((*csv)->stream) gzclose((*csv)->stream);
  free((*csv)->own);
  free((*csv)->text);
  free((*csv)->fields);
  free(*csv);
  *csv = NULL;
}

char dl_csv_delimiter(const dl_csv *csv) { return csv->delimiter; }
int64_t dl_csv_position(const dl_csv *csv) { return (int64_t)gzoffset(csv->stream); }
int64_t dl_csv_size(const dl_csv *csv) { return csv->file_bytes; }

/* ---- numbers ---- */

static locale_t c_locale;
static void make_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

static bool number_by_strtod(const char *text, size_t bytes, double *out) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char *end;
  pthread_once(&once, make_locale);
  if (text[strspn(text, "+-.0123456789eE")]) return false; /* no hexadecimal, no infinity, no NaN */
  *out = c_locale ? strtod_l(text, &end, c_locale) : strtod(text, &end);
  return bytes && end == text + bytes;
}

bool dl_csv_number(const char *text, size_t bytes, double *out) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const char *p = text;
  const bool negative = *p == '-';
  uint64_t digits = 0;
  int n = 0, behind_point = 0;
  p += *p == '-' || *p == '+';
  for (; *p >= '0' && *p <= '9' && n < 19; p++, n++) digits = 10 * digits + (uint64_t)(*p - '0');
  if (*p == '.')
    for (p++; *p >= '0' && *p <= '9' && n < 19; p++, n++, behind_point++) digits = 10 * digits + (uint64_t)(*p - '0');
  if (*p || n == 0 || digits > (1ULL << 53) || behind_point > 22) return number_by_strtod(text, bytes, out);
  const double value = (double)digits / powers[behind_point];
  *out = negative ? -value : value;
  return p == text + bytes;
}

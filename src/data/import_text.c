/* import_text.c - a text file as a row of tokens: its characters (UTF-8) or its bytes.
 *
 * The vocabulary of characters is those that the whole file has, in order of their code points, so that a test split
 * has no unknown one; of bytes it is all 256. Tokens are stored in the smallest integer type that holds them. One pass
 * over the text finds the vocabulary, a second one writes the tokens a chunk at a time; the test split is the tail.
 */
#include "data/import_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "data/hdf5_output.h"
#include "data/utf8.h"

#define MOST_TEXT ((size_t)1 << 36)
enum { CHAR, BYTE };

const dl_option dl_text_rows[] = {
    {.key = "tokens",
     .type = DL_OPTION_CHOICE,
     .offset = offsetof(dl_text_options, tokens),
     .fallback = "char",
     .choices = "char|byte",
     .help = "what a token is: a character of UTF-8 or a byte"},
    {.key = "test-fraction",
     .type = DL_OPTION_REAL,
     .offset = offsetof(dl_text_options, test_fraction),
     .max = 0.9,
     .fallback = "0",
     .help = "share of the tokens, at the end, that become the test split"},
};
const int dl_text_row_count = sizeof dl_text_rows / sizeof dl_text_rows[0];

typedef struct text {
  const char *path;
  const unsigned char *bytes;
  size_t n_bytes;
  bool by_byte;
  int32_t *token; /* of a code point (or byte); -1: not in the text */
  int32_t n_vocabulary;
  int64_t n_tokens;
} text;

static int32_t next_unit(const text *t, size_t *at) {
  return t->by_byte ? t->bytes[(*at)++] : dl_utf8_next(t->bytes, t->n_bytes, at);
}

static dl_status find_vocabulary(text *t) {
  for (size_t at = 0; at < t->n_bytes; t->n_tokens++) {
    const int32_t unit = next_unit(t, &at);
    if (unit < 0) {
      dl_fail_at(DL_ERR_DATA, t->path, 0, 0, "the text is no UTF-8 at byte %zu", at);
      return dl_hint("import its bytes instead: --tokens byte");
    }
    if (unit == 0 && !t->by_byte) {
      dl_fail_at(DL_ERR_DATA, t->path, 0, 0, "the text has a 0 byte at %zu", at - 1);
      return dl_hint("import its bytes instead: --tokens byte");
    }
    t->token[unit] = 1;
  }
  for (int32_t i = 0; i < (t->by_byte ? 256 : DL_UTF8_CODE_POINTS); i++)
    t->token[i] = t->by_byte || t->token[i] ? t->n_vocabulary++ : -1;
  return DL_OK;
}

/* ---- writing ---- */

static size_t encode(int32_t code, bool by_byte, char *out) {
  if (by_byte || code < 0x80) return out[0] = (char)code, 1;
  const size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = length; i-- > 1; code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
  out[0] = (char)((0xf00 >> length) | code);
  return length;
}

/* Texts of a fixed length, padded with 0 bytes: h5py and numpy read them as they are. */
static dl_status write_vocabulary(const text *t, hid_t file) {
  enum { MOST = 4 };
  char *texts = dl_calloc((size_t)t->n_vocabulary, MOST);
  if (!texts) return DL_ERR_NOMEM;
  size_t width = 1;
  for (int32_t code = 0; code < (t->by_byte ? 256 : DL_UTF8_CODE_POINTS); code++)
    if (t->token[code] >= 0) {
      const size_t length = encode(code, t->by_byte, texts + (size_t)t->token[code] * MOST);
      if (length > width) width = length;
    }
  for (int32_t i = 0; i < t->n_vocabulary; i++) memmove(texts + (size_t)i * width, texts + (size_t)i * MOST, width);
  hid_t type = H5Tcopy(H5T_C_S1);
  dl_h5_target target = {.id = -1};
  dl_status status = type >= 0 && H5Tset_size(type, width) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0 &&
                             H5Tset_cset(type, t->by_byte ? H5T_CSET_ASCII : H5T_CSET_UTF8) >= 0
                         ? DL_OK
                         : dl_h5_fail(DL_ERR_SYSTEM, NULL, "no type for the vocabulary");
  if (status == DL_OK)
    status = dl_h5_target_make(file, "vocabulary", type, 1, (int64_t[]){t->n_vocabulary}, false, &target);
  if (status == DL_OK) status = dl_h5_target_write(&target, 0, t->n_vocabulary, type, texts);
  status = dl_h5_target_close(&target, status);
  if (type >= 0) H5Tclose(type);
  free(texts);
  return status;
}

static dl_status write_tokens(const text *t, hid_t file, const char *name, int64_t n, size_t *at) {
  const hid_t type = t->n_vocabulary <= 256 ? H5T_STD_U8LE : t->n_vocabulary <= 65536 ? H5T_STD_U16LE : H5T_STD_U32LE;
  dl_h5_target target;
  if (!n) return DL_OK;
  DL_TRY(dl_h5_target_make(file, name, type, 1, &n, true, &target));
  int32_t *tokens = dl_calloc((size_t)target.chunk_rows, sizeof *tokens);
  dl_status status = tokens ? DL_OK : DL_ERR_NOMEM;
  for (int64_t first = 0; first < n && status == DL_OK; first += target.chunk_rows) {
    const int64_t rows = n - first < target.chunk_rows ? n - first : target.chunk_rows;
    for (int64_t i = 0; i < rows; i++) tokens[i] = t->token[next_unit(t, at)];
    status = dl_h5_target_write(&target, first, rows, H5T_NATIVE_INT32, tokens);
  }
  free(tokens);
  status = dl_h5_target_close(&target, status);
  return status;
}

dl_status dl_import_text(const dl_import_job *job) {
  const dl_text_options *o = job->options;
  char *bytes = NULL;
  text t = {.path = job->inputs[0], .by_byte = o->tokens == BYTE};
  DL_TRY(dl_file_read(t.path, MOST_TEXT, DL_ERR_DATA, &bytes, &t.n_bytes));
  t.bytes = (const unsigned char *)bytes;
  t.token = dl_calloc(DL_UTF8_CODE_POINTS, sizeof *t.token);
  dl_status status = t.token ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && !t.n_bytes) status = dl_fail_at(DL_ERR_DATA, t.path, 0, 0, "the text is empty");
  if (status == DL_OK) status = find_vocabulary(&t);
  const int64_t n_test = (int64_t)floor(o->test_fraction * (double)t.n_tokens);
  size_t at = 0;
  if (status == DL_OK) status = write_vocabulary(&t, (hid_t)job->file);
  if (status == DL_OK) status = write_tokens(&t, (hid_t)job->file, "train/tokens", t.n_tokens - n_test, &at);
  if (status == DL_OK) status = write_tokens(&t, (hid_t)job->file, "test/tokens", n_test, &at);
  free(t.token);
  free(bytes);
  return status;
}

/* npy_reader.c - the .npy format (NEP 1): "\x93NUMPY", a version, the header's length, and a Python dictionary of three
 * keys as text. The dictionary is searched for its keys rather than evaluated; whatever is not understood is refused.
 */
#include "data/npy_reader.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

enum { MOST_HEADER = 1 << 16 };

static dl_status fail_npy(const dl_npy *npy, const char *what) {
  return dl_fail_at(DL_ERR_DATA, npy->name, 0, 0, "%s", what);
}

/* ---- the header ---- */

/* What stands behind 'key': in the dictionary, NULL where it is not there. */
static const char *find_value(const char *header, const char *key) {
  const char *p = strstr(header, key);
  if (!p) return NULL;
  p += strlen(key);
  if (*p != '\'' && *p != '"') return NULL;
  p++;
  p += strspn(p, " ");
  if (*p++ != ':') return NULL;
  return p + strspn(p, " ");
}

static dl_status parse_descr(dl_npy *npy, const char *p) {
  if (!p || (*p != '\'' && *p != '"')) {
    fail_npy(npy, "the array has fields (a structured type); plain numbers are read");
    return dl_hint("save one field: numpy.save(FILE, a['FIELD'])");
  }
  const char order = *++p;
  if (!order || !strchr("<>|=", order)) return fail_npy(npy, "damaged header: no byte order");
  npy->kind = *++p;
  char *end = NULL;
  const long width = *p ? strtol(p + 1, &end, 10) : 0;
  const bool good = npy->kind == 'b'                       ? width == 1
                    : npy->kind == 'u' || npy->kind == 'i' ? width == 1 || width == 2 || width == 4 || width == 8
                    : npy->kind == 'f'                     ? width == 2 || width == 4 || width == 8
                                                           : false;
  if (npy->kind == 'O') return fail_npy(npy, "holds Python objects, which are not read");
  if (!good || !end || *end != *(p - 2)) {
    dl_fail_at(DL_ERR_DATA, npy->name, 0, 0, "is of type '%.*s'; integers, floats and booleans are read",
               (int)strcspn(p - 1, "'\""), p - 1);
    return dl_hint("save it as numbers: numpy.save(FILE, a.astype('f4'))");
  }
  npy->width = (int)width;
  npy->swapped = order == '>';
  return DL_OK;
}

static dl_status parse_shape(dl_npy *npy, const char *p) {
  if (!p || *p++ != '(') return fail_npy(npy, "damaged header: no shape");
  npy->values = npy->row_values = 1;
  for (p += strspn(p, " "); *p != ')'; p += strspn(p, " ,")) {
    char *end;
    const long long size = strtoll(p, &end, 10);
    if (end == p) return fail_npy(npy, "damaged header: no shape");
    if (npy->dims == DL_H5_MAX_DIMS) return fail_npy(npy, "has more than 6 dimensions");
    if (size <= 0 || size > DL_H5_MAX_BYTES / npy->values)
      return fail_npy(npy, size == 0 ? "is empty" : "claims absurd dimensions");
    npy->dim[npy->dims++] = size;
    npy->values *= size;
    p = end;
  }
  if (npy->dims == 0) return fail_npy(npy, "is a single value; samples are its first dimension");
  npy->row_values = npy->values / npy->dim[0];
  return DL_OK;
}

static dl_status parse_header(dl_npy *npy, const char *header) {
  const char *by_column = find_value(header, "fortran_order");
  DL_TRY(parse_descr(npy, find_value(header, "descr")));
  DL_TRY(parse_shape(npy, find_value(header, "shape")));
  if (!by_column || (strncmp(by_column, "True", 4) != 0 && strncmp(by_column, "False", 5) != 0))
    return fail_npy(npy, "damaged header: no fortran_order");
  npy->by_column = *by_column == 'T' && npy->dims > 1;
  return DL_OK;
}

static dl_status read_header(dl_npy *npy) {
  unsigned char head[12];
  DL_TRY(dl_bytes_read(npy->bytes, head, 10, "header"));
  if (memcmp(head, "\x93NUMPY", 6) != 0) {
    fail_npy(npy, "is no array of numpy: it does not begin with \\x93NUMPY");
    return memcmp(head, "PK", 2) ? DL_ERR_DATA : dl_hint("it looks like an archive of arrays: dldist data import npz");
  }
  if (head[6] < 1 || head[6] > 3) return fail_npy(npy, "is of an unknown version of the format");
  size_t length = (size_t)(head[8] | head[9] << 8), start = 10;
  if (head[6] > 1) {
    DL_TRY(dl_bytes_read(npy->bytes, head + 10, 2, "header"));
    length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    start = 12;
  }
  if (length > MOST_HEADER) return fail_npy(npy, "damaged header: it is too long");
  char *header = dl_calloc(length + 1, 1);
  if (!header) return DL_ERR_NOMEM;
  dl_status status = dl_bytes_read(npy->bytes, header, length, "header");
  if (status == DL_OK) status = parse_header(npy, header);
  free(header);
  DL_TRY(status);
  const int64_t there = dl_bytes_size(npy->bytes) - (int64_t)(start + length), want = npy->values * npy->width;
  if (there == want) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, npy->name, 0, 0, "%s: it has %lld bytes of values, its header asks for %lld",
                    there < want ? "is truncated" : "is damaged", (long long)there, (long long)want);
}

dl_status dl_npy_open(dl_bytes *bytes, const char *name, dl_npy *out) {
  *out = (dl_npy){.bytes = bytes};
  strncpy(out->name, name, sizeof out->name - 1);
  const dl_status status = read_header(out);
  if (status != DL_OK) dl_npy_close(out);
  return status;
}

void dl_npy_close(dl_npy *npy) { dl_bytes_close(&npy->bytes); }

/* ---- values ---- */

typedef struct type_row {
  char kind;
  int width;
  hid_t little, big;
} type_row;

static type_row type_of(const dl_npy *npy) {
  const type_row rows[] = {
      {'u', 1, H5T_STD_U8LE, H5T_STD_U8BE},     {'u', 2, H5T_STD_U16LE, H5T_STD_U16BE},
      {'u', 4, H5T_STD_U32LE, H5T_STD_U32BE},   {'u', 8, H5T_STD_U64LE, H5T_STD_U64BE},
      {'i', 1, H5T_STD_I8LE, H5T_STD_I8BE},     {'i', 2, H5T_STD_I16LE, H5T_STD_I16BE},
      {'i', 4, H5T_STD_I32LE, H5T_STD_I32BE},   {'i', 8, H5T_STD_I64LE, H5T_STD_I64BE},
      {'f', 8, H5T_IEEE_F64LE, H5T_IEEE_F64BE}, {'f', 4, H5T_IEEE_F32LE, H5T_IEEE_F32BE},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (rows[i].kind == npy->kind && rows[i].width == npy->width) return rows[i];
  return npy->kind == 'b' ? rows[0] : (type_row){'f', 4, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT}; /* widened on reading */
}

hid_t dl_npy_file_type(const dl_npy *npy) { return type_of(npy).little; }
hid_t dl_npy_memory_type(const dl_npy *npy) {
  const bool half = npy->kind == 'f' && npy->width == 2;
  const type_row row = type_of(npy);
  return half ? H5T_NATIVE_FLOAT : npy->swapped ? row.big : row.little;
}

/* float16, whose subnormal numbers are whole multiples of 2^-24. */
static float half_to_float(unsigned bits) {
  const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
  const unsigned wide = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float value;
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
  memcpy(&value, &wide, sizeof value);
  return value;
}

dl_status dl_npy_read(dl_npy *npy, int64_t n, void *out) {
  DL_TRY(dl_bytes_read(npy->bytes, out, (size_t)(n * npy->width), "values"));
  if (npy->kind != 'f' || npy->width != 2) return DL_OK;
  const unsigned char *bytes = out;
  float *wide = out;
  for (int64_t i = n - 1; i >= 0; i--) {
    const unsigned low = bytes[2 * i + npy->swapped], high = bytes[2 * i + !npy->swapped];
    wide[i] = half_to_float(high << 8 | low);
  }
  return DL_OK;
}

dl_status dl_npy_end(dl_npy *npy) { return dl_bytes_end(npy->bytes); }

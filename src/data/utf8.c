/* utf8.c - the first byte tells the length; forms longer than needed, surrogates and what lies beyond are refused. */
#include "data/utf8.h"

int32_t dl_utf8_next(const unsigned char *bytes, size_t n, size_t *at) {
  static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const unsigned char *p = bytes + *at;
  const int length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
  if (!length || (size_t)length > n - *at) return -1;
  int32_t code = length == 1 ? p[0] : p[0] & (0xff >> (length + 1));
  for (int i = 1; i < length; i++) {
    if ((p[i] & 0xc0) != 0x80) return -1;
    code = (code << 6) | (p[i] & 0x3f);
  }
  if (code < least[length] || code >= DL_UTF8_CODE_POINTS || (code >= 0xd800 && code < 0xe000)) return -1;
  *at += (size_t)length;
  return code;
}

bool dl_utf8_valid(const char *text, size_t n) {
  for (size_t at = 0; at < n;)
    if (dl_utf8_next((const unsigned char *)text, n, &at) < 0) return false;
  return true;
}

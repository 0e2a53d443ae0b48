/* utf8.h - code points of UTF-8, RFC 3629 (floor: data, private). */
#ifndef DL_DATA_UTF8_H
#define DL_DATA_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DL_UTF8_CODE_POINTS 0x110000

/* The code point at *at, which moves on; -1 where the bytes are no UTF-8. *at < n. */
int32_t dl_utf8_next(const unsigned char *bytes, size_t n, size_t *at);
bool dl_utf8_valid(const char *text, size_t n);

#endif

/* page.h - self-contained HTML pages: no script, nothing from outside, light or dark as the reader's system says
 * (floor: report).
 *
 * A page is written to a stream from open_memstream, whose end tells whether memory held.
 */
#ifndef DL_REPORT_PAGE_H
#define DL_REPORT_PAGE_H

#include <stdio.h>

#include "core/status.h"

typedef struct dl_page {
  FILE *stream;
  char *text;
  size_t bytes;
} dl_page;

/* Opens a page with its head and a heading; `below` is a line under it, may be "". */
dl_status dl_page_begin(dl_page *page, const char *title, const char *below);
/* Ends the page; *out is freed by the caller. DL_ERR_NOMEM where it did not fit. */
dl_status dl_page_end(dl_page *page, char **out, size_t *bytes);

/* Text with the characters that HTML takes for its own replaced; at most 400 bytes of it. Control characters go. */
void dl_page_text(FILE *stream, const char *text);
/* printf, then as dl_page_text. */
void dl_page_textf(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* <h2>, closing the section before; `id` is a word. */
void dl_page_section(dl_page *page, const char *title);

/* A figure as a reader likes it: "0.3121", "12,345", "1.25e-05", "-" for NaN. Into text of 32 bytes. */
char *dl_page_number(double value, char text[32]);

/* A row of a table of two columns. */
void dl_page_row(FILE *stream, const char *name, const char *value);

#endif

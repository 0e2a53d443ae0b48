/* page.c - the frame of a page, its style sheet, and text that cannot break out of it. */
#include "report/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report/format.h"

#define MOST_TEXT 400

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1d2430;--mute:#626d7c;--line:#d9dee5;--card:#f6f8fa;"
    "--c0:#2563c9;--c1:#d1662a;--c2:#2a8a57;--c3:#9747b8;--c4:#b8860b;--c5:#c8354b;--c6:#1c8c9c;--c7:#6b7280;"
    "--hot:#c8354b;--cold:#2563c9}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181f;--fg:#e3e8ef;--mute:#98a3b3;--line:#333c49;--card:#1c222b;"
    "--c0:#6ea8fe;--c1:#f0945c;--c2:#63c78f;--c3:#cd91e8;--c4:#e0b84c;--c5:#f27d8d;--c6:#5cc6d4;--c7:#a3adba;"
    "--hot:#f0566c;--cold:#5b9bff}}"
    "body{margin:0 auto;max-width:1180px;padding:24px;background:var(--bg);color:var(--fg);"
    "font:15px/1.45 system-ui,'DejaVu Sans',sans-serif}"
    "h1{font-size:26px;margin:0}h2{font-size:19px;margin:36px 0 10px;border-bottom:1px solid var(--line);"
    "padding-bottom:4px}h3{font-size:15px;margin:0 0 6px;overflow-wrap:anywhere}p{margin:6px 0}.mute{color:var(--mute)}"
    ".keys "
    "span{white-space:nowrap}table+h3,.scroll+h3,.scroll+.grid{margin-top:14px}.grid{display:grid;grid-template-"
    "columns:repeat(auto-fill,minmax(360px,1fr));gap:16px}"
    ".wide{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(500px,100%),1fr));gap:16px}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;min-width:0}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}"
    "td,th{padding:2px 10px 2px 0;text-align:right;vertical-align:top}td:first-child,th:first-child{text-align:left}"
    "th{color:var(--mute);font-weight:600}.scroll{overflow:auto;max-width:100%}td.left,th.left{text-align:left;white-"
    "space:nowrap}.small{font-size:11px}.small td,.small th{padding-right:6px}"
    ".best{font-weight:700;color:var(--c1)}"
    ".differs td{color:var(--c1)}tr:hover td{background:color-mix(in srgb,var(--line) 40%,transparent)}"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;overflow:auto;"
    "max-height:480px;font:12.5px/1.4 ui-monospace,'DejaVu Sans Mono',monospace}"
    "svg{display:block;width:100%;height:auto}svg text{fill:var(--fg);font-size:12px}svg .mute{fill:var(--mute)}"
    "svg .axis{stroke:var(--line);stroke-width:1;fill:none}svg .line{fill:none;stroke-width:1.7;"
    "stroke-linejoin:round}.warn{border-left:4px solid var(--c4);padding-left:10px;margin:6px 0}"
    ".tiles{display:flex;flex-wrap:wrap;gap:12px}.tile{background:var(--card);border:1px solid var(--line);"
    "border-radius:8px;padding:8px 14px}.tile b{display:block;font-size:20px;font-weight:600}"
    ".key{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 5px 0 12px;vertical-align:-1px}";

dl_status dl_page_begin(dl_page *page, const char *title, const char *below) {
  *page = (dl_page){.stream = NULL};
  page->stream = open_memstream(&page->text, &page->bytes);
  if (!page->stream) return dl_fail(DL_ERR_NOMEM, "out of memory for a page");
  fputs(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>",
      page->stream);
  dl_page_text(page->stream, title);
  fprintf(page->stream, "</title><style>%s</style></head><body><h1>", style);
  dl_page_text(page->stream, title);
  fputs("</h1><p class=\"mute\">", page->stream);
  dl_page_text(page->stream, below);
  fputs("</p>\n", page->stream);
  return DL_OK;
}

dl_status dl_page_end(dl_page *page, char **out, size_t *bytes) {
  fputs("<p class=\"mute\">written by dldist " DLDIST_VERSION "</p></body></html>\n", page->stream);
  bool whole = ferror(page->stream) == 0;
  if (fclose(page->stream) != 0) whole = false;
  page->stream = NULL;
  *out = page->text;
  *bytes = page->bytes;
  if (whole) return DL_OK;
  free(page->text);
  *out = NULL;
  return dl_fail(DL_ERR_NOMEM, "out of memory for a page");
}

/* Bytes of the UTF-8 character at `text`, 0 where it is none. */
static int character(const unsigned char *text) {
  int n = text[0] < 0x80 ? 1 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2 : (text[0] & 0xf0) == 0xe0 ? 3 : 0;
  if ((text[0] & 0xf8) == 0xf0 && text[0] < 0xf5) n = 4;
  for (int i = 1; i < n; i++)
    if ((text[i] & 0xc0) != 0x80) return 0;
  return n;
}

void dl_page_text(FILE *stream, const char *text) {
  const unsigned char *p = (const unsigned char *)text;
  for (int used = 0; p && *p && used < MOST_TEXT; used++) {
    int n = character(p);
    const char *instead = *p == '<' ? "&lt;" : *p == '>' ? "&gt;" : *p == '&' ? "&amp;" : *p == '"' ? "&quot;" : NULL;
    if (instead)
      fputs(instead, stream);
    else if (n == 0)
      fputs("?", stream);
    else if (n > 1 || *p >= 32)
      fwrite(p, 1, (size_t)n, stream);
    p += n ? n : 1;
  }
}

void dl_page_textf(FILE *stream, const char *format, ...) {
  char text[2 * MOST_TEXT];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  dl_page_text(stream, text);
}

void dl_page_section(dl_page *page, const char *title) {
  fputs("<h2>", page->stream);
  dl_page_text(page->stream, title);
  fputs("</h2>\n", page->stream);
}

char *dl_page_number(double value, char text[32]) {
  double size = fabs(value);
  if (!isfinite(value)) return snprintf(text, 32, "-"), text;
  if (value == rint(value) && size < 1e15) return dl_format_count((int64_t)value, text);
  if (size >= 1e4 && size < 1e9) return dl_format_count(llround(value), text);
  snprintf(text, 32, size >= 1e9 || size < 1e-4 ? "%.3e" : size >= 1000 ? "%.1f" : "%.4g", value);
  return text;
}

void dl_page_row(FILE *stream, const char *name, const char *value) {
  fputs("<tr><td>", stream);
  dl_page_text(stream, name);
  fputs("</td><td>", stream);
  dl_page_text(stream, value);
  fputs("</td></tr>\n", stream);
}

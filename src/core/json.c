/* json.c - jansson behind the few calls that dldist needs. */
#include "core/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dl_json *dl_json_object(void) { return json_object(); }
dl_json *dl_json_array(void) { return json_array(); }

void dl_json_put(dl_json *parent, const char *key, dl_json *child) {
  if (!child) child = json_null();
  if (key)
    json_object_set_new(parent, key, child);
  else
    json_array_append_new(parent, child);
}

void dl_json_put_string(dl_json *parent, const char *key, const char *value) {
  json_t *string = value ? json_string(value) : json_null();
  dl_json_put(parent, key, string ? string : json_string("(not UTF-8)"));
}

void dl_json_put_int(dl_json *parent, const char *key, int64_t value) { dl_json_put(parent, key, json_integer(value)); }
void dl_json_put_bool(dl_json *parent, const char *key, bool value) { dl_json_put(parent, key, json_boolean(value)); }
void dl_json_put_real(dl_json *parent, const char *key, double value) {
  dl_json_put(parent, key, isfinite(value) ? json_real(value) : json_null());
}

dl_json *dl_json_copy(const dl_json *value) { return json_deep_copy(value); }

void dl_json_destroy(dl_json **value) {
  json_decref(*value);
  *value = NULL;
}

/* jansson writes reals with 17 digits; 15 or 16 often read back to the same value. Text in quotes is passed by. */
static void shorten_reals(char *text) {
  char *to = text;
  bool quoted = false;
  for (char *p = text; *p;) {
    if (*p == '"') quoted = !quoted;
    if (quoted && *p == '\\' && p[1]) *to++ = *p++;
    size_t length = quoted ? 0 : strspn(p, "+-.0123456789eE");
    if (length < 16) { /* whole numbers, short reals, and everything else */
      memmove(to, p, length ? length : 1);
      to += length ? length : 1;
      p += length ? length : 1;
      continue;
    }
    char number[64] = "", shorter[64];
    snprintf(number, sizeof number, "%.*s", (int)length, p);
    double value = strtod(number, NULL);
    for (int digits = 15; strpbrk(number, ".eE") && digits < 17; digits++) {
      snprintf(shorter, sizeof shorter, "%.*g", digits, value);
      if (strtod(shorter, NULL) != value || strlen(shorter) >= length) continue;
      if (!strpbrk(shorter, ".eE")) snprintf(shorter, sizeof shorter, "%.*g.0", digits, value); /* it stays a real */
      if (strlen(shorter) <= length) snprintf(number, sizeof number, "%s", shorter);
      break;
    }
    size_t kept = strlen(number);
    memmove(to, number, kept);
    to += kept;
    p += length;
  }
  *to = 0;
}

dl_status dl_json_text(const dl_json *value, bool indent, char **out) {
  *out = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) | (indent ? JSON_INDENT(2) : JSON_COMPACT));
  if (!*out) return dl_fail(DL_ERR_NOMEM, "JSON text could not be made: out of memory");
  shorten_reals(*out);
  return DL_OK;
}

dl_status dl_json_parse(const char *text, size_t bytes, const char *what, dl_json **out) {
  json_error_t error;
  *out = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
  if (*out) return DL_OK;
  return dl_fail_at(DL_ERR_DATA, what, error.line > 0 ? error.line : 0, error.column > 0 ? error.column : 0,
                    "is not valid JSON: %s", error.text);
}

const dl_json *dl_json_get(const dl_json *object, const char *key) { return json_object_get(object, key); }
const dl_json *dl_json_at(const dl_json *array, size_t index) { return json_array_get(array, index); }
size_t dl_json_size(const dl_json *value) {
  return json_is_array(value) ? json_array_size(value) : json_object_size(value);
}
bool dl_json_is_object(const dl_json *value) { return json_is_object(value); }
bool dl_json_is_array(const dl_json *value) { return json_is_array(value); }
bool dl_json_is_int(const dl_json *value) { return json_is_integer(value); }
bool dl_json_is_number(const dl_json *value) { return json_is_number(value); }
const char *dl_json_string(const dl_json *value) { return json_string_value(value); }
int64_t dl_json_int(const dl_json *value, int64_t fallback) {
  return json_is_integer(value) ? json_integer_value(value) : fallback;
}
double dl_json_real(const dl_json *value, double fallback) {
  return json_is_number(value) ? json_number_value(value) : fallback;
}
bool dl_json_bool(const dl_json *value, bool fallback) {
  return json_is_boolean(value) ? json_boolean_value(value) : fallback;
}

bool dl_json_next(const dl_json *object, void **position, const char **key, const dl_json **value) {
  /* jansson's iterators want a pointer to non-const; nothing is changed. */
  json_t *o = (json_t *)(uintptr_t)object;
  *position = *position ? json_object_iter_next(o, *position) : json_object_iter(o);
  if (!*position) return false;
  *key = json_object_iter_key(*position);
  *value = json_object_iter_value(*position);
  return true;
}

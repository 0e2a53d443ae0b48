/* json.h - JSON through jansson, the only user of it (floor: core).
 *
 * Numbers are written so that they read back to the same double. NaN and infinities, which JSON has not, become null.
 */
#ifndef DL_CORE_JSON_H
#define DL_CORE_JSON_H

#include "core/status.h"

typedef struct json_t
    dl_json; /* jansson's own type, opaque here; owned by whoever made it until it is put into a parent */

dl_json *dl_json_object(void);
dl_json *dl_json_array(void);
/* Sets a key or appends (key NULL: `parent` is an array). A NULL or failed child is reported by dl_json_text. */
void dl_json_put(dl_json *parent, const char *key, dl_json *child); /* takes ownership of child */
void dl_json_put_string(dl_json *parent, const char *key, const char *value);
void dl_json_put_int(dl_json *parent, const char *key, int64_t value);
void dl_json_put_real(dl_json *parent, const char *key, double value);
void dl_json_put_bool(dl_json *parent, const char *key, bool value);
dl_json *dl_json_copy(const dl_json *value);
void dl_json_destroy(dl_json **value);

/* One line (compact) or indented text, freed by the caller. */
dl_status dl_json_text(const dl_json *value, bool indent, char **out);

/* Parses `bytes` of text; duplicate keys, trailing bytes and depth over jansson's limit are errors of DL_ERR_DATA that
 * name `what` (a file). */
dl_status dl_json_parse(const char *text, size_t bytes, const char *what, dl_json **out);

/* Reading: borrowed results; NULL, or the fallback, where the key is missing or of another type. */
const dl_json *dl_json_get(const dl_json *object, const char *key);
const dl_json *dl_json_at(const dl_json *array, size_t index);
size_t dl_json_size(const dl_json *value); /* items of an array or an object, else 0 */
bool dl_json_is_object(const dl_json *value);
bool dl_json_is_array(const dl_json *value);
bool dl_json_is_int(const dl_json *value);
bool dl_json_is_number(const dl_json *value);
const char *dl_json_string(const dl_json *value); /* NULL unless a string */
int64_t dl_json_int(const dl_json *value, int64_t fallback);
double dl_json_real(const dl_json *value, double fallback);
bool dl_json_bool(const dl_json *value, bool fallback);
/* Walks an object in file order: *position NULL at the start, kept by the walk; false at the end. */
bool dl_json_next(const dl_json *object, void **position, const char **key, const dl_json **value);

#endif

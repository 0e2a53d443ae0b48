/* args.c - a command line against a table. */
#include "cli/args.h"

#include <string.h>

#include "core/config.h"

static int find_row(const dl_arg *rows, int n, const char *word, size_t length) {
  for (int i = 0; i < n; i++) {
    if (strlen(rows[i].name) == length && !strncmp(rows[i].name, word, length)) return i;
    if (rows[i].other && strlen(rows[i].other) == length && !strncmp(rows[i].other, word, length)) return i;
  }
  return -1;
}

/* "-j4": a short option with its value behind it. */
static int find_short(const dl_arg *rows, int n, const char *word) {
  if (word[0] != '-' || word[1] == '-' || !word[1] || !word[2]) return -1;
  int row = find_row(rows, n, word, 2);
  return row >= 0 && rows[row].value ? row : -1;
}

/* Keys of the configuration that are not rows of its own table, by what users of other trainers type. */
static const char *const more_keys[][2] = {{"lr", "optimizer.lr"},
                                           {"weight_decay", "optimizer.weight_decay"},
                                           {"momentum", "optimizer.momentum"},
                                           {"data", "data.file"}};
enum { MORE_KEYS = sizeof more_keys / sizeof more_keys[0], MOST_KEYS = 128 };

/* `--epochs` for train.epochs: the key whose last part is `word` (*exact), or near it; NULL where none is. */
static const char *config_key(const char *word, size_t length, bool *exact) {
  const char *last[MOST_KEYS], *whole[MOST_KEYS];
  char text[40] = "";
  int n = 0;
  for (; length && *word == '-'; length--) word++;
  for (size_t i = 0; i < length && i < sizeof text - 1; i++) text[i] = (char)(word[i] == '-' ? '_' : word[i]);
  for (int i = 0; i < MORE_KEYS; i++, n++) last[n] = more_keys[i][0], whole[n] = more_keys[i][1];
  for (int i = 0; i < dl_config_row_count && n < MOST_KEYS; i++, n++) {
    const char *key = dl_config_rows[i].key, *dot = strchr(key, '.');
    last[n] = dot && strcmp(text, key) != 0 ? dot + 1 : key;
    whole[n] = key;
  }
  const char *near = dl_nearest_name(text, last, n);
  *exact = near && !strcmp(near, text);
  for (int i = 0; near && i < n; i++)
    if (last[i] == near) return whole[i];
  return NULL;
}

/* `following` is the next word, NULL at the end. */
static dl_status unknown(const char *command, const dl_arg *rows, int n, const char *word, const char *following) {
  const char *names[DL_ARGS_ROWS], *value = strchr(word, '=');
  const size_t length = strcspn(word, "=");
  bool exact = false;
  for (int i = 0; i < n; i++) names[i] = rows[i].name;
  const char *key = find_row(rows, n, "--set", 5) >= 0 ? config_key(word, length, &exact) : NULL;
  dl_fail(DL_ERR_USAGE, "dldist %s: unknown option '%s'", command, word);
  if (!key || (!exact && dl_nearest_name(word, names, n)))
    return dl_hint_nearest(word, names, n, "see dldist help %s", command);
  value = value ? value + 1 : following && *following != '-' ? following : "VALUE";
  return dl_hint("a key of the configuration is set with --set %s=%.60s", key, value);
}

dl_status dl_args_parse(const char *command, const dl_arg *rows, int n_rows, int min_positional, int max_positional,
                        int argc, char **argv, dl_args *out) {
  *out = (dl_args){0};
  bool options = true;
  for (int i = 0; i < argc; i++) {
    const char *word = argv[i];
    if (options && !strcmp(word, "--")) {
      options = false;
      continue;
    }
    if (!options || word[0] != '-' || !word[1]) {
      if (out->n_positional == max_positional || out->n_positional == DL_ARGS_MAX) {
        dl_fail(DL_ERR_USAGE, "dldist %s: '%s' is one argument too many", command, word);
        return dl_hint("see dldist help %s", command);
      }
      out->positional[out->n_positional++] = word;
      continue;
    }
    size_t length = strcspn(word, "=");
    int row = find_row(rows, n_rows, word, length);
    const char *value = word[length] ? word + length + 1 : NULL;
    if (row < 0 && (row = find_short(rows, n_rows, word)) >= 0) value = word + 2;
    if (row < 0) return unknown(command, rows, n_rows, word, i + 1 < argc ? argv[i + 1] : NULL);
    if (!rows[row].value && value)
      return dl_fail(DL_ERR_USAGE, "dldist %s: %s takes no value", command, rows[row].name);
    if (rows[row].value && !value) {
      if (++i == argc)
        return dl_fail(DL_ERR_USAGE, "dldist %s: %s needs a value: %s", command, rows[row].name, rows[row].value);
      value = argv[i];
    }
    out->value[row] = value ? value : "";
    if (!strcmp(rows[row].name, "--set")) {
      if (out->n_set == DL_ARGS_MAX)
        return dl_fail(DL_ERR_USAGE, "dldist %s: more than %d --set", command, DL_ARGS_MAX);
      out->set[out->n_set++] = value;
    }
  }
  if (out->n_positional < min_positional) {
    dl_fail(DL_ERR_USAGE, "dldist %s: an argument is missing", command);
    return dl_hint("see dldist help %s", command);
  }
  return DL_OK;
}

const char *dl_args_get(const dl_args *args, const dl_arg *rows, int n_rows, const char *name) {
  int row = find_row(rows, n_rows, name, strlen(name));
  return row < 0 ? NULL : args->value[row];
}

/* options.h - options as tables (floor: core).
 *
 * One row binds a key, its type, range, default and help text to a member of a struct. Parsing, checks, "did you mean",
 * `dldist help`, `dldist list`, the man page and the effective configuration all come from the row.
 */
#ifndef DL_CORE_OPTIONS_H
#define DL_CORE_OPTIONS_H

#include "core/node.h"

typedef enum dl_option_type {
  DL_OPTION_BOOL,     /* bool */
  DL_OPTION_INT,      /* int64_t */
  DL_OPTION_AUTO_INT, /* int64_t, or `auto` = DL_AUTO */
  DL_OPTION_REAL,     /* double */
  DL_OPTION_STRING,   /* const char *, NULL where null or absent */
  DL_OPTION_CHOICE,   /* int: the index in `choices` */
  DL_OPTION_PAIR,     /* int64_t[2]: 3 or [3, 5] */
  DL_OPTION_NODE,     /* dl_node *: parsed by its owner, NULL where absent */
} dl_option_type;

#define DL_AUTO INT64_MIN

typedef struct dl_option {
  const char *key; /* dotted for the configuration's own rows ("data.file") */
  dl_option_type type;
  size_t offset;        /* offsetof the member */
  double min, max;      /* for numbers, both included; min == max == 0: no bound */
  const char *fallback; /* the default as YAML text; NULL: required ("" for an absent string or node) */
  const char *choices;  /* "adam|sgd": for DL_OPTION_CHOICE */
  const char *help;     /* one sentence */
  bool neutral;         /* changes nothing of what is computed: may differ when a run is resumed */
} dl_option;

/* A table with what it fills; several together serve one map (a layer's own options and those that every layer takes).
 */
typedef struct dl_option_set {
  const dl_option *options;
  int n;
  void *target;
} dl_option_set;

/* Binds `map` (not NULL; a null node becomes an empty map) to the targets, and puts the defaults into `map`, so that
 * afterwards it is the effective configuration. Unknown keys, wrong types, values out of range: DL_ERR_USAGE at their
 * place, with the nearest known name. `where` names the table in messages ("optimizer", "conv2d"); "" for the top.
 * Strings stay in the map's arena. */
dl_status dl_options_parse(const dl_option_set *sets, int n_sets, dl_node *map, const char *where);

/* The nearest of `names` to `word` (optimal string alignment distance, plus synonyms of the field such as learning_rate
 * for lr), or NULL where none is near. */
const char *dl_nearest_name(const char *word, const char *const *names, int n);

/* After a failure about `word`: hints at the nearest of `names`, or, where none is near, says the rest. Returns the
 * record's status. */
dl_status dl_hint_nearest(const char *word, const char *const *names, int n, const char *otherwise, ...)
    __attribute__((format(printf, 4, 5)));

/* Index of `word` in "a|b|c", -1 where absent. */
int dl_choice_index(const char *choices, const char *word);
/* The `index`th of "a|b|c" into text. */
const char *dl_choice_name(const char *choices, int index, char *text, size_t size);

/* A model entry: "relu", "{dense: 64}" or "{dense: {units: 64}}". Brings `entry` to the last form: a map of one key
 * whose value is the map of options; a single value becomes option `value_key(name)`. Out: the name and the option map.
 */
dl_status dl_entry_normalise(dl_node *entry, const char *where, const char *(*value_key)(const char *name),
                             const char **name, dl_node **map);

/* A named thing: "adam" or "{name: adam, lr: 0.1}"; `fallback` is its name where the map has none. Brings `node` to the
 * second form; out: the name. `node` itself is
 * the option map afterwards, `name` among its keys. */
dl_status dl_named_normalise(dl_node *node, const char *where, const char *fallback, const char **name);

#endif

/* run_compare.c - a resumed run must compute what its first part computed.
 *
 * The configuration in force is compared with the one that the checkpoint keeps, row by row of the table; rows that are
 * neutral may differ. The first difference is named with both values, at its place in the user's file.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "train/run.h"

/* dl_node_equal, except that `then` may come from a version that did not have a key yet: its default, which has no
 * line, stands for what was done before. NULL: absent. */
static bool computes_same(const dl_node *now, const dl_node *then) {
  if (!now || !then) return now && !now->line;
  if (now->kind != then->kind || now->kind == DL_NODE_SCALAR) return dl_node_equal(now, then);
  const bool map = now->kind == DL_NODE_MAP;
  if (!map && dl_node_size(now) != dl_node_size(then)) return false;
  const dl_node *other = then->first;
  for (const dl_node *child = now->first; child; child = child->next) {
    if (!computes_same(child, map ? dl_node_get(then, child->key) : other)) return false;
    if (!map) other = other->next;
  }
  for (other = then->first; map && other; other = other->next)
    if (!dl_node_get(now, other->key)) return false;
  return true;
}

/* Where two trees differ: the nodes there (NULL: absent), the path, and the nearest node that a file has. */
typedef struct difference {
  const dl_node *now, *then, *place;
  char path[256];
} difference;

static void step_into(difference *d, const dl_node *now, const dl_node *then, const char *format, ...) {
  size_t used = strlen(d->path);
  va_list args;
  va_start(args, format);
  vsnprintf(d->path + used, sizeof d->path - used, format, args);
  va_end(args);
  d->now = now;
  d->then = then;
  if (now && now->line) d->place = now;
}

static void step_into_map(difference *d) {
  const dl_node *now = d->now, *then = d->then;
  for (const dl_node *child = now->first; child; child = child->next) {
    const dl_node *other = dl_node_get(then, child->key);
    if (computes_same(child, other)) continue;
    step_into(d, child, other, ".%s", child->key);
    return;
  }
  const dl_node *gone = then->first;
  while (dl_node_get(now, gone->key)) gone = gone->next;
  step_into(d, NULL, gone, ".%s", gone->key);
}

static void step_into_list(difference *d) {
  const dl_node *a = d->now->first, *b = d->then->first;
  int i = 0;
  for (; a && b && computes_same(a, b); a = a->next, b = b->next) i++;
  step_into(d, a, b, "[%d]", i);
}

static dl_status compare_key(const dl_run *run, const dl_node *now, const dl_node *then, const char *key) {
  const dl_node *a = dl_node_find(now, key), *b = dl_node_find(then, key);
  bool absent_a = !a || a->kind == DL_NODE_NULL, absent_b = !b || b->kind == DL_NODE_NULL;
  if ((absent_a && absent_b) || (!absent_a && computes_same(a, absent_b ? NULL : b))) return DL_OK;
  char x[96] = "nothing", y[96] = "nothing";
  difference d = {.path = ""};
  step_into(&d, a, b, "%s", key);
  while (d.now && d.then && d.now->kind == d.then->kind && d.now->first && d.then->first)
    d.now->kind == DL_NODE_MAP ? step_into_map(&d) : step_into_list(&d);
  if (d.now) dl_node_describe(d.now, x, sizeof x);
  if (d.then) dl_node_describe(d.then, y, sizeof y);
  const char *resume = run->options->resume, *held = strcmp(resume, "auto") ? resume : run->folder;
  static const char text[] = "%s differs from the run that %s holds: %s now, %s then";
  if (d.place)
    dl_node_fail(d.place, false, text, d.path, held, x, y);
  else
    dl_config_fail(run->model->config, key, text, d.path, held, x, y);
  return dl_hint("take the old value, choose another --run, or begin again with --resume never");
}

dl_status dl_run_compare_config(const dl_run *run, const dl_json *state) {
  const char *text = dl_json_string(dl_json_get(state, "config"));
  if (!text) return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no configuration");
  dl_document then;
  if (dl_document_parse(text, strlen(text), "state.json", &then) != DL_OK)
    return dl_fail(DL_ERR_DATA, "the checkpoint's state.json has no sound configuration");
  dl_status status = DL_OK;
  for (int i = 0; i < dl_config_row_count && status == DL_OK; i++)
    if (!dl_config_rows[i].neutral)
      status = compare_key(run, run->model->config->document.root, then.root, dl_config_rows[i].key);
  /* A schedule that looks at the length of the run makes that length part of what is computed. */
  if (status == DL_OK && dl_schedule_kind_of(run->model->schedule)->uses_length)
    status = compare_key(run, run->model->config->document.root, then.root, "train.epochs");
  dl_document_destroy(&then);
  return status;
}

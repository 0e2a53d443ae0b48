/* Few units are out at a time, so they are looked through one by one. */
#include "comm/ps_units.h"

#include <stdlib.h>

#include "core/mem.h"

void dl_ps_units_clear(dl_ps_units *units) {
  free(units->unit);
  free(units->step);
  *units = (dl_ps_units){0};
}

dl_status dl_ps_units_open(dl_ps_units *units, int64_t step, int64_t leaves) {
  dl_ps_step *steps = dl_make_room(units->step, units->n_steps, &units->steps_room, sizeof *steps);
  if (!steps) return DL_ERR_NOMEM;
  units->step = steps;
  units->step[units->n_steps++] = (dl_ps_step){.step = step, .leaves = leaves};
  return DL_OK;
}

void dl_ps_units_close(dl_ps_units *units, int64_t step) {
  int kept = 0, steps = 0;
  for (int i = 0; i < units->n; i++)
    if (units->unit[i].step != step) units->unit[kept++] = units->unit[i];
  for (int i = 0; i < units->n_steps; i++)
    if (units->step[i].step != step) units->step[steps++] = units->step[i];
  units->n = kept;
  units->n_steps = steps;
}

/* The largest node that begins at `begin`, with at most `most` leaves. */
static dl_tree_node cut_node(int64_t begin, int64_t most) {
  int32_t level = 0;
  while (level < 40 && !(begin & (((int64_t)2 << level) - 1)) && (int64_t)2 << level <= most) level++;
  return (dl_tree_node){level, begin >> level};
}

static bool has_part(const dl_ps_units *units, int64_t step, int holder) {
  for (int i = 0; i < units->n; i++)
    if (units->unit[i].step == step && units->unit[i].holder == holder) return true;
  return false;
}

static dl_status add_unit(dl_ps_units *units, dl_ps_step *step, dl_tree_node node, dl_ps_unit **out) {
  dl_ps_unit *all = dl_make_room(units->unit, units->n, &units->room, sizeof *all);
  if (!all) return DL_ERR_NOMEM;
  units->unit = all;
  int64_t end = (node.index + 1) << node.level;
  if (end > step->leaves) end = step->leaves;
  *out = &units->unit[units->n++];
  **out = (dl_ps_unit){.step = step->step, .node = node, .leaves = end - step->next, .holder = DL_PS_NOBODY};
  step->next = end;
  return DL_OK;
}

static dl_status cut_unit(dl_ps_units *units, dl_ps_step *step, int holder, int workers, dl_ps_unit **out) {
  int64_t left = step->leaves - step->next;
  int64_t share = (has_part(units, step->step, holder) ? left : step->leaves) / (workers > 0 ? workers : 1);
  return add_unit(units, step, cut_node(step->next, share > 0 ? share : 1), out);
}

dl_status dl_ps_units_restore(dl_ps_units *units, int64_t step, dl_tree_node node, bool done) {
  dl_ps_step *s = dl_ps_units_step(units, step);
  const int64_t begin = node.index << node.level;
  dl_ps_unit *unit;
  if (!s || begin < s->next || begin >= s->leaves)
    return dl_fail(DL_ERR_DATA, "the servers' logs of pushes contradict each other at step %lld", (long long)step);
  while (s->next < begin) DL_TRY(add_unit(units, s, cut_node(s->next, begin - s->next), &unit));
  DL_TRY(add_unit(units, s, node, &unit));
  if (done) dl_ps_units_done(units, step, node);
  return DL_OK;
}

dl_ps_unit *dl_ps_units_find(const dl_ps_units *units, int64_t step, dl_tree_node node) {
  for (int i = 0; i < units->n; i++) {
    dl_ps_unit *unit = &units->unit[i];
    if (unit->step == step && dl_tree_node_is(unit->node, node)) return unit;
  }
  return NULL;
}

static dl_ps_unit *find_held(const dl_ps_units *units, int holder) {
  for (int i = 0; i < units->n; i++)
    if (!units->unit[i].done && units->unit[i].holder == holder) return &units->unit[i];
  return NULL;
}

dl_status dl_ps_units_grant(dl_ps_units *units, int holder, int workers, double now_s, const dl_ps_unit **out) {
  dl_ps_unit *unit = find_held(units, holder);
  if (!unit) unit = find_held(units, DL_PS_NOBODY);
  for (int i = 0; !unit && i < units->n_steps; i++)
    if (units->step[i].next < units->step[i].leaves) DL_TRY(cut_unit(units, &units->step[i], holder, workers, &unit));
  *out = unit;
  if (!unit) return DL_OK;
  unit->holder = holder;
  unit->since_s = now_s;
  unit->base = units->step[0].step;
  return DL_OK;
}

dl_ps_done dl_ps_units_look(const dl_ps_units *units, int64_t step, dl_tree_node node) {
  const dl_ps_unit *unit = dl_ps_units_find(units, step, node);
  return !unit ? DL_PS_DONE_UNKNOWN : unit->done ? DL_PS_DONE_BEFORE : DL_PS_DONE_NOW;
}

dl_ps_done dl_ps_units_done(dl_ps_units *units, int64_t step, dl_tree_node node) {
  dl_ps_unit *unit = dl_ps_units_find(units, step, node);
  dl_ps_done known = dl_ps_units_look(units, step, node);
  if (known != DL_PS_DONE_NOW) return known;
  unit->done = true;
  dl_ps_step *s = dl_ps_units_step(units, step);
  if (s) s->done += unit->leaves;
  return DL_PS_DONE_NOW;
}

int dl_ps_units_lost(dl_ps_units *units, int holder) {
  int lost = 0;
  for (int i = 0; i < units->n; i++) {
    if (units->unit[i].done || units->unit[i].holder != holder) continue;
    units->unit[i].holder = DL_PS_NOBODY;
    lost++;
  }
  return lost;
}

int dl_ps_units_late(dl_ps_units *units, double now_s, double limit_s) {
  int late = 0;
  for (int i = 0; i < units->n; i++) {
    dl_ps_unit *unit = &units->unit[i];
    if (unit->done || unit->holder == DL_PS_NOBODY || now_s - unit->since_s < limit_s) continue;
    unit->holder = DL_PS_NOBODY;
    late++;
  }
  return late;
}

dl_ps_step *dl_ps_units_step(const dl_ps_units *units, int64_t step) {
  for (int i = 0; i < units->n_steps; i++)
    if (units->step[i].step == step) return &units->step[i];
  return NULL;
}

bool dl_ps_units_complete(const dl_ps_units *units, int64_t step) {
  const dl_ps_step *s = dl_ps_units_step(units, step);
  return s && s->done == s->leaves;
}

bool dl_ps_units_ahead(const dl_ps_units *units, int64_t step) {
  for (int i = 0; i < units->n_steps; i++)
    if (units->step[i].step > step && units->step[i].next > 0) return true;
  return false;
}

void dl_ps_units_trim(dl_ps_units *units, int64_t step) {
  int kept = 0;
  for (int i = 0; i < units->n_steps; i++)
    if (units->step[i].step <= step || units->step[i].next > 0) units->step[kept++] = units->step[i];
  units->n_steps = kept;
}

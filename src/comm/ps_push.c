/* ps_push.c - ssp and asp: every push is a step of the optimizer's own.
 *
 * Its key is its unit: (step, node) is applied once, whoever computed it and however often it comes. It is logged
 * while it is applied, and only then does anybody hear that it is in; so what was acknowledged is in the log, and what
 * was not may be in it or not, and is handed out again where it is not.
 */
#include <math.h>
#include <string.h>

#include "comm/ps_few.h"
#include "comm/ps_private.h"

static bool was_applied(const dl_ps_serve *serve, int64_t step, dl_tree_node node) {
  for (int i = 0; i < serve->n_seen; i++) {
    const dl_ps_applied *seen = &serve->seen[i];
    if (seen->step == step && dl_tree_node_is(seen->node, node)) return true;
  }
  return dl_ps_durable_has(serve, step, node);
}

static dl_status remember(dl_ps_serve *serve, int64_t step, dl_tree_node node) {
  dl_ps_applied *seen = dl_make_room(serve->seen, serve->n_seen, &serve->seen_room, sizeof *seen);
  if (!seen) return DL_ERR_NOMEM;
  serve->seen = seen;
  serve->seen[serve->n_seen++] = (dl_ps_applied){step, node};
  return DL_OK;
}

static void count_staleness(dl_ps_staleness *staleness, const dl_ps_log_entry *e) {
  staleness->pushes[e->updates < 0 ? 0 : e->updates < DL_PS_STALENESSES ? e->updates : DL_PS_STALENESSES - 1]++;
  if (e->ahead > staleness->most_steps) staleness->most_steps = e->ahead;
}

/* What the log will say of this push. */
static dl_ps_log_entry entry_of(const dl_ps_serve *serve, const dl_ps_client *w, const dl_ps_mail *mail) {
  const dl_ps_frame *f = &mail->frame;
  dl_ps_log_entry entry = {.at = serve->step,
                           .step = f->step,
                           .node = f->node,
                           .samples = f->samples,
                           .incarnation = w->incarnation,
                           .sequence = f->sequence,
                           .updates = serve->version - f->version};
  memcpy(entry.sums, f->sums, sizeof entry.sums);
  memcpy(entry.worker, w->name, sizeof entry.worker);
  const dl_ps_unit *unit = dl_ps_units_find(&serve->units, f->step, f->node);
  if (unit) entry.ahead = unit->step - unit->base;
  return entry;
}

/* ---- in the log: whole floats, or few elements ---- */

static dl_status make_words(const dl_sync *sync) {
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  if (!serve->words) serve->words = dl_calloc(dl_ps_few_room(sync->blocks, &serve->whole) + 1, sizeof *serve->words);
  return serve->words ? DL_OK : DL_ERR_NOMEM;
}

/* To be finished with dl_ps_log_finish. */
static dl_status begin_to_log(const dl_sync *sync, const dl_ps_log_entry *e, const float *values) {
  const dl_ps_serve *serve = dl_ps_of(sync)->serve;
  dl_ps_log_entry entry = *e;
  if (!dl_ps_serve_is_few(sync)) return dl_ps_log_begin(serve->log, &entry, values), DL_OK;
  DL_TRY(make_words(sync));
  entry.bytes = (int64_t)(dl_ps_few_write(serve->words, sync->blocks, &serve->whole, values) * sizeof *serve->words);
  dl_ps_log_begin(serve->log, &entry, serve->words);
  return DL_OK;
}

static dl_status fail_foreign(const dl_ps_log_entry *e) {
  dl_fail(DL_ERR_DATA, "the log of pushes has one of step %lld that is not of this model", (long long)e->step);
  return dl_hint("remove RUN/pushes: what was pushed since the newest checkpoint is then computed again");
}

dl_status dl_ps_serve_logged(const dl_sync *sync, const dl_ps_log_entry *e, float *values) {
  const dl_ps_serve *serve = dl_ps_of(sync)->serve;
  const bool few = dl_ps_serve_is_few(sync);
  const size_t floats = dl_ps_slice(dl_ps_of(sync)) * sizeof *values, bytes = (size_t)e->bytes;
  if (few ? bytes > dl_ps_few_room(sync->blocks, &serve->whole) * sizeof *serve->words : bytes != floats)
    return fail_foreign(e);
  if (!few) return dl_ps_log_values(serve->log, e, values);
  DL_TRY(make_words(sync));
  DL_TRY(dl_ps_log_values(serve->log, e, serve->words));
  const bool fits = dl_ps_few_read(values, sync->group, sync->blocks, &serve->whole, 1, serve->words, bytes);
  return fits ? DL_OK : fail_foreign(e);
}

static void note_applied(const dl_ps_serve *serve, const char *how, const dl_ps_log_entry *e) {
  dl_ps_history_note(&serve->history, "%s %lld %d %lld %016llx %llu %lld %lld", how, (long long)e->step, e->node.level,
                     (long long)e->node.index, (unsigned long long)e->incarnation, (unsigned long long)e->sequence,
                     (long long)(serve->version - e->updates), (long long)serve->version);
}

/* One push is one step of the optimizer, with the share that its leaves have in the batch. */
dl_status dl_ps_serve_apply(dl_sync *sync, const dl_ps_log_entry *e, const float *values, bool again) {
  dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  dl_cut cut = dl_cut_make(e->samples, sync->options.shards);
  int64_t begin, end, first, last, ignored;
  if (serve->not_finite || !dl_ps_node_leaves(e->node, cut.leaves, &begin, &end)) return DL_OK;
  dl_cut_leaf_range(&cut, begin, &first, &ignored);
  dl_cut_leaf_range(&cut, end - 1, &ignored, &last);
  const dl_ps_alone how = {.factor = (float)(1 / e->sums[1]),
                           .running_factor = (float)(1 / (double)(last - first)),
                           .share = (double)(end - begin) / (double)cut.leaves};
  const bool sound = isfinite(e->sums[0]) && isfinite(e->sums[1]) && e->sums[1] > 0, logged = serve->log && !again;
  double norm;
  if (!sound || !dl_ps_look_alone(sync, values, &how, &norm)) {
    serve->not_finite = true;
    return DL_OK;
  }
  if (logged) DL_TRY(begin_to_log(sync, e, values));
  dl_ps_apply_alone(sync, values, &how, dl_sync_clip_factor(norm, sync->request->clip_norm));
  if (logged) DL_TRY(dl_ps_log_finish(serve->log));
  DL_TRY(remember(serve, e->step, e->node));
  note_applied(serve, again ? "replay" : "apply", e);
  if (own->server == 0) count_staleness(&serve->staleness, e);
  dl_ps_step *step = dl_ps_units_step(&serve->units, e->step);
  for (int k = 0; step && k < DL_LEAF_SUMS; k++) step->sums[k] += e->sums[k];
  serve->version++;
  dl_ps_serve_end_view(sync);
  return DL_OK;
}

dl_status dl_ps_serve_push(dl_sync *sync, const dl_ps_client *w, const dl_ps_mail *mail, const float *values) {
  const dl_ps_serve *serve = dl_ps_of(sync)->serve;
  const dl_ps_frame *f = &mail->frame;
  if (serve->not_finite) return DL_OK;
  const dl_ps_log_entry entry = entry_of(serve, w, mail);
  if (!was_applied(serve, f->step, f->node)) return dl_ps_serve_apply(sync, &entry, values, false);
  note_applied(serve, "twice", &entry);
  return DL_OK;
}

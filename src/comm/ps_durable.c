/* ps_durable.c - ssp and asp: what a server that was killed does with its log.
 *
 * Every push is put into the log while it is applied and before anybody hears of it. A server that begins again applies
 * the entries to the checkpoint's weights in the order in which they were applied before, each while the loop is at the
 * step at which it was: so its learning rate, and with it every bit, is the same. Units that all servers have are done;
 * those that only some have (their worker had not heard from all) are handed out again as they were cut, and who has
 * one passes the second by. What was in a worker's hands is in no log, and is cut anew.
 *
 * A checkpoint is written where no later step has begun, so a log begins anew with each one, over what is
 * there; a log that has grown beyond sync.log_mb asks for one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/ps_crc.h"
#include "comm/ps_private.h"
#include "core/file.h"
#include "core/log.h"

static dl_ps_log_base base_of(const dl_sync *sync, int64_t step) {
  const dl_ps *own = dl_ps_of(sync);
  return (dl_ps_log_base){
      .job = own->job,
      .step = step,
      .begin = own->begin,
      .end = own->end,
      .weights_crc = dl_ps_crc(sync->weights + own->begin, dl_ps_slice(own) * sizeof *sync->weights)};
}

static bool same_base(const dl_ps_log_base *a, const dl_ps_log_base *b) {
  return a->job == b->job && a->step == b->step && a->begin == b->begin && a->end == b->end &&
         a->weights_crc == b->weights_crc;
}

/* ---- opening ---- */

/* Whether this server's entries follow upon the weights as they are now. A crash between a checkpoint and the log's new
 * beginning leaves entries that are in the checkpoint: they are not missed. */
static bool fits(const dl_ps_log *log, const dl_ps_log_base *now) {
  int64_t n;
  const dl_ps_log_base *base = dl_ps_log_base_of(log);
  const dl_ps_log_entry *entry = dl_ps_log_entries(log, &n);
  if (!base || same_base(base, now)) return base != NULL;
  if (n && (base->job != now->job || entry[n - 1].at >= now->step))
    dl_warn("ps_log", "the log of pushes does not follow upon step %lld: what it holds is computed again",
            (long long)now->step);
  return false;
}

static dl_status open_log(const dl_sync *sync, const char *folder, bool anew) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  char name[32];
  snprintf(name, sizeof name, "server-%d.log", own->server);
  char *path = dl_path_join(folder, name);
  dl_status status = path ? dl_dir_make(folder) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_ps_log_open(path, own->options.log == DL_PS_LOG_SYNC, &serve->log);
  free(path);
  DL_TRY(status);
  int64_t n;
  const int64_t torn = dl_ps_log_torn(serve->log, &n);
  const bool readable = dl_ps_log_base_of(serve->log) != NULL;
  if (torn && !readable)
    dl_warn("ps_log", "the log of pushes cannot be read: what was pushed since the checkpoint is computed again");
  if (n == 1) dl_warn("ps_log", "the log of pushes ended in one that was not acknowledged, and was torn: dropped");
  if (n > 1)
    dl_warn("ps_log", "the log of pushes is damaged %lld pushes before its end: what follows is computed again",
            (long long)n);
  serve->log_fits = !anew && readable;
  return DL_OK;
}

/* All servers' entries count, or none's. */
static dl_status take_up(const dl_sync *sync, int64_t step) {
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  const dl_ps_log_base now = base_of(sync, step);
  int64_t n, unfit = !(serve->log_fits && fits(serve->log, &now));
  DL_TRY(dl_team_sum_i64(sync->team, &unfit, 1));
  dl_ps_log_entries(serve->log, &n);
  dl_status status = unfit ? dl_ps_log_restart(serve->log, &now, n) : DL_OK;
  return dl_team_agree(sync->team, status);
}

/* ---- what all servers have ---- */

typedef struct place {
  int64_t step, level, index;
} place;

static int by_place(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->step != y->step) return x->step < y->step ? -1 : 1;
  const int64_t i = x->index << x->level, j = y->index << y->level;
  if (i != j) return i < j ? -1 : 1;
  return x->level < y->level ? -1 : x->level > y->level;
}

static dl_status merge(dl_ps_serve *serve, place *all, int64_t n, int servers) {
  qsort(all, (size_t)n, sizeof *all, by_place);
  serve->restored = dl_calloc((size_t)n + 1, sizeof *serve->restored);
  if (!serve->restored) return DL_ERR_NOMEM;
  for (int64_t i = 0, same; i < n; i += same) {
    for (same = 1; i + same < n && !by_place(&all[i], &all[i + same]);) same++;
    if (all[i].step < 0) continue; /* filled up */
    serve->restored[serve->n_restored++] =
        (dl_ps_restored){all[i].step, {(int32_t)all[i].level, all[i].index}, same == servers};
  }
  return DL_OK;
}

static dl_status share_units(const dl_sync *sync) {
  const int size = sync->team->size;
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  int64_t n;
  const dl_ps_log_entry *entry = dl_ps_log_entries(serve->log, &n);
  double widest = (double)n;
  DL_TRY(dl_team_max_f64(sync->team, &widest));
  const size_t room = (size_t)widest;
  place *mine = dl_calloc(room + 1, sizeof *mine), *all = dl_calloc(room * (size_t)size + 1, sizeof *all);
  dl_status status = dl_team_agree(sync->team, mine && all ? DL_OK : DL_ERR_NOMEM);
  for (size_t i = 0; status == DL_OK && i < room; i++)
    mine[i] = i < (size_t)n ? (place){entry[i].step, entry[i].node.level, entry[i].node.index} : (place){-1, 0, 0};
  if (status == DL_OK) status = dl_team_allgather(sync->team, mine, room * sizeof *mine, all);
  if (status == DL_OK) status = dl_team_agree(sync->team, merge(serve, all, (int64_t)room * size, size));
  free(mine);
  free(all);
  return status;
}

dl_status dl_ps_durable_open(dl_sync *sync, const char *folder, int64_t step, bool anew) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  dl_ps_history_open(&serve->history, "server-%d", own->server);
  dl_ps_history_note(&serve->history, "begin %lld", (long long)step);
  if (!dl_ps_serve_is_async(sync) || own->options.log == DL_PS_LOG_NONE || !folder) return DL_OK;
  char *pushes = dl_path_join(folder, "pushes");
  dl_status status = pushes ? open_log(sync, pushes, anew) : DL_ERR_NOMEM;
  free(pushes);
  DL_TRY(dl_team_agree(sync->team, status));
  DL_TRY(take_up(sync, step));
  DL_TRY(share_units(sync));
  dl_ps_log_entries(serve->log, &serve->to_replay);
  if (serve->to_replay && own->server == 0)
    dl_warn("ps_log", "%lld pushes since step %lld are in the log, and are applied again", (long long)serve->to_replay,
            (long long)step);
  return DL_OK;
}

void dl_ps_durable_close(dl_ps_serve *serve) {
  dl_ps_log_close(&serve->log);
  dl_ps_history_close(&serve->history);
  free(serve->restored);
}

/* ---- going on ---- */

int64_t dl_ps_durable_reach(const dl_ps_serve *serve) {
  int64_t n = 0, reach = -1;
  const dl_ps_log_entry *entry = serve->log ? dl_ps_log_entries(serve->log, &n) : NULL;
  for (int64_t i = serve->replayed; i < n && entry[i].at <= serve->step; i++)
    if (entry[i].step > reach) reach = entry[i].step;
  return reach;
}

dl_status dl_ps_durable_restore(dl_ps_serve *serve, int64_t step) {
  for (int i = 0; i < serve->n_restored; i++) {
    const dl_ps_restored *r = &serve->restored[i];
    if (r->step == step) DL_TRY(dl_ps_units_restore(&serve->units, step, r->node, r->done));
  }
  return DL_OK;
}

bool dl_ps_durable_has(const dl_ps_serve *serve, int64_t step, dl_tree_node node) {
  int64_t n = 0;
  const dl_ps_log_entry *entry = serve->log ? dl_ps_log_entries(serve->log, &n) : NULL;
  for (int64_t i = serve->replayed; i < serve->to_replay && i < n; i++)
    if (entry[i].step == step && dl_tree_node_is(entry[i].node, node)) return true;
  return false;
}

dl_status dl_ps_durable_replay(dl_sync *sync) {
  const dl_ps *own = dl_ps_of(sync);
  dl_ps_serve *serve = own->serve;
  int64_t n = 0;
  if (!serve->log || serve->replayed >= serve->to_replay) return DL_OK;
  float *values = dl_calloc_aligned(dl_ps_slice(own) + 1, sizeof *values);
  dl_status status = values ? DL_OK : DL_ERR_NOMEM;
  for (; status == DL_OK && serve->replayed < serve->to_replay; serve->replayed++) {
    const dl_ps_log_entry *entry = dl_ps_log_entries(serve->log, &n) + serve->replayed;
    if (entry->at > serve->step) break;
    status = dl_ps_serve_logged(sync, entry, values);
    if (status == DL_OK) status = dl_ps_serve_apply(sync, entry, values, true);
  }
  free(values);
  return status;
}

bool dl_ps_durable_is_full(const dl_sync *sync) {
  const dl_ps *own = dl_ps_of(sync);
  return own->serve->log && dl_ps_log_bytes(own->serve->log) > own->options.log_bytes;
}

dl_status dl_ps_durable_saved(dl_sync *sync, int64_t step) {
  dl_ps_serve *serve = dl_ps_of(sync)->serve;
  if (!serve->log) return DL_OK;
  const dl_ps_log_base base = base_of(sync, step);
  int64_t n;
  dl_ps_log_entries(serve->log, &n);
  const int64_t gone = serve->replayed < serve->to_replay ? serve->replayed : n;
  dl_status status = dl_ps_log_restart(serve->log, &base, gone);
  serve->to_replay = serve->to_replay > gone ? serve->to_replay - gone : 0;
  serve->replayed = 0;
  return dl_team_agree(sync->team, status);
}

/* team.c - what every team can do, made of its ops. */
#include "core/team.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/tree.h"

dl_status(dl_team_agree)(dl_team *team, dl_status mine) {
  if (team->size == 1) {
    if (mine == DL_OK) return DL_OK;
    dl_error error = *dl_error_last();
    error.rank = 0;
    return dl_error_adopt(&error);
  }
  int32_t few[64], *all = team->size <= 64 ? few : dl_calloc((size_t)team->size, sizeof *all);
  if (!all) return DL_ERR_NOMEM;
  int32_t code = mine;
  dl_status status = team->ops->allgather(team, &code, sizeof code, all);
  int failed = -1;
  for (int r = 0; status == DL_OK && r < team->size && failed < 0; r++)
    if (all[r] != DL_OK) failed = r;
  if (all != few) free(all);
  if (status != DL_OK || failed < 0) return status;
  dl_error error = *dl_error_last();
  error.status = mine;
  if (error.rank < 0) error.rank = team->rank; /* else agreed on before: who failed first stays named */
  DL_TRY(team->ops->broadcast(team, &error, sizeof error, failed));
  return dl_error_adopt(&error);
}

dl_status dl_team_broadcast_text(dl_team *team, char **text, int root) {
  int64_t bytes = team->rank == root ? (*text ? (int64_t)strlen(*text) : -1) : 0;
  DL_TRY(dl_team_broadcast(team, &bytes, sizeof bytes, root));
  if (team->rank != root) *text = NULL;
  if (bytes < 0) return DL_OK;
  if (team->rank != root) *text = dl_calloc((size_t)bytes + 1, 1);
  DL_TRY(dl_team_agree(team, *text ? DL_OK : DL_ERR_NOMEM));
  return bytes ? dl_team_broadcast(team, *text, (size_t)bytes, root) : DL_OK;
}

dl_status dl_team_gather_bytes(dl_team *team, const void *send, size_t bytes, int root, void **out, size_t *out_bytes) {
  size_t *counts = dl_calloc((size_t)team->size, sizeof *counts), total = 0;
  DL_TRY(dl_team_agree(team, counts ? DL_OK : DL_ERR_NOMEM));
  dl_status status = dl_team_allgather(team, &bytes, sizeof bytes, counts);
  for (int r = 0; status == DL_OK && r < team->size; r++) total += counts[r];
  char *all = NULL;
  if (status == DL_OK && team->rank == root) all = dl_calloc(total + 1, 1);
  if (status == DL_OK) status = dl_team_agree(team, team->rank != root || all ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = team->ops->gather(team, send, counts, all, root);
  free(counts);
  if (status != DL_OK) {
    free(all);
    return status;
  }
  *out = all;
  if (out_bytes) *out_bytes = team->rank == root ? total : 0;
  return DL_OK;
}

dl_status dl_team_sum_i64(dl_team *team, int64_t *values, size_t count) {
  if (team->size == 1 || !count) return DL_OK;
  int64_t *all = dl_calloc(count * (size_t)team->size, sizeof *all);
  DL_TRY(dl_team_agree(team, all ? DL_OK : DL_ERR_NOMEM));
  dl_status status = dl_team_allgather(team, values, count * sizeof *values, all);
  if (status == DL_OK) {
    memset(values, 0, count * sizeof *values);
    for (int r = 0; r < team->size; r++)
      for (size_t i = 0; i < count; i++) values[i] += all[(size_t)r * count + i];
  }
  free(all);
  return status;
}

/* All rows go to member 0, which sums them; the result goes to all. */
dl_status dl_team_tree_sum(dl_team *team, int64_t leaves, int64_t begin, int64_t end, int width, const double *rows,
                           double *out) {
  void *all = NULL;
  size_t row = (size_t)width * sizeof(double);
  DL_TRY(dl_team_gather_bytes(team, rows, (size_t)(end - begin) * row, 0, &all, NULL));
  if (team->rank == 0) dl_tree_sum_rows(all, leaves, width, out);
  free(all);
  return dl_team_broadcast(team, out, row, 0);
}

dl_status dl_team_max_f64(dl_team *team, double *value) {
  double *all = dl_calloc((size_t)team->size, sizeof *all);
  DL_TRY(dl_team_agree(team, all ? DL_OK : DL_ERR_NOMEM));
  dl_status status = dl_team_allgather(team, value, sizeof *value, all);
  for (int r = 0; status == DL_OK && r < team->size; r++)
    if (all[r] > *value) *value = all[r];
  free(all);
  return status;
}

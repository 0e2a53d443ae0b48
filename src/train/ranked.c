/* ranked.c - columns are gathered in member order, which is file order, by one member after the other, so that several
 * sort at a time; figures are shared at the end.
 */
#include "train/ranked.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

dl_status dl_ranked_begin(dl_ranked *ranked, int64_t capacity, int64_t outputs, bool labels) {
  const size_t n = (size_t)(capacity > 0 ? capacity : 1), columns = (size_t)outputs;
  *ranked = (dl_ranked){.capacity = (int64_t)n, .outputs = outputs};
  ranked->scores = dl_calloc(n * columns, sizeof *ranked->scores);
  ranked->weight = dl_calloc(n, sizeof *ranked->weight);
  ranked->yes = dl_calloc(labels ? n : n * columns, 1);
  if (labels) ranked->label = dl_calloc(n, sizeof *ranked->label);
  return ranked->scores && ranked->weight && ranked->yes && (ranked->label || !labels) ? DL_OK : DL_ERR_NOMEM;
}

void dl_ranked_clear(dl_ranked *ranked) {
  free(ranked->scores);
  free(ranked->weight);
  free(ranked->label);
  free(ranked->yes);
  *ranked = (dl_ranked){0};
}

void dl_ranked_add(dl_ranked *ranked, const dl_metrics_block *block) {
  for (int64_t i = 0; i < block->n && ranked->n < ranked->capacity; i++) {
    if (ranked->label && block->label[i] < 0) continue;
    const int64_t at = ranked->n++;
    ranked->weight[at] = block->weight ? block->weight[i] : 1;
    ranked->weighted |= ranked->weight[at] != 1;
    if (ranked->label) ranked->label[at] = block->label[i];
    for (int64_t c = 0; c < ranked->outputs; c++) {
      ranked->scores[c * ranked->capacity + at] = block->scores[i * ranked->outputs + c];
      if (!ranked->label) ranked->yes[c * ranked->capacity + at] = block->y[i * ranked->outputs + c] > 0.5F;
    }
  }
}

/* Where a column comes together, on a member that ranks one. */
typedef struct gathered {
  int64_t n;              /* samples of all members */
  size_t *counts, *bytes; /* of each member: samples; bytes of what is sent */
  float *scores, *weight;
  uint8_t *yes;
} gathered;

static void gathered_clear(gathered *all) {
  free(all->counts);
  free(all->bytes);
  free(all->scores);
  free(all->weight);
  free(all->yes);
}

/* Collective. */
static dl_status gathered_begin(dl_team *team, const dl_ranked *ranked, bool weighted, gathered *all) {
  const size_t mine = (size_t)ranked->n;
  all->counts = dl_calloc((size_t)team->size, sizeof *all->counts);
  all->bytes = dl_calloc((size_t)team->size, sizeof *all->bytes);
  DL_TRY(dl_team_agree(team, all->counts && all->bytes ? DL_OK : DL_ERR_NOMEM));
  DL_TRY(dl_team_allgather(team, &mine, sizeof mine, all->counts));
  for (int r = 0; r < team->size; r++) all->n += (int64_t)all->counts[r];
  dl_status status = DL_OK;
  if (team->rank < ranked->outputs) {
    all->scores = dl_calloc((size_t)all->n + 1, sizeof *all->scores);
    all->yes = dl_calloc((size_t)all->n + 1, 1);
    if (weighted) all->weight = dl_calloc((size_t)all->n + 1, sizeof *all->weight);
    if (!all->scores || !all->yes || (weighted && !all->weight)) status = DL_ERR_NOMEM;
  }
  return dl_team_agree(team, status);
}

/* Collective: `size` bytes a sample of each member to `root`. */
static dl_status gather(dl_team *team, gathered *all, const void *send, size_t size, void *out, int root) {
  for (int r = 0; r < team->size; r++) all->bytes[r] = all->counts[r] * size;
  return team->ops->gather(team, send, all->bytes, out, root);
}

/* Collective; only `root` has something to rank, and a status of its own in *ranking. */
static dl_status rank_column(dl_team *team, dl_ranked *ranked, int64_t column, gathered *all, dl_rank_figures *out,
                             dl_curves *curves, dl_status *ranking) {
  const int root = (int)(column % team->size);
  uint8_t *truth = ranked->label ? ranked->yes : ranked->yes + column * ranked->capacity;
  if (ranked->label)
    for (int64_t i = 0; i < ranked->n; i++) truth[i] = ranked->label[i] == column;
  DL_TRY(gather(team, all, ranked->scores + column * ranked->capacity, sizeof(float), all->scores, root));
  DL_TRY(gather(team, all, truth, 1, all->yes, root));
  if (team->rank == root && *ranking == DL_OK)
    *ranking = dl_rank(all->n, all->scores, all->yes, all->weight, out, column == 0 ? curves : NULL);
  return DL_OK;
}

static dl_status rank_all(dl_team *team, dl_ranked *ranked, gathered *all, bool weighted, dl_rank_figures *out,
                          dl_curves *curves) {
  const int64_t roots = ranked->outputs < team->size ? ranked->outputs : team->size;
  dl_status ranking = DL_OK;
  for (int root = 0; weighted && root < roots; root++)
    DL_TRY(gather(team, all, ranked->weight, sizeof(float), all->weight, root));
  for (int64_t c = 0; c < ranked->outputs; c++) DL_TRY(rank_column(team, ranked, c, all, &out[c], curves, &ranking));
  return ranking;
}

/* The member that ranked a column shares its figures by adding their bits to everybody else's zeros. */
static dl_status share(dl_team *team, int64_t outputs, dl_rank_figures *figures) {
  const size_t count = (size_t)outputs * sizeof *figures / sizeof(int64_t);
  int64_t *bits = dl_calloc(count, sizeof *bits);
  DL_TRY(dl_team_agree(team, bits ? DL_OK : DL_ERR_NOMEM));
  memcpy(bits, figures, count * sizeof *bits);
  dl_status status = dl_team_sum_i64(team, bits, count);
  memcpy(figures, bits, count * sizeof *bits);
  free(bits);
  return status;
}

dl_status dl_ranked_finish(dl_team *team, dl_ranked *ranked, dl_rank_figures *out, dl_curves *curves) {
  int64_t weighted = ranked->weighted;
  gathered all = {0};
  DL_TRY(dl_team_sum_i64(team, &weighted, 1));
  memset(out, 0, (size_t)ranked->outputs * sizeof *out);
  dl_status status = gathered_begin(team, ranked, weighted > 0, &all);
  if (status == DL_OK) status = dl_team_agree(team, rank_all(team, ranked, &all, weighted > 0, out, curves));
  if (status == DL_OK) status = share(team, ranked->outputs, out);
  gathered_clear(&all);
  return status;
}

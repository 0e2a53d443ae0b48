/* ranked.c - columns are gathered in member order, which is file order; the member that ranks a column shares its
 * figures by adding their bits to everybody else's zeros.
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

/* Collective; only `root` gets something to rank. */
static dl_status rank_column(dl_team *team, dl_ranked *ranked, int64_t column, int root, bool weighted,
                             dl_rank_figures *out, dl_curves *curves) {
  void *scores = NULL, *yes = NULL, *weight = NULL;
  const size_t n = (size_t)ranked->n;
  uint8_t *truth = ranked->label ? ranked->yes : ranked->yes + column * ranked->capacity;
  size_t bytes = 0;
  if (ranked->label)
    for (size_t i = 0; i < n; i++) truth[i] = ranked->label[i] == column;
  dl_status status =
      dl_team_gather_bytes(team, ranked->scores + column * ranked->capacity, n * sizeof(float), root, &scores, &bytes);
  if (status == DL_OK) status = dl_team_gather_bytes(team, truth, n, root, &yes, NULL);
  if (status == DL_OK && weighted)
    status = dl_team_gather_bytes(team, ranked->weight, n * sizeof(float), root, &weight, NULL);
  if (status == DL_OK && team->rank == root)
    status = dl_rank((int64_t)(bytes / sizeof(float)), scores, yes, weight, out, curves);
  free(scores);
  free(yes);
  free(weight);
  return status;
}

dl_status dl_ranked_finish(dl_team *team, dl_ranked *ranked, dl_rank_figures *out, dl_curves *curves) {
  int64_t weighted = ranked->weighted;
  DL_TRY(dl_team_sum_i64(team, &weighted, 1));
  memset(out, 0, (size_t)ranked->outputs * sizeof *out);
  dl_status status = DL_OK;
  for (int64_t c = 0; c < ranked->outputs; c++) {
    const int root = (int)(c % team->size);
    status = rank_column(team, ranked, c, root, weighted > 0, &out[c], c == 0 ? curves : NULL);
    DL_TRY(dl_team_agree(team, status));
  }
  int64_t bits[sizeof *out / sizeof(int64_t)];
  for (int64_t c = 0; c < ranked->outputs; c++) {
    memcpy(bits, &out[c], sizeof bits);
    DL_TRY(dl_team_sum_i64(team, bits, sizeof bits / sizeof bits[0]));
    memcpy(&out[c], bits, sizeof bits);
  }
  return DL_OK;
}

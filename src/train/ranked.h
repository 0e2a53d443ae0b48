/* ranked.h - scores of a split that are kept until all are there, for figures that need their order (floor: train,
 * private to evaluation).
 *
 * Every member keeps its own samples' scores (4 bytes a score, and the truth). Column after column is then gathered in
 * file order by one member, the columns taking turns among them, and ranked there: 21 to 25 bytes a sample of the split
 * at a time. What comes out does not depend on the number of members.
 */
#ifndef DL_TRAIN_RANKED_H
#define DL_TRAIN_RANKED_H

#include "core/team.h"
#include "metrics/metrics.h"

#define DL_RANKED_SCORES (1ll << 28) /* scores of a split, all members together, above which none are kept */

typedef struct dl_ranked {
  int64_t n, capacity, outputs;
  float *scores, *weight; /* (outputs, capacity), (capacity) */
  int32_t *label;         /* (capacity), or NULL where `yes` (outputs, capacity) has the truth */
  uint8_t *yes;           /* with labels: of the column at hand */
  bool weighted;          /* a weight other than 1 was seen */
} dl_ranked;

/* Room for `capacity` samples. Not collective, like _add and _clear. */
dl_status dl_ranked_begin(dl_ranked *ranked, int64_t capacity, int64_t outputs, bool labels);
void dl_ranked_add(dl_ranked *ranked, const dl_metrics_block *block);
void dl_ranked_clear(dl_ranked *ranked);

/* The figures of each output, on all members; curves (of output 0) on member 0, or NULL everywhere. Collective. */
dl_status dl_ranked_finish(dl_team *team, dl_ranked *ranked, dl_rank_figures *out, dl_curves *curves);

#endif

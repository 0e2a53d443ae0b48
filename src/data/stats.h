/* stats.h - what a data set's values are like: exact statistics of every feature, channel, label or token (floor:
 * data).
 *
 * Every figure of a column is a function of its values alone, taken in ascending order by one member with compensated
 * sums; sums over pairs of columns run along the canonical tree over fixed blocks of rows. So all figures have the same
 * bits at any number of members.
 */
#ifndef DL_DATA_STATS_H
#define DL_DATA_STATS_H

#include "core/json.h"
#include "core/team.h"

#define DL_STATS_MEMORY_BYTES (1024LL << 20)

typedef struct dl_stats_options {
  const char *file;     /* HDF5, samples first */
  const char *split;    /* "train": SPLIT/x, SPLIT/y, or SPLIT/tokens; NULL: the first of train, valid, test there is */
  const char *x, *y;    /* other names of the data sets, NULL: by the split */
  bool nhwc;            /* images lie N,H,W,C in the file */
  int64_t memory_bytes; /* what a member may hold beside a block of rows; 0: DL_STATS_MEMORY_BYTES */
} dl_stats_options;

/* One JSON object with everything (docs/statistics.md names the members), on member 0; NULL elsewhere. Collective;
 * errors are agreed on: DL_ERR_DATA with file and data set. Costs a pass over the file to look at the values, one for
 * as many columns as memory_bytes holds, one or two each for correlations, mutual information and naive Bayes. A column
 * of which memory_bytes holds less than a third is read once for every piece of its values that fits, up to four times.
 */
dl_status dl_stats(dl_team *team, const dl_stats_options *options, dl_json **out);

#endif

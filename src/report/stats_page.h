/* stats_page.h - what `dldist data stats` found, as a table and as a page (floor: report).
 *
 * `stats` is the JSON object of dl_stats; members that are missing or of another type are passed over. The caller frees
 * *out.
 */
#ifndef DL_REPORT_STATS_PAGE_H
#define DL_REPORT_STATS_PAGE_H

#include "core/json.h"

/* A line a column, for at most 60 columns; classes, baseline and the strongest correlations below. */
dl_status dl_stats_table(const dl_json *stats, char **out);

/* One self-contained HTML page with inline pictures, of at most 200 columns. */
dl_status dl_stats_page(const dl_json *stats, char **out, size_t *bytes);

#endif

/* run_page.h - RUN/report.html: what a run did, and how it compares with others (floor: report). */
#ifndef DL_REPORT_RUN_PAGE_H
#define DL_REPORT_RUN_PAGE_H

#include "report/page.h"
#include "report/run_log.h"

#define DL_REPORT_RUNS 32

/* A self-contained page about logs[which]; with several logs a comparison of all comes first. Its size is bounded
 * whatever the length of the runs. The caller frees *out. */
dl_status dl_run_page(const dl_run_log *logs, int n, int which, char **out, size_t *bytes);

/* Reads the folders and writes report.html into each (atomically). DL_ERR_USAGE for more than DL_REPORT_RUNS,
 * DL_ERR_DATA for a folder that is no run's. */
dl_status dl_report_write(const char *const *folders, int n);

/* ---- its parts ---- */

void dl_run_page_curves(dl_page *page, const dl_run_log *logs, int n);     /* run_curves.c */
void dl_run_page_comparison(dl_page *page, const dl_run_log *logs, int n); /* run_compare_page.c */

/* Names of the scores that the evaluations hold (not the loss), in order, at most `most`; borrowed from the logs. */
int dl_run_page_scores(const dl_run_log *logs, int n, const char **names, int most);

/* A run's last path component: how it is called beside others. */
const char *dl_run_page_name(const dl_run_log *log);

#endif

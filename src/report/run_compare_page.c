/* run_compare_page.c - several runs side by side: how they ended, in which keys of the configuration they differ. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "report/page.h"
#include "report/run_page.h"

enum { MOST_SCORES = 3, MOST_DIFFERENCES = 300, PATH_BYTES = 256, VALUE_BYTES = 120 };

/* ---- how they ended ---- */

static double last_score(const dl_run_log *log, const char *split, const char *key) {
  double value = NAN;
  for (size_t i = 0; i < dl_json_size(log->evals); i++) {
    const dl_json *eval = dl_json_at(log->evals, i);
    const char *its = dl_json_string(dl_json_get(eval, "split"));
    if (its && !strcmp(its, split)) value = dl_json_real(dl_json_get(eval, key), value);
  }
  return value;
}

static void put_figure(FILE *s, double value) {
  char text[32];
  fprintf(s, "<td>%s</td>", dl_page_number(value, text));
}

static void put_run(FILE *s, const dl_run_log *log, int colour, const char *const *scores, int n_scores) {
  const char *status = dl_json_string(dl_json_get(log->end, "status")),
             *digest = dl_json_string(dl_json_get(log->end, "weights_sha256"));
  double last = log->steps ? log->figure[DL_LOG_STEP][log->steps - 1] : NAN;
  fprintf(s, "<tr><td><span class=\"key\" style=\"margin-left:0;background:var(--c%d)\"></span>", colour % 8);
  dl_page_text(s, dl_run_page_name(log));
  fputs("</td><td>", s);
  dl_page_text(s, status ? status : "no end");
  fputs("</td>", s);
  put_figure(s, dl_json_real(dl_json_get(log->start, "parameters"), NAN));
  put_figure(s, dl_json_real(dl_json_get(log->start, "ranks"), NAN));
  put_figure(s, dl_json_real(dl_json_get(log->end, "steps"), last));
  put_figure(s, dl_json_real(dl_json_get(log->end, "seconds"), NAN));
  put_figure(s, dl_json_real(dl_json_get(log->end, "samples_per_s"), NAN));
  put_figure(s, log->steps ? log->figure[DL_LOG_LOSS][log->steps - 1] : NAN);
  for (int k = -1; k < n_scores; k++) {
    put_figure(s, last_score(log, "valid", k < 0 ? "loss" : scores[k]));
    put_figure(s, last_score(log, "test", k < 0 ? "loss" : scores[k]));
  }
  fputs("<td>", s);
  dl_page_textf(s, "%.12s", digest ? digest : "-");
  fputs("</td></tr>\n", s);
}

static void put_runs(FILE *s, const dl_run_log *logs, int n) {
  const char *scores[MOST_SCORES];
  int n_scores = dl_run_page_scores(logs, n, scores, MOST_SCORES);
  fputs(
      "<div class=\"scroll\"><table><tr><th>run</th><th>status</th><th>parameters</th><th>ranks</th><th>steps</th>"
      "<th>seconds</th><th>samples/s</th><th>last loss</th>",
      s);
  for (int k = -1; k < n_scores; k++) {
    fputs("<th>valid ", s);
    dl_page_text(s, k < 0 ? "loss" : scores[k]);
    fputs("</th><th>test ", s);
    dl_page_text(s, k < 0 ? "loss" : scores[k]);
    fputs("</th>", s);
  }
  fputs("<th>weights</th></tr>\n", s);
  for (int r = 0; r < n; r++) put_run(s, &logs[r], r, scores, n_scores);
  fputs("</table></div>\n", s);
}

/* ---- in what they differ ---- */

typedef struct differences {
  const dl_run_log *logs;
  int n, found;
  FILE *stream;
  char seen[MOST_DIFFERENCES][PATH_BYTES];
} differences;

static const char *value_at(const dl_run_log *log, const char *path, char text[VALUE_BYTES]) {
  const dl_node *node = log->document.root ? dl_node_find(log->document.root, path) : NULL;
  if (!node) return "-";
  if (node->kind == DL_NODE_SCALAR || node->kind == DL_NODE_NULL)
    return node->kind == DL_NODE_NULL ? "null" : node->text;
  snprintf(text, VALUE_BYTES, "%zu entries", dl_node_size(node));
  return text;
}

static void compare_leaf(differences *d, const char *path) {
  char first[VALUE_BYTES], other[VALUE_BYTES];
  bool differs = false;
  const char *value = value_at(&d->logs[0], path, first);
  for (int r = 1; r < d->n; r++) differs = differs || strcmp(value, value_at(&d->logs[r], path, other)) != 0;
  if (!differs || d->found == MOST_DIFFERENCES) return;
  for (int i = 0; i < d->found; i++)
    if (!strcmp(d->seen[i], path)) return;
  snprintf(d->seen[d->found++], PATH_BYTES, "%s", path);
  fputs("<tr><td>", d->stream);
  dl_page_text(d->stream, path);
  fputs("</td>", d->stream);
  for (int r = 0; r < d->n; r++) {
    fputs("<td>", d->stream);
    dl_page_textf(d->stream, "%.80s", value_at(&d->logs[r], path, other));
    fputs("</td>", d->stream);
  }
  fputs("</tr>\n", d->stream);
}

static void compare_below(differences *d, const dl_node *node, const char *path) {
  char below[PATH_BYTES];
  int number = 0;
  if (node->kind != DL_NODE_MAP && node->kind != DL_NODE_LIST) {
    compare_leaf(d, path);
    return;
  }
  for (const dl_node *child = node->first; child; child = child->next, number++) {
    int length = child->key ? snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", child->key)
                            : snprintf(below, sizeof below, "%s%s%d", path, *path ? "." : "", number);
    if (length > 0 && length < PATH_BYTES) compare_below(d, child, below);
  }
}

static void put_differences(FILE *s, const dl_run_log *logs, int n) {
  differences *d = dl_calloc(1, sizeof *d);
  if (!d) return;
  d->logs = logs;
  d->n = n;
  d->stream = s;
  fputs("<h3>Configurations</h3><div class=\"scroll\"><table><tr><th>key</th>", s);
  for (int r = 0; r < n; r++) {
    fputs("<th>", s);
    dl_page_text(s, dl_run_page_name(&logs[r]));
    fputs("</th>", s);
  }
  fputs("</tr>\n", s);
  for (int r = 0; r < n; r++)
    if (logs[r].document.root) compare_below(d, logs[r].document.root, "");
  fputs("</table></div>", s);
  if (d->found == 0) fputs("<p class=\"mute\">no difference</p>", s);
  if (d->found == MOST_DIFFERENCES) fprintf(s, "<p class=\"mute\">the first %d differences</p>", MOST_DIFFERENCES);
  free(d);
}

void dl_run_page_comparison(dl_page *page, const dl_run_log *logs, int n) {
  FILE *s = page->stream;
  dl_page_section(page, "Comparison");
  put_runs(s, logs, n);
  put_differences(s, logs, n);
  dl_run_page_curves(page, logs, n);
}

/* run_page.c - the page about a run: figures, curves, confusion, curves of a ranking, warnings, environment,
 * configuration. */
#include "report/run_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "report/chart.h"
#include "report/page.h"

enum { MOST_CLASSES = 100, MOST_POINTS = 2000, MOST_CONFIG = 200000 };

const char *dl_run_page_name(const dl_run_log *log) {
  const char *slash = strrchr(log->folder, '/');
  return slash && slash[1] ? slash + 1 : log->folder;
}

static double real_of(const dl_json *object, const char *key) { return dl_json_real(dl_json_get(object, key), NAN); }

/* ---- figures ---- */

static void tile(FILE *s, const char *name, const char *value) {
  fputs("<div class=\"tile\"><b>", s);
  dl_page_text(s, value);
  fputs("</b>", s);
  dl_page_text(s, name);
  fputs("</div>", s);
}

static void number_tile(FILE *s, const char *name, double value) {
  char text[32];
  if (isfinite(value)) tile(s, name, dl_page_number(value, text));
}

static void put_tiles(FILE *s, const dl_run_log *log) {
  const char *status = dl_json_string(dl_json_get(log->end, "status"));
  double seconds = real_of(log->end, "seconds"), last = log->steps ? log->figure[DL_LOG_STEP][log->steps - 1] : NAN;
  char text[32];
  fputs("<div class=\"tiles\">", s);
  tile(s, "status", status ? status : "has no end yet");
  number_tile(s, "epochs", real_of(log->end, "epochs"));
  number_tile(s, "steps", log->end ? real_of(log->end, "steps") : last);
  if (isfinite(seconds) && seconds >= 0 && seconds < 1e9) tile(s, "time", dl_format_duration(seconds, text));
  number_tile(s, "samples a second", real_of(log->end, "samples_per_s"));
  number_tile(s, "tokens a second", real_of(log->end, "tokens_per_s"));
  number_tile(s, "parameters", real_of(log->start, "parameters"));
  number_tile(s, "training samples", real_of(log->start, "train_samples"));
  number_tile(s, "members", real_of(log->start, "ranks"));
  number_tile(s, "checkpoints", (double)log->checkpoints);
  const dl_json *best = log->end ? dl_json_get(log->end, "best") : NULL;
  if (best) number_tile(s, "best epoch", real_of(best, "epoch"));
  fputs("</div>\n", s);
}

/* ---- the last evaluation of each split ---- */

static void put_scores(dl_page *page, const dl_run_log *log) {
  static const char *const splits[] = {"train", "valid", "test"};
  FILE *s = page->stream;
  if (dl_json_size(log->evals) == 0) return;
  dl_page_section(page, "Last evaluations");
  fputs("<div class=\"tiles\">", s);
  for (int k = 0; k < 3; k++) {
    const dl_json *last = NULL, *value;
    for (size_t i = 0; i < dl_json_size(log->evals); i++) {
      const char *its = dl_json_string(dl_json_get(dl_json_at(log->evals, i), "split"));
      if (its && !strcmp(its, splits[k])) last = dl_json_at(log->evals, i);
    }
    void *position = NULL;
    const char *key;
    char text[32];
    if (!last) continue;
    fprintf(s, "<div class=\"card\"><h3>%s</h3><table>", splits[k]);
    while (dl_json_next(last, &position, &key, &value))
      if (dl_json_is_number(value) && strcmp(key, "time") != 0)
        dl_page_row(s, key, dl_page_number(dl_json_real(value, NAN), text));
    fputs("</table></div>", s);
  }
  fputs("</div>\n", s);
}

/* ---- confusion ---- */

static void put_matrix(FILE *s, const dl_json *rows, const dl_json *class_names, int n) {
  char numbers[MOST_CLASSES][8];
  const char *names[MOST_CLASSES];
  double *values = dl_calloc((size_t)n * (size_t)n, sizeof *values);
  if (!values) return;
  for (int i = 0; i < n; i++) {
    snprintf(numbers[i], sizeof numbers[i], "%d", i);
    names[i] = dl_json_string(dl_json_at(class_names, (size_t)i));
    if (!names[i]) names[i] = numbers[i];
    for (int j = 0; j < n; j++) values[i * n + j] = dl_json_real(dl_json_at(dl_json_at(rows, (size_t)i), (size_t)j), 0);
  }
  dl_chart_heat(s, names, values, n, true);
  free(values);
}

static void put_confusion(dl_page *page, const dl_run_log *log) {
  const dl_json *from = dl_json_get(log->evaluation, "confusion") ? log->evaluation : log->matrix;
  const dl_json *rows = dl_json_get(from, "confusion");
  int n = dl_json_size(rows) <= MOST_CLASSES ? (int)dl_json_size(rows) : 0;
  const char *split = dl_json_string(dl_json_get(from, "split"));
  if (n == 0) return;
  dl_page_section(page, "Confusion");
  fputs("<p class=\"mute\">row: truth, column: predicted; shade: share of the row; ", page->stream);
  dl_page_textf(page->stream, "%.20s, epoch %.0f", split ? split : "", real_of(from, "epoch"));
  fputs("</p>", page->stream);
  put_matrix(page->stream, rows, dl_json_get(log->evaluation, "class_names"), n);
}

/* ---- ranking: ROC, precision and recall ---- */

static int column(const dl_json *array, double *out) {
  int n = 0;
  for (size_t i = 0; i < dl_json_size(array) && n < MOST_POINTS; i++)
    out[n++] = dl_json_real(dl_json_at(array, i), NAN);
  return n;
}

static void put_curve(FILE *s, const dl_json *curve, const char *title, const char *x_key, const char *y_key,
                      bool diagonal) {
  double *x = dl_calloc(2 * MOST_POINTS, sizeof *x), *y = x ? x + MOST_POINTS : NULL;
  static const double ends[] = {0, 1};
  if (!x) return;
  int n = column(dl_json_get(curve, x_key), x), m = column(dl_json_get(curve, y_key), y);
  dl_series series[2] = {{.name = title, .x = x, .y = y, .n = n < m ? n : m},
                         {.name = "by chance", .x = ends, .y = ends, .n = 2, .colour = 7, .dashed = true}};
  dl_chart chart = {.title = title, .x_name = x_key, .series = series, .n_series = 1 + diagonal, .from_zero = true};
  if (n > 1) dl_chart_lines(s, &chart);
  free(x);
}

static void put_ranking(dl_page *page, const dl_json *evaluation) {
  const dl_json *roc = dl_json_get(evaluation, "roc_curve"), *pr = dl_json_get(evaluation, "pr_curve");
  if (!roc && !pr) return;
  dl_page_section(page, "Thresholds");
  fputs("<div class=\"grid\">", page->stream);
  put_curve(page->stream, roc, "ROC: true against false positive rate", "fpr", "tpr", true);
  put_curve(page->stream, pr, "precision against recall", "recall", "precision", false);
  fputs("</div>\n", page->stream);
}

/* ---- tables of an evaluation: {"precision": [one a class], ...} ---- */

static bool is_table(const char *key, const dl_json *value) {
  const dl_json *first;
  void *position = NULL;
  const char *name;
  return strcmp(key, "roc_curve") != 0 && strcmp(key, "pr_curve") != 0 && dl_json_is_object(value) &&
         dl_json_next(value, &position, &name, &first) && dl_json_is_array(first) &&
         dl_json_size(first) <= MOST_CLASSES;
}

static void put_table(FILE *s, const dl_json *table, const dl_json *class_names) {
  void *position = NULL;
  const char *key;
  const dl_json *value;
  size_t rows = 0;
  char text[32];
  fputs("<div class=\"scroll\"><table><tr><th></th>", s);
  while (dl_json_next(table, &position, &key, &value)) {
    rows = dl_json_size(value) > rows ? dl_json_size(value) : rows;
    fputs("<th>", s);
    dl_page_text(s, key);
    fputs("</th>", s);
  }
  fputs("</tr>", s);
  for (size_t i = 0; i < rows && i < MOST_CLASSES; i++) {
    const char *name = dl_json_string(dl_json_at(class_names, i));
    fputs("<tr><td>", s);
    if (name)
      dl_page_text(s, name);
    else
      fprintf(s, "%zu", i);
    fputs("</td>", s);
    position = NULL;
    while (dl_json_next(table, &position, &key, &value))
      fprintf(s, "<td>%s</td>", dl_page_number(dl_json_real(dl_json_at(value, i), NAN), text));
    fputs("</tr>", s);
  }
  fputs("</table></div>\n", s);
}

static void put_tables(dl_page *page, const dl_json *evaluation) {
  void *position = NULL;
  const char *key;
  const dl_json *value;
  while (dl_json_next(evaluation, &position, &key, &value)) {
    if (!is_table(key, value)) continue;
    dl_page_section(page, key);
    put_table(page->stream, value, dl_json_get(evaluation, "class_names"));
  }
}

/* ---- warnings, environment, configuration ---- */

static void put_warnings(dl_page *page, const dl_run_log *log) {
  FILE *s = page->stream;
  size_t n = dl_json_size(log->warnings);
  if (n == 0 && log->foreign == 0) return;
  dl_page_section(page, "Warnings");
  for (size_t i = 0; i < n; i++) {
    const dl_json *one = dl_json_at(log->warnings, i);
    const char *message = dl_json_string(dl_json_get(one, "message")), *code = dl_json_string(dl_json_get(one, "code"));
    fputs("<div class=\"warn\"><b>", s);
    dl_page_text(s, code ? code : "");
    fputs("</b> ", s);
    dl_page_text(s, message ? message : "");
    fputs("</div>", s);
  }
  if (log->n_warnings > (int64_t)n)
    fprintf(s, "<p class=\"mute\">and %lld more</p>", (long long)log->n_warnings - (long long)n);
  if (log->foreign > 0)
    fprintf(s, "<div class=\"warn\">metrics.jsonl has %lld line%s that could not be read; they were passed over</div>",
            (long long)log->foreign, log->foreign == 1 ? "" : "s");
}

static void put_members(FILE *s, const dl_json *object, const char *prefix, int depth) {
  void *position = NULL;
  const char *key;
  const dl_json *value;
  int shown = 0;
  while (shown++ < 100 && dl_json_next(object, &position, &key, &value)) {
    char name[128], number[32], *text = NULL;
    snprintf(name, sizeof name, "%s%s", prefix, key);
    if (dl_json_is_object(value) && depth < 3) {
      strncat(name, " ", sizeof name - strlen(name) - 1);
      put_members(s, value, name, depth + 1);
    } else if (dl_json_is_number(value)) {
      dl_page_row(s, name, dl_page_number(dl_json_real(value, NAN), number));
    } else if (dl_json_string(value)) {
      dl_page_row(s, name, dl_json_string(value));
    } else if (dl_json_text(value, false, &text) == DL_OK) {
      dl_page_row(s, name, text);
    }
    free(text);
  }
}

static void put_environment(dl_page *page, const dl_run_log *log) {
  if (!log->start) return;
  dl_page_section(page, "Environment");
  fputs("<div class=\"scroll\"><table>", page->stream);
  put_members(page->stream, log->start, "", 0);
  fputs("</table></div>", page->stream);
}

static void put_config(dl_page *page, const dl_run_log *log) {
  if (!log->config) return;
  dl_page_section(page, "Configuration");
  fputs("<pre>", page->stream);
  char line[256];
  int shown = 0;
  for (const char *p = log->config; *p && shown < MOST_CONFIG;) { /* line by line: text is cut at its own bound */
    size_t length = strcspn(p, "\n");
    shown += (int)length + 1;
    for (size_t at = 0; at < length; at += sizeof line - 1) {
      size_t part = length - at < sizeof line - 1 ? length - at : sizeof line - 1;
      memcpy(line, p + at, part);
      line[part] = 0;
      dl_page_text(page->stream, line);
    }
    fputs("\n", page->stream);
    p += length + (p[length] == '\n');
  }
  fputs("</pre>", page->stream);
}

/* ---- the page ---- */

dl_status dl_run_page(const dl_run_log *logs, int n, int which, char **out, size_t *bytes) {
  const dl_run_log *log = &logs[which];
  dl_page page;
  char title[200];
  *out = NULL;
  snprintf(title, sizeof title, "Run %.120s", dl_run_page_name(log));
  const dl_node *name = log->document.root ? dl_node_find(log->document.root, "name") : NULL;
  DL_TRY(dl_page_begin(&page, title, name && name->kind == DL_NODE_SCALAR ? name->text : ""));
  put_tiles(page.stream, log);
  if (n > 1) dl_run_page_comparison(&page, logs, n);
  put_scores(&page, log);
  dl_page_section(&page, "Curves");
  if (log->stride > 1)
    fprintf(page.stream, "<p class=\"mute\">of a long run: every %lld. logged step</p>", (long long)log->stride);
  dl_run_page_curves(&page, log, 1);
  put_confusion(&page, log);
  put_ranking(&page, log->evaluation);
  put_tables(&page, log->evaluation);
  put_warnings(&page, log);
  put_environment(&page, log);
  put_config(&page, log);
  return dl_page_end(&page, out, bytes);
}

static dl_status write_page(const dl_run_log *logs, int n, int which) {
  char *text = NULL, *path = dl_path_join(logs[which].folder, "report.html");
  size_t bytes = 0;
  dl_status status = path ? dl_run_page(logs, n, which, &text, &bytes) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_file_write_atomic(path, text, bytes);
  free(text);
  free(path);
  return status;
}

dl_status dl_report_write(const char *const *folders, int n) {
  if (n < 1 || n > DL_REPORT_RUNS) return dl_fail(DL_ERR_USAGE, "from 1 to %d runs can be compared", DL_REPORT_RUNS);
  dl_run_log *logs = dl_calloc((size_t)n, sizeof *logs);
  dl_status status = logs ? DL_OK : DL_ERR_NOMEM;
  int read = 0;
  for (; status == DL_OK && read < n; read++) status = dl_run_log_read(folders[read], &logs[read]);
  for (int i = 0; status == DL_OK && i < n; i++) status = write_page(logs, n, i);
  for (int i = 0; logs && i < read; i++) dl_run_log_clear(&logs[i]);
  free(logs);
  return status;
}

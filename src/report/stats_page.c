/* stats_page.c - what `dldist data stats` found, as a page: a card a column, class balance, correlations. */
#include "report/stats_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "report/chart.h"
#include "report/page.h"

enum { MOST_COLUMNS = 200, MOST_BINS = 128, MOST_CURVES = 3, MOST_NAMES = 100 };

static double real_of(const dl_json *object, const char *key) { return dl_json_real(dl_json_get(object, key), NAN); }
static const char *text_of(const dl_json *object, const char *key) {
  const char *text = dl_json_string(dl_json_get(object, key));
  return text ? text : "";
}

/* Numbers of an array, at most `most`; returns how many. */
static int numbers(const dl_json *array, double *out, int most) {
  int n = 0;
  for (size_t i = 0; i < dl_json_size(array) && n < most; i++) out[n++] = dl_json_real(dl_json_at(array, i), NAN);
  return n;
}

static void tile(FILE *s, const char *name, double value) {
  char text[32];
  fprintf(s, "<div class=\"tile\"><b>%s</b>", dl_page_number(value, text));
  dl_page_text(s, name);
  fputs("</div>", s);
}

/* ---- a column ---- */

static void put_histogram(FILE *s, const dl_json *column) {
  double edges[MOST_BINS + 1], counts[MOST_BINS], expected[MOST_CURVES][MOST_BINS];
  dl_chart_curve curves[MOST_CURVES];
  const dl_json *histogram = dl_json_get(column, "histogram"), *fits = dl_json_get(column, "fits");
  int bins = numbers(dl_json_get(histogram, "counts"), counts, MOST_BINS), n = 0;
  if (bins == 0 || numbers(dl_json_get(histogram, "edges"), edges, MOST_BINS + 1) != bins + 1) return;
  for (int pass = 0; pass < 2; pass++) /* the best one, then the normal to compare with */
    for (size_t i = 0; i < dl_json_size(fits) && n < 2; i++) {
      const dl_json *fit = dl_json_at(fits, i);
      bool best = dl_json_bool(dl_json_get(fit, "best"), false);
      if (pass == 0 ? !best : best || strcmp(text_of(fit, "family"), "normal")) continue;
      if (numbers(dl_json_get(fit, "expected"), expected[n], MOST_BINS) != bins) continue;
      curves[n] = (dl_chart_curve){text_of(fit, "family"), expected[n], pass == 0 ? 1 : 7};
      n++;
    }
  dl_chart_histogram(s, edges, counts, bins, curves, n);
  if (n == 0) return;
  fputs("<p class=\"mute\">", s);
  for (int i = 0; i < n; i++) {
    fprintf(s, "<span class=\"key\" style=\"background:var(--c%d)\"></span>", curves[i].colour);
    dl_page_text(s, curves[i].name);
  }
  fputs("</p>", s);
}

static void put_figures(FILE *s, const dl_json *column) {
  static const char *const keys[][2] = {{"count", "missing"},  {"mean", "std"},
                                        {"min", "max"},        {"skewness", "kurtosis"},
                                        {"distinct", "zeros"}, {"entropy_bits", "mutual_information_bits"}};
  char text[32];
  fputs("<table>", s);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    fputs("<tr>", s);
    for (int k = 0; k < 2; k++) {
      double value = real_of(column, keys[i][k]);
      fprintf(s, "<td class=\"mute\" style=\"text-align:left\">%s</td><td>%s</td>",
              strcmp(keys[i][k], "mutual_information_bits") ? keys[i][k] : "information on y",
              dl_page_number(value, text));
    }
    fputs("</tr>", s);
  }
  fputs("</table>", s);
}

static void put_infinite(FILE *s, const dl_json *column) {
  char text[32];
  const double n = real_of(column, "infinite");
  if (n > 0)
    fprintf(s, "<p class=\"mute\">%s infinite value%s left out</p>", dl_page_number(n, text), n == 1 ? " is" : "s are");
}

static void put_quantiles(FILE *s, const dl_json *quantiles) {
  void *position = NULL;
  const char *key;
  const dl_json *value;
  char text[32];
  fputs("<div class=\"scroll\"><table class=\"small\"><tr><th>quantile</th>", s);
  while (dl_json_next(quantiles, &position, &key, &value)) {
    fputs("<th>", s);
    dl_page_text(s, key);
    fputs("</th>", s);
  }
  fputs("</tr><tr><td></td>", s);
  position = NULL;
  while (dl_json_next(quantiles, &position, &key, &value))
    fprintf(s, "<td>%s</td>", dl_page_number(dl_json_real(value, NAN), text));
  fputs("</tr></table></div>", s);
}

static void put_parameters(FILE *s, const dl_json *parameters) {
  void *position = NULL;
  const char *key;
  const dl_json *value;
  char text[32];
  while (dl_json_next(parameters, &position, &key, &value))
    dl_page_textf(s, "%s %s ", key, dl_page_number(dl_json_real(value, NAN), text));
}

static void put_fits(FILE *s, const dl_json *fits) {
  char text[32];
  if (dl_json_size(fits) == 0) return;
  fputs("<div class=\"scroll\"><table><tr><th>fit</th><th>AIC</th><th>KS</th><th class=\"left\">parameters</th></tr>",
        s);
  for (size_t i = 0; i < dl_json_size(fits); i++) {
    const dl_json *fit = dl_json_at(fits, i);
    fprintf(s, "<tr><td%s>", dl_json_bool(dl_json_get(fit, "best"), false) ? " class=\"best\"" : "");
    dl_page_text(s, text_of(fit, "family"));
    fprintf(s, "</td><td>%s</td>", dl_page_number(real_of(fit, "aic"), text));
    fprintf(s, "<td>%s</td><td class=\"left\">", dl_page_number(real_of(fit, "ks"), text));
    put_parameters(s, dl_json_get(fit, "parameters"));
    fputs("</td></tr>", s);
  }
  fputs("</table></div>", s);
}

static void put_posterior(FILE *s, const dl_json *posterior) {
  static const char *const keys[] = {"mean", "variance", "p"};
  char low[32], high[32];
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const dl_json *interval = dl_json_get(posterior, keys[i]);
    if (!interval) continue;
    fprintf(s, "<p class=\"mute\">%s: %s to %s with 95%% probability</p>", keys[i],
            dl_page_number(real_of(interval, "low"), low), dl_page_number(real_of(interval, "high"), high));
  }
}

static void put_column(FILE *s, const dl_json *column) {
  fputs("<div class=\"card\"><h3>", s);
  dl_page_text(s, text_of(column, "name"));
  fputs("</h3>", s);
  put_histogram(s, column);
  put_figures(s, column);
  put_infinite(s, column);
  put_quantiles(s, dl_json_get(column, "quantiles"));
  put_fits(s, dl_json_get(column, "fits"));
  put_posterior(s, dl_json_get(column, "posterior"));
  fputs("</div>\n", s);
}

static void put_columns(dl_page *page, const char *title, const dl_json *columns) {
  size_t n = dl_json_size(columns);
  if (n == 0) return;
  dl_page_section(page, title);
  if (n > MOST_COLUMNS)
    fprintf(page->stream, "<p class=\"mute\">the first %d of %zu; --json has all</p>", MOST_COLUMNS, n);
  fputs("<div class=\"wide\">", page->stream);
  for (size_t i = 0; i < n && i < MOST_COLUMNS; i++) put_column(page->stream, dl_json_at(columns, i));
  fputs("</div>\n", page->stream);
}

/* ---- the rest ---- */

static void put_labels(dl_page *page, const dl_json *labels) {
  const dl_json *classes = dl_json_get(labels, "classes");
  const char *names[MOST_NAMES];
  double counts[MOST_NAMES];
  char numbers_as_text[MOST_NAMES][24];
  int n = 0;
  for (size_t i = 0; i < dl_json_size(classes) && n < MOST_NAMES; i++, n++) {
    const dl_json *one = dl_json_at(classes, i);
    snprintf(numbers_as_text[n], sizeof numbers_as_text[n], "%lld",
             (long long)dl_json_int(dl_json_get(one, "label"), 0));
    names[n] = *text_of(one, "name") ? text_of(one, "name") : numbers_as_text[n];
    counts[n] = real_of(one, "count");
  }
  if (n == 0) return;
  dl_page_section(page, "Class balance");
  fprintf(page->stream, "<p class=\"mute\">entropy %.4f bits of %.4f that equal classes would have</p>",
          real_of(labels, "entropy_bits"), log2((double)dl_json_size(classes)));
  dl_chart_bars(page->stream, names, counts, n);
}

static void put_matrix(FILE *s, const dl_json *correlation, const char *key, const char *title) {
  const dl_json *names = dl_json_get(correlation, "names"), *matrix = dl_json_get(correlation, key);
  const char *name[MOST_NAMES];
  int n = dl_json_size(names) <= MOST_NAMES ? (int)dl_json_size(names) : 0;
  double *values = n > 0 && dl_json_size(matrix) == (size_t)n ? dl_calloc((size_t)n * (size_t)n, sizeof *values) : NULL;
  if (!values) return;
  for (int i = 0; i < n; i++) {
    name[i] = dl_json_string(dl_json_at(names, (size_t)i));
    if (!name[i]) name[i] = "";
    numbers(dl_json_at(matrix, (size_t)i), values + i * n, n);
  }
  fprintf(s, "<div class=\"card\"><h3>%s</h3>", title);
  dl_chart_heat(s, name, values, n, false);
  fputs("</div>", s);
  free(values);
}

static void put_correlations(dl_page *page, const dl_json *correlation) {
  if (!correlation) return;
  dl_page_section(page, "Correlations");
  fprintf(page->stream,
          "<p class=\"mute\">over %lld observations without a missing or infinite value%s; red: positive, blue: "
          "negative</p>",
          (long long)dl_json_int(dl_json_get(correlation, "observations"), 0),
          dl_json_bool(dl_json_get(correlation, "all_columns"), true) ? "" : ", the first columns");
  fputs("<div class=\"wide\">", page->stream);
  put_matrix(page->stream, correlation, "pearson", "Pearson");
  put_matrix(page->stream, correlation, "spearman", "Spearman (ranks)");
  fputs("</div>", page->stream);
}

static void put_tiles(FILE *s, const dl_json *stats) {
  const dl_json *bayes = dl_json_get(stats, "naive_bayes");
  fputs("<div class=\"tiles\">", s);
  const bool tokens = !strcmp(text_of(stats, "columns_are"), "tokens");
  tile(s, tokens ? "tokens" : "samples", real_of(stats, "samples"));
  if (!tokens) tile(s, text_of(stats, "columns_are"), (double)dl_json_size(dl_json_get(stats, "features")));
  if (dl_json_get(stats, "labels"))
    tile(s, "classes", (double)dl_json_size(dl_json_get(dl_json_get(stats, "labels"), "classes")));
  if (bayes) tile(s, "naive Bayes accuracy", real_of(bayes, "accuracy"));
  if (isfinite(real_of(bayes, "test_accuracy"))) tile(s, "the same on test", real_of(bayes, "test_accuracy"));
  if (bayes) tile(s, "always the largest class", real_of(bayes, "largest_class"));
  fputs("</div>\n", s);
}

dl_status dl_stats_page(const dl_json *stats, char **out, size_t *bytes) {
  dl_page page;
  char below[400];
  *out = NULL;
  snprintf(below, sizeof below, "%s of %s, %s", text_of(stats, "x"), text_of(stats, "file"), text_of(stats, "type"));
  DL_TRY(dl_page_begin(&page, "What the data are like", below));
  put_tiles(page.stream, stats);
  put_labels(&page, dl_json_get(stats, "labels"));
  put_correlations(&page, dl_json_get(stats, "correlation"));
  put_columns(&page, "Targets", dl_json_get(stats, "targets"));
  const char *are = text_of(stats, "columns_are");
  put_columns(&page,
              !strcmp(are, "channels") ? "Channels"
              : !strcmp(are, "tokens") ? "Tokens"
                                       : "Features",
              dl_json_get(stats, "features"));
  return dl_page_end(&page, out, bytes);
}

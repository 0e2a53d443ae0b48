/* stats_table.c - what `dldist data stats` found, for a terminal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/page.h"
#include "report/stats_page.h"

enum { MOST_COLUMNS = 60, MOST_CLASSES = 30, MOST_PAIRS = 8 };

static double real_of(const dl_json *object, const char *key) { return dl_json_real(dl_json_get(object, key), NAN); }
static int64_t int_of(const dl_json *object, const char *key) { return dl_json_int(dl_json_get(object, key), 0); }
static const char *text_of(const dl_json *object, const char *key) {
  const char *text = dl_json_string(dl_json_get(object, key));
  return text ? text : "";
}

static void put_number(FILE *s, double value) {
  char text[32];
  fprintf(s, " %11s", dl_page_number(value, text));
}

static const char *best_family(const dl_json *column) {
  const dl_json *fits = dl_json_get(column, "fits");
  for (size_t i = 0; i < dl_json_size(fits); i++)
    if (dl_json_bool(dl_json_get(dl_json_at(fits, i), "best"), false)) return text_of(dl_json_at(fits, i), "family");
  return "-";
}

/* At most `width` characters of UTF-8, filled up with blanks. */
static void put_name(FILE *s, const char *name, int width) {
  const char *end = name;
  int n = 0;
  for (; *end && n < width; n++)
    for (end++; ((unsigned char)*end & 0xc0) == 0x80;) end++;
  fprintf(s, "%.*s%*s", (int)(end - name), name, width - n, "");
}

/* Their count is not in the table: few data sets have any. */
static void put_infinite(FILE *s, const dl_json *columns) {
  char text[32];
  for (size_t i = 0; i < dl_json_size(columns) && i < MOST_COLUMNS; i++) {
    const dl_json *c = dl_json_at(columns, i);
    if (int_of(c, "infinite") > 0)
      fprintf(s, "%s: %s infinite value%s left out\n", text_of(c, "name"),
              dl_page_number((double)int_of(c, "infinite"), text), int_of(c, "infinite") == 1 ? " is" : "s are");
  }
}

static void put_columns(FILE *s, const dl_json *columns, const char *what) {
  size_t n = dl_json_size(columns);
  if (n == 0) return;
  static const char *const figures[] = {"missing", "mean", "std", "min", "max", "skewness", "entropy_bits"};
  fprintf(s, "\n%-16s %11s %11s %11s %11s %11s %11s %11s %11s %11s  %s\n", what, "count", "missing", "mean", "std",
          "min", "max", "skewness", "entropy b", "info y b", "best fit");
  for (size_t i = 0; i < n && i < MOST_COLUMNS; i++) {
    const dl_json *c = dl_json_at(columns, i);
    put_name(s, text_of(c, "name"), 16);
    put_number(s, (double)int_of(c, "count"));
    for (size_t k = 0; k < sizeof figures / sizeof *figures; k++) put_number(s, real_of(c, figures[k]));
    put_number(s, real_of(c, "mutual_information_bits"));
    fprintf(s, "  %s\n", best_family(c));
  }
  if (n > MOST_COLUMNS) fprintf(s, "... and %zu more: --json has all\n", n - MOST_COLUMNS);
  put_infinite(s, columns);
}

static void put_labels(FILE *s, const dl_json *labels) {
  const dl_json *classes = dl_json_get(labels, "classes");
  size_t n = dl_json_size(classes);
  char text[32];
  if (n == 0) return;
  fprintf(s, "\nlabels: %zu class%s, entropy %.4f of %.4f bits\n", n, n == 1 ? "" : "es",
          real_of(labels, "entropy_bits"), log2((double)n));
  for (size_t i = 0; i < n && i < MOST_CLASSES; i++) {
    const dl_json *one = dl_json_at(classes, i);
    fprintf(s, "  %5lld ", (long long)int_of(one, "label"));
    put_name(s, text_of(one, "name"), 20);
    fprintf(s, " %12s  %6.2f %%\n", dl_page_number((double)int_of(one, "count"), text), 100 * real_of(one, "share"));
  }
  if (n > MOST_CLASSES) fprintf(s, "  ... and %zu more: --json has all\n", n - MOST_CLASSES);
}

typedef struct pair {
  size_t i, j;
  double r;
} pair;

static int by_strength(const void *a, const void *b) {
  double x = fabs(((const pair *)a)->r), y = fabs(((const pair *)b)->r);
  return x < y ? 1 : x > y ? -1 : 0;
}

static double entry(const dl_json *matrix, size_t i, size_t j) {
  return dl_json_real(dl_json_at(dl_json_at(matrix, i), j), NAN);
}

static void put_pairs(FILE *s, const dl_json *correlation) {
  const dl_json *names = dl_json_get(correlation, "names"), *pearson = dl_json_get(correlation, "pearson"),
                *spearman = dl_json_get(correlation, "spearman");
  size_t n = dl_json_size(names), found = 0;
  pair *pairs = n > 1 && n < 1000 ? calloc(n * n, sizeof *pairs) : NULL;
  for (size_t i = 0; pairs && i < n; i++)
    for (size_t j = 0; j < i; j++)
      if (isfinite(entry(pearson, i, j))) pairs[found++] = (pair){j, i, entry(pearson, i, j)};
  if (found > 0) {
    qsort(pairs, found, sizeof *pairs, by_strength);
    fprintf(s, "\nstrongest correlations%s %28s %9s\n",
            dl_json_bool(dl_json_get(correlation, "all_columns"), true) ? "" : " (of the first columns)", "pearson",
            "spearman");
  }
  for (size_t k = 0; k < found && k < MOST_PAIRS; k++) {
    const char *a = dl_json_string(dl_json_at(names, pairs[k].i)), *b = dl_json_string(dl_json_at(names, pairs[k].j));
    fputs("  ", s);
    put_name(s, a ? a : "", 18);
    fputc(' ', s);
    put_name(s, b ? b : "", 18);
    fprintf(s, " %10.4f", pairs[k].r);
    double rank = entry(spearman, pairs[k].i, pairs[k].j);
    if (isfinite(rank)) fprintf(s, " %9.4f", rank);
    fputc('\n', s);
  }
  free(pairs);
}

static void put_baseline(FILE *s, const dl_json *bayes) {
  double test = real_of(bayes, "test_accuracy");
  if (!bayes) return;
  fprintf(s, "\nGaussian naive Bayes: accuracy %.4f here", real_of(bayes, "accuracy"));
  if (isfinite(test)) fprintf(s, ", %.4f on test", test);
  fprintf(s, "; always the largest class: %.4f\n", real_of(bayes, "largest_class"));
}

dl_status dl_stats_table(const dl_json *stats, char **out) {
  size_t bytes = 0;
  char text[32];
  *out = NULL;
  FILE *s = open_memstream(out, &bytes);
  if (!s) return dl_fail(DL_ERR_NOMEM, "out of memory for a table");
  const char *rows = strcmp(text_of(stats, "columns_are"), "tokens") ? "sample" : "token";
  const int64_t n = int_of(stats, "samples");
  fprintf(s, "%s: %s, %s %s%s, %s\n", text_of(stats, "file"), text_of(stats, "x"), dl_page_number((double)n, text),
          rows, n == 1 ? "" : "s", text_of(stats, "type"));
  if (*text_of(stats, "left_out"))
    fprintf(s, "%s is left out: it has a map or an image a sample\n", text_of(stats, "left_out"));
  put_columns(s, dl_json_get(stats, "features"), text_of(stats, "columns_are"));
  put_columns(s, dl_json_get(stats, "targets"), "target");
  put_labels(s, dl_json_get(stats, "labels"));
  put_pairs(s, dl_json_get(stats, "correlation"));
  put_baseline(s, dl_json_get(stats, "naive_bayes"));
  bool whole = ferror(s) == 0;
  if (fclose(s) != 0) whole = false;
  if (whole) return DL_OK;
  free(*out);
  *out = NULL;
  return dl_fail(DL_ERR_NOMEM, "out of memory for a table");
}

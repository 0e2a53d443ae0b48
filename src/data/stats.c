/* stats.c - the passes over a split in their order, and what they found as one JSON object. */
#include "data/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/stats_bayes.h"
#include "data/stats_pairs.h"

typedef struct findings {
  dl_stats_source source;
  dl_stats_column *columns;
  dl_stats_labels labels;
  dl_stats_correlation correlation;
  double *mutual, *chance; /* bits for each column of x */
  int64_t *class_count;    /* DL_STATS_MAX_CLASSES */
  dl_stats_bayes bayes;
  char *feature_names, *target_names, *class_names; /* packed texts, NULL: none */
  int n_feature_names, n_target_names, n_class_names;
} findings;

/* ---- finding ---- */

/* Labels: one-hot rows; or one column of whole numbers from 0 to 999, of an integer type or of at most 32 values. */
static dl_stats_labels choose_labels(const dl_stats_source *s, const dl_stats_column *columns, bool one_hot) {
  if (one_hot && s->y_columns <= DL_STATS_MAX_CLASSES) return (dl_stats_labels){-1, s->y_columns};
  if (s->y_columns != 1) return (dl_stats_labels){-1, 0};
  const dl_stats_column *y = &columns[s->x_columns];
  bool labels = y->whole && y->min >= 0 && y->max < DL_STATS_MAX_CLASSES && (s->y.number.integer || y->max < 32);
  return labels ? (dl_stats_labels){s->x_columns, (int)y->max + 1} : (dl_stats_labels){-1, 0};
}

static dl_status read_names(findings *f) {
  size_t bytes;
  bool found;
  dl_h5_turn turn;
  dl_h5_enter(&turn);
  dl_h5_file *file = &f->source.file;
  dl_status status =
      dl_h5_read_texts(file, "feature_names", false, &found, &f->n_feature_names, &f->feature_names, &bytes);
  if (status == DL_OK)
    status = dl_h5_read_texts(file, "target_names", false, &found, &f->n_target_names, &f->target_names, &bytes);
  if (status == DL_OK)
    status = dl_h5_read_texts(file, "class_names", false, &found, &f->n_class_names, &f->class_names, &bytes);
  dl_h5_leave(&turn);
  return status;
}

static dl_status find_all(dl_team *team, const dl_stats_options *options, findings *f) {
  bool one_hot = false;
  dl_stats_source *s = &f->source;
  DL_TRY(dl_stats_source_open(team, options, s));
  f->columns = dl_calloc((size_t)s->columns, sizeof *f->columns);
  f->mutual = dl_calloc((size_t)s->x_columns, sizeof *f->mutual);
  f->chance = dl_calloc((size_t)s->x_columns, sizeof *f->chance);
  f->class_count = dl_calloc(DL_STATS_MAX_CLASSES, sizeof *f->class_count);
  dl_status status = f->columns && f->mutual && f->chance && f->class_count ? DL_OK : DL_ERR_NOMEM;
  if (status == DL_OK && team->rank == 0) status = read_names(f);
  DL_TRY(dl_team_agree(team, status));
  DL_TRY(dl_stats_look(s, f->columns, &one_hot));
  f->labels = choose_labels(s, f->columns, one_hot);
  DL_TRY(dl_stats_columns_fill(s, f->columns));
  DL_TRY(dl_stats_correlate(s, f->columns, &f->labels, &f->correlation));
  DL_TRY(dl_stats_mutual(s, f->columns, &f->labels, f->mutual, f->chance, f->class_count));
  return dl_stats_bayes_judge(s, options, &f->labels, f->columns, &f->bayes);
}

static void findings_clear(findings *f) {
  dl_stats_source_close(&f->source);
  dl_stats_correlation_clear(&f->correlation);
  free(f->columns);
  free(f->mutual);
  free(f->chance);
  free(f->class_count);
  free(f->feature_names);
  free(f->target_names);
  free(f->class_names);
}

/* ---- as JSON ---- */

/* The i-th of packed texts, NULL past their end. */
static const char *text_at(const char *texts, int n, int i) {
  if (!texts || i >= n) return NULL;
  for (; i > 0; i--) texts += strlen(texts) + 1;
  return texts;
}

/* What the file calls a column, NULL: nothing. */
static const char *given_name(const findings *f, int column) {
  const dl_stats_source *s = &f->source;
  if (column < s->x_columns)
    return f->n_feature_names == s->x_columns ? text_at(f->feature_names, f->n_feature_names, column) : NULL;
  return f->n_target_names == s->y_columns ? text_at(f->target_names, f->n_target_names, column - s->x_columns) : NULL;
}

static const char *column_name(const findings *f, int column, char text[64]) {
  const dl_stats_source *s = &f->source;
  const char *given = given_name(f, column);
  bool of_x = column < s->x_columns, images = of_x && s->x.dims >= 3;
  if (given)
    snprintf(text, 64, "%s", given);
  else if ((of_x ? s->x_columns : s->y_columns) == 1)
    snprintf(text, 64, "%s", s->tokens ? "tokens" : images ? "pixels" : of_x ? "x" : "y");
  else if (images)
    snprintf(text, 64, "channel %d", column);
  else
    snprintf(text, 64, "%s[%d]", of_x ? "x" : "y", of_x ? column : column - s->x_columns);
  return text;
}

static dl_json *interval_json(const dl_stats_interval *i) {
  dl_json *out = dl_json_object();
  dl_json_put_real(out, "estimate", i->estimate);
  dl_json_put_real(out, "low", i->low);
  dl_json_put_real(out, "high", i->high);
  return out;
}

static dl_json *posterior_json(const dl_stats_column *c) {
  dl_json *out = dl_json_object();
  bool binary = dl_stats_is_binary(c);
  dl_json_put_string(out, "prior", binary ? "Beta(1/2, 1/2)" : "1/variance");
  dl_json_put_real(out, "level", 0.95);
  dl_json_put(out, binary ? "p" : "mean", interval_json(&c->posterior[0]));
  if (!binary) dl_json_put(out, "variance", interval_json(&c->posterior[1]));
  return out;
}

static dl_json *fit_json(const dl_stats_column *c, int i, bool curve) {
  const dl_stats_fit *fit = &c->fit[i];
  const dl_stats_family *family = &dl_stats_families[fit->family];
  dl_json *out = dl_json_object(), *parameters = dl_json_object();
  dl_json_put_string(out, "family", family->name);
  for (int p = 0; p < family->n_parameters; p++) dl_json_put_real(parameters, family->parameter[p], fit->parameter[p]);
  dl_json_put(out, "parameters", parameters);
  dl_json_put_real(out, "log_likelihood", fit->log_likelihood);
  dl_json_put_real(out, "aic", fit->aic);
  dl_json_put_real(out, "ks", fit->ks);
  dl_json_put_bool(out, "best", i == c->best);
  if (!curve) return out;
  dl_json *expected = dl_json_array();
  for (int b = 0; b < c->bins; b++) dl_json_put_real(expected, NULL, dl_stats_expected(c, fit, b));
  dl_json_put(out, "expected", expected);
  return out;
}

static dl_json *histogram_json(const dl_stats_column *c) {
  dl_json *out = dl_json_object(), *edges = dl_json_array(), *counts = dl_json_array();
  for (int b = 0; b <= c->bins; b++) dl_json_put_real(edges, NULL, dl_stats_edge(c, b));
  for (int b = 0; b < c->bins; b++) dl_json_put_int(counts, NULL, c->count[b]);
  dl_json_put(out, "edges", edges);
  dl_json_put(out, "counts", counts);
  return out;
}

/* Of a column without a finite value only the counts. `curves`: of all fits, else of the best. */
static dl_json *column_json(const findings *f, int column, bool curves) {
  const dl_stats_column *c = &f->columns[column];
  char name[64];
  dl_json *out = dl_json_object();
  dl_json_put_string(out, "name", column_name(f, column, name));
  dl_json_put_int(out, "count", c->n);
  dl_json_put_int(out, "missing", c->missing);
  dl_json_put_int(out, "infinite", c->infinite);
  if (c->n == 0) return out;
  const struct {
    const char *key;
    double value;
  } figures[] = {
      {"mean", c->mean}, {"variance", c->variance}, {"std", sqrt(c->variance)}, {"min", c->min},
      {"max", c->max},   {"skewness", c->skewness}, {"kurtosis", c->kurtosis},  {"entropy_bits", c->entropy}};
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) dl_json_put_real(out, figures[i].key, figures[i].value);
  dl_json_put_string(out, "entropy_of", dl_stats_span(c) > 0 ? "values" : "bins");
  if (column < f->source.x_columns) {
    dl_json_put_real(out, "mutual_information_bits", f->mutual[column]);
    dl_json_put_real(out, "mutual_information_by_chance_bits", f->chance[column]);
  }
  dl_json_put_int(out, "distinct", c->distinct);
  dl_json_put_int(out, "zeros", c->zeros);
  dl_json *quantiles = dl_json_object(), *fits = dl_json_array();
  for (int q = 0; q < DL_STATS_QUANTILES; q++) {
    snprintf(name, sizeof name, "%g", dl_stats_levels[q]);
    dl_json_put_real(quantiles, name, c->quantile[q]);
  }
  dl_json_put(out, "quantiles", quantiles);
  dl_json_put(out, "histogram", histogram_json(c));
  for (int i = 0; i < c->n_fits; i++) dl_json_put(fits, NULL, fit_json(c, i, curves || i == c->best));
  dl_json_put(out, "fits", fits);
  if (c->has_posterior) dl_json_put(out, "posterior", posterior_json(c));
  return out;
}

static dl_json *labels_json(const findings *f) {
  dl_json *out = dl_json_object(), *classes = dl_json_array();
  int64_t rows = 0;
  double entropy = 0;
  for (int l = 0; l < f->labels.classes; l++) rows += f->class_count[l];
  for (int l = 0; l < f->labels.classes; l++) {
    dl_json *one = dl_json_object();
    const char *name = text_at(f->class_names, f->n_class_names, l);
    double share = rows ? (double)f->class_count[l] / (double)rows : 0;
    dl_json_put_int(one, "label", l);
    if (name) dl_json_put_string(one, "name", name);
    dl_json_put_int(one, "count", f->class_count[l]);
    dl_json_put_real(one, "share", share);
    if (share > 0) entropy -= share * log2(share);
    dl_json_put(classes, NULL, one);
  }
  dl_json_put_int(out, "samples", rows);
  dl_json_put_real(out, "entropy_bits", entropy);
  dl_json_put(out, "classes", classes);
  return out;
}

static dl_json *matrix_json(const double *matrix, int n) {
  if (!matrix) return NULL;
  dl_json *out = dl_json_array();
  for (int i = 0; i < n; i++) {
    dl_json *row = dl_json_array();
    for (int j = 0; j < n; j++) dl_json_put_real(row, NULL, matrix[i * n + j]);
    dl_json_put(out, NULL, row);
  }
  return out;
}

static dl_json *correlation_json(const findings *f) {
  const dl_stats_correlation *c = &f->correlation;
  dl_json *out = dl_json_object(), *names = dl_json_array();
  char name[64];
  for (int i = 0; i < c->n; i++) dl_json_put_string(names, NULL, column_name(f, c->column[i], name));
  dl_json_put_int(out, "observations", c->rows);
  dl_json_put_bool(out, "all_columns", f->source.x_columns <= DL_STATS_MAX_CORRELATED);
  dl_json_put(out, "names", names);
  dl_json_put(out, "pearson", matrix_json(c->pearson, c->n));
  dl_json_put(out, "spearman", matrix_json(c->spearman, c->n));
  return out;
}

static dl_json *bayes_json(const dl_stats_bayes *b) {
  dl_json *out = dl_json_object();
  dl_json_put_real(out, "accuracy", b->accuracy);
  if (!isnan(b->test_accuracy)) dl_json_put_real(out, "test_accuracy", b->test_accuracy);
  dl_json_put_real(out, "largest_class", b->largest_class);
  return out;
}

static dl_json *head_json(const findings *f, const dl_stats_options *options) {
  const dl_stats_source *s = &f->source;
  dl_json *out = dl_json_object(), *shape = dl_json_array();
  dl_json_put_string(out, "file", options->file);
  dl_json_put_string(out, "x", s->x_name);
  if (s->has_y) dl_json_put_string(out, "y", s->y_name);
  if (s->y_is_image) dl_json_put_string(out, "left_out", s->y_name);
  dl_json_put_string(out, "type", s->x.number.name);
  for (int i = 0; i < s->x.dims; i++) dl_json_put_int(shape, NULL, s->x.dim[i]);
  dl_json_put(out, "shape", shape);
  dl_json_put_int(out, "samples", s->rows);
  dl_json_put_string(out, "columns_are", s->tokens ? "tokens" : s->x.dims >= 3 ? "channels" : "features");
  return out;
}

static dl_json *to_json(const findings *f, const dl_stats_options *options) {
  const dl_stats_source *s = &f->source;
  dl_json *out = head_json(f, options), *features = dl_json_array(), *target = dl_json_array();
  for (int c = 0; c < s->x_columns; c++) dl_json_put(features, NULL, column_json(f, c, s->x_columns <= 64));
  dl_json_put(out, "features", features);
  if (f->labels.classes > 0) dl_json_put(out, "labels", labels_json(f));
  for (int c = s->x_columns; c < s->columns && f->labels.classes == 0; c++)
    dl_json_put(target, NULL, column_json(f, c, s->y_columns <= 64));
  if (f->labels.classes == 0 && s->has_y)
    dl_json_put(out, "targets", target);
  else
    dl_json_destroy(&target);
  if (f->correlation.n > 0) dl_json_put(out, "correlation", correlation_json(f));
  if (f->bayes.there) dl_json_put(out, "naive_bayes", bayes_json(&f->bayes));
  return out;
}

dl_status dl_stats(dl_team *team, const dl_stats_options *options, dl_json **out) {
  findings f = {.source = {.file = {.id = -1}, .x = {.id = -1}, .y = {.id = -1}}};
  *out = NULL;
  double deadline = dl_team_be_patient(team);
  dl_status status = find_all(team, options, &f);
  if (status == DL_OK && team->rank == 0) *out = to_json(&f, options);
  team->timeout_s = deadline;
  dl_error error = *dl_error_last();
  findings_clear(&f);
  return status == DL_OK ? DL_OK : dl_error_adopt(&error);
}

/* stats_bayes.c - Gaussian naive Bayes in two passes (means, then squared distances) and one to judge: sums over leaves
 * of rows, leaves along the canonical tree. */
#include "data/stats_bayes.h"

#include <math.h>
#include <stdlib.h>

#include "core/mem.h"

#define MOST_FIGURES (1 << 18)

typedef struct model {
  const dl_stats_labels *labels;
  int64_t width;        /* values of a sample */
  double *mean, *scale; /* (classes, width); scale: 1 / variance */
  double *constant;     /* (classes): log prior and normaliser */
  double *all_mean;     /* (width) */
  dl_stats_tree tree;   /* (classes, 1 + width), then (width) squares about all_mean */
  int64_t right, judged;
} model;

/* Rows of a leaf: counts and sums in the first pass (no means yet), squares in the second. */
static void add_row(model *m, double *leaf, const double *x, int label, bool squares) {
  double *of = leaf + label * (m->width + 1);
  const double *mean = m->mean + label * m->width;
  of[0] += 1;
  for (int64_t i = 0; i < m->width; i++) of[1 + i] += squares ? (x[i] - mean[i]) * (x[i] - mean[i]) : x[i];
  double *all = leaf + m->labels->classes * (m->width + 1);
  for (int64_t i = 0; squares && i < m->width; i++) all[i] += (x[i] - m->all_mean[i]) * (x[i] - m->all_mean[i]);
}

static void add_block(dl_stats_source *s, model *m, bool squares) {
  for (int64_t row = 0; row < s->block_rows;) {
    int64_t end = row + s->leaf_rows < s->block_rows ? row + s->leaf_rows : s->block_rows;
    int64_t number = (s->first_row + row) / s->leaf_rows;
    double *leaf = dl_stats_tree_leaf(&m->tree);
    for (; row < end; row++) {
      int label = dl_stats_label(s, m->labels, row);
      if (label >= 0) add_row(m, leaf, s->x_values + row * m->width, label, squares);
    }
    dl_stats_tree_push(&m->tree, number);
  }
}

static dl_status sum_block(dl_stats_source *s, void *context) {
  add_block(s, context, false);
  return DL_OK;
}

static dl_status square_block(dl_stats_source *s, void *context) {
  add_block(s, context, true);
  return DL_OK;
}

static dl_status judge_block(dl_stats_source *s, void *context) {
  model *m = context;
  for (int64_t row = 0; row < s->block_rows; row++) {
    int label = dl_stats_label(s, m->labels, row), best = -1;
    const double *x = s->x_values + row * m->width;
    double most = -INFINITY;
    for (int c = 0; c < m->labels->classes; c++) {
      double sum = 0;
      const double *mean = m->mean + c * m->width, *scale = m->scale + c * m->width;
      for (int64_t i = 0; i < m->width; i++) sum += (x[i] - mean[i]) * (x[i] - mean[i]) * scale[i];
      double score = m->constant[c] - sum / 2;
      if (score > most) {
        most = score;
        best = c;
      }
    }
    m->judged++;
    m->right += label >= 0 && best == label;
  }
  return DL_OK;
}

static dl_status sum_pass(dl_stats_source *s, model *m, dl_stats_use use, double *sums) {
  int64_t width = m->labels->classes * (m->width + 1) + m->width;
  dl_status status = dl_stats_tree_new(s, width, &m->tree);
  if (status == DL_OK) status = dl_stats_each_block(s, use, m);
  status = dl_team_agree(s->team, status);
  if (status == DL_OK) status = dl_stats_tree_finish(s->team, &m->tree, sums);
  dl_stats_tree_clear(&m->tree);
  return status;
}

static void take_means(model *m, const double *sums) {
  double n = 0;
  for (int c = 0; c < m->labels->classes; c++) n += sums[c * (m->width + 1)];
  for (int c = 0; c < m->labels->classes; c++) {
    const double *of = sums + c * (m->width + 1);
    for (int64_t i = 0; i < m->width; i++) {
      m->mean[c * m->width + i] = of[0] > 0 ? of[1 + i] / of[0] : 0;
      m->all_mean[i] += of[1 + i] / n;
    }
  }
}

static void take_variances(model *m, const double *sums, dl_stats_bayes *out) {
  const double *all = sums + m->labels->classes * (m->width + 1);
  double n = 0, most = 0, largest = 0;
  for (int c = 0; c < m->labels->classes; c++) {
    n += sums[c * (m->width + 1)];
    largest = fmax(largest, sums[c * (m->width + 1)]);
  }
  for (int64_t i = 0; i < m->width; i++) most = fmax(most, all[i] / n);
  for (int c = 0; c < m->labels->classes; c++) {
    const double *of = sums + c * (m->width + 1);
    m->constant[c] = of[0] > 0 ? log(of[0] / n) : -INFINITY;
    for (int64_t i = 0; i < m->width && of[0] > 0; i++) {
      double variance = of[1 + i] / of[0] + 1e-9 * most;
      m->scale[c * m->width + i] = 1 / variance;
      m->constant[c] -= 0.5 * log(2 * M_PI * variance);
    }
  }
  out->largest_class = largest / n;
  out->there = most > 0;
}

static dl_status judge(dl_stats_source *s, model *m, double *accuracy) {
  m->right = m->judged = 0;
  DL_TRY(dl_team_agree(s->team, dl_stats_each_block(s, judge_block, m)));
  int64_t both[2] = {m->right, m->judged};
  DL_TRY(dl_team_sum_i64(s->team, both, 2));
  *accuracy = (double)both[0] / (double)both[1];
  return DL_OK;
}

/* The same model on test, where that is another split of the same shape. */
static dl_status judge_test(const dl_stats_source *s, const dl_stats_options *options, model *m, double *accuracy) {
  dl_stats_source test;
  dl_stats_options other = *options;
  other.split = "test";
  if (options->x || options->y || s->split[1] == 'e') return DL_OK;
  dl_status status = dl_stats_source_open(s->team, &other, &test);
  bool same = status == DL_OK && test.has_y && test.x.row_values == m->width && test.y_columns == s->y_columns;
  if (same) status = judge(&test, m, accuracy);
  dl_stats_source_close(&test);
  return same ? status : DL_OK; /* without a fit test split there is nothing to say */
}

static dl_status fit_and_judge(dl_stats_source *s, const dl_stats_options *options, model *m, double *sums,
                               dl_stats_bayes *out) {
  DL_TRY(sum_pass(s, m, sum_block, sums));
  take_means(m, sums);
  DL_TRY(sum_pass(s, m, square_block, sums));
  take_variances(m, sums, out);
  if (!out->there) return DL_OK;
  DL_TRY(judge(s, m, &out->accuracy));
  return judge_test(s, options, m, &out->test_accuracy);
}

dl_status dl_stats_bayes_judge(dl_stats_source *s, const dl_stats_options *options, const dl_stats_labels *labels,
                               const dl_stats_column *columns, dl_stats_bayes *out) {
  *out = (dl_stats_bayes){.test_accuracy = NAN};
  model m = {.labels = labels, .width = s->x.row_values};
  size_t classes = (size_t)labels->classes, width = (size_t)m.width;
  bool whole = classes >= 2 && classes * width <= MOST_FIGURES;
  for (int c = 0; c < s->x_columns; c++) whole = whole && columns[c].missing + columns[c].infinite == 0;
  if (!whole) return DL_OK;
  double *sums = dl_calloc(classes * (width + 1) + width, sizeof *sums);
  m.mean = dl_calloc(classes * width, sizeof *m.mean);
  m.scale = dl_calloc(classes * width, sizeof *m.scale);
  m.constant = dl_calloc(classes, sizeof *m.constant);
  m.all_mean = dl_calloc(width, sizeof *m.all_mean);
  bool there = sums && m.mean && m.scale && m.constant && m.all_mean;
  dl_status status = dl_team_agree(s->team, there ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = fit_and_judge(s, options, &m, sums, out);
  free(sums);
  free(m.mean);
  free(m.scale);
  free(m.constant);
  free(m.all_mean);
  return status;
}

/* Models on teams of threads: evaluation against a plain float64 computation, the same bits at any number of members,
 * and errors that all members share. */
#include "train/model.h"

#include <math.h>

#include "problem.h"

enum { MOST_OUTPUTS = 3, MOST_SAMPLES = 1000, TEAMS = 5 };
static const int team_sizes[TEAMS] = {1, 2, 3, 5, 8};

/* ---- the oracle: one sample after the other in float64 ---- */

/* dense, tanh, dense: layers.0 and layers.2. */
static void forward(const dl_model *m, const double *x, double *out) {
  const float *w[4];
  for (int t = 0; t < 4; t++) w[t] = m->weights + m->group.tensors[t].offset;
  int64_t hidden = m->group.tensors[0].shape[0], outputs = m->group.tensors[2].shape[0];
  double h[64];
  for (int64_t j = 0; j < hidden; j++) {
    h[j] = (double)w[1][j];
    for (int64_t f = 0; f < FEATURES; f++) h[j] += (double)w[0][j * FEATURES + f] * x[f];
    h[j] = tanh(h[j]);
  }
  for (int64_t o = 0; o < outputs; o++) {
    out[o] = (double)w[3][o];
    for (int64_t j = 0; j < hidden; j++) out[o] += (double)w[2][o * hidden + j] * h[j];
  }
}

typedef struct expected {
  double loss, r2, mse, mae;
  int64_t right, unclear; /* samples whose class is beyond doubt, and on the edge */
  int64_t confusion[MOST_OUTPUTS * MOST_OUTPUTS];
  double scores[MOST_SAMPLES * MOST_OUTPUTS];
} expected;

/* (x - mean) / std over train, where the configuration asks for it. */
static void figures(const problem *p, double mean[FEATURES], double scale[FEATURES]) {
  bool wanted = strstr(p->text, "per_feature");
  for (int f = 0; f < FEATURES; f++) {
    double n = (double)p->samples[0], sum = 0, squares = 0;
    for (int64_t i = 0; i < p->samples[0]; i++) sum += (double)p->x[0][i * FEATURES + f];
    for (int64_t i = 0; i < p->samples[0]; i++) squares += pow((double)p->x[0][i * FEATURES + f] - sum / n, 2);
    mean[f] = wanted ? sum / n : 0;
    scale[f] = wanted ? 1 / sqrt(squares / n) : 1;
  }
}

/* Cross-entropy of one sample; the scores become probabilities. */
static double classify(const double *logits, int64_t outputs, int32_t label, double *scores, expected *e) {
  double most = logits[0], sum = 0, second = -INFINITY;
  int64_t best = 0;
  for (int64_t o = 1; o < outputs; o++)
    if (logits[o] > most) most = logits[best = o];
  for (int64_t o = 0; o < outputs; o++)
    if (o != best && logits[o] > second) second = logits[o];
  for (int64_t o = 0; o < outputs; o++) sum += exp(logits[o] - most);
  for (int64_t o = 0; o < outputs; o++) scores[o] = exp(logits[o] - most) / sum;
  e->unclear += most - second < 1e-5;
  e->right += best == label;
  e->confusion[label * outputs + best]++;
  return log(sum) + most - logits[label];
}

static void expect(const dl_model *m, const problem *p, int split, expected *e) {
  double mean[FEATURES], scale[FEATURES], y_mean[MOST_OUTPUTS] = {0}, rss[MOST_OUTPUTS] = {0}, tss[MOST_OUTPUTS] = {0};
  int64_t n = p->samples[split], outputs = p->outputs;
  figures(p, mean, scale);
  *e = (expected){0};
  for (int64_t i = 0; i < n * outputs; i++) y_mean[i % outputs] += (double)p->y[split][i] / (double)n;
  for (int64_t i = 0; i < n; i++) {
    double x[FEATURES], logits[MOST_OUTPUTS], *scores = e->scores + i * outputs;
    const float *y = p->y[split] + i * outputs;
    for (int f = 0; f < FEATURES; f++) x[f] = ((double)p->x[split][i * FEATURES + f] - mean[f]) * scale[f];
    forward(m, x, logits);
    if (m->config->task == DL_TASK_CLASSIFICATION) {
      e->loss += classify(logits, outputs, p->labels[split][i], scores, e) / (double)n;
    } else if (m->config->task == DL_TASK_BINARY) {
      e->loss += (log1p(exp(-fabs(logits[0]))) + fmax(logits[0], 0) - logits[0] * (double)y[0]) / (double)n;
      e->unclear += fabs(logits[0]) < 1e-5;
      e->right += (logits[0] > 0) == (y[0] > 0.5f);
      scores[0] = 1 / (1 + exp(-logits[0]));
    } else {
      for (int64_t o = 0; o < outputs; o++) {
        double d = (double)y[o] - logits[o];
        scores[o] = logits[o];
        rss[o] += d * d;
        tss[o] += pow((double)y[o] - y_mean[o], 2);
        e->mse += d * d / (double)(n * outputs);
        e->mae += fabs(d) / (double)(n * outputs);
      }
    }
  }
  if (m->config->task == DL_TASK_REGRESSION) e->loss = e->mse;
  for (int64_t o = 0; o < outputs; o++) e->r2 += (1 - rss[o] / tss[o]) / (double)outputs;
}

/* ---- what all teams say ---- */

static const char classification_text[] =
    "task: classification\n"
    "model: [dense: 16, tanh, dense: 3]\n"
    "optimizer: {name: sgd, lr: 0.05, momentum: 0.9}\n"
    "train: {epochs: 2, batch: 50, clip_norm: 1.0}\n"
    "sync: {shards: 6}\n";
static const char binary_text[] =
    "task: binary\n"
    "data: {normalize: per_feature}\n"
    "model: [dense: 8, tanh, dense: 1]\n"
    "optimizer: {name: adam, lr: 0.02}\n"
    "train: {epochs: 4, batch: 32}\n"
    "sync: {shards: 8}\n";
static const char regression_text[] =
    "task: regression\n"
    "data: {normalize: per_feature}\n"
    "model: [dense: 12, tanh, dense: 2]\n"
    "optimizer: {name: adam, lr: 0.5}\n"
    "train: {epochs: 6, batch: 32}\n"
    "sync: {shards: 7}\n";

typedef struct said {
  dl_evaluation evaluation;
  float *scores;
  dl_digest digest;
} said;

typedef struct job {
  const problem *problem;
  expected *expected; /* filled by member 0 of the team of one */
  dl_split_kind split;
  said by[8]; /* by member */
  bool no_scores_elsewhere;
} job;

static dl_status judge_member(dl_team *team, void *context) {
  job *j = context;
  said *mine = &j->by[team->rank];
  dl_model *model = NULL;
  DL_TRY(model_open(team, j->problem, NULL, &model));
  dl_status status = model_fit(model, NULL, NULL);
  if (status == DL_OK) status = dl_evaluate(model, j->split, &mine->evaluation);
  if (status == DL_OK) status = dl_predict(model, j->split, &mine->scores);
  if (status == DL_OK) status = dl_model_digest(model, &mine->digest);
  if (status == DL_OK && team->size == 1) expect(model, j->problem, j->split, j->expected);
  dl_model_destroy(&model);
  return status;
}

static void said_clear(said *s) {
  dl_evaluation_clear(&s->evaluation);
  free(s->scores);
}

static double metric_of(const dl_evaluation *e, const char *name) {
  for (int i = 0; i < e->n_metrics; i++)
    if (!strcmp(e->metrics[i].name, name)) return e->metrics[i].value;
  CU_FAIL("a metric is missing");
  return NAN;
}

static bool near(double a, double b, double tolerance) {
  bool right = fabs(a - b) <= tolerance * fmax(1, fabs(b));
  if (!right) fprintf(stderr, "%.12g, expected %.12g\n", a, b);
  return right;
}

/* Runs the job on all teams; the first team's figures are compared with the oracle's, the others' bits with them. */
static void judge(const problem *p, dl_split_kind split, double tolerance, said *first, expected *e) {
  size_t values = (size_t)(p->samples[split] * p->outputs);
  for (int t = 0; t < TEAMS; t++) {
    job j = {.problem = p, .expected = e, .split = split};
    DL_ASSERT_OK(dl_launch(team_sizes[t], judge_member, &j));
    if (!t) *first = j.by[0];
    CU_ASSERT_PTR_NOT_NULL_FATAL(j.by[0].scores);
    CU_ASSERT_STRING_EQUAL(j.by[0].digest.hex, first->digest.hex);
    CU_ASSERT_EQUAL(memcmp(j.by[0].scores, first->scores, values * sizeof(float)), 0);
    for (int r = 0; r < team_sizes[t]; r++) {
      CU_ASSERT(same_evaluation(&j.by[r].evaluation, &first->evaluation));
      if (r) CU_ASSERT_PTR_NULL(j.by[r].scores);
      if (t || r) said_clear(&j.by[r]);
    }
  }
  CU_ASSERT_EQUAL(first->evaluation.samples, p->samples[split]);
  CU_ASSERT(near(first->evaluation.loss, e->loss, tolerance));
  int wrong = 0; /* scores: each in its place */
  for (size_t i = 0; i < values; i++) wrong += !near((double)first->scores[i], e->scores[i], 10 * tolerance);
  CU_ASSERT_EQUAL(wrong, 0);
}

/* One block, a ragged last one, one sample in the last, exact blocks; fewer blocks than members. */
static void test_classification_is_judged_exactly_with_the_same_bits_on_any_team(void) {
  static const int64_t sizes[] = {1, 127, 128, 129, 640, 1000};
  for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
    problem p;
    said s = {0};
    expected *e = calloc(1, sizeof *e);
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    problem_make(&p, classification_text, 3, 310, 0, sizes[k]);
    judge(&p, DL_SPLIT_TEST, 1e-6, &s, e);
    CU_ASSERT_EQUAL(e->unclear, 0);
    CU_ASSERT_EQUAL(metric_of(&s.evaluation, "accuracy"), (double)e->right / (double)sizes[k]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.evaluation.confusion);
    CU_ASSERT_EQUAL(memcmp(s.evaluation.confusion, e->confusion, sizeof e->confusion), 0);
    if (sizes[k] == 1000) CU_ASSERT(e->right > 600 && e->right < 1000); /* learnt, and not all of it */
    said_clear(&s);
    problem_clear(&p);
    free(e);
  }
}

/* The area under the ROC curve is the share of pairs of a yes and a no that are in order. */
static double share_of_pairs(const problem *p, int split, const float *scores) {
  double right = 0, all = 0;
  for (int64_t i = 0; i < p->samples[split]; i++)
    for (int64_t k = 0; k < p->samples[split]; k++) {
      if (p->y[split][i] < 0.5F || p->y[split][k] > 0.5F) continue;
      all++;
      right += scores[i] > scores[k] ? 1 : scores[i] == scores[k] ? 0.5 : 0;
    }
  return right / all;
}

static void test_binary_accuracy_is_exact_with_the_same_bits_on_any_team(void) {
  problem p;
  said s = {0};
  expected *e = calloc(1, sizeof *e);
  CU_ASSERT_PTR_NOT_NULL_FATAL(e);
  problem_make(&p, binary_text, 1, 500, 333, 0);
  judge(&p, DL_SPLIT_VALID, 1e-6, &s, e);
  CU_ASSERT_EQUAL(e->unclear, 0);
  CU_ASSERT_EQUAL(metric_of(&s.evaluation, "accuracy"), (double)e->right / 333.0);
  CU_ASSERT(e->right > 250 && e->right < 333);
  CU_ASSERT_PTR_NOT_NULL_FATAL(s.evaluation.confusion);
  CU_ASSERT_EQUAL(s.evaluation.confusion[0] + s.evaluation.confusion[3], e->right);
  CU_ASSERT(near(metric_of(&s.evaluation, "roc_auc"), share_of_pairs(&p, DL_SPLIT_VALID, s.scores), 1e-13));
  said_clear(&s);
  problem_clear(&p);
  free(e);
}

/* Targets about 100 with a spread of 1 to 2: r2 must not lose its digits to the mean. */
static void test_regression_has_the_closed_forms_with_the_same_bits_on_any_team(void) {
  problem p;
  said s = {0};
  expected *e = calloc(1, sizeof *e);
  CU_ASSERT_PTR_NOT_NULL_FATAL(e);
  problem_make(&p, regression_text, 2, 400, 0, 300);
  judge(&p, DL_SPLIT_TEST, 1e-6, &s, e);
  CU_ASSERT(near(metric_of(&s.evaluation, "mse"), e->mse, 1e-6));
  CU_ASSERT(near(metric_of(&s.evaluation, "rmse"), sqrt(e->mse), 1e-6));
  CU_ASSERT(near(metric_of(&s.evaluation, "mae"), e->mae, 1e-6));
  CU_ASSERT(near(metric_of(&s.evaluation, "r2"), e->r2, 1e-6));
  CU_ASSERT(e->r2 > -1e5 && e->r2 < 1);
  said_clear(&s);
  problem_clear(&p);
  free(e);
}

/* ---- what fails ---- */

/* One member's data alone are bad: every member gets the same error, and nobody waits for ever. */
static dl_status bad_on_one(dl_team *team, void *context) {
  problem p = *(const problem *)context;
  float *x = NULL;
  if (team->rank == team->size - 1) {
    size_t n = (size_t)p.samples[0] * FEATURES;
    if (!(x = malloc(n * sizeof *x))) return DL_ERR_NOMEM;
    memcpy(x, p.x[0], n * sizeof *x);
    x[n / 2] = NAN;
    p.x[0] = x;
  }
  dl_model *model = NULL;
  dl_status status = model_open(team, &p, NULL, &model);
  dl_model_destroy(&model);
  free(x);
  return status == DL_ERR_DATA && strstr(dl_error_last()->message, "not finite") ? DL_OK
                                                                                 : dl_fail(DL_ERR_INTERNAL, "no error");
}

static void test_bad_data_of_one_member_are_the_error_of_all(void) {
  problem p;
  problem_make(&p, classification_text, 3, 100, 0, 0);
  for (int t = 0; t < TEAMS; t++) DL_ASSERT_OK(dl_launch(team_sizes[t], bad_on_one, &p));
  problem_clear(&p);
}

/* A learning rate beyond reason: the verdict of all members at the same step. */
static dl_status diverges(dl_team *team, void *context) {
  dl_model *model = NULL;
  DL_TRY(model_open(team, context, NULL, &model));
  dl_status status = model_fit(model, NULL, NULL);
  int64_t step = model->at.step;
  dl_model_destroy(&model);
  if (status != DL_ERR_TRAIN || step >= 20) return dl_fail(DL_ERR_INTERNAL, "no error");
  double most = (double)step;
  DL_TRY(dl_team_max_f64(team, &most));
  return most == (double)step ? DL_OK : dl_fail(DL_ERR_INTERNAL, "members ended at different steps");
}

static void test_training_that_diverges_fails_on_all_members_at_one_step(void) {
  static const char text[] =
      "task: regression\n"
      "model: [dense: 2]\n"
      "optimizer: {name: sgd, lr: 1e6}\n"
      "train: {epochs: 5, batch: 20}\n"
      "sync: {shards: 5}\n";
  problem p;
  problem_make(&p, text, 2, 100, 0, 0);
  for (int t = 0; t < TEAMS; t++) DL_ASSERT_OK(dl_launch(team_sizes[t], diverges, &p));
  problem_clear(&p);
}

/* context: the side of square images of 3 channels; it becomes the samples of a block. */
static dl_status count_block(dl_team *team, void *context) {
  static const char text[] = "model: [global_avgpool2d, {dense: 2}]\ntrain: {batch: 2}\nsync: {shards: 1}\n";
  static const int32_t labels[] = {0, 1};
  int64_t *side = context;
  dl_config *config = NULL;
  dl_model *model = NULL;
  const dl_data_shape shape = {.x_dims = 3, .x_shape = {3, *side, *side}, .x_size = 3 * *side * *side, .y_size = 1};
  float *x = dl_calloc((size_t)(2 * shape.x_size), sizeof *x);
  const dl_data_arrays arrays[DL_SPLITS] = {[DL_SPLIT_TRAIN] = {.samples = 2, .x = x, .labels = labels}};
  const dl_model_source source = {.shape = &shape, .arrays = arrays, .need = 1u << DL_SPLIT_TRAIN};
  dl_status status = x ? dl_config_parse(text, strlen(text), "c.yaml", NULL, 0, &config) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_model_new_training(team, config, &source, &model);
  if (status == DL_OK) *side = dl_eval_block(model);
  dl_model_destroy(&model);
  free(x);
  return status;
}

static void test_large_images_are_evaluated_in_smaller_blocks(void) {
  static const int64_t sides[] = {8, 73, 74, 224, 512, 1000}, blocks[] = {128, 128, 64, 8, 2, 1};
  for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
    int64_t side = sides[i];
    DL_ASSERT_OK(dl_launch(1, count_block, &side));
    CU_ASSERT_EQUAL(side, blocks[i]);
  }
}

int main(void) {
  static const dl_test tests[] = {
      DL_TEST(test_classification_is_judged_exactly_with_the_same_bits_on_any_team),
      DL_TEST(test_binary_accuracy_is_exact_with_the_same_bits_on_any_team),
      DL_TEST(test_regression_has_the_closed_forms_with_the_same_bits_on_any_team),
      DL_TEST(test_bad_data_of_one_member_are_the_error_of_all),
      DL_TEST(test_training_that_diverges_fails_on_all_members_at_one_step),
      DL_TEST(test_large_images_are_evaluated_in_smaller_blocks),
  };
  return dl_test_main("model", tests, sizeof tests / sizeof tests[0]);
}

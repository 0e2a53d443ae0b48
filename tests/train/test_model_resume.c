/* Runs that stop and go on as if they had not, and the states that they cannot go on from. */
#include "problem.h"
#include "train/model.h"

enum { TEAMS = 5 };
static const int team_sizes[TEAMS] = {1, 2, 3, 5, 8};

static const char resume_text[] =
    "seed: 3\n"
    "task: classification\n"
    "data: {valid: 0.1, normalize: per_feature}\n"
    "model: [dense: 16, relu, dropout: 0.3, dense: 3]\n"
    "optimizer: {name: adam, lr: 0.01}\n"
    "schedule: {name: cosine, warmup_steps: 4}\n"
    "train: {epochs: 3, batch: 40, clip_norm: 0.5}\n"
    "sync: {shards: 6}\n"
    "checkpoint: {keep: 2}\n";

typedef struct leg {
  const problem *problem;
  const char *folder; /* NULL: an uninterrupted run that writes nothing */
  bool stop;
  dl_position at;
  dl_digest digest;
  dl_status fit;
} leg;

/* The state of the newest checkpoint, read by every member for itself. */
static dl_status newest_state(const char *folder, char **path, dl_json **state) {
  DL_TRY(dl_checkpoint_newest(folder, path));
  return *path ? dl_checkpoint_state(*path, state) : DL_OK;
}

static dl_status run_leg(dl_team *team, void *context) {
  leg *l = context;
  static const volatile sig_atomic_t told = 1;
  dl_model *model = NULL;
  dl_json *state = NULL;
  char *path = NULL;
  DL_TRY(dl_team_agree(team, l->folder ? newest_state(l->folder, &path, &state) : DL_OK));
  dl_status status = model_open(team, l->problem, state, &model);
  if (status == DL_OK && state) status = dl_model_load(model, path, state);
  dl_status fit = DL_OK;
  if (status == DL_OK) fit = model_fit(model, l->folder, l->stop && team->rank == team->size - 1 ? &told : NULL);
  if (status == DL_OK && (fit == DL_OK || fit == DL_ERR_STOPPED)) {
    dl_digest digest;
    status = dl_model_digest(model, &digest);
    if (team->rank == 0) {
      l->digest = digest;
      l->at = model->at;
      l->fit = fit;
    }
  } else if (status == DL_OK) {
    status = fit;
  }
  dl_model_destroy(&model);
  dl_json_destroy(&state);
  free(path);
  return status;
}

/* 279 samples are left of 310: 7 steps an epoch, the last of 39 samples; 21 steps. Each is a run of its own, told to
 * stop by its last member alone, at another number of members than the one before. */
static void test_a_run_stopped_after_every_step_goes_on_to_the_same_weights_at_other_team_sizes(void) {
  problem p;
  scratch dir;
  scratch_begin(&dir);
  problem_make(&p, resume_text, 3, 310, 0, 50);
  leg whole = {.problem = &p};
  DL_ASSERT_OK(dl_launch(3, run_leg, &whole));
  CU_ASSERT_EQUAL(whole.at.step, 21);
  CU_ASSERT_EQUAL(whole.at.epoch, 3);
  for (int first = 0; first < 2; first++) { /* two orders of team sizes */
    char folder[SCRATCH_PATH];
    snprintf(folder, sizeof folder, "%s/%d", dir.folder, first);
    leg l = {.problem = &p, .folder = folder, .stop = true};
    int legs = 0;
    do {
      DL_ASSERT_OK(dl_launch(team_sizes[(legs * (first + 1) + first) % TEAMS], run_leg, &l));
      CU_ASSERT_EQUAL(l.at.step, ++legs);
      CU_ASSERT_EQUAL(l.at.epoch, legs / 7);
      CU_ASSERT_EQUAL(l.at.step_in_epoch, legs % 7);
    } while (l.fit == DL_ERR_STOPPED && legs < 50);
    CU_ASSERT_EQUAL(l.fit, DL_OK);
    CU_ASSERT_EQUAL(legs, 21);
    CU_ASSERT_STRING_EQUAL(l.digest.hex, whole.digest.hex);
  }
  problem_clear(&p);
  scratch_end(&dir);
}

/* A team of one whose model is open for the length of a test. */
static dl_team *alone(void) {
  static dl_team *team;
  if (!team) DL_ASSERT_OK(dl_team_open(DL_TEAM_ALONE, NULL, &team));
  return team;
}

static void test_a_checkpoint_opened_for_evaluation_says_what_the_trained_model_said(void) {
  problem p;
  scratch dir;
  scratch_begin(&dir);
  problem_make(&p, resume_text, 3, 310, 0, 50);
  leg l = {.problem = &p, .folder = scratch_path(&dir, "c")};
  DL_ASSERT_OK(dl_launch(2, run_leg, &l));
  dl_model *trained = NULL, *opened = NULL;
  dl_json *state = NULL;
  char *path = NULL;
  DL_ASSERT_OK(newest_state(scratch_path(&dir, "c"), &path, &state));
  DL_ASSERT_OK(model_open(alone(), &p, state, &trained));
  DL_ASSERT_OK(dl_model_load(trained, path, state));
  dl_config *config = NULL;
  dl_data_shape shape;
  const dl_data_arrays arrays[DL_SPLITS] = {[DL_SPLIT_TEST] = {.samples = 50, .x = p.x[2], .labels = p.labels[2]}};
  DL_ASSERT_OK(dl_config_parse(p.text, strlen(p.text), "c.yaml", NULL, 0, &config));
  DL_ASSERT_OK(dl_state_shape(state, &shape));
  dl_model_source source = {.shape = &shape, .arrays = arrays, .state = state};
  DL_ASSERT_OK(dl_model_new_from_checkpoint(alone(), config, &source, path, &opened));
  dl_evaluation a, b;
  dl_digest x, y;
  DL_ASSERT_OK(dl_evaluate(trained, DL_SPLIT_TEST, &a));
  DL_ASSERT_OK(dl_evaluate(opened, DL_SPLIT_TEST, &b)); /* with the figures that the checkpoint keeps */
  CU_ASSERT(same_evaluation(&a, &b));
  DL_ASSERT_OK(dl_model_digest(trained, &x));
  DL_ASSERT_OK(dl_model_digest(opened, &y));
  CU_ASSERT_STRING_EQUAL(x.hex, y.hex);
  CU_ASSERT_STRING_EQUAL(x.hex, l.digest.hex);
  CU_ASSERT_STRING_EQUAL(x.hex, dl_json_string(dl_json_get(state, "weights_sha256")));
  CU_ASSERT_EQUAL(opened->at.step, 21);
  dl_evaluation_clear(&a);
  dl_evaluation_clear(&b);
  dl_model_destroy(&trained);
  dl_model_destroy(&opened);
  dl_json_destroy(&state);
  free(path);
  problem_clear(&p);
  scratch_end(&dir);
}

/* ---- a state.json that is whole by its manifest and wrong all the same ---- */

/* `key` of state.json set to the JSON text `value`; NULL: an empty object in place of the state. */
static const struct {
  const char *key, *value;
} states[] = {
    {NULL, NULL},
    {"version", "2"},
    {"version", "\"1\""},
    {"epoch", "-1"},
    {"epoch", "1.5"},
    {"epoch", "9223372036854775807"},
    {"epoch", "null"},
    {"step_in_epoch", "7"},
    {"step_in_epoch", "-1"},
    {"step_in_epoch", "9223372036854775807"},
    {"step", "20"},
    {"step", "-9223372036854775808"},
    {"step", "\"21\""},
    {"train_samples", "278"},
    {"train_samples", "null"},
    {"normalize", "null"},
    {"normalize", "{}"},
    {"normalize", "{\"kind\": \"auto\", \"shift\": [0], \"scale\": [1]}"},
    {"normalize", "{\"kind\": \"per_feature\", \"shift\": [0], \"scale\": [1]}"},
    {"normalize", "{\"kind\": \"per_feature\", \"shift\": [0,0,0,0,0,0], \"scale\": [1]}"},
    {"normalize", "{\"kind\": \"per_feature\", \"shift\": [0,0,0,0,0,0], \"scale\": [1,1,1,1,1,\"1\"]}"},
    {"normalize", "{\"kind\": \"per_feature\", \"shift\": [0,0,0,0,0,0], \"scale\": [1,1,1,1,1,1e300]}"},
    {"normalize", "{\"kind\": \"none\", \"shift\": [], \"scale\": []}"},
    {"normalize", "{\"kind\": \"strange\", \"shift\": [0], \"scale\": [1]}"},
};

static void test_a_state_that_does_not_fit_is_refused_as_bad_data(void) {
  problem p;
  scratch dir;
  scratch_begin(&dir);
  problem_make(&p, resume_text, 3, 310, 0, 50);
  leg l = {.problem = &p, .folder = scratch_path(&dir, "c")};
  DL_ASSERT_OK(dl_launch(1, run_leg, &l));
  char *path = NULL;
  dl_json *sound = NULL;
  DL_ASSERT_OK(newest_state(scratch_path(&dir, "c"), &path, &sound));
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    dl_json *state = states[i].key ? dl_json_copy(sound) : dl_json_object(), *holder = NULL;
    char text[200];
    if (states[i].key) {
      int n = snprintf(text, sizeof text, "{\"v\": %s}", states[i].value);
      DL_ASSERT_OK(dl_json_parse(text, (size_t)n, "value", &holder));
      dl_json_put(state, states[i].key, dl_json_copy(dl_json_get(holder, "v")));
      dl_json_destroy(&holder);
    }
    dl_model *model = NULL;
    dl_status status = model_open(alone(), &p, state, &model);
    if (status == DL_OK) status = dl_model_load(model, path, state);
    if (status != DL_ERR_DATA)
      fprintf(stderr, "state %zu: %s: %s: %d\n", i, states[i].key, states[i].value, (int)status);
    CU_ASSERT_EQUAL(status, DL_ERR_DATA);
    dl_model_destroy(&model);
    dl_json_destroy(&state);
  }
  dl_json_destroy(&sound);
  free(path);
  problem_clear(&p);
  scratch_end(&dir);
}

static void test_shards_of_a_damaged_state_are_refused(void) {
  static const char *const values[] = {"0", "-1", "x", "", "1000001", "99999999999999999999", "-9223372036854775808"};
  static const char text[] = "model: [dense: 3]\ntrain: {batch: 40}\n";
  problem p;
  problem_make(&p, text, 3, 100, 0, 0);
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    dl_json *state = dl_json_object(), *resolved = dl_json_object();
    dl_json_put_string(resolved, "sync.shards", values[i]);
    dl_json_put(state, "resolved", resolved);
    dl_model *model = NULL;
    CU_ASSERT_EQUAL(model_open(alone(), &p, state, &model), DL_ERR_DATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "sync.shards"));
    dl_model_destroy(&model);
    dl_json_destroy(&state);
  }
  problem_clear(&p);
}

static void test_shapes_of_a_damaged_state_are_refused(void) {
  static const struct {
    const char *state;
    bool sound;
  } all[] = {
      {"{\"x_shape\": [3, 2], \"outputs\": 4}", true},
      {"{\"x_shape\": [3, 2]}", false},
      {"{\"x_shape\": [3, 2], \"outputs\": 0}", false},
      {"{\"x_shape\": [3, 2], \"outputs\": -4}", false},
      {"{\"x_shape\": [], \"outputs\": 4}", false},
      {"{\"x_shape\": 3, \"outputs\": 4}", false},
      {"{\"outputs\": 4}", false},
      {"{\"x_shape\": [1,1,1,1,1,1], \"outputs\": 4}", false},
      {"{\"x_shape\": [3, 0], \"outputs\": 4}", false},
      {"{\"x_shape\": [3, -2], \"outputs\": 4}", false},
      {"{\"x_shape\": [3, 2.0], \"outputs\": 4}", false},
      {"{\"x_shape\": [4294967296, 4294967296], \"outputs\": 4}", false},
      {"{\"x_shape\": {\"a\": 3}, \"outputs\": 4}", false},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    dl_json *state = NULL;
    dl_data_shape shape;
    DL_ASSERT_OK(dl_json_parse(all[i].state, strlen(all[i].state), "state", &state));
    CU_ASSERT_EQUAL(dl_state_shape(state, &shape), all[i].sound ? DL_OK : DL_ERR_DATA);
    if (all[i].sound) CU_ASSERT(shape.x_dims == 2 && shape.x_size == 6 && shape.y_size == 4);
    dl_json_destroy(&state);
  }
}

int main(void) {
  static const dl_test tests[] = {
      DL_TEST(test_a_run_stopped_after_every_step_goes_on_to_the_same_weights_at_other_team_sizes),
      DL_TEST(test_a_checkpoint_opened_for_evaluation_says_what_the_trained_model_said),
      DL_TEST(test_a_state_that_does_not_fit_is_refused_as_bad_data),
      DL_TEST(test_shards_of_a_damaged_state_are_refused),
      DL_TEST(test_shapes_of_a_damaged_state_are_refused),
  };
  return dl_test_main("model resume", tests, sizeof tests / sizeof tests[0]);
}

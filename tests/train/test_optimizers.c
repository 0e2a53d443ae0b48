/* Every optimizer through whole steps (reduction, penalties, clipping, norms of tensors, schedule) against
 * PyTorch 1.13, and lars and lamb against the papers' algorithms in float64; every schedule against PyTorch's. */
#include "comm/launch.h"
#include "comm/sync.h"
#include "golden/optim_golden.h"
#include "nn/nn_fixture.h"
#include "nn/optimizer.h"
#include "train/schedule.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
enum { VALUES = OPTIM_WEIGHTS + OPTIM_BIASES, BUFFER = 32, BIAS_AT = 16, SAMPLES = 8 };

static dl_config *config_of(const char *key, const char *yaml) {
  char text[512];
  dl_config *config = NULL;
  snprintf(text, sizeof text, "model: [{dense: 1}]\n%s: %s\n", key, yaml);
  DL_ASSERT_OK(dl_config_parse(text, strlen(text), "c.yaml", NULL, 0, &config));
  return config;
}

/* ---- optimizers ---- */

typedef struct optimizer_run {
  int row, transport;
  float trail[OPTIM_STEPS * VALUES]; /* member 0's */
} optimizer_run;

static void draw_buffer(lcg *g, float *buffer) {
  for (int i = 0; i < OPTIM_WEIGHTS; i++) buffer[i] = lcg_value(g);
  for (int i = 0; i < OPTIM_BIASES; i++) buffer[BIAS_AT + i] = lcg_value(g);
}

/* Leaf `leaf` of four delivers a quarter of the sum over 8 samples: the mean is the gradient that PyTorch had. */
static dl_status run_step(dl_sync *sync, const dl_team *team, const float *gradient, double clip) {
  const dl_cut cut = dl_cut_make(SAMPLES, 4);
  int64_t begin, end;
  DL_TRY(dl_sync_begin(sync, &cut));
  dl_cut_rank_leaves(&cut, team->rank, team->size, &begin, &end);
  for (int64_t leaf = begin; leaf < end; leaf++) {
    float *out = dl_sync_gradients(sync);
    for (int i = 0; i < BUFFER; i++) out[i] = gradient[i] * (SAMPLES / 4);
    dl_sync_leaf_done(sync, leaf, (double[DL_LEAF_SUMS]){1, SAMPLES / 4});
  }
  dl_sync_result result;
  const double notes[DL_SYNC_NOTES] = {0};
  return dl_sync_finish(sync, &(dl_sync_request){.clip_norm = clip, .notes = notes}, &result);
}

static dl_status run_steps(dl_team *team, optimizer_run *run, dl_optimizer *optimizer, dl_sync *sync) {
  lcg g = {77};
  float buffer[BUFFER] = {0};
  draw_buffer(&g, buffer);
  DL_TRY(dl_sync_set(sync, -1, buffer, 0));
  for (int step = 0; step < OPTIM_STEPS; step++) {
    draw_buffer(&g, buffer);
    const double factor = optim_golden[run->row].falling ? 1 / (1 + 0.1 * step) : 1;
    dl_optimizer_begin(optimizer, step + 1, optimizer->lr * factor);
    DL_TRY(run_step(sync, team, buffer, optim_golden[run->row].clip));
    const float *w = dl_sync_weights(sync);
    float *to = run->trail + step * VALUES;
    if (team->rank) continue;
    memcpy(to, w, OPTIM_WEIGHTS * sizeof *to);
    memcpy(to + OPTIM_WEIGHTS, w + BIAS_AT, OPTIM_BIASES * sizeof *to);
  }
  return DL_OK;
}

static dl_status optimize(dl_team *team, void *context) {
  optimizer_run *run = context;
  const dl_tensor tensors[] = {
      {.count = OPTIM_WEIGHTS, .dims = 2, .shape = {2, 2}, .trainable = true, .decays = true, .lr_scale = 1},
      {.offset = BIAS_AT, .count = OPTIM_BIASES, .dims = 1, .shape = {2}, .trainable = true, .lr_scale = 1}};
  dl_param_group group = {.count = BUFFER, .tensors = tensors, .n_tensors = 2};
  dl_config *config = config_of("optimizer", optim_golden[run->row].yaml);
  dl_optimizer *optimizer = NULL;
  dl_sync *sync = NULL;
  dl_status status = config ? dl_optimizer_new(config, &optimizer) : DL_ERR_USAGE;
  if (status == DL_OK) {
    dl_optimizer_wire(optimizer, &group);
    const dl_sync_options options = {
        .transport = run->transport, .shards = 4, .norm_first = optim_golden[run->row].clip > 0 || group.measure};
    status = dl_sync_new(team, &group, &options, &sync);
  }
  if (status == DL_OK) status = run_steps(team, run, optimizer, sync);
  dl_sync_destroy(&sync);
  dl_optimizer_destroy(&optimizer);
  dl_config_destroy(&config);
  return status;
}

/* The largest error of a step, relative to the largest weight. */
static double error_of(const float *trail, const float *golden) {
  double worst = 0;
  for (int step = 0; step < OPTIM_STEPS; step++, trail += VALUES, golden += VALUES) {
    double error = 0, largest = 0;
    for (int i = 0; i < VALUES; i++) {
      const double d = fabs((double)trail[i] - (double)golden[i]);
      if (!(d <= error)) error = d;
      largest = fmax(largest, fabs((double)golden[i]));
    }
    if (!(error / largest <= worst)) worst = error / largest;
  }
  return worst;
}

static void test_every_optimizer_takes_the_steps_of_pytorch_or_of_its_paper(void) {
  for (int row = 0; row < COUNT(optim_golden); row++) {
    optimizer_run run = {.row = row, .transport = DL_TRANSPORT_SHM};
    DL_ASSERT_OK(dl_launch(1, optimize, &run));
    const double error = error_of(run.trail, optim_golden[row].trail);
    if (!(error <= 1e-6)) fprintf(stderr, "%s: %.3g\n", optim_golden[row].yaml, error);
    CU_ASSERT(error <= 1e-6);
  }
}

static void test_members_and_transports_do_not_change_an_optimizers_bits(void) {
  for (int row = 0; row < COUNT(optim_golden); row++) {
    optimizer_run one = {.row = row, .transport = DL_TRANSPORT_SHM};
    DL_ASSERT_OK(dl_launch(1, optimize, &one));
    for (int members = 2; members <= 3; members++)
      for (int transport = DL_TRANSPORT_SHM; transport <= DL_TRANSPORT_MPI; transport++) {
        optimizer_run more = {.row = row, .transport = transport};
        DL_ASSERT_OK(dl_launch(members, optimize, &more));
        CU_ASSERT(!memcmp(one.trail, more.trail, sizeof one.trail));
      }
  }
}

static void test_every_optimizer_of_the_table_is_among_the_stored_steps(void) {
  int n;
  const dl_optimizer_kind *const *kinds = dl_optimizer_kinds(&n);
  CU_ASSERT_EQUAL(n, 7);
  for (int k = 0; k < n; k++) {
    int found = 0;
    for (int row = 0; row < COUNT(optim_golden); row++) {
      dl_config *config = config_of("optimizer", optim_golden[row].yaml);
      dl_optimizer *optimizer = NULL;
      DL_ASSERT_OK(dl_optimizer_new(config, &optimizer));
      found += optimizer && optimizer->kind == kinds[k];
      dl_optimizer_destroy(&optimizer);
      dl_config_destroy(&config);
    }
    CU_ASSERT(found >= 1);
  }
}

/* ---- schedules ---- */

static dl_schedule *schedule_of(dl_config *config, int64_t steps) {
  dl_schedule *schedule = NULL;
  if (config) DL_ASSERT_OK(dl_schedule_new(config, steps, OPTIM_EPOCH_STEPS, &schedule));
  return schedule;
}

static void check_schedule(int row, bool through_checkpoints) {
  dl_config *config = config_of("schedule", schedule_golden[row].yaml);
  dl_schedule *schedule = schedule_of(config, OPTIM_STEPS);
  double worst = 0;
  for (int step = 0; schedule && step < OPTIM_STEPS; step++) {
    const double lr = OPTIM_SCHEDULE_LR * dl_schedule_factor(schedule, step + 1),
                 golden = schedule_golden[row].lr[step];
    const double error = golden > 0 ? fabs(lr - golden) / golden : fabs(lr);
    if (!(error <= worst)) worst = error;
    if ((step + 1) % OPTIM_EPOCH_STEPS) continue;
    dl_schedule_observe(schedule, OPTIM_SCHEDULE_LR, optim_losses[step / OPTIM_EPOCH_STEPS]);
    if (!through_checkpoints) continue;
    const dl_schedule_state state = *dl_schedule_state_of(schedule);
    dl_schedule_destroy(&schedule);
    schedule = schedule_of(config, OPTIM_STEPS);
    dl_schedule_set_state(schedule, &state);
  }
  if (!(worst <= 1e-9)) fprintf(stderr, "%s: %.3g\n", schedule_golden[row].yaml, worst);
  CU_ASSERT(worst <= 1e-9);
  dl_schedule_destroy(&schedule);
  dl_config_destroy(&config);
}

static void test_every_schedule_gives_the_learning_rates_of_pytorch(void) {
  for (int row = 0; row < COUNT(schedule_golden); row++) check_schedule(row, false);
}

static void test_what_a_schedule_carries_is_all_in_its_state(void) {
  for (int row = 0; row < COUNT(schedule_golden); row++) check_schedule(row, true);
}

static void test_every_schedule_of_the_table_is_among_the_stored_ones(void) {
  int n;
  const dl_schedule_kind *kinds = dl_schedule_kinds(&n);
  CU_ASSERT_EQUAL(n, 8);
  for (int k = 0; k < n; k++) {
    int found = 0;
    for (int row = 0; row < COUNT(schedule_golden); row++) {
      dl_config *config = config_of("schedule", schedule_golden[row].yaml);
      dl_schedule *schedule = schedule_of(config, OPTIM_STEPS);
      found += schedule && dl_schedule_kind_of(schedule) == &kinds[k];
      dl_schedule_destroy(&schedule);
      dl_config_destroy(&config);
    }
    CU_ASSERT(found >= 1);
  }
}

static void test_warm_up_rises_in_a_straight_line_before_any_schedule(void) {
  static const char *const yaml[] = {
      "{name: constant, warmup_steps: 8, warmup_factor: 0.2}", "{name: step, warmup_steps: 8, warmup_factor: 0.2}",
      "{name: one_cycle, warmup_steps: 8, warmup_factor: 0.2}", "{name: plateau, warmup_steps: 8, warmup_factor: 0.2}",
      "{name: inverse_time, warmup_steps: 8, warmup_factor: 0.2}"};
  for (int i = 0; i < COUNT(yaml); i++) {
    dl_config *config = config_of("schedule", yaml[i]);
    dl_schedule *schedule = schedule_of(config, OPTIM_STEPS);
    for (int step = 1; schedule && step <= 8; step++)
      CU_ASSERT_DOUBLE_EQUAL(dl_schedule_factor(schedule, step), 0.2 + 0.1 * step, 1e-12);
    dl_schedule_destroy(&schedule);
    dl_config_destroy(&config);
  }
}

static void test_schedules_stay_within_bounds_for_runs_of_any_length(void) {
  static const char *const names[] = {"polynomial",
                                      "cosine",
                                      "one_cycle",
                                      "{name: one_cycle, pct_start: 0}",
                                      "{name: one_cycle, pct_start: 1}",
                                      "{name: cosine, warmup_steps: 3}"};
  for (int i = 0; i < COUNT(names); i++)
    for (int64_t steps = 1; steps <= 12; steps++) {
      dl_config *config = config_of("schedule", names[i]);
      dl_schedule *schedule = schedule_of(config, steps);
      for (int64_t step = 1; schedule && step <= steps; step++) {
        const double factor = dl_schedule_factor(schedule, step);
        CU_ASSERT(factor >= 0 && factor <= 1);
      }
      dl_schedule_destroy(&schedule);
      dl_config_destroy(&config);
    }
}

static const dl_test tests[] = {
    DL_TEST(test_every_optimizer_takes_the_steps_of_pytorch_or_of_its_paper),
    DL_TEST(test_members_and_transports_do_not_change_an_optimizers_bits),
    DL_TEST(test_every_optimizer_of_the_table_is_among_the_stored_steps),
    DL_TEST(test_every_schedule_gives_the_learning_rates_of_pytorch),
    DL_TEST(test_what_a_schedule_carries_is_all_in_its_state),
    DL_TEST(test_every_schedule_of_the_table_is_among_the_stored_ones),
    DL_TEST(test_warm_up_rises_in_a_straight_line_before_any_schedule),
    DL_TEST(test_schedules_stay_within_bounds_for_runs_of_any_length),
};
DL_TEST_MAIN("optimizers and schedules", tests)

/* test_progress.c - what a person sees, character by character. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dltest.h"
#include "report/format.h"
#include "report/progress.h"
#include "report/summary.h"

/* A sink that keeps all it gets, and how often it was called. */
static char seen[16384];
static int writes;

static void take(void *context, const char *text) {
  (void)context;
  if (strlen(seen) + strlen(text) < sizeof seen) strcat(seen, text);
  writes++;
}

static void forget(void) { seen[0] = 0, writes = 0; }

static dl_progress *progress_of(bool terminal, int columns) {
  dl_progress_options options = {.write = take,
                                 .terminal = terminal,
                                 .columns = columns,
                                 .epochs = 10,
                                 .epoch_steps = 469,
                                 .valid = true,
                                 .metric = "accuracy"};
  dl_progress *progress = NULL;
  DL_ASSERT_OK(dl_progress_new(&options, &progress));
  forget();
  return progress;
}

/* Epoch 3, steps 1 to 120, one every 10 s; what is seen is the last of them. */
static void run_to_step_120(dl_progress *progress) {
  for (int step = 1; step <= 120; step++) {
    forget();
    dl_progress_step(progress, &(dl_progress_state){3, step, 0.3121, 51234.4}, 10 * step);
  }
}

static dl_progress_row row_of(void) {
  return (dl_progress_row){.epoch = 3,
                           .steps = 1407,
                           .loss = 0.5123,
                           .lr = 0.001,
                           .samples_per_s = 51234.4,
                           .valid_loss = 0.42112,
                           .valid_metric = 0.8512,
                           .seconds = 7.6};
}

static void test_figures_are_short_and_fixed(void) {
  char text[DL_FIGURE_BYTES];
  static const struct {
    double value;
    const char *figure, *rate;
  } cases[] = {
      {0, "0.0000", "0.0"},      {0.31214, "0.3121", "0.3"},        {12.5, "12.5000", "12.5"},
      {-0.5, "-0.5000", "-0.5"}, {1.25e-5, "1.25e-05", "0.0"},      {99.94, "99.9400", "99.9"},
      {99.96, "99.9600", "100"}, {51234.4, "51234.4000", "51,234"}, {2.5e9, "2.5e+09", "2,500,000,000"},
      {INFINITY, "inf", "inf"},  {1e300, "1e+300", "1e+300"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    CU_ASSERT_STRING_EQUAL(dl_format_figure(cases[i].value, text), cases[i].figure);
    CU_ASSERT_STRING_EQUAL(dl_format_rate(cases[i].value, text), cases[i].rate);
  }
  CU_ASSERT_STRING_EQUAL(dl_format_figure(NAN, text), "nan");
  CU_ASSERT_STRING_EQUAL(dl_format_figure(-NAN, text), "nan");
}

static void test_counts_have_their_thousands_apart(void) {
  char text[DL_FIGURE_BYTES];
  CU_ASSERT_STRING_EQUAL(dl_format_count(0, text), "0");
  CU_ASSERT_STRING_EQUAL(dl_format_count(999, text), "999");
  CU_ASSERT_STRING_EQUAL(dl_format_count(1000, text), "1,000");
  CU_ASSERT_STRING_EQUAL(dl_format_count(-123456, text), "-123,456");
  CU_ASSERT_STRING_EQUAL(dl_format_count(INT64_MIN, text), "-9,223,372,036,854,775,808");
}

/* 349 steps of 10 s are left in the epoch, 7 epochs of 469 after it: 58:10 and 10:05:20. */
static void test_the_line_shows_place_bar_rate_loss_and_time_left(void) {
  dl_progress *progress = progress_of(true, 125);
  run_to_step_120(progress);
  CU_ASSERT_STRING_EQUAL(seen,
                         "\repoch  3/10  step 120/469  [=======>                    ]  51,234 samples/s  loss 0.3121  "
                         "epoch 58:10, all 10:05:20 left");
  dl_progress_destroy(&progress);
}

static void test_a_narrow_terminal_loses_the_bar_then_the_rate_then_the_time_then_the_loss(void) {
  static const struct {
    int columns;
    const char *line;
  } cases[] = {
      {99, "\repoch  3/10  step 120/469  [=>    ]  51,234 samples/s  loss 0.3121  epoch 58:10, all 10:05:20 left"},
      {98, "\repoch  3/10  step 120/469  51,234 samples/s  loss 0.3121  epoch 58:10, all 10:05:20 left"},
      {89, "\repoch  3/10  step 120/469  51,234 samples/s  loss 0.3121  epoch 58:10, all 10:05:20 left"},
      {88, "\repoch  3/10  step 120/469  [===>         ]  loss 0.3121  epoch 58:10, all 10:05:20 left"},
      {40, "\repoch  3/10  step 120/469  loss 0.3121"},
      {39, "\repoch  3/10  step 120/469  loss 0.3121"},
      {38, "\repoch  3/10  step 120/469  [==>     ]"},
      {20, "\repoch  3/10  step 1"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    dl_progress *progress = progress_of(true, cases[i].columns);
    run_to_step_120(progress);
    CU_ASSERT_STRING_EQUAL(seen, cases[i].line);
    if (strcmp(seen, cases[i].line) != 0) fprintf(stderr, "%d: '%s'\n", cases[i].columns, seen + 1);
    CU_ASSERT(strlen(seen + 1) < (size_t)cases[i].columns);
    dl_progress_destroy(&progress);
  }
}

static void test_a_shorter_line_blanks_what_a_longer_one_left(void) {
  dl_progress *progress = progress_of(true, 41);
  dl_progress_step(progress, &(dl_progress_state){1, 1, 1.23e-5, 0}, 1);
  CU_ASSERT_STRING_EQUAL(seen, "\repoch  1/10  step   1/469  loss 1.23e-05");
  forget();
  dl_progress_step(progress, &(dl_progress_state){1, 2, 2, 0}, 2);
  CU_ASSERT_STRING_EQUAL(seen, "\repoch  1/10  step   2/469  loss 1.0101  ");
  dl_progress_destroy(&progress);
}

static void test_the_line_is_drawn_ten_times_a_second_at_most(void) {
  dl_progress *progress = progress_of(true, 80);
  for (int step = 1; step <= 400; step++)
    dl_progress_step(progress, &(dl_progress_state){1, step, 1, 1}, 50 + step / 256.0);
  CU_ASSERT_EQUAL(writes, 16); /* 1.5586 s from the first to the last, in steps of 26/256 s */
  dl_progress_destroy(&progress);
}

/* Two epochs of 469 steps of 1 s; 31 s pass between the last step of the first and the first step of the second. */
static void test_the_time_left_counts_the_gaps_between_epochs(void) {
  dl_progress *progress = progress_of(true, 125);
  for (int step = 1; step <= 469; step++) dl_progress_step(progress, &(dl_progress_state){8, step, 1, 100}, step);
  forget();
  dl_progress_step(progress, &(dl_progress_state){9, 1, 1, 100}, 469 + 31);
  CU_ASSERT_PTR_NOT_NULL(strstr(seen, "epoch 7:48, all 16:07 left")); /* 468 s; 468 + 30 + 469 s */
  forget();
  dl_progress_step(progress, &(dl_progress_state){10, 1, 1, 100}, 469 + 31 + 468 + 31);
  CU_ASSERT_PTR_NOT_NULL(strstr(seen, "  7:48 left")); /* the last epoch: one figure */
  dl_progress_destroy(&progress);
}

/* With a share of 0.02 the mean of 1 (once) and 3 (49 times), unbiased, in closed form. */
static void test_the_loss_is_an_unbiased_exponential_mean_and_passes_over_what_is_not_finite(void) {
  dl_progress *progress = progress_of(true, 120);
  for (int step = 1; step <= 50; step++)
    dl_progress_step(progress, &(dl_progress_state){1, step, step == 1 ? 1 : 3, 1}, step);
  forget();
  dl_progress_step(progress, &(dl_progress_state){1, 51, NAN, 1}, 51);
  char expected[64];
  snprintf(expected, sizeof expected, "  loss %.4f  ", 3 - 2 * 0.02 * pow(0.98, 49) / (1 - pow(0.98, 50)));
  CU_ASSERT_PTR_NOT_NULL(strstr(seen, expected));
  dl_progress_destroy(&progress);
}

static void test_without_a_terminal_there_is_no_line(void) {
  dl_progress *progress = progress_of(false, 80);
  run_to_step_120(progress);
  dl_progress_clear(progress);
  CU_ASSERT_EQUAL(writes, 0);
  dl_progress_destroy(&progress);
  CU_ASSERT_EQUAL(writes, 0);
}

static void test_a_row_an_epoch_stands_below_one_header(void) {
  dl_progress *progress = progress_of(false, 0);
  dl_progress_row row = row_of();
  dl_progress_epoch(progress, &row);
  row.epoch = 10, row.steps = 4690, row.valid_loss = row.valid_metric = NAN, row.samples_per_s = 0, row.seconds = 4000;
  dl_progress_epoch(progress, &row);
  CU_ASSERT_STRING_EQUAL(seen,
                         "epoch      steps       loss  valid loss  valid accuracy         lr  samples/s     time\n"
                         " 3/10      1,407     0.5123      0.4211          0.8512      0.001     51,234     0:08\n"
                         "10/10      4,690     0.5123           -               -      0.001          -  1:06:40\n");
  dl_progress_destroy(&progress);
}

static void test_the_table_has_no_column_for_a_split_that_is_not_there(void) {
  dl_progress_options options = {.write = take, .epochs = 2, .epoch_steps = 5, .metric = "accuracy"};
  dl_progress *progress = NULL;
  DL_ASSERT_OK(dl_progress_new(&options, &progress));
  forget();
  dl_progress_row row = row_of();
  row.epoch = 2;
  dl_progress_epoch(progress, &row);
  CU_ASSERT_STRING_EQUAL(seen,
                         "epoch      steps       loss         lr  samples/s     time\n"
                         "  2/2      1,407     0.5123      0.001     51,234     0:08\n");
  dl_progress_destroy(&progress);
}

static void test_a_narrow_table_keeps_its_most_telling_columns_and_its_width(void) {
  static const struct {
    int columns;
    const char *header;
  } cases[] = {
      {86, "epoch      steps       loss  valid loss  valid accuracy         lr  samples/s     time\n"},
      {85, "epoch       loss  valid loss  valid accuracy         lr  samples/s     time\n"},
      {74, "epoch       loss  valid loss  valid accuracy  samples/s     time\n"},
      {60, "epoch       loss  valid loss  valid accuracy     time\n"},
      {45, "epoch       loss  valid accuracy     time\n"},
      {33, "epoch       loss  valid accuracy\n"},
      {20, "epoch       loss\n"},
      {5, "epoch\n"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    dl_progress *progress = progress_of(false, cases[i].columns);
    dl_progress_row row = row_of();
    dl_progress_epoch(progress, &row);
    CU_ASSERT_NSTRING_EQUAL(seen, cases[i].header, strlen(cases[i].header));
    CU_ASSERT_EQUAL(strlen(seen), 2 * strlen(cases[i].header));
    dl_progress_destroy(&progress);
  }
}

static void test_a_row_takes_the_line_away_first(void) {
  dl_progress *progress = progress_of(true, 30);
  dl_progress_step(progress, &(dl_progress_state){3, 1, 0.5, 0}, 1);
  forget();
  dl_progress_row row = row_of();
  dl_progress_epoch(progress, &row);
  CU_ASSERT_STRING_EQUAL(seen,
                         "\r                         \r"
                         "epoch       loss\n 3/10     0.5123\n");
  dl_progress_destroy(&progress);
}

static void test_a_warning_leaves_the_line_whole(void) {
  dl_progress *progress = progress_of(true, 40);
  dl_progress_step(progress, &(dl_progress_state){1, 1, 0.5, 0}, 1);
  forget();
  dl_progress_warning(progress, "blas_environment", "OPENBLAS_CORETYPE is set\nunset it\033[2J");
  CU_ASSERT_STRING_EQUAL(seen,
                         "\r                                      \r"
                         "warning: OPENBLAS_CORETYPE is set\n         unset it?[2J\n"
                         "\repoch  1/10  step   1/469  loss 0.5000");
  forget();
  dl_progress_destroy(&progress);
  CU_ASSERT_STRING_EQUAL(seen, "\r                                      \r");
}

static void test_a_note_without_a_line_is_just_a_line(void) {
  dl_progress *progress = progress_of(false, 40);
  dl_progress_note(progress, "%d ranks", 8);
  CU_ASSERT_STRING_EQUAL(seen, "8 ranks\n");
  dl_progress_destroy(&progress);
}

static void test_a_text_of_any_length_is_cut_not_overrun(void) {
  dl_progress *progress = progress_of(false, 40);
  char *text = malloc(9001);
  memset(text, '\n', 9000);
  text[9000] = 0;
  dl_progress_warning(progress, "long", text);
  CU_ASSERT(strlen(seen) > 4000 && strlen(seen) < 6000);
  CU_ASSERT_EQUAL(seen[strlen(seen) - 1], '\n');
  forget();
  dl_progress_note(progress, "%s", text);
  CU_ASSERT(strlen(seen) > 4000 && strlen(seen) < 6000);
  free(text);
  dl_progress_destroy(&progress);
}

static void test_quiet_shows_nothing(void) {
  dl_progress_options options = {.write = take, .quiet = true, .terminal = true, .epochs = 2, .epoch_steps = 5};
  dl_progress *progress = NULL;
  DL_ASSERT_OK(dl_progress_new(&options, &progress));
  forget();
  dl_progress_row row = row_of();
  dl_progress_step(progress, &(dl_progress_state){1, 1, 0.5, 0}, 1);
  dl_progress_warning(progress, "code", "message");
  dl_progress_note(progress, "note");
  dl_progress_epoch(progress, &row);
  dl_progress_destroy(&progress);
  CU_ASSERT_EQUAL(writes, 0);
}

static void test_scores_are_one_a_line(void) {
  static const dl_figure figures[] = {{"loss", 0.31214}, {"accuracy", 0.8912}, {"r2", NAN}};
  char *text = NULL;
  DL_ASSERT_OK(dl_summary_scores("test", 10000, figures, 3, &text));
  CU_ASSERT_STRING_EQUAL(text, "test (10,000 samples)\n  loss      0.3121\n  accuracy  0.8912\n  r2        nan\n");
  free(text);
  DL_ASSERT_OK(dl_summary_scores("valid", 1, figures, 1, &text));
  CU_ASSERT_STRING_EQUAL(text, "valid (1 sample)\n  loss  0.3121\n");
  free(text);
}

static void test_the_end_says_where_the_run_is_and_what_to_try_next(void) {
  static const char *const next[] = {"dldist eval --run runs/demo", "dldist inspect runs/demo/checkpoints/latest"};
  dl_run_end end = {"completed", "runs/demo", 4690, 10, 8.2, 58624.4, next, 2};
  char *text = NULL;
  DL_ASSERT_OK(dl_summary_end(&end, &text));
  CU_ASSERT_STRING_EQUAL(text,
                         "completed: 4,690 steps (10 epochs) in 0:08, 58,624 samples/s\n"
                         "the run is in runs/demo\n"
                         "try next:\n"
                         "  dldist eval --run runs/demo\n"
                         "  dldist inspect runs/demo/checkpoints/latest\n");
  free(text);
  DL_ASSERT_OK(dl_summary_end(&(dl_run_end){.status = "stopped", .steps = 1, .epochs = 1, .seconds = 1}, &text));
  CU_ASSERT_STRING_EQUAL(text, "stopped: 1 step (1 epoch) in 0:01\n");
  free(text);
}

static const dl_test tests[] = {
    DL_TEST(test_figures_are_short_and_fixed),
    DL_TEST(test_counts_have_their_thousands_apart),
    DL_TEST(test_the_line_shows_place_bar_rate_loss_and_time_left),
    DL_TEST(test_a_narrow_terminal_loses_the_bar_then_the_rate_then_the_time_then_the_loss),
    DL_TEST(test_a_shorter_line_blanks_what_a_longer_one_left),
    DL_TEST(test_the_line_is_drawn_ten_times_a_second_at_most),
    DL_TEST(test_the_time_left_counts_the_gaps_between_epochs),
    DL_TEST(test_the_loss_is_an_unbiased_exponential_mean_and_passes_over_what_is_not_finite),
    DL_TEST(test_without_a_terminal_there_is_no_line),
    DL_TEST(test_a_row_an_epoch_stands_below_one_header),
    DL_TEST(test_the_table_has_no_column_for_a_split_that_is_not_there),
    DL_TEST(test_a_narrow_table_keeps_its_most_telling_columns_and_its_width),
    DL_TEST(test_a_row_takes_the_line_away_first),
    DL_TEST(test_a_warning_leaves_the_line_whole),
    DL_TEST(test_a_note_without_a_line_is_just_a_line),
    DL_TEST(test_a_text_of_any_length_is_cut_not_overrun),
    DL_TEST(test_quiet_shows_nothing),
    DL_TEST(test_scores_are_one_a_line),
    DL_TEST(test_the_end_says_where_the_run_is_and_what_to_try_next),
};
DL_TEST_MAIN("progress", tests)

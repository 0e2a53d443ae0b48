/* cmd_judge.c - dldist eval and dldist predict. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_data.h"
#include "cli/command.h"
#include "comm/launch.h"
#include "core/log.h"
#include "core/options.h"
#include "report/summary.h"
#include "train/generate.h"
#include "train/run.h"

static const dl_arg eval_args[] = {
    {"--run", NULL, "DIR", "a run's folder: its best checkpoint where it is kept, else its newest"},
    {"--checkpoint", NULL, "DIR", "a checkpoint's folder (a run's stands for its newest)"},
    {"--data", NULL, "FILE.h5", "another data set than the one the model was trained with"},
    {"--split", NULL, "train|valid|test",
     "which split; default: test, or without --data what is there of test, valid, train"},
    {"--threshold", NULL, "T", "binary, multilabel: yes where the probability is above T; default: 0.5"},
    {"--json", NULL, NULL, "one JSON object instead of a table, with the curves of a binary model"},
    {"-j", "--threads", "THREADS", "threads; default: all cores alone, 1 under mpirun or srun"},
};
static const dl_arg predict_args[] = {
    {"--run", NULL, "DIR", "a run's folder: its best checkpoint where it is kept, else its newest"},
    {"--checkpoint", NULL, "DIR", "a checkpoint's folder (a run's stands for its newest)"},
    {"--data", NULL, "FILE.h5", "the data set; y is not needed"},
    {"--split", NULL, "train|valid|test",
     "which split; default: test, or without --data what is there of test, valid, train"},
    {"-o", "--output", "PREDICTIONS.h5", "the file to write"},
    {"--threshold", NULL, "T", "binary, multilabel: yes where the probability is above T; default: 0.5"},
    {"--generate", NULL, "N", "a language model writes N tokens to standard output instead"},
    {"--prompt", NULL, "TEXT", "what the text begins with"},
    {"--temperature", NULL, "T", "below 1: likelier tokens; 0: always the likeliest; default: 1"},
    {"--seed", NULL, "SEED", "of the drawing; default: the model's seed"},
    {"-j", "--threads", "THREADS", "threads; default: all cores alone, 1 under mpirun or srun"},
};

typedef struct job {
  dl_judge_options judge;
  bool json, has_threshold;
  double threshold;
  const char *output;
  bool has_seed;
  dl_generate_options generate; /* tokens -1: predictions instead */
} job;

static dl_status read_threshold(const dl_command *command, const dl_args *args, job *out) {
  const char *text = dl_option_of(command, args, "--threshold");
  char *end;
  out->has_threshold = text != NULL;
  out->threshold = text ? strtod(text, &end) : DL_THRESHOLD;
  if (text && (end == text || *end || !isfinite(out->threshold)))
    return dl_fail(DL_ERR_USAGE, "dldist %s: --threshold takes a number such as 0.5, not '%s'", command->name, text);
  return DL_OK;
}

static dl_status read_options(const dl_command *command, const dl_args *args, job *out, int *threads) {
  *out = (job){.judge = {.run = dl_option_of(command, args, "--run"),
                         .checkpoint = dl_option_of(command, args, "--checkpoint"),
                         .data = dl_option_of(command, args, "--data"),
                         .split = -1}};
  const char *split = dl_option_of(command, args, "--split");
  if (!out->judge.run == !out->judge.checkpoint) {
    dl_fail(DL_ERR_USAGE, "dldist %s takes one of --run DIR and --checkpoint DIR", command->name);
    return dl_hint("see dldist help %s", command->name);
  }
  if (split && (out->judge.split = dl_choice_index(DL_SPLIT_NAMES, split)) < 0)
    return dl_fail(DL_ERR_USAGE, "dldist %s: --split is one of %s, not '%s'", command->name, DL_SPLIT_NAMES, split);
  DL_TRY(read_threshold(command, args, out));
  return dl_threads_option(command, args, threads);
}

/* Both commands: the checkpoint and its data, and whether the options fit the model. Collective. */
static dl_status open_model(dl_team *team, const job *j, bool need_truth, dl_model **model, dl_split_kind *split) {
  DL_TRY(dl_judge_open(team, &j->judge, need_truth, model, split));
  return dl_team_agree(team, j->has_threshold ? dl_judge_check_threshold(*model) : DL_OK);
}

/* ---- eval ---- */

static dl_status print_json(const dl_model *model, dl_split_kind split, const dl_evaluation *e) {
  char name[16], *text = NULL;
  dl_json *object = dl_json_object();
  dl_run_put_evaluation(object, dl_choice_name(DL_SPLIT_NAMES, split, name, sizeof name), model, e);
  dl_run_put_details(object, model, e);
  dl_status status = dl_json_text(object, false, &text);
  if (status == DL_OK) printf("%s\n", text);
  free(text);
  dl_json_destroy(&object);
  return status;
}

#define WIDEST 20 /* classes of which tables are printed */

static const char *class_name(const dl_model *model, int64_t c, char *text, size_t size) {
  if (c < model->n_class_names) return model->class_names[c];
  snprintf(text, size, "%lld", (long long)c);
  return text;
}

static void print_confusion(const dl_model *model, const dl_evaluation *e) {
  const int64_t side = e->confusion_side;
  if (!e->confusion || side > WIDEST) return;
  int width = 7;
  for (int64_t i = 0; i < side * side; i++) {
    const int digits = snprintf(NULL, 0, "%lld", (long long)e->confusion[i]);
    width = digits + 1 > width ? digits + 1 : width;
  }
  printf("\nconfusion counts (row: truth, column: predicted)\n%12s", "");
  for (int64_t c = 0; c < side; c++) printf("%*lld", width, (long long)c);
  printf("\n");
  for (int64_t r = 0; r < side; r++) {
    char label[32];
    printf("%12.12s", class_name(model, r, label, sizeof label));
    for (int64_t c = 0; c < side; c++) printf("%*lld", width, (long long)e->confusion[r * side + c]);
    printf("\n");
  }
}

/* Figures of each class or label, one a row; what is not defined is a dash. */
static void print_each(const dl_model *model, const dl_evaluation *e) {
  const dl_metrics_kind *kind = dl_metrics_for(model->config->task);
  char name[40];
  if (!e->each || e->outputs > WIDEST) return;
  printf("\n%12s", "");
  for (int k = 0; k < e->n_each; k++) printf(" %9s", dl_choice_name(kind->each, k, name, sizeof name));
  printf("\n");
  for (int64_t c = 0; c < e->outputs; c++) {
    printf("%12.12s", class_name(model, c, name, sizeof name));
    for (int k = 0; k < e->n_each; k++) {
      const double value = e->each[c * e->n_each + k];
      if (isnan(value))
        printf(" %9s", "-");
      else
        printf(value >= 1e4 && value == rint(value) ? " %9.0f" : " %9.4g", value);
    }
    printf("\n");
  }
}

static dl_status print_table(const dl_model *model, dl_split_kind split, const dl_evaluation *e) {
  char name[16], *text = NULL;
  dl_figure figures[DL_METRICS_MAX + 1] = {{"loss", e->loss}};
  for (int i = 0; i < e->n_metrics; i++) figures[i + 1] = (dl_figure){e->metrics[i].name, e->metrics[i].value};
  DL_TRY(dl_summary_scores(dl_choice_name(DL_SPLIT_NAMES, split, name, sizeof name), e->samples, figures,
                           e->n_metrics + 1, &text));
  fputs(text, stdout);
  free(text);
  print_confusion(model, e);
  print_each(model, e);
  return DL_OK;
}

static dl_status eval_member(dl_team *team, void *context) {
  const job *j = context;
  dl_model *model = NULL;
  dl_split_kind split = DL_SPLIT_TEST;
  dl_evaluation evaluation = {0};
  if (team->rank == 0) dl_log_set_sink(dl_print_warning, NULL);
  dl_status status = open_model(team, j, true, &model, &split);
  if (status == DL_OK) status = dl_evaluate_at(model, split, j->threshold, j->json, &evaluation);
  if (status == DL_OK && team->rank == 0)
    status = j->json ? print_json(model, split, &evaluation) : print_table(model, split, &evaluation);
  dl_evaluation_clear(&evaluation);
  dl_model_destroy(&model);
  dl_log_set_sink(NULL, NULL);
  return dl_team_agree(team, status);
}

static dl_status run_eval(const dl_command *command, const dl_args *args) {
  job j;
  int threads = 0;
  DL_TRY(read_options(command, args, &j, &threads));
  j.json = dl_option_of(command, args, "--json") != NULL;
  return dl_launch(threads, eval_member, &j);
}

const dl_command dl_command_eval = {
    .name = "eval",
    .usage =
        "(--run DIR | --checkpoint DIR) [--data FILE.h5] [--split train|valid|test] [--threshold T] [--json] [-j "
        "THREADS]",
    .help = "evaluates a trained network on a split, exactly",
    .more = "",
    .args = eval_args,
    .n_args = sizeof eval_args / sizeof eval_args[0],
    .run = run_eval,
};

/* ---- predict ---- */

static dl_status predict_member(dl_team *team, void *context) {
  const job *j = context;
  dl_model *model = NULL;
  dl_split_kind split = DL_SPLIT_TEST;
  if (team->rank == 0) dl_log_set_sink(dl_print_warning, NULL);
  dl_status status = open_model(team, j, false, &model, &split);
  if (status == DL_OK) status = dl_judge_predict(model, split, j->threshold, j->output);
  if (status == DL_OK && team->rank == 0)
    fprintf(stderr, "%lld predictions written to %s\n", (long long)dl_data_samples(model->data, split), j->output);
  dl_model_destroy(&model);
  dl_log_set_sink(NULL, NULL);
  return dl_team_agree(team, status);
}

/* ---- text ---- */

static dl_status generate_member(dl_team *team, void *context) {
  const job *j = context;
  dl_model *model = NULL;
  char *text = NULL;
  size_t bytes = 0;
  if (team->rank == 0) dl_log_set_sink(dl_print_warning, NULL);
  dl_status status = dl_judge_open_bare(team, j->judge.run ? j->judge.run : j->judge.checkpoint, &model);
  if (status == DL_OK && team->rank == 0) {
    dl_generate_options options = j->generate;
    if (!j->has_seed) options.seed = model->config->seed;
    status = dl_generate(model, &options, &text, &bytes);
    if (status == DL_OK) {
      fwrite(text, 1, bytes, stdout);
      fputc('\n', stdout);
    }
  }
  free(text);
  dl_model_destroy(&model);
  dl_log_set_sink(NULL, NULL);
  return dl_team_agree(team, status);
}

static dl_status read_generate(const dl_command *command, const dl_args *args, job *out) {
  const char *tokens = dl_option_of(command, args, "--generate"),
             *temperature = dl_option_of(command, args, "--temperature"), *seed = dl_option_of(command, args, "--seed");
  char *end;
  out->generate = (dl_generate_options){.tokens = -1, .prompt = dl_option_of(command, args, "--prompt")};
  out->generate.temperature = 1;
  out->has_seed = seed != NULL;
  if (!tokens && (temperature || seed || out->generate.prompt))
    return dl_fail(DL_ERR_USAGE, "dldist predict: --prompt, --temperature and --seed go with --generate N");
  if (!tokens) return DL_OK;
  if (dl_option_of(command, args, "-o") || dl_option_of(command, args, "--data"))
    return dl_fail(DL_ERR_USAGE,
                   "dldist predict: --generate N writes text to standard output: -o and --data do not go with it");
  out->generate.tokens = strtoll(tokens, &end, 10);
  if (end == tokens || *end || out->generate.tokens < 0 || out->generate.tokens > 10000000)
    return dl_fail(DL_ERR_USAGE, "dldist predict: --generate takes a number of tokens up to 10000000, not '%s'",
                   tokens);
  if (temperature) out->generate.temperature = strtod(temperature, &end);
  if (temperature &&
      (end == temperature || *end || !(out->generate.temperature >= 0) || out->generate.temperature > 1e6))
    return dl_fail(DL_ERR_USAGE, "dldist predict: --temperature takes a number of 0 or more, not '%s'", temperature);
  if (seed) out->generate.seed = strtoll(seed, &end, 10);
  if (seed && (end == seed || *end || out->generate.seed < 0))
    return dl_fail(DL_ERR_USAGE, "dldist predict: --seed takes a whole number of 0 or more, not '%s'", seed);
  return DL_OK;
}

static dl_status run_predict(const dl_command *command, const dl_args *args) {
  job j;
  int threads = 0;
  DL_TRY(read_options(command, args, &j, &threads));
  DL_TRY(read_generate(command, args, &j));
  if (j.generate.tokens >= 0) return dl_launch(1, generate_member, &j);
  j.output = dl_option_of(command, args, "-o");
  if (!j.output) return dl_fail(DL_ERR_USAGE, "dldist predict needs -o PREDICTIONS.h5");
  dl_data_leave_nothing();
  return dl_launch(threads, predict_member, &j);
}

const dl_command dl_command_predict = {
    .name = "predict",
    .usage =
        "(--run DIR | --checkpoint DIR) (--data FILE.h5 [--split train|valid|test] -o PREDICTIONS.h5 [--threshold T] "
        "[-j THREADS] | "
        "--generate N [--prompt TEXT] [--temperature T] [--seed SEED])",
    .help = "writes a network's predictions for a split, in file order, or text",
    .more =
        "The file holds /scores float32 (samples, outputs): probabilities for classification, binary and multilabel, "
        "values "
        "for regression; /labels int64 for classification, and 0 or 1 by --threshold for binary and multilabel; /y the "
        "truth where the split has it. Of segmentation /scores are (samples, classes, height, width), /labels and /y "
        "(samples, height, width).",
    .args = predict_args,
    .n_args = sizeof predict_args / sizeof predict_args[0],
    .run = run_predict,
};

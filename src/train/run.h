/* run.h - a run: its folder, its files, what a person sees, and the training loop (floor: train). */
#ifndef DL_TRAIN_RUN_H
#define DL_TRAIN_RUN_H

#include <signal.h>

#include "report/events.h"
#include "report/progress.h"
#include "train/model.h"
#include "train/stragglers.h"

/* What the command line asks for; borrowed, the same for all members of a process. Only member 0 writes. */
typedef struct dl_run_options {
  const char *config_path; /* read by member 0; NULL: config_text */
  const char *config_text;
  const char *config_name;        /* what config_text is called in messages; relative paths start at its folder */
  const char *const *assignments; /* --set */
  int n_assignments;
  const char *folder; /* --run; NULL: runs/NAME-DATE */
  const char *resume; /* "auto", "never", or a checkpoint's folder */
  bool quiet, dry_run;
  bool terminal; /* whether `error` reaches a terminal */
  int columns;
  double start_s;                                  /* dl_now_s() when the program began */
  void (*output)(void *context, const char *text); /* results */
  void (*error)(void *context, const char *text);  /* all else */
  void *context;
  const volatile sig_atomic_t *stop; /* set by a signal handler; NULL: none */
} dl_run_options;

/* `dldist train`: collective. DL_OK: completed (or was completed before); DL_ERR_STOPPED: stopped with a checkpoint. */
dl_status dl_run_train(dl_team *team, const dl_run_options *options);

/* ---- between run.c and fit.c ---- */

#define DL_STEP_PHASES 5
extern const char *const dl_step_phase_names[DL_STEP_PHASES]; /* read, forward, backward, sync, update */

typedef struct dl_run {
  dl_team *team;
  const dl_run_options *options;
  dl_model *model;
  char *folder, *checkpoints; /* on all members; NULL: nothing is written (the API without a folder) */
  dl_events *events;          /* member 0, else NULL */
  dl_progress *progress;      /* member 0, else NULL */
  dl_stragglers *stragglers;  /* member 0 of several, else NULL */
  dl_json *fingerprint;
  dl_json *early_warnings; /* raised before metrics.jsonl was open */
  char *last_checkpoint;   /* member 0 */
  int64_t saved_step;      /* step of the newest checkpoint, -1: none */
  int lock;                /* member 0: metrics.jsonl, held so that no other run takes the folder; -1: none */
  double samples_per_s;    /* so far */
  float *best_weights;     /* member 0 of a run without a folder: of the best epoch, NULL: none; freed with the run */
  bool took_best;          /* the run ended with the weights of its best epoch, which was not the last */
  double *step_seconds;    /* NULL, or where member 0's time of each step goes (a benchmark) */
  double *step_phases;     /* the same in parts, DL_STEP_PHASES a step */
  dl_digest digest;        /* of the weights at the end, member 0 */
} dl_run;

/* The same for a process that works for parameter servers (ps_work.c): every member is a worker of its own until the
 * servers say that there is no more work. */
dl_status dl_run_work(dl_run *run, dl_config *config);

/* Trains from model->at to the end of the configuration's epochs, evaluates, writes checkpoints. Collective. */
dl_status dl_fit(dl_run *run);

/* samples_per_s, and tokens_per_s of a language model. */
void dl_run_put_speed(dl_json *event, const dl_model *model, double samples_per_s);

/* DL_ERR_USAGE with the first key in which run->model's configuration computes something else than the checkpoint's
 * with this state.json. Not collective. */
dl_status dl_run_compare_config(const dl_run *run, const dl_json *state);

/* The fields of an evaluation: split, epoch, samples, loss, every metric; the confusion counts and the figures of each
 * class or label where there are at most 100 (evaluation_json.c). */
void dl_run_put_evaluation(dl_json *event, const char *split, const dl_model *model, const dl_evaluation *evaluation);
/* What is too long for a line of metrics.jsonl: class names, and the curves where they were asked for. */
void dl_run_put_details(dl_json *object, const dl_model *model, const dl_evaluation *evaluation);
/* Member 0: both into evaluation.json of the run's folder. Not collective. */
dl_status dl_run_write_evaluation(const dl_run *run, const char *split, const dl_evaluation *evaluation);

#endif

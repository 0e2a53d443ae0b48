/* fit.c - the training loop.
 *
 * A step: each member runs its leaves (read, forward, loss, backward into the synchroniser's buffer) and all meet once
 * in dl_sync_finish, whose verdict is the same for all. Whatever members must do alike (stop, write a checkpoint
 * because time has passed) is decided from what that meeting delivered, never from a member's own clock or signal.
 * Lines of metrics.jsonl carry phase times of all members; those travel with the next step, so a line is written one
 * step late.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "report/format.h"
#include "report/summary.h"
#include "train/best.h"
#include "train/guards.h"
#include "train/not_finite.h"
#include "train/run.h"

enum { NOTE_READ, NOTE_FORWARD, NOTE_BACKWARD, NOTE_SYNC, NOTE_UPDATE, NOTE_PHASES, NOTE_CHECKPOINT_DUE = NOTE_PHASES };
_Static_assert((int)NOTE_PHASES == DL_STEP_PHASES, "run.h says so");
const char *const dl_step_phase_names[DL_STEP_PHASES] = {"read", "forward", "backward", "sync", "update"};

#define STEPS_NOT_COUNTED 10 /* of samples_per_s: the first steps of a process warm up */

/* The state of a loop; all fields but those marked are the same on all members. */
typedef struct loop {
  dl_run *run;
  dl_model *model;
  int64_t epoch_steps;
  double notes[DL_SYNC_NOTES]; /* this member's, of the last step */
  double *gathered;            /* size x DL_SYNC_NOTES */
  double last_checkpoint_s;    /* member 0's clock */
  double begin_s, seconds_before;
  dl_test_fault fault;
  dl_cut last_cut;    /* of the step whose notes nobody has seen yet; samples 0: there is none */
  dl_slowest slowest; /* member 0: of the step whose notes were seen last */
  double *own_s;      /* size */
  int64_t *samples;   /* size */
  /* the line that waits for its phase times */
  bool pending;
  dl_status deferred; /* member 0: metrics.jsonl could not be written; the next meeting makes it everybody's */
  struct {
    int64_t epoch, step;
    double loss, lr, grad_norm, samples_per_s;
    int64_t sent_bytes; /* to other nodes by member 0's node, since the line before */
  } line;
  int64_t sent_bytes; /* up to the last line */
  /* member 0's clock: samples and seconds of counted steps, and of all */
  int64_t counted_samples, all_samples, steps_here;
  double counted_s, all_s;
  /* of this epoch */
  double epoch_loss, epoch_weight, lr;
  int64_t epoch_samples;
  double epoch_s;
} loop;

static double samples_per_s(const loop *l) {
  if (l->counted_s > 0) return (double)l->counted_samples / l->counted_s;
  return l->all_s > 0 ? (double)l->all_samples / l->all_s : 0;
}

static double seconds_so_far(const loop *l) { return l->seconds_before + dl_now_s() - l->begin_s; }

/* ---- step lines ---- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void put_phases(const loop *l, const double *notes, dl_json *event) {
  int size = l->model->team->size;
  double few[64], *values = size <= 64 ? few : dl_calloc((size_t)size, sizeof *values);
  for (int p = 0; values && p < NOTE_PHASES; p++) {
    for (int r = 0; r < size; r++) values[r] = notes[r * DL_SYNC_NOTES + p];
    qsort(values, (size_t)size, sizeof *values, by_value);
    dl_json *phase = dl_json_object();
    dl_json_put_real(phase, "min", values[0]);
    dl_json_put_real(phase, "median", size % 2 ? values[size / 2] : (values[size / 2 - 1] + values[size / 2]) / 2);
    dl_json_put_real(phase, "max", values[size - 1]);
    dl_json_put(event, dl_step_phase_names[p], phase);
  }
  if (values != few) free(values);
}

/* The slowest member of the step that these notes are of. Member 0 alone has something to do. */
static void watch_stragglers(loop *l, const double *notes) {
  char text[640];
  l->slowest = (dl_slowest){.rank = -1};
  if (!l->run->stragglers || !l->last_cut.samples) return;
  const int size = l->model->team->size;
  for (int r = 0; r < size; r++) {
    const double *note = notes + r * DL_SYNC_NOTES;
    int64_t first, end, begin = 0, past = 0, unused;
    dl_cut_rank_leaves(&l->last_cut, r, size, &first, &end);
    if (first < end) dl_cut_leaf_range(&l->last_cut, first, &begin, &unused);
    if (first < end) dl_cut_leaf_range(&l->last_cut, end - 1, &unused, &past);
    l->own_s[r] = note[NOTE_READ] + note[NOTE_FORWARD] + note[NOTE_BACKWARD];
    l->samples[r] = past - begin;
  }
  l->slowest = dl_stragglers_step(l->run->stragglers, l->own_s, l->samples);
  if (dl_stragglers_persist(l->run->stragglers, text, sizeof text)) dl_warn("straggler", "%s", text);
}

static void put_slowest(const loop *l, dl_json *event) {
  if (l->slowest.rank < 0) return;
  dl_json *slowest = dl_json_object();
  dl_json_put_int(slowest, "rank", l->slowest.rank);
  dl_json_put_string(slowest, "host", l->slowest.host);
  dl_json_put_real(slowest, "seconds", l->slowest.seconds);
  dl_json_put_real(slowest, "over_median", l->slowest.over_median);
  dl_json_put(event, "slowest", slowest);
}

/* Writes the waiting line with the phase times of all members. Member 0 alone has something to do. */
static dl_status write_line(loop *l, const double *notes) {
  watch_stragglers(l, notes);
  l->last_cut.samples = 0;
  if (!l->pending) return DL_OK;
  l->pending = false;
  if (!l->run->events) return DL_OK;
  dl_json *event = dl_event_new("step", l->line.step);
  dl_json_put_int(event, "epoch", l->line.epoch);
  dl_json_put_real(event, "loss", l->line.loss);
  dl_json_put_real(event, "lr", l->line.lr);
  dl_json_put_real(event, "grad_norm", l->line.grad_norm);
  dl_run_put_speed(event, l->model, l->line.samples_per_s);
  if (l->model->team->nodes > 1) dl_json_put_int(event, "node_sent_bytes", l->line.sent_bytes);
  put_phases(l, notes, event);
  put_slowest(l, event);
  return dl_events_write(l->run->events, event);
}

/* Collective: between steps and anything else. The last step's weights have come, and what waits for its notes is
 * written. */
static dl_status flush_line(loop *l) {
  dl_status settled = dl_sync_settle(l->model->sync);
  if (settled != DL_OK) l->deferred = settled;
  if (l->last_cut.samples) {
    DL_TRY(dl_team_allgather(l->model->team, l->notes, sizeof l->notes, l->gathered));
    dl_status written = write_line(l, l->gathered);
    if (written != DL_OK) l->deferred = written;
  }
  return dl_team_agree(l->model->team, l->deferred);
}

/* ---- a step ---- */

/* What the network reads and writes, to who moves it meanwhile. */
typedef struct watch {
  dl_sync *sync;
  int64_t leaf;
} watch;

/* A failure is kept for the step's end. */
static void await_weights(void *context, size_t end) { (void)!dl_sync_await(((watch *)context)->sync, end); }
static void gradients_ready(void *context, size_t from) {
  const watch *w = context;
  dl_sync_ready(w->sync, w->leaf, from);
}

/* One leaf: read, forward, loss, backward into the synchroniser's buffer; times are added to the notes. */
static dl_status compute_leaf(loop *l, const dl_cut *cut, int64_t leaf, double sums[DL_LEAF_SUMS],
                              double notes[DL_SYNC_NOTES]) {
  dl_model *m = l->model;
  int64_t begin, end;
  dl_cut_leaf_range(cut, leaf, &begin, &end);
  double t0 = dl_now_s();
  DL_TRY(dl_data_read_step(m->data, m->at.epoch, m->config->train.batch, m->at.step_in_epoch, begin, end, &m->batch));
  double t1 = dl_now_s();
  dl_pass pass = dl_model_pass(m, begin);
  watch watcher = {m->sync, leaf};
  pass.reads = await_weights;
  pass.wrote = gradients_ready;
  pass.watcher = &watcher;
  memset(sums, 0, DL_LEAF_SUMS * sizeof *sums);
  dl_net_forward(m->net, m->weights, end - begin, &pass);
  dl_net_loss(m->net, end - begin, m->batch.label, m->batch.y, m->batch.weight, &sums[0], &sums[1]);
  double t2 = dl_now_s();
  dl_net_backward(m->net, m->weights, end - begin, &pass, dl_sync_gradients(m->sync));
  dl_test_fault_in_leaf(&l->fault, m, dl_sync_gradients(m->sync));
  double t3 = dl_now_s();
  notes[NOTE_READ] += t1 - t0;
  notes[NOTE_FORWARD] += t2 - t1;
  notes[NOTE_BACKWARD] += t3 - t2;
  return DL_OK;
}

/* A leaf of another member first, where this step's proof is mine to make: the time for it is not this member's own. */
static dl_status run_leaves(loop *l, const dl_cut *cut, double notes[DL_SYNC_NOTES]) {
  dl_model *m = l->model;
  double sums[DL_LEAF_SUMS], not_mine[DL_SYNC_NOTES] = {0};
  int64_t begin, end, proof = dl_sync_recompute_leaf(m->sync);
  dl_sync_leaves(m->sync, &begin, &end);
  dl_test_fault_before_step(&l->fault, m);
  if (proof >= 0) {
    DL_TRY(compute_leaf(l, cut, proof, sums, not_mine));
    dl_sync_leaf_recomputed(m->sync, sums);
  }
  for (int64_t leaf = begin; leaf < end; leaf++) {
    DL_TRY(compute_leaf(l, cut, leaf, sums, notes));
    const double start = dl_now_s();
    dl_sync_leaf_done(m->sync, leaf, sums);
    notes[NOTE_BACKWARD] += dl_now_s() - start;
  }
  return DL_OK;
}

/* Two members got different gradients for a leaf: all compute it once more. Collective. */
static dl_status settle_dispute(loop *l, const dl_cut *cut, int64_t leaf) {
  double sums[DL_LEAF_SUMS], notes[DL_SYNC_NOTES] = {0};
  dl_status status = dl_sync_begin(l->model->sync, cut);
  if (status == DL_OK) status = compute_leaf(l, cut, leaf, sums, notes);
  DL_TRY(dl_team_agree(l->model->team, status));
  return dl_sync_settle_dispute(l->model->sync, sums);
}

static bool time_for_checkpoint(const loop *l) {
  double minutes = l->model->config->checkpoint.every_minutes;
  return l->model->team->rank == 0 && l->run->checkpoints && minutes > 0 &&
         dl_now_s() - l->last_checkpoint_s > 60 * minutes;
}

/* ssp and asp, stopped with no worker left who could end what was begun. */
static dl_status fail_partial(const loop *l) {
  dl_fail(DL_ERR_STOPPED, "stopped within step %lld: its workers are gone, so the run goes on from %s",
          (long long)l->model->at.step + 1, l->run->last_checkpoint ? l->run->last_checkpoint : "its beginning");
  return DL_ERR_STOPPED;
}

typedef struct verdict {
  bool stop, checkpoint;
} verdict;

/* What a step that was made adds to the figures of its line, its epoch and the run. */
static void count_step(loop *l, const dl_sync_result *result, int64_t samples, double seconds, double lr) {
  dl_model *m = l->model;
  const double loss = result->sums[0] / result->sums[1];
  if (l->run->step_seconds) l->run->step_seconds[m->at.step] = seconds;
  l->all_s += seconds;
  l->all_samples += samples;
  if (l->steps_here++ >= STEPS_NOT_COUNTED) {
    l->counted_s += seconds;
    l->counted_samples += samples;
  }
  l->epoch_loss += result->sums[0];
  l->epoch_weight += result->sums[1];
  l->epoch_samples += samples;
  l->epoch_s += seconds;
  l->lr = lr;
  m->at.step++;
  m->at.step_in_epoch++;
  if (m->at.step % m->config->log.every_steps == 0) {
    l->pending = true;
    l->line.epoch = m->at.epoch + 1;
    l->line.step = m->at.step;
    l->line.loss = loss;
    l->line.lr = lr;
    l->line.grad_norm = result->grad_norm;
    l->line.sent_bytes = result->sent_bytes - l->sent_bytes;
    l->sent_bytes = result->sent_bytes;
    l->line.samples_per_s = seconds > 0 ? (double)samples / seconds : 0;
  }
  if (l->run->progress) {
    dl_progress_state state = {m->at.epoch + 1, m->at.step_in_epoch, loss, samples_per_s(l)};
    dl_progress_step(l->run->progress, &state, dl_now_s());
  }
}

static dl_status run_step(loop *l, verdict *out) {
  dl_model *m = l->model;
  double start = dl_now_s(), notes[DL_SYNC_NOTES] = {0};
  int64_t samples = dl_data_step_samples(m->data, m->config->train.batch, m->at.step_in_epoch);
  dl_cut cut = dl_cut_make(samples, m->shards);
  dl_sync_number_step(m->sync, m->at.step + 1);
  DL_TRY(dl_sync_begin(m->sync, &cut));
  dl_status status = l->deferred;
  if (status == DL_OK) status = run_leaves(l, &cut, notes);

  double lr = m->optimizer->lr * dl_schedule_factor(m->schedule, m->at.step + 1);
  dl_optimizer_begin(m->optimizer, m->at.step + 1, lr);
  l->notes[NOTE_CHECKPOINT_DUE] = time_for_checkpoint(l);
  dl_sync_request request = {.status = status,
                             .stop = l->run->options->stop && *l->run->options->stop,
                             .clip_norm = m->config->train.clip_norm,
                             .notes = l->notes,
                             .weights_later = true,
                             .step = m->at.step,
                             .save_due = l->notes[NOTE_CHECKPOINT_DUE] > 0,
                             .stop_flag = l->run->options->stop};
  dl_sync_result result;
  status = dl_sync_finish(m->sync, &request, &result);
  if (status != DL_OK && dl_sync_disputed(m->sync) >= 0) return settle_dispute(l, &cut, dl_sync_disputed(m->sync));
  DL_TRY(status);
  const bool due = dl_sync_notes(m->sync)[NOTE_CHECKPOINT_DUE] > 0 || (result.save && l->run->checkpoints);
  *out = (verdict){result.stop, due && !result.partial};
  l->deferred = write_line(l, dl_sync_notes(m->sync));
  if (result.abandoned) return result.partial ? fail_partial(l) : DL_OK;
  if (!result.finite) DL_TRY(dl_sync_settle(m->sync));
  if (!result.finite) return dl_fail_not_finite(m, &cut, &result);

  notes[NOTE_SYNC] = result.sync_s;
  notes[NOTE_UPDATE] = result.update_s;
  memcpy(l->notes, notes, sizeof notes);
  l->last_cut = cut;
  if (l->run->step_phases) memcpy(l->run->step_phases + m->at.step * NOTE_PHASES, notes, NOTE_PHASES * sizeof *notes);
  count_step(l, &result, samples, dl_now_s() - start, lr);
  return DL_OK;
}

/* ---- what happens between steps ---- */

static dl_status save(loop *l) {
  dl_run *run = l->run;
  DL_TRY(flush_line(l));
  if (!run->checkpoints || run->saved_step == l->model->at.step) return DL_OK;
  double start = dl_now_s();
  dl_checkpoint_written written = {0};
  l->model->at.seconds = seconds_so_far(l);
  double deadline = dl_team_be_patient(run->team);
  DL_TRY(dl_model_save(l->model, run->checkpoints, l->model->config->checkpoint.keep, run->fingerprint, &written));
  run->team->timeout_s = deadline;
  DL_TRY(dl_sync_saved(l->model->sync, l->model->at.step));
  run->saved_step = l->model->at.step;
  l->last_checkpoint_s = dl_now_s();
  dl_status status = DL_OK;
  if (run->events) {
    dl_json *event = dl_event_new("checkpoint", l->model->at.step);
    dl_json_put_string(event, "path", written.path);
    dl_json_put_real(event, "seconds", dl_now_s() - start);
    dl_json_put_int(event, "bytes", (int64_t)written.bytes);
    status = dl_events_write(run->events, event);
  }
  if (written.path) {
    free(run->last_checkpoint);
    run->last_checkpoint = written.path;
  }
  return dl_team_agree(run->team, status);
}

void dl_run_put_speed(dl_json *event, const dl_model *model, double samples_per_s) {
  dl_json_put_real(event, "samples_per_s", samples_per_s);
  if (model->config->task == DL_TASK_LANGUAGE_MODEL)
    dl_json_put_real(event, "tokens_per_s", samples_per_s * (double)model->config->data.sequence);
}

static dl_status write_evaluation(const loop *l, const char *split, const dl_evaluation *e) {
  if (!l->run->events) return DL_OK;
  dl_json *event = dl_event_new("eval", l->model->at.step);
  dl_run_put_evaluation(event, split, l->model, e);
  return dl_events_write(l->run->events, event);
}

static dl_status evaluate_split(loop *l, dl_split_kind split, dl_evaluation *out) {
  char name[16];
  DL_TRY(flush_line(l));
  DL_TRY(dl_evaluate(l->model, split, out));
  return dl_team_agree(l->run->team,
                       write_evaluation(l, dl_choice_name(DL_SPLIT_NAMES, split, name, sizeof name), out));
}

/* Member 0: how old the weights were that workers computed with, since the start. */
static dl_status write_staleness(loop *l) {
  const dl_ps_staleness *s = l->run->events ? dl_sync_staleness(l->model->sync) : NULL;
  if (!s) return DL_OK;
  dl_json *event = dl_event_new("staleness", l->model->at.step), *pushes = dl_json_array();
  for (int i = 0; i < DL_PS_STALENESSES; i++) dl_json_put_int(pushes, NULL, s->pushes[i]);
  dl_json_put_int(event, "most_steps", s->most_steps);
  dl_json_put(event, "pushes", pushes);
  return dl_events_write(l->run->events, event);
}

static double headline_of(const dl_model *model, const dl_evaluation *e) {
  const char *name = dl_metrics_for(model->config->task)->headline;
  for (int i = 0; i < e->n_metrics; i++)
    if (name && !strcmp(e->metrics[i].name, name)) return e->metrics[i].value;
  return NAN;
}

static void note_patience(const loop *l) {
  const dl_model *m = l->model;
  const char *monitor = m->config->train.monitor;
  char figure[DL_FIGURE_BYTES];
  if (!m->best.epoch && m->team->rank == 0)
    dl_warn("monitor_undefined", "training ends: valid %s was not defined in any of %lld epochs", monitor,
            (long long)m->best.bad_epochs);
  if (!l->run->progress || !m->best.epoch) return;
  dl_progress_note(l->run->progress, "training ends: valid %s has not been better than %s for %lld epoch%s", monitor,
                   dl_format_figure(m->best.score, figure), (long long)m->best.bad_epochs,
                   m->best.bad_epochs == 1 ? "" : "s");
}

/* model->at stands at the beginning of the next epoch. */
static dl_status end_epoch(loop *l) {
  dl_model *m = l->model;
  dl_evaluation valid = {0};
  DL_TRY(flush_line(l));
  DL_TRY(dl_team_agree(l->run->team, write_staleness(l)));
  const bool has_valid = dl_data_has_y(m->data, DL_SPLIT_VALID);
  if (has_valid) DL_TRY(evaluate_split(l, DL_SPLIT_VALID, &valid));
  const bool best = has_valid && dl_best_is_wanted(m->config) && dl_best_observe(m, &valid), over = dl_best_is_over(m);
  if (l->run->progress) {
    const dl_slowest slowest = l->run->stragglers ? dl_stragglers_epoch(l->run->stragglers) : (dl_slowest){.rank = -1};
    dl_progress_row row = {.epoch = m->at.epoch,
                           .steps = m->at.step,
                           .loss = l->epoch_loss / l->epoch_weight,
                           .lr = l->lr,
                           .samples_per_s = l->epoch_s > 0 ? (double)l->epoch_samples / l->epoch_s : 0,
                           .valid_loss = has_valid ? valid.loss : NAN,
                           .valid_metric = has_valid ? headline_of(m, &valid) : NAN,
                           .seconds = seconds_so_far(l),
                           .best = best,
                           .slowest = slowest.rank,
                           .over_median = slowest.over_median};
    dl_progress_epoch(l->run->progress, &row);
  }
  if (has_valid && !isnan(valid.loss)) dl_schedule_observe(m->schedule, m->optimizer->lr, valid.loss);
  dl_evaluation_clear(&valid);
  l->epoch_loss = l->epoch_weight = l->epoch_s = 0;
  l->epoch_samples = 0;
  int64_t every = m->config->checkpoint.every_epochs;
  const bool due = every > 0 && m->at.epoch % every == 0, keep = best && m->config->checkpoint.best;
  if (keep) DL_TRY(dl_best_keep(l->run));
  DL_TRY(due || over || keep ? save(l) : DL_OK);
  if (over && m->at.epoch < m->config->train.epochs) note_patience(l);
  return DL_OK;
}

static dl_status stopped(loop *l) {
  DL_TRY(save(l));
  DL_TRY(dl_model_digest(l->model, &l->run->digest));
  dl_fail(DL_ERR_STOPPED, "stopped at step %lld (epoch %lld)", (long long)l->model->at.step,
          (long long)l->model->at.epoch + 1);
  return l->run->folder ? dl_hint("run again with --run %.180s to go on", l->run->folder) : DL_ERR_STOPPED;
}

static dl_status train(loop *l) {
  dl_model *m = l->model;
  while (!dl_best_is_over(m)) {
    verdict v = {false, false};
    DL_TRY(run_step(l, &v));
    if (m->at.step_in_epoch == l->epoch_steps) {
      m->at.step_in_epoch = 0;
      m->at.epoch++;
      DL_TRY(end_epoch(l));
    }
    if (v.stop && !dl_best_is_over(m)) return stopped(l);
    if (v.checkpoint) DL_TRY(save(l));
  }
  return DL_OK;
}

/* The scores of the test split, a result. */
static dl_status show_scores(const loop *l, const dl_evaluation *test) {
  if (!l->run->progress) return DL_OK;
  dl_progress_clear(l->run->progress);
  dl_figure figures[DL_METRICS_MAX + 1] = {{"loss", test->loss}};
  for (int i = 0; i < test->n_metrics; i++) figures[i + 1] = (dl_figure){test->metrics[i].name, test->metrics[i].value};
  char *text = NULL;
  DL_TRY(dl_summary_scores("test", test->samples, figures, test->n_metrics + 1, &text));
  l->run->options->output(l->run->options->context, text);
  free(text);
  return DL_OK;
}

/* What the run's weights are worth, into evaluation.json: on the test split, or without one on the validation split,
 * whose line metrics.jsonl has already. */
static dl_status judge(loop *l) {
  const dl_data *data = l->model->data;
  const bool has_test = dl_data_has_y(data, DL_SPLIT_TEST); /* else absent, or there for predictions */
  const dl_split_kind split = has_test ? DL_SPLIT_TEST : DL_SPLIT_VALID;
  const char *name = dl_split_words[split];
  if (!dl_data_has_y(data, split)) return DL_OK;
  dl_evaluation e = {0};
  DL_TRY(flush_line(l));
  DL_TRY(dl_evaluate_at(l->model, split, DL_THRESHOLD, true, &e));
  dl_status status = has_test ? write_evaluation(l, name, &e) : DL_OK;
  if (status == DL_OK && l->run->events) status = dl_run_write_evaluation(l->run, name, &e);
  if (status == DL_OK && has_test) status = show_scores(l, &e);
  dl_evaluation_clear(&e);
  return dl_team_agree(l->run->team, status);
}

/* The end of a run: judged with the weights of its best epoch where they are kept. */
static dl_status finish(loop *l) {
  dl_run *run = l->run;
  dl_model *m = l->model;
  const int64_t epoch = m->at.epoch;
  char figure[DL_FIGURE_BYTES];
  DL_TRY(dl_best_take(run, &run->took_best));
  if (run->took_best && run->progress)
    dl_progress_note(run->progress, "the run ends with the weights of epoch %lld, its best: valid %s %s",
                     (long long)m->best.epoch, m->config->train.monitor, dl_format_figure(m->best.score, figure));
  if (run->took_best) m->at.epoch = m->best.epoch; /* of the scores */
  const dl_status status = judge(l);
  m->at.epoch = epoch;
  return status;
}

dl_status dl_fit(dl_run *run) {
  loop l = {.run = run, .model = run->model, .begin_s = dl_now_s(), .seconds_before = run->model->at.seconds};
  l.last_checkpoint_s = l.begin_s;
  l.epoch_steps = dl_model_steps_per_epoch(run->model);
  l.gathered = dl_calloc((size_t)run->team->size * DL_SYNC_NOTES, sizeof *l.gathered);
  l.own_s = dl_calloc((size_t)run->team->size, sizeof *l.own_s);
  l.samples = dl_calloc((size_t)run->team->size, sizeof *l.samples);
  dl_status status = dl_team_agree(run->team, l.gathered && l.own_s && l.samples ? DL_OK : DL_ERR_NOMEM);
  run->team->timeout_s = run->model->config->sync.timeout;
  if (status == DL_OK) status = dl_guards_begin(run->model);
  if (status == DL_OK) status = dl_team_agree(run->team, dl_test_fault_read(run->model, &l.fault));
  if (status == DL_OK)
    status = dl_sync_log(run->model->sync, run->checkpoints ? run->folder : NULL, run->model->at.step,
                         run->options->resume && !strcmp(run->options->resume, "never"));
  if (status == DL_OK) status = train(&l);
  if (status == DL_OK) status = finish(&l);
  if (status == DL_OK) status = dl_model_digest(run->model, &run->digest);
  dl_guards_name_checkpoint(status, run->last_checkpoint);
  run->samples_per_s = samples_per_s(&l);
  run->model->at.seconds = seconds_so_far(&l);
  free(run->best_weights);
  run->best_weights = NULL;
  free(l.gathered);
  free(l.own_s);
  free(l.samples);
  return status;
}

/* run.c - a run from its configuration to its end: what is asked, what lies in the folder, what is written.
 *
 * Member 0 alone reads and writes files and talks; it hands texts to the others, and every phase ends in an agreement,
 * so that whatever goes wrong anywhere ends the run everywhere with one message.
 */
#include "train/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "nn/gemm.h"
#include "report/format.h"
#include "report/run_page.h"
#include "report/summary.h"
#include "train/best.h"
#include "train/fingerprint.h"
#include "train/ps_role.h"

#define MAX_CONFIG (1u << 20)
#define LOCK_PATIENCE_S 4 /* for a run that was told to stop and is about to */

/* ---- warnings: shown at once, and kept for metrics.jsonl ---- */

static void write_warning(dl_run *run, const char *code, const char *message) {
  dl_json *event = dl_event_new("warning", run->model ? run->model->at.step : 0);
  dl_json_put_string(event, "code", code);
  dl_json_put_string(event, "message", message);
  if (run->events)
    dl_events_write(run->events, event);
  else
    dl_json_put(run->early_warnings, NULL, event);
}

static void show_warning(void *context, const char *code, const char *message) {
  dl_run *run = context;
  if (run->early_warnings || run->events) write_warning(run, code, message);
  if (run->progress) {
    dl_progress_warning(run->progress, code, message);
  } else if (!run->options->quiet) {
    char text[1200];
    snprintf(text, sizeof text, "warning: %s\n", message);
    run->options->error(run->options->context, text);
  }
}

/* ---- configuration ---- */

/* The folder of a run, or its data, given where the configuration is wanted. */
static dl_status read_config_file(const char *path, char **text) {
  static const char hdf5[] = "\211HDF\r\n\032\n";
  if (dl_path_is_dir(path)) {
    dl_fail_at(DL_ERR_USAGE, path, 0, 0, "is a directory where a configuration is wanted");
    return dl_hint("a run's is its config.yaml; to go on with the run: --run");
  }
  char head[sizeof hdf5] = "";
  FILE *file = fopen(path, "rb");
  if (file) (void)!fread(head, 1, sizeof hdf5 - 1, file);
  if (file) fclose(file);
  if (memcmp(head, hdf5, sizeof hdf5)) return dl_file_read(path, MAX_CONFIG, DL_ERR_USAGE, text, NULL);
  dl_fail_at(DL_ERR_USAGE, path, 0, 0, "is a data set (HDF5) where a configuration is wanted");
  return dl_hint("name it in a configuration: `data: {file: ...}`, or --set data.file=");
}

static dl_status read_config_text(dl_run *run, char **text, char **name) {
  const dl_run_options *o = run->options;
  *text = NULL;
  *name = dl_strdup(o->config_path ? o->config_path : o->config_name);
  if (!*name) return DL_ERR_NOMEM;
  if (o->config_path) return read_config_file(o->config_path, text);
  *text = dl_strdup(o->config_text);
  return *text ? DL_OK : DL_ERR_NOMEM;
}

/* data.file to absolute paths, so that config.yaml in the run's folder repeats the run. */
static dl_status absolute_path(dl_node *node, const char *folder) {
  if (node->kind != DL_NODE_SCALAR) return DL_OK;
  char *joined = dl_path_join(folder, node->text), *dir = joined ? dl_path_dirname(joined) : NULL;
  char *real = dir ? realpath(dir, NULL) : NULL; /* no way through folders that may be gone later */
  const char *slash = joined ? strrchr(joined, '/') : NULL;
  char *absolute = NULL;
  if (joined) absolute = real ? dl_path_join(real, slash ? slash + 1 : joined) : dl_path_absolute(joined);
  const char *kept = absolute ? dl_arena_strdup(node->arena, absolute) : NULL;
  free(joined);
  free(dir);
  free(real);
  free(absolute);
  if (!kept) return DL_ERR_NOMEM;
  node->text = kept;
  return DL_OK;
}

static dl_status absolute_files(dl_config *config) {
  dl_node *file = config->data.file, *weights = dl_node_get(dl_node_get(config->document.root, "train"), "weights");
  if (config->train.weights && *config->train.weights && weights) {
    DL_TRY(absolute_path(weights, config->folder));
    config->train.weights = weights->text;
  }
  if (!file) return DL_OK;
  DL_TRY(absolute_path(file, config->folder));
  for (dl_node *item = file->first; item; item = item->next) DL_TRY(absolute_path(item, config->folder));
  return DL_OK;
}

static dl_status load_config(dl_run *run, dl_config **out) {
  char *text = NULL, *name = NULL;
  dl_status status = run->team->rank == 0 ? read_config_text(run, &text, &name) : DL_OK;
  status = dl_team_agree(run->team, status);
  if (status == DL_OK) status = dl_team_broadcast_text(run->team, &text, 0);
  if (status == DL_OK) status = dl_team_broadcast_text(run->team, &name, 0);
  if (status == DL_OK) {
    status = dl_config_parse(text, strlen(text), name, run->options->assignments, run->options->n_assignments, out);
    if (status == DL_OK) status = absolute_files(*out);
    status = dl_team_agree(run->team, status);
  }
  free(text);
  free(name);
  return status;
}

/* ---- the folder, and what is in it ---- */

/* Runs that begin in the same second, wherever, have folders of their own: `claim` makes it, and only one can. */
static char *default_folder(const dl_config *config, bool claim) {
  char date[32];
  time_t now = time(NULL);
  struct tm parts;
  strftime(date, sizeof date, "%Y%m%d-%H%M%S", localtime_r(&now, &parts));
  char *safe = dl_strdup(config->name), *folder = NULL;
  for (char *p = safe; p && *p; p++)
    if (*p == '/' || (unsigned char)*p < 0x20) *p = '-';
  if (claim) dl_dir_make("runs"); /* what is wrong with it, open_files says */
  bool taken = true;
  for (int i = 1; safe && taken && i < 10000; i++) {
    free(folder);
    folder = i == 1 ? dl_asprintf("runs/%s-%s", safe, date) : dl_asprintf("runs/%s-%s-%d", safe, date, i);
    if (!folder) break;
    taken = claim ? mkdir(folder, 0777) && errno == EEXIST : dl_path_exists(folder);
  }
  free(safe);
  return folder;
}

/* Member 0: which checkpoint to go on from; *out NULL for none. */
static dl_status find_checkpoint(const dl_run *run, char **out) {
  const char *resume = run->options->resume;
  *out = NULL;
  if (!strcmp(resume, "never")) return DL_OK;
  if (!strcmp(resume, "auto")) return run->options->folder ? dl_checkpoint_newest(run->checkpoints, out) : DL_OK;
  return dl_checkpoint_find(resume, out);
}

typedef struct kept {
  char *path;
  dl_json *state;
} kept; /* a checkpoint to go on from; path on member 0 alone */

static dl_status find_state(const dl_run *run, kept *k, char **text) {
  DL_TRY(find_checkpoint(run, &k->path));
  if (!k->path) return DL_OK;
  dl_json *state = NULL;
  DL_TRY(dl_checkpoint_state(k->path, &state));
  dl_status status = dl_json_text(state, false, text);
  dl_json_destroy(&state);
  return status;
}

static dl_status choose_folder(dl_run *run, const dl_config *config, bool claim) {
  dl_status status = DL_OK;
  if (run->team->rank == 0) {
    run->folder = run->options->folder ? dl_strdup(run->options->folder) : default_folder(config, claim);
    if (!run->folder) status = DL_ERR_NOMEM;
  }
  DL_TRY(dl_team_agree(run->team, status));
  DL_TRY(dl_team_broadcast_text(run->team, &run->folder, 0));
  run->checkpoints = dl_path_join(run->folder, "checkpoints");
  return dl_team_agree(run->team, run->checkpoints ? DL_OK : DL_ERR_NOMEM);
}

static dl_status load_kept(dl_run *run, kept *k) {
  char *text = NULL;
  dl_status status = dl_team_agree(run->team, run->team->rank == 0 ? find_state(run, k, &text) : DL_OK);
  if (status == DL_OK) status = dl_team_broadcast_text(run->team, &text, 0);
  if (status == DL_OK && text) {
    status = dl_json_parse(text, strlen(text), "state.json", &k->state);
    status = dl_team_agree(run->team, status);
  }
  free(text);
  return status;
}

/* ---- opening ---- */

static dl_status write_config(const dl_run *run) {
  char *text = NULL, *path = dl_path_join(run->folder, "config.yaml");
  dl_status status = path ? dl_config_write(run->model->config, &text) : DL_ERR_NOMEM;
  if (status == DL_OK) status = dl_file_write_atomic(path, text, strlen(text));
  free(text);
  free(path);
  return status;
}

static void put_hosts(dl_json *event, const dl_team *team, const char *hosts) {
  dl_json *list = dl_json_array();
  for (int r = 0; r < team->size; r++)
    if (!r || strcmp(hosts + r * 64, hosts + (r - 1) * 64)) dl_json_put_string(list, NULL, hosts + r * 64);
  dl_json_put(event, "hosts", list);
}

static dl_status write_start(dl_run *run, const char *hosts, bool resumed) {
  const dl_team *team = run->team;
  dl_json *event = dl_event_new("start", run->model->at.step);
  dl_json_put_string(event, "version", DLDIST_VERSION);
  dl_json_put_int(event, "ranks", team->size);
  put_hosts(event, team, hosts);
  dl_json_put_int(event, "threads", team->threads);
  dl_json_put_int(event, "shards", run->model->shards);
  dl_json_put_int(event, "parameters", dl_net_parameters(run->model->net));
  dl_json_put_string(event, "transport", dl_sync_transport(run->model->sync));
  dl_json_put_int(event, "train_samples", dl_data_samples(run->model->data, DL_SPLIT_TRAIN));
  dl_json_put_bool(event, "resumed", resumed);
  if (run->model->given_tensors) dl_json_put_int(event, "given_tensors", run->model->given_tensors);
  dl_json_put(event, "fingerprint", dl_json_copy(run->fingerprint));
  DL_TRY(dl_events_write(run->events, event));
  for (size_t i = 0; i < dl_json_size(run->early_warnings); i++)
    DL_TRY(dl_events_write(run->events, dl_json_copy(dl_json_at(run->early_warnings, i))));
  return DL_OK;
}

/* Two runs in one folder would cut each other's metrics.jsonl and prune each other's checkpoints. The lock ends with
 * the process, however it ends; a file system that has no locks is trusted. */
static dl_status lock_folder(dl_run *run, const char *metrics) {
  const double begin = dl_now_s();
  run->lock = open(metrics, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
  while (run->lock >= 0 && flock(run->lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
    if (dl_now_s() - begin > LOCK_PATIENCE_S) {
      dl_fail_at(DL_ERR_SYSTEM, run->folder, 0, 0, "another dldist trains in this folder");
      return dl_hint("wait for its end, or choose another --run");
    }
    nanosleep(&(struct timespec){0, 100000000}, NULL);
  }
  return DL_OK;
}

/* Member 0: folder, configuration, metrics.jsonl, progress. */
static dl_status open_files(dl_run *run, const kept *k, const char *hosts) {
  const dl_run_options *o = run->options;
  const dl_model *m = run->model;
  char *metrics = dl_path_join(run->folder, "metrics.jsonl");
  dl_status status = metrics ? dl_dir_make(run->checkpoints) : DL_ERR_NOMEM;
  if (status == DL_OK) status = lock_folder(run, metrics);
  if (status == DL_OK && !strcmp(o->resume, "never")) status = dl_checkpoint_forget(run->checkpoints);
  const dl_checkpoint_place place = {m->at.step, m->config->checkpoint.keep, dl_best_kept_step(m), m->best.weights};
  if (status == DL_OK && k->state) status = dl_checkpoint_point(run->checkpoints, &place);
  if (status == DL_OK) status = write_config(run);
  if (status == DL_OK) status = dl_events_open(metrics, k->state ? m->at.step : -1, o->start_s, &run->events);
  if (status == DL_OK) status = write_start(run, hosts, k->state != NULL);
  dl_progress_options options = {.write = o->error,
                                 .context = o->context,
                                 .quiet = o->quiet,
                                 .terminal = o->terminal,
                                 .columns = o->columns,
                                 .epochs = m->config->train.epochs,
                                 .epoch_steps = dl_model_steps_per_epoch(m),
                                 .slowest = run->team->size > 1,
                                 .valid = dl_data_has_y(m->data, DL_SPLIT_VALID),
                                 .metric = dl_metrics_for(m->config->task)->headline};
  if (status == DL_OK) status = dl_progress_new(&options, &run->progress);
  if (status == DL_OK && run->team->size > 1) status = dl_stragglers_new(run->team->size, hosts, &run->stragglers);
  free(metrics);
  return status;
}

static void show_header(const dl_run *run) {
  if (!run->progress) return;
  const dl_model *m = run->model;
  const dl_team *team = run->team;
  size_t mine, node;
  dl_sync_memory(m->sync, &mine, &node);
  char where[64] = "", parameters[DL_FIGURE_BYTES], samples[DL_FIGURE_BYTES], nodes[48] = "";
  if (m->at.step) snprintf(where, sizeof where, ", going on after step %lld", (long long)m->at.step);
  if (team->nodes > 1) snprintf(nodes, sizeof nodes, " on %d nodes", team->nodes);
  dl_progress_note(run->progress, "%s: %s parameters, %s training samples, %d %s%s%s (%s), %lld shard%s%s",
                   m->config->name, dl_format_count(dl_net_parameters(m->net), parameters),
                   dl_format_count(dl_data_samples(m->data, DL_SPLIT_TRAIN), samples), team->size,
                   team->processes > 1 ? "rank" : "thread", team->size == 1 ? "" : "s", nodes,
                   dl_sync_transport(m->sync), (long long)m->shards, m->shards == 1 ? "" : "s", where);
  if (m->given) dl_progress_note(run->progress, "%s", m->given);
  char behind[96] = "";
  if (dl_sync_residuals(m->sync))
    snprintf(behind, sizeof behind, " (%.1f MB in all for what topk leaves behind)",
             1e-6 * sizeof(float) * (double)m->group.count * (double)dl_sync_residuals(m->sync));
  dl_progress_note(run->progress, "memory: %.1f MB a %s%s and %.1f MB a node, shared; run folder: %s",
                   (double)(mine + dl_net_bytes(m->net)) / 1e6, team->processes > 1 ? "rank" : "thread", behind,
                   (double)(node + dl_data_bytes(m->data)) / 1e6, run->folder);
}

/* Collective. Once nothing but the folder itself can fail: an error before leaves none behind. */
static dl_status claim_folder(dl_run *run) {
  if (run->options->folder) return DL_OK;
  free(run->folder);
  free(run->checkpoints);
  run->folder = run->checkpoints = NULL;
  return choose_folder(run, run->model->config, true);
}

static dl_status open_run(dl_run *run, const kept *k) {
  DL_TRY(claim_folder(run));
  char *hosts = dl_calloc((size_t)run->team->size, 64);
  dl_status status = dl_team_agree(run->team, hosts ? DL_OK : DL_ERR_NOMEM);
  if (status == DL_OK) status = dl_team_allgather(run->team, run->team->host, sizeof run->team->host, hosts);
  if (status == DL_OK) status = dl_team_agree(run->team, run->team->rank == 0 ? open_files(run, k, hosts) : DL_OK);
  if (status == DL_OK) show_header(run);
  free(hosts);
  return status;
}

/* ---- the end ---- */

static dl_status write_end(dl_run *run, dl_status status) {
  if (!run->events) return DL_OK;
  const dl_model *m = run->model;
  dl_json *event = dl_event_new("end", m->at.step);
  dl_json_put_string(event, "status", status == DL_OK ? "completed" : status == DL_ERR_STOPPED ? "stopped" : "failed");
  dl_json_put_int(event, "steps", m->at.step);
  dl_json_put_int(event, "epochs", m->at.epoch);
  dl_json_put_real(event, "seconds", m->at.seconds);
  dl_run_put_speed(event, m, run->samples_per_s);
  if (dl_best_is_wanted(m->config)) dl_json_put(event, "best", dl_best_json(m));
  if (dl_best_is_wanted(m->config))
    dl_json_put_int(event, "weights_epoch", run->took_best ? m->best.epoch : m->at.epoch);
  dl_json_put_string(event, "weights_sha256", run->digest.hex[0] ? run->digest.hex : NULL); /* null: it failed */
  if (status != DL_OK) dl_json_put_string(event, "message", dl_error_last()->message);
  return dl_events_write(run->events, event);
}

/* report.html: a picture of the run, whose lack is no failure of it. */
static void write_report(const dl_run *run) {
  const char *folder = run->folder;
  if (folder && run->events && dl_report_write(&folder, 1) != DL_OK)
    dl_warn("report", "report.html could not be written: %s", dl_error_last()->message);
}

static dl_status show_end(const dl_run *run, dl_status status) {
  if (!run->progress || run->options->quiet) return DL_OK;
  const dl_model *m = run->model;
  dl_progress_clear(run->progress);
  char *evaluate = dl_asprintf("dldist eval --run %s", run->folder);
  char *inspect = dl_asprintf("dldist inspect %s/checkpoints/%s", run->folder, run->took_best ? "best" : "latest");
  const char *next[] = {evaluate, inspect};
  dl_run_end end = {.status = status == DL_OK ? "completed" : "stopped",
                    .run = run->folder,
                    .steps = m->at.step,
                    .epochs = m->at.epoch,
                    .seconds = m->at.seconds,
                    .samples_per_s = run->samples_per_s,
                    .next = next,
                    .n_next = status == DL_OK ? 2 : 0};
  char *text = NULL;
  dl_status made = evaluate && inspect ? dl_summary_end(&end, &text) : DL_ERR_NOMEM;
  if (made == DL_OK) run->options->error(run->options->context, text);
  free(text);
  free(evaluate);
  free(inspect);
  return made;
}

/* metrics.jsonl of a run whose last checkpoint is its end: whether the end was written too. */
static bool end_is_written(const dl_run *run) {
  char *path = dl_path_join(run->folder, "metrics.jsonl"), *text = NULL;
  size_t bytes = 0;
  bool written = false;
  if (path && dl_file_read(path, (size_t)1 << 32, DL_ERR_DATA, &text, &bytes) == DL_OK) {
    while (bytes && text[bytes - 1] == '\n') text[--bytes] = 0;
    const char *last = strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
    dl_json *event = NULL;
    if (dl_json_parse(last, strlen(last), path, &event) == DL_OK) {
      const char *name = dl_json_string(dl_json_get(event, "event")),
                 *status = dl_json_string(dl_json_get(event, "status"));
      written = name && status && !strcmp(name, "end") && !strcmp(status, "completed");
    }
    dl_json_destroy(&event);
  }
  free(text);
  free(path);
  return written;
}

static dl_status already_done(dl_run *run, bool *done) {
  int32_t answer = run->team->rank == 0 && dl_best_is_over(run->model) && end_is_written(run);
  DL_TRY(dl_team_broadcast(run->team, &answer, sizeof answer, 0));
  *done = answer;
  if (!answer || run->team->rank != 0) return DL_OK;
  char *text = dl_asprintf("the run in %s is completed: %lld epochs, %lld steps; nothing is left to do\n", run->folder,
                           (long long)run->model->at.epoch, (long long)run->model->at.step);
  if (text && !run->options->quiet) run->options->error(run->options->context, text);
  free(text);
  return DL_OK;
}

/* ---- the whole ---- */

static dl_status dry_run(const dl_run *run) {
  char *text = NULL, *config = NULL;
  dl_status status = DL_OK;
  if (run->team->rank == 0) {
    status = dl_model_summary(run->model, &text);
    if (status == DL_OK) status = dl_config_write(run->model->config, &config);
    if (status == DL_OK) {
      run->options->output(run->options->context, text);
      if (run->model->given) run->options->output(run->options->context, run->model->given);
      run->options->output(run->options->context,
                           run->model->given ? "\n\nconfiguration in force:\n" : "\nconfiguration in force:\n");
      run->options->output(run->options->context, config);
    }
  }
  free(text);
  free(config);
  return dl_team_agree(run->team, status);
}

static dl_status resume(dl_run *run, kept *k) {
  dl_status status = dl_run_compare_config(run, k->state);
  DL_TRY(dl_team_agree(run->team, status));
  DL_TRY(dl_model_load(run->model, k->path, k->state));
  DL_TRY(dl_best_settle(run));
  run->saved_step = run->model->at.step;
  run->last_checkpoint = k->path;
  k->path = NULL;
  if (run->team->rank == 0) dl_fingerprint_compare_kept(run->fingerprint, dl_json_get(k->state, "fingerprint"));
  return DL_OK;
}

static dl_status train_run(dl_run *run, kept *k) {
  dl_config *config = NULL;
  DL_TRY(load_config(run, &config));
  if (dl_ps_role_of(config) == DL_PS_WORKER && !run->options->dry_run) return dl_run_work(run, config);
  dl_status status = dl_team_agree(run->team, dl_best_check_monitor(config));
  if (status == DL_OK) status = choose_folder(run, config, false);
  if (status == DL_OK) status = dl_team_agree(run->team, dl_ps_check_folder(config, run->folder));
  if (status == DL_OK && !run->options->dry_run) status = load_kept(run, k);
  if (status != DL_OK) {
    dl_config_destroy(&config);
    return status;
  }
  dl_model_source source = {.state = k->state, .need = 1u << DL_SPLIT_TRAIN};
  DL_TRY(dl_model_new_training(run->team, config, &source, &run->model));
  DL_TRY(dl_team_agree(run->team, dl_best_check(run->model)));
  dl_gemm_check_environment(run->model->config->compute.backend);
  if (run->options->dry_run) return dry_run(run);
  run->fingerprint = dl_fingerprint(run->model->shards, run->model->config->compute.backend);
  DL_TRY(dl_fingerprint_compare_team(run->team, run->fingerprint));
  if (k->state) {
    bool done;
    DL_TRY(resume(run, k));
    DL_TRY(already_done(run, &done));
    if (done) return DL_OK;
  }
  DL_TRY(open_run(run, k));
  status = dl_fit(run);
  dl_sync_dismiss(run->model->sync, status);
  if (run->team->rank == 0 && (status == DL_OK || status == DL_ERR_STOPPED)) {
    dl_status shown = show_end(run, status);
    if (status == DL_OK) status = shown;
  }
  if (run->team->rank == 0) { /* whatever ended the run, its file says so if it can */
    dl_error error = *dl_error_last();
    dl_status written = write_end(run, status);
    if (written == DL_OK) write_report(run);
    if (status == DL_OK)
      status = written;
    else
      dl_error_adopt(&error);
  }
  return status;
}

static void run_clear(dl_run *run, kept *k) {
  dl_error error = *dl_error_last();
  dl_progress_destroy(&run->progress);
  dl_stragglers_destroy(&run->stragglers);
  dl_log_set_sink(NULL, NULL);
  dl_events_close(&run->events);
  if (run->lock >= 0) close(run->lock);
  dl_model_destroy(&run->model);
  dl_json_destroy(&run->fingerprint);
  dl_json_destroy(&run->early_warnings);
  dl_json_destroy(&k->state);
  free(k->path);
  free(run->last_checkpoint);
  free(run->folder);
  free(run->checkpoints);
  dl_error_adopt(&error);
}

dl_status dl_run_train(dl_team *team, const dl_run_options *options) {
  dl_run run = {.team = team, .options = options, .saved_step = -1, .lock = -1};
  kept k = {0};
  if (team->rank == 0) {
    run.early_warnings = dl_json_array();
    dl_log_set_sink(show_warning, &run);
  }
  dl_status status = train_run(&run, &k);
  status = dl_team_agree(team, status);
  run_clear(&run, &k);
  return status;
}

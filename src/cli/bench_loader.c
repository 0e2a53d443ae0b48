/* bench_loader.c - reads epochs of training batches as training would, leaf by leaf, and throws them away. */
#include "cli/bench_loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/launch.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/data.h"

typedef struct loader_job {
  const char *file;
  int64_t batch, shards, epochs;
  const char *const *set;
  int n_set;
} loader_job;

static dl_status make_config(const loader_job *job, dl_config **out) {
  char *path = dl_path_absolute(job->file);
  char *text = path ? dl_asprintf(
                          "name: bench-loader\nmodel: [flatten]\ndata: {shuffle: lanes, file: '%s'}\n"
                          "train: {epochs: %lld, batch: %lld}\nsync: {shards: %lld}\n",
                          path, (long long)job->epochs + 1, (long long)job->batch, (long long)job->shards)
                    : NULL;
  free(path);
  if (!text) return DL_ERR_NOMEM;
  dl_status status = dl_config_parse(text, strlen(text), "(bench)", job->set, job->n_set, out);
  free(text);
  return status;
}

/* This member's leaves of one epoch. */
static dl_status read_epoch(const dl_team *team, const dl_config *config, const dl_data *data, int64_t epoch,
                            dl_batch *batch) {
  const int64_t steps = dl_data_steps(data, config->train.batch, config->train.drop_last);
  for (int64_t step = 0; step < steps; step++) {
    const dl_cut cut = dl_cut_make(dl_data_step_samples(data, config->train.batch, step), config->sync.shards);
    int64_t first, last, begin, end;
    dl_cut_rank_leaves(&cut, team->rank, team->size, &first, &last);
    for (int64_t leaf = first; leaf < last; leaf++) {
      dl_cut_leaf_range(&cut, leaf, &begin, &end);
      DL_TRY(dl_data_read_step(data, epoch, config->train.batch, step, begin, end, batch));
    }
  }
  return DL_OK;
}

static void print_figures(const dl_team *team, const dl_data *data, const loader_job *job, double seconds,
                          const dl_data_reading *before) {
  const double samples = (double)dl_data_samples(data, DL_SPLIT_TRAIN) * (double)job->epochs,
               read = samples * (double)dl_data_row_bytes(data),
               written = samples * (double)dl_data_shape_of(data)->x_size * sizeof(float);
  const dl_data_reading now = dl_data_reading_of(data);
  char order[16];
  printf("%s: %lld samples of %zu bytes, shuffle %s, batches of %lld in %lld shards, %d member%s\n", job->file,
         (long long)dl_data_samples(data, DL_SPLIT_TRAIN), dl_data_row_bytes(data),
         dl_choice_name(DL_SHUFFLE_NAMES, dl_data_shuffle(data), order, sizeof order), (long long)job->batch,
         (long long)job->shards, team->size, team->size == 1 ? "" : "s");
  printf("loader: %.2f GB/s of x read, %.2f GB/s of floats written, %.0f samples/s", read / seconds / 1e9,
         written / seconds / 1e9, samples / seconds);
  if (now.chunks > before->chunks)
    printf("; of %.3f s: I/O thread busy %.3f s (files %.3f s), waited for %.3f s", seconds,
           now.busy_s - before->busy_s, now.fetch_s - before->fetch_s, now.wait_s - before->wait_s);
  putchar('\n');
}

static dl_status time_epochs(dl_team *team, const dl_config *config, dl_data *data, const loader_job *job) {
  const dl_data_shape *shape = dl_data_shape_of(data);
  const int64_t most = config->train.batch / config->sync.shards + 1;
  dl_batch batch = {.x = dl_calloc_aligned((size_t)(most * shape->x_size), sizeof(float))};
  dl_status status = batch.x ? dl_data_set_order(data, config, config->sync.shards) : DL_ERR_NOMEM;
  if (status == DL_OK) status = read_epoch(team, config, data, 0, &batch);
  status = dl_team_agree(team, status);
  const dl_data_reading before = dl_data_reading_of(data);
  const double begin = dl_now_s();
  for (int64_t epoch = 1; epoch <= job->epochs && status == DL_OK; epoch++)
    status = read_epoch(team, config, data, epoch, &batch);
  status = dl_team_agree(team, status);
  if (status == DL_OK && team->rank == 0) print_figures(team, data, job, dl_now_s() - begin, &before);
  free(batch.x);
  return status;
}

static dl_status loader_member(dl_team *team, void *context) {
  const loader_job *job = context;
  dl_config *config = NULL;
  dl_data *data = NULL;
  dl_status status = dl_team_agree(team, make_config(job, &config));
  if (status == DL_OK)
    status = dl_data_open(team, config, 1u << DL_SPLIT_TRAIN | DL_DATA_WITHOUT_Y | DL_DATA_ONLY_NEEDED, &data);
  if (status == DL_OK) status = time_epochs(team, config, data, job);
  dl_data_destroy(&data);
  dl_config_destroy(&config);
  return status;
}

static dl_status number(const dl_command *command, const dl_args *args, const char *name, int64_t most,
                        int64_t *value) {
  const char *text = dl_option_of(command, args, name);
  char *end;
  if (!text) return DL_OK;
  *value = strtoll(text, &end, 10);
  if (end != text && !*end && *value >= 1 && *value <= most) return DL_OK;
  return dl_fail(DL_ERR_USAGE, "dldist bench: %s takes a number from 1 to %lld, not '%s'", name, (long long)most, text);
}

dl_status dl_bench_loader(const dl_command *command, const dl_args *args) {
  loader_job job = {.file = dl_option_of(command, args, "--data"),
                    .batch = 512,
                    .shards = 8,
                    .epochs = 3,
                    .set = args->set,
                    .n_set = args->n_set};
  int threads = 0;
  if (!job.file) {
    dl_fail(DL_ERR_USAGE, "dldist bench loader: --data FILE.h5 is missing");
    return dl_hint("name a data set that has train/x");
  }
  DL_TRY(number(command, args, "--batch", 10000000, &job.batch));
  DL_TRY(number(command, args, "--shards", 1000000, &job.shards));
  DL_TRY(number(command, args, "--epochs", 1000000, &job.epochs));
  DL_TRY(dl_threads_option(command, args, &threads));
  return dl_launch(threads ? threads : 1, loader_member, &job);
}

/* data.shuffle: lanes: an epoch holds every sample once, in an order that the configuration alone determines, whoever
 * reads it, from files that need not fit in memory. */
#include "make_h5.h"

#include <math.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { N_MOST = 6000, WIDTH = 16 };

/* x (n, WIDTH) u16, all values of a row its number from `first` on; chunks of `chunk` rows (0: none) and `columns`. */
static void make_numbered(const char *name, int first, int n, int chunk, int columns) {
  uint16_t *x = calloc((size_t)n * WIDTH, sizeof *x);
  int *y = calloc((size_t)n, sizeof *y);
  for (int i = 0; i < n * WIDTH; i++) x[i] = (uint16_t)(first + i / WIDTH);
  for (int i = 0; i < n; i++) y[i] = (first + i) % 3;
  hid_t file = make_file(name), made = H5Pcreate(H5P_DATASET_CREATE);
  if (chunk) {
    H5Pset_chunk(made, 2, (hsize_t[]){(hsize_t)chunk, (hsize_t)columns});
    H5Pset_shuffle(made);
    H5Pset_deflate(made, 1);
    H5Pset_fletcher32(made);
  }
  make_set(file, "train/x", H5T_STD_U16LE, H5T_NATIVE_UINT16, DIMS((hsize_t)n, WIDTH), made, x);
  make_labels(file, "train/y", (hsize_t)n, y);
  H5Pclose(made);
  H5Fclose(file);
  free(x);
  free(y);
}

typedef struct lanes_case {
  const char *text; /* the configuration */
  int64_t batch, shards;
  bool drop_last;
} lanes_case;

static dl_status open_lanes(dl_team *team, const lanes_case *c, dl_data **out, dl_config **config) {
  char all[1024], name[256];
  int n = snprintf(all, sizeof all, "model: [{dense: 2}]\ntrain: {epochs: 3, batch: %lld, drop_last: %s}\n%s\n",
                   (long long)c->batch, c->drop_last ? "true" : "false", c->text);
  snprintf(name, sizeof name, "%s/c.yaml", test_folder);
  *config = NULL;
  *out = NULL;
  DL_TRY(dl_config_parse(all, (size_t)n, name, NULL, 0, config));
  DL_TRY(dl_data_open(team, *config, 1, out));
  return dl_data_set_order(*out, *config, c->shards);
}

/* Samples [begin, end) of a step into out, by the first value of x, which must be that of the whole row. */
static dl_status read_some(const dl_data *data, int64_t epoch, int64_t batch, int64_t step, int64_t begin, int64_t end,
                           int *out) {
  float *x = calloc((size_t)(end - begin) * WIDTH + 1, sizeof *x);
  int32_t *label = calloc((size_t)(end - begin) + 1, sizeof *label);
  dl_batch piece = {.x = x, .label = label};
  dl_status status = dl_data_read_step(data, epoch, batch, step, begin, end, &piece);
  for (int64_t i = 0; i < end - begin; i++) {
    const float *row = x + i * WIDTH;
    bool whole = label[i] == (int)row[0] % 3;
    for (int k = 1; k < WIDTH; k++) whole = whole && row[k] == row[0];
    out[i] = whole ? (int)row[0] : -1;
  }
  free(x);
  free(label);
  return status;
}

/* A whole epoch, batch after batch; returns the number of samples. */
static int64_t read_epoch(const dl_data *data, const lanes_case *c, int64_t epoch, int *out) {
  int64_t at = 0;
  for (int64_t step = 0; step < dl_data_steps(data, c->batch, c->drop_last); step++) {
    const int64_t n = dl_data_step_samples(data, c->batch, step);
    DL_ASSERT_OK(read_some(data, epoch, c->batch, step, 0, n, out + at));
    at += n;
  }
  return at;
}

static int64_t epoch_of(const lanes_case *c, int64_t epoch, int *out) {
  dl_config *config;
  dl_data *data;
  DL_ASSERT_OK(open_lanes(test_solo_team(), c, &data, &config));
  int64_t n = data ? read_epoch(data, c, epoch, out) : 0;
  dl_data_destroy(&data);
  dl_config_destroy(&config);
  return n;
}

static bool each_once(const int *samples, int64_t n, int64_t most) {
  bool *seen = calloc((size_t)most, sizeof *seen), good = true;
  for (int64_t i = 0; i < n && good; i++) {
    good = samples[i] >= 0 && samples[i] < most && !seen[samples[i]];
    if (good) seen[samples[i]] = true;
  }
  free(seen);
  return good;
}

#define LANES "data: {normalize: none, shuffle: lanes, shuffle_buffer_mb: 1, file: "

/* Files of 1000, 1 and 777 samples, in chunks of 64 rows, none and chunks of 50 rows and 5 columns. */
static void make_shards(void) {
  make_numbered("s0.h5", 0, 1000, 64, WIDTH);
  make_numbered("s1.h5", 1000, 1, 0, 0);
  make_numbered("s2.h5", 1001, 777, 50, 5);
}
enum { N_SHARDS = 1778 };

static void test_each_sample_comes_once_an_epoch_whatever_the_cut(void) {
  make_shards();
  static int out[N_MOST];
  const int64_t batches[] = {1, 7, 64, 100, 1778, 3000}, shards[] = {1, 3, 8, 64};
  for (size_t b = 0; b < 6; b++)
    for (size_t s = 0; s < 4; s++)
      for (int drop = 0; drop < 2; drop++) {
        const lanes_case c = {LANES "'s?.h5'}", batches[b], shards[s], drop};
        if (drop && batches[b] > N_SHARDS) continue;
        const int64_t n = epoch_of(&c, 1, out);
        CU_ASSERT_EQUAL(n, drop ? N_SHARDS / batches[b] * batches[b] : N_SHARDS);
        CU_ASSERT(each_once(out, n, N_SHARDS));
      }
}

static void test_an_epoch_holds_what_valid_left_of_train(void) {
  make_shards();
  static int out[N_MOST];
  const lanes_case c = {LANES "'s?.h5', valid: 0.3}", 100, 8, false};
  dl_config *config;
  dl_data *data;
  DL_ASSERT_OK(open_lanes(test_solo_team(), &c, &data, &config));
  const int64_t n = read_epoch(data, &c, 0, out), n_valid = dl_data_samples(data, DL_SPLIT_VALID);
  CU_ASSERT_EQUAL(n_valid, 533);
  float *x = read_x(data, DL_SPLIT_VALID);
  for (int64_t i = 0; i < n_valid; i++) out[n + i] = (int)x[i * WIDTH];
  CU_ASSERT_EQUAL(n + n_valid, N_SHARDS);
  CU_ASSERT(each_once(out, n + n_valid, N_SHARDS));
  free(x);
  dl_data_destroy(&data);
  dl_config_destroy(&config);
}

static void test_the_order_differs_by_epoch_and_by_seed_alone(void) {
  make_shards();
  static int first[N_MOST], again[N_MOST], other[N_MOST];
  const lanes_case c = {"seed: 4\n" LANES "'s?.h5'}", 64, 8, false}, d = {"seed: 5\n" LANES "'s?.h5'}", 64, 8, false};
  const int64_t n = epoch_of(&c, 0, first);
  epoch_of(&c, 0, again);
  CU_ASSERT_EQUAL(memcmp(first, again, (size_t)n * sizeof *first), 0);
  for (int k = 0; k < 2; k++) {
    int same = 0;
    epoch_of(k ? &d : &c, k ? 0 : 1, other);
    for (int64_t i = 0; i < n; i++) same += first[i] == other[i];
    CU_ASSERT(same < 15); /* 1 expected */
  }
}

/* ---- teams ---- */

typedef struct lanes_team {
  lanes_case c;
  dl_status status[TEST_MEMBERS];
  char message[TEST_MEMBERS][sizeof((dl_error *)0)->message + 400];
  int *out; /* all members write the samples of their leaves */
  int64_t samples, left, bytes[TEST_MEMBERS], chunks;
  bool unreadable; /* member 2 has no right to read */
  pthread_mutex_t lock;
} lanes_team;

/* As training would: its own leaves, step after step, of two epochs. */
static dl_status read_mine(dl_team *team, const dl_data *data, lanes_team *t) {
  for (int64_t epoch = 0; epoch < 2; epoch++)
    for (int64_t step = 0; step < dl_data_steps(data, t->c.batch, false); step++) {
      const dl_cut cut = dl_cut_make(dl_data_step_samples(data, t->c.batch, step), t->c.shards);
      int64_t first, last, begin, end;
      dl_cut_rank_leaves(&cut, team->rank, team->size, &first, &last);
      for (int64_t leaf = first; leaf < last; leaf++) {
        dl_cut_leaf_range(&cut, leaf, &begin, &end);
        int *to = t->out + epoch * dl_data_samples(data, DL_SPLIT_TRAIN) + step * t->c.batch + begin;
        DL_TRY(read_some(data, epoch, t->c.batch, step, begin, end, to));
      }
    }
  return DL_OK;
}

static void run_member(dl_team *team, void *context) {
  lanes_team *t = context;
  dl_config *config;
  dl_data *data;
  const int r = team->rank;
  if (t->unreadable && r == 2) syscall(SYS_setresuid, -1, 65534, -1); /* of this thread alone */
  t->status[r] = open_lanes(team, &t->c, &data, &config);
  if (t->status[r] == DL_OK) t->status[r] = read_mine(team, data, t);
  dl_error_format(dl_error_last(), t->message[r], sizeof t->message[r]);
  pthread_mutex_lock(&t->lock);
  if (data) {
    t->left = dl_data_samples(data, DL_SPLIT_TRAIN);
    t->bytes[r] = (int64_t)dl_data_bytes(data);
    t->chunks += dl_data_reading_of(data).chunks;
  }
  pthread_mutex_unlock(&t->lock);
  test_wait(team);
  dl_data_destroy(&data);
  dl_config_destroy(&config);
}

static void run_team(lanes_team *t, int members, int per_node, bool no_shared) {
  memset(t->status, 0, sizeof t->status);
  t->chunks = 0;
  pthread_mutex_init(&t->lock, NULL);
  test_crowd_run(members, per_node, no_shared, run_member, t);
  pthread_mutex_destroy(&t->lock);
}

static void test_the_order_is_the_same_for_any_team_and_for_who_reads_alone(void) {
  make_shards();
  static int team_out[2 * N_MOST], alone[2 * N_MOST];
  lanes_team t = {.c = {LANES "'s?.h5'}", 100, 8, false}, .out = team_out};
  const int sizes[] = {1, 2, 3, 5, 8};
  epoch_of(&t.c, 0, alone);
  epoch_of(&t.c, 1, alone + N_SHARDS);
  for (size_t s = 0; s < 5; s++)
    for (int way = 0; way < 3; way++) {
      memset(team_out, 0xff, sizeof team_out);
      run_team(&t, sizes[s], way == 1 ? 3 : 8, way == 2);
      for (int r = 0; r < sizes[s]; r++) CU_ASSERT_EQUAL(t.status[r], DL_OK);
      CU_ASSERT_EQUAL(memcmp(team_out, alone, 2 * N_SHARDS * sizeof *alone), 0);
    }
}

static void test_any_leaf_of_any_step_of_any_epoch_can_be_had(void) {
  make_shards();
  static int all[2 * N_MOST];
  const lanes_case c = {LANES "'s?.h5'}", 100, 8, false};
  epoch_of(&c, 0, all);
  epoch_of(&c, 1, all + N_SHARDS);
  dl_config *config;
  dl_data *data;
  DL_ASSERT_OK(open_lanes(test_solo_team(), &c, &data, &config));
  unsigned state = 7;
  int wrong = 0;
  for (int k = 0; k < 400; k++) {
    state = state * 1664525u + 1013904223u;
    const int64_t epoch = state >> 30 & 1, step = (state >> 8) % 18, n = dl_data_step_samples(data, 100, step),
                  begin = (int64_t)((state >> 16) % (unsigned)n), end = begin + 1 + (int64_t)(state >> 4) % (n - begin);
    int piece[100];
    DL_ASSERT_OK(read_some(data, epoch, 100, step, begin, end, piece));
    wrong += memcmp(piece, all + epoch * N_SHARDS + step * 100 + begin, (size_t)(end - begin) * sizeof *piece) != 0;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  dl_data_destroy(&data);
  dl_config_destroy(&config);
}

static void test_arrays_and_tokens_in_memory_can_come_in_lanes(void) {
  enum { N = 700 };
  static float x[N * (WIDTH + 1)];
  static int32_t labels[N];
  for (int tokens = 0; tokens < 2; tokens++) {
    const int width = WIDTH + tokens;
    for (int i = 0; i < N * width; i++) x[i] = (float)(i / width);
    for (int i = 0; i < N; i++) labels[i] = i % 3;
    const dl_data_arrays arrays[DL_SPLITS] = {
        {.samples = N, .x = tokens ? NULL : x, .labels = tokens ? NULL : labels, .tokens = tokens ? x : NULL}};
    const dl_data_shape shape = {.x_dims = 1, .x_shape = {WIDTH}, .y_size = 1};
    dl_config *config = make_config(tokens ? "task: language_model\ndata: {shuffle: lanes, sequence: 16}\n"
                                             "train: {epochs: 1, batch: 30}"
                                           : "data: {shuffle: lanes}\ntrain: {epochs: 1, batch: 30}");
    dl_data *data = NULL;
    DL_ASSERT_OK(dl_data_from_arrays(test_solo_team(), config, &shape, arrays, &data));
    DL_ASSERT_OK(dl_data_set_order(data, config, 4));
    float row[30 * WIDTH];
    int out[N], wrong = 0, moved = 0;
    int32_t label[30 * WIDTH];
    for (int step = 0; step < 24; step++) {
      const int64_t n = dl_data_step_samples(data, 30, step);
      dl_batch batch = {.x = row, .label = label};
      DL_ASSERT_OK(dl_data_read_step(data, 0, 30, step, 0, n, &batch));
      for (int i = 0; i < n; i++) {
        out[step * 30 + i] = (int)row[i * WIDTH];
        wrong += label[tokens ? i * WIDTH : i] != (tokens ? (int)row[i * WIDTH] : (int)row[i * WIDTH] % 3);
      }
    }
    for (int i = 0; i < N; i++) moved += out[i] != i;
    CU_ASSERT(each_once(out, N, N));
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(moved > N - 20);
    dl_data_destroy(&data);
    dl_config_destroy(&config);
  }
}

/* ---- mixing, memory ---- */

/* Spearman's rank correlation of two permutations of 0 .. n - 1. */
static double correlation(const int *a, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += ((double)a[i] - (double)i) * ((double)a[i] - (double)i);
  return 1 - 6 * sum / ((double)n * ((double)n * (double)n - 1));
}

enum { N_LARGE = 60000, LARGE_CHUNK = 100 };

static void test_windows_mix_and_memory_stays_within_its_bound(void) {
  make_numbered("large.h5", 0, N_LARGE, LARGE_CHUNK, WIDTH);
  int *out = calloc(N_LARGE, sizeof *out);
  /* x is 1.9 MB; two windows of each of 16 lanes are to fit in 1 MiB: windows of at most 1,024 samples of 3,750 */
  const lanes_case c = {LANES "large.h5}", 160, 16, false};
  dl_config *config;
  dl_data *data;
  DL_ASSERT_OK(open_lanes(test_solo_team(), &c, &data, &config));
  CU_ASSERT_EQUAL(read_epoch(data, &c, 0, out), N_LARGE);
  CU_ASSERT(each_once(out, N_LARGE, N_LARGE));
  /* 600 chunks take places at random: correlations of about 1 / sqrt(600) */
  CU_ASSERT(fabs(correlation(out, N_LARGE)) < 4 / sqrt(N_LARGE / LARGE_CHUNK));
  /* leaves of 10 samples: those that follow each other in a lane are of the same chunk once in about 9 or more */
  int64_t same = 0, pairs = 0;
  for (int64_t i = 0; i + 1 < N_LARGE; i++)
    if (i % 10 != 9) pairs++, same += out[i] / LARGE_CHUNK == out[i + 1] / LARGE_CHUNK;
  CU_ASSERT((double)same / (double)pairs < 0.16);
  const dl_data_reading reading = dl_data_reading_of(data);
  CU_ASSERT(reading.bytes >= (int64_t)N_LARGE * WIDTH * 2);
  const size_t in_memory = N_LARGE * (sizeof(int32_t)) + 20000; /* labels, names */
  const size_t per_sample = WIDTH * 2 + sizeof(int64_t);        /* a sample in a window carries its number */
  CU_ASSERT(dl_data_bytes(data) <= in_memory + (1u << 20) / (WIDTH * 2) * per_sample + 4096 * sizeof(uint32_t));
  dl_data_destroy(&data);
  dl_config_destroy(&config);
  free(out);
}

static void test_a_chunk_is_read_once_an_epoch_but_where_lanes_are_cut(void) {
  make_numbered("large.h5", 0, N_LARGE, 1000, WIDTH);
  int *out = calloc(2 * N_LARGE, sizeof *out);
  lanes_team t = {.c = {"data: {normalize: none, shuffle: lanes, file: large.h5}", 500, 8, false}, .out = out};
  for (int members = 1; members <= 4; members += 3) {
    run_team(&t, members, 8, false);
    const int64_t cuts = t.c.shards - 1, ahead = 3 * t.c.shards; /* the third epoch's first windows are of few chunks */
    CU_ASSERT(t.chunks >= 2 * (N_LARGE / 1000));
    CU_ASSERT(t.chunks <= 2 * (N_LARGE / 1000 + cuts) + N_LARGE / 1000 + cuts + ahead);
  }
  free(out);
}

/* ---- trouble ---- */

static void expect_lanes(lanes_team *t, int members, const char *parts) {
  run_team(t, members, 8, false);
  int failed = 0;
  for (int r = 0; r < members; r++) {
    char list[256];
    if (t->status[r] == DL_OK) continue;
    failed++;
    CU_ASSERT_EQUAL(t->status[r], DL_ERR_DATA);
    snprintf(list, sizeof list, "%s", parts);
    for (char *next, *part = strtok_r(list, "|", &next); part; part = strtok_r(NULL, "|", &next)) {
      const bool there = strstr(t->message[r], part) != NULL;
      CU_ASSERT_TRUE(there);
      if (!there) fprintf(stderr, "%s\n  without: %s\n", t->message[r], part);
    }
  }
  CU_ASSERT(failed > 0);
}

/* Flips a bit in the middle of chunk (row, 0) of train/x. */
static void damage_chunk(const char *name, int row) {
  hid_t file = H5Fopen(test_path(name), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, "train/x", H5P_DEFAULT);
  haddr_t at = 0;
  hsize_t bytes = 0, offset[2] = {(hsize_t)row, 0};
  unsigned mask;
  CU_ASSERT(H5Dget_chunk_info_by_coord(set, offset, &mask, &at, &bytes) >= 0);
  H5Dclose(set);
  H5Fclose(file);
  FILE *raw = fopen(test_path(name), "r+b");
  fseek(raw, (long)(at + bytes / 2), SEEK_SET);
  const int value = fgetc(raw);
  fseek(raw, -1, SEEK_CUR);
  fputc(value ^ 16, raw);
  fclose(raw);
}

static void test_a_damaged_chunk_stops_whoever_reads_it_with_its_rows(void) {
  make_numbered("hurt.h5", 0, 2000, 100, WIDTH);
  damage_chunk("hurt.h5", 700);
  static int out[2 * N_MOST];
  lanes_team t = {.c = {LANES "hurt.h5}", 100, 8, false}, .out = out};
  for (int members = 1; members <= 3; members++)
    expect_lanes(&t, members, "hurt.h5|'train/x'|rows 700 to 799|chunk at (700, 0)|on_corrupt: skip");
}

static void check_skipped(lanes_team *t, const char *text) {
  static int alone[2 * N_MOST];
  t->c.text = text;
  for (int members = 1; members <= 5; members += 2) {
    run_team(t, members, 3, false);
    for (int r = 0; r < members; r++) CU_ASSERT_EQUAL(t->status[r], DL_OK);
    CU_ASSERT_EQUAL(t->left, 1900);
    CU_ASSERT(each_once(t->out, 1900, 2000));
    for (int i = 0; i < 1900; i++) CU_ASSERT(t->out[i] < 700 || t->out[i] >= 800);
    if (members == 1) memcpy(alone, t->out, sizeof alone);
    CU_ASSERT_EQUAL(memcmp(alone, t->out, 2 * 1900 * sizeof *alone), 0);
  }
}

static void test_skipping_leaves_the_same_rows_out_for_everybody(void) {
  make_numbered("hurt.h5", 0, 2000, 100, WIDTH);
  damage_chunk("hurt.h5", 700);
  static int out[2 * N_MOST];
  lanes_team t = {.c = {NULL, 100, 8, false}, .out = out};
  check_skipped(&t, LANES "hurt.h5, on_corrupt: skip}");
  check_skipped(&t, "data: {normalize: none, on_corrupt: skip, file: hurt.h5}");
  dl_data *data;
  DL_ASSERT_OK(open_text("data: {file: hurt.h5, on_corrupt: skip, valid: 0.5}", &data));
  CU_ASSERT_EQUAL(dl_data_samples(data, DL_SPLIT_TRAIN) + dl_data_samples(data, DL_SPLIT_VALID), 1900);
  dl_data_destroy(&data);
  CU_ASSERT_EQUAL(open_text("data: {file: hurt.h5}", &data), DL_ERR_DATA);
}

static void test_a_file_that_changes_during_the_run_ends_it(void) {
  for (int way = 0; way < 3; way++) {
    make_numbered("moving.h5", 0, 4000, 100, WIDTH);
    const lanes_case c = {LANES "moving.h5}", 100, 2, false};
    dl_config *config;
    dl_data *data;
    int out[100];
    DL_ASSERT_OK(open_lanes(test_solo_team(), &c, &data, &config));
    DL_ASSERT_OK(read_some(data, 0, 100, 0, 0, 100, out));
    if (way == 0) {
      make_numbered("other.h5", 1, 4000, 100, WIDTH);
      CU_ASSERT_EQUAL(rename(test_path("other.h5"), test_path("moving.h5")), 0);
    }
    if (way == 1) CU_ASSERT_EQUAL(truncate(test_path("moving.h5"), 5000), 0);
    if (way == 2) CU_ASSERT_EQUAL(unlink(test_path("moving.h5")), 0);
    dl_status status = DL_OK;
    for (int64_t epoch = 0; epoch < 3 && status == DL_OK; epoch++)
      for (int64_t step = 0; step < 40 && status == DL_OK; step++)
        status = read_some(data, epoch, 100, step, 0, 100, out);
    CU_ASSERT_EQUAL(status, DL_ERR_DATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->file, "moving.h5"));
    CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "changed during the run"));
    dl_data_destroy(&data);
    dl_config_destroy(&config);
  }
}

static void test_a_member_without_read_permission_is_everybodys_one_error(void) {
  if (geteuid() != 0) return; /* only root can give rights away */
  make_numbered("secret.h5", 0, 2000, 100, WIDTH);
  chmod(test_path("secret.h5"), 0600);
  chmod(test_folder, 0755);
  static int out[2 * N_MOST];
  lanes_team t = {.c = {LANES "secret.h5}", 100, 8, false}, .out = out, .unreadable = true};
  for (int per_node = 1; per_node <= 5; per_node += 4) {
    run_team(&t, 5, per_node, false);
    for (int r = 0; r < 5; r++) {
      CU_ASSERT_EQUAL(t.status[r], DL_ERR_DATA);
      CU_ASSERT_PTR_NOT_NULL(strstr(t.message[r], "Permission denied"));
      CU_ASSERT_PTR_NOT_NULL(strstr(t.message[r], "secret.h5"));
    }
  }
}

static void test_a_buffer_that_is_too_small_says_what_would_do(void) {
  make_numbered("wide.h5", 0, 60000, 20000, WIDTH);
  const lanes_case c = {LANES "wide.h5}", 100, 2, false};
  dl_config *config;
  dl_data *data;
  CU_ASSERT_EQUAL(open_lanes(test_solo_team(), &c, &data, &config), DL_ERR_USAGE);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "data.shuffle_buffer_mb of 1 is too small"));
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->hint, "to at least 3"));
  dl_data_destroy(&data);
  dl_config_destroy(&config);
}

/* x of 4 GiB and a row, in a file that is one hole. */
static void test_auto_chooses_by_size_and_opens_large_files_without_reading_them(void) {
  enum { ROW = 1 << 20 };
  for (int large = 0; large < 2; large++) {
    const hsize_t n = large ? 4097 : 16;
    hid_t file = make_file("hole.h5"), made = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_alloc_time(made, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(made, H5D_FILL_TIME_NEVER);
    int *y = calloc(n, sizeof *y);
    y[n - 1] = 1;
    make_set(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(n, ROW), made, NULL);
    make_labels(file, "train/y", n, y);
    free(y);
    H5Pclose(made);
    H5Fclose(file);
    dl_data *data;
    DL_ASSERT_OK(open_text("data: {file: hole.h5}", &data));
    CU_ASSERT_EQUAL(dl_data_shuffle(data), large ? DL_SHUFFLE_LANES : DL_SHUFFLE_FULL);
    CU_ASSERT(large ? dl_data_bytes(data) < 100000 : dl_data_bytes(data) > 16 * ROW);
    dl_data_destroy(&data);
    unlink(test_path("hole.h5"));
  }
}

static const dl_test tests[] = {
    DL_TEST(test_each_sample_comes_once_an_epoch_whatever_the_cut),
    DL_TEST(test_an_epoch_holds_what_valid_left_of_train),
    DL_TEST(test_the_order_differs_by_epoch_and_by_seed_alone),
    DL_TEST(test_the_order_is_the_same_for_any_team_and_for_who_reads_alone),
    DL_TEST(test_any_leaf_of_any_step_of_any_epoch_can_be_had),
    DL_TEST(test_arrays_and_tokens_in_memory_can_come_in_lanes),
    DL_TEST(test_windows_mix_and_memory_stays_within_its_bound),
    DL_TEST(test_a_chunk_is_read_once_an_epoch_but_where_lanes_are_cut),
    DL_TEST(test_a_damaged_chunk_stops_whoever_reads_it_with_its_rows),
    DL_TEST(test_skipping_leaves_the_same_rows_out_for_everybody),
    DL_TEST(test_a_file_that_changes_during_the_run_ends_it),
    DL_TEST(test_a_member_without_read_permission_is_everybodys_one_error),
    DL_TEST(test_a_buffer_that_is_too_small_says_what_would_do),
    DL_TEST(test_auto_chooses_by_size_and_opens_large_files_without_reading_them),
};
DL_TEST_MAIN("data lanes", tests)

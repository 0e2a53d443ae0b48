/* Checkpoints: whole or absent, whatever is damaged, missing, full or killed. */
#include "train/checkpoint.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "core/clock.h"
#include "core/log.h"
#include "dltest.h"
#include "scratch.h"

enum { COUNT = 24 };
static const char *const files[] = {"model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"};

/* A model of one tensor and two slots, whose values tell the step. */
typedef struct sample {
  float values[3 * COUNT];
  dl_tensor_view model[1], slots[2];
  dl_checkpoint checkpoint;
} sample;

static float value_of(int64_t step, int i) { return (float)step + (float)i * 0x1p-8f; }

static void make_sample(sample *s, int64_t step, size_t state_bytes) {
  memset(s, 0, sizeof *s);
  for (int i = 0; i < 3 * COUNT; i++) s->values[i] = value_of(step, i);
  dl_tensor_view *views[] = {&s->model[0], &s->slots[0], &s->slots[1]};
  static const char *const names[] = {"layers.0.weight", "exp_avg.layers.0.weight", "exp_avg_sq.layers.0.weight"};
  for (int t = 0; t < 3; t++) {
    *views[t] = (dl_tensor_view){.dims = 2, .shape = {4, 6}, .count = COUNT, .values = s->values + t * COUNT};
    snprintf(views[t]->name, sizeof views[t]->name, "%s", names[t]);
  }
  s->checkpoint = (dl_checkpoint){s->model, 1, s->slots, 2, dl_json_object()};
  dl_json_put_int(s->checkpoint.state, "step", step);
  char *filler = calloc(1, state_bytes + 1);
  CU_ASSERT_PTR_NOT_NULL_FATAL(filler);
  memset(filler, 'x', state_bytes);
  dl_json_put_string(s->checkpoint.state, "filler", filler);
  free(filler);
}

static dl_status write_with_best(const char *folder, int64_t step, int64_t keep, int64_t best, size_t state_bytes) {
  sample s;
  dl_checkpoint_written written;
  make_sample(&s, step, state_bytes);
  dl_status status =
      dl_checkpoint_write(folder, &(dl_checkpoint_place){step, keep, best, NULL}, &s.checkpoint, &written);
  dl_json_destroy(&s.checkpoint.state);
  free(written.path);
  return status;
}

static dl_status write_step(const char *folder, int64_t step, int64_t keep, size_t state_bytes) {
  return write_with_best(folder, step, keep, -1, state_bytes);
}

/* The checkpoint at `path` is whole, readable, and that of `step`. */
static bool is_step(const char *path, int64_t step) {
  sample s;
  make_sample(&s, -1, 0);
  dl_json_destroy(&s.checkpoint.state);
  dl_json *state = NULL;
  bool right = dl_checkpoint_verify(path) == DL_OK && dl_checkpoint_state(path, &state) == DL_OK &&
               dl_checkpoint_read(path, &s.checkpoint) == DL_OK && dl_json_int(dl_json_get(state, "step"), -1) == step;
  for (int i = 0; right && i < 3 * COUNT; i++) right = s.values[i] == value_of(step, i);
  dl_json_destroy(&state);
  return right;
}

static int64_t newest_step(const char *folder) {
  char *path = NULL;
  DL_ASSERT_OK(dl_checkpoint_newest(folder, &path));
  int64_t step = path ? atoll(strrchr(path, '-') + 1) : -1;
  if (path) CU_ASSERT(is_step(path, step));
  free(path);
  return step;
}

/* Names in a folder, but for those that begin with `but` where it is not empty. */
static int names_in(const char *folder, const char *but) {
  int n = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *entry; dir && (entry = readdir(dir));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
        (!*but || strncmp(entry->d_name, but, strlen(but))))
      n++;
  if (dir) closedir(dir);
  return n;
}

static bool points_to(const scratch *dir, const char *pointer, const char *name) {
  char target[64] = "";
  return readlink(scratch_path(dir, pointer), target, sizeof target - 1) > 0 && !strcmp(target, name);
}
static bool latest_is(const scratch *dir, const char *name) { return points_to(dir, "latest", name); }

/* What dl_warn said last, and how often. */
typedef struct warning {
  int count;
  char code[64], text[1400];
} warning;
static void keep_warning(void *context, const char *code, const char *message) {
  warning *w = context;
  w->count++;
  snprintf(w->code, sizeof w->code, "%s", code);
  snprintf(w->text, sizeof w->text, "%s", message);
}

/* ---- what is written ---- */

static void test_what_is_written_is_whole_and_reads_back(void) {
  scratch dir;
  scratch_begin(&dir);
  sample s;
  dl_checkpoint_written written;
  make_sample(&s, 7, 10);
  DL_ASSERT_OK(dl_checkpoint_write(dir.folder, &(dl_checkpoint_place){7, 2, -1, NULL}, &s.checkpoint, &written));
  CU_ASSERT_STRING_EQUAL(written.path, scratch_path(&dir, "step-00000007"));
  CU_ASSERT(is_step(written.path, 7));
  CU_ASSERT(is_step(scratch_path(&dir, "latest"), 7));
  CU_ASSERT(latest_is(&dir, "step-00000007")); /* relative: the run's folder may move */
  CU_ASSERT_EQUAL(names_in(written.path, "."), 4);
  CU_ASSERT_EQUAL(names_in(dir.folder, ""), 2);
  dl_digest digest;
  DL_ASSERT_OK(dl_tensors_digest(s.model, 1, &digest));
  CU_ASSERT_STRING_EQUAL(written.weights.hex, digest.hex);
  dl_json *state = NULL;
  DL_ASSERT_OK(dl_checkpoint_state(written.path, &state));
  CU_ASSERT_STRING_EQUAL(dl_json_string(dl_json_get(state, "weights_sha256")), digest.hex);
  dl_json_destroy(&state);
  dl_json_destroy(&s.checkpoint.state);
  free(written.path);
  scratch_end(&dir);
}

static void test_the_manifest_has_size_and_sha256_of_each_file(void) {
  scratch dir;
  scratch_begin(&dir);
  DL_ASSERT_OK(write_step(dir.folder, 1, 2, 10));
  size_t n;
  char *text = (char *)bytes_of(scratch_path(&dir, "step-00000001/MANIFEST.json"), &n);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  dl_json *manifest = NULL;
  DL_ASSERT_OK(dl_json_parse(text, n, "manifest", &manifest));
  CU_ASSERT_EQUAL(dl_json_size(dl_json_get(manifest, "files")), 3);
  for (int f = 0; f < 3; f++) {
    char path[SCRATCH_PATH];
    snprintf(path, sizeof path, "%s/step-00000001/%s", dir.folder, files[f]);
    const dl_json *entry = dl_json_get(dl_json_get(manifest, "files"), files[f]);
    struct stat st;
    dl_digest digest;
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(dl_json_int(dl_json_get(entry, "bytes"), -1), st.st_size);
    DL_ASSERT_OK(dl_sha256_file(path, &digest));
    CU_ASSERT_STRING_EQUAL(dl_json_string(dl_json_get(entry, "sha256")), digest.hex);
  }
  dl_json_destroy(&manifest);
  free(text);
  scratch_end(&dir);
}

static void test_the_newest_are_kept_by_number_and_the_rest_removed(void) {
  scratch dir;
  scratch_begin(&dir);
  CU_ASSERT_EQUAL(newest_step(dir.folder), -1);
  static const int64_t steps[] = {9, 10, 99, 100, 123456789};
  for (size_t i = 0; i < 5; i++) {
    DL_ASSERT_OK(write_step(dir.folder, steps[i], 3, 10));
    CU_ASSERT_EQUAL(newest_step(dir.folder), steps[i]);
    CU_ASSERT_EQUAL(names_in(dir.folder, "latest"), i < 3 ? (int)i + 1 : 3);
  }
  CU_ASSERT(is_step(scratch_path(&dir, "step-123456789"), 123456789));
  CU_ASSERT(is_step(scratch_path(&dir, "step-00000100"), 100));
  CU_ASSERT(is_step(scratch_path(&dir, "step-00000099"), 99));
  scratch_end(&dir);
}

static void test_a_run_that_went_back_forgets_what_came_after(void) {
  scratch dir;
  scratch_begin(&dir);
  for (int64_t step = 1; step <= 5; step++) DL_ASSERT_OK(write_step(dir.folder, step, 9, 10));
  DL_ASSERT_OK(write_step(dir.folder, 3, 9, 500)); /* another step 3 than before */
  CU_ASSERT_EQUAL(newest_step(dir.folder), 3);
  CU_ASSERT(latest_is(&dir, "step-00000003"));
  CU_ASSERT_EQUAL(names_in(dir.folder, "latest"), 3);
  struct stat st;
  CU_ASSERT_EQUAL(stat(scratch_path(&dir, "step-00000003/state.json"), &st), 0);
  CU_ASSERT(st.st_size > 500);
  scratch_end(&dir);
}

static void test_other_names_in_the_folder_are_neither_taken_nor_removed(void) {
  static const char *const others[] = {"step-5",
                                       "step-",
                                       "step-x",
                                       "step-00000005x",
                                       "step-00000005.bak",
                                       "step--0000001",
                                       "step- 0000001",
                                       "step-+0000001",
                                       "step-99999999999999999999",
                                       "notes"};
  scratch dir;
  warning w = {0};
  scratch_begin(&dir);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    CU_ASSERT_EQUAL(mkdir(scratch_path(&dir, others[i]), 0700), 0);
  dl_log_set_sink(keep_warning, &w);
  for (int64_t step = 1; step <= 3; step++) DL_ASSERT_OK(write_step(dir.folder, step, 2, 10));
  CU_ASSERT_EQUAL(newest_step(dir.folder), 3);
  dl_log_set_sink(NULL, NULL);
  CU_ASSERT_EQUAL(w.count, 0);
  CU_ASSERT(is_step(scratch_path(&dir, "step-00000002"), 2));
  CU_ASSERT_EQUAL(names_in(dir.folder, "latest"), 2 + (int)(sizeof others / sizeof others[0]));
  scratch_end(&dir);
}

static void test_what_a_crash_left_is_cleared_by_the_next_write(void) {
  scratch dir;
  scratch_begin(&dir);
  static const char *const left[] = {".tmp-step-00000004", ".tmp-step-00000002"};
  for (int i = 0; i < 2; i++) {
    CU_ASSERT_EQUAL(mkdir(scratch_path(&dir, left[i]), 0700), 0);
    char path[SCRATCH_PATH];
    snprintf(path, sizeof path, "%s/%s/model.safetensors", dir.folder, left[i]);
    put_bytes(path, "half", 4);
  }
  CU_ASSERT_EQUAL(newest_step(dir.folder), -1);
  DL_ASSERT_OK(write_step(dir.folder, 4, 2, 10));
  CU_ASSERT_EQUAL(newest_step(dir.folder), 4);
  CU_ASSERT_EQUAL(names_in(dir.folder, ""), 2);
  scratch_end(&dir);
}

static void test_a_folder_that_is_absent_has_no_checkpoint_and_one_that_cannot_be_opened_is_an_error(void) {
  scratch dir;
  char *path = NULL;
  scratch_begin(&dir);
  DL_ASSERT_OK(dl_checkpoint_newest(scratch_path(&dir, "absent"), &path));
  CU_ASSERT_PTR_NULL(path);
  put_bytes(scratch_path(&dir, "file"), "x", 1);
  DL_ASSERT_OK(dl_checkpoint_newest(scratch_path(&dir, "file"), &path)); /* whoever makes the folder will say so */
  CU_ASSERT_PTR_NULL(path);
  CU_ASSERT_EQUAL(symlink("loop", scratch_path(&dir, "loop")), 0);
  CU_ASSERT_EQUAL(dl_checkpoint_newest(scratch_path(&dir, "loop"), &path), DL_ERR_DATA);
  CU_ASSERT_STRING_EQUAL(dl_error_last()->file, scratch_path(&dir, "loop"));
  scratch_end(&dir);
}

/* ---- what is damaged ---- */

/* Newest of steps 1 and 2 where 2 has been damaged: 1, with one warning that names 2 and the file. */
static void expect_passed_over(const scratch *dir, const char *file) {
  warning w = {0};
  dl_log_set_sink(keep_warning, &w);
  CU_ASSERT_EQUAL(newest_step(dir->folder), 1);
  dl_log_set_sink(NULL, NULL);
  CU_ASSERT_EQUAL(w.count, 1);
  CU_ASSERT_STRING_EQUAL(w.code, "checkpoint_damaged");
  CU_ASSERT_PTR_NOT_NULL(strstr(w.text, "step-00000002"));
  bool named = strstr(w.text, file);
  if (!named) fprintf(stderr, "'%s' does not name %s\n", w.text, file);
  CU_ASSERT(named);
  CU_ASSERT_EQUAL(dl_checkpoint_verify(scratch_path(dir, "step-00000002")), DL_ERR_DATA);
}

static void test_each_file_damaged_missing_or_cut_makes_the_newest_the_one_before(void) {
  for (int f = 0; f < 4; f++) {
    scratch dir;
    char path[SCRATCH_PATH];
    scratch_begin(&dir);
    DL_ASSERT_OK(write_step(dir.folder, 1, 2, 10));
    DL_ASSERT_OK(write_step(dir.folder, 2, 2, 10));
    snprintf(path, sizeof path, "%s/step-00000002/%s", dir.folder, files[f]);
    size_t n;
    unsigned char *bytes = bytes_of(path, &n);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (size_t at = 0; f < 3 && at < n; at += 1 + n / 40) { /* any bit of any byte */
      bytes[at] ^= (unsigned char)(1u << at % 8);
      put_bytes(path, bytes, n);
      CU_ASSERT_EQUAL(dl_checkpoint_verify(scratch_path(&dir, "step-00000002")), DL_ERR_DATA);
      if (!at) expect_passed_over(&dir, files[f]);
      bytes[at] ^= (unsigned char)(1u << at % 8);
    }
    for (size_t keep = 0; keep < n; keep += 1 + n / 20) {
      put_bytes(path, bytes, keep);
      CU_ASSERT_EQUAL(dl_checkpoint_verify(scratch_path(&dir, "step-00000002")), DL_ERR_DATA);
    }
    expect_passed_over(&dir, files[f]);
    put_bytes(path, bytes, n);
    CU_ASSERT_EQUAL(newest_step(dir.folder), 2); /* it was that, and nothing else */
    unlink(path);
    expect_passed_over(&dir, files[f]);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    expect_passed_over(&dir, files[f]);
    rmdir(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    expect_passed_over(&dir, files[f]);
    free(bytes);
    scratch_end(&dir);
  }
}

/* A manifest that is wrong in itself. Each is a change of the sound one: `from` is replaced by `to`. */
static const struct {
  const char *from, *to;
} manifests[] = {
    {"model.safetensors", "../x"},
    {"model.safetensors", "model.safetensor"},
    {"\"state.json\": {", "\"../x\": {\"bytes\": 1, \"sha256\": \"0\"}, \"state.json\": {"},
    {"\"state.json\": {", "\"/etc/hostname\": {\"bytes\": 1, \"sha256\": \"0\"}, \"state.json\": {"},
    {"\"state.json\": {", "\"..\": {\"bytes\": 4096, \"sha256\": \"0\"}, \"state.json\": {"},
    {"\"state.json\": {", "\"\": {\"bytes\": 4096, \"sha256\": \"0\"}, \"state.json\": {"},
    {"\"state.json\": {", "\"absent\": {\"bytes\": 0}, \"state.json\": {"},
    {"\"bytes\": ", "\"bytes\": -"},
    {"\"bytes\": ", "\"bytes\": 1"},
    {"\"bytes\": ", "\"byte\": "},
    {"\"sha256\": \"", "\"sha256\": \"0"},
    {"\"sha256\": \"", "\"sha\": \""},
    {"\"files\": {", "\"file\": {"},
    {"\"files\": {", "\"files\": [], \"f\": {"},
    {"\"files\": {", "\"files\": null, \"f\": {"},
    {"{", "["},
    {"}", "}}"},
};

static void test_a_manifest_that_lies_or_leads_outside_is_refused(void) {
  scratch dir;
  scratch_begin(&dir);
  DL_ASSERT_OK(write_step(dir.folder, 1, 2, 10));
  DL_ASSERT_OK(write_step(dir.folder, 2, 2, 10));
  put_bytes(scratch_path(&dir, "x"), "1", 1);
  char path[SCRATCH_PATH];
  snprintf(path, sizeof path, "%s/step-00000002/MANIFEST.json", dir.folder);
  size_t n;
  char *sound = (char *)bytes_of(path, &n), changed[4096];
  CU_ASSERT_PTR_NOT_NULL_FATAL(sound);
  for (size_t i = 0; i < sizeof manifests / sizeof manifests[0]; i++) {
    char *at = strstr(sound, manifests[i].from);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    int length = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - sound), sound, manifests[i].to,
                          at + strlen(manifests[i].from));
    put_bytes(path, changed, (size_t)length);
    dl_status status = dl_checkpoint_verify(scratch_path(&dir, "step-00000002"));
    if (status != DL_ERR_DATA) fprintf(stderr, "manifest %zu: %d\n%s\n", i, (int)status, changed);
    CU_ASSERT_EQUAL(status, DL_ERR_DATA);
  }
  expect_passed_over(&dir, "MANIFEST.json");
  free(sound);
  scratch_end(&dir);
}

static void test_a_state_that_is_no_object_is_an_error_of_its_file(void) {
  static const char *const states[] = {"", "{", "[]", "null", "1", "\"x\"", "{\"a\":1,\"a\":2}", "{} x", "\xff"};
  scratch dir;
  char path[SCRATCH_PATH];
  scratch_begin(&dir);
  DL_ASSERT_OK(write_step(dir.folder, 1, 2, 10));
  snprintf(path, sizeof path, "%s/step-00000001/state.json", dir.folder);
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    dl_json *state = NULL;
    put_bytes(path, states[i], strlen(states[i]));
    CU_ASSERT_EQUAL(dl_checkpoint_state(scratch_path(&dir, "step-00000001"), &state), DL_ERR_DATA);
    CU_ASSERT_PTR_NULL(state);
    CU_ASSERT_STRING_EQUAL(dl_error_last()->file, path);
  }
  scratch_end(&dir);
}

static void test_tensors_of_another_model_are_an_error_that_names_them(void) {
  scratch dir;
  sample s;
  scratch_begin(&dir);
  DL_ASSERT_OK(write_step(dir.folder, 1, 2, 10));
  const char *path = scratch_path(&dir, "step-00000001");
  make_sample(&s, 0, 0);
  dl_json_destroy(&s.checkpoint.state);
  s.slots[1].shape[0] = 6;
  s.slots[1].shape[1] = 4;
  CU_ASSERT_EQUAL(dl_checkpoint_read(path, &s.checkpoint), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "exp_avg_sq.layers.0.weight"));
  snprintf(s.model[0].name, sizeof s.model[0].name, "layers.1.weight");
  CU_ASSERT_EQUAL(dl_checkpoint_read(path, &s.checkpoint), DL_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(dl_error_last()->message, "layers.1.weight"));
  s.checkpoint.n_model = 0;
  CU_ASSERT_EQUAL(dl_checkpoint_read(path, &s.checkpoint), DL_ERR_DATA);
  scratch_end(&dir);
}

/* ---- what fails in the middle ---- */

/* Files may grow to `bytes` only: the disk is full. A signal says so first, which the program ignores. */
static void set_full_disk(rlim_t bytes) {
  struct rlimit limit;
  CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_full_disk_leaves_the_old_checkpoint_and_the_pointer_on_it(void) {
  signal(SIGXFSZ, SIG_IGN);
  for (size_t state_bytes = 0; state_bytes <= 2000; state_bytes += 2000) {
    scratch dir;
    struct rlimit before;
    int failed = 0;
    scratch_begin(&dir);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &before), 0);
    DL_ASSERT_OK(write_step(dir.folder, 1, 1, state_bytes));
    for (rlim_t bytes = 0;; bytes += 40) {
      set_full_disk(bytes);
      dl_status status = write_step(dir.folder, 2, 1, state_bytes);
      dl_error error = *dl_error_last();
      set_full_disk(before.rlim_cur);
      if (status == DL_OK) break;
      failed++;
      CU_ASSERT_EQUAL(status, DL_ERR_SYSTEM);
      CU_ASSERT_PTR_NOT_NULL(strstr(error.file, "step-00000002/")); /* which file could not be written */
      CU_ASSERT_EQUAL(newest_step(dir.folder), 1);
      CU_ASSERT(latest_is(&dir, "step-00000001"));
      CU_ASSERT_EQUAL(names_in(dir.folder, ""), 2);
    }
    CU_ASSERT(failed > 8); /* all of the files came to their limit */
    CU_ASSERT_EQUAL(newest_step(dir.folder), 2);
    CU_ASSERT(latest_is(&dir, "step-00000002"));
    CU_ASSERT_EQUAL(names_in(dir.folder, ""), 2);
    scratch_end(&dir);
  }
}

/* The same step again, on a full disk. */
static void test_a_failed_rewrite_of_a_step_leaves_the_one_before(void) {
  scratch dir;
  struct rlimit before;
  signal(SIGXFSZ, SIG_IGN);
  scratch_begin(&dir);
  CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &before), 0);
  DL_ASSERT_OK(write_step(dir.folder, 3, 1, 10));
  set_full_disk(300);
  dl_status status = write_step(dir.folder, 3, 1, 10);
  set_full_disk(before.rlim_cur);
  CU_ASSERT_EQUAL(status, DL_ERR_SYSTEM);
  CU_ASSERT_EQUAL(newest_step(dir.folder), 3);
  scratch_end(&dir);
}

/* Writes step after step, each again once in a while, until it is killed. */
static void write_for_ever(const char *folder, int64_t step) {
  for (int i = 0;; i++)
    if (write_step(folder, step + i - i / 3, 1, 100) != DL_OK) _exit(1);
}

static void test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint(void) {
  scratch dir;
  uint32_t state = 11;
  int64_t step = 1;
  scratch_begin(&dir);
  double start = dl_now_s();
  DL_ASSERT_OK(write_step(dir.folder, step, 1, 100));
  uint32_t once_us = 100 + (uint32_t)(1e6 * (dl_now_s() - start));
  for (int round = 0; round < 60; round++) {
    fflush(NULL);
    pid_t child = fork();
    if (!child) write_for_ever(dir.folder, step);
    usleep(500 + random_below(&state, 16 * once_us));
    int how = 0;
    kill(child, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(child, &how, 0), child);
    CU_ASSERT(WIFSIGNALED(how));
    int64_t newest = newest_step(dir.folder);
    CU_ASSERT_FATAL(newest >= step);
    CU_ASSERT_EQUAL(dl_checkpoint_verify(scratch_path(&dir, "latest")), DL_OK);
    step = newest;
  }
  CU_ASSERT(step > 1); /* the writers did write */
  DL_ASSERT_OK(write_step(dir.folder, step + 1, 1, 100));
  CU_ASSERT_EQUAL(names_in(dir.folder, ""), 2); /* nothing of the dead is left */
  scratch_end(&dir);
}

/* ---- the best one ---- */

static int64_t best_step(const char *folder) {
  char *path = NULL;
  DL_ASSERT_OK(dl_checkpoint_best(folder, &path));
  const int64_t step = path ? atoll(strrchr(path, '-') + 1) : -1;
  if (path) CU_ASSERT(is_step(path, step));
  free(path);
  return step;
}

static void test_the_best_stays_beside_the_newest_until_there_is_a_better_one(void) {
  scratch dir;
  scratch_begin(&dir);
  DL_ASSERT_OK(write_with_best(dir.folder, 5, 2, -1, 0));
  CU_ASSERT_EQUAL(best_step(dir.folder), 5); /* none is kept as the best: the newest */
  DL_ASSERT_OK(write_with_best(dir.folder, 10, 2, 10, 0));
  for (int64_t step = 15; step <= 40; step += 5) DL_ASSERT_OK(write_with_best(dir.folder, step, 2, 10, 0));
  CU_ASSERT(points_to(&dir, "best", "step-00000010") && latest_is(&dir, "step-00000040"));
  CU_ASSERT_EQUAL(best_step(dir.folder), 10);
  CU_ASSERT_EQUAL(newest_step(dir.folder), 40);
  CU_ASSERT_EQUAL(names_in(dir.folder, ""), 5); /* 10, 35, 40 and two pointers */
  DL_ASSERT_OK(write_with_best(dir.folder, 45, 2, 45, 0));
  CU_ASSERT(points_to(&dir, "best", "step-00000045"));
  CU_ASSERT_EQUAL(names_in(dir.folder, ""), 4);
  scratch_end(&dir);
}

static void test_a_run_that_goes_back_or_keeps_no_best_any_more_loses_it(void) {
  scratch dir;
  scratch_begin(&dir);
  for (int64_t step = 5; step <= 20; step += 5)
    DL_ASSERT_OK(write_with_best(dir.folder, step, 2, step < 15 ? step : 15, 0));
  DL_ASSERT_OK(write_with_best(dir.folder, 12, 2, 10, 0)); /* went back to a time when 10 was the best */
  char *path = NULL;
  DL_ASSERT_OK(dl_checkpoint_at(dir.folder, 10, NULL, &path));
  CU_ASSERT_PTR_NULL(path); /* it made room for 15 */
  DL_ASSERT_OK(dl_checkpoint_at(dir.folder, 12, NULL, &path));
  CU_ASSERT(path && is_step(path, 12));
  free(path);
  CU_ASSERT_EQUAL(newest_step(dir.folder), 12);
  DL_ASSERT_OK(write_with_best(dir.folder, 15, 2, 15, 0));
  CU_ASSERT(points_to(&dir, "best", "step-00000015"));
  DL_ASSERT_OK(write_with_best(dir.folder, 20, 1, -1, 0));
  CU_ASSERT_EQUAL(names_in(dir.folder, ""), 2); /* 20 and latest */
  DL_ASSERT_OK(write_with_best(dir.folder, 25, 1, 25, 0));
  DL_ASSERT_OK(dl_checkpoint_forget(dir.folder));
  CU_ASSERT(!points_to(&dir, "best", "step-00000025"));
  scratch_end(&dir);
}

static void test_a_damaged_best_is_passed_over_with_a_warning(void) {
  scratch dir;
  scratch_begin(&dir);
  DL_ASSERT_OK(write_with_best(dir.folder, 5, 2, 5, 0));
  DL_ASSERT_OK(write_with_best(dir.folder, 10, 2, 5, 0));
  CU_ASSERT_EQUAL(best_step(dir.folder), 5);
  FILE *file = fopen(scratch_path(&dir, "step-00000005/model.safetensors"), "r+b");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  fseek(file, -3, SEEK_END);
  fputc('?', file);
  fclose(file);
  warning said = {0};
  dl_log_set_sink(keep_warning, &said);
  CU_ASSERT_EQUAL(best_step(dir.folder), 10);
  dl_log_set_sink(NULL, NULL);
  CU_ASSERT(said.count == 1 && !strcmp(said.code, "checkpoint_damaged") && strstr(said.text, "the newest is taken"));
  scratch_end(&dir);
}

/* The steps of a run that came from elsewhere are of other weights. */
static void test_a_best_step_of_other_weights_is_not_the_best(void) {
  scratch dir;
  scratch_begin(&dir);
  sample s;
  dl_checkpoint_written written;
  for (int64_t step = 5; step <= 10; step += 5) {
    make_sample(&s, step, 0);
    DL_ASSERT_OK(dl_checkpoint_write(dir.folder, &(dl_checkpoint_place){step, 3, -1, NULL}, &s.checkpoint, &written));
    dl_json_destroy(&s.checkpoint.state);
    free(written.path);
  }
  char own[65], other[65], *path = NULL;
  memcpy(own, written.weights.hex, sizeof own); /* of step 10 */
  memcpy(other, own, sizeof other);
  other[0] = other[0] == '0' ? '1' : '0';
  DL_ASSERT_OK(dl_checkpoint_at(dir.folder, 10, own, &path));
  CU_ASSERT_PTR_NOT_NULL(path);
  free(path);
  DL_ASSERT_OK(dl_checkpoint_at(dir.folder, 10, other, &path));
  CU_ASSERT_PTR_NULL(path);
  DL_ASSERT_OK(dl_checkpoint_at(dir.folder, 5, own, &path));
  CU_ASSERT_PTR_NULL(path);
  for (int right = 0; right < 2; right++) {
    make_sample(&s, 15 + right, 0);
    DL_ASSERT_OK(dl_checkpoint_write(dir.folder, &(dl_checkpoint_place){15 + right, 1 + right, 10, right ? own : other},
                                     &s.checkpoint, &written));
    dl_json_destroy(&s.checkpoint.state);
    free(written.path);
    CU_ASSERT(!points_to(&dir, "best", "step-00000010")); /* not kept, and gone with the first */
  }
  CU_ASSERT_EQUAL(names_in(dir.folder, ""), 3); /* 15, 16, latest */
  scratch_end(&dir);
}

static void test_pointers_that_a_crash_kept_behind_are_moved(void) {
  scratch dir;
  scratch_begin(&dir);
  DL_ASSERT_OK(write_with_best(dir.folder, 5, 2, 5, 0));
  DL_ASSERT_OK(write_with_best(dir.folder, 10, 2, 10, 0));
  DL_ASSERT_OK(write_with_best(dir.folder, 15, 2, 10, 0));
  for (int i = 0; i < 2; i++) {
    const char *path = scratch_path(&dir, i ? "best" : "latest");
    unlink(path);
    CU_ASSERT_EQUAL(symlink("step-00000005", path), 0);
  }
  DL_ASSERT_OK(dl_checkpoint_point(dir.folder, &(dl_checkpoint_place){15, 2, 10, NULL}));
  CU_ASSERT(points_to(&dir, "latest", "step-00000015") && points_to(&dir, "best", "step-00000010"));
  DL_ASSERT_OK(dl_checkpoint_point(dir.folder, &(dl_checkpoint_place){99, 2, 98, NULL})); /* of another folder */
  CU_ASSERT(points_to(&dir, "latest", "step-00000015") && points_to(&dir, "best", "step-00000010"));
  scratch_end(&dir);
}

int main(void) {
  static const dl_test tests[] = {
      DL_TEST(test_what_is_written_is_whole_and_reads_back),
      DL_TEST(test_the_manifest_has_size_and_sha256_of_each_file),
      DL_TEST(test_the_newest_are_kept_by_number_and_the_rest_removed),
      DL_TEST(test_a_run_that_went_back_forgets_what_came_after),
      DL_TEST(test_other_names_in_the_folder_are_neither_taken_nor_removed),
      DL_TEST(test_what_a_crash_left_is_cleared_by_the_next_write),
      DL_TEST(test_a_folder_that_is_absent_has_no_checkpoint_and_one_that_cannot_be_opened_is_an_error),
      DL_TEST(test_each_file_damaged_missing_or_cut_makes_the_newest_the_one_before),
      DL_TEST(test_a_manifest_that_lies_or_leads_outside_is_refused),
      DL_TEST(test_a_state_that_is_no_object_is_an_error_of_its_file),
      DL_TEST(test_tensors_of_another_model_are_an_error_that_names_them),
      DL_TEST(test_a_full_disk_leaves_the_old_checkpoint_and_the_pointer_on_it),
      DL_TEST(test_a_failed_rewrite_of_a_step_leaves_the_one_before),
      DL_TEST(test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint),
      DL_TEST(test_the_best_stays_beside_the_newest_until_there_is_a_better_one),
      DL_TEST(test_a_run_that_goes_back_or_keeps_no_best_any_more_loses_it),
      DL_TEST(test_a_damaged_best_is_passed_over_with_a_warning),
      DL_TEST(test_a_best_step_of_other_weights_is_not_the_best),
      DL_TEST(test_pointers_that_a_crash_kept_behind_are_moved),
  };
  return dl_test_main("checkpoint", tests, sizeof tests / sizeof tests[0]);
}

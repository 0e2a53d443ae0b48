/* test_announce.c - what a network says to who moves weights and gradients meanwhile (dl_pass.reads, dl_pass.wrote):
 * weights come only when they are announced as read, gradients are taken when they are announced as written, and both
 * passes give the bits of a pass that nobody watches. */
#include "nn_fixture.h"

typedef struct watcher {
  fixture *f;
  float *weights, *gradients; /* what is there so far */
  size_t read_to, written_from;
  int reads, writes, wrong;
} watcher;

static void reads(void *context, size_t end) {
  watcher *w = context;
  w->reads++;
  if (end <= w->read_to) return;
  memcpy(w->weights + w->read_to, w->f->weights + w->read_to, (end - w->read_to) * sizeof *w->weights);
  w->read_to = end;
}

static void wrote(void *context, size_t from) {
  watcher *w = context;
  w->writes++;
  if (from >= w->written_from) return;
  memcpy(w->gradients + from, w->f->gradients + from, (w->written_from - from) * sizeof *w->gradients);
  w->written_from = from;
}

static void run_pass(fixture *f, const float *weights, int64_t n, const dl_pass *pass) {
  int32_t label[64];
  double loss, normaliser;
  for (int64_t i = 0; i < 64; i++) label[i] = (int32_t)(i % dl_net_outputs(f->net));
  dl_net_forward(f->net, weights, n, pass);
  dl_net_loss(f->net, n, label, NULL, NULL, &loss, &normaliser);
  dl_net_backward(f->net, weights, n, pass, f->gradients);
}

/* `least`: as many announcements of reads and of writes there are. */
static void watch(const char *model, int dims, const int64_t *shape, fixture_cut cut, int least_reads,
                  int least_writes) {
  enum { SAMPLES = 8 };
  fixture f;
  DL_ASSERT_OK(fixture_new_cut(&f, model, dims, shape, 3, SAMPLES, cut));
  float *plain = calloc(f.count, sizeof *plain), *late = calloc(f.count, sizeof *late),
        *taken = calloc(f.count, sizeof *taken);
  lcg g = {7};
  int64_t values = SAMPLES;
  dl_pass pass = {.training = true, .seed = 3};
  for (int d = 0; d < dims; d++) values *= shape[d];
  dl_net_init(f.net, 1, f.weights);
  for (int64_t i = 0; i < values; i++) dl_net_input(f.net)[i] = lcg_value(&g);
  run_pass(&f, f.weights, SAMPLES, &pass);
  memcpy(plain, f.gradients, f.count * sizeof *plain);
  for (size_t i = 0; i < f.count; i++) late[i] = f.gradients[i] = NAN;
  watcher w = {.f = &f, .weights = late, .gradients = taken, .written_from = f.count};
  pass.reads = reads;
  pass.wrote = wrote;
  pass.watcher = &w;
  run_pass(&f, late, SAMPLES, &pass);
  CU_ASSERT_EQUAL(w.read_to, f.count);
  CU_ASSERT_EQUAL(w.written_from, 0);
  CU_ASSERT(w.reads >= least_reads);
  CU_ASSERT(w.writes >= least_writes);
  for (int t = 0; t < f.n_tensors; t++)
    w.wrong +=
        memcmp(taken + f.tensors[t].offset, plain + f.tensors[t].offset, f.tensors[t].count * sizeof *plain) != 0;
  CU_ASSERT_EQUAL(w.wrong, 0);
  free(plain);
  free(late);
  free(taken);
  fixture_clear(&f);
}

static void test_layers_are_announced_one_by_one(void) {
  watch("model: [{dense: 33}, relu, {dense: {units: 20, trainable: false}}, {dropout: 0.3}, {dense: 3}]", 1,
        (const int64_t[]){12}, (fixture_cut){0}, 3, 3);
}

static void test_runs_in_blocks_are_announced_when_their_last_block_is_done(void) {
  static const char model[] =
      "model: [{conv2d: {filters: 6, kernel: 3}}, batchnorm, relu, {conv2d: {filters: 4, kernel: 3}}, batchnorm, relu, "
      "{maxpool2d: 2}, flatten, {dense: 3}]";
  watch(model, 3, (const int64_t[]){2, 9, 9}, (fixture_cut){0}, 2, 2);
  watch(model, 3, (const int64_t[]){2, 9, 9}, (fixture_cut){.block_floats = 512}, 2, 2);
}

/* Two directions of two layers are read in two parts each; both directions of a layer are written in two parts. */
static void test_tensors_of_recurrent_layers_are_announced_one_after_another(void) {
  watch(
      "model: [{lstm: {units: 8, layers: 2, bidirectional: true, return_sequences: true}}, "
      "{gru: {units: 5, bias: false}}, {dense: 3}]",
      2, (const int64_t[]){6, 4}, (fixture_cut){0}, 4 * 2 + 2 + 1, 2 * 2 + 2 + 3);
  watch(
      "model: [{rnn: {units: 8, trainable: false, return_sequences: true}}, {lstm: {units: 5, layers: 3}}, {dense: 3}]",
      2, (const int64_t[]){6, 4}, (fixture_cut){0}, 2 + 6 + 1, 6 + 2);
}

static const dl_test tests[] = {
    DL_TEST(test_layers_are_announced_one_by_one),
    DL_TEST(test_runs_in_blocks_are_announced_when_their_last_block_is_done),
    DL_TEST(test_tensors_of_recurrent_layers_are_announced_one_after_another),
};
DL_TEST_MAIN("nn/announce", tests)

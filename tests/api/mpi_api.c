/* The public interface over communicators of the program's own: under mpirun at several numbers of ranks. */
#include <mpi.h>

#include <dldist/dldist_mpi.h>

/* The frame of the tests alone. */
#include <stdlib.h>
#include <string.h>

#include "dltest.h"

enum { FEATURES = 4, SAMPLES = 203, CLASSES = 3 };

static float x[SAMPLES][FEATURES];
static int32_t labels[SAMPLES];

static void fill(void) {
  uint32_t state = 3;
  for (int i = 0; i < SAMPLES; i++) {
    labels[i] = i % CLASSES;
    for (int f = 0; f < FEATURES; f++) {
      state = state * 1664525u + 1013904223u;
      x[i][f] = (f == labels[i] ? 1.0f : 0.0f) + (float)(state >> 8) * 0x1p-24f;
    }
  }
}

/* What a program over `context` comes to. */
typedef struct result {
  dl_status status;
  char hex[65];
  double accuracy, loss;
  float scores[SAMPLES][CLASSES];
} result;

static dl_status train(dl_network *network, result *out) {
  static const int64_t shape[] = {FEATURES};
  static const char *const layers[] = {"dense: 6", "relu", "dropout: 0.2", "dense: 3"};
  for (int i = 0; i < 4; i++) DL_TRY(dl_network_add(network, layers[i]));
  DL_TRY(dl_network_set(network, "optimizer", "{name: sgd, lr: 0.1, momentum: 0.9}"));
  DL_TRY(dl_network_set(network, "train", "{epochs: 3, batch: 40, clip_norm: 1}"));
  DL_TRY(dl_network_set(network, "sync.shards", "6"));
  DL_TRY(dl_network_set_data(network, DL_TRAIN, SAMPLES, 1, shape, &x[0][0], labels, 0, NULL));
  DL_TRY(dl_network_train(network));
  DL_TRY(dl_network_weights_sha256(network, out->hex));
  DL_TRY(dl_network_metric(network, DL_TRAIN, "accuracy", &out->accuracy));
  DL_TRY(dl_network_metric(network, DL_TRAIN, "loss", &out->loss));
  return dl_network_predict(network, SAMPLES, &x[0][0], &out->scores[0][0]);
}

static result *run(dl_context *context) {
  dl_network *network = NULL;
  result *out = calloc(1, sizeof *out);
  if (!out) abort();
  out->status = dl_network_new(context, &network);
  if (out->status == DL_OK) out->status = train(network, out);
  if (out->status != DL_OK) fprintf(stderr, "%s\n", dl_last_error());
  dl_network_close(&network);
  return out;
}

/* No assertion between collectives: results first. */
static void test_the_world_and_each_process_alone_come_to_the_same_bits(void) {
  dl_context *world = NULL, *self = NULL;
  int rank, size;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  dl_status opened = dl_context_open_mpi(MPI_COMM_WORLD, &world), alone = dl_context_open_mpi(MPI_COMM_SELF, &self);
  if (opened != DL_OK || alone != DL_OK) MPI_Abort(MPI_COMM_WORLD, 1);
  result *together = run(world), *mine = run(self);
  CU_ASSERT_EQUAL(dl_context_size(world), size);
  CU_ASSERT_EQUAL(dl_context_size(self), 1);
  CU_ASSERT_EQUAL(together->status, DL_OK);
  CU_ASSERT_EQUAL(mine->status, DL_OK);
  CU_ASSERT_EQUAL(strlen(mine->hex), 64);
  CU_ASSERT_STRING_EQUAL(together->hex, mine->hex);
  CU_ASSERT_EQUAL(together->accuracy, mine->accuracy);
  CU_ASSERT(mine->accuracy > 0.7);
  CU_ASSERT_EQUAL(together->loss, mine->loss);
  CU_ASSERT_EQUAL(memcmp(together->scores, mine->scores, sizeof mine->scores), 0);
  free(together);
  free(mine);
  dl_context_close(&self);
  dl_context_close(&world);
}

/* One process alone passes a wrong label: all have the same error, and can go on. */
static void test_the_error_of_one_process_is_the_error_of_all(void) {
  dl_context *world = NULL;
  int rank, size;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (dl_context_open_mpi(MPI_COMM_WORLD, &world) != DL_OK) MPI_Abort(MPI_COMM_WORLD, 1);
  if (rank == size - 1) labels[100] = -5;
  dl_network *network = NULL;
  result *out = calloc(1, sizeof *out);
  if (!out || dl_network_new(world, &network) != DL_OK) MPI_Abort(MPI_COMM_WORLD, 1);
  dl_status status = train(network, out);
  bool said = strstr(dl_last_error(), "row 100");
  labels[100] = 100 % CLASSES;
  dl_status again = dl_network_train(network);
  dl_network_close(&network);
  dl_context_close(&world);
  CU_ASSERT_EQUAL(status, DL_ERR_DATA);
  CU_ASSERT(said);
  CU_ASSERT_EQUAL(again, DL_OK);
  free(out);
}

int main(int argc, char **argv) {
  static const dl_test tests[] = {
      DL_TEST(test_the_world_and_each_process_alone_come_to_the_same_bits),
      DL_TEST(test_the_error_of_one_process_is_the_error_of_all),
  };
  int provided, failed, worst = 1;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  fill();
  failed = dl_test_main("api over MPI", tests, sizeof tests / sizeof tests[0]);
  MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return worst;
}

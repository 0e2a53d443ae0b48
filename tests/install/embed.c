/* embed.c - a program that has MPI and work of its own, and trains inside: over a communicator with the ranks backwards
 * and one of them left out, on arrays; evaluates, predicts, saves, opens again; then a whole run from a configuration
 * file. Prints what test_install.sh compares. Usage: embed CONFIG.yaml FOLDER
 */
#include <dldist/dldist_mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 200

#define CHECK(condition)                                                                         \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      fprintf(stderr, "embed.c:%d: not true: %s (%s)\n", __LINE__, #condition, dl_last_error()); \
      MPI_Abort(MPI_COMM_WORLD, 1);                                                              \
    }                                                                                            \
  } while (0)

static float x[SAMPLES][3], y[SAMPLES];
static const int64_t shape[] = {3};

static void make_line(void) {
  for (int i = 0; i < SAMPLES; i++) {
    for (int k = 0; k < 3; k++) x[i][k] = (float)((i * (7 + 5 * k) + 3 * k) % 41) / 41.0f;
    y[i] = 2 * x[i][0] - x[i][1] + 0.5f;
  }
}

static dl_network *train_line(dl_context *context) {
  dl_network *network;
  CHECK(dl_network_new(context, &network) == DL_OK);
  CHECK(dl_network_outputs(network) == 0);
  CHECK(dl_network_train(network) == DL_ERR_USAGE); /* neither layers nor data */
  CHECK(strlen(dl_last_error()) > 10);
  CHECK(dl_network_set(network, "task", "regression") == DL_OK);
  CHECK(dl_network_add(network, "dense: 1") == DL_OK);
  CHECK(dl_network_set(network, "optimizer", "{name: sgd, lr: 0.3}") == DL_OK);
  CHECK(dl_network_set(network, "train", "{epochs: 60, batch: 20}") == DL_OK);
  CHECK(dl_network_set(network, "sync.shards", "4") == DL_OK);
  CHECK(dl_network_set_data(network, DL_TRAIN, SAMPLES, 1, shape, &x[0][0], NULL, 1, y) == DL_OK);
  CHECK(dl_network_train(network) == DL_OK);
  CHECK(dl_network_outputs(network) == 1);
  return network;
}

static void check_scores(dl_network *network, const char *which) {
  float scores[SAMPLES];
  CHECK(dl_network_predict(network, SAMPLES, &x[0][0], scores) == DL_OK);
  for (int i = 0; i < SAMPLES; i++)
    if (scores[i] - y[i] > 0.02f || y[i] - scores[i] > 0.02f) {
      fprintf(stderr, "%s: sample %d is %g, predicted %g\n", which, i, (double)y[i], (double)scores[i]);
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
}

static void use(MPI_Comm communicator, const char *config, const char *folder) {
  dl_context *context;
  int rank, size;
  MPI_Comm_rank(communicator, &rank);
  MPI_Comm_size(communicator, &size);
  CHECK(dl_context_open_mpi(communicator, &context) == DL_OK);
  CHECK(dl_context_size(context) == size);
  CHECK(dl_context_rank(context) == rank); /* one node: the communicator's order */
  dl_network *trained = train_line(context), *opened;
  double r2, again;
  char first[65], second[65], path[4096];
  CHECK(dl_network_metric(trained, DL_TRAIN, "r2", &r2) == DL_OK && r2 > 0.999);
  CHECK(dl_network_metric(trained, DL_TRAIN, "accuracy", &again) == DL_ERR_USAGE);
  check_scores(trained, "trained");
  CHECK(dl_network_weights_sha256(trained, first) == DL_OK);
  snprintf(path, sizeof path, "%s/saved", folder);
  CHECK(dl_network_save(trained, path) == DL_OK);

  snprintf(path, sizeof path, "%s/saved/latest", folder);
  CHECK(dl_network_open(context, path, &opened) == DL_OK);
  CHECK(dl_network_weights_sha256(opened, second) == DL_OK && !strcmp(first, second));
  check_scores(opened, "opened");
  CHECK(dl_network_set_data(opened, DL_TEST, SAMPLES, 1, shape, &x[0][0], NULL, 1, y) == DL_OK);
  CHECK(dl_network_metric(opened, DL_TEST, "r2", &again) == DL_OK && again == r2);
  dl_network_close(&opened);
  dl_network_close(&trained);
  if (rank == 0) printf("line %s\n", first);

  snprintf(path, sizeof path, "%s/run", folder);
  CHECK(dl_train_config(context, config, path) == DL_OK);
  CHECK(dl_network_open(context, path, &opened) == DL_OK);
  CHECK(dl_network_weights_sha256(opened, second) == DL_OK);
  if (rank == 0) printf("run %s\n", second);
  CHECK(dl_network_outputs(opened) == 10);
  dl_network_close(&opened);
  CHECK(dl_train_config(context, "absent.yaml", path) == DL_ERR_USAGE && strstr(dl_last_error(), "absent.yaml"));
  CHECK(dl_network_open(context, "absent", &opened) == DL_ERR_DATA);
  dl_context_close(&context);
  CHECK(!context);
}

int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  make_line();
  bool left_out = size > 2 && rank == 1;
  MPI_Comm mine;
  MPI_Comm_split(MPI_COMM_WORLD, left_out ? MPI_UNDEFINED : 0, size - rank, &mine);
  if (!left_out) {
    use(mine, argv[1], argv[2]);
    MPI_Comm_free(&mine);
  }
  int finalized;
  MPI_Finalized(&finalized);
  CHECK(!finalized); /* MPI is this program's */
  MPI_Finalize();
  return 0;
}

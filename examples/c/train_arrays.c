/* train_arrays.c - trains a small network on arrays of this program's own, alone or under mpirun.
 *
 *   cc train_arrays.c $(pkg-config --cflags --libs dldist) -o train_arrays
 *   ./train_arrays
 *   mpirun -np 2 ./train_arrays        the same weights, bit for bit
 *
 * The samples are the points of a grid on the square from -1 to 1; class 1 lies within a disk around its middle.
 */
#include <dldist/dldist.h>
#include <stdio.h>
#include <stdlib.h>

#define GRID 40
#define SAMPLES (GRID * GRID)

static float points[SAMPLES][2];
static int32_t labels[SAMPLES];

static void make_points(void) {
  for (int i = 0; i < SAMPLES; i++) {
    int a = 2 * (i / GRID) - (GRID - 1), b = 2 * (i % GRID) - (GRID - 1);
    points[i][0] = (float)a / GRID;
    points[i][1] = (float)b / GRID;
    labels[i] = a * a + b * b < 800;
  }
}

/* Errors of collective functions are the same on all processes: all end here together. */
static void must(dl_status status) {
  if (status == DL_OK) return;
  fprintf(stderr, "train_arrays: %s\n", dl_last_error());
  exit(1);
}

static dl_network *build(dl_context *context) {
  static const int64_t shape[] = {2};
  dl_network *network;
  must(dl_network_new(context, &network));
  must(dl_network_add(network, "dense: 32"));
  must(dl_network_add(network, "tanh"));
  must(dl_network_add(network, "dense: 2"));
  must(dl_network_set(network, "optimizer", "{name: adam, lr: 0.01}"));
  must(dl_network_set(network, "train", "{epochs: 30, batch: 50}"));
  must(dl_network_set(network, "sync.shards", "4"));
  must(dl_network_set_data(network, DL_TRAIN, SAMPLES, 1, shape, &points[0][0], labels, 1, NULL));
  return network;
}

int main(void) {
  dl_context *context;
  must(dl_context_open(&context));
  make_points();
  dl_network *network = build(context);
  must(dl_network_train(network));

  static const float places[][2] = {{0, 0}, {0.9f, -0.9f}};
  double accuracy;
  float scores[2][2];
  char sha256[65];
  must(dl_network_metric(network, DL_TRAIN, "accuracy", &accuracy));
  must(dl_network_predict(network, 2, &places[0][0], &scores[0][0]));
  must(dl_network_weights_sha256(network, sha256));
  if (dl_context_rank(context) == 0) {
    printf("accuracy %.4f\n", accuracy);
    printf("inside the disk: the middle %.3f, a corner %.3f\n", (double)scores[0][1], (double)scores[1][1]);
    printf("weights %s\n", sha256);
  }
  dl_network_close(&network);
  dl_context_close(&context);
  return 0;
}

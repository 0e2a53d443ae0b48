// train_arrays.cpp - examples/c/train_arrays.c in C++: objects that close themselves, errors as exceptions.
//
//   c++ train_arrays.cpp $(pkg-config --cflags --libs dldist) -o train_arrays
//   mpirun -np 2 ./train_arrays
#include <dldist/dldist.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void must(dl_status status) {
  if (status != DL_OK) throw std::runtime_error(dl_last_error());
}

struct closer {
  void operator()(dl_context *context) const { dl_context_close(&context); }
  void operator()(dl_network *network) const { dl_network_close(&network); }
};
using context_ptr = std::unique_ptr<dl_context, closer>;
using network_ptr = std::unique_ptr<dl_network, closer>;

context_ptr open_context() {
  dl_context *context = nullptr;
  must(dl_context_open(&context));
  return context_ptr(context);
}

network_ptr new_network(dl_context *context) {
  dl_network *network = nullptr;
  must(dl_network_new(context, &network));
  return network_ptr(network);
}

// The samples must live as long as the network that learns them.
struct samples {
  std::vector<float> x;
  std::vector<std::int32_t> labels;
};

samples make_points(int grid) {
  samples s;
  for (int i = 0; i < grid * grid; i++) {
    int a = 2 * (i / grid) - (grid - 1), b = 2 * (i % grid) - (grid - 1);
    s.x.push_back(static_cast<float>(a) / static_cast<float>(grid));
    s.x.push_back(static_cast<float>(b) / static_cast<float>(grid));
    s.labels.push_back(a * a + b * b < 800);
  }
  return s;
}

void run() {
  const samples s = make_points(40);
  const std::int64_t shape[] = {2};
  auto context = open_context();
  auto network = new_network(context.get());
  for (const char *layer : {"dense: 32", "tanh", "dense: 2"}) must(dl_network_add(network.get(), layer));
  must(dl_network_set(network.get(), "optimizer", "{name: adam, lr: 0.01}"));
  must(dl_network_set(network.get(), "train", "{epochs: 30, batch: 50}"));
  must(dl_network_set(network.get(), "sync.shards", "4"));
  must(dl_network_set_data(network.get(), DL_TRAIN, static_cast<std::int64_t>(s.labels.size()), 1, shape, s.x.data(),
                           s.labels.data(), 1, nullptr));
  must(dl_network_train(network.get()));

  double accuracy = 0;
  const std::vector<float> places = {0, 0, 0.9f, -0.9f};
  std::vector<float> scores(4);
  char sha256[65];
  must(dl_network_metric(network.get(), DL_TRAIN, "accuracy", &accuracy));
  must(dl_network_predict(network.get(), 2, places.data(), scores.data()));
  must(dl_network_weights_sha256(network.get(), sha256));
  if (dl_context_rank(context.get()) != 0) return;
  std::printf("accuracy %.4f\n", accuracy);
  std::printf("inside the disk: the middle %.3f, a corner %.3f\n", static_cast<double>(scores[1]),
              static_cast<double>(scores[3]));
  std::printf("weights %s\n", sha256);
}

}  // namespace

int main() {
  try {
    run();
  } catch (const std::exception &error) {
    std::fprintf(stderr, "train_arrays: %s\n", error.what());
    return 1;
  }
  return 0;
}

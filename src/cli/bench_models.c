/* bench_models.c - the networks of `dldist bench step` and samples made up for them. */
#include "cli/bench_models.h"

#include <string.h>

#include "core/options.h"
#include "core/rng.h"

#define CONV(filters, kernel, stride, padding)                                                \
  "{conv2d: {filters: " filters ", kernel: " kernel ", stride: " stride ", padding: " padding \
  ", bias: false}}, batchnorm"
#define RESIDUAL(filters, stride, shortcut)                                                                    \
  "{residual: {layers: [" CONV(filters, "3", stride, "1") ", relu, " CONV(filters, "3", "1", "1") "]" shortcut \
                                                                                                  "}}, relu, "
#define SAME(filters) RESIDUAL(filters, "1", "")
#define HALF(filters) RESIDUAL(filters, "2", ", shortcut: [" CONV(filters, "1", "2", "0") "]")

#define GPT_BLOCK                                                    \
  "{residual: [layernorm, {attention: {heads: 8, causal: true}}]}, " \
  "{residual: [layernorm, {dense: 1024}, gelu, {dense: 256}]}, "

const dl_bench_model dl_bench_models[] = {
    {.name = "mlp",
     .help = "784-512-512-10",
     .x_dims = 1,
     .x_shape = {784},
     .classes = 10,
     .batch = 128,
     .steps = 300,
     .layers = "[{dense: 512}, relu, {dense: 512}, relu, {dense: 10}]"},
    {.name = "cifar10-cnn",
     .help = "three convolutions and two dense layers on 3x32x32",
     .x_dims = 3,
     .x_shape = {3, 32, 32},
     .classes = 10,
     .batch = 32,
     .steps = 300,
     .layers = "[{conv2d: {filters: 32, kernel: 3}}, relu, {maxpool2d: 2}, {conv2d: {filters: 64, kernel: 3}}, relu, "
               "{maxpool2d: 2}, {conv2d: {filters: 64, kernel: 3}}, relu, flatten, {dense: 64}, relu, {dense: 10}]"},
    {.name = "resnet20",
     .help = "ResNet-20 on 3x32x32",
     .x_dims = 3,
     .x_shape = {3, 32, 32},
     .classes = 10,
     .batch = 128,
     .steps = 40,
     .layers = "[" CONV("16", "3", "1", "1") ", relu, " SAME("16") SAME("16") SAME("16") HALF("32") SAME("32")
         SAME("32") HALF("64") SAME("64") SAME("64") "global_avgpool2d, {dense: 10}]"},
    {.name = "lstm",
     .help = "two LSTM layers of 256 on windows of 64 tokens",
     .x_dims = 1,
     .x_shape = {64},
     .classes = 96,
     .tokens = true,
     .batch = 32,
     .steps = 60,
     .layers = "[{embedding: {vocabulary: 96, size: 128}}, {lstm: {units: 256, layers: 2, return_sequences: true}}, "
               "{dense: 96}]"},
    {.name = "gpt",
     .help = "four attention blocks of width 256 on windows of 128 tokens",
     .x_dims = 1,
     .x_shape = {128},
     .classes = 96,
     .tokens = true,
     .batch = 16,
     .steps = 30,
     .layers = "[{embedding: {vocabulary: 96, size: 256, std: 0.02}}, {positional_embedding: {std: 0.02}}, " GPT_BLOCK
         GPT_BLOCK GPT_BLOCK GPT_BLOCK "layernorm, {dense: 96}]"},
};
const int dl_bench_n_models = sizeof dl_bench_models / sizeof dl_bench_models[0];

dl_status dl_bench_model_find(const char *name, const dl_bench_model **out) {
  const char *names[sizeof dl_bench_models / sizeof dl_bench_models[0]];
  *out = dl_bench_models;
  if (!name) return DL_OK;
  for (int i = 0; i < dl_bench_n_models; i++) {
    names[i] = dl_bench_models[i].name;
    *out = &dl_bench_models[i];
    if (!strcmp(name, names[i])) return DL_OK;
  }
  dl_fail(DL_ERR_USAGE, "dldist bench: unknown model '%.60s'", name);
  return dl_hint_nearest(name, names, dl_bench_n_models, "see dldist help bench");
}

int64_t dl_bench_model_row(const dl_bench_model *model) {
  int64_t values = 1;
  for (int i = 0; i < model->x_dims; i++) values *= model->x_shape[i];
  return model->tokens ? values + 1 : values;
}

void dl_bench_model_fill(const dl_bench_model *model, int64_t samples, float *x, int32_t *label) {
  const dl_rng_key key = dl_rng_stream(7, DL_RNG_SAMPLE, 0);
  const int64_t row = dl_bench_model_row(model);
  for (int64_t i = 0; i < samples; i++) {
    for (int64_t k = 0; k < row; k += 4) {
      uint32_t words[4];
      dl_rng_block(key, 0, (uint64_t)i, (uint32_t)(k / 4), words);
      for (int64_t j = k; j < row && j < k + 4; j++)
        x[i * row + j] = model->tokens ? (float)(words[j - k] % model->classes) : dl_rng_to_unit(words[j - k]);
    }
    if (!model->tokens) label[i] = (int32_t)(dl_rng_word(key, 1, (uint64_t)i, 0) % model->classes);
  }
}

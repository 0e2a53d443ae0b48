/* bench_models.h - the networks that `dldist bench step` times (floor: cli).
 *
 * Each is a row of one table: what it reads and its layers, as they would stand in a configuration. benchmarks/peers
 * has the same networks in PyTorch.
 */
#ifndef DL_CLI_BENCH_MODELS_H
#define DL_CLI_BENCH_MODELS_H

#include "data/data.h"

typedef struct dl_bench_model {
  const char *name;
  const char *help;
  int x_dims;
  int64_t x_shape[DL_MAX_DIMS]; /* of a sample; of a language model the tokens of a window */
  int64_t classes;              /* labels, or tokens */
  bool tokens;                  /* a language model */
  int64_t batch, steps;         /* defaults: samples a member, steps to time */
  const char *layers;           /* the list `model`, in YAML's flow style */
} dl_bench_model;

/* The first row is the default. */
extern const dl_bench_model dl_bench_models[];
extern const int dl_bench_n_models;

/* NULL: the first row. DL_ERR_USAGE, with the nearest name, for one that is not there. */
dl_status dl_bench_model_find(const char *name, const dl_bench_model **out);

/* Fills `x` and `label` with `samples` made-up samples, the same on every member: uniform values (samples, x_shape) and
 * labels (samples), or windows of tokens (samples, x_shape[0] + 1) and no labels. */
void dl_bench_model_fill(const dl_bench_model *model, int64_t samples, float *x, int32_t *label);

/* Values of x that dl_bench_model_fill writes for a sample. */
int64_t dl_bench_model_row(const dl_bench_model *model);

#endif

/* nn_fixture.h - what the tests of this floor share: networks from YAML, and numbers from a formula that Python has
 * too. */
#ifndef DL_NN_FIXTURE_H
#define DL_NN_FIXTURE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "dltest.h"
#include "nn/net.h"

/* x' = 1664525 x + 1013904223 mod 2^32; a value is the upper 24 bits as a number in [-1, 1), exact in float. */
typedef struct lcg {
  uint32_t state;
} lcg;
static inline uint32_t lcg_next(lcg *g) { return g->state = g->state * 1664525u + 1013904223u; }
static inline float lcg_value(lcg *g) { return (float)(lcg_next(g) >> 8) * 0x1p-23f - 1.0f; }
static inline int32_t lcg_class(lcg *g, int32_t classes) { return (int32_t)((lcg_next(g) >> 16) % (uint32_t)classes); }

/* A network with its configuration and buffers. */
typedef struct fixture {
  dl_config *config;
  dl_net *net;
  const dl_tensor *tensors;
  int n_tensors;
  size_t count;
  float *weights, *gradients;
} fixture;

/* How fine a batch is cut, and from what size on stages are used (dl_net_spec). */
typedef struct fixture_cut {
  int64_t block_floats, stage_floats;
} fixture_cut;

static inline dl_status fixture_new_cut(fixture *f, const char *yaml, int dims, const int64_t *shape, int64_t outputs,
                                        int64_t max_batch, fixture_cut cut) {
  *f = (fixture){0};
  dl_status status = dl_config_parse(yaml, strlen(yaml), "c.yaml", NULL, 0, &f->config);
  if (status != DL_OK) return status;
  dl_net_spec spec = {.config = f->config,
                      .x_dims = dims,
                      .outputs = outputs,
                      .max_batch = max_batch,
                      .block_floats = cut.block_floats,
                      .stage_floats = cut.stage_floats};
  for (int i = 0; i < dims; i++) spec.x_shape[i] = shape[i];
  status = dl_net_new(&spec, &f->net);
  if (status != DL_OK) return status;
  f->tensors = dl_net_tensors(f->net, &f->n_tensors);
  f->count = dl_net_buffer_count(f->net);
  f->weights = dl_calloc_aligned(f->count, sizeof(float));
  f->gradients = dl_calloc_aligned(f->count, sizeof(float));
  return f->weights && f->gradients ? DL_OK : DL_ERR_NOMEM;
}

static inline dl_status fixture_new(fixture *f, const char *yaml, int dims, const int64_t *shape, int64_t outputs,
                                    int64_t max_batch) {
  return fixture_new_cut(f, yaml, dims, shape, outputs, max_batch, (fixture_cut){0});
}

static inline void fixture_clear(fixture *f) {
  dl_net_destroy(&f->net);
  dl_config_destroy(&f->config);
  free(f->weights);
  free(f->gradients);
}

/* All weights from the formula, times `scale`. */
static inline void fixture_fill(fixture *f, lcg *g, float scale) {
  for (int t = 0; t < f->n_tensors; t++)
    for (size_t i = 0; i < f->tensors[t].count; i++) f->weights[f->tensors[t].offset + i] = scale * lcg_value(g);
}

#endif

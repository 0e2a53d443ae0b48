/* test_reference.c - 20 steps of training against the same network, data and weights in float64. */
#include "golden/steps_golden.h"
#include "nn/optimizer.h"
#include "nn_fixture.h"

enum { IN = 64, CLASSES = 10 };

static void next_batch(lcg *g, float *x, int32_t *label) {
  for (int i = 0; i < GOLDEN_BATCH * IN; i++) x[i] = lcg_value(g);
  for (int i = 0; i < GOLDEN_BATCH; i++) label[i] = lcg_class(g, CLASSES);
  for (int i = 0; i < GOLDEN_BATCH; i++) x[i * IN + label[i]] += 2;
}

static void test_twenty_steps_lose_what_float64_loses(void) {
  fixture f;
  DL_ASSERT_OK(fixture_new(&f,
                           "model: [{dense: 32}, relu, {dense: 10}]\n"
                           "optimizer: {name: sgd, lr: 0.1, momentum: 0.9}\n",
                           1, (int64_t[]){IN}, CLASSES, GOLDEN_BATCH));
  dl_optimizer *optimizer = NULL;
  DL_ASSERT_OK(dl_optimizer_new(f.config, &optimizer));
  float *momentum = dl_calloc_aligned(f.count, sizeof(float));
  lcg g = {4711};
  fixture_fill(&f, &g, 0.125f);
  double worst = 0, sumsq = 0;
  for (int step = 0; step < GOLDEN_STEPS; step++) {
    int32_t label[GOLDEN_BATCH];
    double loss, normaliser;
    const dl_pass pass = {.training = true, .step = (uint32_t)step};
    next_batch(&g, dl_net_input(f.net), label);
    dl_net_forward(f.net, f.weights, GOLDEN_BATCH, &pass);
    dl_net_loss(f.net, GOLDEN_BATCH, label, NULL, NULL, &loss, &normaliser);
    dl_net_backward(f.net, f.weights, GOLDEN_BATCH, &pass, f.gradients);
    worst = fmax(worst, fabs(loss / normaliser / golden_step_losses[step] - 1));
    dl_optimizer_begin(optimizer, step + 1, optimizer->lr);
    for (int t = 0; t < f.n_tensors; t++) {
      const dl_tensor *tensor = &f.tensors[t];
      for (size_t i = 0; i < tensor->count; i++) f.gradients[tensor->offset + i] /= (float)normaliser;
      optimizer->kind->apply(optimizer, tensor, tensor->count, f.weights + tensor->offset, f.gradients + tensor->offset,
                             (float *[]){momentum + tensor->offset});
    }
  }
  for (size_t i = 0; i < f.count; i++) sumsq += (double)f.weights[i] * (double)f.weights[i];
  CU_ASSERT(worst <= 1e-5);
  CU_ASSERT_DOUBLE_EQUAL(sumsq, golden_final_sumsq, 1e-5 * golden_final_sumsq);
  printf("(worst relative difference %.1e) ", worst);
  free(momentum);
  dl_optimizer_destroy(&optimizer);
  fixture_clear(&f);
}

static const dl_test tests[] = {DL_TEST(test_twenty_steps_lose_what_float64_loses)};
DL_TEST_MAIN("reference", tests)
